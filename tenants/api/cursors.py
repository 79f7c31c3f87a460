"""Long lists, a page at a time: a cursor says where the next page begins, and is good for the very same list alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from django.conf import settings
from django.core import signing
from django.db.models import Model, Q, QuerySet

from tenants.api.bodies import BadQuery

A_PAGE: Final = 100
MOST: Final = 200
_UNREADABLE: Final = "This cursor is not one of this list. Begin again without it."


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list, and where the next one begins; None: there is no more."""

    items: Sequence[Any]
    after: list[Any] | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Which part of which list is asked for."""

    path: str
    filters: Mapping[str, str]
    """The other parameters, as they stand in the address: a cursor holds for these."""
    limit: int
    after: list[Any] | None

    def of(self, rows: QuerySet[Any], *order: str) -> Page:
        """That part of `rows` in the order of these columns, of which the last is unique."""
        newer, found = Q(), rows
        if self.after is not None and len(self.after) != len(order):
            raise BadQuery({"cursor": [_UNREADABLE]})
        for number, column in enumerate(order if self.after is not None else ()):
            same = dict(zip(order[:number], self.after or [], strict=False))
            newer |= Q(**same, **{f"{column}__gt": (self.after or [])[number]})
        found = found.filter(newer).order_by(*order)[: self.limit + 1]
        items = list(found)
        if len(items) <= self.limit:
            return Page(items)
        return Page(items[: self.limit], [str(_value(items[self.limit - 1], column)) for column in order])

    def next_url(self, page: Page) -> str | None:
        """The address of the page that follows."""
        if page.after is None:
            return None
        cursor = _signer(self.path, self.filters).sign_object(page.after)
        return f"{settings.PUBLIC_URL}{self.path}?{urlencode({**self.filters, 'limit': self.limit, 'cursor': cursor})}"


def place(path: str, filters: Mapping[str, str], *, limit: int, cursor: str) -> Place:
    """What `limit` and `cursor` say. Raises: BadQuery for a cursor of another list, or none of ours."""
    try:
        after = _signer(path, filters).unsign_object(cursor) if cursor else None
    except (signing.BadSignature, ValueError):
        raise BadQuery({"cursor": [_UNREADABLE]}) from None
    return Place(path, filters, limit, after)


def _signer(path: str, filters: Mapping[str, str]) -> signing.Signer:
    return signing.Signer(salt=f"cursor:{path}?{urlencode(sorted(filters.items()))}")


def _value(row: Model, column: str) -> Any:  # noqa: ANN401 - a value of a column
    found: Any = row
    for name in column.split("__"):
        found = getattr(found, name)
    return found
