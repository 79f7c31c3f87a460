"""Slack: messages, threads, channels and people of one workspace, as one person sees them."""

from __future__ import annotations

import asyncio
import html
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from http import HTTPStatus

from providers import tools
from providers.errors import (
    BadArguments,
    Forbidden,
    NotFound,
    TokenRejected,
    ToolError,
    TooManyRequests,
    Unavailable,
)
from providers.spec import (
    Api,
    Args,
    Effect,
    Json,
    OAuthSpec,
    Page,
    Producer,
    ProviderSpec,
    Reply,
    Result,
    ToolSpec,
)
from providers.tools import (
    SHOWN,
    Row,
    ago,
    at,
    bullets,
    by_token,
    clean,
    given,
    list_at,
    number,
    number_at,
    page_url,
    passage,
    picked,
    plural,
    text_at,
    whole_at,
)

_record = partial(tools.record, "Slack")
_pages = partial(tools.pages, "Slack", after=by_token("response_metadata.next_cursor", "cursor"))

# --- when Slack says no, with a 200 ----------------------------------------------------------------------------------

_DEAD = {"invalid_auth", "account_inactive", "token_revoked", "token_expired", "not_authed"}
_SLOWER = {"ratelimited", "rate_limited", "message_limit_exceeded"}
_FAILED = {"internal_error", "fatal_error", "service_unavailable", "request_timeout", "team_added_to_org"}
_ABSENT = {"channel_not_found", "user_not_found", "users_not_found", "message_not_found", "thread_not_found"}
_REFUSED = {
    *("access_denied", "no_permission", "not_in_channel", "is_archived", "restricted_action", "ekm_access_denied"),
    *(
        "not_allowed_token_type",
        "org_login_required",
        "team_access_not_granted",
        "accesslimited",
        "posting_to_channel_denied",
    ),
    *("restricted_action_read_only_channel", "restricted_action_thread_only_channel", "cannot_dm_bot"),
}


def refusal_of(reply: Reply) -> ToolError | None:
    """What `"ok": false` means."""
    if reply.status != HTTPStatus.OK or not isinstance(reply.data, dict) or reply.data.get("ok") is not False:
        return None
    code = text_at(reply.data, "error")
    if code == "missing_scope":
        needed = tuple(scope for scope in text_at(reply.data, "needed").split(",") if scope in _WORDS)
        return Forbidden("Slack has not been asked for the permission that this takes.", needed)
    if code in _DEAD:
        return TokenRejected("Slack no longer accepts this account's token.")
    if code in _SLOWER:
        return TooManyRequests("Slack asks to slow down: try again in half a minute.")
    if code in _FAILED:
        return Unavailable("Slack failed to answer; try again later.")
    if code in _ABSENT:
        return NotFound("Slack has no such channel, message or person, or not for this account: check names and ids.")
    if code in _REFUSED:
        return Forbidden("Slack does not allow this account to do that there.")
    return BadArguments("Slack does not accept this request: check names and ids.")


# --- people and channels ---------------------------------------------------------------------------------------------

_KEPT = 500
"""Names that the calls of one connection keep for one another."""


def _person_name(row: Row) -> str:
    profile = at(row, "profile")
    names = (
        text_at(profile, "display_name"),
        text_at(profile, "real_name"),
        text_at(row, "real_name"),
        text_at(row, "name"),
    )
    return clean(next(filter(None, names), "") or text_at(row, "id"), 60)


async def _names(api: Api, ids: Iterable[str]) -> Mapping[str, str]:
    """What people are called, by their ids; at most ten are asked for that no call before has asked for."""
    kept: dict[str, str] = api.session.setdefault("people", {})
    if len(kept) > _KEPT:
        kept.clear()
    unknown = [each for each in dict.fromkeys(ids) if each not in kept and re.fullmatch(r"[UW][A-Z0-9]{2,20}", each)]

    async def one(person: str) -> None:
        try:
            kept[person] = _person_name(
                _record(at((await api.get("/users.info", {"user": person})).data, "user"), "id")
            )
        except (BadArguments, Unavailable, Forbidden, TooManyRequests):  # its id will do
            kept[person] = person

    await asyncio.gather(*map(one, unknown[:SHOWN]))
    return kept


