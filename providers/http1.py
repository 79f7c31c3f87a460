"""HTTP/1.1 as a client, over connections that are kept: no more than one exchange needs, for every call pays for it.

Where to connect, what to send and what an answer means are decided elsewhere (`providers/egress.py`).
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import httptools

Origin: TypeAlias = tuple[str, str, int]
"""Scheme, host and port."""
Until: TypeAlias = Callable[[bytes], bool]

_KEPT_S: Final = 15.0
"""How long a connection without work is kept: servers close theirs after five seconds to two minutes."""
_MAX_HEAD: Final = 64 * 1024
_GRACE_S: Final = 0.05
"""How long the end of an event stream is waited for when all that was wanted has come: then it can be kept."""
_NO_BODY: Final = frozenset({204, 304})
_SWITCHING: Final = 101


class Failed(Exception):
    """An exchange without an answer."""

    heard = True
    """Whether the other side may have seen the request."""


class NotConnected(Failed):
    """No address took a connection."""

    heard = False


class ConnectTimeout(NotConnected):
    """No connection in time: no free one, no address that answers, or a slow handshake."""


class Untrusted(NotConnected):
    """The certificate is not good for this name, or TLS failed otherwise."""


class Broken(Failed):
    """The connection ended within the exchange, or what came is not HTTP."""


class Stale(Broken):
    """A kept connection ended before a byte of the answer: it may have been over before the request was sent."""


class TooLarge(Failed):
    """The answer's body is over the limit."""


class Silent(Failed):
    """Nothing came for too long."""


class Late(Failed):
    """The time for the whole exchange is over."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one exchange may take."""

    connect_s: float
    silence_s: float
    total_s: float
    body_bytes: int


