"""Counts over time: what is a spike, when it begins, and how a total compares."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from providers.series import Series, find_spike

NOW = datetime(2026, 11, 23, 14, 20, tzinfo=UTC)
HOUR = timedelta(hours=1)


def series(counts: list[int], recent: int, step: timedelta = HOUR) -> Series:
    last = NOW.replace(minute=0) if step == HOUR else NOW.replace(hour=0, minute=0)
    times = tuple(last - step * i for i in reversed(range(len(counts))))
    return Series(times, tuple(counts), recent, step)


def test_a_spike_begins_where_the_counts_leave_the_usual() -> None:
    spike = find_spike([20, 25, 18, 22, 21, 19] * 4 + [20] * 20 + [400, 420, 390, 410], 24)
    assert spike is not None
    assert (spike.first, spike.last, spike.peak) == (44, 47, 45)
    assert spike.usual == 20.0
    assert spike.level == 405


def test_a_dip_does_not_end_a_spike() -> None:
    spike = find_spike([10] * 40 + [300, 300, 20, 15, 300, 300], 24)
    assert spike is not None
    assert (spike.first, spike.last) == (40, 45)


@pytest.mark.parametrize(
    "counts",
    [
        [],
        [0],
        [0] * 48,
        [500] * 48,
        [0, 0, 1, 0, 3, 0, 9, 0] * 6,  # a handful of errors is no spike
        [10, 30, 60, 90, 100, 90, 60, 30] * 6,  # nor is every day's midday
        [10] * 10 + [900] * 4 + [10] * 34,  # nor one long over
    ],
)
def test_what_is_no_spike(counts: list[int]) -> None:
    assert find_spike(counts, 24) is None


def test_a_spike_that_fills_most_of_what_was_asked_is_still_seen() -> None:
    spike = find_spike([20] * 28 + [300] * 20, 24)
    assert spike is not None
    assert spike.first == 28


def test_without_an_earlier_stretch_the_whole_is_the_usual() -> None:
    spike = find_spike([20] * 20 + [300] * 4, 24)
    assert spike is not None
    assert spike.first == 20


def test_a_running_spike_is_said_with_its_beginning_its_height_and_what_was_before() -> None:
    counts = series([20] * 44 + [300, 500, 400, 100], 24)
    assert counts.spiking
    assert counts.say_spike("error", NOW) == (
        "A spike begins at 11:00 UTC (3 hours ago) and is still going on: about 325 errors an hour against 20 before, "
        "at most 500 at 12:00 UTC."
    )


def test_an_ended_spike_is_said_with_its_end() -> None:
    counts = series([0] * 40 + [300] + [0] * 7, 24)
    assert not counts.spiking
    assert counts.say_spike("error", NOW) == (
        "A spike began at 07:00 UTC (7 hours ago) and ended at 08:00 UTC: about 300 errors an hour "
        "against almost none before."
    )


def test_days_are_said_as_days() -> None:
    counts = series([100] * 50 + [900, 950] + [100] * 8 + [5], 30, timedelta(days=1))
    assert counts.say_spike("error", NOW) == (
        "A spike began on 13 Nov and ended on 15 Nov: about 925 errors a day against 100 before, at most 950 on 14 Nov."
    )


def test_no_spike_says_which_hour_was_busiest() -> None:
    assert series([20] * 47 + [31], 24).say_spike("error", NOW) == (
        "There is no spike; the busiest hour had 31 errors, at 14:00 UTC."
    )


@pytest.mark.parametrize(
    ("before", "now", "said"),
    [
        (100, 300, ", 3.0 times as many as in the 24 hours before (2,400)"),
        (100, 103, ", about as many as in the 24 hours before (2,400)"),
        (100, 150, ", 50% more than in the 24 hours before (2,400)"),
        (100, 40, ", 60% fewer than in the 24 hours before (2,400)"),
        (0, 5, ", none in the 24 hours before"),
        (0, 0, ""),
    ],
)
def test_a_total_is_compared_with_the_stretch_before(before: int, now: int, said: str) -> None:
    assert series([before] * 24 + [now] * 24, 24).say_change("24 hours") == said


def test_a_stretch_that_is_short_or_has_nothing_before_it_is_not_compared() -> None:
    assert series([5] * 4, 2).say_change("hour") == ""
    assert series([5] * 24, 24).say_change("24 hours") == ""


def test_the_data_holds_what_was_asked_for_and_the_spike() -> None:
    data = series([20] * 44 + [300, 500, 400, 100], 24).data()
    assert (data["total"], data["before"], data["unit"], len(data["series"])) == (20 * 20 + 1_300, 480, "hour", 24)
    assert data["series"][-1] == ["2026-11-23T14:00:00+00:00", 100]
    assert data["spike"] == {
        "begins": "2026-11-23T11:00:00+00:00",
        "ends": None,
        "peak": 500,
        "usual": 20,
        "level": 325,
    }
