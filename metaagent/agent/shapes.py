"""Replay: a plan that answered one question answers the next of the same *shape*, with that one's values; pure.

1. A question is read as *pieces*: words, typed values, and stretches of time. Politeness and articles are left out.
2. `lift` makes a *hole* of each value that stands whole both in the question and in the plan, for a parameter that such
   a value surely belongs to. All else is fixed text.
3. `match` wants the same fixed text in the same order, and in each hole a value of the same kind that the parameter's
   schema takes. As many pieces as before: nothing more was asked, nothing less.

Fixed text is compared word by word as written. Order tells who does what to whom, and endings tell much: an error is
one and errors are many, a reporter is no report, a resolved issue is not to be resolved. Only after a number, which
says how many, the plural is no matter. A wrong replay is worse than none: what is in doubt is kept fixed, or not kept.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from hashlib import sha256
from operator import eq
from typing import Final

from metaagent.agent.plan import Plan, Ref, Step, Unplanned, read_plan
from metaagent.agent.router import LONGEST_PROMPT, MOST_TOKENS, asks_change
from metaagent.agent.slots import COUNTED, MISSING, Slot, Value, affinity, allowed, period, read_slot
from metaagent.agent.spans import NUMERALS, Token, Window, is_vague, lex, text_between, windows
from metaagent.agent.words import FILLER, NO_NAMES, bag, split_identifier, stem, stem_bag, stems
from providers.spec import Effect, Json, ToolSpec

# --- values ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a plan a value goes, and what it must be for it."""

    step: int
    param: str
    item: int | None
    """The place in a list, when the argument is one."""
    kind: str
    """What the prompt must hold here: the kind of a token, `name`, `choice`, `known` or `window`."""
    form: str
    """How the prompt's text becomes the argument: a key of `_FORMS`, or of `_HOURS` for a window."""


@dataclass(frozen=True, slots=True)
class Hole:
    """One value that may be another one next time."""

    size: int
    """How many pieces it is long."""
    places: tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class Shape:
    """A question with holes, and the plan with the same holes."""

    text: tuple[str | int, ...]
    """Fixed pieces; a number is a hole."""
    holes: tuple[Hole, ...]
    plan: Plan
    """None stands where values go."""
    fixed: tuple[str | None, ...] = field(init=False, repr=False, compare=False)
    """The question piece by piece; None in holes."""
    told: int = field(init=False, repr=False, compare=False)
    """How many pieces are fixed."""
    spans: tuple[tuple[int, int], ...] = field(init=False, repr=False, compare=False)
    """The first piece of each hole, each time it stands in the question."""

    def __post_init__(self) -> None:
        fixed: list[str | None] = []
        spans = []
        for part in self.text:
            if isinstance(part, int):
                spans.append((part, len(fixed)))
            fixed += [part] if isinstance(part, str) else [None] * self.holes[part].size
        object.__setattr__(self, "fixed", tuple(fixed))
        object.__setattr__(self, "told", len(fixed) - fixed.count(None))
        object.__setattr__(self, "spans", tuple(spans))

    def fits(self, keys: Sequence[str]) -> bool:
        """Whether a question of these pieces has all of the fixed text, and nothing besides but what is in holes."""
        return len(keys) == len(self.fixed) and sum(map(eq, self.fixed, keys)) == self.told

    def payload(self) -> Json:
        """As it is kept."""
        holes = [
            {"size": hole.size, "places": [[p.step, p.param, p.item, p.kind, p.form] for p in hole.places]}
            for hole in self.holes
        ]
        return {"text": list(self.text), "holes": holes, "plan": self.plan.payload()}


_MOST_HOLES = 16
_MOST_PIECES = 60
_MOST_LEAVES = 60
"""Nobody asks a longer question twice, and the work for a plan stays bounded."""
_LONGEST_HOLE = 4
_LONGEST_PIECE = 400
_HOURS: Final = {"h": 1, "d": 24, "w": 168}
_FORMS: Final[Mapping[str, Callable[[str], str]]] = {
    "": str,
    "bare": lambda text: text.removeprefix("#"),
    "upper": str.upper,
    "lower": str.lower,
}
_CASES: Final = ("", "bare", "upper", "lower")


