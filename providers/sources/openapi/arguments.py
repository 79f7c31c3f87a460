"""The arguments of an operation: its parameters and the members of its body, side by side where they can be."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from providers.sources.openapi import access, schemas
from providers.sources.openapi.document import Left, Tree
from providers.sources.openapi.schemas import Taken
from providers.spec import Json

_MOST_ARGS: Final = 120
_MOST_FLAT: Final = 60
"""Members of a body that become arguments of their own."""
_NAME: Final = 64

_AUTHORIZATION: Final = re.compile(
    r"(?:x-)?(?:proxy-)?authorization|cookie|(?:x-)?api[_-]?key|(?:x-)?(?:access|auth|oauth|private)[_-]?token"
)
_UNSENT: Final = re.compile(
    "accept|content-type|content-length|content-encoding|transfer-encoding|host|connection|upgrade|te|trailer|expect|"
    "keep-alive|user-agent|accept-encoding|origin|referer"
)
"""Headers that OpenAPI says are not parameters, and those that the client or the connection owns."""
_HEADER: Final = re.compile(r"[A-Za-z0-9_-]{1,100}")
_STYLES: Final[Mapping[str, tuple[str, ...]]] = {
    "path": ("simple", "label", "matrix"),
    "query": ("form", "spaceDelimited", "pipeDelimited", "deepObject"),
    "header": ("simple",),
}

Body: TypeAlias = tuple[str, Mapping[str, Json], bool]
"""Its media type, what is said of it, and whether it has to be sent."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What holds for every operation of a document."""

    tree: Tree
    api_base: str
    document_base: str
    """`api_base` as the document has it: where an administrator gave another one, operations of it move there."""
    url: str
    any_scope: bool
    schemes: Mapping[str, Mapping[str, Json]]
    words: Mapping[str, str]
    sent_as: access.SentAs | None
    """How the credential is sent, where it is known."""

    @property
    def secrets(self) -> frozenset[tuple[Json, Json]]:
        """Places that the credential is sent in: no argument may be."""
        return frozenset(
            (each.get("in"), str(each.get("name")).lower())
            for each in self.schemes.values()
            if each.get("type") == "apiKey"
        )


def parameters(tree: Tree, *nodes: Mapping[str, Json]) -> list[dict[str, Json]]:
    """Those of a path and of its operation, as `nodes`: a later one replaces its namesake. Raises: Left."""
    found: dict[tuple[str, str], dict[str, Json]] = {}
    for node in nodes:
        said = node.get("parameters")
        for each in said if isinstance(said, list) else ():
            whole = tree.whole(each)
            name, where = whole.get("name"), whole.get("in")
            if isinstance(name, str) and isinstance(where, str) and name:
                found[name, where] = whole
    if len(found) > _MOST_ARGS:
        raise Left("It has too many parameters.")
    return list(found.values())


