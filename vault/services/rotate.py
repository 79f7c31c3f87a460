"""Rotating a tenant's data key: a new one seals from now on, everything sealed is sealed anew, the old one is retired.

Each step may be cut off and begun again; what is left to do is read from the rows. Calls go on meanwhile: an old key
opens until nothing names it, and whoever stores new tokens at the same time simply wins.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeAlias
from uuid import UUID

from django.db import connection as database
from django.db import transaction
from django.db.models import Count, Q, QuerySet
from django.db.models.functions import Now

from audit import services as audit
from audit.events import Event, EventKind
from vault import sealing
from vault.crypto import Context, DataKey, KeysUnavailable, Unreadable, key_id
from vault.models import Approval, ClientSecret, ConnectAttempt, Revocation, SealedTokenSet, TenantKey
from vault.services import approve, clients
from vault.services.connect import Stop
from vault.services.sealed import fields_of, token_context

log = logging.getLogger(__name__)

BATCH = 200
"""Rows a transaction: short enough that nobody notices the wait for their locks."""
SETTLE = timedelta(seconds=5)
"""Who read a row just before it was sealed anew opens it with the old key, which must still be there."""
_AGAIN = timedelta(minutes=10)
"""How soon the sweep tries once more what did not open."""
State = TenantKey.State
_Row: TypeAlias = SealedTokenSet | Revocation | ClientSecret | Approval
_SEALED: Mapping[str, type[_Row]] = {
    "token sets": SealedTokenSet,
    "pending revocations": Revocation,
    "client secrets": ClientSecret,
    "approvals": Approval,
}
_BLOBS: Mapping[type[_Row], tuple[str, ...]] = {
    SealedTokenSet: ("access", "refresh"),
    Revocation: ("access", "refresh"),
    ClientSecret: ("sealed",),
    Approval: ("sealed",),
}
LOG_INS = "log-ins in progress"
_LANDING = timedelta(minutes=1)
"""An exchange begun in a log-in's last second has ended by then."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What came of some rows."""

    resealed: int
    unreadable: tuple[str, ...]
    """Rows that do not open, in words. They keep their key."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What came of going on with a rotation for a while."""

    resealed: int
    unreadable: tuple[str, ...]
    settling: bool
    """Nothing is left to seal anew, and the old keys wait a moment for who is in the middle of something."""
    retirement: Retirement | None
    """None: it has not come to that yet."""

    @property
    def over(self) -> bool:
        """Nothing more can be done now, also where something that does not open keeps an old key from going."""
        return self.retirement is not None and (not self.retirement.needed_by or bool(self.unreadable))


@dataclass(frozen=True, slots=True)
class Retirement:
    """What became of the old keys."""

    retired: int
    needed_by: Mapping[str, int]
    """What still names one, by kind. `LOG_INS` end by themselves within ten minutes."""


def unfinished(tenant_id: UUID) -> bool:
    """Whether a rotation is under way: there is an old key."""
    return TenantKey.objects.filter(tenant_id=tenant_id, state=State.OLD).exists()


def begin(*, tenant_id: UUID, by: UUID | None = None) -> bool:
    """Make a new active data key. False: there is none to replace, or a rotation is under way and is to be finished.

    The rest is done by whoever calls `turn`, and by the sweep.

    Raises: vault.crypto.KeysUnavailable; then nothing has changed.
    """
    active = TenantKey.objects.filter(tenant_id=tenant_id, state=State.ACTIVE).first()
    if active is None or unfinished(tenant_id):
        return False
    fresh = sealing.wrapped_key(tenant_id)
    with transaction.atomic():
        if not TenantKey.objects.filter(pk=active.pk, state=State.ACTIVE).update(state=State.OLD):
            return False
        fresh.save(force_insert=True)
        # The intent has the key's id, so that whoever finishes the rotation knows which intent it finishes.
        detail = {"key": str(fresh.pk), "old": str(active.pk)}
        audit.append([Event(EventKind.ROTATE_INTENT, tenant_id=tenant_id, user_id=by, id=fresh.pk, detail=detail)])
    return True


