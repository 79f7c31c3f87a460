"""How much is too much; pure values with the clock as an argument."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass


@dataclass(slots=True)
class Bucket:
    """A token bucket: holds `size`, refills evenly over a minute."""

    size: int
    level: float
    at: float

    def take(self, now: float) -> int:
        """0 when one was there, else the seconds until there is one."""
        self.level = min(self.size, self.level + (now - self.at) * self.size / 60)
        self.at = now
        if self.level >= 1:
            self.level -= 1
            return 0
        return max(1, math.ceil((1 - self.level) * 60 / self.size))


class Buckets:
    """One bucket a key, each `per_minute`; the longest unused are forgotten first (a forgotten one is full again)."""

    def __init__(self, per_minute: int, *, most: int = 50_000) -> None:
        self._per_minute = per_minute
        self._most = most
        self._buckets: OrderedDict[Hashable, Bucket] = OrderedDict()

    def take(self, key: Hashable, now: float) -> int:
        """0 when the key may go on, else the seconds to wait. `now` is monotonic."""
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = Bucket(self._per_minute, self._per_minute, now)
            if len(self._buckets) > self._most:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(key)
        return bucket.take(now)
