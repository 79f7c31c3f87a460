"""The refresh protocol under what goes wrong: clocks, crashes, a database that does not take the result, meddling."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import OperationalError
from django.db import connection as database

from providers.errors import Unavailable
from providers.models import Installation
from providers.spec import OAuthSpec
from tests.vault.test_access import _access, expire
from tests.world import World
from vault import oauth
from vault.models import Connection, SealedTokenSet
from vault.services import access
from vault.services.sealed import grant_of

ELSEWHERE = f"http://127.0.0.1:{os.environ['TEST_OTHER_PORT']}"


@pytest.fixture(autouse=True)
def _behaved(world: World) -> Iterator[None]:
    yield
    world.faults()


def tokens(connection: Connection) -> SealedTokenSet:
    return SealedTokenSet.objects.get(connection=connection)


def until(condition: Any, within_s: float = 10) -> None:
    """Wait for something another thread does."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline


def in_thread(work: Any) -> Future[Any]:
    """Run `work` in a thread that closes its database connection."""

    def run() -> Any:
        try:
            return work()
        finally:
            database.close()

    with_result: Future[Any] = Future()

    def target() -> None:
        try:
            with_result.set_result(run())
        except BaseException as error:  # noqa: BLE001 - handed to whoever asks for the result
            with_result.set_exception(error)

    threading.Thread(target=target, daemon=True).start()
    return with_result


@contextmanager
def refusing_updates() -> Iterator[None]:
    """A database that takes no new tokens, as when its disk is full."""
    table = SealedTokenSet._meta.db_table
    with database.cursor() as cursor:
        if database.vendor == "postgresql":
            cursor.execute(
                "CREATE FUNCTION refuse() RETURNS trigger AS $$ BEGIN RAISE EXCEPTION 'full'; END $$ LANGUAGE plpgsql"
            )
            cursor.execute(
                f"CREATE TRIGGER refuse BEFORE UPDATE OF access ON {table} FOR EACH ROW EXECUTE FUNCTION refuse()"
            )
        else:
            cursor.execute(
                f"CREATE TRIGGER refuse BEFORE UPDATE OF access ON {table} BEGIN SELECT RAISE(ABORT, 'full'); END"
            )
    try:
        yield
    finally:
        with database.cursor() as cursor:
            if database.vendor == "postgresql":
                cursor.execute("DROP FUNCTION refuse CASCADE")
            else:
                cursor.execute("DROP TRIGGER refuse")


def test_a_token_near_its_end_is_used_and_renewed_behind_the_callers_back(world: World) -> None:
    connection = world.connect()
    now = datetime.now(UTC)
    SealedTokenSet.objects.filter(connection=connection).update(
        expires_at=now + timedelta(seconds=30), refreshed_at=now - timedelta(hours=1)
    )
    world.faults(token_delay_s=1.5)
    for _ in range(2):
        began = time.monotonic()
        assert not world.call_tool("who_am_i").is_error
        assert time.monotonic() - began < 1.4
    until(lambda: tokens(connection).version == 2)


def test_new_tokens_the_database_does_not_take_are_kept_and_stored_later(world: World) -> None:
    connection = world.connect()
    expire(connection)
    before = world.stats()["refreshes"]
    with refusing_updates():
        late = in_thread(lambda: access.access(connection.pk))
        until(lambda: world.stats()["refreshes"] == before + 1)
        with pytest.raises(TimeoutError):
            late.result(0.3)
        assert tokens(connection).version == 1
    assert late.result(10).version == 2
    assert world.stats()["refreshes"] == before + 1
    assert not world.call_tool("who_am_i").is_error
    [done] = world.events("token.refresh.done")
    assert done.intent_id == world.events("token.refresh.intent")[0].id


