"""The authorization server's own part: codes, tokens, refreshing, and what each of them is refused for."""

from __future__ import annotations

import base64
import logging
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import httpx2
import pytest
from django.conf import settings
from django.db import connection

from metaagent.visitor import Visitor
from tenants import services as tenants
from tenants.oauth import services
from tenants.oauth.models import AccessToken, Client, ClientGrant, Code, RefreshToken, fresh_secret
from tests.oauth import REDIRECT, OAuthClient
from tests.world import PASSWORD, World

PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def known(world: World) -> OAuthClient:
    row = Client.objects.create(
        client_type="public",
        authorization_grant_type="authorization-code",
        redirect_uris=REDIRECT,
        name="A test",
        registration_source="dcr",
    )
    return OAuthClient(world, client_id=row.client_id)


def confidential(world: World) -> tuple[OAuthClient, str]:
    row = Client(
        client_type="confidential",
        authorization_grant_type="authorization-code",
        redirect_uris=REDIRECT,
        name="A test with a secret",
        registration_source="manual",
    )
    secret = fresh_secret(row)
    row.save()
    return OAuthClient(world, client_id=row.client_id), secret


def asked(world: World, token: str) -> int:
    """How a request with this token is answered."""
    return world.post(PING, headers={"Authorization": f"Bearer {token}"}).status_code


def sent(world: World, body: bytes, path: str = "/o/token/", **headers: str) -> httpx2.Response:
    with world.product.http as http:
        return http.post(path, content=body, headers={**FORM, **headers})


def refused(answer: httpx2.Response, error: str, status: int = 400) -> None:
    assert (answer.status_code, answer.json().get("error")) == (status, error), answer.text
    assert "no-store" in answer.headers["cache-control"]


def grant_of(world: World) -> ClientGrant:
    return ClientGrant.objects.get(membership__tenant=world.tenant)


def at_once(times: int, work: Callable[[], httpx2.Response]) -> list[httpx2.Response]:
    with ThreadPoolExecutor(times) as pool:
        return [each.result() for each in [pool.submit(work) for _ in range(times)]]


def test_a_person_lets_a_client_in_and_it_calls(world: World) -> None:
    client = known(world)
    given = client.signed_in()
    assert (given["token_type"], given["scope"]) == ("Bearer", "mcp"), given
    error = world.error("who am I?", key=given["access_token"])
    assert error["code"] == "needs_auth"
    again = client.refresh(given["refresh_token"])
    assert again.status_code == 200, again.text
    assert world.error("who am I?", key=again.json()["access_token"])["code"] == "needs_auth"


# --- PKCE


def test_no_code_is_given_without_a_challenge_of_s256(world: World) -> None:
    client = known(world)
    wrong: list[dict[str, Any]] = [
        {"code_challenge": None, "code_challenge_method": None},
        {"code_challenge_method": None},
        {"code_challenge_method": "plain"},
        {"code_challenge_method": "s256"},
        {"code_challenge_method": "S512"},
        {"code_challenge": "short"},
        {"code_challenge": "a" * 128},
        {"code_challenge": "a" * 42 + "="},
        {"code_challenge": ""},
    ]
    with Visitor(stops_at=REDIRECT) as visitor:
        for changes in wrong:
            client.opened(visitor, **changes)
            said = client.answered(visitor)
            assert (said["error"], said["state"], said["iss"]) == ("invalid_request", client.state, world.product.url)
            assert "code" not in said, changes


def test_a_code_is_worth_nothing_without_its_verifier(world: World) -> None:
    client = known(world)
    code = client.code()
    row = Code.objects.get(application__client_id=client.client_id)
    for wrong in (None, "", "x" * 64, client.verifier.swapcase(), client.verifier + "A", row.code_challenge):
        answer = client.token(grant_type="authorization_code", code=code, redirect_uri=REDIRECT, code_verifier=wrong)
        assert answer.status_code == 400, wrong
    assert not AccessToken.objects.filter(grant=row.grant).exists()
    assert client.exchange(code).status_code == 200


