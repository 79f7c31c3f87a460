"""A ring of keys in one file: `{"primary": id, "keys": {id: base64}}`, readable by its owner only."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import secrets
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.core.exceptions import ImproperlyConfigured

from vault.crypto import Context, KeysUnavailable, Unreadable, canonical, new_key

_NONCE = 12


class _Ring(NamedTuple):
    primary: str
    ciphers: Mapping[str, AESGCM]
    seen: tuple[int, ...]
    """Which file it was read from, its size, and when it was written."""


class LocalRing:
    """The keys of a file. It is read again when it changes, so that a new primary key reaches running processes."""

    def __init__(self, path: Path, *, make: bool = True) -> None:
        self._path = path
        if make and not path.exists():
            _create(path)
        self._ring = _load(path)

    @property
    def uri(self) -> str:
        """`local:` and the id of the primary key."""
        return f"local:{self._now().primary}"

    def holds(self, uri: str) -> bool:
        """Whether the named key is, or was, the primary of this ring."""
        scheme, _, name = uri.partition(":")
        return scheme == "local" and name in self._now().ciphers

    def wrap(self, key: bytes, context: Context) -> tuple[str, bytes]:
        """AES-256-GCM with the context as associated data."""
        ring, nonce = self._now(), os.urandom(_NONCE)
        return f"local:{ring.primary}", nonce + ring.ciphers[ring.primary].encrypt(nonce, key, canonical(context))

    def unwrap(self, uri: str, wrapped: bytes, context: Context) -> bytes:
        """The key named in `uri` may be an older one of the ring."""
        cipher = self._now().ciphers.get(uri.removeprefix("local:"))
        if cipher is None:
            raise KeysUnavailable(f"The key file {self._path.name} has no key {uri[:60]}. Restore it from its backup.")
        try:
            return cipher.decrypt(wrapped[:_NONCE], wrapped[_NONCE:], canonical(context))
        except (InvalidTag, ValueError):  # ValueError: too short to hold a nonce
            raise Unreadable from None

    def add_key(self) -> str:
        """Make a new primary key; the older ones keep opening. Gives its URI. Raises: OSError, ImproperlyConfigured."""
        with _alone_in(self._path.parent):
            self._ring = _load(self._path)  # somebody may have added one since
            found = json.loads(self._path.read_text(encoding="utf-8"))
            name = _new_name(len(found["keys"]) + 1)
            found["keys"][name], found["primary"] = base64.b64encode(new_key()).decode(), name
            draft = _draft(self._path, found)
            draft.replace(self._path)
            _sync_folder(self._path.parent)
        return self.uri

    def _now(self) -> _Ring:
        """The ring as the file has it. Raises: KeysUnavailable."""
        try:
            if _seen(self._path.stat()) != self._ring.seen:
                self._ring = _load(self._path)
        except (OSError, ImproperlyConfigured):
            raise KeysUnavailable(f"The key file {self._path.name} cannot be read.") from None
        return self._ring


def _seen(found: os.stat_result) -> tuple[int, ...]:
    return found.st_ino, found.st_size, found.st_mtime_ns


def _load(path: Path) -> _Ring:
    """Raises: ImproperlyConfigured."""
    try:
        found = path.stat()
    except OSError as gone:
        raise ImproperlyConfigured(f"The key file {path.name} cannot be read: {gone.strerror}.") from None
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise ImproperlyConfigured(f"The key file {path.name} can be read by others. Run: chmod 600 {path}")
    try:
        ring = json.loads(path.read_text(encoding="utf-8"))
        keys = {str(name): base64.b64decode(key, validate=True) for name, key in ring["keys"].items()}
        primary = str(ring["primary"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        primary, keys = "", {}
    if primary not in keys or any(len(key) != 32 for key in keys.values()):  # noqa: PLR2004 - AES-256
        raise ImproperlyConfigured(f"The key file {path.name} is not a key ring. Restore it from its backup.")
    return _Ring(primary, {name: AESGCM(key) for name, key in keys.items()}, _seen(found))


def _create(path: Path) -> None:
    """A new ring. Losing this file loses every token; the documentation says to back it up."""
    path.parent.mkdir(parents=True, exist_ok=True)
    name = _new_name(1)
    draft = _draft(path, {"primary": name, "keys": {name: base64.b64encode(new_key()).decode()}})
    # Written aside and linked into place: of two processes starting together, exactly one file wins whole.
    with contextlib.suppress(FileExistsError):
        os.link(draft, path)
    draft.unlink()
    _sync_folder(path.parent)


def _new_name(number: int) -> str:
    """Never the same in two files: a ring that was lost and made anew is a missing key, not a wrong one."""
    return f"k{number}-{secrets.token_hex(4)}"


def _draft(path: Path, ring: object) -> Path:
    """The ring in a file beside its place, on the disk."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(fd, "w") as file:
            json.dump(ring, file)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        draft.unlink()
        raise
    return draft


def _sync_folder(folder: Path) -> None:
    """A name is durable when its folder is."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@contextlib.contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Two additions at a time would lose one of the keys, perhaps one that has wrapped something."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
