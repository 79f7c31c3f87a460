"""The console's connections: whose they are and how they do, found among thousands, and ended; never a token."""

from __future__ import annotations

import re
from html import unescape
from uuid import uuid4

import pytest
from django.db import connection as database
from django.test import Client
from django.test.utils import CaptureQueriesContext

from metaagent.visitor import Visitor
from tenants import services as tenants
from tenants.keyset import A_PAGE
from tests.console import console, logged_in, told
from tests.vault.rows import fill
from tests.world import World
from vault.models import Connection, SealedTokenSet


def ids(visitor: Visitor) -> list[str]:
    return re.findall(r'/connections/([0-9a-f-]{36})/"><bdi>', visitor.page.text)


def test_each_connection_says_whose_it_is_how_it_is_and_what_it_allows(world: World) -> None:
    mine = world.connect()
    other = fill(world.installation, world.person().user, 1)[0]
    Connection.objects.filter(pk=other.pk).update(status="needs_auth", reason="refresh_failed")
    shared = fill(world.installation, world.me.user, 1)[0]
    Connection.objects.filter(pk=shared.pk).update(owner=None, account_label="Everybody's")
    with logged_in(world, "auditor") as visitor:
        visitor.open(console(world, "connections/"))
        text = told(visitor)
        assert set(ids(visitor)) == {str(row.pk) for row in (mine, other, shared)}
        assert f"{mine.account_label} Sentry {world.me.user.email} Ready" in text
        assert "Needs attention Its access could not be renewed" in text
        assert "Everybody's Sentry Shared Ready" in text
        visitor.open(console(world, f"connections/{mine.pk}/"))
        one = told(visitor)
    assert "What it allows" in one
    assert all(scope in one for scope in mine.scopes)
    tokens = SealedTokenSet.objects.get(connection=mine)
    assert bytes(tokens.access).hex() not in visitor.page.text


def test_thousands_are_gone_through_page_by_page_and_none_is_missed_or_shown_twice(world: World) -> None:
    fill(world.installation, world.me.user, 2 * A_PAGE + 20)
    seen: list[str] = []
    with logged_in(world, "auditor") as visitor:
        visitor.open(console(world, "connections/"))
        while True:
            seen += ids(visitor)
            if len(seen) == A_PAGE:
                fill(world.installation, world.me.user, 3)  # newer ones move nothing
            older = re.search(r'rel="next" href="([^"]*)"', visitor.page.text)
            if older is None:
                break
            visitor.open(console(world, f"connections/{unescape(older[1])}"))
    assert len(seen) == len(set(seen)) == 2 * A_PAGE + 20


def test_they_are_found_by_account_person_provider_status_and_whether_they_are_shared(world: World) -> None:
    person = world.person()
    rows = fill(world.installation, person.user, 4)
    Connection.objects.filter(pk=rows[0].pk).update(account_label="Münster Büro")
    Connection.objects.filter(pk=rows[1].pk).update(name="the finance one")
    Connection.objects.filter(pk=rows[2].pk).update(status="revoked", reason="not_offered")
    Connection.objects.filter(pk=rows[3].pk).update(owner=None)
    fill(world.installation, world.me.user, 1)
    with logged_in(world, "auditor") as visitor:
        for query, wanted in (
            ("q=büro", rows[:1]),
            ("q=FINANCE", rows[1:2]),
            (f"person={person.user.email[:8].upper()}", rows[:3]),
            ("status=revoked", rows[2:3]),
            ("shared=1", rows[3:]),
            ("provider=sentry&shared=1", rows[3:]),
            ("provider=github", []),
            ("q=nothing%20like%20that", []),
        ):
            visitor.open(console(world, f"connections/?{query}"))
            assert set(ids(visitor)) == {str(row.pk) for row in wanted}, query
        assert "No connection is like that" in told(visitor)


