"""Notion: pages and databases of a workspace, what they say, and the comments on them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus

from providers import tools
from providers.errors import BadArguments, Forbidden, NotFound, ToolError, Unavailable
from providers.spec import Api, Args, Effect, Json, OAuthSpec, Page, Producer, ProviderSpec, Reply, Result, ToolSpec
from providers.tools import (
    SHOWN,
    Row,
    ago,
    asked,
    at,
    bullets,
    by_token,
    clean,
    followed,
    list_at,
    moment_at,
    number_at,
    page_url,
    passage,
    path,
    picked,
    plural,
    text_at,
)

_SEARCH, _COMMENTS = "/v1/search", "/v1/comments"
_CHILDREN = "/v1/blocks/{id}/children"
_NESTED = 10
"""Blocks whose own blocks are read too."""
_HOME = Page("Notion", "https://www.notion.so/")

_record = partial(tools.record, "Notion")
_followed = partial(followed, "Notion", rows="results", after=by_token("next_cursor", "start_cursor", more="has_more"))
_pages = partial(tools.pages, "Notion", rows="results", after=by_token("next_cursor", "start_cursor", more="has_more"))


def refusal_of(reply: Reply) -> ToolError | None:
    """What is missing was most often never shared: people choose the pages a connection sees."""
    if reply.status == HTTPStatus.NOT_FOUND:
        return NotFound(
            "Notion has no such page, or it is not shared with this connection: share it there in the page's menu, "
            "under Connections."
        )
    if reply.status == HTTPStatus.FORBIDDEN and text_at(reply.data, "code") == "restricted_resource":
        return Forbidden("This Notion connection lacks the capability for that: its administrator can add it.")
    if reply.status == HTTPStatus.CONFLICT:
        return Unavailable("Somebody was changing this in Notion at the same moment: try again.")
    return None


# --- what things are called ------------------------------------------------------------------------------------------


def _plain(row: Json, *keys: str) -> str:
    """The text of a rich text."""
    return "".join(text_at(part, "plain_text") for part in list_at(row, *keys))


def _properties(row: Row) -> Mapping[str, Row]:
    found = at(row, "properties")
    return {name: each for name, each in found.items() if isinstance(each, dict)} if isinstance(found, dict) else {}


def _title(row: Row) -> str:
    """The title of a page or of a database."""
    held = next((each for each in _properties(row).values() if text_at(each, "type") == "title"), {})
    title = _plain(row, "title") or _plain(held, "title")
    return clean(title, 100) or "Untitled"


def _kind(row: Row) -> str:
    return "page" if text_at(row, "object") == "page" else "database"


def _source(api: Api, row: Row) -> Page:
    name = text_at(row, "id")
    url = page_url(api.web_base, text_at(row, "url")) or api.web_base + path("/{id}", id=name.replace("-", ""))
    return Page(_title(row), url, clean(name, 60))


def _say(row: Row, now: datetime) -> str:
    edited = ago(moment_at(row, "last_edited_time"), now)
    return f"**{_title(row)}** ({_kind(row)}, edited {edited}), id `{clean(text_at(row, 'id'), 60)}`"


def _picked(row: Row) -> dict[str, Json]:
    return {**picked(row, ("id", "url", "last_edited_time")), "title": _title(row), "kind": _kind(row)}


# --- finding ---------------------------------------------------------------------------------------------------------


async def _find(api: Api, query: str | None, *, kind: str | None = None, most: int = SHOWN) -> list[Row]:
    """Pages and databases with these words in their titles; the ones edited last first."""
    body: dict[str, Json] = {"page_size": min(most, 100)}
    if query:
        body["query"] = query
    if kind:
        body["filter"] = {"property": "object", "value": "data_source" if kind == "database" else kind}
    body["sort"] = {"direction": "descending", "timestamp": "last_edited_time"}
    rows = await _followed(
        lambda more: asked(api, _SEARCH, {**body, **more}), needs=("id",), most=min(-(-most // 100), 5)
    )
    return rows[:most]


_ID = re.compile(
    r"(?:https://[\w.-]*notion\.(?:so|com|site)/\S*?)?([0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12})(?:[?#]\S*)?"
)


async def _lookup(api: Api, name: str, *, kind: str) -> str:
    """The id of the page or database of that id, address or title. Raises: `NotFound`, `BadArguments`."""
    if found := _ID.fullmatch(name.strip()):
        return found[1]
    rows = await _find(api, name, kind=kind)
    exact = [row for row in rows if _title(row).casefold() == name.strip().casefold()]
    match exact or rows:
        case []:
            raise NotFound(
                f"Notion has no {kind} of that title, or it is not shared with this connection: search for one word."
            )
        case [only]:
            return text_at(only, "id")
        case _:
            raise BadArguments(f"Several {kind}s go by that title: search for it, and give the id of the one meant.")


async def search(api: Api, args: Args) -> Result:
    """Pages and databases by words of their titles."""
    query, kind = args["query"], args.get("kind")
    rows = await _find(api, query, kind=kind, most=args.get("limit", SHOWN))
    what = f"{kind or 'page or database'} with “{clean(query, 80)}” in its title"
    return _found(
        api, rows, f"{plural(len(rows), 'match', 'matches')} in Notion:", f"No {what} is shared with this connection."
    )


async def recent_pages(api: Api, args: Args) -> Result:
    """The pages edited last."""
    rows = await _find(api, None, kind="page", most=args.get("limit", SHOWN))
    nothing = "No page is shared with this connection: share some there, in a page's menu under Connections."
    return _found(api, rows, "The pages edited last:", nothing)


async def list_databases(api: Api, args: Args) -> Result:
    """The databases of the workspace."""
    rows = await _find(api, None, kind="database", most=args.get("limit", 50))
    nothing = "No database is shared with this connection: share some there, in its menu under Connections."
    return _found(api, rows, f"{plural(len(rows), 'database')}:", nothing)


def _found(api: Api, rows: list[Row], head: str, nothing: str) -> Result:
    now = datetime.now(UTC)
    text = f"{head}\n{bullets([_say(row, now) for row in rows])}" if rows else nothing
    return Result([_picked(row) for row in rows], text, tuple(_source(api, row) for row in rows[:SHOWN]) or (_HOME,))


# --- reading ---------------------------------------------------------------------------------------------------------

_MARKS: Mapping[str, str] = {
    **dict.fromkeys(("heading_1", "heading_2", "heading_3"), "**{}**"),
    **dict.fromkeys(("bulleted_list_item", "numbered_list_item", "toggle"), "- {}"),
    "quote": "“{}”",
}


def _line(block: Row) -> str:
    """A block as a line of text; empty when there is nothing to read in it."""
    kind = text_at(block, "type")
    if kind in {"child_page", "child_database"}:
        return f"- {kind.removeprefix('child_').capitalize()}: {text_at(block, kind, 'title')}"
    if kind == "table_row":
        cells = at(block, kind, "cells")
        found = [cell for cell in cells if isinstance(cell, list)] if isinstance(cells, list) else []
        return " | ".join("".join(text_at(part, "plain_text") for part in cell) for cell in found)
    words = _plain(block, kind, "rich_text") or _plain(block, kind, "caption")
    if kind == "to_do":
        return f"- [{'x' if at(block, kind, 'checked') is True else ' '}] {words}"
    return _MARKS.get(kind, "{}").replace("{}", words) if words else ""


async def _blocks(api: Api, block: str, *, most: int = 5) -> list[Row]:
    return await _pages(api, path(_CHILDREN, id=block), {"page_size": 100}, needs=("id", "type"), most=most)


async def _text(api: Api, page: str) -> str:
    """What stands on a page, with what is folded into its first blocks."""
    blocks = await _blocks(api, page)
    folded = [each for each in blocks if at(each, "has_children") is True and text_at(each, "type") not in _PAGES]
    inner = await asyncio.gather(*(_blocks(api, text_at(each, "id"), most=1) for each in folded[:_NESTED]))
    within = {text_at(each, "id"): rows for each, rows in zip(folded, inner, strict=False)}
    lines: list[str] = []
    for block in blocks:
        lines += [_line(block), *(f"  {_line(row)}" for row in within.get(text_at(block, "id"), []))]
    return "\n".join(line.rstrip() for line in lines if line.strip())


_PAGES = frozenset({"child_page", "child_database"})


async def read_page(api: Api, args: Args) -> Result:
    """What a page says."""
    name = await _lookup(api, args["page"], kind="page")
    reply, words = await asyncio.gather(api.get(path("/v1/pages/{id}", id=name)), _text(api, name))
    page = _record(reply.data, "id")
    facts = [f"{clean(key, 40)}: {value}" for key, each in _properties(page).items() if (value := _value(each))]
    told = [f"**{_title(page)}**", *facts[:SHOWN], "", passage(words) or "There is no text on this page."]
    data = {**_picked(page), "text": words[:20_000]}
    return Result(data, "\n".join(told).strip(), (_source(api, page),))


def _value(held: Row) -> str:
    """A property of a page in words; empty for its title and for nothing."""
    kind = text_at(held, "type")
    read = _VALUES.get(kind)
    return clean(read(held, kind), 120) if read else ""


def _names(held: Row, kind: str) -> str:
    return ", ".join(text_at(each, "name") or text_at(each, "plain_text") for each in list_at(held, kind))


def _spell(held: Row, kind: str) -> str:
    found = at(held, kind)
    return {True: "yes", False: "no"}.get(found, "") if isinstance(found, bool) else text_at(held, kind)


def _stretch(held: Row, kind: str) -> str:
    return " to ".join(filter(None, [text_at(held, kind, "start"), text_at(held, kind, "end")]))


def _formula(held: Row, kind: str) -> str:
    inner = at(held, kind)
    return _spell(inner, text_at(inner, "type")) if isinstance(inner, dict) else ""


_VALUES: Mapping[str, Callable[[Row, str], str]] = {
    **dict.fromkeys(("rich_text", "multi_select", "people"), _names),
    **dict.fromkeys(("number", "checkbox", "url", "email", "phone_number", "created_time", "last_edited_time"), _spell),
    **dict.fromkeys(("select", "status"), lambda held, kind: text_at(held, kind, "name")),
    "date": _stretch,
    "formula": _formula,
    "unique_id": lambda held, kind: "-".join(
        filter(None, [text_at(held, kind, "prefix"), text_at(held, kind, "number")])
    ),
}


async def database_columns(api: Api, args: Args) -> Result:
    """Which columns a database has."""
    row = await _database(api, args["database"])
    columns: list[dict[str, Json]] = [
        {"name": name, "type": text_at(each, "type"), "options": _options(each)}
        for name, each in _properties(row).items()
    ]
    lines = [
        f"**{clean(each['name'], 60)}** ({clean(each['type'], 30)})"
        + (f": {clean(', '.join(each['options'][:SHOWN]), 200)}" if each["options"] else "")
        for each in columns
    ]
    text = f"**{_title(row)}** has {plural(len(lines), 'column')}:\n{bullets(lines, most=50)}"
    return Result({**_picked(row), "columns": columns}, text, (_source(api, row),))


def _options(column: Row) -> list[str]:
    return [text_at(each, "name") for each in list_at(column, text_at(column, "type"), "options")]


async def _database(api: Api, name: str) -> Row:
    found = await _lookup(api, name, kind="database")
    return _record((await api.get(path("/v1/data_sources/{id}", id=found))).data, "id")


async def query_database(api: Api, args: Args) -> Result:
    """The rows of a database."""
    base, now, most = await _database(api, args["database"]), datetime.now(UTC), args.get("limit", 20)
    body: dict[str, Json] = {"page_size": min(most, 100)}
    if "column" in args:
        body["filter"] = _filter(base, args["column"], args.get("value", ""))
    address = path("/v1/data_sources/{id}/query", id=text_at(base, "id"))
    rows = await _followed(
        lambda more: asked(api, address, {**body, **more}), needs=("id",), most=min(-(-most // 100), 5)
    )
    rows = rows[:most]
    which = f" where {clean(args['column'], 60)} is {clean(args.get('value', ''), 60)}" if "column" in args else ""
    lines = [_say_row(row, now) for row in rows]
    head = f"{plural(len(rows), 'row')} of **{_title(base)}**{which}:"
    text = f"{head}\n{bullets(lines, most=50)}" if rows else f"**{_title(base)}** has no row{which}."
    data = [{**_picked(row), "values": {key: _value(each) for key, each in _properties(row).items()}} for row in rows]
    return Result(data, text, (_source(api, base), *(_source(api, row) for row in rows[:SHOWN])))


def _say_row(row: Row, now: datetime) -> str:
    facts = [f"{clean(key, 40)}: {value}" for key, each in _properties(row).items() if (value := _value(each))]
    edited = f"edited {ago(moment_at(row, 'last_edited_time'), now)}"
    return f"**{_title(row)}** ({'; '.join(facts[:6]) or edited})"


def _filter(base: Row, column: str, value: str) -> Json:
    """Notion's filter for one column, by the type it has. Raises: `BadArguments`."""
    columns = {name.casefold(): (name, text_at(each, "type")) for name, each in _properties(base).items()}
    if column.casefold() not in columns:
        raise BadArguments("This database has no such column: ask which columns it has.")
    name, kind = columns[column.casefold()]
    match kind:
        case "checkbox":
            test: Json = {"equals": value.casefold() in {"yes", "true", "1", "x", "checked"}}
        case "number":
            test = {"equals": number_at({"value": value}, "value")}
        case "select" | "status":
            test = {"equals": value}
        case "multi_select" | "title" | "rich_text" | "url" | "email" | "phone_number":
            test = {"contains": value}
        case "date" | "created_time" | "last_edited_time":
            test = {"equals": value}
        case _:
            raise BadArguments("Rows cannot be chosen by a column of this type: choose another one, or none.")
    return {"property": name, kind: test}


