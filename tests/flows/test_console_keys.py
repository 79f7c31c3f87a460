"""The console's keys: what each seals, and a rotation that is begun on the page and goes on by itself."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection as database

from metaagent.visitor import Visitor
from tenants import services as tenants
from tenants.sessions import SessionStore
from tests.console import console, logged_in, told
from tests.environment import MISSING
from tests.sights import browser
from tests.vault.rows import fill, opens
from tests.world import PASSWORD, World
from vault import keyring, tasks
from vault.crypto import KeysUnavailable
from vault.keks.local import LocalRing
from vault.models import Connection, SealedTokenSet, TenantKey
from vault.services import keys, rotate


@pytest.fixture(autouse=True)
def _prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    """No waiting for what nobody does here."""
    monkeypatch.setattr(rotate, "SETTLE", timedelta(0))


def rotated(visitor: Visitor, world: World) -> None:
    """The button is pressed."""
    visitor.open(console(world, "keys/rotate/"))
    form = next(form for form in visitor.forms() if form.action.endswith("/rotate/"))
    visitor.send(form)


def states(world: World) -> list[str]:
    return sorted(TenantKey.objects.filter(tenant=world.tenant).values_list("state", flat=True))


def test_the_keys_say_what_they_seal_and_nothing_secret(world: World) -> None:
    fill(world.installation, world.me.user, 3)
    key = TenantKey.objects.get(tenant=world.tenant)
    with logged_in(world, "auditor") as visitor:
        visitor.open(console(world, "keys/"))
        text = told(visitor)
        assert f"{str(key.pk)[:8]} Active Key file of this server" in text
        assert re.search(r"3 1 0 Tokens:", text)
        assert bytes(key.wrapped or b"").hex() not in visitor.page.text
        assert Path(settings.VAULT_KEK.partition(":")[2]).name not in visitor.page.text
        assert "Rotate…" not in text
        assert visitor.open(console(world, "keys/rotate/")).status_code == 404


def test_an_owner_begins_a_rotation_and_the_page_shows_how_far_it_is_to_the_end(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = fill(world.installation, world.me.user, 250)
    old = TenantKey.objects.get(tenant=world.tenant)
    with logged_in(world, "owner") as visitor:
        visitor.open(console(world, "keys/"))
        assert "Rotate…" in told(visitor)
        rotated(visitor, world)
        assert "Sealing everything anew 0 of 251 sealed by the new key." in told(visitor)
        assert '<progress id="progress" value="0" max="251"' in visitor.page.text
        assert 'hx-trigger="every 1s"' in visitor.page.text
        assert "Look again" in visitor.page.text

        monkeypatch.setattr(rotate, "BATCH", 200)
        turn = rotate.turn(tenant_id=world.tenant.pk, now=datetime.now(UTC), for_s=0)  # cut off, or killed
        assert turn.resealed == 200
        visitor.http.headers["HX-Request"] = "true"
        visitor.open(console(world, "keys/"))
        assert visitor.page.text.startswith('<div class="stack" id="versions"')
        assert "200 of 251" in told(visitor)

        tasks.rotations()
        assert states(world) == ["active", "old"]
        visitor.open(console(world, "keys/"))
        assert "Nearly done 251 of 251" in told(visitor)
        tasks.rotations()
        visitor.open(console(world, "keys/"))
        assert "hx-trigger" not in visitor.page.text
        assert "Being replaced" not in told(visitor)
    key = TenantKey.objects.get(tenant=world.tenant)
    assert key.pk != old.pk
    assert all(map(opens, rows[::50]))
    [intent] = world.events("vault.rotate.intent")
    assert (intent.id, intent.user_id) == (key.pk, world.me.user.pk)
    assert [event.intent_id for event in world.events("vault.rotate.done")] == [key.pk]


def test_what_does_not_open_is_named_and_keeps_its_key(world: World) -> None:
    broken, whole = fill(world.installation, world.me.user, 2)
    with logged_in(world, "owner") as visitor:
        rotated(visitor, world)
        SealedTokenSet.objects.filter(connection=broken).update(access=b"\x01" + bytes(80))
        for _ in range(3):
            tasks.rotations()
        visitor.open(console(world, "keys/"))
        text = told(visitor)
        assert "Rotating has come as far as it can 2 of 3" in text
        assert "1 sealed thing does not open" in text
        assert f"/connections/{broken.pk}/" in visitor.page.text
        assert f"/connections/{whole.pk}/" not in visitor.page.text
        rotated_at = TenantKey.objects.get(tenant=world.tenant, state="old").settled_at
        tasks.rotations()  # not every few seconds
        assert TenantKey.objects.get(tenant=world.tenant, state="old").settled_at == rotated_at

        Connection.objects.filter(pk=broken.pk).delete()
        TenantKey.objects.filter(tenant=world.tenant, state="old").update(
            settled_at=datetime.now(UTC) - timedelta(minutes=11)
        )
        tasks.rotations()
        assert states(world) == ["active"]


def test_it_says_so_when_the_key_service_is_away_and_nothing_changes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise KeysUnavailable("The key service did not answer.")

    with logged_in(world, "owner") as visitor:
        visitor.open(console(world, "keys/rotate/"))
        form = next(form for form in visitor.forms() if form.action.endswith("/rotate/"))
        monkeypatch.setattr(keys, "_probed", (float("-inf"), False))
        monkeypatch.setattr(LocalRing, "wrap", away)
        keyring.keks.cache_clear()
        visitor.send(form)
        text = told(visitor)
    monkeypatch.setattr(keys, "_probed", (float("-inf"), False))
    assert "The key service did not answer. Nothing has changed." in text
    assert "does not answer right now" in text
    assert states(world) == ["active"]
    assert world.events("vault.rotate.intent") == []


@pytest.mark.parametrize("role", ["auditor", "admin"])
def test_only_an_owner_rotates(world: World, role: str) -> None:
    with logged_in(world, role) as visitor:
        visitor.open(console(world, "keys/"))
        form = next(form for form in visitor.forms() if "logout" in form.action)
        form.action = f"/console/{world.tenant.slug}/keys/rotate/"
        assert visitor.send(form).status_code == 404
    assert states(world) == ["active"]


def test_rotating_wants_a_password_that_was_said_just_now(world: World) -> None:
    with logged_in(world, "owner") as visitor:
        visitor.open(console(world, "keys/rotate/"))
        form = next(form for form in visitor.forms() if form.action.endswith("/rotate/"))
        _forgotten(visitor)
        visitor.send(form)
        assert "/confirm/" in str(visitor.page.url)
    assert states(world) == ["active"]


def _forgotten(visitor: Visitor) -> None:
    """It was said an hour ago."""
    session = SessionStore(visitor.http.cookies[settings.SESSION_COOKIE_NAME])
    session["confirmed_at"] = datetime.now(UTC).timestamp() - 3_600
    session.save()


@pytest.mark.browser
@pytest.mark.skipif("chromium" in MISSING, reason=MISSING.get("chromium", ""))
def test_the_page_follows_a_rotation_by_itself_to_its_end(world: World) -> None:
    fill(world.installation, world.me.user, 10)
    tenants.add_member(tenant=world.tenant, user=world.me.user, role="owner", by=None)
    said: list[str] = []
    with browser() as page:
        page.on("console", lambda message: said.append(message.text))
        page.goto(console(world, "keys/rotate/"))
        page.get_by_label("E-mail").fill(world.me.user.email)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Log in").click()
        page.get_by_role("button", name="Rotate").click()
        page.get_by_text("0 of 11 sealed by the new key").wait_for()
        aside(tasks.rotations)
        page.get_by_text("11 of 11 sealed by the new key").wait_for()
        aside(tasks.rotations)
        page.get_by_text("Being replaced").wait_for(state="detached")
        assert page.locator("progress").count() == 0
        assert page.get_by_text("Active").is_visible()
    assert said == []


def aside(work: Callable[[], None]) -> None:
    """In a thread of its own: while a browser is open, this one runs an event loop."""

    def done() -> None:
        try:
            work()
        finally:
            database.close()

    thread = threading.Thread(target=done)
    thread.start()
    thread.join()
