"""Writes about installations, each with its audit event."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import F

from audit import services as audit
from audit.events import EventKind
from providers import catalogue
from providers.models import Installation
from tenants import standing
from tenants.models import Tenant
from tenants.services import Refused


def drafted(
    *,
    tenant: Tenant,
    slug: str,
    client_id: str,
    api_base: str = "",
    exposure: str = "soft",
    consent: str = "never",
    connect_url: str = "",
    overrides: Mapping[str, str | list[str]] | None = None,
) -> Installation:
    """The installation as it would be, not stored. Raises: Refused for what cannot be used."""
    if catalogue.get(slug) is None:
        raise Refused(f"The catalogue has no “{slug[:40]}”. It has: {', '.join(catalogue.slugs())}.")
    for name, value in {"api_base": api_base, **(overrides or {})}.items():
        if (name == "api_base" or name.endswith("_url")) and value:
            _check_url(name, str(value))
    if connect_url and not _opens_safely(connect_url):
        raise Refused("connect-url must be an https address such as https://sso.example.com/connect.")
    row = Installation.objects.filter(tenant=tenant, slug=slug).first() or Installation(tenant=tenant, slug=slug)
    row.client_id, row.api_base, row.exposure, row.enabled = client_id, api_base.rstrip("/"), exposure, True
    row.consent, row.connect_url = consent, connect_url
    row.overrides = dict(overrides or {})
    try:
        row.clean_fields(exclude=["tenant", "overrides"])
    except ValidationError as wrong:
        raise Refused(" ".join(f"{name}: {' '.join(texts)}" for name, texts in wrong.message_dict.items())) from None
    return row


@transaction.atomic
def store(*, row: Installation, by: UUID | None) -> Installation:
    """Export a provider as it was drafted, or change how it is exported.

    What this means for the connections there are is the vault's matter: see `vault.services.install`.
    """
    created = row._state.adding  # noqa: SLF001 - Django's documented Model._state
    row.version = 1 if created else row.version + 1
    row.save()
    standing.changed()
    kind = EventKind.PROVIDER_INSTALLED if created else EventKind.PROVIDER_CHANGED
    audit.record(kind, tenant_id=row.tenant_id, user_id=by, provider=row.slug, version=row.version)
    return row


@transaction.atomic
def switch_off(*, row: Installation, by: UUID | None) -> bool:
    """Stop exporting a provider: nobody sees or uses it any more. False when it was off before.

    Its connections, and then the row itself, are the vault's matter: see `vault.services.leave`.
    """
    off = Installation.objects.filter(pk=row.pk, enabled=True).update(enabled=False, version=F("version") + 1)
    if off:
        standing.changed()
        audit.record(EventKind.PROVIDER_REMOVED, tenant_id=row.tenant_id, user_id=by, provider=row.slug)
    return bool(off)


def _check_url(name: str, value: str) -> None:
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username or parts.fragment:
        raise Refused(f"{name.replace('_', '-')} must be an address such as https://sentry.example.com.")


def _opens_safely(url: str) -> bool:
    """Whether people may be sent there: over TLS, or to this very machine."""
    parts = urlsplit(url)
    if not parts.hostname or parts.username or parts.password or parts.fragment or not url.isprintable():
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in {"127.0.0.1", "localhost", "::1"})
