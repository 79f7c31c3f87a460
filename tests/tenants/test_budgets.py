"""What a person and a tenant may use in a day: never more is granted, whoever asks at the same time, and where."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any, TypeVar

import pytest
from django.db import OperationalError, connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from metaagent.agent.failures import BudgetExceeded
from metaagent.agent.types import Amount, Principal
from metaagent.wiring.bridge import Bridge
from metaagent.wiring.ledger import DayLedger
from tenants import budgets, services
from tenants.budgets import Exhausted, Use
from tenants.models import DayUse, Tenant, User
from tests.commands.test_commands import command, refused
from tests.world import aside, run
from vault import tasks

T = TypeVar("T")
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
LATE = datetime(2026, 11, 23, 23, 59, 59, 999_999, tzinfo=UTC)


class Office:
    """A tenant with as many people as are needed."""

    def __init__(self) -> None:
        self.tenant: Tenant = services.create_tenant(slug=f"b-{secrets.token_hex(6)}", name="Office", by=None)
        self.user = self.person()

    def person(self) -> User:
        return services.create_user(email=f"{secrets.token_hex(6)}@example.com", password=None)

    def principal(self) -> Principal:
        return Principal(self.tenant.pk, self.tenant.slug, self.user.pk, "key:1")

    def reserve(self, use: Use, *, user: User | None = None, ahead: Use = budgets.NOTHING, now: datetime = NOON) -> Use:
        who = (user or self.user).pk
        return budgets.reserve(tenant_id=self.tenant.pk, user_id=who, use=use, ahead=ahead, now=now)

    def settle(self, reserved: Use, used: Use, *, user: User | None = None, day: date | None = None) -> None:
        who = (user or self.user).pk
        budgets.settle(tenant_id=self.tenant.pk, user_id=who, day=day or NOON.date(), reserved=reserved, used=used)

    def lacks(self, use: Use, **given: Any) -> tuple[str, str]:
        with pytest.raises(Exhausted) as caught:
            self.reserve(use, **given)
        return caught.value.scope, caught.value.what

    def counted(self, *, now: datetime = NOON) -> Use:
        """For everybody; what people have used is that, and never negative."""
        today = budgets.today(self.tenant.pk, now=now)
        people = budgets.NOTHING
        for _, used in today.people:
            people += used
        assert people == today.tenant
        return today.tenant


@pytest.fixture
def office(database: None) -> Office:
    return Office()


def at_once(works: list[Callable[[], T]]) -> list[T | Exception]:
    """Each in a thread of its own."""

    def done(work: Callable[[], T]) -> T | Exception:
        try:
            return work()
        except Exhausted as exhausted:
            return exhausted
        finally:
            connection.close()

    with ThreadPoolExecutor(len(works)) as pool:
        return list(pool.map(done, works))


def granted(found: list[Any]) -> int:
    return sum(not isinstance(each, Exception) for each in found)


# --- the rows


def test_of_many_who_want_the_last_allowance_one_gets_it(office: Office) -> None:
    with override_settings(USER_DAY_TURNS=3):
        for already in (0, 2):  # also where there is no row yet
            found = at_once([partial(office.reserve, Use(turns=1))] * 16)
            assert granted(found) == 3 - already
            assert office.counted().turns == 3
            office.settle(Use(turns=1), budgets.NOTHING)


def test_a_tenant_s_last_allowance_is_one_s_too_and_who_got_nothing_is_charged_nothing(office: Office) -> None:
    people = [office.person() for _ in range(16)]
    with override_settings(TENANT_DAY_MICROS=500, USER_DAY_MICROS=100):
        found = at_once([partial(office.reserve, Use(turns=1, micros=100), user=user) for user in people])
    assert granted(found) == 5
    assert {(each.scope, each.what) for each in found if isinstance(each, Exhausted)} == {("tenant", "money")}
    assert office.counted() == Use(turns=5, micros=500)


def test_reserving_and_settling_at_the_same_time_neither_blocks_nor_loses_anything(office: Office) -> None:
    people = [office.person() for _ in range(4)]

    def work(user: User) -> None:
        for _ in range(3):
            office.reserve(Use(1, 1, 100, 100, 100), user=user)
            office.settle(Use(1, 1, 100, 100, 100), Use(1, 1, 10, 20, 30), user=user)

    found = at_once([partial(work, people[number % 4]) for number in range(12)])
    assert granted(found) == 12
    assert office.counted() == Use(36, 36, 360, 720, 1_080)


def test_who_lacks_one_thing_is_charged_nothing_at_all(office: Office) -> None:
    with override_settings(USER_DAY_TOKENS=100):
        assert office.lacks(Use(turns=1, tokens=101)) == ("user", "tokens")
        assert office.counted() == budgets.NOTHING
        assert office.reserve(Use(turns=1, tokens=100)) == Use(turns=1, tokens=100)
        assert office.lacks(Use(tokens=1)) == ("user", "tokens")
        assert office.reserve(Use(calls=5)) == Use(calls=5)  # nothing of what has run out
    with override_settings(USER_DAY_SECONDS=1, TENANT_DAY_CALLS=5):
        assert office.lacks(Use(ms=1_001)) == ("user", "time")
        assert office.lacks(Use(calls=1)) == ("tenant", "calls")


def test_what_was_used_beyond_what_was_reserved_is_missing_afterwards(office: Office) -> None:
    with override_settings(USER_DAY_MICROS=1_000):
        office.reserve(Use(turns=1, micros=100))
        office.settle(Use(turns=1, micros=100), Use(turns=1, micros=1_200))
        assert office.counted().micros == 1_200
        assert office.lacks(Use(micros=1)) == ("user", "money")


def test_a_new_day_begins_at_midnight_utc_and_what_is_settled_then_belongs_to_the_old_one(office: Office) -> None:
    with override_settings(USER_DAY_TURNS=1):
        office.reserve(Use(turns=1, tokens=9), now=LATE)
        assert office.lacks(Use(turns=1), now=LATE) == ("user", "turns")
        after = LATE + timedelta(microseconds=1)
        office.reserve(Use(turns=1), now=after)
        office.settle(Use(turns=1, tokens=9), Use(turns=1, tokens=4), day=LATE.date())
        assert (office.counted(now=LATE).tokens, office.counted(now=after)) == (4, Use(turns=1))


def test_it_is_the_database_that_is_asked_what_day_it_is(database: None) -> None:
    with CaptureQueriesContext(connection) as asked:
        now = budgets.clock()
    assert len(asked) == 1
    assert now.utcoffset() == timedelta(0)
    assert abs(now - datetime.now(UTC)) < timedelta(minutes=1)


def test_no_tenant_s_day_is_another_s(office: Office) -> None:
    other = Office()
    other.user = office.user
    with override_settings(USER_DAY_TURNS=1, TENANT_DAY_TURNS=1):
        office.reserve(Use(turns=1))
        other.reserve(Use(turns=1))
        assert office.lacks(Use(turns=1)) == ("tenant", "turns")


def test_the_less_is_left_of_a_day_the_less_is_taken_ahead(office: Office) -> None:
    ahead = Use(calls=100, ms=1_000)
    with override_settings(USER_DAY_CALLS=6_401, TENANT_DAY_CALLS=64_000):
        assert office.reserve(Use(calls=1), ahead=ahead) == Use(calls=101, ms=1_000)
        assert office.reserve(Use(calls=3_100), ahead=ahead) == Use(calls=3_150, ms=1_000)
        assert office.reserve(Use(calls=3_100), ahead=ahead) == Use(calls=3_100, ms=1_000)
        assert office.lacks(Use(calls=51), ahead=ahead) == ("user", "calls")
        assert office.reserve(Use(calls=50), ahead=ahead).calls == 50
    with override_settings(TENANT_DAY_CALLS=6_401 + 640):
        assert office.reserve(Use(), user=office.person(), ahead=ahead).calls == 10


def test_days_long_past_are_forgotten(office: Office) -> None:
    now = budgets.clock()
    for days in (399, 402):
        office.reserve(Use(turns=1), now=now - timedelta(days=days))
    tasks.forget()
    left = DayUse.objects.filter(tenant=office.tenant).values_list("day", flat=True).distinct()
    assert list(left) == [(now - timedelta(days=399)).date()]


# --- what a process holds of them


class Line(Bridge):
    """The way to the database, which may be cut."""

    cut = False

    async def quick(self, work: Callable[[], T]) -> T:
        if self.cut:
            raise OperationalError("away")
        return await super().quick(work)


class Clock:
    """The database's, as somebody has set it; counts the trips to the database that reserve something."""

    def __init__(self) -> None:
        self.now = NOON
        self.asked = 0

    def __call__(self) -> datetime:
        self.asked += 1
        return self.now