def test_a_code_that_was_stored_without_a_challenge_is_refused(world: World) -> None:
    client = known(world)
    code = client.code()
    Code.objects.filter(application__client_id=client.client_id).update(code_challenge="", code_challenge_method="")
    assert client.exchange(code).status_code == 400
    assert client.token(grant_type="authorization_code", code=code, redirect_uri=REDIRECT).status_code == 400


# --- codes


def test_a_code_lives_a_minute(world: World) -> None:
    client = known(world)
    code = client.code()
    rows = Code.objects.filter(application__client_id=client.client_id)
    assert rows.get().expires - rows.get().created <= timedelta(seconds=60)
    rows.update(expires=datetime.now(UTC))
    refused(client.exchange(code), "invalid_grant")


def test_using_a_code_again_ends_what_it_gave(world: World) -> None:
    client = known(world)
    code = client.code()
    given = client.exchange(code).json()
    assert asked(world, given["access_token"]) == 200
    refused(client.exchange(code), "invalid_grant")
    assert asked(world, given["access_token"]) == 401
    refused(client.refresh(given["refresh_token"]), "invalid_grant")
    (ended,) = world.events("grant.end.done")
    assert ended.detail["reason"] == "code_reused"


def test_a_code_exchanged_twice_at_once_gives_one_pair_at_most_and_that_one_ends(world: World) -> None:
    client = known(world)
    code = client.code()
    answers = at_once(6, lambda: client.exchange(code))
    good = [answer for answer in answers if answer.status_code == 200]
    assert len(good) <= 1
    for answer in good:
        assert asked(world, answer.json()["access_token"]) == 401
    assert {answer.status_code for answer in answers} <= {200, 400}
    assert AccessToken.objects.filter(grant=grant_of(world)).count() <= 1
    assert grant_of(world).ended_at is not None


def test_two_who_read_the_same_fresh_code_do_not_both_get_tokens(world: World) -> None:
    client = known(world)
    client.code()
    first, second = (Code.objects.get(application__client_id=client.client_id) for _ in range(2))
    now = datetime.now(UTC)
    services.exchange(code=first, pair=services.Pair("mat_1", "mrt_1"), expires_in=60, now=now)
    with pytest.raises(services.Spent):
        services.exchange(code=second, pair=services.Pair("mat_2", "mrt_2"), expires_in=60, now=now)


def test_a_code_is_good_only_for_its_client_and_its_redirect_uri(world: World) -> None:
    client, other = known(world), known(world)
    code = client.code()
    other.verifier = client.verifier
    refused(other.exchange(code), "invalid_grant")
    for wrong in ("", REDIRECT + "/", "https://client.example:443/callback", "https://evil.example/callback"):
        answer = client.token(
            grant_type="authorization_code", code=code, code_verifier=client.verifier, redirect_uri=wrong
        )
        assert answer.status_code == 400, wrong
    assert client.exchange(code).status_code == 200


def test_a_code_of_a_grant_that_no_longer_stands_is_refused(world: World) -> None:
    client = known(world)
    code = client.code()
    services.end(grant=grant_of(world), reason="person", by=None, now=datetime.now(UTC))
    refused(client.exchange(code), "invalid_grant")


# --- refreshing


def test_a_retry_of_a_refresh_whose_answer_was_lost_gets_the_very_same_pair(world: World) -> None:
    client = known(world)
    given = client.signed_in()
    lost, again = client.refresh(given["refresh_token"]).json(), client.refresh(given["refresh_token"]).json()
    assert (lost["access_token"], lost["refresh_token"]) == (again["access_token"], again["refresh_token"])
    assert lost["refresh_token"] != given["refresh_token"]
    assert lost["access_token"] != given["access_token"]
    assert 0 < again["expires_in"] <= lost["expires_in"] <= settings.CLIENT_TOKEN_S
    assert asked(world, again["access_token"]) == 200
    assert len(world.events("grant.refresh.done")) == 1


def test_many_refreshes_of_one_token_at_once_have_one_outcome(world: World) -> None:
    client = known(world)
    given = client.signed_in()
    answers = at_once(20, lambda: client.refresh(given["refresh_token"]))
    assert {answer.status_code for answer in answers} == {200}
    assert len({(answer.json()["access_token"], answer.json()["refresh_token"]) for answer in answers}) == 1
    grant = grant_of(world)
    assert RefreshToken.objects.filter(grant=grant).count() == 2
    assert AccessToken.objects.filter(grant=grant).count() == 2
    assert grant.ended_at is None


