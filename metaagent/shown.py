"""How operators see rows: to look at, never to change, by pages that cost the same however many there are."""

from __future__ import annotations

from functools import cached_property
from typing import Any, cast

from django.contrib import admin
from django.core.paginator import Paginator
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse

_MOST = 1_000
"""Rows that can be paged through; what is further back is found by searching."""


class Counted(Paginator):  # type: ignore[type-arg] # the stubs have a parameter that the class has not
    """Counts no further than it shows."""

    @cached_property
    def count(self) -> int:
        """How many rows there are, up to a thousand."""
        return cast("QuerySet[Model]", self.object_list)[:_MOST].count()


class Shown(admin.ModelAdmin):  # type: ignore[type-arg] # see above
    """A model with a list and a page for each row. Every field that is seen is named; what acts is an action."""

    list_per_page = 50
    show_full_result_count = False
    paginator = Counted
    actions_selection_counter = False

    def has_view_permission(self, request: HttpRequest, obj: object = None) -> bool:  # noqa: ARG002 - Django's signature
        """Whoever is let in sees all that is registered."""
        return True

    has_module_permission = has_view_permission

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002 - see above
        """Never."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: object = None) -> bool:  # noqa: ARG002 - see above
        """Never."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:  # noqa: ARG002 - see above
        """Never."""
        return False

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:  # noqa: ARG002 - see above
        """No filters from the address: they could ask for what is not shown, letter by letter."""
        return False

    def history_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:  # noqa: ANN401, ARG002 - see above
        """What operators do is in the audit log."""
        raise Http404
