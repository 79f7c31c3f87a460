"""The budget of one ask: what a model's turn may cost at the worst, what was used, what is asked for again; pure."""

from __future__ import annotations

import json
import math
import string
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

import orjson

from metaagent.agent.failures import AskInvalid, BudgetExceeded
from metaagent.agent.model import Message, ModelTool, Said, Spent, Thought, ToolOutcome, ToolUse
from metaagent.agent.ports import Price
from metaagent.agent.types import Amount
from providers.spec import Json

LEAST_ANSWER: Final = 200
"""Tokens. With less a turn is not worth its prompt."""
LEAST_TURN_MS: Final = 500
"""No model answers in less."""
SAME_WISHES: Final = 3
"""A model that wishes for the very same call this often goes round in circles."""

_LETTERS: Final = (string.ascii_letters + " ").encode()
_PER_BLOCK: Final = 8
_FOR_TOOLS: Final = 600
"""What a server itself tells a model about the use of tools."""

_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":"), default=repr).encode


def tokens_at_most(text: str) -> int:
    """An upper estimate of how many tokens a text is, for any usual model.

    Half a token for an ASCII letter or space, a whole one for every other byte. Measured with o200k and cl100k: 2 to 3
    times the count for prose, source and tool schemas, 1.4 to 2 times for JSON records, ids, times and stack traces.
    That leaves room for vocabularies that need a third more. Long random text (base64) alone comes out lower, by a
    fifth: what it really was is known after the turn, and the next one is refused for it.
    """
    raw = text.encode("utf-8", "surrogatepass")
    others = len(raw.translate(None, _LETTERS))
    return others + (len(raw) - others + 1) // 2


def prompt_at_most(system: str, messages: Sequence[Message], tools: Sequence[ModelTool] = ()) -> int:
    """The same for all that a turn begins with."""
    parts = [part for message in messages for part in message.parts]
    tokens = tokens_at_most(system) + sum(tokens_at_most(_said(part)) + _PER_BLOCK for part in parts)
    for tool in tools:
        tokens += tokens_at_most(tool.name + tool.description + _canonical(dict(tool.input_schema))) + _PER_BLOCK
    return tokens + _FOR_TOOLS if tools else tokens


def _said(part: Said | ToolUse | ToolOutcome | Thought) -> str:
    match part:
        case Said(text):
            return text
        case ToolUse(use_id, name, args):
            return use_id + name + _canonical(dict(args))
        case ToolOutcome(use_id, text):
            return use_id + text
        case Thought(block):
            return _canonical(dict(block))


@dataclass(eq=False)
class Circling(BudgetExceeded):
    """A model that wishes for the same again and again was stopped."""

    scope: Literal["ask"] = "ask"
    what: str = "calls"

    @property
    def message(self) -> str:
        """What to do instead."""
        return (
            f"The model asked for the same call {SAME_WISHES} times and was stopped. Put the question in other words."
        )


@dataclass(frozen=True, slots=True, eq=False)
class Allowed:
    """A turn that may be begun. Ends with exactly one of `Purse.spent` and `Purse.unspent`."""

    model: str
    max_tokens: int
    """What the answer may have: what was asked for, or less where only less fits."""
    amount: Amount
    """What it uses at the worst; so much of today's budgets is to be reserved for it."""


