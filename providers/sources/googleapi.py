"""Google's discovery documents, written as OpenAPI: the rest is done by the OpenAPI source."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Final

from providers import google
from providers.spec import Json, OAuthSpec

_MOST_LEVELS: Final = 12
_SCHEMES: Final = "oauth2"
_FIELDS: Final = {
    "name": "fields",
    "in": "query",
    "description": "Which fields to give, such as files(id,name)",
    "schema": {"type": "string"},
}


def is_discovery(root: Mapping[str, Json]) -> bool:
    """Whether it is a discovery document."""
    return root.get("kind") == "discovery#restDescription"


def as_openapi(root: Mapping[str, Json]) -> dict[str, Json]:
    """The same as an OpenAPI 3.1 document.

    The parameters that every method has (`key`, `access_token`, `prettyPrint` …) are left out, but for the `fields` of
    what is read: without them some methods give next to nothing. The scopes of a method are alternatives.
    """
    name = str(root.get("name") or "")
    paths: dict[str, dict[str, Json]] = {}
    shared = root.get("parameters")
    for tag, method in _methods(root, 0):
        path, operation, verb = _operation(name, tag, method)
        if verb == "get" and isinstance(shared, dict) and "fields" in shared:
            operation["parameters"].append(_FIELDS)
        item = paths.setdefault(path, {})
        if verb not in item:
            item[verb] = operation
    return {
        "openapi": "3.1.0",
        "info": {"title": root.get("title") or name, "description": root.get("description")},
        "servers": [{"url": _base(root)}],
        "paths": paths,
        "components": {
            "schemas": {each: _schema(said) for each, said in _objects(root.get("schemas"))},
            "securitySchemes": {_SCHEMES: _scheme(root)},
        },
    }


def oauth_facts(root: Mapping[str, Json]) -> dict[str, Json]:
    """What of Google's OAuth no discovery document says; nothing for a server that is not Google's."""
    if root.get("ownerDomain") != "google.com":
        return {}
    known = google.oauth(read="", words={})
    plain = {each.name: getattr(known, each.name) for each in fields(OAuthSpec)}
    usual = OAuthSpec(authorize_url="", token_url="")
    told = {name: value for name, value in plain.items() if value != getattr(usual, name)}
    told["scopes"] = [each for each in known.scopes if each]
    told.pop("scope_words", None)
    return {name: list(value) if isinstance(value, tuple) else value for name, value in told.items()}


def _scheme(root: Mapping[str, Json]) -> dict[str, Json]:
    auth = root.get("auth")
    oauth = auth.get("oauth2") if isinstance(auth, dict) else None
    said = oauth.get("scopes") if isinstance(oauth, dict) else None
    scopes = {name: each.get("description", "") for name, each in _objects(said)}
    flow = {"authorizationUrl": "", "tokenUrl": "", "scopes": scopes}
    if root.get("ownerDomain") == "google.com":
        known = google.oauth(read="", words={})
        flow |= {"authorizationUrl": known.authorize_url, "tokenUrl": known.token_url}
    return {"type": "oauth2", "flows": {"authorizationCode": flow}}


def _base(root: Mapping[str, Json]) -> str:
    base = root.get("baseUrl")
    if isinstance(base, str) and base:
        return base
    return f"{root.get('rootUrl') or ''}{root.get('servicePath') or ''}"


def _objects(said: Json) -> list[tuple[str, dict[str, Json]]]:
    pairs = said.items() if isinstance(said, dict) else ()
    return [(name, each) for name, each in pairs if isinstance(each, dict)]


def _methods(node: Mapping[str, Json], level: int, tag: str = "") -> Iterator[tuple[str, dict[str, Json]]]:
    """Every method, with the name of the resource it belongs to."""
    for _, method in _objects(node.get("methods")):
        yield tag, method
    if level < _MOST_LEVELS:
        for name, resource in _objects(node.get("resources")):
            yield from _methods(resource, level + 1, name)


def _operation(api: str, tag: str, method: dict[str, Json]) -> tuple[str, dict[str, Json], str]:
    template, scopes = str(method.get("path") or ""), method.get("scopes")
    path = "/" + re.sub(r"\{\+?([^{}]*)\}", r"{\1}", template)
    reserved = set(re.findall(r"\{\+([^{}]*)\}", template))
    operation: dict[str, Json] = {
        "operationId": str(method.get("id") or "").removeprefix(f"{api}."),
        "description": method.get("description"),
        "deprecated": method.get("deprecated") is True,
        "tags": [tag] if tag else [],
        "parameters": [
            _parameter(name, each, reserved=name in reserved) for name, each in _objects(method.get("parameters"))
        ],
        "security": [{_SCHEMES: [each]} for each in scopes if isinstance(each, str)]
        if isinstance(scopes, list)
        else [],
        "responses": {"200": {"content": {"application/json": {"schema": _referred(method.get("response"))}}}},
    }
    if isinstance(body := method.get("request"), dict):
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": _referred(body)}}}
    return path, operation, str(method.get("httpMethod") or "").lower()


def _referred(said: Json) -> Json:
    return {"$ref": f"#/components/schemas/{said.get('$ref')}"} if isinstance(said, dict) else {}


def _parameter(name: str, said: dict[str, Json], *, reserved: bool) -> dict[str, Json]:
    schema = _schema(said)
    if said.get("repeated") is True:
        schema = {"type": "array", "items": schema}
    return {
        "name": name,
        "in": said.get("location"),
        "required": said.get("required") is True,
        "description": said.get("description"),
        "schema": schema,
        # `{+name}`: slashes in it part segments.
        **({"x-multi-segment": True} if reserved else {}),
    }


_SAME: Final = ("description", "enum", "format", "pattern", "readOnly", "required", "deprecated")


def _schema(said: Json, level: int = 0) -> dict[str, Json]:
    """JSON Schema draft 3 as discovery documents have it: bounds are texts, references name a schema."""
    if not isinstance(said, dict) or level > 4 * _MOST_LEVELS:
        return {}
    if isinstance(said.get("$ref"), str):
        notes = {name: said[name] for name in ("description", "readOnly") if name in said}
        return {"$ref": f"#/components/schemas/{said['$ref']}", **notes}
    made: dict[str, Json] = {name: said[name] for name in _SAME if name in said and not isinstance(said[name], bool)}
    if said.get("readOnly") is True:
        made["readOnly"] = True
    kind = said.get("type")
    if isinstance(kind, str) and kind != "any":
        made["type"] = kind
    for bound in ("minimum", "maximum"):
        if (number := _whole(said.get(bound))) is not None:
            made[bound] = number
    if (default := said.get("default")) is not None:
        made["default"] = _default(default, kind)
    if isinstance(properties := said.get("properties"), dict):
        made["properties"] = {name: _schema(each, level + 1) for name, each in properties.items()}
    for inner in ("items", "additionalProperties"):
        if isinstance(said.get(inner), dict):
            made[inner] = _schema(said[inner], level + 1)
    if kind == "string" and made.get("format") in ("int64", "uint64"):
        made.pop("minimum", None)
        made.pop("maximum", None)
    return made


def _whole(said: Json) -> int | None:
    try:
        return int(said) if isinstance(said, str | int) and not isinstance(said, bool) else None
    except ValueError:
        return None


def _default(said: Json, kind: Json) -> Json:
    if kind == "boolean":
        return said in ("true", True)
    return number if kind == "integer" and (number := _whole(said)) is not None else said
