"""Calls to providers: rates, pauses, breakers, and what may be under way at once, in one process and over several."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar, cast
from uuid import uuid4

import pytest
import redis

from metaagent.agent.failures import CircuitOpen, Overloaded, RateLimited
from metaagent.agent.traffic import LocalTraffic, Pass, Traffic, TrafficLimits
from metaagent.agent.types import Lane
from metaagent.cache import Lost, Server, server
from metaagent.traffic import RedisTraffic, Seen, seen
from providers.errors import (
    BadArguments,
    EgressDenied,
    Forbidden,
    NotFound,
    TokenRejected,
    TooManyRequests,
    Unavailable,
)
from providers.limits import Limits
from tests import services

T = TypeVar("T")

URL = os.environ["METAAGENT_TEST_REDIS"]
needs_redis = pytest.mark.skipif(not URL, reason="redis could not be started")
LIMITS = TrafficLimits(
    per_account=10_000,
    per_tenant=10_000,
    at_once=4,
    at_once_account=2,
    breaker_failures=8,
    breaker_pause_s=5.0,
    wait_s=0.02,
)
DOWN = Unavailable("It failed.")
LONG_S = 30.0
"""A turn that nobody in a test waits for to the end."""


@dataclass
class Clock:
    now: float = 1_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Place:
    """One process's traffic, and a clock that stands still."""

    limits: TrafficLimits = LIMITS
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        self.traffic = Traffic(LocalTraffic(self.limits, self.clock), self.limits)


def a_lane(of: Lane | None = None) -> Lane:
    """Another account; of the same installation when one is given."""
    if of is None:
        return Lane(uuid4(), uuid4(), uuid4(), "sentry")
    return Lane(of.tenant_id, of.installation_id, uuid4(), of.provider_id)


async def call(traffic: Traffic, lane: Lane, error: BaseException | None = None) -> Pass:
    granted = await traffic.enter(lane, "Sentry")
    await traffic.leave(granted, error)
    return granted


async def refused(traffic: Traffic, lane: Lane) -> dict[str, Any]:
    with pytest.raises((RateLimited, CircuitOpen, Overloaded)) as refusal:
        await traffic.enter(lane, "Sentry")
    return refusal.value.payload()


async def dead(traffic: Traffic, lane: Lane, error: BaseException = DOWN) -> int:
    """How many calls fail until no more are let through."""
    for calls in range(50):
        try:
            await call(traffic, lane, error)
        except CircuitOpen:
            return calls
    return 50


async def settled(condition: Callable[[], bool]) -> None:
    """What is ready to run runs until then."""
    for _ in range(100):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError


# --- what a provider asks for


async def test_a_pause_holds_exactly_that_account_back_until_its_time() -> None:
    place, mine = Place(), a_lane()
    await call(place.traffic, mine, TooManyRequests("Wait.", retry_after_s=60))
    place.clock.now += 0.5
    error = await refused(place.traffic, mine)
    assert (error["code"], error["scope"], error["retry_after_s"]) == ("rate_limited", "provider", 60)
    await call(place.traffic, a_lane(mine))
    place.clock.now += 59.4
    assert (await refused(place.traffic, mine))["retry_after_s"] == 1
    place.clock.now += 0.2
    await call(place.traffic, mine)


async def test_a_shorter_pause_does_not_end_a_longer_one() -> None:
    place, mine = Place(), a_lane()
    both = [await place.traffic.enter(mine, "Sentry") for _ in range(2)]
    await place.traffic.leave(both[0], TooManyRequests("Wait.", retry_after_s=60))
    await place.traffic.leave(both[1], TooManyRequests("Wait.", retry_after_s=1))
    assert (await refused(place.traffic, mine))["retry_after_s"] == 60


# --- rates


async def test_an_account_that_calls_too_often_is_told_when_and_others_go_on() -> None:
    place, mine = Place(replace(LIMITS, per_account=6)), a_lane()
    for _ in range(6):
        await call(place.traffic, mine)
    error = await refused(place.traffic, mine)
    assert (error["scope"], error["retry_after_s"]) == ("provider", 10)
    await call(place.traffic, a_lane(mine))
    place.clock.now += 10
    await call(place.traffic, mine)


