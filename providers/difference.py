"""What differs between two manifests, for people to read; pure.

All words of it are somebody else's, and hostile until shown otherwise: whoever prints them makes visible what hides in
them, and the work is linear in their length.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal

from providers.manifest import Entry, Manifest, changes
from providers.spec import Json

_WORDS: Final[Mapping[str, str]] = {
    "source_name": "Its own name there",
    "summary": "Description",
    "effect": "What the provider says it does",
    "schema": "Arguments",
    "scopes": "Scopes",
    "or_scopes": "Scopes that do as well",
    "tags": "Filed under",
    "gives": "What it gives",
    "call": "How it is called",
}
_PLAIN_KEY: Final = re.compile(r"[\w$-]{1,80}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Line:
    """One value in a structure, by where it stands in it, as one side has it."""

    sign: Literal["+", "-"]
    text: str


@dataclass(frozen=True)
class Field:
    """One thing said of a tool, before and after; empty where there was nothing, or is nothing any more."""

    name: str
    old: Json
    new: Json

    @property
    def title(self) -> str:
        """Its name in words."""
        return _WORDS[self.name]

    @property
    def texts(self) -> tuple[str, str] | None:
        """Both sides, where they read as text; None: see `lines`."""
        return None if self.name in {"schema", "call"} else (_text(self.old), _text(self.new))

    @cached_property
    def lines(self) -> tuple[Line, ...]:
        """What one side has and the other has not, or has otherwise."""
        before, after = dict(_leaves(self.old)), dict(_leaves(self.new))
        differing = [path for path in {**before, **after} if before.get(path) != after.get(path)]
        sides: tuple[tuple[Literal["-", "+"], dict[str, str]], ...] = (("-", before), ("+", after))
        return tuple(
            Line(sign, f"{path}: {side[path]}" if path else side[path])
            for path in differing
            for sign, side in sides
            if path in side
        )


@dataclass(frozen=True)
class Difference:
    """A tool that is new, gone or another one than before."""

    name: str
    old: Entry | None
    new: Entry | None
    named: tuple[str, ...]
    """The fields that differ."""

    @property
    def kind(self) -> Literal["added", "removed", "changed"]:
        """What became of the tool."""
        return "added" if self.old is None else "removed" if self.new is None else "changed"

    @cached_property
    def fields(self) -> tuple[Field, ...]:
        """What differs; of a new tool all that is said of it."""
        sides = ((name, getattr(self.old, name, None), getattr(self.new, name, None)) for name in self.named)
        return tuple(Field(*side) for side in sides if side[1] or side[2])


def differences(old: Manifest, new: Manifest) -> list[Difference]:
    """Every tool an administrator has to look at: the new ones, those that have changed, and those that are gone."""
    found, before, after = changes(old, new), old.by_name, new.by_name
    return [
        *(Difference(name, None, after[name], tuple(_WORDS)) for name in found.added),
        *(
            Difference(name, before[name], after[name], tuple(each for each in _WORDS if each in fields))
            for name, fields in found.changed.items()
        ),
        *(Difference(name, before[name], None, ()) for name in found.removed),
    ]


def _text(value: Json) -> str:
    """Scopes apart with commas, and sets of them with `or`."""
    if isinstance(value, tuple):
        return (" or " if value and isinstance(value[0], tuple) else ", ").join(map(_text, value))
    return value or ""


def _leaves(value: Json, path: str = "") -> Iterator[tuple[str, str]]:
    """The values of a structure by their paths; of two different paths no text is the same."""
    if isinstance(value, dict) and value:
        for key, inner in sorted(value.items()):
            name = key if _PLAIN_KEY.fullmatch(key) else json.dumps(key, ensure_ascii=False)
            yield from _leaves(inner, f"{path}.{name}" if path else name)
    elif isinstance(value, list) and any(isinstance(each, (dict, list)) for each in value):
        for place, inner in enumerate(value):
            yield from _leaves(inner, f"{path}[{place}]")
    elif value is not None or path:
        yield path, json.dumps(value, ensure_ascii=False)
