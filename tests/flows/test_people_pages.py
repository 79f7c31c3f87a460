"""People in a real browser: invited, joined, given another role; their account; on a phone and by keyboard."""

from __future__ import annotations

import secrets

import pytest
from playwright.sync_api import Page

from tests.environment import MISSING
from tests.sights import PHONE, Walk, browser, log_in
from tests.tenants.test_people import seat
from tests.world import PASSWORD, Served, World

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif("chromium" in MISSING, reason=MISSING.get("chromium", "")),
]


@pytest.fixture(scope="module")
def walk(product: Served, sandbox: Served) -> Walk:
    world, walk = World(product, sandbox), Walk(product.url)
    world.me, _ = seat(world, "owner")
    with browser(width=PHONE) as page:
        walk.listen(page)
        link = _invite(page, walk, world)
    with browser(scheme="dark", width=PHONE) as page:
        walk.listen(page)
        _join(page, walk, link)
        page.goto(f"{product.url}/account/")
        page.get_by_text("Leave").first.click()
    return walk


def _invite(page: Page, walk: Walk, world: World) -> str:
    page.goto(f"{world.product.url}/console/{world.tenant.slug}/members/")
    log_in(page, world)
    page.get_by_role("link", name="Change").first.click()
    page.get_by_text("Take them out").click()
    page.get_by_role("radio", name="Auditor").check()
    page.get_by_role("button", name="Save").click()
    page.get_by_text("is auditor from now on").wait_for()
    page.get_by_role("link", name="Invite somebody").click()
    page.get_by_label("Their e-mail").fill(f"{secrets.token_hex(20)}@a-rather-long-name-of-a-host.example.com")
    page.get_by_role("radio", name="Admin Asks").check()
    page.get_by_role("button", name="Make the link").click()
    walk.look(page, "invited")
    link = page.get_by_label("Link").input_value()
    page.get_by_role("link", name="See all invitations").click()
    page.get_by_role("link", name="Renew or withdraw").click()
    page.get_by_text("Withdraw it").click()
    page.goto(link)
    walk.look(page, "invitation of another")
    return link


def _join(page: Page, walk: Walk, link: str) -> None:
    page.goto(link)
    walk.look(page, "invitation")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_label("The same once more").fill(PASSWORD)
    page.get_by_role("button", name="Join").click()
    page.get_by_text("You are in Test tenant as admin").wait_for()
    page.goto(link)
    walk.look(page, "leads nowhere")


def test_everyone_can_read_and_use_every_page_about_people(walk: Walk) -> None:
    assert len(walk.seen) == 4
    assert not walk.wrong, "\n".join(walk.wrong)
