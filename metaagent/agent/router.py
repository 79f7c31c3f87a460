"""A prompt to one read tool and its arguments without a model, or "not sure".

1. A prompt that asks for a change, for several things, or that is too long, is refused at once.
2. A tool with example questions (`asks`) is matched by them: concepts, typed values, names; see `asks`.
3. A tool without is matched by its name, summary and schemas alone, far more strictly; see `slots`.
4. Every content word and every value of the prompt must have a place, and every required argument a value.
5. The best tool must be clearly better than the second best. A wrong answer is worse than "not sure".
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from metaagent.agent.asks import Ask, Match, Questions, read_ask, read_prompt
from metaagent.agent.slots import COUNTED, Schemas, Slot, fill, periods, read_slots, same_unit, values_of
from metaagent.agent.spans import Token, lex, windows
from metaagent.agent.words import FILLER_STEMS, GENERIC_STEMS, bag, slips, split_identifier, stem, stem_bag, stems
from providers.spec import Effect, Json


class ToolLike(Schemas, Protocol):
    """What the router reads of a tool; a `providers.spec.ToolSpec` is one."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def summary(self) -> str:
        """What it does, in a sentence or more."""

    @property
    def effect(self) -> Effect:
        """What it may do to the account."""

    @property
    def asks(self) -> Sequence[str]:
        """Example questions with `{param}` placeholders; empty when nobody wrote any."""


@dataclass(frozen=True, slots=True)
class Route:
    """One read tool, surely."""

    tool: str
    args: Mapping[str, Json]
    """Literal values found in the prompt, typed by each parameter's schema."""
    wanted: tuple[str, ...]
    """Parameters a producer has to give: required ones that the prompt does not hold, and those `words` may name."""
    words: str
    """What only the name of a producer's row explains, in lower case: `checkout`.

    Empty when everything is explained. When no row goes by these words, the route is not sure after all.
    """


@dataclass(frozen=True, slots=True)
class Unsure:
    """No tool, surely."""

    closest: tuple[str, ...]
    """Up to three read tools that come nearest, best first."""
    why: str
    """`no_match`, `close_race`, `unexplained_words`, `missing_argument`, `several` or `write`."""


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool, read once."""

    name: str
    writes: bool
    slots: tuple[Slot, ...]
    questions: Questions | None
    core: frozenset[str]
    """Stems of the last part of its name that say something."""
    head: frozenset[str]
    """Stems of the first sentence of its summary that say something."""
    known: frozenset[str]
    """All stems of its name and summary."""
    vocabulary: frozenset[str]
    """Those, and the stems of its parameters' names and descriptions."""


@dataclass(frozen=True, slots=True)
class RouterIndex:
    """The tools of one provider, ready to be matched."""

    tools: tuple[Tool, ...]
    concepts: frozenset[str]
    """All that the example questions are about."""
    idf: Mapping[str, float]
    """How much each stem of names and summaries tells."""
    noise: frozenset[str]
    slips: Mapping[str, str]


LONGEST_PROMPT = 2000
MOST_TOKENS = 150
_NEUTRAL = GENERIC_STEMS | stem_bag("how many much given who between based specific certain particular unit")
_LEAST_WEIGHT = 0.25
_LEAST_SCORE = 0.72
_LEAST_LEAD = 0.08
_LEAST_LEAD_WHEN_EXACT = 0.01
_LEAST_KIN = 0.5
"""The share of a tool's name, or of its summary, that a prompt must hold when there are no example questions."""
_MOST_OF_BEST = 0.8
_TRIED = 4
_SHOWN = 3
_LEAST_SHOWN = 0.2


# --- compiling -------------------------------------------------------------------------------------------------------


def compile_tools(tools: Sequence[ToolLike], names: Iterable[str] = ()) -> RouterIndex:
    """Read a provider's tools once; `names` are the provider's own (id, title), which say nothing in a prompt."""
    slots = {tool.name: read_slots(tool) for tool in tools}
    asks = {
        tool.name: tuple(read_ask(ask, periods(slots[tool.name])) for ask in tool.asks) for tool in tools if tool.asks
    }
    counts = Counter(c for read in asks.values() for c in frozenset().union(*(ask.concepts for ask in read)))
    weights = {c: max(_LEAST_WEIGHT, math.log1p(len(asks) / n) / math.log1p(len(asks))) for c, n in counts.items()}
    common = frozenset(c for c, n in counts.items() if n > max(2, len(asks) / 3))
    read = tuple(_read(tool, slots[tool.name], asks.get(tool.name, ()), weights, common) for tool in tools)
    known = Counter(word for tool in read for word in tool.known)
    return RouterIndex(
        tools=read,
        concepts=frozenset(counts),
        idf={word: math.log1p(len(read) / n) for word, n in known.items()},
        noise=frozenset(word.lower() for name in names for word in split_identifier(name)),
        slips=slips({word for tool in tools for ask in tool.asks for word in re.findall(r"[a-z]+", ask.lower())}),
    )


