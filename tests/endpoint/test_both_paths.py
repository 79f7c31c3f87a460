"""A `tools/call` that takes the short way is answered as the SDK answers it, but for how it escapes."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias
from uuid import uuid4

import httpx2
import pytest
from mcp import types

from metaagent.agent.types import Principal
from metaagent.asgi import runtime
from metaagent.endpoint import direct
from metaagent.endpoint.calls import Call, Form
from tests.world import World

MODERN = "2026-07-28"
HANDSHAKE = "2025-11-25"
URL: dict[str, Any] = {"elicitation": {"url": {}}}
ARGUMENTS = {"prompt": "which organizations are there?", "options": {"mode": "tool", "tool": "list_organizations"}}

Headers: TypeAlias = list[tuple[str, str]]
Spoil: TypeAlias = Callable[[dict[str, Any], Headers], bytes | None]
"""Changes a good request, or gives the body to send instead."""


def modern(capabilities: Mapping[str, Any] | None = None) -> tuple[dict[str, Any], Headers]:
    """A good call of 2026-07-28."""
    meta = {
        types.PROTOCOL_VERSION_META_KEY: MODERN,
        types.CLIENT_CAPABILITIES_META_KEY: dict(capabilities or {}),
        types.CLIENT_INFO_META_KEY: {"name": "test", "version": "1"},
    }
    params = {"name": "use_sentry", "arguments": copy.deepcopy(ARGUMENTS), "_meta": meta}
    headers = [("mcp-protocol-version", MODERN), ("mcp-method", "tools/call"), ("mcp-name", "use_sentry")]
    return {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}, headers


def handshake(version: str = HANDSHAKE, session: str | None = None) -> tuple[dict[str, Any], Headers]:
    """A good call of the handshake era."""
    params = {"name": "use_sentry", "arguments": copy.deepcopy(ARGUMENTS)}
    headers = [("mcp-protocol-version", version)] if version else []
    headers += [("mcp-session-id", session)] if session else []
    return {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}, headers


# --- what is done to a good request


def put(*path: str | int, value: Any) -> Spoil:
    """Set a member of the message."""

    def spoil(message: dict[str, Any], _headers: Headers) -> None:
        inner: Any = message
        for key in path[:-1]:
            inner = inner.setdefault(key, {})
        inner[path[-1]] = value

    return spoil


def each(about: str, *path: str, values: Sequence[Any]) -> dict[str, Spoil]:
    """Set a member to one value after the other."""
    return {f"{about} {value!r}": put(*path, value=value) for value in values}


def drop(*path: str) -> Spoil:
    """Remove a member of the message."""

    def spoil(message: dict[str, Any], _headers: Headers) -> None:
        inner: Any = message
        for key in path[:-1]:
            inner = inner.get(key, {})
        inner.pop(path[-1], None)

    return spoil


def header(name: str, value: str | None) -> Spoil:
    """Replace a header, or leave it out."""

    def spoil(_message: dict[str, Any], headers: Headers) -> None:
        headers[:] = [(key, kept) for key, kept in headers if key != name] + ([(name, value)] if value else [])

    return spoil


def twice(name: str, value: str) -> Spoil:
    """Send a header a second time."""
    return lambda _message, headers: headers.append((name, value))


def raw(change: Callable[[bytes], bytes]) -> Spoil:
    """Change the bytes of the body."""
    return lambda message, _headers: change(json.dumps(message).encode())


def called(name: str) -> Spoil:
    """Call another tool, in the header too."""

    def spoil(message: dict[str, Any], headers: Headers) -> None:
        message["params"]["name"] = name
        headers[:] = [(key, name if key == "mcp-name" else value) for key, value in headers]

    return spoil


def both(*spoils: Spoil) -> Spoil:
    """One after the other."""

    def spoil(message: dict[str, Any], headers: Headers) -> None:
        for each in spoils:
            each(message, headers)

    return spoil


META = ("params", "_meta")
PROMPT = ("params", "arguments", "prompt")
OPTIONS = ("params", "arguments", "options")

PLAIN: dict[str, Spoil] = {
    "nothing wrong": lambda _message, _headers: None,
    **each("id", "id", values=(0, -1, 2**63, 2**70, "a", "", "é\u2028", "x" * 300)),
    "no argument at all": put("params", "arguments", value={}),
    "an unknown argument": put("params", "arguments", "promt", value="x"),
    "an empty prompt": put(*PROMPT, value=" "),
    "a prompt that is a number": put(*PROMPT, value=7),
    "control characters": put(*PROMPT, value="a\x00b"),
    "a long prompt": put(*PROMPT, value="x" * 20_001),
    "an unknown option": put(*OPTIONS, "speed", value=9),
    "an unknown mode": put(*OPTIONS, "mode", value="fast"),
    "a tool that is not there": put(*OPTIONS, "tool", value="nothing"),
    "a wrong tool argument": put(*OPTIONS, "args", value={"orgg": "x"}),
    "no tool": put(*OPTIONS, value={"mode": "tool"}),
    "a model": put(*OPTIONS, value={"mode": "agent"}),
    "a rehearsal": put(*OPTIONS, "dryRun", value=True),
    "few tokens": put(*OPTIONS, "maxTokens", value=100),
    "a conversation": put(*OPTIONS, "conversation", value="c-1"),
    "an account nobody has": put("params", "arguments", "accountId", value="https://example.com/1"),
    "a question in words": put("params", "arguments", value={"prompt": "who am I?"}),
    "a question nobody understands": put("params", "arguments", value={"prompt": "Wie spät ist es — 時間 🕰?"}),
    "a float": put(*OPTIONS, "args", value={"org": 1.5}),
    "a large number": put(*OPTIONS, "args", value={"org": 2**80}),
    "deep nesting": put(*OPTIONS, "args", value=json.loads("[" * 90 + "]" * 90)),
    "a type with a character set": header("content-type", "application/json; charset=utf-8"),
    "accepting JSON only": header("accept", "application/json"),
    "accepting JSON among others": header("accept", "text/html, application/json;q=0.9, */*;q=0.1"),
    "an unknown header": twice("x-trace", "1"),
    "tracing in _meta": both(put(*META, "traceparent", value="00-1-2-01"), put(*META, "com.example/x", value=[1])),
    "another provider's tool": called("use_github"),
    "nobody's tool": called("use_nothing"),
    "a tool without a provider": called("use_"),
}
"""Requests that need nothing of the SDK: they take the short way, whatever they are answered."""

OTHER: dict[str, Spoil] = {
    **each("id", "id", values=(1.5, 1.0, True, None, [], {})),
    "no id": drop("id"),
    "another JSON-RPC": put("jsonrpc", value="1.0"),
    "no JSON-RPC": drop("jsonrpc"),
    "a further member": put("extra", value=1),
    "a result beside the method": put("result", value={}),
    **{
        f"method {value!r}": both(put("method", value=value), header("mcp-method", str(value)))
        for value in ("tools/list", "tools/calls", "ping", "server/discover", "", 7, None)
    },
    "another method than the header's": put("method", value="tools/list"),
    "no method": drop("method"),
    **each("params", "params", values=(None, [], "x", {})),
    "no params": drop("params"),
    "a further parameter": put("params", "extra", value=1),
    "a task": put("params", "task", value={"ttl": 1}),
    **each("name", "params", "name", values=(None, 7, "", "use_github", "delete_all")),
    "no name": drop("params", "name"),
    "a tool that is none of ours": called("delete_all"),
    "a name that looks encoded": called("=?base64?dXNlX3NlbnRyeQ==?="),
    **each("arguments", "params", "arguments", values=(None, [], "x", 7)),
    "no arguments": drop("params", "arguments"),
    "answers to nothing": put("params", "inputResponses", value={}),
    "answers to no question": put("params", "inputResponses", value={"open": {"action": "accept"}}),
    "a state nobody gave": put("params", "requestState", value="v1.abc"),
    "no state": put("params", "requestState", value=None),
    **each("progress token", *META, "progressToken", values=(1, "t", None)),
    "a log level": put(*META, "io.modelcontextprotocol/logLevel", value="debug"),
    "a related task": put(*META, "io.modelcontextprotocol/related-task", value={"taskId": "x"}),
    "a meta of the wrong type": put(*META, value=[]),
    "half a character": raw(lambda body: body.replace(b"which", b"\\ud83d")),
    "half a character in a name": raw(lambda body: body.replace(b'"prompt"', b'"\\uDC00": 1, "prompt"')),
    "not a number": raw(lambda body: body.replace(b'"list_organizations"', b"NaN")),
    "a member twice": raw(lambda body: body.replace(b'"id": 1', b'"id": 1, "id": 2')),
    "a batch": raw(lambda body: b"[" + body + b"]"),
    "nothing": raw(lambda _body: b""),
    "half a message": raw(lambda body: body[:-10]),
    "no UTF-8": raw(lambda body: body.replace(b"which", b"\xff\xfe")),
    "a byte order mark": raw(lambda body: b"\xef\xbb\xbf" + body),
    "UTF-16": raw(lambda body: body.decode().encode("utf-16")),
    "very deep nesting": raw(lambda body: body.replace(b'"list_organizations"', b"[" * 5_000 + b"]" * 5_000)),
    "no accept": header("accept", None),
    **{f"accept {value}": header("accept", value) for value in ("text/event-stream", "*/*", "application/*", "x/y")},
    "no content type": header("content-type", None),
    **{
        f"content type {value}": header("content-type", value)
        for value in ("text/plain", "application/jsonx", "Application/JSON", "application/json, text/plain")
    },
    "a session nobody was given": header("mcp-session-id", "A" * 40),
    "an unknown revision": header("mcp-protocol-version", "2099-01-01"),
    "a revision twice": twice("mcp-protocol-version", "2025-11-25"),
    "the content type twice": twice("content-type", "text/plain"),
}
"""Requests that are the SDK's to answer, in either era."""

