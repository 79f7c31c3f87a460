"""Installations as configuration: exported without a secret, imported whole or not at all, the same twice over."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.core.management import CommandError, call_command

from providers import declared
from providers.models import Installation
from tenants import services as tenants
from tests import remote
from tests.world import World, run, serve
from vault.models import ClientSecret, Connection
from vault.services.clients import client_of

LIST = {"mode": "tool", "tool": "list_organizations"}
SECRET = "s3cret-of-the-client"


@pytest.fixture
def env(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    return monkeypatch.setenv


def command(*words: str) -> dict[str, Any]:
    out = io.StringIO()
    call_command(*words, "--json", stdout=out, stderr=io.StringIO())
    found: dict[str, Any] = json.loads(out.getvalue())
    return found


def exported(tenant: str, *words: str) -> str:
    out = io.StringIO()
    call_command("provider_export", tenant, *words, stdout=out)
    return out.getvalue()


def imported(tenant: str, file: Path, *words: str) -> list[tuple[str, str]]:
    return [(each["slug"], each["act"]) for each in command("provider_import", tenant, str(file), *words)["changes"]]


def problems(tenant: str, file: Path, text: str, *words: str) -> list[str]:
    """What is said to be wrong with a document, a line each."""
    file.write_text(text, encoding="utf-8")
    before = list(Installation.objects.filter(tenant__slug=tenant).order_by("slug").values())
    err = io.StringIO()
    with pytest.raises(CommandError, match=r"has \d+ problems?\. Nothing was changed") as caught:
        call_command("provider_import", tenant, str(file), *words, stdout=io.StringIO(), stderr=err)
    assert caught.value.returncode == 1
    assert list(Installation.objects.filter(tenant__slug=tenant).order_by("slug").values()) == before
    return [line.removeprefix(f"{file.name}: ") for line in err.getvalue().splitlines()]


def another(world: World) -> str:
    return tenants.create_tenant(slug=f"{world.tenant.slug}-b", name="Another", by=None).slug


def named(world: World) -> str:
    """The variable that an export names for the secret."""
    return f"{world.tenant.slug.replace('-', '_').upper()}_SENTRY_CLIENT_SECRET"


def declare(**fields: Any) -> str:
    """A document with this one provider."""
    return yaml.safe_dump({"version": 1, "providers": [{"slug": "sentry", "client_id": "abc", **fields}]})


# --- the same document, out and in


def test_an_export_names_where_the_secret_is_and_holds_none(world: World, tmp_path: Path) -> None:
    text = exported(world.tenant.slug)
    [found] = yaml.safe_load(text)["providers"]
    assert found["client_secret"] == {"env": named(world)}
    assert found["client_id"] == world.installation.client_id
    assert (client_of(world.installation).secret or "nothing") not in text
    out = tmp_path / "acme.yaml"
    assert command("provider_export", world.tenant.slug, "sentry", "--out", str(out))["providers"] == ["sentry"]
    assert out.read_text() == text
    with pytest.raises(CommandError, match="does not export “github”"):
        exported(world.tenant.slug, "github")


def test_an_import_into_an_empty_tenant_gives_the_same_export_and_a_second_one_changes_nothing(
    world: World, tmp_path: Path, env: Callable[[str, str], None]
) -> None:
    settings = ("--limit", "breaker_failures=3", "--limit", "result_cache_s=0", "--exposure", "strict", "--disable")
    call_command("provider_set", world.tenant.slug, "sentry", *settings, stdout=io.StringIO())
    options = ("--scopes", "org:read event:read", "--resource", "https://r.example")
    call_command("provider_install", world.tenant.slug, "sentry", *options, stdout=io.StringIO())
    call_command("provider_set", world.tenant.slug, "sentry", "--disable", stdout=io.StringIO())
    file, other = tmp_path / "acme.yaml", another(world)
    file.write_text(exported(world.tenant.slug), encoding="utf-8")
    env(named(world), SECRET)
    assert imported(other, file, "--dry-run") == [("sentry", "create")]
    assert not Installation.objects.filter(tenant__slug=other).exists()
    assert imported(other, file) == [("sentry", "create")]
    there = Installation.objects.get(tenant__slug=other)
    assert client_of(there).secret == SECRET
    assert exported(other).replace(other.replace("-", "_").upper(), world.tenant.slug.replace("-", "_").upper()) == (
        exported(world.tenant.slug)
    )
    assert imported(other, file) == [("sentry", "same")]
    assert Installation.objects.get(pk=there.pk).version == there.version


def test_what_serves_after_an_import_is_what_the_document_says(
    world: World, tmp_path: Path, env: Callable[[str, str], None]
) -> None:
    connection, file = world.connect(), tmp_path / "acme.yaml"
    env(named(world), client_of(world.installation).secret or "")
    document = yaml.safe_load(exported(world.tenant.slug))
    document["providers"][0] |= {"limits": {"provider_calls_per_minute": 1}, "consent": "writes"}
    file.write_text(yaml.safe_dump(document), encoding="utf-8")
    [change] = command("provider_import", world.tenant.slug, str(file))["changes"]
    assert change["changed"] == {"consent": ["never", "writes"], "limits.provider_calls_per_minute": ["", "1"]}
    assert Connection.objects.get(pk=connection.pk).status == "ready"
    assert not world.ask("run", LIST).is_error
    assert world.error("run", LIST)["code"] == "rate_limited"


def test_another_client_ends_connections_as_installing_anew_does(world: World, tmp_path: Path) -> None:
    connection, revoked, file = world.connect(), world.stats()["revocations"], tmp_path / "acme.yaml"
    file.write_text(declare(client_id="other", api_base=world.sandbox.url), encoding="utf-8")
    out = io.StringIO()
    call_command("provider_import", world.tenant.slug, str(file), stdout=out)
    assert "sentry: 1 connection ended." in out.getvalue()
    assert f"client_id: {world.installation.client_id} → other" in out.getvalue()
    assert world.stats()["revocations"] == revoked + 1
    assert Connection.objects.get(pk=connection.pk).status == "revoked"
    assert not ClientSecret.objects.filter(installation=world.installation).exists()


def test_a_secret_may_be_in_a_file_beside_the_document_and_a_new_one_is_taken(world: World, tmp_path: Path) -> None:
    file, secret = tmp_path / "acme.yaml", tmp_path / "sentry.secret"
    stated = {"client_id": world.installation.client_id, "api_base": world.sandbox.url}
    file.write_text(declare(client_secret={"file": secret.name}, **stated), encoding="utf-8")
    secret.write_text(f"{client_of(world.installation).secret}\n", encoding="utf-8")
    assert imported(world.tenant.slug, file) == [("sentry", "same")]
    secret.write_text("another\n", encoding="utf-8")
    out = io.StringIO()
    call_command("provider_import", world.tenant.slug, str(file), stdout=out)
    assert "client_secret: nothing → another one" in out.getvalue()
    assert client_of(world.installation).secret == "another"
    file.write_text(declare(**stated), encoding="utf-8")
    assert imported(world.tenant.slug, file) == [("sentry", "change")]
    assert client_of(world.installation).secret is None


def test_only_a_prune_removes_what_the_document_does_not_name(world: World, tmp_path: Path) -> None:
    file = tmp_path / "acme.yaml"
    file.write_text("version: 1\nproviders: []\n", encoding="utf-8")
    world.connect()
    assert imported(world.tenant.slug, file) == []
    assert imported(world.tenant.slug, file, "--prune", "--dry-run") == [("sentry", "remove")]
    assert not world.ask("run", LIST).is_error
    assert imported(world.tenant.slug, file, "--prune") == [("sentry", "remove")]
    assert not Connection.objects.filter(installation_id=world.installation.pk, status="ready").exists()


# --- documents, by file


DOCUMENT: dict[str, Any] = {
    "openapi": "3.0.3",
    "info": {"title": "Shop", "version": "1"},
    "servers": [{"url": "https://api.shop.example/v1"}],
    "paths": {
        "/orders": {"get": {"operationId": "listOrders", "summary": "List orders.", "responses": {"200": {}}}},
        "/orders/{id}": {
            "delete": {
                "operationId": "deleteOrder",
                "summary": "Delete an order.",
                "parameters": [{"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}],
                "responses": {"204": {}},
            }
        },
    },
}


def test_a_document_s_tools_and_what_was_decided_about_them_come_along(world: World, tmp_path: Path) -> None:
    file, other = tmp_path / "acme.yaml", another(world)
    (tmp_path / "shop.json").write_text(json.dumps(DOCUMENT), encoding="utf-8")
    shop: dict[str, Any] = {"slug": "shop", "source": "openapi", "file": "shop.json", "access": "none"}
    file.write_text(yaml.safe_dump({"version": 1, "providers": [shop]}), encoding="utf-8")
    assert imported(world.tenant.slug, file) == [("shop", "create")]
    assert imported(world.tenant.slug, file) == [("shop", "same")]
    [found] = yaml.safe_load(exported(world.tenant.slug, "shop"))["providers"]
    tools = sorted(each.name for each in spec_tools(world.tenant.slug))
    listing, deleting = next(name for name in tools if "list" in name), next(name for name in tools if "del" in name)
    found |= {"tools": {"effects": {listing: "read"}, "left_out": [deleting]}, "file": "shop.json"}
    file.write_text(yaml.safe_dump({"version": 1, "providers": [found]}), encoding="utf-8")
    assert imported(world.tenant.slug, file) == [("shop", "change")]
    assert [(each.name, each.effect.value) for each in spec_tools(world.tenant.slug)] == [(listing, "read")]
    assert imported(other, file) == [("shop", "create")]
    assert exported(other) == exported(world.tenant.slug, "shop")
    assert imported(other, file) == [("shop", "same")]
    found["tools"] = {}
    file.write_text(yaml.safe_dump({"version": 1, "providers": [found]}), encoding="utf-8")
    assert imported(other, file) == [("shop", "change")]
    assert {each.effect.value for each in spec_tools(other)} == {"write"}

    changed = {**DOCUMENT, "paths": {"/orders": DOCUMENT["paths"]["/orders"]}}
    (tmp_path / "shop.json").write_text(json.dumps(changed), encoding="utf-8")
    third = tenants.create_tenant(slug=f"{other}-c", name="Third", by=None).slug
    [said] = problems(third, file, file.read_text())
    assert "It lists other tools than those of manifest" in said


def spec_tools(tenant: str) -> tuple[Any, ...]:
    from providers.selectors import spec_of

    return spec_of(Installation.objects.get(tenant__slug=tenant, slug="shop")).tools


def test_a_document_that_is_not_there_is_said(world: World, tmp_path: Path) -> None:
    text = "version: 1\nproviders:\n- {slug: shop, source: openapi, file: shop.json, access: none}\n"
    [said] = problems(world.tenant.slug, tmp_path / "acme.yaml", text)
    assert said.startswith("line 3: shop cannot be set up.")
    assert "shop.json cannot be read: No such file" in said


# --- MCP servers, by address


SERVER = f"http://127.0.0.1:{os.environ['TEST_OTHER_PORT']}/mcp"


def test_an_mcp_server_is_discovered_before_anything_is_changed_and_answers_afterwards(
    world: World, tmp_path: Path
) -> None:
    file, other = tmp_path / "acme.yaml", another(world)
    weather: dict[str, Any] = {"slug": "weather", "source": "mcp", "url": SERVER}
    file.write_text(yaml.safe_dump({"version": 1, "providers": [weather]}), encoding="utf-8")
    [said] = problems(world.tenant.slug, file, file.read_text())
    assert said.startswith("line 2: weather cannot be set up.")
    with serve(remote.weather(), int(os.environ["TEST_OTHER_PORT"])):
        assert imported(world.tenant.slug, file) == [("weather", "create")]
        [found] = yaml.safe_load(exported(world.tenant.slug, "weather"))["providers"]
        assert (found["title"], found["access"]) == ("Weather", "none")
        found["tools"] = {"effects": {"get_weather": "read"}}
        found["limits"] = {"tool_calls_per_ask": 7}
        file.write_text(yaml.safe_dump({"version": 1, "providers": [found]}), encoding="utf-8")
        assert imported(other, file) == [("weather", "create")]
        assert imported(world.tenant.slug, file) == [("weather", "change")]
        assert exported(world.tenant.slug, "weather") == exported(other)
        asked = {"mode": "tool", "tool": "get_weather", "args": {"city": "Oslo"}}
        answer = weather_asked(world, asked)
        assert (answer["error"] if "error" in answer else answer["usage"]["callsLeft"]) == 6
        moved = file.read_text().replace(found["manifest"], "f" * 64)
        [said] = problems(tenants.create_tenant(slug=f"{other}-c", name="Third", by=None).slug, file, moved)
        assert "It lists other tools than those of manifest" in said
    file.write_text(yaml.safe_dump({"version": 1, "providers": [found]}), encoding="utf-8")
    assert imported(other, file) == [("weather", "same")]  # with nobody at that address any more


def weather_asked(world: World, options: dict[str, Any]) -> dict[str, Any]:
    async def call() -> dict[str, Any]:
        async with world.client(url=f"{world.product.url}/mcp/{world.tenant.slug}/weather") as client:
            result = await client.call_tool("use_weather", {"prompt": "weather", "options": options})
            return dict(result.structured_content or {})

    return run(call())


def test_what_was_decided_about_tools_waits_for_the_account_they_are_listed_with(world: World, tmp_path: Path) -> None:
    file = tmp_path / "acme.yaml"
    weather = {"slug": "weather", "source": "mcp", "url": SERVER, "access": "key", "manifest": "0" * 64}
    file.write_text(yaml.safe_dump({"version": 1, "providers": [weather]}), encoding="utf-8")
    out = io.StringIO()
    call_command("provider_import", world.tenant.slug, str(file), stdout=out)
    assert "weather: its tools are listed when the first account is connected." in out.getvalue()


# --- what is refused, whole, with its place


def test_every_problem_is_said_with_its_line_and_nothing_is_changed(world: World, tmp_path: Path) -> None:
    text = """version: 1
