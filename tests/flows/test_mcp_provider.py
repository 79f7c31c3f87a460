"""A remote MCP server as a provider, from its address to an answer: without an account, and with a key."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from mcp.types import CallToolResult

from metaagent.visitor import Visitor
from tests.remote import Front, Receive, Scope, Send, answered, weather
from tests.world import World, run, serve
from vault.services import setup

KEY = "k-7f3a91"
URL = f"http://127.0.0.1:{os.environ['TEST_OTHER_PORT']}/mcp"


class Locked:
    """Lets nobody in without the key."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (b"x-api-key", KEY.encode()) not in scope["headers"]:
            await answered(send, 401, {}, b"")
        else:
            await self.app(scope, receive, send)


@pytest.fixture
def front() -> Iterator[Front]:
    made = Front(weather(json_response=True))
    with serve(Locked(made), int(os.environ["TEST_OTHER_PORT"])):
        yield made


@pytest.fixture
def open_front() -> Iterator[Front]:
    made = Front(weather(), refuses_modern=True)
    with serve(made, int(os.environ["TEST_OTHER_PORT"])):
        yield made


def install(world: World, **wish: Any) -> setup.SetUp:
    given = {"source": "mcp", "url": URL, "title": "Weather", "trust_hints": True, **wish}
    return setup.set_up(tenant=world.tenant, slug="weather", wish=setup.Wish(**given), by=None, now=datetime.now(UTC))


def ask(world: World, prompt: str, **options: Any) -> CallToolResult:
    async def call() -> CallToolResult:
        async with world.client(url=f"{world.product.url}/mcp/{world.tenant.slug}/weather") as client:
            return await client.call_tool("use_weather", {"prompt": prompt, "options": options})

    return run(call())


def test_a_server_without_accounts_is_asked_by_name_and_in_plain_words(world: World, open_front: Front) -> None:
    done = install(world)
    assert done.tools == 1
    open_front.seen.clear()
    found = ask(world, "weather", mode="tool", tool="get_weather", args={"city": "Oslo", "days": 2})
    assert not found.is_error, found
    assert found.structured_content["text"].endswith("Clear.")
    assert found.structured_content["citations"][0]["tool"] == "get_weather"
    assert open_front.methods == ["server/discover", "initialize", "notifications/initialized", "tools/call"]
    open_front.seen.clear()
    found = ask(world, 'What is the weather in "Oslo"?')
    assert not found.is_error, found
    assert open_front.methods == ["tools/call"]
    assert open_front.seen[0].message["params"]["arguments"]["city"] == "Oslo"
    assert "authorization" not in open_front.seen[0].headers


def test_a_key_entered_on_the_connect_page_opens_a_server_and_goes_nowhere_else(world: World, front: Front) -> None:
    install(world, access="key", key_header="X-Api-Key")
    refused = ask(world, "weather", mode="tool", tool="get_weather", args={"city": "Oslo"})
    link = refused.structured_content["error"]["connect_url"]
    with Visitor() as visitor:
        visitor.open(link)
        world.log_in(visitor)
        visitor.send(visitor.form_with("key"), key="wrong")
        assert visitor.page.status_code == 422
        visitor.send(visitor.form_with("key"), key=KEY)
        assert visitor.page.status_code == 200, visitor.page.text
    found = ask(world, "weather", mode="tool", tool="get_weather", args={"city": "Oslo"})
    assert not found.is_error, found
    assert KEY not in found.model_dump_json()
    assert {each.headers["x-api-key"] for each in front.seen} == {KEY}
    refused = ask(world, "weather", mode="tool", tool="get_weather", args={"city": "Oslo", "days": "many"})
    assert refused.structured_content["error"]["code"] == "ask_invalid"
