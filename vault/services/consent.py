"""What people let clients do in their name: asked → given or declined → withdrawn, used or over (design §6, §9).

A row is first a question. Its id carries no authority: only the person who is asked may answer, in a live session, for
a connection they may still use. Whoever ends a connection, or lets it do more, ends what was consented to with it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from hmac import compare_digest
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.cache import cache
from django.db import transaction
from django.db.models import Q, QuerySet

from audit import services as audit
from audit.events import Event, EventKind
from audit.fingerprint import fingerprint, tenant_key
from providers.spec import Effect
from tenants import selectors as tenants
from tenants import standing
from tenants.models import User
from vault.models import Connection, Consent, Status

_SHOWN_CHARS = 8_192


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


class Stopped(Exception):
    """This page is not for whoever opens it."""

    def __init__(self, why: Stop) -> None:
        super().__init__(why.value)
        self.why = why


def ask(
    *,
    tenant_id: UUID,
    user_id: UUID,
    connection_id: UUID,
    client: str,
    effect: Effect,
    sent: Mapping[str, Any] | None,
    now: datetime,
) -> Consent:
    """The question to this person, also when they have declined it a moment ago; a new one when there is none.

    `sent` is the one ask it is for. It is not stored, only its keyed digest; the page shows it while the cache has it.
    """
    once = _digest(tenant_id, client, connection_id, sent) if sent is not None else ""
    with transaction.atomic():
        # One question at a time, so that retries side by side find the same one.
        connection = Connection.objects.select_for_update(no_key=True).get(pk=connection_id, tenant_id=tenant_id)
        same = {"user_id": user_id, "connection": connection, "client": client, "effect": effect, "once": once}
        if row := _answerable(now).filter(**same).order_by("-asked_at").first():
            return row
        row = Consent.objects.create(
            **same,
            tenant_id=tenant_id,
            tool=str((sent or {}).get("tool", ""))[:80],
            asked_at=now,
            answer_until=now + _answer_time(),
        )
        _event(row, EventKind.CONSENT_ASKED)
    if sent is not None:
        _show(row, sent)
    return row


def opened(*, consent_id: UUID, user: User) -> Consent:
    """The question, for the person who is asked. Raises: Stopped."""
    row = Consent.objects.select_related("tenant", "user", "connection__installation").filter(pk=consent_id).first()
    if row is None:
        raise Stopped(Stop.UNKNOWN)
    if row.user_id != user.pk:
        _event(row, EventKind.LINK_OPENED_BY_ANOTHER, opened_by=str(user.pk))
        raise Stopped(Stop.WRONG_PERSON)
    if tenants.membership(row.tenant_id, user.pk) is None:
        _event(row, EventKind.LINK_REFUSED, why=Stop.NOT_MEMBER)
        raise Stopped(Stop.NOT_MEMBER)
    return row


def state(consent: Consent, *, now: datetime) -> State:
    """How it stands."""
    connection = consent.connection
    usable = connection.status == Status.READY and connection.installation.enabled
    if consent.used_at is not None:
        return State.USED
    if consent.withdrawn_at is not None or (consent.expires_at is not None and consent.expires_at <= now):
        return State.OVER
    if not usable or connection.owner_id not in {None, consent.user_id}:
        return State.DISCONNECTED
    if consent.given_at is not None:
        return State.GIVEN
    if consent.answer_until <= now:
        return State.EXPIRED
    return State.OPEN if consent.declined_at is None else State.DECLINED


@transaction.atomic
def give(*, consent: Consent, now: datetime) -> bool:
    """Say yes; also to what was declined, while it may be answered. False when it no longer may."""
    lasts = _answer_time() if consent.once else timedelta(days=settings.CONSENT_DAYS)
    if not _answerable(now).filter(pk=consent.pk).update(given_at=now, declined_at=None, expires_at=now + lasts):
        return False
    _event(consent, EventKind.CONSENT_GIVEN, until=(now + lasts).isoformat())
    if not consent.once:
        standing.changed()
    return True


@transaction.atomic
def decline(*, consent: Consent, now: datetime) -> bool:
    """Say no. False when it no longer may be answered, or was declined before."""
    if not _answerable(now).filter(pk=consent.pk, declined_at=None).update(declined_at=now):
        return False
    _event(consent, EventKind.CONSENT_DECLINED)
    return True


def withdraw(*, consent: Consent, by: UUID, now: datetime) -> bool:
    """Take it back: no call that starts afterwards has it. False when there was nothing to take back."""
    return _end(Consent.objects.filter(pk=consent.pk), "person", by=by, now=now) > 0


def take(
    *,
    tenant_id: UUID,
    user_id: UUID,
    client: str,
    connection_id: UUID,
    sent: Mapping[str, Any],
    run_id: str,
    now: datetime,
) -> frozenset[Effect]:
    """The effects allowed for exactly this ask; of all who ask for them at once, one caller gets each."""
    once = _digest(tenant_id, client, connection_id, sent)
    given = Consent.objects.filter(
        tenant_id=tenant_id,
        user_id=user_id,
        client=client,
        connection_id=connection_id,
        once=once,
        given_at__isnull=False,
        used_at=None,
        withdrawn_at=None,
        expires_at__gt=now,
    )
    taken = set()
    for row in given.select_related("connection__installation"):
        with transaction.atomic():
            unused = Consent.objects.filter(pk=row.pk, used_at=None, withdrawn_at=None, expires_at__gt=now)
            if unused.update(used_at=now):
                _event(row, EventKind.CONSENT_USED, run_id=run_id)
                taken.add(Effect(row.effect))
    return frozenset(taken)


def answered(*, consent_id: UUID, user_id: UUID, now: datetime) -> bool:
    """Whether waiting for this person's answer has become pointless: they gave it, or cannot any more."""
    return not _answerable(now).filter(pk=consent_id, user_id=user_id, declined_at=None).exists()


