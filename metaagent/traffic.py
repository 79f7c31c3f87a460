"""Rates, pauses and breakers of calls to providers in Redis, for all processes; without it each goes on with a share.

What Redis answers is a verdict, a wait and a count, each held to what it can be. One that lies holds calls back for as
long as it lies; it never lets more through than one process alone may send, and ends no pause that this one knows of.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol, TypeVar, cast
from uuid import UUID

import redis

from metaagent.agent.traffic import LONGEST_PAUSE_S, Heard, Held, Lesson, LocalTraffic, TrafficLimits, Why
from metaagent.agent.types import Lane
from metaagent.cache import Lost, Server

log = logging.getLogger(__name__)

T = TypeVar("T")

_COUNT: Final = """
local function count(key)
  local found = tonumber(redis.call('GET', key))
  return found and found >= 0 and found < 1e9 and found or 0
end
"""
_ENTER: Final = f"""{_COUNT}
local pause, faults, probe, account, tenant, installation = unpack(KEYS)
local per_account, per_tenant, per_installation, most, pause_ms, number = unpack(ARGV)
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local minute = 60000000
local failures = count(faults)
local open = failures >= tonumber(most)

local left = redis.call('PTTL', pause)
if left >= 0 then return {{2, left, failures}} end
if open then
  left = redis.call('PTTL', probe)
  if left >= 0 then return {{3, left, failures}} end
end

-- A token bucket as one number, the moment when it will be full again: within a minute, or it is none of ours.
local function taken(key, size)
  local full = tonumber(redis.call('GET', key))
  if not (full and full > now and full <= now + minute) then full = now end
  return full + minute / size
end
local function keep(key, full)
  redis.call('SET', key, string.format('%.3f', full), 'PX', math.ceil((full - now) / 1000))
end
local account_full, tenant_full = taken(account, per_account), taken(tenant, per_tenant)
if account_full > now + minute then return {{4, math.ceil((account_full - now - minute) / 1000), failures}} end
if tenant_full > now + minute then return {{5, math.ceil((tenant_full - now - minute) / 1000), failures}} end
if tonumber(per_installation) > 0 then
  local full = taken(installation, per_installation)
  if full > now + minute then return {{5, math.ceil((full - now - minute) / 1000), failures}} end
  keep(installation, full)
end
keep(account, account_full)
keep(tenant, tenant_full)

if not open then return {{0, 0, failures}} end
redis.call('SET', probe, number, 'PX', pause_ms)
return {{1, 0, failures}}
"""
"""Every check and what they take, in one step; the same rules as in `metaagent.agent.limits`, by Redis' own clock."""

_LEAVE: Final = f"""{_COUNT}
local pause, faults, probe = unpack(KEYS)
local heard, held_ms, most, pause_ms, number, keep_ms = unpack(ARGV)
local failures = count(faults)
if tonumber(held_ms) > math.max(redis.call('PTTL', pause), 0) then redis.call('SET', pause, 1, 'PX', held_ms) end
if heard == 'fault' then
  failures = failures + 1
  redis.call('SET', faults, failures, 'PX', keep_ms)
  if failures == tonumber(most) then redis.call('SET', probe, 0, 'PX', pause_ms) end
elseif heard == 'answer' then
  if number ~= '0' or failures < tonumber(most) then redis.call('DEL', faults, probe) end
elseif redis.call('GET', probe) == number then
  redis.call('DEL', probe)
end
return 1
"""

_PROBE: Final = 1
_WHY: Final = {2: Why.PAUSED, 3: Why.OPEN, 4: Why.ACCOUNT, 5: Why.TENANT}
_DIGITS: Final = 9
"""Of the largest count there can be."""
_FAULTS_KEPT_MS: Final = 3_600_000
"""Failures further apart than this are not in a row."""


class Run(Protocol):
    """Runs what blocks off the event loop."""

    def __call__(self, work: Callable[[], T], /) -> Awaitable[T]:
        """What `work` gives."""


