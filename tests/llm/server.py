"""A Messages API on this machine: answers as a script says, streams as the real one does, fails as it is told to."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from threading import Event
from typing import Any, Literal, TypeAlias

JsonObject: TypeAlias = dict[str, Any]
Script: TypeAlias = Callable[[JsonObject], "Reply"]
"""The body of a request to what is answered."""
Send: TypeAlias = Callable[[Mapping[str, Any]], Any]
Receive: TypeAlias = Callable[[], Any]

_ids = count(1)


# --- what is answered


def said(text: str) -> JsonObject:
    return {"type": "text", "text": text}


def use(name: str, /, **args: Any) -> JsonObject:
    return {"type": "tool_use", "id": f"toolu_{next(_ids):06d}", "name": name, "input": args}


def use_raw(name: str, arguments: str) -> JsonObject:
    """A tool use whose arguments are streamed as this text, JSON or not."""
    return {**use(name), "raw": arguments}


def thought(text: str) -> JsonObject:
    return {"type": "thinking", "thinking": text, "signature": f"sealed({text})"}


@dataclass(frozen=True)
class Reply:
    blocks: tuple[JsonObject, ...]
    stop: str = ""
    """Empty: what fits the blocks."""

    @property
    def stop_reason(self) -> str:
        uses = any(block["type"] == "tool_use" for block in self.blocks)
        return self.stop or ("tool_use" if uses else "end_turn")


def reply(*blocks: JsonObject, stop: str = "") -> Reply:
    return Reply(blocks, stop)


def in_turn(*replies: Reply) -> Script:
    """One reply after the other; the last one again and again."""
    left = deque(replies)
    return lambda _: left.popleft() if len(left) > 1 else left[0]


# --- what goes wrong


@dataclass(frozen=True)
class Fault:
    kind: Literal["status", "body", "hang", "drip", "huge", "cut", "end_early", "error"]
    status: int = 200
    word: str = ""
    """The type of the error, or the body."""
    headers: Mapping[str, str] = field(default_factory=dict)


def status(code: int, word: str = "api_error", **headers: str) -> Fault:
    return Fault("status", code, word, {name.replace("_", "-"): value for name, value in headers.items()})


def error_in_stream(word: str) -> Fault:
    """In the middle of the last block."""
    return Fault("error", word=word)


def stream(*events: JsonObject) -> str:
    """Events as they are on the wire."""
    return "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events)


def lines(body: str, **headers: str) -> Fault:
    """This stream, to the letter."""
    return Fault("body", word=body, headers={name.replace("_", "-"): value for name, value in headers.items()})


HANG = Fault("hang")
"""Takes the request and says nothing."""
DRIP = Fault("drip")
"""Goes on with a byte now and then, for ever."""
CUT = Fault("cut")
"""The connection breaks in the middle of the last block."""
END_EARLY = Fault("end_early")
"""The same, but the body ends as if that were all."""
HUGE = Fault("huge")
"""10 MB of words."""
WRONG_TYPE = lines("<h1>Welcome to the proxy</h1>", content_type="text/html")
GZIP = lines("not compressed", content_encoding="gzip")
GARBAGE = lines("event: message_start\ndata: {[\n\n")


# --- the server


@dataclass(frozen=True)
class Seen:
    """A request, without its key."""

    path: str
    headers: Mapping[str, str]
    keyed: bool
    """A key came with it, in the header where the API has it."""
    body: JsonObject
    peer: int
    """The client's port: equal ones share a connection."""


