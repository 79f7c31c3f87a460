"""Every page there is, in a real browser: nothing serious that axe finds, nothing wider than a phone."""

from __future__ import annotations

import re
from http import HTTPStatus

import pytest

from tests.addresses import places
from tests.environment import MISSING
from tests.sights import Walk, browser, log_in
from tests.town import town
from tests.world import Served

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif("chromium" in MISSING, reason=MISSING.get("chromium", "")),
]


def test_everyone_can_read_and_use_every_page(product: Served, sandbox: Served) -> None:
    ours = town(product, sandbox, "our-town")
    walk = Walk(product.url)
    with browser() as page:
        walk.listen(page)
        page.goto(f"{product.url}/login/")
        log_in(page, ours.world)
        for place in places():
            if place.rest or not place.gaps.keys() <= ours.ids.keys():
                continue
            address = product.url + place.filled(ours.ids)
            answer = page.context.request.get(address, max_redirects=0)
            if answer.status == HTTPStatus.OK and answer.headers["content-type"].startswith("text/html"):
                page.goto(address)
                page.evaluate("document.querySelectorAll('main details').forEach(fold => fold.open = true)")
                walk.look(page, place.name)
            if place.name == "console_audit":  # times are in the reader's own words
                assert re.search("ago|now", page.locator("td time").first.inner_text())
    assert len(walk.seen) > 20
    assert not walk.wrong, "\n".join(walk.wrong)
