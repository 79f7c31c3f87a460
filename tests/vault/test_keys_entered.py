"""Keys that people enter on the connect page: tried, sealed, sent to one place, and shown to nobody ever again."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest

from audit.models import AuditEvent
from metaagent.visitor import Visitor
from providers import services as providers
from providers.models import Installation
from tests.flows.protected import KEY, Site
from tests.flows.test_any_server import ask, error, install
from tests.world import Person, World, serve
from vault.models import Connection, ConnectLink, SealedTokenSet
from vault.services.sealed import open_token

WRONG = "sk-wrong-key-that-nobody-has"


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    port = int(os.environ["TEST_OTHER_PORT"])
    made = Site(f"http://127.0.0.1:{port}")
    with serve(made, port):
        yield made


@pytest.fixture
def keyed(world: World, site: Site) -> World:
    """A tenant with a server that wants a key in a header of its own."""
    words = ("--source", "mcp", "--url", f"{site.url}/keyed/mcp", "--key-header", "X-Api-Key", "--trust-hints")
    done = install(world, "keyed", *words, "--key-words", "You find it under Settings.")
    assert (done["access"], done["client_id"], done["tools"]) == ("key", None, None)
    return world


def link(world: World) -> str:
    missing = error(ask(world, "keyed", "latest_notes"))
    assert missing["code"] == "needs_auth"
    found: str = missing["connect_url"]
    return found


def enter(world: World, url: str, key: str, person: Person | None = None) -> httpx2.Response:
    with Visitor() as visitor:
        visitor.open(url)
        world.log_in(visitor, person)
        return visitor.send(visitor.form_with("key"), key=key)


def connection(world: World) -> Connection:
    return Connection.objects.get(tenant=world.tenant, installation__slug="keyed")


def test_a_key_is_asked_for_on_a_page_that_says_where_it_goes_and_keeps_nothing(keyed: World, site: Site) -> None:
    with Visitor() as visitor:
        visitor.open(link(keyed))
        keyed.log_in(visitor)
        [field] = re.findall(r"<input id=\"key\"[^>]*>", visitor.page.text)
        assert 'type="password"' in field
        assert 'autocomplete="off"' in field
        assert "value=" not in field
        assert site.url.removeprefix("http://") in visitor.page.text
        assert "You find it under Settings." in visitor.page.text
        assert visitor.page.headers["cache-control"] == "no-store"


def test_a_key_that_works_connects_and_is_sent_as_it_was_said(keyed: World, site: Site) -> None:
    page = enter(keyed, link(keyed), f"  {KEY}\n")
    assert "is connected" in page.text
    assert KEY not in page.text
    made = connection(keyed)
    assert made.account_id == f"{site.url.removeprefix('http://')}:of:{keyed.me.user.pk}"
    assert made.account_label == keyed.me.user.email
    site.headers.clear()
    assert "buy milk" in ask(keyed, "keyed", "latest_notes").structured_content["text"]
    assert all(headers["x-api-key"] == KEY and "authorization" not in headers for headers in site.headers)


def test_a_key_that_is_none_or_does_not_work_is_refused_without_being_shown(keyed: World) -> None:
    unfit = ["", "two words", "a\r\nX-Evil: 1", "schlüssel", "\x00key", "k" * 4_097]
    with Visitor() as visitor:
        visitor.open(link(keyed))
        keyed.log_in(visitor)
        for entered, words in [(WRONG, "did not accept this key"), *((each, "not a key") for each in unfit)]:
            page = visitor.send(visitor.form_with("key"), key=entered)
            assert page.status_code == 422
            assert words in page.text
            assert not entered or entered not in page.text
        assert not Connection.objects.filter(installation__slug="keyed", tenant=keyed.tenant).exists()
        assert "is connected" in visitor.send(visitor.form_with("key"), key=KEY).text  # the link is still good


def test_a_key_is_in_no_event_no_log_and_no_column(keyed: World, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        enter(keyed, link(keyed), WRONG)
        enter(keyed, link(keyed), KEY)
        ask(keyed, "keyed", "latest_notes")
    sealed = SealedTokenSet.objects.get(connection=connection(keyed))
    events = list(AuditEvent.objects.filter(tenant_id=keyed.tenant.pk).values())
    everything = f"{caplog.text} {events} {bytes(sealed.access)!r} {vars(connection(keyed))}"
    for key in (WRONG, KEY):
        assert key not in everything
    kinds = [event["kind"] for event in events]
    assert kinds.count("connect.exchange.intent") == 2
    assert (kinds.count("connect.exchange.failed"), kinds.count("connect.exchange.done")) == (1, 1)


def test_a_sealed_key_opens_only_where_it_belongs(keyed: World) -> None:
    enter(keyed, link(keyed), KEY)
    mine = connection(keyed)
    row = SealedTokenSet.objects.get(connection=mine)
    assert open_token(mine, row, "access") == KEY
    Connection.objects.filter(pk=mine.pk).update(account_id="somebody:else")
    assert error(ask(keyed, "keyed", "latest_notes"))["code"] == "needs_auth"


def test_entering_another_key_takes_the_place_of_the_first(keyed: World) -> None:
    enter(keyed, link(keyed), KEY)
    first = connection(keyed)
    url = f"{keyed.product.url}/connect/keyed/?tenant={keyed.tenant.slug}&account={first.pk}"
    assert "is connected" in enter(keyed, url, KEY).text
    again = connection(keyed)
    assert (again.pk, again.epoch) == (first.pk, first.epoch + 1)
    assert SealedTokenSet.objects.get(connection=again).version == 2


def test_the_page_is_for_the_person_the_link_names_and_works_once(keyed: World) -> None:
    other, url = keyed.person(), link(keyed)
    with Visitor() as visitor:
        visitor.open(url)
        keyed.log_in(visitor, other)
        assert visitor.page.status_code == 403
        assert 'name="key"' not in visitor.page.text
    with Visitor() as visitor:  # no form, no key: another site cannot enter one
        visitor.open(url)
        keyed.log_in(visitor)
        assert visitor.http.post(str(visitor.page.url), data={"key": KEY}).status_code == 403
    assert not Connection.objects.filter(installation__slug="keyed", tenant=keyed.tenant).exists()
    enter(keyed, url, KEY)
    with Visitor() as visitor:
        visitor.open(url)
        keyed.log_in(visitor)
        assert "Keyed is connected" in visitor.page.text
        assert 'name="key"' not in visitor.page.text


def test_a_link_that_ends_while_the_key_is_tried_stores_nothing(keyed: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from vault.services import enter as entering

    tried = entering._tried

    def slow(*args: Any) -> Any:
        ConnectLink.objects.filter(tenant=keyed.tenant).update(expires_at=datetime.now(UTC) - timedelta(seconds=1))
        return tried(*args)

    url = link(keyed)
    monkeypatch.setattr(entering, "_tried", slow)
    assert enter(keyed, url, KEY).status_code == 410
    assert not Connection.objects.filter(installation__slug="keyed", tenant=keyed.tenant).exists()
    kinds = [event.kind for event in keyed.events()]
    assert kinds.count("connect.exchange.failed") == 1


def test_a_key_that_ends_at_the_provider_asks_for_another(keyed: World, monkeypatch: pytest.MonkeyPatch) -> None:
    enter(keyed, link(keyed), KEY)
    assert not ask(keyed, "keyed", "latest_notes").is_error
    monkeypatch.setattr("tests.flows.protected.KEY", "another")
    assert error(ask(keyed, "keyed", "latest_notes"))["code"] == "needs_auth"
    assert connection(keyed).status == "needs_auth"
    assert "is connected" in enter(keyed, link(keyed), "another").text


def test_who_is_asked_says_whose_key_it_is_and_without_that_it_is_taken_as_it_is(world: World) -> None:
    facts = {"api_base": world.sandbox.url, "access": "key", "oauth": {"identity": "owner"}}
    given = providers.drafted(tenant=world.tenant, slug="keyed", client_id="", source="openapi", facts=facts)
    row = providers.store(row=given, by=None)
    url = f"{world.product.url}/connect/keyed/?tenant={world.tenant.slug}"
    assert "is connected" in enter(world, url, "anything").text
    assert connection(world).account_label == world.me.user.email
    asked = {"identify_url": f"{world.sandbox.url}/api/0/users/me/", "identity": "who_am_i"}
    Installation.objects.filter(pk=row.pk).update(overrides=asked, version=row.version + 1)
    assert "did not accept this key" in enter(world, url, WRONG).text
    mine = world.connect()
    token = open_token(mine, SealedTokenSet.objects.get(connection=mine), "access")  # as good as a key
    assert "is connected" in enter(world, url, token).text
    labels = Connection.objects.filter(installation=row).values_list("account_label", flat=True)
    assert set(labels) == {world.me.user.email, mine.account_label}
