"""What stands between us and providers: how many calls a minute and at once, pauses they ask for, breakers."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from typing import Final, Protocol
from uuid import UUID

from metaagent.agent.failures import CircuitOpen, Failure, Overloaded, RateLimited
from metaagent.agent.limits import Breaker, Buckets
from metaagent.agent.types import Lane
from metaagent.values import value
from providers.errors import BadArguments, Forbidden, TokenRejected, TooManyRequests, Unavailable
from providers.limits import NONE, Limits, counting

log = logging.getLogger(__name__)

LONGEST_PAUSE_S: Final = 3_600
"""Nobody is held back for longer, whatever a provider or Redis says."""
_MOST_PAUSES: Final = 50_000


@dataclass(frozen=True, slots=True)
class TrafficLimits:
    """How much may go to providers; every value but the last two is a setting."""

    per_account: int
    """Calls a minute."""
    per_tenant: int
    at_once: int
    """Calls of one installation, in this process."""
    at_once_account: int
    breaker_failures: int
    breaker_pause_s: float
    wait_s: float = 2.0
    """How long a call waits for its turn when too many are under way."""
    per_installation: int = 0
    """Calls a minute of all its accounts; 0: there is no such limit."""

    def under(self, own: Limits) -> TrafficLimits:
        """What holds for an installation that has limits of its own."""
        return self if own is NONE else _under(self, own)


@lru_cache(maxsize=4_096)
def _under(granted: TrafficLimits, own: Limits) -> TrafficLimits:
    return replace(
        granted,
        per_account=counting("provider_calls_per_minute", own.provider_calls_per_minute, granted.per_account),
        at_once=counting("provider_calls_at_once", own.provider_calls_at_once, granted.at_once),
        at_once_account=counting(
            "provider_calls_at_once_account", own.provider_calls_at_once_account, granted.at_once_account
        ),
        breaker_failures=own.breaker_failures or granted.breaker_failures,
        breaker_pause_s=own.breaker_pause_s or granted.breaker_pause_s,
        per_installation=own.provider_calls_per_minute_tenant or 0,
    )


class Why(StrEnum):
    """What holds a call back."""

    PAUSED = "paused"
    OPEN = "open"
    ACCOUNT = "account"
    TENANT = "tenant"


@value
class Held:
    """A call that may not go now."""

    why: Why
    wait_s: float


class Heard(StrEnum):
    """What a call that has ended says about its provider."""

    ANSWER = "answer"
    """It works, whatever it said."""
    FAULT = "fault"
    NOTHING = "nothing"


@value
class Lesson:
    """What is learned from a call that has ended."""

    heard: Heard
    pause_s: int = 0
    """How long this account is to be left alone."""


@value
class Pass:
    """A call that may go; to be handed back exactly once."""

    lane: Lane
    probe: float = 0.0
    """Which probe of an open breaker it is; 0: none."""


class SharedTraffic(Protocol):
    """Rates, pauses and breakers, for one process or for all."""

    def known(self, lane: Lane) -> Held | None:
        """What surely holds a call back, as far as this process knows. Asks nobody and takes nothing."""

    async def enter(self, lane: Lane) -> Held | float:
        """Count a call in, or say what holds it back: then nothing was taken. The number is `Pass.probe`."""

    async def leave(self, lane: Lane, probe: float, lesson: Lesson) -> None:
        """Learn from a call that was counted in."""


class Traffic:
    """Every call to a provider enters here before it is sent, and leaves when it has ended."""

    def __init__(self, shared: SharedTraffic, limits: TrafficLimits) -> None:
        self._shared = shared
        self._limits = limits
        self._bulkheads: dict[UUID, _Bulkhead] = {}
        """Of the installations that have calls under way."""

    async def enter(self, lane: Lane, title: str) -> Pass:
        """Let one call to the provider `title` go. Raises: RateLimited, CircuitOpen, Overloaded.

        It waits for its turn, but not for a provider's pause or a rate: then it fails at once and says for how long.
        """
        limits = self._limits.under(lane.limits)
        bulkhead = self._bulkheads.get(lane.installation_id)
        if bulkhead is None:
            bulkhead = self._bulkheads[lane.installation_id] = _Bulkhead()
        bulkhead.most, bulkhead.most_each = limits.at_once, limits.at_once_account
        if not bulkhead.take(lane.connection_id):
            if held := self._shared.known(lane):
                raise _refusal(held, lane, title)
            await bulkhead.turn(lane.connection_id, self._limits.wait_s)
        try:
            entered = await self._shared.enter(lane)  # last, since what it says is to hold when the call is sent
        except BaseException:
            self._free(lane)
            raise
        if isinstance(entered, Held):
            self._free(lane)
            raise _refusal(entered, lane, title)
        return Pass(lane, entered)

    async def leave(self, granted: Pass, error: BaseException | None) -> None:
        """Say how the call ended; exactly once for each that entered, a cancelled one too. Raises nothing itself."""
        self._free(granted.lane)
        try:
            await self._shared.leave(granted.lane, granted.probe, lesson(error))
        except Exception:
            log.exception("nothing was learned from a call of installation %s", granted.lane.installation_id)

    def _free(self, lane: Lane) -> None:
        bulkhead = self._bulkheads[lane.installation_id]
        bulkhead.free(lane.connection_id)
        if not bulkhead.busy:
            del self._bulkheads[lane.installation_id]


def lesson(error: BaseException | None) -> Lesson:
    """What the end of a call says. A provider that refuses works; only its own faults count against it."""
    match error:
        case None:
            return Lesson(Heard.ANSWER)
        case TooManyRequests(retry_after_s=wait):
            return Lesson(Heard.ANSWER, min(max(wait, 1), LONGEST_PAUSE_S))
        case BadArguments() | Forbidden() | TokenRejected():
            return Lesson(Heard.ANSWER)
        case Unavailable() | TimeoutError():
            return Lesson(Heard.FAULT)
        case _:
            return Lesson(Heard.NOTHING)


def _refusal(held: Held, lane: Lane, title: str) -> Failure:
    wait = max(1, math.ceil(held.wait_s))
    match held.why:
        case Why.PAUSED | Why.ACCOUNT:
            return RateLimited(wait, "provider")
        case Why.TENANT:
            return RateLimited(wait, "tenant")
        case Why.OPEN:
            return CircuitOpen(lane.provider_id, wait, title)


class _Bulkhead:
    """The calls of one installation that are under way. When there are too many, accounts take turns."""

    def __init__(self) -> None:
        self.most = self.most_each = 0
        """As the newest call has them: an administrator may change them while others are under way."""
        self._each: dict[UUID, int] = {}
        self._waiting: OrderedDict[UUID, deque[asyncio.Future[None]]] = OrderedDict()
        self.busy = 0

    def take(self, account: UUID) -> bool:
        """A place, if one is free. Nobody is overtaken: whoever waits could not have had it."""
        under_way = self._each.get(account, 0)
        if self.busy >= self.most or under_way >= self.most_each:
            return False
        self._each[account] = under_way + 1
        self.busy += 1
        return True

    async def turn(self, account: UUID, within_s: float) -> None:
        """A place as soon as it is this account's turn. Raises: RateLimited, Overloaded."""
        queue = self._waiting.setdefault(account, deque())
        if len(queue) >= self.most_each:
            raise self._full(account)
        turn = asyncio.get_running_loop().create_future()
        queue.append(turn)
        try:
            await asyncio.wait((turn,), timeout=within_s)
        except asyncio.CancelledError:
            if turn.done():
                self.free(account)
            else:
                self._forget(account, turn)
            raise
        if not turn.done():
            self._forget(account, turn)
            raise self._full(account)

    def free(self, account: UUID) -> None:
        """Give a place back, or on to whose turn it is."""
        self.busy -= 1
        if left := self._each[account] - 1:
            self._each[account] = left
        else:
            del self._each[account]
        for waiting, queue in self._waiting.items():
            if self.take(waiting):
                turn = queue.popleft()
                self._waiting.move_to_end(waiting)
                if not queue:
                    del self._waiting[waiting]
                turn.set_result(None)
                return

    def _forget(self, account: UUID, turn: asyncio.Future[None]) -> None:
        queue = self._waiting[account]
        queue.remove(turn)
        if not queue:
            del self._waiting[account]

    def _full(self, account: UUID) -> Failure:
        return RateLimited(1, "provider") if self._each.get(account, 0) >= self.most_each else Overloaded()


