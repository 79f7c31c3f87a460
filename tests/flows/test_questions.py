"""Plain questions, answered without a model, deterministically, in words a person wants to read."""

from __future__ import annotations

import re

import pytest
from mcp.types import ResourceLink

from tests.world import World

QUESTIONS = [
    ("why are release errors spiking?", "checkout-api@2.14.0"),
    ("is the newest release healthy?", "Crash-free"),
    ("show me the latest issues", "CHECKOUT"),
    ("how many errors in the last 24 hours?", "error"),
    ("what projects do I have?", "checkout-api"),
    ("which organizations am I in?", "acme"),
    ("who am I?", "ada@example.com"),
    ("show me CHECKOUT-API-5", "DeadlockDetected"),
    ("list the releases", "checkout-api@2.14.0"),
    ("unresolved issues assigned to me", "issue"),
]


@pytest.fixture(scope="module")
def connected(product: object, sandbox: object) -> World:
    world = World(product, sandbox)  # type: ignore[arg-type]
    world.connect(email="ada@example.com")
    return world


@pytest.mark.parametrize(("question", "expected"), QUESTIONS)
def test_a_plain_question_is_answered_without_a_model(connected: World, question: str, expected: str) -> None:
    first, again = connected.ask(question), connected.ask(question)
    found = first.structured_content
    assert not first.is_error, found
    assert expected.lower() in found["text"].lower(), found["text"]
    assert found["mode"] == "route"
    assert found["usage"]["modelTurns"] == 0
    assert found["usage"]["toolCalls"] >= 1
    assert any(isinstance(block, ResourceLink) for block in first.content)
    assert _timeless(again.structured_content["text"]) == _timeless(found["text"])


def _timeless(text: str) -> str:
    """Without what is another from minute to minute, and from answer to answer."""
    return re.sub(r"\d+ (?:minute|hour)s?", "", text.partition("metaagent://")[0])


def test_answers_cite_the_provider_s_own_pages(connected: World) -> None:
    found = connected.ask("why are release errors spiking?").structured_content
    urls = [citation["url"] for citation in found["citations"]]
    assert urls
    assert all(url.startswith(f"{connected.sandbox.url}/organizations/acme/") for url in urls)
    assert {citation["tool"] for citation in found["citations"]} == {"explain_spike"}


@pytest.mark.parametrize("question", ["tell me a joke", "what is the weather?", "help", "fix it", "errors in zebra"])
def test_when_not_sure_it_says_what_it_can_do(connected: World, question: str) -> None:
    calls = connected.stats()["writes"]
    result = connected.ask(question)
    text = result.structured_content["text"]
    assert not result.is_error
    assert "not sure" in text
    assert "Sentry" in text
    assert "\n" not in text
    assert connected.stats()["writes"] == calls


def test_a_name_that_fits_several_is_asked_back(product: object, sandbox: object) -> None:
    world = World(product, sandbox)  # type: ignore[arg-type]
    world.connect(email="chioma@example.com")  # a member of three organizations
    text = world.ask("show me the latest issues").structured_content["text"]
    assert "please name one" in text
    assert "acme" in text
    assert not world.ask("show me the latest issues in acme").is_error


def test_the_answer_fits_the_tokens_that_were_asked_for(connected: World) -> None:
    found = connected.ask("show me the latest issues", {"maxTokens": 100}).structured_content
    assert len(found["text"]) <= 300
    assert "metaagent://results/" in found["text"]


def test_the_account_of_one_conversation_is_kept(product: object, sandbox: object) -> None:
    world = World(product, sandbox)  # type: ignore[arg-type]
    world.connect(email="ada@example.com")
    world.connect_another("bruno@example.com")
    accounts = {a["label"]: a["account_id"] for a in world.error("who am I?")["accounts"]}
    options = {"conversation": "c1"}
    world.ask("who am I?", options, accountId=accounts["bruno@example.com"])
    assert "bruno@example.com" in world.ask("who am I?", options).structured_content["text"]
    assert world.error("who am I?", {"conversation": "c2"})["code"] == "account_ambiguous"
