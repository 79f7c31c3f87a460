"""Background work as it is deployed: threads of the web process, or a worker of its own behind a real Redis."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.services import free_port
from tests.vault.outages import Provider, provider_up
from tests.world import Served, World
from vault.models import Connection, Revocation
from vault.services import revoke

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def provider() -> Iterator[Provider]:
    with provider_up() as made:
        yield made


@pytest.fixture
def there(product: Served, provider: Provider) -> World:
    """A world whose provider can go down."""
    Revocation.objects.all().delete()
    return World(product, provider.served)


@contextmanager
def process(log: Path, *command: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process of the product with this run's settings, ended when it is done with."""
    with log.open("wb") as out:
        started = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=ROOT,
            env={**os.environ, "SWEEP_EVERY_S": "1", **environment},
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        yield started
    finally:
        started.terminate()
        try:
            started.wait(15)
        finally:
            started.kill()


def wait_until(holds: Callable[[], bool], *, most_s: float = 60) -> None:
    until = time.monotonic() + most_s
    while not holds():
        assert time.monotonic() < until, "it took too long"
        time.sleep(0.02)


def revoking(there: World, provider: Provider) -> Connection:
    """A connection ended while its provider was down; it is up again, and due."""
    connection = there.connect()
    provider.down()
    assert not revoke.disconnect(connection=connection, by=None)
    provider.up()
    Revocation.objects.update(next_at=datetime.now(UTC) - timedelta(seconds=1))
    return connection


def is_revoked(connection: Connection) -> bool:
    return Connection.objects.get(pk=connection.pk).status == "revoked"


def test_the_web_process_revokes_what_is_due_by_itself_and_stops_in_time(
    there: World, provider: Provider, tmp_path: Path
) -> None:
    connection = revoking(there, provider)
    log = tmp_path / "web.log"
    served = ("uvicorn", "metaagent.asgi:application", "--port", str(free_port()), "--no-access-log")
    with process(log, *served, BACKGROUND="1") as started:
        wait_until(lambda: is_revoked(connection))
        assert there.stats()["revocations"] == 1
        waiting = revoking(there, provider)
        provider.slow_s, asked = 30, provider.asked("/oauth/revoke/")
        wait_until(lambda: provider.asked("/oauth/revoke/") > asked)
        began = time.monotonic()
        started.send_signal(signal.SIGTERM)
        assert started.wait(10) in {0, -signal.SIGTERM}  # uvicorn ends itself with the signal it was sent
        assert time.monotonic() - began < 6
    provider.slow_s = 0
    assert Revocation.objects.filter(connection=waiting).exists()
    ours = [line for line in log.read_text().splitlines() if not line.startswith("INFO: ")]
    assert [line.partition(" INFO ")[2] for line in ours] == [
        "metaagent.background background work runs in this process"
    ]


def test_a_worker_with_redis_as_its_broker_does_the_same(there: World, provider: Provider, tmp_path: Path) -> None:
    redis = os.environ["METAAGENT_TEST_REDIS"]
    if not redis:
        pytest.skip("redis-server is not installed")
    connection = revoking(there, provider)
    log = tmp_path / "worker.log"
    broker = f"{redis.rpartition('/')[0]}/9"
    with process(log, "celery", "-A", "metaagent", "worker", "-B", CELERY_BROKER_URL=broker) as started:
        wait_until(lambda: is_revoked(connection) or started.poll() is not None)
    assert is_revoked(connection), log.read_text()
    assert there.stats()["revocations"] == 1
    assert "Traceback" not in log.read_text()


@pytest.mark.parametrize(("broker", "own"), [("", "True"), ("redis://127.0.0.1:1/0", "False")])
def test_the_web_process_does_the_work_itself_unless_a_broker_is_named(broker: str, own: str) -> None:
    asked = [sys.executable, "-c", "from metaagent import settings; print(settings.BACKGROUND)"]
    environment = {**os.environ, "BACKGROUND": "", "CELERY_BROKER_URL": broker}
    assert (
        subprocess.run(asked, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout.strip()
        == own
    )


def test_every_task_beat_sends_is_there_and_carries_nothing() -> None:
    from metaagent.celery import app

    app.loader.import_default_modules()
    entries = app.conf.beat_schedule.values()
    assert {entry["task"] for entry in entries} <= set(app.tasks)
    assert not [entry for entry in entries if entry.get("args") or entry.get("kwargs")]
    assert {name for name in app.tasks if not name.startswith("celery.")} == {entry["task"] for entry in entries}