def _read(
    tool: ToolLike,
    slots: tuple[Slot, ...],
    asks: Sequence[Ask],
    weights: Mapping[str, float],
    common: frozenset[str],
) -> Tool:
    name = frozenset(map(stem, split_identifier(tool.name)))
    last = frozenset(map(stem, split_identifier(re.split(r"[./]", tool.name)[-1])))
    known = name | frozenset(stems(tool.summary))
    return Tool(
        name=tool.name,
        writes=tool.effect != Effect.READ,
        slots=slots,
        questions=Questions(asks, slots, weights, common) if asks else None,
        core=last - GENERIC_STEMS or name - GENERIC_STEMS or name,
        head=frozenset(stems(tool.summary.split(". ")[0])) - GENERIC_STEMS - FILLER_STEMS,
        known=known,
        vocabulary=known.union(_NEUTRAL, *(slot.words | slot.about for slot in slots)),
    )


# --- refusing --------------------------------------------------------------------------------------------------------

_CHANGES = bag(
    """resolve unresolve reopen delete remove send create add assign unassign archive unarchive rename invite notify
    cancel approve reject subscribe unsubscribe enable disable restore uninstall edit modify transfer insert revoke
    rotate grant publish upload append purchase reset register snooze erase wipe drop purge"""
)
"""Words that ask for a change wherever they stand."""
_CHANGES_FIRST = bag(
    """comment order book post message email deploy tag set change update close merge mark fix share write pay turn put
    save switch start stop lock unlock activate fill play move copy restart reply schedule submit adjust buy sell make
    place install push sync connect import authenticate initialize mute ignore leave rollback revert run execute"""
)
"""Words that ask for a change where a verb stands: `close it`, not `close to`."""
_VERB_FOLLOWS = bag(
    "please can you could would will want need to kindly let's lets and then , . ! ? : ; just go ahead also now"
)
_DONE = re.compile(
    r"\b(?:get|have|make|want|need)\b.{1,80}\b(?:resolved|closed|deleted|removed|assigned|fixed|ignored|archived|merged"
    r"|muted|updated|sent|reopened)\W*$",
    re.IGNORECASE | re.DOTALL,
)
_SEVERAL = re.compile(
    r"\b(?:then|also|after that|afterwards|additionally|in addition|as well as|secondly|furthermore|finally"
    r"|respectively|another|each of|both|similarly|same for)\b|;|\n\s*\d[.)]|\?.*\?",
    re.IGNORECASE | re.DOTALL,
)


def asks_change(tokens: Sequence[Token]) -> bool:
    """Whether a verb in the prompt asks to change something."""
    for i, token in enumerate(tokens):
        if token.low in _CHANGES and not (token.low == "send" and tokens[i + 1 : i + 2] and tokens[i + 1].low == "me"):
            return True
        if token.low in _CHANGES_FIRST and (i == 0 or tokens[i - 1].low in _VERB_FOLLOWS):
            return True
    return False


# --- deciding --------------------------------------------------------------------------------------------------------


def route(prompt: str, index: RouterIndex, *, now: datetime | None = None) -> Route | Unsure:
    """The one read tool that answers `prompt`, if there surely is one. `now` places words such as `yesterday`."""
    if len(prompt) > LONGEST_PROMPT:
        return Unsure((), "no_match")
    tokens = lex(prompt)
    if not tokens or len(tokens) > MOST_TOKENS:
        return Unsure((), "no_match")
    asked = _by_asks(prompt, tokens, index, now or datetime.now(UTC))
    closest = _closest(asked, index, tokens)
    if asks_change(tokens) or _DONE.search(prompt):
        return Unsure(closest, "write")
    if _SEVERAL.search(prompt):
        return Unsure(closest, "several")
    if any(match.score > _LEAST_SHOWN for _, match in asked):
        return _decide_by_asks(asked, closest)
    return _by_schema(tokens, index, closest)


