"""Sentry: errors, issues, releases and projects, on sentry.io, a self-hosted server or the sandbox."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

from metaagent.values import value
from providers import tools
from providers.errors import BadArguments, NotFound, Unavailable
from providers.series import Series
from providers.spec import Api, Args, Effect, Json, OAuthSpec, Page, Producer, ProviderSpec, Result, ToolSpec
from providers.tools import (
    SHOWN,
    Row,
    ago,
    at,
    bullets,
    clean,
    clock,
    given,
    length,
    list_at,
    moment,
    moment_at,
    number,
    number_at,
    page_url,
    path,
    picked,
    plural,
    text_at,
    whole_at,
)

_HOME = "/api/0/organizations/{org}/"
_ISSUE = _HOME + "issues/{id}/"
_RELEASE = _HOME + "releases/{version}/"
_PAGE = "/organizations/{org}/"

_ISSUE_FIELDS = (
    *("id", "shortId", "title", "culprit", "level", "status", "substatus", "priority", "count", "userCount"),
    *("firstSeen", "lastSeen", "project.slug", "assignedTo.name", "permalink"),
)
_RELEASE_FIELDS = (
    *("version", "shortVersion", "dateCreated", "dateReleased", "newGroups", "commitCount", "deployCount"),
    *("lastDeploy.environment", "lastDeploy.dateFinished", "firstEvent", "lastEvent"),
)

_record = partial(tools.record, "Sentry")
_records = partial(tools.records, "Sentry")
_pages = partial(tools.pages, "Sentry")

# --- what was asked --------------------------------------------------------------------------------------------------

_UNITS = {"h": ("hour", 1), "d": ("day", 24), "w": ("week", 168)}


_KEPT = 90 * 24
"""Hours that Sentry looks back."""


def _hours(period: str) -> int:
    """How long a period is. Raises: `BadArguments` when Sentry does not look back as far."""
    hours = int(period[:-1]) * _UNITS[period[-1]][1]
    if hours > _KEPT:
        raise BadArguments("Sentry looks back 90 days at most: ask for 90d or less.")
    return hours


def _stretch(period: str) -> str:
    """A period in words: "24 hours", "week"."""
    count, unit = int(period[:-1]), _UNITS[period[-1]][0]
    return plural(count, unit) if count > 1 else unit


def _within(args: Args) -> str:
    """Where an answer was kept to, in words."""
    project, environment = args.get("project"), args.get("environment")
    where = "" if project is None else " in that project" if project.isdecimal() else f" in {clean(project, 60)}"
    return where + (f" ({clean(environment, 40)})" if environment else "")


def _term(key: str, value: str) -> str:
    """One term of Sentry's search language. No value can end it and begin another."""
    if re.fullmatch(r"[\w@.+/#-]+", value):
        return f"{key}:{value}"
    escaped = re.sub(r'["\\]', r"\\\g<0>", value)
    return f'{key}:"{escaped}"'


# --- projects --------------------------------------------------------------------------------------------------------


async def _projects(api: Api, org: str) -> list[Row]:
    return await _pages(api, path(_HOME + "projects/", org=org), {"per_page": 100}, needs=("id", "slug"), most=5)


async def _project_id(api: Api, org: str, project: str | None) -> str | None:
    """The number of a project, given its slug, name or number: not every server filters by anything else.

    Raises: `NotFound`.
    """
    if project is None or project.isdecimal():
        return project
    for row in await _projects(api, org):
        if project.casefold() in (text_at(row, "slug").casefold(), text_at(row, "name").casefold()):
            return text_at(row, "id")
    raise NotFound("Sentry has no project of that name in this organization: ask which projects there are.")


def _say_organization(row: Row) -> str:
    return f"**{clean(text_at(row, 'name') or text_at(row, 'slug'), 60)}** (`{clean(text_at(row, 'slug'), 60)}`)"


def _say_project(row: Row) -> str:
    platform = clean(text_at(row, "platform"), 40)
    facts = [*([platform] if platform else []), *([] if at(row, "firstEvent") else ["no errors received yet"])]
    return ", ".join([_say_organization(row), *facts])


def _say_person(row: Row) -> str:
    name, email = clean(text_at(row, "name"), 60), clean(text_at(row, "email") or text_at(row, "username"), 100)
    return f"This is the Sentry account of **{name or email}**{f' ({email})' if name and email else ''}."


# --- issues ----------------------------------------------------------------------------------------------------------


@value
class _Issues:
    """The first issues of a search, and how many there are in all."""

    rows: list[Row]
    total: int

    def data(self) -> Json:
        return [picked(row, _ISSUE_FIELDS) for row in self.rows]

    def lines(self, now: datetime, *, first: bool = False) -> list[str]:
        return [_say_issue(row, now, first=first) for row in self.rows]

    def sources(self, api: Api, org: str) -> tuple[Page, ...]:
        return tuple(_issue_source(api, org, row) for row in self.rows[:SHOWN])


async def _find(
    api: Api, args: Args, terms: Iterable[str], *, sort: str, when: str | tuple[datetime, datetime]
) -> _Issues:
    """Issues that fit all `terms`, in the project and environment of `args` where it names them.

    `when` they were seen is a period ending now, or a stretch between two moments.
    """
    if isinstance(when, str):
        seen = {"statsPeriod": f"{_hours(when)}h"}
    else:
        seen = {name: f"{moment:%Y-%m-%dT%H:%M:%S}" for name, moment in zip(("start", "end"), when, strict=True)}
    project = args.get("project")
    numbered = project is not None and project.isdecimal()
    params = {
        "query": " ".join([*terms, *([_term("project", project)] if project and not numbered else [])]),
        "sort": sort,
        **seen,
        "limit": args.get("limit", SHOWN),
        "environment": args.get("environment"),
        "project": project if numbered else None,
    }
    try:
        reply = await api.get(path(_HOME + "issues/", org=args["org"]), given(params))
    except NotFound:
        raise
    except BadArguments:
        text = "Sentry does not accept this search: check the name of the project and the words to search for."
        raise BadArguments(text) from None
    rows = _records(reply.data, "id", "title")
    return _Issues(rows, max(len(rows), round(number(reply.headers.get("x-hits")) or 0)))


async def _begun_in(api: Api, args: Args, version: str) -> _Issues:
    """Issues first seen in a release, those with the most events first."""
    return await _find(api, args, [_term("firstRelease", version)], sort="freq", when="90d")


async def _lookup(api: Api, org: str, issue: str) -> Row:
    """The issue of a short id such as CHECKOUT-1A, or of a number. Raises: `NotFound`."""
    try:
        if issue.isdecimal():
            return _record((await api.get(path(_ISSUE, org=org, id=issue))).data, "id", "title")
        reply = await api.get(path(_HOME + "shortids/{issue}/", org=org, issue=issue.upper()))
    except NotFound:
        text = "Sentry has no such issue in this organization, or this account may not see it: check its short id."
        raise NotFound(text) from None
    return _record(at(reply.data, "group"), "id", "title")


def _name(issue: Row) -> str:
    return clean(text_at(issue, "shortId") or text_at(issue, "id"), 60)


