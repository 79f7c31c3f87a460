"""`tenant_remove TENANT --yes`: a tenant ends, with everything in it but its audit log."""

from datetime import UTC, datetime
from typing import Any

from django.core.management.base import CommandParser

from metaagent.management.answering import Answering, Found, tenant_named
from vault.services import leave
from vault.services.revoke import all_in_words


class Command(Answering):
    """Remove a tenant."""

    help = "Close a tenant at once, end its connections, and delete it when its providers have confirmed that."

    def arguments(self, parser: CommandParser) -> None:
        """The tenant, and that it is meant."""
        parser.add_argument("tenant")
        parser.add_argument("--yes", action="store_true", required=True, help="it cannot be undone")

    def work(self, **options: Any) -> Found:
        """Close it; the sweep deletes it."""
        tenant = tenant_named(options["tenant"], closed=True)
        ended = leave.remove_tenant(tenant=tenant, by=None, now=datetime.now(UTC))
        text = (
            f"{tenant.slug} is closed. {all_in_words(ended)} Its rows are deleted when nothing is left to revoke, "
            "and after seven days at the latest; its audit log stays."
        )
        found = {"id": tenant.pk, "tenant": tenant.slug, "revoked": ended.confirmed, "pending": ended.pending}
        return {**found, "text": text}
