"""One account's view of a provider's API: adds the token, refuses every other host, names failures."""

from __future__ import annotations

import asyncio
import math
import random
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, MutableMapping
from contextlib import nullcontext, suppress
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from http import HTTPStatus
from json import dumps
from types import MappingProxyType
from typing import Final, Protocol

from providers.egress import Egress, Limits, RawReply, decode_json, encode_query
from providers.errors import (
    BadArguments,
    EgressDenied,
    Forbidden,
    NotFound,
    TokenRejected,
    ToolError,
    TooManyRequests,
    Unavailable,
)
from providers.spec import Json, KeySpec, Reply, Request

# pchar of RFC 3986; no `//`, no query: what a tool writes there is a path, and an unescaped value is not.
_PATH: Final = re.compile(r"/|(?:/(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})+)+/?")
# A segment that is `.` or `..` to any server that decodes once or more.
_DOTS: Final = re.compile(
    r"(?:/|%(?:25)*(?:2f|5c))(?:\.|%(?:25)*2e){1,2}(?=/|%(?:25)*(?:2f|5c)|$)", re.ASCII | re.IGNORECASE
)
_TOKEN: Final = re.compile(r"[\x21-\x7e]{1,16384}")
_SECONDS: Final = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,9})?")
_JSON: Final = re.compile(r"application/(?:[a-z0-9.-]+\+)?json", re.IGNORECASE)
_NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})
_RETRIES: Final = 2
_PASSING: Final = frozenset({502, 503, 504})


class Secret(Protocol):
    """A token that cannot be printed."""

    def reveal(self) -> str:
        """The token itself."""


_BEARER: Final = KeySpec()
_SESSIONS: Final = 10_000


class Sessions:
    """What the calls of each connection keep for one another, in this process; the ones used last, at most 10,000."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Hashable, MutableMapping[str, Json]] = OrderedDict()

    def of(self, key: Hashable) -> MutableMapping[str, Json]:
        """The one of this key, which names the connection and the version of its token."""
        found = self._kept.setdefault(key, {})
        self._kept.move_to_end(key)
        if len(self._kept) > _SESSIONS:
            self._kept.popitem(last=False)
        return found


class ApiClient:
    """Implements `providers.spec.Api` for one account and one call of a tool.

    `calls` counts every request, repeated ones too; `bytes_in` and `bytes_out` what the answered ones held.
    """

    def __init__(
        self,
        egress: Egress,
        api_base: str,
        web_base: str,
        token: Secret | None,
        *,
        key: KeySpec = _BEARER,
        headers: Mapping[str, str] = _NO_HEADERS,
        refusal_of: Callable[[Reply], ToolError | None] | None = None,
        session: MutableMapping[str, Json] | None = None,
        max_calls: int = 24,
    ) -> None:
        """Without a `token` nothing is sent in its place."""
        self.calls = 0
        self.bytes_in = 0
        self.bytes_out = 0
        self.session: MutableMapping[str, Json] = {} if session is None else session
        self._egress = egress
        self._api_base = api_base.rstrip("/")
        self._web_base = web_base.rstrip("/")
        self._token = token
        self._key = key
        self._headers = {"Accept": "application/json", **headers}
        self._refusal_of = refusal_of
        self._max_calls = max_calls

    @property
    def web_base(self) -> str:
        """See `Api.web_base`."""
        return self._web_base

    async def get(self, path: str, params: Mapping[str, Json] | None = None) -> Reply:
        """See `Api.get`. Repeated at most twice, and only while the limit for one request's time is not used up."""
        query = encode_query(params) if params else ""
        return self._reply(await self._repeated(Request("GET", path, query, repeat=True)))

    async def send(self, method: str, path: str, body: Json = None) -> Reply:
        """See `Api.send`."""
        if body is None:
            return self._reply(await self._attempt(Request(method, path)))
        content = {"Content-Type": "application/json"}
        return self._reply(await self._attempt(Request(method, path, headers=content, body=dumps(body).encode())))

    async def request(self, request: Request) -> Reply:
        """See `Api.request`. What changes nothing is repeated as in `get`."""
        outcome = await (self._repeated(request) if request.repeat else self._attempt(request))
        return self._reply(outcome, of_any_kind=True)

    async def _repeated(self, request: Request) -> RawReply | Unavailable:
        ends = time.monotonic() + self._egress.policy.limits.total_s
        outcome = await self._attempt(request)
        for retry in range(_RETRIES):
            pause = random.uniform(0, 0.2 * 2**retry)  # noqa: S311 - spreads callers out, guards nothing
            left = ends - time.monotonic() - pause
            if left <= 0 or not _passing(outcome):
                break
            await asyncio.sleep(pause)
            outcome = await self._attempt(request, within_s=left)
        return outcome

    async def _attempt(self, request: Request, *, within_s: float | None = None) -> RawReply | Unavailable:
        if not _PATH.fullmatch(request.path) or _DOTS.search(request.path):
            raise EgressDenied("The path leads away from the provider's API.")
        if self.calls >= self._max_calls:
            raise BadArguments(f"This takes more than {self._max_calls} calls to the provider; ask for less.")
        headers = {**self._headers, **request.headers, **self._proof()}
        limits = self._egress.policy.limits
        if request.slow:
            limits = _patient(limits)
        self.calls += 1
        try:
            reply = await self._egress.fetch(
                request.method,
                f"{self._api_base}{request.path}{f'?{request.query}' if request.query else ''}",
                headers=headers,
                body=request.body,
                until=request.until,
                limits=limits if within_s is None else replace(limits, total_s=within_s),
            )
        except Unavailable as failure:
            return failure
        self.bytes_in += len(reply.body)
        self.bytes_out += reply.sent_bytes
        return reply

    def _proof(self) -> dict[str, str]:
        """The header that holds the token. Raises: TokenRejected for one that could become two headers."""
        if self._token is None:
            return {}
        token = self._token.reveal()
        if not _TOKEN.fullmatch(token):
            raise TokenRejected("The stored token cannot be sent; connect the account again.")
        return {self._key.header: self._key.prefix + token}

    def _reply(self, outcome: RawReply | Unavailable, *, of_any_kind: bool = False) -> Reply:
        """The answer; its body is decoded when it says that it is JSON, and in any case unless it may be of any kind.

        Raises: ToolError.
        """
        if isinstance(outcome, Unavailable):
            raise outcome
        failure = failure_of(outcome, now=datetime.now(UTC))
        if failure and self._refusal_of is None:
            raise failure
        named = _JSON.match(outcome.headers.get("content-type", ""))
        data = None
        if outcome.body.strip() and (named or not (failure or of_any_kind)):
            with suppress(Unavailable) if failure else nullcontext():
                data = decode_json(outcome.body, self._egress.policy.limits.max_depth)
        reply = Reply(outcome.status, outcome.headers, outcome.body, data)
        if refused := (self._refusal_of(reply) if self._refusal_of else None) or failure:
            raise refused
        return reply