def _issue_source(api: Api, org: str, row: Row) -> Page:
    page = page_url(api.web_base, text_at(row, "permalink"))
    url = page or api.web_base + path(_PAGE + "issues/{id}/", org=org, id=text_at(row, "id"))
    name = _name(row)
    return Page(f"{name}: {clean(text_at(row, 'title'), 80)}", url, name)


def _search_source(api: Api, org: str) -> Page:
    return Page("Issues", api.web_base + path(_PAGE + "issues/", org=org))


def _say_issue(row: Row, now: datetime, *, first: bool) -> str:
    """One line: short id, title, events, users, and when it was last (or first) seen."""
    level, users = text_at(row, "level"), whole_at(row, "userCount")
    facts = [
        *([clean(level, 20)] if level not in ("", "error") else []),
        plural(whole_at(row, "count"), "event"),
        *([plural(users, "user")] if users else []),
        f"{'first' if first else 'last'} seen {ago(moment_at(row, 'firstSeen' if first else 'lastSeen'), now)}",
    ]
    return f"**{_name(row)}** {clean(text_at(row, 'title'), 100)} ({', '.join(facts)})"


async def search_issues(api: Api, args: Args) -> Result:
    """Issues by what they are, the latest first."""
    status, query, whose = args.get("status", "unresolved"), args.get("query"), args.get("assigned_to")
    release = await _release(api, args["org"], args["version"]) if "version" in args else None
    period = args.get("period", "90d" if release else "14d")
    level, last = args.get("level"), f"the last {_stretch(period)}"
    terms = [
        {"all": "", "archived": "is:ignored"}.get(status, f"is:{status}"),
        _term("level", level) if level else "",
        "is:unassigned" if whose == "nobody" else _term("assigned", whose) if whose else "",
        _term("release", release.version) if release else "",
        query or "",
    ]
    found = await _find(api, args, filter(None, terms), sort="date", when=period)
    kind = " ".join(filter(None, [status if status != "all" else "", level, "issue"]))
    which = _within(args)
    which += f" assigned to {clean(whose, 60)}" if whose else ""
    which += f" of release {clean(release.version, 80)}" if release else ""
    which += f" matching \u201c{clean(query, 80)}\u201d" if query else ""
    if not found.rows:
        text = f"No {kind}{which} was seen in {last}."
        return Result([], text, (_search_source(api, args["org"]),))
    head = f"{plural(found.total, kind)}{which} in {last}, the latest first:"
    text = f"{head}\n{bullets(found.lines(datetime.now(UTC)), total=found.total)}"
    return Result(found.data(), text, found.sources(api, args["org"]))


async def top_issues(api: Api, args: Args) -> Result:
    """Unresolved issues, those that happen most or touch most people first."""
    by, period = args.get("by", "events"), args.get("period", "24h")
    found = await _find(api, args, ["is:unresolved"], sort="user" if by == "users" else "freq", when=period)
    last = f"the last {_stretch(period)}"
    if not found.rows:
        text = f"No unresolved issue was seen{_within(args)} in {last}."
        return Result([], text, (_search_source(api, args["org"]),))
    head = f"{plural(found.total, 'unresolved issue')}{_within(args)} in {last}, the ones with the most {by} first:"
    text = f"{head}\n{bullets(found.lines(datetime.now(UTC)), total=found.total)}"
    return Result(found.data(), text, found.sources(api, args["org"]))


async def new_issues(api: Api, args: Args) -> Result:
    """Issues first seen lately, or in one release."""
    org, period, version = args["org"], args.get("period", "7d"), args.get("version")
    if version:
        release = await _release(api, org, version)
        found = await _begun_in(api, args, release.version)
        where, order = f"in release {clean(release.version, 80)}", "the ones with the most events first"
    else:
        found = await _find(api, args, [f"firstSeen:-{period}"], sort="new", when=period)
        where, order = f"in the last {_stretch(period)}", "the newest first"
    if not found.rows:
        return Result([], f"No issue{_within(args)} was first seen {where}.", (_search_source(api, org),))
    head = f"{plural(found.total, 'issue')}{_within(args)} first seen {where}, {order}:"
    text = f"{head}\n{bullets(found.lines(datetime.now(UTC), first=True), total=found.total)}"
    return Result(found.data(), text, found.sources(api, org))


async def issue_details(api: Api, args: Args) -> Result:
    """One issue: what, where, how often, since when, whose."""
    org, issue, now = args["org"], args["issue"], datetime.now(UTC)
    row = await _lookup(api, org, issue)
    if not issue.isdecimal():  # a short id leads to less than the whole issue
        row = _record((await api.get(path(_ISSUE, org=org, id=text_at(row, "id")))).data, "id", "title")
    states = [text_at(row, "level"), text_at(row, "status"), text_at(row, "substatus").replace("_", " ")]
    today, whose = _events_today(row), clean(text_at(row, "assignedTo", "name"), 60)
    culprit, priority = clean(text_at(row, "culprit"), 120), clean(text_at(row, "priority"), 20)
    facts = [
        f"{plural(whole_at(row, 'count'), 'event')}, {plural(whole_at(row, 'userCount'), 'user')}"
        + (f", {'all' if today >= whole_at(row, 'count') else f'{today:,}'} in the last 24 hours" if today else ""),
        f"First seen {ago(moment_at(row, 'firstSeen'), now)}{_in_release(row, 'firstRelease')}",
        f"Last seen {ago(moment_at(row, 'lastSeen'), now)}{_in_release(row, 'lastRelease')}",
        f"Raised in {culprit}" if culprit else "",
        f"Priority {priority}" if priority else "",
        f"Assigned to {whose or 'nobody'}",
        _say_comments(row, now),
    ]
    state = clean(", ".join(filter(None, states)), 80)
    head = f"**{_name(row)}** {clean(text_at(row, 'title'), 200)}" + (f" ({state})" if state else "")
    fields = (*_ISSUE_FIELDS, "platform", "numComments", "firstRelease.version", "lastRelease.version")
    text = f"{head}\n{bullets(list(filter(None, facts)))}"
    return Result(picked(row, fields), text, (_issue_source(api, org, row),))


def _events_today(row: Row) -> int:
    hourly = at(row, "stats", "24h")
    pairs = [pair for pair in hourly if isinstance(pair, list) and pair] if isinstance(hourly, list) else []
    return round(sum(number(pair[-1]) or 0 for pair in pairs))


def _in_release(row: Row, key: str) -> str:
    version = clean(text_at(row, key, "version"), 80)
    return f" in {version}" if version else ""


def _say_comments(row: Row, now: datetime) -> str:
    """How many comments there are, and the latest."""
    notes = [each for each in list_at(row, "activity") if text_at(each, "type") == "note"]
    count = max(whole_at(row, "numComments"), len(notes))
    if not notes:
        return plural(count, "comment") if count else ""
    who = clean(text_at(notes[0], "user", "name"), 40) or "someone"
    said = clean(text_at(notes[0], "data", "text"), 200)
    return f"{plural(count, 'comment')}, the latest by {who} {ago(moment_at(notes[0], 'dateCreated'), now)}: {said}"


