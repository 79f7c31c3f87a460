from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor


def name_the_removed(apps: Apps, _editor: BaseDatabaseSchemaEditor) -> None:
    """What was off until now was being removed."""
    apps.get_model("providers", "Installation").objects.filter(enabled=False).update(removed=True)


class Migration(migrations.Migration):
    dependencies = [("providers", "0004_sources_and_manifests")]

    operations = [
        migrations.AddField(
            model_name="installation",
            name="removed",
            field=models.BooleanField(default=False),
        ),
        migrations.RunPython(name_the_removed, migrations.RunPython.noop),
    ]