def sweep(*, now: datetime, most: int = 20, for_s: float = 10.0) -> None:
    """Go on with the rotations that are under way, whoever began them, one after another."""
    due = Q(settled_at=None) | Q(unreadable=0) | Q(settled_at__lt=Now() - _AGAIN)
    found = TenantKey.objects.filter(due, state=State.OLD).order_by("created_at")
    until = time.monotonic() + for_s
    for tenant_id in dict.fromkeys(found.values_list("tenant_id", flat=True)[:most]):
        if (rest := until - time.monotonic()) <= 0:
            return
        try:
            turn(tenant_id=tenant_id, now=now, for_s=rest)
        except KeysUnavailable as unavailable:
            log.warning("the rotation of %s waits: %s", tenant_id, unavailable)


def turn(*, tenant_id: UUID, now: datetime, for_s: float) -> Turn:
    """Go on with a rotation for a while: seal anew what is left, and once that has settled, retire the old keys.

    May be cut off, and be called in several processes at once. Raises: vault.crypto.KeysUnavailable.
    """
    old, resealed, unreadable = TenantKey.objects.filter(tenant_id=tenant_id, state=State.OLD), 0, list[str]()
    until = time.monotonic() + for_s
    for batch in reseal(tenant_id=tenant_id):
        resealed += batch.resealed
        unreadable += batch.unreadable
        if time.monotonic() > until:
            old.update(settled_at=None)
            return Turn(resealed, tuple(unreadable), settling=False, retirement=None)
    if not resealed and old.filter(settled_at__lte=Now() - SETTLE).exists():
        found = retire(tenant_id=tenant_id, now=now)
        old.update(unreadable=len(unreadable), **({"settled_at": Now()} if unreadable else {}))
        return Turn(resealed, tuple(unreadable), settling=False, retirement=found)
    (old if resealed else old.filter(settled_at=None)).update(settled_at=Now(), unreadable=len(unreadable))
    return Turn(resealed, tuple(unreadable), settling=True, retirement=None)


def sealed_by(tenant_id: UUID) -> Mapping[UUID, Mapping[str, int]]:
    """What each of a tenant's keys has sealed, by kind; those that have sealed nothing are left out."""
    mine, found = TenantKey.objects.filter(tenant_id=tenant_id), defaultdict[UUID, dict[str, int]](dict)
    for what, table in _SEALED.items():
        rows: QuerySet[Any] = table.objects.filter(key_id__in=mine.values("pk"))
        for key, count in rows.values_list("key_id").annotate(Count("pk")):
            found[key][what] = count
    return found


def left(tenant_id: UUID) -> int:
    """How many rows are still under an old key."""
    return sum(table.objects.filter(key_id__in=_old(tenant_id)).count() for table in _SEALED.values())


def reseal(*, tenant_id: UUID) -> Iterator[Batch]:
    """Seal everything that an old key sealed with the active one, a batch at a time.

    Raises: vault.crypto.KeysUnavailable; what was done stays done.
    """
    for table in _SEALED.values():
        rows: QuerySet[Any] = table.objects.filter(key_id__in=_old(tenant_id)).order_by("pk")
        rows = rows.select_related("installation" if table is ClientSecret else "connection")
        page = list(rows[:BATCH])
        while page:
            yield _reseal(page, sealing.active_key(tenant_id))
            page = list(rows.filter(pk__gt=page[-1].pk)[:BATCH])


def _reseal(page: list[_Row], key: DataKey) -> Batch:
    """Open and seal first, so that the locks are held for the writing alone."""
    sealed, unreadable, opened = [], [], dict[UUID, DataKey]()
    for row in page:
        try:
            sealed.append((row, _columns(row, key, opened)))
        except Unreadable:
            unreadable.append(str(row))
    return Batch(_write(type(page[0]), sealed) if sealed else 0, tuple(unreadable))