@pytest.fixture
def line() -> Iterator[Line]:
    made = Line()
    yield made
    made.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not await aside(holds):
        assert time.monotonic() < deadline


ONE = Amount(calls=1, ms=35_000)


def test_a_thousand_asks_without_a_model_cost_a_few_writes(office: Office, line: Line, clock: Clock) -> None:
    async def work() -> None:
        ledger = DayLedger(line, clock=clock)

        async def ask() -> None:
            await ledger.settle(await ledger.reserve(office.principal(), ONE), Amount(calls=2, ms=40))

        for _ in range(40):
            await asyncio.gather(*(ask() for _ in range(25)))
        await ledger.aclose()

    run(work())
    assert clock.asked <= 20
    assert office.counted() == Use(calls=2_000, ms=40_000)


def test_two_processes_grant_no_more_than_there_is(office: Office, line: Line, clock: Clock) -> None:
    who, refusals = office.principal(), []

    async def work() -> int:
        ledgers = [DayLedger(line, clock=clock) for _ in range(2)]
        got = 0
        for number in range(84):
            try:
                await ledgers[number % 2].reserve(who, Amount(calls=1))
                got += 1
            except BudgetExceeded as exceeded:
                refusals.append((exceeded.scope, exceeded.what))
        return got

    with override_settings(USER_DAY_CALLS=70):
        got = run(work())
        assert got == office.counted().calls == 70
        assert set(refusals) == {("user", "calls")}


