"""Reads about MCP clients and what they hold."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar
from uuid import UUID

from django.db.models import Q, QuerySet

from tenants.models import ClientKey, User
from tenants.oauth.models import AccessToken, Client, ClientGrant, Code, RefreshToken

T = TypeVar("T", Code, RefreshToken)


@dataclass(frozen=True, slots=True)
class TokenStanding:
    """The live membership an access token acts for, and where."""

    grant_id: UUID
    tenant_id: UUID
    tenant_slug: str
    user_id: UUID
    resource: str
    scope: str
    expires_at: datetime


def token_standing(digest: str, *, now: datetime) -> TokenStanding | None:
    """Who an access token speaks for at this moment: one narrow query over token, grant, membership, user, tenant."""
    row = (
        AccessToken.objects.filter(
            token_checksum=digest,
            expires__gt=now,
            grant__ended_at=None,
            grant__membership__user__is_active=True,
            grant__membership__tenant__closed_at=None,
        )
        .values_list(
            "grant_id",
            "grant__membership__tenant_id",
            "grant__membership__tenant__slug",
            "grant__membership__user_id",
            "grant__resource",
            "scope",
            "expires",
        )
        .first()
    )
    return TokenStanding(*row) if row else None


def lives(grant: ClientGrant, *, now: datetime) -> bool:
    """Whether a grant stands: neither ended nor over, and its person still a member who may log in."""
    member = grant.membership
    return (
        grant.ended_at is None and grant.expires_at > now and member.user.is_active and member.tenant.closed_at is None
    )


def code(digest: str, client: Client) -> Code | None:
    """A client's authorization code, used or not."""
    return _with_grant(Code.objects.filter(code=digest, application=client)).first()


def refresh_token(digest: str) -> RefreshToken | None:
    """A refresh token, spent or not."""
    return _with_grant(RefreshToken.objects.filter(token_checksum=digest)).first()


def grants_of(user: User, *, now: datetime) -> QuerySet[ClientGrant]:
    """What a person lets clients do, the newest first; only what has been taken up and stands."""
    return (
        ClientGrant.objects.filter(
            membership__user=user,
            membership__tenant__closed_at=None,
            used_at__isnull=False,
            ended_at=None,
            expires_at__gt=now,
        )
        .select_related("client", "membership__tenant")
        .order_by("-created_at")
    )


def keys_of(user: User, *, now: datetime) -> QuerySet[ClientKey]:
    """A person's client keys that are good, the newest first."""
    return (
        ClientKey.objects.filter(
            Q(expires_at=None) | Q(expires_at__gt=now),
            membership__user=user,
            membership__tenant__closed_at=None,
            revoked_at=None,
        )
        .select_related("membership__tenant")
        .order_by("-created_at")
    )


def grants_in(
    tenant_id: UUID, *, now: datetime, person: str = "", like: str = "", client_id: int | None = None
) -> QuerySet[ClientGrant]:
    """What a tenant's people let clients do; with a part of their address, of what the client calls itself."""
    rows = ClientGrant.objects.filter(
        membership__tenant_id=tenant_id, used_at__isnull=False, ended_at=None, expires_at__gt=now
    )
    if person:
        rows = rows.filter(membership__user__email__icontains=person)
    if like:
        rows = rows.filter(client__name__icontains=like)
    if client_id is not None:
        rows = rows.filter(client_id=client_id)
    return rows.select_related("client", "membership__user")


def keys_in(tenant_id: UUID, *, now: datetime, person: str = "") -> QuerySet[ClientKey]:
    """The client keys of a tenant's people that are good."""
    rows = ClientKey.objects.filter(
        Q(expires_at=None) | Q(expires_at__gt=now), membership__tenant_id=tenant_id, revoked_at=None
    )
    if person:
        rows = rows.filter(membership__user__email__icontains=person)
    return rows.select_related("membership__user")


def _with_grant(rows: QuerySet[T]) -> QuerySet[T]:
    return rows.select_related("user", "grant__client", "grant__membership__user", "grant__membership__tenant")