def read_shape(kept: Json) -> Shape | None:
    """A shape from what was kept, or None when that is none: it has been where others write."""
    match kept:
        case {"text": list(text), "holes": list(holes), "plan": Mapping() as planned}:
            pass
        case _:
            return None
    if not 1 <= len(text) <= _MOST_PIECES or len(holes) > _MOST_HOLES:
        return None
    try:
        plan = read_plan(planned)
    except Unplanned:
        return None
    known = tuple(hole for kept_hole in holes if (hole := _read_hole(kept_hole, plan)) is not None)
    if len(known) != len(holes) or not all(_is_part(part, len(known)) for part in text):
        return None
    used = [part for part in text if isinstance(part, int)]
    if set(used) != set(range(len(known))):
        return None
    return Shape(tuple(text), known, plan)


def _is_part(part: Json, holes: int) -> bool:
    if isinstance(part, str):
        return len(part) <= _LONGEST_PIECE
    return type(part) is int and 0 <= part < holes


def _read_hole(kept: Json, plan: Plan) -> Hole | None:
    match kept:
        case {"size": int(size), "places": [_, *_] as places} if 1 <= size <= _LONGEST_HOLE:
            found = tuple(place for one in places if (place := _read_place(one, plan)) is not None)
            return Hole(size, found) if len(found) == len(places) else None
    return None


def _read_place(kept: Json, plan: Plan) -> Place | None:
    match kept:
        case [int(step), str(param), int() | None as item, str(kind), str(form)] if 0 <= step < len(plan.steps) and (
            form in _FORMS or form in _HOURS
        ):
            arg = plan.steps[step].args.get(param, MISSING)
            if item is not None and isinstance(arg, list) and 0 <= item < len(arg):
                arg = arg[item]
            elif item is not None:
                return None
            return Place(step, param, item, kind, form) if arg is None else None
    return None


# --- reading questions -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Piece:
    """A word, a typed value or a mark."""

    kind: str
    """`name` for a word or hyphened words, `joined` for other things written without a space, `window`, `punct`, or the
    kind of a token; that of a number with its unit (`number%`), that of a date with its length."""
    key: str
    """What is compared where it is fixed text."""
    text: str
    value: Json
    """A `Window` for one."""
    first: int
    last: int
    """Its tokens."""


_POLITE = bag("please pls plz kindly thanks thank thx cheers hi hey hello")
_MAY_YOU = bag("can could would will")
_SHOWING = bag("show give get tell list find bring send fetch")
_SHOWS = bag("give get gimme")
_SAID_OF = bag("what who where when why how that there here it")
"""Words after which 's is a short form of `is`."""
_ARTICLES = bag("the a an")
_CLOSING = frozenset(".,!?")
_NO_LENGTH = bag("since previous recent")
"""Words that make of a stretch of time something else than one that ends now."""
_WINDOW_WORDS = bag("in over during within for from of on the these this")


@dataclass(frozen=True, slots=True)
class _Question:
    tokens: tuple[Token, ...]
    pieces: tuple[_Piece, ...]


def _read(prompt: str) -> _Question | None:
    """The question; None when it is too long, or holds what cannot be compared."""
    if len(prompt) > LONGEST_PROMPT:
        return None
    tokens = lex(prompt)
    if not tokens or len(tokens) > MOST_TOKENS:
        return None
    marks = [0, *(token.end for token in tokens)], [*(token.start for token in tokens), len(prompt)]
    gaps = [prompt[end:start].strip() for end, start in zip(*marks, strict=True)]
    if any(gap not in {"", "'s", "\u2019s"} for gap in gaps):
        return None
    pieces = tuple(_without_politeness(list(_pieces(prompt, tokens, gaps))))
    return _Question(tokens, pieces) if 0 < len(pieces) <= _MOST_PIECES else None


