"""Questions to a person: asked → given or declined → withdrawn, used or over; what consents and approvals share.

A question's id carries no authority: only the person who is asked may answer, in a live session, for a connection they
may still use. Whoever ends a connection, or lets it do more, ends what was asked or allowed with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, TypeVar
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet

from audit import services as audit
from audit.events import Event, EventKind
from audit.fingerprint import fingerprint, tenant_key
from providers.spec import Effect
from tenants import selectors as tenants
from tenants import standing
from tenants.models import User
from vault.models import Approval, Connection, Consent, Question, Status

K = TypeVar("K", bound=Question)
_WORDS: Mapping[type[Question], str] = {Consent: "consent", Approval: "approval"}


class Act(StrEnum):
    """What the log says happened; the kind of question comes before it."""

    ASKED = "ask.done"
    GIVEN = "give.done"
    DECLINED = "give.refused"
    WITHDRAWN = "withdraw.done"
    USED = "use.done"
    REFUSED = "use.refused"


class State(StrEnum):
    """How a question or its answer stands; each has its page."""

    OPEN = "open"
    DECLINED = "declined"
    GIVEN = "given"
    USED = "used"
    OVER = "over"
    """It stood until its time was over, or was withdrawn."""
    EXPIRED = "expired"
    """Nobody answered in time."""
    DISCONNECTED = "disconnected"


class Stop(StrEnum):
    """Why a question is not shown."""

    UNKNOWN = "unknown"
    WRONG_PERSON = "wrong_person"
    NOT_MEMBER = "not_member"
    CHANGED = "changed"
    """What it is about does not open, or is not what it was."""
    CLOSED = "closed"
    """The keys to what it is about cannot be had now."""


class Stopped(Exception):
    """This page is not for whoever opens it."""

    def __init__(self, why: Stop) -> None:
        super().__init__(why.value)
        self.why = why


def put(row: K, *same: str, now: datetime) -> K:
    """Ask it, unless the same may still be answered, declined or not: then that one. `same` are its own columns.

    Raises: Connection.DoesNotExist when the connection is not this person's to use.
    """
    columns = ("user_id", "connection_id", "client", "effect", "once", *same)
    theirs = Connection.objects.filter(Q(owner=None) | Q(owner_id=row.user_id))
    with transaction.atomic():
        # One question at a time, so that retries side by side find the same one.
        row.connection = theirs.select_for_update(no_key=True).get(pk=row.connection_id, tenant_id=row.tenant_id)
        alike = _answerable(type(row), now).filter(**{name: getattr(row, name) for name in columns})
        if found := alike.order_by("-asked_at").first():
            return found
        row.asked_at, row.answer_until = now, now + _answer_time(row)
        row.save(force_insert=True)
        _event(row, Act.ASKED)
    return row


def opened(kind: type[K], question_id: UUID, *, user: User) -> K:
    """The question, for the person who is asked. Raises: Stopped."""
    row = _rows(kind).select_related("tenant", "user", "connection__installation").filter(pk=question_id).first()
    if row is None:
        raise Stopped(Stop.UNKNOWN)
    if row.user_id != user.pk:
        _event(row, EventKind.LINK_OPENED_BY_ANOTHER, opened_by=str(user.pk))
        raise Stopped(Stop.WRONG_PERSON)
    if tenants.membership(row.tenant_id, user.pk) is None:
        _event(row, EventKind.LINK_REFUSED, why=Stop.NOT_MEMBER)
        raise Stopped(Stop.NOT_MEMBER)
    return row


def state(row: Question, *, now: datetime) -> State:
    """How it stands."""
    connection = row.connection
    usable = connection.status == Status.READY and connection.installation.enabled
    if row.used_at is not None:
        return State.USED
    if row.withdrawn_at is not None or (row.expires_at is not None and row.expires_at <= now):
        return State.OVER
    if not usable or connection.owner_id not in {None, row.user_id}:
        return State.DISCONNECTED
    if row.given_at is not None:
        return State.GIVEN
    if row.answer_until <= now:
        return State.EXPIRED
    return State.OPEN if row.declined_at is None else State.DECLINED


@transaction.atomic
def give(row: Question, *, now: datetime) -> bool:
    """Say yes; also to what was declined, while it may be answered. False when it no longer may."""
    until = now + (_answer_time(row) if row.once else timedelta(days=settings.CONSENT_DAYS))
    asked = _answerable(type(row), now).filter(pk=row.pk)
    if not asked.update(given_at=now, declined_at=None, expires_at=until):
        return False
    _event(row, Act.GIVEN, until=until.isoformat())
    if not row.once:
        standing.changed()
    return True


@transaction.atomic
def decline(row: Question, *, now: datetime) -> bool:
    """Say no. False when it no longer may be answered, or was declined before."""
    if not _answerable(type(row), now).filter(pk=row.pk, declined_at=None).update(declined_at=now):
        return False
    _event(row, Act.DECLINED)
    return True


def withdraw(row: Question, *, by: UUID, now: datetime) -> bool:
    """Take it back: no call that starts afterwards has it. False when there was nothing to take back."""
    return _end(_rows(type(row)).filter(pk=row.pk), "person", by=by, now=now) > 0


def answered(question_id: UUID, *, user_id: UUID, now: datetime) -> bool:
    """Whether waiting for this person's answer has become pointless: they gave it, or cannot any more."""
    return not any(
        _answerable(kind, now).filter(pk=question_id, user_id=user_id, declined_at=None).exists() for kind in _WORDS
    )


