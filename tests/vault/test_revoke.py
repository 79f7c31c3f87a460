"""Disconnecting: over at once here, dead at the provider in the end, whatever is down meanwhile."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from django.db import connection as db

from metaagent.visitor import Visitor
from providers import catalogue, selectors
from providers.models import Installation
from tests.commands.test_commands import command
from tests.vault.outages import Provider, no_keys, provider_up
from tests.vault.test_access import expire
from tests.world import Served, World
from vault import tasks
from vault.models import Connection, Revocation, SealedTokenSet
from vault.services import access, leave, revoke
from vault.services.revoke import Tried
from vault.tokens import TokenSet


@pytest.fixture
def provider() -> Iterator[Provider]:
    with provider_up() as made:
        yield made


@pytest.fixture
def there(product: Served, provider: Provider) -> World:
    """A world whose provider can go down."""
    return World(product, provider.served)


@pytest.fixture(autouse=True)
def _nothing_else_waits(database: None) -> None:
    """The sweep is everybody's: what other tests left for it would be counted here."""
    Revocation.objects.all().delete()


@pytest.fixture
def one_grant(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As if Sentry gave one grant for all tokens of a person."""
    spec = catalogue.get("sentry")
    assert spec is not None
    changed = replace(spec, oauth=replace(spec.oauth, one_grant=True))
    monkeypatch.setattr(catalogue, "get", lambda _slug: changed)
    selectors._spec.cache_clear()
    yield
    selectors._spec.cache_clear()


def later() -> None:
    """As if the pause after a failure were over."""
    Revocation.objects.update(next_at=datetime.now(UTC) - timedelta(seconds=1))


def press_disconnect(world: World, connection: Connection) -> str:
    with Visitor() as visitor:
        world.log_in(visitor)
        visitor.open(f"{world.product.url}/connections/")
        visitor.send(
            next(form for form in visitor.forms() if str(connection.pk) in form.action and "disc" in form.action)
        )
        return visitor.page.text


def status(connection: Connection) -> str:
    return Connection.objects.get(pk=connection.pk).status


def test_the_page_ends_a_connection_here_and_at_the_provider(world: World) -> None:
    connection = world.connect()
    before = world.stats()["revocations"]
    assert "revoked" in press_disconnect(world, connection)
    assert status(connection) == "revoked"
    assert Connection.objects.get(pk=connection.pk).epoch == connection.epoch + 1
    assert world.stats()["revocations"] == before + 1
    assert not SealedTokenSet.objects.filter(connection=connection).exists()
    assert not Revocation.objects.filter(connection=connection).exists()
    intent, done = world.events("connection.revoke.intent"), world.events("connection.revoke.done")
    assert [event.id for event in intent] == [event.intent_id for event in done]


def test_a_provider_that_is_down_keeps_nobody_from_disconnecting_and_is_told_later(
    there: World, provider: Provider
) -> None:
    connection = there.connect()
    assert not there.call_tool("who_am_i").is_error
    provider.down()
    page = press_disconnect(there, connection)
    assert "Disconnecting" in page
    assert there.error("run", {"mode": "tool", "tool": "who_am_i"})["code"] == "needs_auth"
    [listed] = command("connection_list", there.tenant.slug)["connections"]
    assert (listed["status"], listed["attempts"]) == ("revoking", 1)
    assert listed["revoking_since"] < listed["next_attempt_at"]
    tasks.revocations()  # not due yet
    assert Revocation.objects.get(connection=connection).attempts == 1
    later()
    tasks.revocations()  # due, and still down
    assert status(connection) == "revoking"
    provider.up()
    later()
    tasks.revocations()
    assert status(connection) == "revoked"
    assert there.stats()["revocations"] == 1
    assert [event.kind for event in there.events() if event.kind.startswith("connection.")] == [
        "connection.revoke.intent",
        "connection.revoke.failed",
        "connection.revoke.done",
    ]


def test_pauses_grow_to_an_hour_and_a_long_outage_does_not_fill_the_log(there: World, provider: Provider) -> None:
    connection = there.connect()
    provider.down()
    revoke.disconnect(connection=connection, by=None)
    pauses = []
    for _ in range(31):
        row = Revocation.objects.get(connection=connection)
        pauses.append((row.next_at - datetime.now(UTC)).total_seconds())
        Revocation.objects.filter(pk=row.pk).update(next_at=datetime.now(UTC) - timedelta(seconds=1))
        assert revoke.attempt(row.pk) is Tried.FAILED
    assert 50 < pauses[0] < 90
    assert all(before < after + 5 for before, after in pairwise(pauses))
    assert 3_500 < pauses[-1] < 4_600
    assert len(there.events("connection.revoke.failed")) == 2


def test_asking_again_does_not_wait_for_a_long_pause(there: World, provider: Provider) -> None:
    connection = there.connect()
    provider.down()
    assert command("connection_revoke", str(connection.pk))["status"] == "revoking"
    Revocation.objects.update(next_at=datetime.now(UTC) + timedelta(hours=1))
    provider.up()
    assert command("connection_revoke", str(connection.pk))["status"] == "revoked"


def test_two_sweeps_at_once_ask_the_provider_once(there: World, provider: Provider) -> None:
    connection = there.connect()
    with no_keys():
        assert not revoke.disconnect(connection=connection, by=None)
    later()
    provider.slow_s = 0.2
    row = Revocation.objects.get(connection=connection)

    def attempt(_: int) -> Tried:
        try:
            return revoke.attempt(row.pk)
        finally:
            db.close()

    with ThreadPoolExecutor(4) as pool:
        tried = Counter(pool.map(attempt, range(4)))
    assert tried == {Tried.OVER: 1, Tried.TAKEN: 3}
    assert status(connection) == "revoked"
    assert provider.asked("/oauth/revoke/") == 2  # the refresh token and the access token
    assert len(there.events("connection.revoke.done")) == 1


def test_a_provider_that_fails_is_left_alone_and_keeps_nobody_else_s_from_being_told(
    there: World, provider: Provider, world: World
) -> None:
    down = [there.connect(), there.connect(there.person())]
    up = world.connect()
    with no_keys():
        for connection in [*down, up]:
            revoke.disconnect(connection=connection, by=None)
    provider.down()
    later()
    tasks.revocations()
    assert status(up) == "revoked"
    assert sorted(Revocation.objects.filter(tenant=there.tenant).values_list("attempts", flat=True)) == [1, 2]


def test_without_keys_a_connection_still_ends_here_and_its_provider_is_told_when_they_are_back(world: World) -> None:
    connection = world.connect()
    before = world.stats()["revocations"]
    assert not world.call_tool("who_am_i").is_error
    with no_keys():
        assert not revoke.disconnect(connection=connection, by=None)
        assert status(connection) == "revoking"
    assert world.error("run", {"mode": "tool", "tool": "who_am_i"})["code"] == "needs_auth"
    later()
    tasks.revocations()
    assert status(connection) == "revoked"
    assert world.stats()["revocations"] == before + 1


def test_a_refresh_in_flight_when_its_connection_ends_brings_nothing_back_to_life(
    there: World, provider: Provider
) -> None:
    connection = there.connect()
    expire(connection)
    there.faults(token_delay_s=0.2)
    provider.slow_s = 0.3  # so that the old tokens are ended only after they were exchanged for new ones
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(refreshed, connection)
        while provider.asked("/oauth/token/") < 2:
            pass
        revoke.disconnect(connection=connection, by=None)
        assert late.result() == "revoked"
    assert (there.stats()["refreshes"], there.stats()["revocations"]) == (1, 1)
    assert status(connection) == "revoked"
    assert not SealedTokenSet.objects.filter(connection=connection).exists()
    assert len(there.events("connection.revoke.intent")) == len(there.events("connection.revoke.done")) == 2


def test_a_late_token_that_cannot_be_revoked_yet_is_written_down(there: World, provider: Provider) -> None:
    connection = there.connect()
    assert revoke.disconnect(connection=connection, by=None)
    connection.refresh_from_db()
    provider.down()
    fresh = TokenSet(access=secrets.token_hex(32), refresh=secrets.token_hex(32), lifetime_s=60, scopes=None)
    revoke.discard(connection=connection, tokens=fresh, version=2, now=datetime.now(UTC))
    assert status(connection) == "revoking"
    row = Revocation.objects.get(connection=connection)
    assert fresh.access.encode() not in bytes(row.access)
    provider.up()
    later()
    tasks.revocations()
    assert status(connection) == "revoked"


def test_what_another_process_renewed_meanwhile_is_not_ended_with_the_loser_s_tokens(world: World) -> None:
    connection = world.connect()
    before = world.stats()["revocations"]
    fresh = TokenSet(access=secrets.token_hex(32), refresh=None, lifetime_s=60, scopes=None)
    revoke.discard(connection=connection, tokens=fresh, version=2, now=datetime.now(UTC))
    assert world.stats()["revocations"] == before
    assert not world.events("connection.revoke.intent")
    assert not world.call_tool("who_am_i").is_error


def test_tokens_are_never_sent_to_a_place_they_were_not_issued_for(world: World, provider: Provider) -> None:
    connection = world.connect()
    with no_keys():
        revoke.disconnect(connection=connection, by=None)
    world.sandbox = provider.served
    world.install()
    later()
    tasks.revocations()
    assert provider.asked("/oauth/revoke/") == 0
    [failed] = [e for e in world.events("connection.revoke.failed") if e.detail["code"] == "changed"]
    assert failed.intent_id == world.events("connection.revoke.intent")[0].id
    connection.refresh_from_db()
    assert (connection.status, connection.reason) == ("revoked", "changed")
    assert "could not be told" in revoke.in_words(connection)


def test_tokens_that_do_not_open_end_as_what_they_are(world: World) -> None:
    connection = world.connect()
    SealedTokenSet.objects.filter(connection=connection).update(access=b"\x01" + secrets.token_bytes(60))
    before = world.stats()["revocations"]
    assert revoke.disconnect(connection=connection, by=None)
    connection.refresh_from_db()
    assert (connection.status, connection.reason) == ("revoked", "unreadable")
    assert world.events("connection.revoke.failed")[0].detail["code"] == "unreadable"
    assert world.stats()["revocations"] == before


def test_a_provider_without_a_way_to_revoke_is_said_to_have_none(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = world.connect()
    monkeypatch.setattr("vault.oauth.revocable", lambda _client: False)
    found = command("connection_revoke", str(connection.pk))
    assert (found["status"], found["reason"]) == ("revoked", "not_offered")
    connection.refresh_from_db()
    assert "remove it in your account settings there" in revoke.in_words(connection)
    assert world.events("connection.revoke.done")[0].detail["at_provider"] == "not_offered"


def test_ending_all_of_an_installation_says_how_many_are_confirmed(there: World, provider: Provider) -> None:
    there.connect()
    there.connect(there.person())
    provider.down()
    ended = revoke.end_all(installation=there.installation, by=None, now=datetime.now(UTC))
    assert (ended.confirmed, ended.pending) == (0, 2)
    assert sorted(Revocation.objects.filter(tenant=there.tenant).values_list("attempts", flat=True)) == [0, 1]
    provider.up()
    ended = revoke.end_all(installation=there.installation, by=None, now=datetime.now(UTC))
    assert (ended.confirmed, ended.pending) == (2, 0)


def test_connecting_anew_does_not_save_the_old_tokens(world: World) -> None:
    connection = world.connect()
    before = world.stats()["revocations"]
    with no_keys():
        revoke.disconnect(connection=connection, by=None)
    world.connect()
    later()
    tasks.revocations()
    assert not Revocation.objects.filter(connection=connection).exists()
    assert world.stats()["revocations"] == before + 1
    assert status(connection) == "ready"
    assert not world.call_tool("who_am_i").is_error


def test_where_all_tokens_are_one_grant_old_ones_are_not_killed_under_the_new_ones(
    world: World, one_grant: None
) -> None:
    connection = world.connect()
    before = world.stats()["revocations"]
    with no_keys():
        revoke.disconnect(connection=connection, by=None)
    world.connect()
    assert not Revocation.objects.filter(connection=connection).exists()
    assert world.stats()["revocations"] == before
    assert world.events("connection.revoke.done")[0].detail["at_provider"] == "in_use"


def test_where_all_tokens_are_one_grant_the_last_connection_to_end_ends_it(world: World, one_grant: None) -> None:
    mine, other = world.connect(), world.connect(world.person())
    before = world.stats()["revocations"]
    assert revoke.disconnect(connection=mine, by=None)
    mine.refresh_from_db()
    assert "another connection here still uses it" in revoke.in_words(mine)
    assert world.stats()["revocations"] == before
    assert revoke.disconnect(connection=other, by=None)
    assert world.stats()["revocations"] == before + 1


def test_a_removed_provider_is_gone_at_once_and_its_row_when_its_tokens_are_dead(
    there: World, provider: Provider
) -> None:
    connection = there.connect()
    provider.down()
    found = command("provider_remove", there.tenant.slug, "sentry")
    assert (found["revoked"], found["pending"]) == (0, 1)
    assert there.post({"jsonrpc": "2.0", "id": 1, "method": "ping"}).status_code == 404
    assert command("provider_list", there.tenant.slug)["providers"] == []
    hour = datetime.now(UTC) + timedelta(hours=1)
    leave.purge(now=hour)
    assert Installation.objects.filter(pk=there.installation.pk).exists()
    provider.up()
    later()
    tasks.revocations()
    assert there.stats()["revocations"] == 1
    leave.purge(now=hour)
    assert not Installation.objects.filter(pk=there.installation.pk).exists()
    assert not Connection.objects.filter(pk=connection.pk).exists()


def test_a_provider_installed_again_while_it_was_being_removed_stays(there: World, provider: Provider) -> None:
    there.connect()
    provider.down()
    command("provider_remove", there.tenant.slug, "sentry")
    provider.up()
    there.install()
    later()
    tasks.revocations()
    leave.purge(now=datetime.now(UTC) + timedelta(hours=1))
    there.connect()
    assert not there.call_tool("who_am_i").is_error


def refreshed(connection: Connection) -> str:
    try:
        access.access(connection.pk)
    except access.Reconnect as gone:
        return gone.reason
    finally:
        db.close()
    return "refreshed"
