"""Key encryption keys: what wraps the tenants' data keys, behind one Protocol chosen by `VAULT_KEK`."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import stat
from functools import lru_cache
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from vault.crypto import Context, Unreadable, canonical, new_key

_NONCE = 12


class Kek(Protocol):
    """Wraps and unwraps data keys; `context` is authenticated by every implementation."""

    @property
    def uri(self) -> str:
        """The key new data keys are wrapped with; stored beside what it wrapped."""

    def wrap(self, key: bytes, context: Context) -> bytes:
        """Encrypt a data key."""

    def unwrap(self, uri: str, wrapped: bytes, context: Context) -> bytes:
        """Decrypt a data key that was wrapped with the key named `uri`. Raises: Unreadable."""


class LocalRing:
    """Keys in one file: `{"primary": id, "keys": {id: base64}}`, readable by its owner only."""

    def __init__(self, path: Path) -> None:
        self._primary, keys = _load(path)
        self._keys = {name: AESGCM(key) for name, key in keys.items()}

    @property
    def uri(self) -> str:
        """`local:` and the id of the primary key."""
        return f"local:{self._primary}"

    def wrap(self, key: bytes, context: Context) -> bytes:
        """AES-256-GCM with the context as associated data."""
        nonce = os.urandom(_NONCE)
        return nonce + self._keys[self._primary].encrypt(nonce, key, canonical(context))

    def unwrap(self, uri: str, wrapped: bytes, context: Context) -> bytes:
        """The key named in `uri` may be an older one of the ring."""
        cipher = self._keys.get(uri.removeprefix("local:"))
        if cipher is None:
            raise Unreadable
        try:
            return cipher.decrypt(wrapped[:_NONCE], wrapped[_NONCE:], canonical(context))
        except InvalidTag:
            raise Unreadable from None


def _load(path: Path) -> tuple[str, dict[str, bytes]]:
    """The primary key's id and all keys; made when there is no file. Raises: ImproperlyConfigured."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        _create(path)
        mode = 0o600
    if mode & 0o077:
        raise ImproperlyConfigured(f"The key file {path.name} can be read by others. Run: chmod 600 {path}")
    try:
        ring = json.loads(path.read_text(encoding="utf-8"))
        keys = {str(name): base64.b64decode(key, validate=True) for name, key in ring["keys"].items()}
        primary = str(ring["primary"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        primary, keys = "", {}
    if primary not in keys or any(len(key) != 32 for key in keys.values()):  # noqa: PLR2004 - AES-256
        raise ImproperlyConfigured(f"The key file {path.name} is not a key ring. Restore it from its backup.")
    return primary, keys


def _create(path: Path) -> None:
    """A new ring. Losing this file loses every token; the documentation says to back it up."""
    path.parent.mkdir(parents=True, exist_ok=True)
    ring = {"primary": "k1", "keys": {"k1": base64.b64encode(new_key()).decode()}}
    # Written aside and linked into place: of two processes starting together, exactly one file wins whole.
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(fd, "w") as file:
            json.dump(ring, file)
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()


@lru_cache(maxsize=1)
def kek() -> Kek:
    """The deployment's KEK. Raises: ImproperlyConfigured, saying which setting is wrong."""
    scheme, _, rest = settings.VAULT_KEK.partition(":")
    if scheme == "local" and rest:
        return LocalRing(Path(rest))
    raise ImproperlyConfigured(f"VAULT_KEK={scheme}:… is not a key this version knows. Use local:<file>.")
