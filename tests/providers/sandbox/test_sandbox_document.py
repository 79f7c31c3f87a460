"""Every answer of a documented path has the shape Sentry's own OpenAPI document gives it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

import pytest
from jsonschema import Draft202012Validator, FormatChecker

from .visitor import CHIOMA, READ, Json, Visitor

DOCUMENT = Path(__file__).parents[4] / "shared" / "providers" / "sentry.openapi.json"
ORG = "/api/0/organizations/{organization_id_or_slug}/"
BAD = quote("checkout-api@2.14.0", safe="")

pytestmark = [
    pytest.mark.needs_shared,
    pytest.mark.skipif(not DOCUMENT.exists(), reason="Sentry's OpenAPI document is not beside the checkout"),
]
formats = FormatChecker(formats=())


@formats.checks("date-time", raises=ValueError)
def is_a_moment(value: object) -> bool:
    return not isinstance(value, str) or datetime.fromisoformat(value).tzinfo is not None


def plain(schema: Json) -> Json:
    """An OpenAPI 3.0 schema as JSON Schema: `nullable` becomes a type."""
    if isinstance(schema, list):
        return [plain(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    made = {name: plain(part) for name, part in schema.items() if name != "nullable"}
    return {"anyOf": [made, {"type": "null"}]} if schema.get("nullable") is True else made


@pytest.fixture(scope="module")
def validator() -> Callable[[str, str, int], Draft202012Validator]:
    paths = json.loads(DOCUMENT.read_text(encoding="utf-8"))["paths"]

    def find(path: str, method: str, status: int) -> Draft202012Validator:
        answers = paths[path][method.lower()]["responses"]
        return Draft202012Validator(
            plain(answers[str(status)]["content"]["application/json"]["schema"]), format_checker=formats
        )

    return find


@pytest.mark.parametrize(
    ("documented", "asked"),
    [
        ("/api/0/organizations/", "organizations/"),
        (ORG + "projects/", "organizations/{org}/projects/"),
        (ORG + "issues/", "organizations/{org}/issues/?query="),
        (ORG + "issues/", "organizations/{org}/issues/?statsPeriod=24h&sort=freq&query=release:latest"),
        (ORG + "issues/", "organizations/{org}/issues/?groupStatsPeriod=14d&query=is:ignored"),
        (ORG + "issues/{issue_id}/", "organizations/{org}/issues/{issue}/"),
        (ORG + "issues/{issue_id}/events/{event_id}/", "organizations/{org}/issues/{issue}/events/latest/"),
        (ORG + "issues/{issue_id}/events/{event_id}/", "organizations/{org}/issues/{issue}/events/oldest/"),
        (ORG + "shortids/{issue_id}/", "organizations/{org}/shortids/{issue}/"),
        (ORG + "releases/", "organizations/{org}/releases/"),
        (ORG + "releases/{version}/", "organizations/{org}/releases/{release}/"),
        (ORG + "releases/{version}/", "organizations/{org}/releases/{release}/?health=1&healthStatsPeriod=14d"),
        (ORG + "releases/{version}/commits/", "organizations/{org}/releases/{release}/commits/"),
        (ORG + "sessions/", "organizations/{org}/sessions/?field=sum(session)&statsPeriod=14d&interval=1d"),
        (
            ORG + "sessions/",
            "organizations/{org}/sessions/?field=crash_free_rate(session)&field=count_unique(user)&groupBy=release",
        ),
        (ORG + "sessions/", "organizations/{org}/sessions/?field=sum(session)&groupBy=session.status"),
        (
            ORG + "stats_v2/",
            "organizations/{org}/stats_v2/?groupBy=project&field=sum(quantity)&category=error&interval=1d&statsPeriod=30d",
        ),
        (ORG + "stats_v2/", "organizations/{org}/stats_v2/?groupBy=outcome&groupBy=category&field=sum(times_seen)"),
        (
            ORG + "events-timeseries/",
            "organizations/{org}/events-timeseries/?dataset=errors&yAxis=count()&statsPeriod=7d&interval=3600",
        ),
        (ORG + "events-timeseries/", "organizations/{org}/events-timeseries/?dataset=errors&query=release:{release}"),
    ],
)
async def test_answers_fit_the_document(
    visitor: Visitor, validator: Callable[[str, str, int], Draft202012Validator], documented: str, asked: str
) -> None:
    tokens = await visitor.connect(CHIOMA)
    bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
    check = validator(documented, "get", 200)
    for org in ("acme", "globex", "initech") if "{org}" in asked else ("",):
        issue, release = "", ""
        if org:
            found = await visitor.api(tokens, f"organizations/{org}/issues/", query="assigned:me", limit=1)
            issue = found.json()[0]["shortId"]
            newest = await visitor.api(tokens, f"organizations/{org}/releases/", per_page=1)
            release = quote(newest.json()[0]["version"], safe="")
        path = asked.format(org=org, issue=issue, release=release)
        answer = await visitor.http.get(f"/api/0/{path}", headers=bearer)
        assert answer.status_code == 200, answer.text
        assert [f"{error.json_path}: {error.message}" for error in check.iter_errors(answer.json())] == []


async def test_a_changed_issue_fits_the_document(
    visitor: Visitor, validator: Callable[[str, str, int], Draft202012Validator]
) -> None:
    tokens = await visitor.connect(scopes=(*READ, "event:write"))
    path = "organizations/acme/issues/CHECKOUT-API-5/"
    check = validator(ORG + "issues/{issue_id}/", "put", 200)
    for change in (
        {"status": "resolvedInNextRelease"},
        {"assignedTo": "team:1001"},
        {"status": "unresolved", "assignedTo": ""},
    ):
        answer = await visitor.write(tokens, "PUT", path, change)
        assert answer.status_code == 200, answer.text
        assert [f"{error.json_path}: {error.message}" for error in check.iter_errors(answer.json())] == []


async def test_every_documented_operation_asks_for_its_documented_scopes(visitor: Visitor) -> None:
    paths = json.loads(DOCUMENT.read_text(encoding="utf-8"))["paths"]
    operations = {
        ("GET", "/api/0/organizations/"): "organizations/",
        ("GET", ORG + "projects/"): "organizations/acme/projects/",
        ("GET", ORG + "issues/"): "organizations/acme/issues/",
        ("GET", ORG + "issues/{issue_id}/"): "organizations/acme/issues/CHECKOUT-API-5/",
        ("PUT", ORG + "issues/{issue_id}/"): "organizations/acme/issues/CHECKOUT-API-5/",
        (
            "GET",
            ORG + "issues/{issue_id}/events/{event_id}/",
        ): "organizations/acme/issues/CHECKOUT-API-5/events/latest/",
        ("GET", ORG + "shortids/{issue_id}/"): "organizations/acme/shortids/CHECKOUT-API-5/",
        ("GET", ORG + "releases/"): "organizations/acme/releases/",
        ("GET", ORG + "releases/{version}/"): f"organizations/acme/releases/{BAD}/",
        ("GET", ORG + "releases/{version}/commits/"): f"organizations/acme/releases/{BAD}/commits/",
        ("GET", ORG + "sessions/"): "organizations/acme/sessions/?field=sum(session)",
        ("GET", ORG + "stats_v2/"): "organizations/acme/stats_v2/?field=sum(quantity)&groupBy=project",
        ("GET", ORG + "events-timeseries/"): "organizations/acme/events-timeseries/?dataset=errors",
    }
    every: tuple[str, ...] = ("org:read", "org:write", "org:admin", "org:ci", "member:read", "team:read", "alerts:read")
    every += ("project:read", "project:write", "project:admin", "project:releases")
    every += ("event:read", "event:write", "event:admin")
    connected = {scope: await visitor.connect(scopes=(scope,)) for scope in every}
    for (method, documented), path in operations.items():
        (alternatives,) = paths[documented][method.lower()]["security"]
        for scope, tokens in connected.items():
            status = (await visitor.write(tokens, method, path, {})).status_code
            assert (status == 200) == (scope in alternatives["auth_token"]), (method, path, scope)
