"""Changing how a provider is exported: what stays, what ends, and that tokens never go where they are not meant for."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from providers.models import Installation
from tests.vault.outages import provider_up
from tests.world import World
from vault.models import ClientSecret, SealedTokenSet
from vault.services.clients import client_of

WHO = {"mode": "tool", "tool": "who_am_i"}


def change(world: World, *words: str) -> dict[str, Any]:
    out = io.StringIO()
    call_command("provider_install", world.tenant.slug, "sentry", *words, "--json", stdout=out, stderr=io.StringIO())
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
