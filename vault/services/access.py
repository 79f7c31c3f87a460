"""The access token of a connection, refreshed at most once per version across all processes (design: refresh protocol).

The rules, in the order of the code: use what is good for a minute more; else claim the version with one conditional
update, committed together with the audit intent; the winner asks the provider once; what it gets is stored only if
nothing changed meanwhile (the fence); everyone else waits and reads again.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from django.db import close_old_connections, transaction
from django.db.models import F, Q

from audit import services as audit
from audit.events import Event, EventKind
from providers.errors import ToolError, Unavailable
from tenants import standing
from vault import oauth, sealing
from vault.crypto import Context, DataKey, Unreadable
from vault.models import Connection, SealedTokenSet, Status
from vault.services.clients import client_of
from vault.services.sealed import open_token, seal_tokens, token_context
from vault.tokens import AccessToken, AnswerRefused, TokenSet

__all__ = ["Reconnect", "SealedAccess", "Unreadable", "access", "damaged", "give_up", "sealed_with"]

log = logging.getLogger(__name__)

REFRESH_LEASE = timedelta(seconds=25)
GOOD_FOR = timedelta(seconds=60)
_WAIT_S, _POLL_S = 30.0, 0.05
_BACK_OFF = timedelta(seconds=5)
_PRESENTATIONS = 2


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
    context: Context = field(repr=False)
    renew_at: datetime
    """From when on it is not used without asking the database."""
    blob: bytes = field(repr=False)
    key: DataKey = field(repr=False)

    def open(self) -> AccessToken:
        """The token, as a value that does not print. Raises: Unreadable; then call `damaged`."""
        plain = sealing.bound_open(self.key, self.tenant_id, self.blob, self.context)
        return AccessToken(plain.decode(), self.version)


def sealed_with(connection: Connection, row: SealedTokenSet, key: DataKey) -> SealedAccess:
    """The row's access token with its opened data key."""
    return SealedAccess(
        connection_id=connection.pk,
        tenant_id=connection.tenant_id,
        version=row.version,
        context=token_context(
            connection, "access", row.version, grant=connection.grant, renewable=row.refresh is not None
        ),
        renew_at=row.expires_at - _margin(row) if row.expires_at else datetime.now(UTC),
        blob=bytes(row.access),
        key=key,
    )


def sealed_access(row: SealedTokenSet) -> SealedAccess:
    """The row's access token, ready to open. Raises: Reconnect when the row does not open."""
    try:
        return sealed_with(row.connection, row, sealing.data_key(row.connection.tenant_id, row.access))
    except Unreadable:
        raise _unreadable(row) from None


def access(connection_id: UUID, *, rejected: int | None = None) -> SealedAccess:
    """A usable access token of this connection; `rejected` is the version the provider has just answered 401 to.

    Raises: Reconnect; Unavailable when the provider cannot be asked now.
    """
    deadline = time.monotonic() + _WAIT_S
    while True:
        now = datetime.now(UTC)
        row = _load(connection_id)
        stale = rejected is not None and row.version <= rejected
        good = row.expires_at is not None and row.expires_at > now
        if not stale and row.expires_at is not None and row.expires_at > now + _margin(row):
            return sealed_access(row)
        if row.refresh is None:
            if good and not stale:
                return sealed_access(row)
            raise _needs_auth(row, "revoked" if stale else "refresh_failed")
        if row.retry_after is not None and row.retry_after > now:
            if good and not stale:
                return sealed_access(row)
            raise Unavailable("The provider is not renewing access right now. Try again in a few seconds.")
        if row.attempts >= _PRESENTATIONS and (row.lease_until is None or row.lease_until < now):
            raise _needs_auth(row, "refresh_outcome_unknown")
        if intent := _claim(row, now=now):
            return _refresh(row, intent)
        if good and not stale:
            return sealed_access(row)
        if time.monotonic() > deadline:
            raise Unavailable("Access is being renewed and that takes too long. Try again in a few seconds.")
        close_old_connections()
        time.sleep(_POLL_S)


def _margin(row: SealedTokenSet) -> timedelta:
    """How long a token must still be good to be used: a minute, less for tokens that live shortly.

    The spread by connection keeps tokens issued together from being refreshed together.
    """
    lifetime = (row.expires_at - row.refreshed_at) if row.expires_at else GOOD_FOR
    return min(GOOD_FOR, lifetime / 5) * (1 + (row.connection_id.int % 100) / 200)


def _load(connection_id: UUID) -> SealedTokenSet:
    row = (
        SealedTokenSet.objects.select_related("connection__installation", "connection__tenant")
        .filter(connection_id=connection_id)
        .first()
    )
    if row is None:
        raise Reconnect("revoked")
    if row.connection.status != Status.READY:
        raise Reconnect(row.connection.reason or "revoked")
    return row


def _claim(row: SealedTokenSet, *, now: datetime) -> Event | None:
    """The intent's event for exactly one caller per version; None for everyone else."""
    owner = uuid4()
    free = Q(lease_until=None) | Q(lease_until__lt=now)
    ready = Connection.objects.filter(pk=row.connection_id, status=Status.READY)
    with transaction.atomic():
        # No join: with one, Django nests these conditions in a subquery, and PostgreSQL does not look at them again
        # when the row it waited for has been claimed meanwhile.
        claimed = SealedTokenSet.objects.filter(
            free, pk=row.pk, version=row.version, attempts=row.attempts, connection_id__in=ready.values("pk")
        ).update(lease_until=now + REFRESH_LEASE, refresh_owner=owner, attempts=F("attempts") + 1)
        if not claimed:
            return None
        row.refresh_owner = owner
        connection = row.connection
        return audit.record(
            EventKind.REFRESH_INTENT,
            tenant_id=connection.tenant_id,
            user_id=connection.owner_id,
            connection_id=connection.pk,
            provider=connection.installation.slug,
            version=row.version,
        )


