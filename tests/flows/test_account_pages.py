"""The pages about several accounts in a real browser, on a phone in the dark: readable, usable, no wider than it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Page

from tenants import services as tenants
from tests.environment import MISSING
from tests.sights import PHONE, Walk, browser, log_in
from tests.world import Served, World
from vault.models import Connection

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif("chromium" in MISSING, reason=MISSING.get("chromium", "")),
]

WIDE = "x" * 80


@pytest.fixture(scope="module")
def walk(product: Served, sandbox: Served) -> Walk:
    world, elsewhere = World(product, sandbox), World(product, sandbox)
    elsewhere.install(connect_url="https://sso.example.com/connect")
    world.install(overrides={"scopes": ["org:read", "team:read"]})
    tenants.add_member(tenant=world.tenant, user=world.me.user, role="admin", by=None)
    ada = world.connect(email="ada@example.com")
    world.connect_another("bruno@example.com")
    ends = datetime.now(UTC) + timedelta(days=2)
    Connection.objects.filter(pk=ada.pk).update(name=WIDE, is_default=True, grant_ends_at=ends)
    made = {"tenant": world.tenant, "installation": world.installation, "connected_at": datetime.now(UTC)}
    for status in ("ready", "needs_auth", "revoked"):
        Connection.objects.create(**made, owner=None, account_id=status, account_label=status, status=status)
    more = {"mode": "tool", "tool": "search_issues", "args": {"org": "acme"}}
    upgrade = world.error("run", more, accountId=ada.account_id)["connect_url"]
    here = f"{product.url}/connect/sentry/?tenant={world.tenant.slug}"
    walk = Walk(product.url)
    with browser(scheme="dark", width=PHONE) as page:
        walk.listen(page)
        page.goto(f"{product.url}/connections/")
        log_in(page, world)
        for fold in page.locator("summary").all():
            fold.click()
        walk.look(page, "connections")
        page.goto(f"{here}&shared=1")
        walk.look(page, "share")
        page.goto(upgrade)
        walk.look(page, "allow more")
        _go_on(page)
        walk.look(page, "connected as somebody else")
        page.goto(f"{here}&account={ada.pk}")
        walk.look(page, "connect again")
    with browser(scheme="dark", width=PHONE) as page:
        walk.listen(page)
        page.goto(f"{product.url}/connect/sentry/?tenant={elsewhere.tenant.slug}")
        log_in(page, elsewhere)
        walk.look(page, "elsewhere")
        page.goto(f"{product.url}/connect/sentry/?tenant={elsewhere.tenant.slug}&account={ada.pk}")
        walk.look(page, "nothing here")
    return walk


def _go_on(page: Page) -> None:
    page.get_by_role("button", name="Continue to Sentry").click()
    page.locator("input[value='bruno@example.com']").check()
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("button", name="Approve").click()


def test_every_page_of_accounts_can_be_read_and_used(walk: Walk) -> None:
    assert len(walk.seen) == 7
    assert not walk.wrong, "\n".join(walk.wrong)