def test_a_commit_whose_answer_was_lost_counts_as_stored(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = world.connect()
    expire(connection)
    revocations = world.stats()["revocations"]
    store: Any = access._store
    lost: list[Any] = []

    def store_and_lose_the_answer(*args: Any) -> Any:
        stored = store(*args)
        if not lost:
            lost.append(stored)
            raise OperationalError("the connection is gone")
        return stored

    monkeypatch.setattr(access, "_store", store_and_lose_the_answer)
    assert access.access(connection.pk).version == 2
    assert not world.call_tool("who_am_i").is_error
    assert world.stats()["revocations"] == revocations
    assert len(world.events("token.refresh.done")) == 1


def test_a_refresh_that_may_have_been_worked_is_tried_once_more_and_never_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = world.connect()
    expire(connection)
    monkeypatch.setattr(oauth, "TOKEN_REQUEST_S", 0.3)
    before = world.stats()["refreshes"]
    world.faults(token_delay_s=1.0)  # worked, but the answer comes too late
    with pytest.raises(Unavailable):
        access.access(connection.pk)
    assert tokens(connection).attempts == 1
    until(lambda: world.stats()["refreshes"] == before + 1)
    world.faults()
    SealedTokenSet.objects.filter(connection=connection).update(retry_after=None)
    for _ in range(3):
        with pytest.raises(access.Reconnect) as gone:
            access.access(connection.pk)
        assert gone.value.reason == "refresh_outcome_unknown"
    assert len(world.events("token.refresh.intent")) == 2


def test_a_lease_left_behind_gets_its_outcome_recorded_and_is_taken_over(world: World) -> None:
    connection = world.connect()
    expire(connection)
    dead = uuid4()
    past = datetime.now(UTC) - timedelta(minutes=2)
    SealedTokenSet.objects.filter(connection=connection).update(lease_until=past, refresh_owner=dead, attempts=1)
    assert access.access(connection.pk).version == 2
    [lost] = world.events("token.refresh.failed")
    assert (lost.intent_id, lost.detail["code"]) == (dead, "outcome_unknown")


def test_a_winner_that_slept_through_its_lease_stores_nothing(world: World) -> None:
    connection = world.connect()
    expire(connection)
    world.faults(token_delay_s=1.5)
    first = in_thread(lambda: access.access(connection.pk))
    until(lambda: tokens(connection).lease_until is not None)
    SealedTokenSet.objects.filter(connection=connection).update(lease_until=datetime.now(UTC) - timedelta(seconds=1))
    second = in_thread(lambda: access.access(connection.pk))
    for caller in (first, second):
        with pytest.raises(access.Reconnect):
            caller.result(20)
    row = tokens(connection)
    assert (row.version, row.attempts) == (1, 2)
    codes = {event.detail["code"] for event in world.events("token.refresh.failed")}
    assert codes == {"outcome_unknown", "superseded", "invalid_grant"}
    assert Connection.objects.get(pk=connection.pk).reason == "refresh_outcome_unknown"


def test_a_dead_refresh_nobody_asks_about_is_settled_once(world: World) -> None:
    connection = world.connect()
    past = datetime.now(UTC) - timedelta(minutes=2)
    SealedTokenSet.objects.filter(connection=connection).update(lease_until=past, refresh_owner=uuid4(), attempts=1)
    assert access.settle() >= 1
    access.settle()
    assert len(world.events("token.refresh.failed")) == 1
    assert access.access(connection.pk).version == 1


@pytest.mark.parametrize("days", [1, -1])
def test_a_clock_that_jumped_costs_one_refresh_at_most(world: World, days: int) -> None:
    """What a jump of the database's clock leaves behind: every time in the row is a day off."""
    connection = world.connect()
    row = tokens(connection)
    jump = timedelta(days=days)
    before = world.stats()["refreshes"]
    SealedTokenSet.objects.filter(pk=row.pk).update(
        expires_at=(row.expires_at or datetime.now(UTC)) - jump, refreshed_at=row.refreshed_at - jump
    )
    for _ in range(5):
        assert not world.call_tool("who_am_i").is_error
    assert world.stats()["refreshes"] - before == (1 if days > 0 else 0)


def test_a_lease_and_a_pause_from_a_clock_that_was_set_back_hold_nobody_up(world: World) -> None:
    connection = world.connect()
    expire(connection)
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    SealedTokenSet.objects.filter(connection=connection).update(
        lease_until=tomorrow, refresh_owner=uuid4(), retry_after=tomorrow
    )
    assert access.access(connection.pk).version == 2


def test_a_provider_that_is_down_is_asked_less_and_less_often(world: World) -> None:
    connection = world.connect()
    expire(connection)
    world.faults(token="500_before")
    pauses = []
    for _ in range(4):
        SealedTokenSet.objects.filter(connection=connection).update(retry_after=None)
        with pytest.raises(Unavailable):
            access.access(connection.pk)
        row = tokens(connection)
        assert row.retry_after is not None
        pauses.append((row.retry_after - datetime.now(UTC)).total_seconds())
    assert pauses[0] < 6.1
    assert pauses == sorted(pauses)
    assert pauses[3] > 30
    for _ in range(5):
        with pytest.raises(Unavailable):
            access.access(connection.pk)
    assert len(world.events("token.refresh.intent")) == 4
    assert Connection.objects.get(pk=connection.pk).status == "ready"


def test_an_unknown_outcome_ends_nothing_where_tokens_do_not_rotate(world: World) -> None:
    connection = world.connect()
    row = tokens(connection)
    row.attempts = 50
    read = access._Read(row, datetime.now(UTC))
    strict = OAuthSpec(authorize_url="https://a.example/a", token_url="https://a.example/t")
    assert read.exhausted(strict)
    assert not read.exhausted(replace(strict, rotation=False))
    row.attempts = 2
    assert not read.exhausted(replace(strict, reuse_leeway_s=600))


def test_waiting_callers_hold_no_database_connection(world: World) -> None:
    """There are twice as many as there are connections, and everybody else is still served."""
    connection = world.connect()
    expire(connection)
    world.faults(token_delay_s=1.5)
    with ThreadPoolExecutor(40) as pool:
        callers = [pool.submit(_access, connection) for _ in range(40)]
        until(lambda: (now := tokens(connection)).lease_until is not None or now.version == 2)  # it may be over by then
        assert Connection.objects.filter(pk=connection.pk).exists()
        assert {caller.result(20) for caller in callers} == {2}


# --- Meddling, with all the rights of the database's owner


def refused(world: World, code: str) -> None:
    """The connection is not used, its token goes nowhere, and the log says so."""
    calls = world.stats()["api_calls"]
    error = world.error("run", {"mode": "tool", "tool": "who_am_i"})
    assert (error["code"], error["reason"]) == ("needs_auth", "refresh_failed")
    assert world.stats()["api_calls"] == calls
    [event] = world.events("token.open.refused")
    assert event.detail["code"] == code


def test_an_older_row_put_back_is_noticed(world: World) -> None:
    connection = world.connect()
    old = tokens(connection)
    expire(connection)
    assert access.access(connection.pk).version == 2
    refreshes = world.stats()["refreshes"]
    SealedTokenSet.objects.filter(pk=old.pk).update(
        version=old.version, access=old.access, refresh=old.refresh, expires_at=old.expires_at
    )
    refused(world, "rolled_back")
    assert world.stats()["refreshes"] == refreshes


@pytest.mark.parametrize("field", ["access", "refresh"])
@pytest.mark.parametrize("how", ["flipped", "emptied"])
def test_a_changed_ciphertext_is_noticed(world: World, field: str, how: str) -> None:
    connection = world.connect()
    blob = bytearray(getattr(tokens(connection), field))
    blob[-1] ^= 1
    SealedTokenSet.objects.filter(connection=connection).update(**{field: bytes(blob) if how == "flipped" else b""})
    if field == "refresh":
        expire(connection)
    refused(world, "altered")


def test_a_refresh_token_taken_away_is_noticed(world: World) -> None:
    connection = world.connect()
    SealedTokenSet.objects.filter(connection=connection).update(refresh=None)
    refused(world, "altered")


def test_tokens_of_another_account_in_the_same_tenant_do_not_open_here(world: World) -> None:
    mine = world.connect()
    theirs = world.connect(world.person(), email="bruno@example.com")
    other = tokens(theirs)
    SealedTokenSet.objects.filter(connection=mine).update(
        access=other.access, refresh=other.refresh, version=other.version
    )
    refused(world, "altered")


def test_a_connection_given_to_somebody_else_in_the_database_does_not_work_for_them(world: World) -> None:
    theirs = world.connect(world.person(), email="bruno@example.com")
    Connection.objects.filter(pk=theirs.pk).update(owner=world.me.user)
    refused(world, "altered")


def test_a_token_is_not_sent_to_a_host_it_was_not_issued_for(world: World) -> None:
    world.connect()
    Installation.objects.filter(pk=world.installation.pk).update(api_base=ELSEWHERE)
    refused(world, "moved")


def test_a_forged_note_of_where_a_token_may_go_does_not_open_it(world: World) -> None:
    connection = world.connect()
    Installation.objects.filter(pk=world.installation.pk).update(api_base=ELSEWHERE)
    grant = grant_of(Installation.objects.get(pk=world.installation.pk))
    Connection.objects.filter(pk=connection.pk).update(grant=grant)
    refused(world, "altered")


# --- What is kept alive, and what a refresh may change


def test_a_quiet_connection_is_refreshed_before_its_provider_ends_it(world: World) -> None:
    world.installation = world.install(overrides={"grant_idle_s": 3_600})
    connection = world.connect()
    gone = World(world.product, world.sandbox).installation
    Installation.objects.filter(pk=gone.pk).update(slug="left-the-catalogue")  # which ends nobody else's
    access.keep_alive()  # other tenants' too, of which some are always due
    assert tokens(connection).version == 1
    SealedTokenSet.objects.filter(connection=connection).update(
        refreshed_at=datetime.now(UTC) - timedelta(minutes=31), expires_at=datetime.now(UTC) + timedelta(days=1)
    )
    for _ in range(2):
        access.keep_alive()
        assert tokens(connection).version == 2


def test_a_refresh_never_widens_what_was_granted(world: World) -> None:
    connection = world.connect()
    granted = sorted(connection.scopes)[:1]
    Connection.objects.filter(pk=connection.pk).update(scopes=granted)
    expire(connection)
    assert access.access(connection.pk).version == 2
    connection.refresh_from_db()
    assert connection.scopes == granted


def test_a_process_that_slept_before_it_asked_does_not_ask_any_more(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = world.connect()
    expire(connection)
    before = world.stats()["refreshes"]
    monkeypatch.setattr(access, "_SEND_WITHIN_S", -1.0)
    with pytest.raises(Unavailable):
        access.access(connection.pk)
    assert world.stats()["refreshes"] == before
    assert tokens(connection).attempts == 0
    monkeypatch.undo()
    SealedTokenSet.objects.filter(connection=connection).update(retry_after=None)
    assert access.access(connection.pk).version == 2