class LocalTraffic:
    """Implements `SharedTraffic` within one process."""

    def __init__(self, limits: TrafficLimits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._clock = clock
        self._accounts = Buckets(limits.per_account)
        self._tenants = Buckets(limits.per_tenant)
        self._installations = Buckets(limits.per_tenant)
        """Of those that have a rate of their own."""
        self._pauses: OrderedDict[UUID, float] = OrderedDict()
        """Until when a connection is left alone."""
        self._breakers: dict[UUID, Breaker] = {}
        """Of the installations whose last call failed; all others are closed."""

    def paused(self, lane: Lane) -> Held | None:
        """What its provider asked of this account."""
        if not self._pauses or (until := self._pauses.get(lane.connection_id)) is None:
            return None
        if (wait_s := until - self._clock()) > 0:
            return Held(Why.PAUSED, wait_s)
        del self._pauses[lane.connection_id]
        return None

    def known(self, lane: Lane) -> Held | None:
        """See `SharedTraffic.known`."""
        if held := self.paused(lane):
            return held
        breaker = self._breaker(lane)
        if breaker and (wait_s := breaker.wait_s(self._clock())):
            return Held(Why.OPEN, wait_s)
        return None

    async def enter(self, lane: Lane, cost: float = 1) -> Held | float:
        """See `SharedTraffic.enter`; a call that costs more leaves room for those of other processes."""
        if held := self.known(lane) or self.take(lane, cost):
            return held
        breaker = self._breaker(lane)
        return breaker.enter(self._clock()) if breaker else 0.0

    def take(self, lane: Lane, cost: float = 1) -> Held | None:
        """Count a call towards the rates, or say which one holds it back."""
        now, limits = self._clock(), self._limits.under(lane.limits)
        if wait_s := self._accounts.take(lane.connection_id, now, cost, per_minute=limits.per_account):
            return Held(Why.ACCOUNT, wait_s)
        if wait_s := self._tenants.take(lane.tenant_id, now, cost):
            self._accounts.give_back(lane.connection_id, cost)
            return Held(Why.TENANT, wait_s)
        if limits.per_installation and (
            wait_s := self._installations.take(lane.installation_id, now, cost, per_minute=limits.per_installation)
        ):
            self._accounts.give_back(lane.connection_id, cost)
            self._tenants.give_back(lane.tenant_id, cost)
            return Held(Why.TENANT, wait_s)
        return None

    async def leave(self, lane: Lane, probe: float, lesson: Lesson) -> None:
        """See `SharedTraffic.leave`."""
        if lesson.pause_s:
            self._pause(lane, lesson.pause_s)
        breaker = self._breaker(lane)
        match lesson.heard:
            case Heard.ANSWER:
                if breaker:
                    was_open = breaker.open
                    breaker.answered(probe)
                    if not breaker.failures:
                        self._close(lane, was_open=was_open)
            case Heard.FAULT:
                if breaker is None:
                    limits = self._limits.under(lane.limits)
                    breaker = Breaker(limits.breaker_failures, limits.breaker_pause_s)
                    self._breakers[lane.installation_id] = breaker
                breaker.failed(self._clock())
                if breaker.failures == breaker.most:
                    log.warning("%s of installation %s is left alone", lane.provider_id, lane.installation_id)
            case Heard.NOTHING:
                if breaker:
                    breaker.give_back(probe, self._clock())

    def closed(self, lane: Lane) -> None:
        """Others have found out that the provider answers."""
        if (breaker := self._breaker(lane)) and breaker.open:
            self._close(lane, was_open=True)

    def _breaker(self, lane: Lane) -> Breaker | None:
        if not self._breakers or (breaker := self._breakers.get(lane.installation_id)) is None:
            return None
        limits = self._limits.under(lane.limits)
        breaker.most, breaker.pause_s = limits.breaker_failures, limits.breaker_pause_s
        return breaker

    def _close(self, lane: Lane, *, was_open: bool) -> None:
        del self._breakers[lane.installation_id]
        if was_open:
            log.warning("%s of installation %s answers again", lane.provider_id, lane.installation_id)

    def _pause(self, lane: Lane, pause_s: float) -> None:
        until = self._clock() + pause_s
        self._pauses[lane.connection_id] = max(until, self._pauses.pop(lane.connection_id, until))
        if len(self._pauses) > _MOST_PAUSES:
            self._pauses.popitem(last=False)