def test_turns_tokens_and_money_are_reserved_to_the_last_one(office: Office, line: Line, clock: Clock) -> None:
    who, turn = office.principal(), Amount(turns=1, tokens=1_000, micros=100)

    async def work() -> list[Any]:
        ledgers = [DayLedger(line, clock=clock) for _ in range(2)]
        found = await asyncio.gather(
            *(ledgers[number % 2].reserve(who, turn) for number in range(16)), return_exceptions=True
        )
        held = [each for each in found if not isinstance(each, BaseException)]
        assert len(held) == 7
        await ledgers[0].settle(held[0], Amount(turns=1, tokens=10, micros=1))
        assert await aside(office.counted) == Use(turns=7, tokens=6_010, micros=601)
        return found

    with override_settings(USER_DAY_TOKENS=7_999):
        failed = [each for each in run(work()) if isinstance(each, BudgetExceeded)]
    assert {(each.scope, each.what) for each in failed} == {("user", "tokens")}


def test_a_reservation_is_settled_once(office: Office, line: Line, clock: Clock) -> None:
    async def work() -> None:
        ledger = DayLedger(line, clock=clock)
        for amount in (Amount(turns=1, micros=100), ONE):
            held = await ledger.reserve(office.principal(), amount)
            for _ in range(3):
                await ledger.settle(held, Amount(turns=amount.turns, calls=amount.calls, micros=7))
        await ledger.aclose()

    run(work())
    assert office.counted() == Use(turns=1, calls=1, micros=14)


