"""Gmail: searching and reading mail, what is unread, drafts, and sending."""

from __future__ import annotations

import asyncio
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.utils import getaddresses, parseaddr
from functools import partial
from html.parser import HTMLParser

from providers import google, tools
from providers.errors import BadArguments, NotFound, Unavailable
from providers.spec import Api, Args, Effect, Json, Page, Producer, ProviderSpec, Result, ToolSpec
from providers.tools import (
    SHOWN,
    Row,
    ago,
    at,
    bullets,
    clean,
    list_at,
    number_at,
    passage,
    path,
    picked,
    plural,
    text_at,
    whole_at,
)

_ME = "/gmail/v1/users/me/"
_MESSAGE = _ME + "messages/{id}"
_THREAD = _ME + "threads/{id}"
_HEADERS = ("From", "To", "Cc", "Subject", "Date")
_AT_ONCE = 10
_PAGES = 3

_record = partial(tools.record, "Gmail")

# --- messages --------------------------------------------------------------------------------------------------------


async def _ids(api: Api, kind: str, query: str | None, most: int) -> tuple[list[str], int]:
    """The ids of at most `most` messages or drafts, the latest first, and about how many there are."""
    params: dict[str, Json] = {"maxResults": most, "q": query}
    found: list[str] = []
    total = 0
    for _ in range(_PAGES):
        answer = _record((await api.get(_ME + kind, params)).data, "resultSizeEstimate")
        found += [text_at(row, "id") for row in list_at(answer, kind) if text_at(row, "id")]
        total = max(total, whole_at(answer, "resultSizeEstimate"))
        token = text_at(answer, "nextPageToken")
        if not token or len(found) >= most:
            break
        params = {**params, "pageToken": token}
    return found[:most], max(total, len(found))


async def _each(api: Api, template: str, ids: Sequence[str], params: Json) -> list[Row]:
    """What is at each of these addresses, several at the same time; what is gone meanwhile is left out."""
    free = asyncio.Semaphore(_AT_ONCE)

    async def one(found: str) -> Row | None:
        async with free:
            try:
                return _record((await api.get(path(template, id=found), params)).data, "id")
            except NotFound:
                return None

    return [row for row in await asyncio.gather(*map(one, ids)) if row is not None]


async def _one(api: Api, message: str, params: Mapping[str, Json]) -> Row:
    """One message. Raises: `NotFound`."""
    try:
        return _record((await api.get(path(_MESSAGE, id=message), params)).data, "id")
    except NotFound:
        raise NotFound("Gmail has no such message: search for it first.") from None


async def _messages(api: Api, query: str, most: int) -> tuple[list[Row], int]:
    """The heads of the messages a search finds, the latest first, and about how many there are."""
    ids, total = await _ids(api, "messages", query, most)
    return await _each(api, _MESSAGE, ids, {"format": "metadata", "metadataHeaders": list(_HEADERS)}), total


def _header(message: Row, name: str) -> str:
    heads = list_at(message, "payload", "headers")
    return next((text_at(each, "value") for each in heads if text_at(each, "name").casefold() == name.casefold()), "")


def _labels(message: Row) -> list[str]:
    found = at(message, "labelIds")
    return [each for each in found if isinstance(each, str)] if isinstance(found, list) else []


def _when(message: Row) -> datetime | None:
    seconds = (number_at(message, "internalDate") or 0) / 1_000
    try:
        return datetime.fromtimestamp(seconds, UTC) if seconds else None
    except (ValueError, OverflowError, OSError):
        return None


def _person(written: str) -> str:
    name, address = parseaddr(written)
    return clean(name or address or written, 80)


def _subject(message: Row) -> str:
    return clean(_header(message, "Subject"), 120) or "(no subject)"


def _data(message: Row) -> dict[str, Json]:
    when = _when(message)
    return {
        **picked(message, ("id", "threadId", "snippet")),
        **{name.lower(): _header(message, name) for name in _HEADERS[:-1]},
        "date": when.isoformat() if when else None,
        "unread": "UNREAD" in _labels(message),
    }


def _say(message: Row, now: datetime) -> str:
    facts = [ago(_when(message), now), "unread" if "UNREAD" in _labels(message) else ""]
    who = _person(_header(message, "From")) or "somebody"
    line = f"**{_subject(message)}** from {who} ({', '.join(filter(None, facts))})"
    snippet = clean(text_at(message, "snippet"), 140)
    return f"{line}: {snippet}" if snippet else line


