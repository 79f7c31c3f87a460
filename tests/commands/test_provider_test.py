"""`provider_test`: the simulator without a network, and an installation's own addresses."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from providers.models import Installation
from tests.world import World
from vault.services import clients


def tried(world: World, *words: str) -> dict[str, Any]:
    out = io.StringIO()
    call_command("provider_test", world.tenant.slug, "sentry", *words, "--json", stdout=out, stderr=io.StringIO())
    found: dict[str, Any] = json.loads(out.getvalue())
    return found


def named(findings: list[dict[str, Any]]) -> dict[str, bool | None]:
    return {each["name"]: each["ok"] for each in findings}


def test_a_provider_that_works_is_said_to_work(world: World) -> None:
    found = tried(world)
    assert found["ok"] is True
    live = named(found["live"])
    assert live["token endpoint and client"] is True
    assert set(live) >= {"API", "authorization page", "who am I", "revocation"}
    assert named(found["simulator"])["knows a grant that is over"] is True


def test_the_report_can_be_read_and_holds_no_secret(world: World) -> None:
    out = io.StringIO()
    call_command("provider_test", world.tenant.slug, "sentry", stdout=out)
    secret = clients.client_of(world.installation).secret
    assert secret
    assert "Against the simulator" in out.getvalue()
    assert "Nothing failed." in out.getvalue()
    assert secret not in out.getvalue()


def test_a_client_the_provider_does_not_know_is_found(world: World) -> None:
    clients.set_secret(installation=world.installation, secret="another")
    with pytest.raises(CommandError, match="1 failed"):
        tried(world, "--live")


def test_an_address_where_nobody_is_is_found_and_said(world: World) -> None:
    Installation.objects.filter(pk=world.installation.pk).update(
        overrides={"token_url": "https://127.0.0.1:9/token"}, version=2
    )
    out = io.StringIO()
    with pytest.raises(CommandError, match="failed"):
        call_command("provider_test", world.tenant.slug, "sentry", "--live", stdout=out)
    assert "FAIL token endpoint and client" in out.getvalue()
    assert tried(world, "--simulator")["ok"] is True


def test_what_is_not_installed_is_said(world: World) -> None:
    with pytest.raises(CommandError, match="does not export nothing"):
        call_command("provider_test", world.tenant.slug, "nothing")
