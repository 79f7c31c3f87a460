"""Reading what `django-fernet-fields` sealed, so that its tokens can be moved here; pure.

That package has one ring of keys for everything and binds a value to no row, so nothing is ever written its way.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Sequence

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from vault.crypto import Unreadable

__all__ = ["Unreadable", "as_dumped", "open_fernet_field"]

_TOKEN = b"gAAAA"
"""How every Fernet token begins: version 0x80 and the high bytes of a time before the year 2106, in base64."""


def open_fernet_field(keys: Sequence[str], blob: bytes) -> bytes:
    """The plaintext of one value, whichever of `FERNET_KEYS` sealed it, with or without `FERNET_USE_HKDF`.

    Raises: Unreadable.
    """
    for cipher in _ciphers(keys):
        try:
            return cipher.decrypt(blob)
        except InvalidToken:
            continue
    raise Unreadable


def as_dumped(text: str) -> bytes:
    """The value a database dump writes as `text`: as it is, in PostgreSQL's hexadecimal, or in base64 once more.

    Raises: Unreadable.
    """
    try:
        found = bytes.fromhex(text[2:]) if text.startswith("\\x") else text.strip().encode("ascii")
        found = found if found.startswith(_TOKEN) else base64.b64decode(found, validate=True)
    except (ValueError, binascii.Error):
        raise Unreadable from None
    if not found.startswith(_TOKEN):
        raise Unreadable
    return found


def _ciphers(keys: Sequence[str]) -> Iterator[Fernet]:
    """Each key as the package derives one from it, then, where it is a Fernet key, as it is."""
    for key in keys:
        derivation = HKDF(
            algorithm=hashes.SHA256(), length=32, salt=b"django-fernet-fields-hkdf-salt", info=b"django-fernet-fields"
        )
        yield Fernet(base64.urlsafe_b64encode(derivation.derive(key.encode())))
    for key in keys:
        try:
            yield Fernet(key)
        except ValueError:
            continue