async def resolve_issue(api: Api, args: Args) -> Result:
    """Mark an issue as resolved."""
    issue = await _lookup(api, args["org"], args["issue"])
    reply = await api.send("PUT", path(_ISSUE, org=args["org"], id=text_at(issue, "id")), {"status": "resolved"})
    if text_at(reply.data, "status") != "resolved":
        raise Unavailable("Sentry did not say that the issue is resolved now: look at it before trying again.")
    data = {**picked(issue, _ISSUE_FIELDS), "status": "resolved"}
    text = f"Resolved **{_name(issue)}** {clean(text_at(issue, 'title'), 120)}."
    return Result(data, text, (_issue_source(api, args["org"], issue),))


async def comment_on_issue(api: Api, args: Args) -> Result:
    """Add a comment to an issue."""
    issue = await _lookup(api, args["org"], args["issue"])
    address = path(_ISSUE + "comments/", org=args["org"], id=text_at(issue, "id"))
    reply = await api.send("POST", address, {"text": args["text"]})
    data = {"comment": text_at(reply.data, "id"), "issue": picked(issue, ("id", "shortId", "title", "permalink"))}
    text = f"Commented on **{_name(issue)}** {clean(text_at(issue, 'title'), 120)}."
    return Result(data, text, (_issue_source(api, args["org"], issue),))


# --- events ----------------------------------------------------------------------------------------------------------

_CHAIN = 3
"""Exceptions shown of a chain of causes."""
_FRAMES = 20


async def latest_event(api: Api, args: Args) -> Result:
    """The latest event of an issue: what was raised and where, the innermost frame first."""
    org, now = args["org"], datetime.now(UTC)
    issue = await _lookup(api, org, args["issue"])
    address = path(_ISSUE + "events/latest/", org=org, id=text_at(issue, "id"))
    event = _record((await api.get(address)).data, "eventID")
    tags = {text_at(tag, "key"): text_at(tag, "value") for tag in list_at(event, "tags")}
    context = [
        ("in release", text_at(event, "release", "version") or tags.get("release", "")),
        ("in", tags.get("environment", "")),
        ("with", tags.get("browser", "") or tags.get("runtime", "")),
        ("on", tags.get("os", "")),
    ]
    place = ", ".join(f"{word} {clean(value, 80)}" for word, value in context if value)
    when = ago(moment_at(event, "dateCreated") or moment_at(event, "dateReceived"), now)
    chain = _chain(event)
    said = clean(text_at(event, "message") or text_at(event, "title"), 300)
    told = [_say_raised(raised) for raised in chain] or [f"**{said}**\nThis event has no stack trace."]
    text = f"The latest event of **{_name(issue)}**, {', '.join(filter(None, [when, place]))}:\n" + "\nCaused by ".join(
        told
    )
    data = {
        **picked(event, ("eventID", "title", "message", "culprit", "platform", "dateCreated", "release.version")),
        "tags": tags,
        "exceptions": [_raised_data(raised) for raised in chain],
        "issue": picked(issue, ("id", "shortId", "title", "permalink")),
    }
    return Result(data, text, (_issue_source(api, org, issue),))


def _chain(event: Row) -> list[Row]:
    """What was raised, then what caused it. Sentry has it the other way round."""
    entries = [entry for entry in list_at(event, "entries") if text_at(entry, "type") == "exception"]
    return [raised for entry in entries for raised in list_at(entry, "data", "values")][::-1][:_CHAIN]


def _frames(raised: Row) -> list[Row]:
    """The frames of the application itself, if it has any, innermost first."""
    frames = list_at(raised, "stacktrace", "frames")[::-1]
    return ([frame for frame in frames if at(frame, "inApp") is True] or frames)[:_FRAMES]


def _code(frame: Row) -> str:
    """The line of source a frame stands at, if the event carries it."""
    context = at(frame, "context")
    lines = [pair for pair in context if isinstance(pair, list)] if isinstance(context, list) else []
    return next((str(pair[1]).strip() for pair in lines if len(pair) > 1 and pair[0] == at(frame, "lineNo")), "")


def _say_raised(raised: Row) -> str:
    what = clean(f"{text_at(raised, 'type') or 'Error'}: {text_at(raised, 'value')}".removesuffix(": "), 300)
    return "\n".join(filter(None, [f"**{what}**", bullets([_say_frame(frame) for frame in _frames(raised)])]))


def _say_frame(frame: Row) -> str:
    file = text_at(frame, "filename") or text_at(frame, "module") or text_at(frame, "absPath") or "unknown file"
    place = clean(":".join(filter(None, [file, text_at(frame, "lineNo")])), 120)
    function, code = clean(text_at(frame, "function"), 80), clean(_code(frame), 120)
    return f"`{place}`" + (f" in `{function}`" if function else "") + (f": `{code}`" if code else "")


def _raised_data(raised: Row) -> Json:
    frames = [
        {**picked(frame, ("filename", "function", "lineNo", "module")), "code": _code(frame)}
        for frame in _frames(raised)
    ]
    return {**picked(raised, ("type", "value")), "frames": frames}


# --- releases --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Release:
    """One release as comparisons need it."""

    row: Row
    version: str
    made: datetime | None
    new_issues: int
    projects: frozenset[str]
    """The numbers of its projects."""

    @property
    def name(self) -> str:
        return clean(self.version, 80)


def _as_release(row: Json) -> _Release:
    row = _record(row, "version")
    made = moment_at(row, "dateReleased") or moment_at(row, "dateCreated")
    projects = frozenset(text_at(project, "id") for project in list_at(row, "projects"))
    return _Release(row, text_at(row, "version"), made, whole_at(row, "newGroups"), projects)


async def _releases(
    api: Api, org: str, project_id: str | None, *, query: str | None = None, per_page: int = 100, most: int = 1
) -> list[_Release]:
    """Releases, the newest first."""
    params = given({"per_page": per_page, "project": project_id, "query": query})
    rows = await _pages(api, path(_HOME + "releases/", org=org), params, needs=("version",), most=most)
    return [_as_release(row) for row in rows]


def _named(releases: Sequence[_Release], name: str) -> _Release:
    """The release of that version; what stands before "@" in it may be left out.

    Raises: `NotFound`, or `BadArguments` when several go by that name.
    """
    wanted = name.casefold()
    whole = [each for each in releases if each.version.casefold() == wanted]
    short = [each for each in releases if each.version.rpartition("@")[2].casefold() == wanted]
    match whole or short:
        case []:
            raise NotFound("Sentry has no release of that version here: ask for the list of releases.")
        case [only]:
            return only
        case _:
            raise BadArguments("Several releases go by that version: give it whole, as in package@1.2.3.")


async def _release(api: Api, org: str, version: str) -> _Release:
    """One release by its version. Raises: see `_named`."""
    try:
        return _as_release((await api.get(path(_RELEASE, org=org, version=version))).data)
    except NotFound:
        found = _named(await _releases(api, org, None, query=version), version)
        return _as_release((await api.get(path(_RELEASE, org=org, version=found.version))).data)