def _pieces(prompt: str, tokens: Sequence[Token], gaps: Sequence[str]) -> Iterator[_Piece]:
    stretches = {
        window.first: window
        for window in windows(prompt, tuple(tokens))
        if not (is_vague(window, tokens) or _NO_LENGTH & {t.low for t in tokens[window.first : window.last + 1]})
    }
    i, before = 0, ""
    while i < len(tokens):
        window = stretches.get(i)
        if window:
            last = window.last
            words = [token.low for token in tokens[i : last + 1]]
            told = next((n for n, word in enumerate(words) if word not in _WINDOW_WORDS - {"this"}), 0)
            text = text_between(tokens, i, last)
            found = [_Piece("window", " ".join(words[told:]), text, window, i, last)]
        else:
            last = i
            while last + 1 < len(tokens) and last + 1 not in stretches and tokens[last + 1].start == tokens[last].end:
                last += 1
            found = list(_written_together(tokens, i, last))
        for piece in found:
            yield _singular(piece) if before.startswith("number") else piece
            before = piece.kind
        if gaps[last + 1]:
            said = "is" if tokens[last].low in _SAID_OF else "'s"
            yield _Piece("punct", said, said, None, last, last)
        i = last + 1


def _written_together(tokens: Sequence[Token], first: int, last: int) -> Iterator[_Piece]:
    """The pieces of tokens that no space divides: marks around them stand alone, what is inside is one."""
    start, stop = first, last
    while start < stop and tokens[start].kind == "punct":
        start += 1
    while stop > start and tokens[stop].kind == "punct":
        stop -= 1
    yield from (_piece(tokens[i], i) for i in range(first, start))
    if start == stop:
        yield _piece(tokens[start], start)
    else:
        inside = tokens[start : stop + 1]
        hyphened = all((t.kind, t.text) == ("punct", "-") if n % 2 else t.kind == "word" for n, t in enumerate(inside))
        text = "".join(token.text for token in inside)
        yield _Piece("name" if hyphened else "joined", text.lower(), text, text, start, stop)
    yield from (_piece(tokens[i], i) for i in range(stop + 1, last + 1))


def _piece(token: Token, i: int) -> _Piece:
    match token.kind:
        case "word":
            return _Piece("name", token.low, token.text, token.text, i, i)
        case "punct":
            return _Piece("punct", token.text, token.text, None, i, i)
        case "number":
            unit = "" if token.text in NUMERALS else re.sub(r"[\d.,+-]", "", token.text)
            unit = "th" if unit in {"st", "nd", "rd"} else unit
            return _Piece(f"number{unit}", f"{token.value}{unit}", token.text, token.value, i, i)
        case "date":
            return _Piece(f"date{len(token.text)}", token.text, token.text, token.value, i, i)
        case kind:
            return _Piece(kind, token.text, token.text, token.value, i, i)


def _singular(piece: _Piece) -> _Piece:
    many = piece.kind == "name" and piece.key.endswith("s") and not piece.key.endswith("ss")
    return replace(piece, key=piece.key[:-1]) if many else piece


def _without_politeness(pieces: Sequence[_Piece]) -> list[_Piece]:
    kept: list[_Piece] = []
    thanked = False
    for i, piece in enumerate(pieces):
        before = kept[-1].key if kept else ""
        polite = piece.kind == "name" and (piece.key in _POLITE or (thanked and piece.key == "you"))
        if polite and before == ",":
            kept.pop()
        if polite or (piece.key == "," and (thanked or not kept)):
            thanked = True
            continue
        thanked = False
        if piece.key in {"me", "us"} and before in _SHOWING:
            kept[-1] = replace(kept[-1], key="show" if before in _SHOWS else before)
        elif not (piece.kind == "name" and piece.key in _ARTICLES and _is_article(piece, pieces[i + 1 : i + 2])):
            kept.append(replace(piece, key="show") if piece.key == "gimme" else piece)
    while [p.key for p in kept[1:2]] == ["you"] and kept[0].key in _MAY_YOU:
        del kept[:2]
    while kept and kept[-1].kind == "punct" and kept[-1].key in _CLOSING:
        kept.pop()
    return kept


def _is_article(piece: _Piece, after: Sequence[_Piece]) -> bool:
    """Not `vitamin a`, and not `project A fails`."""
    if not after or after[0].kind == "punct":
        return False
    return piece.key == "the" or ((piece.text.islower() or piece.first == 0) and after[0].key not in FILLER)


# --- a value in a place ----------------------------------------------------------------------------------------------

