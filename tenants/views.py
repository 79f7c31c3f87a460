"""Logging in and out."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import cast
from urllib.parse import urlencode

from django.conf import settings
from django.contrib.auth import authenticate, logout
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from tenants import access, refusals, services, single
from tenants.models import User
from tenants.onward import letting_in, may_leave, ours, wanted
from tenants.second import again, door, factors


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """The front door."""
    return redirect("connections" if request.user.is_authenticated else "login")


@require_http_methods(["GET", "HEAD", "POST"])
def login_page(request: HttpRequest) -> HttpResponse:
    """E-mail and password; afterwards on to `next` when that is one of our own pages."""
    onward = wanted(request)
    if request.method != "POST":
        return redirect(onward) if request.user.is_authenticated else _form(request, onward)
    email = request.POST.get("email", "").replace("\0", "").strip().lower()[:254]
    came_with = {"email": email, "address": refusals.address(request)}
    counters = [refusals.counter(f"login-failures:{kind}", value) for kind, value in came_with.items()]
    if any(refusals.many(counter, most=settings.LOGIN_FAILURES_PER_HOUR) for counter in counters):
        return _form(request, onward, "Too many attempts. Wait an hour, or ask your administrator.", email, status=429)
    user = authenticate(request, username=email, password=request.POST.get("password", "")[:4_096])
    if user is None:
        for counter in counters:
            refusals.count(counter)
        response = _form(request, onward, "E-mail or password is not right. Try again.", email, status=401)
        # When it is on its way, so that the time it takes does not tell whether there is such a person.
        response._resource_closers.append(partial(services.refuse_log_in, email=email, address=came_with["address"]))  # type: ignore[attr-defined]  # noqa: SLF001 - Django's way to do something afterwards
        return response
    return door.let_in(request, user, onward)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def confirm_page(request: HttpRequest) -> HttpResponse:
    """The password once more, or what stands for it, before what a forgotten session must not do; then on to `next`."""
    onward, user = wanted(request), cast("User", request.user)
    if request.method != "POST":
        return _confirm_form(request, onward)
    counter = refusals.counter("confirm-failures", str(user.pk))
    if refusals.many(counter, most=settings.LOGIN_FAILURES_PER_HOUR):
        return _confirm_form(request, onward, "Too many attempts. Wait an hour.", status=429)
    if not again.right(request, user):
        refusals.count(counter)
        return _confirm_form(request, onward, "That is not right. Try again.", status=401)
    access.confirm(request, now=datetime.now(UTC))
    return redirect(onward)


@require_POST
def logout_page(request: HttpRequest) -> HttpResponse:
    """End this session; with `next`, to go on there as somebody else."""
    logout(request)
    onward = request.POST.get("next", "")
    return redirect(f"{reverse('login')}?{urlencode({'next': onward})}" if ours(onward) else "login")


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:  # noqa: ARG001 - Django's signature
    """A form that did not come from our own page, or from one that is too old."""
    sentence = "This form is too old or came from elsewhere. Go back, reload the page and try again."
    return render(request, "error.html", {"title": "Please try again", "sentence": sentence}, status=403)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:  # noqa: ARG001 - Django's signature
    """A request that is none: too many fields, a host that is not ours, another encoding."""
    sentence = "Your browser sent something that cannot be read. Go back, reload the page and try again."
    return render(request, "error.html", {"title": "That did not arrive", "sentence": sentence}, status=400)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:  # noqa: ARG001 - Django's signature
    """Nothing here, or nothing for this person."""
    sentence = "There is nothing at this address, or nothing for you."
    return render(request, "error.html", {"title": "Not found", "sentence": sentence}, status=404)


def server_error(request: HttpRequest) -> HttpResponse:  # noqa: ARG001 - Django's signature
    """Our own fault."""
    sentence = "This is our fault, not yours. Try again; if it stays, tell your administrator when it happened."
    # Without the request no context processor runs: what failed may be the session or the database itself.
    return HttpResponse(
        render_to_string("error.html", {"title": "Something went wrong", "sentence": sentence}), status=500
    )


def _confirm_form(request: HttpRequest, onward: str, problem: str = "", status: int = 200) -> HttpResponse:
    shown = {"next": onward, "problem": problem, **again.ways(cast("User", request.user))}
    return may_leave(request, render(request, "registration/confirm.html", shown, status=status), "")


def _form(request: HttpRequest, onward: str, problem: str = "", email: str = "", status: int = 200) -> HttpResponse:
    shown = {
        "next": onward,
        "letting_in": letting_in(onward),
        "problem": problem,
        "email": email,
        "passkeys": factors.any_passkeys(),
        "single": single.offered(),
    }
    return may_leave(request, render(request, "registration/login.html", shown, status=status), onward)
