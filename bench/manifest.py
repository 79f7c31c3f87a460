"""A large provider's tools, made up but of the usual shape: six operations on each of many things.

Sizes are at the low end of what is published. GitHub's description has 343 tokens of input schema an operation, the
MCP servers of Sentry, GitHub, Playwright and Notion 140 to 850 for name, description and schema of a tool.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from providers.errors import BadArguments
from providers.spec import Api, Args, Effect, Invoke, Json, Result, ToolSpec

_TEXT: Mapping[str, Json] = {"type": "string", "minLength": 1, "maxLength": 200}
_FIELDS: Mapping[str, Mapping[str, Json]] = {
    "name": {**_TEXT, "description": "What people call it; unique within the organization."},
    "description": {"type": "string", "maxLength": 5_000, "description": "What it is for, in Markdown."},
    "team": {**_TEXT, "description": "Slug of the team that looks after it."},
    "owner": {**_TEXT, "description": "Email address or user name of the person responsible."},
    "environment": {**_TEXT, "description": "Environment it applies to, such as production or staging."},
    "severity": {"type": "string", "enum": ["low", "medium", "high", "critical"], "description": "How bad it is."},
    "state": {"type": "string", "enum": ["active", "paused", "archived"], "description": "Whether it is in use."},
    "labels": {"type": "array", "items": {"type": "string"}, "maxItems": 20, "description": "Labels to find it by."},
    "query": {**_TEXT, "description": "Search in the provider's own language, such as `status:open team:web`."},
    "url": {"type": "string", "format": "uri", "description": "Address of the thing it belongs to, with its scheme."},
    "threshold": {"type": "number", "minimum": 0, "description": "Value above which it counts as a problem."},
    "window": {"type": "string", "pattern": "^[1-9][0-9]*[mhd]$", "description": "Stretch of time, such as 5m or 1h."},
    "schedule": {**_TEXT, "description": "When it runs, as a crontab line in UTC, such as `0 6 * * 1`."},
    "timezone": {**_TEXT, "description": "Name of a time zone, such as Europe/Lisbon; UTC when left out."},
    "enabled": {"type": "boolean", "default": True, "description": "Whether it takes effect at once."},
    "starts_at": {"type": "string", "format": "date-time", "description": "When it begins, ISO 8601."},
    "ends_at": {"type": "string", "format": "date-time", "description": "When it ends, ISO 8601; never if left out."},
    "repository": {**_TEXT, "description": "Repository in the form owner/name."},
    "commit": {"type": "string", "pattern": "^[0-9a-f]{7,40}$", "description": "Commit it refers to."},
    "platform": {**_TEXT, "description": "Language or framework, such as python-django."},
    "recipients": {"type": "array", "items": {"type": "string"}, "description": "Email addresses that are told."},
    "channel": {**_TEXT, "description": "Chat channel that is told, with its leading #."},
    "role": {"type": "string", "enum": ["member", "manager", "admin", "owner"], "description": "What it may do."},
    "rate": {"type": "number", "minimum": 0, "maximum": 1, "description": "Share that is kept, from 0 to 1."},
    "retention_days": {"type": "integer", "minimum": 1, "maximum": 400, "description": "For how many days it is kept."},
    "expression": {**_TEXT, "description": "Formula over metrics, such as `errors / requests`."},
}
_THINGS = """
alert rule: name query threshold window severity recipients
metric alert: name expression threshold window environment channel
uptime check: name url window timezone enabled owner
cron monitor: name schedule timezone environment team enabled
incident: name severity state owner starts_at channel
incident update: description state starts_at recipients
postmortem: name description owner labels url
on-call schedule: name team timezone starts_at ends_at
on-call override: owner starts_at ends_at team
escalation policy: name team window recipients severity
maintenance window: name starts_at ends_at environment team
status page: name url description team enabled
status page subscriber: recipients state labels
dashboard: name description owner labels team
dashboard widget: name expression window query
saved search: name query owner team
discover query: name query window environment
report: name schedule recipients query timezone
team: name description owner labels
team member: owner team role
organization member: owner role state labels
invitation: recipients role team
role mapping: name role team
service account: name role description enabled
api token: name role ends_at description
audit entry: owner query starts_at ends_at
integration: name platform url enabled
webhook: name url query enabled
chat notification: channel query severity enabled
ticket link: url repository owner labels
code owner: repository query team
code mapping: repository environment platform
repository: repository platform team state
pull request: repository commit owner state
branch: repository commit name
workflow run: repository commit state starts_at
build artifact: repository commit retention_days labels
source map: commit url platform
debug file: name platform commit
deploy: commit environment starts_at url
deploy approval: commit environment owner description
rollback: commit environment description owner
feature flag: name description rate environment enabled
experiment: name description rate starts_at ends_at
segment: name query description
trace: query window environment rate
span: query window threshold
transaction: name query window threshold
profile: query window platform rate
session replay: query window environment rate
user feedback: query owner labels state
log stream: name query retention_days environment
log pipeline: name expression enabled labels
metric: name expression window labels
metric tag: name query labels
sampling rule: name query rate enabled
inbound filter: name query enabled
quota: name threshold window recipients
spike protection: name threshold window enabled
billing invoice: starts_at ends_at state
subscription plan: name state starts_at
service: name team repository labels
service dependency: name url owner
runbook: name description url team
service level objective: name expression threshold window
error budget: name expression threshold window
host: name environment labels state
container: name environment labels state
cluster: name environment platform labels
database instance: name environment platform state
queue: name environment threshold
certificate: name url ends_at owner
secret scan: repository commit severity state
vulnerability: repository severity state owner
license finding: repository state severity
data scrubbing rule: name expression enabled
privacy request: owner state ends_at description
export job: query window recipients
import job: url state owner
key transaction: name team query
custom field: name description enabled
template: name description labels
"""
_PLURALS = {"repository": "repositories", "dependency": "dependencies", "quota": "quotas", "branch": "branches"}
_SCOPES = {Effect.READ: frozenset({"event:read"}), Effect.WRITE: frozenset({"event:write"})}


def made_up(count: int) -> tuple[ToolSpec, ...]:
    """So many tools, the same every time."""
    tools = list(_operations())
    if count > len(tools):
        raise ValueError(f"There are {len(tools)} at most.")
    return tuple(tools[:count])


def _operations() -> Iterator[ToolSpec]:
    for line in _THINGS.strip().splitlines():
        thing, _, names = line.partition(": ")
        yield from _on(thing, {name: _FIELDS[name] for name in names.split()})


def _on(thing: str, fields: Mapping[str, Mapping[str, Json]]) -> Iterator[ToolSpec]:
    """What can be done with one kind of thing."""
    *before, last = thing.split()
    several = " ".join([*before, _PLURALS.get(last, f"{last}s")])
    word, words = (text.replace(" ", "_").replace("-", "_") for text in (thing, several))
    known: dict[str, Mapping[str, Json]] = {
        f"{word}_id": {**_TEXT, "description": f"Id of the {thing}, as the list of {several} gives it."}
    }
    paged: dict[str, Mapping[str, Json]] = {
        "sort": {"type": "string", "enum": ["created", "updated", "name"], "description": "What they are ordered by."},
        "per_page": {"type": "integer", "minimum": 1, "maximum": 100, "default": 25, "description": "How many a page."},
        "cursor": {**_TEXT, "description": "Where the next page begins, as the last one gave it."},
    }
    filters = {name: fields[name] for name in list(fields)[:3]}
    first = frozenset(list(fields)[:1])
    one = frozenset(known)
    why = {"reason": {**_TEXT, "description": "Why, for the audit log."}}
    yield _tool(f"list_{words}", f"List the {several} of the organization, the newest first.", {**filters, **paged})
    yield _tool(
        f"search_{words}",
        f"Search {several} by words of their name or description and by what they are set to.",
        {"text": {**_TEXT, "description": f"Words the {thing} must hold."}, **fields, **paged},
        frozenset({"text"}),
    )
    yield _tool(f"get_{word}", f"Show one {thing} with all of its settings and its history.", known, one)
    yield _tool(f"create_{word}", f"Create a {thing}.", fields, first, Effect.WRITE)
    yield _tool(f"update_{word}", f"Change a {thing}; what is left out stays.", {**known, **fields}, one, Effect.WRITE)
    yield _tool(f"delete_{word}", f"Delete a {thing}.", {**known, **why}, one, Effect.WRITE)


def _tool(
    name: str,
    summary: str,
    params: Mapping[str, Mapping[str, Json]],
    required: frozenset[str] = frozenset(),
    effect: Effect = Effect.READ,
) -> ToolSpec:
    return ToolSpec(
        name=name,
        summary=summary,
        invoke=_nothing(name, effect),
        params=params,
        required=required,
        scopes=_SCOPES[effect],
        effect=effect,
    )


def _nothing(name: str, effect: Effect) -> Invoke:
    async def invoke(_api: Api, _args: Args) -> Result:
        if effect is not Effect.READ:
            raise BadArguments("Nothing can be changed here.")
        return Result([], f"{name} found nothing.")

    return invoke
