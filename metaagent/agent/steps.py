"""Running a plan: steps at the same time where they can, each through the toolbox as if it were called alone."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from jsonpath import JSONPathEnvironment, JSONPathError

from metaagent.agent.digest import Found
from metaagent.agent.failures import AskInvalid, Failure
from metaagent.agent.gate import Author
from metaagent.agent.plan import MOST_EACH, Plan, Ref, Step
from metaagent.agent.rows import Missed, Picked, pick_row
from metaagent.agent.toolbox import Toolbox
from providers.spec import Effect, Json, ToolSpec

_AT_ONCE: Final = 6
_PATHS: Final = JSONPathEnvironment(strict=True)
_PATHS.function_extensions.clear()  # a pattern from a model is a pattern from anybody


@dataclass(slots=True)
class Ran:
    """What became of a step."""

    step: Step
    found: list[Found] = field(default_factory=list)
    """One for each value of its reference; none when there was nothing to look up."""
    failure: Failure | None = None
    missed: str = ""
    """Which rows it could mean, in words that hold the provider's: they are no part of the failure's."""

    @property
    def data(self) -> Json:
        """What later steps refer to: the rows of all its calls together, or the one object."""
        parts = [each.result.data for each in self.found]
        if len(parts) == 1:
            return parts[0]
        return [row for part in parts for row in (part if isinstance(part, list) else [part])]


async def run(toolbox: Toolbox, plan: Plan, author: Author, *, words: str = "") -> list[Ran]:
    """Every step, in the plan's order; a step whose need failed is left out. Raises: what is no `Failure`.

    `words` may name the rows that producers pick from. What changes something runs last.
    """
    ran = {step.id: Ran(step) for step in plan.steps}
    running: dict[str, asyncio.Task[None]] = {}
    slots = asyncio.Semaphore(_AT_ONCE)

    async def work(step: Step, before: Sequence[asyncio.Task[None]]) -> None:
        if before:
            await asyncio.wait(before)
        if any(ran[need].failure for need in step.needs):
            return
        async with slots:
            try:
                await _step(toolbox, ran, ran[step.id], author, words)
            except Failure as failure:
                ran[step.id].failure = failure

    try:
        async with asyncio.TaskGroup() as group:
            for step in plan.steps:
                tool = toolbox.admission.provider.by_name.get(step.tool)
                reads = tool is None or tool.effect is Effect.READ
                before = [running[need] for need in step.needs] if reads else list(running.values())
                running[step.id] = group.create_task(work(step, before))
    except* Exception as errors:  # noqa: BLE001 - a group of one: whoever called knows what it raises
        raise errors.exceptions[0] from None
    return list(ran.values())


async def _step(toolbox: Toolbox, ran: Mapping[str, Ran], mine: Ran, author: Author, words: str) -> None:
    step = mine.step
    tool = toolbox.admission.provider.by_name.get(step.tool)
    if tool is None:
        raise AskInvalid(f"There is no tool {step.tool}.")
    for args in _filled(tool, step, ran):
        given = await completed(toolbox, tool, args, words, author)
        if isinstance(given, Missed):
            mine.missed = given.sentence
            raise AskInvalid(f"It is not clear which one {tool.name} is to be called for: name it.")
        mine.found.append(Found(tool, given, await toolbox.call(tool, given, author)))


def _filled(tool: ToolSpec, step: Step, ran: Mapping[str, Ran]) -> list[dict[str, Json]]:
    """The arguments of each call: one, or one for each value that a reference finds. Raises: AskInvalid."""
    filled: list[dict[str, Json]] = [{}]
    root = {need: ran[need].data for need in step.needs}
    for name, arg in step.args.items():
        if not isinstance(arg, Ref):
            filled = [{**args, name: arg} for args in filled]
            continue
        values = [_typed(worth, tool.params.get(name, {})) for worth in _looked_up(arg, root)]
        if not values and not root[arg.step]:
            return []  # it found no rows: there is nothing to look up
        if not values:
            raise AskInvalid(f"{name}: {arg.path} finds nothing in what {arg.step} gave.")
        if tool.params.get(name, {}).get("type") == "array":
            filled = [{**args, name: values} for args in filled]
        else:
            filled = [{**args, name: worth} for args in filled for worth in values][:MOST_EACH]
    return filled


def _looked_up(ref: Ref, root: Mapping[str, Json]) -> list[Json]:
    """Distinct values, in order. Raises: AskInvalid."""
    if ".." in ref.path or ref.path.count("?") > 1:  # what a path costs must not grow faster than the data
        raise AskInvalid(f"{ref.path} is too wide a path: name each field, with one filter at most.")
    try:
        values = _PATHS.findall(ref.path, root)
    except (JSONPathError, RecursionError):
        raise AskInvalid(f"{ref.path} is no JSONPath.") from None
    return [worth for i, worth in enumerate(values) if worth is not None and worth not in values[:i]]


def _typed(worth: Json, schema: Mapping[str, Json]) -> Json:
    """Ids are numbers to some tools of a provider and texts to others."""
    kind = schema.get("type")
    if kind == "string" and type(worth) in {int, float}:
        return str(worth)
    if kind == "integer" and isinstance(worth, str) and worth.isascii() and worth.isdecimal() and len(worth) < 20:  # noqa: PLR2004 - a 64-bit number
        return int(worth)
    return worth


async def completed(
    toolbox: Toolbox,
    tool: ToolSpec,
    args: Mapping[str, Json],
    words: str,
    author: Author = Author.PROMPT,
    *,
    finding: frozenset[str] = frozenset(),
) -> dict[str, Json] | Missed:
    """The arguments and those required ones that other tools' rows give: the organization, the project `words` name.

    `finding` are the tools this is already done for. Raises: Failure.
    """
    whole = dict(args)
    for name in tool.producers:
        if name in whole or name not in tool.required:
            continue
        picked = await produced(toolbox, tool, name, whole, words, author, finding=finding)
        if isinstance(picked, Missed):
            return picked
        if picked.value is not None:
            whole[name] = picked.value
    return whole


async def produced(
    toolbox: Toolbox,
    tool: ToolSpec,
    name: str,
    args: Mapping[str, Json],
    words: str,
    author: Author = Author.PROMPT,
    *,
    finding: frozenset[str] = frozenset(),
) -> Picked | Missed:
    """The value of one parameter, from the rows of its producer. Raises: Failure."""
    producer, needed = tool.producers[name], name in tool.required
    if producer.tool in finding:
        return Missed(f"{tool.name} needs {name}: please name it.")  # two tools that need each other
    source = toolbox.admission.provider.by_name[producer.tool]
    known: Mapping[str, Json] = {key: worth for key, worth in args.items() if key in source.params}
    found = await completed(toolbox, source, known, words, author, finding=finding | {tool.name})
    if isinstance(found, Missed):
        return found
    return pick_row((await toolbox.call(source, found, author)).data, producer, words, needed=needed)
