"""Short codes that people type where they cannot open a link (RFC 8628 section 6.1)."""

from __future__ import annotations

import secrets
from typing import Final

from django.utils.crypto import salted_hmac

_LETTERS: Final = "BCDFGHJKLMNPQRSTVWXZ"
"""No word comes of them, and none is taken for another."""
_CHARS: Final = 8


def mint() -> str:
    """34 random bits, so guesses have to be counted."""
    letters = "".join(secrets.choice(_LETTERS) for _ in range(_CHARS))
    return f"{letters[:4]}-{letters[4:]}"


def digest(typed: str) -> str | None:
    """What is stored instead of a code, in whatever case and with whatever between its letters; None: it is none.

    Keyed, for all codes there can be are soon tried.
    """
    letters = "".join(char for char in typed[:80].upper() if char.isalnum())
    if len(letters) != _CHARS or not set(letters).issubset(_LETTERS):
        return None
    return salted_hmac("vault.codes", letters, algorithm="sha256").hexdigest()
