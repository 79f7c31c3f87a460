"""Connections to providers, their sealed tokens, and the round trips that make them."""

from __future__ import annotations

import uuid

from django.db import models

from providers.models import Installation
from tenants.models import Tenant, User


class TenantKey(models.Model):
    """A data key of one tenant, wrapped by the KEK named in `kek_uri`."""

    class State(models.TextChoices):
        """`active` seals and opens, `old` only opens, `shredded` does neither."""

        ACTIVE = "active"
        OLD = "old"
        SHREDDED = "shredded"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="+")
    kek_uri = models.CharField(max_length=300)
    wrapped = models.BinaryField(null=True)
    state = models.CharField(max_length=8, choices=State.choices, default=State.ACTIVE)
    created_at = models.DateTimeField(auto_now_add=True)
    settled_at = models.DateTimeField(null=True)
    """Of an old key: since when nothing is left under it that opens."""
    unreadable = models.PositiveIntegerField(default=0)
    """Of an old key: rows under it that did not open when they were last tried."""

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["tenant"], condition=models.Q(state="active"), name="tenant_key_one_active")
        ]

    def __str__(self) -> str:
        return f"{self.id} ({self.state})"


class ClientSecret(models.Model):
    """The OAuth client secret of an Installation, sealed."""

    installation = models.OneToOneField(Installation, on_delete=models.CASCADE, related_name="client_secret")
    key = models.ForeignKey(TenantKey, on_delete=models.RESTRICT, related_name="+")
    sealed = models.BinaryField()

    def __str__(self) -> str:
        return f"client secret of {self.installation_id}"


class Status(models.TextChoices):
    """Where a connection is in its life."""

    READY = "ready"
    NEEDS_AUTH = "needs_auth"
    REVOKING = "revoking"
    REVOKED = "revoked"


class Connection(models.Model):
    """In this tenant, this user (or the tenant as a whole) may act as that account at that provider."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="connections")
    installation = models.ForeignKey(Installation, on_delete=models.CASCADE, related_name="connections")
    owner = models.ForeignKey(User, on_delete=models.CASCADE, null=True, related_name="connections")
    account_id = models.CharField(max_length=300)
    account_label = models.CharField(max_length=200)
    """What the provider calls the account."""
    name = models.CharField(max_length=80, blank=True)
    """What its owner calls it, if they gave it a name."""
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.READY)
    reason = models.CharField(max_length=40, blank=True)
    scopes = models.JSONField(default=list)
    api_base = models.CharField(max_length=300, blank=True)
    """Where this account's API is, when the token answer said so; its tokens are bound to it."""
    is_default = models.BooleanField(default=False)
    grant = models.CharField(max_length=64, blank=True)
    """What the tokens were issued for and may be sent to (`vault.services.sealed.grant_of`), when they were issued."""
    grant_ends_at = models.DateTimeField(null=True)
    """When the provider ends the grant whatever we do, where it has said so."""
    epoch = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField(auto_now_add=True)
    connected_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["tenant", "owner", "installation", "account_id"], name="connection_unique"),
            models.UniqueConstraint(
                fields=["tenant", "owner", "installation"],
                condition=models.Q(is_default=True),
                name="connection_one_default",
            ),
            # The tenant as a whole as owner: NULLs are distinct in the constraints above.
            models.UniqueConstraint(
                fields=["tenant", "installation", "account_id"],
                condition=models.Q(owner=None),
                name="connection_unique_shared",
            ),
        ]
        indexes = [models.Index(fields=["tenant", "-connected_at", "-id"], name="connection_newest")]

    def __str__(self) -> str:
        return f"{self.label} ({self.status})"

    @property
    def label(self) -> str:
        """What people call the account."""
        return self.name or self.account_label

    @property
    def shared(self) -> bool:
        """Owned by the tenant as a whole."""
        return self.owner_id is None


