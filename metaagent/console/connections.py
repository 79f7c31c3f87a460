"""Every connection of a tenant: whose account at which provider, how it is, and ending it. Never a token."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect
from django.views.decorators.http import require_http_methods, require_safe

from metaagent.console import filters
from providers import selectors as providers
from tenants import access
from tenants.keyset import A_PAGE
from tenants.models import Membership
from vault import register, selectors
from vault.selectors import Sought
from vault.services import revoke

_STATUSES = {
    "ready": "Ready",
    "needs_auth": "Needs attention",
    "revoking": "Disconnecting",
    "revoked": "Disconnected",
}
_COUNTED = {**{status: words.lower() for status, words in _STATUSES.items()}, "needs_auth": "in need of attention"}


@require_safe
@access.open_to(access.LOOK)
def connections(request: HttpRequest, member: Membership) -> HttpResponse:
    """The last connected first; what is looked for stands in the address."""
    query = filters.said(request.GET, ("q", "provider", "person", "status", "shared"))
    sought = _sought(query)
    found = selectors.found(member.tenant_id, sought, after=request.GET.get("after", ""))
    counts = selectors.by_status(member.tenant_id)
    context = {
        "lines": [register.line(row) for row in found.rows],
        "sought": sought,
        "narrowed": bool(query),
        "older": filters.onward(query, after=found.after),
        "total": sum(counts.values()),
        "counts": [(status, words, counts[status]) for status, words in _COUNTED.items() if status in counts],
        "statuses": _STATUSES.items(),
        "providers": providers.installed(member.tenant_id),
    }
    return access.shown(request, member, "console/connections.html", context)


@require_safe
@access.open_to(access.LOOK)
def connection(request: HttpRequest, member: Membership, connection_id: UUID) -> HttpResponse:
    """One of them, with everything that is known of it."""
    [line] = _of(member, [connection_id])
    context: dict[str, object] = {
        "line": line,
        "renewed_at": selectors.renewed_at(line.row),
        "waiting": selectors.waiting(member.tenant_id, only=connection_id).get(connection_id),
    }
    return access.shown(request, member, "console/connection.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@access.open_to(access.RUN)
def disconnect(request: HttpRequest, member: Membership) -> HttpResponse:
    """Says what will happen to those that were ticked; the button does it."""
    given = request.POST if request.method == "POST" else request.GET
    lines = _of(member, _ids(given))
    if request.method != "POST" or not lines:
        alive = [line for line in lines if line.alive]
        context = {"lines": alive, "others": len(lines) - len(alive)}
        return access.shown(request, member, "console/disconnect.html", context)
    if len(lines) == 1:
        row = lines[0].row
        done = revoke.disconnect(connection=row, by=member.user_id)
        (messages.success if done else messages.warning)(request, revoke.in_words(row))
        return redirect("console_connection", member.tenant.slug, row.pk)
    chosen = selectors.of_tenant(member.tenant_id).filter(pk__in=[line.row.pk for line in lines])
    ended = revoke.disconnect_all(connections=chosen, by=member.user_id, now=datetime.now(UTC))
    (messages.warning if ended.pending else messages.success)(request, revoke.all_in_words(ended))
    return redirect("console_connections", member.tenant.slug)


def _sought(query: Mapping[str, str]) -> Sought:
    """What the address says, as far as it can be looked for."""
    status = query.get("status", "")
    return Sought(
        like=query.get("q", ""),
        provider=query.get("provider", ""),
        person=query.get("person", ""),
        status=status if status in _STATUSES else "",
        shared=query.get("shared") == "1",
    )


def _ids(given: QueryDict) -> list[UUID]:
    """Raises: Http404 for what is no id, and for more than a page of them."""
    try:
        found = [UUID(text) for text in dict.fromkeys(given.getlist("id"))]
    except ValueError:
        raise Http404 from None
    if len(found) > A_PAGE:
        raise Http404
    return found


def _of(member: Membership, ids: Iterable[UUID]) -> list[register.Line]:
    """All of these, each of this tenant. Raises: Http404."""
    wanted = set(ids)
    rows = list(selectors.of_tenant(member.tenant_id).filter(pk__in=wanted))
    if len(rows) != len(wanted):
        raise Http404
    return [register.line(row) for row in rows]
