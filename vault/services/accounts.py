"""Accounts: keeping what a provider has granted, their names, and which one is the default."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import F, OuterRef

from audit import selectors as audit_log
from audit import services as audit
from audit.events import EventKind
from providers import selectors as providers
from providers.models import Installation
from providers.spec import ProviderSpec
from tenants import selectors as tenants
from tenants import standing
from tenants.models import Role
from tenants.services import Refused
from vault import oauth
from vault.crypto import DataKey
from vault.models import Connection, SealedTokenSet, Status
from vault.services import question, revoke
from vault.services.sealed import dated, grant_of, seal_tokens
from vault.tokens import TokenSet

ADMINS = frozenset({Role.ADMIN, Role.OWNER})
"""Who may connect, name and disconnect accounts that everybody in the tenant uses."""
ALIVE = frozenset({Status.READY, Status.NEEDS_AUTH})
"""Accounts that are connected, or would be with a log-in."""
_NAME_CHARS = 80


class Changed(Exception):
    """The installation is not what the tokens were obtained for any more."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What has become of an account."""

    connection: Connection
    version: int
    lost: tuple[str, ...]
    """Scopes it had before and has no longer."""


def may_connect(*, tenant_id: UUID, user_id: UUID, shared: bool, lock: bool = False) -> bool:
    """Whether a person may connect an account there; `lock` keeps it so until the transaction ends."""
    rows = tenants.live_memberships().filter(tenant_id=tenant_id, user_id=user_id)
    rows = rows.filter(role__in=ADMINS) if shared else rows
    # Only the membership's own row is locked: whoever ends it waits, and then finds the new connection.
    return (rows.select_for_update(of=("self",), no_key=True) if lock else rows).first() is not None


def keep(
    *,
    installation: Installation,
    owner_id: UUID | None,
    identity: oauth.Identity,
    tokens: TokenSet,
    scopes: Iterable[str],
    key: DataKey,
    now: datetime,
) -> Kept:
    """Store an account and its tokens, in the caller's transaction and without its audit event.

    The same account again renews its connection, another one is another connection: what tells them apart is the
    identity at the issuer and nothing else. Raises: Changed.
    """
    spec = providers.spec_of(installation)
    granted, grant = sorted(set(scopes)), grant_of(installation)
    # Locked: whoever changes it comes either before, and is noticed here, or after, and finds this connection.
    same = Installation.objects.select_for_update(no_key=True).filter(pk=installation.pk, enabled=True)
    if same.filter(version=installation.version).first() is None:
        raise Changed
    connection, created = Connection.objects.get_or_create(
        tenant_id=installation.tenant_id,
        installation=installation,
        owner_id=owner_id,
        account_id=spec.account_id(identity.subject),
        defaults={"account_label": identity.label, "connected_at": now},
    )
    before = _locked(connection)
    connection.api_base = tokens.api_base or ""
    lives_for = spec.oauth.grant_lifetime_s
    Connection.objects.filter(pk=connection.pk).update(
        status=Status.READY,
        reason="",
        scopes=granted,
        grant=grant,
        grant_ends_at=now + timedelta(seconds=lives_for) if lives_for else None,
        account_label=identity.label,
        api_base=connection.api_base,
        connected_at=now,
        epoch=F("epoch") + (0 if created else 1),
    )
    version = 1 + max(before.version, before.logged)
    lives_s = tokens.lives_s(spec.oauth, renewable=tokens.refresh is not None)
    columns = {
        **seal_tokens(connection, tokens, version=version, grant=grant, key=key),
        **dated(lives_s),
        "version": version,
        "refresh_owner": None,
    }
    if not SealedTokenSet.objects.filter(connection=connection).update(**columns):
        SealedTokenSet.objects.create(connection=connection, **columns)
    revoke.superseded(connection=connection, spec=spec)
    if not created and not before.scopes.issuperset(granted):
        question.scopes_widened(connection=connection, now=now)
    standing.changed()
    connection.refresh_from_db()
    return Kept(connection, version, tuple(sorted(before.scopes.difference(granted))))


def scopes_to_ask(spec: ProviderSpec, account: Connection | None) -> tuple[str, ...]:
    """What connecting from here asks for: the installation's scopes, and what the account allows besides.

    An account that was disconnected starts anew with the least.
    """
    before = account.scopes if account is not None and account.status in ALIVE else ()
    return tuple(sorted({*spec.oauth.scopes, *before}))


def further_scopes(spec: ProviderSpec, scopes: Collection[str]) -> tuple[str, ...]:
    """What an account could allow besides, for tools it does not allow yet."""
    return tuple(sorted(frozenset[str]().union(*(tool.missing(scopes) for tool in spec.tools))))


@transaction.atomic
def rename(*, connection: Connection, name: str, by: UUID) -> None:
    """Call an account something else; nothing gives it back the name the provider has for it.

    Raises: Refused for a name that is too long or does not print.
    """
    name = unicodedata.normalize("NFC", name.strip())
    if len(name) > _NAME_CHARS or not name.isprintable():
        raise Refused(f"A name has at most {_NAME_CHARS} characters, all of which can be seen.")
    changed = Connection.objects.filter(pk=connection.pk).exclude(name=name).update(name=name)
    if changed:
        standing.changed()
        _event(connection, EventKind.ACCOUNT_LABELLED, by, name=name)


@transaction.atomic
def make_default(*, connection: Connection, default: bool, by: UUID) -> None:
    """Use this account when an ask names none, or stop doing so. Raises: Refused when it is disconnected."""
    # All accounts it is chosen among, in one order: two people at once take turns, and the later one's choice stands.
    among = Connection.objects.filter(
        tenant_id=connection.tenant_id, installation_id=connection.installation_id, owner_id=connection.owner_id
    )
    alive = {row.pk: row for row in among.select_for_update(no_key=True).order_by("pk") if row.status in ALIVE}
    row = alive.get(connection.pk)
    if row is None:
        raise Refused("This account is disconnected. Connect it again first.")
    if row.is_default == default:
        return
    among.filter(is_default=True).update(is_default=False)
    among.filter(pk=row.pk).update(is_default=default)
    standing.changed()
    _event(connection, EventKind.ACCOUNT_DEFAULT, by, default=default)


@dataclass(frozen=True, slots=True)
class _Before:
    """What was there when the connection's row was locked."""

    scopes: frozenset[str]
    version: int
    logged: int


def _locked(connection: Connection) -> _Before:
    """The connection as it is now that nobody else can change it."""
    scopes = Connection.objects.select_for_update(no_key=True).values_list("scopes", flat=True).get(pk=connection.pk)
    version = SealedTokenSet.objects.filter(connection=connection).values_list("version", flat=True).first()
    logged = (
        Connection.objects.filter(pk=connection.pk)
        .annotate(logged=audit_log.token_version(OuterRef("pk")))
        .values_list("logged", flat=True)
        .get()
    )
    return _Before(frozenset(scopes), version or 0, logged or 0)


def _event(connection: Connection, kind: EventKind, by: UUID, **detail: str | float) -> None:
    audit.record(
        kind,
        tenant_id=connection.tenant_id,
        user_id=by,
        provider=connection.installation.slug,
        connection_id=connection.pk,
        intent=None,
        client="",
        **detail,
    )
