"""The connections page: what each account is and could be, however many there are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test import Client as Browser
from django.test.utils import CaptureQueriesContext

from metaagent.visitor import Visitor
from providers import services as providers
from tenants import services as tenants
from tests.flows.test_consent import another_key, asked, policy
from tests.world import World
from vault.models import Connection, Consent
from vault.services import question

MANY = 200
LEAST = {"scopes": ["org:read", "event:read"]}


def opened(world: World, url: str = "/connections/") -> tuple[str, int]:
    """A page as this person sees it, and how many queries it took."""
    browser = Browser(HTTP_HOST=world.product.url.partition("//")[2])
    browser.force_login(world.me.user, backend="django.contrib.auth.backends.ModelBackend")
    browser.get(url)  # what is remembered of providers is remembered
    with CaptureQueriesContext(connection) as queries:
        page = browser.get(url)
    assert page.status_code == 200
    return page.content.decode(), len(queries)


def accounts(world: World, many: int) -> list[Connection]:
    made = {"tenant": world.tenant, "installation": world.installation, "owner": world.me.user, "scopes": ["org:read"]}
    now = datetime.now(UTC)
    return Connection.objects.bulk_create(
        Connection(
            **made,
            account_id=f"sentry:{number}",
            account_label=f"a-rather-long-name-{number:03}@example.com",
            connected_at=now - timedelta(minutes=number),
        )
        for number in range(many)
    )


def test_however_many_accounts_a_page_stays_small_and_quick_and_leads_to_all(world: World) -> None:
    rows = accounts(world, MANY)
    policy(world, "first_use")
    clients = [another_key(world, f"client {number}") for number in range(5)]
    for key in clients:
        asked(world, accountId=rows[0].account_id, key=key)
    for consent in Consent.objects.filter(tenant=world.tenant).select_related("connection"):
        question.give(consent, now=datetime.now(UTC))
    url, found = "/connections/", 0
    for _ in range(MANY):
        page, queries = opened(world, url)
        assert (queries <= 30, len(page.encode()) <= 60_000) == (True, True), (queries, len(page.encode()))
        found += page.count("a-rather-long-name-") - page.count("of Sentry, a-rather-long-name-")
        if 'rel="next"' not in page:
            break
        url = "/connections/" + page.partition('rel="next" href="')[2].partition('"')[0].replace("&amp;", "&")
    assert found == MANY


def test_with_few_accounts_all_about_them_stays_within_the_bounds_too(world: World) -> None:
    accounts(world, 6)
    for number in range(40):
        providers.store(
            row=providers.drafted(
                tenant=world.tenant,
                slug=f"p{number}",
                client_id="",
                source="openapi",
                facts={"title": f"Provider {number}", "api_base": world.sandbox.url, "access": "key"},
            ),
            by=None,
        )
    page, queries = opened(world)
    assert (queries <= 30, len(page.encode()) <= 60_000) == (True, True), (queries, len(page.encode()))
    assert page.count("Disconnect a-rather-long-name-") == 6
    assert "There are more: search for one by its name." in page
    page, _ = opened(world, "/connections/?like=provider+39")
    assert "Provider 39" in page
    assert "a-rather-long-name-" not in page


def test_an_account_has_a_page_of_its_own_for_those_who_see_it(world: World) -> None:
    [row] = accounts(world, 1)
    page, _ = opened(world, f"/connections/{row.pk}/")
    assert "Disconnect a-rather-long-name-000@example.com" in page
    other, stranger = world.person(), World(world.product, world.sandbox).me
    for person in (other, stranger):
        with Visitor() as visitor:
            visitor.open(f"{world.product.url}/connections/{row.pk}/")
            world.log_in(visitor, person)
            assert visitor.page.status_code == 404


def test_an_account_says_when_it_was_last_used_and_what_else_it_could_do(world: World) -> None:
    world.install(overrides=LEAST)
    world.connect()
    page, _ = opened(world)
    assert "Not used yet" in page
    assert not world.call_tool("list_organizations").is_error
    page, _ = opened(world)
    assert "Last used <time" in page.replace("\n", " ")
    assert "It could also:" in page
    more = page.partition("It could also:")[2].partition('href="')[2].partition('"')[0].replace("&amp;", "&")
    with Visitor() as visitor:
        world.log_in(visitor)
        visitor.open(f"{world.product.url}{more}")
        assert "Allow more in Sentry" in visitor.page.text
        assert "<code>event:write</code>" in visitor.page.text


@pytest.mark.parametrize("role", ["member", "admin"])
def test_only_who_looks_after_an_account_is_offered_to_change_it(world: World, role: str) -> None:
    [row] = accounts(world, 1)
    Connection.objects.filter(pk=row.pk).update(owner=None)
    tenants.add_member(tenant=world.tenant, user=world.me.user, role=role, by=None)
    page, _ = opened(world)
    assert ("Disconnect a-rather-long-name-000@example.com for everybody" in page) == (role == "admin")
    assert ("Allow more" in page) == (role == "admin")
