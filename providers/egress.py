"""The one way out: every address is checked and then connected to, every answer is bounded in size and time."""

from __future__ import annotations

import asyncio
import codecs
import math
import re
import socket
import ssl
import zlib
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache, partial
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from json import JSONDecoder, dumps
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Self, TypeAlias
from urllib.parse import quote

import httpx2
import orjson

from metaagent import __version__
from metaagent.values import value
from providers import http1
from providers.errors import EgressDenied, Unavailable

if TYPE_CHECKING:
    from providers.spec import Json

Address: TypeAlias = IPv4Address | IPv6Address
Lookup: TypeAlias = Callable[[str], Awaitable[Sequence[str]]]
"""A host name to the addresses it has now. Raises: `OSError` when it has none."""

USER_AGENT: Final = f"metaagent/{__version__}"
MAX_URL: Final = 4096
_PER_HOST: Final = 64
_IN_ALL: Final = 1024


# ---------------------------------------------------------------------------------------------------------- policy


@dataclass(frozen=True, slots=True)
class Limits:
    """How long one request may take and how much its answer may hold."""

    connect_s: float = 3
    """A free slot in the pool, the name, TCP and TLS, together."""
    first_byte_s: float = 10
    """The longest silence, before the first byte as after it."""
    total_s: float = 30
    """From the first step to the last byte by the wall clock, however the answer trickles."""
    max_wire_bytes: int = 2 * 1024 * 1024
    max_decoded_bytes: int = 8 * 1024 * 1024
    max_depth: int = 64


@dataclass(frozen=True)
class EgressPolicy:
    """Where requests may go. By default: public addresses, https, port 443."""

    allow_cidrs: tuple[IPv4Network | IPv6Network, ...] = ()
    allow_http_hosts: frozenset[str] = frozenset()
    """Exact `host:port` that may be spoken to in plain http, and by https on that port."""
    ports: frozenset[int] = frozenset({443})
    limits: Limits = field(default_factory=Limits)

    @classmethod
    def parse(cls, cidrs: str, http_hosts: str) -> EgressPolicy:
        """The policy that EGRESS_ALLOW_CIDRS and EGRESS_ALLOW_HTTP_HOSTS ask for; commas or spaces between entries.

        Raises: `ValueError` with one sentence that names the setting and the entry.
        """
        networks = []
        for word in cidrs.replace(",", " ").split():
            try:
                networks.append(ip_network(word))
            except ValueError:
                raise ValueError(f"EGRESS_ALLOW_CIDRS: {word!r} is not a network such as 10.0.0.0/8.") from None
        hosts = http_hosts.lower().replace(",", " ").split()
        for word in hosts:
            host, _, port = word.rpartition(":")
            if not _HOST.fullmatch(host) or not _PORT.fullmatch(port) or not 0 < int(port) < 1 << 16:
                raise ValueError(
                    f"EGRESS_ALLOW_HTTP_HOSTS: {word!r} is not an exact host:port such as sentry.lan:9000."
                )
        return cls(allow_cidrs=tuple(networks), allow_http_hosts=frozenset(hosts))


_NAT64: Final = IPv6Network("64:ff9b::/96")
_UNICAST: Final = IPv6Network("2000::/3")
_NEVER: Final = tuple(
    map(
        ip_network,
        (
            "168.63.129.16/32",  # Azure's own metadata and DNS, on an address that looks public
            "192.0.0.0/24",  # protocol assignments, Oracle's metadata among them
            "192.88.99.0/24",  # 6to4 relays
            "2001::/23",  # protocol assignments: Teredo (an IPv4 address inside), ORCHID
            "2002::/16",  # 6to4: an IPv4 address inside
            "3fff::/20",  # documentation; Python before 3.13 takes it for public
        ),
    )
)


def address_allowed(address: Address, policy: EgressPolicy) -> bool:
    """Whether a connection to `address` may be made: it is public, or inside a network the operator allowed.

    An address that only carries an IPv4 address is judged by that one where hosts of the internet use the form
    (IPv4-mapped, RFC 4291 2.5.5.2; NAT64, RFC 6052) and refused where they do not (6to4, Teredo, ISATAP, local NAT64).
    """
    if any(address in network for network in policy.allow_cidrs):
        return True
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or (IPv4Address(address.packed[-4:]) if address in _NAT64 else None)
        if inner is not None:
            return address_allowed(inner, policy)
        isatap = address.packed[8:12] in (b"\x00\x00\x5e\xfe", b"\x02\x00\x5e\xfe")  # RFC 5214
        if isatap or address not in _UNICAST:
            return False
    return address.is_global and not address.is_multicast and not any(address in network for network in _NEVER)


