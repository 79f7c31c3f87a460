"""The key file: the owner's alone, made once, never guessed."""

from __future__ import annotations

import base64
import json
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import pytest
from django.core.exceptions import ImproperlyConfigured

from tests.world import World
from vault import sealing
from vault.crypto import KeysUnavailable, Unreadable, new_key
from vault.keks.local import LocalRing
from vault.models import TenantKey

CONTEXT = {"tenant": "t", "purpose": "data-key", "key": "k"}


def test_a_new_key_file_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "vault.key"
    LocalRing(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [p.name for p in tmp_path.iterdir()] == ["vault.key"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o666])
def test_a_key_file_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "vault.key"
    LocalRing(path)
    path.chmod(mode)
    with pytest.raises(ImproperlyConfigured, match="chmod 600"):
        LocalRing(path)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"primary": "a", "keys": {}}', '{"primary": "a", "keys": {"a": "c2hvcnQ="}}', "\x00"]
)
def test_a_damaged_key_file_is_never_replaced(tmp_path: Path, text: str) -> None:
    path = tmp_path / "vault.key"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(ImproperlyConfigured, match="backup"):
        LocalRing(path)
    assert path.read_text() == text


def test_processes_that_start_together_share_one_key(tmp_path: Path) -> None:
    path = tmp_path / "vault.key"
    with ThreadPoolExecutor(4) as pool:
        rings = list(pool.map(lambda _: LocalRing(path), range(4)))
    uri, wrapped = rings[0].wrap(b"k" * 32, CONTEXT)
    assert all(ring.unwrap(uri, wrapped, CONTEXT) == b"k" * 32 for ring in rings)


def test_a_wrapped_key_opens_for_its_tenant_only(tmp_path: Path) -> None:
    ring = LocalRing(tmp_path / "vault.key")
    uri, wrapped = ring.wrap(new_key(), CONTEXT)
    with pytest.raises(Unreadable):
        ring.unwrap(uri, wrapped, {**CONTEXT, "tenant": "other"})


def test_a_key_that_is_not_in_the_file_is_missing_and_not_wrong(tmp_path: Path) -> None:
    wrapped = LocalRing(tmp_path / "vault.key").wrap(new_key(), CONTEXT)
    (tmp_path / "vault.key").unlink()
    made_anew = LocalRing(tmp_path / "vault.key")
    with pytest.raises(KeysUnavailable, match="backup"):
        made_anew.unwrap(*wrapped, CONTEXT)


def test_a_key_file_that_goes_away_is_an_outage_until_it_is_back(tmp_path: Path) -> None:
    path = tmp_path / "vault.key"
    ring = LocalRing(path)
    wrapped = ring.wrap(b"k" * 32, CONTEXT)
    path.rename(tmp_path / "away")
    with pytest.raises(KeysUnavailable):
        ring.unwrap(*wrapped, CONTEXT)
    (tmp_path / "away").rename(path)
    path.chmod(0o644)
    path.touch()
    with pytest.raises(KeysUnavailable):
        ring.unwrap(*wrapped, CONTEXT)
    path.chmod(0o600)
    assert ring.unwrap(*wrapped, CONTEXT) == b"k" * 32


def test_a_data_key_moved_to_another_tenant_does_not_open(world: World) -> None:
    other = World(world.product, world.sandbox)
    blob = sealing.seal(other.tenant.pk, b"secret", {"row": "1"})
    key = TenantKey.objects.get(tenant=other.tenant)
    moved = TenantKey(pk=uuid4(), tenant=world.tenant, kek_uri=key.kek_uri, wrapped=key.wrapped, state="old")
    moved.save(force_insert=True)
    with pytest.raises(Unreadable):
        sealing.open_sealed(world.tenant.pk, blob, {"row": "1"})
    with pytest.raises(Unreadable):
        sealing.data_key(world.tenant.pk, blob[:1] + moved.pk.bytes + blob[17:])


def test_a_shredded_key_opens_nothing_from_that_moment(world: World) -> None:
    blob = sealing.seal(world.tenant.pk, b"secret", {"row": "1"})
    assert sealing.open_sealed(world.tenant.pk, blob, {"row": "1"}) == b"secret"
    TenantKey.objects.filter(tenant=world.tenant).update(state="shredded", wrapped=None)
    with pytest.raises(Unreadable):
        sealing.open_sealed(world.tenant.pk, blob, {"row": "1"})


def test_a_ring_keeps_opening_what_an_older_key_wrapped(tmp_path: Path) -> None:
    path = tmp_path / "vault.key"
    running, other = LocalRing(path), LocalRing(path)
    uri, wrapped = running.wrap(b"k" * 32, CONTEXT)
    newer = other.add_key()
    assert running.uri == newer != uri
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert running.unwrap(uri, wrapped, CONTEXT) == b"k" * 32
    assert running.unwrap(*other.wrap(b"n" * 32, CONTEXT), CONTEXT) == b"n" * 32


def test_a_ring_of_the_first_version_is_read(tmp_path: Path) -> None:
    path = tmp_path / "vault.key"
    path.write_text(json.dumps({"primary": "k1", "keys": {"k1": base64.b64encode(b"m" * 32).decode()}}))
    path.chmod(0o600)
    assert LocalRing(path).uri == "local:k1"
