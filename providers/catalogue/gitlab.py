"""GitLab: projects, issues, merge requests, pipelines and code, on gitlab.com or a server of one's own."""

from __future__ import annotations

import asyncio
import binascii
from base64 import b64decode
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial

from metaagent.values import value
from providers import tools
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
    by_link,
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

_record = partial(tools.record, "GitLab")
_records = partial(tools.records, "GitLab")

_PROJECT_PATH = "/api/v4/projects/{project}"
_FIELDS = ("iid", "title", "state", "web_url", "references.full", "author.username", "created_at", "updated_at")


@value
class _Kind:
    """Issues or merge requests, which GitLab serves alike."""

    name: str
    words: str
    fields: tuple[str, ...]


_ISSUE = _Kind("issues", "issue", (*_FIELDS, "labels", "due_date", "milestone.title", "user_notes_count"))
_MERGE = _Kind("merge_requests", "merge request", (*_FIELDS, "draft", "source_branch", "target_branch", "merged_at"))


def _total(reply: Reply, rows: list[Row]) -> int:
    """How many rows there are on all pages, where GitLab says so."""
    return max(round(tools.number(reply.headers.get("x-total")) or 0), len(rows))


def _home(api: Api, project: str) -> Page:
    parts = [path("/{part}", part=part) for part in project.split("/")]
    prefix = "/projects" if project.isdecimal() else ""
    return Page(clean(project, 140), f"{api.web_base}{prefix}{''.join(parts)}", clean(project, 140))


def _page(api: Api, row: Row, title: str, ref: str = "") -> Page:
    return Page(clean(title, 100), page_url(api.web_base, text_at(row, "web_url")), clean(ref, 140) or None)


def _name(row: Row) -> str:
    """Its reference: "octo/shop#12", "octo/shop!41"."""
    return clean(text_at(row, "references", "full") or text_at(row, "iid"), 140)


def _say(row: Row, now: datetime) -> str:
    people = [clean(text_at(who, "username"), 40) for who in list_at(row, "assignees")]
    due = clean(text_at(row, "due_date"), 10)
    facts = [
        ("draft, " if at(row, "draft") is True else "") + clean(text_at(row, "state"), 20),
        f"by {clean(text_at(row, 'author', 'username'), 40)}",
        f"assigned to {', '.join(people[:3])}" if people else "",
        f"due {due}" if due else "",
        f"updated {ago(moment_at(row, 'updated_at'), now)}",
    ]
    return f"**{_name(row)}** {clean(text_at(row, 'title'), 100)} ({', '.join(filter(None, facts))})"


def _source(api: Api, row: Row) -> Page:
    return _page(api, row, text_at(row, "title"), _name(row))


# --- issues and merge requests ---------------------------------------------------------------------------------------

_SAID = {
    "assigned": "assigned to you",
    "mentioned": "you were mentioned",
    "directly_addressed": "you were addressed",
    "review_requested": "your review is asked for",
    "approval_required": "your approval is needed",
    "build_failed": "its pipeline failed",
    "unmergeable": "it cannot be merged",
    "marked": "you put it on your list",
}


