"""Google Drive: files and folders, what is in them, who has them and who changed them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import partial

from providers import google, tools
from providers.egress import encode_query
from providers.errors import BadArguments, Forbidden, NotFound
from providers.spec import Api, Args, Effect, Json, Page, ProviderSpec, Request, Result, ToolSpec
from providers.tools import (
    SHOWN,
    Row,
    ago,
    at,
    bullets,
    by_token,
    clean,
    cut,
    list_at,
    moment_at,
    number_at,
    passage,
    path,
    picked,
    plural,
    text_at,
)

_FILES = "/drive/v3/files"
_FILE = _FILES + "/{id}"
_FOLDER = "application/vnd.google-apps.folder"
_KINDS = {
    "document": "application/vnd.google-apps.document",
    "spreadsheet": "application/vnd.google-apps.spreadsheet",
    "presentation": "application/vnd.google-apps.presentation",
    "form": "application/vnd.google-apps.form",
    "folder": _FOLDER,
    "pdf": "application/pdf",
}
_FAMILIES = {"image": "image/", "video": "video/", "audio": "audio/"}
_WRITTEN_AS = {
    _KINDS["document"]: "text/plain",
    _KINDS["spreadsheet"]: "text/csv",
    _KINDS["presentation"]: "text/plain",
}
"""What a Google file is exported as; of a spreadsheet, that is its first sheet."""
_TEXTS = re.compile(r"text/[\w.+-]+|application/(?:json|xml|x-yaml|yaml|x-sh|javascript|sql)")
_LARGEST_TEXT = 1_000_000

_FIELDS = (
    *("id", "name", "mimeType", "description", "modifiedTime", "createdTime", "size", "starred", "shared", "ownedByMe"),
    "lastModifyingUser.displayName",
)
_ASKED = (
    "id,name,mimeType,description,modifiedTime,createdTime,viewedByMeTime,sharedWithMeTime,size,quotaBytesUsed,starred,"
    "shared,ownedByMe,parents,owners(displayName,emailAddress),sharingUser(displayName),"
    "lastModifyingUser(displayName,emailAddress)"
)
_ALL_DRIVES = {"supportsAllDrives": "true", "includeItemsFromAllDrives": "true"}

_record = partial(tools.record, "Google Drive")
_pages = partial(tools.pages, "Google Drive", after=by_token("nextPageToken", "pageToken"))


# --- files -----------------------------------------------------------------------------------------------------------


async def _find(api: Api, terms: list[str], *, order: str | None = "modifiedTime desc", most: int = SHOWN) -> list[Row]:
    """Files that fit all `terms` of Drive's search, none of them in the trash."""
    query = {
        "q": " and ".join([*terms, "trashed = false"]),
        "orderBy": order,
        "pageSize": min(most, 100),
        "fields": f"nextPageToken,files({_ASKED})",
        **_ALL_DRIVES,
    }
    pages = -(-most // 100)
    return (await _pages(api, _FILES, query, rows="files", needs=("id", "name"), most=pages))[:most]


def _quoted(text: str) -> str:
    """A text of Drive's search language. No value can end it."""
    escaped = re.sub(r"['\\]", r"\\\g<0>", text)
    return f"'{escaped}'"


def _of_kind(kind: str | None) -> list[str]:
    if kind is None:
        return []
    if kind in _FAMILIES:
        return [f"mimeType contains {_quoted(_FAMILIES[kind])}"]
    return [f"mimeType = {_quoted(_KINDS[kind])}"]


_ID = re.compile(r"[A-Za-z0-9_-]{19,100}")


async def _lookup(api: Api, file: str, *, folder: bool = False) -> Row:
    """The file of an id, or of a name. Raises: `NotFound`, or `BadArguments` when several go by that name."""
    if _ID.fullmatch(file):
        query = {"fields": _ASKED, "supportsAllDrives": "true"}
        return _record((await api.get(path(_FILE, id=file), query)).data, "id", "name")
    kind = _of_kind("folder") if folder else []
    found = await _find(api, [f"name contains {_quoted(file)}", *kind])
    exact = [row for row in found if text_at(row, "name").casefold() == file.casefold()]
    match exact or found:
        case []:
            what = "folder" if folder else "file"
            raise NotFound(f"Google Drive has no {what} of that name for this account: search for a part of its name.")
        case [only]:
            return only
        case _:
            raise BadArguments(
                "Several files go by that name: search for it, and give the id of the one that is meant."
            )


def _kind(row: Row) -> str:
    kind = text_at(row, "mimeType")
    known = next((word for word, name in _KINDS.items() if name == kind), "")
    return known or clean(kind.rpartition("/")[2].removeprefix("vnd.google-apps."), 40) or "file"


_UNITS = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "KB"), (1, "bytes"))


