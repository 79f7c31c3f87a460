"""What becomes of asks: counted by the hour for a tenant, by the day for each of its people, and read as figures.

Counting adds to rows, by one statement a table for a whole batch, in the order of their keys: processes that count at
the same time lose nothing, and never wait for each other in a circle. After some days a tenant's hours are put together
by the day, as that day's first hour, and how fast answers came is counted apart from how they came about: a page over
months reads a few thousand rows. Hours and days are UTC.
"""

from __future__ import annotations

import operator
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final, Literal, TypeAlias
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.db.models import DateField, DateTimeField, F, QuerySet, Sum
from django.db.models.functions import ExtractHour, Trunc, TruncDate

from metaagent.values import value
from tenants.models import AskDay, AskHour, AskSpeed, Tenant, User

SPEEDS_MS: Final = (*(1.25**step for step in range(53)), 120_000.0)
"""The classes of latency, each by its upper end, so close that a percentile is right to some 12 %. What takes longer
than the last is counted in one more."""
OK: Final = "ok"
NO_WAY: Final = "none"
"""Of an ask that was not answered: how it would have been is not told apart."""
WITHOUT_MODEL: Final = frozenset({"tool", "route", "replay"})
"""Ways of `metaagent.agent.types.Way` in which no model decides."""
UP_TO_THE_PERSON: Final = frozenset({"needs_auth", "needs_consent", "approval_required", "capability_miss"})
"""Outcomes that wait for somebody's click; nothing is wrong."""

_BY_HOUR: Final = timedelta(hours=48)
"""Up to so long a time is shown hour by hour."""
_HOURS_KEPT: Final = timedelta(days=3)
_DAYS_AT_ONCE: Final = 200
"""Days of tenants that one sweep puts together."""
_MOST_PEOPLE: Final = 20
_AT_ONCE: Final = 500
"""Rows in one statement."""
_OF_HOUR: Final = ("tenant", "hour", "provider", "way", "outcome")
_OF_SPEED: Final = ("tenant", "hour", "provider", "speed")
_OF_DAY: Final = ("tenant", "day", "user", "provider")
_SUMS: Final = ("asks", "ms", "tokens", "micros", "saved")
_ONE_SUM: Final = ("asks",)

Step: TypeAlias = Literal["hour", "day", "week"]
_LENGTHS: Final[Mapping[Step, timedelta]] = {
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
    "week": timedelta(weeks=1),
}
Rows: TypeAlias = AskHour | AskSpeed | AskDay
Key: TypeAlias = tuple[str | int | UUID | date, ...]


@value
class Asked:
    """One ask that has ended."""

    tenant_id: UUID
    user_id: UUID
    provider: str
    """One that the tenant exports, never a word of the client's."""
    way: str
    outcome: str
    ms: int
    tokens: int
    micros: int
    """Micro-dollars."""
    saved: int
    """Tokens; see `AskHour.saved`."""
    at: datetime


# --- Counting


def count(asked: Sequence[Asked]) -> None:
    """Add to the figures. What is of tenants or people that are gone is left out.

    Raises: django.db.Error; IntegrityError when somebody went at this very moment: then the same again succeeds.
    """
    tenants = set(Tenant.objects.filter(pk__in={each.tenant_id for each in asked}).values_list("pk", flat=True))
    people = set(User.objects.filter(pk__in={each.user_id for each in asked}).values_list("pk", flat=True))
    hours: dict[Key, list[int]] = {}
    speeds: dict[Key, list[int]] = {}
    days: dict[Key, list[int]] = {}
    for each in asked:
        if each.tenant_id not in tenants:
            continue
        hour = each.at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
        sums = [1, each.ms, each.tokens, each.micros, each.saved]
        way = each.way if each.outcome == OK else NO_WAY
        _grow(hours, (each.tenant_id, hour, each.provider, way, each.outcome), sums)
        if each.outcome == OK:
            _grow(speeds, (each.tenant_id, hour, each.provider, bisect_left(SPEEDS_MS, each.ms)), [1])
        if each.user_id in people:
            _grow(days, (each.tenant_id, hour.date(), each.user_id, each.provider), [*sums, int(each.outcome != OK)])
    with transaction.atomic():
        _add(AskHour, _OF_HOUR, _SUMS, hours)
        _add(AskSpeed, _OF_SPEED, _ONE_SUM, speeds)
        _add(AskDay, _OF_DAY, (*_SUMS, "failed"), days)


def _grow(rows: dict[Key, list[int]], key: Key, by: list[int]) -> None:
    row = rows.get(key)
    rows[key] = by if row is None else list(map(operator.add, row, by))


