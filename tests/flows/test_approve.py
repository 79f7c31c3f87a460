"""The page that approves one call: shows it whole, to one person, and does nothing by being looked at."""

from __future__ import annotations

import asyncio
import html
import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
from mcp import types
from mcp.shared.exceptions import MCPError

from metaagent.agent.failures import ApprovalRequired
from metaagent.agent.service import Agent
from metaagent.agent.types import Answer, Principal, Proposed, Question
from metaagent.endpoint.calls import Call, Calls, Form, Outcome, Retry
from metaagent.endpoint.tools import AskDefaults
from metaagent.visitor import Visitor
from tenants import services as tenants
from tests.flows.test_consent import account, answer
from tests.world import World
from vault import links
from vault.models import Approval, Connection
from vault.services import approve, question

TEXT = "Fixed in <b>2.3</b>\n  See [you](https://elsewhere.example/?q=1)"
ARGS = {"org": "acme", "issue": "1001", "text": TEXT}
SENT = {"mode": "auto", "prompt": "tell them"}


def asked(world: World, connection: Connection | None = None, **changes: Any) -> str:
    """The address of a question, as a client is given it."""
    connection = connection or account(world)
    given: dict[str, Any] = {
        "tenant_id": world.tenant.pk,
        "user_id": world.me.user.pk,
        "connection_id": connection.pk,
        "client": f"key:{world.me.user.memberships.get().client_keys.get().pk}",
        "tool": "comment_on_issue",
        "args": ARGS,
        "sent": SENT,
        "now": datetime.now(UTC),
    }
    return links.approve_url(approve.ask(**{**given, **changes}).pk)


def row_of(url: str) -> Approval:
    return Approval.objects.get(pk=url.rstrip("/").rpartition("/")[2])


def seen(world: World, url: str) -> str:
    """The page, as this person has it."""
    with Visitor() as visitor:
        visitor.open(url)
        world.log_in(visitor)
        assert visitor.page.status_code == 200, visitor.page.text
        return visitor.page.text


def exact(page: str) -> list[str]:
    """The values on the page, as a person would read them out."""
    found = re.findall(r'<div class="exact">(.*?)</div>', page, re.DOTALL)
    return [html.unescape(re.sub(r"<[^>]*>", "", value)) for value in found]


# --- what it says


def test_the_page_shows_who_as_which_account_what_and_every_argument(world: World) -> None:
    url = asked(world)
    assert url.startswith(f"{world.product.url}/approve/")
    page = seen(world, url)
    for words in (
        "Do this in Sentry, once?",
        "<bdi>test</bdi>",
        "ada@example.com",
        world.me.user.email,
        "Test tenant",
        "Add a comment to an issue.",
        "comment_on_issue",
        "Changes something.",
        "exactly this, once",
        "You can answer for",
    ):
        assert words in page, words
    assert exact(page) == ["acme", "1001", TEXT]
    assert "<b>2.3</b>" not in page
    assert '<a href="https://elsewhere' not in page


def test_a_long_value_folds_and_is_all_there(world: World) -> None:
    text = " ".join(map(str, range(1, 5_000)))
    shown = exact(seen(world, asked(world, args={**ARGS, "text": text})))
    assert shown[2:] == [f"{text[:400]}…", text]


def test_values_that_are_no_text_are_shown_as_they_will_be_sent(world: World) -> None:
    page = seen(world, asked(world, args={**ARGS, "text": "", "more": {"a": [1, True, None]}, "none": None}))
    assert exact(page)[2:] == ['{\n  "a": [\n    1,\n    true,\n    null\n  ]\n}', "null"]
    assert '<span class="muted">empty</span>' in page


@pytest.mark.parametrize(
    "char",
    ["\u202e", "\u2066", "\u200b", "\u200d", "\ufeff", "\u00ad", "\ufe0f", "\U000e0041", "\u3164", "\u0000", "\r"],
)
def test_what_hides_or_turns_text_round_is_made_visible(world: World, char: str) -> None:
    code = f"U+{ord(char):04X}"
    page = seen(world, asked(world, args={**ARGS, "text": f"a{char}b", f"to{char}": "x"}))
    assert char not in page.replace("\r\n", "")
    assert exact(page)[2] == f"a{code}b"
    assert f"{code}</code>" in page.partition("<dt><bdi>to")[2][:120]