def _size(count: float | None) -> str:
    """In its best unit: "3.4 MB"; empty for nothing."""
    return next((f"{count / size:.3g} {unit}" for size, unit in _UNITS if count and count >= size), "")


def _name(row: Row) -> str:
    return clean(text_at(row, "name"), 100)


def _source(web_base: str, row: Row) -> Page:
    return Page(_name(row), f"{web_base}/open?id={path('{id}', id=text_at(row, 'id'))}", text_at(row, "id"))


def _say_file(row: Row, now: datetime, *facts: str) -> str:
    who = clean(text_at(row, "lastModifyingUser", "displayName"), 60)
    changed = f"changed {ago(moment_at(row, 'modifiedTime'), now)}{f' by {who}' if who else ''}"
    told = ", ".join(filter(None, [_kind(row), *facts, changed]))
    return f"**{_name(row)}** ({told}), id `{clean(text_at(row, 'id'), 100)}`"


def _listed(api: Api, rows: list[Row], head: str, nothing: str, say: object = None) -> Result:
    now = datetime.now(UTC)
    lines = [say(row, now) if callable(say) else _say_file(row, now) for row in rows]
    text = f"{head}\n{bullets(lines)}" if rows else nothing
    sources = tuple(_source(api.web_base, row) for row in rows[:SHOWN]) or (Page("Google Drive", f"{api.web_base}/"),)
    return Result([picked(row, _FIELDS) for row in rows], text, sources)


async def search_files(api: Api, args: Args) -> Result:
    """Files by the words in them or in their names."""
    query, kind, owner = args.get("query"), args.get("kind"), args.get("owner")
    terms = _of_kind(kind)
    if query:
        terms.append(f"(name contains {_quoted(query)} or fullText contains {_quoted(query)})")
    if owner:
        terms.append(f"{_quoted(owner)} in owners")
    if "period" in args:
        terms.append(f"modifiedTime > {_quoted(_since(args['period']))}")
    # Drive sorts what it found by words itself, and refuses to be told how.
    rows = await _find(api, terms, order=None if query else "modifiedTime desc", most=args.get("limit", SHOWN))
    what = f"{kind or 'file'}{f' about “{clean(query, 80)}”' if query else ''}"
    return _listed(api, rows, f"{plural(len(rows), 'file')} found:", f"No {what} was found in Google Drive.")


def _since(period: str) -> str:
    """When a period of hours, days or weeks that ends now has begun."""
    unit = {"h": "hours", "d": "days", "w": "weeks"}[period[-1]]
    return f"{datetime.now(UTC) - timedelta(**{unit: int(period[:-1])}):%Y-%m-%dT%H:%M:%S}"


async def recent_files(api: Api, args: Args) -> Result:
    """The files that were changed, or that this person has opened, last."""
    opened = args.get("by") == "opened"
    order = "viewedByMeTime desc" if opened else "modifiedTime desc"
    rows = await _find(api, ["mimeType != " + _quoted(_FOLDER)], order=order, most=args.get("limit", SHOWN))
    head = "The files opened last:" if opened else "The files changed last:"
    return _listed(api, rows, head, "There are no files in this Google Drive.")


async def shared_with_me(api: Api, args: Args) -> Result:
    """What other people have shared, the latest first."""
    rows = await _find(api, ["sharedWithMe = true"], order="sharedWithMeTime desc", most=args.get("limit", SHOWN))

    def say(row: Row, now: datetime) -> str:
        who = clean(text_at(row, "sharingUser", "displayName"), 60)
        return _say_file(
            row, now, f"shared {ago(moment_at(row, 'sharedWithMeTime'), now)}{f' by {who}' if who else ''}"
        )

    return _listed(
        api, rows, "Shared with this account, the latest first:", "Nothing is shared with this account.", say
    )


async def list_folder(api: Api, args: Args) -> Result:
    """What is in a folder; without a name, in My Drive itself."""
    name = args.get("folder")
    folder = await _lookup(api, name, folder=True) if name else {"id": "root", "name": "My Drive"}
    rows = await _find(api, [f"{_quoted(text_at(folder, 'id'))} in parents"], order="folder,name", most=200)
    count = plural(len(rows), "file or folder", "files and folders")
    return _listed(api, rows, f"{count} in **{_name(folder)}**:", f"**{_name(folder)}** is empty.")


