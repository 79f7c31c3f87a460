"""Reads about installations."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Hashable, Iterable
from dataclasses import replace
from functools import lru_cache
from typing import Any
from uuid import UUID

from django.db.models import QuerySet

from providers import catalogue, models, sources
from providers.manifest import Choices, Manifest
from providers.models import Installation
from providers.spec import ProviderSpec


def installations(tenant_id: UUID) -> QuerySet[Installation]:
    """What a tenant exports, in the order of the names."""
    return Installation.objects.filter(tenant_id=tenant_id, enabled=True).order_by("slug")


def exported(tenants: Collection[UUID]) -> QuerySet[Installation]:
    """The same of several tenants."""
    return Installation.objects.filter(tenant_id__in=tenants, enabled=True).order_by("slug")


def installed(tenant_id: UUID) -> QuerySet[Installation]:
    """The same with what is switched off."""
    return Installation.objects.filter(tenant_id=tenant_id, removed=False).order_by("slug")


def listings_to_review(tenant_id: UUID) -> set[UUID]:
    """The installations whose source lists tools that wait for an administrator."""
    waiting = models.Manifest.objects.filter(installation__tenant_id=tenant_id, state=models.Manifest.State.PENDING)
    return set(waiting.values_list("installation_id", flat=True))


def installation(tenant_id: UUID, slug: str) -> Installation | None:
    """The enabled installation of a provider in a tenant."""
    return Installation.objects.filter(tenant_id=tenant_id, slug=slug, enabled=True).first()


def spec_of(row: Installation) -> ProviderSpec:
    """The provider as this installation has it: the source's facts, moved and overridden.

    Raises: LookupError when the catalogue has no such file any more.
    """
    if row.source == Installation.Source.CATALOGUE:
        return _spec(row.slug, row.api_base, tuple(sorted((k, _frozen(v)) for k, v in row.overrides.items())))
    return _listed(row)


def known_spec(row: Installation) -> ProviderSpec | None:
    """The same; None when the catalogue has no such file any more."""
    try:
        return spec_of(row)
    except LookupError:
        return None


def title_of(row: Installation) -> str:
    """What a provider is called, also one that is no longer in the catalogue."""
    spec = known_spec(row)
    return spec.title if spec else row.slug


_KEPT = 512
_specs: OrderedDict[tuple[UUID, int, UUID | None], tuple[object, ProviderSpec]] = OrderedDict()
"""By installation, its version and its manifest, with what it was made of: each is made once, for making one reads all
of its tools. A row that is not stored yet has the version of the one that is."""


def _listed(row: Installation) -> ProviderSpec:
    """The provider of an MCP server or a document."""
    key = row.pk, row.version, row.manifest_id
    made_of = row.source, row.facts, row.overrides, row.api_base
    kept_of, kept = _specs.get(key, (None, None))
    if kept is not None and kept_of == made_of:
        return kept
    pinned = row.manifest
    manifest, choices = Manifest.read(pinned.text if pinned else "[]"), Choices.read(pinned.choices if pinned else {})
    found = sources.spec(row.slug, row.source, row.facts, manifest, choices)
    stated: dict[str, Any] = {name: _frozen(value) for name, value in row.overrides.items()}
    found = replace(found, api_base=row.api_base or found.api_base, oauth=replace(found.oauth, **stated))
    _specs[key] = made_of, found
    if len(_specs) > _KEPT:
        _specs.popitem(last=False)
    return found


_FOR_ITSELF = frozenset({"openid", "profile", "email", "offline_access", "refresh_token"})
"""Scopes of OpenID Connect, and Salesforce's name for the last of them: they say whose account it is and keep it
connected; no tool ever needs them."""


def unneeded_scopes(spec: ProviderSpec, scopes: Iterable[str]) -> tuple[str, ...]:
    """Those of `scopes` that no tool of this provider needs."""
    needed = frozenset[str]().union(
        _FOR_ITSELF, spec.oauth.unlisted_scopes, *(tool.scopes.union(*tool.or_scopes) for tool in spec.tools)
    )
    return tuple(sorted(set(scopes) - needed))


@lru_cache(maxsize=4_096)
def _spec(slug: str, api_base: str, overrides: tuple[tuple[str, Hashable], ...]) -> ProviderSpec:
    spec = catalogue.get(slug)
    if spec is None:
        raise LookupError(slug)
    if api_base:
        spec = spec.rebased(api_base)
    changed: dict[str, Any] = dict(overrides)
    if "identify_url" in changed:  # somebody else's "who am I", most likely OpenID Connect's
        changed["subject_fields"] = ("sub", *spec.oauth.subject_fields)
    return replace(spec, oauth=replace(spec.oauth, **changed))


def _frozen(value: Any) -> Hashable:  # noqa: ANN401 - a column of JSON
    """As fields of an OAuthSpec are, and as a cache can compare it."""
    return tuple(value) if isinstance(value, list) else value
