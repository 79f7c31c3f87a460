"""The authorization server's app."""

from django.apps import AppConfig


class OAuthConfig(AppConfig):
    """MCP clients, what people let them do, and the tokens they hold."""

    name = "tenants.oauth"
    label = "oauth"