async def read_file(api: Api, args: Args) -> Result:
    """What a file says, as text."""
    file = await _lookup(api, args["file"])
    kind, address = text_at(file, "mimeType"), path(_FILE, id=text_at(file, "id"))
    if kind in _WRITTEN_AS:
        request = Request("GET", address + "/export", encode_query({"mimeType": _WRITTEN_AS[kind]}), repeat=True)
    elif _TEXTS.fullmatch(kind) and (number_at(file, "size") or 0) <= _LARGEST_TEXT:
        request = Request("GET", address, "alt=media&supportsAllDrives=true", repeat=True)
    else:
        text = f"**{_name(file)}** ({_kind(file)}) cannot be read as text here: open its page."
        return Result(picked(file, _FIELDS), text, (_source(api.web_base, file),))
    words = (await api.request(request)).body.decode("utf-8", errors="replace").removeprefix("\ufeff")
    data = {**picked(file, _FIELDS), "text": words[:20_000]}
    text = f"**{_name(file)}** says:\n{passage(words) or 'nothing: it is empty.'}"
    return Result(data, text, (_source(api.web_base, file),))


async def file_details(api: Api, args: Args) -> Result:
    """One file: whose it is, who changed it last, where it is, and who else can see it."""
    file, now = await _lookup(api, args["file"]), datetime.now(UTC)
    try:
        query = {"fields": "permissions(type,role,displayName,emailAddress,domain)", "supportsAllDrives": "true"}
        shares = list_at(
            (await api.get(path(_FILE + "/permissions", id=text_at(file, "id")), query)).data, "permissions"
        )
    except (NotFound, Forbidden):  # who may only look at a file does not see who else does
        shares = []
    owners = [clean(text_at(who, "displayName") or text_at(who, "emailAddress"), 60) for who in list_at(file, "owners")]
    facts = [
        f"Owned by {', '.join(owners[:3])}" if owners else "In a shared drive",
        f"Created {ago(moment_at(file, 'createdTime'), now)}",
        _size(number_at(file, "size")),
        clean(text_at(file, "description"), 200),
        f"Shared with {', '.join(_say_share(each) for each in shares[:SHOWN])}" if shares else "",
    ]
    data = {
        **picked(file, _FIELDS),
        "owners": [picked(who, ("displayName", "emailAddress")) for who in list_at(file, "owners")],
        "permissions": [picked(each, ("type", "role", "displayName", "emailAddress", "domain")) for each in shares],
    }
    text = f"{_say_file(file, now)}\n{bullets(list(filter(None, facts)))}"
    return Result(data, text, (_source(api.web_base, file),))


def _say_share(share: Row) -> str:
    names = {"anyone": "anyone with the link", "domain": f"everybody at {text_at(share, 'domain')}"}
    who = names.get(text_at(share, "type")) or text_at(share, "displayName") or text_at(share, "emailAddress")
    return clean(f"{who or 'somebody'} ({text_at(share, 'role')})", 100)


async def file_comments(api: Api, args: Args) -> Result:
    """The comments on a file, the open ones first."""
    file, now = await _lookup(api, args["file"]), datetime.now(UTC)
    fields = "id,content,resolved,createdTime,author(displayName),quotedFileContent(value),replies(id)"
    query = {"fields": f"nextPageToken,comments({fields})", "pageSize": 100}
    address = path(_FILE + "/comments", id=text_at(file, "id"))
    rows = await _pages(api, address, query, rows="comments", needs=("id",), most=3)
    rows.sort(key=lambda row: at(row, "resolved") is True)
    resolved = sum(at(row, "resolved") is True for row in rows)

    def say(row: Row) -> str:
        quote = clean(text_at(row, "quotedFileContent", "value"), 80)
        facts = [
            ago(moment_at(row, "createdTime"), now),
            plural(len(list_at(row, "replies")), "reply", "replies"),
            "resolved" if at(row, "resolved") is True else "",
        ]
        said = (
            f"**{clean(text_at(row, 'author', 'displayName'), 60) or 'somebody'}** ({', '.join(filter(None, facts))})"
        )
        return f"{said}{f' on “{quote}”' if quote else ''}: {clean(text_at(row, 'content'), 300)}"

    text = f"There are no comments on **{_name(file)}**."
    if rows:
        head = f"{plural(len(rows), 'comment')} on **{_name(file)}**, {resolved:,} of them resolved:"
        text = f"{head}\n{bullets([say(row) for row in rows])}"
    data = [picked(row, ("id", "content", "author.displayName", "createdTime", "resolved")) for row in rows]
    return Result(data, text, (_source(api.web_base, file),))


