"""The access token of a connection, refreshed at most once per version across all processes (design: refresh protocol).

The rules, in the order of the code: use what is good; else claim the version with one conditional update, committed
together with the audit intent; the winner asks the provider once; what it gets is stored only if nothing changed
meanwhile (the fence), and kept in memory until the database takes it; everyone else waits and reads again. The one
clock is the database's: processes whose clocks differ agree on what has expired and whose lease has run out.
"""

from __future__ import annotations

import contextlib
import logging
import math
import random
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

from django.db import DatabaseError, close_old_connections, transaction
from django.db import connection as database
from django.db.models import F, OuterRef, Q
from django.db.models.functions import Now

from audit import selectors as audit_log
from audit import services as audit
from audit.events import Event, EventKind
from providers import selectors as providers
from providers.errors import ToolError, Unavailable
from providers.models import Installation
from providers.spec import OAuthSpec
from tenants import standing
from vault import oauth, sealing
from vault.crypto import Context, DataKey, KeysUnavailable, Unreadable
from vault.models import Connection, SealedTokenSet, Status
from vault.services import revoke
from vault.services.clients import client_of
from vault.services.sealed import dated, grant_of, open_token, seal_tokens, token_context
from vault.tokens import AccessToken, AnswerRefused, TokenSet

__all__ = [
    "Reconnect",
    "SealedAccess",
    "Unreadable",
    "access",
    "damaged",
    "give_up",
    "keep_alive",
    "sealed_with",
    "settle",
]

log = logging.getLogger(__name__)

REFRESH_LEASE = timedelta(seconds=30)
_SEND_WITHIN_S = REFRESH_LEASE.total_seconds() - oauth.TOKEN_REQUEST_S
"""After the claim. A process that slept longer might present a token that somebody else has already used."""
GOOD_FOR = timedelta(seconds=60)
_IN_HAND = timedelta(seconds=5)
_WAIT_S, _POLL_S = 30.0, 0.05
_HOLD_S = 600.0
"""How long new tokens are kept in memory when the database does not take them: they exist nowhere else."""
_BACK_OFF_S, _BACK_OFF_MOST_S = 5.0, 300.0
_PRESENTATIONS, _PRESENTATIONS_IN_LEEWAY, _LEEWAY_S = 2, 4, 120
"""How often one refresh token is presented when outcomes stay unknown; a few times more where the provider lets a
used one be presented again for so long that all of them fall within it."""

_holding: set[UUID] = set()
"""Connections whose new tokens this process holds until the database takes them."""


class Reconnect(Exception):
    """The connection has no usable token; a person has to connect again. `reason` is a word of the contract."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class SealedAccess:
    """A connection's access token as it stands in the database, with the key to open it. Lives for a second at most."""

    connection_id: UUID
    tenant_id: UUID
    version: int
    renew_in_s: float
    """After how many seconds it should be renewed; below zero: now."""
    usable_s: float
    """For how many seconds it can be used; infinite when only the provider knows."""
    context: Context = field(repr=False)
    blob: bytes = field(repr=False)
    key: DataKey = field(repr=False)

    def open(self) -> AccessToken:
        """The token, as a value that does not print. Raises: Unreadable; then call `damaged`."""
        plain = sealing.bound_open(self.key, self.tenant_id, self.blob, self.context)
        return AccessToken(plain.decode(), self.version)


@dataclass(frozen=True, slots=True)
class _Read:
    """A row and the database's time when it was read."""

    row: SealedTokenSet
    clock: datetime

    @property
    def left(self) -> timedelta:
        """For how long the access token is good."""
        return timedelta.max if self.row.expires_at is None else self.row.expires_at - self.clock

    @property
    def resting(self) -> bool:
        """Whether the provider is left alone for now. A pause longer than any is a clock that was set back."""
        until = self.row.retry_after
        return until is not None and self.clock < until <= self.clock + timedelta(seconds=2 * _BACK_OFF_MOST_S)

    @property
    def leased(self) -> bool:
        """Whether somebody is renewing it now."""
        return self.row.lease_until is not None and self.row.lease_until >= self.clock

    def exhausted(self, spec: OAuthSpec) -> bool:
        """Whether the refresh token was presented as often as is safe without an answer."""
        if not spec.rotation:
            return False
        most = _PRESENTATIONS_IN_LEEWAY if spec.reuse_leeway_s >= _LEEWAY_S else _PRESENTATIONS
        return self.row.attempts >= most and not self.leased


