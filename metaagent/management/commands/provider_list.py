"""`provider_list TENANT`: what a tenant exports."""

from typing import Any

from django.core.management.base import CommandParser

from metaagent.management.answering import Answering, Found, tenant_named
from providers import selectors
from vault.links import callback_url


class Command(Answering):
    """List installations."""

    help = "List what a tenant exports."

    def arguments(self, parser: CommandParser) -> None:
        """The tenant."""
        parser.add_argument("tenant")

    def work(self, **options: Any) -> Found:
        """List them."""
        rows = selectors.installations(tenant_named(options["tenant"]).pk)
        listed = [
            {
                "id": row.pk,
                "slug": row.slug,
                "tool": f"use_{row.slug}",
                "source": row.source,
                "exposure": row.exposure,
                "api_base": selectors.spec_of(row).api_base,
                "redirect_uri": callback_url(row.pk),
            }
            for row in rows
        ]
        text = "\n".join(f"{row['tool']:<20} {row['exposure']:<7} {row['api_base']}" for row in listed)
        return {"providers": listed, "text": text or "Nothing is exported yet. Run: manage.py provider_install"}
