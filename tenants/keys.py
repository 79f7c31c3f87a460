"""Minting and recognising client keys and the handles of links; pure."""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass, field

_FORM = re.compile(r"mak_([0-9a-z]{8})_[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True)
class Minted:
    """A new key. `key` is shown to its owner once and kept nowhere."""

    key: str = field(repr=False)
    prefix: str
    digest: str


def mint() -> Minted:
    """A key of 256 random bits, so that a plain digest of it cannot be searched back."""
    prefix = f"mak_{secrets.token_hex(4)}"
    key = f"{prefix}_{secrets.token_urlsafe(32)}"
    return Minted(key, prefix, digest(key))


def mint_handle() -> str:
    """256 random bits, fit for a URL."""
    return secrets.token_urlsafe(32)


def digest(key: str) -> str:
    """What is stored and looked up instead of a key or a handle: SHA-256, hexadecimal."""
    return hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()


def well_formed(key: str) -> bool:
    """Whether `key` could be one of ours, so that anything else costs no query."""
    return _FORM.fullmatch(key) is not None