@dataclass(slots=True)
class Answer:
    """What came back."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


class Pool:
    """The connections of one event loop."""

    def __init__(
        self,
        resolve: Callable[[str], Awaitable[Sequence[str]]],
        tls: Callable[[], ssl.SSLContext],
        *,
        per_origin: int,
        in_all: int,
    ) -> None:
        """`resolve` gives the addresses, as numbers, that a host's connections may go to."""
        self._resolve = resolve
        self._tls = tls
        self._per_origin = per_origin
        self._all = _Slots(in_all)
        self._slots: dict[Origin, _Slots] = {}
        self._idle: dict[Origin, list[_Connection]] = {}
        self._busy: set[_Connection] = set()
        self._sweep: asyncio.TimerHandle | None = None

    async def exchange(
        self, origin: Origin, request: bytes, bounds: Bounds, *, head: bool, again: bool, until: Until | None = None
    ) -> Answer:
        """Send one request and read its whole answer. `again`: it may be sent twice, where the first was not heard.

        `until` is given each part of an event stream as it comes; the answer is over when it says so.
        Raises: Failed, and what `resolve` raises.
        """
        ends = asyncio.get_running_loop().time() + bounds.total_s
        slots = self._slots.get(origin)
        if slots is None:
            slots = self._slots[origin] = _Slots(self._per_origin)
        slots.users += 1
        try:
            await slots.take(bounds.connect_s)
            try:
                await self._all.take(bounds.connect_s)
                try:
                    return await self._exchange(origin, request, bounds, ends, head=head, again=again, until=until)
                finally:
                    self._all.give()
            finally:
                slots.give()
        finally:
            slots.users -= 1
            if not slots.users:
                del self._slots[origin]

    async def _exchange(
        self,
        origin: Origin,
        request: bytes,
        bounds: Bounds,
        ends: float,
        *,
        head: bool,
        again: bool,
        until: Until | None,
    ) -> Answer:
        if connection := self._kept(origin):
            try:
                return await self._over(connection, request, bounds, ends, head=head, until=until)
            except Stale:
                if not again:
                    raise
        within_s = min(bounds.connect_s, ends - asyncio.get_running_loop().time())
        connection = await self._connected(origin, within_s)
        return await self._over(connection, request, bounds, ends, head=head, until=until)

    async def _over(
        self, connection: _Connection, request: bytes, bounds: Bounds, ends: float, *, head: bool, until: Until | None
    ) -> Answer:
        self._busy.add(connection)
        try:
            return await connection.exchange(request, bounds, ends, head=head, until=until)
        finally:
            self._busy.discard(connection)
            if connection.reusable:
                self._keep(connection)
            else:
                connection.abort()

    def _kept(self, origin: Origin) -> _Connection | None:
        idle = self._idle.get(origin)
        while idle:
            connection = idle.pop()
            if connection.reusable:
                return connection
        return None

    def _keep(self, connection: _Connection) -> None:
        loop = asyncio.get_running_loop()
        connection.since = loop.time()
        self._idle.setdefault(connection.origin, []).append(connection)
        if self._sweep is None:
            self._sweep = loop.call_later(_KEPT_S, self._swept, loop)

    def _swept(self, loop: asyncio.AbstractEventLoop) -> None:
        """Close what has had no work for long."""
        self._sweep = None
        oldest = loop.time() - _KEPT_S
        kept: dict[Origin, list[_Connection]] = {}
        for origin, idle in self._idle.items():
            for connection in idle:
                if connection.since <= oldest:
                    connection.abort()
            if young := [connection for connection in idle if connection.reusable]:
                kept[origin] = young
        self._idle = kept
        if kept:
            self._sweep = loop.call_later(_KEPT_S, self._swept, loop)

    async def _connected(self, origin: Origin, within_s: float) -> _Connection:
        try:
            async with asyncio.timeout(within_s):
                return await self._connect(origin, within_s)
        except TimeoutError:
            raise ConnectTimeout from None
        except (ssl.SSLError, ssl.CertificateError):
            raise Untrusted from None
        except OSError:
            raise NotConnected from None

    async def _connect(self, origin: Origin, within_s: float) -> _Connection:
        """One address after the other, each with its share of the time."""
        scheme, host, port = origin
        loop = asyncio.get_running_loop()
        addresses = await self._resolve(host)
        tls = self._tls() if scheme == "https" else None
        name = host.strip("[]").rstrip(".") if tls else None
        for left, address in zip(range(len(addresses), 0, -1), addresses, strict=True):
            try:
                async with asyncio.timeout(within_s / len(addresses) if left > 1 else None):
                    _, connection = await loop.create_connection(
                        lambda: _Connection(origin, loop), address, port, ssl=tls, server_hostname=name
                    )
                    return connection
            except ssl.SSLError:
                raise
            except OSError:
                if left == 1:
                    raise
        raise OSError

    def close(self) -> None:
        """End every connection, at once."""
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        for connection in [*self._busy, *(each for idle in self._idle.values() for each in idle)]:
            connection.abort()
        self._idle.clear()


class _Slots:
    """So many at once; the others wait in turn."""

    def __init__(self, size: int) -> None:
        self.users = 0
        """Who has one or waits for one."""
        self._free = asyncio.Semaphore(size)

    async def take(self, within_s: float) -> None:
        """Raises: ConnectTimeout."""
        if not self._free.locked():
            await self._free.acquire()
            return
        try:
            async with asyncio.timeout(within_s):
                await self._free.acquire()
        except TimeoutError:
            raise ConnectTimeout from None

    def give(self) -> None:
        """Give it back."""
        self._free.release()