ENVELOPE: dict[str, Spoil] = {
    "no revision in the header": header("mcp-protocol-version", None),
    "no revision in the body": drop(*META, types.PROTOCOL_VERSION_META_KEY),
    "another revision in the body": put(*META, types.PROTOCOL_VERSION_META_KEY, value=HANDSHAKE),
    "a revision that is no text": put(*META, types.PROTOCOL_VERSION_META_KEY, value=7),
    "an unknown revision in both": both(
        put(*META, types.PROTOCOL_VERSION_META_KEY, value="2099-01-01"), header("mcp-protocol-version", "2099-01-01")
    ),
    "no capabilities": drop(*META, types.CLIENT_CAPABILITIES_META_KEY),
    **each(
        "capabilities",
        *META,
        types.CLIENT_CAPABILITIES_META_KEY,
        values=(None, [], 7, {"elicitation": 5}, {"elicitation": {"url": 5}}, {"roots": []}),
    ),
    **each(
        "client",
        *META,
        types.CLIENT_INFO_META_KEY,
        values=({}, [], {"name": 7, "version": "1"}, {"name": "x" * 5_000, "version": "1"}),
    ),
    "no meta": drop(*META),
    "no method header": header("mcp-method", None),
    "another method in the header": header("mcp-method", "tools/list"),
    "the method in capitals": header("mcp-method", "Tools/Call"),
    "no name header": header("mcp-name", None),
    "another name in the header": header("mcp-name", "use_github"),
    "the name encoded": header("mcp-name", "=?base64?dXNlX3NlbnRyeQ==?="),
    "the name encoded badly": header("mcp-name", "=?base64?dXNl?="),
    "the method twice": twice("mcp-method", "tools/call"),
    "the name twice": twice("mcp-name", "use_sentry"),
}
"""Further ones of 2026-07-28."""

