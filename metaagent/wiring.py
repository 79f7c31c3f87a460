"""The composition root: implements the agent's ports over the apps, and is the only place where sync meets async."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import hmac
import logging
import math
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar
from urllib.parse import urlsplit
from uuid import UUID
from weakref import WeakValueDictionary

from django.conf import settings
from django.core.cache import cache
from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS, connections
from django.db import Error as DatabaseFailed
from django.db.backends.base.base import BaseDatabaseWrapper

from audit import services as audit
from audit.events import Event, EventKind
from audit.fingerprint import fingerprint, tenant_key
from metaagent.agent.failures import BudgetExceeded, PolicyDenied
from metaagent.agent.model import Role
from metaagent.agent.ports import AccessToken, MeteredApi, NoToken, Ports, Reservation
from metaagent.agent.service import Agent, Limits
from metaagent.agent.telemetry import Telemetry
from metaagent.agent.traffic import LocalTraffic, Traffic, TrafficLimits
from metaagent.agent.types import (
    Admission,
    Amount,
    ConnectionRef,
    Fact,
    Intent,
    Principal,
    Proposed,
    Question,
    StandingConsent,
)
from metaagent.agent.work import Manner
from metaagent.cache import server as redis_server
from metaagent.endpoint import server
from metaagent.endpoint.app import Front, McpEndpoint
from metaagent.endpoint.auth import Presented
from metaagent.endpoint.calls import Calls
from metaagent.endpoint.listen import Listening
from metaagent.endpoint.tools import AskDefaults
from metaagent.llm.prices import PRICES_FILE, Prices
from metaagent.traffic import RedisTraffic
from providers import selectors as providers
from providers.client import ApiClient
from providers.egress import Egress, EgressPolicy
from providers.spec import ConsentPolicy, Effect, Exposure, Json, ProviderSpec
from tenants import budgets, keys, standing
from tenants import selectors as tenants
from tenants.oauth import tokens
from tenants.oauth.selectors import token_standing
from tenants.services import Refused
from vault import links
from vault import selectors as vault
from vault.services import access, approve, connect, consent, once, question

if TYPE_CHECKING:
    from metaagent.llm.claude import Claude
    from metaagent.otlp import Outlet

log = logging.getLogger(__name__)

_NOTE_BYTES = 160
"""More than a note is long: a list that is longer than as many notes is cut."""
_COUNTER_S = 2_592_000
"""How long a list's counter lasts. With a new one the list begins anew."""
_BEARER_S = 5.0
"""How long a bearer is remembered, though nobody's rights change."""
_BLOCK_IDLE_S = 60.0
"""After how long what a person does not use of today's budgets is free for other processes."""
_LAST_MOMENT_S = 0.2
"""A token this near its end might not be good any more when it reaches the provider."""

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")


class Bridge:
    """Runs sync Django code off the event loop, in threads that keep their database connections.

    Two pools: a refresh may wait for a provider, and must not keep quick reads from a thread.
    """

    def __init__(self) -> None:
        self._quick = ThreadPoolExecutor(8, "db")
        self._slow = ThreadPoolExecutor(32, "vault")

    async def quick(self, work: Callable[[], T]) -> T:
        """Run `work`, which touches nothing but the database."""
        return await asyncio.get_running_loop().run_in_executor(self._quick, _tidy, work)

    async def slow(self, work: Callable[[], T]) -> T:
        """Run `work`, which may wait for a provider."""
        return await asyncio.get_running_loop().run_in_executor(self._slow, _tidy, work)

    def close(self) -> None:
        """Wait for what is running: a refresh that has been answered must be stored."""
        self._slow.shutdown(wait=True)
        self._quick.shutdown(wait=True)


_opened: set[BaseDatabaseWrapper] = set()
"""The database connections of our threads, to be closed when the process ends."""


def _tidy(work: Callable[[], T]) -> T:
    """Run `work` with what Django does around its own requests."""
    connection = connections[DEFAULT_DB_ALIAS]
    _opened.add(connection)
    try:
        return work()
    finally:
        # PostgreSQL's goes back to the pool; SQLite's stays with the thread, since opening one costs more than a query.
        if connection.vendor != "sqlite" or connection.errors_occurred:
            connection.close()


