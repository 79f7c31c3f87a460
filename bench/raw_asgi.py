"""The floor: an ASGI function that reads the call and answers the bytes the bare SDK server answers."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

from bench.calls import delay_s

_ANSWER = Path(os.environ["BENCH_ANSWER_FILE"]).read_bytes()
_HEADERS = [(b"content-type", b"application/json"), (b"content-length", str(len(_ANSWER)).encode())]


async def app(
    scope: MutableMapping[str, Any],
    receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
    send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
) -> None:
    """Every request here has the id the kept answer has."""
    if scope["type"] != "http":
        raise RuntimeError("no lifespan here")
    message = await receive()
    body = message["body"]
    while message.get("more_body"):
        message = await receive()
        body += message["body"]
    if wait := delay_s(json.loads(body)["params"]["arguments"]):
        await asyncio.sleep(wait)
    await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
    await send({"type": "http.response.body", "body": _ANSWER})