async def my_work(api: Api, _: Args) -> Result:
    """What stands on this account's to-do list, and the open merge requests and issues assigned to it."""
    mine = {"scope": "assigned_to_me", "state": "opened", "order_by": "updated_at", "per_page": SHOWN}
    replies = await asyncio.gather(
        api.get("/api/v4/todos", {"state": "pending", "per_page": SHOWN}),
        api.get("/api/v4/merge_requests", mine),
        api.get("/api/v4/issues", mine),
    )
    found = [_records(reply.data) for reply in replies]
    todos, merges, issues = found
    totals = map(_total, replies, found)
    now = datetime.now(UTC)
    said = [
        f"{clean(text_at(row, 'target', 'title') or text_at(row, 'body'), 100)}: "
        f"{_SAID.get(text_at(row, 'action_name'), 'it waits for you')} "
        f"({clean(text_at(row, 'project', 'path_with_namespace'), 100)}, {ago(moment_at(row, 'created_at'), now)})"
        for row in todos
    ]
    parts = {
        "On your to-do list": said,
        "Merge requests assigned to you": [_say(row, now) for row in merges],
        "Issues assigned to you": [_say(row, now) for row in issues],
    }
    text = "\n".join(
        f"{title}: {total:,}\n{bullets(lines, total=total)}"
        for (title, lines), total in zip(parts.items(), totals, strict=True)
        if lines
    )
    fields = ("id", "action_name", "target_type", "target.title", "target_url", "project.path_with_namespace")
    data = {
        "todos": [picked(row, fields) for row in todos],
        "merge_requests": [picked(row, _MERGE.fields) for row in merges],
        "issues": [picked(row, _ISSUE.fields) for row in issues],
    }
    sources = [_source(api, row) for row in [*merges[:5], *issues[:5]]]
    pages = (Page("To-do list", f"{api.web_base}/dashboard/todos"), *sources)
    return Result(data, text or "Nothing waits for you on GitLab.", pages)


def _search(kind: _Kind) -> Invoke:
    """A tool that finds issues, or merge requests."""

    async def invoke(api: Api, args: Args) -> Result:
        project, limit, state = args.get("project"), args.get("limit", SHOWN), args.get("state", "opened")
        whose, author = args.get("assignee"), args.get("author")
        scope = "assigned_to_me" if whose == "me" or not (project or whose or author) else "all"
        params = {
            "scope": "created_by_me" if author == "me" and scope == "all" else scope,
            "state": state,
            "search": args.get("query"),
            "labels": args.get("label"),
            "assignee_username": whose if whose != "me" else None,
            "author_username": author if author != "me" else None,
            "order_by": "updated_at",
            "per_page": min(limit, 100),
        }
        address = path(_PROJECT_PATH, project=project) if project else "/api/v4"
        reply = await api.get(f"{address}/{kind.name}", params)
        rows = _records(reply.data, "iid", "title")
        total, now = _total(reply, rows), datetime.now(UTC)
        where = f" in {clean(project, 100)}" if project else " assigned to you" if scope == "assigned_to_me" else ""
        what = f"{state.replace('opened', 'open')} {kind.words}" if state != "all" else kind.words
        home = _home(api, project) if project else Page("GitLab", f"{api.web_base}/dashboard/{kind.name}")
        if not rows:
            return Result([], f"No {what}{where} was found.", (home,))
        text = f"{plural(total, what)}{where}, the last changed first:\n"
        text += bullets([_say(row, now) for row in rows], total=total, most=limit)
        return Result(
            [picked(row, kind.fields) for row in rows], text, tuple(_source(api, row) for row in rows[:SHOWN])
        )

    return invoke


async def issue_details(api: Api, args: Args) -> Result:
    """One issue and its last comments."""
    address = path(_PROJECT_PATH + "/issues/{number}", project=args["project"], number=args["number"])
    params = {"sort": "desc", "order_by": "created_at", "per_page": 20}
    issue, notes = await asyncio.gather(api.get(address), api.get(f"{address}/notes", params))
    row, now = _record(issue.data, "iid", "title"), datetime.now(UTC)
    said = [note for note in _records(notes.data) if at(note, "system") is not True][:5]
    labels = at(row, "labels")
    named = ", ".join(clean(str(label), 40) for label in labels) if isinstance(labels, list) else ""
    comments = [
        f"{clean(text_at(note, 'author', 'username'), 40)} {ago(moment_at(note, 'created_at'), now)}: "
        f"{clean(text_at(note, 'body'), 400)}"
        for note in said
    ]
    parts = [
        _say(row, now),
        f"Labels: {named}" if named else "",
        passage(text_at(row, "description"), 2_000),
        f"The last comments, the newest first:\n{bullets(comments)}" if comments else "",
    ]
    data = {
        **picked(row, (*_ISSUE.fields, "description", "closed_at")),
        "assignees": [text_at(who, "username") for who in list_at(row, "assignees")],
        "last_comments": [picked(note, ("author.username", "created_at", "body")) for note in said],
    }
    return Result(data, "\n".join(filter(None, parts)), (_source(api, row),))


