"""The best reads without a model: what most likely holds the answer when nothing is sure; pure.

1. A prompt is cut where it asks for several things; what names no subject of its own belongs to what is beside it.
2. Each part is compared with the example questions of every read tool, or with its name and summary when it has none:
   more loosely than the router does, since the answer says that it is not sure.
3. An argument is set only when the prompt surely means it so: fewer filters rather than a wrong one.
4. Several values for one parameter, or several names side by side, are as many reads.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import pairwise

from metaagent.agent.asks import NARROWING, Ask, Item, Questions, Reading, is_class, read_prompt, value_for
from metaagent.agent.catalog import CatalogIndex, rank
from metaagent.agent.router import LONGEST_PROMPT, MOST_TOKENS, RouterIndex, Tool, ToolLike, asks_change, content
from metaagent.agent.slots import COUNTED, MISSING, Slot, Value, accept, best_pair, chosen, fill, values_of, window_args
from metaagent.agent.spans import Token, Window, is_vague, lex, text_between, windows
from metaagent.agent.words import NO_NAMES, bag, concept, stem_bag
from providers.spec import Effect, Json


@dataclass(frozen=True, slots=True)
class Read:
    """One read that probably holds what is asked."""

    tool: str
    args: Mapping[str, Json]
    """Literal values found in the prompt, typed by each parameter's schema."""
    words: str
    """What the names of a producer's rows may explain, in lower case. Not all of it need be a name."""


@dataclass(slots=True)
class _Placed:
    """What of a part has a place in a tool."""

    args: dict[str, Json] = field(default_factory=dict)
    more: dict[str, list[Json]] = field(default_factory=dict)
    """Further values for parameters that have one."""
    used: set[int] = field(default_factory=set)
    typed: int = 0
    """How many typed values have a place."""
    lost: int = 0
    """How many have none."""


@dataclass(frozen=True, slots=True)
class _Guess:
    score: float
    tool: Tool
    placed: _Placed


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of a prompt that asks for one thing."""

    reading: Reading
    guesses: tuple[_Guess, ...]
    """The best first."""

    @property
    def score(self) -> float:
        return self.guesses[0].score if self.guesses else 0.0


_LEAST = 0.3
"""The score below which a tool has nothing to do with a prompt."""
_NEAR = 0.75
"""Of the best one's score: what another tool must have to be read too."""
_PART = 0.75
"""Of the whole prompt's score: what each of its parts must have to be read alone."""


def best_reads(
    prompt: str,
    tools: Iterable[ToolLike],
    router_index: RouterIndex,
    catalog_index: CatalogIndex,
    *,
    most: int = 3,
    now: datetime | None = None,
) -> tuple[Read, ...]:
    """Up to `most` reads among `tools`, the likeliest first; none when nothing here has to do with the prompt."""
    text = prompt[:LONGEST_PROMPT]
    allowed = frozenset(tool.name for tool in tools if tool.effect is Effect.READ)
    asked = _Asked(text, allowed, router_index, catalog_index, now or datetime.now(UTC))
    turns = [list(asked.reads(part)) for part in asked.parts(lex(text)[:MOST_TOKENS])]
    found: list[Read] = []
    for place in range(max(map(len, turns), default=0)):
        for turn in turns:
            for read in turn[place] if place < len(turn) else ():
                if read not in found:
                    found.append(read)
    return tuple(found[:most])


_STOPS = frozenset(".?!;")
_JOINS = bag("and then also plus but & ,")
_BESIDE = bag("and or & , vs versus against with to the in of for from project projects")
_ARTICLES = bag("the a an our my your")
_BEFORE_NAMES = bag(
    """, in of for from on at within under inside about by with vs versus against and or is are was were do does did
    has"""
)
_COUPLES = bag("and or & , vs versus against with")
"""What stands between names that are meant side by side."""
_QUESTION = bag("how why what who which when where should is are was were do does did has have can could")
"""Words a question begins with: `how do I resolve it?` asks for no change."""
_POINTING = bag("it they them")
"""Words that make a part say more about what stands before it."""
_WITHOUT = bag("not no non except without excluding exclude besides ignoring minus apart aside outside instead unless")
_SCOPE = 4
"""How many words `not` and the like may be about."""
_NO_SUBJECT = bag("how who when where why count compare latest previous detail change top")
"""Concepts that say of what kind a question is, not what it is about."""
_SEARCHING = bag("mentioning containing about regarding concerning matching saying")
_MORE = bag("more fewer less")
_OF_AMOUNTS = bag("count compare")
"""What `more errors than last week` asks for."""
_TELLING = bag("code release version email url date path domain")
_BOUNDING = bag("than over above below under least exceeding exactly")
"""Words before a number that bounds something: it does not say how many are wanted."""
_UNTIL = bag("before until till older prior")
_ENDED = bag("previous prior")
_TRIED = 6
_LIKELY = 10
_MOST_PARTS = 4
_WEAK = 0.5
_HALF = 0.5
_STRANGE = 0.2
_SUMMED = 0.3
"""What it adds to a score when a tool's name and summary hold all that was said."""
_RARE = 0.7
"""How much less than the rarest word of names and summaries one may tell that still says what is asked for."""
_UNKNOWN = 1.0
"""How much a word counts that is in no name or summary."""
_LESS_LOST = 0.5
_SEARCHED = stem_bag("query q keyword term search text phrase")
_ERROR = concept("error")
_TIMES = stem_bag("second minute hour day week month year")


