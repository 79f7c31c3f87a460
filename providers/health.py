"""How an installation does: its calls, its provider, its connections, and what somebody should look at; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from audit.events import Outcomes
from providers.limits import Limits, counting

SOON: Final = timedelta(days=7)
"""A grant that ends within this time is worth a word."""
_NO_FAULT: Final = frozenset({"cancelled"})
"""Why calls ended that say nothing about whether they work."""
_SHOWN: Final = 3
_WORTH_A_WORD: Final = 0.1
"""Of calls that fail."""


@dataclass(frozen=True, slots=True)
class Calls:
    """What became of the calls of a time. What the result cache answered is none."""

    made: int = 0
    failed: int = 0

    @property
    def error_rate(self) -> float | None:
        """From 0 to 1; None when there were no calls."""
        return self.failed / self.made if self.made else None


@dataclass(frozen=True, slots=True)
class Breaker:
    """Whether the provider is left alone, as all processes together know it."""

    failures: int
    """In a row."""
    most: int
    paused: int
    """Accounts that are left alone because the provider asked for it."""

    @property
    def open(self) -> bool:
        """Only one call goes now and then, to find out whether it is back."""
        return self.failures >= self.most


@dataclass(frozen=True, slots=True)
class Connections:
    """How many connections of an installation are in which state."""

    ready: int = 0
    needs_auth: int = 0
    """They need their person."""
    revoking: int = 0
    """Ended here, and their provider has not confirmed it yet."""
    ending: int = 0
    """Of the ready ones: the provider ends their grants soon, whatever we do."""


@dataclass(frozen=True, slots=True)
class Health:
    """How one installation does."""

    hour: Calls
    day: Calls
    last_success: datetime | None
    """Within the last day."""
    codes: Mapping[str, int]
    """Why calls of the last day failed, the most frequent first."""
    breaker: Breaker | None
    """None: only the processes that serve know it."""
    connections: Connections = field(default_factory=Connections)
    review: bool = False
    """Its source lists other tools than those that serve, and they wait for an administrator."""


def health(outcomes: Iterable[Outcomes], *, breaker: Breaker | None, connections: Connections, review: bool) -> Health:
    """Put together what is known."""
    codes: Counter[str] = Counter()
    hour, day, last = [0, 0], [0, 0], None
    for each in outcomes:
        if each.code in _NO_FAULT:
            continue
        failed = bool(each.code)
        hour[failed] += each.hour
        day[failed] += each.day
        if failed:
            codes[each.code] += each.day
        elif last is None or each.last > last:
            last = each.last
    return Health(
        Calls(sum(hour), hour[True]),
        Calls(sum(day), day[True]),
        last,
        dict(codes.most_common()),
        breaker,
        connections,
        review,
    )


def breaker(failures: int, paused: int, *, own: Limits, granted: int) -> Breaker:
    """The breaker of an installation with these limits; `granted` is the deployment's BREAKER_FAILURES."""
    return Breaker(failures, counting("breaker_failures", own.breaker_failures, granted), paused)


def worth_a_look(found: Health) -> list[str]:
    """What an administrator should know or do, a sentence each; nothing when all is well."""
    said, accounts, broken = [], found.connections, found.breaker
    if broken and broken.open:
        said.append(f"It is left alone after {broken.failures} failures in a row, and tried by one call now and then.")
    if broken and broken.paused:
        said.append(f"It has asked us to leave {_many(broken.paused, 'account')} alone for a while.")
    if (found.hour.error_rate or 0) >= _WORTH_A_WORD:
        why = ", ".join(f"{code} {count}" for code, count in list(found.codes.items())[:_SHOWN])
        said.append(
            f"{found.hour.failed} of {_many(found.hour.made, 'call')} of the last hour failed; of the day: {why}."
        )
    if accounts.needs_auth:
        said.append(f"To be connected again by their people: {_many(accounts.needs_auth, 'connection')}.")
    if accounts.revoking:
        said.append(f"Not confirmed as revoked yet, and tried again: {_many(accounts.revoking, 'connection')}.")
    if accounts.ending:
        said.append(f"Ended by the provider within {SOON.days} days: {_many(accounts.ending, 'connection')}.")
    if found.review:
        said.append("It lists other tools than those that serve. Review them: in the console, or with provider_review")
    return said


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
