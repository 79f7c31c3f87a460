"""The sandbox's API answers as Sentry would, from a world that holds together."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import quote

import httpx2
import pytest

from providers.sandbox.app import SandboxOptions, create_app
from providers.sandbox.records import World, generate

from .conftest import NOW, browser
from .visitor import ADA, BRUNO, CHIOMA, READ, Json, Visitor

ACME = "organizations/acme/"
BAD, BEFORE = "checkout-api@2.14.0", "checkout-api@2.13.1"


@pytest.fixture
async def tokens(visitor: Visitor) -> dict[str, Any]:
    return await visitor.connect()


async def every_page(visitor: Visitor, tokens: dict[str, Any], path: str, **params: Json) -> list[Any]:
    """Follow the `Link` header to the end."""
    rows: list[Any] = []
    answer = await visitor.api(tokens, path, **params)
    while True:
        assert answer.status_code == 200, answer.text
        rows += answer.json()
        following = answer.links["next"]
        if following["results"] == "false":
            return rows
        bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
        answer = await visitor.http.get(following["url"], headers=bearer)


def test_the_same_seed_and_hour_make_the_same_world_and_it_is_large() -> None:
    def told(world: World) -> list[tuple[str, str, int, int]]:
        return [(issue.short_id, issue.title, issue.events, issue.last_seen) for issue in world.organizations[0].issues]

    world = generate(1, NOW)
    assert told(world) == told(generate(1, NOW))
    assert told(world) != told(generate(2, NOW))
    assert len(world.organizations) >= 3
    assert all(len(org.projects) >= 3 for org in world.organizations)
    assert sum(len(org.issues) for org in world.organizations) >= 2000
    assert sum(len(org.releases) for org in world.organizations) >= 60
    assert world.ends - world.starts == timedelta(days=90).total_seconds()


@pytest.mark.parametrize(("email", "slugs"), [(ADA, 1), (BRUNO, 2), (CHIOMA, 3)])
async def test_people_see_their_organizations_alone(visitor: Visitor, email: str, slugs: int) -> None:
    tokens = await visitor.connect(email)
    seen = [org["slug"] for org in (await visitor.api(tokens, "organizations/")).json()]
    assert seen == ["acme", "globex", "initech"][:slugs]
    for slug in ("acme", "globex", "initech", "nowhere"):
        answer = await visitor.api(tokens, f"organizations/{slug}/projects/")
        assert answer.status_code == (200 if slug in seen else 404)


async def test_without_a_good_token_nothing_is_answered(visitor: Visitor) -> None:
    nothing = await visitor.http.get("/api/0/organizations/")
    assert (nothing.status_code, nothing.json()) == (401, {"detail": "Authentication credentials were not provided."})
    wrong = await visitor.api({"access_token": "x"}, "organizations/")
    assert (wrong.status_code, wrong.json()) == (401, {"detail": "Invalid token"})


@pytest.mark.parametrize(
    ("path", "enough", "too_little"),
    [
        ("organizations/", "org:write", "event:admin"),
        (ACME + "issues/", "event:admin", "org:admin"),
        (ACME + "releases/", "project:releases", "event:read"),
        (ACME + "sessions/?field=sum(session)", "org:admin", "project:read"),
    ],
)
async def test_one_of_the_scopes_of_an_operation_is_enough(
    visitor: Visitor, path: str, enough: str, too_little: str
) -> None:
    bearer = await visitor.connect(scopes=(enough,))
    assert (await visitor.http.get(f"/api/0/{path}", headers=authorization(bearer))).status_code == 200
    bearer = await visitor.connect(scopes=(too_little,))
    assert (await visitor.http.get(f"/api/0/{path}", headers=authorization(bearer))).status_code == 403


def authorization(tokens: dict[str, Any]) -> dict[str, str]:
    return {"Authorization": f"Bearer {tokens['access_token']}"}


@pytest.mark.parametrize("path", ["organizations", "organizations/acme/nothing/", ACME + "issues/1/none/"])
async def test_a_wrong_path_is_json_too(visitor: Visitor, tokens: dict[str, Any], path: str) -> None:
    answer = await visitor.api(tokens, path)
    assert answer.status_code == 404
    assert "Route not found" in answer.json()["info"]


async def test_the_wrong_method_is_refused(visitor: Visitor, tokens: dict[str, Any]) -> None:
    answer = await visitor.write(tokens, "DELETE", ACME + "issues/", {})
    assert (answer.status_code, answer.json()) == (405, {"detail": 'Method "DELETE" not allowed.'})


async def test_turning_pages_meets_every_issue_exactly_once(visitor: Visitor, tokens: dict[str, Any]) -> None:
    rows = await every_page(visitor, tokens, ACME + "issues/", query="", limit=70)
    ids = [row["id"] for row in rows]
    assert len(ids) == len(set(ids)) == 860
    assert [row["lastSeen"] for row in rows] == sorted((row["lastSeen"] for row in rows), reverse=True)


async def test_the_link_header_is_sentrys(visitor: Visitor, tokens: dict[str, Any]) -> None:
    first = await visitor.api(tokens, ACME + "issues/", query="", limit="100")
    url = "http://127.0.0.1:8100/api/0/organizations/acme/issues/?query=&limit=100&cursor="
    assert first.headers["link"] == (
        f'<{url}0:0:1>; rel="previous"; results="false"; cursor="0:0:1", '
        f'<{url}0:100:0>; rel="next"; results="true"; cursor="0:100:0"'
    )
    last = await visitor.api(tokens, ACME + "issues/", query="", cursor="0:800:0")
    assert (last.links["next"]["results"], last.links["previous"]["results"]) == ("false", "true")
    assert len(last.json()) == 60


@pytest.mark.parametrize("params", [{"limit": "0"}, {"limit": "101"}, {"limit": "x"}, {"cursor": "x"}])
async def test_a_page_that_cannot_be_is_refused(
    visitor: Visitor, tokens: dict[str, Any], params: dict[str, str]
) -> None:
    assert (await visitor.api(tokens, ACME + "issues/", **params)).status_code == 400


async def test_searching_narrows(visitor: Visitor, tokens: dict[str, Any]) -> None:
    async def found(query: str, **params: Json) -> list[Any]:
        return await every_page(visitor, tokens, ACME + "issues/", query=query, **params)

    everything = await found("")
    statuses = [await found(f"is:{status}") for status in ("unresolved", "resolved", "ignored")]
    assert [len(rows) for rows in statuses] == [
        sum(row["status"] == status for row in everything) for status in ("unresolved", "resolved", "ignored")
    ]
    assert sum(len(rows) for rows in statuses) == len(everything)
    by_level = [await found(f"level:{level}") for level in ("error", "fatal", "warning", "info")]
    assert sum(len(rows) for rows in by_level) == len(everything)
    assert len(await found("!level:error")) == len(everything) - len(by_level[0])
    assert len(await found("level:[error, fatal]")) == len(by_level[0]) + len(by_level[1])
    assert {row["project"]["slug"] for row in await found("project:search")} == {"search"}
    assert await found("project:search") == await found("", project="search")
    mine = await found("assigned:me")
    assert {row["assignedTo"]["email"] for row in mine} == {ADA}
    assert all("deadlock" in row["title"].lower() for row in await found("deadlock"))
    assert all(row["title"].startswith("KeyError") for row in await found("error.type:KeyError"))
    new = await found("is:unresolved firstSeen:-24h")
    assert new
    assert min(row["firstSeen"] for row in new) >= "2026-11-21T15:00:00Z"
    assert await found("age:-24h is:unresolved") == new
    assert len(await found("lastSeen:-7d")) + len(await found("lastSeen:+7d")) == len(everything)
    assert await found("browser:netscape") == []
    assert [row["shortId"] for row in await found("issue:checkout-api-5")] == ["CHECKOUT-API-5"]


async def test_without_a_query_the_unresolved_are_found(visitor: Visitor, tokens: dict[str, Any]) -> None:
    rows = await every_page(visitor, tokens, ACME + "issues/")
    assert {row["status"] for row in rows} == {"unresolved"}


@pytest.mark.parametrize(
    "params",
    [
        {"query": "is:sleeping"},
        {"query": "age:yesterday"},
        {"query": "project:none"},
        {"query": "level:error OR level:fatal"},
        {"query": "timesSeen:many"},
        {"statsPeriod": "soon"},
        {"sort": "beauty"},
        {"start": "2026-11-02", "end": "2026-11-01"},
    ],
)
async def test_a_search_that_cannot_be_meant_is_refused(
    visitor: Visitor, tokens: dict[str, Any], params: dict[str, str]
) -> None:
    assert (await visitor.api(tokens, ACME + "issues/", **params)).status_code == 400


async def test_a_foreign_project_is_forbidden(visitor: Visitor, tokens: dict[str, Any]) -> None:
    assert (await visitor.api(tokens, ACME + "issues/", project="ledger")).status_code == 403


@pytest.mark.parametrize(("sort", "field"), [("date", "lastSeen"), ("new", "firstSeen"), ("user", "userCount")])
async def test_sorting(visitor: Visitor, tokens: dict[str, Any], sort: str, field: str) -> None:
    rows = (await visitor.api(tokens, ACME + "issues/", query="", sort=sort)).json()
    assert [row[field] for row in rows] == sorted((row[field] for row in rows), reverse=True)


async def test_a_period_counts_what_happened_in_it(visitor: Visitor, tokens: dict[str, Any]) -> None:
    day = (await visitor.api(tokens, ACME + "issues/", query="", sort="freq", statsPeriod="24h")).json()
    counts = [int(row["count"]) for row in day]
    assert counts == sorted(counts, reverse=True)
    for row in day:
        assert sum(count for _, count in row["stats"]["24h"]) == int(row["count"]) <= int(row["lifetime"]["count"])


async def test_the_bad_release_shows_in_its_sessions(visitor: Visitor, tokens: dict[str, Any]) -> None:
    newest = (await visitor.api(tokens, ACME + "releases/")).json()[0]
    assert newest["version"] == BAD
    params = {"field": ["crash_free_rate(session)", "sum(session)"], "groupBy": "release", "project": "checkout-api"}
    for period in ("24h", "14d"):
        groups = (await visitor.api(tokens, ACME + "sessions/", statsPeriod=period, **params)).json()["groups"]
        rate = {group["by"]["release"]: group["totals"]["crash_free_rate(session)"] for group in groups}
        assert rate[BAD] < 0.93
        assert rate[BEFORE] > 0.99


async def test_the_bad_release_shows_in_its_issues(visitor: Visitor, tokens: dict[str, Any]) -> None:
    path, found = ACME + "issues/", {"sort": "freq", "query": f"firstRelease:{BAD}", "limit": 4}
    guilty = (await visitor.api(tokens, path, **found)).json()
    share = sum(int(row["count"]) for row in guilty)
    params = {"dataset": "errors", "statsPeriod": "24h", "query": f"release:{BAD}"}
    values = (await visitor.api(tokens, ACME + "events-timeseries/", **params)).json()["timeSeries"][0]["values"]
    assert share > 0.95 * sum(value["value"] for value in values)
    assert guilty[0]["title"].startswith("DeadlockDetected")
    top = (await visitor.api(tokens, path, query="is:unresolved release:latest", sort="freq", limit=4)).json()
    assert [row["id"] for row in top] == [row["id"] for row in guilty]
    details = (await visitor.api(tokens, ACME + f"releases/{quote(BAD, safe='')}/", health="1")).json()
    commits = await every_page(visitor, tokens, ACME + f"releases/{quote(BAD, safe='')}/commits/", per_page=5)
    assert len(commits) == details["commitCount"]
    assert commits[0] == details["lastCommit"]
    assert "concurrently" in commits[0]["message"]
    assert details["projects"][0]["healthData"]["crashFreeSessions"] < 93


async def test_all_figures_tell_the_same_number_of_errors(visitor: Visitor, tokens: dict[str, Any]) -> None:
    issues = await every_page(visitor, tokens, ACME + "issues/", query="", project="storefront")
    counted = sum(int(row["count"]) for row in issues)
    params = {"groupBy": "project", "field": "sum(quantity)", "interval": "1d", "statsPeriod": "90d"}
    groups = (await visitor.api(tokens, ACME + "stats_v2/", **params, category="error")).json()["groups"]
    projects = {row["id"]: row["slug"] for row in (await visitor.api(tokens, ACME + "projects/")).json()}
    received = {projects[str(group["by"]["project"])]: group["totals"]["sum(quantity)"] for group in groups}
    assert received["storefront"] == counted
    releases = (await visitor.api(tokens, ACME + "releases/", project="storefront")).json()
    by_release = 0
    for release in releases:
        asked = {"dataset": "errors", "interval": 86400, "statsPeriod": "90d", "query": f"release:{release['version']}"}
        series = (await visitor.api(tokens, ACME + "events-timeseries/", **asked)).json()["timeSeries"][0]["values"]
        by_release += sum(point["value"] for point in series)
    assert by_release == counted


async def test_sessions_by_status_add_up(visitor: Visitor, tokens: dict[str, Any]) -> None:
    async def groups(**params: Json) -> list[Any]:
        answer = await visitor.api(tokens, ACME + "sessions/", field="sum(session)", statsPeriod="7d", **params)
        return list(answer.json()["groups"])

    (whole,) = await groups()
    split = await groups(groupBy="session.status")
    assert sum(group["totals"]["sum(session)"] for group in split) == whole["totals"]["sum(session)"]
    assert sum(whole["series"]["sum(session)"]) == whole["totals"]["sum(session)"]
    by_project = await groups(groupBy=["project", "release"], orderBy="-sum(session)")
    totals = [group["totals"]["sum(session)"] for group in by_project]
    assert sum(totals) == whole["totals"]["sum(session)"]
    assert totals == sorted(totals, reverse=True)


@pytest.mark.parametrize(
    ("path", "params"),
    [
        ("sessions/", {}),
        ("sessions/", {"field": "p95(session.duration)"}),
        ("sessions/", {"field": "sum(session)", "groupBy": "planet"}),
        ("sessions/", {"field": "sum(session)", "statsPeriod": "90d"}),  # 2,160 points
        ("sessions/", {"field": "sum(session)", "interval": "5h"}),
        ("sessions/", {"field": "sum(session)", "query": "browser:firefox"}),
        ("stats_v2/", {"field": "sum(quantity)"}),
        ("stats_v2/", {"groupBy": "project"}),
        ("events-timeseries/", {"dataset": "spans"}),
        ("events-timeseries/", {"dataset": "errors", "yAxis": "p95(x)"}),
    ],
)
async def test_figures_that_cannot_be_are_refused(
    visitor: Visitor, tokens: dict[str, Any], path: str, params: dict[str, str]
) -> None:
    assert (await visitor.api(tokens, ACME + path, **params)).status_code == 400


async def test_an_issue_is_found_by_number_and_by_short_id(visitor: Visitor, tokens: dict[str, Any]) -> None:
    row = (await visitor.api(tokens, ACME + "issues/", limit=1)).json()[0]
    by_number = await visitor.api(tokens, ACME + f"issues/{row['id']}/")
    by_short_id = await visitor.api(tokens, ACME + f"issues/{row['shortId'].lower()}/")
    assert by_number.json() == by_short_id.json()
    assert by_number.json()["title"] == row["title"]
    looked_up = await visitor.api(tokens, ACME + f"shortids/{row['shortId']}/")
    assert looked_up.json()["groupId"] == row["id"]
    missing = await visitor.api(tokens, ACME + "issues/NONE-1/")
    assert (missing.status_code, missing.json()) == (404, {"detail": "The requested resource does not exist"})


async def test_events_are_a_chain_from_oldest_to_latest(visitor: Visitor, tokens: dict[str, Any]) -> None:
    path = ACME + "issues/CHECKOUT-API-T/events/"
    details = (await visitor.api(tokens, ACME + "issues/CHECKOUT-API-T/")).json()
    oldest, latest = [(await visitor.api(tokens, path + f"{which}/")).json() for which in ("oldest", "latest")]
    assert (oldest["dateCreated"], latest["dateCreated"]) == (details["firstSeen"], details["lastSeen"])
    assert oldest["previousEventID"] is None
    assert latest["nextEventID"] is None
    second = (await visitor.api(tokens, path + f"{oldest['nextEventID']}/")).json()
    assert second["previousEventID"] == oldest["id"]
    frames = latest["entries"][0]["data"]["values"][0]["stacktrace"]["frames"]
    assert frames[-1]["function"] == "order_total"
    assert frames[-1]["inApp"]
    assert latest["release"]["version"] == BAD
    assert (await visitor.api(tokens, path + "0" * 32 + "/")).status_code == 404
    assert (await visitor.api(tokens, path + "nonsense/")).status_code == 404


async def test_resolving_assigning_and_commenting_change_what_is_read() -> None:
    async with browser(create_app(SandboxOptions(now=NOW))) as http:  # its own world: it is changed
        visitor = Visitor(http)
        await visitor.register()
        tokens = await visitor.connect(scopes=("event:write",))
        path = ACME + "issues/CHECKOUT-API-5/"
        before = (await visitor.api(tokens, ACME + "issues/")).headers["x-hits"]

        resolved = await visitor.write(tokens, "PUT", path, {"status": "resolved", "assignedTo": ADA})
        assert (resolved.status_code, resolved.json()["status"]) == (200, "resolved")
        assert resolved.json()["assignedTo"]["name"] == "Ada Byrne"
        after = (await visitor.api(tokens, ACME + "issues/")).headers["x-hits"]
        assert int(after) == int(before) - 1

        said = await visitor.write(tokens, "POST", path + "comments/", {"text": "Rolled back <2.14.0>"})
        assert (said.status_code, said.json()["data"]) == (201, {"text": "Rolled back <2.14.0>"})
        details = (await visitor.api(tokens, path)).json()
        assert details["numComments"] == 1
        assert [entry["type"] for entry in details["activity"]] == ["note", "first_seen"]
        assert "Rolled back &lt;2.14.0&gt;" in (await http.get(details["permalink"])).text

        for method, to, body in (
            ("PUT", path, {"status": "gone"}),
            ("PUT", path, {"assignedTo": "nobody@example.com"}),
            ("PUT", path, []),
            ("POST", path + "comments/", {"text": " "}),
        ):
            assert (await visitor.write(tokens, method, to, body)).status_code == 400
        assert (await visitor.stats())["writes"] == 2


async def test_reading_does_not_allow_writing(visitor: Visitor, tokens: dict[str, Any]) -> None:
    assert READ == ("org:read", "project:read", "event:read")
    answer = await visitor.write(tokens, "PUT", ACME + "issues/CHECKOUT-API-5/", {"status": "resolved"})
    assert answer.status_code == 403
    assert (await visitor.stats())["writes"] == 0


async def test_permalinks_open_for_members_who_are_logged_in(visitor: Visitor, other: Visitor) -> None:
    tokens = await visitor.connect(BRUNO)
    row = (await visitor.api(tokens, "organizations/globex/issues/", limit=1)).json()[0]
    page = await visitor.http.get(row["permalink"])
    assert page.status_code == 200
    assert row["shortId"] in page.text
    release = (await visitor.api(tokens, "organizations/globex/releases/", per_page=1)).json()[0]["version"]
    shown = await visitor.http.get(f"/organizations/globex/releases/{quote(release, safe='')}/")
    assert release in shown.text

    assert (await other.http.get(row["permalink"])).headers["location"].startswith("/auth/login/?next=")
    await other.log_in(ADA)
    assert (await other.http.get(row["permalink"])).status_code == 404


async def test_releases_come_newest_first_and_by_part_of_their_version(
    visitor: Visitor, tokens: dict[str, Any]
) -> None:
    rows = await every_page(visitor, tokens, ACME + "releases/", per_page=7)
    assert [row["dateCreated"] for row in rows] == sorted((row["dateCreated"] for row in rows), reverse=True)
    some = (await visitor.api(tokens, ACME + "releases/", query="CHECKOUT-api@2.13")).json()
    assert {row["version"] for row in some} == {row["version"] for row in rows if "checkout-api@2.13" in row["version"]}
    one: httpx2.Response = await visitor.api(tokens, ACME + f"releases/{quote(BAD, safe='')}/")
    assert one.json()["versionInfo"]["description"] == "2.14.0"
    assert (await visitor.api(tokens, ACME + "releases/nothing/")).status_code == 404
