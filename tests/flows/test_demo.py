"""`make demo` as a visitor runs it: on SQLite, in processes of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

from tests.services import free_port

ROOT = Path(__file__).resolve().parent.parent.parent


def demo(tmp_path: Path, port: int, sandbox_port: int) -> subprocess.CompletedProcess[str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    ours = {"ONCE": "1", "VAR_DIR": str(tmp_path), "PORT": str(port), "SANDBOX_PORT": str(sandbox_port)}
    return subprocess.run(
        [sys.executable, "-m", "metaagent.demo"],
        cwd=ROOT,
        env=kept | ours,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_the_demo_walks_the_main_job_and_leaves_nothing_running(tmp_path: Path) -> None:
    port, sandbox_port = free_port(), free_port()
    done = demo(tmp_path, port, sandbox_port)
    assert done.returncode == 0, done.stdout + done.stderr
    for expected in ("use_sentry", "needs_auth", "checkout-api@2.14.0", "telemetry id run_", "tool.call.done"):
        assert expected in done.stdout
    assert "Every step held" in done.stdout
    for log in (tmp_path / "demo").glob("*.log"):
        assert "Traceback" not in log.read_text()
        assert "mak_" not in log.read_text()
    for freed in (port, sandbox_port):
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", freed)) != 0


def test_a_taken_port_is_one_sentence_and_changes_nothing(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = demo(tmp_path, port, free_port())
    assert done.returncode == 1
    assert f"port {port} is taken" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