class _Asked:
    """One prompt, asked of one provider."""

    def __init__(
        self, text: str, allowed: frozenset[str], index: RouterIndex, catalog: CatalogIndex, now: datetime
    ) -> None:
        self.text = text
        self.index = index
        self.catalog = catalog
        self.now = now
        self.telling = max(index.idf.values(), default=0.0) - _RARE
        self.things = frozenset().union(*(tool.questions.things for tool in index.tools if tool.questions))
        """What is called by names: `project`."""
        self.tools = {tool.name: tool for tool in index.tools if tool.name in allowed}

    # --- parts

    def parts(self, tokens: tuple[Token, ...]) -> list[_Part]:
        """What the prompt asks for, one thing each; one part when it cannot well be cut."""
        whole = self._part(tokens)
        cut = self._cut(tokens)[:_MOST_PARTS]
        if len(cut) > 1:
            parts = [part for part in map(self._part, cut) if part.score >= max(_LEAST, _PART * whole.score)]
            if parts and (len(parts) == len(cut) or not whole.guesses):
                return parts
        return [whole] if whole.score >= _LEAST else []

    def _cut(self, tokens: tuple[Token, ...]) -> list[tuple[Token, ...]]:
        """The tokens at each stop and joining word, each part with a subject of its own."""
        cuts = [0]
        coupled = self._coupled(self._read(tokens))
        for i, token in enumerate(tokens):
            joins = token.low in _JOINS and i not in coupled
            if joins or token.text in _STOPS or (i and "\n" in self.text[tokens[i - 1].end : token.start]):
                cuts.append(i)
        parts: list[tuple[Token, ...]] = []
        about: tuple[Token, ...] = ()
        for start, stop in zip(cuts, [*cuts[1:], len(tokens)], strict=True):
            part = tokens[start:stop]
            if self._has_subject(part) and not (parts and _POINTING & {token.low for token in part}):
                parts.append(part)
            elif parts:
                parts[-1] += part
            else:
                about += part
        return [about + part for part in parts]

    def _coupled(self, reading: Reading) -> frozenset[int]:
        """The words between two names: in `checkout and billing`, but not in `checkout and old issues`."""
        concepts = self.index.concepts
        runs = _runs((item for item in reading.items if not set(item.concepts) <= concepts), set())
        known = {item.first for item in reading.items if set(item.concepts) <= concepts}
        return frozenset(
            run.last + 1 for run, after in pairwise(runs) if after.first == run.last + 2 and after.last + 1 not in known
        )

    def _has_subject(self, tokens: tuple[Token, ...]) -> bool:
        if self.index.concepts and self._known(self._read(tokens)) - _NO_SUBJECT:
            return True
        return any(self.index.idf.get(word, 0.0) >= self.telling for word in content(tokens))

    def _known(self, reading: Reading) -> frozenset[str]:
        """The concepts of the prompt that questions are about, but for what only says what a name beside it names."""
        concepts = self.index.concepts
        known = [item for item in reading.items if set(item.concepts) <= concepts]
        strange = {i for item in reading.items if item not in known for i in (item.first - 1, item.last + 1)}
        titles = [item for item in known if set(item.concepts) <= self.things and {item.first, item.last} & strange]
        said = {token.low for token in reading.tokens}
        implied = _OF_AMOUNTS & concepts if "than" in said and said & _MORE else frozenset()
        return implied.union(name for item in known if item not in titles for name in item.concepts)

    def _read(self, tokens: tuple[Token, ...]) -> Reading:
        """The prompt as the router reads it, but the class of an error is an error, and `3 days` is no number."""
        inside = windows(self.text, tokens)
        reading = read_prompt(tokens, inside, self.index.noise, self.index.slips, self.index.concepts)
        classes = _classes(tokens) if _ERROR in self.index.concepts else ()
        errors = tuple(Item((_ERROR,), i, i) for i in classes)
        rest = [item for item in reading.items if item.first not in classes]
        return replace(
            reading,
            items=tuple(sorted((*rest, *errors), key=lambda item: item.first)),
            said=frozenset(name for item in (*rest, *errors) for name in item.concepts),
            values=tuple(i for i in reading.values if i not in classes and not _is_stretch(tokens[i : i + 2])),
        )

    def _part(self, tokens: tuple[Token, ...]) -> _Part:
        reading = self._read(tokens)
        first = next((t.low for t in tokens if t.kind == "word" and t.low not in _JOINS), "")
        if asks_change(tokens) and first not in _QUESTION:
            return _Part(reading, ())
        guesses = self._by_questions(reading) or self._by_choices(reading) or self._by_schema(reading)
        return _Part(reading, tuple(sorted(guesses, key=lambda guess: -guess.score)))

    # --- tools with example questions

    def _by_questions(self, reading: Reading) -> list[_Guess]:
        known = self._known(reading)
        kinds = {reading.tokens[i].kind for i in reading.values}
        rough = [
            (sum([questions.weights[name] for name in reading.said & questions.vocabulary]), tool, questions)
            for tool in self.tools.values()
            if (questions := tool.questions)
            and not (questions.vocabulary.isdisjoint(reading.said) and questions.kinds.isdisjoint(kinds))
        ]
        rough.sort(key=lambda guess: -guess[0] - (not guess[2].kinds.isdisjoint(kinds)))
        likely = [(*questions.likely(reading), tool, questions) for _, tool, questions in rough[:_LIKELY]]
        likely.sort(key=lambda guess: -guess[0])
        found = []
        said = content(reading.tokens)
        for guess, asks, tool, questions in likely[:_TRIED]:
            placed = self._placed(questions, reading) if guess else _Placed()
            if not guess or self._lacks(questions, placed) or not (known - _NO_SUBJECT or placed.typed):
                continue
            tried = asks or questions.asks
            score = max(_agreement(questions, ask, known, reading, placed) for ask in tried)
            score += _SUMMED * self._explained(tool, said)
            found.append(_Guess(score * _LESS_LOST ** min(placed.lost, 2), tool, placed))
        return [guess for guess in found if guess.score >= _LEAST]

    def _by_choices(self, reading: Reading) -> list[_Guess]:
        """The tools that take a value which the prompt names by a word of its own: `any warnings?`."""
        roots = {token.stem for token in reading.tokens if token.stem}
        found = []
        for tool in self.tools.values():
            if tool.questions and any(roots.issuperset(words) for words in tool.questions.worded):
                placed = self._placed(tool.questions, reading)
                if placed.typed and not self._lacks(tool.questions, placed):
                    found.append(_Guess(_LEAST * placed.typed * _LESS_LOST**placed.lost, tool, placed))
        return [guess for guess in found if guess.score >= _LEAST]

    def _lacks(self, questions: Questions, placed: _Placed) -> bool:
        """Whether it must be given something that neither the prompt nor another tool has."""
        return any(
            slot.name not in placed.args
            and not (slot.producer and (slot.producer.pick == "first" or slot.name not in questions.always))
            for slot in questions.slots
            if slot.required
        )

    def _placed(self, questions: Questions, reading: Reading) -> _Placed:
        placed = _Placed()
        kinds: dict[str, str] = {}
        without = _negated(reading.tokens)
        self._place_window(questions.slots, reading, placed)
        for i in reading.values:
            token = reading.tokens[i]
            if i in without or (token.kind == "number" and i and reading.tokens[i - 1].low in _BOUNDING):
                continue
            counted = token.kind == "number" and token.text.isalpha()
            slot = questions.slot_for(i, reading.tokens, placed.args)
            again = slot or questions.slot_for(i, reading.tokens, {})
            if again is None or (counted and not again.counts):
                placed.lost += token.kind in _TELLING
                continue
            value = accept(again, value_for(token, i, again))
            placed.used.add(i)
            placed.typed += slot is not None
            if slot is not None:
                placed.args[slot.name] = value
                kinds[slot.name] = token.kind
            elif value != placed.args[again.name] and token.kind == kinds.get(again.name):
                placed.more.setdefault(again.name, []).append(value)
        if (slot := _search_slot(questions)) and (classes := _classes(reading.tokens)):
            placed.used.update(classes)
            if names := [reading.tokens[i].text.removesuffix("s") for i in classes if i not in without]:
                placed.args[slot.name], placed.more[slot.name] = names[0], [*names[1:]]
                placed.typed += 1
        for slot in questions.slots:
            said = [each for each in questions.said(slot, reading, placed.used) if each[1] not in without]
            if len(said) == 1 and slot.name not in placed.args:
                value, first, last = said[0]
                placed.args[slot.name] = value
                placed.typed += 1
                placed.used.update(range(first, last + 1))
        return placed

    def _place_window(self, slots: Sequence[Slot], reading: Reading, placed: _Placed) -> None:
        """One stretch of time, as the tool takes it; else a longer one that ends now and holds all that were named."""
        tokens = reading.tokens
        without = _negated(tokens)
        stretches = [
            window
            for window in reading.windows
            if not (window.first in without or is_vague(window, tokens))
            and not any(token.low in _UNTIL for token in tokens[max(0, window.first - 2) : window.last])
        ]
        if not stretches:
            return
        found = window_args(slots, stretches[0], self.now) if len(stretches) == 1 else None
        if found is None or _before_last(tokens, stretches[0]):
            lengths = [w.length * (2 if w.ended or _before_last(tokens, w) else 1) for w in stretches]
            longest = replace(stretches[0], length=sum(lengths[1:], lengths[0]), ended=False)
            found = window_args(slots, longest, self.now)
        placed.args.update(found or {})

    # --- tools without

    def _by_schema(self, reading: Reading) -> list[_Guess]:
        found = []
        for name in rank(self.catalog, _said(reading.tokens), _TRIED):
            tool = self.tools.get(name)
            if tool is None or tool.questions:
                continue
            placed = self._placed_by_schema(tool, reading)
            if any(s.required and s.name not in placed.args and s.producer is None for s in tool.slots):
                continue
            rest = tuple(token for i, token in enumerate(reading.tokens) if i not in placed.used)
            found.append(_Guess(self._kinship(tool, content(rest)), tool, placed))
        return [guess for guess in found if guess.score >= _LEAST]

    def _explained(self, tool: Tool, said: frozenset[str]) -> float:
        """How much of what was said its name and summary explain."""
        idf = self.index.idf
        whole = sum(idf.get(word, _UNKNOWN) for word in said) or 1.0
        return sum(idf[word] for word in said & tool.known) / whole

    def _kinship(self, tool: Tool, said: frozenset[str]) -> float:
        """How much of what was said the tool explains, and how much of its name was said."""
        idf = self.index.idf
        core = sum(idf[word] for word in tool.core) or 1.0
        explained = self._explained(tool, said)
        named = sum(idf[word] for word in said & tool.core) / core
        return math.sqrt(explained * max(named, explained / 2))

    def _placed_by_schema(self, tool: Tool, reading: Reading) -> _Placed:
        placed = _Placed()
        tokens = reading.tokens
        without = _negated(tokens)
        values = values_of(tokens, tool.vocabulary)
        if not without and (filled := fill(tool.slots, tokens, values)):
            return _Placed(dict(filled.args), used=set(filled.used))
        self._place_window(tool.slots, reading, placed)
        for window in reading.windows:
            placed.used.update(range(window.first, window.last + 1))
        for slot in tool.slots:
            hits = chosen(slot, tokens) if slot.choices and slot.type != "array" else []
            if len(hits) == 1 and hits[0][1] not in without and tokens[hits[0][1]].stem not in tool.core:
                value, first, last = hits[0]
                placed.args[slot.name] = value
                placed.used.update(range(first, last + 1))
        left = [
            value
            for value in values
            if not (without | placed.used) & set(range(value.first, value.last + 1)) and _stands_alone(value, tokens)
        ]
        slots = [slot for slot in tool.slots if not slot.choices and slot.name not in placed.args]
        counts = [slot for slot in slots if slot.counts]
        counted = [v for v in left if v.kind == "number" and v.first and tokens[v.first - 1].low in COUNTED]
        if len(counts) == len(counted) == 1:
            self._set(placed, counts[0], counted[0])
            slots.remove(counts[0])
            left.remove(counted[0])
        while pair := best_pair(slots, [value for value in left if value.kind != "plain"], tokens):
            slot, value = pair
            self._set(placed, slot, value)
            slots.remove(slot)
            left.remove(value)
        needed = [slot for slot in slots if slot.required and slot.producer is None]
        if len(needed) == 1 and len(left) == 1 and _is_surely(left[0], needed[0]):
            self._set(placed, needed[0], left[0])
        return placed

    def _set(self, placed: _Placed, slot: Slot, value: Value) -> None:
        found = accept(slot, value)
        if found is not MISSING:
            placed.args[slot.name] = found
            placed.used.update(range(value.first, value.last + 1))

    # --- reads

    def reads(self, part: _Part) -> Iterator[list[Read]]:
        """The reads of each tool that is near the best one."""
        near = [guess for guess in part.guesses if guess.score >= _NEAR * part.score]
        values = {words[0] for guess in near for slot in guess.tool.slots for words, _ in slot.choices}
        for guess in near:
            yield list(self._reads(part.reading, guess, values))

    def _reads(self, reading: Reading, guess: _Guess, choices: Collection[str]) -> Iterator[Read]:
        args, used = dict(guess.placed.args), set(guess.placed.used)
        without = _negated(reading.tokens)
        if guess.tool.questions:
            for ask in guess.tool.questions.asks:
                before = set(args)
                taken = set(used)
                guess.tool.questions.led(ask, reading.tokens, args, used)
                if (used - taken) & without:
                    args = {name: value for name, value in args.items() if name in before}
            _searched(guess.tool.questions, reading, args, used, without)
        for words in self._words(reading, guess.tool, used | _negated(reading.tokens, verbs=False), choices):
            yield Read(guess.tool.name, args, words)
        for name, values in guess.placed.more.items():
            for value in values:
                yield Read(guess.tool.name, {**args, name: value}, "")

    def _may_name(self, run: Item, reading: Reading) -> bool:
        """Whether it stands where names do, or is written like one."""
        tokens = reading.tokens
        before = next((t for t in reversed(tokens[: run.first]) if t.low not in _ARTICLES), None)
        after = tokens[run.last + 1] if run.last + 1 < len(tokens) else None
        inside = tokens[run.first : run.last + 1]
        if any(token.spelled or token.text == "-" for token in inside):
            return True
        if before is not None and before.low in _BEFORE_NAMES:
            return True
        closes = after is None or after.is_filler or after.kind != "word"
        known = {item.first for item in reading.items if set(item.concepts) <= self.index.concepts}
        return run.last + 1 in known or (closes and before is not None and tokens.index(before) in known)

    def _words(self, reading: Reading, tool: Tool, used: set[int], values: Collection[str]) -> list[str]:
        """What rows may be called by, once for each of several names that stand side by side.

        `values` are stems of what parameters take: no names.
        """
        if not any(slot.producer for slot in tool.slots):
            return [""]
        known = (tool.questions.vocabulary | tool.questions.own) if tool.questions else tool.vocabulary
        known |= self.index.concepts
        strange = (item for item in reading.items if not set(item.concepts) <= known)
        lows = [token.low for token in reading.tokens]
        named = (
            item
            for item in strange
            if not (lows[item.first] in NO_NAMES or lows[item.first].endswith("n't"))
            and reading.tokens[item.first].stem not in values
        )
        runs = _runs(named, used)
        runs = [run for run in runs if self._may_name(run, reading)]
        names = [text_between(reading.tokens, run.first, run.last).lower() for run in runs]
        coupled = [
            i
            for i, (run, after) in enumerate(pairwise(runs))
            if _side_by_side(reading.tokens[run.last + 1 : after.first])
        ]
        if not coupled:
            return [", ".join(names)]
        group = range(coupled[0], coupled[-1] + 2)
        rest = [name for i, name in enumerate(names) if i not in group]
        return [", ".join([names[i], *rest]) for i in group]


