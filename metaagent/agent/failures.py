"""How an ask ends without an answer.

Failure
├─ Invitation    a person can fix it in a browser: NeedsAuth, NeedsConsent, ApprovalRequired, CapabilityMiss
├─ Choice        the client can fix it by asking again: AccountAmbiguous, AccountUnknown, AskInvalid
├─ Wait          time fixes it: RateLimited, CircuitOpen, Overloaded, ProviderUnavailable, ModelUnavailable
├─ BudgetExceeded  what this ask, person or tenant may use is used up
├─ PolicyDenied  nobody here can fix it
├─ ExportHidden  leaves as "Unknown tool", so that a strict tenant leaks nothing
└─ Internal      our own fault; only the telemetry id is told

Each has a stable `code` and says in one sentence what to do. Foreign text never becomes a message.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import ClassVar, Literal

from metaagent.agent.types import Link, Proposed, Question
from providers.spec import Effect, Json


@dataclass(eq=False)
class Failure(Exception):
    """An ask that ended without an answer."""

    code: ClassVar[str]
    retryable: ClassVar[bool] = False
    telemetry_id = ""  # no annotation: set by Agent.ask, not a field

    @property
    def message(self) -> str:
        """One sentence for a person or a model: what is wrong and what to do."""
        raise NotImplementedError

    def payload(self) -> dict[str, Json]:
        """The `error` object of the wire."""
        stated = {item.name: _plain(getattr(self, item.name)) for item in fields(self) if item.name not in _SPOKEN}
        return {"code": self.code, "message": self.message, "retryable": self.retryable, **stated}

    def outcome(self) -> dict[str, Json]:
        """The structured content of the wire: the form of an answer, so that one schema fits both."""
        body: dict[str, Json] = {"text": self.message, "error": self.payload()}
        if self.telemetry_id:  # none when the arguments were refused before there was a run
            body["telemetryId"] = self.telemetry_id
        return body


_SPOKEN = {"sentence", "title", "once", "question", "call", "link"}
"""Fields that are not stated as they are."""


def _plain(value: Json) -> Json:
    if isinstance(value, frozenset | set):
        return sorted(value)
    return list(value) if isinstance(value, tuple) else value


@dataclass(eq=False)
class Invitation(Failure):
    """A person can fix it in a browser, at `url`."""

    retryable: ClassVar[bool] = True

    @property
    def url(self) -> str:
        """Where the person goes."""
        raise NotImplementedError

    @property
    def lead(self) -> str:
        """What is missing, in one sentence without the address."""
        raise NotImplementedError

    @property
    def otherwise(self) -> str:
        """The other way there, within a sentence; empty when there is none."""
        return ""

    @property
    def declined(self) -> bool:
        """Whether the person has just said no; then nobody puts the question to them again."""
        return False


@dataclass(eq=False)
class Unconnected(Invitation):
    """A person has to connect an account, or let it do more: NeedsAuth, CapabilityMiss."""

    link: Link | None = field(default=None, kw_only=True)

    @property
    def url(self) -> str:
        """The connect link."""
        return self.link.url if self.link else ""

    @property
    def otherwise(self) -> str:
        """The code to type, for who cannot open a link where they read it."""
        if self.link is None or not self.link.code:
            return ""
        return f" (typing {self.link.code} at {self.link.code_url} does the same)"

    @property
    def message(self) -> str:
        """Says what to open, and that the same call then works."""
        return f"{self.lead} Ask the user to open {self.url}{self.otherwise} and then repeat this call."

    def payload(self) -> dict[str, Json]:
        """With the address, and the code where there is one."""
        stated = {**super().payload(), "connect_url": self.url}
        if self.link and self.link.code:
            stated |= {"user_code": self.link.code, "code_url": self.link.code_url}
        return stated


@dataclass(eq=False)
class NeedsAuth(Unconnected):
    """No usable connection."""

    code: ClassVar[str] = "needs_auth"
    provider_id: str
    reason: str
    """missing | revoked | refresh_failed | refresh_outcome_unknown | scope_upgrade"""
    scopes: tuple[str, ...]
    title: str

    @property
    def lead(self) -> str:
        """First time or again."""
        state = "is not connected yet" if self.reason == "missing" else "has to be connected again"
        return f"{self.title} {state}."


@dataclass(eq=False)
class Asked(Invitation):
    """A person has to answer a question first, on a page of ours: NeedsConsent, ApprovalRequired."""

    verb: ClassVar[str]
    """What saying yes is called."""
    address: ClassVar[str]
    """The name of the page's address on the wire."""
    question: Question | None = field(default=None, kw_only=True)

    @property
    def url(self) -> str:
        """The page that asks."""
        return self.question.url if self.question else ""

    @property
    def declined(self) -> bool:
        """Whether they have answered no."""
        return self.question is not None and self.question.declined

    @property
    def message(self) -> str:
        """Says what to open, and that the same call then works; or that the answer was no."""
        if self.declined:
            return (
                f"{self.lead} The user has just declined. Go on without; they can still {self.verb} it at {self.url}."
            )
        return f"{self.lead} Ask the user to open {self.url} and {self.verb} it, and then repeat this call unchanged."

    def payload(self) -> dict[str, Json]:
        """With the address."""
        return {**super().payload(), self.address: self.url}