def _is_late(world: World, client: OAuthClient, following: dict[str, Any]) -> list[str]:
    long_ago = datetime.now(UTC) - timedelta(seconds=settings.CLIENT_REFRESH_GRACE_S + 1)
    RefreshToken.objects.filter(grant=grant_of(world), revoked__isnull=False).update(revoked=long_ago)
    return [following["refresh_token"]]


def _comes_after_its_successor(world: World, client: OAuthClient, following: dict[str, Any]) -> list[str]:
    third = client.refresh(following["refresh_token"]).json()
    assert asked(world, third["access_token"]) == 200
    return [following["refresh_token"], third["refresh_token"]]


@pytest.mark.parametrize("stolen", [_is_late, _comes_after_its_successor])
def test_a_spent_refresh_token_ends_the_whole_family(
    world: World, stolen: Callable[[World, OAuthClient, dict[str, Any]], list[str]]
) -> None:
    client = known(world)
    first = client.signed_in()
    second = client.refresh(first["refresh_token"]).json()
    assert [asked(world, pair["access_token"]) for pair in (first, second)] == [200, 200]
    later = stolen(world, client, second)
    refused(client.refresh(first["refresh_token"]), "invalid_grant")
    assert [asked(world, pair["access_token"]) for pair in (first, second)] == [401, 401]
    for token in later:
        refused(client.refresh(token), "invalid_grant")


def test_a_grant_ends_on_its_day_however_often_it_is_refreshed(world: World) -> None:
    client = known(world)
    given = client.signed_in()
    grants = ClientGrant.objects.filter(pk=grant_of(world).pk)
    grants.update(expires_at=datetime.now(UTC) + timedelta(seconds=100))
    last = client.refresh(given["refresh_token"]).json()
    assert last["expires_in"] <= 100
    assert AccessToken.objects.filter(grant=grants.get()).latest("created").expires <= grants.get().expires_at
    grants.update(expires_at=datetime.now(UTC))
    refused(client.refresh(last["refresh_token"]), "invalid_grant")


def _membership_ended(world: World) -> None:
    tenants.remove_member(membership=world.me.user.memberships.get(), by=None)


def _user_disabled(world: World) -> None:
    world.me.user.is_active = False
    world.me.user.save()


def _tenant_closed(world: World) -> None:
    tenants.close_tenant(tenant=world.tenant, now=datetime.now(UTC), by=None)


def _grant_ended(world: World) -> None:
    services.end(grant=grant_of(world), reason="person", by=world.me.user.pk, now=datetime.now(UTC))


@pytest.mark.parametrize("over", [_membership_ended, _user_disabled, _tenant_closed, _grant_ended])
def test_nothing_is_refreshed_or_remembered_once_the_person_may_not(
    world: World, over: Callable[[World], None]
) -> None:
    client = known(world)
    given = client.signed_in()
    assert asked(world, given["access_token"]) == 200
    over(world)
    assert asked(world, given["access_token"]) == 401
    refused(client.refresh(given["refresh_token"]), "invalid_grant")
    assert asked(world, given["access_token"]) == 401


def test_a_refresh_token_is_good_only_for_its_client(world: World) -> None:
    client, other = known(world), known(world)
    given = client.signed_in()
    refused(other.refresh(given["refresh_token"]), "invalid_grant")
    refused(client.refresh(given["access_token"]), "invalid_grant")
    assert client.refresh(given["refresh_token"]).status_code == 200


@pytest.mark.parametrize(
    ("at_first", "later", "given"),
    [
        ("mcp mcp", "mcp mcp", "mcp"),
        ("mcp", "mcp offline_access", "mcp"),
        ("mcp offline_access admin", "mcp openid profile", "mcp offline_access"),
        ("mcp offline_access", "mcp", "mcp offline_access"),
        ("openid", None, "mcp"),
        (None, None, "mcp"),
    ],
)
def test_the_answer_says_which_scope_was_given_whatever_was_asked(
    world: World, at_first: str | None, later: str | None, given: str
) -> None:
    client = known(world)
    first = client.signed_in(scope=at_first)
    second = client.refresh(first["refresh_token"], scope=later).json()
    assert (first["scope"], second["scope"]) == (given, given)
    assert set(AccessToken.objects.filter(grant=grant_of(world)).values_list("scope", flat=True)) == {given}


