"""One's own account: the browsers one is logged in with, the password, and what the tenants' logs say of log-ins."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest
from django.conf import settings
from django.core.cache import cache
from django.db import connection as db
from django.test import Client
from django.test.utils import CaptureQueriesContext
from pytest_django.fixtures import Settings

from metaagent.visitor import Visitor
from tenants import services, sessions
from tenants.models import Session
from tenants.oauth.tasks import sweep
from tests.commands.test_commands import command
from tests.console import told
from tests.world import PASSWORD, Person, World

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0"
LONG = "quite another passphrase"


def log_in(world: World, visitor: Visitor, agent: str = FIREFOX, person: Person | None = None) -> None:
    visitor.http.headers["User-Agent"] = agent
    world.log_in(visitor, person)


def rows(world: World) -> list[Session]:
    return list(Session.objects.filter(user=world.me.user).order_by("created_at"))


def account(world: World, visitor: Visitor) -> str:
    visitor.open(f"{world.product.url}/account/")
    return told(visitor)


def awaited(world: World, kind: str, count: int) -> list[dict[str, object]]:
    """What is recorded when the answer is on its way."""
    until = time.monotonic() + 10
    while len(found := world.events(kind)) < count and time.monotonic() < until:
        time.sleep(0.01)
    return [event.detail for event in found]


MAC = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 Chrome/142.0.0.0 Safari/537.36"
WINDOWS = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/142.0.0.0 Safari/537.36"
PHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 26_0 like Mac OS X) Version/26.0 Mobile/15E148 Safari/604.1"


@pytest.mark.parametrize(
    ("agent", "name"),
    [
        (FIREFOX, "Firefox on Linux"),
        (PHONE, "Safari on iPhone"),
        (MAC, "Chrome on macOS"),
        (f"{WINDOWS} Edg/142.0.0.0", "Edge on Windows"),
        ("<script>alert(1)</script>", ""),
        ("", ""),
    ],
)
def test_browsers_are_called_what_people_call_them(agent: str, name: str) -> None:
    assert sessions.browser(agent) == name


def test_one_sees_where_one_is_logged_in_and_ends_one_or_all_others(world: World) -> None:
    with Visitor() as here, Visitor() as there, Visitor() as third:
        log_in(world, here)
        log_in(world, there, WINDOWS)
        log_in(world, third, "curl/8")
        text = account(world, here)
        assert "Firefox on Linux This one 127.0.0.1 · now" in text
        assert "Chrome on Windows 127.0.0.1" in text
        ended = next(row for row in rows(world) if row.agent == "Chrome on Windows")
        here.send(next(form for form in here.forms() if ended.pk in form.action))
        assert "That browser is logged out" in told(here)
        assert "log in" in account(world, there).lower()
        assert "Your account" in account(world, third)
        here.send(next(form for form in here.forms() if form.action.endswith("sessions/end/")))
        assert "Log in" in account(world, third)
        assert "Your account" in account(world, here)
    assert len(world.events("session.end.done")) == 2


def test_nobody_ends_a_session_of_another(world: World) -> None:
    other = world.person()
    with Visitor() as mine, Visitor() as theirs:
        log_in(world, mine)
        log_in(world, theirs, person=other)
        account(world, theirs)
        log_in_again = next(form for form in theirs.forms() if "account/name" in form.action)
        log_in_again.action = f"/account/sessions/{rows(world)[0].pk}/end/"
        theirs.send(log_in_again)
        assert "Your account" in account(world, mine)


def test_that_a_session_is_used_is_written_once_in_five_minutes(world: World) -> None:
    with Visitor() as visitor:
        log_in(world, visitor)
        (first,) = rows(world)
        assert first.seen_at is not None
        for _ in range(3):
            account(world, visitor)
        assert rows(world)[0].seen_at == first.seen_at
        store = sessions.SessionStore(visitor.http.cookies[_cookie()])
        store["seen"] = (datetime.now(UTC) - timedelta(minutes=6)).timestamp()
        store["address"] = "192.0.2.1"
        store.save()
        account(world, visitor)
        (again,) = rows(world)
        assert again.seen_at is not None
        assert again.seen_at > first.seen_at
        assert (again.address, again.created_at) == ("127.0.0.1", first.created_at)


def _cookie() -> str:
    return settings.SESSION_COOKIE_NAME


def test_a_session_ends_when_its_days_are_over_however_often_it_was_used(world: World) -> None:
    with Visitor() as visitor:
        log_in(world, visitor)
        store = sessions.SessionStore(visitor.http.cookies[_cookie()])
        store["began"] = (datetime.now(UTC) - timedelta(days=13)).timestamp()
        store["seen"] = 0
        store.save()
        account(world, visitor)
        (row,) = rows(world)
        assert row.expire_date - datetime.now(UTC) < timedelta(days=1)
        Session.objects.filter(pk=row.pk).update(expire_date=datetime.now(UTC))
        assert visitor.open(f"{world.product.url}/account/").url.path == "/login/"
    sweep()
    assert not rows(world)


def test_a_page_that_needs_no_session_asks_the_database_for_none(world: World) -> None:
    with Visitor() as visitor:
        log_in(world, visitor)
        client = Client()
        client.cookies[_cookie()] = visitor.http.cookies[_cookie()]
        with CaptureQueriesContext(db) as asked:
            client.get("/healthz", secure=False)
        assert not [each for each in asked.captured_queries if "tenants_session" in each["sql"]]


def test_a_new_password_wants_the_old_one_and_ends_every_other_session(world: World) -> None:
    with Visitor() as here, Visitor() as there:
        log_in(world, here)
        log_in(world, there)
        for current, new, again in (("wrong", LONG, LONG), (PASSWORD, "short", "short"), (PASSWORD, LONG, "other")):
            account(world, here)
            here.send(here.form_with("current"), current=current, new=new, again=again)
            assert here.page.status_code == 422
            assert LONG not in here.page.text
        account(world, here)
        here.send(here.form_with("current"), current=PASSWORD, new=LONG, again=LONG)
        assert "Your password is changed" in told(here)
        assert len(rows(world)) == 1
        assert "Your account" in account(world, here)
        assert "Log in" in account(world, there)
    world.me.user.refresh_from_db()
    assert world.me.user.check_password(LONG)
    assert len(world.events("password.change.done")) == 1


def test_guessing_the_old_password_comes_to_a_pause(world: World, settings: Settings) -> None:
    settings.LOGIN_FAILURES_PER_HOUR = 2
    cache.clear()
    with Visitor() as visitor:
        log_in(world, visitor)
        account(world, visitor)
        form = visitor.form_with("current")
        tried = [visitor.send(form, current=guess, new=LONG, again=LONG).status_code for guess in ("a", "b", PASSWORD)]
    assert tried == [422, 422, 429]
    cache.clear()


def test_a_name_is_changed_and_nothing_else_with_it(world: World) -> None:
    with Visitor() as visitor:
        log_in(world, visitor)
        account(world, visitor)
        form = next(form for form in visitor.forms() if "account/name" in form.action)
        visitor.send(form, name="Ada <b>", email="x@example.com", is_staff="on", is_superuser="on")
        assert "Ada &lt;b&gt;" in visitor.page.text
        for wrong in ("x" * 121, "nul\0"):
            assert visitor.send(form, name=wrong).status_code == 422
    world.me.user.refresh_from_db()
    assert (world.me.user.name, world.me.user.is_staff) == ("Ada <b>", False)


def test_an_operator_gives_a_new_password_and_the_old_sessions_end(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Visitor() as visitor:
        log_in(world, visitor)
        stdin = f"{LONG}\n"
        command("user_password", world.me.user.email, "--password-stdin", stdin=stdin, monkeypatch=monkeypatch)
        assert "Log in" in account(world, visitor)
    world.me.user.refresh_from_db()
    assert world.me.user.check_password(LONG)
    (event,) = world.events("password.change.done")
    assert (event.user_id, event.detail) == (None, {"member": str(world.me.user.pk)})


def test_log_ins_are_in_the_log_of_every_tenant_of_the_person_and_of_no_other(world: World) -> None:
    elsewhere, stranger = World(world.product, world.sandbox), World(world.product, world.sandbox)
    services.add_member(tenant=elsewhere.tenant, user=world.me.user, role="member", by=None)
    typed = f"{world.tenant.slug}-secret-typed-here@example.com"
    with Visitor() as visitor:
        for email in (typed, "nul\0@example.com", world.me.user.email):
            visitor.open(f"{world.product.url}/login/")
            visitor.send(visitor.form_with("password"), email=email, password="wrong")
            assert visitor.page.status_code == 401
        log_in(world, visitor)
    for each in (world, elsewhere):
        assert awaited(each, "login.password.refused", 1) == [{"address": "127.0.0.1"}]
        assert len(each.events("login.password.done")) == 1
        assert typed not in str([event.detail for event in each.events()])
    assert not stranger.events("login.password.done")
    assert not stranger.events("login.password.refused")


def test_refused_log_ins_are_recorded_no_more_than_the_throttle_lets_through(world: World, settings: Settings) -> None:
    cache.clear()
    settings.LOGIN_FAILURES_PER_HOUR = 2
    with Visitor() as visitor:
        for _ in range(5):
            visitor.open(f"{world.product.url}/login/")
            visitor.send(visitor.form_with("password"), email=world.me.user.email, password="wrong")
        assert visitor.page.status_code == 429
    assert len(awaited(world, "login.password.refused", 2)) == 2
    cache.clear()