async def test_a_tenant_shares_one_rate_and_what_it_refuses_costs_the_account_nothing() -> None:
    place, mine = Place(replace(LIMITS, per_account=5, per_tenant=6)), a_lane()
    for _ in range(3):
        await call(place.traffic, mine)
        await call(place.traffic, Lane(mine.tenant_id, uuid4(), uuid4(), "github"))
    for _ in range(5):
        error = await refused(place.traffic, mine)
        assert (error["scope"], error["retry_after_s"]) == ("tenant", 10)
    await call(place.traffic, a_lane())
    place.clock.now += 20
    await call(place.traffic, mine)
    await call(place.traffic, mine)


# --- a provider that fails


async def test_a_dead_provider_is_left_alone_within_ten_calls_and_only_that_installation() -> None:
    place, mine = Place(), a_lane()
    assert await dead(place.traffic, mine) <= 10
    error = await refused(place.traffic, a_lane(mine))
    assert (error["code"], error["provider_id"], error["retry_after_s"]) == ("circuit_open", "sentry", 5)
    assert "Sentry is not answering" in error["message"]
    await call(place.traffic, a_lane())


@pytest.mark.parametrize("error", [Unavailable("Late.", sent=False), Unavailable("Late."), TimeoutError()])
async def test_whatever_is_no_answer_is_a_fault(error: BaseException) -> None:
    assert await dead(Place().traffic, a_lane(), error) == LIMITS.breaker_failures


@pytest.mark.parametrize(
    "error",
    [
        BadArguments("No."),
        NotFound("No."),
        Forbidden("No."),
        TokenRejected("No."),
        EgressDenied("No."),
        asyncio.CancelledError(),
        KeyError("our own"),
    ],
)
async def test_a_refusal_and_what_is_our_own_are_no_fault(error: BaseException) -> None:
    assert await dead(Place().traffic, a_lane(), error) == 50


async def test_a_refusal_shows_that_the_provider_works_and_a_cancelled_call_shows_nothing() -> None:
    place, mine = Place(), a_lane()
    for _ in range(LIMITS.breaker_failures - 1):
        await call(place.traffic, mine, DOWN)
    await call(place.traffic, mine, asyncio.CancelledError())
    await call(place.traffic, mine, NotFound("No."))
    assert await dead(place.traffic, mine) == LIMITS.breaker_failures


async def test_one_probe_goes_after_each_pause_and_its_answer_lets_everybody_go_on() -> None:
    place, mine = Place(), a_lane()
    await dead(place.traffic, mine)
    place.clock.now += 5
    await call(place.traffic, mine, DOWN)
    assert (await refused(place.traffic, mine))["retry_after_s"] == 5
    place.clock.now += 5
    probe = await place.traffic.enter(mine, "Sentry")
    assert (await refused(place.traffic, a_lane(mine)))["code"] == "circuit_open"
    await place.traffic.leave(probe, None)
    for _ in range(20):
        await call(place.traffic, a_lane(mine))


async def test_a_cancelled_probe_gives_its_place_back() -> None:
    place, mine = Place(), a_lane()
    await dead(place.traffic, mine)
    place.clock.now += 5
    await call(place.traffic, mine, asyncio.CancelledError())
    assert (await place.traffic.enter(mine, "Sentry")).probe
    assert (await refused(place.traffic, mine))["code"] == "circuit_open"


async def test_a_call_without_a_token_of_the_rate_does_not_use_the_probe_up() -> None:
    place, mine = Place(replace(LIMITS, per_account=8)), a_lane()
    await dead(place.traffic, mine)
    place.clock.now += 5
    assert (await refused(place.traffic, mine))["code"] == "rate_limited"
    assert (await place.traffic.enter(a_lane(mine), "Sentry")).probe


# --- at once