def _release_source(api: Api, org: str, release: _Release) -> Page:
    url = api.web_base + path(_PAGE + "releases/{version}/", org=org, version=release.version)
    return Page(f"Release {release.name}", url, release.name)


def _say_release(release: _Release, now: datetime) -> str:
    row, commits = release.row, whole_at(release.row, "commitCount")
    where = clean(text_at(row, "lastDeploy", "environment"), 40)
    projects = [clean(text_at(project, "slug"), 40) for project in list_at(row, "projects")]
    facts = [
        f"{'released' if at(row, 'dateReleased') else 'created'} {ago(release.made, now)}",
        plural(release.new_issues, "new issue"),
        plural(commits, "commit") if commits else "",
        f"deployed to {where}" if where else "",
        f"project {', '.join(projects[:3])}" if projects and release.name.partition("@")[0] not in projects else "",
    ]
    return f"**{release.name}**: {', '.join(filter(None, facts))}"


async def list_releases(api: Api, args: Args) -> Result:
    """Releases, the newest first."""
    org, now = args["org"], datetime.now(UTC)
    project_id = await _project_id(api, org, args.get("project"))
    releases = await _releases(api, org, project_id, per_page=args.get("limit", SHOWN))
    if not releases:
        return Result([], f"No release{_within(args)} was found.")
    head = f"The newest {'releases' if len(releases) > 1 else 'release'}{_within(args)}:"
    return Result(
        [picked(release.row, _RELEASE_FIELDS) for release in releases],
        f"{head}\n{bullets([_say_release(release, now) for release in releases])}",
        tuple(_release_source(api, org, release) for release in releases[:SHOWN]),
    )


async def release_details(api: Api, args: Args) -> Result:
    """What is in a release: commits, authors, deploy, and how many issues began with it."""
    org, now = args["org"], datetime.now(UTC)
    release = await _release(api, org, args["version"])
    row, count = release.row, whole_at(release.row, "commitCount")
    commits = await _commits(api, org, release) if count else []
    where, deployed = clean(text_at(row, "lastDeploy", "environment"), 40), moment_at(row, "lastDeploy", "dateFinished")
    people = [clean(text_at(who, "name") or text_at(who, "email"), 40) for who in list_at(row, "authors")]
    projects = [clean(text_at(project, "slug"), 40) for project in list_at(row, "projects")]
    facts = [
        f"{'Released' if at(row, 'dateReleased') else 'Created'} {ago(release.made, now)}"
        + (f" for {', '.join(projects[:5])}" if projects else ""),
        f"Deployed to {where} {ago(deployed, now)}" if where else "No deploy is recorded",
        f"{plural(release.new_issues, 'issue')} first seen in it",
        f"{plural(count, 'commit')} by {', '.join(people[:5]) or 'unknown people'}"
        if count
        else "No commits are recorded",
    ]
    text = f"Release **{release.name}**\n{bullets(facts)}"
    if commits:
        text += f"\nCommits:\n{bullets([_say_commit(commit) for commit in commits], total=count)}"
    data = {
        **picked(row, _RELEASE_FIELDS),
        "projects": [text_at(project, "slug") for project in list_at(row, "projects")],
        "authors": [text_at(who, "name") for who in list_at(row, "authors")],
        "commits": [picked(commit, ("id", "message", "author.name", "dateCreated")) for commit in commits],
    }
    return Result(data, text, (_release_source(api, org, release),))


async def _commits(api: Api, org: str, release: _Release) -> list[Row]:
    address = path(_RELEASE + "commits/", org=org, version=release.version)
    try:
        return _records((await api.get(address)).data, "id")
    except NotFound:  # a count without the commits: they were deleted, or the server does not serve them
        return []


def _say_commit(commit: Row) -> str:
    who, what = clean(text_at(commit, "author", "name"), 40), text_at(commit, "message").strip().partition("\n")[0]
    return f"`{clean(text_at(commit, 'id'), 80)[:7]}` {clean(what, 100)}" + (f" ({who})" if who else "")


# --- release health --------------------------------------------------------------------------------------------------

_FEW_SESSIONS = 100
"""Below so many sessions a crash-free rate says nothing yet."""
_NOTICEABLE = 0.003
"""A change of crash-free sessions worth a word: 0.3 percentage points."""
_MANY_NEW = 3
"""New issues from which on a release may be called worse for them alone."""


@dataclass(frozen=True, slots=True)
class _Health:
    """How the sessions of a release went in the last 30 days; a rate (0 to 1) is None where Sentry knows none."""

    sessions: int = 0
    users: int = 0
    session_rate: float | None = None
    user_rate: float | None = None


async def _health(api: Api, org: str, release: _Release | None, project_id: str | None) -> _Health:
    if release is None:
        return _Health()
    params = {
        "field": ["sum(session)", "count_unique(user)", "crash_free_rate(session)", "crash_free_rate(user)"],
        "groupBy": "release",
        "query": _term("release", release.version),
        "statsPeriod": "30d",
        "interval": "1d",
        "includeSeries": 0,
        "project": project_id,
    }
    answer = _record((await api.get(path(_HOME + "sessions/", org=org), given(params))).data)
    groups = _records(at(answer, "groups"))
    totals = next((at(each, "totals") for each in groups if text_at(each, "by", "release") == release.version), None)
    return _Health(
        whole_at(totals, "sum(session)"),
        whole_at(totals, "count_unique(user)"),
        number_at(totals, "crash_free_rate(session)"),
        number_at(totals, "crash_free_rate(user)"),
    )


def _say_rate(what: str, rate: float | None, before: float | None) -> str:
    """A rate against the one before: "Crash-free sessions: 96.4%, down 2.9 points from 99.3%"."""
    if rate is None:
        return ""
    said = f"Crash-free {what}: {100 * rate:.1f}%"
    if before is None:
        return said
    points = round(100 * rate, 1) - round(100 * before, 1)
    if not points:
        return f"{said}, as before"
    return f"{said}, {'up' if points > 0 else 'down'} {abs(points):.1f} points from {100 * before:.1f}%"


def _length_between(release: _Release, previous: _Release) -> str:
    return f"{length(release.made - previous.made)} " if release.made and previous.made else ""


