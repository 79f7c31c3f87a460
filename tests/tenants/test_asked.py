"""Asks are counted once, for their tenant alone, whoever counts at the same time; and read back as figures."""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TypeVar

import pytest
from django.db import OperationalError, connection

from metaagent.agent.failures import Failure
from metaagent.agent.types import Amount, Ask, Mode, Principal
from metaagent.wiring.bridge import Bridge
from metaagent.wiring.figures import AskFigures
from providers import catalogue
from providers.spec import ProviderSpec
from tenants import asked, services
from tenants.asked import Asked, Figures, PersonUse
from tenants.models import AskDay, AskHour, Tenant, User
from tests.agent.desk import ME
from tests.agent.office import Office as Agents
from tests.endpoint.test_tool import tokens
from tests.world import aside, run
from vault import tasks

T = TypeVar("T")
NOW = datetime.now(UTC).replace(minute=30)


class Office:
    """A tenant with one person."""

    def __init__(self) -> None:
        self.tenant: Tenant = services.create_tenant(slug=f"f-{secrets.token_hex(6)}", name="Office", by=None)
        self.user: User = services.create_user(email=f"{secrets.token_hex(6)}@example.com", password=None)

    def asked(self, **given: Any) -> Asked:
        one = Asked(self.tenant.pk, self.user.pk, "sentry", "route", "ok", 80, 100, 20, 2_000, NOW)
        return replace(one, **given)

    def figures(self, *, hours: int = 24, provider: str = "") -> Figures:
        until = NOW + timedelta(minutes=1)
        return asked.figures(self.tenant.pk, since=until - timedelta(hours=hours), until=until, provider=provider)

    def busiest(self, *, provider: str = "") -> tuple[PersonUse, ...]:
        until = NOW + timedelta(minutes=1)
        return asked.busiest(self.tenant.pk, since=until - timedelta(days=1), until=until, provider=provider)

    @property
    def principal(self) -> Principal:
        return Principal(self.tenant.pk, self.tenant.slug, self.user.pk, "key:1")


@pytest.fixture
def office(database: None) -> Office:
    return Office()


def at_once(works: list[Any]) -> None:
    """Each in a thread of its own, with a database connection of its own."""

    def done(work: Any) -> None:
        try:
            work()
        finally:
            connection.close()

    with ThreadPoolExecutor(len(works)) as pool:
        list(pool.map(done, works))


# --- counting


def test_what_several_count_at_the_same_time_is_all_there(office: Office) -> None:
    other = Office()
    batch = [each.asked(provider=slug) for each in (office, other) for slug in ("sentry", "github")] * 5
    at_once([partial(asked.count, random.sample(batch, len(batch))) for _ in range(12)])
    total = office.figures().total
    assert (total.asks, total.ms, total.tokens, total.micros, total.saved) == (120, 9_600, 12_000, 2_400, 240_000)
    assert other.figures().total == total
    assert AskHour.objects.filter(tenant=office.tenant).count() == 2
    assert AskDay.objects.get(tenant=office.tenant, provider="github").asks == 60


def test_another_tenant_s_asks_are_nobody_else_s_matter(office: Office) -> None:
    other = Office()
    asked.count([office.asked(), replace(other.asked(outcome="internal"), user_id=office.user.pk)])
    assert (office.figures().total.asks, office.figures().total.failed) == (1, 0)
    assert [each.asks for each in office.busiest()] == [1]
    assert not other.figures().total.ways
    assert asked.any_asks(other.tenant.pk)
    assert not asked.any_asks(Office().tenant.pk)


def test_who_is_gone_by_then_takes_nobody_else_s_count_along(office: Office) -> None:
    gone, left = Office(), services.create_user(email=f"{secrets.token_hex(6)}@example.com", password=None)
    batch = [gone.asked(), office.asked(), office.asked(user_id=left.pk)]
    gone.tenant.delete()
    left.delete()
    asked.count(batch)
    assert office.figures().total.asks == 2
    assert [each.asks for each in office.busiest()] == [1]


# --- reading


