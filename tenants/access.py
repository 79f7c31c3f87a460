"""Who may open the pages of a tenant, and when they say their password once more."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import update_wrapper
from typing import Concatenate, ParamSpec, cast
from urllib.parse import urlencode

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse

from tenants import selectors as tenants
from tenants.models import Membership, Role, User

LOOK = frozenset({Role.AUDITOR, Role.ADMIN, Role.OWNER})
"""Who may see what is done in a tenant."""
RUN = frozenset({Role.ADMIN, Role.OWNER})
"""Who may change what it exports, and to whom."""
OWN = frozenset({Role.OWNER})
"""Who may change who these are."""

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, Membership, P], HttpResponseBase]
Page = Callable[..., HttpResponseBase]
_CONFIRMED = "confirmed_at"

SECTIONS = (
    ("console", "Overview", LOOK),
    ("console_exports", "Providers", LOOK),
    ("console_members", "Members", LOOK),
    ("console_connections", "Connections", LOOK),
    ("console_clients", "Clients", LOOK),
    ("console_keys", "Keys", LOOK),
    ("console_policies", "Policies", RUN),
    ("console_try", "Try it", LOOK),
    ("console_audit", "Audit log", LOOK),
    ("console_settings", "Settings", RUN),
)
"""The console's parts: the name of each one's first page, what it is called, and who may open it."""


def open_to(roles: frozenset[Role]) -> Callable[[View[P]], Page]:
    """A page at `…/{tenant}/…` for its members of these roles: the view is given the membership for the slug.

    Whoever is not one learns nothing: a tenant that is not there looks the same.
    """

    def decorate(view: View[P]) -> Page:
        def page(request: HttpRequest, tenant: str, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
            mine = tenants.memberships_of(cast("User", request.user)).filter(tenant__slug=tenant, role__in=roles)
            member = mine.first()
            if member is None:
                raise Http404
            return view(request, member, *args, **kwargs)

        update_wrapper(page, view)
        return login_required(page)

    return decorate


def shown(
    request: HttpRequest, member: Membership, template: str, context: dict[str, object], *, status: int = 200
) -> HttpResponse:
    """A page of the console, inside its frame; `within`: the address whose part of the console it belongs to."""
    slug, path = member.tenant.slug, str(context.get("within", request.path))
    parts = [(reverse(name, args=[slug]), title) for name, title, roles in SECTIONS if member.role in roles]
    here = max((url for url, _ in parts if path.startswith(url)), key=len, default="")
    sections = [{"url": url, "title": title, "here": url == here} for url, title in parts]
    frame = {"member": member, "tenant": member.tenant, "sections": sections, "runs": member.role in RUN}
    return render(request, template, {**frame, **context}, status=status)


def consoles(request: HttpRequest) -> dict[str, object]:
    """For every page: where this person may look, asked only when the page shows it."""

    def mine() -> list[Membership]:
        if not request.user.is_authenticated:
            return []
        return list(tenants.memberships_of(request.user).filter(role__in=LOOK))

    return {"consoles": mine}


# --- The recent password


def confirm(request: HttpRequest, *, now: datetime) -> None:
    """This person has just said their password."""
    request.session[_CONFIRMED] = now.timestamp()


def confirmed(request: HttpRequest, *, now: datetime) -> bool:
    """Whether they have, a little while ago."""
    said = request.session.get(_CONFIRMED)
    return isinstance(said, float) and 0 <= now.timestamp() - said < settings.CONFIRM_S


def weighty(view: View[P]) -> View[P]:
    """A page that shows or takes what a forgotten session must not: it wants a recent password first.

    What was sent to it is not kept: the page itself asks before it shows its form.
    """

    def page(request: HttpRequest, member: Membership, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        if confirmed(request, now=datetime.now(UTC)):
            return view(request, member, *args, **kwargs)
        return ask_again(request)

    update_wrapper(page, view)
    return page


def recently(view: Page) -> Page:
    """The same for a page of somebody's own, which is no tenant's."""

    def page(request: HttpRequest, *args: object, **kwargs: object) -> HttpResponseBase:
        if confirmed(request, now=datetime.now(UTC)):
            return view(request, *args, **kwargs)
        return ask_again(request)

    update_wrapper(page, view)
    return login_required(page)


def ask_again(request: HttpRequest) -> HttpResponse:
    """To the page that asks for the password, and from there back here."""
    onward = request.get_full_path() if request.method == "GET" else request.path
    return redirect(f"{reverse('confirm')}?{urlencode({'next': onward})}")
