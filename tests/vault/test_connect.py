"""Connecting: who may, in which browser, once; and everything that can come back from a provider."""

from __future__ import annotations

import json
import os
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from django.conf import settings
from django.db import connection as database
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse
from starlette.routing import Route

from audit import services as audit
from metaagent.visitor import Visitor
from providers.models import Installation
from tenants import services as tenants
from tests.vault.outages import no_keys
from tests.world import World, serve
from vault.models import ConnectAttempt, Connection, ConnectLink, SealedTokenSet
from vault.services import connect


@pytest.fixture(autouse=True)
def _behaved(world: World) -> Iterator[None]:
    yield
    world.faults()


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
        visitor.open(link)
        world.log_in(visitor)
        form = next(f for f in visitor.forms() if f.method == "post" and "logout" not in f.action)
        visitor.send(form)
        visitor.open(link)
        assert visitor.page.status_code == 202
        assert all("logout" in found.action for found in visitor.forms())
        again = visitor.http.post(link, data=form.fields, headers={"Referer": link})
        assert again.status_code == 202
    assert ConnectAttempt.objects.filter(link__tenant=world.tenant).count() == 1


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
    visitor.stops_at = f"{world.product.url}/oauth/callback/"
    visitor.send(form, op="approve")
    visitor.stops_at = None
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


def test_twenty_answers_at_once_and_the_back_button_make_one_exchange_and_all_see_it(world: World) -> None:
    with Visitor() as visitor:
        world.begin(visitor, world.connect_link())
        answer = _callback(world, visitor)
        before = world.stats()
        world.faults(token_delay_s=0.5)  # so that all of them come while the first is being worked
        with ThreadPoolExecutor(20) as pool:
            pages = list(pool.map(lambda _: visitor.http.get(answer), range(20)))
        pages.append(visitor.open(answer))
    assert {page.status_code for page in pages} == {200}
    assert all("Sentry is connected" in page.text for page in pages)
    after = world.stats()
    assert after["codes_exchanged"] == before["codes_exchanged"] + 1
    assert after["codes_reused"] == before["codes_reused"]
    assert Connection.objects.filter(tenant=world.tenant).count() == 1
    assert len(world.events("connect.exchange.intent")) == len(world.events("connect.exchange.done")) == 1
    assert not world.events("connect.callback.refused")


def test_a_failed_answer_is_the_same_page_however_often_it_comes(world: World) -> None:
    with Visitor() as visitor:
        world.begin(visitor, world.connect_link())
        answer = _callback(world, visitor)
        world.faults(token="500_before")
        first = visitor.open(answer)
        world.faults()
        again = visitor.open(answer)
    assert (first.status_code, again.status_code) == (502, 502)
    assert "did not finish connecting" in again.text
    assert len(world.events("connect.exchange.failed")) == 1


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


def test_an_answer_of_another_issuer_is_refused_before_anything_in_it_is_read(world: World) -> None:
    issuer = "https://sentry.io"
    world.install(overrides={"issuer": issuer})
    before = world.stats()["codes_exchanged"]
    for wrong in (
        "iss=https%3A%2F%2Fsentry.io%2F",
        "iss=https%3A%2F%2Fevil.example",
        "iss=",
        "iss=x&error=access_denied",
    ):
        with Visitor() as visitor:
            world.begin(visitor, world.connect_link())
            page = visitor.open(f"{_callback(world, visitor)}&{wrong}")
            assert page.status_code == 400, wrong
            assert "was not from Sentry" in page.text
    assert world.stats()["codes_exchanged"] == before
    with Visitor() as visitor:
        world.begin(visitor, world.connect_link())
        assert visitor.open(f"{_callback(world, visitor)}&iss=https%3A%2F%2Fsentry.io").status_code == 200


@pytest.mark.parametrize("name", ["state", "code", "error", "iss"])
def test_an_answer_that_says_something_twice_is_not_ours(world: World, name: str) -> None:
    with Visitor() as visitor:
        world.begin(visitor, world.connect_link())
        answer = _callback(world, visitor)
        assert visitor.open(f"{answer}&{name}=x&{name}=y").status_code == 404
    assert not Connection.objects.filter(tenant=world.tenant).exists()


