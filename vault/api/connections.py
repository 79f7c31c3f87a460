"""REST: connections, and tokens that another system obtained.

What can be read here is what the connections page shows; no token, and nothing sealed, is ever part of an answer.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any
from uuid import UUID

from django.db.models import Q
from django.http import Http404
from rest_framework import serializers

from providers import selectors as providers
from tenants import selectors as tenants
from tenants.access import RUN
from tenants.api.bodies import Flag, Strict, Text
from tenants.api.callers import ANYBODY, Caller
from tenants.api.cursors import Page
from tenants.api.operations import Asked, Endpoint, Paged, operation
from tenants.models import User
from tenants.problems import NOTHING, NotNow
from vault import selectors
from vault.models import Connection, Status
from vault.services import import_, revoke


class Connected(serializers.Serializer[Any]):
    """An account at a provider that is used here, or was."""

    id = serializers.UUIDField()
    provider = serializers.CharField(source="installation.slug")
    account_id = serializers.CharField(help_text="Who it is at the provider.")
    account_label = serializers.CharField(help_text="What the provider calls it.")
    name = serializers.CharField(help_text="What its owner calls it; empty: nothing else.")
    owner = serializers.CharField(source="owner.email", allow_null=True, default=None, help_text="null: everybody's.")
    shared = serializers.BooleanField()
    status = serializers.ChoiceField(Status.choices)
    reason = serializers.CharField(help_text="Why it is not ready, or how it ended; empty: it is.")
    scopes = serializers.ListField(child=serializers.CharField())
    is_default = serializers.BooleanField()
    created_at = serializers.DateTimeField()
    connected_at = serializers.DateTimeField()
    grant_ends_at = serializers.DateTimeField(allow_null=True, help_text="When the provider ends it, where it says so.")


class ConnectionsWanted(Paged):
    """Which connections."""

    provider = serializers.CharField(max_length=32, required=False, help_text="Of this provider.")
    status = serializers.ChoiceField(Status.choices, required=False, error_messages={"invalid_choice": "Unknown."})
    owner = serializers.EmailField(max_length=254, required=False, help_text="Of this person.")


class TokenImport(serializers.Serializer[Any]):
    """A token set, and whose it is to be. What is in the set is read by `vault.services.import_`."""

    provider = Text(max_length=32)
    email = serializers.EmailField(max_length=254, required=False, help_text="Whose it is.")
    shared = Flag(default=False, help_text="It is everybody's.")
    access_token = Text()
    refresh_token = Text(required=False)
    token_type = Text(required=False)
    expires_in = serializers.IntegerField(required=False)
    expires_at = Text(required=False, help_text="When it ends, instead of expires_in.")
    scope = Text(required=False, help_text="Separated by spaces; a list does as well.")
    account_id = Text(required=False, help_text="Only where the provider has no way to ask whose they are.")
    account_label = Text(required=False)
    api_base = Text(required=False)

    def to_internal_value(self, data: Any) -> dict[str, Any]:  # noqa: ANN401 - REST framework's signature
        """Where they belong is checked here; the set itself is left as it was given."""
        rest = dict(data)
        stated = {name: rest.pop(name) for name in ("provider", "email", "shared") if name in rest}
        form = _Destination(data=stated)
        form.is_valid(raise_exception=True)
        return {**form.validated_data, "given": rest}


class _Destination(Strict):
    provider = Text(max_length=32)
    email = serializers.EmailField(max_length=254, required=False)
    shared = Flag(default=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """A person's or everybody's, and not both."""
        if ("email" in attrs) == attrs["shared"]:
            raise serializers.ValidationError('Say whose it is: "email", or "shared": true for everybody.')
        return attrs


class Imported(serializers.Serializer[Any]):
    """What the tokens have become."""

    id = serializers.UUIDField()
    account_id = serializers.CharField()
    account_label = serializers.CharField()
    status = serializers.ChoiceField(Status.choices)


class ConnectionList(Endpoint):
    """`connections/`."""

    tag = "Connections"

    @operation(name="list_connections", roles=ANYBODY, answer=Connected, query=ConnectionsWanted, paged=True)
    def get(self, asked: Asked) -> Page:
        """List connections: the tenant's, or to members their own."""
        columns = {"provider": "installation__slug", "status": "status", "owner": "owner__email"}
        wanted = {columns[name]: said.lower() if name == "owner" else said for name, said in asked.query.items()}
        rows = selectors.of_tenant(asked.caller.tenant_id).filter(_seen(asked.caller), **wanted)
        return asked.page(rows, "created_at", "pk")

    @operation(
        name="import_tokens",
        roles=RUN,
        answer=Imported,
        status=HTTPStatus.CREATED,
        body=TokenImport,
        fails={
            HTTPStatus.NOT_FOUND: "There is no such provider or person here.",
            HTTPStatus.UNPROCESSABLE_ENTITY: "The tokens cannot be used.",
            HTTPStatus.SERVICE_UNAVAILABLE: "The provider or the vault's keys cannot be reached now.",
        },
    )
    def post(self, asked: Asked) -> Connection:
        """Keep a token set that another system obtained as somebody's account, or as everybody's.

        The provider is asked whose it is. The same account again renews its connection.
        """
        caller, stated = asked.caller, asked.body
        installation = providers.installation(caller.tenant_id, stated["provider"])
        owner = _member(caller.tenant_id, stated["email"]) if "email" in stated else None
        if installation is None or (owner is None and not stated["shared"]):
            raise Http404(NOTHING)
        try:
            return import_.import_tokens(
                installation=installation, owner=owner, given=stated["given"], by=caller.user_id, now=asked.now
            )
        except import_.NotNow as later:
            raise NotNow(str(later)) from None


class ConnectionItem(Endpoint):
    """`connections/{id}/`."""

    tag = "Connections"

    @operation(name="get_connection", roles=ANYBODY, answer=Connected)
    def get(self, asked: Asked, id: UUID) -> Connection:  # noqa: A002 - the name in the address
        """Get a connection: one of the tenant's, or to members one of their own."""
        return _found(asked, _seen(asked.caller), id)

    @operation(name="revoke_connection", roles=ANYBODY, answer=Connected)
    def delete(self, asked: Asked, id: UUID) -> Connection:  # noqa: A002 - see above
        """End a connection: one of your own, or as an administrator any of the tenant.

        No call that starts later uses it. Its tokens are revoked at the provider; while the provider has not confirmed
        that, it is `revoking`, and it is tried again until it has.
        """
        row = _found(asked, Q() if asked.caller.runs else _own(asked.caller), id)
        revoke.disconnect(connection=row, by=asked.caller.user_id)
        return _found(asked, Q(), id)


def _own(caller: Caller) -> Q:
    return Q(owner_id=caller.user_id)


def _seen(caller: Caller) -> Q:
    return Q() if caller.looks else _own(caller)


def _found(asked: Asked, mine: Q, id: UUID) -> Connection:  # noqa: A002 - see above
    row = selectors.of_tenant(asked.caller.tenant_id).filter(mine, pk=id).first()
    if row is None:
        raise Http404(NOTHING)
    return row


def _member(tenant_id: UUID, email: str) -> User | None:
    user = User.objects.filter(email=email.strip().lower()).first()
    found = tenants.membership(tenant_id, user.pk) if user else None
    return found.user if found else None