@dataclass(slots=True)
class Purse:
    """What one ask may use. In `limits` 0 is no limit."""

    limits: Amount
    price: Price
    began: float
    """A time of `time.monotonic`, as every `now` here."""
    used: Amount = field(default_factory=Amount)
    """Turns, calls, tokens and money; time is told by `ms`."""
    spoken: Spent = field(default_factory=Spent)
    """Tokens of turns whose outcome is known, by kind."""
    _aside: Amount = field(default_factory=Amount)
    _unpriced: bool = False
    _called: set[str] = field(default_factory=set)
    _wished: Counter[str] = field(default_factory=Counter)

    @property
    def deadline(self) -> float:
        """When the ask's time is over."""
        return self.began + self.limits.ms / 1_000 if self.limits.ms else math.inf

    def ms(self, now: float) -> int:
        """For how long the ask has been worked."""
        return round((now - self.began) * 1_000)

    def turn(
        self, model: str, prompt_tokens: int, max_tokens: int, *, now: float, least: int = LEAST_ANSWER
    ) -> Allowed:
        """Put aside what a turn of `model` may use at the worst; see `prompt_at_most`.

        Where that does not fit, the answer is given fewer tokens, but not fewer than `least` (or `max_tokens`).
        Raises: BudgetExceeded: turns, time, tokens or money.
        """
        least = min(least, max_tokens)
        if self._room("turns") < 1:
            raise BudgetExceeded("ask", "turns")
        if (self.deadline - now) * 1_000 < LEAST_TURN_MS:
            raise BudgetExceeded("ask", "time")
        fits = int(min(max_tokens, self._room("tokens") - prompt_tokens))
        if fits < least:
            raise BudgetExceeded("ask", "tokens")
        if self._worst(model, prompt_tokens, fits) is not None:
            # Each token costs: the longest answer that can be paid is found by halving.
            affordable = range(fits + 1)
            room = self._room("micros")
            fits = bisect_right(affordable, room, key=lambda answer: self._worst(model, prompt_tokens, answer) or 0) - 1
            if fits < least:
                raise BudgetExceeded("ask", "money")
        worst = self._worst(model, prompt_tokens, fits) or 0
        allowed = Allowed(model, fits, Amount(turns=1, tokens=prompt_tokens + fits, micros=worst))
        self._aside += allowed.amount
        return allowed

    def spent(self, allowed: Allowed, spent: Spent | None) -> Amount:
        """Count what the turn really used, and say it. None: it was cut off, and all that was put aside counts."""
        used = allowed.amount
        if spent is not None:
            cost = self.price(allowed.model, spent)
            tokens = spent.input_tokens + spent.output_tokens + spent.cache_read_tokens + spent.cache_write_tokens
            used = Amount(turns=1, tokens=tokens, micros=cost or 0)
            self.spoken += spent
            self._unpriced |= cost is None
        self._aside -= allowed.amount
        self.used += used
        return used

    def unspent(self, allowed: Allowed) -> None:
        """The turn was not begun: nothing counts."""
        self._aside -= allowed.amount

    def call(self, tool: str, args: Mapping[str, Json], *, writes: bool) -> bool:
        """Count a call that is about to be made; whether the same was made before in this ask.

        Raises: BudgetExceeded; AskInvalid for a write that was made before, whatever came of it.
        """
        same = _same(tool, args)
        again = same in self._called
        if again and writes:
            raise AskInvalid(
                f"{tool} was called with exactly this before, for the same question. Nothing is done twice."
            )
        if self._room("calls") < 1:
            raise BudgetExceeded("ask", "calls")
        self._called.add(same)
        self.used += Amount(calls=1)
        return again

    def wished(self, tool: str, args: Mapping[str, Json]) -> None:
        """A model, turn by turn, asks for this call. Raises: Circling, the third time that it is the very same."""
        same = _same(tool, args)
        self._wished[same] += 1
        if self._wished[same] >= SAME_WISHES:
            raise Circling

    def usage(self, now: float) -> dict[str, int]:
        """For the wire: what was used, and what is left where there is a limit. No cost where no price is known."""
        used, spoken = self.used, self.spoken
        said = {"modelTurns": used.turns, "toolCalls": used.calls, "ms": self.ms(now)}
        if used.turns:
            said |= {
                "inputTokens": spoken.input_tokens,
                "outputTokens": spoken.output_tokens,
                "cacheReadTokens": spoken.cache_read_tokens,
                "cacheWriteTokens": spoken.cache_write_tokens,
                **({} if self._unpriced else {"costMicros": used.micros}),
            }
            left = {"turnsLeft": "turns", "tokensLeft": "tokens", "microsLeft": "micros"}
            said |= {name: max(0, int(self._room(kind))) for name, kind in left.items() if getattr(self.limits, kind)}
        if self.limits.calls:
            said["callsLeft"] = self.limits.calls - used.calls
        return said

    def _room(self, kind: str) -> float:
        limit: int = getattr(self.limits, kind)
        return limit - getattr(self.used, kind) - getattr(self._aside, kind) if limit else math.inf

    def _worst(self, model: str, prompt: int, answer: int) -> int | None:
        """Whether or not the whole prompt is put into the server's cache, which may cost more or less than reading."""
        costs = (
            self.price(model, Spent(input_tokens=prompt, output_tokens=answer)),
            self.price(model, Spent(cache_write_tokens=prompt, output_tokens=answer)),
        )
        return max((cost for cost in costs if cost is not None), default=None)


def _same(tool: str, args: Mapping[str, Json]) -> str:
    try:
        said = orjson.dumps(dict(args), option=orjson.OPT_SORT_KEYS).decode()
    except TypeError:  # what JSON cannot say, or only at length
        said = _canonical(dict(args))
    return f"{tool} {said}"