class SealedTokenSet(models.Model):
    """The ciphertexts of one Connection's tokens, and the lease that serialises their refresh."""

    connection = models.OneToOneField(Connection, on_delete=models.CASCADE, primary_key=True, related_name="tokens")
    version = models.PositiveIntegerField(default=1)
    key = models.ForeignKey(TenantKey, on_delete=models.RESTRICT, related_name="+")
    access = models.BinaryField()
    refresh = models.BinaryField(null=True)
    expires_at = models.DateTimeField(null=True)
    """None when there is no refresh token and the provider did not say: used until it is refused."""
    refreshed_at = models.DateTimeField()
    refresh_owner = models.UUIDField(null=True)
    """The audit intent of the refresh that claimed this version, or that wrote it."""
    lease_until = models.DateTimeField(null=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    """Presentations of this version's refresh token whose outcome is not known."""
    failures = models.PositiveSmallIntegerField(default=0)
    """Refreshes in a row that the provider could not serve."""
    retry_after = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"tokens of {self.connection_id}, version {self.version}"


class Revocation(models.Model):
    """Tokens nobody uses any more, sealed as they were, until the provider has confirmed that they are dead."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="+")
    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="revocations")
    key = models.ForeignKey(TenantKey, on_delete=models.RESTRICT, related_name="+")
    version = models.PositiveIntegerField()
    grant = models.CharField(max_length=64)
    access = models.BinaryField()
    refresh = models.BinaryField(null=True)
    intent_id = models.UUIDField()
    """The audit intent its outcome belongs to."""
    by = models.UUIDField(null=True)
    attempts = models.PositiveIntegerField(default=0)
    next_at = models.DateTimeField()
    """When it is tried next; in the future also while somebody is trying."""
    created_at = models.DateTimeField()

    class Meta:
        indexes = [models.Index(fields=["next_at"], name="revocation_next")]

    def __str__(self) -> str:
        return f"revocation of {self.connection_id}, version {self.version}"


class Question(models.Model):
    """What a person is asked to allow one client through a connection, and what became of it."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="+")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="+")
    client = models.CharField(max_length=80)
    effect = models.CharField(max_length=11)
    """`providers.spec.Effect`."""
    once = models.CharField(max_length=64, blank=True)
    """Digest of the one ask it is for; empty: it stands until it ends or is withdrawn."""
    tool = models.CharField(max_length=80, blank=True)
    """The tool that asked, when it is for one ask; a long name is cut."""
    asked_at = models.DateTimeField()
    answer_until = models.DateTimeField()
    given_at = models.DateTimeField(null=True)
    declined_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(null=True)
    used_at = models.DateTimeField(null=True)
    withdrawn_at = models.DateTimeField(null=True)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self._meta.verbose_name} {self.id} to {self.effect}"


class Consent(Question):
    """A person's permission for an effect on a connection, for one client: first a question, then perhaps given."""

    class Meta:
        indexes = [models.Index(fields=["tenant", "user", "connection"], name="consent_of_user")]


class Approval(Question):
    """A person's permission for exactly one call, once. Its arguments are sealed, bound to everything it is for."""

    call = models.CharField(max_length=64)
    """Digest of the call: the tool as it was, the connection, the arguments."""
    key = models.ForeignKey(TenantKey, on_delete=models.RESTRICT, related_name="+")
    sealed = models.BinaryField()
    """The tool's name and its arguments."""

    class Meta:
        indexes = [models.Index(fields=["tenant", "user", "connection"], name="approval_of_user")]


class UsedState(models.Model):
    """A `requestState` that has come back, by digest: it does not count a second time."""

    digest = models.CharField(max_length=64, unique=True)
    expires_at = models.DateTimeField(db_index=True)
    """When nobody would take it any more."""

    def __str__(self) -> str:
        return f"used state {self.pk}"


class ConnectLink(models.Model):
    """The URL that starts connecting, by digest. It carries no authority: the page checks who opens it."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    digest = models.CharField(max_length=64, unique=True)
    code = models.CharField(max_length=64, null=True, unique=True)  # noqa: DJ001 - where there is none, none is unique
    """The digest of a short code that leads to the same page, for who cannot open a link where they read it."""
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="+")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    installation = models.ForeignKey(Installation, on_delete=models.CASCADE, related_name="+")
    scopes = models.JSONField(default=list)
    connection = models.ForeignKey(Connection, on_delete=models.SET_NULL, null=True, related_name="+")
    """The account that is to be renewed or allowed more; None: any. Once a key was entered, the one it opens."""
    shared = models.BooleanField(default=False)
    """Connects for the tenant as a whole; only its administrators may open it."""
    client = models.CharField(max_length=80, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"connect link {self.id}"


class ConnectAttempt(models.Model):
    """One OAuth round trip in progress: used once, by the browser and the person that began it."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    link = models.OneToOneField(ConnectLink, on_delete=models.CASCADE, related_name="attempt")
    state_digest = models.CharField(max_length=64, unique=True)
    browser_digest = models.CharField(max_length=64)
    session_digest = models.CharField(max_length=64)
    verifier = models.BinaryField()
    installation_version = models.PositiveIntegerField()
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True)
    outcome = models.CharField(max_length=40, blank=True)
    connection = models.ForeignKey(Connection, on_delete=models.SET_NULL, null=True, related_name="+")

    def __str__(self) -> str:
        return f"connect attempt {self.id}"