@dataclass(eq=False)
class NeedsConsent(Asked):
    """Connected, and a person has to allow this client what it is about to do."""

    code: ClassVar[str] = "needs_consent"
    verb: ClassVar[str] = "allow"
    address: ClassVar[str] = "consent_url"
    provider_id: str
    effect: Effect
    summary: str
    """What would be done, in one line."""
    title: str
    once: bool
    """Every ask needs a consent of its own."""

    @property
    def lead(self) -> str:
        """Says what it is that needs consent."""
        match self.effect:
            case Effect.READ:
                return f"Reading from {self.title} needs consent first."
            case Effect.WRITE:
                return f"Changing something in {self.title} needs consent first."
            case Effect.DESTRUCTIVE:
                return f"Deleting something in {self.title} needs consent first."


@dataclass(eq=False)
class ApprovalRequired(Asked):
    """One call that only the person can allow, once, on a page that shows exactly what will happen."""

    code: ClassVar[str] = "approval_required"
    verb: ClassVar[str] = "approve"
    address: ClassVar[str] = "approve_url"
    provider_id: str
    tool: str
    summary: str
    """What would be done, in one line."""
    title: str
    call: Proposed

    @property
    def lead(self) -> str:
        """Names the tool."""
        return f"{self.title}: {self.tool} needs the user's approval first."


@dataclass(eq=False)
class CapabilityMiss(Unconnected):
    """Connected, but the granted scopes do not allow this tool."""

    code: ClassVar[str] = "capability_miss"
    provider_id: str
    tool: str
    missing_scopes: tuple[str, ...]
    title: str

    @property
    def lead(self) -> str:
        """Names the tool and what it lacks."""
        return f"{self.title} is connected, but {self.tool} also needs: {', '.join(self.missing_scopes)}."


@dataclass(eq=False)
class Choice(Failure):
    """The client can fix it by asking again."""

    retryable: ClassVar[bool] = True


@dataclass(eq=False)
class AccountAmbiguous(Choice):
    """Several accounts, none of them named."""

    code: ClassVar[str] = "account_ambiguous"
    provider_id: str
    accounts: tuple[tuple[str, str], ...]

    @property
    def message(self) -> str:
        """Lists the accounts."""
        listed = "; ".join(f"{label} ({account_id})" for account_id, label in self.accounts)
        return f"Several accounts are connected. Repeat the call with accountId set to one of: {listed}."

    def payload(self) -> dict[str, Json]:
        """Accounts as objects."""
        listed = [{"account_id": account_id, "label": label} for account_id, label in self.accounts]
        return {**super().payload(), "accounts": listed}


