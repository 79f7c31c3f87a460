"""Reading requests strictly: bounded bodies, form fields that come once, and who sent a form."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import Request

BODY_BYTES = 65_536


class Unreadable(Exception):
    """A body that is too long or not what it should be; the message is one sentence."""


def origin(request: Request) -> str:
    """Scheme, host and port this request was sent to. The host was checked before."""
    return f"{request.url.scheme}://{request.url.netloc}"


def from_elsewhere(request: Request) -> bool:
    """Whether a browser sent this from another site's page."""
    return request.headers.get("origin", origin(request)) != origin(request)


async def read_body(request: Request) -> bytes:
    """The body. Raises: `Unreadable` when it is too long."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > BODY_BYTES:
            raise Unreadable(f"The body is longer than {BODY_BYTES} bytes.")
    return body


async def read_form(request: Request) -> list[tuple[str, str]]:
    """The fields of an `application/x-www-form-urlencoded` body. Raises: `Unreadable`."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
        raise Unreadable("The body must be application/x-www-form-urlencoded.")
    try:
        return parse_qsl((await read_body(request)).decode(), keep_blank_values=True, max_num_fields=100)
    except ValueError:
        raise Unreadable("The body is not a form.") from None


def once(pairs: list[tuple[str, str]]) -> dict[str, str]:
    """Parameters by name. Raises: `Unreadable` when one is repeated (RFC 6749 section 3.1)."""
    named = dict(pairs)
    if len(named) != len(pairs):
        raise Unreadable("A parameter is repeated.")
    return named


async def read_json(request: Request) -> dict[str, Any]:
    """The JSON object in the body. Raises: `Unreadable`."""
    try:
        found = json.loads(await read_body(request))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise Unreadable("The body must be a JSON object.")
    return found
