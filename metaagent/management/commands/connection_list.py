"""`connection_list TENANT`: who acts as which account where; never a secret."""

from typing import Any

from django.core.management.base import CommandParser

from metaagent.management.answering import Answering, Found, tenant_named
from vault import selectors


class Command(Answering):
    """List connections."""

    help = "List a tenant's connections, and what is still to be revoked at a provider."

    def arguments(self, parser: CommandParser) -> None:
        """The tenant."""
        parser.add_argument("tenant")

    def work(self, **options: Any) -> Found:
        """List them."""
        tenant = tenant_named(options["tenant"], closed=True)
        waiting = selectors.waiting(tenant.pk)
        listed = []
        for row in selectors.of_tenant(tenant.pk):
            pending = waiting.get(row.pk)
            listed.append(
                {
                    "id": row.pk,
                    "provider": row.installation.slug,
                    "owner": row.owner.email if row.owner else None,
                    "account_id": row.account_id,
                    "account": row.account_label,
                    "name": row.name,
                    "default": row.is_default,
                    "status": row.status,
                    "reason": row.reason,
                    "scopes": row.scopes,
                    "attempts": pending.attempts if pending else 0,
                    "revoking_since": pending.since if pending else None,
                    "next_attempt_at": pending.next_at if pending else None,
                }
            )
        return {"connections": listed, "text": "\n".join(map(_line, listed)) or "Nothing is connected yet."}


def _line(c: Found) -> str:
    line = f"{c['id']}  {c['provider']:<12} {c['status']:<10} {c['owner'] or 'tenant'} as {c['name'] or c['account']}"
    if c["revoking_since"] is None:
        return line
    since, later = (f"{c[name]:%Y-%m-%d %H:%M}" for name in ("revoking_since", "next_attempt_at"))
    return f"{line}; not revoked there since {since}, {c['attempts']} attempts, the next one {later} UTC"
