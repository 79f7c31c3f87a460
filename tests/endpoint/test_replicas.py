"""Two processes on one PostgreSQL and Redis, and a proxy that gives every request to the other one."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest
from django.test import override_settings
from mcp.client import ClientRequestContext
from mcp.client.subscriptions import ToolsListChanged
from mcp.types import (
    CallToolResult,
    ElicitRequestParams,
    ElicitRequestURLParams,
    ElicitResult,
    ResourceLink,
    TextResourceContents,
)

from metaagent.visitor import Visitor
from tests.environment import MISSING
from tests.faults.proxies import RoundRobin
from tests.faults.replicas import Replica
from tests.services import free_port
from tests.world import Served, World, run
from tests.zero_config import Newcomer

pytestmark = pytest.mark.skipif(
    not MISSING.keys().isdisjoint({"postgresql", "redis"}), reason="needs PostgreSQL and Redis"
)
SOON_S, HEARD_S = 3, 10
"""Rights are looked up anew after a second (`STANDING_CACHE_MS`); the rest is for a busy machine."""
QUESTION = {"prompt": "why are release errors spiking?"}


@dataclass
class Split:
    """A world whose product is two processes."""

    world: World
    proxy: RoundRobin

    def by(self, method: str, path: str) -> list[int]:
        """Who answered such requests, in their order."""
        found = (each for each in self.proxy.passed if each.method == method and each.path.startswith(path))
        return [each.target for each in found]

    def give_the_next_to_other_than(self, target: int) -> None:
        """Use up a turn if it is this one's."""
        if self.proxy.next == target:
            with self.world.product.http as http:
                http.get("/healthz")


@pytest.fixture(scope="module")
def product_split(database: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, RoundRobin]]:
    folder, ports = tmp_path_factory.mktemp("replicas"), [free_port(), free_port()]
    with ExitStack() as up:
        proxy = up.enter_context(RoundRobin(*ports))
        served = Served(f"http://127.0.0.1:{proxy.port}")
        redis = os.environ["METAAGENT_TEST_REDIS"].removesuffix("/0") + "/1"  # other tests empty theirs
        ours = {"PUBLIC_URL": served.url, "REDIS_URL": redis, "DJANGO_SETTINGS_MODULE": "tests.settings"}
        theirs = {**os.environ, **ours}
        both = [Replica(port, theirs, folder / f"{port}.log") for port in ports]
        for act in (Replica.ended, Replica.told_to_end):  # both at the same time
            for replica in both:
                up.callback(act, replica)
        for replica in both:
            replica.start()
        for replica in both:
            replica.ready()
        up.enter_context(override_settings(PUBLIC_URL=served.url))
        yield served, proxy


@pytest.fixture
def split(product_split: tuple[Served, RoundRobin], sandbox: Served) -> Split:
    served, proxy = product_split
    proxy.passed.clear()
    return Split(World(served, sandbox), proxy)


def test_what_one_process_began_the_other_finishes(split: Split) -> None:
    newcomer = Newcomer(split.world)

    async def ask() -> tuple[CallToolResult, int, str, int]:
        async with newcomer.client() as client:
            await client.list_tools()  # else it lists them after the answer, to check it
            told = await client.call_tool("use_sentry", QUESTION)
            await newcomer.connect((told.structured_content or {})["error"]["connect_url"])
            answer = await client.call_tool("use_sentry", QUESTION)
            answered_by = split.proxy.passed[-1].target
            link = next(block for block in answer.content if isinstance(block, ResourceLink))
            (stored,) = (await client.read_resource(link.uri)).contents
            assert isinstance(stored, TextResourceContents)
            return answer, answered_by, stored.text, split.proxy.passed[-1].target

    answer, answered_by, stored, read_by = run(ask())
    assert not answer.is_error
    assert "Release" in (answer.structured_content or {})["text"]
    assert stored
    assert answered_by != read_by
    assert split.by("POST", "/o/authorize/") != split.by("POST", "/o/token/")
    assert split.by("POST", "/connect/") != split.by("GET", "/oauth/callback/")


def test_a_session_of_the_handshake_era_is_known_to_both(split: Split) -> None:
    newcomer = Newcomer(split.world)

    async def ask() -> list[dict[str, Any]]:
        async with newcomer.client(mode="legacy") as client:
            told = [await client.call_tool("use_sentry", QUESTION) for _ in range(2)]
            return [(result.structured_content or {})["error"] for result in told]

    assert [error["code"] for error in run(ask())] == ["needs_auth", "needs_auth"]
    assert len(set(split.by("POST", "/mcp/")[-2:])) == 2


def test_a_question_one_process_asked_is_answered_to_the_other(split: Split) -> None:
    newcomer, passed = Newcomer(split.world), split.proxy.passed
    asked_by, answered_by = [], []

    async def open_the_link(_: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult:
        assert isinstance(params, ElicitRequestURLParams)
        asked_by.append(passed[-1].target)
        await newcomer.connect(params.url)
        await asyncio.to_thread(split.give_the_next_to_other_than, asked_by[-1])
        answered_by.append(split.proxy.next)
        return ElicitResult(action="accept")

    async def ask() -> CallToolResult:
        async with newcomer.client(elicitation_callback=open_the_link) as client:
            return await client.call_tool("use_sentry", QUESTION)

    answer = run(ask())
    assert not answer.is_error, answer
    assert len(asked_by) == 1
    assert asked_by != answered_by


def test_who_listens_to_one_hears_what_the_other_did(split: Split) -> None:
    world, passed = split.world, split.proxy.passed
    world.installation = world.install(exposure="strict")  # absent until connected

    def connect(listens_to: int) -> None:
        with Visitor() as visitor:
            world.begin(visitor, f"{world.product.url}/connect/sentry/?tenant={world.tenant.slug}")
            split.give_the_next_to_other_than(listens_to)
            world.approve(visitor)

    async def listen() -> tuple[int, list[str]]:
        url = f"{world.product.url}/mcp/{world.tenant.slug}"
        async with world.client(url=url) as client, client.listen(tools_list_changed=True) as stream:
            listens_to = passed[-1].target
            assert not (await client.list_tools()).tools
            await asyncio.to_thread(connect, listens_to)
            assert isinstance(await asyncio.wait_for(anext(stream), HEARD_S), ToolsListChanged)
            return listens_to, [tool.name for tool in (await client.list_tools()).tools]

    listens_to, tools = run(listen())
    assert tools == ["use_sentry"]
    assert split.by("GET", "/oauth/callback/") != [listens_to]


def test_a_client_that_signed_out_at_one_is_soon_refused_by_both(split: Split) -> None:
    newcomer = Newcomer(split.world)

    async def sign_in() -> None:
        async with newcomer.client():
            pass

    run(sign_in())
    assert newcomer.tokens is not None
    assert newcomer.registered is not None
    token = newcomer.tokens.access_token
    deadline = time.monotonic() + SOON_S
    with split.world.product.http as http:
        form = {"token": token, "client_id": newcomer.registered.client_id}
        http.post("/o/revoke_token/", data=form).raise_for_status()
        answers: list[int] = []
        while answers[-2:] != [401, 401]:
            assert time.monotonic() < deadline, answers
            answers.append(http.post(split.world.endpoint, headers={"Authorization": f"Bearer {token}"}).status_code)
    assert len(set(split.by("POST", "/mcp/")[-2:])) == 2
