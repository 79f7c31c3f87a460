"""The pages in a real browser: everyone can read them and use them, without a mouse and without scripts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
from playwright.sync_api import Page, sync_playwright

from providers import services as providers
from tenants.oauth.models import Client
from tests import services
from tests.environment import MISSING
from tests.oauth import OAuthClient
from tests.world import PASSWORD, Served, World

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif("chromium" in MISSING, reason=MISSING.get("chromium", "")),
]

PHONE = 360

_READ = """() => {
  const shown = [...document.body.querySelectorAll('*')].filter(e => e.checkVisibility());
  const numbers = colour => colour.match(/[\\d.]+/g).map(Number);
  const light = colour => numbers(colour).slice(0, 3).map(v => v / 255)
    .map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const ground = e => {
    while (e && numbers(getComputedStyle(e).backgroundColor)[3] === 0) e = e.parentElement;
    return e ? getComputedStyle(e).backgroundColor : 'rgb(255, 255, 255)';
  };
  const contrast = e => {
    const [dark, bright] = [light(getComputedStyle(e).color), light(ground(e))].sort((a, b) => a - b);
    return (bright + .05) / (dark + .05);
  };
  const named = e => (e.labels?.length || e.innerText?.trim() || e.ariaLabel);
  const speaks = e => [...e.childNodes].some(n => n.nodeType === Node.TEXT_NODE && n.data.trim());
  return {
    lang: document.documentElement.lang,
    title: document.title,
    headings: [...document.querySelectorAll('h1')].length,
    unnamed: shown.filter(e => e.matches('a, button, summary, input:not([type=hidden]), select, textarea') && !named(e))
      .map(e => e.outerHTML),
    faint: shown.filter(e => speaks(e) && contrast(e) < 4.5).map(e => e.outerHTML),
    sideways: document.documentElement.scrollWidth - innerWidth,
  };
}"""
_FOCUSED = """() => {
  const e = document.activeElement, style = getComputedStyle(e);
  return e === document.body ? null
    : {it: e.outerHTML, seen: style.outlineStyle === 'solid' && parseFloat(style.outlineWidth) >= 2};
}"""


@dataclass
class Sight:
    """What one page showed."""

    name: str
    facts: dict[str, Any]
    unseen: list[str] = field(default_factory=list)
    """What takes the keyboard's focus and does not show it."""


@dataclass
class Walk:
    """Every page on the way from a link to a connection, once."""

    origin: str
    sights: list[Sight] = field(default_factory=list)
    by_keyboard: bool = True
    """Whether each page is gone through by keyboard too; once is enough, whatever its colours."""
    said: list[str] = field(default_factory=list)
    """What the browser complained of: a broken policy, a file that is not there."""

    def facts(self, name: str) -> dict[str, Any]:
        """One fact of every page."""
        return {sight.name: sight.facts[name] for sight in self.sights}


