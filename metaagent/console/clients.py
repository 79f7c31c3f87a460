"""The programs that act in the name of a tenant's people: MCP clients they have let in, and keys they have made."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST, require_safe

from metaagent.console import filters
from providers import selectors as providers
from tenants import access
from tenants import services as tenants
from tenants.keyset import part
from tenants.models import Membership
from tenants.oauth import apps_page, selectors, services


@require_safe
@access.open_to(access.LOOK)
def clients(request: HttpRequest, member: Membership) -> HttpResponse:
    """Who has let which client in, the newest first."""
    given, now = request.GET, datetime.now(UTC)
    query, client_id = filters.said(given, ("q", "person", "client")), _number(given.get("client", ""))
    rows = selectors.grants_in(
        member.tenant_id, now=now, person=query.get("person", ""), like=query.get("q", ""), client_id=client_id
    )
    found = part(rows, by="created_at", after=given.get("after", ""))
    base = f"{settings.PUBLIC_URL}/mcp/{member.tenant.slug}"
    titles = {f"{base}/{row.slug}": providers.title_of(row) for row in providers.installed(member.tenant_id)}
    apps = [apps_page.app(grant, titles) for grant in found.rows]
    context = {
        "apps": apps,
        "base": base,
        "only": apps[0] if client_id is not None and apps else None,
        "people": rows.values("membership_id").distinct().count() if client_id is not None else 0,
        **_listed(query, found.after),
    }
    return access.shown(request, member, "console/clients.html", context)


@require_safe
@access.open_to(access.LOOK)
def client_keys(request: HttpRequest, member: Membership) -> HttpResponse:
    """The keys of programs that run without a person, the newest first."""
    query = filters.said(request.GET, ("person",))
    rows = selectors.keys_in(member.tenant_id, now=datetime.now(UTC), person=query.get("person", ""))
    found = part(rows, by="created_at", after=request.GET.get("after", ""))
    return access.shown(
        request, member, "console/client_keys.html", {"keys": found.rows, **_listed(query, found.after)}
    )


@require_POST
@access.open_to(access.RUN)
def end_client(request: HttpRequest, member: Membership) -> HttpResponse:
    """Shut a client out: for one person (`grant`), or for everybody (`client`). Raises: Http404."""
    now = datetime.now(UTC)
    if client_id := _number(request.POST.get("client", "")):
        count = services.end_everywhere(
            tenant_id=member.tenant_id, client_id=client_id, reason="administrator", by=member.user_id, now=now
        )
        if not count:
            raise Http404
        messages.success(request, f"The client is shut out for everybody ({count}). Its next call is refused.")
        return redirect("console_clients", member.tenant.slug)
    grants = selectors.grants_in(member.tenant_id, now=now).select_related("membership")
    grant = grants.filter(pk=_id(request.POST.get("grant", ""))).first()
    if grant is None:
        raise Http404
    services.end(grant=grant, reason="administrator", by=member.user_id, now=now)
    messages.success(request, f"The client is shut out for {grant.membership.user.email}. Its next call is refused.")
    return redirect("console_clients", member.tenant.slug)


@require_POST
@access.open_to(access.RUN)
def end_key(request: HttpRequest, member: Membership) -> HttpResponse:
    """End somebody's client key. Raises: Http404."""
    now = datetime.now(UTC)
    key = selectors.keys_in(member.tenant_id, now=now).filter(pk=_id(request.POST.get("key", ""))).first()
    if key is None:
        raise Http404
    tenants.revoke_client_key(key=key, now=now, by=member.user_id)
    messages.success(request, f"The key {key.prefix}… is ended. The next call with it is refused.")
    return redirect("console_client_keys", member.tenant.slug)


def _listed(query: Mapping[str, str], after: str) -> dict[str, object]:
    return {"sought": query, "narrowed": bool(query), "older": filters.onward(query, after=after)}


def _number(text: str) -> int | None:
    """A client's own number, if it is one that the database could hold."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 18 else None  # noqa: PLR2004 - 64 bits


def _id(text: str) -> UUID:
    """Raises: Http404."""
    try:
        return UUID(text)
    except ValueError:
        raise Http404 from None
