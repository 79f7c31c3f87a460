"""Letting an MCP client in: what a person is told, what they are always asked, and how they shut it out again."""

from __future__ import annotations

import html
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast
from urllib.parse import parse_qs, parse_qsl, quote, urlsplit

import pytest
from django.conf import settings
from django.utils import timezone

from audit.models import AuditEvent
from metaagent.visitor import Visitor
from tenants import services as tenants
from tenants import standing
from tenants.models import ClientKey, Membership
from tenants.oauth import services
from tenants.oauth.models import Client, ClientGrant
from tests.environment import MISSING
from tests.oauth import REDIRECT, OAuthClient
from tests.sights import PHONE, browser, log_in
from tests.world import Person, World

EVIL = "https://evil.example/callback"
FOREIGN = re.compile(r'<bdi class="foreign">(.*?)</bdi>', re.DOTALL)


def known(world: World, redirect_uri: str = REDIRECT, **fields: Any) -> OAuthClient:
    """A client as it is after its registration."""
    row = Client.objects.create(
        client_type="public",
        authorization_grant_type="authorization-code",
        redirect_uris=redirect_uri,
        **{"name": "A test", "registration_source": "dcr", **fields},
    )
    return OAuthClient(world, redirect_uri=redirect_uri, client_id=row.client_id)


@contextmanager
def asked(client: OAuthClient, person: Person | None = None, **changes: str | list[str] | None) -> Iterator[Visitor]:
    """A person before the question, logged in."""
    with Visitor(stops_at=client.redirect_uri) as visitor:
        client.opened(visitor, person, **changes)
        yield visitor


@pytest.fixture
def me(world: World) -> Iterator[Visitor]:
    """The world's person, logged in."""
    with Visitor(stops_at=REDIRECT) as visitor:
        world.log_in(visitor)
        yield visitor


def decide(visitor: Visitor, word: str = "allow", **fields: str) -> int:
    return visitor.send(visitor.form_with("answer"), answer=word, **fields).status_code


def grants(world: World) -> list[ClientGrant]:
    return list(ClientGrant.objects.filter(membership__tenant=world.tenant))


def words(visitor: Visitor) -> str:
    """What the page says, on one line."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", visitor.page.text)).split())


def foreign(visitor: Visitor) -> list[str]:
    """What the page marks as somebody else's words."""
    return [
        html.unescape(found) for found in re.findall(r'<bdi class="foreign">(.*?)</bdi>', visitor.page.text, re.DOTALL)
    ]


def called(world: World, bearer: str) -> int:
    """The status of a call."""
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    return world.post(body, headers={"Authorization": f"Bearer {bearer}"}).status_code


# --- what a person is told


def test_the_page_says_who_asks_for_what_and_where_the_answer_goes(world: World) -> None:
    with asked(known(world, name="Claude Code")) as visitor:
        said = words(visitor)
        assert foreign(visitor) == ["Claude Code", "client.example"]
    for expected in (
        "Not verified",
        "Sends you to client.example",
        f"As {world.me.user.email} in Test tenant",
        f"May use Sentry ({world.endpoint})",
        "unless you end it before",
        settings.MCP_SCOPES["mcp"],
        "End it at any time under Connected apps",
        "If somebody sent you this link, decline.",
    ):
        assert expected in said, expected
    assert "gets the answer" not in said


def test_only_a_client_the_operator_made_is_not_marked_as_unverified(world: World) -> None:
    with asked(known(world, registration_source="manual")) as visitor:
        assert "Not verified" not in words(visitor)
    document = f"https://publisher.example/{world.tenant.slug}.json"
    with asked(known(world, registration_source="cimd", client_id=document)) as visitor:
        assert "Not verified" in words(visitor)
        assert "publisher.example" in foreign(visitor)


def test_a_destination_on_the_persons_own_machine_comes_with_a_warning(world: World, me: Visitor) -> None:
    for uri, told in {
        "http://127.0.0.1:33418/": "a program on this computer ( 127.0.0.1:33418 )",
        "http://localhost:8787/callback": "a program on this computer ( localhost:8787 )",
        "http://[::1]:8787/callback": "a program on this computer ( [::1]:8787 )",
        "cursor://metaagent.verified/callback": "the program on this device that opens cursor: links",
    }.items():
        me.open(known(world, uri).authorize_url())
        said = words(me)
        assert told in said
        assert "gets the answer, and metaagent cannot tell which one" in said
        assert "metaagent.verified" not in said


