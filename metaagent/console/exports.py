"""What a tenant exports, and how each provider does."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from metaagent.installations import health_of
from providers import selectors as providers
from providers.health import Health, worth_a_look
from providers.models import Installation
from tenants import access
from tenants.models import Membership
from vault.services import setup

_A_PAGE = 24


@dataclass(frozen=True, slots=True)
class Export:
    """One provider, as the page shows it."""

    row: Installation
    title: str
    known: bool
    """Else it is no longer in the catalogue."""
    health: Health
    attention: list[str]
    unfinished: bool
    """It waits for an administrator to register a client."""


@require_safe
@access.open_to(access.LOOK)
def exports(request: HttpRequest, member: Membership) -> HttpResponse:
    """Each provider with its calls, its connections, and what somebody should look at."""
    found = health_of(member.tenant_id, now=datetime.now(UTC))
    installed = providers.installed(member.tenant_id).select_related("manifest")
    after = request.GET.get("after", "")
    rows = list(installed.filter(slug__gt=after)[: _A_PAGE + 1])
    shown = {
        "exports": [_export(row, found[row.pk]) for row in rows[:_A_PAGE] if row.pk in found],
        "after": rows[_A_PAGE - 1].slug if len(rows) > _A_PAGE else "",
        "first": not after,
    }
    return access.shown(request, member, "console/exports.html", shown)


def _export(row: Installation, health: Health) -> Export:
    known = providers.known_spec(row) is not None
    return Export(row, providers.title_of(row), known, health, worth_a_look(health), known and setup.unfinished(row))
