"""The sandbox's authorization server keeps the rules a careful provider keeps."""

from __future__ import annotations

import re

import pytest

from .visitor import ADA, BRUNO, REDIRECT_URI, Clock, Visitor, sent_back


async def test_a_consent_becomes_tokens_in_sentrys_shape(visitor: Visitor) -> None:
    tokens = await visitor.connect(ADA)
    assert tokens == {
        "access_token": tokens["access_token"],
        "refresh_token": tokens["refresh_token"],
        "expires_in": 3600,
        "expires_at": "2026-11-22T16:30:00Z",
        "token_type": "bearer",
        "scope": "org:read project:read event:read",
        "user": {"id": "1", "name": "Ada Byrne", "email": ADA},
    }
    assert tokens["access_token"] != tokens["refresh_token"]
    me = (await visitor.api(tokens, "users/me/")).json()
    assert (me["id"], me["email"]) == ("1", ADA)


async def test_who_is_not_logged_in_logs_in_first_and_comes_back(visitor: Visitor) -> None:
    sent = await visitor.ask()
    assert sent.status_code == 303
    login = await visitor.http.get(sent.headers["location"])
    assert login.text.count('name="email"') == 3
    after = re.search(r'name="next" value="([^"]+)"', login.text)
    assert after
    back = await visitor.log_in(to=after[1].replace("&amp;", "&"))
    assert back.headers["location"].startswith("/oauth/authorize/?response_type=code&client_id=")


async def test_a_wrong_password_is_refused(visitor: Visitor) -> None:
    answer = await visitor.log_in(password="guess")
    assert answer.status_code == 403
    assert "do not match" in answer.text
    assert (await visitor.ask()).status_code == 303


@pytest.mark.parametrize("to", ["https://evil.example/", "//evil.example/", "/\\evil.example", "evil"])
async def test_log_in_leads_nowhere_else(visitor: Visitor, to: str) -> None:
    assert (await visitor.log_in(to=to)).headers["location"] == "/"


@pytest.mark.parametrize(
    "changed",
    [
        {"code_challenge": ""},
        {"code_challenge_method": ""},
        {"code_challenge_method": "plain"},
        {"code_challenge": "a"},
    ],
)
async def test_pkce_with_s256_is_required(visitor: Visitor, changed: dict[str, str]) -> None:
    await visitor.log_in()
    back = sent_back(await visitor.ask(**changed))
    assert (back["error"], back["state"]) == ("invalid_request", "s-1")


@pytest.mark.parametrize("verifier", ["", "w" * 64, "v" * 42])
async def test_a_code_needs_the_verifier_of_its_challenge(visitor: Visitor, verifier: str) -> None:
    answer = await visitor.exchange(await visitor.code(), code_verifier=verifier)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")


async def test_a_code_works_only_once_and_its_second_use_kills_what_it_gave(visitor: Visitor) -> None:
    code = await visitor.code()
    tokens = (await visitor.exchange(code)).json()
    again = await visitor.exchange(code)
    assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")
    assert (await visitor.api(tokens, "users/me/")).status_code == 401
    assert (await visitor.refresh(tokens)).json()["error"] == "invalid_grant"


async def test_a_code_dies_after_a_minute(visitor: Visitor, clock: Clock) -> None:
    code = await visitor.code()
    clock.now += 61
    assert (await visitor.exchange(code)).json()["error"] == "invalid_grant"


async def test_a_code_is_good_for_its_own_redirect_uri_and_client_alone(visitor: Visitor, other: Visitor) -> None:
    code = await visitor.code()
    assert (await other.exchange(code)).json()["error"] == "invalid_grant"
    assert (await visitor.exchange(code, redirect_uri=REDIRECT_URI + "x")).json()["error"] == "invalid_grant"


async def test_unticked_scopes_narrow_the_token(visitor: Visitor) -> None:
    tokens = await visitor.connect(untick=("event:read",))
    assert tokens["scope"] == "org:read project:read"
    refused = await visitor.api(tokens, "organizations/acme/issues/")
    assert (refused.status_code, refused.json()) == (
        403,
        {"detail": "You do not have permission to perform this action."},
    )
    assert (await visitor.api(tokens, "organizations/acme/releases/")).status_code == 200


