"""What operators see of asks, model turns and tool calls: numbers always, spans when somebody collects them.

Neither holds what was asked, answered or passed to a tool, nor who asked, as which account, or at which host. An ask is
found again in the audit log by its run id, which only spans have.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from contextvars import ContextVar, Token
from itertools import accumulate
from types import TracebackType
from typing import Final, Literal, Self

from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, StatusCode, Tracer, set_span_in_context
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from metaagent.agent import conventions as names
from metaagent.agent.failures import Failure
from metaagent.agent.model import ModelGone, Role, Spent
from metaagent.agent.types import Way
from providers.errors import ToolError
from providers.spec import Effect

_NONE: Final = "none"
"""An ask that ended before this was known."""
_OTHER: Final = "other"
_MOST_PROVIDERS: Final = 200
"""Tenants name their own providers; these many are told apart."""
_MOST_MODELS: Final = 20
_MOST_OUTCOMES: Final = 50
_BUCKETS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_CONTENT_LETTERS: Final = 4_000


class Telemetry:
    """Spans and numbers of one process. Nothing in it waits, and nothing in it ends an ask.

    Without a `tracer` there are numbers alone, at a few microseconds an ask. `content` writes prompts and answers into
    spans, without what looks like a token.
    """

    def __init__(self, tracer: Tracer | None = None, *, content: bool = False) -> None:
        self._numbers = _Numbers()
        self._tracer = tracer
        self._content = content and tracer is not None

    def ask(self, run_id: str, caller: object = None) -> AskSpan:
        """One ask, from its first check to its end; `with` it. The turns and calls inside become its children.

        `caller` is what stands in the request's `_meta` as `traceparent` (SEP-414). It becomes a link, not the parent:
        a client of any tenant could else put spans into the traces of others, and decide by its flags, or by the trace
        id it chooses, which asks are sampled.
        """
        otel = None
        if self._tracer is not None:
            attributes = {
                names.OPERATION_NAME: names.INVOKE_AGENT,
                names.PROVIDER_NAME: names.METAAGENT,
                names.MCP_METHOD: names.TOOLS_CALL,
                names.RUN_ID: run_id,
            }
            # An empty context: whatever else may trace in this process is not what the ask is part of.
            otel = self._tracer.start_span(
                names.INVOKE_AGENT, Context(), SpanKind.SERVER, attributes, links=_links(caller)
            )
        return AskSpan(self._numbers, otel, content=self._content)

    def turn(self, role: Role, model: str) -> TurnSpan:
        """One turn of a model, its tries included; `with` it."""
        otel = None
        if self._tracer is not None:
            attributes = {
                names.OPERATION_NAME: names.CHAT,
                names.PROVIDER_NAME: names.ANTHROPIC,
                names.REQUEST_MODEL: model,
                names.ROLE: role.value,
            }
            otel = self._tracer.start_span(f"{names.CHAT} {model}", _parent(), SpanKind.CLIENT, attributes)
        return TurnSpan(self._numbers, otel, role.value, self._numbers.model(model))

    def tool(self, name: str, effect: Effect) -> ToolSpan:
        """One call of a tool; `with` it."""
        otel = None
        if self._tracer is not None:
            attributes = {
                names.OPERATION_NAME: names.EXECUTE_TOOL,
                names.TOOL_NAME: name,
                names.TOOL_TYPE: names.EXTENSION,
                names.EFFECT: effect.value,
            }
            otel = self._tracer.start_span(f"{names.EXECUTE_TOOL} {name}", _parent(), SpanKind.INTERNAL, attributes)
        return ToolSpan(self._numbers, otel)

    def approval_asked(self, provider_id: str) -> None:
        """A person was asked whether a call may be made."""
        self._numbers.approvals.add((self._numbers.provider(provider_id),))

    def budget_refused(self, scope: Literal["ask", "user", "tenant"]) -> None:
        """Something was not done because a budget is used up, whether or not the ask still had an answer."""
        self._numbers.refusals.add((scope,))

    def scrape(self) -> bytes:
        """All numbers in Prometheus' text format, with those of the process. May be called from another thread."""
        return generate_latest(self._numbers.registry)


class _Timed:
    """What all three kinds of spans share: a beginning, an outcome, an end."""

    _outcome = ""

    def __init__(self, numbers: _Numbers, otel: Span | None) -> None:
        self._numbers = numbers
        self._otel = otel
        self._began = time.perf_counter()

    def ended(self, code: str) -> None:
        """How it ended, where no exception says so: by default `ok`, or what left the block."""
        self._outcome = self._numbers.outcome(code)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        outcome = self._outcome or ("ok" if error is None else _outcome(error))
        self._count(outcome, time.perf_counter() - self._began)
        if (otel := self._otel) is not None:
            otel.set_attribute(names.OUTCOME, outcome)
            if outcome != "ok":  # the code alone: an exception's words may be anybody's
                otel.set_attribute(names.ERROR_TYPE, outcome)
                otel.set_status(StatusCode.ERROR)
            otel.end()

    def _count(self, outcome: str, seconds: float) -> None:
        raise NotImplementedError


