"""Long lists of rows with a time, the newest first, a page at a time: the next one begins after this one's last row."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, TypeVar
from uuid import UUID

from django.db.models import Model, QuerySet

A_PAGE = 50
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TICK = timedelta(microseconds=1)

R = TypeVar("R", bound=Model)


@dataclass(frozen=True, slots=True)
class Part(Generic[R]):
    """One page of a list."""

    rows: list[R]
    after: str
    """Where the next one begins, for an address; empty: there is none."""


def part(rows: QuerySet[R], *, by: str, after: str) -> Part[R]:
    """The page of `rows` behind `after`, by the times in the column `by`. What is no place in a list is its beginning.

    It costs the same wherever it begins, and what is added meanwhile moves nothing.
    """
    place = _place(after)
    if place is not None:
        at, pk = place
        rows = rows.filter(**{f"{by}__lte": at}).exclude(**{by: at, "pk__gte": pk})
    found = list(rows.order_by(f"-{by}", "-pk")[: A_PAGE + 1])
    more = len(found) > A_PAGE
    return Part(found[:A_PAGE], _named(found[A_PAGE - 1], by) if more else "")


def _named(row: Any, by: str) -> str:  # noqa: ANN401 - a row with a time and an id
    return f"{(getattr(row, by) - _EPOCH) // _TICK}-{row.pk.hex}"


def _place(after: str) -> tuple[datetime, UUID] | None:
    ticks, _, pk = after.partition("-")
    try:
        return _EPOCH + int(ticks) * _TICK, UUID(hex=pk)
    except (ValueError, OverflowError):
        return None
