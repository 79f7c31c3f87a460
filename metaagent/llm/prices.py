"""What a turn costs, from a file of prices."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Final, Self

from metaagent.agent.model import Spent

PRICES_FILE: Final = Path(__file__).with_name("prices.toml")
_KINDS: Final = frozenset({"input", "output", "cache_read", "cache_write"})


@dataclass(frozen=True, slots=True)
class Price:
    """Micro-dollars for a token of each kind."""

    input: Decimal
    output: Decimal
    cache_read: Decimal
    cache_write: Decimal


@dataclass(frozen=True, slots=True)
class Prices:
    """Prices by the beginning of a model's name."""

    by_name: Mapping[str, Price]

    @classmethod
    def read(cls, text: str) -> Self:
        """Prices in the form of `prices.toml`. Raises: `ValueError` with one sentence that names the entry."""
        try:
            entries = tomllib.loads(text, parse_float=Decimal)
        except tomllib.TOMLDecodeError as broken:
            raise ValueError(f"The file of prices is not TOML: {broken}.") from None
        return cls({name: _price(name, entry) for name, entry in entries.items()})

    def cost(self, model: str, spent: Spent) -> int | None:
        """Micro-dollars, rounded up; None for a model without a price."""
        known = [name for name in self.by_name if model == name or model.startswith((f"{name}-", f"{name}@"))]
        if not known:
            return None
        price = self.by_name[max(known, key=len)]
        return math.ceil(
            price.input * spent.input_tokens
            + price.output * spent.output_tokens
            + price.cache_read * spent.cache_read_tokens
            + price.cache_write * spent.cache_write_tokens
        )


def _price(name: str, entry: object) -> Price:
    if not isinstance(entry, dict) or entry.keys() != _KINDS:
        raise ValueError(f"The price of {name} must have exactly: {', '.join(sorted(_KINDS))}.")
    numbers = {kind: Decimal(value) for kind, value in entry.items() if isinstance(value, int | Decimal)}
    if len(numbers) < len(_KINDS) or not all(number.is_finite() and number >= 0 for number in numbers.values()):
        raise ValueError(f"The price of {name} must be in numbers that are not negative.")
    return Price(**numbers)