_CHANNEL = re.compile(r"[CGD][A-Z0-9]{5,20}")
_KINDS = "public_channel,private_channel"


async def _channel(api: Api, name: str) -> Row:
    """The channel of a name or an id. Raises: `NotFound`."""
    if _CHANNEL.fullmatch(name):
        return _record(at((await api.get("/conversations.info", {"channel": name})).data, "channel"), "id")
    wanted = name.removeprefix("#").casefold()
    kept: dict[str, Row] = api.session.setdefault("channels", {})
    if wanted in kept:
        return kept[wanted]
    for method in ("/users.conversations", "/conversations.list"):  # those of this person first: they are fewer
        params = {"types": _KINDS, "exclude_archived": "true", "limit": 900}
        for row in await _pages(api, method, params, rows="channels", needs=("id", "name"), most=3):
            if text_at(row, "name").casefold() == wanted:
                if len(kept) > _KEPT:
                    kept.clear()
                kept[wanted] = picked(row, ("id", "name", "is_private"))
                return row
    raise NotFound("Slack has no channel of that name that this account can see: ask which channels there are.")


def _channel_page(web_base: str, row: Row) -> Page:
    found = _CHANNEL.fullmatch(text_at(row, "id"))
    url = f"{web_base}/app_redirect?channel={found[0]}" if found else None
    return Page(f"#{clean(text_at(row, 'name') or text_at(row, 'id'), 80)}", url, text_at(row, "id"))


# --- messages --------------------------------------------------------------------------------------------------------


def _when(ts: str) -> datetime | None:
    try:
        return datetime.fromtimestamp(number(ts) or 0, UTC) if number(ts) else None
    except (ValueError, OverflowError, OSError):
        return None


def _plain(text: str, names: Mapping[str, str]) -> str:
    """Slack's markup as people read it: names for ids, words for links."""

    def say(match: re.Match[str]) -> str:
        kind, place, words = match["kind"], match["place"], match["words"]
        if kind == "@":
            return f"@{names.get(place) or words or place}"
        return f"{kind or ''}{words or place}".replace("!", "@", 1) if kind != "#" else f"#{words or place}"

    marked = re.sub(r"<(?P<kind>[@#!])?(?P<place>[^<>|]{1,2000})(?:\|(?P<words>[^<>]{0,500}))?>", say, text)
    return html.unescape(marked)


def _mentioned(messages: Iterable[Row]) -> list[str]:
    return [found for row in messages for found in re.findall(r"<@([UW][A-Z0-9]{2,20})", text_at(row, "text"))]


def _said(row: Row, names: Mapping[str, str]) -> str:
    """What a message says; without a text, what is attached to it."""
    files = [clean(text_at(file, "name") or "a file", 60) for file in list_at(row, "files")]
    extra = next((text_at(each, "fallback") or text_at(each, "text") for each in list_at(row, "attachments")), "")
    text = _plain(text_at(row, "text") or extra, names)
    return " ".join(filter(None, [text, f"[{', '.join(files)}]" if files else ""]))


def _author(row: Row, names: Mapping[str, str]) -> str:
    who = names.get(text_at(row, "user"), "")
    return clean(who or text_at(row, "username") or text_at(row, "bot_profile", "name") or "somebody", 60)


def _data(row: Row, names: Mapping[str, str]) -> dict[str, Json]:
    when = _when(text_at(row, "ts"))
    said = {"author": _author(row, names), "text": _plain(text_at(row, "text"), names)[:4_000]}
    return {**picked(row, ("ts", "thread_ts", "reply_count")), **said, "date": when.isoformat() if when else None}


async def _found(api: Api, query: str, count: int) -> tuple[list[Row], int]:
    """Messages a search finds, the latest first, and how many there are."""
    params = {"query": query, "sort": "timestamp", "sort_dir": "desc", "count": count}
    messages = at(_record((await api.get("/search.messages", params)).data), "messages")
    rows = tools.records("Slack", at(messages, "matches"), "ts")
    return rows, max(whole_at(messages, "total"), len(rows))