def test_what_is_held_at_midnight_is_not_granted_from_and_goes_back_to_its_day(
    office: Office, line: Line, clock: Clock
) -> None:
    clock.now, who = LATE, office.principal()
    tomorrow = LATE + timedelta(minutes=1)

    async def work() -> None:
        ledger = DayLedger(line, clock=clock)
        old = [await ledger.reserve(who, ONE), await ledger.reserve(who, Amount(turns=1, micros=50))]
        clock.now = tomorrow
        new = await ledger.reserve(who, ONE)
        await ledger.settle(old[0], Amount(calls=3, ms=5))
        await ledger.settle(old[1], Amount(turns=1, micros=20))
        await ledger.settle(new, Amount(calls=4))
        await ledger.aclose()

    run(work())
    assert office.counted(now=LATE) == Use(turns=1, calls=3, micros=20, ms=5)
    assert office.counted(now=tomorrow) == Use(calls=4)


def test_without_the_database_what_is_held_is_used_and_nothing_else(office: Office, line: Line, clock: Clock) -> None:
    who = office.principal()

    async def work() -> None:
        ledger = DayLedger(line, clock=clock, idle_s=0.05)
        turn = await ledger.reserve(who, Amount(turns=1, micros=100))
        held = await ledger.reserve(who, ONE)
        line.cut = True
        await ledger.settle(await ledger.reserve(who, ONE), Amount(calls=1, ms=7))
        for beyond in (Amount(calls=9_999), Amount(turns=1)):
            with pytest.raises(OperationalError):
                await ledger.reserve(who, beyond)
        await ledger.settle(turn, Amount(turns=1, micros=30))
        await ledger.settle(held, Amount(calls=1, ms=3))
        line.cut = False
        await until(lambda: office.counted() == Use(turns=1, calls=2, micros=30, ms=10))
        await ledger.aclose()

    run(work())


def test_what_nobody_uses_for_a_while_is_free_for_others(office: Office, line: Line, clock: Clock) -> None:
    who = office.principal()

    async def work() -> None:
        ledger, other = DayLedger(line, clock=clock, idle_s=0.05), DayLedger(line, clock=clock)
        await ledger.settle(await ledger.reserve(who, ONE), Amount(calls=1))
        await until(lambda: office.counted() == Use(calls=1) and not ledger._former)
        await other.reserve(who, Amount(calls=99))
        await ledger.reserve(who, Amount())  # what was given back is not granted from
        with pytest.raises(BudgetExceeded):
            await ledger.reserve(who, Amount(calls=1))

    with override_settings(USER_DAY_CALLS=100):
        run(work())


def test_a_caller_who_gives_up_meanwhile_uses_nothing(office: Office, line: Line, clock: Clock) -> None:
    who = office.principal()

    async def work() -> None:
        ledger = DayLedger(line, clock=clock)
        for amount in (ONE, Amount(turns=1, micros=100)):
            asking = asyncio.create_task(ledger.reserve(who, amount))
            while not asking.done() and not clock.asked:  # noqa: ASYNC110 - a thread asks
                await asyncio.sleep(0)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            clock.asked = 0
        await ledger.aclose()

    run(work())
    assert office.counted() == budgets.NOTHING


# --- what an operator sees


def test_today_is_shown_by_person_with_the_limits(office: Office) -> None:
    other = office.person()
    now = budgets.clock()
    office.reserve(Use(turns=2, calls=3, tokens=4_000, micros=50_000, ms=6_000), now=now)
    office.reserve(Use(calls=1), user=other, now=now)
    office.reserve(Use(calls=7), now=now - timedelta(days=1))
    with override_settings(USER_DAY_CALLS=11, TENANT_DAY_MICROS=12):
        found = command("budget_show", office.tenant.slug)
    assert found["used"] == {"turns": 2, "calls": 4, "tokens": 4_000, "micros": 50_000, "ms": 6_000}
    assert {each["email"]: each["used"]["calls"] for each in found["people"]} == {office.user.email: 3, other.email: 1}
    assert (found["limits"]["user"]["calls"], found["limits"]["tenant"]["micros"]) == (11, 12)
    assert found["day"] == str(now.date())
    assert "There is no tenant" in refused("budget_show", "nobody-here")
