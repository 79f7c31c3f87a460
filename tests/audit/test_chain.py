"""What was sealed and then touched is found, whoever touched it; what merely came late is not taken for it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
import pytest
from django.conf import settings
from django.db import DatabaseError, connection, transaction

from audit import chain, outside, sealing, selectors, services, verification
from audit.chain import Broken, Checkpoint, Signer, Walk
from audit.events import Event, EventKind
from audit.models import AuditEvent, Gap, Verification
from audit.models import Checkpoint as Row
from tests.environment import MISSING

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
SIGNER = Signer("a secret")
TENANT = str(uuid4())


def event(seq: int, **said: object) -> dict[str, object]:
    plain = dict.fromkeys(("user_id", "connection_id", "intent_id"))
    words = dict.fromkeys(("client", "run_id", "provider", "tool", "args_hmac"), "")
    fixed = {
        "seq": seq,
        "id": f"e{seq}",
        "at": "2026-11-23T12:00:00+00:00",
        "tenant_id": TENANT,
        "kind": "tool.call.done",
    }
    return {**fixed, **plain, **words, "detail": {"ms": seq}, **said}


LOG = [event(seq) for seq in range(2, 32, 2)]


def sealed(signer: Signer = SIGNER, *, late: int | None = None) -> list[Checkpoint]:
    """Three checkpoints of five events each; `late`: the place of one that only the last has."""
    made: list[Checkpoint] = []
    for begin in (0, 5, 10):
        there = [each for place, each in enumerate(LOG[begin : begin + 5], begin) if place != late]
        belated = [LOG[late]] if late is not None and begin == 10 else []
        last = made[-1] if made else None
        made.append(
            signer.sign(
                chain.extend(last, TENANT, map(chain.entry, there), map(chain.entry, belated), at=NOW.isoformat())
            )
        )
    return made


def checked(events: list[dict[str, object]], checkpoints: list[Checkpoint]) -> int:
    late = {seq for each in checkpoints for seq in each.late}
    walk = Walk(TENANT, map(chain.entry, events), {SIGNER.public}, late=late)
    for each in checkpoints:
        walk.through(each)
    return walk.rest()


def test_a_log_that_nobody_touched_holds() -> None:
    assert checked(LOG, sealed()) == 0
    assert checked([*LOG, event(40), event(41)], sealed()) == 2
    assert checked(LOG, sealed(late=3)) == 0


SECOND = slice(5, 10)
TAMPERED = {
    "changed": ([*LOG[:6], event(14, tool="another"), *LOG[7:]], "Events 11 to 20 .* not what it was"),
    "removed": ([*LOG[:6], *LOG[7:]], "Events 11 to 20 .* 1 missing"),
    "slipped in": ([*LOG[:6], event(13), *LOG[6:]], "Events 11 to 20 .* 1 more than were sealed"),
    "exchanged": ([*LOG[:6], LOG[7], LOG[6], *LOG[8:]], "order is not that of the log"),
    "renumbered": ([*LOG[:6], {**LOG[7], "seq": 14}, {**LOG[6], "seq": 16}, *LOG[8:]], "Events 11 to 20 .* not what"),
    "cut off": (LOG[:12], "The log ends at event 24, but checkpoint 3 goes on to event 30"),
    "cut off at a checkpoint": (LOG[:10], "The log ends at event 20, but checkpoint 3"),
    "emptied": ([], "The log ends at event 0"),
    "another tenant's": ([*LOG[:6], event(14, tenant_id="x"), *LOG[7:]], "Event 14 is of another tenant"),
}


@pytest.mark.parametrize("what", TAMPERED)
def test_an_event_that_was_touched_is_found_and_its_place_named(what: str) -> None:
    events, says = TAMPERED[what]
    with pytest.raises(Broken, match=says):
        checked(events, sealed())


def test_a_late_event_that_is_removed_or_changed_is_found() -> None:
    with pytest.raises(Broken, match="Event 8 is missing"):
        checked([*LOG[:3], *LOG[4:]], sealed(late=3))
    with pytest.raises(Broken, match="not what it was"):
        checked([*LOG[:3], event(8, kind="x"), *LOG[4:]], sealed(late=3))


def test_a_checkpoint_that_was_touched_is_found() -> None:
    one, two, three = sealed()
    forged = sealed(Signer("another secret"))
    cases = {
        "Checkpoint 2 is missing": [one, three],
        "Checkpoint 1 is missing": [two, three],
        "Checkpoint 2 was altered": [one, replace(two, count=4), three],
        "Checkpoint 3 was altered": [one, two, replace(three, signature=two.signature)],
        "Checkpoint 1 is signed with a key that is not known": forged,
        "Checkpoint 2 was altered: its signature": [one, replace(forged[1], key=SIGNER.public), three],
        "Checkpoint 1 is of another tenant": [SIGNER.sign(replace(one, tenant_id="x"))],
        "Checkpoint 2 does not follow": [one, SIGNER.sign(replace(two, previous="00" * 32)), three],
        "Checkpoint 2 does not follow checkpoint 1": [one, SIGNER.sign(replace(two, total=11)), three],
    }
    for says, checkpoints in cases.items():
        with pytest.raises(Broken, match=says):
            checked(LOG, checkpoints)


def test_a_check_that_was_put_down_goes_on_where_it_was() -> None:
    one, two, three = sealed(late=3)
    walk = Walk(TENANT, map(chain.entry, LOG[5:]), {SIGNER.public}, late={8}, last=one)
    walk.put_aside([chain.entry(LOG[3])])
    walk.through(two)
    walk.through(three)
    assert walk.rest() == 0


def test_equal_events_are_equal_bytes_and_checkpoints_survive_being_written_down() -> None:
    turned = dict(reversed(event(1, tool="é😀", detail={"b": 1.5, "a": None}).items()))
    assert chain.canonical(turned) == chain.canonical(json.loads(json.dumps(turned)))
    for each in sealed(late=3):
        assert Checkpoint.read(each.line()) == each
    for wrong in ("", "[]", "{}", '{"late":1}', sealed()[0].line().replace('"number":1', '"number":true')):
        with pytest.raises(ValueError, match="not a checkpoint"):
            Checkpoint.read(wrong)


# --- In the database


@pytest.fixture
def tenant(database: None) -> UUID:
    return uuid4()


def record(tenant: UUID, count: int = 1) -> list[AuditEvent]:
    services.append([Event(EventKind.TOOL_DONE, tenant_id=tenant, detail={"ms": at}) for at in range(count)])
    return list(AuditEvent.objects.filter(tenant_id=tenant).order_by("-seq")[:count])[::-1]


def seal() -> None:
    sealing.seal(now=datetime.now(UTC))


def holds(tenant: UUID, folder: Path | None = None) -> int:
    """How many events are sealed and hold."""
    steps = verification.Steps(tenant, sealing.keys(), outside.of(folder, str(tenant)) if folder else None)
    return sum(each.count for each in steps)


@contextmanager
def unprotected(*tables: str) -> Iterator[None]:
    """What a superuser of the database can do, undone at the end as far as the triggers go."""
    postgresql = connection.vendor == "postgresql"
    with connection.cursor() as cursor:
        if not postgresql:
            cursor.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
            triggers = [row for row in cursor.fetchall() if "append-only" in row[1]]
        for table in tables if postgresql else ():
            cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        for name, _ in () if postgresql else triggers:
            cursor.execute(f"DROP TRIGGER {name}")
        try:
            yield
        finally:
            for table in tables if postgresql else ():
                cursor.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")
            for _, statement in () if postgresql else triggers:
                cursor.execute(statement)


@contextmanager
def superuser(tenant: UUID) -> Iterator[None]:
    """Somebody who changes this tenant's rows; what they did is undone, for the database is everybody's."""
    with pytest.raises(ZeroDivisionError), transaction.atomic(), unprotected("audit_auditevent", "audit_checkpoint"):
        yield
        raise ZeroDivisionError


def test_what_is_recorded_is_sealed_by_tenant_and_holds(tenant: UUID) -> None:
    other = uuid4()
    record(tenant, 3), record(other, 2), record(tenant, 4)
    seal()
    record(tenant, 5)
    seal()
    found = selectors.sealed(tenant)
    assert found is not None
    assert (found.last.number, found.last.total, found.waiting) == (2, 12, 0)
    assert (holds(tenant), holds(other)) == (12, 2)
    seal()
    assert selectors.newest_checkpoint(tenant) == 2, "nothing new, nothing sealed"


def test_whoever_changes_the_database_is_found_out(tenant: UUID) -> None:
    events = record(tenant, 6)
    seal()
    record(tenant, 6)
    seal()
    mine = AuditEvent.objects.filter(tenant_id=tenant)
    with superuser(tenant):
        mine.filter(pk=events[2].pk).update(tool="another")
        with pytest.raises(Broken, match=r"checkpoint 1,.*not what it was"):
            holds(tenant)
    with superuser(tenant):
        mine.filter(pk=events[2].pk)._raw_delete("default")
        with pytest.raises(Broken, match="1 missing"):
            holds(tenant)
    with superuser(tenant):
        mine.filter(pk__gt=events[-1].pk)._raw_delete("default")
        with pytest.raises(Broken, match="its end is cut off"):
            holds(tenant)
    with superuser(tenant):
        Row.objects.filter(tenant_id=tenant, number=1)._raw_delete("default")
        with pytest.raises(Broken, match="Checkpoint 1 is missing"):
            holds(tenant)
    assert holds(tenant) == 12


@pytest.mark.parametrize("act", ["update", "delete"])
def test_a_checkpoint_cannot_be_changed(tenant: UUID, act: str) -> None:
    record(tenant)
    seal()
    rows = Row.objects.filter(tenant_id=tenant)
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        rows.update(total=0) if act == "update" else rows._raw_delete(rows.db)
    assert rows.count() == 1


def test_an_older_copy_of_the_database_is_found_by_what_is_kept_outside(
    tenant: UUID, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "AUDIT_CHECKPOINT_DIR", str(tmp_path))
    events = record(tenant, 3)
    sealing.work(now=NOW)
    record(tenant, 3)
    sealing.work(now=NOW)
    assert holds(tenant, tmp_path) == 6
    assert sealing.signer().public in outside.keys(tmp_path)
    with superuser(tenant):
        Row.objects.filter(tenant_id=tenant, number=2)._raw_delete("default")
        AuditEvent.objects.filter(tenant_id=tenant, pk__gt=events[-1].pk)._raw_delete("default")
        assert holds(tenant) == 3, "the database alone does not show it"
        with pytest.raises(Broken, match="older copy"):
            holds(tenant, tmp_path)
        [*_, newest] = record(tenant, 2)
        monkeypatch.setattr(sealing, "_settled", lambda: newest.pk)  # what is open is this very transaction
        seal()  # the restored one goes on, another way
        with pytest.raises(Broken, match="not the one that was kept"):
            sealing.publish()
        with pytest.raises(Broken, match="not the one that was kept outside"):
            holds(tenant, tmp_path)


def test_what_is_kept_outside_is_made_up_for_after_a_full_disk_or_a_crash(
    tenant: UUID, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "kept"
    monkeypatch.setattr(settings, "AUDIT_CHECKPOINT_DIR", str(folder))
    record(tenant)
    sealing.work(now=NOW)
    folder.rename(tmp_path / "away")
    folder.write_text("in the way")
    record(tenant)
    sealing.work(now=NOW)
    assert "AUDIT_CHECKPOINT_DIR cannot be written" in caplog.text
    folder.unlink()
    (tmp_path / "away").rename(folder)
    file = folder / f"{tenant}.jsonl"
    with file.open("a") as torn:
        torn.write('{"at":"2026')
    assert outside.of(folder, str(tenant)).last() == next(outside.of(folder, str(tenant)).read())
    sealing.work(now=NOW)
    assert [each.number for each in outside.of(folder, str(tenant)).read()] == [1, 2]
    (folder / "position").unlink()  # as if the crash had come before it was written
    assert sealing.publish() > 0
    assert [each.number for each in outside.of(folder, str(tenant)).read()] == [1, 2]


# --- Numbers are given before they are committed


@contextmanager
def another_connection() -> Iterator[psycopg.Connection]:
    given = connection.get_connection_params()
    with psycopg.connect(**{name: given[name] for name in ("dbname", "user", "host", "port")}) as other:
        yield other


def number(other: psycopg.Connection) -> int:
    row = other.execute("SELECT nextval(pg_get_serial_sequence('audit_auditevent', 'seq'))").fetchone()
    assert row
    return int(row[0])


def insert(other: psycopg.Connection, tenant: UUID, seq: int) -> None:
    other.execute(
        "INSERT INTO audit_auditevent (seq, id, at, tenant_id, kind, client, run_id, provider, tool, args_hmac, detail)"
        " VALUES (%s, gen_random_uuid(), now(), %s, 'tool.call.done', '', '', '', '', '', '{}')",
        [seq, tenant],
    )


@pytest.mark.skipif("postgresql" in MISSING, reason=MISSING.get("postgresql", ""))
def test_nothing_is_sealed_past_a_transaction_that_is_still_open(tenant: UUID, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealing, "_WAIT_S", 0.1)
    with another_connection() as other:
        low = number(other)
        insert(other, tenant, low)
        [high] = record(tenant)
        assert low < high.seq
        seal()
        assert selectors.newest_checkpoint(tenant) == 0
        other.commit()
    seal()
    found = selectors.sealed(tenant)
    assert found is not None
    assert (found.last.count, found.last.late) == (2, ())
    assert holds(tenant) == 2


@pytest.mark.skipif("postgresql" in MISSING, reason=MISSING.get("postgresql", ""))
def test_an_event_that_turns_up_below_what_is_sealed_is_sealed_as_late(tenant: UUID) -> None:
    with another_connection() as other:
        low = number(other)  # nothing shows that it will be used
        record(tenant, 2)
        seal()
        insert(other, tenant, low)
        other.commit()
    seal()
    found = selectors.sealed(tenant)
    assert found is not None
    assert (found.last.number, found.last.late, found.last.total) == (2, (low,), 3)
    record(tenant)
    seal()
    assert holds(tenant) == 4
    resumed = verification.Steps(tenant, sealing.keys(), None, after=1)
    assert [each.number for each in resumed] == [2, 3]
    assert not Gap.objects.filter(first__lte=low, last__gte=low).exists()


@pytest.mark.skipif("postgresql" in MISSING, reason=MISSING.get("postgresql", ""))
def test_an_event_that_turns_up_long_after_is_not_taken_for_a_late_one(tenant: UUID) -> None:
    with another_connection() as other:
        low = number(other)
        record(tenant, 2)
        seal()
        Gap.objects.filter(first__lte=low, last__gte=low).update(noted_at=datetime.now(UTC) - timedelta(days=2))
        insert(other, tenant, low)
        seal()
        assert selectors.newest_checkpoint(tenant) == 1
        other.commit()
        sealing.seal(now=datetime.now(UTC))
    with pytest.raises(Broken, match="1 more than were sealed"):
        holds(tenant)


# --- Checking in the background


def turns(tenant: UUID, now: datetime) -> Verification:
    """Until it is this tenant's turn and its round is over."""
    Verification.objects.exclude(tenant_id=tenant).update(
        ended_at=now + timedelta(days=1), asked_at=None, began_at=None
    )
    for _ in range(20):
        verification.work(now=now)
        row = Verification.objects.get(tenant_id=tenant)
        if row.ended_at is not None and row.began_at is None and row.asked_at is None:
            return row
    raise AssertionError("it does not come to an end")


