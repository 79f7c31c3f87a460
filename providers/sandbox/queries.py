"""What the query string of a read asks for: periods, intervals, projects, and Sentry's issue search language."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import TypeAlias

from starlette.datastructures import QueryParams as Params

from providers.sandbox.records import HOUR_S, HOURS, Issue, Organization, Person, Project, Release, World
from providers.sandbox.shapes import ALL, Json, Span

MAX_POINTS = 1000
"""More points in one series than this are refused, as Sentry refuses them."""

TOO_MANY = "Your interval and date range would create too many results. Use a larger interval, or a smaller date range."
PAGE = 100
"""Rows on a page, unless fewer are asked for."""

_UNIT_S = {"s": 1, "m": 60, "h": HOUR_S, "d": 24 * HOUR_S, "w": 7 * 24 * HOUR_S}
_TERM = re.compile(
    r'(?P<no>!?)(?P<key>[A-Za-z][\w.-]*):(?P<value>"[^"]*"|\[[^\]]*\]|\S+)|"(?P<quoted>[^"]*)"|(?P<word>\S+)'
)

Test: TypeAlias = Callable[[Issue], bool]


class Refused(Exception):
    """A request that gets an error answer."""

    def __init__(self, status: int, body: Json | str) -> None:
        super().__init__(status)
        self.status = status
        self.body: Json = {"detail": body} if isinstance(body, str) else body


def seconds(text: str, name: str) -> int:
    """`24h` and the like in seconds. Raises: `Refused` naming the parameter."""
    if found := re.fullmatch(r"(\d{1,6})([smhdw])", text):
        return int(found[1]) * _UNIT_S[found[2]]
    raise Refused(400, f"Invalid {name}: {text!r}")


def span(world: World, params: Params, *, usual: str | None = None) -> Span:
    """The hours asked for by `statsPeriod`, else by `start` and `end`, else `usual`, else the whole window."""
    start, end = params.get("start"), params.get("end")
    if (period := params.get("statsPeriod") or (None if start and end else usual)) is not None:
        return HOURS - max(1, -(-seconds(period, "statsPeriod") // HOUR_S)), HOURS
    if not (start and end):
        return ALL
    first, last = _hour(world, start), _hour(world, end)
    if first >= last:
        raise Refused(400, "start must be before end")
    return first, last


def _hour(world: World, text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise Refused(400, f"{text!r} is not a valid ISO8601 date") from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return int(moment.timestamp() - world.starts) // HOUR_S


def buckets(world: World, asked: Span, interval_s: int) -> list[int]:
    """Where each point of a series begins, in hours of the window: whole multiples of the interval in UTC.

    Raises: `Refused` for an interval Sentry does not take, or too many points.
    """
    day_s = 24 * HOUR_S
    if not HOUR_S <= interval_s <= day_s or day_s % interval_s:
        raise Refused(400, "The interval has to be at least 1h, at most 1d and divide one day cleanly.")
    step = interval_s // HOUR_S
    first = asked[0] - (world.starts // HOUR_S + asked[0]) % step
    if (asked[1] - first) // step > MAX_POINTS:
        raise Refused(400, TOO_MANY)
    return list(range(first, asked[1], step))


def limit(params: Params, name: str) -> int:
    """How many rows were asked for by this parameter."""
    text = params.get(name, str(PAGE))
    if not text.isdecimal() or not 1 <= int(text) <= PAGE:
        raise Refused(400, f"Invalid {name} value. Must be between 1 and {PAGE}.")
    return int(text)


def projects(org: Organization, params: Params) -> list[Project]:
    """The projects named by id or slug; all of them without any or with -1. Only production has data."""
    if any(name not in {"production", ""} for name in params.getlist("environment")):
        return []
    named = params.getlist("project")
    if not named or "-1" in named:
        return list(org.projects)
    known = {key: project for project in org.projects for key in (str(project.id), project.slug)}
    if any(name not in known for name in named):
        raise Refused(403, "You do not have permission to perform this action.")
    return list(dict.fromkeys(known[name] for name in named))


def releases(org: Organization, pattern: str) -> list[Release]:
    """The releases a `release:` term means: a version, one with `*`, or `latest` of each project."""
    if pattern == "latest":
        return [project.releases[0] for project in org.projects]
    return [release for release in org.releases if fnmatchcase(release.version, pattern)]


@dataclass(frozen=True, slots=True)
class Search:
    """An issue search, parsed."""

    tests: tuple[Test, ...]
    narrowed: dict[Project, Span] | None
    """The hours of the releases it names, by project; None when it names none."""

    def accepts(self, issue: Issue) -> bool:
        """Whether the issue meets every term."""
        return all(test(issue) for test in self.tests)


def terms(query: str) -> Iterator[tuple[bool, str, tuple[str, ...]]]:
    """Split a query into (negated, key, alternatives); free text has an empty key."""
    for found in _TERM.finditer(query):
        if found["key"] is None:
            text = found["word"] if found["quoted"] is None else found["quoted"]
            if text in {"AND", "OR"}:
                raise Refused(
                    400, f'Boolean statements containing "OR" or "AND" are not supported in this search: {text}'
                )
            yield False, "", (text,)
            continue
        value = found["value"]
        several = value[1:-1].split(",") if value.startswith("[") else [value]
        yield bool(found["no"]), found["key"], tuple(part.strip().strip('"') for part in several)


def parse(query: str, org: Organization, person: Person, world: World) -> Search:
    """Read a search in Sentry's language. Raises: `Refused` for a value that cannot be meant."""
    tests: list[Test] = []
    narrowed: dict[Project, Span] | None = None
    for no, key, values in terms(query):
        test = _test(key, values, org, person, world)
        tests.append(_opposite(test) if no else test)
        if key == "release" and not no:
            narrowed = _hours([release for value in values for release in releases(org, value)])
    return Search(tuple(tests), narrowed)


