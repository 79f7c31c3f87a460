"""Giving, exchanging, refreshing and ending what MCP clients may do, each with its audit event."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction

from audit import services as audit
from audit.events import EventKind
from tenants import standing
from tenants.models import Membership
from tenants.oauth import tokens
from tenants.oauth.models import AccessToken, Client, ClientGrant, Code, RefreshToken


class Spent(Exception):
    """What was presented had been used before, by whoever."""


@dataclass(frozen=True, slots=True)
class Pair:
    """What a client is given. Their digests are all that is kept."""

    access: str
    refresh: str

    def __repr__(self) -> str:
        return "<token pair>"


@transaction.atomic
def give(
    *, membership: Membership, client: Client, resource: str, scope: str, destination: str, now: datetime
) -> ClientGrant:
    """Record what a person has just approved. Its code follows in the same request."""
    grant = ClientGrant.objects.create(
        membership=membership,
        client=client,
        resource=resource,
        scope=scope,
        destination=destination,
        expires_at=now + timedelta(days=settings.CLIENT_GRANT_DAYS),
    )
    _record(EventKind.GRANT_GIVEN, grant, destination=destination)
    return grant


def decline(*, membership: Membership | None, client: Client, destination: str) -> None:
    """Record that a person said no."""
    if membership is not None:
        audit.record(
            EventKind.GRANT_DECLINED,
            tenant_id=membership.tenant_id,
            user_id=membership.user_id,
            name=client.name,
            destination=destination,
        )


@transaction.atomic
def exchange(*, code: Code, pair: Pair, expires_in: int, now: datetime) -> None:
    """Store the tokens a code is exchanged for. Raises: Spent when somebody else was first."""
    if Code.objects.filter(pk=code.pk, used_at=None).update(used_at=now) != 1:
        raise Spent
    _store(code.grant, pair, expires_in=expires_in, family=uuid.uuid4(), source=None, now=now)
    _record(EventKind.GRANT_EXCHANGED, code.grant)


@transaction.atomic
def refresh(*, spent: RefreshToken, pair: Pair, expires_in: int, now: datetime) -> int:
    """Store the tokens that follow `spent`; gives how many seconds the access token is good.

    The pair is derived from the token that was presented. Whoever presents it again within the time of grace, because
    an answer was lost or two of a client's processes refresh at once, is answered with the same pair.
    Raises: Spent when its successor has been used already.
    """
    if RefreshToken.objects.filter(pk=spent.pk, revoked=None).update(revoked=now) == 1:
        _store(spent.grant, pair, expires_in=expires_in, family=spent.token_family, source=spent, now=now)
        _record(EventKind.GRANT_REFRESHED, spent.grant)
        return expires_in
    successor = RefreshToken.objects.filter(token_checksum=tokens.digest(pair.refresh), revoked=None).first()
    access = AccessToken.objects.filter(token_checksum=tokens.digest(pair.access), expires__gt=now).first()
    if successor is None or access is None:
        raise Spent
    return max(1, int((access.expires - now).total_seconds()))


@transaction.atomic
def end(*, grant: ClientGrant, reason: str, by: uuid.UUID | None, now: datetime) -> bool:
    """No call that starts later is served for this grant. False when it had ended before."""
    if ClientGrant.objects.filter(pk=grant.pk, ended_at=None).update(ended_at=now) != 1:
        return False
    standing.changed()
    audit.record(
        EventKind.GRANT_ENDED,
        tenant_id=grant.membership.tenant_id,
        user_id=by,
        client=f"grant:{grant.pk}",
        reason=reason,
    )
    return True


def _store(
    grant: ClientGrant,
    pair: Pair,
    *,
    expires_in: int,
    family: uuid.UUID | None,
    source: RefreshToken | None,
    now: datetime,
) -> None:
    """Both tokens, as digests. The access token before stays good for its rest: calls under way are not cut off."""
    of_all = {
        "grant": grant,
        "user_id": grant.membership.user_id,
        "application_id": grant.client_id,
        "resource": [grant.resource],
    }
    access = AccessToken(
        **of_all,
        scope=grant.scope,
        expires=min(now + timedelta(seconds=expires_in), grant.expires_at),
        source_refresh_token=source,
    )
    access._raw_token = pair.access  # noqa: SLF001 - the toolkit's way to store no more than a digest
    access.save()
    refreshing = RefreshToken(**of_all, access_token=access, token_family=family)
    refreshing._raw_token = pair.refresh  # noqa: SLF001 - as above
    refreshing.save()
    ClientGrant.objects.filter(pk=grant.pk).update(used_at=now)


def _record(kind: EventKind, grant: ClientGrant, *, destination: str | None = None) -> None:
    audit.record(
        kind,
        tenant_id=grant.membership.tenant_id,
        user_id=grant.membership.user_id,
        client=f"grant:{grant.pk}",
        name=grant.client.name,
        resource=grant.resource,
        destination=destination,
    )