async def test_a_slow_account_leaves_room_for_others_and_a_slow_installation_for_other_installations() -> None:
    place, slow = Place(), a_lane()
    for _ in range(2):
        await place.traffic.enter(slow, "Sentry")
    error = await refused(place.traffic, slow)
    assert (error["code"], error["scope"], error["retry_after_s"]) == ("rate_limited", "provider", 1)
    for _ in range(2):
        await place.traffic.enter(a_lane(slow), "Sentry")
    assert (await refused(place.traffic, a_lane(slow)))["code"] == "overloaded"
    await call(place.traffic, a_lane())


async def test_who_waits_goes_as_soon_as_there_is_room_and_accounts_take_turns() -> None:
    place, greedy = Place(replace(LIMITS, at_once=2, wait_s=LONG_S)), a_lane()
    modest = a_lane(greedy)
    under_way = [await place.traffic.enter(greedy, "Sentry") for _ in range(2)]
    went: list[str] = []

    async def one(name: str, lane: Lane) -> None:
        granted = await place.traffic.enter(lane, "Sentry")
        went.append(name)
        under_way.append(granted)

    tasks = [asyncio.create_task(one(name, greedy)) for name in ("g1", "g2")]
    tasks.append(asyncio.create_task(one("m1", modest)))
    for n in range(3):
        await asyncio.sleep(0)
        assert len(went) == n
        await place.traffic.leave(under_way.pop(0), None)
        await settled(lambda n=n: len(went) == n + 1)  # type: ignore[misc]
    assert went == ["g1", "m1", "g2"]
    await asyncio.gather(*tasks)


async def test_an_account_may_not_have_more_waiting_than_under_way() -> None:
    place, mine = Place(replace(LIMITS, wait_s=LONG_S)), a_lane()
    under_way = [await place.traffic.enter(mine, "Sentry") for _ in range(2)]
    waiting = [asyncio.create_task(place.traffic.enter(mine, "Sentry")) for _ in range(2)]
    await asyncio.sleep(0)
    async with asyncio.timeout(LONG_S / 10):
        assert (await refused(place.traffic, mine))["code"] == "rate_limited"
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    for granted in under_way:
        await place.traffic.leave(granted, None)
    assert await all_places(place, mine) == 2


async def test_who_is_cancelled_in_the_queue_takes_no_place_even_in_the_moment_of_its_turn() -> None:
    place, mine = Place(replace(LIMITS, wait_s=LONG_S)), a_lane()
    under_way = [await place.traffic.enter(mine, "Sentry") for _ in range(2)]
    waiting = [asyncio.create_task(place.traffic.enter(mine, "Sentry")) for _ in range(2)]
    await asyncio.sleep(0)
    await place.traffic.leave(under_way.pop(), None)
    waiting[0].cancel()  # its turn has come, and it has not run since
    with pytest.raises(asyncio.CancelledError):
        await waiting[0]
    await place.traffic.leave(await waiting[1], None)
    for granted in [*under_way, await place.traffic.enter(mine, "Sentry")]:
        await place.traffic.leave(granted, None)
    assert await all_places(place, mine) == 2


async def all_places(place: Place, lane: Lane) -> int:
    """How many calls of this account may be under way."""
    granted = []
    for count in range(10):
        try:
            granted.append(await asyncio.wait_for(place.traffic.enter(lane, "Sentry"), 0.05))
        except (RateLimited, Overloaded, TimeoutError):
            for each in granted:
                await place.traffic.leave(each, None)
            return count
    return 10


async def test_what_is_refused_or_fails_or_is_cancelled_keeps_no_place() -> None:
    place, mine = Place(), a_lane()
    await call(place.traffic, mine, TooManyRequests("Wait.", retry_after_s=1))
    for _ in range(5):
        await refused(place.traffic, mine)
    place.clock.now += 1
    for error in (DOWN, asyncio.CancelledError(), KeyError("our own"), None):
        await call(place.traffic, mine, error)
    assert await all_places(place, mine) == 2


