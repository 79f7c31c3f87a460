"""The one tool: what it costs to see, how its arguments are held to their form, and how failures leave."""

from __future__ import annotations

import json
from typing import Any

import pytest
import quicktok
from mcp import types
from mcp.client.context import ClientRequestContext
from mcp.shared.exceptions import MCPError

from tests.endpoint.test_front import modern
from tests.world import World, run


def tokens(value: Any) -> int:
    text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
    return len(quicktok.get_encoding("o200k_base").encode(text))


def test_the_tool_costs_a_client_few_tokens(world: World) -> None:
    body, headers = modern("tools/list")
    answer = world.post(body, headers=headers).json()["result"]
    [tool] = answer["tools"]
    assert tokens(tool["name"]) + tokens(tool["description"]) + tokens(tool["inputSchema"]) <= 160
    assert tokens(answer) <= 400
    assert answer["cacheScope"] == "private"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({}, "prompt is missing"),
        ({"prompt": ""}, "prompt is empty"),
        ({"prompt": "  \n "}, "prompt is empty"),
        ({"prompt": 7}, "prompt"),
        ({"prompt": None}, "prompt"),
        ({"prompt": "x" * 20_001}, "longer than 20000"),
        ({"prompt": "a\u0000b"}, "control characters"),
        ({"prompt": "hi", "promt": "x"}, "promt is not known"),
        ({"prompt": "hi", "options": {"speed": 9}}, "options.speed is not known here. Known: mode, tool, args"),
        ({"prompt": "hi", "options": {"mode": "fast"}}, "options.mode"),
        ({"prompt": "hi", "options": {"maxTokens": 5}}, "options.maxTokens"),
        ({"prompt": "hi", "options": {"maxTokens": "100"}}, "options.maxTokens"),
        ({"prompt": "hi", "options": {"mode": "tool"}}, "go together"),
        ({"prompt": "hi", "options": {"tool": "x"}}, "go together"),
        ({"prompt": "hi", "options": {"conversation": "../etc"}}, "options.conversation"),
        ({"prompt": "hi", "options": []}, "options"),
        ({"prompt": "hi", "accountId": {"a": 1}}, "accountId"),
    ],
)
def test_wrong_arguments_are_named_in_one_sentence(world: World, arguments: dict[str, Any], says: str) -> None:
    body, headers = modern("tools/call", name="use_sentry", arguments=arguments)
    result = world.post(body, headers=headers).json()["result"]
    assert result["isError"]
    error = result["structuredContent"]["error"]
    assert error["code"] == "ask_invalid"
    assert says in error["message"]
    assert "\n" not in error["message"]
    assert len(error["message"]) < 300


def test_a_megabyte_of_prompt_is_refused_in_one_sentence(world: World) -> None:
    body, headers = modern("tools/call", name="use_sentry", arguments={"prompt": "x" * 1_000_000})
    result = world.post(body, headers=headers).json()["result"]
    assert result["structuredContent"]["error"]["code"] == "ask_invalid"


def test_an_unknown_tool_and_a_foreign_one_look_alike(world: World) -> None:
    async def call(name: str) -> str:
        async with world.client() as client:
            with pytest.raises(MCPError) as caught:
                await client.call_tool(name, {"prompt": "hi"})
            return caught.value.error.message.replace(name, "X")

    assert run(call("use_github")) == run(call("use_nothing")) == run(call("delete_all")) == "Unknown tool: X"


async def _accept(_context: ClientRequestContext, _params: types.ElicitRequestParams) -> types.ElicitResult:
    return types.ElicitResult(action="accept")


async def _decline(_context: ClientRequestContext, _params: types.ElicitRequestParams) -> types.ElicitResult:
    return types.ElicitResult(action="decline")


def test_a_modern_client_that_opens_links_is_asked_to_open_one(world: World) -> None:
    seen: list[str] = []

    async def declines(_: ClientRequestContext, params: types.ElicitRequestParams) -> types.ElicitResult:
        assert isinstance(params, types.ElicitRequestURLParams)
        seen.append(params.url)
        return types.ElicitResult(action="decline")

    async def call() -> types.CallToolResult:
        async with world.client(elicitation_callback=declines) as client:
            assert client.protocol_version == "2026-07-28"
            return await client.call_tool("use_sentry", {"prompt": "who am I?"})

    result = run(call())
    assert len(seen) == 1
    assert seen[0].startswith(f"{world.product.url}/connect/sentry/?link=")
    assert result.is_error
    assert result.structured_content["error"]["code"] == "needs_auth"


