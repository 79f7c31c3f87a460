"""A tool's parameters, and which value of a prompt fills which: only where one reading is clearly the best."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, Protocol

from metaagent.agent.spans import Kind, Token, Window, lex, text_between
from metaagent.agent.words import FILLER_STEMS, GENERIC_STEMS, bag, split_identifier, stem, stem_bag, stems
from providers.spec import Json, Producer

MISSING = object()
"""Says that a value cannot fill a slot; None is a value."""


class Schemas(Protocol):
    """What of a tool describes its parameters; see `providers.spec.ToolSpec`."""

    @property
    def params(self) -> Mapping[str, Mapping[str, Json]]:
        """JSON Schema of each parameter by name."""

    @property
    def required(self) -> Collection[str]:
        """The parameters that must be given."""

    @property
    def producers(self) -> Mapping[str, Producer]:
        """Where else the values of parameters are found."""


@dataclass(frozen=True, slots=True)
class Slot:
    """One parameter, its schema read once."""

    name: str
    type: str
    required: bool
    producer: Producer | None
    schema: Mapping[str, Json]
    words: frozenset[str]
    """Stems of its name."""
    own: frozenset[str]
    """Those of `words` that say something; all of them when none does."""
    about: frozenset[str]
    """Stems of its description."""
    choices: tuple[tuple[tuple[str, ...], Json], ...]
    """The values of its enum, by their stems."""
    known: tuple[tuple[tuple[str, ...], Json], ...]
    """Values it is said to take, though others are possible."""
    shapes: frozenset[Kind]
    """The kinds of its examples."""
    pattern: re.Pattern[str] | None
    """What a value must match; None also where the schema's pattern is not safe to run."""
    counts: bool
    """Says how many rows are wanted."""


@dataclass(frozen=True, slots=True)
class Value:
    """One value a prompt holds, in tokens `first` to `last`."""

    first: int
    last: int
    kind: str
    """The kind of its token; for words: `name` when spelled like one, else `plain`; `percent` for a number with %."""
    json: Json
    text: str


@dataclass(frozen=True, slots=True)
class Filled:
    """The arguments found, and the tokens that gave them."""

    args: Mapping[str, Json]
    used: frozenset[int]


# --- reading a schema ------------------------------------------------------------------------------------------------

_COUNTS = stem_bag("limit top count max maximum per size first last many amount")
_IDS = stem_bag("id identifier uuid key number code symbol token slug sku ticker no zip phone")
_SAYS_VALUES = re.compile(r"\b(?:such as|e\.g\.,?|for example,?)\s+([^.;()]{1,120})")
_KNOWN_VALUES: Mapping[str, Mapping[str, str]] = {
    "environ": {
        word: name
        for name, words in {
            "production": "production prod",
            "staging": "staging stage",
            "development": "development dev",
        }.items()
        for word in words.split()
    }
}
"""Values everyone knows, by the stem of the parameter's name."""

_LONGEST_PATTERN = 160
_LOOSE = re.compile(r"[*+]|\{\d+,\d*\}|(?<!^)(?<![(\\])\?")
_MOST_LOOSE = 3
_REPEATED_GROUP = re.compile(r"\)(?:[*+]|\{)|\(\?|\\[1-9]")


def safe_pattern(pattern: Json) -> re.Pattern[str] | None:
    """A foreign `pattern` as an expression that cannot run away on a short text, or None.

    No repeated group, no back reference, no look-around, and few loose repeats in each branch.
    """
    if not isinstance(pattern, str) or len(pattern) > _LONGEST_PATTERN or _REPEATED_GROUP.search(pattern):
        return None
    if any(len(_LOOSE.findall(branch)) > _MOST_LOOSE for branch in _branches(pattern)):
        return None
    try:
        return re.compile(pattern)
    except (re.error, OverflowError, RecursionError):
        return None


def _branches(pattern: str) -> list[str]:
    """The alternatives of a pattern that is nothing but alternatives; else the whole pattern."""
    inner = pattern.removeprefix("^").removesuffix("$")
    if inner.startswith("(") and inner.endswith(")"):
        inner = inner[1:-1]
    return [pattern] if "(" in inner else inner.split("|")


def read_slots(tool: Schemas) -> tuple[Slot, ...]:
    """The parameters of a tool."""
    return tuple(
        read_slot(name, schema, required=name in tool.required, producer=tool.producers.get(name))
        for name, schema in tool.params.items()
    )


