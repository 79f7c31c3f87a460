"""Days as people name them, and the time that appointments leave free."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from providers import days
from providers.errors import BadArguments
from providers.spec import Args

NOW = datetime(2026, 11, 23, 13, 10, tzinfo=UTC)
"""A Monday."""
BERLIN = days.zone("Europe/Berlin")


@pytest.mark.parametrize(
    ("args", "first", "last", "words"),
    [
        ({}, "2026-11-23", "2026-11-24", "today"),
        ({"when": "tomorrow"}, "2026-11-24", "2026-11-25", "tomorrow"),
        ({"when": "this week"}, "2026-11-23", "2026-11-30", "from Mon 23 Nov to Sun 29 Nov"),
        ({"when": "next week"}, "2026-11-30", "2026-12-07", "from Mon 30 Nov to Sun 6 Dec"),
        ({"when": "weekend"}, "2026-11-28", "2026-11-30", "from Sat 28 Nov to Sun 29 Nov"),
        ({"date": "2026-12-01"}, "2026-12-01", "2026-12-02", "on Tue 1 Dec"),
        ({"date": "2026-12-01", "days": 3}, "2026-12-01", "2026-12-04", "from Tue 1 Dec to Thu 3 Dec"),
    ],
)
def test_days_are_those_of_the_persons_own_time_zone(args: Args, first: str, last: str, words: str) -> None:
    found = days.named(args, NOW, BERLIN)
    assert [moment.isoformat() for moment in found] == [f"{first}T00:00:00+01:00", f"{last}T00:00:00+01:00"]
    assert days.said(found, NOW) == words


def test_late_in_the_evening_it_is_tomorrow_already_further_east() -> None:
    late = datetime(2026, 11, 23, 23, 30, tzinfo=UTC)
    assert days.named({}, late, BERLIN)[0].isoformat() == "2026-11-24T00:00:00+01:00"


@pytest.mark.parametrize("written", ["2026-02-30", "0000-01-01", "9999-12-31"])
def test_a_day_that_cannot_be_is_refused(written: str) -> None:
    with pytest.raises(BadArguments):
        days.named({"date": written, "days": 2}, NOW, BERLIN)


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "/etc/passwd", "Europe", "Nowhere/At_All", "\0"])
def test_a_zone_that_is_none_is_utc(name: str) -> None:
    assert days.zone(name) is UTC


def test_free_time_lies_in_working_hours_ahead_between_appointments() -> None:
    when = days.named({"date": "2026-11-23", "days": 6}, NOW, BERLIN)
    busy = [
        (datetime(2026, 11, 23, 14, tzinfo=UTC), datetime(2026, 11, 23, 15, tzinfo=UTC)),
        (datetime(2026, 11, 23, 14, 30, tzinfo=UTC), datetime(2026, 11, 23, 15, 30, tzinfo=UTC)),
        (datetime(2026, 11, 24, 0, tzinfo=UTC), datetime(2026, 11, 28, 0, tzinfo=UTC)),
    ]
    found = days.free(busy, when, timedelta(minutes=30), NOW)
    assert [days.hours(start.astimezone(BERLIN), end.astimezone(BERLIN)) for start, end in found] == [
        "14:10-15:00",
        "16:30-17:00",
    ]
    assert days.spent(busy[:2]) == "1 h 30 min"
