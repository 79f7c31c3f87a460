"""Tenants, people, their memberships, and the keys headless clients present."""

from __future__ import annotations

import uuid
from typing import Any, ClassVar

from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.contrib.sessions.backends.base import SessionBase
from django.contrib.sessions.base_session import AbstractBaseSession
from django.core.validators import RegexValidator
from django.db import models, transaction

from tenants import standing

SLUG = RegexValidator(r"\A[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?\Z", "Use 1 to 40 of a-z, 0-9 and -, not at the ends.")


class Tenant(models.Model):
    """The isolation boundary: every row and every query belongs to one."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    slug = models.CharField(max_length=40, unique=True, validators=[SLUG])
    name = models.CharField(max_length=120)
    created_at = models.DateTimeField(auto_now_add=True)
    closed_at = models.DateTimeField(null=True, blank=True)
    """From when on nobody may do anything here; its rows go once its tokens are dead at their providers."""
    budgets = models.JSONField(default=dict, blank=True)
    """What its administrators let be used in a day, where that is less than the settings do (`tenants.budgets`)."""

    def __str__(self) -> str:
        return self.slug


class UserManager(BaseUserManager["User"]):
    """Makes users; an e-mail address is compared without regard to case."""

    def create_user(self, email: str, password: str | None = None, **fields: Any) -> User:  # noqa: ANN401 - model fields
        """A person who can log in with `password`, or not at all when it is None."""
        user = self.model(email=email.strip().lower(), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def get_by_natural_key(self, username: str | None) -> User:
        """The person with this e-mail address, in any case."""
        return self.get(email=(username or "").strip().lower())


class User(AbstractBaseUser, PermissionsMixin):  # type: ignore[django-manager-missing] # the toolkit's rows have no types
    """A person. What they may do in a tenant is a Membership's matter; `is_staff` is for operators only."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    email = models.EmailField(max_length=254, unique=True)
    """Always lower case."""
    name = models.CharField(max_length=120, blank=True)
    is_active = models.BooleanField(default=True)
    is_staff = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True)

    objects: ClassVar[UserManager] = UserManager()

    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    def __str__(self) -> str:
        return self.email

    def save(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - Django's signature
        """Whoever changes a person, the admin pages too, may change their rights; a log-in changes nobody's."""
        with transaction.atomic():
            super().save(*args, **kwargs)
            if list(kwargs.get("update_fields") or ()) != ["last_login"]:
                standing.changed()


class Role(models.TextChoices):
    """What a member may do; each includes nothing of the others but `member`'s right to ask."""

    MEMBER = "member"
    AUDITOR = "auditor"
    ADMIN = "admin"
    OWNER = "owner"


class Membership(models.Model):
    """A person in a tenant."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=10, choices=Role.choices, default=Role.MEMBER)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["tenant", "user"], name="membership_unique")]

    def __str__(self) -> str:
        return f"{self.user_id} in {self.tenant_id} as {self.role}"


class Invitation(models.Model):
    """A link that makes whoever opens it, and has this e-mail address, a member. Only its digest is kept."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="invitations")
    email = models.EmailField(max_length=254)
    """Lower case."""
    role = models.CharField(max_length=10, choices=Role.choices, default=Role.MEMBER)
    digest = models.CharField(max_length=64, unique=True)
    invited_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    accepted_at = models.DateTimeField(null=True)
    withdrawn_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "email"],
                condition=models.Q(accepted_at=None, withdrawn_at=None),
                name="invitation_one_open",
            )
        ]

    def __str__(self) -> str:
        return f"{self.email} to {self.tenant_id} as {self.role}"


class Session(AbstractBaseSession):
    """A browser that somebody is logged in with. Its key is a digest of the cookie (`tenants.sessions`)."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, null=True, related_name="sessions")
    created_at = models.DateTimeField()
    seen_at = models.DateTimeField(null=True)
    """When it was last used, to within some minutes."""
    agent = models.CharField(max_length=200, blank=True)
    """What the browser calls itself."""
    address = models.CharField(max_length=45, blank=True)
    """Where it was last seen."""

    def __str__(self) -> str:
        return f"session of {self.user_id}"

    @classmethod
    def get_session_store_class(cls) -> type[SessionBase]:
        """What reads its data."""
        from tenants.sessions import SessionStore  # noqa: PLC0415 - it imports this module

        return SessionStore


class ClientKey(models.Model):
    """A bearer for headless MCP clients of one Membership. Only its digest is kept."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    membership = models.ForeignKey(Membership, on_delete=models.CASCADE, related_name="client_keys")
    name = models.CharField(max_length=80)
    prefix = models.CharField(max_length=16)
    digest = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"{self.prefix}… ({self.name})"