_MERGEABLE = {
    "mergeable": "It can be merged",
    "not_approved": "It still needs an approval",
    "conflict": "It has conflicts with its target branch",
    "ci_must_pass": "Its pipeline has to pass first",
    "ci_still_running": "Its pipeline is still running",
    "discussions_not_resolved": "Its threads have to be resolved first",
    "draft_status": "It is still a draft",
    "need_rebase": "It has to be rebased",
    "requested_changes": "A reviewer asked for changes",
}


async def merge_request(api: Api, args: Args) -> Result:
    """One merge request with its approvals and pipeline."""
    address = path(_PROJECT_PATH + "/merge_requests/{number}", project=args["project"], number=args["number"])
    merge, approvals = await asyncio.gather(api.get(address), api.get(f"{address}/approvals"))
    row, given, now = _record(merge.data, "iid", "title"), _record(approvals.data), datetime.now(UTC)
    approved = [clean(text_at(each, "user", "username"), 40) for each in list_at(given, "approved_by")]
    asked = [clean(text_at(who, "username"), 40) for who in list_at(row, "reviewers")]
    left, pipeline = whole_at(given, "approvals_left"), clean(text_at(row, "head_pipeline", "status"), 30)
    way = f"{clean(text_at(row, 'source_branch'), 80)} into {clean(text_at(row, 'target_branch'), 80)}"
    facts = [
        f"From {way}, {clean(text_at(row, 'changes_count') or '0', 10)} files changed",
        f"Reviewers: {', '.join(asked) or 'none'}",
        f"Approved by {', '.join(approved) or 'nobody'}"
        + (f", {plural(left, 'approval')} missing" if left > 0 else ""),
        f"Pipeline: {pipeline.replace('_', ' ')}" if pipeline else "No pipeline ran",
        _MERGEABLE.get(text_at(row, "detailed_merge_status"), "") if text_at(row, "state") == "opened" else "",
    ]
    fields = ("description", "detailed_merge_status", "head_pipeline.status", "head_pipeline.web_url", "changes_count")
    data = {
        **picked(row, (*_MERGE.fields, *fields)),
        "approved_by": approved,
        "approvals_left": left,
        "reviewers": asked,
    }
    return Result(data, f"{_say(row, now)}\n{bullets(list(filter(None, facts)))}", (_source(api, row),))


async def create_issue(api: Api, args: Args) -> Result:
    """Open an issue."""
    labels = ",".join(args["labels"]) if "labels" in args else None
    body = {"title": args["title"], "description": args.get("description"), "labels": labels}
    reply = await api.send("POST", path(_PROJECT_PATH + "/issues", project=args["project"]), tools.given(body))
    row = _record(reply.data, "iid", "title")
    text = f"Opened **{_name(row)}** {clean(text_at(row, 'title'), 120)}."
    return Result(picked(row, _ISSUE.fields), text, (_source(api, row),))


async def comment(api: Api, args: Args) -> Result:
    """Comment on an issue or merge request."""
    kind = _MERGE if args.get("on") == "merge_request" else _ISSUE
    address = path(_PROJECT_PATH + "/{kind}/{number}", project=args["project"], kind=kind.name, number=args["number"])
    row = _record((await api.send("POST", f"{address}/notes", {"body": args["text"]})).data, "id")
    text = f"Commented on the {kind.words} {args['number']} of {clean(args['project'], 140)}."
    return Result(picked(row, ("id", "created_at")), text, (_home(api, args["project"]),))


# --- projects, pipelines and code ------------------------------------------------------------------------------------


