"""Counts over time, by hour or day: how they changed, and where a spike begins. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from statistics import mean, median

from providers.spec import Json
from providers.tools import ago, clock, plural

_GAP = 6
"""A dip of so many counts does not end a spike."""
_FEWEST = 6
"""Below so many counts the unfinished last one weighs too much to compare with the stretch before."""
_NOISE = 0.05
_TWICE = 2


@dataclass(frozen=True, slots=True)
class Spike:
    """A run of counts far above what is usual; positions in the series, both included."""

    first: int
    last: int
    peak: int
    usual: float
    level: float
    """The mean over the run."""


def find_spike(counts: Sequence[int], recent: int) -> Spike | None:
    """The run that stands out most, if it reaches into the last `recent` counts.

    Usual is the median of what came before those (of all counts when there is too little of it). Standing out is
    being three times the usual, ten more than it, and six median deviations away from it, all at once.
    """
    if not counts:
        return None
    earlier = counts[:-recent] if len(counts) >= _TWICE * recent else counts
    usual = min(median(earlier), median(counts))
    spread = median(abs(count - usual) for count in earlier)
    least = max(3 * usual, usual + 10, usual + 6 * spread)
    runs: list[list[int]] = []
    for i in (i for i, count in enumerate(counts) if count > least):
        if runs and i - runs[-1][-1] <= _GAP:
            runs[-1].append(i)
        else:
            runs.append([i])
    reaching = [run for run in runs if run[-1] >= len(counts) - recent]
    if not reaching:
        return None
    run = max(reaching, key=lambda run: sum(counts[i] - usual for i in run))
    level = mean(counts[run[0] : run[-1] + 1])
    return Spike(run[0], run[-1], max(run, key=lambda i: counts[i]), usual, level)


@dataclass(frozen=True)
class Series:
    """Counts of one thing, the latest last and not yet over."""

    times: tuple[datetime, ...]
    """When each count begins; as many as there are counts."""
    counts: tuple[int, ...]
    recent: int
    """How many at the end were asked for; the ones before them are there to compare with."""
    step: timedelta

    @property
    def total(self) -> int:
        """The sum of what was asked for."""
        return sum(self.counts[-self.recent :])

    @property
    def before(self) -> int | None:
        """The sum of the same stretch before it; None when that is not known, or too short to compare."""
        earlier = self.counts[: -self.recent][-self.recent :]
        return sum(earlier) if len(earlier) == self.recent >= _FEWEST else None

    @cached_property
    def spike(self) -> Spike | None:
        """See `find_spike`."""
        return find_spike(self.counts, self.recent)

    @property
    def spiking(self) -> bool:
        """Whether the spike reaches the present."""
        return self.spike is not None and self.spike.last >= len(self.counts) - 2

    @property
    def unit(self) -> str:
        """What one count covers, "hour" or "day"."""
        return "hour" if self.step < timedelta(days=1) else "day"

    def say_change(self, stretch: str) -> str:
        """The total against the one before, to follow the total; `stretch` is its length, such as "24 hours"."""
        if self.before is None or not (self.total or self.before):
            return ""
        than = f"in the {stretch} before"
        if not self.before:
            return f", none {than}"
        ratio = self.total / self.before
        if ratio >= _TWICE:
            return f", {ratio:.1f} times as many as {than} ({self.before:,})"
        if abs(ratio - 1) <= _NOISE:
            return f", about as many as {than} ({self.before:,})"
        return f", {abs(ratio - 1):.0%} {'more' if ratio > 1 else 'fewer'} than {than} ({self.before:,})"

    def say_spike(self, thing: str, now: datetime) -> str:
        """One sentence: when the spike begins, whether it goes on, and how high it is; or the busiest count."""
        if (spike := self.spike) is None:
            top = max(range(len(self.counts))[-self.recent :], key=lambda i: self.counts[i])
            busiest = f"the busiest {self.unit} had {plural(self.counts[top], thing)}"
            return f"There is no spike; {busiest}, {self._when(self.times[top], now)}."
        began, ended = self.times[spike.first], self.times[spike.last] + self.step
        start = self._when(began, now) + (f" ({ago(began, now)})" if self.unit == "hour" else "")
        goes = f"begins {start} and is still going on"
        if not self.spiking:
            goes = f"began {start} and ended {self._when(ended, now)}"
        usual = f"against {spike.usual:,.0f} before" if spike.usual >= 1 else "against almost none before"
        most = f", at most {self.counts[spike.peak]:,} {self._when(self.times[spike.peak], now)}"
        return (
            f"A spike {goes}: about {plural(spike.level, thing)} {'an' if self.unit == 'hour' else 'a'} {self.unit} "
            f"{usual}{most if spike.last > spike.first else ''}."
        )

    def _when(self, moment: datetime, now: datetime) -> str:
        if self.unit == "hour":
            return f"at {clock(moment, now)}"
        return "today" if moment.date() == now.date() else f"on {moment.day} {moment:%b}"

    def data(self) -> Json:
        """The series that was asked for and its spike, as JSON."""
        spike = self.spike
        recent = list(zip(self.times, self.counts, strict=True))[-self.recent :]
        return {
            "total": self.total,
            "before": self.before,
            "unit": self.unit,
            "series": [[when.isoformat(), count] for when, count in recent],
            "spike": spike
            and {
                "begins": self.times[spike.first].isoformat(),
                "ends": None if self.spiking else (self.times[spike.last] + self.step).isoformat(),
                "peak": self.counts[spike.peak],
                "usual": spike.usual,
                "level": round(spike.level, 1),
            },
        }
