"""Access tokens: refreshed once, fenced, kept when nothing new comes, and gone when the grant is dead."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection as database

from providers.errors import Unavailable
from tests.world import World
from vault import oauth
from vault.models import Connection, SealedTokenSet
from vault.services import access, revoke
from vault.services.clients import client_of
from vault.services.sealed import fields_of, open_token


@pytest.fixture(autouse=True)
def _behaved(world: World) -> Iterator[None]:
    yield
    world.faults()


def expire(connection: Connection) -> None:
    """As if the hour were over."""
    now = datetime.now(UTC)
    SealedTokenSet.objects.filter(connection=connection).update(
        expires_at=now - timedelta(seconds=1), refreshed_at=now - timedelta(hours=1)
    )


def _access(connection: Connection) -> int:
    try:
        return access.access(connection.pk).version
    finally:
        database.close()


def test_an_expired_token_is_refreshed_and_the_call_is_answered(world: World) -> None:
    connection = world.connect()
    before = world.stats()["refreshes"]
    expire(connection)
    assert not world.call_tool("who_am_i").is_error
    assert world.stats()["refreshes"] == before + 1
    [intent] = world.events("token.refresh.intent")
    [done] = world.events("token.refresh.done")
    assert done.intent_id == intent.id


def test_many_callers_at_an_expiry_make_one_refresh(world: World) -> None:
    connection = world.connect()
    before = world.stats()
    expire(connection)
    with ThreadPoolExecutor(12) as pool:
        versions = list(pool.map(lambda _: _access(connection), range(24)))
    after = world.stats()
    assert set(versions) == {2}
    assert after["refreshes"] == before["refreshes"] + 1
    assert after["reuses"] == before["reuses"]
    assert after["families_revoked"] == before["families_revoked"]


def test_a_401_forces_one_refresh_and_the_call_succeeds(world: World) -> None:
    connection = world.connect()
    before = world.stats()["refreshes"]
    world.faults(status=401, times=1)
    assert not world.call_tool("who_am_i").is_error
    assert world.stats()["refreshes"] == before + 1
    assert SealedTokenSet.objects.get(connection=connection).version == 2


def test_a_401_after_the_refresh_means_connecting_again(world: World) -> None:
    world.connect()
    world.faults(status=401)
    error = world.error("run", {"mode": "tool", "tool": "who_am_i"})
    assert (error["code"], error["reason"]) == ("needs_auth", "revoked")
    world.faults()
    refreshes = world.stats()["refreshes"]
    assert world.error("run", {"mode": "tool", "tool": "who_am_i"})["code"] == "needs_auth"
    assert world.stats()["refreshes"] == refreshes


def test_a_dead_grant_is_needs_auth_and_the_provider_is_not_asked_again(world: World) -> None:
    connection = world.connect()
    with world.sandbox.http as http:
        http.post("/_reset").raise_for_status()
    expire(connection)
    sealed = SealedTokenSet.objects.get(connection=connection)
    tokens = {kind: open_token(connection, sealed, kind) for kind in fields_of(sealed)}
    oauth.revoke_all(client_of(connection.installation), refresh=tokens["refresh"], access=tokens["access"])
    assert world.error("run", {"mode": "tool", "tool": "who_am_i"})["reason"] == "refresh_failed"
    assert world.error("run", {"mode": "tool", "tool": "who_am_i"})["reason"] == "refresh_failed"
    assert len(world.events("token.refresh.intent")) == 1
    reconnected = world.connect()
    assert reconnected.pk == connection.pk
    assert not world.call_tool("who_am_i").is_error


def test_a_provider_that_is_down_does_not_log_anybody_out(world: World) -> None:
    connection = world.connect()
    expire(connection)
    world.faults(token="500_before")
    error = world.error("run", {"mode": "tool", "tool": "who_am_i"})
    assert error["code"] == "provider_unavailable"
    assert Connection.objects.get(pk=connection.pk).status == "ready"
    world.faults()
    SealedTokenSet.objects.filter(connection=connection).update(retry_after=None)
    assert not world.call_tool("who_am_i").is_error


def test_a_refresh_that_comes_after_the_disconnect_is_thrown_away_and_revoked(world: World) -> None:
    connection = world.connect()
    expire(connection)
    revocations = world.stats()["revocations"]
    world.faults(token_delay_s=1.0)
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(_access, connection)
        while not SealedTokenSet.objects.get(connection=connection).lease_until:
            pass
        Connection.objects.filter(pk=connection.pk).update(status="revoking", epoch=connection.epoch + 1)
        with pytest.raises(access.Reconnect):
            late.result()
    assert SealedTokenSet.objects.get(connection=connection).version == 1
    assert world.stats()["revocations"] == revocations + 1


def test_a_lease_left_by_a_dead_process_is_taken_over_once_and_no_more(world: World) -> None:
    connection = world.connect()
    expire(connection)
    past = datetime.now(UTC) - timedelta(seconds=1)
    SealedTokenSet.objects.filter(connection=connection).update(lease_until=past, attempts=2)
    with pytest.raises(access.Reconnect) as caught:
        access.access(connection.pk)
    assert caught.value.reason == "refresh_outcome_unknown"
    assert not world.events("token.refresh.intent")


def test_disconnecting_ends_use_at_once_and_kills_the_token_there(world: World) -> None:
    connection = world.connect()
    assert not world.call_tool("who_am_i").is_error
    revocations = world.stats()["revocations"]
    assert revoke.disconnect(connection=connection, by=world.me.user.pk)
    assert world.error("run", {"mode": "tool", "tool": "who_am_i"})["code"] == "needs_auth"
    assert world.stats()["revocations"] > revocations
    assert not SealedTokenSet.objects.filter(connection=connection).exists()
    assert [e.kind for e in world.events() if e.kind.startswith("connection.")] == [
        "connection.revoke.intent",
        "connection.revoke.done",
    ]


@pytest.mark.parametrize("name", ["access", "refresh"])
def test_ciphertext_moved_between_rows_does_not_open(world: World, name: str) -> None:
    mine = world.connect()
    other = world.person()
    theirs = world.connect(other)
    stolen = getattr(SealedTokenSet.objects.get(connection=theirs), name)
    SealedTokenSet.objects.filter(connection=mine).update(**{name: stolen})
    if name == "refresh":
        expire(mine)
    calls = world.stats()["api_calls"]
    error = world.error("run", {"mode": "tool", "tool": "who_am_i"})
    assert error["code"] == "needs_auth"
    assert world.stats()["api_calls"] == calls
    assert world.events("token.open.refused")


@pytest.mark.parametrize("damage", [b"", b"\x01short", b"plain-text-token-in-the-row-" * 4])
def test_damaged_ciphertext_is_refused_and_recorded(world: World, damage: bytes) -> None:
    connection = world.connect()
    SealedTokenSet.objects.filter(connection=connection).update(access=damage)
    assert world.error("run", {"mode": "tool", "tool": "who_am_i"})["code"] == "needs_auth"
    assert world.events("token.open.refused")


def test_an_older_version_put_back_does_not_open(world: World) -> None:
    connection = world.connect()
    old = SealedTokenSet.objects.get(connection=connection)
    expire(connection)
    assert access.access(connection.pk).version == 2
    SealedTokenSet.objects.filter(connection=connection).update(access=old.access, refresh=old.refresh)
    assert world.error("run", {"mode": "tool", "tool": "who_am_i"})["code"] == "needs_auth"


def test_waiting_for_a_refresh_ends_with_a_clear_sentence(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = world.connect()
    expire(connection)
    held = datetime.now(UTC) + timedelta(seconds=40)
    SealedTokenSet.objects.filter(connection=connection).update(lease_until=held)
    monkeypatch.setattr(access, "_WAIT_S", 0.2)
    with pytest.raises(Unavailable, match="Try again"):
        access.access(connection.pk)
