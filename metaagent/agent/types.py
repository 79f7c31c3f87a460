"""The values the agent core works on."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal, TypeAlias
from uuid import UUID

from metaagent.values import value
from providers.limits import NONE, Limits
from providers.spec import ConsentPolicy, Effect, Exposure, Json, ProviderSpec

JsonObject = dict[str, Any]

RESULT_URI = "metaagent://results/"
RUN_URI = "metaagent://runs/"
"""Before the id of a full result, and of a run."""


PROMPT_CHARS = 20_000
"""How long a prompt may be."""


class Mode(StrEnum):
    """How an Ask is worked: the cheapest sure way, one named tool without a model, or a model."""

    AUTO = "auto"
    TOOL = "tool"
    AGENT = "agent"


Way: TypeAlias = Literal["tool", "route", "replay", "plan", "loop", "approved", "degraded"]
"""How an ask was worked; see `metaagent.agent.work`."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is asking now; made only from a verified bearer."""

    tenant_id: UUID
    tenant: str
    """The tenant's slug, for URLs."""
    user_id: UUID
    client: str
    """What presented the bearer: a key's or an OAuth client's id."""


@value
class Ask:
    """What the client sent, validated."""

    prompt: str
    account_id: str | None = None
    mode: Mode = Mode.AUTO
    tool: str | None = None
    args: Mapping[str, Json] = field(default_factory=dict)
    max_tokens: int = 800
    conversation: str | None = None
    detail: Literal["summary", "full"] = "summary"
    dry_run: bool = False


@value
class Citation:
    """Where a statement of the answer is from."""

    title: str
    tool: str
    url: str | None = None
    ref: str | None = None

    def payload(self) -> dict[str, str]:
        """As it is on the wire, without what is not known."""
        stated = {"title": self.title, "url": self.url, "tool": self.tool, "ref": self.ref}
        return {name: value for name, value in stated.items() if value is not None}


@value
class StoredLink:
    """The full result behind a bounded answer, for the same principal only."""

    id: str
    size: int
    """Bytes of JSON."""

    @property
    def uri(self) -> str:
        """Its address as an MCP resource."""
        return f"{RESULT_URI}{self.id}"


@value
class Answer:
    """What the client gets."""

    text: str
    telemetry_id: str
    mode: Way

    citations: tuple[Citation, ...] = ()
    account_id: str | None = None
    conversation: str | None = None
    degraded: bool = False
    usage: Mapping[str, int] = field(default_factory=dict)
    stored: StoredLink | None = None

    def payload(self) -> JsonObject:
        """The structured content of the wire."""
        body: JsonObject = {
            "text": self.text,
            "citations": [citation.payload() for citation in self.citations],
            "telemetryId": self.telemetry_id,
            "mode": self.mode,
            "usage": dict(self.usage),
        }
        if self.account_id:
            body["accountId"] = self.account_id
        if self.conversation:
            body["conversation"] = self.conversation
        if self.degraded:
            body["degraded"] = True
        return body


@dataclass(frozen=True, slots=True)
class ConnectionRef:
    """One connection this principal may use, without its secrets."""

    id: UUID
    account_id: str
    label: str
    ready: bool
    reason: str
    """Why it is not ready; empty when it is."""
    scopes: frozenset[str]
    is_default: bool
    shared: bool
    """Owned by the tenant as a whole."""
    api_base: str = ""
    """Where this account's API is, when not where its provider's is."""


@dataclass(frozen=True, slots=True)
class StandingConsent:
    """This person lets one client have an effect through a connection, until then."""

    connection_id: UUID
    client: str
    effect: Effect
    until: datetime


@value
class Link:
    """Where a person connects an account: a page to open, or a short code to type on another screen."""

    url: str
    code: str = ""
    """Empty where connecting is another system's matter."""
    code_url: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    """What a person has been asked to consent to, and the page where they answer."""

    id: UUID
    url: str
    declined: bool
    """They said no a moment ago. The page lets them change their mind; nobody asks them again."""


@dataclass(frozen=True, slots=True)
class Proposed:
    """Exactly one call: what an Approval is for."""

    connection_id: UUID
    tool: str
    args: Mapping[str, Json]


@value
class Lane:
    """Whose way a call goes: what its limits are counted by."""

    tenant_id: UUID
    installation_id: UUID
    connection_id: UUID
    provider_id: str
    limits: Limits = NONE
    """The installation's own."""


@value
class Amount:
    """What an ask uses, is allowed, or has left."""

    turns: int = 0
    """Of a model."""
    calls: int = 0
    """Of tools."""
    tokens: int = 0
    micros: int = 0
    """Micro-dollars."""
    ms: int = 0

    def __add__(self, other: Amount) -> Amount:
        return Amount(
            self.turns + other.turns,
            self.calls + other.calls,
            self.tokens + other.tokens,
            self.micros + other.micros,
            self.ms + other.ms,
        )

    def __sub__(self, other: Amount) -> Amount:
        return Amount(
            self.turns - other.turns,
            self.calls - other.calls,
            self.tokens - other.tokens,
            self.micros - other.micros,
            self.ms - other.ms,
        )


@dataclass(frozen=True, slots=True)
class Admission:
    """Everything the decisions about one ask need, read in one trip."""

    provider: ProviderSpec
    installation_id: UUID
    exposure: Exposure
    connections: tuple[ConnectionRef, ...]
    consent: ConsentPolicy
    consents: tuple[StandingConsent, ...]
    """Those of this person, for all of their clients."""
    connect_url: str = ""
    """Where people connect when another system runs the OAuth flow; empty: here."""
    membership_id: UUID | None = None
    """Another one when a person has left and come back. None: nothing may be remembered for them."""
    limits: Limits = NONE
    """The installation's own."""


@value
class Export:
    """The one MCP tool a provider becomes."""

    provider_id: str
    title: str
    about: str

    @property
    def tool(self) -> str:
        """The tool's name."""
        return f"use_{self.provider_id}"


@value
class Intent:
    """An intent that is on record; its outcome names it."""

    id: UUID
    fingerprint: str
    """The keyed hash of the arguments."""


@value
class Fact:
    """Something the log must know: what, by whom, through which connection. `arguments` leave only as a keyed hash."""

    kind: Literal["tool.intent", "tool.done", "tool.failed", "ask.denied"]
    principal: Principal
    run_id: str
    provider_id: str
    connection_id: UUID | None = None
    tool: str = ""
    arguments: Mapping[str, Json] | None = None
    intent: Intent | None = None
    detail: Mapping[str, str | int | float | bool] = field(default_factory=dict)


def new_run_id() -> str:
    """The id of one ask being worked on; the client knows it as `telemetryId`."""
    return f"run_{secrets.token_hex(12)}"
