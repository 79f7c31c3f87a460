"""Refused log-ins and keys, counted for an hour by what they came with."""

from __future__ import annotations

import hashlib

from django.core.cache import cache

HOUR_S = 3_600


def counter(kind: str, value: str) -> str:
    """The name of the counter of one address, e-mail or the like; the value itself is not kept."""
    return f"{kind}:{hashlib.sha256(value.encode()).hexdigest()}"


def many(counter: str, *, most: int) -> bool:
    """Whether it has come to a pause."""
    return bool(cache.get(counter, 0) >= most)


def count(counter: str) -> None:
    """One more. Between two caches, when Redis comes or goes, the counter may be gone: then it begins anew."""
    cache.add(counter, 0, timeout=HOUR_S)
    try:
        cache.incr(counter)
    except ValueError:
        cache.set(counter, 1, timeout=HOUR_S)