def _say_project(row: Row) -> str:
    about = clean(text_at(row, "description"), 100)
    return f"**{clean(text_at(row, 'path_with_namespace'), 140)}**" + (f": {about}" if about else "")


async def pipeline_status(api: Api, args: Args) -> Result:
    """The latest pipelines, and the jobs that failed in the newest."""
    project, now, branch = args["project"], datetime.now(UTC), args.get("branch")
    address = path(_PROJECT_PATH + "/pipelines", project=project)
    rows = _records((await api.get(address, {"ref": branch, "per_page": 5})).data, "id", "status")
    where = f" on {clean(branch, 80)}" if branch else ""
    if not rows:
        return Result([], f"No pipeline ran in {clean(project, 140)}{where}.", (_home(api, project),))
    jobs: list[Row] = []
    if text_at(rows[0], "status") == "failed":
        reply = await api.get(f"{address}{path('/{id}/jobs', id=text_at(rows[0], 'id'))}", {"scope[]": ["failed"]})
        jobs = _records(reply.data, "name")
    said = [
        f"**{clean(text_at(row, 'id'), 20)}** on {clean(text_at(row, 'ref'), 80)}: "
        f"{clean(text_at(row, 'status'), 30).replace('_', ' ')} {ago(moment_at(row, 'updated_at'), now)}"
        for row in rows
    ]
    failed = [
        f"job {clean(text_at(job, 'name'), 60)} of stage {clean(text_at(job, 'stage'), 40)}"
        f" ({clean(text_at(job, 'failure_reason').replace('_', ' '), 60) or 'no reason given'})"
        for job in jobs
    ]
    text = f"The latest pipelines of {clean(project, 140)}{where}:\n{bullets(said)}"
    text += f"\nFailed in the newest:\n{bullets(failed)}" if failed else ""
    data = {
        "pipelines": [picked(row, ("id", "status", "ref", "sha", "web_url", "updated_at")) for row in rows],
        "failed_jobs": [picked(job, ("id", "name", "stage", "failure_reason", "web_url")) for job in jobs],
    }
    sources = [_page(api, row, f"Pipeline {text_at(row, 'id')}") for row in rows]
    return Result(data, text, (*sources, *(_page(api, job, f"Job {text_at(job, 'name')}") for job in jobs[:5])))


async def list_commits(api: Api, args: Args) -> Result:
    """The newest commits of a branch, a path or an author."""
    project, now, limit = args["project"], datetime.now(UTC), args.get("limit", SHOWN)
    params: Mapping[str, Json] = {
        "ref_name": args.get("branch"),
        "path": args.get("path"),
        "author": args.get("author"),
        "since": f"{now - tools.span(args['period']):%Y-%m-%dT%H:%M:%SZ}" if "period" in args else None,
        "per_page": limit,
    }
    reply = await api.get(path(_PROJECT_PATH + "/repository/commits", project=project), params)
    rows = _records(reply.data, "id")
    if not rows:
        return Result([], f"No such commit was found in {clean(project, 140)}.", (_home(api, project),))
    said = [
        f"`{clean(text_at(row, 'short_id'), 12)}` {clean(text_at(row, 'title'), 100)} "
        f"({clean(text_at(row, 'author_name'), 40)}, {ago(moment_at(row, 'committed_date'), now)})"
        for row in rows
    ]
    data = [picked(row, ("id", "short_id", "title", "author_name", "committed_date", "web_url")) for row in rows]
    text = f"The newest commits of {clean(project, 140)}:\n{bullets(said, most=limit)}"
    return Result(data, text, tuple(_page(api, row, text_at(row, "title")) for row in rows[:SHOWN]))


