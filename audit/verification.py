"""Checking sealed logs against the database and what is kept outside it, a little at a time, in the background."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q

from audit import selectors, services
from audit.chain import Broken, Checkpoint, Walk, entry
from audit.events import EventKind
from audit.models import AuditEvent, Verification
from audit.outside import Kept, of
from audit.sealing import keys

log = logging.getLogger(__name__)

_AGAIN = timedelta(days=1)
"""Every log is checked from its beginning once so often."""
_TURN_S = 2.0
"""How long one turn works, in seconds: the web process may be doing it."""
_LEASE = timedelta(seconds=60)
"""Then the process that had the turn is taken for dead."""


def ask(*, tenant_id: UUID, user_id: UUID, now: datetime) -> None:
    """Have a tenant's log checked from its beginning, soon."""
    with transaction.atomic():
        waits = Verification.objects.filter(tenant_id=tenant_id, asked_at=None)
        if waits.update(asked_at=now, asked_by=user_id):
            services.record(EventKind.VERIFY_INTENT, tenant_id=tenant_id, user_id=user_id)


def work(*, now: datetime) -> None:
    """One turn: go on with the log whose turn it is, if there is one."""
    due = Q(asked_at__isnull=False) | Q(began_at__isnull=False) | Q(ended_at=None) | Q(ended_at__lt=now - _AGAIN)
    free = Q(busy_until=None) | Q(busy_until__lt=now)
    row = Verification.objects.filter(due, free).order_by(F("asked_at").asc(nulls_last=True), "began_at").first()
    if row is None or not Verification.objects.filter(free, pk=row.pk).update(busy_until=now + _LEASE):
        return
    row.refresh_from_db()
    if row.began_at is None:
        row.began_at, row.reached = now, 0
    try:
        whole = _go_on(row)
    except Broken as broken:
        _end(row, str(broken), now=now)
    else:
        if whole:
            _end(row, "", now=now)
        else:
            Verification.objects.filter(pk=row.pk).update(began_at=row.began_at, reached=row.reached, busy_until=None)


def _go_on(row: Verification) -> bool:
    """Check what a turn has time for, and say whether the end was reached. Raises: Broken."""
    until = time.monotonic() + _TURN_S
    for last in Steps(row.tenant_id, keys(), kept_outside(row.tenant_id), after=row.reached):
        row.reached = last.number
        if time.monotonic() > until:
            return False
    return True


def _end(row: Verification, problem: str, *, now: datetime) -> None:
    if problem and problem != row.problem:
        log.error("the audit log of tenant %s is not what was sealed: %s", row.tenant_id, problem)
    with transaction.atomic():
        mine = Verification.objects.filter(pk=row.pk)
        mine.update(began_at=None, busy_until=None, ended_at=now, ended_to=row.reached, problem=problem, reached=0)
        # Who asked while this round was under way wants another one.
        asked = mine.filter(asked_at__lte=row.began_at).update(asked_at=None, asked_by=None)
        if asked or problem != row.problem:
            services.record(
                EventKind.VERIFY_FAILED if problem else EventKind.VERIFY_DONE,
                tenant_id=row.tenant_id,
                user_id=row.asked_by if asked else None,
                checkpoints=row.reached,
                problem=problem[:300],
            )


def kept_outside(tenant_id: UUID) -> Kept | None:
    """What is kept outside the database of a tenant; None: nothing is to be."""
    return of(Path(settings.AUDIT_CHECKPOINT_DIR), str(tenant_id)) if settings.AUDIT_CHECKPOINT_DIR else None


class Steps:
    """Each checkpoint of a tenant after that number, once it and the events under it are found to hold.

    The checkpoints are those in the database, and those outside, which must be the same as far as both go. Iterating
    raises: Broken.
    """

    def __init__(self, tenant_id: UUID, trusted: frozenset[str], kept: Kept | None, *, after: int = 0) -> None:
        self._tenant_id, self._trusted, self._kept, self._after = tenant_id, trusted, kept, after
        self.unsealed = 0
        """When all is passed: the events after the last checkpoint."""

    def __iter__(self) -> Iterator[Checkpoint]:
        after, tenant_id = self._after, self._tenant_id
        begin = next(selectors.checkpoints(tenant_id, after=after - 1, to=after), None) if after else None
        late = selectors.late(tenant_id)
        # Up to the one that is the last now: what is sealed later may lie beyond the events that are read here.
        ours = selectors.checkpoints(tenant_id, after=after, to=selectors.newest_checkpoint(tenant_id))
        theirs = self._kept.read(after) if self._kept else iter(())
        events = map(entry, selectors.export(tenant_id, after=begin.to_seq if begin else -1))
        walk = Walk(str(tenant_id), events, self._trusted, late=late, last=begin)
        if begin:
            passed = [seq for seq in late if seq <= begin.to_seq]
            rows = AuditEvent.objects.filter(tenant_id=tenant_id, seq__in=passed)
            walk.put_aside(map(entry, selectors.stated(rows)))
        for checkpoint in _both(ours, theirs):
            walk.through(checkpoint)
            yield checkpoint
        self.unsealed = walk.rest()


def _both(ours: Iterator[Checkpoint], theirs: Iterator[Checkpoint]) -> Iterator[Checkpoint]:
    """Those outside, then those that are in the database alone."""
    for kept in theirs:
        row = next(ours, None)
        if row is None:
            raise Broken(
                f"The checkpoints in the database end at number {kept.number - 1}, those kept outside go on: rows were "
                "removed, or the database is an older copy of itself."
            )
        if row != kept:
            raise Broken(f"Checkpoint {kept.number} in the database is not the one that was kept outside.")
        yield kept
    yield from ours