@dataclass(eq=False)
class AccountUnknown(Choice):
    """The account named is not one of this person's."""

    code: ClassVar[str] = "account_unknown"
    provider_id: str

    @property
    def message(self) -> str:
        """Does not say whether the account exists elsewhere."""
        return (
            "There is no such account connected here. Leave accountId out, or use one listed on the connections page."
        )


@dataclass(eq=False)
class AskInvalid(Choice):
    """The call itself is wrong."""

    code: ClassVar[str] = "ask_invalid"
    sentence: str

    @property
    def message(self) -> str:
        """What is wrong and what to send instead."""
        return self.sentence


@dataclass(eq=False)
class Wait(Failure):
    """Time fixes it."""

    retryable: ClassVar[bool] = True


@dataclass(eq=False)
class RateLimited(Wait):
    """Too many asks, ours or the provider's count."""

    code: ClassVar[str] = "rate_limited"
    retry_after_s: int
    scope: str
    """user | tenant | provider"""

    @property
    def message(self) -> str:
        """When to come back."""
        return f"Too many requests ({self.scope}). Try again in {self.retry_after_s} s."


@dataclass(eq=False)
class CircuitOpen(Wait):
    """The provider has failed so often lately that it is left alone for a moment."""

    code: ClassVar[str] = "circuit_open"
    provider_id: str
    retry_after_s: int
    title: str

    @property
    def message(self) -> str:
        """When to come back."""
        return f"{self.title} is not answering at the moment. Try again in {self.retry_after_s} s."


@dataclass(eq=False)
class Overloaded(Wait):
    """This server has all the work it can do."""

    code: ClassVar[str] = "overloaded"
    retry_after_s: int = 1

    @property
    def message(self) -> str:
        """When to come back."""
        return "The server is busy. Try again in a second."


@dataclass(eq=False)
class ProviderUnavailable(Wait):
    """The provider did not answer as it should."""

    code: ClassVar[str] = "provider_unavailable"
    provider_id: str
    sentence: str

    @property
    def message(self) -> str:
        """What happened, in our own words."""
        return self.sentence


@dataclass(eq=False)
class ModelUnavailable(Wait):
    """A model was asked for and there is none."""

    code: ClassVar[str] = "model_unavailable"

    @property
    def message(self) -> str:
        """What works without."""
        return 'No model is configured. Leave options.mode out, or use "tool" with options.tool and options.args.'


@dataclass(eq=False)
class BudgetExceeded(Failure):
    """What may be used is used up; with what was found so far, if anything was."""

    code: ClassVar[str] = "budget_exceeded"
    retryable: ClassVar[bool] = True
    scope: Literal["ask", "user", "tenant"]
    what: str
    """What ran out: turns | calls | tokens | money | time"""

    @property
    def message(self) -> str:
        """When there is more."""
        match self.scope:
            case "ask":
                return f"This question needs more {self.what} than one ask may use. Ask for less at once."
            case "user":
                return f"Your {self.what} for today are used up. Try again tomorrow, or ask your administrator."
            case _:
                return (
                    f"Your tenant's {self.what} for today are used up. Try again tomorrow, or ask your administrator."
                )


@dataclass(eq=False)
class PolicyDenied(Failure):
    """Not allowed here, whoever asks."""

    code: ClassVar[str] = "policy_denied"
    sentence: str

    @property
    def message(self) -> str:
        """What is not allowed."""
        return self.sentence


@dataclass(eq=False)
class ExportHidden(Failure):
    """This principal is shown no such tool."""

    code: ClassVar[str] = "unknown_tool"

    @property
    def message(self) -> str:
        """Nothing more is told."""
        return "Unknown tool"


@dataclass(eq=False)
class Internal(Failure):
    """Our own fault."""

    code: ClassVar[str] = "internal"
    retryable: ClassVar[bool] = True

    @property
    def message(self) -> str:
        """What to tell an administrator."""
        return f"Something went wrong on our side. Tell your administrator this id: {self.telemetry_id}."
