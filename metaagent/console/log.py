"""The audit log in a browser: a timeline, one event with its run, and files to take away. Reading it is recorded."""

from __future__ import annotations

import csv
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import timedelta
from typing import Any, TypeAlias
from urllib.parse import urlencode
from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.views.decorators.http import require_safe

from audit import selectors as log
from audit import services as audit
from audit.chain import canonical
from audit.events import EventKind
from audit.models import AuditEvent
from audit.timeline import ACTIONS, OUTCOMES, SUBJECTS, Wanted, WrongFilter, place
from audit.words import told
from metaagent.console import filters
from providers import selectors as providers
from tenants import access
from tenants import selectors as tenants
from tenants.models import Membership
from vault import selectors as vault

Rows: TypeAlias = AsyncIterator[Mapping[str, Any]]
_FILTERS = tuple(each.name for each in fields(Wanted))
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_NOBODY = UUID(int=0)
"""Who is meant by an address that nobody has."""
_COLUMNS = frozenset({"ms", "requests", "bytes_in", "bytes_out", "token_version", "micros", "cached"})
"""What the table of steps shows of an event's detail."""


@dataclass(frozen=True, slots=True)
class Line:
    """One event as people read it."""

    event: AuditEvent
    told: str
    outcome: str
    who: str
    account: str
    client: str


@dataclass(frozen=True, slots=True)
class Step:
    """What was about to happen and what came of it, or an event that stands alone."""

    first: Line
    last: Line

    @property
    def took_ms(self) -> int | None:
        """From the one to the other; None: it stands alone."""
        if self.first is self.last:
            return None
        return round((self.last.event.at - self.first.event.at) / timedelta(milliseconds=1))


@require_safe
@access.open_to(access.LOOK)
def timeline(request: HttpRequest, member: Membership) -> HttpResponse:
    """The newest events first; what is wanted stands in the address."""
    try:
        wanted, before, problem = _wanted(request.GET), place(request.GET.get("before", "")), ""
    except WrongFilter as wrong:
        wanted, before, problem = Wanted(), None, str(wrong)
    found = log.stretch(member.tenant_id, wanted, before=before)
    _recorded(member, "list", wanted)
    query = filters.said(request.GET, _FILTERS)
    said = {name: request.GET.get(name, "") for name in _FILTERS}
    if wanted.user:
        said["user"] = tenants.people({wanted.user}).get(wanted.user, said["user"])
    context = {
        "lines": lines(member, found.events),
        "wanted": said,
        "only": _only(member, wanted, query),
        "narrowed": bool(query),
        "problem": problem,
        "older": filters.onward(query, before=found.before),
        "looked_to": found.looked_to,
        "query": urlencode(query),
        "subjects": SUBJECTS,
        "actions": ACTIONS,
        "outcomes": OUTCOMES,
        "providers": providers.installations(member.tenant_id),
    }
    return access.shown(request, member, "audit/timeline.html", context, status=400 if problem else 200)


@require_safe
@access.open_to(access.LOOK)
def event(request: HttpRequest, member: Membership, seq: int) -> HttpResponse:
    """One event, with every step of the run it belongs to, or with its intent and outcome."""
    row = log.event(member.tenant_id, seq)
    if row is None:
        raise Http404
    _recorded(member, "event", Wanted(), seq=seq)
    together = log.of_run(member.tenant_id, row.run_id) if row.run_id else log.with_intent(row)
    known = {line.event.seq: line for line in lines(member, [row, *together])}
    context = {
        "line": known[row.seq],
        "detail": sorted((name, value) for name, value in row.detail.items() if name not in _COLUMNS),
        "steps": steps([known[each.seq] for each in together]) if row.run_id or len(together) > 1 else [],
        "requests": sum(each.detail.get("requests", 0) for each in together),
        "bytes_out": sum(each.detail.get("bytes_out", 0) for each in together),
        "dollars": max((each.detail.get("micros", 0) for each in together), default=0) / 1_000_000,
        "sealed": row.seq <= log.sealed_to(member.tenant_id),
    }
    return access.shown(request, member, "audit/event.html", context)


