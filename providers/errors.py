"""Why a call to a provider failed, in the provider-neutral words that decisions are made on."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(eq=False)
class ToolError(Exception):
    """A tool call that failed. `message` is ours, one sentence; the provider's own text is never in it."""

    message: str

    def __str__(self) -> str:
        return self.message


@dataclass(eq=False)
class BadArguments(ToolError):
    """The provider or the schema refused the arguments (400, 404 of a named thing, 422)."""


@dataclass(eq=False)
class NotFound(BadArguments):
    """The thing asked for is not there, or not for this account (404)."""


@dataclass(eq=False)
class TokenRejected(ToolError):
    """401: this token no longer works. One forced refresh may follow, then the user reconnects."""


@dataclass(eq=False)
class Forbidden(ToolError):
    """403: the account or its scopes do not allow this."""

    scopes: tuple[str, ...] = ()
    """The scopes that would, where the provider names them (RFC 6750 section 3.1, `insufficient_scope`)."""


@dataclass(eq=False)
class Questioned(ToolError):
    """The provider asks the person something before it goes on. Nobody here answers in their place."""


@dataclass(eq=False)
class TooManyRequests(ToolError):
    """429, or the provider's own way to say it."""

    retry_after_s: int = 30


@dataclass(eq=False)
class Unavailable(ToolError):
    """5xx, no answer in time, an answer that is not what it should be, or one over the size limit."""

    sent: bool = field(default=True)
    """False when it is certain that the request never reached the provider."""


@dataclass(eq=False)
class EgressDenied(ToolError):
    """The address is one the product does not connect to. Nothing was sent."""
