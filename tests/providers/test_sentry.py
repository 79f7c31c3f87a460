"""What the Sentry tools ask, and what they say about the answers."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import unquote

import pytest
from jsonschema import Draft202012Validator

from providers.catalogue import get
from providers.errors import BadArguments, Forbidden, NotFound, ToolError, Unavailable
from providers.spec import Effect, Json, ProviderSpec, Reply, Result
from tests.providers.fake_api import FakeApi

ORG = "/api/0/organizations/acme/"
VERSION, BEFORE = "checkout@2.4.0", "checkout@2.3.9"
HOUR = timedelta(hours=1)
DOCUMENT = Path(__file__).parents[3] / "shared" / "providers" / "sentry.openapi.json"


def sentry() -> ProviderSpec:
    provider = get("sentry")
    assert provider is not None
    return provider


async def call(api: FakeApi, tool: str, **args: Json) -> Result:
    spec = sentry().by_name[tool]
    args = {"org": "acme", **args} if "org" in spec.params else args
    Draft202012Validator(spec.schema).validate(args)
    return await spec.invoke(api, args)


def past(**ago: float) -> str:
    return (datetime.now(UTC) - timedelta(**ago)).isoformat().replace("+00:00", "Z")


def issue(number: int = 4501, **changes: Json) -> Json:
    return {
        "id": str(number),
        "shortId": f"CHECKOUT-{number - 4500}A",
        "title": "TypeError: cannot read 'total' of undefined",
        "culprit": "app/pay in charge",
        "permalink": f"https://acme.sentry.io/issues/{number}/",
        "level": "error",
        "status": "unresolved",
        "substatus": "escalating",
        "priority": "high",
        "project": {"id": "7", "name": "Checkout", "slug": "checkout", "platform": "python"},
        "assignedTo": {"type": "user", "id": "1", "name": "Ada Byrne", "email": "ada@acme.example"},
        "count": "1204",
        "userCount": 310,
        "firstSeen": past(hours=5),
        "lastSeen": past(minutes=5),
        "numComments": 0,
        "annotations": [],
        "metadata": {"value": "not for the answer"},
        **changes,
    }


def release(version: str, hours: float, new: int, **changes: Json) -> Json:
    return {
        "id": 1,
        "version": version,
        "shortVersion": version,
        "dateCreated": past(hours=hours),
        "dateReleased": None,
        "newGroups": new,
        "commitCount": 2,
        "deployCount": 1,
        "lastDeploy": {"environment": "production", "dateFinished": past(hours=hours)},
        "authors": [{"name": "Ada Byrne", "email": "ada@acme.example"}],
        "projects": [{"id": 7, "slug": "checkout", "name": "Checkout"}],
        "firstEvent": past(hours=hours),
        "lastEvent": past(minutes=1),
        **changes,
    }


def sessions(rates: Mapping[str, float | None], count: int = 12_400) -> Json:
    def answer(params: Mapping[str, Json]) -> Json:
        version = params["query"].removeprefix("release:")
        totals = {
            "sum(session)": count,
            "count_unique(user)": 3_100,
            "crash_free_rate(session)": rates[version],
            "crash_free_rate(user)": rates[version],
        }
        return {"groups": [{"by": {"release": version}, "totals": totals}], "intervals": []}

    return answer


def stats(recent: list[int], usual: int = 30, by_project: Mapping[str, int] | None = None) -> Json:
    """Hourly counts that end with `recent`, in the shape of stats_v2."""

    def answer(params: Mapping[str, Json]) -> Json:
        assert (params["category"], params["outcome"], params["field"]) == ("error", "accepted", "sum(quantity)")
        if params["groupBy"] == "project":
            groups = [
                {"by": {"project": int(key)}, "totals": {"sum(quantity)": count}}
                for key, count in (by_project or {"7": 900, "8": 100}).items()
            ]
            return {"groups": groups, "intervals": []}
        hours = int(params["statsPeriod"][:-1])
        now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
        counts = [usual] * (hours + 1 - len(recent)) + recent
        times = [(now - HOUR * i).isoformat() for i in reversed(range(len(counts)))]
        series = {"by": {"outcome": "accepted"}, "totals": {}, "series": {"sum(quantity)": counts}}
        return {"groups": [series], "intervals": times}

    return answer


def hits(rows: list[Json], total: int) -> Reply:
    return Reply(200, {"x-hits": str(total)}, b"", rows)


@pytest.fixture
def api() -> FakeApi:
    """An organization whose newest release went wrong four hours ago."""
    newest, before = release(VERSION, 4.2, 14), release(BEFORE, 52, 3)
    other = release("web@9.1", 20, 0, projects=[{"id": 8, "slug": "web", "name": "Web"}])
    return FakeApi(
        {
            "/api/0/organizations/": [
                {"id": "1", "slug": "acme", "name": "Acme", "status": {"id": "active"}, "features": ["x"]}
            ],
            "/api/0/users/me/": {"id": "9", "name": "Ada Byrne", "email": "ada@acme.example", "username": "ada"},
            ORG + "projects/": [
                {"id": "7", "slug": "checkout", "name": "Checkout", "platform": "python", "firstEvent": past(days=9)},
                {"id": "8", "slug": "web", "name": "Web Shop", "platform": None, "firstEvent": None},
            ],
            ORG + "issues/": hits([issue(4501), issue(4502, level="fatal", userCount=0, count="1")], 42),
            ORG + "shortids/CHECKOUT-1A/": {"groupId": "4501", "shortId": "CHECKOUT-1A", "group": issue()},
            ORG + "issues/4501/": issue(
                stats={"24h": [[1, 100], [2, 20]], "30d": []},
                firstRelease={"version": VERSION},
                lastRelease=None,
                numComments=2,
                activity=[
                    {"type": "note", "user": {"name": "Bo"}, "data": {"text": "On it"}, "dateCreated": past(hours=1)},
                    {"type": "first_seen", "user": None, "data": {}, "dateCreated": past(hours=5)},
                ],
            ),
            ORG + "issues/4501/events/latest/": event(),
            ORG + "releases/": [newest, other, before],
            ORG + "releases/checkout%402.4.0/": newest,
            ORG + "releases/checkout%402.4.0/commits/": [
                {"id": "a1b2c3d4e5f6", "message": "Charge in cents\n\nLong story", "author": {"name": "Ada Byrne"}},
                {"id": "b2c3d4e5f6a1", "message": "Bump", "author": None},
            ],
            ORG + "sessions/": sessions({VERSION: 0.964, BEFORE: 0.993, "web@9.1": 0.999}),
            ORG + "stats_v2/": stats([400, 420, 390, 410, 60]),
            f"PUT {ORG}issues/4501/": {"id": "4501", "status": "resolved", "statusDetails": {}},
            f"POST {ORG}issues/4501/comments/": {"id": "77", "type": "note", "data": {"text": "Mine"}},
        }
    )


def event() -> Json:
    frames = [
        {"function": "handle", "filename": "lib/http.py", "lineNo": 9, "inApp": False, "context": []},
        {
            "function": "charge",
            "filename": "app/pay.py",
            "lineNo": 42,
            "inApp": True,
            "context": [[41, "def charge(cart):"], [42, "    return cart.total * rate"], [43, ""]],
        },
        {"function": "<module>", "filename": "app/main.py", "lineNo": 7, "inApp": True, "context": None},
    ]
    return {
        "eventID": "e" * 32,
        "title": "TypeError: cannot read 'total' of undefined",
        "message": "",
        "dateCreated": past(minutes=5),
        "tags": [{"key": "environment", "value": "production"}, {"key": "browser", "value": "Firefox 140"}],
        "release": {"version": VERSION},
        "user": {"email": "customer@example.com", "ip_address": "192.0.2.7"},
        "entries": [
            {"type": "breadcrumbs", "data": {"values": []}},
            {
                "type": "exception",
                "data": {
                    "values": [
                        {"type": "KeyError", "value": "'total'", "stacktrace": None},
                        {"type": "TypeError", "value": "no total", "stacktrace": {"frames": frames}},
                    ]
                },
            },
        ],
    }


# --- who and where ---------------------------------------------------------------------------------------------------


async def test_it_says_whose_account_it_is(api: FakeApi) -> None:
    result = await call(api, "who_am_i")
    assert result.text == "This is the Sentry account of **Ada Byrne** (ada@acme.example)."


async def test_organizations_and_projects_are_listed_with_the_slugs_other_tools_take(api: FakeApi) -> None:
    organizations = await call(api, "list_organizations")
    assert organizations.text == "1 organization:\n- **Acme** (`acme`)"
    assert [row["slug"] for row in organizations.data] == ["acme"]
    assert "features" not in organizations.data[0]
    projects = await call(api, "list_projects")
    assert (
        projects.text
        == "2 projects:\n- **Checkout** (`checkout`), python\n- **Web Shop** (`web`), no errors received yet"
    )
    assert projects.sources[0].url == "https://sentry.io/organizations/acme/projects/checkout/"


# --- issues ----------------------------------------------------------------------------------------------------------


async def test_issues_are_said_in_a_line_each_with_how_many_more_there_are(api: FakeApi) -> None:
    result = await call(api, "search_issues", project="checkout")
    assert result.text == (
        "42 unresolved issues in checkout in the last 14 days, the latest first:\n"
        "- **CHECKOUT-1A** TypeError: cannot read 'total' of undefined "
        "(1,204 events, 310 users, last seen 5 minutes ago)\n"
        "- **CHECKOUT-2A** TypeError: cannot read 'total' of undefined (fatal, 1 event, last seen 5 minutes ago)\n"
        "- and 40 more"
    )
    assert result.sources[0].url == "https://acme.sentry.io/issues/4501/"
    assert result.sources[0].ref == "CHECKOUT-1A"
    assert set(result.data[0]["project"]) == {"slug"}
    assert "metadata" not in result.data[0]


@pytest.mark.parametrize(
    ("args", "query"),
    [
        ({}, "is:unresolved"),
        ({"status": "all"}, ""),
        ({"status": "archived"}, "is:ignored"),
        ({"assigned_to": "me", "level": "fatal"}, "is:unresolved level:fatal assigned:me"),
        ({"assigned_to": "nobody"}, "is:unresolved is:unassigned"),
        ({"assigned_to": "#payments"}, "is:unresolved assigned:#payments"),
        ({"assigned_to": "me is:resolved"}, 'is:unresolved assigned:"me is:resolved"'),
        ({"assigned_to": 'a" is:resolved "'}, 'is:unresolved assigned:"a\\" is:resolved \\""'),
        ({"query": "timeout", "project": "checkout"}, "is:unresolved timeout project:checkout"),
    ],
)
async def test_a_search_is_put_in_sentrys_words_and_no_value_adds_terms(
    api: FakeApi, args: dict[str, Json], query: str
) -> None:
    await call(api, "search_issues", **args)
    (params,) = api.params_of("/issues/")
    assert params["query"] == query
    assert (params["sort"], params["statsPeriod"], params["limit"]) == ("date", "336h", 10)


async def test_a_release_is_searched_by_its_whole_version_and_as_far_back_as_sentry_looks(api: FakeApi) -> None:
    await call(api, "search_issues", version="2.4.0")
    (params,) = api.params_of("/issues/")
    assert params["query"] == "is:unresolved release:checkout@2.4.0"
    assert params["statsPeriod"] == "2160h"


async def test_a_numbered_project_is_a_filter_of_its_own(api: FakeApi) -> None:
    await call(api, "search_issues", project="7", environment="production")
    (params,) = api.params_of("/issues/")
    assert (params["project"], params["environment"], params["query"]) == ("7", "production", "is:unresolved")


async def test_the_top_issues_are_ranked_by_events_or_by_users(api: FakeApi) -> None:
    by_events = await call(api, "top_issues")
    by_users = await call(api, "top_issues", by="users", period="1w", limit=5)
    assert by_events.text.startswith("42 unresolved issues in the last 24 hours, the ones with the most events first:")
    assert by_users.text.startswith("42 unresolved issues in the last week, the ones with the most users first:")
    asked = [(params["sort"], params["statsPeriod"], params["limit"]) for params in api.params_of("/issues/")]
    assert asked == [("freq", "24h", 10), ("user", "168h", 5)]


async def test_new_issues_are_those_first_seen_lately_or_in_a_release(api: FakeApi) -> None:
    lately = await call(api, "new_issues", period="7d")
    begun = await call(api, "new_issues", version="2.4.0")
    assert lately.text.startswith("42 issues first seen in the last 7 days, the newest first:\n- **CHECKOUT-1A**")
    assert "first seen 5 hours ago" in lately.text
    assert begun.text.startswith("42 issues first seen in release checkout@2.4.0, the ones with the most events first:")
    assert [params["query"] for params in api.params_of("/issues/")] == ["firstSeen:-7d", "firstRelease:checkout@2.4.0"]


@pytest.mark.parametrize(
    ("tool", "args", "said"),
    [
        ("search_issues", {"status": "resolved"}, "No resolved issue was seen in the last 14 days."),
        (
            "search_issues",
            {"project": "web", "level": "fatal", "assigned_to": "me"},
            "No unresolved fatal issue in web assigned to me was seen in the last 14 days.",
        ),
        ("top_issues", {"environment": "staging"}, "No unresolved issue was seen (staging) in the last 24 hours."),
        ("new_issues", {"period": "1d"}, "No issue was first seen in the last day."),
    ],
)
async def test_finding_nothing_says_what_was_looked_for(tool: str, args: dict[str, Json], said: str) -> None:
    result = await call(FakeApi({ORG + "issues/": []}), tool, **args)
    assert (result.text, result.data) == (said, [])
    assert result.sources[0].url == "https://sentry.io/organizations/acme/issues/"


async def test_a_search_sentry_refuses_says_what_to_check() -> None:
    api = FakeApi({ORG + "issues/": BadArguments("400")})
    with pytest.raises(BadArguments, match="check the name of the project"):
        await call(api, "search_issues", project="checkuot")


@pytest.mark.parametrize("name", ["CHECKOUT-1A", "checkout-1a", "4501"])
async def test_an_issue_is_found_by_short_id_or_number(api: FakeApi, name: str) -> None:
    result = await call(api, "issue_details", issue=name)
    assert result.text == (
        "**CHECKOUT-1A** TypeError: cannot read 'total' of undefined (error, unresolved, escalating)\n"
        "- 1,204 events, 310 users, 120 in the last 24 hours\n"
        "- First seen 5 hours ago in checkout@2.4.0\n"
        "- Last seen 5 minutes ago\n"
        "- Raised in app/pay in charge\n"
        "- Priority high\n"
        "- Assigned to Ada Byrne\n"
        "- 2 comments, the latest by Bo 1 hour ago: On it"
    )
    assert result.data["firstRelease"] == {"version": VERSION}


@pytest.mark.parametrize("tool", ["issue_details", "latest_event", "resolve_issue"])
async def test_an_unknown_issue_says_what_to_check(api: FakeApi, tool: str) -> None:
    with pytest.raises(NotFound, match=r"^Sentry has no such issue .* check its short id\.$"):
        await call(api, tool, issue="NOPE-1")
    assert api.sent == []


async def test_an_issue_of_which_sentry_knows_little_is_still_told() -> None:
    api = FakeApi({ORG + "issues/1/": {"id": 1, "title": "Boom", "shortId": None, "count": None, "assignedTo": None}})
    result = await call(api, "issue_details", issue="1")
    assert result.text.startswith("**1** Boom\n- 0 events, 0 users\n- First seen at an unknown time")
    assert result.text.endswith("- Assigned to nobody")
    assert result.sources[0].url == "https://sentry.io/organizations/acme/issues/1/"


async def test_a_link_that_leads_elsewhere_is_not_cited() -> None:
    api = FakeApi({ORG + "issues/": [issue(4501, permalink="https://evil.example/issues/4501/")]})
    result = await call(api, "search_issues")
    assert result.sources[0].url == "https://sentry.io/organizations/acme/issues/4501/"


async def test_the_stack_trace_is_told_from_the_line_at_fault_outwards(api: FakeApi) -> None:
    result = await call(api, "latest_event", issue="CHECKOUT-1A")
    assert result.text == (
        "The latest event of **CHECKOUT-1A**, 5 minutes ago, in release checkout@2.4.0, in production, "
        "with Firefox 140:\n"
        "**TypeError: no total**\n"
        "- `app/main.py:7` in `\u2039module\u203a`\n"
        "- `app/pay.py:42` in `charge`: `return cart.total * rate`\n"
        "Caused by **KeyError: 'total'**"
    )
    assert "customer@example.com" not in json.dumps(result.data), "who met the error is nobody's business here"


async def test_an_event_without_a_stack_trace_is_told_by_its_message(api: FakeApi) -> None:
    plain = {"eventID": "1", "message": "Queue full", "entries": None, "tags": None, "dateReceived": past(hours=2)}
    api.answers = {**api.answers, ORG + "issues/4501/events/latest/": plain}
    result = await call(api, "latest_event", issue="4501")
    assert result.text == (
        "The latest event of **CHECKOUT-1A**, 2 hours ago:\n**Queue full**\nThis event has no stack trace."
    )


# --- writes ----------------------------------------------------------------------------------------------------------


async def test_resolving_sends_one_change_and_says_so(api: FakeApi) -> None:
    result = await call(api, "resolve_issue", issue="checkout-1a")
    assert api.sent == [("PUT", ORG + "issues/4501/", {"status": "resolved"})]
    assert result.text == "Resolved **CHECKOUT-1A** TypeError: cannot read 'total' of undefined."
    assert result.data["status"] == "resolved"


async def test_an_issue_that_stays_open_is_not_called_resolved(api: FakeApi) -> None:
    api.answers = {**api.answers, f"PUT {ORG}issues/4501/": {"status": "unresolved"}}
    with pytest.raises(Unavailable, match="look at it before trying again"):
        await call(api, "resolve_issue", issue="4501")


async def test_a_comment_is_sent_as_it_is(api: FakeApi) -> None:
    result = await call(api, "comment_on_issue", issue="4501", text="See [the fix](https://x.example)\nThanks")
    assert api.sent == [("POST", ORG + "issues/4501/comments/", {"text": "See [the fix](https://x.example)\nThanks"})]
    assert result.text == "Commented on **CHECKOUT-1A** TypeError: cannot read 'total' of undefined."


def test_writes_are_declared_and_never_guess_their_issue() -> None:
    writes = {tool.name: tool for tool in sentry().tools if tool.effect is not Effect.READ}
    assert set(writes) == {"resolve_issue", "comment_on_issue"}
    for tool in writes.values():
        assert tool.scopes == {"event:write"}
        assert "issue" not in tool.producers


# --- releases --------------------------------------------------------------------------------------------------------


async def test_releases_are_listed_newest_first(api: FakeApi) -> None:
    result = await call(api, "list_releases", project="Web Shop", limit=3)
    assert result.text.splitlines()[:2] == [
        "The newest releases in Web Shop:",
        "- **checkout@2.4.0**: created 4 hours ago, 14 new issues, 2 commits, deployed to production",
    ]
    assert api.params_of("/releases/") == [{"per_page": 3, "project": "8"}], "servers filter by the project's number"
    assert result.sources[0].url == "https://sentry.io/organizations/acme/releases/checkout%402.4.0/"


async def test_an_unknown_project_is_named_as_the_trouble(api: FakeApi) -> None:
    for tool in ("list_releases", "release_health", "error_counts", "explain_spike"):
        with pytest.raises(NotFound, match="no project of that name"):
            await call(api, tool, project="nope")


@pytest.mark.parametrize("version", [VERSION, "2.4.0", "Checkout@2.4.0"])
async def test_what_is_in_a_release(api: FakeApi, version: str) -> None:
    result = await call(api, "release_details", version=version)
    assert result.text == (
        "Release **checkout@2.4.0**\n"
        "- Created 4 hours ago for checkout\n"
        "- Deployed to production 4 hours ago\n"
        "- 14 issues first seen in it\n"
        "- 2 commits by Ada Byrne\n"
        "Commits:\n"
        "- `a1b2c3d` Charge in cents (Ada Byrne)\n"
        "- `b2c3d4e` Bump"
    )
    assert "ada@acme.example" not in json.dumps(result.data)


async def test_a_version_two_packages_share_has_to_be_given_whole(api: FakeApi) -> None:
    api.answers = {**api.answers, ORG + "releases/": [release("a@1.0", 1, 0), release("b@1.0", 2, 0)]}
    for tool in ("release_details", "release_health", "new_issues", "search_issues"):
        with pytest.raises(BadArguments, match="Several releases go by that version"):
            await call(api, tool, version="1.0")
        with pytest.raises(NotFound, match="no release of that version"):
            await call(api, tool, version="7.7")


async def test_a_worse_release_is_called_worse_with_what_changed(api: FakeApi) -> None:
    result = await call(api, "release_health")
    assert result.text.startswith(
        "**checkout@2.4.0** looks worse than checkout@2.3.9, the release before it.\n"
        "- Created 4 hours ago, 47 hours after checkout@2.3.9\n"
        "- Crash-free sessions: 96.4%, down 2.9 points from 99.3%\n"
        "- Crash-free users: 96.4%, down 2.9 points from 99.3%\n"
        "- 12,400 sessions of 3,100 users in the last 30 days\n"
        "- 14 new issues, against 3 in checkout@2.3.9\n"
        "New in it, the ones with the most events first:\n"
        "- **CHECKOUT-1A** TypeError"
    )
    assert result.data["verdict"] == "worse"
    assert [source.title for source in result.sources[:2]] == [f"Release {VERSION}", f"Release {BEFORE}"]
    (search,) = api.params_of("/issues/")
    assert search["query"] == f"firstRelease:{VERSION}"


async def test_the_release_before_is_of_the_same_project(api: FakeApi) -> None:
    await call(api, "release_health")
    assert {params["query"] for params in api.params_of("/sessions/")} == {f"release:{VERSION}", f"release:{BEFORE}"}
    only = await call(api, "release_health", version="9.1")
    assert only.text.startswith("There is no release before **web@9.1** to compare it with.")


@pytest.mark.parametrize(
    ("rates", "count", "new", "verdict", "said"),
    [
        ((0.993, 0.993), 500, 0, "no worse", "looks no worse than checkout@2.3.9"),
        ((0.997, 0.993), 500, 0, "better", "looks better than checkout@2.3.9"),
        ((0.989, 0.993), 500, 0, "worse", "looks worse than checkout@2.3.9"),
        ((0.993, 0.993), 500, 6, "worse", "looks worse than checkout@2.3.9"),
        ((0.900, 0.993), 99, 0, "too early", "too few sessions of **checkout@2.4.0**"),
        ((None, None), 0, 2, "too early", "too few sessions of **checkout@2.4.0**"),
        ((None, None), 0, 6, "worse", "looks worse than checkout@2.3.9"),
    ],
)
async def test_the_verdict_follows_crash_free_sessions_and_new_issues(
    api: FakeApi, rates: tuple[float | None, float | None], count: int, new: int, verdict: str, said: str
) -> None:
    api.answers = {
        **api.answers,
        ORG + "releases/": [release(VERSION, 4, new), release(BEFORE, 50, 3)],
        ORG + "sessions/": sessions(dict(zip((VERSION, BEFORE), rates, strict=True)), count),
    }
    result = await call(api, "release_health")
    assert result.data["verdict"] == verdict
    assert said in result.text


async def test_an_organization_without_releases_is_told_so() -> None:
    api = FakeApi({ORG + "releases/": []})
    assert (await call(api, "release_health")).text.startswith("No release was found")
    assert (await call(api, "list_releases")).text == "No release was found."


# --- counts and spikes -----------------------------------------------------------------------------------------------


async def test_errors_are_counted_compared_and_the_spike_is_dated(api: FakeApi) -> None:
    result = await call(api, "error_counts")
    total = 20 * 30 + 400 + 420 + 390 + 410 + 60
    lines = result.text.splitlines()
    assert lines[0] == f"{total:,} errors in the last 24 hours, 3.0 times as many as in the 24 hours before (750)."
    assert re.fullmatch(
        r"A spike begins at (\d+ \w+ )?\d\d:00 UTC \(4 hours ago\) and is still going on: "
        r"about 405 errors an hour against 30 before, at most 420 at .* UTC\.",
        lines[1],
    )
    assert lines[2:] == ["By project:", "- checkout: 900", "- web: 100"]
    assert result.data["projects"] == {"checkout": 900, "web": 100}
    assert len(result.data["series"]) == 25


async def test_the_counts_of_one_project_are_asked_by_its_number(api: FakeApi) -> None:
    result = await call(api, "error_counts", project="checkout", period="7d")
    (params,) = api.params_of("/stats_v2/")
    assert (params["project"], params["statsPeriod"], params["interval"]) == ("7", "337h", "1h")
    assert "errors in checkout in the last 7 days" in result.text
    assert "By project" not in result.text


@pytest.mark.parametrize(
    ("period", "fetched", "interval"),
    [("1h", "49h", "1h"), ("24h", "49h", "1h"), ("30d", "1464h", "1d"), ("90d", "2160h", "1d")],
)
async def test_twice_the_period_is_fetched_by_the_hour_or_day(
    api: FakeApi, period: str, fetched: str, interval: str
) -> None:
    await call(api, "error_counts", project="7", period=period)
    (params,) = api.params_of("/stats_v2/")
    assert (params["statsPeriod"], params["interval"]) == (fetched, interval)


async def test_a_few_hours_are_counted_from_a_full_hour_that_is_named(api: FakeApi) -> None:
    result = await call(api, "error_counts", project="7", period="1h")
    assert re.match(r"470 errors in that project since (\d+ \w+ )?\d\d:00 UTC\.\nA spike begins", result.text)


@pytest.mark.parametrize("tool", ["error_counts", "explain_spike", "search_issues", "top_issues", "new_issues"])
async def test_more_days_than_sentry_keeps_are_refused(api: FakeApi, tool: str) -> None:
    with pytest.raises(BadArguments, match="ask for 90d or less"):
        await call(api, tool, period="91d")


async def test_a_spike_is_explained_by_the_release_that_came_out_as_it_began(api: FakeApi) -> None:
    result = await call(api, "explain_spike")
    lines = result.text.splitlines()
    assert lines[0].startswith("**Errors are spiking, mostly in checkout.** A spike begins at ")
    assert re.fullmatch(
        r"Release \*\*checkout@2\.4\.0\*\* came out (as it|\d+ minutes? before it) began and is the likely cause:",
        lines[1],
    )
    assert "- Crash-free sessions: 96.4%, down 2.9 points from 99.3%" in lines
    assert lines[-2].startswith("- **CHECKOUT-2A**")
    assert [source.title for source in result.sources[:3]] == [
        "Error counts",
        f"Release {VERSION}",
        f"Release {BEFORE}",
    ]
    assert result.data["comparison"]["verdict"] == "worse"


@pytest.mark.parametrize(
    ("issues", "said"),
    [
        ([], "but nothing in it looks worse: the cause may lie elsewhere."),
        ([issue()], "and may be the cause, for issues began with it:"),
    ],
)
async def test_a_release_that_looks_no_worse_is_blamed_less(api: FakeApi, issues: list[Json], said: str) -> None:
    api.answers = {
        **api.answers,
        ORG + "releases/": [release(VERSION, 6.5, 1), release(BEFORE, 90, 3)],
        ORG + "sessions/": sessions({VERSION: 0.993, BEFORE: 0.993}),
        ORG + "issues/": issues,
    }
    result = await call(api, "explain_spike", project="checkout")
    assert re.search(rf"came out [12] hours? before it began,? {re.escape(said)}", result.text)
    assert "likely cause" not in result.text


async def test_counts_without_their_times_cannot_be_read(api: FakeApi) -> None:
    api.answers = {**api.answers, ORG + "stats_v2/": {"groups": [], "intervals": []}}
    for tool in ("error_counts", "explain_spike"):
        with pytest.raises(Unavailable, match=r"^Sentry gave an answer this tool cannot read\.$"):
            await call(api, tool)


async def test_a_release_of_another_project_is_not_blamed(api: FakeApi) -> None:
    api.answers = {
        **api.answers,
        ORG + "releases/": [release("web@9.2", 4.2, 9, projects=[{"id": 8}]), release(BEFORE, 90, 3)],
    }
    result = await call(api, "explain_spike")
    assert "web@9.2" not in result.text
    assert "No release came out in the day before." in result.text


async def test_a_spike_without_a_release_names_the_issue_that_began_with_it(api: FakeApi) -> None:
    api.answers = {**api.answers, ORG + "releases/": []}
    began = await call(api, "explain_spike", project="checkout")
    assert (
        "No release came out in the day before. **CHECKOUT-1A**, first seen 5 hours ago, began with it." in began.text
    )
    api.answers = {**api.answers, ORG + "issues/": [issue(firstSeen=past(days=30))]}
    older = await call(api, "explain_spike", project="checkout")
    assert "No release came out in the day before, so look for a change outside the code." in older.text
    first = api.params_of("/issues/")[0]
    assert "statsPeriod" not in first
    assert first["start"] < first["end"]


async def test_without_a_spike_the_newest_release_is_compared_all_the_same(api: FakeApi) -> None:
    api.answers = {**api.answers, ORG + "stats_v2/": stats([31, 29])}
    result = await call(api, "explain_spike", period="24h")
    assert result.text.startswith(
        "Errors are not spiking: 750 errors in the last 24 hours, about as many as in the 24 hours before (750).\n"
        "**checkout@2.4.0** looks worse than checkout@2.3.9"
    )


@pytest.mark.parametrize(("tool", "together"), [("release_health", 3), ("error_counts", 3), ("explain_spike", 5)])
async def test_calls_that_do_not_wait_for_one_another_run_together(api: FakeApi, tool: str, together: int) -> None:
    class Counting(FakeApi):
        now = most = 0

        async def get(self, path: str, params: Mapping[str, Json] | None = None) -> Reply:
            self.now += 1
            self.most = max(self.most, self.now)
            for _ in range(5):
                await asyncio.sleep(0)  # lets every call that is ready begin
            self.now -= 1
            return await super().get(path, params)

    counting = Counting(api.answers)
    await call(counting, tool)
    assert counting.most == together


async def test_one_refused_part_refuses_the_whole(api: FakeApi) -> None:
    api.answers = {**api.answers, ORG + "sessions/": Forbidden("The provider does not allow this account to do that.")}
    with pytest.raises(Forbidden):
        await call(api, "explain_spike")


# --- hostile and documented answers ----------------------------------------------------------------------------------

EVIL = "Boom\x1b[31m\n# [see](http://evil.example/x) ![i](https://evil.example/i.png) <img src=x> \u202e`"
SAFE_KEYS = {
    "id",
    "groupId",
    "version",
    "dateCreated",
    "firstSeen",
    "lastSeen",
    "dateFinished",
    "status",
    "slug",
    "key",
}


def poisoned(value: Json, key: str = "") -> Json:
    """The same answer, its free texts replaced by the worst there is."""
    if isinstance(value, dict):
        return {name: poisoned(each, name) for name, each in value.items()}
    if isinstance(value, list):
        return [poisoned(each, key) for each in value]
    return EVIL if isinstance(value, str) and key not in SAFE_KEYS and not value.isdecimal() else value


async def test_no_foreign_text_reaches_a_reader_with_its_force(api: FakeApi) -> None:
    def evil(answer: Json) -> Json:
        if callable(answer):
            return answer
        return Reply(200, answer.headers, b"", poisoned(answer.data)) if isinstance(answer, Reply) else poisoned(answer)

    api.answers = {path: evil(answer) for path, answer in api.answers.items()}
    args = {"issue": "CHECKOUT-1A", "version": VERSION, "text": "x"}
    for tool in sentry().tools:
        result = await call(api, tool.name, **{name: args[name] for name in tool.required & set(args)})
        shown = [result.text, *(source.title for source in result.sources)]
        for text in shown:
            assert not re.search(r"\]\(|<img|://|[\x00-\x09\x0b-\x1f\u202e]", text), (tool.name, text)
        assert all((source.url or "").startswith("https://sentry.io/") for source in result.sources)


@pytest.fixture(scope="module")
def document() -> Json:
    """Sentry's own description of its API."""
    if not DOCUMENT.exists():
        pytest.skip(f"{DOCUMENT.name} is not beside the checkout")
    return json.loads(DOCUMENT.read_text())


