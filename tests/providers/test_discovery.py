"""From an address to how accounts are connected: servers are believed exactly as far as the standards let them be."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import httpx2
import pytest

from providers.discovery import (
    Found,
    Server,
    Undiscovered,
    at_mcp,
    authorization_server,
    oauth_facts,
    read_challenge,
    register,
    scopes_to_ask,
)
from providers.egress import EgressPolicy
from providers.spec import Access

URL = "https://mcp.example.com/v1/mcp"
PRM = "https://mcp.example.com/.well-known/oauth-protected-resource/v1/mcp"
ROOT_PRM = "https://mcp.example.com/.well-known/oauth-protected-resource"
ISSUER = "https://login.example.net/tenant"
META = "https://login.example.net/.well-known/oauth-authorization-server/tenant"
CALLBACK = "https://agents.example.org/oauth/callback/1/"
PUBLIC = EgressPolicy()

RESOURCE = {"resource": URL, "authorization_servers": [ISSUER], "scopes_supported": ["read", "write"]}
METADATA = {
    "issuer": ISSUER,
    "authorization_endpoint": f"{ISSUER}/authorize",
    "token_endpoint": f"{ISSUER}/token",
    "registration_endpoint": f"{ISSUER}/register",
    "response_types_supported": ["code"],
    "code_challenge_methods_supported": ["S256"],
    "token_endpoint_auth_methods_supported": ["client_secret_post", "none"],
}
CHALLENGE = {"WWW-Authenticate": f'Bearer resource_metadata="{PRM}", scope="read"'}

Answer = httpx2.Response | Callable[[httpx2.Request], httpx2.Response]


def said(document: Any, status: int = 200, **headers: str) -> httpx2.Response:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return httpx2.Response(status, headers={"content-type": "application/json", **headers}, content=body)


def web(answers: Mapping[str, Answer], asked: list[str] | None = None) -> httpx2.Client:
    """Some addresses that answer; every other is 404."""

    def handle(request: httpx2.Request) -> httpx2.Response:
        if asked is not None:
            asked.append(f"{request.method} {request.url}")
        answer = answers.get(str(request.url), httpx2.Response(404))
        return answer(request) if callable(answer) else answer

    return httpx2.Client(transport=httpx2.MockTransport(handle))


def protected(**changes: Any) -> dict[str, Answer]:
    """A server as it should be, with changes to its resource metadata and its authorization server's."""
    resource = {**RESOURCE, **changes.pop("resource", {})}
    return {
        URL: httpx2.Response(401, headers=CHALLENGE),
        PRM: said(resource),
        META: said({**METADATA, **changes.pop("metadata", {})}),
        **changes,
    }


def found(answers: Mapping[str, Answer], asked: list[str] | None = None, **more: Any) -> Found:
    with web(answers, asked) as http:
        return at_mcp(http, URL, policy=PUBLIC, **more)


def refusal(answers: Mapping[str, Answer], **more: Any) -> str:
    with pytest.raises(Undiscovered) as caught:
        found(answers, **more)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def server(**changes: Any) -> Server:
    with web({META: said({**METADATA, **changes})}) as http:
        return authorization_server(http, ISSUER, policy=PUBLIC)


# --- what is found


def test_a_challenge_leads_to_the_metadata_and_on_to_the_authorization_server() -> None:
    asked: list[str] = []
    was = found(protected(), asked)
    assert asked == [f"POST {URL}", f"GET {PRM}", f"GET {META}"]
    assert (was.access, was.resource, was.scopes) == (Access.OAUTH, URL, ("read",))
    assert was.server is not None
    assert (was.server.issuer, was.server.token_url) == (ISSUER, f"{ISSUER}/token")


def test_without_a_hint_the_metadata_is_looked_for_below_the_path_and_then_at_the_root() -> None:
    answers = protected()
    answers |= {URL: httpx2.Response(401), PRM: httpx2.Response(404), ROOT_PRM: answers[PRM]}
    asked: list[str] = []
    was = found(answers, asked)
    assert asked[1:3] == [f"GET {PRM}", f"GET {ROOT_PRM}"]
    assert was.scopes == ("read", "write")  # no challenge said less


@pytest.mark.parametrize(
    "at",
    [
        "https://login.example.net/.well-known/openid-configuration/tenant",
        "https://login.example.net/tenant/.well-known/openid-configuration",
    ],
)
def test_both_forms_of_openid_connect_discovery_are_tried(at: str) -> None:
    answers = protected()
    answers[at] = answers.pop(META)
    was = found(answers)
    assert was.server is not None