def _close_connections() -> None:
    """After the threads have ended: nobody else uses their connections."""
    while _opened:
        connection = _opened.pop()
        connection.inc_thread_sharing()
        connection.close()
        if close_pool := getattr(connection, "close_pool", None):  # PostgreSQL's
            close_pool()


class Watch:
    """The generation of everybody's rights, at most `every_s` old when it is asked for."""

    def __init__(self, bridge: Bridge, every_s: float) -> None:
        self._bridge = bridge
        self._every = every_s
        self._known = 0
        self._known_at = -math.inf
        """When the reading began that gave it."""
        self._asking: asyncio.Task[None] | None = None

    def known(self) -> tuple[int, int] | None:
        """The stamp, if nobody has to be asked for it."""
        return (self._known, standing.ours()) if self._known_at >= time.monotonic() - self._every else None

    async def stamp(self) -> tuple[int, int]:
        """Equal stamps: nobody's rights have changed between them. Raises what the database raises."""
        oldest = time.monotonic() - self._every
        # Against the moment of asking: with a database that takes longer than `every_s` no reading would ever be new.
        while self._known_at < oldest:
            if self._asking is None or self._asking.done():
                self._asking = asyncio.get_running_loop().create_task(self._ask())
            await asyncio.shield(self._asking)
        return self._known, standing.ours()

    async def _ask(self) -> None:
        began = time.monotonic()
        self._known = await self._bridge.quick(standing.generation)
        self._known_at = began


class Remembered(Generic[K, V]):
    """What the database answered, for as long as nobody's rights change, and `kept_s` at most.

    Callers who want the same at the same time share one reading.
    """

    def __init__(self, watch: Watch, kept_s: float, *, most: int = 20_000) -> None:
        self._watch = watch
        self._kept_s = kept_s
        self._most = most
        self._kept: OrderedDict[K, tuple[float, tuple[int, int], V]] = OrderedDict()
        self._reading: dict[K, asyncio.Task[V]] = {}

    async def get(self, key: K) -> V | None:
        """The answer, when it still stands."""
        return self._standing(key, self._watch.known() or await self._watch.stamp())

    def _standing(self, key: K, stamp: tuple[int, int]) -> V | None:
        kept = self._kept.get(key)
        return kept[2] if kept and kept[0] > time.monotonic() and kept[1] == stamp else None

    def put(self, key: K, value: V, stamp: tuple[int, int]) -> None:
        """Keep an answer that was read after `stamp`."""
        self._kept[key] = (time.monotonic() + self._kept_s, stamp, value)
        self._kept.move_to_end(key)
        if len(self._kept) > self._most:
            self._kept.popitem(last=False)

    def drop(self, key: K) -> None:
        """Forget an answer that is known to be outdated."""
        self._kept.pop(key, None)

    async def read(self, key: K, fill: Callable[[tuple[int, int]], Awaitable[V]], *, fresh: bool = False) -> V:
        """The answer that still stands, or a new one; `fresh` takes none that was begun before."""
        if fresh:
            self.drop(key)
            self._reading.pop(key, None)
        elif (kept := self._standing(key, self._watch.known() or await self._watch.stamp())) is not None:
            return kept
        task = self._reading.get(key)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._fill(key, fill))
            self._reading[key] = task
        return await asyncio.shield(task)

    async def _fill(self, key: K, fill: Callable[[tuple[int, int]], Awaitable[V]]) -> V:
        try:
            stamp = await self._watch.stamp()
            value = await fill(stamp)
        finally:
            if self._reading.get(key) is asyncio.current_task():
                del self._reading[key]
        self.put(key, value, stamp)
        return value


