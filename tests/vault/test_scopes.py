"""Scopes: what is asked for is the least that is needed, what was granted counts, and people are told of both."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from io import StringIO
from urllib.parse import parse_qs, urlsplit

import pytest
from django.core.management import call_command

from metaagent.agent import gate
from metaagent.agent.types import Admission, ConnectionRef
from metaagent.visitor import Visitor
from tests.vault.test_accounts import account, admission, connect_at, press
from tests.world import World
from vault.models import Connection, ConnectLink, Consent

READS = {"org:read", "project:read", "event:read"}
SEARCH = {"mode": "tool", "tool": "search_issues", "args": {"org": "acme"}}
RESOLVE = {"mode": "tool", "tool": "resolve_issue", "args": {"org": "acme", "issue": "1"}}


def asked_for(world: World, url: str) -> set[str]:
    """The scopes the provider is asked for, when this page's button is pressed."""
    with Visitor() as visitor:
        world.begin(visitor, url)
        [scope] = parse_qs(urlsplit(visitor.page.history[0].headers["location"]).query)["scope"]
        return set(scope.split())


def page_for(world: World, row: Connection | None = None, more: str = "") -> str:
    account = f"&account={row.pk}" if row else ""
    return f"{world.product.url}/connect/sentry/?tenant={world.tenant.slug}{account}{more}"


# --- What is asked for


def test_a_plain_connect_asks_for_the_installation_s_scopes(world: World) -> None:
    assert asked_for(world, page_for(world)) == READS
    world.install(overrides={"scopes": ["org:read"]})
    assert asked_for(world, page_for(world)) == {"org:read"}


def test_a_tool_that_needs_more_asks_for_that_and_what_was_granted_and_nothing_else(world: World) -> None:
    row = world.connect(scopes=["org:read"])
    error = world.error("run", SEARCH)
    assert (error["code"], error["tool"], error["missing_scopes"]) == (
        "capability_miss",
        "search_issues",
        ["event:read"],
    )
    link = ConnectLink.objects.order_by("created_at").filter(tenant=world.tenant).last()
    assert link is not None
    assert link.connection_id == row.pk
    assert asked_for(world, error["connect_url"]) == {"org:read", "event:read"}


def test_a_reconnect_asks_for_what_was_granted_and_the_installation_s_scopes(world: World) -> None:
    row = world.connect()
    Connection.objects.filter(pk=row.pk).update(status="needs_auth", reason="revoked", scopes=["org:read", "team:read"])
    error = world.error("run", SEARCH)
    assert (error["code"], set(error["scopes"])) == ("needs_auth", READS | {"team:read"})
    assert asked_for(world, error["connect_url"]) == READS | {"team:read"}
    assert asked_for(world, page_for(world, row)) == READS | {"team:read"}


def test_an_account_that_was_disconnected_starts_anew_with_the_least(world: World) -> None:
    row = world.connect()
    Connection.objects.filter(pk=row.pk).update(status="revoked", scopes=["event:admin"])
    assert asked_for(world, page_for(world, row)) == READS


def test_an_account_that_may_read_nothing_is_asked_for_what_reading_needs() -> None:
    idle = account("ada", scopes=frozenset({"team:read"}))
    found = gate.powerless(admission(idle), idle)
    assert found is not None
    assert (found.reason, set(found.scopes)) == ("scope_upgrade", READS | {"team:read"})
    able = account("ada", scopes=frozenset({"org:read"}))
    assert gate.powerless(admission(able), able) is None


def test_a_question_to_an_account_that_may_read_nothing_leads_to_an_upgrade(world: World) -> None:
    world.install(overrides={"scopes": ["team:read"]})
    world.connect()
    error = world.error("what can you do?")
    assert (error["code"], error["reason"]) == ("needs_auth", "scope_upgrade")
    assert asked_for(world, error["connect_url"]) == READS | {"team:read"}


# --- What was granted


def test_an_upgrade_that_was_granted_says_so_and_works_at_once(world: World) -> None:
    row = world.connect(email="ada@example.com", scopes=["org:read"])
    with Visitor() as visitor:
        visitor.open(world.error("run", SEARCH)["connect_url"])
        world.log_in(visitor)
        assert "Allow more in Sentry" in visitor.page.text
        before, after = visitor.page.text.split("It can already")
        assert "See issues and their events" in before
        assert "See your organizations" in after
        press(visitor)
        world.approve(visitor, email="ada@example.com")
        assert "Everything that was asked for is allowed" in visitor.page.text
    row.refresh_from_db()
    assert set(row.scopes) == {"org:read", "event:read"}
    assert not world.ask("run", SEARCH).is_error


