"""Remote MCP servers for tests: the SDK's own, and what stands before it and notes what comes."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from mcp import types
from mcp.server import Server, ServerRequestContext

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


@dataclass
class Seen:
    """A request as a server saw it."""

    headers: Mapping[str, str]
    message: Any
    peer: Any = None
    """The connection it came over."""

    @property
    def method(self) -> str:
        return str(self.message.get("method", "an answer"))


@dataclass
class Front:
    """Stands before a server and notes what comes."""

    app: Any
    seen: list[Seen] = field(default_factory=list)
    refuses_modern: bool = False
    """As servers of the handshake era do that have never heard of the other."""

    @property
    def methods(self) -> list[str]:
        return [each.method for each in self.seen]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        body, more = b"", True
        while more:
            part = await receive()
            body, more = body + part["body"], part.get("more_body", False)
        headers = {name.decode(): said.decode() for name, said in scope["headers"]}
        self.seen.append(Seen(headers, json.loads(body)))
        if self.refuses_modern and headers.get("mcp-protocol-version") == "2026-07-28":
            error = {"code": -32600, "message": "Bad Request: Unsupported protocol version: 2026-07-28."}
            await answered(
                send,
                400,
                {"content-type": "application/json"},
                json.dumps({"jsonrpc": "2.0", "id": "server-error", "error": error}).encode(),
            )
            return
        parts = iter([{"type": "http.request", "body": body}])

        async def again() -> MutableMapping[str, Any]:
            return next(parts, None) or await receive()

        await self.app(scope, again, send)


async def answered(send: Send, status: int, headers: Mapping[str, str], *parts: bytes, more: bool = False) -> None:
    """Send an answer; `more`: it is not over."""
    raw = [(name.encode(), said.encode()) for name, said in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    for part in parts[:-1]:
        await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body", "body": parts[-1], "more_body": more})


async def _list(_: ServerRequestContext[Any, Any], __: types.PaginatedRequestParams | None) -> types.ListToolsResult:
    text = {"type": "string"}
    schema = {"type": "object", "properties": {"city": {**text, "x-mcp-header": "City"}, "days": {"type": "integer"}}}
    hint = types.ToolAnnotations(read_only_hint=True)
    return types.ListToolsResult(
        tools=[types.Tool(name="get.Weather", description="Tell the weather.", input_schema=schema, annotations=hint)]
    )


async def _call(_: ServerRequestContext[Any, Any], params: types.CallToolRequestParams) -> types.CallToolResult:
    if params.name != "get.Weather":
        raise ValueError(params.name)
    days = (params.arguments or {}).get("days", 1)
    found = {"days": [{"city": (params.arguments or {})["city"], "sky": "clear"}] * days}
    return types.CallToolResult(content=[types.TextContent(text="Clear.")], structured_content=found)


def weather(**options: Any) -> Any:
    """The SDK's own server, of both eras, with one tool."""
    return Server("weather", title="Weather", version="1", on_list_tools=_list, on_call_tool=_call).streamable_http_app(
        **options
    )
