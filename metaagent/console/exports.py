"""What a tenant exports, and how each provider does."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_safe

from metaagent.installations import health_of
from providers import selectors as providers
from providers.health import Health, worth_a_look
from providers.models import Installation
from providers.spec import ProviderSpec
from tenants import access
from tenants.models import Membership


@dataclass(frozen=True, slots=True)
class Export:
    """One provider, as the page shows it."""

    row: Installation
    spec: ProviderSpec
    health: Health
    attention: list[str]


@require_safe
@access.open_to(access.LOOK)
def front(_request: HttpRequest, member: Membership) -> HttpResponse:
    """The console begins with what is exported."""
    return redirect("console_exports", member.tenant.slug)


@require_safe
@access.open_to(access.LOOK)
def exports(request: HttpRequest, member: Membership) -> HttpResponse:
    """Each provider with its calls, its connections, and what somebody should look at."""
    found = health_of(member.tenant_id, now=datetime.now(UTC))
    rows = [
        Export(row, providers.spec_of(row), found[row.pk], worth_a_look(found[row.pk]))
        for row in providers.installed(member.tenant_id)
        if row.pk in found
    ]
    return access.shown(request, member, "console/exports.html", {"exports": rows})