def test_an_upgrade_that_was_not_granted_says_what_is_still_missing(world: World) -> None:
    world.connect(email="ada@example.com", scopes=["org:read"])
    with Visitor() as visitor:
        world.begin(visitor, world.error("run", SEARCH)["connect_url"])
        world.approve(visitor, email="ada@example.com", scopes=["org:read"])
        assert "Not everything was allowed" in visitor.page.text
        assert "See issues and their events" in visitor.page.text
        assert "Everything that was asked for" not in visitor.page.text
    assert world.error("run", SEARCH)["missing_scopes"] == ["event:read"]


def test_an_upgrade_by_somebody_else_leaves_the_account_as_it_was(world: World) -> None:
    row = world.connect(email="ada@example.com", scopes=["org:read"])
    with Visitor() as visitor:
        world.begin(visitor, world.error("run", SEARCH)["connect_url"])
        world.approve(visitor, email="bruno@example.com")
        assert "<bdi>ada@example.com</bdi> is unchanged" in visitor.page.text
    row.refresh_from_db()
    assert row.scopes == ["org:read"]
    assert Connection.objects.filter(tenant=world.tenant).count() == 2


def test_less_than_before_says_what_was_lost(world: World) -> None:
    row = world.connect(email="ada@example.com")
    Connection.objects.filter(pk=row.pk).update(scopes=sorted(READS | {"event:write"}))
    with Visitor() as visitor:
        text = connect_at(world, visitor, "")
    assert "allows less than before" in text
    assert "Resolve issues and comment on them" in text
    row.refresh_from_db()
    assert set(row.scopes) == READS
    assert world.error("run", RESOLVE)["missing_scopes"] == ["event:write"]


@pytest.mark.parametrize(("before", "ends"), [(["org:read"], True), (sorted(READS | {"event:write"}), False)])
def test_consents_end_when_an_account_may_do_more_than_what_was_consented_to(
    world: World, before: list[str], *, ends: bool
) -> None:
    row = world.connect(email="ada@example.com")
    Connection.objects.filter(pk=row.pk).update(scopes=before)
    now = datetime.now(UTC)
    given = Consent.objects.create(
        tenant=world.tenant,
        user=world.me.user,
        connection=row,
        client="key:x",
        effect="read",
        asked_at=now,
        answer_until=now + timedelta(minutes=5),
        given_at=now,
        expires_at=now + timedelta(days=1),
    )
    world.connect_another("ada@example.com")
    given.refresh_from_db()
    assert (given.withdrawn_at is not None) is ends


# --- What nothing needs


def test_scopes_no_tool_needs_are_listed_for_removal(world: World) -> None:
    world.install(overrides={"scopes": [*sorted(READS), "team:read", "openid"]})
    out = StringIO()
    call_command("provider_list", world.tenant.slug, "--json", stdout=out, stderr=StringIO())
    [listed] = json.loads(out.getvalue())["providers"]
    assert listed["unused_scopes"] == ["team:read"]
    text = StringIO()
    call_command("provider_list", world.tenant.slug, stdout=text)
    assert "no tool needs: team:read" in text.getvalue()
    assert '--scopes "event:read org:read project:read openid"' in text.getvalue()


def test_the_connections_page_says_what_was_granted_without_need_and_offers_to_drop_it(world: World) -> None:
    world.install(overrides={"scopes": [*sorted(READS), "team:read"]})
    row = world.connect(email="ada@example.com")
    with Visitor() as visitor:
        world.log_in(visitor)
        visitor.open(f"{world.product.url}/connections/")
        assert "Granted, but needed by nothing" in visitor.page.text
    assert asked_for(world, page_for(world, row, "&needed=1")) == READS
    with Visitor() as visitor:
        connect_at(world, visitor, f"&account={row.pk}&needed=1")
        visitor.open(f"{world.product.url}/connections/")
        assert "needed by nothing" not in visitor.page.text
    row.refresh_from_db()
    assert set(row.scopes) == READS


def test_the_link_of_a_tool_is_exact_whatever_the_installation_asks_for() -> None:
    granted: ConnectionRef = account("ada", scopes=frozenset({"a"}))
    there: Admission = admission(granted)
    assert gate.scopes_for(there, granted, ("b",)) == ("a", "b")
    assert set(gate.scopes_for(there, granted)) == {"a", *READS}
    assert set(gate.scopes_for(there, None)) == READS
