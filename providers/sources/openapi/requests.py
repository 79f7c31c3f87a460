"""Arguments as the request that an operation takes: styles of parameters, bodies of every kind; pure."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Mapping
from json import dumps
from typing import Final, TypeAlias
from urllib.parse import quote

from providers.errors import BadArguments
from providers.spec import Args, Json, Request

Pairs: TypeAlias = list[tuple[str, str]]
"""Names and values, percent-encoded."""

_RESERVED: Final = "/:?@!$'()*,;"
"""What `allowReserved` leaves as it is: all but what would begin another parameter or leave the query."""
_HEADER_VALUE: Final = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,4000}[\x21-\x7e])?")
_MOST_LEVELS: Final = 8


def written(call: Mapping[str, Json], args: Args) -> Request:
    """The request that `call` (of an entry) makes of `args`. Raises: BadArguments."""
    places: dict[str, str] = {}
    query: Pairs = []
    headers: dict[str, str] = {}
    for each in call.get("fixed", ()):
        if each["in"] == "query":
            query.append((_quoted(each["name"]), _quoted(each["value"])))
        else:
            headers[each["name"]] = each["value"]
    for param in call["params"]:
        value = args.get(param["arg"])
        name = param.get("name", param["arg"])
        if param["in"] == "path":
            places[name] = _in_path(param, name, value)
        elif value is not None and param["in"] == "query":
            query += _in_query(param, name, value)
        elif value is not None:
            headers[name] = _in_header(param, name, value)
    path = re.sub(r"\{([^{}/]*)\}", lambda place: places[place[1]], call["path"])
    content, media = _content(call["body"], args) if "body" in call else (None, "")
    if content is not None:
        headers["Content-Type"] = media
    return Request(
        call["method"],
        path,
        "&".join(f"{name}={value}" for name, value in query),
        headers,
        content,
        repeat=call["method"] == "GET",
    )


def _text(value: Json) -> str:
    return value if isinstance(value, str) else dumps(value)


def _quoted(value: Json, safe: str = "") -> str:
    return quote(_text(value), safe=safe, errors="replace")


def _flat(value: Mapping[str, Json]) -> list[Json]:
    return [each for pair in value.items() for each in pair]


# --- parameters ------------------------------------------------------------------------------------------------------


def _segment(name: str, value: Json) -> str:
    """A value as (a part of) one segment, as in `providers.tools.path`."""
    text = _text(value)
    if value is None or text in ("", ".", ".."):
        raise BadArguments(f"The {name} cannot be used in an address: give its exact name.")
    return _quoted(text)


def _in_path(param: Mapping[str, Json], name: str, value: Json) -> str:
    style, explode = param.get("style", "simple"), param.get("explode", False)
    if param.get("json") and value is not None:
        return _segment(name, dumps(value))
    if param.get("reserved") and isinstance(value, str):
        return "/".join(_segment(name, each) for each in value.strip("/").split("/"))
    pairs: list[str] | None = None
    if isinstance(value, list) and value:
        parts = [_segment(name, each) for each in value]
    elif isinstance(value, dict) and value:
        pairs = [f"{_segment(name, key)}={_segment(name, each)}" for key, each in value.items()]
        parts = pairs if explode else [_segment(name, each) for each in _flat(value)]
    else:
        parts = [_segment(name, value if not isinstance(value, list | dict) else None)]
    if style == "label":
        return "." + ("." if explode else ",").join(parts)
    if style == "matrix":
        key = _quoted(name)
        if explode and isinstance(value, list | dict):
            return "".join(f";{each}" if pairs else f";{key}={each}" for each in parts)
        return f";{key}={','.join(parts)}"
    return ",".join(parts)


def _in_query(param: Mapping[str, Json], name: str, value: Json) -> Pairs:
    style = param.get("style", "form")
    return pairs(
        name,
        value,
        style=style,
        explode=param.get("explode", style in ("form", "deepObject")),
        safe=_RESERVED if param.get("reserved") else "",
        as_json=bool(param.get("json")),
    )


_JOINTS: Final[Mapping[str, str]] = {"form": ",", "spaceDelimited": "%20", "pipeDelimited": "%7C"}


def pairs(name: str, value: Json, *, style: str, explode: bool, safe: str = "", as_json: bool = False) -> Pairs:
    """One parameter of a query or form, in a style of OpenAPI."""
    key = _quoted(name)
    if as_json:
        return [(key, _quoted(dumps(value)))]
    if style == "deepObject" and isinstance(value, dict | list):
        return [(f"{key}{inner}", _quoted(each, safe)) for inner, each in _deep(value, 0)]
    if isinstance(value, dict):
        if explode:
            return [(_quoted(inner), _quoted(each, safe)) for inner, each in value.items() if each is not None]
        value = _flat(value)
    if isinstance(value, list):
        parts = [_quoted(each, safe) for each in value if each is not None]
        if explode:
            return [(key, each) for each in parts]
        return [(key, _JOINTS.get(style, ",").join(parts))] if parts else []
    return [(key, _quoted(value, safe))]


def _deep(value: Json, level: int) -> Iterable[tuple[str, Json]]:
    """`[a][b]` and the value there; items are `[]`, or numbered where they hold something themselves."""
    if level > _MOST_LEVELS:
        raise BadArguments("This is nested too deeply.")
    nested = isinstance(value, list) and any(isinstance(each, dict | list) for each in value)
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    for name, each in inner:
        place = f"%5B{_quoted(name) if nested or isinstance(value, dict) else ''}%5D"
        if isinstance(each, dict | list):
            yield from ((f"{place}{deeper}", found) for deeper, found in _deep(each, level + 1))
        elif each is not None:
            yield place, each


def _in_header(param: Mapping[str, Json], name: str, value: Json) -> str:
    if param.get("json"):
        text = dumps(value)
    elif isinstance(value, dict):
        explode = param.get("explode")
        parts = [f"{key}={_text(each)}" for key, each in value.items()] if explode else map(_text, _flat(value))
        text = ",".join(parts)
    else:
        text = ",".join(map(_text, value)) if isinstance(value, list) else _text(value)
    if not _HEADER_VALUE.fullmatch(text):
        raise BadArguments(f"The {name} cannot be sent in a header: give plain text.")
    return text


# --- bodies ----------------------------------------------------------------------------------------------------------


def _content(body: Mapping[str, Json], args: Args) -> tuple[bytes | None, str]:
    """The body and its type; a body that has to be sent is sent empty, when nothing was given for it."""
    media: str = body["media"]
    given: Json
    if "arg" in body:
        given = args.get(body["arg"])
        missing = body["arg"] not in args
    else:
        given = {name: args[arg] for arg, name in body["args"].items() if arg in args}
        missing = not given
    if missing:
        if not body.get("required"):
            return None, media
        given = {} if "args" in body else given
    if "json" in media:
        return dumps(given).encode(), media
    if media.startswith("multipart/"):
        return _multipart(body, given if isinstance(given, dict) else {})
    if media.endswith("urlencoded"):
        return _form(body, given if isinstance(given, dict) else {}), media
    text = given if isinstance(given, str) else "" if given is None else dumps(given)
    return (text.encode(errors="replace"), media) if media.startswith("text/") else (_bytes(body["arg"], text), media)


def _form(body: Mapping[str, Json], given: Mapping[str, Json]) -> bytes:
    found: Pairs = []
    for name, value in given.items():
        if value is None:
            continue
        said = body.get("encoding", {}).get(name, {})
        style = said.get("style", "form")
        found += pairs(
            name,
            value,
            style=style,
            explode=said.get("explode", style in ("form", "deepObject")),
            # Without a style an object is JSON, as its default content type says.
            as_json="json" in said.get("contentType", "") or (isinstance(value, dict) and "style" not in said),
        )
    return "&".join(f"{name}={value}" for name, value in found).encode()


def _multipart(body: Mapping[str, Json], given: Mapping[str, Json]) -> tuple[bytes, str]:
    """RFC 7578."""
    parts: list[bytes] = []
    for name, value in given.items():
        said = body.get("encoding", {}).get(name, {})
        listed = isinstance(value, list) and "json" not in said.get("contentType", "")
        values = value if listed else [value]
        file = name in body.get("files", ())
        parts += [_part(name, each, file=file) for each in values if each is not None]
    boundary = hashlib.sha256(b"\0".join(parts)).hexdigest()  # what it marks off cannot hold it
    joint = f"--{boundary}\r\n".encode()
    content = b"".join(joint + each + b"\r\n" for each in parts) + f"--{boundary}--\r\n".encode()
    return content, f"multipart/form-data; boundary={boundary}"


def _part(name: str, value: Json, *, file: bool) -> bytes:
    plain = quote(name, safe=" !#$&'()*+,-./:;<=>?@[]^_`{|}~", errors="replace")
    head = f'Content-Disposition: form-data; name="{plain}"'
    if file:
        content = _bytes(name, value)
        return f'{head}; filename="{plain}"\r\nContent-Type: application/octet-stream\r\n\r\n'.encode() + content
    if isinstance(value, dict | list):
        return f"{head}\r\nContent-Type: application/json\r\n\r\n{dumps(value)}".encode()
    return f"{head}\r\n\r\n{_text(value)}".encode(errors="replace")


def _bytes(name: str, value: Json) -> bytes:
    try:
        return base64.b64decode(_text(value), validate=True)
    except (binascii.Error, ValueError):
        raise BadArguments(f"The {name} is not Base64: give the content of the file in Base64.") from None
