"""Logging in and out."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import cast

from csp.decorators import csp_update
from django.conf import settings
from django.contrib.auth import authenticate, login, logout
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from tenants import access, refusals
from tenants.models import User


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """The front door."""
    return redirect("connections" if request.user.is_authenticated else "login")


@require_http_methods(["GET", "HEAD", "POST"])
def login_page(request: HttpRequest) -> HttpResponse:
    """E-mail and password; afterwards on to `next` when that is one of our own pages."""
    onward = _onward(request)
    if request.method != "POST":
        return redirect(onward) if request.user.is_authenticated else _form(request, onward)
    email = request.POST.get("email", "").strip().lower()[:254]
    came_with = {"email": email, "address": refusals.address(request)}
    counters = [refusals.counter(f"login-failures:{kind}", value) for kind, value in came_with.items()]
    if any(refusals.many(counter, most=settings.LOGIN_FAILURES_PER_HOUR) for counter in counters):
        return _form(request, onward, "Too many attempts. Wait an hour, or ask your administrator.", email, status=429)
    user = authenticate(request, username=email, password=request.POST.get("password", "")[:4_096])
    if user is None:
        for counter in counters:
            refusals.count(counter)
        return _form(request, onward, "E-mail or password is not right. Try again.", email, status=401)
    login(request, user)
    access.confirm(request, now=datetime.now(UTC))
    return redirect(onward)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def confirm_page(request: HttpRequest) -> HttpResponse:
    """The password once more, before what a forgotten session must not do; then on to `next`."""
    onward, user = _onward(request), cast("User", request.user)
    if request.method != "POST":
        return _confirm_form(request, onward)
    counter = refusals.counter("confirm-failures", str(user.pk))
    if refusals.many(counter, most=settings.LOGIN_FAILURES_PER_HOUR):
        return _confirm_form(request, onward, "Too many attempts. Wait an hour.", status=429)
    if not user.check_password(request.POST.get("password", "")[:4_096]):
        refusals.count(counter)
        return _confirm_form(request, onward, "That is not the password. Try again.", status=401)
    access.confirm(request, now=datetime.now(UTC))
    return redirect(onward)


@require_POST
def logout_page(request: HttpRequest) -> HttpResponse:
    """End this session."""
    logout(request)
    return redirect("login")


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


def _onward(request: HttpRequest) -> str:
    wanted = request.POST.get("next") or request.GET.get("next") or ""
    path = wanted.partition("?")[0]  # only this decides where it leads, and the check refuses long queries
    ours = path.startswith("/") and url_has_allowed_host_and_scheme(path, allowed_hosts=None)
    return wanted if ours else settings.LOGIN_REDIRECT_URL


def _confirm_form(request: HttpRequest, onward: str, problem: str = "", status: int = 200) -> HttpResponse:
    return render(request, "registration/confirm.html", {"next": onward, "problem": problem}, status=status)


def _form(request: HttpRequest, onward: str, problem: str = "", email: str = "", status: int = 200) -> HttpResponse:
    letting_in = onward.startswith("/o/authorize/")
    shown = {"next": onward, "letting_in": letting_in, "problem": problem, "email": email}
    response = render(request, "registration/login.html", shown, status=status)
    if letting_in:
        # A request that cannot be granted leads from here straight back to its client.
        leaving = ["http:", "https:", *(f"{scheme}:" for scheme in settings.NATIVE_SCHEMES)]
        csp_update({"form-action": leaving})(lambda _: response)(request)
    return response
