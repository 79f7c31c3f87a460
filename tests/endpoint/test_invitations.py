"""What an unconnected account looks like to each client: the table of docs/clients.md, from real answers.

`UPDATE_DOCS=1` writes the table instead of comparing it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from mcp.types.version import HANDSHAKE_PROTOCOL_VERSIONS, MODERN_PROTOCOL_VERSIONS

from tests.world import World

DOCUMENT = Path(__file__).parents[2] / "docs" / "clients.md"
BEGIN, END = "<!-- needs_auth: begin -->", "<!-- needs_auth: end -->"
CAPABILITIES: dict[str, dict[str, Any]] = {
    "none": {},
    "`elicitation` (forms)": {"elicitation": {"form": {}}},
    "`elicitation.url`": {"elicitation": {"url": {}}},
}


def test_the_table_of_the_guide_is_what_clients_get(world: World) -> None:
    lines = ["| revision | the client declares | what `needs_auth` looks like |", "|---|---|---|"]
    for revision in [*reversed(MODERN_PROTOCOL_VERSIONS), *reversed(HANDSHAKE_PROTOCOL_VERSIONS)]:
        called = modern if revision in MODERN_PROTOCOL_VERSIONS else handshake
        lines += [
            f"| {revision} | {name} | {looks(called(world, revision, capabilities))} |"
            for name, capabilities in CAPABILITIES.items()
        ]
    table = "\n".join(lines)
    text = DOCUMENT.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    shown, _, after = rest.partition(END)
    if os.environ.get("UPDATE_DOCS"):
        DOCUMENT.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}", encoding="utf-8")
    else:
        assert shown.strip() == table, "run this test with UPDATE_DOCS=1"


def modern(world: World, revision: str, capabilities: dict[str, Any]) -> dict[str, Any]:
    meta = {
        "io.modelcontextprotocol/protocolVersion": revision,
        "io.modelcontextprotocol/clientCapabilities": capabilities,
    }
    headers = {"MCP-Protocol-Version": revision, "Mcp-Method": "tools/call", "Mcp-Name": "use_sentry"}
    answer: dict[str, Any] = world.post(call(_meta=meta), headers=headers).json()
    return answer


def handshake(world: World, revision: str, capabilities: dict[str, Any]) -> dict[str, Any]:
    opening = {
        "jsonrpc": "2.0",
        "id": 0,
        "method": "initialize",
        "params": {
            "protocolVersion": revision,
            "capabilities": capabilities,
            "clientInfo": {"name": "test", "version": "1"},
        },
    }
    opened = world.post(opening)
    assert opened.json()["result"]["protocolVersion"] == revision
    headers = {"Mcp-Session-Id": opened.headers["mcp-session-id"], "MCP-Protocol-Version": revision}
    answer: dict[str, Any] = world.post(call(), headers=headers).json()
    return answer


def call(**params: Any) -> dict[str, Any]:
    given = {"name": "use_sentry", "arguments": {"prompt": "who am I?"}, **params}
    return {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": given}


def looks(answer: dict[str, Any]) -> str:
    """In words; each form has to carry the link."""
    match answer:
        case {"error": {"code": code, "data": {"elicitations": [{"mode": "url", "url": url, **_rest}]}}}:
            shape = f"error `{code}`, the link in `data.elicitations[0].url`"
        case {"result": {"resultType": "input_required", "inputRequests": {"open": {"params": {"url": url}}}}}:
            shape = "`input_required`, a question with the link; the same call waits for the person"
        case {"result": {"isError": True, "structuredContent": {"error": {"code": "needs_auth", "connect_url": url}}}}:
            assert url in answer["result"]["content"][0]["text"]
            shape = "error result, the link in its text and in `error.connect_url`"
        case _:
            raise AssertionError(answer)
    assert "/connect/sentry/?link=" in url
    return shape
