"""The `Model` port over Anthropic's SDK: Claude, or any server that speaks the Messages API.

The SDK builds requests and decodes streams. When to try again, for how long, what an answer may hold and what counts
as a whole one is decided here: its own retries know no deadline, and its accumulator takes half of a tool's arguments
for the whole.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import ssl
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, TypeAlias

import anthropic
import httpx2
from anthropic.types import (
    ContentBlockParam,
    MessageParam,
    RawMessageStreamEvent,
    TextBlockParam,
    ThinkingConfigParam,
    ToolParam,
)

from metaagent.agent.model import (
    FromModel,
    FromUser,
    Message,
    ModelGone,
    ModelTool,
    OnText,
    Role,
    Said,
    Spent,
    Thought,
    ToolOutcome,
    ToolUse,
    Turn,
    Why,
)
from metaagent.llm.reading import Nonsense, Reading, sound
from providers.egress import USER_AGENT, AsyncGuardedTransport, Egress, Limits

ANTHROPIC_URL: Final = "https://api.anthropic.com"
MAX_ANSWER_BYTES: Final = 2 * 1024 * 1024
RETRIES: Final = 2
_FIRST_PAUSE_S: Final = 0.5
_MAX_PAUSE_S: Final = 8.0
_CONNECT_S: Final = 5.0
_FAREWELL_S: Final = 0.25
"""For what comes after the last event: read to its end, the connection is used again."""
_DAY_S: Final = 86_400
_BAD_REQUEST: Final = 400

_log = logging.getLogger(__name__)
# ANTHROPIC_LOG=debug would print prompts.
logging.getLogger("anthropic").setLevel(logging.WARNING)

Pause: TypeAlias = Callable[[float], Awaitable[None]]


# ------------------------------------------------------------------------------------------- what a model can be told


@dataclass(frozen=True, slots=True)
class _Request:
    model: str
    system: str
    messages: Sequence[Message]
    max_tokens: int
    tools: Sequence[ModelTool]
    must_use: str | None


@dataclass(frozen=True, slots=True)
class _Manner:
    """How a model is asked for a quick answer. Each generation refuses (400) what the one before it took."""

    forced: bool = True
    """Takes a `tool_choice` that names a tool."""
    thinking: ThinkingConfigParam | None = None
    low_effort: bool = False

    def says_more(self, request: _Request) -> bool:
        """Whether `request` holds something that a plain one does not."""
        return self.thinking is not None or self.low_effort or (self.forced and request.must_use is not None)


_PLAIN: Final = _Manner(forced=False)
"""What every server takes; the way out when another manner is refused."""
_MANNERS: Final[Mapping[str, _Manner]] = {
    "claude-haiku-5-5": _Manner(thinking={"type": "disabled"}),
    "claude-sonnet-5-5": _Manner(forced=False, thinking={"type": "between_tools"}),
    "claude-opus-5-5": _Manner(forced=False, low_effort=True),
    "claude-fable-5": _Manner(forced=False, low_effort=True),
    "claude-mythos-5": _Manner(forced=False, low_effort=True),
    "claude-sonnet-5": _Manner(thinking={"type": "disabled"}),
    "claude-opus-5": _Manner(thinking={"type": "disabled"}),
}
"""By the beginning of a name; the longest counts. Others do not think unless told to, or are not Anthropic's."""


def _manner(model: str) -> _Manner:
    known = [name for name in _MANNERS if model.startswith(name)]
    return _MANNERS[max(known, key=len)] if known else _Manner()


_CACHED: Final[anthropic.types.CacheControlEphemeralParam] = {"type": "ephemeral"}


def _tools(tools: Sequence[ModelTool]) -> list[ToolParam]:
    """The last one is marked: all of them are cached, also under another system prompt."""
    shown: list[ToolParam] = [
        {"name": tool.name, "description": tool.description, "input_schema": dict(tool.input_schema)} for tool in tools
    ]
    if shown:
        shown[-1]["cache_control"] = _CACHED
    return shown


def _system(system: str, insist_on: str | None) -> list[TextBlockParam]:
    """The mark ends the cached prefix, so what is insisted on comes after it."""
    blocks: list[TextBlockParam] = [{"type": "text", "text": system, "cache_control": _CACHED}] if system else []
    if insist_on:
        blocks.append({"type": "text", "text": f"Answer by using the tool {insist_on} once, and with nothing else."})
    return blocks


