"""The log: an intent before, an outcome after, nothing changed, nothing readable that should not be."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.db import DatabaseError, connection, transaction

from audit import services
from audit.events import EventKind
from audit.fingerprint import fingerprint, tenant_key
from audit.models import AuditEvent
from tests.world import World


def test_every_tool_call_has_an_intent_before_and_an_outcome_after(world: World) -> None:
    made = world.connect()
    result = world.call_tool("list_organizations")
    run_id = result.structured_content["telemetryId"]
    events = [event for event in world.events() if event.run_id == run_id]
    assert [event.kind for event in events] == ["tool.call.intent", "tool.call.done"]
    intent, done = events
    assert done.intent_id == intent.id
    assert intent.seq < done.seq
    assert intent.connection_id == made.pk
    assert intent.user_id == world.me.user.pk
    assert intent.client.startswith("key:")
    assert done.detail["requests"] >= 1
    assert done.detail["bytes_in"] > 0
    assert len(intent.args_hmac) == 64


def test_a_call_the_provider_refuses_has_an_outcome_too(world: World) -> None:
    world.connect()
    world.faults(status=500)
    try:
        run_id = world.ask("x", {"mode": "tool", "tool": "who_am_i"}).structured_content["telemetryId"]
    finally:
        world.faults()
    kinds = [event.kind for event in world.events() if event.run_id == run_id]
    assert kinds == ["tool.call.intent", "tool.call.failed", "ask.gate.denied"]


def test_a_call_that_cannot_be_recorded_does_not_happen(world: World) -> None:
    world.connect()
    assert not world.call_tool("who_am_i").is_error
    calls = world.stats()["api_calls"]
    with full_log():
        error = world.error("x", {"mode": "tool", "tool": "who_am_i"})
    assert error["code"] == "internal"
    assert world.stats()["api_calls"] == calls


def test_a_request_nobody_can_be_held_to_is_refused_and_may_come_again(world: World) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE tenants_membership RENAME TO tenants_elsewhere")
    try:
        answer = world.post({"jsonrpc": "2.0", "id": 1, "method": "ping"})
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE tenants_elsewhere RENAME TO tenants_membership")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
    assert "Try again" in answer.text


@contextmanager
def full_log() -> Iterator[None]:
    """A log that can be read and takes no more."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            refuse = (
                "CREATE FUNCTION full_log() RETURNS trigger AS $$ BEGIN RAISE EXCEPTION 'full'; END $$ LANGUAGE plpgsql"
            )
            cursor.execute(refuse)
            cursor.execute(
                "CREATE TRIGGER full_log BEFORE INSERT ON audit_auditevent FOR EACH ROW EXECUTE FUNCTION full_log()"
            )
        else:
            cursor.execute(
                "CREATE TRIGGER full_log BEFORE INSERT ON audit_auditevent BEGIN SELECT RAISE(ABORT, 'full'); END"
            )
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            postgresql = connection.vendor == "postgresql"
            cursor.execute("DROP FUNCTION full_log CASCADE" if postgresql else "DROP TRIGGER full_log")


def test_arguments_and_prompts_are_not_in_the_log(world: World) -> None:
    world.connect()
    world.ask("my secret question", {"mode": "tool", "tool": "list_projects", "args": {"org": "acme"}})
    everything = " ".join(str(vars(event)) for event in world.events())
    assert "secret question" not in everything
    assert "'acme'" not in everything


@pytest.mark.parametrize("act", ["update", "delete", "truncate"])
def test_the_log_cannot_be_changed(world: World, act: str) -> None:
    rows = AuditEvent.objects.filter(tenant_id=world.tenant.pk)
    count = rows.count()
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        if act == "update":
            rows.update(kind="x")
        elif act == "delete":
            rows._raw_delete(rows.db)
        elif connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("TRUNCATE audit_auditevent")
        else:
            raise DatabaseError("append-only: SQLite has no TRUNCATE")
    assert rows.count() == count


def test_an_event_falls_with_the_transaction_it_belongs_to(world: World) -> None:
    with pytest.raises(RuntimeError), transaction.atomic():
        services.record(EventKind.EXPORTED, tenant_id=world.tenant.pk)
        raise RuntimeError
    assert not world.events("audit.export.done")


def test_equal_arguments_are_recognised_within_a_tenant_only() -> None:
    one, two = tenant_key("secret", uuid.uuid4()), tenant_key("secret", uuid.uuid4())
    assert fingerprint(one, {"a": 1, "b": [2]}) == fingerprint(one, {"b": [2], "a": 1})
    assert fingerprint(one, {"a": 1}) != fingerprint(two, {"a": 1})
    assert fingerprint(one, {"a": 1}) != fingerprint(one, {"a": "1"})
