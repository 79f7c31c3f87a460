"""In production the process refuses to start with what is not safe, and says which setting it is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
GOOD = {
    "SECRET_KEY": "k3y-" + "abcdefghijklmnopqrstuvwxyz0123456789" * 2,
    "PUBLIC_URL": "https://agents.example.com",
}


def manage(tmp_path: Path, *words: str, **settings: str) -> subprocess.CompletedProcess[str]:
    clean = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return subprocess.run(
        [sys.executable, "manage.py", *words],
        cwd=ROOT,
        env={**clean, "VAR_DIR": str(tmp_path), **settings},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"SECRET_KEY": ""}, "SECRET_KEY is missing"),
        ({"SECRET_KEY": "short"}, "SECRET_KEY is weak"),
        ({"SECRET_KEY": "a" * 80}, "SECRET_KEY is weak"),
        ({"SECRET_KEY_FALLBACKS": "short"}, "SECRET_KEY_FALLBACKS is weak"),
        ({"ALLOWED_HOSTS": "*"}, "ALLOWED_HOSTS=*"),
        ({"PUBLIC_URL": "http://agents.example.com"}, "PUBLIC_URL must be https"),
        ({"PUBLIC_URL": "https://agents.example.com/base"}, "PUBLIC_URL must be an origin"),
        ({"DATABASE_URL": "mysql://x@localhost/y"}, "DATABASE_URL"),
        ({"MCP_BODY_BYTES": "many"}, "MCP_BODY_BYTES must be a whole number"),
        ({"STANDING_CACHE_MS": "60000"}, "STANDING_CACHE_MS must be between"),
        ({"DEBUG": "maybe"}, "DEBUG must be 1 or 0"),
        ({"SECRET_KEY": "", "SECRET_KEY_FILE": "/nowhere"}, "SECRET_KEY_FILE"),
        ({"VAULT_KEK": "nonsense:x"}, "VAULT_KEK"),
    ],
)
def test_an_unsafe_setting_is_named_in_one_line(tmp_path: Path, change: dict[str, str], says: str) -> None:
    done = manage(tmp_path, "check", **{**GOOD, **change})
    assert done.returncode == 1
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_good_settings_start_and_a_file_can_hold_the_secret(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text(GOOD["SECRET_KEY"] + "\n")
    done = manage(tmp_path, "check", "--deploy", PUBLIC_URL=GOOD["PUBLIC_URL"], SECRET_KEY_FILE=str(secret))
    assert done.returncode == 0, done.stderr


def test_open_egress_is_said_loudly(tmp_path: Path) -> None:
    done = manage(tmp_path, "check", **GOOD, EGRESS_ALLOW_CIDRS="10.0.0.0/8")
    assert "EGRESS_ALLOW_CIDRS=10.0.0.0/8" in done.stderr


def test_the_database_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    done = manage(tmp_path, "tenant_create", "acme", **GOOD)
    assert done.returncode == 1
    assert "Run: python manage.py migrate" in done.stderr
    assert "Traceback" not in done.stderr
