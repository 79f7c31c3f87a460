"""Ending connections: local use ends in one transaction, then the tokens are killed at the provider.

What is to be killed is a row of its own (`Revocation`), moved there as it was sealed, so that nothing but the database
is needed to end a connection. It is tried at once, and by the sweep until the provider has confirmed.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum, StrEnum
from uuid import UUID

from django.db import DatabaseError, close_old_connections, transaction
from django.db.models import F, QuerySet
from django.db.models.functions import Now

from audit import services as audit
from audit.events import Event, EventKind
from providers import selectors as providers
from providers.errors import ToolError
from providers.models import Installation
from providers.spec import ProviderSpec
from tenants import standing
from vault import oauth, sealing
from vault.crypto import KeysUnavailable, Unreadable
from vault.models import Connection, Revocation, SealedTokenSet, Status
from vault.services import question
from vault.services.clients import client_of
from vault.services.sealed import fields_of, grant_of, open_token, seal_tokens
from vault.tokens import TokenSet

log = logging.getLogger(__name__)

_LEASE = timedelta(seconds=60)
"""Longer than one attempt can take: it makes at most two requests of 15 s."""
_FIRST_PAUSE, _LONGEST_PAUSE = timedelta(minutes=1), timedelta(hours=1)
_SAID_EVERY = 30
"""A failure is logged the first time, and then at every thirtieth: at an hour's pause, less than once a day."""
_GROUP = 500
"""Connections ended with one statement of each kind."""


class Ending(StrEnum):
    """What became of tokens at their provider in the end; kept as the reason of a revoked connection."""

    CONFIRMED = "revoked"
    NOT_OFFERED = "not_offered"
    """The provider has no way to revoke; a person can end it in their account there."""
    IN_USE = "in_use"
    """All tokens of the account are one grant there, and another connection uses it."""
    UNREADABLE = "unreadable"
    """They do not open: shredded or altered."""
    CHANGED = "changed"
    """They were issued for another client or place than the installation names now, and are not sent there."""
    GIVEN_UP = "given_up"
    """Their tenant was removed before the provider confirmed."""

    @property
    def known(self) -> bool:
        """Whether it is known what becomes of the tokens; else they may live on at the provider."""
        return self in {Ending.CONFIRMED, Ending.NOT_OFFERED, Ending.IN_USE}


class Tried(Enum):
    """What came of one attempt."""

    OVER = "over"
    FAILED = "failed"
    TAKEN = "taken"
    """It is not due, or somebody else is at it."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How many connections ended, by whether anything is left to do at their providers."""

    confirmed: int
    pending: int


# --- Ending


def disconnect(*, connection: Connection, by: UUID | None) -> bool:
    """End a connection. False while it is `revoking`: it is no longer used, and its provider has yet to confirm.

    Calling it again tries again at once. `in_words` says what came of it.
    """
    with transaction.atomic():
        ended = end(Connection.objects.filter(pk=connection.pk), by=by, now=datetime.now(UTC))
    return not pursue(ended).pending


def disconnect_all(*, connections: QuerySet[Connection], by: UUID | None, now: datetime) -> Ended:
    """End some connections together; `all_in_words` says what came of it."""
    with transaction.atomic():
        ended = end(connections, by=by, now=now)
    return pursue(ended)


def end_all(*, installation: Installation, by: UUID | None, now: datetime) -> Ended:
    """End every connection of an installation while its OAuth client is still the one their tokens belong to."""
    return disconnect_all(connections=Connection.objects.filter(installation=installation), by=by, now=now)


def end(connections: QuerySet[Connection], *, by: UUID | None, now: datetime) -> list[UUID]:
    """End the use of these connections, and write down which tokens are to be killed, in the caller's transaction.

    Returns what `pursue` takes once that is committed: these, and those among them that were `revoking` before. A
    refresh that stores at the same moment comes either before, and its tokens are among them, or after, and is fenced.
    """
    found = connections.exclude(status=Status.REVOKED).values("pk")
    rows = Connection.objects.select_for_update(of=("self",)).select_related("installation")
    # Every row is locked before anything else is, in one order: whoever changes `standing` holds that until the end.
    locked = list(rows.filter(pk__in=found).order_by("pk"))
    for start in range(0, len(locked), _GROUP):
        _end(locked[start : start + _GROUP], by=by, now=now)
    if locked:
        standing.changed()
    return [row.pk for row in locked]


