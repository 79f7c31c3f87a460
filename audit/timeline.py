"""What somebody wants to see of the log: filters that live in an address; pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, time, timedelta
from uuid import UUID

from audit.events import EventKind

SUBJECTS = tuple(sorted({kind.split(".")[0] for kind in EventKind}))
"""What events are about."""
ACTIONS = tuple(sorted({kind.split(".")[1] for kind in EventKind}))
"""What was done about it."""
OUTCOMES = tuple(sorted({kind.split(".")[2] for kind in EventKind}))
"""How what they tell of ended; `intent`: it is about to happen."""
_WORD = re.compile(r"[\w:.@ -]{1,120}")
_NUMBER = re.compile(r"[0-9]{1,18}")


class WrongFilter(Exception):
    """A filter that cannot be; the message says what it takes."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events; what is None is not looked at."""

    user: UUID | None = None
    client: str | None = None
    provider: str | None = None
    account: UUID | None = None
    """A connection's id."""
    run: str | None = None
    subject: str | None = None
    action: str | None = None
    outcome: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    """Before this moment."""

    def __bool__(self) -> bool:
        return any(getattr(self, each.name) is not None for each in fields(self))

    @classmethod
    def read(cls, query: Mapping[str, str]) -> Wanted:
        """From the parameters of an address; an empty one says nothing. Raises: WrongFilter."""
        given = {each.name: query.get(each.name, "").strip() for each in fields(cls)}
        return cls(
            user=_id("user", given["user"]),
            client=_word("client", given["client"]),
            provider=_word("provider", given["provider"]),
            account=_id("account", given["account"]),
            run=_word("run", given["run"]),
            subject=_one_of("subject", given["subject"], SUBJECTS),
            action=_one_of("action", given["action"], ACTIONS),
            outcome=_one_of("outcome", given["outcome"], OUTCOMES),
            since=_moment("since", given["since"], ends=False),
            until=_moment("until", given["until"], ends=True),
        )

    @property
    def kinds(self) -> list[str] | None:
        """The kinds of event that `subject`, `action` and `outcome` leave; None: all."""
        wanted = (self.subject, self.action, self.outcome)
        if wanted == (None, None, None):
            return None
        return [
            kind.value
            for kind in EventKind
            if all(one in {None, part} for one, part in zip(wanted, kind.split("."), strict=True))
        ]


def place(text: str) -> int | None:
    """An event's number, where a page begins; nothing is said by an empty text. Raises: WrongFilter."""
    if text and not _NUMBER.fullmatch(text):
        raise WrongFilter("before must be the number of an event.")
    return int(text) if text else None


def _id(name: str, text: str) -> UUID | None:
    try:
        return UUID(text) if text else None
    except ValueError:
        raise WrongFilter(f"{name} must be an id such as 0b4f5f2e-6c1d-4a7e-9d52-3f1c7f2f9a10.") from None


def _word(name: str, text: str) -> str | None:
    if text and not _WORD.fullmatch(text):
        raise WrongFilter(f"{name} has at most 120 letters, digits and -_.:@.")
    return text or None


def _one_of(name: str, text: str, known: tuple[str, ...]) -> str | None:
    if text and text not in known:
        raise WrongFilter(f"{name} must be one of {', '.join(known)}.")
    return text or None


def _moment(name: str, text: str, *, ends: bool) -> datetime | None:
    """A date (UTC; the whole day belongs to it) or a moment, as forms and people write them."""
    if not text:
        return None
    try:
        if len(text) == len("2026-01-31"):
            day = datetime.combine(date.fromisoformat(text), time(), UTC)
            return day + timedelta(days=1) if ends else day
        found = datetime.fromisoformat(text)
        return found if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise WrongFilter(f"{name} must be a date such as 2026-01-31, or a moment such as 2026-01-31T14:00.") from None
