"""Calls that a handshake-era client may still cancel: there, `notifications/cancelled` is a request of its own.

It reaches the calls of this process. Closing the connection stops a call wherever it runs, and from 2026-07-28 on that
is the only way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

T = TypeVar("T")

Key: TypeAlias = tuple[str, int | str]
"""A session and the id of a request in it: nobody else's, since sessions are bound to a principal and all different."""


@dataclass(frozen=True, slots=True)
class Underway:
    """What is being worked on."""

    stops: dict[Key, Callable[[], None]] = field(default_factory=dict)

    def cancel(self, key: Key) -> None:
        """Stop it, if it is still underway here."""
        if stop := self.stops.get(key):
            stop()

    async def do(self, key: Key, work: Coroutine[Any, Any, T], *, cancelled: T) -> T:
        """The outcome of `work`, or `cancelled`."""
        task = asyncio.current_task()
        stopped = False

        def stop() -> None:
            nonlocal stopped
            if task is not None and not stopped:
                stopped = task.cancel()

        self.stops[key] = stop
        try:
            return await work
        except asyncio.CancelledError:
            if not stopped or task is None or task.uncancel():
                raise
            return cancelled
        finally:
            if self.stops.get(key) is stop:
                del self.stops[key]
