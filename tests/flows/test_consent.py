"""Consent: asked before a client acts in somebody's name, answered on a page by that person alone, good for no more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import transaction
from mcp import types
from mcp.client.context import ClientRequestContext

from metaagent.visitor import Visitor
from providers import services as providers
from tenants import services as tenants
from tenants import standing
from tenants.models import ClientKey
from tests.endpoint.test_tool import CALL, _initialize
from tests.environment import MISSING
from tests.sights import FOCUSED, PHONE, Walk, browser, log_in
from tests.world import Person, World, run
from vault.models import Connection, Consent
from vault.services import connect, leave, question, revoke

READ = {"mode": "tool", "tool": "who_am_i"}
SCOPES = ("event:read", "event:write", "org:read", "project:read")


def policy(world: World, word: str) -> None:
    """As the administrator sets it."""
    row = world.installation
    wanted = providers.drafted(
        tenant=world.tenant, slug="sentry", client_id=row.client_id, api_base=row.api_base, consent=word
    )
    providers.store(row=wanted, by=None)


def comment(text: str, issue: str = "1001") -> dict[str, Any]:
    return {"mode": "tool", "tool": "comment_on_issue", "args": {"org": "acme", "issue": issue, "text": text}}


def connect_for_writing(world: World) -> Connection:
    """Connected, with the scope that the writing tools need too."""
    link = connect.offer(
        tenant_id=world.tenant.pk,
        user_id=world.me.user.pk,
        installation_id=world.installation.pk,
        slug="sentry",
        scopes=SCOPES,
        client="",
        now=datetime.now(UTC),
    ).url
    with Visitor() as visitor:
        world.begin(visitor, link)
        world.approve(visitor)
        assert visitor.page.status_code == 200, visitor.page.text
    return Connection.objects.get(tenant=world.tenant)


def account(world: World, label: str = "ada@example.com") -> Connection:
    """Connected as far as anybody can see who does not call the provider: for what is decided before that."""
    return Connection.objects.create(
        tenant=world.tenant,
        installation=world.installation,
        owner=world.me.user,
        account_id=f"sentry:{label}",
        account_label=label,
        scopes=list(SCOPES),
        connected_at=datetime.now(UTC),
    )


def an_issue(world: World) -> str:
    found = world.call_tool("search_issues", org="acme")
    return str(found.structured_content["citations"][0]["ref"])


def answer(world: World, url: str, word: str = "allow", person: Person | None = None) -> Visitor:
    """Open the page as a person does, and press a button."""
    with Visitor() as visitor:
        visitor.open(url)
        world.log_in(visitor, person)
        assert visitor.page.status_code == 200, visitor.page.text
        visitor.send(visitor.form_with("answer"), answer=word)
        assert visitor.page.status_code == 200, visitor.page.text
        return visitor


def allow(world: World) -> None:
    """What pressing the button does, for every open question."""
    for row in Consent.objects.filter(tenant=world.tenant, given_at=None, withdrawn_at=None):
        assert question.give(row, now=datetime.now(UTC))


def asked(world: World, options: dict[str, Any] = READ, **kwargs: Any) -> dict[str, Any]:
    error = world.error("run", options, **kwargs)
    assert error["code"] == "needs_consent", error
    return error


def works(world: World, options: dict[str, Any] = READ, **kwargs: Any) -> bool:
    return not world.ask("run", options, **kwargs).is_error


def another_key(world: World, name: str = "another") -> str:
    member = world.me.user.memberships.get()
    return tenants.create_client_key(membership=member, name=name, now=datetime.now(UTC), by=None)[1]


# --- the policies


def test_on_first_use_the_person_is_asked_and_then_the_same_call_is_answered(world: World) -> None:
    world.connect(email="ada@example.com")
    policy(world, "first_use")
    calls = world.stats()["api_calls"]
    error = asked(world)
    assert error.keys() == {
        *("code", "message", "retryable"),
        *("provider_id", "consent_url", "effect", "summary"),
    }
    assert (error["provider_id"], error["effect"], error["retryable"]) == ("sentry", "read", True)
    assert error["summary"] == "Say which Sentry account this is."
    assert error["consent_url"].startswith(f"{world.product.url}/consent/")
    assert error["consent_url"] in error["message"]
    assert world.stats()["api_calls"] == calls
    page = answer(world, error["consent_url"]).page.text
    assert "Return to your client and ask again" in page
    assert works(world)
    assert works(world, {"mode": "tool", "tool": "list_organizations"})  # the effect, not the tool
    assert [e.kind for e in world.events() if e.kind.startswith("consent.")] == [
        "consent.ask.done",
        "consent.give.done",
    ]
    [given] = world.events("consent.give.done")
    assert (given.user_id, given.client[:4], given.provider) == (world.me.user.pk, "key:", "sentry")
    assert given.detail["effect"] == "read"


def test_a_question_in_plain_words_needs_consent_for_what_it_reads(world: World) -> None:
    world.connect(email="ada@example.com")
    policy(world, "first_use")
    error = world.error("who am I?")
    assert error["code"] == "needs_consent"
    answer(world, error["consent_url"])
    assert "ada@example.com" in world.ask("who am I?").structured_content["text"]


def test_consent_to_reading_is_none_to_changing(world: World) -> None:
    connect_for_writing(world)
    policy(world, "first_use")
    answer(world, asked(world)["consent_url"])
    error = asked(world, comment("hello"))
    assert error["effect"] == "write"
    page = answer(world, error["consent_url"]).page.text
    assert "change things in Sentry" in page
    assert works(world, comment("hello", an_issue(world)))


def test_where_only_changes_are_asked_for_reading_is_free(world: World) -> None:
    connect_for_writing(world)
    policy(world, "writes")
    issue = an_issue(world)
    assert works(world)
    asked(world, comment("hello", issue))
    allow(world)
    assert works(world, comment("hello", issue))
    assert works(world, comment("hello again", issue))


def test_where_every_ask_is_asked_for_each_consent_is_used_once(world: World) -> None:
    world.connect()
    policy(world, "always")
    answer(world, asked(world)["consent_url"])
    asked(world, {"mode": "tool", "tool": "list_organizations"})  # another call
    asked(world, {**READ, "dryRun": False, "tool": "list_projects", "args": {"org": "acme"}})
    assert works(world)
    again = asked(world)  # a replay
    [used] = world.events("consent.use.done")
    assert used.run_id.startswith("run_")
    with Visitor() as visitor:
        visitor.open(f"{world.product.url}/consent/{used.detail['consent']}/")
        world.log_in(visitor)
        assert visitor.page.status_code == 410
    assert used.detail["consent"] not in again["consent_url"]


def test_of_ten_retries_at_once_exactly_one_runs(world: World) -> None:
    world.connect()
    policy(world, "always")
    asked(world)
    allow(world)

    async def retries() -> list[types.CallToolResult]:
        async with world.client() as client:
            calls = (client.call_tool("use_sentry", {"prompt": "run", "options": READ}) for _ in range(10))
            return await asyncio.gather(*calls)

    results = run(retries())
    assert [r.is_error for r in results].count(False) == 1
    refused = {r.structured_content["error"]["consent_url"] for r in results if r.is_error}
    assert len(refused) == 1  # and all the others are shown the same page
    assert len(world.events("consent.use.done")) == 1


def test_a_rehearsal_asks_nobody(world: World) -> None:
    account(world)
    policy(world, "always")
    assert works(world, {**READ, "dryRun": True})
    assert not Consent.objects.filter(tenant=world.tenant).exists()


def test_the_administrator_s_word_counts_at_once(world: World) -> None:
    world.connect()
    assert works(world)
    assert not Consent.objects.filter(tenant=world.tenant).exists()
    policy(world, "first_use")
    asked(world)
    policy(world, "never")
    assert works(world)
    policy(world, "first_use")
    asked(world)
    allow(world)
    policy(world, "always")
    asked(world)


# --- good for no more than was said


def test_a_consent_is_for_one_client(world: World) -> None:
    world.connect()
    policy(world, "first_use")
    asked(world)
    allow(world)
    other = another_key(world)
    assert works(world)
    asked(world, key=other)
    assert works(world)  # what was read for one client is not what is remembered for the other


def test_a_consent_is_for_one_account(world: World) -> None:
    world.connect(email="ada@example.com")
    world.connect_another("bruno@example.com")
    ada, bruno = Connection.objects.filter(tenant=world.tenant).order_by("account_label")
    policy(world, "first_use")
    asked(world, accountId=ada.account_id)
    allow(world)
    assert works(world, accountId=ada.account_id)
    asked(world, accountId=bruno.account_id)


def _ended(world: World) -> None:
    Consent.objects.filter(tenant=world.tenant).update(expires_at=datetime.now(UTC))


def _withdrawn(world: World) -> None:
    row = Consent.objects.get(tenant=world.tenant)
    with Visitor() as visitor:
        visitor.open(f"{world.product.url}/consent/{row.pk}/")
        world.log_in(visitor)
        visitor.send(next(form for form in visitor.forms() if "withdraw" in form.action))
        assert "Your permission is withdrawn" in visitor.page.text


@pytest.mark.parametrize("end", [_ended, _withdrawn])
def test_a_consent_that_has_ended_is_asked_for_anew(world: World, end: Callable[[World], None]) -> None:
    world.connect()
    policy(world, "first_use")
    url = asked(world)["consent_url"]
    allow(world)
    if end is _withdrawn:
        assert works(world)  # so that it is remembered
    end(world)
    assert asked(world)["consent_url"] != url


def test_connecting_again_keeps_what_was_consented_to_unless_more_is_granted(world: World) -> None:
    world.connect(email="ada@example.com")
    policy(world, "first_use")
    asked(world)
    allow(world)
    world.connect_another("ada@example.com")
    assert works(world)
    connect_for_writing(world)
    asked(world)
    [event] = world.events("consent.withdraw.done")
    assert event.detail["why"] == "scopes"


def test_no_consent_outlives_the_connection(world: World) -> None:
    connection = world.connect()
    policy(world, "first_use")
    asked(world)
    allow(world)
    revoke.disconnect(connection=connection, by=world.me.user.pk)
    assert world.connect().pk == connection.pk
    asked(world)
    [event] = world.events("consent.withdraw.done")
    assert event.detail["why"] == "disconnected"


def test_no_consent_outlives_the_membership(world: World) -> None:
    account(world)
    policy(world, "first_use")
    asked(world)
    allow(world)
    leave.remove_member(membership=world.me.user.memberships.get(), by=None, now=datetime.now(UTC))
    assert Consent.objects.get(tenant=world.tenant).withdrawn_at
    assert world.events("consent.withdraw.done")


def test_a_consent_ends_by_the_clock_though_it_is_remembered(world: World) -> None:
    world.connect()
    policy(world, "first_use")
    asked(world)
    allow(world)
    soon = datetime.now(UTC) + timedelta(seconds=0.3)
    Consent.objects.filter(tenant=world.tenant).update(expires_at=soon)
    with transaction.atomic():
        standing.changed()
    while works(world):
        assert datetime.now(UTC) < soon + timedelta(seconds=5)
    asked(world)


def test_a_consent_given_in_another_process_is_seen_before_anybody_is_asked_again(world: World) -> None:
    world.connect()
    policy(world, "first_use")
    asked(world)
    now = datetime.now(UTC)  # and nobody told this process that rights have changed
    Consent.objects.filter(tenant=world.tenant).update(given_at=now, expires_at=now + timedelta(days=1))
    assert works(world)


def test_a_question_left_too_long_cannot_be_answered(world: World) -> None:
    account(world)
    policy(world, "first_use")
    url = asked(world)["consent_url"]
    with Visitor() as visitor:
        visitor.open(url)
        world.log_in(visitor)
        form = visitor.form_with("answer")
        Consent.objects.filter(tenant=world.tenant).update(answer_until=datetime.now(UTC))
        assert visitor.send(form, answer="allow").status_code == 410
    assert asked(world)["consent_url"] != url


def test_an_account_that_was_disconnected_meanwhile_cannot_be_consented_to(world: World) -> None:
    connection = account(world)
    policy(world, "first_use")
    url = asked(world)["consent_url"]
    Connection.objects.filter(pk=connection.pk).update(status="revoked")
    with Visitor() as visitor:
        visitor.open(url)
        world.log_in(visitor)
        assert visitor.page.status_code == 410
        assert "is not connected" in visitor.page.text


def test_asking_again_does_not_make_a_second_question(world: World) -> None:
    account(world)
    policy(world, "first_use")
    assert len({asked(world)["consent_url"] for _ in range(3)}) == 1
    assert len(world.events("consent.ask.done")) == 1


def test_after_a_no_nobody_is_pressed_and_the_person_may_change_their_mind(world: World) -> None:
    world.connect()
    policy(world, "first_use")
    url = asked(world)["consent_url"]
    assert "You said no" in answer(world, url, "decline").page.text
    again = asked(world)
    assert again["consent_url"] == url
    assert "has just declined" in again["message"]
    [refused] = world.events("consent.give.refused")
    assert refused.user_id == world.me.user.pk
    answer(world, url, "allow")
    assert works(world)


# --- who may answer


def test_somebody_else_cannot_see_or_answer_the_question(world: World) -> None:
    account(world)
    policy(world, "first_use")
    url, other = asked(world)["consent_url"], world.person()
    with Visitor() as visitor:
        visitor.open(url)
        world.log_in(visitor, other)
        assert visitor.page.status_code == 403
        assert "made for someone else" in visitor.page.text
        assert "ada@example.com" not in visitor.page.text
        assert world.me.user.email not in visitor.page.text
        token = visitor.forms()[0].fields["csrfmiddlewaretoken"]
        for where in (url, f"{url}withdraw/"):
            body = {"csrfmiddlewaretoken": token, "answer": "allow"}
            refused = visitor.http.post(where, data=body, headers={"Referer": url})
            assert refused.status_code in {403, 404}
    assert Consent.objects.get(tenant=world.tenant).given_at is None
    event = world.events("connect.open.wrong_person")[0]
    assert event.detail["opened_by"] == str(other.user.pk)


def test_whoever_left_the_tenant_cannot_answer(world: World) -> None:
    account(world)
    policy(world, "first_use")
    url = asked(world)["consent_url"]
    tenants.remove_member(membership=world.me.user.memberships.get(), by=None)
    with Visitor() as visitor:
        visitor.open(url)
        world.log_in(visitor)
        assert visitor.page.status_code == 403
        assert "no longer a member" in visitor.page.text


def test_a_question_nobody_asked_is_not_found(world: World) -> None:
    with Visitor() as visitor:
        visitor.open(f"{world.product.url}/consent/{world.tenant.pk}/")
        world.log_in(visitor)
        assert visitor.page.status_code == 404
        assert visitor.open(f"{world.product.url}/consent/nonsense/").status_code == 404


def test_looking_changes_nothing_and_answering_needs_the_page_s_own_form(world: World) -> None:
    account(world)
    policy(world, "first_use")
    url = asked(world)["consent_url"]
    with Visitor() as visitor:
        visitor.open(url)
        world.log_in(visitor)
        before = Consent.objects.filter(tenant=world.tenant).values().get()
        page = visitor.open(f"{url}?answer=allow")
        assert page.headers["x-frame-options"] == "DENY"
        assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
        assert "no-store" in page.headers["cache-control"]
        assert visitor.http.head(url).status_code == 405
        assert visitor.http.post(url, data={"answer": "allow"}).status_code == 403
        assert visitor.http.get(f"{url}withdraw/").status_code == 405
    assert Consent.objects.filter(tenant=world.tenant).values().get() == before


# --- what the page says


def test_the_page_says_what_as_which_account_for_which_client_and_until_when(world: World) -> None:
    account(world)
    policy(world, "first_use")
    with Visitor() as visitor:
        visitor.open(asked(world)["consent_url"])
        world.log_in(visitor)
        page = visitor.page.text
    until = datetime.now(UTC) + timedelta(days=90)
    for words in (
        "Let your client read from Sentry?",
        "<bdi>test</bdi>",
        "ada@example.com",
        world.me.user.email,
        "Test tenant",
        "See issues and their events",
        "Say which Sentry account this is.",
        "It changes and deletes nothing",
        until.strftime("%Y"),
    ):
        assert words in page, words
    for words in ("Resolve issues", "Add a comment"):
        assert words not in page, words


def test_the_page_of_one_ask_shows_what_it_would_do(world: World) -> None:
    account(world)
    policy(world, "always")
    with Visitor() as visitor:
        visitor.open(asked(world, comment("Fixed in <b>2.3</b>\nSee you", "1001"))["consent_url"])
        world.log_in(visitor)
        page = visitor.page.text
        assert "Add a comment to an issue." in page
        assert "Fixed in &lt;b&gt;2.3&lt;/b&gt;<br>See you" in page
        assert "1001" in page
        assert "Mark an issue as resolved" not in page
        visitor.open(world.error("<who am I?>")["consent_url"])
        assert "&lt;who am I?&gt;" in visitor.page.text


def test_what_is_too_long_to_show_is_said_to_be(world: World) -> None:
    account(world)
    policy(world, "always")
    with Visitor() as visitor:
        visitor.open(asked(world, comment("long " * 2_000))["consent_url"])
        world.log_in(visitor)
        assert "long long" not in visitor.page.text
        assert "too long to show" in visitor.page.text


def test_a_hostile_client_name_is_only_text(world: World) -> None:
    account(world)
    policy(world, "first_use")
    name = "<script>alert(1)</script>\u202e{{ 7|add:7 }}"
    key = another_key(world, name)
    assert ClientKey.objects.filter(name=name).exists()
    with Visitor() as visitor:
        url = asked(world, key=key)["consent_url"]
        visitor.open(url)
        world.log_in(visitor)
        shown = "<bdi>&lt;script&gt;alert(1)&lt;/script&gt;\u202e{{ 7|add:7 }}</bdi>"
        assert shown in visitor.page.text
        visitor.send(visitor.form_with("answer"), answer="allow")
        assert shown in visitor.page.text
        assert "<script>" not in visitor.page.text


# --- how the question reaches the client


def _by(person: Callable[[str], object], seen: list[str]) -> Any:
    """A client that opens links: somebody does something with the page while it says that it was opened."""

    async def opens(_: ClientRequestContext, params: types.ElicitRequestParams) -> types.ElicitResult:
        assert isinstance(params, types.ElicitRequestURLParams)
        assert "needs consent first. Open this page" in params.message
        seen.append(params.url)
        asyncio.get_running_loop().run_in_executor(None, person, params.url)
        return types.ElicitResult(action="accept")

    return opens


def test_a_modern_client_waits_for_the_answer_and_then_has_its_own(world: World) -> None:
    world.connect()
    policy(world, "always")
    seen: list[str] = []

    async def call() -> types.CallToolResult:
        async with world.client(elicitation_callback=_by(lambda url: answer(world, url), seen)) as client:
            return await client.call_tool("use_sentry", {"prompt": "who am I?"})

    assert not run(call()).is_error
    assert len(seen) == 1


def test_a_no_is_told_to_the_client_and_not_followed_by_the_same_question(world: World) -> None:
    account(world)
    policy(world, "first_use")
    seen: list[str] = []

    async def call() -> list[types.CallToolResult]:
        async with world.client(elicitation_callback=_by(lambda url: answer(world, url, "decline"), seen)) as client:
            return [await client.call_tool("use_sentry", {"prompt": "who am I?"}) for _ in range(2)]

    results = run(call())
    assert len(seen) == 1
    assert [r.structured_content["error"]["code"] for r in results] == ["needs_consent"] * 2
    assert all("has just declined" in r.structured_content["text"] for r in results)


def test_a_client_may_be_asked_to_connect_and_then_for_consent_in_one_call(world: World) -> None:
    policy(world, "first_use")
    seen: list[str] = []

    def helps(url: str) -> None:
        if "/connect/" in url:
            with Visitor() as visitor:
                world.begin(visitor, url)
                world.approve(visitor)
        else:
            answer(world, url)

    async def opens(_: ClientRequestContext, params: types.ElicitRequestParams) -> types.ElicitResult:
        assert isinstance(params, types.ElicitRequestURLParams)
        seen.append(params.url)
        asyncio.get_running_loop().run_in_executor(None, helps, params.url)
        return types.ElicitResult(action="accept")

    async def call() -> types.CallToolResult:
        async with world.client(elicitation_callback=opens) as client:
            return await client.call_tool("use_sentry", {"prompt": "who am I?"})

    assert not run(call()).is_error
    assert ["/connect/" in url for url in seen] == [True, False]


def test_a_2025_11_25_client_that_opens_links_gets_the_error_made_for_it(world: World) -> None:
    account(world)
    policy(world, "first_use")
    headers = _initialize(world, "2025-11-25", {"elicitation": {"url": {}}})
    error = world.post(CALL, headers=headers).json()["error"]
    assert error["code"] == -32042
    [elicitation] = error["data"]["elicitations"]
    assert "/consent/" in elicitation["url"]
    assert error["data"]["error"]["code"] == "needs_consent"


def test_every_other_client_gets_a_plain_result(world: World) -> None:
    account(world)
    policy(world, "first_use")
    for version in ("2025-11-25", "2025-06-18", "2024-11-05"):
        result = world.post(CALL, headers=_initialize(world, version, {})).json()["result"]
        assert result["isError"]
        error = result["structuredContent"]["error"]
        assert error["code"] == "needs_consent"
        assert error["consent_url"] in result["content"][0]["text"]


# --- in a real browser


@pytest.mark.browser
@pytest.mark.skipif("chromium" in MISSING, reason=MISSING.get("chromium", ""))
def test_the_page_is_read_and_answered_on_a_phone_by_keyboard(world: World) -> None:
    account(world, "a-rather-long-name-of-an-account-that-has-to-be-broken-somewhere@example.com")
    policy(world, "first_use")
    url = asked(world, key=another_key(world, "W" * 80))["consent_url"]
    policy(world, "always")
    once = asked(world, comment("x" * 300 + "\n" + "y " * 300))["consent_url"]
    walk = Walk(world.product.url)
    with browser(width=PHONE) as page:
        walk.listen(page)
        page.goto(url)
        log_in(page, world)
        page.locator("summary").click()
        walk.look(page, "question")
        page.mouse.click(0, 0)
        for _ in range(40):
            page.keyboard.press("Tab")
            focused = page.evaluate(FOCUSED)
            assert focused["seen"], focused["it"]
            if ">Allow<" in focused["it"]:
                break
        page.keyboard.press("Enter")
        page.get_by_role("heading", name="Allowed").wait_for()
        walk.look(page, "allowed")
        page.goto(once)
        walk.look(page, "once")
        page.get_by_role("button", name="Decline").press("Enter")
        page.get_by_text("You said no.").wait_for()
        walk.look(page, "declined")
        page.goto(f"{world.product.url}/connections/")
        page.locator("summary", has_text="Who may use it").press("Enter")
        assert page.get_by_text("may read").is_visible()
        walk.look(page, "standing")
        page.get_by_role("button", name="Withdraw").press("Enter")
        assert "is withdrawn" in page.get_by_role("status").inner_text()
    assert not walk.wrong, "\n".join(walk.wrong)
    assert not any(row.given_at and not row.withdrawn_at for row in Consent.objects.filter(tenant=world.tenant))
