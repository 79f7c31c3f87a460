"""Linear: issues, cycles, projects and teams, through its GraphQL API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial

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
    Invoke,
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
    list_at,
    moment_at,
    number_at,
    page_url,
    passage,
    picked,
    plural,
    text_at,
)

_record = partial(tools.record, "Linear")

# --- the API ---------------------------------------------------------------------------------------------------------


def refusal_of(reply: Reply) -> ToolError | None:
    """The errors of a GraphQL answer, which come with 200 as well as with 400."""
    errors = list_at(reply.data, "errors")
    if not errors:
        return None
    kinds = {
        text_at(error, "extensions", key).casefold().replace("_", " ") for error in errors for key in ("type", "code")
    }
    if "ratelimited" in kinds:
        return TooManyRequests("Linear asks to wait a minute.", retry_after_s=60)
    if "authentication error" in kinds:
        return TokenRejected("Linear no longer accepts this account's token.")
    if kinds & {"forbidden", "feature not accessible"}:
        return Forbidden("Linear does not allow this account to do that.")
    if any(text_at(error, "message").startswith("Entity not found") for error in errors):
        return NotFound("Linear has no such thing, or not for this account: check names and ids.")
    if kinds & {"internal error", "network error", "lock timeout"}:
        return Unavailable("Linear failed; try again later.")
    return BadArguments("Linear does not accept these arguments.")


async def _ask(api: Api, query: str, variables: Mapping[str, Json]) -> Reply:
    return await api.send("POST", "/graphql", {"query": query, "variables": dict(variables)})


async def _rows(
    api: Api, query: str, variables: Mapping[str, Json], place: str, *, needs: tuple[str, ...], most: int = 1
) -> list[Row]:
    """The nodes of the connection that `query` asks for; it takes `$after`."""
    page = f"data.{place}.pageInfo"
    return await tools.followed(
        "Linear",
        lambda more: _ask(api, query, {**variables, **more}),
        rows=f"data.{place}.nodes",
        needs=needs,
        after=by_token(f"{page}.endCursor", "after", more=f"{page}.hasNextPage"),
        most=most,
    )


_ISSUE = """identifier title url priorityLabel dueDate createdAt updatedAt
 state { name type } assignee { displayName } team { key } project { name }"""
_PAGE_INFO = "pageInfo { hasNextPage endCursor }"
_FIELDS = (
    *("identifier", "title", "url", "priorityLabel", "dueDate", "createdAt", "updatedAt", "state.name", "state.type"),
    *("assignee.displayName", "team.key", "project.name"),
)


def _page(api: Api, row: Row, title: str, ref: str = "") -> Page:
    return Page(clean(title, 100), page_url(api.web_base, text_at(row, "url")), clean(ref, 40) or None)


def _sources(api: Api, rows: Sequence[Row]) -> tuple[Page, ...]:
    return tuple(_page(api, row, text_at(row, "title"), text_at(row, "identifier")) for row in rows[:SHOWN])


def _say_issue(row: Row, now: datetime) -> str:
    priority, whose = clean(text_at(row, "priorityLabel"), 20), clean(text_at(row, "assignee", "displayName"), 40)
    due = clean(text_at(row, "dueDate"), 10)
    facts = [
        clean(text_at(row, "state", "name"), 40),
        priority.lower() if priority not in ("", "No priority") else "",
        f"assigned to {whose}" if whose else "unassigned",
        f"due {due}" if due else "",
        f"updated {ago(moment_at(row, 'updatedAt'), now)}",
    ]
    name = clean(text_at(row, "identifier"), 40)
    return f"**{name}** {clean(text_at(row, 'title'), 100)} ({', '.join(filter(None, facts))})"


# --- what was asked --------------------------------------------------------------------------------------------------

_OPEN = {"type": {"nin": ["completed", "canceled", "duplicate"]}}
_STATES: Mapping[str, Json] = {
    "open": _OPEN,
    "started": {"type": {"eq": "started"}},
    "done": {"type": {"eq": "completed"}},
    "backlog": {"type": {"in": ["backlog", "triage"]}},
}


def _either(value: str, *fields: str) -> Json:
    return {"or": [{field: {"eqIgnoreCase": value}} for field in fields]}


def _person(name: str) -> Json:
    match name:
        case "me":
            return {"isMe": {"eq": True}}
        case "nobody":
            return {"null": True}
        case _:
            return _either(name, "displayName", "name", "email")


def _filter(args: Args) -> dict[str, Json]:
    """The filter of the issues that `args` ask for."""
    made: dict[str, Json | None] = {
        "state": _STATES.get(args.get("state", "open")),
        "team": _either(args["team"], "key", "name") if "team" in args else None,
        "assignee": _person(args["assignee"]) if "assignee" in args else None,
        "labels": {"some": {"name": {"eqIgnoreCase": args["label"]}}} if "label" in args else None,
        "project": {"name": {"containsIgnoreCase": args["project"]}} if "project" in args else None,
    }
    return tools.given(made)


# --- issues ----------------------------------------------------------------------------------------------------------

_FIND = f"""query Find($filter: IssueFilter, $first: Int, $after: String) {{
 issues(filter: $filter, first: $first, after: $after, orderBy: updatedAt) {{ nodes {{ {_ISSUE} }} {_PAGE_INFO} }} }}"""
_SEARCH = f"""query Search($term: String!, $filter: IssueFilter, $first: Int, $after: String) {{
 searchIssues(term: $term, filter: $filter, first: $first, after: $after) {{ nodes {{ {_ISSUE} }} {_PAGE_INFO} }} }}"""


async def _find(api: Api, args: Args, limit: int) -> list[Row]:
    variables = {"filter": _filter(args), "first": min(limit, 50)}
    needs, most = ("identifier", "title"), -(-limit // 50)
    if "query" in args:
        term = {**variables, "term": args["query"]}
        return (await _rows(api, _SEARCH, term, "searchIssues", needs=needs, most=most))[:limit]
    return (await _rows(api, _FIND, variables, "issues", needs=needs, most=most))[:limit]


async def my_issues(api: Api, args: Args) -> Result:
    """The open issues assigned to this account, by state."""
    rows, now = await _find(api, {"assignee": "me", "state": args.get("state", "open")}, 50), datetime.now(UTC)
    if not rows:
        return Result([], "No such issue is assigned to you.", (Page("My issues", f"{api.web_base}/my-issues"),))
    order = ("started", "unstarted", "triage", "backlog")
    rows.sort(key=lambda row: order.index(kind) if (kind := text_at(row, "state", "type")) in order else len(order))
    text = f"{plural(len(rows), 'issue')} assigned to you:\n{bullets([_say_issue(row, now) for row in rows], most=20)}"
    return Result([picked(row, _FIELDS) for row in rows], text, _sources(api, rows))


async def search_issues(api: Api, args: Args) -> Result:
    """Issues by team, state, assignee, label, project or words."""
    limit, now = args.get("limit", SHOWN), datetime.now(UTC)
    rows = await _find(api, args, limit)
    which = f" of {clean(args['team'], 40)}" if "team" in args else ""
    which += f" about “{clean(args['query'], 60)}”" if "query" in args else ""
    state = args.get("state", "open")
    what = f"{state} issue" if state != "all" else "issue"
    if not rows:
        return Result([], f"No {what}{which} was found.", (Page("Linear", f"{api.web_base}/"),))
    more = " at least" if len(rows) == limit else ""
    head = f"{plural(len(rows), what)}{more}{which}:"
    text = f"{head}\n{bullets([_say_issue(row, now) for row in rows], most=limit)}"
    return Result([picked(row, _FIELDS) for row in rows], text, _sources(api, rows))


_DETAILS = f"""query Details($id: String!) {{ issue(id: $id) {{ {_ISSUE} id description branchName
 creator {{ displayName }} cycle {{ number name }} parent {{ identifier title }}
 labels {{ nodes {{ name }} }} children {{ nodes {{ identifier title state {{ name }} }} }}
 attachments {{ nodes {{ title url }} }}
 comments(first: 50) {{ nodes {{ body createdAt user {{ displayName }} }} }} }} }}"""


async def _issue(api: Api, identifier: str) -> Row:
    return _record(
        at((await _ask(api, _DETAILS, {"id": identifier.upper()})).data, "data", "issue"), "identifier", "title"
    )


async def issue_details(api: Api, args: Args) -> Result:
    """One issue with its sub-issues, links and last comments."""
    row, now = await _issue(api, args["issue"]), datetime.now(UTC)
    labels = [clean(text_at(label, "name"), 40) for label in list_at(row, "labels", "nodes")]
    children = [
        f"{clean(text_at(each, 'identifier'), 40)} {clean(text_at(each, 'title'), 80)}, "
        f"{clean(text_at(each, 'state', 'name'), 40)}"
        for each in list_at(row, "children", "nodes")
    ]
    links = [clean(text_at(each, "title"), 100) for each in list_at(row, "attachments", "nodes")]
    comments = sorted(list_at(row, "comments", "nodes"), key=lambda each: text_at(each, "createdAt"))[-5:]
    said = [
        f"{clean(text_at(each, 'user', 'displayName'), 40) or 'someone'} {ago(moment_at(each, 'createdAt'), now)}: "
        f"{clean(text_at(each, 'body'), 400)}"
        for each in comments
    ]
    cycle, project = text_at(row, "cycle", "number"), clean(text_at(row, "project", "name"), 80)
    creator, opened = clean(text_at(row, "creator", "displayName"), 40), ago(moment_at(row, "createdAt"), now)
    facts = [
        f"Opened by {creator or 'someone'} {opened}",
        f"Project {project}" if project else "",
        f"Cycle {clean(cycle, 10)}" if cycle else "",
        f"Labels: {', '.join(labels)}" if labels else "",
        f"Links: {', '.join(filter(None, links[:5]))}" if links else "",
    ]
    parts = [
        _say_issue(row, now),
        bullets(list(filter(None, facts))),
        passage(text_at(row, "description"), 2_000),
        f"Sub-issues:\n{bullets(children)}" if children else "",
        f"The last comments:\n{bullets(said)}" if said else "",
    ]
    data = {
        **picked(row, (*_FIELDS, "description", "branchName", "cycle.number", "parent.identifier")),
        "labels": labels,
        "children": [picked(each, ("identifier", "title", "state.name")) for each in list_at(row, "children", "nodes")],
        "comments": [picked(each, ("user.displayName", "createdAt", "body")) for each in comments],
    }
    return Result(data, "\n".join(filter(None, parts)), _sources(api, [row]))


# --- teams, cycles and projects --------------------------------------------------------------------------------------

_TEAMS = f"""query Teams($first: Int, $after: String) {{
 teams(first: $first, after: $after) {{ nodes {{ id key name description }} {_PAGE_INFO} }} }}"""


async def list_teams(api: Api, _: Args) -> Result:
    """The teams of the workspace."""
    rows = await _rows(api, _TEAMS, {"first": 100}, "teams", needs=("key", "name"), most=3)
    said = [f"**{clean(text_at(row, 'name'), 60)}** ({clean(text_at(row, 'key'), 20)})" for row in rows]
    text = f"{plural(len(rows), 'team')}:\n{bullets(said, most=30)}" if rows else "No team was found."
    data = [picked(row, ("id", "key", "name", "description")) for row in rows]
    return Result(data, text, (Page("Teams", f"{api.web_base}/teams"),))


_CYCLES = f"""query Cycles($filter: TeamFilter, $first: Int) {{
 teams(filter: $filter, first: $first) {{ nodes {{ key name
 activeCycle {{ number name startsAt endsAt progress issues(first: 60) {{ nodes {{ {_ISSUE} }} }} }} }} }} }}"""


async def current_cycle(api: Api, args: Args) -> Result:
    """The running cycle of a team, or of the first teams that have one, with its issues by state."""
    variables = {"filter": _either(args["team"], "key", "name") if "team" in args else {}, "first": 5}
    reply = await _ask(api, _CYCLES, variables)
    teams = tools.records("Linear", at(reply.data, "data", "teams", "nodes"), "key")
    running = [team for team in teams if at(team, "activeCycle")]
    home = (Page("Linear", f"{api.web_base}/"),)
    if not running:
        return Result([], "No team has a running cycle." if teams else "There is no team of that name.", home)
    now, parts, rows = datetime.now(UTC), [], []
    for team in running:
        issues = list_at(team, "activeCycle", "issues", "nodes")
        rows += issues
        by_state: dict[str, list[str]] = {}
        for row in issues:
            by_state.setdefault(clean(text_at(row, "state", "name"), 40) or "No state", []).append(_say_issue(row, now))
        parts.append(_say_cycle(team, now))
        parts += [f"{state} ({len(lines)}):\n{bullets(lines)}" for state, lines in by_state.items()]
    data = [
        {
            **picked(team, ("key", "name")),
            **picked(team["activeCycle"], ("number", "name", "startsAt", "endsAt", "progress")),
            "issues": [picked(row, _FIELDS) for row in list_at(team, "activeCycle", "issues", "nodes")],
        }
        for team in running
        if isinstance(team["activeCycle"], dict)
    ]
    return Result(data, "\n".join(parts), _sources(api, rows) or home)


def _percent(row: Row, *way: str) -> str:
    return f"{100 * min(max(number_at(row, *way) or 0, 0), 1):.0f}% done"


def _say_cycle(team: Row, now: datetime) -> str:
    cycle = at(team, "activeCycle")
    ends = moment_at(cycle, "endsAt")
    left = f", ends in {tools.length(ends - now)}" if ends and ends > now else ""
    name = clean(text_at(cycle, "name"), 60)
    what = f"cycle {clean(text_at(cycle, 'number'), 10)}" + (f" “{name}”" if name else "")
    return (
        f"**{clean(text_at(team, 'name') or text_at(team, 'key'), 60)}**, {what}: {_percent(cycle, 'progress')}{left}"
    )


_PROJECT = """id name description url progress health targetDate startDate updatedAt status { name type }
 lead { displayName } lastUpdate { body health createdAt url user { displayName } }"""
_PROJECTS = f"""query Projects($filter: ProjectFilter, $first: Int, $after: String) {{
 projects(filter: $filter, first: $first, after: $after, orderBy: updatedAt) {{
 nodes {{ {_PROJECT} }} {_PAGE_INFO} }} }}"""
_PROJECT_FIELDS = (
    *("id", "name", "description", "url", "progress", "health", "targetDate", "status.name", "status.type"),
    *("lead.displayName", "lastUpdate.body", "lastUpdate.health", "lastUpdate.createdAt"),
)
_HEALTH = {"onTrack": "on track", "atRisk": "at risk", "offTrack": "off track"}


def _say_project(row: Row) -> str:
    lead, due = clean(text_at(row, "lead", "displayName"), 40), clean(text_at(row, "targetDate"), 10)
    facts = [
        clean(text_at(row, "status", "name"), 40),
        _HEALTH.get(text_at(row, "health"), ""),
        _percent(row, "progress"),
        f"led by {lead}" if lead else "",
        f"due {due}" if due else "",
    ]
    return f"**{clean(text_at(row, 'name'), 80)}** ({', '.join(filter(None, facts))})"


async def list_projects(api: Api, args: Args) -> Result:
    """Projects that are not over, or all."""
    over = {"status": {"type": {"nin": ["completed", "canceled"]}}} if args.get("state", "open") == "open" else {}
    rows = await _rows(api, _PROJECTS, {"filter": over, "first": 50}, "projects", needs=("id", "name"), most=3)
    text = f"{plural(len(rows), 'project')}:\n{bullets([_say_project(row) for row in rows], most=25)}"
    sources = tuple(_page(api, row, text_at(row, "name")) for row in rows[:SHOWN])
    data = [picked(row, _PROJECT_FIELDS) for row in rows]
    return Result(data, text if rows else "No project was found.", sources or (Page("Linear", f"{api.web_base}/"),))


async def project_status(api: Api, args: Args) -> Result:
    """How a project goes: progress, health, and its last update."""
    found = {"filter": {"name": {"containsIgnoreCase": args["project"]}}, "first": 5}
    rows = await _rows(api, _PROJECTS, found, "projects", needs=("id", "name"))
    if not rows:
        raise NotFound("Linear has no project of that name here: ask which projects there are.")
    wanted = args["project"].casefold()
    row = next((each for each in rows if text_at(each, "name").casefold() == wanted), rows[0])
    told, now = at(row, "lastUpdate"), datetime.now(UTC)
    update = (
        f"The last update, {_HEALTH.get(text_at(told, 'health'), 'of unknown health')}, by "
        f"{clean(text_at(told, 'user', 'displayName'), 40) or 'someone'} {ago(moment_at(told, 'createdAt'), now)}:\n"
        f"{passage(text_at(told, 'body'), 2_000)}"
        if told
        else "Nobody has written an update yet."
    )
    others = [clean(text_at(each, "name"), 80) for each in rows if each is not row]
    parts = [
        _say_project(row),
        clean(text_at(row, "description"), 400),
        update,
        f"Other projects of that name: {', '.join(others)}" if others else "",
    ]
    return Result(
        picked(row, _PROJECT_FIELDS), "\n".join(filter(None, parts)), (_page(api, row, text_at(row, "name")),)
    )


# --- changes ---------------------------------------------------------------------------------------------------------

_CREATE = """mutation Create($input: IssueCreateInput!) {
 issueCreate(input: $input) { success issue { identifier title url } } }"""
_COMMENT = (
    """mutation Comment($input: CommentCreateInput!) { commentCreate(input: $input) { success comment { id url } } }"""
)
_MOVE = """mutation Move($id: String!, $input: IssueUpdateInput!) {
 issueUpdate(id: $id, input: $input) { success issue { identifier title url state { name } } } }"""
_TEAM = """query Team($filter: TeamFilter) { teams(filter: $filter, first: 2) { nodes { id key name } } }"""
_TEAM_STATES = """query States($id: String!) { issue(id: $id) { id identifier title url
 team { states { nodes { id name type } } } } }"""
_PRIORITIES = {"urgent": 1, "high": 2, "medium": 3, "low": 4}


def _done(reply: Reply, field: str, thing: str) -> Row:
    made = at(reply.data, "data", field)
    if at(made, "success") is not True:
        raise Unavailable("Linear did not say that this was done: look at it before trying again.")
    return _record(at(made, thing))


async def create_issue(api: Api, args: Args) -> Result:
    """Open an issue in a team."""
    reply = await _ask(api, _TEAM, {"filter": _either(args["team"], "key", "name")})
    teams = tools.records("Linear", at(reply.data, "data", "teams", "nodes"), "id")
    if not teams:
        raise NotFound("Linear has no team of that name: ask which teams there are.")
    fields = {
        "teamId": text_at(teams[0], "id"),
        "title": args["title"],
        "description": args.get("description"),
        "priority": _PRIORITIES.get(args.get("priority", "")),
    }
    row = _done(await _ask(api, _CREATE, {"input": tools.given(fields)}), "issueCreate", "issue")
    text = f"Opened **{clean(text_at(row, 'identifier'), 40)}** {clean(text_at(row, 'title'), 120)}."
    return Result(picked(row, ("identifier", "title", "url")), text, _sources(api, [row]))


async def comment(api: Api, args: Args) -> Result:
    """Comment on an issue."""
    row = await _issue(api, args["issue"])
    made = _done(
        await _ask(api, _COMMENT, {"input": {"issueId": text_at(row, "id"), "body": args["text"]}}),
        "commentCreate",
        "comment",
    )
    text = f"Commented on **{clean(text_at(row, 'identifier'), 40)}** {clean(text_at(row, 'title'), 120)}."
    return Result(picked(made, ("id", "url")), text, _sources(api, [row]))


async def move_issue(api: Api, args: Args) -> Result:
    """Move an issue to another state of its team's workflow."""
    reply = await _ask(api, _TEAM_STATES, {"id": args["issue"].upper()})
    row = _record(at(reply.data, "data", "issue"), "id")
    states = list_at(row, "team", "states", "nodes")
    wanted = args["state"].casefold()
    state = next((each for each in states if text_at(each, "name").casefold() == wanted), None)
    if state is None:
        raise BadArguments("The team of this issue has no state of that name: say it as its board does.")
    change = {"id": text_at(row, "id"), "input": {"stateId": text_at(state, "id")}}
    moved = _done(await _ask(api, _MOVE, change), "issueUpdate", "issue")
    name = f"**{clean(text_at(moved, 'identifier'), 40)}** {clean(text_at(moved, 'title'), 120)}"
    text = f"Moved {name} to {clean(text_at(moved, 'state', 'name'), 40)}."
    return Result(picked(moved, ("identifier", "title", "url", "state.name")), text, _sources(api, [moved]))