def _runs(items: Iterable[Item], used: set[int]) -> list[Item]:
    """Items side by side as one."""
    runs: list[Item] = []
    for item in items:
        if used & set(range(item.first, item.last + 1)):
            continue
        if runs and item.first == runs[-1].last + 1:
            runs[-1] = Item(runs[-1].concepts + item.concepts, runs[-1].first, item.last)
        else:
            runs.append(item)
    return runs


def _searched(
    questions: Questions, reading: Reading, args: dict[str, Json], used: set[int], without: frozenset[int]
) -> None:
    """What is to be searched for, where quotes or a word such as `containing` say so."""
    slot = _search_slot(questions)
    if slot is None or slot.name in args:
        return
    tokens = reading.tokens
    quoted = [i for i in reading.values if tokens[i].kind == "quoted" and i not in used | without]
    strange = (item for item in reading.items if not set(item.concepts) <= questions.vocabulary)
    spans = [(i, i) for i in quoted]
    for run in _runs(strange, used | without):
        before = next((token.low for token in reversed(tokens[: run.first]) if token.low not in _ARTICLES), "")
        if tokens[run.first].low in _SEARCHING:
            spans.append((run.first + 1, run.last))
        elif before in _SEARCHING:
            spans.append((run.first, run.last))
    for first, last in spans[:1]:
        if first <= last:
            args[slot.name] = tokens[first].value if first == last and quoted else text_between(tokens, first, last)
            used.update(range(first, last + 1))