def test_a_tool_without_arguments_says_so(world: World) -> None:
    page = seen(world, asked(world, tool="who_am_i", args={}))
    assert "It is given nothing else." in page
    assert "Reads only" in page


# --- answering


def test_approved_it_says_so_and_is_taken_once(world: World) -> None:
    url = asked(world)
    page = answer(world, url).page.text
    assert "Return to your client and ask again" in page
    row = row_of(url)
    assert row.given_at
    question.use(row, now=datetime.now(UTC), run_id="run_1")
    with Visitor() as visitor:
        visitor.open(url)
        world.log_in(visitor)
        assert visitor.page.status_code == 410
        assert "used already" in visitor.page.text
    [event] = world.events("approval.give.done")
    assert (event.user_id, event.tool) == (world.me.user.pk, "comment_on_issue")


def test_declined_it_may_still_be_approved(world: World) -> None:
    url = asked(world)
    assert "You said no" in answer(world, url, "decline").page.text
    assert row_of(url).given_at is None
    assert world.events("approval.give.refused")
    answer(world, url)
    assert row_of(url).given_at


def test_approved_by_mistake_it_can_be_taken_back(world: World) -> None:
    url = asked(world)
    with Visitor() as visitor:
        visitor.open(url)
        world.log_in(visitor)
        visitor.send(visitor.form_with("answer"), answer="allow")
        visitor.send(next(form for form in visitor.forms() if "withdraw" in form.action))
        assert "Your permission is withdrawn" in visitor.page.text
        assert visitor.open(url).status_code == 410
    assert row_of(url).withdrawn_at


def test_too_late_it_cannot_be_answered(world: World) -> None:
    url = asked(world)
    Approval.objects.filter(pk=row_of(url).pk).update(answer_until=datetime.now(UTC) - timedelta(seconds=1))
    with Visitor() as visitor:
        visitor.open(url)
        world.log_in(visitor)
        assert visitor.page.status_code == 410
        assert "too old" in visitor.page.text


def test_what_cannot_be_shown_cannot_be_approved(world: World) -> None:
    url = asked(world)
    with Visitor() as visitor:
        visitor.open(url)
        world.log_in(visitor)
        form = visitor.form_with("answer")
        Approval.objects.filter(pk=row_of(url).pk).update(sealed=b"something else")
        visitor.send(form, answer="allow")
        assert visitor.page.status_code == 410
        assert "not what was asked" in visitor.page.text
    assert row_of(url).given_at is None


# --- who may


def test_somebody_else_cannot_see_or_answer_it(world: World) -> None:
    url, other = asked(world), world.person()
    with Visitor() as visitor:
        visitor.open(url)
        world.log_in(visitor, other)
        assert visitor.page.status_code == 403
        assert "made for someone else" in visitor.page.text
        for secret in ("ada@example.com", "comment_on_issue", "2.3", world.me.user.email):
            assert secret not in visitor.page.text
        token = visitor.forms()[0].fields["csrfmiddlewaretoken"]
        for where in (url, f"{url}withdraw/"):
            body = {"csrfmiddlewaretoken": token, "answer": "allow"}
            refused = visitor.http.post(where, data=body, headers={"Referer": url})
            assert refused.status_code in {403, 404}
    assert row_of(url).given_at is None
    event = world.events("connect.open.wrong_person")[0]
    assert event.detail["opened_by"] == str(other.user.pk)


def test_whoever_left_the_tenant_cannot_answer(world: World) -> None:
    url = asked(world)
    tenants.remove_member(membership=world.me.user.memberships.get(), by=None)
    with Visitor() as visitor:
        visitor.open(url)
        world.log_in(visitor)
        assert visitor.page.status_code == 403


def test_a_question_nobody_asked_is_not_found(world: World) -> None:
    with Visitor() as visitor:
        visitor.open(f"{world.product.url}/approve/{world.tenant.pk}/")
        world.log_in(visitor)
        assert visitor.page.status_code == 404


def test_looking_changes_nothing_and_answering_needs_the_page_s_own_form(world: World) -> None:
    url = asked(world)
    with Visitor() as visitor:
        visitor.open(url)
        world.log_in(visitor)
        before = Approval.objects.filter(tenant=world.tenant).values().get()
        page = visitor.open(f"{url}?answer=allow")
        assert page.headers["x-frame-options"] == "DENY"
        assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
        assert "no-store" in page.headers["cache-control"]
        assert visitor.http.head(url).status_code == 405
        assert visitor.http.post(url, data={"answer": "allow"}).status_code == 403
        assert visitor.http.get(f"{url}withdraw/").status_code == 405
    assert Approval.objects.filter(tenant=world.tenant).values().get() == before