def read_slot(name: str, schema: Mapping[str, Json], *, required: bool, producer: Producer | None) -> Slot:
    """One parameter of a tool."""
    words = frozenset(map(stem, split_identifier(name)))
    items = schema.get("items")
    kind = schema.get("type")
    about = schema.get("description")
    about = about if isinstance(about, str) else ""
    examples = schema.get("examples")
    examples = [e for e in examples if isinstance(e, str)] if isinstance(examples, list) else []
    choices = schema.get("enum") or (items.get("enum") if isinstance(items, dict) else None)
    choices = choices if isinstance(choices, list | tuple) else ()
    return Slot(
        name=name,
        type=kind if isinstance(kind, str) else "",
        required=required,
        producer=producer,
        schema=schema,
        words=words,
        own=words - GENERIC_STEMS or words,
        about=frozenset(stems(about)),
        choices=tuple((stems(str(c)), c) for c in choices if isinstance(c, str | int | float) and stems(str(c))),
        known=tuple(dict(_known_values(words, about, examples)).items()),
        shapes=frozenset(_shapes(about, examples)),
        pattern=safe_pattern(schema.get("pattern")),
        counts=kind == "integer" and bool(words & _COUNTS),
    )


_ALSO_SAID: Mapping[str, Collection[str]] = {"nobody": bag("unassigned unowned")}
"""What else people say for a value that is given as an example."""


def _said(about: str) -> Iterator[str]:
    for said in _SAYS_VALUES.findall(about):
        yield from (part.strip(" '\"`") for part in re.split(r",\s*(?:or|and)?\s*|\s+(?:or|and)\s+", said) if part)


def _known_values(words: frozenset[str], about: str, examples: list[str]) -> Iterator[tuple[tuple[str, ...], Json]]:
    for value in (*examples, *_said(about)):
        if value.isalpha():
            yield from (((stem(said),), value) for said in (value, *_ALSO_SAID.get(value, ())))
    for word in words & _KNOWN_VALUES.keys():
        yield from (((stem(said),), value) for said, value in _KNOWN_VALUES[word].items())


def _shapes(about: str, examples: list[str]) -> Iterator[Kind]:
    for value in (*examples, *_said(about)):
        match lex(value):
            case (Token(kind="release" | "version" | "code" | "email" | "url" | "path" | "date" as kind),):
                yield kind


# --- one value, one slot ---------------------------------------------------------------------------------------------

_LONGEST_CHECKED = 64
_FORMATS: Mapping[str, Collection[str]] = {
    "email": {"email"},
    "idn-email": {"email"},
    "uri": {"url"},
    "url": {"url"},
    "date": {"date"},
    "date-time": {"date"},
}


def accept(slot: Slot, value: Value) -> Json:
    """What `value` is as an argument for `slot`, or MISSING when it cannot be one."""
    match slot.type, value.kind:
        case "integer", "number" if float(value.json).is_integer():
            found: Json = int(value.json)
        case "number", "number":
            found = value.json
        case "array", "list" if isinstance(value.json, list):
            found = value.json
        case "string", "number":
            found = str(value.json) if value.text.isalpha() else value.text.lstrip("$€£¥")
        case "string", "percent" | "list":
            return MISSING
        case "string", _:
            found = value.json
        case _:
            return MISSING
    return found if allowed(slot, found, value.kind) else MISSING


def allowed(slot: Slot, json: Json, kind: str = "") -> bool:
    """Whether the schema lets this value in, as far as it can be told cheaply."""
    schema = slot.schema
    if isinstance(json, str):
        if not _number(schema, "minLength", 0) <= len(json) <= _number(schema, "maxLength", float("inf")):
            return False
        if (kinds := _FORMATS.get(str(schema.get("format")))) and kind not in kinds:
            return False
        return slot.pattern is None or matches(slot.pattern, json)
    if isinstance(json, int | float):
        return _number(schema, "minimum", -float("inf")) <= json <= _number(schema, "maximum", float("inf"))
    return True


def matches(pattern: re.Pattern[str], text: str) -> bool:
    """Whether a foreign pattern holds; never run on a text long enough to hurt."""
    return len(text) <= _LONGEST_CHECKED and pattern.search(text) is not None


def _number(schema: Mapping[str, Json], key: str, default: float) -> float:
    found = schema.get(key)
    return found if isinstance(found, int | float) else default


