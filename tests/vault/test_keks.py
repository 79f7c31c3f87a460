"""Every KEK adapter keeps the same promises: bound to its context, and an outage is never taken for damage."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from tests.vault.kms import AwsStandIn, GcpStandIn, StandIn, TransitStandIn, moto_key, set_aws
from vault import keyring
from vault.crypto import KeysUnavailable, Unreadable, new_key
from vault.keks import remote
from vault.keks.aws import AwsKms
from vault.keks.gcp import GcpKms, crc32c
from vault.keks.local import LocalRing
from vault.keks.transit import Transit
from vault.keyring import Kek
from vault.services import keys

CONTEXT = {"tenant": "6f1c", "purpose": "data-key", "key": "77aa"}
REMOTE = ["aws", "gcp", "transit"]
ALL = ["local", "moto", *REMOTE]


@dataclass
class Adapter:
    """A KEK and the service behind it, where it is one of ours."""

    kek: Kek
    service: StandIn | None = None

    def unwrap(self, wrapped: tuple[str, bytes], **changes: str) -> bytes:
        return self.kek.unwrap(*wrapped, {**CONTEXT, **changes})


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes after a failure is asked at once."""
    monkeypatch.setattr(remote, "PAUSE_S", 0.0)


@pytest.fixture(scope="module")
def adapters(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Adapter]]:
    """Each adapter with its service, made when it is first asked for: to make a client costs more than to use it."""
    made: dict[str, Adapter] = {}
    folder = tmp_path_factory.mktemp("keks")
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())

        def make(name: str) -> Adapter:
            match name:
                case "local":
                    return Adapter(LocalRing(folder / "vault.key"))
                case "moto":
                    return Adapter(AwsKms(stack.enter_context(moto_key(patch))))
                case "aws":
                    aws = stack.enter_context(AwsStandIn())
                    set_aws(patch, aws.url)
                    return Adapter(AwsKms(aws.ARN), aws)
                case "gcp":
                    gcp = stack.enter_context(GcpStandIn())
                    patch.setattr("django.conf.settings.GCP_KMS_ENDPOINT", gcp.url)
                    patch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(gcp.credentials(folder)))
                    return Adapter(GcpKms(gcp.RESOURCE), gcp)
                case _:
                    transit = stack.enter_context(TransitStandIn())
                    patch.setattr("django.conf.settings.VAULT_ADDR", transit.url)
                    patch.setenv("VAULT_TOKEN", transit.token)
                    return Adapter(Transit("transit/k"), transit)

        def get(name: str) -> Adapter:
            if name not in made:
                made[name] = make(name)
                made[name].kek.wrap(new_key(), CONTEXT)  # with the environment of its own
            return made[name]

        yield get


@pytest.fixture
def adapter(request: pytest.FixtureRequest, adapters: Callable[[str], Adapter]) -> Iterator[Adapter]:
    """The adapter that a test names."""
    adapter = adapters(request.param)
    yield adapter
    assert adapter.service is None or adapter.service.wrong == []


