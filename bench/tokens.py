"""Tokens of what a model is sent and of what it puts out, counted alike for all that is compared: o200k over JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache

import quicktok

from providers.spec import Json


def sent(body: Mapping[str, Json]) -> int:
    """All of a request that the model reads: system prompt, tools, messages. Marks for the server's cache are not."""
    tools = [
        _of_tool(tool["name"], tool["description"], _dumped(tool["input_schema"])) for tool in body.get("tools", ())
    ]
    return sum(tools) + _count(_dumped(_text(body.get("system")))) + _count(_dumped(body["messages"]))


def put_out(blocks: Sequence[Mapping[str, Json]]) -> int:
    """An answer: words and uses of tools."""
    return _count(_dumped([{name: worth for name, worth in block.items() if name != "id"} for block in blocks]))


def _text(system: Json) -> str:
    return system if isinstance(system, str) else "\n".join(block["text"] for block in system or ())


@lru_cache(maxsize=4_096)
def _of_tool(name: str, description: str, schema: str) -> int:
    return _count(_dumped({"name": name, "description": description})) + _count(schema)


def _dumped(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


@lru_cache(maxsize=1)
def _encoding() -> quicktok.Encoding:
    return quicktok.get_encoding("o200k_base")


def _count(text: str) -> int:
    return len(_encoding().encode(text))
