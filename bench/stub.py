"""A provider that costs next to nothing: a search for issues, Sentry's or an MCP server's, at once or after a while.

The organization asked about says how long it takes: `after-50ms`. Run: `python -m bench.stub PORT`.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from contextlib import suppress
from typing import cast

import uvloop

MARKER = "payment gateway did not answer"
_DELAY = re.compile(rb"^GET /api/0/organizations/after-([0-9]+)ms/issues/")


def organization(delay_ms: int) -> str:
    """The organization whose issues take this long to find."""
    return f"after-{delay_ms}ms"


def _issue(number: int) -> dict[str, object]:
    """A row as Sentry sends it: about 1.4 KB, most of which no tool reads."""
    project = {"id": "4501", "name": "Checkout", "slug": "checkout", "platform": "python-django"}
    moment = f"2026-11-{number + 10:02}T08:21:4{number}.517000Z"
    return {
        "id": f"70019{number}",
        "shareId": None,
        "shortId": f"CHECKOUT-{number}A",
        "title": f"TimeoutError: {MARKER} within 5 seconds",
        "culprit": "shop.payments.gateway in charge",
        "permalink": f"https://sentry.example.com/organizations/acme/issues/70019{number}/",
        "logger": None,
        "level": "error",
        "status": "unresolved",
        "statusDetails": {},
        "substatus": "ongoing",
        "isPublic": False,
        "platform": "python",
        "priority": "high",
        "project": project,
        "type": "error",
        "issueType": "error",
        "issueCategory": "error",
        "metadata": {
            "type": "TimeoutError",
            "value": f"{MARKER} within 5 seconds",
            "filename": "shop/payments/gateway.py",
            "function": "charge",
            "display_title_with_tree_label": False,
        },
        "numComments": number,
        "assignedTo": {"type": "user", "id": "88", "name": "Ada Marsh", "email": "ada@example.com"},
        "isBookmarked": False,
        "isSubscribed": False,
        "subscriptionDetails": None,
        "hasSeen": True,
        "annotations": [],
        "isUnhandled": True,
        "count": str(1_204 * number),
        "userCount": 311 * number,
        "firstSeen": moment,
        "lastSeen": moment,
        "stats": {"24h": [[1_795_300_000 + 3_600 * hour, 40 + hour] for hour in range(16)]},
        "inbox": {"reason": 0, "reason_details": None, "date_added": moment},
    }


_ISSUES = [_issue(number) for number in (1, 2)]
_BODY = json.dumps(_ISSUES).encode()
_ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nServer: nginx\r\nX-Hits: 2\r\n"
    b"X-Sentry-Rate-Limit-Limit: 40\r\nX-Sentry-Rate-Limit-Remaining: 39\r\nContent-Length: %d\r\n\r\n%b"
) % (len(_BODY), _BODY)
_REFUSAL = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\n{}"
_MISSING = b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}"

_POST = re.compile(rb"^POST /mcp .*?\r\ncontent-length: *([0-9]+)", re.IGNORECASE | re.DOTALL)
_ORGANIZATION = re.compile(rb'"org": *"after-([0-9]+)ms"')
_ID = re.compile(rb'"id": *([0-9]+)')
_HELLO = json.dumps({"resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}})
_FOUND = json.dumps(
    {
        "resultType": "complete",
        "content": [{"type": "text", "text": json.dumps({"issues": _ISSUES})}],
        "structuredContent": {"issues": _ISSUES},
    }
)


def _result(request: bytes) -> bytes:
    """The answer of an MCP server of 2026-07-28 with one tool."""
    number = _ID.search(request)
    result = _HELLO if b'"server/discover"' in request else _FOUND
    body = b'{"jsonrpc":"2.0","id":%b,"result":%b}' % (number[1] if number else b"0", result.encode())
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


class _Provider(asyncio.Protocol):
    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._request = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)

    def data_received(self, data: bytes) -> None:
        self._request += data
        head, end, body = self._request.partition(b"\r\n\r\n")
        posted = _POST.match(head)
        if not end or (posted and len(body) < int(posted[1])):
            return
        request, self._request = self._request, b""
        asked = _ORGANIZATION.search(body) if posted else _DELAY.match(request)
        if asked is None and not posted:
            self._transport.write(_MISSING)
        elif b"\r\nauthorization: bearer token-of-" not in request.lower():
            self._transport.write(_REFUSAL)
        else:
            answer, delay_ms = _result(body) if posted else _ANSWER, int(asked[1]) if asked else 0
            if delay_ms:
                self._loop.call_later(delay_ms / 1e3, self._answer, answer)
            else:
                self._answer(answer)

    def _answer(self, answer: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(answer)


async def _serve(port: int) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Provider(loop), "127.0.0.1", port, backlog=512)
    await server.serve_forever()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        uvloop.run(_serve(int(sys.argv[1])))
