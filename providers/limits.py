"""What an installation may limit for itself, within what the deployment grants; pure.

Each limit is called as the deployment's setting is, in lower case.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Final

from providers.spec import Json

_NUMBER: Final = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class Bound:
    """What one limit may be, both ends included."""

    least: int
    most: int
    either_way: bool = False
    """Whether the installation's number counts even where the deployment's is smaller: it takes nothing from others."""


BOUNDS: Final[Mapping[str, Bound]] = MappingProxyType(
    {
        "provider_calls_per_minute": Bound(1, 10_000_000),
        "provider_calls_per_minute_tenant": Bound(1, 10_000_000),
        "provider_calls_at_once": Bound(1, 10_000),
        "provider_calls_at_once_account": Bound(1, 10_000),
        "breaker_failures": Bound(1, 1_000, either_way=True),
        "breaker_pause_s": Bound(1, 60, either_way=True),
        "result_cache_s": Bound(0, 3_600),
        "tool_calls_per_ask": Bound(1, 1_000),
    }
)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one installation limits; None: what the deployment grants."""

    provider_calls_per_minute: int | None = None
    """By each account."""
    provider_calls_per_minute_tenant: int | None = None
    """By all accounts of the installation together."""
    provider_calls_at_once: int | None = None
    """In one process."""
    provider_calls_at_once_account: int | None = None
    breaker_failures: int | None = None
    """In a row, before the provider is left alone."""
    breaker_pause_s: int | None = None
    result_cache_s: int | None = None
    """The longest that a tool's result is given again."""
    tool_calls_per_ask: int | None = None

    @classmethod
    def read(cls, stored: Mapping[str, Json]) -> Limits:
        """From a column of JSON that was checked when it was stored."""
        return cls(**{each.name: stored.get(each.name) for each in fields(cls)}) if stored else NONE


NONE: Final = Limits()
"""Of an installation that limits nothing."""


def checked(stated: Mapping[str, Json]) -> dict[str, int]:
    """Limits as they are stored. Raises: ValueError that says which one cannot be, and what it may be."""
    found = {}
    for name, number in stated.items():
        bound = BOUNDS.get(name)
        if bound is None:
            raise ValueError(f"There is no limit “{str(name)[:40]}”. There are: {', '.join(BOUNDS)}.")
        if type(number) is not int or not bound.least <= number <= bound.most:
            raise ValueError(f"{name} must be a whole number from {bound.least:,} to {bound.most:,}.")
        found[name] = number
    return found


def changed(stored: Mapping[str, int], words: Mapping[str, str]) -> dict[str, int]:
    """The limits that `words` make of those there are; an empty word takes one back to the deployment's.

    Raises: ValueError, as `checked` does.
    """
    numbers = {name: int(word) if _NUMBER.fullmatch(word) else word for name, word in words.items()}
    given = checked({name: number for name, number in numbers.items() if number != "" or name not in BOUNDS})
    return {**{name: number for name, number in stored.items() if name not in words}, **given}


def counting(name: str, own: int | None, granted: int) -> int:
    """What holds: the smaller of the installation's limit and the deployment's, or its own where either may be."""
    if own is None:
        return granted
    return own if BOUNDS[name].either_way else min(own, granted)
