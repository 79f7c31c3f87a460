"""The pages in a real browser: everyone can read them and use them, without a mouse and without scripts."""

from __future__ import annotations

import pytest

from providers import services as providers
from tenants.oauth.models import Client
from tests.environment import MISSING
from tests.oauth import OAuthClient
from tests.sights import PHONE, Walk, browser, log_in
from tests.world import PASSWORD, Served, World

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif("chromium" in MISSING, reason=MISSING.get("chromium", "")),
]


@pytest.fixture(scope="module")
def walk(product: Served, sandbox: Served) -> Walk:
    world = World(product, sandbox)
    link, other = world.connect_link(), world.connect_link(person=world.person())
    client = _client(world)
    client.signed_in()
    asked = {"identity": "who_am_i", "identify_url": f"{sandbox.url}/api/0/users/me/"}
    facts = {"title": "Keyed", "api_base": sandbox.url, "access": "key", "oauth": asked}
    providers.store(
        row=providers.drafted(tenant=world.tenant, slug="keyed", client_id="", source="openapi", facts=facts), by=None
    )
    walk = Walk(product.url)
    with browser(width=PHONE) as page:
        walk.listen(page)
        page.goto(link)
        walk.look(page, "login to connect")
        log_in(page, world, "not the password")
        walk.look(page, "login refused")
        log_in(page, world)
        walk.look(page, "connect")
        page.get_by_role("button", name="Continue to Sentry").click()
        page.get_by_role("button", name="Log in").click()
        page.get_by_role("checkbox").first.uncheck()
        page.get_by_role("button", name="Approve").click()
        walk.look(page, "connected in part")
        page.get_by_role("link", name="See your connections").click()
        for fold in page.locator("summary").all():
            fold.click()
        walk.look(page, "connections")
        page.get_by_role("button", name="Disconnect").click()
        walk.look(page, "disconnected")
        page.goto(other)
        walk.look(page, "made for someone else")
        page.goto(link)
        walk.look(page, "used already")
        page.goto(f"{product.url}/connect/keyed/?tenant={world.tenant.slug}")
        page.get_by_label("Your Keyed key").fill("no-key-of-anybody")
        page.get_by_role("button", name="Connect Keyed").click()
        walk.look(page, "key refused")
        page.goto(f"{product.url}/nothing/here/")
        walk.look(page, "not found")
        page.goto(client.authorize_url())
        walk.look(page, "let a client in")
        page.goto(client.authorize_url(resource=None))
        walk.look(page, "choose what it may use")
        page.goto(client.authorize_url(resource=f"{product.url}/mcp/another/sentry"))
        walk.look(page, "not for this account")
        page.goto(client.authorize_url(client_id="nobody"))
        walk.look(page, "unknown client")
        page.goto(f"{product.url}/apps/")
        for fold in page.locator("summary").all():
            fold.click()
        walk.look(page, "connected apps")
        for _ in range(2):
            page.locator("summary").first.click()
            page.get_by_role("button", name="End it now").click()
        walk.look(page, "no connected apps")
    return walk


def _client(world: World) -> OAuthClient:
    """A client with a name that has to be broken somewhere."""
    uri = "http://127.0.0.1:33418/callback"
    made = {"client_type": "public", "authorization_grant_type": "authorization-code", "registration_source": "dcr"}
    row = Client.objects.create(**made, redirect_uris=uri, name="W" * 80)
    return OAuthClient(world, redirect_uri=uri, client_id=row.client_id)


def test_everyone_can_read_and_use_each_page_on_the_way(walk: Walk) -> None:
    assert len(walk.seen) == 16
    assert not walk.wrong, "\n".join(walk.wrong)


def test_connecting_needs_neither_mouse_nor_script(world: World) -> None:
    link = world.connect_link()
    with browser(scripts=False) as page:
        page.goto(link)
        page.keyboard.type(world.me.user.email)  # the first field has the focus
        page.keyboard.press("Tab")
        page.keyboard.type(PASSWORD)
        page.keyboard.press("Enter")
        page.get_by_role("button", name="Continue to Sentry").press("Enter")
        page.wait_for_url(f"{world.sandbox.url}/**")


def test_disconnecting_takes_a_second_look(world: World) -> None:
    world.connect()
    with browser() as page:
        page.goto(f"{world.product.url}/connections/")
        log_in(page, world)
        button = page.get_by_role("button", name="Disconnect")
        assert page.get_by_text("Ready").is_visible()
        assert button.count() == 0
        page.locator("summary", has_text="Disconnect").press("Enter")
        assert page.get_by_text("revokes its access at Sentry").is_visible()
        button.press("Enter")
        assert "is disconnected" in page.get_by_role("status").inner_text()
        assert page.get_by_text("Disconnected", exact=True).is_visible()
