"""Redis may be gone, slow or wrong: nothing depends on it, and nothing it says is believed without our seal."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import redis

from metaagent.cache import RedisOrLocal
from tests.services import free_port

URL = os.environ["METAAGENT_TEST_REDIS"]
needs_redis = pytest.mark.skipif(not URL, reason="redis could not be started")


@pytest.fixture
def cache() -> Iterator[RedisOrLocal]:
    made = RedisOrLocal(URL, {})
    yield made
    made.clear()


@contextmanager
def listening(answer: bytes) -> Iterator[str]:
    """Something on a port that answers every request with the same bytes, or with nothing at all."""
    server = socket.create_server(("127.0.0.1", 0))
    held: list[socket.socket] = []

    def serve() -> None:
        while True:
            try:
                peer, _ = server.accept()
            except OSError:
                return
            held.append(peer)
            threading.Thread(target=talk, args=(peer,), daemon=True).start()

    def talk(peer: socket.socket) -> None:
        try:
            while peer.recv(65_536):
                if answer:
                    peer.sendall(answer)
        except OSError:
            return

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"redis://127.0.0.1:{server.getsockname()[1]}/0"
    finally:
        server.close()
        for peer in held:
            peer.close()


@needs_redis
def test_what_is_stored_is_found_by_another_process(cache: RedisOrLocal) -> None:
    cache.set("a", b"\x00bytes", timeout=60)
    cache.set("b", {"x": [1, "y"]}, timeout=60)
    other = RedisOrLocal(URL, {})
    assert other.get("a") == b"\x00bytes"
    assert other.get("b") == {"x": [1, "y"]}
    assert other.get("none", "default") == "default"
    assert other.delete("a")
    assert cache.get("a") is None


@needs_redis
def test_counters_count_in_one_step_and_values_end(cache: RedisOrLocal) -> None:
    assert cache.add("n", 0, timeout=60)
    assert not cache.add("n", 0, timeout=60)
    assert [cache.incr("n"), cache.incr("n", 5)] == [1, 6]
    assert cache.get("n") == 6
    with pytest.raises(ValueError, match="no counter"):
        cache.incr("nobody")
    cache.set("short", b"x", timeout=0.001)
    deadline = time.monotonic() + 2
    while cache.get("short") is not None:
        assert time.monotonic() < deadline


@needs_redis
def test_a_value_put_under_another_key_is_not_believed(cache: RedisOrLocal) -> None:
    cache.set("result:mine", b"mine", timeout=60)
    cache.set("result:yours", b"yours", timeout=60)
    raw = redis.Redis.from_url(URL)
    raw.set(cache.make_key("result:mine"), raw.get(cache.make_key("result:yours")))  # type: ignore[arg-type]
    assert cache.get("result:mine") is None
    assert cache.get("result:yours") == b"yours"


@needs_redis
@pytest.mark.parametrize("lie", [b"", b"x" * 40, b"\x80\x05cos\nsystem\n(S'true'\ntR.", b"b" * 33])
def test_what_we_did_not_write_is_not_there(cache: RedisOrLocal, lie: bytes) -> None:
    redis.Redis.from_url(URL).set(cache.make_key("k"), lie)
    assert cache.get("k", "default") == "default"


@pytest.mark.parametrize("answer", [b"-ERR no\r\n", b"garbage\r\n", b"$9999999\r\nx", b""])
def test_a_redis_that_fails_or_hangs_is_left_alone_and_this_process_goes_on(answer: bytes) -> None:
    with listening(answer) as url:
        cache = RedisOrLocal(url, {"OPTIONS": {"timeout_s": 0.1}})
        began = time.monotonic()
        cache.set("k", b"v", timeout=60)
        for _ in range(50):
            assert cache.get("k") == b"v"
        assert cache.add("n", 0, timeout=60)
        assert cache.incr("n") == 1
        assert time.monotonic() - began < 2


def test_no_redis_at_all_is_the_same() -> None:
    cache = RedisOrLocal(f"redis://127.0.0.1:{free_port()}/0", {})
    cache.set("k", b"v", timeout=60)
    assert cache.get("k") == b"v"
    cache.clear()
    assert cache.get("k") is None
