"""Sentry's API under `/api/0/`: who may ask what, and the answers."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import quote, urlencode

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from providers.sandbox import figures, queries, shapes
from providers.sandbox.faults import STATUSES, Steering
from providers.sandbox.grants import Grants, digest
from providers.sandbox.queries import Refused
from providers.sandbox.records import HOUR_S, HOURS, Comment, Issue, Organization, Person, Project, Release, World
from providers.sandbox.shapes import Json
from providers.sandbox.wire import Unreadable, origin, read_json

ORG_READ = frozenset({"org:read", "org:write", "org:admin"})
EVENT_READ = frozenset({"event:read", "event:write", "event:admin"})
EVENT_WRITE = frozenset({"event:write", "event:admin"})
RELEASE_READ = frozenset({"org:ci", "project:read", "project:write", "project:admin", "project:releases"})
ANYONE: frozenset[str] = frozenset()
REMEMBERED = 50
"""Answers kept: between writes the world stands still, so the same question has the same answer."""


@dataclass(frozen=True, slots=True)
class Call:
    """One authorized request."""

    request: Request
    person: Person
    org: Organization
    """Of the path; where the path has none, any."""
    body: Json

    @property
    def params(self) -> QueryParams:
        """The query string."""
        return self.request.query_params

    @property
    def origin(self) -> str:
        """Where links lead."""
        return origin(self.request)


@dataclass(frozen=True, slots=True)
class Answer:
    """A JSON answer that needs more than status 200."""

    content: Any
    status: int = 200
    headers: dict[str, str] | None = None


Operation: TypeAlias = Callable[[Call], Any]


class Api:
    """The operations. Each is a plain function of a call; `_route` puts counting, faults and access before it."""

    def __init__(self, world: World, grants: Grants, steering: Steering, clock: Callable[[], float]) -> None:
        self._world = world
        self._grants = grants
        self._steering = steering
        self._clock = clock
        self._remembered: dict[tuple[int, str], Response] = {}
        self._numbers = itertools.count(1)

    def routes(self) -> list[Route]:
        """Its part of the URL space. The scopes of an operation are alternatives, as Sentry means them."""
        org = "/api/0/organizations/{org}/"
        return [
            self._route("GET", "/api/0/organizations/", ORG_READ, self.organizations),
            self._route("GET", "/api/0/users/me/", ANYONE, self.me),
            self._route("GET", org + "projects/", ORG_READ, self.projects),
            self._route("GET", org + "issues/", EVENT_READ, self.issues),
            self._route("GET", org + "issues/{issue}/", EVENT_READ, self.issue),
            self._route("PUT", org + "issues/{issue}/", EVENT_WRITE, self.change_issue),
            self._route("GET", org + "issues/{issue}/events/{event}/", EVENT_READ, self.event),
            self._route("POST", org + "issues/{issue}/comments/", EVENT_WRITE, self.comment),
            self._route("GET", org + "shortids/{issue}/", EVENT_READ, self.short_id),
            self._route("GET", org + "releases/", RELEASE_READ, self.releases),
            self._route("GET", org + "releases/{version:path}/commits/", RELEASE_READ, self.commits),
            self._route("GET", org + "releases/{version:path}/", RELEASE_READ, self.release),
            self._route("GET", org + "sessions/", ORG_READ, self.sessions),
            self._route("GET", org + "stats_v2/", ORG_READ, self.stats),
            self._route("GET", org + "events-timeseries/", ORG_READ, self.timeseries),
        ]

    # --- Before every operation

    def _route(self, method: str, path: str, scopes: frozenset[str], operation: Operation) -> Route:
        async def endpoint(request: Request) -> Response:
            stats, bearer = self._steering.stats, _bearer(request)
            stats.api_calls += 1
            stats.calls_per_path[f"{method} {path}"] += 1
            if bearer:
                stats.calls_per_token[digest(bearer)[:12]] += 1
            answer = await self._steering.api_fault(request.url.path) or await self._answer(request, scopes, operation)
            stats.answers[str(answer.status_code)] += 1
            return answer

        return Route(path, endpoint, methods=[method])

    async def _answer(self, request: Request, scopes: frozenset[str], operation: Operation) -> Response:
        try:
            call = await self._admit(request, scopes)
            key = call.person.id, str(request.url)
            if request.method == "GET" and key in self._remembered:
                return self._remembered[key]
            answer = operation(call)
        except Refused as refused:
            return JSONResponse(refused.body, refused.status)
        if not isinstance(answer, Answer):
            answer = Answer(answer)
        response = JSONResponse(answer.content, answer.status, headers=answer.headers)
        written = request.method != "GET"
        self._steering.stats.writes += written
        if written or len(self._remembered) >= REMEMBERED:
            self._remembered.clear()
        if not written:
            self._remembered[key] = response
        return response

    async def _admit(self, request: Request, scopes: frozenset[str]) -> Call:
        bearer = _bearer(request)
        if not bearer:
            raise Refused(401, "Authentication credentials were not provided.")
        family = self._grants.bearer(bearer, self._clock())
        if family is None:
            raise Refused(401, STATUSES[401])
        if scopes and not scopes & set(family.scopes):
            raise Refused(403, STATUSES[403])
        mine = self._world.organizations_of(family.person)
        name = request.path_params.get("org")
        org = next((org for org in mine if name in {None, org.slug, str(org.id)}), None)
        if org is None:
            raise Refused(404, STATUSES[404])
        try:
            body = {} if request.method == "GET" else await read_json(request)
        except Unreadable as wrong:
            raise Refused(400, f"JSON parse error - {wrong}") from None
        return Call(request, family.person, org, body)

    # --- Organizations and projects

    def organizations(self, call: Call) -> Answer:
        """Where the person is a member."""
        rows = self._world.organizations_of(call.person)
        return _page(call, rows, "per_page", lambda org: shapes.organization(org, self._world, call.origin))

    def me(self, call: Call) -> Json:
        """Whose token this is."""
        return shapes.me(call.person, self._world)

    def projects(self, call: Call) -> Answer:
        """An organization's projects; `query` is part of a name or slug."""
        part = call.params.get("query", "").lower()
        rows = [project for project in call.org.projects if part in f"{project.slug} {project.name}".lower()]
        return _page(call, rows, "per_page", lambda project: shapes.project(project, self._world))

    # --- Issues

    def issues(self, call: Call) -> Answer:
        """Search issues. Without `query` the unresolved ones."""
        params = call.params
        query, sort = params.get("query", "is:unresolved"), params.get("sort", "date")
        within, asked = queries.projects(call.org, params), queries.span(self._world, params)
        search = queries.parse(query, call.org, call.person, self._world)
        hits = queries.select(call.org.issues, search, within, asked, sort)
        stats = params.get("groupStatsPeriod", "24h")
        stats = "24h" if stats == "auto" else stats
        if stats not in {"", "24h", "14d"}:
            raise Refused(400, {"detail": "Invalid stats_period. Valid choices are '', '24h', and '14d'"})

        def row(issue: Issue) -> Json:
            narrowed = queries.narrow(search, issue, asked) if search.narrowed is not None else None
            return shapes.issue_row(issue, call.org, call.origin, span=asked, narrowed=narrowed, stats=stats)

        return _page(call, hits, "limit", row)

    def issue(self, call: Call) -> Json:
        """One issue by number or short id."""
        return shapes.issue_details(_issue(call), call.org, call.origin)

    def change_issue(self, call: Call) -> Json:
        """Resolve, reopen, ignore, assign."""
        issue, body = _issue(call), call.body
        status = body.get("status", issue.status)
        if status not in {"resolved", "unresolved", "ignored", "resolvedInNextRelease"}:
            raise Refused(400, {"status": [f'"{status}" is not a valid choice.']})
        assignee = _assignee(call, body["assignedTo"]) if "assignedTo" in body else issue.assignee
        issue.status = "resolved" if status == "resolvedInNextRelease" else status
        issue.in_next_release = status == "resolvedInNextRelease"
        issue.assignee = assignee
        return shapes.issue(issue, call.org, call.origin)

    def comment(self, call: Call) -> Answer:
        """Comment on an issue."""
        issue, text = _issue(call), call.body.get("text")
        if not isinstance(text, str) or not text.strip():
            raise Refused(400, {"text": ["This field is required."]})
        comment = Comment(next(self._numbers), text, call.person, int(self._clock()))
        issue.comments.append(comment)
        return Answer(shapes.comment(comment), 201)

    def event(self, call: Call) -> Json:
        """One event: `latest`, `oldest`, `recommended` or an event id."""
        issue, which = _issue(call), call.request.path_params["event"]
        match which:
            case "latest" | "recommended":
                number = issue.events - 1
            case "oldest":
                number = 0
            case _:
                number = _number(which)
                if number >= issue.events or shapes.event_id(issue, number) != which:
                    raise Refused(404, "No matching event")
        return shapes.event(issue, number)

    def short_id(self, call: Call) -> Json:
        """What a short id stands for."""
        issue = _issue(call)
        if issue.short_id != call.request.path_params["issue"].upper():
            raise Refused(404, STATUSES[404])
        return {
            "organizationSlug": call.org.slug,
            "projectSlug": issue.project.slug,
            "groupId": str(issue.id),
            "group": shapes.issue(issue, call.org, call.origin),
            "shortId": issue.short_id,
        }

    # --- Releases

    def releases(self, call: Call) -> Answer:
        """Releases, newest first; `query` is part of a version."""
        within, part = queries.projects(call.org, call.params), call.params.get("query", "").lower()
        rows = [
            release for release in call.org.releases if release.project in within and part in release.version.lower()
        ]
        return _page(call, rows, "per_page", shapes.release)

    def release(self, call: Call) -> Json:
        """One release; with `health=1` also how its sessions were."""
        found = _release(call)
        if call.params.get("health") not in {"1", "true"}:
            return shapes.release(found)
        period = queries.seconds(call.params.get("healthStatsPeriod", "24h"), "healthStatsPeriod")
        return shapes.release(found, health=(HOURS - period // HOUR_S, HOURS))

    def commits(self, call: Call) -> Answer:
        """What a release changed, newest first."""
        found = _release(call)
        return _page(call, range(found.commits), "per_page", lambda number: shapes.commit(found, number))

    # --- Figures over time

    def sessions(self, call: Call) -> Json:
        """Sessions and their crash rates."""
        return figures.sessions(self._world, call.org, call.params)

    def stats(self, call: Call) -> Json:
        """Events received."""
        return figures.received(self._world, call.org, call.params)

    def timeseries(self, call: Call) -> Json:
        """Errors over time."""
        return figures.timeseries(self._world, call.org, call.params)


def _bearer(request: Request) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _issue(call: Call) -> Issue:
    found = call.org.by_id.get(call.request.path_params["issue"].upper())
    if found is None:
        raise Refused(404, STATUSES[404])
    return found


def _release(call: Call) -> Release:
    found = call.org.by_version.get(call.request.path_params["version"])
    if found is None:
        raise Refused(404, STATUSES[404])
    return found


def _assignee(call: Call, value: object) -> Person | Project | None:
    """`user:1`, `team:1001`, an e-mail address, or nothing to unassign."""
    if value in {None, ""}:
        return None
    known: dict[object, Person | Project] = {}
    for person in call.org.members:
        known |= {person.email: person, f"user:{person.id}": person, str(person.id): person}
    for project in call.org.projects:
        known |= {f"#{project.slug}": project, f"team:{project.id}": project}
    if (found := known.get(value)) is None:
        raise Refused(400, {"assignedTo": ["Unknown actor input"]})
    return found


def _number(event: str) -> int:
    try:
        return int(event[-8:], 16)
    except ValueError:
        raise Refused(404, "No matching event") from None


def _page(call: Call, rows: Sequence[Any], limit_name: str, shape: Callable[[Any], Json]) -> Answer:
    """One page of `rows`, with the `Link` header of RFC 8288 in Sentry's form: cursors are `0:offset:is_previous`."""
    limit, cursor = queries.limit(call.params, limit_name), call.params.get("cursor", "0:0:0")
    parts = cursor.split(":")
    if len(parts) != 3 or not all(part.isdecimal() for part in parts):  # noqa: PLR2004 - the form of a cursor
        raise Refused(400, "Invalid cursor parameter.")
    offset = int(parts[1])
    query = urlencode([(name, value) for name, value in call.params.multi_items() if name != "cursor"])
    url = f"{call.origin}{quote(call.request.url.path)}?{query + '&' if query else ''}cursor="
    links = ", ".join(
        f'<{url}{to}>; rel="{rel}"; results="{str(more).lower()}"; cursor="{to}"'
        for rel, to, more in (
            ("previous", f"0:{max(offset - limit, 0)}:1", offset > 0),
            ("next", f"0:{offset + limit}:0", offset + limit < len(rows)),
        )
    )
    headers = {"Link": links, "X-Hits": str(len(rows)), "X-Max-Hits": "1000"}
    return Answer([shape(row) for row in rows[offset : offset + limit]], headers=headers)
