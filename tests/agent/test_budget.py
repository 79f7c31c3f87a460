"""One ask's budget: nothing is begun that does not fit at the worst, and nothing is done twice."""

from __future__ import annotations

import json
import math
import uuid
from decimal import Decimal
from pathlib import Path

import pytest
import quicktok

from metaagent.agent.budget import Circling, Purse, prompt_at_most, tokens_at_most
from metaagent.agent.failures import AskInvalid, BudgetExceeded
from metaagent.agent.model import FromModel, FromUser, ModelTool, Said, Spent, ToolOutcome, ToolUse
from metaagent.agent.types import Amount
from metaagent.llm.prices import Price, Prices

ROOT = Path(__file__).resolve().parent.parent.parent
LIMITS = Amount(turns=3, calls=3, tokens=10_000, micros=50_000, ms=30_000)
PRICES = Prices({"small": Price(Decimal(1), Decimal(10), Decimal("0.1"), Decimal("1.25"))})


def purse(**limits: int) -> Purse:
    stated = {name: getattr(LIMITS, name) for name in ("turns", "calls", "tokens", "micros", "ms")}
    return Purse(Amount(**{**stated, **limits}), PRICES.cost, began=100.0)


def lacks(mine: Purse, prompt: int = 1_000, answer: int = 1_000, *, model: str = "small", now: float = 101.0) -> str:
    """What there is not enough of for such a turn."""
    before = mine._aside, mine.used
    with pytest.raises(BudgetExceeded) as caught:
        mine.turn(model, prompt, answer, now=now)
    assert caught.value.scope == "ask"
    assert (mine._aside, mine.used) == before
    return caught.value.what


# --- turns of a model


def test_a_turn_is_begun_only_when_it_fits_at_the_worst() -> None:
    assert lacks(purse(tokens=1_100)) == "tokens"
    assert lacks(purse(micros=2_000)) == "money"
    assert lacks(purse(), now=129.8) == "time"
    whole = purse(turns=1)
    whole.spent(whole.turn("small", 1_000, 1_000, now=101), Spent(10, 10))
    assert lacks(whole) == "turns"


def test_what_other_turns_may_still_use_is_not_there_for_this_one() -> None:
    mine = purse(tokens=3_000)
    first = mine.turn("small", 1_000, 1_000, now=101)
    assert lacks(mine) == "tokens"
    mine.spent(first, Spent(input_tokens=500, output_tokens=100))
    assert mine.turn("small", 1_000, 1_000, now=102).max_tokens == 1_000
    crowded = purse(turns=2, micros=0)
    for _ in range(2):
        crowded.turn("small", 100, 200, now=101)
    assert lacks(crowded) == "turns"


def test_an_answer_is_made_shorter_where_only_less_fits_but_not_useless() -> None:
    assert purse(tokens=1_900).turn("small", 1_000, 1_000, now=101).max_tokens == 900
    # 1,000 tokens of prompt at the price of caching them, and what is left at 10 each
    allowed = purse(micros=1_250 + 4_009).turn("small", 1_000, 1_000, now=101)
    assert (allowed.max_tokens, allowed.amount.micros) == (400, 5_250)
    assert lacks(purse(tokens=1_199)) == "tokens"
    assert lacks(purse(micros=1_250 + 1_999)) == "money"
    assert purse(tokens=1_010).turn("small", 1_000, 10, now=101).max_tokens == 10  # no more was wanted
    assert lacks(purse(tokens=1_009), answer=10) == "tokens"


def test_what_is_put_aside_is_what_the_dearest_course_costs() -> None:
    amount = purse().turn("small", 1_000, 1_000, now=101).amount
    assert amount == Amount(turns=1, tokens=2_000, micros=1_250 + 10_000)
    for spent in (Spent(1_000, 1_000), Spent(0, 1_000, 1_000), Spent(0, 1_000, 0, 1_000), Spent(400, 9, 300, 300)):
        assert (PRICES.cost("small", spent) or 0) <= amount.micros


def test_money_does_not_limit_a_model_without_a_price_and_no_cost_is_told_for_it() -> None:
    mine = purse(micros=1)
    used = mine.spent(mine.turn("mine", 1_000, 1_000, now=101), Spent(900, 50))
    assert used == Amount(turns=1, tokens=950)
    assert "costMicros" not in mine.usage(102)
    assert lacks(mine, 9_000, model="mine") == "tokens"


def test_what_a_turn_really_used_counts_afterwards() -> None:
    mine = purse()
    used = mine.spent(mine.turn("small", 1_000, 1_000, now=101), Spent(100, 50, 20, 30))
    assert used == Amount(turns=1, tokens=200, micros=100 + 500 + 2 + 38)
    assert mine.used == used
    more = mine.spent(mine.turn("small", 100, 200, now=101), Spent(9_000, 5_000))  # after several tries
    assert more.tokens == 14_000
    assert lacks(mine, 10, 10) == "tokens"
    assert mine.usage(102)["tokensLeft"] == 0


def test_a_turn_that_was_cut_off_counts_as_its_worst_and_one_that_was_not_begun_as_nothing() -> None:
    mine = purse()
    cut = mine.turn("small", 1_000, 1_000, now=101)
    assert mine.spent(cut, None) == cut.amount == mine.used
    other = purse()
    other.unspent(other.turn("small", 1_000, 1_000, now=101))
    assert other.used == other._aside == Amount()


