"""Writes about tenants, people and keys, each with its audit event."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import Q

from audit import services as audit
from audit.events import Event, EventKind
from tenants import keys, people, selectors, sessions, standing
from tenants.models import ClientKey, Membership, Role, Tenant, User

MOST_KEYS = 50
"""Client keys one member may have at a time."""


class Refused(Exception):
    """Something asked for that cannot be; the message says what to do."""


class NotAllowed(Refused):
    """It could be, but not by this person."""


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
def rename_tenant(*, tenant: Tenant, name: str, by: UUID | None) -> None:
    """Call a tenant something else; its slug, and with it its addresses, stay. Raises: Refused."""
    name = " ".join(name.split())
    if not 1 <= len(name) <= 120 or not name.isprintable():  # noqa: PLR2004 - the column's length, as the message says
        raise Refused("A name has 1 to 120 letters, digits and signs.")
    if Tenant.objects.filter(pk=tenant.pk, closed_at=None).exclude(name=name).update(name=name):
        audit.record(EventKind.TENANT_CHANGED, tenant_id=tenant.pk, user_id=by, what="name", was=tenant.name, name=name)


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
    _fit(user, password)
    user.set_password(password)
    try:
        with transaction.atomic():
            user.save()
    except IntegrityError:
        raise Refused(f"There is a user “{user.email}” already.") from None
    return user


@transaction.atomic
def rename(*, user: User, name: str) -> None:
    """Give a person another name, or none. Raises: Refused when it is too long."""
    user.name = name
    _fit(user)
    user.save(update_fields=["name"])


def _fit(user: User, password: str | None = None) -> None:
    """Raises: Refused when their name or address is none, or the password weak."""
    user.name = " ".join(user.name.split())
    if not user.name.isprintable():
        raise Refused("A name has letters, digits and signs only.")
    try:
        user.clean_fields(exclude=["password"])
        if password is not None:
            validate_password(password, user)
    except ValidationError as wrong:
        raise Refused(" ".join(wrong.messages)) from None


@transaction.atomic
def end_sessions(*, user: User, key: str = "", but: str = "") -> int:
    """Log a person out of one browser, or of all but one, by the sessions' rows. How many there were."""
    ended = int(sessions.end(user_id=user.pk, key=key)) if key else sessions.end_all(user_id=user.pk, but=but)
    if ended:
        tell(EventKind.SESSION_ENDED, user=user, by=user.pk, sessions=ended)
    return ended


@transaction.atomic
def set_password(*, user: User, password: str, by: UUID | None) -> None:
    """Give a person another password; whoever is logged in as them is not any more. Raises: Refused when it is weak."""
    _fit(user, password)
    user.set_password(password)
    user.save(update_fields=["password"])
    sessions.end_all(user_id=user.pk)
    tell(EventKind.PASSWORD_CHANGED, user=user, by=by)


@transaction.atomic
def deactivate(*, user: User, by: UUID | None) -> None:
    """Nobody may do anything as this person any more. Raises: Refused for the last owner of a tenant."""
    tenants = Tenant.objects.filter(memberships__user=user, closed_at=None).order_by("pk")
    for tenant_id in list(tenants.values_list("pk", flat=True)):
        hold(tenant_id)
    for row in user.memberships.filter(role=Role.OWNER, tenant__closed_at=None).select_related("tenant", "user"):
        _keep_an_owner(row)
    user.is_active = False
    user.save(update_fields=["is_active"])
    sessions.end_all(user_id=user.pk)
    tell(EventKind.USER_DEACTIVATED, user=user, by=by)


def refuse_log_in(*, email: str, address: str) -> None:
    """Record that somebody gave a wrong password for this person, if there is one."""
    if user := User.objects.filter(email=email).first():
        tell(EventKind.LOGIN_REFUSED, user=user, by=user.pk, address=address)


def tell(kind: EventKind, *, user: User, by: UUID | None, **detail: str | int) -> None:
    """Record something about a person, which no tenant's is alone, in the log of each they are in."""
    told = {"member": str(user.pk), **detail} if by != user.pk else detail
    tenants = user.memberships.filter(tenant__closed_at=None).order_by("tenant").values_list("tenant_id", flat=True)
    if events := [Event(kind, tenant_id=tenant_id, user_id=by, detail=told) for tenant_id in tenants]:
        audit.append(events)


def hold(tenant_id: UUID) -> None:
    """Until the transaction ends, who is what in this tenant is changed by nobody else."""
    Tenant.objects.select_for_update(no_key=True).filter(pk=tenant_id).first()


