"""A remote MCP server as a source: its tools as entries, and calls over lean JSON-RPC (`providers.sources.rpc`)."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from json import dumps
from types import MappingProxyType
from typing import Final
from urllib.parse import urlsplit

import httpx2

from providers.client import failure_of
from providers.egress import RawReply, decode_json
from providers.errors import BadArguments, NotFound, ToolError, TooManyRequests, Unavailable
from providers.manifest import Entry
from providers.sources import rpc
from providers.sources.schemas import NotSchema, fit, shape
from providers.spec import Api, Args, Effect, Invoke, Json, Page, Reply, Request, Result
from providers.tools import SHOWN, at, clean, page_url, passage, text_at, unreadable

refusal_of: Final = rpc.refusal_of
"""What an answer of the server's means that is no success, for `ProviderSpec.refusal_of`."""

# --- what it has -----------------------------------------------------------------------------------------------------

_MOST_PAGES: Final = 50
MOST_TOOLS: Final = 5_000
_MOST_BYTES: Final = 32 * 1024 * 1024
"""Of all answers together."""
_SUMMARY: Final = 300
_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})
_HEADER: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SERVER_INFO: Final = "io.modelcontextprotocol/serverInfo"


@dataclass(frozen=True, slots=True)
class Skipped:
    """A tool that cannot be offered."""

    name: str
    """The source's, made harmless."""
    why: str
    """Follows on the name in a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What a server lists. Going through it gives the entries."""

    entries: tuple[Entry, ...]
    skipped: tuple[Skipped, ...]
    title: str = ""
    """What the server calls itself: foreign, one harmless line."""
    instructions: str = ""
    """What it says of its use, the same way."""
    web_base: str = ""
    """Its site for people, where the server is at that host or below it."""

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)


