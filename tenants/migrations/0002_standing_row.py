"""The one row that counts changes of rights."""

from typing import Any

from django.db import migrations


def begin(apps: Any, _schema_editor: Any) -> None:
    apps.get_model("tenants", "Standing").objects.create(pk=1)


class Migration(migrations.Migration):
    dependencies = [("tenants", "0001_initial")]
    operations = [migrations.RunPython(begin, migrations.RunPython.noop)]
