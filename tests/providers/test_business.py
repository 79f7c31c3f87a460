"""Notion, HubSpot, Stripe and Salesforce: how each says no, and what no argument can do to its query language."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from providers.catalogue import hubspot, notion, salesforce, stripe
from providers.errors import BadArguments, Forbidden, NotFound, TokenRejected, ToolError, TooManyRequests, Unavailable
from providers.spec import Json, Reply
from tests.providers.fake_api import FakeApi

PROVIDERS = {each.id: each for each in (notion.PROVIDER, hubspot.PROVIDER, stripe.PROVIDER, salesforce.PROVIDER)}


def refusal(slug: str, status: int, data: Json, body: bytes = b"") -> ToolError | None:
    judged = PROVIDERS[slug].refusal_of
    assert judged is not None
    return judged(Reply(status, {}, body, data))


@pytest.mark.parametrize(
    ("slug", "status", "data", "failure"),
    [
        ("notion", 404, {"code": "object_not_found"}, NotFound),
        ("notion", 403, {"code": "restricted_resource"}, Forbidden),
        ("notion", 409, {"code": "conflict_error"}, Unavailable),
        ("notion", 200, {"object": "list"}, None),
        ("hubspot", 429, {"policyName": "DAILY"}, TooManyRequests),
        ("hubspot", 429, {"policyName": "TEN_SECONDLY_ROLLING"}, None),
        ("stripe", 403, {"error": {"code": "account_invalid"}}, TokenRejected),
        ("stripe", 403, {"error": {"code": "more_permissions_required"}}, Forbidden),
        ("stripe", 402, {"error": {"code": "card_declined"}}, None),
        ("salesforce", 403, [{"errorCode": "REQUEST_LIMIT_EXCEEDED"}], TooManyRequests),
        ("salesforce", 401, [{"errorCode": "INVALID_SESSION_ID"}], TokenRejected),
        ("salesforce", 403, [{"errorCode": "API_DISABLED_FOR_ORG"}], Forbidden),
        ("salesforce", 400, [{"errorCode": "INVALID_TYPE"}], Forbidden),
        ("salesforce", 400, [{"errorCode": "MALFORMED_QUERY"}], None),
        ("salesforce", 200, [{"errorCode": "INVALID_SESSION_ID"}], None),
    ],
)
def test_each_says_no_in_its_own_way(slug: str, status: int, data: Json, failure: type[ToolError] | None) -> None:
    found = refusal(slug, status, data)
    assert type(found) is failure if failure else found is None


def test_salesforce_says_in_a_word_that_a_token_is_over() -> None:
    assert isinstance(refusal("salesforce", 403, None, b"Bad_OAuth_Token"), TokenRejected)


@pytest.mark.parametrize(
    ("named", "scopes"),
    [
        (["crm.objects.deals.read"], ("crm.objects.deals.read",)),
        (["crm.objects.deals.read", "crm.objects.deals.write"], ()),
        ([], ()),
        ([7], ()),
    ],
)
def test_a_scope_that_hubspot_misses_is_asked_for_where_it_names_just_one(named: list[Any], scopes: Any) -> None:
    errors = [{"context": {"requiredGranularScopes": named}}]
    found = refusal("hubspot", 403, {"category": "MISSING_SCOPES", "errors": errors})
    assert isinstance(found, Forbidden)
    assert found.scopes == scopes


@pytest.mark.parametrize("evil", ["x' OR Name != '", "x\\' OR Id != \\'", "100%_", "\u2019'; --", "a\nb'"])
async def test_no_name_ends_a_text_of_salesforce_s_query_language(evil: str) -> None:
    api = FakeApi({"/services/data/v62.0/query": {"records": [], "done": True}})
    tools = salesforce.PROVIDER.by_name
    await tools["list_cases"].invoke(api, {"account": evil, "priority": evil, "owner": evil})
    [params] = api.params_of("/query")
    outside = re.sub(r"'(?:[^'\\]|\\.)*'", "?", params["q"])
    assert re.search(
        r"WHERE IsClosed = false AND Owner\.Name LIKE \? AND Account\.Name LIKE \? AND Priority = \? ", outside
    )
    assert "'" not in outside


async def test_the_next_page_of_salesforce_is_below_its_query_address_whatever_the_answer_says() -> None:
    leaves = {
        "records": [{"Id": "1"}],
        "done": False,
        "nextRecordsUrl": "https://evil.example/services/../apexrest/x?y",
    }
    api = FakeApi({"/services/data/v62.0/query": leaves})
    with pytest.raises(NotFound):
        await salesforce.PROVIDER.by_name["list_leads"].invoke(api, {})
    assert [path for path, _ in api.asked][1:] == ["/services/data/v62.0/query/x%3Fy"]


@pytest.mark.parametrize(
    ("kind", "value", "test"),
    [
        ("status", "Done", {"equals": "Done"}),
        ("multi_select", "red", {"contains": "red"}),
        ("checkbox", "Yes", {"equals": True}),
        ("checkbox", "no", {"equals": False}),
        ("number", "7", {"equals": 7.0}),
        ("date", "2027-01-31", {"equals": "2027-01-31"}),
        ("rollup", "x", None),
    ],
)
async def test_a_column_of_notion_is_compared_by_its_type(kind: str, value: str, test: Json) -> None:
    base = "668d797c-76fa-4934-9b05-ad288df2d136"
    table = {"id": base, "properties": {"State": {"type": kind}}}
    rows = {"results": [], "has_more": False}
    api = FakeApi({f"/v1/data_sources/{base}": table, f"POST /v1/data_sources/{base}/query": rows})
    asked = notion.PROVIDER.by_name["query_database"].invoke(api, {"database": base, "column": "state", "value": value})
    if test is None:
        with pytest.raises(BadArguments):
            await asked
        return
    await asked
    [(_, _, body)] = api.sent
    assert json.loads(body)["filter"] == {"property": "State", kind: test}


@pytest.mark.parametrize(
    "name",
    [
        "59833787-2cf9-4fdf-8782-e53db20768a5",
        "598337872cf94fdf8782e53db20768a5",
        "https://www.notion.so/acme/Guide-598337872cf94fdf8782e53db20768a5?pvs=4",
    ],
)
async def test_a_page_of_notion_is_found_by_its_address_without_a_search(name: str) -> None:
    api = FakeApi({})
    with pytest.raises(NotFound):
        await notion.PROVIDER.by_name["read_page"].invoke(api, {"page": name})
    assert not api.sent
    assert {path.split("/")[3].replace("-", "") for path, _ in api.asked} == {"598337872cf94fdf8782e53db20768a5"}


async def test_several_pages_of_one_title_are_not_guessed_among() -> None:
    title = {"title": {"type": "title", "title": [{"plain_text": "Notes"}]}}
    rows = [{"object": "page", "id": f"id-{number}", "properties": title} for number in range(2)]
    api = FakeApi({"POST /v1/search": {"results": rows, "has_more": False}})
    with pytest.raises(BadArguments, match="Several pages"):
        await notion.PROVIDER.by_name["append_to_page"].invoke(api, {"page": "notes", "text": "x"})
    assert [method for method, _, _ in api.sent] == ["POST"]


@pytest.mark.parametrize(
    ("amount", "currency", "words"),
    [
        (4_900, "eur", "49.00 EUR"),
        (12_000, "jpy", "12,000 JPY"),
        (123_456_789, "usd", "1,234,567.89 USD"),
        (0, "gbp", "0.00 GBP"),
    ],
)
async def test_stripe_s_amounts_are_in_the_smallest_unit_of_their_currency(
    amount: int, currency: str, words: str
) -> None:
    money = {"available": [{"amount": amount, "currency": currency}], "pending": []}
    api = FakeApi({"/v1/balance": money, "/v1/charges": {"data": []}})
    assert f"Available: **{words}**" in (await stripe.PROVIDER.by_name["balance"].invoke(api, {})).text
