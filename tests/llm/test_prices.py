"""What turns cost."""

from __future__ import annotations

import pytest

from metaagent.agent.model import Spent
from metaagent.llm.prices import PRICES_FILE, Prices

PRICES = Prices.read(PRICES_FILE.read_text(encoding="utf-8"))


def test_a_turn_costs_its_tokens_each_at_the_price_of_its_kind_rounded_up() -> None:
    spent = Spent(input_tokens=1_000, output_tokens=100, cache_read_tokens=10_000, cache_write_tokens=2_001)
    assert PRICES.cost("claude-sonnet-5-5", spent) == 2_000 + 1_000 + 1_000 + 5_003
    assert PRICES.cost("claude-haiku-5-5", Spent(input_tokens=1)) == 1
    assert PRICES.cost("claude-haiku-5-5", Spent()) == 0


@pytest.mark.parametrize(
    ("model", "like"),
    [
        ("claude-sonnet-5-5-20260928", "claude-sonnet-5-5"),
        ("claude-sonnet-5@20260601", "claude-sonnet-5"),
        ("claude-opus-4-8", "claude-opus-4"),
    ],
)
def test_a_dated_name_costs_what_the_longest_known_name_does(model: str, like: str) -> None:
    million = Spent(10**6, 10**6, 10**6, 10**6)
    assert PRICES.cost(model, million) == PRICES.cost(like, million)


@pytest.mark.parametrize("model", ["qwen3:8b", "", "claude-sonnet-50", "xclaude-sonnet-5", "claude"])
def test_a_model_that_is_not_listed_has_no_price(model: str) -> None:
    assert PRICES.cost(model, Spent(1, 1, 1, 1)) is None


@pytest.mark.parametrize(
    "text",
    [
        "[x",
        "x = 1",
        "[x]\ninput = 1",
        "[x]\ninput = 1\noutput = 1\ncache_read = 1\ncache_write = -1",
        "[x]\ninput = 1\noutput = 1\ncache_read = 1\ncache_write = nan",
        '[x]\ninput = 1\noutput = 1\ncache_read = 1\ncache_write = "1"',
    ],
)
def test_prices_that_make_no_sense_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="price"):
        Prices.read(text)


def test_what_is_spent_adds_up() -> None:
    assert Spent(1, 2, 3, 4) + Spent(10, 20, 30, 40) == Spent(11, 22, 33, 44)