def test_what_waits_is_listed_with_a_way_to_it_until_it_is_answered(world: World) -> None:
    url = asked(world)
    with Visitor() as visitor:
        world.log_in(visitor)
        where = f"{world.product.url}/connections/"
        assert url.removeprefix(world.product.url) in visitor.open(where).text
        assert "Waiting for your approval" in visitor.page.text
        question.decline(row_of(url), now=datetime.now(UTC))
        assert "Waiting for your approval" not in visitor.open(where).text
    with Visitor() as visitor:
        world.log_in(visitor, world.person())
        assert "Waiting for your approval" not in visitor.open(f"{world.product.url}/connections/").text


# --- how the question reaches the client


class Proposing:
    """Of an agent only this: proposes one call, and does it once it was approved."""

    def __init__(self, *, declined: bool = False) -> None:
        self.question = Question(uuid4(), "https://here.example/approve/1/", declined)
        self.approved = False
        self.polled: list[UUID] = []

    async def ask(self, *_: object) -> Answer:
        if self.approved:
            return Answer("Done.", "run_2", "approved")
        call = Proposed(uuid4(), "comment_on_issue", ARGS)
        raise ApprovalRequired("sentry", call.tool, "Add a comment.", "Sentry", call, question=self.question)

    async def answered(self, _: Principal, question_id: UUID) -> bool:
        self.polled.append(question_id)
        self.approved = len(self.polled) > 1
        return self.approved


def told(agent: Proposing, form: Form, retry: Retry | None = None) -> Outcome:
    async def first_use(_: str) -> bool:
        return True

    calls = Calls(cast("Agent", agent), AskDefaults(800), 5.0, first_use)
    call = Call(Principal(uuid4(), "acme", uuid4(), "key:1"), None, url_elicitation=None)
    return asyncio.run(calls.outcome(call, 1, "use_sentry", {"prompt": "tell them"}, form, retry=retry))


def test_a_client_that_opens_links_is_asked_and_its_retry_waits_for_the_answer() -> None:
    agent = Proposing()
    outcome = told(agent, Form.QUESTION)
    assert isinstance(outcome, types.InputRequiredResult)
    state = outcome.request_state or ""
    assert json.loads(state)["question"] == str(agent.question.id)
    [request] = (outcome.input_requests or {}).values()
    assert isinstance(request.params, types.ElicitRequestURLParams)
    assert request.params.url == agent.question.url
    done = told(agent, Form.QUESTION, Retry(state, accepted=True))
    assert isinstance(done, dict)
    assert not done["isError"]
    assert agent.polled == [agent.question.id] * 2


def test_opened_and_not_answered_is_not_asked_again() -> None:
    agent = Proposing()
    outcome = told(agent, Form.QUESTION)
    assert isinstance(outcome, types.InputRequiredResult)
    again = told(agent, Form.QUESTION, Retry(outcome.request_state or "", accepted=False))
    assert isinstance(again, dict)
    assert again["structuredContent"]["error"]["approve_url"] == agent.question.url


def test_a_client_of_2025_11_25_gets_the_error_made_for_it() -> None:
    agent = Proposing()
    outcome = told(agent, Form.ERROR)
    assert isinstance(outcome, MCPError)
    assert outcome.error.code == -32042
    assert outcome.error.data["elicitations"][0]["url"] == agent.question.url
    assert outcome.error.data["error"]["code"] == "approval_required"


@pytest.mark.parametrize(("form", "declined"), [(Form.RESULT, False), (Form.QUESTION, True), (Form.ERROR, True)])
def test_every_other_client_and_whoever_declined_gets_a_plain_result(form: Form, *, declined: bool) -> None:
    agent = Proposing(declined=declined)
    outcome = told(agent, form)
    assert isinstance(outcome, dict)
    assert outcome["isError"]
    error = outcome["structuredContent"]["error"]
    assert (error["code"], error["tool"]) == ("approval_required", "comment_on_issue")
    assert agent.question.url in outcome["content"][0]["text"]
    assert ("just declined" in outcome["content"][0]["text"]) == declined