providers:
- slug: sentry
  client_id: other
  exposure: loud
  limits:
    asks: 3
    result_cache_s: 9999
  colour: red
- slug: nothing_of_the_kind
  client_id: 5
"""
    assert problems(world.tenant.slug, tmp_path / "acme.yaml", text) == [
        "line 5: providers[0].exposure must be 'soft' or 'strict'.",
        "line 9: providers[0].colour is not known here.",
        "line 11: providers[1].client_id must be text; put it in quotes.",
    ]
    text = text.replace("loud", "soft").replace("  colour: red\n", "").replace("client_id: 5", "client_id: '5'")
    assert [line.split(". ")[0] for line in problems(world.tenant.slug, tmp_path / "acme.yaml", text)] == [
        "line 7: providers[0].limits.asks cannot be",
        "line 8: providers[0].limits.result_cache_s cannot be",
    ]
    text = text.replace("    asks: 3\n", "").replace("9999", "9")
    [said] = problems(world.tenant.slug, tmp_path / "acme.yaml", text)
    assert said.startswith("line 8: nothing_of_the_kind cannot be set up. The catalogue has no")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "line 1: is empty."),
        ("a: [", "is not YAML here."),
        ("\x00", "is not YAML"),
        ("version: 2\nproviders: []", "line 1: version must be 1."),
        ("version: 1\nproviders: 3", "line 2: providers must be a list."),
        ("version: 1\nversion: 1\nproviders: []", "line 2: version stands twice."),
        ("version: 1\nproviders:\n- {slug: sentry, slug: github}", "line 3: providers[0].slug stands twice."),
        ("version: 1\nproviders:\n- {slug: sentry}\n- {slug: sentry}", "line 4: providers[1].slug is declared before."),
        ("version: 1\nproviders: &all []\nother: *all", "line 2: anchors and aliases are not read; write it out."),
        ("version: 1\nproviders: [{<<: {slug: sentry}}]", "has a key that is not text"),
        ("version: 1\nproviders: !!python/object/apply:os.system [ls]", "line 2: tags are not read"),
        ("version: 1\nproviders: !!set {sentry}", "line 2: tags are not read"),
        ("[" * 100_000, "line 1: is nested too deeply."),
        ("--- 1\n--- 2", "is not YAML here."),
        (declare(source="mcp"), "has no url, where its MCP server is."),
        (declare(url="https://x.example"), "has url, which is for the sources mcp and openapi alone."),
        (declare(connect_url="javascript:alert(1)"), "sentry cannot be set up. connect-url must be an https address"),
        (declare(overrides={"token_url": "http://10.0.0.1/token"}), "sentry cannot be set up."),
        (declare(client_id=""), "It has no client_id"),
        (declare(client_id="a\nb"), "client_id cannot be used."),
        (declare(client_secret={"env": "NOT_SET_ANYWHERE"}), "The environment variable NOT_SET_ANYWHERE is not set."),
        (declare(client_secret={"file": "../missing"}), "cannot be read: No such file or directory."),
        (declare(client_secret={"env": "A", "file": "b"}), "client_secret must be {env: NAME} or {file: path}."),
        (declare(limits={"breaker_failures": True}), "limits.breaker_failures must be a whole number."),
        (declare(enabled="yes"), "enabled must be true or false."),
        (declare(tools={"effects": {"a": "read"}}), "has tools, which is for the sources mcp and openapi alone."),
        (declare(source="openapi", tools={"left_out": ["a"]}), "decides about tools without manifest"),
    ],
)
def test_what_cannot_be_used_is_said(world: World, tmp_path: Path, text: str, says: str) -> None:
    [said] = problems(world.tenant.slug, tmp_path / "acme.yaml", text)
    assert says in said


@pytest.mark.parametrize("secret", [SECRET, {"env": SECRET}, {"value": SECRET}, [SECRET]])
def test_a_secret_in_the_document_is_refused_and_not_repeated(world: World, tmp_path: Path, secret: Any) -> None:
    said = problems(world.tenant.slug, tmp_path / "acme.yaml", declare(client_secret=secret))
    assert SECRET not in "".join(said)


def test_a_document_of_more_than_a_megabyte_is_not_read(world: World, tmp_path: Path) -> None:
    text = "version: 1\nproviders: []\n#" + "x" * declared.MOST_CHARS
    [said] = problems(world.tenant.slug, tmp_path / "acme.yaml", text)
    assert "more than 1,048,576 characters" in said
    with pytest.raises(CommandError, match="cannot be read") as caught:
        imported(world.tenant.slug, tmp_path / "nowhere.yaml")
    assert caught.value.returncode == 2


def test_with_json_the_problems_are_one_object(world: World, tmp_path: Path) -> None:
    file, out = tmp_path / "acme.yaml", io.StringIO()
    file.write_text("version: 2\nproviders: []\n", encoding="utf-8")
    with pytest.raises(CommandError):
        call_command("provider_import", world.tenant.slug, str(file), "--json", stdout=out, stderr=io.StringIO())
    assert json.loads(out.getvalue()) == {
        "changes": [],
        "problems": [{"line": 1, "where": "version", "says": "must be 1."}],
    }