def disconnected(*, connection: Connection, by: UUID | None, now: datetime) -> None:
    """The connection ends: nobody's consent to anything on it outlives that. Call it in the same transaction."""
    _end(Consent.objects.filter(connection=connection), "disconnected", by=by, now=now)


def scopes_widened(*, connection: Connection, now: datetime) -> None:
    """The connection may do more than before: what people consented to was less. Call it in the same transaction."""
    _end(Consent.objects.filter(connection=connection), "scopes", by=None, now=now)


def member_removed(*, tenant_id: UUID, user_id: UUID, by: UUID | None, now: datetime) -> None:
    """A person leaves the tenant: coming back, they are asked again. Call it in the same transaction."""
    _end(Consent.objects.filter(tenant_id=tenant_id, user_id=user_id), "member", by=by, now=now)


def shown(consent: Consent) -> Mapping[str, Any] | None:
    """The one ask it is for, when the cache still has it and it is the very one; None otherwise."""
    sent = cache.get(_shown_key(consent))
    if not isinstance(sent, dict):
        return None
    found = _digest(consent.tenant_id, consent.client, consent.connection_id, sent)
    return sent if compare_digest(found, consent.once) else None


def forget(*, before: datetime) -> int:
    """Delete what was over before then; the log has it. Returns how many."""
    over = Q(answer_until__lt=before) & (Q(given_at=None) | Q(expires_at__lt=before) | Q(used_at__lt=before))
    return Consent.objects.filter(over | Q(withdrawn_at__lt=before)).delete()[0]


def _answerable(now: datetime) -> QuerySet[Consent]:
    return Consent.objects.filter(given_at=None, withdrawn_at=None, answer_until__gt=now)


def _answer_time() -> timedelta:
    return timedelta(seconds=settings.CONSENT_ANSWER_S)


def _end(rows: QuerySet[Consent], why: str, *, by: UUID | None, now: datetime) -> int:
    """Open questions too: what they asked for is no longer what would be given."""
    ended = 0
    with transaction.atomic():
        alive = rows.filter(withdrawn_at=None, used_at=None).filter(Q(expires_at=None) | Q(expires_at__gt=now))
        for row in alive.select_related("connection__installation"):
            if Consent.objects.filter(pk=row.pk, withdrawn_at=None, used_at=None).update(withdrawn_at=now):
                ended += 1
                if row.given_at is not None:
                    _event(row, EventKind.CONSENT_WITHDRAWN, why=why, by=str(by or ""))
        if ended:
            standing.changed()
    return ended


def _digest(tenant_id: UUID, client: str, connection_id: UUID, sent: Mapping[str, Any]) -> str:
    bound = {"consent": dict(sent), "client": client, "connection": str(connection_id)}
    return fingerprint(tenant_key(settings.SECRET_KEY, tenant_id), bound)


def _show(consent: Consent, sent: Mapping[str, Any]) -> None:
    """Keep what was sent for the page, if it is of a length people read. Losing it costs the page its details."""
    if len(json.dumps(sent)) <= _SHOWN_CHARS:
        cache.set(_shown_key(consent), dict(sent), timeout=settings.CONSENT_ANSWER_S)


def _shown_key(consent: Consent) -> str:
    return f"consent:{consent.pk}"


def _event(consent: Consent, kind: EventKind, *, run_id: str = "", **detail: str) -> None:
    audit.append(
        [
            Event(
                kind,
                tenant_id=consent.tenant_id,
                user_id=consent.user_id,
                client=consent.client,
                run_id=run_id,
                provider=consent.connection.installation.slug,
                connection_id=consent.connection_id,
                tool=consent.tool,
                detail={"consent": str(consent.pk), "effect": consent.effect, "once": bool(consent.once), **detail},
            )
        ]
    )
