"""Schemas of a document as JSON Schema 2020-12: of each operation only its own part, bounded, and safe to use.

A document comes from an untrusted party, and its schemas are evaluated here: a keyword is kept only with a value that
it may have, a pattern only when matching it takes no longer than reading it, and no schema leads back to itself
without a step into the value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

import orjson

from providers.sources.openapi.document import Left, Tree
from providers.spec import Json
from providers.tools import clean

MOST_BYTES: Final = 24 * 1024
"""What the schema of one operation's arguments may hold before its deep parts become plain objects."""
_MOST_NODES: Final = 2_000
_MOST_ENUM: Final = 300
_MOST_NAMES: Final = 500

_TYPES: Final = frozenset({"string", "integer", "number", "boolean", "object", "array", "null"})
_NOTES: Final = frozenset({"description", "title", "default", "deprecated", "nullable", "example", "examples"})
"""Keywords that say something about a value and rule nothing out, or only that it may be null."""
_DROPPED: Final = frozenset({"title", "example", "examples"})


class _TooBigError(Exception):
    """The schema does not fit in this manner."""


@dataclass(frozen=True, slots=True)
class _Manner:
    """How much of a schema is told."""

    depth: int
    """Steps into the value; what is deeper is a plain object or list."""
    inline: int
    """Steps into the value up to which a reference is replaced by what it refers to."""
    words: int
    """Characters of a description."""


_MANNERS: Final = (
    _Manner(24, 2, 80),
    _Manner(6, 2, 60),
    _Manner(4, 4, 60),
    _Manner(3, 3, 40),
    _Manner(2, 2, 40),
    _Manner(1, 1, 0),
)


@dataclass(frozen=True, slots=True)
class Taken:
    """One place that a value is taken for: a parameter, or a body."""

    schema: Json
    words: str = ""
    """What is said of it beside its schema."""


def converted(
    tree: Tree, places: Iterable[Taken], finish: Callable[[list[dict[str, Json]]], dict[str, Json]]
) -> dict[str, Json]:
    """What `finish` makes of the schemas of `places`, with the definitions that they refer to.

    In the most telling manner in which it fits; the same document always gives the same. Raises: Left.
    """
    taken = list(places)
    for manner in _MANNERS:
        part = _Part(tree, manner)
        try:
            made = finish([part.place(each) for each in taken])
            if defs := part.definitions():
                made["$defs"] = defs
        except _TooBigError:
            continue
        try:
            size = len(orjson.dumps(made))
        except TypeError:  # half a character, or a number that is none
            raise Left("Its arguments hold text that is not Unicode.") from None
        if size <= (MOST_BYTES if manner.words else 2 * MOST_BYTES):
            return made
    raise Left("Its arguments are too many to describe.")