@require_safe
@access.open_to(access.LOOK)
@access.weighty
def export(request: HttpRequest, member: Membership, kind: str) -> HttpResponse | StreamingHttpResponse:
    """What is wanted of the log as a file, oldest first: JSON lines, or a table no spreadsheet takes for formulas."""
    try:
        wanted = _wanted(request.GET)
    except WrongFilter as wrong:
        return HttpResponse(str(wrong), status=400, content_type="text/plain; charset=utf-8")
    audit.record(
        EventKind.EXPORTED, tenant_id=member.tenant_id, user_id=member.user_id, format=kind, filters=_named(wanted)
    )
    rows = log.exported(member.tenant_id, wanted)
    body, media = (_table(rows), "text/csv") if kind == "csv" else (_json_lines(rows), "application/jsonl")
    answer = StreamingHttpResponse(body, content_type=f"{media}; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="audit-{member.tenant.slug}.{kind}"'
    return answer


def _wanted(given: Mapping[str, str]) -> Wanted:
    """The filters of an address; a person may be named by their e-mail address. Raises: WrongFilter."""
    who = given.get("user", "")
    if "@" not in who:
        return Wanted.read(given)
    return Wanted.read({**filters.said(given, _FILTERS), "user": str(tenants.person(who) or _NOBODY)})


def _only(member: Membership, wanted: Wanted, query: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """The filters that have no control of their own: what each is, what it is set to, and the address without it."""
    found = []
    if wanted.client:
        found.append(("client", "Client", tenants.client_name(wanted.client) or wanted.client))
    if wanted.account:
        labels = vault.labels_of(member.tenant_id, {wanted.account})
        found.append(("account", "Account", labels.get(wanted.account, str(wanted.account))))
    return [
        (title, value, urlencode({name: each for name, each in query.items() if name != filtered}))
        for filtered, title, value in found
    ]


def _named(wanted: Wanted) -> str:
    return " ".join(name for name in _FILTERS if getattr(wanted, name) is not None)


def _recorded(member: Membership, what: str, wanted: Wanted, seq: int | None = None) -> None:
    audit.record(
        EventKind.LOG_READ,
        tenant_id=member.tenant_id,
        user_id=member.user_id,
        what=what,
        filters=_named(wanted),
        seq=seq,
    )


def lines(member: Membership, events: Sequence[AuditEvent]) -> list[Line]:
    """With the names of whom and what they are about, each looked up once."""
    people = tenants.people({row.user_id for row in events if row.user_id})
    accounts = vault.labels_of(member.tenant_id, {row.connection_id for row in events if row.connection_id})
    clients = tenants.client_names({row.client for row in events if row.client})
    found = []
    for row in events:
        who = people.get(row.user_id, str(row.user_id)) if row.user_id else ""
        account = accounts.get(row.connection_id, str(row.connection_id)) if row.connection_id else ""
        client = clients.get(row.client) or row.client
        found.append(Line(row, told(row.kind), row.kind.rpartition(".")[2], who, account, client))
    return found


def steps(events: Sequence[Line]) -> list[Step]:
    """Each intent with its outcome, in the order in which they began."""
    outcomes = {line.event.intent_id: line for line in events if line.event.intent_id}
    intents = {line.event.id for line in events}
    begun = [line for line in events if line.event.intent_id not in intents]
    return [Step(line, outcomes.get(line.event.id, line)) for line in begun]


async def _json_lines(rows: Rows) -> AsyncIterator[str]:
    async for row in rows:
        yield canonical(row).decode("utf-8", "replace") + "\n"


class _Echo:
    """What the csv module writes to: it gives each line back."""

    def write(self, line: str) -> str:
        return line


async def _table(rows: Rows) -> AsyncIterator[str]:
    writer, first = csv.writer(_Echo()), True
    async for row in rows:
        if first:
            yield str(writer.writerow(row))
            first = False
        cells = [json.dumps(cell, ensure_ascii=False) if isinstance(cell, dict) else cell for cell in row.values()]
        yield str(writer.writerow([_harmless(cell) for cell in cells]))


def _harmless(cell: Any) -> Any:  # noqa: ANN401 - a cell of a table
    """A text that a spreadsheet would work out is made to begin with an apostrophe."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell
