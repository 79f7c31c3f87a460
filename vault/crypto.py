"""AES-256-GCM with associated data; pure.

A blob is `0x01 | key id (16) | nonce (12) | ciphertext and tag`. What it is bound to (tenant, row, field, version) is
authenticated and not stored: a blob put anywhere else does not open.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

VERSION = b"\x01"
_HEAD = 17
_NONCE = 12
_LEAST = _HEAD + _NONCE + 16

Context = Mapping[str, str]


class Unreadable(Exception):
    """A blob that is not what its place says: moved, altered, cut, or sealed with another key."""


class KeysUnavailable(Exception):
    """The key encryption key cannot be used now: no answer, an error, no permission, or a key not configured here.

    Says nothing about what is sealed, so nothing is ever marked or recorded as damaged because of it. The message is
    ours, one sentence for operators.
    """


def canonical(context: Context) -> bytes:
    """The context as length-prefixed names and values in the order of the names: no two contexts are alike."""
    pieces = (piece.encode() for item in sorted(context.items()) for piece in item)
    return b"".join(struct.pack(">I", len(piece)) + piece for piece in pieces)


def new_key() -> bytes:
    """A fresh 256-bit key."""
    return AESGCM.generate_key(bit_length=256)


@dataclass(frozen=True, slots=True)
class DataKey:
    """One opened data key of a tenant. It does not print, and its cipher cannot be pickled or copied."""

    id: UUID
    cipher: AESGCM = field(repr=False)

    def seal(self, plaintext: bytes, context: Context) -> bytes:
        """Encrypt under a random nonce, bound to `context`."""
        head = VERSION + self.id.bytes
        nonce = os.urandom(_NONCE)
        return head + nonce + self.cipher.encrypt(nonce, plaintext, head + canonical(context))

    def open(self, blob: bytes, context: Context) -> bytes:
        """Decrypt what was sealed for exactly `context`. Raises: Unreadable."""
        try:
            if key_id(blob) != self.id:
                raise Unreadable
            return self.cipher.decrypt(
                blob[_HEAD : _HEAD + _NONCE], blob[_HEAD + _NONCE :], blob[:_HEAD] + canonical(context)
            )
        except InvalidTag:
            raise Unreadable from None


def key_id(blob: bytes) -> UUID:
    """The id of the data key a blob names. Raises: Unreadable for anything that is not a blob."""
    if len(blob) < _LEAST or blob[:1] != VERSION:
        raise Unreadable
    return UUID(bytes=bytes(blob[1:_HEAD]))