def test_an_error_put_into_another_browser_s_round_trip_does_not_end_it(world: World) -> None:
    with Visitor() as visitor, Visitor() as attacker:
        world.begin(visitor, world.connect_link())
        answer = _callback(world, visitor)
        state = parse_qs(urlsplit(answer).query)["state"][0]
        world.log_in(attacker, world.person())
        path = f"{world.product.url}/oauth/callback/{world.installation.pk}/"
        assert attacker.open(f"{path}?state={state}&error=access_denied").status_code == 403
        assert visitor.open(answer).status_code == 200


def test_a_round_trip_ends_when_the_installation_changes_under_it(world: World) -> None:
    with Visitor() as visitor:
        world.begin(visitor, world.connect_link())
        answer = _callback(world, visitor)
        world.install(exposure="strict")
        before = world.stats()["codes_exchanged"]
        assert visitor.open(answer).status_code == 409
    assert world.stats()["codes_exchanged"] == before
    assert not Connection.objects.filter(tenant=world.tenant).exists()


def test_a_state_is_good_for_one_code(world: World) -> None:
    with Visitor() as visitor:
        world.begin(visitor, world.connect_link())
        answer = _callback(world, visitor)
        before = world.stats()
        code = parse_qs(urlsplit(answer).query)["code"][0]
        assert visitor.open(answer.replace(code, "0" * len(code))).status_code == 502
        assert visitor.open(answer).status_code == 502  # what became of the first
    assert world.stats()["codes_exchanged"] == before["codes_exchanged"]
    assert not Connection.objects.filter(tenant=world.tenant).exists()


def test_every_round_trip_is_bound_by_s256_of_its_own(world: World) -> None:
    seen = []
    for _ in range(2):
        with Visitor() as visitor:
            world.begin(visitor, world.connect_link())
            asked = parse_qs(urlsplit(visitor.page.history[0].headers["location"]).query)
        assert asked["code_challenge_method"] == ["S256"]
        seen += [*asked["code_challenge"], *asked["state"]]
    assert len(set(seen)) == 4
    assert {len(value) for value in seen} == {43}


def test_whoever_leaves_while_the_code_is_exchanged_gets_no_connection(world: World) -> None:
    with Visitor() as visitor:
        world.begin(visitor, world.connect_link())
        answer = _callback(world, visitor)
        revoked = world.stats()["revocations"]
        world.faults(token_delay_s=1)
        with ThreadPoolExecutor(1) as pool:
            page = pool.submit(visitor.open, answer)
            until = time.monotonic() + 10
            while not world.events("connect.exchange.intent"):
                assert time.monotonic() < until
            tenants.remove_member(membership=world.me.user.memberships.get(), by=None)
            assert page.result().status_code == 403
    assert not Connection.objects.filter(tenant=world.tenant).exists()
    assert world.stats()["revocations"] == revoked + 1
    assert world.events("connect.exchange.failed")[0].detail["code"] == "not_member"


def test_an_installation_that_changes_while_the_code_is_exchanged_gets_no_connection(world: World) -> None:
    with Visitor() as visitor:
        world.begin(visitor, world.connect_link())
        answer = _callback(world, visitor)
        revoked = world.stats()["revocations"]
        world.faults(token_delay_s=1)
        with ThreadPoolExecutor(1) as pool:
            page = pool.submit(visitor.open, answer)
            until = time.monotonic() + 10
            while not world.events("connect.exchange.intent"):
                assert time.monotonic() < until
            Installation.objects.filter(pk=world.installation.pk).update(version=99)
            assert page.result().status_code == 409
    assert not Connection.objects.filter(tenant=world.tenant).exists()
    assert world.stats()["revocations"] == revoked + 1


def test_without_keys_no_code_is_spent(world: World) -> None:
    with Visitor() as visitor:
        world.begin(visitor, world.connect_link())
        answer, before = _callback(world, visitor), world.stats()["codes_exchanged"]
        with no_keys():
            assert visitor.open(answer).status_code == 503
            assert "The vault is closed" in visitor.page.text
        with no_keys():
            visitor.open(world.connect_link())
            visitor.send(
                next(form for form in visitor.forms() if form.method == "post" and "logout" not in form.action)
            )
            assert visitor.page.status_code == 503
    assert world.stats()["codes_exchanged"] == before
    assert not world.events("connect.exchange.intent")
    assert not ConnectAttempt.objects.filter(link__tenant=world.tenant, outcome="connected").exists()


