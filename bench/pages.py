"""How long the pages take, how many queries they make and how large they are, in a tenant that has a lot of everything.

`python -m bench.pages` prints one JSON object a page. It starts a PostgreSQL of its own and fills it, which takes a few
minutes; `--events` and `--connections` make it less.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from bench import product

_TIMES = 5
_PEOPLE = 1_000
_GRANTS_EACH = 10
_DAYS = 90
_SLOW_MS, _QUERIES, _BYTES = 150.0, 30, 60_000


def _settings(url: str) -> None:
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "DATABASE_URL": url,
        "VAR_DIR": tempfile.mkdtemp(prefix="metaagent-bench-"),
        "SECRET_KEY": secrets.token_urlsafe(64),
        "API_REQUESTS_PER_MINUTE": "1000000",
        "LOG_LEVEL": "ERROR",
    }
    import django  # noqa: PLC0415 - the settings are made just now

    django.setup()


_EVENTS = """
INSERT INTO audit_auditevent (id, at, tenant_id, kind, user_id, client, run_id, provider, connection_id, tool,
                              args_hmac, intent_id, detail)
SELECT gen_random_uuid(), now() - (%(most)s - n) * interval '2 seconds', %(tenant)s,
       (array['tool.call.intent', 'tool.call.done', 'tool.call.intent', 'tool.call.done', 'tool.call.intent',
              'tool.call.failed', 'token.refresh.intent', 'token.refresh.done', 'consent.use.done', 'ask.gate.denied']
       )[1 + n %% 10],
       (%(people)s::uuid[])[1 + n %% array_length(%(people)s::uuid[], 1)], 'key:' || gen_random_uuid(),
       'run-' || (n / 2), 'sentry', (%(accounts)s::uuid[])[1 + n %% array_length(%(accounts)s::uuid[], 1)],
       'list_issues', repeat('0', 64), NULL, '{"ms": 12, "requests": 1, "bytes_in": 2048}'
