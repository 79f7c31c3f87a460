"""A short code to type, for who reads a connect link where they cannot open it."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from django.conf import settings
from django.core.cache import cache
from mcp.types import CallToolResult, TextContent

from metaagent.visitor import Visitor
from tests.world import Person, World
from vault import codes
from vault.models import ConnectLink

CODE = re.compile(r"[BCDFGHJKLMNPQRSTVWXZ]{4}-[BCDFGHJKLMNPQRSTVWXZ]{4}")
WRONG = "That code is not right"


def text(result: CallToolResult) -> str:
    [said] = result.content
    assert isinstance(said, TextContent)
    return said.text


def type_in(world: World, code: str, person: Person | None = None) -> Visitor:
    visitor = Visitor()
    visitor.open(f"{world.product.url}/go/")
    world.log_in(visitor, person)
    visitor.send(visitor.form_with("code"), code=code)
    return visitor


def test_an_answer_that_asks_to_connect_gives_a_code_and_where_to_type_it(world: World) -> None:
    result = world.ask("who am I?")
    error = result.structured_content["error"]
    assert CODE.fullmatch(error["user_code"])
    assert error["code_url"] == f"{world.product.url}/go/"
    told = text(result)
    assert f"(typing {error['user_code']} at {error['code_url']} does the same)" in told
    assert error["connect_url"] in told


def test_a_code_is_kept_as_a_keyed_digest_only(world: World) -> None:
    code = world.error("who am I?")["user_code"]
    [link] = ConnectLink.objects.filter(tenant=world.tenant)
    assert link.code == codes.digest(code)
    assert code.replace("-", "") not in str(link.__dict__)


@pytest.mark.parametrize("typed", ["{0}", " {1} ", "{2}", "{3}"])
def test_a_code_however_it_is_typed_leads_to_the_connect_page(world: World, typed: str) -> None:
    code = world.error("who am I?")["user_code"]
    forms = code, code.replace("-", " "), code.replace("-", "").lower(), f"{code[:2]}.{code[2:]}"
    with type_in(world, typed.format(*forms)) as visitor:
        assert visitor.page.status_code == 200
        assert visitor.page.url.path == "/connect/sentry/"
        assert "Connect your Sentry account" in visitor.page.text
        assert "your client “<bdi>test</bdi>”" in visitor.page.text


def test_a_wrong_an_old_a_used_and_somebody_else_s_code_are_told_apart_by_nobody(world: World) -> None:
    mine, other = world.error("who am I?")["user_code"], world.person()
    answers = [type_in(world, "BBBB-BBBB"), type_in(world, mine, other)]
    ConnectLink.objects.filter(tenant=world.tenant).update(used_at=datetime.now(UTC))
    answers.append(type_in(world, mine))
    past = datetime.now(UTC) - timedelta(seconds=1)
    ConnectLink.objects.filter(tenant=world.tenant).update(used_at=None, expires_at=past)
    answers.append(type_in(world, mine))
    for visitor in answers:
        assert (visitor.page.status_code, WRONG in visitor.page.text) == (422, True)
        visitor.http.close()
    [event] = world.events("connect.open.wrong_person")
    assert event.detail["opened_by"] == str(other.user.pk)


def test_guesses_are_counted_for_each_person_and_address(world: World) -> None:
    code, most = world.error("who am I?")["user_code"], settings.LOGIN_FAILURES_PER_HOUR
    settings.LOGIN_FAILURES_PER_HOUR = 3
    cache.clear()
    try:
        with type_in(world, "BBBB-BBBB") as visitor:
            for guess in ("CCCC-CCCC", "", code):
                visitor.send(visitor.form_with("code"), code=guess)
            assert visitor.page.status_code == 429
        with type_in(world, code, world.person()) as elsewhere:
            assert elsewhere.page.status_code == 429
    finally:
        settings.LOGIN_FAILURES_PER_HOUR = most
        cache.clear()


def test_where_another_system_connects_there_is_no_code(world: World) -> None:
    world.install(connect_url="https://sso.example.com/connect")
    error = world.error("who am I?")
    assert error["connect_url"] == "https://sso.example.com/connect"
    assert "user_code" not in error
    assert "typing" not in text(world.ask("who am I?"))


def test_a_link_opened_as_somebody_else_offers_to_log_in_and_comes_back(world: World) -> None:
    link, other = world.connect_link(), world.person()
    with Visitor() as visitor:
        visitor.open(link)
        world.log_in(visitor, other)
        assert visitor.page.status_code == 403
        form = next(form for form in visitor.forms() if "next" in form.fields)
        visitor.send(form)
        assert visitor.page.url.path == "/login/"
        world.log_in(visitor)
        assert "Connect your Sentry account" in visitor.page.text


def test_logging_out_goes_on_to_no_other_site(world: World) -> None:
    with Visitor() as visitor:
        world.log_in(visitor)
        form = next(form for form in visitor.forms() if "logout" in form.action)
        visitor.send(form, next="https://evil.example/")
        assert str(visitor.page.url) == f"{world.product.url}/login/"
