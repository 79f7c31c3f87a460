"""The tools of a provider: what each does, which are offered, and what has changed and waits for a decision."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.contrib import messages
from django.core.paginator import Page, Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from providers import review, selectors
from providers.difference import Difference, Field, Line, differences
from providers.manifest import Choices, Entry, Manifest
from providers.models import Installation
from providers.spec import Effect
from tenants import access
from tenants.models import Membership
from tenants.services import Refused
from vault.approve_pages import Piece, pieces
from vault.services import listing

_A_PAGE = 50
_LONGEST_SEARCH = 200
_ARGUMENTS = 6
_NONE = "none"
"""No digest: a form that does not say what was looked at decides nothing."""


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool, as it serves."""

    entry: Entry
    effect: Effect
    confirmed: bool
    offered: bool
    scopes: tuple[str, ...]

    @property
    def summary(self) -> tuple[Piece, ...]:
        """The provider's words for it."""
        return pieces(self.entry.summary)

    @property
    def takes(self) -> list[tuple[str, bool]]:
        """The first of its arguments: what each is called, and whether it has to be there."""
        schema = self.entry.schema if isinstance(self.entry.schema, dict) else {}
        wanted, named = schema.get("required"), schema.get("properties")
        needed = set(map(str, wanted)) if isinstance(wanted, list) else set()
        names = list(named) if isinstance(named, dict) else []
        return [(name, name in needed) for name in sorted(names, key=lambda name: name not in needed)[:_ARGUMENTS]]

    @property
    def takes_more(self) -> int:
        """How many further arguments it has."""
        named = self.entry.schema.get("properties") if isinstance(self.entry.schema, dict) else None
        return max(len(named) - _ARGUMENTS, 0) if isinstance(named, dict) else 0

    def has(self, words: Iterable[str]) -> bool:
        """Whether each of these words, in lower case, is in its names, tags or description."""
        entry = self.entry
        text = " ".join((entry.name, entry.source_name, entry.summary, *entry.tags)).lower()
        return all(word in text for word in words)


_SHOWN: dict[str, tuple[str, Callable[[Tool], bool]]] = {
    "": ("All", lambda _: True),
    "unconfirmed": ("Not confirmed", lambda tool: not tool.confirmed),
    "left_out": ("Left out", lambda tool: not tool.offered),
}


@require_http_methods(["GET", "HEAD", "POST"])
@access.open_to(access.LOOK)
def tools(request: HttpRequest, member: Membership, slug: str) -> HttpResponse:
    """The table of tools; whoever may decide confirms effects and leaves tools out, a page or a search at a time."""
    row = _place(request, member, slug)
    pinned, fixed = row.manifest, row.source == Installation.Source.CATALOGUE
    serving = _of_the_catalogue(row) if fixed else Manifest.read(pinned.text if pinned else "[]")
    choices = _as_they_say(serving) if fixed else Choices.read(pinned.choices if pinned else {})
    found = _found(request, serving, choices)
    if request.method == "POST":
        _choose(request, row, found, by=member)
        return redirect(request.get_full_path())
    shown: dict[str, object] = {
        "pinned": pinned,
        "waiting": review.waiting(row),
        "page": _page(request, found),
        "q": request.GET.get("q", ""),
        "show": request.GET.get("show", ""),
        "kinds": [(name, title) for name, (title, _) in _SHOWN.items()],
        "effects": list(Effect),
        "tools": len(serving.entries),
        "unconfirmed_reads": len(_unconfirmed_reads(found)),
    }
    return _shown(request, member, "console/tools.html", row, shown)


@require_http_methods(["GET", "HEAD", "POST"])
@access.open_to(access.LOOK)
def review_page(request: HttpRequest, member: Membership, slug: str) -> HttpResponse:
    """What waits, tool by tool, and the decision."""
    row = _place(request, member, slug)
    if request.method == "POST":
        return _decide(request, row, by=member)
    waiting, pinned = review.waiting(row), row.manifest
    if waiting is None:
        return redirect("console_tools", member.tenant.slug, slug)
    differing = differences(Manifest.read(pinned.text if pinned else "[]"), Manifest.read(waiting.text))
    page = _page(request, differing)
    shown: dict[str, object] = {
        "waiting": waiting,
        "page": page,
        "counts": Counter(each.kind for each in differing),
        "changes": [_change(each) for each in page],
    }
    return _shown(request, member, "console/review.html", row, shown)


# --- what is shown


def _of_the_catalogue(row: Installation) -> Manifest:
    """The tools of a file of the catalogue, as those that are listed are shown."""
    return Manifest.of(
        Entry(
            name=tool.name,
            source_name=tool.name,
            summary=tool.summary,
            schema=tool.schema,
            effect=tool.effect.value,
            scopes=tuple(sorted(tool.scopes)),
            tags=tool.tags,
        )
        for tool in selectors.spec_of(row).tools
    )


