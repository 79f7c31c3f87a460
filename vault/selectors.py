"""Reads about connections, always of one tenant."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import Count, F, Max, Min, OuterRef, Q, QuerySet
from django.db.models.functions import Now

from audit import selectors as audit_log
from providers import health
from providers import selectors as providers
from providers.spec import Exposure
from tenants import selectors as tenants
from tenants.keyset import Part, part
from tenants.models import Membership
from vault import sealing
from vault.crypto import DataKey, KeysUnavailable, Unreadable, key_id
from vault.models import Approval, ClientSecret, Connection, Consent, Revocation, SealedTokenSet, Status, TenantKey
from vault.services import rotate
from vault.services.access import SealedAccess, sealed_with
from vault.services.accounts import ADMINS, ALIVE
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
    return _listed(_standing(Consent.objects.filter(tenant_id=tenant_id, user_id=user_id), now))


def given_by(people: Collection[UUID], *, now: datetime) -> QuerySet[Consent]:
    """The standing consents of these people, where they are still members."""
    theirs = Consent.objects.filter(user_id__in=people, tenant__memberships__user_id=F("user_id"))
    return _standing(theirs.filter(tenant__closed_at=None), now)


def asked_of(people: Collection[UUID], *, now: datetime) -> QuerySet[Approval]:
    """What waits for the approval of these people, where they are still members; the oldest first."""
    theirs = Approval.objects.filter(user_id__in=people, tenant__memberships__user_id=F("user_id"))
    asked = theirs.filter(tenant__closed_at=None, given_at=None, declined_at=None, withdrawn_at=None)
    return asked.filter(answer_until__gt=now).order_by("asked_at")


def standing_consents(
    user_id: UUID, connections: Collection[UUID], *, now: datetime
) -> Mapping[UUID, list[tuple[GivenConsent, str]]]:
    """A person's, by connection; each with what they call the client."""
    given = _listed(given_by([user_id], now=now).filter(connection_id__in=connections))
    names = tenants.client_names({consent.client for consent in given})
    found: dict[UUID, list[tuple[GivenConsent, str]]] = defaultdict(list)
    for consent in given:
        found[consent.connection_id].append((consent, names.get(consent.client, "")))
    return found


def open_approvals(user_id: UUID, *, now: datetime) -> list[tuple[Approval, str]]:
    """What waits for a person's approval; each with what they call the client."""
    rows = list(asked_of([user_id], now=now).select_related("tenant", "connection__installation")[:_WAITING])
    names = tenants.client_names({row.client for row in rows})
    return [(row, names.get(row.client, "")) for row in rows]


_WAITING = 20
"""Questions shown at once; the next ones come up as these are answered."""


def _standing(rows: QuerySet[Consent], now: datetime) -> QuerySet[Consent]:
    return rows.filter(once="", given_at__isnull=False, withdrawn_at=None, expires_at__gt=now)