async def page_comments(api: Api, args: Args) -> Result:
    """The open comments on a page."""
    name, now = await _lookup(api, args["page"], kind="page"), datetime.now(UTC)
    rows, people = await asyncio.gather(
        _pages(api, _COMMENTS, {"block_id": name, "page_size": 100}, needs=("id",), most=3), _people(api)
    )
    names = {text_at(each, "id"): clean(text_at(each, "name"), 60) for each in people}

    def say(row: Row) -> str:
        who = names.get(text_at(row, "created_by", "id")) or clean(_plain_name(row), 60) or "somebody"
        return f"**{who}** ({ago(moment_at(row, 'created_time'), now)}): {clean(_plain(row, 'rich_text'), 300)}"

    text = (
        f"{plural(len(rows), 'open comment')}:\n{bullets([say(row) for row in rows])}"
        if rows
        else "There are no open comments on that page."
    )
    data = [{**picked(row, ("id", "created_time", "created_by.id")), "text": _plain(row, "rich_text")} for row in rows]
    return Result(
        data, text, (Page("Page in Notion", api.web_base + path("/{id}", id=name.replace("-", "")), clean(name, 60)),)
    )


def _plain_name(row: Row) -> str:
    return text_at(row, "display_name", "resolved_name")


async def _people(api: Api) -> Sequence[Row]:
    """Nobody, where the connection may not see people."""
    try:
        return await _pages(api, "/v1/users", {"page_size": 100}, needs=("id",), most=5)
    except (Forbidden, NotFound):
        return []