def once(tenant_id: UUID, client: str, connection_id: UUID, sent: Mapping[str, Any]) -> str:
    """Digest of one ask, as what allows something for it is found by."""
    bound = {"sent": dict(sent), "client": client, "connection": str(connection_id)}
    return fingerprint(tenant_key(settings.SECRET_KEY, tenant_id), bound)


def given(
    kind: type[K],
    *,
    tenant_id: UUID,
    user_id: UUID,
    client: str,
    connection_id: UUID,
    sent: Mapping[str, Any],
    now: datetime,
) -> QuerySet[K]:
    """What was allowed for exactly this ask and is not used yet."""
    return (
        _rows(kind)
        .filter(
            _unused(now),
            tenant_id=tenant_id,
            user_id=user_id,
            client=client,
            connection_id=connection_id,
            once=once(tenant_id, client, connection_id, sent),
        )
        .select_related("connection__installation")
    )


def use(row: Question, act: Act = Act.USED, *, now: datetime, run_id: str, args_hmac: str = "") -> bool:
    """Use it up. True for one caller of all who try at once; `act` is what the log says came of it."""
    with transaction.atomic():
        if not _rows(type(row)).filter(_unused(now), pk=row.pk).update(used_at=now):
            return False
        _event(row, act, run_id=run_id, args_hmac=args_hmac)
    return True


def disconnected(*, connection: Connection, by: UUID | None, now: datetime) -> None:
    """The connection ends: nothing that was asked or allowed on it outlives that. Call it in the same transaction."""
    for kind in _WORDS:
        _end(_rows(kind).filter(connection=connection), "disconnected", by=by, now=now)


def scopes_widened(*, connection: Connection, now: datetime) -> None:
    """The connection may do more than before: what people allowed was less. Call it in the same transaction."""
    for kind in _WORDS:
        _end(_rows(kind).filter(connection=connection), "scopes", by=None, now=now)


def tools_changed(*, installation_id: UUID, by: UUID | None, now: datetime) -> None:
    """Other tools serve than before: what people let them change was for the old ones. Call it in the transaction."""
    for kind in _WORDS:
        asked = _rows(kind).filter(connection__installation_id=installation_id).exclude(effect=Effect.READ)
        _end(asked, "tools", by=by, now=now)


def member_removed(*, tenant_id: UUID, user_id: UUID, by: UUID | None, now: datetime) -> None:
    """A person leaves the tenant: coming back, they are asked again. Call it in the same transaction."""
    for kind in _WORDS:
        _end(_rows(kind).filter(tenant_id=tenant_id, user_id=user_id), "member", by=by, now=now)


def forget(*, before: datetime) -> int:
    """Delete what was over before then; the log has it. Returns how many."""
    over = Q(answer_until__lt=before) & (Q(given_at=None) | Q(expires_at__lt=before) | Q(used_at__lt=before))
    return sum(_rows(kind).filter(over | Q(withdrawn_at__lt=before)).delete()[0] for kind in _WORDS)


def _event(row: Question, what: Act | EventKind, *, run_id: str = "", args_hmac: str = "", **detail: str) -> None:
    word = _WORDS[type(row)]
    audit.append(
        [
            Event(
                EventKind(f"{word}.{what}") if isinstance(what, Act) else what,
                tenant_id=row.tenant_id,
                user_id=row.user_id,
                client=row.client,
                run_id=run_id,
                provider=row.connection.installation.slug,
                connection_id=row.connection_id,
                tool=row.tool,
                args_hmac=args_hmac,
                detail={word: str(row.pk), "effect": row.effect, "once": bool(row.once), **detail},
            )
        ]
    )


def _rows(kind: type[K]) -> QuerySet[K]:
    return kind._default_manager.all()  # noqa: SLF001 - Django's documented name for it


def _answer_time(row: Question) -> timedelta:
    """For answering, and then again for using what is for one ask."""
    return timedelta(seconds=settings.APPROVAL_ANSWER_S if isinstance(row, Approval) else settings.CONSENT_ANSWER_S)


def _answerable(kind: type[K], now: datetime) -> QuerySet[K]:
    return _rows(kind).filter(given_at=None, withdrawn_at=None, answer_until__gt=now)


def _unused(now: datetime) -> Q:
    """Given, and still to be had."""
    return Q(given_at__isnull=False, used_at=None, withdrawn_at=None, expires_at__gt=now)


def _end(rows: QuerySet[K], why: str, *, by: UUID | None, now: datetime) -> int:
    """Open questions too: what they asked for is no longer what would be given."""
    ended = 0
    with transaction.atomic():
        alive = rows.filter(withdrawn_at=None, used_at=None).filter(Q(expires_at=None) | Q(expires_at__gt=now))
        for row in alive.select_related("connection__installation"):
            if _rows(rows.model).filter(pk=row.pk, withdrawn_at=None, used_at=None).update(withdrawn_at=now):
                ended += 1
                if row.given_at is not None:
                    _event(row, Act.WITHDRAWN, why=why, by=str(by or ""))
        if ended:
            standing.changed()
    return ended
