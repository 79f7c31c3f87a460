"""Client keys that people make themselves: for one membership, for some days, shown once."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from html import unescape

import pytest
from django.conf import settings

from metaagent.visitor import Visitor
from tenants import services as tenants
from tenants.models import ClientKey, Session
from tenants.sessions import SessionStore
from tests.world import World

NEW = "/apps/keys/new/"


def told(visitor: Visitor) -> str:
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", visitor.page.text)).split())


@pytest.fixture
def visitor(world: World) -> Iterator[Visitor]:
    """A person who has just logged in and looks at the form."""
    with Visitor() as visitor:
        world.log_in(visitor)
        visitor.open(f"{world.product.url}{NEW}")
        yield visitor


def test_a_key_that_a_person_makes_is_shown_once_and_works(world: World, visitor: Visitor) -> None:
    visitor.send(visitor.form_with("days"), name="nightly")
    key = re.search(r"mak_[0-9a-z]{8}_[A-Za-z0-9_-]{43}", visitor.page.text)
    assert key is not None
    assert str(visitor.page.url).endswith(NEW)
    assert visitor.page.headers["cache-control"] == "no-store"
    assert f'--header "Authorization: Bearer {key[0]}"' in told(visitor)
    assert not world.ask("who am I?", key=key[0]).content[0].text.startswith("Unauthorized")  # type: ignore[union-attr]

    row = ClientKey.objects.get(membership__user=world.me.user, name="nightly")
    assert row.expires_at is not None
    assert abs(row.expires_at - datetime.now(UTC) - timedelta(days=90)) < timedelta(minutes=5)
    assert [event.user_id for event in world.events("key.create.done")][-1] == world.me.user.pk
    visitor.open(f"{world.product.url}/apps/")
    assert "nightly in Test tenant" in told(visitor)
    assert key[0] not in visitor.page.text
    kept = SessionStore(visitor.http.cookies[settings.SESSION_COOKIE_NAME]).load()
    assert key[0] not in str(kept)
    assert not Session.objects.filter(session_data__contains=key[0]).exists()


def test_what_cannot_be_is_said_and_what_was_typed_stays(world: World, visitor: Visitor) -> None:
    elsewhere = World(world.product, world.sandbox)
    form = visitor.form_with("days")
    before = ClientKey.objects.count()
    for values, words in (
        ({"name": "kept", "days": "0"}, "between 1 and 365 days"),
        ({"name": "kept", "days": "0000000400"}, "between 1 and 365 days"),
        ({"name": "kept", "days": "\N{SUPERSCRIPT TWO}"}, "between 1 and 365 days"),
        ({"name": "  "}, "Say what it is for"),
        ({"name": "kept", "tenant": elsewhere.tenant.slug}, "Say what it is for"),
    ):
        assert visitor.send(form, **values).status_code == 422
        assert words in told(visitor)
        assert f'value="{values["name"].strip()}"' in visitor.page.text
    assert ClientKey.objects.count() == before


def test_nobody_has_more_keys_than_can_be_looked_after(
    world: World, visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tenants, "MOST_KEYS", 1)
    assert visitor.send(visitor.form_with("days"), name="one too many").status_code == 422
    assert "End one that is no longer used first." in told(visitor)


def test_making_a_key_wants_a_password_that_was_said_just_now(world: World, visitor: Visitor) -> None:
    form = visitor.form_with("days")
    session = SessionStore(visitor.http.cookies[settings.SESSION_COOKIE_NAME])
    session["confirmed_at"] = datetime.now(UTC).timestamp() - 3_600
    session.save()
    visitor.send(form, name="from a forgotten session")
    assert "/confirm/" in str(visitor.page.url)
    assert not ClientKey.objects.filter(name="from a forgotten session").exists()
