"""REST: client keys, the very thing that this API is called with."""

from __future__ import annotations

from datetime import timedelta
from http import HTTPStatus
from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet
from django.http import Http404
from rest_framework import serializers

from tenants import selectors, services
from tenants.api.bodies import Strict, Text, Whole
from tenants.api.callers import ANYBODY, Caller
from tenants.api.cursors import Page
from tenants.api.operations import Asked, Endpoint, operation
from tenants.models import ClientKey
from tenants.problems import NOTHING
from tenants.services import Refused


class Key(serializers.Serializer[Any]):
    """A client key, without the key itself."""

    id = serializers.UUIDField()
    name = serializers.CharField()
    prefix = serializers.CharField(help_text="How it begins, which is how people recognise it.")
    email = serializers.CharField(source="membership.user.email", help_text="For whom it speaks.")
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField(allow_null=True)


class NewKey(Key):
    """A client key that was just made."""

    key = serializers.CharField(help_text="The key, shown this once.")


class KeyWish(Strict):
    """A key that is to be made."""

    name = Text(max_length=80, min_length=1)
    expires_days = Whole(min_value=1, max_value=3_650, required=False, help_text="Without it the key does not end.")


class KeyList(Endpoint):
    """`keys/`."""

    tag = "Keys"

    @operation(name="list_keys", roles=ANYBODY, answer=Key, paged=True)
    def get(self, asked: Asked) -> Page:
        """List client keys that work: the tenant's, or to members their own."""
        caller = asked.caller
        mine = Q() if caller.looks else Q(membership__user_id=caller.user_id)
        return asked.page(_alive(asked).filter(mine), "created_at", "pk")

    @operation(
        name="create_key",
        roles=ANYBODY,
        answer=NewKey,
        status=HTTPStatus.CREATED,
        body=KeyWish,
        fails={HTTPStatus.UNPROCESSABLE_ENTITY: "It would outlive the key that makes it."},
    )
    def post(self, asked: Asked) -> dict[str, Any]:
        """Make a client key for yourself.

        Only for the person whose key asks: with a key of somebody else one could act as them. A key that ends makes
        none that ends later. The key is in the answer, and nowhere afterwards; with an Idempotency-Key, a lost answer
        can be had once more.
        """
        caller, days = asked.caller, asked.body.get("expires_days")
        ends = asked.now + timedelta(days=days) if days else None
        if caller.key_ends_at is not None and (ends is None or ends > caller.key_ends_at):
            raise Refused(f"This key ends at {caller.key_ends_at:%Y-%m-%d %H:%M} UTC, and makes none that ends later.")
        member = selectors.membership(caller.tenant_id, caller.user_id)
        if member is None:
            raise Http404(NOTHING)
        row, key = services.create_client_key(
            membership=member, name=asked.body["name"], now=asked.now, expires_days=days, by=caller.user_id
        )
        return {**Key(row).data, "membership": row.membership, "key": key}


class KeyItem(Endpoint):
    """`keys/{id}/`."""

    tag = "Keys"

    @operation(name="revoke_key", roles=ANYBODY)
    def delete(self, asked: Asked, id: UUID) -> None:  # noqa: A002 - the name in the address
        """End a client key: one of yours, or as an administrator any of the tenant.

        No call that starts later is served for it; also for the very key that asks.
        """
        row = _alive(asked).filter(mine_to_end(asked.caller), pk=id).first()
        if row is None:
            raise Http404(NOTHING)
        services.revoke_client_key(key=row, now=asked.now, by=asked.caller.user_id)


def mine_to_end(caller: Caller) -> Q:
    """Which keys somebody may end."""
    return Q() if caller.runs else Q(membership__user_id=caller.user_id)


def _alive(asked: Asked) -> QuerySet[ClientKey]:
    now = asked.now
    return ClientKey.objects.select_related("membership__user", "membership__tenant").filter(
        Q(expires_at=None) | Q(expires_at__gt=now), membership__tenant_id=asked.caller.tenant_id, revoked_at=None
    )
