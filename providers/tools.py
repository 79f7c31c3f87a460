"""What the tools of a catalogue file share: addresses, lenient reading of foreign JSON, and foreign text made safe."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache, partial
from json import dumps
from typing import TypeAlias
from urllib.parse import parse_qs, quote, urlsplit

from providers.errors import BadArguments, Unavailable
from providers.spec import Api, Args, Invoke, Json, Page, Reply, Request, Result

Row: TypeAlias = Mapping[str, Json]
"""One JSON object of a provider's answer."""

SHOWN = 10
"""Rows a text lists before it says how many more there are."""
_LONGEST = 4_000

# --- addresses -------------------------------------------------------------------------------------------------------


def path(template: str, **values: Json) -> str:
    """`template` with each `{name}` filled in and percent-encoded whole, so that no value can add or leave a segment.

    Raises: `BadArguments` for an empty value or a dot segment.
    """
    text, *rest = _parts(template)
    for name, after in rest:
        text += _segment(name, str(values[name])) + after
    return text


@lru_cache(maxsize=1_024)
def _parts(template: str) -> tuple[str, *tuple[tuple[str, str], ...]]:
    """What stands before the first name, then each name and what stands after it."""
    first, *rest = re.split(r"\{(\w+)\}", template)
    return first, *zip(rest[::2], rest[1::2], strict=True)


_UNRESERVED = re.compile(r"[A-Za-z0-9_.~-]+")


def _segment(name: str, value: str) -> str:
    if value in ("", ".", ".."):
        raise BadArguments(f"The {name} cannot be used in an address: give its exact name.")
    return value if _UNRESERVED.fullmatch(value) else quote(value, safe="", errors="replace")


_LINKED = re.compile(r"[!#-'*-;=?-\[\]-_a-~]*")
"""ASCII without white space and without what ends a link in Markdown or HTML."""


def page_url(web_base: str, url: str) -> str | None:
    """`url` if it is a page of the provider's site or of a subdomain, else None: a citation leads nowhere else."""
    if not _LINKED.fullmatch(url):
        return None
    try:
        site = urlsplit(web_base)
        if url.startswith(f"{site.scheme}://{site.netloc}/"):
            return url
        page = urlsplit(url)
    except ValueError:
        return None
    same = page.netloc == site.netloc or page.netloc.endswith(f".{site.netloc}")
    return url if same and page.scheme == site.scheme else None


def given(params: Mapping[str, Json]) -> dict[str, Json]:
    """The query parameters that have a value."""
    return {name: value for name, value in params.items() if value is not None}


# --- reading ---------------------------------------------------------------------------------------------------------

_WRITTEN = (str, int, float)


def unreadable(provider: str) -> Unavailable:
    """What to raise for an answer that is not of the expected shape."""
    return Unavailable(f"{provider} gave an answer this tool cannot read.")


def record(provider: str, data: Json, *needs: str) -> Row:
    """`data` as one object that has a value at each of `needs`. Raises: `Unavailable` otherwise."""
    if isinstance(data, dict) and all(text_at(data, name) for name in needs):
        return data
    raise unreadable(provider)


def records(provider: str, data: Json, *needs: str) -> list[Row]:
    """The objects of the list `data` that have a value at each of `needs`.

    Raises: `Unavailable` when it is not a list, or a list of which nothing can be read.
    """
    if isinstance(data, list):
        rows: list[Row] = [row for row in data if isinstance(row, dict) and all(text_at(row, name) for name in needs)]
        if rows or not data:
            return rows
    raise unreadable(provider)


def at(row: Json, *keys: str) -> Json:
    """What stands at that place, or None when any part of the way is missing."""
    for key in keys:
        row = row.get(key) if isinstance(row, dict) else None
    return row


def list_at(row: Json, *keys: str) -> list[Row]:
    """The objects of the list at that place; empty when there is none."""
    found = at(row, *keys)
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def text_at(row: Json, *keys: str) -> str:
    """The text or number at that place, as it came; empty when it is anything else. `clean` it before showing it."""
    found = at(row, *keys)
    if type(found) is str:
        return found
    return str(found) if isinstance(found, _WRITTEN) and not isinstance(found, bool) else ""


