"""The audit log in a browser: who may read it, what is found, what leaves, and that reading is on record."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from html import unescape

import pytest

from audit import selectors, services
from audit.events import Event, EventKind
from audit.timeline import Wanted
from metaagent.visitor import Visitor
from tenants import services as tenants
from tenants.models import Session
from tests.environment import MISSING
from tests.flows.test_accessibility import PHONE, Walk, _listen, _log_in, _look, browser
from tests.world import PASSWORD, Served, World


def auditor(world: World) -> World:
    tenants.add_member(tenant=world.tenant, user=world.me.user, role="auditor", by=None)
    return world


@pytest.fixture
def visitor(world: World) -> Iterator[Visitor]:
    auditor(world)
    with Visitor() as visitor:
        world.log_in(visitor)
        yield visitor


def page(world: World, rest: str = "") -> str:
    return f"{world.product.url}/console/{world.tenant.slug}/audit/{rest}"


def told(visitor: Visitor) -> str:
    return unescape(re.sub(r"<[^>]*>|\s+", " ", visitor.page.text))


def test_what_was_done_is_found_with_who_and_as_which_account(world: World, visitor: Visitor) -> None:
    world.connect()
    world.call_tool("who_am_i")
    text = told(visitor) if visitor.open(page(world)).status_code == 200 else ""
    assert "connect exchange" in text
    assert "who_am_i" in text
    assert world.me.user.email in text
    assert "sentry" in text


def test_filters_live_in_the_address(world: World, visitor: Visitor) -> None:
    world.connect()
    world.call_tool("who_am_i")
    visitor.open(page(world, "?subject=tool&outcome=done&provider=sentry"))
    rows = re.findall(r"<tr>\s*<td>.*?</tr>", visitor.page.text, re.DOTALL)
    assert len(rows) == 1
    assert "who_am_i" in rows[0]
    visitor.open(page(world, "?until=2020-01-01"))
    assert "Nothing like that" in told(visitor)
    for wrong in ("user=me", "since=yesterday", "outcome=nice", "client=%3Cb%3E"):
        assert visitor.open(page(world, f"?{wrong}")).status_code == 400
        assert 'role="alert"' in visitor.page.text


def test_an_event_shows_its_whole_run(world: World, visitor: Visitor) -> None:
    world.connect()
    world.call_tool("who_am_i")
    done = world.events("tool.call.done")[-1]
    visitor.open(page(world, f"{done.seq}/"))
    text = told(visitor)
    assert done.run_id in text
    assert "intent" in text
    assert re.search(r"\d+ ms", text)


def test_a_file_holds_what_is_wanted_and_nothing_a_spreadsheet_works_out(world: World, visitor: Visitor) -> None:
    evil = "=HYPERLINK(1)"
    services.append([Event(EventKind.TOOL_DONE, tenant_id=world.tenant.pk, provider="sentry", tool=evil)])
    lines = visitor.open(page(world, "export.jsonl?subject=tool")).text.splitlines()
    assert [json.loads(line)["tool"] for line in lines] == [evil]
    answer = visitor.open(page(world, "export.csv"))
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert rows[-2]["tool"] == f"'{evil}" or any(row["tool"] == f"'{evil}" for row in rows)
    assert not any(cell.startswith(("=", "+", "@")) for row in rows for cell in row.values())
    assert "attachment" in answer.headers["content-disposition"]


def test_reading_and_taking_away_are_on_record(world: World, visitor: Visitor) -> None:
    visitor.open(page(world, "?subject=tool"))
    visitor.open(page(world, "export.csv"))
    read, taken = world.events("audit.read.done")[-1], world.events("audit.export.done")[-1]
    assert (read.user_id, read.detail["filters"]) == (world.me.user.pk, "subject")
    assert (taken.user_id, taken.detail["format"]) == (world.me.user.pk, "csv")


def test_a_file_wants_a_recent_password(world: World, visitor: Visitor) -> None:
    for row in Session.objects.all():
        data = row.get_decoded()
        if data.get("_auth_user_id") == str(world.me.user.pk):
            row.session_data = Session.objects.encode({**data, "confirmed_at": 1.0})
            row.save()
    visitor.open(page(world, "export.jsonl?subject=tool"))
    assert "Is it still you?" in visitor.page.text
    assert not world.events("audit.export.done")
    assert visitor.send(visitor.form_with("password"), password="wrong").status_code == 401
    answer = visitor.send(visitor.form_with("password"), password=PASSWORD)
    assert "attachment" in answer.headers["content-disposition"]
    assert world.events("audit.export.done")


def test_members_and_strangers_find_nothing_there(world: World) -> None:
    other = auditor(World(world.product, world.sandbox))
    everywhere = [page(world, rest) for rest in ("", "export.csv", "export.jsonl", "1/")]
    for somebody in (world, other):  # a plain member, and an auditor elsewhere
        with Visitor() as visitor:
            somebody.log_in(visitor)
            assert [visitor.open(url).status_code for url in everywhere] == [404] * 4
    with Visitor() as visitor:
        for url in everywhere:
            visitor.open(url)
            assert "/login/" in str(visitor.page.url)
    assert not world.events("audit.read.done")


def test_an_event_of_another_tenant_is_not_there(world: World, visitor: Visitor) -> None:
    other = World(world.product, world.sandbox)
    assert visitor.open(page(world, f"{other.events()[0].seq}/")).status_code == 404


def test_pages_go_back_to_the_beginning_and_show_everything_once(world: World) -> None:
    events = [Event(EventKind.TOOL_DONE, tenant_id=world.tenant.pk, tool=f"t{i}") for i in range(120)]
    services.append(events)
    seen: list[str] = []
    before = None
    while True:
        found = selectors.stretch(world.tenant.pk, Wanted(subject="tool"), before=before)
        seen += [row.tool for row in found.events]
        if found.before is None:
            break
        before = found.before
    assert seen == [f"t{i}" for i in reversed(range(120))]


def test_a_stretch_of_time_is_found_however_far_back(world: World) -> None:
    begin = datetime.now(UTC) - timedelta(days=100)
    moments = [begin + timedelta(hours=i) for i in range(2_400)]
    services.append(
        [Event(EventKind.TOOL_DONE, tenant_id=world.tenant.pk, tool=str(i), at=at) for i, at in enumerate(moments)]
    )
    day = Wanted(since=moments[100], until=moments[110])
    found = selectors.stretch(world.tenant.pk, day)
    assert [row.tool for row in found.events] == [str(i) for i in reversed(range(100, 110))]


@pytest.mark.browser
@pytest.mark.skipif("chromium" in MISSING, reason=MISSING.get("chromium", ""))
def test_the_pages_are_for_everyone(product: Served, sandbox: Served) -> None:
    world = auditor(World(product, sandbox))
    world.connect()
    world.call_tool("who_am_i")
    done = world.events("tool.call.done")[-1]
    walk = Walk(product.url)
    with browser(scheme="dark", width=PHONE) as chromium:
        _listen(chromium, walk)
        chromium.goto(page(world))
        _log_in(chromium, world)
        _look(chromium, walk, "timeline")
        assert (
            "ago" in chromium.locator("td time").first.inner_text()
            or "now" in chromium.locator("td time").first.inner_text()
        )
        chromium.goto(page(world, f"{done.seq}/"))
        _look(chromium, walk, "event")
        chromium.goto(page(world, "?until=2020-01-01"))
        _look(chromium, walk, "nothing like that")
    assert not any(walk.facts("unnamed").values()), walk.facts("unnamed")
    assert not any(walk.facts("faint").values()), walk.facts("faint")
    assert not any(walk.facts("sideways").values()), walk.facts("sideways")
    assert not {sight.name: sight.unseen for sight in walk.sights if sight.unseen}
    assert walk.said == []
