"""MCP clients, what people let them do, and digests of what they hold."""

from __future__ import annotations

import uuid
from typing import Any

from django.conf import settings
from django.db import models
from oauth2_provider.models import (
    AbstractAccessToken,
    AbstractApplication,
    AbstractDeviceGrant,
    AbstractGrant,
    AbstractIDToken,
    AbstractRefreshToken,
)

from tenants.models import Membership
from tenants.oauth import policy, tokens


class Client(AbstractApplication):
    """A program that may ask people for access: registered by itself, or known by its metadata document's URL."""

    class Meta(AbstractApplication.Meta):
        indexes = [models.Index(fields=["registration_source", "created"], name="client_unused")]

    def save(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - Django's signature
        """A public client has no secret; a random one needs no slow hash, so its digest is set by whoever mints it."""
        self.hash_client_secret = False
        if self.client_type == self.CLIENT_PUBLIC:
            self.client_secret = ""
        super().save(*args, **kwargs)

    def redirect_uri_allowed(self, uri: str) -> bool:
        """By our own rule, which is exact but for the port on loopback."""
        return policy.redirect_fit(uri, schemes=settings.NATIVE_SCHEMES) and policy.redirect_matches(
            uri, self.redirect_uris.split()
        )

    def get_allowed_schemes(self) -> list[str]:
        """Schemes a browser may be sent to; which URIs is `redirect_uri_allowed`'s matter."""
        return ["https", "http", *settings.NATIVE_SCHEMES]

    @property
    def listed(self) -> bool:
        """Whether an operator made it, so that its name can be believed."""
        return self.registration_source == self.RegistrationSource.MANUAL


class ClientGrant(models.Model):
    """One person's approval for one client at one MCP endpoint. All codes and tokens hang on it and die with it."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    membership = models.ForeignKey(Membership, on_delete=models.CASCADE, related_name="client_grants")
    client = models.ForeignKey(Client, on_delete=models.CASCADE, related_name="grants")
    resource = models.URLField(max_length=400)
    """The endpoint's URL (RFC 8707), the only one its tokens are good for."""
    scope = models.CharField(max_length=200)
    destination = models.CharField(max_length=300)
    """The host or scheme the person was told they would be sent to."""
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    """However often it is refreshed."""
    used_at = models.DateTimeField(null=True, blank=True)
    """When tokens were last given out for it; None until its code has been exchanged."""
    ended_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"grant {self.pk}"


class Code(AbstractGrant):
    """An authorization code. `code` holds its digest; a used one is kept, so that a second use is noticed."""

    grant = models.ForeignKey(ClientGrant, on_delete=models.CASCADE, related_name="+")
    used_at = models.DateTimeField(null=True, blank=True)

    class Meta(AbstractGrant.Meta):
        indexes = [models.Index(fields=["expires"], name="code_expires")]


class AccessToken(AbstractAccessToken):
    """An access token's digest."""

    grant = models.ForeignKey(ClientGrant, on_delete=models.CASCADE, related_name="+")

    class Meta(AbstractAccessToken.Meta):
        indexes = [models.Index(fields=["expires"], name="access_expires")]


class RefreshToken(AbstractRefreshToken):
    """A refresh token's digest. `revoked` says when it was spent."""

    grant = models.ForeignKey(ClientGrant, on_delete=models.CASCADE, related_name="+")

    class Meta(AbstractRefreshToken.Meta):
        unique_together = ()
        indexes = [*AbstractRefreshToken.Meta.indexes, models.Index(fields=["revoked"], name="refresh_revoked")]
        constraints = [models.UniqueConstraint(fields=["token_checksum"], name="refresh_unique")]


class IDToken(AbstractIDToken):
    """Never written: the toolkit's access token refers to it, and its own table would make the migrations a circle."""


class DeviceGrant(AbstractDeviceGrant):
    """Never written: device authorization is not offered. Without it, the toolkit's would be a table to migrate."""


def fresh_secret(client: Client) -> str:
    """Give a confidential client a new secret; its digest is set, the secret itself returned and kept nowhere."""
    secret = tokens.new_secret()
    client.client_secret = tokens.digest(secret)
    return secret