def test_a_server_that_answers_asks_for_no_account_and_one_that_says_only_401_for_a_key() -> None:
    assert found({URL: said({"jsonrpc": "2.0", "id": 1, "result": {}})}).access is Access.NONE
    assert found({URL: said({"error": {}}, 400)}).access is Access.NONE  # it wants a session first, and no account
    assert found({URL: httpx2.Response(401)}).access is Access.KEY
    assert found({URL: httpx2.Response(401, headers={"WWW-Authenticate": 'Basic realm="x"'})}).access is Access.KEY


def test_what_an_administrator_says_is_not_asked_again() -> None:
    asked: list[str] = []
    assert found({}, asked, access=Access.KEY).access is Access.KEY
    assert asked == []
    answers = {**protected(), URL: said({})}  # it lists to everybody and asks when a tool is called
    assert found(answers, access=Access.OAUTH).access is Access.OAUTH


def test_an_older_server_is_its_own_authorization_server() -> None:
    origin = "https://mcp.example.com"
    metadata = said({**METADATA, "issuer": f"{origin}/"})
    was = found({URL: httpx2.Response(401), f"{origin}/.well-known/oauth-authorization-server": metadata})
    assert was.server is not None
    assert (was.server.issuer, was.resource) == (f"{origin}/", URL)


@pytest.mark.parametrize(
    "resource", [URL, "https://mcp.example.com/v1", "https://mcp.example.com/", "https://mcp.example.com"]
)
def test_tokens_are_asked_for_the_address_or_a_parent_of_it_as_the_metadata_says(resource: str) -> None:
    assert found(protected(resource={"resource": resource})).resource == resource


def test_one_of_several_authorization_servers_can_be_named() -> None:
    other = "https://sso.example.org"
    answers = protected(resource={"authorization_servers": ["https://first.example", other]})
    answers[f"{other}/.well-known/oauth-authorization-server"] = said({**METADATA, "issuer": other})
    was = found(answers, issuer=other)
    assert was.server is not None
    assert was.server.issuer == other
    assert "does not name" in refusal(answers, issuer=ISSUER)


@pytest.mark.parametrize(
    ("header", "read"),
    [
        (f'Bearer resource_metadata="{PRM}"', (PRM, None)),
        (f"bearer resource_metadata={PRM}, scope=a", (PRM, ("a",))),
        (
            f'Basic realm="scope=x", Bearer error="invalid_token", scope="a b a", resource_metadata="{PRM}"',
            (PRM, ("a", "b")),
        ),
        ('Bearer scope=""', (None, ())),
        ('Basic realm="x"', (None, None)),
        ("", (None, None)),
    ],
)
def test_a_challenge_is_read_in_every_form_it_has(header: str, read: tuple[str | None, tuple[str, ...] | None]) -> None:
    assert read_challenge(header) == read


# --- what is not believed


@pytest.mark.parametrize(
    "resource",
    [
        "https://mcp.example.com/v1/mcp2",
        "https://mcp.example.com/v1/mcp/deeper",
        "https://mcp.example.com/v",
        "https://other.example.com/v1/mcp",
        "http://mcp.example.com/v1/mcp",
        "https://mcp.example.com:444/v1/mcp",
        "https://mcp.example.com@evil.example/v1/mcp",
        "https://mcp.example.com/v1/mcp#x",
        "not an address",
    ],
)
def test_metadata_about_another_resource_is_not_used(resource: str) -> None:
    assert "is about another address" in refusal(protected(resource={"resource": resource}))


@pytest.mark.parametrize(
    "issuer", [f"{ISSUER}/", ISSUER.upper(), "https://login.example.net", "https://evil.example/tenant", ISSUER + "2"]
)
def test_an_issuer_is_compared_exactly(issuer: str) -> None:
    assert "another issuer's" in refusal(protected(metadata={"issuer": issuer}))


INSIDE = [
    "https://10.0.0.1/x",
    "https://[::ffff:127.0.0.1]/x",
    "http://login.example.net/x",
    "https://a.example:8080/x",
]


@pytest.mark.parametrize("inside", INSIDE)
@pytest.mark.parametrize(
    "member",
    ["authorization_endpoint", "token_endpoint", "revocation_endpoint", "registration_endpoint", "userinfo_endpoint"],
)
def test_endpoints_that_lead_inside_are_refused_by_name(member: str, inside: str) -> None:
    words = refusal(protected(metadata={member: inside}))
    assert words.startswith(f"The {member.removesuffix('_endpoint')} endpoint")
    assert inside not in words