_CHECKED = bag(
    "type title description default examples enum minLength maxLength minimum maximum pattern format deprecated"
)
"""The keywords of a schema by which a value is fully judged here; with any other a parameter takes no value."""
_FORMATS = bag("email idn-email uri url date date-time")
_TYPED = bag("code release version email url path domain quoted")
_INTRODUCING = bag("in of for from on at by with to under inside within about between versus vs and or compare against")
"""Words after which the name of a row may stand."""
_NUMBERED = re.compile(r"[A-Z][A-Z0-9_-]*-[0-9A-Z]+")
"""`CHECKOUT-1A`: where no pattern tells codes apart, their looks do."""
_BY_WORDS = 2.5
"""The least affinity by which the words around a value say which parameter it is for."""


def _slot(tool: ToolSpec, param: str, item: int | None) -> Slot | None:
    """What the place takes; None when that is no plain value, or one that cannot be judged here."""
    return _slots(tool).get((param, item is not None))


@lru_cache(maxsize=4_096)
def _slots(tool: ToolSpec) -> Mapping[tuple[str, bool], Slot]:
    found = {}
    for name, schema in tool.params.items():
        inner = schema.get("items")
        for listed, said in ((False, schema), (True, inner if schema.get("type") == "array" else None)):
            if not isinstance(said, Mapping) or not said.keys() <= _CHECKED:
                continue
            slot = read_slot(name, said, required=name in tool.required, producer=tool.producers.get(name))
            judged = said.get("format", "date") in _FORMATS and (slot.pattern is not None or "pattern" not in said)
            if judged and slot.type in {"string", "integer", "number"}:
                found[name, listed] = slot
    return found


@lru_cache(maxsize=256)
def _vocabulary(tools: tuple[ToolSpec, ...]) -> frozenset[str]:
    """The stems of what these tools are about: nobody's project goes by these words."""
    texts = [text for tool in tools for text in (*tool.asks, tool.summary, *map(_words, (tool.name, *tool.params)))]
    slots = [slot for tool in tools for slot in _slots(tool).values()]
    values = frozenset(root for slot in slots for words, _ in (*slot.choices, *slot.known) for root in words)
    return values.union(*(stems(re.sub(r"\{\w*\}", " ", text)) for text in texts))


def _words(name: str) -> str:
    return " ".join(split_identifier(name))


def _kind(span: Sequence[_Piece], slot: Slot, vocabulary: frozenset[str]) -> str:
    """What the pieces are as a value for this slot; empty when they are none."""
    first = span[0]
    alone = len(span) == 1
    if alone and (first.kind == "window" or first.kind.startswith("number")):
        return first.kind
    if "enum" in slot.schema:
        return "choice"
    if alone and first.kind == "name" and _known(slot, first) is not MISSING:
        return "known"
    if alone and (first.kind in _TYPED or first.kind.startswith("date")):
        numbered = first.kind == "code" and slot.pattern is None and _NUMBERED.fullmatch(first.text.upper())
        return f"{first.kind}-" if numbered else first.kind
    if any(piece.kind != "name" or piece.key in NO_NAMES or piece.key.endswith("n't") for piece in span):
        return ""
    strange = [any(stem(word) not in vocabulary for word in piece.key.split("-")) for piece in span]
    spelled = all(new or piece.text[0].isupper() for new, piece in zip(strange, span, strict=True))
    return "name" if any(strange) and spelled else ""


def _known(slot: Slot, piece: _Piece) -> Json:
    return next((value for words, value in slot.known if words == (stem(piece.key),)), MISSING)


def _value(span: Sequence[_Piece], slot: Slot, kind: str, form: str) -> Json:
    """What the pieces are as an argument, or MISSING."""
    first = span[0]
    found: Json = MISSING
    if kind == "window":
        found = _period(slot, first.value, form)
    elif kind == "choice":
        said = _text(span).casefold()
        found = next((c for c in slot.schema["enum"] if isinstance(c, str) and c.casefold() == said), MISSING)
    elif kind == "known":
        found = _known(slot, first)
    elif kind.startswith("number") and slot.type != "string":
        whole = float(first.value).is_integer()
        found = int(first.value) if whole and slot.type == "integer" else first.value
        found = found if whole or slot.type == "number" else MISSING
    elif slot.type == "string":
        found = _cased(_text(span), slot, form, kind)
    if found is MISSING or (isinstance(found, str) and found.startswith("$.")):
        return MISSING
    listed = slot.schema.get("enum")
    return found if allowed(slot, found, re.sub(r"[\d-]+$", "", kind)) and (not listed or found in listed) else MISSING


