"""An MCP server that nobody here has heard of, from its address to an answer; and servers that lie about themselves."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from metaagent.visitor import Visitor
from providers.models import Installation
from tests.flows.protected import Site
from tests.world import World, run, serve
from vault.models import Connection


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    port = int(os.environ["TEST_OTHER_PORT"])
    made = Site(f"http://127.0.0.1:{port}")
    with serve(made, port):
        yield made


def install(world: World, slug: str, *words: str) -> dict[str, Any]:
    out = io.StringIO()
    call_command("provider_install", world.tenant.slug, slug, *words, "--json", stdout=out, stderr=io.StringIO())
    found: dict[str, Any] = json.loads(out.getvalue())
    return found


def ask(world: World, slug: str, tool: str, **args: Any) -> Any:
    async def call() -> Any:
        async with world.client(url=f"{world.product.url}/mcp/{world.tenant.slug}/{slug}") as client:
            options = {"mode": "tool", "tool": tool, "args": args}
            return await client.call_tool(f"use_{slug}", {"prompt": "run it", "options": options})

    return run(call())


def error(answer: Any) -> dict[str, Any]:
    assert answer.is_error, answer
    found: dict[str, Any] = answer.structured_content["error"]
    return found


def connect(world: World, link: str) -> None:
    with Visitor() as visitor:
        world.begin(visitor, link)
        assert visitor.page.status_code == 200, visitor.page.text
        assert "is connected" in visitor.page.text


def row(world: World, slug: str) -> Installation:
    return Installation.objects.get(tenant=world.tenant, slug=slug)


def test_an_address_is_enough_for_a_server_with_accounts(world: World, site: Site) -> None:
    done = install(world, "notes", "--source", "mcp", "--url", f"{site.url}/mcp", "--trust-hints")
    assert (done["access"], done["tools"]) == ("oauth", None)
    client = site.authority.clients[done["client_id"]]
    assert [str(uri) for uri in client.redirect_uris or []] == [done["redirect_uri"]]
    found = row(world, "notes")
    assert found.facts["oauth"]["resource"] == f"{site.url}/mcp"
    assert client.client_secret
    assert client.client_secret not in json.dumps(found.facts)

    missing = error(ask(world, "notes", "latest_notes"))
    assert (missing["code"], missing["scopes"]) == ("needs_auth", ["notes:read"])
    connect(world, missing["connect_url"])
    connection = Connection.objects.get(installation=found)
    assert connection.account_id.endswith(f":of:{world.me.user.pk}")
    assert (connection.account_label, connection.scopes) == (world.me.user.email, ["notes:read"])
    assert site.authority.asked[-1].resource == f"{site.url}/mcp"
    answer = ask(world, "notes", "latest_notes")
    assert not answer.is_error, answer
    assert "buy milk" in answer.structured_content["text"]

    # Publishing needs more: the link asks for what was allowed and for that, and then it works.
    miss = error(ask(world, "notes", "publish_note", text="hello"))
    assert (miss["code"], miss["missing_scopes"]) == ("capability_miss", ["notes:write"])
    connect(world, miss["connect_url"])
    assert site.authority.asked[-1].scopes == ["notes:read", "notes:write"]
    connection.refresh_from_db()
    assert connection.scopes == ["notes:read", "notes:write"]
    assert Connection.objects.filter(installation=found).count() == 1
    assert "Published: hello" in ask(world, "notes", "publish_note", text="hello").structured_content["text"]


def test_installing_it_again_registers_nothing_and_disconnects_nobody(world: World, site: Site) -> None:
    words = ("--source", "mcp", "--url", f"{site.url}/mcp")
    first = install(world, "notes", *words)
    registered = len(site.authority.clients)
    connect(world, error(ask(world, "notes", "latest_notes"))["connect_url"])
    again = install(world, "notes", *words, "--exposure", "strict")
    assert (again["client_id"], again["ended"], again["id"]) == (first["client_id"], 0, first["id"])
    assert len(site.authority.clients) == registered
    assert Connection.objects.get(installation_id=first["id"]).status == "ready"
    elsewhere = install(world, "notes", "--source", "mcp", "--url", f"{site.url}/open/mcp")
    assert (elsewhere["ended"], elsewhere["access"], elsewhere["client_id"]) == (1, "none", None)
    assert not ask(world, "notes", "latest_notes").is_error


def test_a_server_without_accounts_works_at_once_for_everybody(world: World, site: Site) -> None:
    done = install(world, "open", "--source", "mcp", "--url", f"{site.url}/open/mcp", "--trust-hints")
    assert (done["access"], done["tools"]) == ("none", 2)
    [connection] = Connection.objects.filter(installation_id=done["id"])
    assert (connection.owner, connection.account_label) == (None, "no account needed")
    assert connection.account_id == f"{site.url.removeprefix('http://')}:none"
    site.headers.clear()
    answer = ask(world, "open", "latest_notes")
    assert "buy milk" in answer.structured_content["text"]
    assert not any("authorization" in headers for headers in site.headers)
    assert install(world, "open", "--trust-hints")["ended"] == 0
    with Visitor() as visitor:
        visitor.open(f"{world.product.url}/login/")
        world.log_in(visitor)
        visitor.open(f"{world.product.url}/connections/")
        assert "/connect/open/" not in visitor.page.text
        visitor.open(f"{world.product.url}/connect/open/?tenant={world.tenant.slug}")
        assert "needs no account" in visitor.page.text


@pytest.mark.parametrize("said", ["right", "none", "wrong"])
def test_an_answer_without_the_issuer_it_promised_is_refused_like_a_wrong_one(
    world: World, site: Site, said: str
) -> None:
    install(world, "notes", "--source", "mcp", "--url", f"{site.url}/mcp")
    found = row(world, "notes")
    oauth = {**found.facts["oauth"], "iss_required": True}  # as metadata with RFC 9207 says
    Installation.objects.filter(pk=found.pk).update(facts={**found.facts, "oauth": oauth}, version=found.version + 1)
    link = error(ask(world, "notes", "latest_notes"))["connect_url"]
    issuer = site.authority.issuer
    site.authority.iss = {"right": issuer, "none": None, "wrong": "https://evil.example"}[said]
    try:
        with Visitor() as visitor:
            world.begin(visitor, link)
    finally:
        site.authority.iss = issuer
    assert ("is connected" in visitor.page.text) == (said == "right")
    if said != "right":
        assert "That answer was not from" in visitor.page.text
        assert [code.code for code in site.authority.codes.values()]  # nobody has tried to exchange it


def test_a_provider_that_has_to_be_told_of_us_says_what_to_register_and_goes_on_with_it(
    world: World, site: Site
) -> None:
    words = ("--source", "mcp", "--url", f"{site.url}/mcp")
    given = ("--authorize-url", f"{site.url}/authorize", "--token-url", f"{site.url}/token", "--scopes", "notes:read")
    with pytest.raises(CommandError, match="--client-id is missing") as caught:
        install(world, "notes", *words, *given)
    draft = row(world, "notes")
    redirect_uri = f"{world.product.url}/oauth/callback/{draft.pk}/"
    assert redirect_uri in str(caught.value)
    assert (caught.value.returncode, draft.enabled) == (2, False)
    done = install(world, "notes", "--client-id", "mine")
    assert (done["redirect_uri"], done["client_id"]) == (redirect_uri, "mine")
    found = row(world, "notes")
    assert (found.enabled, found.overrides["token_url"]) == (True, f"{site.url}/token")
    with Visitor(stops_at=f"{site.url}/authorize") as visitor:
        world.begin(visitor, error(ask(world, "notes", "latest_notes"))["connect_url"])
        asked = visitor.page.headers["location"]
    assert "client_id=mine" in asked
    assert "resource=" in asked


def test_an_installation_introduces_itself_by_a_document_if_it_uses_one(world: World) -> None:
    with world.product.http as http:
        assert http.get(f"/oauth/client/{world.installation.pk}/").status_code == 404
        url = f"{world.product.url}/oauth/client/{world.installation.pk}/"
        Installation.objects.filter(pk=world.installation.pk).update(client_id=url)
        answer = http.get(f"/oauth/client/{world.installation.pk}/")
        assert answer.headers["content-type"] == "application/json"
        assert "max-age" in answer.headers["cache-control"]
        document = answer.json()
        assert (document["client_id"], document["token_endpoint_auth_method"]) == (url, "none")
        assert document["redirect_uris"] == [f"{world.product.url}/oauth/callback/{world.installation.pk}/"]
        Installation.objects.filter(pk=world.installation.pk).update(enabled=False)
        assert http.get(f"/oauth/client/{world.installation.pk}/").status_code == 404


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("moved", "is a redirect, which is not followed"),
        ("large", "too large"),
        ("bomb", "too large"),
        ("other", "is about another address"),
        ("issuer", "says that it is another issuer's"),
        ("inside", "leads into a network"),
        ("gone", "There is no resource metadata"),
    ],
)
def test_a_server_that_lies_is_refused_in_one_sentence_and_nothing_is_stored(
    world: World, site: Site, what: str, words: str
) -> None:
    with pytest.raises(CommandError, match=words) as caught:
        install(world, "liar", "--source", "mcp", "--url", f"{site.url}/lies/{what}/mcp")
    assert "\n" not in str(caught.value)
    assert not Installation.objects.filter(tenant=world.tenant, slug="liar").exists()