def _source(web_base: str, message: Row) -> Page:
    thread = text_at(message, "threadId") or text_at(message, "id")
    return Page(_subject(message), f"{web_base}/mail/#all/{path('{id}', id=thread)}", text_at(message, "id"))


def _inbox(api: Api, what: str = "inbox") -> tuple[Page, ...]:
    return (Page(f"Gmail, {what}", f"{api.web_base}/mail/#{what}"),)


def _listed(api: Api, rows: list[Row], total: int, head: str, nothing: str) -> Result:
    if not rows:
        return Result([], nothing, _inbox(api))
    now = datetime.now(UTC)
    text = f"{head}\n{bullets([_say(row, now) for row in rows], total=total)}"
    return Result([_data(row) for row in rows], text, tuple(_source(api.web_base, row) for row in rows[:SHOWN]))


def _term(key: str, value: str) -> str:
    """One term of Gmail's search language. No value can end it."""
    return f'{key}:"{" ".join(value.replace(chr(34), " ").split())}"'


def _since(period: str) -> int:
    """When a period of hours, days or weeks that ends now has begun, in seconds since 1970."""
    unit = {"h": "hours", "d": "days", "w": "weeks"}[period[-1]]
    return int((datetime.now(UTC) - timedelta(**{unit: int(period[:-1])})).timestamp())


async def search_messages(api: Api, args: Args) -> Result:
    """Messages that fit, the latest first."""
    query = args.get("query")
    terms = [
        query or "",
        _term("from", args["sender"]) if "sender" in args else "",
        _term("to", args["recipient"]) if "recipient" in args else "",
        _term("label", args["label"]) if "label" in args else "",
        "is:unread" if args.get("unread") else "",
        "has:attachment" if args.get("attachment") else "",
        f"after:{_since(args['period'])}" if "period" in args else "",
    ]
    rows, total = await _messages(api, " ".join(filter(None, terms)), args.get("limit", SHOWN))
    said = f" matching “{clean(query, 80)}”" if query else ""
    said += f" from {clean(args['sender'], 80)}" if "sender" in args else ""
    return _listed(
        api, rows, total, f"About {plural(total, 'message')}{said}, the latest first:", f"No message{said} was found."
    )


async def unread_messages(api: Api, args: Args) -> Result:
    """What is unread in the inbox: how many there are, and the latest of them."""
    query = "in:inbox is:unread" + (" is:important" if args.get("important") else "")
    counts, (rows, total) = await asyncio.gather(
        api.get(_ME + "labels/INBOX"), _messages(api, query, args.get("limit", SHOWN))
    )
    count = total if args.get("important") else max(whole_at(counts.data, "messagesUnread"), len(rows))
    head = f"{plural(count, 'unread message')} in the inbox, the latest first:"
    return _listed(api, rows, count, head, "Nothing is unread in the inbox.")


# --- what a message says ---------------------------------------------------------------------------------------------