@dataclass(frozen=True, slots=True)
class _Comparison:
    """A release beside the one before it, and the issues that began with it."""

    release: _Release
    previous: _Release | None
    health: _Health
    health_before: _Health
    new: _Issues

    @property
    def verdict(self) -> str:
        """How the release does against the one before: "first", "worse", "better", "no worse" or "too early"."""
        if self.previous is None:
            return "first"
        now, before = self.health.session_rate, self.health_before.session_rate
        judged = now is not None and before is not None and self.health.sessions >= _FEW_SESSIONS
        change = (now or 0) - (before or 0) if judged else None
        many_new = self.release.new_issues >= max(_MANY_NEW, 2 * self.previous.new_issues)
        if many_new or (change is not None and change <= -_NOTICEABLE):
            return "worse"
        if change is None:
            return "too early"
        return "better" if change >= _NOTICEABLE else "no worse"

    @property
    def lead(self) -> str:
        """The verdict in a sentence."""
        name = f"**{self.release.name}**"
        if self.previous is None:
            return f"There is no release before {name} to compare it with."
        if self.verdict == "too early":
            return f"Sentry has too few sessions of {name} to compare it with {self.previous.name} yet."
        return f"{name} looks {self.verdict} than {self.previous.name}, the release before it."

    def lines(self, now: datetime) -> list[str]:
        """What changed, and the issues that began with it: a list, and one more if there are any."""
        health, before = self.health, self.health_before
        counted = f"{plural(health.sessions, 'session')} of {plural(health.users, 'user')} in the last 30 days"
        facts = [
            f"{'Released' if at(self.release.row, 'dateReleased') else 'Created'} {ago(self.release.made, now)}"
            + (f", {_length_between(self.release, self.previous)}after {self.previous.name}" if self.previous else ""),
            _say_rate("sessions", health.session_rate, before.session_rate),
            _say_rate("users", health.user_rate, before.user_rate),
            counted if health.sessions else "No sessions were recorded for it",
            plural(self.release.new_issues or self.new.total, "new issue")
            + (f", against {self.previous.new_issues:,} in {self.previous.name}" if self.previous else ""),
        ]
        return [
            bullets(list(filter(None, facts))),
            *_issue_list("New in it, the ones with the most events first:", self.new, now),
        ]

    def sources(self, api: Api, org: str) -> tuple[Page, ...]:
        releases = [release for release in (self.release, self.previous) if release]
        return (*(_release_source(api, org, release) for release in releases), *self.new.sources(api, org)[:_BRIEF])

    def data(self) -> Json:
        def side(release: _Release, health: _Health) -> Json:
            return {
                **picked(release.row, _RELEASE_FIELDS),
                "sessions": health.sessions,
                "users": health.users,
                "crashFreeSessions": health.session_rate,
                "crashFreeUsers": health.user_rate,
            }

        return {
            "verdict": self.verdict,
            "release": side(self.release, self.health),
            "previous": side(self.previous, self.health_before) if self.previous else None,
            "newIssues": self.new.data(),
        }


_BRIEF = 5
"""Issues shown below something else."""


def _issue_list(head: str, found: _Issues, now: datetime) -> list[str]:
    return [head, bullets(found.lines(now), total=found.total, most=_BRIEF)] if found.rows else []


def _before(release: _Release, releases: Sequence[_Release]) -> _Release | None:
    """The release that came before in the same project, of releases with the newest first."""
    after = [each.version for each in releases].index(release.version) + 1
    return next((each for each in releases[after:] if not release.projects or release.projects & each.projects), None)


async def _compare(
    api: Api, args: Args, project_id: str | None, release: _Release, releases: Sequence[_Release]
) -> _Comparison:
    """`release`, one of `releases`, beside the one before it."""
    org, previous = args["org"], _before(release, releases)
    health, health_before, new = await asyncio.gather(
        _health(api, org, release, project_id),
        _health(api, org, previous, project_id),
        _begun_in(api, args, release.version),
    )
    return _Comparison(release, previous, health, health_before, new)


async def release_health(api: Api, args: Args) -> Result:
    """A release, the newest when none is named, beside the one before it."""
    org, version = args["org"], args.get("version")
    project_id = await _project_id(api, org, args.get("project"))
    releases = await _releases(api, org, project_id, most=3 if version else 1)
    if not releases:
        return Result(None, f"No release{_within(args)} was found, so there is no health to compare.")
    release = _named(releases, version) if version else releases[0]
    compared = await _compare(api, args, project_id, release, releases)
    text = "\n".join([compared.lead, *compared.lines(datetime.now(UTC))])
    return Result(compared.data(), text, compared.sources(api, org))


# --- counts and spikes -----------------------------------------------------------------------------------------------

_HOURLY = 14 * 24 + 1
"""Hours up to which they are fetched by the hour."""
_FEW_HOURS = 6


def _fetched(hours: int) -> int:
    """Hours of counts to fetch for a period: twice as many and a bit, to compare with, where Sentry keeps as much."""
    return min(_KEPT, 2 * max(hours, 24) + (1 if 2 * hours < _HOURLY else 24))


async def _stats(api: Api, org: str, project_id: str | None, hours: int, group: str) -> Row:
    """Accepted errors of the last hours in groups. Raises: `Unavailable` when the answer has none."""
    params = {
        "field": "sum(quantity)",
        "category": "error",
        "outcome": "accepted",
        "groupBy": group,
        "statsPeriod": f"{hours}h",
        "interval": "1h" if hours <= _HOURLY else "1d",
        "project": project_id,
    }
    answer = _record((await api.get(path(_HOME + "stats_v2/", org=org), given(params))).data)
    _records(at(answer, "groups"))
    return answer


async def _counts(api: Api, org: str, project_id: str | None, hours: int, now: datetime) -> Series:
    answer = await _stats(api, org, project_id, _fetched(hours), "outcome")
    written = at(answer, "intervals")
    times = tuple(found for each in (written if isinstance(written, list) else []) if (found := moment(str(each))))
    if not times:
        raise tools.unreadable("Sentry")
    counts = [0] * len(times)
    for group in list_at(answer, "groups"):
        series = at(group, "series", "sum(quantity)")
        for i, count in enumerate(series[: len(times)] if isinstance(series, list) else []):
            counts[i] += round(number(count) or 0)
    step = timedelta(hours=1) if _fetched(hours) <= _HOURLY else timedelta(days=1)
    # Sentry counts whole hours or days, so it takes in the one in which the period begins.
    began = now - timedelta(hours=hours) - step
    return Series(times, tuple(counts), max(1, sum(time > began for time in times)), step)


async def _by_project(api: Api, org: str, hours: int) -> dict[str, int]:
    """Accepted errors of the last hours by project number. Sentry gives no series of these."""
    groups = list_at(await _stats(api, org, None, hours, "project"), "groups")
    return {text_at(group, "by", "project"): whole_at(group, "totals", "sum(quantity)") for group in groups}


def _stats_source(api: Api, org: str) -> Page:
    return Page("Error counts", api.web_base + path(_PAGE + "stats/", org=org))


async def error_counts(api: Api, args: Args) -> Result:
    """How many errors there were, against the stretch before, where a spike begins, and in which projects."""
    org, period, now = args["org"], args.get("period", "24h"), datetime.now(UTC)
    hours = _hours(period)
    project_id = await _project_id(api, org, args.get("project"))
    by_number: dict[str, int] = {}
    projects: list[Row] = []
    if project_id:
        counts = await _counts(api, org, project_id, hours, now)
    else:
        counts, by_number, projects = await asyncio.gather(
            _counts(api, org, None, hours, now), _by_project(api, org, hours), _projects(api, org)
        )
    slugs = {text_at(row, "id"): text_at(row, "slug") for row in projects}
    shares = sorted(((count, slugs.get(key, key)) for key, count in by_number.items() if count), reverse=True)
    few = hours < _FEW_HOURS
    when = f"since {clock(counts.times[-counts.recent :][0], now)}" if few else f"in the last {_stretch(period)}"
    text = f"{plural(counts.total, 'error')}{_within(args)} {when}{counts.say_change(_stretch(period))}."
    if counts.total:
        text += f"\n{counts.say_spike('error', now)}"
    if len(shares) > 1:
        text += f"\nBy project:\n{bullets([f'{clean(slug, 60)}: {count:,}' for count, slug in shares])}"
    return Result(
        {**counts.data(), "projects": {slug: count for count, slug in shares}}, text, (_stats_source(api, org),)
    )