def _messages(messages: Sequence[Message]) -> list[MessageParam]:
    sent: list[MessageParam] = []
    for message in messages:
        match message:
            case FromUser(parts):
                # The API wants outcomes before words.
                ordered = sorted(parts, key=lambda part: isinstance(part, Said))
                sent.append({"role": "user", "content": [block for part in ordered for block in _block(part)]})
            case FromModel(parts):
                sent.append({"role": "assistant", "content": [block for part in parts for block in _block(part)]})
    return sent


def _block(part: Said | ToolUse | ToolOutcome | Thought) -> list[ContentBlockParam]:
    match part:
        case Said(text):
            return [{"type": "text", "text": sound(text)}] if text else []  # an empty block is refused
        case ToolUse(use_id, name, args):
            return [{"type": "tool_use", "id": use_id, "name": name, "input": dict(args)}]
        case ToolOutcome(use_id, text, is_error):
            return [{"type": "tool_result", "tool_use_id": use_id, "content": sound(text), "is_error": is_error}]
        case Thought(sealed):
            return [dict(sealed)]  # type: ignore[list-item]  # as its server made it


# ---------------------------------------------------------------------------------------------------- what goes wrong


@dataclass(eq=False)
class _Failed(Exception):
    """One try that failed."""

    why: Why
    tries: int = RETRIES
    """How many more it is worth."""
    retry_after_s: float | None = None
    status: int | None = None


_STATUSES: Final = {
    401: Why.REFUSED_KEY,
    402: Why.REFUSED_KEY,
    403: Why.REFUSED_KEY,
    408: Why.UNREACHABLE,
    409: Why.UNREACHABLE,
    429: Why.RATE_LIMITED,
    503: Why.OVERLOADED,
    529: Why.OVERLOADED,
}
_TYPES: Final = {
    "overloaded_error": Why.OVERLOADED,
    "rate_limit_error": Why.RATE_LIMITED,
    "authentication_error": Why.REFUSED_KEY,
    "permission_error": Why.REFUSED_KEY,
    "billing_error": Why.REFUSED_KEY,
    "invalid_request_error": Why.NONSENSE,
    "not_found_error": Why.NONSENSE,
}
"""Of errors that come in a stream that had begun well."""
_PASSING: Final = frozenset({Why.UNREACHABLE, Why.OVERLOADED, Why.RATE_LIMITED, Why.CUT})


def _refusal(error: anthropic.APIStatusError) -> _Failed:
    status = error.status_code
    if status < 400:  # noqa: PLR2004 - the first status that is an error
        kind = error.type if isinstance(error.type, str) else ""
        why = _TYPES.get(kind, Why.UNREACHABLE) if error.response.is_success else Why.NONSENSE  # no redirects
    else:
        why = _STATUSES.get(status, Why.UNREACHABLE if status >= 500 else Why.NONSENSE)  # noqa: PLR2004 - server's side
    worth = why in _PASSING and error.response.headers.get("x-should-retry") != "false"
    return _Failed(why, RETRIES if worth else 0, _retry_after(error.response.headers), status)


def _retry_after(headers: httpx2.Headers) -> float | None:
    """Seconds; a date is not understood."""
    for name, per_second in (("retry-after-ms", 1000), ("retry-after", 1)):
        with suppress(ValueError):
            wait = float(headers.get(name, "")) / per_second
            if 0 < wait <= _DAY_S:
                return wait
    return None


# -------------------------------------------------------------------------------------------------------- the way out


@lru_cache(maxsize=1)
def _tls() -> ssl.SSLContext:
    """Made once: each client would read all certificates anew."""
    return ssl.create_default_context()


def way_out(base_url: str, egress: Egress) -> httpx2.AsyncBaseTransport:
    """How requests leave: to Anthropic through the guard, to an address the operator chose directly.

    `Claude` lets nothing through to another origin.
    """
    if _origin(httpx2.URL(base_url)) == _origin(httpx2.URL(ANTHROPIC_URL)):
        # The guard hands answers over whole: nothing is heard until all is said. The deadline is the caller's.
        limits = Limits(connect_s=_CONNECT_S, first_byte_s=600, total_s=600, max_wire_bytes=MAX_ANSWER_BYTES)
        return AsyncGuardedTransport(egress, limits=limits)
    return httpx2.AsyncHTTPTransport(verify=_tls() if base_url.startswith("https:") else False, trust_env=False)


