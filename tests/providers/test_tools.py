"""Addresses, lenient reading and safe words: what every catalogue file leans on."""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from providers import tools
from providers.errors import BadArguments, Unavailable
from providers.spec import Json, Page, Reply
from tests.providers.fake_api import FakeApi

NOW = datetime(2026, 11, 23, 14, 20, tzinfo=UTC)

# --- addresses -------------------------------------------------------------------------------------------------------


def test_a_value_fills_one_segment_of_a_path_and_no_more() -> None:
    assert tools.path("/orgs/{org}/releases/{version}/", org="acme", version="web@1.0/../x?y#z é") == (
        "/orgs/acme/releases/web%401.0%2F..%2Fx%3Fy%23z%20%C3%A9/"
    )


@pytest.mark.parametrize("value", ["", ".", ".."])
def test_a_dot_segment_or_nothing_is_refused(value: str) -> None:
    with pytest.raises(BadArguments, match="The version cannot be used"):
        tools.path("/releases/{version}/", version=value)


def test_a_value_may_look_like_a_placeholder() -> None:
    assert tools.path("/a/{x}/{y}/", x="{y}", y="1") == "/a/%7By%7D/1/"


@pytest.mark.parametrize("url", ["https://sentry.io/x/issues/1/", "https://acme.sentry.io/issues/1/?a=b"])
def test_a_page_of_the_site_or_of_its_subdomains_is_cited(url: str) -> None:
    assert tools.page_url("https://sentry.io", url) == url


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/",
        "https://notsentry.io/",
        "https://sentry.io.evil.example/",
        "https://sentry.io@evil.example/",
        "http://sentry.io/",
        "javascript:alert(1)",
        "//sentry.io/x",
        "https://sentry.io/a b",
        "https://sentry.io/)[x](y",
        "https://sentry.io/\x1b",
        "https://[",
        "",
    ],
)
def test_nothing_else_is_cited(url: str) -> None:
    assert tools.page_url("https://sentry.io", url) is None


# --- reading ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [None, [], "x", 1, {}, {"id": None}, {"id": ""}, {"id": []}])
def test_an_object_without_what_it_needs_cannot_be_read(data: Json) -> None:
    with pytest.raises(Unavailable, match=r"^Sentry gave an answer this tool cannot read\.$"):
        tools.record("Sentry", data, "id")


@pytest.mark.parametrize("data", [None, {}, "x", [None], [{}], [{"id": None}], [[]]])
def test_a_list_of_which_nothing_can_be_read_is_no_empty_list(data: Json) -> None:
    with pytest.raises(Unavailable):
        tools.records("Sentry", data, "id")


def test_rows_that_cannot_be_read_are_left_out_of_a_list() -> None:
    assert tools.records("Sentry", [{"id": 1}, None, {"id": None}], "id") == [{"id": 1}]
    assert tools.records("Sentry", [], "id") == []


def test_what_is_missing_anywhere_on_the_way_reads_as_nothing() -> None:
    row: Json = {"a": {"b": None, "c": [1]}, "n": "7", "t": True}
    assert tools.at(row, "a", "b", "c") is None
    assert tools.at(None, "a") is None
    assert tools.text_at(row, "a") == tools.text_at(row, "t") == tools.text_at(row, "x", "y") == ""
    assert tools.text_at({"n": 0}, "n") == "0"
    assert tools.list_at(row, "a", "c") == tools.list_at(row, "n") == []
    assert tools.whole_at(row, "n") == 7
    assert tools.whole_at(row, "a") == 0


@pytest.mark.parametrize(
    "value", [None, True, "x", "nan", "inf", float("nan"), float("inf"), [], {}, "9" * 500, 10**400]
)
def test_what_is_no_finite_number_is_no_number(value: Json) -> None:
    assert tools.number(value) is None


def test_a_moment_is_read_in_utc_or_not_at_all() -> None:
    assert tools.moment("2026-11-23T15:20:00+01:00") == NOW
    assert tools.moment("2026-11-23T14:20:00Z") == tools.moment("2026-11-23T14:20:00") == NOW
    assert [tools.moment(text) for text in ("", "yesterday", "0001-01-01T00:00:00+14:00")] == [None] * 3


def test_picking_keeps_the_shape() -> None:
    row = {"id": 1, "project": {"slug": "web", "id": 9}, "secret": "x"}
    assert tools.picked(row, ("id", "project.slug", "owner.name")) == {
        "id": 1,
        "project": {"slug": "web"},
        "owner": {"name": None},
    }