@lru_cache(maxsize=16)
def _patient(limits: Limits) -> Limits:
    """The same, but for its silences: they may be as long as the whole."""
    return replace(limits, first_byte_s=limits.total_s)


def _passing(outcome: RawReply | Unavailable) -> bool:
    """Whether the same request may well succeed in a moment, and did nothing so far."""
    if isinstance(outcome, Unavailable):
        return not outcome.sent
    return outcome.status in _PASSING and "retry-after" not in outcome.headers


def failure_of(reply: RawReply, *, now: datetime) -> ToolError | None:
    """What the status of `reply` means for the call, or None when it succeeded. The body is never quoted."""
    status, headers = reply.status, reply.headers
    out_of_calls = "retry-after" in headers or headers.get("x-ratelimit-remaining") == "0"  # GitHub's way to say 429
    if status == HTTPStatus.TOO_MANY_REQUESTS or (status == HTTPStatus.FORBIDDEN and out_of_calls):
        wait_s = retry_after_s(headers, now=now)
        return TooManyRequests(f"The provider asks to wait {wait_s} seconds.", retry_after_s=wait_s)
    failure: ToolError | None
    match status // 100, status:
        case 2, _:
            failure = None
        case 3, _:
            failure = Unavailable("The provider sent a redirect, which is not followed; check the address of its API.")
        case _, HTTPStatus.UNAUTHORIZED:
            failure = TokenRejected("The provider no longer accepts this account's token.")
        case _, HTTPStatus.FORBIDDEN | HTTPStatus.PAYMENT_REQUIRED | HTTPStatus.UNAVAILABLE_FOR_LEGAL_REASONS:
            failure = Forbidden("The provider does not allow this account to do that.", _named_scopes(headers))
        case _, HTTPStatus.NOT_FOUND | HTTPStatus.GONE:
            failure = NotFound("The provider has no such thing, or not for this account: check names and ids.")
        case _, HTTPStatus.REQUEST_TIMEOUT | HTTPStatus.TOO_EARLY:
            failure = Unavailable(f"The provider did not work on the request ({status}); try again.")
        case 4, _:
            failure = BadArguments(f"The provider does not accept these arguments ({status}).")
        case _:
            failure = Unavailable(f"The provider failed ({status}); try again later.")
    return failure


_CHALLENGED: Final = re.compile(r'\berror="?insufficient_scope"?')
_SCOPES: Final = re.compile(r'\bscope="([\x21\x23-\x5b\x5d-\x7e ]{1,2000})"')


def _named_scopes(headers: Mapping[str, str]) -> tuple[str, ...]:
    """The scopes a challenge asks for (RFC 6750 section 3.1), if it is about scopes."""
    challenge = headers.get("www-authenticate", "")[:8_192]
    found = _SCOPES.search(challenge) if _CHALLENGED.search(challenge) else None
    return tuple(sorted(set(found[1].split()))) if found else ()


def retry_after_s(headers: Mapping[str, str], *, now: datetime) -> int:
    """How long `Retry-After` (RFC 9110 10.2.3), else `X-RateLimit-Reset`, asks to wait: 1 to 3600 s, 30 if unsaid."""
    value = headers.get("retry-after", "").strip()
    try:
        if _SECONDS.fullmatch(value):
            wait = float(value)
        elif value:
            wait = (parsedate_to_datetime(value) - now).total_seconds()
        else:
            wait = int(headers["x-ratelimit-reset"][:12]) - now.timestamp()
    except (ValueError, TypeError, KeyError, OverflowError):
        return 30
    return min(max(math.ceil(wait), 1), 3600)
