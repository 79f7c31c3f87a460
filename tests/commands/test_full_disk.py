"""A disk that is full: one sentence, and nothing half-stored."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


def manage(folder: Path, *words: str, limit: Callable[[], None] | None = None) -> subprocess.CompletedProcess[str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    kept["PYTHONDONTWRITEBYTECODE"] = "1"  # or the limit would cut Python's own files short, for everyone after us
    return subprocess.run(
        [sys.executable, "manage.py", *words],
        cwd=ROOT,
        env={**kept, "VAR_DIR": str(folder), "SECRET_KEY": "full-disk-" + "abcdefghijklmnopqrstuvwxyz" * 3},
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=limit,
    )


def test_a_full_disk_is_one_sentence_and_stores_nothing(tmp_path: Path) -> None:
    assert manage(tmp_path, "migrate", "-v", "0").returncode == 0

    def full() -> None:
        """No file may grow beyond a page: what a full disk is to a database."""
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4_096, 4_096))

    refused = manage(tmp_path, "tenant_create", "acme", limit=full)
    assert refused.returncode == 1
    assert "Nothing was stored" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1

    made = manage(tmp_path, "tenant_create", "acme", "--json")
    assert made.returncode == 0, made.stderr
    assert json.loads(made.stdout)["slug"] == "acme"
