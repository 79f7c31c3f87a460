"""How GitHub, Jira and Linear say no in their own ways, and how what is asked of them stays what it is."""

from __future__ import annotations

import pytest

from providers import catalogue
from providers.errors import BadArguments, Forbidden, NotFound, TokenRejected, ToolError, TooManyRequests, Unavailable
from providers.simulator.samples import Recorded, client_of
from providers.spec import Json, ProviderSpec


def provider_of(slug: str) -> ProviderSpec:
    found = catalogue.get(slug)
    assert found
    return found


async def ask(slug: str, tool: str, args: Json, *exchanges: Json) -> Recorded:
    provider = provider_of(slug)
    egress = Recorded(provider.api_base, list(exchanges))
    await provider.by_name[tool].invoke(client_of(provider, egress), args)
    return egress


def graphql_error(kind: str, message: str = "No") -> Json:
    return {"errors": [{"message": message, "extensions": {"type": kind, "code": kind.upper().replace(" ", "_")}}]}


@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (graphql_error("ratelimited"), TooManyRequests),
        (graphql_error("authentication error"), TokenRejected),
        (graphql_error("forbidden"), Forbidden),
        (graphql_error("invalid input", "Entity not found: Issue"), NotFound),
        (graphql_error("internal error"), Unavailable),
        (graphql_error("invalid input"), BadArguments),
        ({"data": {"teams": {"nodes": [{"id": "1"}]}}, **graphql_error("forbidden")}, Forbidden),
    ],
)
async def test_an_error_of_linear_is_known_whatever_its_status(
    status: int, answer: Json, error: type[ToolError]
) -> None:
    with pytest.raises(error) as raised:
        await ask("linear", "list_teams", {}, {"send": "POST /graphql", "status": status, "answer": answer})
    assert raised.type is error


@pytest.mark.parametrize(
    ("headers", "message", "error", "words"),
    [
        ({}, "You have exceeded a secondary rate limit. Please wait.", TooManyRequests, "wait a minute"),
        ({"Retry-After": "7"}, "You have exceeded a secondary rate limit.", TooManyRequests, "7 seconds"),
        ({"X-GitHub-SSO": "required; url=https://evil.example"}, "Resource protected", Forbidden, "single sign-on"),
        ({}, "the `octo` organization has enabled OAuth App access restrictions", Forbidden, "has not approved"),
        ({}, "Must have admin rights", Forbidden, "does not allow"),
    ],
)
async def test_a_403_of_github_is_a_limit_or_a_rule_of_the_organization(
    headers: Json, message: str, error: type[ToolError], words: str
) -> None:
    no = {"send": "GET /user/repos", "status": 403, "headers": headers, "answer": {"message": message}}
    with pytest.raises(error, match=words) as raised:
        await ask("github", "list_repositories", {}, no)
    assert "evil" not in raised.value.message


async def test_a_value_cannot_become_another_qualifier_of_a_search() -> None:
    args = {"repo": "octo-org/shop", "label": 'bug" repo:other/secret "'}
    query = 'is:open repo:octo-org/shop label:"bug  repo:other/secret"'
    found = {"send": "GET /search/issues", "query": {"q": query}, "answer": {"total_count": 0, "items": []}}
    assert not (await ask("github", "search_issues", args, found)).left


SITES = "/oauth/token/accessible-resources"


def site(name: str) -> Json:
    return {"id": f"id-{name}", "name": name, "url": f"https://{name}.atlassian.net", "scopes": ["read:jira-work"]}


async def test_one_of_several_jira_sites_has_to_be_named() -> None:
    sites = {"send": f"GET {SITES}", "answer": [site("octo"), site("secret")]}
    with pytest.raises(BadArguments, match="several Jira sites") as raised:
        await ask("jira", "my_issues", {}, sites)
    assert "secret" not in raised.value.message
    with pytest.raises(NotFound):
        await ask("jira", "my_issues", {"site": "other"}, sites)
    found = {"send": "GET /ex/jira/id-octo/rest/api/3/search/jql", "answer": {"issues": [], "isLast": True}}
    assert not (await ask("jira", "my_issues", {"site": "octo"}, sites, found)).left


async def test_a_jira_account_without_a_site_is_told_to_connect_again() -> None:
    with pytest.raises(Forbidden, match="connect it again"):
        await ask("jira", "my_issues", {}, {"send": f"GET {SITES}", "answer": []})


async def test_the_sites_are_asked_for_once_for_each_token() -> None:
    provider = provider_of("jira")
    found = {"send": "GET /ex/jira/id-octo/rest/api/3/search/jql", "answer": {"issues": [], "isLast": True}}
    egress = Recorded(provider.api_base, [{"send": f"GET {SITES}", "answer": [site("octo")]}, found, dict(found)])
    client = client_of(provider, egress)
    for _ in range(2):
        await provider.by_name["my_issues"].invoke(client, {})
    assert not egress.left


async def test_a_value_cannot_become_more_of_a_jira_query() -> None:
    sites = {"send": f"GET {SITES}", "answer": [site("octo")]}
    jql = 'project = "X\\" OR project = \\"SECRET" AND statusCategory != Done ORDER BY updated DESC'
    found = {
        "send": "GET /ex/jira/id-octo/rest/api/3/search/jql",
        "query": {"jql": jql},
        "answer": {"issues": [], "isLast": True},
    }
    args = {"project": 'X" OR project = "SECRET'}
    assert not (await ask("jira", "search_issues", args, sites, found)).left
