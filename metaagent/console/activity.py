"""What was done in a person's own name, for themselves: asks, connections, permissions, log-ins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, cast
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from audit import selectors as log
from audit.events import EventKind
from audit.models import AuditEvent
from audit.timeline import WrongFilter, place
from audit.words import told
from metaagent.console import filters
from metaagent.console.outcomes import in_words
from providers import selectors as providers
from tenants import selectors as tenants
from tenants.asked import UP_TO_THE_PERSON
from tenants.models import Membership, User
from vault import selectors as vault

_A_PAGE: Final = 50
_FILTERS: Final = ("tenant", "provider", "client", "changes")
_RANK: Final = ("read", "write", "destructive")
_WORDS: Final[Mapping[str, str]] = {
    EventKind.EXCHANGE_DONE: "You connected an account",
    EventKind.EXCHANGE_FAILED: "Connecting an account did not work",
    EventKind.CALLBACK_REFUSED: "Connecting an account was stopped",
    EventKind.LINK_OPENED_BY_ANOTHER: "Somebody else opened a link that was made for you, and was turned away",
    EventKind.LINK_REFUSED: "A link of yours was refused",
    EventKind.TOKEN_IMPORTED: "An account was imported",
    EventKind.TOKEN_UNREADABLE: "An account's access did not open, and was not used",
    EventKind.REVOKE_DONE: "An account was disconnected",
    EventKind.REVOKE_FAILED: "A provider has not confirmed yet that an account is disconnected",
    EventKind.ACCOUNT_DEFAULT: "You chose which account is the default",
    EventKind.ACCOUNT_LABELLED: "You named an account",
    EventKind.CONSENT_GIVEN: "You gave a permission",
    EventKind.CONSENT_DECLINED: "You declined a permission",
    EventKind.CONSENT_WITHDRAWN: "A permission of yours ended",
    EventKind.CONSENT_USED: "A permission for one ask was used",
    EventKind.APPROVAL_GIVEN: "You approved a call",
    EventKind.APPROVAL_DECLINED: "You declined a call",
    EventKind.APPROVAL_WITHDRAWN: "An approval of yours ended",
    EventKind.APPROVAL_USED: "A call that you approved was made",
    EventKind.APPROVAL_REFUSED: "A call that you approved was not what you saw, and was not made",
    EventKind.GRANT_GIVEN: "You let a client in",
    EventKind.GRANT_DECLINED: "You did not let a client in",
    EventKind.GRANT_ENDED: "A client was shut out",
    EventKind.KEY_CREATED: "A client key was made",
    EventKind.KEY_REVOKED: "A client key was ended",
    EventKind.LOGIN_DONE: "You logged in",
    EventKind.LOGIN_REFUSED: "A log-in with a wrong password was refused",
}
"""What happened, for the person it happened to; anything else is told as in the log."""
_CALLED: Final = {"read": "Read", "write": "Changed something", "destructive": "Deleted something"}


@dataclass(frozen=True, slots=True)
class Names:
    """What people call what the log names by ids."""

    providers: Mapping[str, str]
    accounts: Mapping[UUID, str]
    clients: Mapping[str, str]

    @classmethod
    def of(cls, member: Membership, events: Sequence[AuditEvent]) -> Names:
        """Of these events, each kind looked up once."""
        named = providers.installed(member.tenant_id).filter(slug__in={row.provider for row in events})
        return cls(
            {row.slug: providers.title_of(row) for row in named},
            vault.labels_of(member.tenant_id, {row.connection_id for row in events if row.connection_id}),
            tenants.client_names({row.client for row in events if row.client}),
        )

    def account(self, connection_id: UUID | None) -> str:
        """Of an account; empty when it is gone, or there was none."""
        return self.accounts.get(connection_id, "") if connection_id else ""


@dataclass(frozen=True, slots=True)
class Deed:
    """One thing that was done: an ask with all it took, or a single event."""

    at: datetime
    words: str
    provider: str
    account: str
    client: str
    client_id: str
    outcome: str = ""
    """What came of it, where it is not as it should be."""
    wrong: bool = False
    """It failed; else it was only held up."""
    run: str = ""
    calls: int = 0
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One call of a run, or a permission that was used in it."""

    at: datetime
    words: str
    tool: str
    account: str
    outcome: str
    wrong: bool
    detail: Mapping[str, object]


@login_required
@require_safe
def activity(request: HttpRequest) -> HttpResponse:
    """The newest first, of one tenant; what is wanted stands in the address."""
    members = list(tenants.memberships_of(cast("User", request.user)))
    wanted = filters.said(request.GET, _FILTERS)
    member = next((each for each in members if wanted.get("tenant") in {None, each.tenant.slug}), None)
    if member is None and "tenant" in wanted:
        raise Http404
    try:
        before = place(request.GET.get("before", ""))
    except WrongFilter:
        before = None
    deeds, older, looked_to = _deeds(member, wanted, before) if member else ([], None, None)
    clients = {deed.client_id: deed.client for deed in deeds if deed.client_id}
    if "client" in wanted:
        clients.setdefault(wanted["client"], wanted["client"])  # by its id: it may be somebody else's
    shown = {
        "member": member,
        "members": members,
        "deeds": deeds,
        "clients": sorted(clients.items(), key=lambda each: each[1].casefold()),
        "wanted": wanted,
        "narrowed": bool(wanted.keys() - {"tenant"}),
        "older": filters.onward(wanted, before=older),
        "looked_to": looked_to,
        "providers": providers.installed(member.tenant_id) if member else (),
    }
    return render(request, "activity/list.html", shown)


