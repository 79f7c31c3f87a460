"""One exchange after the other over kept connections: what is whole, what is not, and what is never handed on."""

from __future__ import annotations

import asyncio
from typing import NoReturn

import pytest

from providers import http1
from providers.egress import Egress, EgressPolicy, Limits
from providers.errors import Unavailable
from tests.providers.test_egress import Play, Provider, answer, knows, raw, serving

HEAD = b"HTTP/1.1 200 OK\r\n"


def last(reply: bytes) -> Play:
    """Answer and end the connection."""

    async def play(_: Provider, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(reply)
        await writer.drain()
        raise OSError

    return play


def in_turn(*plays: Play) -> Play:
    """One request after the other."""

    async def play(provider: Provider, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await plays[len(provider.requests) - 1](provider, reader, writer)

    return play


@pytest.mark.parametrize(
    ("play", "body"),
    [
        (
            raw(HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\nX-Trailer: 1\r\n\r\n"),
            b"hello",
        ),
        (last(HEAD + b"\r\nhello"), b"hello"),
        (last(b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nhello"), b"hello"),
        (raw(b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n" + HEAD + b"Content-Length: 5\r\n\r\nhello"), b"hello"),
        (raw(HEAD + b"Content-Length: 0\r\n\r\n"), b""),
        (raw(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"), b""),
    ],
)
async def test_an_answer_ends_where_http_says(play: Play, body: bytes) -> None:
    async with serving(play) as provider, Egress(provider.policy) as egress:
        reply = await egress.fetch("GET", provider.url)
    assert reply.body == body
    assert "link" not in reply.headers


@pytest.mark.parametrize(
    "reply",
    [
        HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        HEAD + b"Transfer-Encoding: gzip\r\n\r\nhello",
        HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        HEAD + b"Content-Length: 5\r\nX: a\r\n b\r\n\r\nhello",
        b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nhello",
    ],
)
async def test_an_answer_that_can_be_read_two_ways_is_none(reply: bytes) -> None:
    async with serving(last(reply)) as provider, Egress(provider.policy) as egress:
        with pytest.raises(Unavailable, match="broke off"):
            await egress.fetch("GET", provider.url)


@pytest.mark.parametrize("more", [HEAD + b"Content-Length: 6\r\n\r\nforged", b"nonsense", b"\r\n\r\n", HEAD + b"X: "])
async def test_what_comes_after_an_answer_is_never_another_s(more: bytes) -> None:
    first = raw(HEAD + b"Content-Length: 5\r\n\r\nfirst" + more)
    async with serving(in_turn(first, answer(b"second"))) as provider, Egress(provider.policy) as egress:
        assert (await egress.fetch("GET", provider.url)).body == b"first"
        assert (await egress.fetch("GET", provider.url)).body == b"second"


async def test_what_comes_unasked_ends_the_connection() -> None:
    more, ended = asyncio.Event(), asyncio.Event()

    async def talks(_: Provider, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + b"Content-Length: 5\r\n\r\nfirst")
        await more.wait()
        writer.write(HEAD + b"Content-Length: 6\r\n\r\nforged")
        try:
            await reader.read()
        finally:
            ended.set()

    async with serving(in_turn(talks, answer(b"second"))) as provider, Egress(provider.policy) as egress:
        assert (await egress.fetch("GET", provider.url)).body == b"first"
        more.set()
        await ended.wait()
        assert (await egress.fetch("GET", provider.url)).body == b"second"
        assert provider.connections == 2


async def test_connections_are_kept_unless_the_provider_says_otherwise() -> None:
    async with serving(answer()) as provider, Egress(provider.policy) as egress:
        for _ in range(3):
            await egress.fetch("GET", provider.url)
        assert provider.connections == 1
        await egress.aclose()
        await egress.fetch("GET", provider.url)
        assert provider.connections == 2
    for closing in (answer(headers=["Connection: close"]), raw(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}")):
        async with serving(closing) as provider, Egress(provider.policy) as egress:
            for _ in range(3):
                await egress.fetch("GET", provider.url)
            assert provider.connections == 3


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_read_is_sent_again_when_its_kept_connection_was_over(method: str) -> None:
    over: Play = last(b"")
    play = in_turn(answer(b"first"), over, answer(b"second"))
    async with serving(play) as provider, Egress(provider.policy) as egress:
        await egress.fetch("GET", provider.url)
        assert (await egress.fetch(method, provider.url)).status == 200
        assert len(provider.requests) == 3


async def test_a_read_is_not_sent_again_once_an_answer_has_begun() -> None:
    play = in_turn(answer(b"first"), last(HEAD), answer(b"second"))
    async with serving(play) as provider, Egress(provider.policy) as egress:
        await egress.fetch("GET", provider.url)
        with pytest.raises(Unavailable, match="broke off") as failed:
            await egress.fetch("GET", provider.url)
        assert failed.value.sent
        assert len(provider.requests) == 2


async def test_a_head_has_no_body_whatever_it_announces() -> None:
    async with serving(raw(HEAD + b"Content-Length: 500\r\n\r\n")) as provider, Egress(provider.policy) as egress:
        for _ in range(2):
            reply = await egress.fetch("HEAD", provider.url)
            assert (reply.status, reply.body) == (200, b"")


async def test_the_next_address_is_tried_when_one_does_not_answer() -> None:
    async with serving(answer(b"good"), host="127.0.0.2") as provider:
        policy = EgressPolicy.parse("127.0.0.0/8", f"api.test:{provider.port}")
        resolver = knows(api_test=["127.0.0.1", "127.0.0.2"])
        async with Egress(policy, resolver=resolver) as egress:
            assert (await egress.fetch("GET", f"http://api.test:{provider.port}/")).body == b"good"


async def test_a_caller_that_is_cancelled_gives_back_what_it_had() -> None:
    asked = asyncio.Event()

    async def hangs(_: Provider, reader: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
        asked.set()
        await reader.read()

    async with serving(in_turn(hangs, answer(b"second"))) as provider:
        pool = http1.Pool(knows(**{"127_0_0_1": ["127.0.0.1"]}), _no_tls, per_origin=1, in_all=1)
        bounds = http1.Bounds(connect_s=2, silence_s=5, total_s=5, body_bytes=100)
        origin = ("http", "127.0.0.1", provider.port)
        request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
        waits = asyncio.create_task(pool.exchange(origin, request, bounds, head=False, again=True))
        await asked.wait()
        waits.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waits
        reply = await pool.exchange(origin, request, bounds, head=False, again=True)
        pool.close()
    assert reply.body == b"second"


async def test_who_waits_too_long_for_a_free_connection_has_sent_nothing() -> None:
    release = asyncio.Event()

    async def holds(_: Provider, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await release.wait()
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")

    async with serving(holds) as provider, Egress(provider.policy) as egress:
        held = [asyncio.create_task(egress.fetch("GET", provider.url)) for _ in range(64)]
        await asyncio.sleep(0)
        with pytest.raises(Unavailable, match=r"could not be reached within 0\.1 seconds") as failed:
            await egress.fetch("POST", provider.url, json={}, limits=Limits(connect_s=0.1))
        release.set()
        await asyncio.gather(*held)
    assert not failed.value.sent
    assert len(provider.requests) == 64


def _no_tls() -> NoReturn:
    raise AssertionError
