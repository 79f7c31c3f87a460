"""What operators see of MCP clients: whom people let in. Codes, tokens and clients' secrets are not shown."""

from __future__ import annotations

from datetime import UTC, datetime

from django.contrib import admin, messages
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest

from metaagent.shown import Shown
from tenants.oauth import services
from tenants.oauth.models import ClientGrant


class Grants(Shown):
    """People's approvals of clients."""

    list_display = ("client_name", "membership", "resource", "created_at", "used_at", "expires_at", "ended_at")
    fields = ("id", *list_display, "scope", "destination")
    ordering = ("-created_at",)
    list_select_related = ("client", "membership")
    search_fields = ("client__name", "membership__user__email", "membership__tenant__slug")
    actions = ("end",)

    @admin.display(description="client")
    def client_name(self, row: ClientGrant) -> str:
        """What it calls itself."""
        return str(row.client.name)

    @admin.action(description="End: no call that starts later is served for them")
    def end(self, request: HttpRequest, queryset: QuerySet[ClientGrant]) -> None:
        """Those that have not ended, together or none."""
        now = datetime.now(UTC)
        with transaction.atomic():
            rows = list(queryset.filter(ended_at=None).select_related("membership"))
            for row in rows:
                services.end(grant=row, reason="operator", by=request.user.pk, now=now)
        messages.success(request, f"Ended: {len(rows)}.")


PAGES = {ClientGrant: Grants}
"""What is registered, and how."""