def period(slot: Slot, window: Window) -> str | None:
    """`window` as a period that ends now, in the form this slot takes (`24h`, `7d`, `2w`), or None."""
    if slot.type != "string" or window.ended or (slot.pattern is None and not slot.choices):
        return None
    hours = round(window.length.total_seconds() / 3600)
    days, weeks = hours / 24, hours / 168
    forms = [f"{int(n)}{unit}" for n, unit in ((hours, "h"), (days, "d"), (weeks, "w")) if n == int(n) and n]
    if hours > _LONGEST_IN_HOURS:
        forms.append(forms.pop(0))
    if slot.choices:
        values = {value for _, value in slot.choices}
        return next((form for form in forms if form in values), None)
    takes_periods = allowed(slot, "24h") and not (allowed(slot, "latest") or allowed(slot, "Ab-1"))
    return next((form for form in forms if allowed(slot, form)), None) if takes_periods else None


def periods(slots: Sequence[Slot]) -> frozenset[str]:
    """The names of the slots that take a period."""
    return frozenset(slot.name for slot in slots if period(slot, _A_WEEK) is not None)


_A_WEEK = Window(0, 0, timedelta(days=7))
_LONGEST_IN_HOURS = 48
_STARTS = stem_bag("start since from after begin")
_ENDS = stem_bag("end until to before till")


def window_args(slots: Sequence[Slot], window: Window, now: datetime) -> dict[str, Json] | None:
    """The arguments that say `window`: a period, or a start and, when it has ended, an end; None when none can."""
    for slot in slots:
        if (form := period(slot, window)) is not None:
            return {slot.name: form}
    dated = [s for s in slots if s.type == "string" and s.schema.get("format") in {"date", "date-time"}]
    start = next((s for s in dated if s.words & _STARTS), None)
    end = next((s for s in dated if s.words & _ENDS), None)
    if start is None or (window.ended and end is None):
        return None
    midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if not window.ended:
        return {start.name: _moment(start, now.astimezone(UTC) - window.length)}
    return {start.name: _moment(start, midnight - window.length), **({end.name: _moment(end, midnight)} if end else {})}