def _end(group: Sequence[Connection], *, by: UUID | None, now: datetime) -> None:
    # Locked, so that no rotation of keys takes away the key of what is copied here.
    tokens = SealedTokenSet.objects.select_for_update().filter(connection__in=[row.pk for row in group])
    sealed = {row.connection_id: row for row in tokens}
    rows = [row for row in group if row.status not in {Status.REVOKING, Status.REVOKED} or row.pk in sealed]
    if not rows:
        return
    intents = {row.pk: _event(row, EventKind.REVOKE_INTENT, by) for row in rows}
    audit.append(list(intents.values()))
    Revocation.objects.bulk_create(
        Revocation(
            tenant_id=row.tenant_id,
            connection=row,
            key_id=sealed[row.pk].key_id,
            version=sealed[row.pk].version,
            grant=row.grant,
            access=sealed[row.pk].access,
            refresh=sealed[row.pk].refresh,
            intent_id=intents[row.pk].id,
            by=by,
            next_at=Now(),
            created_at=now,
        )
        for row in rows
        if row.pk in sealed
    )
    ids = [row.pk for row in rows]
    SealedTokenSet.objects.filter(connection__in=ids).delete()
    Connection.objects.filter(pk__in=ids).update(
        status=Status.REVOKING, reason=Ending.CONFIRMED, epoch=F("epoch") + 1, is_default=False
    )
    for row in rows:
        question.disconnected(connection=row, by=by, now=now)
    if bare := [row for row in rows if row.pk not in sealed]:  # there is nothing to kill
        waiting = Revocation.objects.filter(connection__in=ids).values("connection")
        Connection.objects.filter(pk__in=[row.pk for row in bare]).exclude(pk__in=waiting).update(status=Status.REVOKED)
        audit.append([_event(row, EventKind.REVOKE_DONE, by, intents[row.pk].id) for row in bare])


# --- Killing what is written down


def pursue(connection_ids: Sequence[UUID]) -> Ended:
    """Try to kill the tokens of connections that have ended now, also those that wait after a failure."""
    theirs = Revocation.objects.filter(connection__in=connection_ids)
    _carry_out(theirs.values_list("pk", "connection__installation_id"), asked=True)
    pending = Connection.objects.filter(pk__in=connection_ids, status=Status.REVOKING).count()
    return Ended(len(connection_ids) - pending, pending)


def sweep(*, most: int = 100) -> int:
    """Try what is due, the longest waiting first; of a provider that fails, nothing more this time."""
    due = Revocation.objects.filter(next_at__lte=Now()).order_by("next_at")
    return _carry_out(due.values_list("pk", "connection__installation_id")[:most])


def _carry_out(pending: Iterable[tuple[UUID, UUID]], *, asked: bool = False, for_s: float = 20.0) -> int:
    until, over, failing = time.monotonic() + for_s, 0, set()
    for revocation_id, installation_id in list(pending):
        if installation_id in failing:
            continue
        if time.monotonic() > until:
            break
        match attempt(revocation_id, asked=asked):
            case Tried.OVER:
                over += 1
            case Tried.FAILED:
                failing.add(installation_id)
                _postpone(installation_id)
            case Tried.TAKEN:
                pass
    return over


def _postpone(installation_id: UUID) -> None:
    """What else is due at a provider that fails waits a little, so that it keeps nobody else's from being tried."""
    theirs = Connection.objects.filter(installation_id=installation_id).values("pk")
    Revocation.objects.filter(next_at__lte=Now(), connection_id__in=theirs).update(next_at=Now() + _FIRST_PAUSE)