async def test_nobody_waits_for_a_place_at_a_provider_that_is_given_up() -> None:
    place, mine = Place(replace(LIMITS, wait_s=LONG_S)), a_lane()
    hanging = [await place.traffic.enter(mine, "Sentry") for _ in range(2)]
    await dead(place.traffic, a_lane(mine))
    began = time.monotonic()
    assert (await refused(place.traffic, mine))["code"] == "circuit_open"
    assert time.monotonic() - began < 1
    for granted in hanging:
        await place.traffic.leave(granted, DOWN)


async def test_leaving_never_raises() -> None:
    class Broken(LocalTraffic):
        async def leave(self, *_: object) -> None:
            raise RuntimeError("broken")

    traffic = Traffic(Broken(LIMITS), LIMITS)
    for _ in range(5):
        await call(traffic, a_lane())


# --- what an installation limits for itself, in one process and over several


OWN_BELOW = Limits(provider_calls_per_minute=6, provider_calls_per_minute_tenant=9)


def limited(lane: Lane, own: Limits) -> Lane:
    """The same way, of an installation that has limits of its own."""
    return replace(lane, limits=own)


def places(limits: TrafficLimits = LIMITS) -> Iterator[Traffic]:
    """One process alone, and one with Redis."""
    yield Place(limits).traffic
    if URL:
        yield replicas(limits)[0].traffic


async def went(traffic: Traffic, lane: Lane, most: int = 30) -> int:
    """How many calls go before one is held back."""
    for calls in range(most):
        try:
            await call(traffic, lane)
        except (RateLimited, Overloaded):
            return calls
    return most


async def test_an_installation_s_own_rates_count_for_each_account_and_for_all_of_them() -> None:
    for traffic in places():
        mine = limited(a_lane(), OWN_BELOW)
        assert await went(traffic, mine) == 6
        assert (await refused(traffic, mine))["scope"] == "provider"
        other = limited(a_lane(mine), OWN_BELOW)
        assert await went(traffic, other) == 3
        assert (await refused(traffic, other))["scope"] == "tenant"
        elsewhere = Lane(mine.tenant_id, uuid4(), uuid4(), "github")
        assert await went(traffic, elsewhere) == 30


async def test_what_the_installation_s_rate_refuses_costs_the_account_and_the_tenant_nothing() -> None:
    place = Place(replace(LIMITS, per_account=5, per_tenant=5))
    mine = limited(a_lane(), Limits(provider_calls_per_minute_tenant=2))
    assert await went(place.traffic, mine) == 2
    for _ in range(10):
        await refused(place.traffic, mine)
    assert await went(place.traffic, replace(mine, limits=Limits())) == 3


async def test_the_deployment_s_limit_counts_where_it_is_the_smaller_one() -> None:
    more = Limits(provider_calls_per_minute=1_000, provider_calls_at_once=1_000, provider_calls_at_once_account=1_000)
    for traffic in places(replace(LIMITS, per_account=4)):
        assert await went(traffic, limited(a_lane(), more)) == 4
    place = Place()
    assert await all_places(place, limited(a_lane(), more)) == LIMITS.at_once_account


async def test_an_installation_may_have_fewer_calls_under_way() -> None:
    place, own = Place(), Limits(provider_calls_at_once=2, provider_calls_at_once_account=1)
    mine = limited(a_lane(), own)
    assert await all_places(place, mine) == 1
    under_way = [await place.traffic.enter(limited(a_lane(mine), own), "Sentry") for _ in range(2)]
    assert (await refused(place.traffic, mine))["code"] == "overloaded"
    for granted in under_way:
        await place.traffic.leave(granted, None)


async def test_a_limit_that_is_changed_holds_for_the_next_call() -> None:
    for traffic in places():
        mine = a_lane()
        assert await went(traffic, mine) == 30
        assert await went(traffic, limited(mine, OWN_BELOW)) <= 6
    place, mine = Place(), a_lane()
    hanging = [await place.traffic.enter(mine, "Sentry") for _ in range(2)]
    tight = Limits(provider_calls_at_once=2)
    assert (await refused(place.traffic, limited(a_lane(mine), tight)))["code"] == "overloaded"
    await place.traffic.leave(hanging[0], None)
    await call(place.traffic, limited(a_lane(mine), tight))