class Arguments:
    """The arguments of an operation: first its parameters, then the members of its body."""

    def __init__(self, setting: Setting) -> None:
        self.params: list[dict[str, Json]] = []
        """As `call` has them."""
        self.fixed: list[dict[str, Json]] = []
        self._setting = setting
        self._taken: list[Taken] = []
        self._required: list[str] = []
        self._names: set[str] = set()

    def add(self, parameter: Mapping[str, Json]) -> None:
        """Raises: Left for one that is needed and cannot be given."""
        name, where, needed = parameter["name"], parameter["in"], parameter.get("required") is True
        schema, media = self._schema(parameter)
        if where not in _STYLES or (where == "header" and not _HEADER.fullmatch(name)):
            if needed and not self._is_secret(name, where, parameter):
                raise Left("It needs a cookie, which is not sent." if where == "cookie" else "It needs odd parameters.")
            return
        if self._is_secret(name, where, parameter) or (where == "header" and _UNSENT.fullmatch(name.lower())):
            return
        whole = self._setting.tree.whole(schema) if isinstance(schema, dict) else {}
        if where != "path" and (value := _fixed(name, where, whole, needed=needed)) is not None:
            self.fixed.append({"in": where, "name": name, "value": value})
            return
        param: dict[str, Json] = {"arg": self._named(name, where), "in": where}
        if param["arg"] != name:
            param["name"] = name
        style = parameter.get("style")
        if style in _STYLES[where] and style != _STYLES[where][0]:
            param["style"] = style
        explode, usual = parameter.get("explode"), (style or _STYLES[where][0]) in ("form", "deepObject")
        if isinstance(explode, bool) and explode != usual:
            param["explode"] = explode
        if parameter.get("allowReserved") is True or (where == "path" and parameter.get("x-multi-segment") is True):
            param["reserved"] = True
        if media:
            param["json"] = True
        self.params.append(param)
        self._taken.append(Taken(schema, str(parameter.get("description") or "")))
        if needed or where == "path":
            self._required.append(param["arg"])

    def complete(self, path: str) -> None:
        """Take what the path has a place for and nothing describes; leave out what it has no place for."""
        places = re.findall(r"\{([^{}/]*)\}", path)
        kept = [
            (param, taken)
            for param, taken in zip(self.params, self._taken, strict=True)
            if param["in"] != "path" or param.get("name", param["arg"]) in places
        ]
        gone = {param["arg"] for param in self.params} - {param["arg"] for param, _ in kept}
        self.params, self._taken = [param for param, _ in kept], [taken for _, taken in kept]
        self._required = [each for each in self._required if each not in gone]
        known = {param.get("name", param["arg"]) for param in self.params if param["in"] == "path"}
        for name in dict.fromkeys(places):
            if name not in known:
                self.add({"name": name, "in": "path", "required": True, "schema": {"type": "string"}})

    def schema(self, body: Body | None) -> tuple[dict[str, Json], dict[str, Json]]:
        """The JSON Schema of all arguments, and how the body is made of them. Raises: Left."""
        call: dict[str, Json] = {}

        def finish(made: list[dict[str, Json]]) -> dict[str, Json]:
            call.clear()
            properties = {param["arg"]: each for param, each in zip(self.params, made, strict=False)}
            whole: dict[str, Json] = {"type": "object", "properties": properties}
            required = list(self._required)
            if body is not None:
                call.update(self._body(body, made[-1], properties, required, whole))
            whole["required"] = sorted(set(required) & properties.keys())
            whole["additionalProperties"] = False
            return whole

        taken = [*self._taken, *([Taken(body[1].get("schema"))] if body else [])]
        return schemas.converted(self._setting.tree, taken, finish), call

    def _body(
        self,
        body: Body,
        schema: dict[str, Json],
        properties: dict[str, Json],
        required: list[str],
        whole: dict[str, Json],
    ) -> dict[str, Json]:
        media, said, needed = body
        call: dict[str, Json] = {"media": media, **({"required": True} if needed else {})}
        members = schema.get("properties", {})
        form = "json" not in media and (media.startswith("multipart/") or media.endswith("urlencoded"))
        if form and isinstance(encoding := said.get("encoding"), dict):
            call["encoding"] = {
                name: {key: each[key] for key in ("style", "explode", "contentType") if key in each}
                for name, each in encoding.items()
                if isinstance(each, dict) and name in members
            }
        if media.startswith("multipart/"):
            files = _files(self._setting.tree, said.get("schema"), members)
            call["files"] = files
            for name in files:
                members[name] = {"type": "string", "contentEncoding": "base64", "description": "A file, in Base64."}
        for name in schema.get("required", ()) if members else ():
            members.setdefault(name, {})  # needed, and not described
        args = {_safe(name): name for name in members}
        flat = _flat(schema) and len(args) == len(members) and not args.keys() & self._names
        if not flat and not (form or "json" in media):
            encoded = not media.startswith("text/")
            schema = {"type": "string", "description": "The content, in Base64." if encoded else "The text."}
        if flat:
            properties.update({arg: members[name] for arg, name in args.items()})
            back = {name: arg for arg, name in args.items()}
            # A body that has needed members is one that is needed, whatever is said of it.
            required += [back[each] for each in schema.get("required", ())]
            for rule in ("anyOf", "dependentRequired"):
                if rule in schema:
                    whole[rule] = schema[rule]
            return {**call, "args": args}
        if not schema and needed:
            schema = {"description": "The body, as JSON."}
        arg = self._named("body", "body")
        properties[arg] = schema
        if needed:
            required.append(arg)
        return {**call, "arg": arg}

    def _named(self, name: str, where: str) -> str:
        """A name that models can write, unlike all others."""
        plain = _safe(name)
        found = plain if plain not in self._names else f"{plain[:50]}_in_{where}"
        number = 2
        while found in self._names:
            found, number = f"{plain[:50]}_in_{where}_{number}", number + 1
        self._names.add(found)
        return found

    def _schema(self, parameter: Mapping[str, Json]) -> tuple[Json, bool]:
        """Its schema, and whether the value is sent as JSON text."""
        content = parameter.get("content")
        if isinstance(content, dict) and content:
            media, said = next(iter(content.items()))
            return (said.get("schema") if isinstance(said, dict) else {}), "json" in media
        return parameter.get("schema", {}), False

    def _is_secret(self, name: str, where: str, parameter: Mapping[str, Json]) -> bool:
        """Whether it carries authorization, which the client adds itself."""
        low = name.lower()
        if (where, low) in self._setting.secrets or where == "cookie":
            return True
        if where in ("header", "query") and _AUTHORIZATION.fullmatch(low):
            return True
        said = str(parameter.get("description") or "")[:300].lower()
        return (
            low == "token" and where in ("header", "query") and re.search(r"authenticat|bearer|oauth", said) is not None
        )