async def read_file(api: Api, args: Args) -> Result:
    """A file's text."""
    project, name = args["project"], args["path"].strip("/")
    address = path(_PROJECT_PATH + "/repository/files/{file}", project=project, file=name)
    row = _record((await api.get(address, {"ref": args.get("branch", "HEAD")})).data, "file_path")
    try:
        raw = b64decode(text_at(row, "content"))
    except (binascii.Error, ValueError):
        raise tools.unreadable("GitLab") from None
    data = picked(row, ("file_path", "size", "ref", "last_commit_id"))
    if b"\0" in raw or not raw:
        return Result(data, f"{clean(name, 140)} is empty or not text.", (_home(api, project),))
    content = raw.decode(errors="replace")
    text = f"{clean(name, 140)}:\n{passage(content)}"
    return Result({**data, "content": content[:100_000]}, text, (_home(api, project),))


# --- the provider ----------------------------------------------------------------------------------------------------

_READ, _WRITE = frozenset({"read_api"}), frozenset({"api"})
_PROJECT = {
    "type": "string",
    "minLength": 1,
    "maxLength": 255,
    "description": "The project as group/name, or its number.",
    "examples": ["octo/shop"],
}
_NUMBER = {"type": "integer", "minimum": 1, "description": "Number of the issue or merge request.", "examples": [42]}
_BRANCH = {"type": "string", "minLength": 1, "maxLength": 200, "description": "Only this branch.", "examples": ["main"]}
_LOGIN = {"type": "string", "minLength": 1, "maxLength": 100, "examples": ["me", "ada"]}
_LIMIT = {"type": "integer", "minimum": 1, "maximum": 100, "default": SHOWN, "description": "How many at most."}
_FIND_PROJECT = Producer("list_projects", "path_with_namespace", names=("path_with_namespace", "name"))
_IN_PROJECT = {"project": _FIND_PROJECT}


def _filters(*states: str) -> dict[str, Mapping[str, Json]]:
    return {
        "project": _PROJECT,
        "query": {"type": "string", "minLength": 1, "maxLength": 200, "description": "Words of the title or text."},
        "state": {
            "type": "string",
            "enum": [*states, "all"],
            "default": "opened",
            "description": "In which state, or all.",
        },
        "assignee": {**_LOGIN, "description": "User name of who it is assigned to, or me."},
        "author": {**_LOGIN, "description": "User name of who opened it, or me."},
        "label": {"type": "string", "minLength": 1, "maxLength": 100, "description": "Only with this label."},
        "limit": _LIMIT,
    }


def _read(name: str, summary: str, invoke: Invoke, asks: tuple[str, ...], **more: Json) -> ToolSpec:
    wider = (_WRITE,)
    return ToolSpec(name=name, summary=summary, invoke=invoke, asks=asks, scopes=_READ, or_scopes=wider, **more)


