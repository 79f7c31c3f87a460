"""What an administrator sets for one installation, as clients meet it; with the process that serves already running."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from tests.vault.outages import provider_up
from tests.world import World
from vault.models import Connection

LIST = {"mode": "tool", "tool": "list_organizations"}


def change(world: World, *words: str) -> dict[str, Any]:
    out = io.StringIO()
    call_command("provider_set", world.tenant.slug, "sentry", *words, "--json", stdout=out, stderr=io.StringIO())
    found: dict[str, Any] = json.loads(out.getvalue())
    return found


def limit(world: World, **limits: int | str) -> dict[str, Any]:
    return change(world, *(word for name, number in limits.items() for word in ("--limit", f"{name}={number}")))


def test_an_account_is_held_to_the_installation_s_rate_and_other_tenants_are_not(world: World) -> None:
    other = World(world.product, world.sandbox)
    for each in (world, other):
        each.connect()
    assert limit(world, provider_calls_per_minute=2)["limits"] == {"provider_calls_per_minute": 2}
    for _ in range(2):
        assert not world.ask("run", LIST).is_error
    error = world.error("run", LIST)
    assert (error["code"], error["scope"]) == ("rate_limited", "provider")
    for _ in range(3):
        assert not other.ask("run", LIST).is_error
    limit(world, provider_calls_per_minute="")
    assert not world.ask("run", LIST).is_error


def test_all_accounts_of_an_installation_share_its_rate(world: World) -> None:
    limit(world, provider_calls_per_minute_tenant=2)
    people = [world.me, world.person(), world.person()]
    for person in people:
        world.connect(person)
    for person in people[:2]:
        assert not world.ask("run", LIST, key=person.key).is_error
    error = world.error("run", LIST, key=people[2].key)
    assert (error["code"], error["scope"]) == ("rate_limited", "tenant")


def test_a_result_is_given_again_for_as_long_as_the_installation_says(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from metaagent.asgi import runtime

    monkeypatch.setattr(runtime.agent._results, "_most_s", 30)
    world.connect()

    def spared() -> int:
        return int(world.ask("run", LIST).structured_content["usage"]["cacheHits"])

    assert (spared(), spared()) == (0, 1)
    limit(world, result_cache_s=0)
    assert spared() == 0
    limit(world, result_cache_s=3_600)
    assert spared() == 1


def test_an_ask_may_make_as_many_calls_as_the_installation_says(world: World) -> None:
    world.connect()
    limit(world, tool_calls_per_ask=3)
    assert world.ask("run", LIST).structured_content["usage"]["callsLeft"] == 2
    limit(world, tool_calls_per_ask=1_000)  # the deployment grants fewer
    assert world.ask("run", LIST).structured_content["usage"]["callsLeft"] < 100


def test_a_dead_provider_is_given_up_after_as_many_failures_as_the_installation_says(world: World) -> None:
    with provider_up() as provider:
        theirs = World(world.product, provider.served)
        theirs.connect()
        limit(theirs, breaker_failures=2, breaker_pause_s=60)
        provider.down()
        codes = [theirs.error("run", LIST)["code"] for _ in range(3)]
        assert codes == ["provider_unavailable"] * 2 + ["circuit_open"]


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("provider_calls_per_minute=0", "must be a whole number from 1 to"),
        ("provider_calls_per_minute=many", "must be a whole number"),
        ("breaker_pause_s=61", "from 1 to 60"),
        ("result_cache_s=-1", "from 0 to 3,600"),
        ("asks=3", "There is no limit “asks”. There are: provider_calls_per_minute,"),
        ("asks=", "There is no limit “asks”"),
        ("breaker_failures", "must be NAME=NUMBER"),
    ],
)
def test_a_limit_that_cannot_be_is_refused_by_its_name(world: World, word: str, says: str) -> None:
    with pytest.raises(CommandError, match=says) as caught:
        change(world, "--exposure", "strict", "--limit", word)
    assert caught.value.returncode == 2
    world.installation.refresh_from_db()
    assert (world.installation.limits, world.installation.exposure) == ({}, "soft")


def test_what_an_installation_sets_above_the_deployment_s_is_said_not_to_count(world: World) -> None:
    out = io.StringIO()
    call_command(
        "provider_set", world.tenant.slug, "sentry", "--limit", "provider_calls_per_minute=9000000", stdout=out
    )
    assert "is smaller and counts" in out.getvalue()


def test_switched_off_nobody_sees_it_and_switched_on_everything_is_as_it_was(world: World) -> None:
    from django.utils import timezone

    from vault.services import leave

    connection, revoked = world.connect(), world.stats()["revocations"]
    assert change(world, "--disable")["enabled"] is False
    assert world.post({"jsonrpc": "2.0", "id": 1, "method": "ping"}).status_code == 404
    leave.end_left(now=timezone.now())
    leave.purge(now=timezone.now())
    assert change(world, "--enable")["enabled"] is True
    assert not world.ask("run", LIST).is_error
    assert Connection.objects.get(pk=connection.pk).epoch == connection.epoch
    assert world.stats()["revocations"] == revoked


def test_what_is_switched_off_can_be_removed_for_good(world: World) -> None:
    connection = world.connect()
    change(world, "--disable")
    call_command("provider_remove", world.tenant.slug, "sentry", stdout=io.StringIO())
    assert not Connection.objects.filter(pk=connection.pk, status="ready").exists()
    with pytest.raises(CommandError, match="does not export"):
        change(world, "--enable")


def test_the_log_says_what_was_changed_and_a_change_that_is_none_is_not_on_record(world: World) -> None:
    def details() -> list[dict[str, Any]]:
        return [event.detail for event in world.events("provider.change.done")]

    before = len(details())
    change(world, "--limit", "breaker_failures=3", "--exposure", "strict")
    change(world, "--limit", "breaker_failures=3", "--exposure", "strict")
    change(world, "--limit", "breaker_failures=", "--disable")
    first, last = details()[before:]
    assert {name: each for name, each in first.items() if name != "version"} == {
        "exposure": "strict",
        "limits.breaker_failures": 3,
    }
    assert (last["limits.breaker_failures"], last["enabled"]) == (None, False)