def access(connection_id: UUID, *, rejected: int | None = None, ahead: bool = False) -> SealedAccess:
    """A usable access token of this connection.

    `rejected` is the version the provider has just answered 401 to. `ahead`: renew one that nears its end though it
    can still be used; without it such a one is returned as it is, and its `renew_in_s` says so.

    Raises: Reconnect; Unavailable when the provider or the keys cannot be asked now.
    """
    deadline = time.monotonic() + _WAIT_S
    while True:
        read = _load(connection_id)
        row, left = read.row, read.left
        stale = rejected is not None and row.version <= rejected
        if not stale and left > (_margin(row) if ahead else min(_IN_HAND, _margin(row) / 2)):
            return _sealed_access(read)
        good = not stale and left > timedelta(0)
        if row.refresh is None or read.resting:
            if good:
                return _sealed_access(read)
            if row.refresh is None:
                raise _needs_auth(row, "revoked" if stale else "refresh_failed")
            raise Unavailable("The provider is not renewing access right now. Try again in a few seconds.")
        if read.exhausted(providers.spec_of(row.connection.installation).oauth):
            raise _needs_auth(row, "refresh_outcome_unknown")
        send_until = time.monotonic() + _SEND_WITHIN_S
        if connection_id not in _holding and (intent := _claim(row)):
            return _refresh(row, intent, send_until)
        if good:
            return _sealed_access(read)
        if time.monotonic() > deadline:
            raise Unavailable("Access is being renewed and that takes too long. Try again in a few seconds.")
        close_old_connections()  # whoever waits holds no database connection
        time.sleep(_POLL_S)


def sealed_with(connection: Connection, row: SealedTokenSet, key: DataKey, *, clock: datetime) -> SealedAccess:
    """The row's access token with its opened data key; `clock` is the database's time when it was read."""
    read = _Read(row, clock)
    usable_s = math.inf if row.expires_at is None else read.left.total_seconds()
    renew_in_s = usable_s - _margin(row).total_seconds() if row.refresh is not None else usable_s
    if read.resting and row.retry_after is not None:
        renew_in_s = max(renew_in_s, (row.retry_after - clock).total_seconds())
    return SealedAccess(
        connection_id=connection.pk,
        tenant_id=connection.tenant_id,
        version=row.version,
        renew_in_s=renew_in_s,
        usable_s=usable_s,
        context=_context(connection, row.version, renewable=row.refresh is not None),
        blob=bytes(row.access),
        key=key,
    )


def give_up(connection_id: UUID, *, version: int) -> None:
    """The provider refused a token just renewed: the grant is dead, whatever its dates say."""
    row = (
        SealedTokenSet.objects.select_related("connection").filter(connection_id=connection_id, version=version).first()
    )
    if row is not None:
        _needs_auth(row, "revoked")


def damaged(connection_id: UUID, *, version: int) -> Reconnect:
    """A token that does not open is recorded, and the connection needs a person."""
    row = (
        SealedTokenSet.objects.select_related("connection__installation")
        .filter(connection_id=connection_id, version=version)
        .first()
    )
    return _unreadable(row, "altered") if row is not None else Reconnect("refresh_failed")


def settle(*, most: int = 100) -> int:
    """Give the refreshes whose process died their outcome in the log: unknown. Returns how many there were."""
    over = SealedTokenSet.objects.filter(lease_until__lt=Now() - REFRESH_LEASE)
    return sum(map(_abandon, over.select_related("connection__installation")[:most]))


def _abandon(row: SealedTokenSet) -> bool:
    """Take the lease from a refresh that died, and record what is known of it: nothing."""
    with transaction.atomic():
        held = SealedTokenSet.objects.filter(pk=row.pk, version=row.version, refresh_owner=row.refresh_owner)
        taken = held.filter(lease_until=row.lease_until).update(lease_until=None, refresh_owner=None)
        if taken:
            _outcome(row, row.refresh_owner, EventKind.REFRESH_FAILED, code="outcome_unknown")
    return bool(taken)


def keep_alive(*, most: int = 100, for_s: float = 20.0) -> int:
    """Refresh connections nobody used for half the time after which their provider ends idle grants."""
    renewed, until = 0, time.monotonic() + for_s
    for installation in Installation.objects.filter(removed=False):
        try:
            idle_s = providers.spec_of(installation).oauth.grant_idle_s
        except (LookupError, TypeError):  # no longer in the catalogue, or with facts it does not know: others go on
            continue
        if idle_s is None:
            continue
        quiet = SealedTokenSet.objects.filter(
            Q(retry_after=None) | Q(retry_after__lt=Now()),
            connection__installation=installation,
            connection__status=Status.READY,
            refreshed_at__lt=Now() - timedelta(seconds=idle_s / 2),
        ).exclude(refresh=None)
        for connection_id, version in quiet.order_by("refreshed_at").values_list("pk", "version")[: most - renewed]:
            if time.monotonic() > until:
                return renewed
            with contextlib.suppress(Reconnect, Unavailable):
                access(connection_id, rejected=version)
                renewed += 1
    return renewed