def attempt(revocation_id: UUID, *, asked: bool = False, client: oauth.Client | None = None) -> Tried:
    """Try once to kill the tokens of one row. Never called in a transaction: it asks the provider.

    `asked`: a person waits for it; then it need not be due. `client` is the one that has just been given these tokens,
    where that is known; else they go nowhere unless the installation still is what they were issued for.
    """
    due = Revocation.objects.filter(pk=revocation_id)
    if not asked:
        due = due.filter(next_at__lte=Now())
    claimed = due.update(next_at=Now() + _LEASE, attempts=F("attempts") + 1)
    row = Revocation.objects.select_related("connection__installation").filter(pk=revocation_id).first()
    if not claimed or row is None:
        return Tried.TAKEN
    try:
        return _over(row, _kill(row, client))
    except ToolError:
        return _failed(row, "unavailable")
    except (KeysUnavailable, Unreadable):  # of the client's secret; tokens that do not open are an ending
        return _failed(row, "keys_unavailable")
    except LookupError:
        return _failed(row, "provider_unknown")


def _kill(row: Revocation, client: oauth.Client | None) -> Ending:
    """Raises: ToolError, KeysUnavailable, Unreadable, LookupError: then it is tried again."""
    connection = row.connection
    if client is None and row.grant != grant_of(connection.installation):
        return Ending.CHANGED
    try:
        tokens = {field: open_token(connection, row, field) for field in fields_of(row)}
    except Unreadable:
        return Ending.UNREADABLE
    client = client or client_of(connection.installation)
    if not oauth.revocable(client):
        return Ending.NOT_OFFERED
    if client.spec.one_grant and _in_use(connection):
        return Ending.IN_USE
    close_old_connections()
    oauth.revoke_all(client, refresh=tokens.get("refresh"), access=tokens["access"])
    return Ending.CONFIRMED


def _in_use(connection: Connection) -> bool:
    """Whether this account is connected anew, or for somebody else, through the same client."""
    same = Connection.objects.filter(installation_id=connection.installation_id, account_id=connection.account_id)
    return same.filter(status=Status.READY).exists()


def _over(row: Revocation, ending: Ending) -> Tried:
    """Nothing is left to do; the last row of a connection takes it out of `revoking`."""
    with transaction.atomic():
        connection = Connection.objects.select_for_update().filter(pk=row.connection_id)
        if connection.first() is not None and Revocation.objects.filter(pk=row.pk).delete()[0]:
            conclude(row, ending)
    return Tried.OVER


def conclude(row: Revocation, ending: Ending) -> None:
    """Give a row that was deleted its outcome, in the caller's transaction."""
    revoking = Connection.objects.filter(pk=row.connection_id, status=Status.REVOKING)
    if ending is not Ending.CONFIRMED:
        revoking.update(reason=ending)
    if not Revocation.objects.filter(connection_id=row.connection_id).exists():
        revoking.update(status=Status.REVOKED)
    if ending.known:
        _record(row, EventKind.REVOKE_DONE, at_provider=ending)
    else:
        _record(row, EventKind.REVOKE_FAILED, code=ending)


def _failed(row: Revocation, code: str) -> Tried:
    pause = min(_FIRST_PAUSE * 2 ** min(row.attempts - 1, 10), _LONGEST_PAUSE)
    spread = 1 + row.pk.int % 100 / 400  # so that what failed together does not come back together
    with transaction.atomic():
        again = Revocation.objects.filter(pk=row.pk, attempts=row.attempts).update(next_at=Now() + pause * spread)
        if again and row.attempts % _SAID_EVERY == 1:
            _record(row, EventKind.REVOKE_FAILED, code=code, attempts=row.attempts)
    return Tried.FAILED


# --- Tokens that came too late, or that were replaced


def discard(
    *, connection: Connection, tokens: TokenSet, version: int, now: datetime, client: oauth.Client | None = None
) -> None:
    """Kill what a refresh brought for a connection that has ended, or has other tokens by now.

    `connection` as it was when the refresh began, `client` the one that made it. Durable: written down first, then
    tried; where it cannot be written down, tried once.
    """
    try:
        row = _write_down(connection, tokens, version, now)
    except (DatabaseError, KeysUnavailable, Unreadable):
        _try_once(connection, tokens, client)
        return
    if row is not None:
        with contextlib.suppress(DatabaseError):  # the row is there, and the sweep finds it
            attempt(row.pk, client=client)