@dataclass(slots=True)
class _Part:
    """The part of a document's schemas that one operation needs."""

    tree: Tree
    manner: _Manner
    nodes: int = 0
    names: dict[str, str] = field(default_factory=dict)
    """Definitions by reference."""
    waiting: list[tuple[str, int]] = field(default_factory=list)

    def place(self, taken: Taken) -> dict[str, Json]:
        """The schema of an argument."""
        made = self._value(taken.schema, 0, frozenset())
        if said := self._said(taken.words):
            made["description"] = said
        return made

    def definitions(self) -> dict[str, Json]:
        """What the places refer to, and what that refers to."""
        made = {}
        for reference, depth in self.waiting:  # it grows while they are made
            made[self.names[reference]] = self._rules(
                self.tree.at(reference), depth, frozenset({reference}), frozenset({reference})
            )
        return made

    def _value(self, schema: Json, depth: int, above: frozenset[str]) -> dict[str, Json]:
        """The schema of another value than the one before: a property, an item."""
        reference = schema.get("$ref") if isinstance(schema, dict) else None
        if isinstance(reference, str) and (depth >= self.manner.inline or reference in above):
            if depth >= self.manner.depth:
                return self._plain(self.tree.whole(schema))
            return {**self._notes(schema, depth), "$ref": f"#/$defs/{self._name(reference, depth)}"}
        return self._rules(schema, depth, above, frozenset())

    def _rules(self, schema: Json, depth: int, above: frozenset[str], same: frozenset[str]) -> dict[str, Json]:
        """What `schema` rules for a value. `above`: the references passed on the way to it; `same`: those of them
        that spoke of this very value, which cannot lead back here.
        """
        self.nodes += 1
        if self.nodes > _MOST_NODES:
            raise _TooBigError
        if not isinstance(schema, dict):
            return {"not": {}} if schema is False else {}
        if depth > self.manner.depth:
            return self._plain(schema)
        if "$ref" in schema:
            return self._referred(schema, depth, above, same)
        made = self._plain(schema)
        made.update(self._notes(schema, depth))
        made.update({name: schema[name] for name, fits in _KEPT.items() if name in schema and fits(schema[name])})
        self._untold(schema, made)
        self._inside(schema, made, depth, above)
        made = self._combined(schema, made, depth, above, same)
        return _with_null(made) if schema.get("nullable") is True else made

    def _untold(self, schema: dict[str, Json], made: dict[str, Json]) -> None:
        """Say what is not checked here: choices that are too many, patterns that are too slow."""
        if made.get("type") in ("number", "integer"):
            _bounded(schema, made)
        listed, pattern = schema.get("enum"), schema.get("pattern")
        if isinstance(listed, list) and listed and "enum" not in made and all(map(_scalar, listed[:3])):
            made["examples"] = listed[:3]
        if isinstance(pattern, str) and "pattern" not in made:
            if _BASE64 in pattern:
                made["contentEncoding"] = "base64"
            elif said := self._said(pattern):
                made["description"] = f"{made.get('description', '')} (as {said})".lstrip()

    def _combined(
        self, schema: dict[str, Json], made: dict[str, Json], depth: int, above: frozenset[str], same: frozenset[str]
    ) -> dict[str, Json]:
        """With `allOf` and the alternatives; of these any may hold: real values fit several, whatever is written."""
        for name, kept in (("allOf", "allOf"), ("anyOf", "anyOf"), ("oneOf", "anyOf")):
            members = schema.get(name)
            if not isinstance(members, list) or not members:
                continue
            parts = [self._rules(each, depth, above, same) for each in members]
            if name == "allOf":
                made = _joined([made, *parts])
            elif kept in made:
                made = _joined([made, {"allOf": [{kept: parts}]}])
            else:
                made[kept] = parts
        return made

    def _referred(
        self, schema: dict[str, Json], depth: int, above: frozenset[str], same: frozenset[str]
    ) -> dict[str, Json]:
        reference = schema["$ref"]
        target = self.tree.at(reference)
        if reference in same or len(above) > 4 * _MANNERS[0].depth:
            return {}
        if reference in above:
            made: dict[str, Json] = {"$ref": f"#/$defs/{self._name(reference, depth)}"}
        else:
            made = self._rules(target, depth, above | {reference}, same | {reference})
        beside = {name: each for name, each in schema.items() if name != "$ref"}
        if beside.keys() <= _NOTES:
            made = {**made, **self._notes(beside, depth)}
            return _with_null(made) if beside.get("nullable") is True else made
        return _joined([self._rules(beside, depth, above, same), made])

    def _inside(self, schema: dict[str, Json], made: dict[str, Json], depth: int, above: frozenset[str]) -> None:
        """What `schema` rules for the parts of the value."""
        if depth >= self.manner.depth:
            return
        unwritten: set[str] = set()
        if isinstance(properties := schema.get("properties"), dict):
            kept = {}
            for name, each in list(properties.items())[:_MOST_NAMES]:
                if self._written(each):
                    kept[name] = self._value(each, depth + 1, above)
                else:
                    unwritten.add(name)
            made["properties"] = kept
        if isinstance(required := schema.get("required"), list):
            names = [each for each in required if isinstance(each, str) and each not in unwritten]
            if names:
                made["required"] = list(dict.fromkeys(names))[:_MOST_NAMES]
        others = schema.get("additionalProperties")
        if isinstance(others, bool):
            made["additionalProperties"] = others
        elif isinstance(others, dict):
            made["additionalProperties"] = self._value(others, depth + 1, above)
        if isinstance(items := schema.get("items"), dict):
            made["items"] = self._value(items, depth + 1, above)

    def _written(self, schema: Json) -> bool:
        """Whether a property is for the client to write."""
        whole = self.tree.whole(schema) if isinstance(schema, dict) and "$ref" in schema else schema
        return not (isinstance(whole, dict) and whole.get("readOnly") is True)

    def _plain(self, schema: dict[str, Json]) -> dict[str, Json]:
        """Its type alone."""
        kind = schema.get("type")
        if isinstance(kind, list):
            kinds = [each for each in dict.fromkeys(map(str, kind)) if each in _TYPES]
            return {"type": kinds if len(kinds) > 1 else kinds[0]} if kinds else {}
        if kind == "file":
            return {"type": "string"}
        if isinstance(kind, str) and kind in _TYPES:
            return {"type": kind}
        guessed = "object" if "properties" in schema else "array" if "items" in schema else None
        return {"type": guessed} if guessed and kind is None else {}

    def _notes(self, schema: dict[str, Json], depth: int) -> dict[str, Json]:
        made: dict[str, Json] = {}
        if said := self._said(schema.get("description"), 1 if depth < self.manner.inline else 2):
            made["description"] = said
        default = schema.get("default")
        if isinstance(default, bool | int | float) or (isinstance(default, str) and len(default) <= self.manner.words):
            made["default"] = default
        return made

    def _said(self, words: Json, share: int = 1) -> str:
        most = self.manner.words // share
        if not most or not isinstance(words, str):
            return ""
        line = " ".join(words[: 4 * most].split())
        sentence = re.match(r"(.{8,}?[a-z0-9)'\"`])(?<!e\.g)(?<!i\.e)\.(?= |$)", line)
        return clean(sentence[1] if sentence else line, most)

    def _name(self, reference: str, depth: int) -> str:
        """What a definition is called, which is made when the places are done."""
        if (known := self.names.get(reference)) is not None:
            return known
        self.tree.at(reference)
        plain = re.sub(r"[^A-Za-z0-9_]+", "_", reference.rpartition("/")[2]).strip("_")[:48] or "part"
        taken, name, number = set(self.names.values()), plain, 2
        while name in taken:
            name, number = f"{plain}_{number}", number + 1
        self.names[reference] = name
        self.waiting.append((reference, min(depth, self.manner.depth)))
        return name