HOSTILE = {
    "<script>alert(1)</script><b>": "<script>alert(1)</script><b>",
    "Clau\u202ede\u200b\r\n\u2066x": "Clau de x",
    "x" * 255: "x" * 80,
    "a" + "\u0300" * 40: "a" + "\u0300" * 3,
    "\u3164\u2800\u115f": "",
    "Claude” Verified by metaagent “": "Claude” Verified by metaagent “",
    "{{ user.password }}{% csrf_token %}": "{{ user.password }}{% csrf_token %}",
}
"""What a client may call itself, and what becomes of it."""


def test_a_hostile_name_is_only_a_name(world: World, me: Visitor) -> None:
    client = known(world)
    for name, shown in HOSTILE.items():
        Client.objects.filter(client_id=client.client_id).update(name=name)  # whatever a registration lets through
        page = me.open(client.authorize_url()).text
        assert foreign(me) == ([shown] if shown else []) + ["client.example"]
        assert "Not verified" in words(me)
        assert "<script>" not in page
        assert not set(page) & set("\u202e\u2066\u200b")
        ours = FOREIGN.sub("", page)
        assert "Claude" not in ours
        assert "Verified by" not in ours


def test_the_page_cannot_be_framed_and_is_kept_by_nobody(world: World) -> None:
    with asked(known(world)) as visitor:
        headers = visitor.page.headers
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["x-frame-options"] == "DENY"
    assert headers["cache-control"] == "no-store"


# --- always asked


def test_nothing_a_client_says_skips_the_question(world: World, me: Visitor) -> None:
    client = known(world, skip_authorization=True)
    client.signed_in()
    for extra in (
        {},
        {"approval_prompt": "auto"},
        {"prompt": "login"},
        {"prompt": "select_account"},
        {"skip_authorization": "1"},
    ):
        assert me.open(client.authorize_url(**extra)).status_code == HTTPStatus.OK
        assert ("answer", "allow") in me.form_with("answer").buttons
    assert len(grants(world)) == 1


def test_looking_gives_nothing(world: World) -> None:
    with asked(known(world)) as visitor:
        visitor.open(str(visitor.page.url) + "&answer=allow&endpoint=" + quote(world.endpoint))
        assert visitor.page.status_code == HTTPStatus.OK
    assert grants(world) == []


# --- the answer


def test_who_declines_is_taken_back_and_nothing_is_given(world: World) -> None:
    client = known(world)
    with asked(client) as visitor:
        assert decide(visitor, "decline") == HTTPStatus.FOUND
        told = client.answered(visitor)
    assert (told["error"], told["state"], told["iss"]) == ("access_denied", client.state, settings.PUBLIC_URL)
    assert "code" not in told
    assert grants(world) == []
    assert len(world.events("grant.give.refused")) == 1


def test_only_the_word_allow_allows(world: World) -> None:
    client = known(world)
    with asked(client) as visitor:
        decide(visitor, "ALLOW")
        assert client.answered(visitor)["error"] == "access_denied"


@pytest.mark.parametrize("state", ["ünïcödé ✓ 東京 &=?#%+/", "x" * 3_000 + "é", "a+b c%20d"])
def test_logging_in_leads_back_to_the_very_request(world: World, state: str) -> None:
    client = known(world)
    url = client.authorize_url(state=state, extra="kept")
    with Visitor(stops_at=REDIRECT) as visitor:
        visitor.open(url)
        assert visitor.page.url.path == "/login/"
        [onward] = parse_qs(urlsplit(str(visitor.page.url)).query)["next"]
        assert onward.startswith("/o/authorize/?")
        world.log_in(visitor)
        assert visitor.page.url.path == "/o/authorize/"
        assert parse_qsl(visitor.page.url.query.decode()) == parse_qsl(urlsplit(url).query)
        decide(visitor)
        told = client.answered(visitor)
    assert told["state"] == state
    assert client.exchange(told["code"]).status_code == HTTPStatus.OK


def test_logging_in_never_leads_to_a_request_elsewhere(world: World) -> None:
    request = urlsplit(known(world).authorize_url())
    for host in ("https://evil.example", "//evil.example", "/\\evil.example"):
        with Visitor() as visitor:
            visitor.open(f"{world.product.url}/login/?next={quote(f'{host}{request.path}?{request.query}')}")
            world.log_in(visitor)
            assert str(visitor.page.url) == f"{world.product.url}/connections/"


