"""What the sandbox does wrong on purpose, and what it counted: the two things a test steers it by."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from starlette.responses import JSONResponse, Response, StreamingResponse

STATUSES = {
    401: "Invalid token",
    403: "You do not have permission to perform this action.",
    404: "The requested resource does not exist",
    429: "You are attempting to use this endpoint too frequently. Limit is 40 requests in 1 seconds",
    500: "Internal Error",
}
BODIES = frozenset({"html", "empty", "ten_mb", "slow_drip"})
TOKEN_FAULTS = frozenset({"500_before", "500_after", "html"})
HTML = "<!doctype html><title>502 Bad Gateway</title><h1>502 Bad Gateway</h1>"
DRIPS = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """How the sandbox misbehaves. Set at start, and replaced as a whole by `POST /_faults`."""

    access_ttl_s: int = 3600
    """Lifetime of the access tokens given out from now on."""
    path: str = "/api/0/"
    """Only API calls whose path begins so are touched."""
    delay_s: float = 0
    """How long such a call waits before anything else."""
    status: int | None = None
    """What such a call is answered instead (see STATUSES)."""
    body: str | None = None
    """What it is answered with (see BODIES); status 200 unless `status` says otherwise."""
    times: int | None = None
    """For how many calls `status` and `body` hold; until changed when None."""
    retry_after_s: int = 1
    """Sent with a 429."""
    token: str | None = None
    """What the token endpoint does: fail or answer HTML before doing anything, or fail after it (answer lost)."""
    token_times: int | None = None
    """For how many token requests `token` holds; until changed when None."""
    token_delay_s: float = 0
    """How long a token request waits before anything else."""
    rotate: bool = True
    """Whether a refresh uses up the refresh token; without it the answer names the same one again."""

    def changed(self, given: Mapping[str, Any]) -> Faults:
        """These faults with some replaced. Raises: `ValueError` with one sentence about what is wrong."""
        known = {each.name for each in fields(self)}
        if unknown := sorted(set(given) - known):
            raise ValueError(f"Unknown fault {unknown[0]}. Known: {', '.join(sorted(known))}.")
        made = replace(self, **given)
        for name in ("access_ttl_s", "delay_s", "times", "retry_after_s", "token_times", "token_delay_s"):
            value = getattr(made, name)
            optional = name in {"times", "token_times"} and value is None
            if not optional and (isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0):
                raise ValueError(f"{name} must be a number that is not negative.")
        for name, choices in (("status", STATUSES), ("body", BODIES), ("token", TOKEN_FAULTS)):
            if getattr(made, name) not in {None, *choices}:
                raise ValueError(f"{name} must be one of {', '.join(str(choice) for choice in sorted(choices))}.")
        if not isinstance(made.rotate, bool):
            raise ValueError("rotate must be true or false.")  # noqa: TRY004 - one error type for bad input
        if not isinstance(made.path, str):
            raise ValueError("path must be the beginning of a path.")  # noqa: TRY004 - one error type for bad input
        return made


@dataclass(slots=True)
class Stats:
    """What really happened, for tests to ask."""

    authorizations: int = 0
    """Consents given."""
    codes_exchanged: int = 0
    codes_reused: int = 0
    refreshes: int = 0
    reuses: int = 0
    """Refresh tokens presented after they had been used."""
    families_revoked: int = 0
    """Because of reuse of a refresh token or a code."""
    revocations: int = 0
    """By the client or by the person."""
    max_in_flight_per_grant: int = 0
    """Token requests for the same grant at the same time."""
    api_calls: int = 0
    writes: int = 0
    calls_per_token: Counter[str] = field(default_factory=Counter)
    """By the first 12 hex digits of the access token's SHA-256."""
    calls_per_path: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    """API answers by status."""
    presentations: Counter[str] = field(default_factory=Counter)
    """How often each refresh token came, by digest."""

    def as_json(self) -> dict[str, Any]:
        """The counters; of the presentations only the highest."""
        counts = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "presentations"}
        return counts | {"max_presentations_of_one_token": max(self.presentations.values(), default=0)}


class Steering:
    """The faults in force and the counters."""

    def __init__(self, start: Faults) -> None:
        self.start = start
        self.faults = start
        self.stats = Stats()

    async def api_fault(self, path: str) -> Response | None:
        """Wait if told to; the answer to give instead of the real one, if any."""
        if not path.startswith(self.faults.path):
            return None
        if self.faults.delay_s:
            await asyncio.sleep(self.faults.delay_s)
        faults = self.faults
        if (faults.status is None and faults.body is None) or faults.times == 0:
            return None
        if faults.times is not None:
            self.faults = replace(faults, times=faults.times - 1)
        return _answer(faults)

    async def token_fault(self) -> str | None:
        """Wait if told to; which fault this token request gets, if any."""
        if self.faults.token_delay_s:
            await asyncio.sleep(self.faults.token_delay_s)
        faults = self.faults
        if faults.token is None or faults.token_times == 0:
            return None
        if faults.token_times is not None:
            self.faults = replace(faults, token_times=faults.token_times - 1)
        return faults.token


def _answer(faults: Faults) -> Response:
    status = faults.status or 200
    limits = {"Retry-After": str(faults.retry_after_s)} if status == 429 else {}  # noqa: PLR2004 - the code's own name
    match faults.body:
        case "html":
            return Response(HTML, status, media_type="text/html", headers=limits)
        case "empty":
            return Response(b"", status, media_type="application/json", headers=limits)
        case "ten_mb":
            return StreamingResponse(_ten_megabytes(), status, media_type="application/json", headers=limits)
        case "slow_drip":
            return StreamingResponse(_drip(), status, media_type="application/json", headers=limits)
        case _:
            return JSONResponse({"detail": STATUSES[status]}, status, headers=limits)


async def _ten_megabytes() -> AsyncIterator[bytes]:
    yield b'["'
    for _ in range(160):
        yield b"x" * 65_536
    yield b'"]'


async def _drip() -> AsyncIterator[bytes]:
    yield b"["
    for _ in range(DRIPS):
        await asyncio.sleep(0.2)
        yield b" "
    yield b"]"