def _opposite(test: Test) -> Test:
    return lambda issue: not test(issue)


def _hours(found: Sequence[Release]) -> dict[Project, Span]:
    spans: dict[Project, Span] = {}
    for release in found:
        first, last = spans.get(release.project, (release.first, release.last))
        spans[release.project] = min(first, release.first), max(last, release.last)
    return spans


def _test(  # noqa: C901, PLR0912 - one case per search term
    key: str, values: tuple[str, ...], org: Organization, person: Person, world: World
) -> Test:
    match key:
        case "" | "message":
            texts = [value.lower().strip("*") for value in values]
            return lambda issue: any(text in f"{issue.title} {issue.fault.culprit}".lower() for text in texts)
        case "is":
            kinds = [_kind(value) for value in values]
            return lambda issue: any(kind(issue) for kind in kinds)
        case "level":
            return lambda issue: issue.fault.level in values
        case "error.type":
            return lambda issue: any(fnmatchcase(issue.fault.type, value) for value in values)
        case "environment":
            return lambda _: "production" in values
        case "issue":
            return lambda issue: issue.short_id in {value.upper() for value in values}
        case "project" | "project.name":
            slugs = {project.slug for project in org.projects}
            if unknown := [value for value in values if value not in slugs]:
                raise Refused(
                    400, f"Invalid query. Project(s) {', '.join(unknown)} do not exist or are not actively selected."
                )
            return lambda issue: issue.project.slug in values
        case "release":
            found = [release for value in values for release in releases(org, value)]
            return lambda issue: any(
                release.project is issue.project and issue.between(release.first, release.last) > 0 for release in found
            )
        case "firstRelease" | "first-release":
            firsts = {id(release) for value in values for release in releases(org, value)}
            return lambda issue: id(issue.release) in firsts
        case "assigned" | "assigned_or_suggested":
            return lambda issue: any(_assigned(issue, value, person) for value in values)
        case "firstSeen" | "age":
            since, newer = _moment(key, values[0], world)
            return lambda issue: (issue.first_seen >= since) is newer
        case "lastSeen":
            since, newer = _moment(key, values[0], world)
            return lambda issue: (issue.last_seen >= since) is newer
        case "timesSeen":
            return _times_seen(values[0])
        case _:
            return lambda _: False  # any other key is a tag, and no event here has it


def _kind(value: str) -> Test:
    match value:
        case "unresolved" | "resolved" | "ignored":
            return lambda issue: issue.status == value
        case "archived" | "muted":
            return lambda issue: issue.status == "ignored"
        case "assigned":
            return lambda issue: issue.assignee is not None
        case "unassigned":
            return lambda issue: issue.assignee is None
        case "new":
            return lambda issue: issue.status == "unresolved" and issue.first_seen >= issue.ends - 7 * 24 * HOUR_S
        case _:
            raise Refused(
                400, f'Invalid value for "is" search, valid values are unresolved, resolved, ignored: {value}'
            )


def _assigned(issue: Issue, value: str, person: Person) -> bool:
    match issue.assignee:
        case None:
            return value == "none"
        case Person():
            return issue.assignee.email == (person.email if value == "me" else value)
        case Project():
            return value == f"#{issue.assignee.slug}"


def _moment(key: str, value: str, world: World) -> tuple[int, bool]:
    """`-24h` is "in the last 24 hours", `+24h` is "longer ago than that"."""
    if value[:1] not in {"-", "+"}:
        raise Refused(400, f"Invalid date for {key}: write {key}:-24h or {key}:+7d, not {value!r}")
    return world.ends - seconds(value[1:], key), value.startswith("-")


def _times_seen(value: str) -> Test:
    found = re.fullmatch(r"(>=|<=|>|<)?(\d+)", value)
    if found is None:
        raise Refused(400, f"Invalid number for timesSeen: {value!r}")
    limit = int(found[2])
    match found[1]:
        case ">":
            return lambda issue: issue.events > limit
        case ">=":
            return lambda issue: issue.events >= limit
        case "<":
            return lambda issue: issue.events < limit
        case "<=":
            return lambda issue: issue.events <= limit
        case _:
            return lambda issue: issue.events == limit


def select(found: Sequence[Issue], search: Search, within: Sequence[Project], asked: Span, sort: str) -> list[Issue]:
    """The issues of these projects that had events in these hours and meet the search, in Sentry's order."""
    chosen = set(within)
    hits = [
        issue
        for issue in found
        if issue.project in chosen and (asked == ALL or issue.between(*asked)) and search.accepts(issue)
    ]
    match sort:
        case "new":
            return sorted(hits, key=lambda issue: -issue.first_seen)
        case "freq":
            return sorted(hits, key=lambda issue: -issue.between(*narrow(search, issue, asked)))
        case "user":
            return sorted(hits, key=lambda issue: -issue.users)
        case "date" | "recommended" | "trends" | "inbox":  # the last three weigh what the sandbox does not have
            return sorted(hits, key=lambda issue: -issue.last_seen)
        case _:
            raise Refused(400, {"sort": [f'"{sort}" is not a valid choice.']})


def narrow(search: Search, issue: Issue, asked: Span) -> Span:
    """The hours that count for this issue: those asked for, within those of the releases named."""
    if search.narrowed is None:
        return asked
    first, last = search.narrowed.get(issue.project, (0, 0))
    return max(first, asked[0]), min(last, asked[1])