def test_refreshing_for_nothing_that_was_given_is_refused(world: World) -> None:
    client = known(world)
    given = client.signed_in()
    refused(client.refresh(given["refresh_token"], scope="offline_access admin"), "invalid_scope")


def test_a_resource_at_the_token_endpoint_must_be_the_grant_s(world: World) -> None:
    client = known(world)
    mine = world.endpoint
    asked_for = [[f"{mine}/"], [mine.removesuffix("/sentry")], [mine, "https://evil.example/mcp"], ["nonsense"], [""]]
    code = client.code()
    exchange = {"code": code, "code_verifier": client.verifier, "redirect_uri": REDIRECT}
    with world.product.http as http:

        def token(resources: list[str], **form: str) -> httpx2.Response:
            return http.post("/o/token/", data={"client_id": client.client_id, "resource": resources, **form})

        for wrong in asked_for:
            refused(token(wrong, grant_type="authorization_code", **exchange), "invalid_target")
        given = token([mine, mine], grant_type="authorization_code", **exchange)
        assert given.status_code == 200, given.text
        refresh = {"grant_type": "refresh_token", "refresh_token": given.json()["refresh_token"]}
        for wrong in asked_for:
            refused(token(wrong, **refresh), "invalid_target")
        assert token([mine], **refresh).status_code == 200


# --- what is kept


def test_no_secret_is_in_the_database_the_log_or_a_repr(world: World, caplog: pytest.LogCaptureFixture) -> None:
    client, secret = confidential(world)
    caplog.set_level(logging.DEBUG)
    code = client.code()
    client.token(grant_type="authorization_code", code=code, redirect_uri=REDIRECT, client_secret=secret)
    first = client.exchange(code, client_secret=secret).json()
    second = client.refresh(first["refresh_token"], client_secret=secret).json()
    assert asked(world, second["access_token"]) == 200
    client.refresh(first["refresh_token"], client_secret="wrong")
    kept = [secret, code, client.verifier]
    kept += [pair[name] for pair in (first, second) for name in ("access_token", "refresh_token")]
    said = caplog.text
    for model in (Client, ClientGrant, Code, AccessToken, RefreshToken):
        said += "".join(f"{row!r} {row}" for row in model.objects.all())
    said += repr(services.Pair(first["access_token"], first["refresh_token"]))
    assert [value for value in kept if value in said] == []
    if connection.vendor == "postgresql":
        found = []
        with connection.cursor() as cursor:
            for table in connection.introspection.table_names(cursor):
                for value in kept:
                    cursor.execute(f'SELECT count(*) FROM "{table}" AS t WHERE t::text LIKE %s', [f"%{value}%"])  # noqa: S608 - our own tables
                    found += [table] if cursor.fetchone()[0] else []
        assert found == []


# --- clients with a secret