class ModelServer:
    """An ASGI application for `tests.world.serve`.

    `script` says what is answered. `faults` go wrong first, each once; `always` goes wrong every time.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self, script: Script | None = None) -> None:
        """As new."""
        self.script: Script = script or (lambda _: reply(said("Hello.")))
        self.faults: deque[Fault | None] = deque()
        """None: this one is answered well."""
        self.always: Fault | None = None
        self.seen: list[Seen] = []
        self.arrived = Event()
        """Set by the first request."""
        self._cached: set[str] = set()

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        raw = b""
        while True:
            message = await receive()
            raw += message.get("body", b"")
            if not message.get("more_body"):
                break
        headers = {name.decode().lower(): value.decode() for name, value in scope["headers"]}
        keyed = headers.pop("authorization", "").startswith("Bearer ")
        headers.pop("x-api-key", None)
        body = json.loads(raw or b"{}")
        self.seen.append(Seen(scope["path"], headers, keyed, body, scope["client"][1]))
        self.arrived.set()
        if scope["path"].endswith("/v1/messages/count_tokens"):
            await _json(send, 200, {"input_tokens": _tokens(body)})
        elif scope["path"].endswith("/v1/messages"):
            await self._answer(body, receive, send)
        else:
            await _error(send, 404, "not_found_error")

    async def _answer(self, body: JsonObject, receive: Receive, send: Send) -> None:
        fault = self.faults.popleft() if self.faults else None
        fault = fault or self.always
        if fault is None:
            answer = self.script(body)
            usage = self._usage(body, answer)
            if body.get("stream"):
                await _stream(send, _events(body, answer, usage))
            else:
                await _json(send, 200, _whole(body, answer, usage))
            return
        match fault.kind:
            case "status":
                await _error(send, fault.status, fault.word, fault.headers)
            case "hang":
                await _gone(receive)
            case "drip":
                await _begin(send)
                while not await _gone(receive, within=0.01):
                    await send({"type": "http.response.body", "body": b":", "more_body": True})
            case "body":
                await _body(send, 200, fault.word.encode(), fault.headers)
            case "huge":
                await _stream(send, _huge(body))
            case "cut" | "end_early" | "error":
                answer = self.script(body)
                events = list(_events(body, answer, self._usage(body, answer)))
                last = max(i for i, event in enumerate(events) if event["type"] == "content_block_delta")
                sent = [*events[:last], {"type": "error", "error": {"type": fault.word, "message": "no"}}]
                await _stream(send, sent if fault.kind == "error" else sent[:-1], whole=fault.kind != "cut")

    def _usage(self, body: JsonObject, answer: Reply) -> JsonObject:
        """Counts as the API does: the marked prefix is written to a cache, and read from it the next time."""
        fixed = {"tools": body.get("tools"), "system": body.get("system")}
        prefix = json.dumps(fixed)
        marked = "cache_control" in prefix
        known = prefix in self._cached
        self._cached.add(prefix)
        many = _tokens(fixed)
        return {
            "input_tokens": _tokens(body["messages"]) + (0 if marked else many),
            "cache_read_input_tokens": many if marked and known else 0,
            "cache_creation_input_tokens": many if marked and not known else 0,
            "output_tokens": _tokens(list(answer.blocks)),
        }


def _tokens(value: Any) -> int:
    return max(1, len(json.dumps(value)) // 4)


def _message(body: JsonObject, **more: Any) -> JsonObject:
    head = {"id": f"msg_{next(_ids):06d}", "type": "message", "role": "assistant", "model": body.get("model")}
    return {**head, "content": [], "stop_reason": None, "stop_sequence": None, **more}


def _whole(body: JsonObject, answer: Reply, usage: JsonObject) -> JsonObject:
    blocks = [{name: value for name, value in block.items() if name != "raw"} for block in answer.blocks]
    return _message(body, content=blocks, stop_reason=answer.stop_reason, usage=usage)


def _pieces(text: str, size: int = 7) -> Iterator[str]:
    for start in range(0, len(text), size):
        yield text[start : start + size]


def _events(body: JsonObject, answer: Reply, usage: JsonObject) -> Iterator[JsonObject]:
    yield {"type": "message_start", "message": _message(body, usage={**usage, "output_tokens": 1})}
    yield {"type": "ping"}
    for index, block in enumerate(answer.blocks):
        opened, deltas = _taken_apart(block)
        yield {"type": "content_block_start", "index": index, "content_block": opened}
        for delta in deltas:
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    delta = {"stop_reason": answer.stop_reason, "stop_sequence": None}
    yield {"type": "message_delta", "delta": delta, "usage": {"output_tokens": usage["output_tokens"]}}
    yield {"type": "message_stop"}


def _taken_apart(block: JsonObject) -> tuple[JsonObject, list[JsonObject]]:
    match block["type"]:
        case "text":
            return said(""), [{"type": "text_delta", "text": part} for part in _pieces(block["text"])]
        case "tool_use":
            opened = {"type": "tool_use", "id": block["id"], "name": block["name"], "input": {}}
            text = block["raw"] if "raw" in block else json.dumps(block["input"])
            parts = ["", *_pieces(text)] if block["input"] or "raw" in block else [""]
            return opened, [{"type": "input_json_delta", "partial_json": part} for part in parts]
        case "thinking":
            deltas = [{"type": "thinking_delta", "thinking": part} for part in _pieces(block["thinking"])]
            sealed = {"type": "signature_delta", "signature": block["signature"]}
            return {"type": "thinking", "thinking": "", "signature": ""}, [*deltas, sealed]
        case _:
            return block, []


def _huge(body: JsonObject) -> Iterator[JsonObject]:
    yield {"type": "message_start", "message": _message(body, usage={"input_tokens": 1, "output_tokens": 1})}
    yield {"type": "content_block_start", "index": 0, "content_block": said("")}
    for _ in range(160):
        yield {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "a" * 65_536}}
    yield from list(_events(body, reply(), {"output_tokens": 1}))[-2:]


# --- the wire


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        kind = (await receive())["type"]
        await send({"type": f"{kind}.complete"})
        if kind == "lifespan.shutdown":
            return


async def _gone(receive: Receive, within: float | None = None) -> bool:
    """Whether the client has left."""
    try:
        async with asyncio.timeout(within):
            while (await receive())["type"] != "http.disconnect":
                pass
    except TimeoutError:
        return False
    return True


async def _begin(send: Send, code: int = 200, headers: Mapping[str, str] | None = None) -> None:
    given = {"content-type": "text/event-stream; charset=utf-8", "request-id": "req_1", **(headers or {})}
    encoded = [(name.encode(), value.encode()) for name, value in given.items()]
    await send({"type": "http.response.start", "status": code, "headers": encoded})


async def _body(send: Send, code: int, body: bytes, headers: Mapping[str, str]) -> None:
    await _begin(send, code, headers)
    await send({"type": "http.response.body", "body": body})


async def _json(send: Send, code: int, value: Any, headers: Mapping[str, str] | None = None) -> None:
    await _body(send, code, json.dumps(value).encode(), {"content-type": "application/json", **(headers or {})})


async def _error(send: Send, code: int, word: str, headers: Mapping[str, str] | None = None) -> None:
    said_by_server = "SECRET-OF-THE-SERVER says no"
    await _json(send, code, {"type": "error", "error": {"type": word, "message": said_by_server}}, headers)


async def _stream(send: Send, events: Iterator[JsonObject] | Sequence[JsonObject], *, whole: bool = True) -> None:
    await _begin(send)
    for event in events:
        await send({"type": "http.response.body", "body": stream(event).encode(), "more_body": True})
    if whole:
        await send({"type": "http.response.body", "body": b""})
    # Else: the server closes a connection whose answer was not ended.
