"""An authorization server that behaves as each provider documents it, and takes nothing else.

What a provider demands and answers is written down here in terms of the wire, apart from any `OAuthSpec`: the two meet
only in a request. `/{provider}/authorize|token|revoke|me` stand for the addresses each provider has for these.
"""

from __future__ import annotations

import json
import re
import secrets
import time
from base64 import b64decode, urlsafe_b64encode
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Literal
from urllib.parse import parse_qsl, unquote_plus, urlencode

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from providers.simulator import PLACES_OF
from providers.spec import Json

CLIENT_ID = "client-1"
SECRET = "sk_test_4eC39HqLyjWDarjtT1zdp7dc"  # noqa: S105 - made up
ODD_SECRET = "100% odd:+/=&ü"  # noqa: S105 - made up
CALLBACK = "https://app.example.com/oauth/callback/1/"
FORM = "application/x-www-form-urlencoded"
TID = "9188040d-6c67-4c5b-b112-36a304b66dad"
DIRECTORY = f"https://login.microsoftonline.com/{TID}/v2.0"
LONG_EMAIL = "https://www.googleapis.com/auth/userinfo.email"
_STATE_CHARS = 20
_STANDARD = {"response_type", "client_id", "redirect_uri", "state"}


@dataclass
class Grant:
    """What one person allowed."""

    place: str
    scopes: list[str]
    asked: Mapping[str, str]
    tokens: dict[str, str] = field(default_factory=dict)
    """The kind of each token that works."""
    first: bool = True
    """Whether the next answer is the one for the code."""

    def mint(self, kind: str) -> str:
        """A new token of that kind."""
        token = f"{kind}-{secrets.token_urlsafe(24)}"
        self.tokens[token] = kind
        return token

    def id_token(self, **claims: Json) -> str:
        """An ID token of this moment."""
        now = int(time.time())
        said = {"aud": CLIENT_ID, "iat": now, "exp": now + 3600, "nonce": self.asked.get("nonce"), **claims}
        return ".".join(_encoded(part) for part in ({"alg": "RS256", "kid": "1"}, said, {"not": "checked"}))


def _encoded(part: Mapping[str, Any]) -> str:
    return urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


