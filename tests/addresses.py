"""Every address of the product, as Django knows them: a new one cannot be forgotten."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from django.urls import URLPattern, URLResolver, get_resolver

UNKNOWN: Mapping[str, Any] = {
    "uuid": uuid4(),
    "int": 987_654_321_987,
    **dict.fromkeys(("slug", "str", "path", "anything"), "nothing-here"),
}
"""What nothing has, by the kind of gap."""
_GAP = re.compile(r"<(?:(?P<kind>\w+):)?(?P<name>\w+)>")


@dataclass(frozen=True)
class Place:
    """One address, with gaps for what it is about."""

    name: str
    route: str

    @property
    def gaps(self) -> dict[str, str]:
        """The kind of each gap, by its name."""
        return {found["name"]: found["kind"] or "str" for found in _GAP.finditer(self.route)}

    @property
    def rest(self) -> bool:
        """Whether programs ask here, not browsers."""
        return self.route.startswith("api/v1/")

    def filled(self, values: Mapping[str, object]) -> str:
        """The address. Raises: KeyError for a gap nothing is said of."""
        return "/" + _GAP.sub(lambda found: str(values[found["name"]]), self.route)


def places() -> list[Place]:
    """All of them, but for those that regular expressions describe: Django's own admin."""
    return list(_within(get_resolver().url_patterns, "", ""))


def _within(patterns: list[Any], prefix: str, space: str) -> Iterator[Place]:
    for each in patterns:
        route = prefix + str(each.pattern)
        if isinstance(each, URLResolver):
            yield from _within(each.url_patterns, route, f"{space}{each.namespace}:" if each.namespace else space)
        elif isinstance(each, URLPattern) and not re.search(r"[\\^$(]", route):
            yield Place(space + (each.name or route), route)
