"""The addresses people open."""

from __future__ import annotations

from urllib.parse import urlencode

from django.conf import settings
from django.urls import reverse


def connect_url(slug: str, handle: str) -> str:
    """Where a person starts connecting a provider."""
    return f"{settings.PUBLIC_URL}{reverse('connect', args=[slug])}?{urlencode({'link': handle})}"


def code_url() -> str:
    """Where a person types the code of a connect link."""
    return f"{settings.PUBLIC_URL}{reverse('go')}"


def consent_url(consent_id: object) -> str:
    """Where a person answers a consent question. The id carries no authority: the page checks who opens it."""
    return f"{settings.PUBLIC_URL}{reverse('consent', args=[consent_id])}"


def approve_url(approval_id: object) -> str:
    """Where a person approves one call. As above."""
    return f"{settings.PUBLIC_URL}{reverse('approve', args=[approval_id])}"


def callback_url(installation_id: object) -> str:
    """The redirect URI registered with the provider: one per installation, so that answers cannot be mixed up."""
    return f"{settings.PUBLIC_URL}{reverse('oauth_callback', args=[installation_id])}"


def client_url(installation_id: object) -> str:
    """Where an installation's Client ID Metadata Document is; also its client id, where it introduces itself by it."""
    return f"{settings.PUBLIC_URL}{reverse('oauth_client', args=[installation_id])}"
