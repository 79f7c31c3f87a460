"""How a tenant's installations do, with what all processes together know of their providers."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from django.conf import settings

from providers import health
from providers import selectors as providers
from providers.limits import Limits
from vault import selectors as vault


def health_of(tenant_id: UUID, *, now: datetime) -> Mapping[UUID, health.Health]:
    """By the installation's id."""
    return vault.health_of(tenant_id, breakers=_breakers(tenant_id), now=now)


def _breakers(tenant_id: UUID) -> Mapping[UUID, health.Breaker]:
    """Nothing without Redis: then each process that serves knows its own alone."""
    if not settings.REDIS_URL:
        return {}
    from metaagent.cache import Lost, server  # noqa: PLC0415 - Redis's client costs every command a quarter of a second
    from metaagent.traffic import seen  # noqa: PLC0415 - see above

    connections = vault.connections_by_installation(tenant_id)
    rows = {row.pk: row for row in providers.installed(tenant_id)}
    try:
        found = seen(server(settings.REDIS_URL), {pk: connections.get(pk, []) for pk in rows})
    except Lost:
        return {}
    return {
        pk: health.breaker(
            each.faults, each.paused, own=Limits.read(rows[pk].limits), granted=settings.BREAKER_FAILURES
        )
        for pk, each in found.items()
    }
