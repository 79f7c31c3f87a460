"""Figures over time: sessions, events received and errors, summed from the hourly tallies."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from starlette.datastructures import QueryParams

from providers.sandbox import queries
from providers.sandbox.queries import Refused
from providers.sandbox.records import HOUR_S, HOURS, Organization, Project, Release, World, iso
from providers.sandbox.shapes import Json, Span, users

SESSION_FIELDS = frozenset(
    {
        "sum(session)",
        "count_unique(user)",
        "crash_rate(session)",
        "crash_rate(user)",
        "crash_free_rate(session)",
        "crash_free_rate(user)",
    }
)
_CONSTANT = {"category": "error", "outcome": "accepted", "reason": "none"}
_WEEK_H = 7 * 24


@dataclass(frozen=True, slots=True)
class Part:
    """A project while it ran one release."""

    project: Project
    release: Release

    def counts(self, what: str, edges: Sequence[int]) -> list[int]:
        """How many between each two edges (hours), as far as the release ran then."""
        first, last = max(self.release.first, 0), self.release.last
        before, after = bisect_left(edges, first), bisect_left(edges, last)
        inside = [*[first] * before, *edges[before:after], *[last] * (len(edges) - after)]
        return self.project.tallies[what].series(inside)


def parts(org: Organization, params: QueryParams) -> list[Part]:
    """What a figure is made of: the projects asked for, or those releases of them that its `query` names."""
    within = queries.projects(org, params)
    named: list[Release] | None = None
    for no, key, values in queries.terms(params.get("query", "")):
        if no or key not in {"release", "project", "environment"}:
            what = key or "text"
            raise Refused(400, f"Invalid query: the sandbox filters figures by release and project, not by {what}")
        if key == "release":
            named = [release for value in values for release in queries.releases(org, value)]
        if key == "project":
            within = [project for project in within if project.slug in values]
    found = named if named is not None else [release for project in within for release in project.releases]
    return [Part(release.project, release) for release in found if release.project in within]


def sessions(world: World, org: Organization, params: QueryParams) -> Json:
    """Sessions and their crash rates, by project, release, environment or status."""
    fields, groups = params.getlist("field"), params.getlist("groupBy")
    if not fields:
        raise Refused(400, 'Request is missing a "field"')
    if bad := [name for name in fields if name not in SESSION_FIELDS]:
        raise Refused(400, f"Invalid field: {bad[0]}")
    if bad := [name for name in groups if name not in {"project", "release", "environment", "session.status"}]:
        raise Refused(400, f"Invalid groupBy: {bad[0]}")
    if "session.status" in groups and any("rate" in name for name in fields):
        raise Refused(400, "Cannot group by session.status when a rate is asked for")
    edges = _edges(world, params)
    points = [edges[0], edges[-1]] if params.get("includeSeries") == "0" else edges
    found = [
        _session_group(by, series, fields, params)
        for together, several in _grouped(parts(org, params), groups, points)
        for by, series in _by_status(together, several, points, split="session.status" in groups)
    ]
    if order := params.get("orderBy"):
        found.sort(key=lambda group: group["totals"].get(order.lstrip("-")) or 0, reverse=order.startswith("-"))
    return _times(world, edges) | {
        "groups": found[: queries.limit(params, "per_page")],
        "query": params.get("query", ""),
    }


def _session_group(by: Json, series: list[tuple[int, int]], fields: Sequence[str], params: QueryParams) -> Json:
    group: Json = {"by": by, "totals": {}, "series": {}}
    total = sum(count for count, _ in series), sum(crashed for _, crashed in series)
    for name in fields:
        if params.get("includeTotals") != "0":
            group["totals"][name] = _session_value(name, *total)
        if params.get("includeSeries") != "0":
            group["series"][name] = [_session_value(name, *point) for point in series]
    return group


def _session_value(name: str, count: int, crashed: int) -> float | None:
    match name:
        case "sum(session)":
            return count
        case "count_unique(user)":
            return users(count)
        case "crash_rate(session)" | "crash_rate(user)":
            return crashed / count if count else None
        case _:
            return 1 - crashed / count if count else None


def _by_status(
    by: Json, several: Sequence[Part], edges: Sequence[int], *, split: bool
) -> list[tuple[Json, list[tuple[int, int]]]]:
    """Series of (sessions, those of them that crashed): one, or one for each status."""
    total, crashed, errored = (_sum(several, what, edges) for what in ("sessions", "crashed", "errored"))
    if not split:
        return [(by, list(zip(total, crashed, strict=True)))]
    healthy = [all_ - bad - worse for all_, bad, worse in zip(total, errored, crashed, strict=True)]
    known = {"healthy": healthy, "errored": errored, "crashed": crashed, "abnormal": [0] * len(total)}
    return [(by | {"session.status": name}, [(count, 0) for count in counts]) for name, counts in known.items()]


def _grouped(found: Sequence[Part], groups: Sequence[str], edges: Sequence[int]) -> list[tuple[Json, list[Part]]]:
    """The parts by project, release or environment, without those that did not run between the edges."""
    grouped: dict[tuple[object, ...], tuple[Json, list[Part]]] = {}
    for part in found:
        if part.release.first < edges[-1] and part.release.last > edges[0]:
            values = {"project": part.project.id, "release": part.release.version, "environment": "production"}
            by = {name: values[name] for name in groups if name in values}
            grouped.setdefault(tuple(by.values()), (by, []))[1].append(part)
    return list(grouped.values())


def received(world: World, org: Organization, params: QueryParams) -> Json:
    """Events received, by project, category, outcome or reason. All there are, are errors that were accepted."""
    field, groups = params.get("field", ""), params.getlist("groupBy")
    if field not in {"sum(quantity)", "sum(times_seen)"}:
        raise Refused(400, f'Invalid field: "{field}"')
    if not groups:
        raise Refused(400, "At least one groupBy is required.")
    if bad := [name for name in groups if name not in {"project", *_CONSTANT}]:
        raise Refused(400, f'Invalid groupBy: "{bad[0]}"')
    edges, within = _edges(world, params), queries.projects(org, params)
    if any(params.get(name, value) != value for name, value in _CONSTANT.items()):
        within = []
    found = []
    for several in [[project] for project in within] if "project" in groups else [within] if within else []:
        made = [Part(project, release) for project in several for release in project.releases]
        series = _sum(made, "errors", edges)
        by = {name: _CONSTANT.get(name, several[0].id) for name in groups}
        found.append({"by": by, "totals": {field: sum(series)}, "series": {field: series}})
    return _times(world, edges) | {"groups": found}


def timeseries(world: World, org: Organization, params: QueryParams) -> Json:
    """Errors over time, of everything or of the releases and projects `query` names."""
    axis, dataset = params.get("yAxis", "count()"), params.get("dataset", "")
    if dataset != "errors":
        raise Refused(400, f"dataset must be errors; the sandbox has no {dataset or 'default'}")
    if axis not in {"count()", "count_unique(user)"}:
        raise Refused(400, f"Invalid yAxis: {axis}")
    asked = queries.span(world, params, usual="24h")
    interval_s = _interval(params.get("interval"), asked)
    edges = [*queries.buckets(world, asked, interval_s), asked[1]]
    counts = _sum(parts(org, params), "errors", edges)
    values = [
        {
            "timestamp": (world.starts + first * HOUR_S) * 1000,
            "value": count if axis == "count()" else users(count),
            "incomplete": last == HOURS and (last - first) * HOUR_S < interval_s,
        }
        for (first, last), count in zip(pairwise(edges), counts, strict=True)
    ]
    start, end = ((world.starts + edge * HOUR_S) * 1000 for edge in (edges[0], edges[-1]))
    about = {"valueType": "integer", "valueUnit": None, "interval": interval_s * 1000}
    return {
        "meta": {"dataset": dataset, "start": start, "end": end},
        "timeSeries": [{"values": values, "yAxis": axis, "meta": about}],
    }


def _sum(several: Sequence[Part], what: str, edges: Sequence[int]) -> list[int]:
    if not several:
        return [0] * (len(edges) - 1)
    return [sum(counts) for counts in zip(*(part.counts(what, edges) for part in several), strict=True)]


def _edges(world: World, params: QueryParams) -> list[int]:
    asked = queries.span(world, params, usual="24h")
    return [*queries.buckets(world, asked, queries.seconds(params.get("interval", "1h"), "interval")), asked[1]]


def _interval(text: str | None, asked: Span) -> int:
    """Seconds, or `1h`. One that does not fit is replaced, as Sentry does here."""
    try:
        interval_s = int(text) if text and text.isdecimal() else queries.seconds(text or "", "interval")
    except Refused:
        interval_s = 0
    hours, length = interval_s // HOUR_S, asked[1] - asked[0]
    if hours and interval_s % HOUR_S == 0 and 24 % hours == 0 and length / hours <= queries.MAX_POINTS:
        return interval_s
    return HOUR_S if length <= _WEEK_H else 24 * HOUR_S


def _times(world: World, edges: Sequence[int]) -> Json:
    times = [iso(world.starts + edge * HOUR_S) for edge in edges]
    return {"start": times[0], "end": times[-1], "intervals": times[:-1]}
