"""Changing how a provider is exported: what stays, what ends, and that tokens never go where they are not meant for."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

from providers import catalogue, discovery, review
from providers.egress import EgressPolicy, check_url
from providers.errors import EgressDenied
from providers.manifest import Entry
from providers.manifest import Manifest as Tools
from providers.models import Installation, Manifest
from providers.spec import Access
from tests.providers.test_egress import CORPUS
from tests.vault.outages import provider_up
from tests.world import World
from vault.models import ClientSecret, Connection, SealedTokenSet
from vault.services.clients import client_of

WHO = {"mode": "tool", "tool": "who_am_i"}


def change(world: World, *words: str, slug: str = "sentry") -> dict[str, Any]:
    out = io.StringIO()
    call_command("provider_install", world.tenant.slug, slug, *words, "--json", stdout=out, stderr=io.StringIO())
    found: dict[str, Any] = json.loads(out.getvalue())
    return found


def row(world: World) -> Installation:
    return Installation.objects.get(pk=world.installation.pk)


def test_what_is_left_out_stays_as_it_is_and_an_empty_value_takes_it_back(world: World) -> None:
    change(
        world, "--exposure", "strict", "--consent", "writes", "--scopes", "org:read", "--resource", "https://r.example"
    )
    change(world, "--exposure", "soft")
    found = row(world)
    assert (found.exposure, found.consent, found.api_base) == ("soft", "writes", world.sandbox.url)
    assert found.overrides == {"scopes": ["org:read"], "resource": "https://r.example"}
    assert found.client_id == world.installation.client_id
    change(world, "--scopes", "", "--resource", "", "--consent", "never")
    assert (row(world).overrides, row(world).consent) == ({}, "never")


def test_exposure_consent_scopes_and_secret_leave_connections_alone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = world.connect()
    tokens = SealedTokenSet.objects.get(connection=connection)
    secret = client_of(world.installation).secret
    revoked = world.stats()["revocations"]
    for words in (
        ("--exposure", "strict"),
        ("--consent", "writes"),
        ("--scopes", "org:read event:read"),
        ("--connect-url", "https://sso.example.com/"),
        ("--connect-url", ""),
    ):
        assert change(world, *words)["ended"] == 0
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{secret}\n"))
    assert change(world, "--client-secret-stdin")["ended"] == 0
    connection.refresh_from_db()
    assert (connection.status, connection.epoch) == ("ready", 1)
    assert SealedTokenSet.objects.get(connection=connection).access == tokens.access
    assert world.stats()["revocations"] == revoked
    assert not world.ask("run", WHO).is_error


def test_another_client_ends_the_connections_of_the_old_one_first_and_says_so(world: World) -> None:
    connection, revoked = world.connect(), world.stats()["revocations"]
    out = io.StringIO()
    call_command("provider_install", world.tenant.slug, "sentry", "--client-id", "other", stdout=out)
    assert "have changed, so people connect again. 1 connection ended." in out.getvalue()
    assert world.stats()["revocations"] == revoked + 1  # by the old client: the new one could not
    connection.refresh_from_db()
    assert connection.status == "revoked"
    assert not ClientSecret.objects.filter(installation=world.installation).exists()
    assert world.error("run", WHO)["code"] == "needs_auth"


def test_a_provider_that_does_not_confirm_holds_the_change_back_until_it_is_given_up(world: World) -> None:
    with provider_up() as provider:
        theirs = World(world.product, provider.served)
        connection = theirs.connect()
        provider.down()
        with pytest.raises(CommandError, match="1 of 1 connections could not be revoked") as caught:
            change(theirs, "--client-id", "other")
        assert "\n" not in str(caught.value)
        assert row(theirs).client_id != "other"
        connection.refresh_from_db()
        assert connection.status == "revoking"
        assert theirs.error("run", WHO)["code"] == "needs_auth"
        assert change(theirs, "--client-id", "other", "--give-up")["ended"] == 1
        assert row(theirs).client_id == "other"


def test_a_new_one_needs_a_client_unless_people_connect_elsewhere(world: World) -> None:
    Installation.objects.filter(pk=world.installation.pk).delete()
    with pytest.raises(CommandError, match="--client-id is missing") as caught:
        change(world)
    assert caught.value.returncode == 2
    assert change(world, "--connect-url", "http://127.0.0.1:9/connect")["tool"] == "use_sentry"


def test_a_provider_that_was_removed_comes_back_with_nothing_of_before(world: World) -> None:
    change(world, "--scopes", "org:read", "--exposure", "strict")
    call_command("provider_remove", world.tenant.slug, "sentry", stdout=io.StringIO())
    change(world, "--client-id", "other")
    found = Installation.objects.get(tenant=world.tenant, slug="sentry")
    assert (found.exposure, found.overrides, found.api_base) == ("soft", {}, "")
    assert not ClientSecret.objects.filter(installation=found).exists()


# --- any provider


def said(world: World, *words: str, slug: str = "any") -> str:
    """The one sentence a command is refused with."""
    with pytest.raises(CommandError) as caught:
        change(world, *words, slug=slug)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def written(folder: Path, **members: Any) -> str:
    """A small OpenAPI document."""
    document = {
        "openapi": "3.1.0",
        "info": {"title": "Errors of ours", "version": "1"},
        "servers": [{"url": "https://api.example.com/v1"}],
        "paths": {
            f"/{name}": {
                "get": {
                    "operationId": f"list_{name}",
                    "summary": f"List {name}.",
                    "tags": [name],
                    "responses": {"200": {"description": "them"}},
                }
            }
            for name in ("things", "people")
        },
        **members,
    }
    path = folder / "document.json"
    path.write_text(json.dumps(document))
    return str(path)


def test_a_document_from_a_file_serves_at_once_and_another_one_waits_for_a_review(world: World, tmp_path: Path) -> None:
    done = change(world, "--source", "openapi", "--file", written(tmp_path), "--tags", "things", slug="any")
    assert (done["access"], done["tools"], done["waits_for_review"]) == ("none", 1, False)
    found = Installation.objects.get(pk=done["id"])
    assert (found.facts["title"], found.facts["api_base"]) == ("Errors of ours", "https://api.example.com/v1")
    assert Connection.objects.get(installation=found).account_id == "api.example.com:none"
    again = change(world, "--file", written(tmp_path), "--tags", "things,people", slug="any")
    assert (again["tools"], again["waits_for_review"], again["ended"]) == (1, True, 0)
    assert change(world, "--title", "Ours", "--exposure", "strict", slug="any")["waits_for_review"] is False
    assert Installation.objects.get(pk=done["id"]).facts["title"] == "Ours"
    assert "--url or --file" in said(world, "--source", "openapi", slug="other")


def test_a_document_of_a_provider_with_keys_needs_no_client_and_no_scopes(world: World, tmp_path: Path) -> None:
    key = {"type": "apiKey", "in": "header", "name": "X-Token"}
    oauth = {
        "type": "oauth2",
        "flows": {
            "authorizationCode": {
                "authorizationUrl": "https://api.example.com/authorize",
                "tokenUrl": "https://api.example.com/token",
                "scopes": {"read": "Read"},
            }
        },
    }
    path = written(tmp_path, components={"securitySchemes": {"key": key}}, security=[{"key": []}])
    done = change(world, "--source", "openapi", "--file", path, slug="any")
    assert (done["access"], done["client_id"]) == ("key", None)
    assert Installation.objects.get(pk=done["id"]).facts["key"]["header"] == "X-Token"
    path = written(tmp_path, components={"securitySchemes": {"oauth": oauth}}, security=[{"oauth": ["read"]}])
    assert "--client-id is missing" in said(world, "--source", "openapi", "--file", path, slug="other")
    done = change(world, "--client-id", "mine", slug="other")
    assert (done["access"], done["client_id"], done["tools"]) == ("oauth", "mine", None)


def test_a_provider_of_the_catalogue_can_be_used_through_its_own_mcp_server(world: World) -> None:
    slug = next(slug for slug in catalogue.slugs() if (entry := catalogue.get(slug)) and entry.mcp_url)
    entry = catalogue.get(slug)
    assert entry is not None
    done = change(world, "--source", "mcp", "--access", "key", slug=slug)
    found = Installation.objects.get(pk=done["id"])
    assert (found.url, found.facts["title"]) == (entry.mcp_url, entry.title)
    assert "--url is missing" in said(world, "--source", "mcp")


def test_an_exception_from_pkce_is_said_explicitly_and_recorded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    url = "https://mcp.example.com/mcp"
    server = discovery.Server(
        issuer="https://a.example",
        authorize_url="https://a.example/a",
        token_url="https://a.example/t",
        methods=("client_secret_post",),
    )
    found = discovery.Found(access=Access.OAUTH, resource=url, server=server)
    monkeypatch.setattr(discovery, "at_mcp", lambda *_, **__: found)
    words = ("--source", "mcp", "--url", url, "--client-id", "mine")
    assert "--no-pkce" in said(world, *words)
    done = change(world, *words, "--no-pkce", slug="any")
    row = Installation.objects.get(pk=done["id"])
    assert row.overrides == {"pkce": False}
    assert client_of(row).spec.pkce is False
    assert world.events("provider.install.done")[-1].detail["overrides.pkce"] == "False"
    assert "--no-pkce" in said(world, "--pkce")  # and taken back again


def test_a_client_is_a_document_of_ours_or_registered_and_asked_for_only_where_neither_works(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "https://mcp.example.com/mcp"
    server = discovery.Server(
        issuer="https://a.example",
        authorize_url="https://a.example/a",
        token_url="https://a.example/t",
        register_url="https://a.example/r",
        methods=("client_secret_post", "none"),
        s256=True,
        documents=True,
    )
    made = discovery.Registered(client_id="made", secret="s", method="client_secret_post", secret_ends_at=0)
    found = discovery.Found(access=Access.OAUTH, resource=url, server=server)
    monkeypatch.setattr(discovery, "at_mcp", lambda *_, **__: found)
    monkeypatch.setattr(discovery, "register", lambda *_, **__: made)
    words = ("--source", "mcp", "--url", url)
    assert change(world, *words, slug="one")["client_id"] == "made"  # nobody can fetch a document from here
    with monkeypatch.context() as https:
        https.setattr(settings, "HTTPS", True)
        https.setattr(settings, "PUBLIC_URL", "https://agents.example.org")
        done = change(world, *words, slug="two")
        assert done["client_id"] == f"https://agents.example.org/oauth/client/{done['id']}/"
        client = client_of(Installation.objects.get(pk=done["id"]))
        assert (client.secret, client.spec.client_auth) == (None, "none")

    def refuses(*_: Any, **__: Any) -> discovery.Registered:
        raise discovery.Undiscovered("The authorization server did not let this product register (403).")

    monkeypatch.setattr(discovery, "register", refuses)
    refusal = said(world, *words, slug="three")
    assert "(403)" in refusal
    assert str(Installation.objects.get(tenant=world.tenant, slug="three").pk) in refusal


def test_going_elsewhere_ends_what_was_connected_and_forgets_what_was_listed(world: World) -> None:
    one, two = "https://mcp.example.com/one", "https://mcp.example.com/two"
    done = change(world, "--source", "mcp", "--url", one, "--access", "key", slug="any")
    row = Installation.objects.get(pk=done["id"])
    entry = Entry(name="a", source_name="a", summary="A.", schema={"type": "object"}, effect="read", call={"path": "/"})
    review.pin(installation=row, manifest=Tools((entry,)), by=None, now=row.created_at)
    assert change(world, "--url", one, slug="any")["tools"] == 1
    assert change(world, "--url", two, "--access", "key", slug="any")["tools"] is None
    row.refresh_from_db()
    assert (row.url, row.manifest_id) == (two, None)
    assert not Manifest.objects.filter(installation=row).exists()
    assert "Leave --api-base out" in said(world, "--api-base", "https://x.example")
    assert "--key-header" in said(world, "--key-header", "X: y")
    assert "add --source" in said(world, "--access", "key", slug="sentry")


def _refused(url: str) -> bool:
    try:
        check_url(url, EgressPolicy())
    except EgressDenied:
        return True
    return False


_FIELDS = ("api-base", "authorize-url", "token-url", "revoke-url", "identify-url", "issuer", "resource")
_BAD = [url for url in CORPUS if url and _refused(url)]
_ALIKE = (
    *("https://127.0.0.1/", "https://[::ffff:7f00:1]/", "https://[64:ff9b::a9fe:a9fe]/", "https://[2002:7f00:1::]/"),
    *("https://2130706433/", "https://0x7f.1/", "https://user:password@api.example.com/", "https://a.example#x"),
    *(
        "https://127.0.0.1\\@api.example.com/",
        "http://api.example.com/",
        "ftp://api.example.com/",
        "file:///etc/passwd",
    ),
    *("https://api.example.com:22/", "https://127.0.0.1./", "https://①②⑦.⓪.⓪.①/", "https:\\\\127.0.0.1\\"),
)


def test_no_address_that_leads_inside_is_taken_in_any_field(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "EGRESS_ALLOW_CIDRS", "")
    monkeypatch.setattr(settings, "EGRESS_ALLOW_HTTP_HOSTS", "")
    assert len(_BAD) > 80
    cases = [(_FIELDS[index % len(_FIELDS)], url) for index, url in enumerate(_BAD)]
    cases += [(field, url) for field in _FIELDS for url in _ALIKE[::3]]
    for field, url in cases:
        words = said(world, "--client-id", "mine", f"--{field}={url}", slug="github")
        assert words.startswith(field), (field, url, words)
    addresses = [("mcp", url) for url in (*_BAD, "https://localhost/", "https://LOCALHOST./")]
    addresses += [("openapi", url) for url in (*_ALIKE, "https://localhost/")]
    for source, url in addresses:
        words = said(world, "--source", source, f"--url={url}")
        assert words.startswith("url must be") or "does not connect to" in words, (source, url, words)
    for url in (
        "https://u:p@a.example/",
        "https://a.example#x",
        "https://a.example\\@b.example/",
        "https://①.example/",
    ):
        assert said(world, f"--connect-url={url}", slug="github").startswith("connect-url"), url
    assert Installation.objects.filter(tenant=world.tenant).count() == 1