def operation(document: Json, method: str, path: str) -> tuple[str, Json]:
    segments = path.split("/")
    for template, methods in sorted(document["paths"].items(), key=lambda item: item[0].count("{")):
        parts = template.split("/")
        same = len(parts) == len(segments) and all(
            part.startswith("{") or part == segment for part, segment in zip(parts, segments, strict=True)
        )
        if same and method in methods:
            return template, methods[method]
    return path, None


@pytest.mark.needs_shared
async def test_only_documented_paths_parameters_and_values_are_asked(api: FakeApi, document: Json) -> None:
    args = {"issue": "CHECKOUT-1A", "version": VERSION, "text": "x"}
    for tool in sentry().tools:
        await call(api, tool.name, **{name: args[name] for name in tool.required & set(args)})
    undocumented = {"/api/0/users/me/", f"{ORG}issues/4501/comments/"}
    calls = [("get", path, params) for path, params in api.asked]
    calls += [(method.lower(), path, {}) for method, path, _ in api.sent]
    for method, path, params in calls:
        template, found = operation(document, method, path)
        assert (found is None) == (path in undocumented), path
        known = {each["name"]: each for each in (found or {}).get("parameters", []) if each["in"] == "query"}
        for name, value in params.items():
            assert name in known, f"{name} of {template}"
            schema = known[name]["schema"]
            values = value if isinstance(value, list) else [value]
            options = schema.get("items", schema).get("enum")
            assert not options or set(values) <= set(options), f"{name}={value} of {template}"


