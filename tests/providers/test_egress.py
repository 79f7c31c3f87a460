"""What the way out refuses, what it bounds, and that it connects to the very address it checked."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import socket
import ssl
import threading
import time
import traceback
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from providers.egress import (
    AsyncGuardedTransport,
    Egress,
    EgressPolicy,
    GuardedTransport,
    Limits,
    Lookup,
    address_allowed,
    check_url,
    decode_json,
    encode_query,
)
from providers.errors import EgressDenied, Unavailable

Play = Callable[["Provider", asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

PUBLIC = EgressPolicy()
SOON = Limits(connect_s=0.3, first_byte_s=0.3, total_s=0.6)


class Provider:
    """A server on loopback that plays what a test tells it, after each whole request."""

    def __init__(self, play: Play) -> None:
        self.play = play
        self.port = 0
        self.connections = 0
        self.requests: list[bytes] = []
        self._tasks: set[asyncio.Future[None]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def policy(self) -> EgressPolicy:
        return EgressPolicy.parse("127.0.0.0/8", f"127.0.0.1:{self.port} api.test:{self.port}")

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._tasks.add(asyncio.ensure_future(self._serve(reader, writer)))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, OSError):
            while True:
                request = await reader.readuntil(b"\r\n\r\n")
                if length := re.search(rb"(?i)content-length: *(\d+)", request):
                    request += await reader.readexactly(int(length[1]))
                self.requests.append(request)
                await self.play(self, reader, writer)
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()

    async def stop(self) -> None:
        await asyncio.gather(*self._tasks)


@asynccontextmanager
async def serving(
    play: Play, *, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Provider]:
    provider = Provider(play)
    server = await asyncio.start_server(provider.accept, host, port, ssl=tls)
    provider.port = server.sockets[0].getsockname()[1]
    try:
        yield provider
    finally:
        server.close()
        await provider.stop()


def answer(body: bytes = b"{}", *, status: str = "200 OK", headers: Sequence[str] = ()) -> Play:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return raw("\r\n".join(lines).encode() + b"\r\n\r\n" + body)


def raw(reply: bytes) -> Play:
    async def play(_: Provider, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(reply)
        await writer.drain()

    return play


async def silence(_: Provider, reader: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
    await reader.read()


def knows(**names: Sequence[str]) -> Lookup:
    """A name server that knows only these names (`_` for a dot) and must be asked for no other."""
    known = {name.replace("_", "."): addresses for name, addresses in names.items()}

    async def lookup(host: str) -> Sequence[str]:
        assert host in known, f"nobody should have asked for {host}"
        return known[host]

    return lookup


def unused_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


# ---------------------------------------------------------------------------------------------------- where to


def test_the_settings_make_a_policy() -> None:
    policy = EgressPolicy.parse("127.0.0.0/8, ::1/128", "Sandbox:8100 127.0.0.1:80,[::1]:8100")
    assert [str(network) for network in policy.allow_cidrs] == ["127.0.0.0/8", "::1/128"]
    assert policy.allow_http_hosts == {"sandbox:8100", "127.0.0.1:80", "[::1]:8100"}
    assert EgressPolicy.parse("", " ") == PUBLIC


@pytest.mark.parametrize(
    ("cidrs", "hosts", "names"),
    [
        ("10.0.0.1/8", "", "EGRESS_ALLOW_CIDRS: '10.0.0.1/8'"),
        ("everything", "", "EGRESS_ALLOW_CIDRS: 'everything'"),
        ("", "localhost", "EGRESS_ALLOW_HTTP_HOSTS: 'localhost'"),
        ("", "localhost:0", "EGRESS_ALLOW_HTTP_HOSTS: 'localhost:0'"),
        ("", "localhost:65536", "EGRESS_ALLOW_HTTP_HOSTS: 'localhost:65536'"),
        ("", "http://localhost:80", "EGRESS_ALLOW_HTTP_HOSTS: 'http://localhost:80'"),
        ("", "*.lan:80", "EGRESS_ALLOW_HTTP_HOSTS: '*.lan:80'"),
    ],
)
def test_a_wrong_setting_is_named_in_one_sentence(cidrs: str, hosts: str, names: str) -> None:
    with pytest.raises(ValueError, match=re.escape(names)):
        EgressPolicy.parse(cidrs, hosts)


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "140.82.121.6", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"]
)
def test_a_public_address_is_allowed(address: str) -> None:
    assert address_allowed(ip_address(address), PUBLIC)


REFUSED = [
    "0.0.0.0",  # noqa: S104 - connected to, not bound
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.169.254",
    "169.254.170.2",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:224.0.0.1",
    "::ffff:0:127.0.0.1",
    "64:ff9b::127.0.0.1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "64:ff9b:1:7f00:0:100::",
    "100::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:0:7f00:1::",
    "2001:20::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::1",
    "2606:4700::5efe:10.0.0.1",
    "2606:4700::200:5efe:127.0.0.1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::5efe:127.0.0.1",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
]


@pytest.mark.parametrize("address", REFUSED)
def test_an_address_that_is_not_public_is_refused(address: str) -> None:
    assert not address_allowed(ip_address(address), PUBLIC)


def test_the_operator_opens_exactly_the_networks_listed() -> None:
    policy = EgressPolicy.parse("10.1.0.0/16", "")
    assert address_allowed(ip_address("10.1.2.3"), policy)
    assert address_allowed(ip_address("::ffff:10.1.2.3"), policy)
    assert not address_allowed(ip_address("10.2.0.1"), policy)
    assert not address_allowed(ip_address("127.0.0.1"), policy)


NAMES = knows(
    localhost=["127.0.0.1"],
    LOCALHOST=["127.0.0.1"],
    localtest_me=["127.0.0.1"],
    spoofed_localhost=["::1"],
    metadata_google_internal=["169.254.169.254"],
    metadata=["169.254.169.254"],
    kubernetes_default_svc=["10.96.0.1"],
    instance__data_ec2_internal=["fd00:ec2::254"],
    evil_test=["93.184.216.34", "10.0.0.1"],
    mapped_test=["::ffff:127.0.0.1"],
    nat64_test=["64:ff9b::7f00:1"],
    multicast_test=["224.0.0.1"],
)

CORPUS = [
    # an address in plain sight
    "https://127.0.0.1/",
    "https://127.0.0.1:443/",
    "https://10.0.0.1/",
    "https://192.168.0.1/",
    "https://172.16.0.1/",
    "https://0.0.0.0/",
    "https://169.254.169.254/latest/meta-data/",
    "https://169.254.170.2/v2/credentials",
    "https://100.100.100.200/latest/meta-data/",
    "https://192.0.0.192/opc/v1/",
    "https://168.63.129.16/machine",
    "https://255.255.255.255/",
    "https://[::]/",
    "https://[::1]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:7f00:1]/",
    "https://[::127.0.0.1]/",
    "https://[0:0:0:0:0:0:0:1]/",
    "https://[64:ff9b::127.0.0.1]/",
    "https://[64:ff9b::a9fe:a9fe]/",
    "https://[64:ff9b:1::7f00:1]/",
    "https://[2002:7f00:1::]/",
    "https://[2001:0:7f00:1::]/",
    "https://[2606:4700::5efe:127.0.0.1]/",
    "https://[fd00:ec2::254]/latest/",
    "https://[fe80::1]/",
    "https://[fe80::1%25eth0]/",
    "https://[fec0::1]/",
    "https://[ff02::1]/",
    # an address in disguise
    "https://2130706433/",
    "https://017700000001/",
    "https://0x7f000001/",
    "https://0x7f.1/",
    "https://0x7f.0x0.0x0.0x1/",
    "https://0177.0.0.1/",
    "https://127.1/",
    "https://127.0.1/",
    "https://127.0.0.01/",
    "https://127.0.0.1./",
    "https://127.0.0.0x1/",
    "https://0/",
    "https://0x/",
    "https://0xa9fea9fe/",
    "https://2852039166/",
    "https://256.256.256.256/",
    "https://127.0.0.1.1/",
    "https://[127.0.0.1]/",
    "https://[::1",
    "https://::1/",
    "https://①②⑦.⓪.⓪.①/",
    "https://\uff11\uff12\uff17.0.0.1/",
    "https://127。0。0。1/",
    "https://127%2e0%2e0%2e1/",
    "https://%31%32%37.0.0.1/",
    # a name that leads inside
    "https://localhost/",
    "https://LOCALHOST/",
    "https://localhost./",
    "https://spoofed.localhost/",
    "https://localtest.me/",
    "https://metadata/",
    "https://metadata.google.internal/computeMetadata/v1/",
    "https://kubernetes.default.svc/",
    "https://evil.test/",
    "https://mapped.test/",
    "https://nat64.test/",
    "https://multicast.test/",
    # one host to a person, another to a parser
    "https://api.example.com@127.0.0.1/",
    "https://user:password@api.example.com/",
    "https://127.0.0.1#@api.example.com/",
    "https://api.example.com#@127.0.0.1/",
    "https://127.0.0.1\\@api.example.com/",
    "https://api.example.com\\.127.0.0.1/",
    "https:\\\\127.0.0.1\\",
    "https:/127.0.0.1/",
    "https:127.0.0.1",
    "https:///127.0.0.1/",
    "https://",
    "https:///",
    "https://.127.0.0.1/",
    "https://a..test/",
    "https://api.example.com./",
    "https://bücher.test/",
    "https://ⓛocalhost/",
    "http\u017f://localhost/",
    "https://\u212aubernetes.default.svc/",
    "https://127.0.0.1 .api.example.com/",
    " https://127.0.0.1/",
    "https://127.0.0.1/\r\nHost: api.example.com",
    "https://127.0.0.1\t/",
    "https://api.example.com/a b",
    "https://api.example.com/\x00",
    "https://api.example.com/\n",
    "https://api.example.com/ü",
    # another port, another protocol
    "http://api.example.com/",
    "http://api.example.com:443/",
    "https://api.example.com:80/",
    "https://api.example.com:22/",
    "https://api.example.com:6379/",
    "https://api.example.com:0/",
    "https://api.example.com:65979/",
    "https://api.example.com:-1/",
    "https://api.example.com:/",
    "https://api.example.com:\uff1443/",
    "file:///etc/passwd",
    "file://localhost/etc/passwd",
    "gopher://127.0.0.1:6379/_INFO",
    "data:application/json,{}",
    "dict://127.0.0.1:11211/stats",
    "ftp://127.0.0.1/",
    "ldap://127.0.0.1/",
    "ws://127.0.0.1/",
    "jar:https://127.0.0.1!/",
    "javascript:alert(1)",
    "//127.0.0.1/",
    "/etc/passwd",
    "127.0.0.1",
    "",
    "https://api.example.com/" + "a" * 4096,
    "https://" + "a" * 64 + ".test/",
]


@pytest.mark.parametrize("url", CORPUS)
async def test_a_url_that_leads_astray_is_denied(url: str) -> None:
    async with Egress(PUBLIC, resolver=NAMES) as egress:
        with pytest.raises(EgressDenied) as denied:
            await egress.fetch("GET", url)
    assert len(url) < 9 or url not in str(denied.value)


def test_an_honest_url_is_taken_apart_once() -> None:
    target = check_url("HTTPS://API.Example.com/a/%2F?q=%20&x[]=1", PUBLIC)
    assert (target.host, target.port, target.rest) == ("api.example.com", 443, "/a/%2F?q=%20&x[]=1")
    assert check_url("https://xn--bcher-kva.test:443", PUBLIC).origin == "https://xn--bcher-kva.test:443"
    assert check_url("https://[2606:4700::1111]/", PUBLIC).host == "[2606:4700::1111]"
    assert check_url("https://8.8.8.8/", PUBLIC).host == "8.8.8.8"


def test_plain_http_is_for_the_listed_host_and_port_only() -> None:
    policy = EgressPolicy.parse("10.0.0.0/8", "sentry.lan:9000")
    assert check_url("http://sentry.lan:9000/x", policy).port == 9000
    assert check_url("https://sentry.lan:9000/x", policy).port == 9000
    for url in ("http://sentry.lan/x", "http://other.lan:9000/x", "https://other.lan:9000/x", "http://10.0.0.1:9000/"):
        with pytest.raises(EgressDenied):
            check_url(url, policy)


async def test_a_listed_http_host_still_needs_an_allowed_address() -> None:
    async with serving(answer()) as provider:
        policy = EgressPolicy.parse("", f"127.0.0.1:{provider.port} api.test:{provider.port}")
        async with Egress(policy, resolver=knows(api_test=["127.0.0.1"])) as egress:
            for host in ("127.0.0.1", "api.test"):
                with pytest.raises(EgressDenied):
                    await egress.fetch("GET", f"http://{host}:{provider.port}/")
        assert provider.connections == 0


async def test_a_name_with_one_inner_address_among_its_addresses_is_denied_whole() -> None:
    async with serving(answer()) as provider:
        async with Egress(provider.policy, resolver=knows(api_test=["127.0.0.1", "10.0.0.1"])) as egress:
            with pytest.raises(EgressDenied):
                await egress.fetch("GET", f"http://api.test:{provider.port}/")
        assert provider.connections == 0


async def test_the_address_that_was_checked_is_the_one_connected_to() -> None:
    """A name server that answers 127.0.0.1 (allowed here) first and 127.0.0.2 (not allowed) ever after."""
    answers = iter(["127.0.0.1"])

    async def rebinding(_: str) -> Sequence[str]:
        return [next(answers, "127.0.0.2")]

    async with serving(answer(b"good")) as good, serving(answer(b"evil"), host="127.0.0.2", port=good.port) as evil:
        policy = EgressPolicy.parse("127.0.0.1/32", f"api.test:{good.port}")
        url = f"http://api.test:{good.port}/"
        async with Egress(policy, resolver=rebinding) as egress:
            assert (await egress.fetch("GET", url)).body == b"good"
            await egress.aclose()
            with pytest.raises(EgressDenied):
                await egress.fetch("GET", url)
        assert evil.connections == 0
        assert f"Host: api.test:{good.port}".encode() in good.requests[0]


async def test_the_systems_own_resolver_is_judged_too() -> None:
    async with Egress(PUBLIC) as egress:
        with pytest.raises(EgressDenied):
            await egress.fetch("GET", "https://localhost/")


async def test_redirects_are_answers_and_lead_nowhere() -> None:
    async with serving(answer()) as inner:
        redirect = answer(status="302 Found", headers=[f"Location: {inner.url}/secret"])
        async with serving(redirect) as provider, Egress(provider.policy) as egress:
            reply = await egress.fetch("GET", provider.url)
        assert reply.status == 302
        assert inner.connections == 0


async def test_proxies_and_passwords_of_the_environment_are_ignored(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login me password s3cret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    async with serving(answer(b"proxy")) as proxy, serving(answer(b"provider")) as provider:
        for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        monkeypatch.delenv("no_proxy", raising=False)
        async with Egress(provider.policy) as egress:
            assert (await egress.fetch("GET", provider.url)).body == b"provider"
        assert (await in_thread(provider, "GET", provider.url)).content == b"provider"
        assert proxy.connections == 0
    assert not any(b"uthorization" in request for request in provider.requests)


async def test_cookies_are_not_kept() -> None:
    async with serving(answer(headers=["Set-Cookie: session=1"])) as provider, Egress(provider.policy) as egress:
        for _ in range(2):
            await egress.fetch("GET", provider.url)
    assert b"ookie" not in provider.requests[1]


# ------------------------------------------------------------------------------------------------ what is sent


async def test_a_request_leaves_as_it_was_meant() -> None:
    async with serving(answer()) as provider, Egress(provider.policy) as egress:
        reply = await egress.fetch(
            "POST",
            f"{provider.url}/a%2Fb/%7Ec?x=1",
            params={"q": "is:open #1", "n": None},
            json={"title": "ü"},
            headers={"Host": "evil.test", "X-Own": "1", "accept-encoding": "br", "Connection": "close"},
        )
    head, _, body = provider.requests[0].partition(b"\r\n\r\n")
    lines = head.decode().lower().split("\r\n")
    assert lines[0] == "post /a%2fb/%7ec?x=1&q=is%3aopen%20%231 http/1.1"
    assert f"host: 127.0.0.1:{provider.port}" in lines
    assert not [line for line in lines if "evil" in line or line.startswith("connection") or line.endswith("br")]
    assert {"x-own: 1", "accept-encoding: gzip", "content-type: application/json"} <= set(lines)
    assert any(line.startswith("user-agent: metaagent/") for line in lines)
    assert json.loads(body) == {"title": "ü"}
    assert reply.sent_bytes > len(body)


@pytest.mark.parametrize("headers", [{"X": "a\r\nY: b"}, {"X": "a\nb"}, {"X\r\nY": "a"}, {"X": "a\x00"}, {"X:": "a"}])
async def test_a_header_that_could_become_two_is_not_sent(headers: dict[str, str]) -> None:
    async with serving(answer()) as provider, Egress(provider.policy) as egress:
        with pytest.raises(EgressDenied):
            await egress.fetch("GET", provider.url, headers=headers)
        assert provider.connections == 0


@pytest.mark.parametrize("method", ["CONNECT", "TRACE", "get", "GET / HTTP/1.1\r\nX: y"])
async def test_an_unusual_method_is_not_sent(method: str) -> None:
    async with Egress(PUBLIC) as egress:
        with pytest.raises(EgressDenied):
            await egress.fetch(method, "https://api.example.com/")


def test_a_query_leaves_out_none_and_repeats_lists() -> None:
    params = {"a": None, "b": [1, "x y", None], "c": True, "d": False, "e": 1.5, "f": "ü&=", "g": {"k": [1]}, "h": []}
    assert encode_query(params) == "b=1&b=x%20y&c=true&d=false&e=1.5&f=%C3%BC%26%3D&g=%7B%22k%22%3A%20%5B1%5D%7D"


# ---------------------------------------------------------------------------------------------- what comes back


async def test_header_names_come_in_lower_case_and_repeated_headers_as_a_list() -> None:
    play = answer(headers=["X-Total: 3", 'Link: <a>; rel="next"', 'LINK: <b>; rel="last"'])
    async with serving(play) as provider, Egress(provider.policy) as egress:
        headers = (await egress.fetch("GET", provider.url)).headers
    assert headers["x-total"] == "3"
    assert headers["link"] == '<a>; rel="next", <b>; rel="last"'


async def test_gzip_is_decoded() -> None:
    body = gzip.compress(b'{"a": 1}' * 1000)
    play = answer(body, headers=["Content-Encoding: gzip"])
    async with serving(play) as provider, Egress(provider.policy) as egress:
        reply = await egress.fetch("GET", provider.url)
    assert reply.body == b'{"a": 1}' * 1000
    assert "content-encoding" not in reply.headers


async def endless(_: Provider, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
        await writer.drain()


async def endless_headers(_: Provider, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"X-More: " + b"y" * 1000 + b"\r\n")
        await writer.drain()


async def endless_header(_: Provider, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nX-More: ")
    while True:
        writer.write(b"y" * 1000)
        await writer.drain()


async def reset(_: Provider, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


@pytest.mark.parametrize(
    ("play", "says"),
    [
        (answer(b"x" * 10_000_000), "too large"),
        (endless, "too large"),
        (answer(gzip.compress(b"{}")[:-4], headers=["Content-Encoding: gzip"]), "broke off"),
        (answer(b"not gzip at all", headers=["Content-Encoding: gzip"]), "broke off"),
        (answer(b"x", headers=["Content-Encoding: br"]), "not asked for"),
        (answer(b"x", headers=["Content-Encoding: gzip, gzip"]), "not asked for"),
        (endless_headers, "broke off"),
        (endless_header, "broke off"),
        (reset, "broke off"),
        (raw(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), "broke off"),
        (raw(b"HTTP/1.1 200 OK\r\nContent-Length: nine\r\n\r\n"), "broke off"),
    ],
)
async def test_a_hostile_answer_ends_in_one_sentence(play: Play, says: str) -> None:
    async with serving(play) as provider, Egress(provider.policy) as egress:
        with pytest.raises(Unavailable, match=says) as failed:
            await egress.fetch("GET", provider.url)
    assert failed.value.sent


async def test_a_gzip_bomb_does_not_go_off() -> None:
    bomb = answer(gzip.compress(bytes(64_000_000)), headers=["Content-Encoding: gzip"])
    async with serving(bomb) as provider, Egress(provider.policy) as egress:
        tracemalloc.start()
        try:
            with pytest.raises(Unavailable, match="too large"):
                await egress.fetch("GET", provider.url)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 20_000_000


async def test_an_answer_cut_short_is_no_answer() -> None:
    async def cut(_: Provider, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}")
        await writer.drain()
        raise OSError

    async with serving(cut) as provider, Egress(provider.policy) as egress:
        with pytest.raises(Unavailable, match="broke off"):
            await egress.fetch("GET", provider.url)


async def test_silence_ends_with_the_limit_for_the_first_byte() -> None:
    async with serving(silence) as provider, Egress(provider.policy) as egress:
        with pytest.raises(Unavailable, match=r"did not answer within 0\.3 seconds") as failed:
            await egress.fetch("GET", provider.url, limits=SOON)
    assert failed.value.sent


@pytest.mark.parametrize("begin", [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"])
async def test_a_drip_ends_with_the_limit_for_the_whole(begin: bytes) -> None:
    async def drip(_: Provider, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(begin)
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.02)  # never silent for long: that is the fault under test

    async with serving(drip) as provider, Egress(provider.policy) as egress:
        began = time.monotonic()
        with pytest.raises(Unavailable, match=r"did not answer within 0\.6 seconds"):
            await egress.fetch("GET", provider.url, limits=SOON)
        with pytest.raises(Unavailable, match=r"did not answer within 0\.6 seconds"):
            await in_thread(provider, "GET", provider.url, limits=SOON)
    assert time.monotonic() - began < 5


async def test_what_never_left_is_known_never_to_have_left() -> None:
    async def nowhere(_: str) -> Sequence[str]:
        raise OSError

    async def hangs(_: str) -> Sequence[str]:
        await asyncio.Event().wait()
        return []

    port = unused_port()
    async with serving(silence) as deaf:
        policy = EgressPolicy.parse("127.0.0.0/8", f"127.0.0.1:{port} 127.0.0.1:{deaf.port}")
        for resolver, url, says in (
            (nowhere, "https://api.test/", "could not be reached."),
            (knows(api_test=[]), "https://api.test/", "could not be reached."),
            (hangs, "https://api.test/", "could not be reached within 0.3 seconds"),
            (nowhere, f"http://127.0.0.1:{port}/", "could not be reached."),
            (nowhere, f"https://127.0.0.1:{deaf.port}/", "could not be reached within 0.3 seconds"),
        ):
            async with Egress(policy, resolver=resolver) as egress:
                with pytest.raises(Unavailable, match=re.escape(says)) as failed:
                    await egress.fetch("POST", url, limits=SOON)
            assert not failed.value.sent


async def test_a_write_whose_pooled_connection_breaks_is_sent_once() -> None:
    async def first_only(provider: Provider, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(provider.requests) == 1:
            writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        else:
            raise OSError

    for method in ("PUT", "DELETE", "POST", "PATCH"):
        async with serving(first_only) as provider, Egress(provider.policy) as egress:
            await egress.fetch(method, provider.url)
            with pytest.raises(Unavailable) as failed:
                await egress.fetch(method, provider.url)
        assert failed.value.sent
        assert len(provider.requests) == 2


@pytest.mark.parametrize("play", [reset, silence, answer(b"x" * 3_000_000)])
async def test_a_failure_quotes_neither_query_nor_header(play: Play, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(0)
    async with serving(play) as provider, Egress(provider.policy) as egress:
        with pytest.raises(Unavailable) as failed:
            await egress.fetch(
                "GET",
                f"{provider.url}/?code=s3cret",
                headers={"Authorization": "Bearer s3cret"},
                params={"p": "s3cret"},
                limits=SOON,
            )
    assert "s3cret" not in "".join(traceback.format_exception(failed.value)) + caplog.text


# ---------------------------------------------------------------------------------------------------- foreign JSON


@pytest.mark.parametrize(
    "body",
    [
        b"<!doctype html><title>Log in</title>",
        b"",
        b"OK",
        b"{",
        b"\xff\xfe",
        b'{"a": "\xed\xa0\x80"}',
        b"NaN",
        b"[Infinity]",
        b"[-1e999]",
        b"9" * 5000,
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b"[" * 65 + b"]" * 65,
        b'{"a":[' * 33 + b"]}" * 33,
    ],
)
def test_what_is_not_plain_json_is_no_data(body: bytes) -> None:
    with pytest.raises(Unavailable):
        decode_json(body)


def test_json_may_nest_as_deep_as_the_limit() -> None:
    assert decode_json(b"[" * 64 + b"]" * 64)
    five_deep = b'{"a": [1, {"b": [[]]}], "c": "[[[[[[[["}'
    assert decode_json(five_deep, 5) == {"a": [1, {"b": [[]]}], "c": "[[[[[[[["}
    with pytest.raises(Unavailable, match="too deeply"):
        decode_json(five_deep, 4)
    assert decode_json(b"\xef\xbb\xbf[1.5, null]") == [1.5, None]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (r'"\ud83d\ude00"', "\U0001f600"),
        (r'"a\ud800"', "a\ufffd"),
        (r'"\uDE00\uD83D"', "\ufffd\ufffd"),
        (r'"\\ud800"', r"\ud800"),
        (r'"\\ud83d\ude00"', "\\ud83d\ufffd"),
        (r'"\n\ud83d\\ude00"', "\n\ufffd\\ude00"),
    ],
)
def test_half_a_character_is_replaced_because_it_cannot_be_sent_on(text: str, value: str) -> None:
    assert decode_json(text.encode()) == value
    assert decode_json(text.encode()).encode()


# --------------------------------------------------------------------------------------------------------- the pool


async def test_nothing_is_made_anew_once_the_pool_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    new_context = ssl.SSLContext.__new__

    def context(cls: type[ssl.SSLContext], protocol: int) -> ssl.SSLContext:
        made.append("context")
        return new_context(cls, protocol)

    monkeypatch.setattr(ssl.SSLContext, "__new__", context)
    async with serving(answer()) as provider, Egress(provider.policy) as egress:
        for _ in range(5):
            await egress.fetch("GET", provider.url)
        assert provider.connections == 1
        await asyncio.gather(*(egress.fetch("POST", provider.url, json={}) for _ in range(3)))
    assert made == []
    assert provider.connections <= 3


async def test_one_host_gets_at_most_64_connections() -> None:
    full = asyncio.Event()

    async def hold(provider: Provider, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(provider.requests) == 64:
            full.set()
        await full.wait()
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")

    async with serving(hold) as provider, Egress(provider.policy) as egress:
        async with asyncio.timeout(10):
            await asyncio.gather(*(egress.fetch("GET", provider.url) for _ in range(80)))
        assert provider.connections == 64


# --------------------------------------------------------------------------------------------------------------- TLS


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's context with a certificate for api.test, and a client's that trusts it."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "api.test")])
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("api.test")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(identifier, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = tmp_path_factory.mktemp("tls") / "both.pem"
    public = certificate.public_bytes(serialization.Encoding.PEM)
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    pem.write_bytes(secret + public)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(pem)
    return server, ssl.create_default_context(cadata=public.decode())


async def test_https_keeps_the_name_while_it_connects_to_the_address(
    authority: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    server, trusting = authority
    names: list[str | None] = []
    server.sni_callback = lambda _, name, __: names.append(name)
    async with serving(answer(b"good"), tls=server) as provider:
        resolver, url = knows(api_test=["127.0.0.1"]), f"https://api.test:{provider.port}/"
        async with Egress(provider.policy, resolver=resolver, tls=trusting) as egress:
            assert (await egress.fetch("GET", url)).body == b"good"
        reply = await in_thread(provider, "GET", url, resolver=resolver, tls=trusting)
        assert reply.content == b"good"
    assert names == ["api.test", "api.test"]
    assert f"Host: api.test:{provider.port}".encode() in provider.requests[0]


async def test_a_certificate_for_another_name_or_from_nobody_is_refused(
    authority: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    server, trusting = authority
    async with serving(answer(), tls=server) as provider:
        policy = EgressPolicy.parse("127.0.0.0/8", f"other.test:{provider.port} api.test:{provider.port}")
        resolver = knows(api_test=["127.0.0.1"], other_test=["127.0.0.1"])
        for host, tls in (("other.test", trusting), ("api.test", None)):
            async with Egress(policy, resolver=resolver, tls=tls) as egress:
                with pytest.raises(Unavailable, match="certificate could not be verified") as failed:
                    await egress.fetch("GET", f"https://{host}:{provider.port}/")
            assert not failed.value.sent
        assert provider.requests == []


# ------------------------------------------------------------------------------------------------------------ httpx2


async def in_thread(
    provider: Provider,
    method: str,
    url: str,
    *,
    limits: Limits | None = None,
    resolver: Lookup | None = None,
    tls: ssl.SSLContext | None = None,
) -> httpx2.Response:
    def call() -> httpx2.Response:
        transport = GuardedTransport(provider.policy, limits=limits, resolver=resolver, tls=tls)
        with httpx2.Client(transport=transport, follow_redirects=True) as client:
            return client.request(method, url, data={"grant_type": "refresh_token"} if method == "POST" else None)

    return await asyncio.to_thread(call)


async def test_httpx2_goes_the_same_way_out() -> None:
    play = answer(gzip.compress(b'{"access_token": "a"}'), headers=["Content-Encoding: gzip"])
    async with serving(play) as provider:
        reply = await in_thread(provider, "POST", f"{provider.url}/token?x=1")
        assert reply.json() == {"access_token": "a"}
        async with (
            Egress(provider.policy) as egress,
            httpx2.AsyncClient(transport=AsyncGuardedTransport(egress)) as client,
        ):
            assert (await client.get(f"{provider.url}/me")).json() == {"access_token": "a"}
    assert provider.requests[0].startswith(b"POST /token?x=1 HTTP/1.1\r\n")
    assert provider.requests[0].endswith(b"\r\n\r\ngrant_type=refresh_token")
    assert provider.requests[1].startswith(b"GET /me HTTP/1.1\r\n")
    assert all(b"ser-agent: metaagent/" in request.lower() for request in provider.requests)


async def test_httpx2_is_refused_what_egress_refuses_even_after_a_redirect() -> None:
    inside = answer(status="307 Temporary Redirect", headers=["Location: https://169.254.169.254/latest/"])
    async with serving(inside) as provider:
        with pytest.raises(EgressDenied):
            await in_thread(provider, "GET", provider.url)
        with pytest.raises(EgressDenied):
            await in_thread(provider, "GET", "https://10.0.0.1/")
        async with (
            Egress(provider.policy) as egress,
            httpx2.AsyncClient(transport=AsyncGuardedTransport(egress, limits=SOON)) as client,
        ):
            with pytest.raises(EgressDenied):
                await client.get("https://10.0.0.1/")


async def test_a_hanging_name_server_does_not_hold_up_the_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's resolver cannot be interrupted; the request must end without it."""
    done = threading.Event()

    def hangs(*_: object, **__: object) -> list[object]:
        done.wait(10)
        return []

    async with serving(answer()) as provider:
        monkeypatch.setattr(socket, "getaddrinfo", hangs)
        began = time.monotonic()
        with pytest.raises(Unavailable) as failed:
            await in_thread(provider, "GET", f"http://api.test:{provider.port}/", limits=SOON)
        done.set()
    assert not failed.value.sent
    assert time.monotonic() - began < 5