async def _risen(api: Api, org: str, hours: int) -> Row | None:
    """The project whose errors rose most against the stretch before."""
    now, fetched, projects = await asyncio.gather(
        _by_project(api, org, hours), _by_project(api, org, _fetched(hours)), _projects(api, org)
    )
    earlier = max(1, _fetched(hours) - hours)
    rises = {key: count / hours - (fetched.get(key, count) - count) / earlier for key, count in now.items()}
    return max(projects, key=lambda row: rises.get(text_at(row, "id"), 0), default=None)


def _suspect(releases: Sequence[_Release], began: datetime, step: timedelta) -> _Release | None:
    """The last release that came out in the day before a spike, or within its first count."""
    day = timedelta(days=1)
    return next((each for each in releases if each.made and began - day <= each.made <= began + step), None)


async def explain_spike(api: Api, args: Args) -> Result:
    """Error counts, the release that came out when they rose, its health against the one before, and its new issues."""
    org, period, now = args["org"], args.get("period", "7d"), datetime.now(UTC)
    hours = _hours(period)
    project_id, within = await _project_id(api, org, args.get("project")), _within(args)
    if project_id:
        counts, releases = await asyncio.gather(
            _counts(api, org, project_id, hours, now), _releases(api, org, project_id)
        )
    else:
        counts, releases, risen = await asyncio.gather(
            _counts(api, org, None, hours, now), _releases(api, org, None), _risen(api, org, hours)
        )
        if counts.spike and risen:
            releases = [each for each in releases if text_at(risen, "id") in each.projects]
            within = f", mostly in {clean(text_at(risen, 'slug'), 60)}"
    ended = now
    if spike := counts.spike:
        began, ended = counts.times[spike.first], counts.times[spike.last] + counts.step
        release = _suspect(releases, began, counts.step)
        head = f"**Errors {'are spiking' if counts.spiking else 'spiked'}{within}.** {counts.say_spike('error', now)}"
    else:
        began, release = now - timedelta(hours=hours), next(iter(releases), None)
        many = f"{plural(counts.total, 'error')}{within} in the last {_stretch(period)}"
        head = f"Errors are not spiking: {many}{counts.say_change(_stretch(period))}."
    if release is None:
        found = await _find(api, args, [], sort="freq", when=(began, ended))
        cause = _say_other_cause(found, began, counts.step, now) if spike else ""
        title = f"Issues with the most events {'during it' if spike else 'meanwhile'}:"
        text = "\n".join(filter(None, [head, cause, *_issue_list(title, found, now)]))
        data = {"counts": counts.data(), "comparison": None, "issues": found.data()}
        return Result(data, text, (_stats_source(api, org), *found.sources(api, org)))
    compared = await _compare(api, args, project_id, release, releases)
    text = "\n".join([head, _say_cause(compared, began) if spike else compared.lead, *compared.lines(now)])
    data = {"counts": counts.data(), "comparison": compared.data()}
    return Result(data, text, (_stats_source(api, org), *compared.sources(api, org)))


def _say_other_cause(found: _Issues, began: datetime, step: timedelta, now: datetime) -> str:
    """What to look at when no release came out as a spike began: the biggest issue, if it began with it."""
    first = moment_at(found.rows[0], "firstSeen") if found.rows else None
    if first is None or abs(first - began) > 2 * step:
        return "No release came out in the day before, so look for a change outside the code."
    biggest = f"**{_name(found.rows[0])}**, first seen {ago(first, now)}"
    return f"No release came out in the day before. {biggest}, began with it."


def _say_cause(compared: _Comparison, began: datetime) -> str:
    """Whether the release that came out when a spike began is to blame for it."""
    release = compared.release
    early = began - release.made if release.made else timedelta()
    when = f"{length(early)} before it began" if early >= timedelta(minutes=1) else "as it began"
    if compared.verdict == "worse":
        return f"Release **{release.name}** came out {when} and is the likely cause:"
    if compared.new.rows:
        return f"Release **{release.name}** came out {when} and may be the cause, for issues began with it:"
    return f"Release **{release.name}** came out {when}, but nothing in it looks worse: the cause may lie elsewhere."


# --- the provider ----------------------------------------------------------------------------------------------------


def _period(default: str) -> Json:
    return {
        "type": "string",
        "pattern": "^[1-9][0-9]{0,2}[hdw]$",
        "default": default,
        "description": "How far back: a number of hours, days or weeks, such as 24h, 7d or 2w.",
    }


_ORG = {"type": "string", "minLength": 1, "maxLength": 100, "description": "Slug of the organization."}
_PROJECT = {"type": "string", "minLength": 1, "maxLength": 100, "description": "Slug or number of one project."}
_ENVIRONMENT = {
    "type": "string",
    "minLength": 1,
    "maxLength": 64,
    "description": "Only this environment, such as production.",
}
_LIMIT = {"type": "integer", "minimum": 1, "maximum": 100, "default": SHOWN, "description": "How many at most."}
_ISSUE_ID = {
    "type": "string",
    "pattern": "^([A-Z][A-Z0-9_-]*-[0-9A-Z]+|[a-z][a-z0-9_-]*-[0-9a-z]*[0-9][0-9a-z]*|[0-9]+)$",
    "maxLength": 120,
    "description": "Short id of the issue, such as CHECKOUT-1A, or its number.",
    "examples": ["CHECKOUT-1A"],
}
_VERSION = {
    "type": "string",
    "minLength": 1,
    "maxLength": 250,
    "description": "Version of the release, such as checkout@2.4.0 or 2.4.0.",
    "examples": ["checkout@2.4.0"],
}

_FIND_ORG = Producer("list_organizations", "slug", names=("name", "slug"))
_FIND_PROJECT = Producer("list_projects", "slug", names=("name", "slug"))
_FIND_ISSUE = Producer("search_issues", "shortId", names=("shortId", "title"))
_FIND_VERSION = Producer("list_releases", "version", names=("version", "shortVersion"), pick="first")

_IN_ORG = {"org": _FIND_ORG}
_IN_PROJECT = {"org": _FIND_ORG, "project": _FIND_PROJECT}

_READ_ORG, _READ_PROJECT, _READ_EVENT, _WRITE_EVENT = "org:read", "project:read", "event:read", "event:write"

_GIVES_ISSUES = (
    "[{shortId, title, status, count, userCount, firstSeen, lastSeen, project.slug, assignedTo.name, culprit}]"
)

