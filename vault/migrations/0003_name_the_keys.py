"""Each sealed row says which data key it needs, so that a key in use cannot be retired.

Tokens are bound to more than before (owner, account, what they may be sent to), and are asked for anew: no release
came before this one.
"""

import uuid

from django.db import migrations


def name_the_keys(apps, schema_editor):  # type: ignore[no-untyped-def]
    for secret in apps.get_model("vault", "ClientSecret").objects.all():
        secret.key_id = uuid.UUID(bytes=bytes(secret.sealed)[1:17])
        secret.save(update_fields=["key"])
    apps.get_model("vault", "SealedTokenSet").objects.all().delete()
    ready = apps.get_model("vault", "Connection").objects.filter(status="ready")
    ready.update(status="needs_auth", reason="refresh_failed")


class Migration(migrations.Migration):

    dependencies = [("vault", "0002_keys_accounts_consents")]

    operations = [migrations.RunPython(name_the_keys, migrations.RunPython.noop)]
