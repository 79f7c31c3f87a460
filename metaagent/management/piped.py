"""The protocol of the commands that answer each JSON object on a line of standard input with one on standard output.

Knows no Django and no settings: these commands need neither.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from providers.spec import Effect, Json, Producer

Message = Mapping[str, Json]
Answer = dict[str, Json]


class BadMessage(ValueError):
    """A line that cannot be answered; its text says what is wrong with it."""


class Output(Protocol):
    """Where answers go."""

    def write(self, text: str, /) -> object:
        """Take one line."""

    def flush(self) -> None:
        """Send it on at once: whoever asks waits for it."""


def answer_lines(lines: Iterable[bytes], out: Output, answer: Callable[[Message], Answer]) -> int:
    """Answer every line in order, a bad one with `{"error": …}`. Returns how many were bad."""
    bad = 0
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        message: Message = {}
        try:
            message = _message(line)
            started = time.perf_counter()
            found = {**_identity(message), **answer(message), "ms": round((time.perf_counter() - started) * 1000, 3)}
        except BadMessage as wrong:
            bad += 1
            found = {**_identity(message), "error": f"Line {number}: {wrong}"}
        out.write(json.dumps(found) + "\n")
        out.flush()
    return bad


def _message(line: bytes) -> Message:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        raise BadMessage("not JSON. Send one JSON object a line.") from None
    if not isinstance(found, dict):
        raise BadMessage("not a JSON object.")
    return found


def _identity(message: Message) -> Answer:
    return {"id": message["id"]} if "id" in message else {}


def text_of(message: Message, name: str) -> str:
    """A text that must be there. Raises: BadMessage."""
    found = message.get(name)
    if not isinstance(found, str):
        raise BadMessage(f"`{name}` must be a text.")
    return found


@dataclass(frozen=True, slots=True)
class Offered:
    """A tool as a message describes it."""

    name: str
    summary: str
    params: Mapping[str, Mapping[str, Json]]
    required: frozenset[str]
    effect: Effect
    producers: Mapping[str, Producer] = field(default_factory=dict)
    asks: tuple[str, ...] = ()


def tools_of(message: Message) -> tuple[Offered, ...]:
    """The tools of a message, `[{"name", "description", "parameters", "read_only"}, …]`. Raises: BadMessage."""
    found = message.get("tools")
    if not isinstance(found, list):
        raise BadMessage("`tools` must be a list.")
    return tuple(map(_tool, found))


def _tool(described: Json) -> Offered:
    """What is left out is empty, and a tool that is not said to be read-only writes."""
    if not isinstance(described, dict):
        raise BadMessage("a tool must be an object.")
    name = described.get("name")
    if not isinstance(name, str) or not name:
        raise BadMessage("a tool must have a `name`.")
    schema = described.get("parameters") or {}
    properties = schema.get("properties") or {} if isinstance(schema, dict) else None
    if not isinstance(properties, dict):
        raise BadMessage(f"the `parameters` of the tool {name[:80]!r} must be a JSON Schema of an object.")
    required = schema.get("required")
    return Offered(
        name=name,
        summary=str(described.get("description") or ""),
        params={key: value if isinstance(value, dict) else {} for key, value in properties.items()},
        required=frozenset(r for r in required if isinstance(r, str) and r in properties)
        if isinstance(required, list)
        else frozenset(),
        effect=Effect.READ if described.get("read_only") is True else Effect.WRITE,
    )
