"""The question set and what is true: each question's plan carried out against the provider itself, without a product.

What an answer must hold is taken from there, so it fits whatever world the sandbox has made up this hour.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import jsonpath

from providers.catalogue.sentry import TOOLS
from providers.spec import Api, Json, Result

ORG = "acme"
"""The only organization of the person who asks."""
MOST_EACH = 5
_TOOLS = {tool.name: tool for tool in TOOLS}
_VALUE = re.compile(r"<(\w+)>")
_VERSION = re.compile(r"\{([a-z-]+)@(\d)\}")
_REF = re.compile(r"\$\.(\w+)")


class Kind(StrEnum):
    """What a question needs."""

    FETCH = "fetch"
    ANALYSIS = "analysis"
    MULTI = "multi"


class Vacuous(Exception):
    """A question whose check would pass with any answer."""


@dataclass(frozen=True, slots=True)
class Call:
    """One tool call of a plan, carried out."""

    step: str
    tool: str
    args: Mapping[str, Json]
    result: Result
    turn: int
    """In which turn a model could have asked for it, were it asked turn by turn: 0 is the first."""


@dataclass(frozen=True, slots=True)
class Posed:
    """A question with its values filled in, and what is true about it."""

    prompt: str
    kind: Kind
    plan: Mapping[str, Json]
    calls: Sequence[Call]
    expected: frozenset[str]
    """What its answer must hold, each of them."""

    def right(self, *texts: str) -> bool:
        """Whether an answer, given as its text and its full results, holds what it must."""
        found = frozenset().union(*map(_scalars, map(_read, texts)))
        whole = "\n".join(found)
        return all(each in found or (not _is_number(each) and each in whole) for each in self.expected)


@dataclass(frozen=True, slots=True)
class Question:
    """One entry of questions.toml."""

    ask: str
    kind: Kind
    steps: Sequence[Mapping[str, Json]]
    finish: str = "show"
    values: Mapping[str, Json] = field(default_factory=dict)
    again: Mapping[str, Json] = field(default_factory=dict)
    found: Sequence[str] = ()
    holds: Sequence[str] = ()

    async def posed(self, api: Api, *, again: bool = False) -> Posed:
        """The question as it is asked the first time, or with other values, and what is true. Raises: Vacuous."""
        values = {}
        for name, given in (self.again if again and self.again else self.values).items():
            pair = given if isinstance(given, list) else [given, given]
            values[name] = [await _versions(api, each) if isinstance(each, str) else each for each in pair]
        steps = [
            {**step, "args": {name: _filled(arg, values) for name, arg in step["args"].items()}} for step in self.steps
        ]
        prompt = _VALUE.sub(lambda named: str(values[named[1]][0]), self.ask)
        calls = await carried_out(api, steps)
        expected = [*self.holds]
        for path in self.found:
            values_there = [each for each in jsonpath.findall(path, _root(calls)) if each is not None]
            if not values_there:
                raise Vacuous(f"{prompt!r}: nothing is at {path}")
            expected += map(_written, values_there)
        if not expected:
            raise Vacuous(f"{prompt!r}: nothing is expected")
        return Posed(prompt, self.kind, {"steps": steps, "finish": self.finish}, calls, frozenset(expected))


def questions() -> list[Question]:
    """All of them, in the order of the file."""
    with Path(__file__).with_suffix(".toml").open("rb") as file:
        return [Question(**{**entry, "kind": Kind(entry["kind"])}) for entry in tomllib.load(file)["question"]]


def _filled(arg: Json, values: Mapping[str, Sequence[Json]]) -> Json:
    if not isinstance(arg, str):
        return arg
    if whole := _VALUE.fullmatch(arg):
        return values[whole[1]][1]
    return _VALUE.sub(lambda named: str(values[named[1]][1]), arg)


async def _versions(api: Api, text: str) -> str:
    """`{search@1}` as the version before the newest of that project."""
    for project, place in _VERSION.findall(text):
        listed = await _TOOLS["list_releases"].invoke(api, {"org": ORG, "project": project})
        text = text.replace(f"{{{project}@{place}}}", listed.data[int(place)]["version"])
    return text


# --- carrying plans out ----------------------------------------------------------------------------------------------


async def carried_out(api: Api, steps: Sequence[Mapping[str, Json]]) -> list[Call]:
    """Every call of a plan, in order; the organization is known. Raises: what tools raise."""
    calls: list[Call] = []
    for step in steps:
        tool, needs = _TOOLS[step["tool"]], [_REF.match(arg) for arg in step["args"].values() if isinstance(arg, str)]
        named = {need[1] for need in needs if need}
        turn = max((call.turn + 1 for call in calls if call.step in named), default=0)
        for args in _each(step["args"], _root(calls)):
            whole = {**args, **({"org": ORG} if "org" in tool.params else {})}
            calls.append(Call(step["id"], tool.name, whole, await tool.invoke(api, whole), turn))
    return calls


def _each(args: Mapping[str, Json], root: Mapping[str, Json]) -> Iterator[Mapping[str, Json]]:
    """The arguments of each call: one, or one for each value that a reference finds."""
    refs = {name: arg for name, arg in args.items() if isinstance(arg, str) and _REF.match(arg)}
    if not refs:
        yield args
        return
    [(name, path)] = refs.items()
    for found in jsonpath.findall(path, root)[:MOST_EACH]:
        yield {**args, name: found}


def _root(calls: Sequence[Call]) -> dict[str, Json]:
    """What each step gave; a list of it where a step was called more than once."""
    gave: dict[str, list[Json]] = {}
    for call in calls:
        gave.setdefault(call.step, []).append(call.result.data)
    return {step: data[0] if len(data) == 1 else data for step, data in gave.items()}


# --- comparing -------------------------------------------------------------------------------------------------------


def _read(text: str) -> Json:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _scalars(value: Json) -> frozenset[str]:
    """Every value anywhere in a document, as text."""
    match value:
        case dict():
            return frozenset().union(map(str, value), *map(_scalars, value.values()))
        case list():
            return frozenset().union(*map(_scalars, value))
        case _:
            return frozenset([_written(value)])


def _written(value: Json) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _is_number(text: str) -> bool:
    return re.fullmatch(r"-?[0-9.]+(?:e-?[0-9]+)?", text) is not None