def _add(model: type[Rows], key: tuple[str, ...], sums: tuple[str, ...], rows: Mapping[Key, list[int]]) -> None:
    """Plain SQL: `bulk_create` can replace what is there, and not add to it."""
    known, table = model._meta.concrete_fields, model._meta.db_table  # noqa: SLF001 - Django's documented Model._meta API
    written = [next(each for each in known if each.name == name) for name in (*key, *sums)]
    columns = [str(each.column) for each in written]
    grown = ", ".join(f"{name} = {table}.{name} + excluded.{name}" for name in sums)
    marks = f"({', '.join(['%s'] * len(columns))})"
    found = [(*each, *rows[each]) for each in sorted(rows)]
    for begin in range(0, len(found), _AT_ONCE):
        part = found[begin : begin + _AT_ONCE]
        statement = (
            f"INSERT INTO {table} ({', '.join(columns)}) VALUES {', '.join([marks] * len(part))}"  # noqa: S608 - names of our own models
            f" ON CONFLICT ({', '.join(columns[: len(key)])}) DO UPDATE SET {grown}"
        )
        values = [
            each.get_db_prep_save(cell, connection) for row in part for each, cell in zip(written, row, strict=True)
        ]
        with connection.cursor() as cursor:
            cursor.execute(statement, values)


def forget(*, now: datetime) -> None:
    """Put together what is old, and delete what is not kept any longer: as long as days of use are."""
    before = _beginning(now - _HOURS_KEPT, "day")
    _put_together(AskHour, _OF_HOUR, _SUMS, before)
    _put_together(AskSpeed, _OF_SPEED, _ONE_SUM, before)
    before = now - timedelta(days=settings.DAY_USE_KEPT_DAYS)
    AskHour.objects.filter(hour__lt=before).delete()
    AskSpeed.objects.filter(hour__lt=before).delete()
    AskDay.objects.filter(day__lt=before.date()).delete()


def _put_together(
    model: type[AskHour | AskSpeed], key: tuple[str, ...], sums: tuple[str, ...], before: datetime
) -> None:
    """Make one row of a day's alike; where two processes do it, the second one finds nothing left."""
    later = model.objects.alias(_of_day=ExtractHour("hour", tzinfo=UTC)).filter(hour__lt=before).exclude(_of_day=0)
    days = later.values_list("tenant_id", TruncDate("hour", tzinfo=UTC)).distinct().order_by()
    for tenant_id, day in days[:_DAYS_AT_ONCE]:
        first = datetime.combine(day, time(), UTC)
        alike: dict[Key, list[int]] = {}
        with transaction.atomic():
            rows = model.objects.select_for_update().order_by("pk")
            rows = rows.filter(tenant_id=tenant_id, hour__gt=first, hour__lt=first + timedelta(days=1))
            found = list(rows)
            for row in found:
                apart = (getattr(row, name) for name in key[2:])
                _grow(alike, (tenant_id, first, *apart), [getattr(row, name) for name in sums])
            _add(model, key, sums, alike)
            model.objects.filter(pk__in=[row.pk for row in found]).delete()


# --- Reading


@dataclass(slots=True)
class Tally:
    """Asks counted together."""

    asks: int = 0
    ms: int = 0
    tokens: int = 0
    """Of models."""
    micros: int = 0
    saved: int = 0
    ways: Counter[str] = field(default_factory=Counter)
    """Of those that were answered."""
    codes: Counter[str] = field(default_factory=Counter)
    """Of those that were not."""
    speeds: Counter[int] = field(default_factory=Counter)
    """Of those that were, by the place of their class in `SPEEDS_MS`."""

    @property
    def answered(self) -> int:
        """Asks with an answer."""
        return self.asks - self.failed

    @property
    def failed(self) -> int:
        """Asks without one."""
        return self.codes.total()

    @property
    def wrong(self) -> int:
        """Of these, the ones that no click of the person would have mended."""
        return sum(asks for code, asks in self.codes.items() if code not in UP_TO_THE_PERSON)

    @property
    def without_model(self) -> float | None:
        """Of what was answered, the part that no model decided about, from 0 to 1; None when nothing was."""
        return sum(self.ways[way] for way in WITHOUT_MODEL) / self.answered if self.answered else None

    @property
    def p50_ms(self) -> float | None:
        """Half of the answers took no longer; None when there were none."""
        return percentile(self.speeds, 0.5)

    @property
    def p95_ms(self) -> float | None:
        """The same of 95 %."""
        return percentile(self.speeds, 0.95)

    @property
    def p99_ms(self) -> float | None:
        """The same of 99 %."""
        return percentile(self.speeds, 0.99)

    def add(self, way: str, outcome: str, sums: Sequence[int]) -> None:
        """Count more of them; `sums` are asks, ms, tokens, micros, saved."""
        asks, ms, tokens, micros, saved = sums
        self.asks += asks
        self.ms += ms
        self.tokens += tokens
        self.micros += micros
        self.saved += saved
        if outcome == OK:
            self.ways[way] += asks
        else:
            self.codes[outcome] += asks

    def __add__(self, other: Tally) -> Tally:
        return Tally(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(Tally)))