def test_an_answer_from_another_page_is_refused(world: World) -> None:
    with asked(known(world)) as visitor:
        url, fields = str(visitor.page.url), visitor.form_with("answer").fields
        given = {name: values[0] for name, values in fields.items()} | {"answer": "allow"}
        foreign_page = visitor.http.post(url, data=given, headers={"Origin": "https://evil.example"})
        del given["csrfmiddlewaretoken"]
        without_token = visitor.http.post(url, data=given, headers={"Origin": settings.PUBLIC_URL})
    assert (foreign_page.status_code, without_token.status_code) == (403, 403)
    assert grants(world) == []


def test_a_form_cannot_ask_for_something_else_than_the_page_showed(world: World) -> None:
    client = known(world, f"{REDIRECT} {EVIL}")
    client.redirect_uri = REDIRECT
    other = known(world)
    smuggled = {
        "client_id": other.client_id,
        "redirect_uri": EVIL,
        "scope": "mcp offline_access",
        "resource": f"{settings.PUBLIC_URL}/mcp/{world.tenant.slug}",
        "code_challenge": "A" * 43,
        "state": "other",
    }
    with asked(client) as visitor:
        decide(visitor, **smuggled)
        told = client.answered(visitor)
    assert told["state"] == client.state
    [grant] = grants(world)
    assert (grant.client.client_id, grant.resource, grant.scope) == (client.client_id, world.endpoint, "mcp")
    assert client.exchange(told["code"]).status_code == HTTPStatus.OK


def test_an_endpoint_the_page_did_not_show_is_not_given(world: World) -> None:
    elsewhere = World(world.product, world.sandbox)
    for wanted in (elsewhere.endpoint, f"{settings.PUBLIC_URL}/mcp/{world.tenant.slug}", ""):
        with asked(known(world)) as visitor:
            assert decide(visitor, endpoint=wanted) == HTTPStatus.BAD_REQUEST
            assert "Choose what the client may use." in words(visitor)
    assert grants(world) == grants(elsewhere) == []


def test_who_has_lost_the_membership_since_is_told_so_and_gives_nothing(world: World) -> None:
    client = known(world)
    with asked(client) as visitor:
        member = Membership.objects.get(tenant=world.tenant, user=world.me.user)
        tenants.remove_member(membership=member, by=None)
        assert decide(visitor) == HTTPStatus.FORBIDDEN
        assert f"This account, {world.me.user.email}, is not" in words(visitor)
        assert "log out, then start again in your client" in words(visitor)
        [back] = re.findall(r'href="(https://client.example[^"]*)"', visitor.page.text)
    told = dict(parse_qsl(urlsplit(html.unescape(back)).query))
    assert (told["error"], told["state"], told["iss"]) == ("invalid_target", client.state, settings.PUBLIC_URL)
    assert grants(world) == []


def test_a_client_that_has_made_room_for_others_meanwhile_is_given_nothing(world: World) -> None:
    client = known(world)
    row = Client.objects.get(client_id=client.client_id)
    with asked(client) as visitor:
        Client.objects.filter(pk=row.pk).delete()
        assert decide(visitor) == HTTPStatus.BAD_REQUEST
        assert "This client cannot be let in" in words(visitor)
    member = Membership.objects.get(tenant=world.tenant, user=world.me.user)
    with pytest.raises(Client.DoesNotExist):
        services.give(
            membership=member, client=row, resource=world.endpoint, scope="mcp", destination="x", now=timezone.now()
        )
    assert grants(world) == []


def test_an_endpoint_of_others_looks_like_one_that_is_not_there(world: World) -> None:
    elsewhere = World(world.product, world.sandbox)
    pages = []
    for wanted in (elsewhere.endpoint, f"{settings.PUBLIC_URL}/mcp/nobody-{world.tenant.slug}/sentry"):
        with asked(known(world), resource=wanted) as visitor:
            assert visitor.page.status_code == HTTPStatus.FORBIDDEN
            pages.append(words(visitor).replace(wanted, ""))
    assert pages[0] == pages[1]


# --- choosing