def _margin(row: SealedTokenSet) -> timedelta:
    """How long before its end a token is renewed: a minute, less for tokens that live shortly.

    The spread by connection keeps tokens issued together from being refreshed together.
    """
    return _spread(row.connection_id, (row.expires_at - row.refreshed_at) if row.expires_at else timedelta(0))


def _spread(connection_id: UUID, lifetime: timedelta) -> timedelta:
    return max(min(GOOD_FOR, lifetime / 5), timedelta(0)) * (1 + (connection_id.int % 100) / 200)


def _context(connection: Connection, version: int, *, renewable: bool) -> Context:
    return token_context(connection, "access", version, grant=connection.grant, renewable=renewable)


def _load(connection_id: UUID) -> _Read:
    """Raises: Reconnect when there is nothing to use, or when the row is older than the log says."""
    row = (
        SealedTokenSet.objects.select_related("connection__installation", "connection__tenant")
        .annotate(clock=Now(), logged=audit_log.token_version(OuterRef("connection_id")))
        .filter(connection_id=connection_id)
        .first()
    )
    if row is None:
        raise Reconnect("revoked")
    if row.connection.status != Status.READY:
        raise Reconnect(row.connection.reason or "revoked")
    if row.logged is not None and row.logged != row.version:
        raise _unreadable(row, "rolled_back")
    if row.connection.grant != grant_of(row.connection.installation):
        raise _unreadable(row, "moved")
    return _Read(row, row.clock)


def _sealed_access(read: _Read) -> SealedAccess:
    """The row's access token, ready to open. Raises: Reconnect when the row does not open; Unavailable."""
    connection = read.row.connection
    try:
        key = sealing.data_key(connection.tenant_id, read.row.access)
    except Unreadable:
        if _sealed_anew(read.row):
            return access(connection.pk)
        raise _unreadable(read.row, "altered") from None
    except KeysUnavailable:
        raise _closed() from None
    return sealed_with(connection, read.row, key, clock=read.clock)


def _sealed_anew(row: SealedTokenSet) -> bool:
    """Whether a rotation of keys has come between reading the row and opening it, and has retired its old key."""
    return not SealedTokenSet.objects.filter(pk=row.pk, version=row.version, key_id=row.key_id).exists()


def _claim(row: SealedTokenSet) -> Event | None:
    """The intent's event for exactly one caller per version; None for everyone else."""
    connection = row.connection
    intent = Event(
        EventKind.REFRESH_INTENT,
        tenant_id=connection.tenant_id,
        user_id=connection.owner_id,
        connection_id=connection.pk,
        provider=connection.installation.slug,
        detail={"version": row.version},
    )
    # A lease that ends later than any lease can is one of a clock that was set back.
    free = Q(lease_until=None) | Q(lease_until__lt=Now()) | Q(lease_until__gt=Now() + 2 * REFRESH_LEASE)
    ready = Connection.objects.filter(pk=row.connection_id, status=Status.READY)
    with transaction.atomic():
        # No join: with one, Django nests these conditions in a subquery, and PostgreSQL does not look at them again
        # when the row it waited for has been claimed meanwhile.
        claimed = SealedTokenSet.objects.filter(
            free,
            pk=row.pk,
            version=row.version,
            attempts=row.attempts,
            refresh_owner=row.refresh_owner,
            connection_id__in=ready.values("pk"),
        ).update(lease_until=Now() + REFRESH_LEASE, refresh_owner=intent.id, attempts=F("attempts") + 1)
        if not claimed:
            return None
        if row.lease_until is not None:  # whoever held it is gone, and its intent has no outcome yet
            _outcome(row, row.refresh_owner, EventKind.REFRESH_FAILED, code="outcome_unknown")
        audit.append([intent])
    row.refresh_owner = intent.id
    return intent


