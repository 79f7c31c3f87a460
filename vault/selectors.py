"""Reads about connections, always of one tenant."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from django.db.models import Q, QuerySet

from vault import sealing
from vault.crypto import DataKey, Unreadable, key_id
from vault.models import Connection, SealedTokenSet, Status
from vault.services.access import SealedAccess, sealed_with


@dataclass(frozen=True, slots=True)
class UsableConnection:
    """One connection a person may act through, with its token ready to open when that is good for a while."""

    id: UUID
    installation_id: UUID
    account_id: str
    label: str
    ready: bool
    reason: str
    scopes: frozenset[str]
    is_default: bool
    shared: bool
    sealed: SealedAccess | None


def usable_by(tenant_id: UUID, user_id: UUID) -> list[UsableConnection]:
    """The connections a person may act through: their own and the tenant's, the default first.

    Disconnected ones are left out; ones that need a new log-in are not.
    """
    rows = (
        Connection.objects.filter(Q(owner_id=user_id) | Q(owner=None), tenant_id=tenant_id)
        .exclude(status__in=[Status.REVOKING, Status.REVOKED])
        .select_related("tokens")
        .order_by("-is_default", "created_at")
    )
    opened: dict[UUID, DataKey | None] = {}
    return [
        UsableConnection(
            id=row.pk,
            installation_id=row.installation_id,
            account_id=row.account_id,
            label=row.account_label,
            ready=row.status == Status.READY,
            reason=row.reason,
            scopes=frozenset(row.scopes),
            is_default=row.is_default,
            shared=row.owner_id is None,
            sealed=_sealed(row, opened) if row.status == Status.READY else None,
        )
        for row in rows
    ]


def _sealed(row: Connection, opened: dict[UUID, DataKey | None]) -> SealedAccess | None:
    """The access token with its data key, each key looked up once; None leaves the matter to `access`."""
    tokens: SealedTokenSet | None = getattr(row, "tokens", None)
    if tokens is None:
        return None
    try:
        named = key_id(bytes(tokens.access))
        if named not in opened:
            opened[named] = sealing.data_key(row.tenant_id, tokens.access)
    except Unreadable:
        return None
    key = opened[named]
    return sealed_with(row, tokens, key) if key else None


def of_user(user_id: UUID) -> QuerySet[Connection]:
    """A person's own connections in every tenant they are still a member of."""
    return (
        Connection.objects.filter(owner_id=user_id, tenant__memberships__user_id=user_id)
        .select_related("installation", "tenant")
        .order_by("tenant__name", "installation__slug", "account_label")
    )


def of_tenant(tenant_id: UUID) -> QuerySet[Connection]:
    """Every connection of a tenant."""
    return (
        Connection.objects.filter(tenant_id=tenant_id)
        .select_related("installation", "owner")
        .order_by("installation__slug", "account_label")
    )


def connection(connection_id: UUID) -> Connection | None:
    """One connection by id, for operators."""
    return Connection.objects.select_related("installation", "owner").filter(pk=connection_id).first()
