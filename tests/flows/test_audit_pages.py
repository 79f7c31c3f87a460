"""The audit log in a browser: who may read it, what is found, what leaves, and that reading is on record."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path

import pytest

from audit import offline, sealing, selectors, services, verification, words
from audit.events import Event, EventKind
from audit.models import Verification
from audit.timeline import Wanted
from metaagent.visitor import Visitor
from tenants import services as tenants
from tenants.models import Session
from tests.world import PASSWORD, World


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
    assert "Account connected" in text
    assert "connect.exchange.done" in text
    assert "Tool called" in text
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
    wrongs = ("user=me", "since=yesterday", "outcome=nice", "action=nice", "client=%3Cb%3E", f"before={'9' * 5_000}")
    for wrong in wrongs:
        assert visitor.open(page(world, f"?{wrong}")).status_code == 400
        assert 'role="alert"' in visitor.page.text


def test_an_event_shows_its_whole_run(world: World, visitor: Visitor) -> None:
    world.connect()
    world.call_tool("who_am_i")
    done = world.events("tool.call.done")[-1]
    visitor.open(page(world, f"{done.seq}/"))
    text = told(visitor)
    assert done.run_id in text
    assert re.search(r"The whole run\s+1 step, 1 request to the provider", text)
    assert re.search(r"\d+ ms", text)
    assert "version 1" in text
    assert done.args_hmac in text
    links = re.findall(r'href="[^"]*/audit/\?(\w+)=', visitor.page.text)
    assert links == ["user", "client", "provider", "account", "run"]


def test_an_event_outside_a_run_shows_its_intent_and_outcome(world: World, visitor: Visitor) -> None:
    world.connect()
    intent, done = world.events("connect.exchange.intent")[-1], world.events("connect.exchange.done")[-1]
    for row in (intent, done):
        visitor.open(page(world, f"{row.seq}/"))
        assert "From intent to outcome" in told(visitor)
        assert f"/audit/{intent.seq}/" in visitor.page.text
        assert f"/audit/{done.seq}/" in visitor.page.text


def test_people_are_looked_for_by_their_address_and_nobody_is_given_away(world: World, visitor: Visitor) -> None:
    elsewhere = World(world.product, world.sandbox).me.user.email
    for _ in range(2):
        visitor.open(page(world, f"?user={world.me.user.email.upper()}"))
    assert "Log read" in told(visitor)
    assert f'value="{world.me.user.email}"' in visitor.page.text
    known, unknown = (told_of(visitor, page(world, f"?user={who}")) for who in (elsewhere, "x" + elsewhere[1:]))
    assert known == unknown
    assert "Nothing like that" in known


def told_of(visitor: Visitor, url: str) -> str:
    visitor.open(url)
    return re.sub(r"[\w.]+@example.com|user=[^&\"]*", "", told(visitor))


def test_actions_and_single_kinds_are_found(world: World, visitor: Visitor) -> None:
    world.connect()
    visitor.open(page(world, "?subject=connect&action=exchange"))
    kinds = set(re.findall(r"connect\.exchange\.\w+", visitor.page.text))
    assert kinds == {"connect.exchange.intent", "connect.exchange.done"}


def test_a_filter_from_an_event_is_shown_and_can_be_taken_off(world: World, visitor: Visitor) -> None:
    account = world.connect()
    visitor.open(page(world, f"?account={account.pk}&subject=connect"))
    assert "Account: " in told(visitor)
    assert 'href="?subject=connect"' in visitor.page.text


def test_every_kind_of_event_has_plain_words(database: None) -> None:
    assert not [kind for kind in EventKind if kind not in words.TOLD]
    assert len(set(words.TOLD.values())) == len(words.TOLD)
    assert words.told("tool.call.unknown_thing") == "Tool call unknown thing"


def test_what_is_no_tool_call_is_found_behind_any_number_of_calls(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selectors, "_LOOKED", 10)
    services.append([Event(EventKind.TOOL_DONE, tenant_id=world.tenant.pk) for _ in range(30)])
    assert selectors.stretch(world.tenant.pk, Wanted(subject="tenant")).events
    found = selectors.stretch(world.tenant.pk, Wanted(provider="sentry"))
    assert (found.events, found.before is not None) == ([], True)


# --- Is it whole?


def checked(world: World) -> None:
    """What the background does, until nobody waits."""
    sealing.seal(now=datetime.now(UTC))
    for _ in range(500):
        verification.work(now=datetime.now(UTC))
        row = Verification.objects.get(tenant_id=world.tenant.pk)
        if row.ended_at and not row.asked_at and not row.began_at:
            return
    raise AssertionError("it is not checked")


def test_an_auditor_has_the_log_checked_and_sees_what_came_of_it(world: World, visitor: Visitor) -> None:
    visitor.open(page(world, "verify/"))
    assert "Nothing is sealed yet" in told(visitor)
    sealing.seal(now=datetime.now(UTC))
    visitor.open(page(world, "verify/"))
    assert "Not checked yet" in told(visitor)
    assert "in the database alone" in told(visitor)
    visitor.send(next(form for form in visitor.forms() if form.action.endswith("verify/")))
    assert "about to be checked" in told(visitor)
    assert world.events("audit.verify.intent")[-1].user_id == world.me.user.pk
    checked(world)
    visitor.open(page(world, "verify/"))
    assert "Whole." in told(visitor)
    assert sealing.signer().public in visitor.page.text


def test_a_log_that_was_touched_is_an_alarm_on_the_page_and_no_reason_to_stop(world: World, visitor: Visitor) -> None:
    sealing.seal(now=datetime.now(UTC))
    place = "Events 1 to 9 (checkpoint 1): 1 missing, 8 instead of 9."
    Verification.objects.filter(tenant_id=world.tenant.pk).update(ended_at=datetime.now(UTC), problem=place)
    visitor.open(page(world, "verify/"))
    assert "not what was sealed" in told(visitor)
    assert place in told(visitor)
    assert 'role="alert"' in visitor.page.text
    assert visitor.open(f"{world.product.url}/readyz").status_code == 200


def test_what_the_console_gives_away_is_checked_without_it(world: World, visitor: Visitor, tmp_path: Path) -> None:
    world.connect()
    sealing.seal(now=datetime.now(UTC))
    kept, export = tmp_path / "kept.jsonl", tmp_path / "log.jsonl"
    kept.write_bytes(visitor.open(page(world, "checkpoints.jsonl")).content)
    export.write_bytes(visitor.open(page(world, "export.jsonl")).content)
    found = offline.verify(export, kept, [sealing.signer().public], lambda _: None)
    assert found["events"] + found["not_sealed"] == len(export.read_text().splitlines())
    assert found["events"] > 0
    assert world.events("audit.export.done")[-2].detail["format"] == "checkpoints"


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
    everywhere = [
        page(world, rest) for rest in ("", "export.csv", "export.jsonl", "1/", "verify/", "checkpoints.jsonl")
    ]
    for somebody in (world, other):  # a plain member, and an auditor elsewhere
        with Visitor() as visitor:
            somebody.log_in(visitor)
            assert [visitor.open(url).status_code for url in everywhere] == [404] * 6
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
