"""The deployment's key encryption key, seen from outside the vault."""

from __future__ import annotations

from django.core.exceptions import ImproperlyConfigured

from vault.crypto import Unreadable, new_key
from vault.keyring import kek


def usable() -> bool:
    """Whether a data key can be wrapped and unwrapped now."""
    probe, context = new_key(), {"purpose": "probe"}
    try:
        return kek().unwrap(kek().uri, kek().wrap(probe, context), context) == probe
    except (ImproperlyConfigured, Unreadable, OSError):
        return False
