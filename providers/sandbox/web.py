"""Logging in, the start page, and the pages that permalinks of issues and releases lead to."""

from __future__ import annotations

from secrets import token_urlsafe
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from providers.sandbox import pages
from providers.sandbox.grants import Grants, digest
from providers.sandbox.records import Organization, Person, World
from providers.sandbox.wire import from_elsewhere, once, origin, read_form
from providers.sandbox.words import PASSWORD

COOKIE = "sandbox_session"
LOGIN_PATH = "/auth/login/"


class Web:
    """The pages for people, and who is logged in."""

    def __init__(self, world: World, grants: Grants) -> None:
        self._world = world
        self._grants = grants
        self._sessions: dict[str, Person] = {}

    def routes(self) -> list[Route]:
        """Its part of the URL space."""
        return [
            Route("/", self.home),
            Route(LOGIN_PATH, self.ask_who),
            Route(LOGIN_PATH, self.log_in, methods=["POST"]),
            Route("/auth/logout/", self.log_out, methods=["POST"]),
            Route("/settings/account/authorizations/", self.remove, methods=["POST"]),
            Route("/organizations/{org}/issues/{issue}/", self.issue),
            Route("/organizations/{org}/releases/{version:path}/", self.release),
            Route("/sandbox.css", self.style),
        ]

    def person(self, request: Request) -> Person | None:
        """Who is logged in with this browser."""
        return self._sessions.get(digest(request.cookies.get(COOKIE, "")))

    async def style(self, _: Request) -> Response:
        """The one stylesheet."""
        return Response(pages.STYLE, media_type="text/css")

    async def ask_who(self, request: Request) -> Response:
        """The log-in page."""
        return pages.login(self._people(), request.query_params.get("next", "/"))

    async def log_in(self, request: Request) -> Response:
        """Check the password and go on where the person was going."""
        if from_elsewhere(request):
            return not_from_here()
        form = once(await read_form(request))
        email, after = form.get("email", ""), form.get("next", "/")
        person = next((person for person in self._world.people if person.email == email), None)
        if person is None or form.get("password") != PASSWORD:
            return pages.login(self._people(), after, wrong=True)
        session = token_urlsafe(32)
        self._sessions[digest(session)] = person
        answer = RedirectResponse(after if _is_local(after) else "/", 303)
        answer.set_cookie(COOKIE, session, httponly=True, samesite="lax")
        return answer

    async def log_out(self, request: Request) -> Response:
        """End this browser's session."""
        if from_elsewhere(request):
            return not_from_here()
        self._sessions.pop(digest(request.cookies.get(COOKIE, "")), None)
        return RedirectResponse(LOGIN_PATH, 303)

    async def home(self, request: Request) -> Response:
        """The start page."""
        if (person := self.person(request)) is None:
            return to_log_in(request)
        organizations = self._world.organizations_of(person)
        return pages.home(person, organizations, self._grants.connected(person), origin(request))

    async def remove(self, request: Request) -> Response:
        """Disconnect an application, as its user."""
        person = self.person(request)
        if from_elsewhere(request) or person is None:
            return not_from_here()
        named = once(await read_form(request)).get("authorization")
        for family in self._grants.connected(person):
            if family.id == named:
                self._grants.end(family)
        return RedirectResponse("/", 303)

    async def issue(self, request: Request) -> Response:
        """An issue's page."""
        if (person := self.person(request)) is None:
            return to_log_in(request)
        org = self._organization(request, person)
        found = org.by_id.get(request.path_params["issue"]) if org else None
        return pages.issue(found, person) if found else not_found()

    async def release(self, request: Request) -> Response:
        """A release's page."""
        if (person := self.person(request)) is None:
            return to_log_in(request)
        org = self._organization(request, person)
        found = org.by_version.get(request.path_params["version"]) if org else None
        return pages.release(found, person) if found else not_found()

    def _people(self) -> list[tuple[Person, list[Organization]]]:
        return [(person, self._world.organizations_of(person)) for person in self._world.people]

    def _organization(self, request: Request, person: Person) -> Organization | None:
        slug = request.path_params["org"]
        return next((org for org in self._world.organizations_of(person) if org.slug == slug), None)


def to_log_in(request: Request) -> Response:
    """Log in first, then come back here."""
    here = f"{request.url.path}?{request.url.query}" if request.url.query else request.url.path
    return RedirectResponse(f"{LOGIN_PATH}?{urlencode({'next': here})}", 303)


def not_from_here() -> Response:
    """A form another site's page sent, or one without a session."""
    return pages.trouble(
        "Not from here", "This form did not come from the sandbox's own page. Open it again.", status=403
    )


def not_found() -> Response:
    """No such page, or not for this person."""
    return pages.trouble(
        "Not found", "There is nothing here for you. Check the address, or log in as someone else.", status=404
    )


def _is_local(path: str) -> bool:
    return path.startswith("/") and not path.startswith("//") and "\\" not in path and path.isprintable()
