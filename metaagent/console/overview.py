"""What is asked of a tenant's providers and how it goes: figures over a time, and what somebody should look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from metaagent.console import charts
from metaagent.console.charts import lasting, many, money, part
from metaagent.console.outcomes import in_words
from metaagent.installations import health_of
from providers import selectors as providers
from providers.health import Health, worth_a_look
from providers.models import Installation
from tenants import access, asked
from tenants.asked import Figures, PersonUse, Tally
from tenants.models import Membership

_RANGES: Final = {"24h": ("24 hours", 1), "7d": ("7 days", 7), "30d": ("30 days", 30), "13w": ("13 weeks", 91)}
_USUAL: Final = "7d"
_DAYS_APART: Final = 31
"""Up to so many days are told apart; more are told by the week."""
_MOST_PROVIDERS: Final = 30
_WAYS: Final = {
    "tool": "Tool named by the client",
    "route": "Rule",
    "replay": "Kept plan",
    "approved": "Approved call",
    "plan": "Planned by a model",
    "loop": "Model, turn by turn",
    "degraded": "Closest reads, no model",
}
"""How asks are answered, from the cheapest to the dearest; see `metaagent.agent.work`."""


@dataclass(frozen=True, slots=True)
class Tile:
    """One figure."""

    title: str
    figure: str
    more: str


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a table: what it is about, and its cells."""

    head: str
    cells: tuple[str, ...]
    part: int = 0
    """Of the greatest one, in percent."""


@dataclass(frozen=True, slots=True)
class Concern:
    """A provider that somebody should look at."""

    title: str
    slug: str
    sentences: list[str]
    review: bool
    reconnect: int
    """Connections that their people have to connect again."""


@require_safe
@access.open_to(access.LOOK)
def overview(request: HttpRequest, member: Membership) -> HttpResponse:
    """The figures of the time and the provider in the address; a new tenant is told how to begin.

    Who asked most costs as much as half of the rest: the page asks for it once it stands, and a link leads to it alone.
    """
    now = datetime.now(UTC)
    chosen = request.GET.get("range", _USUAL)
    words, days = _RANGES.get(chosen, _RANGES[_USUAL])
    slug = request.GET.get("provider", "")
    since = now - timedelta(hours=23) if days == 1 else now - timedelta(days=days - 1)
    weekly, alone = days > _DAYS_APART, bool(request.htmx)  # type: ignore[attr-defined]  # django-htmx
    people = None
    if alone or "people" in request.GET:
        people = _people(asked.busiest(member.tenant_id, since=since, until=now, provider=slug, weekly=weekly))
    if alone:
        return access.shown(request, member, "console/busiest.html", {"people": people})
    installed = {row.slug: row for row in providers.installed(member.tenant_id)}
    titles = {slug: providers.title_of(row) for slug, row in installed.items()}
    context: dict[str, object] = {
        "endpoint": f"{settings.PUBLIC_URL}/mcp/{member.tenant.slug}",
        "ranges": [(name, title) for name, (title, _) in _RANGES.items()],
        "range": chosen if chosen in _RANGES else _USUAL,
        "words": words,
        "provider": slug,
        "titles": sorted({slug: slug, **titles}.items()) if slug else sorted(titles.items()),
        "people": people,
    }
    if people is None:
        context["concerns"] = _concerns(installed, titles, health_of(member.tenant_id, now=now))
        found = asked.figures(member.tenant_id, since=since, until=now, provider=slug, weekly=weekly)
        context["asks"] = found.total.asks
        context |= _shown(found, titles) if found.total.asks else {"began": asked.any_asks(member.tenant_id)}
    return access.shown(request, member, "console/overview.html", context)


def _concerns(
    installed: Mapping[str, Installation], titles: Mapping[str, str], health: Mapping[UUID, Health]
) -> list[Concern]:
    return [
        Concern(titles[slug], slug, sentences, found.review, found.connections.needs_auth)
        for slug, row in installed.items()
        if (found := health.get(row.pk)) and (sentences := worth_a_look(found))
    ]


