"""Jira Cloud: issues, sprints, versions and projects of the sites an Atlassian account has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial

from metaagent.values import value
from providers import tools
from providers.errors import BadArguments, Forbidden, NotFound
from providers.spec import Api, Args, Effect, Invoke, Json, OAuthSpec, Page, Producer, ProviderSpec, Result, ToolSpec
from providers.tools import (
    SHOWN,
    Row,
    ago,
    at,
    bullets,
    by_offset,
    by_token,
    clean,
    list_at,
    moment_at,
    page_url,
    passage,
    path,
    picked,
    plural,
    text_at,
)

_record = partial(tools.record, "Jira")
_records = partial(tools.records, "Jira")

# --- sites -----------------------------------------------------------------------------------------------------------


@value
class _Site:
    """One Jira of the account: where its API and its pages are."""

    id: str
    name: str
    url: str

    def path(self, template: str, **values: Json) -> str:
        return path("/ex/jira/{site}/rest/api/3" + template, site=self.id, **values)

    def page(self, api: Api, title: str, place: str = "", ref: str | None = None) -> Page:
        return Page(clean(title, 100), page_url(api.web_base, f"{self.url.rstrip('/')}{place or '/'}"), ref)


async def _sites(api: Api) -> list[_Site]:
    """The sites of the account, asked for once as long as its token lives."""
    if "sites" not in api.session:
        rows = _records((await api.get("/oauth/token/accessible-resources")).data, "id", "url")
        jiras = [row for row in rows if "jira" in str(at(row, "scopes"))] or rows
        api.session["sites"] = [[text_at(row, key) for key in ("id", "name", "url")] for row in jiras]
    return [_Site(*each) for each in api.session["sites"]]


async def _site(api: Api, args: Args) -> _Site:
    """The site that is named, or the only one. Raises: NotFound, BadArguments, Forbidden."""
    sites, wanted = await _sites(api), args.get("site", "").casefold()
    if not sites:
        raise Forbidden("This account has let the app into no Jira site: connect it again and choose one.")
    named = [each for each in sites if wanted in (each.name.casefold(), each.url.casefold(), each.id.casefold())]
    if wanted and not named:
        raise NotFound("This account has no Jira site of that name: ask which sites there are.")
    if not wanted and len(sites) > 1:
        raise BadArguments("This account has several Jira sites: say which one, or ask which there are.")
    return (named or sites)[0]


async def list_sites(api: Api, _: Args) -> Result:
    """The Jira sites that the account may be used for."""
    sites = await _sites(api)
    said = [f"**{clean(site.name, 80)}** ({clean(site.url.partition('//')[2], 100)})" for site in sites]
    text = f"{plural(len(sites), 'Jira site')}:\n{bullets(said)}" if sites else "This account has no Jira site."
    data = [{"id": site.id, "name": site.name, "url": site.url} for site in sites]
    return Result(data, text, tuple(site.page(api, site.name) for site in sites[:SHOWN]))


# --- searching -------------------------------------------------------------------------------------------------------

_FIELDS = "summary,status,priority,issuetype,assignee,updated,created,duedate,project"
_PICK = (
    *("key", "fields.summary", "fields.status.name", "fields.priority.name", "fields.issuetype.name"),
    *("fields.assignee.displayName", "fields.project.key", "fields.duedate", "fields.updated"),
)


def _quoted(value: str) -> str:
    """One value of Jira's query language. It cannot end and go on as more of the query."""
    line = " ".join(value.split()).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{line}"'


