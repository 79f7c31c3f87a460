"""One's own account: name, password, tenants, and the browsers one is logged in with."""

from __future__ import annotations

from datetime import UTC, datetime
from http import HTTPStatus
from typing import cast

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import update_session_auth_hash
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_POST, require_safe

from tenants import people, refusals, selectors, services, sessions
from tenants.models import Role, User
from tenants.second import factors
from tenants.services import Refused

_SHOWN = 50
"""Sessions; nobody looks through more."""


@login_required
@require_safe
def account(request: HttpRequest) -> HttpResponse:
    """All of it."""
    return _page(request)


@login_required
@require_POST
def rename(request: HttpRequest) -> HttpResponse:
    """What others read instead of the address."""
    try:
        services.rename(user=_user(request), name=request.POST.get("name", ""))
    except Refused as refused:
        return _page(request, problem=str(refused), about="name")
    messages.success(request, "Your name is changed.")
    return redirect("account")


@sensitive_post_parameters()
@login_required
@require_POST
def password(request: HttpRequest) -> HttpResponse:
    """Another password, for whoever knows the one there is; every other session ends."""
    user = _user(request)
    counter = refusals.counter("confirm-failures", str(user.pk))
    if refusals.many(counter, most=settings.LOGIN_FAILURES_PER_HOUR):
        problem, status = "Too many attempts. Wait an hour.", HTTPStatus.TOO_MANY_REQUESTS
        return _page(request, problem=problem, about="current", status=status)
    if not user.check_password(request.POST.get("current", "")[:4_096]):
        refusals.count(counter)
        return _page(request, problem="That is not your password. Try again.", about="current")
    wanted = request.POST.get("new", "")[:4_096]
    if wanted != request.POST.get("again", "")[:4_096]:
        return _page(request, problem="The two new passwords are not the same. Type both again.", about="again")
    try:
        services.set_password(user=user, password=wanted, by=user.pk)
    except Refused as refused:
        return _page(request, problem=str(refused), about="new")
    update_session_auth_hash(request, user)
    messages.success(request, "Your password is changed. You are logged in nowhere but here.")
    return redirect("account")


@login_required
@require_POST
def end(request: HttpRequest, key: str) -> HttpResponse:
    """End one session."""
    if services.end_sessions(user=_user(request), key=key):
        messages.success(request, "That browser is logged out.")
    return redirect("account")


@login_required
@require_POST
def end_others(request: HttpRequest) -> HttpResponse:
    """End every session but this one."""
    services.end_sessions(user=_user(request), but=sessions.mine(request))
    messages.success(request, "You are logged in nowhere but here.")
    return redirect("account")


def _page(
    request: HttpRequest, *, problem: str = "", about: str = "", status: HTTPStatus = HTTPStatus.UNPROCESSABLE_ENTITY
) -> HttpResponse:
    user, now = _user(request), datetime.now(UTC)
    shown = {
        "seats": [(seat, people.ROLES[Role(seat.role)]) for seat in selectors.memberships_of(user)],
        "here": sessions.mine(request),
        "browsers": list(sessions.sessions_of(user.pk, now=now)[:_SHOWN]),
        "problem": problem,
        "about": about,
        "name": request.POST.get("name", user.name),
        "factors": factors.owned_by(user),
    }
    return render(request, "account/account.html", shown, status=status if problem else HTTPStatus.OK)


def _user(request: HttpRequest) -> User:
    return cast("User", request.user)
