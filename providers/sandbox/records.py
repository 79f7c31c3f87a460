"""The made-up world as records: who works where, what they released, and every error of the last ninety days."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from itertools import accumulate, chain, pairwise
from random import Random
from time import gmtime, strftime

from providers.sandbox import words
from providers.sandbox.words import Language

HOURS = 90 * 24
"""The window; hour 0 is the oldest, hour HOURS - 1 ended when the sandbox started."""
HOUR_S = 3600
ISSUES_PER_PROJECT = 215
BAD_PROJECT = "checkout-api"
BAD_VERSION = "checkout-api@2.14.0"
BAD_HOURS = 14
"""How long ago the release that went wrong was made: both it and the one before fall into the last 24 hours."""

_SHORT = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_DAYLIGHT = (2, 1, 1, 1, 2, 3, 5, 8, 11, 13, 14, 14, 13, 13, 14, 13, 12, 11, 10, 9, 8, 6, 4, 3)


@lru_cache(8192)
def iso(seconds: float) -> str:
    """A moment as Sentry writes it."""
    return strftime("%Y-%m-%dT%H:%M:%SZ", gmtime(seconds))


class Tally:
    """Counts per hour of the window, kept as running sums so that any span is one subtraction."""

    __slots__ = ("_sums",)

    def __init__(self, counts: Iterable[int]) -> None:
        self._sums = array("Q", accumulate(counts, initial=0))

    def between(self, first: int, last: int) -> int:
        """The sum of hours `first` to `last`, the last one not included."""
        return self._sums[min(max(last, 0), HOURS)] - self._sums[min(max(first, 0), HOURS)]

    def series(self, edges: Sequence[int]) -> list[int]:
        """The sums between each two edges, which lie in the window."""
        return [after - before for before, after in pairwise([self._sums[edge] for edge in edges])]


@dataclass(slots=True, eq=False)
class Person:
    """Someone who can log in."""

    id: int
    name: str
    email: str


@dataclass(slots=True, eq=False)
class Project:
    """One piece of software and its hourly figures."""

    id: int
    slug: str
    name: str
    platform: str
    language: Language
    releases: list[Release] = field(default_factory=list)
    """Newest first."""
    tallies: dict[str, Tally] = field(default_factory=dict)
    """`errors`; `sessions`, those that `crashed`, and those that `errored` but did not crash."""

    def release_in(self, hour: int) -> Release:
        """What the project ran in that hour."""
        return next(release for release in self.releases if release.first <= hour)


@dataclass(slots=True, eq=False)
class Release:
    """What a project ran from hour `first` until hour `last` (not included); `first` may lie before the window."""

    id: int
    version: str
    project: Project
    first: int
    last: int
    created: int
    """Seconds since 1970."""
    commits: int
    message: str
    author: Person
    crash_rate: float
    new_issues: int = 0


@dataclass(slots=True, eq=False)
class Comment:
    """What someone wrote under an issue."""

    id: int
    text: str
    author: Person
    created: int


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong in an issue."""

    type: str
    value: str
    level: str
    culprit: str
    file: str
    line: str
    """The line of code that fails."""


@dataclass(slots=True, eq=False)
class Issue:
    """Errors that are alike, with how many there were in which hours."""

    id: int
    short_id: str
    project: Project
    fault: Fault
    hours: array[int]
    sums: array[int]
    """Running sums of the events in `hours`; one longer."""
    started: int
    """When the world's hour 0 began, seconds since 1970."""
    release: Release
    """The one it was first seen in."""
    users: int = 1
    earlier: int = 0
    """Events before the window."""
    status: str = "unresolved"
    in_next_release: bool = False
    assignee: Person | Project | None = None
    """A person, or the team of a project."""
    comments: list[Comment] = field(default_factory=list)
    first_seen: int = field(init=False)
    last_seen: int = field(init=False)

    def __post_init__(self) -> None:
        self.first_seen, self.last_seen = self.event_time(0), self.event_time(self.events - 1)

    @property
    def title(self) -> str:
        """As Sentry makes it from type and value."""
        return f"{self.fault.type}: {self.fault.value}"

    @property
    def events(self) -> int:
        """How many events the window holds."""
        return self.sums[-1]

    def numbers(self, first: int, last: int) -> range:
        """The numbers of the events in hours `first` to `last`, the last one not included; event 0 is the oldest."""
        return range(self.sums[bisect_left(self.hours, first)], self.sums[bisect_left(self.hours, last)])

    def between(self, first: int, last: int) -> int:
        """How many events these hours have."""
        return len(self.numbers(first, last))

    def cells_from(self, first: int) -> Iterator[tuple[int, int]]:
        """The hours from `first` on that had events, and how many."""
        for cell in range(bisect_left(self.hours, first), len(self.hours)):
            yield self.hours[cell], self.sums[cell + 1] - self.sums[cell]

    @property
    def ends(self) -> int:
        """When the world's window ended."""
        return self.started + HOURS * HOUR_S

    def release_at(self, number: int) -> Release:
        """What the project ran when the event with this number happened."""
        return self.project.release_in(self.hours[bisect_right(self.sums, number) - 1])

    def event_time(self, number: int) -> int:
        """When the event with this number (0 is the oldest of the window) happened, seconds since 1970."""
        cell = bisect_right(self.sums, number) - 1
        place, size = number - self.sums[cell], self.sums[cell + 1] - self.sums[cell]
        return self.started + self.hours[cell] * HOUR_S + 360 + self.id % 59 + 3100 * place // size


