"""Writes about tenants, people and keys, each with its audit event."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from audit import services as audit
from audit.events import EventKind
from tenants import keys, standing
from tenants.models import ClientKey, Membership, Role, Tenant, User


class Refused(Exception):
    """Something asked for that cannot be; the message says what to do."""


@transaction.atomic
def create_tenant(*, slug: str, name: str, by: UUID | None) -> Tenant:
    """A new tenant. Raises: Refused when the slug is taken or malformed."""
    tenant = Tenant(slug=slug, name=name or slug)
    try:
        tenant.clean_fields()
    except ValidationError as wrong:
        raise Refused(f"The slug “{slug[:60]}” cannot be used: {' '.join(wrong.messages)}") from None
    if same := Tenant.objects.filter(slug=slug).first():
        raise Refused(f"There is a tenant “{slug}” already{', which is being removed' if same.closed_at else ''}.")
    tenant.save()
    audit.record(EventKind.TENANT_CREATED, tenant_id=tenant.pk, user_id=by, slug=slug)
    return tenant


@transaction.atomic
def close_tenant(*, tenant: Tenant, now: datetime, by: UUID | None) -> bool:
    """Nobody may do anything in this tenant any more. False when it was closed before.

    Its connections are the vault's matter: see `vault.services.leave`.
    """
    if not Tenant.objects.filter(pk=tenant.pk, closed_at=None).update(closed_at=now):
        return False
    standing.changed()
    audit.record(EventKind.TENANT_CLOSED, tenant_id=tenant.pk, user_id=by, slug=tenant.slug)
    return True


def create_user(*, email: str, name: str = "", password: str | None, operator: bool = False) -> User:
    """A new person. Raises: Refused when the address is taken or malformed, or the password weak."""
    user = User(email=email.strip().lower(), name=name, is_staff=operator, is_superuser=operator)
    try:
        user.clean_fields(exclude=["password"])
        if password is not None:
            validate_password(password, user)
    except ValidationError as wrong:
        raise Refused(" ".join(wrong.messages)) from None
    user.set_password(password)
    try:
        with transaction.atomic():
            user.save()
    except IntegrityError:
        raise Refused(f"There is a user “{user.email}” already.") from None
    return user


@transaction.atomic
def add_member(*, tenant: Tenant, user: User, role: str, by: UUID | None) -> Membership:
    """Put a person in a tenant, or give them another role there. Raises: Refused for an unknown role."""
    if role not in Role.values:
        raise Refused(f"The role must be one of {', '.join(Role.values)}.")
    member, created = Membership.objects.update_or_create(tenant=tenant, user=user, defaults={"role": role})
    kind = EventKind.MEMBER_ADDED if created else EventKind.MEMBER_CHANGED
    standing.changed()
    audit.record(kind, tenant_id=tenant.pk, user_id=by, member=str(user.pk), role=role)
    return member


@transaction.atomic
def remove_member(*, membership: Membership, by: UUID | None) -> None:
    """Take a person out of a tenant; their keys there die with the membership.

    Their connections are the vault's matter: see `vault.services.leave`.
    """
    audit.record(EventKind.MEMBER_REMOVED, tenant_id=membership.tenant_id, user_id=by, member=str(membership.user_id))
    membership.delete()
    standing.changed()


@transaction.atomic
def create_client_key(
    *, membership: Membership, name: str, now: datetime, expires_days: int | None = None, by: UUID | None
) -> tuple[ClientKey, str]:
    """A new client key and its plaintext, which is not kept. Raises: Refused for a lifetime that is not positive."""
    if expires_days is not None and not 1 <= expires_days <= 3_650:  # noqa: PLR2004 - ten years, stated in the message
        raise Refused("A key lives between 1 and 3650 days.")
    minted = keys.mint()
    row = ClientKey.objects.create(
        membership=membership,
        name=name[:80] or "key",
        prefix=minted.prefix,
        digest=minted.digest,
        expires_at=now + timedelta(days=expires_days) if expires_days else None,
    )
    audit.record(EventKind.KEY_CREATED, tenant_id=membership.tenant_id, user_id=by, key=minted.prefix)
    return row, minted.key


@transaction.atomic
def revoke_client_key(*, key: ClientKey, now: datetime, by: UUID | None) -> None:
    """End a key; no call that starts later is served for it."""
    ClientKey.objects.filter(pk=key.pk, revoked_at=None).update(revoked_at=now)
    standing.changed()
    audit.record(EventKind.KEY_REVOKED, tenant_id=key.membership.tenant_id, user_id=by, key=key.prefix)
