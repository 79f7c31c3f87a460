"""Reads of the log, always of one tenant."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import Count, IntegerField, Max, Min, OuterRef, Q, QuerySet, Subquery, TextField, Value
from django.db.models.fields.json import KT
from django.db.models.functions import Cast, Coalesce

from audit import chain
from audit.chain import FIELDS, Stated
from audit.events import EventKind, Outcomes
from audit.models import AuditEvent, Checkpoint, Verification
from audit.timeline import Wanted

_OF_CALLS = (EventKind.TOOL_INTENT, EventKind.TOOL_DONE, EventKind.TOOL_FAILED)
"""By far the most. All others have an index of their own, which costs calls nothing: they are found further back."""
_STEP = 5_000
"""Events fetched at once: memory stays flat, and no query lasts for long."""


def of_run(tenant_id: UUID, run_id: str) -> list[AuditEvent]:
    """The events of one run, oldest first."""
    return list(AuditEvent.objects.filter(tenant_id=tenant_id, run_id=run_id).order_by("seq"))


def with_intent(event: AuditEvent) -> list[AuditEvent]:
    """An event outside a run, with its intent or its outcome where it has one; oldest first.

    They are looked for among the nearest thousands: neither has an index.
    """
    near = AuditEvent.objects.filter(tenant_id=event.tenant_id).exclude(kind__in=_OF_CALLS)
    if event.intent_id is not None:
        before = near.filter(seq__lt=event.seq).order_by("-seq").values_list("seq", "id")[:_STEP]
        others = [seq for seq, ident in before if ident == event.intent_id]
    elif event.kind.endswith(".intent"):
        after = near.filter(seq__gt=event.seq).order_by("seq").values_list("seq", "intent_id")[:_STEP]
        others = [seq for seq, ident in after if ident == event.id]
    else:
        others = []
    return list(near.filter(seq__in=[event.seq, *others]).order_by("seq"))


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
    if wanted.kinds is not None and not set(wanted.kinds) & set(_OF_CALLS):
        newest = newest.exclude(kind__in=_OF_CALLS)
    floor = _floor(newest, _LOOKED) if wanted and wanted.run is None else None
    rows = newest.filter(seq__gt=floor[0]) if floor else newest
    # The numbers first, which an index may know alone.
    seqs = list(_matching(rows, wanted).values_list("seq", flat=True)[: most + 1])
    found = list(AuditEvent.objects.filter(seq__in=seqs[:most]).order_by("-seq"))
    if len(seqs) > most:
        return Stretch(found, found[-1].seq, None)
    if floor is None or (wanted.since is not None and floor[1] < wanted.since):
        return Stretch(found, None, None)
    return Stretch(found, floor[0] + 1, floor[1])


def _floor(newest: QuerySet[AuditEvent], most: int) -> tuple[int, datetime] | None:
    """Number and time of the event below the newest so many, which are looked through; None: there are no more.

    A query of its own: of a number PostgreSQL knows how few rows are above it, of a subquery it does not.
    """
    # The number alone, which the index knows of all rows but the latest.
    seq = newest.values_list("seq", flat=True)[most : most + 1].first()
    return None if seq is None else AuditEvent.objects.values_list("seq", "at").get(seq=seq)


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


def stated(rows: QuerySet[AuditEvent]) -> Iterator[Stated]:
    """Events as they are exported and sealed, in JSON's own types."""
    return map(_stated, rows.values_list(*FIELDS))


def export(tenant_id: UUID, *, after: int = -1) -> Iterator[Stated]:
    """Every event of a tenant as a JSON-ready object, oldest first, streamed; or those above a number."""
    while True:
        seq = after
        for event in stated(_oldest(tenant_id, Wanted(), after)):
            yield event
            seq = event["seq"]
        if seq == after:
            return
        after = seq


async def exported(tenant_id: UUID, wanted: Wanted) -> AsyncIterator[Stated]:
    """The same of what is wanted, for an answer that Django sends while it is read."""
    after = -1
    while True:
        # Whole rows: for `values_list` Django's own iterator asks the database in the event loop.
        found = [row async for row in _oldest(tenant_id, wanted, after).aiterator(chunk_size=_STEP)]
        for row in found:
            yield _stated(_columns(row))
        if len(found) < _STEP:
            return
        after = found[-1].seq


_columns = attrgetter(*FIELDS)