def origin(url: str) -> str:
    """The `api_base` of the server at `url`: an entry's call has the path."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def listed(http: httpx2.Client, url: str, *, headers: Mapping[str, str] = _NOTHING) -> Listing:
    """All tools of the server at `url`, as `headers` (the account's token) let it be seen; `http` is guarded.

    Raises: ToolError.
    """
    parts, session = urlsplit(url), dict[str, Json]()
    server = rpc.Server("The provider", parts.path or "/", parts.query)
    call = {"path": server.path, **({"query": server.query} if server.query else {})}
    wire = _Wire(http, url, headers)
    hello = wire.result(rpc.opened(server, session))
    tools: list[Json] = []
    cursors: set[str] = set()
    cursor: Json = None
    while True:
        question = rpc.Question("tools/list", {} if cursor is None else {"cursor": cursor})
        page = wire.result(rpc.talk(server, session, question))
        if not isinstance(page.get("tools"), list):
            raise unreadable(server.title)
        tools += page["tools"]
        cursor = page.get("nextCursor")
        more = isinstance(cursor, str) and cursor not in cursors
        if len(tools) > MOST_TOOLS or (more and len(cursors) == _MOST_PAGES - 1):
            raise Unavailable(f"The provider lists more than {MOST_TOOLS:,} tools, or {_MOST_PAGES} pages of them.")
        if not more:
            break
        cursors.add(cursor)
    return _listing(hello, tools, call, parts.netloc)


@dataclass(slots=True)
class _Wire:
    """What talks go over while a server is listed."""

    http: httpx2.Client
    url: str
    headers: Mapping[str, str]
    read: int = 0
    """Bytes so far."""

    def result(self, talk: rpc.Talk) -> Json:
        """What a talk comes to. Raises: ToolError."""
        try:
            request = next(talk)
            while True:
                try:
                    reply = self._exchanged(request)
                except ToolError as failure:
                    request = talk.throw(failure)
                else:
                    request = talk.send(reply)
        except StopIteration as end:
            return end.value
        except rpc.Refused as refused:
            if refused.code == rpc.METHOD_NOT_FOUND:
                raise Unavailable("The provider offers no tools.") from None
            raise _failure("The provider", refused) from None

    def _exchanged(self, request: Request) -> Reply:
        headers = {**self.headers, **request.headers}
        try:
            answer = self.http.post(
                self.url, content=request.body, headers=headers, extensions={"until": request.until}
            )
        except (httpx2.HTTPError, httpx2.InvalidURL):
            raise Unavailable("The provider could not be reached.") from None
        self.read += len(answer.content)
        if self.read > _MOST_BYTES:
            raise Unavailable("The provider describes its tools at too great length.")
        lower = {name.lower(): said for name, said in answer.headers.items()}
        failure = failure_of(RawReply(answer.status_code, lower, answer.content), now=datetime.now(UTC))
        data = None
        if answer.content.strip() and lower.get("content-type", "").lower().startswith("application/json"):
            with suppress(Unavailable) if failure else nullcontext():
                data = decode_json(answer.content)
        reply = Reply(answer.status_code, lower, answer.content, data)
        if refused := refusal_of(reply) or failure:
            raise refused
        return reply


def _listing(hello: Json, tools: list[Json], call: Json, host: str) -> Listing:
    """Every tool that can be offered, under a name of ours; the same tools in any order give the same."""
    entries, skipped = list[Entry](), list[Skipped]()
    names = _names(tools)
    for tool in tools:
        theirs = text_at(tool, "name")
        try:
            entries.append(_entry(names, theirs, tool, call))
        except NotSchema as why:
            skipped.append(Skipped(clean(theirs, 80) or "A tool", str(why)))
    met = at(hello, "serverInfo") or at(hello, "_meta", _SERVER_INFO)
    return Listing(
        entries=tuple(entries),
        skipped=tuple(skipped),
        title=clean(text_at(met, "title") or text_at(met, "name"), 60),
        instructions=clean(text_at(hello, "instructions"), _SUMMARY),
        web_base=_site(text_at(met, "websiteUrl"), host),
    )


def _site(url: str, host: str) -> str:
    """The origin of `url` if the server's `host` is there or below it, as mcp.linear.app is below linear.app."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    own = parts.netloc == host or ("." in parts.netloc and host.endswith(f".{parts.netloc}"))
    return f"https://{parts.netloc}" if own and parts.scheme == "https" else ""


def _entry(names: dict[str, str], theirs: str, tool: Json, call: Json) -> Entry:
    """The tool under its name of `names`, which is taken away. Raises: NotSchema."""
    if not theirs or len(theirs) > _MOST_THEIRS:
        raise NotSchema("has no name, or none that can be sent")
    if theirs not in names:
        raise NotSchema("is listed twice")
    name = names.pop(theirs)
    if text_at(tool, "execution", "taskSupport") == "required":
        raise NotSchema("runs only as a task, which this server does not follow")
    schema = tool.get("inputSchema")
    mirrored = _mirrored(schema)
    hints = tool.get("annotations")
    said = text_at(tool, "description") or text_at(tool, "title") or text_at(hints, "title")
    return Entry(
        name=name,
        source_name=theirs,
        summary=clean(said, _SUMMARY) or clean(theirs, _SUMMARY) or name,
        schema=fit(schema),
        effect=_effect(hints),
        call={**call, **({"headers": mirrored} if mirrored else {})},
        gives=shape(tool.get("outputSchema")),
    )


def _effect(hints: Json) -> str:
    if at(hints, "readOnlyHint") is True:
        return Effect.READ.value
    return Effect.DESTRUCTIVE.value if at(hints, "destructiveHint") is True else Effect.WRITE.value


_MOST_OURS: Final = 64
_MOST_THEIRS: Final = 256
_HUMP: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_OTHER: Final = re.compile(r"[^a-z0-9]+")


def _names(tools: list[Json]) -> dict[str, str]:
    """The server's names to ours.

    Where several come to the same, one that is ours already keeps it, and the others are numbered in their order.
    """
    ours: dict[str, str] = {}
    used: set[str] = set()
    numbers: dict[str, int] = {}
    plain = {name: _plain_name(name) for name in {text_at(tool, "name") for tool in tools}}
    for name in sorted(plain, key=lambda name: (plain[name] != name, name)):
        found = stem = plain[name]
        while found in used:
            numbers[stem] = number = numbers.get(stem, 1) + 1
            found = f"{stem[: _MOST_OURS - len(str(number)) - 1]}_{number}"
        used.add(found)
        ours[name] = found
    return ours


def _plain_name(name: str) -> str:
    bare = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    found = _OTHER.sub("_", _HUMP.sub("_", bare[:_MOST_THEIRS]).lower()).strip("_")
    return (found if found[:1].isalpha() else f"tool_{found}")[:_MOST_OURS].rstrip("_")


_MIRROR: Final = "x-mcp-header"
_MOST_WAY: Final = 8


def _mirrored(schema: Json) -> dict[str, Json]:
    """The arguments that 2026-07-28 has sent as headers too: by the header, the way to the argument.

    Raises: NotSchema for one that cannot be, or stands where none may: a server that holds to it would refuse calls.
    """
    found: dict[str, Json] = {}

    def walk(fields: Json, way: list[str]) -> None:
        for name, each in fields.items() if isinstance(fields, dict) and len(way) < _MOST_WAY else ():
            if not isinstance(each, dict):
                continue
            if _MIRROR in each:
                header = each[_MIRROR]
                right = isinstance(header, str) and each.get("type") in {"string", "integer", "boolean"}
                if not right or not _HEADER.fullmatch(header) or header.lower() in map(str.lower, found):
                    raise NotSchema("wants an argument as a header that cannot be sent")
                found[header] = [*way, name]
            walk(each.get("properties"), [*way, name])

    walk(schema.get("properties") if isinstance(schema, dict) else None, [])
    return found


# --- a call ----------------------------------------------------------------------------------------------------------

_UNKNOWN: Final = re.compile(r"(?:^|: )(?:unknown tool\b|tool \S{1,256} (?:not found|does not exist))", re.IGNORECASE)
_PASSING: Final = re.compile(
    r"\b(?:timed? ?out|timeout|temporarily|unavailable|overloaded|internal (?:server )?error)\b", re.IGNORECASE
)
_TOO_FAST: Final = re.compile(r"\b(?:rate.?limit(?:ed|s)?|too many requests)\b", re.IGNORECASE)
_LOOKED_AT: Final = 500


def invoke(entry: Entry, title: str) -> Invoke:
    """What calls the tool of `entry`: one request, once it is known how the server is spoken to."""
    call = entry.call
    server = rpc.Server(title, call["path"], call.get("query", ""))
    mirrored: Mapping[str, list[str]] = call.get("headers", {})
    source = Page(f"{title}: {entry.source_name}")

    async def invoked(api: Api, args: Args) -> Result:
        question = rpc.Question(
            "tools/call",
            {"name": entry.source_name, "arguments": dict(args)},
            entry.source_name,
            _headers(mirrored, args) if mirrored else _NOTHING,
            work=True,
        )
        try:
            answer = await _over(api, rpc.talk(server, api.session, question))
        except rpc.Refused as refused:
            raise _failure(title, refused) from None
        return _result(title, api.web_base, source, answer)

    return invoked


async def _over(api: Api, talk: rpc.Talk) -> Json:
    try:
        request = next(talk)
        while True:
            try:
                reply = await api.request(request)
            except ToolError as failure:
                request = talk.throw(failure)
            else:
                request = talk.send(reply)
    except StopIteration as end:
        return end.value


def _headers(mirrored: Mapping[str, list[str]], args: Args) -> dict[str, str]:
    found = {}
    for header, way in mirrored.items():
        said: Json = args
        for name in way:
            said = said.get(name) if isinstance(said, Mapping) else None
        if isinstance(said, (str, int, float)):
            text = said if isinstance(said, str) else dumps(said) if isinstance(said, bool) else str(said)
            found[f"Mcp-Param-{header}"] = rpc.header_value(text)
    return found


def _failure(title: str, refused: rpc.Refused) -> ToolError:
    """What a refusal means, in words of ours."""
    match refused.code:
        case rpc.URL_ELICITATION | rpc.MISSING_CAPABILITY:
            return rpc.questioned(title)
        case rpc.METHOD_NOT_FOUND | rpc.HEADER_MISMATCH:
            return _changed(title)
        case rpc.RESOURCE_NOT_FOUND:
            return NotFound(f"{title} has no such thing: check names and ids.")
        case rpc.INVALID_PARAMS:
            return _of_words(title, refused.said)
        case None if refused.status in {HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.GONE}:
            return Unavailable(f"{title}'s MCP server is not where it was ({refused.status}).")
        case None if refused.status < HTTPStatus.BAD_REQUEST:
            return unreadable(title)
        case _:
            return Unavailable(f"{title} failed ({refused.code or refused.status}); try again later.")


def _changed(title: str) -> NotFound:
    return NotFound(
        f"{title} does not have this tool as it was listed. Its tools may have changed: an administrator can review it."
    )


def _of_words(title: str, said: str) -> ToolError:
    """What the words of a failed tool are about. They are foreign: looked at, and never passed on."""
    said = said[:_LOOKED_AT]
    if _UNKNOWN.search(said):
        return _changed(title)
    if _TOO_FAST.search(said):
        return TooManyRequests(f"{title} asks to wait.")
    if _PASSING.search(said):
        return Unavailable(f"{title} could not do that now; try again later.")
    return BadArguments(f"{title} could not do that with these arguments: check names, ids and values.")


# --- its result ------------------------------------------------------------------------------------------------------

_SHOWN_TEXT: Final = 20_000
_LINKS: Final = ("url", "html_url", "htmlUrl", "web_url", "webUrl", "permalink", "link")
_TITLES: Final = ("title", "name", "identifier", "id")


@dataclass(frozen=True, slots=True)
class _Block:
    """One part of a result's content."""

    data: Json
    text: str = ""
    """For people; empty where the data say it."""
    page: Page | None = None


def _result(title: str, web_base: str, source: Page, answer: Mapping[str, Json]) -> Result:
    """Raises: ToolError."""
    match answer.get("resultType", "complete"):
        case "complete":
            pass
        case "input_required":
            raise rpc.questioned(title)
        case _:
            raise unreadable(title)
    content = answer.get("content", [])
    if not isinstance(content, list) or not all(isinstance(each, dict) for each in content):
        raise unreadable(title)
    if answer.get("isError") is True:
        raise _of_words(title, "\n".join(text_at(each, "text") for each in content)[:_LOOKED_AT])
    data = answer.get("structuredContent")
    blocks = [_block(each, web_base, read=data is None) for each in content]
    if data is None:
        data = blocks[0].data if len(blocks) == 1 else [each.data for each in blocks] or None
    pages = [each.page for each in blocks if each.page] + _pages(data, web_base)
    said = "\n\n".join(each.text for each in blocks if each.text)
    text = passage(said, _SHOWN_TEXT) if said else "" if data is not None else "Done; there is nothing to show."
    return Result(data, text, tuple(dict.fromkeys(pages)) or (source,))


def _block(block: Mapping[str, Json], web_base: str, *, read: bool) -> _Block:
    """Without `read` a text that may be JSON is taken for what the structured content says already."""
    match block.get("type"):
        case "text":
            text = text_at(block, "text")
            if not read and text[:1] in {"{", "["}:
                return _Block(None)
            data = _json(text)
            return _Block(text, text) if data is None else _Block(data)
        case "image" | "audio" as kind:
            return _binary(kind, block.get("mimeType"), block.get("data"))
        case "resource_link":
            return _link(block, web_base)
        case "resource" if isinstance(held := block.get("resource"), dict):
            if "blob" in held:
                return _binary("file", held.get("mimeType"), held["blob"], uri=text_at(held, "uri"))
            text, uri = text_at(held, "text"), text_at(held, "uri")
            inside = _json(text)
            data = {"uri": uri, "text": text} if inside is None else {"uri": uri, "data": inside}
            return _Block(data, text if inside is None else "", _page(web_base, uri, clean(uri)))
        case _:
            return _Block({"kind": "unknown"}, "A part of a kind that cannot be shown.")


def _link(block: Mapping[str, Json], web_base: str) -> _Block:
    fields = ("uri", "name", "title", "description", "mimeType")
    data = {name: text_at(block, name) for name in fields if text_at(block, name)}
    name = clean(data.get("title") or data.get("name") or data.get("uri", "") or "a resource")
    about = clean(data.get("description", ""), _SUMMARY)
    return _Block(data, f"- {name}: {about}" if about else f"- {name}", _page(web_base, data.get("uri", ""), name))


def _binary(kind: str, mime: Json, base64: Json, *, uri: str = "") -> _Block:
    """What is no text is said to be there: its kind and size."""
    size = len(base64) * 3 // 4 - base64[-2:].count("=") if isinstance(base64, str) else 0
    of = clean(mime, 60) if isinstance(mime, str) else "unknown"
    data = {"kind": kind, "mimeType": of, "bytes": size, **({"uri": uri} if uri else {})}
    article = "An" if kind in {"image", "audio"} else "A"
    thing = f"{article} {kind}{' recording' if kind == 'audio' else ''}"
    return _Block(data, f"{thing} ({of}, {size:,} bytes), which is not shown here.")


def _json(text: str) -> Json:
    """What a text holds that is an object or a list as JSON, else None."""
    if text.lstrip()[:1] in {"{", "["}:
        with suppress(Unavailable):
            return decode_json(text.encode("utf-8", "replace"))
    return None


def _pages(data: Json, web_base: str) -> list[Page]:
    """The provider's own pages of the rows in a result."""
    lists = [data, *(data.values() if isinstance(data, dict) else ())]
    found: list[Page] = []
    for row in [row for each in lists for row in (each[:SHOWN] if isinstance(each, list) else (each,))]:
        if not isinstance(row, dict):
            continue
        url = next((said for name in _LINKS if isinstance(said := row.get(name), str)), "")
        if url and (site := page_url(web_base, url)):
            title = next((said for name in _TITLES if (said := text_at(row, name))), url)
            found.append(Page(clean(title), site))
    return found[:SHOWN]


def _page(web_base: str, uri: str, title: str) -> Page | None:
    url = page_url(web_base, uri)
    return Page(title, url) if url else None