# --- keywords --------------------------------------------------------------------------------------------------------


def _count(value: Json) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 53


def _number(value: Json) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300  # noqa: PLR2004


def _choices(value: Json) -> bool:
    return isinstance(value, list) and 0 < len(value) <= _MOST_ENUM and all(map(_scalar, value))


def _scalar(value: Json) -> bool:
    return value is None or isinstance(value, str | bool) or _number(value)


_ATOM: Final = r"\\[dDwWsS.\-/+*?^$()\[\]{}|]|\[\^?(?:\\?[^\[\]\\])+\]|[^\\\[\](){}.*+?|^$]"
_TIMES: Final = r"\{[0-9]{1,4}(?:,[0-9]{0,4})?\}|[*+?]"
_ROW: Final = re.compile(rf"\^?(?:(?:{_ATOM})(?:{_TIMES})?)*\$?")
_STEP: Final = re.compile(rf"({_ATOM})({_TIMES})?")
_BASE64: Final = "[A-Za-z0-9+/]{4})*"
"""What patterns that mean Base64 have in them."""


def _matched_fast(pattern: Json) -> bool:
    """Whether matching it takes no longer than reading: a plain row of characters and classes, in which whatever may
    go on is followed by what it cannot be, and which then has to begin where the text does.
    """
    if not isinstance(pattern, str) or len(pattern) > 100 or not _ROW.fullmatch(pattern):  # noqa: PLR2004
        return False
    try:
        re.compile(pattern)
        steps = _STEP.findall(pattern.removeprefix("^").removesuffix("$"))
        open_ended = [place for place, (_, times) in enumerate(steps) if times and not re.fullmatch(r"\{\d+\}", times)]
        return all(_parted(steps, place) for place in open_ended) and (not open_ended or pattern.startswith("^"))
    except (re.error, OverflowError, RecursionError):
        return False