TOOLS = (
    ToolSpec(
        name="list_organizations",
        summary="List the organizations this account belongs to.",
        gives="[{slug, name}]",
        invoke=tools.listing(
            "Sentry",
            "/api/0/organizations/",
            one="organization",
            needs=("id", "slug"),
            pick=("id", "slug", "name", "dateCreated", "status.id"),
            say=_say_organization,
            source=lambda web, row, _: Page(
                clean(text_at(row, "name") or text_at(row, "slug"), 60),
                web + path(_PAGE + "issues/", org=text_at(row, "slug")),
                text_at(row, "slug"),
            ),
            fixed={"per_page": 100},
        ),
        scopes=frozenset({_READ_ORG}),
        asks=(
            "which organizations do I have?",
            "list my organizations",
            "what orgs am I in?",
            "show the organizations you can see",
            "what is the slug of my organization?",
            "which companies do I belong to?",
        ),
    ),
    ToolSpec(
        name="list_projects",
        summary="List the projects of an organization with their platforms.",
        gives="[{id, slug, name, platform}]",
        invoke=tools.listing(
            "Sentry",
            _HOME + "projects/",
            one="project",
            needs=("id", "slug"),
            pick=("id", "slug", "name", "platform", "dateCreated", "firstEvent", "isMember"),
            say=_say_project,
            source=lambda web, row, args: Page(
                clean(text_at(row, "name") or text_at(row, "slug"), 60),
                web + path(_PAGE + "projects/{project}/", org=args["org"], project=text_at(row, "slug")),
                text_at(row, "slug"),
            ),
            fixed={"per_page": 100},
        ),
        params={"org": _ORG},
        required=frozenset({"org"}),
        producers=_IN_ORG,
        scopes=frozenset({_READ_ORG}),
        asks=(
            "which projects do I have?",
            "list my projects",
            "what projects are there in {org}?",
            "show all projects",
            "which apps do we monitor?",
            "which services send errors here?",
            "which of our apps report to Sentry?",
            "what platforms do our projects run on?",
            "what languages are our apps written in?",
            "which frameworks do our projects use?",
            "how many projects are there?",
        ),
    ),
    ToolSpec(
        name="search_issues",
        summary="Search issues by project, status, level, assignee, release, environment or words, the latest first.",
        gives=_GIVES_ISSUES,
        invoke=search_issues,
        params={
            "org": _ORG,
            "project": _PROJECT,
            "query": {
                "type": "string",
                "minLength": 1,
                "maxLength": 500,
                "description": "Words of the title, or terms of Sentry's issue search.",
            },
            "status": {
                "type": "string",
                "enum": ["unresolved", "resolved", "archived", "all"],
                "default": "unresolved",
                "description": "Which issues: unresolved, resolved, archived or all.",
            },
            "level": {
                "type": "string",
                "enum": ["fatal", "warning", "info", "debug"],
                "description": "Only issues of this level; without it, of every level.",
            },
            "assigned_to": {
                "type": "string",
                "minLength": 1,
                "maxLength": 200,
                "description": "Whose issues: me, nobody, an email address or user name, or #team.",
                "examples": ["me", "nobody", "ada@example.com"],
            },
            "version": {**_VERSION, "description": "Only issues seen in this release, of the last 90 days."},
            "environment": _ENVIRONMENT,
            "period": _period("14d"),
            "limit": _LIMIT,
        },
        required=frozenset({"org"}),
        producers=_IN_PROJECT,
        scopes=frozenset({_READ_EVENT}),
        asks=(
            "show the latest errors in {project}",
            "errors in the last {period}",
            "unresolved issues assigned to {assigned_to}",
            "list {status} issues in {project}",
            "recent issues in the {environment} environment",
            "find issues about {query}",
            "show {level} issues seen in the last {period}",
            "which issues are in release {version}?",
            "is there anything about {query}?",
            "what is assigned to {assigned_to}?",
            "what is on my plate?",
            "my open issues",
        ),
    ),
    ToolSpec(
        name="top_issues",
        summary="Rank the unresolved issues that happen most often or affect the most users.",
        gives=_GIVES_ISSUES,
        invoke=top_issues,
        params={
            "org": _ORG,
            "project": _PROJECT,
            "by": {
                "type": "string",
                "enum": ["events", "users"],
                "default": "events",
                "description": "Rank by how often they happen (events) or how many people they affect (users).",
            },
            "environment": _ENVIRONMENT,
            "period": _period("24h"),
            "limit": _LIMIT,
        },
        required=frozenset({"org"}),
        producers=_IN_PROJECT,
        scopes=frozenset({_READ_EVENT}),
        asks=(
            "what's broken right now?",
            "what are the top issues?",
            "top {limit} issues by {by} this week",
            "which errors happen most often in {project}?",
            "worst errors of the last {period}",
            "which issues affect the most users?",
            "what is hurting our users?",
            "biggest problems in {project}",
            "what is happening in {environment}?",
            "what is breaking in {project}?",
            "what keeps crashing?",
            "what went wrong today?",
        ),
    ),
    ToolSpec(
        name="new_issues",
        summary="List issues first seen lately, or first seen in one release.",
        gives=_GIVES_ISSUES,
        invoke=new_issues,
        params={
            "org": _ORG,
            "project": _PROJECT,
            "version": _VERSION,
            "environment": _ENVIRONMENT,
            "period": _period("7d"),
            "limit": _LIMIT,
        },
        required=frozenset({"org"}),
        producers=_IN_PROJECT,
        scopes=frozenset({_READ_EVENT, _READ_PROJECT}),
        asks=(
            "which issues are new?",
            "what new errors appeared today?",
            "new issues in {project} in the last {period}",
            "which issues were first seen in {version}?",
            "new issues in release {version}",
            "which errors did {version} introduce?",
            "did any new error show up in {project}?",
        ),
    ),
    ToolSpec(
        name="issue_details",
        summary="Show one issue: what it is, how often it happens, since when, and whose it is.",
        gives="{shortId, title, status, count, userCount, firstSeen, lastSeen, assignedTo.name, firstRelease.version}",
        invoke=issue_details,
        params={"org": _ORG, "issue": _ISSUE_ID},
        required=frozenset({"org", "issue"}),
        producers={"org": _FIND_ORG, "issue": _FIND_ISSUE},
        scopes=frozenset({_READ_EVENT}),
        asks=(
            "show me {issue}",
            "tell me about {issue}",
            "details of issue {issue}",
            "what is {issue} about?",
            "how many users does {issue} affect?",
            "which users are hit by {issue}?",
            "who is assigned to {issue}?",
            "who is working on {issue}?",
            "who has {issue}?",
            "when was {issue} first seen?",
            "is {issue} resolved?",
            "status of {issue}",
        ),
    ),
    ToolSpec(
        name="latest_event",
        summary="Show the stack trace of an issue's latest event.",
        gives="{title, message, culprit, dateCreated, release.version, issue.shortId}",
        invoke=latest_event,
        params={"org": _ORG, "issue": _ISSUE_ID},
        required=frozenset({"org", "issue"}),
        producers={"org": _FIND_ORG, "issue": _FIND_ISSUE},
        scopes=frozenset({_READ_EVENT}),
        asks=(
            "stack trace of {issue}",
            "show the latest event of {issue}",
            "show me the traceback for {issue}",
            "where does {issue} crash?",
            "which line causes {issue}?",
            "last occurrence of {issue}",
            "what code throws {issue}?",
        ),
    ),
    ToolSpec(
        name="list_releases",
        summary="List the newest releases with their age and new issues.",
        gives="[{version, shortVersion, dateCreated, newGroups, commitCount}]",
        invoke=list_releases,
        params={"org": _ORG, "project": _PROJECT, "limit": _LIMIT},
        required=frozenset({"org"}),
        producers=_IN_PROJECT,
        scopes=frozenset({_READ_PROJECT, _READ_ORG}),
        asks=(
            "list releases",
            "recent releases of {project}",
            "what did we release lately?",
            "which versions are out?",
            "what is the newest release?",
            "what is the newest release of {project}?",
            "when was the last release?",
            "show the last {limit} releases",
        ),
    ),
    ToolSpec(
        name="release_details",
        summary="Show what is in a release: its commits, authors, deploy and number of new issues.",
        gives="{version, dateCreated, newGroups, commits: [{id, message, author.name}]}",
        invoke=release_details,
        params={"org": _ORG, "version": _VERSION},
        required=frozenset({"org", "version"}),
        producers={"org": _FIND_ORG, "version": _FIND_VERSION},
        scopes=frozenset({_READ_PROJECT}),
        asks=(
            "what changed in the newest release?",
            "what changed in release {version}?",
            "show release {version}",
            "which commits are in {version}?",
            "who worked on {version}?",
            "when was {version} deployed?",
            "which commits went into the latest release?",
        ),
    ),
    ToolSpec(
        name="release_health",
        summary="Compare a release, by default the newest, with the one before it: crashes, sessions and new issues.",
        gives="{verdict, release: {version, crashFreeSessions}, previous: {version}, newIssues: [{shortId}]}",
        invoke=release_health,
        params={"org": _ORG, "project": _PROJECT, "version": _VERSION},
        required=frozenset({"org"}),
        producers=_IN_PROJECT,
        scopes=frozenset({_READ_ORG, _READ_PROJECT, _READ_EVENT}),
        asks=(
            "is the new release ok?",
            "how healthy is the latest release?",
            "compare the newest release with the previous one",
            "is {version} worse than the one before?",
            "how is {version} doing?",
            "crash-free rate of {version}",
            "did the last deploy of {project} break anything?",
            "should we roll back {version}?",
            "how stable is the newest version of {project}?",
        ),
    ),
    ToolSpec(
        name="error_counts",
        summary="Count errors over time, compare with the stretch before, and say where a spike begins.",
        invoke=error_counts,
        params={"org": _ORG, "project": _PROJECT, "period": _period("24h")},
        required=frozenset({"org"}),
        producers=_IN_PROJECT,
        scopes=frozenset({_READ_ORG}),
        asks=(
            "how many errors did we have today?",
            "how many errors in the last {period}?",
            "error count of {project}",
            "error trend in {project} over the last {period}",
            "are errors going up?",
            "when did the errors start to rise?",
            "how many errors per hour?",
            "which project has the most errors?",
            "which project is the noisiest?",
            "which of our apps fails the most?",
            "did error volume go up?",
            "errors in {project} versus {project}",
        ),
    ),
    ToolSpec(
        name="explain_spike",
        summary="Explain why errors rose: where the spike begins, the release behind it, its health and new issues.",
        invoke=explain_spike,
        params={"org": _ORG, "project": _PROJECT, "period": _period("7d")},
        required=frozenset({"org"}),
        producers=_IN_PROJECT,
        scopes=frozenset({_READ_ORG, _READ_PROJECT, _READ_EVENT}),
        asks=(
            "why are release errors spiking?",
            "why are errors spiking?",
            "why are {project} errors spiking?",
            "what caused the spike in {project}?",
            "explain the rise in errors",
            "why did errors go up in the last {period}?",
            "which release is behind the errors in {project}?",
            "what is the reason for so many errors?",
        ),
    ),
    ToolSpec(
        name="who_am_i",
        summary="Say which Sentry account this is.",
        invoke=tools.get(
            "Sentry",
            "/api/0/users/me/",
            needs=("id",),
            pick=("id", "name", "username", "email"),
            say=_say_person,
            source=lambda web, _: Page("Your Sentry account", f"{web}/settings/account/details/"),
        ),
        scopes=frozenset({_READ_ORG}),
        asks=(
            "who am I?",
            "which account is this?",
            "what is my user name?",
            "which email address am I logged in with?",
            "whose account are you using?",
        ),
    ),
    ToolSpec(
        name="resolve_issue",
        summary="Mark an issue as resolved.",
        invoke=resolve_issue,
        params={"org": _ORG, "issue": _ISSUE_ID},
        required=frozenset({"org", "issue"}),
        producers=_IN_ORG,
        scopes=frozenset({_WRITE_EVENT}),
        effect=Effect.WRITE,
        asks=("resolve {issue}", "mark {issue} as resolved", "close {issue}", "{issue} is fixed, resolve it"),
    ),
    ToolSpec(
        name="comment_on_issue",
        summary="Add a comment to an issue.",
        invoke=comment_on_issue,
        params={
            "org": _ORG,
            "issue": _ISSUE_ID,
            "text": {"type": "string", "minLength": 1, "maxLength": 10_000, "description": "The comment, in Markdown."},
        },
        required=frozenset({"org", "issue", "text"}),
        producers=_IN_ORG,
        scopes=frozenset({_WRITE_EVENT}),
        effect=Effect.WRITE,
        asks=("comment on {issue}: {text}", "add the comment {text} to {issue}", "leave a note on {issue}: {text}"),
    ),
)