@contextmanager
def browser(*, scheme: Literal["light", "dark"] = "light", width: int = 1280, scripts: bool = True) -> Iterator[Page]:
    """A page of a fresh browser. While it is open, this thread runs no other event loop."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=services.chromium(), args=["--no-sandbox", "--disable-gpu"]
        )
        size = {"width": width, "height": 800}
        yield chromium.new_page(color_scheme=scheme, viewport=size, java_script_enabled=scripts)  # type: ignore[arg-type]  # a TypedDict
        chromium.close()


@pytest.fixture(scope="module", params=["light", "dark"])
def walk(request: pytest.FixtureRequest, product: Served, sandbox: Served) -> Walk:
    world = World(product, sandbox)
    link, other = world.connect_link(), world.connect_link(person=world.person())
    client = _client(world)
    client.signed_in()
    asked = {"identity": "who_am_i", "identify_url": f"{sandbox.url}/api/0/users/me/"}
    facts = {"title": "Keyed", "api_base": sandbox.url, "access": "key", "oauth": asked}
    providers.store(
        row=providers.drafted(tenant=world.tenant, slug="keyed", client_id="", source="openapi", facts=facts), by=None
    )
    walk = Walk(product.url, by_keyboard=request.param == "dark")
    with browser(scheme=request.param, width=PHONE) as page:
        _listen(page, walk)
        page.goto(link)
        _look(page, walk, "login to connect")
        _log_in(page, world, "not the password")
        _look(page, walk, "login refused")
        _log_in(page, world)
        _look(page, walk, "connect")
        page.get_by_role("button", name="Continue to Sentry").click()
        page.get_by_role("button", name="Log in").click()
        page.get_by_role("checkbox").first.uncheck()
        page.get_by_role("button", name="Approve").click()
        _look(page, walk, "connected in part")
        page.get_by_role("link", name="See your connections").click()
        for fold in page.locator("summary").all():
            fold.click()
        _look(page, walk, "connections")
        page.get_by_role("button", name="Disconnect").click()
        _look(page, walk, "disconnected")
        page.goto(other)
        _look(page, walk, "made for someone else")
        page.goto(link)
        _look(page, walk, "used already")
        page.goto(f"{product.url}/connect/keyed/?tenant={world.tenant.slug}")
        page.get_by_label("Your Keyed key").fill("no-key-of-anybody")
        page.get_by_role("button", name="Connect Keyed").click()
        _look(page, walk, "key refused")
        page.goto(f"{product.url}/nothing/here/")
        _look(page, walk, "not found")
        page.goto(client.authorize_url())
        _look(page, walk, "let a client in")
        page.goto(client.authorize_url(resource=None))
        _look(page, walk, "choose what it may use")
        page.goto(client.authorize_url(resource=f"{product.url}/mcp/another/sentry"))
        _look(page, walk, "not for this account")
        page.goto(client.authorize_url(client_id="nobody"))
        _look(page, walk, "unknown client")
        page.goto(f"{product.url}/apps/")
        for fold in page.locator("summary").all():
            fold.click()
        _look(page, walk, "connected apps")
        for _ in range(2):
            page.locator("summary").first.click()
            page.get_by_role("button", name="End it now").click()
        _look(page, walk, "no connected apps")
    return walk


def _client(world: World) -> OAuthClient:
    """A client with a name that has to be broken somewhere."""
    uri = "http://127.0.0.1:33418/callback"
    made = {"client_type": "public", "authorization_grant_type": "authorization-code", "registration_source": "dcr"}
    row = Client.objects.create(**made, redirect_uris=uri, name="W" * 80)
    return OAuthClient(world, redirect_uri=uri, client_id=row.client_id)


def _listen(page: Page, walk: Walk) -> None:
    def said(text: str) -> None:
        refused = "responded with a status of 4" in text  # what this walk is about
        if page.url.startswith(walk.origin) and not refused:
            walk.said.append(text)

    page.on("console", lambda message: said(message.text))
    page.on("pageerror", lambda error: said(str(error)))


def _look(page: Page, walk: Walk, name: str) -> None:
    page.wait_for_load_state()
    assert page.url.startswith(walk.origin), f"{name} is at {page.url}"
    sight = Sight(name, page.evaluate(_READ))
    page.mouse.click(0, 0)
    for _ in range(60 if walk.by_keyboard else 0):
        page.keyboard.press("Tab")
        focused = page.evaluate(_FOCUSED)
        if focused is None:
            break
        if not focused["seen"]:
            sight.unseen.append(focused["it"])
    walk.sights.append(sight)


def _log_in(page: Page, world: World, password: str = PASSWORD) -> None:
    page.get_by_label("E-mail").fill(world.me.user.email)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()


def test_each_page_says_its_language_and_what_it_is(walk: Walk) -> None:
    assert set(walk.facts("lang").values()) == {"en"}
    assert set(walk.facts("headings").values()) == {1}
    assert all(title.endswith(" · metaagent") for title in walk.facts("title").values())


def test_everything_that_can_be_used_has_a_name(walk: Walk) -> None:
    assert not any(walk.facts("unnamed").values()), walk.facts("unnamed")


def test_all_text_stands_out_from_its_ground(walk: Walk) -> None:
    assert not any(walk.facts("faint").values()), walk.facts("faint")


def test_the_keyboard_always_shows_where_it_is(walk: Walk) -> None:
    unseen = {sight.name: sight.unseen for sight in walk.sights if sight.unseen}
    assert not unseen


def test_no_page_is_wider_than_a_phone(walk: Walk) -> None:
    assert not any(walk.facts("sideways").values()), walk.facts("sideways")


def test_no_page_breaks_its_own_policy(walk: Walk) -> None:
    assert walk.said == []


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
        _log_in(page, world)
        button = page.get_by_role("button", name="Disconnect")
        assert page.get_by_text("Ready").is_visible()
        assert button.count() == 0
        page.locator("summary", has_text="Disconnect").press("Enter")
        assert page.get_by_text("revokes its access at Sentry").is_visible()
        button.press("Enter")
        assert "is disconnected" in page.get_by_role("status").inner_text()
        assert page.get_by_text("Disconnected", exact=True).is_visible()