async def storage(api: Api, _args: Args) -> Result:
    """How full the Drive is, whose it is, and what takes up the space."""
    answer = _record((await api.get("/drive/v3/about", {"fields": "user,storageQuota"})).data)
    user, used = at(answer, "user"), number_at(answer, "storageQuota", "usage")
    most, trash = number_at(answer, "storageQuota", "limit"), number_at(answer, "storageQuota", "usageInDriveTrash")
    largest = await _find(api, ["'me' in owners"], order="quotaBytesUsed desc", most=5)
    who = clean(text_at(user, "emailAddress") or text_at(user, "displayName"), 100)
    share = f" of {_size(most)} ({100 * (used or 0) / most:.0f}%)" if most else ", with no limit"
    text = f"The Google Drive of **{who or 'this account'}** uses {_size(used) or 'nothing'}{share}"
    text += f", {_size(trash)} of it in the trash." if trash else "."
    if largest:
        sizes = [f"**{_name(row)}**, {_size(number_at(row, 'quotaBytesUsed')) or 'no space'}" for row in largest]
        text += f"\nThe largest files:\n{bullets(sizes)}"
    data = {
        **picked(answer, ("user.displayName", "user.emailAddress", "storageQuota.limit", "storageQuota.usage")),
        "largest": [picked(row, ("id", "name", "quotaBytesUsed")) for row in largest],
    }
    return Result(data, text, (Page("Google Drive storage", f"{api.web_base}/drive/quota"),))


async def shared_drives(api: Api, _args: Args) -> Result:
    """The shared drives of this account."""
    rows = await _pages(api, "/drive/v3/drives", {"pageSize": 100}, rows="drives", needs=("id", "name"), most=5)
    text = f"{plural(len(rows), 'shared drive')}:\n" if rows else "This account is in no shared drive."
    text += bullets([f"**{_name(row)}**, id `{clean(text_at(row, 'id'), 100)}`" for row in rows])
    sources = [
        Page(_name(row), api.web_base + path("/drive/folders/{id}", id=text_at(row, "id")), text_at(row, "id"))
        for row in rows[:SHOWN]
    ]
    shown = tuple(sources) or (Page("Shared drives", f"{api.web_base}/drive/shared-drives"),)
    return Result([picked(row, ("id", "name")) for row in rows], text, shown)


# --- changes ---------------------------------------------------------------------------------------------------------


async def create_document(api: Api, args: Args) -> Result:
    """A Google Doc with a text in it, in My Drive."""
    head: Mapping[str, Json] = {"name": args["title"], "mimeType": _KINDS["document"]}
    request = _multipart(head, args.get("text", ""))
    made = _record((await api.request(request)).data, "id")
    row = {"name": args["title"], **made}
    text = f"Created the document **{_name(row)}**, id `{clean(text_at(row, 'id'), 100)}`."
    return Result(picked(row, ("id", "name", "mimeType")), text, (_source(api.web_base, row),))


def _multipart(head: Mapping[str, Json], text: str) -> Request:
    """A file with what is known of it, in one request (`multipart/related`)."""
    line = "metaagent"
    while line in text:
        line += "-"
    parts = [
        f"--{line}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n{json.dumps(head)}",
        f"--{line}\r\nContent-Type: text/plain; charset=UTF-8\r\n\r\n{text}",
        f"--{line}--\r\n",
    ]
    return Request(
        "POST",
        "/upload/drive/v3/files",
        "uploadType=multipart&fields=id,name,mimeType",
        headers={"Content-Type": f"multipart/related; boundary={line}"},
        body="\r\n".join(parts).encode("utf-8", errors="replace"),
    )


async def create_folder(api: Api, args: Args) -> Result:
    """A new folder in My Drive."""
    made = _record((await api.send("POST", _FILES, {"name": args["name"], "mimeType": _FOLDER})).data, "id")
    row = {"name": args["name"], **made}
    text = f"Created the folder **{_name(row)}**, id `{clean(text_at(row, 'id'), 100)}`."
    return Result(picked(row, ("id", "name")), text, (_source(api.web_base, row),))


