"""A manifest: the tools of an installation as its source described them, pinned by digest; pure.

What a source says of a tool comes from an untrusted party. It serves as it was when an administrator accepted it, and
what an administrator has decided about a tool holds for as long as the tool stays as it was.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Final

from providers.spec import Effect, Json

_FIELDS: Final = ("source_name", "summary", "schema", "effect", "scopes", "or_scopes", "tags", "call", "gives")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One tool as its source describes it. Every field is plain JSON."""

    name: str
    """Ours: a letter, then at most 63 of a-z, 0-9 and _; unique in its manifest."""
    source_name: str
    """The source's own: an MCP tool's name, an operation's id or its method and path."""
    summary: str
    """One line, at most 300 characters."""
    schema: Json
    """JSON Schema of the arguments object; local references only."""
    effect: str
    """What the source says it does (`providers.spec.Effect`): a hint."""
    scopes: tuple[str, ...] = ()
    or_scopes: tuple[tuple[str, ...], ...] = ()
    tags: tuple[str, ...] = ()
    call: Json = None
    """How it is called, in the words of its source's module."""
    gives: str = ""


@dataclass(frozen=True)
class Manifest:
    """The tools, in the order of their names."""

    entries: tuple[Entry, ...]

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> Manifest:
        """In order. Raises: ValueError when two have the same name."""
        ordered = tuple(sorted(entries, key=lambda entry: entry.name))
        if len({entry.name for entry in ordered}) != len(ordered):
            raise ValueError("Two tools of one manifest have the same name.")
        return cls(ordered)

    @classmethod
    def read(cls, text: str) -> Manifest:
        """What `text` gave."""
        return cls(
            tuple(
                Entry(
                    **{
                        **each,
                        "scopes": tuple(each["scopes"]),
                        "or_scopes": tuple(map(tuple, each["or_scopes"])),
                        "tags": tuple(each["tags"]),
                    }
                )
                for each in json.loads(text)
            )
        )

    @cached_property
    def text(self) -> str:
        """Canonical JSON: equal manifests have equal texts."""
        return json.dumps([asdict(entry) for entry in self.entries], sort_keys=True, separators=(",", ":"))

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the text, hexadecimal."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @cached_property
    def by_name(self) -> Mapping[str, Entry]:
        """The entries by name."""
        return {entry.name: entry for entry in self.entries}


@dataclass(frozen=True, slots=True)
class Changes:
    """How one manifest differs from another."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: Mapping[str, tuple[str, ...]]
    """By the name of the tool: the fields that differ."""

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)


def changes(old: Manifest, new: Manifest) -> Changes:
    """What an administrator has to look at."""
    before, after = old.by_name, new.by_name
    differing = {
        name: tuple(each for each in _FIELDS if getattr(before[name], each) != getattr(after[name], each))
        for name in before.keys() & after.keys()
    }
    return Changes(
        added=tuple(sorted(after.keys() - before.keys())),
        removed=tuple(sorted(before.keys() - after.keys())),
        changed={name: fields for name, fields in sorted(differing.items()) if fields},
    )


@dataclass(frozen=True, slots=True)
class Choices:
    """What an administrator has decided about the tools of a manifest, by name."""

    effects: Mapping[str, Effect] = field(default_factory=dict)
    """What each tool does; one that is not named here is taken to write."""
    left_out: frozenset[str] = frozenset()
    """Tools that are not offered."""
    scopes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The scopes a tool needs, where the source does not say, or says otherwise."""

    @classmethod
    def read(cls, stored: Json) -> Choices:
        """From the JSON of `stored`."""
        return cls(
            {name: Effect(effect) for name, effect in stored.get("effects", {}).items()},
            frozenset(stored.get("left_out", ())),
            {name: tuple(scopes) for name, scopes in stored.get("scopes", {}).items()},
        )

    @property
    def stored(self) -> Json:
        """As JSON."""
        return {
            "effects": {name: effect.value for name, effect in sorted(self.effects.items())},
            "left_out": sorted(self.left_out),
            "scopes": {name: list(scopes) for name, scopes in sorted(self.scopes.items())},
        }

    def effect_of(self, entry: Entry) -> Effect:
        """What a tool is taken to do."""
        return self.effects.get(entry.name, Effect.WRITE)


def carried(choices: Choices, old: Manifest, new: Manifest) -> Choices:
    """What still holds for `new`: decisions about tools that are exactly as they were, and which ones are left out."""
    same = {name for name, entry in old.by_name.items() if new.by_name.get(name) == entry}
    return Choices(
        {name: effect for name, effect in choices.effects.items() if name in same},
        choices.left_out & new.by_name.keys(),
        {name: scopes for name, scopes in choices.scopes.items() if name in same},
    )
