"""The pages of connecting: parse, one call, answer."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import cast
from urllib.parse import urlsplit
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from providers import selectors as providers
from tenants import selectors as tenants
from tenants.models import User
from vault import pages, selectors
from vault.models import Connection
from vault.services import connect
from vault.services import revoke as revoking
from vault.services.connect import Stop, Stopped


@login_required
@require_http_methods(["GET", "POST"])
def connect_page(request: HttpRequest, slug: str) -> HttpResponse:
    """Says who asks for what; the button starts the round trip. Without a link: a fresh one for this person."""
    user, now = _user(request), datetime.now(UTC)
    handle = request.GET.get("link", "")
    try:
        if not handle:
            return _fresh_link(request, slug, user=user, now=now)
        opening = connect.open_link(handle=handle, slug=slug, user=user, now=now)
        if request.method == "GET":
            host = urlsplit(opening.spec.oauth.authorize_url).netloc
            asking = tenants.client_name(opening.link.client)
            page = render(request, "connect/connect.html", {"opening": opening, "host": host, "asking": asking})
            return _may_leave_for(page, opening.spec.oauth.authorize_url)
        departure = connect.start(opening=opening, session_key=_session(request), now=now)
    except Stopped as stopped:
        return _stopped(request, stopped)
    response = HttpResponseRedirect(departure.url)
    response.set_cookie(
        settings.CONNECT_COOKIE_NAME,
        departure.browser,
        max_age=settings.CONNECT_LINK_S,
        secure=settings.HTTPS,
        httponly=True,
        samesite="Lax",
    )
    return response


@require_GET
def callback(request: HttpRequest, installation_id: UUID) -> HttpResponse:
    """The provider's answer. A browser without the session that began it learns nothing."""
    if not request.user.is_authenticated:
        return _stopped(request, Stopped(Stop.WRONG_BROWSER))
    try:
        arrival = connect.finish(
            installation_id=installation_id,
            answer={name: request.GET[name] for name in ("state", "code", "error", "iss") if name in request.GET},
            user=_user(request),
            session_key=_session(request),
            browser=request.COOKIES.get(settings.CONNECT_COOKIE_NAME, ""),
            now=datetime.now(UTC),
        )
    except Stopped as stopped:
        return _stopped(request, stopped)
    missing = pages.in_words(arrival.spec, arrival.missing)
    return render(request, "connect/connected.html", {"arrival": arrival, "missing": missing})


@login_required
@require_GET
def connections(request: HttpRequest) -> HttpResponse:
    """A person's accounts, and what else they could connect."""
    user = _user(request)
    rows = [(row, providers.spec_of(row.installation)) for row in selectors.of_user(user.pk)]
    mine = [{"row": row, "title": spec.title, "scopes": pages.in_words(spec, row.scopes)} for row, spec in rows]
    offered = [
        {"tenant": member.tenant, "installation": row, "spec": providers.spec_of(row)}
        for member in tenants.memberships_of(user)
        for row in providers.installations(member.tenant_id)
    ]
    return render(request, "connections/list.html", {"mine": mine, "offered": offered})


@login_required
@require_POST
def disconnect(request: HttpRequest, connection_id: UUID) -> HttpResponse:
    """End one of one's own connections, here and at the provider."""
    user = _user(request)
    row = selectors.of_user(user.pk).filter(pk=connection_id).first()
    if row is None:
        raise Http404
    if revoking.disconnect(connection=row, by=user.pk):
        messages.success(request, f"{_title(row)} is disconnected, and its access is revoked there.")
    else:
        messages.warning(
            request, f"{_title(row)} is no longer used here. Revoking its access there did not work yet; try again."
        )
    return redirect("connections")


def _fresh_link(request: HttpRequest, slug: str, *, user: User, now: datetime) -> HttpResponse:
    wanted = request.GET.get("tenant")
    members = [m for m in tenants.memberships_of(user) if wanted in {None, m.tenant.slug}]
    found = [row for m in members if (row := providers.installation(m.tenant_id, slug)) is not None]
    if len(found) != 1:
        raise Stopped(Stop.UNKNOWN)
    spec = providers.spec_of(found[0])
    url = connect.offer(
        tenant_id=found[0].tenant_id,
        user_id=user.pk,
        installation_id=found[0].pk,
        slug=slug,
        scopes=spec.oauth.scopes,
        client="",
        now=now,
    )
    return redirect(url)


def _may_leave_for(page: HttpResponse, url: str) -> HttpResponse:
    """Let this page's form be redirected to the provider, and on from there to wherever people log in to it.

    Browsers hold every redirect to `form-action`; which hosts a company's single sign-on uses, we cannot know.
    """
    parts = urlsplit(url)
    page._csp_update = {"form-action": [f"{parts.scheme}://{parts.netloc}", "https:"]}  # type: ignore[attr-defined]  # noqa: SLF001 - what csp_update sets, per answer
    return page


def _stopped(request: HttpRequest, stopped: Stopped) -> HttpResponse:
    page = pages.page_of(stopped)
    return render(
        request,
        "connect/stopped.html",
        {"why": stopped.why.value, "spec": stopped.spec, "page": page},
        status=page.status,
    )


def _title(row: Connection) -> str:
    return providers.spec_of(row.installation).title


def _user(request: HttpRequest) -> User:
    return cast("User", request.user)


def _session(request: HttpRequest) -> str:
    return request.session.session_key or ""
