"""Members, providers and whole tenants leave: whatever could be done through them ends with them, then their rows go.

Local use ends in one transaction. Rows that are still needed to kill tokens at a provider stay until that is done.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet

from audit import services as audit
from audit.events import EventKind
from providers import services as providers
from providers.models import Installation
from tenants import services as tenants
from tenants import standing
from tenants.models import Membership, Tenant
from vault.models import ConnectAttempt, Connection, ConnectLink, Revocation, Status
from vault.services import question, revoke
from vault.services.revoke import Ended, Ending

_LANDING = timedelta(minutes=2)
"""A refresh or an exchange that was under way when something was removed has ended by then."""
_GIVE_UP = timedelta(days=7)


def remove_member(*, membership: Membership, by: UUID | None, now: datetime) -> Ended:
    """Take a person out of a tenant, with their keys, consents, links and their own connections there.

    What the tenant shares stays, whoever connected it.

    Raises: Refused, as `tenants.services.remove_member` does; then nothing has changed.
    """
    tenant_id, user_id = membership.tenant_id, membership.user_id
    with transaction.atomic():
        tenants.hold(tenant_id)
        # Whoever is connecting an account at this moment holds this row: it comes either before, and is found below,
        # or after, and is no longer a member.
        held = Membership.objects.select_for_update().filter(pk=membership.pk).first()
        ended = revoke.end(Connection.objects.filter(tenant_id=tenant_id, owner_id=user_id), by=by, now=now)
        question.member_removed(tenant_id=tenant_id, user_id=user_id, by=by, now=now)
        _unused_links().filter(tenant_id=tenant_id, user_id=user_id).delete()
        if held is not None:
            tenants.remove_member(membership=held, by=by)
    return revoke.pursue(ended)


def remove_provider(*, installation: Installation, by: UUID | None, now: datetime) -> Ended:
    """Stop exporting a provider and end its connections. Its row goes when nothing is left to do there."""
    with transaction.atomic():
        Installation.objects.select_for_update().filter(pk=installation.pk).first()
        ended = revoke.end(Connection.objects.filter(installation=installation), by=by, now=now)
        providers.switch_off(row=installation, by=by)
    found = revoke.pursue(ended)
    _purge_installations(only=installation, now=now)
    return found


def remove_tenant(*, tenant: Tenant, by: UUID | None, now: datetime) -> Ended:
    """Close a tenant and end its connections. Its rows go when nothing is left to do at providers (`purge`)."""
    with transaction.atomic():
        Tenant.objects.select_for_update().filter(pk=tenant.pk).first()
        list(Membership.objects.select_for_update().filter(tenant=tenant).order_by("pk"))  # see `remove_member`
        ended = revoke.end(Connection.objects.filter(tenant=tenant), by=by, now=now)
        for row in Installation.objects.filter(tenant=tenant, removed=False):
            providers.switch_off(row=row, by=by)
        _unused_links().filter(tenant=tenant).delete()
        tenants.close_tenant(tenant=tenant, now=now, by=by)
    return revoke.pursue(ended)


def end_left(*, now: datetime, most: int = 100) -> int:
    """End connections nobody may use any more, however that came about: a person deactivated, a row deleted by hand.

    Nothing serves them meanwhile: every call asks for a live membership. Returns how many there were.
    """
    member = Membership.objects.filter(
        tenant_id=OuterRef("tenant_id"), user_id=OuterRef("owner_id"), user__is_active=True
    )
    left = Connection.objects.exclude(status__in=[Status.REVOKING, Status.REVOKED]).filter(
        Q(tenant__closed_at__isnull=False) | Q(installation__removed=True) | (Q(owner__isnull=False) & ~Exists(member))
    )
    ids = list(left.values_list("pk", flat=True)[:most])
    if ids:
        with transaction.atomic():
            revoke.end(Connection.objects.filter(pk__in=ids), by=None, now=now)
    return len(ids)


def purge(*, now: datetime, most: int = 100) -> int:
    """Delete what is closed or removed and has nothing left to do. Returns how many tenants and installations."""
    over = _nothing_left("tenant") | Q(closed_at__lt=now - _GIVE_UP)
    closed = Tenant.objects.filter(over, closed_at__lt=now - _LANDING).order_by("closed_at")[:most]
    return sum([_purge_tenant(row) for row in closed]) + _purge_installations(now=now, most=most)


def _purge_tenant(tenant: Tenant) -> bool:
    """With what its providers have not confirmed to this day recorded as such; the log keeps its events."""
    with transaction.atomic():
        locked = Tenant.objects.select_for_update().filter(pk=tenant.pk, closed_at=tenant.closed_at)
        if locked.first() is None:
            return False
        left = list(Revocation.objects.filter(tenant=tenant).select_related("connection__installation"))
        Revocation.objects.filter(tenant=tenant).delete()
        for row in left:
            revoke.conclude(row, Ending.GIVEN_UP)
        audit.record(EventKind.TENANT_REMOVED, tenant_id=tenant.pk, slug=tenant.slug, unconfirmed=len(left))
        tenant.delete()
        standing.changed()
    return True


def _purge_installations(*, only: Installation | None = None, now: datetime, most: int = 100) -> int:
    landing = ConnectAttempt.objects.filter(
        link__installation=OuterRef("pk"), used_at__gt=now - _LANDING, connection=None
    )
    off = Installation.objects.filter(
        ~Exists(landing), _nothing_left("installation"), removed=True, tenant__closed_at=None
    )
    found = (off.filter(pk=only.pk) if only else off).values_list("pk", flat=True)[:most]
    purged = 0
    for pk in list(found):
        with transaction.atomic():
            # Looked at again under the lock: it may have been installed anew, and even been connected.
            row = Installation.objects.select_for_update().filter(pk=pk, removed=True).first()
            if row is not None and not _alive().filter(installation=row).exists():
                row.delete()
                purged += 1
    return purged


def _nothing_left(of: str) -> Q:
    """No connection of it that is used or still has tokens to be killed, as a condition on its own rows."""
    return ~Q(Exists(_alive().filter(**{of: OuterRef("pk")})))


def _alive() -> QuerySet[Connection]:
    pending = Revocation.objects.filter(connection=OuterRef("pk"))
    return Connection.objects.filter(~Q(status=Status.REVOKED) | Exists(pending))


def _unused_links() -> QuerySet[ConnectLink]:
    """Links nobody has followed to the end: what is under way is refused there, and ends with an outcome."""
    return ConnectLink.objects.filter(Q(attempt=None) | Q(attempt__used_at=None))
