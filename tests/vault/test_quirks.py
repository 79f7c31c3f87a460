"""What providers do differently is data: each works against a server that takes nothing but what it documents."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest

from providers import catalogue
from providers.errors import ToolError
from providers.simulator.authority import CALLBACK, CLIENT_ID, ODD_SECRET, PLACES, SECRET, TID, Authority
from providers.spec import OAuthSpec
from tests.world import serve
from vault import oauth
from vault.oauth import Client, Identity
from vault.services import trial
from vault.tokens import AnswerRefused, TokenSet

HERE = f"http://127.0.0.1:{os.environ['TEST_OTHER_PORT']}"
STATE = "a-state-that-nobody-can-guess"
BROWSER = httpx2.Client(trust_env=False)


@pytest.fixture(scope="module")
def server() -> Iterator[Authority]:
    quirky = Authority()
    with serve(quirky.app, int(os.environ["TEST_OTHER_PORT"])):
        yield quirky


def place(name: str, **facts: Any) -> OAuthSpec:
    revoke_url = f"{HERE}/{name}/revoke" if PLACES[name].revoke else None
    me = f"{HERE}/{name}/me" if PLACES[name].me else None
    urls = {"revoke_url": revoke_url, "identify_url": me, **facts}
    return OAuthSpec(authorize_url=f"{HERE}/{name}/authorize", token_url=f"{HERE}/{name}/token", **urls)


GITHUB: dict[str, Any] = {
    "granted_separator": ",",
    "subject_fields": ("id",),
    "label_fields": ("login",),
    "revoke_style": "json_basic",
    "revoke_kinds": ("access",),
}

CATALOGUE = [slug for slug in catalogue.slugs() if slug not in {"gmail", "gcalendar"}]
"""These two ask the same authorization server as gdrive."""
SPECS: dict[str, OAuthSpec] = {
    **{slug: trial.at_simulator(found, HERE) for slug in CATALOGUE if (found := catalogue.get(slug))},
    "github_app": place(
        "github_app",
        scope_separator="",
        dead_grant_errors=frozenset({"invalid_grant", "bad_refresh_token"}),
        grant_idle_s=15_897_600,
        revoke_url=f"{HERE}/github_app/applications/{{client_id}}/token",
        **GITHUB,
    ),
    "standard": place(
        "standard", scopes=("a", "b"), client_auth="client_secret_basic", resource="https://api.example.com/"
    ),
    "public": place("public", scopes=("a",)),
}

ANN = "ann@example.com"
EXPECTED: dict[str, dict[str, Any]] = {
    "sentry": {"identity": Identity("1", ANN), "lives_s": 2_591_999, "revoked": "dead"},
    "gdrive": {
        "identity": Identity("11039483", ANN),
        "lives_s": 3_599,
        "new_refresh_token": False,
        "old_refresh_token": "good",
        "revoked": "dead",
    },
    "github": {"identity": Identity("583231", "ann"), "lives_s": None, "refreshed": None, "revoked": "dead"},
    "github_app": {"identity": Identity("583231", "ann"), "lives_s": 28_800, "revoked": "dead"},
    "slack": {"identity": Identity("T1:U1", "Acme"), "lives_s": 43_200, "revoked": "dead"},
    "linear": {
        "identity": Identity("5f0c5a10-1111-4c3a-8000-000000000001", ANN),
        "lives_s": 86_399,
        "revoked": "dead",
    },
    "notion": {
        "identity": Identity("b3414d65-1111-4c3a-8000-000000000001", "Acme wiki"),
        "lives_s": 300,
        "revoked": "dead",
    },
    "jira": {"identity": Identity("5b10a2844c20165700ede21g", ANN), "lives_s": 3_600, "old_refresh_token": "good"},
    "gitlab": {"identity": Identity("42", "ann"), "lives_s": 7_200, "revoked": "dead"},
    "hubspot": {
        "identity": Identity("62515", "62515"),
        "lives_s": 1_800,
        "old_refresh_token": "good",
        "revoked": "dead",
    },
    "asana": {
        "identity": Identity("4673218951", ANN),
        "lives_s": 3_600,
        "new_refresh_token": False,
        "old_refresh_token": "good",
        "revoked": "dead",
    },
    "stripe": {"identity": Identity("acct_1", "acct_1"), "lives_s": 3_600, "granted": {"stripe_apps"}},
    "salesforce": {
        "identity": Identity(
            "https://login.salesforce.com/id/00D000000000001/005000000000001", "https://acme.my.salesforce.com"
        ),
        "api_base": "https://acme.my.salesforce.com",
        "lives_s": 7_200,
        "new_refresh_token": False,
        "old_refresh_token": "good",
        "revoked": "dead",
    },
    "msgraph": {
        "identity": Identity(f"{TID}:00000000-0000-0000-66f3-3332eca7ea81", ANN),
        "lives_s": 4_217,
        "old_refresh_token": "good",
    },
    "standard": {"identity": Identity("1", ANN), "lives_s": 600, "revoked": "dead"},
    "public": {"identity": Identity("1", "1"), "lives_s": 600, "revoked": "dead"},
}


def client_of(name: str, **changes: Any) -> Client:
    secrets = {"standard": ODD_SECRET, "public": None}
    return Client(replace(SPECS[name], **changes), CLIENT_ID, secrets.get(name, SECRET), CALLBACK)


def code_for(client: Client, verifier: str, nonce: str | None) -> str:
    """What the person's browser brings back."""
    url = oauth.authorize_url(client, scopes=client.spec.scopes, state=STATE, verifier=verifier, nonce=nonce)
    page = BROWSER.get(url)
    if page.status_code != 307:
        raise AnswerRefused(f"authorize: {page.text}")
    answer = parse_qs(urlsplit(page.headers["location"]).query)
    assert answer["state"] == [STATE]
    return answer["code"][0]