def number(value: Json) -> float | None:
    """The finite number that `value` is or spells, else None."""
    try:
        found = float(value) if isinstance(value, _WRITTEN) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def number_at(row: Json, *keys: str) -> float | None:
    """The number at that place, however it is written."""
    return number(at(row, *keys))


def whole_at(row: Json, *keys: str) -> int:
    """The number at that place as a whole one; 0 when there is none."""
    return round(number(at(row, *keys)) or 0)


def moment_at(row: Json, *keys: str) -> datetime | None:
    """The moment at that place (ISO 8601; without a zone it is UTC)."""
    return moment(text_at(row, *keys))


def moment(written: str) -> datetime | None:
    """An ISO 8601 moment in UTC, or None when it is not one."""
    try:
        found = datetime.fromisoformat(written)
        return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def picked(row: Row, fields: Iterable[str]) -> dict[str, Json]:
    """Only `fields` of the row, in its own shape: `"a.b"` gives `{"a": {"b": …}}`; what is missing is None."""
    result: dict[str, Json] = {}
    for way, last in _ways(tuple(fields)):
        if not way:
            result[last] = row.get(last)
            continue
        place = result
        for key in way:
            place = place.setdefault(key, {})
        place[last] = at(row, *way, last)
    return result


@lru_cache(maxsize=1_024)
def _ways(fields: tuple[str, ...]) -> Sequence[tuple[Sequence[str], str]]:
    """Each field's place and name."""
    return [(way, last) for *way, last in (field.split(".") for field in fields)]


# --- words -----------------------------------------------------------------------------------------------------------

_MINUTE, _MONTHS = timedelta(minutes=1), timedelta(days=60)
_LENGTHS = ((60, "minute", 3_600), (3_600, "hour", 2 * 86_400), (86_400, "day", math.inf))
"""Seconds of each unit, its name, and the seconds from which on the next one reads better."""
_HIDDEN = {"Cf", "Cn", "Co", "Cs"}
_GAPS = {"Cc", "Zl", "Zp", "Zs"}
_HARMLESS = re.compile(r"[\w(][\w .,;'()+@%&=*!?$|~^{}\"-]*(?::(?!/)[\w .,;'()+@%&=*!?$|~^{}\"-]*)*")
_ANSI = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
_AUTOLINK = re.compile(r"\w[\w+.-]*:/{2,}|\bwww\.(?=\w)", re.IGNORECASE)
_TAG = re.compile(r"<([A-Za-z/!?][^<>]*)>")
_OPEN_TAG = re.compile(r"<(?=[A-Za-z/!?])")
_LINK = re.compile(r"\](?=[(\[:])")
_BLOCK = re.compile(r"^(?:#{1,6} |>+ ?)+")


def clean(foreign: str, limit: int = 120) -> str:
    """Foreign text as one harmless line of at most `limit` characters, cut at a word with "…".

    Control and invisible characters go; Markdown links and images, HTML and addresses that would link by themselves
    stay readable but lose their force.
    """
    line = foreign[:_LONGEST]
    if (
        _HARMLESS.fullmatch(line) and "www." not in line.lower()
    ):  # as most titles are; the rest of this costs eight times as much
        return cut(" ".join(line.split()), limit)
    if not line.isprintable():
        line = _ANSI.sub("", line)
        kinds = ((char, unicodedata.category(char)) for char in line)
        line = "".join(" " if kind in _GAPS else "" if kind in _HIDDEN else char for char, kind in kinds)
    while (bare := _AUTOLINK.sub("", line)) != line:
        line = bare
    line = _OPEN_TAG.sub("\u2039", _TAG.sub("\u2039\\1\u203a", line))
    line = " ".join(_LINK.sub("] ", line).replace("`", "'").split())
    return cut(_BLOCK.sub("", line), limit)


