"""What goes away and comes back: a provider of a test's own, and the keys."""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import lru_cache
from typing import Any, NoReturn

import pytest

from providers.sandbox.app import create_app
from tests.world import Served, serve
from vault import keyring, sealing
from vault.crypto import KeysUnavailable

_app = lru_cache(maxsize=1)(create_app)
"""Its world takes half a second to make."""


class Provider:
    """The sandbox at an address of its own. It can go down, and comes back as it was."""

    def __init__(self) -> None:
        self._app = _app()
        self._port = int(os.environ["TEST_OTHER_PORT"])
        self._running: AbstractContextManager[Served] | None = None
        self.served = Served(f"http://127.0.0.1:{self._port}")
        self.slow_s = 0.0
        """How long a request to end a token waits; set to 0, none waits any longer."""
        self._asked: Counter[str] = Counter()

    def up(self) -> None:
        self._running = serve(self, self._port)
        self._running.__enter__()

    def down(self) -> None:
        self.slow_s = 0.0
        if self._running is not None:
            self._running.__exit__(None, None, None)
            self._running = None

    def asked(self, path: str) -> int:
        """How many requests for this path have come."""
        return self._asked[path]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        path = scope.get("path", "")
        self._asked[path] += 1
        if path == "/oauth/revoke/":
            until = time.monotonic() + self.slow_s
            while time.monotonic() < until and self.slow_s:  # noqa: ASYNC110 - set from the thread of the test
                await asyncio.sleep(0.02)
        await self._app(scope, receive, send)


@contextmanager
def provider_up() -> Iterator[Provider]:
    """Alone at its address, and up to begin with."""
    made = Provider()
    made.up()
    with made.served.http as http:
        http.post("/_reset").raise_for_status()
        http.post("/_faults", json={}).raise_for_status()
    try:
        yield made
    finally:
        made.down()


@contextmanager
def no_keys() -> Iterator[None]:
    """As if the key encryption key could not be reached, and nothing had been opened lately."""

    class Away:
        uri = "away:"

        def holds(self, _uri: str) -> NoReturn:
            raise KeysUnavailable

        def wrap(self, *_: object) -> NoReturn:
            raise KeysUnavailable

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keyring, "keks", lambda: (Away(),))
        sealing._opened.clear()
        yield
    sealing._opened.clear()
