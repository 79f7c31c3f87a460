"""The front of /mcp: host, origin, bearer and size are settled here, before the SDK sees a request."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from mcp.server import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.types.version import HANDSHAKE_PROTOCOL_VERSIONS

from metaagent.agent.types import Principal
from metaagent.endpoint import direct, legacy
from metaagent.endpoint.auth import SCOPE, Verifier, bearer_in, challenge, resource_metadata
from metaagent.endpoint.calls import Call, Calls
from metaagent.endpoint.gone import Gone, unless_gone

log = logging.getLogger(__name__)

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers: TypeAlias = list[tuple[bytes, bytes]]

PATH = re.compile(r"/mcp/([a-z0-9-]{1,40})(?:/([a-z0-9_]{1,32}))?")
_SESSION = b"mcp-session-id"
_NO_STORE = (b"cache-control", b"no-store")
_ONCE = (b"host", b"origin", b"authorization")


@dataclass(frozen=True, slots=True)
class Front:
    """What this deployment serves, and to whom."""

    public_url: str
    hosts: frozenset[bytes]
    """Exact values of the Host header."""
    origins: frozenset[bytes]
    """Exact values of the Origin header; a request without one is not a browser's."""
    body_bytes: int
    session_key: bytes = field(repr=False)


class Disconnected(Exception):
    """The client went away while sending."""


class TooLarge(Exception):
    """The body is over the limit."""


