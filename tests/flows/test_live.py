"""A page that somebody waits on turns ready by itself, and what tells it so is for nobody else."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings
from playwright.sync_api import expect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin

from metaagent import live
from metaagent.asgi import runtime
from metaagent.visitor import Visitor
from tenants import services as tenants
from tenants.models import Session
from tests.environment import MISSING
from tests.flows.test_consent import account, asked, policy
from tests.sights import browser, log_in
from tests.world import World
from vault import watched
from vault.models import Connection, ConnectLink, Consent
from vault.services import question

GONE, CHANGED = 4404, 1000
SOON_S = 5


@pytest.fixture(autouse=True)
def _looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "_LOOK_S", 0.05)


@contextmanager
def page_of(world: World, url: str, **changes: Any) -> Iterator[tuple[Visitor, ClientConnection]]:
    """A person at a page, and the socket their browser opens there."""
    with Visitor() as visitor:
        visitor.open(url)
        world.log_in(visitor, changes.pop("person", None))
        with socket(world, visitor, **changes) as opened:
            opened.send(changes.get("watch") or watch_of(visitor))
            yield visitor, opened


def socket(world: World, visitor: Visitor, *, origin: str | None = None, path: str = "/live/", **_: Any) -> Any:
    cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in visitor.http.cookies.jar)
    return connect(
        f"{world.product.url.replace('http', 'ws')}{path}",
        origin=Origin(origin or world.product.url),
        additional_headers={"Cookie": cookies} if cookies else {},
        proxy=None,
    )


def watch_of(visitor: Visitor) -> str:
    found = re.search(r'data-watch="([^"]+)"', visitor.page.text)
    assert found, visitor.page.text
    return found[1]


def closed(opened: ClientConnection) -> int:
    """What the socket was closed with."""
    with pytest.raises(ConnectionClosed) as over:
        opened.recv(timeout=SOON_S)
    return over.value.rcvd.code if over.value.rcvd else 0


def told(opened: ClientConnection) -> bool:
    return opened.recv(timeout=SOON_S) == "changed" and closed(opened) == CHANGED


def silent(opened: ClientConnection) -> bool:
    """While it is looked at several times over."""
    try:
        return not opened.recv(timeout=0.4)
    except TimeoutError:
        return True


def connections(world: World) -> str:
    return f"{world.product.url}/connections/"


# --- What is told


def test_the_connect_page_elsewhere_is_told_at_each_step_and_turns_ready(world: World) -> None:
    link = world.connect_link()
    with page_of(world, link) as (waiting, opened), Visitor() as busy:
        assert silent(opened)
        busy.open(link)
        world.log_in(busy)
        busy.send(next(form for form in busy.forms() if form.method == "post" and "logout" not in form.action))
        assert told(opened)
        waiting.open(link)
        assert (waiting.page.status_code, "Look again" in waiting.page.text) == (202, True)
        with socket(world, waiting) as again:
            again.send(watch_of(waiting))
            assert silent(again)
            world.approve(busy)
            assert told(again)
        waiting.open(link)
        assert waiting.page.status_code == 200
        assert "Sentry is connected" in waiting.page.text


def test_the_connections_page_is_told_of_accounts_permissions_and_questions(world: World) -> None:
    changes: list[Callable[[], object]] = [
        lambda: account(world),
        lambda: Connection.objects.filter(tenant=world.tenant).update(status="needs_auth"),
        lambda: Connection.objects.filter(tenant=world.tenant).update(owner=None),
    ]
    for change in changes:
        with page_of(world, connections(world)) as (_, opened):
            change()
            assert told(opened)


def test_what_changed_between_the_page_and_its_socket_is_told_too(world: World) -> None:
    with Visitor() as visitor:
        visitor.open(connections(world))
        world.log_in(visitor)
        account(world)
        with socket(world, visitor) as opened:
            opened.send(watch_of(visitor))
            assert told(opened)


def test_a_question_answered_elsewhere_is_told(world: World) -> None:
    account(world)
    policy(world, "first_use")
    url = asked(world)["consent_url"]
    with page_of(world, url) as (visitor, opened):
        assert silent(opened)
        question.give(Consent.objects.get(tenant=world.tenant), now=datetime.now(UTC))
        assert told(opened)
        assert "Allowed" in visitor.open(url).text


def test_a_link_whose_time_is_over_is_told(world: World) -> None:
    link = world.connect_link()
    with page_of(world, link) as (_, opened):
        ConnectLink.objects.filter(tenant=world.tenant).update(expires_at=datetime.now(UTC) - timedelta(seconds=1))
        assert told(opened)


# --- Who is told nothing


@pytest.mark.parametrize("wrong", ["nobody", "ended", "no origin", "another origin", "another port", "another path"])
def test_whoever_may_have_no_socket_is_refused_alike_before_it_opens(world: World, wrong: str) -> None:
    with Visitor() as visitor:
        if wrong != "nobody":
            visitor.open(connections(world))
            world.log_in(visitor)
        if wrong == "ended":
            Session.objects.filter(user=world.me.user).delete()
        changes = {
            "no origin": {"origin": "null"},
            "another origin": {"origin": "https://evil.example"},
            "another port": {"origin": f"{world.product.url}0"},
            "another path": {"path": "/live/else"},
        }.get(wrong, {})
        with pytest.raises(InvalidStatus) as refused, socket(world, visitor, **changes):
            pass
        assert (refused.value.response.status_code, refused.value.response.body) == (403, b"")


def test_a_page_may_be_changed_by_nobody_who_is_merely_allowed_to_call_mcp(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "ALLOWED_ORIGINS", [*settings.ALLOWED_ORIGINS, "https://inspector.example"])
    with Visitor() as visitor:
        visitor.open(connections(world))
        world.log_in(visitor)
        with pytest.raises(InvalidStatus), socket(world, visitor, origin="https://inspector.example"):
            pass


@pytest.mark.parametrize(
    "what", ["their link", "their question", "their list", "nothing there", "no id", "no such kind"]
)
def test_what_is_not_one_s_own_is_as_if_it_were_not_there(world: World, what: str) -> None:
    other = world.person()
    world.error("who am I?", key=other.key)
    row = account(world)
    now = datetime.now(UTC)
    theirs = {"user": other.user, "connection": row, "tenant": world.tenant, "client": "key:x", "effect": "read"}
    consent = Consent.objects.create(**theirs, asked_at=now, answer_until=now + timedelta(minutes=5))
    link = ConnectLink.objects.get(user=other.user)
    subject = {
        "their link": f"link:{link.pk}",
        "their question": f"consent:{consent.pk}",
        "their list": f"connections:{other.user.pk}",
        "nothing there": f"link:{uuid4()}",
        "no id": "link:",
        "no such kind": f"user:{other.user.pk}",
    }[what]
    mark = watched.said(subject, user_id=other.user.pk, now=now).partition(" ")[2]
    with page_of(world, connections(world), watch=f"{subject} {mark}") as (_, opened):
        assert closed(opened) == GONE


@pytest.mark.parametrize("end", ["logged out", "password changed", "switched off"])
def test_a_socket_ends_with_its_session(world: World, end: str) -> None:
    with page_of(world, connections(world)) as (visitor, opened):
        assert silent(opened)
        if end == "logged out":
            visitor.send(next(form for form in visitor.forms() if "logout" in form.action))
        else:
            user = world.me.user
            if end == "password changed":
                user.set_password("another battery staple")
            user.is_active = end != "switched off"
            user.save()
        assert closed(opened) == GONE


def test_a_socket_ends_with_the_membership(world: World) -> None:
    with page_of(world, world.connect_link()) as (_, opened):
        assert silent(opened)
        tenants.remove_member(membership=world.me.user.memberships.get(), by=None)
        assert closed(opened) == GONE


def test_what_cannot_be_checked_is_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError

    with page_of(world, connections(world)) as (visitor, opened):
        assert silent(opened)
        monkeypatch.setattr(watched, "marks", broken)
        assert closed(opened) == GONE
        monkeypatch.setattr("tenants.sessions.logged_in", broken)
        with pytest.raises(InvalidStatus), socket(world, visitor):
            pass


# --- How much


def test_a_person_has_so_many_sockets_and_no_more(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime.live, "_per_person", 1)
    with page_of(world, connections(world)) as (visitor, opened):
        with pytest.raises(InvalidStatus), socket(world, visitor):
            pass
        with page_of(world, connections(world), person=world.person()) as (_, theirs):
            assert silent(theirs)
        opened.close()
        deadline = time.monotonic() + SOON_S
        while runtime.live._open and time.monotonic() < deadline:
            time.sleep(0.02)
        with socket(world, visitor):
            pass


def test_a_process_has_so_many_sockets_and_no_more(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with page_of(world, connections(world)), page_of(world, connections(world), person=world.person()) as (visitor, _):
        monkeypatch.setattr(runtime.live, "_most", 2)
        with pytest.raises(InvalidStatus), socket(world, visitor):
            pass


@pytest.mark.parametrize("frame", ["x" * 1_025, b"connections", "", "connections\nagain"])
def test_what_is_no_message_of_ours_closes_the_socket(world: World, frame: str | bytes) -> None:
    with page_of(world, connections(world)) as (visitor, _), socket(world, visitor) as opened:
        opened.send(frame)
        assert closed(opened) in {4400, GONE}


def test_a_second_message_closes_the_socket(world: World) -> None:
    with page_of(world, connections(world)) as (visitor, opened):
        assert silent(opened)
        opened.send(watch_of(visitor))
        assert closed(opened) == 4400


def test_a_socket_on_which_nothing_happens_is_closed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime.live, "_idle_s", 0.5)
    with page_of(world, connections(world)) as (_, opened):
        assert closed(opened) == 4408


# --- In a browser


@pytest.mark.browser
@pytest.mark.skipif("chromium" in MISSING, reason=MISSING.get("chromium", ""))
def test_pages_turn_by_themselves_unless_somebody_is_at_work_on_them(world: World) -> None:
    link, here = world.connect_link(), connections(world)
    with browser() as alone:
        assert alone.context.browser
        page = alone.context.browser.new_context(viewport={"width": 360, "height": 800}).new_page()
        page.goto(link)
        log_in(page, world)
        waiting, listed = (page.context.new_page() for _ in range(2))
        waiting.goto(link)
        listed.goto(here)
        page.get_by_role("button", name="Continue to Sentry").click()
        expect(waiting.get_by_role("heading", name="Sentry is being connected")).to_be_visible(timeout=SOON_S * 1_000)
        page.get_by_role("button", name="Log in").click()
        page.get_by_role("button", name="Approve").click()
        expect(waiting.get_by_role("heading", name="Sentry is connected")).to_be_visible(timeout=SOON_S * 1_000)
        assert waiting.title() == "Sentry is connected · metaagent"
        expect(listed.get_by_text("Ready")).to_be_visible(timeout=SOON_S * 1_000)
        listed.locator("summary", has_text="Name").click()
        listed.get_by_label("What your clients call it").fill("half a na")
        page.goto(here)
        page.locator("summary", has_text="Disconnect").click()
        page.get_by_role("button", name="Disconnect").click()
        expect(listed.get_by_text("This page has changed meanwhile.")).to_be_visible(timeout=SOON_S * 1_000)
        assert listed.get_by_label("What your clients call it").input_value() == "half a na"
        listed.get_by_role("link", name="Look again").click()
        expect(listed.get_by_text("Disconnected", exact=True)).to_be_visible()
