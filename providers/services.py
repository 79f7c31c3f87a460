"""Writes about installations, each with its audit event."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit
from uuid import UUID

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import F

from audit import services as audit
from audit.events import EventKind
from providers import catalogue
from providers.egress import EgressPolicy, check_url
from providers.errors import EgressDenied
from providers.limits import changed as changed_limits
from providers.models import Installation
from providers.spec import Json
from tenants import standing
from tenants.models import Tenant
from tenants.services import Refused


class Stale(Refused):
    """An installation is no longer as it was when somebody looked at it."""

    def __init__(self) -> None:
        super().__init__("Somebody has changed this provider meanwhile. Look again.")


def drafted(
    *,
    tenant: Tenant,
    slug: str,
    client_id: str,
    api_base: str = "",
    exposure: str = "soft",
    consent: str = "never",
    connect_url: str = "",
    overrides: Mapping[str, str | list[str] | bool] | None = None,
    source: str = Installation.Source.CATALOGUE,
    url: str = "",
    facts: Mapping[str, Json] | None = None,
) -> Installation:
    """The installation as it would be, not stored. Raises: Refused for what cannot be used."""
    if source == Installation.Source.CATALOGUE and catalogue.get(slug) is None:
        raise Refused(f"The catalogue has no “{slug[:40]}”. It has: {', '.join(catalogue.slugs())}.")
    stated = dict(facts or {})
    for name, value in _addresses({"url": url, "api_base": api_base, **(overrides or {})}):
        check_address(name, value)
    for name, value in _addresses({**stated, **(stated.get("oauth") or {})}):
        check_address(f"its {name}", value)
    if connect_url and not _opens_safely(connect_url):
        raise Refused("connect-url must be an https address such as https://sso.example.com/connect.")
    row = Installation.objects.filter(tenant=tenant, slug=slug).first() or Installation(tenant=tenant, slug=slug)
    row.client_id, row.api_base, row.exposure = client_id, api_base.rstrip("/"), exposure
    if row.removed:  # with nothing of before
        row.limits, row.manifest = {}, None
    row.enabled, row.removed = True, False
    row.consent, row.connect_url = consent, connect_url
    row.overrides = dict(overrides or {})
    if (row.source, row.url) != (source, url):  # other tools altogether
        row.manifest = None
    row.source, row.url, row.facts = source, url, stated
    try:
        row.clean_fields(exclude=["tenant", "overrides"])
    except ValidationError as wrong:
        raise Refused(" ".join(f"{name}: {' '.join(texts)}" for name, texts in wrong.message_dict.items())) from None
    return row


@transaction.atomic
def store(*, row: Installation, by: UUID | None) -> Installation:
    """Export a provider as it was drafted, or change how it is exported.

    What this means for the connections there are is the vault's matter: see `vault.services.install`.
    Raises: Stale, when it has been changed since it was drafted.
    """
    created = row._state.adding  # noqa: SLF001 - Django's documented Model._state
    there = None if created else Installation.objects.select_for_update(no_key=True).get(pk=row.pk)
    if there and there.version != row.version:
        raise Stale
    before = _stated(there) if there else {}
    if there and row.manifest_id is not None:  # drafted from what it was: tools accepted meanwhile stay accepted
        row.manifest_id = there.manifest_id
    row.version = 1 if created else row.version + 1
    row.save()
    standing.changed()
    kind = EventKind.PROVIDER_INSTALLED if created else EventKind.PROVIDER_CHANGED
    now = _stated(row)
    changed = {name: now.get(name) for name in sorted({*before, *now}) if before.get(name) != now.get(name)}
    detail = {name: said for name, said in now.items() if name == "overrides.pkce"} if created else changed
    audit.record(kind, tenant_id=row.tenant_id, user_id=by, provider=row.slug, version=row.version, **detail)
    return row


@transaction.atomic
def change(
    *,
    installation: Installation,
    limits: Mapping[str, str] | None = None,
    exposure: str | None = None,
    consent: str | None = None,
    enabled: bool | None = None,
    version: int | None = None,
    by: UUID | None,
) -> Installation:
    """Change how a provider is exported, and nothing that a connection depends on. None: it stays as it is.

    `limits` are words by name, an empty one for the deployment's. Off, nobody sees or uses it; its connections stay.
    Raises: Refused; Stale, when it is not of this `version` any more.
    """
    row = Installation.objects.select_for_update().filter(pk=installation.pk, removed=False).first()
    if row is None:
        raise Refused("It has just been removed.")
    if version not in {None, row.version}:
        raise Stale
    before = _stated(row)
    try:
        row.limits = changed_limits(row.limits, limits or {})
    except ValueError as wrong:
        raise Refused(str(wrong)) from None
    row.exposure, row.consent = exposure or row.exposure, consent or row.consent
    row.enabled = row.enabled if enabled is None else enabled
    return row if _stated(row) == before else store(row=row, by=by)


@transaction.atomic
def switch_off(*, row: Installation, by: UUID | None) -> bool:
    """Stop exporting a provider for good: nobody sees or uses it any more. False when it was removed before.

    Its connections, and then the row itself, are the vault's matter: see `vault.services.leave`.
    """
    stays = Installation.objects.filter(pk=row.pk, removed=False)
    off = stays.update(enabled=False, removed=True, version=F("version") + 1)
    if off:
        standing.changed()
        audit.record(EventKind.PROVIDER_REMOVED, tenant_id=row.tenant_id, user_id=by, provider=row.slug)
    return bool(off)


_STATED = ("source", "url", "client_id", "api_base", "exposure", "consent", "connect_url", "enabled")


def _stated(row: Installation) -> dict[str, str | int | bool]:
    """What an administrator decides about an installation, as the log says it."""
    found: dict[str, str | int | bool] = {name: getattr(row, name) for name in _STATED}
    found |= {f"limits.{name}": number for name, number in row.limits.items()}
    for name, value in row.overrides.items():
        found[f"overrides.{name}"] = " ".join(value) if isinstance(value, list) else str(value)
    return found


def egress_policy() -> EgressPolicy:
    """The deployment's rules for outbound requests."""
    return EgressPolicy.parse(settings.EGRESS_ALLOW_CIDRS, settings.EGRESS_ALLOW_HTTP_HOSTS)


def _addresses(fields: Mapping[str, Json]) -> Iterator[tuple[str, str]]:
    """Those of the fields that hold an address somebody is sent to, or a token is."""
    for name, value in fields.items():
        if value and (name in {"url", "api_base", "issuer", "resource"} or name.endswith("_url")):
            yield name, str(value)


def check_address(name: str, value: str) -> None:
    """Whether it can be an address of a provider, called `name`. Host names are judged when they are connected to.

    Raises: Refused.
    """
    if name.endswith("resource") and _IDENTIFIER.fullmatch(value):
        return
    try:
        check_url(value.replace("{client_id}", "id") if name.endswith("revoke_url") else value, egress_policy())
    except EgressDenied as denied:
        what = name.replace("_", "-")
        raise Refused(f"{what} must be an address that this server connects to. {denied}") from None


_IDENTIFIER = re.compile(r"(?:api|urn):[!$-;=?-Z_a-z~]{1,400}", re.ASCII)
"""What a resource can be instead of an address (RFC 8707)."""


def _opens_safely(url: str) -> bool:
    """Whether people may be sent there: over TLS, or to this very machine."""
    parts = urlsplit(url)
    plain = url.isascii() and url.isprintable() and not set(url) & set(' \\"<>^`{|}#')
    if not plain or not parts.hostname or "@" in parts.netloc or parts.hostname.endswith("."):
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in {"127.0.0.1", "localhost", "::1"})