# --- the provider ----------------------------------------------------------------------------------------------------

_READ, _WRITE = frozenset({"read"}), frozenset({"write"})
_ISSUE_ID = {
    "type": "string",
    "pattern": "^[A-Za-z][A-Za-z0-9]{0,9}-[1-9][0-9]{0,8}$",
    "description": "Identifier of the issue, such as ENG-123.",
    "examples": ["ENG-123"],
}
_TEAM_NAME = {"type": "string", "minLength": 1, "maxLength": 80, "description": "Key or name of the team."}
_PROJECT_NAME = {"type": "string", "minLength": 1, "maxLength": 120, "description": "Name of the project."}
_STATE = {
    "type": "string",
    "enum": ["open", "started", "backlog", "done", "all"],
    "default": "open",
    "description": "In which state: open is all that is not done or canceled.",
}
_LIMIT = {"type": "integer", "minimum": 1, "maximum": 100, "default": SHOWN, "description": "How many at most."}
_FIND_ISSUE = Producer("search_issues", "identifier", names=("identifier", "title"))
_FIND_TEAM = Producer("list_teams", "key", names=("key", "name"))
_FIND_PROJECT = Producer("list_projects", "name", names=("name",))
_GIVES_ISSUES = "[{identifier, title, url, state.name, priorityLabel, dueDate, assignee.displayName, team.key}]"


