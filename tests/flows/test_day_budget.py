"""What a person may use in a day, as a client meets it."""

from __future__ import annotations

from typing import Any

from tests.world import World


def test_when_the_day_s_calls_are_used_up_it_says_so_and_asks_the_provider_nothing(world: World, settings: Any) -> None:
    settings.USER_DAY_CALLS = 2
    world.connect()
    for _ in range(2):
        assert not world.call_tool("list_organizations").is_error
    before = world.stats()["api_calls"]
    error = world.error("run", {"mode": "tool", "tool": "list_organizations"})
    assert (error["code"], error["scope"], error["what"]) == ("budget_exceeded", "user", "calls")
    assert "tomorrow" in error["message"]
    assert world.stats()["api_calls"] == before
    other = world.person()
    world.connect(other)
    assert not world.ask("run", {"mode": "tool", "tool": "list_organizations"}, key=other.key).is_error


def test_what_an_ask_used_and_has_left_is_in_its_usage(world: World) -> None:
    world.connect()
    usage = world.call_tool("list_organizations").structured_content["usage"]
    assert usage["toolCalls"] == 1
    assert usage["callsLeft"] > 0
    assert usage["ms"] >= 0