def _text(span: Sequence[_Piece]) -> str:
    return str(span[0].value) if span[0].kind == "quoted" else " ".join(piece.text for piece in span)


def _cased(text: str, slot: Slot, form: str, kind: str) -> Json:
    """As it is written, unless the plan or the schema wants it otherwise."""
    if form or slot.pattern is None or kind == "quoted":
        return _FORMS[form](text) if form in _FORMS else MISSING
    return next((found for case in _CASES if allowed(slot, found := _FORMS[case](text), kind)), MISSING)


def _period(slot: Slot, window: Window, unit: str) -> Json:
    if not unit:
        return period(slot, window) or MISSING
    hours = round(window.length.total_seconds() / 3600)
    if unit not in _HOURS or hours % _HOURS[unit] or period(slot, window) is None:
        return MISSING
    return f"{hours // _HOURS[unit]}{unit}"


# --- lifting ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class _Leaf:
    """A plain value of a plan."""

    step: int
    param: str
    item: int | None
    slot: Slot | None
    """None: not a place that a value may be put into."""
    json: Json


@dataclass(slots=True)
class _Lifted:
    """A value on its way to be a hole."""

    spans: list[tuple[int, int]]
    """Its places in the question: the first piece, and how many."""
    leaves: dict[_Leaf, Place]


def lift(prompt: str, plan: Plan, tools: Mapping[str, ToolSpec]) -> Shape | None:
    """The shape of a question that this plan answered; None when the plan must not be kept."""
    question = _read(prompt)
    if question is None or not _may_run(plan, tools) or asks_change(question.tokens) or _leans(question.pieces):
        return None
    leaves = [leaf for number, step in enumerate(plan.steps) for leaf in _leaves(number, step, tools[step.tool])]
    if len(leaves) > _MOST_LEAVES:
        return None
    paths = [arg.path for step in plan.steps for arg in step.args.values() if isinstance(arg, Ref)]
    lifted = _firm(_liftable(question, leaves, plan, tools), question.pieces, leaves, paths)
    fixed = [leaf for leaf in leaves if not any(leaf in each.leaves for each in lifted)]
    said = _plain(prompt)
    if not all(_lasts(leaf.json, leaf.slot, leaf.param, said, question.pieces) for leaf in fixed):
        return None
    if not all(_text_lasts(part, said) for path in paths for part in _literals(path)):
        return None
    inside = {i for each in lifted for start, size in each.spans for i in range(start, start + size)}
    if not any(p.kind == "name" and p.key not in FILLER for i, p in enumerate(question.pieces) if i not in inside):
        return None
    if not lifted and not all(_serves(piece, leaves, paths) for piece in question.pieces):
        return None
    return _shape(question.pieces, lifted, plan)


def _may_run(plan: Plan, tools: Mapping[str, ToolSpec]) -> bool:
    return all(
        (tool := tools.get(step.tool)) is not None
        and tool.effect is Effect.READ
        and step.args.keys() <= tool.params.keys()
        for step in plan.steps
    )


_POINTING = bag("this these those")
_PRONOUNS = bag("it they them same again he she him her his former latter")
_JOINTS = bag("and but or because when while then , : ; . ? !")
_OF_DAYS = bag("morning afternoon evening year quarter")


def _leans(pieces: Sequence[_Piece]) -> bool:
    """Whether it means something only after another question: `and for that project?`.

    A pronoun may mean what this very question has named, in another part of it.
    """
    named = joined = False
    keys = ["", *(piece.key for piece in pieces), ""]
    for i, piece in enumerate(pieces, start=1):
        joined = joined or (named and piece.key in _JOINTS)
        if piece.kind == "name" and (
            (piece.key in _POINTING and keys[i + 1] not in _OF_DAYS)
            or (piece.key in _PRONOUNS and not joined)
            or (piece.key == "that" and (not keys[i - 1] or keys[i - 1] in FILLER))
        ):
            return True
        named = named or (piece.kind != "punct" and piece.key not in FILLER)
    return False