class RedisTraffic:
    """Implements `metaagent.agent.traffic.SharedTraffic` over all processes; alone at `share` while Redis is lost."""

    def __init__(
        self,
        server: Server,
        limits: TrafficLimits,
        *,
        share: float,
        run: Run,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._server = server
        self._run = run
        self._limits = limits
        self._cost_alone = 1 / share
        self._local = LocalTraffic(limits, clock)
        """Sees what this process sends and learns: losing Redis forgets no pause, no dead provider, no call."""
        self._failing: set[UUID] = set()
        """Installations with failures that an answer has to wipe out in Redis."""
        self._enter = server.client.register_script(_ENTER)
        self._leave = server.client.register_script(_LEAVE)

    def known(self, lane: Lane) -> Held | None:
        """See `SharedTraffic.known`."""
        return self._local.known(lane)

    async def enter(self, lane: Lane) -> Held | float:
        """See `SharedTraffic.enter`. One round trip."""
        if held := self._local.paused(lane):
            return held
        if self._server.resting:
            return await self._local.enter(lane, self._cost_alone)
        number = secrets.randbits(48) + 1
        try:
            held, probe, failures = await self._run(
                partial(self._server.ask, lambda client: self._ask(client, lane, number))
            )
        except Lost:
            return await self._local.enter(lane, self._cost_alone)
        except asyncio.CancelledError:
            # It may have been let in, as the probe even, and nobody is there to say so.
            await asyncio.shield(self._tell(lane, number, Lesson(Heard.NOTHING)))
            raise
        if failures:
            self._failing.add(lane.installation_id)
        else:
            self._failing.discard(lane.installation_id)
        if held:
            return held
        if probe:
            return number
        if held := self._local.take(lane):
            return held
        self._local.closed(lane)
        return 0.0

    async def leave(self, lane: Lane, probe: float, lesson: Lesson) -> None:
        """See `SharedTraffic.leave`. Redis is told what changes something."""
        await self._local.leave(lane, probe, lesson)
        failing = lane.installation_id in self._failing
        match lesson.heard:
            case Heard.ANSWER:
                news = failing or bool(probe or lesson.pause_s)
                self._failing.discard(lane.installation_id)
            case Heard.FAULT:
                news = True
                self._failing.add(lane.installation_id)
            case Heard.NOTHING:
                news = bool(probe)
        if news and not self._server.resting:
            await asyncio.shield(self._tell(lane, probe, lesson))

    def _ask(self, client: redis.Redis, lane: Lane, number: int) -> tuple[Held | None, bool, int]:
        installation = lane.installation_id.hex
        limits = self._limits.under(lane.limits)
        keys = (
            f"traffic:pause:{lane.connection_id.hex}",
            f"traffic:faults:{installation}",
            f"traffic:probe:{installation}",
            f"traffic:account:{lane.connection_id.hex}",
            f"traffic:tenant:{lane.tenant_id.hex}",
            f"traffic:installation:{installation}",
        )
        args = (
            limits.per_account,
            limits.per_tenant,
            limits.per_installation,
            limits.breaker_failures,
            _pause_ms(limits),
            number,
        )
        try:
            return _believed(self._enter(keys, args, client=client), limits)
        except ValueError:  # the client's parser raises it too
            raise redis.InvalidResponse from None

    async def _tell(self, lane: Lane, probe: float, lesson: Lesson) -> None:
        installation, limits = lane.installation_id.hex, self._limits.under(lane.limits)
        keys = (
            f"traffic:pause:{lane.connection_id.hex}",
            f"traffic:faults:{installation}",
            f"traffic:probe:{installation}",
        )
        args = (
            lesson.heard.value,
            lesson.pause_s * 1_000,
            limits.breaker_failures,
            _pause_ms(limits),
            f"{probe:.0f}",
            _FAULTS_KEPT_MS,
        )
        try:
            await self._run(partial(self._server.ask, lambda client: self._leave(keys, args, client=client)))
        except Lost:
            return
        except Exception:
            log.exception("redis was not told what became of a call of installation %s", lane.installation_id)


def _pause_ms(limits: TrafficLimits) -> int:
    return max(1, int(limits.breaker_pause_s * 1_000))


def _believed(reply: object, limits: TrafficLimits) -> tuple[Held | None, bool, int]:
    """As far as the reply can be true. Raises: ValueError."""
    match reply:
        case [int(verdict), int(wait_ms), int(failures)] if 0 <= verdict <= max(_WHY):
            why = _WHY.get(verdict)
        case _:
            raise ValueError("this is none of our replies")
    if why is None:
        return None, verdict == _PROBE, failures
    longest = {Why.PAUSED: LONGEST_PAUSE_S, Why.OPEN: limits.breaker_pause_s}.get(why, 60.0)
    return Held(why, min(max(wait_ms / 1_000, 0.0), longest)), False, failures


@dataclass(frozen=True, slots=True)
class Seen:
    """What Redis knows of an installation's traffic at one moment."""

    faults: int
    """Failed calls in a row."""
    paused: int
    """Accounts that are left alone because their provider asked for it."""


def seen(server: Server, installations: Mapping[UUID, Sequence[UUID]]) -> dict[UUID, Seen]:
    """By installation, each given with its connections. One round trip. Raises: metaagent.cache.Lost."""
    names = [f"traffic:faults:{each.hex}" for each in installations]
    names += [f"traffic:pause:{each.hex}" for connections in installations.values() for each in connections]
    if not names:
        return {}
    # `mget` of a synchronous client gives a list; its type says that it might have to be awaited.
    found = iter(cast("list[object]", server.ask(lambda client: client.mget(names))))
    faults = {each: _count(next(found)) for each in installations}
    return {
        each: Seen(faults[each], sum(next(found) is not None for _ in connections))
        for each, connections in installations.items()
    }


def _count(found: object) -> int:
    return int(found) if isinstance(found, bytes) and found.isdigit() and len(found) <= _DIGITS else 0
