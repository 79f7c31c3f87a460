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
        MCP = "mcp"
        """A remote MCP server."""
        OPENAPI = "openapi"
        """A document."""

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
    """Whether anybody sees or uses it. Off, it keeps its connections."""
    removed = models.BooleanField(default=False)
    """Its connections end, then the row goes; off for good unless it is installed anew."""
    client_id = models.CharField(max_length=300, blank=True)
    api_base = models.CharField(max_length=300, blank=True)
    url = models.CharField(max_length=500, blank=True)
    """The MCP server's address, or where the document was read; empty: from the catalogue, or from a file."""
    facts = models.JSONField(default=dict, blank=True)
    """What the source says of the provider (`providers.sources.spec`); empty for the catalogue, whose files say it."""
    manifest = models.ForeignKey("Manifest", on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    """The pinned tools, as an administrator accepted them; None for the catalogue, and until there are any."""
    limits = models.JSONField(default=dict, blank=True)
    """What differs from the deployment's limits, by the name of the setting in lower case."""
    overrides = models.JSONField(default=dict)
    """What differs from the source's OAuthSpec, by field name: authorize_url, token_url, scopes, …"""
    created_at = models.DateTimeField(auto_now_add=True)
    version = models.PositiveIntegerField(default=1)
    """Grows with every change; a round trip begun under an older one is refused."""

    class Meta:
        constraints = [models.UniqueConstraint(fields=["tenant", "slug"], name="installation_unique")]

    def __str__(self) -> str:
        return f"{self.slug} in {self.tenant_id}"


class Manifest(models.Model):
    """The tools of an installation as its source listed them at one time (`providers.manifest`)."""

    class State(models.TextChoices):
        """One is accepted and serves, at most one waits, the others are kept for the record."""

        PENDING = "pending"
        ACCEPTED = "accepted"
        REFUSED = "refused"
        REPLACED = "replaced"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    installation = models.ForeignKey(Installation, on_delete=models.CASCADE, related_name="manifests")
    digest = models.CharField(max_length=64)
    text = models.TextField()
    """Canonical JSON of the entries."""
    choices = models.JSONField(default=dict)
    """What an administrator has decided about them (`providers.manifest.Choices`)."""
    state = models.CharField(max_length=8, choices=State.choices, default=State.PENDING)
    listed_at = models.DateTimeField()
    decided_at = models.DateTimeField(null=True)
    decided_by = models.UUIDField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["installation"], condition=models.Q(state="pending"), name="manifest_one_pending"
            ),
            models.UniqueConstraint(
                fields=["installation"], condition=models.Q(state="accepted"), name="manifest_one_accepted"
            ),
        ]

    def __str__(self) -> str:
        return f"manifest {self.digest[:12]} of {self.installation_id} ({self.state})"