def _search_slot(questions: Questions) -> Slot | None:
    return next((s for s in questions.slots if s.name in questions.free and s.words & _SEARCHED), None)


def _is_stretch(tokens: Sequence[Token]) -> bool:
    """Whether it is a number and a unit of time."""
    return tokens[0].kind == "number" and not _TIMES.isdisjoint(token.stem for token in tokens[1:])


def _classes(tokens: Sequence[Token]) -> list[int]:
    """The tokens that name classes of errors."""
    return [i for i, token in enumerate(tokens) if is_class(token)]


def _said(tokens: Sequence[Token]) -> str:
    return text_between(tokens, 0, len(tokens) - 1) if tokens else ""


def _agreement(questions: Questions, ask: Ask, known: frozenset[str], reading: Reading, placed: _Placed) -> float:
    """How well a question and what is known of the prompt cover each other; values count as words do."""
    weights = questions.weights
    both = sum(weights[name] for name in known & ask.concepts)
    weak = sum(weights[name] for name in (known & questions.vocabulary) - ask.concepts)
    said = sum(weights.get(name, 1.0) for name in known) + _STRANGE * len(reading.said - known)
    recall = (both + placed.typed) / ((questions.totals[ask] + placed.typed) or 1.0)
    recall *= 1.0 if ask.concepts & NARROWING <= known else _HALF
    precision = (both + _WEAK * weak + placed.typed) / ((said + placed.typed) or 1.0)
    return 2 * recall * precision / ((recall + precision) or 1.0)


