"""Invitations: a link that makes whoever opens it, and has the e-mail address it was made for, a member."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import OuterRef, Q, QuerySet, Subquery
from django.urls import reverse

from audit import services as audit
from audit.events import EventKind
from tenants import keys, people, selectors
from tenants import services as tenants
from tenants.models import Invitation, Membership, Tenant, User
from tenants.services import NotAllowed, Refused

_OPEN = Q(accepted_at=None, withdrawn_at=None)


class Over(Exception):
    """There is no such invitation, or it leads nowhere any more; which of these is nobody's business."""


class ForAnother(Exception):
    """It was made for somebody else."""


class Known(Exception):
    """There is a person with this e-mail address already: they log in first."""


def address_of(handle: str) -> str:
    """The link of an invitation."""
    return f"{settings.PUBLIC_URL}{reverse('invitation', args=[handle])}"


def open_invitations(tenant_id: UUID) -> QuerySet[Invitation]:
    """Those nobody has accepted or withdrawn, also when their time is over."""
    rows = Invitation.objects.filter(_OPEN, tenant_id=tenant_id)
    return rows.select_related("invited_by")


@transaction.atomic
def invite(*, tenant: Tenant, email: str, role: str, by: UUID, now: datetime) -> tuple[Invitation, str]:
    """A new invitation and its link, which is not kept.

    Raises: Refused for a malformed address, a member, somebody who is invited already; NotAllowed.
    """
    tenants.known(role)
    tenants.allow(tenant_id=tenant.pk, by=by, current=None, wanted=role)
    handle, email = keys.mint_handle(), email.strip().lower()
    row = Invitation(
        tenant=tenant,
        email=email,
        role=role,
        digest=keys.digest(handle),
        invited_by_id=by,
        created_at=now,
        expires_at=now + timedelta(days=settings.INVITATION_DAYS),
    )
    try:
        row.clean_fields(exclude=["accepted_at", "withdrawn_at"])
    except ValidationError:
        raise Refused("That is not an e-mail address. It looks like name@example.com.") from None
    if Membership.objects.filter(tenant=tenant, user__email=email).exists():
        raise Refused(f"{email} is a member already. Give them another role instead.")
    try:
        with transaction.atomic():
            row.save()
    except IntegrityError:
        raise Refused(f"{email} is invited already. Renew or withdraw that invitation.") from None
    _record(EventKind.MEMBER_INVITED, row, by)
    return row, address_of(handle)


@transaction.atomic
def renew(*, invitation: Invitation, by: UUID, now: datetime) -> str:
    """A new link, from now on `by`'s; the old one leads nowhere. Raises: Refused when it is over; NotAllowed."""
    handle = keys.mint_handle()
    fresh = {
        "digest": keys.digest(handle),
        "invited_by_id": by,
        "expires_at": now + timedelta(days=settings.INVITATION_DAYS),
    }
    _change(invitation, by, fresh)
    _record(EventKind.MEMBER_INVITED, invitation, by)
    return address_of(handle)


@transaction.atomic
def withdraw(*, invitation: Invitation, by: UUID, now: datetime) -> None:
    """Its link leads nowhere any more. Raises: Refused when it is over; NotAllowed."""
    _change(invitation, by, {"withdrawn_at": now})
    _record(EventKind.MEMBER_UNINVITED, invitation, by)


def opened(*, handle: str, now: datetime) -> Invitation:
    """The invitation of a link, while whoever made it may still do so. Raises: Over."""
    inviter = selectors.live_memberships().filter(tenant=OuterRef("tenant"), user=OuterRef("invited_by"))
    row = (
        Invitation.objects.select_related("tenant", "invited_by")
        .annotate(inviter=Subquery(inviter.values("role")))
        .filter(_OPEN, digest=keys.digest(handle), expires_at__gt=now)
        .first()
    )
    if row is None or row.inviter is None or not people.may_give(row.inviter, None, row.role):
        raise Over
    return row


@transaction.atomic
def accept(*, handle: str, user: User, now: datetime) -> Membership:
    """Make this person a member; one who is a member meanwhile stays what they are. Raises: Over, ForAnother."""
    row = opened(handle=handle, now=now)
    if user.email != row.email:
        raise ForAnother
    tenants.hold(row.tenant_id)
    still = Invitation.objects.filter(_OPEN, pk=row.pk, digest=row.digest, expires_at__gt=now)
    if not still.update(accepted_at=now):
        raise Over
    _record(EventKind.INVITATION_ACCEPTED, row, user.pk)
    if there := Membership.objects.filter(tenant=row.tenant_id, user=user).first():
        return there
    try:
        return tenants.add_member(tenant=row.tenant, user=user, role=row.role, by=row.invited_by_id)
    except NotAllowed:
        raise Over from None


@transaction.atomic
def join(*, handle: str, name: str, password: str, now: datetime) -> User:
    """A new person with exactly the invited address, and a member. Raises: Over, Known, Refused for a weak password."""
    row = opened(handle=handle, now=now)
    if is_known(row):
        raise Known
    user = tenants.create_user(email=row.email, name=name, password=password)
    accept(handle=handle, user=user, now=now)
    return user


def is_known(invitation: Invitation) -> bool:
    """Whether there is a person with the invited address."""
    return User.objects.filter(email=invitation.email).exists()


def _change(invitation: Invitation, by: UUID, fields: dict[str, object]) -> None:
    tenants.allow(tenant_id=invitation.tenant_id, by=by, current=None, wanted=invitation.role)
    if not Invitation.objects.filter(_OPEN, pk=invitation.pk).update(**fields):
        raise Refused("This invitation was accepted or withdrawn meanwhile.")


def _record(kind: EventKind, row: Invitation, by: UUID) -> None:
    audit.record(kind, tenant_id=row.tenant_id, user_id=by, invitation=str(row.pk), email=row.email, role=row.role)
