"""What a tenant exports."""

from __future__ import annotations

import uuid

from django.core.validators import RegexValidator
from django.db import models

from tenants.models import Tenant

PROVIDER_SLUG = RegexValidator(r"\A[a-z][a-z0-9_]{0,30}[a-z0-9]\Z", "Use 2 to 32 of a-z, 0-9 and _, a letter first.")


class Installation(models.Model):
    """This tenant exports this provider, with this OAuth client, exposure and policy."""

    class Source(models.TextChoices):
        """Where the ProviderSpec comes from."""

        CATALOGUE = "catalogue"

    class ExposureChoice(models.TextChoices):
        """What clients see before connecting."""

        SOFT = "soft"
        STRICT = "strict"

    class ConsentChoice(models.TextChoices):
        """When people are asked before the provider is used in their name (`spec.ConsentPolicy`)."""

        NEVER = "never"
        FIRST_USE = "first_use"
        WRITES = "writes"
        ALWAYS = "always"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="installations")
    slug = models.CharField(max_length=32, validators=[PROVIDER_SLUG])
    source = models.CharField(max_length=10, choices=Source.choices, default=Source.CATALOGUE)
    exposure = models.CharField(max_length=6, choices=ExposureChoice.choices, default=ExposureChoice.SOFT)
    consent = models.CharField(max_length=9, choices=ConsentChoice.choices, default=ConsentChoice.NEVER)
    connect_url = models.URLField(max_length=500, blank=True)
    """Where people connect when the OAuth flow is run elsewhere and its tokens are imported; empty: here."""
    enabled = models.BooleanField(default=True)
    client_id = models.CharField(max_length=300, blank=True)
    api_base = models.CharField(max_length=300, blank=True)
    overrides = models.JSONField(default=dict)
    """What differs from the source's OAuthSpec, by field name: authorize_url, token_url, scopes, …"""
    created_at = models.DateTimeField(auto_now_add=True)
    version = models.PositiveIntegerField(default=1)
    """Grows with every change; a round trip begun under an older one is refused."""

    class Meta:
        constraints = [models.UniqueConstraint(fields=["tenant", "slug"], name="installation_unique")]

    def __str__(self) -> str:
        return f"{self.slug} in {self.tenant_id}"