def _shown(found: Figures, titles: Mapping[str, str]) -> dict[str, object]:
    return {
        "tiles": _tiles(found.total),
        "step": found.step.capitalize(),
        **_over_time(found),
        "by_provider": _by_provider(found, titles),
        "codes": [
            Row(in_words(code, code).capitalize(), (f"{count:,}", part(count / found.total.asks)))
            for code, count in found.total.codes.most_common()
        ],
    }


def _people(found: Sequence[PersonUse]) -> list[Row]:
    return [
        Row(
            each.email,
            (f"{each.asks:,}", f"{each.failed:,}", many(each.tokens), money(each.micros), many(each.saved)),
        )
        for each in found
    ]


def _tiles(total: Tally) -> list[Tile]:
    waiting = total.failed - total.wrong
    return [
        Tile("Asks", f"{total.asks:,}", f"{total.answered:,} answered"),
        Tile("Without a model", part(total.without_model), "of what was answered"),
        Tile("Half answered in", lasting(total.p50_ms), f"95 % in {lasting(total.p95_ms)}"),
        Tile("Failed", part(total.wrong / total.asks), f"{total.wrong:,}, and {waiting:,} waited for a person"),
        Tile("Spent on models", money(total.micros), f"{many(total.tokens)} tokens"),
        Tile("Tokens saved", many(total.saved), "an estimate"),
    ]


def _over_time(found: Figures) -> dict[str, object]:
    """Both pictures and the table of their numbers; of the ways only those there are."""
    tallies = [tally for _, tally in found.series]
    heads = [f"{at:%H:%M}" if found.step == "hour" else f"{at.day} {at:%b}" for at, _ in found.series]
    ways = [way for way in (*_WAYS, *sorted(found.total.ways.keys() - _WAYS.keys())) if found.total.ways[way]]
    stack = [charts.Series(f"way-{way}", _WAYS.get(way, way), [tally.ways[way] for tally in tallies]) for way in ways]
    unanswered = [
        charts.Series("way-waiting", "Waits for a person", [tally.failed - tally.wrong for tally in tallies]),
        charts.Series("way-failed", "Failed", [tally.wrong for tally in tallies]),
    ]
    stack += [each for each in unanswered if any(each.numbers)]
    half, most = [tally.p50_ms for tally in tallies], [tally.p95_ms for tally in tallies]
    within = [(lasting(one), lasting(other)) for one, other in zip(half, most, strict=True)]
    asks = [f"{head}: {tally.asks:,} asks, {tally.wrong:,} failed" for head, tally in zip(heads, tallies, strict=True)]
    times = [f"{head}: half in {one}, 95 % in {other}" for head, (one, other) in zip(heads, within, strict=True)]
    lines = [charts.Series("speed-most", "95 % within", most), charts.Series("speed-half", "Half within", half)]
    return {
        "ways": charts.columns("Asks over time, by how they were answered", heads, stack, said=asks, unit=many),
        "speeds": charts.lines("How long answers took, over time", heads, lines, said=times, unit=lasting),
        "over_time": [
            Row(head, (*(f"{each.numbers[place]:,}" for each in stack), *within[place]))
            for place, head in enumerate(heads)
        ],
    }


def _by_provider(found: Figures, titles: Mapping[str, str]) -> list[Row]:
    """The busiest, each by itself, and what is left as one more."""
    most = found.providers[0][1].asks
    rows = [(titles.get(slug, slug), tally) for slug, tally in found.providers[:_MOST_PROVIDERS]]
    if rest := [tally for _, tally in found.providers[_MOST_PROVIDERS:]]:
        rows.append((f"{len(rest)} more", sum(rest, Tally())))
    return [
        Row(
            head,
            (
                f"{tally.asks:,}",
                part(tally.without_model),
                lasting(tally.p50_ms),
                lasting(tally.p95_ms),
                part(tally.wrong / tally.asks),
                money(tally.micros),
                many(tally.saved),
            ),
            min(100, max(1, round(100 * tally.asks / most))),
        )
        for head, tally in rows
    ]