@login_required
@require_safe
def run(request: HttpRequest, tenant: str, run_id: str) -> HttpResponse:
    """One ask, and every step it took; somebody else's is not there."""
    user = cast("User", request.user)
    member = tenants.memberships_of(user).filter(tenant__slug=tenant).first()
    events = log.of_run(member.tenant_id, run_id) if member else []
    if member is None or not events or any(each.user_id != user.pk for each in events):
        raise Http404
    names = Names.of(member, events)
    shown = {"member": member, "deed": _asked(events, names), "run": run_id, "steps": _steps(events, names)}
    return render(request, "activity/run.html", shown)


def _deeds(
    member: Membership, wanted: Mapping[str, str], before: int | None
) -> tuple[list[Deed], int | None, datetime | None]:
    """What was done, where the older begins, and how far back was looked."""
    changes = wanted.get("changes") == "1"
    found = log.of_person(
        member.tenant_id,
        member.user_id,
        provider=wanted.get("provider", ""),
        client=wanted.get("client", ""),
        changes=changes,
        before=before,
    )
    runs = log.of_runs(member.tenant_id, {each.run_id for each in found.events if each.run_id})
    names = Names.of(member, [*found.events, *(each for events in runs.values() for each in events)])
    deeds: list[Deed] = []
    told: set[str] = set()
    for event in found.events:
        if len(deeds) == _A_PAGE:
            return deeds, event.seq + 1, None
        if not event.run_id:
            deeds.append(_single(event, names))
        elif event.run_id not in told:
            told.add(event.run_id)
            events = runs[event.run_id]
            newest = max(each.seq for each in events if _changes(each) or not changes)
            if before is None or newest < before:  # else the page before has told of it
                deeds.append(_asked(events, names))
    return deeds, found.before, found.looked_to


def _changes(event: AuditEvent) -> bool:
    return event.kind == EventKind.TOOL_INTENT and event.detail.get("effect") != _RANK[0]


def _single(event: AuditEvent, names: Names) -> Deed:
    return Deed(
        at=event.at,
        words=_WORDS.get(event.kind) or told(event.kind),
        provider=names.providers.get(event.provider, event.provider),
        account=names.account(event.connection_id),
        client=names.clients.get(event.client, ""),
        client_id=event.client,
    )


def _asked(events: Sequence[AuditEvent], names: Names) -> Deed:
    """One ask, in a sentence: the most that it did, and how it ended."""
    first, last = events[0], events[-1]
    calls = [each for each in events if each.kind == EventKind.TOOL_INTENT]
    done = {each.intent_id for each in events if each.kind == EventKind.TOOL_DONE}
    effects = [str(each.detail.get("effect", _RANK[0])) for each in calls if each.id in done]
    most = max((_RANK.index(each) for each in effects if each in _RANK), default=-1)
    verb = ("asked", "read from", "changed something in", "deleted something in")[most + 1]
    failed = [each for each in events if each.kind in {EventKind.ASK_DENIED, EventKind.TOOL_FAILED}]
    denied = next((each for each in failed if each.kind == EventKind.ASK_DENIED), None)
    code = str((denied or failed[-1]).detail.get("code", "")) if denied or (failed and not done) else ""
    account = next((each.connection_id for each in events if each.connection_id), None)
    return Deed(
        at=first.at,
        words=verb,
        provider=names.providers.get(first.provider, first.provider),
        account=names.account(account),
        client=names.clients.get(first.client, ""),
        client_id=first.client,
        outcome=in_words(code) if code else "",
        wrong=bool(code) and code not in UP_TO_THE_PERSON,
        run=first.run_id,
        calls=len(calls),
        seconds=(last.at - first.at).total_seconds() if len(events) > 1 else None,
    )


def _steps(events: Sequence[AuditEvent], names: Names) -> list[Step]:
    """An intent and its outcome are one step; the arguments are in the log only as a keyed hash, and not shown."""
    outcomes = {each.intent_id: each for each in events if each.intent_id}
    steps = []
    for each in events:
        if each.intent_id:
            continue
        ended = outcomes.get(each.id)
        failed = ended is not None and ended.kind == EventKind.TOOL_FAILED
        call, denied = each.kind == EventKind.TOOL_INTENT, each.kind == EventKind.ASK_DENIED
        code = str((ended or each).detail.get("code", ""))
        words = _CALLED.get(str(each.detail.get("effect")), "Called a tool") if call else _WORDS.get(each.kind, "Ended")
        outcome = ""
        if failed or denied:
            outcome = in_words(code)
        elif call and ended is None:
            outcome = "not known"
        steps.append(
            Step(
                at=each.at,
                words="Tried: " + words.lower() if failed else words,
                tool=each.tool if call else "",
                account=names.account(each.connection_id),
                outcome=outcome,
                wrong=failed or (denied and code not in UP_TO_THE_PERSON),
                detail=ended.detail if ended else {},
            )
        )
    return steps