def connect(client: Client, nonce: str | None = None) -> TokenSet:
    verifier = oauth.new_verifier()
    return oauth.exchange_code(client, code=code_for(client, verifier, nonce), verifier=verifier)


def outcome(step: Callable[[], Any]) -> Any:
    try:
        return step()
    except AnswerRefused as refused:
        return refused.code
    except ToolError as failed:
        return type(failed).__name__


def walk(server: Authority, client: Client) -> dict[str, Any]:
    """All of a connection's life, and what came of each step."""
    spec = client.spec
    nonce = oauth.nonce_of(STATE) if spec.identity == "id_token" else None
    tokens = connect(client, nonce)
    seen: dict[str, Any] = {
        "identity": outcome(lambda: oauth.identify(client, tokens, nonce=nonce)),
        "granted": set(oauth.granted(spec, tokens, spec.scopes)),
        "lives_s": tokens.lives_s(spec, renewable=tokens.refresh is not None),
        "revocable": oauth.revocable(client),
        "api_base": tokens.api_base,
    }
    held = old = tokens.refresh
    if old is not None:
        fresh = oauth.refresh(client, refresh_token=old)
        seen["refreshed"] = set(oauth.granted(spec, fresh, spec.scopes))
        seen["new_refresh_token"] = fresh.refresh is not None
        held = fresh.refresh or old
        again = outcome(lambda: oauth.refresh(client, refresh_token=old))
        seen["old_refresh_token"] = "good" if isinstance(again, TokenSet) else again
        tokens = fresh
        server.end(held)
        seen["ended"] = outcome(lambda: oauth.refresh(client, refresh_token=held))
    tokens = connect(client)
    seen["revoked"] = outcome(lambda: oauth.revoke_all(client, refresh=tokens.refresh, access=tokens.access))
    if seen["revoked"] is None:
        seen["revoked"] = "alive" if any(map(server.works, filter(None, (tokens.refresh, tokens.access)))) else "dead"
    seen["revoked_again"] = outcome(lambda: oauth.revoke_all(client, refresh=tokens.refresh, access=tokens.access))
    return seen


def documented(name: str) -> dict[str, Any]:
    """What must come of a walk."""
    spec = SPECS[name]
    shown = {"granted": set(spec.scopes), "revocable": spec.revoke_url is not None, "revoked": "Unavailable"}
    shown |= {"api_base": None}
    wanted = {**shown, **EXPECTED[name]}
    wanted["revoked_again"] = None if wanted["revocable"] else "Unavailable"
    if wanted.pop("refreshed", "") is not None:
        usual = {"new_refresh_token": True, "old_refresh_token": "invalid_grant", "ended": "invalid_grant"}
        wanted = {**usual, "refreshed": wanted["granted"], **wanted}
    return wanted


@pytest.mark.parametrize("name", SPECS)
def test_a_provider_is_spoken_to_as_it_documents(server: Authority, name: str) -> None:
    assert walk(server, client_of(name)) == documented(name)


