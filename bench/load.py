"""Callers: in a closed loop, each sends its next request when its last is answered; at a pace, when one is due."""

from __future__ import annotations

import asyncio
import itertools
import re
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

_LENGTH = re.compile(rb"content-length: *([0-9]+)", re.IGNORECASE)
_PATIENCE_S = 30


class BadAnswer(Exception):
    """An answer that is not the expected one; what was measured means nothing."""


@dataclass(frozen=True, slots=True)
class Window:
    """What was seen while measuring."""

    waits_ms: Sequence[float]
    """How long each answer took, sorted."""
    wall_s: float
    cpu_s: float
    """CPU time of the server process in the window."""

    def wait_ms(self, share: float) -> float:
        """The wait that `share` of the answers stayed within."""
        return self.waits_ms[round(share * (len(self.waits_ms) - 1))]


class _Loop:
    """What the callers of one run share."""

    def __init__(self, requests: Sequence[bytes], marker: bytes) -> None:
        self.requests = itertools.cycle(requests)
        self.marker = marker
        self.waits: list[float] = []
        self.open = True
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def measure(self) -> None:
        """Forget what went before."""
        self.waits = []

    def free(self, caller: _Caller) -> None:
        """The caller has nothing to wait for."""
        caller.send(time.perf_counter())

    def fail(self, why: str) -> None:
        self.open = False
        if not self.failed.done():
            self.failed.set_exception(BadAnswer(why))


class _Pace(_Loop):
    """Requests are due at even intervals, whether or not earlier ones are answered."""

    def __init__(self, requests: Sequence[bytes], marker: bytes, per_s: float) -> None:
        super().__init__(requests, marker)
        self._every = 1 / per_s
        self._next = time.perf_counter()
        self._due: deque[float] = deque()
        self._idle: list[_Caller] = []
        asyncio.get_running_loop().call_soon(self._tick)

    def measure(self) -> None:
        super().measure()
        self._due.clear()
        self._next = time.perf_counter()

    def free(self, caller: _Caller) -> None:
        if self._due:
            caller.send(self._due.popleft())
        else:
            self._idle.append(caller)

    def _tick(self) -> None:
        """Send what is due. The wait counts from when it was, not from when a caller was free for it."""
        if not self.open:
            return
        while self._next <= time.perf_counter():
            if self._idle:
                self._idle.pop().send(self._next)
            else:
                self._due.append(self._next)
            self._next += self._every
        asyncio.get_running_loop().call_later(max(0, self._next - time.perf_counter()), self._tick)


class _Caller(asyncio.Protocol):
    def __init__(self, run: _Loop) -> None:
        self._run = run
        self._answer = b""
        self._size = 0
        self._sent = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)
        self._run.free(self)

    def send(self, due: float) -> None:
        """Send the next request; its wait counts from `due`."""
        self._answer, self._size = b"", 0
        self._sent = due
        self._transport.write(next(self._run.requests))

    def data_received(self, data: bytes) -> None:
        answer = self._answer = self._answer + data if self._answer else data
        if not self._size:
            head = answer.find(b"\r\n\r\n")
            length = _LENGTH.search(answer, 0, head) if head > 0 else None
            if length is None:
                if head > 0:
                    self._run.fail(f"An answer without Content-Length: {answer[:500]!r}")
                return
            self._size = head + 4 + int(length[1])
        if len(answer) >= self._size:
            self._answered(answer)

    def _answered(self, answer: bytes) -> None:
        self._run.waits.append(time.perf_counter() - self._sent)
        if not answer.startswith(b"HTTP/1.1 200") or self._run.marker not in answer or b'"isError":true' in answer:
            self._run.fail(f"A wrong answer: {answer[:1_500].decode(errors='replace')}")
        elif self._run.open:
            self._run.free(self)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._run.open:
            self._run.fail(f"The server closed a connection: {exc}")
        self._run.open = False


async def measured_calls(
    port: int,
    requests: Sequence[bytes],
    *,
    callers: int,
    settle_s: float,
    seconds: float,
    marker: bytes,
    cpu: Callable[[], float],
    per_s: float | None = None,
) -> Window:
    """Send `requests` in turn for `settle_s` unmeasured, then `seconds` measured; every answer must hold `marker`.

    `cpu` reads the server's CPU time in seconds; with `per_s` so many requests a second are due. Raises: BadAnswer.
    """
    loop = asyncio.get_running_loop()
    run = _Pace(requests, marker, per_s) if per_s else _Loop(requests, marker)
    connected = [await loop.create_connection(lambda: _Caller(run), "127.0.0.1", port) for _ in range(callers)]
    try:
        await _pass(run, settle_s)
        run.measure()
        cpu_s, began = cpu(), time.perf_counter()
        await _pass(run, seconds)
        waits, cpu_s, wall_s = run.waits, cpu() - cpu_s, time.perf_counter() - began
    finally:
        run.open = False
        for transport, _ in connected:
            transport.abort()
    return Window(sorted(wait * 1e3 for wait in waits), wall_s, cpu_s)


async def _pass(run: _Loop, seconds: float) -> None:
    """Let the callers work, longer if nobody was answered yet. Raises: BadAnswer as soon as an answer is wrong."""
    ends, gives_up = time.monotonic() + seconds, time.monotonic() + seconds + _PATIENCE_S
    while (now := time.monotonic()) < ends or not run.waits:
        if now > gives_up:
            run.fail(f"No answer within {_PATIENCE_S} s.")
        done, _ = await asyncio.wait([run.failed], timeout=max(ends - now, 0.01))
        if done:
            run.failed.result()