def _by_asks(prompt: str, tokens: tuple[Token, ...], index: RouterIndex, now: datetime) -> list[tuple[Tool, Match]]:
    """What each tool with example questions makes of the prompt, the best first."""
    if not index.concepts:
        return []
    reading = read_prompt(tokens, windows(prompt, tokens), index.noise, index.slips, index.concepts)
    likely = [(*tool.questions.likely(reading), tool) for tool in index.tools if tool.questions]
    likely.sort(key=lambda guess: -guess[0])
    matches = [
        (tool, tool.questions.match(reading, asks, now))
        for guess, asks, tool in likely[:_TRIED]
        if guess and tool.questions is not None
    ]
    return sorted(matches, key=lambda pair: -pair[1].score)


def _closest(asked: Sequence[tuple[Tool, Match]], index: RouterIndex, tokens: Sequence[Token]) -> tuple[str, ...]:
    if asked:
        return tuple(tool.name for tool, match in asked if match.score > _LEAST_SHOWN and not tool.writes)[:_SHOWN]
    said = content(tokens)
    ranked = [(kin, tool.name) for tool in index.tools if (kin := _kin(tool, said, index)) > 0 and not tool.writes]
    return tuple(name for _, name in sorted(ranked, reverse=True)[:_SHOWN])


def _decide_by_asks(asked: Sequence[tuple[Tool, Match]], closest: tuple[str, ...]) -> Route | Unsure:
    tool, best = asked[0]
    second = asked[1][1].score if len(asked) > 1 else 0.0
    if best.why or best.score < _LEAST_SCORE:
        return Unsure(closest, best.why or "no_match")
    if best.score - second < (_LEAST_LEAD_WHEN_EXACT if best.exact else _LEAST_LEAD):
        return Unsure(closest, "close_race")
    if tool.writes:
        return Unsure(closest, "write")
    return Route(tool.name, best.args, best.wanted, best.words)


def content(tokens: Sequence[Token]) -> frozenset[str]:
    """The stems of the words that are not filler."""
    return frozenset(token.stem for token in tokens if token.kind == "word" and not token.is_filler)


def _kin(tool: Tool, said: frozenset[str], index: RouterIndex) -> float:
    """How much of what a prompt says a tool's name and summary explain; the name counts twice."""
    return sum(index.idf[word] * (2 if word in tool.core else 1) for word in said & tool.known)


def _by_schema(tokens: tuple[Token, ...], index: RouterIndex, closest: tuple[str, ...]) -> Route | Unsure:
    """Decide by names, summaries and schemas alone."""
    said = content(tokens)
    # A prompt that asks for a change has not come here: a read goes before a write, and only reads are rivals.
    ranked = sorted(((_kin(tool, said, index), not tool.writes, i) for i, tool in enumerate(index.tools)), reverse=True)
    if not ranked or not ranked[0][0]:
        return Unsure(closest, "no_match")
    best = index.tools[ranked[0][-1]]
    found = _arguments(best, tokens)
    if isinstance(found, str):
        return Unsure(closest, found)
    if best.writes:
        return Unsure(closest, "write")
    if next((kin for kin, reads, _ in ranked[1:] if reads), 0) > _MOST_OF_BEST * ranked[0][0]:
        return Unsure(closest, "close_race")
    wanted = tuple(slot.name for slot in best.slots if slot.required and slot.name not in found)
    return Route(best.name, found, wanted, "")


def _arguments(tool: Tool, tokens: tuple[Token, ...]) -> Mapping[str, Json] | str:
    """The arguments, when the prompt is about this tool and everything in it has a place; else why not."""
    filled = fill(tool.slots, tokens, values_of(tokens, tool.vocabulary))
    if filled is None:
        return "unexplained_words"
    if any(s.required and s.name not in filled.args and s.producer is None for s in tool.slots):
        return "missing_argument"
    bound = [slot for slot in tool.slots if slot.name in filled.args]
    mine = frozenset().union(*(slot.words for slot in bound))
    rest = [(i, t) for i, t in enumerate(tokens) if i not in filled.used and t.kind == "word" and not t.is_filler]
    said = frozenset(token.stem for _, token in rest)
    if not any(len(words & said) >= _LEAST_KIN * len(words) for words in (tool.core - mine, tool.head - mine) if words):
        return "no_match"
    explained = tool.known.union(_NEUTRAL, *(slot.words | slot.about for slot in bound))
    for i, token in rest:
        counted = token.low in COUNTED and i + 1 < len(tokens) and tokens[i + 1].kind == "number"
        unit = i and tokens[i - 1].kind == "number" and same_unit(token.stem) & explained
        if not (token.stem in explained or counted or unit):
            return "unexplained_words"
    return filled.args