def test_accepting_without_connecting_ends_as_a_plain_needs_auth_and_never_asks_twice(world: World) -> None:
    asked = 0

    async def accepts(_: ClientRequestContext, _params: types.ElicitRequestParams) -> types.ElicitResult:
        nonlocal asked
        asked += 1
        return types.ElicitResult(action="accept")

    async def call() -> types.CallToolResult:
        async with world.client(elicitation_callback=accepts) as client:
            return await client.call_tool("use_sentry", {"prompt": "who am I?"})

    result = run(call())
    assert asked == 1
    assert result.structured_content["error"]["code"] == "needs_auth"


def _initialize(world: World, version: str, capabilities: dict[str, Any]) -> dict[str, str]:
    params = {"protocolVersion": version, "capabilities": capabilities, "clientInfo": {"name": "t", "version": "1"}}
    answer = world.post({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params})
    assert answer.status_code == 200, answer.text
    return {"Mcp-Session-Id": answer.headers["mcp-session-id"], "MCP-Protocol-Version": version}


CALL = {
    "jsonrpc": "2.0",
    "id": 2,
    "method": "tools/call",
    "params": {"name": "use_sentry", "arguments": {"prompt": "who am I?"}},
}


def test_a_2025_11_25_client_that_opens_links_gets_the_error_made_for_it(world: World) -> None:
    headers = _initialize(world, "2025-11-25", {"elicitation": {"url": {}}})
    error = world.post(CALL, headers=headers).json()["error"]
    assert error["code"] == -32042
    [elicitation] = error["data"]["elicitations"]
    assert elicitation["mode"] == "url"
    assert elicitation["url"].startswith(f"{world.product.url}/connect/sentry/")
    assert elicitation["elicitationId"]


@pytest.mark.parametrize(
    ("version", "capabilities"),
    [
        ("2025-11-25", {}),
        ("2025-11-25", {"elicitation": {}}),
        ("2025-06-18", {"elicitation": {"url": {}}}),
        ("2025-03-26", {}),
        ("2024-11-05", {}),
    ],
)
def test_every_other_client_gets_a_plain_result(world: World, version: str, capabilities: dict[str, Any]) -> None:
    headers = _initialize(world, version, capabilities)
    result = world.post(CALL, headers=headers).json()["result"]
    assert result["isError"]
    error = result["structuredContent"]["error"]
    assert error["code"] == "needs_auth"
    assert error["connect_url"] in result["content"][0]["text"]
    assert isinstance(result["structuredContent"]["text"], str)  # the output schema holds for errors too


def test_a_session_id_works_only_for_its_principal_and_endpoint(world: World) -> None:
    headers = _initialize(world, "2025-11-25", {"elicitation": {"url": {}}})
    someone = world.person()
    stolen = world.post(CALL, headers={**headers, "Authorization": f"Bearer {someone.key}"})
    elsewhere = world.post(CALL, headers=headers, path=f"/mcp/{world.tenant.slug}")
    forged = world.post(CALL, headers={**headers, "Mcp-Session-Id": "A" * 40})
    assert [stolen.status_code, elsewhere.status_code, forged.status_code] == [404, 404, 404]


def test_progress_is_told_while_tools_run_to_those_who_ask(world: World) -> None:
    world.connect()
    heard: list[str] = []

    async def listen(progress: float, total: float | None, message: str | None) -> None:
        heard.append(message or "")

    async def call() -> types.CallToolResult:
        async with world.client() as client:
            options = {"mode": "tool", "tool": "list_organizations"}
            given = {"prompt": "which organizations?", "options": options}
            return await client.call_tool("use_sentry", given, progress_callback=listen)

    assert not run(call()).is_error
    started, *heard = heard
    assert "metaagent://runs/run_" in started
    assert heard == ["Asking Sentry: list_organizations"]


def test_the_full_result_is_read_by_its_owner_only(world: World) -> None:
    world.connect()
    result = world.call_tool("list_organizations")
    [link] = [block for block in result.content if isinstance(block, types.ResourceLink)]

    async def read(key: str) -> str:
        async with world.client(key=key) as client:
            [contents] = (await client.read_resource(link.uri)).contents
            assert isinstance(contents, types.TextResourceContents)
            return contents.text

    document = json.loads(run(read(world.me.key)))
    assert document["tool"] == "list_organizations"
    assert document["data"]

    async def refused(key: str) -> str:
        async with world.client(key=key) as client:
            with pytest.raises(MCPError) as caught:
                await client.read_resource(link.uri)
            return caught.value.error.message

    assert "no such result" in run(refused(world.person().key))
