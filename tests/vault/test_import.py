"""The migration path: tokens that another system obtained, and the address where it obtains them."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
from django.core.management import CommandError, call_command
from django.db import connection as database

from metaagent.visitor import Visitor
from providers.models import Installation
from tenants import services as tenants
from tenants.models import User
from tests.vault.outages import no_keys
from tests.world import Person, World
from vault import oauth
from vault.models import Connection, SealedTokenSet
from vault.services import access
from vault.services.clients import client_of

ELSEWHERE = "https://sso.example.com/connect/sentry?from=metaagent"
WHO = {"mode": "tool", "tool": "who_am_i"}


@pytest.fixture(autouse=True)
def _behaved(world: World) -> Iterator[None]:
    yield
    world.faults()


def issued(world: World, *, email: str = "ada@example.com", scopes: str = "org:read event:read") -> dict[str, Any]:
    """A token set that the sandbox gave to the tenant's client somewhere else."""
    client = client_of(Installation.objects.get(pk=world.installation.pk))
    verifier = oauth.new_verifier()
    with Visitor(stops_at=f"{world.product.url}/oauth/callback/") as visitor:
        visitor.open(oauth.authorize_url(client, scopes=scopes.split(), state="x", verifier=verifier))
        visitor.send(visitor.form_with("password"), email=email)
        visitor.send(visitor.form_with("pending"), op="approve")
        code = httpx2.URL(visitor.page.headers["location"]).params["code"]
    tokens = oauth.exchange_code(client, code=code, verifier=verifier)
    return {
        "access_token": tokens.access,
        "refresh_token": tokens.refresh,
        "expires_in": tokens.lifetime_s,
        "token_type": "bearer",
        "scope": scopes,
    }


def bring(
    world: World, monkeypatch: pytest.MonkeyPatch, given: Any, *more: str, person: User | None = None
) -> dict[str, Any]:
    """By the command, on standard input."""
    text = given if isinstance(given, str) else json.dumps(given)
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    out = io.StringIO()
    whose = (person or world.me.user).email
    call_command("token_import", world.tenant.slug, whose, "sentry", *more, "--json", stdout=out, stderr=io.StringIO())
    found: dict[str, Any] = json.loads(out.getvalue())
    return found


def refused(world: World, monkeypatch: pytest.MonkeyPatch, given: Any) -> str:
    before = Connection.objects.filter(tenant=world.tenant).count()
    with pytest.raises(CommandError) as caught:
        bring(world, monkeypatch, given)
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert Connection.objects.filter(tenant=world.tenant).count() == before
    assert not world.events("token.import.done")
    return sentence


# --- By the command


@pytest.mark.parametrize("exposure", ["soft", "strict"])
def test_imported_tokens_answer_and_are_renewed_here(
    world: World, monkeypatch: pytest.MonkeyPatch, exposure: str
) -> None:
    world.install(exposure=exposure)
    made = bring(world, monkeypatch, issued(world))
    assert (made["account_label"], made["status"]) == ("ada@example.com", "ready")
    assert not world.call_tool("who_am_i").is_error
    row = Connection.objects.get(tenant=world.tenant)
    assert (str(row.pk), row.owner_id, row.scopes) == (made["id"], world.me.user.pk, ["event:read", "org:read"])
    [event] = world.events("token.import.done")
    assert (event.connection_id, event.detail["version"]) == (row.pk, 1)
    assert access.access(row.pk, rejected=1).version == 2
    assert not world.call_tool("who_am_i").is_error


