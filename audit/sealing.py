"""Sealing the log behind those who write it: what is settled gets a signed checkpoint, in the database and outside it.

Nothing is chained when an event is written: every tool call writes two, and would wait for a chain. An event gets its
number before its transaction is committed, so that a lower one may turn up after a higher one. Two things answer for
that. What is sealed lies behind every transaction that was open when its last number was read (`_settled`). And numbers
that were missing then are remembered as gaps for a day: an event that turns up in one is sealed as late. Anything else
that turns up below what is sealed does not fit the count, and verification says so.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from functools import lru_cache, reduce
from itertools import pairwise
from operator import or_
from pathlib import Path
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Max, Q

from audit import chain, outside
from audit.chain import Broken, Entry, Signer, entry
from audit.models import AuditEvent, Checkpoint, Gap, Verification
from audit.selectors import checkpoint, stated

log = logging.getLogger(__name__)

_BATCH = 5_000
"""Events sealed in one transaction. In SQLite others wait for it, about a tenth of a second."""
_PASS_S = 20.0
"""Then the rest is left to the next pass."""
_WAIT_S = 1.0
"""How long transactions that were open are waited for; else the next pass seals."""
_LATE = timedelta(days=1)
"""For how long an event may turn up late. No transaction is open for longer."""
_SOON = timedelta(hours=1)
"""How old what is known of a log may be when something is wrong with checkpoints."""
_GAPS, _MOST_LATE = 100, 1_000
"""Gaps looked into by one query, and events found in them that one pass seals."""
_LOCK = 0x617564_6974
"""The advisory lock of who seals: “audit”."""


@lru_cache(maxsize=4)
def _signer(secret: str) -> Signer:
    return Signer(secret)


def signer() -> Signer:
    """This deployment's."""
    return _signer(settings.SECRET_KEY)


def keys() -> frozenset[str]:
    """The public keys that count as this deployment's: of its secrets, those it was told, those kept outside."""
    own = {_signer(secret).public for secret in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)}
    kept = outside.keys(Path(settings.AUDIT_CHECKPOINT_DIR)) if settings.AUDIT_CHECKPOINT_DIR else frozenset()
    return frozenset(own | set(settings.AUDIT_PUBLIC_KEYS) | kept)


def seal(*, now: datetime) -> int:
    """Seal what is settled, and say how many events that were. What several processes do at once one of them does."""
    horizon = _settled()
    if horizon is None:
        return 0
    begin, sealed = time.monotonic(), 0
    while time.monotonic() - begin < _PASS_S:
        count, more = _one_batch(horizon, now)
        sealed += count
        if not more:
            break
    return sealed


