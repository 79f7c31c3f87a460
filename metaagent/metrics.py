"""`/metrics`: the numbers of this process in Prometheus' text format.

Each process reports itself and nothing of others, with or without Redis: a replica is one process, and Prometheus adds
them up. The numbers name providers (also by names that tenants gave their own) and models; no tenant, person, account
or host. Without METRICS_TOKEN anybody who reaches the address may read them, so keep it inside.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Iterable

from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from metaagent.agent.telemetry import Telemetry
from metaagent.endpoint.app import Receive, Scope, Send
from metaagent.endpoint.auth import bearer_in


class Metrics:
    """The ASGI application. Not a page of Django's: scrapers call by address, not by a name in ALLOWED_HOSTS."""

    def __init__(self, telemetry: Telemetry, token: str) -> None:
        self._telemetry = telemetry
        self._token = token.encode()

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["method"] not in {"GET", "HEAD"}:
            return await _answer(send, 405, b"Send a GET.", [(b"allow", b"GET, HEAD")])
        if not self._allowed(scope["headers"]):
            challenge = [(b"www-authenticate", b'Bearer realm="metrics"')]
            return await _answer(send, 401, b"The bearer in METRICS_TOKEN is needed.", challenge)
        body = await asyncio.to_thread(self._telemetry.scrape)
        return await _answer(send, 200, b"" if scope["method"] == "HEAD" else body)

    def _allowed(self, headers: Iterable[tuple[bytes, bytes]]) -> bool:
        if not self._token:
            return True
        sent = [value for name, value in headers if name == b"authorization"]
        bearer = bearer_in(sent[0].strip(b" \t")) if len(sent) == 1 else None
        return bearer is not None and hmac.compare_digest(bearer.encode(), self._token)


async def _answer(send: Send, status: int, body: bytes, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
    kind = CONTENT_TYPE_PLAIN_0_0_4.encode()
    given = [(b"content-type", kind), (b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff")]
    await send({"type": "http.response.start", "status": status, "headers": [*given, *headers]})
    await send({"type": "http.response.body", "body": body})
