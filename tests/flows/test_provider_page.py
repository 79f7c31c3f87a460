"""A provider's own page in the console: seen by those who look, changed by those who run, and by nobody at once."""

from __future__ import annotations

from typing import Any

from django.db import connection as database
from django.test import Client
from django.test.utils import CaptureQueriesContext

from providers import services as providers
from providers.models import Installation
from tests.flows.test_install_pages import at, file, seat, text
from tests.flows.test_install_pages import document as openapi
from tests.world import World
from vault.models import Connection
from vault.services.clients import client_of

SECRET = "another-secret-that-nobody-may-read"


def row(world: World) -> Installation:
    return Installation.objects.get(pk=world.installation.pk)


def send(browser: Client, world: World, op: str, **said: Any) -> Any:
    """A form of the page, with the version it is about unless another is said."""
    given = {"op": op, "version": row(world).version, **said}
    return browser.post(at(world, "providers/sentry/"), given, follow=True)


def test_who_looks_sees_what_it_is_and_can_change_nothing(world: World) -> None:
    world.connect()
    browser = seat(world, "auditor")
    with CaptureQueriesContext(database) as queries:
        page = browser.get(at(world, "providers/sentry/"))
    assert (len(queries) <= 30, len(page.content) <= 60_000) == (True, True)
    said = text(page)
    secret = client_of(world.installation).secret
    for words in (
        "Sentry use_sentry Well",
        "The catalogue",
        f"/oauth/callback/{world.installation.pk}/",
        world.installation.client_id,
        "there is one, sealed",
        "1 ready",
        "15",
    ):
        assert words in said, words
    assert f"{world.product.url}/mcp/{world.tenant.slug}/sentry" in page.content.decode()
    assert secret is not None
    assert secret not in page.content.decode()
    assert "Remove it" not in said
    assert 'name="op"' not in page.content.decode()
    for op in ("settings", "limits", "off", "remove", "test"):
        assert send(browser, world, op, exposure="strict").status_code == 404
    assert (row(world).version, row(world).exposure) == (world.installation.version, "soft")


def test_how_it_is_offered_is_changed_and_what_is_off_stays_off(world: World) -> None:
    connection, browser = world.connect(), seat(world)
    send(browser, world, "off")
    assert row(world).enabled is False
    page = send(browser, world, "settings", exposure="strict", consent="writes", scopes="org:read", connect_url="")
    assert "Saved. It holds from the next call on." in text(page)
    found = row(world)
    assert (found.enabled, found.exposure, found.consent) == (False, "strict", "writes")
    assert found.overrides["scopes"] == ["org:read"]
    assert "Nothing was changed." in text(send(browser, world, "settings", exposure="strict"))
    assert row(world).version == found.version
    bad = send(browser, world, "settings", connect_url="http://elsewhere.example.com/", consent="never")
    assert (bad.status_code, "must be an https address" in text(bad)) == (400, True)
    assert 'value="http://elsewhere.example.com/"' in bad.content.decode()
    assert row(world).consent == "writes"
    assert "is switched on" in text(send(browser, world, "on"))
    connection.refresh_from_db()
    assert (row(world).enabled, connection.status) == (True, "ready")
    [event] = [each for each in world.events("provider.change.done") if each.detail.get("consent") == "writes"]
    assert event.user_id is not None


def test_a_form_about_what_is_no_longer_so_is_refused_with_what_holds_now(world: World) -> None:
    browser, seen = seat(world), row(world).version
    providers.change(installation=row(world), exposure="strict", limits={"breaker_failures": "3"}, by=None)
    for op, said in (
        ("settings", {"consent": "always", "exposure": "soft", "scopes": "typed:by_me"}),
        ("limits", {"breaker_failures": "7"}),
        ("off", {}),
    ):
        page = send(browser, world, op, **{**said, "version": seen})
        assert (page.status_code, "Somebody has changed this provider meanwhile" in text(page)) == (409, True)
        assert '<option value="strict" selected>' in page.content.decode()
        if op == "settings":
            assert "Scopes: typed:by_me" in text(page)
            assert "Who has not connected an account: sees it, and is given a link" in text(page)
    for unsaid in ("", "x", "9" * 40):
        assert send(browser, world, "off", version=unsaid).status_code == 409
    found = row(world)
    assert (found.enabled, found.consent, found.limits) == (True, "never", {"breaker_failures": 3})


def test_limits_are_set_within_what_they_may_be_and_taken_back(world: World) -> None:
    browser = seat(world)
    send(browser, world, "limits", breaker_failures="3", result_cache_s="")
    page = send(browser, world, "limits", breaker_failures="5000", tool_calls_per_ask="7")
    assert (page.status_code, "breaker_failures must be a whole number" in text(page)) == (400, True)
    assert 'value="5000"' in page.content.decode()
    assert row(world).limits == {"breaker_failures": 3}
    larger = send(browser, world, "limits", breaker_failures="", tool_calls_per_ask="900")
    assert row(world).limits == {"tool_calls_per_ask": 900}
    assert "the deployment's 24 is smaller, and counts" in text(larger)


