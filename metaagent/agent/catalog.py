"""Search over the tools of one provider, up to a thousand of them, without a model: which may a prompt need?

1. `read_catalog` weighs each word of a tool by where it stands (BM25 over weighted fields), and every idea its words
   stand for, so that a film finds a movie; see `synonyms`.
2. `rank` reads a prompt clause by clause: a tool that one clause is all about is worth more than one that every clause
   mentions.
3. Tools whose whole name was said come first; siblings of a good tool gain a little.
4. A tool that needs an id which people do not say brings the tool that finds it: its *producer*.
5. Tools of different groups that would do the same job step back, so that the first few do different jobs.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

from metaagent.agent.slots import Schemas
from metaagent.agent.synonyms import IDEAS
from metaagent.agent.words import FILLER_STEMS, GENERIC_STEMS, roots, split_identifier, stem, stem_bag


class Searchable(Schemas, Protocol):
    """What the search reads of a tool; a `providers.spec.ToolSpec` is one."""

    @property
    def name(self) -> str:
        """Its name. What stands before the last dot or slash is its group."""

    @property
    def summary(self) -> str:
        """What it does, in a sentence or more."""


@dataclass(frozen=True, slots=True)
class CatalogIndex:
    """The tools of one provider, ready to be searched."""

    names: tuple[str, ...]
    groups: tuple[str, ...]
    cores: tuple[Mapping[str, float], ...]
    """The stems of each tool's own name that say something, and how much of it each is."""
    terms: tuple[Mapping[str, float], ...]
    """What each tool is found by, stems, pairs of stems and ideas, and how much each tells about it."""
    postings: Mapping[str, Sequence[tuple[int, float]]]
    """The same from the other side."""
    named: Collection[str]
    """All stems of names. Ideas stand in only for words that no tool is named with."""
    producers: tuple[Sequence[tuple[int, float]], ...]
    """For each tool, the tools that find what it must be given, and how likely."""


# --- reading tools ---------------------------------------------------------------------------------------------------

_NAME, _NAME_WORDS = 4.0, 3
_GROUP, _GROUP_WORDS = 4.0, 2
_HEAD, _HEAD_WORDS = 1.5, 10
_REST, _REST_WORDS = 1.0, 25
_PARAM, _PARAM_WORDS = 0.8, 4
_ABOUT, _ABOUT_WORDS = 0.6, 30
_CHOICE, _CHOICE_WORDS = 0.5, 5
"""How much a word tells by where it stands, and how many words commonly stand there."""
_LONG = 0.3
"""How much a longer text makes each of its words tell less."""
_SATURATION = 1.2
_MOST_TEXT = 800
_MOST_ABOUT = 200
_MOST_CHOICES = 12
_MOST_PARAMS = 30


def read_catalog(tools: Sequence[Searchable]) -> CatalogIndex:
    """The index of these tools; make it once per manifest."""
    groups = [re.split(r"[^./]*$", tool.name, maxsplit=1)[0] for tool in tools]
    own = [
        _identifier(tool.name[len(group) :]) or _identifier(tool.name)
        for tool, group in zip(tools, groups, strict=True)
    ]
    counts = [_count(tool, group, name) for tool, group, name in zip(tools, groups, own, strict=True)]
    spread = Counter(term for count in counts for term in count)
    rarity = {term: math.log(1 + (len(tools) - n + 0.5) / (n + 0.5)) for term, n in spread.items()}
    terms = [
        {term: rarity[term] * x * (1 + _SATURATION) / (x + _SATURATION) for term, x in count.items()}
        for count in counts
    ]
    postings: dict[str, list[tuple[int, float]]] = {}
    for i, count in enumerate(terms):
        for term, worth in count.items():
            postings.setdefault(term, []).append((i, worth))
    return CatalogIndex(
        names=tuple(tool.name for tool in tools),
        groups=tuple(groups),
        cores=tuple(_shares(name, rarity) for name in own),
        terms=tuple(terms),
        postings=postings,
        named=frozenset(word for name in own for word in name).union(*map(_identifier, groups)),
        producers=_producers(tools, groups, own),
    )


