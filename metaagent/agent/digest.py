"""From what tools found to a bounded answer; pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import orjson
from pydantic_core import to_json

from metaagent.agent.types import Citation
from providers.spec import Json, Result, ToolSpec

_CHARS_PER_TOKEN = 3
"""Below what any real text needs, so that an answer never exceeds its tokens."""
_CITATIONS = 10


def bounded(text: str, max_tokens: int, *, uri: str | None) -> str:
    """`text` within `max_tokens`, cut between lines, or words of a long first line, and saying so."""
    room = max_tokens * _CHARS_PER_TOKEN
    if len(text) <= room:
        return text
    rest = f"\n… cut here; the full result is at {uri}" if uri else "\n… cut here"
    room = max(0, room - len(rest))
    at = text.rfind("\n", 0, room + 1)
    if at < room // 2:
        at = max(text.rfind(" ", 0, room + 1), at)
    return text[: at if at > 0 else room].rstrip() + rest


def cite(tool: ToolSpec, result: Result) -> tuple[Citation, ...]:
    """The result's sources as citations, each page once."""
    seen: dict[tuple[str, str | None], Citation] = {}
    for source in result.sources:
        seen.setdefault((source.title, source.url), Citation(source.title, tool.name, source.url, source.ref))
    return tuple(seen.values())[:_CITATIONS]


def document(tool: ToolSpec, args: Json, result: Result) -> bytes:
    """The full result as a JSON document that can be read on its own."""
    body = {"tool": tool.name, "arguments": args, "text": result.text, "data": result.data}
    try:
        return orjson.dumps(body)
    except TypeError:  # an integer of more than 64 bits
        return to_json(body)


def abilities(title: str, about: str, tools: Sequence[ToolSpec], closest: Iterable[ToolSpec]) -> str:
    """What to say when no tool is surely meant: what is here, in one short paragraph, and the closest tools."""
    near = list(closest)
    examples = [tool.asks[0] for tool in (near or tools) if tool.asks and "{" not in tool.asks[0]][:2]
    lead = f"I am not sure what to look up in {title} for this, and no model is configured to work it out."
    can = f"I can read its {about}" if about else f"I can read {title}"
    such = f", for example: {' — '.join(f'“{example}”' for example in examples)}." if examples else "."
    named = "; ".join(f"{tool.name} ({tool.summary.rstrip('.')})" for tool in near)
    tail = (
        f' Closest tools: {named}. Ask in those words, or set options.mode="tool" with options.tool and options.args.'
    )
    return f"{lead} {can}{such}{tail if near else ''}"
