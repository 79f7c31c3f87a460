"""What was read a moment ago is given again to exactly the same person, account and question, through /mcp."""

from __future__ import annotations

from typing import Any

import pytest

from tests.flows.test_consent import connect_for_writing
from tests.world import World


@pytest.fixture(autouse=True)
def _caching(monkeypatch: pytest.MonkeyPatch) -> None:
    from metaagent.asgi import runtime

    monkeypatch.setattr(runtime.agent._results, "_most_s", 30)


def read(world: World, **options: Any) -> tuple[int, int]:
    """Requests that went to the provider for one read, and how many calls the cache answered."""
    asked = {"mode": "tool", "tool": "list_projects", "args": {"org": "acme"}}
    result = world.ask("run", asked, **options)
    assert not result.is_error, result
    usage = result.structured_content["usage"]
    return usage["requests"], usage["cacheHits"]


def test_the_same_read_again_asks_nobody_and_is_on_record(world: World) -> None:
    world.connect()
    assert read(world) == (1, 0)
    assert read(world) == (0, 1)
    assert [event.kind for event in world.events()][-4:] == ["tool.call.intent", "tool.call.done"] * 2
    assert world.events("tool.call.done")[-1].detail["cached"] is True


def test_nobody_is_given_what_another_person_or_account_read(world: World) -> None:
    world.connect(email="ada@example.com")
    read(world)
    other = world.person()
    world.connect(other, email="bruno@example.com")
    assert read(world, key=other.key) == (1, 0)


def test_a_new_connection_to_the_same_account_reads_anew(world: World) -> None:
    from vault.services import revoke

    connection = world.connect()
    read(world)
    revoke.disconnect(connection=connection, by=world.me.user.pk)
    world.connect()
    assert read(world) == (1, 0)


def test_after_a_change_nothing_read_before_is_given_again(world: World) -> None:
    connect_for_writing(world)
    read(world)
    written = world.call_tool("comment_on_issue", org="acme", issue="1001001", text="Looking into it.")
    assert not written.is_error, written
    assert read(world) == (1, 0)
