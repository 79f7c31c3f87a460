import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [("vault", "0003_name_the_keys")]

    operations = [
        migrations.AlterField(
            model_name=model,
            name="key",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.RESTRICT, related_name="+", to="vault.tenantkey"
            ),
        )
        for model in ("clientsecret", "sealedtokenset")
    ]
