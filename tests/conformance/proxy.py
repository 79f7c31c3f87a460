"""A reverse proxy that adds the bearer, because the suite cannot send one. Every other byte stays as it came."""

from __future__ import annotations

import asyncio
import re

from tests.faults.proxies import Proxy

_END = b"\r\n\r\n"
_CONNECTION = re.compile(rb"\r\nconnection:[^\r]*", re.IGNORECASE)
_AUTHORIZATION = re.compile(rb"\r\nauthorization:", re.IGNORECASE)


class BearerProxy(Proxy):
    """In front of the product on the port `target`: what comes for /mcp without a bearer gets this one."""

    def __init__(self, target: int, bearer: str, *, port: int) -> None:
        super().__init__(target, port=port)
        self._bearer = b"\r\nauthorization: Bearer " + bearer.encode()

    async def _carry(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, late: bool) -> None:
        if late:
            sink.write(self._signed(await source.readuntil(_END)))
        await super()._carry(source, sink, late=late)

    def _signed(self, head: bytes) -> bytes:
        """One request a connection, so that what follows the head is its body and nothing more."""
        lines = _CONNECTION.sub(b"", head.removesuffix(_END)) + b"\r\nconnection: close"
        wanted = lines.split(b" ", 2)[1].startswith(b"/mcp") and not _AUTHORIZATION.search(lines)
        return lines + (self._bearer if wanted else b"") + _END