# --- words -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("foreign", "shown"),
    [
        ("Cannot read 'x' of undefined", "Cannot read 'x' of undefined"),
        ("a\x00b\r\nc\td", "a b c d"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("left\u202eright\u200b\ufeff", "leftright"),
        ("[click](https://evil.example)", "[click] (evil.example)"),
        ("![i](https://evil.example/i.png)", "![i] (evil.example/i.png)"),
        ("[a][b] [b]: //x", "[a] [b] [b] : //x"),
        ("see https://evil.example/?q=1 www.evil.example", "see evil.example/?q=1 evil.example"),
        ("hthttp://tp://evil.example http:http:////x", "evil.example http:x"),
        (
            "<img src=x onerror=y> <!-- c --> </p> <https://x.example>",
            "\u2039img src=x onerror=y\u203a \u2039!-- c --\u203a \u2039/p\u203a \u2039x.example\u203a",
        ),
        ("<http://b>", "\u2039b\u203a"),
        ("in <module>: a < b > c", "in \u2039module\u203a: a < b > c"),
        ("`rm -rf`", "'rm -rf'"),
        ("# Title", "Title"),
        ("> quoted", "quoted"),
        ("#12 failed", "#12 failed"),
        ("list[0](x)", "list[0] (x)"),
    ],
)
def test_foreign_text_stays_readable_and_loses_its_force(foreign: str, shown: str) -> None:
    assert tools.clean(foreign) == shown


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.sampled_from([*"ab<>[]()!`: \n/\\#", "http://", "www.", "](", "<img ", "\u202e", "\x1b[1m", "\x00", "://"])
    )
)
def test_no_text_survives_as_a_link_an_image_a_tag_or_a_control(parts: list[str]) -> None:
    shown = tools.clean("".join(parts))
    assert "](" not in shown
    assert "][" not in shown
    assert not re.search(r"<[A-Za-z/!?]", shown)
    assert not re.search(r"\w://", shown)
    assert not re.search(r"\bwww\.\w", shown)
    assert not {unicodedata.category(c) for c in shown} & {"Cc", "Cf"}


def test_long_text_is_cut_at_a_word() -> None:
    assert tools.clean("one two three four", 12) == "one two…"
    assert tools.clean("one two", 7) == "one two"
    assert tools.clean("x" * 500, 10) == "x" * 9 + "…"
    assert len(tools.clean("word " * 10_000)) <= 120


@pytest.mark.parametrize(
    ("passed", "said"),
    [
        (timedelta(seconds=-30), "just now"),
        (timedelta(seconds=59), "just now"),
        (timedelta(minutes=1), "1 minute ago"),
        (timedelta(minutes=59), "59 minutes ago"),
        (timedelta(hours=1), "1 hour ago"),
        (timedelta(hours=47), "47 hours ago"),
        (timedelta(days=2), "2 days ago"),
        (timedelta(days=59), "59 days ago"),
        (timedelta(days=61), "on 23 Sep 2026"),
        (timedelta(days=-9), "on 2 Dec 2026"),
    ],
)
def test_how_long_ago_is_said_in_the_unit_people_use(passed: timedelta, said: str) -> None:
    assert tools.ago(NOW - passed, NOW) == said


def test_the_time_of_day_carries_the_date_when_it_is_not_today() -> None:
    assert tools.clock(NOW, NOW) == "14:20 UTC"
    assert tools.clock(NOW - timedelta(days=1), NOW) == "22 Nov 14:20 UTC"
    assert tools.clock(NOW - timedelta(days=365), NOW) == "23 Nov 2025 14:20 UTC"


def test_a_list_says_how_many_more_there_are() -> None:
    lines = [f"row {i}" for i in range(12)]
    assert tools.bullets(lines).splitlines()[-2:] == ["- row 9", "- and 2 more"]
    assert tools.bullets(lines[:3], total=1_234).splitlines()[-1] == "- and 1,231 more"
    assert tools.bullets(lines[:2]) == "- row 0\n- row 1"
    assert tools.bullets([]) == ""


# --- builders --------------------------------------------------------------------------------------------------------


def page(rows: list[Json], cursor: str | None) -> Reply:
    more = "true" if cursor else "false"
    link = f'<https://sentry.io/x/?cursor={cursor}>; rel="next"; results="{more}"; cursor="{cursor}"'
    return Reply(200, {"link": link}, b"", rows)


