"""Connecting: who may, in which browser, once; and everything that can come back from a provider."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from django.conf import settings

from metaagent.visitor import Visitor
from tenants import services as tenants
from tests.world import World
from vault.models import ConnectAttempt, Connection, ConnectLink, SealedTokenSet


def test_a_link_opened_by_someone_else_goes_nowhere(world: World) -> None:
    link, other = world.connect_link(), world.person()
    before = world.stats()["authorizations"]
    with Visitor() as visitor:
        visitor.open(link)
        world.log_in(visitor, other)
        assert visitor.page.status_code == 403
        assert "someone else" in visitor.page.text
        assert world.me.user.email not in visitor.page.text
    assert world.stats()["authorizations"] == before
    [event] = world.events("connect.open.wrong_person")
    assert event.detail["opened_by"] == str(other.user.pk)


def test_someone_else_cannot_post_the_page_either(world: World) -> None:
    link, other = world.connect_link(), world.person()
    with Visitor() as mine, Visitor() as theirs:
        mine.open(link)
        world.log_in(mine)
        form = next(f for f in mine.forms() if f.method == "post" and "logout" not in f.action)
        world.log_in(theirs, other)
        theirs.open(f"{world.product.url}/connections/")
        token = theirs.forms()[0].fields["csrfmiddlewaretoken"]
        answer = theirs.http.post(link, data={**form.fields, "csrfmiddlewaretoken": token}, headers={"Referer": link})
        assert answer.status_code == 403
    assert not ConnectAttempt.objects.filter(link__tenant=world.tenant).exists()


def test_a_link_works_once(world: World) -> None:
    link = world.connect_link()
    with Visitor() as visitor:
        world.begin(visitor, link)
        visitor.open(link)
        assert visitor.page.status_code == 410


def test_a_link_that_is_too_old_says_so(world: World) -> None:
    link = world.connect_link()
    ConnectLink.objects.filter(tenant=world.tenant).update(expires_at=datetime.now(UTC) - timedelta(seconds=1))
    with Visitor() as visitor:
        visitor.open(link)
        world.log_in(visitor)
        assert visitor.page.status_code == 410


def test_a_link_dies_with_the_membership(world: World) -> None:
    link = world.connect_link()
    tenants.remove_member(membership=world.me.user.memberships.get(), by=None)
    with Visitor() as visitor:
        visitor.open(link)
        world.log_in(visitor)
        assert visitor.page.status_code == 403


def test_an_unknown_link_is_not_found(world: World) -> None:
    with Visitor() as visitor:
        visitor.open(f"{world.product.url}/connect/sentry/?link=nonsense")
        world.log_in(visitor)
        assert visitor.page.status_code == 404


def _callback(world: World, visitor: Visitor) -> str:
    """Approve at the provider, and stop at the address it sends the browser back to."""
    visitor.send(visitor.form_with("password"))
    form = visitor.form_with("pending")
    visitor.http.follow_redirects = False
    visitor.send(form, op="approve")
    visitor.http.follow_redirects = True
    location: str = visitor.page.headers["location"]
    assert f"/oauth/callback/{world.installation.pk}/" in location
    return location


def test_the_answer_taken_to_another_browser_is_refused(world: World) -> None:
    with Visitor() as visitor, Visitor() as other:
        world.begin(visitor, world.connect_link())
        answer = _callback(world, visitor)
        world.log_in(other)  # the same person, another browser
        other.open(answer)
        assert other.page.status_code == 403
    assert not Connection.objects.filter(tenant=world.tenant).exists()
    assert world.events("connect.callback.refused")[0].detail["why"] == "wrong_browser"


def test_the_answer_brought_by_another_person_is_refused(world: World) -> None:
    attacker = world.person()
    with Visitor() as visitor, Visitor() as other:
        world.begin(visitor, world.connect_link())
        answer = _callback(world, visitor)
        world.log_in(other, attacker)
        other.open(answer)
        assert other.page.status_code == 403
        nobody = Visitor()
        assert nobody.open(answer).status_code == 403
        nobody.http.close()
    assert not Connection.objects.filter(tenant=world.tenant).exists()


def test_the_cookie_of_the_browser_that_began_is_needed(world: World) -> None:
    with Visitor() as visitor:
        world.begin(visitor, world.connect_link())
        answer = _callback(world, visitor)
        visitor.http.cookies.delete(settings.CONNECT_COOKIE_NAME)
        assert visitor.open(answer).status_code == 403


@pytest.mark.parametrize("change", ["missing", "altered", "other_installation"])
def test_a_state_that_is_not_ours_is_not_found(world: World, change: str) -> None:
    with Visitor() as visitor:
        world.begin(visitor, world.connect_link())
        answer = _callback(world, visitor)
        state = parse_qs(urlsplit(answer).query)["state"][0]
        other = World(world.product, world.sandbox).installation
        changed = {
            "missing": answer.replace(f"state={state}", "x=1"),
            "altered": answer.replace(state, "A" * len(state)),
            "other_installation": answer.replace(str(world.installation.pk), str(other.pk)),
        }[change]
        assert visitor.open(changed).status_code == 404
    assert not Connection.objects.filter(tenant=world.tenant).exists()


def test_the_back_button_shows_the_connection_again_and_exchanges_nothing(world: World) -> None:
    with Visitor() as visitor:
        world.begin(visitor, world.connect_link())
        answer = _callback(world, visitor)
        assert visitor.open(answer).status_code == 200
        exchanged = world.stats()["codes_exchanged"]
        assert visitor.open(answer).status_code == 200
    assert world.stats()["codes_exchanged"] == exchanged
    assert len(world.events("connect.exchange.done")) == 1


def test_ten_answers_at_once_make_one_exchange_and_one_connection(world: World) -> None:
    with Visitor() as visitor:
        world.begin(visitor, world.connect_link())
        answer = _callback(world, visitor)
        before = world.stats()["codes_exchanged"]
        with ThreadPoolExecutor(10) as pool:
            statuses = list(pool.map(lambda _: visitor.http.get(answer).status_code, range(10)))
    assert 200 in statuses
    assert set(statuses) <= {200, 410}
    assert world.stats()["codes_exchanged"] == before + 1
    assert Connection.objects.filter(tenant=world.tenant).count() == 1
    assert len(world.events("connect.exchange.done")) == 1


def test_refusing_at_the_provider_is_said_kindly_and_stores_nothing(world: World) -> None:
    with Visitor() as visitor:
        world.begin(visitor, world.connect_link())
        world.approve(visitor, op="deny")
        assert visitor.page.status_code == 200
        assert "nothing was connected" in visitor.page.text
    assert not Connection.objects.filter(tenant=world.tenant).exists()


def test_scopes_that_were_unticked_are_named_and_missed_later(world: World) -> None:
    with Visitor() as visitor:
        world.begin(visitor, world.connect_link())
        world.approve(visitor, scopes=["org:read"])
        assert "event:read" in visitor.page.text
    error = world.ask("run", {"mode": "tool", "tool": "search_issues", "args": {"org": "acme"}}).structured_content[
        "error"
    ]
    assert error["code"] == "capability_miss"
    assert error["missing_scopes"] == ["event:read"]
    assert error["connect_url"]


@pytest.mark.parametrize("fault", ["html", "500_before", "500_after"])
def test_a_provider_that_answers_the_exchange_with_nonsense_stores_nothing(world: World, fault: str) -> None:
    try:
        with Visitor() as visitor:
            world.begin(visitor, world.connect_link())
            answer = _callback(world, visitor)
            world.faults(token=fault)
            visitor.open(answer)
            assert visitor.page.status_code == 502
            assert "Traceback" not in visitor.page.text
    finally:
        world.faults()
    assert not Connection.objects.filter(tenant=world.tenant).exists()
    assert not SealedTokenSet.objects.filter(connection__tenant=world.tenant).exists()
    assert world.events("connect.exchange.failed")


def test_connecting_again_as_the_same_account_renews_the_connection(world: World) -> None:
    first = world.connect(email="ada@example.com")
    world.connect_another("ada@example.com")
    again = Connection.objects.get(tenant=world.tenant)
    assert again.pk == first.pk
    assert again.epoch > first.epoch


def test_connecting_as_another_account_adds_one(world: World) -> None:
    world.connect(email="ada@example.com")
    world.connect_another("bruno@example.com")
    accounts = list(Connection.objects.filter(tenant=world.tenant).values_list("account_id", flat=True))
    assert len(set(accounts)) == 2
    error = world.error("run", {"mode": "tool", "tool": "list_organizations"})
    assert error["code"] == "account_ambiguous"
    assert sorted(a["account_id"] for a in error["accounts"]) == sorted(accounts)
    chosen = world.ask("run", {"mode": "tool", "tool": "list_organizations"}, accountId=accounts[1])
    assert chosen.structured_content["accountId"] == accounts[1]
    assert world.error("hi", accountId="sentry.io:999999")["code"] == "account_unknown"
