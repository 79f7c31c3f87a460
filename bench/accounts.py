"""Makes the people a run acts as, by the product's own services. Run: `python -m bench.accounts`, with its settings."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta

import django

django.setup()

from django.core.management import call_command  # noqa: E402 - apps must be loaded

from bench.calls import SEARCH  # noqa: E402 - see above
from bench.catalogue import join  # noqa: E402 - see above
from bench.product import PEOPLE, REMOTE, TENANTS  # noqa: E402 - see above
from providers import review  # noqa: E402 - see above
from providers.manifest import Entry, Manifest  # noqa: E402 - see above
from providers.models import Installation  # noqa: E402 - see above
from providers.selectors import spec_of  # noqa: E402 - see above
from providers.services import drafted, store  # noqa: E402 - see above
from tenants import services  # noqa: E402 - see above
from tenants.models import Tenant, User  # noqa: E402 - see above
from vault.models import Connection, SealedTokenSet  # noqa: E402 - see above
from vault.services.sealed import grant_of, seal_tokens  # noqa: E402 - see above
from vault.tokens import TokenSet  # noqa: E402 - see above


def make() -> None:
    """Print one line an account: where it calls and with which key.

    BENCH_PROVIDERS (`sentry`) are installed everywhere; with BENCH_TOKEN all accounts have that token.
    """
    call_command("migrate", verbosity=0)
    join()
    now = datetime.now(UTC)
    for t in range(TENANTS):
        tenant = services.create_tenant(slug=f"tenant-{t}", name="", by=None)
        installed = [_installed(tenant, slug, now) for slug in os.environ.get("BENCH_PROVIDERS", "sentry").split()]
        for p in range(int(os.environ.get("BENCH_PEOPLE", PEOPLE))):
            user = services.create_user(email=f"person-{p}@tenant-{t}.example.com", password=None)
            member = services.add_member(tenant=tenant, user=user, role="member", by=None)
            _, key = services.create_client_key(membership=member, name="bench", now=now, by=None)
            for row in installed:
                _connect(row, user, f"{t}-{p}", now)
                print(json.dumps({"path": f"/mcp/{tenant.slug}/{row.slug}", "key": key}))


def _installed(tenant: Tenant, slug: str, now: datetime) -> Installation:
    """One of the catalogue, or the provider that is an MCP server."""
    base = os.environ["BENCH_PROVIDER_URL"]
    if slug != REMOTE:
        return store(row=drafted(tenant=tenant, slug=slug, client_id="bench", api_base=base), by=None)
    facts = {"api_base": base, "access": "key", "oauth": {"identity": "owner"}}
    row = store(
        row=drafted(tenant=tenant, slug=slug, client_id="", source="mcp", url=f"{base}/mcp", facts=facts), by=None
    )
    fields = {"org": {"type": "string"}, "limit": {"type": "integer"}}
    search = Entry(
        name=SEARCH,
        source_name=SEARCH,
        summary="Search issues.",
        schema={"type": "object", "properties": fields, "required": ["org"]},
        effect="read",
        call={"path": "/mcp"},
    )
    review.pin(installation=row, manifest=Manifest.of([search]), by=None, now=now, trust_hints=True)
    row.refresh_from_db()
    return row


def _connect(installed: Installation, user: User, name: str, now: datetime) -> None:
    spec = spec_of(installed)
    connection = Connection.objects.create(
        tenant=installed.tenant,
        installation=installed,
        owner=user,
        account_id=spec.account_id(name),
        account_label=user.email,
        scopes=sorted(spec.oauth.scopes),
        is_default=True,
        connected_at=now,
        grant=grant_of(installed),
    )
    tokens = TokenSet(os.environ.get("BENCH_TOKEN", f"token-of-{name}"), f"refresh-of-{name}", 86_400, None)
    SealedTokenSet.objects.create(
        connection=connection,
        expires_at=now + timedelta(days=1),
        refreshed_at=now,
        **seal_tokens(connection, tokens, version=1, grant=grant_of(installed)),
    )


if __name__ == "__main__":
    make()
