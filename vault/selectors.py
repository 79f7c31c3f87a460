"""Reads about connections, always of one tenant."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import Count, Max, Min, OuterRef, Q, QuerySet
from django.db.models.functions import Now

from audit import selectors as audit_log
from providers import health
from providers import selectors as providers
from providers.spec import Exposure
from tenants import selectors as tenants
from tenants.models import Membership
from vault import sealing
from vault.crypto import DataKey, KeysUnavailable, Unreadable, key_id
from vault.models import Approval, Connection, Consent, Revocation, SealedTokenSet, Status
from vault.services.access import SealedAccess, sealed_with
from vault.services.accounts import ADMINS
from vault.services.sealed import grant_of


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
    api_base: str
    sealed: SealedAccess | None


def usable_by(tenant_id: UUID, user_id: UUID) -> list[UsableConnection]:
    """The connections a person may act through: their own and the tenant's, the default first.

    Disconnected ones are left out; ones that need a new log-in are not.
    """
    rows = (
        Connection.objects.filter(Q(owner_id=user_id) | Q(owner=None), tenant_id=tenant_id)
        .exclude(status__in=[Status.REVOKING, Status.REVOKED])
        .select_related("tokens", "installation")
        .annotate(clock=Now(), logged=audit_log.token_version(OuterRef("pk")))
        .order_by("-is_default", "created_at")
    )
    opened: dict[UUID, DataKey | None] = {}
    return [
        UsableConnection(
            id=row.pk,
            installation_id=row.installation_id,
            account_id=row.account_id,
            label=row.label,
            ready=row.status == Status.READY,
            reason=row.reason,
            scopes=frozenset(row.scopes),
            is_default=row.is_default,
            shared=row.owner_id is None,
            api_base=row.api_base,
            sealed=_sealed(row, opened, clock=row.clock, logged=row.logged) if row.status == Status.READY else None,
        )
        for row in rows
    ]


def _sealed(
    row: Connection, opened: dict[UUID, DataKey | None], *, clock: datetime, logged: int | None
) -> SealedAccess | None:
    """The access token with its data key, each key looked up once; None leaves the matter to `access`."""
    tokens: SealedTokenSet | None = getattr(row, "tokens", None)
    if tokens is None or (logged is not None and logged != tokens.version) or row.grant != grant_of(row.installation):
        return None
    try:
        named = key_id(bytes(tokens.access))
        if named not in opened:
            opened[named] = sealing.data_key_at_hand(row.tenant_id, tokens.access)
    except (Unreadable, KeysUnavailable):
        return None
    key = opened[named]
    return sealed_with(row, tokens, key, clock=clock) if key else None


@dataclass(frozen=True, slots=True)
class GivenConsent:
    """What a person lets one client do through a connection, until then; nothing that is for one ask only."""

    id: UUID
    connection_id: UUID
    client: str
    effect: str
    until: datetime


def consents_of(tenant_id: UUID, user_id: UUID, *, now: datetime) -> list[GivenConsent]:
    """A person's standing consents in one tenant."""
    return _given(Consent.objects.filter(tenant_id=tenant_id, user_id=user_id), now)


def standing_consents(user_id: UUID, *, now: datetime) -> Mapping[UUID, list[tuple[GivenConsent, str]]]:
    """A person's, in every tenant they are still a member of, by connection; each with what they call the client."""
    given = _given(Consent.objects.filter(user_id=user_id, tenant__memberships__user_id=user_id), now)
    names = {client: tenants.client_name(client) for client in {consent.client for consent in given}}
    found: dict[UUID, list[tuple[GivenConsent, str]]] = defaultdict(list)
    for consent in given:
        found[consent.connection_id].append((consent, names[consent.client]))
    return found


def open_approvals(user_id: UUID, *, now: datetime) -> list[tuple[Approval, str]]:
    """What waits for a person's approval, where they are still a member; each with what they call the client."""
    rows = (
        Approval.objects.filter(user_id=user_id, tenant__memberships__user_id=user_id, tenant__closed_at=None)
        .filter(given_at=None, declined_at=None, withdrawn_at=None, answer_until__gt=now)
        .select_related("tenant", "connection__installation")
        .order_by("asked_at")
    )
    return [(row, tenants.client_name(row.client)) for row in rows]