def _read(name: str, summary: str, invoke: Invoke, asks: tuple[str, ...], **more: Json) -> ToolSpec:
    return ToolSpec(name=name, summary=summary, invoke=invoke, asks=asks, scopes=_READ, **more)


TOOLS = (
    _read(
        "my_issues",
        "List the issues assigned to me, those in progress first.",
        my_issues,
        (
            "what is assigned to me?",
            "what should I work on?",
            "my issues",
            "what is on my plate?",
            "which of my issues are {state}?",
            "what am I working on?",
            "my open tickets",
        ),
        params={"state": _STATE},
        gives=_GIVES_ISSUES,
    ),
    _read(
        "search_issues",
        "Find issues by team, state, assignee, label, project or words.",
        search_issues,
        (
            "issues of team {team}",
            "find issues about {query}",
            "is there a ticket about {query}?",
            "what is assigned to {assignee}?",
            "issues labelled {label}",
            "issues in project {project}",
            "list the {state} issues of {team}",
            "unassigned issues of {team}",
            "show the bugs of {team}",
        ),
        params={
            "query": {"type": "string", "minLength": 1, "maxLength": 200, "description": "Words to search for."},
            "team": _TEAM_NAME,
            "state": _STATE,
            "assignee": {
                "type": "string",
                "minLength": 1,
                "maxLength": 100,
                "description": "Whose: me, nobody, a name or an email address.",
                "examples": ["me", "nobody", "ada"],
            },
            "label": {"type": "string", "minLength": 1, "maxLength": 80, "description": "Only with this label."},
            "project": _PROJECT_NAME,
            "limit": _LIMIT,
        },
        producers={"team": _FIND_TEAM, "project": _FIND_PROJECT},
        gives=_GIVES_ISSUES,
    ),
    _read(
        "issue_details",
        "Show one issue: its text, state, who it is assigned to, sub-issues, links and last comments.",
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
            "sub-issues of {issue}",
        ),
        params={"issue": _ISSUE_ID},
        required=frozenset({"issue"}),
        producers={"issue": _FIND_ISSUE},
        gives="{identifier, title, state.name, description, labels, children: [{identifier}], comments: [{body}]}",
    ),
    _read(
        "current_cycle",
        "Show the running cycle (sprint) of a team: how far it is, and its issues by state.",
        current_cycle,
        (
            "what is in the current cycle?",
            "how is the cycle of {team} going?",
            "what is in this sprint?",
            "when does the current cycle end?",
            "what is {team} working on this cycle?",
            "how far is the sprint of {team}?",
        ),
        params={"team": _TEAM_NAME},
        producers={"team": _FIND_TEAM},
        gives="[{key, name, number, endsAt, progress, issues: [{identifier, title, state.name}]}]",
    ),
    _read(
        "list_projects",
        "List the projects with their status, health, progress and lead.",
        list_projects,
        (
            "which projects do we have?",
            "list the projects",
            "which projects are at risk?",
            "what projects are running?",
            "who leads which project?",
            "show all projects",
            "which projects are due soon?",
        ),
        params={
            "state": {
                "type": "string",
                "enum": ["open", "all"],
                "default": "open",
                "description": "Those that are not completed or canceled, or all.",
            }
        },
        gives="[{id, name, url, progress, health, targetDate, status.name, lead.displayName}]",
    ),
    _read(
        "project_status",
        "Show how one project goes: progress, health, target date, and its last update.",
        project_status,
        (
            "how is project {project} going?",
            "status of the {project} project",
            "last update on {project}",
            "is {project} on track?",
            "when is {project} due?",
            "who leads {project}?",
        ),
        params={"project": _PROJECT_NAME},
        required=frozenset({"project"}),
        producers={"project": _FIND_PROJECT},
        gives="{name, url, progress, health, targetDate, status.name, lead.displayName, lastUpdate.body}",
    ),
    _read(
        "list_teams",
        "List the teams of the workspace with their keys.",
        list_teams,
        (
            "which teams are there?",
            "list the teams",
            "what are the team keys?",
            "show all teams",
            "what teams do we have?",
        ),
        gives="[{id, key, name, description}]",
    ),
    ToolSpec(
        name="create_issue",
        summary="Open an issue in a team.",
        invoke=create_issue,
        params={
            "team": _TEAM_NAME,
            "title": {"type": "string", "minLength": 1, "maxLength": 250, "description": "Its title."},
            "description": {"type": "string", "maxLength": 60_000, "description": "Its text, in Markdown."},
            "priority": {"type": "string", "enum": [*_PRIORITIES], "description": "How urgent it is."},
        },
        required=frozenset({"team", "title"}),
        producers={"team": _FIND_TEAM},
        scopes=frozenset({"read", "issues:create"}),
        or_scopes=(frozenset({"read", "write"}),),
        effect=Effect.WRITE,
        asks=(
            "create an issue in {team}: {title}",
            "file a bug for {team}: {title}",
            "open a ticket {title} in {team}",
        ),
    ),
    ToolSpec(
        name="comment",
        summary="Comment on an issue.",
        invoke=comment,
        params={
            "issue": _ISSUE_ID,
            "text": {"type": "string", "minLength": 1, "maxLength": 60_000, "description": "The comment, in Markdown."},
        },
        required=frozenset({"issue", "text"}),
        producers={"issue": _FIND_ISSUE},
        scopes=frozenset({"read", "comments:create"}),
        or_scopes=(frozenset({"read", "write"}),),
        effect=Effect.WRITE,
        asks=("comment on {issue}: {text}", "reply to {issue}: {text}"),
    ),
    ToolSpec(
        name="move_issue",
        summary="Move an issue to another state, such as In Progress or Done.",
        invoke=move_issue,
        params={
            "issue": _ISSUE_ID,
            "state": {
                "type": "string",
                "minLength": 1,
                "maxLength": 60,
                "description": "Name of the state, as the team calls it.",
                "examples": ["In Progress", "Done"],
            },
        },
        required=frozenset({"issue", "state"}),
        producers={"issue": _FIND_ISSUE},
        scopes=_READ | _WRITE,
        effect=Effect.WRITE,
        asks=("move {issue} to {state}", "mark {issue} as {state}", "set the state of {issue} to {state}"),
    ),
)