def test_a_log_is_checked_every_day_and_the_result_is_kept(tenant: UUID, caplog: pytest.LogCaptureFixture) -> None:
    events = record(tenant, 4)
    seal()
    now = datetime.now(UTC)
    row = turns(tenant, now)
    assert (row.problem, row.ended_to) == ("", 1)
    with superuser(tenant):
        AuditEvent.objects.filter(pk=events[1].pk).update(kind="x")
        later = now + timedelta(days=1, minutes=1)
        verification.work(now=later)
        verification.work(now=later)
        row = Verification.objects.get(tenant_id=tenant)
        assert "not what it was" in row.problem
        [line] = [each for each in caplog.records if each.levelname == "ERROR"]
        assert str(tenant) in line.getMessage()
        [told] = AuditEvent.objects.filter(tenant_id=tenant, kind="audit.verify.failed")
        assert "not what it was" in told.detail["problem"]


def test_a_long_check_goes_on_where_it_was_and_one_process_does_it(
    tenant: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verification, "_TURN_S", 0.0)
    for _ in range(3):
        record(tenant)
        seal()
    now = datetime.now(UTC)
    Verification.objects.exclude(tenant_id=tenant).update(
        ended_at=now + timedelta(days=1), asked_at=None, began_at=None
    )
    verification.work(now=now)
    mine = Verification.objects.filter(tenant_id=tenant)
    assert mine.get().reached == 1
    mine.update(busy_until=now + timedelta(seconds=30))  # another process has the turn
    verification.work(now=now)
    assert mine.get().reached == 1
    verification.work(now=now + timedelta(seconds=31))  # and is taken for dead
    assert mine.get().reached == 2
    assert turns(tenant, now + timedelta(seconds=40)).ended_to == 3


def test_who_asks_for_a_check_gets_one_from_its_beginning(tenant: UUID) -> None:
    record(tenant)
    seal()
    now, user = datetime.now(UTC), uuid4()
    turns(tenant, now)
    for _ in range(2):
        verification.ask(tenant_id=tenant, user_id=user, now=now)
    assert AuditEvent.objects.filter(tenant_id=tenant, kind="audit.verify.intent").count() == 1
    row = turns(tenant, now)
    assert row.ended_at == now
    [done] = AuditEvent.objects.filter(tenant_id=tenant, kind="audit.verify.done")
    assert (done.user_id, done.detail["checkpoints"]) == (user, 1)
