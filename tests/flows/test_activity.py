"""What was done in a person's name, told to them in words, and to nobody else."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any
from uuid import UUID

import pytest

from audit import services as audit
from audit.events import Event, EventKind
from metaagent.agent.types import new_run_id
from metaagent.visitor import Visitor
from tenants import services as tenants
from tests.flows.test_connections import opened
from tests.flows.test_consent import account, another_key
from tests.world import World


def words(page: str) -> str:
    """What a page says, without its markup."""
    main = page.partition("<main")[2]
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", main))).replace(" ,", ",")


def activity(world: World, query: str = "") -> str:
    return opened(world, f"/activity/{query}")[0]


def calls(world: World, many: int, **given: Any) -> list[str]:
    """So many asks of one call each, as the log has them."""
    user_id = given.pop("user_id", world.me.user.pk)
    effect, code = given.pop("effect", "read"), given.pop("code", "")
    who = {"tenant_id": world.tenant.pk, "user_id": user_id, "provider": "sentry", **given}
    runs, began = [new_run_id() for _ in range(many)], datetime.now(UTC) - timedelta(hours=1)
    for number, run in enumerate(runs):
        at = began + timedelta(seconds=number)
        intent = Event(
            EventKind.TOOL_INTENT,
            run_id=run,
            tool="list_issues",
            at=at,
            detail={"effect": effect, "by": "prompt"},
            **who,
        )
        kind = EventKind.TOOL_FAILED if code else EventKind.TOOL_DONE
        detail = {"ms": 120, "bytes_in": 2_048, **({"code": code} if code else {})}
        ended = at + timedelta(seconds=1.5)
        outcome = Event(kind, run_id=run, tool="list_issues", intent_id=intent.id, at=ended, detail=detail, **who)
        audit.append([intent, outcome])
    return runs


def test_an_ask_is_told_in_one_line_with_client_provider_account_and_outcome(world: World) -> None:
    world.error("who am I?")
    connection = world.connect()
    assert not world.call_tool("list_organizations").is_error
    said = words(activity(world))
    assert f"test read from Sentry as {connection.label} · 1 call" in said
    assert f"You connected an account: Sentry as {connection.label}" in said
    assert "test asked Sentry Stopped an account had to be connected first" in said
    assert said.index("read from") < said.index("You connected") < said.index("had to be connected")


def test_a_run_is_told_step_by_step_without_its_arguments(world: World) -> None:
    world.connect()
    assert not world.call_tool("search_issues", org="acme").is_error
    page = activity(world)
    address = re.search(r"/activity/[\w-]+/run_\w+/", page)
    assert address
    told, queries = opened(world, address[0])
    assert "Read search_issues" in words(told)
    assert address[0].split("/")[3] in told
    assert "acme" not in told
    assert queries <= 30


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"effect": "write"}, "changed something in"),
        ({"effect": "destructive"}, "deleted something in"),
        ({"effect": "write", "code": "forbidden"}, "asked Sentry Failed it did not work"),
        ({"code": "cancelled"}, "asked Sentry Failed the client went away"),
    ],
)
def test_what_was_done_and_what_was_only_tried_are_told_apart(world: World, given: dict[str, str], says: str) -> None:
    calls(world, 1, **given)
    assert says in words(activity(world))


def test_it_is_only_ever_one_s_own(world: World) -> None:
    other, elsewhere = world.person(), World(world.product, world.sandbox)
    [theirs] = calls(world, 1, user_id=other.user.pk)
    [there] = calls(elsewhere, 1)
    [mine] = calls(world, 1)
    assert words(activity(world)).count("read from Sentry") == 1
    assert opened(world, f"/activity/{world.tenant.slug}/{mine}/")[1] <= 30
    with Visitor() as visitor:
        world.log_in(visitor)
        for address in (
            f"{world.tenant.slug}/{theirs}/",
            f"{elsewhere.tenant.slug}/{there}/",
            f"{world.tenant.slug}/{there}/",
            f"{elsewhere.tenant.slug}/{mine}/",
            f"{world.tenant.slug}/run_nothing/",
            f"?tenant={elsewhere.tenant.slug}",
        ):
            assert visitor.open(f"{world.product.url}/activity/{address}").status_code == 404


def test_what_was_done_in_a_tenant_is_gone_with_the_membership(world: World) -> None:
    [run] = calls(world, 1)
    tenants.remove_member(membership=world.me.user.memberships.get(), by=None)
    assert "not a member of any tenant" in words(activity(world))
    with Visitor() as visitor:
        world.log_in(visitor)
        assert visitor.open(f"{world.product.url}/activity/{world.tenant.slug}/{run}/").status_code == 404


def test_filters_stand_in_the_address(world: World) -> None:
    another_key(world, "another client")
    keys = world.me.user.memberships.get().client_keys.order_by("created_at")
    first, second = (f"key:{key.pk}" for key in keys)
    connection = account(world).pk
    calls(world, 1, client=first, connection_id=connection)
    calls(world, 1, client=second, effect="write", connection_id=connection)
    calls(world, 1, client=second, provider="wiki")
    said = words(activity(world))
    assert "test read from Sentry" in said
    assert "another client changed something in Sentry" in said
    assert "another client read from wiki" in said
    changed = words(activity(world, "?changes=1"))
    assert "another client changed something in Sentry" in changed
    assert "read from" not in changed
    assert "wiki" not in words(activity(world, "?provider=sentry"))
    assert "test read" not in words(activity(world, f"?client={second}"))
    assert "Nothing like that" in activity(world, "?provider=nothing")
    theirs = world.person().user.memberships.get().client_keys.get()
    theirs.name = "a name of somebody else"
    theirs.save()
    assert theirs.name not in activity(world, f"?client=key:{theirs.pk}")


def test_long_lists_go_on_where_they_stopped_and_tell_of_each_ask_once(world: World) -> None:
    runs, found, url = calls(world, 130), [], "/activity/"
    for _ in range(10):
        page, queries = opened(world, url)
        assert (queries <= 30, len(page.encode()) <= 60_000) == (True, True), (queries, len(page.encode()))
        found += re.findall(r"/activity/[\w-]+/(run_\w+)/", page)
        if 'rel="next"' not in page:
            break
        url = "/activity/" + page.partition('rel="next" href="')[2].partition('"')[0].replace("&amp;", "&")
    assert found == list(reversed(runs))


def test_with_several_tenants_one_is_shown_and_the_others_are_a_choice_away(world: World) -> None:
    elsewhere = World(world.product, world.sandbox)
    tenants.add_member(tenant=elsewhere.tenant, user=world.me.user, role="member", by=None)
    calls(elsewhere, 1, user_id=world.me.user.pk, effect="write")
    assert "changed something" in words(activity(world, f"?tenant={elsewhere.tenant.slug}"))
    assert "changed something" not in words(activity(world, f"?tenant={world.tenant.slug}"))


def test_nobody_s_words_become_markup(world: World) -> None:
    name = '<img src=x onerror="alert(1)">'
    another_key(world, name)
    key = world.me.user.memberships.get().client_keys.get(name=name)
    calls(world, 1, client=f"key:{UUID(str(key.pk))}")
    page = activity(world)
    assert "<img src=x" not in page
    assert "&lt;img src=x" in page
