"""What Django is given to read: it takes in headers and body whole before any of our code runs, and sets no bound."""

from __future__ import annotations

import json
from typing import Any

from django.conf import settings
from django.template.loader import render_to_string

from metaagent.endpoint.app import Receive, Scope, Send

BODY_BYTES: int = settings.BODY_BYTES
HEADER_BYTES: int = settings.HEADER_BYTES
_HEADER_COST = 32
"""What a header costs besides its letters, so that many short ones count too."""

_BODY = f"What was sent is larger than {BODY_BYTES} bytes. Send less."
_HEADERS = f"The headers are larger than {HEADER_BYTES} bytes. Send less; in a browser, delete this site's cookies."


class Bounded:
    """An ASGI application whose requests are refused as soon as they are known to be too large."""

    def __init__(self, app: Any) -> None:  # noqa: ANN401 - Django's handler
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        headers = scope["headers"]
        length = dict(headers).get(b"content-length", b"")
        left = BODY_BYTES

        async def counted() -> Any:  # noqa: ANN401 - an ASGI message
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            return message if left >= 0 else {"type": "http.disconnect"}

        if sum(len(name) + len(value) + _HEADER_COST for name, value in headers) > HEADER_BYTES:
            await _refuse(scope["path"], send, 431, _HEADERS)
        elif length.isdigit() and int(length) > BODY_BYTES:
            await _refuse(scope["path"], send, 413, _BODY)
        else:
            await self._app(scope, counted, send)
            if left < 0:  # the application took it that the client had gone, and answered nothing
                await _refuse(scope["path"], send, 413, _BODY)


async def _refuse(path: str, send: Send, status: int, sentence: str) -> None:
    """In the form that is expected where it was sent."""
    if path.startswith("/api/"):
        kind, title = "application/problem+json", "Too large"
        kept = "urn:metaagent:problem:too_large"
        body = json.dumps({"type": kept, "title": title, "status": status, "detail": sentence})
    elif path.startswith("/o/"):
        kind, body = "application/json", json.dumps({"error": "invalid_request", "error_description": sentence})
    else:
        kind, body = (
            "text/html; charset=utf-8",
            render_to_string("error.html", {"title": "Too large", "sentence": sentence}),
        )
    headers = {
        "content-type": kind,
        "content-length": str(len(body.encode())),
        "content-security-policy": "default-src 'none'; style-src 'self'; font-src 'self'; img-src 'self'",
        "cache-control": "no-store",
        "x-content-type-options": "nosniff",
        **({"access-control-allow-origin": "*"} if path.startswith("/o/") else {}),
    }
    encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": encoded})
    await send({"type": "http.response.body", "body": body.encode()})
