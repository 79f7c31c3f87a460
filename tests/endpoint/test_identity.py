"""Who the server says it is, at each endpoint and in each era, and what it refuses to be asked by other methods."""

from __future__ import annotations

import json
from typing import Any

import pytest

from metaagent import __version__
from metaagent.agent.types import Export
from metaagent.endpoint import identity
from tests.endpoint.test_front import modern
from tests.endpoint.test_tool import _initialize, tokens
from tests.world import World

STAMP = "io.modelcontextprotocol/serverInfo"
SENTRY = {"name": "metaagent-sentry", "title": "Sentry on metaagent", "version": __version__}


def discovered(world: World, path: str) -> dict[str, Any]:
    body, headers = modern("server/discover")
    result: dict[str, Any] = world.post(body, path=f"/mcp/{world.tenant.slug}{path}", headers=headers).json()["result"]
    return result


def initialized(world: World, path: str, version: str = "2025-11-25") -> dict[str, Any]:
    params = {"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    opening = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}
    result: dict[str, Any] = world.post(opening, path=f"/mcp/{world.tenant.slug}{path}").json()["result"]
    return result


def test_a_provider_s_endpoint_introduces_the_provider(world: World) -> None:
    found, opened = discovered(world, "/sentry"), initialized(world, "/sentry")
    assert found["_meta"][STAMP] == opened["serverInfo"] == SENTRY
    assert found["instructions"] == opened["instructions"]
    assert found["instructions"].startswith("Ask use_sentry about ")
    assert tokens(found["instructions"]) <= 40
    assert found["supportedVersions"] == ["2026-07-28"]


def test_a_tenant_s_endpoint_lists_what_this_person_is_shown(world: World) -> None:
    found, opened = discovered(world, ""), initialized(world, "")
    title = f"{world.tenant.slug} on metaagent"
    assert found["_meta"][STAMP] == opened["serverInfo"]
    assert opened["serverInfo"] == {"name": "metaagent", "title": title, "version": __version__}
    assert "use_sentry" in found["instructions"]
    world.installation = world.install(exposure="strict")
    for shown in (discovered(world, ""), initialized(world, "")):
        assert "sentry" not in shown["instructions"].lower()


def test_every_result_of_an_endpoint_has_its_stamp(world: World) -> None:
    """A call that takes the short way, one that does not, and lists."""
    call = {"name": "use_sentry", "arguments": {"prompt": "who am I?"}}
    asked: list[tuple[str, dict[str, Any]]] = [("tools/call", call), ("tools/list", {}), ("resources/list", {})]
    for method, params in asked:
        body, headers = modern(method, **params)
        assert world.post(body, headers=headers).json()["result"]["_meta"][STAMP] == SENTRY
    body, headers = modern("tools/call", **call)
    body["params"]["_meta"]["progressToken"] = 1  # type: ignore[index]
    *_, last = [line[6:] for line in world.post(body, headers=headers).text.splitlines() if line.startswith("data: {")]
    assert json.loads(last)["result"]["_meta"][STAMP] == SENTRY


def test_revisions_before_titles_are_given_none(world: World) -> None:
    for version in ("2024-11-05", "2025-03-26"):
        assert initialized(world, "/sentry", version)["serverInfo"].keys() == {"name", "version"}


@pytest.mark.parametrize("count", [0, 1, 2, 500])
def test_instructions_stay_short(count: int) -> None:
    exports = [Export(f"provider_{n}", f"Provider {n}", "this and that") for n in range(count)]
    assert tokens(identity.instructions(exports)) <= 160


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_no_era_has_a_stream_to_get_or_a_session_to_delete(world: World, method: str) -> None:
    """A 2025 server that pushes nothing may say 405 to both; from 2026-07-28 on there is only POST."""
    session = _initialize(world, "2025-11-25", {})
    for headers in (session, {"MCP-Protocol-Version": "2026-07-28"}, {}):
        given = {"Authorization": f"Bearer {world.me.key}", "Accept": "text/event-stream", **headers}
        with world.product.http as http:
            answer = http.request(method, f"/mcp/{world.tenant.slug}/sentry", headers=given)
        assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
