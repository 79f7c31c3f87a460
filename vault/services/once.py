"""What may be used once: whoever is first, in whichever process."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta

from vault.models import UsedState

_KEPT = timedelta(hours=1)
"""Longer than any state is taken, with room for clocks that differ."""


def first_use(*, state_id: str, now: datetime) -> bool:
    """Whether this is the first time."""
    digest = hashlib.sha256(state_id.encode()).hexdigest()
    _, first = UsedState.objects.get_or_create(digest=digest, defaults={"expires_at": now + _KEPT})
    return first


def forget(*, now: datetime) -> None:
    """Those that would be refused for their age."""
    UsedState.objects.filter(expires_at__lt=now).delete()
