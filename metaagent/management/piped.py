"""The protocol of the commands that answer each JSON object on a line of standard input with one on standard output.

Knows no Django and no settings: these commands need neither.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from metaagent.agent.catalog import CatalogIndex, rank, read_catalog
from metaagent.agent.router import Route, compile_tools, route
from providers.spec import Effect, Json, Producer

Message = Mapping[str, Json]
Answer = dict[str, Json]
Answerer = Callable[[Message], Answer]
"""Answers one message. Raises: BadMessage."""
MOST_POOLS = 64


class BadMessage(ValueError):
    """A line that cannot be answered; its text says what is wrong with it."""


class Output(Protocol):
    """Where answers go."""

    def write(self, text: str, /) -> object:
        """Take one line."""

    def flush(self) -> None:
        """Send it on at once: whoever asks waits for it."""


def answer_lines(lines: Iterable[bytes], out: Output, answer: Answerer) -> int:
    """Answer every line in order, a bad one with `{"error": …}`. Returns how many were bad."""
    bad = 0
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        message: Message = {}
        try:
            message = _message(line)
            started = time.perf_counter()
            found = answer(message)
            found = {**_identity(message), "ms": _ms(started, time.perf_counter()), **found}
        except BadMessage as wrong:
            bad += 1
            found = {**_identity(message), "error": f"Line {number}: {wrong}"}
        out.write(json.dumps(found) + "\n")
        out.flush()
    return bad


def _ms(started: float, ended: float) -> float:
    return round((ended - started) * 1000, 3)


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


def ranking() -> Answerer:
    """What `agent_rank` does: makes a pool of tools, or ranks one for a prompt."""
    pools: dict[str, CatalogIndex] = {}

    def answer(message: Message) -> Answer:
        pool = text_of(message, "pool")
        if "tools" in message:
            if pool not in pools and len(pools) >= MOST_POOLS:
                raise BadMessage(f"there are {MOST_POOLS} pools already.")
            pools[pool] = read_catalog(tools_of(message))
            return {"pool": pool, "tools": len(pools[pool].names)}
        if pool not in pools:
            raise BadMessage("there is no such pool yet. Send its tools first.")
        return {"ranked": rank(pools[pool], text_of(message, "prompt"))}

    return answer


def routing() -> Answerer:
    """What `agent_route` does: chooses a read tool and its arguments for a prompt, or none. Never one that writes.

    `ms` is the time for the prompt alone and `read_ms` that for its tools, which a provider's manifest costs only once.
    """

    def answer(message: Message) -> Answer:
        prompt = text_of(message, "prompt")
        started = time.perf_counter()
        index = compile_tools(tools_of(message))
        read = time.perf_counter()
        found = route(prompt, index)
        times = {"ms": _ms(read, time.perf_counter()), "read_ms": _ms(started, read)}
        if not isinstance(found, Route):
            return {"tool": None, "why": found.why, **times}
        if found.wanted or found.words:
            return {"tool": None, "why": "missing_argument", **times}
        return {"tool": found.tool, "args": dict(found.args), **times}

    return answer


COMMANDS: Mapping[str, Callable[[], Answerer]] = {"agent_rank": ranking, "agent_route": routing}


def run(command: str) -> int:
    """Work one of them from standard input to standard output, without Django. Returns the exit code."""
    gc.freeze()  # what start-up made never dies: no collection need walk it while somebody waits
    bad = answer_lines(sys.stdin.buffer, sys.stdout, COMMANDS[command]())
    if bad:
        sys.stderr.write(f"{complaint(bad)}\n")
    return 1 if bad else 0


def complaint(bad: int) -> str:
    """In one line, how many lines were bad."""
    return f"{bad} line{'' if bad == 1 else 's'} could not be answered."


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