@pytest.mark.parametrize("inside", INSIDE)
def test_neither_the_challenge_nor_the_metadata_can_lead_inside(inside: str) -> None:
    asked: list[str] = []
    answers = {
        **protected(),
        URL: httpx2.Response(401, headers={"WWW-Authenticate": f'Bearer resource_metadata="{inside}"'}),
    }
    with pytest.raises(Undiscovered, match="metadata address"):
        found(answers, asked)
    with pytest.raises(Undiscovered, match="authorization server's address"):
        found(protected(resource={"authorization_servers": [inside]}), asked)
    assert not any(inside in line for line in asked)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("at", [URL, PRM, META])
def test_a_redirect_is_not_followed_and_said_to_be_one(at: str, status: int) -> None:
    asked: list[str] = []
    moved = httpx2.Response(status, headers={"location": "https://elsewhere.example/"})
    with pytest.raises(Undiscovered, match="redirect"):
        found({**protected(), at: moved}, asked)
    assert not any("elsewhere" in line for line in asked)


@pytest.mark.parametrize(
    ("at", "member", "wrong"),
    [
        (PRM, "resource", 7),
        (PRM, "resource", ""),
        (PRM, "authorization_servers", ISSUER),
        (PRM, "authorization_servers", [7]),
        (PRM, "scopes_supported", "read"),
        (META, "issuer", None),
        (META, "token_endpoint", [f"{ISSUER}/token"]),
        (META, "token_endpoint", None),
        (META, "registration_endpoint", {"url": ISSUER}),
        (META, "code_challenge_methods_supported", "S256"),
        (META, "authorization_response_iss_parameter_supported", "true"),
        (META, "client_id_metadata_document_supported", 1),
    ],
)
def test_a_member_of_the_wrong_type_is_named(at: str, member: str, wrong: Any) -> None:
    key = "resource" if at == PRM else "metadata"
    assert f"“{member}”" in refusal(protected(**{key: {member: wrong}}))


@pytest.mark.parametrize("body", [b"[]", b'"x"', b"null", b"{", b"<html>", b"[" * 40 + b"]" * 40, b"\xff\xfe"])
def test_what_is_no_json_object_is_refused(body: bytes) -> None:
    for at in (PRM, META):
        assert at in refusal({**protected(), at: said(body)})