@dataclass(frozen=True, slots=True)
class PersonUse:
    """The asks of one person, by whole days."""

    email: str
    asks: int
    failed: int
    ms: int
    tokens: int
    micros: int
    saved: int


@dataclass(frozen=True, slots=True)
class Figures:
    """What became of a tenant's asks in a time."""

    total: Tally
    series: tuple[tuple[datetime, Tally], ...]
    """By the hour, day or week that begins then, also those without asks."""
    step: Step
    providers: tuple[tuple[str, Tally], ...]
    """By slug, the busiest first."""


def figures(tenant_id: UUID, *, since: datetime, until: datetime, provider: str = "", weekly: bool = False) -> Figures:
    """What became of a tenant's asks, of all or one of its providers, in the hours, days or weeks that hold this time.

    Hours are told apart where it is no longer than 48 of them, and not long ago; else days, or weeks from their Monday.
    """
    step, first = _steps(since, until, weekly=weekly)
    hours = AskHour.objects.filter(tenant_id=tenant_id, hour__gte=first, hour__lt=until)
    speeds = AskSpeed.objects.filter(tenant_id=tenant_id, hour__gte=first, hour__lt=until)
    if provider:
        hours, speeds = hours.filter(provider=provider), speeds.filter(provider=provider)
    # As dates where they are: of a moment in a zone Django makes each one anew, row by row.
    kind = DateTimeField() if step == "hour" else DateField()
    moments = _tallies(hours, speeds, Trunc("hour", step, tzinfo=UTC, output_field=kind))
    providers = _tallies(hours, speeds, F("provider"))
    length = _LENGTHS[step]
    series = [first + length * number for number in range(-((first - until) // length))]
    return Figures(
        total=sum(providers.values(), Tally()),
        series=tuple((at, moments[at if step == "hour" else at.date()]) for at in series),
        step=step,
        providers=tuple(sorted(providers.items(), key=lambda each: (-each[1].asks, each[0]))),
    )


def busiest(
    tenant_id: UUID, *, since: datetime, until: datetime, provider: str = "", weekly: bool = False
) -> tuple[PersonUse, ...]:
    """Who asked most in the whole days that hold the time of the same `figures`; each person has a row a day."""
    _, first = _steps(since, until, weekly=weekly)
    days = AskDay.objects.filter(
        tenant_id=tenant_id, day__gte=first.date(), day__lte=(until - timedelta.resolution).date()
    )
    found = days.filter(provider=provider) if provider else days
    # Who they are first, by as little as tells it.
    asks = found.values_list("user_id").annotate(Sum("asks")).order_by(F("asks__sum").desc(), "user_id")
    users = [user_id for user_id, _ in asks[:_MOST_PEOPLE]]
    names = [each.name for each in fields(PersonUse)][1:]
    rows = found.filter(user_id__in=users).values_list("user__email").annotate(*map(Sum, names))
    return tuple(PersonUse(*row) for row in rows.order_by(F("asks__sum").desc(), "user__email"))


def any_asks(tenant_id: UUID) -> bool:
    """Whether anything was ever asked here, as far back as it is kept."""
    return AskHour.objects.filter(tenant_id=tenant_id).exists()


def percentile(speeds: Mapping[int, int], share: float) -> float | None:
    """The time, in milliseconds, that this share of the asks took at most; within a class they count as spread evenly.

    None when there are none.
    """
    left = share * sum(speeds.values())
    for place, asks in sorted(speeds.items()):
        if left <= asks:
            if place >= len(SPEEDS_MS):
                break
            low, high = SPEEDS_MS[place - 1] if place else 0.0, SPEEDS_MS[place]
            return low + (high - low) * left / asks
        left -= asks
    return SPEEDS_MS[-1] if speeds else None


def _steps(since: datetime, until: datetime, *, weekly: bool) -> tuple[Step, datetime]:
    """What a time is told apart by, and where the first of them begins."""
    kept = _beginning(datetime.now(UTC) - _HOURS_KEPT, "day")
    hourly = until - since <= _BY_HOUR and since >= kept
    step: Step = "hour" if hourly else "week" if weekly else "day"
    return step, _beginning(since, step)


def _beginning(at: datetime, step: Step) -> datetime:
    at = at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    if step == "hour":
        return at
    return at.replace(hour=0) - timedelta(days=at.weekday() if step == "week" else 0)


def _tallies(hours: QuerySet[AskHour], speeds: QuerySet[AskSpeed], by: F | Trunc) -> defaultdict[Any, Tally]:
    """By what they are told apart by."""
    found: defaultdict[Any, Tally] = defaultdict(Tally)
    sums = hours.values_list(by, "way", "outcome").annotate(*map(Sum, _SUMS)).order_by()
    for apart, way, outcome, *counted in sums:
        found[apart].add(way, outcome, counted)
    for apart, speed, asks in speeds.values_list(by, "speed").annotate(Sum("asks")).order_by():
        found[apart].speeds[speed] += asks
    return found
