"""Days as people name them, and the time that appointments leave free: what calendars share."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from itertools import groupby
from typing import Final, TypeAlias
from zoneinfo import ZoneInfo

from providers.errors import BadArguments
from providers.spec import Args, Json
from providers.tools import bullets

Stretch: TypeAlias = tuple[datetime, datetime]
"""From when to when; the end is not in it."""

_ZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+){0,2}")
WORKDAY: Final = (time(9), time(17))

WHEN: Final[Mapping[str, Json]] = {
    "type": "string",
    "enum": ["today", "tomorrow", "this week", "next week", "weekend"],
    "description": "Which days: today (the default), tomorrow, this week, next week or the weekend.",
}
DATE: Final[Mapping[str, Json]] = {
    "type": "string",
    "format": "date",
    "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$",
    "description": "The first day instead, such as 2026-11-24.",
    "examples": ["2026-11-24"],
}
DAYS: Final[Mapping[str, Json]] = {
    "type": "integer",
    "minimum": 1,
    "maximum": 31,
    "description": "How many days from the first one on.",
}


def zone(name: str) -> tzinfo:
    """The time zone of that IANA name; UTC when it is none."""
    try:
        return ZoneInfo(name) if _ZONE.fullmatch(name) else UTC
    except (ValueError, KeyError, OSError):
        return UTC


def midnight(day: date, where: tzinfo) -> datetime:
    """When a day begins there."""
    return datetime.combine(day, time(), where)


def day(written: str) -> date:
    """A date such as 2026-11-24. Raises: `BadArguments`."""
    try:
        return date.fromisoformat(written)
    except ValueError:
        raise BadArguments("There is no such day: give it as in 2026-11-24.") from None


def named(args: Args, now: datetime, where: tzinfo) -> Stretch:
    """The days that `when`, `date` and `days` name; today without them. Raises: `BadArguments`."""
    today = now.astimezone(where).date()
    monday = today - timedelta(today.weekday())
    first, days = {
        "today": (today, 1),
        "tomorrow": (today + timedelta(1), 1),
        "this week": (monday, 7),
        "next week": (monday + timedelta(7), 7),
        "weekend": (monday + timedelta(5), 2),
    }[args.get("when", "today")]
    if "date" in args:
        first, days = day(args["date"]), 1
    try:
        last = first + timedelta(args.get("days", days))
        return midnight(first, where), midnight(last, where)
    except OverflowError:
        raise BadArguments("There is no such day: give it as in 2026-11-24.") from None


def said(days: Stretch, now: datetime) -> str:
    """Days in words: "today", "on Tue 24 Nov", "from Mon 23 Nov to Sun 29 Nov"."""
    first, last = days[0].date(), days[1].date() - timedelta(1)
    if first == last:
        ahead = (first - now.astimezone(days[0].tzinfo).date()).days
        return {0: "today", 1: "tomorrow", -1: "yesterday"}.get(ahead, f"on {dated(first)}")
    return f"from {dated(first)} to {dated(last)}"


def dated(day: date) -> str:
    """A day in words: "Tue 24 Nov"."""
    return f"{day:%a} {day.day} {day:%b}"


def hours(start: datetime, end: datetime) -> str:
    """From when to when in words: "09:00-09:30"; with the day it ends on when that is another one."""
    return f"{start:%H:%M}-{'' if end.date() == start.date() else f'{dated(end.date())} '}{end:%H:%M}"


def listed(lines: Iterable[tuple[date, str]]) -> str:
    """Lines in the order of their days, under each day a list."""
    told = [
        f"{dated(day)}:\n{bullets([line for _, line in group], most=50)}"
        for day, group in groupby(lines, key=lambda line: line[0])
    ]
    return "\n".join(told)


def spent(busy: Iterable[Stretch]) -> str:
    """How long the stretches take, "4 h 30 min", those at the same time counted once; empty for none."""
    minutes = sum(((end - start) for start, end in merged(busy)), timedelta()) // timedelta(minutes=1)
    hours, rest = divmod(minutes, 60)
    return " ".join([*([f"{hours:,} h"] if hours else []), *([f"{rest} min"] if rest else [])])


def merged(busy: Iterable[Stretch]) -> list[Stretch]:
    """The stretches in order, those that touch made one."""
    found: list[Stretch] = []
    for start, end in sorted(busy):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        elif end > start:
            found.append((start, end))
    return found


def free(busy: Iterable[Stretch], days: Stretch, least: timedelta, now: datetime) -> list[Stretch]:
    """What is left of the working hours (Monday to Friday, 9:00 to 17:00) of `days` from `now` on, in order."""
    taken, where, found = merged(busy), days[0].tzinfo, []
    for n in range((days[1].date() - days[0].date()).days):
        today = days[0].date() + timedelta(n)
        opens, closes = (datetime.combine(today, at, where) for at in WORKDAY)
        begins = max(opens, now)
        for start, end in [*taken, (closes, closes)]:
            if today.weekday() < _SATURDAY and min(start, closes) - begins >= least:
                found.append((begins, min(start, closes)))
            begins = max(begins, end)
    return found


_SATURDAY: Final = 5
