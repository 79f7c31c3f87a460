"""Connected apps: what a person lets clients do, and the keys they gave out; each can be ended here, at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from tenants import access
from tenants import selectors as people
from tenants import services as tenants
from tenants.models import ClientKey, Membership, User
from tenants.oauth import policy, selectors, services
from tenants.oauth.authorize import endpoints_of, publisher
from tenants.oauth.models import ClientGrant

_THEIRS = {"mcp": "asks in their name", "offline_access": "stays signed in"}


@dataclass(frozen=True, slots=True)
class App:
    """A client that was let in, for its owner to look at."""

    grant: ClientGrant
    name: str
    publisher: str
    title: str
    """Of what it may use: a provider, or every one of the tenant's."""
    scopes: list[str]

    @property
    def in_their_name(self) -> list[str]:
        """The scopes for whoever looks after its owner's tenant."""
        return [_THEIRS[scope] for scope in self.grant.scope.split() if scope in _THEIRS]


@login_required
@require_safe
def apps(request: HttpRequest) -> HttpResponse:
    """Everything that may call in this person's name."""
    user, now = cast("User", request.user), timezone.now()
    titles = {endpoint.url: endpoint.title for endpoint in endpoints_of(user)}
    shown = {
        "apps": [app(grant, titles) for grant in selectors.grants_of(user, now=now)],
        "keys": selectors.keys_of(user, now=now),
        "endpoints": list(titles),
    }
    return render(request, "o/apps.html", shown)


def app(grant: ClientGrant, titles: Mapping[str, str]) -> App:
    """What a grant is, in words; `titles` are those of the endpoints that are known, by their addresses."""
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


_DAYS, _MOST_DAYS = 90, 365
"""How long a key lives unless its owner says otherwise, and at most."""


@require_http_methods(["GET", "HEAD", "POST"])
@access.recently
@sensitive_variables("key")
def new_key(request: HttpRequest) -> HttpResponse:
    """Make a client key for one of one's own memberships. It is in this one answer, and kept nowhere."""
    user, said = cast("User", request.user), request.POST
    mine = list(people.memberships_of(user))
    name, days, slug = said.get("name", "").strip(), said.get("days", str(_DAYS)).strip(), said.get("tenant", "")
    shown: dict[str, object] = {"memberships": mine, "name": name, "days": days, "tenant": slug, "most": _MOST_DAYS}
    if request.method != "POST":
        return render(request, "o/new_key.html", shown)
    member = next((each for each in mine if each.tenant.slug == slug), None)
    try:
        row, key = _made(member, name, days)
    except tenants.Refused as refused:
        return render(request, "o/new_key.html", {**shown, "problem": str(refused)}, status=422)
    url = f"{settings.PUBLIC_URL}/mcp/{row.membership.tenant.slug}"
    return render(request, "o/key.html", {"row": row, "key": key, "url": url, "tenant": row.membership.tenant})


def _made(member: Membership | None, name: str, days: str) -> tuple[ClientKey, str]:
    """Raises: Refused."""
    if member is None or not name:
        raise tenants.Refused("Say what it is for, and where it may be used.")
    if not days.isascii() or not days.isdecimal() or len(days) > 4 or not 1 <= int(days) <= _MOST_DAYS:  # noqa: PLR2004 - figures
        raise tenants.Refused(f"A key lives between 1 and {_MOST_DAYS} days.")
    return tenants.create_client_key(
        membership=member, name=name, now=timezone.now(), expires_days=int(days), by=member.user_id
    )


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