def _settled() -> int | None:
    """The highest number below which nothing more is to be expected; None: some transaction is open for long.

    SQLite has one writer at a time, who numbers and commits: there everything is settled. In PostgreSQL whoever wrote a
    lower number than the highest has a transaction that began before; when all of these have ended, all is seen.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT max(seq) FROM audit_auditevent")
        [horizon] = cursor.fetchone()
        if connection.vendor != "postgresql" or horizon is None:
            return int(horizon or 0)
        cursor.execute("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint")
        [begun] = cursor.fetchone()
        until = time.monotonic() + _WAIT_S
        while True:
            cursor.execute("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint >= %s", [begun])
            if cursor.fetchone()[0]:
                return int(horizon)
            if time.monotonic() > until:
                log.info("sealing waits for a transaction that is open for long")
                return None
            time.sleep(0.02)


@transaction.atomic
def _one_batch(horizon: int, now: datetime) -> tuple[int, bool]:
    """How many events were sealed, and whether there are more."""
    if not _alone():
        return 0, False
    position = Checkpoint.objects.aggregate(at=Max("to_seq"))["at"] or 0
    settled = AuditEvent.objects.filter(seq__gt=position, seq__lte=horizon)
    found = list(map(entry, stated(settled.order_by("seq")[:_BATCH])))
    late = list(_turned_up(now))
    _note_gaps(position, [event.seq for event in found], now)
    each: dict[str, tuple[list[Entry], list[Entry]]] = defaultdict(lambda: ([], []))
    for place, events in enumerate((found, late)):
        for event in events:
            each[event.tenant_id][place].append(event)
    rows = [_sealed(tenant_id, *events, now=now) for tenant_id, events in each.items()]
    Checkpoint.objects.bulk_create(rows)
    begun = [Verification(tenant_id=row.tenant_id) for row in rows if row.number == 1]
    Verification.objects.bulk_create(begun, ignore_conflicts=True)
    return len(found) + len(late), len(found) == _BATCH


def _alone() -> bool:
    """Whether nobody else seals, until the transaction ends; in SQLite its transaction is enough."""
    if connection.vendor != "postgresql":
        return True
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [_LOCK])
        return bool(cursor.fetchone()[0])


def _sealed(tenant_id: str, events: Iterable[Entry], late: Iterable[Entry], *, now: datetime) -> Checkpoint:
    row = Checkpoint.objects.filter(tenant_id=tenant_id).order_by("-number").first()
    last = checkpoint(row) if row else None
    made = signer().sign(chain.extend(last, tenant_id, events, late, at=now.isoformat()))
    return Checkpoint(
        tenant_id=UUID(tenant_id),
        number=made.number,
        from_seq=made.from_seq,
        to_seq=made.to_seq,
        count=made.count,
        total=made.total,
        digest=made.digest,
        previous=made.previous,
        late=" ".join(map(str, made.late)),
        at=now,
        key=made.key,
        signature=made.signature,
    )


def _turned_up(now: datetime) -> Iterator[Entry]:
    """Events in gaps, which become smaller by them."""
    Gap.objects.filter(noted_at__lt=now - _LATE).delete()
    gaps = list(Gap.objects.order_by("first"))
    for some in (gaps[at : at + _GAPS] for at in range(0, len(gaps), _GAPS)):
        inside = reduce(or_, (Q(seq__gte=gap.first, seq__lte=gap.last) for gap in some))
        found = list(map(entry, stated(AuditEvent.objects.filter(inside).order_by("seq")[:_MOST_LATE])))
        yield from found
        for gap in some:
            seqs = [event.seq for event in found if gap.first <= event.seq <= gap.last]
            if seqs:
                gap.delete()
                _note_gaps(gap.first - 1, [*seqs, gap.last + 1], gap.noted_at)


def _note_gaps(position: int, seqs: list[int], now: datetime) -> None:
    """Between a number and those that follow it, in order."""
    missing = [(low + 1, high - 1) for low, high in pairwise([position, *seqs]) if high - low > 1]
    Gap.objects.bulk_create([Gap(first=first, last=last, noted_at=now) for first, last in missing])


def publish() -> int:
    """Write what is not yet kept outside the database there, and say how many checkpoints that were.

    Raises: OSError, Broken: what is kept is ahead of the database, or says otherwise.
    """
    written = 0
    with outside.Folder.held(Path(settings.AUDIT_CHECKPOINT_DIR)) as folder:
        folder.know(signer().public)
        newest = Checkpoint.objects.aggregate(pk=Max("pk"))["pk"] or 0
        if newest < folder.position:
            raise Broken("The checkpoints kept outside are ahead of the database: it is an older copy of itself.")
        while rows := list(Checkpoint.objects.filter(pk__gt=folder.position).order_by("pk")[:_BATCH]):
            each: dict[UUID, list[chain.Checkpoint]] = defaultdict(list)
            for row in rows:
                each[row.tenant_id].append(checkpoint(row))
            for tenant_id, checkpoints in each.items():
                folder.add(str(tenant_id), checkpoints)
            folder.reached(rows[-1].pk)
            written += len(rows)
    return written


def work(*, now: datetime) -> None:
    """Seal and keep. What cannot be kept outside is said in one line and tried again; sealing goes on meanwhile."""
    seal(now=now)
    if not settings.AUDIT_CHECKPOINT_DIR:
        return
    try:
        publish()
    except BlockingIOError:
        return
    except OSError as broken:
        log.error("AUDIT_CHECKPOINT_DIR cannot be written: %s", broken.strerror)  # noqa: TRY400 - one line says it
    except Broken as broken:
        log.error("checkpoints are not kept outside: %s", broken)  # noqa: TRY400 - one line says it
        unknown = Q(ended_at=None) | Q(ended_at__lt=now - _SOON)
        Verification.objects.filter(unknown, asked_at=None, began_at=None).update(asked_at=now)