Answer = Callable[[Grant], dict[str, Any]]
"""The token answer for a grant."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """One provider."""

    answer: Answer
    authorize: Mapping[str, str] = field(default_factory=dict)
    """What the authorization request must hold besides the standard parameters, and with what value."""
    may: frozenset[str] = frozenset()
    """What else it may hold."""
    scope: tuple[str, str] | None = ("scope", " ")
    """The parameter for scopes and what stands between them; None where there is no such parameter."""
    pkce: bool | None = True
    """None: it may be sent."""
    oidc: bool = False
    takes: str = FORM
    proof: Literal["post", "basic", "encoded_basic", "secret_as_user", "none"] = "post"
    headers: Mapping[str, str] = field(default_factory=dict)
    """What every request but that of the browser must hold, as patterns."""
    resource: str | None = None
    form_answers: bool = False
    retires: bool = True
    """Whether a refresh retires the refresh token."""
    kills_access: bool = False
    """Whether a refresh kills the access token before it."""
    spent_code: tuple[int, dict[str, Any]] = (400, {"error": "invalid_grant"})
    dead: tuple[int, dict[str, Any]] = (400, {"error": "invalid_grant"})
    """The answer to a refresh token that is over."""
    me: dict[str, Any] | None = None
    stranger: tuple[int, dict[str, Any]] = (401, {"message": "Bad credentials"})
    """The answer to who one is for a token that does not work; with whose it was, as a trap."""
    me_query: str = ""
    """A word of the GraphQL query that is posted to it; empty: it is a GET."""
    revoke: Literal["rfc7009", "json", "token_only", "bearer", "delete"] | None = "rfc7009"
    revokes: frozenset[str] = frozenset({"access", "refresh"})
    """Which kinds of token it takes to revoke."""
    revoked: tuple[int, dict[str, Any] | None] = (200, None)
    gone: tuple[int, dict[str, Any] | None] = (200, None)
    """The answer to revoking a token that does not work any more."""


def _plain(expires_in: int | None, *, renewed: bool = True, separator: str = " ", **more: Json) -> Answer:
    """The usual answer: a refresh token with every answer, or only with the first."""

    def answer(grant: Grant) -> dict[str, Any]:
        said: dict[str, Any] = {"access_token": grant.mint("access"), "token_type": "Bearer", **more}
        if grant.scopes:
            said["scope"] = separator.join(grant.scopes)
        if expires_in is not None:
            said["expires_in"] = expires_in
        if grant.first or renewed:
            said["refresh_token"] = grant.mint("refresh")
        return said

    return answer


def _google(grant: Grant) -> dict[str, Any]:
    said = _plain(3599, renewed=False)(grant)
    said["scope"] = said["scope"].replace("email", LONG_EMAIL)
    claims = {"iss": "https://accounts.google.com", "azp": CLIENT_ID, "sub": "11039483", "email": "ann@example.com"}
    return {**said, "id_token": grant.id_token(**claims)}


def _github_oauth_app(grant: Grant) -> dict[str, Any]:
    return {"access_token": grant.mint("access"), "scope": ",".join(grant.scopes), "token_type": "bearer"}


def _github_app(grant: Grant) -> dict[str, Any]:
    return {**_plain(28_800)(grant), "scope": "", "refresh_token_expires_in": 15_897_600}


def _slack(grant: Grant) -> dict[str, Any]:
    said = {**_plain(43_200, separator=",")(grant), "token_type": "user"}
    around: dict[str, Any] = {"ok": True, "app_id": "A1", "team": {"id": "T1", "name": "Acme"}, "enterprise": None}
    if not grant.first:
        return {**around, **said}
    bot = {"access_token": "xoxb-bot", "token_type": "bot", "scope": "commands", "bot_user_id": "B1"}
    return {**around, **bot, "authed_user": {"id": "U1", **said}}


def _hubspot(grant: Grant) -> dict[str, Any]:
    allowed = [scope for scope in grant.scopes if scope != "crm.objects.quotes.read"]  # that account has no quotes
    about = {"token_use": "access_token", "hub_id": 62515, "user_id": 123, "scopes": allowed}
    said = _plain(1_800)(grant)
    del said["scope"]
    return {**said, **about, "refresh_token": next(t for t, kind in grant.tokens.items() if kind == "refresh")}


def _microsoft(grant: Grant) -> dict[str, Any]:
    said = _plain(4_217, ext_expires_in=4_217)(grant)
    claims = {
        "iss": DIRECTORY,
        "tid": TID,
        "oid": "00000000-0000-0000-66f3-3332eca7ea81",
        "sub": "AAAAAAAAAAAAAAAAAAAAAIkzqFVrSaSaFHy782bbtaQ",
        "email": "ann@example.com",
    }
    listed = " ".join(scope for scope in grant.scopes if scope != "offline_access")
    return {**said, "scope": listed, "id_token": grant.id_token(**claims)}


PLACES: dict[str, Place] = {
    "sentry": Place(
        answer=_plain(2_591_999, expires_at="2026-12-23T00:00:00Z", user={"id": "1", "email": "ann@example.com"}),
        me={"id": "1", "name": "Ann", "username": "ann", "email": "ann@example.com"},
    ),
    "google": Place(
        answer=_google,
        authorize={"access_type": "offline", "prompt": "consent"},
        oidc=True,
        retires=False,
        revoke="token_only",
        gone=(400, {"error": "invalid_token", "error_description": "Token expired or revoked"}),
    ),
    "github": Place(
        answer=_github_oauth_app,
        spent_code=(200, {"error": "bad_verification_code", "error_description": "The code is incorrect."}),
        me={"id": 583231, "login": "ann", "email": None, "name": "Ann"},
        revoke="delete",
        revokes=frozenset({"access"}),
        revoked=(204, None),
        gone=(404, {"message": "Not Found"}),
    ),
    "github_app": Place(
        answer=_github_app,
        scope=None,
        form_answers=True,
        kills_access=True,
        spent_code=(200, {"error": "bad_verification_code"}),
        dead=(200, {"error": "bad_refresh_token", "error_description": "The refresh token is incorrect."}),
        me={"id": 583231, "login": "ann", "email": None, "name": "Ann"},
        revoke="delete",
        revokes=frozenset({"access"}),
        revoked=(204, None),
        gone=(404, {"message": "Not Found"}),
    ),
    "slack": Place(
        answer=_slack,
        scope=("user_scope", ","),
        pkce=None,  # public apps only, by a choice for good
        spent_code=(200, {"ok": False, "error": "invalid_code"}),
        dead=(200, {"ok": False, "error": "invalid_refresh_token"}),
        me={"ok": True, "team": "Acme", "user": "ann", "team_id": "T1", "user_id": "U1"},
        stranger=(200, {"ok": False, "error": "invalid_auth"}),
        revoke="bearer",
        revokes=frozenset({"access"}),
        revoked=(200, {"ok": True, "revoked": True}),
        gone=(200, {"ok": False, "error": "token_revoked"}),
    ),
    "linear": Place(
        answer=_plain(86_399),
        may=frozenset({"prompt"}),
        scope=("scope", ","),
        me={"data": {"viewer": {"id": "5f0c5a10-1111-4c3a-8000-000000000001", "email": "ann@example.com"}}},
        me_query="viewer",
    ),
    "notion": Place(
        answer=_plain(
            None,
            bot_id="b3414d65-1111-4c3a-8000-000000000001",
            workspace_id="w1",
            workspace_name="Acme wiki",
            owner={"type": "user", "user": {"object": "user", "id": "u1", "person": {"email": "ann@example.com"}}},
            request_id="q1",
        ),
        authorize={"owner": "user"},
        scope=None,
        headers={"notion-version": r"20\d\d-\d\d-\d\d"},
        pkce=False,
        takes="application/json",
        proof="basic",
        revoke="json",
        revokes=frozenset({"access"}),
        revoked=(200, {"request_id": "q2"}),
    ),
    "atlassian": Place(
        answer=_plain(3_600),
        authorize={"audience": "api.atlassian.com", "prompt": "consent"},
        takes="application/json",
        retires=False,  # within ten minutes
        dead=(403, {"error": "invalid_grant", "error_description": "Unknown or invalid refresh token."}),
        me={"account_id": "5b10a2844c20165700ede21g", "email": "ann@example.com", "name": "Ann"},
        revoke=None,
    ),
    "gitlab": Place(
        answer=_plain(None, created_at=1_790_000_000),
        me={"id": 42, "username": "ann", "email": "ann@example.com"},
        revoked=(200, {}),
    ),
    "hubspot": Place(
        answer=_hubspot,
        retires=False,
        dead=(400, {"status": "BAD_REFRESH_TOKEN", "message": "missing or invalid refresh token"}),
        revokes=frozenset({"refresh"}),
    ),
    "asana": Place(
        answer=_plain(3_600, renewed=False, data={"id": "4673218951", "name": "Ann", "email": "ann@example.com"}),
        retires=False,
        revokes=frozenset({"refresh"}),
    ),
    "stripe": Place(
        answer=_plain(None, scope="stripe_apps", livemode=False, stripe_user_id="acct_1", stripe_publishable_key="pk"),
        scope=None,
        pkce=False,
        proof="secret_as_user",
        dead=(400, {"error": "invalid_grant", "error_description": "Refresh token does not exist"}),
        revoke=None,
    ),
    "salesforce": Place(
        answer=_plain(
            None,
            renewed=False,
            instance_url="https://acme.my.salesforce.com",
            id="https://login.salesforce.com/id/00D000000000001/005000000000001",
            issued_at="1708058728442",
            signature="c2lnbmVk",
        ),
        retires=False,
        revoke="token_only",
        revokes=frozenset({"refresh"}),
        gone=(400, {"error": "invalid_token", "error_description": "invalid token"}),
    ),
    "microsoft": Place(answer=_microsoft, may=frozenset({"prompt"}), oidc=True, retires=False, revoke=None),
    # By the book: one with a secret of characters that Basic must encode (RFC 6749 2.3.1) and a resource (RFC 8707),
    # and one for clients that have no secret.
    "standard": Place(
        answer=_plain(600),
        proof="encoded_basic",
        resource="https://api.example.com/",
        me={"sub": "1", "email": "ann@example.com"},
    ),
    "public": Place(answer=_plain(600), proof="none", me={"sub": "1"}),
}


def place_of(slug: str) -> str:
    """The name of the place a provider of the catalogue is at; empty where there is none."""
    name = PLACES_OF.get(slug, slug)
    return name if name in PLACES else ""


class Wrong(Exception):
    """The request is not what the provider documents."""


class Authority:
    """All places, and what happened at them."""

    def __init__(self) -> None:
        self.unticked: frozenset[str] = frozenset()
        """Scopes that the person takes out of what is asked for."""
        self.busy = 0
        """For how many seconds token endpoints ask to be left alone; 0: they are not busy."""
        self.codes: dict[str, Grant] = {}
        self.grants: list[Grant] = []
        self.hits: Counter[str] = Counter()
        self.app = Starlette(
            routes=[
                Route("/moved/{name}/{rest:path}", self._moved, methods=["GET", "POST", "DELETE"]),
                Route("/{name}/authorize", self._authorize),
                Route("/{name}/token", self._token, methods=["POST"]),
                Route("/{name}/me", self._me, methods=["GET", "POST"]),
                Route("/{name}/revoke", self._revoke, methods=["POST"]),
                Route("/{name}/applications/{client_id}/token", self._revoke, methods=["DELETE"]),
            ],
            exception_handlers={Wrong: _wrong},
        )

    def works(self, token: str) -> bool:
        """Whether a token is alive."""
        return any(token in grant.tokens for grant in self.grants)

    def end(self, token: str) -> None:
        """The person withdraws the grant this token is of."""
        for grant in self.grants:
            if token in grant.tokens:
                grant.tokens.clear()

    async def _moved(self, request: Request) -> Response:
        where = f"/{request.path_params['name']}/{request.path_params['rest']}"
        return RedirectResponse(str(request.url.replace(path=where)), 307)

    async def _authorize(self, request: Request) -> Response:
        place, asked = self._place(request), dict(parse_qsl(request.url.query, keep_blank_values=True))
        expected = {**place.authorize, **({"resource": place.resource} if place.resource else {})}
        names = {*_STANDARD, *expected, *(["nonce"] if place.oidc and "nonce" in asked else [])}
        challenge = {"code_challenge", "code_challenge_method"}
        names |= challenge if place.pkce or (place.pkce is None and challenge & asked.keys()) else set()
        names |= {place.scope[0]} if place.scope else set()
        names |= place.may & asked.keys()
        _must(asked.keys() == names, f"parameters: {asked.keys() ^ names}")
        _must({name: asked[name] for name in expected} == expected, "values")
        _must(asked["response_type"] == "code" and asked["client_id"] == CLIENT_ID, "client")
        _must(asked["redirect_uri"] == CALLBACK and len(asked["state"]) > _STATE_CHARS, "round trip")
        _must(asked.get("code_challenge_method", "S256") == "S256", "method")
        scopes = asked[place.scope[0]].split(place.scope[1]) if place.scope else []
        _must(all(scope and not set(scope) & set(" ,") for scope in scopes), "scopes")
        grant = Grant(request.path_params["name"], [scope for scope in scopes if scope not in self.unticked], asked)
        self.grants.append(grant)
        code = secrets.token_urlsafe(16)
        self.codes[code] = grant
        return RedirectResponse(f"{CALLBACK}?{urlencode({'code': code, 'state': asked['state']})}")

    async def _token(self, request: Request) -> Response:
        if self.busy:
            return JSONResponse({"error": "temporarily_unavailable"}, 503, {"Retry-After": str(self.busy)})
        place, given = self._place(request), await self._given(request)
        _must(request.headers.get("accept") == "application/json", "accept")
        _must(given.pop("resource", None) == place.resource, "resource")
        match given.pop("grant_type", None):
            case "authorization_code":
                grant = self.codes.pop(given.pop("code", ""), None)
                verifier = given.pop("code_verifier", "") if grant and "code_challenge" in grant.asked else ""
                _must(given == {"redirect_uri": CALLBACK}, f"fields: {given}")
                if grant is None or grant.place != request.path_params["name"]:
                    return _json(place.spent_code)
                challenge = grant.asked.get("code_challenge")
                _must(challenge is None or _challenge(verifier) == challenge, "verifier")
                answer = place.answer(grant)
                grant.first = False
            case "refresh_token":
                token = given.pop("refresh_token", "")
                _must(not given, f"fields: {given}")
                grant = next((grant for grant in self.grants if grant.tokens.get(token) == "refresh"), None)
                if grant is None:
                    return _json(place.dead)
                if place.retires:
                    del grant.tokens[token]
                if place.kills_access:
                    grant.tokens = {one: kind for one, kind in grant.tokens.items() if kind != "access"}
                answer = place.answer(grant)
            case other:
                raise Wrong(f"grant_type {other}")
        if place.form_answers:
            return Response(urlencode(answer), media_type=f"{FORM}; charset=utf-8")
        return JSONResponse(answer)

    async def _me(self, request: Request) -> Response:
        place = self._place(request)
        body = await request.body()
        _must((request.method == "POST") == bool(place.me_query), "method")
        _must(place.me_query in (json.loads(body)["query"] if body else ""), "body")
        _must(request.headers.get("user-agent", "") != "", "user agent")
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        _must(place.me is not None, "no such address")
        status, refusal = place.stranger
        return JSONResponse(place.me) if self.works(token) else JSONResponse({**(place.me or {}), **refusal}, status)

    async def _revoke(self, request: Request) -> Response:
        place = self._place(request)
        match place.revoke:
            case "rfc7009":
                given = await self._given(request)
                _must(given.pop("token_type_hint", "") in {"access_token", "refresh_token"}, "hint")
                _must(given.keys() == {"token"}, f"fields: {given}")
                token = given["token"]
            case "json":
                given = await self._given(request)
                _must(given.keys() == {"token"}, f"fields: {given}")
                token = given["token"]
            case "token_only":
                given = dict(parse_qsl((await request.body()).decode(), keep_blank_values=True))
                _must(given.keys() == {"token"} and "authorization" not in request.headers, f"fields: {given}")
                token = given["token"]
            case "bearer":
                _must(await request.body() == b"", "body")
                token = request.headers.get("authorization", "").removeprefix("Bearer ")
            case "delete":
                given = json.loads(await request.body())
                _must(request.method == "DELETE" and request.path_params["client_id"] == CLIENT_ID, "method")
                _must(_user(request) == (CLIENT_ID, SECRET) and given.keys() == {"access_token"}, "proof")
                token = given["access_token"]
            case None:
                raise Wrong("no such address")
        grant = next((grant for grant in self.grants if token in grant.tokens), None)
        if grant is None:
            return _json(place.gone)
        _must(grant.tokens[token] in place.revokes, "kind of token")
        grant.tokens.clear()
        return _json(place.revoked)

    def _place(self, request: Request) -> Place:
        name = request.path_params["name"]
        self.hits[name] += 1
        place = PLACES[name]
        said = {name: request.headers.get(name, "") for name in place.headers}
        there = all(re.fullmatch(pattern, said[name]) for name, pattern in place.headers.items())
        _must(request.url.path.endswith("/authorize") or there, "headers")
        return place

    async def _given(self, request: Request) -> dict[str, str]:
        """The fields of a request whose client has proved itself, without the proof."""
        place, body = self._place(request), (await request.body()).decode()
        _must(request.headers.get("content-type") == place.takes, "content type")
        given: dict[str, str] = (
            json.loads(body) if place.takes != FORM else dict(parse_qsl(body, keep_blank_values=True))
        )
        match place.proof:
            case "post":
                proved = (given.pop("client_id", ""), given.pop("client_secret", "")) == (CLIENT_ID, SECRET)
                proved = proved and "authorization" not in request.headers
            case "basic":
                proved = _user(request) == (CLIENT_ID, SECRET)
            case "encoded_basic":
                proved = tuple(map(unquote_plus, _user(request))) == (CLIENT_ID, ODD_SECRET)
            case "secret_as_user":
                proved = _user(request) == (SECRET, "")
            case "none":
                proved = given.pop("client_id", "") == CLIENT_ID and "authorization" not in request.headers
        _must(proved, "proof")
        return given


def _user(request: Request) -> tuple[str, str]:
    kind, _, value = request.headers.get("authorization", "").partition(" ")
    _must(kind == "Basic", "proof")
    name, _, password = b64decode(value).decode().partition(":")
    return name, password


def _challenge(verifier: str) -> str:
    return urlsafe_b64encode(sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def _must(holds: object, what: str) -> None:
    if not holds:
        raise Wrong(what)


def _json(answer: tuple[int, dict[str, Any] | None]) -> Response:
    status, body = answer
    return Response(status_code=status) if body is None else JSONResponse(body, status)


def _wrong(_request: Request, wrong: Exception) -> Response:
    return JSONResponse({"error": "invalid_request", "error_description": str(wrong)}, 400)
