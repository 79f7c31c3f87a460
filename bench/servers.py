"""The processes of a run: started on a core of their own, stopped while others are measured, ended with the run."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE, LOAD_CORE = _CORES[0], _CORES[-1]
_PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 1e6
_PATIENCE_S = 60


class NotServing(Exception):
    """A process that ended or does not answer."""


@dataclass(frozen=True, slots=True)
class Server:
    """A process that listens on a port of this machine."""

    name: str
    port: int
    process: subprocess.Popen[bytes]

    def cpu_s(self) -> float:
        """CPU time of the whole process so far: utime and stime of /proc/<pid>/stat, in nanoseconds instead of ticks.

        The number is the clock that clock_getcpuclockid(3) gives for another process.
        """
        return time.clock_gettime(~self.process.pid << 3 | 2)

    def rss_mb(self) -> float:
        """Resident memory now, in 10**6 bytes."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text(encoding="ascii").split()[1]) * _PAGE_MB

    def stop(self) -> None:
        """Take it off its core."""
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Give it back."""
        self.process.send_signal(signal.SIGCONT)


@contextmanager
def started(
    name: str, command: Sequence[str], port: int, *, core: int, environment: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """Run `python command` on one core until it is left. What it logs goes where ours goes.

    It sees nothing of our environment but where programs are, so that a run measures the same everywhere.
    """
    seen = {"PATH": os.environ.get("PATH", ""), "PYTHONPATH": str(ROOT), **(environment or {})}
    ours = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})  # inherited, and by every thread it will start
    try:
        process = subprocess.Popen([sys.executable, *command], env=seen, cwd=ROOT, stdout=sys.stderr)
    finally:
        os.sched_setaffinity(0, ours)
    server = Server(name, port, process)
    try:
        yield server
    finally:
        server.go_on()
        process.send_signal(signal.SIGINT)
        try:
            process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def uvicorn(application: str, port: int) -> list[str]:
    """One worker, the same for every server that is compared."""
    flags = ("--loop=uvloop", "--http=httptools", "--no-access-log", "--log-level=warning", "--host=127.0.0.1")
    return ["-m", "uvicorn", application, *flags, f"--port={port}"]


def first_answer(server: Server, request: bytes) -> bytes:
    """Ask until the server answers. Raises: NotServing when it ends, is silent, or answers anything but 200."""
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline and server.process.poll() is None:
        try:
            with socket.create_connection(("127.0.0.1", server.port), timeout=_PATIENCE_S) as connection:
                connection.sendall(request)
                answer = http.client.HTTPResponse(connection)
                answer.begin()
                body = answer.read()
        except ConnectionError:
            time.sleep(0.01)
            continue
        if answer.status == HTTPStatus.OK:
            return body
        raise NotServing(f"{server.name} answers {answer.status}: {body[:1_000].decode(errors='replace')}")
    raise NotServing(f"{server.name} does not answer.")


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
