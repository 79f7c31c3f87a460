"""The figures port: asks that have ended gather in memory, and are counted in the database about once a second."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, Literal

from django.db import IntegrityError, InterfaceError, OperationalError

from metaagent.agent.types import Amount, Export, Principal, Way
from metaagent.endpoint import tools
from metaagent.values import value
from metaagent.wiring.bridge import Bridge
from providers.spec import Json, ProviderSpec
from tenants import asked

log = logging.getLogger(__name__)

_EVERY_S: Final = 1.0
_MOST: Final = 50_000
"""Asks that wait for the database; what ends while so many do is not counted."""
_AT_ONCE: Final = 5_000
_SPECS: Final = 512
_LETTERS_A_TOKEN: Final = 4
"""Of lists of tools, JSON and English: 3.6 to 4.3 by the o200k vocabulary."""
_LATER: Final = (OperationalError, InterfaceError, IntegrityError)
"""What the same again may succeed after."""


@value
class Ended:
    """One ask, as it waits."""

    principal: Principal
    provider: ProviderSpec
    way: str
    outcome: str
    used: Amount
    at: datetime


class AskFigures:
    """The figures port. A process that is killed takes with it what ended in its last second."""

    def __init__(self, bridge: Bridge, *, every_s: float = _EVERY_S, most: int = _MOST) -> None:
        self._bridge = bridge
        self._every_s = every_s
        self._most = most
        self._waiting: list[Ended] = []
        self._due: asyncio.TimerHandle | None = None
        self._writing: asyncio.Task[None] | None = None
        self._late = self._full = self._closed = False
        """What has been said already, and that nothing more is to be begun."""
        self._sizes: dict[int, tuple[ProviderSpec, int]] = {}
        """Tokens by a spec's identity, with the spec, so that no other one can have it."""
        self.dropped = 0
        """Asks that were not counted because too many were waiting."""

    def ended(
        self, principal: Principal, provider: ProviderSpec, way: Way | Literal["none"], outcome: str, used: Amount
    ) -> None:
        """Count it soon."""
        if len(self._waiting) >= self._most:
            self.dropped += 1
            if not self._full:
                log.warning("%d asks wait to be counted: what ends now is left out of the figures", self._most)
            self._full = True
            return
        self._waiting.append(Ended(principal, provider, way, outcome, used, datetime.now(UTC)))
        if self._due is None:
            self._write_later()

    def _write_later(self) -> None:
        if not self._closed:
            self._due = asyncio.get_running_loop().call_later(self._every_s, self._begin)

    def _begin(self) -> None:
        self._writing = asyncio.get_running_loop().create_task(self._write())

    async def _write(self) -> None:
        """Count what waits; what the database does not take now waits on."""
        try:
            while part := self._waiting[:_AT_ONCE]:
                if await self._counted(part):
                    del self._waiting[: len(part)]
                    self._full = False
                else:
                    break
        finally:
            self._due = None
            if self._waiting:
                self._write_later()

    async def _counted(self, part: Sequence[Ended]) -> bool:
        """Whether nothing more can be done about these."""
        try:
            await self._bridge.quick(lambda: asked.count(list(map(self._asked, part))))
        except _LATER as away:
            if not self._late:
                log.warning("what became of asks waits for the database: %s", type(away).__name__)
            self._late = True
            return False
        except Exception:
            log.exception("%d asks could not be counted", len(part))
        self._late = False
        return True

    def _asked(self, each: Ended) -> asked.Asked:
        who, used = each.principal, each.used
        saved = self._saved(each.provider) if each.outcome == asked.OK else 0
        return asked.Asked(
            tenant_id=who.tenant_id,
            user_id=who.user_id,
            provider=each.provider.id,
            way=each.way,
            outcome=each.outcome,
            ms=used.ms,
            tokens=used.tokens,
            micros=used.micros,
            saved=saved,
            at=each.at,
        )

    def _saved(self, provider: ProviderSpec) -> int:
        """About how many tokens more than our one tool the provider's own would have taken of a client's model."""
        _, saved = self._sizes.get(id(provider), (None, None))
        if saved is None:
            own = [
                {"name": each.name, "description": each.summary, "inputSchema": each.schema} for each in provider.tools
            ]
            ours = tools.tool(Export(provider.id, provider.title, provider.about))
            one = {"name": ours.name, "description": ours.description, "inputSchema": tools.INPUT_SCHEMA}
            saved = max(0, _tokens(own) - _tokens(one))
            if len(self._sizes) >= _SPECS:
                self._sizes.pop(next(iter(self._sizes)))
            self._sizes[id(provider)] = provider, saved
        return saved

    async def aclose(self) -> None:
        """Count what waits."""
        self._closed = True
        if self._due is not None:
            self._due.cancel()
        if self._writing is not None:
            await self._writing
        await self._write()
        if self._waiting:
            log.warning("%d asks were not counted: the database did not take them", len(self._waiting))


def _tokens(listed: Json) -> int:
    return len(json.dumps(listed, separators=(",", ":"), ensure_ascii=False, default=dict)) // _LETTERS_A_TOKEN
