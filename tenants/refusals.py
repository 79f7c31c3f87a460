"""Refused log-ins and keys, and registrations, counted for a while by what they came with."""

from __future__ import annotations

import hashlib
from ipaddress import IPv6Address, ip_address, ip_network

from django.core.cache import cache
from django.http import HttpRequest

HOUR_S = 3_600
MINUTE_S = 60


def counter(kind: str, value: str) -> str:
    """The name of the counter of one address, e-mail or the like; the value itself is not kept."""
    return f"{kind}:{hashlib.sha256(value.encode()).hexdigest()}"


def address(request: HttpRequest) -> str:
    """Where a request came from. Of IPv6 the first half: whoever has one address there has all of them."""
    given: str = request.META.get("REMOTE_ADDR", "")
    try:
        found = ip_address(given)
    except ValueError:
        return given
    if isinstance(found, IPv6Address) and found.ipv4_mapped is None:
        return str(ip_network((found, 64), strict=False))
    return given


def many(counter: str, *, most: int) -> bool:
    """Whether it has come to a pause."""
    return bool(cache.get(counter, 0) >= most)


def count(counter: str, *, seconds: int = HOUR_S) -> int:
    """One more; how many it makes. They are forgotten `seconds` after the first.

    Between two caches, when Redis comes or goes, the counter may be gone: then it begins anew.
    """
    cache.add(counter, 0, timeout=seconds)
    try:
        return int(cache.incr(counter))
    except ValueError:
        cache.set(counter, 1, timeout=seconds)
        return 1