def allow(*, tenant_id: UUID, by: UUID | None, current: str | None, wanted: str | None) -> None:
    """Raises: NotAllowed where `by` may not make somebody who is `current` `wanted`. None is the operator: may all."""
    if by is None:
        return
    actor = selectors.membership(tenant_id, by)
    if actor is None or not people.may_give(actor.role, current, wanted):
        raise NotAllowed("Your role does not let you do that. Ask an owner.")


@transaction.atomic
def add_member(*, tenant: Tenant, user: User, role: str, by: UUID | None) -> Membership:
    """Put a person in a tenant, or give them another role there. Raises: Refused, as `change_role` does."""
    hold(tenant.pk)
    if there := Membership.objects.filter(tenant=tenant, user=user).first():
        return change_role(membership=there, role=role, by=by)
    known(role)
    allow(tenant_id=tenant.pk, by=by, current=None, wanted=role)
    member = Membership.objects.create(tenant=tenant, user=user, role=role)
    standing.changed()
    audit.record(EventKind.MEMBER_ADDED, tenant_id=tenant.pk, user_id=by, member=str(user.pk), role=role)
    return member


@transaction.atomic
def change_role(*, membership: Membership, role: str, by: UUID | None) -> Membership:
    """Give a member another role.

    Raises: Refused for an unknown role, somebody who has left, and the last owner; NotAllowed for what `by` may not
    give or take, and for oneself.
    """
    known(role)
    hold(membership.tenant_id)
    row = Membership.objects.select_related("tenant", "user").filter(pk=membership.pk).first()
    if row is None:
        raise Refused("This person is not in the tenant any more.")
    if by == row.user_id:
        raise NotAllowed("Nobody changes their own role. Ask another owner.")
    allow(tenant_id=row.tenant_id, by=by, current=row.role, wanted=role)
    if (was := row.role) == role:
        return row
    if was == Role.OWNER:
        _keep_an_owner(row)
    row.role = role
    row.save(update_fields=["role"])
    standing.changed()
    audit.record(
        EventKind.MEMBER_CHANGED, tenant_id=row.tenant_id, user_id=by, member=str(row.user_id), role=role, was=was
    )
    return row


@transaction.atomic
def remove_member(*, membership: Membership, by: UUID | None) -> None:
    """Take a person out of a tenant, or let them leave it; their keys there die with the membership.

    Their connections are the vault's matter: see `vault.services.leave`.

    Raises: Refused for the last owner; NotAllowed for somebody whom `by` may not remove.
    """
    hold(membership.tenant_id)
    row = Membership.objects.select_related("tenant", "user").filter(pk=membership.pk).first()
    if row is None:
        return
    if by != row.user_id:
        allow(tenant_id=row.tenant_id, by=by, current=row.role, wanted=None)
    if row.role == Role.OWNER:
        _keep_an_owner(row)
    audit.record(EventKind.MEMBER_REMOVED, tenant_id=row.tenant_id, user_id=by, member=str(row.user_id), role=row.role)
    row.delete()
    standing.changed()


def known(role: str) -> None:
    """Raises: Refused for a role that is none."""
    if role not in Role.values:
        raise Refused(f"The role must be one of {', '.join(Role.values)}.")


def _keep_an_owner(row: Membership) -> None:
    """Raises: Refused when no other owner of this tenant could log in. The tenant is held."""
    others = selectors.live_memberships().filter(tenant_id=row.tenant_id, role=Role.OWNER).exclude(pk=row.pk)
    if row.tenant.closed_at is None and not others.exists():
        raise Refused(f"{row.user.email} is the last owner of {row.tenant.name}. Make another member an owner first.")


@transaction.atomic
def create_client_key(
    *, membership: Membership, name: str, now: datetime, expires_days: int | None = None, by: UUID | None
) -> tuple[ClientKey, str]:
    """A new client key and its plaintext, which is not kept. Raises: Refused for a lifetime that is not positive."""
    if expires_days is not None and not 1 <= expires_days <= 3_650:  # noqa: PLR2004 - ten years, stated in the message
        raise Refused("A key lives between 1 and 3650 days.")
    alive = Q(expires_at=None) | Q(expires_at__gt=now)
    if membership.client_keys.filter(alive, revoked_at=None).count() >= MOST_KEYS:
        raise Refused(f"There are {MOST_KEYS} keys already. End one that is no longer used first.")
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
