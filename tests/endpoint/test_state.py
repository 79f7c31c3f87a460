"""`requestState`: what a question left with the client comes back once, from the same one, or not at all."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
from django.conf import settings
from mcp import types
from mcp.server.request_state import AESGCMRequestStateCodec, InvalidRequestState

from metaagent import wiring
from tenants import services as tenants
from tests.world import Served, World, serve
from vault import tasks
from vault.models import UsedState

ASKED = {"prompt": "who am I?"}


@pytest.fixture(scope="module")
def replica(product: Served) -> Iterator[Served]:
    """Another process's endpoint, as far as it shares nothing but the database and the settings."""
    runtime = wiring.build()
    with serve(runtime.endpoint, int(os.environ["TEST_OTHER_PORT"])) as served:
        yield served
    runtime.bridge.close()


def call(
    world: World, *, at: Served | None = None, path: str = "/sentry", key: str | None = None, **params: Any
) -> httpx2.Response:
    """A call by a client that opens links."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {"elicitation": {"url": {}}},
    }
    given = {"name": "use_sentry", "arguments": ASKED, "_meta": meta, **params}
    with (at or world.product).http as http:
        return http.post(
            f"/mcp/{world.tenant.slug}{path}",
            json={"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": given},
            headers={
                "Host": world.product.url.partition("//")[2],
                "Authorization": f"Bearer {key or world.me.key}",
                "Accept": "application/json, text/event-stream",
                "MCP-Protocol-Version": "2026-07-28",
                "Mcp-Method": "tools/call",
                "Mcp-Name": "use_sentry",
            },
        )


def retry(world: World, state: str, **changes: Any) -> httpx2.Response:
    return call(world, requestState=state, inputResponses={"open": {"action": "decline"}}, **changes)


def question(world: World) -> str:
    """The state of a fresh question."""
    state: str = call(world).json()["result"]["requestState"]
    return state


def accepted(answer: httpx2.Response) -> bool:
    if "error" in answer.json():
        assert answer.status_code == 400
        error = answer.json()["error"]
        assert (error["code"], error["message"]) == (types.INVALID_PARAMS, "Invalid or expired requestState")
        return False
    assert answer.json()["result"]["structuredContent"]["error"]["code"] == "needs_auth"
    return True


def test_a_state_comes_back_once(world: World, replica: Served) -> None:
    here, there = question(world), question(world)
    assert accepted(retry(world, here))
    assert not accepted(retry(world, here))
    assert not accepted(retry(world, here, at=replica))
    assert accepted(retry(world, there, at=replica))
    assert not accepted(retry(world, there))


def test_of_many_who_bring_it_together_one_is_first(world: World, replica: Served) -> None:
    from concurrent.futures import ThreadPoolExecutor

    state = question(world)
    with ThreadPoolExecutor(8) as threads:
        places = [world.product, replica] * 4
        came = list(threads.map(lambda at: accepted(retry(world, state, at=at)), places))
    assert sum(came) == 1


def _key_of_another_client(world: World) -> str:
    member = world.me.user.memberships.get()
    _, key = tenants.create_client_key(membership=member, name="other", now=datetime.now(UTC), by=None)
    return key


def _tampered(state: str) -> str:
    middle = len(state) // 2
    return state[:middle] + ("A" if state[middle] != "A" else "B") + state[middle + 1 :]


@pytest.mark.parametrize(
    "changes",
    [
        lambda _world: {"arguments": {"prompt": "who are you?"}},
        lambda _world: {"path": ""},
        lambda world: {"key": world.person().key},
        lambda world: {"key": _key_of_another_client(world)},
    ],
    ids=["other arguments", "another endpoint", "another person", "another client"],
)
def test_a_state_is_good_for_nothing_else(world: World, changes: Callable[[World], dict[str, Any]]) -> None:
    state = question(world)
    assert not accepted(retry(world, state, **changes(world)))
    assert accepted(retry(world, state))  # a refusal does not use it up


@pytest.mark.parametrize("forged", ["", "x", "v1.", "{}", '{"provider": "sentry", "id": "x", "asked": []}'])
def test_a_made_up_state_is_refused(world: World, forged: str) -> None:
    assert not accepted(retry(world, forged or "v1.AAAA"))


def test_an_altered_state_is_refused(world: World) -> None:
    state = question(world)
    assert not accepted(retry(world, _tampered(state)))
    assert not accepted(retry(world, state + "A"))
    assert accepted(retry(world, state))


def test_answers_without_their_state_are_refused(world: World) -> None:
    assert not accepted(call(world, inputResponses={"open": {"action": "accept"}}))


def test_a_state_alone_is_not_asked_the_same_again(world: World) -> None:
    assert accepted(call(world, requestState=question(world)))


def resealed(state: str, **claims: float) -> str:
    codec = AESGCMRequestStateCodec(wiring._ring("mcp-request-state"))
    return codec.seal(json.dumps(json.loads(codec.unseal(state)) | claims).encode())


def test_a_state_expires(world: World) -> None:
    now = time.time()
    assert not accepted(retry(world, resealed(question(world), iat=now - 601, exp=now - 1)))
    assert not accepted(retry(world, resealed(question(world), iat=now + 120, exp=now + 600)))
    assert accepted(retry(world, resealed(question(world), iat=now - 590, exp=now + 10)))


def test_former_secrets_open_what_they_sealed_and_seal_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    old = question(world)
    former = AESGCMRequestStateCodec(wiring._ring("mcp-request-state"))
    monkeypatch.setattr(settings, "SECRET_KEY_FALLBACKS", [settings.SECRET_KEY])
    monkeypatch.setattr(settings, "SECRET_KEY", "another-" * 10)
    ring = AESGCMRequestStateCodec(wiring._ring("mcp-request-state"))
    assert ring.unseal(old) == former.unseal(old)
    with pytest.raises(InvalidRequestState):
        former.unseal(ring.seal(b"new"))
    monkeypatch.setattr(settings, "SECRET_KEY_FALLBACKS", [])
    with pytest.raises(InvalidRequestState):
        AESGCMRequestStateCodec(wiring._ring("mcp-request-state")).unseal(old)


def test_used_states_are_forgotten_when_nobody_would_take_them(world: World) -> None:
    now = datetime.now(UTC)
    UsedState.objects.create(digest="0" * 64, expires_at=now - timedelta(seconds=1))
    UsedState.objects.create(digest="1" * 64, expires_at=now + timedelta(hours=1))
    tasks.forget()
    assert [*UsedState.objects.filter(digest__in=["0" * 64, "1" * 64]).values_list("digest", flat=True)] == ["1" * 64]
