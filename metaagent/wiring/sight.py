"""What pages that somebody waits on would show now: one trip for all of a process's pages."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from uuid import UUID

from django.conf import settings
from django.http import parse_cookie

from metaagent.live import Seat
from metaagent.wiring.bridge import Bridge
from tenants import sessions
from vault import watched


class PageSight:
    """Pages over the sessions and the vault."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge

    def cookie(self, headers: list[tuple[bytes, bytes]]) -> str:
        """The session these headers name; empty when they name none."""
        sent = "; ".join(value.decode("latin-1") for name, value in headers if name == b"cookie")
        return parse_cookie(sent).get(settings.SESSION_COOKIE_NAME, "")

    async def person(self, cookie: str) -> UUID | None:
        """Who is logged in with it."""
        found = await self._bridge.quick(lambda: sessions.logged_in([cookie], now=datetime.now(UTC)))
        return found.get(cookie)

    async def marks(self, seats: list[Seat]) -> Mapping[Seat, str]:
        """The marks of what they watch; those whose person may not see it, or is not logged in, are left out."""
        return await self._bridge.quick(lambda: _marks(seats, now=datetime.now(UTC)))


def _marks(seats: list[Seat], *, now: datetime) -> dict[Seat, str]:
    people = sessions.logged_in({seat.cookie for seat in seats}, now=now)
    looks = {seat: (people[seat.cookie], seat.subject) for seat in seats if seat.cookie in people}
    marks = watched.marks(set(looks.values()), now=now)
    return {seat: marks[look] for seat, look in looks.items() if look in marks}
