"""Pictures of numbers as values that a template draws: places within a plot, and the words beside it; pure.

A plot is drawn in units of its own, ten to a column, and stretched to whatever room there is; words keep their size,
and are placed by percent.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

HEIGHT: Final = 200
"""Of every plot, in its own units; the stylesheet knows it too, and the next one."""
_COLUMN: Final = 10
_MARKS: Final = 5
"""Words below a plot, at most."""
_RUNGS: Final = 4
_FEW: Final = 10
"""So many columns would be broad: they are drawn narrower."""
_NONE: Final = "\N{EN DASH}"


@dataclass(frozen=True, slots=True)
class Series:
    """What is drawn alike: a number for each column, or None where there is none."""

    kind: str
    """The class of its colour."""
    words: str
    numbers: Sequence[float | None]


@dataclass(frozen=True, slots=True)
class Shape:
    """One series as a path."""

    kind: str
    words: str
    path: str


@dataclass(frozen=True, slots=True)
class Mark:
    """Words at a place, in percent from the left or from the top."""

    at: str
    words: str


@dataclass(frozen=True, slots=True)
class Slot:
    """A column as a whole, and what it says when it is pointed at."""

    x: int
    words: str


@dataclass(frozen=True, slots=True)
class Chart:
    """One picture."""

    words: str
    """What it shows, for who cannot see it."""
    width: int
    shapes: tuple[Shape, ...]
    rungs: tuple[Mark, ...]
    """From the bottom up."""
    marks: tuple[Mark, ...]
    slots: tuple[Slot, ...]
    height: int = HEIGHT


def columns(
    words: str, heads: Sequence[str], stack: Sequence[Series], *, said: Sequence[str], unit: Callable[[float], str]
) -> Chart:
    """One column for each head, the first series at its bottom; `said` is what each says when it is pointed at."""
    most = max(
        (sum(filter(None, column)) for column in zip(*(each.numbers for each in stack), strict=True)), default=0.0
    )
    rungs = ladder(most, whole=True)
    width = _COLUMN // 2 if len(heads) <= _FEW else _COLUMN - 2
    grown = [0.0] * len(heads)
    shapes = []
    for each in stack:
        path = []
        for place, number in enumerate(each.numbers):
            if number:
                low, high = _y(grown[place], rungs), _y(grown[place] + number, rungs)
                path.append(f"M{place * _COLUMN + (_COLUMN - width) // 2} {low}V{high}h{width}V{low}z")
                grown[place] += number
        shapes.append(Shape(each.kind, each.words, "".join(path)))
    return _chart(words, heads, shapes, rungs, said, unit)


def lines(
    words: str, heads: Sequence[str], drawn: Sequence[Series], *, said: Sequence[str], unit: Callable[[float], str]
) -> Chart:
    """A line for each series, broken where it has no number; a number alone is a dot."""
    rungs = ladder(max((number for each in drawn for number in each.numbers if number), default=0.0))
    shapes = []
    for each in drawn:
        path, joined = [], False
        for place, number in enumerate(each.numbers):
            if number is not None:
                here = f"{place * _COLUMN + _COLUMN // 2} {_y(number, rungs)}"
                path.append(f"L{here}" if joined else f"M{here}h0")
            joined = number is not None
        shapes.append(Shape(each.kind, each.words, "".join(path)))
    return _chart(words, heads, shapes, rungs, said, unit)


def ladder(most: float, *, whole: bool = False) -> list[float]:
    """Round numbers from 0 to at least `most`, a few, evenly apart: 1, 2, 2.5 or 5 times a power of ten."""
    rough = max(most, 1e-9) / _RUNGS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * each for each in (1, 2, 2.5, 5, 10) if power * each >= rough * (1 - 1e-9))
    if whole:
        step = max(1.0, step if step.is_integer() else math.ceil(step))
    count = max(1, math.ceil(most / step - 1e-9))
    return [step * each for each in range(count + 1)]


def _chart(
    words: str,
    heads: Sequence[str],
    shapes: Sequence[Shape],
    rungs: Sequence[float],
    said: Sequence[str],
    unit: Callable[[float], str],
) -> Chart:
    every = max(1, math.ceil(len(heads) / _MARKS))
    marks = [
        Mark(f"{100 * (place + 0.5) / len(heads):.4g}%", head)
        for place, head in enumerate(heads)
        if (len(heads) - 1 - place) % every == 0
    ]
    return Chart(
        words=words,
        width=_COLUMN * len(heads),
        shapes=tuple(shapes),
        rungs=tuple(Mark(f"{100 * _y(rung, rungs) / HEIGHT:.4g}%", unit(rung)) for rung in rungs),
        marks=tuple(marks),
        slots=tuple(Slot(place * _COLUMN, each) for place, each in enumerate(said)),
    )


def _y(number: float, rungs: Sequence[float]) -> int:
    return round(HEIGHT * (1 - number / rungs[-1]))


# --- Numbers in words


def many(number: float) -> str:
    """`1,234`, `45.2k`, `3.1M`: three digits and a letter where more would not be read."""
    for size, letter in ((1e9, "B"), (1e6, "M"), (1e4, "k")):
        if number >= size:
            short = number / (1e3 if letter == "k" else size)
            return f"{short:,.0f}{letter}" if short >= 100 else f"{short:.3g}{letter}"  # noqa: PLR2004 - three digits
    return f"{number:,.0f}"


def lasting(ms: float | None) -> str:
    """`0.4 ms`, `85 ms`, `1.2 s`; a dash for none."""
    if ms is None:
        return _NONE
    if ms >= 1_000:  # noqa: PLR2004 - a second
        return f"{ms / 1_000:.3g} s"
    return f"{ms:.0f} ms" if ms >= 1 or not ms else f"{ms:.1g} ms"


def money(micros: int) -> str:
    """Micro-dollars as dollars: `$0.00`, `$0.0042`, `$12.30`."""
    dollars = micros / 1e6
    return f"${dollars:,.2f}" if dollars >= 0.1 or not micros else f"${dollars:.2g}"  # noqa: PLR2004 - less than ten cents


def part(share: float | None) -> str:
    """Of a whole, in percent; a dash for none."""
    if share is None:
        return _NONE
    return f"{100 * share:.3g} %" if share >= 0.1 else f"{100 * share:.2g} %"  # noqa: PLR2004 - ten percent