@dataclass(slots=True, eq=False)
class Organization:
    """Projects and issues only its members see."""

    id: int
    slug: str
    name: str
    projects: list[Project]
    members: list[Person]
    releases: list[Release]
    """Newest first."""
    issues: list[Issue]
    by_id: dict[str, Issue]
    """By number and by short id."""

    @property
    def by_version(self) -> dict[str, Release]:
        """Its releases by version."""
        return {release.version: release for release in self.releases}


@dataclass(frozen=True, slots=True)
class World:
    """Everything the sandbox knows about."""

    ends: int
    """The hour the window ends with, seconds since 1970; "now" for every relative time."""
    people: tuple[Person, ...]
    organizations: tuple[Organization, ...]

    @property
    def starts(self) -> int:
        """When hour 0 began."""
        return self.ends - HOURS * HOUR_S

    def organizations_of(self, person: Person) -> list[Organization]:
        """Where this person is a member."""
        return [organization for organization in self.organizations if person in organization.members]


def generate(seed: int, now: datetime) -> World:
    """Make the world up. The same seed and hour give the same world."""
    rng = Random(seed)  # noqa: S311 - made-up data, not secrets
    ends = int(now.timestamp()) // HOUR_S * HOUR_S
    people = tuple(Person(number, name, email) for number, (name, email, _) in enumerate(words.PEOPLE, start=1))
    organizations = []
    for number, (slug, (name, projects)) in enumerate(words.ORGANIZATIONS.items(), start=1):
        members = [person for person, (_, _, where) in zip(people, words.PEOPLE, strict=True) if slug in where]
        made = [
            _project(rng, number * 1000 + place, facts, members, ends) for place, facts in enumerate(projects, start=1)
        ]
        issues = [issue for _, found in made for issue in found]
        releases = [release for project, _ in made for release in project.releases]
        by_id = {str(issue.id): issue for issue in issues} | {issue.short_id: issue for issue in issues}
        organizations.append(
            Organization(
                id=number,
                slug=slug,
                name=name,
                projects=[project for project, _ in made],
                members=members,
                releases=sorted(releases, key=lambda release: -release.created),
                issues=issues,
                by_id=by_id,
            )
        )
    return World(ends, people, tuple(organizations))


def _project(
    rng: Random,
    number: int,
    facts: tuple[str, str, str, Language, tuple[str, str]],
    members: Sequence[Person],
    ends: int,
) -> tuple[Project, list[Issue]]:
    slug, name, platform, language, (nouns, fields) = facts
    project = Project(number, slug, name, platform, language)
    _release(rng, project, members, ends)
    _count_sessions(rng, project, ends)
    issues = list(_bad_issues(rng, project, ends)) if slug == BAD_PROJECT else []
    seen: set[str] = set()
    while len(issues) < ISSUES_PER_PROJECT:
        fault = _fault(rng, language, nouns.split(), fields.split())
        if fault.value in seen:
            continue
        seen.add(fault.value)
        issue = _issue(rng, project, len(issues), fault, ends)
        quiet_days = (ends - issue.last_seen) / 86_400
        issue.status = rng.choices(("unresolved", "resolved", "ignored"), (6, 2 + quiet_days / 4, 1.5))[0]
        issue.assignee = rng.choices((rng.choice(members), project, None), (25, 12, 63))[0]
        issues.append(issue)
    counts = [0] * HOURS
    for hour, count in chain.from_iterable(issue.cells_from(0) for issue in issues):
        counts[hour] += count
    project.tallies["errors"] = Tally(counts)
    return project, issues


def _fault(rng: Random, language: Language, nouns: Sequence[str], fields: Sequence[str]) -> Fault:
    noun, word, verb, n = rng.choice(nouns), rng.choice(fields), rng.choice(words.VERBS), rng.randint(2, 9)
    names = {"noun": noun, "Noun": noun.title(), "field": word, "Field": word.title(), "verb": verb, "n": n}
    kind, text, level = rng.choice(language.faults)
    value, culprit, file, line = (
        template.format_map(names) for template in (text, language.culprit, language.file, language.line)
    )
    return Fault(kind, value, level, culprit, file, line)


