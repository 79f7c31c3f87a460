"""Whether a list goes on, and the request for its next page; pure.

Nothing in an answer moves a request elsewhere: of a link only the query is taken, and only from one to the same host
and the same kind of thing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from providers.spec import Args, Json, Reply, Request
from providers.tools import at

MOST: Final = 5
"""Further pages that one call follows."""

_CURSORS: Final = (
    *("cursor", "page_token", "pageToken", "starting_after", "start_cursor", "after", "next_token", "nextToken"),
    *("next_cursor", "nextCursor", "marker", "continuation_token", "continuationToken", "page_cursor", "$skiptoken"),
    *("next_page_token", "nextPageToken", "page_after", "page[after]", "page[cursor]", "next_page"),
)
_PAGES: Final = ("page", "page_number", "pageNumber", "page_num", "pageNum", "pageNo", "page[number]")
_OFFSETS: Final = ("offset", "startAt", "start_at", "skip", "$skip", "start", "page[offset]")
_SIZES: Final = (
    *("per_page", "perPage", "page_size", "pageSize", "limit", "max_results", "maxResults", "pagelen", "page_limit"),
    *("count", "size", "first", "top", "$top", "page[size]", "page[limit]", "results_per_page"),
)
_BACK: Final = ("before", "ending_before", "since_id", "max_id", "previous_cursor")

_NEXT: Final = tuple(
    tuple(place.split(" "))
    for place in (
        *("next_page offset", "next_page uri", "nextPageToken", "next_page_token", "next_cursor", "nextCursor"),
        *("response_metadata next_cursor", "paging next after", "paging next link", "paging next"),
        *("paging cursors after", "pagination next_cursor", "pagination next_page", "pagination next_url"),
        *("pagination next", "links next", "links pages next", "_links next href", "_links next", "meta next_cursor"),
        *("meta next_page", "meta next", "meta pagination next_page", "page next", "cursors after", "cursor next"),
        *("@odata.nextLink", "odata.nextLink", "nextLink", "next_page", "nextPage", "next_page_url", "next_url"),
        *("next_marker", "nextMarker", "next_token", "nextToken", "next", "info next", "cursor"),
    )
)
"""Where answers say what comes next."""
_MORE: Final = ("has_more", "hasMore", "has_next", "hasNextPage", "more")
_TOTALS: Final = ("total", "total_count", "totalCount", "totalResults", "total_results", "count")


def of(params: Sequence[Mapping[str, Json]], schema: Mapping[str, Json], host: str) -> dict[str, Json]:
    """What of an operation's parameters has to do with pages, as an entry's `call` keeps it."""
    found: dict[str, Json] = {"host": host, "args": []}
    for param in params:
        name, rules = param.get("name", param["arg"]), schema["properties"].get(param["arg"], {})
        if param["in"] != "query":
            continue
        whole = rules.get("type") in ("integer", "number")
        for kind, names, fits in (
            ("page", _PAGES, whole),
            ("offset", _OFFSETS, whole),
            ("cursor", (*_CURSORS, *_PAGES, *_OFFSETS), True),
            ("size", _SIZES, True),
        ):
            if fits and name in names:
                found.setdefault(kind, name)
                found["args"].append(param["arg"])
                if kind == "size" and isinstance(rules.get("default"), int):
                    found.setdefault("of", rules["default"])
                if kind == "page":
                    found.setdefault("from", rules.get("default") if rules.get("default") == 0 else 1)
                break
        else:
            if name in _BACK:
                found["args"].append(param["arg"])
    return found


def followed(call: Mapping[str, Json], args: Args) -> bool:
    """Whether further pages are for this call to fetch: of a list that the caller did not page through, or bound."""
    pages = call.get("page")
    return pages is not None and not any(args.get(name) is not None for name in pages["args"])


def following(pages: Mapping[str, Json], request: Request, reply: Reply, rows: Sequence[Json]) -> Request | None:
    """The request for the page after the one that `request` brought, or None when there is none that can be told."""
    if not rows:
        return None
    linked = _linked(reply.headers.get("link", ""))
    if linked is not None:
        return _by_link(pages, request, linked) if linked else None
    data = reply.data
    if isinstance(data, dict):
        if any(data.get(name) is False for name in _MORE) or data.get("isLast") is True:
            return None
        told = next((found for place in _NEXT if _tells(found := at(data, *place))), None)
        if told is not None:
            return _by_word(pages, request, told)
        if pages.get("cursor") == "starting_after":
            last = at(rows[-1], "id")
            return _with(request, "starting_after", last) if data.get("has_more") is True and _tells(last) else None
    return _by_number(pages, request, data, len(rows))


def _tells(found: Json) -> bool:
    return (isinstance(found, str) and 0 < len(found) <= 4_000) or (type(found) is int and found > 0)  # noqa: PLR2004


def _linked(header: str) -> str | None:
    """Where the `Link` header (RFC 8288) says that the next page is; empty: nowhere; None: it does not speak of it."""
    paged = False
    for part in re.findall(r"<([^<>]{0,4000})>([^<]*)", header[:20_000]):
        relation = re.search(r'\brel="?([\w -]+)', part[1])
        relations = relation[1].split() if relation else []
        if "next" in relations and 'results="false"' not in part[1]:
            return str(part[0])
        paged = paged or not {"next", "prev", "previous", "first", "last"}.isdisjoint(relations)
    return "" if paged else None


def _by_link(pages: Mapping[str, Json], request: Request, link: str) -> Request | None:
    try:
        parts = urlsplit(link)
    except ValueError:
        return None
    if parts.netloc not in ("", pages["host"]):
        return None
    if parts.path and _last(parts.path) != _last(request.path):
        return None
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    return replace(request, query=urlencode(pairs, quote_via=quote)) if pairs else None


def _last(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2]


def _by_word(pages: Mapping[str, Json], request: Request, told: str | int) -> Request | None:
    """By a link, or by what to give as the cursor."""
    if isinstance(told, str) and re.match(r"(?:https?://|/|\?)", told):
        return _by_link(pages, request, told)
    name = pages.get("cursor") or (pages.get("page") or pages.get("offset") if str(told).isdecimal() else None)
    return _with(request, name, told) if name else None


def _by_number(pages: Mapping[str, Json], request: Request, data: Json, got: int) -> Request | None:
    """By counting, where it is known that there is more: the page was full, or the total is larger."""
    asked = dict(parse_qsl(request.query))
    full = got >= pages["of"] if "of" in pages else None
    total = next((each for each in (at(data, name) for name in _TOTALS) if type(each) is int), None)
    for kind, first in (("offset", 0), ("page", pages.get("from", 1))):
        if (name := pages.get(kind)) is None:
            continue
        now = asked.get(name, "")
        here = int(now) if now.isdecimal() and len(now) < 12 else first  # noqa: PLR2004
        seen = here + got if kind == "offset" else (here - first + 1) * got
        # A total of just this page says nothing.
        more = seen < total if total is not None and total > got else total is None and full is True
        return _with(request, name, seen if kind == "offset" else here + 1) if more else None
    return None


def _with(request: Request, name: str, value: str | int) -> Request:
    pairs = [each for each in parse_qsl(request.query, keep_blank_values=True) if each[0] != name]
    return replace(request, query=urlencode([*pairs, (name, str(value))], quote_via=quote))
