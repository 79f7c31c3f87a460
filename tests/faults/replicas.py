"""Processes of a scenario: started, killed, stopped and ended."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx2

ROOT = Path(__file__).resolve().parent.parent.parent
_START_S = 60


@dataclass(slots=True)
class Replica:
    """One product process on a port of its own; started again, it is a fresh process on the same one."""

    port: int
    environment: Mapping[str, str]
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Begin to start; `ready` waits for it."""
        server = ("metaagent.asgi:application", "--host", "127.0.0.1", "--no-access-log", "--log-level", "warning")
        self.process = started(("-m", "uvicorn", *server, "--port", str(self.port)), self.environment, self.log)

    def ready(self) -> None:
        """Until it answers. Raises: RuntimeError."""
        host = {"Host": urlsplit(self.environment["PUBLIC_URL"]).netloc}
        awaited(f"http://127.0.0.1:{self.port}/healthz", self.process, self.log, host)

    def signal(self, number: signal.Signals) -> None:
        """SIGKILL, SIGSTOP, SIGCONT."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)

    def killed(self) -> None:
        """`kill -9`."""
        self.signal(signal.SIGKILL)
        if self.process is not None:
            self.process.wait()

    def told_to_end(self) -> None:
        """As a deployment ends it."""
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)

    def ended(self) -> None:
        """The same, and wait for it."""
        self.told_to_end()
        try:
            if self.process is not None:
                self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.killed()


def started(words: Sequence[str], environment: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
    """A Python program of ours; what it says goes to the end of `log`."""
    with log.open("ab") as said:
        return subprocess.Popen([sys.executable, *words], cwd=ROOT, env=dict(environment), stdout=said, stderr=said)


def awaited(
    url: str, process: subprocess.Popen[bytes] | None, log: Path, headers: Mapping[str, str] | None = None
) -> None:
    """Until something answers there. Raises: RuntimeError with what the process said."""
    deadline = time.monotonic() + _START_S
    with httpx2.Client(timeout=10, trust_env=False, headers=headers) as http:
        while time.monotonic() < deadline and process is not None and process.poll() is None:
            try:
                if http.get(url).is_success:
                    return
            except httpx2.HTTPError:
                pass
            time.sleep(0.05)
    raise RuntimeError(f"{url} did not come up: {log.read_text(errors='replace')[-2_000:]}")
