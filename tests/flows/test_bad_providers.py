"""A provider that misbehaves: one clear sentence, a typed error, an outcome in the log, and nothing half-stored."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from tests.world import World
from vault.models import Connection


@pytest.fixture(autouse=True)
def _behaved(world: World) -> Iterator[None]:
    yield
    world.faults()


@pytest.mark.parametrize(
    ("faults", "code"),
    [
        ({"status": 403}, "capability_miss"),
        ({"status": 404}, "ask_invalid"),
        ({"status": 429, "retry_after_s": 7}, "rate_limited"),
        ({"status": 500}, "provider_unavailable"),
        ({"body": "html"}, "provider_unavailable"),
        ({"body": "empty"}, "provider_unavailable"),
        ({"body": "ten_mb"}, "provider_unavailable"),
    ],
)
def test_a_misbehaving_provider_is_one_clear_sentence(world: World, faults: dict[str, Any], code: str) -> None:
    connection = world.connect()
    world.faults(**faults)
    result = world.ask("run", {"mode": "tool", "tool": "list_organizations"})
    error = result.structured_content["error"]
    assert error["code"] == code, error
    assert error["message"].count("\n") == 0
    assert "Traceback" not in error["message"]
    assert "<" not in error["message"]
    if code == "rate_limited":
        assert (error["retry_after_s"], error["scope"]) == (7, "provider")
    assert [event.kind for event in world.events()][-3:] == ["tool.call.intent", "tool.call.failed", "ask.gate.denied"]
    assert Connection.objects.get(pk=connection.pk).status == "ready"
    world.faults()
    again = world.call_tool("list_organizations")
    assert again.is_error == (code == "rate_limited")  # whoever says to wait is not asked before


def test_a_slow_provider_ends_at_the_deadline(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from metaagent import asgi

    world.connect()
    limits = asgi.runtime.agent._limits
    monkeypatch.setattr(asgi.runtime.agent, "_limits", replace(limits, budget=replace(limits.budget, ms=1_000)))
    world.faults(body="slow_drip")
    began = time.monotonic()
    error = world.error("run", {"mode": "tool", "tool": "list_organizations"})
    assert error["code"] == "provider_unavailable"
    assert "longer than 1 s" in error["message"]
    assert time.monotonic() - began < 10


def test_a_write_needs_its_scope_and_then_happens_once(world: World) -> None:
    world.connect()
    args = {"org": "acme", "issue": "1001001", "text": "looking into it"}
    before = world.stats()["writes"]
    refused = world.error("comment", {"mode": "tool", "tool": "comment_on_issue", "args": args})
    assert (refused["code"], refused["missing_scopes"]) == ("capability_miss", ["event:write"])
    assert world.stats()["writes"] == before


def test_a_question_never_ends_in_a_write(world: World) -> None:
    world.connect()
    before = world.stats()["writes"]
    for prompt in ("resolve issue CHECKOUT-API-5", "comment 'done' on CHECKOUT-API-5", "please delete everything"):
        result = world.ask(prompt)
        assert not result.is_error
        assert "not sure" in result.structured_content["text"]
    assert world.stats()["writes"] == before


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"mode": "tool", "tool": "nonsense"}, "options.tool must be one of"),
        ({"mode": "tool", "tool": "search_issues", "args": {}}, "org"),
        ({"mode": "tool", "tool": "search_issues", "args": {"org": 5}}, "must be of type string"),
        ({"mode": "tool", "tool": "search_issues", "args": {"org": "acme", "colour": "red"}}, "colour"),
    ],
)
def test_wrong_tool_arguments_are_named(world: World, options: dict[str, Any], says: str) -> None:
    world.connect()
    error = world.error("run", options)
    assert error["code"] == "ask_invalid"
    assert says in error["message"]


def test_a_rehearsal_calls_nothing(world: World) -> None:
    world.connect()
    calls = world.stats()["api_calls"]
    options = {"mode": "tool", "tool": "list_organizations", "dryRun": True}
    assert "Nothing was called" in world.ask("run", options).structured_content["text"]
    assert world.stats()["api_calls"] == calls


def test_agent_mode_without_a_model_says_what_works(world: World) -> None:
    world.connect()
    error = world.error("anything", {"mode": "agent"})
    assert error["code"] == "model_unavailable"


def test_too_many_asks_are_told_when_to_come_back(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from metaagent import asgi
    from metaagent.agent.limits import Buckets

    world.connect()
    monkeypatch.setattr(asgi.runtime.agent, "_users", Buckets(2))
    answers = [world.ask("run", {"mode": "tool", "tool": "who_am_i"}) for _ in range(3)]
    assert [answer.is_error for answer in answers] == [False, False, True]
    error = answers[2].structured_content["error"]
    assert (error["code"], error["scope"]) == ("rate_limited", "user")
    assert 1 <= error["retry_after_s"] <= 30