def _refresh(row: SealedTokenSet, intent: Event, send_until: float) -> SealedAccess:
    connection = row.connection
    try:
        # Everything that can fail on our side fails before the refresh token is spent.
        client = client_of(connection.installation)
        key = sealing.active_key(connection.tenant_id)
    except (Unreadable, KeysUnavailable):
        _release(row, intent, "keys_unavailable", spent=False)
        raise _closed() from None
    try:
        old = open_token(connection, row, "refresh")
    except Unreadable:
        if _sealed_anew(row):
            _release(row, intent, "sealed_anew", spent=False)
            raise _closed() from None
        raise _unreadable(row, "altered", intent) from None
    except KeysUnavailable:
        _release(row, intent, "keys_unavailable", spent=False)
        raise _closed() from None
    close_old_connections()
    if time.monotonic() > send_until:
        _release(row, intent, "too_late", spent=False)
        return access(connection.pk)
    try:
        fresh = oauth.refresh(client, refresh_token=old)
    except AnswerRefused as refused:
        return _refused(row, intent, refused)
    except ToolError as broken:
        # Not sent: nothing was spent. Sent and unanswered: one more presentation may follow, no more than one.
        _release(row, intent, "unavailable", spent=not isinstance(broken, Unavailable) or broken.sent)
        raise Unavailable("The provider did not renew access. Try again in a few seconds.") from None
    _holding.add(connection.pk)
    try:
        return _keep(_Renewal(row, intent, client, fresh, old), key)
    finally:
        _holding.discard(connection.pk)


@dataclass(frozen=True, slots=True)
class _Renewal:
    """What a refresh has brought, and everything that is needed to store it."""

    row: SealedTokenSet
    intent: Event
    client: oauth.Client
    fresh: TokenSet = field(repr=False)
    old: str = field(repr=False)
    """The refresh token that was presented; it stays in force where no new one came."""

    def give_up(self) -> None:
        """Kill what cannot be kept."""
        revoke.discard(
            connection=self.row.connection,
            tokens=self.fresh,
            version=self.row.version + 1,
            now=datetime.now(UTC),
            client=self.client,
        )


def _keep(renewal: _Renewal, key: DataKey) -> SealedAccess:
    """Store what the provider gave, and try again for as long as the database cannot."""
    until, pause, connection = time.monotonic() + _HOLD_S, 0.05, renewal.row.connection
    while True:
        try:
            return _store(renewal, key)
        except DatabaseError as broken:
            if time.monotonic() > until:
                log.error("new tokens of connection %s could not be stored and are given up", connection.pk)  # noqa: TRY400 - the cause says nothing more
                renewal.give_up()
                raise Unavailable("Access was renewed and could not be stored. Try again.") from None
            if pause < 0.1:  # noqa: PLR2004 - once
                why = type(broken).__name__
                log.warning("new tokens of connection %s wait for the database: %s", connection.pk, why)
            database.close()
            time.sleep(pause)
            pause = min(pause * 1.5, 0.5)
            key = _current_key(connection, key)


def _current_key(connection: Connection, key: DataKey) -> DataKey:
    """The tenant's active key now: the one at hand may have been rotated away while the database was gone."""
    try:
        return sealing.active_key(connection.tenant_id)
    except (DatabaseError, KeysUnavailable, Unreadable):
        return key


def _store(renewal: _Renewal, key: DataKey) -> SealedAccess:
    """Write the new version through the fence; what no longer belongs to the row is revoked at the provider."""
    row, intent, fresh = renewal.row, renewal.intent, renewal.fresh
    connection, version, spec = row.connection, row.version + 1, renewal.client.spec
    before = round((row.expires_at - row.refreshed_at).total_seconds()) if row.expires_at else None
    lives_s = fresh.lives_s(spec, before=before, renewable=True)
    connection.api_base = fresh.api_base or connection.api_base
    sealed = seal_tokens(connection, fresh, version=version, grant=connection.grant, keep_refresh=renewal.old, key=key)
    with transaction.atomic():
        # Held until the commit: a disconnect comes either before, and is seen, or after, and finds these tokens.
        alive = Connection.objects.select_for_update().filter(
            pk=connection.pk, epoch=connection.epoch, status=Status.READY
        )
        ours = SealedTokenSet.objects.filter(pk=row.pk, version=row.version, refresh_owner=intent.id)
        stored = alive.first() is not None and ours.update(**sealed, **dated(lives_s), version=version)
        if stored:
            _outcome(row, intent.id, EventKind.REFRESH_DONE, version=version)
            _narrow(connection, spec, fresh)
            if (
                Connection.objects.filter(pk=connection.pk)
                .exclude(api_base=connection.api_base)
                .update(api_base=connection.api_base)
            ):
                standing.changed()
    if not stored and not _written(row, intent):
        _outcome(row, intent.id, EventKind.REFRESH_FAILED, code="superseded")
        renewal.give_up()
        return access(connection.pk)
    usable_s = math.inf if lives_s is None else float(lives_s)
    return SealedAccess(
        connection_id=connection.pk,
        tenant_id=connection.tenant_id,
        version=version,
        renew_in_s=usable_s - _spread(connection.pk, timedelta(seconds=lives_s or 0)).total_seconds(),
        usable_s=usable_s,
        context=_context(connection, version, renewable=True),
        blob=sealed["access"],
        key=key,
    )