def passage(foreign: str, limit: int = 6_000) -> str:
    """Foreign text of several lines, each of them harmless as by `clean`; at most `limit` characters, then "…"."""
    lines: list[str] = []
    left = limit
    for line in map(partial(clean, limit=600), foreign[: 4 * limit].splitlines()):
        if not line and not (lines and lines[-1]):
            continue
        left -= len(line) + 1
        if left < 0:
            return "\n".join([*lines, "…"])
        lines.append(line)
    return "\n".join([*lines, *(["…"] if len(foreign) > 4 * limit else [])]).strip()


def cut(line: str, limit: int) -> str:
    """`line`, or its beginning up to the last whole word that fits, with "…"."""
    if len(line) <= limit:
        return line
    head = line[: limit - 1]
    words, _, rest = head.rpartition(" ")
    return f"{(words if words and len(rest) < limit // 2 else head).rstrip(' ,;:')}…"


_ENDS_IN_Y = re.compile(r"[^aeiou]y$")


def plural(number: float, one: str, many: str | None = None) -> str:
    """A counted noun: "1 error", "1,204 errors", "2 repositories"."""
    if round(number) == 1:
        return f"{number:,.0f} {one}"
    return f"{number:,.0f} {many or (f'{one[:-1]}ies' if _ENDS_IN_Y.search(one) else f'{one}s')}"


