"""The overview and the policies: what was asked is seen, budgets that are set hold, and only where they belong."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from metaagent.console import charts
from metaagent.visitor import Visitor
from tenants import asked, budgets
from tenants import services as tenants
from tenants.asked import Asked
from tenants.models import Tenant
from tests.console import console, words
from tests.environment import MISSING
from tests.sights import browser, log_in
from tests.world import World


@pytest.fixture
def admin(world: World) -> Iterator[Visitor]:
    """Logged in, and an administrator of the tenant."""
    tenants.add_member(tenant=world.tenant, user=world.me.user, role="admin", by=None)
    with Visitor() as visitor:
        world.log_in(visitor)
        yield visitor


def one(world: World, **given: Any) -> Asked:
    now = datetime.now(UTC)
    return replace(
        Asked(world.tenant.pk, world.me.user.pk, "sentry", "route", "ok", 80, 1_000, 2_000, 3_000, now), **given
    )


# --- the overview


def test_what_was_asked_through_mcp_is_seen_soon(world: World, admin: Visitor) -> None:
    world.error("who am I?")
    world.connect()
    for _ in range(3):
        world.call_tool("who_am_i")
    until = time.monotonic() + 10
    while "Asks 5 3 answered" not in (text := words(admin.open(console(world, "?range=24h")).text)):
        assert time.monotonic() < until, text
    assert "Without a model 100 %" in text
    assert "Tool named by the client" in text
    assert "An account had to be connected first 2 40 %" in text
    assert f"{world.me.user.email} 5 2 " in words(admin.open(console(world, "?range=24h&people=shown")).text)


def test_who_asked_most_comes_after_the_page_or_by_a_link(world: World, admin: Visitor) -> None:
    asked.count([*[one(world)] * 3, *[one(world, provider="github", outcome="internal")] * 2])
    who = f"{world.me.user.email} 5 2 "
    page = admin.open(console(world))
    assert who not in words(page.text)
    assert "people=shown" in page.text
    assert who in words(admin.open(console(world, "?people=shown")).text)
    assert "Nobody asked in this time" in admin.open(console(world, "?people=shown&provider=slack")).text
    browser = Client(headers={"host": "127.0.0.1"})
    browser.force_login(world.me.user)
    alone = browser.get(f"/console/{world.tenant.slug}/", {"provider": "github"}, headers={"HX-Request": "true"})
    assert f"{world.me.user.email} 2 2 " in words(alone.content.decode())
    assert b"<html" not in alone.content


@pytest.mark.browser
@pytest.mark.skipif("chromium" in MISSING, reason=MISSING.get("chromium", ""))
def test_who_asked_most_comes_by_itself(world: World) -> None:
    tenants.add_member(tenant=world.tenant, user=world.me.user, role="admin", by=None)
    asked.count([one(world)])
    with browser() as page:
        page.goto(f"{world.product.url}/console/{world.tenant.slug}/")
        log_in(page, world)
        page.get_by_role("region", name="By person").get_by_text(world.me.user.email).wait_for()


def test_a_new_tenant_is_told_how_to_begin(world: World, admin: Visitor) -> None:
    text = admin.open(console(world)).text
    assert "Nothing was asked yet" in text
    assert world.endpoint.removesuffix("/sentry") in text
    assert f"/console/{world.tenant.slug}/install/" in text


def test_an_auditor_sees_the_figures_and_no_way_to_change_anything(world: World) -> None:
    tenants.add_member(tenant=world.tenant, user=world.me.user, role="auditor", by=None)
    with Visitor() as visitor:
        world.log_in(visitor)
        first = visitor.open(console(world))
        assert first.status_code == 200
        assert "/install/" not in first.text
        assert "/policies/" not in first.text
        assert visitor.open(console(world, "policies/")).status_code == 404


def test_a_member_sees_neither_page(world: World) -> None:
    with Visitor() as visitor:
        world.log_in(visitor)
        assert visitor.open(console(world)).status_code == 404
        assert visitor.open(console(world, "policies/")).status_code == 404


def test_a_time_and_a_provider_are_chosen_in_the_address(world: World, admin: Visitor) -> None:
    old = datetime.now(UTC) - timedelta(days=20)
    asked.count([*[one(world)] * 2, *[one(world, provider="github", way="plan")] * 3, one(world, at=old)])
    assert "Asks 5 5 answered" in words(admin.open(console(world)).text)
    assert "Asks 6 6 answered" in words(admin.open(console(world, "?range=30d")).text)
    assert "Asks 3 3 answered" in words(admin.open(console(world, "?range=30d&provider=github")).text)
    assert "Nothing was asked in this time" in admin.open(console(world, "?provider=slack")).text
    assert "Asks 5 5 answered" in words(admin.open(console(world, "?range=forever")).text)


def test_another_tenant_s_figures_stay_there(world: World, admin: Visitor, product: Any, sandbox: Any) -> None:
    other = World(product, sandbox)
    asked.count([one(other)])
    assert "Nothing was asked yet" in admin.open(console(world)).text
    assert admin.open(console(other)).status_code == 404


def test_what_needs_somebody_is_said_first(world: World, admin: Visitor) -> None:
    row = world.connect()
    type(row).objects.filter(pk=row.pk).update(status="needs_auth", reason="revoked")
    text = admin.open(console(world)).text
    assert "To be connected again by their people: 1 connection." in text
    assert f"/console/{world.tenant.slug}/connections/?provider=sentry" in text


def test_three_months_are_one_small_page_of_few_queries(world: World) -> None:
    tenants.add_member(tenant=world.tenant, user=world.me.user, role="admin", by=None)
    now = datetime.now(UTC)
    asked.count(
        [
            one(world, at=now - timedelta(days=day), provider=slug, way=way, ms=ms, outcome=outcome)
            for day in range(90)
            for slug in ("sentry", "github", "slack")
            for way, ms, outcome in (
                *(("tool", 12, "ok"), ("route", 90, "ok"), ("replay", 150, "ok"), ("plan", 2_500, "ok")),
                *(("loop", 9_000, "ok"), ("degraded", 300, "ok"), ("none", 5, "needs_auth"), ("plan", 5, "internal")),
            )
        ]
    )
    browser = Client()
    browser.force_login(world.me.user)
    with CaptureQueriesContext(connection) as queries:
        page = browser.get(f"/console/{world.tenant.slug}/?range=13w", headers={"host": "127.0.0.1"})
    assert page.status_code == 200
    assert len(queries) <= 30
    assert len(page.content) <= 60_000


def test_of_many_providers_the_busiest_stand_by_themselves(world: World, admin: Visitor) -> None:
    asked.count([one(world, provider=f"provider-{n:02}") for n in range(40) for _ in range(3 if n < 10 else 1)])
    shown = words(admin.open(console(world)).text)
    assert "provider-00 3 " in shown
    assert "provider-29 1 " in shown
    assert "10 more 10 " in shown
    assert "provider-30 1 " not in shown


def test_a_picture_s_numbers_stand_in_a_table_too(world: World, admin: Visitor) -> None:
    asked.count([*[one(world)] * 4, *[one(world, way="plan")] * 2])
    html = admin.open(console(world)).text
    today = f"{datetime.now(UTC).day} {datetime.now(UTC):%b}"
    assert f"{today} 4 2 " in words(html)
    assert len(re.findall(r'<svg class="drawn" role="img" aria-label="[^"]+"', html)) == 2
    assert " style=" not in html


# --- charts


def test_columns_stand_on_one_another_and_the_ladder_is_round() -> None:
    chart = charts.columns(
        "x", ["a", "b"], [charts.Series("s", "S", [30, 0]), charts.Series("t", "T", [60, 10])], said=["", ""], unit=str
    )
    assert [rung.words for rung in chart.rungs] == ["0.0", "25.0", "50.0", "75.0", "100.0"]
    assert [shape.path for shape in chart.shapes] == ["M2 200V140h5V200z", "M2 140V20h5V140zM12 200V180h5V200z"]


@pytest.mark.parametrize(
    ("most", "ladder"),
    [
        (0, [0, 1]),
        (1, [0, 1]),
        (3, [0, 1, 2, 3]),
        (7, [0, 2, 4, 6, 8]),
        (999, [0, 250, 500, 750, 1_000]),
        (1_001, [0, 500, 1_000, 1_500]),
    ],
)
def test_a_ladder_of_whole_numbers_is_short_and_reaches_what_it_must(most: float, ladder: list[float]) -> None:
    assert charts.ladder(most, whole=True) == pytest.approx(ladder)


def test_a_ladder_may_have_parts_and_is_never_without_height() -> None:
    assert charts.ladder(0.9) == pytest.approx([0, 0.25, 0.5, 0.75, 1])
    assert charts.ladder(0)[-1] > 0


def test_a_line_is_broken_where_there_is_nothing() -> None:
    chart = charts.lines("x", list("abcd"), [charts.Series("s", "S", [100, None, 50, 100])], said=[""] * 4, unit=str)
    assert chart.shapes[0].path == "M5 0h0M25 100h0L35 0"


# --- policies


def test_a_budget_that_an_administrator_sets_holds_for_the_next_ask(world: World, admin: Visitor) -> None:
    world.connect()
    assert not world.call_tool("who_am_i").is_error
    admin.open(console(world, "policies/"))
    admin.send(admin.form_with("tenant_calls"), tenant_tokens="2,000,000", user_turns="1", user_micros="2.5")
    page = admin.page.text
    assert "The budgets hold from now on" in page
    assert 'value="2,000,000"' in page
    found = budgets.limits_of(world.tenant.pk)
    assert (found.tenant.tokens, found.user.turns, found.user.micros) == (2_000_000, 1, 2_500_000)
    [event] = world.events("tenant.change.done")
    assert event.user_id == world.me.user.pk
    assert event.detail == {
        "what": "budgets",
        "tenant_tokens": 2_000_000,
        "user_turns": 1,
        "user_micros": 2_500_000,
    }
    budgets.reserve(tenant_id=world.tenant.pk, user_id=world.me.user.pk, use=budgets.Use(turns=1), now=budgets.clock())
    with pytest.raises(budgets.Exhausted):
        budgets.reserve(
            tenant_id=world.tenant.pk, user_id=world.me.user.pk, use=budgets.Use(turns=1), now=budgets.clock()
        )


def test_the_lower_of_both_limits_counts_and_nothing_of_another_tenant_s(world: World, settings: Any) -> None:
    settings.USER_DAY_TOKENS, settings.TENANT_DAY_TURNS = 1_000, 0
    limits = budgets.DayLimits(budgets.Use(turns=7), budgets.Use(tokens=5_000, calls=9))
    budgets.set_budgets(tenant=world.tenant, limits=limits, by=None)
    found = budgets.limits_of(world.tenant.pk)
    assert (found.tenant.turns, found.user.tokens, found.user.calls) == (7, 1_000, 9)
    stranger = tenants.create_tenant(slug=f"{world.tenant.slug}-b", name="B", by=None)
    assert budgets.limits_of(stranger.pk).user.calls == settings.USER_DAY_CALLS


@pytest.mark.parametrize("stored", [[], "x", {"user": 5}, {"user": {"tokens": "x", "calls": -1, "turns": True}}])
def test_what_cannot_be_read_denies_nothing(world: World, stored: Any) -> None:
    Tenant.objects.filter(pk=world.tenant.pk).update(budgets=stored)
    assert budgets.limits_of(world.tenant.pk) == budgets.granted()


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ({"tenant_tokens": "many"}, "Tokens must be a number above 0"),
        ({"user_calls": "0"}, "Tool calls must be a number above 0"),
        ({"user_calls": "1.5"}, "Tool calls must be a number above 0"),
        ({"user_micros": "-3"}, "US dollars must be a number above 0"),
        ({"user_tokens": "9999999999999999"}, "is a whole number from 1 to"),
        ({"user_ms": "1"}, "nobody could ask anything"),
    ],
)
def test_what_cannot_be_a_limit_is_refused_and_stays_as_it_was_typed(
    world: World, admin: Visitor, typed: dict[str, str], said: str
) -> None:
    admin.open(console(world, "policies/"))
    admin.send(admin.form_with("tenant_calls"), **typed)
    assert admin.page.status_code == 400
    assert said in unescape(admin.page.text)
    assert f'value="{next(iter(typed.values()))}"' in admin.page.text
    assert Tenant.objects.get(pk=world.tenant.pk).budgets == {}
    assert not world.events("tenant.change.done")


def test_each_provider_s_rules_are_side_by_side(world: World, admin: Visitor) -> None:
    world.installation.limits = {"tool_calls_per_ask": 5}
    world.installation.exposure, world.installation.consent = "strict", "writes"
    world.installation.save()
    html = admin.open(console(world, "policies/")).text
    assert "Sentry Does not see it Before something is changed Tool calls: 5" in words(html)
    assert f"/console/{world.tenant.slug}/providers/sentry/" in html