@pytest.mark.parametrize("failures", [2, 12])
async def test_an_installation_is_as_patient_as_it_likes_with_its_provider(failures: int) -> None:
    for traffic in places():
        mine = limited(a_lane(), Limits(breaker_failures=failures, breaker_pause_s=30))
        assert await dead(traffic, mine) == failures
        error = await refused(traffic, mine)
        assert (error["code"], error["retry_after_s"]) == ("circuit_open", 30)
        assert await dead(traffic, a_lane()) == LIMITS.breaker_failures


async def test_more_patience_closes_what_was_open() -> None:
    for traffic in places():
        mine = a_lane()
        assert await dead(traffic, mine) == LIMITS.breaker_failures
        await call(traffic, limited(mine, Limits(breaker_failures=20)))


# --- over several processes


@dataclass
class Replica:
    """One of several processes on one Redis."""

    redis: Server
    limits: TrafficLimits = LIMITS
    clock: Clock = field(default_factory=Clock)
    trips: int = 0

    def __post_init__(self) -> None:
        shared = RedisTraffic(self.redis, self.limits, share=0.5, run=self._run, clock=self.clock)
        self.traffic = Traffic(shared, self.limits)

    async def _run(self, work: Callable[[], T]) -> T:
        self.trips += 1
        return await asyncio.to_thread(work)


def replicas(limits: TrafficLimits = LIMITS) -> tuple[Replica, Replica]:
    clients = (redis.Redis.from_url(URL, socket_timeout=5) for _ in range(2))
    one, other = (Replica(Server(client), limits) for client in clients)
    return one, other


@needs_redis
async def test_replicas_share_the_rate_of_an_account_and_of_a_tenant() -> None:
    one, other = replicas(replace(LIMITS, per_account=6, per_tenant=10))
    mine = a_lane()
    for _ in range(3):
        await call(one.traffic, mine)
        await call(other.traffic, mine)
    for replica in (one, other):
        error = await refused(replica.traffic, mine)
        assert (error["scope"], error["retry_after_s"]) == ("provider", 10)
    second = a_lane(mine)
    for _ in range(2):
        await call(one.traffic, second)
        await call(other.traffic, second)
    assert (await refused(other.traffic, second))["scope"] == "tenant"
    await call(other.traffic, a_lane())


@needs_redis
async def test_a_pause_is_seen_by_the_other_replica_for_that_account_alone() -> None:
    one, other = replicas()
    mine = a_lane()
    await call(one.traffic, mine, TooManyRequests("Wait.", retry_after_s=60))
    error = await refused(other.traffic, mine)
    assert (error["code"], error["scope"]) == ("rate_limited", "provider")
    assert 59 <= error["retry_after_s"] <= 60
    await call(other.traffic, a_lane(mine))


@needs_redis
async def test_the_longest_pause_that_any_replica_was_told_counts() -> None:
    one, other = replicas()
    mine = a_lane()
    granted = await other.traffic.enter(mine, "Sentry")
    await call(one.traffic, mine, TooManyRequests("Wait.", retry_after_s=60))
    await other.traffic.leave(granted, TooManyRequests("Wait.", retry_after_s=1))
    other.clock.now += 2
    assert (await refused(other.traffic, mine))["retry_after_s"] >= 59


@needs_redis
async def test_replicas_count_faults_together_and_send_one_probe_between_them() -> None:
    one, other = replicas(replace(LIMITS, breaker_pause_s=0.3, at_once=50, at_once_account=50))
    mine = a_lane()
    failed = 0
    while failed < 20:
        try:
            await call((one, other)[failed % 2].traffic, mine, DOWN)
        except CircuitOpen:
            break
        failed += 1
    assert failed <= 10

    async def tried(replica: Replica) -> Pass | None:
        try:
            return await replica.traffic.enter(a_lane(mine), "Sentry")
        except CircuitOpen:
            return None

    deadline = time.monotonic() + 5
    probes: list[Pass] = []
    while not probes:
        assert time.monotonic() < deadline
        found = await asyncio.gather(*(tried(replica) for replica in (one, other) * 10))
        probes = [granted for granted in found if granted]
    assert len(probes) == 1
    prober = one if probes[0].lane.installation_id in one.traffic._bulkheads else other
    await prober.traffic.leave(probes[0], None)
    for replica in (one, other):
        for _ in range(10):
            await call(replica.traffic, a_lane(mine))


