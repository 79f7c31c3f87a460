"""The console: what is exported and how it does, for those who may look, and for nobody else."""

from __future__ import annotations

import pytest

from metaagent.visitor import Visitor
from tenants import services as tenants
from tests.console import console, told
from tests.world import World


@pytest.mark.parametrize("role", ["auditor", "admin", "owner"])
def test_who_may_look_finds_each_provider_and_how_it_does(world: World, role: str) -> None:
    world.connect()
    world.call_tool("who_am_i")
    tenants.add_member(tenant=world.tenant, user=world.me.user, role=role, by=None)
    with Visitor() as visitor:
        world.log_in(visitor)
        assert "Console" in visitor.open(f"{world.product.url}/connections/").text
        visitor.open(console(world, "providers/"))
        text = told(visitor)
    assert "Sentry use_sentry Well" in text
    assert "1 call" in text
    assert "1 ready" in text


def test_what_needs_a_look_is_said(world: World) -> None:
    connection = world.connect()
    type(connection).objects.filter(pk=connection.pk).update(status="needs_auth", reason="revoked")
    tenants.add_member(tenant=world.tenant, user=world.me.user, role="auditor", by=None)
    with Visitor() as visitor:
        world.log_in(visitor)
        visitor.open(console(world, "providers/"))
        text = told(visitor)
    assert "Needs a look" in text
    assert "To be connected again by their people: 1 connection." in text


def test_a_member_sees_no_console(world: World) -> None:
    with Visitor() as visitor:
        world.log_in(visitor)
        assert "Console" not in visitor.open(f"{world.product.url}/connections/").text
        for rest in ("", "providers/"):
            assert visitor.open(console(world, rest)).status_code == 404
