"""`subscriptions/listen` (2026-07-28): a stream that tells one principal when its own list of tools has changed.

There is no bus. Every process reads one number that grows with everybody's rights, and only when it has grown does a
stream look at its own principal's tools. So it holds across replicas, without Redis, and nobody learns that somebody
else's list has changed. The number is the process's own at once, and the database's within `STANDING_CACHE_MS`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from mcp import types
from mcp.server import ServerRequestContext
from mcp.server.subscriptions import SUBSCRIPTION_ID_META_KEY
from mcp.shared.exceptions import MCPError
from sse_starlette.sse import AppStatus

from metaagent.agent.service import Agent
from metaagent.agent.types import Export, Principal
from metaagent.endpoint.auth import Presented, Verifier, bearer_in

log = logging.getLogger(__name__)

_LOOK_S = 0.25
_EXPIRY_S = 30.0
"""How often a bearer is looked at though nobody's rights have changed: it may have come of age."""


@dataclass(frozen=True, slots=True)
class Listening:
    """The streams of this process."""

    agent: Agent
    verifier: Verifier
    per_principal: int
    most: int
    open: Counter[Principal] = field(default_factory=Counter)

    async def serve(
        self,
        ctx: ServerRequestContext[Any, Any],
        params: types.SubscriptionsListenRequestParams,
        principal: Principal,
        provider: str | None,
    ) -> types.SubscriptionsListenResult:
        """Serve one stream for as long as its bearer stands. Raises: MCPError when there are too many."""
        meta: dict[str, Any] = {SUBSCRIPTION_ID_META_KEY: ctx.request_id}
        bearer = bearer_in(ctx.request.headers.get("authorization", "").encode("latin-1")) if ctx.request else None
        with self.counted(principal):
            stamp = await self.agent.stamp()
            presented = await self._presented(bearer)
            told = await self._tools(principal, provider)
            # Nothing else ever changes here that a client could be told about.
            honored = types.SubscriptionFilter(tools_list_changed=params.notifications.tools_list_changed or None)
            await ctx.session.send_notification(
                types.SubscriptionsAcknowledgedNotification(
                    params=types.SubscriptionsAcknowledgedNotificationParams(notifications=honored, _meta=meta)
                ),
                related_request_id=ctx.request_id,
            )
            checked_at = time.monotonic()
            while presented is not None and not AppStatus.should_exit:
                await asyncio.sleep(_LOOK_S)
                try:
                    now = await self.agent.stamp()
                    if now == stamp and time.monotonic() < checked_at + _EXPIRY_S:
                        continue
                    if await self._presented(bearer) != presented:
                        break
                    tools = told if now == stamp else await self._tools(principal, provider)
                except Exception:
                    log.exception("the rights of a client that listens could not be checked")
                    break
                stamp, checked_at = now, time.monotonic()
                if tools != told and honored.tools_list_changed:
                    await ctx.session.send_notification(
                        types.ToolListChangedNotification(params=types.NotificationParams(_meta=meta)),
                        related_request_id=ctx.request_id,
                    )
                told = tools
                if provider is not None and not tools:  # there is no such endpoint for this principal any more
                    break
        return types.SubscriptionsListenResult(_meta=meta)

    async def _presented(self, bearer: str | None) -> Presented | None:
        return await self.verifier.presented(bearer) if bearer else None

    async def _tools(self, principal: Principal, provider: str | None) -> list[Export]:
        return [e for e in await self.agent.exports(principal) if provider in {None, e.provider_id}]

    @contextmanager
    def counted(self, principal: Principal) -> Iterator[None]:
        """One more stream, while it lasts. Raises: MCPError."""
        if self.open[principal] >= self.per_principal:
            many = f"You have {self.per_principal} listening streams open. Close one, or use one for everything."
            raise MCPError(code=types.INTERNAL_ERROR, message=many)
        if self.open.total() >= self.most:
            busy = "This server has as many listening streams as it can keep. Ask for tools/list now and then instead."
            raise MCPError(code=types.INTERNAL_ERROR, message=busy)
        self.open[principal] += 1
        try:
            yield
        finally:
            self.open[principal] -= 1
            if not self.open[principal]:
                del self.open[principal]