_MINTED = re.compile(
    rb"run_[0-9a-f]{24}|metaagent://results/[\w-]+|(?:\?link=)[\w-]+|\b[B-Z]{4}-[B-Z]{4}\b|"
    rb'(?<="elicitationId":")[\w-]+|(?<="requestState":")[\w.-]+|(?<="size":)[0-9]+|'
    rb'(?<="conversation":")[\w-]+|(?<="bytesIn":)[0-9]+|(?<="ms":)[0-9]+|(?<="requests":)[0-9]+|'
    rb'(?<="cacheHits":)[0-9]+'
)
"""What is new in every answer, or depends on what the cache still has."""


class Sender:
    """Sends one request both ways."""

    def __init__(self, world: World, http: httpx2.Client, path: str | None = None) -> None:
        self._http = http
        self._path = path or f"/mcp/{world.tenant.slug}/sentry"
        self._key = world.me.key

    def session(self, version: str, capabilities: Mapping[str, Any]) -> str:
        """What `initialize` gives a client."""
        params = {"protocolVersion": version, "capabilities": capabilities, "clientInfo": {"name": "t", "version": "1"}}
        body = json.dumps({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}).encode()
        return self._post(body, [*self._common()]).headers["mcp-session-id"]

    def differences(self, good: tuple[dict[str, Any], Headers], spoils: Mapping[str, Spoil]) -> Iterator[str]:
        """Each request that is not answered alike, with both answers."""
        for name, spoil in spoils.items():
            short, long = (self._said(good, spoil, short=short) for short in (True, False))
            if short != long:
                yield f"{name}:\n  {short}\n  {long}"

    def said(self, good: tuple[dict[str, Any], Headers]) -> tuple[int, Headers, bytes]:
        """How a good request is answered, the same both ways."""
        answers = [self._said(good, PLAIN["nothing wrong"], short=short) for short in (True, False)]
        assert answers[0] == answers[1]
        return answers[0]

    def _said(self, good: tuple[dict[str, Any], Headers], spoil: Spoil, *, short: bool) -> tuple[int, Headers, bytes]:
        body, headers = request(good, [*self._common()], spoil)
        runtime.endpoint.direct = short
        try:
            answer = self._post(body, headers)
        finally:
            runtime.endpoint.direct = True
        kept = sorted((name, value) for name, value in answer.headers.items() if name not in {"date", "content-length"})
        return answer.status_code, kept, _MINTED.sub(b"", _unescaped(answer.content))

    def _common(self) -> Headers:
        return [
            ("authorization", f"Bearer {self._key}"),
            ("accept", "application/json, text/event-stream"),
            ("content-type", "application/json"),
        ]

    def _post(self, body: bytes, headers: Headers) -> httpx2.Response:
        sent = self._http.build_request("POST", self._path, content=body)
        for name in ("accept", "user-agent"):  # httpx2's own
            del sent.headers[name]
        lines = [*sent.headers.raw, *((name.encode(), value.encode()) for name, value in headers)]
        sent.headers = httpx2.Headers(lines)
        return self._http.send(sent)


