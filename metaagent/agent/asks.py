"""How well a prompt matches the questions a tool says it answers, and what the prompt gives for its parameters."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache

from metaagent.agent.slots import COUNTED, MISSING, Slot, Value, accept, chosen, matches, switched, window_args
from metaagent.agent.spans import Kind, Token, Window, text_between, without_windows
from metaagent.agent.words import FILLER, GENERIC_STEMS, NO_NAMES, PHRASES, bag, concept, equal, near
from providers.spec import Json

_SLOT = re.compile(r"\{(\w+)\}")
_WORD = re.compile(r"[^\W_]+(?:['\u2019][^\W\d_]+)?|&")
_AND = frozenset({"and", "&", "or", "plus"})
_PREPOSITIONS = bag("in of for on from at by with within under inside")
_BEFORE_NAMES = _PREPOSITIONS | bag("does do is did has")
_LONGEST_NAME = 4
_LONGEST_PHRASE = max(map(len, PHRASES))
_PHRASE_STARTS = frozenset(words[0] for words in PHRASES)


@dataclass(frozen=True, slots=True)
class Ask:
    """One example question, read once."""

    concepts: frozenset[str]
    filler: frozenset[str]
    leads: Mapping[str, tuple[tuple[str, ...], str]] = field(hash=False)
    """For each placeholder: the two words before it and the word after it."""
    joins: bool = False
    """Names two things, so that a prompt may too."""
    owned: frozenset[str] = frozenset()
    """What stands after `my`."""


@dataclass(frozen=True, slots=True)
class Item:
    """One content word, compound or phrase of a prompt, in tokens `first` to `last`."""

    concepts: tuple[str, ...]
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Reading:
    """A prompt read once for all tools."""

    tokens: tuple[Token, ...]
    items: tuple[Item, ...]
    said: frozenset[str]
    """The concepts of all items."""
    filler: frozenset[str]
    values: tuple[int, ...]
    """The tokens that are values and belong to no window."""
    windows: tuple[Window, ...]


@dataclass(frozen=True, slots=True)
class Match:
    """What one tool makes of a prompt. `why` is empty when it can be called."""

    score: float
    exact: bool = False
    args: Mapping[str, Json] = field(default_factory=dict)
    wanted: tuple[str, ...] = ()
    words: str = ""
    why: str = ""


@lru_cache(maxsize=8192)
def read_ask(text: str, periods: frozenset[str] = frozenset()) -> Ask:
    """Read one example question; `periods` are the parameters that stand for a stretch of time."""
    for name in periods:
        text = text.replace("{" + name + "}", "7 days")
    text = without_windows(text)
    parts = _SLOT.split(text)
    leads = {
        parts[i]: (tuple(_WORD.findall(parts[i - 1].lower())[-2:]), next(iter(_WORD.findall(parts[i + 1].lower())), ""))
        for i in range(1, len(parts), 2)
    }
    words = _WORD.findall(_SLOT.sub(" ", text).lower())
    leading = {before[-1] for before, _ in leads.values() if before}
    owned = words[words.index("my") + 1 :] if "my" in words else []
    return Ask(
        concepts=frozenset(name for name, _, _ in _concepts(words) if name),
        filler=_filler(words) - (leading & _PREPOSITIONS),
        leads=leads,
        joins=bool(_AND & set(words)),
        owned=frozenset(name for name, _, _ in _concepts(owned) if name),
    )


def _filler(words: Iterable[str]) -> frozenset[str]:
    said = frozenset(words) & FILLER
    return said - {"what's", "whats"} | {"what", "is"} if said & {"what's", "whats"} else said


def _concepts(words: Sequence[str]) -> Iterator[tuple[str, int, int]]:
    """The concepts of words, phrases first, each with its first and last word; filler gives an empty one."""
    i = 0
    while i < len(words):
        longest = min(_LONGEST_PHRASE, len(words) - i) if words[i] in _PHRASE_STARTS else 1
        for n in range(longest, 1, -1):
            if (name := PHRASES.get(tuple(words[i : i + n]))) is not None:
                yield name, i, i + n - 1
                i += n
                break
        else:
            yield ("" if words[i] in FILLER else concept(words[i])), i, i
            i += 1


def read_prompt(
    tokens: tuple[Token, ...],
    windows: Sequence[Window],
    noise: frozenset[str],
    slips: Mapping[str, str],
    known: Collection[str],
) -> Reading:
    """Read a prompt.

    `noise` are words that mean nothing here (the provider's name), `known` are the concepts of all questions, and
    `slips` says which of them a slip of the pen means.
    """
    inside = {i for window in windows for i in range(window.first, window.last + 1)}
    items: list[Item] = []
    start = 0
    for stop in [*(i for i, t in enumerate(tokens) if t.kind != "word" or i in inside), len(tokens)]:
        words = [token.low for token in tokens[start:stop]]
        for name, first, last in _concepts(words):
            if name and not (first == last and words[first] in noise):
                meant = near(words[first], slips) if first == last and name not in known else None
                items.append(Item((meant or name,), start + first, start + last))
        start = stop + 1
    filler = _filler(t.low for i, t in enumerate(tokens) if t.kind == "word" and i not in inside)
    values = tuple(i for i, t in enumerate(tokens) if t.kind not in {"word", "punct"} and i not in inside)
    said = frozenset(name for item in items for name in item.concepts)
    return Reading(tokens, tuple(_joined(items, tokens)), said, filler, values, tuple(windows))


def _joined(items: Iterable[Item], tokens: Sequence[Token]) -> Iterator[Item]:
    """Words that a hyphen joins are one item."""
    kept: Item | None = None
    for item in items:
        if kept and _hyphened(tokens[kept.last : item.first + 1]):
            kept = Item(kept.concepts + item.concepts, kept.first, item.last)
            continue
        if kept:
            yield kept
        kept = item
    if kept:
        yield kept


def _hyphened(tokens: Sequence[Token]) -> bool:
    match tokens:
        case [before, Token(text="-") as hyphen, after]:
            return before.end == hyphen.start and hyphen.end == after.start
    return False


class Questions:
    """One tool's example questions, and how to answer which of them a prompt is."""

    def __init__(
        self, asks: Sequence[Ask], slots: Sequence[Slot], weights: Mapping[str, float], common: frozenset[str]
    ) -> None:
        """`weights` say how much each concept tells; `common` ones tell so little that no value is taken from them."""
        self.asks = tuple(asks)
        self.slots = tuple(slots)
        self.weights = weights
        self.common = common
        self.by_name = {slot.name: slot for slot in slots}
        self.vocabulary = frozenset().union(*(ask.concepts for ask in asks))
        self.own = frozenset(equal(root) for slot in slots if slot.producer for root in slot.own)
        """What the things are called that producers give: `project`."""
        self.kinds = frozenset(kind for slot in slots for kind in _kinds(slot))
        """The kinds of values that have a place in this tool."""
        self.totals = {ask: self._sum(ask.concepts) for ask in self.asks}
        self.asking: dict[str, list[Ask]] = {}
        """The questions that each concept is in."""
        for ask in self.asks:
            for name in ask.concepts:
                self.asking.setdefault(name, []).append(ask)
        self.bare = tuple(ask for ask in self.asks if not ask.concepts)
        self.produced = frozenset(slot.name for slot in slots if slot.producer)
        self.needed = frozenset(slot.name for slot in slots if slot.required)
        self.free = frozenset(
            s.name
            for s in slots
            if s.type == "string" and not (s.producer or s.pattern or s.choices or (s.shapes and not s.known))
        )
        """Parameters that also take values without a form of their own."""
        self.things = frozenset(root for s in slots if s.producer and not s.required for root in s.own)
        """Words beside which a name may stand: those of what only narrows the answer."""
        self.shared_leads = frozenset(
            concept(lead[-1]) for ask in asks for name, (lead, _) in ask.leads.items() if lead and name in self.produced
        )
        """Words that also lead up to the name of a producer's row, so that they alone introduce nothing else."""
        leading = frozenset(
            lead[-1] for ask in asks for name, (lead, _) in ask.leads.items() if lead and name in self.produced
        )
        narrowing = _PREPOSITIONS if self.produced - self.needed else frozenset()
        self.before_names = (leading & _BEFORE_NAMES) | narrowing
        """Words after which a name may stand: those of the questions, and all when a name only narrows the answer."""
        self.personal = frozenset(s.name for s in slots if not s.producer and any(v == "me" for _, v in s.known))
        """Parameters that take `me`."""
        self.worded = frozenset(
            words for s in slots for words, _ in (*s.choices, *(() if s.name in self.personal else s.known))
        )
        """Values that a word of their own names: `warning`, `production`."""
        self.owned = frozenset().union(*(ask.owned for ask in asks))
        """What is the person's who asks where such a parameter says so."""
        self.always = frozenset.intersection(*(frozenset(ask.leads) for ask in asks))
        """Placeholders that no question does without."""

    def likely(self, reading: Reading) -> tuple[float, list[Ask]]:
        """A cheap guess of how well `match` will do, 0 when it cannot, and the questions to try, best first."""
        held: dict[Ask, float] = {}
        for name in reading.said:
            for ask in self.asking.get(name, ()):
                held[ask] = held.get(ask, 0.0) + self.weights[name]
        alike = {ask: both / (self.totals[ask] + len(reading.said)) for ask, both in held.items()}
        ranked = sorted(alike, key=lambda ask: -alike[ask])[:_ASKS_TRIED]
        best = 2 * alike[ranked[0]] if ranked else 0.0
        if self.kinds & {reading.tokens[i].kind for i in reading.values}:
            return best + _TYPED, [*ranked, *self.bare]
        return best, ranked

    def match(self, reading: Reading, asks: Sequence[Ask], now: datetime) -> Match:
        """The best reading of the prompt as one of these questions."""
        values = self._values(reading, now)
        if values is None or not asks:
            return Match(self.likely(reading)[0] * _HOPELESS, why="unexplained_words")
        args, used = values
        best: Match | None = None
        for ask in asks:
            found = self._as(ask, reading, dict(args), set(used))
            if best is None or (not found.why, found.score) > (not best.why, best.score):
                best = found
        return best or Match(0.0)

    def _sum(self, concepts: Iterable[str]) -> float:
        return sum(self.weights.get(name, 1.0) for name in concepts)

    def _values(self, reading: Reading, now: datetime) -> tuple[dict[str, Json], set[int]] | None:
        """The arguments that do not depend on the question: windows, typed values, words of enums."""
        args: dict[str, Json] = {}
        used: set[int] = set()
        for window in reading.windows:
            found = None if args else window_args(self.slots, window, now)
            if found is None:
                return None
            args.update(found)
        for i in reading.values:
            slot = self.slot_for(i, reading.tokens, args)
            if slot is not None:
                args[slot.name] = accept(slot, value_for(reading.tokens[i], i, slot))
                used.add(i)
                if i and reading.tokens[i - 1].low in _PLAIN_COUNTED:
                    used.add(i - 1)
        for slot in self.slots:
            for value, first, last in self.said(slot, reading, used):
                if slot.name in args:
                    return None
                args[slot.name] = value
                used.update(range(first, last + 1))
        return args, used

    def slot_for(self, i: int, tokens: Sequence[Token], args: Mapping[str, Json]) -> Slot | None:
        """The one slot that a typed value is made for."""
        token = tokens[i]
        before = tokens[i - 1] if i else None
        after = next((t for t in tokens[i + 1 :] if t.kind == "word"), None)
        fitting = []
        for slot in self.slots:
            if slot.name in args or slot.choices or accept(slot, value_for(token, i, slot)) is MISSING:
                continue
            if slot.name in self.personal and before is not None and before.low == "by":
                continue  # what somebody did or saw is not what is theirs
            if token.kind != "number":
                fits = token.kind in _kinds(slot) or (slot.pattern is not None and token.kind in _PATTERNED)
            elif slot.counts:
                named = before is not None and (before.low in COUNTED or before.stem in slot.words)
                fits = named or (after is not None and equal(after.stem) in self.vocabulary)
            else:
                fits = slot.pattern is not None and _looks_like_id(token, before, slot)
            if fits:
                fitting.append(slot)
        return fitting[0] if len(fitting) == 1 else None

    def said(self, slot: Slot, reading: Reading, used: set[int]) -> Iterator[tuple[Json, int, int]]:
        """The words of an enum, and values everyone knows; a word that questions are full of names no value alone."""
        tokens = reading.tokens
        if slot.type == "boolean":
            yield from ((True, i, i) for i in switched(slot, tokens, self.vocabulary)[:1])
        elif slot.choices:
            for value, first, last in chosen(slot, tokens) or _meant(slot, tokens):
                beside = {token.stem for token in tokens[max(0, first - 1) : last + 2]}
                telling = equal(tokens[first].stem) not in self.common or beside & slot.own
                if telling and not used & {first, last}:
                    yield value, first, last
        elif slot.producer is None:
            for i, token in enumerate(tokens):
                if token.stem and not token.is_filler and equal(token.stem) not in self.vocabulary:
                    yield from ((value, i, i) for value in _known(slot, token))
                elif slot.name in self.personal and self._is_mine(i, tokens):
                    yield "me", i, i

    def _is_mine(self, i: int, tokens: Sequence[Token]) -> bool:
        """Whether this word says whose what is asked for is: `my open issues`, but not `my team's issues`."""
        if tokens[i].low == "mine":
            return True
        had: list[str] = []
        for token in tokens[i + 1 :]:
            if token.is_filler:
                break
            if token.kind == "word":
                had.append(token.stem)
        taken = {root for slot in self.slots for words, _ in slot.choices for root in words}
        strange = [root for root in had if not (root in taken or equal(root) in self.vocabulary)]
        return tokens[i].low == "my" and not strange and not self.owned.isdisjoint(map(equal, had))

    def _as(self, ask: Ask, reading: Reading, args: dict[str, Json], used: set[int]) -> Match:
        """The prompt read as this question."""
        self.led(ask, reading.tokens, args, used)
        items = [item for item in reading.items if not used & set(range(item.first, item.last + 1))]
        names, strange = self._names(items, reading, used)
        items = [item for item in items if not (item in strange or item in names or self._titles(item, names))]
        said = frozenset(name for item in items for name in item.concepts)
        implied = self._implied(ask, reading, args, used)
        both = self._agreement(ask, said, implied, args, names, strange)
        if names:
            both *= _GUESSED if (said & ask.concepts) - _ASKING else 0.0
        alike = len(ask.filler & reading.filler) / (len(ask.filler | reading.filler) or 1)
        why = self._why(args, names, strange)
        if not why and not (ask.concepts & NARROWING) <= said | implied:
            why = "no_match"
        if not why:
            why = self._overlooked(ask, reading, items, used.union(*(range(n.first, n.last + 1) for n in names)))
        if not why and not ask.joins and _joins_two(reading, [*items, *names]):
            why = "several"
        return Match(
            score=(1 - _FILLER_WEIGHT) * both + _FILLER_WEIGHT * alike,
            exact=both >= 1.0,
            args=args,
            wanted=tuple(s.name for s in self.slots if s.producer and s.name not in args and (s.required or names)),
            words=" ".join(text_between(reading.tokens, n.first, n.last).lower() for n in names),
            why=why,
        )

    def _overlooked(self, ask: Ask, reading: Reading, items: Sequence[Item], named: Collection[int]) -> str:
        """Why a small word makes the prompt another question than this one; empty when none does.

        `named` are the tokens of values and names.
        """
        lows = ["", *(token.low for token in reading.tokens), ""]
        placed = {*named, *(i for window in reading.windows for i in range(window.first, window.last + 1))}
        known = {item.first: item.concepts for item in items}
        led_by = any(lead[-1:] == ("by",) for lead, _ in ask.leads.values())
        for i, (before, low, after) in enumerate(zip(lows, lows[1:], lows[2:], strict=False)):
            if i in placed:
                continue
            if low in _EACH and not {low, *known.get(i + 1, ())} <= ask.concepts:
                alone = len(items) == 1 and self.own.isdisjoint(items[0].concepts)
                if low == "per" or not alone:
                    return "several"
            if _says_whose(before, low, after):
                strays = bool(self.personal) or ask.filler.isdisjoint(_OWNING)
            elif low == "by":
                strays = not (led_by and placed & {i + 1, i + 2})
            elif low in _POINTING:
                strays = min(named, default=i) >= i
            else:
                strays = low in _THAT and i + 1 in known and i + 2 not in named and (not before or before in FILLER)
            if strays and (low not in ask.filler or low in _MINE):
                return "unexplained_words"
        return ""

    def led(self, ask: Ask, tokens: Sequence[Token], args: dict[str, Json], used: set[int]) -> None:
        """Add the values that stand where this question has placeholders for what has no form of its own."""
        for name in ask.leads.keys() & self.free - args.keys():
            if span := self._span(self.by_name[name], *ask.leads[name], tokens, used):
                args[name] = _text(tokens, span, self.by_name[name])
                used.update(range(span[0], span[1] + 1))

    def _implied(self, ask: Ask, reading: Reading, args: Mapping[str, Json], used: set[int]) -> frozenset[str]:
        """What values say by themselves: a version is a release, and it stands for "the latest" of a question."""
        said = {equal(root) for name in args for root in self.by_name[name].own}
        said.update(equal(reading.tokens[i].stem) for i in used)
        if any(self.by_name[name].shapes and name not in ask.leads for name in args):
            said.add("latest")
        return frozenset(said)

    def _agreement(
        self,
        ask: Ask,
        said: frozenset[str],
        implied: frozenset[str],
        args: Mapping[str, Json],
        names: Sequence[Item],
        strange: Sequence[Item],
    ) -> float:
        """How well question and prompt cover each other, 0 to 1: the harmonic mean of the two shares."""
        named = self.produced if names else frozenset()
        filled = len(ask.leads.keys() & args.keys()) + _HALF * len(ask.leads.keys() & named - args.keys())
        unfound = self.needed - args.keys() - named
        lacking = len(ask.leads.keys() & unfound & (self.always | (unfound - self.produced)))
        recalled = self._sum(ask.concepts & (said | implied)) + filled
        recall = recalled / ((self.totals[ask] + filled + lacking) or 1.0)
        explained = self._sum(said & ask.concepts) + _WEAK * self._sum((said & self.vocabulary) - ask.concepts)
        precision = (explained + filled) / ((self._sum(said) + len(strange) + filled) or 1.0)
        return 2 * recall * precision / ((recall + precision) or 1.0)

    def _why(self, args: Mapping[str, Json], names: Sequence[Item], strange: Sequence[Item]) -> str:
        if strange:
            return "unexplained_words"
        for slot in self.slots:
            if slot.required and slot.name not in args:
                found = slot.producer is not None and (slot.producer.pick == "first" or slot.name not in self.always)
                if not found and not (names and slot.producer):
                    return "missing_argument"
        return ""

    def _span(
        self, slot: Slot, before: tuple[str, ...], after: str, tokens: Sequence[Token], used: set[int]
    ) -> tuple[int, int] | None:
        """The words that stand where a question has its placeholder, and that nothing else explains."""
        for i in range(len(tokens)):
            if not _leads(tokens[: i + 1], before, closed=bool(after)):
                continue
            first = next((j for j in range(i + 1, len(tokens)) if tokens[j].low not in _ARTICLES), None)
            if first is None or first in used or (slot.name in self.personal and tokens[i + 1].low in _WHOSE):
                continue
            if tokens[first].kind == "quoted" or any(True for _ in _known(slot, tokens[first])):
                return first, first
            if concept(before[-1]) in self.shared_leads:
                continue
            last = self._last_strange(first, tokens, used)
            closing = {equal(t.stem) for t in tokens[last + 1 : last + 2] if t.stem}
            if last >= first and (not after or concept(after) in closing):
                return first, last
        return None

    def _last_strange(self, first: int, tokens: Sequence[Token], used: set[int]) -> int:
        """The end of the words from `first` on that no question explains; `first` - 1 when there are none."""
        last = first - 1
        for k, token in enumerate(tokens[first : first + _LONGEST_NAME], start=first):
            if token.is_filler or k in used or (token.stem and equal(token.stem) in self.vocabulary):
                break
            last = k
        return last

    def _names(self, items: Sequence[Item], reading: Reading, used: set[int]) -> tuple[list[Item], list[Item]]:
        """The unexplained items that may name a producer's row, and those that may not."""
        unknown = [item for item in items if not set(item.concepts) <= self.vocabulary | self.own]
        unknown += [Item(("",), i, i) for i in reading.values if i not in used]
        runs: list[Item] = []
        for item in sorted(unknown, key=lambda item: item.first):
            if runs and item.first == runs[-1].last + 1:
                runs[-1] = Item(runs[-1].concepts + item.concepts, runs[-1].first, item.last)
            else:
                runs.append(item)
        named = len(runs) == 1 and bool(self.produced) and self._may_name(runs[0], reading.tokens)
        return (runs, []) if named else ([], runs)

    def _titles(self, item: Item, names: Sequence[Item]) -> bool:
        """Whether it only says what a name beside it names: `the checkout project`."""
        beside = any(name.last + 1 == item.first or item.last + 1 == name.first for name in names)
        return beside and set(item.concepts) <= self.own

    def _may_name(self, run: Item, tokens: Sequence[Token]) -> bool:
        """Whether it stands where names do: `in checkout`, `the checkout project`, `project checkout`."""
        first = tokens[run.first]
        if run.last - run.first >= _LONGEST_NAME or first.low in OTHERS | NO_NAMES or first.kind not in _NAMING:
            return False
        if any(first.stem in slot.words for slot in self.slots) or is_class(first):
            return False
        before = [t for t in tokens[: run.first] if t.low not in _ARTICLES][-1:]
        beside = {t.stem for t in (*before, *tokens[run.last + 1 : run.last + 2])}
        return bool(beside & self.things) or any(t.low in self.before_names for t in before)


OTHERS = bag(
    """github gitlab bitbucket slack jira linear notion asana trello datadog gmail google gdrive drive dropbox figma
    stripe hubspot salesforce zendesk intercom pagerduty confluence discord teams outlook calendar airtable sentry
    newrelic grafana twitter youtube spotify zoom"""
)
"""Names that are other services before they are anybody's project."""

_OWNING = bag("i my mine")
_MINE = bag("my mine myself")
_WHOSE = bag("my our")
_ASKED_WITH = bag("can could may want need like show give tell get find list bring send let help fetch pull")
"""Words beside `I` and `me` that only ask: `can I see`, `show me`."""
_EACH = bag("each every per")
"""Words that ask for something of each, as in `of each project`; but `every project` alone is all of them."""
_POINTING = bag("he him his she her hers they them their theirs it its")
"""Words for what was named before them."""
_THAT = bag("this that these those")
"""Words that, right before what they point at, mean something that is not in the prompt."""
NARROWING = bag("first new")
"""Words of a question that ask for less than without them: what is seen in a release is not all first seen there."""

_ARTICLES = bag("the a an our my")
_PATTERNED = bag("code release version email url")
"""Kinds of values that a pattern alone may claim."""
_NAMING = bag("word code quoted domain")
"""Kinds of tokens that a name may begin with."""
_PLAIN_COUNTED = bag("first next past")
"""Words that say nothing more than the number after them."""
_ASKING = bag("how who when where why")
"""Words that alone do not say what a question is about."""
_ASKS_TRIED = 3
_WEAK = 0.5
"""What a word counts that only another question of the tool has."""
_TYPED = 0.5
"""What a value counts, before it is known which question it belongs to."""
_HOPELESS = 0.5
_FILLER_WEIGHT = 0.05
"""Words such as `in` and `what` decide only between questions that are otherwise alike."""
_HALF = 0.5
"""What a name counts that may be the value of a placeholder."""
_GUESSED = 0.9
"""What a match is worth in which a name explains what else would be strange."""
_SHORTEST_ID = 4


_CLASS = re.compile(r"(?:\w+\.){0,5}\w{2,60}(?:[Ee]rror|[Ee]xception|Warning|Fault|Failure|Interrupt|Timeout)s?")


def is_class(token: Token) -> bool:
    """Whether it names a class of errors, or several of one: `KeyErrors`."""
    return token.kind in {"word", "code", "domain"} and _CLASS.fullmatch(token.text) is not None


def _says_whose(before: str, low: str, after: str) -> bool:
    """Whether it says that something is the person's who asks."""
    if low in {"i", "i'm", "i've", "me"}:
        return not {before, after} & _ASKED_WITH
    return low in _MINE


def _meant(slot: Slot, tokens: Sequence[Token]) -> Iterator[tuple[Json, int, int]]:
    """The values of the slot's enum that the prompt has other words for: `customers` for `users`.

    For `resolved` that is `fixed`, not `fix`.
    """
    for words, value in slot.choices:
        if not GENERIC_STEMS.isdisjoint(words):
            continue
        said = [
            i
            for i, token in enumerate(tokens)
            if not token.is_filler
            and (equal(token.stem),) == tuple(map(equal, words))
            and token.low.endswith("ed") >= str(value).endswith("ed")
        ]
        yield from ((value, i, i) for i in said[:1])


def _kinds(slot: Slot) -> frozenset[Kind]:
    """The kinds of values that are made for this slot."""
    versions: frozenset[Kind] = frozenset({"version"}) if "release" in slot.shapes else frozenset()
    by_number = slot.counts or (slot.pattern is not None and matches(slot.pattern, "12345"))
    return slot.shapes | versions | (frozenset({"number"}) if by_number else frozenset())


def _leads(tokens: Sequence[Token], before: tuple[str, ...], *, closed: bool) -> bool:
    """Whether the last tokens are what a question has before its placeholder.

    A preposition leads only together with the word before it, unless a word after the placeholder closes it.
    """
    if not before or not tokens[-1].stem or tokens[-1].is_filler != (before[-1] in FILLER):
        return False
    if not tokens[-1].is_filler:
        return equal(tokens[-1].stem) == concept(before[-1])
    if tokens[-1].low != before[-1]:
        return False
    return closed or len(before) == 1 or (len(tokens) > 1 and equal(tokens[-2].stem) == concept(before[0]))


def _known(slot: Slot, token: Token) -> Iterator[Json]:
    """The value that this word is known to be."""
    return (value for words, value in slot.known if (token.stem,) == words)


def value_for(token: Token, i: int, slot: Slot) -> Value:
    """The token as a value; a code in the case that the slot's pattern takes."""
    text = token.value
    if token.kind == "code" and slot.pattern is not None and not matches(slot.pattern, text):
        text = text.removeprefix("#")
        text = text if matches(slot.pattern, text) else text.upper()
    return Value(i, i, token.kind, text, token.text)


def _looks_like_id(token: Token, before: Token | None, slot: Slot) -> bool:
    return len(token.text) >= _SHORTEST_ID or (before is not None and (before.stem in slot.words or before.text == "#"))


def _text(tokens: Sequence[Token], span: tuple[int, int], slot: Slot) -> Json:
    first = tokens[span[0]]
    if span[0] == span[1]:
        plain = first.value is None or (slot.type == "string" and first.kind == "number")
        return next(_known(slot, first), first.text if plain else first.value)
    return text_between(tokens, *span)


def _joins_two(reading: Reading, items: Iterable[Item]) -> bool:
    """Whether the prompt asks for two things: `and` between content, or content on both sides of a full stop."""
    places = {item.first for item in items} | set(reading.values)
    marks = [i for i, t in enumerate(reading.tokens) if t.low in _AND or t.text in {".", "?", "!", ";"}]
    return any(min(places, default=i) < i < max(places, default=i) for i in marks)