PROVIDER = ProviderSpec(
    id="sentry",
    title="Sentry",
    about="errors, issues, releases and projects",
    api_base="https://sentry.io",
    web_base="https://sentry.io",
    oauth=OAuthSpec(
        authorize_url="https://sentry.io/oauth/authorize/",
        token_url="https://sentry.io/oauth/token/",  # noqa: S106 - an address
        revoke_url="https://sentry.io/oauth/revoke/",
        lifetime_s=2_592_000,
        scopes=(_READ_ORG, _READ_PROJECT, _READ_EVENT),
        scope_words={
            _READ_ORG: "see your organizations, their projects, error counts and sessions",
            _READ_PROJECT: "see releases",
            _READ_EVENT: "see issues and their events",
            _WRITE_EVENT: "resolve issues and comment on them",
        },
        identify_url="https://sentry.io/api/0/users/me/",
        subject_fields=("id",),
        label_fields=("email", "username", "name"),
    ),
    tools=TOOLS,
    mcp_url="https://mcp.sentry.dev/mcp",
    register_url="https://sentry.io/settings/account/api/applications/",
    register_steps=(
        "Open User settings, API, Applications (on a Sentry of your own: the same pages there), and create a new one.",
        "Enter a name, and under Authorized Redirect URIs exactly {redirect_uri}.",
        "Nothing is to be ticked for the scopes: they are asked for on connecting, at first {scopes}.",
        "Save, and enter the client ID and the client secret here; the secret is shown once.",
    ),
    unconfirmed=("What the fields and buttons of its application pages are called.",),
)