@needs_redis
async def test_an_answer_to_one_replica_ends_the_count_of_both() -> None:
    one, other = replicas()
    mine = a_lane()
    for _ in range(LIMITS.breaker_failures - 1):
        await call(one.traffic, mine, DOWN)
    await call(other.traffic, mine)
    await call(one.traffic, a_lane(mine), DOWN)
    await call(other.traffic, mine)


@needs_redis
async def test_what_another_replica_found_out_holds_when_redis_is_lost_then() -> None:
    one, other = replicas(replace(LIMITS, breaker_pause_s=60))
    mine = a_lane()
    await dead(one.traffic, mine)
    one.redis.client.delete(f"traffic:probe:{mine.installation_id.hex}")
    await call(other.traffic, mine)
    await call(one.traffic, mine)
    one.redis.rest_until = time.monotonic() + 60
    await call(one.traffic, mine)


@needs_redis
async def test_a_late_answer_closes_nothing_and_keeps_the_probe_from_nothing() -> None:
    one, other = replicas(replace(LIMITS, breaker_pause_s=60))
    mine = a_lane()
    early = await one.traffic.enter(a_lane(mine), "Sentry")
    await dead(one.traffic, mine)
    one.redis.client.delete(f"traffic:probe:{mine.installation_id.hex}")
    probe = await one.traffic.enter(mine, "Sentry")
    await one.traffic.leave(early, None)
    assert (await refused(other.traffic, mine))["code"] == "circuit_open"
    await one.traffic.leave(probe, None)
    for replica in (one, other):
        await call(replica.traffic, mine)


@needs_redis
async def test_the_other_replica_may_probe_when_a_probe_was_cancelled() -> None:
    one, other = replicas(replace(LIMITS, breaker_pause_s=60))
    mine = a_lane()
    await dead(one.traffic, mine)
    assert (await refused(other.traffic, mine))["code"] == "circuit_open"
    one.redis.client.delete(f"traffic:probe:{mine.installation_id.hex}")  # a minute has passed
    granted = await other.traffic.enter(mine, "Sentry")
    assert granted.probe
    assert (await refused(one.traffic, mine))["code"] == "circuit_open"
    await other.traffic.leave(granted, asyncio.CancelledError())
    assert (await one.traffic.enter(mine, "Sentry")).probe
    assert (await refused(other.traffic, mine))["code"] == "circuit_open"


@needs_redis
async def test_a_probe_that_hung_gives_no_place_back_but_its_own() -> None:
    one, other = replicas(replace(LIMITS, breaker_pause_s=60))
    mine = a_lane()
    await dead(one.traffic, mine)
    probes = []
    for replica in (one, other):
        one.redis.client.delete(f"traffic:probe:{mine.installation_id.hex}")
        probes.append(await replica.traffic.enter(mine, "Sentry"))
    await one.traffic.leave(probes[0], asyncio.CancelledError())
    assert (await refused(one.traffic, mine))["code"] == "circuit_open"


@needs_redis
async def test_who_is_cancelled_while_redis_decides_keeps_neither_a_place_nor_the_probe() -> None:
    one, other = replicas(replace(LIMITS, breaker_pause_s=60))
    mine = a_lane()
    await dead(one.traffic, mine)
    one.redis.client.delete(f"traffic:probe:{mine.installation_id.hex}")
    entering = asyncio.create_task(one.traffic.enter(mine, "Sentry"))
    before = one.trips
    await settled(lambda: one.trips > before)
    while not one.redis.client.exists(f"traffic:probe:{mine.installation_id.hex}"):
        continue  # without the loop: it has been decided, and the caller does not know
    entering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await entering
    assert not one.traffic._bulkheads
    assert (await other.traffic.enter(mine, "Sentry")).probe