def test_nothing_limits_what_has_no_limit() -> None:
    mine = Purse(Amount(), PRICES.cost, began=100.0)
    for _ in range(50):
        mine.spent(mine.turn("small", 90_000, 8_000, now=9_000), Spent(90_000, 8_000))
        mine.call("list", {"n": 1}, writes=False)
    assert mine.deadline == math.inf
    assert not [name for name in mine.usage(9_000) if name.endswith("Left")]


# --- calls of tools


def test_calls_are_counted_and_end() -> None:
    mine = purse()
    for number in range(3):
        assert not mine.call("list", {"page": number}, writes=False)
    with pytest.raises(BudgetExceeded) as caught:
        mine.call("list", {"page": 4}, writes=False)
    assert (caught.value.scope, caught.value.what) == ("ask", "calls")
    assert mine.used.calls == 3


def test_the_same_read_is_recognised_whatever_the_order_of_its_arguments() -> None:
    mine = purse()
    assert not mine.call("find", {"a": 1, "b": {"c": 2, "d": 3}}, writes=False)
    assert mine.call("find", {"b": {"d": 3, "c": 2}, "a": 1}, writes=False)
    assert not mine.call("find", {"a": 1}, writes=False)


def test_the_same_write_is_refused_the_second_time() -> None:
    mine = purse()
    mine.call("resolve", {"issue": "A-1"}, writes=True)
    mine.call("resolve", {"issue": "A-2"}, writes=True)
    with pytest.raises(AskInvalid, match="Nothing is done twice"):
        mine.call("resolve", {"issue": "A-1"}, writes=True)
    assert mine.used.calls == 2


def test_a_model_that_wishes_for_the_same_a_third_time_is_stopped() -> None:
    mine = purse()
    for _ in range(2):
        mine.wished("find", {"q": "x"})
        mine.wished("find", {"q": "y"})
    with pytest.raises(Circling) as caught:
        mine.wished("find", {"q": "x"})
    assert isinstance(caught.value, BudgetExceeded)
    assert "asked for the same call 3 times" in caught.value.payload()["message"]


# --- what is said about it


def test_usage_says_what_was_used_and_what_is_left() -> None:
    mine = purse()
    mine.call("find", {}, writes=False)
    assert mine.usage(100.25) == {"modelTurns": 0, "toolCalls": 1, "ms": 250, "callsLeft": 2}
    mine.spent(mine.turn("small", 1_000, 1_000, now=101), Spent(100, 50, 20, 30))
    assert mine.usage(102) == {
        "modelTurns": 1,
        "toolCalls": 1,
        "ms": 2_000,
        "inputTokens": 100,
        "outputTokens": 50,
        "cacheReadTokens": 20,
        "cacheWriteTokens": 30,
        "costMicros": 640,
        "turnsLeft": 2,
        "tokensLeft": 9_800,
        "microsLeft": 49_360,
        "callsLeft": 2,
    }


# --- how many tokens a text is at most

RECORDS = json.dumps(
    [
        {
            "id": str(4_000_000_000 + n * 7_919),
            "shortId": f"WEB-{n:X}K",
            "title": f"TypeError: cannot read properties of undefined (reading 'id{n}')",
            "permalink": f"https://sentry.example/organizations/acme/issues/{4_000_000_000 + n * 7_919}/",
            "firstSeen": f"2026-11-0{n % 9 + 1}T08:{n % 60:02}:11.123456Z",
            "count": str(n * 113),
        }
        for n in range(50)
    ]
)
TEXTS = {
    "prose": (ROOT / "README.md").read_text(),
    "source": (ROOT / "metaagent" / "agent" / "router.py").read_text(),
    "records": RECORDS,
    "ids": json.dumps([str(uuid.UUID(int=n * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128)) for n in range(1, 80)]),
    "times": json.dumps([f"2026-11-{n % 28 + 1:02}T0{n % 10}:{n % 60:02}:11.{n}Z" for n in range(80)]),
    "punctuation": "!@#$%^&*()_+-=[]{}|;':,./<>?" * 20,
    "Chinese": "今天我们讨论了项目的发布错误为什么会增加以及如何修复这些问题。" * 10,
    "Russian": "Сегодня мы обсудили, почему растёт число ошибок в релизе и как их исправить. " * 10,
    "Hindi": "आज हमने चर्चा की कि रिलीज़ में त्रुटियाँ क्यों बढ़ रही हैं। " * 10,
    "emoji": "🚀🔥👩‍💻🇩🇪✅❌🧪🫠" * 10,
}


@pytest.mark.parametrize("kind", TEXTS)
def test_a_text_is_estimated_as_more_tokens_than_it_is_but_not_many_times_as_many(kind: str) -> None:
    count = len(quicktok.get_encoding("o200k_base").encode(TEXTS[kind]))
    assert tokens_at_most(TEXTS[kind]) >= 1.3 * count
    if kind in {"prose", "source", "records"}:
        assert tokens_at_most(TEXTS[kind]) <= 3 * count


def test_everything_that_a_turn_begins_with_is_counted() -> None:
    long = "x" * 1_000
    tool = ModelTool("find", long, {"type": "object", "description": long})
    messages = (
        FromUser((Said(long),)),
        FromModel((ToolUse("u1", "find", {"q": long}),)),
        FromUser((ToolOutcome("u1", long),)),
    )
    assert prompt_at_most(long, messages, [tool]) >= 6 * 500
    assert prompt_at_most("", ()) == 0