async def comment_on_file(api: Api, args: Args) -> Result:
    """A comment on a file."""
    file = await _lookup(api, args["file"])
    query = encode_query({"fields": "id,content"})
    request = Request(
        "POST",
        path(_FILE + "/comments", id=text_at(file, "id")),
        query,
        headers={"Content-Type": "application/json"},
        body=json.dumps({"content": args["text"]}).encode(),
    )
    made = _record((await api.request(request)).data, "id")
    text = f"Commented on **{_name(file)}**: {cut(clean(args['text'], 200), 120)}"
    data = {"comment": text_at(made, "id"), "file": picked(file, ("id", "name"))}
    return Result(data, text, (_source(api.web_base, file),))


# --- tools -----------------------------------------------------------------------------------------------------------

_READ, _OWN, _ALL = google.AUTH + "drive.readonly", google.AUTH + "drive.file", google.AUTH + "drive"

_FILE_NAME = {
    "type": "string",
    "minLength": 1,
    "maxLength": 200,
    "description": "Name of the file, or its id.",
    "examples": ["Budget 2027"],
}
_LIMIT = {"type": "integer", "minimum": 1, "maximum": 100, "default": SHOWN, "description": "How many at most."}
_GIVES = "[{id, name, mimeType, modifiedTime, size, lastModifyingUser.displayName}]"


_reads = partial(ToolSpec, scopes=frozenset({_READ}), or_scopes=(frozenset({_ALL}),))

