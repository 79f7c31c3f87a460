"""`vault_shred TENANT --yes`: destroy a tenant's data keys, and with them everything they sealed."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser

from metaagent.management.answering import Answering, Found, tenant_named
from vault.services import shred

BACKUPS = (
    "Backups of the database made before now still hold the wrapped keys and what they sealed: until those are gone, "
    "or the key encryption key is destroyed, it can be opened from them."
)


class Command(Answering):
    """Shred a tenant's keys."""

    help = "Disconnect everything of a tenant and destroy its data keys. Without --yes: say what would be lost."

    def arguments(self, parser: CommandParser) -> None:
        """The tenant, and that it is meant."""
        parser.add_argument("tenant")
        parser.add_argument("--yes", action="store_true", help="it cannot be undone")

    def work(self, **options: Any) -> Found:
        """Shred."""
        tenant = tenant_named(options["tenant"], closed=True)
        if not options["yes"]:
            lost = _in_words(shred.loss(tenant.pk))
            raise CommandError(
                f"Would be lost for {tenant.slug}: {lost}. {BACKUPS} If you mean it, add --yes.", returncode=2
            )
        done = shred.shred(tenant_id=tenant.pk, by=None, now=datetime.now(UTC))
        text = f"Lost for {tenant.slug}: {_in_words(done.loss)}."
        if done.unconfirmed:
            text += f" {done.unconfirmed} could not be revoked at the provider first: end them there."
        if done.loss.client_secrets:
            text += " Enter the client secrets again with provider_install before anybody connects."
        text += f" Running servers forget opened keys within {settings.DATA_KEY_CACHE_S} seconds.\n{BACKUPS}"
        return {"tenant": tenant.slug, **asdict(done.loss), "unconfirmed": done.unconfirmed, "text": text}


def _in_words(loss: shred.Loss) -> str:
    return (
        f"{loss.keys} data keys, {loss.connections} connections, {loss.pending_revocations} revocations not confirmed "
        f"yet, {loss.client_secrets} client secrets"
    )
