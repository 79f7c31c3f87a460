"""Reads of the log, always of one tenant."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

from django.db.models import IntegerField, OuterRef, Subquery
from django.db.models.fields.json import KT
from django.db.models.functions import Cast

from audit.events import EventKind
from audit.models import AuditEvent


def of_run(tenant_id: UUID, run_id: str) -> list[AuditEvent]:
    """The events of one run, oldest first."""
    return list(AuditEvent.objects.filter(tenant_id=tenant_id, run_id=run_id).order_by("seq"))


def export(tenant_id: UUID) -> Iterator[dict[str, Any]]:
    """Every event of a tenant as a JSON-ready object, oldest first, streamed."""
    for event in AuditEvent.objects.filter(tenant_id=tenant_id).order_by("seq").iterator(chunk_size=2_000):
        yield {
            "seq": event.seq,
            "id": str(event.id),
            "at": event.at.isoformat(),
            "tenant_id": str(event.tenant_id),
            "kind": event.kind,
            "user_id": str(event.user_id) if event.user_id else None,
            "client": event.client,
            "run_id": event.run_id,
            "provider": event.provider,
            "connection_id": str(event.connection_id) if event.connection_id else None,
            "tool": event.tool,
            "args_hmac": event.args_hmac,
            "intent_id": str(event.intent_id) if event.intent_id else None,
            "detail": event.detail,
        }


_STORED = (EventKind.REFRESH_DONE, EventKind.EXCHANGE_DONE, EventKind.TOKEN_IMPORTED)
"""What says that a version of a connection's tokens was stored."""


def token_version(connection: OuterRef | UUID) -> Subquery:
    """The version of a connection's tokens that was last recorded, as an expression; NULL where none was.

    A row restored from an older copy of the database is behind it.
    """
    stored = AuditEvent.objects.filter(connection_id=connection, kind__in=_STORED).order_by("-seq")
    return Subquery(stored.annotate(version=Cast(KT("detail__version"), IntegerField())).values("version")[:1])