@contextmanager
def _tokens_refused_by_the_database() -> Iterator[None]:
    """As if the disk under them were full."""
    table, name = SealedTokenSet._meta.db_table, "no_room"
    with database.cursor() as cursor:
        if database.vendor == "sqlite":
            body = "BEGIN SELECT RAISE(ABORT, 'no room'); END"
            cursor.execute(f"CREATE TRIGGER {name} BEFORE INSERT ON {table} {body}")
        else:
            body = "BEGIN RAISE EXCEPTION 'no room'; END"
            cursor.execute(f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ {body} $$")
            cursor.execute(f"CREATE TRIGGER {name} BEFORE INSERT ON {table} EXECUTE FUNCTION {name}()")
    try:
        yield
    finally:
        with database.cursor() as cursor:
            if database.vendor == "sqlite":
                cursor.execute(f"DROP TRIGGER {name}")
            else:
                cursor.execute(f"DROP FUNCTION {name}() CASCADE")


def test_tokens_that_came_wait_for_a_database_that_is_gone_for_a_moment(world: World) -> None:
    with Visitor() as visitor:
        world.begin(visitor, world.connect_link())
        answer, before = _callback(world, visitor), world.stats()["codes_exchanged"]
        with ThreadPoolExecutor(1) as pool:
            with _tokens_refused_by_the_database():
                page = pool.submit(visitor.open, answer)
                until = time.monotonic() + 10
                while world.stats()["codes_exchanged"] == before:
                    assert time.monotonic() < until
            assert page.result().status_code == 200
    assert len(world.events("connect.exchange.done")) == 1
    assert not world.call_tool("who_am_i").is_error


def test_tokens_that_cannot_be_stored_are_given_up_at_the_provider(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connect, "_KEEP_S", 0.2)
    with Visitor() as visitor:
        world.begin(visitor, world.connect_link())
        answer, before = _callback(world, visitor), world.stats()["revocations"]
        with _tokens_refused_by_the_database():
            assert visitor.open(answer).status_code == 503
        assert "could not be stored" in visitor.page.text
    assert world.stats()["revocations"] == before + 1
    assert not Connection.objects.filter(tenant=world.tenant).exists()
    assert world.events("connect.exchange.failed")[0].detail["code"] == "not_stored"


def test_an_exchange_whose_process_died_gets_an_outcome_and_an_honest_page(world: World) -> None:
    with Visitor() as visitor:
        world.begin(visitor, world.connect_link())
        answer = _callback(world, visitor)
        attempt = ConnectAttempt.objects.get(link__tenant=world.tenant)
        # As the process left it: the intent is on record, and nothing came after it.
        audit.append([connect._intent(attempt)])
        long_ago = datetime.now(UTC) - timedelta(minutes=5)
        ConnectAttempt.objects.filter(pk=attempt.pk).update(used_at=long_ago, outcome="exchanging")
        before = world.stats()["codes_exchanged"]
        assert visitor.open(answer).status_code == 503
        assert "was interrupted" in visitor.page.text
        assert visitor.open(answer).status_code == 503
    assert world.stats()["codes_exchanged"] == before
    [failed] = world.events("connect.exchange.failed")
    assert (failed.intent_id, failed.detail["code"]) == (attempt.pk, "outcome_unknown")
    assert connect.settle(now=datetime.now(UTC)) == 0


def test_what_died_is_settled_without_anybody_coming_back(world: World) -> None:
    with Visitor() as visitor:
        world.begin(visitor, world.connect_link())
    attempt = ConnectAttempt.objects.get(link__tenant=world.tenant)
    now = datetime.now(UTC)
    ConnectAttempt.objects.filter(pk=attempt.pk).update(used_at=now, outcome="exchanging")
    connect.settle(now=now)
    attempt.refresh_from_db()
    assert attempt.outcome == "exchanging"
    connect.settle(now=now + timedelta(minutes=5))
    attempt.refresh_from_db()
    assert attempt.outcome == "interrupted"
    assert world.events("connect.exchange.failed")[0].detail["code"] == "outcome_unknown"
    connect.settle(now=now + timedelta(days=2))
    assert not ConnectLink.objects.filter(pk=attempt.link_id).exists()


def test_a_late_winner_finds_that_it_was_given_up(world: World) -> None:
    with Visitor() as visitor:
        world.begin(visitor, world.connect_link())
        answer, revoked = _callback(world, visitor), world.stats()["revocations"]
        world.faults(token_delay_s=1)
        with ThreadPoolExecutor(1) as pool:
            page = pool.submit(visitor.open, answer)
            until = time.monotonic() + 10
            while not world.events("connect.exchange.intent"):
                assert time.monotonic() < until
            connect.settle(now=datetime.now(UTC) + timedelta(minutes=5))
            assert page.result().status_code == 503
    assert not Connection.objects.filter(tenant=world.tenant).exists()
    assert world.stats()["revocations"] == revoked + 1
    assert len(world.events("connect.exchange.failed")) == 1


def test_the_verifier_is_gone_once_the_answer_came(world: World) -> None:
    world.connect()
    assert {bytes(row.verifier) for row in ConnectAttempt.objects.filter(link__tenant=world.tenant)} == {b""}


def _issuer(url: str, *, replay: str = "") -> Starlette:
    """An OpenID provider that lets everybody in at once; `replay` is a nonce of another round trip."""
    asked: dict[str, str] = {}
    killed: list[str] = []

    async def authorize(request: Request) -> RedirectResponse:
        asked.update(request.query_params)
        back = {"code": "c", "state": asked["state"], "iss": url}
        return RedirectResponse(f"{asked['redirect_uri']}?{urlencode(back)}")

    async def token(_: Request) -> JSONResponse:
        now = int(time.time())
        claims = {"iss": url, "sub": "u-1", "email": "ann@example.com", "aud": asked["client_id"], "iat": now}
        claims |= {"exp": now + 600, "nonce": replay or asked.get("nonce")}
        body = urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
        answer = {"access_token": "at", "token_type": "Bearer", "expires_in": 600, "id_token": f"e30.{body}.AA"}
        return JSONResponse(answer)

    async def revoke(request: Request) -> JSONResponse:
        killed.append((await request.body()).decode())
        return JSONResponse({})

    app = Starlette(
        routes=[Route("/a", authorize), Route("/t", token, methods=["POST"]), Route("/r", revoke, methods=["POST"])]
    )
    app.state.killed = killed
    return app


@pytest.mark.parametrize("replay", ["", "0" * 64])
def test_an_id_token_counts_only_with_the_nonce_of_this_round_trip(world: World, replay: str) -> None:
    port = int(os.environ["TEST_OTHER_PORT"])
    url = f"http://127.0.0.1:{port}"
    spec = {"authorize_url": f"{url}/a", "token_url": f"{url}/t", "revoke_url": f"{url}/r", "issuer": url}
    world.install(overrides={**spec, "identity": "id_token", "subject_fields": ["sub"]})
    app = _issuer(url, replay=replay)
    with serve(app, port), Visitor() as visitor:
        world.begin(visitor, world.connect_link())
        status = visitor.page.status_code
    rows = list(Connection.objects.filter(tenant=world.tenant).values_list("account_id", "account_label"))
    if replay:
        assert (status, rows) == (502, [])
        assert len(app.state.killed) == 1
    else:
        assert (status, rows) == (200, [(f"127.0.0.1:{port}:u-1", "ann@example.com")])


def test_a_grant_that_ends_whatever_happens_says_when(world: World) -> None:
    Installation.objects.filter(pk=world.installation.pk).update(overrides={"grant_lifetime_s": 3 * 86_400})
    row = world.connect()
    assert row.grant_ends_at is not None
    assert abs(row.grant_ends_at - datetime.now(UTC) - timedelta(days=3)) < timedelta(minutes=1)
    with Visitor() as visitor:
        world.log_in(visitor)
        visitor.open(f"{world.product.url}/connections/")
        assert "Has to be connected again by" in visitor.page.text
        Connection.objects.filter(pk=row.pk).update(grant_ends_at=datetime.now(UTC) + timedelta(days=30))
        visitor.open(f"{world.product.url}/connections/")
        assert "Has to be connected again by" not in visitor.page.text


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
