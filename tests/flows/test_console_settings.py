"""The console's settings: a tenant's name, what clients are to be told, and closing it."""

from __future__ import annotations

import json
import re
from html import unescape

import pytest

from tenants.models import Tenant
from tests.console import console, logged_in, told
from tests.world import World


def test_an_administrator_renames_a_tenant_and_what_cannot_be_a_name_is_shown_again(world: World) -> None:
    with logged_in(world, "admin") as visitor:
        visitor.open(console(world, "settings/"))
        visitor.send(visitor.form_with("name"), name="  Ørsted   & Sons ")
        assert "Saved." in told(visitor)
        assert Tenant.objects.get(pk=world.tenant.pk).name == "Ørsted & Sons"
        answer = visitor.send(visitor.form_with("name"), name="x" * 121)
        assert answer.status_code == 422
        assert "A name has 1 to 120" in told(visitor)
        assert "x" * 121 in visitor.page.text
        assert "Close this tenant" not in told(visitor)
    [event] = world.events("tenant.change.done")
    assert (event.user_id, event.detail["name"]) == (world.me.user.pk, "Ørsted & Sons")


def test_what_to_paste_into_clients_names_the_endpoint_that_was_chosen(world: World) -> None:
    with logged_in(world, "owner") as visitor:
        visitor.open(console(world, "settings/"))
        everything = f"{world.product.url}/mcp/{world.tenant.slug}"
        assert f"claude mcp add --transport http {world.tenant.slug} {everything}" in told(visitor)
        visitor.open(console(world, "settings/?endpoint=sentry"))
        pasted = [
            unescape(text) for text in re.findall(r'<pre class="paste"[^>]*>(.*?)</pre>', visitor.page.text, re.DOTALL)
        ]
        assert len(pasted) == 5
        assert all(world.endpoint in text for text in pasted)
        assert json.loads(pasted[3]) == {"servers": {"sentry": {"type": "http", "url": world.endpoint}}}


def test_an_owner_closes_the_tenant_by_typing_its_short_name(world: World) -> None:
    connection = world.connect()
    with logged_in(world, "owner") as visitor:
        visitor.open(console(world, "settings/close/"))
        assert "1 connection ends" in told(visitor)
        form = visitor.form_with("slug")
        assert visitor.send(form, slug="another").status_code == 422
        assert Tenant.objects.get(pk=world.tenant.pk).closed_at is None
        visitor.send(form, slug=world.tenant.slug)
        assert "is closed. 1 connection ended." in told(visitor)
        assert visitor.open(console(world, "settings/")).status_code == 404
    connection.refresh_from_db()
    assert connection.status == "revoked"
    [event] = world.events("tenant.close.done")
    assert event.user_id == world.me.user.pk


@pytest.mark.parametrize(("role", "status"), [("member", 404), ("auditor", 404), ("admin", 200)])
def test_only_an_owner_closes_it_and_only_who_runs_it_sees_the_page(world: World, role: str, status: int) -> None:
    with logged_in(world, role) as visitor:
        assert visitor.open(console(world, "settings/")).status_code == status
        assert visitor.open(console(world, "settings/close/")).status_code == 404
        visitor.open(f"{world.product.url}/connections/")
        form = next(form for form in visitor.forms() if "logout" in form.action)
        form.action = f"/console/{world.tenant.slug}/settings/close/"
        assert visitor.send(form, slug=world.tenant.slug).status_code == 404
    assert Tenant.objects.get(pk=world.tenant.pk).closed_at is None
