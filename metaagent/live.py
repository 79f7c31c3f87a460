"""Pages that turn ready by themselves: a websocket that says "changed" once, and nothing else.

A page says in its first message what it watches and which mark of it it shows (`vault.watched`); as soon as that is not
what it would show now, it is told so and looks again by itself. There is no bus: while anybody watches, a process asks
the database once a second, for all of its pages together, who is still logged in and what they would see. So it holds
across replicas, and whoever has logged out, has left the tenant or was never meant to see it is cut off as soon.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol
from uuid import UUID

from metaagent.endpoint.app import Receive, Scope, Send

log = logging.getLogger(__name__)

PATH: Final = "/live/"
FRAME_BYTES: Final = 1_024
_FIRST_S: Final = 10.0
"""Within this a page says what it watches."""
_LOOK_S: Final = 1.0

CHANGED, IDLE, UNFIT, GONE = 1000, 4408, 4400, 4404
"""Why a socket is closed: it has said what it had to; nothing happened for long; that was no message; not for you, or
not any more."""


@dataclass(eq=False, slots=True)
class Seat:
    """One page that watches."""

    cookie: str = field(repr=False)
    subject: str
    shows: str
    """The mark of what it shows."""
    over: asyncio.Future[int] = field(repr=False)
    """Why it need not watch any more, once that is so."""


class Sight(Protocol):
    """What pages would show now."""

    def cookie(self, headers: list[tuple[bytes, bytes]]) -> str:
        """The session these headers name; empty when they name none."""

    async def person(self, cookie: str) -> UUID | None:
        """Who is logged in with it."""

    async def marks(self, seats: list[Seat]) -> Mapping[Seat, str]:
        """The marks of what they watch; those whose person may not see it, or is not logged in, are left out."""


class Live:
    """The ASGI application behind `/live/`."""

    def __init__(self, sight: Sight, *, origin: str, per_person: int, most: int, idle_s: float) -> None:
        self._sight = sight
        self._origin = origin.encode()
        self._per_person = per_person
        self._most = most
        self._idle_s = idle_s
        self._open: Counter[UUID] = Counter()
        self._seats: set[Seat] = set()
        self._looking: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one socket. Whoever may not have one is refused before it opens, alike for every reason."""
        await receive()
        person = await self._admitted(scope)
        if person is None:
            return await send({"type": "websocket.close", "code": GONE})
        with self._counted(person):
            await send({"type": "websocket.accept"})
            code = await self._watched(self._sight.cookie(scope["headers"]), receive)
            if code == CHANGED:
                await send({"type": "websocket.send", "text": "changed"})
            if code is not None:
                await send({"type": "websocket.close", "code": code})
        return None

    async def _admitted(self, scope: Scope) -> UUID | None:
        origins = [value for name, value in scope["headers"] if name == b"origin"]
        cookie = self._sight.cookie(scope["headers"])
        if scope["path"] != PATH or origins != [self._origin] or not cookie:
            return None
        try:
            person = await self._sight.person(cookie)
        except Exception:
            log.exception("who opens a socket could not be checked")
            return None
        full = self._open.total() >= self._most or (person is not None and self._open[person] >= self._per_person)
        return None if full else person

    @contextlib.contextmanager
    def _counted(self, person: UUID) -> Iterator[None]:
        self._open[person] += 1
        try:
            yield
        finally:
            self._open[person] -= 1
            if not self._open[person]:
                del self._open[person]

    async def _watched(self, cookie: str, receive: Receive) -> int | None:
        """Why the socket is to be closed; None: its page has gone."""
        try:
            async with asyncio.timeout(_FIRST_S):
                first = await receive()
        except TimeoutError:
            return IDLE
        if first["type"] == "websocket.disconnect":
            return None
        said = first.get("text") or ""
        subject, _, shows = said.partition(" ")
        if len(said) > FRAME_BYTES or not subject:
            return UNFIT
        seat = Seat(cookie, subject, shows, asyncio.get_running_loop().create_future())
        self._seats.add(seat)
        if self._looking is None:
            self._looking = asyncio.create_task(self._look())
        heard: asyncio.Future[Any] = asyncio.ensure_future(receive())
        try:
            await asyncio.wait({heard, seat.over}, timeout=self._idle_s, return_when=asyncio.FIRST_COMPLETED)
            if seat.over.done():
                return seat.over.result()
            if not heard.done():
                return IDLE
            return None if heard.result()["type"] == "websocket.disconnect" else UNFIT
        finally:
            self._seats.discard(seat)
            heard.cancel()

    async def _look(self) -> None:
        """As long as anybody watches: what has changed is told, and what cannot be checked is refused."""
        while self._seats:
            seats = list(self._seats)
            try:
                marks = await self._sight.marks(seats)
            except Exception:
                log.exception("what pages show could not be looked at")
                marks = {}
            for seat in seats:
                mark = marks.get(seat)
                if mark != seat.shows and not seat.over.done():
                    seat.over.set_result(GONE if mark is None else CHANGED)
            await asyncio.sleep(_LOOK_S)
        self._looking = None
