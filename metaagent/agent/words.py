"""How text is read without a model: words, their stems and their plain-English equals, for prompts and tools alike."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache

_IDENTIFIER = re.compile(r"[A-Z]{2,}s(?![a-z])|[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W\d_A-Za-z]+|\d+")
_SEVERAL = re.compile(r"[A-Z]{2,}s")
"""The plural of an abbreviation: `IDs`, `URLs`."""
_WORD = re.compile(r"[^\W_]+(?:['\u2019][^\W\d_]+)?")


def bag(text: str) -> frozenset[str]:
    """The words of a table that is written as text."""
    return frozenset(text.split())


FILLER = bag(
    """a an the this that these those some any all every each of in on at for from to by with within into onto about as
    if so than there here it its it's is are was were be been being am do does did done doing have has had having
    and or will would could can cannot can't may might shall i i'm i'd i'll i've me my mine myself we we're we'd
    we'll us our ours you you're your yours they them their he him his she her what what's whats which whose please pls
    plz kindly thanks thank thx hi hey hello just only really actually basically currently now right let let's lets
    want wanna like need needs know see look looking give gimme show display tell provide list get fetch find retrieve
    return pull bring check help using use used via up out over through quick quickly go ahead kind exactly following
    also yet still already s t re d ll ve"""
)
"""Words that carry no request of their own. Words such as `why` and `not` are not among them."""

NO_NAMES = FILLER | bag(
    """not no never without except excluding exclude but nor neither none non minus unless only besides other others
    than rather instead else another same again more most less least fewer fewest few many much several both either
    everything anything something nothing everyone anyone someone nobody everywhere anywhere somewhere where when
    why how while during since until before after between against across among per versus vs
    general total detail details particular short brief full depth progress future past present summary practice
    theory common average sum parallel time times moment beginning end middle meantime order case fact reality
    morning noon afternoon evening night midnight tonight tomorrow yesterday weekend weekday hour hours day days
    week weeks month months quarter quarters year years minute minutes second seconds recent recently lately today
    once twice ago late later early earlier soon new newer old older good bad better worse best worst big small high low
    monday tuesday wednesday thursday friday saturday sunday january february march april may june july august
    september october november december spring summer autumn winter christmas easter
    next last past first top previous latest newest"""
)
"""Words that the name of a project or a person is not made of, whatever may be called so."""

GENERIC = bag(
    """get list find search retrieve fetch show read lookup look query return give provide calculate compute calculator
    check api apis tool function service data info information detail details value number name id type result results
    all by for of to in from and the a an with on or v1 v2 make perform generate estimate determine identify analyze
    analyse view display select new"""
)
"""Words of tool and parameter names that say nothing about their subject."""

_EQUALS = {
    "error": "error exception failure",
    "issue": "issue problem bug ticket defect",
    "release": "release version deploy deployment rollout build ship shipped",
    "latest": "latest newest recent last current",
    "previous": "previous prior earlier before preceding",
    "why": "why reason cause causing because behind",
    "spike": "spike surge increase rise jump climb grow rose skyrocket burst uptick",
    "healthy": "healthy health stable stability fine okay ok good",
    "worse": "worse worsen regressed",
    "project": "project app application",
    "organization": "organization organisation org company",
    "count": "count number amount total quantity volume",
    "open": "open unresolved outstanding unsolved unfixed",
    "event": "event occurrence",
    "detail": "detail info information",
    "resolved": "resolve fix solve",
    "archived": "archive ignore mute snooze",
    "how": "how hows",
    "compare": "compare comparison versus vs",
    "trend": "trend chart graph timeline",
    "frequent": "frequent often common",
    "affect": "affect impact hit hurt",
    "user": "user person customer",
    "happen": "happen occur",
    "seen": "seen appear",
    "broken": "broken fail fire burn explode",
    "noisy": "noisy noisier noisiest loud louder loudest",
    "traceback": "traceback stacktrace backtrace",
    "commit": "commit changeset",
    "change": "change differ",
    "repository": "repository repo",
    "pull-request": "pr mr",
    "document": "document doc",
    "picture": "picture photo image",
    "meeting": "meeting appointment",
    "expense": "expense cost",
}

PHRASES: Mapping[tuple[str, ...], str] = {
    tuple(words.split()): name
    for words, name in {
        "most recent": "latest",
        "how many": "count",
        "how much": "count",
        "how often": "count",
        "number of": "count",
        "a lot of": "count",
        "on fire": "broken",
        "going on": "happen",
        "goes on": "happen",
        "going up": "spike",
        "go up": "spike",
        "went up": "spike",
        "gone up": "spike",
        "shot up": "spike",
        "shooting up": "spike",
        "blowing up": "spike",
        "on the rise": "spike",
        "so many": "spike",
        "how come": "why",
        "due to": "why",
        "who am i": "who-am-i",
        "stack trace": "traceback",
        "pull request": "pull-request",
        "merge request": "pull-request",
        "rolled out": "release",
        "over time": "trend",
        "more about": "",
        "info on": "",
        "information about": "",
    }.items()
}
"""Several words that stand for one concept, or for nothing."""

_IRREGULAR = {
    "children": "child",
    "people": "person",
    "men": "man",
    "women": "woman",
    "indices": "index",
    "matrices": "matrix",
    "vertices": "vertex",
    "news": "news",
    "series": "series",
    "species": "species",
    "movies": "movie",
    "movie": "movie",
    "seen": "see",
    "weigh": "weight",
    "weighs": "weight",
}
_PLURALS = (("ies", "y"), ("sses", "ss"), ("shes", "sh"), ("ches", "ch"), ("xes", "x"), ("s", ""))
_ENDINGS = (
    *("ization", "isation", "ational", "iveness", "fulness", "ation", "ating", "ated", "ator", "ate", "ities", "ity"),
    *("ment", "ion", "ing", "ly", "ed", "er", "or"),
)
"""The longer before the shorter."""
_SHORTEST_STEM = 3
_SHORTEST_DOER = 4
"""`user` and `error` are no forms of `us` and `err`."""


@lru_cache(maxsize=65536)
def stem(word: str) -> str:
    """The part that the forms of one English word share: `calculates`, `calculation` and `calculator` give `calcul`."""
    word = word.lower().replace("\u2019", "'").removesuffix("'s").removesuffix("'")
    if (irregular := _IRREGULAR.get(word)) is not None:
        return irregular
    if len(word) > _SHORTEST_STEM and not word.endswith(("ss", "us", "is")):
        word = _without_plural(word)
    word = _without_ending(word)
    if word.endswith("er"):
        word = _without_ending(word)
    if len(word) > _SHORTEST_STEM and word.endswith("e"):
        return word[:-1]
    return word[:-1] + "i" if len(word) > _SHORTEST_STEM and word.endswith("y") else word


def _without_plural(word: str) -> str:
    for ending, left in _PLURALS:
        if word.endswith(ending):
            return word.removesuffix(ending) + left
    return word


def _without_ending(word: str) -> str:
    for ending in _ENDINGS:
        least = _SHORTEST_DOER if ending in {"er", "or"} else _SHORTEST_STEM
        if word.endswith(ending) and len(word) - len(ending) >= least:
            base = word.removesuffix(ending)
            doubled = len(base) > _SHORTEST_STEM and base[-1] == base[-2] and base[-1] not in "lsz"
            return base[:-1] if doubled else base
    return word


_EQUAL = {stem(word): name for name, words in _EQUALS.items() for word in words.split()}


def concept(word: str) -> str:
    """What stands for this word and its plain-English equals; for a word without equals, its stem."""
    return equal(stem(word))


def equal(root: str) -> str:
    """The concept of a stem."""
    return _EQUAL.get(root, root)


@lru_cache(maxsize=16384)
def split_identifier(name: str) -> tuple[str, ...]:
    """The lower-case words of a name: `getUserByID`, `get_user_by_id` and `get-user.by/id` give the same four."""
    return tuple((part[:-1] if _SEVERAL.fullmatch(part) else part).lower() for part in _IDENTIFIER.findall(name))


@lru_cache(maxsize=8192)
def stems(text: str) -> tuple[str, ...]:
    """The stems of all words of a text in order; identifiers inside it are split."""
    return tuple(roots(text))


def roots(text: str) -> list[str]:
    """As `stems`, and keeps no copy of the text: for what people write."""
    return [root for word in _WORD.findall(text) for root in _roots(word)]


@lru_cache(maxsize=65536)
def _roots(word: str) -> tuple[str, ...]:
    if word.islower() or word.istitle():
        return (stem(word.lower()),)
    return tuple(map(stem, split_identifier(word) or (word.lower(),)))


def stem_bag(text: str) -> frozenset[str]:
    """The stems of the words of a table written as text."""
    return frozenset(map(stem, text.split()))


GENERIC_STEMS = frozenset(map(stem, GENERIC))
FILLER_STEMS = frozenset(map(stem, FILLER))


def near(word: str, known: Mapping[str, str]) -> str | None:
    """The concept of the one known word that `word` is a slip of the pen away from, or None."""
    found = {known[word[0] + key] for key in _shortened(word) if word[0] + key in known}
    return found.pop() if len(found) == 1 else None


def slips(words: Iterable[str]) -> dict[str, str]:
    """The concepts of all words long enough, by their spellings with at most one letter missing, for `near`."""
    return {word[0] + key: concept(word) for word in words if word not in FILLER for key in _shortened(word)}


_SHORTEST_SLIP = 5


def _shortened(word: str) -> list[str]:
    """What follows the first letter, as it is and with any one letter missing."""
    if len(word) < _SHORTEST_SLIP:
        return []
    rest = word[1:]
    return [rest, *(rest[:i] + rest[i + 1 :] for i in range(len(rest)))]
