"""Keys come and go while calls go on: rotation, rewrapping, shredding, and a key service that is away."""

from __future__ import annotations

import io
import json
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection as database

from audit.models import AuditEvent
from metaagent.visitor import Visitor
from tenants import standing
from tests.vault.kms import TransitStandIn, moto_key
from tests.vault.rows import fill, opens, token_set, tokens_of
from tests.world import Served, World
from vault import keyring, sealing
from vault.crypto import DataKey, KeysUnavailable, Unreadable
from vault.keks import remote
from vault.keks.local import LocalRing
from vault.models import ClientSecret, ConnectAttempt, Connection, SealedTokenSet, TenantKey
from vault.services import keys, rotate
from vault.services.sealed import open_token, seal_tokens

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    """No waiting for what nobody does here."""
    monkeypatch.setattr(rotate, "SETTLE", timedelta(0))
    monkeypatch.setattr(remote, "PAUSE_S", 0.0)


def run(*words: str) -> dict[str, Any]:
    out = io.StringIO()
    call_command(*words, "--json", stdout=out, stderr=io.StringIO())
    found: dict[str, Any] = json.loads(out.getvalue())
    return found


def refused(*words: str, code: int = 1) -> str:
    with pytest.raises(CommandError) as caught:
        run(*words)
    assert caught.value.returncode == code
    return str(caught.value)


def key_states(world: World) -> list[str]:
    return sorted(TenantKey.objects.filter(tenant=world.tenant).values_list("state", flat=True))


def intents_and_outcomes(world: World) -> list[tuple[str, Any]]:
    rows = AuditEvent.objects.filter(tenant_id=world.tenant.pk, kind__startswith="vault.").order_by("seq")
    return [(row.kind, row.id if row.kind.endswith("intent") else row.intent_id) for row in rows]


@contextmanager
def in_background(work: Callable[[], Any]) -> Iterator[list[BaseException]]:
    """Do something again and again meanwhile; gives what went wrong."""
    stop, wrong, turns = threading.Event(), list[BaseException](), threading.Event()

    def repeat() -> None:
        try:
            while not stop.is_set():
                work()
                turns.set()
        except BaseException as failed:  # noqa: BLE001 - told to the test
            wrong.append(failed)
            turns.set()
        finally:
            database.close()

    thread = threading.Thread(target=repeat)
    thread.start()
    assert turns.wait(20)
    try:
        yield wrong
    finally:
        stop.set()
        thread.join()


# --- rotation


def test_everything_is_sealed_anew_while_calls_go_on(world: World) -> None:
    world.connect()
    rows = fill(world.installation, world.person().user, 450)
    before = TenantKey.objects.get(tenant=world.tenant)

    def call() -> None:
        standing.changed()  # so that the product reads the row again
        answer = world.ask("who am I?")
        assert not answer.is_error, answer

    with in_background(call) as wrong, in_background(lambda: opens(rows[time.time_ns() % 450])) as also_wrong:
        found = run("vault_rotate", world.tenant.slug)
    assert wrong == []
    assert also_wrong == []
    assert found["tenants"] == [{"tenant": world.tenant.slug, "resealed": 452, "retired": 1}]
    after = TenantKey.objects.get(tenant=world.tenant)
    assert after.state == "active"
    assert after.pk != before.pk
    assert not SealedTokenSet.objects.filter(connection__tenant=world.tenant).exclude(key=after).exists()
    assert ClientSecret.objects.get(installation=world.installation).key_id == after.pk
    assert all(map(opens, rows[::50]))
    assert intents_and_outcomes(world) == [("vault.rotate.intent", after.pk), ("vault.rotate.done", after.pk)]
    assert world.events("vault.rotate.done")[0].detail == {"token_sets": 451, "client_secrets": 1}


