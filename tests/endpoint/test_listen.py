"""`subscriptions/listen`: who is told that their tools have changed, and for how long."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Any, cast
from uuid import uuid4

import httpx2
import pytest
from django.db.models import F
from mcp.client.subscriptions import ToolsListChanged
from mcp.shared.exceptions import MCPError

from metaagent.agent.types import Principal
from metaagent.endpoint.listen import Listening
from tenants import services as tenants
from tenants.models import ClientKey, Standing
from tests.endpoint.test_front import modern
from tests.endpoint.test_tool import _initialize
from tests.flows.test_consent import connect_for_writing
from tests.world import TLS, Person, World, aside, run
from vault.models import Connection
from vault.services import revoke

WITHIN_S = 10


@asynccontextmanager
async def listening(
    world: World, *, key: str | None = None, path: str | None = None
) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
    """A raw stream, acknowledged; gives its further frames."""
    body, headers = modern("subscriptions/listen", notifications={"toolsListChanged": True})
    given = {**headers, "Authorization": f"Bearer {key or world.me.key}", "Content-Type": "application/json"}
    given["Accept"] = "application/json, text/event-stream"
    async with (
        httpx2.AsyncClient(base_url=world.product.url, timeout=WITHIN_S, trust_env=False, verify=TLS) as http,
        http.stream("POST", path or f"/mcp/{world.tenant.slug}", json=body, headers=given) as answer,
    ):
        frames = _frames(answer)
        first = await anext(frames)
        assert first.get("method") == "notifications/subscriptions/acknowledged", first
        assert first["params"]["notifications"] == {"toolsListChanged": True}
        yield frames


async def _frames(answer: httpx2.Response) -> AsyncIterator[dict[str, Any]]:
    async for line in answer.aiter_lines():
        if line.startswith("{"):  # refused, in JSON
            yield json.loads(line)
        if line.startswith("data: {"):
            yield json.loads(line[6:])


def hide(world: World) -> None:
    world.installation = world.install(exposure="strict")


def disconnect(world: World) -> None:
    connection = Connection.objects.get(tenant=world.tenant, owner=world.me.user)
    revoke.disconnect(connection=connection, by=world.me.user.pk)


def test_a_strict_provider_appears_and_goes_within_one_session(world: World) -> None:
    hide(world)

    async def work() -> list[list[str]]:
        seen: list[list[str]] = []
        tenant = f"{world.product.url}/mcp/{world.tenant.slug}"
        async with world.client(url=tenant) as client, client.listen(tools_list_changed=True) as stream:

            async def look() -> None:
                seen.append([tool.name for tool in (await client.list_tools()).tools])

            await look()
            for change in (connect_for_writing, disconnect):
                await aside(change, world)
                assert isinstance(await asyncio.wait_for(anext(stream), WITHIN_S), ToolsListChanged)
                await look()
        return seen

    assert run(work()) == [[], ["use_sentry"], []]


def test_only_those_whose_own_list_changed_are_told(world: World) -> None:
    hide(world)
    other = world.person()

    async def work() -> tuple[dict[str, Any], int]:
        async with listening(world) as mine, listening(world, key=other.key) as theirs:
            await aside(connect_for_writing, world)
            first = await anext(mine)
            # Had they been told of that, it would come before the end of their rights.
            await aside(_remove, other)
            return first, len([frame async for frame in theirs if "method" in frame])

    first, told = run(work())
    assert first["method"] == "notifications/tools/list_changed"
    assert first["params"]["_meta"] == {"io.modelcontextprotocol/subscriptionId": 1}
    assert told == 0


def test_a_soft_provider_that_is_connected_changes_nothing_and_one_that_is_hidden_does(world: World) -> None:
    async def work() -> list[str]:
        async with listening(world) as frames:
            for change in (connect_for_writing, disconnect, hide):
                await aside(change, world)
            told = [(await anext(frames))["method"]]
            await aside(_revoke_key, world.me)
            return told + [frame["method"] async for frame in frames if "method" in frame]

    assert run(work()) == ["notifications/tools/list_changed"]


def test_what_another_process_changed_is_heard_too(world: World) -> None:
    hide(world)
    connect_for_writing(world)

    def elsewhere() -> None:
        Connection.objects.filter(tenant=world.tenant).update(status="needs_auth")
        Standing.objects.update(generation=F("generation") + 1)

    async def work() -> str:
        async with listening(world) as frames:
            await aside(elsewhere)
            return str((await anext(frames))["method"])

    assert run(work()) == "notifications/tools/list_changed"


def _revoke_key(person: Person) -> None:
    for key in ClientKey.objects.filter(membership__user=person.user):
        tenants.revoke_client_key(key=key, now=datetime.now(UTC), by=None)


def _remove(person: Person) -> None:
    tenants.remove_member(membership=person.user.memberships.get(), by=None)


@pytest.mark.parametrize("ended", [_revoke_key, _remove])
def test_a_stream_ends_with_its_bearer_s_rights(world: World, ended: Callable[[Person], None]) -> None:
    async def work() -> list[dict[str, Any]]:
        async with listening(world) as frames:
            await aside(ended, world.me)
            return [frame async for frame in frames]

    [last] = run(work())
    assert last["result"]["_meta"]["io.modelcontextprotocol/subscriptionId"] == 1


def test_a_provider_s_endpoint_that_is_there_no_more_says_so_and_ends(world: World) -> None:
    hide(world)
    connect_for_writing(world)
    path = f"/mcp/{world.tenant.slug}/sentry"

    async def work() -> list[str]:
        async with listening(world, path=path) as frames:
            await aside(disconnect, world)
            return [frame.get("method", "the end") async for frame in frames]

    assert run(work()) == ["notifications/tools/list_changed", "the end"]
    assert world.post({"jsonrpc": "2.0", "id": 1, "method": "ping"}, path=path).status_code == 404


def test_streams_are_bounded_and_a_closed_one_makes_room(world: World) -> None:
    other = world.person()

    async def one_more(key: str) -> None:
        async with listening(world, key=key):
            pass

    async def work() -> None:
        async with listening(world), listening(world), listening(world):
            async with listening(world):
                with pytest.raises(AssertionError, match="You have 4 listening streams open"):
                    await one_more(world.me.key)
                await one_more(other.key)
            for _ in range(WITHIN_S * 20):  # until the server has noticed
                with suppress(AssertionError):
                    return await one_more(world.me.key)
                await asyncio.sleep(0.05)
        raise AssertionError("no room")

    run(work())


def test_a_process_keeps_so_many_streams_and_no_more() -> None:
    streams = Listening(cast("Any", None), cast("Any", None), per_principal=1, most=2)
    one, two, three = (Principal(uuid4(), "acme", uuid4(), "key:x") for _ in range(3))
    with streams.counted(one), streams.counted(two):
        full = pytest.raises(MCPError, match="as many listening streams as it can keep")
        with full, streams.counted(three):
            raise AssertionError
    with streams.counted(three), streams.counted(one):
        pass
    assert not streams.open


def test_each_era_is_promised_what_it_is_served(world: World) -> None:
    body, headers = modern("server/discover")
    capabilities = world.post(body, headers=headers).json()["result"]["capabilities"]
    assert capabilities["tools"] == {"listChanged": True}
    assert capabilities["resources"] == {"listChanged": False, "subscribe": False}
    params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    opening = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}
    capabilities = world.post(opening).json()["result"]["capabilities"]
    assert capabilities["tools"] == {"listChanged": False}
    assert capabilities["resources"] == {"listChanged": False, "subscribe": False}
    listen = {"jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen", "params": {"notifications": {}}}
    answer = world.post(listen, headers=_initialize(world, "2025-11-25", {}))
    assert answer.json()["error"]["code"] == -32601