_PORTS: Final = {"http": 80, "https": 443}


def _origin(url: httpx2.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port or _PORTS.get(url.scheme)


_SENT: Final = frozenset(
    {"accept", "accept-encoding", "anthropic-version", "authorization", "content-length", "content-type", "host"}
)


class _OneOrigin(httpx2.AsyncBaseTransport):
    """Sends to one origin, and only headers that belong to the API: the SDK takes others from the environment."""

    def __init__(self, inner: httpx2.AsyncBaseTransport, origin: tuple[str, str, int | None]) -> None:
        self._inner = inner
        self._origin = origin

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Called by httpx2."""
        if _origin(request.url) != self._origin:
            raise httpx2.UnsupportedProtocol("another origin")
        for name in set(request.headers) - _SENT:
            del request.headers[name]
        request.headers["user-agent"] = USER_AGENT
        response = await self._inner.handle_async_request(request)
        plain = response.headers.get("content-encoding", "identity") == "identity"
        assert isinstance(response.stream, httpx2.AsyncByteStream)  # noqa: S101 - what an async transport gives
        response.stream = _Measured(response.stream, MAX_ANSWER_BYTES if plain else 0)
        return response

    async def aclose(self) -> None:
        """Called by httpx2."""
        await self._inner.aclose()


class _Measured(httpx2.AsyncByteStream):
    """A body that may not hold more than `most` bytes."""

    def __init__(self, body: httpx2.AsyncByteStream, most: int) -> None:
        self._body = body
        self._most = most

    async def __aiter__(self) -> AsyncIterator[bytes]:
        held = 0
        async for part in self._body:
            held += len(part)
            if held > self._most:
                raise _Failed(Why.NONSENSE, tries=0)
            yield part

    async def aclose(self) -> None:
        await self._body.aclose()


# ---------------------------------------------------------------------------------------------------------- the model


class Claude:
    """The models of one server. Belongs to one event loop; one per process, for its pool of connections."""

    def __init__(
        self,
        *,
        api_key: str,
        models: Mapping[Role, str],
        transport: httpx2.AsyncBaseTransport,
        base_url: str = ANTHROPIC_URL,
        pause: Pause = asyncio.sleep,
    ) -> None:
        """`api_key` may be empty for a server that wants none; `transport` is `way_out`.

        Raises: `ValueError` with one sentence that names the setting.
        """
        url = httpx2.URL(base_url)
        if url.scheme not in _PORTS or not url.host or url.userinfo or url.query or url.fragment:
            raise ValueError("ANTHROPIC_BASE_URL must look like https://host/path, without a password or query.")
        if not api_key.isascii() or not api_key.isprintable() or " " in api_key:
            raise ValueError("ANTHROPIC_API_KEY holds characters that no key has.")
        key = api_key or "none"  # any explicit key keeps the SDK from searching for others
        self._models = dict(models)
        self._manners = {model: _manner(model) for model in self._models.values()}
        self._pause = pause
        self._api = anthropic.AsyncAnthropic(
            api_key=key,
            default_headers={"authorization": f"Bearer {key}"},  # ANTHROPIC_CUSTOM_HEADERS would replace it
            base_url=url,
            max_retries=0,
            timeout=httpx2.Timeout(None, connect=_CONNECT_S),
            open_telemetry=False,  # spans are made where the turn is; the environment could put prompts into the SDK's
            http_client=httpx2.AsyncClient(
                transport=_OneOrigin(transport, _origin(url)),
                headers={"accept-encoding": "identity"},
                follow_redirects=False,
            ),
        )

    async def aclose(self) -> None:
        """Close every connection; not to be used afterwards."""
        await self._api.close()

    async def turn(
        self,
        role: Role,
        *,
        system: str,
        messages: Sequence[Message],
        max_tokens: int,
        deadline: float,
        tools: Sequence[ModelTool] = (),
        must_use: str | None = None,
        on_text: OnText | None = None,
    ) -> Turn:
        """See `metaagent.agent.model.Model.turn`."""
        request = _Request(self._models[role], system, messages, max_tokens, tools, must_use)
        manner = self._manners[request.model]
        spent, reading = Spent(), Reading()
        try:
            async with asyncio.timeout(deadline - time.monotonic()) as clock:
                for tried in range(RETRIES + 1):
                    try:
                        await self._listen(reading, request, manner, on_text)
                        turn = reading.turn(request.model, spent + reading.spent)
                    except Nonsense:
                        failed = _Failed(Why.NONSENSE, tries=1)
                    except _Failed as failure:
                        failed = failure
                    else:
                        self._manners[request.model] = manner
                        return turn
                    spent, reading = spent + reading.spent, Reading()
                    if failed.status == _BAD_REQUEST and manner.says_more(request):
                        manner = _PLAIN
                        continue
                    wait = failed.retry_after_s or _backoff(tried)
                    if tried >= failed.tries or time.monotonic() + wait >= deadline:
                        break
                    await self._pause(wait)
        except TimeoutError:
            if not clock.expired():
                raise
            failed, spent = _Failed(Why.TOO_SLOW), spent + reading.spent
        _log.warning("no answer from the model %s: %s (HTTP status %s)", request.model, failed.why, failed.status)
        retry_after_s = math.ceil(failed.retry_after_s) if failed.retry_after_s else None
        raise ModelGone(failed.why, retry_after_s, spent) from None

    async def _listen(self, reading: Reading, request: _Request, manner: _Manner, on_text: OnText | None) -> None:
        """Raises: `_Failed`."""
        async with aclosing(self._events(request, manner)) as events:
            async for event in events:
                if reading.take(event) and on_text is not None:
                    await on_text(reading.text)
        if not reading.whole:
            raise _Failed(Why.CUT)

    async def _events(self, request: _Request, manner: _Manner) -> AsyncGenerator[RawMessageStreamEvent]:
        """The events of one answer, to the last. Raises: `_Failed`, whatever the SDK and what is below it raise."""
        try:
            stream = await self._open(request, manner)
            async with stream:
                kind = stream.response.headers.get("content-type", "")
                if not kind.lower().startswith("text/event-stream"):
                    raise _Failed(Why.NONSENSE, tries=0)
                async for event in stream:
                    yield event
                    if getattr(event, "type", None) == "message_stop":
                        break
                with suppress(
                    TimeoutError, httpx2.HTTPError, anthropic.AnthropicError, ValueError, RuntimeError, _Failed
                ):
                    async with asyncio.timeout(_FAREWELL_S):
                        async for _ in stream:
                            pass
        except anthropic.APIStatusError as refused:
            raise _refusal(refused) from None
        except anthropic.APIConnectionError:
            raise _Failed(Why.UNREACHABLE) from None
        except httpx2.HTTPError:
            raise _Failed(Why.CUT) from None
        except (ValueError, RuntimeError, anthropic.AnthropicError):  # no JSON or too deep, no event, no UTF-8
            raise _Failed(Why.NONSENSE, tries=1) from None

    async def _open(self, request: _Request, manner: _Manner) -> anthropic.AsyncStream[RawMessageStreamEvent]:
        forced = request.must_use if manner.forced else None
        insist_on = None if manner.forced else request.must_use
        return await self._api.messages.create(
            model=request.model,
            max_tokens=request.max_tokens,
            system=_system(request.system, insist_on) or anthropic.omit,
            messages=_messages(request.messages),
            tools=_tools(request.tools) or anthropic.omit,
            tool_choice={"type": "tool", "name": forced, "disable_parallel_tool_use": True}
            if forced
            else anthropic.omit,
            thinking=manner.thinking or anthropic.omit,
            output_config={"effort": "low"} if manner.low_effort else anthropic.omit,
            stream=True,
        )


def _backoff(tried: int) -> float:
    """Half a second, doubling; spread, so that those who failed together do not come back together."""
    pause: float = min(_FIRST_PAUSE_S * 2**tried, _MAX_PAUSE_S)
    return pause * random.uniform(0.75, 1)  # noqa: S311 - no secret
