"""The OAuth client an installation is at its provider, and its sealed secret."""

from __future__ import annotations

from django.db import transaction

from providers import selectors as providers
from providers.models import Installation
from vault import links, oauth, sealing
from vault.models import ClientSecret


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
