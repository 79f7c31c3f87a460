"""What a prompt is made of, without a model: its words and its typed values, each with its place in the text."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from typing import Literal

from metaagent.agent.words import FILLER, stem
from providers.spec import Json

Kind = Literal[
    "word", "number", "quoted", "list", "url", "email", "date", "release", "version", "path", "code", "domain", "punct"
]

_LEXER = re.compile(
    r"""(?P<list>\[(?:[^\[\]\n]|\[[^\[\]\n]{0,100}\]){1,200}\])
    |(?P<quoted>"[^"\n]{1,300}"|“[^”\n]{1,300}”|`[^`\n]{1,300}`|\u2018[^\u2019\n]{1,300}\u2019
        |(?<![\w'])'(?:[^'\n]|'(?=\w)){1,300}'(?!\w))
    |(?P<url>https?://[^\s<>"']+[^\s<>"'.,;:!?)\]])
    |(?P<email>[\w.+%-]{1,64}@(?:[A-Za-z0-9-]+\.){1,5}[A-Za-z]{2,24}\b(?!\S*@))
    |(?P<release>[A-Za-z][\w.-]{0,80}@[\w.+-]*\w)
    |(?P<date>\b\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?(?:Z|[+-]\d{2}:?\d{2})?)?(?![\w-]))
    |(?P<ordinal>\b\d{1,4}(?:st|nd|rd|th)\b)
    |(?P<version>\bv?\d{1,9}(?:\.\d{1,9}){2,4}(?:[-+][\w.+-]*\w)?(?![\w.]*\w)|\bv\d{1,9}(?:\.\d{1,9}){1,4}\b)
    |(?P<number>(?<![\w.])[-+]?[$€£¥]?(?:\d{1,3}(?:,\d{3})+|\d{1,15})(?:\.\d{1,15})?(?:%|(?!\w|-[A-Z0-9]|\.\d)
        |(?=°?[A-Za-zµ]{1,5}[²³]?(?![\w-]))))
    |(?P<path>(?<![\w/])(?:~|\.{1,2})?/[\w.-]+(?:/[\w.-]+)*/?)
    |(?P<code>\b(?:Africa|America|Antarctica|Arctic|Asia|Atlantic|Australia|Etc|Europe|Indian|Pacific)
        (?:/[A-Z][\w+-]{1,30}){1,2}
        |\#?(?=[A-Za-z_-]{0,60}[\d_])\w{1,60}(?:[-.]\w{1,60}){0,8}|(?-i:[A-Z]{2,30}(?:-[A-Z]{1,30})+)\b|\#\d+)
    |(?P<domain>[A-Za-z][\w-]{0,60}(?:\.[A-Za-z][\w-]{0,60}){1,5}(?![\w.])(?<!\b[A-Za-z]\.[A-Za-z]))
    |(?P<word>[^\W\d_]+(?:['\u2019][^\W\d_]+)?(?:\.[A-Z]\.)?)
    |(?P<punct>[^\w\s])""",
    re.VERBOSE,
)
NUMERALS = {
    word: number
    for number, word in enumerate(
        ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"), start=1
    )
}
_COUNTING = NUMERALS.keys() - {"one"}
"""Written numbers that are always meant as such."""
_STOPS = frozenset(".!?:\n")
_HOURS = {"hour": 1, "hr": 1, "h": 1, "day": 24, "d": 24, "week": 168, "w": 168, "wk": 168, "month": 720, "year": 8760}
_PLURAL_UNIT = "|".join(sorted(_HOURS, key=len, reverse=True))
_WINDOW = re.compile(
    rf"""\b(?:(?:in|over|during|within|for|from|of|on|(?P<since>since))\s+)?(?:the\s+|these\s+|this\s+)?
    (?:(?:last|past|previous|recent)\s+(?:(?P<many>\d{{1,4}}|{"|".join(NUMERALS)}|an?|few|couple\s+of)\s*)?
        (?P<unit>{_PLURAL_UNIT})s?
      |(?P<short>\d{{1,4}})(?P<letter>[hdw])
      |(?P<yesterday>yesterday)|(?P<today>today|tonight)|this\s+(?P<this>hour|day|morning|week|month|year))\b""",
    re.VERBOSE | re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Token:
    """One word, value or mark of a prompt, with its place in the text."""

    text: str
    low: str
    kind: Kind
    start: int
    end: int
    value: Json
    """The Json a value stands for; None for a word."""
    spelled: bool
    """Begins with a capital although it begins no sentence: perhaps a name."""
    stem: str
    """See `metaagent.agent.words.stem`; empty when it is no word."""
    is_filler: bool
    """Carries no request of its own."""


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of time that a prompt names with tokens `first` to `last`."""

    first: int
    last: int
    length: timedelta
    ended: bool = False
    """It ended before now: `yesterday`."""


def lex(prompt: str) -> tuple[Token, ...]:
    """The tokens of a prompt, in order."""
    tokens: list[Token] = []
    for match in _LEXER.finditer(prompt):
        tokens.append(_token(match, opening=not tokens or tokens[-1].text in _STOPS))
    return tuple(tokens)


def _token(match: re.Match[str], *, opening: bool) -> Token:
    text = match[0]
    kind: Kind = "number" if match.lastgroup == "ordinal" else match.lastgroup  # type: ignore[assignment]  # groups are kinds
    if kind == "word" and text[-2:] in {"'s", "\u2019s"}:
        text = text[:-2]
    if kind == "word" and text in _COUNTING:
        kind = "number"
    low = text.lower().replace("\u2019", "'")
    is_word = kind == "word"
    return Token(
        text=text,
        low=low,
        kind=kind,
        start=match.start(),
        end=match.start() + len(text),
        value=_value(kind, text),
        spelled=is_word and text[0].isupper() and not opening and low not in FILLER,
        stem=stem(low) if is_word else "",
        is_filler=low in FILLER if is_word else kind == "punct",
    )


def _value(kind: Kind, text: str) -> Json:
    match kind:
        case "word" | "punct":
            return None
        case "number" if text in NUMERALS:
            return NUMERALS[text]
        case "number":
            digits = re.sub(r"[^\d.+-]", "", text)
            return float(digits) if "." in digits else int(digits)
        case "quoted":
            return text[1:-1].strip()
        case "list":
            return _list(text)
        case _:
            return text


def _list(text: str) -> Json:
    """The list that brackets hold, or None when it is not one of plain values."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None


def windows(prompt: str, tokens: tuple[Token, ...]) -> tuple[Window, ...]:
    """The stretches of time a prompt names, except vague ones."""
    found = []
    for match in _WINDOW.finditer(prompt):
        inside = [i for i, token in enumerate(tokens) if token.start >= match.start() and token.end <= match.end()]
        if inside and (hours := _hours(match)):
            ended = bool(match["yesterday"]) and not match["since"]
            found.append(Window(inside[0], inside[-1], timedelta(hours=hours), ended))
    return tuple(found)


def is_vague(window: Window, tokens: Sequence[Token]) -> bool:
    """Whether nobody said how long it is: `the last days`."""
    inside = tokens[window.first : window.last + 1]
    return inside[-1].low.endswith("s") and not any(t.kind == "number" or t.low in {"a", "couple"} for t in inside)


def without_windows(text: str) -> str:
    """The text without the stretches of time it names."""
    return _WINDOW.sub(" ", text)


def _hours(match: re.Match[str]) -> int:
    if match["short"]:
        return int(match["short"]) * _HOURS[match["letter"].lower()]
    if match["yesterday"]:
        return 48 if match["since"] else 24
    if match["today"]:
        return 24
    if match["this"]:
        return _HOURS.get(match["this"].lower(), 24)
    many = (match["many"] or "1").lower()
    unit = _HOURS[match["unit"].lower()]
    if many == "few":
        return 0
    if many.startswith("couple"):
        return 2 * unit
    return (int(many) if many.isdigit() else NUMERALS.get(many, 1)) * unit


def text_between(tokens: Sequence[Token], first: int, last: int) -> str:
    """The text of tokens `first` to `last`, with single spaces where the prompt has any."""
    text = tokens[first].text
    for before, after in pairwise(tokens[first : last + 1]):
        text += " " * (after.start > before.end) + after.text
    return text