def _oldest(tenant_id: UUID, wanted: Wanted, after: int) -> QuerySet[AuditEvent]:
    rows = AuditEvent.objects.filter(tenant_id=tenant_id, seq__gt=after)
    return _matching(rows, wanted).order_by("seq")[:_STEP]


def _stated(row: tuple[Any, ...]) -> Stated:
    """From the columns in the order of `FIELDS`."""
    seq, ident, at, tenant, kind, user, client, run, provider, account, tool, args, intent, detail = row
    return {
        "seq": seq,
        "id": str(ident),
        "at": at.isoformat(),
        "tenant_id": str(tenant),
        "kind": kind,
        "user_id": str(user) if user else None,
        "client": client,
        "run_id": run,
        "provider": provider,
        "connection_id": str(account) if account else None,
        "tool": tool,
        "args_hmac": args,
        "intent_id": str(intent) if intent else None,
        "detail": detail,
    }


def tool_outcomes(tenant_id: UUID, *, now: datetime, newest: int = 20_000) -> list[Outcomes]:
    """What became of a tenant's tool calls within a day, by provider and code.

    No more than its `newest` events are counted: for a tenant with more in a day this is about the last of them.
    There is no index for this, which each call would pay for.
    """
    mine = AuditEvent.objects.filter(tenant_id=tenant_id)
    floor = _floor(mine.order_by("-seq"), newest)
    ended = mine.filter(
        seq__gt=floor[0] if floor else 0,
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


# --- What is sealed


@dataclass(frozen=True, slots=True)
class Sealed:
    """How far a tenant's log is sealed, and what is known of its being whole."""

    last: chain.Checkpoint
    at: datetime
    """When the last checkpoint was made."""
    waiting: int
    """Events that are not sealed yet; counted up to 10,000."""
    verification: Verification
    share: int
    """How far the present round of checking has come, in hundredths of the events."""


_COUNTED = 10_000


def sealed(tenant_id: UUID) -> Sealed | None:
    """None: nothing is sealed yet."""
    row = Checkpoint.objects.filter(tenant_id=tenant_id).order_by("-number").first()
    if row is None:
        return None
    waiting = AuditEvent.objects.filter(tenant_id=tenant_id, seq__gt=row.to_seq)[:_COUNTED].count()
    state = Verification.objects.filter(tenant_id=tenant_id).first() or Verification(tenant_id=tenant_id)
    reached = Checkpoint.objects.filter(tenant_id=tenant_id, number=state.reached).first()
    share = 100 * reached.total // row.total if reached and row.total else 0
    return Sealed(checkpoint(row), row.at, waiting, state, share)


def sealed_to(tenant_id: UUID) -> int:
    """The number of the last event that is sealed; 0: none is."""
    rows = Checkpoint.objects.filter(tenant_id=tenant_id).order_by("-number")
    return rows.values_list("to_seq", flat=True).first() or 0


def logs() -> list[UUID]:
    """The tenants that have events or checkpoints."""
    found = {tenant for model in (AuditEvent, Checkpoint) for tenant in _tenants(model)}
    return sorted(found)


def _tenants(model: type[AuditEvent | Checkpoint]) -> Iterator[UUID]:
    """Each once, by stepping through an index: there are few tenants and very many rows."""
    rows = model.objects.order_by("tenant_id").values_list("tenant_id", flat=True)
    found = rows.first()
    while found is not None:
        yield found
        found = rows.filter(tenant_id__gt=found).first()


def newest_checkpoint(tenant_id: UUID) -> int:
    """The number of a tenant's last one; 0: there is none."""
    return Checkpoint.objects.filter(tenant_id=tenant_id).aggregate(last=Max("number"))["last"] or 0


def checkpoints(tenant_id: UUID, *, after: int = 0, to: int) -> Iterator[chain.Checkpoint]:
    """A tenant's, in order, streamed: those above one number, up to another."""
    while after < to:
        rows = Checkpoint.objects.filter(tenant_id=tenant_id, number__gt=after, number__lte=to).order_by("number")
        found = list(map(checkpoint, rows[:_STEP]))
        yield from found
        if not found:
            return
        after = found[-1].number


async def all_checkpoints(tenant_id: UUID) -> AsyncIterator[chain.Checkpoint]:
    """All of a tenant's, for an answer that Django sends while it is read."""
    async for row in Checkpoint.objects.filter(tenant_id=tenant_id).order_by("number").aiterator(chunk_size=_STEP):
        yield checkpoint(row)


def checkpoint(row: Checkpoint) -> chain.Checkpoint:
    """As it was signed."""
    return chain.Checkpoint(
        str(row.tenant_id),
        number=row.number,
        from_seq=row.from_seq,
        to_seq=row.to_seq,
        count=row.count,
        total=row.total,
        digest=row.digest,
        previous=row.previous,
        late=_numbers(row.late),
        at=row.at.isoformat(),
        key=row.key,
        signature=row.signature,
    )


def _numbers(late: str) -> tuple[int, ...]:
    return tuple(map(int, late.split()))


def late(tenant_id: UUID) -> frozenset[int]:
    """The numbers of events that some checkpoint calls late."""
    rows = Checkpoint.objects.filter(tenant_id=tenant_id).exclude(late="").values_list("late", flat=True)
    return frozenset(seq for each in rows for seq in _numbers(each))


def writable() -> bool:
    """Whether the log takes events now; nothing is written to find out. Raises: DatabaseError."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(
                "SELECT has_table_privilege('audit_auditevent', 'INSERT') "
                "AND current_setting('transaction_read_only') = 'off'"
            )
        else:
            cursor.execute("SELECT NOT query_only FROM pragma_query_only")
        return bool(cursor.fetchone()[0])


def last_calls(
    tenant_id: UUID, user_id: UUID, connections: Collection[UUID], *, newest: int = 20_000
) -> tuple[dict[UUID, datetime], datetime | None]:
    """When a person last called through each of these connections, as far as the tenant's newest events say; and how
    far back these go, where there are more.
    """
    mine = AuditEvent.objects.filter(tenant_id=tenant_id)
    floor = _floor(mine.order_by("-seq"), newest)
    calls = mine.filter(
        seq__gt=floor[0] if floor else 0, user_id=user_id, connection_id__in=connections, kind=EventKind.TOOL_INTENT
    )
    used = calls.order_by().values_list("connection_id").annotate(Max("at"))
    return {connection_id: at for connection_id, at in used if connection_id}, floor[1] if floor else None


_UNTOLD = (
    EventKind.LOG_READ,
    EventKind.CONNECT_STARTED,
    EventKind.EXCHANGE_INTENT,
    EventKind.REVOKE_INTENT,
    EventKind.REFRESH_INTENT,
    EventKind.REFRESH_DONE,
    EventKind.REFRESH_FAILED,
    EventKind.GRANT_EXCHANGED,
    EventKind.GRANT_REFRESHED,
    EventKind.CONSENT_ASKED,
    EventKind.APPROVAL_ASKED,
)
"""What people need not be told of what is done in their name: how it is done, and that they looked."""


def of_person(
    tenant_id: UUID,
    user_id: UUID,
    *,
    provider: str = "",
    client: str = "",
    changes: bool = False,
    before: int | None = None,
    most: int = 200,
) -> Stretch:
    """What was done in one person's name, the newest first, as `stretch` gives it; perhaps only what changes things."""
    newest = AuditEvent.objects.filter(tenant_id=tenant_id).order_by("-seq")
    newest = newest.filter(seq__lt=before) if before is not None else newest
    floor = _floor(newest, _LOOKED)
    rows = newest.filter(user_id=user_id, seq__gt=floor[0] if floor else 0).exclude(kind__in=_UNTOLD)
    rows = rows.filter(provider=provider) if provider else rows
    rows = rows.filter(client=client) if client else rows
    if changes:
        rows = rows.filter(kind=EventKind.TOOL_INTENT).exclude(detail__effect="read")
    found = list(rows[: most + 1])
    if len(found) > most:
        return Stretch(found[:most], found[most - 1].seq, None)
    return Stretch(found, floor[0] + 1, floor[1]) if floor else Stretch(found, None, None)


def of_runs(tenant_id: UUID, runs: Collection[str]) -> dict[str, list[AuditEvent]]:
    """The events of several runs, oldest first."""
    found: dict[str, list[AuditEvent]] = {run: [] for run in runs}
    for event in AuditEvent.objects.filter(tenant_id=tenant_id, run_id__in=runs).order_by("seq"):
        found[event.run_id].append(event)
    return found
