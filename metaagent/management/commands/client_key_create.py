"""`client_key_create TENANT EMAIL`: a bearer for a headless MCP client, printed once."""

from datetime import UTC, datetime
from typing import Any

from django.core.management.base import CommandParser

from metaagent.management.answering import Answering, Found, tenant_named, user_named
from tenants import selectors, services
from tenants.services import Refused


class Command(Answering):
    """Make a client key."""

    help = "Make a client key for a member; it is printed once and kept nowhere."

    def arguments(self, parser: CommandParser) -> None:
        """Whose, its name, its lifetime."""
        parser.add_argument("tenant")
        parser.add_argument("email")
        parser.add_argument("--name", default="key")
        parser.add_argument("--expires-days", type=int, default=None)

    def work(self, **options: Any) -> Found:
        """Make it."""
        tenant, user = tenant_named(options["tenant"]), user_named(options["email"])
        member = selectors.membership(tenant.pk, user.pk)
        if member is None:
            raise Refused(f"{user.email} is not in {tenant.slug}. Run: manage.py member_add {tenant.slug} {user.email}")
        row, key = services.create_client_key(
            membership=member,
            name=options["name"],
            now=datetime.now(UTC),
            expires_days=options["expires_days"],
            by=None,
        )
        text = f"{key}\nThis key is shown once. It speaks for {user.email} in {tenant.slug}."
        return {"id": row.pk, "prefix": row.prefix, "key": key, "expires_at": row.expires_at, "text": text}
