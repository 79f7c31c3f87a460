"""The OAuth client an installation is at its provider, and its sealed secret."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from django.conf import settings
from django.db import transaction

from providers import selectors as providers
from providers.models import Installation
from vault import links, oauth, sealing
from vault.models import ClientSecret

NAME: Final = "metaagent"
"""What this product calls itself where it introduces itself."""


def secret_context(installation: Installation) -> dict[str, str]:
    """What a sealed client secret is bound to besides its tenant and key."""
    return {"row": str(installation.pk), "field": "client_secret"}


@transaction.atomic
def set_secret(*, installation: Installation, secret: str | None) -> None:
    """Keep the client secret, sealed; None forgets it (a public client)."""
    if secret is None:
        ClientSecret.objects.filter(installation=installation).delete()
        return
    key = sealing.active_key(installation.tenant_id)
    sealed = sealing.bound_seal(key, installation.tenant_id, secret.encode(), secret_context(installation))
    ClientSecret.objects.update_or_create(installation=installation, defaults={"key_id": key.id, "sealed": sealed})


def client_of(installation: Installation) -> oauth.Client:
    """The client with its secret opened. Raises: vault.crypto.Unreadable."""
    row = ClientSecret.objects.filter(installation=installation).first()
    secret = (
        sealing.open_sealed(installation.tenant_id, row.sealed, secret_context(installation)).decode() if row else None
    )
    return oauth.Client(
        spec=providers.spec_of(installation).oauth,
        client_id=installation.client_id,
        secret=secret,
        redirect_uri=links.callback_url(installation.pk),
    )


def document(installation_id: UUID) -> dict[str, object] | None:
    """The Client ID Metadata Document of an installation that introduces itself by its address; None for any other."""
    client_id = links.client_url(installation_id)
    row = Installation.objects.filter(pk=installation_id, client_id=client_id, enabled=True).first()
    if row is None or row.tenant.closed_at is not None:
        return None
    return {
        "client_id": client_id,
        "client_name": NAME,
        "client_uri": settings.PUBLIC_URL,
        "application_type": "web",
        "redirect_uris": [links.callback_url(row.pk)],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "none",
    }