def _shares(name: Sequence[str], rarity: Mapping[str, float]) -> dict[str, float]:
    core = [word for word in name if word not in GENERIC_STEMS] or name
    tells = {word: rarity[word] for word in core}
    whole = sum(tells.values())
    return {word: x / whole for word, x in tells.items()}


def _identifier(name: str) -> list[str]:
    return [stem(part) for part in split_identifier(name)]


def _count(tool: Searchable, group: str, name: Sequence[str]) -> dict[str, float]:
    """How often each term stands in a tool, weighted by where."""
    summary = tool.summary[:_MOST_TEXT]
    first, _, rest = summary.partition(". ")
    head = roots(first)
    found: dict[str, float] = {}
    _add(found, name, _NAME, _NAME_WORDS)
    _add(found, head, _HEAD, _HEAD_WORDS)
    _add(found, roots(rest), _REST, _REST_WORDS)
    params = list(tool.params.items())[:_MOST_PARAMS]
    _add(found, [word for param, _ in params for word in _identifier(param)], _PARAM, _PARAM_WORDS)
    ideas: dict[str, float] = {}
    for word, x in found.items():
        for idea in IDEAS.get(word, ()):
            ideas[idea] = max(ideas.get(idea, 0.0), x)
    _add(found, _identifier(group), _GROUP, _GROUP_WORDS)
    about, choices = [], []
    for _, schema in params:
        about += roots(str(schema.get("description") or "")[:_MOST_ABOUT])
        listed = schema.get("enum")
        choices += roots(" ".join(map(str, listed[:_MOST_CHOICES]))) if isinstance(listed, list | tuple) else []
    _add(found, about, _ABOUT, _ABOUT_WORDS)
    _add(found, choices, _CHOICE, _CHOICE_WORDS)
    for words, weight in ((name, _NAME), (head, _HEAD)):
        for pair in _pairs(words):
            found[pair] = found.get(pair, 0.0) + weight
    return found | ideas


def _add(found: dict[str, float], words: Sequence[str], weight: float, usual: int) -> None:
    each = weight / (1 - _LONG + _LONG * len(words) / usual)
    for word in words:
        found[word] = found.get(word, 0.0) + each


def _pairs(words: Sequence[str]) -> Iterable[str]:
    for one, other in pairwise(words):
        if one != other and one not in FILLER_STEMS and other not in FILLER_STEMS:
            yield f"{one} {other}"


# --- producers -------------------------------------------------------------------------------------------------------

_FINDS = stem_bag("search find lookup query discover")
_LISTS = stem_bag("list all every")
_READS = stem_bag("get fetch retrieve read show")
_WRITES = stem_bag(
    """create add new make insert update change modify edit set delete remove cancel clear send post save upload write
    reserve book follow unfollow share append put patch"""
)
_HOLLOW = GENERIC_STEMS | FILLER_STEMS | _FINDS | _LISTS | _READS | stem_bag("current my me profile")
_IDS = stem_bag("id ids uuid guid slug code key token handle uri uris")
_NAMES = stem_bag("name title")
_NEEDS_NAME = 0.6
_NEEDS_BARE = 0.5
_BY_SEARCH, _BY_LIST, _BY_READ, _BY_ANY_SEARCH = 1.0, 0.8, 0.6, 0.8
_MOST_PRODUCERS = 3