FROM generate_series(1, %(most)s) AS n
"""


class _Filled:
    """A tenant with a lot of everything, and its owner."""

    def __init__(self, *, events: int, connections: int) -> None:
        from django.contrib.auth.hashers import make_password  # noqa: PLC0415
        from django.db import connection  # noqa: PLC0415

        from providers import services as providers  # noqa: PLC0415
        from tenants import services as tenants  # noqa: PLC0415
        from tenants.models import Membership, User  # noqa: PLC0415
        from tests.vault.rows import fill  # noqa: PLC0415

        self.tenant = tenants.create_tenant(slug="large", name="Large", by=None)
        password = make_password("correct horse battery")
        users = User.objects.bulk_create(
            User(email=f"person-{n}@example.com", name=f"Person {n}", password=password) for n in range(_PEOPLE)
        )
        Membership.objects.bulk_create(Membership(tenant=self.tenant, user=user) for user in users)
        self.owner = users[0]
        member = tenants.add_member(tenant=self.tenant, user=self.owner, role="owner", by=None)
        for user in users[:200]:
            seat = Membership.objects.get(tenant=self.tenant, user=user)
            tenants.create_client_key(membership=seat, name="laptop", now=datetime.now(UTC), by=None)
        row, self.key = tenants.create_client_key(membership=member, name="bench", now=datetime.now(UTC), by=None)
        installation = providers.store(
            row=providers.drafted(
                tenant=self.tenant, slug="sentry", client_id="bench", api_base="https://sentry.example.com"
            ),
            by=None,
        )
        accounts: list[UUID] = []
        each = max(1, connections // _PEOPLE)
        for user in users:
            accounts += [made.pk for made in fill(installation, user, each)]
        with connection.cursor() as cursor:
            for begin in range(0, events, 250_000):
                cursor.execute(
                    _EVENTS,
                    {
                        "most": min(250_000, events - begin),
                        "tenant": self.tenant.pk,
                        "people": [user.pk for user in users],
                        "accounts": accounts,
                    },
                )
        _let_clients_in(self.tenant)
        _asked(self.tenant, users)
        self.operator = User.objects.create(email="operator@example.com", password=password, is_staff=True)
        self.ids: dict[str, object] = {
            "tenant": "large",
            "slug": "sentry",
            "connection_id": accounts[0],
            "key_id": row.pk,
            "membership_id": Membership.objects.get(tenant=self.tenant, user=users[1]).pk,
            "seq": _newest(),
        }
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")


def _let_clients_in(tenant: Any) -> None:  # noqa: ANN401 - models come late
    """Some clients, each let in by everybody."""
    from tenants.models import Membership  # noqa: PLC0415
    from tenants.oauth.models import Client as App  # noqa: PLC0415
    from tenants.oauth.models import ClientGrant  # noqa: PLC0415

    apps = [
        App.objects.create(
            client_id=f"bench-{n}",
            name=f"Client {n}",
            redirect_uris="http://127.0.0.1:9/callback",
            client_type="public",
            authorization_grant_type="authorization-code",
            registration_source="dcr",
        )
        for n in range(_GRANTS_EACH)
    ]
    ends = datetime.now(UTC) + timedelta(days=30)
    ClientGrant.objects.bulk_create(
        ClientGrant(
            membership=member,
            client=app,
            resource=f"http://127.0.0.1/mcp/{tenant.slug}/sentry",
            scope="mcp",
            destination="127.0.0.1:9",
            expires_at=ends,
        )
        for member in Membership.objects.filter(tenant=tenant)
        for app in apps
    )


def _asked(tenant: Any, users: list[Any]) -> None:  # noqa: ANN401 - models come late
    """Everybody asks something every day, and it is swept as it is every hour."""
    from tenants import asked  # noqa: PLC0415

    now, drawn = datetime.now(UTC), random.Random(7)  # noqa: S311 - the same every time
    ways = ("tool", "route", "replay", "plan", "loop", "approved", "degraded")
    outcomes = ("ok",) * 6 + ("needs_auth", "rate_limited", "provider_unavailable", "internal")
    for day in range(_DAYS):
        asked.count(
            [
                asked.Asked(
                    tenant_id=tenant.pk,
                    user_id=user.pk,
                    provider=drawn.choice(("sentry", "github", "drive")),
                    way=drawn.choice(ways),
                    outcome=drawn.choice(outcomes),
                    ms=int(drawn.lognormvariate(6, 1)),
                    tokens=drawn.randrange(3_000),
                    micros=drawn.randrange(9_000),
                    saved=drawn.randrange(20_000),
                    at=now - timedelta(days=day, hours=drawn.randrange(24)),
                )
                for user in users
            ]
        )
    asked.forget(now=now)


def _newest() -> int:
    from audit.models import AuditEvent  # noqa: PLC0415

    return AuditEvent.objects.latest("seq").seq


def _pages(filled: _Filled) -> Iterator[tuple[str, str]]:
    """Each address that can be looked at, by name, and the log with each of its filters."""
    from tests.addresses import places  # noqa: PLC0415

    for place in places():
        if place.gaps.keys() <= filled.ids.keys():
            yield place.name, place.filled(filled.ids)
    console = f"/console/{filled.tenant.slug}/"
    for days in ("24h", "7d", "30d", "13w"):
        yield f"console?range={days}", f"{console}?range={days}"
        yield f"console?range={days}&people", f"{console}?range={days}&people=shown"
    for rest in ("clients/?q=Client", "clients/?client=1", "clients/?person=person-7", "members/?q=person-7"):
        yield f"console_{rest}", console + rest
    for rest in ("?q=alice", "?status=ready", "?person=person-7@example.com", "?provider=sentry"):
        yield f"console_connections{rest}", f"{console}connections/{rest}"
    log = f"{console}audit/"
    account, user = filled.ids["connection_id"], filled.owner.pk
    for query in (
        f"user={user}",
        f"account={account}",
        "provider=sentry",
        "provider=nothing",
        "subject=consent",
        "subject=vault",
        "outcome=failed",
        "outcome=wrong_person",
        "client=key:nothing",
        "run=run-1",
        "since=2026-01-01&until=2026-01-02",
        f"user={user}&outcome=failed",
        f"account={account}&subject=token",
    ):
        yield f"audit?{query.replace(str(user), '…').replace(str(account), '…')}", f"{log}?{query}"


def _measured(filled: _Filled) -> Iterator[dict[str, Any]]:
    from django.db import connection  # noqa: PLC0415
    from django.test import Client  # noqa: PLC0415
    from django.test.utils import CaptureQueriesContext  # noqa: PLC0415

    def logged_in(user: Any) -> Client:  # noqa: ANN401 - models come late
        found = Client(SERVER_NAME="127.0.0.1")
        found.force_login(user)
        session = found.session
        session["confirmed_at"] = time.time()
        session.save()
        return found

    owner, operator = logged_in(filled.owner), logged_in(filled.operator)
    for name, address in _pages(filled):
        browser = operator if address.startswith("/admin/") else owner
        headers = {"Authorization": f"Bearer {filled.key}"} if address.startswith("/api/") else {}
        answer = browser.get(address, headers=headers)
        if answer.status_code != 200 or answer.streaming:  # noqa: PLR2004 - nothing to look at
            continue
        took = []
        for _ in range(_TIMES):
            began = time.perf_counter()
            browser.get(address, headers=headers)
            took.append((time.perf_counter() - began) * 1_000)
        with CaptureQueriesContext(connection) as queries:
            browser.get(address, headers=headers)
        ms, made, size = round(statistics.median(took), 1), len(queries), len(answer.content)
        page = answer.headers["content-type"].startswith("text/html")
        over = ms > _SLOW_MS or made > _QUERIES or (page and size > _BYTES)
        figures = {"case": "page", "page": name, "ms": ms, "queries": made, "bytes": size}
        yield {**figures, "over": True} if over else figures


def main() -> None:
    """Fill, measure, print."""
    parser = argparse.ArgumentParser(prog="python -m bench.pages", description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--connections", type=int, default=10_000)
    given = parser.parse_args()
    with product.database() as url:
        _settings(url)
        from django.core.management import call_command  # noqa: PLC0415

        call_command("migrate", verbosity=0)
        sys.stderr.write("Filling the database …\n")
        filled = _Filled(events=given.events, connections=given.connections)
        for line in _measured(filled):
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
