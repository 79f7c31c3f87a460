"""What those read about connections who look after a tenant: whose account, why it is as it is, what it allows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from providers import selectors as providers
from vault.models import Connection, Status
from vault.pages import Words, in_words
from vault.services import revoke
from vault.services.accounts import ALIVE

_BECAUSE: Mapping[str, str] = {
    "revoked": "{provider} no longer accepts its access",
    "refresh_failed": "its access could not be renewed",
    "refresh_outcome_unknown": "it is not known whether its access was renewed",
    revoke.Ending.NOT_OFFERED: "{provider} offers no way to end access from here",
    revoke.Ending.IN_USE: "another connection here uses the same grant",
    revoke.Ending.UNREADABLE: "{provider} could not be told",
    revoke.Ending.CHANGED: "{provider} could not be told",
    revoke.Ending.GIVEN_UP: "{provider} could not be told",
}


def because(row: Connection) -> str:
    """Why a connection is in the state it is in, in a few words; nothing when that needs none."""
    title = providers.title_of(row.installation)
    match row.status:
        case Status.REVOKING:
            return f"{title} has not confirmed yet"
        case Status.REVOKED if row.reason == revoke.Ending.CONFIRMED:
            return f"its access is revoked at {title}"
        case _:
            return _BECAUSE.get(row.reason, "").format(provider=title)


@dataclass(frozen=True, slots=True)
class Line:
    """One connection as those see it who look after a tenant."""

    row: Connection
    title: str
    because: str
    allowed: Words
    alive: bool
    """It can be disconnected."""


def line(row: Connection) -> Line:
    """Also of a provider that is no longer in the catalogue."""
    spec = providers.known_spec(row.installation)
    allowed = in_words(spec, row.scopes) if spec else [(scope, scope) for scope in row.scopes]
    return Line(row, providers.title_of(row.installation), because(row), allowed, alive=row.status in ALIVE)
