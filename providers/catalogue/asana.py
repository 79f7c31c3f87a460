"""Asana: tasks, projects and their status, in the workspaces an account belongs to."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from functools import partial

from providers import tools
from providers.spec import Api, Args, Effect, Invoke, Json, OAuthSpec, Page, Producer, ProviderSpec, Result, ToolSpec
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
    page_url,
    passage,
    path,
    picked,
    plural,
    text_at,
    whole_at,
)

_record = partial(tools.record, "Asana")
_records = partial(tools.records, "Asana")

_AFTER = by_token("next_page.offset", "offset")
_TASK_FIELDS = ("gid", "name", "completed", "due_on", "assignee.name", "projects.name", "permalink_url", "modified_at")
_PROJECT_FIELDS = (
    *("gid", "name", "archived", "completed", "due_on", "owner.name", "team.name", "permalink_url"),
    *("current_status_update.title", "current_status_update.status_type"),
)
_STATUS = {
    "on_track": "on track",
    "at_risk": "at risk",
    "off_track": "off track",
    "on_hold": "on hold",
    "complete": "complete",
}


async def _pages(
    api: Api, address: str, params: Mapping[str, Json], fields: Sequence[str], *, most: int = 3
) -> list[Row]:
    """The rows of a list; Asana gives only the fields that are asked for."""
    query = {**params, "opt_fields": ",".join(fields), "limit": 100}
    return await tools.pages("Asana", api, address, query, rows="data", needs=("gid",), after=_AFTER, most=most)


async def _one(api: Api, address: str, fields: Sequence[str]) -> Row:
    return _record(at((await api.get(address, {"opt_fields": ",".join(fields)})).data, "data"), "gid")


def _page(api: Api, row: Row) -> Page:
    return Page(clean(text_at(row, "name"), 100) or "Asana", page_url(api.web_base, text_at(row, "permalink_url")))


def _pages_of(api: Api, rows: Sequence[Row]) -> tuple[Page, ...]:
    return tuple(_page(api, row) for row in rows[:SHOWN]) or (Page("Asana", f"{api.web_base}/0/home"),)


# --- tasks -----------------------------------------------------------------------------------------------------------


def _say_task(row: Row, today: date) -> str:
    due, whose = clean(text_at(row, "due_on"), 10), clean(text_at(row, "assignee", "name"), 40)
    projects = [clean(text_at(each, "name"), 60) for each in list_at(row, "projects")]
    late = bool(due) and due < f"{today}" and at(row, "completed") is not True
    facts = [
        "done" if at(row, "completed") is True else "",
        f"assigned to {whose}" if whose else "",
        f"due {due}{', overdue' if late else ''}" if due else "",
        f"in {', '.join(filter(None, projects[:2]))}" if any(projects) else "",
    ]
    told = ", ".join(filter(None, facts))
    return f"**{clean(text_at(row, 'name'), 100) or 'A task without a name'}**" + (f" ({told})" if told else "")


def _task_data(rows: Sequence[Row]) -> Json:
    fields = [field for field in _TASK_FIELDS if field != "projects.name"]
    return [
        {**picked(row, fields), "projects": [text_at(each, "name") for each in list_at(row, "projects")]}
        for row in rows
    ]


async def my_tasks(api: Api, args: Args) -> Result:
    """The tasks assigned to this account that are not done, those due first at the top."""
    params = {"assignee": "me", "workspace": args["workspace"], "completed_since": "now"}
    rows, today = await _pages(api, "/tasks", params, _TASK_FIELDS, most=2), datetime.now(UTC).date()
    rows.sort(key=lambda row: text_at(row, "due_on") or "9999")
    when = args.get("due", "any")
    if when != "any":
        last = f"{today}" if when in ("today", "overdue") else f"{today + tools.span('7d')}"
        rows = [
            row
            for row in rows
            if (due := text_at(row, "due_on")) and (due < last if when == "overdue" else due <= last)
        ]
    what = {"today": " due by today", "week": " due within a week", "overdue": " overdue"}.get(when, "")
    head = f"{plural(len(rows), 'open task')} of yours{what}:" if rows else f"You have no open task{what}."
    text = f"{head}\n{bullets([_say_task(row, today) for row in rows], most=20)}".strip()
    return Result(_task_data(rows), text, _pages_of(api, rows))


async def find_tasks(api: Api, args: Args) -> Result:
    """Tasks by the words of their name, the most relevant first."""
    query = args.get("query", "")
    params = {
        "resource_type": "task",
        "query": query,
        "count": args.get("limit", 20),
        "opt_fields": ",".join(_TASK_FIELDS),
    }
    address = path("/workspaces/{workspace}/typeahead", workspace=args["workspace"])
    rows = _records(at((await api.get(address, params)).data, "data"), "gid")
    about = f" about “{clean(query, 60)}”" if query else ""
    if not rows:
        return Result([], f"No task{about} was found.", _pages_of(api, rows))
    today = datetime.now(UTC).date()
    text = f"{plural(len(rows), 'task')}{about}:\n{bullets([_say_task(row, today) for row in rows], most=20)}"
    return Result(_task_data(rows), text, _pages_of(api, rows))


_DETAILS = (
    *("gid", "name", "notes", "completed", "completed_at", "created_at", "modified_at", "due_on", "start_on"),
    *("assignee.name", "assignee_section.name", "projects.name", "memberships.section.name", "parent.name"),
    *("tags.name", "num_subtasks", "permalink_url"),
)


async def task_details(api: Api, args: Args) -> Result:
    """One task with its sub-tasks and last comments."""
    address, now = path("/tasks/{task}", task=args["task"]), datetime.now(UTC)
    row, subtasks, stories = await asyncio.gather(
        _one(api, address, _DETAILS),
        _pages(api, f"{address}/subtasks", {}, ("name", "completed", "due_on", "assignee.name"), most=1),
        _pages(api, f"{address}/stories", {}, ("type", "text", "created_at", "created_by.name"), most=3),
    )
    comments = [each for each in stories if text_at(each, "type") == "comment"][-5:]
    sections = [clean(text_at(each, "section", "name"), 60) for each in list_at(row, "memberships")]
    tags = ", ".join(clean(text_at(each, "name"), 40) for each in list_at(row, "tags"))
    facts = [
        f"Created {ago(moment_at(row, 'created_at'), now)}, changed {ago(moment_at(row, 'modified_at'), now)}",
        f"Section: {', '.join(filter(None, sections))}" if any(sections) else "",
        f"Part of {clean(text_at(row, 'parent', 'name'), 100)}" if at(row, "parent") else "",
        f"Tags: {tags}" if tags else "",
    ]
    said = [
        f"{clean(text_at(each, 'created_by', 'name'), 40) or 'someone'} {ago(moment_at(each, 'created_at'), now)}: "
        f"{clean(text_at(each, 'text'), 400)}"
        for each in comments
    ]
    parts = [
        _say_task(row, now.date()),
        bullets(list(filter(None, facts))),
        passage(text_at(row, "notes"), 2_000),
        f"Sub-tasks:\n{bullets([_say_task(each, now.date()) for each in subtasks])}" if subtasks else "",
        f"The last comments:\n{bullets(said)}" if said else "",
    ]
    data = {
        **picked(
            row, [field for field in _DETAILS if field.partition(".")[0] not in ("projects", "memberships", "tags")]
        ),
        "projects": [text_at(each, "name") for each in list_at(row, "projects")],
        "subtasks": [picked(each, ("gid", "name", "completed", "due_on")) for each in subtasks],
        "comments": [picked(each, ("created_by.name", "created_at", "text")) for each in comments],
    }
    return Result(data, "\n".join(filter(None, parts)), (_page(api, row),))


async def create_task(api: Api, args: Args) -> Result:
    """Add a task, in a project or to the account's own list."""
    body = {
        "name": args["title"],
        "notes": args.get("notes"),
        "due_on": args.get("due_on"),
        "workspace": args["workspace"],
        "projects": [args["project"]] if "project" in args else None,
        "assignee": args.get("assignee", None if "project" in args else "me"),
    }
    row = _record(at((await api.send("POST", "/tasks", {"data": tools.given(body)})).data, "data"), "gid")
    text = f"Added the task **{clean(text_at(row, 'name'), 120)}**."
    return Result(picked(row, ("gid", "name", "due_on", "permalink_url")), text, (_page(api, row),))