def _parted(steps: list[tuple[str, str]], place: int) -> bool:
    """Whether what follows is one character that the step at `place` cannot be; at the end nothing has to."""
    if place + 1 == len(steps):
        return True
    after, times = steps[place + 1]
    char = after.removeprefix("\\")
    literal = len(char) == 1 and after not in (r"\d", r"\D", r"\w", r"\W", r"\s", r"\S")
    return literal and not times and re.fullmatch(steps[place][0], char) is None


_KEPT: Final[Mapping[str, Callable[[Json], bool]]] = {
    "enum": _choices,
    "const": _scalar,
    "pattern": _matched_fast,
    "format": lambda value: isinstance(value, str) and re.fullmatch(r"[a-z0-9-]{1,30}", value) is not None,
    "minLength": _count,
    "maxLength": _count,
    "minItems": _count,
    "maxItems": _count,
    "minProperties": _count,
    "maxProperties": _count,
    "uniqueItems": lambda value: value is True,
    "contentEncoding": lambda value: value in ("base64", "base64url"),
}


def _bounded(schema: dict[str, Json], made: dict[str, Json]) -> None:
    """The bounds of a number; in 3.0 `exclusiveMinimum` is a yes or no beside `minimum`."""
    for bound, beyond in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        value, edge = schema.get(bound), schema.get(beyond)
        if edge is True and _number(value):
            made[beyond] = value
        else:
            made.update({name: each for name, each in ((bound, value), (beyond, edge)) if _number(each)})
    if _count(step := schema.get("multipleOf")) and step:
        made["multipleOf"] = step


def _with_null(made: dict[str, Json]) -> dict[str, Json]:
    """The same, or null."""
    kind = made.get("type")
    if kind is None or not made.keys().isdisjoint({"$ref", "allOf", "anyOf", "const"}):
        notes: dict[str, Json] = {name: made.pop(name) for name in ("description", "default") if name in made}
        return {"anyOf": [made, {"type": "null"}], **notes} if made else notes
    made["type"] = list(dict.fromkeys([*([kind] if isinstance(kind, str) else kind), "null"]))
    if "enum" in made and None not in made["enum"]:
        made["enum"] = [*made["enum"], None]
    return made


def _joined(parts: list[dict[str, Json]]) -> dict[str, Json]:
    """One schema that rules what all of `parts` do; one object where none of them contradicts another."""
    parts = [each for each in parts if each]
    made: dict[str, Json] = {}
    beside: list[dict[str, Json]] = []
    for part in parts:
        if _agree(made, part):
            _absorb(made, part)
        elif part.keys() == {"allOf"}:
            beside += part["allOf"]
        else:
            beside.append(part)
    if beside:
        made["allOf"] = [*made.get("allOf", []), *beside]
    return made


def _agree(made: dict[str, Json], part: dict[str, Json]) -> bool:
    if part.get("additionalProperties", made.get("additionalProperties", True)) is not True:
        return not made  # it speaks of the properties of its own schema alone
    return all(
        name in ("description", "default", "required")
        or name not in made
        or made[name] == value
        or (
            name == "properties"
            and all(_ruled(made[name].get(each, rule)) == _ruled(rule) for each, rule in value.items())
        )
        for name, value in part.items()
    )


def _ruled(schema: Mapping[str, Json]) -> dict[str, Json]:
    """Without what is only said."""
    return {name: each for name, each in schema.items() if name not in ("description", "default")}


