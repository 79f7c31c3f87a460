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

    def take(self, now: float, cost: float = 1) -> int:
        """0 when so much was there, else the seconds until it is. More than the whole bucket is never asked for."""
        cost = min(cost, self.size)
        self.level = min(self.size, self.level + (now - self.at) * self.size / 60)
        self.at = now
        if self.level >= cost:
            self.level -= cost
            return 0
        return max(1, math.ceil((cost - self.level) * 60 / self.size))

    def give_back(self, cost: float = 1) -> None:
        """What was taken last was not used."""
        self.level += cost


class Buckets:
    """One bucket a key, each `per_minute`; the longest unused are forgotten first (a forgotten one is full again)."""

    def __init__(self, per_minute: int, *, most: int = 50_000) -> None:
        self._per_minute = per_minute
        self._most = most
        self._buckets: OrderedDict[Hashable, Bucket] = OrderedDict()

    def take(self, key: Hashable, now: float, cost: float = 1, *, per_minute: int | None = None) -> int:
        """0 when the key may go on, else the seconds to wait. `now` is monotonic; `per_minute` is for a key that has
        another limit than the rest.
        """
        size = per_minute or self._per_minute
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = Bucket(size, size, now)
            if len(self._buckets) > self._most:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(key)
            bucket.size = size
        return bucket.take(now, cost)

    def give_back(self, key: Hashable, cost: float = 1) -> None:
        """What the key took last was not used."""
        if bucket := self._buckets.get(key):
            bucket.give_back(cost)


@dataclass(slots=True)
class Breaker:
    """Lets every call through until `most` in a row fail; then one each `pause_s`, until such a probe is answered.

    Probes are spaced by when they begin: one that hangs keeps nobody from finding out that the provider is back.
    """

    most: int
    pause_s: float
    failures: int = 0
    """In a row."""
    probe_at: float = 0.0
    """When the next probe may go, while open."""

    @property
    def open(self) -> bool:
        """Whether only probes go."""
        return self.failures >= self.most

    def wait_s(self, now: float) -> float:
        """How long a call is held back; 0: it may `enter`. `now` is monotonic."""
        return max(0.0, self.probe_at - now) if self.open else 0.0

    def enter(self, now: float) -> float:
        """Count a call in: 0 for an ordinary one, else which probe it is."""
        if not self.open:
            return 0.0
        self.probe_at = now + self.pause_s
        return self.probe_at

    def failed(self, now: float) -> None:
        """The provider failed or did not answer."""
        self.failures += 1
        if self.failures == self.most:
            self.probe_at = now + self.pause_s

    def answered(self, probe: float) -> None:
        """The provider answered. What was sent before it was given up says nothing about now: only a probe closes."""
        if probe or not self.open:
            self.failures = 0

    def give_back(self, probe: float, now: float) -> None:
        """The probe ended without having found out anything: another may go at once."""
        if probe and probe == self.probe_at:
            self.probe_at = now