def _matches(api: Api, rows: list[Row], total: int, head: str, nothing: str) -> Result:
    now = datetime.now(UTC)

    def place(row: Row) -> str:
        if at(row, "channel", "is_im") is True:
            return "in a direct message"
        return f"in #{clean(text_at(row, 'channel', 'name'), 60)}"

    lines = [
        f"**{_author(row, {})}** {place(row)}, {ago(_when(text_at(row, 'ts')), now)}: {clean(_said(row, {}), 300)}"
        for row in rows
    ]
    sources = [
        Page(f"{_author(row, {})} {place(row)}", page_url(api.web_base, text_at(row, "permalink")), text_at(row, "ts"))
        for row in rows[:SHOWN]
    ]
    data = [
        {
            **_data(row, {}),
            "channel": picked(at(row, "channel") or {}, ("id", "name")),
            "link": text_at(row, "permalink"),
        }
        for row in rows
        if isinstance(at(row, "channel") or {}, dict)
    ]
    text = f"{head}\n{bullets(lines, total=total)}" if rows else nothing
    return Result(data, text, tuple(sources) or (Page("Slack", f"{api.web_base}/"),))


async def search_messages(api: Api, args: Args) -> Result:
    """Messages by words, author, channel and age, the latest first."""
    begin = None
    terms = [" ".join(args["query"].split())] if "query" in args else []
    if "sender" in args:
        terms.append("from:me" if args["sender"] == "me" else f"from:@{args['sender']}")
    if "channel" in args:
        terms.append(f"in:{args['channel'].removeprefix('#')}")
    if period := args.get("period"):
        unit = {"h": "hours", "d": "days", "w": "weeks"}[period[-1]]
        begin = datetime.now(UTC) - timedelta(**{unit: int(period[:-1])})
        terms.append(f"after:{begin - timedelta(1):%Y-%m-%d}")  # the day itself is not among those after it
    if not terms:
        raise BadArguments("Say what to search for: words, a person, a channel or a time.")
    rows, total = await _found(api, " ".join(terms), args.get("limit", SHOWN))
    if begin:
        late = [row for row in rows if (when := _when(text_at(row, "ts"))) and when >= begin]
        rows, total = late, total if len(late) == len(rows) else len(late)
    about = f" about “{clean(args['query'], 80)}”" if "query" in args else ""
    about += f" from {clean(args['sender'], 60)}" if "sender" in args else ""
    about += f" in #{clean(args['channel'].removeprefix('#'), 60)}" if "channel" in args else ""
    head = f"{plural(total, 'message')}{about}, the latest first:"
    return _matches(api, rows, total, head, f"No message{about} was found.")


async def mentions(api: Api, args: Args) -> Result:
    """What was said to this person: where they are named, and their direct messages."""
    limit = args.get("limit", SHOWN)
    me = text_at(_record((await api.get("/auth.test")).data), "user_id")
    if not re.fullmatch(r"[UW][A-Z0-9]{2,20}", me):
        raise tools.unreadable("Slack")
    searches = await asyncio.gather(_found(api, f"<@{me}>", limit), _found(api, "to:me", limit))
    found = {text_at(row, "ts"): row for rows, _ in searches for row in rows if text_at(row, "user") != me}
    rows = sorted(found.values(), key=lambda row: -(number_at(row, "ts") or 0))[:limit]
    return _matches(
        api, rows, len(rows), "What was said to you, the latest first:", "Nobody has written to you lately."
    )


def _conversation(messages: list[Row], names: Mapping[str, str], now: datetime, each: int) -> str:
    def say(row: Row) -> str:
        replies = whole_at(row, "reply_count")
        facts = [ago(_when(text_at(row, "ts")), now), plural(replies, "reply", "replies") if replies else ""]
        words = passage(_said(row, names), each).replace("\n", "\n  ")
        return f"- **{_author(row, names)}** ({', '.join(filter(None, facts))}): {words}"

    return "\n".join(map(say, messages))


_SILENT = {"channel_join", "channel_leave", "group_join", "group_leave"}