def _columns(row: _Row, key: DataKey, opened: dict[UUID, DataKey]) -> dict[str, Any]:
    """What the row holds under another key, bound to exactly what it was bound to. Raises: Unreadable.

    `opened` are the old keys met so far: to look one up for each row would cost more than everything else.
    """
    columns: dict[str, Any] = {"key_id": key.id, **dict.fromkeys(_BLOBS[type(row)])}
    for field, (tenant_id, context) in _places(row).items():
        blob = bytes(getattr(row, field))
        if key_id(blob) not in opened:
            opened[key_id(blob)] = sealing.data_key(tenant_id, blob)
        plain = sealing.bound_open(opened[key_id(blob)], tenant_id, blob, context)
        columns[field] = sealing.bound_seal(key, tenant_id, plain, context)
    return columns


def _places(row: _Row) -> dict[str, tuple[UUID, Context]]:
    """Each sealed column with the tenant and the context it is bound to."""
    if isinstance(row, ClientSecret):
        context = clients.secret_context(row.installation)
        return {"sealed": (row.installation.tenant_id, context)}
    if isinstance(row, Approval):
        return {"sealed": (row.tenant_id, approve.context(row))}
    connection, renewable = row.connection, row.refresh is not None
    grant = row.grant if isinstance(row, Revocation) else connection.grant
    return {
        field: (
            connection.tenant_id,
            token_context(connection, field, row.version, grant=grant, renewable=renewable),
        )
        for field in fields_of(row)
    }


def _write(table: type[_Row], sealed: Sequence[tuple[_Row, dict[str, Any]]]) -> int:
    """Write each row, unless somebody has written to it since: no two ciphertexts are alike. Gives how many were.

    One statement of plain SQL: through the ORM the locks would be held twenty times as long.
    """
    meta: Any = table._meta  # noqa: SLF001 - Django's documented Model._meta API
    fields = [meta.get_field(name) for name in ("key", *_BLOBS[table])]
    where = [meta.pk, fields[1]]
    sets, conditions = (
        glue.join(f"{field.column} = %s" for field in some) for glue, some in ((", ", fields), (" AND ", where))
    )
    statement = f"UPDATE {meta.db_table} SET {sets} WHERE {conditions}"  # noqa: S608 - names of our own models
    values = [
        [field.get_db_prep_save(found[field.attname], database) for field in fields]
        + [field.get_db_prep_save(getattr(row, field.attname), database) for field in where]
        for row, found in sealed
    ]
    with transaction.atomic(), database.cursor() as cursor:
        cursor.executemany(statement, values)
        return int(cursor.rowcount)


def retire(*, tenant_id: UUID, now: datetime) -> Retirement:
    """Delete the old keys that nothing names any more; with the last one the rotation is done.

    Only after whoever has read a row before it was sealed anew has opened it.
    """
    retired, needed_by = 0, Counter[str]()
    with transaction.atomic():
        for key in TenantKey.objects.select_for_update().filter(tenant_id=tenant_id, state=State.OLD):
            needed = _named_by(key) + Counter({LOG_INS: _log_ins(key, now)})
            if not needed:
                key.delete()
                retired += 1
            needed_by += needed
        if retired and not needed_by:
            active = TenantKey.objects.get(tenant_id=tenant_id, state=State.ACTIVE)
            detail = {what.replace(" ", "_"): count for what, count in _named_by(active).items()}
            audit.append([Event(EventKind.ROTATE_DONE, tenant_id=tenant_id, intent_id=active.pk, detail=detail)])
    return Retirement(retired, dict(needed_by))


def _named_by(key: TenantKey) -> Counter[str]:
    """What a key has sealed, by kind."""
    return +Counter({what: table.objects.filter(key=key).count() for what, table in _SEALED.items()})


def _log_ins(key: TenantKey, now: datetime) -> int:
    """Log-ins in progress whose verifier this key sealed: they live ten minutes, and have no foreign key to it."""
    going_on = ConnectAttempt.objects.filter(
        link__tenant_id=key.tenant_id, expires_at__gt=now - _LANDING, connection=None
    ).exclude(outcome__in=list(Stop))
    return sum(key_id(bytes(verifier)) == key.pk for verifier in going_on.values_list("verifier", flat=True))


def _old(tenant_id: UUID) -> list[UUID]:
    return list(TenantKey.objects.filter(tenant_id=tenant_id, state=State.OLD).values_list("pk", flat=True))