class AskSpan(_Timed):
    """One ask."""

    provider = _NONE
    """As numbers name it."""
    context: Context | None = None
    """What children have as their parent."""
    _mode: Way | Literal["none"] = "none"
    _token: Token[AskSpan | None]

    def __init__(self, numbers: _Numbers, otel: Span | None, *, content: bool) -> None:
        super().__init__(numbers, otel)
        self._content = content
        if otel is not None:
            self.context = set_span_in_context(otel, Context())

    def admitted(self, provider_id: str) -> None:
        """The provider, once the tenant is known to export it: until then it is a word that a client chose."""
        self.provider = self._numbers.provider(provider_id)
        if self._otel is not None:
            self._otel.update_name(f"{names.INVOKE_AGENT} {provider_id}")
            self._otel.set_attribute(names.AGENT_NAME, provider_id)
            self._otel.set_attribute(names.TOOL_NAME, f"use_{provider_id}")

    def took(self, way: Way) -> None:
        """How it is worked. What is said last counts."""
        self._mode = way

    def asked(self, prompt: str) -> None:
        """The prompt, for those who switched content on."""
        self._say(names.INPUT_MESSAGES, {"role": "user"}, prompt)

    def answered(self, text: str) -> None:
        """The answer, likewise."""
        self._say(names.OUTPUT_MESSAGES, {"role": "assistant", "finish_reason": "stop"}, text)

    def _say(self, name: str, about: dict[str, str], text: str) -> None:
        if self._content and self._otel is not None:
            parts = [{"type": "text", "content": without_tokens(text)[:_CONTENT_LETTERS]}]
            self._otel.set_attribute(name, json.dumps([{**about, "parts": parts}], ensure_ascii=False))

    def __enter__(self) -> Self:
        self._token = _asking.set(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        _asking.reset(self._token)
        super().__exit__(kind, error, traceback)

    def _count(self, outcome: str, seconds: float) -> None:
        self._numbers.asks.add((self.provider, self._mode, outcome))
        self._numbers.ask_time.observe(self._mode, seconds)
        if self._otel is not None:
            self._otel.set_attribute(names.MODE, self._mode)


class TurnSpan(_Timed):
    """One turn of a model."""

    def __init__(self, numbers: _Numbers, otel: Span | None, role: str, model: str) -> None:
        super().__init__(numbers, otel)
        self._role = role
        self._model = model

    def spent(self, spent: Spent, micros: int | None) -> None:
        """What the turn used, once, also when there was no answer; `micros` are micro-dollars, None without a price."""
        kinds = {
            "input": spent.input_tokens,
            "output": spent.output_tokens,
            "cache_read": spent.cache_read_tokens,
            "cache_write": spent.cache_write_tokens,
        }
        for kind, tokens in kinds.items():
            if tokens:
                self._numbers.tokens.add((self._model, kind), tokens)
        if micros:
            self._numbers.micros.add((self._model,), micros)
        if (otel := self._otel) is not None:
            otel.set_attributes(
                {
                    names.INPUT_TOKENS: sum(kinds.values()) - spent.output_tokens,
                    names.OUTPUT_TOKENS: spent.output_tokens,
                    names.CACHE_READ_TOKENS: spent.cache_read_tokens,
                    names.CACHE_WRITE_TOKENS: spent.cache_write_tokens,
                    **({names.COST: micros} if micros is not None else {}),
                }
            )

    def _count(self, outcome: str, seconds: float) -> None:
        self._numbers.turns.add((self._role, self._model, outcome))
        self._numbers.turn_time.observe(self._role, seconds)


class ToolSpan(_Timed):
    """One call of a tool."""

    _cached = False

    def __init__(self, numbers: _Numbers, otel: Span | None) -> None:
        super().__init__(numbers, otel)
        asking = _asking.get()
        self._provider = asking.provider if asking is not None else _NONE

    def cached(self) -> None:
        """Answered from the result cache: the provider was not called."""
        self._cached = True

    def _count(self, outcome: str, seconds: float) -> None:
        self._numbers.calls.add((self._provider, outcome))
        if self._cached:
            self._numbers.hits.add((self._provider,))
        else:
            self._numbers.call_time.observe(self._provider, seconds)
        if self._otel is not None:
            self._otel.set_attribute(names.CACHED, self._cached)


_asking: ContextVar[AskSpan | None] = ContextVar("asking", default=None)
"""The ask being worked on here; tasks that are begun for it take it along."""


def _parent() -> Context:
    asking = _asking.get()
    return (asking.context if asking is not None else None) or Context()


def _outcome(error: BaseException) -> str:
    """A word for what left the block, from a closed set."""
    match error:
        case Failure():
            return error.code
        case ModelGone():
            return error.why.value
        case ToolError():
            return type(error).__name__
        case asyncio.CancelledError():
            return "cancelled"
        case TimeoutError():
            return "deadline"
        case _:
            return "internal"


_TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")
"""W3C Trace Context §3.2. Its flags are not looked at; `tracestate` and `baggage` are anybody's words."""


def _links(caller: object) -> Sequence[Link]:
    found = _TRACEPARENT.fullmatch(caller) if isinstance(caller, str) else None
    if found is None:
        return ()
    context = SpanContext(int(found[1], 16), int(found[2], 16), is_remote=True)
    return (Link(context),) if context.is_valid else ()


_LONG = re.compile(r"[\w+/=~.%-]{16,}")
_SAID_TO_BE = re.compile(r"(?i)\b(bearer|basic|token|secret|password|passwd|pwd|code|key)\b(\s*[:=]?\s*)(\S+)")


def without_tokens(text: str) -> str:
    """The text without what may be a key, token or password, at the price of some harmless words."""
    return _LONG.sub(_masked, _SAID_TO_BE.sub(r"\1\2[…]", text))


def _masked(word: re.Match[str]) -> str:
    plain = word[0].islower() or word[0].istitle() or word[0].isupper()
    return word[0] if plain and not any(map(str.isdigit, word[0])) else "[…]"


class _First:
    """The first `most` different values of a label; all others are one."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: set[str] = set()

    def __call__(self, value: str) -> str:
        if value in self._known:
            return value
        if len(self._known) >= self._most:
            return _OTHER
        self._known.add(value)
        return value


class _Counter(Collector):
    """A counter by its labels. Added to on one thread; the library's own cost five times as much."""

    def __init__(self, name: str, says: str, *labels: str) -> None:
        self._about = (f"metaagent_{name}", says)
        self._labels = labels
        self._counts: dict[tuple[str, ...], int] = {}

    def add(self, labels: tuple[str, ...], amount: int = 1) -> None:
        self._counts[labels] = self._counts.get(labels, 0) + amount

    def collect(self) -> Iterable[Metric]:
        family = CounterMetricFamily(*self._about, labels=self._labels)
        for labels, count in self._counts.copy().items():
            family.add_metric(labels, count)
        return [family]


class _Histogram(Collector):
    """Seconds by one label."""

    def __init__(self, name: str, says: str, label: str) -> None:
        self._about = (f"metaagent_{name}_seconds", says)
        self._label = label
        self._counts: dict[str, list[int]] = {}
        self._sums: dict[str, float] = {}

    def observe(self, label: str, seconds: float) -> None:
        counts = self._counts.get(label)
        if counts is None:
            counts = self._counts[label] = [0] * (len(_BUCKETS) + 1)
            self._sums[label] = 0.0
        counts[bisect_left(_BUCKETS, seconds)] += 1
        self._sums[label] += seconds

    def collect(self) -> Iterable[Metric]:
        family = HistogramMetricFamily(*self._about, labels=[self._label])
        for label, counts in self._counts.copy().items():
            buckets = zip([*map(floatToGoString, _BUCKETS), "+Inf"], accumulate(counts), strict=True)
            family.add_metric([label], list(buckets), self._sums.get(label, 0.0))
        return [family]


class _Numbers:
    """The metrics of one process, in a registry of their own."""

    def __init__(self) -> None:
        self.provider = _First(_MOST_PROVIDERS)
        self.model = _First(_MOST_MODELS)
        self.outcome = _First(_MOST_OUTCOMES)
        self.asks = _Counter("asks", "Asks that ended.", "provider", "mode", "outcome")
        self.ask_time = _Histogram("ask", "How long asks took.", "mode")
        self.turns = _Counter("model_turns", "Turns of models.", "role", "model", "outcome")
        self.turn_time = _Histogram("model_turn", "How long turns of models took.", "role")
        self.tokens = _Counter("model_tokens", "Tokens, each counted as one kind.", "model", "kind")
        self.micros = _Counter("model_cost_micro_dollars", "What turns of models cost.", "model")
        self.calls = _Counter("tool_calls", "Calls of tools, cached ones included.", "provider", "outcome")
        self.call_time = _Histogram("tool_call", "How long calls took that the cache did not answer.", "provider")
        self.hits = _Counter("cache_hits", "Calls of tools that the result cache answered.", "provider")
        self.approvals = _Counter("approvals_asked", "Calls that a person was asked about.", "provider")
        self.refusals = _Counter("budget_refusals", "What was not done for want of budget.", "scope")
        self.registry = CollectorRegistry()
        for of_process in (ProcessCollector, PlatformCollector, GCCollector):
            of_process(registry=self.registry)
        for metric in vars(self).copy().values():
            if isinstance(metric, _Counter | _Histogram):
                self.registry.register(metric)