async def read_channel(api: Api, args: Args) -> Result:
    """The latest messages of a channel, the oldest of them first."""
    channel, now, limit = await _channel(api, args["channel"]), datetime.now(UTC), args.get("limit", 20)
    params: dict[str, Json] = {"channel": text_at(channel, "id"), "limit": limit}
    if period := args.get("period"):
        unit = {"h": "hours", "d": "days", "w": "weeks"}[period[-1]]
        params["oldest"] = f"{(now - timedelta(**{unit: int(period[:-1])})).timestamp():.6f}"
    rows = await _pages(api, "/conversations.history", params, rows="messages", needs=("ts",), most=1)
    rows = [row for row in rows if text_at(row, "subtype") not in _SILENT][:limit][::-1]
    names = await _names(api, [*(text_at(row, "user") for row in rows), *_mentioned(rows)])
    name = f"#{clean(text_at(channel, 'name') or text_at(channel, 'id'), 60)}"
    text = f"Nothing was written in {name}{' in that time' if period else ''}."
    if rows:
        text = f"The latest {plural(len(rows), 'message')} in {name}:\n{_conversation(rows, names, now, 400)}"
    return Result([_data(row, names) for row in rows], text, (_channel_page(api.web_base, channel),))


_LINK = re.compile(r"/archives/([CGD][A-Z0-9]{5,20})/p(\d{10})(\d{6})(?:\?.*?\bthread_ts=(\d{10}\.\d{6}))?")


async def read_thread(api: Api, args: Args) -> Result:
    """A thread: the message a link leads to, and its replies."""
    found = _LINK.search(args["link"])
    if found is None:
        raise BadArguments("This is no link to a message: copy the link of the message in Slack.")
    channel, first = found[1], found[4] or f"{found[2]}.{found[3]}"
    params = {"channel": channel, "ts": first, "limit": 200}
    rows = await _pages(api, "/conversations.replies", params, rows="messages", needs=("ts",), most=2)
    names, now = await _names(api, [*(text_at(row, "user") for row in rows), *_mentioned(rows)]), datetime.now(UTC)
    text = f"{plural(len(rows), 'message')} in the thread:\n{_conversation(rows[-50:], names, now, 600)}"
    page = Page("The thread", page_url(api.web_base, args["link"]), first)
    return Result([_data(row, names) for row in rows], text if rows else "There is nothing in this thread.", (page,))


# --- the workspace ---------------------------------------------------------------------------------------------------


def _say_channel(row: Row) -> str:
    topic = clean(text_at(row, "topic", "value") or text_at(row, "purpose", "value"), 120)
    members = whole_at(row, "num_members")
    facts = ["private" if at(row, "is_private") is True else "", plural(members, "member") if members else ""]
    told = ", ".join(filter(None, facts))
    return f"**#{clean(text_at(row, 'name'), 80)}**{f' ({told})' if told else ''}{f': {topic}' if topic else ''}"


_CHANNEL_FIELDS = ("id", "name", "is_private", "topic.value", "purpose.value", "num_members")


async def list_channels(api: Api, args: Args) -> Result:
    """The channels this person is in, or all they could join."""
    joinable = args.get("which") == "all"
    params = {"types": _KINDS, "exclude_archived": "true", "limit": 200}
    method = "/conversations.list" if joinable else "/users.conversations"
    rows = await _pages(api, method, params, rows="channels", needs=("id", "name"), most=5)
    rows = sorted(rows, key=lambda row: text_at(row, "name"))
    whose = "" if joinable else " that you are in"
    text = f"{plural(len(rows), 'channel')}{whose}:\n{bullets([_say_channel(row) for row in rows], most=50)}"
    sources = tuple(_channel_page(api.web_base, row) for row in rows[:SHOWN])
    return Result(
        [picked(row, _CHANNEL_FIELDS) for row in rows],
        text if rows else "There are no such channels.",
        sources or (Page("Slack", f"{api.web_base}/"),),
    )