def _absorb(made: dict[str, Json], part: dict[str, Json]) -> None:
    for name, value in part.items():
        if name == "properties":
            made[name] = {
                **made.get(name, {}),
                **{each: rule for each, rule in value.items() if each not in made.get(name, {})},
            }
        elif name == "required":
            made[name] = list(dict.fromkeys([*made.get(name, []), *value]))
        else:
            made.setdefault(name, value)


# --- what an operation gives -----------------------------------------------------------------------------------------

_TELLING: Final = (
    *("id", "key", "number", "name", "title", "slug", "login", "summary", "subject", "label", "state", "status"),
    *("type", "email", "html_url", "web_url", "permalink", "created_at", "updated_at", "date"),
)
_UNTOLD: Final = re.compile(r".*_(?:url|uri)|url|node_id|gravatar_id|etag|_links|links|kind|self|expand")
_MOST_GIVEN: Final = 100
_MOST_LEVELS: Final = 4


def shape(tree: Tree, schema: Json) -> str:
    """A schema in shape words, `[{id, title, project.slug}]`; empty when it tells nothing."""
    try:
        return _shape(tree, schema)
    except Left:
        return ""


def _shape(tree: Tree, schema: Json) -> str:
    whole = _object(tree, schema)
    if (items := whole.get("items")) is not None:
        return f"[{_fields(tree, _object(tree, items)) or 'value'}]"
    return _fields(tree, whole)


def _object(tree: Tree, schema: Json) -> dict[str, Json]:
    """With what `allOf` adds to its properties; of alternatives the first."""
    whole = dict(tree.whole(schema)) if isinstance(schema, dict) else {}
    for _ in range(_MOST_LEVELS):
        alternatives = whole.get("oneOf") or whole.get("anyOf")
        if "properties" in whole or "items" in whole or not isinstance(alternatives, list) or not alternatives:
            break
        whole = tree.whole(alternatives[0])
    parts = whole.get("allOf")
    if isinstance(parts, list):
        inner = [tree.whole(each) for each in parts[:20]]
        held = [each.get("properties") for each in (*inner, whole)]
        joined = {name: value for each in held if isinstance(each, dict) for name, value in each.items()}
        whole = {**{name: value for each in inner for name, value in each.items()}, **whole, "properties": joined}
    return whole


def _fields(tree: Tree, whole: Mapping[str, Json]) -> str:
    properties = whole.get("properties")
    if not isinstance(properties, dict):
        return ""
    order = {name: place for place, name in enumerate(_TELLING)}
    names: list[str] = []
    for name in sorted(list(properties)[:_MOST_NAMES], key=lambda each: order.get(each, len(order))):
        if not re.fullmatch(r"[A-Za-z_][\w-]{0,40}", name, re.ASCII) or (name not in order and _UNTOLD.fullmatch(name)):
            continue
        inner = _object(tree, properties[name]).get("properties") if name not in order else None
        if isinstance(inner, dict):
            name = next((f"{name}.{each}" for each in _TELLING if each in inner), "")  # noqa: PLW2901
        if name and sum(map(len, names)) + 2 * len(names) + len(name) + 8 <= _MOST_GIVEN:
            names.append(name)
    return f"{{{', '.join(names)}}}" if names else ""


def wrapped(tree: Tree, schema: Json, member_of: Callable[[Mapping[str, Json]], str | None]) -> Json:
    """The schema of what is left of an answer when `member_of` has named the member that matters."""
    try:
        whole = _object(tree, schema)
        properties = whole.get("properties")
        if not isinstance(properties, dict):
            return schema
        sample = {name: _sample(_object(tree, each)) for name, each in properties.items()}
    except Left:
        return schema
    name = member_of(sample)
    return schema if name is None else properties[name]


def _sample(schema: Mapping[str, Json]) -> Json:
    kind = schema.get("type")
    kind = next(iter(kind), None) if isinstance(kind, list) else kind
    if kind == "array" or "items" in schema:
        return []
    return {} if kind == "object" or "properties" in schema else "value"
