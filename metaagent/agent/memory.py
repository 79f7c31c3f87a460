"""What a conversation remembers: the account, what was spoken of last, and where the full results are; pure.

Everything in it came from a provider: it names things, and decides nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, Self
from uuid import UUID

import orjson

from metaagent.agent.words import stem
from providers.spec import Json, Producer, ToolSpec

_MOST_VALUES: Final = 10
_MOST_NAMES: Final = 12
_MOST_RESULTS: Final = 5
_VALUE = re.compile(r"(?!www\.|\w*:?//)(?:(?!//)[\w.@:/+-]){1,80}")
"""What may stand in a question for a name: one word, whatever its provider calls it, and no address."""
_PLACES: Final = {
    **dict.fromkeys(("first", "1st"), 0),
    **dict.fromkeys(("second", "2nd"), 1),
    **dict.fromkeys(("third", "3rd"), 2),
    **dict.fromkeys(("fourth", "4th"), 3),
    **dict.fromkeys(("fifth", "5th"), 4),
    "last": -1,
}
_SAID = re.compile(
    r"\b(?:(?P<same>that|this|the same)|the (?P<place>first|second|third|fourth|fifth|last|[1-5](?:st|nd|rd|th)))"
    r" (?P<noun>[a-z]{2,20}[a-rt-z])\b",  # one of them: no plural
    re.IGNORECASE,
)
_FRESH: Final = frozenset({"first", "1st", "last"})
"""With a noun these ask anew: "the last release" is the newest, not the one that was shown last."""


def handle(run_id: str) -> str:
    """The handle of the conversation that begins with this run; no secret, only its own principal finds anything."""
    return f"c_{run_id.removeprefix('run_')}"


@dataclass(slots=True)
class Memory:
    """One conversation with one provider, of one person."""

    connection_id: UUID | None = None
    names: dict[str, list[str]] = field(default_factory=dict)
    """By a word's stem (`issu`): the values last spoken of, in the order they were shown."""
    latest: str = ""
    """The word spoken of last: what "that one" means."""
    results: list[str] = field(default_factory=list)
    """Addresses of full results, newest first."""

    @classmethod
    def read(cls, body: bytes | None) -> Self:
        """What was kept; nothing when there is none, or when it is not what we keep."""
        if body is None:
            return cls()
        try:
            kept = orjson.loads(body)
            names = {str(word): [str(each) for each in values] for word, values in kept["names"].items()}
            connection = UUID(kept["connection"]) if kept["connection"] else None
            return cls(connection, names, str(kept["latest"]), [str(uri) for uri in kept["results"]])
        except (ValueError, KeyError, TypeError, AttributeError):
            return cls()

    def body(self) -> bytes:
        """To be kept."""
        kept = {
            "connection": self.connection_id.hex if self.connection_id else None,
            "names": self.names,
            "latest": self.latest,
            "results": self.results,
        }
        return orjson.dumps(kept)

    @property
    def known(self) -> Mapping[str, str]:
        """What each word means now, for whoever has to read the next question."""
        return {word: values[0] for word, values in self.names.items()}

    def note(self, tools: tuple[ToolSpec, ...], tool: ToolSpec, args: Mapping[str, Json], data: Json, uri: str) -> None:
        """A call that an answer came from."""
        for word, values in _spoken(tools, tool, args, data):
            if kept := [each for each in map(str, values) if _VALUE.fullmatch(each)]:
                self.names.pop(word, None)
                self.names[word] = kept
                self.latest = word
        for word in list(self.names)[:-_MOST_NAMES]:
            del self.names[word]
        self.results = list(dict.fromkeys([uri, *self.results]))[:_MOST_RESULTS]

    def recalled(self, prompt: str) -> str:
        """The question with "that issue", "the second one" replaced by what they mean; the rest as it is."""
        return _SAID.sub(self._meant, prompt) if self.names else prompt

    def _meant(self, said: re.Match[str]) -> str:
        noun, ordinal = said["noun"].lower(), (said["place"] or "").lower()
        if noun != "one" and ordinal in _FRESH:
            return said[0]
        values = self.names.get(self.latest if noun == "one" else stem(noun), [])
        place = _PLACES[ordinal] if ordinal else 0
        if (not ordinal and len(values) > 1) or not -len(values) <= place < len(values):
            return said[0]
        return values[place] if noun == "one" else f"{noun} {values[place]}"


@dataclass(frozen=True, slots=True)
class _Named:
    """A parameter that rows of some tool name."""

    name: str
    producer: Producer
    shared: bool
    """Other parameters stand in a field of the same name: only its own producer's rows tell."""
    words: tuple[str, ...]


@lru_cache(maxsize=256)
def _named(tools: tuple[ToolSpec, ...]) -> tuple[_Named, ...]:
    produced = {(name, producer) for tool in tools for name, producer in tool.producers.items()}
    return tuple(
        _Named(
            name,
            producer,
            len({other for other, same in produced if same.field == producer.field}) > 1,
            tuple(_words(name, producer.tool)),
        )
        for name, producer in sorted(produced, key=lambda pair: (pair[0], pair[1].tool))
    )


def _spoken(
    tools: tuple[ToolSpec, ...], tool: ToolSpec, args: Mapping[str, Json], data: Json
) -> Iterator[tuple[str, Sequence[Json]]]:
    """Words and what they now mean: from rows shown, then from arguments, which somebody chose."""
    rows = data[:_MOST_VALUES] if isinstance(data, list) else [data]
    for each in _named(tools):
        if each.producer.tool == tool.name or not each.shared:
            field = each.producer.field
            values = [row[field] for row in rows if isinstance(row, Mapping) and row.get(field)]
            yield from ((word, values) for word in each.words if values)
    for each in _named(tools):
        if (given := args.get(each.name)) is not None:
            yield from ((word, [given]) for word in each.words)


def _words(name: str, producer: str) -> Iterable[str]:
    """What people call a parameter: its own name, and what its producer lists."""
    return dict.fromkeys((stem(name.lower()), stem(re.split(r"[._-]", producer)[-1].lower())))