def request(good: tuple[dict[str, Any], Headers], common: Headers, spoil: Spoil) -> tuple[bytes, Headers]:
    """A good request, spoiled."""
    message, headers = copy.deepcopy(good)
    headers = [*common, *headers]
    body = spoil(message, headers)
    return json.dumps(message, ensure_ascii=False).encode() if body is None else body, headers


def _unescaped(content: bytes) -> bytes:
    """The same JSON in UTF-8: the SDK escapes what is not ASCII in one era and not in the other."""
    try:
        return json.dumps(json.loads(content), ensure_ascii=False, separators=(",", ":")).encode()
    except ValueError:
        return content


@pytest.fixture
def sender(world: World) -> Iterator[Sender]:
    with world.product.http as http:
        yield Sender(world, http)


def test_2026_07_28_is_answered_alike_both_ways(world: World, sender: Sender) -> None:
    world.connect()
    assert list(sender.differences(modern(), PLAIN | OTHER | ENVELOPE)) == []


def test_the_handshake_era_is_answered_alike_both_ways(world: World, sender: Sender) -> None:
    world.connect()
    good = handshake(session=sender.session(HANDSHAKE, URL))
    assert list(sender.differences(good, PLAIN | OTHER)) == []


@pytest.mark.parametrize("version", ["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05", ""])
def test_every_handshake_revision_is_answered_alike(world: World, sender: Sender, version: str) -> None:
    session = sender.session(version, URL) if version else None
    told = sender.said(handshake(version, session))  # to connect
    assert b"needs_auth" in told[2]
    world.connect()
    assert b'"isError":false' in sender.said(handshake(version, session))[2]
    assert b'"isError":false' in sender.said(handshake(version))[2]


