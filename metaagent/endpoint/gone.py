"""Stops work whose client has gone away: where no stream is written, nobody else looks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from typing import Any, TypeVar

T = TypeVar("T")

_UNNOTICED_S = 0.1
"""Most calls are over by then, and need nobody who looks."""


class Gone(Exception):
    """The client went away before its answer was begun."""


async def unless_gone(
    receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
    work: Coroutine[Any, Any, T],
    *,
    answering: Callable[[], bool] = lambda: False,
) -> T:
    """Do `work`, cancelled when the client goes away unless `answering`. The request has been read. Raises: Gone."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    gone = False
    looking: asyncio.Task[None] | None = None

    async def look() -> None:
        nonlocal gone
        while (await receive())["type"] != "http.disconnect":
            pass
        if task is not None and not answering():
            gone = task.cancel()

    def begin() -> None:
        nonlocal looking
        looking = loop.create_task(look())

    timer = loop.call_later(_UNNOTICED_S, begin)
    try:
        return await work
    except asyncio.CancelledError:
        if not gone or task is None or task.uncancel():
            raise
        raise Gone from None
    finally:
        timer.cancel()
        if looking is not None:
            looking.cancel()
