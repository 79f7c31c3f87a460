"""Without a model the closest reads hold what is asked, and are never narrowed by what nobody meant."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from metaagent.agent.catalog import read_catalog
from metaagent.agent.reads import Read, best_reads
from metaagent.agent.router import compile_tools
from providers.catalogue.sentry import PROVIDER
from providers.spec import Api, Args, Effect, Json, Producer, Result, ToolSpec

NOW = datetime(2026, 5, 20, 15, 30, tzinfo=UTC)
TOOLS = PROVIDER.tools
ROUTER, CATALOG = compile_tools(TOOLS, (PROVIDER.id, PROVIDER.title)), read_catalog(TOOLS)


def reads(prompt: str, most: int = 3) -> tuple[Read, ...]:
    return best_reads(prompt, TOOLS, ROUTER, CATALOG, most=most, now=NOW)


def found(prompt: str) -> list[tuple[str, Mapping[str, Json], str]]:
    return [(read.tool, read.args, read.words) for read in reads(prompt)]


@dataclass(frozen=True)
class Need:
    """Records that a prompt asks for: any of these tools, these words, and these arguments, no others but `also`."""

    tools: Sequence[str]
    words: str
    also: Sequence[str]
    args: Mapping[str, Json]

    def is_met_by(self, read: Read) -> bool:
        takes = PROVIDER.by_name[read.tool].params if read.tool in self.tools else {}
        wanted = {name: value for name, value in self.args.items() if name in takes}
        held = all(read.args.get(name) in (v if isinstance(v, tuple) else (v,)) for name, v in wanted.items())
        narrowed = read.args.keys() - self.args.keys() - set(self.also)
        return read.tool in self.tools and held and not narrowed and self.words in read.words


def need(tools: str, words: str = "", also: str = "", /, **args: Json) -> Need:
    return Need(tools.split("|"), words, also.split(), args)


ASKED: tuple[tuple[str, *tuple[Need, ...]], ...] = (
    ("What's going on with CHECKOUT-1A and how do I fix it?", need("issue_details|latest_event", issue="CHECKOUT-1A")),
    (
        "compare error counts of checkout-api and storefront last week",
        need("error_counts", "checkout-api", period="7d"),
        need("error_counts", "storefront", period="7d"),
    ),
    (
        "the top 5 errors and the newest release",
        need("top_issues", limit=5),
        need("list_releases|release_details|release_health", "", "limit"),
    ),
    ("Summarize what is broken in production today", need("top_issues", environment="production", period="24h")),
    ("who broke checkout?", need("release_health|explain_spike|new_issues|top_issues|list_releases", "checkout")),
    ("did anything get worse since the last deploy", need("release_health|new_issues")),
    (
        "give me stack traces for CHECKOUT-1A, CHECKOUT-2B and CHECKOUT-3C",
        need("latest_event", issue="CHECKOUT-1A"),
        need("latest_event", issue="CHECKOUT-2B"),
        need("latest_event", issue="CHECKOUT-3C"),
    ),
    (
        "show the unresolved fatal issues assigned to ada@example.com",
        need("search_issues", status="unresolved", level="fatal", assigned_to="ada@example.com"),
    ),
    (
        "Is checkout-api@5.2.1 safe to keep or should we roll it back?",
        need("release_health", version="checkout-api@5.2.1"),
    ),
    ("which commits are in the newest release and who wrote them?", need("release_details")),
    (
        "How many errors did we have in storefront over the last 24 hours compared to the day before?",
        need("error_counts", "storefront", period="24h"),
    ),
    ("why did errors jump yesterday in mobile-app?", need("explain_spike", "mobile-app", period=("48h", "2d"))),
    ("List our projects and the top issue of each", need("list_projects"), need("top_issues")),
    ("what should I work on first this morning?", need("top_issues|search_issues", "", "period")),
    ("anything new since the last release?", need("new_issues|release_health")),
    (
        "Write a short status report about checkout for my boss",
        need("top_issues|error_counts|search_issues|release_health", "checkout"),
    ),
    (
        "what are the worst problems for users in online-banking this week",
        need("top_issues", "online-banking", "by", period="7d"),
    ),
    ("who is working on LEDGER-7 and when did it start?", need("issue_details", issue="LEDGER-7")),
    ("find issues mentioning deadlock in ledger", need("search_issues", "ledger", query="deadlock")),
    (
        "has KeyError been seen again in checkout-api",
        need("search_issues|new_issues|top_issues", "checkout-api", "query"),
    ),
    (
        "show resolved issues of the last 2 weeks in search",
        need("search_issues", "search", status="resolved", period="14d"),
    ),
    ("are we getting more errors than last week", need("error_counts|explain_spike", "", "period")),
    ("which release introduced CHECKOUT-4F?", need("issue_details|latest_event", issue="CHECKOUT-4F")),
    ("compare the crash-free rate of the last two releases", need("release_health")),
    ("which of the open issues in dispatch-web hit the most users?", need("top_issues", "dispatch-web", "by")),
    (
        "tell me everything about release storefront@3.1.0",
        need("release_details|release_health", version="storefront@3.1.0"),
    ),
    ("Explain the error spike last week and name the commit that caused it", need("explain_spike", period="7d")),
    ("list all organizations with their projects", need("list_organizations"), need("list_projects")),
    ("latest error in staging and its stack trace", need("search_issues", environment="staging")),
    ("do we have open warnings in tracking-api?", need("search_issues", "tracking-api", "status", level="warning")),
    (
        "CHECKOUT-1A and CHECKOUT-9Z: are they the same bug?",
        need("issue_details|latest_event", issue="CHECKOUT-1A"),
        need("issue_details|latest_event", issue="CHECKOUT-9Z"),
    ),
    (
        "error trend for ledger vs risk-engine over the last 30 days",
        need("error_counts", "ledger", period="30d"),
        need("error_counts", "risk-engine", period="30d"),
    ),
    (
        "Which deploy is responsible for the crashes in route-planner?",
        need("explain_spike|release_health", "route-planner"),
    ),
    (
        "show me what went wrong in staging in the past 12 hours",
        need("top_issues|search_issues", environment="staging", period="12h"),
    ),
    (
        "newest releases of mobile-app, and how healthy the last one is",
        need("list_releases", "mobile-app"),
        need("release_health"),
    ),
    ("any new issues in storefront@2.9.0?", need("new_issues", version="storefront@2.9.0")),
    ("who committed to checkout-api@4.0.3", need("release_details", version="checkout-api@4.0.3")),
    ("how are we doing compared to last month", need("error_counts|release_health|explain_spike", "", "period")),
    (
        "give me the ten most frequent exceptions in dispatch-web and the trace of DISPATCH-WEB-3",
        need("top_issues", "dispatch-web", limit=10),
        need("latest_event", issue="DISPATCH-WEB-3"),
    ),
    ("unassigned issues in the checkout project", need("search_issues", "checkout", "assigned_to")),
    ("my open issues", need("search_issues", "", "status", assigned_to="me")),
    ("which of my bugs in storefront are fatal?", need("search_issues", "storefront", level="fatal", assigned_to="me")),
    ("which service is the loudest this week?", need("error_counts|top_issues", period="7d")),
    (
        "any NullPointerExceptions in ledger in the last 24h?",
        need("search_issues", "ledger", query="NullPointerException", period="24h"),
    ),
    (
        "show all ZeroDivisionError and ValueError issues",
        need("search_issues", query="ZeroDivisionError"),
        need("search_issues", query="ValueError"),
    ),
    (
        "django.db.utils.OperationalError in ledger",
        need("search_issues", "ledger", query="django.db.utils.OperationalError"),
    ),
    ("what's bruno@example.com got on his desk", need("search_issues", assigned_to="bruno@example.com")),
    ("hows prod looking", need("search_issues|top_issues", environment="production")),
    ("what keeps crashing in ledger", need("top_issues", "ledger")),
    ("is something burning or on fire in mobile-app", need("top_issues", "mobile-app")),
    ("which teams' services report errors here and which frameworks are they on?", need("list_projects")),
    (
        "did the volume go up over the last 3 days compared to the 3 days before?",
        need("error_counts", period=("3d", "72h")),
    ),
    ("anything in sentry about a memory leak?", need("search_issues", query="memory leak")),
    ("is SEARCH-12 still happening?", need("issue_details|latest_event", issue="SEARCH-12")),
    ("list archived issues", need("search_issues", status="archived")),
    (
        "why are there so many timeouts in the ledger since the last release",
        need("explain_spike|release_health|new_issues", "ledger"),
    ),
    ("what did we ship this week", need("list_releases|release_details")),
    (
        "summarise all issues about payments from the last 3 days",
        need("search_issues", "", "status", query="payments", period="3d"),
    ),
    ("which customers are affected by CHECKOUT-77?", need("issue_details", issue="CHECKOUT-77")),
    (
        "debug level issues in production of tracking-api",
        need("search_issues", "tracking-api", level="debug", environment="production"),
    ),
    ("was the rollout of ledger@7.1.0 ok? any regressions?", need("release_health", version="ledger@7.1.0")),
    (
        "please give me an overview of the errors in online-banking, grouped by release",
        need("error_counts|top_issues|search_issues|new_issues|explain_spike", "online-banking"),
    ),
    (
        "Which project had the most errors in the last 7 days, and what is its top issue?",
        need("error_counts", period="7d"),
        need("top_issues", "", "period"),
    ),
    ("show stack trace for the worst error in storefront", need("top_issues", "storefront")),
    ("who am I and what can I see here?", need("who_am_i")),
    ("get me the issue with number 4509812 and its last event", need("issue_details|latest_event", issue="4509812")),
    (
        "Did the number of errors go down after we deployed search@1.4.2?",
        need("error_counts|release_health|explain_spike", "", "version"),
    ),
    ("fatal or warning issues today", need("search_issues", period="24h")),
    ("how long has ROUTE-PLANNER-5 been open and who owns it", need("issue_details", issue="ROUTE-PLANNER-5")),
    ("Give me a summary of the last 5 releases and their new issues", need("list_releases", limit=5)),
    (
        "top issues in checkout-api, storefront and mobile-app",
        need("top_issues", "checkout-api"),
        need("top_issues", "storefront"),
        need("top_issues", "mobile-app"),
    ),
    ("what do people complain about in the mobile app lately?", need("top_issues|search_issues|new_issues", "mobile")),
    ("what are the three biggest issues in ledger right now, and are they new?", need("top_issues", "ledger", limit=3)),
    (
        "Who is assigned to ONLINE-BANKING-2K and what does its stack trace look like?",
        need("issue_details", issue="ONLINE-BANKING-2K"),
        need("latest_event", issue="ONLINE-BANKING-2K"),
    ),
    (
        "How healthy are storefront and mobile-app after their latest releases?",
        need("release_health", "storefront"),
        need("release_health", "mobile-app"),
    ),
    (
        "errors in production in the last 6 hours, worst first",
        need("top_issues|search_issues", environment="production", period="6h"),
    ),
    (
        "did storefront@3.0.1 introduce new errors, or were they there before?",
        need("new_issues|release_health", version="storefront@3.0.1"),
    ),
    (
        "Please prepare a list of resolved issues from the last 30 days for the dispatch-web retro",
        need("search_issues", "dispatch-web", status="resolved", period="30d"),
    ),
    (
        "which commits went out with tracking-api@1.9.0 and did crashes increase?",
        need("release_details|release_health", version="tracking-api@1.9.0"),
    ),
    (
        "is the error rate of risk-engine going up since yesterday",
        need("error_counts|explain_spike", "risk-engine", "period"),
    ),
    (
        "RISK-ENGINE-3: when did we first see this and how many users are affected?",
        need("issue_details", issue="RISK-ENGINE-3"),
    ),
    (
        "show me issues assigned to me and everything assigned to bruno@example.com",
        need("search_issues", assigned_to="bruno@example.com"),
    ),
    (
        "what is new in checkout since this morning",
        need("new_issues|search_issues|list_releases", "checkout", "period"),
    ),
    ("Which release caused the spike in route-planner and who authored it?", need("explain_spike", "route-planner")),
    ("list projects and organizations I can access", need("list_projects"), need("list_organizations")),
    (
        "find all issues about deadlock in the ledger project and rank them by users",
        need("search_issues", "ledger", query="deadlock"),
    ),
    ("give me an error count per project for the last 14 days", need("error_counts", period="14d")),
    (
        "Compare storefront@3.0.1 with storefront@3.0.0",
        need("release_health|release_details", version="storefront@3.0.1"),
    ),
    ("what happened in staging last night?", need("top_issues|search_issues", "", "period", environment="staging")),
    (
        "Can you dig into CHECKOUT-API-7F? I need the root cause.",
        need("issue_details|latest_event", issue="CHECKOUT-API-7F"),
    ),
    (
        "are there fatal errors in mobile-app that nobody is working on?",
        need("search_issues", "mobile-app", "assigned_to", level="fatal"),
    ),
    ("show the last 3 releases of search with their health", need("list_releases|release_health", "search", "limit")),
    (
        "why do users of online-banking see so many failures this week",
        need("explain_spike|top_issues", "online-banking", "by", period="7d"),
    ),
    ("show errors that are not in checkout-api", need("search_issues|top_issues")),
    ("who is this account and which organizations does it have?", need("who_am_i"), need("list_organizations")),
    ("draft a release note for ledger@7.2.0 from its commits", need("release_details", version="ledger@7.2.0")),
    ("I got paged: what broke in the last hour?", need("top_issues|search_issues|new_issues", period="1h")),
    (
        "trending issues in storefront, with details for the first",
        need("top_issues|search_issues|error_counts", "storefront"),
    ),
    (
        "what's the crash free rate for mobile-app and the number of new issues in its newest release",
        need("release_health", "mobile-app"),
    ),
    (
        "any warnings in staging over the past 2 days",
        need("search_issues", level="warning", environment="staging", period=("2d", "48h")),
    ),
    ("explain LEDGER-19 like I'm five", need("issue_details|latest_event", issue="LEDGER-19")),
    (
        "when was the last deploy of dispatch-web and did it break something",
        need("list_releases|release_health", "dispatch-web"),
    ),
    (
        "give me the newest five errors from mobile-app and tell me which version they came with",
        need("search_issues|new_issues", "mobile-app", limit=5),
    ),
    ("Is anything on fire in production?", need("top_issues|search_issues", environment="production")),
    ("Has STOREFRONT-3A been fixed, and in which release?", need("issue_details", issue="STOREFRONT-3A")),
    (
        "show releases of checkout-api and the commits in checkout-api@6.0.0",
        need("list_releases", "checkout-api"),
        need("release_details", version="checkout-api@6.0.0"),
    ),
    (
        "what are the top issues for users in the last 48 hours in search",
        need("top_issues", "search", "by", period=("48h", "2d")),
    ),
    ("crash rate of ledger@7.0.0 vs ledger@6.9.9", need("release_health", version="ledger@7.0.0")),
    (
        "explain what is going on with errors in route-planner",
        need("explain_spike|error_counts|search_issues|top_issues", "route-planner"),
    ),
    ("how many errors per project, and which project is the worst", need("error_counts")),
    (
        "which unresolved issues does online-banking have that started this week?",
        need("search_issues|new_issues", "online-banking", "status", period="7d"),
    ),
    ("details and stack trace of TRACKING-API-9", need("issue_details|latest_event", issue="TRACKING-API-9")),
    ("what was deployed yesterday?", need("list_releases|release_details")),
    (
        "issues assigned to chioma@example.com in risk-engine",
        need("search_issues", "risk-engine", assigned_to="chioma@example.com"),
    ),
    ("Did dispatch-web get less stable after the newest release?", need("release_health", "dispatch-web")),
    (
        "fatal errors this month, newest first, for the ledger project",
        need("search_issues", "ledger", level="fatal", period="30d"),
    ),
    ("what platforms are our projects on and how many are there?", need("list_projects")),
    (
        "top 3 problems in storefront and top 3 problems in mobile-app",
        need("top_issues", "storefront", limit=3),
        need("top_issues", "mobile-app", limit=3),
    ),
    (
        'find issues containing "deadlock detected" and show who owns them',
        need("search_issues", query="deadlock detected"),
    ),
    (
        "Summarise release tracking-api@1.8.2 for management",
        need("release_details|release_health", version="tracking-api@1.8.2"),
    ),
    ("are errors in staging rising?", need("error_counts|explain_spike|search_issues", "", "environment")),
    (
        "I see RISK-ENGINE-8 and RISK-ENGINE-9 a lot, what are they about?",
        need("issue_details|latest_event", issue="RISK-ENGINE-8"),
        need("issue_details|latest_event", issue="RISK-ENGINE-9"),
    ),
)

NOTHING = (
    "tell me a joke",
    "what's the weather in Paris tomorrow?",
    "hello",
    "thanks!",
    "write a poem about autumn",
    "who won the world cup",
    "what is the capital of France?",
    "how do I cook rice?",
    "translate hello to French",
    "book a flight to Rome",
    "what time is it",
    "",
    "?!",
    "\ud800\x00",
    "a" * 5_000,
)


def test_nine_of_ten_questions_have_their_records_among_the_reads() -> None:
    missed = [prompt for prompt, *needs in ASKED if not all(any(map(n.is_met_by, reads(prompt))) for n in needs)]
    assert len(missed) <= 0.1 * len(ASKED), missed


@pytest.mark.parametrize("prompt", NOTHING)
def test_what_has_nothing_to_do_with_the_provider_is_not_read_for(prompt: str) -> None:
    assert reads(prompt) == ()


@pytest.mark.parametrize(
    "prompt",
    ["resolve CHECKOUT-1A", "comment on CHECKOUT-1A: done", "create a project called shop", "delete all issues please"],
)
def test_a_change_is_neither_made_nor_looked_for(prompt: str) -> None:
    assert reads(prompt) == ()


def test_how_something_could_be_changed_is_a_question() -> None:
    assert ("issue_details", {"issue": "CHECKOUT-1A"}, "") in found("how do I resolve CHECKOUT-1A?")


def test_only_reads_of_the_given_tools_are_named() -> None:
    writes = {tool.name for tool in TOOLS if tool.effect is not Effect.READ}
    assert not any(read.tool in writes for prompt, *_ in ASKED for read in reads(prompt))
    assert all(name != "send_email" for name, _, _ in office("how can I send an email to ann@example.com?"))
    fewer = [tool for tool in TOOLS if tool.name != "issue_details"]
    assert all(r.tool != "issue_details" for r in best_reads("what is CHECKOUT-1A about?", fewer, ROUTER, CATALOG))


@pytest.mark.parametrize(
    "prompt",
    [
        "which issues aren't resolved?",
        "non-fatal issues",
        "errors older than last week",
        "issues not seen in the last 7 days",
        "show all issues other than CHECKOUT-1A",
        "errors except in checkout",
        "fatal or warning errors",
        "issues of the last few days",
        "errors before yesterday",
        "issues of the last days",
        "issues assigned to my team",
        "issues reported by ada@example.com",
        "what should they fix first in these issues?",
    ],
)
def test_what_is_not_surely_meant_filters_nothing(prompt: str) -> None:
    assert found(prompt)
    assert all((args, words) == ({}, "") for _, args, words in found(prompt))


def test_a_number_that_bounds_something_is_no_limit() -> None:
    assert all("limit" not in args for _, args, _ in found("issues with less than 3 users in checkout"))
    assert any(args.get("limit") == 3 for _, args, _ in found("top 3 issues in checkout"))


def test_a_stretch_that_has_ended_is_held_by_a_longer_one() -> None:
    assert found("how many errors did we have yesterday?")[0] == ("error_counts", {"period": "48h"}, "")
    assert found("how many errors were there in the previous week?")[0][1] == {"period": "14d"}


def test_several_ids_are_as_many_reads_and_no_more_than_asked_for() -> None:
    prompt = "give me stack traces for CHECKOUT-1A, CHECKOUT-2B, CHECKOUT-3C and CHECKOUT-4D"
    assert found(prompt) == [("latest_event", {"issue": f"CHECKOUT-{n}"}, "") for n in ("1A", "2B", "3C")]
    assert [len(reads(prompt, most)) for most in (0, 1, 2)] == [0, 1, 2]


def test_names_side_by_side_are_as_many_reads() -> None:
    assert found("compare error counts of checkout-api and storefront last week") == [
        ("error_counts", {"period": "7d"}, "checkout-api"),
        ("error_counts", {"period": "7d"}, "storefront"),
    ]

    assert found("how healthy are storefront and mobile-app after their latest releases?")[:2] == [
        ("release_health", {}, "storefront"),
        ("release_health", {}, "mobile-app"),
    ]


def test_a_read_that_needs_what_nobody_named_is_left_out() -> None:
    assert all(name != "latest_event" for name, _, _ in found("show the stack trace of the latest issue"))


def test_each_part_of_a_prompt_has_its_own_read_with_its_own_values() -> None:
    assert found("the top 5 errors and the newest release")[:2] == [
        ("top_issues", {"limit": 5}, ""),
        ("list_releases", {}, ""),
    ]
    assert found("fatal errors in checkout; releases of billing")[:2] == [
        ("search_issues", {"level": "fatal"}, "checkout"),
        ("list_releases", {}, "billing"),
    ]


# --- tools that nobody wrote questions for ---------------------------------------------------------------------------


async def _nothing(_api: Api, _args: Args) -> Result:
    return Result(None, "")


def tool(
    name: str,
    summary: str,
    params: Mapping[str, Mapping[str, Json]] | None = None,
    *,
    required: Sequence[str] = (),
    producers: Mapping[str, Producer] | None = None,
    effect: Effect = Effect.READ,
) -> ToolSpec:
    return ToolSpec(
        name=name,
        summary=summary,
        invoke=_nothing,
        params=params or {},
        required=frozenset(required),
        producers=producers or {},
        effect=effect,
    )


TEXT = {"type": "string"}
OFFICE = (
    tool("search_emails", "Search emails in the inbox.", {"query": TEXT, "sender": TEXT}, required=["query"]),
    tool("list_unread_emails", "List the emails that are unread.", {"limit": {"type": "integer", "minimum": 1}}),
    tool("get_invoice", "Get an invoice.", {"invoice_id": TEXT}, required=["invoice_id"]),
    tool(
        "list_events",
        "List the calendar events of a calendar.",
        {
            "calendar": TEXT,
            "since": {"type": "string", "format": "date"},
            "until": {"type": "string", "format": "date"},
            "kind": {"type": "string", "enum": ["meeting", "holiday"]},
        },
        required=["calendar"],
        producers={"calendar": Producer("list_calendars", "id")},
    ),
    tool("list_calendars", "List all calendars."),
    tool("get_distance", "Get the driving distance between two cities.", {"origin": TEXT, "destination": TEXT}),
    tool("send_email", "Send an email.", {"recipient": TEXT}, effect=Effect.WRITE),
)


def office(prompt: str) -> list[tuple[str, Mapping[str, Json], str]]:
    found = best_reads(prompt, OFFICE, compile_tools(OFFICE), read_catalog(OFFICE), now=NOW)
    return [(read.tool, read.args, read.words) for read in found]


@pytest.mark.parametrize(
    ("prompt", "first"),
    [
        ("show me the invoice INV-2041", ("get_invoice", {"invoice_id": "INV-2041"}, "")),
        ("list the last 5 unread emails", ("list_unread_emails", {"limit": 5}, "")),
        ('search my emails for "budget draft"', ("search_emails", {"query": "budget draft"}, "")),
        ("driving distance from Boston to Denver", ("get_distance", {"origin": "Boston", "destination": "Denver"}, "")),
        ("list my calendars", ("list_calendars", {}, "")),
    ],
)
def test_a_tool_without_questions_is_found_by_its_name_and_summary(
    prompt: str, first: tuple[str, Mapping[str, Json], str]
) -> None:
    assert office(prompt)[0] == first


def test_its_required_arguments_come_from_the_prompt_or_from_a_producer() -> None:
    assert ("get_invoice", {}, "") not in office("show me the invoice")
    tool_name, args, _ = office("calendar events of the last 2 days")[0]
    assert (tool_name, args) == ("list_events", {"since": "2026-05-18"})


@pytest.mark.parametrize("prompt", [*NOTHING, "send an email to bob@example.com"])
def test_nothing_is_made_of_what_is_about_something_else(prompt: str) -> None:
    assert office(prompt) == []


def test_hostile_tools_are_read() -> None:
    hostile = (
        tool("", ""),
        tool("...", "x" * 50_000),
        tool("show_errors", "Show errors.", {"": {}, "p": {"enum": 7, "type": ["string"]}, "q": {"pattern": "(a+)+$"}}),
        tool("show_errors", "The same name again."),
    )
    found = best_reads(
        "show errors of aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!", hostile, compile_tools(hostile), read_catalog(hostile)
    )
    assert {read.tool for read in found} <= {"show_errors"}
    assert best_reads("show errors", (), compile_tools(()), read_catalog(())) == ()


# --- speed -----------------------------------------------------------------------------------------------------------


def test_a_question_costs_a_few_milliseconds_at_most() -> None:
    """In time of this thread, the best of several: a clock would measure the machine."""
    costs = []
    for prompt, *_ in ASKED[::4]:
        tries = []
        for _ in range(3):
            began = time.thread_time()
            reads(prompt)
            tries.append(time.thread_time() - began)
        costs.append(min(tries))
    assert sorted(costs)[int(0.95 * len(costs))] < 0.008
