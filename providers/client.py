"""One account's view of a provider's API: adds the token, refuses every other host, names failures."""

from __future__ import annotations

import asyncio
import math
import random
import re
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Final, Protocol

from providers.egress import Egress, RawReply, decode_json
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
from providers.spec import Json, Reply

# pchar of RFC 3986; no `//`, no query: what a tool writes there is a path, and an unescaped value is not.
_PATH: Final = re.compile(r"/|(?:/(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})+)+/?")
# A segment that is `.` or `..` to any server that decodes once or more.
_DOTS: Final = re.compile(
    r"(?:/|%(?:25)*(?:2f|5c))(?:\.|%(?:25)*2e){1,2}(?=/|%(?:25)*(?:2f|5c)|$)", re.ASCII | re.IGNORECASE
)
_TOKEN: Final = re.compile(r"[\x21-\x7e]{1,16384}")
_SECONDS: Final = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,9})?")
_RETRIES: Final = 2
_PASSING: Final = frozenset({502, 503, 504})


class Secret(Protocol):
    """A token that cannot be printed."""

    def reveal(self) -> str:
        """The token itself."""


class ApiClient:
    """Implements `providers.spec.Api` for one account and one call of a tool.

    `calls` counts every request, repeated ones too; `bytes_in` and `bytes_out` what the answered ones held.
    """

    def __init__(self, egress: Egress, api_base: str, web_base: str, token: Secret, *, max_calls: int = 24) -> None:
        self.calls = 0
        self.bytes_in = 0
        self.bytes_out = 0
        self._egress = egress
        self._api_base = api_base.rstrip("/")
        self._web_base = web_base.rstrip("/")
        self._token = token
        self._max_calls = max_calls

    @property
    def web_base(self) -> str:
        """See `Api.web_base`."""
        return self._web_base

    async def get(self, path: str, params: Mapping[str, Json] | None = None) -> Reply:
        """See `Api.get`. Repeated at most twice, and only while the limit for one request's time is not used up."""
        ends = time.monotonic() + self._egress.policy.limits.total_s
        outcome = await self._attempt("GET", path, params=params)
        for retry in range(_RETRIES):
            pause = random.uniform(0, 0.2 * 2**retry)  # noqa: S311 - spreads callers out, guards nothing
            left = ends - time.monotonic() - pause
            if left <= 0 or not _passing(outcome):
                break
            await asyncio.sleep(pause)
            outcome = await self._attempt("GET", path, params=params, within_s=left)
        return self._reply(outcome)

    async def send(self, method: str, path: str, body: Json = None) -> Reply:
        """See `Api.send`."""
        return self._reply(await self._attempt(method, path, body=body))

    async def _attempt(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Json] | None = None,
        body: Json = None,
        within_s: float | None = None,
    ) -> RawReply | Unavailable:
        if not _PATH.fullmatch(path) or _DOTS.search(path):
            raise EgressDenied("The path leads away from the provider's API.")
        if self.calls >= self._max_calls:
            raise BadArguments(f"This takes more than {self._max_calls} calls to the provider; ask for less.")
        token = self._token.reveal()
        if not _TOKEN.fullmatch(token):
            raise TokenRejected("The stored token cannot be sent; connect the account again.")
        limits = self._egress.policy.limits
        self.calls += 1
        try:
            reply = await self._egress.fetch(
                method,
                self._api_base + path,
                headers={"Authorization": f"Bearer {token}", "Accept": "application/json"},
                params=params,
                json=body,
                limits=replace(limits, total_s=within_s) if within_s is not None else None,
            )
        except Unavailable as failure:
            return failure
        self.bytes_in += len(reply.body)
        self.bytes_out += reply.sent_bytes
        return reply

    def _reply(self, outcome: RawReply | Unavailable) -> Reply:
        if isinstance(outcome, Unavailable):
            raise outcome
        if failure := failure_of(outcome, now=datetime.now(UTC)):
            raise failure
        data = decode_json(outcome.body, self._egress.policy.limits.max_depth) if outcome.body.strip() else None
        return Reply(outcome.status, outcome.headers, outcome.body, data)


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
            failure = Forbidden("The provider does not allow this account to do that.")
        case _, HTTPStatus.NOT_FOUND | HTTPStatus.GONE:
            failure = NotFound("The provider has no such thing, or not for this account: check names and ids.")
        case _, HTTPStatus.REQUEST_TIMEOUT | HTTPStatus.TOO_EARLY:
            failure = Unavailable(f"The provider did not work on the request ({status}); try again.")
        case 4, _:
            failure = BadArguments(f"The provider does not accept these arguments ({status}).")
        case _:
            failure = Unavailable(f"The provider failed ({status}); try again later.")
    return failure


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