_LABEL: Final = r"[a-z0-9_-]{1,63}"
_HOST: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*|\[[0-9a-f:.]{{2,45}}\]")
_PORT: Final = re.compile(r"[0-9]{1,5}")
# Matched whole: what is not plainly a URL in ASCII (RFC 3986) is refused rather than repaired, so that no two
# parsers can read it differently. No user name, no fragment, no white space, no backslash.
_URL: Final = re.compile(
    rf"(https?)://({_HOST.pattern})(?::({_PORT.pattern}))?((?:/[!$-;=@-\[\]_a-z~]*)?(?:\?[!$-;=?-\[\]_a-z~]*)?)",
    re.ASCII | re.IGNORECASE,
)
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


@value
class Target:
    """A checked URL, taken apart once."""

    scheme: str
    host: str
    """Lower case; IPv6 in brackets."""
    port: int
    rest: str
    """Path and query."""

    @property
    def origin(self) -> str:
        """Scheme, host and port; the port always written."""
        return f"{self.scheme}://{self.host}:{self.port}"


def check_url(url: str, policy: EgressPolicy) -> Target:
    """Take `url` apart if the policy lets requests go there. Names are resolved, and judged, only on connecting.

    Raises: `EgressDenied`.
    """
    found = _URL.fullmatch(url) if len(url) <= MAX_URL else None
    if found is None:
        raise EgressDenied(
            "The address must look like https://host/path, in plain ASCII without user name or fragment,"
            f" and have at most {MAX_URL} characters."
        )
    scheme, host = found[1].lower(), found[2].lower()
    port = int(found[3]) if found[3] else _DEFAULT_PORTS[scheme]
    listed = f"{host}:{port}" in policy.allow_http_hosts
    if scheme == "http" and not listed:
        raise EgressDenied("The address must begin with https://.")
    if port not in policy.ports and not listed:
        raise EgressDenied(f"Port {port} is not one this server connects to.")
    if host[0] == "[" or _NUMBER.fullmatch(host, host.rfind(".") + 1):
        _check_number(host, policy)
    return Target(scheme, host, port, found[4])


@lru_cache(maxsize=256)
def _check_number(host: str, policy: EgressPolicy) -> None:
    """Judge a host that is no name: no resolver is asked for it, and the C library reads 0x7f.1 as an address too.

    Raises: `EgressDenied`.
    """
    try:
        address = ip_address(host.strip("[]"))
    except ValueError:
        raise EgressDenied("The address names its host by a number that is not a plain IP address.") from None
    _admit([address], policy)


def _admit(addresses: Iterable[Address], policy: EgressPolicy) -> None:
    """Refuse all if one is refused: an honest name has no private address beside its public ones.

    Raises: `EgressDenied`.
    """
    if not all(address_allowed(address, policy) for address in addresses):
        raise EgressDenied("The address leads into a network this server does not connect to.")


# ----------------------------------------------------------------------------------------------- what goes and comes


@value
class RawReply:
    """One whole answer, whatever its status. Redirects are answers too."""

    status: int
    headers: Mapping[str, str]
    """Lower-case names; of the decoded body, so without `content-encoding`."""
    body: bytes
    sent_bytes: int = 0
    """Of the request's address and body."""


def encode_query(params: Mapping[str, Json]) -> str:
    """The query for `params`: None is left out, a list repeats its name, what is not text is written as JSON."""
    pairs = [
        (name, one if isinstance(one, str) else str(one) if type(one) is int else dumps(one))
        for name, value in params.items()
        for one in (value if isinstance(value, (list, tuple)) else (value,))
        if one is not None
    ]
    return "&".join([f"{_quoted(name)}={_quoted(value)}" for name, value in pairs])


_UNRESERVED: Final = re.compile(r"[A-Za-z0-9_.~-]*")


def _quoted(text: str) -> str:
    return text if _UNRESERVED.fullmatch(text) else quote(text, safe="")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError
    return value


_NESTS: Final = frozenset({dict, list})
_DECODE: Final = JSONDecoder(parse_float=_finite, parse_constant=_finite).decode
_LONE_SURROGATE: Final = re.compile(
    r"(\\\\|\\ud[89ab][0-9a-f]{2}\\ud[c-f][0-9a-f]{2})|\\ud[89a-f][0-9a-f]{2}", re.IGNORECASE | re.ASCII
)


def decode_json(body: bytes, max_depth: int = 64) -> Json:
    """Decode foreign JSON into a value that can be walked and written again: not too deep, finite, valid Unicode.

    Raises: `Unavailable` when it is not such JSON.
    """
    try:
        value = orjson.loads(body)
    except ValueError:
        value = _mended(body)
    if body.count(b"[") + body.count(b"{") <= max_depth:
        return value
    level: list[Json] = [[value]]
    for _ in range(max_depth + 1):
        level = [
            child
            for parent in level
            for child in (parent.values() if type(parent) is dict else parent)
            if type(child) in _NESTS
        ]
        if not level:
            return value
    raise Unavailable("The provider's answer is nested too deeply.")