def _leaves(number: int, step: Step, tool: ToolSpec) -> Iterator[_Leaf]:
    for param, arg in step.args.items():
        if isinstance(arg, list):
            for i, one in enumerate(arg):
                yield from _within(number, param, i, one, _slot(tool, param, i))
        elif not isinstance(arg, Ref):
            yield from _within(number, param, None, arg, _slot(tool, param, None))


def _within(number: int, param: str, item: int | None, arg: Json, slot: Slot | None) -> Iterator[_Leaf]:
    """The values inside an object, or a list in a list, stay what they are; so do its keys."""
    if isinstance(arg, Mapping):
        for name, value in arg.items():
            yield from _within(number, f"{param}.{name}", item, value, None)
    elif isinstance(arg, list):
        for value in arg:
            yield from _within(number, param, item, value, None)
    else:
        yield _Leaf(number, param, item, slot, arg)


def _liftable(question: _Question, leaves: Sequence[_Leaf], plan: Plan, tools: Mapping[str, ToolSpec]) -> list[_Lifted]:
    """What may become holes: the longest first, none over another."""
    vocabulary = _vocabulary(tuple(tools.values()))
    found: dict[tuple[tuple[int, int], ...], dict[_Leaf, Place]] = {}
    for leaf in leaves:
        spans = [
            (start, size, place)
            for size in {1, min(len(str(leaf.json).split()), _LONGEST_HOLE)} - {0}
            for start in range(len(question.pieces) - size + 1)
            if (place := _stands(question, start, size, leaf, vocabulary)) is not None
        ]
        kinds = {(size, place.kind, place.form) for _, size, place in spans}
        tool = tools[plan.steps[leaf.step].tool]
        if len(kinds) == 1 and any(_belongs(question, start, size, leaf, tool) for start, size, _ in spans):
            where = tuple((start, size) for start, size, _ in spans)
            found.setdefault(where, {})[leaf] = spans[0][2]
    taken: set[int] = set()
    lifted = []
    for where, places in sorted(found.items(), key=lambda pair: (-pair[0][0][1], pair[0])):
        covered = {i for start, size in where for i in range(start, start + size)}
        if not covered & taken:
            taken |= covered
            lifted.append(_Lifted(list(where), places))
    return lifted


def _stands(question: _Question, start: int, size: int, leaf: _Leaf, vocabulary: frozenset[str]) -> Place | None:
    """The place of this leaf when these pieces give exactly its value."""
    if leaf.slot is None or not isinstance(leaf.json, str | int | float):
        return None
    span = question.pieces[start : start + size]
    kind = _kind(span, leaf.slot, vocabulary)
    if not kind:
        return None
    for form in ("", *(_HOURS if kind == "window" else _CASES)):
        found = _value(span, leaf.slot, kind, form)
        if type(found) is type(leaf.json) and found == leaf.json:
            return Place(leaf.step, leaf.param, leaf.item, kind, form)
    return None


def _belongs(question: _Question, start: int, size: int, leaf: _Leaf, tool: ToolSpec) -> bool:
    """Whether another value that stood here would surely be for this parameter too."""
    slot = leaf.slot
    if slot is None:
        return False
    span = question.pieces[start : start + size]
    kind = span[0].kind
    before = question.pieces[start - 1] if start else None
    after = question.pieces[start + size] if start + size < len(question.pieces) else None
    if kind.startswith("number") and slot.counts:
        led = before is not None and (before.key in COUNTED or stem(before.key) in slot.words)
        return led or (after is not None and stem(after.key) in _vocabulary((tool,)))
    unformed = kind == "name" or (kind.startswith("number") and slot.type == "string" and slot.pattern is None)
    if not unformed or "enum" in slot.schema or (size == 1 and _known(slot, span[0]) is not MISSING):
        return True
    if slot.producer is not None and before is not None and before.key in _INTRODUCING:
        return True
    text = _text(span)
    return affinity(slot, Value(span[0].first, span[-1].last, "plain", text, text), question.tokens) >= _BY_WORDS


def _firm(
    lifted: list[_Lifted], pieces: Sequence[_Piece], leaves: Sequence[_Leaf], paths: Sequence[str]
) -> list[_Lifted]:
    """Those that nothing which stays in the plan depends on, as far as can be told."""
    while True:
        fixed = [leaf for leaf in leaves if not any(leaf in each.leaves for each in lifted)]
        kept = [each for each in lifted if not _entangled(each, pieces, fixed, paths)]
        if len(kept) == len(lifted):
            return kept[:_MOST_HOLES]
        lifted = kept