def each(*names: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("adapter", names, indirect=True)


def service(adapter: Adapter) -> Any:
    assert adapter.service is not None
    return adapter.service


def service_of(adapter: Adapter) -> remote.Service:
    found = adapter.kek.__dict__["_service"]
    assert isinstance(found, remote.Service)
    return found


@each(*ALL)
def test_a_data_key_comes_back_for_its_context_only(adapter: Adapter) -> None:
    key = new_key()
    uri, blob = adapter.kek.wrap(key, CONTEXT)
    assert uri == adapter.kek.uri
    assert adapter.kek.holds(uri)
    assert key not in blob
    assert adapter.unwrap((uri, blob)) == key
    for name in CONTEXT:
        with pytest.raises(Unreadable):
            adapter.unwrap((uri, blob), **{name: "another"})
    with pytest.raises(Unreadable):
        adapter.kek.unwrap(uri, blob, {})


@each(*ALL)
def test_a_wrapped_key_that_was_cut_or_altered_is_unreadable(adapter: Adapter) -> None:
    uri, blob = adapter.kek.wrap(new_key(), CONTEXT)
    flipped = blob[:-9] + bytes([blob[-9] ^ 1]) + blob[-8:]
    for damaged in (b"", blob[:5], flipped, b"\xff" * 90):
        with pytest.raises(Unreadable):
            adapter.unwrap((uri, damaged))


@each(*REMOTE)
def test_a_key_named_otherwise_is_never_asked_for(adapter: Adapter) -> None:
    uri, blob = adapter.kek.wrap(new_key(), CONTEXT)
    asked = len(service(adapter).requests)
    with pytest.raises(Unreadable):
        adapter.kek.unwrap(f"{uri}2", blob, CONTEXT)
    assert not adapter.kek.holds(f"{uri}2")
    assert len(service(adapter).requests) == asked


FAULTS = [
    *(("aws", fault) for fault in AwsStandIn.FAULTS),
    *(("gcp", fault) for fault in GcpStandIn.FAULTS),
    *(("transit", fault) for fault in TransitStandIn.FAULTS),
    *((name, fault) for name in REMOTE for fault in ("garbage", "empty", "redirect", "cut")),
]


@pytest.mark.parametrize(("adapter", "fault"), FAULTS, indirect=["adapter"])
def test_what_the_service_cannot_do_is_an_outage_and_not_damage(adapter: Adapter, fault: str) -> None:
    key = new_key()
    wrapped = adapter.kek.wrap(key, CONTEXT)
    with service(adapter).failing(fault):
        for failing in (lambda: adapter.unwrap(wrapped), lambda: adapter.kek.wrap(key, CONTEXT)):
            with pytest.raises(KeysUnavailable) as caught:
                failing()
            assert "\n" not in str(caught.value)
            assert "<" not in str(caught.value)
    assert adapter.unwrap(wrapped) == key


@pytest.mark.parametrize("fault", ["hang", "drip"])
@each(*REMOTE)
def test_a_service_that_hangs_or_drips_is_given_up_in_time(
    adapter: Adapter, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrapped = adapter.kek.wrap(new_key(), CONTEXT)
    monkeypatch.setattr(remote, "TOTAL_S", 0.3)
    began = time.monotonic()
    with service(adapter).failing(fault), pytest.raises(KeysUnavailable, match=r"within 0\.3 seconds"):
        adapter.unwrap(wrapped)
    assert time.monotonic() - began < 2


@pytest.mark.parametrize(("adapter", "fault"), [("gcp", "unavailable"), ("transit", "sealed")], indirect=["adapter"])
def test_a_moment_of_weakness_is_tried_once_more_and_not_again(adapter: Adapter, fault: str) -> None:
    key = new_key()
    wrapped = adapter.kek.wrap(key, CONTEXT)
    with service(adapter).failing(fault, times=1):
        assert adapter.unwrap(wrapped) == key
    with service(adapter).failing(fault, times=2), pytest.raises(KeysUnavailable):
        adapter.unwrap(wrapped)


@each(*REMOTE)
def test_after_a_failure_callers_do_not_queue_up_at_the_service(
    adapter: Adapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "PAUSE_S", 60.0)
    monkeypatch.setattr(service_of(adapter), "_pause_until", 0.0)
    wrapped = adapter.kek.wrap(new_key(), CONTEXT)
    with service(adapter).failing("denied"), pytest.raises(KeysUnavailable):
        adapter.unwrap(wrapped)
    asked = len(service(adapter).requests)
    for _ in range(20):
        with pytest.raises(KeysUnavailable, match="a moment ago"):
            adapter.unwrap(wrapped)
    assert len(service(adapter).requests) == asked


@each("aws", "gcp")
def test_an_answer_for_another_key_is_not_believed(adapter: Adapter, monkeypatch: pytest.MonkeyPatch) -> None:
    lie = {"KeyId": "arn:aws:kms:eu-central-1:999:key/other", "name": "projects/x/cryptoKeys/k/cryptoKeyVersions/1"}
    monkeypatch.setattr(service(adapter), "lies", lie)
    with pytest.raises(KeysUnavailable, match="another key"):
        adapter.kek.wrap(new_key(), CONTEXT)


@each("gcp")
@pytest.mark.parametrize(
    ("lie", "op"),
    [
        ({"verifiedPlaintextCrc32c": False}, "wrap"),
        ({"verifiedAdditionalAuthenticatedDataCrc32c": False}, "wrap"),
        ({"ciphertextCrc32c": "1"}, "wrap"),
        ({"plaintextCrc32c": "1"}, "unwrap"),
        ({"plaintextCrc32c": None}, "unwrap"),
        ({"plaintext": "AAAA"}, "unwrap"),
        ({"plaintext": "AAAA", "plaintextCrc32c": str(crc32c(b"\0\0\0"))}, "unwrap"),
    ],
)
def test_what_was_garbled_on_the_way_is_not_used(
    adapter: Adapter, lie: dict[str, Any], op: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrapped = adapter.kek.wrap(new_key(), CONTEXT)
    monkeypatch.setattr(service(adapter), "lies", lie)
    with pytest.raises(KeysUnavailable):
        adapter.kek.wrap(new_key(), CONTEXT) if op == "wrap" else adapter.unwrap(wrapped)


def test_the_checksum_is_the_one_of_the_standard() -> None:
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA  # RFC 3720 appendix B.4
    assert crc32c(b"\xff" * 32) == 0x62A8AB43


@each("gcp")
def test_one_access_token_serves_many_callers(adapter: Adapter) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: adapter.kek.wrap(new_key(), CONTEXT), range(8)))
    assert [r.path for r in service(adapter).requests].count("/token") == 1


@each("transit")
def test_a_token_that_was_renewed_in_its_file_is_used_at_once(
    adapter: Adapter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "token"
    path.write_text("hvs.expired\n")
    monkeypatch.setenv("VAULT_TOKEN_FILE", str(path))
    with pytest.raises(KeysUnavailable, match="403"):
        adapter.kek.wrap(new_key(), CONTEXT)
    path.write_text(f"{service(adapter).token}\n")
    adapter.kek.wrap(new_key(), CONTEXT)
    path.unlink()
    with pytest.raises(KeysUnavailable, match="VAULT_TOKEN"):
        adapter.kek.wrap(new_key(), CONTEXT)


@each("transit")
def test_the_namespace_is_sent_where_there_is_one(adapter: Adapter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service(adapter), "namespace", "teams/agents")
    monkeypatch.setattr("django.conf.settings.VAULT_NAMESPACE", "teams/agents")
    adapter.kek.wrap(new_key(), CONTEXT)


@each(*REMOTE)
def test_the_adapter_works_where_an_event_loop_runs(adapter: Adapter) -> None:
    import asyncio

    async def inside() -> bytes:
        return adapter.kek.wrap(new_key(), CONTEXT)[1]

    assert asyncio.run(inside())


@each(*REMOTE)
def test_no_key_and_no_token_is_logged_even_at_debug(adapter: Adapter, caplog: pytest.LogCaptureFixture) -> None:
    import base64

    key = new_key()
    with caplog.at_level("DEBUG"):
        wrapped = adapter.kek.wrap(key, CONTEXT)
        adapter.unwrap(wrapped)
        with service(adapter).failing("denied"), pytest.raises(KeysUnavailable):
            adapter.unwrap(wrapped)
    secrets = [base64.b64encode(key).decode(), "ya29.", TransitStandIn.token, "made-up", "PRIVATE KEY"]
    assert not [secret for secret in secrets if secret in caplog.text]


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"VAULT_KEK": "aws-kms:alias/mine"}, "not an alias"),
        ({"VAULT_KEK": "aws-kms:arn:aws:kms:eu-central-1:111122223333:alias/mine"}, "not an alias"),
        ({"VAULT_KEK": "gcp-kms:projects/p"}, "cryptoKeys"),
        ({"VAULT_KEK": "hashicorp:transit"}, "hashicorp:<mount>/<key>"),
        ({"VAULT_KEK": "hashicorp:transit/../k"}, "hashicorp:<mount>/<key>"),
        ({"VAULT_KEK": "hashicorp:transit/k", "VAULT_ADDR": ""}, "VAULT_ADDR"),
        ({"VAULT_KEK": "hashicorp:transit/k", "VAULT_ADDR": "http://vault.lan:8200"}, "VAULT_ADDR must be"),
        (
            {"VAULT_KEK": "hashicorp:transit/k", "VAULT_ADDR": "https://v.lan", "VAULT_CACERT": "/nowhere"},
            "VAULT_CACERT",
        ),
        ({"VAULT_KEK": "gcp-kms:" + GcpStandIn.RESOURCE, "GCP_KMS_ENDPOINT": "http://10.0.0.1"}, "GCP_KMS_ENDPOINT"),
        ({"VAULT_KEK": "local:"}, "VAULT_KEK"),
        ({"VAULT_KEK": "vault:x"}, "Use local:<file>"),
        ({"VAULT_KEK_OLD": ["local:/nowhere/vault.key"]}, "cannot be read"),
        ({"VAULT_KEK_OLD": ["nonsense"]}, "VAULT_KEK_OLD"),
    ],
)
def test_a_kek_that_is_named_badly_is_refused_in_one_line(
    settings: dict[str, Any], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in settings.items():
        monkeypatch.setattr(f"django.conf.settings.{name}", value)
    keyring.keks.cache_clear()
    try:
        with pytest.raises(ImproperlyConfigured, match=says) as caught:
            keyring.keks()
        assert "\n" not in str(caught.value)
    finally:
        keyring.keks.cache_clear()


@pytest.mark.parametrize(("kek", "package"), [("aws", "boto3"), ("gcp", "google.auth")])
def test_an_adapter_is_imported_only_when_chosen_and_says_what_to_install(kek: str, package: str) -> None:
    script = f"""
import sys
import vault.keyring, vault.sealing
assert not [m for m in sys.modules if m.startswith(("boto", "google", "vault.keks."))], sys.modules
sys.modules[{package!r}] = None
try:
    import vault.keks.{kek}
except Exception as wrong:
    print(type(wrong).__name__, wrong)
"""
    bootstrap = "import os, django; os.environ['DJANGO_SETTINGS_MODULE'] = 'metaagent.settings'; django.setup()\n"
    done = subprocess.run([sys.executable, "-c", bootstrap + script], capture_output=True, text=True, check=False)
    assert done.stdout.startswith("ImproperlyConfigured"), done.stderr
    assert f"pip install metaagent[{kek}]" in done.stdout


# --- start-up


@pytest.fixture
def chosen(adapter: Adapter, monkeypatch: pytest.MonkeyPatch) -> Iterator[Adapter]:
    """The adapter as the deployment's KEK."""
    monkeypatch.setattr("django.conf.settings.VAULT_KEK", adapter.kek.uri)
    monkeypatch.setattr(keys, "_probed", (float("-inf"), False))
    keyring.keks.cache_clear()
    yield adapter
    keyring.keks.cache_clear()


@each(*REMOTE)
def test_the_server_starts_with_a_kek_that_answers_and_with_no_other(chosen: Adapter) -> None:
    keys.require()
    assert keys.usable()
    for fault in ("denied", "garbage"):
        with service(chosen).failing(fault), pytest.raises(ImproperlyConfigured, match="VAULT_KEK cannot be used"):
            keys.require()


@each("transit")
def test_a_kek_that_ignores_the_context_is_refused(chosen: Adapter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service(chosen), "binds", False)
    with pytest.raises(ImproperlyConfigured, match="does not authenticate the context"):
        keys.require()


@each("transit")
def test_readiness_follows_the_kek_without_asking_it_each_time(
    chosen: Adapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert keys.usable()
    asked = len(service(chosen).requests)
    assert all(keys.usable() for _ in range(20))
    assert len(service(chosen).requests) == asked
    monkeypatch.setattr(keys, "_PROBE_S", 0.0)
    with service(chosen).failing("sealed"):
        assert not keys.usable()
    assert keys.usable()


def test_the_deployment_check_asks_the_kek(tmp_path: Path) -> None:
    import os

    with TransitStandIn() as transit:
        given = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ} | {
            "VAR_DIR": str(tmp_path),
            "SECRET_KEY": "k3y-" + "abcdefghijklmnopqrstuvwxyz0123456789" * 2,
            "PUBLIC_URL": "https://agents.example.com",
            "VAULT_KEK": "hashicorp:transit/k",
            "VAULT_ADDR": transit.url,
            "VAULT_TOKEN": transit.token,
        }
        for token, code, says in (
            (transit.token, 0, ""),
            ("hvs.other", 1, "VAULT_KEK cannot be used: Vault refused: 403"),
        ):
            done = subprocess.run(
                [sys.executable, "manage.py", "check", "--deploy"],
                env={**given, "VAULT_TOKEN": token},
                cwd=Path(__file__).resolve().parents[2],
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == code, done.stderr
            assert says in done.stderr
        assert transit.wrong == []


# --- the ring


def test_two_rings_may_each_have_a_key_of_the_same_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import base64

    for name in ("old", "new"):
        ring = {"primary": "k1", "keys": {"k1": base64.b64encode(new_key()).decode()}}
        (tmp_path / name).write_text(json.dumps(ring))
        (tmp_path / name).chmod(0o600)
    monkeypatch.setattr("django.conf.settings.VAULT_KEK", f"local:{tmp_path / 'new'}")
    monkeypatch.setattr("django.conf.settings.VAULT_KEK_OLD", [f"local:{tmp_path / 'old'}"])
    keyring.keks.cache_clear()
    try:
        key = new_key()
        for ring_file in ("old", "new"):
            assert keyring.unwrap(*LocalRing(tmp_path / ring_file).wrap(key, CONTEXT), CONTEXT) == key
        with pytest.raises(Unreadable):
            keyring.unwrap("local:k1", b"x" * 60, CONTEXT)
        with pytest.raises(KeysUnavailable, match="VAULT_KEK_OLD"):
            keyring.unwrap("local:k2", b"x" * 60, CONTEXT)
    finally:
        keyring.keks.cache_clear()


def test_keys_added_at_the_same_time_are_all_kept(tmp_path: Path) -> None:
    path = tmp_path / "vault.key"
    rings = [LocalRing(path) for _ in range(4)]
    start = threading.Barrier(4)

    def add(ring: LocalRing) -> str:
        start.wait()
        return ring.add_key()

    with ThreadPoolExecutor(4) as pool:
        added = list(pool.map(add, rings))
    assert len(set(added)) == 4
    assert all(ring.holds(uri) for ring in rings for uri in added)
    assert [p.name for p in tmp_path.iterdir()] == ["vault.key"]