def _negated(tokens: Sequence[Token], *, verbs: bool = True) -> frozenset[int]:
    """What the prompt does not want: `not in checkout`, and for values of `verbs` also `aren't resolved`."""
    found: set[int] = set()
    for i, token in enumerate(tokens):
        other = token.low == "than" and i and tokens[i - 1].low in {"other", "rather"}
        if token.low in _WITHOUT or other or (verbs and token.low.endswith("n't")):
            found.update(range(i, min(i + _SCOPE + 1, len(tokens))))
    return frozenset(found)


def _before_last(tokens: Sequence[Token], window: Window) -> bool:
    """`the previous week` ended when the last one began."""
    return any(token.low in _ENDED for token in tokens[window.first : window.last + 1])


def _is_surely(value: Value, slot: Slot) -> bool:
    """Whether the only value that is left is for the only parameter that needs one."""
    if value.kind == "plain":
        return bool(slot.words & _SEARCHED)
    return value.kind != "number" or slot.type != "string"


def _stands_alone(value: Value, tokens: Sequence[Token]) -> bool:
    """Not a part of a date, an expression or an address: `March 1st`, `3x^2`, `12 Park Street`."""
    first, last = tokens[value.first], tokens[value.last]
    before, after = tokens[max(0, value.first - 1) : value.first], tokens[value.last + 1 : value.last + 2]
    if any(token.low in _MONTHS for token in (*before, *tokens[value.first : value.last + 1], *after)):
        return False
    if value.kind != "number":
        return not (value.kind == "name" and any(token.kind == "number" for token in before))
    touches = any(t.end == first.start and t.text != "(" for t in before) or any(
        t.start == last.end and t.text not in ".,;:?!)" for t in after
    )
    return not (touches or any(t.spelled for t in after))


_MONTHS = bag(
    """january february march april may june july august september october november december jan feb mar apr jun jul aug
    sep sept oct nov dec monday tuesday wednesday thursday friday saturday sunday am pm a.m p.m"""
)


def _side_by_side(between: Sequence[Token]) -> bool:
    return all(t.low in _BESIDE for t in between) and any(t.low in _COUPLES for t in between)