def _given(rows: QuerySet[Consent], now: datetime) -> list[GivenConsent]:
    standing = rows.filter(once="", given_at__isnull=False, withdrawn_at=None, expires_at__gt=now)
    return [
        GivenConsent(row.pk, row.connection_id, row.client, row.effect, row.expires_at)
        for row in standing.order_by("given_at")
        if row.expires_at
    ]


def seen_by(user_id: UUID) -> QuerySet[Connection]:
    """A person's own connections and those their tenants share, wherever they are still a member."""
    return (
        Connection.objects.filter(
            Q(owner_id=user_id) | Q(owner=None), tenant__memberships__user_id=user_id, tenant__closed_at=None
        )
        .select_related("installation", "tenant")
        .order_by("tenant__name", "installation__slug", "-is_default", "account_label", "created_at")
    )


def managed_by(user_id: UUID) -> QuerySet[Connection]:
    """Those of them a person may name, make the default and disconnect: the tenant's only as its administrator."""
    shared = Q(
        owner=None,
        tenant_id__in=Membership.objects.filter(user_id=user_id, role__in=ADMINS).values("tenant_id"),
    )
    return seen_by(user_id).filter(Q(owner_id=user_id) | shared)


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


def labels_of(tenant_id: UUID, ids: Collection[UUID]) -> dict[UUID, str]:
    """What a tenant's accounts are called, those that are gone left out."""
    return {row.pk: row.label for row in Connection.objects.filter(tenant_id=tenant_id, pk__in=ids)}


@dataclass(frozen=True, slots=True)
class Waiting:
    """What is known of tokens that are still to be killed at their provider."""

    attempts: int
    since: datetime
    next_at: datetime


def waiting(tenant_id: UUID) -> dict[UUID, Waiting]:
    """A tenant's connections whose providers have not confirmed yet, by id."""
    rows = Revocation.objects.filter(tenant_id=tenant_id).values_list("connection_id")
    found = rows.annotate(Max("attempts"), Min("created_at"), Min("next_at"))
    return {connection_id: Waiting(*facts) for connection_id, *facts in found}


def connections_by_installation(tenant_id: UUID) -> dict[UUID, list[UUID]]:
    """The ids of a tenant's connections that are used."""
    found: dict[UUID, list[UUID]] = defaultdict(list)
    rows = Connection.objects.filter(tenant_id=tenant_id, status=Status.READY)
    for installation_id, connection_id in rows.values_list("installation_id", "pk"):
        found[installation_id].append(connection_id)
    return found


def health_of(
    tenant_id: UUID, *, breakers: Mapping[UUID, health.Breaker] | None = None, now: datetime
) -> dict[UUID, health.Health]:
    """How each of a tenant's installations does, by its id; `breakers` where they are known."""
    ended = defaultdict(list)
    for each in audit_log.tool_outcomes(tenant_id, now=now):
        ended[each.provider].append(each)
    mine = Connection.objects.filter(tenant_id=tenant_id)
    soon = Q(status=Status.READY, grant_ends_at__lt=now + health.SOON)
    accounts = {
        installation_id: health.Connections(*numbers)
        for installation_id, *numbers in mine.values_list("installation_id").annotate(
            ready=Count("pk", filter=Q(status=Status.READY)),
            needs_auth=Count("pk", filter=Q(status=Status.NEEDS_AUTH)),
            revoking=Count("pk", filter=Q(status=Status.REVOKING)),
            ending=Count("pk", filter=soon),
        )
    }
    waiting_for_review = providers.listings_to_review(tenant_id)
    return {
        row.pk: health.health(
            ended[row.slug],
            breaker=(breakers or {}).get(row.pk),
            connections=accounts.get(row.pk, health.Connections()),
            review=row.pk in waiting_for_review,
        )
        for row in providers.installed(tenant_id)
    }


def exports_of(tenant_id: UUID, user_id: UUID) -> list[tuple[str, str]]:
    """Slug and title of the providers a person may see: those exported softly, and those they are connected to."""
    usable = {row.installation_id for row in usable_by(tenant_id, user_id) if row.ready}
    found = []
    for row in providers.installations(tenant_id):
        if row.exposure == Exposure.SOFT or row.pk in usable:
            with contextlib.suppress(LookupError):  # no longer in the catalogue
                found.append((row.slug, providers.spec_of(row).title))
    return found