def _as_they_say(manifest: Manifest) -> Choices:
    return Choices(review.hinted(manifest))


@dataclass(frozen=True, slots=True)
class _Said:
    """One thing said of a tool: side by side, or line by line."""

    title: str
    old: tuple[Piece, ...]
    new: tuple[Piece, ...]
    lines: tuple[tuple[Line, tuple[Piece, ...]], ...]


@dataclass(frozen=True, slots=True)
class _Change:
    name: str
    kind: str
    said: tuple[_Said, ...]


def _change(each: Difference) -> _Change:
    return _Change(each.name, each.kind, tuple(map(_said, each.fields)))


def _said(field: Field) -> _Said:
    old, new = field.texts or ("", "")
    lines = () if field.texts else tuple((line, pieces(line.text)) for line in field.lines)
    return _Said(field.title, pieces(old), pieces(new), lines)


def _found(request: HttpRequest, serving: Manifest, choices: Choices) -> list[Tool]:
    """The tools that the search and the choice of the address leave, in order."""
    words = request.GET.get("q", "")[:_LONGEST_SEARCH].lower().split()
    _, wanted = _SHOWN.get(request.GET.get("show", ""), _SHOWN[""])
    every = (
        Tool(
            entry,
            choices.effect_of(entry),
            entry.name in choices.effects,
            entry.name not in choices.left_out,
            choices.scopes.get(entry.name, entry.scopes),
        )
        for entry in serving.entries
    )
    return [tool for tool in every if wanted(tool) and tool.has(words)]


def _unconfirmed_reads(found: Iterable[Tool]) -> list[str]:
    return [tool.entry.name for tool in found if not tool.confirmed and tool.entry.effect == Effect.READ]


def _page(request: HttpRequest, rows: list[Any]) -> Page[Any]:
    """The one of the address, or the nearest there is."""
    return Paginator(rows, _A_PAGE).get_page(request.GET.get("page"))


# --- what is decided


def _choose(request: HttpRequest, row: Installation, found: list[Tool], *, by: Membership) -> None:
    """What the page's tools do and which are offered; or one thing about all that the search has found."""
    said = request.POST
    effects: dict[str, Effect] = {}
    leave_out: set[str] = set()
    offer: set[str] = set()
    match said.get("op"):
        case "hints":
            effects = dict.fromkeys(_unconfirmed_reads(found), Effect.READ)
        case "leave_out":
            leave_out = {tool.entry.name for tool in found}
        case "offer":
            offer = {tool.entry.name for tool in found}
        case _:
            named = {name: said[name] for name in said if name.startswith("effect:")}
            shown = {name.removeprefix("effect:"): effect for name, effect in named.items()}
            effects = {name: Effect(effect) for name, effect in shown.items() if effect in set(Effect)}
            offer = {name for name in shown if f"offer:{name}" in said}
            leave_out = shown.keys() - offer
    try:
        review.choose(
            installation=row,
            digest=said.get("digest") or _NONE,
            effects=effects,
            leave_out=leave_out,
            offer=offer,
            by=by.user_id,
            now=datetime.now(UTC),
        )
    except Refused as refused:
        messages.error(request, str(refused))
    else:
        messages.success(request, "Saved. It holds from the next call on.")


def _decide(request: HttpRequest, row: Installation, *, by: Membership) -> HttpResponse:
    digest, now = request.POST.get("digest") or _NONE, datetime.now(UTC)
    try:
        if request.POST.get("op") == "accept":
            listing.accept(installation=row, digest=digest, by=by.user_id, now=now)
            messages.success(request, "Accepted. Confirm below what the new and changed tools do.")
        else:
            review.refuse(installation=row, digest=digest, by=by.user_id, now=now)
            messages.success(request, "Refused. The tools stay as they are.")
    except Refused as refused:
        messages.error(request, str(refused))
        return redirect(request.get_full_path())
    return redirect(f"{reverse('console_tools', args=[by.tenant.slug, row.slug])}?show=unconfirmed")


def _place(request: HttpRequest, member: Membership, slug: str) -> Installation:
    """Raises: Http404, also for somebody who may look and wants to decide."""
    row = selectors.installed(member.tenant_id).filter(slug=slug).first()
    if row is None or selectors.known_spec(row) is None or (request.method == "POST" and member.role not in access.RUN):
        raise Http404
    return row


def _shown(
    request: HttpRequest, member: Membership, template: str, row: Installation, context: dict[str, object]
) -> HttpResponse:
    fixed = row.source == Installation.Source.CATALOGUE
    shown = {"row": row, "title": selectors.title_of(row), "catalogue": fixed, **context}
    return access.shown(request, member, template, shown)
