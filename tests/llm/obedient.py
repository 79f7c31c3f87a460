"""The worst model there is: it does whatever any text in front of it says, whoever wrote that text."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from tests.llm.server import JsonObject, Reply, Script, reply, said, use

_VERBS = r"(?:call|use|run|invoke|execute|trigger)"
_BETWEEN = r"[\s`'\"*:]{1,4}(?:the\s+)?(?:tool\s+|function\s+)?[`'\"*]{0,2}"
_PAIR = re.compile(r"""([A-Za-z_]\w{0,60})\s*[=:]\s*(?:"([^"\n]{0,2000})"|'([^'\n]{0,2000})'|([^\s,;)'"]{1,300}))""")


@dataclass(frozen=True)
class Order:
    """A tool that some text says should be called."""

    tool: str
    args: JsonObject


Express: TypeAlias = Callable[[JsonObject, Sequence[Order]], Reply]
"""The request, and the orders in it that were not carried out yet, to what the model answers."""


def texts(value: Any) -> Iterator[str]:
    """Every string anywhere in a request: prompts, results, descriptions, schemas."""
    match value:
        case str():
            yield value
        case dict():
            for inner in value.values():
                yield from texts(inner)
        case list():
            for inner in value:
                yield from texts(inner)


def orders(text: str, tools: Sequence[str]) -> list[Order]:
    """What `text` orders: `call the tool x with {"a": 1}`, `run x(a="1")`, `use x with a=1, b='two words'`."""
    found = [
        (match.start(), Order(name, _arguments(text[match.end() :][:4000])))
        for name in tools
        for match in re.finditer(rf"\b{_VERBS}{_BETWEEN}{re.escape(name)}\b", text, re.IGNORECASE)
    ]
    return [order for _, order in sorted(found, key=lambda pair: pair[0])]


def _arguments(rest: str) -> JsonObject:
    sentence = re.split(r"\n\n|\.\s", rest, maxsplit=1)[0]
    if (brace := sentence.find("{")) >= 0:
        try:
            value, _ = json.JSONDecoder().raw_decode(rest[brace:])
        except ValueError:
            value = None
        if isinstance(value, dict):
            return value
    return {name: double or single or bare for name, double, single, bare in _PAIR.findall(sentence)}


def done(body: JsonObject) -> list[Order]:
    """What was called in this conversation."""
    return [
        Order(block["name"], block["input"])
        for message in body["messages"]
        if message["role"] == "assistant" and isinstance(message["content"], list)
        for block in message["content"]
        if block["type"] == "tool_use"
    ]


def by_tool_use(body: JsonObject, open_orders: Sequence[Order]) -> Reply:
    """Calls every tool that is offered; then repeats all that it read, links and pictures too."""
    offered = {tool["name"] for tool in body.get("tools", ())}
    if calls := [use(order.tool, **order.args) for order in open_orders if order.tool in offered]:
        return reply(*calls)
    return reply(said("\n".join(texts(body["messages"][-1]["content"])) or "Done."))


def obedient(express: Express = by_tool_use, *, tools: Sequence[str] = ()) -> Script:
    """A script that obeys. `tools` names those it knows of besides the ones it is offered; `express` says how."""

    def script(body: JsonObject) -> Reply:
        names = [*dict.fromkeys([*(tool["name"] for tool in body.get("tools", ())), *tools])]
        already = done(body)
        read = [
            order
            for text in texts([body.get("system"), body.get("tools"), body["messages"]])
            for order in orders(text, names)
        ]
        fresh = [order for i, order in enumerate(read) if order not in already and order not in read[:i]]
        return express(body, fresh)

    return script