async def comment(api: Api, args: Args) -> Result:
    """Comment on a task."""
    address = path("/tasks/{task}/stories", task=args["task"])
    row = _record(at((await api.send("POST", address, {"data": {"text": args["text"]}})).data, "data"), "gid")
    name = clean(text_at(row, "target", "name"), 120)
    text = f"Commented on the task{f' **{name}**' if name else ''}."
    page = Page(name or "The task", api.web_base + path("/0/0/{task}", task=args["task"]))
    return Result(picked(row, ("gid", "created_at")), text, (page,))


async def complete_task(api: Api, args: Args) -> Result:
    """Mark a task as done, or as not done."""
    done = args.get("done", True)
    reply = await api.send("PUT", path("/tasks/{task}", task=args["task"]), {"data": {"completed": done}})
    row = _record(at(reply.data, "data"), "gid")
    text = f"Marked **{clean(text_at(row, 'name'), 120)}** as {'done' if done else 'not done'}."
    return Result(picked(row, ("gid", "name", "completed", "permalink_url")), text, (_page(api, row),))


# --- projects --------------------------------------------------------------------------------------------------------


def _say_project(row: Row) -> str:
    owner, due = clean(text_at(row, "owner", "name"), 40), clean(text_at(row, "due_on"), 10)
    facts = [
        "complete" if at(row, "completed") is True else "",
        _STATUS.get(text_at(row, "current_status_update", "status_type"), ""),
        f"owned by {owner}" if owner else "",
        f"due {due}" if due else "",
    ]
    told = ", ".join(filter(None, facts))
    return f"**{clean(text_at(row, 'name'), 80)}**" + (f" ({told})" if told else "")


