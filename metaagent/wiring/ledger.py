"""The ledger port: what people and tenants may use in a day."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import TypeVar
from uuid import UUID
from weakref import WeakValueDictionary

from django.db import Error as DatabaseFailed

from metaagent.agent.failures import BudgetExceeded
from metaagent.agent.ports import Reservation
from metaagent.agent.types import (
    Amount,
    Principal,
)
from metaagent.wiring.bridge import Bridge
from tenants import budgets

log = logging.getLogger(__name__)

T = TypeVar("T")

_BLOCK_IDLE_S = 60.0
"""After how long what a person does not use of today's budgets is free for other processes."""


@dataclass(slots=True, eq=False)
class Block:
    """A piece of one person's day that this process may grant from by itself."""

    tenant_id: UUID
    user_id: UUID
    day: date
    over_at: float
    """When that day ends, by this process's own stopwatch."""
    free: Amount = field(default_factory=Amount)
    """Counted in the database and not used. Turns, tokens and money are only on their way back there."""
    out: int = 0
    """Reservations that are not settled."""
    touched: float = 0.0


@dataclass(slots=True, eq=False)
class Held:
    """A reservation, of the day that its block is of."""

    amount: Amount
    block: Block
    settled: bool = False


class DayLedger:
    """The ledger port: blocks of calls and time are taken from the database ahead of need, all else exactly.

    What is free in blocks is given back when they have been idle for a while, when their day is over, and at the end.
    A process that is killed takes with it what it held: less may be used that day, never more.
    """

    _AHEAD = budgets.Use(calls=256, ms=600_000)

    def __init__(
        self, bridge: Bridge, *, clock: Callable[[], datetime] = budgets.clock, idle_s: float = _BLOCK_IDLE_S
    ) -> None:
        self._bridge = bridge
        self._clock = clock
        self._idle_s = idle_s
        self._current: dict[tuple[UUID, UUID], Block] = {}
        self._former: set[Block] = set()
        """Of days that are over, until nothing of them is free or out."""
        self._drawing: WeakValueDictionary[tuple[UUID, UUID], asyncio.Lock] = WeakValueDictionary()
        self._underway: set[asyncio.Task[object]] = set()
        self._tending: asyncio.TimerHandle | None = None

    async def reserve(self, principal: Principal, amount: Amount) -> Held:
        """Put it aside. Raises: BudgetExceeded, and what the database raises."""
        if amount.turns or amount.tokens or amount.micros:
            return await self._reserved(principal, amount, budgets.NOTHING)
        whose = principal.tenant_id, principal.user_id
        if held := self._granted(whose, amount):
            return held
        async with self._drawing.setdefault(whose, asyncio.Lock()):  # who waits here finds what another has drawn
            return self._granted(whose, amount) or await self._reserved(principal, amount, self._AHEAD)

    def _granted(self, whose: tuple[UUID, UUID], amount: Amount) -> Held | None:
        block = self._current.get(whose)
        now = time.monotonic()
        if block is None or now >= block.over_at or amount.calls > block.free.calls or amount.ms > block.free.ms:
            return None
        return _held(block, amount, now)

    async def _reserved(self, principal: Principal, amount: Amount, ahead: budgets.Use) -> Held:
        """From the database. What a caller who is cancelled meanwhile does not take stays in its block."""
        task = self._begun(self._reserve(principal, amount, ahead))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(_untaken)
            raise

    async def _reserve(self, principal: Principal, amount: Amount, ahead: budgets.Use) -> Held:
        tenant_id, user_id = principal.tenant_id, principal.user_id

        def work() -> tuple[datetime, budgets.Use]:
            now = self._clock()
            return now, budgets.reserve(tenant_id=tenant_id, user_id=user_id, use=_use(amount), ahead=ahead, now=now)

        began = time.monotonic()
        try:
            now, counted = await self._bridge.quick(work)
        except budgets.Exhausted as exhausted:
            raise BudgetExceeded(exhausted.scope, exhausted.what) from None
        block = self._block(tenant_id, user_id, now, began)
        block.free += Amount(counted.turns, counted.calls, counted.tokens, counted.micros, counted.ms)
        self._tend_later()
        return _held(block, amount, time.monotonic())

    def _block(self, tenant_id: UUID, user_id: UUID, now: datetime, began: float) -> Block:
        """The block of the day of `now`, which was read after `began`."""
        block = self._current.get((tenant_id, user_id))
        if block is None or block.day != now.date():
            if block is not None:
                self._former.add(block)
            midnight = datetime.combine(now.date(), datetime.min.time(), UTC) + timedelta(days=1)
            block = Block(tenant_id, user_id, now.date(), began + (midnight - now).total_seconds())
            self._current[tenant_id, user_id] = block
        return block

    async def settle(self, reservation: Reservation, used: Amount) -> None:
        """Count what was used, once. What the database does not take now it is given later."""
        if not isinstance(reservation, Held) or reservation.settled:
            return
        block = _released(reservation, used)
        if block.free.turns or block.free.tokens or block.free.micros:
            exact = Amount(turns=block.free.turns, tokens=block.free.tokens, micros=block.free.micros)
            await asyncio.shield(self._give_back([(block, exact)]))

    def _give_back(self, parts: list[tuple[Block, Amount]]) -> asyncio.Task[None]:
        for block, part in parts:
            block.free -= part  # now: nobody else may grant it, or give it back too
        return self._begun(self._return(parts))

    def _begun(self, work: Coroutine[None, None, T]) -> asyncio.Task[T]:
        """As a task that no caller's end ends."""
        task = asyncio.get_running_loop().create_task(work)
        self._underway.add(task)
        task.add_done_callback(self._underway.discard)
        return task

    async def _return(self, parts: list[tuple[Block, Amount]]) -> None:
        def work() -> None:
            while parts:
                block, part = parts[-1]
                budgets.settle(
                    tenant_id=block.tenant_id,
                    user_id=block.user_id,
                    day=block.day,
                    reserved=_use(part),
                    used=budgets.NOTHING,
                )
                parts.pop()

        try:
            await self._bridge.quick(work)
        except DatabaseFailed as away:
            log.warning("unused budgets wait for the database: %s", type(away).__name__)
        finally:
            for block, part in parts:
                block.free += part

    def _tend_later(self) -> None:
        if self._tending is None:
            self._tending = asyncio.get_running_loop().call_later(self._idle_s, self._tend)

    def _tend(self) -> None:
        """Let go of blocks that nobody has used for a while, and of those whose day is over."""
        self._tending = None
        now = time.monotonic()
        for whose, block in list(self._current.items()):
            if now >= min(block.over_at, block.touched + self._idle_s):
                self._former.add(self._current.pop(whose))
        self._give_back_former()
        if self._current or self._former:
            self._tend_later()

    def _give_back_former(self) -> None:
        nothing = Amount()
        if parts := [(block, block.free) for block in self._former if block.free != nothing]:
            self._give_back(parts)
        elif not self._underway:
            self._former = {block for block in self._former if block.out}

    async def aclose(self) -> None:
        """Give back what is free."""
        if self._tending is not None:
            self._tending.cancel()
        await self._ended()
        self._former.update(self._current.values())
        self._current.clear()
        self._give_back_former()
        await self._ended()

    async def _ended(self) -> None:
        while self._underway:
            await asyncio.wait(self._underway)


def _use(amount: Amount) -> budgets.Use:
    return budgets.Use(amount.turns, amount.calls, amount.tokens, amount.micros, amount.ms)


def _held(block: Block, amount: Amount, now: float) -> Held:
    block.free -= amount
    block.out += 1
    block.touched = now
    return Held(amount, block)


def _released(held: Held, used: Amount) -> Block:
    block = held.block
    held.settled = True
    block.free += held.amount - used
    block.out -= 1
    block.touched = time.monotonic()
    return block


def _untaken(reserving: asyncio.Task[Held]) -> None:
    """Nobody waits for it any more: what was reserved goes back when its block does."""
    if not reserving.cancelled() and reserving.exception() is None:
        _released(reserving.result(), Amount())