async def channel_details(api: Api, args: Args) -> Result:
    """One channel: its topic, purpose, age and members."""
    channel = await _channel(api, args["channel"])
    params = {"channel": text_at(channel, "id"), "include_num_members": "true"}
    row = _record(at((await api.get("/conversations.info", params)).data, "channel"), "id")
    names, now = await _names(api, [text_at(row, "creator")]), datetime.now(UTC)
    creator = names.get(text_at(row, "creator"), "")
    facts = [
        f"Topic: {clean(text_at(row, 'topic', 'value'), 250)}" if text_at(row, "topic", "value") else "",
        f"Purpose: {clean(text_at(row, 'purpose', 'value'), 250)}" if text_at(row, "purpose", "value") else "",
        f"{plural(whole_at(row, 'num_members'), 'member')}" if at(row, "num_members") is not None else "",
        f"Created {ago(_when(text_at(row, 'created')), now)}{f' by {creator}' if creator else ''}",
        "Shared with another organization" if at(row, "is_ext_shared") is True else "",
        "Archived" if at(row, "is_archived") is True else "",
    ]
    kind = "private channel" if at(row, "is_private") is True else "public channel"
    head = f"**#{clean(text_at(row, 'name') or text_at(row, 'id'), 80)}** ({kind})"
    text = f"{head}\n{bullets(list(filter(None, facts)))}"
    return Result(picked(row, _CHANNEL_FIELDS), text, (_channel_page(api.web_base, row),))


_PERSON_FIELDS = (
    *("id", "name", "real_name", "tz", "is_bot", "is_admin", "profile.display_name", "profile.title"),
    *("profile.email", "profile.phone", "profile.status_text", "profile.status_expiration"),
)


def _say_person(row: Row) -> str:
    profile = at(row, "profile")
    status = clean(text_at(profile, "status_text"), 100)
    real = text_at(row, "real_name") or text_at(profile, "real_name")
    facts = [
        clean(text_at(profile, "title"), 80),
        clean(text_at(profile, "email"), 100),
        clean(text_at(profile, "phone"), 40),
        clean(text_at(row, "tz"), 40),
        f"status “{status}”" if status else "",
    ]
    told, name = ", ".join(filter(None, facts)), text_at(row, "name")
    return f"**{clean(real or name, 80)}** @{clean(name, 60)}{f' ({told})' if told else ''}"


async def find_person(api: Api, args: Args) -> Result:
    """People by name or address, and whether the one who is meant is there now."""
    wanted = args["name"].removeprefix("@").casefold()
    if "@" in wanted:
        found = await api.get("/users.lookupByEmail", {"email": wanted})
        rows = [_record(at(found.data, "user"), "id")]
    else:
        people = await _pages(api, "/users.list", {"limit": 200}, rows="members", needs=("id",), most=5)
        names = (("name",), ("real_name",), ("profile", "display_name"), ("profile", "real_name"))
        living = [row for row in people if at(row, "deleted") is not True]
        rows = [row for row in living if any(wanted in text_at(row, *way).casefold() for way in names)]
    now = ""
    if len(rows) == 1:
        presence = text_at((await api.get("/users.getPresence", {"user": text_at(rows[0], "id")})).data, "presence")
        now = {"active": " There now.", "away": " Away now."}.get(presence, "")
    text = f"{plural(len(rows), 'person', 'people')}:\n{bullets([_say_person(row) for row in rows])}{now}"
    nobody = "Slack has nobody of that name in this workspace."
    sources = [Page(_person_name(row), f"{api.web_base}/team/{text_at(row, 'id')}") for row in rows[:SHOWN]]
    safe = tuple(Page(page.title, page_url(api.web_base, page.url or "")) for page in sources)
    return Result(
        [picked(row, _PERSON_FIELDS) for row in rows],
        text if rows else nobody,
        safe or (Page("Slack", f"{api.web_base}/"),),
    )


async def who_am_i(api: Api, _args: Args) -> Result:
    """Whose account this is, and in which workspace."""
    me = _record((await api.get("/auth.test")).data, "user_id")
    row = _record(at((await api.get("/users.info", {"user": text_at(me, "user_id")})).data, "user"), "id")
    team = clean(text_at(me, "team"), 80)
    text = f"This is the Slack account of {_say_person(row)}{f' in the workspace **{team}**' if team else ''}."
    data = {**picked(row, _PERSON_FIELDS), "team": text_at(me, "team"), "team_id": text_at(me, "team_id")}
    return Result(data, text, (Page(team or "Slack", page_url(api.web_base, text_at(me, "url"))),))