def _listed(rows: QuerySet[Consent]) -> list[GivenConsent]:
    return [
        GivenConsent(row.pk, row.connection_id, row.client, row.effect, row.expires_at)
        for row in rows.order_by("given_at")
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


def shown_to(user_id: UUID, *, like: str = "", titled: Collection[UUID] = ()) -> QuerySet[Connection]:
    """What a person sees of their accounts: all of those they look after, and of the tenants' others what works.

    `like` is a part of what the account is called; `titled` are installations whose name it is a part of.
    """
    rows = seen_by(user_id).filter(Q(status__in=ALIVE) | Q(pk__in=managed_by(user_id).values("pk")))
    called = Q(name__icontains=like) | Q(account_label__icontains=like) | Q(installation_id__in=titled)
    return rows.filter(called) if like else rows


def alive_for(user_id: UUID, installations: Collection[UUID]) -> list[UUID]:
    """The installation of each account there that a client of this person may be asked to choose among."""
    rows = seen_by(user_id).filter(installation_id__in=installations, status__in=ALIVE)
    return list(rows.order_by().values_list("installation_id", flat=True))


@dataclass(frozen=True, slots=True)
class LastUses:
    """When a person last used their accounts."""

    at: Mapping[UUID, datetime]
    """By connection."""
    looked_to: Mapping[UUID, datetime]
    """By tenant: how far back was looked, where the log goes back further."""


def last_uses(user_id: UUID, rows: Sequence[Connection]) -> LastUses:
    """When this person last used these accounts, as far as the newest part of each tenant's log says."""
    at: dict[UUID, datetime] = {}
    looked_to: dict[UUID, datetime] = {}
    by_tenant: dict[UUID, list[UUID]] = defaultdict(list)
    for row in rows:
        by_tenant[row.tenant_id].append(row.pk)
    for tenant_id, ids in by_tenant.items():
        used, floor = audit_log.last_calls(tenant_id, user_id, ids)
        at |= used
        if floor is not None:
            looked_to[tenant_id] = floor
    return LastUses(at, looked_to)


def of_tenant(tenant_id: UUID) -> QuerySet[Connection]:
    """Every connection of a tenant."""
    return (
        Connection.objects.filter(tenant_id=tenant_id)
        .select_related("installation", "owner")
        .order_by("installation__slug", "account_label")
    )


@dataclass(frozen=True, slots=True)
class Sought:
    """Which of a tenant's connections are looked for; what is empty leaves all."""

    like: str = ""
    """A part of what the account is called."""
    provider: str = ""
    person: str = ""
    """A part of its owner's e-mail address."""
    status: str = ""
    shared: bool = False


def found(tenant_id: UUID, sought: Sought, *, after: str = "") -> Part[Connection]:
    """A tenant's connections, the last connected first; each with `renewed_at`, when its tokens were last stored."""
    rows = Connection.objects.filter(tenant_id=tenant_id)
    if sought.like:
        rows = rows.filter(Q(account_label__icontains=sought.like) | Q(name__icontains=sought.like))
    if sought.provider:
        rows = rows.filter(installation__slug=sought.provider)
    if sought.person:
        rows = rows.filter(owner__email__icontains=sought.person)
    if sought.status:
        rows = rows.filter(status=sought.status)
    if sought.shared:
        rows = rows.filter(owner=None)
    rows = rows.select_related("installation", "owner").annotate(renewed_at=F("tokens__refreshed_at"))
    return part(rows, by="connected_at", after=after)


def renewed_at(row: Connection) -> datetime | None:
    """When a connection's tokens were last stored; None when it has none any more."""
    return SealedTokenSet.objects.filter(connection=row).values_list("refreshed_at", flat=True).first()


def by_status(tenant_id: UUID) -> dict[str, int]:
    """How many connections a tenant has in each state."""
    return dict(Connection.objects.filter(tenant_id=tenant_id).values_list("status").annotate(Count("pk")))


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


def waiting(tenant_id: UUID, *, only: UUID | None = None) -> dict[UUID, Waiting]:
    """A tenant's connections whose providers have not confirmed yet, by id; or that one."""
    narrowed = {"connection_id": only} if only else {}
    rows = Revocation.objects.filter(tenant_id=tenant_id, **narrowed).values_list("connection_id")
    found = rows.annotate(Max("attempts"), Min("created_at"), Min("next_at"))
    return {connection_id: Waiting(*facts) for connection_id, *facts in found}


def has_client_secret(installation_id: UUID) -> bool:
    """Whether a client secret is kept for an installation."""
    return ClientSecret.objects.filter(installation_id=installation_id).exists()


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
    return [
        (row.slug, spec.title)
        for row in providers.installations(tenant_id)
        if (row.exposure == Exposure.SOFT or row.pk in usable) and (spec := providers.known_spec(row))
    ]


# --- Keys


@dataclass(frozen=True, slots=True)
class KeyVersion:
    """One data key of a tenant; nothing of it is secret."""

    id: UUID
    state: TenantKey.State
    kek_uri: str
    """Names what wraps it."""
    created_at: datetime
    sealed: Mapping[str, int]
    """How much it has sealed, by kind."""

    @property
    def rows(self) -> int:
        """All of that."""
        return sum(self.sealed.values())

    @property
    def tokens(self) -> int:
        """Token sets of connections."""
        return self.sealed.get("token sets", 0)

    @property
    def secrets(self) -> int:
        """Secrets of the clients that were registered at providers."""
        return self.sealed.get("client secrets", 0)

    @property
    def others(self) -> int:
        """What ends by itself: tokens to be revoked, calls that wait for an approval."""
        return self.rows - self.tokens - self.secrets


@dataclass(frozen=True, slots=True)
class Vault:
    """A tenant's data keys, the newest first, and how far a rotation has come."""

    keys: Sequence[KeyVersion]
    settled: bool
    """Nothing that opens is left under an old key."""
    unreadable: int
    """Rows under an old key that do not open."""

    @property
    def rotating(self) -> bool:
        """An old key is there."""
        return any(key.state == TenantKey.State.OLD for key in self.keys)

    @property
    def rows(self) -> int:
        """Everything that is sealed."""
        return sum(key.rows for key in self.keys)

    @property
    def done(self) -> int:
        """What the active key has sealed of it."""
        return sum(key.rows for key in self.keys if key.state == TenantKey.State.ACTIVE)


def vault(tenant_id: UUID) -> Vault:
    """The keys of a tenant and what they have sealed."""
    rows = list(TenantKey.objects.filter(tenant_id=tenant_id).order_by("-created_at"))
    sealed = rotate.sealed_by(tenant_id)
    old = [row for row in rows if row.state == TenantKey.State.OLD]
    return Vault(
        [
            KeyVersion(row.pk, TenantKey.State(row.state), row.kek_uri, row.created_at, sealed.get(row.pk, {}))
            for row in rows
        ],
        settled=bool(old) and all(row.settled_at for row in old),
        unreadable=sum(row.unreadable for row in old),
    )


def under_old_keys(tenant_id: UUID, *, most: int = 20) -> list[Connection]:
    """Connections whose tokens an old key still seals."""
    old = TenantKey.objects.filter(tenant_id=tenant_id, state=TenantKey.State.OLD)
    rows = Connection.objects.filter(tenant_id=tenant_id, tokens__key_id__in=old.values("pk"))
    return list(rows.select_related("installation").order_by("pk")[:most])
