"""Writing the log: one event inside the caller's transaction, or a group of them in one commit."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any
from uuid import UUID

from django.db import connection

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

    One statement of plain SQL instead of `bulk_create`: this runs twice for every tool call, and building model
    instances costs more than the insert.
    """
    with connection.cursor() as cursor:
        cursor.execute(_insert(connection.vendor, len(events)), [value for event in events for value in _row(event)])


_COLUMNS = (
    *("id", "at", "tenant_id", "kind", "user_id", "client", "run_id", "provider", "connection_id", "tool"),
    *("args_hmac", "intent_id", "detail"),
)


@lru_cache(maxsize=1_024)
def _insert(vendor: str, rows: int) -> str:
    detail = "%s::jsonb" if vendor == "postgresql" else "%s"
    marks = ", ".join([*["%s"] * (len(_COLUMNS) - 1), detail])
    table = AuditEvent._meta.db_table  # noqa: SLF001 - Django's documented Model._meta API
    return f"INSERT INTO {table} ({', '.join(_COLUMNS)}) VALUES {', '.join([f'({marks})'] * rows)}"  # noqa: S608 - names of our own model


def _row(event: Event) -> tuple[Any, ...]:
    """The values of `_COLUMNS` as Django itself would store them."""
    uid = _as_it_is if connection.features.has_native_uuid_field else _hex
    return (
        uid(event.id),
        connection.ops.adapt_datetimefield_value(event.at),
        uid(event.tenant_id),
        event.kind.value,
        uid(event.user_id),
        event.client,
        event.run_id,
        event.provider,
        uid(event.connection_id),
        event.tool,
        event.args_hmac,
        uid(event.intent_id),
        json.dumps(dict(event.detail)),
    )


def _as_it_is(value: UUID | None) -> UUID | None:
    return value


def _hex(value: UUID | None) -> str | None:
    return None if value is None else value.hex