async def test_scopes_that_were_not_asked_for_cannot_be_ticked(visitor: Visitor) -> None:
    await visitor.log_in()
    page = await visitor.ask(scope="org:read")
    pending = re.search(r'name="pending" value="([^"]+)"', page.text)
    assert pending
    form = {"pending": pending[1], "op": "approve", "scope": ["org:read", "event:write"]}
    code = sent_back(await visitor.http.post("/oauth/authorize/", data=form))["code"]
    assert (await visitor.exchange(code)).json()["scope"] == "org:read"


@pytest.mark.parametrize(("op", "untick"), [("deny", ()), ("approve", ("org:read", "project:read", "event:read"))])
async def test_refusing_goes_back_with_access_denied(visitor: Visitor, op: str, untick: tuple[str, ...]) -> None:
    await visitor.log_in()
    assert sent_back(await visitor.decide(await visitor.ask(), op=op, untick=untick)) == {
        "error": "access_denied",
        "state": "s-1",
    }


@pytest.mark.parametrize("uri", ["", REDIRECT_URI + "x", REDIRECT_URI[:-1], REDIRECT_URI.replace(":8000", ":8001")])
async def test_nobody_is_sent_to_an_address_that_is_not_registered(visitor: Visitor, uri: str) -> None:
    await visitor.log_in()
    answer = await visitor.ask(redirect_uri=uri)
    assert answer.status_code == 400
    assert "location" not in answer.headers


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"scope": "org:read moon:walk"}, "invalid_scope"),
        ({"scope": ""}, "invalid_scope"),
        ({"response_type": "token"}, "unsupported_response_type"),
    ],
)
async def test_a_wrong_request_goes_back_to_the_client(visitor: Visitor, changed: dict[str, str], error: str) -> None:
    assert sent_back(await visitor.ask(**changed))["error"] == error


async def test_a_repeated_parameter_is_refused(visitor: Visitor) -> None:
    twice = await visitor.http.get(f"/oauth/authorize/?client_id={visitor.client_id}&client_id=x")
    assert twice.status_code == 400
    form = [("client_id", visitor.client_id), ("client_id", visitor.client_id)]
    answer = await visitor.http.post(
        "/oauth/token/",
        content="&".join(f"{name}={value}" for name, value in form),
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )
    assert answer.json()["error"] == "invalid_request"


async def test_a_consent_form_counts_once_for_its_own_person_and_from_its_own_page(
    visitor: Visitor, other: Visitor
) -> None:
    await visitor.log_in(ADA)
    page = await visitor.ask()
    assert (await visitor.decide(page)).status_code == 303
    assert (await visitor.decide(page)).status_code == 403

    await other.log_in(BRUNO)
    assert (await other.decide(await visitor.ask())).status_code == 403
    assert (await visitor.decide(await visitor.ask(), origin="http://127.0.0.1:9999")).status_code == 403
    assert (await visitor.decide(await visitor.ask(), origin="http://127.0.0.1:8100")).status_code == 303


async def test_a_refresh_gives_a_new_pair_and_ends_the_old_one(visitor: Visitor) -> None:
    old = await visitor.connect(untick=("event:read",))
    new = (await visitor.refresh(old)).json()
    assert not {old["access_token"], old["refresh_token"]} & {new["access_token"], new["refresh_token"]}
    assert new["scope"] == old["scope"]
    assert (await visitor.api(old, "users/me/")).status_code == 401
    assert (await visitor.api(new, "users/me/")).status_code == 200


async def test_using_a_refresh_token_again_kills_the_whole_family(visitor: Visitor) -> None:
    first = await visitor.connect()
    second = (await visitor.refresh(first)).json()
    third = (await visitor.refresh(second)).json()
    assert (await visitor.refresh(first)).json()["error"] == "invalid_grant"
    assert (await visitor.api(third, "users/me/")).status_code == 401
    assert (await visitor.refresh(third)).json()["error"] == "invalid_grant"


