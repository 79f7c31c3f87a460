"""Clients that were not written here, and every protocol revision the official one speaks."""

from __future__ import annotations

import pytest
from fastmcp import Client as FastClient
from fastmcp.client.transports import StreamableHttpTransport

from tests.world import World, run


@pytest.mark.parametrize("mode", ["auto", "legacy", "2026-07-28"])
def test_the_official_client_works_in_every_era(world: World, mode: str) -> None:
    world.connect(email="ada@example.com")

    async def ask() -> tuple[str, str]:
        async with world.client(mode=mode) as client:
            result = await client.call_tool("use_sentry", {"prompt": "who am I?"})
            return client.protocol_version, result.structured_content["text"]

    version, text = run(ask())
    assert version == ("2025-11-25" if mode == "legacy" else "2026-07-28")
    assert "ada@example.com" in text


def test_fastmcp_s_client_is_told_to_connect_and_then_answered(world: World) -> None:
    async def ask() -> tuple[bool, str]:
        headers = {"Authorization": f"Bearer {world.me.key}"}
        async with FastClient(StreamableHttpTransport(world.endpoint, headers=headers)) as client:
            result = await client.call_tool("use_sentry", {"prompt": "who am I?"}, raise_on_error=False)
            return result.is_error, (result.structured_content or {})["text"]

    refused, told = run(ask())
    assert refused
    assert "/connect/sentry/?link=" in told
    world.connect(email="ada@example.com")
    refused, told = run(ask())
    assert not refused
    assert "ada@example.com" in told