async def list_projects(api: Api, args: Args) -> Result:
    """The projects of a workspace that are not archived."""
    params = {"workspace": args["workspace"], "archived": False}
    rows = await _pages(api, "/projects", params, _PROJECT_FIELDS)
    text = f"{plural(len(rows), 'project')}:\n{bullets([_say_project(row) for row in rows], most=30)}"
    data = [picked(row, _PROJECT_FIELDS) for row in rows]
    return Result(data, text if rows else "No project was found.", _pages_of(api, rows))


async def project_tasks(api: Api, args: Args) -> Result:
    """The tasks of a project that are not done, by section."""
    project, whole = args["project"], args.get("done", False)
    fields = (*_TASK_FIELDS, "memberships.project.gid", "memberships.section.name")
    params = {"project": project, "completed_since": None if whole else "now"}
    rows, today = await _pages(api, "/tasks", params, fields), datetime.now(UTC).date()
    if not rows:
        return Result([], "This project has no open task.", (_project_page(api, project),))
    sections: dict[str, list[str]] = {}
    for row in rows:
        places = [each for each in list_at(row, "memberships") if text_at(each, "project", "gid") == project]
        name = clean(text_at(places[0], "section", "name"), 60) if places else ""
        sections.setdefault(name or "No section", []).append(_say_task({**row, "projects": []}, today))
    parts = [f"{section} ({len(lines)}):\n{bullets(lines)}" for section, lines in sections.items()]
    text = "\n".join([f"{plural(len(rows), 'task' if whole else 'open task')}:", *parts])
    return Result(_task_data(rows), text, (_project_page(api, project), *_pages_of(api, rows)[:5]))


def _project_page(api: Api, project: str) -> Page:
    return Page("The project", api.web_base + path("/0/{project}", project=project))


_COUNTS = ("num_tasks", "num_completed_tasks", "num_incomplete_tasks")


