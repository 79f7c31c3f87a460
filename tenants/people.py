"""Who is in a tenant, and who may change that."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from types import MappingProxyType
from uuid import UUID

from django.db.models import Max, Q, QuerySet

from tenants import selectors
from tenants.models import AskDay, Membership, Role

ROLES: Mapping[Role, str] = MappingProxyType(
    {
        Role.MEMBER: "asks, and connects accounts of their own",
        Role.AUDITOR: "asks, and sees the console and the audit log without changing anything",
        Role.ADMIN: "asks, and runs the tenant: providers, policies, keys, people",
        Role.OWNER: "does what an admin does, and decides who else is an owner",
    }
)
"""What each may do, from the least to the most."""
_RANK: Mapping[str | None, int] = MappingProxyType({None: 0, **{role.value: at for at, role in enumerate(ROLES, 1)}})


def may_give(actor: str, current: str | None, wanted: str | None) -> bool:
    """Whether somebody who is `actor` may make another, who is `current`, `wanted` in the same tenant; None: nobody.

    Nobody gives or takes what is above their own role, and below an administrator nobody gives anything.
    """
    known = {actor, current, wanted} <= _RANK.keys()
    return known and _RANK[actor] >= _RANK[Role.ADMIN] and max(_RANK[current], _RANK[wanted]) <= _RANK[actor]


def givable(actor: str, current: str | None) -> list[tuple[Role, str]]:
    """The roles that such a person may be given, each with what it may do."""
    return [(role, words) for role, words in ROLES.items() if may_give(actor, current, role)]


def members(tenant_id: UUID, *, like: str = "", role: str = "", after: str = "") -> QuerySet[Membership]:
    """A tenant's members in the order of their addresses, from the one behind `after` on."""
    rows = selectors.memberships(tenant_id)
    if like:
        rows = rows.filter(Q(user__email__icontains=like) | Q(user__name__icontains=like))
    if role:
        rows = rows.filter(role=role)
    return rows.filter(user__email__gt=after) if after else rows


def last_asked(tenant_id: UUID, user_ids: Iterable[UUID]) -> dict[UUID, date]:
    """On which day (UTC) each of these people last asked anything in this tenant, if ever."""
    days = AskDay.objects.filter(tenant_id=tenant_id, user__in=list(user_ids))
    return dict(days.values_list("user").annotate(Max("day")))
