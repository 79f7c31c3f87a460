"""Giving, exchanging, refreshing and ending what MCP clients may do, each with its audit event."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet

from audit import services as audit
from audit.events import Event, EventKind
from tenants import standing
from tenants.models import Membership
from tenants.oauth import tokens
from tenants.oauth.models import AccessToken, Client, ClientGrant, Code, RefreshToken, fresh_secret
from tenants.oauth.policy import Metadata

_GROUP = 500
"""Grants ended with one statement."""


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
    """Record what a person has just approved. Its code follows in the same request.

    Raises: Client.DoesNotExist when the client has made room for others since it was shown.
    """
    Client.objects.select_for_update().get(pk=client.pk)
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
def exchange(*, code: Code, pair: Pair, expires_in: int, now: datetime) -> int:
    """Store the tokens a code is exchanged for; gives how many seconds the access token is good.

    Raises: Spent when somebody else was first.
    """
    if Code.objects.filter(pk=code.pk, used_at=None).update(used_at=now) != 1:
        raise Spent
    good_for = _store(code.grant, pair, expires_in=expires_in, family=uuid.uuid4(), source=None, now=now)
    _record(EventKind.GRANT_EXCHANGED, code.grant)
    return good_for


@transaction.atomic
def refresh(*, spent: RefreshToken, pair: Pair, expires_in: int, now: datetime) -> int:
    """Store the tokens that follow `spent`; gives how many seconds the access token is good.

    The pair is derived from the token that was presented. Whoever presents it again within the time of grace, because
    an answer was lost or two of a client's processes refresh at once, is answered with the same pair.
    Raises: Spent when its successor has been used already.
    """
    if RefreshToken.objects.filter(pk=spent.pk, revoked=None).update(revoked=now) == 1:
        good_for = _store(spent.grant, pair, expires_in=expires_in, family=spent.token_family, source=spent, now=now)
        _record(EventKind.GRANT_REFRESHED, spent.grant)
        return good_for
    successor = RefreshToken.objects.filter(token_checksum=tokens.digest(pair.refresh), revoked=None).first()
    access = AccessToken.objects.filter(token_checksum=tokens.digest(pair.access), expires__gt=now).first()
    if successor is None or access is None:
        raise Spent
    return _left(access, now)


@transaction.atomic
def end(*, grant: ClientGrant, reason: str, by: uuid.UUID | None, now: datetime) -> bool:
    """No call that starts later is served for this grant. False when it had ended before."""
    if ClientGrant.objects.filter(pk=grant.pk, ended_at=None).update(ended_at=now) != 1:
        return False
    standing.changed()
    audit.append([_ended(grant.membership.tenant_id, grant.pk, reason, by)])
    return True


@transaction.atomic
def end_everywhere(*, tenant_id: uuid.UUID, client_id: int, reason: str, by: uuid.UUID | None, now: datetime) -> int:
    """Shut a client out for everybody in a tenant. Gives how many had let it in."""
    theirs = ClientGrant.objects.filter(membership__tenant_id=tenant_id, client_id=client_id, ended_at=None)
    pks = list(theirs.select_for_update(of=("self",)).order_by("pk").values_list("pk", flat=True))
    for start in range(0, len(pks), _GROUP):
        ClientGrant.objects.filter(pk__in=pks[start : start + _GROUP]).update(ended_at=now)
    if pks:
        standing.changed()
        audit.append([_ended(tenant_id, pk, reason, by) for pk in pks])
    return len(pks)


def _ended(tenant_id: uuid.UUID, grant_id: uuid.UUID, reason: str, by: uuid.UUID | None) -> Event:
    return Event(
        EventKind.GRANT_ENDED,
        tenant_id=tenant_id,
        user_id=by,
        client=f"grant:{grant_id}",
        detail={"reason": reason},
    )


def _store(
    grant: ClientGrant,
    pair: Pair,
    *,
    expires_in: int,
    family: uuid.UUID | None,
    source: RefreshToken | None,
    now: datetime,
) -> int:
    """Both tokens, as digests; gives how many seconds the access token is good.

    The access token before stays good for its rest: calls under way are not cut off.
    """
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
    return _left(access, now)


def _left(access: AccessToken, now: datetime) -> int:
    return max(1, int((access.expires - now).total_seconds()))


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


# --- clients that nobody vouches for


@transaction.atomic
def register(*, metadata: Metadata) -> tuple[Client, str | None]:
    """Add a client that registers itself, and give it its secret if it is to have one.

    Those that wait for their first approval are never more than `CLIENTS_UNUSED`: the oldest make room. With the pace
    that registration is held to, each has over a quarter of an hour to be approved.
    """
    client = Client(
        name=metadata.name,
        redirect_uris=" ".join(metadata.redirect_uris),
        client_type=Client.CLIENT_PUBLIC if metadata.method == "none" else Client.CLIENT_CONFIDENTIAL,
        authorization_grant_type=Client.GRANT_AUTHORIZATION_CODE,
        registration_source=Client.RegistrationSource.DCR,
    )
    secret = None if metadata.method == "none" else fresh_secret(client)
    client.save()
    surplus = _unused().filter(registration_source=Client.RegistrationSource.DCR).order_by("-created", "-pk")
    _drop(surplus[settings.CLIENTS_UNUSED :])
    return client, secret


def sweep(*, now: datetime, most: int = 5_000) -> None:
    """Delete what nobody needs any more, `most` of each kind at once.

    Codes and access tokens stay a day: a code that is presented again is noticed. Spent refresh tokens and whatever has
    ended stay a month. What was allowed but never taken up stays an hour, and a client nobody let in a day.
    """
    day, month = now - timedelta(days=1), now - timedelta(days=30)
    over = Q(ended_at__lt=month) | Q(expires_at__lt=month) | Q(used_at=None, created_at__lt=now - timedelta(hours=1))
    for rows in (
        Code.objects.filter(expires__lt=day),
        AccessToken.objects.filter(expires__lt=day),
        RefreshToken.objects.filter(revoked__lt=month),
        ClientGrant.objects.filter(over),
    ):
        rows.filter(pk__in=list(rows.values_list("pk", flat=True)[:most])).delete()
    by_themselves = (Client.RegistrationSource.DCR, Client.RegistrationSource.CIMD)
    _drop(_unused().filter(registration_source__in=by_themselves, created__lt=day)[:most])


def _unused() -> QuerySet[Client]:
    return Client.objects.filter(~Exists(ClientGrant.objects.filter(client=OuterRef("pk"))))


@transaction.atomic(savepoint=False)
def _drop(clients: QuerySet[Client]) -> None:
    """Delete clients, but none that has been given a grant by now.

    Whoever gives one holds the client's row, so those are passed over; and `delete` would take grants along that it did
    not know of when it was asked.
    """
    pks = list(clients.values_list("pk", flat=True))
    held = Client.objects.filter(pk__in=pks).select_for_update(skip_locked=True)
    free = list(held.values_list("pk", flat=True))
    _unused().filter(pk__in=free)._raw_delete(using=held.db)  # noqa: SLF001 - see above