class Bearers:
    """Who a client key or access token speaks for; an end made elsewhere is noticed within `STANDING_CACHE_MS`."""

    def __init__(self, bridge: Bridge, remembered: Remembered[str, tuple[Presented | None, datetime | None]]) -> None:
        self._bridge = bridge
        self._remembered = remembered

    async def presented(self, bearer: str) -> Presented | None:
        """What the bearer is good for now."""
        look = _token if tokens.well_formed(bearer) else _key if keys.well_formed(bearer) else None
        if look is None:
            return None
        digest = keys.digest(bearer)

        async def fill(_stamp: tuple[int, int]) -> tuple[Presented | None, datetime | None]:
            return await self._bridge.quick(lambda: look(digest, datetime.now(UTC)))

        found, expires_at = await self._remembered.read(digest, fill)
        return found if expires_at is None or expires_at > datetime.now(UTC) else None


def _key(digest: str, now: datetime) -> tuple[Presented | None, datetime | None]:
    standing = tenants.key_standing(digest, now=now)
    if standing is None:
        return None, None
    who = Principal(standing.tenant_id, standing.tenant_slug, standing.user_id, f"key:{standing.key_id}")
    return Presented(who), standing.expires_at


def _token(digest: str, now: datetime) -> tuple[Presented | None, datetime | None]:
    standing = token_standing(digest, now=now)
    if standing is None:
        return None, None
    who = Principal(standing.tenant_id, standing.tenant_slug, standing.user_id, f"grant:{standing.grant_id}")
    return Presented(who, standing.resource, frozenset(standing.scope.split())), standing.expires_at


@dataclass(frozen=True, slots=True)
class Opened:
    """An access token in memory, and until when it is good by this process's own stopwatch."""

    token: AccessToken
    renew_at: float
    usable_until: float

    @classmethod
    def of(cls, sealed: access.SealedAccess, began: float) -> Opened:
        """Open what was read after `began`. Raises: access.Unreadable."""
        return cls(sealed.open(), began + sealed.renew_in_s, began + sealed.usable_s - _LAST_MOMENT_S)


class Standing:
    """Admissions and tokens: one trip reads a person's installations, connections and sealed tokens together."""

    def __init__(
        self,
        bridge: Bridge,
        watch: Watch,
        admissions: Remembered[tuple[UUID, UUID], dict[str, Admission]],
        opened: Remembered[UUID, Opened],
    ) -> None:
        self._bridge = bridge
        self._watch = watch
        self._admissions = admissions
        self._opened = opened
        self._asking: dict[tuple[UUID, int | None], asyncio.Task[AccessToken]] = {}

    async def exports(self, principal: Principal, *, fresh: bool = False) -> Sequence[Admission]:
        """Every provider the tenant exports, with this person's connections."""
        return list((await self._read(principal, fresh=fresh)).values())

    async def admit(self, principal: Principal, provider_id: str, *, fresh: bool = False) -> Admission | None:
        """One of them."""
        return (await self._read(principal, fresh=fresh)).get(provider_id)

    async def _read(self, principal: Principal, *, fresh: bool) -> dict[str, Admission]:
        tenant_id, user_id = principal.tenant_id, principal.user_id

        async def fill(stamp: tuple[int, int]) -> dict[str, Admission]:
            began = time.monotonic()
            admissions, sealed = await self._bridge.quick(lambda: _admissions(tenant_id, user_id))
            for token in sealed:
                with contextlib.suppress(access.Unreadable):  # then the call that needs it finds out, and records it
                    self._opened.put(token.connection_id, Opened.of(token, began), stamp)
            return admissions

        return await self._admissions.read((tenant_id, user_id), fill, fresh=fresh)

    async def access_token(self, connection_id: UUID, *, rejected: AccessToken | None = None) -> AccessToken:
        """A usable token. Raises: NoToken, providers.errors.Unavailable."""
        version = rejected.version if rejected else None
        if (kept := await self._opened.get(connection_id)) and kept.token.version != version:
            now = time.monotonic()
            if now < kept.renew_at:
                return kept.token
            if now < kept.usable_until:
                self._ask(connection_id, None, ahead=True)
                return kept.token
        self._opened.drop(connection_id)
        return await asyncio.shield(self._ask(connection_id, version, ahead=False))

    def _ask(self, connection_id: UUID, version: int | None, *, ahead: bool) -> asyncio.Task[AccessToken]:
        """Ask the vault; all who ask the same at the same time share one thread."""
        key = (connection_id, version)
        task = self._asking.get(key)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._token(connection_id, version, ahead=ahead))
            self._asking[key] = task
            task.add_done_callback(lambda done: self._asked(key, done))
        return task

    def _asked(self, key: tuple[UUID, int | None], task: asyncio.Task[AccessToken]) -> None:
        del self._asking[key]
        if not task.cancelled():
            task.exception()  # looked at: a renewal ahead of time has nobody who waits for it

    async def _token(self, connection_id: UUID, version: int | None, *, ahead: bool) -> AccessToken:
        stamp = await self._watch.stamp()
        began = time.monotonic()
        try:
            sealed = await self._bridge.slow(lambda: access.access(connection_id, rejected=version, ahead=ahead))
            opened = Opened.of(sealed, began)
        except access.Reconnect as gone:
            self._opened.drop(connection_id)
            raise NoToken(gone.reason) from None
        except access.Unreadable:
            lost = await self._bridge.slow(lambda: access.damaged(connection_id, version=sealed.version))
            raise NoToken(lost.reason) from None
        self._opened.put(connection_id, opened, stamp)
        return opened.token

    async def give_up(self, connection_id: UUID, rejected: AccessToken) -> None:
        """The connection needs a person."""
        self._opened.drop(connection_id)
        await self._bridge.slow(lambda: access.give_up(connection_id, version=rejected.version))