def _moment(slot: Slot, moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d" if slot.schema.get("format") == "date" else "%Y-%m-%dT%H:%M:%SZ")


def chosen(slot: Slot, tokens: Sequence[Token]) -> list[tuple[Json, int, int]]:
    """The values of the slot's enum that the prompt names, each with its first and last token."""
    roots = [token.stem or token.low for token in tokens]
    found = []
    for words, value in slot.choices:
        if len(words) == 1 and words[0] in GENERIC_STEMS | FILLER_STEMS:
            continue
        places = (i for i in range(len(roots) - len(words) + 1) if tuple(roots[i : i + len(words)]) == words)
        if (i := next(places, None)) is not None:
            found.append((value, i, i + len(words) - 1))
    return [f for f in found if not any(g is not f and g[1] <= f[1] and f[2] <= g[2] for g in found)]


def switched(slot: Slot, tokens: Sequence[Token], known: frozenset[str]) -> list[int]:
    """The tokens that turn a boolean on: all words of its name, some of which the tool's other words do not explain."""
    if not slot.own or slot.own <= known:
        return []
    places = {token.stem: i for i, token in enumerate(tokens) if token.stem}
    return [places[root] for root in slot.own] if slot.own <= places.keys() else []


# --- all values of a prompt, for a tool that says nothing about how it is asked -----------------------------------

COUNTED = bag("next last past first top previous latest newest recent")
"""Words that belong to the number after them: `the last 5`."""

_UNITS = {
    root: names
    for names in map(
        stem_bag,
        (
            *(
                "kg kilogram kilo",
                "km kilometer kilometre",
                "m meter metre",
                "cm centimeter",
                "mm millimeter",
                "g gram",
            ),
            *("c celsius", "f fahrenheit", "s sec second", "h hr hour", "min minute", "mi mile", "ft feet foot"),
            *("lb pound", "usd dollar", "atm atmosphere", "hz hertz", "n newton", "j joule", "a amp ampere", "v volt"),
            *("l liter litre", "gb gigabyte", "mb megabyte", "y yr year"),
        ),
    )
    for root in names
}
_CUES: Mapping[str, frozenset[str]] = {
    cue: stem_bag(words)
    for cue, words in {
        "in": "location city country place region state area town destination address language year month platform",
        "at": "location place address venue temperature rate time speed",
        "near": "location city place address area",
        "around": "location city place address",
        "from": "from origin source start begin departure sender manufacturer author brand since after base",
        "to": "to destination target end arrival recipient receiver until before",
        "by": "author artist by director creator user owner writer composer sender",
        "since": "since start after from begin",
        "until": "until end before to",
        "before": "until end before to",
        "after": "since start after from",
        "on": "date day platform topic subject on",
        "about": "topic subject query keyword about text term",
        "within": "radius distance within",
        "for": "query keyword term",
        "between": "start from begin",
    }.items()
}
"""What the word before a value says about its parameter."""
_LINKS = bag("of is = : as to at the a an with number id ids called named equal equals are was name value")
_FORMS: Mapping[str, frozenset[str]] = {
    kind: stem_bag(words)
    for kind, words in {
        "email": "email mail recipient address sender",
        "url": "url uri link website site host webhook endpoint page",
        "date": "date day time start end since until from to created timestamp datetime deadline departure arrival",
        "version": "version release tag",
        "release": "version release tag",
        "path": "path file folder directory dir filename location",
        "domain": "domain host hostname site website url file filename",
    }.items()
}
"""What the form of a value says about its parameter."""
_LOOKED_BACK = 6


def same_unit(root: str) -> frozenset[str]:
    """The stems of the names of one unit of measure."""
    return _UNITS.get(root, frozenset({root}))


def values_of(tokens: Sequence[Token], known: frozenset[str]) -> list[Value]:
    """The values a prompt holds for a tool whose words are `known`: typed tokens, and names it cannot explain."""
    found: list[Value] = []
    run: list[int] = []
    for i, token in enumerate(tokens):
        part = _part(tokens, i, run, known)
        if part == "joins":
            run.append(i)
            continue
        found.extend(_named(tokens, run, known))
        run = [i] if part == "begins" else []
        if part == "value":
            kind = "percent" if token.text.endswith("%") and token.kind == "number" else token.kind
            found.append(Value(i, i, kind, token.value, token.text))
    found.extend(_named(tokens, run, known))
    return found


def _part(
    tokens: Sequence[Token], i: int, run: Sequence[int], known: frozenset[str]
) -> Literal["value", "begins", "joins", "none"]:
    """What the token is beside the run of name words before it."""
    token = tokens[i]
    after = tokens[i + 1] if i + 1 < len(tokens) else None
    last = tokens[run[-1]] if run else None
    if token.kind == "punct":
        return "joins" if last is not None and after is not None and _binds(last, token, after) else "none"
    if token.kind != "word":
        return "value"
    counted = token.low in COUNTED and after is not None and after.kind == "number"
    if counted or not (token.spelled or _strange(tokens, i, known)):
        return "none"
    return "joins" if last is not None and (last.kind == "punct" or last.spelled == token.spelled) else "begins"


def _binds(last: Token, mark: Token, after: Token) -> bool:
    """Whether a mark joins the words beside it: `multi-band`, `Denver, Colorado`."""
    if after.kind != "word" or mark.text not in {",", "-"}:
        return False
    return (mark.text == "-" and mark.end == after.start) or (last.spelled and after.spelled)


def _strange(tokens: Sequence[Token], i: int, known: frozenset[str]) -> bool:
    token = tokens[i]
    if token.kind != "word" or token.is_filler or token.stem in known:
        return False
    return not (i and tokens[i - 1].kind == "number" and same_unit(token.stem) & known)


def _named(tokens: Sequence[Token], run: Sequence[int], known: frozenset[str]) -> Iterator[Value]:
    """The run as a value, if any word of it is strange."""
    if run and any(_strange(tokens, i, known) for i in run):
        last = run[-1] - (tokens[run[-1]].kind == "punct")
        text = text_between(tokens, run[0], last)
        yield Value(run[0], last, "name" if tokens[run[0]].spelled else "plain", text, text)


def affinity(slot: Slot, value: Value, tokens: Sequence[Token]) -> float:
    """How much speaks for this value in this slot: its name beside it, the word before it, its form. 0 is nothing."""
    after = tokens[value.last + 1] if value.last + 1 < len(tokens) else None
    if after and _modifies(value, after) and after.stem not in slot.own:
        return 0.0
    score = max(_said_before(slot, value, tokens), _said_after(slot, value, tokens))
    if value.kind == "number" and slot.type == "string" and not slot.words & _IDS and score < _BY_NAME_AFTER:
        return 0.0
    if value.kind == "name" and slot.words == {"nam"}:
        score += 2.0
    formed = _FORMS.get(value.kind, frozenset()) & slot.words or (
        value.kind in {"code", "quoted", "number"} and slot.words & _IDS
    )
    return score + (1.0 if slot.type == "string" and formed else 0.0)


_BY_NAME, _BY_NAME_AFTER, _BY_CUE, _BY_UNIT, _BY_ABOUT, _BY_WEAK_CUE = 4.0, 3.0, 2.5, 2.0, 1.5, 1.0
_LEAST_REQUIRED, _LEAST_OPTIONAL = 1.0, 2.0


def _modifies(value: Value, after: Token) -> bool:
    """`German history`: a name before a noun is an adjective."""
    return value.kind == "name" and after.kind == "word" and not after.is_filler


def _said_before(slot: Slot, value: Value, tokens: Sequence[Token]) -> float:
    before = [t for t in tokens[max(0, value.first - _LOOKED_BACK) : value.first] if t.low not in {"the", "a", "an"}]
    cue = _CUES.get(before[-1].low) if before else None
    score = 0.0
    if cue and cue & slot.words:
        score = _BY_CUE
    elif cue and cue & slot.about and before[-1].low in {"in", "from", "to", "by", "near"}:
        score = _BY_WEAK_CUE
    for token in reversed(before):
        if token.kind == "word" and token.stem in slot.own:
            return _BY_NAME
        if token.low in _LINKS or token.text in {"(", ":", "=", "#", "-"}:
            continue
        if cue is None and not token.is_filler and token.stem in slot.about - GENERIC_STEMS:
            return max(score, _BY_ABOUT)
        break
    return score


def _said_after(slot: Slot, value: Value, tokens: Sequence[Token]) -> float:
    after = [t.stem for t in tokens[value.last + 1 : value.last + 3]]
    if not after:
        return 0.0
    score = 0.0
    if value.kind == "number" and after[0] not in slot.own and same_unit(after[0]) & (slot.about | slot.words):
        score = _BY_UNIT
        after = after[1:]
    return max(score, _BY_NAME_AFTER) if after and after[0] in slot.own else score


def fill(slots: Sequence[Slot], tokens: Sequence[Token], values: Sequence[Value]) -> Filled | None:
    """Every value in exactly one slot, or None when one has no clear place."""
    args: dict[str, Json] = {}
    used: set[int] = set()
    left = list(values)
    open_slots = [slot for slot in slots if slot.type in {"string", "integer", "number", "array"} and not slot.choices]
    for slot in slots:
        hits = chosen(slot, tokens) if slot.choices else []
        if len(hits) > 1:
            return None
        for value, first, last in hits:
            args[slot.name] = [value] if slot.type == "array" else value
            used.update(range(first, last + 1))
            left = [v for v in left if v.last < first or v.first > last]
    if any(v.kind == "plain" for v in left):
        return None  # nothing marks where a name in plain small words begins and ends
    while left and (pair := best_pair(open_slots, left, tokens)):
        slot, value = pair
        args[slot.name] = accept(slot, value)
        used.update(range(value.first, value.last + 1))
        open_slots.remove(slot)
        left.remove(value)
    needed = [slot for slot in open_slots if slot.required]
    if left and (len(needed) != len(left) or not (len(left) == 1 or _alike(needed))):
        return None
    for slot, value in zip(needed, left, strict=False):
        after = tokens[value.last + 1] if value.last + 1 < len(tokens) else None
        loose = value.kind == "number" and slot.type == "string" and not slot.words & _IDS
        if loose or (after and _modifies(value, after)) or (found := accept(slot, value)) is MISSING:
            return None
        args[slot.name] = found
        used.update(range(value.first, value.last + 1))
    return Filled(args, frozenset(used))


def best_pair(slots: Sequence[Slot], values: Sequence[Value], tokens: Sequence[Token]) -> tuple[Slot, Value] | None:
    """The value and the slot that fit each other better than either fits any other."""
    pairs = [(affinity(s, v, tokens), s, v) for v in values for s in slots if accept(s, v) is not MISSING]
    for score, slot, value in sorted(pairs, key=lambda pair: -pair[0]):
        if score < (_LEAST_REQUIRED if slot.required else _LEAST_OPTIONAL):
            continue
        if all(rival < score for rival, s, v in pairs if (s is slot) != (v is value)):
            return slot, value
    return None


_PAIRS = tuple(
    (stem(one), stem(two))
    for one, two in (
        *(("origin", "destination"), ("start", "end"), ("from", "to"), ("source", "destination"), ("source", "target")),
        *(("begin", "end"), ("first", "second"), ("x", "y"), ("a", "b"), ("base", "exponent"), ("min", "max")),
        ("lower", "upper"),
    )
)


def _alike(slots: Sequence[Slot]) -> bool:
    """Whether their order in a prompt may be taken for their order in the tool: `a` and `b`, `city1` and `city2`."""
    if len({slot.type for slot in slots}) != 1:
        return False
    if len({re.sub(r"\d+", "", slot.name) for slot in slots}) == 1:
        return True
    match slots:
        case [one, two]:
            return any(a in one.words and b in two.words for a, b in _PAIRS)
    return False
