"""What a `tools/call` means, however it came in: a provider is asked, and its answer or failure takes a form."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, TypeAlias
from uuid import UUID

from mcp import types
from mcp.server.streamable_http import REQUEST_CANCELLED
from mcp.shared.exceptions import MCPError
from mcp.types.version import MODERN_PROTOCOL_VERSIONS

from metaagent.agent.failures import Asked, CapabilityMiss, ExportHidden, Failure, Invitation
from metaagent.agent.ports import Progress, silent
from metaagent.agent.service import Agent
from metaagent.agent.types import Export, Principal
from metaagent.endpoint import identity, render, tools
from metaagent.endpoint.underway import Underway

_POLL_S = 0.25
_URL_ELICITATION_ERROR_VERSION = "2025-11-25"

Outcome: TypeAlias = "render.Body | types.InputRequiredResult | MCPError"
"""How a call ended: a result as it is on the wire, a question to the person, or an error."""


@dataclass(frozen=True, slots=True)
class Call:
    """What the front found out about this request before the SDK saw it."""

    principal: Principal
    export: Export | None
    """The one tool of a provider's endpoint, or None on a tenant's endpoint."""
    url_elicitation: bool | None
    """What a handshake-era client declared, read from its session id; None in the modern era."""
    session: str | None = None
    """The session id of a handshake-era client."""
    outcome: Outcome | None = None
    """How the call ended, when it has been made already and only has to be said."""

    SCOPE_KEY = "metaagent.call"

    @property
    def provider(self) -> str | None:
        """The endpoint's provider, or None on a tenant's endpoint."""
        return self.export.provider_id if self.export else None

    @property
    def server_info(self) -> dict[str, str]:
        """Who the server is at this endpoint."""
        return identity.server_info(self.principal.tenant, self.export)


class Form(Enum):
    """How an invitation reaches a client. What it did not declare it is not sent."""

    RESULT = "an ordinary error result"
    QUESTION = "an input_required result"
    ERROR = "error -32042"

    @classmethod
    def of(cls, version: str, *, opens_urls: bool) -> Form:
        """By the protocol's revision and whether the client declared `elicitation.url`."""
        if opens_urls and version in MODERN_PROTOCOL_VERSIONS:
            return cls.QUESTION
        return cls.ERROR if opens_urls and version == _URL_ELICITATION_ERROR_VERSION else cls.RESULT


@dataclass(frozen=True, slots=True)
class Retry:
    """A call repeated after a question."""

    state: str
    """What the question carried."""
    accepted: bool
    """The person opened the page; what came of it is not said."""


@dataclass(frozen=True, slots=True)
class Calls:
    """Makes calls; whoever carries them shares one."""

    agent: Agent
    defaults: tools.AskDefaults
    connect_wait_s: float
    first_use: Callable[[str], Awaitable[bool]]
    """Whether a state of this id comes back for the first time, to whichever process."""
    underway: Underway = field(default_factory=Underway)

    async def outcome(
        self,
        call: Call,
        request_id: int | str | None,
        name: str,
        arguments: Mapping[str, Any] | None,
        form: Form,
        *,
        retry: Retry | None = None,
        progress: Progress = silent,
        caller: object = None,
    ) -> Outcome:
        """Make one call; `caller` is its `traceparent`, unread. Raises nothing but cancellation."""
        work = self._outcome(call, name, arguments, form, retry, progress, caller)
        if call.session is None or request_id is None:
            return await work
        cancelled = MCPError(code=REQUEST_CANCELLED, message="Request cancelled")
        return await self.underway.do((call.session, request_id), work, cancelled=cancelled)

    async def _outcome(
        self,
        call: Call,
        name: str,
        arguments: Mapping[str, Any] | None,
        form: Form,
        retry: Retry | None,
        progress: Progress,
        caller: object,
    ) -> Outcome:
        provider = name.removeprefix(tools.PREFIX)
        if not name.startswith(tools.PREFIX) or call.provider not in {None, provider}:
            return _unknown_tool(name)
        asked: list[str] = []
        try:
            ask = tools.ask_from(arguments, self.defaults)
            if retry:
                asked = await self._wait(call, provider, retry)
            return render.answer(await self.agent.ask(call.principal, provider, ask, progress, caller))
        except ExportHidden:
            return _unknown_tool(name)
        except Invitation as invitation:
            return _invite(provider, invitation, asked, form)
        except Failure as failure:
            return render.failure(failure)
        except MCPError as error:
            return error

    async def _wait(self, call: Call, provider: str, retry: Retry) -> list[str]:
        """Hold the retry while the person is still in the browser, then go on whatever came of it.

        Gives the codes of what they have been asked so far.
        """
        said = json.loads(retry.state)
        if said.get("provider") != provider or not await self.first_use(said["id"]):
            raise MCPError(
                code=types.INVALID_PARAMS,
                message="Invalid or expired requestState",  # as the SDK says what it refuses itself
                data={"reason": "invalid_request_state"},
            )
        asked: list[str] = said.get("asked", [])
        if not retry.accepted:
            return asked
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.connect_wait_s):
                while not await self._settled(call, provider, said):  # noqa: ASYNC110 - another process tells the database
                    await asyncio.sleep(_POLL_S)
        return asked

    async def _settled(self, call: Call, provider: str, said: dict[str, Any]) -> bool:
        """Whether what the person was asked to do is done, or will not be."""
        if question := said.get("question"):
            return await self.agent.answered(call.principal, UUID(question))
        return await self.agent.connected(call.principal, provider, frozenset(said.get("scopes", [])))


def _invite(provider: str, invitation: Invitation, asked: Sequence[str], form: Form) -> Outcome:
    """By what this client declared. Never the same question twice: accepting meant opened, not done."""
    if invitation.code in asked or invitation.declined or form is Form.RESULT:
        return render.failure(invitation)
    if form is Form.ERROR:
        return render.invitation_error(invitation)
    state: dict[str, Any] = {
        "id": secrets.token_urlsafe(16),
        "provider": provider,
        "asked": [*asked, invitation.code],
    }
    match invitation:
        case Asked(question=question) if question:
            state["question"] = str(question.id)
        case CapabilityMiss(missing_scopes=scopes):
            state["scopes"] = list(scopes)
    return render.invitation_result(invitation, state)


def _unknown_tool(name: str) -> MCPError:
    return MCPError(code=types.INVALID_PARAMS, message=f"Unknown tool: {name[:80]}")