async def list_people(api: Api, args: Args) -> Result:
    """The members of the workspace."""
    rows = await _pages(api, "/v1/users", {"page_size": 100}, needs=("id",), most=5)
    wanted = args.get("name", "").casefold()
    people = [row for row in rows if text_at(row, "type") == "person" and wanted in _who(row).casefold()]
    text = f"{plural(len(people), 'person', 'people')}:\n{bullets([_who(row) for row in people], most=50)}"
    data = [picked(row, ("id", "name", "person.email")) for row in people]
    return Result(data, text if people else "Nobody of that name was found in this workspace.", (_HOME,))


def _who(row: Row) -> str:
    email = clean(text_at(row, "person", "email"), 100)
    return f"**{clean(text_at(row, 'name'), 60) or 'Somebody'}**{f' ({email})' if email else ''}"


async def who_am_i(api: Api, _args: Args) -> Result:
    """Whose connection this is, and to which workspace."""
    row = _record((await api.get("/v1/users/me")).data, "id")
    workspace = clean(text_at(row, "bot", "workspace_name"), 80)
    owner = at(row, "bot", "owner", "user")
    whose = f" of {_who(owner)}" if isinstance(owner, dict) else ""
    to = f" to the workspace **{workspace}**" if workspace else ""
    text = f"This is the connection **{clean(text_at(row, 'name'), 60)}**{whose}{to}."
    data = picked(row, ("id", "name", "bot.workspace_name", "bot.owner.user.name", "bot.owner.user.person.email"))
    return Result(data, text, (_HOME,))