def test_a_request_that_names_no_endpoint_lets_the_person_choose(world: World) -> None:
    other = tenants.create_tenant(slug=f"{world.tenant.slug}-b", name="Other tenant", by=None)
    tenants.add_member(tenant=other, user=world.me.user, role="member", by=None)
    client = known(world)
    with asked(client, resource=None) as visitor:
        radios = re.findall(r"<input[^>]*radio[^>]*>", visitor.page.text)
        assert len(radios) == 3
        assert not any("checked" in radio for radio in radios)
        assert words(visitor).index("In Other tenant") < words(visitor).index("In Test tenant")
        assert decide(visitor) == HTTPStatus.BAD_REQUEST
        assert grants(world) == []
        decide(visitor, endpoint=world.endpoint)
        given = client.exchange(client.answered(visitor)["code"]).json()
    [grant] = grants(world)
    assert grant.resource == world.endpoint
    assert called(world, given["access_token"]) == HTTPStatus.OK
    with asked(client, resource=None) as visitor:
        decide(visitor, "decline")
        assert client.answered(visitor)["error"] == "access_denied"
    declined = AuditEvent.objects.filter(tenant_id__in=[world.tenant.pk, other.pk], kind="grant.give.refused")
    assert not declined.exists()  # in which tenant? in none


def test_with_one_endpoint_there_is_nothing_to_choose(world: World) -> None:
    bare = tenants.create_tenant(slug=f"{world.tenant.slug}-c", name="Bare tenant", by=None)
    person = world.person(tenant=bare)
    client = known(world)
    with asked(client, person, resource=None) as visitor:
        assert "May use Every provider" in words(visitor)
        decide(visitor)
        assert client.answered(visitor)["code"]
    [grant] = ClientGrant.objects.filter(membership__tenant=bare)
    assert grant.resource == f"{settings.PUBLIC_URL}/mcp/{bare.slug}"


# --- what cannot be asked


def test_nobody_is_sent_to_an_address_that_is_not_registered(world: World, me: Visitor) -> None:
    client, sent_on = known(world), []
    wrong: list[dict[str, Any]] = [
        {"client_id": "nobody"},
        {"client_id": None},
        {"client_id": ""},
        {"client_id": "\0"},
        {"redirect_uri": None},
        {"redirect_uri": ""},
        {"redirect_uri": EVIL},
        {"redirect_uri": f"{REDIRECT}/"},
        {"redirect_uri": f"{REDIRECT}?x=1"},
        {"redirect_uri": f"{REDIRECT}#x"},
        {"redirect_uri": f"{REDIRECT}@evil.example"},
        {"redirect_uri": "https://client.example.evil.example/callback"},
        {"redirect_uri": "http://client.example/callback"},
        {"redirect_uri": "https://client.example:8443/callback"},
        {"redirect_uri": "javascript:alert(1)"},
        {"redirect_uri": [REDIRECT, EVIL]},
        {"redirect_uri": EVIL, "prompt": "none"},
        {"redirect_uri": EVIL, "response_type": "token"},
        {"redirect_uri": EVIL, "resource": "https://elsewhere.example"},
    ]
    for url in [*(client.authorize_url(**changes) for changes in wrong), f"{client.authorize_url()}&state=%zz"]:
        answer = me.http.get(url)
        kept = "This client cannot be let in" in answer.text and "evil.example" not in answer.text
        if (answer.status_code, "location" in answer.headers, kept) != (HTTPStatus.BAD_REQUEST, False, True):
            sent_on.append(url)
    assert sent_on == []


def test_a_client_without_a_person_is_sent_nowhere(world: World) -> None:
    with Visitor() as visitor:
        visitor.open(known(world).authorize_url(response_type="token"))
        assert visitor.page.url.path == "/login/"


def test_every_other_mistake_is_the_clients_to_hear(world: World, me: Visitor) -> None:
    client, unheard = known(world), []
    for error, wrong in {
        "unsupported_response_type": [{"response_type": "token"}],
        "invalid_request": [
            {"response_type": None},
            {"response_mode": "fragment"},
            {"code_challenge": None},
            {"code_challenge": "short"},
            {"code_challenge_method": "plain"},
            {"code_challenge_method": None},
        ],
        "consent_required": [{"prompt": "none"}],
        "invalid_target": [
            {"resource": ""},
            {"resource": f"{settings.PUBLIC_URL}/mcp/"},
            {"resource": "https://elsewhere.example/mcp/a/sentry"},
            {"resource": [world.endpoint, "https://elsewhere.example"]},
        ],
    }.items():
        for changes in cast("list[dict[str, Any]]", wrong):
            where = me.open(client.authorize_url(**changes)).headers.get("location", "")
            told = dict(parse_qsl(urlsplit(where).query))
            same = (told.get("error"), told.get("state"), told.get("iss")) == (error, client.state, settings.PUBLIC_URL)
            if not (where.startswith(f"{REDIRECT}?") and same):
                unheard.append(changes)
    assert unheard == []
    assert grants(world) == []