def _producers(
    tools: Sequence[Searchable], groups: Sequence[str], own: Sequence[Sequence[str]]
) -> tuple[Sequence[tuple[int, float]], ...]:
    """What a provider says itself counts most; else a read of the same group that is named after what is needed."""
    places = {tool.name: i for i, tool in enumerate(tools)}
    needs = [_needs(tool, name) for tool, name in zip(tools, own, strict=True)]
    finders: dict[tuple[str, str], list[tuple[int, float]]] = {}
    searches: dict[str, list[int]] = {}
    for i, name in enumerate(own):
        if _WRITES.intersection(name):
            continue
        subject = dict.fromkeys(word for word in name if word not in _HOLLOW)
        if not subject and _FINDS.intersection(name):
            searches.setdefault(groups[i], []).append(i)
        how = _BY_SEARCH if _FINDS.intersection(name) else _BY_LIST if _LISTS.intersection(name) else _BY_READ
        for word in subject:
            if word not in needs[i]:
                finders.setdefault((groups[i], word), []).append((i, how / len(subject)))
    found = []
    for i, tool in enumerate(tools):
        likely = {places[p.tool]: 1.0 for p in tool.producers.values() if places.get(p.tool, i) != i}
        for word, need in needs[i].items():
            for j, how in finders.get((groups[i], word), ()):
                likely[j] = max(likely.get(j, 0.0), how * need)
            for j in searches.get(groups[i], ()) if need == 1 else ():
                if word in roots(tools[j].summary[:_MOST_TEXT]):
                    likely[j] = max(likely.get(j, 0.0), _BY_ANY_SEARCH)
        likely.pop(i, None)
        found.append(sorted(likely.items(), key=lambda pair: (-pair[1], pair[0]))[:_MOST_PRODUCERS])
    return tuple(found)


def _needs(tool: Searchable, name: Sequence[str]) -> dict[str, float]:
    """What a tool must be given, and how sure it is that another tool finds it: `movie_id` needs a movie."""
    needs: dict[str, float] = {}
    for param in sorted(tool.required):
        match _identifier(param):
            case [*before, last] if last in _IDS:
                subject, need = before or [w for w in name if w not in _HOLLOW and w not in _WRITES], 1.0
            case [*before, last] if last in _NAMES:
                subject, need = before, _NEEDS_NAME
            case parts:
                subject, need = parts, _NEEDS_BARE
        for word in subject[-1:]:
            needs[word] = max(needs.get(word, 0.0), need)
    return needs


# --- reading prompts -------------------------------------------------------------------------------------------------

_CLAUSE = re.compile(
    r"(?<=[.!?;])\s+|\n+|,\s+(?:and|then|also|but)?\s*|\b(?:and then|and|then|also|after that)\b", re.IGNORECASE
)
_HINTS = tuple(
    (re.compile(pattern, re.IGNORECASE), roots(needed))
    for pattern, needed in (
        (
            r"\b(?:today|tonight|tomorrow|yesterday|(?:this|next|last|past) (?:week(?:end)?|month|year|\d+ ?h))",
            "get current date time",
        ),
        (r"https?://|\bwww\.", "url web page"),
        (r"[\w.+-]@[\w-]{1,64}\.\w", "email"),
        (r"\d\s{0,3}(?:[*\u00d7x]|times)\s{0,3}\d", "calculate multiply product"),
        (r"\d\s{0,3}[-+/^]\s{0,3}\d\S{0,20}\s{0,3}=", "calculate"),
    )
)
"""What a prompt needs without a word of it: who says tomorrow needs today's date."""
_PATH = re.compile(r"(?<![\w/])[~.]{0,2}/[\w.-]+/[\w./-]+|\b[\w-]{1,64}\.(?=[a-z]{2,4}\b)[a-z]+")
_KINDS = {
    kind: tuple(roots(needed))
    for kinds, needed in (
        ("md txt", "write file text"),
        ("doc docx", "word document"),
        ("xls xlsx", "excel sheet"),
        ("ppt pptx", "presentation slide"),
        ("pdf csv json png jpg jpeg", ""),
    )
    for kind in kinds.split()
}
"""What a file's name says about what is to be done with it."""
_FILE = tuple(roots("file path"))
_LONGEST_PROMPT = 4000
_MOST_WORDS = 400
_FILLER = 0.1
_GENERIC = 0.6
_NUMBER = 0.6
_PAIR = 0.3
_HINT = 0.8
_IDEA = 0.4
_SHARED = 0.7
"""How fast a word tells less of each idea the more ideas it has."""
_COMMON_FILLER = 0.05
_FEW = 6

