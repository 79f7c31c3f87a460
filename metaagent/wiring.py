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
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Generic, TypeVar
from urllib.parse import urlsplit
from uuid import UUID

from django.conf import settings
from django.core.cache import cache
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from audit import services as audit
from audit.events import Event, EventKind
from audit.fingerprint import fingerprint, tenant_key
from metaagent.agent.ports import AccessToken, MeteredApi, NoToken
from metaagent.agent.service import Agent, Limits, Ports
from metaagent.agent.types import Admission, ConnectionRef, Fact, Intent, Principal, Question, StandingConsent
from metaagent.endpoint import server
from metaagent.endpoint.app import Front, McpEndpoint
from metaagent.endpoint.auth import Presented
from metaagent.endpoint.calls import Calls
from metaagent.endpoint.listen import Listening
from metaagent.endpoint.tools import AskDefaults
from providers import selectors as providers
from providers.client import ApiClient
from providers.egress import Egress, EgressPolicy
from providers.spec import ConsentPolicy, Effect, Exposure, Json, ProviderSpec
from tenants import keys, standing
from tenants import selectors as tenants
from tenants.oauth import tokens
from tenants.oauth.selectors import token_standing
from vault import links
from vault import selectors as vault
from vault.services import access, connect, consent, once

log = logging.getLogger(__name__)

_NOTE_BYTES = 160
"""More than a note is long: a list that is longer than as many notes is cut."""
_COUNTER_S = 2_592_000
"""How long a list's counter lasts. With a new one the list begins anew."""
_BEARER_S = 5.0
"""How long a bearer is remembered, though nobody's rights change."""
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

    async def outcome(self, fact: Fact) -> None:
        """Durable when it returns; written too when its caller is cancelled meanwhile."""
        await self._append(_event(fact, fact.intent.fingerprint if fact.intent else ""))

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

    async def answered(self, principal: Principal, question_id: UUID) -> bool:
        """Whether there is nothing left to wait for."""
        return await self._bridge.quick(
            lambda: consent.answered(consent_id=question_id, user_id=principal.user_id, now=datetime.now(UTC))
        )

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
    egress: Egress

    async def aclose(self) -> None:
        """End in order: no new work, then what is in flight, then the log."""
        await self.endpoint.aclose()
        await self.agent.aclose()
        await self.egress.aclose()
        await asyncio.to_thread(self.bridge.close)
        await self.journal.aclose()
        await asyncio.to_thread(_close_connections)  # Django refuses to close them where an event loop runs


def build() -> Runtime:
    """Put one process together from the settings."""
    bridge = Bridge()
    journal = Journal(settings.SECRET_KEY)
    watch, kept_s = Watch(bridge, settings.STANDING_CACHE_MS / 1_000), float(settings.STANDING_KEPT_S)
    rights = Standing(bridge, watch, Remembered(watch, kept_s), Remembered(watch, kept_s))
    egress = Egress(EgressPolicy.parse(settings.EGRESS_ALLOW_CIDRS, settings.EGRESS_ALLOW_HTTP_HOSTS))

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
        shared=CacheShared(bridge) if settings.REDIS_URL else LocalShared(settings.RESULT_STORE_BYTES),
        dial=dial,
        stamp=watch.stamp,
    )
    agent = Agent(
        ports,
        Limits(
            per_user=settings.ASKS_PER_MINUTE,
            per_tenant=settings.ASKS_PER_MINUTE_TENANT,
            at_once=settings.ASKS_AT_ONCE,
            calls_per_ask=settings.TOOL_CALLS_PER_ASK,
            deadline_s=settings.ASK_DEADLINE_S,
            result_ttl_s=settings.RESULT_TTL_S,
        ),
    )

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
    return Runtime(agent, endpoint, bridge, journal, egress)


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