async def test_a_listing_reads_every_page_and_cites_its_rows() -> None:
    answers = {None: page([{"id": 1, "x": 1}], "c1"), "c1": page([{"id": 2}], "c2"), "c2": page([{"id": 3}], None)}
    api = FakeApi({"/o/acme/things/": lambda params: answers[params.get("cursor")]})
    invoke = tools.listing(
        "Sentry",
        "/o/{org}/things/",
        one="thing",
        needs=("id",),
        pick=("id",),
        say=lambda row: f"thing {row['id']}",
        source=lambda web, row, args: Page(str(row["id"]), f"{web}/{args['org']}/{row['id']}/"),
    )
    result = await invoke(api, {"org": "acme", "kind": "a"})
    assert result.data == [{"id": 1}, {"id": 2}, {"id": 3}]
    assert result.text == "3 things:\n- thing 1\n- thing 2\n- thing 3"
    assert [source.url for source in result.sources] == [f"https://sentry.io/acme/{i}/" for i in (1, 2, 3)]
    assert [params.get("kind") for params in api.params_of("/things/")] == ["a"] * 3


async def test_pages_that_never_end_are_left_after_the_most_that_are_allowed() -> None:
    api = FakeApi({"/things/": lambda _: page([{"id": 1}], "again")})
    assert len(await tools.pages("Sentry", api, "/things/", needs=("id",), most=4)) == len(api.asked) == 4


def by_page(link: str) -> Reply:
    return Reply(200, {"link": link}, b"", [{"id": 1}])


@pytest.mark.parametrize(
    ("link", "more"),
    [
        ('<https://api.github.com/x?a=b&page=2>; rel="next", <https://api.github.com/x?page=5>; rel="last"', "2"),
        ('<https://api.github.com/x?page=1>; rel="prev", <https://evil.example/x?page=3#a>; rel="next"', "3"),
        ("<https://gitlab.com/x?page=2&per_page=20>; rel=next", "2"),
        ('<https://api.github.com/x?page=5>; rel="last"', None),
        ('<https://api.github.com/x>; rel="next"', None),
        ("", None),
    ],
)
def test_a_link_to_the_next_page_gives_its_query_and_leads_nowhere_else(link: str, more: str | None) -> None:
    assert (tools.by_link(by_page(link)) or {}).get("page") == more


@pytest.mark.parametrize(
    ("answer", "more"),
    [
        ({"next": {"token": "t"}, "more": True}, {"cursor": "t"}),
        ({"next": {"token": "t"}, "more": False}, None),
        ({"next": {"token": "t"}}, None),
        ({"next": {"token": ""}, "more": True}, None),
        ([], None),
    ],
)
def test_a_token_in_the_answer_leads_on_while_there_is_more(answer: Json, more: Json) -> None:
    assert tools.by_token("next.token", "cursor", more="more")(Reply(200, {}, b"", answer)) == more


@pytest.mark.parametrize(
    ("answer", "more"),
    [
        ({"startAt": 0, "total": 3, "values": [{}, {}]}, {"startAt": 2}),
        ({"startAt": 2, "total": 3, "values": [{}]}, None),
        ({"startAt": 0, "isLast": False, "values": [{}]}, {"startAt": 1}),
        ({"startAt": 0, "isLast": True, "values": [{}]}, None),
        ({"startAt": 0, "values": []}, None),
        (None, None),
    ],
)
def test_rows_are_counted_up_to_the_last_one(answer: Json, more: Json) -> None:
    assert tools.by_offset("startAt", "values")(Reply(200, {}, b"", answer)) == more


async def test_rows_may_stand_anywhere_in_an_answer() -> None:
    answers = {None: {"data": {"all": [{"id": 1}], "next": "b"}}, "b": {"data": {"all": [{"id": 2}], "next": None}}}
    api = FakeApi({"/things": lambda params: answers[params.get("after")]})
    after = tools.by_token("data.next", "after")
    found = await tools.pages("Sentry", api, "/things", {"n": 1}, rows="data.all", needs=("id",), after=after, most=9)
    assert found == [{"id": 1}, {"id": 2}]
    assert api.params_of("/things") == [{"n": 1}, {"n": 1, "after": "b"}]


async def test_one_object_is_picked_and_put_into_words() -> None:
    api = FakeApi({"/me/": {"id": "1", "name": "Ada", "token": "secret"}})
    invoke = tools.get(
        "Sentry",
        "/me/",
        needs=("id",),
        pick=("id", "name"),
        say=lambda row: f"You are {row['name']}.",
        source=lambda web, _: Page("You", web),
    )
    result = await invoke(api, {})
    assert (result.data, result.text) == ({"id": "1", "name": "Ada"}, "You are Ada.")
    assert result.sources == (Page("You", "https://sentry.io"),)
