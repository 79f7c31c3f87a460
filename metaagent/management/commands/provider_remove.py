"""`provider_remove TENANT SLUG`: stop exporting a provider, and end its connections there."""

from datetime import UTC, datetime
from typing import Any

from django.core.management.base import CommandParser

from metaagent.management.answering import Answering, Found, installation_named, tenant_named
from vault.services import leave
from vault.services.revoke import all_in_words


class Command(Answering):
    """Remove an installation."""

    help = "Stop exporting a provider. Its connections end here at once, and are revoked at the provider."

    def arguments(self, parser: CommandParser) -> None:
        """Tenant and provider."""
        parser.add_argument("tenant")
        parser.add_argument("slug")

    def work(self, **options: Any) -> Found:
        """Remove it."""
        tenant = tenant_named(options["tenant"])
        row = installation_named(tenant, options["slug"])
        ended = leave.remove_provider(installation=row, by=None, now=datetime.now(UTC))
        text = f"{tenant.slug} no longer exports {row.slug}. {all_in_words(ended)}"
        return {"slug": row.slug, "revoked": ended.confirmed, "pending": ended.pending, "text": text}
