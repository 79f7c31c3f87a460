"""`provider_remove TENANT SLUG`: stop exporting a provider; its connections are ended at the provider first."""

from typing import Any

from django.core.management.base import CommandParser

from metaagent.management.answering import Answering, Found, tenant_named
from providers import selectors, services
from tenants.services import Refused
from vault import selectors as vault
from vault.services import revoke


class Command(Answering):
    """Remove an installation."""

    help = "Stop exporting a provider. Its connections are revoked at the provider first."

    def arguments(self, parser: CommandParser) -> None:
        """Tenant and provider."""
        parser.add_argument("tenant")
        parser.add_argument("slug")

    def work(self, **options: Any) -> Found:
        """Disconnect everyone, then remove."""
        tenant = tenant_named(options["tenant"])
        row = selectors.installation(tenant.pk, options["slug"])
        if row is None:
            raise Refused(f"{tenant.slug} does not export “{options['slug'][:40]}”.")
        open_connections = [
            c for c in vault.of_tenant(tenant.pk) if c.installation_id == row.pk and c.status != "revoked"
        ]
        failed = [c for c in open_connections if not revoke.disconnect(connection=c, by=None)]
        if failed:
            raise Refused(
                f"{len(failed)} of {len(open_connections)} connections could not be revoked at the provider yet. "
                "They are not used any more. Run this again when the provider answers."
            )
        services.remove(row=row, by=None)
        text = f"{tenant.slug} no longer exports {options['slug']}; {len(open_connections)} connections were revoked."
        return {"slug": options["slug"], "revoked": len(open_connections), "text": text}
