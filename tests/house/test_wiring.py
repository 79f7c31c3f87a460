"""What is remembered about rights: as fresh as promised, also with a database that is slower than that."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from metaagent.wiring.bridge import Bridge
from metaagent.wiring.rights import Watch
from tenants import standing


class SlowDatabase:
    """Answers how often rights have changed, after a while."""

    def __init__(self, takes_s: float) -> None:
        self._takes = takes_s
        self._never = threading.Event()
        self.began: list[float] = []

    def generation(self) -> int:
        self.began.append(time.monotonic())
        self._never.wait(self._takes)
        return len(self.began)


async def test_a_database_slower_than_the_promise_still_gets_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    database, bridge = SlowDatabase(0.1), Bridge()
    monkeypatch.setattr(standing, "generation", database.generation)
    try:
        await asyncio.wait_for(Watch(bridge, every_s=0.02).stamp(), 3)
    finally:
        bridge.close()
    assert len(database.began) == 1


async def test_a_reading_that_began_too_long_ago_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    database, bridge = SlowDatabase(0.2), Bridge()
    monkeypatch.setattr(standing, "generation", database.generation)
    watch = Watch(bridge, every_s=0.02)
    try:
        first = asyncio.create_task(watch.stamp())
        while not database.began or time.monotonic() < database.began[0] + 0.1:  # noqa: ASYNC110 - a thread reads
            await asyncio.sleep(0.01)
        asked = time.monotonic()
        late = await asyncio.wait_for(watch.stamp(), 3)
        assert (await first)[0] == 1
    finally:
        bridge.close()
    assert late[0] == 2
    assert database.began[1] > asked
