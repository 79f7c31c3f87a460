"""Who may use what: bearers, admissions and access tokens, remembered for as long as nobody's rights change."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Generic, TypeVar
from uuid import UUID

from metaagent.agent.ports import AccessToken, NoToken
from metaagent.agent.types import (
    Admission,
    ConnectionRef,
    Principal,
    StandingConsent,
)
from metaagent.endpoint.auth import Presented
from metaagent.wiring.bridge import Bridge
from providers import selectors as providers
from providers.limits import Limits
from providers.spec import ConsentPolicy, Effect, Exposure
from tenants import keys, standing
from tenants import selectors as tenants
from tenants.oauth import tokens
from tenants.oauth.selectors import token_standing
from vault import selectors as vault
from vault.services import access

log = logging.getLogger(__name__)

_LAST_MOMENT_S = 0.2
"""A token this near its end might not be good any more when it reaches the provider."""

K = TypeVar("K")
V = TypeVar("V")


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
    membership = tenants.membership(tenant_id, user_id)
    connections = vault.usable_by(tenant_id, user_id)
    asking = any(row.consent != ConsentPolicy.NEVER for row in rows)
    given = vault.consents_of(tenant_id, user_id, now=datetime.now(UTC)) if asking else []
    consents = tuple(StandingConsent(c.connection_id, c.client, Effect(c.effect), c.until) for c in given)
    for row in rows:
        spec = providers.known_spec(row)
        if spec is None:
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
            membership.pk if membership else None,
            Limits.read(row.limits),
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
        api_base=row.api_base,
    )