def _narrow(connection: Connection, spec: OAuthSpec, fresh: TokenSet) -> None:
    """A refresh may lose scopes; it never gains any (RFC 6749 section 6)."""
    if fresh.scopes is None:
        return
    kept = sorted(set(connection.scopes) & set(oauth.granted(spec, fresh, connection.scopes)))
    if kept != sorted(connection.scopes):
        Connection.objects.filter(pk=connection.pk, epoch=connection.epoch).update(scopes=kept)
        standing.changed()


def _written(row: SealedTokenSet, intent: Event) -> bool:
    """Whether an earlier try was committed after all, though its answer was lost."""
    return SealedTokenSet.objects.filter(pk=row.pk, version=row.version + 1, refresh_owner=intent.id).exists()


def _refused(row: SealedTokenSet, intent: Event, refused: AnswerRefused) -> SealedAccess:
    if refused.code == "invalid_grant":
        _outcome(row, intent.id, EventKind.REFRESH_FAILED, code=refused.code)
        current = _load(row.connection_id)
        if current.row.version > row.version:
            return _sealed_access(current)
        # After a presentation whose answer was lost, this most likely means that it had been worked.
        raise _needs_auth(row, "refresh_outcome_unknown" if row.attempts else "refresh_failed")
    spent = refused.code in {"malformed", "wrong_api_base"}
    _release(row, intent, refused.code, spent=spent, wait_s=refused.retry_after_s)
    raise Unavailable("The provider did not renew access. Try again in a few seconds.")


def _release(row: SealedTokenSet, intent: Event, code: str, *, spent: bool, wait_s: int | None = None) -> None:
    """Give the claim back and pause; `spent` when the refresh token may have been used up."""
    backed_off = min(_BACK_OFF_S * 2 ** min(row.failures, 10), _BACK_OFF_MOST_S)
    pause_s = max(backed_off * random.uniform(0.8, 1.2), min(wait_s or 0, _BACK_OFF_MOST_S))  # noqa: S311 - spreads retries
    with transaction.atomic():
        ours = SealedTokenSet.objects.filter(pk=row.pk, version=row.version, refresh_owner=intent.id)
        if ours.update(
            lease_until=None,
            refresh_owner=None,
            attempts=row.attempts + 1 if spent else row.attempts,
            failures=min(row.failures + 1, 1_000),
            retry_after=Now() + timedelta(seconds=pause_s),
        ):  # else whoever took the lease has recorded the outcome
            _outcome(row, intent.id, EventKind.REFRESH_FAILED, code=code)


def _needs_auth(row: SealedTokenSet, reason: str) -> Reconnect:
    with transaction.atomic():
        if row.lease_until is not None and row.refresh_owner is not None and reason == "refresh_outcome_unknown":
            _abandon(row)
        ended = Connection.objects.filter(pk=row.connection_id, epoch=row.connection.epoch, status=Status.READY)
        if ended.update(status=Status.NEEDS_AUTH, reason=reason, epoch=F("epoch") + 1):
            standing.changed()
    return Reconnect(reason)


def _unreadable(row: SealedTokenSet, code: str, intent: Event | None = None) -> Reconnect:
    """Somebody has changed the row behind our back, or its key is gone. It is recorded, and a person is needed."""
    with transaction.atomic():
        if intent is not None:
            _outcome(row, intent.id, EventKind.REFRESH_FAILED, code=code)
        _outcome(row, None, EventKind.TOKEN_UNREADABLE, code=code)
        return _needs_auth(row, "refresh_failed")


def _closed() -> Unavailable:
    return Unavailable("The keys to the vault cannot be reached right now. Try again in a minute.", sent=False)


def _outcome(
    row: SealedTokenSet, intent_id: UUID | None, kind: EventKind, *, version: int | None = None, **detail: str
) -> None:
    connection = row.connection
    event = Event(
        kind,
        tenant_id=connection.tenant_id,
        user_id=connection.owner_id,
        connection_id=connection.pk,
        provider=connection.installation.slug,
        intent_id=intent_id,
        detail={"version": version or row.version, **detail},
    )
    audit.append([event])
