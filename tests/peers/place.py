"""The folder outside the repository where the peers are installed and run, and the ports they get."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

HERE = Path(__file__).resolve().parent
PROGRAMS = HERE / "programs"

Json: TypeAlias = Any


class Wrong(Exception):
    """What a peer was to show and did not."""


class Skipped(Exception):
    """What a peer needs and is not here."""


def say(text: str) -> None:
    """Print at once: a run takes minutes."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def hold(held: bool, otherwise: str) -> None:  # noqa: FBT001 - reads as an assertion
    """Raises: Wrong, with the sentence `otherwise`."""
    if not held:
        raise Wrong(otherwise)


@dataclass(frozen=True, slots=True)
class Place:
    """Where the peers live, and where this run keeps what they said."""

    home: Path
    run: Path

    @classmethod
    def prepared(cls, source: Path = HERE) -> Place:
        """What the `package.json` in `source` names, installed anew when that has changed, else as it is.

        Raises: Wrong.
        """
        default = Path(tempfile.gettempdir()) / f"metaagent-{source.name}-{os.getuid()}"
        setting = f"{source.name.upper()}_DIR"
        home = Path(os.environ.get(setting) or default).resolve()
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        hold(home.stat().st_uid == os.getuid(), f"{home} belongs to someone else. Set {setting} to a folder of yours.")
        place = cls(home, Path(tempfile.mkdtemp(prefix="run-", dir=home)))
        wanted, stamp = (source / "package.json").read_text(encoding="utf-8"), home / "installed.json"
        if not stamp.exists() or stamp.read_text(encoding="utf-8") != wanted:
            stamp.unlink(missing_ok=True)
            place._install(wanted)
            stamp.write_text(wanted, encoding="utf-8")
        for program in source.glob("programs/*.mjs"):  # Node looks for packages beside the program
            shutil.copy(program, home)
        return place

    def _install(self, wanted: str) -> None:
        say(f"Installing into {self.home} …")
        npm = shutil.which("npm")
        hold(npm is not None, "npm is needed to install it. Install Node.js, which brings it.")
        (self.home / "package.json").write_text(wanted, encoding="utf-8")
        self._done(str(npm), "install", "--silent", "--no-package-lock", "--no-audit", "--no-fund")
        for name, package in json.loads(wanted).get("python", {}).items():
            self._done(sys.executable, "-m", "venv", str(self.home / name))
            self._done(self.python(name), "-m", "pip", "install", "-q", "--disable-pip-version-check", package)
        hold(Path(self._node).exists(), "npm did not install Node.js; it must be allowed to run the package's script.")

    def _done(self, *command: str) -> None:
        done = subprocess.run(command, cwd=self.home, capture_output=True, text=True, check=False)
        last = (done.stderr or done.stdout).strip().splitlines()[-1:]
        hold(done.returncode == 0, f"{' '.join(command[:4])} failed: {' '.join(last)}")

    def node(self, program: str, *args: str) -> tuple[str, ...]:
        """The command that runs an npm package's program, or one of ours, on the Node.js installed here."""
        binary = self.home / "node_modules" / ".bin" / program
        return self._node, str(binary if binary.exists() else self.home / program), *args

    def version(self, package: str) -> str:
        """The one version of an npm or Python package that is installed."""
        pinned = json.loads((self.home / "package.json").read_text(encoding="utf-8"))
        python = pinned.get("python", {}).values()
        every = pinned["dependencies"] | {p.partition("==")[0]: p.partition("==")[2] for p in python}
        return str(every[package])

    def python(self, name: str) -> str:
        """The Python of a peer's virtualenv."""
        return str(self.home / name / "bin" / "python")

    @property
    def _node(self) -> str:
        return str(self.home / "node_modules" / "node" / "bin" / "node")

    @property
    def environment(self) -> dict[str, str]:
        """For peers: our Node.js first, and a home of their own, so that the caller's settings change nothing."""
        path = f"{Path(self._node).parent}{os.pathsep}{os.environ.get('PATH', '')}"
        return {"PATH": path, "HOME": str(self.run), "TMPDIR": str(self.run), "LANG": "C.UTF-8"}

    def said(self, name: str) -> Path:
        """The file that keeps what a peer said."""
        return self.run / f"{name}.txt"