async def project_status(api: Api, args: Args) -> Result:
    """How a project goes: its last status update, how many tasks are done, and what is overdue."""
    address, now = path("/projects/{project}", project=args["project"]), datetime.now(UTC)
    update = ("text", "created_at", "author.name")
    fields = (*_PROJECT_FIELDS, "notes", *(f"current_status_update.{field}" for field in update))
    open_tasks = {"project": args["project"], "completed_since": "now"}
    row, counts, tasks = await asyncio.gather(
        _one(api, address, fields),
        api.get(f"{address}/task_counts", {"opt_fields": ",".join(_COUNTS)}),
        _pages(api, "/tasks", open_tasks, _TASK_FIELDS, most=2),
    )
    numbers, told = at(counts.data, "data"), at(row, "current_status_update")
    late = [task for task in tasks if (due := text_at(task, "due_on")) and due < f"{now.date()}"]
    author, when = clean(text_at(told, "author", "name"), 40), ago(moment_at(told, "created_at"), now)
    state = _STATUS.get(text_at(told, "status_type"), "no status")
    parts = [
        _say_project(row),
        f"{whole_at(numbers, 'num_completed_tasks'):,} of {plural(whole_at(numbers, 'num_tasks'), 'task')} done",
        f"Overdue:\n{bullets([_say_task({**task, 'projects': []}, now.date()) for task in late])}" if late else "",
        f"The last update, {state}, by {author or 'someone'} {when}: {clean(text_at(told, 'title'), 120)}"
        if told
        else "",
        passage(text_at(told, "text"), 2_000),
    ]
    data = {
        **picked(row, (*_PROJECT_FIELDS, *(f"current_status_update.{field}" for field in update))),
        "counts": picked(numbers, _COUNTS) if isinstance(numbers, dict) else None,
        "overdue": _task_data(late),
    }
    return Result(data, "\n".join(filter(None, parts)), (_page(api, row), *(_page(api, task) for task in late[:5])))


# --- the provider ----------------------------------------------------------------------------------------------------

_GID = {"type": "string", "pattern": "^[0-9]{1,30}$", "examples": ["1201234567890123"]}
_WORKSPACE = {**_GID, "description": "Number of the workspace (gid)."}
_PROJECT = {**_GID, "description": "Number of the project (gid)."}
_TASK = {**_GID, "description": "Number of the task (gid)."}
_FIND_WORKSPACE = Producer("list_workspaces", "gid", names=("name", "gid"))
_FIND_PROJECT = Producer("list_projects", "gid", names=("name", "gid"))
_FIND_TASK = Producer("find_tasks", "gid", names=("name", "gid"))
_READ_TASKS, _WRITE_TASKS, _STORIES, _WRITE_STORIES = "tasks:read", "tasks:write", "stories:read", "stories:write"
_READ_PROJECTS, _WORKSPACES, _TYPEAHEAD = "projects:read", "workspaces:read", "workspace.typeahead:read"
_IN = {"workspace": _FIND_WORKSPACE}
_GIVES_TASKS = "[{gid, name, completed, due_on, assignee.name, projects, permalink_url}]"


def _tool(
    name: str,
    summary: str,
    invoke: Invoke,
    scopes: Sequence[str],
    asks: tuple[str, ...],
    *,
    needs: Sequence[str] = ("workspace",),
    params: Mapping[str, Mapping[str, Json]] | None = None,
    producers: Mapping[str, Producer] | None = None,
    **more: Json,
) -> ToolSpec:
    """A tool in a workspace, which what it looks for is found in too."""
    return ToolSpec(
        name=name,
        summary=summary,
        invoke=invoke,
        scopes=frozenset(scopes),
        asks=asks,
        required=frozenset(needs),
        params={**(params or {}), "workspace": _WORKSPACE},
        producers={**(producers or {}), **_IN},
        **more,
    )


