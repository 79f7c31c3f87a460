"""The cache in Redis, which may be gone, slow or wrong: then this process goes on with a cache of its own.

Nothing here is needed for correctness. What Redis hands back is believed only when it carries our seal for that very
key; counters are plain numbers, so that they can be counted up in one step.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

import redis
from django.conf import settings
from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache
from django.core.cache.backends.locmem import LocMemCache

log = logging.getLogger(__name__)

T = TypeVar("T")

_MAC = 32
_REST_S = 5.0
"""How long Redis is left alone after it failed: the next caller does not wait for it again."""


class Lost(Exception):
    """Redis does not answer as it should, or did not a moment ago."""


@dataclass(slots=True)
class Server:
    """One Redis, and whether it is to be asked."""

    client: redis.Redis
    rest_until: float = 0.0
    """By the monotonic clock; 0 while it answers."""

    @property
    def resting(self) -> bool:
        """Whether `ask` would not even try."""
        return time.monotonic() < self.rest_until

    def ask(self, question: Callable[[redis.Redis], T]) -> T:
        """What `question` gives. After a rest one caller tries, and the others do not wait with it. Raises: Lost."""
        if self.resting:
            raise Lost
        if self.rest_until:
            self.rest_until = time.monotonic() + _REST_S
        rest_until = 0.0
        try:
            return question(self.client)
        except (redis.RedisError, OSError) as failed:
            rest_until = time.monotonic() + _REST_S
            log.warning("redis is not used for %g s: %s", _REST_S, type(failed).__name__)
            raise Lost from None
        finally:
            self.rest_until = rest_until


@lru_cache(maxsize=8)
def server(url: str, timeout_s: float = 0.5) -> Server:
    """The Redis at `url`, one object for everybody in this process."""
    return Server(redis.Redis.from_url(url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s))


class RedisOrLocal(BaseCache):
    """Values are bytes, integers, or what JSON can say. Never raises what Redis raises."""

    def __init__(self, url: str, params: dict[str, Any]) -> None:
        super().__init__(params)
        self._server = server(url, params.get("OPTIONS", {}).get("timeout_s", 0.5))
        self._redis = self._server.client
        self._local = LocMemCache(f"instead of {url}", params)
        self._seal_key = hmac.digest(settings.SECRET_KEY.encode(), b"metaagent cache", hashlib.sha256)

    def get(self, key: str, default: Any = None, version: int | None = None) -> Any:  # noqa: ANN401 - Django's signature
        """The value, or `default` when there is none that is ours."""
        name = self.make_key(key, version)
        return self._try(
            lambda: self._opened(name, self._redis.get(name), default), lambda: self._local.get(key, default, version)
        )

    def set(
        self,
        key: str,
        value: Any,  # noqa: ANN401 - Django's signature
        timeout: float | None = DEFAULT_TIMEOUT,
        version: int | None = None,
    ) -> None:
        """Keep it for `timeout` seconds."""
        name = self.make_key(key, version)
        self._try(
            lambda: self._redis.set(name, self._sealed(name, value), px=self._px(timeout)),
            lambda: self._local.set(key, value, timeout, version),
        )

    def add(
        self,
        key: str,
        value: Any,  # noqa: ANN401 - Django's signature
        timeout: float | None = DEFAULT_TIMEOUT,
        version: int | None = None,
    ) -> bool:
        """Keep it unless there is one. True when it was kept."""
        name = self.make_key(key, version)
        return self._try(
            lambda: bool(self._redis.set(name, self._sealed(name, value), px=self._px(timeout), nx=True)),
            lambda: self._local.add(key, value, timeout, version),
        )

    def incr(self, key: str, delta: int = 1, version: int | None = None) -> int:
        """Count up in one step. Raises: ValueError when there is no such counter."""
        name = self.make_key(key, version)

        def count() -> int:
            if not self._redis.exists(name):
                raise ValueError(f"there is no counter {key}")
            return int(self._redis.incr(name, delta))  # type: ignore[arg-type] # the stub allows an awaitable

        return self._try(count, lambda: self._local.incr(key, delta, version))

    def delete(self, key: str, version: int | None = None) -> bool:
        """Forget it. True when there was one."""
        name = self.make_key(key, version)
        return self._try(lambda: bool(self._redis.delete(name)), lambda: self._local.delete(key, version))

    def clear(self) -> None:
        """Forget everything."""
        self._try(lambda: bool(self._redis.flushdb()), self._local.clear)

    def _try(self, there: Callable[[], T], here: Callable[[], Any]) -> T:
        """In Redis, or for a while in this process when Redis fails."""
        try:
            return self._server.ask(lambda _: there())
        except Lost:
            found: T = here()
            return found

    def _px(self, timeout: float | None) -> int | None:
        seconds = self.default_timeout if timeout is DEFAULT_TIMEOUT else timeout
        return None if seconds is None else max(1, int(seconds * 1_000))

    def _sealed(self, name: str, value: Any) -> bytes:  # noqa: ANN401 - see the class
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value).encode()
        body = b"b" + value if isinstance(value, bytes) else b"j" + json.dumps(value).encode()
        return self._mac(name, body) + body

    def _opened(self, name: str, stored: Any, default: Any) -> Any:  # noqa: ANN401 - see the class
        if not isinstance(stored, bytes):
            return default
        if len(stored) <= 20 and stored.lstrip(b"-").isdigit():  # noqa: PLR2004 - a 64-bit number
            return int(stored)
        seal, body = stored[:_MAC], stored[_MAC:]
        if not hmac.compare_digest(seal, self._mac(name, body)):
            return default
        return body[1:] if body[:1] == b"b" else json.loads(body[1:])

    def _mac(self, name: str, body: bytes) -> bytes:
        return hmac.digest(self._seal_key, name.encode() + b"\0" + body, hashlib.sha256)