# --- changes ---------------------------------------------------------------------------------------------------------


def _rich(text: str) -> list[Json]:
    """Notion takes at most 2,000 characters in one piece."""
    return [{"type": "text", "text": {"content": text[start : start + 2_000]}} for start in range(0, len(text), 2_000)]


def _paragraphs(text: str) -> list[Json]:
    lines = [line for line in text.splitlines() if line.strip()][:100]
    return [{"object": "block", "type": "paragraph", "paragraph": {"rich_text": _rich(line)}} for line in lines]


async def create_page(api: Api, args: Args) -> Result:
    """A new page below another one."""
    parent = await _lookup(api, args["parent"], kind="page")
    body = {
        "parent": {"type": "page_id", "page_id": parent},
        "properties": {"title": {"title": _rich(args["title"])}},
        "children": _paragraphs(args.get("text", "")),
    }
    made = _record((await api.send("POST", "/v1/pages", body)).data, "id")
    name = clean(args["title"], 100)
    page = Page(name, _source(api, made).url, clean(text_at(made, "id"), 60))
    return Result(picked(made, ("id", "url")), f"Created the page **{name}**, id `{page.ref}`.", (page,))


async def append_to_page(api: Api, args: Args) -> Result:
    """More text at the end of a page."""
    name = await _lookup(api, args["page"], kind="page")
    written = _paragraphs(args["text"])
    await api.send("PATCH", path(_CHILDREN, id=name), {"children": written})
    page = Page("Page in Notion", api.web_base + path("/{id}", id=name.replace("-", "")), clean(name, 60))
    return Result({"page": name}, f"Added {plural(len(written), 'paragraph')} at the end of the page.", (page,))


