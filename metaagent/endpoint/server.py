"""The SDK's low-level server with our handlers: one tool per provider, results as resources."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mcp import types
from mcp.server import Server, ServerRequestContext
from mcp.server.context import CallNext, HandlerResult
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity
from mcp.shared.exceptions import MCPError
from mcp.types.version import MODERN_PROTOCOL_VERSIONS

from metaagent import __version__
from metaagent.agent.ports import Progress, silent
from metaagent.agent.service import Agent
from metaagent.agent.types import RUN_URI, Export
from metaagent.endpoint import identity, render, tools
from metaagent.endpoint.calls import Call, Calls, Form, Retry
from metaagent.endpoint.listen import Listening
from metaagent.endpoint.resources import Resources

_LISTED_MS = 10_000
"""How long a client may keep a list of tools it does not listen to."""
_TITLES_SINCE = "2025-06-18"

Context = ServerRequestContext[Any, Any]


def _call(ctx: Context) -> Call:
    if ctx.request is None:
        raise RuntimeError("served without a request")
    call: Call = ctx.request.scope[Call.SCOPE_KEY]
    return call


def build(calls: Calls, listening: Listening, *, state_keys: Sequence[bytes], page_bytes: int) -> Server[Any]:
    """The server all endpoints share; who asks and where comes with each request."""
    handlers = _Handlers(calls.agent, calls, listening, Resources(calls.agent, page_bytes))
    server: Server[Any] = Server(
        identity.NAME,
        version=__version__,
        on_list_tools=handlers.list_tools,
        on_call_tool=handlers.call_tool,
        on_list_resources=handlers.list_resources,
        on_list_resource_templates=handlers.list_templates,
        on_read_resource=handlers.read_resource,
        on_completion=handlers.complete,
        on_subscriptions_listen=handlers.listen,
        get_tool_input_schema=tools.headers_schema,
    )
    handlers.register(server)
    # What the SDK puts there is its tracing, which costs each call and reports to nobody until telemetry is set up.
    server.middleware.clear()
    security = RequestStateSecurity(keys=list(state_keys), ttl=600, bind_principal=_bound_principal)
    server.middleware += [handlers.identify, RequestStateBoundary(security, default_audience=identity.NAME)]
    return server


def _bound_principal(ctx: Context) -> str:
    """Whom and which endpoint a state is for."""
    call = _call(ctx)
    return f"{call.principal.tenant_id.hex}|{call.principal.user_id.hex}|{call.principal.client}|{call.provider or ''}"


@dataclass(frozen=True, slots=True)
class _Handlers:
    agent: Agent
    calls: Calls
    listening: Listening
    resources: Resources

    async def _exports(self, call: Call) -> list[Export]:
        exports = await self.agent.exports(call.principal)
        return [e for e in exports if call.provider in {None, e.provider_id}]

    async def identify(self, ctx: Context, call_next: CallNext) -> HandlerResult:
        """One server object serves all endpoints: each result says which of them it is from."""
        result = await call_next(ctx)
        if not isinstance(result, dict):
            return result
        call = _call(ctx)
        if ctx.protocol_version in MODERN_PROTOCOL_VERSIONS:
            return {**result, "_meta": {**(result.get("_meta") or {}), identity.STAMP: call.server_info}}
        if ctx.method == "initialize":
            titled = result["protocolVersion"] >= _TITLES_SINCE
            info = {name: value for name, value in call.server_info.items() if titled or name != "title"}
            return {**result, "serverInfo": info, "instructions": identity.instructions(await self._exports(call))}
        return result

    def register(self, server: Server[Any]) -> None:
        """What the SDK would do otherwise. Of all that could be listened to, the list of tools is what is served."""

        async def discover(ctx: Context, _params: types.RequestParams) -> types.DiscoverResult:
            capabilities = server.get_capabilities(protocol_version=ctx.protocol_version)
            capabilities.resources = types.ResourcesCapability(subscribe=False, list_changed=False)
            return types.DiscoverResult(
                supported_versions=list(MODERN_PROTOCOL_VERSIONS),
                capabilities=capabilities,
                instructions=identity.instructions(await self._exports(_call(ctx))),
                ttl_ms=_LISTED_MS,
                cache_scope="private",
            )

        server.add_request_handler("server/discover", types.RequestParams, discover)
        server.add_notification_handler("notifications/cancelled", types.CancelledNotificationParams, self.cancel)

    async def cancel(self, ctx: Context, params: types.CancelledNotificationParams) -> None:
        """A client gave up on a call it made in another request."""
        session = _call(ctx).session
        if session is not None and params.request_id is not None:
            self.calls.underway.cancel((session, params.request_id))

    async def list_tools(self, ctx: Context, _params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        listed = [tools.tool(e) for e in await self._exports(_call(ctx))]
        return types.ListToolsResult(tools=listed, ttl_ms=_LISTED_MS, cache_scope="private")

    async def listen(
        self, ctx: Context, params: types.SubscriptionsListenRequestParams
    ) -> types.SubscriptionsListenResult:
        call = _call(ctx)
        return await self.listening.serve(ctx, params, call.principal, call.provider)

    async def call_tool(
        self, ctx: Context, params: types.CallToolRequestParams
    ) -> types.CallToolResult | types.InputRequiredResult:
        call = _call(ctx)
        outcome = call.outcome
        if outcome is None:
            retry = _retry(params) if params.input_responses or params.request_state else None
            outcome = await self.calls.outcome(
                call,
                ctx.request_id,
                params.name,
                params.arguments,
                _form(ctx, call),
                retry=retry,
                progress=_progress(ctx),
                caller=ctx.meta.get("traceparent") if ctx.meta else None,
            )
        if isinstance(outcome, MCPError):
            raise outcome
        if isinstance(outcome, types.InputRequiredResult):
            return outcome
        return types.CallToolResult.model_validate(outcome)

    async def list_resources(
        self, ctx: Context, _params: types.PaginatedRequestParams | None
    ) -> types.ListResourcesResult:
        call = _call(ctx)
        return await self.resources.listed(call.principal, call.provider)

    async def list_templates(
        self, _ctx: Context, _params: types.PaginatedRequestParams | None
    ) -> types.ListResourceTemplatesResult:
        return self.resources.templates()

    async def read_resource(self, ctx: Context, params: types.ReadResourceRequestParams) -> types.ReadResourceResult:
        return await self.resources.read(_call(ctx).principal, params.uri)

    async def complete(self, ctx: Context, params: types.CompleteRequestParams) -> types.CompleteResult:
        call = _call(ctx)
        return await self.resources.completed(call.principal, call.provider, params)


def _form(ctx: Context, call: Call) -> Form:
    if ctx.protocol_version in MODERN_PROTOCOL_VERSIONS:
        declared = ctx.session.client_capabilities
        opens_urls = bool(declared and declared.elicitation and declared.elicitation.url is not None)
    else:
        opens_urls = bool(call.url_elicitation)
    return Form.of(ctx.protocol_version, opens_urls=opens_urls)


def _retry(params: types.CallToolRequestParams) -> Retry:
    said = (params.input_responses or {}).get(render.OPEN)
    return Retry(params.request_state or "{}", accepted=getattr(said, "action", None) == "accept")


def _progress(ctx: Context) -> Progress:
    """Reports to a client that asked for it by token; otherwise costs nothing.

    Each report names the run, so that a client that loses its connection knows what to fetch.
    """
    token = ctx.meta.get("progress_token") if ctx.meta else None
    if token is None:
        return silent

    async def report(run_id: str, done: float, message: str) -> None:
        about = {"metaagent/telemetryId": run_id, "metaagent/run": f"{RUN_URI}{run_id}"}
        params = types.ProgressNotificationParams(progress_token=token, progress=done, message=message, _meta=about)
        await ctx.session.send_notification(
            types.ProgressNotification(params=params), related_request_id=ctx.request_id
        )

    return report