def _mended(body: bytes) -> Json:
    """Decode what orjson does not take and yet can be read: a byte order mark, half a character.

    Raises: `Unavailable` when there is more wrong with it.
    """
    try:
        text = body.removeprefix(codecs.BOM_UTF8).decode()
        # Half a character cannot be sent on as UTF-8. Providers pass on what their users' programs crashed on.
        return _DECODE(_LONE_SURROGATE.sub(lambda found: found[1] or r"\ufffd", text))
    except (ValueError, RecursionError):
        raise Unavailable("The provider gave a page instead of data.") from None


# ------------------------------------------------------------------------------------------------------- the way out


# Not the loop's own threads: a name server that hangs must not hold up the rest of the process, nor its end.
_LOOKUPS: Final = ThreadPoolExecutor(16, thread_name_prefix="lookup")


async def _addresses(host: str) -> Sequence[str]:
    """What the system's resolver says."""
    loop = asyncio.get_running_loop()
    found = await loop.run_in_executor(
        _LOOKUPS, lambda: socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    )
    return [str(sockaddr[0]) for *_, sockaddr in found]


@lru_cache(maxsize=1)
def _tls() -> ssl.SSLContext:
    """The one context of the process: making it reads every certificate the system trusts."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"})
_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9_-]+")
_HEADER_VALUE: Final = re.compile(r"[\t\x20-\x7e]*")
_OURS: Final = frozenset(
    {
        "accept-encoding",
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
    }
)
"""Headers that belong to the transport; a caller's are dropped."""
_NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})
_CUT: Final = "The connection to the provider broke off."
_LARGE: Final = "The provider's answer is too large; ask for less."
_ALWAYS: Final = f"Accept-Encoding: gzip\r\nUser-Agent: {USER_AGENT}"


def _sendable(headers: Mapping[str, str]) -> dict[str, str]:
    """Raises: `EgressDenied` for a header that could become two."""
    kept = {}
    for name, said in headers.items():
        if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(said):
            raise EgressDenied("A header of the request holds characters that cannot be sent.")
        if name.lower() not in _OURS:
            kept[name] = said
    return kept


@lru_cache(maxsize=16)
def _bounds(limits: Limits) -> http1.Bounds:
    return http1.Bounds(limits.connect_s, limits.first_byte_s, limits.total_s, limits.max_wire_bytes)


def _decoded(headers: Mapping[str, str], body: bytes, limits: Limits) -> bytes:
    """The body without its encoding. Raises: `Unavailable`, also as soon as it is more than `limits` allow."""
    match headers.get("content-encoding", "identity").lower():
        case "identity" | "":
            content = body
        case "gzip" | "x-gzip":
            gzip = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
            content = gzip.decompress(body, limits.max_decoded_bytes + 1)
            if body and not gzip.eof and len(content) <= limits.max_decoded_bytes:
                raise Unavailable(_CUT)
        case _:
            raise Unavailable("The provider answered in an encoding it was not asked for.")
    if len(content) > limits.max_decoded_bytes:
        raise Unavailable(_LARGE)
    return content


def _lower(headers: Sequence[tuple[bytes, bytes]]) -> dict[str, str]:
    """Header names in lower case; a repeated header is one list (RFC 9110 5.3)."""
    lower: dict[str, str] = {}
    for name, said in headers:
        key, text = name.decode("latin-1").lower(), said.decode("latin-1")
        lower[key] = f"{lower[key]}, {text}" if key in lower else text
    return lower


def _written(method: str, target: Target, address: str, headers: Mapping[str, str], body: bytes | None) -> bytes:
    """The request as it is sent. Names and values have been checked."""
    port = "" if target.port == _DEFAULT_PORTS[target.scheme] else f":{target.port}"
    lines = [f"{method} {address} HTTP/1.1", f"Host: {target.host}{port}", _ALWAYS]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if not any(name.lower() == "accept" for name in headers):
        lines.append("Accept: */*")
    if body is not None or method not in ("GET", "HEAD", "DELETE"):
        lines.append(f"Content-Length: {len(body or b'')}")
    return "\r\n".join([*lines, "\r\n"]).encode("ascii") + (body or b"")


