"""The tenants app."""

from django.apps import AppConfig


class TenantsConfig(AppConfig):
    """Tenants, people, memberships and client keys."""

    name = "tenants"