def test_figures_tell_ways_codes_providers_and_people_apart(office: Office) -> None:
    colleague = services.create_user(email=f"{secrets.token_hex(6)}@example.com", password=None)
    asked.count(
        [
            *[office.asked(way="route")] * 6,
            *[office.asked(way="plan", provider="github", ms=2_000)] * 2,
            office.asked(outcome="needs_auth", way="none", saved=0),
            office.asked(outcome="provider_unavailable", provider="github", user_id=colleague.pk),
        ]
    )
    found = office.figures()
    assert (found.total.asks, found.total.answered, found.total.failed, found.total.wrong) == (10, 8, 2, 1)
    assert found.total.without_model == 0.75
    assert dict(found.total.ways) == {"route": 6, "plan": 2}
    assert dict(found.total.codes) == {"needs_auth": 1, "provider_unavailable": 1}
    assert [(slug, tally.asks) for slug, tally in found.providers] == [("sentry", 7), ("github", 3)]
    assert [(each.email, each.asks, each.failed) for each in office.busiest()] == [
        (office.user.email, 9, 1),
        (colleague.email, 1, 1),
    ]
    assert office.figures(provider="github").total.asks == 3
    assert [each.asks for each in office.busiest(provider="github")] == [2, 1]


def test_percentiles_are_right_to_an_eighth(office: Office) -> None:
    chance = random.Random(7)  # noqa: S311 - times, the same in every run
    times = sorted(round(chance.lognormvariate(5, 1.2)) + 1 for _ in range(1_500))
    asked.count([office.asked(ms=ms) for ms in times])
    total = office.figures().total
    for share, found in ((0.5, total.p50_ms), (0.95, total.p95_ms), (0.99, total.p99_ms)):
        assert found == pytest.approx(times[int(share * len(times))], rel=0.125)
    asked.count([office.asked(ms=10**7)] * 2_000)
    assert office.figures().total.p50_ms == asked.SPEEDS_MS[-1]
    assert asked.percentile({}, 0.5) is None


def test_a_short_time_is_told_by_the_hour_a_long_one_by_the_day_and_both_hold_all(office: Office) -> None:
    asked.count([office.asked(at=NOW - timedelta(hours=ago)) for ago in (0, 3, 30)])
    day, week = office.figures(hours=48), office.figures(hours=24 * 7)
    assert (day.step, len(day.series)) == ("hour", 49)
    assert [tally.asks for at, tally in day.series if at.hour == NOW.hour] == [0, 0, 1]
    assert (week.step, len(week.series)) == ("day", 8)
    assert day.total == week.total
    assert sum(tally.asks for _, tally in week.series) == 3


def test_a_very_long_time_is_told_by_the_week_from_its_monday(office: Office) -> None:
    asked.count([office.asked(at=NOW - timedelta(days=ago)) for ago in (0, 40, 41)])
    found = asked.figures(
        office.tenant.pk, since=NOW - timedelta(days=60), until=NOW + timedelta(minutes=1), weekly=True
    )
    assert {at.isoweekday() for at, _ in found.series} == {1}
    assert sum(tally.asks for _, tally in found.series) == found.total.asks == 3
    for ago in (0, 40, 41):
        day = NOW - timedelta(days=ago)
        assert next(tally for at, tally in found.series if at <= day < at + timedelta(weeks=1)).asks


def test_old_hours_become_one_day_and_lose_nothing(office: Office) -> None:
    old = (NOW - timedelta(days=6)).replace(hour=0)
    batch = [office.asked(at=old + timedelta(hours=hour), way=way) for hour in range(24) for way in ("route", "plan")]
    asked.count([*batch, office.asked()])
    before = office.figures(hours=24 * 7)
    at_once([partial(asked.forget, now=NOW)] * 2)
    asked.count([office.asked(at=old)])  # a late one finds its place
    asked.forget(now=NOW)
    assert AskHour.objects.filter(tenant=office.tenant).count() == 3
    after = office.figures(hours=24 * 7)
    assert (before.total.asks, after.total.asks) == (49, 50)
    assert dict(after.total.ways) == {"route": 26, "plan": 24}
    assert [(at, tally.asks) for at, tally in after.series if tally.asks] == [
        (old.replace(minute=0, second=0, microsecond=0), 49),
        (NOW.replace(hour=0, minute=0, second=0, microsecond=0), 1),
    ]
    assert asked.figures(office.tenant.pk, since=old, until=old + timedelta(hours=24)).step == "day"


def test_what_is_older_than_days_are_kept_goes_with_the_sweep(office: Office, settings: Any) -> None:
    settings.DAY_USE_KEPT_DAYS = 10
    asked.count([office.asked(at=NOW - timedelta(days=ago)) for ago in (0, 9, 12)])
    tasks.forget()
    assert AskHour.objects.filter(tenant=office.tenant).count() == 2
    assert AskDay.objects.filter(tenant=office.tenant).count() == 2


