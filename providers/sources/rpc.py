"""MCP over HTTP as a client speaks it: what is sent in each of the two eras, and what an answer means; pure.

A `Talk` yields the requests of an exchange and is given each reply, or what went wrong instead, so that async and sync
callers share it. In the era of 2026-07-28 every request stands alone; up to 2025-11-25 `initialize` begins a session.
Which one a server speaks is found out once and kept in the session of the connection.
"""

from __future__ import annotations

import base64
import itertools
import re
from collections.abc import Generator, Mapping, MutableMapping
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from json import dumps
from typing import Final, TypeAlias

from metaagent import __version__
from metaagent.values import value
from providers.egress import decode_json
from providers.errors import Questioned, ToolError, Unavailable
from providers.spec import Json, Reply, Request

MODERN: Final = "2026-07-28"
_HANDSHAKES: Final = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
_CLIENT: Final = {"name": "metaagent", "version": __version__}
_META: Final = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": _CLIENT,
}
_HEADERS: Final = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}

METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
HEADER_MISMATCH: Final = -32020
MISSING_CAPABILITY: Final = -32021
UNSUPPORTED_VERSION: Final = -32022
RESOURCE_NOT_FOUND: Final = -32002
URL_ELICITATION: Final = -32042

_NOT_ANSWERS: Final = frozenset({401, 402, 403, 408, 425, 429, 451})
"""Refusals that say the same of any API: the account, its rights, its pace."""
_SESSION_ID: Final = re.compile(r"[\x21-\x7e]{1,1024}")
_PLAIN: Final = re.compile(r"(?!=\?base64\?.*\?=$)[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
_UNKNOWN: Final = re.compile(r"\bsession\b|\bprotocol.?version\b", re.IGNORECASE)
_BOM: Final = b"\xef\xbb\xbf"
_NUMBERS: Final = itertools.count(1)
"""Ids of requests: no two of one session may have the same."""

Talk: TypeAlias = Generator[Request, Reply, Json]
Session: TypeAlias = MutableMapping[str, Json]
"""`version`, once it is known, and `id` where the server has given one."""


@dataclass(eq=False)
class Refused(ToolError):
    """The server answered, and not with a result: a JSON-RPC error, a status, or something that is no answer."""

    status: int
    code: int | None = None
    """Of the JSON-RPC error, if it was one."""
    said: str = field(default="", repr=False)
    """Its words, which are foreign: never shown."""
    data: Json = field(default=None, repr=False)


@value
class Server:
    """Where an MCP server is, below the provider's origin."""

    title: str
    path: str
    query: str = ""


@value
class Question:
    """One request, as both eras have it."""

    method: str
    params: Mapping[str, Json] | None = None
    name: str = ""
    """Of what it is about; a header in the newer era."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Sent besides in the newer era."""
    work: bool = False
    """A tool's own: it may take long, and may change something."""


def talk(server: Server, session: Session, question: Question) -> Talk:
    """Ask, and give the result. What `session` does not know yet is found out first.

    A server that has forgotten the session, or speaks another era by now, is met anew, and asked again only when it
    surely did not work on the question. Raises: Refused, Questioned, and what it is given.
    """
    fresh = "version" not in session
    if fresh:
        yield from opened(server, session)
    used = dict(session)
    try:
        result, _ = yield from _asked(server, used, question)
    except Refused as refused:
        if fresh or not _unknown(refused):
            raise
        if session == used:  # else somebody is meeting it anew, or has
            session.clear()
        if "version" not in session:
            yield from opened(server, session)
        result, _ = yield from _asked(server, dict(session), question)
    return result


def opened(server: Server, session: Session) -> Talk:
    """Meet the server: what it says of itself. Fills `session`. Raises: Refused, Unavailable, and what it is given."""
    hello = None
    try:
        hello, _ = yield from _asked(server, {"version": MODERN}, Question("server/discover"))
    except Refused as refused:
        if refused.code == UNSUPPORTED_VERSION and not _speaks(refused.data, "supported", _HANDSHAKES):
            raise _stranger(server) from None
    if _speaks(hello, "supportedVersions", (MODERN,)):
        session["version"] = MODERN
        return hello
    begin = {"protocolVersion": _HANDSHAKES[-1], "capabilities": {}, "clientInfo": _CLIENT}
    hello, reply = yield from _asked(server, {}, Question("initialize", begin))
    version, given = hello.get("protocolVersion"), reply.headers.get("mcp-session-id")
    if version not in _HANDSHAKES or (given is not None and not _SESSION_ID.fullmatch(given)):
        raise _stranger(server)
    met = {"version": version, **({"id": given} if given else {})}
    with suppress(Refused):  # a notification has no answer to wait for
        yield _request(server, met, Question("notifications/initialized"))
    session.clear()
    session.update(met)
    return hello


def refusal_of(reply: Reply) -> Refused | None:
    """What an answer means whose status is no success: in MCP it may hold an error that says more."""
    if reply.status // 100 in {2, 3} or reply.status in _NOT_ANSWERS or reply.status > HTTPStatus.NOT_IMPLEMENTED:
        return None
    error = reply.data.get("error") if isinstance(reply.data, dict) else None
    return _refused(reply.status, error if isinstance(error, dict) else {})


def _asked(
    server: Server, session: Mapping[str, Json], question: Question
) -> Generator[Request, Reply, tuple[Json, Reply]]:
    number = next(_NUMBERS)
    reading = Reading(number)
    reply = yield _request(server, session, question, number, reading)
    message = reading.message(reply)
    if reading.asked is not None:
        refusal = {"id": reading.asked, "error": {"code": METHOD_NOT_FOUND, "message": "Not supported."}}
        with suppress(ToolError):  # so that nobody waits there; what comes of it changes nothing here
            yield _sent(server, _era(session), refusal)
        raise questioned(server.title)
    if not _answers(message, number) or message.get("jsonrpc") != "2.0":
        raise _refused(reply.status, {})
    result, error = message.get("result"), message.get("error")
    if isinstance(error, dict) and "result" not in message:
        raise _refused(reply.status, error)
    if not isinstance(result, dict) or "error" in message:
        raise _refused(reply.status, {})
    return result, reply


def _request(
    server: Server,
    session: Mapping[str, Json],
    question: Question,
    number: int | None = None,
    reading: Reading | None = None,
) -> Request:
    params, headers = question.params, _era(session)
    if session.get("version") == MODERN:
        params = {**(params or {}), "_meta": _META}
        headers["Mcp-Method"] = question.method
        if question.name:
            headers["Mcp-Name"] = header_value(question.name)
        headers |= question.headers
    message = {
        **({} if number is None else {"id": number}),
        "method": question.method,
        **({} if params is None else {"params": params}),
    }
    return _sent(server, headers, message, work=question.work, reading=reading)


def _sent(
    server: Server,
    headers: Mapping[str, str],
    message: Mapping[str, Json],
    *,
    work: bool = False,
    reading: Reading | None = None,
) -> Request:
    return Request(
        "POST",
        server.path,
        server.query,
        {**_HEADERS, **headers},
        dumps({"jsonrpc": "2.0", **message}, separators=(",", ":")).encode(),
        repeat=not work,
        until=reading.feed if reading else None,
        slow=work,
    )


def _era(session: Mapping[str, Json]) -> dict[str, str]:
    """The headers that say which era and session a message belongs to."""
    headers = {}
    if version := session.get("version"):
        headers["MCP-Protocol-Version"] = version
    if given := session.get("id"):
        headers["Mcp-Session-Id"] = given
    return headers


def header_value(text: str) -> str:
    """`text` as the value of a header; in base64 where it would not arrive as it is (2026-07-28, transports)."""
    return text if _PLAIN.fullmatch(text) else f"=?base64?{base64.b64encode(text.encode()).decode()}?="


def questioned(title: str) -> Questioned:
    """What is said when the provider wants an answer of the person."""
    return Questioned(
        f"{title} asks you something before it goes on, and nobody here may answer in your place: do this at {title}."
    )


def _stranger(server: Server) -> Unavailable:
    return Unavailable(f"{server.title} speaks a version of MCP that this server does not know.")


def _speaks(said: Json, member: str, versions: tuple[str, ...]) -> bool:
    """Whether a list of versions that a server gave has one of these."""
    found = said.get(member) if isinstance(said, dict) else None
    return isinstance(found, list) and any(version in found for version in versions)


def _answers(message: Json, number: int) -> bool:
    """Whether this is the response to that request."""
    return isinstance(message, dict) and type(message.get("id")) is int and message["id"] == number


def _unknown(refused: Refused) -> bool:
    """Whether the server surely did not work on a request, since it does not know its session or its era."""
    match refused.status:
        case HTTPStatus.NOT_FOUND:
            return refused.code != METHOD_NOT_FOUND
        case HTTPStatus.METHOD_NOT_ALLOWED:
            return refused.code is None
        case HTTPStatus.BAD_REQUEST:
            return refused.code == UNSUPPORTED_VERSION or _UNKNOWN.search(refused.said[:300]) is not None
        case _:
            return refused.code == UNSUPPORTED_VERSION


def _refused(status: int, error: Mapping[str, Json]) -> Refused:
    code, said = error.get("code"), error.get("message")
    return Refused(
        f"The provider refused the request ({status})." if error or status >= HTTPStatus.BAD_REQUEST else _UNREADABLE,
        status,
        code if type(code) is int else None,
        said if isinstance(said, str) else "",
        error.get("data"),
    )


_UNREADABLE: Final = "The provider gave an answer that is not of MCP."


class Reading:
    """The answer to one request: JSON, or an event stream (HTML standard, 9.2.6), read as it comes up to its response.

    Notifications and pings on the way are left aside; at a question to the client it ends too, for nobody here answers.
    """

    def __init__(self, number: int) -> None:
        self.asked: str | int | None = None
        """The id of the server's question, if that is what came."""
        self._number = number
        self._found: Json = None
        self._over = False
        self._open: list[bytes] = []
        """The parts of the line that has not ended yet."""
        self._cut = False
        """The last part ended in a carriage return, which a line feed may belong to."""
        self._fed = self._begun = False
        self._event = b""
        self._data: list[bytes] = []

    def message(self, reply: Reply) -> Json:
        """The response, or None where there is none."""
        kind = reply.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "text/event-stream":
            return reply.data if kind == "application/json" else None
        if not self._fed:
            self.feed(reply.body)
        if not self._over:
            self.feed(b"\n\n")
        return self._found

    def feed(self, part: bytes) -> bool:
        """Take the next part of the stream. True when nothing more is needed."""
        self._fed = True
        if self._over:
            return True
        if self._cut and part[:1] == b"\n":
            part = part[1:]
        if not part:
            return False
        self._cut = part[-1:] == b"\r"
        self._open.append(part)
        if b"\n" not in part and b"\r" not in part:
            return False
        lines = b"".join(self._open).splitlines(keepends=True)
        self._open = [] if lines[-1][-1:] in {b"\n", b"\r"} else [lines.pop()]
        for line in lines:
            if self._line(line.rstrip(b"\r\n")):
                self._over = True
                return True
        return False

    def _line(self, line: bytes) -> bool:
        if not self._begun:
            self._begun = True
            line = line.removeprefix(_BOM)
        if not line:
            return self._dispatched()
        name, _, said = line.partition(b":")
        if name == b"data":
            self._data.append(said.removeprefix(b" "))
        elif name == b"event":
            self._event = said.removeprefix(b" ")
        return False

    def _dispatched(self) -> bool:
        data, event = b"\n".join(self._data), self._event
        self._data, self._event = [], b""
        if not data or event not in {b"", b"message"}:
            return False
        try:
            message = decode_json(data)
        except Unavailable:
            return True
        if not isinstance(message, dict):
            return False
        number, method = message.get("id"), message.get("method")
        if method is None:
            self._found = message
            return _answers(message, self._number)
        if isinstance(number, (str, int)) and method != "ping":
            self.asked = number
            return True
        return False
