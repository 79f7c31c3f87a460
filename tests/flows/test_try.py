"""The box that asks as oneself: the same answers and the same limits as in a client, with the steps shown."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from metaagent.visitor import Visitor
from tenants import services as tenants
from tests.console import console, told
from tests.world import World


@pytest.fixture
def visitor(world: World) -> Iterator[Visitor]:
    tenants.add_member(tenant=world.tenant, user=world.me.user, role="admin", by=None)
    with Visitor() as visitor:
        world.log_in(visitor)
        visitor.open(console(world, "try/"))
        yield visitor


def ask(visitor: Visitor, prompt: str, **fields: str) -> str:
    visitor.send(visitor.form_with("prompt"), prompt=prompt, **{"provider": "sentry", **fields})
    return told(visitor)


def test_an_answer_comes_with_the_steps_that_were_taken(world: World, visitor: Visitor) -> None:
    connection = world.connect()
    text = ask(visitor, "who am I?")
    assert "One sure way, without a model" in text
    assert "who_am_i" in text
    [done] = world.events("tool.call.done")
    assert (done.client, done.user_id, done.connection_id) == ("console", world.me.user.pk, connection.pk)
    assert f"/audit/{done.seq}/" in visitor.page.text


def test_who_has_no_account_is_shown_where_to_connect(world: World, visitor: Visitor) -> None:
    ask(visitor, "who am I?")
    assert "/connect/sentry/?link=" in visitor.page.text
    assert not world.events("tool.call.intent")


def test_who_has_several_accounts_chooses_one(world: World, visitor: Visitor) -> None:
    world.connect(email="ada@example.com")
    world.connect_another("bruno@example.com")
    assert "Several accounts are connected. Choose one: Ask as ada@example.com Ask as bruno@example.com" in ask(
        visitor, "who am I?"
    )
    form = visitor.form_with("account")
    bruno = next(value for name, value in form.buttons if name == "account" and "bruno" in _named(visitor, value))
    visitor.send(form, account=bruno)
    assert "who_am_i" in told(visitor)
    assert "bruno@example.com" in told(visitor)


def _named(visitor: Visitor, account: str) -> str:
    """What its button says."""
    return visitor.page.text.partition(f'value="{account}">')[2].partition("</button>")[0]


def test_nothing_but_what_one_is_offered_can_be_asked(world: World, visitor: Visitor) -> None:
    assert "Choose one of the providers." in ask(visitor, "who am I?", provider="github")
    world.install(exposure="strict")
    assert "Nothing to ask yet" in ask(visitor, "who am I?")


def test_what_is_no_question_is_refused_with_what_was_typed(world: World, visitor: Visitor) -> None:
    assert "prompt is empty" in ask(visitor, "   ")


def test_another_tenants_account_is_out_of_reach(world: World, visitor: Visitor) -> None:
    elsewhere = World(world.product, world.sandbox)
    elsewhere.connect()
    visitor.open(f"{world.product.url}/console/{elsewhere.tenant.slug}/try/")
    assert visitor.page.status_code == 404