def test_a_rotation_killed_midway_is_finished_by_the_next_and_by_no_new_key(world: World) -> None:
    rows = fill(world.installation, world.me.user, 1_200)
    old = TenantKey.objects.get(tenant=world.tenant).pk
    under_new = SealedTokenSet.objects.filter(connection__tenant=world.tenant).exclude(key_id=old)
    process = subprocess.Popen(
        [sys.executable, "manage.py", "vault_rotate", world.tenant.slug],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while not under_new.exists():
        assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = under_new.count()
    assert 0 < done < 1_200
    assert key_states(world) == ["active", "old"]
    assert all(map(opens, rows[::120]))
    assert all(world.events(kind) == [] for kind in ("vault.rotate.done", "token.open.refused"))

    assert not rotate.begin(tenant_id=world.tenant.pk)
    found = run("vault_rotate", world.tenant.slug)
    assert found["tenants"][0]["resealed"] == 1_200 - done + 1
    assert key_states(world) == ["active"]
    key = TenantKey.objects.get(tenant=world.tenant).pk
    assert intents_and_outcomes(world) == [("vault.rotate.intent", key), ("vault.rotate.done", key)]
    assert all(map(opens, rows[::120]))

    run("vault_rotate", world.tenant.slug)  # asked again, it begins again
    assert TenantKey.objects.get(tenant=world.tenant).pk != key


def test_a_refresh_that_stores_meanwhile_wins(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    [row] = fill(world.installation, world.me.user, 1)
    assert rotate.begin(tenant_id=world.tenant.pk)
    active_key = sealing.active_key

    def after_somebody_stored(tenant_id: Any) -> DataKey:
        """The batch was read, and is not written yet."""
        key = active_key(tenant_id)
        fresh = seal_tokens(row, token_set("newer", None), version=2, grant=row.grant, key=key)
        SealedTokenSet.objects.filter(connection=row).update(**fresh, version=2)
        return key

    monkeypatch.setattr(sealing, "active_key", after_somebody_stored)
    assert sum(batch.resealed for batch in rotate.reseal(tenant_id=world.tenant.pk)) == 1  # the client secret
    found = tokens_of(row)
    assert (found.version, open_token(row, found, "access")) == (2, "newer")


def test_a_key_that_something_still_names_is_not_retired(world: World) -> None:
    rows = fill(world.installation, world.me.user, 3)
    SealedTokenSet.objects.filter(connection=rows[0]).update(access=b"\x01" + bytes(80))
    says = refused("vault_rotate", world.tenant.slug)
    assert "needed for 1 token sets" in says
    assert key_states(world) == ["active", "old"]
    assert world.events("vault.rotate.done") == []
    assert all(map(opens, rows[1:]))
    assert refused("vault_rotate", world.tenant.slug) == says
    assert len(world.events("vault.rotate.intent")) == 1

    Connection.objects.filter(pk=rows[0].pk).delete()
    assert run("vault_rotate", world.tenant.slug)["tenants"][0]["retired"] == 1
    assert key_states(world) == ["active"]


def test_a_log_in_that_is_going_on_keeps_its_key_until_it_has_ended(world: World) -> None:
    with Visitor() as visitor:
        world.begin(visitor, world.connect_link())
        assert rotate.begin(tenant_id=world.tenant.pk)
        list(rotate.reseal(tenant_id=world.tenant.pk))
        now = datetime.now(UTC)
        assert rotate.retire(tenant_id=world.tenant.pk, now=now).needed_by == {rotate.LOG_INS: 1}
        world.approve(visitor)
        assert visitor.page.status_code == 200
    assert Connection.objects.get(tenant=world.tenant).status == "ready"
    assert rotate.retire(tenant_id=world.tenant.pk, now=now).retired == 1
    assert not world.ask("who am I?").is_error


def test_a_log_in_nobody_finishes_holds_a_key_for_minutes_only(world: World) -> None:
    with Visitor() as visitor:
        world.begin(visitor, world.connect_link())
    rotate.begin(tenant_id=world.tenant.pk)
    list(rotate.reseal(tenant_id=world.tenant.pk))
    ends = ConnectAttempt.objects.get(link__tenant=world.tenant).expires_at
    assert rotate.retire(tenant_id=world.tenant.pk, now=ends).retired == 0
    assert rotate.retire(tenant_id=world.tenant.pk, now=ends + timedelta(minutes=2)).retired == 1


def test_a_tenant_without_keys_has_nothing_to_rotate(world: World) -> None:
    ClientSecret.objects.filter(installation=world.installation).delete()
    TenantKey.objects.filter(tenant=world.tenant).delete()
    assert run("vault_rotate", world.tenant.slug)["tenants"] == []
    assert "There is no tenant" in refused("vault_rotate", "nobody-here")


# --- what is stored, meddled with


def test_a_sealed_token_opens_in_its_place_only_and_is_not_sealed_anew_elsewhere(world: World) -> None:
    other = World(world.product, world.sandbox)
    [foreign] = fill(other.installation, other.me.user, 1)
    [neighbour] = fill(world.installation, world.me.user, 1)
    changes: list[Callable[[str, SealedTokenSet], bytes | None]] = [
        lambda field, _: bytes(getattr(tokens_of(foreign), field)),
        lambda field, _: bytes(getattr(tokens_of(neighbour), field)),
        lambda field, row: bytes(row.access if field == "refresh" else row.refresh or b""),
        lambda field, row: bytes(getattr(row, field)[:40]) + b"\xff\xff" + bytes(getattr(row, field)[42:]),
        lambda field, row: bytes(getattr(row, field)[:-1]),
        lambda _, __: b"",
        lambda _, __: b"a token in plain text",
    ]
    damaged = []
    for field in ("access", "refresh"):
        for change in changes:
            [mine] = fill(world.installation, world.me.user, 1)
            row = tokens_of(mine)
            setattr(row, field, change(field, row))
            row.save()
            damaged.append(mine)
    [emptied] = fill(world.installation, world.me.user, 1)
    SealedTokenSet.objects.filter(connection=emptied).update(refresh=None)
    for mine in [*damaged, emptied]:
        with pytest.raises(Unreadable):
            opens(mine)
    rotate.begin(tenant_id=world.tenant.pk)
    batches = list(rotate.reseal(tenant_id=world.tenant.pk))
    assert sum(batch.resealed for batch in batches) == 2  # the neighbour and the client secret
    assert sum(len(batch.unreadable) for batch in batches) == len(damaged) + 1
    assert opens(neighbour)


def test_an_opened_key_is_neither_printed_nor_pickled(world: World) -> None:
    key = sealing.active_key(world.tenant.pk)
    assert "cipher" not in f"{key!r} {key}"
    with pytest.raises(TypeError):
        pickle.dumps(key)


# --- another KEK


@contextmanager
def choose(monkeypatch: pytest.MonkeyPatch, kek: str, *old: str) -> Iterator[None]:
    """Another KEK for the deployment, as after a restart."""
    with monkeypatch.context() as patch:
        patch.setattr("django.conf.settings.VAULT_KEK", kek)
        patch.setattr("django.conf.settings.VAULT_KEK_OLD", list(old))
        patch.setattr(keys, "_probed", (float("-inf"), False))
        restart()
        yield
    restart()


def restart() -> None:
    """What a new process has not."""
    keyring.keks.cache_clear()
    sealing._opened.clear()
    standing.changed()


def test_data_keys_move_to_another_kek_and_back_without_touching_tokens(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ring = f"local:{tmp_path / 'vault.key'}"
    with choose(monkeypatch, ring):
        own = World(world.product, world.sandbox)
        row = fill(own.installation, own.me.user, 1)[0]
    mine = TenantKey.objects.filter(tenant=own.tenant)
    blob = bytes(tokens_of(row).access)
    with monkeypatch.context() as patch, moto_key(patch) as arn:
        monkeypatch.setattr(keys, "outdated", lambda: list(mine.exclude(kek_uri=keyring.kek().uri)))
        with choose(monkeypatch, f"aws-kms:{arn}"):
            assert ["VAULT_KEK_OLD" in done.failure for done in keys.rewrap()] == [True]
            with pytest.raises(KeysUnavailable):
                opens(row)
        with choose(monkeypatch, f"aws-kms:{arn}", ring):
            assert opens(row)
            assert run("vault_rewrap")["rewrapped"] == 1
            assert mine.get().kek_uri == f"aws-kms:{arn}"
            assert run("vault_rewrap")["rewrapped"] == 0
        with choose(monkeypatch, f"aws-kms:{arn}"):
            assert opens(row)
        with choose(monkeypatch, ring, f"aws-kms:{arn}"):
            assert run("vault_rewrap")["rewrapped"] == 1
            assert opens(row)
    with choose(monkeypatch, ring):
        assert opens(row)
    assert bytes(tokens_of(row).access) == blob
    moves = [(e.detail["from"][:8], e.detail["to"][:8]) for e in own.events("vault.rewrap.done")]
    assert moves == [("local:k1", "aws-kms:"), ("aws-kms:", "local:k1")]


def test_the_key_file_gets_a_new_key_and_running_servers_notice(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with choose(monkeypatch, f"local:{tmp_path / 'vault.key'}"):
        own = World(world.product, world.sandbox)
        row = fill(own.installation, own.me.user, 1)[0]
        first = TenantKey.objects.get(tenant=own.tenant).kek_uri
        another_server = LocalRing(tmp_path / "vault.key")
        mine = TenantKey.objects.filter(tenant=own.tenant)
        monkeypatch.setattr(keys, "outdated", lambda: list(mine.exclude(kek_uri=keyring.kek().uri)))
        assert run("vault_rewrap", "--new-local-key")["rewrapped"] == 1
        now = mine.get().kek_uri
        assert now != first
        assert another_server.holds(now)
        sealing._opened.clear()
        assert opens(row)
    with choose(monkeypatch, "hashicorp:transit/k"), monkeypatch.context() as patch:
        patch.setattr("django.conf.settings.VAULT_ADDR", "https://vault.example.com")
        assert "not a key file" in refused("vault_rewrap", "--new-local-key")


# --- shredding


def test_shredding_ends_everything_and_a_tenant_may_begin_anew(world: World) -> None:
    connection = world.connect()
    says = refused("vault_shred", world.tenant.slug, code=2)
    assert "1 connections" in says
    assert "Backups" in says
    assert not world.ask("who am I?").is_error

    found = run("vault_shred", world.tenant.slug, "--yes")
    assert (found["connections"], found["client_secrets"], found["unconfirmed"]) == (1, 1, 0)
    connection.refresh_from_db()
    assert connection.status == "revoked"
    [key] = TenantKey.objects.filter(tenant=world.tenant)
    assert (key.state, key.wrapped) == ("shredded", None)
    assert not SealedTokenSet.objects.filter(connection__tenant=world.tenant).exists()
    assert world.error("who am I?")["code"] == "needs_auth"
    kinds = [kind for kind, _ in intents_and_outcomes(world)]
    assert kinds == ["vault.shred.intent", "vault.shred.done"]
    assert len({intent for _, intent in intents_and_outcomes(world)}) == 1

    world.installation = world.install()
    world.connect()
    assert not world.ask("who am I?").is_error
    assert key_states(world) == ["active", "shredded"]


def test_shredding_needs_neither_the_provider_nor_the_keys(world: World) -> None:
    rows = fill(world.installation, world.me.user, 3)
    with TransitStandIn() as transit, pytest.MonkeyPatch.context() as patch:
        patch.setattr("django.conf.settings.VAULT_ADDR", transit.url)
        with choose(patch, "hashicorp:transit/k"):
            found = run("vault_shred", world.tenant.slug, "--yes")
    assert found["unconfirmed"] == 3
    assert {row.status for row in Connection.objects.filter(tenant=world.tenant)} == {"revoked"}
    with pytest.raises(SealedTokenSet.DoesNotExist):
        opens(rows[0])
    intents = {e.id for e in world.events("connection.revoke.intent")}
    assert {e.intent_id for e in world.events("connection.revoke.failed")} >= intents


# --- an outage


@pytest.fixture
def transit(monkeypatch: pytest.MonkeyPatch) -> Iterator[TransitStandIn]:
    """A Vault as the deployment's KEK."""
    with TransitStandIn() as service:
        monkeypatch.setattr("django.conf.settings.VAULT_ADDR", service.url)
        monkeypatch.setenv("VAULT_TOKEN", service.token)
        with choose(monkeypatch, "hashicorp:transit/k"):
            yield service
        assert service.wrong == []


@pytest.fixture
def vaulted(transit: TransitStandIn, product: Served, sandbox: Served) -> World:
    """A world whose keys are wrapped by that Vault."""
    return World(product, sandbox)


def test_in_an_outage_opened_keys_serve_for_their_time_and_nothing_is_marked(
    vaulted: World, transit: TransitStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = vaulted.connect()
    clock = SimpleNamespace(now=time.monotonic())
    monkeypatch.setattr(sealing, "time", SimpleNamespace(monotonic=lambda: clock.now))
    with transit.failing("denied"):
        clock.now += 290
        standing.changed()
        assert not vaulted.ask("who am I?").is_error
        clock.now += 20
        standing.changed()
        error = vaulted.error("who am I?")
        assert error["code"] == "provider_unavailable"
        assert error["retryable"] is True
        with pytest.raises(KeysUnavailable):
            sealing.seal(vaulted.tenant.pk, b"secret", {"row": "1"})
    connection.refresh_from_db()
    assert (connection.status, connection.reason) == ("ready", "")
    assert vaulted.events("token.open.refused") == []
    assert not vaulted.ask("who am I?").is_error


def test_in_an_outage_connecting_ends_before_the_code_is_spent(vaulted: World, transit: TransitStandIn) -> None:
    with Visitor() as visitor:
        vaulted.begin(visitor, vaulted.connect_link())
        sealing._opened.clear()
        exchanged = vaulted.stats()["codes_exchanged"]
        with transit.failing("sealed"):
            vaulted.approve(visitor)
            assert visitor.page.status_code == 503
            assert "vault is closed" in visitor.page.text
    assert vaulted.stats()["codes_exchanged"] == exchanged
    assert not Connection.objects.filter(tenant=vaulted.tenant).exists()
    assert vaulted.events("token.open.refused") == []
    vaulted.connect()
    assert vaulted.stats()["codes_exchanged"] == exchanged + 1


def test_callers_who_want_the_same_key_ask_for_it_once(vaulted: World, transit: TransitStandIn) -> None:
    blob = sealing.seal(vaulted.tenant.pk, b"secret", {"row": "1"})
    sealing._opened.clear()
    asked, start, never = len(transit.requests), threading.Barrier(16), threading.Event()

    def open_it(_: int) -> bytes:
        try:
            start.wait()
            return sealing.open_sealed(vaulted.tenant.pk, blob, {"row": "1"})
        finally:
            database.close()

    with transit.failing("hang", times=0), ThreadPoolExecutor(16) as pool:
        found = [pool.submit(open_it, n) for n in range(16)]
        deadline = time.monotonic() + 0.5  # long enough for whoever would ask as well
        while len(transit.requests) < asked + 2 and time.monotonic() < deadline:
            never.wait(0.01)
        transit.gate.set()
        assert {one.result() for one in found} == {b"secret"}
    assert len(transit.requests) == asked + 1


def test_opened_keys_leave_the_memory_when_their_time_is_up(
    vaulted: World, transit: TransitStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    blob = sealing.seal(vaulted.tenant.pk, b"secret", {"row": "1"})
    assert sealing.data_key_at_hand(vaulted.tenant.pk, blob) is not None
    asked = len(transit.requests)
    monkeypatch.setattr("django.conf.settings.DATA_KEY_CACHE_S", 0)
    assert sealing.data_key_at_hand(vaulted.tenant.pk, blob) is None
    assert len(transit.requests) == asked
    sealing.open_sealed(vaulted.tenant.pk, blob, {"row": "1"})
    assert (vaulted.tenant.pk, TenantKey.objects.get(tenant=vaulted.tenant).pk) not in sealing._opened


def test_an_opened_key_is_of_no_use_to_the_tenant_its_row_was_moved_to(world: World) -> None:
    other = World(world.product, world.sandbox)
    blob = sealing.seal(world.tenant.pk, b"secret", {"row": "1"})
    TenantKey.objects.filter(tenant=other.tenant).update(state="old")
    TenantKey.objects.filter(tenant=world.tenant).update(tenant=other.tenant)
    with pytest.raises(Unreadable):
        sealing.data_key(other.tenant.pk, blob)
    with pytest.raises(Unreadable):
        sealing.active_key(other.tenant.pk)


def test_a_kek_of_somebody_elses_choice_is_not_asked(vaulted: World, transit: TransitStandIn) -> None:
    """Who writes to the database could else have tokens sealed under a key of their own."""
    blob = sealing.seal(vaulted.tenant.pk, b"secret", {"row": "1"})
    sealing._opened.clear()
    TenantKey.objects.filter(tenant=vaulted.tenant).update(kek_uri="hashicorp:transit/mine")
    asked = len(transit.requests)
    with pytest.raises(KeysUnavailable, match="VAULT_KEK_OLD"):
        sealing.open_sealed(vaulted.tenant.pk, blob, {"row": "1"})
    assert len(transit.requests) == asked
