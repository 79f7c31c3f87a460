"""A plan: a small graph of tool calls whose arguments may come from earlier results; pure.

A model writes it once, before anything foreign was read; it may be kept and run again for the same question.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias

from providers.spec import Json

MOST_STEPS: Final = 8
MOST_EACH: Final = 5
"""A step whose reference finds several values runs once for each of the first so many."""

_ID = re.compile(r"[a-z][a-z0-9_]{0,15}")
_REF = re.compile(r"\$\.([a-z][a-z0-9_]{0,15})(?=[.\[]|$)")
_LONGEST_PATH = 200


class Finish(StrEnum):
    """How results become the answer."""

    SHOW = "show"
    """They answer the question as they are."""
    WRITE = "write"
    """A model has to put them together."""


@dataclass(frozen=True, slots=True)
class Ref:
    """A value that an earlier step finds."""

    path: str
    """JSONPath (RFC 9535) into an object that holds each step's data under its id: `$.a[0].shortId`."""

    @property
    def step(self) -> str:
        """The id of the step it needs."""
        found = _REF.match(self.path)
        return found[1] if found else ""


Arg: TypeAlias = "Json | Ref"


@dataclass(frozen=True, slots=True)
class Step:
    """One tool call."""

    id: str
    tool: str
    args: Mapping[str, Arg]
    """References stand at the top level only."""

    @property
    def needs(self) -> frozenset[str]:
        """The ids of the steps that must have run."""
        return frozenset(arg.step for arg in self.args.values() if isinstance(arg, Ref))


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps in an order in which each one's needs come before it."""

    steps: tuple[Step, ...]
    finish: Finish = Finish.SHOW

    def payload(self) -> Json:
        """As the model writes it, and as it is kept."""
        steps = [
            {
                "id": step.id,
                "tool": step.tool,
                "args": {name: arg.path if isinstance(arg, Ref) else arg for name, arg in step.args.items()},
            }
            for step in self.steps
        ]
        return {"steps": steps, "finish": self.finish.value}


class Unplanned(Exception):
    """What a model wrote is no plan; the sentence tells it why."""


def read_plan(said: Mapping[str, Json]) -> Plan:
    """A plan from what a model wrote. Raises: Unplanned."""
    steps = said.get("steps")
    if not isinstance(steps, list) or not 1 <= len(steps) <= MOST_STEPS:
        raise Unplanned(f"steps must be a list of 1 to {MOST_STEPS} steps.")
    known: list[Step] = []
    for number, step in enumerate(steps, start=1):
        known.append(_step(step, number, [each.id for each in known]))
    finish = said.get("finish", Finish.SHOW.value)
    if finish not in set(Finish):
        raise Unplanned("finish must be show or write.")
    return Plan(tuple(known), Finish(finish))


def _step(said: Json, number: int, before: Sequence[str]) -> Step:
    if not isinstance(said, Mapping):
        raise Unplanned(f"Step {number} must be an object with id, tool and args.")
    given, tool, args = said.get("id", f"s{number}"), said.get("tool"), said.get("args", {})
    if not isinstance(given, str) or not _ID.fullmatch(given) or given in before:
        raise Unplanned(f"The id of step {number} must be a short lower-case word that no other step has.")
    if not isinstance(tool, str) or not isinstance(args, Mapping):
        raise Unplanned(f"Step {given} must name a tool, and its args must be an object.")
    return Step(given, tool, {str(name): _arg(arg, given, before) for name, arg in args.items()})


def _arg(said: Json, step: str, before: Sequence[str]) -> Arg:
    """A string that begins with `$.` and a word is a reference; it must be to a step before this one."""
    if not isinstance(said, str) or not (found := _REF.match(said)):
        return said
    if found[1] not in before or len(said) > _LONGEST_PATH:
        raise Unplanned(f"Step {step} refers to {found[1]}, which is no step before it.")
    return Ref(said)