TOOLS = (
    _tool(
        "my_tasks",
        "List my open tasks, those due first at the top.",
        my_tasks,
        (_READ_TASKS,),
        (
            "what do I have to do?",
            "my tasks",
            "what is on my plate?",
            "which of my tasks are overdue?",
            "what is due today?",
            "what should I do this week?",
            "what is assigned to me?",
            "list my open tasks",
        ),
        params={
            "due": {
                "type": "string",
                "enum": ["any", "today", "week", "overdue"],
                "default": "any",
                "description": "Due by today, within a week, before today, or whenever.",
            }
        },
        gives=_GIVES_TASKS,
    ),
    _tool(
        "find_tasks",
        "Find tasks by words of their name.",
        find_tasks,
        (_TYPEAHEAD, _READ_TASKS),
        (
            "find tasks about {query}",
            "is there a task about {query}?",
            "search for the task {query}",
            "which tasks mention {query}?",
            "tasks called {query}",
        ),
        params={
            "query": {"type": "string", "minLength": 1, "maxLength": 200, "description": "Words of the task's name."},
            "limit": {
                "type": "integer",
                "minimum": 1,
                "maximum": 50,
                "default": 20,
                "description": "How many at most.",
            },
        },
        gives=_GIVES_TASKS,
    ),
    _tool(
        "task_details",
        "Show one task: its notes, due date, assignee, section, sub-tasks and last comments.",
        task_details,
        (_READ_TASKS, _STORIES),
        (
            "show task {task}",
            "what is task {task} about?",
            "tell me about the task {task}",
            "comments on task {task}",
            "who is working on task {task}?",
            "when is task {task} due?",
            "sub-tasks of task {task}",
        ),
        needs=("task",),
        params={"task": _TASK},
        producers={"task": _FIND_TASK},
        gives="{gid, name, notes, completed, due_on, assignee.name, subtasks: [{name}], comments: [{text}]}",
    ),
    _tool(
        "list_projects",
        "List the projects of a workspace with their status, owner and due date.",
        list_projects,
        (_READ_PROJECTS,),
        (
            "which projects do we have?",
            "list the projects",
            "which projects are at risk?",
            "who owns which project?",
            "show all projects",
            "which projects are due soon?",
        ),
        gives="[{gid, name, due_on, owner.name, team.name, current_status_update.status_type, permalink_url}]",
    ),
    _tool(
        "project_tasks",
        "List the open tasks of a project by section.",
        project_tasks,
        (_READ_TASKS,),
        (
            "what is open in project {project}?",
            "tasks of project {project}",
            "what is left to do in {project}?",
            "show the board of {project}",
            "who does what in {project}?",
            "which tasks are in each section of {project}?",
        ),
        needs=("project",),
        params={
            "project": _PROJECT,
            "done": {"type": "boolean", "default": False, "description": "Tasks that are done too."},
        },
        producers={"project": _FIND_PROJECT},
        gives=_GIVES_TASKS,
    ),
    _tool(
        "project_status",
        "Show how a project goes: its last status update, tasks done, and what is overdue.",
        project_status,
        (_READ_PROJECTS, _READ_TASKS),
        (
            "how is project {project} going?",
            "status of {project}",
            "is {project} on track?",
            "last update on {project}",
            "how much of {project} is done?",
            "what is overdue in {project}?",
            "when is project {project} due?",
        ),
        needs=("project",),
        params={"project": _PROJECT},
        producers={"project": _FIND_PROJECT},
        gives="{gid, name, due_on, current_status_update: {title, status_type, text}, counts, overdue}",
    ),
    ToolSpec(
        name="list_workspaces",
        summary="List the workspaces and organizations this account belongs to.",
        invoke=tools.listing(
            "Asana",
            "/workspaces",
            one="workspace",
            needs=("gid", "name"),
            pick=("gid", "name", "is_organization"),
            say=lambda row: f"**{clean(text_at(row, 'name'), 80)}** ({clean(text_at(row, 'gid'), 30)})",
            source=lambda web, row, _: Page(
                clean(text_at(row, "name"), 80), web + path("/0/{gid}", gid=text_at(row, "gid"))
            ),
            fixed={"opt_fields": "gid,name,is_organization", "limit": 100},
            rows="data",
            after=_AFTER,
            most=2,
        ),
        scopes=frozenset({_WORKSPACES}),
        asks=(
            "which workspaces do I have?",
            "list my workspaces",
            "which organizations do I belong to?",
            "what is the number of our workspace?",
            "show all workspaces",
        ),
        gives="[{gid, name, is_organization}]",
        keep_s=300,
    ),
    _tool(
        "create_task",
        "Add a task, in a project or to my own list.",
        create_task,
        (_WRITE_TASKS,),
        ("add a task: {title}", "create the task {title} in {project}", "remind me to {title}"),
        needs=("workspace", "title"),
        params={
            "title": {"type": "string", "minLength": 1, "maxLength": 500, "description": "Its name."},
            "notes": {"type": "string", "maxLength": 30_000, "description": "Its text."},
            "project": {**_PROJECT, "description": "Number of the project it goes into (gid)."},
            "assignee": {
                "type": "string",
                "minLength": 1,
                "maxLength": 100,
                "description": "Who is to do it: me, or an email address.",
                "examples": ["me"],
            },
            "due_on": {"type": "string", "format": "date", "description": "Day it is due.", "examples": ["2026-12-31"]},
        },
        producers={"project": _FIND_PROJECT},
        effect=Effect.WRITE,
    ),
    _tool(
        "comment",
        "Comment on a task.",
        comment,
        (_WRITE_STORIES,),
        ("comment on task {task}: {text}", "reply to task {task}: {text}"),
        needs=("task", "text"),
        params={
            "task": _TASK,
            "text": {"type": "string", "minLength": 1, "maxLength": 30_000, "description": "The comment."},
        },
        producers={"task": _FIND_TASK},
        effect=Effect.WRITE,
    ),
    _tool(
        "complete_task",
        "Mark a task as done, or open it again.",
        complete_task,
        (_WRITE_TASKS,),
        ("mark task {task} as done", "complete task {task}", "tick off {task}"),
        needs=("task",),
        params={
            "task": _TASK,
            "done": {"type": "boolean", "default": True, "description": "False opens the task again."},
        },
        producers={"task": _FIND_TASK},
        effect=Effect.WRITE,
    ),
)