def test_a_new_secret_ends_nothing_and_another_client_ends_the_connections(world: World) -> None:
    connection, browser, where = world.connect(), seat(world), at(world, "providers/sentry/client/")
    page = browser.get(where)
    assert "Another client ID ends the 1 connection there is" in text(page)
    given = {"client_id": world.installation.client_id, "client_secret": SECRET}
    done = browser.post(where, {**given, "version": row(world).version}, follow=True)
    connection.refresh_from_db()
    assert (connection.status, client_of(row(world)).secret) == ("ready", SECRET)
    assert SECRET not in done.content.decode() + browser.get(where).content.decode()
    assert browser.post(where, {**given, "client_id": "other", "version": "1"}).status_code == 400
    kept = browser.post(where, {**given, "client_secret": "", "version": row(world).version}, follow=True)
    assert (kept.status_code, client_of(row(world)).secret) == (200, SECRET)
    # The old client cannot revoke any more: its secret was wrong. They have ended here, and going on takes a word.
    other = {"client_id": "other", "client_secret": "", "version": row(world).version}
    held = browser.post(where, other)
    assert (held.status_code, "“Go on all the same”" in text(held)) == (400, True)
    assert row(world).client_id == world.installation.client_id
    done = browser.post(where, {**other, "give_up": "on"}, follow=True)
    connection.refresh_from_db()
    assert "Their people connect again." in text(done)
    assert connection.status != "ready"
    assert (row(world).client_id, client_of(row(world)).secret) == ("other", None)


def test_removing_says_what_it_ends_and_ends_it(world: World) -> None:
    connection, browser, revoked = world.connect(), seat(world), world.stats()["revocations"]
    assert "1 connection ends here at once" in text(browser.get(at(world, "providers/sentry/")))
    done = send(browser, world, "remove")
    assert "Sentry is removed. 1 connection ended." in text(done)
    assert "Nothing is exported yet" in text(done)
    assert world.stats()["revocations"] == revoked + 1
    assert not Connection.objects.filter(pk=connection.pk, status="ready").exists()
    assert browser.get(at(world, "providers/sentry/")).status_code == 404


def test_a_test_says_what_it_found_and_changes_nothing(world: World) -> None:
    browser, before = seat(world), row(world).version
    page = send(browser, world, "test")
    said = text(page)
    assert (page.status_code, row(world).version) == (200, before)
    assert "Connects: PKCE, parameters, client authentication" in said
    assert "Token endpoint and client the provider knows this client" in said
    assert "Failed" not in said


def test_another_tenants_provider_is_not_there(world: World, product: Any, sandbox: Any) -> None:
    other = World(product, sandbox)
    Installation.objects.filter(pk=other.installation.pk).update(slug="theirs")
    browser = seat(world, "owner")
    for rest in ("", "client/", "tools/"):
        assert browser.get(at(world, f"providers/theirs/{rest}")).status_code == 404
        assert browser.get(at(other, f"providers/theirs/{rest}")).status_code == 404
    assert browser.post(at(world, "providers/theirs/"), {"op": "remove"}).status_code == 404


def test_the_tools_of_the_catalogue_are_shown_and_cannot_be_decided_about(world: World) -> None:
    page = seat(world).get(at(world, "providers/sentry/tools/"))
    said = text(page)
    assert "15 of 15 tools" in said
    assert "who_am_i Say which Sentry account this is. takes nothing · needs org:read Reads" in said
    assert "they come with metaagent, and change only with it" in said
    assert 'name="op"' not in page.content.decode()
    assert "effect:" not in page.content.decode()
    found = seat(world, "auditor").get(at(world, "providers/sentry/tools/?q=which account"))
    assert "1 of 15 tools" in text(found)


def test_a_title_is_said_for_what_is_no_file_of_the_catalogue(world: World) -> None:
    browser = seat(world)
    look = browser.post(at(world, "install/openapi/"), {"document": file(openapi()), "op": "look"})
    kept = {"kept": look.context["kept"], "seen": look.context["draft"].seen, "slug": "ours", "op": "add"}
    browser.post(at(world, "install/openapi/"), kept)
    found = Installation.objects.get(tenant=world.tenant, slug="ours")
    said = {"op": "settings", "version": found.version, "title": "Ours", "about": "things"}
    assert "Ours" in text(browser.post(at(world, "providers/ours/"), said, follow=True))
    found.refresh_from_db()
    assert (found.facts["title"], found.facts["about"]) == ("Ours", "things")


def test_a_page_of_many_tools_stays_small(world: World) -> None:
    text_ = {"type": "string"}
    paths = {
        f"/things_of_some_kind/{number}": {
            "get": {
                "operationId": f"list_things_of_some_kind_{number}",
                "summary": f"List the things of some kind with number {number}, the newest first, with who made them.",
                "parameters": [{"name": f"argument_{each}", "in": "query", "schema": text_} for each in range(12)],
                "responses": {"200": {"description": "them"}},
            }
        }
        for number in range(60)
    }
    browser, where = seat(world), at(world, "install/openapi/")
    look = browser.post(where, {"document": file(openapi(paths=paths)), "op": "look"})
    kept = {"kept": look.context["kept"], "seen": look.context["draft"].seen, "slug": "many", "op": "add"}
    browser.post(where, kept)
    with CaptureQueriesContext(database) as queries:
        page = browser.get(at(world, "providers/many/tools/"))
    assert "60 of 60 tools, 1 to 50 here" in text(page)
    assert "and 6 more" in text(page)
    assert (len(queries) <= 30, len(page.content) <= 60_000) == (True, True), len(page.content)


def test_a_long_list_comes_in_pages(world: World) -> None:
    facts = {"title": "One of many", "api_base": "https://api.example.com", "access": "none"}
    made = [{"slug": f"many_{number:03}", "source": "openapi", "facts": facts} for number in range(60)]
    Installation.objects.bulk_create(Installation(tenant=world.tenant, **each) for each in made)
    browser, where, seen = seat(world, "auditor"), at(world, "providers/"), 0
    while where:
        with CaptureQueriesContext(database) as queries:
            page = browser.get(where)
        assert (len(queries) <= 30, len(page.content) <= 60_000) == (True, True), (len(queries), len(page.content))
        seen += page.content.decode().count("use_")
        where = f"{at(world, 'providers/')}?after={page.context['after']}" if page.context["after"] else ""
    assert seen == 61