def length(stretch: timedelta) -> str:
    """A stretch of time in its best unit: "5 minutes", "30 hours", "3 days"."""
    seconds = abs(stretch.total_seconds())
    [size, unit, _] = next(filter(lambda each: seconds < each[2], _LENGTHS))
    return plural(seconds // size, unit)


_PERIODS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


def span(period: str) -> timedelta:
    """How long a period is that is written as 24h, 7d or 2w."""
    return int(period[:-1]) * _PERIODS[period[-1]]


def ago(then: datetime | None, now: datetime) -> str:
    """How long ago: "5 minutes ago", "3 days ago"; the date when over two months have passed, or none."""
    if then is None:
        return "at an unknown time"
    passed = now - then
    if abs(passed) < _MINUTE:
        return "just now"
    if _MINUTE <= passed < _MONTHS:
        return f"{length(passed)} ago"
    return f"on {then.day} {then:%b %Y}"


def clock(then: datetime, now: datetime) -> str:
    """The time of day, "14:00 UTC", with the date when that is not today's."""
    if then.date() == now.date():
        return f"{then:%H:%M} UTC"
    return f"{then.day} {then:%b %H:%M} UTC" if then.year == now.year else f"{then.day} {then:%b %Y %H:%M} UTC"


def bullets(lines: Sequence[str], *, total: int = 0, most: int = SHOWN) -> str:
    """A Markdown list of the first `most` lines, then "and N more" of the `total` there are."""
    shown = lines[:most]
    more = max(total, len(lines)) - len(shown)
    return "\n".join(f"- {line}" for line in [*shown, *([f"and {more:,} more"] if more else [])])


# --- builders --------------------------------------------------------------------------------------------------------


async def asked(api: Api, address: str, body: Json) -> Reply:
    """The answer to a read that its API wants as a POST of JSON: it may be sent again as a GET may."""
    content = {"Content-Type": "application/json"}
    return await api.request(Request("POST", address, headers=content, body=dumps(body).encode(), repeat=True))


Next: TypeAlias = Callable[[Reply], Mapping[str, Json] | None]
"""What the request for the page after this one has besides: parameters, or None at the end."""


def by_cursor(reply: Reply) -> Mapping[str, Json] | None:
    """Sentry's way: a cursor in the `Link` header."""
    return None if (cursor := reply.next_cursor) is None else {"cursor": cursor}


_NEXT = re.compile(r'<([^<>]*)>(?:\s*;[^,<>]*)?;\s*rel="?next"?')


def by_link(reply: Reply) -> Mapping[str, Json] | None:
    """The query of the next page in the `Link` header (RFC 8288): a page number or a cursor, as GitHub and GitLab."""
    found = _NEXT.search(reply.headers.get("link", "")[:8_192])
    return query_of(found[1]) if found else None


def query_of(url: str) -> Mapping[str, Json] | None:
    """The parameters in an address that an answer names for its next page, None without; it leads nowhere else."""
    found = parse_qs(url.partition("?")[2].partition("#")[0])
    return {name: values if values[1:] else values[0] for name, values in found.items()} or None


def by_token(place: str, param: str, *, more: str = "") -> Next:
    """What stands at the dotted `place` of the answer becomes `param`, until nothing does or `more` is not true."""

    def after(reply: Reply) -> Mapping[str, Json] | None:
        token = text_at(reply.data, *place.split("."))
        return {param: token} if token and (not more or at(reply.data, *more.split(".")) is True) else None

    return after


def by_offset(param: str, rows: str, *, total: str = "total", last: str = "isLast") -> Next:
    """`param` counts rows, and the answer repeats it; the end is where it says `last` or `total`, or has no `rows`."""

    def after(reply: Reply) -> Mapping[str, Json] | None:
        count = len(list_at(reply.data, *rows.split(".")))
        ends, all_of_them = whole_at(reply.data, param) + count, number_at(reply.data, total)
        over = at(reply.data, last) is True or not count or (all_of_them is not None and ends >= all_of_them)
        return None if over else {param: ends}

    return after


async def followed(
    provider: str,
    ask: Callable[[Mapping[str, Json]], Awaitable[Reply]],
    *,
    rows: str = "",
    needs: tuple[str, ...],
    after: Next,
    most: int,
) -> list[Row]:
    """The rows at the dotted place `rows` of at most `most` pages, each fetched by `ask` with what `after` gave it.

    Raises: `Unavailable` when a page has no list of such rows.
    """
    found: list[Row] = []
    more: Mapping[str, Json] = {}
    for _ in range(most):
        reply = await ask(more)
        found += records(provider, at(reply.data, *rows.split(".")) if rows else reply.data, *needs)
        if (following := after(reply)) is None:
            break
        more = following
    return found


async def pages(
    provider: str,
    api: Api,
    address: str,
    params: Mapping[str, Json] | None = None,
    *,
    rows: str = "",
    needs: tuple[str, ...],
    after: Next = by_cursor,
    most: int,
) -> list[Row]:
    """The rows of a list over at most `most` pages of it; see `followed`."""
    return await followed(
        provider,
        lambda more: api.get(address, {**(params or {}), **more}),
        rows=rows,
        needs=needs,
        after=after,
        most=most,
    )


def get(
    provider: str,
    template: str,
    *,
    needs: tuple[str, ...],
    pick: tuple[str, ...],
    say: Callable[[Row], str],
    source: Callable[[str, Row], Page],
) -> Invoke:
    """A tool that fetches one object: arguments named in `template` go into the path, the others into the query.

    `say` puts the object into words, `source(web_base, row)` cites its page.
    """

    async def invoke(api: Api, args: Args) -> Result:
        row = record(provider, (await api.get(path(template, **args), _query(template, args))).data, *needs)
        return Result(picked(row, pick), say(row), (source(api.web_base, row),))

    return invoke


def listing(
    provider: str,
    template: str,
    *,
    one: str,
    needs: tuple[str, ...],
    pick: tuple[str, ...],
    say: Callable[[Row], str],
    source: Callable[[str, Row, Args], Page],
    fixed: Mapping[str, Json] | None = None,
    rows: str = "",
    after: Next = by_cursor,
    most: int = 5,
) -> Invoke:
    """A tool that fetches a list, all pages up to `most`; arguments as in `get`, and `fixed` always in the query.

    `one` is what a row is called ("project"), `say` puts it into words, `source(web_base, row, args)` cites its page;
    `rows` and `after` as in `followed`.
    """

    async def invoke(api: Api, args: Args) -> Result:
        query = {**(fixed or {}), **_query(template, args)}
        address = path(template, **args)
        found = await pages(provider, api, address, query, rows=rows, needs=needs, after=after, most=most)
        head = f"{plural(len(found), one)}:\n" if found else f"No {one} was found."
        return Result(
            [picked(row, pick) for row in found],
            head + bullets([say(row) for row in found]),
            tuple(source(api.web_base, row, args) for row in found[:SHOWN]),
        )

    return invoke


def _query(template: str, args: Args) -> dict[str, Json]:
    return {name: value for name, value in args.items() if f"{{{name}}}" not in template}