# --- what is counted


async def test_answers_and_failures_are_counted_and_what_a_tenant_does_not_export_is_not() -> None:
    agents = Agents(model=False)
    await agents.ask("list the spaces", mode=Mode.TOOL, tool="list_spaces")
    await agents.refused("x", mode=Mode.TOOL, tool="no_such_tool")
    await agents.refused("x", account_id="nobody:at-all")
    with pytest.raises(Failure):
        await agents.agent.ask(ME, "a_word_of_the_clients", Ask("x"))
    assert agents.figures.ends == [
        (ME, "desk", "tool", "ok"),
        (ME, "desk", "tool", "ask_invalid"),
        (ME, "desk", "none", "account_unknown"),
    ]


async def test_a_client_that_goes_away_is_counted_once() -> None:
    agents = Agents(model=False)
    asking = asyncio.create_task(agents.ask("list the spaces", mode=Mode.TOOL, tool="list_spaces"))
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert [outcome for *_, outcome in agents.figures.ends] == ["cancelled"]


# --- from memory to the database


class Away(Bridge):
    """The way to a database that cannot be reached for a while."""

    away = False

    async def quick(self, work: Callable[[], T]) -> T:
        if self.away:
            raise OperationalError
        return await super().quick(work)


@pytest.fixture
def bridge() -> Iterator[Away]:
    found = Away()
    yield found
    found.close()


def test_they_are_written_soon_and_the_rest_when_the_process_ends(office: Office, bridge: Away) -> None:
    async def work() -> None:
        figures = AskFigures(bridge, every_s=0.02)
        _end(figures, office, times=3)
        async with asyncio.timeout(10):
            while (await aside(office.figures)).total.asks < 3:  # noqa: ASYNC110 - another thread writes
                await asyncio.sleep(0.02)
        slow = AskFigures(bridge, every_s=3_600)
        _end(slow, office, times=4)
        assert (await aside(office.figures)).total.asks == 3
        await slow.aclose()
        await figures.aclose()

    run(work())
    total = office.figures().total
    assert (total.asks, total.ms, total.tokens, total.micros) == (7, 7 * 90, 70, 14)


def test_what_the_database_does_not_take_waits_and_is_counted_once(office: Office, bridge: Away) -> None:
    async def work() -> None:
        figures = AskFigures(bridge, every_s=0.02)
        bridge.away = True
        _end(figures, office, times=2)
        await asyncio.sleep(0.1)
        _end(figures, office, times=1)
        bridge.away = False
        await figures.aclose()

    run(work())
    assert office.figures().total.asks == 3


def test_when_too_many_wait_the_others_are_left_out_and_that_is_said_once(
    office: Office, bridge: Away, caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> AskFigures:
        figures = AskFigures(bridge, every_s=3_600, most=5)
        _end(figures, office, times=9)
        await figures.aclose()
        return figures

    assert run(work()).dropped == 4
    assert [each.message for each in caplog.records] == [
        "5 asks wait to be counted: what ends now is left out of the figures"
    ]
    assert office.figures().total.asks == 5


def test_the_tokens_saved_are_those_of_the_provider_s_own_list_less_our_tool(office: Office, bridge: Away) -> None:
    specs = [spec for slug in ("sentry", "notion", "gcalendar") if (spec := catalogue.get(slug))]

    async def work() -> None:
        figures = AskFigures(bridge)
        for spec in specs:
            _end(figures, office, spec=spec, times=2)
            _end(figures, office, spec=spec, times=1, outcome="internal")
        await figures.aclose()

    run(work())
    saved = {slug: tally.saved // 2 for slug, tally in office.figures().providers}
    for spec in specs:
        listed = [{"name": each.name, "description": each.summary, "inputSchema": each.schema} for each in spec.tools]
        assert saved[spec.id] == pytest.approx(tokens(listed), rel=0.2), spec.id


def _end(
    figures: AskFigures, office: Office, *, times: int, spec: ProviderSpec | None = None, outcome: str = "ok"
) -> None:
    provider = spec or catalogue.get("sentry")
    assert provider
    for _ in range(times):
        figures.ended(office.principal, provider, "route", outcome, Amount(tokens=10, micros=2, ms=90))