TOOLS = (
    _reads(
        name="search_files",
        summary="Search files by words in them or in their names, by kind, owner or age.",
        gives=_GIVES,
        invoke=search_files,
        params={
            "query": {
                "type": "string",
                "minLength": 1,
                "maxLength": 200,
                "description": "Words in the file or in its name.",
            },
            "kind": {
                "type": "string",
                "enum": [*_KINDS, *_FAMILIES],
                "description": "Only this kind of file: document, spreadsheet, presentation, pdf, image and so on.",
            },
            "owner": {
                "type": "string",
                "minLength": 2,
                "maxLength": 200,
                "description": "Only files owned by this person: me, or an email address.",
                "examples": ["me", "ada@example.com"],
            },
            "period": {
                "type": "string",
                "pattern": "^[1-9][0-9]{0,2}[hdw]$",
                "description": "Only files changed within this time, such as 24h, 7d or 2w.",
            },
            "limit": _LIMIT,
        },
        asks=(
            "find files about {query}",
            "search my drive for {query}",
            "which documents mention {query}?",
            "where is the file about {query}?",
            "find the {kind} about {query}",
            "do we have a {kind} on {query}?",
            "files changed in the last {period}",
            "which files does {owner} own?",
        ),
    ),
    _reads(
        name="recent_files",
        summary="List the files that were changed or opened last.",
        gives=_GIVES,
        invoke=recent_files,
        params={
            "by": {
                "type": "string",
                "enum": ["changed", "opened"],
                "default": "changed",
                "description": "The files changed last by anybody, or opened last by this person.",
            },
            "limit": _LIMIT,
        },
        asks=(
            "what did I work on lately?",
            "show my recent files",
            "which files were {by} last?",
            "latest documents",
            "my last {limit} files",
            "what was edited recently?",
            "which document did I have open last?",
        ),
    ),
    _reads(
        name="shared_with_me",
        summary="List what other people have shared with this account, the latest first.",
        gives=_GIVES,
        invoke=shared_with_me,
        params={"limit": _LIMIT},
        asks=(
            "what is shared with me?",
            "which files have been shared with me?",
            "what did others share with me lately?",
            "who shared something with me?",
            "latest shared files",
        ),
    ),
    _reads(
        name="list_folder",
        summary="List what is in a folder, or in My Drive itself.",
        gives=_GIVES,
        invoke=list_folder,
        params={"folder": {**_FILE_NAME, "description": "Name of the folder, or its id; without it, My Drive."}},
        asks=(
            "what is in the folder {folder}?",
            "list the folder {folder}",
            "what is inside {folder}?",
            "contents of the {folder} folder",
            "what is at the top of my drive?",
            "which folders do I have?",
        ),
    ),
    _reads(
        name="read_file",
        summary="Read what a document, a spreadsheet's first sheet, a presentation or a text file says.",
        gives="{id, name, mimeType, modifiedTime, text}",
        invoke=read_file,
        params={"file": _FILE_NAME},
        required=frozenset({"file"}),
        asks=(
            "what does {file} say?",
            "read {file}",
            "read the document {file}",
            "what is written in {file}?",
            "text of {file}",
            "what are the figures in {file}?",
        ),
    ),
    _reads(
        name="file_details",
        summary="Show whose a file is, who changed it last, and who else can see it.",
        gives="{id, name, owners: [{displayName}], permissions: [{role, displayName, emailAddress}]}",
        invoke=file_details,
        params={"file": _FILE_NAME},
        required=frozenset({"file"}),
        asks=(
            "who has access to {file}?",
            "who can see {file}?",
            "who owns {file}?",
            "who changed {file} last?",
            "when was {file} changed?",
            "is {file} public?",
            "details of {file}",
            "with whom is {file} shared?",
        ),
    ),
    _reads(
        name="file_comments",
        summary="Show what people have commented on a file, the open comments first.",
        gives="[{id, content, author.displayName, createdTime, resolved}]",
        invoke=file_comments,
        params={"file": _FILE_NAME},
        required=frozenset({"file"}),
        asks=(
            "comments on {file}",
            "what did people comment on {file}?",
            "which comments are open on {file}?",
            "show the feedback on {file}",
            "are there unresolved comments in {file}?",
        ),
    ),
    _reads(
        name="storage",
        summary="Say whose Drive this is, how full it is, and which files take up the space.",
        invoke=storage,
        asks=(
            "how full is my drive?",
            "how much storage is left?",
            "what takes up my storage?",
            "which are my largest files?",
            "which Google account is this?",
            "am I running out of space?",
        ),
    ),
    _reads(
        name="shared_drives",
        summary="List the shared drives of this account.",
        gives="[{id, name}]",
        invoke=shared_drives,
        asks=(
            "which shared drives are there?",
            "list my shared drives",
            "which team drives am I in?",
            "what team drives do we have?",
            "name of our shared drive",
        ),
    ),
    ToolSpec(
        name="create_document",
        summary="Create a Google Doc with a text in it.",
        invoke=create_document,
        params={
            "title": {"type": "string", "minLength": 1, "maxLength": 200, "description": "Title of the document."},
            "text": {"type": "string", "maxLength": 100_000, "description": "What it says, as plain text."},
        },
        required=frozenset({"title"}),
        scopes=frozenset({_OWN}),
        or_scopes=(frozenset({_ALL}),),
        effect=Effect.WRITE,
        asks=("create a document called {title}", "write a new doc {title}", "start a document {title}: {text}"),
    ),
    ToolSpec(
        name="create_folder",
        summary="Create a folder in My Drive.",
        invoke=create_folder,
        params={"name": {"type": "string", "minLength": 1, "maxLength": 200, "description": "Name of the folder."}},
        required=frozenset({"name"}),
        scopes=frozenset({_OWN}),
        or_scopes=(frozenset({_ALL}),),
        effect=Effect.WRITE,
        asks=("create a folder {name}", "make a new folder called {name}"),
    ),
    ToolSpec(
        name="comment_on_file",
        summary="Add a comment to a file.",
        invoke=comment_on_file,
        params={
            "file": _FILE_NAME,
            "text": {"type": "string", "minLength": 1, "maxLength": 4_000, "description": "The comment."},
        },
        required=frozenset({"file", "text"}),
        scopes=frozenset({_ALL}),
        effect=Effect.WRITE,
        asks=("comment on {file}: {text}", "leave the comment {text} on {file}"),
    ),
)

PROVIDER = ProviderSpec(
    id="gdrive",
    title="Google Drive",
    about="files, documents, folders and who has access",
    api_base="https://www.googleapis.com",
    web_base="https://drive.google.com",
    oauth=google.oauth(
        read=_READ,
        words={
            _READ: "see and read all your files in Google Drive",
            _OWN: "create files in Google Drive, and change the ones created here",
            _ALL: "see, change, comment on and delete all your files in Google Drive",
        },
    ),
    refusal_of=google.refusal_of,
    mcp_url="https://drivemcp.googleapis.com/mcp/v1",
    register_url=google.REGISTER_URL,
    register_steps=google.register_steps("Google Drive API"),
    unconfirmed=google.UNCONFIRMED,
    tools=TOOLS,
)
