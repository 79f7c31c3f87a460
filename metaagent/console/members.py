"""Who is in a tenant as what, and who is invited."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from http import HTTPStatus
from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_http_methods, require_safe

from metaagent.console import filters
from tenants import access, invitations, keyset, people, services
from tenants.models import Invitation, Membership, Role
from tenants.services import Refused
from vault.services import leave
from vault.services.revoke import all_in_words


@dataclass(frozen=True, slots=True)
class Seat:
    """One member, as the page shows them."""

    row: Membership
    asked: date | None
    """When they last asked anything here."""
    mine: bool
    """Whether the one who looks may change it."""


@require_safe
@access.open_to(access.LOOK)
def members(request: HttpRequest, member: Membership) -> HttpResponse:
    """Everybody, in the order of their addresses."""
    query = filters.said(request.GET, ("q", "role"))
    like, role = query.get("q", ""), query.get("role", "")
    role = role if role in Role.values else ""
    found = people.members(member.tenant_id, like=like, role=role, after=request.GET.get("after", ""))
    rows = list(found[: keyset.A_PAGE + 1])
    asked = people.last_asked(member.tenant_id, [row.user_id for row in rows])
    after = rows[keyset.A_PAGE - 1].user.email if len(rows) > keyset.A_PAGE else ""
    shown = {
        "seats": [Seat(row, asked.get(row.user_id), _may_change(member, row)) for row in rows[: keyset.A_PAGE]],
        "q": like,
        "role": role,
        "roles": Role.values,
        "narrowed": bool(query),
        "older": filters.onward(query, after=after),
        "waiting": invitations.open_invitations(member.tenant_id).count(),
    }
    return access.shown(request, member, "console/members.html", shown)


@require_http_methods(["GET", "HEAD", "POST"])
@access.open_to(access.RUN)
@access.weighty
def one(request: HttpRequest, member: Membership, membership_id: UUID) -> HttpResponse:
    """Give somebody another role, or take them out."""
    row = people.members(member.tenant_id).filter(pk=membership_id).first()
    if row is None or not _may_change(member, row):
        raise Http404
    if request.method != "POST":
        return _one(request, member, row)
    try:
        if request.POST.get("op") == "remove":
            ended = leave.remove_member(membership=row, by=member.user_id, now=datetime.now(UTC))
            messages.success(request, f"{row.user.email} is no longer in {member.tenant.name}. {all_in_words(ended)}")
        else:
            changed = services.change_role(membership=row, role=request.POST.get("role", ""), by=member.user_id)
            messages.success(request, f"{row.user.email} is {changed.role} from now on.")
    except Refused as refused:
        return _one(request, member, row, problem=str(refused))
    return redirect("console_members", member.tenant.slug)


@require_http_methods(["GET", "HEAD", "POST"])
@access.open_to(access.RUN)
@access.weighty
def invite(request: HttpRequest, member: Membership) -> HttpResponse:
    """Make a link for somebody, and show it this once."""
    if request.method != "POST":
        return _invite(request, member)
    email, role = request.POST.get("email", ""), request.POST.get("role", "")
    now = datetime.now(UTC)
    try:
        row, link = invitations.invite(tenant=member.tenant, email=email, role=role, by=member.user_id, now=now)
    except Refused as refused:
        return _invite(request, member, problem=str(refused))
    return access.shown(request, member, "console/invited.html", {"row": row, "link": link})


@require_safe
@access.open_to(access.LOOK)
def invited(request: HttpRequest, member: Membership) -> HttpResponse:
    """Who is invited and has not come yet."""
    found = keyset.part(
        invitations.open_invitations(member.tenant_id), by="created_at", after=request.GET.get("after", "")
    )
    now = datetime.now(UTC)
    rows = [(row, row.expires_at <= now, people.may_give(member.role, None, row.role)) for row in found.rows]
    shown: dict[str, object] = {"rows": rows, "older": filters.onward({}, after=found.after)}
    return access.shown(request, member, "console/invitations.html", shown)


@require_http_methods(["GET", "HEAD", "POST"])
@access.open_to(access.RUN)
@access.weighty
def invitation(request: HttpRequest, member: Membership, invitation_id: UUID) -> HttpResponse:
    """A new link in place of the old one, or none any more."""
    row = invitations.open_invitations(member.tenant_id).filter(pk=invitation_id).first()
    if row is None or not people.may_give(member.role, None, row.role):
        raise Http404
    now = datetime.now(UTC)
    if request.method != "POST":
        shown = {"row": row, "over": row.expires_at <= now}
        return access.shown(request, member, "console/invitation.html", shown)
    try:
        if request.POST.get("op") == "renew":
            return _renewed(request, member, row, now)
        invitations.withdraw(invitation=row, by=member.user_id, now=now)
        messages.success(request, f"The invitation of {row.email} is withdrawn. Its link leads nowhere any more.")
    except Refused as refused:
        messages.error(request, str(refused))
    return redirect("console_invitations", member.tenant.slug)


def _renewed(request: HttpRequest, member: Membership, row: Invitation, now: datetime) -> HttpResponse:
    """Raises: Refused."""
    link = invitations.renew(invitation=row, by=member.user_id, now=now)
    row.refresh_from_db()
    return access.shown(request, member, "console/invited.html", {"row": row, "link": link, "renewed": True})


def _may_change(member: Membership, row: Membership) -> bool:
    return row.pk != member.pk and people.may_give(member.role, row.role, None)


def _one(request: HttpRequest, member: Membership, row: Membership, *, problem: str = "") -> HttpResponse:
    shown = {
        "row": row,
        "roles": people.givable(member.role, row.role),
        "chosen": request.POST.get("role", row.role),
        "problem": problem,
    }
    return access.shown(request, member, "console/member.html", shown, status=_status(problem))


def _invite(request: HttpRequest, member: Membership, *, problem: str = "") -> HttpResponse:
    shown: dict[str, object] = {
        "roles": people.givable(member.role, None),
        "email": request.POST.get("email", ""),
        "chosen": request.POST.get("role", Role.MEMBER),
        "problem": problem,
    }
    return access.shown(request, member, "console/invite.html", shown, status=_status(problem))


def _status(problem: str) -> int:
    return HTTPStatus.UNPROCESSABLE_ENTITY if problem else HTTPStatus.OK
