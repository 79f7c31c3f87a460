"""What an operation answered, whatever it is: rows and records, and words about them; pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from providers.spec import Json, Page, Reply, Result
from providers.tools import SHOWN, bullets, clean, page_url, plural, text_at

_LISTS: Final = (
    *("items", "data", "results", "result", "values", "records", "rows", "entries", "value", "elements", "objects"),
    *("issues", "members", "messages", "files", "list"),
)
"""What the member that holds the rows is mostly called."""
_ASIDE: Final = re.compile(
    r"_?(?:links?|meta(?:data)?|paging|pagination|page(?:_?info)?|next.*|prev.*|first.*|last.*|cursors?|total.*|count|"
    r"size|limit|offset|start_?at|max_?results|has_?(?:more|next).*|is_?last|incomplete_results|kind|etag|object|self|"
    r"response_metadata|ok|success|status|errors?|warnings?|query|expand|type|request_id|url|.*(?:token|cursor)|"
    r"includes?d?|@odata\..*|info|sort|per_page|version)",
    re.IGNORECASE,
)
"""Members of an answer that are about it, and not what was asked for."""
_SELF: Final = frozenset({"id", "name", "title", "key", "gid", "uuid"})
"""A record with one of these is something itself, whatever lists it holds."""

_TITLES: Final = ("name", "title", "full_name", "displayName", "display_name", "summary", "subject", "label", "login")
_NUMBERS: Final = ("number", "key", "shortId", "id", "gid", "uuid", "slug", "sha")
_FACTS: Final = ("state", "status", "level", "priority", "type", "email", "updated_at", "updatedAt", "modifiedTime")
_PAGES: Final = (
    "html_url",
    "permalink",
    "permalink_url",
    "web_url",
    "webUrl",
    "webViewLink",
    "htmlLink",
    "url",
    "self",
)
_MOST_FIELDS: Final = 24
_MOST_TEXT: Final = 100_000


def member_of(data: Mapping[str, Json]) -> str | None:
    """The member that is what was asked for, when all others are about the answer; None: it is the whole."""
    if not _SELF.isdisjoint(data):
        return None
    held = [name for name, value in data.items() if isinstance(value, list) and not _ASIDE.fullmatch(name)]
    if named := [name for name in _LISTS if name in held]:
        return named[0]
    if len(held) == 1 and all(_ASIDE.fullmatch(name) or name == held[0] for name in data):
        return held[0]
    inner = [name for name in ("data", "result") if isinstance(data.get(name), dict)]
    if inner and all(_ASIDE.fullmatch(name) or name == inner[0] for name in data):
        return inner[0]
    return None


def found(data: Json) -> Json:
    """What of an answer was asked for."""
    name = member_of(data) if isinstance(data, dict) else None
    return data if name is None else data[name]


def said(reply: Reply, data: Json, *, title: str, summary: str, web_base: str, more: bool) -> Result:
    """The result: `data` is what was found in `reply` and in the pages after it; `more`: there are still others."""
    if data is None:
        return _other(reply, title)
    if isinstance(data, list):
        return _rows(data, web_base, more=more)
    if isinstance(data, dict):
        page = _page(data, web_base)
        return Result(data, _record(data, summary), (page,) if page else ())
    return Result(data, clean(str(data), 2_000))


def _rows(data: Sequence[Json], web_base: str, *, more: bool) -> Result:
    if not data:
        return Result([], "Nothing was found.")
    lines = [_line(row) for row in data[:SHOWN]]
    head = f"{plural(len(data), 'result')}{', and there are more' if more else ''}:"
    pages = [page for row in data[:SHOWN] if isinstance(row, dict) and (page := _page(row, web_base))]
    return Result(list(data), f"{head}\n{bullets(lines, total=len(data))}", tuple(pages))


def _line(row: Json) -> str:
    if not isinstance(row, dict):
        return clean(_words(row), 200)
    name, number = _title(row), next((text for each in _NUMBERS if (text := text_at(row, each))), "")
    facts = [f"{each}: {clean(text, 60)}" for each in _FACTS if (text := text_at(row, each))][:3]
    head = f"**{name}** (`{clean(number, 60)}`)" if name and number and name != number else name or clean(number, 100)
    if not head:
        head = "; ".join(f"{clean(key, 40)}: {clean(_words(each), 60)}" for key, each in list(row.items())[:4])
    return ", ".join([head, *facts])


def _title(row: Mapping[str, Json]) -> str:
    for each in _TITLES:
        if text := text_at(row, each):
            return clean(text, 100)
    return ""


def _record(row: Mapping[str, Json], summary: str) -> str:
    if not row:
        return f"Done: {clean(summary, 200)}"
    fields = [(key, _words(value)) for key, value in row.items() if value not in (None, "", [], {})]
    lines = [f"{clean(key, 60)}: {clean(words, 200)}" for key, words in fields if words]
    return bullets(lines[:_MOST_FIELDS], total=len(lines), most=_MOST_FIELDS) or "The answer is empty."


def _words(value: Json) -> str:
    """A value in a few words; what it holds itself is named, or counted."""
    match value:
        case bool():
            return "yes" if value else "no"
        case str() | int() | float():
            return str(value)
        case list():
            plain = [str(each) for each in value if isinstance(each, str | int | float)]
            names = plain or [_title(each) for each in value[:SHOWN] if isinstance(each, dict)]
            shown = ", ".join(each for each in names[:SHOWN] if each)
            return shown if shown and len(value) <= SHOWN else plural(len(value), "item")
        case dict():
            return _title(value) or next((text for each in _NUMBERS if (text := text_at(value, each))), "")
        case _:
            return ""


def _page(row: Mapping[str, Json], web_base: str) -> Page | None:
    for each in _PAGES:
        if (url := page_url(web_base, text_at(row, each))) is not None and url:
            return Page(_title(row) or clean(text_at(row, "id") or url, 100), url, text_at(row, "id")[:200] or None)
    return None


def _other(reply: Reply, title: str) -> Result:
    """An answer that is no JSON."""
    kind = reply.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not reply.body.strip():
        return Result(None, "Done." if reply.data is None else "The answer is empty.")
    if kind.startswith("text/") or "xml" in kind or "yaml" in kind:
        text = reply.body[:_MOST_TEXT].decode(errors="replace")
        cut_off = f" It is cut after {_MOST_TEXT:,} bytes." if len(reply.body) > _MOST_TEXT else ""
        return Result(text, f"{title} answered with text ({clean(kind, 60)}): {clean(text, 2_000)}{cut_off}")
    told = {"kind": clean(kind, 100) or "unknown", "bytes": len(reply.body)}
    return Result(
        told, f"{title} answered with a file ({told['kind']}, {len(reply.body):,} bytes), which is not shown."
    )