class _Words(HTMLParser):
    """The words of an HTML page, without scripts and styles."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.said: list[str] = []
        self._silent = 0

    def handle_starttag(self, tag: str, attrs: object) -> None:  # noqa: ARG002 - the parser's own
        self._silent += tag in {"script", "style", "head"}
        if tag in {"br", "p", "div", "tr", "li", "h1", "h2", "h3"}:
            self.said.append("\n")

    def handle_endtag(self, tag: str) -> None:
        self._silent = max(0, self._silent - (tag in {"script", "style", "head"}))

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.said.append(re.sub(r"\s+", " ", data))


def _parts(part: Row, depth: int = 0) -> Iterator[Row]:
    """A part of a message and those inside it."""
    yield part
    if depth < _AT_ONCE:
        for inner in list_at(part, "parts"):
            yield from _parts(inner, depth + 1)


def _body(message: Row) -> str:
    """The text of a message: its plain part, else the words of its HTML, else the beginning Gmail shows."""
    parts = list(_parts(at(message, "payload") or {}))
    for kind in ("text/plain", "text/html"):
        found = [part for part in parts if text_at(part, "mimeType") == kind and not text_at(part, "filename")]
        for part in found:
            coded = text_at(part, "body", "data")
            try:
                words = urlsafe_b64decode(coded + "=" * (-len(coded) % 4)).decode("utf-8", errors="replace")
            except ValueError:
                continue
            if kind == "text/html":
                reader = _Words()
                reader.feed(words)
                words = "".join(reader.said)
            if words.strip():
                return words.strip()
    return text_at(message, "snippet")


def _attachments(message: Row) -> list[str]:
    return [
        clean(text_at(part, "filename"), 80)
        for part in _parts(at(message, "payload") or {})
        if text_at(part, "filename")
    ]


async def read_message(api: Api, args: Args) -> Result:
    """One message, whole."""
    row = await _one(api, args["message"], {"format": "full"})
    now, words, files = datetime.now(UTC), _body(row), _attachments(row)
    facts = [
        f"From {clean(_header(row, 'From'), 120)}",
        f"To {clean(_header(row, 'To'), 200)}",
        f"Sent {ago(_when(row), now)}",
        f"Attached: {', '.join(files[:SHOWN])}" if files else "",
    ]
    text = f"**{_subject(row)}**\n{bullets(list(filter(None, facts)))}\n\n{passage(words) or '(empty)'}"
    data = {**_data(row), "text": words[:20_000], "attachments": files}
    return Result(data, text, (_source(api.web_base, row),))


async def read_thread(api: Api, args: Args) -> Result:
    """A conversation: its messages in order."""
    reply = await api.get(path(_THREAD, id=args["thread"]), {"format": "full"})
    rows = tools.records("Gmail", at(reply.data, "messages"), "id")
    if not rows:
        raise tools.unreadable("Gmail")
    now, each = datetime.now(UTC), max(600, 6_000 // len(rows))
    told = [
        f"**{_person(_header(row, 'From')) or 'somebody'}**, {ago(_when(row), now)}:\n{passage(_body(row), each)}"
        for row in rows[-SHOWN:]
    ]
    text = f"{plural(len(rows), 'message')} in **{_subject(rows[0])}**:\n\n" + "\n\n".join(told)
    data = [{**_data(row), "text": _body(row)[:5_000]} for row in rows]
    return Result(data, text, (_source(api.web_base, rows[-1]),))


# --- the mailbox -----------------------------------------------------------------------------------------------------


async def list_labels(api: Api, _args: Args) -> Result:
    """The labels a person has made."""
    rows = tools.records("Gmail", at((await api.get(_ME + "labels")).data, "labels"), "id", "name")
    own = [row for row in rows if text_at(row, "type") == "user"]
    text = f"{plural(len(own), 'label')} besides Gmail's own:\n" if own else "There are no labels besides Gmail's own."
    text += bullets([f"**{clean(text_at(row, 'name'), 80)}**" for row in own], most=50)
    return Result([picked(row, ("id", "name", "type")) for row in rows], text, _inbox(api))


async def list_drafts(api: Api, args: Args) -> Result:
    """The drafts, the latest first."""
    ids, total = await _ids(api, "drafts", None, args.get("limit", SHOWN))
    drafts = await _each(api, _ME + "drafts/{id}", ids, {"format": "metadata"})
    now = datetime.now(UTC)
    mails = [mail if isinstance(mail := at(row, "message"), dict) else {} for row in drafts]
    lines = [
        f"**{_subject(mail)}** to {_person(_header(mail, 'To')) or 'nobody yet'}, {ago(_when(mail), now)}"
        for mail in mails
    ]
    text = f"{plural(total, 'draft')}:\n{bullets(lines, total=total)}" if drafts else "There are no drafts."
    data = [{"id": text_at(row, "id"), "message": _data(mail)} for row, mail in zip(drafts, mails, strict=True)]
    return Result(data, text, _inbox(api, "drafts"))


async def mailbox(api: Api, _args: Args) -> Result:
    """Whose mailbox this is, and how much is in it."""
    names = {"INBOX": "in the inbox", "STARRED": "starred", "SPAM": "in spam"}
    profile, *counts = await asyncio.gather(
        api.get(_ME + "profile"), *(api.get(path(_ME + "labels/{id}", id=name)) for name in names)
    )
    who = _record(profile.data, "emailAddress")
    facts = [
        f"{plural(whole_at(reply.data, 'messagesTotal'), 'message')} {words}, "
        f"{whole_at(reply.data, 'messagesUnread'):,} of them unread"
        for words, reply in zip(names.values(), counts, strict=True)
    ]
    head = f"The mailbox of **{clean(text_at(who, 'emailAddress'), 120)}** holds"
    text = f"{head} {plural(whole_at(who, 'messagesTotal'), 'message')}.\n{bullets(facts)}"
    data = {
        **picked(who, ("emailAddress", "messagesTotal", "threadsTotal")),
        **{
            name.lower(): picked(
                reply.data if isinstance(reply.data, dict) else {}, ("messagesTotal", "messagesUnread")
            )
            for name, reply in zip(names, counts, strict=True)
        },
    }
    return Result(data, text, _inbox(api))


# --- changes ---------------------------------------------------------------------------------------------------------


async def _written(api: Api, args: Args) -> tuple[dict[str, Json], EmailMessage]:
    """A message as Gmail takes it. Raises: `BadArguments` when a header would not hold."""
    mail, thread, to, subject = EmailMessage(), "", list(args.get("to", ())), args.get("subject", "")
    if answered := args.get("reply_to"):
        wanted = {"format": "metadata", "metadataHeaders": [*_HEADERS, "Reply-To", "Message-ID", "References"]}
        row = await _one(api, answered, wanted)
        thread = text_at(row, "threadId")
        asked = _header(row, "Reply-To") or _header(row, "From")
        to = to or [address for _, address in getaddresses([asked]) if address]
        was = _header(row, "Subject")
        subject = subject or (was if was.casefold().startswith("re:") else f"Re: {was}")
        name = _header(row, "Message-ID")
        if re.fullmatch(r"<[^<>\s]{3,900}>", name):
            mail["In-Reply-To"] = name
            mail["References"] = " ".join([*re.findall(r"<[^<>\s]{3,200}>", _header(row, "References"))[-9:], name])
    if not to:
        raise BadArguments("Nobody is named to write to: give at least one address.")
    try:
        for name, value in (("To", ", ".join(to)), ("Cc", ", ".join(args.get("cc", ()))), ("Subject", subject)):
            if value:
                mail[name] = " ".join(value.split())
        mail.set_content(args["text"])
        raw = urlsafe_b64encode(mail.as_bytes()).decode()
    except (ValueError, IndexError, UnicodeError):
        raise BadArguments("This cannot be written as a message: check the addresses and the subject.") from None
    return {"raw": raw, **({"threadId": thread} if thread else {})}, mail


async def send_message(api: Api, args: Args) -> Result:
    """Send a message, or a reply in its conversation."""
    body, mail = await _written(api, args)
    sent = _record((await api.send("POST", _ME + "messages/send", body)).data, "id")
    return _done(api, "Sent", mail, {"id": text_at(sent, "id"), "threadId": text_at(sent, "threadId")}, "sent")


async def create_draft(api: Api, args: Args) -> Result:
    """Keep a message as a draft."""
    body, mail = await _written(api, args)
    made = _record((await api.send("POST", _ME + "drafts", {"message": body})).data, "id")
    return _done(api, "Kept the draft", mail, {"id": text_at(made, "id")}, "drafts")


def _done(api: Api, what: str, mail: EmailMessage, data: dict[str, Json], place: str) -> Result:
    text = f"{what} **{clean(mail['Subject'] or '', 120) or '(no subject)'}** to {clean(mail['To'] or '', 200)}."
    return Result(data, text, _inbox(api, place))


async def archive_message(api: Api, args: Args) -> Result:
    """Take a message out of the inbox, read; it stays in All Mail."""
    body = {"removeLabelIds": ["INBOX", "UNREAD"]}
    row = _record((await api.send("POST", path(_MESSAGE + "/modify", id=args["message"]), body)).data, "id")
    if "INBOX" in _labels(row):
        raise Unavailable("Gmail did not say that the message is archived now: look at it before trying again.")
    thread = text_at(row, "threadId") or text_at(row, "id")
    page = Page("The message", f"{api.web_base}/mail/#all/{path('{id}', id=thread)}", text_at(row, "id"))
    return Result(picked(row, ("id", "threadId", "labelIds")), "Archived the message.", (page,))


# --- tools -----------------------------------------------------------------------------------------------------------

_READ, _SEND = google.AUTH + "gmail.readonly", google.AUTH + "gmail.send"
_COMPOSE, _MODIFY, _ALL = google.AUTH + "gmail.compose", google.AUTH + "gmail.modify", "https://mail.google.com/"

_LIMIT = {"type": "integer", "minimum": 1, "maximum": 20, "default": SHOWN, "description": "How many at most."}
_ID = {"type": "string", "pattern": "^[0-9a-f]{10,24}$", "examples": ["18c2a4f0b1d3e597"]}
_MESSAGE_ID = {**_ID, "description": "Id of the message, as a search gives it."}
_PERSON = {"type": "string", "minLength": 1, "maxLength": 200, "examples": ["ada@example.com", "Ada"]}
_ADDRESS = {"type": "string", "pattern": '^[^\\s@<>,;"]+@[^\\s@<>,;"]+$', "maxLength": 254}
_TO = {"type": "array", "items": _ADDRESS, "minItems": 1, "maxItems": 50, "examples": [["ada@example.com"]]}
_GIVES = "[{id, threadId, from, to, subject, date, snippet, unread}]"

_FIND_MESSAGE = Producer("search_messages", "id", names=("subject", "from"))
_FIND_THREAD = Producer("search_messages", "threadId", names=("subject", "from"))

_LETTER: Mapping[str, Mapping[str, Json]] = {
    "to": {**_TO, "description": "Addresses to send it to; may be left out in a reply."},
    "cc": {**_TO, "description": "Addresses that get a copy."},
    "subject": {"type": "string", "maxLength": 400, "description": "Subject; may be left out in a reply."},
    "text": {"type": "string", "minLength": 1, "maxLength": 100_000, "description": "What it says, as plain text."},
    "reply_to": {**_ID, "description": "Id of the message this is a reply to."},
}

_reads = partial(ToolSpec, scopes=frozenset({_READ}), or_scopes=(frozenset({_MODIFY}), frozenset({_ALL})))

TOOLS = (
    _reads(
        name="search_messages",
        summary="Search mail by words, sender, recipient, label, age or attachments, the latest first.",
        gives=_GIVES,
        invoke=search_messages,
        params={
            "query": {
                "type": "string",
                "minLength": 1,
                "maxLength": 300,
                "description": "Words of the mail, or terms of Gmail's own search.",
            },
            "sender": {**_PERSON, "description": "Only mail from this person, by name or address."},
            "recipient": {**_PERSON, "description": "Only mail to this person, by name or address."},
            "label": {"type": "string", "minLength": 1, "maxLength": 200, "description": "Only mail with this label."},
            "unread": {"type": "boolean", "description": "Only unread mail."},
            "attachment": {"type": "boolean", "description": "Only mail with an attachment."},
            "period": {
                "type": "string",
                "pattern": "^[1-9][0-9]{0,2}[hdw]$",
                "description": "Only mail of this time, such as 24h, 7d or 2w.",
            },
            "limit": _LIMIT,
        },
        asks=(
            "find mail about {query}",
            "search my mail for {query}",
            "emails from {sender}",
            "what did {sender} write?",
            "did {sender} write to me?",
            "messages I sent to {recipient}",
            "mail with an attachment from {sender}",
            "mails of the last {period}",
            "show my latest mail",
            "what mail came in?",
        ),
    ),
    _reads(
        name="unread_messages",
        summary="Say how many messages are unread in the inbox, and show the latest of them.",
        gives=_GIVES,
        invoke=unread_messages,
        params={
            "important": {"type": "boolean", "description": "Only what Gmail takes for important."},
            "limit": _LIMIT,
        },
        asks=(
            "do I have unread mail?",
            "what is unread in my inbox?",
            "any new mail?",
            "how many unread messages are there?",
            "which emails have I not read yet?",
            "important unread mail",
            "what is new in my inbox?",
        ),
    ),
    _reads(
        name="read_message",
        summary="Read one message whole: sender, recipients, text and names of its attachments.",
        gives="{id, threadId, from, to, subject, date, text, attachments}",
        invoke=read_message,
        params={"message": _MESSAGE_ID},
        required=frozenset({"message"}),
        producers={"message": _FIND_MESSAGE},
        asks=(
            "read the message {message}",
            "open the mail {message}",
            "what does the mail {message} say?",
            "full text of message {message}",
            "what is attached to message {message}?",
        ),
    ),
    _reads(
        name="read_thread",
        summary="Read a conversation: all its messages in order.",
        gives="[{id, from, subject, date, text}]",
        invoke=read_thread,
        params={"thread": {**_ID, "description": "Id of the conversation (threadId), as a search gives it."}},
        required=frozenset({"thread"}),
        producers={"thread": _FIND_THREAD},
        asks=(
            "read the conversation {thread}",
            "show the whole thread {thread}",
            "what was said in the thread {thread}?",
            "all replies in the thread {thread}",
            "who answered in the thread {thread}?",
        ),
    ),
    _reads(
        name="list_labels",
        summary="List the labels of this mailbox.",
        gives="[{id, name, type}]",
        invoke=list_labels,
        asks=(
            "which labels do I have?",
            "list my labels",
            "what mail folders are there?",
            "show my Gmail labels",
            "how is my mail labelled?",
        ),
    ),
    _reads(
        name="list_drafts",
        summary="List the drafts, the latest first.",
        gives="[{id, message: {to, subject, date}}]",
        invoke=list_drafts,
        params={"limit": _LIMIT},
        asks=(
            "which drafts do I have?",
            "show my drafts",
            "what have I not sent yet?",
            "list unsent messages",
            "unfinished mails",
        ),
    ),
    _reads(
        name="mailbox",
        summary="Say whose mailbox this is, and how much is in the inbox, starred and in spam.",
        invoke=mailbox,
        asks=(
            "whose mailbox is this?",
            "which address is this?",
            "how many messages are in my mailbox?",
            "how big is my mailbox?",
            "how much spam is there?",
            "how many starred messages do I have?",
        ),
    ),
    ToolSpec(
        name="send_message",
        summary="Send a message, or a reply in a conversation.",
        invoke=send_message,
        params=_LETTER,
        required=frozenset({"text"}),
        scopes=frozenset({_SEND}),
        or_scopes=(frozenset({_COMPOSE}), frozenset({_MODIFY}), frozenset({_ALL})),
        effect=Effect.WRITE,
        asks=("send {to} a mail: {text}", "write to {to} that {text}", "reply to {reply_to}: {text}"),
    ),
    ToolSpec(
        name="create_draft",
        summary="Keep a message as a draft, without sending it.",
        invoke=create_draft,
        params=_LETTER,
        required=frozenset({"text"}),
        scopes=frozenset({_COMPOSE}),
        or_scopes=(frozenset({_MODIFY}), frozenset({_ALL})),
        effect=Effect.WRITE,
        asks=("draft a mail to {to}: {text}", "prepare a reply to {reply_to}: {text}"),
    ),
    ToolSpec(
        name="archive_message",
        summary="Archive a message: take it out of the inbox, marked as read.",
        invoke=archive_message,
        params={"message": _MESSAGE_ID},
        required=frozenset({"message"}),
        producers={"message": _FIND_MESSAGE},
        scopes=frozenset({_MODIFY}),
        or_scopes=(frozenset({_ALL}),),
        effect=Effect.WRITE,
        asks=("archive the message {message}", "get the mail {message} out of my inbox"),
    ),
)

PROVIDER = ProviderSpec(
    id="gmail",
    title="Gmail",
    about="mail: searching, reading, unread messages, drafts, sending",
    api_base="https://gmail.googleapis.com",
    web_base="https://mail.google.com",
    oauth=google.oauth(
        read=_READ,
        words={
            _READ: "read all your mail and the settings of your mailbox",
            _SEND: "send mail in your name",
            _COMPOSE: "write drafts, and send mail in your name",
            _MODIFY: "read, write, send, label and archive your mail",
            _ALL: "read, write, send and delete all your mail for good",
        },
    ),
    refusal_of=google.refusal_of,
    mcp_url="https://gmailmcp.googleapis.com/mcp/v1",
    register_url=google.REGISTER_URL,
    register_steps=google.register_steps("Gmail API"),
    unconfirmed=google.UNCONFIRMED,
    tools=TOOLS,
)
