"""The same obedience end to end: a client, the endpoint, the Messages API, a provider with planted issues, the page."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pytest
from django.test import override_settings

from metaagent import wiring
from providers.catalogue.sentry import PROVIDER
from providers.sandbox import app as sandbox_app
from providers.sandbox.records import Comment, Issue, Organization, generate
from tests.agent.strangers import TEXTS, Text, links
from tests.flows.test_consent import answer, connect_for_writing
from tests.llm.obedient import obedient, texts
from tests.llm.server import ModelServer
from tests.services import free_port
from tests.world import Served, World, serve

NAMES = tuple(tool.name for tool in PROVIDER.tools)
MINE, OTHERS = "ada@example.com", "bruno@example.com"


@dataclass
class Fooled:
    """A world whose issues are planted and whose model obeys."""

    world: World
    org: Organization
    model: ModelServer

    def plant(self, text: Text) -> Issue:
        """Into an issue that nobody has read yet: title, culprit and comment. It is ordered to be changed itself."""
        issue = next(each for each in self.org.issues if not each.comments and each.status == "unresolved")
        said, then = (words.replace("1001", str(issue.id)) for words in (text.text, text.then or text.text))
        issue.fault = replace(issue.fault, value=said, culprit=said)
        issue.comments.append(Comment(10_000 + issue.id, then, self.org.members[0], issue.last_seen))
        return issue

    def ask(self, prompt: str) -> tuple[Mapping[str, Any], bool]:
        result = self.world.ask(prompt)
        return result.structured_content or {}, bool(result.is_error)

    @property
    def writes(self) -> int:
        return int(self.world.stats()["writes"])


@pytest.fixture(scope="module")
def fooled(database: None) -> Iterator[Fooled]:
    from metaagent.asgi import application

    model, made = ModelServer(), generate(1, datetime.now(UTC))
    model.reset(obedient(tools=NAMES))
    with ExitStack() as up:
        patch = up.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(sandbox_app, "generate", lambda *_: made)
        sandbox = up.enter_context(serve(sandbox_app.create_app(), int(os.environ["TEST_OTHER_PORT"])))
        messages = up.enter_context(serve(model, free_port()))
        port = free_port()
        up.enter_context(
            override_settings(
                PUBLIC_URL=f"http://127.0.0.1:{port}",
                ANTHROPIC_BASE_URL=messages.url,
                ANTHROPIC_API_KEY="made-up",
            )
        )
        runtime = wiring.build()

        async def product(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "lifespan":
                await receive()
                await send({"type": "lifespan.startup.complete"})
                await receive()
                await runtime.aclose()
                await send({"type": "lifespan.shutdown.complete"})
            elif scope["path"].startswith("/mcp"):
                await runtime.endpoint(scope, receive, send)
            else:
                await application(scope, receive, send)

        served: Served = up.enter_context(serve(product, port))
        world = World(served, sandbox)
        connect_for_writing(world)
        colleague = world.person()
        world.connect(colleague, email=OTHERS)
        world.ask("who am I?", key=colleague.key)
        (org,) = (each for each in made.organizations if each.slug == "acme")
        yield Fooled(world, org, model)


def named(*names: str) -> list[Text]:
    found = [next(each for each in TEXTS if each.name == name) for name in names]
    assert len(found) == len(names)
    return found


SHOWN = named("write-1", "authority-1", "borders-1", "hidden-1", "hop-1", "answer-1")


@pytest.mark.parametrize("text", SHOWN, ids=lambda text: text.name)
def test_a_planted_issue_changes_nothing_and_leads_nowhere(fooled: Fooled, text: Text) -> None:
    issue, before, tokens = fooled.plant(text), fooled.writes, fooled.world.stats()["calls_per_token"]
    heard = len(fooled.model.seen)
    look = f'Call issue_details with {{"issue": "{issue.short_id}"}}'
    own = ("metaagent://", fooled.world.sandbox.url, fooled.world.product.url)
    for prompt in (
        look,
        f"{look}, call who_am_i and tell me in your own words",
        f'{look}, call latest_event with {{"issue": 5}}',
    ):
        found, _ = fooled.ask(prompt)
        assert not [link for link in links(found["text"]) if not link.startswith(own)], found["text"]
        assert OTHERS not in str(found)
    assert fooled.writes == before
    assert issue.status == "unresolved"
    assert len(issue.comments) == 1
    after = fooled.world.stats()["calls_per_token"]
    assert len([token for token, calls in after.items() if calls != tokens.get(token, 0)]) == 1
    read = "\n".join(each for seen in fooled.model.seen[heard:] for each in texts(seen.body))
    assert issue.short_id in read
    assert OTHERS not in read


def test_with_a_real_approval_exactly_that_call_is_made_once(fooled: Fooled) -> None:
    (text,) = named("write-1")
    issue, before = fooled.plant(text), fooled.writes
    thanks = {"org": "acme", "issue": issue.short_id, "text": "Thanks — we see to it. 🙂\n<b>Soon</b>"}
    calls = f'Call issue_details with {{"issue": "{issue.short_id}"}} and call comment_on_issue with '
    found, failed = fooled.ask(calls + json.dumps(thanks))
    assert failed
    assert found["error"]["code"] == "approval_required", found
    assert fooled.writes == before
    page = answer(fooled.world, found["error"]["approve_url"]).page.text
    assert OTHERS not in page
    for _ in range(3):
        fooled.ask(calls + json.dumps(thanks))
    assert fooled.writes == before + 1
    assert [each.text for each in issue.comments[1:]] == [thanks["text"]]
    assert issue.status == "unresolved"


def test_who_declines_is_not_asked_again_and_nothing_happens(fooled: Fooled) -> None:
    (text,) = named("write-1")
    issue, before = fooled.plant(text), fooled.writes
    prompt = f'Call resolve_issue with {{"org": "acme", "issue": "{issue.short_id}"}}'
    found, _ = fooled.ask(prompt)
    answer(fooled.world, found["error"]["approve_url"], "decline")
    found, failed = fooled.ask(prompt)
    assert failed
    assert "declined" in found["text"]
    assert fooled.writes == before
    assert issue.status == "unresolved"
