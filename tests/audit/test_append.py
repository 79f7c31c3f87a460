"""What is written without the ORM is what the ORM would have written, in both databases."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from uuid import uuid4

import pytest
from django.db import connection
from django.db.backends.sqlite3.base import DatabaseWrapper

from audit import services
from audit.events import Event, EventKind
from audit.models import AuditEvent

FULL = Event(
    EventKind.TOOL_DONE,
    tenant_id=uuid4(),
    user_id=uuid4(),
    client="key:1",
    run_id="run_1",
    provider="sentry",
    connection_id=uuid4(),
    tool='it\'s a "tool" 道具 %s \\ \t',
    args_hmac="ab" * 32,
    intent_id=uuid4(),
    detail={"ms": 12, "share": 0.5, "ok": True, "who": "Ünal", "none": None},
    at=datetime(2026, 11, 23, 5, 33, 6, 120, tzinfo=UTC),
)
BARE = Event(EventKind.ASK_DENIED, tenant_id=uuid4(), at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
ELSEWHERE = Event(
    EventKind.ASK_DENIED, tenant_id=uuid4(), at=datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=timezone(timedelta(hours=2)))
)


@pytest.mark.parametrize("event", [FULL, BARE, ELSEWHERE])
def test_an_event_is_read_as_it_was_written(database: None, event: Event) -> None:
    services.append([event])
    row = AuditEvent.objects.get(tenant_id=event.tenant_id, id=event.id)
    named = ("kind", "user_id", "client", "run_id", "provider", "connection_id", "tool", "args_hmac", "intent_id", "at")
    assert {name: getattr(row, name) for name in named} == {name: getattr(event, name) for name in named}
    assert row.detail == event.detail


def test_a_group_keeps_its_order(database: None) -> None:
    tenant = uuid4()
    events = [Event(EventKind.ASK_DENIED, tenant_id=tenant, run_id=f"run_{at}") for at in range(500)]
    services.append(events)
    assert [row.id for row in AuditEvent.objects.filter(tenant_id=tenant).order_by("seq")] == [e.id for e in events]


@pytest.mark.parametrize("event", [FULL, BARE, ELSEWHERE])
def test_sqlite_is_given_what_django_gives_it(event: Event) -> None:
    sqlite = DatabaseWrapper({**connection.settings_dict, "ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"})
    given = dict(zip(services._TYPES, services._stored(event), strict=True))
    fields = [field for field in AuditEvent._meta.concrete_fields if not field.primary_key]
    django = {field.column: field.get_db_prep_save(getattr(event, field.name), sqlite) for field in fields}
    assert json.loads(str(given.pop("detail"))) == json.loads(django.pop("detail"))
    assert given == django