# --- changes ---------------------------------------------------------------------------------------------------------


async def send_message(api: Api, args: Args) -> Result:
    """Write in a channel, or in a thread of it."""
    thread: str | None = None
    channel: Row | None = None
    if link := args.get("reply_to"):
        found = _LINK.search(link)
        if found is None:
            raise BadArguments("This is no link to a message: copy the link of the message in Slack.")
        channel, thread = {"id": found[1]}, found[4] or f"{found[2]}.{found[3]}"
    elif "channel" in args:
        channel = await _channel(api, args["channel"])
    if channel is None:
        raise BadArguments("Say where to write: in which channel, or in reply to which message.")
    body = given({"channel": text_at(channel, "id"), "text": args["text"], "thread_ts": thread})
    sent = _record((await api.send("POST", "/chat.postMessage", body)).data, "ts")
    where = "the thread" if thread else f"#{clean(text_at(channel, 'name') or text_at(channel, 'id'), 80)}"
    return Result(picked(sent, ("channel", "ts")), f"Wrote in {where}.", (_channel_page(api.web_base, channel),))


async def set_status(api: Api, args: Args) -> Result:
    """Set this person's status, for good or for a time; without a text, clear it."""
    minutes, text = args.get("minutes"), args.get("text", "")
    ends = int((datetime.now(UTC) + timedelta(minutes=minutes)).timestamp()) if minutes else 0
    profile = {"status_text": text, "status_emoji": args.get("emoji", "") if text else "", "status_expiration": ends}
    answer = await api.send("POST", "/users.profile.set", {"profile": profile})
    row = _record(at(answer.data, "profile"))
    said = f"Set the status to “{clean(text, 100)}”{f' for {minutes} minutes' if minutes else ''}."
    page = (Page("Slack", f"{api.web_base}/"),)
    return Result(picked(row, ("status_text", "status_expiration")), said if text else "Cleared the status.", page)


# --- tools -----------------------------------------------------------------------------------------------------------

_WORDS = {
    "search:read": "search the messages you can see",
    "channels:read": "see the public channels and what they are about",
    "groups:read": "see the private channels you are in and what they are about",
    "channels:history": "read messages in public channels",
    "groups:history": "read messages in the private channels you are in",
    "users:read": "see the people of the workspace",
    "users:read.email": "see their email addresses",
    "chat:write": "write messages in your name",
    "users.profile:write": "change your profile and status",
}
_WRITING = {"chat:write", "users.profile:write"}

_SEE = frozenset({"channels:read", "groups:read"})
_READ = frozenset({*_SEE, "channels:history", "groups:history", "users:read"})

_CHANNEL_NAME = {
    "type": "string",
    "pattern": "^#?[^\\s#@,:\"'<>]{1,80}$",
    "description": "Name of the channel, or its id.",
    "examples": ["#general"],
}
_LIMIT = {"type": "integer", "minimum": 1, "maximum": 100, "default": SHOWN, "description": "How many at most."}
_PERIOD = {
    "type": "string",
    "pattern": "^[1-9][0-9]{0,2}[hdw]$",
    "description": "Only what was written within this time, such as 24h, 7d or 2w.",
}
_MESSAGE_LINK = {
    "type": "string",
    "format": "uri",
    "maxLength": 300,
    "description": "Link of the message, as Slack copies it.",
    "examples": ["https://acme.slack.com/archives/C024BE91L/p1732358400123456"],
}
_GIVES = "[{ts, thread_ts, author, text, date}]"
_FIND_CHANNEL = Producer("list_channels", "name", names=("name",))

