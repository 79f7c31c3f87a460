"""GitHub: repositories, issues, pull requests, checks and code, with a token of an OAuth app or a GitHub App."""

from __future__ import annotations

import asyncio
import binascii
from base64 import b64decode
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus

from providers import tools
from providers.errors import Forbidden, ToolError, TooManyRequests
from providers.spec import Api, Args, Effect, Json, OAuthSpec, Page, Producer, ProviderSpec, Reply, Result, ToolSpec
from providers.tools import (
    SHOWN,
    Row,
    ago,
    at,
    bullets,
    by_link,
    clean,
    given,
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

_record = partial(tools.record, "GitHub")
_records = partial(tools.records, "GitHub")
_pages = partial(tools.pages, "GitHub", after=by_link)

_ISSUE_FIELDS = ("number", "title", "state", "html_url", "user.login", "comments", "created_at", "updated_at")


def _repo(args: Args, rest: str = "", **values: Json) -> str:
    """A path below the repository of `args`, "owner/name"."""
    owner, _, name = args["repo"].partition("/")
    return path("/repos/{owner}/{name}" + rest, owner=owner, name=name, **values)


def _home(api: Api, args: Args) -> Page:
    owner, _, name = args["repo"].partition("/")
    return Page(clean(args["repo"], 140), api.web_base + path("/{owner}/{name}", owner=owner, name=name))


def _page(api: Api, row: Row, title: str, ref: str | None = None) -> Page:
    return Page(clean(title, 100), page_url(api.web_base, text_at(row, "html_url")), clean(ref, 140) if ref else None)


def _term(key: str, value: str) -> str:
    """One qualifier of a search; no value can end it and begin another."""
    value = "@me" if value == "me" else value.replace('"', " ").strip()
    return f'{key}:"{value}"' if any(char.isspace() for char in value) else f"{key}:{value}"


def refusal_of(reply: Reply) -> ToolError | None:
    """The limits and the rules of organizations that GitHub words as a plain 403."""
    said = text_at(reply.data, "message").casefold()
    if reply.status == HTTPStatus.FORBIDDEN and "retry-after" not in reply.headers:
        if "secondary rate limit" in said:
            return TooManyRequests("GitHub asks to wait a minute.", retry_after_s=60)
        if "x-github-sso" in reply.headers:
            return Forbidden("The organization asks for single sign-on: authorize this app for it on GitHub first.")
        if "oauth app access restrictions" in said:
            return Forbidden("The organization has not approved this app: an owner of it has to allow it on GitHub.")
    return None


# --- issues and pull requests ----------------------------------------------------------------------------------------


def _repository(row: Row) -> str:
    """The repository, as owner/name, of an issue that a search gave."""
    return "/".join(text_at(row, "repository_url").split("/")[-2:])


def _name(row: Row) -> str:
    return clean(f"{_repository(row)}#{text_at(row, 'number')}", 140)


def _say_issue(row: Row, now: datetime) -> str:
    kind = "pull request" if at(row, "pull_request") else "issue"
    facts = [
        f"{'draft ' if at(row, 'draft') is True else ''}{clean(text_at(row, 'state'), 20)} {kind}".strip(),
        f"by {clean(text_at(row, 'user', 'login'), 40)}",
        plural(whole_at(row, "comments"), "comment") if whole_at(row, "comments") else "",
        f"updated {ago(moment_at(row, 'updated_at'), now)}",
    ]
    return f"**{_name(row)}** {clean(text_at(row, 'title'), 100)} ({', '.join(filter(None, facts))})"


async def _search(api: Api, query: str, *, limit: int = SHOWN, most: int = 1) -> tuple[list[Row], int]:
    """The issues and pull requests of a search, the last changed first, and how many there are."""
    params = {"q": query, "sort": "updated", "order": "desc", "per_page": min(limit, 100)}
    total = 0

    async def ask(more: Args) -> Reply:
        nonlocal total
        reply = await api.get("/search/issues", {**params, **more})
        total = whole_at(reply.data, "total_count")
        return reply

    needs = ("number", "title")
    rows = await tools.followed("GitHub", ask, rows="items", needs=needs, after=by_link, most=most)
    return rows[:limit], max(total, len(rows))


def _issue_data(rows: list[Row]) -> list[Json]:
    return [
        {**picked(row, _ISSUE_FIELDS), "repository": _repository(row), "pull_request": bool(at(row, "pull_request"))}
        for row in rows
    ]


async def my_work(api: Api, _: Args) -> Result:
    """Reviews asked of this account, issues assigned to it, and its own open pull requests."""
    asked = {
        "reviews": ("Waiting for your review", "is:open is:pr review-requested:@me archived:false"),
        "assigned": ("Assigned to you", "is:open is:issue assignee:@me archived:false"),
        "mine": ("Your open pull requests", "is:open is:pr author:@me archived:false"),
    }
    now = datetime.now(UTC)
    found = await asyncio.gather(*(_search(api, query) for _, query in asked.values()))
    parts = [
        f"{title}: {plural(total, 'item')}\n{bullets([_say_issue(row, now) for row in rows], total=total)}"
        for (title, _), (rows, total) in zip(asked.values(), found, strict=True)
        if rows
    ]
    data = {key: _issue_data(rows) for key, (rows, _) in zip(asked, found, strict=True)}
    sources = [_page(api, row, text_at(row, "title"), _name(row)) for rows, _ in found for row in rows[:5]]
    text = "\n".join(parts) or "Nothing waits for you on GitHub: no review, no assigned issue, no open pull request."
    return Result(data, text, tuple(sources) or (Page("Pull requests", f"{api.web_base}/pulls"),))


async def search_issues(api: Api, args: Args) -> Result:
    """Issues and pull requests by repository, state, author, assignee, label or words."""
    kind, state = args.get("kind", "any"), args.get("state", "open")
    qualifiers = {"repo": args.get("repo"), "author": args.get("author"), "assignee": args.get("assignee")}
    terms = [
        {"issue": "is:issue", "pull_request": "is:pr"}.get(kind, ""),
        f"is:{state}" if state != "all" else "",
        *(_term(key, value) for key, value in {**qualifiers, "label": args.get("label")}.items() if value),
        "" if any(qualifiers.values()) else "involves:@me",
        args.get("query", ""),
    ]
    limit = args.get("limit", SHOWN)
    rows, total = await _search(api, " ".join(filter(None, terms)), limit=limit, most=2)
    noun = {"issue": "issue", "pull_request": "pull request"}.get(kind, "issue or pull request")
    many = {"issue": "issues", "pull_request": "pull requests"}.get(kind, "issues and pull requests")
    state = f"{state} " if state != "all" else ""
    where = f" in {clean(args['repo'], 100)}" if "repo" in args else ""
    if not rows:
        return Result([], f"No {state}{noun}{where} was found.", (Page("Issues", f"{api.web_base}/issues"),))
    now = datetime.now(UTC)
    head = f"{plural(total, state + noun, state + many)}{where}, the last changed first:"
    text = f"{head}\n{bullets([_say_issue(row, now) for row in rows], total=total, most=limit)}"
    sources = tuple(_page(api, row, text_at(row, "title"), _name(row)) for row in rows[:SHOWN])
    return Result(_issue_data(rows), text, sources)


async def issue_details(api: Api, args: Args) -> Result:
    """One issue and its last comments."""
    address, now = _repo(args, "/issues/{number}", number=args["number"]), datetime.now(UTC)
    row = _record((await api.get(address)).data, "number", "title")
    last = max(1, -(-whole_at(row, "comments") // 30))  # comments come the oldest first, 30 on a page
    comments = (
        _records((await api.get(f"{address}/comments", {"per_page": 30, "page": last})).data, "id")
        if whole_at(row, "comments")
        else []
    )
    name = clean(f"{args['repo']}#{text_at(row, 'number')}", 140)
    labels = ", ".join(clean(text_at(label, "name"), 40) for label in list_at(row, "labels"))
    people = ", ".join(clean(text_at(who, "login"), 40) for who in list_at(row, "assignees"))
    state = " ".join(filter(None, [text_at(row, "state"), text_at(row, "state_reason").replace("_", " ")]))
    facts = [
        f"Opened by {clean(text_at(row, 'user', 'login'), 40)} {ago(moment_at(row, 'created_at'), now)}",
        f"Assigned to {people or 'nobody'}",
        f"Labels: {labels}" if labels else "",
        plural(whole_at(row, "comments"), "comment"),
    ]
    said = [
        f"{clean(text_at(each, 'user', 'login'), 40)} {ago(moment_at(each, 'created_at'), now)}: "
        + clean(text_at(each, "body"), 400)
        for each in comments[-5:]
    ]
    parts = [
        f"**{name}** {clean(text_at(row, 'title'), 200)} ({clean(state, 40)})",
        bullets(list(filter(None, facts))),
        passage(text_at(row, "body"), 2_000),
        f"The last comments:\n{bullets(said)}" if said else "",
    ]
    data = {
        **picked(row, (*_ISSUE_FIELDS, "state_reason", "body", "closed_at", "milestone.title")),
        "labels": [text_at(label, "name") for label in list_at(row, "labels")],
        "assignees": [text_at(who, "login") for who in list_at(row, "assignees")],
        "last_comments": [picked(each, ("user.login", "created_at", "body")) for each in comments[-5:]],
    }
    return Result(data, "\n".join(filter(None, parts)), (_page(api, row, text_at(row, "title"), name),))


_FAILED = ("failure", "timed_out", "cancelled", "action_required", "startup_failure")
_MERGE = {
    "clean": "It can be merged",
    "dirty": "It has conflicts with its base branch",
    "blocked": "Merging is blocked by a rule of the branch, a missing review or a check",
    "behind": "It is behind its base branch",
    "unstable": "It can be merged, but not every check has passed",
    "draft": "It is still a draft",
}


async def pull_request(api: Api, args: Args) -> Result:
    """One pull request with its reviews and checks."""
    address, now = _repo(args, "/pulls/{number}", number=args["number"]), datetime.now(UTC)
    row = _record((await api.get(address)).data, "number", "title")
    checked = _repo(args, "/commits/{sha}/check-runs", sha=text_at(row, "head", "sha"))
    reviews, checks = await asyncio.gather(
        api.get(f"{address}/reviews", {"per_page": 100}), api.get(checked, {"per_page": 100})
    )
    verdicts = {
        text_at(each, "user", "login"): text_at(each, "state")
        for each in _records(reviews.data)
        if text_at(each, "state") != "COMMENTED"
    }
    runs = _records(at(checks.data, "check_runs"))
    failed = [clean(text_at(run, "name"), 60) for run in runs if text_at(run, "conclusion") in _FAILED]
    waiting = [run for run in runs if text_at(run, "status") != "completed"]
    asked = [clean(text_at(who, "login"), 40) for who in list_at(row, "requested_reviewers")]
    merged, is_open = at(row, "merged") is True, text_at(row, "state") == "open"
    state = "merged" if merged else "draft" if at(row, "draft") is True else clean(text_at(row, "state"), 20)
    size = f"{whole_at(row, 'additions'):,} lines added, {whole_at(row, 'deletions'):,} removed"
    way = f"from {clean(text_at(row, 'head', 'ref'), 80)} into {clean(text_at(row, 'base', 'ref'), 80)}"
    opened = f"opened {ago(moment_at(row, 'created_at'), now)}"
    facts = [
        f"By {clean(text_at(row, 'user', 'login'), 40)}, {way}, {opened}",
        f"{plural(whole_at(row, 'changed_files'), 'file')} changed, {size}",
        _say_reviews(verdicts, asked),
        _say_checks(len(runs), failed, len(waiting)),
        _MERGE.get(text_at(row, "mergeable_state"), "") if is_open else "",
    ]
    name = clean(f"{args['repo']}#{text_at(row, 'number')}", 140)
    text = f"**{name}** {clean(text_at(row, 'title'), 200)} ({state})\n{bullets(list(filter(None, facts)))}"
    data = {
        **picked(row, (*_ISSUE_FIELDS, "draft", "merged", "merged_at", "mergeable_state", "head.ref", "base.ref")),
        **picked(row, ("additions", "deletions", "changed_files")),
        "reviews": verdicts,
        "review_requested": asked,
        "checks": {"all": len(runs), "failed": failed, "running": len(waiting)},
    }
    return Result(data, text, (_page(api, row, text_at(row, "title"), name),))


def _say_reviews(verdicts: dict[str, str], asked: list[str]) -> str:
    words = {"APPROVED": "approved by", "CHANGES_REQUESTED": "changes requested by"}
    told = [
        f"{said} {', '.join(clean(who, 40) for who, state in verdicts.items() if state == key)}"
        for key, said in words.items()
        if key in verdicts.values()
    ]
    waits = [f"waiting for {', '.join(asked)}"] if asked else []
    return f"Reviews: {'; '.join([*told, *waits]) or 'none yet'}"


def _say_checks(count: int, failed: list[str], waiting: int) -> str:
    if not count:
        return "No checks ran"
    if failed:
        return f"{len(failed)} of {plural(count, 'check')} failed: {', '.join(failed[:5])}"
    return f"{plural(waiting, 'check')} still running" if waiting else f"All {plural(count, 'check')} passed"


async def create_issue(api: Api, args: Args) -> Result:
    """Open an issue."""
    body = given({name: args.get(name) for name in ("title", "body", "labels", "assignees")})
    row = _record((await api.send("POST", _repo(args, "/issues"), body)).data, "number")
    name = clean(f"{args['repo']}#{text_at(row, 'number')}", 140)
    text = f"Opened **{name}** {clean(args['title'], 120)}."
    return Result(picked(row, _ISSUE_FIELDS), text, (_page(api, row, args["title"], name),))


async def comment(api: Api, args: Args) -> Result:
    """Comment on an issue or pull request."""
    address = _repo(args, "/issues/{number}/comments", number=args["number"])
    row = _record((await api.send("POST", address, {"body": args["text"]})).data, "id")
    name = clean(f"{args['repo']}#{args['number']}", 140)
    data = picked(row, ("id", "html_url", "created_at"))
    return Result(data, f"Commented on **{name}**.", (_page(api, row, f"Comment on {name}", name),))


# --- repositories and code -------------------------------------------------------------------------------------------


def _say_repository(row: Row) -> str:
    about, language = clean(text_at(row, "description"), 100), clean(text_at(row, "language"), 30)
    kind = "private" if at(row, "private") is True else "public"
    facts = ", ".join(filter(None, [kind, language, "archived" if at(row, "archived") is True else ""]))
    return f"**{clean(text_at(row, 'full_name'), 140)}** ({facts})" + (f": {about}" if about else "")


def _say_commit(row: Row, now: datetime) -> str:
    what = clean(text_at(row, "commit", "message").partition("\n")[0], 100)
    who = clean(text_at(row, "author", "login") or text_at(row, "commit", "author", "name"), 40) or "someone"
    when = ago(moment_at(row, "commit", "author", "date"), now)
    return f"`{clean(text_at(row, 'sha'), 40)[:7]}` {what} ({who}, {when})"


async def list_commits(api: Api, args: Args) -> Result:
    """The newest commits of a branch, a path or an author."""
    now, limit = datetime.now(UTC), args.get("limit", SHOWN)
    period = args.get("period")
    since = now - tools.span(period) if period else None
    params = {
        "sha": args.get("branch"),
        "path": args.get("path"),
        "author": args.get("author"),
        "since": f"{since:%Y-%m-%dT%H:%M:%SZ}" if since else None,
        "per_page": limit,
    }
    rows = _records((await api.get(_repo(args, "/commits"), given(params))).data, "sha")
    where = clean(args["repo"], 140)
    if not rows:
        return Result([], f"No such commit was found in {where}.", (_home(api, args),))
    data = [
        picked(row, ("sha", "html_url", "commit.message", "commit.author.name", "commit.author.date")) for row in rows
    ]
    text = f"The newest commits of {where}:\n{bullets([_say_commit(row, now) for row in rows], most=limit)}"
    sources = tuple(_page(api, row, text_at(row, "commit", "message").partition("\n")[0]) for row in rows[:SHOWN])
    return Result(data, text, sources)


async def list_releases(api: Api, args: Args) -> Result:
    """The newest releases, with the notes of the first."""
    now, limit, where = datetime.now(UTC), args.get("limit", 5), clean(args["repo"], 140)
    rows = _records((await api.get(_repo(args, "/releases"), {"per_page": limit})).data, "tag_name")
    if not rows:
        return Result([], f"{where} has no releases.", (_home(api, args),))
    said = [
        f"**{clean(text_at(row, 'tag_name'), 80)}** {clean(text_at(row, 'name'), 80)} "
        f"({'pre-release, ' if at(row, 'prerelease') is True else ''}published "
        f"{ago(moment_at(row, 'published_at') or moment_at(row, 'created_at'), now)})"
        for row in rows
    ]
    notes = passage(text_at(rows[0], "body"), 2_000)
    text = f"The newest releases of {where}:\n{bullets(said)}" + (f"\nNotes of the newest:\n{notes}" if notes else "")
    data = [picked(row, ("tag_name", "name", "published_at", "prerelease", "html_url", "body")) for row in rows]
    return Result(data, text, tuple(_page(api, row, text_at(row, "tag_name")) for row in rows[:SHOWN]))


def _say_run(row: Row, now: datetime) -> str:
    end = text_at(row, "conclusion") or text_at(row, "status")
    what, branch = clean(text_at(row, "display_title"), 80), clean(text_at(row, "head_branch"), 60)
    when = ago(moment_at(row, "updated_at"), now)
    return f"**{clean(text_at(row, 'name'), 60)}** on {branch}: {clean(end, 30).replace('_', ' ')} {when} ({what})"


async def ci_status(api: Api, args: Args) -> Result:
    """The latest run of each workflow, and the jobs and steps that failed in them."""
    now, where = datetime.now(UTC), clean(args["repo"], 140)
    params = given({"branch": args.get("branch"), "per_page": 50})
    reply = await api.get(_repo(args, "/actions/runs"), params)
    rows = _records(at(reply.data, "workflow_runs"), "id")
    latest = list({text_at(row, "workflow_id") or text_at(row, "name"): row for row in reversed(rows)}.values())[::-1]
    if not latest:
        return Result([], f"No workflow ran in {where}.", (_home(api, args),))
    broken = [row for row in latest if text_at(row, "conclusion") in _FAILED][:3]
    jobs = await asyncio.gather(*(_failed_jobs(api, args, text_at(row, "id")) for row in broken))
    lines = [
        f"{clean(text_at(row, 'name'), 60)}, {job}" for row, found in zip(broken, jobs, strict=True) for job in found
    ]
    text = f"The latest run of each workflow in {where}:\n{bullets([_say_run(row, now) for row in latest])}"
    text += f"\nWhat failed:\n{bullets(lines)}" if lines else ""
    fields = ("id", "name", "status", "conclusion", "head_branch", "display_title", "html_url", "updated_at")
    data = {"runs": [picked(row, fields) for row in latest], "failed": lines}
    title = "{} run"
    return Result(data, text, tuple(_page(api, row, title.format(text_at(row, "name"))) for row in latest[:SHOWN]))


async def _failed_jobs(api: Api, args: Args, run: str) -> list[str]:
    reply = await api.get(_repo(args, "/actions/runs/{run}/jobs", run=run), {"filter": "latest", "per_page": 100})
    return [
        f"job {clean(text_at(job, 'name'), 60)}"
        + "".join(
            f", step {clean(text_at(step, 'name'), 60)}"
            for step in list_at(job, "steps")
            if text_at(step, "conclusion") in _FAILED
        )
        for job in _records(at(reply.data, "jobs"))
        if text_at(job, "conclusion") in _FAILED
    ]


_LONGEST_FILE = 100_000


async def read_file(api: Api, args: Args) -> Result:
    """A file's text, or what is in a directory."""
    address = _repo(args, "/contents/{path}", path=args["path"].strip("/"))
    found = (await api.get(address, given({"ref": args.get("branch")}))).data
    name = clean(args["path"], 140)
    if isinstance(found, list):
        rows = _records(found, "name", "type")
        data: Json = [picked(row, ("name", "path", "type", "size")) for row in rows]
        said = [f"{clean(text_at(row, 'name'), 100)}{'/' if text_at(row, 'type') == 'dir' else ''}" for row in rows]
        return Result(data, f"In {name}:\n{bullets(said, most=100)}", (_home(api, args),))
    row = _record(found, "name", "path")
    try:
        raw = b64decode(text_at(row, "content"))
    except (binascii.Error, ValueError):
        raise tools.unreadable("GitHub") from None
    source = (_page(api, row, text_at(row, "path")),)
    data = picked(row, ("path", "size", "html_url", "sha"))
    if b"\0" in raw or not raw:
        return Result(data, f"{name} is empty, too large to be read here, or not text.", source)
    content = raw.decode(errors="replace")
    return Result({**data, "content": content[:_LONGEST_FILE]}, f"{name}:\n{passage(content)}", source)


async def search_code(api: Api, args: Args) -> Result:
    """Files that hold some words."""
    terms = [args["query"], *(_term(key, args[key]) for key in ("repo", "language") if key in args)]
    reply = await api.get("/search/code", {"q": " ".join(terms), "per_page": args.get("limit", SHOWN)})
    rows, total = _records(at(reply.data, "items"), "path"), whole_at(reply.data, "total_count")
    what = clean(args["query"], 80)
    if not rows:
        return Result([], f"No file with “{what}” was found.", (Page("Code search", f"{api.web_base}/search"),))
    said = [
        f"`{clean(text_at(row, 'path'), 140)}` in {clean(text_at(row, 'repository', 'full_name'), 140)}" for row in rows
    ]
    text = f"{plural(max(total, len(rows)), 'file')} with “{what}”:\n{bullets(said, total=total, most=100)}"
    data = [picked(row, ("name", "path", "html_url", "repository.full_name")) for row in rows]
    return Result(data, text, tuple(_page(api, row, text_at(row, "path")) for row in rows[:SHOWN]))


# --- the provider ----------------------------------------------------------------------------------------------------

_REPO_SCOPE = frozenset({"repo"})
_REPO = {
    "type": "string",
    "pattern": r"^[A-Za-z0-9_.-]{1,100}/[A-Za-z0-9_.-]{1,100}$",
    "description": "The repository as owner/name.",
    "examples": ["octo-org/shop"],
}
_NUMBER = {"type": "integer", "minimum": 1, "description": "Number of the issue or pull request.", "examples": [42]}
_BRANCH = {"type": "string", "minLength": 1, "maxLength": 200, "description": "Only this branch.", "examples": ["main"]}
_LOGIN = {"type": "string", "minLength": 1, "maxLength": 60, "examples": ["me", "ada"]}
_LIMIT = {"type": "integer", "minimum": 1, "maximum": 100, "default": SHOWN, "description": "How many at most."}
_PERIOD = {
    "type": "string",
    "pattern": "^[1-9][0-9]{0,2}[hdw]$",
    "description": "How far back: a number of hours, days or weeks, such as 24h, 7d or 2w.",
    "examples": ["7d"],
}
_FIND_REPO = Producer("list_repositories", "full_name", names=("full_name", "name"))
_FIND_NUMBER = Producer("search_issues", "number", names=("title", "number"))
_IN_REPO = {"repo": _FIND_REPO}
_GIVES_ISSUES = "[{number, title, state, html_url, repository, pull_request, user.login, updated_at}]"

TOOLS = (
    ToolSpec(
        name="my_work",
        summary="Show what waits for me: reviews asked of me, issues assigned to me, my open pull requests.",
        gives="{reviews: [{number, title, repository}], assigned: [{number, title}], mine: [{number, title}]}",
        invoke=my_work,
        scopes=_REPO_SCOPE,
        asks=(
            "what needs my attention?",
            "what should I work on?",
            "which pull requests wait for my review?",
            "what is assigned to me?",
            "what is on my plate?",
            "do I have anything to review?",
            "what is waiting for me?",
            "my review requests",
        ),
    ),
    ToolSpec(
        name="list_repositories",
        summary="List the repositories this account can work with, the last pushed first.",
        gives="[{full_name, name, private, description, language, pushed_at}]",
        invoke=tools.listing(
            "GitHub",
            "/user/repos",
            one="repository",
            needs=("id", "full_name"),
            pick=("full_name", "name", "private", "description", "language", "html_url", "pushed_at", "archived"),
            say=_say_repository,
            source=lambda web, row, _: Page(
                clean(text_at(row, "full_name"), 140), page_url(web, text_at(row, "html_url"))
            ),
            fixed={"sort": "pushed", "per_page": 100},
            after=by_link,
            most=3,
        ),
        scopes=_REPO_SCOPE,
        asks=(
            "which repositories do I have?",
            "list my repos",
            "show all repositories",
            "what repos can I access?",
            "which repositories were pushed to lately?",
            "what projects do I have on GitHub?",
        ),
    ),
    ToolSpec(
        name="search_issues",
        summary="Find issues and pull requests by repository, state, author, assignee, label or words.",
        gives=_GIVES_ISSUES,
        invoke=search_issues,
        params={
            "repo": _REPO,
            "query": {
                "type": "string",
                "minLength": 1,
                "maxLength": 200,
                "description": "Words of the title or text, or qualifiers of GitHub's issue search.",
            },
            "kind": {
                "type": "string",
                "enum": ["issue", "pull_request", "any"],
                "default": "any",
                "description": "Issues, pull requests, or any of them.",
            },
            "state": {
                "type": "string",
                "enum": ["open", "closed", "all"],
                "default": "open",
                "description": "Open or closed ones, or all.",
            },
            "author": {**_LOGIN, "description": "Whose: the login of who opened it, or me."},
            "assignee": {**_LOGIN, "description": "The login of who it is assigned to, or me."},
            "label": {"type": "string", "minLength": 1, "maxLength": 60, "description": "Only with this label."},
            "limit": _LIMIT,
        },
        producers=_IN_REPO,
        scopes=_REPO_SCOPE,
        asks=(
            "open issues in {repo}",
            "list the {state} issues of {repo}",
            "open pull requests in {repo}",
            "which pull requests are open in {repo}?",
            "find issues about {query}",
            "issues labelled {label} in {repo}",
            "pull requests by {author}",
            "issues assigned to {assignee} in {repo}",
            "is there an issue about {query}?",
            "what was closed in {repo}?",
            "show the bugs of {repo}",
        ),
    ),
    ToolSpec(
        name="issue_details",
        summary="Show one issue: its text, state, labels, assignees and last comments.",
        gives="{number, title, state, body, labels, assignees, last_comments: [{user.login, body}]}",
        invoke=issue_details,
        params={"repo": _REPO, "number": _NUMBER},
        required=frozenset({"repo", "number"}),
        producers={"repo": _FIND_REPO, "number": _FIND_NUMBER},
        scopes=_REPO_SCOPE,
        asks=(
            "show issue {number} in {repo}",
            "what is issue {number} of {repo} about?",
            "what was said about issue {number} in {repo}?",
            "comments on issue {number} of {repo}",
            "who is working on issue {number} in {repo}?",
            "is issue {number} of {repo} closed?",
        ),
    ),
    ToolSpec(
        name="pull_request",
        summary="Show one pull request: its size, reviews, checks, and whether it can be merged.",
        gives="{number, title, state, merged, mergeable_state, reviews, checks: {all, failed, running}}",
        invoke=pull_request,
        params={"repo": _REPO, "number": _NUMBER},
        required=frozenset({"repo", "number"}),
        producers={"repo": _FIND_REPO, "number": _FIND_NUMBER},
        scopes=_REPO_SCOPE,
        asks=(
            "show pull request {number} in {repo}",
            "can PR {number} of {repo} be merged?",
            "who reviewed pull request {number} in {repo}?",
            "did the checks of PR {number} in {repo} pass?",
            "is pull request {number} of {repo} approved?",
            "why is PR {number} in {repo} blocked?",
            "how big is pull request {number} of {repo}?",
            "status of PR {number} in {repo}",
        ),
    ),
    ToolSpec(
        name="ci_status",
        summary="Show the latest run of each workflow (CI), and which jobs and steps failed.",
        gives="{runs: [{name, conclusion, head_branch, html_url}], failed}",
        invoke=ci_status,
        params={"repo": _REPO, "branch": _BRANCH},
        required=frozenset({"repo"}),
        producers=_IN_REPO,
        scopes=_REPO_SCOPE,
        asks=(
            "is the build green in {repo}?",
            "did CI pass in {repo}?",
            "why is CI failing in {repo}?",
            "which workflows failed in {repo}?",
            "status of the builds of {repo}",
            "is {branch} green in {repo}?",
            "what broke the build of {repo}?",
            "latest workflow runs in {repo}",
        ),
    ),
    ToolSpec(
        name="list_commits",
        summary="List the newest commits of a repository, branch, file or author.",
        gives="[{sha, html_url, commit.message, commit.author.name, commit.author.date}]",
        invoke=list_commits,
        params={
            "repo": _REPO,
            "branch": _BRANCH,
            "path": {"type": "string", "minLength": 1, "maxLength": 300, "description": "Only those that touch this."},
            "author": {
                "type": "string",
                "minLength": 1,
                "maxLength": 100,
                "description": "Only those of this login or email address.",
            },
            "period": _PERIOD,
            "limit": _LIMIT,
        },
        required=frozenset({"repo"}),
        producers=_IN_REPO,
        scopes=_REPO_SCOPE,
        asks=(
            "latest commits in {repo}",
            "what changed in {repo} in the last {period}?",
            "who committed to {repo} lately?",
            "commits by {author} in {repo}",
            "what was committed to {branch} of {repo}?",
            "show the last {limit} commits of {repo}",
            "who changed {path} in {repo}?",
        ),
    ),
    ToolSpec(
        name="list_releases",
        summary="List the newest releases of a repository, with the notes of the newest.",
        gives="[{tag_name, name, published_at, html_url, body}]",
        invoke=list_releases,
        params={"repo": _REPO, "limit": {**_LIMIT, "maximum": 30, "default": 5}},
        required=frozenset({"repo"}),
        producers=_IN_REPO,
        scopes=_REPO_SCOPE,
        asks=(
            "latest release of {repo}",
            "what is the newest version of {repo}?",
            "release notes of {repo}",
            "when was {repo} last released?",
            "list the releases of {repo}",
            "what is new in the last release of {repo}?",
        ),
    ),
    ToolSpec(
        name="read_file",
        summary="Read a file of a repository, or list a directory.",
        gives="{path, size, html_url, content}",
        invoke=read_file,
        params={
            "repo": _REPO,
            "path": {
                "type": "string",
                "minLength": 1,
                "maxLength": 500,
                "description": "Path of the file or directory.",
                "examples": ["README.md"],
            },
            "branch": {**_BRANCH, "description": "Branch, tag or commit; by default the main branch."},
        },
        required=frozenset({"repo", "path"}),
        producers=_IN_REPO,
        scopes=_REPO_SCOPE,
        asks=(
            "show the file {path} in {repo}",
            "read {path} of {repo}",
            "what is in {path} of {repo}?",
            "contents of {path} in {repo}",
            "which files are in {path} of {repo}?",
            "open {path} from {branch} of {repo}",
        ),
    ),
    ToolSpec(
        name="search_code",
        summary="Find files by the words in their code.",
        gives="[{name, path, html_url, repository.full_name}]",
        invoke=search_code,
        params={
            "query": {"type": "string", "minLength": 1, "maxLength": 200, "description": "Words of the code."},
            "repo": _REPO,
            "language": {"type": "string", "minLength": 1, "maxLength": 40, "description": "Only in this language."},
            "limit": _LIMIT,
        },
        required=frozenset({"query"}),
        producers=_IN_REPO,
        scopes=_REPO_SCOPE,
        asks=(
            "where is {query} used in {repo}?",
            "search the code for {query}",
            "find {query} in the code of {repo}",
            "which files mention {query}?",
            "where in {repo} is {query} defined?",
            "code with {query} written in {language}",
        ),
    ),
    ToolSpec(
        name="create_issue",
        summary="Open an issue in a repository.",
        invoke=create_issue,
        params={
            "repo": _REPO,
            "title": {"type": "string", "minLength": 1, "maxLength": 256, "description": "Its title."},
            "body": {"type": "string", "maxLength": 60_000, "description": "Its text, in Markdown."},
            "labels": {"type": "array", "items": {"type": "string"}, "maxItems": 20, "description": "Labels it gets."},
            "assignees": {
                "type": "array",
                "items": {"type": "string"},
                "maxItems": 10,
                "description": "Logins of those it is assigned to.",
            },
        },
        required=frozenset({"repo", "title"}),
        producers=_IN_REPO,
        scopes=_REPO_SCOPE,
        effect=Effect.WRITE,
        asks=(
            "open an issue in {repo}: {title}",
            "create an issue {title} in {repo}",
            "report a bug in {repo}: {title}",
        ),
    ),
    ToolSpec(
        name="comment",
        summary="Comment on an issue or pull request.",
        invoke=comment,
        params={
            "repo": _REPO,
            "number": _NUMBER,
            "text": {"type": "string", "minLength": 1, "maxLength": 60_000, "description": "The comment, in Markdown."},
        },
        required=frozenset({"repo", "number", "text"}),
        producers=_IN_REPO,
        scopes=_REPO_SCOPE,
        effect=Effect.WRITE,
        asks=("comment on issue {number} of {repo}: {text}", "reply to PR {number} in {repo}: {text}"),
    ),
)

PROVIDER = ProviderSpec(
    id="github",
    title="GitHub",
    about="repositories, issues, pull requests, CI runs, releases and code",
    api_base="https://api.github.com",
    web_base="https://github.com",
    headers={"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"},
    refusal_of=refusal_of,
    oauth=OAuthSpec(
        authorize_url="https://github.com/login/oauth/authorize",
        token_url="https://github.com/login/oauth/access_token",  # noqa: S106 - an address
        revoke_url="https://api.github.com/applications/{client_id}/token",
        revoke_style="json_basic",
        revoke_kinds=("access",),
        # GitHub has no narrower scope that reads a private repository. A GitHub App takes no scopes at all: its
        # permissions are set where it is registered, and its answers name none, which counts as all that was asked.
        scopes=("repo",),
        scope_words={"repo": "read and change your repositories, public and private, their issues and pull requests"},
        granted_separator=",",
        dead_grant_errors=frozenset({"invalid_grant", "bad_refresh_token"}),
        grant_idle_s=15_811_200,
        identify_url="https://api.github.com/user",
        subject_fields=("id",),
        label_fields=("login", "name"),
    ),
    mcp_url="https://api.githubcopilot.com/mcp/",
    register_url="https://github.com/settings/apps/new",
    register_steps=(
        "Open Settings, Developer settings, GitHub Apps (an organization's own, or yours), and choose New GitHub App.",
        "Enter any name and homepage, the callback URL {redirect_uri}, and let user authorization tokens expire.",
        "Switch the webhook off; under Repository permissions, let it read Actions, Checks, Contents and Metadata.",
        "Let it read Issues and Pull requests too, or write them if comments and new issues are wanted.",
        "Create it, generate a client secret, enter both here, and install the app on the repositories it may see.",
        "Or choose New OAuth App with the same callback URL: simpler, but its scope {scopes} reaches everything.",
    ),
    unconfirmed=("That a refresh with a dead token is answered with the error code bad_refresh_token.",),
    tools=TOOLS,
)
