"""Reads about installations."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any
from uuid import UUID

from django.db.models import QuerySet

from providers import catalogue
from providers.models import Installation
from providers.spec import ProviderSpec


def installations(tenant_id: UUID) -> QuerySet[Installation]:
    """What a tenant exports, in the order of the names."""
    return Installation.objects.filter(tenant_id=tenant_id, enabled=True).order_by("slug")


def installation(tenant_id: UUID, slug: str) -> Installation | None:
    """The enabled installation of a provider in a tenant."""
    return Installation.objects.filter(tenant_id=tenant_id, slug=slug, enabled=True).first()


def spec_of(row: Installation) -> ProviderSpec:
    """The provider as this installation has it: the source's facts, moved and overridden.

    Raises: LookupError when the catalogue has no such file any more.
    """
    return _spec(row.slug, row.api_base, tuple(sorted((k, _frozen(v)) for k, v in row.overrides.items())))


@lru_cache(maxsize=4_096)
def _spec(slug: str, api_base: str, overrides: tuple[tuple[str, str | tuple[str, ...]], ...]) -> ProviderSpec:
    spec = catalogue.get(slug)
    if spec is None:
        raise LookupError(slug)
    if api_base:
        spec = spec.rebased(api_base)
    changed: dict[str, Any] = dict(overrides)
    if "identify_url" in changed:  # somebody else's "who am I", most likely OpenID Connect's
        changed["subject_fields"] = ("sub", *spec.oauth.subject_fields)
    return replace(spec, oauth=replace(spec.oauth, **changed))


def _frozen(value: str | list[str]) -> str | tuple[str, ...]:
    return value if isinstance(value, str) else tuple(value)
