"""From what tools found to a bounded answer that says whose words it holds; pure."""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import islice

import orjson

from metaagent.agent import foreign
from metaagent.agent.measure import fits, most_tokens
from metaagent.agent.types import Citation
from metaagent.values import value
from providers.spec import Json, Result, ToolSpec
from providers.tools import clean, plural

_CITATIONS = 10

# --- whose words -----------------------------------------------------------------------------------------------------


def attributed(text: str, *, title: str, account: str, written: bool = False) -> str:
    """`text` under one line of ours that names where it is from; `written`: by a model, from what was found there."""
    return f"{_origin(title, account, written)}\n\n{text}"


def named(account: str) -> str:
    """An account's label: other people's words, marked as such where they could read as ours."""
    who = foreign.words(clean(account, 60))
    return who if not who or re.fullmatch(r"[\w.+@\-]+", who) else f"\u201c{who}\u201d"


@lru_cache(maxsize=1_024)
def _origin(title: str, account: str, written: bool) -> str:  # noqa: FBT001 - the key of a cache
    who = named(account)
    if written:
        return f"Written by a model from {clean(title, 60)}{f' ({who})' if who else ''}:"
    return f"From {clean(title, 60)}{f', as {who}' if who else ''}:"


# --- within its tokens -----------------------------------------------------------------------------------------------


@value
class _Block:
    """A paragraph, list, table or fenced block; its parts, one after the other, are the text of it."""

    pieces: Sequence[str]
    """What stays whole: a paragraph, an item with what belongs to it, a row, a line of code."""
    prose: bool = False
    """A paragraph may be cut at sentences."""
    head: str = ""
    """Without it the pieces are not understood: the header of a table, the opening fence."""
    tail: str = ""
    """The closing fence."""


_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_ITEM = re.compile(r"( *)(?:[-*+]|[0-9]{1,9}[.)]) ")
_RULE = frozenset("|-: \t")
_REMAINDER = re.compile(r"[-*] and ([0-9,]+) more\s*")
"""The last line of a list that is itself a part (`providers.tools.bullets`)."""
_SENTENCE = re.compile(r"(?<=[.!?])\s+|(?<=[\u3002\uff01\uff1f])")
_SPACE = re.compile(r"\s+")
_WORD = re.compile(r"\s+|(?<=[\u3001-\u30ff\u4e00-\u9fff\uff01-\uff5e])(?=[\u3041-\u30fa\u4e00-\u9fff])")
"""Between Chinese and Japanese characters too; but not where that may be inside an address."""
_MOST_PER_TOKEN = 20
"""Characters; `most_tokens` counts no text lower."""