# --- in a real browser: it holds every redirect of a form to the page's own policy


class Program(BaseHTTPRequestHandler):
    """A program on this computer that waits for an answer, and may hand over to another."""

    def do_GET(self) -> None:
        """Thanks, or onward."""
        onward = {"/native": "claude://done", "/site": "https://client.example/done"}.get(urlsplit(self.path).path)
        self.send_response(HTTPStatus.FOUND if onward else HTTPStatus.OK)
        if onward:
            self.send_header("Location", onward)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def listening() -> Iterator[str]:
    """A program's address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Program) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.browser
@pytest.mark.skipif("chromium" in MISSING, reason=MISSING.get("chromium", ""))
def test_a_browser_arrives_wherever_a_client_may_be(world: World) -> None:
    with listening() as program:
        destinations = {
            f"{program}/callback": f"{program}/callback?code=",
            f"{program}/site": "https://client.example/done",
            "http://[::1]:33418/callback": "http://[::1]:33418/callback?code=",
            REDIRECT: f"{REDIRECT}?code=",
            f"{program}/native": "claude://done",
            "cursor://anysphere.cursor-mcp/oauth/callback": "cursor://anysphere.cursor-mcp/oauth/callback?code=",
        }
        urls = {known(world, uri).authorize_url(): arrives for uri, arrives in destinations.items()}
        with browser() as first:
            first.goto(f"{world.product.url}/login/")
            log_in(first, world)
            first.wait_for_url("**/connections/")
            assert first.context.browser
            visit = first.context.browser.new_context(storage_state=first.context.storage_state())
            for url, arrives in urls.items():
                page = visit.new_page()
                page.goto(url)
                with page.expect_request(re.compile(f"^{re.escape(arrives)}"), timeout=10_000):
                    page.get_by_role("button", name="Allow").click()
                page.close()


@pytest.mark.browser
@pytest.mark.skipif("chromium" in MISSING, reason=MISSING.get("chromium", ""))
def test_choosing_and_ending_need_neither_mouse_nor_script(world: World) -> None:
    with listening() as program:
        client = known(world, f"{program}/callback")
        with browser(scripts=False, width=PHONE) as page:
            page.goto(client.authorize_url(resource=None))
            log_in(page, world)
            page.get_by_role("button", name="Allow").press("Enter")
            assert page.url.startswith(f"{world.product.url}/o/authorize/")  # the browser itself asks to choose
            page.get_by_role("radio").first.press("Space")
            with page.expect_request(lambda sent: sent.url.startswith(f"{program}/callback?code=")) as arrived:
                page.get_by_role("button", name="Allow").press("Enter")
            code = parse_qs(urlsplit(arrived.value.url).query)["code"][0]
            page.goto(client.authorize_url(resource=None))
            with page.expect_request(lambda sent: "error=access_denied" in sent.url):
                page.get_by_role("button", name="Decline").press("Enter")
            client.exchange(code)
            page.goto(f"{world.product.url}/apps/")
            button = page.get_by_role("button", name="End it now")
            assert button.count() == 0  # not at the first touch
            page.locator("summary", has_text="A test").press("Enter")
            button.press("Enter")
            assert "is shut out" in page.get_by_role("status").inner_text()


# --- Connected apps


@contextmanager
def apps(world: World, person: Person | None = None) -> Iterator[Visitor]:
    with Visitor() as visitor:
        world.log_in(visitor, person)
        visitor.open(f"{world.product.url}/apps/")
        yield visitor


def end(visitor: Visitor, ident: object) -> str:
    """End a grant or a key, as its owner does; what the page says then."""
    visitor.send(next(form for form in visitor.forms() if str(ident) in form.action))
    return words(visitor)


def test_everything_that_may_call_for_a_person_is_listed(world: World) -> None:
    known(world, name="Claude Code").signed_in()
    known(world, name="Only asked").code()
    with apps(world) as visitor:
        said = words(visitor)
        assert foreign(visitor) == ["Claude Code", "client.example"]
    assert "Not verified" in said
    assert f"Sentry in Test tenant ({world.endpoint})" in said
    assert ClientKey.objects.get(membership__user=world.me.user).prefix in said
    assert "Only asked" not in said


def test_a_client_that_is_ended_is_refused_at_its_next_call(world: World) -> None:
    client = known(world)
    given = client.signed_in()
    [grant] = grants(world)
    with apps(world) as visitor:  # logging in changes a person, and with that what is remembered
        assert called(world, given["access_token"]) == HTTPStatus.OK
        assert "is shut out" in end(visitor, grant.pk)
        assert called(world, given["access_token"]) == HTTPStatus.UNAUTHORIZED
        assert "Let in by you" not in words(visitor)
    assert client.refresh(given["refresh_token"]).json()["error"] == "invalid_grant"
    assert called(world, world.me.key) == HTTPStatus.OK
    [event] = world.events("grant.end.done")
    assert event.user_id == world.me.user.pk


def test_a_key_that_is_ended_is_refused_at_its_next_call(world: World) -> None:
    key = ClientKey.objects.get(membership__user=world.me.user)
    with apps(world) as visitor:
        assert called(world, world.me.key) == HTTPStatus.OK
        assert f"The key {key.prefix}… is ended" in end(visitor, key.pk)
        assert called(world, world.me.key) == HTTPStatus.UNAUTHORIZED
        assert "No client is let in" in words(visitor)
        assert world.endpoint in words(visitor)


def test_another_process_refuses_it_within_the_promised_second(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It cannot count the changes it did not make, so it has only the number in the database."""
    given = known(world).signed_in()
    monkeypatch.setattr(standing, "ours", lambda: 0)
    [grant] = grants(world)
    with apps(world) as visitor:
        assert called(world, given["access_token"]) == HTTPStatus.OK
        before = standing.generation()
        end(visitor, grant.pk)
        assert standing.generation() > before
    calls = [called(world, given["access_token"])]
    deadline = time.monotonic() + settings.STANDING_CACHE_MS / 1000 + 1
    while calls[-1] == HTTPStatus.OK and time.monotonic() < deadline:
        calls.append(called(world, given["access_token"]))
    assert calls[-1] == HTTPStatus.UNAUTHORIZED


