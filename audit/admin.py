"""What operators see of the log. That they have looked is itself recorded, in every tenant whose events they saw."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from audit import services
from audit.events import Event, EventKind
from audit.models import AuditEvent
from metaagent.shown import Shown


class Log(Shown):
    """The newest events; searched by a tenant's or a run's id, for both of which there is an index."""

    list_display = ("seq", "at", "tenant_id", "kind", "user_id", "client", "provider", "tool")
    fields = (*list_display, "id", "connection_id", "run_id", "intent_id", "detail")
    ordering = ("-seq",)
    sortable_by = ()
    search_fields = ("tenant_id",)
    search_help_text = "A tenant's id"

    def get_search_results(
        self,
        request: HttpRequest,  # noqa: ARG002 - Django's signature
        queryset: QuerySet[AuditEvent],
        search_term: str,
    ) -> tuple[QuerySet[AuditEvent], bool]:
        """By a tenant's whole id; anything else finds nothing."""
        if not search_term:
            return queryset, False
        try:
            return queryset.filter(tenant_id=UUID(search_term.strip())), False
        except ValueError:
            return queryset.none(), False

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:  # noqa: ANN401 - Django's
        """The list, on record."""
        response = super().changelist_view(request, extra_context)
        if isinstance(response, TemplateResponse) and response.context_data and "cl" in response.context_data:
            _recorded(request, {row.tenant_id for row in response.context_data["cl"].result_list}, "list")
        return response

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: Any = None,  # noqa: ANN401 - Django's signature
    ) -> HttpResponse:
        """One event, on record."""
        row = self.get_object(request, object_id or "")
        if row is not None:
            _recorded(request, {row.tenant_id}, "event", seq=row.pk)
        return super().changeform_view(request, object_id, form_url, extra_context)


def _recorded(request: HttpRequest, tenants: set[UUID], what: str, seq: int | None = None) -> None:
    told: dict[str, str | int | float | bool | None] = {"what": what, "operator": True, **({"seq": seq} if seq else {})}
    if tenants:
        reader = request.user.pk
        services.append(
            [Event(EventKind.LOG_READ, tenant_id=each, user_id=reader, detail=told) for each in sorted(tenants)]
        )


PAGES = {AuditEvent: Log}
"""What is registered, and how."""
