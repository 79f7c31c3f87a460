"""Proxies between the product and what it needs: they add latency, stall and cut, and the provider's writes down."""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Self
from urllib.parse import parse_qs

_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)
_CONNECTION = re.compile(rb"(?<=\r\n)connection:[^\r]*\r\n", re.IGNORECASE)
_REVISION = re.compile(rb"\r\nmcp-protocol-version: *([0-9-]+)", re.IGNORECASE)
_PIECE = 65_536


class Listener:
    """A server on a free port of this machine, in a thread of its own."""

    def __init__(self, port: int = 0) -> None:
        self.port = port
        self._up = threading.Event()
        self._over = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._up.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(10)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        server = await asyncio.start_server(self._accepted, "127.0.0.1", self.port)
        self.port = server.sockets[0].getsockname()[1]
        self._up.set()
        await self._over.wait()
        server.close()

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raise NotImplementedError


class Proxy(Listener):
    """Carries bytes between its clients and another port of this machine."""

    def __init__(self, target: int, *, port: int = 0) -> None:
        super().__init__(port)
        self.target = target
        self.latency_s = 0.0
        """How much later whatever a client sends arrives: what a round trip takes."""
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._refusing = False
        self._writers: set[asyncio.StreamWriter] = set()

    def stall(self) -> None:
        """Carry nothing, and keep connections open."""
        self._loop.call_soon_threadsafe(self._flowing.clear)

    def flow(self) -> None:
        """Carry on."""
        self._loop.call_soon_threadsafe(self._flowing.set)

    def cut(self) -> None:
        """Break every connection that is open now."""
        self._loop.call_soon_threadsafe(self._abort)

    def gone(self) -> None:
        """Break them, and let nobody in."""
        self._refusing = True
        self.cut()

    def back(self) -> None:
        """Let everybody in again."""
        self._refusing = False

    def _abort(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._serve_one(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # either side may leave at any time, and so may we
        finally:
            writer.close()

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refusing:
            return
        there, onward = await asyncio.open_connection("127.0.0.1", self.target)
        both = {writer, onward}
        self._writers |= both
        try:
            await asyncio.gather(self._carry(reader, onward, late=True), self._carry(there, writer, late=False))
        finally:
            self._writers -= both
            onward.close()

    async def _carry(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, late: bool) -> None:
        while piece := await source.read(_PIECE):
            await self._flowing.wait()
            self._after(self.latency_s if late else 0, sink.write, piece)
        self._after(self.latency_s if late else 0, sink.close)

    def _after(self, seconds: float, act: Callable[..., object], *args: object) -> None:
        """In the order asked for: pieces sent together arrive together."""
        if seconds:
            self._loop.call_later(seconds, act, *args)
        else:
            act(*args)


@dataclass(slots=True, eq=False)
class Passed:
    """A request that went through, and who answered it how."""

    method: str
    path: str
    """Without its query."""
    revision: str
    """Of MCP, as its header says."""
    target: int
    status: int = 0
    """0 as long as it is not answered."""


class RoundRobin(Proxy):
    """Gives each request to the next of several processes, whoever sent it: nothing is sticky."""

    def __init__(self, *targets: int, port: int = 0) -> None:
        super().__init__(targets[0], port=port)
        self.targets = list(targets)
        self.passed: list[Passed] = []

    @property
    def next(self) -> int:
        """Who gets the next request."""
        return self.targets[len(self.passed) % len(self.targets)]

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        method, path, _ = head.decode("latin-1").split(" ", 2)
        revision = _REVISION.search(head)
        passed = Passed(
            method,
            path.partition("?")[0],
            revision[1].decode() if revision else "",
            self.next,
        )
        self.passed.append(passed)
        there, onward = await asyncio.open_connection("127.0.0.1", passed.target)
        try:
            # One request a connection: its head is all that has to be understood.
            onward.write(_CONNECTION.sub(b"", head)[:-2] + b"Connection: close\r\n\r\n")
            await asyncio.gather(self._carry(reader, onward, late=False), self._answered(passed, there, writer))
        finally:
            onward.close()

    async def _answered(self, passed: Passed, there: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = await there.readline()
        writer.write(line)
        if line:
            passed.status = int(line.split(b" ", 2)[1])
        await self._carry(there, writer, late=False)


@dataclass(slots=True, eq=False)
class Exchange:
    """One request to the provider and its answer, with the moments (`time.monotonic`) they passed the proxy."""

    head: bytes = field(repr=False)
    body: bytes = field(repr=False)
    sent: float
    delivered: float | None = None
    answer: bytes = field(default=b"", repr=False)
    answered: float | None = None
    returned: float | None = None

    @property
    def path(self) -> str:
        """Without its query."""
        return self.head.split(b" ", 2)[1].decode().partition("?")[0]

    @property
    def form(self) -> dict[str, str]:
        """The fields of a token request."""
        return {name: values[0] for name, values in parse_qs(self.body.decode(errors="replace")).items()}

    @property
    def presented(self) -> str:
        """The digest of the refresh token or code that was presented; empty when it presents none."""
        return _digest(self.form.get("refresh_token") or self.form.get("code") or "")

    @property
    def issued(self) -> str:
        """The digest of the refresh token in the answer."""
        try:
            return _digest(json.loads(self.answer.partition(b"\r\n\r\n")[2])["refresh_token"])
        except (ValueError, TypeError, KeyError):
            return ""


class ProviderProxy(Proxy):
    """Between the product and its provider: knows HTTP, keeps every exchange, and delays those for tokens."""

    def __init__(self, target: int, *, port: int = 0, token_path: str = "/oauth/token/") -> None:
        super().__init__(target, port=port)
        self.token_path = token_path
        self.hold_s = 0.0
        """How long a token request is on its way to the provider."""
        self.keep_s = 0.0
        """How long the answer to one is on its way back."""
        self.lose = False
        """Token requests never arrive, and the client waits in vain."""
        self.grants: dict[str, str] = {}
        """Which code each refresh token goes back to, by digest."""
        self.exchanges: list[Exchange] = []

    def token_requests(self, since: float = 0) -> list[Exchange]:
        """Those sent since that moment."""
        return [each for each in self.exchanges if each.path == self.token_path and each.sent >= since]

    def of_grant(self, code: str, *, since: float = 0) -> list[Exchange]:
        """The token requests of one grant, which is named by the digest of its code."""
        return [each for each in self.token_requests(since) if self.grants.get(each.presented) == code]

    def presentations(self) -> Counter[str]:
        """How often each refresh token and code was presented, by digest."""
        return Counter(each.presented for each in self.token_requests() if each.presented)

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            exchange = Exchange(*await _message(reader), time.monotonic())
            self.exchanges.append(exchange)
            token = exchange.path == self.token_path
            self.grants.setdefault(exchange.presented, exchange.presented)
            if token and self.lose:
                await reader.read()  # until the client has had enough
                return
            await asyncio.sleep(self.hold_s if token else 0)
            exchange.delivered = time.monotonic()
            exchange.answer, exchange.answered = await self._asked(exchange), time.monotonic()
            if exchange.issued:
                self.grants[exchange.issued] = self.grants[exchange.presented]
            await asyncio.sleep(self.keep_s if token else 0)
            with suppress(OSError):  # the client may be dead
                writer.write(exchange.answer)
                await writer.drain()
            exchange.returned = time.monotonic()

    async def _asked(self, exchange: Exchange) -> bytes:
        """The provider's answer, each over a connection of its own: none is ever found closed."""
        there, onward = await asyncio.open_connection("127.0.0.1", self.target)
        try:
            onward.write(exchange.head + exchange.body)
            return b"".join(await _message(there))
        finally:
            onward.close()


def _digest(token: str) -> str:
    return sha256(token.encode()).hexdigest() if token else ""


async def _message(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """A message of HTTP/1.1 with a length, or without a body."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = _LENGTH.search(head)
    return head, await reader.readexactly(int(length[1])) if length else b""
