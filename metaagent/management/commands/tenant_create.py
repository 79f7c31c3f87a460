"""`tenant_create SLUG`: a new tenant."""

from typing import Any

from django.core.management.base import CommandParser

from metaagent.management.answering import Answering, Found
from tenants import services


class Command(Answering):
    """Make a tenant."""

    help = "Make a tenant."

    def arguments(self, parser: CommandParser) -> None:
        """Slug and name."""
        parser.add_argument("slug")
        parser.add_argument("--name", default="")

    def work(self, **options: Any) -> Found:
        """Make it."""
        row = services.create_tenant(slug=options["slug"], name=options["name"], by=None)
        return {"id": row.pk, "slug": row.slug, "name": row.name, "text": f"Tenant {row.slug} is there."}
