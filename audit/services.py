"""Writing the log: one event inside the caller's transaction, or a group of them in one commit."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC
from functools import lru_cache
from operator import attrgetter
from uuid import UUID

from django.db import connection
from pydantic_core import to_json

from audit.events import Event, EventKind
from audit.models import AuditEvent


def record(
    kind: EventKind,
    *,
    tenant_id: UUID,
    user_id: UUID | None = None,
    connection_id: UUID | None = None,
    provider: str = "",
    client: str = "",
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
        client=client,
        intent_id=intent.id if intent else None,
        detail=detail,
    )
    append([event])
    return event


def append(events: Sequence[Event]) -> None:
    """Insert `events` in order, all or none.

    One statement of plain SQL instead of `bulk_create`, because this runs twice for every tool call. A value costs
    psycopg more than everything else about it, so PostgreSQL is given one document; SQLite reads JSON slowly.
    """
    values: list[str | None]
    if connection.vendor == "postgresql":
        statement, values = _FROM_DOCUMENT, [to_json([_fields(event) for event in events]).decode()]
    else:
        statement, values = _from_values(len(events)), [value for event in events for value in _stored(event)]
    with connection.cursor() as cursor:
        cursor.execute(statement, values)


_TYPES = {
    "id": "uuid",
    "at": "timestamptz",
    "tenant_id": "uuid",
    "kind": "text",
    "user_id": "uuid",
    "client": "text",
    "run_id": "text",
    "provider": "text",
    "connection_id": "uuid",
    "tool": "text",
    "args_hmac": "text",
    "intent_id": "uuid",
    "detail": "jsonb",
}
"""The columns, named as the event's fields are, and what they are in PostgreSQL."""
_fields = attrgetter(*_TYPES)
_INSERT = f"INSERT INTO {AuditEvent._meta.db_table} ({', '.join(_TYPES)})"  # noqa: SLF001 - Django's documented Model._meta API
_READ = ", ".join(f"(event->>{place})::{kind}" for place, kind in enumerate(_TYPES.values()))
_FROM_DOCUMENT = (
    f"{_INSERT} SELECT {_READ} FROM jsonb_array_elements(%s::jsonb) WITH ORDINALITY AS _ (event, place) ORDER BY place"  # noqa: S608 - names of our own model
)


@lru_cache(maxsize=1_024)
def _from_values(rows: int) -> str:
    marks = ", ".join(["%s"] * len(_TYPES))
    return f"{_INSERT} VALUES {', '.join([f'({marks})'] * rows)}"


def _stored(event: Event) -> tuple[str | None, ...]:
    """What Django itself stores in SQLite."""
    return (
        event.id.hex,
        event.at.astimezone(UTC).isoformat(" ")[: -len("+00:00")],
        event.tenant_id.hex,
        event.kind.value,
        event.user_id.hex if event.user_id else None,
        event.client,
        event.run_id,
        event.provider,
        event.connection_id.hex if event.connection_id else None,
        event.tool,
        event.args_hmac,
        event.intent_id.hex if event.intent_id else None,
        to_json(event.detail).decode(),
    )
