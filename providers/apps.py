"""The providers app."""

from django.apps import AppConfig


class ProvidersConfig(AppConfig):
    """Installations of providers."""

    name = "providers"
