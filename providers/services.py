"""Writes about installations, each with its audit event."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import transaction

from audit import services as audit
from audit.events import EventKind
from providers import catalogue
from providers.models import Installation
from tenants import standing
from tenants.models import Tenant
from tenants.services import Refused


@transaction.atomic
def install(
    *,
    tenant: Tenant,
    slug: str,
    client_id: str,
    api_base: str = "",
    exposure: str = "soft",
    overrides: Mapping[str, str | list[str]] | None = None,
    by: UUID | None,
) -> Installation:
    """Export a catalogue provider, or change how it is exported. Raises: Refused for what cannot be used."""
    if catalogue.get(slug) is None:
        raise Refused(f"The catalogue has no “{slug[:40]}”. It has: {', '.join(catalogue.slugs())}.")
    for name, value in {"api_base": api_base, **(overrides or {})}.items():
        if (name == "api_base" or name.endswith("_url")) and value:
            _check_url(name, str(value))
    row = Installation.objects.filter(tenant=tenant, slug=slug).first() or Installation(tenant=tenant, slug=slug)
    created = row._state.adding  # noqa: SLF001 - Django's documented Model._state
    row.client_id, row.api_base, row.exposure, row.enabled = client_id, api_base.rstrip("/"), exposure, True
    row.overrides = dict(overrides or {})
    row.version = 1 if created else row.version + 1
    try:
        row.clean_fields(exclude=["tenant", "overrides"])
    except ValidationError as wrong:
        raise Refused(" ".join(f"{name}: {' '.join(texts)}" for name, texts in wrong.message_dict.items())) from None
    row.save()
    standing.changed()
    kind = EventKind.PROVIDER_INSTALLED if created else EventKind.PROVIDER_CHANGED
    audit.record(kind, tenant_id=tenant.pk, user_id=by, provider=slug, version=row.version)
    return row


@transaction.atomic
def remove(*, row: Installation, by: UUID | None) -> None:
    """Stop exporting a provider. The caller has ended its connections first."""
    audit.record(EventKind.PROVIDER_REMOVED, tenant_id=row.tenant_id, user_id=by, provider=row.slug)
    row.delete()
    standing.changed()


def _check_url(name: str, value: str) -> None:
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username or parts.fragment:
        raise Refused(f"{name.replace('_', '-')} must be an address such as https://sentry.example.com.")