@pytest.mark.parametrize(
    ("name", "left_out"),
    [
        ("gdrive", {"authorize_params": {}}),
        ("gdrive", {"scope_aliases": {}}),
        ("gdrive", {"identity": "answer"}),
        ("gdrive", {"revoke_style": "rfc7009"}),
        ("github", {"revoke_style": "rfc7009"}),
        ("github_app", {"scopes": ("repo",), "scope_separator": " "}),
        ("github_app", {"dead_grant_errors": frozenset({"invalid_grant"})}),
        ("slack", {"scope_param": "scope"}),
        ("slack", {"scope_separator": " "}),
        ("slack", {"granted_separator": " "}),
        ("slack", {"token_path": ()}),
        ("slack", {"dead_grant_errors": frozenset({"invalid_grant"})}),
        ("slack", {"revoke_style": "rfc7009"}),
        ("linear", {"identify_body": None}),
        ("notion", {"token_body": "form"}),
        ("notion", {"client_auth": "client_secret_post"}),
        ("notion", {"pkce": True}),
        ("notion", {"authorize_params": {}}),
        ("notion", {"headers": {}}),
        ("jira", {"authorize_params": {}}),
        ("gitlab", {"lifetime_s": None}),
        ("hubspot", {"dead_grant_errors": frozenset({"invalid_grant"})}),
        ("hubspot", {"revoke_kinds": ("access",)}),
        ("stripe", {"client_auth": "client_secret_basic"}),
        ("stripe", {"pkce": True}),
        ("salesforce", {"revoke_style": "rfc7009"}),
        ("salesforce", {"api_base_path": ()}),
        ("msgraph", {"unlisted_scopes": frozenset()}),
        ("msgraph", {"issuer": "https://login.microsoftonline.com/common/v2.0"}),
        ("standard", {"client_auth": "client_secret_post"}),
        ("standard", {"resource": None}),
    ],
)
def test_a_fact_left_out_is_missed(server: Authority, name: str, left_out: dict[str, Any]) -> None:
    assert outcome(lambda: walk(server, client_of(name, **left_out))) != documented(name)


@pytest.mark.parametrize("name", SPECS)
def test_a_code_gives_tokens_once_and_only_with_its_verifier(server: Authority, name: str) -> None:
    client, verifier = client_of(name), oauth.new_verifier()
    code = code_for(client, verifier, None)
    assert oauth.exchange_code(client, code=code, verifier=verifier).access
    with pytest.raises(AnswerRefused):
        oauth.exchange_code(client, code=code, verifier=verifier)
    if client.spec.pkce:
        code = code_for(client, verifier, None)
        with pytest.raises(AnswerRefused):
            oauth.exchange_code(client, code=code, verifier=oauth.new_verifier())


def test_no_scope_is_asked_of_a_provider_that_takes_none() -> None:
    for name, scopes in (("notion", ("a", "b")), ("sentry", ())):
        url = oauth.authorize_url(client_of(name), scopes=scopes, state=STATE, verifier=oauth.new_verifier())
        assert "scope" not in parse_qs(urlsplit(url).query, keep_blank_values=True)


def test_no_redirect_is_followed(server: Authority) -> None:
    client = client_of("sentry")
    tokens = connect(client)
    assert tokens.refresh is not None
    spec, moved = client.spec, f"{HERE}/moved/sentry"
    elsewhere = replace(
        client,
        spec=replace(spec, token_url=f"{moved}/token", revoke_url=f"{moved}/revoke", identify_url=f"{moved}/me"),
    )
    verifier = oauth.new_verifier()
    code = code_for(client, verifier, None)
    before = server.hits["sentry"]
    assert outcome(lambda: oauth.exchange_code(elsewhere, code=code, verifier=verifier)) == "refused"
    assert outcome(lambda: oauth.refresh(elsewhere, refresh_token=tokens.refresh or "")) == "refused"
    assert outcome(lambda: oauth.identify(elsewhere, tokens, nonce=None)) == "identity_unknown"
    assert outcome(lambda: oauth.revoke_all(elsewhere, refresh=tokens.refresh, access=tokens.access)) == "Unavailable"
    assert server.hits["sentry"] == before
    assert server.works(tokens.refresh)


def test_what_is_not_confirmed_dead_is_not_called_dead(server: Authority) -> None:
    client = client_of("sentry")
    tokens = connect(client)
    for wrong in (
        replace(client, secret="wrong"),
        replace(client, spec=replace(client.spec, revoke_url=f"{HERE}/nowhere")),
        replace(client, spec=replace(client.spec, revoke_url=f"{HERE}/sentry/token")),
        replace(client, spec=replace(client.spec, revoke_url="http://127.0.0.1:9/revoke")),
        replace(client, spec=replace(client.spec, revoke_url=None)),
    ):
        with pytest.raises(ToolError):
            oauth.revoke_all(wrong, refresh=tokens.refresh, access=tokens.access)
        assert oauth.discard(wrong, tokens) is False
    assert server.works(tokens.access)
    assert oauth.discard(client, tokens) is True
    assert not server.works(tokens.access)


def test_a_revocation_that_does_not_say_that_it_worked_did_not(server: Authority) -> None:
    tokens = connect(client_of("slack"))
    with pytest.raises(ToolError):
        oauth.revoke_all(client_of("slack", ok_field="done"), refresh=None, access=tokens.access)