async def _search(api: Api, site: _Site, jql: str, *, limit: int = 50, fields: str = _FIELDS) -> list[Row]:
    rows = await tools.pages(
        "Jira",
        api,
        site.path("/search/jql"),
        {"jql": jql, "fields": fields, "maxResults": min(limit, 100)},
        rows="issues",
        needs=("key",),
        after=by_token("nextPageToken", "nextPageToken"),
        most=max(1, -(-limit // 100)) + 1,
    )
    return rows[:limit]


def _say_issue(row: Row, now: datetime) -> str:
    due, whose = (
        clean(text_at(row, "fields", "duedate"), 10),
        clean(text_at(row, "fields", "assignee", "displayName"), 40),
    )
    facts = [
        clean(text_at(row, "fields", "issuetype", "name"), 30).lower(),
        clean(text_at(row, "fields", "status", "name"), 40),
        clean(text_at(row, "fields", "priority", "name"), 20).lower(),
        f"assigned to {whose}" if whose else "unassigned",
        f"due {due}" if due else "",
        f"updated {ago(moment_at(row, 'fields', 'updated'), now)}",
    ]
    title = clean(text_at(row, "fields", "summary"), 100)
    return f"**{clean(text_at(row, 'key'), 40)}** {title} ({', '.join(filter(None, facts))})"


def _source(api: Api, site: _Site, row: Row) -> Page:
    key = text_at(row, "key")
    title = f"{key}: {text_at(row, 'fields', 'summary')}"
    return site.page(api, title, path("/browse/{key}", key=key), clean(key, 40))


def _found(api: Api, site: _Site, rows: Sequence[Row], head: str, *, most: int = SHOWN) -> Result:
    """Issues under `head`, or a sentence that there are none."""
    now = datetime.now(UTC)
    text = f"{head}\n{bullets([_say_issue(row, now) for row in rows], most=most)}"
    sources = tuple(_source(api, site, row) for row in rows[:SHOWN]) or (site.page(api, site.name),)
    return Result([picked(row, _PICK) for row in rows], text, sources)


_STATES = {
    "open": "statusCategory != Done",
    "started": 'statusCategory = "In Progress"',
    "done": "statusCategory = Done",
}


async def my_issues(api: Api, args: Args) -> Result:
    """The issues assigned to this account that are not done."""
    site = await _site(api, args)
    rows = await _search(
        api, site, "assignee = currentUser() AND statusCategory != Done ORDER BY priority DESC, updated DESC"
    )
    if not rows:
        return Result([], "No open issue is assigned to you.", (site.page(api, site.name),))
    return _found(api, site, rows, f"{plural(len(rows), 'open issue')} assigned to you:", most=20)


async def _person(api: Api, site: _Site, name: str) -> str:
    """The clause for an assignee. Raises: NotFound."""
    if name in ("me", "nobody"):
        return "assignee = currentUser()" if name == "me" else "assignee is EMPTY"
    people = _records((await api.get(site.path("/user/search"), {"query": name, "maxResults": 5})).data, "accountId")
    if not people:
        raise NotFound("Jira has no person of that name here: check it, or give the email address.")
    return f"assignee in ({', '.join(_quoted(text_at(each, 'accountId')) for each in people)})"


async def search_issues(api: Api, args: Args) -> Result:
    """Issues by project, state, assignee, type, label, age or words."""
    site, limit = await _site(api, args), args.get("limit", SHOWN)
    state = args.get("state", "open")
    terms = [
        *(
            f"{field} = {_quoted(args[name])}"
            for name, field in (
                ("project", "project"),
                ("type", "issuetype"),
                ("label", "labels"),
                ("status", "status"),
            )
            if name in args
        ),
        "" if "status" in args else _STATES.get(state, ""),
        await _person(api, site, args["assignee"]) if "assignee" in args else "",
        f"text ~ {_quoted(args['query'])}" if "query" in args else "",
        f"updated >= -{args['period']}" if "period" in args else "",
    ]
    bounded = list(filter(None, terms)) or ["updated >= -30d"]  # Jira refuses a search without any condition
    rows = await _search(api, site, f"{' AND '.join(bounded)} ORDER BY updated DESC", limit=limit)
    which = f" in {clean(args['project'], 40)}" if "project" in args else ""
    which += f" about “{clean(args['query'], 60)}”" if "query" in args else ""
    if not rows:
        return Result([], f"No such issue{which} was found.", (site.page(api, site.name),))
    many = f"The first {len(rows)} issues" if len(rows) == limit else plural(len(rows), "issue")
    return _found(api, site, rows, f"{many}{which}, the last changed first:", most=limit)


def _by_status(rows: Sequence[Row], now: datetime) -> list[str]:
    groups: dict[str, list[str]] = {}
    for row in rows:
        groups.setdefault(clean(text_at(row, "fields", "status", "name"), 40) or "No status", []).append(
            _say_issue(row, now)
        )
    return [f"{status} ({len(lines)}):\n{bullets(lines)}" for status, lines in groups.items()]


def _done(rows: Sequence[Row]) -> str:
    done = sum(text_at(row, "fields", "status", "statusCategory", "key") == "done" for row in rows)
    return f"{done} of {plural(len(rows), 'issue')} done"


_SPRINT = "com.pyxis.greenhopper.jira:gh-sprint"


async def current_sprint(api: Api, args: Args) -> Result:
    """What is in the running sprints of a project: their names, ends and goals, and their issues by status."""
    site, now = await _site(api, args), datetime.now(UTC)
    fields = _records((await api.get(site.path("/field"))).data, "id")
    field = next((text_at(each, "id") for each in fields if text_at(each, "schema", "custom") == _SPRINT), "")
    jql = f"project = {_quoted(args['project'])} AND sprint in openSprints() ORDER BY status, priority DESC"
    rows = await _search(api, site, jql, limit=200, fields=f"{_FIELDS},{field}" if field else _FIELDS)
    where = clean(args["project"], 60)
    if not rows:
        return Result([], f"No sprint is running in {where}, or nothing is in it.", (site.page(api, site.name),))
    sprints = {
        text_at(sprint, "id"): sprint
        for row in rows
        for sprint in (list_at(row, "fields", field) if field else [])
        if text_at(sprint, "state") == "active"
    }
    said = [_say_sprint(sprint, now) for sprint in sprints.values()]
    text = "\n".join([f"{where}: {_done(rows)}", *filter(None, [bullets(said)]), *_by_status(rows, now)])
    data = {
        "sprints": [picked(each, ("id", "name", "goal", "startDate", "endDate")) for each in sprints.values()],
        "issues": [picked(row, _PICK) for row in rows],
    }
    return Result(data, text, tuple(_source(api, site, row) for row in rows[:SHOWN]))


def _say_sprint(sprint: Row, now: datetime) -> str:
    ends, goal = moment_at(sprint, "endDate"), clean(text_at(sprint, "goal"), 200)
    left = "" if ends is None else f", ends in {tools.length(ends - now)}" if ends > now else ", overdue"
    return f"**{clean(text_at(sprint, 'name'), 80)}**{left}" + (f". Goal: {goal}" if goal else "")


async def version_status(api: Api, args: Args) -> Result:
    """What is in a version (release) of a project, the next one by default, by status."""
    site, now = await _site(api, args), datetime.now(UTC)
    versions = _records((await api.get(site.path("/project/{key}/versions", key=args["project"]))).data, "id", "name")
    wanted = args.get("version", "").casefold()
    version = next(
        (
            each
            for each in versions
            if (text_at(each, "name").casefold() == wanted if wanted else at(each, "released") is not True)
        ),
        None,
    )
    where = clean(args["project"], 60)
    if version is None:
        raise NotFound("Jira has no such version in this project: check its name.")
    jql = f"fixVersion = {_quoted(text_at(version, 'id'))} ORDER BY status, priority DESC"
    rows = await _search(api, site, jql, limit=200)
    due = clean(text_at(version, "releaseDate"), 10)
    state = "released" if at(version, "released") is True else "not released"
    head = (
        f"**{clean(text_at(version, 'name'), 80)}** of {where} ({state}{f', date {due}' if due else ''}): {_done(rows)}"
    )
    data = {
        "version": picked(version, ("id", "name", "released", "releaseDate", "description")),
        "issues": [picked(row, _PICK) for row in rows],
    }
    sources = tuple(_source(api, site, row) for row in rows[:SHOWN]) or (site.page(api, site.name),)
    return Result(data, "\n".join([head, *_by_status(rows, now)]), sources)


async def list_projects(api: Api, args: Args) -> Result:
    """The projects of a site."""
    site = await _site(api, args)
    rows = await tools.pages(
        "Jira",
        api,
        site.path("/project/search"),
        {"maxResults": 50, "orderBy": "name", "expand": "lead", "query": args.get("query")},
        rows="values",
        needs=("key", "name"),
        after=by_offset("startAt", "values"),
        most=5,
    )
    said = [
        f"**{clean(text_at(row, 'name'), 80)}** ({clean(text_at(row, 'key'), 20)})"
        + (f", led by {lead}" if (lead := clean(text_at(row, "lead", "displayName"), 40)) else "")
        for row in rows
    ]
    text = f"{plural(len(rows), 'project')}:\n{bullets(said, most=30)}" if rows else "No project was found."
    data = [picked(row, ("id", "key", "name", "projectTypeKey", "lead.displayName")) for row in rows]
    sources = tuple(
        site.page(api, text_at(row, "name"), path("/browse/{key}", key=text_at(row, "key"))) for row in rows[:SHOWN]
    )
    return Result(data, text, sources or (site.page(api, site.name),))


# --- one issue -------------------------------------------------------------------------------------------------------

_BLOCKS = frozenset({"paragraph", "heading", "listItem", "blockquote", "codeBlock", "tableRow", "hardBreak", "rule"})


def _plain(node: Json) -> str:
    """The text of a document in Atlassian's format."""
    said = text_at(node, "text") or text_at(node, "attrs", "text") or text_at(node, "attrs", "url")
    said += "".join(map(_plain, list_at(node, "content")))
    kind = text_at(node, "type")
    return f"{'- ' if kind == 'listItem' else ''}{said.strip()}\n" if kind in _BLOCKS else said


def _document(text: str) -> Json:
    """Plain text as a document in Atlassian's format, a paragraph a line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    content = [{"type": "paragraph", "content": [{"type": "text", "text": line}]} for line in lines]
    return {"type": "doc", "version": 1, "content": content}


_DETAILS = f"{_FIELDS},description,comment,reporter,labels,parent,subtasks,issuelinks,fixVersions,resolution"


async def issue_details(api: Api, args: Args) -> Result:
    """One issue with its sub-tasks, links and last comments."""
    site, now = await _site(api, args), datetime.now(UTC)
    row = _record(
        (await api.get(site.path("/issue/{key}", key=args["issue"].upper()), {"fields": _DETAILS})).data, "key"
    )
    fields = at(row, "fields")
    labels = at(fields, "labels")
    comments = list_at(fields, "comment", "comments")[-5:]
    reporter, parent = clean(text_at(fields, "reporter", "displayName"), 40), text_at(fields, "parent", "key")
    versions = ", ".join(clean(text_at(each, "name"), 40) for each in list_at(fields, "fixVersions"))
    facts = [
        f"Reported by {reporter or 'someone'} {ago(moment_at(fields, 'created'), now)}",
        f"Part of {clean(parent, 40)}" if parent else "",
        f"Labels: {', '.join(clean(str(each), 40) for each in labels)}" if isinstance(labels, list) and labels else "",
        f"For version {versions}" if versions else "",
    ]
    subtasks = [_say_other(each) for each in list_at(fields, "subtasks")]
    links = [
        f"{clean(text_at(each, 'type', way), 40)} {_say_other(at(each, f'{way}Issue'))}"
        for each in list_at(fields, "issuelinks")
        for way in ("inward", "outward")
        if at(each, f"{way}Issue")
    ]
    said = [
        f"{clean(text_at(each, 'author', 'displayName'), 40)} {ago(moment_at(each, 'created'), now)}: "
        f"{clean(_plain(at(each, 'body')), 400)}"
        for each in comments
    ]
    parts = [
        _say_issue(row, now),
        bullets(list(filter(None, facts))),
        passage(_plain(at(fields, "description")), 2_000),
        f"Sub-tasks:\n{bullets(subtasks)}" if subtasks else "",
        f"Links:\n{bullets(links)}" if links else "",
        f"The last comments:\n{bullets(said)}" if said else "",
    ]
    data = {
        **picked(row, (*_PICK, "fields.reporter.displayName", "fields.resolution.name", "fields.parent.key")),
        "description": _plain(at(fields, "description")),
        "comments": [
            {**picked(each, ("author.displayName", "created")), "body": _plain(at(each, "body"))} for each in comments
        ],
    }
    return Result(data, "\n".join(filter(None, parts)), (_source(api, site, row),))


def _say_other(row: Json) -> str:
    status = clean(text_at(row, "fields", "status", "name"), 40)
    return f"{clean(text_at(row, 'key'), 40)} {clean(text_at(row, 'fields', 'summary'), 80)} ({status})"


async def create_issue(api: Api, args: Args) -> Result:
    """Open an issue."""
    site = await _site(api, args)
    fields: dict[str, Json] = {
        "project": {"key": args["project"]},
        "summary": args["title"],
        "issuetype": {"name": args.get("type", "Task")},
    }
    if "description" in args:
        fields["description"] = _document(args["description"])
    row = _record((await api.send("POST", site.path("/issue"), {"fields": fields})).data, "key")
    text = f"Opened **{clean(text_at(row, 'key'), 40)}** {clean(args['title'], 120)}."
    return Result(picked(row, ("id", "key")), text, (_source(api, site, row),))


async def comment(api: Api, args: Args) -> Result:
    """Comment on an issue."""
    site, key = await _site(api, args), args["issue"].upper()
    reply = await api.send("POST", site.path("/issue/{key}/comment", key=key), {"body": _document(args["text"])})
    data = picked(_record(reply.data, "id"), ("id", "created"))
    return Result(data, f"Commented on **{clean(key, 40)}**.", (_source(api, site, {"key": key}),))


async def move_issue(api: Api, args: Args) -> Result:
    """Move an issue to another status its workflow allows."""
    site, key = await _site(api, args), args["issue"].upper()
    address = site.path("/issue/{key}/transitions", key=key)
    moves = _records(at((await api.get(address)).data, "transitions"), "id")
    wanted = args["status"].casefold()
    names = [(text_at(each, "name").casefold(), text_at(each, "to", "name").casefold()) for each in moves]
    move = next((each for each, known in zip(moves, names, strict=True) if wanted in known), None)
    if move is None:
        raise BadArguments("The workflow of this issue does not lead there from its status: say it as the board does.")
    await api.send("POST", address, {"transition": {"id": text_at(move, "id")}})
    status = text_at(move, "to", "name") or args["status"]
    text = f"Moved **{clean(key, 40)}** to {clean(status, 60)}."
    return Result({"key": key, "status": status}, text, (_source(api, site, {"key": key}),))


# --- the provider ----------------------------------------------------------------------------------------------------

_WORK, _WRITE, _USER = "read:jira-work", "write:jira-work", "read:jira-user"
_SITE = {
    "type": "string",
    "minLength": 1,
    "maxLength": 200,
    "description": "Name or address of the Jira site, when the account has several.",
    "examples": ["octo"],
}
_PROJECT = {
    "type": "string",
    "minLength": 1,
    "maxLength": 100,
    "description": "Key of the project, such as SHOP.",
    "examples": ["SHOP"],
}
_ISSUE = {
    "type": "string",
    "pattern": "^[A-Za-z][A-Za-z0-9_]{1,19}-[1-9][0-9]{0,8}$",
    "description": "Key of the issue, such as SHOP-123.",
    "examples": ["SHOP-123"],
}
_LIMIT = {"type": "integer", "minimum": 1, "maximum": 100, "default": SHOWN, "description": "How many at most."}
_FIND_SITE = Producer("list_sites", "name", names=("name", "url"))
_FIND_PROJECT = Producer("list_projects", "key", names=("key", "name"))
_FIND_ISSUE = Producer("search_issues", "key", names=("key", "fields.summary"))
_GIVES_ISSUES = "[{key, fields.summary, fields.status.name, fields.priority.name, fields.assignee.displayName}]"


def _tool(
    name: str,
    summary: str,
    invoke: Invoke,
    asks: tuple[str, ...],
    *,
    params: Mapping[str, Mapping[str, Json]] | None = None,
    producers: Mapping[str, Producer] | None = None,
    writes: bool = False,
    **more: Json,
) -> ToolSpec:
    """A tool of one site."""
    return ToolSpec(
        name=name,
        summary=summary,
        invoke=invoke,
        asks=asks,
        params={**(params or {}), "site": _SITE},
        producers={**(producers or {}), "site": _FIND_SITE},
        effect=Effect.WRITE if writes else Effect.READ,
        **{"scopes": frozenset({_WORK, _WRITE} if writes else {_WORK}), **more},
    )


TOOLS = (
    _tool(
        "my_issues",
        "List the open issues assigned to me, the most urgent first.",
        my_issues,
        (
            "what is assigned to me?",
            "what should I work on?",
            "my open issues",
            "what is on my plate?",
            "my tickets",
            "what do I have to do?",
        ),
        gives=_GIVES_ISSUES,
    ),
    _tool(
        "search_issues",
        "Find issues by project, status, assignee, type, label, age or words.",
        search_issues,
        (
            "open issues in {project}",
            "find issues about {query}",
            "is there a ticket about {query}?",
            "what is assigned to {assignee}?",
            "issues labelled {label} in {project}",
            "what changed in {project} in the last {period}?",
            "which issues of {project} are {status}?",
            "unassigned issues in {project}",
            "show the bugs of {project}",
            "list the {type} issues of {project}",
        ),
        params={
            "query": {"type": "string", "minLength": 1, "maxLength": 200, "description": "Words of the issue."},
            "project": _PROJECT,
            "state": {
                "type": "string",
                "enum": ["open", "started", "done", "all"],
                "default": "open",
                "description": "Not done yet, in progress, done, or all.",
            },
            "status": {
                "type": "string",
                "minLength": 1,
                "maxLength": 60,
                "description": "Only in this status, as the board calls it; then `state` says nothing.",
                "examples": ["In Review"],
            },
            "assignee": {
                "type": "string",
                "minLength": 1,
                "maxLength": 100,
                "description": "Whose: me, nobody, a name or an email address.",
                "examples": ["me", "nobody", "ada"],
            },
            "type": {
                "type": "string",
                "minLength": 1,
                "maxLength": 40,
                "description": "Only of this type.",
                "examples": ["Bug", "Story"],
            },
            "label": {"type": "string", "minLength": 1, "maxLength": 100, "description": "Only with this label."},
            "period": {
                "type": "string",
                "pattern": "^[1-9][0-9]{0,2}[hdw]$",
                "description": "Only those changed within it: a number of hours, days or weeks, such as 24h or 7d.",
                "examples": ["7d"],
            },
            "limit": _LIMIT,
        },
        producers={"project": _FIND_PROJECT},
        scopes=frozenset({_WORK, _USER}),
        gives=_GIVES_ISSUES,
    ),
    _tool(
        "issue_details",
        "Show one issue: its text, status, who it is assigned to, sub-tasks, links and last comments.",
        issue_details,
        (
            "show {issue}",
            "what is {issue} about?",
            "tell me about {issue}",
            "who is working on {issue}?",
            "who is {issue} assigned to?",
            "comments on {issue}",
            "status of {issue}",
            "is {issue} done?",
            "what blocks {issue}?",
        ),
        params={"issue": _ISSUE},
        required=frozenset({"issue"}),
        producers={"issue": _FIND_ISSUE},
        gives="{key, fields.summary, fields.status.name, description, comments: [{author.displayName, body}]}",
    ),
    _tool(
        "current_sprint",
        "Show the running sprint of a project: how far it is, its goal, and its issues by status.",
        current_sprint,
        (
            "what is in the current sprint of {project}?",
            "how is the sprint of {project} going?",
            "what is left in this sprint of {project}?",
            "when does the sprint of {project} end?",
            "sprint goal of {project}",
            "sprint status of {project}",
        ),
        params={"project": _PROJECT},
        required=frozenset({"project"}),
        producers={"project": _FIND_PROJECT},
        gives="{sprints: [{name, goal, endDate}], issues: [{key, fields.summary, fields.status.name}]}",
    ),
    _tool(
        "version_status",
        "Show what is in a version (release) of a project, the next one by default, and how far it is.",
        version_status,
        (
            "what is in version {version} of {project}?",
            "how far is the next release of {project}?",
            "what is left for release {version} of {project}?",
            "is version {version} of {project} ready?",
            "which issues are planned for {version} of {project}?",
            "when is the next version of {project} due?",
        ),
        params={
            "project": _PROJECT,
            "version": {
                "type": "string",
                "minLength": 1,
                "maxLength": 100,
                "description": "Name of the version; the next one that is not released when left out.",
                "examples": ["2.4"],
            },
        },
        required=frozenset({"project"}),
        producers={"project": _FIND_PROJECT},
        gives="{version: {name, released, releaseDate}, issues: [{key, fields.summary, fields.status.name}]}",
    ),
    _tool(
        "list_projects",
        "List the projects of the site with their keys and leads.",
        list_projects,
        (
            "which projects do we have?",
            "list the projects",
            "what is the key of the {query} project?",
            "show all projects",
            "who leads which project?",
        ),
        params={
            "query": {"type": "string", "minLength": 1, "maxLength": 100, "description": "Part of the name or key."}
        },
        gives="[{id, key, name, projectTypeKey, lead.displayName}]",
    ),
    ToolSpec(
        name="list_sites",
        summary="List the Jira sites that this account can be used for.",
        invoke=list_sites,
        scopes=frozenset({_WORK}),
        asks=(
            "which Jira sites do I have?",
            "list my sites",
            "what sites are there?",
            "which sites can you see?",
            "what is the address of our site?",
        ),
        gives="[{id, name, url}]",
        keep_s=300,
    ),
    ToolSpec(
        name="who_am_i",
        summary="Say which Atlassian account this is.",
        invoke=tools.get(
            "Jira",
            "/me",
            needs=("account_id",),
            pick=("account_id", "name", "email"),
            say=lambda row: f"This is the Atlassian account of **{clean(text_at(row, 'name'), 60)}**.",
            source=lambda _, row: Page(clean(text_at(row, "name"), 60) or "Your account"),
        ),
        scopes=frozenset({"read:me"}),
        asks=(
            "who am I?",
            "which account is this?",
            "whose account are you using?",
            "which email address am I logged in with?",
            "what is my name here?",
        ),
        gives="{account_id, name, email}",
    ),
    _tool(
        "create_issue",
        "Open an issue in a project.",
        create_issue,
        (
            "create an issue in {project}: {title}",
            "open a {type} in {project}: {title}",
            "file a bug for {project}: {title}",
        ),
        params={
            "project": _PROJECT,
            "title": {"type": "string", "minLength": 1, "maxLength": 255, "description": "Its summary."},
            "description": {"type": "string", "maxLength": 30_000, "description": "Its text."},
            "type": {
                "type": "string",
                "minLength": 1,
                "maxLength": 40,
                "default": "Task",
                "description": "Its type, as the project calls it.",
                "examples": ["Bug", "Story"],
            },
        },
        required=frozenset({"project", "title"}),
        producers={"project": _FIND_PROJECT},
        writes=True,
    ),
    _tool(
        "comment",
        "Comment on an issue.",
        comment,
        ("comment on {issue}: {text}", "reply to {issue}: {text}"),
        params={
            "issue": _ISSUE,
            "text": {"type": "string", "minLength": 1, "maxLength": 30_000, "description": "The comment."},
        },
        required=frozenset({"issue", "text"}),
        producers={"issue": _FIND_ISSUE},
        writes=True,
    ),
    _tool(
        "move_issue",
        "Move an issue to another status, such as In Progress or Done.",
        move_issue,
        ("move {issue} to {status}", "mark {issue} as {status}", "set the status of {issue} to {status}"),
        params={
            "issue": _ISSUE,
            "status": {
                "type": "string",
                "minLength": 1,
                "maxLength": 60,
                "description": "Name of the status, as the board calls it.",
                "examples": ["In Progress", "Done"],
            },
        },
        required=frozenset({"issue", "status"}),
        producers={"issue": _FIND_ISSUE},
        writes=True,
    ),
)

PROVIDER = ProviderSpec(
    id="jira",
    title="Jira",
    about="issues, sprints, versions and projects",
    api_base="https://api.atlassian.com",
    web_base="https://atlassian.net",
    oauth=OAuthSpec(
        authorize_url="https://auth.atlassian.com/authorize",
        token_url="https://auth.atlassian.com/oauth/token",  # noqa: S106 - an address
        authorize_params={"audience": "api.atlassian.com", "prompt": "consent"},
        scopes=(_WORK, _USER, "read:me", "offline_access"),
        scope_words={
            _WORK: "read the projects and issues your account can see",
            _USER: "look up people by name",
            _WRITE: "create issues, change them and comment on them",
            "read:me": "see whose account this is",
            "offline_access": "stay connected while you are away",
        },
        unlisted_scopes=frozenset({"offline_access"}),
        token_body="json",  # noqa: S106 - an encoding
        lifetime_s=3_600,
        reuse_leeway_s=600,
        grant_idle_s=7_776_000,
        grant_lifetime_s=31_536_000,
        one_grant=True,
        identify_url="https://api.atlassian.com/me",
        subject_fields=("account_id",),
        label_fields=("email", "name"),
    ),
    mcp_url="https://mcp.atlassian.com/v1/mcp/authv2",
    register_url="https://developer.atlassian.com/console/myapps/",
    register_steps=(
        "Open the developer console, choose Create, then OAuth 2.0 integration, and give it a name.",
        "Under Permissions, add the Jira API with its part of {scopes}, and write:jira-work if issues may change.",
        "Add the User identity API there too, with read:me.",
        "Under Authorization, configure OAuth 2.0 (3LO) with the callback URL {redirect_uri}.",
        "Under Distribution, turn sharing on if people besides you shall connect.",
        "Under Settings, find the client ID and the secret, and enter both here.",
    ),
    unconfirmed=(
        "Whether PKCE is checked: it is sent, but Atlassian's pages for OAuth 2.0 (3LO) do not name it.",
        "That there is no address to revoke a token at: none is documented, and people remove apps at Atlassian.",
        "How the MCP server wants its clients registered.",
    ),
    tools=TOOLS,
)
