"""The page an invitation leads to: who invites to what, and one button; for somebody new, a password first."""

from __future__ import annotations

from datetime import UTC, datetime
from http import HTTPStatus
from typing import cast
from urllib.parse import urlencode

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import authenticate
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from tenants import invitations, people, refusals
from tenants.models import Invitation, Role, User
from tenants.second import door
from tenants.services import Refused


@sensitive_post_parameters()
@require_http_methods(["GET", "HEAD", "POST"])
def invitation(request: HttpRequest, handle: str) -> HttpResponse:
    """Accept it, as the person it was made for. What leads nowhere always looks the same."""
    counter, now = refusals.counter("invitation-failures", refusals.address(request)), datetime.now(UTC)
    if refusals.many(counter, most=settings.LOGIN_FAILURES_PER_HOUR):
        return _stopped(request, "many", HTTPStatus.TOO_MANY_REQUESTS)
    try:
        row = invitations.opened(handle=handle, now=now)
        if request.user.is_authenticated:
            return _accept(request, row, handle, now)
        if invitations.is_known(row):
            return redirect(f"{reverse('login')}?{urlencode({'next': request.path})}")
        return _join(request, row, handle, now)
    except invitations.Over:
        refusals.count(counter)
        return _stopped(request, "over", HTTPStatus.NOT_FOUND)
    except invitations.ForAnother:
        return _stopped(request, "another", HTTPStatus.FORBIDDEN)
    except invitations.Known:
        return redirect(request.path)


def _accept(request: HttpRequest, row: Invitation, handle: str, now: datetime) -> HttpResponse:
    """Raises: Over, ForAnother."""
    user = cast("User", request.user)
    if user.email != row.email:
        raise invitations.ForAnother
    if request.method != "POST":
        return _page(request, row)
    member = invitations.accept(handle=handle, user=user, now=now)
    messages.success(request, f"You are now in {row.tenant.name} as {member.role}.")
    return redirect("connections")


def _join(request: HttpRequest, row: Invitation, handle: str, now: datetime) -> HttpResponse:
    """Raises: Over, Known."""
    if request.method != "POST":
        return _page(request, row)
    password = request.POST.get("password", "")[:4_096]
    if password != request.POST.get("again", "")[:4_096]:
        return _page(request, row, problem="The two passwords are not the same. Type both again.")
    try:
        user = invitations.join(handle=handle, name=request.POST.get("name", ""), password=password, now=now)
    except Refused as refused:
        return _page(request, row, problem=str(refused))
    messages.success(request, f"Welcome. You are in {row.tenant.name} as {row.role}.")
    known = cast("User", authenticate(request, username=user.email, password=password))
    return door.let_in(request, known, reverse("connections"))


def _page(request: HttpRequest, row: Invitation, *, problem: str = "") -> HttpResponse:
    shown = {
        "invitation": row,
        "words": people.ROLES[Role(row.role)],
        "problem": problem,
        "name": request.POST.get("name", ""),
    }
    status = HTTPStatus.UNPROCESSABLE_ENTITY if problem else HTTPStatus.OK
    return render(request, "invitation/invitation.html", shown, status=status)


def _stopped(request: HttpRequest, why: str, status: HTTPStatus) -> HttpResponse:
    return render(request, "invitation/stopped.html", {"why": why}, status=status)
