"""What a tenant is called, what its clients are to be told, and closing it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime

from django.conf import settings as deployment
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_http_methods

from providers import selectors as providers
from tenants import access
from tenants import selectors as tenants
from tenants.models import Membership
from tenants.services import Refused, rename_tenant
from vault import selectors as vault
from vault.services import leave, revoke


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address that clients of this tenant can be given."""

    slug: str
    """The provider's; empty for all of them."""
    title: str
    url: str


@dataclass(frozen=True, slots=True)
class Snippet:
    """What to do in one client, and what to paste there."""

    client: str
    where: str
    text: str


@require_http_methods(["GET", "HEAD", "POST"])
@access.open_to(access.RUN)
def settings(request: HttpRequest, member: Membership) -> HttpResponse:
    """The tenant's name, its facts, and what to paste into clients."""
    tenant, name, problem = member.tenant, member.tenant.name, ""
    if request.method == "POST":
        name = request.POST.get("name", "")[:1_000]
        try:
            rename_tenant(tenant=tenant, name=name, by=member.user_id)
        except Refused as refused:
            problem = str(refused)
        else:
            messages.success(request, "Saved.")
            return redirect("console_settings", tenant.slug)
    endpoints = _endpoints(member)
    wanted = request.GET.get("endpoint", "")
    chosen = next((each for each in endpoints if each.slug == wanted), endpoints[0])
    context = {
        "name": name,
        "problem": problem,
        "endpoints": endpoints,
        "chosen": chosen,
        "snippets": _snippets(chosen, tenant.slug),
        "members": tenants.memberships(tenant.pk).count(),
        "connections": _used(member),
        "owns": member.role in access.OWN,
    }
    return access.shown(request, member, "console/settings.html", context, status=422 if problem else 200)


@require_http_methods(["GET", "HEAD", "POST"])
@access.open_to(access.OWN)
@access.weighty
def close(request: HttpRequest, member: Membership) -> HttpResponse:
    """Says what will happen; the slug, typed, and the button do it."""
    tenant, problem = member.tenant, ""
    if request.method == "POST":
        if request.POST.get("slug", "").strip() == tenant.slug:
            ended = leave.remove_tenant(tenant=tenant, by=member.user_id, now=datetime.now(UTC))
            messages.success(request, f"{tenant.name} is closed. {revoke.all_in_words(ended)}")
            return redirect("home")
        problem = f"That is not the short name. Type {tenant.slug} to close it."
    context = {"problem": problem, "connections": _used(member), "members": tenants.memberships(tenant.pk).count()}
    return access.shown(request, member, "console/close.html", context, status=422 if problem else 200)


def _used(member: Membership) -> int:
    """How many connections there are that are not ended."""
    counts = vault.by_status(member.tenant_id)
    return sum(count for status, count in counts.items() if status not in {"revoking", "revoked"})


def _endpoints(member: Membership) -> list[Endpoint]:
    base = f"{deployment.PUBLIC_URL}/mcp/{member.tenant.slug}"
    each = [
        Endpoint(row.slug, providers.title_of(row), f"{base}/{row.slug}")
        for row in providers.installations(member.tenant_id)
    ]
    return [Endpoint("", "Every provider", base), *each]


def _snippets(endpoint: Endpoint, tenant: str) -> list[Snippet]:
    """As docs/clients.md has them, with this endpoint in them."""
    name, url = endpoint.slug or tenant, endpoint.url
    return [
        Snippet("Claude, ChatGPT and others", "Add a custom connector, and paste its address.", url),
        Snippet(
            "Claude Code",
            "In a terminal; then /mcp, and Authenticate.",
            f"claude mcp add --transport http {name} {url}",
        ),
        Snippet(
            "Cursor", "In ~/.cursor/mcp.json; then choose Needs login.", _json({"mcpServers": {name: {"url": url}}})
        ),
        Snippet(
            "VS Code",
            "In .vscode/mcp.json; then start the server.",
            _json({"servers": {name: {"type": "http", "url": url}}}),
        ),
        Snippet(
            "Clients that only start programs",
            "In their list of servers.",
            _json({"mcpServers": {name: {"command": "npx", "args": ["mcp-remote", url]}}}),
        ),
    ]


def _json(document: object) -> str:
    return json.dumps(document, indent=2)