@needs_redis
async def test_entering_costs_one_trip_and_leaving_none_unless_something_changed() -> None:
    one, _ = replicas()
    mine = a_lane()
    await call(one.traffic, mine)
    before, commands = one.trips, _commands(one)
    for error in (None, NotFound("No."), asyncio.CancelledError()):
        await call(one.traffic, mine, error)
    assert (one.trips - before, _commands(one) - commands) == (3, 3)
    await call(one.traffic, mine, DOWN)
    await call(one.traffic, mine)
    assert one.trips - before == 3 + 2 + 2, "the fault, and that it is over"
    await call(one.traffic, mine)
    assert one.trips - before == 3 + 2 + 2 + 1


def _commands(replica: Replica) -> int:
    """How often a script ran."""
    stats = cast("dict[str, dict[str, int]]", replica.redis.client.info("commandstats"))
    return stats["cmdstat_evalsha"]["calls"]


@needs_redis
async def test_what_redis_knows_of_installations_can_be_seen() -> None:
    one, other = replicas()
    failing, paused, quiet = a_lane(), a_lane(), a_lane()
    for _ in range(3):
        await call(one.traffic, failing, DOWN)
    await call(one.traffic, paused, TooManyRequests("Wait.", retry_after_s=60))
    asked = {lane.installation_id: [lane.connection_id] for lane in (failing, paused, quiet)}
    assert list(seen(other.redis, asked).values()) == [Seen(3, 0), Seen(0, 1), Seen(0, 0)]
    other.redis.client.set(f"traffic:faults:{quiet.installation_id.hex}", "9" * 40)
    assert seen(other.redis, asked)[quiet.installation_id] == Seen(0, 0)


@pytest.fixture
def doomed() -> Iterator[tuple[str, Callable[[], None]]]:
    """A Redis of the test's own, and how it ends."""
    try:
        url, stop = services.redis()
    except services.Missing as missing:
        pytest.skip(str(missing))
    yield url, stop
    stop()


async def test_without_redis_each_process_goes_on_with_its_share_and_asks_it_no_more(
    doomed: tuple[str, Callable[[], None]],
) -> None:
    url, stop = doomed
    replica = Replica(server(url), replace(LIMITS, per_account=20))
    mine = a_lane()
    await call(replica.traffic, mine)
    stop()
    fresh = a_lane(mine)
    for _ in range(10):
        await call(replica.traffic, fresh)
    error = await refused(replica.traffic, fresh)
    assert (error["scope"], error["retry_after_s"]) == ("provider", 6)
    assert replica.trips == 2, "only the first found out"
    replica.clock.now += 6
    await call(replica.traffic, fresh)


async def test_losing_redis_forgets_no_pause_and_no_dead_provider(doomed: tuple[str, Callable[[], None]]) -> None:
    url, stop = doomed
    replica = Replica(server(url))
    paused, broken = a_lane(), a_lane()
    await call(replica.traffic, paused, TooManyRequests("Wait.", retry_after_s=60))
    assert await dead(replica.traffic, broken) <= 10
    stop()
    await call(replica.traffic, a_lane())
    assert (await refused(replica.traffic, paused))["code"] == "rate_limited"
    assert (await refused(replica.traffic, broken))["code"] == "circuit_open"
    replica.clock.now += 5
    assert (await replica.traffic.enter(broken, "Sentry")).probe


def test_after_a_rest_one_caller_finds_out_and_nobody_waits_with_it() -> None:
    lost = Server(cast("redis.Redis", Lying(None)), rest_until=time.monotonic())

    def question(_client: redis.Redis) -> str:
        with pytest.raises(Lost):
            lost.ask(lambda _: "somebody else")
        return "answered"

    assert lost.ask(question) == "answered"
    assert lost.ask(lambda _: "and all the others") == "and all the others"


