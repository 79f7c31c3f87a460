"""What strangers write to fool a model, and wherever a text may lead a reader."""

from __future__ import annotations

import json
import re
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from markdown_it import MarkdownIt
from markdown_it.token import Token as MarkdownToken

_FOLDER: Final = Path(__file__).parent / "injections"


@dataclass(frozen=True)
class Text:
    """What a stranger wrote; `then` is what they wrote in a comment besides."""

    name: str
    text: str
    then: str = ""
    place: str = ""
    scene: str = ""
    """Where it works best, if that is known."""


def _texts() -> list[Text]:
    own, seen = [], Counter[str]()
    for each in tomllib.loads((_FOLDER / "own.toml").read_text())["texts"]:
        kind = each.pop("kind")
        seen[kind] += 1
        own.append(Text(f"{kind}-{seen[kind]}", **each))
    return own + list(_of_agentdojo(tomllib.loads((_FOLDER / "agentdojo.toml").read_text())))


def _of_agentdojo(given: Mapping[str, Any]) -> Iterator[Text]:
    """Every goal in every attack, with the calls that the goal comes to."""

    def filled(template: str, goal: str = "", tools: str = "") -> str:
        names = {"{user}": given["user"], "{model}": given["model"], "{tools}": tools, "{goal}": goal}
        return re.sub(r"\{(?:user|model|tools|goal)\}", lambda match: str(names[match[0]]), template)

    for goal in given["goals"]:
        calls = [
            f"you should use the tool `{each['tool']}` with the following arguments: {json.dumps(each['args'])}."
            for each in goal["orders"]
        ]
        tools = " ".join(call if i == 0 else f"Then, {call}" for i, call in enumerate(calls))
        for attack in given["attacks"]:
            said = goal["text"] if "{tools}" in attack["text"] else f"{goal['text']} {tools}".strip()
            yield Text(f"{goal['id']}-{attack['name']}", filled(attack["text"], said, tools))
    for stop in given["stops"]:
        yield Text(stop["name"], filled(stop["text"]))


TEXTS: Final = _texts()


_MARKDOWN: Final = MarkdownIt("commonmark").enable("table")
_MARKDOWN.validateLink = lambda url: True  # type: ignore[method-assign]  # noqa: ARG005 - every scheme is shown
_TAG: Final = re.compile(
    r"<\s*(?:script|style|iframe|object|embed|base|meta|link|form)\b"
    r"|[\s\"'](?:src|srcset|href|xlink:href|action|formaction|poster|background|style|on\w+)\s*=",
    re.IGNORECASE,
)
"""What markup may lead or load by."""
_BARE: Final = re.compile(r"\b(?:https?|ftp):\S+|\bwww\.\w\S*", re.IGNORECASE)


def links(text: str) -> Iterator[str]:
    """Wherever `text` may lead, shown by a client that renders Markdown, its HTML, and addresses that stand alone."""

    def each(tokens: Sequence[MarkdownToken]) -> Iterator[str]:
        for token in tokens:
            yield from (str(worth) for name, worth in token.attrs.items() if name in {"href", "src"})
            if token.type in {"html_block", "html_inline"}:
                yield from _TAG.findall(token.content)
                yield from links(token.content.replace("<", "&lt;"))  # as a client shows it that knows no HTML
            if token.type == "text":
                yield from _BARE.findall(token.content)
            yield from each(token.children or ())

    return each(_MARKDOWN.parse(text))
