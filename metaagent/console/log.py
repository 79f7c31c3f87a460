"""The audit log in a browser: a timeline, one event with its run, and files to take away. Reading it is recorded."""

from __future__ import annotations

import csv
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeAlias
from urllib.parse import urlencode

from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.views.decorators.http import require_safe

from audit import selectors as log
from audit import services as audit
from audit.events import EventKind
from audit.models import AuditEvent
from audit.timeline import OUTCOMES, SUBJECTS, Unfit, Wanted
from providers import selectors as providers
from tenants import access
from tenants import selectors as tenants
from tenants.models import Membership
from vault import selectors as vault

Rows: TypeAlias = AsyncIterator[Mapping[str, Any]]
_FILTERS = tuple(each.name for each in fields(Wanted))
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True, slots=True)
class Line:
    """One event as people read it."""

    event: AuditEvent
    subject: str
    action: str
    outcome: str
    who: str
    account: str
    client: str


@require_safe
@access.open_to(access.LOOK)
def timeline(request: HttpRequest, member: Membership) -> HttpResponse:
    """The newest events first; what is wanted stands in the address."""
    before = request.GET.get("before", "")
    try:
        wanted, problem = Wanted.read(request.GET), ""
    except Unfit as unfit:
        wanted, problem = Wanted(), str(unfit)
    found = log.stretch(member.tenant_id, wanted, before=int(before) if before.isdecimal() else None)
    _recorded(member, "list", wanted)
    query = _query(request.GET)
    older = urlencode({**query, "before": found.before}) if found.before is not None else ""
    context = {
        "lines": _lines(member, found.events),
        "wanted": {name: request.GET.get(name, "") for name in _FILTERS},
        "narrowed": bool(query),
        "problem": problem,
        "older": older,
        "looked_to": found.looked_to,
        "query": urlencode(query),
        "subjects": SUBJECTS,
        "outcomes": OUTCOMES,
        "people": tenants.memberships(member.tenant_id),
        "providers": providers.installations(member.tenant_id),
    }
    return access.shown(request, member, "audit/timeline.html", context, status=400 if problem else 200)


@require_safe
@access.open_to(access.LOOK)
def event(request: HttpRequest, member: Membership, seq: int) -> HttpResponse:
    """One event, and every step of the run it belongs to."""
    row = log.event(member.tenant_id, seq)
    if row is None:
        raise Http404
    _recorded(member, "event", Wanted(), seq=seq)
    run = log.of_run(member.tenant_id, row.run_id) if row.run_id else []
    lines = {line.event.seq: line for line in _lines(member, [row, *run])}
    context = {
        "line": lines[row.seq],
        "detail": sorted(row.detail.items()),
        "steps": [lines[each.seq] for each in run],
    }
    return access.shown(request, member, "audit/event.html", context)


@require_safe
@access.open_to(access.LOOK)
@access.weighty
def export(request: HttpRequest, member: Membership, kind: str) -> HttpResponse | StreamingHttpResponse:
    """What is wanted of the log as a file, oldest first: JSON lines, or a table no spreadsheet takes for formulas."""
    try:
        wanted = Wanted.read(request.GET)
    except Unfit as unfit:
        return HttpResponse(str(unfit), status=400, content_type="text/plain; charset=utf-8")
    audit.record(
        EventKind.EXPORTED, tenant_id=member.tenant_id, user_id=member.user_id, format=kind, filters=_named(wanted)
    )
    rows = log.exported(member.tenant_id, wanted)
    body, media = (_table(rows), "text/csv") if kind == "csv" else (_json_lines(rows), "application/jsonl")
    answer = StreamingHttpResponse(body, content_type=f"{media}; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="audit-{member.tenant.slug}.{kind}"'
    return answer


def _query(given: Mapping[str, str]) -> dict[str, str]:
    """The filters of an address that say something."""
    return {name: given[name] for name in _FILTERS if given.get(name)}


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


def _lines(member: Membership, events: Sequence[AuditEvent]) -> list[Line]:
    """With the names of whom and what they are about, each looked up once."""
    people = tenants.people({row.user_id for row in events if row.user_id})
    accounts = vault.labels_of(member.tenant_id, {row.connection_id for row in events if row.connection_id})
    clients = {client: tenants.client_name(client) or client for client in {row.client for row in events if row.client}}
    lines = []
    for row in events:
        subject, action, outcome = row.kind.split(".")
        who = people.get(row.user_id, str(row.user_id)) if row.user_id else ""
        account = accounts.get(row.connection_id, str(row.connection_id)) if row.connection_id else ""
        lines.append(Line(row, subject, action, outcome, who, account, clients.get(row.client, "")))
    return lines


async def _json_lines(rows: Rows) -> AsyncIterator[str]:
    async for row in rows:
        yield json.dumps(row, ensure_ascii=False) + "\n"


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
