"""Shredding a tenant's keys: what they sealed can no longer be opened, by anybody."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import transaction

from audit import services as audit
from audit.events import Event, EventKind
from vault.models import ClientSecret, Connection, Revocation, Status, TenantKey
from vault.services import revoke
from vault.services.revoke import Ending


@dataclass(frozen=True, slots=True)
class Loss:
    """What a tenant's keys have sealed."""

    keys: int
    connections: int
    pending_revocations: int
    client_secrets: int


@dataclass(frozen=True, slots=True)
class Shredded:
    """What is gone."""

    loss: Loss
    unconfirmed: int
    """Grants that may live on at their providers: nobody can revoke them from here any more."""


def loss(tenant_id: UUID) -> Loss:
    """What shredding would make unreadable."""
    return Loss(
        keys=TenantKey.objects.filter(tenant_id=tenant_id).exclude(state=TenantKey.State.SHREDDED).count(),
        connections=Connection.objects.filter(tenant_id=tenant_id).exclude(status=Status.REVOKED).count(),
        pending_revocations=Revocation.objects.filter(tenant_id=tenant_id).count(),
        client_secrets=ClientSecret.objects.filter(installation__tenant_id=tenant_id).count(),
    )


def shred(*, tenant_id: UUID, by: UUID | None, now: datetime) -> Shredded:
    """Disconnect everything, each tried once at its provider; then destroy the tenant's data keys.

    The tenant may connect anew, under a new key; its client secrets have to be entered again.
    """
    lost, connections = loss(tenant_id), Connection.objects.filter(tenant_id=tenant_id)
    with transaction.atomic():
        intent = audit.record(EventKind.SHRED_INTENT, tenant_id=tenant_id, user_id=by, keys=lost.keys)
        ended = revoke.end(connections, by=by, now=now)
    for connection_id in ended:
        revoke.pursue([connection_id])
    with transaction.atomic():
        revoke.end(connections, by=by, now=now)  # what was connected meanwhile
        pending = list(Revocation.objects.filter(tenant_id=tenant_id).select_related("connection__installation"))
        Revocation.objects.filter(pk__in=[row.pk for row in pending]).delete()
        for row in pending:
            revoke.conclude(row, Ending.UNREADABLE)
        TenantKey.objects.filter(tenant_id=tenant_id).update(state=TenantKey.State.SHREDDED, wrapped=None)
        detail = {"keys": lost.keys, "connections": lost.connections, "unconfirmed": len(pending)}
        audit.append([Event(EventKind.SHRED_DONE, tenant_id=tenant_id, user_id=by, intent_id=intent.id, detail=detail)])
    return Shredded(lost, len(pending))