def _fixed(name: str, where: str, schema: Mapping[str, Json], *, needed: bool) -> str | None:
    """The one value a parameter can have, so that nobody needs to give it: a version."""
    only = schema.get("enum")
    versioned = where == "header" and "version" in name.lower()
    value = schema.get("const", only[0] if isinstance(only, list) and len(only) == 1 else None)
    if value is None and versioned:
        value = schema.get("default")
    fits = isinstance(value, str) and re.fullmatch(r"[\x21-\x7e]{1,200}", value)
    return str(value) if fits and (needed or versioned) else None


def _safe(name: str) -> str:
    return re.sub(r"_{2,}", "_", re.sub(r"[^A-Za-z0-9_.-]+", "_", name)).strip("_.-")[:_NAME] or "value"


_FLAT: Final = frozenset({"type", "properties", "required", "description", "default", "additionalProperties", "anyOf"})


def _flat(schema: Mapping[str, Json]) -> bool:
    """Whether the members of such a body can stand among the parameters."""
    members, kind = schema.get("properties"), schema.get("type", "object")
    if not members or len(members) > _MOST_FLAT or not schema.keys() <= _FLAT:
        return False
    if kind != "object" and "object" not in kind:
        return False
    if isinstance(schema.get("additionalProperties"), dict):
        return False
    ways = schema.get("anyOf", [])
    same = all(_safe(name) == name for name in members)
    return all(each.keys() <= {"required", "type"} and each.get("type", "object") == "object" for each in ways) and (
        same or not ways
    )


# --- bodies ---------------------------------------------------------------------------------------------------------


def body_of(tree: Tree, node: Mapping[str, Json], method: str) -> Body | None:
    """The media type to send, what is said of it, and whether it has to be sent. Raises: Left."""
    said = node.get("requestBody")
    if said is None:
        return None
    whole = tree.whole(said)
    content, needed = whole.get("content"), whole.get("required") is True
    if not isinstance(content, dict) or not content:
        return None
    if method == "get":
        if needed:
            raise Left("It reads with a body, which is not sent.")
        return None
    known = [
        (_preference(media), media, each if isinstance(each, dict) else {})
        for media, each in content.items()
        if re.fullmatch(r"[\w.+*-]+/[\w.+*-]+(?:\s*;[\x20-\x7e]*)?", media, re.ASCII) and _preference(media) >= 0
    ]
    if not known:
        if needed:
            raise Left("Its body is of a kind that is not written here.")
        return None
    _, media, each = min(known, key=lambda one: one[0])
    return ("application/octet-stream" if "*" in media else media), each, needed


def _preference(media: str) -> int:
    """The lower, the better; below zero: not at all."""
    plain = media.partition(";")[0].strip().lower()
    if plain == "application/json":
        return 0
    if re.fullmatch(r"application/(?:[\w.-]+\+)?json", plain):
        return 1
    order = (
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "text/plain",
        "application/octet-stream",
        "*/*",
    )
    return 2 + order.index(plain) if plain in order else 9 if plain.startswith(("text/", "image/")) else -1


def _files(tree: Tree, schema: Json, members: Mapping[str, Json]) -> list[str]:
    """Members whose content is bytes."""
    whole = tree.whole(schema) if isinstance(schema, dict) else {}
    said = whole.get("properties")
    found = []
    for name in members:
        each = said.get(name) if isinstance(said, dict) else None
        inner = tree.whole(each) if isinstance(each, dict) else {}
        if inner.get("format") == "binary" or "contentMediaType" in inner:
            found.append(name)
    return found