TOOLS = (
    _read(
        "my_work",
        "Show what waits for me: my to-do list, and merge requests and issues assigned to me.",
        my_work,
        (
            "what needs my attention?",
            "what should I work on?",
            "what is on my to-do list?",
            "do I have anything to review?",
            "what is waiting for me?",
            "my todos",
        ),
        gives="{todos: [{action_name, target.title}], merge_requests: [{iid, title}], issues: [{iid, title}]}",
    ),
    _read(
        "list_projects",
        "List the projects this account is a member of, the last active first.",
        tools.listing(
            "GitLab",
            "/api/v4/projects",
            one="project",
            needs=("id", "path_with_namespace"),
            pick=("id", "path_with_namespace", "name", "description", "web_url", "default_branch", "last_activity_at"),
            say=_say_project,
            source=lambda web, row, _: Page(
                clean(text_at(row, "path_with_namespace"), 140), page_url(web, text_at(row, "web_url"))
            ),
            fixed={"membership": True, "simple": True, "order_by": "last_activity_at", "per_page": 100},
            after=by_link,
            most=3,
        ),
        (
            "which projects do I have?",
            "list my projects",
            "show all projects",
            "what repositories can I access?",
            "which projects were active lately?",
        ),
        gives="[{id, path_with_namespace, name, description, web_url, default_branch}]",
    ),
    _read(
        "search_issues",
        "Find issues by project, state, assignee, author, label or words.",
        _search(_ISSUE),
        (
            "open issues in {project}",
            "list the {state} issues of {project}",
            "issues assigned to {assignee}",
            "issues labelled {label} in {project}",
            "find issues about {query}",
            "is there an issue about {query}?",
            "which issues did {author} open?",
            "show the bugs of {project}",
        ),
        params=_filters("opened", "closed"),
        producers=_IN_PROJECT,
        gives="[{iid, title, state, web_url, references.full, author.username, labels, due_date}]",
    ),
    _read(
        "search_merge_requests",
        "Find merge requests by project, state, assignee, author, label or words.",
        _search(_MERGE),
        (
            "open merge requests in {project}",
            "list the {state} merge requests of {project}",
            "merge requests by {author}",
            "merge requests assigned to {assignee}",
            "which MRs are open in {project}?",
            "what was merged in {project}?",
            "is there a merge request about {query}?",
        ),
        params=_filters("opened", "merged", "closed"),
        producers=_IN_PROJECT,
        gives="[{iid, title, state, draft, web_url, references.full, author.username, source_branch, merged_at}]",
    ),
    _read(
        "issue_details",
        "Show one issue: its text, state, labels, assignees and last comments.",
        issue_details,
        (
            "show issue {number} in {project}",
            "what is issue {number} of {project} about?",
            "comments on issue {number} of {project}",
            "who is working on issue {number} in {project}?",
            "is issue {number} of {project} closed?",
        ),
        params={"project": _PROJECT, "number": _NUMBER},
        required=frozenset({"project", "number"}),
        producers={"project": _FIND_PROJECT, "number": Producer("search_issues", "iid", names=("title", "iid"))},
        gives="{iid, title, state, description, labels, assignees, last_comments: [{author.username, body}]}",
    ),
    _read(
        "merge_request",
        "Show one merge request: its reviewers, approvals, pipeline, and whether it can be merged.",
        merge_request,
        (
            "show merge request {number} in {project}",
            "can merge request {number} of {project} be merged?",
            "who approved MR {number} in {project}?",
            "did the pipeline of MR {number} in {project} pass?",
            "why is merge request {number} of {project} blocked?",
            "status of MR {number} in {project}",
        ),
        params={"project": _PROJECT, "number": _NUMBER},
        required=frozenset({"project", "number"}),
        producers={
            "project": _FIND_PROJECT,
            "number": Producer("search_merge_requests", "iid", names=("title", "iid")),
        },
        gives="{iid, title, state, detailed_merge_status, approved_by, approvals_left, head_pipeline.status}",
    ),
    _read(
        "pipeline_status",
        "Show the latest pipelines (CI) of a project, and the jobs that failed in the newest.",
        pipeline_status,
        (
            "is the pipeline green in {project}?",
            "did CI pass in {project}?",
            "why did the pipeline of {project} fail?",
            "which jobs failed in {project}?",
            "is {branch} green in {project}?",
            "latest pipelines of {project}",
            "what broke the build of {project}?",
        ),
        params={"project": _PROJECT, "branch": _BRANCH},
        required=frozenset({"project"}),
        producers=_IN_PROJECT,
        gives="{pipelines: [{id, status, ref, web_url}], failed_jobs: [{name, stage, failure_reason}]}",
    ),
    _read(
        "list_commits",
        "List the newest commits of a project, branch, file or author.",
        list_commits,
        (
            "latest commits in {project}",
            "what changed in {project} in the last {period}?",
            "commits by {author} in {project}",
            "who committed to {project} lately?",
            "what was committed to {branch} of {project}?",
            "show the last {limit} commits of {project}",
        ),
        params={
            "project": _PROJECT,
            "branch": _BRANCH,
            "path": {"type": "string", "minLength": 1, "maxLength": 300, "description": "Only those that touch this."},
            "author": {"type": "string", "minLength": 1, "maxLength": 100, "description": "Only those of this person."},
            "period": {
                "type": "string",
                "pattern": "^[1-9][0-9]{0,2}[hdw]$",
                "description": "How far back: a number of hours, days or weeks, such as 24h, 7d or 2w.",
                "examples": ["7d"],
            },
            "limit": _LIMIT,
        },
        required=frozenset({"project"}),
        producers=_IN_PROJECT,
        gives="[{id, short_id, title, author_name, committed_date, web_url}]",
    ),
    _read(
        "read_file",
        "Read a file of a project.",
        read_file,
        (
            "show the file {path} in {project}",
            "read {path} of {project}",
            "what is in {path} of {project}?",
            "contents of {path} in {project}",
            "open {path} from {branch} of {project}",
        ),
        params={
            "project": _PROJECT,
            "path": {
                "type": "string",
                "minLength": 1,
                "maxLength": 500,
                "description": "Path of the file.",
                "examples": ["README.md"],
            },
            "branch": {**_BRANCH, "description": "Branch, tag or commit; by default the main branch."},
        },
        required=frozenset({"project", "path"}),
        producers=_IN_PROJECT,
        gives="{file_path, size, ref, content}",
    ),
    ToolSpec(
        name="create_issue",
        summary="Open an issue in a project.",
        invoke=create_issue,
        params={
            "project": _PROJECT,
            "title": {"type": "string", "minLength": 1, "maxLength": 255, "description": "Its title."},
            "description": {"type": "string", "maxLength": 60_000, "description": "Its text, in Markdown."},
            "labels": {"type": "array", "items": {"type": "string"}, "maxItems": 20, "description": "Labels it gets."},
        },
        required=frozenset({"project", "title"}),
        producers=_IN_PROJECT,
        scopes=_WRITE,
        effect=Effect.WRITE,
        asks=("open an issue in {project}: {title}", "create an issue {title} in {project}"),
    ),
    ToolSpec(
        name="comment",
        summary="Comment on an issue or merge request.",
        invoke=comment,
        params={
            "project": _PROJECT,
            "number": _NUMBER,
            "on": {
                "type": "string",
                "enum": ["issue", "merge_request"],
                "default": "issue",
                "description": "What the number is of.",
            },
            "text": {"type": "string", "minLength": 1, "maxLength": 60_000, "description": "The comment, in Markdown."},
        },
        required=frozenset({"project", "number", "text"}),
        producers=_IN_PROJECT,
        scopes=_WRITE,
        effect=Effect.WRITE,
        asks=("comment on issue {number} of {project}: {text}", "reply to MR {number} in {project}: {text}"),
    ),
)