def bounded(text: str, max_tokens: int, uri: str | None = None) -> str:
    """`text` within `max_tokens` (o200k), cut by its structure; says what is left out and where (`uri`) the whole is.

    Whole paragraphs, items, rows and lines of code stay while they fit; a cut block of code is closed, a cut table
    keeps its header. Where that leaves most of the room empty, sentences stay, then words; a word is never cut.
    """
    if len(text) <= max_tokens * _MOST_PER_TOKEN and fits(text, max_tokens):
        return text
    room = max_tokens - most_tokens(_note(9_999_999, uri))
    if room <= 0:  # not even the address fits
        note = _note(0, None)
        return note if most_tokens(note) <= max_tokens else ""
    kept: list[str] = []
    left = room
    lines = text.split("\n")
    number = 0
    for block, number in _blocks(lines):
        whole = f"{block.head}{''.join(block.pieces)}{block.tail}"
        if (cost := _tokens(whole, left)) <= left:
            kept.append(whole)
            left -= cost
            continue
        part, missing = _part(block, left, enough=left < room // 2)
        last = not any(line.strip() for line in lines[number:])  # else a number would not be all
        note, body = _note(missing if last else 0, uri), "".join([*kept, part]).rstrip()
        return f"{body}\n\n{note}" if body else note
    return "".join(kept).rstrip()


def _part(block: _Block, room: int, *, enough: bool) -> tuple[str, int]:
    """What of a block fits, and how many of its pieces do not; 0 for words of one piece."""
    head, tail = block.head, block.tail
    if not tail and (fence := _FENCE.match(head)):
        tail = f"{fence[1]}\n"
    left = room - most_tokens(head) - most_tokens(tail)
    kept: list[str] = []
    for piece in block.pieces:
        if (cost := _tokens(piece, left)) > left:
            break
        kept.append(piece)
        left -= cost
    if kept:
        return f"{head}{''.join(kept)}{tail}", _missing(block.pieces, len(kept))
    if head:
        return "", _missing(block.pieces, 0)
    words = _words(block.pieces[0], room, sentences=enough)
    return words, 0 if block.prose else _missing(block.pieces, 1 if words else 0)


def _missing(pieces: Sequence[str], kept: int) -> int:
    said = _REMAINDER.fullmatch(pieces[-1]) if pieces else None  # a table may have a header alone
    return len(pieces) - kept + (int(said[1].replace(",", "") or 0) - 1 if said else 0)


def _words(text: str, room: int, *, sentences: bool) -> str:
    """The first sentences of `text` that fit, or its first words unless it must be `sentences`."""
    near = text[: max(0, room) * _MOST_PER_TOKEN]
    for ends in (_SENTENCE, None if sentences else _SPACE if "://" in near else _WORD):
        found = [end.start() for end in ends.finditer(near)] if ends else []
        fit = bisect_right(found, room, key=lambda end: most_tokens(near[:end]))
        if fit and (part := near[: found[fit - 1]].strip()) and not _ITEM.fullmatch(f"{part} "):
            return part
    return ""


def _note(missing: int, uri: str | None) -> str:
    what = f"{missing:,} more" if missing else "cut here"
    return f"\u2026 {what}, the full result is at {uri}" if uri else f"\u2026 {what}"


def _tokens(text: str, room: int) -> int:
    """Its tokens; of a text that is too long anyway, only more than `room`."""
    return room + 1 if len(text) > (room + 1) * _MOST_PER_TOKEN else most_tokens(text)


def _blocks(lines: Sequence[str]) -> Iterator[tuple[_Block, int]]:
    """The blocks of a Markdown text, each with the number of the line after it; blank lines end the one before."""
    at = 0
    while at < len(lines):
        line, start = lines[at], at
        if fence := _FENCE.match(line):
            at += 1
            while at < len(lines) and not lines[at].strip().startswith(fence[1]):
                at += 1
            closed = at < len(lines)
            block = _Block(_ended(lines, start + 1, at), head=f"{line}\n", tail=f"{lines[at]}\n" if closed else "")
            at += closed
        elif "|" in line and at + 1 < len(lines) and {"|", "-"} <= set(lines[at + 1]) <= _RULE:
            at += 2
            while at < len(lines) and "|" in lines[at]:
                at += 1
            block = _Block(_ended(lines, start + 2, at), head=f"{line}\n{lines[start + 1]}\n")
        elif item := _ITEM.match(line):
            block, at = _items(lines, at, len(item[1]))
        else:
            at += 1
            while line.strip() and at < len(lines) and lines[at].strip() and not _begins(lines, at):
                at += 1
            while at < len(lines) and not lines[at].strip():
                at += 1
            block = _Block(["".join(_ended(lines, start, at))], prose=True)
        yield block, at


def _items(lines: Sequence[str], at: int, indent: int) -> tuple[_Block, int]:
    """A list: an item goes on over what is indented more, and over blank lines before that or before another item."""
    starts = []
    while at < len(lines):
        item = _ITEM.match(lines[at])
        if item and len(item[1]) <= indent:
            starts.append(at)
        elif not (item or lines[at].startswith(" " * (indent + 1)) or not lines[at].strip()):
            break
        at += 1
    pieces = ["".join(_ended(lines, start, end)) for start, end in zip(starts, [*starts[1:], at], strict=True)]
    return _Block(pieces), at


def _begins(lines: Sequence[str], at: int) -> bool:
    """Whether a list, a fenced block or a table begins at this line of a paragraph."""
    line = lines[at]
    table = "|" in line and at + 1 < len(lines) and {"|", "-"} <= set(lines[at + 1]) <= _RULE
    return table or _FENCE.match(line) is not None or _ITEM.match(line) is not None


def _ended(lines: Sequence[str], start: int, end: int) -> list[str]:
    return [f"{line}\n" for line in lines[start:end]]


@value
class Shown:
    """One of several results in an answer."""

    heading: str
    text: str
    uri: str | None = None
    """Where the whole of it is."""


_LEAST_SHARE = 40
"""Tokens below which a result of several is not worth its heading."""


def together(parts: Sequence[Shown], max_tokens: int) -> str:
    """Several results, each under a small heading; those that need less than their share leave it to the others."""
    most = max(1, max_tokens // _LEAST_SHARE)
    shown, missing = parts[:most], len(parts[most:])
    headings = [f"#### {clean(part.heading, 80)}\n\n" for part in shown]
    note = f"\n\n{_note(missing, None)}" if missing else ""
    room = max_tokens - sum(map(most_tokens, headings)) - most_tokens(note) - len(shown)
    needs = [_tokens(part.text, max_tokens) for part in shown]
    share = _fair(needs, room)
    texts = [bounded(part.text, min(need, share), part.uri) for part, need in zip(shown, needs, strict=True)]
    return "\n\n".join(f"{head}{text}".rstrip() for head, text in zip(headings, texts, strict=True)) + note


def _fair(needs: Sequence[int], room: int) -> int:
    """The most that each may have so that all of them fit."""
    left, share = max(room, 0), 0
    for number, need in enumerate(sorted(needs)):
        share = left // (len(needs) - number)
        if need > share:
            return share
        left -= need
    return max([share, *needs])


# --- a reading of any data -------------------------------------------------------------------------------------------

_TELLING = (
    ("title", "name", "subject", "summary", "displayname", "fullname", "headline", "label"),
    ("id", "key", "number", "identifier", "shortid", "slug", "code"),
    ("state", "status", "stage", "priority", "severity", "level", "type", "kind"),
    ("date", "time", "created", "updated", "due", "start", "end", "timestamp", "when"),
    ("author", "assignee", "assignedto", "owner", "user", "creator", "sender", "from", "email"),
    ("count", "total", "amount", "price", "value", "size"),
    ("url", "htmlurl", "weburl", "permalink", "link", "href", "webviewlink"),
)
_TITLE, _NAMED, _DATE, _OTHER = 0, 1, 3, len(_TELLING)
_RANK = {name: rank for rank, names in enumerate(_TELLING) for name in names}
_DATED = re.compile(r"(?:_at|At|_on|_date|Date|_time|Time)$")
_URL = re.compile(r"https?://[!#-'*-;=?-Z^_a-~]{1,300}")
_FIELDS, _INSIDE, _DEEP = 8, 3, 3
"""Fields of a row and of an object inside it that are shown; levels that are looked into."""


def reading(data: Json, *, room: int) -> str:
    """A person's reading of any JSON value in at most `room` tokens: facts and rows, the telling fields first.

    Addresses are as they came; what else others wrote is `clean`.
    """
    if isinstance(data, str):
        return bounded(data.strip() or "Nothing was found.", room)
    if isinstance(data, Mapping):
        rows = _rows_of(data)
        most = _FIELDS if rows else 4 * _FIELDS
        facts = _facts({name: each for name, each in data.items() if each is not rows} if rows else data, 240, most)
        if rows is None:
            return _listed("", [f"{name}: {said}" if name else f"**{said}**" for name, said in facts], room)
        about = ", ".join(f"{name}: {said}" if name else said for name, said in facts)
        return _listed(f"{about}\n" if about else "", map(_row, rows), room, total=len(rows))
    if isinstance(data, list):
        return _listed("", map(_row, data), room, total=len(data))
    return "Nothing was found." if data is None else _said(data, 240)


def _rows_of(data: Mapping[str, Json]) -> list[Json] | None:
    """The rows of an object that is nothing but a page of them: without a name of its own, and with one such list."""
    lists = [each for each in data.values() if isinstance(each, list) and each and isinstance(each[0], Mapping)]
    named = any(_rank(str(name)) <= _NAMED for name in data)
    return lists[0] if len(lists) == 1 and not named else None


def _listed(head: str, lines: Iterable[str], room: int, *, total: int = 0) -> str:
    """A list of the lines that fit, then how many there are more."""
    if total:
        head += f"{plural(total, 'row')}:\n"
    left = room - most_tokens(head) - most_tokens("- and 9,999,999 more\n")
    shown: list[str] = []
    given = [] if total else list(lines)
    for line in given or lines:
        item = f"- {line}\n"
        if (cost := most_tokens(item)) > left:
            if shown or not (item := _words(item, left, sentences=False)):
                break
            cost = left
        shown.append(f"{item.rstrip()}\n")
        left -= cost
    more = (total or len(given)) - len(shown)
    text = f"{head}{''.join(shown)}{f'- and {more:,} more' if more else ''}".strip()
    return bounded(text, room) if text else "Nothing was found."


def _row(row: Json) -> str:
    if not isinstance(row, Mapping):
        return _said(row, 120) or "nothing"
    facts = _facts(row, 100, _FIELDS)
    title = f"**{facts[0][1]}**" if facts and not facts[0][0] else ""
    rest = ", ".join(f"{name}: {said}" for name, said in facts[bool(title) :])
    return f"{title} ({rest})" if title and rest else title or rest or "nothing"


def _facts(row: Mapping[str, Json], limit: int, most: int, depth: int = _DEEP) -> list[tuple[str, str]]:
    """The fields that say something, in words, the telling ones first; the title stands first and without its name."""
    ranked = sorted(row.items(), key=lambda field: _rank(str(field[0])))[: 4 * _FIELDS]
    facts = (
        ("" if _rank(str(name)) == _TITLE and not number else _called(str(name)), said)
        for number, (name, each) in enumerate(ranked)
        if (said := _said(each, limit, depth))
    )
    return list(islice(facts, most))


@lru_cache(maxsize=1_024)
def _called(name: str) -> str:
    return clean(name, 40)


@lru_cache(maxsize=1_024)
def _rank(name: str) -> int:
    plain = re.sub(r"[_\-\s]", "", name[:60]).lower()
    return _RANK.get(plain, _DATE if _DATED.search(name) else _OTHER)


def _said(data: Json, limit: int, depth: int = _DEEP) -> str:
    """A value in a few words; empty for what says nothing."""
    if data is None:
        return ""
    if isinstance(data, bool):
        return "yes" if data else "no"
    if isinstance(data, str):
        return data if _URL.fullmatch(data) else clean(data, limit)
    if isinstance(data, list):
        return _said_list(data, limit, depth)
    if not isinstance(data, Mapping):
        return str(data)
    if depth <= 1:
        return plural(len(data), "field") if data else ""
    facts = _facts(data, limit // 2, _INSIDE, depth - 1)
    if facts and not facts[0][0]:
        return facts[0][1]
    return ", ".join(f"{name} {said}" for name, said in facts)


def _said_list(data: Sequence[Json], limit: int, depth: int) -> str:
    if depth <= 1:
        return plural(len(data), "item") if data else ""
    said = [each for item in data[:_INSIDE] if (each := _said(item, limit // 2, depth - 1))]
    more = len(data) - _INSIDE
    return ", ".join(said) + (f" and {more:,} more" if more > 0 else "")


# --- the whole -------------------------------------------------------------------------------------------------------


@value
class Found:
    """What one call of a tool found."""

    tool: ToolSpec
    args: Json
    result: Result


@value
class Section:
    """Where one call's result stands in a stored document."""

    found: Found
    size: int
    """Bytes."""
    offset: int
    """Bytes before it; it begins with an ASCII character."""


def cite(tool: ToolSpec, result: Result, hosts: frozenset[str]) -> tuple[Citation, ...]:
    """The result's sources as citations, each page once; without addresses of hosts other than `hosts`."""
    seen: dict[tuple[str, str | None], Citation] = {}
    for source in result.sources:
        if (source.title, source.url) not in seen and len(seen) < _CITATIONS:
            url = source.url if source.url and foreign.leads_home(source.url, hosts) else None
            ref = source.ref and foreign.words(source.ref)
            seen[source.title, source.url] = Citation(foreign.words(source.title), tool.name, url, ref)
    return tuple(seen.values())


def document(tool: ToolSpec, args: Json, result: Result) -> bytes:
    """The full result of one call as a JSON document that can be read on its own."""
    body = {"tool": tool.name, "arguments": args, "text": result.text, "data": result.data}
    try:
        return orjson.dumps(body)
    except TypeError:  # an integer of more than 64 bits, half of a surrogate pair
        return json.dumps(body, separators=(",", ":")).encode()


def filed(found: Sequence[Found]) -> tuple[bytes, tuple[Section, ...]]:
    """The full results of several calls as one JSON document, and where in it each one stands; of one, `document`."""
    parts = [document(each.tool, each.args, each.result) for each in found]
    if len(parts) == 1:
        return parts[0], (Section(found[0], len(parts[0]), 0),)
    sections: list[Section] = []
    offset = len(b'{"results":[')
    for each, part in zip(found, parts, strict=True):
        sections.append(Section(each, len(part), offset))
        offset += len(part) + len(b",")
    return b'{"results":[' + b",".join(parts) + b"]}", tuple(sections)


def contents(sections: Sequence[Section], uri: str) -> str:
    """The table of contents of a stored document at `uri`: each result, what it holds, and where it begins."""
    size = sum(section.size for section in sections)
    lines = [
        f"- {clean(section.found.tool.name, 60)}: {_holds(section.found.result.data)}, {_bytes(section.size)}, "
        f"at {uri}?offset={section.offset}"
        for section in sections
    ]
    return "\n".join([f"The full result holds {plural(len(sections), 'result')}, {_bytes(size)}:", *lines])


def _holds(data: Json) -> str:
    """What a result is made of, in a few words."""
    rows = data if isinstance(data, list) else (_rows_of(data) if isinstance(data, Mapping) else None)
    if rows is not None:
        fields = list(rows[0]) if rows and isinstance(rows[0], Mapping) else []
        return plural(len(rows), "row") + (f" with {_names(fields)}" if fields else "")
    if isinstance(data, Mapping):
        return f"one object with {_names(list(data))}" if data else "an empty object"
    return "text" if data is None or isinstance(data, str) else "one value"


_FIELD = re.compile(r"[\w.\-]{1,40}")


def _names(fields: Sequence[Json]) -> str:
    """Those that are names: a field can be called anything."""
    shown = [field for field in map(str, fields) if _FIELD.fullmatch(field)][:_FIELDS]
    more = len(fields) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _bytes(size: int) -> str:
    return f"{size / 1_000:,.1f} KB" if size >= 1_000 else plural(size, "byte")  # noqa: PLR2004


# --- nothing found ---------------------------------------------------------------------------------------------------


def abilities(title: str, about: str, tools: Sequence[ToolSpec], closest: Iterable[ToolSpec], *, why: str) -> str:
    """What to say when no tool is surely meant: what is here, in one short paragraph, and the closest tools.

    `why` says in a sentence without its stop why no model works it out.
    """
    near = list(closest)
    examples = [tool.asks[0] for tool in (near or tools) if tool.asks and "{" not in tool.asks[0]][:2]
    lead = f"I am not sure what to look up in {title} for this. {why}."
    can = f"I can read its {about}" if about else f"I can read {title}"
    such = f", for example: {' — '.join(f'“{example}”' for example in examples)}." if examples else "."
    named = "; ".join(f"{tool.name} ({tool.summary.rstrip('.')})" for tool in near)
    tail = (
        f' Closest tools: {named}. Ask in those words, or set options.mode="tool" with options.tool and options.args.'
    )
    return f"{lead} {can}{such}{tail if near else ''}"
