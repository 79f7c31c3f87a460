"""Callers: raw requests for one tool by name, sent together, so that a hundred of them cost next to nothing."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeAlias

Json: TypeAlias = Any

PATIENCE_S = 90
_ERA = "2026-07-28"
_PARAMS = {
    "name": "use_sentry",
    "arguments": {"prompt": "who am I?", "options": {"mode": "tool", "tool": "who_am_i"}},
    "_meta": {
        "io.modelcontextprotocol/protocolVersion": _ERA,
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": {"name": "faults", "version": "1"},
    },
}
_BODY = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": _PARAMS})


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody with a key, and how the right answer to “who am I?” names their account."""

    host: str
    """What the product is called; each replica answers to it."""
    path: str
    key: str = field(repr=False)
    account: str

    @property
    def request(self) -> bytes:
        """The call as bytes."""
        return (
            f"POST {self.path} HTTP/1.1\r\nHost: {self.host}\r\nAuthorization: Bearer {self.key}\r\n"
            "Accept: application/json, text/event-stream\r\nContent-Type: application/json\r\n"
            f"MCP-Protocol-Version: {_ERA}\r\nMcp-Method: tools/call\r\nMcp-Name: use_sentry\r\n"
            f"Connection: close\r\nContent-Length: {len(_BODY)}\r\n\r\n{_BODY}"
        ).encode()


@dataclass(frozen=True, slots=True)
class Reply:
    """What a call came to."""

    caller: Caller
    status: int
    """0 when the connection broke."""
    result: Json
    seconds: float

    @property
    def right(self) -> bool:
        """Answered, and as the right account."""
        found = self.result.get("structuredContent") or {}
        return self.status == 200 and not self.result.get("isError") and self.caller.account in found.get("text", "")

    @property
    def error(self) -> Json:
        """The failure's `error` object."""
        return (self.result.get("structuredContent") or {}).get("error") or {}

    @property
    def code(self) -> str:
        """`ok`, the failure's code with its reason, or what went wrong below."""
        if self.right:
            return "ok"
        named = ":".join(self.error[name] for name in ("code", "reason") if self.error.get(name))
        return named or (f"http {self.status}" if self.status != 200 else "wrong answer")


def together(calls: Sequence[tuple[int, Caller]]) -> list[Reply]:
    """Every call at the same moment, each at the port it names; the answers in the same order."""

    async def fire() -> list[Reply]:
        opened = await asyncio.gather(*(_opened(port) for port, _ in calls))
        return await asyncio.gather(*(_sent(pair, caller) for pair, (_, caller) in zip(opened, calls, strict=True)))

    return asyncio.run(fire())


_Pair: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter] | None


async def _opened(port: int) -> _Pair:
    try:
        return await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return None


async def _sent(pair: _Pair, caller: Caller) -> Reply:
    began, answer = time.monotonic(), b""
    if pair is not None:
        reader, writer = pair
        try:
            writer.write(caller.request)
            async with asyncio.timeout(PATIENCE_S):
                answer = await reader.read()
        except (OSError, TimeoutError):
            answer = b""
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
    head, _, body = answer.partition(b"\r\n\r\n")
    try:
        message = json.loads(body)
    except ValueError:
        message = {}
    status = int(head.split(b" ", 2)[1]) if head.startswith(b"HTTP/1.1 ") else 0
    return Reply(caller, status, message.get("result") or {}, time.monotonic() - began)
