"""The SDK's low-level server with our handlers: one tool per provider, results as resources."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn
from uuid import UUID

from mcp import types
from mcp.server import Server, ServerRequestContext
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity
from mcp.shared.exceptions import MCPError
from mcp.types.version import MODERN_PROTOCOL_VERSIONS

from metaagent import __version__
from metaagent.agent.failures import CapabilityMiss, ExportHidden, Failure, Invitation, NeedsConsent
from metaagent.agent.ports import Progress, silent
from metaagent.agent.service import Agent
from metaagent.agent.types import Export, Principal
from metaagent.endpoint import render, tools

NAME = "metaagent"
_POLL_S = 0.25
_URL_ELICITATION_ERROR_VERSION = "2025-11-25"
_RESULT_URI = "metaagent://results/"

Context = ServerRequestContext[Any, Any]


@dataclass(frozen=True, slots=True)
class Call:
    """What the front found out about this request before the SDK saw it."""

    principal: Principal
    provider: str | None
    """The endpoint's provider, or None on a tenant's endpoint."""
    url_elicitation: bool | None
    """What a handshake-era client declared, read from its session id; None in the modern era."""

    SCOPE_KEY = "metaagent.call"


def _call(ctx: Context) -> Call:
    if ctx.request is None:
        raise RuntimeError("served without a request")
    call: Call = ctx.request.scope[Call.SCOPE_KEY]
    return call


def build(
    agent: Agent, *, state_keys: Sequence[bytes], defaults: tools.AskDefaults, connect_wait_s: float
) -> Server[Any]:
    """The server all endpoints share; who asks and where comes with each request."""
    handlers = _Handlers(agent, defaults, connect_wait_s)
    server: Server[Any] = Server(
        NAME,
        version=__version__,
        instructions="One tool per provider. Ask in plain words; open the links it gives you, then ask again.",
        on_list_tools=handlers.list_tools,
        on_call_tool=handlers.call_tool,
        on_list_resources=handlers.list_resources,
        on_read_resource=handlers.read_resource,
        get_tool_input_schema=tools.headers_schema,
    )
    # What the SDK puts there is its tracing, which costs each call and reports to nobody until telemetry is set up.
    server.middleware.clear()
    security = RequestStateSecurity(keys=list(state_keys), ttl=600, bind_principal=_bound_principal)
    server.middleware.append(RequestStateBoundary(security, default_audience=NAME))
    return server


def _bound_principal(ctx: Context) -> str:
    who = _call(ctx).principal
    return f"{who.tenant_id.hex}|{who.user_id.hex}|{who.client}"


@dataclass(frozen=True, slots=True)
class _Handlers:
    agent: Agent
    defaults: tools.AskDefaults
    connect_wait_s: float

    async def list_tools(self, ctx: Context, _params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        call = _call(ctx)
        exports: list[Export] = await self.agent.exports(call.principal)
        listed = [tools.tool(e) for e in exports if call.provider in {None, e.provider_id}]
        return types.ListToolsResult(tools=listed, ttl_ms=60_000, cache_scope="private")

    async def call_tool(
        self, ctx: Context, params: types.CallToolRequestParams
    ) -> types.CallToolResult | types.InputRequiredResult:
        call = _call(ctx)
        provider = params.name.removeprefix(tools.PREFIX)
        if not params.name.startswith(tools.PREFIX) or call.provider not in {None, provider}:
            _unknown_tool(params.name)
        try:
            ask = tools.ask_from(params.arguments, self.defaults)
            asked = await self._wait(call, provider, params) if params.input_responses else []
            return render.answer_result(await self.agent.ask(call.principal, provider, ask, _progress(ctx)))
        except ExportHidden:
            _unknown_tool(params.name)
        except Invitation as invitation:
            return self._invite(ctx, call, provider, invitation, asked)
        except Failure as failure:
            return render.failure_result(failure)

    def _invite(
        self, ctx: Context, call: Call, provider: str, invitation: Invitation, asked: Sequence[str]
    ) -> types.CallToolResult | types.InputRequiredResult:
        """By what this client declared. Never the same question twice: accepting meant opened, not done."""
        if invitation.code in asked or invitation.declined:
            return render.failure_result(invitation)
        if ctx.protocol_version in MODERN_PROTOCOL_VERSIONS:
            declared = ctx.session.client_capabilities
            if declared and declared.elicitation and declared.elicitation.url is not None:
                state: dict[str, Any] = {"provider": provider, "asked": [*asked, invitation.code]}
                match invitation:
                    case NeedsConsent(question=question) if question:
                        state["question"] = str(question.id)
                    case CapabilityMiss(missing_scopes=scopes):
                        state["scopes"] = list(scopes)
                return render.invitation_result(invitation, state)
        elif ctx.protocol_version == _URL_ELICITATION_ERROR_VERSION and call.url_elicitation:
            raise render.invitation_error(invitation)
        return render.failure_result(invitation)

    async def _wait(self, call: Call, provider: str, params: types.CallToolRequestParams) -> list[str]:
        """Hold the retry while the person is still in the browser, then go on whatever came of it.

        Gives the codes of what they have been asked so far.
        """
        said = json.loads(params.request_state or "{}")
        if said.get("provider") != provider:
            raise MCPError(code=types.INVALID_PARAMS, message="requestState belongs to another call.")
        asked: list[str] = said.get("asked", [])
        answer = (params.input_responses or {}).get(render.OPEN)
        if getattr(answer, "action", None) != "accept":
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

    async def list_resources(
        self, _ctx: Context, _params: types.PaginatedRequestParams | None
    ) -> types.ListResourcesResult:
        """Results are reached by the links in answers; there is nothing to browse."""
        return types.ListResourcesResult(resources=[], ttl_ms=60_000, cache_scope="private")

    async def read_resource(self, ctx: Context, params: types.ReadResourceRequestParams) -> types.ReadResourceResult:
        result_id = params.uri.removeprefix(_RESULT_URI)
        body = None
        if params.uri.startswith(_RESULT_URI) and len(result_id) <= 64:  # noqa: PLR2004 - ours have 32
            body = await self.agent.read_result(_call(ctx).principal, result_id)
        if body is None:
            raise MCPError(
                code=types.INVALID_PARAMS, message="There is no such result, or no longer. Ask again for a new one."
            )
        contents = types.TextResourceContents(uri=params.uri, mime_type="application/json", text=body.decode())
        return types.ReadResourceResult(contents=[contents], ttl_ms=0, cache_scope="private")


def _unknown_tool(name: str) -> NoReturn:
    raise MCPError(code=types.INVALID_PARAMS, message=f"Unknown tool: {name[:80]}")


def _progress(ctx: Context) -> Progress:
    """Reports to a client that asked for it by token; otherwise costs nothing."""
    if ctx.meta is None or ctx.meta.get("progress_token") is None:
        return silent

    async def report(done: float, message: str) -> None:
        await ctx.session.report_progress(done, None, message)

    return report
