"""Connected apps: what a person lets clients do, and the keys they gave out; each can be ended here, at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from tenants import services as tenants
from tenants.models import ClientKey, User
from tenants.oauth import policy, selectors, services
from tenants.oauth.authorize import endpoints_of, publisher
from tenants.oauth.models import ClientGrant


@dataclass(frozen=True, slots=True)
class App:
    """A client that was let in, for its owner to look at."""

    grant: ClientGrant
    name: str
    publisher: str
    title: str
    """Of what it may use: a provider, or every one of the tenant's."""
    scopes: list[str]


@login_required
@require_safe
def apps(request: HttpRequest) -> HttpResponse:
    """Everything that may call in this person's name."""
    user, now = cast("User", request.user), timezone.now()
    titles = {endpoint.url: endpoint.title for endpoint in endpoints_of(user)}
    shown = {
        "apps": [_app(grant, titles) for grant in selectors.grants_of(user, now=now)],
        "keys": selectors.keys_of(user, now=now),
        "endpoints": list(titles),
    }
    return render(request, "o/apps.html", shown)


def _app(grant: ClientGrant, titles: dict[str, str]) -> App:
    found = policy.resource_path(grant.resource, public_url=settings.PUBLIC_URL)
    provider = (found[1] if found else None) or ""
    words = [settings.MCP_SCOPES[scope] for scope in grant.scope.split() if scope in settings.MCP_SCOPES]
    return App(
        grant,
        policy.inert(grant.client.name),
        publisher(grant.client),
        titles.get(grant.resource) or provider or "Every provider",
        words,
    )


@login_required
@require_POST
def end_grant(request: HttpRequest, grant_id: UUID) -> HttpResponse:
    """Shut a client out."""
    user = cast("User", request.user)
    grant = get_object_or_404(ClientGrant.objects.select_related("membership"), pk=grant_id, membership__user=user)
    services.end(grant=grant, reason="person", by=user.pk, now=timezone.now())
    messages.success(request, "The client is shut out. Its next call is refused.")
    return redirect("oauth2_provider:apps")


@login_required
@require_POST
def end_key(request: HttpRequest, key_id: UUID) -> HttpResponse:
    """End a client key."""
    user = cast("User", request.user)
    key = get_object_or_404(ClientKey.objects.select_related("membership"), pk=key_id, membership__user=user)
    if key.revoked_at is None:
        tenants.revoke_client_key(key=key, now=timezone.now(), by=user.pk)
    messages.success(request, f"The key {key.prefix}… is ended. The next call with it is refused.")
    return redirect("oauth2_provider:apps")
