"""Redises that die, dawdle or lie."""

from __future__ import annotations

import asyncio
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from tests import services
from tests.faults.proxies import Listener, Proxy

KINDS = ("good", "killed", "slow", "lying")
SLOW_S = 2.0


@dataclass(frozen=True, slots=True)
class BadRedis:
    """One that is good until it turns bad."""

    url: str
    turn_bad: Callable[[], None]


@contextmanager
def served(kind: str) -> Iterator[BadRedis]:
    """A Redis that stays `good`, or will be `killed`, `slow` or `lying`. Raises: services.Missing, ValueError."""
    if kind not in KINDS:
        raise ValueError(f"A Redis can be {', '.join(KINDS)}.")
    if kind == "lying":
        with Liar() as liar:
            yield BadRedis(_url(liar.port), liar.turn_bad)
        return
    binary = shutil.which("redis-server")
    if binary is None:
        raise services.Missing("redis-server is not installed")
    port = services.free_port()
    quiet = ("--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--loglevel", "warning")
    process = subprocess.Popen([binary, "--port", str(port), *quiet], stdout=subprocess.DEVNULL)
    try:
        if kind in {"good", "killed"}:
            yield BadRedis(_url(port), process.kill if kind == "killed" else lambda: None)
            return
        with Proxy(port) as proxy:
            yield BadRedis(_url(proxy.port), lambda: setattr(proxy, "latency_s", SLOW_S))
    finally:
        process.kill()
        process.wait()


def _url(port: int) -> str:
    return f"redis://127.0.0.1:{port}/0"


class Liar(Listener):
    """Speaks just enough of Redis' protocol, and once turned bad answers what it likes."""

    def __init__(self) -> None:
        super().__init__()
        self._kept: dict[bytes, bytes] = {}
        self._bad = False
        self._whim = random.Random(1)  # noqa: S311 - which lie

    def turn_bad(self) -> None:
        """Lie from now on."""
        self._bad = True

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError, ValueError):
            while command := await _command(reader):
                writer.write(self._lie(command) if self._bad else self._answer(command))
                await writer.drain()
        writer.close()

    def _answer(self, command: list[bytes]) -> bytes:
        match command[0].upper(), command[1:]:
            case b"GET", [key]:
                return _bulk(self._kept.get(key))
            case b"SET", [key, value, *_]:
                self._kept[key] = value
            case b"DEL" | b"EXISTS", [key, *_]:
                return b":%d\r\n" % (key in self._kept)
            case b"INCR" | b"INCRBY", _:
                return b":1\r\n"
            case b"PING", _:
                return b"+PONG\r\n"
        return b"+OK\r\n"

    def _lie(self, command: list[bytes]) -> bytes:
        """The value of another key, a number, nothing, an error, or bytes that are no answer at all."""
        others = [*self._kept.values(), b"-1", b"\x80\x04N.", b"{}"]
        self._answer(command)
        return self._whim.choice(
            (
                _bulk(self._whim.choice(others)),
                _bulk(None),
                b":9223372036854775807\r\n",
                b"+OK\r\n",
                b"-READONLY You can't write against a read only replica.\r\n",
                b"HTTP/1.1 400 Bad Request\r\n\r\n",
            )
        )


async def _command(reader: asyncio.StreamReader) -> list[bytes]:
    """An array of bulk strings; empty at the end."""
    line = await reader.readline()
    if not line.startswith(b"*"):
        return []
    words = []
    for _ in range(int(line[1:])):
        size = int((await reader.readline())[1:])
        words.append((await reader.readexactly(size + 2))[:-2])
    return words


def _bulk(value: bytes | None) -> bytes:
    return b"$-1\r\n" if value is None else b"$%d\r\n%s\r\n" % (len(value), value)
