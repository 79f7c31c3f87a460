"""Passkeys in a real browser, with an authenticator that exists in software alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from allauth.mfa.models import Authenticator
from django.conf import LazySettings
from playwright.sync_api import Page, expect

from audit.models import AuditEvent
from tests.environment import MISSING
from tests.sights import PHONE, Walk, browser
from tests.world import PASSWORD, World

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif("chromium" in MISSING, reason=MISSING.get("chromium", "")),
]

_AUTHENTICATOR = {
    "protocol": "ctap2",
    "transport": "internal",
    "hasResidentKey": True,
    "hasUserVerification": True,
    "isUserVerified": True,
    "automaticPresenceSimulation": True,
}


@pytest.fixture
def last(world: World) -> Iterator[World]:
    """A world whose passkeys are gone afterwards: while there are any, the log-in page has one more button."""
    yield world
    Authenticator.objects.filter(user=world.me.user).delete()


def test_a_passkey_is_added_asked_for_and_lets_its_owner_in_alone(last: World, settings: LazySettings) -> None:
    # A passkey belongs to a name, so this walk calls the product by one. Its cookies and forms know that name, too.
    world = last
    here = world.product.url.replace("127.0.0.1", "localhost")
    settings.ALLOWED_HOSTS = [*settings.ALLOWED_HOSTS, "localhost"]
    walk = Walk(here)
    with browser(width=PHONE, scheme="dark") as page:
        walk.listen(page)
        devices = page.context.new_cdp_session(page)
        devices.send("WebAuthn.enable")
        device = devices.send("WebAuthn.addVirtualAuthenticator", {"options": _AUTHENTICATOR})
        page.goto(f"{here}/account/")
        _log_in(page, world)
        page.get_by_role("link", name="Add a passkey").click()
        walk.look(page, "adding")
        page.get_by_label("Name").fill("My laptop")
        page.get_by_role("button", name="Add the passkey").click()
        page.wait_for_url(f"{here}/account/second/codes/")
        walk.look(page, "codes")
        page.get_by_role("link", name="They are safe").click()
        assert page.get_by_role("link", name="Remove My laptop").is_visible()
        walk.look(page, "account")

        page.get_by_role("button", name="Log out").click()
        page.goto(f"{here}/login/?next=/apps/")
        _log_in(page, world)
        page.wait_for_url(f"{here}/account/second/enter/")
        walk.look(page, "second factor")
        page.get_by_role("button", name="Use a passkey").click()
        page.wait_for_url(f"{here}/apps/")

        page.get_by_role("button", name="Log out").click()
        page.goto(f"{here}/login/?next=/apps/")
        page.get_by_role("button", name="Log in with a passkey").click()
        page.wait_for_url(f"{here}/apps/")

        settings.CONFIRM_S = 0
        page.goto(f"{here}/account/second/app/")
        page.wait_for_url(f"{here}/confirm/**")
        walk.look(page, "confirm")
        settings.CONFIRM_S = 600
        page.get_by_role("button", name="Use a passkey").click()
        page.wait_for_url(f"{here}/account/second/app/")
        walk.look(page, "app")

        devices.send(
            "WebAuthn.setUserVerified", {"authenticatorId": device["authenticatorId"], "isUserVerified": False}
        )
        page.get_by_role("button", name="Log out").click()
        page.goto(f"{here}/login/")
        page.get_by_role("button", name="Log in with a passkey").click()
        expect(page.get_by_text("The passkey was not used")).to_be_visible()
    assert not walk.wrong, "\n".join(walk.wrong)
    assert Authenticator.objects.filter(user=world.me.user).count() == 2
    events = AuditEvent.objects.filter(user_id=world.me.user.pk, kind__startswith="login.").order_by("seq")
    assert list(events.values_list("kind", flat=True)) == [
        *("login.password.done", "login.factor.added", "login.password.done", "login.passkey.done"),
    ]


def _log_in(page: Page, world: World) -> None:
    page.get_by_label("E-mail").fill(world.me.user.email)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in", exact=True).click()