class DayUse(models.Model):
    """What a person in a tenant, or the tenant as a whole, has used on one day (UTC), with what is put aside for now.

    Written by `tenants.budgets` alone.
    """

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="+")
    user = models.ForeignKey(User, on_delete=models.CASCADE, null=True, related_name="+")
    """None: everybody in the tenant together."""
    day = models.DateField()
    turns = models.BigIntegerField(default=0)
    calls = models.BigIntegerField(default=0)
    tokens = models.BigIntegerField(default=0)
    micros = models.BigIntegerField(default=0)
    ms = models.BigIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["tenant", "user", "day"], name="day_use_of_user_unique"),
            # A person that is NULL is unlike every other NULL to the constraint above.
            models.UniqueConstraint(
                fields=["tenant", "day"], condition=models.Q(user=None), name="day_use_of_tenant_unique"
            ),
        ]
        indexes = [models.Index(fields=["day"], name="day_use_day")]

    def __str__(self) -> str:
        return f"{self.user_id or 'everybody'} in {self.tenant_id} on {self.day}"


class AskHour(models.Model):
    """Asks of a tenant within one hour that ended alike. Written by `tenants.asked` alone."""

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="+")
    hour = models.DateTimeField()
    provider = models.CharField(max_length=40)
    way = models.CharField(max_length=10)
    """`metaagent.agent.types.Way`, or `none`: it was not answered."""
    outcome = models.CharField(max_length=24)
    """`ok`, or the code it failed with."""
    asks = models.BigIntegerField()
    ms = models.BigIntegerField()
    tokens = models.BigIntegerField()
    micros = models.BigIntegerField()
    saved = models.BigIntegerField()
    """Tokens of the provider's own tool list that the client's model did not have to read."""

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["tenant", "hour", "provider", "way", "outcome"], name="ask_hour_unique")
        ]
        indexes = [models.Index(fields=["hour"], name="ask_hour_by_age")]

    def __str__(self) -> str:
        return f"{self.asks} asks of {self.provider} in {self.tenant_id} at {self.hour}"


class AskSpeed(models.Model):
    """The asks of a tenant within one hour that were answered in about the same time. Written by `tenants.asked` alone.

    A table of its own: told apart by way and outcome as well, nearly every ask would have its own row.
    """

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="+")
    hour = models.DateTimeField()
    provider = models.CharField(max_length=40)
    speed = models.SmallIntegerField()
    """Which class of latency (`tenants.asked.SPEEDS_MS`)."""
    asks = models.BigIntegerField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["tenant", "hour", "provider", "speed"], name="ask_speed_unique")]
        indexes = [models.Index(fields=["hour"], name="ask_speed_by_age")]

    def __str__(self) -> str:
        return f"{self.asks} asks of {self.provider} in {self.tenant_id} at {self.hour} took {self.speed}"


class AskDay(models.Model):
    """The asks of one person on one day (UTC). Written by `tenants.asked` alone."""

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="+")
    day = models.DateField()
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    provider = models.CharField(max_length=40)
    asks = models.BigIntegerField()
    failed = models.BigIntegerField()
    ms = models.BigIntegerField()
    tokens = models.BigIntegerField()
    micros = models.BigIntegerField()
    saved = models.BigIntegerField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["tenant", "day", "user", "provider"], name="ask_day_unique")]

    def __str__(self) -> str:
        return f"{self.asks} asks of {self.user_id} in {self.tenant_id} on {self.day}"


class Repeat(models.Model):
    """What a POST with an `Idempotency-Key` was answered, for whoever sends it again. Written by REST alone."""

    key = models.ForeignKey(ClientKey, on_delete=models.CASCADE, related_name="+")
    """Whose request it was."""
    digest = models.CharField(max_length=64)
    """Of the `Idempotency-Key`."""
    request = models.CharField(max_length=64)
    """A digest of method, path and body: the same key with another request is refused."""
    status = models.PositiveSmallIntegerField(null=True)
    """None: it is being worked."""
    sealed = models.BinaryField(null=True)
    """The answer, under a key that only the `Idempotency-Key` gives: it may hold what is shown once."""
    at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["key", "digest"], name="repeat_unique")]
        indexes = [models.Index(fields=["at"], name="repeat_at")]

    def __str__(self) -> str:
        return f"answer {self.status} to {self.key_id}"


class Standing(models.Model):
    """One row: how often anybody's rights have changed (see `tenants.standing`)."""

    generation = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return str(self.generation)