async def comment_on_page(api: Api, args: Args) -> Result:
    """A comment on a page."""
    name = await _lookup(api, args["page"], kind="page")
    made = _record(
        (await api.send("POST", _COMMENTS, {"parent": {"page_id": name}, "rich_text": _rich(args["text"])})).data, "id"
    )
    page = Page("Page in Notion", api.web_base + path("/{id}", id=name.replace("-", "")), clean(name, 60))
    return Result(picked(made, ("id", "discussion_id")), f"Commented on the page: {clean(args['text'], 120)}", (page,))


# --- tools -----------------------------------------------------------------------------------------------------------

_PAGE = {
    "type": "string",
    "minLength": 1,
    "maxLength": 300,
    "description": "Title, id or address of the page.",
    "examples": ["Onboarding guide"],
}
_DATABASE = {**_PAGE, "description": "Title, id or address of the database.", "examples": ["Roadmap"]}
_LIMIT = {"type": "integer", "minimum": 1, "maximum": 100, "default": SHOWN, "description": "How many at most."}
_TEXT = {"type": "string", "minLength": 1, "maxLength": 20_000, "description": "The text; each line is a paragraph."}
_GIVES = "[{id, title, kind, url, last_edited_time}]"
_A_DATABASE = {"database": Producer("list_databases", "id", names=("title",))}

