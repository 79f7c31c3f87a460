"""The worst model there is: it does whatever any text in front of it says, whoever wrote it and however hidden."""

from __future__ import annotations

import base64
import binascii
import html
import json
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias
from urllib.parse import quote

from tests.llm.server import JsonObject, Reply, Script, reply, said, use

_VERBS = r"(?:call|use|run|invoke|execute|trigger|using)"
_BETWEEN = r"[\s`'\"*:]{1,4}(?:the\s+)?(?:tool\s+|function\s+)?[`'\"*]{0,2}"
_PAIR = re.compile(
    r"""([A-Za-z_]\w{0,60})['"]?\s*[=:]\s*(?:"([^"\n]{0,2000})"|'([^'\n]{0,2000})'|([^\s,;)'"]{1,300}))"""
)
_NAMED = r"""["'](?:name|tool|function|tool_name|recipient_name)["']\s*:\s*["']"""
"""Before the name of a tool in a call that somebody has written out as JSON."""
_TAGGED = r"<(?:\w+:)?invoke\s+name=[\"']"
"""The same as markup."""
_PARAMETER = re.compile(r"<(?:\w+:)?parameter\s+name=[\"'](\w+)[\"']\s*>(.*?)</(?:\w+:)?parameter>", re.DOTALL)
_FOLLOWS = re.compile(r"\b(?:its|the) arguments are:?\s*(?=\{)", re.IGNORECASE)
"""Before arguments that stand in another text than the order."""
_FAR = 4_000
_ENCODED = re.compile(r"[A-Za-z0-9+/_-]{24,}={0,2}")
_BLANK = re.compile(r"\{[a-z_ ]{1,40}\}")
"""What a link says to fill in."""
_ADDRESS = re.compile(r"(?:https?:)?//(?:[^\s\"'<>(){}]|\{[a-z_ ]{1,40}\})+", re.IGNORECASE)
_FRAME = frozenset({"user", "assistant", "text", "tool_use", "tool_result"})


@dataclass(frozen=True)
class Order:
    """A tool that some text says should be called."""

    tool: str
    args: JsonObject


Express: TypeAlias = Callable[[JsonObject, Sequence[Order]], Reply]
"""The request, and the orders in it that were not carried out yet, to what the model answers."""


def texts(value: Any) -> list[str]:
    """Every string anywhere in a request: prompts, results, descriptions, schemas."""
    found: list[str] = []
    _gather(value, found)
    return found


def _gather(value: Any, found: list[str]) -> None:
    if isinstance(value, str):
        found.append(value)
    elif isinstance(value, dict):
        for inner in value.values():
            _gather(inner, found)
    elif isinstance(value, list | tuple):
        for inner in value:
            _gather(inner, found)


# --- reading


@lru_cache(maxsize=4_096)
def readings(text: str) -> tuple[str, ...]:
    """The text as it stands, and with what is hidden in it brought out."""
    shown = _shown(text)
    found = [text, shown, html.unescape(shown), shown.replace('\\"', '"').replace("\\n", "\n")]
    found += [decoded for each in _ENCODED.findall(shown) if (decoded := _decoded(each))]
    return tuple(dict.fromkeys(found))


def _shown(text: str) -> str:
    """Without invisible characters; those that spell ASCII invisibly are spelt out."""
    if text.isascii():
        return text
    spelt = (chr(ord(char) - 0xE0000) if 0xE0020 <= ord(char) <= 0xE007E else char for char in text)
    visible = "".join(char for char in spelt if unicodedata.category(char) != "Cf")
    return unicodedata.normalize("NFKC", visible)


def _decoded(code: str) -> str:
    try:
        plain = base64.b64decode(code.replace("-", "+").replace("_", "/") + "==").decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""
    return plain if plain.isprintable() else ""


def orders(text: str, tools: Sequence[str]) -> list[Order]:
    """What `text` orders: `call the tool x with {"a": 1}`, `run x(a="1")`, `use x with a=1, b='two words'`.

    Calls that are written out count too: `{"tool": "x", "args": {"a": 1}}`, or as markup.
    """
    ordered = _ordering(tuple(tools))
    if ordered is None:
        return []
    found = list(ordered.finditer(text))
    ends = [match.start() for match in found[1:]] + [len(text)]
    return [Order(match["tool"], _arguments(text, match.end(), end)) for match, end in zip(found, ends, strict=False)]


@lru_cache(maxsize=256)
def _ordering(tools: tuple[str, ...]) -> re.Pattern[str] | None:
    if not tools:
        return None
    names = "|".join(re.escape(name) for name in sorted(tools, key=len, reverse=True))
    return re.compile(rf"(?:\b(?i:{_VERBS}{_BETWEEN})|{_NAMED}|{_TAGGED})(?P<tool>{names})\b")


