"""Checkpoints kept outside the database, where whoever may change that cannot reach them; no Django.

A folder with a file of JSON lines for each tenant, named by its id and only ever added to; `keys`, the public keys that
sign; and `position`, the last row of the database that is here.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from audit.chain import Broken, Checkpoint

_KEY = re.compile(r"[0-9a-f]{64}")
_LONGEST = 65_536
"""Bytes that hold the last line of a file, whatever it says."""


@dataclass(frozen=True, slots=True)
class Kept:
    """The checkpoints of one tenant in a file, as far as it goes now: what is added later is not read."""

    path: Path
    size: int

    @classmethod
    def at(cls, path: Path) -> Kept:
        """Nothing is kept where there is no file."""
        with suppress(FileNotFoundError):
            return cls(path, path.stat().st_size)
        return cls(path, 0)

    def read(self, after: int = 0) -> Iterator[Checkpoint]:
        """From the first one, or those after a number. Raises: Broken."""
        if not self.size:
            return
        with self.path.open("rb") as file:
            for place, line in enumerate(islice(_whole_lines(file, self.size), after, None), after + 1):
                try:
                    yield Checkpoint.read(line.decode())
                except ValueError:
                    raise Broken(f"Line {place} of {self.path.name} is not a checkpoint.") from None

    def last(self) -> Checkpoint | None:
        """The newest one. Raises: Broken."""
        if not self.size:
            return None
        with self.path.open("rb") as file:
            begin = file.seek(max(0, self.size - _LONGEST))
            lines = file.read(self.size - begin).splitlines(keepends=True)
        whole = [line for line in lines[-2:] if line.endswith(b"\n")]
        try:
            return Checkpoint.read(whole[-1].decode()) if whole else None
        except ValueError:
            raise Broken(f"The last line of {self.path.name} is not a checkpoint.") from None


def _whole_lines(file: Iterable[bytes], size: int) -> Iterator[bytes]:
    """Up to so many bytes; a line that is being written is not one yet."""
    read = 0
    for line in file:
        read += len(line)
        if read > size or not line.endswith(b"\n"):
            return
        yield line


def keys(folder: Path) -> frozenset[str]:
    """The public keys that stand beside the checkpoints."""
    with suppress(FileNotFoundError):
        return frozenset(_KEY.findall((folder / "keys").read_text(encoding="ascii", errors="replace")))
    return frozenset()


def tenants(folder: Path) -> list[str]:
    """The ids of the tenants whose checkpoints are there."""
    return sorted(path.stem for path in folder.glob("*.jsonl"))


def of(folder: Path, tenant_id: str) -> Kept:
    """What is there of one tenant."""
    return Kept.at(folder / f"{tenant_id}.jsonl")


class Folder:
    """The folder, while nobody else writes there."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @classmethod
    @contextmanager
    def held(cls, path: Path) -> Iterator[Folder]:
        """Raises: OSError, BlockingIOError when another process is writing."""
        path.mkdir(parents=True, exist_ok=True, mode=0o750)
        lock = os.open(path / ".lock", os.O_RDWR | os.O_CREAT, 0o640)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield cls(path)
        finally:
            os.close(lock)

    @property
    def position(self) -> int:
        """The database's number of the last checkpoint that is here."""
        with suppress(FileNotFoundError, ValueError):
            return int((self._path / "position").read_text(encoding="ascii"))
        return 0

    def reached(self, position: int) -> None:
        """Everything up to this row is on the disk."""
        draft = self._path / ".position"
        with draft.open("w", encoding="ascii") as file:
            file.write(f"{position}\n")
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._path / "position")

    def know(self, key: str) -> None:
        """Put a public key beside the checkpoints."""
        if key not in keys(self._path):
            _add(self._path / "keys", f"{key}\n")

    def add(self, tenant_id: str, checkpoints: Iterable[Checkpoint]) -> None:
        """Add those that are not here yet, on the disk when it returns. Raises: OSError, Broken.

        Broken: they do not go on from what is here.
        """
        kept = of(self._path, tenant_id)
        last, lines = kept.last(), []
        for checkpoint in checkpoints:
            if last and checkpoint.number <= last.number:
                there = next(kept.read(checkpoint.number - 1), None) if checkpoint.number < last.number else last
                if there != checkpoint:
                    raise Broken(f"Checkpoint {checkpoint.number} in the database is not the one that was kept.")
                continue
            if checkpoint.number != (last.number if last else 0) + 1 or (last and checkpoint.previous != last.digest):
                raise Broken(f"Checkpoint {checkpoint.number} in the database does not follow those that were kept.")
            lines.append(checkpoint.line() + "\n")
            last = checkpoint
        if lines:
            _add(kept.path, "".join(lines))


def _add(path: Path, text: str) -> None:
    """To the end of a file. What a crash left of a line is cut off first."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o640)
    with os.fdopen(fd, "rb+") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _LONGEST))
        tail = file.read()
        file.seek(size - len(tail) + tail.rfind(b"\n") + 1)
        file.truncate()
        file.write(text.encode())
        file.flush()
        os.fsync(file.fileno())