def _refresh(row: SealedTokenSet, intent: Event) -> SealedAccess:
    connection = row.connection
    try:
        # Everything that can fail on our side fails before the refresh token is spent.
        client = client_of(connection.installation)
        sealing.active_key(connection.tenant_id)
        old = open_token(connection, row, "refresh")
    except Unreadable:
        raise _unreadable(row) from None
    close_old_connections()
    try:
        fresh = oauth.refresh(client, refresh_token=old)
    except AnswerRefused as refused:
        return _refused(row, intent, refused.code)
    except ToolError as broken:
        # Not sent: nothing was spent. Sent and unanswered: one more presentation may follow, no more than one.
        _release(row, intent, "unavailable", spent=not isinstance(broken, Unavailable) or broken.sent)
        raise Unavailable("The provider did not renew access. Try again in a few seconds.") from None
    return _store(row, intent, fresh, old)


def _store(row: SealedTokenSet, intent: Event, fresh: TokenSet, old: str) -> SealedAccess:
    """Write the new version through the fence; what no longer belongs to the row is revoked at the provider."""
    connection, version, now = row.connection, row.version + 1, datetime.now(UTC)
    with transaction.atomic():
        # Held until the commit: a disconnect comes either before, and is seen, or after, and finds these tokens.
        alive = Connection.objects.select_for_update().filter(
            pk=connection.pk, epoch=connection.epoch, status=Status.READY
        )
        ours = SealedTokenSet.objects.filter(pk=row.pk, version=row.version, refresh_owner=row.refresh_owner)
        stored = alive.first() is not None and ours.update(
            **seal_tokens(connection, fresh, version=version, grant=connection.grant, keep_refresh=old),
            version=version,
            expires_at=now + timedelta(seconds=fresh.lifetime_s or 300),
            refreshed_at=now,
            refresh_owner=None,
            lease_until=None,
            attempts=0,
            retry_after=None,
        )
        _outcome(row, intent, EventKind.REFRESH_DONE if stored else EventKind.REFRESH_FAILED, stored=bool(stored))
        if stored and fresh.scopes is not None and list(fresh.scopes) != connection.scopes:
            Connection.objects.filter(pk=connection.pk, epoch=connection.epoch).update(scopes=list(fresh.scopes))
    if not stored:
        _revoke_quietly(row, fresh)
        raise Reconnect("revoked")
    return sealed_access(_load(row.connection_id))


def _refused(row: SealedTokenSet, intent: Event, code: str) -> SealedAccess:
    if code == "invalid_grant":
        current = _load(row.connection_id)
        _outcome(row, intent, EventKind.REFRESH_FAILED, code=code)
        if current.version > row.version:
            return sealed_access(current)
        raise _needs_auth(row, "refresh_failed")
    _release(row, intent, code, spent=code == "malformed")
    raise Unavailable("The provider did not renew access. Try again in a few seconds.")


def _release(row: SealedTokenSet, intent: Event, code: str, *, spent: bool) -> None:
    """Give the claim back and pause; `spent` when the refresh token may have been used up."""
    with transaction.atomic():
        SealedTokenSet.objects.filter(pk=row.pk, version=row.version, refresh_owner=row.refresh_owner).update(
            lease_until=None,
            refresh_owner=None,
            attempts=row.attempts + 1 if spent else row.attempts,
            retry_after=datetime.now(UTC) + _BACK_OFF,
        )
        _outcome(row, intent, EventKind.REFRESH_FAILED, code=code)


def give_up(connection_id: UUID, *, version: int) -> None:
    """The provider refused a token just renewed: the grant is dead, whatever its dates say."""
    row = (
        SealedTokenSet.objects.select_related("connection").filter(connection_id=connection_id, version=version).first()
    )
    if row is not None:
        _needs_auth(row, "revoked")


def damaged(connection_id: UUID, *, version: int) -> Reconnect:
    """A token that does not open is recorded, and the connection needs a person."""
    return _unreadable(
        SealedTokenSet.objects.select_related("connection__installation").get(
            connection_id=connection_id, version=version
        )
    )


def _needs_auth(row: SealedTokenSet, reason: str) -> Reconnect:
    Connection.objects.filter(pk=row.connection_id, epoch=row.connection.epoch, status=Status.READY).update(
        status=Status.NEEDS_AUTH, reason=reason, epoch=F("epoch") + 1
    )
    standing.changed()
    return Reconnect(reason)


def _unreadable(row: SealedTokenSet) -> Reconnect:
    audit.record(
        EventKind.TOKEN_UNREADABLE,
        tenant_id=row.connection.tenant_id,
        connection_id=row.connection_id,
        provider=row.connection.installation.slug,
        version=row.version,
    )
    return _needs_auth(row, "refresh_failed")


def _outcome(row: SealedTokenSet, intent: Event, kind: EventKind, **detail: str | bool) -> None:
    audit.record(
        kind,
        tenant_id=row.connection.tenant_id,
        user_id=row.connection.owner_id,
        connection_id=row.connection_id,
        provider=row.connection.installation.slug,
        intent=intent,
        version=row.version,
        **detail,
    )


def _revoke_quietly(row: SealedTokenSet, fresh: TokenSet) -> None:
    try:
        discarded = oauth.discard(client_of(row.connection.installation), fresh)
    except Unreadable:
        discarded = False
    if not discarded:
        log.warning("a token that came too late could not be revoked, connection %s", row.connection_id)
