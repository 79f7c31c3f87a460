"""The call all servers are sent: one tool of `use_sentry` without a model, in the wire of 2026-07-28."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from bench import stub

TOOL = "use_sentry"
SCHEMA: dict[str, Any] = {"type": "object", "properties": {"prompt": {"type": "string"}, "options": {"type": "object"}}}
_ERA = "2026-07-28"
_META = {
    "io.modelcontextprotocol/protocolVersion": _ERA,
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "bench", "version": "1"},
}


def call(port: int, path: str, key: str, *, delay_ms: int) -> bytes:
    """One `tools/call`, as bytes to send, whose provider takes `delay_ms`."""
    options = {"mode": "tool", "tool": "search_issues", "args": {"org": stub.organization(delay_ms), "limit": 2}}
    arguments = {"prompt": "Show the latest errors", "options": options}
    params = {"name": TOOL, "arguments": arguments, "_meta": _META}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})
    return _request(
        f"POST {path}",
        port,
        f"Authorization: Bearer {key}\r\n"
        "Accept: application/json, text/event-stream\r\nContent-Type: application/json\r\n"
        f"MCP-Protocol-Version: {_ERA}\r\nMcp-Method: tools/call\r\nMcp-Name: {TOOL}\r\n"
        f"Content-Length: {len(body)}\r\n",
        body,
    )


def direct(port: int, *, delay_ms: int) -> bytes:
    """The request to the provider that such a call comes down to."""
    organization = stub.organization(delay_ms)
    query = "query=is%3Aunresolved&sort=date&statsPeriod=14d&limit=2"
    return _request(
        f"GET /api/0/organizations/{organization}/issues/?{query}",
        port,
        "Authorization: Bearer token-of-nobody\r\n",
        "",
    )


def delay_s(arguments: Mapping[str, Any]) -> float:
    """How long the provider would take for a call with these arguments."""
    organization: str = arguments["options"]["args"]["org"]
    return int(organization.removeprefix("after-").removesuffix("ms")) / 1e3


def _request(line: str, port: int, headers: str, body: str) -> bytes:
    return f"{line} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUser-Agent: bench\r\n{headers}\r\n{body}".encode()
