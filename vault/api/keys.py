"""REST: a tenant's data keys, and their rotation."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from rest_framework import serializers

from tenants.access import LOOK, OWN
from tenants.api.cursors import Page
from tenants.api.operations import Asked, Endpoint, operation
from tenants.problems import NotNow
from tenants.services import Refused
from vault import selectors
from vault.crypto import KeysUnavailable
from vault.models import TenantKey
from vault.services import rotate


class DataKey(serializers.Serializer[Any]):
    """A data key. It is never shown."""

    id = serializers.UUIDField()
    state = serializers.ChoiceField(TenantKey.State.choices)
    kek_uri = serializers.CharField(help_text="Names what wraps it.")
    created_at = serializers.DateTimeField()
    sealed = serializers.DictField(child=serializers.IntegerField(), help_text="What is under it, by kind.")


class DataKeyList(Endpoint):
    """`vault/keys/`."""

    tag = "Keys"

    @operation(name="list_data_keys", roles=LOOK, answer=DataKey, paged=True)
    def get(self, asked: Asked) -> Page:
        """List the keys that seal the tenant's tokens, the newest first."""
        return Page(selectors.vault(asked.caller.tenant_id).keys)


class Rotation(serializers.Serializer[Any]):
    """How the rotation of the data key stands."""

    under_way = serializers.BooleanField(help_text="There is an old key that something still needs.")
    rows = serializers.IntegerField(help_text="How much is sealed.")
    done = serializers.IntegerField(help_text="How much of it is under the new key.")
    unreadable = serializers.IntegerField(help_text="What did not open, and keeps the old key.")


class RotationItem(Endpoint):
    """`vault/rotations/`."""

    tag = "Keys"

    @operation(name="get_rotation", roles=LOOK, answer=Rotation)
    def get(self, asked: Asked) -> dict[str, Any]:
        """See how far the rotation has come."""
        return _rotation(asked)

    @operation(
        name="rotate_data_key",
        roles=OWN,
        answer=Rotation,
        status=HTTPStatus.ACCEPTED,
        fails={
            HTTPStatus.UNPROCESSABLE_ENTITY: "There is no key yet.",
            HTTPStatus.SERVICE_UNAVAILABLE: "The vault's keys cannot be reached now.",
        },
    )
    def post(self, asked: Asked) -> dict[str, Any]:
        """Make a new data key, and seal with it what the old one sealed.

        It goes on in the background while calls go on; one that is under way is finished first. See how far it has come
        with GET.
        """
        tenant_id = asked.caller.tenant_id
        try:
            begun = rotate.begin(tenant_id=tenant_id, by=asked.caller.user_id)
        except KeysUnavailable as unavailable:
            raise NotNow(str(unavailable)) from None
        if not begun and not rotate.unfinished(tenant_id):
            raise Refused("There is no data key yet: one is made when the first account is connected.")
        return _rotation(asked)


def _rotation(asked: Asked) -> dict[str, Any]:
    found = selectors.vault(asked.caller.tenant_id)
    return {"under_way": found.rotating, "rows": found.rows, "done": found.done, "unreadable": found.unreadable}