@needs_redis
async def test_redis_is_used_again_after_its_rest() -> None:
    one, other = replicas()
    mine = a_lane()
    one.redis.rest_until = time.monotonic() + 60
    await call(one.traffic, mine)
    assert one.trips == 0
    one.redis.rest_until = time.monotonic()
    await call(one.traffic, mine, TooManyRequests("Wait.", retry_after_s=60))
    assert one.redis.rest_until == 0
    assert (await refused(other.traffic, mine))["code"] == "rate_limited"


@needs_redis
@pytest.mark.parametrize("junk", [b"garbage", b"-5", b"1e300", b"nan", b"9" * 40])
async def test_wrong_values_in_redis_hold_nobody_up_for_longer_than_a_right_one_could(junk: bytes) -> None:
    one, _ = replicas()
    mine = a_lane()
    client = one.redis.client
    client.set(f"traffic:account:{mine.connection_id.hex}", junk)
    client.set(f"traffic:tenant:{mine.tenant_id.hex}", junk)
    client.set(f"traffic:pause:{mine.connection_id.hex}", junk, px=10**12)
    error = await refused(one.traffic, mine)
    assert error["retry_after_s"] <= 3_600
    client.delete(f"traffic:pause:{mine.connection_id.hex}")
    await call(one.traffic, mine)
    client.set(f"traffic:faults:{mine.installation_id.hex}", junk)
    assert await dead(one.traffic, mine) <= LIMITS.breaker_failures


class Lying:
    """A Redis client whose scripts answer what they like."""

    def __init__(self, reply: object) -> None:
        self._reply = reply

    def register_script(self, _script: str) -> Callable[..., object]:
        return lambda *_, **__: self._reply


GO = ([0, 0, 0], [0, -1, -1], [0, 10**30, 10**30])
NO_REPLY: tuple[object, ...] = (
    None,
    b"OK",
    7,
    [],
    [0],
    [0, 0],
    [0, 0, 0, 0],
    [b"0", b"0", b"0"],
    [9, 0, 0],
    [-1, 0, 0],
    [[0], 0, 0],
)


@pytest.mark.parametrize(("reply", "most"), [*((go, 20) for go in GO), *((none, 10) for none in NO_REPLY)])
async def test_limits_stay_on_whatever_redis_says(reply: object, most: int) -> None:
    replica = Replica(Server(cast("redis.Redis", Lying(reply))), replace(LIMITS, per_account=20))
    mine, paused = a_lane(), a_lane()
    granted = 0
    for _ in range(30):
        try:
            await call(replica.traffic, mine)
        except RateLimited:
            break
        granted += 1
    assert granted == most
    await call(replica.traffic, paused, TooManyRequests("Wait.", retry_after_s=60))
    assert (await refused(replica.traffic, paused))["retry_after_s"] == 60


@pytest.mark.parametrize(
    ("reply", "code", "longest"),
    [
        ([2, 10**30, 0], "rate_limited", 3_600),
        ([3, 10**30, 9], "circuit_open", 5),
        ([4, 10**30, 0], "rate_limited", 60),
        ([5, 10**30, 0], "rate_limited", 60),
        ([2, -(10**30), 0], "rate_limited", 1),
    ],
)
async def test_no_wait_is_longer_than_it_could_be_whatever_redis_says(reply: object, code: str, longest: int) -> None:
    replica = Replica(Server(cast("redis.Redis", Lying(reply))))
    error = await refused(replica.traffic, a_lane())
    assert (error["code"], error["retry_after_s"]) == (code, longest)


# --- as the product puts it together


@pytest.mark.parametrize("url", ["", pytest.param(URL, marks=needs_redis)])
async def test_the_product_limits_calls_by_its_settings(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from django.conf import settings

    from metaagent import wiring
    from metaagent.wiring.bridge import Bridge

    monkeypatch.setattr(settings, "REDIS_URL", url)
    monkeypatch.setattr(settings, "PROVIDER_CALLS_PER_MINUTE", 3)
    bridge = Bridge()
    try:
        traffic, mine = wiring.traffic(bridge), a_lane()
        for _ in range(3):
            await call(traffic, mine)
        assert (await refused(traffic, mine))["retry_after_s"] in {19, 20}
    finally:
        bridge.close()