Clause = dict[str, float]
Asked = dict[str, list[tuple[int, float]]]


def _read(index: CatalogIndex, prompt: str) -> list[Clause]:
    """The terms of each clause that any tool is found by, with how much each counts."""
    text = prompt[:_LONGEST_PROMPT]
    found: list[Clause] = []
    left = _MOST_WORDS
    common = max(_FEW, _COMMON_FILLER * len(index.names))
    for part in _CLAUSE.split(text):
        words = roots(part)[:left]
        left -= len(words)
        if clause := _clause(index, words, common):
            found.append(clause)
    hints = ({word: _HINT for word in needed if word in index.postings} for needed in _unsaid(text))
    return [*found, *filter(None, hints)]


def _unsaid(text: str) -> Iterable[Sequence[str]]:
    for pattern, needed in _HINTS:
        if pattern.search(text):
            yield needed
    paths = [(path, path.rpartition(".")[2]) for path in _PATH.findall(text)]
    kinds = dict.fromkeys(kind for path, kind in paths if "/" in path or kind in _KINDS)
    if kinds:
        yield _FILE
    yield from dict.fromkeys(_KINDS.get(kind, ()) for kind in kinds)


def _clause(index: CatalogIndex, words: Sequence[str], common: float) -> Clause:
    postings = index.postings
    clause: Clause = {}
    before = ""
    for word in words:
        if word in FILLER_STEMS:
            if len(postings.get(word, ())) > common:
                continue
            counts = _FILLER
        else:
            counts = _GENERIC if word in GENERIC_STEMS else _NUMBER if word.isdigit() else 1.0
        if word in postings and counts > clause.get(word, 0.0):
            clause[word] = counts
        if (pair := f"{before} {word}") in postings:
            clause[pair] = max(_PAIR * counts, clause.get(pair, 0.0))
        before = word
        if word not in index.named and (ideas := IDEAS.get(word)):
            each = counts * _IDEA / len(ideas) ** _SHARED
            for idea in ideas:
                if idea in postings and each > clause.get(idea, 0.0):
                    clause[idea] = each
    return clause


# --- ranking ---------------------------------------------------------------------------------------------------------

_FOCUS = 1.4
"""1: clauses do not matter; the greater, the more a tool counts by its best clause alone."""
_CONSIDERED = 40
_COMMON = 0.08
"""Terms of more tools than this pick no candidates."""
_LEAST_LIKELY = 0.15
"""Of the best one's share of what was asked."""
_WHOLE_NAME = 0.3
"""What a tool loses when none of its own name was said."""
_NAME_BY_IDEA = 0.5
_SIBLING = 0.1
"""Of what the best two others of its group have."""
_PRODUCER, _LEAST_PRODUCER = 0.35, 0.3
"""Of what the tool that needs it has: added, and at least."""
_BRINGING = 8
"""Only the best bring their producers."""
_ALIKE = 0.08
"""What a tool loses to each better one of another group that was found by the very same."""
_COMPARED = 20
_AHEAD = 5
"""Only the first few make others step back, and only the next best are looked at."""


def rank(index: CatalogIndex, prompt: str, most: int = 10) -> list[str]:
    """The names of up to `most` tools that `prompt` may need, best first."""
    clauses = _read(index, prompt)
    asked = _asked(clauses)
    found = {i: _Found(index.terms[i], asked, len(clauses)) for i in _likely(index, asked)}
    scores = {i: each.score * (1 - _WHOLE_NAME * (1 - _named(index.cores[i], asked))) for i, each in found.items()}
    _lift_siblings(index, scores)
    _lift_producers(index, scores)
    return [index.names[i] for i in _diverse(index, scores, found, most)]


