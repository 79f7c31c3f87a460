"""What operators see of connections, and that they may end them. Keys, tokens and secrets are not shown at all."""

from __future__ import annotations

from datetime import UTC, datetime

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from metaagent.shown import Shown
from vault.models import Connection
from vault.services import revoke


class Connections(Shown):
    """Connections, by what their owners see of them."""

    list_display = ("account_label", "name", "installation", "owner", "status", "reason", "connected_at")
    fields = ("id", "tenant", *list_display, "scopes", "created_at", "grant_ends_at")
    ordering = ("-created_at",)
    list_select_related = ("installation", "owner")
    search_fields = ("account_label", "owner__email", "tenant__slug", "installation__slug")
    actions = ("revoke",)

    @admin.action(description="Revoke: end them here at once, and their tokens at the provider")
    def revoke(self, request: HttpRequest, queryset: QuerySet[Connection]) -> None:
        """Together; a provider that does not confirm at once is asked again by the sweep."""
        ids = list(queryset.values_list("pk", flat=True))
        ended = revoke.disconnect_all(
            connections=Connection.objects.filter(pk__in=ids), by=request.user.pk, now=datetime.now(UTC)
        )
        messages.success(request, revoke.all_in_words(ended))


PAGES = {Connection: Connections}
"""What is registered, and how."""
