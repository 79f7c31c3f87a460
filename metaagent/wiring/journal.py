"""The audit port: events are committed in groups."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Awaitable
from concurrent.futures import ThreadPoolExecutor

from audit import services as audit
from audit.events import Event, EventKind
from audit.fingerprint import fingerprint, tenant_key
from metaagent.agent.types import (
    Fact,
    Intent,
)
from metaagent.wiring.bridge import tidy

log = logging.getLogger(__name__)


class Journal:
    """The audit port: while one group of events is being committed, the next one gathers."""

    _MOST = 500

    def __init__(self, secret: str) -> None:
        self._secret = secret
        self._waiting: list[tuple[Event, asyncio.Future[None]]] = []
        self._writing: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, "audit")
        self._closed = False

    async def intent(self, fact: Fact) -> Intent:
        """Durable when it returns. A caller that is cancelled meanwhile does nothing, and that is its outcome."""
        arguments = "" if fact.arguments is None else self._fingerprint(fact)
        event = _event(fact, arguments)
        intent = Intent(event.id, arguments)
        try:
            await self._append(event)
        except asyncio.CancelledError:
            nothing = Fact(
                "tool.failed",
                fact.principal,
                fact.run_id,
                fact.provider_id,
                fact.connection_id,
                fact.tool,
                intent=intent,
                detail={"code": "cancelled", "requests": 0},
            )
            self._append(_event(nothing, arguments)).add_done_callback(_looked_at)
            raise
        return intent

    def outcome(self, fact: Fact) -> Awaitable[None]:
        """Durable when it has been awaited; written too when its caller is cancelled meanwhile."""
        return self._append(_event(fact, fact.intent.fingerprint if fact.intent else ""))

    async def aclose(self) -> None:
        """Write what is waiting and end."""
        self._closed = True
        if self._writing is not None:
            await self._writing
        self._thread.shutdown()

    def _fingerprint(self, fact: Fact) -> str:
        return fingerprint(tenant_key(self._secret, fact.principal.tenant_id), dict(fact.arguments or {}))

    def _append(self, event: Event) -> asyncio.Future[None]:
        """Have the event written, and say when it is durable. Cancelling that cancels nothing else."""
        if self._closed:
            raise RuntimeError("the log is closed")
        loop = asyncio.get_running_loop()
        durable: asyncio.Future[None] = loop.create_future()
        self._waiting.append((event, durable))
        if self._writing is None:
            self._writing = loop.create_task(self._write())
        return durable

    async def _write(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            await asyncio.sleep(0)  # who is ready now joins the group: a commit costs more than the events in it
            group, self._waiting = self._waiting[: self._MOST], self._waiting[self._MOST :]
            failed = False
            try:
                work = functools.partial(audit.append, [event for event, _ in group])
                await loop.run_in_executor(self._thread, tidy, work)
            except Exception:
                log.exception("%d audit events could not be written", len(group))
                failed = True
            for _, durable in group:
                if not durable.done():
                    if failed:
                        durable.set_exception(RuntimeError("the audit log cannot be written"))
                    else:
                        durable.set_result(None)
        self._writing = None


def _looked_at(durable: asyncio.Future[None]) -> None:
    """Nobody waits for it; what goes wrong has been logged."""
    if not durable.cancelled():
        durable.exception()


def _event(fact: Fact, arguments: str) -> Event:
    who = fact.principal
    return Event(
        kind=_KINDS[fact.kind],
        tenant_id=who.tenant_id,
        user_id=who.user_id,
        client=who.client,
        run_id=fact.run_id,
        provider=fact.provider_id,
        connection_id=fact.connection_id,
        tool=fact.tool,
        args_hmac=arguments,
        intent_id=fact.intent.id if fact.intent else None,
        detail=fact.detail,
    )


_KINDS = {
    "tool.intent": EventKind.TOOL_INTENT,
    "tool.done": EventKind.TOOL_DONE,
    "tool.failed": EventKind.TOOL_FAILED,
    "ask.denied": EventKind.ASK_DENIED,
}
