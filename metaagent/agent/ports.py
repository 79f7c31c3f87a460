"""What the agent core asks of the rest of the product; `metaagent/wiring/` answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias
from uuid import UUID

from metaagent.agent.model import Model, Spent
from metaagent.agent.types import (
    Admission,
    Amount,
    ConnectionRef,
    Fact,
    Intent,
    Link,
    Principal,
    Proposed,
    Question,
    Way,
)
from providers.spec import Api, Effect, Json, ProviderSpec

if TYPE_CHECKING:
    from metaagent.agent.telemetry import Telemetry
    from metaagent.agent.traffic import Traffic


class AccessToken(Protocol):
    """The one secret that crosses a port. It prints as what it is."""

    @property
    def version(self) -> int:
        """Grows with each refresh."""

    def reveal(self) -> str:
        """The token, for the one header it belongs in."""


class Admissions(Protocol):
    """Who may use what, at this moment."""

    async def admit(self, principal: Principal, provider_id: str, *, fresh: bool = False) -> Admission | None:
        """What decisions about this provider need, or None when this tenant does not export it.

        It may be a second old; `fresh` is read now, for a decision against the caller that a moment may have changed.
        """

    async def exports(self, principal: Principal, *, fresh: bool = False) -> Sequence[Admission]:
        """Every provider this tenant exports."""


class Tokens(Protocol):
    """Access tokens of connections."""

    async def access_token(self, connection_id: UUID, *, rejected: AccessToken | None = None) -> AccessToken:
        """A usable token; `rejected` is one the provider has just answered 401 to.

        Raises: NoToken when a person has to connect again; `providers.errors.Unavailable` when it cannot be had now.
        """

    async def give_up(self, connection_id: UUID, rejected: AccessToken) -> None:
        """A token just renewed was refused as well: the connection needs a person."""


class NoToken(Exception):
    """A connection without a usable token. `reason` is a word of the contract."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Links(Protocol):
    """Addresses that people open."""

    async def connect(
        self, principal: Principal, admission: Admission, scopes: Sequence[str], connection_id: UUID | None
    ) -> Link:
        """A fresh connect link for this person; `connection_id` is the account it is to renew or to allow more."""


class Consents(Protocol):
    """What people let clients do in their name."""

    async def question(
        self, principal: Principal, connection_id: UUID, effect: Effect, sent: Mapping[str, Json] | None
    ) -> Question:
        """Ask this person, for this client; what they have been asked already and may still answer is not asked anew.

        `sent` is the one ask it is for; None: it is for every ask until the consent ends.
        """

    async def take(
        self, principal: Principal, connection_id: UUID, sent: Mapping[str, Json], run_id: str
    ) -> frozenset[Effect]:
        """What was allowed for exactly this ask. It is used up: nobody is given the same a second time."""


class Approvals(Protocol):
    """What people allow exactly once: one call, with these arguments, through this connection."""

    async def question(self, principal: Principal, call: Proposed, sent: Mapping[str, Json]) -> Question:
        """Ask this person, for this client; what they have been asked already and may still answer is not asked anew.

        `sent` is the ask that proposed the call: repeated unchanged, it is what the approval is taken by.
        Raises: PolicyDenied when nobody can be asked; `providers.errors.Unavailable` when it cannot be kept now.
        """

    async def answered(self, principal: Principal, question_id: UUID) -> bool:
        """Whether this person has answered a question of approval or consent, or cannot any more."""

    async def take(
        self, principal: Principal, connection_id: UUID, sent: Mapping[str, Json], run_id: str
    ) -> Sequence[Proposed]:
        """The calls that were approved for this ask. They are used up: nobody is given the same a second time.

        Raises: `providers.errors.Unavailable` when they cannot be read now; then none is used up.
        """


class Reservation(Protocol):
    """A part of today's budgets that is put aside."""

    @property
    def amount(self) -> Amount:
        """How much."""


class Ledger(Protocol):
    """What people and tenants may use in a day, across processes."""

    async def reserve(self, principal: Principal, amount: Amount) -> Reservation:
        """Put so much aside, all of it or nothing. Raises: BudgetExceeded."""

    async def settle(self, reservation: Reservation, used: Amount) -> None:
        """Say what was used of it, more or less than put aside; the rest is free again. Once for each reservation."""


class Audit(Protocol):
    """The append-only log. A call that cannot be recorded does not happen."""

    async def intent(self, fact: Fact) -> Intent:
        """Record what is about to happen; returns when it is durable."""

    def outcome(self, fact: Fact) -> Awaitable[None]:
        """Record what happened, in the order of these calls; await it until that is durable."""


class Figures(Protocol):
    """What becomes of asks, counted."""

    def ended(
        self, principal: Principal, provider: ProviderSpec, way: Way | Literal["none"], outcome: str, used: Amount
    ) -> None:
        """Count one that has ended: `ok`, or the code it failed with. Returns at once, whatever comes of it."""


class Shared(Protocol):
    """Small things that outlive a request: stored results, sticky accounts. Loss of any of it is harmless."""

    async def load(self, key: str) -> bytes | None:
        """The value, or None when there is none any more."""

    async def store(self, key: str, value: bytes, *, ttl_s: int) -> None:
        """Keep `value` for `ttl_s` seconds, or less when there is no room."""

    async def keep(self, key: str, value: bytes, *, note: bytes, notes: str, most: int, ttl_s: int) -> None:
        """The same, and put `note` (one line) at the head of the list `notes`, which holds the `most` newest."""

    async def noted(self, notes: str, most: int) -> Sequence[bytes]:
        """That list, newest first."""


class MeteredApi(Api, Protocol):
    """A provider's API that counts what it did."""

    @property
    def calls(self) -> int:
        """Requests sent."""

    @property
    def bytes_in(self) -> int:
        """Bytes received."""


Dial: TypeAlias = Callable[[ProviderSpec, AccessToken, ConnectionRef], MeteredApi]
"""The provider's API with one account's token in it."""

Stamp: TypeAlias = Callable[[], Awaitable[Hashable]]
"""Equal stamps: nobody's rights, connections or installations have changed between them."""

Progress: TypeAlias = Callable[[str, float, str], Awaitable[None]]
"""Tells the client how far its ask is: the run's id, a growing number and a short sentence."""


async def silent(_run_id: str, _done: float, _message: str) -> None:
    """For clients that did not ask for progress."""


Price: TypeAlias = Callable[[str, Spent], int | None]
"""What a model's turn cost, in micro-dollars; None for a model without a price."""


@dataclass(frozen=True, slots=True)
class Ports:
    """All of them together, as one process has them."""

    admissions: Admissions
    tokens: Tokens
    links: Links
    consents: Consents
    approvals: Approvals
    audit: Audit
    ledger: Ledger
    figures: Figures
    shared: Shared
    traffic: Traffic
    telemetry: Telemetry
    dial: Dial
    stamp: Stamp
    price: Price
    model: Model | None
    """None: questions that no rule answers get what the best reads find."""
