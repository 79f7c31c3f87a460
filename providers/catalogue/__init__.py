"""The catalogue: one module per provider, named by its slug and defining `PROVIDER`; imported when first asked for."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from providers.spec import ProviderSpec


@cache
def slugs() -> tuple[str, ...]:
    """Every provider of the catalogue, in alphabetical order. Imports none of them."""
    return tuple(sorted(module.name for module in iter_modules(__path__) if not module.name.startswith("_")))


@cache
def get(slug: str) -> ProviderSpec | None:
    """The provider of that slug, or None. Only names of `slugs()` are ever imported."""
    if slug not in slugs():
        return None
    provider: ProviderSpec = import_module(f"{__name__}.{slug}").PROVIDER
    return provider