_RELATIVE = re.compile(r"(?:now)?[-+]?\d{1,4}\s?[a-zA-Z]{1,3}|P(?:T?\d{1,4}[A-Z])+")
"""A stretch of time up to now: as true tomorrow as today."""


def _entangled(lifted: _Lifted, pieces: Sequence[_Piece], fixed: Sequence[_Leaf], paths: Sequence[str]) -> bool:
    """Whether something that stays repeats the value, is a part of it, or was worked out from it."""
    params = {leaf.param for leaf in lifted.leaves}
    start, size = lifted.spans[0]
    kind = pieces[start].kind
    if kind == "window" and any(isinstance(leaf.json, str) and _RELATIVE.fullmatch(leaf.json) for leaf in fixed):
        return True
    if kind == "window" or kind.startswith("number"):
        if len(params) > 1 or any(leaf.param in params and leaf.json != 1 for leaf in fixed):
            return True
        if any(
            leaf.json == value.json and not isinstance(leaf.json, bool) for leaf in fixed for value in lifted.leaves
        ):
            return True
    texts = {_plain(str(leaf.json)) for leaf in lifted.leaves} | {_plain(_text(pieces[start : start + size]))}
    stays = [_plain(leaf.json) for leaf in fixed if isinstance(leaf.json, str) and not _is_choice(leaf.slot, leaf.json)]
    return any(
        text in kept or (kept.strip() and kept in text) for text in texts for kept in (*stays, *map(_plain, paths))
    )


_WORDS = re.compile(r"[^\W_]+")


def _plain(text: str) -> str:
    """Its words in small letters with a space around each, so that `in` finds whole words."""
    return " ".join(["", *_WORDS.findall(text.casefold()), ""])


def _is_choice(slot: Slot | None, json: Json) -> bool:
    return slot is not None and json in slot.schema.get("enum", ())


_CALENDAR = bag("date day week month quarter year time timestamp epoch since until before after from to start end")
_IDENTIFYING = stem_bag("id identifier uuid guid key token slug handle cursor")
_DAYS_AND_MONTHS = bag(
    """monday tuesday wednesday thursday friday saturday sunday january february march april may june july august
    september october november december today tomorrow yesterday"""
)
_LEAST_ID = 10**8
_YEARS = range(1900, 2101)
_AGES = bag("date release version code email url")
"""Kinds of values that say one thing of one day: a constant of such a kind was not meant for other questions."""


def _lasts(json: Json, slot: Slot | None, param: str, said: str, pieces: Sequence[_Piece]) -> bool:
    """Whether a constant of the plan is as right tomorrow, and for everybody who asks the same."""
    if json is None or isinstance(json, bool) or _is_choice(slot, json):
        return True
    words = frozenset(split_identifier(param))
    if isinstance(json, int | float):
        if any(piece.kind.startswith("number") and piece.value == json for piece in pieces):
            return True
        stale = words & _CALENDAR or frozenset(map(stem, words)) & _IDENTIFYING
        return not (stale or abs(json) >= _LEAST_ID or json in _YEARS)
    text = str(json)
    if _plain(text).strip() and _plain(text) in said:
        return True
    if _RELATIVE.fullmatch(text):
        return True
    row = (slot is not None and slot.producer is not None) or frozenset(map(stem, words)) & _IDENTIFYING
    return not row and _text_lasts(text, said)


def _text_lasts(text: str, said: str) -> bool:
    for token in lex(text):
        if token.kind == "number":
            large = abs(token.value) >= _LEAST_ID or token.value in _YEARS
            if large and _plain(token.text) not in said:
                return False
        telling = token.kind in _AGES and (token.kind != "code" or re.search(r"\d", token.text))
        if (telling or token.low in _DAYS_AND_MONTHS) and _plain(token.text) not in said:
            return False
    return (
        not re.search(r"\d{4}-\d|\d{1,2}[/.]\d{1,2}[/.]\d{2,4}|\d{1,2}:\d\d|[0-9a-fA-F]{16}", text)
        or _plain(text) in said
    )