class Egress:
    """A pool of connections to the world outside. Belongs to one event loop; opened by the first request."""

    def __init__(
        self, policy: EgressPolicy, *, resolver: Lookup | None = None, tls: ssl.SSLContext | None = None
    ) -> None:
        self.policy = policy
        self._lookup = resolver or _addresses
        self._pool = http1.Pool(self._resolved, lambda: tls or _tls(), per_origin=_PER_HOST, in_all=_IN_ALL)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close every connection. A later request opens new ones."""
        self._pool.close()
        await asyncio.sleep(0)  # in which the loop closes them

    async def _resolved(self, host: str) -> Sequence[str]:
        """Addresses that were checked, as numbers: what is connected to is what was checked."""
        if host[0] == "[" or _NUMBER.fullmatch(host, host.rfind(".") + 1):  # checked with its URL
            return [host.strip("[]")]
        addresses = [ip_address(text) for text in await self._lookup(host)]
        _admit(addresses, self.policy)
        return list(map(str, addresses))

    async def fetch(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] = _NO_HEADERS,
        params: Mapping[str, Json] | None = None,
        body: bytes | None = None,
        json: Json = None,
        limits: Limits | None = None,
        until: http1.Until | None = None,
    ) -> RawReply:
        """Send one request and read its whole answer; follows no redirect, keeps no cookie, uses no proxy.

        `params` join the query of `url`; `json` is sent when `body` is None; `until` is given each part of an event
        stream as it comes, and the answer is over when it says so (a compressed stream is read to its end).
        Raises: `EgressDenied`, `Unavailable`.
        """
        limits = limits or self.policy.limits
        target = check_url(url, self.policy)
        if method not in _METHODS:
            raise EgressDenied("The request's method is not one this server sends.")
        sent_headers = _sendable(headers)
        if body is None and json is not None:
            body = dumps(json).encode()
            sent_headers["Content-Type"] = "application/json"
        address = target.rest if target.rest[:1] == "/" else f"/{target.rest}"
        if params and (query := encode_query(params)):
            address = f"{address}{'&' if '?' in address else '?'}{query}"
        try:
            answer = await self._pool.exchange(
                (target.scheme, target.host, target.port),
                _written(method, target, address, sent_headers, body),
                _bounds(limits),
                head=method == "HEAD",
                again=method in ("GET", "HEAD"),
                until=until,
            )
            headers = _lower(answer.headers)
            content = _decoded(headers, answer.body, limits)
        except http1.Failed as failure:
            raise _named(failure, limits) from None
        except zlib.error:
            raise Unavailable(_CUT) from None
        headers.pop("content-encoding", None)
        return RawReply(answer.status, headers, content, len(target.origin) + len(address) + len(body or b""))


def _named(failure: http1.Failed, limits: Limits) -> Unavailable:
    match failure:
        case http1.ConnectTimeout():
            text = f"The provider could not be reached within {limits.connect_s:g} seconds."
        case http1.Untrusted():
            text = "The provider's certificate could not be verified."
        case http1.NotConnected():
            text = "The provider could not be reached."
        case http1.Silent():
            text = f"The provider did not answer within {limits.first_byte_s:g} seconds."
        case http1.Late():
            text = f"The provider did not answer within {limits.total_s:g} seconds."
        case http1.TooLarge():
            text = _LARGE
        case _:
            text = _CUT
    return Unavailable(text, sent=failure.heard)


# --------------------------------------------------------------------------------------------- for httpx2's users


async def _carry(egress: Egress, request: httpx2.Request, limits: Limits | None) -> httpx2.Response:
    headers = {**request.headers, "user-agent": USER_AGENT}
    body = request.content or None
    until = request.extensions.get("until")
    reply = await egress.fetch(request.method, str(request.url), headers=headers, body=body, limits=limits, until=until)
    return httpx2.Response(reply.status, headers=reply.headers, content=reply.body)


class GuardedTransport(httpx2.BaseTransport):
    """The way out for synchronous code in a thread without an event loop: `httpx2.Client(transport=…)`, authlib.

    Each request has a pool and a loop of its own, because a loop's clock can end what a blocking read cannot;
    meant for the rare calls: tokens, revocations. A request's extension `until` is that of `Egress.fetch`.
    Raises what `Egress.fetch` raises.
    """

    def __init__(
        self,
        policy: EgressPolicy,
        *,
        limits: Limits | None = None,
        resolver: Lookup | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._egress = partial(Egress, policy, resolver=resolver, tls=tls)
        self._limits = limits

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Called by httpx2."""
        request.read()

        async def run() -> httpx2.Response:
            async with self._egress() as egress:
                return await _carry(egress, request, self._limits)

        return asyncio.run(run())


class AsyncGuardedTransport(httpx2.AsyncBaseTransport):
    """The way out for async code that speaks httpx2. An answer is handed over whole, never in parts."""

    def __init__(self, egress: Egress, *, limits: Limits | None = None) -> None:
        self._egress = egress
        self._limits = limits

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Called by httpx2."""
        await request.aread()
        return await _carry(self._egress, request, self._limits)