def test_scopes_that_are_none_are_refused() -> None:
    assert "--scopes" in refusal(protected(**{URL: httpx2.Response(401)}, resource={"scopes_supported": ['a"b']}))
    many = [f"s{n}" for n in range(101)]
    assert "--scopes" in refusal(protected(**{URL: httpx2.Response(401)}, resource={"scopes_supported": many}))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"response_types_supported": ["token"]}, "no authorization code"),
        ({"grant_types_supported": ["client_credentials"]}, "does not trade authorization codes"),
        ({"token_endpoint_auth_methods_supported": ["private_key_jwt"]}, "ways that this product does not know"),
    ],
)
def test_an_authorization_server_that_cannot_be_used_is_refused_with_the_reason(
    changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(Undiscovered, match=words):
        server(**changes)


def test_a_server_that_is_not_there_says_what_to_check() -> None:
    assert "answers 404" in refusal({})
    assert "answers 503" in refusal({URL: httpx2.Response(503)})
    assert "--access key" in refusal({URL: httpx2.Response(403)})
    assert "--issuer" in refusal({URL: said({})}, access=Access.OAUTH)
    assert "There is no resource metadata" in refusal({**protected(), PRM: httpx2.Response(404)})
    assert "There is no authorization server metadata" in refusal({**protected(), META: httpx2.Response(404)})
    assert "Try again later" in refusal({**protected(), META: httpx2.Response(500)})


# --- what becomes of it


def test_no_more_is_asked_for_than_tools_need_and_the_account_is_known_by() -> None:
    plain, open_id = server(), server(scopes_supported=["openid", "email", "offline_access", "admin"])
    assert scopes_to_ask(plain, ("read",)) == ("read",)
    assert scopes_to_ask(open_id, ("read",)) == ("read", "openid", "email", "offline_access")
    assert scopes_to_ask(open_id, ()) == ()  # nothing was said: the server decides


@pytest.mark.parametrize(
    ("changes", "scopes", "identity"),
    [
        ({"scopes_supported": ["openid"]}, ("read", "openid"), "id_token"),
        ({"userinfo_endpoint": f"{ISSUER}/me"}, ("read",), "who_am_i"),
        ({"scopes_supported": ["openid"], "userinfo_endpoint": f"{ISSUER}/me"}, (), "owner"),
        ({}, ("read",), "owner"),
    ],
)
def test_whose_account_it_is_is_learnt_where_it_can_be(
    changes: dict[str, Any], scopes: tuple[str, ...], identity: str
) -> None:
    facts = oauth_facts(server(**changes), scopes=scopes, resource=URL)
    assert facts["identity"] == identity
    assert json.loads(json.dumps(facts)) == facts
    assert facts["resource"] == URL


def test_pkce_iss_and_documents_count_only_when_they_are_stated() -> None:
    bare = server(code_challenge_methods_supported=["plain"])
    assert (bare.s256, bare.iss_required, bare.documents) == (False, False, False)
    full = server(authorization_response_iss_parameter_supported=True, client_id_metadata_document_supported=True)
    assert (full.s256, full.iss_required, full.documents) == (True, True, True)
    assert server().methods == ("client_secret_post", "none")
    without = {name: said for name, said in METADATA.items() if name != "token_endpoint_auth_methods_supported"}
    with web({META: said(without)}) as http:
        assert authorization_server(http, ISSUER, policy=PUBLIC).methods == ("client_secret_basic",)


# --- registering

REGISTERED = {
    "client_id": "c-1",
    "client_secret": "s-1",
    "client_secret_expires_at": 0,
    "redirect_uris": [CALLBACK],
    "token_endpoint_auth_method": "client_secret_post",
}


def registration(answer: httpx2.Response, sent: list[Any] | None = None, **changes: Any) -> Any:
    def handle(request: httpx2.Request) -> httpx2.Response:
        if sent is not None:
            sent.append(json.loads(request.content))
        return answer

    with web({f"{ISSUER}/register": handle}) as http:
        return register(
            http, server(**changes), name="metaagent", site="https://a.example", redirect_uri=CALLBACK, policy=PUBLIC
        )


def test_one_redirect_uri_is_registered_with_a_stated_method_and_no_scope() -> None:
    sent: list[Any] = []
    made = registration(said(REGISTERED, 201), sent)
    assert (made.client_id, made.secret, made.method) == ("c-1", "s-1", "client_secret_post")
    assert "s-1" not in repr(made)
    [wish] = sent
    assert wish["redirect_uris"] == [CALLBACK]
    assert (wish["application_type"], wish["token_endpoint_auth_method"]) == ("web", "client_secret_post")
    assert "scope" not in wish


def test_a_public_client_keeps_no_secret() -> None:
    answer = {**REGISTERED, "token_endpoint_auth_method": "none"}
    assert registration(said(answer, 201), token_endpoint_auth_methods_supported=["none"]).secret is None


@pytest.mark.parametrize(
    "changes",
    [
        {"client_id": ""},
        {"client_id": 7},
        {"client_id": "a\nb"},
        {"client_id": "x" * 301},
        {"client_secret": None},
        {"client_secret": ""},
        {"client_secret": "a b"},
        {"client_secret": "a\r\nX: y"},
        {"client_secret": "x" * 4_097},
        {"client_secret_expires_at": "soon"},
        {"client_secret_expires_at": -1},
        {"token_endpoint_auth_method": "private_key_jwt"},
        {"redirect_uris": [CALLBACK, "https://evil.example/"]},
        {"redirect_uris": ["https://evil.example/"]},
    ],
)
def test_a_registration_that_is_not_what_was_asked_for_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(Undiscovered) as caught:
        registration(said({**REGISTERED, **changes}, 201))
    assert "evil" not in str(caught.value)


def test_why_registering_failed_is_said_in_words_of_the_standard_only() -> None:
    for body, words in (
        ({"error": "invalid_redirect_uri", "error_description": "<b>evil</b>"}, "(400, invalid_redirect_uri)"),
        ({"error": "evil words", "error_description": "evil"}, "(400)"),
        ([], "(400)"),
    ):
        with pytest.raises(Undiscovered) as caught:
            registration(said(body, 400))
        assert words in str(caught.value)
        assert "evil" not in str(caught.value)
    with pytest.raises(Undiscovered, match=r"\(302\)"):
        registration(httpx2.Response(302, headers={"location": "https://evil.example"}))
