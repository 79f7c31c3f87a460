"""Writing the log: one event inside the caller's transaction, or a group of them in one commit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from audit.events import Event, EventKind
from audit.models import AuditEvent

_FIELDS = [field for field in AuditEvent._meta.concrete_fields if field.attname != "seq"]  # noqa: SLF001 - Django's documented Model._meta API
_COLUMNS = [field.column or field.attname for field in _FIELDS]


def record(
    kind: EventKind,
    *,
    tenant_id: UUID,
    user_id: UUID | None = None,
    connection_id: UUID | None = None,
    provider: str = "",
    intent: Event | None = None,
    **detail: str | float | bool | None,
) -> Event:
    """Write one event in the transaction the caller is in, so that the fact and its record stand or fall together."""
    event = Event(
        kind,
        tenant_id=tenant_id,
        user_id=user_id,
        connection_id=connection_id,
        provider=provider,
        intent_id=intent.id if intent else None,
        detail=detail,
    )
    append([event])
    return event


def append(events: Sequence[Event]) -> None:
    """Insert `events` in order with one statement; atomic.

    Plain SQL instead of `bulk_create`: this runs twice for every tool call, and building model instances
    costs more than the insert.
    """
    table = connection.ops.quote_name(AuditEvent._meta.db_table)  # noqa: SLF001 - see above
    names = ", ".join(connection.ops.quote_name(column) for column in _COLUMNS)
    marks = ", ".join(["%s"] * len(_COLUMNS))
    rows = [_row(event) for event in events]
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} ({names}) VALUES {', '.join([f'({marks})'] * len(rows))}",  # noqa: S608 - only column names of our own model
            [value for row in rows for value in row],
        )


def _row(event: Event) -> list[Any]:
    """The values of `_FIELDS` in the form the database's adapter wants."""
    values = {
        "id": event.id,
        "at": event.at,
        "tenant_id": event.tenant_id,
        "kind": event.kind.value,
        "user_id": event.user_id,
        "client": event.client,
        "run_id": event.run_id,
        "provider": event.provider,
        "connection_id": event.connection_id,
        "tool": event.tool,
        "args_hmac": event.args_hmac,
        "intent_id": event.intent_id,
        "detail": event.detail,
    }
    return [field.get_db_prep_save(values[field.attname], connection) for field in _FIELDS]