@pytest.mark.needs_shared
async def test_the_scopes_of_a_read_are_ones_each_of_its_calls_accepts(api: FakeApi, document: Json) -> None:
    args = {"issue": "CHECKOUT-1A", "version": VERSION, "text": "x"}
    for tool in sentry().tools:
        api.asked.clear()
        api.sent.clear()
        await call(api, tool.name, **{name: args[name] for name in tool.required & set(args)})
        needed: set[str] = set()
        for method, path in [("get", path) for path, _ in api.asked] + [(m.lower(), path) for m, path, _ in api.sent]:
            _, found = operation(document, method, path)
            accepted = set((found or {}).get("security", [{}])[0].get("auth_token", []))
            assert not accepted or accepted & tool.scopes, f"{tool.name} may not {method} {unquote(path)}"
            needed |= accepted & tool.scopes
        assert needed == tool.scopes or tool.name in {"who_am_i", "new_issues", "list_releases"}


@pytest.mark.needs_shared
async def test_sentrys_own_examples_are_understood(document: Json) -> None:
    def example(path: str) -> Json:
        _, found = operation(document, "get", unquote(path))
        if found is None:
            return {"id": "1", "name": "Raj"}
        content = found["responses"]["200"]["content"]["application/json"]
        return next(iter(content["examples"].values()))["value"] if "examples" in content else content["example"]

    class Documented(FakeApi):
        def _answer(self, key: str) -> Json:
            return example(key)

    args = {"issue": "PUMP-STATION-1", "version": "frontend@1.0.0", "text": "x"}
    for tool in sentry().tools:
        if tool.effect is not Effect.READ:
            continue
        try:
            result = await call(Documented(), tool.name, **{name: args[name] for name in tool.required & set(args)})
        except ToolError as error:
            pytest.fail(f"{tool.name}: {error}")
        assert result.text
