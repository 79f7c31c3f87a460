"""The Shared port: in this process, or in Redis for several."""

from __future__ import annotations

import contextlib
import time
from collections import OrderedDict

from django.core.cache import cache

from metaagent.wiring.bridge import Bridge

_NOTE_BYTES = 160
"""More than a note is long: a list that is longer than as many notes is cut."""
_COUNTER_S = 2_592_000
"""How long a list's counter lasts. With a new one the list begins anew."""


class LocalShared:
    """The Shared port within one process: bounded by bytes, the longest unused go first."""

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._size = 0
        self._kept: OrderedDict[str, tuple[float, bytes]] = OrderedDict()

    async def load(self, key: str) -> bytes | None:
        """The value while it lasts."""
        kept = self._kept.get(key)
        return kept[1] if kept and kept[0] > time.monotonic() else None

    async def store(self, key: str, value: bytes, *, ttl_s: int) -> None:
        """Keep it, and make room."""
        old = self._kept.pop(key, None)
        self._size += len(value) - (len(old[1]) if old else 0)
        # A copy: what an encoder gives holds on to the room it wrote in, several times its size.
        self._kept[key] = (time.monotonic() + ttl_s, bytes(memoryview(value)))
        while self._size > self._most:
            _, (_, gone) = self._kept.popitem(last=False)
            self._size -= len(gone)

    async def keep(self, key: str, value: bytes, *, note: bytes, notes: str, most: int, ttl_s: int) -> None:
        """Keep both."""
        await self.store(key, value, ttl_s=ttl_s)
        older = await self.load(notes) or b""
        if len(older) > most * _NOTE_BYTES:
            older = older[: most * _NOTE_BYTES].rpartition(b"\n")[0]
        await self.store(notes, note + b"\n" + older, ttl_s=ttl_s)

    async def noted(self, notes: str, most: int) -> list[bytes]:
        """The list."""
        return (await self.load(notes) or b"").splitlines()[:most]


class CacheShared:
    """The Shared port over Django's cache, for several processes with Redis."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge

    async def load(self, key: str) -> bytes | None:
        """The value while it lasts."""
        found = await self._bridge.quick(lambda: cache.get(key))
        return found if isinstance(found, bytes) else None

    async def store(self, key: str, value: bytes, *, ttl_s: int) -> None:
        """Keep it in Redis."""
        await self._bridge.quick(lambda: cache.set(key, value, timeout=ttl_s))

    async def keep(self, key: str, value: bytes, *, note: bytes, notes: str, most: int, ttl_s: int) -> None:
        """Keep both; the list is a ring of keys with a counter, so that no process overwrites another's note."""

        def work() -> None:
            cache.set(key, value, timeout=ttl_s)
            cache.add(notes, 0, timeout=_COUNTER_S)
            with contextlib.suppress(ValueError):  # the counter ended in between: one note is lost
                cache.set(f"{notes}:{cache.incr(notes) % most}", note, timeout=ttl_s)

        await self._bridge.quick(work)

    async def noted(self, notes: str, most: int) -> list[bytes]:
        """The list, as far as it is still there."""

        def work() -> list[bytes]:
            turn = cache.get(notes)
            slots = range(turn, max(turn - most, 0), -1) if isinstance(turn, int) else ()
            found = (cache.get(f"{notes}:{slot % most}") for slot in slots)
            return [note for note in found if isinstance(note, bytes)]

        return await self._bridge.quick(work)
