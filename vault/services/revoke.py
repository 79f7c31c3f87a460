"""Disconnecting: local use ends in one transaction, then the tokens are killed at the provider."""

from __future__ import annotations

from uuid import UUID

from django.db import transaction
from django.db.models import F

from audit import services as audit
from audit.events import Event, EventKind
from providers.errors import ToolError
from tenants import standing
from vault import oauth
from vault.crypto import Unreadable
from vault.models import Connection, SealedTokenSet, Status
from vault.services.clients import client_of
from vault.services.sealed import fields_of, open_token


def disconnect(*, connection: Connection, by: UUID | None) -> bool:
    """End a connection. True when the provider confirmed that its tokens are dead; else it stays `revoking`.

    Status and epoch change first, so that no call that starts afterwards uses it and a refresh in flight is fenced.
    """
    with transaction.atomic():
        Connection.objects.filter(pk=connection.pk).exclude(status=Status.REVOKED).update(
            status=Status.REVOKING, reason="revoked", epoch=F("epoch") + 1, is_default=False
        )
        intent = _event(connection, EventKind.REVOKE_INTENT, by)
        standing.changed()
    tokens = SealedTokenSet.objects.filter(connection=connection).first()
    try:
        if tokens is not None:
            _kill(connection, tokens)
    except (ToolError, Unreadable) as failed:
        unreadable = isinstance(failed, Unreadable)
        _event(connection, EventKind.REVOKE_FAILED, by, intent, code="unreadable" if unreadable else "unavailable")
        return False
    with transaction.atomic():
        SealedTokenSet.objects.filter(connection=connection).delete()
        Connection.objects.filter(pk=connection.pk, status=Status.REVOKING).update(status=Status.REVOKED)
        _event(connection, EventKind.REVOKE_DONE, by, intent)
    return True


def _kill(connection: Connection, tokens: SealedTokenSet) -> None:
    """Both tokens, the refresh token first: it is the one that makes new ones."""
    client = client_of(connection.installation)
    for kind in fields_of(tokens):
        oauth.revoke(client, token=open_token(connection, tokens, kind), hint=f"{kind}_token")


def _event(
    connection: Connection, kind: EventKind, by: UUID | None, intent: Event | None = None, **detail: str
) -> Event:
    return audit.record(
        kind,
        tenant_id=connection.tenant_id,
        user_id=by,
        connection_id=connection.pk,
        provider=connection.installation.slug,
        intent=intent,
        **detail,
    )