def test_an_administrator_disconnects_one_and_is_told_what_came_of_it(world: World) -> None:
    row = world.connect()
    admin = world.person()
    tenants.add_member(tenant=world.tenant, user=admin.user, role="admin", by=None)
    with Visitor() as visitor:
        world.log_in(visitor, admin)
        visitor.open(console(world, f"connections/{row.pk}/"))
        visitor.send(visitor.form_with("id"))
        assert f"{row.label} is disconnected, and its access is revoked at Sentry." in told(visitor)
    assert Connection.objects.get(pk=row.pk).status == "revoked"
    [intent] = world.events("connection.revoke.intent")
    assert (intent.user_id, intent.connection_id) == (admin.user.pk, row.pk)
    assert world.error("who am I?")["code"] == "needs_auth"


def test_several_are_ticked_looked_at_once_more_and_disconnected_together(world: World) -> None:
    rows = fill(world.installation, world.person().user, 5)
    with logged_in(world, "admin") as visitor:
        visitor.open(console(world, "connections/"))
        form = next(form for form in visitor.forms() if form.action.endswith("/disconnect/"))
        visitor.send(form, id=[str(row.pk) for row in rows[:3]])
        assert "Disconnect 3 accounts?" in told(visitor)
        assert not Connection.objects.filter(tenant=world.tenant, status="revoking").exists()
        visitor.send(visitor.form_with("id"))
        assert "3 connections ended." in told(visitor)
    assert Connection.objects.filter(tenant=world.tenant, status="ready").count() == 2
    assert {event.user_id for event in world.events("connection.revoke.intent")} == {world.me.user.pk}


def test_ticking_nothing_ends_nothing(world: World) -> None:
    with logged_in(world, "admin") as visitor:
        visitor.open(console(world, "connections/disconnect/"))
        assert "Nothing was ticked" in told(visitor)


@pytest.mark.parametrize("role", ["member", "auditor"])
def test_who_may_not_run_the_tenant_cannot_disconnect_others(world: World, role: str) -> None:
    [row] = fill(world.installation, world.person().user, 1)
    with logged_in(world, role) as visitor:
        assert visitor.open(console(world, "connections/")).status_code == (404 if role == "member" else 200)
        assert "Disconnect those" not in visitor.page.text
        assert visitor.open(console(world, f"connections/disconnect/?id={row.pk}")).status_code == 404
        visitor.open(f"{world.product.url}/connections/")
        form = next(form for form in visitor.forms() if "logout" in form.action)
        form.action = f"/console/{world.tenant.slug}/connections/disconnect/"
        assert visitor.send(form, id=str(row.pk)).status_code == 404
    assert Connection.objects.get(pk=row.pk).status == "ready"


def test_another_tenants_connection_is_as_if_it_were_not_there(world: World) -> None:
    theirs = World(world.product, world.sandbox)
    [row] = fill(theirs.installation, theirs.me.user, 1)
    [mine] = fill(world.installation, world.me.user, 1)
    with logged_in(world, "owner") as visitor:
        for rest in (f"{row.pk}/", f"{uuid4()}/", f"disconnect/?id={row.pk}", f"disconnect/?id={mine.pk}&id={row.pk}"):
            assert visitor.open(console(world, f"connections/{rest}")).status_code == 404, rest
        assert visitor.open(console(world, "connections/disconnect/?id=nonsense")).status_code == 404
        visitor.open(console(world, f"connections/{mine.pk}/"))
        assert visitor.send(visitor.form_with("id"), id=[str(mine.pk), str(row.pk)]).status_code == 404
    assert set(Connection.objects.filter(pk__in=[row.pk, mine.pk]).values_list("status", flat=True)) == {"ready"}


def test_a_full_page_is_small_and_asks_the_database_little(world: World) -> None:
    fill(world.installation, world.me.user, 3)
    tenants.add_member(tenant=world.tenant, user=world.me.user, role="admin", by=None)
    client = Client(SERVER_NAME="127.0.0.1")
    client.force_login(world.me.user)

    def asked() -> tuple[int, int]:
        with CaptureQueriesContext(database) as queries:
            page = client.get(f"/console/{world.tenant.slug}/connections/")
        assert page.status_code == 200
        return len(queries), len(page.content)

    few, _ = asked()
    fill(world.installation, world.me.user, A_PAGE)
    many, size = asked()
    assert many <= few <= 30
    assert size <= 60_000