def test_nobody_ends_what_is_anothers(world: World) -> None:
    other = world.person()
    given = known(world).signed_in(other)
    [grant] = grants(world)
    key = ClientKey.objects.get(membership__user=other.user)
    answers = set()
    with apps(world) as visitor:
        fields = {name: values[0] for name, values in visitor.forms()[0].fields.items()}
        for path in (grant.pk, f"keys/{key.pk}", world.tenant.pk, f"keys/{world.tenant.pk}"):
            url = f"{world.product.url}/apps/{path}/end/"
            answer = visitor.http.post(url, data=fields, headers={"Origin": settings.PUBLIC_URL})
            answers.add((answer.status_code, answer.text))
    [(status, _)] = answers
    assert status == HTTPStatus.NOT_FOUND
    assert called(world, given["access_token"]) == called(world, other.key) == HTTPStatus.OK


def test_ending_takes_a_form_of_our_own_page(world: World) -> None:
    given = known(world).signed_in()
    [grant] = grants(world)
    with apps(world) as visitor:
        url = f"{world.product.url}/apps/{grant.pk}/end/"
        assert visitor.http.get(url).status_code == HTTPStatus.METHOD_NOT_ALLOWED
        assert visitor.http.post(url, headers={"Origin": settings.PUBLIC_URL}).status_code == HTTPStatus.FORBIDDEN
    assert called(world, given["access_token"]) == HTTPStatus.OK


def test_ending_twice_is_no_mistake(world: World) -> None:
    known(world).signed_in()
    [grant] = grants(world)
    with apps(world) as visitor:
        form = next(form for form in visitor.forms() if str(grant.pk) in form.action)
        visitor.send(form)
        visitor.open(f"{world.product.url}/apps/")
        assert visitor.send(form).status_code == HTTPStatus.OK
    assert len(world.events("grant.end.done")) == 1