def basic(client_id: str, secret: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{client_id}:{secret}".encode()).decode()}


def test_a_client_with_a_secret_gives_it_in_the_header_or_the_form(world: World) -> None:
    client, secret = confidential(world)
    given = client.exchange(client.code(), client_secret=secret)
    assert given.status_code == 200, given.text
    body = urlencode({"grant_type": "refresh_token", "refresh_token": given.json()["refresh_token"]}).encode()
    assert sent(world, body, **basic(client.client_id, secret)).status_code == 200


def test_a_client_with_a_secret_gets_nothing_without_it(world: World) -> None:
    client, secret = confidential(world)
    other, others = confidential(world)
    given = client.exchange(client.code(), client_secret=secret).json()
    for wrong in (
        None,
        "",
        "wrong",
        secret.swapcase(),
        others,
        Client.objects.get(client_id=client.client_id).client_secret,
    ):
        refused(client.refresh(given["refresh_token"], client_secret=wrong), "invalid_client", 401)
    body = urlencode({"grant_type": "refresh_token", "refresh_token": given["refresh_token"]}).encode()
    for header in (basic(client.client_id, "wrong"), basic(client.client_id, ""), basic("nobody", secret)):
        answer = sent(world, body, **header)
        refused(answer, "invalid_client", 401)
        assert answer.headers["www-authenticate"].startswith("Basic ")
    for malformed in ("Basic", "Basic !!!", "Basic gICA", "Basic " + "a" * 9_000, f"Bearer {secret}"):
        refused(sent(world, body, Authorization=malformed), "invalid_client", 401)
    named = body + b"&client_id=" + client.client_id.encode()
    assert sent(world, named, **basic(other.client_id, others)).status_code == 400
    assert client.refresh(given["refresh_token"], client_secret=secret).status_code == 200


def test_a_public_client_has_no_secret_that_could_be_right(world: World) -> None:
    client = known(world)
    given = client.signed_in()
    assert Client.objects.get(client_id=client.client_id).client_secret == ""
    refused(client.refresh(given["refresh_token"], client_secret="anything"), "invalid_client", 401)
    body = urlencode({"grant_type": "refresh_token", "refresh_token": given["refresh_token"]}).encode()
    refused(sent(world, body, **basic(client.client_id, "")), "invalid_client", 401)


# --- ending


@pytest.mark.parametrize(
    ("which", "hint"), [("access_token", None), ("refresh_token", None), ("access_token", "refresh_token")]
)
def test_a_client_ends_its_grant_with_either_token(world: World, which: str, hint: str | None) -> None:
    client = known(world)
    given = client.signed_in()
    assert asked(world, given["access_token"]) == 200
    form = {"client_id": client.client_id, "token": given[which], **({"token_type_hint": hint} if hint else {})}
    with world.product.http as http:
        assert http.post("/o/revoke_token/", data=form).status_code == 200
    assert asked(world, given["access_token"]) == 401
    refused(client.refresh(given["refresh_token"]), "invalid_grant")


def test_only_a_client_s_own_tokens_are_ended_and_it_is_not_told_which_exist(world: World) -> None:
    client, other = known(world), known(world)
    given = client.signed_in()
    tokens = [given["access_token"], given["refresh_token"], "mat_" + "A" * 43, "nonsense", "\x00", "é"]
    with world.product.http as http:
        answers = [http.post("/o/revoke_token/", data={"client_id": other.client_id, "token": t}) for t in tokens]
        nobody = http.post("/o/revoke_token/", data={"token": given["access_token"]})
        missing = http.post("/o/revoke_token/", data={"client_id": client.client_id})
        got = http.get("/o/revoke_token/", params={"client_id": client.client_id, "token": given["access_token"]})
    assert {(answer.status_code, answer.content) for answer in answers} == {(200, b"")}
    refused(nobody, "invalid_client", 401)
    refused(missing, "invalid_request")
    assert got.status_code == 405
    assert asked(world, given["access_token"]) == 200


# --- what is not there


def test_other_ways_to_a_token_do_not_exist(world: World) -> None:
    client = known(world)
    form = {"code": client.code(), "redirect_uri": REDIRECT, "code_verifier": client.verifier}
    form |= {"username": world.me.user.email, "password": PASSWORD, "device_code": "x", "scope": "mcp"}
    urn = "urn:ietf:params:oauth:grant-type:"
    others = [f"{urn}{name}" for name in ("device_code", "token-exchange", "jwt-bearer")]
    for grant_type in (
        *("password", "client_credentials", "implicit", "openid", "Authorization_Code", "", None),
        *others,
    ):
        answer = client.token(grant_type=grant_type, **form)
        assert answer.status_code == 400, answer.text
        assert answer.json()["error"] in {"unsupported_grant_type", "unauthorized_client", "invalid_request"}
    assert not AccessToken.objects.filter(application__client_id=client.client_id).exists()


def test_only_a_code_is_ever_sent_to_a_client(world: World) -> None:
    client = known(world)
    with Visitor(stops_at=REDIRECT) as visitor:
        for response_type in ("token", "id_token", "code token", "code id_token", "none", "", None):
            client.opened(visitor, response_type=response_type)
            said = client.answered(visitor)
            assert said["error"] in {"unsupported_response_type", "unauthorized_client", "invalid_request"}
            assert said["iss"] == world.product.url


def test_what_the_toolkit_could_do_besides_is_not_there(world: World) -> None:
    paths = [
        *(f"/o/{what}/" for what in ("device-authorization", "device", "introspect", "userinfo", "applications")),
        *("/o/authorized_tokens/", "/o/register/anything/", "/o/.well-known/jwks.json", "/.well-known/jwks.json"),
        *("/o/.well-known/openid-configuration", "/.well-known/openid-configuration"),
    ]
    with world.product.http as http:
        assert {http.get(path).status_code for path in paths} == {404}
        assert {http.post(path, data={"token": "x"}).status_code for path in paths} <= {403, 404}


# --- what programs read


def test_the_metadata_says_what_there_is_and_nothing_else(world: World) -> None:
    with world.product.http as http:
        found = http.get("/.well-known/oauth-authorization-server").json()
        elsewhere = http.get("/.well-known/oauth-authorization-server", headers={"X-Forwarded-Host": "evil.example"})
    url = world.product.url
    assert found == elsewhere.json()
    assert found["issuer"] == settings.PUBLIC_URL == url
    assert found["authorization_endpoint"] == f"{url}/o/authorize/"
    assert found["token_endpoint"] == f"{url}/o/token/"
    assert found["revocation_endpoint"] == f"{url}/o/revoke_token/"
    assert found["registration_endpoint"] == f"{url}/o/register/"
    assert found["code_challenge_methods_supported"] == ["S256"]
    assert found["response_types_supported"] == ["code"]
    assert found["grant_types_supported"] == ["authorization_code", "refresh_token"]
    assert found["scopes_supported"] == ["mcp", "offline_access"]
    assert found["authorization_response_iss_parameter_supported"] is True
    assert found["client_id_metadata_document_supported"] is True
    for which in ("token", "revocation"):
        methods = found[f"{which}_endpoint_auth_methods_supported"]
        assert methods == ["none", "client_secret_basic", "client_secret_post"]
    assert not {name for name in found if "jwks" in name or "introspection" in name or "device" in name}


def test_who_answers_is_said_in_every_answer_to_a_client(world: World) -> None:
    client = known(world)
    with Visitor(stops_at=REDIRECT) as visitor:
        client.opened(visitor)
        visitor.send(visitor.form_with("answer"), answer="allow")
        allowed = client.answered(visitor)
        client.opened(visitor)
        visitor.send(visitor.form_with("answer"), answer="deny")
        denied = client.answered(visitor)
    assert allowed.keys() == {"code", "state", "iss"}
    assert (denied["error"], denied["state"]) == ("access_denied", client.state)
    assert allowed["iss"] == denied["iss"] == world.product.url


@pytest.mark.parametrize(
    ("path", "method"),
    [
        ("/o/token/", "POST"),
        ("/o/revoke_token/", "POST"),
        ("/o/register/", "POST"),
        ("/.well-known/oauth-authorization-server", "GET"),
    ],
)
def test_pages_of_any_origin_may_call_and_read_but_send_no_cookie(world: World, path: str, method: str) -> None:
    origin = {"Origin": "https://inspector.example"}
    ask = {"Access-Control-Request-Method": method, "Access-Control-Request-Headers": "authorization,content-type"}
    with world.product.http as http:
        before = http.options(path, headers={**origin, **ask})
        answer = http.request(method, path, headers=origin)
        wrong = http.put(path, headers=origin)
    assert before.status_code == 204
    assert method in before.headers["access-control-allow-methods"]
    assert {"authorization", "content-type"} <= set(before.headers["access-control-allow-headers"].split(", "))
    assert wrong.status_code == 405
    for each in (before, answer, wrong):
        assert each.headers["access-control-allow-origin"] == "*"
        assert "access-control-allow-credentials" not in each.headers
        assert "set-cookie" not in each.headers


def test_a_page_s_session_counts_for_nothing_where_programs_ask(world: World) -> None:
    with Visitor() as visitor:
        world.log_in(visitor)
        answer = visitor.http.post(f"{world.product.url}/o/token/", data={"grant_type": "authorization_code"})
        page = visitor.http.get(f"{world.product.url}/o/authorize/", headers={"Origin": "https://evil.example"})
    assert answer.status_code == 400
    assert "access-control-allow-origin" not in page.headers


# --- what nobody sends by accident


def _bodies(client_id: str, refresh_token: str) -> dict[str, bytes]:
    mine = urlencode({"grant_type": "refresh_token", "client_id": client_id, "refresh_token": refresh_token}).encode()
    plain = b"grant_type=refresh_token&client_id=" + client_id.encode()
    return {
        "empty": b"",
        "nul": plain + b"&refresh_token=%00&scope=%00",
        "nul client": b"grant_type=refresh_token&client_id=%00&refresh_token=x",
        "bare nul": plain + b"&refresh_token=\x00",
        "invalid utf-8": plain + b"&refresh_token=%ff%fe&resource=\xff",
        "invalid utf-8 client": b"grant_type=refresh_token&client_id=%ff\xfe&refresh_token=x",
        "surrogate": plain + b"&refresh_token=%ed%a0%80",
        "not percent": b"grant_type=%zz&=&%&&;=;",
        "long client": b"grant_type=refresh_token&refresh_token=x&client_id=" + b"a" * 100_000,
        "long token": plain + b"&refresh_token=" + b"a" * 900_000,
        "long scope": mine + b"&scope=" + b"x+" * 100_000,
        "many fields": b"&".join(b"a%d=1" % n for n in range(2_000)),
        "twice the client": mine + b"&client_id=" + client_id.encode(),
        "twice the token": mine + b"&refresh_token=x",
        "twice the grant type": mine + b"&grant_type=authorization_code",
        "twice the scope": mine + b"&scope=mcp&scope=mcp",
        "too large": b"a=" + b"a" * 1_100_000,
    }


@pytest.mark.parametrize("path", ["/o/token/", "/o/revoke_token/"])
def test_a_form_nobody_sends_by_accident_is_a_clear_refusal(world: World, path: str) -> None:
    client = known(world)
    given = client.signed_in()
    for what, body in _bodies(client.client_id, given["refresh_token"]).items():
        answer = sent(world, body, path)
        assert 400 <= answer.status_code < 500, (what, answer.status_code)
        assert answer.json()["error"].startswith(("invalid_", "unsupported_")), (what, answer.text)
        assert "no-store" in answer.headers["cache-control"], what
    assert client.refresh(given["refresh_token"]).status_code == 200


def test_what_is_no_form_is_refused(world: World) -> None:
    kinds = ["application/json", "multipart/form-data; boundary=x", "multipart/form-data", "text/plain", ""]
    for kind in [*kinds, "application/x-www-form-urlencoded; charset=utf-16"]:
        for path in ("/o/token/", "/o/revoke_token/"):
            answer = sent(world, b'{"grant_type": "refresh_token"}', path, **{"Content-Type": kind})
            refused(answer, "invalid_request")


def test_what_belongs_into_the_form_is_not_read_from_the_address(world: World) -> None:
    client = known(world)
    form = {"grant_type": "authorization_code", "client_id": client.client_id, "code": client.code()}
    form |= {"code_verifier": client.verifier, "redirect_uri": REDIRECT}
    with world.product.http as http:
        assert http.get("/o/token/", params=form).status_code == 405
        refused(http.post("/o/token/", params=form, data={"a": "b"}), "invalid_request")
        refused(http.post("/o/token/", params={"client_id": client.client_id}, data=form), "invalid_request")
        refused(http.post("/o/revoke_token/", params={"client": "x"}, data={"token": "x"}), "invalid_request")
    assert not AccessToken.objects.filter(application__client_id=client.client_id).exists()


def test_a_field_named_like_our_own_words_changes_nothing(world: World) -> None:
    client = known(world)
    words = ("code_row", "client_grant", "client", "user", "scopes", "refresh_token_instance", "claims", "headers")
    named = dict.fromkeys(words, "x")
    given = client.exchange(client.code(), **named)
    assert given.status_code == 200, given.text
    again = client.refresh(given.json()["refresh_token"], **named)
    assert again.status_code == 200, again.text
    nobody = urlencode({"grant_type": "refresh_token", "refresh_token": secrets.token_hex(), **named}).encode()
    refused(sent(world, nobody), "invalid_client", 401)
    refused(sent(world, nobody + b"&token=x", "/o/revoke_token/"), "invalid_client", 401)