@pytest.mark.parametrize(
    ("good", "form"),
    [
        (modern(), b'"isError":true'),
        (modern({"elicitation": {}}), b'"isError":true'),
        (modern(URL), b'"resultType":"input_required"'),
        (handshake("2025-06-18", "url"), b'"isError":true'),
        (handshake(HANDSHAKE, "none"), b'"isError":true'),
        (handshake(HANDSHAKE, "url"), b'"code":-32042'),
        (handshake(HANDSHAKE), b'"isError":true'),
    ],
)
def test_an_invitation_leaves_in_the_same_form_both_ways(
    sender: Sender, good: tuple[dict[str, Any], Headers], form: bytes
) -> None:
    message, headers = good
    asked = dict(headers)
    if session := asked.get("mcp-session-id"):
        session = sender.session(asked["mcp-protocol-version"], URL if session == "url" else {})
        headers = [("mcp-protocol-version", asked["mcp-protocol-version"]), ("mcp-session-id", session)]
    status, _, body = sender.said((message, headers))
    assert (status, b"needs_auth" in body, form in body) == (200, True, True)


@contextmanager
def _faulty(world: World, **faults: Any) -> Iterator[None]:
    world.faults(**faults)
    try:
        yield
    finally:
        world.faults()


@pytest.mark.parametrize("status", [403, 404, 429, 500])
def test_a_provider_that_fails_is_told_of_alike(world: World, sender: Sender, status: int) -> None:
    world.connect()
    with _faulty(world, status=status):
        for good in (modern(URL), handshake(session=sender.session(HANDSHAKE, URL))):
            assert b'"isError":false' not in sender.said(good)[2]


def test_a_strict_provider_that_is_hidden_is_unknown_both_ways(world: World) -> None:
    world.installation = world.install(exposure="strict")
    with world.product.http as http:
        sender = Sender(world, http, f"/mcp/{world.tenant.slug}")
        for good in (modern(URL), handshake(session=sender.session(HANDSHAKE, URL))):
            assert b"Unknown tool: use_sentry" in sender.said(good)[2]


# --- which way a request takes


def way(good: tuple[dict[str, Any], Headers], spoil: Spoil) -> direct.Plain | None:
    """What the short way makes of it."""
    common = [("accept", "application/json, text/event-stream"), ("content-type", "application/json")]
    body, headers = request(good, common, spoil)
    lines = {name.encode(): value.encode() for name, value in headers}
    version = lines.get(b"mcp-protocol-version", b"").decode()
    who = Principal(uuid4(), "acme", uuid4(), "key:1")
    return direct.plain(version, lines, body, Call(who, None, url_elicitation=None))


@pytest.mark.parametrize("good", [modern(), modern(URL), handshake(), handshake("2024-11-05"), handshake("")])
def test_a_plain_call_takes_the_short_way(good: tuple[dict[str, Any], Headers]) -> None:
    assert [name for name, spoil in PLAIN.items() if way(good, spoil) is None] == []


SEEN_ELSEWHERE = {name for name in OTHER | ENVELOPE if name.endswith("twice")} | {"a session nobody was given"}
"""What the endpoint sees before it asks whether a call is plain."""
EITHER = {"name 'use_github'", "not a number", "a member twice", "a byte order mark", "UTF-16"}
"""What one era's parser takes, or one era's headers contradict."""


@pytest.mark.parametrize("good", [modern(), handshake()])
def test_whatever_else_there_is_takes_the_long_way(good: tuple[dict[str, Any], Headers]) -> None:
    assert {name for name, spoil in OTHER.items() if way(good, spoil)} <= SEEN_ELSEWHERE | EITHER


def test_a_doubtful_envelope_takes_the_long_way() -> None:
    taken = {name for name, spoil in ENVELOPE.items() if way(modern(), spoil)}
    assert taken <= SEEN_ELSEWHERE | {"no revision in the header"}  # which makes it one of the handshake era


def test_what_a_client_declared_is_read_from_each_request() -> None:
    for capabilities, form in ((URL, Form.QUESTION), ({}, Form.RESULT), ({"elicitation": {}}, Form.RESULT)):
        taken = way(modern(capabilities), PLAIN["nothing wrong"])
        assert taken is not None
        assert taken.form is form