PROVIDER = ProviderSpec(
    id="notion",
    title="Notion",
    about="pages, databases and comments of a workspace",
    api_base="https://api.notion.com",
    web_base="https://www.notion.so",
    headers={"Notion-Version": "2025-09-03"},
    refusal_of=refusal_of,
    oauth=OAuthSpec(
        authorize_url="https://api.notion.com/v1/oauth/authorize",
        token_url="https://api.notion.com/v1/oauth/token",  # noqa: S106 - an address
        revoke_url="https://api.notion.com/v1/oauth/revoke",
        headers={"Notion-Version": "2025-09-03"},
        authorize_params={"owner": "user"},
        scope_separator="",
        pkce=False,
        client_auth="client_secret_basic",
        token_body="json",  # noqa: S106 - an encoding
        revoke_kinds=("access",),
        identity="answer",
        subject_fields=("bot_id",),
        label_fields=("workspace_name",),
    ),
    mcp_url="https://mcp.notion.com/mcp",
    register_url="https://www.notion.so/developers/connections",
    register_steps=(
        "Choose “New connection”, give it a name, and make it a public connection: only that kind uses OAuth.",
        "Under “OAuth domain & URIs”, add the redirect URI {redirect_uri}.",
        "Under “Capabilities”, tick reading content, comments, and user information with e-mail addresses.",
        "Tick inserting content and inserting comments too if people are to write.",
        "Copy the OAuth client ID and the OAuth client secret.",
        "There are no scopes: the capabilities hold for everybody, and each person chooses the pages to share.",
    ),
    unconfirmed=(
        "How long an access token lives is not documented; it is renewed when Notion refuses it.",
        "Whether a revoked access token ends its refresh token too is not documented.",
    ),
    tools=(
        ToolSpec(
            name="search",
            summary="Search the wiki: find pages, docs, notes and databases about something, by words of their titles.",
            invoke=search,
            params={
                "query": {
                    **_PAGE,
                    "description": "Words of the title.",
                    "examples": ["roadmap"],
                },
                "kind": {"type": "string", "enum": ["page", "database"], "description": "Only one of the two."},
                "limit": _LIMIT,
            },
            required=frozenset({"query"}),
            gives=_GIVES,
            asks=(
                "find {query} in Notion",
                "search Notion for {query}",
                "is there a page about {query}",
                "where is the {query} page",
                "which pages mention {query} in their title",
                "look up {query}",
                "do we have a doc on {query}",
            ),
        ),
        ToolSpec(
            name="recent_pages",
            summary="List the pages that were edited last.",
            invoke=recent_pages,
            params={"limit": _LIMIT},
            gives=_GIVES,
            asks=(
                "what changed in Notion lately",
                "which pages were edited last",
                "show me the latest pages",
                "recently updated docs",
                "what has the team been writing",
                "what is new in our wiki",
            ),
        ),
        ToolSpec(
            name="read_page",
            summary="Read a page: its properties and all of its text.",
            invoke=read_page,
            params={"page": _PAGE},
            required=frozenset({"page"}),
            gives="{id, title, url, text}",
            asks=(
                "what does the {page} page say",
                "read {page}",
                "summarize the page {page}",
                "show me the contents of {page}",
                "what is written in {page}",
                "open the page {page}",
                "what do the meeting notes {page} say",
            ),
        ),
        ToolSpec(
            name="list_databases",
            summary="List the databases of the workspace.",
            invoke=list_databases,
            params={"limit": {**_LIMIT, "default": 50}},
            gives=_GIVES,
            asks=(
                "which databases do we have",
                "list all Notion databases",
                "what tables are there in Notion",
                "show the databases of the workspace",
                "what trackers do we keep",
            ),
        ),
        ToolSpec(
            name="database_columns",
            summary="Describe a database: its columns, their types and options.",
            invoke=database_columns,
            params={"database": _DATABASE},
            required=frozenset({"database"}),
            producers=_A_DATABASE,
            gives="{id, title, columns: [{name, type, options}]}",
            keep_s=300,
            asks=(
                "which columns does {database} have",
                "what properties are in the {database} database",
                "what statuses can a row of {database} have",
                "describe the database {database}",
                "what fields does {database} track",
            ),
        ),
        ToolSpec(
            name="query_database",
            summary="List the rows of a database, all or those with a value in one column.",
            invoke=query_database,
            params={
                "database": _DATABASE,
                "column": {
                    "type": "string",
                    "minLength": 1,
                    "maxLength": 100,
                    "description": "Only rows with a value in this column.",
                    "examples": ["Status"],
                },
                "value": {
                    "type": "string",
                    "maxLength": 200,
                    "description": "The value: the name of an option, words, yes or no, or a date like 2027-01-31.",
                    "examples": ["In progress"],
                },
                "limit": {**_LIMIT, "default": 20},
            },
            required=frozenset({"database"}),
            producers=_A_DATABASE,
            gives="[{id, title, url, values}]",
            asks=(
                "what is in the {database} database",
                "list the rows of {database}",
                "which entries of {database} have {column} {value}",
                "show {database} where {column} is {value}",
                "what is on the {database} board",
                "which items in {database} are {value}",
                "show me the table {database}",
            ),
        ),
        ToolSpec(
            name="page_comments",
            summary="List the open comments on a page and who wrote them.",
            invoke=page_comments,
            params={"page": _PAGE},
            required=frozenset({"page"}),
            gives="[{id, text, created_time, created_by.id}]",
            asks=(
                "what comments are there on {page}",
                "did anybody comment on {page}",
                "show the discussion on {page}",
                "open comments of the page {page}",
                "what did people say about {page}",
            ),
        ),
        ToolSpec(
            name="list_people",
            summary="List the members of the workspace, or those of a name.",
            invoke=list_people,
            params={
                "name": {
                    "type": "string",
                    "minLength": 1,
                    "maxLength": 100,
                    "description": "Part of a name or of an e-mail address.",
                    "examples": ["Ada"],
                }
            },
            gives="[{id, name, person.email}]",
            keep_s=300,
            asks=(
                "who is in our Notion workspace",
                "list the members of the workspace",
                "what is the e-mail address of {name} in Notion",
                "which people use Notion",
                "who has access to the workspace",
            ),
        ),
        ToolSpec(
            name="who_am_i",
            summary="Say which connection this is, whose, and to which workspace.",
            invoke=who_am_i,
            gives="{id, name, bot.workspace_name}",
            keep_s=300,
            asks=(
                "who am I in Notion",
                "which Notion workspace is connected",
                "whose Notion account is this",
                "what am I connected to",
                "which workspace is this",
            ),
        ),
        ToolSpec(
            name="create_page",
            summary="Create a page below another page.",
            invoke=create_page,
            effect=Effect.WRITE,
            params={
                "parent": {**_PAGE, "description": "Title, id or address of the page it goes below."},
                "title": {
                    "type": "string",
                    "minLength": 1,
                    "maxLength": 300,
                    "description": "Title of the new page.",
                    "examples": ["Meeting of 3 March"],
                },
                "text": _TEXT,
            },
            required=frozenset({"parent", "title"}),
            gives="{id, url}",
            asks=(
                "create a page {title} below {parent}",
                "add a new page called {title} to {parent}",
                "write a new doc",
            ),
        ),
        ToolSpec(
            name="append_to_page",
            summary="Add text at the end of a page.",
            invoke=append_to_page,
            effect=Effect.WRITE,
            params={"page": _PAGE, "text": _TEXT},
            required=frozenset({"page", "text"}),
            gives="{page}",
            asks=("add {text} to the page {page}", "append {text} to {page}", "write {text} at the end of {page}"),
        ),
        ToolSpec(
            name="comment_on_page",
            summary="Comment on a page.",
            invoke=comment_on_page,
            effect=Effect.WRITE,
            params={"page": _PAGE, "text": {**_TEXT, "maxLength": 2_000, "description": "The comment."}},
            required=frozenset({"page", "text"}),
            gives="{id, discussion_id}",
            asks=("comment {text} on {page}", "leave a comment on the page {page}", "reply on {page} with {text}"),
        ),
    ),
)