PROVIDER = ProviderSpec(
    id="asana",
    title="Asana",
    about="tasks, projects and their status",
    api_base="https://app.asana.com/api/1.0",
    web_base="https://app.asana.com",
    oauth=OAuthSpec(
        authorize_url="https://app.asana.com/-/oauth_authorize",
        token_url="https://app.asana.com/-/oauth_token",  # noqa: S106 - an address
        revoke_url="https://app.asana.com/-/oauth_revoke",
        revoke_kinds=("refresh",),
        scopes=(_READ_TASKS, _READ_PROJECTS, _STORIES, _WORKSPACES, _TYPEAHEAD),
        scope_words={
            _READ_TASKS: "read the tasks your account can see",
            _READ_PROJECTS: "read projects and their status",
            _STORIES: "read the comments on tasks",
            _WORKSPACES: "see your workspaces",
            _TYPEAHEAD: "search a workspace by name",
            _WRITE_TASKS: "add tasks and change them",
            _WRITE_STORIES: "comment on tasks",
        },
        lifetime_s=3_600,
        rotation=False,
        identity="answer",
        subject_fields=("data.gid", "data.id"),
        label_fields=("data.email", "data.name"),
    ),
    mcp_url="https://mcp.asana.com/v2/mcp",
    register_url="https://app.asana.com/0/my-apps",
    register_steps=(
        "Open the developer console (My apps), choose Create new app, and give it a name.",
        "Under OAuth, add the redirect URL {redirect_uri}.",
        "Under Permission scopes, choose single ones: {scopes}; tasks:write and stories:write too if tasks may change.",
        "Under Manage distribution, choose the workspaces whose people shall connect.",
        "Under Basic information, find the client ID and the secret, and enter both here.",
    ),
    unconfirmed=(
        "That an app with single scopes gets the person in the token answer as one with full permissions does.",
        "That the text and the author of a project's current status update are given when they are asked for.",
    ),
    tools=TOOLS,
)