def _admissions(tenant_id: UUID, user_id: UUID) -> tuple[dict[str, Admission], list[access.SealedAccess]]:
    """Installations, and this person's connections with their sealed tokens; what they consented to where it counts."""
    admissions: dict[str, Admission] = {}
    sealed: list[access.SealedAccess] = []
    rows = list(providers.installations(tenant_id))
    connections = vault.usable_by(tenant_id, user_id)
    asking = any(row.consent != ConsentPolicy.NEVER for row in rows)
    given = vault.consents_of(tenant_id, user_id, now=datetime.now(UTC)) if asking else []
    consents = tuple(StandingConsent(c.connection_id, c.client, Effect(c.effect), c.until) for c in given)
    for row in rows:
        try:
            spec = providers.spec_of(row)
        except LookupError:
            log.warning("installation %s names a provider that is not in the catalogue: %s", row.pk, row.slug)
            continue
        mine = [c for c in connections if c.installation_id == row.pk]
        sealed += [c.sealed for c in mine if c.sealed]
        admissions[row.slug] = Admission(
            spec,
            row.pk,
            Exposure(row.exposure),
            tuple(map(_ref, mine)),
            ConsentPolicy(row.consent),
            consents,
            row.connect_url,
        )
    return admissions, sealed


def _ref(row: vault.UsableConnection) -> ConnectionRef:
    return ConnectionRef(
        id=row.id,
        account_id=row.account_id,
        label=row.label,
        ready=row.ready,
        reason=row.reason,
        scopes=row.scopes,
        is_default=row.is_default,
        shared=row.shared,
    )