TOOLS = (
    ToolSpec(
        name="search_messages",
        summary="Search messages by words, author, channel or age, the latest first.",
        gives="[{ts, author, text, date, channel: {id, name}, link}]",
        invoke=search_messages,
        params={
            "query": {"type": "string", "minLength": 1, "maxLength": 300, "description": "Words of the message."},
            "sender": {
                "type": "string",
                "pattern": "^[A-Za-z0-9._-]{1,80}$",
                "description": "Only from this person: me, or a user name.",
                "examples": ["me", "ada.park"],
            },
            "channel": {**_CHANNEL_NAME, "description": "Only in the channel of this name."},
            "period": _PERIOD,
            "limit": _LIMIT,
        },
        scopes=frozenset({"search:read"}),
        asks=(
            "find messages about {query}",
            "search for {query}",
            "what was said about {query}?",
            "who talked about {query}?",
            "did anybody mention {query}?",
            "messages about {query} in the last {period}",
            "what did {sender} write about {query}?",
            "where did we discuss {query}?",
        ),
    ),
    ToolSpec(
        name="mentions",
        summary="Show who has mentioned this person or written to them, the latest first.",
        gives="[{ts, author, text, date, channel: {id, name}, link}]",
        invoke=mentions,
        params={"limit": _LIMIT},
        scopes=frozenset({"search:read"}),
        asks=(
            "who mentioned me?",
            "what needs my attention?",
            "who wrote to me?",
            "show my mentions",
            "do I have direct messages?",
            "what did I miss?",
            "is anybody waiting for my answer?",
        ),
    ),
    ToolSpec(
        name="read_channel",
        summary="Read the latest messages of a channel: what is going on there.",
        gives=_GIVES,
        invoke=read_channel,
        params={"channel": _CHANNEL_NAME, "period": _PERIOD, "limit": {**_LIMIT, "default": 20}},
        required=frozenset({"channel"}),
        producers={"channel": _FIND_CHANNEL},
        scopes=_READ,
        asks=(
            "what is new in {channel}?",
            "read the channel {channel}",
            "latest messages in {channel}",
            "what happened in {channel} in the last {period}?",
            "catch me up on {channel}",
            "what are people talking about in {channel}?",
        ),
    ),
    ToolSpec(
        name="read_thread",
        summary="Read a thread, given the link of one of its messages.",
        gives=_GIVES,
        invoke=read_thread,
        params={"link": _MESSAGE_LINK},
        required=frozenset({"link"}),
        scopes=frozenset({"channels:history", "groups:history", "users:read"}),
        asks=(
            "read the thread {link}",
            "what does {link} say?",
            "show the replies to {link}",
            "what came of {link}?",
            "who answered to {link}?",
        ),
    ),
    ToolSpec(
        name="list_channels",
        summary="List the channels this person is in, or all of the workspace.",
        gives="[{id, name, is_private, topic.value, num_members}]",
        invoke=list_channels,
        params={
            "which": {
                "type": "string",
                "enum": ["mine", "all"],
                "default": "mine",
                "description": "The channels this person is in (mine), or all there are (all).",
            }
        },
        keep_s=300,
        scopes=_SEE,
        asks=(
            "which channels am I in?",
            "list my channels",
            "which channels are there?",
            "show the private channels I am in",
            "what channels can I join?",
        ),
    ),
    ToolSpec(
        name="channel_details",
        summary="Show what a channel is about, how old it is, and how many members it has.",
        gives="{id, name, topic.value, purpose.value, num_members}",
        invoke=channel_details,
        params={"channel": _CHANNEL_NAME},
        required=frozenset({"channel"}),
        producers={"channel": _FIND_CHANNEL},
        scopes=frozenset({*_SEE, "users:read"}),
        asks=(
            "what is the channel {channel} for?",
            "how many members has {channel}?",
            "what is the topic of {channel}?",
            "who created the channel {channel}?",
            "is {channel} a private channel?",
            "details of the channel {channel}",
        ),
    ),
    ToolSpec(
        name="find_person",
        summary="Find a person by name or address: their job, email, time zone, status, and whether they are online.",
        gives="[{id, name, real_name, tz, profile: {title, email, status_text}}]",
        invoke=find_person,
        params={
            "name": {
                "type": "string",
                "minLength": 2,
                "maxLength": 100,
                "description": "A name or a part of it, or an email address.",
                "examples": ["Ada Park", "ada@example.com"],
            }
        },
        required=frozenset({"name"}),
        scopes=frozenset({"users:read", "users:read.email"}),
        asks=(
            "who is {name}?",
            "is {name} online?",
            "what is the status of {name}?",
            "which time zone is {name} in?",
            "what is the email address of {name}?",
            "what does {name} do?",
            "find the person {name}",
        ),
    ),
    ToolSpec(
        name="who_am_i",
        summary="Say whose Slack account this is, and in which workspace.",
        invoke=who_am_i,
        scopes=frozenset({"users:read"}),
        asks=(
            "who am I?",
            "which account is this?",
            "which workspace is this?",
            "what is my user name?",
            "what is my own status?",
        ),
    ),
    ToolSpec(
        name="send_message",
        summary="Write a message in a channel, or a reply in a thread.",
        invoke=send_message,
        params={
            "text": {"type": "string", "minLength": 1, "maxLength": 4_000, "description": "The message."},
            "channel": _CHANNEL_NAME,
            "reply_to": {**_MESSAGE_LINK, "description": "Link of the message to reply to, instead of a channel."},
        },
        required=frozenset({"text"}),
        scopes=frozenset({*_SEE, "chat:write"}),
        effect=Effect.WRITE,
        asks=("write {text} in {channel}", "post in {channel}: {text}", "reply to {reply_to}: {text}"),
    ),
    ToolSpec(
        name="set_status",
        summary="Set the own status, or clear it.",
        invoke=set_status,
        params={
            "text": {"type": "string", "maxLength": 100, "description": "The status; without it, it is cleared."},
            "emoji": {
                "type": "string",
                "pattern": "^:[a-z0-9_+-]{1,60}:$",
                "description": "Emoji beside it.",
                "examples": [":palm_tree:"],
            },
            "minutes": {
                "type": "integer",
                "minimum": 1,
                "maximum": 43_200,
                "description": "For how many minutes; without it, until it is changed.",
            },
        },
        scopes=frozenset({"users.profile:write"}),
        effect=Effect.WRITE,
        asks=("set my status to {text}", "clear my status", "set my status to {text} for {minutes} minutes"),
    ),
)