def _asked(clauses: Sequence[Clause]) -> Asked:
    asked: Asked = {}
    for place, clause in enumerate(clauses):
        for term, weight in clause.items():
            asked.setdefault(term, []).append((place, weight))
    return asked


def _likely(index: CatalogIndex, asked: Asked) -> list[int]:
    """The tools with most of what was asked; the rest is worked out for these only."""
    sums = [0.0] * len(index.names)
    common = max(_CONSIDERED, _COMMON * len(sums))
    told = [term for term in asked if len(index.postings[term]) <= common]
    for term in told or asked:
        weight = sum([weight for _, weight in asked[term]])
        for i, worth in index.postings[term]:
            sums[i] += weight * worth
    least = _LEAST_LIKELY * max(sums, default=0.0)
    likely = [i for i, score in enumerate(sums) if score > least]
    return sorted(likely, key=sums.__getitem__, reverse=True)[:_CONSIDERED]


class _Found:
    """What a tool was found by."""

    __slots__ = ("by", "score", "whole")

    def __init__(self, terms: Mapping[str, float], asked: Asked, clauses: int) -> None:
        self.by: dict[str, float] = {}
        by_clause = [0.0] * clauses
        for term in [term for term in asked if term in terms]:
            worth = terms[term]
            for place, weight in asked[term]:
                by_clause[place] += weight * worth
            self.by[term] = asked[term][0][1] * worth
        self.whole = sum(self.by.values())
        self.score = sum([score**_FOCUS for score in by_clause if score]) ** (1 / _FOCUS)


def _named(core: Mapping[str, float], said: Collection[str]) -> float:
    """The share of a tool's own name that was said."""
    part = 0.0
    for word, share in core.items():
        if word in said:
            part += share
        elif word in IDEAS and any(idea in said for idea in IDEAS[word]):
            part += share * _NAME_BY_IDEA
    return part


def _best(scores: Mapping[int, float]) -> list[int]:
    return sorted(scores, key=scores.__getitem__, reverse=True)


def _lift_siblings(index: CatalogIndex, scores: dict[int, float]) -> None:
    groups: dict[str, list[tuple[int, float]]] = {}
    for i in _best(scores):
        if index.groups[i]:
            groups.setdefault(index.groups[i], []).append((i, scores[i]))
    for members in groups.values():
        for i, _ in members:
            scores[i] += _SIBLING * sum([score for j, score in members[:3] if j != i][:2]) / 2


def _lift_producers(index: CatalogIndex, scores: dict[int, float]) -> None:
    for score, producers in [(scores[i], index.producers[i]) for i in _best(scores)[:_BRINGING]]:
        for j, likely in producers:
            scores[j] = max(scores.get(j, 0.0) + _PRODUCER * likely * score, _LEAST_PRODUCER * likely * score)


def _diverse(index: CatalogIndex, scores: Mapping[int, float], found: Mapping[int, _Found], most: int) -> list[int]:
    """The best, each counting less the more of what it was found by found a better one of another group."""
    best = _best(scores)
    left = best[:_COMPARED]
    fresh = dict.fromkeys(left, 1.0)
    chosen: list[int] = []
    while left and len(chosen) < most:
        pick = max(left, key=lambda i: scores[i] * fresh[i])
        left.remove(pick)
        chosen.append(pick)
        mine = found.get(pick)
        if not mine or len(chosen) > _AHEAD:
            continue
        for i in left:
            if (other := found.get(i)) and not (index.groups[i] and index.groups[i] == index.groups[pick]):
                shared = sum([min(worth, mine.by[term]) for term, worth in other.by.items() if term in mine.by])
                fresh[i] *= 1 - _ALIKE * shared / other.whole
    return (chosen + left + best[_COMPARED:])[:most]