def test_the_same_account_again_is_a_new_version(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    first = bring(world, monkeypatch, issued(world))
    again = bring(world, monkeypatch, issued(world, scopes="org:read"))
    assert again["id"] == first["id"]
    row = Connection.objects.get(tenant=world.tenant)
    assert (row.tokens.version, row.scopes) == (2, ["org:read"])
    assert [event.detail["version"] for event in world.events("token.import.done")] == [1, 2]
    assert not world.call_tool("who_am_i").is_error
    bring(world, monkeypatch, issued(world, email="bruno@example.com"))
    assert Connection.objects.filter(tenant=world.tenant).count() == 2


def test_the_same_account_many_times_at_once_is_one_connection(world: World) -> None:
    from vault.services import import_

    given = issued(world)

    def once(_: int) -> int:
        try:
            import_.import_tokens(
                installation=Installation.objects.get(pk=world.installation.pk),
                owner=world.me.user,
                given=given,
                by=None,
                now=datetime.now(UTC),
            )
            return 1
        finally:
            database.close()

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(once, range(6))) == 6
    row = Connection.objects.get(tenant=world.tenant)
    assert row.tokens.version == 6
    assert sorted(event.detail["version"] for event in world.events("token.import.done")) == [1, 2, 3, 4, 5, 6]