PROVIDER = ProviderSpec(
    id="linear",
    title="Linear",
    about="issues, cycles, projects and teams",
    api_base="https://api.linear.app",
    web_base="https://linear.app",
    refusal_of=refusal_of,
    oauth=OAuthSpec(
        authorize_url="https://linear.app/oauth/authorize",
        token_url="https://api.linear.app/oauth/token",  # noqa: S106 - an address
        revoke_url="https://api.linear.app/oauth/revoke",
        authorize_params={"prompt": "consent"},
        scopes=("read",),
        scope_words={
            "read": "read the issues, projects and teams your account can see",
            "write": "change issues and all else that your account can change",
            "issues:create": "create issues",
            "comments:create": "comment on issues",
        },
        scope_separator=",",
        lifetime_s=86_400,
        identify_url="https://api.linear.app/graphql",
        identify_body={"query": "{ viewer { id name email organization { name urlKey } } }"},
        subject_fields=("data.viewer.id",),
        label_fields=("data.viewer.email", "data.viewer.name"),
    ),
    mcp_url="https://mcp.linear.app/mcp",
    register_url="https://linear.app/settings/api/applications/new",
    register_steps=(
        "Open Settings, API, OAuth applications, and choose New; Linear advises a workspace of its own for it.",
        "Enter a name and the callback URL {redirect_uri}, and leave Public off unless other workspaces shall use it.",
        "Nothing is to be ticked for the scopes: they are asked for on connecting, at first {scopes}.",
        "Create it, and enter the client ID and the client secret here.",
    ),
    unconfirmed=(
        "That the granted scopes stand in the token answer as a list or separated by spaces, not by commas.",
        "That the revocation endpoint takes refresh tokens and client credentials as RFC 7009 has it.",
        "Whether an old refresh token may be presented again shortly after a rotation; it is never done.",
    ),
    tools=TOOLS,
)
