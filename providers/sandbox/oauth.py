"""The authorization server's endpoints: authorize with consent, token, revoke. Strict where Sentry is lenient."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from secrets import token_urlsafe
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from providers.sandbox import pages
from providers.sandbox.faults import HTML, STATUSES, Steering
from providers.sandbox.grants import Client, Denied, Family, Grants, Tokens
from providers.sandbox.records import Person, World, iso
from providers.sandbox.web import LOGIN_PATH, Web, not_from_here, to_log_in
from providers.sandbox.wire import Unreadable, from_elsewhere, once, read_form

SCOPES = {
    "org:read": "See organizations, projects and statistics",
    "org:write": "Change organizations",
    "org:admin": "Administer organizations",
    "org:integrations": "Manage integrations",
    "org:ci": "Make releases from continuous integration",
    "member:read": "See members",
    "member:write": "Change members",
    "member:admin": "Administer members",
    "member:invite": "Invite members",
    "team:read": "See teams",
    "team:write": "Change teams",
    "team:admin": "Administer teams",
    "project:read": "See projects and releases",
    "project:write": "Change projects",
    "project:admin": "Administer projects",
    "project:releases": "See and make releases",
    "project:distribution": "Distribute builds",
    "event:read": "See issues and events",
    "event:write": "Change issues: resolve, assign, comment",
    "event:admin": "Delete issues",
    "alerts:read": "See alerts",
    "alerts:write": "Change alerts",
    "openid": "Know who you are",
    "profile": "See your name",
    "email": "See your e-mail address",
}
NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True)
class Pending:
    """A consent page somebody is looking at. Its name is in the form, works once, and only for this person."""

    client: Client
    person: Person
    redirect_uri: str
    scopes: tuple[str, ...]
    state: str
    challenge: str


class OAuth:
    """`/oauth/authorize/`, `/oauth/token/` and `/oauth/revoke/`."""

    def __init__(self, world: World, grants: Grants, steering: Steering, web: Web, clock: Callable[[], float]) -> None:
        self._world = world
        self._grants = grants
        self._steering = steering
        self._web = web
        self._clock = clock
        self._pending: dict[str, Pending] = {}

    def routes(self) -> list[Route]:
        """Its part of the URL space."""
        return [
            Route("/oauth/authorize/", self.ask),
            Route("/oauth/authorize/", self.decide, methods=["POST"]),
            Route("/oauth/token/", self.token, methods=["POST"]),
            Route("/oauth/revoke/", self.revoke, methods=["POST"]),
        ]

    async def ask(self, request: Request) -> Response:
        """Show the consent page. A request that is wrong in itself goes back to the client, if that can be trusted."""
        try:
            asked = once(request.query_params.multi_items())
        except Unreadable as wrong:
            return pages.trouble("Cannot connect", str(wrong), status=400)
        client = self._grants.clients.get(asked.get("client_id", ""))
        redirect_uri = asked.get("redirect_uri", "")
        if client is None:
            return pages.trouble("Cannot connect", "Missing or invalid client_id parameter.", status=400)
        if redirect_uri not in client.redirect_uris:
            return pages.trouble("Cannot connect", "Missing or invalid redirect_uri parameter.", status=400)
        state, scopes = asked.get("state", ""), tuple(dict.fromkeys(asked.get("scope", "").split()))
        if (mistake := _mistake(asked, scopes)) is not None:
            error, description = mistake
            return _back(redirect_uri, error=error, error_description=description, state=state)
        if (person := self._web.person(request)) is None:
            return to_log_in(request)
        name = token_urlsafe(24)
        self._pending[name] = Pending(client, person, redirect_uri, scopes, state, asked["code_challenge"])
        again = f"{LOGIN_PATH}?{urlencode({'next': f'{request.url.path}?{request.url.query}'})}"
        organizations = self._world.organizations_of(person)
        meanings = [(scope, SCOPES[scope]) for scope in scopes]
        return pages.consent(client, person, organizations, meanings, pending=name, again=again)

    async def decide(self, request: Request) -> Response:
        """Act on the consent page: a code for the scopes still ticked, or `access_denied`."""
        form = await read_form(request)
        pending = self._pending.pop(dict(form).get("pending", ""), None)
        if from_elsewhere(request) or pending is None or self._web.person(request) is not pending.person:
            return not_from_here()
        ticked = {value for name, value in form if name == "scope"}
        scopes = tuple(scope for scope in pending.scopes if scope in ticked)
        if dict(form).get("op") != "approve" or not scopes:
            return _back(pending.redirect_uri, error="access_denied", state=pending.state)
        family = Family(pending.client, pending.person, scopes)
        code = self._grants.authorize(family, pending.redirect_uri, pending.challenge, self._clock())
        return _back(pending.redirect_uri, code=code, state=pending.state)

    async def token(self, request: Request) -> Response:
        """Exchange a code or rotate a refresh token."""
        try:
            return await self._token(await _fields(request))
        except Denied as denied:
            return _denied(denied)

    async def _token(self, form: dict[str, str]) -> Response:
        with self._grants.presenting(form.get("refresh_token", "")):
            fault = await self._steering.token_fault()
            match fault:
                case "500_before":
                    return JSONResponse({"detail": STATUSES[500]}, 500)
                case "html":
                    return HTMLResponse(HTML)
            answer = self._token_answer(self._tokens(form))
        return JSONResponse({"detail": STATUSES[500]}, 500) if fault == "500_after" else answer

    def _tokens(self, form: dict[str, str]) -> Tokens:
        client = self._grants.authenticate(form.get("client_id", ""), form.get("client_secret", ""))
        now, ttl = self._clock(), self._steering.faults.access_ttl_s
        match form.get("grant_type"):
            case "authorization_code":
                return self._grants.exchange(
                    client,
                    form.get("code", ""),
                    redirect_uri=form.get("redirect_uri", ""),
                    verifier=form.get("code_verifier", ""),
                    now=now,
                    ttl=ttl,
                )
            case "refresh_token":
                if "scope" in form:
                    raise Denied("invalid_request", "A refresh keeps its scopes; leave scope out.")
                rotate = self._steering.faults.rotate
                return self._grants.refresh(client, form.get("refresh_token", ""), now=now, ttl=ttl, rotate=rotate)
            case _:
                raise Denied("unsupported_grant_type", "grant_type must be authorization_code or refresh_token.")

    def _token_answer(self, tokens: Tokens) -> Response:
        family = tokens.family
        person = family.person
        return JSONResponse(
            {
                "access_token": tokens.access,
                "refresh_token": tokens.refresh,
                "expires_in": round(family.expires_at - self._clock()),
                "expires_at": iso(family.expires_at),
                "token_type": "bearer",
                "scope": " ".join(family.scopes),
                "user": {"id": str(person.id), "name": person.name, "email": person.email},
            },
            headers=NO_STORE,
        )

    async def revoke(self, request: Request) -> Response:
        """Kill an access token and its refresh token together; 200 even if there is no such token."""
        try:
            self._revoke(await _fields(request))
        except Denied as denied:
            return _denied(denied)
        return Response(headers=NO_STORE)

    def _revoke(self, form: dict[str, str]) -> None:
        client = self._grants.authenticate(form.get("client_id", ""), form.get("client_secret", ""))
        if not form.get("token"):
            raise Denied("invalid_request", "token parameter not found")
        if form.get("token_type_hint", "access_token") not in {"access_token", "refresh_token"}:
            raise Denied("unsupported_token_type", "token_type_hint must be access_token or refresh_token")
        self._grants.revoke(client, form["token"])


async def _fields(request: Request) -> dict[str, str]:
    """The form. Raises: `Denied`."""
    try:
        return once(await read_form(request))
    except Unreadable as wrong:
        raise Denied("invalid_request", str(wrong)) from None


def _mistake(asked: dict[str, str], scopes: tuple[str, ...]) -> tuple[str, str] | None:
    """The error of RFC 6749 section 4.1.2.1 a request deserves, if any."""
    if asked.get("response_type") != "code":
        return "unsupported_response_type", "response_type must be code."
    if asked.get("code_challenge_method") != "S256" or not _CHALLENGE.fullmatch(asked.get("code_challenge", "")):
        return "invalid_request", "PKCE is required: send code_challenge with code_challenge_method=S256."
    if not scopes or not set(scopes) <= SCOPES.keys():
        return "invalid_scope", "scope must name one or more of Sentry's scopes."
    return None


def _back(redirect_uri: str, **params: str) -> Response:
    """Send the browser back to the client with these parameters; empty ones are left out."""
    parts = urlsplit(redirect_uri)
    query = [
        *parse_qsl(parts.query, keep_blank_values=True),
        *((name, value) for name, value in params.items() if value),
    ]
    return RedirectResponse(
        urlunsplit(parts._replace(query=urlencode(query))), 303, headers={"Cache-Control": "no-store"}
    )


def _denied(denied: Denied) -> Response:
    body = {"error": denied.error, "error_description": denied.description}
    return JSONResponse(body, denied.status, headers=NO_STORE)