def _literals(path: str) -> Iterator[str]:
    """The values that a path compares with."""
    for found in re.finditer(r"'([^']*)'|\"([^\"]*)\"|(?<![\w.])-?\d+(?:\.\d+)?", path):
        yield found[1] or found[2] or found[0]


def _serves(piece: _Piece, leaves: Sequence[_Leaf], paths: Sequence[str]) -> bool:
    """Whether a value of the question, if it is one, is in the plan at all."""
    if piece.kind in {"name", "punct", "window"} or (piece.kind == "joined" and not re.search(r"\d", piece.text)):
        return True
    text = _plain(str(piece.value) if piece.kind.startswith("number") else _text([piece]))
    return any(text in _plain(each) for each in (*(str(leaf.json) for leaf in leaves), *paths))


def _shape(pieces: Sequence[_Piece], lifted: Sequence[_Lifted], plan: Plan) -> Shape:
    lifted = sorted(lifted, key=lambda each: each.spans[0])
    opens = {start: number for number, each in enumerate(lifted) for start, _ in each.spans}
    holes = tuple(Hole(each.spans[0][1], tuple(each.leaves.values())) for each in lifted)
    text: list[str | int] = []
    i = 0
    while i < len(pieces):
        text.append(opens.get(i, pieces[i].key))
        i += holes[opens[i]].size if i in opens else 1
    blank = [(place, None) for hole in holes for place in hole.places]
    return Shape(tuple(text), holes, _filled(plan, blank))


def _filled(plan: Plan, values: Iterable[tuple[Place, Json]]) -> Plan:
    """The plan with these values in these places."""
    args = [dict(step.args) for step in plan.steps]
    for place, value in values:
        if place.item is None:
            args[place.step][place.param] = value
        else:
            listed: Json = args[place.step][place.param]
            args[place.step][place.param] = [*listed[: place.item], value, *listed[place.item + 1 :]]
    return replace(plan, steps=tuple(replace(s, args=a) for s, a in zip(plan.steps, args, strict=True)))


# --- matching --------------------------------------------------------------------------------------------------------


def match(prompt: str, shapes: Iterable[Shape], tools: Mapping[str, ToolSpec]) -> Plan | None:
    """The one plan kept for questions like this, with this one's values; None when there is none, or more than one."""
    question = _read(prompt)
    if question is None:
        return None
    keys = tuple(piece.key for piece in question.pieces)
    found: Plan | None = None
    for shape in shapes:
        plan = _with_values(shape, question.pieces, tools) if shape.fits(keys) else None
        if plan is not None and found is not None and plan != found:
            return None
        found = plan or found
    return found


def _with_values(shape: Shape, pieces: Sequence[_Piece], tools: Mapping[str, ToolSpec]) -> Plan | None:
    if not _may_run(shape.plan, tools):
        return None
    vocabulary = _vocabulary(tuple(tools.values()))
    values: dict[Place, Json] = {}
    for number, start in shape.spans:
        hole = shape.holes[number]
        span = pieces[start : start + hole.size]
        for place in hole.places:
            slot = _slot(tools[shape.plan.steps[place.step].tool], place.param, place.item)
            if slot is None or _kind(span, slot, vocabulary) != place.kind:
                return None
            value = _value(span, slot, place.kind, place.form)
            if value is MISSING or values.setdefault(place, value) != value:
                return None
    return _filled(shape.plan, values.items())


# --- the manifest ----------------------------------------------------------------------------------------------------


@lru_cache(maxsize=256)
def manifest_digest(tools: tuple[ToolSpec, ...]) -> str:
    """The SHA-256 of all that a plan depends on in these tools, in hexadecimal; their order does not matter."""
    described = [
        {
            "name": tool.name,
            "summary": tool.summary,
            "params": tool.params,
            "required": sorted(tool.required),
            "effect": tool.effect.value,
            "scopes": sorted(tool.scopes),
            "producers": {
                name: [found.tool, found.field, list(found.names), found.pick] for name, found in tool.producers.items()
            },
        }
        for tool in sorted(tools, key=lambda tool: tool.name)
    ]
    body = json.dumps(described, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=dict)
    return sha256(body.encode("utf-8", "surrogatepass")).hexdigest()
