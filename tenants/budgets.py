"""What people and tenants may use in a day, and have used: reserved before, settled after, shared by all processes.

One counter holds what was used and what is put aside. It grows by a conditional update that joins nothing (PostgreSQL
looks at such a condition again after it has waited for the row), the tenant's row always before the person's: nobody is
granted more than there is, and no two wait for each other. A day begins at 00:00 UTC by the database's clock.
"""

from __future__ import annotations

import operator
from contextlib import suppress
from dataclasses import asdict, astuple, dataclass, fields
from datetime import UTC, date, datetime, timedelta
from typing import Final, Literal, TypeAlias
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.db.models import F, Q, QuerySet

from audit import services as audit
from audit.events import Event, EventKind
from tenants.models import DayUse, Tenant
from tenants.services import Refused

Scope: TypeAlias = Literal["tenant", "user"]

_SHARE: Final = 64
"""Of what is left of a day, one holder takes no more than this part ahead of its need."""


@dataclass(frozen=True, slots=True)
class Use:
    """Turns of a model, calls of tools, tokens, micro-dollars and milliseconds. As a limit, 0 is none."""

    turns: int = 0
    calls: int = 0
    tokens: int = 0
    micros: int = 0
    ms: int = 0

    def __add__(self, other: Use) -> Use:
        return Use(*map(operator.add, astuple(self), astuple(other)))

    def __sub__(self, other: Use) -> Use:
        return Use(*map(operator.sub, astuple(self), astuple(other)))


NOTHING: Final = Use()
_IN_WORDS: Final = {"micros": "money", "ms": "time"}
_NAMES: Final = tuple(each.name for each in fields(Use))
_MOST: Final = 10**15


@dataclass(frozen=True, slots=True)
class DayLimits:
    """What may be used in a day: by everybody in a tenant together, and by each person there."""

    tenant: Use
    user: Use


@dataclass(frozen=True, slots=True)
class Today:
    """A tenant's day so far; what is put aside, for asks being worked and ahead of need, counts as used."""

    day: date
    tenant: Use
    people: tuple[tuple[str, Use], ...]
    """By e-mail address, in its order."""


class Exhausted(Exception):
    """A day's budget does not hold what was asked for."""

    def __init__(self, scope: Scope, what: str) -> None:
        super().__init__(f"{scope}: {what}")
        self.scope = scope
        self.what = what
        """turns | calls | tokens | money | time"""


def granted() -> DayLimits:
    """What the settings let every tenant use."""
    return DayLimits(
        Use(
            settings.TENANT_DAY_TURNS,
            settings.TENANT_DAY_CALLS,
            settings.TENANT_DAY_TOKENS,
            settings.TENANT_DAY_MICROS,
            settings.TENANT_DAY_SECONDS * 1_000,
        ),
        Use(
            settings.USER_DAY_TURNS,
            settings.USER_DAY_CALLS,
            settings.USER_DAY_TOKENS,
            settings.USER_DAY_MICROS,
            settings.USER_DAY_SECONDS * 1_000,
        ),
    )


def own(tenant: Tenant) -> DayLimits:
    """What its administrators have set. What cannot be read is no limit: they see that it is missing."""
    return _own(tenant.budgets)


def limits_of(tenant_id: UUID) -> DayLimits:
    """The limits of one tenant: the lower of its own and those of the settings."""
    stored = Tenant.objects.filter(pk=tenant_id).values_list("budgets", flat=True).first()
    lent, mine = granted(), _own(stored)
    return DayLimits(_lower(lent.tenant, mine.tenant), _lower(lent.user, mine.user))


@transaction.atomic
def set_budgets(*, tenant: Tenant, limits: DayLimits, by: UUID | None) -> None:
    """Let a tenant and its people use no more than this in a day; where the settings let them less, that holds.

    Raises: Refused for what cannot be a limit, or would let nobody ask anything.
    """
    stored = {scope: _checked(use) for scope, use in (("tenant", limits.tenant), ("user", limits.user))}
    Tenant.objects.filter(pk=tenant.pk).update(budgets=stored)
    said = {f"{scope}_{name}": number for scope, use in stored.items() for name, number in use.items()}
    detail: dict[str, str | int | float | bool | None] = {"what": "budgets", **said}
    audit.append([Event(EventKind.TENANT_CHANGED, tenant_id=tenant.pk, user_id=by, detail=detail)])


