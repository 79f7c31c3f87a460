"""Reads about tenants, people and keys."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import Q, QuerySet

from tenants.models import ClientKey, Membership, Tenant, User
from tenants.oauth.models import ClientGrant

CONSOLE = "console"
"""The client of asks that people make on our own pages."""


@dataclass(frozen=True, slots=True)
class KeyStanding:
    """The live membership a client key acts for."""

    key_id: UUID
    tenant_id: UUID
    tenant_slug: str
    user_id: UUID
    role: str
    expires_at: datetime | None


def key_standing(digest: str, *, now: datetime) -> KeyStanding | None:
    """Who a key speaks for at this moment: one narrow query over key, membership, user and tenant."""
    alive = Q(expires_at=None) | Q(expires_at__gt=now)
    row = (
        ClientKey.objects.filter(
            alive,
            digest=digest,
            revoked_at=None,
            membership__user__is_active=True,
            membership__tenant__closed_at=None,
        )
        .values_list(
            "id",
            "membership__tenant_id",
            "membership__tenant__slug",
            "membership__user_id",
            "membership__role",
            "expires_at",
        )
        .first()
    )
    return KeyStanding(*row) if row else None


def client_name(client: str) -> str:
    """What a key's owner called it, or what the client of a grant calls itself; nothing when it is gone."""
    return client_names({client}).get(client, "")


def client_names(clients: Collection[str]) -> dict[str, str]:
    """The same of several clients, those that are gone left out; two queries at most."""
    ids: dict[str, set[UUID]] = {"key": set(), "grant": set()}
    for client in clients:
        kind, _, ident = client.partition(":")
        with suppress(KeyError, ValueError):
            ids[kind].add(UUID(ident))
    keys = ClientKey.objects.filter(pk__in=ids["key"]).values_list("pk", "name")
    grants = ClientGrant.objects.filter(pk__in=ids["grant"]).values_list("pk", "client__name")
    names = {f"key:{pk}": name for pk, name in keys} | {f"grant:{pk}": name for pk, name in grants}
    return names | ({CONSOLE: "The console"} if CONSOLE in clients else {})


def tenant(slug: str, *, closed: bool = False) -> Tenant | None:
    """The tenant with this slug; one that is being removed only when `closed` is said."""
    found = Tenant.objects.filter(slug=slug).first()
    return found if found is None or closed or found.closed_at is None else None


def membership(tenant_id: UUID, user_id: UUID) -> Membership | None:
    """The live membership of a person in a tenant."""
    return live_memberships().filter(tenant_id=tenant_id, user_id=user_id).first()


def memberships_of(user: User) -> QuerySet[Membership]:
    """A person's memberships, in the order of their tenants' names."""
    return live_memberships().filter(user=user).order_by("tenant__name")


def memberships(tenant_id: UUID) -> QuerySet[Membership]:
    """A tenant's members, also those who cannot log in any more."""
    return Membership.objects.filter(tenant_id=tenant_id).select_related("user").order_by("user__email")


def person(email: str) -> UUID | None:
    """The id of whoever has this address, member of something or not."""
    return User.objects.filter(email=email.strip().lower()).values_list("pk", flat=True).first()


def people(ids: Collection[UUID]) -> dict[UUID, str]:
    """The e-mail addresses of people, those who are gone left out."""
    return dict(User.objects.filter(pk__in=ids).values_list("pk", "email"))


def live_memberships() -> QuerySet[Membership]:
    """Those that count: of people who may log in, in tenants that are not being removed."""
    return Membership.objects.select_related("tenant", "user").filter(user__is_active=True, tenant__closed_at=None)
