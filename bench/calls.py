"""The call all servers are sent: one tool of `use_sentry` without a model, in the wire of one era or the other."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from typing import Any

from bench import stub

TOOL = "use_sentry"
SEARCH = "search_issues"
SCHEMA: dict[str, Any] = {"type": "object", "properties": {"prompt": {"type": "string"}, "options": {"type": "object"}}}
_ERA = "2026-07-28"
_HANDSHAKE = "2025-11-25"
_CLIENT = {"name": "bench", "version": "1"}
_META = {
    "io.modelcontextprotocol/protocolVersion": _ERA,
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": _CLIENT,
}


def call(port: int, path: str, key: str, *, delay_ms: int, session: str | None = None, tool: str = TOOL) -> bytes:
    """One `tools/call`, as bytes to send, whose provider takes `delay_ms`.

    With `session`, what `opened` gave, it is one of the handshake era; else of 2026-07-28.
    """
    options = {"mode": "tool", "tool": SEARCH, "args": _search(delay_ms)}
    return request(
        port, path, key, {"prompt": "Show the latest errors", "options": options}, session=session, tool=tool
    )


def _search(delay_ms: int) -> dict[str, Any]:
    return {"org": stub.organization(delay_ms), "limit": 2}


def request(
    port: int, path: str, key: str, arguments: Mapping[str, Any], *, session: str | None = None, tool: str = TOOL
) -> bytes:
    """A call with any arguments; see `call`."""
    body, headers = message("tools/call", tool, {"name": tool, "arguments": arguments}, key, session=session)
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return _request(f"POST {path}", port, f"{lines}Content-Length: {len(body)}\r\n", body)


def message(
    method: str, name: str, params: Mapping[str, Any], key: str, *, session: str | None = None
) -> tuple[str, dict[str, str]]:
    """The body of a request about something that has a name, and its headers; see `call`."""
    if session is None:
        params = {**params, "_meta": _META}
        era = {"MCP-Protocol-Version": _ERA, "Mcp-Method": method, "Mcp-Name": name}
    else:
        era = {"MCP-Protocol-Version": _HANDSHAKE, **({"Mcp-Session-Id": session} if session else {})}
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}), _headers(key) | era


def opened(port: int, path: str, key: str) -> str:
    """What `initialize` of the handshake era gives as the session's id; empty when the server gives none."""
    params = {"protocolVersion": _HANDSHAKE, "capabilities": {}, "clientInfo": _CLIENT}
    body = json.dumps({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params})
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("POST", path, body, _headers(key))
        answer = connection.getresponse()
        answer.read()
        return answer.getheader("Mcp-Session-Id") or ""
    finally:
        connection.close()


def _headers(key: str) -> dict[str, str]:
    return {
        "Authorization": f"Bearer {key}",
        "Accept": "application/json, text/event-stream",
        "Content-Type": "application/json",
    }


def direct(port: int, *, delay_ms: int) -> bytes:
    """The request to the provider that such a call comes down to."""
    organization = stub.organization(delay_ms)
    query = "query=is%3Aunresolved&sort=date&statsPeriod=14d&limit=2"
    return fetch(port, f"/api/0/organizations/{organization}/issues/?{query}", "token-of-nobody")


def direct_mcp(port: int, *, delay_ms: int) -> bytes:
    """The same of a provider that is an MCP server."""
    return request(port, "/mcp", "token-of-nobody", _search(delay_ms), tool=SEARCH)


def fetch(port: int, address: str, bearer: str) -> bytes:
    """A plain request with a token."""
    return _request(f"GET {address}", port, f"Authorization: Bearer {bearer}\r\n", "")


def delay_s(arguments: Mapping[str, Any]) -> float:
    """How long the provider would take for a call with these arguments."""
    organization: str = arguments["options"]["args"]["org"]
    return int(organization.removeprefix("after-").removesuffix("ms")) / 1e3


def _request(line: str, port: int, headers: str, body: str) -> bytes:
    return f"{line} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUser-Agent: bench\r\n{headers}\r\n{body}".encode()