def clock() -> datetime:
    """The database's time: processes whose clocks differ agree on the day."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT CURRENT_TIMESTAMP")
        found: datetime | str = cursor.fetchone()[0]
    return found.astimezone(UTC) if isinstance(found, datetime) else datetime.fromisoformat(found).replace(tzinfo=UTC)


def reserve(*, tenant_id: UUID, user_id: UUID, use: Use, ahead: Use = NOTHING, now: datetime) -> Use:
    """Count `use` for the person and the tenant, all of it or nothing, and return what was counted.

    That is more by what could be had of `ahead`, for a holder that grants from it by itself: less of it the less is
    left of the day. Raises: Exhausted.
    """
    limits, day = limits_of(tenant_id), now.date()
    if ahead != NOTHING:
        whole = use + _granted(ahead, use, limits, tenant_id, user_id, day)
        with suppress(Exhausted):
            _count(whole, limits, tenant_id, user_id, day)
            return whole
    _count(use, limits, tenant_id, user_id, day)
    return use


@transaction.atomic
def settle(*, tenant_id: UUID, user_id: UUID, day: date, reserved: Use, used: Use) -> None:
    """Count what was used of what was reserved on `day`, more or less."""
    for who in (None, user_id):
        _add(_row(tenant_id, who, day), used - reserved)


def today(tenant_id: UUID, *, now: datetime, most: int | None = None) -> Today:
    """What is counted for a tenant and its people on the day of `now`; with `most`, for those alone who used most."""
    order = ("user__email",) if most is None else ("-micros", "-tokens", "-ms", "user__email")
    rows = DayUse.objects.filter(tenant_id=tenant_id, day=now.date()).select_related("user")
    rows = rows.annotate(everybody=Q(user=None)).order_by("-everybody", *order)
    tenant, people = NOTHING, []
    for row in rows if most is None else rows[: most + 1]:
        if row.user is None:
            tenant = _use(row)
        else:
            people.append((row.user.email, _use(row)))
    return Today(now.date(), tenant, tuple(people))


def forget(*, now: datetime) -> None:
    """Delete the days that are not kept any longer."""
    DayUse.objects.filter(day__lt=now.date() - timedelta(days=settings.DAY_USE_KEPT_DAYS)).delete()


def _row(tenant_id: UUID, user_id: UUID | None, day: date) -> QuerySet[DayUse]:
    whose = Q(user=None) if user_id is None else Q(user_id=user_id)
    return DayUse.objects.filter(whose, tenant_id=tenant_id, day=day)


def _add(row: QuerySet[DayUse], use: Use, limits: Use = NOTHING) -> bool:
    """Whether it was counted: the row is there, and every counter that grows stays within its limit."""
    changes = {name: amount for name, amount in asdict(use).items() if amount}
    within = {
        f"{name}__lte": limit - changes[name] for name, limit in asdict(limits).items() if limit and name in changes
    }
    return not changes or row.filter(**within).update(**{name: F(name) + by for name, by in changes.items()}) == 1


@transaction.atomic
def _count(use: Use, limits: DayLimits, tenant_id: UUID, user_id: UUID, day: date) -> None:
    whose: tuple[tuple[Scope, UUID | None, Use], ...]
    whose = ("tenant", None, limits.tenant), ("user", user_id, limits.user)
    for scope, who, most in whose:
        row = _row(tenant_id, who, day)
        if _add(row, use, most):
            continue
        DayUse.objects.bulk_create([DayUse(tenant_id=tenant_id, user_id=who, day=day)], ignore_conflicts=True)
        if not _add(row, use, most):
            raise Exhausted(scope, _lacking(_use(row.get()), use, most))


def _lacking(used: Use, use: Use, limits: Use) -> str:
    """What there is not enough of; the first that is asked for, when there is enough again by now."""
    asked = [name for name, amount in asdict(use).items() if amount]
    lacking = [name for name in asked if 0 < getattr(limits, name) < getattr(used, name) + getattr(use, name)]
    name = (lacking or asked)[0]
    return _IN_WORDS.get(name, name)


def _granted(ahead: Use, use: Use, limits: DayLimits, tenant_id: UUID, user_id: UUID, day: date) -> Use:
    """As much of `ahead` as leaves most of the day to others. It may be gone when it is counted."""
    rows = DayUse.objects.filter(Q(user=None) | Q(user_id=user_id), tenant_id=tenant_id, day=day)
    counted = {row.user_id: _use(row) for row in rows}
    for who, most in ((None, limits.tenant), (user_id, limits.user)):
        ahead = _part(ahead, counted.get(who, NOTHING) + use, most)
    return ahead


def _part(ahead: Use, used: Use, limits: Use) -> Use:
    parts = zip(astuple(ahead), astuple(used), astuple(limits), strict=True)
    return Use(*(min(wanted, max(0, most - gone) // _SHARE) if most else wanted for wanted, gone, most in parts))


def _use(row: DayUse) -> Use:
    return Use(row.turns, row.calls, row.tokens, row.micros, row.ms)


def _own(stored: object) -> DayLimits:
    scopes = stored if isinstance(stored, dict) else {}
    return DayLimits(_read(scopes.get("tenant")), _read(scopes.get("user")))


def _read(stored: object) -> Use:
    numbers = stored if isinstance(stored, dict) else {}
    return Use(**{name: numbers[name] for name in _NAMES if _is_limit(numbers.get(name))})


def _checked(use: Use) -> dict[str, int]:
    """As it is stored. Raises: Refused."""
    stored = {name: number for name, number in asdict(use).items() if number != 0}
    for name, number in stored.items():
        if not _is_limit(number):
            raise Refused(f"A limit on {_IN_WORDS.get(name, name)} is a whole number from 1 to {_MOST:,}.")
    if use.ms and use.ms < (least := settings.ASK_DEADLINE_S * 1_000):
        raise Refused(f"One ask may take {least // 1_000} seconds: with less time in a day, nobody could ask anything.")
    return stored


def _is_limit(number: object) -> bool:
    return type(number) is int and 1 <= number <= _MOST


def _lower(one: Use, other: Use) -> Use:
    pairs = zip(astuple(one), astuple(other), strict=True)
    return Use(*(min(each) if all(each) else max(each) for each in pairs))