def _write_down(connection: Connection, tokens: TokenSet, version: int, now: datetime) -> Revocation | None:
    """None where another process renewed the same grant, and killing these tokens would end that one too."""
    sealing.active_key(connection.tenant_id)  # opened before anything is locked
    with transaction.atomic():
        current = Connection.objects.select_for_update().filter(pk=connection.pk).first()
        if current and current.status == Status.READY and current.epoch == connection.epoch:
            return None
        # Bound to the row as it is now: the account may have another address by now, and has to open them with it.
        sealed = seal_tokens(current or connection, tokens, version=version, grant=connection.grant)
        Connection.objects.filter(pk=connection.pk, status=Status.REVOKED).update(status=Status.REVOKING)
        intent = _event(connection, EventKind.REVOKE_INTENT, None, why="late")
        audit.append([intent])
        return Revocation.objects.create(
            tenant_id=connection.tenant_id,
            connection_id=connection.pk,
            version=version,
            grant=connection.grant,
            intent_id=intent.id,
            next_at=Now(),
            created_at=now,
            **sealed,
        )


def _try_once(connection: Connection, tokens: TokenSet, client: oauth.Client | None) -> None:
    try:
        killed = oauth.discard(client or client_of(connection.installation), tokens)
    except (DatabaseError, KeysUnavailable, Unreadable, LookupError):
        killed = False
    if not killed:
        log.warning("a token that came too late could not be revoked, connection %s", connection.pk)


def superseded(*, connection: Connection, spec: ProviderSpec) -> None:
    """The same account was connected anew, in the caller's transaction.

    What was to be killed is killed still, unless that would end the new grant with it.
    """
    if spec.oauth.one_grant:
        for row in Revocation.objects.filter(connection=connection).select_related("connection__installation"):
            if Revocation.objects.filter(pk=row.pk).delete()[0]:
                conclude(row, Ending.IN_USE)


# --- Saying what came of it


def in_words(connection: Connection) -> str:
    """What came of ending a connection, in sentences for the person who asked for it."""
    row = Connection.objects.select_related("installation").get(pk=connection.pk)
    return what_became(row, providers.title_of(row.installation))


def all_in_words(ended: Ended) -> str:
    """How many connections ended, and what is left to do for them."""
    count = ended.confirmed + ended.pending
    text = f"{count} connection{'' if count == 1 else 's'} ended."
    if ended.pending:
        text += f" {ended.pending} not confirmed by the provider yet; that is tried again until it is."
    return text


def what_became(row: Connection, title: str) -> str:
    """The same of a row as it was read, with what its provider is called."""
    if row.status == Status.REVOKING:
        return (
            f"{row.label} is no longer used here. {title} has not confirmed yet that its access is revoked; "
            "that is tried again until it has."
        )
    match row.reason:
        case Ending.CONFIRMED:
            return f"{row.label} is disconnected, and its access is revoked at {title}."
        case Ending.NOT_OFFERED:
            what = f"{title} offers no way to end access from here; remove it in your account settings there."
        case Ending.IN_USE:
            what = f"{title} gives one grant for the whole account, and another connection here still uses it."
        case _:
            what = f"{title} could not be told to end its access; remove it in your account settings there."
    return f"{row.label} is disconnected. {what}"


def _record(row: Revocation, kind: EventKind, **detail: str | int) -> None:
    audit.append([_event(row.connection, kind, row.by, row.intent_id, **detail)])


def _event(
    connection: Connection, kind: EventKind, by: UUID | None, intent_id: UUID | None = None, **detail: str | int
) -> Event:
    return Event(
        kind,
        tenant_id=connection.tenant_id,
        user_id=by,
        connection_id=connection.pk,
        provider=connection.installation.slug,
        intent_id=intent_id,
        detail=detail,
    )
