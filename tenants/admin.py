"""What operators see of tenants and people, and what they may end."""

from __future__ import annotations

from datetime import UTC, datetime

from django.contrib import admin, messages
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest

from metaagent.shown import Shown
from tenants import services, single
from tenants.models import ClientKey, Membership, Tenant, User
from tenants.second import factors


class Tenants(Shown):
    """Tenants."""

    list_display = ("slug", "name", "created_at", "closed_at")
    fields = ("id", *list_display)
    ordering = ("slug",)
    search_fields = ("slug", "name")


class People(Shown):
    """People. Who they are in a tenant is a membership's matter."""

    list_display = ("email", "name", "is_active", "is_staff", "created_at", "last_login")
    fields = ("id", *list_display)
    ordering = ("email",)
    search_fields = ("email", "name")
    actions = ("deactivate", "remove_factors", "unlink")

    @admin.action(description="Deactivate: nobody may do anything as them any more")
    def deactivate(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        """One after another: the last owner of a tenant stays."""
        for user in queryset.filter(is_active=True):
            try:
                services.deactivate(user=user, by=request.user.pk)
            except services.Refused as refused:
                messages.error(request, f"{user.email}: {refused}")
            else:
                messages.success(request, f"{user.email} is deactivated.")

    @admin.action(description="Remove second factors: their password alone lets them in again")
    def remove_factors(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        """For who has lost their phone and their codes."""
        for user in queryset:
            removed = factors.remove_all(user=user, by=request.user.pk)
            messages.success(request, f"{user.email} had {removed} factor{'' if removed == 1 else 's'}.")

    @admin.action(description="Unlink from single sign-on: nobody the issuer knows is them any more")
    def unlink(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        """For who is somebody new there."""
        ended = sum(single.unlink(user=user, by=request.user.pk) for user in queryset)
        messages.success(request, f"Unlinked: {ended}.")


class Members(Shown):
    """Who is in which tenant, as what."""

    list_display = ("tenant", "user", "role", "created_at")
    fields = ("id", *list_display)
    ordering = ("-created_at",)
    list_select_related = ("tenant", "user")
    search_fields = ("tenant__slug", "user__email")


class Keys(Shown):
    """Client keys, by what everybody may see of them."""

    list_display = ("prefix", "name", "membership", "created_at", "expires_at", "revoked_at")
    fields = ("id", *list_display)
    ordering = ("-created_at",)
    list_select_related = ("membership",)
    search_fields = ("prefix", "name", "membership__user__email")
    actions = ("revoke",)

    @admin.action(description="Revoke: no call that starts later is served for them")
    def revoke(self, request: HttpRequest, queryset: QuerySet[ClientKey]) -> None:
        """Those that are not revoked yet, together or none."""
        with transaction.atomic():
            rows = list(queryset.filter(revoked_at=None).select_related("membership"))
            for row in rows:
                services.revoke_client_key(key=row, now=datetime.now(UTC), by=request.user.pk)
        messages.success(request, f"Revoked: {len(rows)}.")


PAGES = {Tenant: Tenants, User: People, Membership: Members, ClientKey: Keys}
"""What is registered, and how."""
