from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('vault', '0008_link_code'),
    ]

    operations = [
        migrations.AddField(
            model_name='tenantkey',
            name='settled_at',
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name='tenantkey',
            name='unreadable',
            field=models.PositiveIntegerField(default=0),
        ),
        migrations.AddIndex(
            model_name='connection',
            index=models.Index(fields=['tenant', '-connected_at', '-id'], name='connection_newest'),
        ),
    ]
