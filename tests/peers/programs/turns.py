"""The turns every Python program takes, its asks printed as one line of JSON each."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Any


async def take(ask: Callable[[], Awaitable[Any]], read: Callable[[Any], Awaitable[Any]]) -> None:
    """Ask, wait for a line when told to connect, ask again; then read the full result behind the answer."""
    while True:
        result = await ask()
        _print(result)
        if not (result.isError if hasattr(result, "isError") else result.is_error):
            break
        await asyncio.to_thread(sys.stdin.readline)
    _print(await read(next(block.uri for block in result.content if block.type == "resource_link")))


def _print(result: Any) -> None:
    sys.stdout.write(f"{result.model_dump_json(by_alias=True)}\n")
    sys.stdout.flush()
