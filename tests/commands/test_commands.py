"""The commands: one object with --json, one line when something is wrong, and the exit codes that were promised."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from audit.models import AuditEvent
from tenants.models import ClientKey
from tests.world import World


def command(*words: str, stdin: str = "", monkeypatch: pytest.MonkeyPatch | None = None) -> dict[str, Any]:
    if monkeypatch is not None:
        monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
    out = io.StringIO()
    call_command(*words, "--json", stdout=out, stderr=io.StringIO())
    found: dict[str, Any] = json.loads(out.getvalue())
    return found


def refused(*words: str) -> str:
    with pytest.raises(CommandError) as caught:
        call_command(*words, stdout=io.StringIO(), stderr=io.StringIO())
    assert caught.value.returncode == 1
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence


def test_a_tenant_with_a_person_and_a_key_is_made(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    slug = f"{world.tenant.slug}-two"
    command("tenant_create", slug, "--name", "Two")
    email = f"{slug}@example.com"
    made = command("user_create", email.upper(), "--password-stdin", stdin="correct horse\n", monkeypatch=monkeypatch)
    assert made["email"] == email
    assert command("member_add", slug, email, "--role", "admin")["role"] == "admin"
    key = command("client_key_create", slug, email, "--name", "ci", "--expires-days", "7")
    row = ClientKey.objects.get(pk=key["id"])
    assert key["key"].startswith(row.prefix)
    assert key["key"] not in str(row.__dict__.values())
    assert row.expires_at is not None


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("tenant_create", "Bad Slug"), "cannot be used"),
        (("tenant_create", "x-"), "cannot be used"),
        (("member_add", "nobody-here", "a@example.com"), "There is no tenant"),
        (("user_create", "not-an-address"), "valid email"),
        (("connection_revoke", "00000000-0000-0000-0000-000000000000"), "no such connection"),
        (("provider_list", "nobody-here"), "There is no tenant"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(world: World, words: tuple[str, ...], says: str) -> None:
    assert says in refused(*words)


def test_names_that_are_taken_or_missing_are_said(world: World) -> None:
    assert "already" in refused("tenant_create", world.tenant.slug)
    assert "already" in refused("user_create", world.me.user.email)
    assert "There is no user" in refused("member_add", world.tenant.slug, "nobody@example.com")
    assert "has no" in refused("provider_install", world.tenant.slug, "nonsense", "--client-id", "x")
    assert "does not export" in refused("provider_remove", world.tenant.slug, "github")
    bad = ("provider_install", world.tenant.slug, "sentry", "--client-id", "x", "--api-base", "ftp://x")
    assert "must be an address" in refused(*bad)


def test_a_weak_password_is_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("password\n"))
    assert "too short" in refused("user_create", f"weak-{world.tenant.slug}@example.com", "--password-stdin")
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert "no password" in refused("user_create", f"none-{world.tenant.slug}@example.com", "--password-stdin")


def test_a_tenant_s_providers_and_connections_are_listed_without_secrets(world: World) -> None:
    connection = world.connect()
    [listed] = command("connection_list", world.tenant.slug)["connections"]
    assert listed["id"] == str(connection.pk)
    assert listed["status"] == "ready"
    [provider] = command("provider_list", world.tenant.slug)["providers"]
    assert provider["tool"] == "use_sentry"
    assert provider["redirect_uri"].endswith(f"/oauth/callback/{world.installation.pk}/")


def test_revoking_by_command_kills_the_token_at_the_provider(world: World) -> None:
    connection = world.connect()
    before = world.stats()["revocations"]
    assert command("connection_revoke", str(connection.pk))["status"] == "revoked"
    assert world.stats()["revocations"] > before
    assert world.error("hi")["code"] == "needs_auth"


def test_removing_a_provider_revokes_its_connections_first(world: World) -> None:
    world.connect()
    before = world.stats()["revocations"]
    assert command("provider_remove", world.tenant.slug, "sentry")["revoked"] == 1
    assert world.stats()["revocations"] > before
    assert world.post({"jsonrpc": "2.0", "id": 1, "method": "ping"}).status_code == 404


def test_the_export_holds_every_event_of_this_tenant_and_no_other(world: World, tmp_path: Path) -> None:
    other = World(world.product, world.sandbox)
    other.connect()
    world.connect()
    world.call_tool("who_am_i")
    out = tmp_path / "log.jsonl"
    count = command("audit_export", world.tenant.slug, "--out", str(out))["events"]
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(lines) == count == AuditEvent.objects.filter(tenant_id=world.tenant.pk).count()
    assert {line["tenant_id"] for line in lines} == {str(world.tenant.pk)}
    assert out.stat().st_mode & 0o077 == 0
    assert "cannot be written" in refused("audit_export", world.tenant.slug, "--out", str(tmp_path / "no" / "x"))