def test_without_a_scope_they_allow_what_the_installation_asks_for(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = issued(world)
    del given["scope"]
    bring(world, monkeypatch, given)
    assert Connection.objects.get(tenant=world.tenant).scopes == ["event:read", "org:read", "project:read"]


def test_scopes_may_be_a_list_and_lifetimes_a_moment(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    given = issued(world)
    given["scope"] = given["scope"].split()
    ends = datetime.now(UTC) + timedelta(minutes=30)
    for moment in (ends.isoformat(), int(ends.timestamp())):
        del given["expires_in" if "expires_in" in given else "expires_at"]
        given["expires_at"] = moment
        bring(world, monkeypatch, given)
        row = Connection.objects.get(tenant=world.tenant)
        assert row.scopes == ["event:read", "org:read"]
        assert row.tokens.expires_at is not None
        assert abs(row.tokens.expires_at - ends) < timedelta(seconds=30)


def test_tokens_that_are_over_are_renewed_at_their_first_use(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    given = issued(world)
    del given["expires_in"]
    given["expires_at"] = "2020-01-01T00:00:00Z"
    assert "account_id is missing" in refused(world, monkeypatch, given)
    bring(world, monkeypatch, {**given, "account_id": "1", "account_label": "Ada"})
    refreshes = world.stats()["refreshes"]
    assert not world.call_tool("who_am_i").is_error
    assert world.stats()["refreshes"] == refreshes + 1
    row = Connection.objects.get(tenant=world.tenant)
    assert (row.account_label, row.account_id.rpartition(":")[2]) == ("Ada", "1")


def test_whose_account_it_is_is_the_provider_s_to_say(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    given = issued(world)
    assert "is not the account" in refused(world, monkeypatch, {**given, "account_id": "4711"})
    made = bring(world, monkeypatch, given)
    for stated in (made["account_id"], made["account_id"].rpartition(":")[2]):
        assert bring(world, monkeypatch, {**given, "account_id": stated})["id"] == made["id"]


def test_a_provider_that_cannot_be_asked_needs_an_account_id(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    Installation.objects.filter(pk=world.installation.pk).update(overrides={"identity": "id_token"})
    given = issued(world)
    assert "account_id is missing" in refused(world, monkeypatch, given)
    made = bring(world, monkeypatch, {**given, "account_id": "4711"})
    assert made["account_id"].endswith(":4711")
    assert bring(world, monkeypatch, {**given, "account_id": made["account_id"]})["id"] == made["id"]


def test_tokens_the_provider_does_not_know_are_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "does not say whose account" in refused(world, monkeypatch, {"access_token": "never-issued"})


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"access_token": None}, "access_token is missing"),
    ({"access_token": ""}, "access_token is not"),
    ({"access_token": 7}, "access_token is not"),
    ({"access_token": "SECRET\r\nX: y"}, "access_token is not"),
    ({"access_token": "SECRET" * 4_000}, "access_token is not"),
    ({"refresh_token": ["SECRET"]}, "refresh_token is not"),
    ({"refresh_token": "SECRET with space"}, "refresh_token is not"),
    ({"token_type": "mac"}, "token_type is not"),
    ({"expires_in": "soon"}, "expires_in is not"),
    ({"expires_in": -1}, "expires_in is not"),
    ({"expires_in": True}, "expires_in is not"),
    ({"expires_at": "tomorrow"}, "expires_at must be"),
    ({"expires_at": "2030-01-01T00:00:00"}, "expires_at must be"),
    ({"expires_at": 1e300}, "expires_at must be"),
    ({"expires_at": 1_900_000_000_000}, "expires_at"),
    ({"expires_at": 4_500_000_000}, "expires_at is too far ahead"),
    ({"expires_in": 60, "expires_at": 1_900_000_000}, "not both"),
    ({"expires_at": 1}, "there is no refresh_token"),
    ({"scope": {"a": 1}}, "scope must be"),
    ({"scope": ["a b"]}, "scope must be"),
    ({"scope": ["a", 7]}, "scope must be"),
    ({"scope": ["a"] * 501}, "scope must be"),
    ({"scope": "a\x00b"}, "scope is not"),
    ({"account_id": ""}, "account_id must be"),
    ({"account_id": "x" * 201}, "account_id must be"),
    ({"account_label": "a\u202eb"}, "account_label must be"),
    ({"id_token": "SECRET"}, "holds no “id_token”"),
    ({"SECRET-ya29.A0": "x"}, "name that is unknown"),
]


def test_what_is_wrong_with_a_token_set_is_said_by_name_and_never_repeated(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for changes, says in WRONG:
        sentence = refused(world, monkeypatch, {"access_token": "SECRET-token", **changes})
        assert says in sentence, changes
        assert "SECRET" not in sentence, changes


def test_what_is_not_one_json_object_is_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    twice = '{"access_token": "a", "access_token": "SECRET"}'
    for text in ("", "[]", "SECRET", twice, '{"a": NaN}', "[" * 50_000):
        sentence = refused(world, monkeypatch, text)
        assert "one JSON object" in sentence
        assert "SECRET" not in sentence


def test_a_flood_on_standard_input_is_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "64 KB" in refused(world, monkeypatch, json.dumps({"access_token": "x" * 70_000}))


def test_tokens_belong_to_members_only(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    stranger = tenants.create_user(email=f"x-{world.tenant.slug}@example.com", password=None)
    with pytest.raises(CommandError, match="is not a member"):
        bring(world, monkeypatch, issued(world), person=stranger)
    with pytest.raises(CommandError, match="Only an administrator"):
        bring(world, monkeypatch, issued(world), "--shared")
    assert not Connection.objects.filter(tenant=world.tenant).exists()


def test_an_administrator_brings_tokens_for_everybody(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    admin = administrator(world)
    bring(world, monkeypatch, issued(world), "--shared", person=admin.user)
    assert Connection.objects.get(tenant=world.tenant).owner_id is None
    assert not world.call_tool("who_am_i").is_error


def test_without_keys_nothing_is_taken_in(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    given, asked = issued(world), world.stats()["api_calls"]
    with no_keys():
        assert "vault's keys" in refused(world, monkeypatch, given)
    assert world.stats()["api_calls"] == asked
    assert not SealedTokenSet.objects.filter(connection__tenant=world.tenant).exists()


# --- By the API


def administrator(world: World, role: str = "admin") -> Person:
    person = world.person()
    tenants.add_member(tenant=world.tenant, user=person.user, role=role, by=None)
    return person


def post(world: World, body: Any, *, key: str | None = None, tenant: str | None = None) -> httpx2.Response:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    with world.product.http as http:
        url = f"/api/v1/tenants/{tenant or world.tenant.slug}/connections/"
        return http.post(url, content=content, headers={"Content-Type": "application/json", **headers})


def problem(answer: httpx2.Response, status: int) -> str:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    said = answer.json()
    assert set(said) - {"errors"} == {"type", "title", "status", "detail"}
    assert said["status"] == status
    return str(said["detail"])


def test_an_administrator_s_key_brings_tokens_for_a_member(world: World) -> None:
    admin, given = administrator(world), issued(world)
    answer = post(world, {"provider": "sentry", "email": world.me.user.email.upper(), **given}, key=admin.key)
    assert answer.status_code == 201
    row = Connection.objects.get(tenant=world.tenant)
    assert answer.json() == {
        "id": str(row.pk),
        "account_id": row.account_id,
        "account_label": "ada@example.com",
        "status": "ready",
    }
    assert row.owner_id == world.me.user.pk
    assert world.events("token.import.done")[0].user_id == admin.user.pk
    assert not world.call_tool("who_am_i").is_error
    assert answer.headers["cache-control"] == "no-store"


def test_an_owner_s_key_brings_tokens_for_everybody(world: World) -> None:
    owner, given = administrator(world, "owner"), issued(world)
    assert post(world, {"provider": "sentry", "shared": True, **given}, key=owner.key).status_code == 201
    assert Connection.objects.get(tenant=world.tenant).owner_id is None
    both = post(world, {"provider": "sentry", "shared": True, "email": world.me.user.email, **given}, key=owner.key)
    assert "Say whose" in problem(both, 400)
    assert "Say whose" in problem(post(world, {"provider": "sentry", **given}, key=owner.key), 400)


@pytest.mark.parametrize("role", ["member", "auditor"])
def test_nobody_else_s_key_does(world: World, role: str) -> None:
    person = administrator(world, role)
    body = {"provider": "sentry", "email": world.me.user.email, "access_token": "SECRET"}
    assert "administrator" in problem(post(world, body, key=person.key), 403)


def test_a_wrong_or_dead_key_is_challenged(world: World) -> None:
    admin = administrator(world)
    body = {"provider": "sentry", "email": world.me.user.email, "access_token": "SECRET"}
    for key in (None, "nonsense", "mak_00000000_" + "A" * 43):
        answer = post(world, body, key=key)
        problem(answer, 401)
        assert answer.headers["www-authenticate"].startswith("Bearer")
    with world.product.http as http:  # a session is not a key
        with Visitor() as visitor:
            world.log_in(visitor, admin)
            http.cookies.update(visitor.http.cookies)
        assert http.post(f"/api/v1/tenants/{world.tenant.slug}/connections/", json=body).status_code == 401
    tenants.remove_member(membership=admin.user.memberships.get(), by=None)
    problem(post(world, body, key=admin.key), 401)


def test_what_is_unknown_is_the_same_404_whatever_it_is(world: World) -> None:
    other = World(world.product, world.sandbox)
    admin = administrator(world)
    body = {"provider": "sentry", "email": world.me.user.email, "access_token": "SECRET"}
    answers = [
        post(world, body, key=admin.key, tenant=other.tenant.slug),
        post(world, body, key=admin.key, tenant="nothing-here"),
        post(world, {**body, "provider": "github"}, key=admin.key),
        post(world, {**body, "email": other.me.user.email}, key=admin.key),
        post(world, {**body, "email": "nobody@example.com"}, key=admin.key),
    ]
    assert len({answer.text for answer in answers}) == 1
    for answer in answers:
        problem(answer, 404)


def test_what_is_wrong_with_a_body_is_a_problem_that_repeats_nothing(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    admin = administrator(world)
    right = {"provider": "sentry", "email": world.me.user.email, "access_token": "SECRET-token"}
    with caplog.at_level(logging.DEBUG):
        for body, status in [
            (b"SECRET", 400),
            (json.dumps(right).replace("{", '{"access_token": "SECRET", ', 1).encode(), 400),
            (b"[" * 60_000, 400),
            (b'["SECRET"]', 400),
            ({**right, "provider": {"SECRET": 1}}, 400),
            ({**right, "email": "SECRET"}, 400),
            ({**right, "expires_in": "SECRET"}, 422),
            ({**right, "nonsense": "SECRET"}, 422),
            ({**right, "access_token": "SECRET" * 20_000}, 413),
            (right, 422),
        ]:
            assert "SECRET" not in problem(post(world, body, key=admin.key), status)
    assert "SECRET" not in caplog.text
    assert not Connection.objects.filter(tenant=world.tenant).exists()


def test_only_json_is_taken_and_given(world: World) -> None:
    admin = administrator(world)
    url, headers = f"/api/v1/tenants/{world.tenant.slug}/connections/", {"Authorization": f"Bearer {admin.key}"}
    with world.product.http as http:
        problem(http.put(url, json={}, headers=headers), 405)
        assert http.get(url, headers={**headers, "Accept": "text/html"}).status_code == 406
        form = http.post(url, data={"provider": "sentry"}, headers=headers)
    problem(form, 415)


def test_a_key_has_a_pace(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from tenants.api.callers import PerKey

    monkeypatch.setattr(PerKey, "THROTTLE_RATES", {"key": "2/min"})
    admin, other = administrator(world), administrator(world)
    statuses = [post(world, {}, key=admin.key).status_code for _ in range(3)]
    assert statuses == [400, 400, 429]
    answer = post(world, {}, key=admin.key)
    problem(answer, 429)
    assert int(answer.headers["retry-after"]) > 0
    assert post(world, {}, key=other.key).status_code == 400


def test_without_keys_the_api_says_later(world: World) -> None:
    admin, given = administrator(world), issued(world)
    with no_keys():
        answer = post(world, {"provider": "sentry", "email": world.me.user.email, **given}, key=admin.key)
    problem(answer, 503)


# --- Where people connect, when it is not here


def test_an_external_address_is_what_clients_are_given_and_pages_lead_to(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = world.connect_link()
    world.install(connect_url=ELSEWHERE)
    error = world.error("who am I?")
    assert (error["code"], error["connect_url"]) == ("needs_auth", ELSEWHERE)
    with Visitor() as visitor:
        world.log_in(visitor)
        for url in (f"{world.product.url}/connect/sentry/?tenant={world.tenant.slug}", ours):
            page = visitor.open(url)
            assert page.status_code == 200
            assert f'href="{ELSEWHERE}"' in page.text
            assert "sso.example.com" in page.text
            assert not [form for form in visitor.forms() if "logout" not in form.action]
    bring(world, monkeypatch, issued(world, scopes="org:read"))
    missed = world.error("run", {"mode": "tool", "tool": "search_issues", "args": {"org": "acme"}})
    assert (missed["code"], missed["connect_url"]) == ("capability_miss", ELSEWHERE)


def test_a_round_trip_begun_here_ends_when_another_system_takes_over(world: World) -> None:
    with Visitor() as visitor:
        world.begin(visitor, world.connect_link())
        Installation.objects.filter(pk=world.installation.pk).update(connect_url=ELSEWHERE, version=99)
        world.approve(visitor)
        assert visitor.page.status_code == 409
    assert not Connection.objects.filter(tenant=world.tenant).exists()


def test_without_the_external_address_people_connect_here_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    manage = ("provider_install", world.tenant.slug, "sentry")
    call_command(*manage, "--connect-url", ELSEWHERE, stdout=io.StringIO())
    bring(world, monkeypatch, issued(world))
    call_command(*manage, "--connect-url", "", stdout=io.StringIO())
    assert not world.call_tool("who_am_i").is_error
    other = world.person()
    assert world.error("who am I?", key=other.key)["connect_url"].startswith(world.product.url)
    world.connect(other, email="bruno@example.com")


def test_an_external_address_is_one_people_may_be_sent_to(world: World) -> None:
    for url in (
        "http://sso.example.com/",
        "javascript:alert(1)",
        "https://user:pw@sso.example.com/",
        "https://sso.example.com/#x",
        "ftp://sso.example.com/",
        "https:///nowhere",
    ):
        with pytest.raises(CommandError, match="https address"):
            call_command("provider_install", world.tenant.slug, "sentry", "--connect-url", url, stdout=io.StringIO())
    assert Installation.objects.get(pk=world.installation.pk).connect_url == ""
