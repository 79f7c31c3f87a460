"""A plan runs again for the same question with other values, and for no other question."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from metaagent.agent.plan import Plan, read_plan
from metaagent.agent.shapes import Shape, lift, manifest_digest, match, read_shape
from providers.catalogue.sentry import PROVIDER
from providers.spec import Api, Args, Effect, Json, Producer, Result, ToolSpec

TRACKER = PROVIDER.by_name
Call = tuple[str, Mapping[str, Json]]


async def _nothing(_api: Api, _args: Args) -> Result:
    return Result(None, "")


def tool(name: str, effect: Effect = Effect.READ, **params: Mapping[str, Json]) -> ToolSpec:
    return ToolSpec(name=name, summary=f"{name}.", invoke=_nothing, params=params, effect=effect)


SHOP = {
    each.name: each
    for each in (
        tool(
            "find_orders",
            customer={"type": "string"},
            number={"type": "integer", "minimum": 1, "maximum": 99},
            least={"type": "number"},
            day={"type": "string", "format": "date"},
            month={"type": "integer"},
            code={"type": "string", "pattern": "^[A-Z]{3}-[0-9]+$"},
            odd={"type": "string", "pattern": "^(a+)+$"},
            choice={"type": "string", "anyOf": [{"minLength": 3}]},
            mails={"type": "array", "items": {"type": "string", "format": "email"}},
            where={"type": "object"},
            id={"type": "string"},
            query={"type": "string"},
        ),
        tool("close_order", Effect.WRITE, code={"type": "string"}),
    )
}


def plan(*calls: Call, finish: str = "show") -> Plan:
    steps = [{"id": f"s{n}", "tool": name, "args": args} for n, (name, args) in enumerate(calls)]
    return read_plan({"steps": steps, "finish": finish})


def kept(prompt: str, *calls: Call, tools: Mapping[str, ToolSpec] = TRACKER) -> Shape:
    shape = lift(prompt, plan(*calls), tools)
    assert shape is not None, prompt
    assert match(prompt, [shape], tools) == plan(*calls)
    return shape


def again(prompt: str, shape: Shape, tools: Mapping[str, ToolSpec] = TRACKER) -> Sequence[Mapping[str, Json]] | None:
    found = match(prompt, [shape], tools)
    return None if found is None else [step.args for step in found.steps]


TOP: Call = ("top_issues", {"project": "checkout", "limit": 5, "period": "7d"})
TOP_ASKED = "show me the top 5 errors in checkout from last week"


@pytest.mark.parametrize(
    ("prompt", "args"),
    [
        ("please show the top 3 errors in billing from last week", ("billing", 3, "7d")),
        ("Show top 3 errors in tracking-api from last month, thanks!", ("tracking-api", 3, "30d")),
        ("Hi, could you show me the top ten errors in ledger this week?", ("ledger", 10, "7d")),
        ("gimme the top 1 error in Payments during the past 12 hours", ("Payments", 1, "12h")),
        ("give me top 7 errors in shop today", ("shop", 7, "24h")),
    ],
)
def test_the_same_question_with_other_values_runs_with_those(prompt: str, args: tuple[str, int, str]) -> None:
    project, limit, period = args
    assert again(prompt, kept(TOP_ASKED, TOP)) == [{"project": project, "limit": limit, "period": period}]


@pytest.mark.parametrize(
    "prompt",
    [
        "show me the top 5 fatal errors in checkout from last week",
        "show me the top errors in checkout from last week",
        "show me the top 5 errors from last week",
        "show me the top 5 errors not in checkout from last week",
        "show me the top 5 errors in checkout",
        "show me the top 5 errors in checkout since last week",
        "show me the top 5 errors in checkout from the previous week",
        "show me the top 5 errors in checkout from yesterday",
        "show me the top 5 errors in checkout from the last weeks",
        "show me the top 500 errors in checkout from last week",
        "show me the top 2.5 errors in checkout from last week",
        "show me the top 5% errors in checkout from last week",
        "show me the top 5 errors in production from last week",
        "show me the top 5 errors in releases from last week",
        "show me the top 5 errors in general from last week",
        "show me the top 5 errors in May from last week",
        "show me the top 5 errors in CHECKOUT-1A from last week",
        "show me the top 5 errors in ada@example.com from last week",
        "show me the top 5 errors in the old checkout from last week",
        "show me the top 5 errors in checkout/billing from last week",
        "show me the top 5 errors in checkout's from last week",
        "tell me the top 5 errors in checkout from last week",
        "count the top 5 errors in checkout from last week",
        "the top 5 errors in checkout from last week?",
        "show me the bottom 5 errors in checkout from last week",
        "in checkout show me the top 5 errors from last week",
        "show me the top 5 errors in checkout from last week and resolve them",
        "show me the top 5 errors in checkout from last week\x00",
    ],
)
def test_another_question_runs_nothing_of_it(prompt: str) -> None:
    assert again(prompt, kept(TOP_ASKED, TOP)) is None


def test_singular_and_plural_ask_for_different_amounts() -> None:
    shape = kept("show the latest error in checkout", ("search_issues", {"project": "checkout", "limit": 1}))
    assert again("show the latest errors in checkout", shape) is None


def test_who_did_what_to_whom_is_told_by_the_order() -> None:
    shape = kept("compare checkout with billing", *(("error_counts", {"project": p}) for p in ("checkout", "billing")))
    assert again("compare shop with ledger", shape) == [{"project": "shop"}, {"project": "ledger"}]
    assert again("with checkout compare billing", shape) is None


def test_whats_is_what_is_and_a_possession_is_not() -> None:
    shape = kept("what's the status of CHECKOUT-1A?", ("issue_details", {"issue": "CHECKOUT-1A"}))
    assert again("what is the status of SHOP-2B", shape) == [{"issue": "SHOP-2B"}]
    assert again("what the status of SHOP-2B", shape) is None
    mine = kept("what is ada's status", ("search_issues", {"status": "all"}))
    assert again("what is ada status", mine) is None


def test_a_value_keeps_its_case_unless_the_plan_or_the_schema_wanted_another() -> None:
    upper = kept("show the trace of checkout-1a", ("latest_event", {"issue": "CHECKOUT-1A"}))
    assert again("show the trace of Shop-2b", upper) == [{"issue": "SHOP-2B"}]
    same = kept("orders of ABC-1", ("find_orders", {"code": "ABC-1"}), tools=SHOP)
    assert again("orders of xyz-22", same, SHOP) == [{"code": "XYZ-22"}]
    lower = kept("errors in Checkout", ("search_issues", {"project": "checkout"}))
    assert again("errors in Billing", lower) == [{"project": "billing"}]
    written = kept("errors in Checkout", ("search_issues", {"project": "Checkout"}))
    assert again("errors in biLLing", written) == [{"project": "biLLing"}]


def test_a_name_of_several_words_is_one_value_and_the_longest_wins() -> None:
    shape = kept("fatal issues of Mobile App", ("search_issues", {"project": "Mobile App", "level": "fatal"}))
    assert again("warning issues of Risk Engine", shape) == [{"project": "Risk Engine", "level": "warning"}]
    assert again("fatal issues of Very Risky Engine", shape) is None
    assert again("fatal issues of risk engine", shape) == [{"project": "risk engine", "level": "fatal"}]


def test_the_same_value_in_two_places_is_one_hole() -> None:
    shape = kept(
        "errors and releases of checkout in the last 24 hours",
        ("error_counts", {"project": "checkout", "period": "24h"}),
        ("list_releases", {"project": "checkout"}),
    )
    assert len(shape.holes) == 2
    assert again("errors and releases of billing today", shape) == [
        {"project": "billing", "period": "24h"},
        {"project": "billing"},
    ]
    twice = kept("does CHECKOUT-1A mention CHECKOUT-1A?", ("issue_details", {"issue": "CHECKOUT-1A"}))
    assert again("does SHOP-1 mention SHOP-1?", twice) == [{"issue": "SHOP-1"}]
    assert again("does SHOP-1 mention SHOP-2?", twice) is None


def test_a_value_inside_another_word_is_no_hole() -> None:
    shape = kept("errors in checkout-api", ("search_issues", {"query": "checkout"}))
    assert shape.holes == ()
    assert again("errors in billing-api", shape) is None


def test_values_of_an_enum_and_values_everybody_knows_are_exchanged_among_themselves_only() -> None:
    shape = kept(
        "archived issues in production", ("search_issues", {"status": "archived", "environment": "production"})
    )
    assert again("resolved issues in staging", shape) == [{"status": "resolved", "environment": "staging"}]
    assert again("fatal issues in staging", shape) is None
    assert again("archived issues in checkout", shape) is None


def test_a_word_is_a_value_only_where_the_words_around_it_say_for_what() -> None:
    shape = kept("latest errors in qa", ("search_issues", {"environment": "qa"}))
    assert again("latest errors in checkout", shape) is None
    named = kept("latest errors of the environment qa", ("search_issues", {"environment": "qa"}))
    assert again("latest errors of the environment demo", named) == [{"environment": "demo"}]
    about = kept("find issues about timeouts", ("search_issues", {"query": "timeouts"}))
    assert again("find issues about deadlocks", about) == [{"query": "deadlocks"}]


def test_a_number_that_only_happens_to_be_the_limit_stays() -> None:
    shape = kept("which errors came up 10 times?", ("search_issues", {"limit": 10}))
    assert again("which errors came up 50 times?", shape) is None
    two = kept("orders over 5", ("find_orders", {"number": 5, "least": 5}), tools=SHOP)
    assert again("orders over 6", two, SHOP) is None


@pytest.mark.parametrize(
    ("prompt", "calls", "other"),
    [
        (
            "is checkout@2.4.0 healthy?",
            [("release_health", {"version": "checkout@2.4.0", "project": "checkout"})],
            "is billing@2.4.0 healthy?",
        ),
        (
            "top 5 errors with their traces",
            [("top_issues", {"limit": 5}), ("latest_event", {"issue": "$.s0[:5].shortId"})],
            "top 3 errors with their traces",
        ),
        (
            "errors of checkout with traces",
            [("search_issues", {"project": "checkout", "query": "project:checkout"})],
            "errors of billing with traces",
        ),
        (
            "compare errors of last week with before",
            [("error_counts", {"period": "7d"}), ("error_counts", {"period": "14d"})],
            "compare errors of last month with before",
        ),
        (
            "top 5 errors, and what else is there",
            [("top_issues", {"limit": 5}), ("search_issues", {"limit": 20})],
            "top 3 errors, and what else is there",
        ),
    ],
)
def test_a_value_stays_when_something_that_stays_was_made_from_it(prompt: str, calls: list[Call], other: str) -> None:
    assert again(other, kept(prompt, *calls)) is None


@pytest.mark.parametrize(
    ("prompt", "call"),
    [
        ("orders since monday", {"day": "2026-11-23"}),
        ("orders since monday", {"query": "created:>2026-11-23"}),
        ("orders since monday", {"query": "11/23/2026"}),
        ("orders since monday", {"query": "at 12:30"}),
        ("orders of this month", {"month": 11}),
        ("orders of now", {"least": 1_795_400_000}),
        ("orders of now", {"query": "1795400000123"}),
        ("orders of now", {"least": 2026}),
        ("orders of the shop", {"query": "2026"}),
        ("orders of the shop", {"query": "shop ABC-17"}),
        ("orders of the shop", {"query": "0123456789abcdef"}),
        ("orders of the shop", {"query": "ada@example.com"}),
        ("orders of the shop", {"query": "https://example.com/a"}),
        ("orders of the shop", {"query": "november"}),
        ("orders of the shop", {"id": "myshop"}),
        ("orders of the shop", {"code": "ABC-1"}),
        ("orders of the shop", {"where": {"since": "2026-11-23"}}),
        ("orders of the shop", {"mails": ["ada@example.com"]}),
        ("orders of the shop", {"unknown": "x"}),
    ],
)
def test_a_plan_that_would_be_stale_or_somebody_elses_is_not_kept(prompt: str, call: Args) -> None:
    assert lift(prompt, plan(("find_orders", call)), SHOP) is None


def test_a_path_that_holds_such_a_value_is_not_kept_either() -> None:
    def through(path: str) -> Plan:
        return plan(("search_issues", {}), ("latest_event", {"issue": path}))

    assert lift("trace of the worst issue", through("$.s0[?@.shortId == 'CHECKOUT-1A'].id"), TRACKER) is None
    assert lift("trace of the worst issue", through("$.s0[?@.firstSeen > '2026-11-23'].id"), TRACKER) is None
    assert lift("trace of the worst issue", through("$.s0[?@.level == 'fatal'].id"), TRACKER) is not None


def test_the_name_of_a_row_that_the_question_does_not_hold_is_not_kept() -> None:
    assert lift("show the errors", plan(("search_issues", {"project": "checkout"})), TRACKER) is None
    assert lift("show the errors of Checkout API", plan(("search_issues", {"project": "checkout-api"})), TRACKER)


@pytest.mark.parametrize(
    ("prompt", "calls"),
    [
        ("close ABC-1", [("find_orders", {"code": "ABC-1"})]),
        ("what was ordered with ABC-1", [("find_orders", {"code": "ABC-1"}), ("close_order", {"code": "ABC-1"})]),
        ("what was ordered with ABC-1", [("gone", {"code": "ABC-1"})]),
        ("what was ordered with ABC-1", [("find_orders", {})]),
        ("orders of 5 people", [("find_orders", {})]),
        ("orders of ada@example.com", [("find_orders", {})]),
        ('orders with "blue"', [("find_orders", {})]),
        ("orders of that shop", [("find_orders", {})]),
        ("show it again", [("find_orders", {})]),
        ("and for ABC-1?", [("find_orders", {"code": "ABC-1"})]),
        ("", [("find_orders", {})]),
        ("?!", [("find_orders", {})]),
        ("orders " * 1000, [("find_orders", {})]),
    ],
)
def test_what_must_not_be_kept_is_not(prompt: str, calls: list[Call]) -> None:
    assert lift(prompt, plan(*calls), SHOP) is None


def test_a_constant_is_right_for_the_same_question_only() -> None:
    shape = kept("unsolved issues about login", ("search_issues", {"status": "unresolved", "query": "sign in"}))
    assert again("Unsolved issues about login, please", shape) == [{"status": "unresolved", "query": "sign in"}]
    assert again("solved issues about login", shape) is None


def test_a_value_the_schema_cannot_be_held_to_stays_fixed() -> None:
    for call in ({"odd": "aaa"}, {"choice": "blue"}, {"where": {"x": "blue"}}):
        value = "aaa" if "odd" in call else "blue"
        assert kept(f'orders with "{value}"', ("find_orders", call), tools=SHOP).holes == ()


def test_values_in_a_list_are_holes_too() -> None:
    shape = kept(
        "orders of ada@example.com and bob@example.com",
        ("find_orders", {"mails": ["ada@example.com", "bob@example.com"]}),
        tools=SHOP,
    )
    assert again("orders of eve@example.com and kim@example.com", shape, SHOP) == [
        {"mails": ["eve@example.com", "kim@example.com"]}
    ]
    assert again("orders of eve@example.com and kim", shape, SHOP) is None


def test_a_pronoun_may_mean_what_the_question_itself_has_named() -> None:
    shape = kept("what is CHECKOUT-1A about, and who owns it?", ("issue_details", {"issue": "CHECKOUT-1A"}))
    assert again("what is SHOP-2B about, and who owns it?", shape) == [{"issue": "SHOP-2B"}]
    for prompt in ("who owns it", "errors in it", "show the same errors", "trace of the error and of this issue"):
        assert lift(prompt, plan(("search_issues", {})), TRACKER) is None


def test_no_value_becomes_a_reference() -> None:
    quoted = kept('find issues with "login failed"', ("search_issues", {"query": "login failed"}))
    assert again('find issues with "$.s0[0].id"', quoted) is None


def test_two_shapes_with_different_plans_give_none() -> None:
    one = kept("errors in checkout", ("search_issues", {"project": "checkout"}))
    two = kept("errors in checkout", ("error_counts", {"project": "checkout"}))
    assert match("errors in billing", [one, one], TRACKER) == plan(("search_issues", {"project": "billing"}))
    assert match("errors in billing", [one, two], TRACKER) is None
    assert match("errors in billing", [], TRACKER) is None


def test_a_tool_that_has_gone_or_changed_runs_nothing() -> None:
    shape = kept("errors in checkout", ("search_issues", {"project": "checkout"}))
    spec = TRACKER["search_issues"]
    for changed in (
        {},
        {"search_issues": replace(spec, effect=Effect.WRITE)},
        {"search_issues": replace(spec, params={})},
        {"search_issues": replace(spec, params={**spec.params, "project": {"type": "string", "maxLength": 3}})},
        {"search_issues": replace(spec, params={**spec.params, "project": {"type": "integer"}})},
    ):
        assert again("errors in billing", shape, changed) is None


def test_values_of_one_question_are_not_kept_for_the_next() -> None:
    shape = kept("issues assigned to ada@example.com", ("search_issues", {"assigned_to": "ada@example.com"}))
    assert "ada" not in json.dumps(shape.payload())


# --- what was kept ---------------------------------------------------------------------------------------------------


def test_a_shape_comes_back_as_it_was_kept() -> None:
    shape = kept(TOP_ASKED, TOP)
    assert read_shape(json.loads(json.dumps(shape.payload()))) == shape


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["text"], []),
        (["text"], "show"),
        (["text"], ["a"] * 1000),
        (["text"], ["show"]),
        (["text", 0], 9),
        (["text", 0], -1),
        (["text", 0], True),
        (["text", 0], None),
        (["text", 0], "x" * 10_000),
        (["holes"], None),
        (["holes", 0], []),
        (["holes", 0, "size"], 0),
        (["holes", 0, "size"], 99),
        (["holes", 0, "places"], []),
        (["holes", 0, "places", 0], [0]),
        (["holes", 0, "places", 0, 0], 7),
        (["holes", 0, "places", 0, 0], "0"),
        (["holes", 0, "places", 0, 1], "org"),
        (["holes", 0, "places", 0, 2], 0),
        (["holes", 0, "places", 0, 4], "rot13"),
        (["plan"], None),
        (["plan", "steps"], []),
        (["plan", "steps", 0, "args"], {}),
        (["plan", "steps", 0, "args", "limit"], 5),
        (["plan", "finish"], "dance"),
    ],
)
def test_what_is_no_shape_is_not_read(path: list[Any], value: Json) -> None:
    body = json.loads(json.dumps(kept(TOP_ASKED, TOP).payload()))
    inner = body
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    assert read_shape(body) is None


@settings(max_examples=50)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-1, 9) | st.sampled_from(["text", "holes", "plan", "a", "", "steps"]),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["text", "holes", "plan", "size", "places", "steps"]), inner, max_size=4)
        ),
        max_leaves=12,
    )
)
def test_anything_is_read_without_an_error(said: Json) -> None:
    assert read_shape(said) is None or said


# --- properties ------------------------------------------------------------------------------------------------------

NAMES = st.sampled_from(["checkout", "billing", "web-shop", "ledger", "Payments", "acmeweb"])
LIMITS = st.integers(1, 100)
CODES = st.sampled_from(["SHOP-1", "CHECKOUT-1A", "WEB-API-9Z", "A_B-77", "LEDGER-XX"])
VERSIONS = st.sampled_from(["shop@1.2.3", "web-api@10.0.0", "ledger@0.9.12-rc1", "a.b@2.0"])
WINDOWS = st.sampled_from(
    [("last week", "7d"), ("the last 24 hours", "24h"), ("last month", "30d"), ("the past three days", "3d")]
)
LEVELS = st.sampled_from(["fatal", "warning", "debug"])
Values = tuple[str, int, str, str, tuple[str, str], str]
values = st.tuples(NAMES, LIMITS, CODES, VERSIONS, WINDOWS, LEVELS)
QUESTIONS = (
    "show the top {1} new {5} errors in {0} over {4} that {3} caused besides {2}",
    "why does {2} happen in {0} after {3}, and which {5} issues came in {4}: list the first {1}",
    "compare {3} of {0} with {2} during {4}, only {5} ones, top {1}",
)
question = st.sampled_from(QUESTIONS)


def asked(text: str, said: Values) -> tuple[str, Plan]:
    name, limit, code, version, (window, period), level = said
    return text.format(name, limit, code, version, window, level), plan(
        ("search_issues", {"project": name, "limit": limit, "level": level, "period": period}),
        ("issue_details", {"issue": code}),
        ("new_issues", {"version": version, "period": period, "project": name}),
        ("latest_event", {"issue": "$.s0[0].shortId"}),
        finish="write",
    )


@settings(max_examples=25, deadline=None)
@given(question, values, values)
def test_lifted_and_matched_with_any_values_the_plan_has_those(text: str, first: Values, second: Values) -> None:
    prompt, answered = asked(text, first)
    shape = lift(prompt, answered, TRACKER)
    assert shape is not None
    assert match(prompt, [shape], TRACKER) == answered
    other, expected = asked(text, second)
    assert match(other, [shape], TRACKER) == expected


@settings(max_examples=25, deadline=None)
@given(
    question, values, st.data(), st.sampled_from(["checkout", "unhandled", "without", "Europe", "7.5", "SHOP-1", "all"])
)
def test_one_word_more_or_one_less_is_another_question(text: str, said: Values, data: st.DataObject, word: str) -> None:
    prompt, answered = asked(text, said)
    shape = lift(prompt, answered, TRACKER)
    assert shape is not None
    words = prompt.split()
    at = data.draw(st.integers(0, len(words)))
    assert match(" ".join([*words[:at], word, *words[at:]]), [shape], TRACKER) is None
    assume(at < len(words) and words[at] not in {"the", "in", "of", "over", "during"})
    assert match(" ".join([*words[:at], *words[at + 1 :]]), [shape], TRACKER) is None


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=80), st.text(max_size=20), st.integers(), st.floats(allow_nan=False))
def test_any_text_is_lifted_and_matched_without_an_error(prompt: str, text: str, whole: int, real: float) -> None:
    answered = plan(
        ("find_orders", {"query": text, "number": whole, "least": real, "mails": [text, None, {"a": text}]})
    )
    shape = lift(prompt, answered, SHOP)
    if shape is not None:
        assert match(prompt, [shape], SHOP) == answered


# --- the manifest ----------------------------------------------------------------------------------------------------


def test_the_digest_changes_with_all_that_a_plan_depends_on_and_nothing_else() -> None:
    first, *rest = PROVIDER.tools
    digest = manifest_digest(PROVIDER.tools)
    assert digest == manifest_digest((*rest, first)) == manifest_digest((replace(first, asks=("x",)), *rest))
    for changed in (
        replace(first, name="x"),
        replace(first, summary="x"),
        replace(first, params={"x": {"type": "string"}}),
        replace(first, required=frozenset({"x"})),
        replace(first, effect=Effect.DESTRUCTIVE),
        replace(first, scopes=frozenset()),
        replace(first, producers={"x": Producer("y", "z")}),
    ):
        assert manifest_digest((changed, *rest)) != digest
    assert len(digest) == 64


# --- speed -----------------------------------------------------------------------------------------------------------


def test_two_hundred_shapes_cost_hardly_more_than_reading_the_question() -> None:
    """Counted in time of this thread, the best of many: a clock would measure the machine."""
    shape = kept(f"{TOP_ASKED} x", TOP)
    shapes = [replace(shape, text=(*shape.text[:-1], f"x{n}")) for n in range(199)] + [shape]
    prompt = "show the top 3 errors in billing from last month x"

    def took(known: Sequence[Shape]) -> float:
        best = 1.0
        for _ in range(30):
            began = time.thread_time()
            found = match(prompt, known, TRACKER)
            best = min(best, time.thread_time() - began)
            assert (found is None) == (not known)
        return best

    assert took(shapes) < 0.002