PROVIDER = ProviderSpec(
    id="slack",
    title="Slack",
    about="messages, threads, mentions, channels and people",
    api_base="https://slack.com/api",
    web_base="https://slack.com",
    oauth=OAuthSpec(
        authorize_url="https://slack.com/oauth/v2/authorize",
        token_url="https://slack.com/api/oauth.v2.access",  # noqa: S106 - an address
        revoke_url="https://slack.com/api/auth.revoke",
        revoke_style="bearer",
        revoke_kinds=("access",),
        scopes=tuple(scope for scope in _WORDS if scope not in _WRITING),
        scope_words=_WORDS,
        # Scopes of a person, not of a bot: what is asked is answered as this very person would see it.
        scope_param="user_scope",
        scope_separator=",",
        granted_separator=",",
        token_path=("authed_user",),
        ok_field="ok",
        dead_grant_errors=frozenset({"invalid_grant", "invalid_refresh_token", "token_revoked", "account_inactive"}),
        # Slack takes it only from apps that were made public clients, for good, and ends their grants after 30 days.
        pkce=False,
        identify_url="https://slack.com/api/auth.test",
        subject_fields=("team_id+user_id",),
        label_fields=("team", "user"),
    ),
    refusal_of=refusal_of,
    mcp_url="https://mcp.slack.com/mcp",
    register_url="https://api.slack.com/apps",
    register_steps=(
        "Choose Create New App, From scratch, and the workspace it is for.",
        "Under OAuth & Permissions, add the redirect URL {redirect_uri}.",
        "There, under User Token Scopes (not Bot Token Scopes), add {scopes}.",
        "If you want tokens that expire after 12 hours, turn on token rotation there; it cannot be turned off again.",
        "Leave PKCE off: it would make the app a public client for good.",
        "Do not distribute the app, or have it listed in the Marketplace: others read a channel only once a minute.",
        "Under Basic Information, copy the client ID and the client secret.",
    ),
    unconfirmed=(
        "That auth.revoke with a rotating access token also ends its refresh token.",
        "That searching for a person's id, as in a mention, finds the messages that name them.",
    ),
    tools=TOOLS,
)