async def test_one_family_dies_without_another(visitor: Visitor) -> None:
    first, second = await visitor.connect(), await visitor.connect()
    await visitor.refresh(first)
    await visitor.refresh(first)
    assert (await visitor.api(second, "users/me/")).status_code == 200


async def test_a_refresh_token_is_its_own_clients_alone(visitor: Visitor, other: Visitor) -> None:
    tokens = await visitor.connect()
    assert (await other.refresh(tokens)).json()["error"] == "invalid_grant"
    assert (await visitor.refresh(tokens)).status_code == 200


@pytest.mark.parametrize("fields", [{"client_secret": "wrong"}, {"client_secret": ""}, {"client_id": "unknown"}])
async def test_a_client_without_its_secret_gets_nothing(visitor: Visitor, fields: dict[str, str]) -> None:
    tokens = await visitor.connect()
    answer = await visitor.refresh(tokens, **fields)
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    form = {"client_id": visitor.client_id, "client_secret": visitor.client_secret, "token": tokens["access_token"]}
    assert (await visitor.http.post("/oauth/revoke/", data=form | fields)).status_code == 401
    assert (await visitor.api(tokens, "users/me/")).status_code == 200


@pytest.mark.parametrize("which", ["access_token", "refresh_token"])
async def test_revoking_either_token_ends_both(visitor: Visitor, which: str) -> None:
    tokens = await visitor.connect()
    form = {"client_id": visitor.client_id, "client_secret": visitor.client_secret, "token": tokens[which]}
    assert (await visitor.http.post("/oauth/revoke/", data=form)).status_code == 200
    assert (await visitor.api(tokens, "users/me/")).status_code == 401
    assert (await visitor.refresh(tokens)).json()["error"] == "invalid_grant"
    assert (await visitor.http.post("/oauth/revoke/", data=form)).status_code == 200


async def test_a_client_cannot_revoke_anothers_token(visitor: Visitor, other: Visitor) -> None:
    tokens = await visitor.connect()
    form = {"client_id": other.client_id, "client_secret": other.client_secret, "token": tokens["access_token"]}
    assert (await other.http.post("/oauth/revoke/", data=form)).status_code == 200
    assert (await visitor.api(tokens, "users/me/")).status_code == 200


async def test_an_access_token_lives_as_long_as_it_says(visitor: Visitor, clock: Clock) -> None:
    await visitor.faults(access_ttl_s=5)
    tokens = await visitor.connect()
    assert tokens["expires_in"] == 5
    clock.now += 4
    assert (await visitor.api(tokens, "users/me/")).status_code == 200
    clock.now += 2
    expired = await visitor.api(tokens, "users/me/")
    assert (expired.status_code, expired.json()) == (401, {"detail": "Invalid token"})
    assert (await visitor.refresh(tokens)).status_code == 200


async def test_a_person_can_remove_what_they_connected(visitor: Visitor) -> None:
    tokens = await visitor.connect()
    home = await visitor.http.get("/")
    shown = re.search(r'name="authorization" value="([^"]+)"', home.text)
    assert shown
    for named in re.findall(r'name="authorization" value="([^"]+)"', home.text):
        await visitor.http.post("/settings/account/authorizations/", data={"authorization": named})
    assert (await visitor.api(tokens, "users/me/")).status_code == 401


async def test_pages_escape_what_they_show_and_load_nothing_foreign(visitor: Visitor) -> None:
    await visitor.log_in()
    page = await visitor.ask()
    assert "Test &amp; &lt;Application&gt;" in page.text
    assert "<Application>" not in page.text
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "style=" not in page.text
    assert "<script" not in page.text
    assert (await visitor.http.get("/sandbox.css")).headers["content-type"].startswith("text/css")


async def test_only_this_machines_names_are_answered(visitor: Visitor) -> None:
    assert (await visitor.http.get("/_stats", headers={"Host": "evil.example"})).status_code == 400
