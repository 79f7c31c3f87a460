"""The router answers only when it is sure: which prompts reach which tool, and which reach none."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import pytest

from metaagent.agent.router import LONGEST_PROMPT, Route, RouterIndex, Unsure, compile_tools, route
from metaagent.agent.slots import safe_pattern
from providers.catalogue.sentry import PROVIDER
from providers.spec import Api, Args, Effect, Json, Producer, Result, ToolSpec

NOW = datetime(2026, 5, 20, 15, 30, tzinfo=UTC)


async def _nothing(_api: Api, _args: Args) -> Result:
    return Result(None, "")


_ORG = {"type": "string", "description": "Slug of the organization."}
_PROJECT = {"type": "string", "description": "Slug of one project."}
_PERIOD = {"type": "string", "pattern": "^[0-9]+[hdw]$"}
_LIMIT = {"type": "integer", "minimum": 1, "maximum": 100}
_ISSUE = {"type": "string", "pattern": "^([A-Z][A-Z0-9_-]*-[0-9A-Z]+|[0-9]+)$", "examples": ["CHECKOUT-1A"]}
_VERSION = {"type": "string", "description": "The version, such as shop@2.4.0 or 2.4.0."}
_FIND_ORG = Producer("list_orgs", "slug")
_FIND_PROJECT = Producer("list_projects", "slug")
_FIND_ISSUE = Producer("find_issues", "shortId", names=("title",))


def tool(
    name: str,
    asks: Sequence[str] = (),
    params: Mapping[str, Mapping[str, Json]] | None = None,
    *,
    required: Sequence[str] = (),
    producers: Mapping[str, Producer] | None = None,
    effect: Effect = Effect.READ,
    summary: str = "",
) -> ToolSpec:
    return ToolSpec(
        name=name,
        summary=summary or f"{name.replace('_', ' ').capitalize()}.",
        invoke=_nothing,
        params=params or {},
        required=frozenset(required),
        producers=producers or {},
        effect=effect,
        asks=tuple(asks),
    )


def within(name: str, asks: Sequence[str], **params: Mapping[str, Json]) -> ToolSpec:
    """A read of an organization that may be narrowed to one project."""
    return tool(
        name,
        asks,
        {"org": _ORG, "project": _PROJECT, **params},
        required=["org"],
        producers={"org": _FIND_ORG, "project": _FIND_PROJECT},
    )


def on_issue(name: str, asks: Sequence[str], effect: Effect = Effect.READ, **params: Mapping[str, Json]) -> ToolSpec:
    """A tool for one issue."""
    return tool(
        name,
        asks,
        {"org": _ORG, "issue": _ISSUE, **params},
        required=["org", "issue", *params],
        producers={"org": _FIND_ORG, "issue": _FIND_ISSUE},
        effect=effect,
    )


TRACKER = (
    tool("list_orgs", ["which organizations do I belong to?", "list my organizations"]),
    within("list_projects", ["what projects do I have?", "list projects", "how many projects are there?"]),
    within(
        "find_issues",
        [
            "show the latest issues",
            "what are the newest issues in {project}?",
            "{status} issues in {project}",
            "issues assigned to {assignee}",
            "{level} issues in the {environment} environment",
            "issues about {query}",
        ],
        status={"type": "string", "enum": ["unresolved", "resolved", "ignored"]},
        level={"type": "string", "enum": ["fatal", "error", "warning"]},
        assignee={"type": "string", "description": "Who it is assigned to.", "examples": ["me"]},
        environment={"type": "string"},
        query={"type": "string"},
        period=_PERIOD,
        limit=_LIMIT,
    ),
    within(
        "top_issues",
        ["what are the top issues?", "which errors happen most often?", "worst errors this week", "what is broken?"],
        period=_PERIOD,
        limit=_LIMIT,
        by={"type": "string", "enum": ["events", "users"]},
    ),
    on_issue("issue", ["show me {issue}", "details of {issue}", "who is assigned to {issue}?", "is {issue} resolved?"]),
    on_issue("trace", ["stack trace of {issue}", "show the latest event of {issue}", "where does {issue} happen?"]),
    within(
        "releases",
        [
            "list releases",
            "what is the newest release?",
            "when was the last release?",
            "show the last {limit} releases",
        ],
        limit=_LIMIT,
    ),
    within(
        "release_health",
        [
            "is the newest release healthy?",
            "how healthy is {version}?",
            "compare the latest release with the previous one",
            "did {version} break anything?",
            "crash-free rate of {version}",
        ],
        version=_VERSION,
    ),
    within(
        "error_counts",
        ["how many errors did we have today?", "error trend of {project}", "are errors going up?", "errors per hour"],
        period=_PERIOD,
    ),
    within(
        "explain_spike",
        ["why are errors spiking?", "what caused the spike in {project}?", "explain the rise in errors"],
        period=_PERIOD,
    ),
    tool("who_am_i", ["who am I?", "which account is this?"]),
    on_issue("resolve_issue", ["resolve {issue}", "mark {issue} as resolved"], Effect.WRITE),
    on_issue("comment", ["comment on {issue}: {text}"], Effect.WRITE, text={"type": "string"}),
)


@pytest.fixture(scope="module")
def tracker() -> RouterIndex:
    return compile_tools(TRACKER, ["tracker", "Tracker"])


ANSWERABLE: tuple[tuple[str, str, Mapping[str, Json], str], ...] = (
    ("could you list the orgs i belong to please", "list_orgs", {}, ""),
    ("my organisations", "list_orgs", {}, ""),
    ("show me all of my projects", "list_projects", {}, ""),
    ("which projects are there?", "list_projects", {}, ""),
    ("how many projects do we have in tracker?", "list_projects", {}, ""),
    ("what apps do I have", "list_projects", {}, ""),
    ("what are our latest issues?", "find_issues", {}, ""),
    ("gimme the most recent issues", "find_issues", {}, ""),
    ("Show me the newest bugs, please", "find_issues", {}, ""),
    ("latest issues in checkout", "find_issues", {}, "checkout"),
    ("what are the newest issues in the billing project?", "find_issues", {}, "billing"),
    ("latest issues of the last 3 days", "find_issues", {"period": "3d"}, ""),
    ("can you show me the latest 5 issues", "find_issues", {"limit": 5}, ""),
    ("unresolved issues", "find_issues", {"status": "unresolved"}, ""),
    ("list the resolved issues in checkout", "find_issues", {"status": "resolved"}, "checkout"),
    ("ignored issues in web-api", "find_issues", {"status": "ignored"}, "web-api"),
    ("which issues are assigned to me?", "find_issues", {"assignee": "me"}, ""),
    ("issues assigned to ada@example.com", "find_issues", {"assignee": "ada@example.com"}, ""),
    ("find issues about timeouts", "find_issues", {"query": "timeouts"}, ""),
    ('any issues about "payment failed"?', "find_issues", {"query": "payment failed"}, ""),
    ("fatal issues in production", "find_issues", {"level": "fatal", "environment": "production"}, ""),
    ("what are the top issues this week?", "top_issues", {"period": "7d"}, ""),
    ("top 10 issues", "top_issues", {"limit": 10}, ""),
    ("which errors happen most frequently?", "top_issues", {}, ""),
    ("worst errors in the last 24 hours", "top_issues", {"period": "24h"}, ""),
    ("what's broken right now?", "top_issues", {}, ""),
    ("top issues by users", "top_issues", {"by": "users"}, ""),
    ("CHECKOUT-1A", "issue", {"issue": "CHECKOUT-1A"}, ""),
    ("show CHECKOUT-1A", "issue", {"issue": "CHECKOUT-1A"}, ""),
    ("pls give me the details of issue CHECKOUT-1A", "issue", {"issue": "CHECKOUT-1A"}, ""),
    ("tell me about checkout-1a", "issue", {"issue": "CHECKOUT-1A"}, ""),
    ("tell me more about CHECKOUT-1A", "issue", {"issue": "CHECKOUT-1A"}, ""),
    ("who's CHECKOUT-1A assigned to?", "issue", {"issue": "CHECKOUT-1A"}, ""),
    ("is CHECKOUT-1A fixed yet?", "issue", {"issue": "CHECKOUT-1A"}, ""),
    ("show me issue 4509812", "issue", {"issue": "4509812"}, ""),
    ("what's the stack trace for CHECKOUT-1A?", "trace", {"issue": "CHECKOUT-1A"}, ""),
    ("stacktrace of CHECKOUT-1A", "trace", {"issue": "CHECKOUT-1A"}, ""),
    ("latest event of CHECKOUT-1A please", "trace", {"issue": "CHECKOUT-1A"}, ""),
    ("list all releases", "releases", {}, ""),
    ("list relases", "releases", {}, ""),
    ("what's our newest version?", "releases", {}, ""),
    ("when was the latest deploy?", "releases", {}, ""),
    ("last 3 releases", "releases", {"limit": 3}, ""),
    ("show me the last five releases", "releases", {"limit": 5}, ""),
    ("what is the newest release in checkout?", "releases", {}, "checkout"),
    ("is the latest release ok?", "release_health", {}, ""),
    ("how stable is the newest version?", "release_health", {}, ""),
    ("is 2.4.0 healthy?", "release_health", {"version": "2.4.0"}, ""),
    ("how healthy is shop@2.4.0", "release_health", {"version": "shop@2.4.0"}, ""),
    ("did version 2.4.0 break anything", "release_health", {"version": "2.4.0"}, ""),
    ("crash free rate for shop@2.4.0", "release_health", {"version": "shop@2.4.0"}, ""),
    ("compare the newest release to the previous one", "release_health", {}, ""),
    ("how many errors today", "error_counts", {"period": "24h"}, ""),
    ("how many errors in the last 24 hours?", "error_counts", {"period": "24h"}, ""),
    ("how many errors did we get over the past two weeks?", "error_counts", {"period": "14d"}, ""),
    ("number of errors this week in checkout", "error_counts", {"period": "7d"}, "checkout"),
    ("how many exceptions did we have today", "error_counts", {"period": "24h"}, ""),
    ("are the errors increasing?", "error_counts", {}, ""),
    ("hourly error count", "error_counts", {}, ""),
    ("error trend of the checkout project", "error_counts", {}, "checkout"),
    ("why are the errors spiking?", "explain_spike", {}, ""),
    ("why did errors go up this week", "explain_spike", {"period": "7d"}, ""),
    ("how come errors are rising?", "explain_spike", {}, ""),
    ("what caused the spike in payments?", "explain_spike", {}, "payments"),
    ("please explain the increase in errors in the last 12 hours", "explain_spike", {"period": "12h"}, ""),
    ("who am i", "who_am_i", {}, ""),
    ("what account is this?", "who_am_i", {}, ""),
)

REFUSED: tuple[tuple[str, str], ...] = (
    ("resolve CHECKOUT-1A", "write"),
    ("please mark CHECKOUT-1A as resolved", "write"),
    ("can you close CHECKOUT-1A?", "write"),
    ("get CHECKOUT-1A resolved", "write"),
    ("delete all issues", "write"),
    ("remove the checkout project", "write"),
    ("create a project", "write"),
    ("assign CHECKOUT-1A to me", "write"),
    ("comment on CHECKOUT-1A: looking into it", "write"),
    ("add a note to CHECKOUT-1A", "write"),
    ("send the latest issues to ada@example.com", "write"),
    ("ignore CHECKOUT-1A", "write"),
    ("show CHECKOUT-1A, then resolve it", "write"),
    ("show the latest issues and list releases", ""),
    ("list projects and releases", ""),
    ("show me the latest issues. how many errors today?", ""),
    ("list projects; list releases", "several"),
    ("what projects do I have? and who am I?", "several"),
    ("CHECKOUT-1A and CHECKOUT-2B", ""),
    ("latest issues in github", "unexplained_words"),
    ("show my open pull requests", ""),
    ("list slack channels", ""),
    ("what's the weather in Paris?", ""),
    ("how is the weather", ""),
    ("tell me a joke", ""),
    ("who is the president", ""),
    ("hello", "no_match"),
    ("help", "no_match"),
    ("what can you do?", "no_match"),
    ("show me stuff", ""),
    ("errors", ""),
    ("issues except the fatal ones", ""),
    ("issues not in checkout", ""),
    ("show the stack trace", ""),
    ("latest issues tomorrow", ""),
    ("how many errors did we have yesterday?", ""),
    ("p95 latency of the last hour", ""),
    ("top issues of each project", "several"),
    ("newest release of every project", "several"),
    ("top issues per project", ""),
    ("top issues by project", "unexplained_words"),
    ("top issues by environment", "unexplained_words"),
    ("my top issues", "unexplained_words"),
    ("my latest errors", "unexplained_words"),
    ("what are my team's latest issues?", "unexplained_words"),
    ("latest issues assigned to my team", ""),
    ("the latest issues that I have", "unexplained_words"),
    ("top issues for me", "unexplained_words"),
    ("their latest issues", "unexplained_words"),
    ("how many errors did it have today?", "unexplained_words"),
    ("show the latest issues in this project", "unexplained_words"),
    ("is that release healthy?", "unexplained_words"),
    ("latest issues with ConnectionResetError", "unexplained_words"),
    ("", "no_match"),
    ("?!", "no_match"),
)


def test_paraphrases_reach_the_right_tool_or_none_and_most_reach_it(tracker: RouterIndex) -> None:
    fired = 0
    for prompt, name, args, words in ANSWERABLE:
        match route(prompt, tracker, now=NOW):
            case Route() as found:
                assert (found.tool, dict(found.args), found.words) == (name, dict(args), words), prompt
                fired += 1
            case Unsure(closest=closest):
                assert len(closest) <= 3
    assert fired >= 0.9 * len(ANSWERABLE)


@pytest.mark.parametrize(("prompt", "why"), REFUSED)
def test_a_change_two_requests_or_something_else_is_never_routed(tracker: RouterIndex, prompt: str, why: str) -> None:
    found = route(prompt, tracker, now=NOW)
    assert isinstance(found, Unsure)
    assert not why or found.why == why
    assert not {"resolve_issue", "comment"} & set(found.closest)


def test_what_the_prompt_does_not_hold_is_left_to_producers(tracker: RouterIndex) -> None:
    assert route("latest issues", tracker) == Route("find_issues", {}, ("org",), "")
    assert route("latest issues in checkout", tracker) == Route("find_issues", {}, ("org", "project"), "checkout")


def test_a_missing_argument_that_only_the_person_knows_is_said(tracker: RouterIndex) -> None:
    assert route("show the stack trace", tracker) == Unsure(("trace",), "missing_argument")


def test_two_tools_that_answer_equally_well_make_it_unsure() -> None:
    twins = compile_tools([tool("a", ["list the reports"]), tool("b", ["show my reports"])])
    assert route("give me reports", twins) == Unsure(("a", "b"), "close_race")


def test_a_write_is_no_rival_of_a_read_that_a_plain_question_is_about() -> None:
    notes = compile_tools(
        [tool("list_notes", summary="Notes."), tool("add_note", effect=Effect.WRITE, summary="Note.")]
    )
    assert route("show my notes", notes) == Route("list_notes", {}, (), "")
    assert route("add a note", notes) == Unsure(("list_notes",), "write")


def test_a_window_becomes_a_start_and_an_end_where_there_is_no_period() -> None:
    day = {"type": "string", "format": "date"}
    moment = {"type": "string", "format": "date-time"}
    sales = compile_tools([tool("sales", ["how many sales were there?"], {"start": day, "end": day})])
    visits = compile_tools([tool("visits", ["how many visits were there?"], {"since": moment})])
    assert route("how many sales yesterday?", sales, now=NOW) == Route(
        "sales", {"start": "2026-05-19", "end": "2026-05-20"}, (), ""
    )
    assert route("how many visits in the last 2 hours", visits, now=NOW) == Route(
        "visits", {"since": "2026-05-20T13:30:00Z"}, (), ""
    )


def test_a_boolean_is_set_only_when_its_words_are_there() -> None:
    shown = compile_tools([tool("files", ["list files"], {"include_deleted": {"type": "boolean"}})])
    assert route("list files", shown) == Route("files", {}, (), "")
    assert route("list files including deleted ones", shown) != Route("files", {}, (), "")


# --- tools that nobody wrote questions for ---------------------------------------------------------------------------

GENERIC = compile_tools(
    (
        tool(
            "geometry.area_triangle",
            params={"base": {"type": "integer"}, "height": {"type": "integer"}, "unit": {"type": "string"}},
            required=["base", "height"],
            summary="Calculate the area of a triangle.",
        ),
        tool(
            "get_driving_distance",
            params={"origin": {"type": "string"}, "destination": {"type": "string"}},
            required=["origin", "destination"],
            summary="Find the driving distance between two cities.",
        ),
        tool(
            "get_order_status",
            params={"order_id": {"type": "string", "pattern": "^[A-Z]{2}-[0-9]{4}$"}},
            required=["order_id"],
            summary="Show the status of an order.",
        ),
        tool(
            "sort_numbers",
            params={
                "numbers": {"type": "array", "items": {"type": "number"}},
                "order": {"type": "string", "enum": ["ascending", "descending"]},
            },
            required=["numbers", "order"],
            summary="Sort numbers in ascending or descending order.",
        ),
        tool("purge_cache", summary="Empty the page cache.", effect=Effect.DESTRUCTIVE),
    )
)


@pytest.mark.parametrize(
    ("prompt", "name", "args"),
    [
        (
            "What is the area of a triangle with base 6 and height 10?",
            "geometry.area_triangle",
            {"base": 6, "height": 10},
        ),
        (
            "What's the driving distance between New York City and Los Angeles?",
            "get_driving_distance",
            {"origin": "New York City", "destination": "Los Angeles"},
        ),
        ("status of order AB-1234", "get_order_status", {"order_id": "AB-1234"}),
        (
            "sort the numbers [3, 1, 2] in descending order",
            "sort_numbers",
            {"numbers": [3, 1, 2], "order": "descending"},
        ),
    ],
)
def test_names_and_schemas_are_enough_when_every_word_and_value_has_a_place(
    prompt: str, name: str, args: Mapping[str, Json]
) -> None:
    assert route(prompt, GENERIC) == Route(name, args, (), "")


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "America/Argentina/Buenos_Aires"])
def test_a_time_zone_is_one_value_even_where_the_tool_names_its_first_half(zone: str) -> None:
    about = "IANA name, such as America/Chicago or Europe/London"
    timezone = {"timezone": {"type": "string", "description": about}}
    index = compile_tools((tool("get_current_time", params=timezone, required=["timezone"], summary="Get the time."),))
    assert route(f"current time in {zone}", index) == Route("get_current_time", {"timezone": zone}, (), "")


@pytest.mark.parametrize(
    "prompt",
    [
        "area of a triangle with base 6",
        "area of a triangle with base 6, height 10 and depth 3",
        "area of a circle with base 6 and height 10",
        "driving distance from Paris",
        "status of order 12",
        "status of the last order",
        "what is the weather in Paris?",
        "the page cache",
    ],
)
def test_without_questions_a_gap_a_stranger_or_a_bad_value_means_not_sure(prompt: str) -> None:
    assert isinstance(route(prompt, GENERIC), Unsure)


# --- hostile input ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pattern",
    [
        r"^(a+)+$",
        r"^(a|aa)*$",
        r"^(\w*)\1$",
        r"(?=a)a",
        "[",
        "a{1,99999999999}",
        "a*" * 9,
        "a*a*(a|b)a*a*c",
        "x" * 500,
        7,
    ],
)
def test_a_pattern_that_could_run_away_is_not_run(pattern: Json) -> None:
    assert safe_pattern(pattern) is None


@pytest.mark.parametrize("pattern", [r"^[0-9]+[hdw]$", r"^[A-Z]{2}-\d{4}$", r"^(open|closed)$", r"^v?\d+\.\d+$"])
def test_a_plain_pattern_is_used(pattern: str) -> None:
    assert safe_pattern(pattern) is not None


@pytest.mark.parametrize(
    "piece",
    [
        *("a", "[[", "'", "1,", "a@", "a.a.", "A-", "last ", "_", "1.1.", "[[1],", "[ [1] , ", "./", "\"a'", "{", "é"),
        "\x00",
    ],
)
def test_no_prompt_takes_long(tracker: RouterIndex, piece: str) -> None:
    prompt = (piece * LONGEST_PROMPT)[:LONGEST_PROMPT]
    started = time.process_time()
    assert isinstance(route(prompt, tracker), Unsure)
    assert time.process_time() - started < 0.5


def test_a_slow_pattern_meets_no_long_text() -> None:
    slow = {"type": "string", "pattern": "^a*a*a*b$", "examples": ["a1"]}
    index = compile_tools([tool("show", ["show {code}"], {"code": slow}, required=["code"])])
    started = time.process_time()
    for length in range(1, 600, 7):
        route("show 1" + "a" * length + ("-" + "a" * 60) * 8, index)
    assert time.process_time() - started < 2


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": ["string", "null"]},
        {"enum": 5},
        {"enum": [None, {"a": 1}, ""]},
        {"type": "array", "items": "string"},
        {"type": "string", "examples": "x", "description": 7, "minLength": "a", "pattern": "("},
    ],
)
def test_a_schema_that_makes_no_sense_is_no_error(schema: Mapping[str, Json]) -> None:
    for asks in ([], ["list things of {kind}"]):
        index = compile_tools([tool("list_things", asks, {"kind": schema}, summary="List things of a kind.")])
        assert isinstance(route("list things of wood", index), Route | Unsure)


def test_a_prompt_too_long_for_one_request_is_not_read(tracker: RouterIndex) -> None:
    assert route("list releases " * 200, tracker) == Unsure((), "no_match")


def test_no_tools_is_not_an_error() -> None:
    assert route("list releases", compile_tools(())) == Unsure((), "no_match")


# --- the catalogue ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prompt", "name", "args", "words"),
    [
        ("why are release errors spiking?", "explain_spike", {}, ""),
        ("show me the latest issues", "search_issues", {}, ""),
        ("is the newest release healthy?", "release_health", {}, ""),
        ("how many errors in the last 24 hours?", "error_counts", {"period": "24h"}, ""),
        ("what projects do I have in Sentry?", "list_projects", {}, ""),
        ("stack trace for CHECKOUT-1A", "latest_event", {"issue": "CHECKOUT-1A"}, ""),
        ("unresolved issues assigned to me", "search_issues", {"status": "unresolved", "assigned_to": "me"}, ""),
        ("are errors going up in payments?", "error_counts", {}, "payments"),
        ("did 2.4.0 break anything?", "release_health", {"version": "2.4.0"}, ""),
        ("my open issues", "search_issues", {"assigned_to": "me"}, ""),
        (
            "show me the fatal bugs in payments that are mine",
            "search_issues",
            {"level": "fatal", "assigned_to": "me"},
            "payments",
        ),
        ("what's on my plate", "search_issues", {"assigned_to": "me"}, ""),
        ("unassigned issues in payments", "search_issues", {"assigned_to": "nobody"}, "payments"),
        ("what is assigned to ada@example.com?", "search_issues", {"assigned_to": "ada@example.com"}, ""),
        ("fixed issues in payments", "search_issues", {"status": "resolved"}, "payments"),
        ("muted issues", "search_issues", {"status": "archived"}, ""),
        ("which issues affect the most customers?", "top_issues", {"by": "users"}, ""),
        ("issues seen in shop@2.4.0", "search_issues", {"version": "shop@2.4.0"}, ""),
        ("issues first seen in shop@2.4.0", "new_issues", {"version": "shop@2.4.0"}, ""),
        ("issues seen in production", "search_issues", {"environment": "production"}, ""),
        ("list every project", "list_projects", {}, ""),
        ("what's going on in prod?", "top_issues", {"environment": "production"}, ""),
    ],
)
def test_sentry_answers_plain_questions(prompt: str, name: str, args: Mapping[str, Json], words: str) -> None:
    found = route(prompt, compile_tools(PROVIDER.tools, (PROVIDER.id, PROVIDER.title)), now=NOW)
    assert isinstance(found, Route)
    assert (found.tool, dict(found.args), found.words) == (name, dict(args), words)


@pytest.mark.parametrize(
    "prompt",
    [
        "issues seen by ada@example.com",
        "issues assigned to my team",
        "what issues do I have?",
        "his open issues",
        "my errors",
        "show every release",
        "show issue details",
        "errors by release",
    ],
)
def test_sentry_is_not_asked_what_a_small_word_makes_another_question(prompt: str) -> None:
    assert isinstance(route(prompt, compile_tools(PROVIDER.tools, (PROVIDER.id, PROVIDER.title)), now=NOW), Unsure)


def test_every_question_of_the_catalogue_reaches_its_own_tool_or_none() -> None:
    index = compile_tools(PROVIDER.tools, (PROVIDER.id, PROVIDER.title))
    filled = {"issue": "CHECKOUT-1A", "version": "shop@2.4.0", "period": "7d", "limit": "5", "project": "checkout"}
    for spec in PROVIDER.tools:
        for ask in spec.asks:
            found = route(_filled(ask, filled), index, now=NOW)
            assert isinstance(found, Unsure) or found.tool == spec.name, ask
            assert isinstance(found, Unsure) or spec.effect is Effect.READ


def _filled(ask: str, values: Mapping[str, str]) -> str:
    for name, value in values.items():
        ask = ask.replace("{" + name + "}", value)
    return ask.replace("{", "").replace("}", "")