PROVIDER = ProviderSpec(
    id="gitlab",
    title="GitLab",
    about="projects, issues, merge requests, pipelines, commits and files",
    api_base="https://gitlab.com",
    web_base="https://gitlab.com",
    oauth=OAuthSpec(
        authorize_url="https://gitlab.com/oauth/authorize",
        token_url="https://gitlab.com/oauth/token",  # noqa: S106 - an address
        revoke_url="https://gitlab.com/oauth/revoke",
        scopes=("read_api",),
        scope_words={
            "read_api": "read all that your account can read: projects, issues, merge requests and code",
            "api": "read and change all that your account can, such as issues and comments",
        },
        lifetime_s=7_200,
        identify_url="https://gitlab.com/api/v4/user",
        subject_fields=("id",),
        label_fields=("username", "email", "name"),
    ),
    mcp_url="https://gitlab.com/api/v4/mcp",
    register_url="https://gitlab.com/-/user_settings/applications",
    register_steps=(
        "Open your preferences, Applications (or a group's, or the whole server's), and choose Add new application.",
        "Enter any name and the redirect URI {redirect_uri}, and leave Confidential ticked.",
        "Tick the scopes {scopes}, and api too if issues and comments may be written.",
        "Save, and enter the application ID and the secret here.",
        "For a server of your own do the same there, and give its address as the base of the API.",
    ),
    unconfirmed=("Whether the MCP server is out of its experiment, and for which tiers.",),
    tools=TOOLS,
)