class _Connection(asyncio.Protocol):
    """One connection; carries one exchange after the other."""

    def __init__(self, origin: Origin, loop: asyncio.AbstractEventLoop) -> None:
        self.origin = origin
        self.since = 0.0
        """When it last had work."""
        self.reusable = True
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._used = False
        self._waiting: asyncio.Future[Answer] | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def exchange(self, request: bytes, bounds: Bounds, ends: float, *, head: bool, until: Until | None) -> Answer:
        """Send and read. Raises: Failed."""
        waiting: asyncio.Future[Answer] = self._loop.create_future()
        self._waiting = waiting
        again, self._used, self.reusable = self._used, True, False
        self._bounds, self._ends, self._head, self._again, self._until = bounds, ends, head, again, until
        self._headers: list[tuple[bytes, bytes]] = []
        self._body: list[bytes] = []
        self._size = self._received = 0
        self._heard = self._loop.time()
        self._in_body = self._until_end = self._whole = self._enough = False
        self._parser = httptools.HttpResponseParser(self)
        self._timer = self._loop.call_at(min(ends, self._heard + bounds.silence_s), self._look)
        try:
            if self._transport is None or self._transport.is_closing():
                raise Stale
            self._transport.write(request)
            return await waiting
        finally:
            self._waiting = None
            self._timer.cancel()

    def abort(self) -> None:
        """End it, whatever it does."""
        self.reusable = False
        if self._transport is not None:
            self._transport.abort()

    def _look(self) -> None:
        """The end of what may be waited for, unless something came meanwhile."""
        now = self._loop.time()
        if now >= self._ends:
            self._fail(Late())
        elif now >= self._heard + self._bounds.silence_s:
            self._fail(Silent())
        else:
            self._timer = self._loop.call_at(min(self._ends, self._heard + self._bounds.silence_s), self._look)

    def _fail(self, failure: Failed) -> None:
        self.reusable = False
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(failure)

    # --- called by the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # what a loop makes for TCP and TLS can be written to

    def data_received(self, data: bytes) -> None:
        if self._waiting is None or self._waiting.done():  # nobody asked for it
            self.abort()
            return
        self._heard = self._loop.time()
        self._received += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            if not self._waiting.done():
                self._fail(Broken())
            self.reusable = False
        if not self._in_body and not self._waiting.done() and self._received > _MAX_HEAD:
            self._fail(Broken())

    def eof_received(self) -> None:
        """The loop closes the connection."""

    def connection_lost(self, exc: Exception | None) -> None:
        self.reusable = False
        if self._waiting is None or self._waiting.done():
            return
        if self._enough or (self._until_end and exc is None):
            self._complete()
        else:
            self._fail(Stale() if self._again and not self._received else Broken())

    # --- called by the parser

    def on_message_begin(self) -> None:
        if self._whole:  # a second answer to one request
            self.reusable = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._whole:
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        if self._whole:
            return
        status = self._parser.get_status_code()
        if status < 200:  # noqa: PLR2004 - informational: the answer is still to come
            return
        self._in_body = True
        if self._head:
            self._complete()
        elif status not in _NO_BODY:
            framed = {name.lower(): value.lower() for name, value in self._headers}
            coding = framed.get(b"transfer-encoding", b"")
            if coding not in {b"", b"chunked"}:
                self._whole = True
                self._fail(Broken())
            self._until_end = not coding and b"content-length" not in framed
            if not framed.get(b"content-type", b"").startswith(b"text/event-stream") or b"content-encoding" in framed:
                self._until = None

    def on_body(self, body: bytes) -> None:
        if self._whole:
            return
        self._size += len(body)
        self._body.append(body)
        if self._size > self._bounds.body_bytes:
            self._whole = True
            self._fail(TooLarge())
        elif self._until is not None and not self._enough and self._until(body):
            self._enough = True
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_later(_GRACE_S, self._complete)

    def on_message_complete(self) -> None:
        if self._whole:
            return
        status = self._parser.get_status_code()
        if status == _SWITCHING:
            self._whole = True
            self._fail(Broken())
        elif status < 200:  # noqa: PLR2004 - informational
            self._headers = []
        else:
            self.reusable = self._parser.should_keep_alive()
            self._complete()

    def _complete(self) -> None:
        self._whole = True
        if self._waiting is not None and not self._waiting.done():
            body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
            self._waiting.set_result(Answer(self._parser.get_status_code(), self._headers, body))