class McpEndpoint:
    """The ASGI application behind `/mcp/{tenant}[/{provider}]`."""

    def __init__(self, front: Front, calls: Calls, verifier: Verifier, server: Server[Any]) -> None:
        self.direct = True
        """Whether plain calls take the short way."""
        self._tells = server.get_request_handler("logging/setLevel") is not None
        """Whether the server may say something before it answers, though nobody asked for progress."""
        self._front = front
        self._calls = calls
        self._agent = calls.agent
        self._verifier = verifier
        # JSON unless progress was asked for: a stream costs twice as much (measured).
        self._plain = _Manager(server, json_response=True)
        self._streaming = _Manager(server, json_response=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        # uvicorn leaves blanks around values (RFC 9110 §5.5).
        scope["headers"] = [(name, value.strip(b" \t")) for name, value in scope["headers"]]
        headers = _read_once(scope["headers"])
        if headers.get(b"host") not in self._front.hosts:
            return await _error(send, 421, "This server does not answer to that host name.")
        origin = headers.get(b"origin")
        if origin is not None and origin not in self._front.origins:
            return await _error(send, 403, "Requests from this web page are not allowed here.")
        if origin is not None:
            send = _with_cors(send, origin)
        if scope["method"] == "OPTIONS":
            return await _answer(send, 204, b"", _PREFLIGHT)
        return await self._authenticated(scope, headers, receive, send)

    async def _authenticated(self, scope: Scope, headers: dict[bytes, bytes], receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        found = PATH.fullmatch(path)
        bearer = bearer_in(headers.get(b"authorization"))
        try:
            presented = await self._verifier.presented(bearer) if bearer else None
            if presented and not presented.meant_for(f"{self._front.public_url}{path}"):
                presented = None
            call = await self._call(presented.principal, found) if presented and found else None
        except Exception:
            log.exception("a request could not be checked")
            sentence = "Who you are cannot be checked right now. Try again in a few seconds."
            return await _error(send, 503, sentence, [(b"retry-after", b"2")])
        if presented is None:
            sent = b"authorization" in headers
            value = challenge(self._front.public_url, path if found else "/mcp", "invalid_token" if sent else "")
            sentence = "This token is not valid here." if sent else "An access key or token is needed."
            return await _error(send, 401, sentence, [(b"www-authenticate", value.encode())])
        if call is None:
            return await _error(send, 404, "There is nothing here.")
        if SCOPE not in presented.scopes:
            value = challenge(self._front.public_url, path, "insufficient_scope")
            sentence = "This token was given for less. Ask the person for more."
            return await _error(send, 403, sentence, [(b"www-authenticate", value.encode())])
        if scope["method"] != "POST":
            # Nothing is ever pushed, and a signed session id cannot be ended: both answers are honest.
            return await _error(send, 405, "Send a POST.", [(b"allow", b"POST")])
        try:
            body = await _read(receive, headers, self._front.body_bytes)
        except Disconnected:
            return None
        except TooLarge:
            return await _error(send, 413, f"The request is larger than {self._front.body_bytes} bytes.")
        return await self._serve(scope, headers, receive, send, body, call)

    async def _call(self, principal: Principal, found: re.Match[str]) -> Call | None:
        """Who asks where, or None when there is no such endpoint for this principal."""
        tenant, provider = found[1], found[2]
        if tenant != principal.tenant:
            return None
        export = await self._agent.shown(principal, provider) if provider else None
        return Call(principal, export, None) if export or not provider else None

    async def _serve(
        self, scope: Scope, headers: dict[bytes, bytes], receive: Receive, send: Send, body: bytes, call: Call
    ) -> None:
        version = headers.get(b"mcp-protocol-version", b"").decode("latin-1")
        if not version or version in HANDSHAKE_PROTOCOL_VERSIONS:
            key, path = self._front.session_key, scope["path"]
            if _SESSION in headers:
                session = headers[_SESSION].decode("latin-1")
                said = legacy.read(key, call.principal, path, session)
                if said is None:
                    return await _error(send, 404, "Session not found")
                call = replace(call, url_elicitation=bool(said.get("url")), session=session)
            elif (capabilities := _initializing(body)) is not None:
                session_id = legacy.mint(key, call.principal, path, capabilities)
                send = _with_headers(send, [(_SESSION, session_id.encode())])
        plain = None
        if self.direct and len(headers) == len(scope["headers"]):  # else one is there twice
            plain = direct.plain(version, headers, body, call)
        if plain is not None:
            try:
                outcome = await unless_gone(
                    receive,
                    self._calls.outcome(call, plain.id, plain.name, plain.arguments, plain.form, caller=plain.caller),
                )
            except Gone:
                return None
            written = plain.answer(outcome, call.server_info) if isinstance(outcome, dict) else None
            if written is not None:
                return await _answer(send, 200, written, [_NO_STORE])
            call = replace(call, outcome=outcome)  # the SDK says it
        scope = {**scope, Call.SCOPE_KEY: call}
        send = _with_headers(send, [_NO_STORE])
        if self._tells or b'"progressToken"' in body:
            served = await self._streaming.ready()
            return await served.handle_request(scope, _replay(body, receive), send)
        served = await self._plain.ready()
        answer = _Begun(send)
        work = served.handle_request(scope, _replay(body, receive), answer)
        with contextlib.suppress(Gone):
            await unless_gone(receive, work, answering=lambda: answer.begun)
        return None

    async def aclose(self) -> None:
        """End both managers."""
        await self._plain.aclose()
        await self._streaming.aclose()


class _Manager:
    """The SDK's session manager, running in a task of its own: it must be entered and left by one task."""

    def __init__(self, server: Server[Any], *, json_response: bool) -> None:
        self._server = server
        self._json = json_response
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._started: asyncio.Future[StreamableHTTPSessionManager] | None = None
        self._stop = asyncio.Event()

    async def ready(self) -> StreamableHTTPSessionManager:
        """The running manager of this event loop, started on first use."""
        loop = asyncio.get_running_loop()
        if self._started is None or self._loop is not loop:
            self._loop, self._stop = loop, asyncio.Event()
            self._started = loop.create_future()
            self._task = loop.create_task(self._run(self._started, self._stop))
        return self._started.result() if self._started.done() else await asyncio.shield(self._started)

    async def _run(self, started: asyncio.Future[StreamableHTTPSessionManager], stop: asyncio.Event) -> None:
        # Host and origin were checked and the body bounded in front of it.
        manager = StreamableHTTPSessionManager(self._server, stateless=True, json_response=self._json)
        async with manager.run():
            started.set_result(manager)
            await stop.wait()

    async def aclose(self) -> None:
        """Stop the task."""
        if self._task is not None and self._loop is asyncio.get_running_loop():
            self._stop.set()
            await self._task
            self._task = self._started = None


async def metadata(scope: Scope, _receive: Receive, send: Send, *, public_url: str) -> None:
    """RFC 9728 for every well-formed endpoint path, public to any page."""
    path = scope["path"].removeprefix("/.well-known/oauth-protected-resource")
    cors = [(b"access-control-allow-origin", b"*")]
    if PATH.fullmatch(path) is None:
        return await _error(send, 404, "There is nothing here.", cors)
    body = json.dumps(resource_metadata(public_url, path)).encode()
    return await _answer(send, 200, body, [(b"cache-control", b"public, max-age=300"), *cors])


def _read_once(headers: Headers) -> dict[bytes, bytes]:
    """The headers by name. One that decides who is let in counts as empty when it is there twice: which would count?"""
    found = dict(headers)
    if len(found) != len(headers):
        names = [name for name, _ in headers]
        found.update({name: b"" for name in _ONCE if names.count(name) > 1})
    return found


def _initializing(body: bytes) -> dict[str, Any] | None:
    """The capabilities in an `initialize` request, or None for any other body."""
    if b'"initialize"' not in body:
        return None
    try:
        message = json.loads(body)
        if message["method"] != "initialize":
            return None
        capabilities = message["params"].get("capabilities")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    return capabilities if isinstance(capabilities, dict) else {}


async def _read(receive: Receive, headers: dict[bytes, bytes], most: int) -> bytes:
    """The whole body. Raises: TooLarge as soon as that is known, Disconnected."""
    length = headers.get(b"content-length", b"")
    if length.isdigit() and int(length) > most:
        raise TooLarge
    message = await receive()
    pieces = [message.get("body", b"")]
    size = len(pieces[0])
    while message.get("more_body") and size <= most:
        message = await receive()
        pieces.append(message.get("body", b""))
        size += len(pieces[-1])
    if message["type"] == "http.disconnect":
        raise Disconnected
    if size > most:
        raise TooLarge
    return b"".join(pieces)


def _replay(body: bytes, receive: Receive) -> Receive:
    """Gives the body that was read, then whatever comes."""
    given = False

    async def replay() -> MutableMapping[str, Any]:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


_PREFLIGHT: Headers = [
    (b"access-control-allow-methods", b"POST, OPTIONS"),
    (
        b"access-control-allow-headers",
        b"authorization, content-type, accept, mcp-protocol-version, mcp-session-id, mcp-method, mcp-name",
    ),
    (b"access-control-max-age", b"600"),
]


def _with_cors(send: Send, origin: bytes) -> Send:
    return _with_headers(
        send,
        [
            (b"access-control-allow-origin", origin),
            (b"access-control-expose-headers", b"mcp-session-id, www-authenticate"),
            (b"vary", b"origin"),
        ],
    )


def _with_headers(send: Send, extra: Headers) -> Send:
    names = {name for name, _ in extra}

    async def stamped(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            kept = [header for header in message.get("headers", []) if header[0].lower() not in names]
            message = {**message, "headers": [*kept, *extra]}
        await send(message)

    return stamped


async def _error(send: Send, status: int, sentence: str, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
    """An error before there is a JSON-RPC request to answer."""
    body = {"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": sentence}}
    await _answer(send, status, json.dumps(body).encode(), [_NO_STORE, *headers])


class _Begun:
    """Sends, and knows whether the answer has been begun."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.begun = False

    async def __call__(self, message: MutableMapping[str, Any]) -> None:
        self.begun = True
        await self._send(message)


async def _answer(send: Send, status: int, body: bytes, headers: Iterable[tuple[bytes, bytes]]) -> None:
    fixed: Headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*fixed, *headers]})
    await send({"type": "http.response.body", "body": body})
