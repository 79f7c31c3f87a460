"""`connection_list TENANT`: who acts as which account where; never a secret."""

from typing import Any

from django.core.management.base import CommandParser

from metaagent.management.answering import Answering, Found, tenant_named
from vault import selectors


class Command(Answering):
    """List connections."""

    help = "List a tenant's connections."

    def arguments(self, parser: CommandParser) -> None:
        """The tenant."""
        parser.add_argument("tenant")

    def work(self, **options: Any) -> Found:
        """List them."""
        listed = [
            {
                "id": row.pk,
                "provider": row.installation.slug,
                "owner": row.owner.email if row.owner else None,
                "account_id": row.account_id,
                "account": row.account_label,
                "status": row.status,
                "reason": row.reason,
                "scopes": row.scopes,
            }
            for row in selectors.of_tenant(tenant_named(options["tenant"]).pk)
        ]
        lines = [
            f"{c['id']}  {c['provider']:<12} {c['status']:<10} {c['owner'] or 'tenant'} as {c['account']}"
            for c in listed
        ]
        return {"connections": listed, "text": "\n".join(lines) or "Nothing is connected yet."}
