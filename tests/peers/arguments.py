"""Arguments for a tool, made from nothing but the JSON Schema of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

Json: TypeAlias = Any

_MOST_LEVELS: Final = 6
_TEXTS: Final[Mapping[str, str]] = {
    "date-time": "2026-11-20T10:00:00Z",
    "date": "2026-11-20",
    "time": "10:00:00Z",
    "uuid": "6f1d6f6e-8f3c-4c83-9a55-1d4b0c0c2d5e",
    "email": "ada@example.com",
    "uri": "https://example.com/a",
    "url": "https://example.com/a",
    "uri-reference": "/a",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "byte": "aGVsbG8=",
    "timestamp": "2026-11-20T10:00:00Z",
    "repo.nwo": "acme/pumps",
    "ssh-key": "ssh-ed25519 AAAA",
}


def arguments(schema: Json, *, every: bool) -> dict[str, Json]:
    """Those that are needed, or `every` one, down to a few levels."""
    return dict(_Maker(schema, every=every).object(schema, 0))


class _Maker:
    def __init__(self, root: Json, *, every: bool) -> None:
        self._root = root
        self._every = every

    def value(self, schema: Json, level: int) -> Json:
        """A value that the schema allows."""
        for _ in range(20):
            if not isinstance(schema, dict) or "$ref" not in schema:
                break
            schema = self._root["$defs"][schema["$ref"].rpartition("/")[2]]
        if not isinstance(schema, dict):
            return "text"
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return next((each for each in schema["enum"] if each is not None), None)
        if "examples" in schema:
            return schema["examples"][0]
        if "default" in schema and _plain(schema["default"], schema.get("type")):
            return schema["default"]
        ways = schema.get("anyOf", ()) if "properties" not in schema else ()
        # In an address a number is a text as well, and would be two of the ways at once.
        for each in sorted(ways, key=lambda way: way.get("type") != "string"):
            if each != {"type": "null"}:
                return self.value({**{k: v for k, v in schema.items() if k not in ("anyOf", "allOf")}, **each}, level)
        kind = schema.get("type")
        kind = next((each for each in kind if each != "null"), "null") if isinstance(kind, list) else kind
        if kind == "object" or (kind is None and ("properties" in schema or "allOf" in schema)):
            return self.object(schema, level)
        return self._scalar(schema, kind, level)

    def _scalar(self, schema: Json, kind: Json, level: int) -> Json:
        match kind:
            case "array":
                least = schema.get("minItems", 1)
                deep = level >= _MOST_LEVELS and not schema.get("minItems")
                inner = schema.get("items", {})
                count = (
                    0 if deep else max(1, least) if "maxItems" in schema or schema.get("uniqueItems") else max(2, least)
                )
                return [self.value(inner, level + 1) for _ in range(count)]  # a form tells a list by its second item
            case "integer" | "number":
                return _number(schema)
            case "boolean":
                return True
            case "null":
                return None
            case _:
                return _text(schema)

    def object(self, schema: Json, level: int) -> dict[str, Json]:
        """An object that the schema allows."""
        made: dict[str, Json] = {}
        for part in (schema, *schema.get("allOf", ()), *schema.get("anyOf", ())[:1]):
            inner = part
            if isinstance(part, dict) and "$ref" in part:
                inner = self._root["$defs"][part["$ref"].rpartition("/")[2]]
            if not isinstance(inner, dict):
                continue
            if inner is not schema and ("allOf" in inner or "anyOf" in inner):
                made = {**self.object(inner, level + 1), **made} if level < _MOST_LEVELS else made
            properties, needed = inner.get("properties", {}), list(inner.get("required", []))
            needed += [each for each in properties if each not in needed][: inner.get("minProperties", 0) - len(needed)]
            known = {**schema.get("properties", {}), **properties}
            names = [*(properties if self._every and level < _MOST_LEVELS else ()), *needed]
            for name in dict.fromkeys(names):
                if name not in made:
                    made[name] = self.value(known.get(name, {"type": "string"}), level + 1)
        return made


def _plain(value: Json, kind: Json) -> bool:
    kinds: dict[str, Any] = {"string": str, "integer": int, "number": (int, float), "boolean": bool}
    return isinstance(value, kinds.get(kind, ()) if isinstance(kind, str) else ())


def _number(schema: Json) -> Json:
    low, high = schema.get("minimum"), schema.get("maximum")
    if "exclusiveMinimum" in schema:
        low = schema["exclusiveMinimum"] + 1
    found = low if low is not None else min(1, high) if high is not None else 1
    step = schema.get("multipleOf")
    return -(-found // step) * step if step else found


def _text(schema: Json) -> str:
    found = _matching(schema["pattern"]) if "pattern" in schema else _TEXTS.get(schema.get("format", ""), "abc")
    if schema.get("contentEncoding"):
        found = "aGVsbG8="
    least, most = schema.get("minLength", 0), schema.get("maxLength")
    found = found.ljust(least, found[-1:] or "a")
    return found[:most] if most is not None else found


def _matching(pattern: str) -> str:
    """A text that a plain pattern matches: the least repetitions of each of its parts."""
    found = ""
    part = r"(\\.|\[(?:\\.|[^\]\\])+\]|[^\\\[\]{}*+?^$])(\{\d+(?:,\d*)?\}|[*+?])?"
    for atom, times in re.findall(part, pattern.strip("^$")):
        one = next(chr(n) for n in (*range(97, 123), *range(48, 58), *range(33, 127)) if re.fullmatch(atom, chr(n)))
        count = int(re.findall(r"\d+", times)[0]) if "{" in times else 0 if times in ("*", "?") else 1
        found += one * count
    return found
