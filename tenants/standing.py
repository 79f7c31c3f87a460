"""A counter that grows whenever somebody's rights change in this process, so that what was read before is not trusted.

Other processes notice within `STANDING_CACHE_MS`; this one at once.
"""

from __future__ import annotations

from django.db import transaction

_generation = 0


def generation() -> int:
    """The present count."""
    return _generation


def changed() -> None:
    """Rights change when the transaction the caller is in commits."""
    transaction.on_commit(_grow)


def _grow() -> None:
    global _generation  # noqa: PLW0603 - one number for the whole process
    _generation += 1
