"""`provider_review TENANT SLUG`: which tools of a provider serve, and what it lists that waits for a decision."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser
from django.urls import reverse

from metaagent.management.answering import Answering, Found, tenant_named, user_named
from providers import models, review, selectors
from providers.difference import Difference, Field, differences
from providers.manifest import Choices, Entry, Manifest
from providers.models import Installation
from providers.spec import Effect
from tenants.services import Refused
from vault.approve_pages import pieces
from vault.services import listing

_SAYS_NOTHING = "The tools of {slug} are those of metaagent's catalogue: there is nothing to review."
_MOST_LINES = 40
"""Of one field; all of them with --json."""
_DIGEST = 12


class Command(Answering):
    """Show and decide."""

    help = (
        "Show what a provider lists that differs from the tools that serve, and those tools. Accept or refuse it, and "
        "say what each tool does: one nobody has confirmed is taken to write."
    )

    def arguments(self, parser: CommandParser) -> None:
        """What to decide."""
        parser.add_argument("tenant")
        parser.add_argument("slug")
        decide = parser.add_mutually_exclusive_group()
        for name, what in (("accept", "let what waits serve"), ("refuse", "go on with the tools there are")):
            said = f"{what}; with the DIGEST that was shown, nothing that came later"
            decide.add_argument(f"--{name}", nargs="?", const="", metavar="DIGEST", help=said)
        parser.add_argument("--list", action="store_true", help="show the tools only")
        for effect in Effect:
            parser.add_argument(f"--{effect}", nargs="+", default=[], metavar="TOOL", help=f"confirm: {effect}")
        parser.add_argument(
            "--trust-hints",
            action="store_true",
            help="take the provider's word for what its tools do, nobody checks it",
        )
        parser.add_argument("--leave-out", nargs="+", default=[], metavar="TOOL", help="do not offer these")
        parser.add_argument("--offer", nargs="+", default=[], metavar="TOOL", help="offer these again")
        parser.add_argument(
            "--scopes", nargs=2, action="append", default=[], metavar=("TOOL", "SCOPES"), help="which scopes one needs"
        )
        parser.add_argument("--fetch", action="store_true", help="ask the provider now")
        parser.add_argument("--as", dest="email", metavar="EMAIL", help="whose account to ask it with")

    def work(self, **options: Any) -> Found:
        """Ask, decide, choose, and show what there is then."""
        tenant, now = tenant_named(options["tenant"]), datetime.now(UTC)
        row = selectors.installed(tenant.pk).filter(slug=options["slug"]).first()
        if row is None:
            raise Refused(f"“{options['slug'][:40]}” is not installed here. See: manage.py provider_list {tenant.slug}")
        if row.source == Installation.Source.CATALOGUE:
            said = _SAYS_NOTHING.format(slug=row.slug)
            return {"slug": row.slug, "source": row.source, "pending": None, "tools": [], "text": said}
        if options["fetch"]:
            user = user_named(options["email"]) if options["email"] else None
            listing.fetch(installation=row, user=user, by=None, now=now)
        if options["accept"] is not None:
            listing.accept(installation=row, digest=options["accept"], by=None, now=now)
        if options["refuse"] is not None:
            review.refuse(installation=row, digest=options["refuse"], by=None, now=now)
        row.refresh_from_db()
        _choose(row, options, now)
        row.refresh_from_db()
        return _shown(tenant.slug, row, only_tools=options["list"])


def _choose(row: Installation, options: dict[str, Any], now: datetime) -> None:
    named = {effect: options[effect.value] for effect in Effect}
    if twice := [
        name for name, times in Counter(name for each in named.values() for name in each).items() if times > 1
    ]:
        raise CommandError(f"Said to do two things at once: {', '.join(twice)}.", returncode=2)
    hints = review.hinted(Manifest.read(row.manifest.text)) if options["trust_hints"] and row.manifest else {}
    effects = {**hints, **{name: effect for effect, names in named.items() for name in names}}
    scopes = {name: tuple(said.split()) for name, said in options["scopes"]}
    if effects or scopes or options["leave_out"] or options["offer"]:
        review.choose(
            installation=row,
            effects=effects,
            leave_out=options["leave_out"],
            offer=options["offer"],
            scopes=scopes,
            by=None,
            now=now,
        )


def _shown(tenant: str, row: Installation, *, only_tools: bool) -> Found:
    pending, pinned = review.waiting(row), row.manifest
    serving = Manifest.read(pinned.text if pinned else "[]")
    choices = Choices.read(pinned.choices if pinned else {})
    differing = differences(serving, Manifest.read(pending.text)) if pending else []
    tools = [_tool(entry, choices) for entry in serving.entries]
    lines = [] if only_tools else [*_standing(row, pinned, len(tools)), ""]
    if pending and not only_tools:
        lines += [*_waiting(tenant, row, pending, differing), ""]
    lines += _table(tools)
    return {
        "slug": row.slug,
        "source": row.source,
        "digest": serving.digest if pinned else None,
        "listed_at": pinned.listed_at if pinned else None,
        "pending": _pending(pending, differing) if pending else None,
        "tools": tools,
        "text": "\n".join(lines).rstrip(),
    }


# --- as JSON


def _pending(pending: models.Manifest, differing: list[Difference]) -> Found:
    by_kind: dict[str, list[Found]] = {"added": [], "removed": [], "changed": []}
    for each in differing:
        whole = each.new or each.old
        said = {"name": each.name, **(asdict(whole) if whole and each.kind != "changed" else {})}
        if each.kind == "changed":
            said["fields"] = [{"field": field.name, "old": field.old, "new": field.new} for field in each.fields]
        by_kind[each.kind].append(said)
    return {"digest": pending.digest, "listed_at": pending.listed_at, **by_kind}


def _tool(entry: Entry, choices: Choices) -> Found:
    return {
        "name": entry.name,
        "source_name": entry.source_name,
        "summary": entry.summary,
        "effect": choices.effect_of(entry).value,
        "confirmed": entry.name in choices.effects,
        "hint": entry.effect,
        "offered": entry.name not in choices.left_out,
        "scopes": list(choices.scopes.get(entry.name, entry.scopes)),
    }


# --- as text


def _standing(row: Installation, pinned: models.Manifest | None, tools: int) -> list[str]:
    if pinned is None:
        said = f"The tools of {row.slug} are not known yet: they are listed when the first account is connected."
        return [said, "Ask for them now with: --fetch"] if row.url else [said]
    serve = f"{_counted(tools, 'tool')} of {row.slug} serve{'s' if tools == 1 else ''}"
    decided = f"; decided on {_time(pinned.decided_at)}" if pinned.decided_at else ""
    return [f"{serve}{decided}; last listed {_time(pinned.listed_at)}."]


def _waiting(tenant: str, row: Installation, pending: models.Manifest, differing: list[Difference]) -> Iterator[str]:
    kinds, short = Counter(each.kind for each in differing), pending.digest[:_DIGEST]
    yield (
        f"It lists other tools since {_time(pending.listed_at)}: {kinds['added']} new, {kinds['changed']} changed, "
        f"{kinds['removed']} gone. Until they are accepted, those there are serve."
    )
    yield "The words are the provider's own, and nobody has checked them."
    for each in differing:
        yield ""
        yield from _difference(each)
    yield ""
    command = f"manage.py provider_review {tenant} {row.slug}"
    yield f"Accept with: {command} --accept {short}"
    yield f"Refuse with: {command} --refuse {short}"
    yield f"Or there: {settings.PUBLIC_URL}{reverse('console_review', args=[tenant, row.slug])}"


def _difference(each: Difference) -> Iterator[str]:
    sign = {"added": "+", "removed": "-", "changed": "~"}[each.kind]
    yield f"{sign} {_plain(each.name)}"
    for field in each.fields:
        yield from (f"    {line}" for line in _field(field, new=each.kind == "added"))


def _field(field: Field, *, new: bool) -> Iterator[str]:
    if field.texts is not None:
        old, now = map(_plain, field.texts)
        if new:
            yield f"{field.title}: {now}"
        else:
            yield f"{field.title}:"
            yield f"  - {old}"
            yield f"  + {now}"
        return
    yield f"{field.title}:"
    yield from (f"  {line.sign} {_plain(line.text)}" for line in islice(field.lines, _MOST_LINES))
    if (left := len(field.lines) - _MOST_LINES) > 0:
        yield f"  … {_counted(left, 'line')} more; all with --json"


def _table(tools: list[Found]) -> Iterator[str]:
    if not tools:
        return
    wide = max(len(tool["name"]) for tool in tools)
    yield f"{'effect':<13} {'provider says':<13} {'tool':<{wide}}"
    for tool in tools:
        effect = "left out" if not tool["offered"] else tool["effect"] + ("" if tool["confirmed"] else " ?")
        yield f"{effect:<13} {tool['hint']:<13} {tool['name']:<{wide}}  {_plain(tool['summary'])[:80]}".rstrip()
    if not all(tool["confirmed"] for tool in tools):
        yield "? nobody has confirmed it: it is taken to write. Confirm with: --read, --write or --destructive TOOL …"


def _plain(text: str) -> str:
    """Foreign text for a terminal: one line, in which nothing hides or steers."""
    seen = "".join(f"[{piece.text}]" if piece.unseen else piece.text for piece in pieces(text))
    return seen.replace("\n", " ").replace("\t", " ")


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