def _release(rng: Random, project: Project, members: Sequence[Person], ends: int) -> None:
    """Give the project its releases: from the newest back until one that was there before the window."""
    bad = project.slug == BAD_PROJECT
    minor, patch = (14, 0) if bad else (rng.randint(8, 40), rng.randint(0, 2))
    major = 2 if bad else rng.randint(1, 6)
    first, last = HOURS - (BAD_HOURS if bad else rng.randint(40, 220)), HOURS
    while last > 0:
        gone_wrong = bad and last == HOURS
        project.releases.append(
            Release(
                id=project.id * 100 + len(project.releases),
                version=f"{project.slug}@{major}.{minor}.{patch}",
                project=project,
                first=first,
                last=last,
                created=ends + (first - HOURS) * HOUR_S + 252,
                commits=rng.randint(3, 40),
                message=words.BAD_COMMIT if gone_wrong else rng.choice(words.COMMITS),
                author=rng.choice(members),
                crash_rate=0.087 if gone_wrong else rng.uniform(0.001, 0.006),
            )
        )
        last, first = first, first - rng.randint(150, 330)
        minor, patch = (minor, patch - 1) if patch else (minor - 1, rng.choice((0, 0, 1, 2)))


def _count_sessions(rng: Random, project: Project, ends: int) -> None:
    usual = rng.randint(900, 4000)
    sessions, crashed, errored = [], [], []
    for release in reversed(project.releases):
        for hour in range(max(release.first, 0), release.last):
            daylight = _DAYLIGHT[(ends // HOUR_S + hour - HOURS) % 24]
            total = int(usual * daylight / 8 * rng.uniform(0.9, 1.1))
            sessions.append(total)
            crashed.append(round(total * release.crash_rate * rng.uniform(0.7, 1.3)))
            errored.append(round(total * (0.012 + release.crash_rate) * rng.uniform(0.7, 1.3)))
    project.tallies |= {"sessions": Tally(sessions), "crashed": Tally(crashed), "errored": Tally(errored)}


def _issue(rng: Random, project: Project, place: int, fault: Fault, ends: int) -> Issue:
    old = rng.random() < 0.35  # noqa: PLR2004 - a third was there before the window
    first = 0 if old else int(HOURS * rng.random() ** 0.8)
    last = min(HOURS, first + 24 + int((HOURS - first) * rng.random() ** 0.4))
    total = min(int(rng.lognormvariate(4.3, 1.4)) + 1, 4 * (last - first), 6000)
    days, shift = range(first // 24, (last + 23) // 24), ends // HOUR_S % 24
    picks = min(total, 60)
    drawn = zip(rng.choices(days, k=picks), rng.choices(range(24), _DAYLIGHT, k=picks), strict=True)
    hours = sorted({min(max(day * 24 + (clock - shift) % 24, first), last - 1) for day, clock in drawn})
    each, rest = divmod(total, len(hours))
    sizes = [each] * len(hours)
    sizes[rng.randrange(len(sizes))] += rest
    for here in range(0, len(sizes) - 1, 2):  # uneven, and the sum stays
        moved = rng.randint(0, each - 1)
        sizes[here], sizes[here + 1] = sizes[here] + moved, sizes[here + 1] - moved
    issue = _counted(project, place, fault, zip(hours, sizes, strict=True), ends)
    issue.users = max(1, int(total**0.8 * rng.uniform(0.4, 1)))
    if old:
        issue.earlier = rng.randint(5, 4000)
        issue.first_seen = issue.started - rng.randint(1, 120 * 24) * HOUR_S - rng.randint(1, 3500)
        issue.release = project.releases[-1]
    else:
        issue.release.new_issues += 1
    return issue


def _bad_issues(rng: Random, project: Project, ends: int) -> Iterable[Issue]:
    """The issues of the release that went wrong: only in its hours, and many."""
    for place, (*texts, share) in enumerate(words.BAD_ISSUES):
        cells = [(hour, int(2600 * share * rng.uniform(0.85, 1.15))) for hour in range(HOURS - BAD_HOURS, HOURS)]
        issue = _counted(project, place, Fault(*texts), cells, ends)
        issue.users = issue.events // 3
        issue.release.new_issues += 1
        yield issue


def _counted(project: Project, place: int, fault: Fault, cells: Iterable[tuple[int, int]], ends: int) -> Issue:
    hours, sums = array("H"), array("I", [0])
    for hour, size in cells:
        hours.append(hour)
        sums.append(sums[-1] + size)
    return Issue(
        id=project.id * 1000 + place + 1,
        short_id=f"{project.slug.upper()}-{_short(place * 7 + 5)}",
        project=project,
        fault=fault,
        hours=hours,
        sums=sums,
        started=ends - HOURS * HOUR_S,
        release=project.release_in(hours[0]),
    )


def _short(number: int) -> str:
    """Sentry's short ids: base 32 without I, L, O and U."""
    return (_short(number // 32) if number >= 32 else "") + _SHORT[number % 32]  # noqa: PLR2004 - the base