class Journal:
    """The audit port: while one group of events is being committed, the next one gathers."""

    _MOST = 500

    def __init__(self, secret: str) -> None:
        self._secret = secret
        self._waiting: list[tuple[Event, asyncio.Future[None]]] = []
        self._writing: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, "audit")
        self._closed = False

    async def intent(self, fact: Fact) -> Intent:
        """Durable when it returns. A caller that is cancelled meanwhile does nothing, and that is its outcome."""
        arguments = "" if fact.arguments is None else self._fingerprint(fact)
        event = _event(fact, arguments)
        intent = Intent(event.id, arguments)
        try:
            await self._append(event)
        except asyncio.CancelledError:
            nothing = Fact(
                "tool.failed",
                fact.principal,
                fact.run_id,
                fact.provider_id,
                fact.connection_id,
                fact.tool,
                intent=intent,
                detail={"code": "cancelled", "requests": 0},
            )
            self._append(_event(nothing, arguments)).add_done_callback(_looked_at)
            raise
        return intent

    def outcome(self, fact: Fact) -> Awaitable[None]:
        """Durable when it has been awaited; written too when its caller is cancelled meanwhile."""
        return self._append(_event(fact, fact.intent.fingerprint if fact.intent else ""))

    async def aclose(self) -> None:
        """Write what is waiting and end."""
        self._closed = True
        if self._writing is not None:
            await self._writing
        self._thread.shutdown()

    def _fingerprint(self, fact: Fact) -> str:
        return fingerprint(tenant_key(self._secret, fact.principal.tenant_id), dict(fact.arguments or {}))

    def _append(self, event: Event) -> asyncio.Future[None]:
        """Have the event written, and say when it is durable. Cancelling that cancels nothing else."""
        if self._closed:
            raise RuntimeError("the log is closed")
        loop = asyncio.get_running_loop()
        durable: asyncio.Future[None] = loop.create_future()
        self._waiting.append((event, durable))
        if self._writing is None:
            self._writing = loop.create_task(self._write())
        return durable

    async def _write(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            await asyncio.sleep(0)  # who is ready now joins the group: a commit costs more than the events in it
            group, self._waiting = self._waiting[: self._MOST], self._waiting[self._MOST :]
            failed = False
            try:
                work = functools.partial(audit.append, [event for event, _ in group])
                await loop.run_in_executor(self._thread, _tidy, work)
            except Exception:
                log.exception("%d audit events could not be written", len(group))
                failed = True
            for _, durable in group:
                if not durable.done():
                    if failed:
                        durable.set_exception(RuntimeError("the audit log cannot be written"))
                    else:
                        durable.set_result(None)
        self._writing = None


def _looked_at(durable: asyncio.Future[None]) -> None:
    """Nobody waits for it; what goes wrong has been logged."""
    if not durable.cancelled():
        durable.exception()


def _event(fact: Fact, arguments: str) -> Event:
    who = fact.principal
    return Event(
        kind=_KINDS[fact.kind],
        tenant_id=who.tenant_id,
        user_id=who.user_id,
        client=who.client,
        run_id=fact.run_id,
        provider=fact.provider_id,
        connection_id=fact.connection_id,
        tool=fact.tool,
        args_hmac=arguments,
        intent_id=fact.intent.id if fact.intent else None,
        detail=fact.detail,
    )


_KINDS = {
    "tool.intent": EventKind.TOOL_INTENT,
    "tool.done": EventKind.TOOL_DONE,
    "tool.failed": EventKind.TOOL_FAILED,
    "ask.denied": EventKind.ASK_DENIED,
}


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


class ConnectLinks:
    """Connect links over the vault."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge

    async def connect(
        self, principal: Principal, admission: Admission, scopes: Sequence[str], connection_id: UUID | None
    ) -> str:
        """A fresh link for this person."""
        return await self._bridge.quick(
            lambda: connect.offer(
                tenant_id=principal.tenant_id,
                user_id=principal.user_id,
                installation_id=admission.installation_id,
                slug=admission.provider.id,
                scopes=scopes,
                connection_id=connection_id,
                client=principal.client,
                now=datetime.now(UTC),
            )
        )


class VaultConsents:
    """Consent questions and answers over the vault."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge

    async def question(
        self, principal: Principal, connection_id: UUID, effect: Effect, sent: Mapping[str, Json] | None
    ) -> Question:
        """The question to this person, and where they answer it."""
        row = await self._bridge.quick(
            lambda: consent.ask(
                tenant_id=principal.tenant_id,
                user_id=principal.user_id,
                connection_id=connection_id,
                client=principal.client,
                effect=effect,
                sent=sent,
                now=datetime.now(UTC),
            )
        )
        return Question(row.pk, links.consent_url(row.pk), row.declined_at is not None)

    async def take(
        self, principal: Principal, connection_id: UUID, sent: Mapping[str, Json], run_id: str
    ) -> frozenset[Effect]:
        """What was allowed for this ask, for one caller only."""
        return await self._bridge.quick(
            lambda: consent.take(
                tenant_id=principal.tenant_id,
                user_id=principal.user_id,
                client=principal.client,
                connection_id=connection_id,
                sent=sent,
                run_id=run_id,
                now=datetime.now(UTC),
            )
        )


class VaultApprovals:
    """Approval questions and answers over the vault; a data key may have to be opened for them."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge

    async def question(self, principal: Principal, call: Proposed, sent: Mapping[str, Json]) -> Question:
        """The question to this person, and where they answer it.

        Raises: PolicyDenied when nobody can be asked; providers.errors.Unavailable when the keys cannot be had now.
        """
        try:
            row = await self._bridge.slow(
                lambda: approve.ask(
                    tenant_id=principal.tenant_id,
                    user_id=principal.user_id,
                    connection_id=call.connection_id,
                    client=principal.client,
                    tool=call.tool,
                    args=call.args,
                    sent=sent,
                    now=datetime.now(UTC),
                )
            )
        except Refused as refused:
            raise PolicyDenied(str(refused)) from None
        return Question(row.pk, links.approve_url(row.pk), row.declined_at is not None)

    async def answered(self, principal: Principal, question_id: UUID) -> bool:
        """Whether there is nothing left to wait for."""
        return await self._bridge.quick(
            lambda: question.answered(question_id, user_id=principal.user_id, now=datetime.now(UTC))
        )

    async def take(
        self, principal: Principal, connection_id: UUID, sent: Mapping[str, Json], run_id: str
    ) -> Sequence[Proposed]:
        """The calls that were approved for this ask, for one caller only. Raises: providers.errors.Unavailable."""
        taken = await self._bridge.slow(
            lambda: approve.take(
                tenant_id=principal.tenant_id,
                user_id=principal.user_id,
                client=principal.client,
                connection_id=connection_id,
                sent=sent,
                run_id=run_id,
                now=datetime.now(UTC),
            )
        )
        return [Proposed(connection_id, call.tool.name, call.args) for call in taken]


class LocalShared:
    """The Shared port within one process: bounded by bytes, the longest unused go first."""

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._size = 0
        self._kept: OrderedDict[str, tuple[float, bytes]] = OrderedDict()

    async def load(self, key: str) -> bytes | None:
        """The value while it lasts."""
        kept = self._kept.get(key)
        return kept[1] if kept and kept[0] > time.monotonic() else None

    async def store(self, key: str, value: bytes, *, ttl_s: int) -> None:
        """Keep it, and make room."""
        old = self._kept.pop(key, None)
        self._size += len(value) - (len(old[1]) if old else 0)
        # A copy: what an encoder gives holds on to the room it wrote in, several times its size.
        self._kept[key] = (time.monotonic() + ttl_s, bytes(memoryview(value)))
        while self._size > self._most:
            _, (_, gone) = self._kept.popitem(last=False)
            self._size -= len(gone)

    async def keep(self, key: str, value: bytes, *, note: bytes, notes: str, most: int, ttl_s: int) -> None:
        """Keep both."""
        await self.store(key, value, ttl_s=ttl_s)
        older = await self.load(notes) or b""
        if len(older) > most * _NOTE_BYTES:
            older = older[: most * _NOTE_BYTES].rpartition(b"\n")[0]
        await self.store(notes, note + b"\n" + older, ttl_s=ttl_s)

    async def noted(self, notes: str, most: int) -> list[bytes]:
        """The list."""
        return (await self.load(notes) or b"").splitlines()[:most]


class CacheShared:
    """The Shared port over Django's cache, for several processes with Redis."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge

    async def load(self, key: str) -> bytes | None:
        """The value while it lasts."""
        found = await self._bridge.quick(lambda: cache.get(key))
        return found if isinstance(found, bytes) else None

    async def store(self, key: str, value: bytes, *, ttl_s: int) -> None:
        """Keep it in Redis."""
        await self._bridge.quick(lambda: cache.set(key, value, timeout=ttl_s))

    async def keep(self, key: str, value: bytes, *, note: bytes, notes: str, most: int, ttl_s: int) -> None:
        """Keep both; the list is a ring of keys with a counter, so that no process overwrites another's note."""

        def work() -> None:
            cache.set(key, value, timeout=ttl_s)
            cache.add(notes, 0, timeout=_COUNTER_S)
            with contextlib.suppress(ValueError):  # the counter ended in between: one note is lost
                cache.set(f"{notes}:{cache.incr(notes) % most}", note, timeout=ttl_s)

        await self._bridge.quick(work)

    async def noted(self, notes: str, most: int) -> list[bytes]:
        """The list, as far as it is still there."""

        def work() -> list[bytes]:
            turn = cache.get(notes)
            slots = range(turn, max(turn - most, 0), -1) if isinstance(turn, int) else ()
            found = (cache.get(f"{notes}:{slot % most}") for slot in slots)
            return [note for note in found if isinstance(note, bytes)]

        return await self._bridge.quick(work)


@dataclass(slots=True)
class Runtime:
    """Everything one process runs."""

    agent: Agent
    endpoint: McpEndpoint
    bridge: Bridge
    journal: Journal
    ledger: DayLedger
    egress: Egress
    model: Claude | None
    telemetry: Telemetry
    outlet: Outlet | None
    """Where spans leave, if they do."""

    async def aclose(self) -> None:
        """End in order: no new work, then what is in flight, then the log and the spans."""
        await self.endpoint.aclose()
        await self.agent.aclose()
        if self.model:
            await self.model.aclose()
        await self.egress.aclose()
        await self.ledger.aclose()
        await asyncio.to_thread(self.bridge.close)
        await self.journal.aclose()
        if self.outlet:
            await asyncio.to_thread(self.outlet.close)
        await asyncio.to_thread(_close_connections)  # Django refuses to close them where an event loop runs


def traffic(bridge: Bridge) -> Traffic:
    """The limits on calls to providers, from the settings."""
    limits = TrafficLimits(
        per_account=settings.PROVIDER_CALLS_PER_MINUTE,
        per_tenant=settings.PROVIDER_CALLS_PER_MINUTE_TENANT,
        at_once=settings.PROVIDER_CALLS_AT_ONCE,
        at_once_account=settings.PROVIDER_CALLS_AT_ONCE_ACCOUNT,
        breaker_failures=settings.BREAKER_FAILURES,
        breaker_pause_s=settings.BREAKER_PAUSE_S,
    )
    if not settings.REDIS_URL:
        return Traffic(LocalTraffic(limits), limits)
    share = settings.LIMITS_WITHOUT_REDIS_PERCENT / 100
    return Traffic(RedisTraffic(redis_server(settings.REDIS_URL), limits, share=share, run=bridge.quick), limits)


def _outlet() -> Outlet | None:
    if not settings.OTEL_EXPORTER_OTLP_ENDPOINT:
        return None
    from metaagent.otlp import Outlet  # noqa: PLC0415 - the SDK costs start-up time and memory

    return Outlet(
        settings.OTEL_EXPORTER_OTLP_ENDPOINT,
        headers=settings.OTEL_EXPORTER_OTLP_HEADERS,
        service=settings.OTEL_SERVICE_NAME,
        timeout_s=settings.TELEMETRY_SEND_S,
    )


def build() -> Runtime:
    """Put one process together from the settings."""
    outlet = _outlet()
    telemetry = Telemetry(outlet.tracer if outlet else None, content=settings.TELEMETRY_CONTENT)
    if settings.TELEMETRY_CONTENT:
        log.warning("TELEMETRY_CONTENT is on: spans hold what people ask and are answered.")
    bridge = Bridge()
    journal = Journal(settings.SECRET_KEY)
    watch, kept_s = Watch(bridge, settings.STANDING_CACHE_MS / 1_000), float(settings.STANDING_KEPT_S)
    rights = Standing(bridge, watch, Remembered(watch, kept_s), Remembered(watch, kept_s))
    egress = Egress(EgressPolicy.parse(settings.EGRESS_ALLOW_CIDRS, settings.EGRESS_ALLOW_HTTP_HOSTS))

    model = _model(egress)
    ledger = DayLedger(bridge)

    def dial(provider: ProviderSpec, token: AccessToken) -> MeteredApi:
        return ApiClient(
            egress, api_base=provider.api_base, web_base=provider.web_base or provider.api_base, token=token
        )

    ports = Ports(
        admissions=rights,
        tokens=rights,
        links=ConnectLinks(bridge),
        consents=VaultConsents(bridge),
        audit=journal,
        approvals=VaultApprovals(bridge),
        ledger=ledger,
        shared=CacheShared(bridge) if settings.REDIS_URL else LocalShared(settings.RESULT_STORE_BYTES),
        traffic=traffic(bridge),
        telemetry=telemetry,
        dial=dial,
        stamp=watch.stamp,
        price=_prices().cost,
        model=model,
    )
    agent = Agent(ports, _limits())

    async def first_use(state_id: str) -> bool:
        return await bridge.quick(lambda: once.first_use(state_id=state_id, now=datetime.now(UTC)))

    calls = Calls(agent, AskDefaults(settings.ANSWER_TOKENS), settings.CONNECT_WAIT_S, first_use)
    bearers = Bearers(bridge, Remembered(watch, _BEARER_S))
    mcp_server = server.build(
        calls,
        Listening(agent, bearers, per_principal=settings.LISTENING_PER_CLIENT, most=settings.LISTENING),
        state_keys=_ring("mcp-request-state"),
        page_bytes=settings.RESULT_PAGE_BYTES,
    )
    front = Front(
        public_url=settings.PUBLIC_URL,
        hosts=_hosts(),
        origins=frozenset(origin.encode() for origin in settings.ALLOWED_ORIGINS),
        body_bytes=settings.MCP_BODY_BYTES,
        session_key=_derived("mcp-session"),
    )
    endpoint = McpEndpoint(front, calls, bearers, mcp_server)
    return Runtime(agent, endpoint, bridge, journal, ledger, egress, model, telemetry, outlet)


def _limits() -> Limits:
    return Limits(
        per_user=settings.ASKS_PER_MINUTE,
        per_tenant=settings.ASKS_PER_MINUTE_TENANT,
        at_once=settings.ASKS_AT_ONCE,
        budget=Amount(
            turns=settings.ASK_MODEL_TURNS,
            calls=settings.TOOL_CALLS_PER_ASK,
            tokens=settings.ASK_TOKENS,
            micros=settings.ASK_MICROS,
            ms=settings.ASK_DEADLINE_S * 1_000,
        ),
        manner=Manner(
            models={Role.CHOOSE: settings.AGENT_SMALL_MODEL, Role.WRITE: settings.AGENT_MODEL},
            turn_s=settings.MODEL_TURN_S,
            result_ttl_s=settings.RESULT_TTL_S,
        ),
        result_cache_s=settings.RESULT_CACHE_S,
    )


def _model(egress: Egress) -> Claude | None:
    if not settings.ANTHROPIC_API_KEY and not settings.ANTHROPIC_BASE_URL:
        return None
    from metaagent.llm import claude  # noqa: PLC0415 - the SDK costs seconds of start-up and 55 MB

    base_url = settings.ANTHROPIC_BASE_URL or claude.ANTHROPIC_URL
    return claude.Claude(
        api_key=settings.ANTHROPIC_API_KEY,
        models=_limits().manner.models,
        transport=claude.way_out(base_url, egress),
        base_url=base_url,
    )


def _prices() -> Prices:
    """Raises: ImproperlyConfigured."""
    try:
        return Prices.read(Path(settings.MODEL_PRICES or PRICES_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as wrong:
        raise ImproperlyConfigured(f"MODEL_PRICES cannot be used: {wrong}") from None


def _ring(purpose: str) -> list[bytes]:
    """Keys of their own for each purpose, the same in every replica: the first seals, all open."""
    secrets = dict.fromkeys([settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS])
    return [hmac.digest(secret.encode(), f"metaagent {purpose}".encode(), hashlib.sha256) for secret in secrets]


def _derived(purpose: str) -> bytes:
    """The one key of a purpose that has no use for former ones."""
    return _ring(purpose)[0]


def _hosts() -> frozenset[bytes]:
    public = urlsplit(settings.PUBLIC_URL)
    port = f":{public.port}" if public.port else ""
    named = {public.netloc, *(f"{host}{port}" for host in settings.ALLOWED_HOSTS)}
    return frozenset(host.encode() for host in named)
