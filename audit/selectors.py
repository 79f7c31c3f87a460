"""Reads of the log, always of one tenant."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import Count, IntegerField, Max, Min, OuterRef, Q, QuerySet, Subquery, TextField, Value
from django.db.models.fields.json import KT
from django.db.models.functions import Cast, Coalesce

from audit.events import EventKind, Outcomes
from audit.models import AuditEvent
from audit.timeline import Wanted


def of_run(tenant_id: UUID, run_id: str) -> list[AuditEvent]:
    """The events of one run, oldest first."""
    return list(AuditEvent.objects.filter(tenant_id=tenant_id, run_id=run_id).order_by("seq"))


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of the log, newest first."""

    events: list[AuditEvent]
    before: int | None
    """Where the next, older part begins; None: the log begins here."""
    looked_to: datetime | None
    """How far back was looked, when there is more to look at."""


_LOOKED = 50_000
"""Events one page looks through: what a filter leaves may lie far back, and whoever waits goes on from there."""


def stretch(tenant_id: UUID, wanted: Wanted, *, before: int | None = None, most: int = 50) -> Stretch:
    """The newest events that are wanted, older than `before`; at most so many, out of the last 50,000."""
    log = AuditEvent.objects.filter(tenant_id=tenant_id).order_by("-seq")
    if wanted.until is not None:
        ends = _first_since(tenant_id, wanted.until)
        before = ends if before is None or (ends is not None and ends < before) else before
    newest = log.filter(seq__lt=before) if before is not None else log
    floor = newest.values_list("seq", "at")[_LOOKED : _LOOKED + 1].first() if wanted else None
    rows = newest.filter(seq__gt=floor[0]) if floor else newest
    found = list(_matching(rows, wanted)[: most + 1])
    if len(found) > most:
        return Stretch(found[:most], found[most - 1].seq, None)
    if floor is None or (wanted.since is not None and floor[1] < wanted.since):
        return Stretch(found, None, None)
    return Stretch(found, floor[0] + 1, floor[1])


def _matching(rows: QuerySet[AuditEvent], wanted: Wanted) -> QuerySet[AuditEvent]:
    exact = {
        "user_id": wanted.user,
        "client": wanted.client,
        "provider": wanted.provider,
        "connection_id": wanted.account,
        "run_id": wanted.run,
        "kind__in": wanted.kinds,
        "at__gte": wanted.since,
        "at__lt": wanted.until,
    }
    return rows.filter(**{name: value for name, value in exact.items() if value is not None})


_SLACK = timedelta(minutes=5)
"""How far the order of numbers may be from the order of times: an event gets its number when it is committed."""


def _first_since(tenant_id: UUID, moment: datetime) -> int | None:
    """A number below which nothing is younger than `moment`; found by halving, for times have no index."""
    log = AuditEvent.objects.filter(tenant_id=tenant_id)
    ends = log.aggregate(low=Min("seq"), high=Max("seq"))
    low, high = ends["low"] or 0, (ends["high"] or 0) + 1
    while high - low > 2_000:  # noqa: PLR2004 - the rest is looked through
        middle = (low + high) // 2
        at = log.filter(seq__gte=middle).order_by("seq").values_list("at", flat=True).first()
        if at is None or at >= moment + _SLACK:
            high = middle
        else:
            low = middle
    return high


def event(tenant_id: UUID, seq: int) -> AuditEvent | None:
    """One event of a tenant, by its number."""
    return AuditEvent.objects.filter(tenant_id=tenant_id, seq=seq).first()


def export(tenant_id: UUID) -> Iterator[dict[str, Any]]:
    """Every event of a tenant as a JSON-ready object, oldest first, streamed."""
    rows = AuditEvent.objects.filter(tenant_id=tenant_id).order_by("seq")
    return map(_stated, rows.iterator(chunk_size=2_000))


async def exported(tenant_id: UUID, wanted: Wanted) -> AsyncIterator[dict[str, Any]]:
    """The same of what is wanted, for an answer that Django sends while it is read."""
    rows = _matching(AuditEvent.objects.filter(tenant_id=tenant_id), wanted).order_by("seq")
    async for event in rows.aiterator(chunk_size=2_000):
        yield _stated(event)


def _stated(event: AuditEvent) -> dict[str, Any]:
    return {
        "seq": event.seq,
        "id": str(event.id),
        "at": event.at.isoformat(),
        "tenant_id": str(event.tenant_id),
        "kind": event.kind,
        "user_id": str(event.user_id) if event.user_id else None,
        "client": event.client,
        "run_id": event.run_id,
        "provider": event.provider,
        "connection_id": str(event.connection_id) if event.connection_id else None,
        "tool": event.tool,
        "args_hmac": event.args_hmac,
        "intent_id": str(event.intent_id) if event.intent_id else None,
        "detail": event.detail,
    }


def tool_outcomes(tenant_id: UUID, *, now: datetime, newest: int = 50_000) -> list[Outcomes]:
    """What became of a tenant's tool calls within a day, by provider and code.

    No more than its `newest` events are counted: for a tenant with more in a day this is about the last of them. There
    is no index for this, which each call would pay for.
    """
    mine = AuditEvent.objects.filter(tenant_id=tenant_id)
    # A query of its own: of a number PostgreSQL knows how few rows are above it, of a subquery it does not.
    oldest = mine.order_by("-seq").values_list("seq", flat=True)[newest : newest + 1].first()
    ended = mine.filter(
        seq__gt=oldest or 0,
        kind__in=[EventKind.TOOL_DONE, EventKind.TOOL_FAILED],
        at__gt=now - timedelta(days=1),
        detail__cached__isnull=True,
    )
    rows = ended.values("provider", code=Coalesce(KT("detail__code"), Value(""), output_field=TextField())).annotate(
        hour=Count("seq", filter=Q(at__gt=now - timedelta(hours=1))), day=Count("seq"), last=Max("at")
    )
    return [Outcomes(**row) for row in rows]


_STORED = (EventKind.REFRESH_DONE, EventKind.EXCHANGE_DONE, EventKind.TOKEN_IMPORTED)
"""What says that a version of a connection's tokens was stored."""


def token_version(connection: OuterRef | UUID) -> Subquery:
    """The version of a connection's tokens that was last recorded, as an expression; NULL where none was.

    A row restored from an older copy of the database is behind it.
    """
    stored = AuditEvent.objects.filter(connection_id=connection, kind__in=_STORED).order_by("-seq")
    return Subquery(stored.annotate(version=Cast(KT("detail__version"), IntegerField())).values("version")[:1])
