"""Adding a provider in the console: what is found is shown first, and nothing is stored before somebody says so."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from html import unescape
from typing import Any

import pytest
from django.conf import settings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection as database
from django.test import Client
from django.test.utils import CaptureQueriesContext

from providers import catalogue
from providers.models import Installation
from providers.sources.openapi import operations
from tenants import services as tenants
from tests.flows.protected import Site
from tests.flows.test_manifest_review import Notes, tool
from tests.world import World, serve
from vault.links import callback_url
from vault.models import Connection
from vault.services.clients import client_of

PORT = int(os.environ["TEST_OTHER_PORT"])
HERE = f"http://127.0.0.1:{PORT}"
SECRET = "a-client-secret-that-nobody-may-read"


@dataclass
class Strangers:
    """Servers that nobody here has heard of: the ones of `Site`, and below `/notes/` one whose tools change."""

    site: Site = field(default_factory=lambda: Site(HERE))
    notes: Notes = field(default_factory=Notes)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await (self.notes if scope.get("path", "").startswith("/notes/") else self.site)(scope, receive, send)


@pytest.fixture(scope="module")
def strangers() -> Iterator[Strangers]:
    made = Strangers()
    with serve(made, PORT):
        yield made


@pytest.fixture
def site(strangers: Strangers) -> Site:
    return strangers.site


def seat(world: World, role: str = "admin", *, confirmed: bool = True) -> Client:
    """The browser of somebody of this role, who has just said their password."""
    person = world.person()
    tenants.add_member(tenant=world.tenant, user=person.user, role=role, by=None)
    browser = Client(SERVER_NAME="127.0.0.1")
    browser.force_login(person.user)
    if confirmed:
        session = browser.session
        session["confirmed_at"] = datetime.now(UTC).timestamp()
        session.save()
    return browser


def at(world: World, rest: str) -> str:
    return f"/console/{world.tenant.slug}/{rest}"


def text(answer: Any) -> str:
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", answer.content.decode())).split())


def fields(answer: Any) -> dict[str, Any]:
    """What the last form of the page would send, untouched and without its buttons."""
    form = answer.content.decode().rpartition("<form")[2].partition("</form")[0]
    found = {
        name: unescape(value)
        for name, value in re.findall(r'<input id="\w+" name="(\w+)"[^>]*? value="([^"]*)"', form, re.DOTALL)
    }
    found |= {name: unescape(value) for name, value in re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', form)}
    for name, options in re.findall(r'<select id="\w+" name="(\w+)">(.*?)</select>', form, re.DOTALL):
        found[name] = (re.findall(r'value="(\w*)" selected', options) or re.findall(r'value="(\w*)"', options))[0]
    return found


def rows(world: World) -> list[str]:
    return list(Installation.objects.filter(tenant=world.tenant).exclude(slug="sentry").values_list("slug", flat=True))


# --- the catalogue


def test_the_catalogue_is_searched_and_says_what_is_exported_already(world: World) -> None:
    browser = seat(world)
    with CaptureQueriesContext(database) as queries:
        every = browser.get(at(world, "install/"))
    assert len(queries) <= 30
    assert len(every.content) <= 60_000
    assert text(every).count(" tools") >= len(catalogue.slugs())
    assert "Sentry Errors, issues, releases and projects 15 tools Exported" in text(every)
    some = text(browser.get(at(world, "install/?q=mail search")))
    assert "Gmail" in some
    assert "Slack Messages" not in some
    assert "Nothing in the catalogue is like that" in text(browser.get(at(world, "install/?q=nothing-like-it")))


def test_one_of_the_catalogue_waits_switched_off_until_its_client_is_entered(world: World) -> None:
    browser = seat(world)
    look = browser.get(at(world, "install/catalogue/github/"))
    assert "When people connect, it asks them for" in text(look)
    assert rows(world) == []
    went = browser.post(at(world, "install/catalogue/github/"), {**fields(look), "consent": "writes"})
    assert went["Location"] == at(world, "providers/github/client/")
    row = Installation.objects.get(tenant=world.tenant, slug="github")
    assert (row.enabled, row.consent) == (False, "writes")
    page = browser.get(went["Location"])
    assert callback_url(row.pk) in page.content.decode()
    assert "Open Settings, Developer settings, GitHub Apps" in text(page)
    assert "GitHub use_github Needs a client" in text(browser.get(at(world, "providers/")))
    assert browser.get(at(world, "install/catalogue/github/"))["Location"] == at(world, "providers/github/")

    empty = browser.post(went["Location"], {**fields(page), "client_id": " ", "client_secret": SECRET})
    assert (empty.status_code, "The client ID is missing." in text(empty)) == (400, True)
    done = browser.post(went["Location"], {**fields(page), "client_id": "mine", "client_secret": SECRET}, follow=True)
    assert "Saved: this is the client at GitHub now." in text(done)
    row.refresh_from_db()
    assert (row.enabled, row.client_id, client_of(row).secret) == (True, "mine", SECRET)
    assert f"{settings.PUBLIC_URL}/mcp/{world.tenant.slug}/github" in done.content.decode()
    again = browser.get(at(world, "providers/github/client/"))
    for page in (empty, done, again):
        assert SECRET not in page.content.decode()
    assert [event.provider for event in world.events("secret.set.done")] == ["github"]
    assert SECRET not in str([event.detail for event in world.events()])


# --- an MCP server


def test_a_server_is_looked_at_without_a_trace_and_then_registered_with(world: World, site: Site) -> None:
    browser, registered = seat(world), len(site.authority.clients)
    look = browser.post(at(world, "install/mcp/"), {"url": f"{HERE}/mcp", "op": "look"})
    said = text(look)
    assert f"are connected with OAuth at 127.0.0.1:{PORT}" in said
    assert "registers itself when you add it" in said
    assert "notes:read" in said
    assert (len(site.authority.clients), rows(world)) == (registered, [])
    given = {**fields(look), "slug": "notes", "title": "Our notes", "op": "add"}
    done = browser.post(at(world, "install/mcp/"), given, follow=True)
    assert done.redirect_chain[-1][0] == at(world, "providers/notes/")
    assert "Our notes is added." in text(done)
    assert "Nobody has connected an account yet" in text(done)
    row = Installation.objects.get(tenant=world.tenant, slug="notes")
    assert (row.enabled, row.client_id in site.authority.clients) == (True, True)
    secret = client_of(row).secret
    assert secret is not None
    assert secret not in done.content.decode()


def test_a_server_for_everybody_serves_at_once(world: World, site: Site) -> None:
    browser = seat(world)
    look = browser.post(at(world, "install/mcp/"), {"url": f"{site.url}/open/mcp", "op": "look"})
    assert f"None are needed: everybody in {world.tenant.name} can use it at once" in text(look)
    assert "Tools 2" in text(look)
    browser.post(at(world, "install/mcp/"), {**fields(look), "slug": "open", "trust_hints": "on", "op": "add"})
    assert Connection.objects.get(installation__slug="open", tenant=world.tenant).owner is None


def test_a_server_that_takes_no_unknown_client_leads_to_what_is_to_be_registered(world: World, site: Site) -> None:
    browser = seat(world)
    given = {"url": f"{site.url}/mcp", "authorize_url": f"{site.url}/authorize", "token_url": f"{site.url}/token"}
    look = browser.post(at(world, "install/mcp/"), {**given, "op": "look"})
    assert "must be registered by you" in text(look)
    went = browser.post(at(world, "install/mcp/"), {**fields(look), "slug": "notes", "op": "add"})
    assert went["Location"] == at(world, "providers/notes/client/")
    row = Installation.objects.get(tenant=world.tenant, slug="notes")
    assert (row.enabled, callback_url(row.pk) in browser.get(went["Location"]).content.decode()) == (False, True)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("/lies/moved/mcp", "is a redirect, which is not followed"),
        ("/lies/other/mcp", "is about another address"),
        ("/lies/inside/mcp", "leads into a network"),
        ("/keyed/mcp", ""),
        ("https://169.254.169.254/mcp", "leads into a network"),
        ("ftp://files.example.com/", "“Address” must be an address that this server connects to"),
        ("", "“Address” is missing"),
    ],
)
def test_what_cannot_be_used_is_said_beside_what_was_typed(world: World, site: Site, url: str, words: str) -> None:
    url = f"{HERE}{url}" if url.startswith("/") else url  # the port is another one in each process
    browser = seat(world)
    answer = browser.post(at(world, "install/mcp/"), {"url": url, "title": "Typed by me", "op": "add"})
    if words:
        assert (answer.status_code, words in text(answer)) == (400, True), text(answer)
        assert "--" not in re.sub(r"<!--.*?-->", "", text(answer))
    assert url in unescape(answer.content.decode())
    assert rows(world) == []


def test_what_differs_from_what_was_shown_is_shown_again_and_not_stored(world: World, strangers: Strangers) -> None:
    browser, notes, where = seat(world), strangers.notes, at(world, "install/mcp/")
    look = browser.post(where, {"url": f"{HERE}/notes/mcp", "op": "look"})
    notes.tools = [*notes.tools, tool("mail_everybody", "Mail something to everybody.")]
    again = browser.post(where, {**fields(look), "slug": "notes", "op": "add"})
    assert "What was found is not what you were shown." in text(again)
    assert ("Tools 3" in text(again), rows(world)) == (True, [])
    browser.post(where, {**fields(again), "slug": "notes", "op": "add"})
    assert rows(world) == ["notes"]


def test_a_name_that_is_taken_is_refused_and_another_one_is_offered(world: World, site: Site) -> None:
    browser, where = seat(world), at(world, "install/mcp/")
    names = []
    for _ in range(2):
        look = browser.post(where, {"url": f"{site.url}/open/mcp", "op": "look"})
        names.append(fields(look)["slug"])
        browser.post(where, {**fields(look), "op": "add"})
    assert names == ["provider", "provider_2"]
    taken = browser.post(where, {**fields(look), "slug": "sentry", "op": "add"})
    assert (taken.status_code, "use_sentry is exported already. Choose another name." in text(taken)) == (400, True)
    assert Installation.objects.get(tenant=world.tenant, slug="sentry").source == "catalogue"


# --- an OpenAPI document


def document(**members: Any) -> bytes:
    paths = {
        f"/{name}": {
            "get": {
                "operationId": f"list_{name}",
                "summary": f"List {name}.",
                "tags": [name],
                "responses": {"200": {"description": "them"}},
            }
        }
        for name in ("things", "people")
    }
    paths["/told"] = {"trace": {}}
    said = {
        "openapi": "3.1.0",
        "info": {"title": "Errors of ours", "version": "1"},
        "servers": [{"url": "https://api.example.com/v1"}],
        "paths": paths,
        **members,
    }
    return json.dumps(said).encode()


def file(content: bytes) -> SimpleUploadedFile:
    return SimpleUploadedFile("openapi.json", content, "application/json")


def test_a_file_is_looked_at_once_and_kept_until_it_is_added(world: World) -> None:
    browser, where = seat(world), at(world, "install/openapi/")
    look = browser.post(where, {"document": file(document()), "op": "look"})
    said = text(look)
    assert "Add Errors of ours" in said
    assert "2 of 2 operations" in said
    assert "people 1" in said
    assert "1 cannot be offered TRACE /told Its method is not one that is called." in said
    given = fields(look)
    assert given["slug"] == "errors_of_ours"
    assert rows(world) == []
    fewer = browser.post(where, {**given, "tags": ["things"], "op": "look"})
    assert "1 of 2 operations" in text(fewer)
    done = browser.post(where, {**fields(fewer), "tags": ["things"], "op": "add"}, follow=True)
    assert "Errors of ours is added." in text(done)
    row = Installation.objects.get(tenant=world.tenant, slug="errors_of_ours")
    assert (row.facts["tags"], "document" in browser.session) == (["things"], False)


def test_a_file_that_is_kept_no_more_is_asked_for_again(world: World) -> None:
    browser, where = seat(world), at(world, "install/openapi/")
    given = fields(browser.post(where, {"document": file(document()), "op": "look"}))
    stranger = seat(world)
    session = browser.session
    session["document"]["at"] -= 3_600
    session.save()
    for each in (stranger, browser):
        answer = each.post(where, {**given, "op": "add"})
        assert (answer.status_code, "Choose it again" in text(answer)) == (400, True)
    both = browser.post(where, {"url": "https://api.example.com/", "document": file(document()), "op": "look"})
    assert "Give an address or choose a file, not both." in text(both)
    assert "This is a Swagger 2 document" in text(browser.post(where, {"document": file(b'{"swagger": "2.0"}')}))
    assert rows(world) == []


def test_a_document_with_too_many_operations_offers_its_tags(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations, "MOST", 1)
    browser, where = seat(world), at(world, "install/openapi/")
    answer = browser.post(where, {"document": file(document()), "op": "look"})
    assert (answer.status_code, "select the tags or operations that are needed" in text(answer)) == (400, True)
    assert "people 1" in text(answer)
    assert "1 of 2 operations" in text(browser.post(where, {**fields(answer), "tags": ["people"], "op": "look"}))


# --- who


@pytest.mark.parametrize("role", ["member", "auditor"])
def test_who_does_not_run_the_tenant_finds_no_page(world: World, role: str) -> None:
    browser = seat(world, role)
    for rest in ("", "catalogue/github/", "mcp/", "openapi/"):
        for answer in (browser.get(at(world, f"install/{rest}")), browser.post(at(world, f"install/{rest}"))):
            assert answer.status_code in {404, 405}, rest
    assert browser.get(at(world, "providers/sentry/client/")).status_code == 404
    assert rows(world) == []


def test_a_client_secret_wants_a_recent_password(world: World) -> None:
    browser, where = seat(world, confirmed=False), at(world, "providers/sentry/client/")
    for answer in (browser.get(where), browser.post(where, {"client_id": "mine", "client_secret": SECRET})):
        assert answer["Location"].startswith("/confirm/?next=")
        assert SECRET not in answer["Location"]
    assert Installation.objects.get(pk=world.installation.pk).client_id == world.installation.client_id
