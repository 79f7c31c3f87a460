"""What operators see of what tenants export."""

from __future__ import annotations

from metaagent.shown import Shown
from providers.models import Installation


class Installations(Shown):
    """Installations, without what their administrators typed in about addresses and clients."""

    list_display = ("slug", "tenant", "source", "exposure", "consent", "enabled", "removed", "created_at")
    fields = ("id", *list_display, "version")
    ordering = ("-created_at",)
    list_select_related = ("tenant",)
    search_fields = ("slug", "tenant__slug")


PAGES = {Installation: Installations}
"""What is registered, and how."""
