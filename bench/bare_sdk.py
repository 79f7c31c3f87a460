"""The yardstick: the MCP SDK's low-level server with one tool and a constant answer; no auth, no provider."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from mcp import types
from mcp.server import Server, ServerRequestContext

from bench.calls import SCHEMA, TOOL, delay_s
from bench.stub import MARKER

_ENVELOPE = 214
"""Bytes of an answer around its text."""
_TEXT = f"{MARKER} ".ljust(int(os.environ.get("BENCH_ANSWER_BYTES", "3000")) - _ENVELOPE, "x")
_TOOLS = types.ListToolsResult(tools=[types.Tool(name=TOOL, description="Ask.", input_schema=SCHEMA)])


async def _list(
    _ctx: ServerRequestContext[Any, Any], _params: types.PaginatedRequestParams | None
) -> types.ListToolsResult:
    return _TOOLS


async def _call(_ctx: ServerRequestContext[Any, Any], params: types.CallToolRequestParams) -> types.CallToolResult:
    if wait := delay_s(params.arguments or {}):
        await asyncio.sleep(wait)
    return types.CallToolResult(content=[types.TextContent(type="text", text=_TEXT)])


app = Server("bare", on_list_tools=_list, on_call_tool=_call).streamable_http_app(
    json_response=True, stateless_http=True
)