def test_the_second_token_is_killed_when_the_first_is_not(server: Authority) -> None:
    client = client_of("notion", revoke_kinds=("refresh", "access"))  # takes access tokens only
    tokens = connect(client)
    with pytest.raises(ToolError):
        oauth.revoke_all(client, refresh=tokens.refresh, access=tokens.access)
    assert not server.works(tokens.access)


def test_an_access_token_alone_is_killed_where_refresh_tokens_are_asked_for(server: Authority) -> None:
    client = client_of("sentry", revoke_kinds=("refresh",))
    tokens = connect(client)
    oauth.revoke_all(client, refresh=None, access=tokens.access)
    assert not server.works(tokens.access)


def test_where_all_tokens_are_one_grant_none_is_discarded(server: Authority) -> None:
    client = client_of("gdrive")
    tokens = connect(client)
    assert oauth.discard(client, tokens) is False
    assert server.works(tokens.access)


def test_an_id_token_is_for_the_round_trip_it_was_asked_in(server: Authority) -> None:
    client = client_of("gdrive")
    nonce = oauth.nonce_of(STATE)
    assert nonce == oauth.nonce_of(STATE)
    assert STATE not in nonce
    tokens = connect(client, nonce)
    assert oauth.identify(client, tokens, nonce=nonce).subject == "11039483"
    assert outcome(lambda: oauth.identify(client, tokens, nonce=oauth.nonce_of("another"))) == "identity_unknown"
    assert outcome(lambda: oauth.identify(client, connect(client), nonce=nonce)) == "identity_unknown"
    assert oauth.identify(client, tokens, nonce=None).subject == "11039483"


@pytest.mark.parametrize(
    "change",
    [
        {"issuer": None},
        {"issuer": "https://accounts.google.com/"},
        {"issuer": "https://accounts.google.com.evil.example"},
        {"subject_fields": ("email",)},
        {"subject_fields": ("unknown", "Email")},
        {"subject_fields": ("iat+email",)},
        {"subject_fields": ("nonce",)},
        {"subject_fields": ("sub.id",)},
    ],
)
def test_an_identity_that_is_not_sure_is_none(server: Authority, change: dict[str, Any]) -> None:
    client = client_of("gdrive", **change)
    assert outcome(lambda: oauth.identify(client, connect(client), nonce=None)) == "identity_unknown"


@pytest.mark.parametrize("name", ["sentry", "slack"])
def test_who_a_token_is_must_be_said_by_the_provider(server: Authority, name: str) -> None:
    tokens = connect(client_of(name))
    for url in (None, f"{HERE}/nowhere", f"{HERE}/{name}/token"):
        with pytest.raises(AnswerRefused, match="identity_unknown"):
            oauth.identify(client_of(name, identify_url=url), tokens, nonce=None)
    assert oauth.identify(client_of(name), tokens, nonce=None).subject
    server.end(tokens.access)
    with pytest.raises(AnswerRefused, match="identity_unknown"):
        oauth.identify(client_of(name), tokens, nonce=None)


@pytest.mark.parametrize(
    ("said", "subject"),
    [
        ({"id": 7}, "7"),
        ({"id": "a"}, "a"),
        ({"id": "a", "sub": "b"}, "b"),
        ({"id": "a", "sub": None}, "a"),
        ({"id": "a", "sub": ""}, None),
        ({"id": "a", "sub": True}, None),
        ({"id": "a", "sub": 7.5}, None),
        ({"id": "a", "sub": ["b"]}, None),
        ({"id": "a", "sub": "b\r\n"}, None),
        ({"id": "a", "sub": "b\u202e"}, None),
        ({"id": "a", "sub": "b" * 201}, None),
        ({"email": "a@example.com"}, None),
        ({"user": {"id": 1}, "team": {"id": 2}}, "2:1"),
        ({"user": {"id": 1}, "team": {"id": ""}}, None),
        ({"user": {"id": 1}, "team": [2]}, None),
    ],
)
def test_an_identity_is_taken_as_it_is_or_not_at_all(said: dict[str, Any], subject: str | None) -> None:
    client = client_of("notion", subject_fields=("sub", "id", "email", "team.id+user.id"), label_fields=("sub", "name"))
    tokens = TokenSet("a", None, None, None, {**said, "name": " A\u202enn\n" + "n" * 300})
    if subject is None:
        with pytest.raises(AnswerRefused, match="identity_unknown"):
            oauth.identify(client, tokens, nonce=None)
    else:
        identity = oauth.identify(client, tokens, nonce=None)
        assert identity.subject == subject
        assert identity.label in {subject, ("Ann" + "n" * 300)[:200]}


def test_tokens_do_not_print(server: Authority) -> None:
    tokens = connect(client_of("notion"))
    assert tokens.refresh is not None
    shown = f"{tokens} {tokens!r} {client_of('notion')!r}"
    assert not any(secret in shown for secret in (tokens.access, tokens.refresh, SECRET))
