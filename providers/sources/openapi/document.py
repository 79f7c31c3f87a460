"""Reading a document: JSON or YAML from bytes, bounded and without surprises, and the local references in it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, NoReturn, TypeAlias
from urllib.parse import unquote

import yaml

from providers.errors import ToolError
from providers.spec import Json

MOST_BYTES: Final = 32 * 1024 * 1024
MOST_YAML_BYTES: Final = 8 * 1024 * 1024
"""YAML takes twenty times as long as JSON to read."""
_MOST_DEPTH: Final = 200
_MOST_STEPS: Final = 32
"""References that lead to references."""


class Unreadable(ToolError):
    """A document that cannot be imported; the message says why, and what would help."""


class Left(Exception):
    """Something that one operation needs and that is not followed or understood. Its text is a reason for people."""


# --- from bytes ------------------------------------------------------------------------------------------------------


def loaded(content: bytes) -> dict[str, Json]:
    """The object that `content` holds. Keys are texts, no object has one twice, and nothing refers to anything else.

    Raises: Unreadable.
    """
    if len(content) > MOST_BYTES:
        raise Unreadable("The document is larger than 32 MB. Give one with fewer operations.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Unreadable("The document is not text in UTF-8.") from None
    found = _json(text) if text.lstrip()[:1] in ("{", "[") else _yaml(text)
    if not isinstance(found, dict):
        raise Unreadable("This is no OpenAPI document: it is not an object.")
    return found


def _json(text: str) -> Json:
    try:
        return json.loads(text, object_pairs_hook=_object, parse_constant=_no_number)
    except RecursionError:
        raise Unreadable("The document is nested too deeply.") from None
    except ValueError:
        raise Unreadable("The document begins as JSON does, and is none.") from None


def _object(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise Unreadable("The document names something twice in one object.")
    return made


def _no_number(_: str) -> NoReturn:
    raise ValueError


_INTEGER: Final = re.compile(r"[-+]?[0-9]{1,300}")
_DECIMAL: Final = re.compile(r"[-+]?(?:\.[0-9]{1,300}|[0-9]{1,300}(?:\.[0-9]{0,300})?)(?:[eE][-+]?[0-9]{1,3})?")
_WORDS: Final[Mapping[str, bool | None]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_Add: TypeAlias = Callable[[Json], None]


def _yaml(text: str) -> Json:
    """By the core schema of YAML 1.2, in which a date is a text and `no` is one too. Raises: Unreadable."""
    if len(text) > MOST_YAML_BYTES:
        raise Unreadable("The document is YAML of more than 8 MB. Give it as JSON.")
    documents: list[Json] = []
    adds: list[_Add] = [documents.append]
    try:
        for event in yaml.parse(text, Loader=yaml.CSafeLoader):
            match event:
                case yaml.ScalarEvent():
                    adds[-1](_scalar(event))
                case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                    held: Json = {} if isinstance(event, yaml.MappingStartEvent) else []
                    adds[-1](held)
                    adds.append(_Pairs(held) if isinstance(held, dict) else held.append)
                    if len(adds) > _MOST_DEPTH:
                        raise Unreadable("The document is nested too deeply.")
                case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                    adds.pop()
                case yaml.AliasEvent():
                    raise Unreadable("The document uses YAML aliases (*name), which are not followed. Write them out.")
    except yaml.YAMLError:
        raise Unreadable("The document is neither JSON nor YAML.") from None
    if len(documents) != 1:
        raise Unreadable("There is not one document in it.")
    return documents[0]


class _Pairs:
    """Takes keys and values in turn."""

    def __init__(self, held: dict[str, Json]) -> None:
        self._held = held
        self._key: str | None = None

    def __call__(self, value: Json) -> None:
        if self._key is not None:
            self._held[self._key], self._key = value, None
            return
        if isinstance(value, dict | list):
            raise Unreadable("The document has a key that is no text.")
        key = value if isinstance(value, str) else json.dumps(value)
        if key in self._held:
            raise Unreadable("The document names something twice in one object.")
        self._key = key


def _scalar(event: Any) -> Json:  # noqa: ANN401 - PyYAML's events have no types
    text = event.value
    if not event.implicit[0] or len(text) > _MOST_DEPTH:
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _DECIMAL.fullmatch(text) else text


# --- references ------------------------------------------------------------------------------------------------------


class Tree:
    """A document whose parts refer to one another."""

    def __init__(self, root: Mapping[str, Json]) -> None:
        self.root = root

    def at(self, reference: Json) -> Json:
        """What a reference of this document leads to (RFC 6901). Raises: Left for any other."""
        if not isinstance(reference, str) or not reference.startswith("#"):
            raise Left("It refers to another document, which is not fetched.")
        if reference != "#" and not reference.startswith("#/"):
            raise Left("It refers to an anchor, which is not looked for.")
        found: Json = self.root
        for step in reference.split("/")[1:]:
            key = unquote(step).replace("~1", "/").replace("~0", "~")
            if isinstance(found, dict) and key in found:
                found = found[key]
            elif isinstance(found, list) and re.fullmatch("[0-9]{1,6}", key) and int(key) < len(found):
                found = found[int(key)]
            else:
                raise Left("It refers to something that is not in the document.")
        return found

    def whole(self, node: Json) -> dict[str, Json]:
        """The object that `node` is or refers to; what stands beside the reference wins. Raises: Left."""
        beside: dict[str, Json] = {}
        for _ in range(_MOST_STEPS):
            if not isinstance(node, dict):
                raise Left("It refers to something that is no object.")
            if "$ref" not in node:
                return {**node, **beside}
            beside = {**{name: each for name, each in node.items() if name != "$ref"}, **beside}
            node = self.at(node["$ref"])
        raise Left("It refers to itself.")
