"""What a tenant has installed and how it does, as an administrator sees it on the command line."""

from __future__ import annotations

import io
import json
import os
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.management import call_command

from audit import selectors, services
from audit.events import Event, EventKind
from providers.health import SOON
from tests.vault.outages import provider_up
from tests.world import World
from vault.models import Connection

LIST = {"mode": "tool", "tool": "list_organizations"}


def listed(world: World) -> dict[str, Any]:
    out = io.StringIO()
    call_command("provider_list", world.tenant.slug, "--json", stdout=out, stderr=io.StringIO())
    [found] = json.loads(out.getvalue())["providers"]
    return dict(found)


def text(world: World) -> str:
    out = io.StringIO()
    call_command("provider_list", world.tenant.slug, stdout=out)
    return out.getvalue()


def ended(world: World, code: str = "", *, ago: timedelta = timedelta(), **detail: Any) -> Event:
    kind = EventKind.TOOL_FAILED if code else EventKind.TOOL_DONE
    stated = {**({"code": code} if code else {}), **detail}
    return Event(kind, world.tenant.pk, provider="sentry", detail=stated, at=datetime.now(UTC) - ago)


def test_calls_and_failures_of_the_last_hour_and_day_are_shown(world: World) -> None:
    assert listed(world)["health"]["hour"] == {"calls": 0, "failed": 0, "error_rate": None}
    assert "hour: no calls; day: no calls; last success: none in a day" in text(world)
    with provider_up() as provider:
        theirs = World(world.product, provider.served)
        theirs.connect()
        assert not theirs.ask("run", LIST).is_error
        provider.down()
        theirs.error("run", LIST)
        found = listed(theirs)
    assert found["health"]["hour"] == found["health"]["day"] == {"calls": 2, "failed": 1, "error_rate": 0.5}
    assert found["health"]["errors"] == {"Unavailable": 1}
    assert datetime.fromisoformat(found["health"]["last_success"]) > datetime.now(UTC) - timedelta(minutes=1)
    assert found["attention"] == ["1 of 2 calls of the last hour failed; of the day: Unavailable 1."]


def test_what_is_older_was_cached_or_was_cancelled_does_not_count(world: World) -> None:
    services.append(
        [
            ended(world, ago=timedelta(hours=25)),
            ended(world, "Unavailable", ago=timedelta(hours=2)),
            ended(world, ago=timedelta(hours=3)),
            ended(world, cached=True),
            ended(world, "cancelled"),
        ]
    )
    found = listed(world)["health"]
    assert (found["hour"]["calls"], found["day"]) == (0, {"calls": 2, "failed": 1, "error_rate": 0.5})


def test_only_the_newest_events_are_looked_at_however_many_there_are(world: World) -> None:
    services.append([ended(world) for _ in range(20)])
    [found] = selectors.tool_outcomes(world.tenant.pk, now=datetime.now(UTC), newest=5)
    assert found.day == 5


def test_connections_that_need_somebody_are_counted(world: World) -> None:
    people = [world.me, world.person(), world.person()]
    needs, ending, _ = [world.connect(person) for person in people]
    Connection.objects.filter(pk=needs.pk).update(status="needs_auth", reason="revoked")
    Connection.objects.filter(pk=ending.pk).update(grant_ends_at=datetime.now(UTC) + SOON / 2)
    found = listed(world)
    assert found["health"]["connections"] == {"ready": 2, "needs_auth": 1, "revoking": 0, "ending": 1}
    assert found["attention"] == [
        "To be connected again by their people: 1 connection.",
        "Ended by the provider within 7 days: 1 connection.",
    ]


def test_what_is_switched_off_is_listed_with_its_limits(world: World) -> None:
    limit = ("--limit", "result_cache_s=0")
    call_command("provider_set", world.tenant.slug, "sentry", "--disable", *limit, stdout=io.StringIO())
    found = listed(world)
    assert (found["enabled"], found["limits"]) == (False, {"result_cache_s": 0})
    assert "(switched off)" in text(world)
    assert "limits: result_cache_s=0" in text(world)


def test_without_redis_only_the_serving_process_knows_the_breaker(world: World, settings: Any) -> None:
    settings.REDIS_URL = ""
    assert listed(world)["health"]["breaker"] == {"state": "known to the serving process only"}


@pytest.mark.skipif(not os.environ["METAAGENT_TEST_REDIS"], reason="redis could not be started")
def test_with_redis_the_breaker_is_what_all_processes_know(world: World, settings: Any) -> None:
    from metaagent.cache import server

    settings.REDIS_URL = os.environ["METAAGENT_TEST_REDIS"]
    client = server(settings.REDIS_URL).client
    paused = world.connect()
    assert listed(world)["health"]["breaker"] == {"state": "closed", "failures": 0, "accounts_paused": 0}
    client.set(f"traffic:faults:{world.installation.pk.hex}", settings.BREAKER_FAILURES)
    client.set(f"traffic:pause:{paused.pk.hex}", 1, px=60_000)
    found = listed(world)
    assert found["health"]["breaker"] == {"state": "open", "failures": settings.BREAKER_FAILURES, "accounts_paused": 1}
    assert found["attention"][0].startswith("It is left alone after")
    call_command("provider_set", world.tenant.slug, "sentry", "--limit", "breaker_failures=50", stdout=io.StringIO())
    assert listed(world)["health"]["breaker"]["state"] == "closed"
