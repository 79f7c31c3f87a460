"""Makes the people a run acts as, by the product's own services. Run: `python -m bench.accounts`, with its settings."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta

import django

django.setup()

from django.core.management import call_command  # noqa: E402 - apps must be loaded

from bench.product import PEOPLE, TENANTS  # noqa: E402 - see above
from providers import catalogue  # noqa: E402 - see above
from providers.services import drafted, store  # noqa: E402 - see above
from tenants import services  # noqa: E402 - see above
from vault.models import Connection, SealedTokenSet  # noqa: E402 - see above
from vault.services.sealed import grant_of, seal_tokens  # noqa: E402 - see above
from vault.tokens import TokenSet  # noqa: E402 - see above

_PROVIDER = "sentry"


def make() -> None:
    """Print one line an account: where it calls and with which key."""
    call_command("migrate", verbosity=0)
    spec = catalogue.get(_PROVIDER)
    if spec is None:
        raise LookupError(_PROVIDER)
    now = datetime.now(UTC)
    for t in range(TENANTS):
        tenant = services.create_tenant(slug=f"tenant-{t}", name="", by=None)
        wanted = drafted(tenant=tenant, slug=_PROVIDER, client_id="bench", api_base=os.environ["BENCH_PROVIDER_URL"])
        installed = store(row=wanted, by=None)
        for p in range(PEOPLE):
            user = services.create_user(email=f"person-{p}@tenant-{t}.example.com", password=None)
            member = services.add_member(tenant=tenant, user=user, role="member", by=None)
            _, key = services.create_client_key(membership=member, name="bench", now=now, by=None)
            connection = Connection.objects.create(
                tenant=tenant,
                installation=installed,
                owner=user,
                account_id=spec.account_id(f"{t}-{p}"),
                account_label=user.email,
                scopes=sorted(spec.oauth.scopes),
                is_default=True,
                connected_at=now,
                grant=grant_of(installed),
            )
            tokens = TokenSet(f"token-of-{t}-{p}", f"refresh-of-{t}-{p}", 86_400, None)
            SealedTokenSet.objects.create(
                connection=connection,
                expires_at=now + timedelta(days=1),
                refreshed_at=now,
                **seal_tokens(connection, tokens, version=1, grant=grant_of(installed)),
            )
            print(json.dumps({"path": f"/mcp/{tenant.slug}/{_PROVIDER}", "key": key}))


if __name__ == "__main__":
    make()
