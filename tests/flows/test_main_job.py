"""The main job, through the official MCP client and a person's pages."""

from __future__ import annotations

from mcp.types import ResourceLink, TextContent

from tests.world import World, run


def test_a_client_sees_exactly_one_tool(world: World) -> None:
    async def names() -> list[str]:
        async with world.client() as client:
            return [tool.name for tool in (await client.list_tools()).tools]

    assert run(names()) == ["use_sentry"]


def test_asking_before_connecting_is_answered_with_a_link(world: World) -> None:
    error = world.error("why are release errors spiking?")
    assert error["code"] == "needs_auth"
    assert error["reason"] == "missing"
    assert error["provider_id"] == "sentry"
    assert error["connect_url"].startswith(f"{world.product.url}/connect/sentry/?link=")
    assert "event:read" in error["scopes"]


def test_after_connecting_the_same_call_is_answered(world: World) -> None:
    connection = world.connect()
    assert connection.account_label
    result = world.call_tool("list_organizations")
    assert not result.is_error, result
    found = result.structured_content
    assert found["mode"] == "tool"
    assert found["telemetryId"].startswith("run_")
    assert isinstance(result.content[0], TextContent)
    assert isinstance(result.content[1], ResourceLink)
