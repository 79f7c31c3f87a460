"""JSON Schemas that others wrote, made fit to be pinned, shown to a model and run here; pure.

What is kept never refuses arguments that the original takes: only keywords that narrow, whatever stands beside them,
are kept, and the provider itself has the last word. What could lead away, never end or cost too much refuses the whole.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from json import dumps
from typing import Final
from urllib.parse import unquote

from providers.spec import Json
from providers.tools import clean

MOST_BYTES: Final = 64 * 1024
_MOST_DEEP: Final = 24
_MOST_PLACES: Final = 4_000
_MOST_AT_ONCE: Final = 1_000
"""How many schemas may have to be looked at for one value, every reference followed."""
_MOST_STEPS: Final = 24
"""How many may stand behind one another for one value."""
_MOST_SAID: Final = 300
_TYPES: Final = frozenset({"string", "number", "integer", "boolean", "array", "object", "null"})


class NotSchema(ValueError):
    """It cannot be used; says why, in words that follow on the name of its tool."""


def fit(schema: Json) -> dict[str, Json]:
    """The schema of an arguments object as it can be used here. Raises: NotSchema."""
    if not isinstance(schema, dict):
        raise NotSchema("describes its arguments with something that is no JSON Schema")
    kind = schema.get("type", "object")
    if kind != "object" and not (isinstance(kind, list) and "object" in kind):
        raise NotSchema("takes arguments that are not an object")
    fitting = _Fitting()
    root = fitting.kept({**schema, "type": "object"}, 0)
    if not isinstance(root, dict) or len(dumps(root)) > MOST_BYTES:
        raise NotSchema("describes its arguments at too great length")
    _hold(root, fitting)
    return root


# --- what is kept ----------------------------------------------------------------------------------------------------


def _count(said: Json) -> bool:
    return _number(said) and said >= 0 and said == int(said)


def _number(said: Json) -> bool:
    return isinstance(said, (int, float)) and not isinstance(said, bool)


def _text(said: Json) -> bool:
    return isinstance(said, str)


def _texts(said: Json) -> bool:
    return isinstance(said, list) and all(map(_text, said))


def _type(said: Json) -> bool:
    return said in _TYPES if isinstance(said, str) else bool(said) and _texts(said) and _TYPES.issuperset(said)


def _anything(_: Json) -> bool:
    return True


_PLAIN: Final[Mapping[str, Callable[[Json], bool]]] = {
    "type": _type,
    "enum": lambda said: isinstance(said, list),
    "const": _anything,
    "default": _anything,
    "format": _text,
    "required": _texts,
    "minimum": _number,
    "maximum": _number,
    "exclusiveMinimum": _number,
    "exclusiveMaximum": _number,
    **dict.fromkeys(("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"), _count),
}
"""Keywords that are kept and hold no schema, and what each must be."""
_ONCE_FLAGS: Final = frozenset({"required", "exclusiveMinimum", "exclusiveMaximum"})
"""True or false in drafts 3 and 4; left out then."""
_ONE: Final = ("items", "additionalProperties")
_LISTS: Final = ("allOf", "anyOf", "prefixItems")
_MAPS: Final = ("properties", "$defs", "definitions")

_ATOM: Final = (
    r"(?:[\w ,:;@/=~#!%&'\"<>\-]|\\[dwsDWS.\-/+]|\[\^?(?:(?!--|&&|~~|\|\|)[^\[\]\\]|\\[dws.\-/+])+\])"
    r"(?:\{[0-9]{1,2}\})?"
)
_LINEAR: Final = re.compile(
    rf"\^(?:{_ATOM}){{0,40}}(?:{_ATOM}(?:[+*?]|\{{[0-9]{{1,3}},[0-9]{{0,3}}\}}))?(?:{_ATOM}){{0,40}}\$"
)
"""Patterns that take no more time than the text is long: anchored, without groups, at most one part of any length."""


@dataclass(slots=True)
class _Fitting:
    """One schema being gone through."""

    places: dict[int, dict[str, Json]] = field(default_factory=dict)
    """What stands where a schema may, by id."""
    references: set[str] = field(default_factory=set)

    def kept(self, schema: Json, deep: int) -> Json:
        """What is kept of a schema, and of all in it; where each stands, it stood before. Raises: NotSchema."""
        if isinstance(schema, bool):
            return schema
        if not isinstance(schema, dict):
            raise NotSchema("describes its arguments with something that is no JSON Schema")
        if deep > _MOST_DEEP or len(self.places) > _MOST_PLACES:
            raise NotSchema("describes its arguments with too many levels, or too many schemas")
        found: dict[str, Json] = {}
        for word, said in _today(schema).items():
            if fits := _PLAIN.get(word):
                if fits(said):
                    found[word] = said
                elif word not in _ONCE_FLAGS or not isinstance(said, bool):
                    raise NotSchema(f"describes its arguments with a “{word}” that JSON Schema does not have")
            elif (inside := self._inside(word, said, deep + 1)) is not None:
                found[word] = inside
        self.places[id(found)] = found
        return found

    def _inside(self, word: str, said: Json, deep: int) -> Json:
        """What is kept of a keyword that is text or holds schemas; None: nothing."""
        if word in _ONE:
            return self.kept(said, deep)
        if word in _LISTS:
            return [self.kept(each, deep) for each in _list(said)]
        if word in _MAPS:
            return {_name(name): self.kept(each, deep) for name, each in _map(said).items()}
        if word == "$ref":
            return self._reference(said)
        if word == "description" and isinstance(said, str):
            return clean(said, _MOST_SAID)
        return said if word == "pattern" and isinstance(said, str) and _runs(said) else None

    def _reference(self, said: Json) -> str:
        if not isinstance(said, str) or not (said == "#" or said.startswith("#/")):
            raise NotSchema("refers to a schema that is not its own")
        self.references.add(said)
        return said


def _today(schema: Mapping[str, Json]) -> Mapping[str, Json]:
    """The same in the words of 2020-12. Of alternatives that exclude one another it is kept that one must fit."""
    said = dict(schema)
    if isinstance(said.get("items"), list):
        said["prefixItems"] = said.pop("items")
        said |= {"items": said.pop("additionalItems")} if "additionalItems" in said else {}
    if "patternProperties" in said:
        said.pop("additionalProperties", None)
    if "oneOf" in said:
        either = _list(said.pop("oneOf"))
        if "anyOf" in said:
            said["allOf"] = [*_list(said.get("allOf", [])), {"anyOf": either}]
        else:
            said["anyOf"] = either
    return said


def _list(said: Json) -> list[Json]:
    if not isinstance(said, list):
        raise NotSchema("describes its arguments with something that is no JSON Schema")
    return said


def _map(said: Json) -> dict[str, Json]:
    if not isinstance(said, dict):
        raise NotSchema("describes its arguments with something that is no JSON Schema")
    return said


def _name(name: str) -> str:
    if not 0 < len(name) <= 100 or not name.isprintable():  # noqa: PLR2004 - what a person can read
        raise NotSchema("has an argument whose name cannot be shown")
    return name


def _runs(pattern: str) -> bool:
    """Whether it can be run on anything at no great cost."""
    if len(pattern) > 200 or not _LINEAR.fullmatch(pattern):  # noqa: PLR2004 - see `_LINEAR`
        return False
    try:
        re.compile(pattern)
    except re.error:
        return False
    return True


# --- what it would cost ----------------------------------------------------------------------------------------------


def _hold(root: dict[str, Json], fitting: _Fitting) -> None:
    """Every reference leads to a schema, and no value has to be held to too many. Raises: NotSchema."""
    targets = {}
    for pointer in fitting.references:
        target = at_pointer(root, pointer)
        if not isinstance(target, bool) and id(target) not in fitting.places:
            raise NotSchema("refers to a schema that it does not have")
        targets[pointer] = target
    known: dict[int, tuple[int, int]] = {}

    def cost(schema: Json, steps: int) -> tuple[int, int]:
        """How many schemas stand behind this one for the same value, and how many of them behind one another."""
        if isinstance(schema, bool):
            return 1, 1
        if id(schema) not in known:
            if steps > _MOST_STEPS:
                raise NotSchema("refers to schemas in a circle, or to one behind the other too often")
            here = [*schema.get("allOf", ()), *schema.get("anyOf", ())]
            if "$ref" in schema:
                here.append(targets[schema["$ref"]])
            costs = [cost(each, steps + 1) for each in here]
            found = 1 + sum(all_ for all_, _ in costs), 1 + max((chain for _, chain in costs), default=0)
            if found > (_MOST_AT_ONCE, 0) or found[1] > _MOST_STEPS:
                raise NotSchema("describes its arguments too intricately")
            known[id(schema)] = found
        return known[id(schema)]

    for place in fitting.places.values():
        cost(place, 0)


def at_pointer(document: Json, pointer: str) -> Json:
    """What stands at a local reference (RFC 6901, as a fragment), or None."""
    for part in pointer.split("/")[1:]:
        key = unquote(part).replace("~1", "/").replace("~0", "~")
        if isinstance(document, dict):
            document = document.get(key)
        elif isinstance(document, list) and key.isdecimal() and key.isascii() and int(key[:9]) < len(document):
            document = document[int(key[:9])]
        else:
            return None
    return document


# --- what a result looks like ----------------------------------------------------------------------------------------

_FIELD: Final = re.compile(r"[A-Za-z_$][\w$-]{0,39}", re.ASCII)
_FIELDS: Final = 12
_LEVELS: Final = 3
_LONGEST: Final = 300


def shape(schema: Json) -> str:
    """What a schema says of results, as `ToolSpec.gives` has it; empty where that is not simple."""
    for levels in range(_LEVELS, 0, -1):
        found = _shape(schema, schema, levels, 2 * _LEVELS)
        if len(found) <= _LONGEST:
            return found
    return ""


def _shape(schema: Json, root: Json, levels: int, steps: int) -> str:
    if not isinstance(schema, dict) or not levels or not steps:
        return ""
    if isinstance(pointer := schema.get("$ref"), str):
        return _shape(at_pointer(root, pointer), root, levels, steps - 1) if pointer.startswith("#") else ""
    kinds = schema.get("anyOf")
    if real := [
        each
        for each in (kinds if isinstance(kinds, list) else ())
        if isinstance(each, dict) and each.get("type") != "null"
    ]:
        return _shape(real[0], root, levels, steps - 1) if len(real) == 1 else ""
    if schema.get("type") == "array":
        inside = _shape(schema.get("items"), root, levels, steps - 1)
        return f"[{inside}]" if inside else ""
    fields = schema.get("properties")
    if not isinstance(fields, dict) or not all(map(_FIELD.fullmatch, fields)):
        return ""
    said = [
        f"{name}: {inside}" if (inside := _shape(each, root, levels - 1, steps)) else name
        for name, each in list(fields.items())[:_FIELDS]
    ]
    return f"{{{', '.join(said)}}}" if said else ""