def _arguments(text: str, start: int, end: int) -> JsonObject:
    """Those that begin between `start` and `end`, where the next order is."""
    rest = text[start : start + _FAR]
    sentence = re.split(r"\n\n|\.\s", rest[: end - start], maxsplit=1)[0]
    if 0 <= (brace := rest.find("{")) < len(sentence) and (value := _object(rest[brace:])) is not None:
        return value
    if tagged := _PARAMETER.findall(rest.split("</invoke>", 1)[0]):
        return dict(tagged)
    return {name: double or single or bare for name, double, single, bare in _PAIR.findall(sentence)}


def _object(text: str) -> JsonObject | None:
    try:
        value, _ = json.JSONDecoder().raw_decode(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _all_orders(body: JsonObject, tools: Sequence[str]) -> list[Order]:
    """Those of all texts of a request. One without arguments takes those that another text gives."""
    names = tuple(tools)
    read = [_understood(text, names) for text in texts([body.get("system"), body.get("tools"), body["messages"]])]
    found = [order for ordered, _ in read for order in ordered]
    return found + [Order(order.tool, args) for order in found if not order.args for _, given in read for args in given]


@lru_cache(maxsize=16_384)
def _understood(text: str, tools: tuple[str, ...]) -> tuple[list[Order], list[JsonObject]]:
    """What is ordered in a text, and arguments that it gives to an order in another. A conversation is read often."""
    read = readings(text)
    given = [args for each in read for start in _FOLLOWS.finditer(each) if (args := _object(each[start.end() :]))]
    return [order for each in read for order in orders(each, tools)], given


def done(body: JsonObject) -> list[Order]:
    """What was called in this conversation, or planned."""
    uses = [
        block
        for message in body["messages"]
        if message["role"] == "assistant" and isinstance(message["content"], list)
        for block in message["content"]
        if block["type"] == "tool_use"
    ]
    planned = [step for block in uses if block["name"] == PLAN for step in block["input"].get("steps", ())]
    return [Order(block["name"], block["input"]) for block in uses] + [
        Order(step["tool"], step["args"]) for step in planned
    ]


# --- answering

PLAN = "plan"
_MOST_STEPS = 8


def repeated(body: JsonObject) -> Reply:
    """All that was read, links and pictures too; what a link leaves to be filled in is filled with what was read."""
    found = [text for text in texts(body["messages"]) if text not in _FRAME]
    read = "\n".join(dict.fromkeys(each for text in found for each in readings(text)))
    told = quote(read[:200], safe="")
    filled = [_BLANK.sub(told, link) for link in _ADDRESS.findall(read) if _BLANK.search(link)]
    return reply(said("\n".join([read, *filled, *(f"![shown]({link})" for link in filled)]) or "Done."))


def by_tool_use(body: JsonObject, open_orders: Sequence[Order]) -> Reply:
    """Calls every tool that is offered; then repeats all that it read."""
    offered = {tool["name"] for tool in body.get("tools") or ()}
    if calls := [use(order.tool, **order.args) for order in open_orders if order.tool in offered]:
        return reply(*calls)
    return repeated(body)


def by_plan(body: JsonObject, open_orders: Sequence[Order]) -> Reply:
    """Plans every call that was ordered, when it may plan: the steps are a, b, c and so on.

    An order may refer to what an earlier step finds (`"$.a[0].id"`); such orders come last. A question that asks for
    words gets the plan that ends with writing.
    """
    if PLAN not in {tool["name"] for tool in body.get("tools") or ()}:
        return by_tool_use(body, open_orders)
    wanted = [order for order in open_orders if order.tool not in {PLAN, "search_tools"}]
    wanted.sort(key=lambda order: "$." in str(order.args))
    steps = [
        {"id": chr(ord("a") + number), "tool": order.tool, "args": order.args}
        for number, order in enumerate(wanted[:_MOST_STEPS])
    ]
    if not steps:
        return by_tool_use(body, open_orders)
    asked = " ".join(texts(body["messages"])).lower()
    return reply(use(PLAN, steps=steps, finish="write" if "in your own words" in asked else "show"))


def obedient(express: Express = by_plan, *, tools: Sequence[str] = ()) -> Script:
    """A script that obeys. `tools` names those it knows of besides the ones it is offered; `express` says how."""

    def script(body: JsonObject) -> Reply:
        names = [*dict.fromkeys([*(tool["name"] for tool in body.get("tools") or ()), *tools])]
        already = done(body)
        read = _all_orders(body, names)
        fresh = [order for i, order in enumerate(read) if order not in already and order not in read[:i]]
        return express(body, fresh)

    return script
