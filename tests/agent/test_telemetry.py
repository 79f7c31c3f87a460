"""What is told about asks: spans by the names others know, numbers by few labels, and nothing that somebody said."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes, mcp_attributes
from opentelemetry.semconv.attributes import error_attributes
from opentelemetry.trace import SpanKind, StatusCode, get_tracer_provider

from metaagent.agent import conventions
from metaagent.agent.failures import Failure, NeedsAuth
from metaagent.agent.model import ModelGone, Role, Spent, Why
from metaagent.agent.telemetry import Telemetry, without_tokens
from metaagent.otlp import Outlet
from providers.errors import NotFound
from providers.spec import Effect
from tests.services import free_port

ROOT = Path(__file__).resolve().parent.parent.parent
PROMPT = "why are release errors spiking?"
TOKEN = "sntrys_4fJq8vWx2Lk9Zt7Rb3Ny6Hc1"
CALLER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class Collector:
    """An OTLP/HTTP collector: keeps what it is sent."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []

    @property
    def spans(self) -> list[Any]:
        requests = [ExportTraceServiceRequest.FromString(body) for body in self.bodies]
        return [span for r in requests for each in r.resource_spans for s in each.scope_spans for span in s.spans]

    @property
    def resource(self) -> dict[str, str]:
        [resource] = ExportTraceServiceRequest.FromString(self.bodies[0]).resource_spans
        return {a.key: a.value.string_value for a in resource.resource.attributes}


@contextmanager
def collecting() -> Iterator[Collector]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            collector.headers.append({"path": self.path, **{k.lower(): v for k, v in self.headers.items()}})
            collector.bodies.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        collector = Collector(server.server_port)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        try:
            yield collector
        finally:
            server.shutdown()


class Recorded(Telemetry):
    """Telemetry whose spans stay here."""

    def __init__(self, *, content: bool = False, ratio: float = 1.0) -> None:
        self.memory = InMemorySpanExporter()
        provider = TracerProvider(sampler=ParentBased(TraceIdRatioBased(ratio)), shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self.memory))
        super().__init__(provider.get_tracer("test"), content=content)

    @property
    def spans(self) -> dict[str, ReadableSpan]:
        return {span.name: span for span in self.memory.get_finished_spans()}


async def worked(telemetry: Telemetry, run_id: str = "run_1", caller: object = None) -> None:
    """One ask as the agent works it: a planning turn, then two reads at once, one of them from the cache."""

    async def call(name: str, *, cached: bool) -> None:
        with telemetry.tool(name, Effect.READ) as span:
            await asyncio.sleep(0)
            if cached:
                span.cached()

    with telemetry.ask(run_id, caller) as span:
        span.asked(f"{PROMPT} my token is {TOKEN}")
        span.admitted("sentry")
        span.took("plan")
        with telemetry.turn(Role.CHOOSE, "claude-small") as turn:
            await asyncio.sleep(0)
            turn.spent(Spent(100, 20, 3_000, 400), 1_234)
        await asyncio.gather(call("search_issues", cached=False), call("who_am_i", cached=True))
        span.answered("Because of the newest release.")


def scraped(telemetry: Telemetry) -> dict[str, float]:
    lines = [line for line in telemetry.scrape().decode().splitlines() if line.startswith("metaagent_")]
    return {name: float(number) for name, number in (line.rsplit(" ", 1) for line in lines)}


def sent(span: Any) -> dict[str, Any]:
    """The attributes of a span as they came over the wire."""
    return {a.key: a.value.string_value or a.value.int_value or a.value.bool_value for a in span.attributes}


async def test_a_collector_gets_the_spans_of_an_ask_and_nothing_that_was_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "metaagent")
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")  # nobody listens there
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with collecting() as collector:
        outlet = Outlet(collector.url, headers={"x-team": "blue"}, service="metaagent", timeout_s=5)
        await worked(Telemetry(outlet.tracer))
        await asyncio.to_thread(outlet.close)
    assert [h["path"] for h in collector.headers] == ["/v1/traces"]
    assert collector.headers[0]["x-team"] == "blue"
    assert collector.resource["service.name"] == "metaagent"
    spans = {span.name: span for span in collector.spans}
    ask = spans["invoke_agent sentry"]
    assert set(spans) == {
        "invoke_agent sentry",
        "chat claude-small",
        "execute_tool search_issues",
        "execute_tool who_am_i",
    }
    assert not ask.parent_span_id
    assert {span.parent_span_id for name, span in spans.items() if span is not ask} == {ask.span_id}
    assert {span.trace_id for span in spans.values()} == {ask.trace_id}
    assert sent(ask) == {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.provider.name": "metaagent",
        "gen_ai.agent.name": "sentry",
        "gen_ai.tool.name": "use_sentry",
        "mcp.method.name": "tools/call",
        "metaagent.run.id": "run_1",
        "metaagent.ask.mode": "plan",
        "metaagent.outcome": "ok",
    }
    assert sent(spans["chat claude-small"]) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "anthropic",
        "gen_ai.request.model": "claude-small",
        "gen_ai.usage.input_tokens": 3_500,
        "gen_ai.usage.output_tokens": 20,
        "gen_ai.usage.cache_read.input_tokens": 3_000,
        "gen_ai.usage.cache_creation.input_tokens": 400,
        "metaagent.cost.micro_dollars": 1_234,
        "metaagent.model.role": "choose",
        "metaagent.outcome": "ok",
    }
    assert sent(spans["execute_tool who_am_i"]) == {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "who_am_i",
        "gen_ai.tool.type": "extension",
        "metaagent.tool.effect": "read",
        "metaagent.tool.cached": True,
        "metaagent.outcome": "ok",
    }
    everything = b"".join(collector.bodies)
    for word in (PROMPT, TOKEN, "Because of", "release"):
        assert word.encode() not in everything


async def test_kinds_and_failures_are_said_by_code_alone() -> None:
    telemetry = Recorded()
    with pytest.raises(NeedsAuth), telemetry.ask("run_1") as span:
        span.admitted("sentry")
        with pytest.raises(NotFound), telemetry.tool("issue_details", Effect.READ):
            raise NotFound("There is no issue ACME-7.")
        with pytest.raises(ModelGone), telemetry.turn(Role.WRITE, "claude-large") as turn:
            turn.spent(Spent(5), None)
            raise ModelGone(Why.OVERLOADED)
        raise NeedsAuth("sentry", "missing", ("org:read",), "Sentry")
    ask, tool, turn_span = (
        telemetry.spans[name] for name in ("invoke_agent sentry", "execute_tool issue_details", "chat claude-large")
    )
    assert [span.kind for span in (ask, tool, turn_span)] == [SpanKind.SERVER, SpanKind.INTERNAL, SpanKind.CLIENT]
    for span_, code in ((ask, "needs_auth"), (tool, "NotFound"), (turn_span, "overloaded")):
        assert (span_.attributes or {})["error.type"] == code
        assert span_.status.status_code is StatusCode.ERROR
        assert span_.status.description is None
        assert not span_.events
    assert "ACME-7" not in "".join(span_.to_json() for span_ in telemetry.memory.get_finished_spans())


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (asyncio.CancelledError(), "cancelled"),
        (TimeoutError(), "deadline"),
        (RuntimeError("secret"), "internal"),
        (NeedsAuth("sentry", "missing", (), "Sentry"), "needs_auth"),
    ],
)
def test_what_leaves_an_ask_is_its_outcome(error: BaseException, code: str) -> None:
    telemetry = Telemetry()
    with pytest.raises(type(error)), telemetry.ask("run_1"):
        raise error
    assert scraped(telemetry)[f'metaagent_asks_total{{mode="none",outcome="{code}",provider="none"}}'] == 1


async def test_asks_at_the_same_time_keep_their_own_children() -> None:
    telemetry = Recorded()
    await asyncio.gather(*(worked(telemetry, f"run_{n}") for n in range(5)))
    spans = telemetry.memory.get_finished_spans()
    asks = {span.context.span_id: span.context.trace_id for span in spans if span.parent is None and span.context}
    assert len(asks) == len(set(asks.values())) == 5
    for span in spans:
        if span.parent is not None and span.context is not None:
            assert asks[span.parent.span_id] == span.context.trace_id


async def test_a_write_that_outlives_its_ask_is_still_its_child() -> None:
    telemetry = Recorded()
    released = asyncio.Event()

    async def write() -> None:
        with telemetry.tool("resolve_issue", Effect.WRITE):
            await released.wait()

    with telemetry.ask("run_1") as span:
        span.admitted("sentry")
        task = asyncio.create_task(write())
        await asyncio.sleep(0)
    released.set()
    await task
    ask, tool = telemetry.spans["invoke_agent sentry"], telemetry.spans["execute_tool resolve_issue"]
    assert tool.parent is not None
    assert ask.context is not None
    assert tool.parent.span_id == ask.context.span_id
    assert scraped(telemetry)['metaagent_tool_calls_total{outcome="ok",provider="sentry"}'] == 1


async def test_a_call_after_an_ask_is_not_part_of_it() -> None:
    telemetry = Recorded()
    await worked(telemetry)
    with telemetry.tool("list_projects", Effect.READ):
        pass
    assert telemetry.spans["execute_tool list_projects"].parent is None
    assert scraped(telemetry)['metaagent_tool_calls_total{outcome="ok",provider="none"}'] == 1


# --- whose trace it is


async def test_a_callers_trace_is_linked_and_not_joined() -> None:
    telemetry = Recorded()
    await worked(telemetry, caller=CALLER)
    ask = telemetry.spans["invoke_agent sentry"]
    assert ask.parent is None
    [link] = ask.links
    assert f"{link.context.trace_id:032x}-{link.context.span_id:016x}" in CALLER
    assert ask.context is not None
    assert ask.context.trace_id != link.context.trace_id


async def test_a_caller_cannot_have_itself_sampled() -> None:
    telemetry = Recorded(ratio=0.0)
    await worked(telemetry, caller=CALLER)
    await worked(telemetry, caller="00-00000000000000000000000000000001-00f067aa0ba902b7-01")
    assert not telemetry.spans


@pytest.mark.parametrize(
    "caller",
    [None, 7, {}, "", TOKEN, CALLER.upper(), f"{CALLER}-{TOKEN}", f"00-{'0' * 32}-00f067aa0ba902b7-01", f"{CALLER}\n"],
)
async def test_what_is_no_traceparent_is_nothing(caller: object) -> None:
    telemetry = Recorded()
    await worked(telemetry, caller=caller)
    assert not telemetry.spans["invoke_agent sentry"].links


# --- when sending fails


async def test_a_dead_collector_costs_no_ask_and_little_time_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    headers = {"authorization": f"Bearer {TOKEN}"}
    outlet = Outlet(f"http://127.0.0.1:{free_port()}", headers=headers, service="metaagent", timeout_s=0.3)
    telemetry = Telemetry(outlet.tracer)
    await worked(telemetry)
    began = time.monotonic()
    await asyncio.to_thread(outlet.close)
    assert time.monotonic() - began < 2
    assert scraped(telemetry)['metaagent_asks_total{mode="plan",outcome="ok",provider="sentry"}'] == 1
    assert TOKEN not in caplog.text
    assert PROMPT not in caplog.text


async def test_a_collector_that_never_answers_is_not_waited_for() -> None:
    held = threading.Event()

    class Slow(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            held.wait(20)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Slow) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        outlet = Outlet(url, headers={}, service="metaagent", timeout_s=0.5)
        telemetry = Telemetry(outlet.tracer)
        for _ in range(2_000):  # more than go at once: sending all of them would take four times as long
            with telemetry.tool("who_am_i", Effect.READ):
                pass
        began = time.monotonic()
        await asyncio.to_thread(outlet.close)
        assert time.monotonic() - began < 1.2
        held.set()
        server.shutdown()


# --- content


async def test_content_is_written_only_when_asked_for_and_never_with_a_token() -> None:
    silent, talking = Recorded(), Recorded(content=True)
    await worked(silent)
    await worked(talking)
    attributes = dict(talking.spans["invoke_agent sentry"].attributes or {})
    [said] = json.loads(str(attributes["gen_ai.input.messages"]))
    assert said["role"] == "user"
    assert said["parts"][0]["content"].startswith(PROMPT)
    assert TOKEN not in str(attributes)
    [answer] = json.loads(str(attributes["gen_ai.output.messages"]))
    assert answer["parts"] == [{"type": "text", "content": "Because of the newest release."}]
    assert not {"gen_ai.input.messages", "gen_ai.output.messages"} & set(
        silent.spans["invoke_agent sentry"].attributes or {}
    )


@pytest.mark.parametrize(
    "secret",
    [
        TOKEN,
        "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJtZSJ9.3vXkq-zS1",
        "aGVsbG8rd29ybGQvZm9v+bar==",
        "AKIAIOSFODNN7EXAMPLE",
        "0f8fad5b-d9cb-469f-a165-70867728950e",
        "oHKwQbTzVnYcXsRdEfGh",
    ],
)
@pytest.mark.parametrize("around", ["use {} please", "?code={}&state=x", "'{}'", "Authorization: Bearer {}", "({})"])
def test_what_may_be_a_token_is_taken_out(secret: str, around: str) -> None:
    assert secret not in without_tokens(around.format(secret))


@pytest.mark.parametrize("said", ["password: hunter2", "password=hunter2", "pwd hunter2", "Basic hunter2"])
def test_what_is_said_to_be_a_password_is_taken_out(said: str) -> None:
    assert "hunter2" not in without_tokens(said)


def test_plain_words_stay() -> None:
    said = "Show internationalization issues of Organization-Wide projects in release 2.1, please."
    assert without_tokens(said) == said


# --- numbers


async def test_tokens_money_hits_and_ways_are_counted() -> None:
    telemetry = Telemetry()
    await worked(telemetry)
    telemetry.approval_asked("sentry")
    telemetry.budget_refused("user")
    found = scraped(telemetry)
    assert {name: number for name, number in found.items() if "_seconds" not in name} == {
        'metaagent_asks_total{mode="plan",outcome="ok",provider="sentry"}': 1,
        'metaagent_model_turns_total{model="claude-small",outcome="ok",role="choose"}': 1,
        'metaagent_model_tokens_total{kind="input",model="claude-small"}': 100,
        'metaagent_model_tokens_total{kind="output",model="claude-small"}': 20,
        'metaagent_model_tokens_total{kind="cache_read",model="claude-small"}': 3_000,
        'metaagent_model_tokens_total{kind="cache_write",model="claude-small"}': 400,
        'metaagent_model_cost_micro_dollars_total{model="claude-small"}': 1_234,
        'metaagent_tool_calls_total{outcome="ok",provider="sentry"}': 2,
        'metaagent_cache_hits_total{provider="sentry"}': 1,
        'metaagent_approvals_asked_total{provider="sentry"}': 1,
        'metaagent_budget_refusals_total{scope="user"}': 1,
    }
    assert found['metaagent_ask_seconds_count{mode="plan"}'] == 1
    assert found['metaagent_model_turn_seconds_bucket{le="+Inf",role="choose"}'] == 1
    assert found['metaagent_tool_call_seconds_count{provider="sentry"}'] == 1


def test_what_tenants_name_has_few_labels_and_what_clients_name_has_none() -> None:
    telemetry = Telemetry()
    for number in range(300):
        with telemetry.ask(f"run_{number}") as span:
            span.admitted(f"p{number}")
        with pytest.raises(Failure), telemetry.ask(f"run_{number}"):
            raise NeedsAuth(f"said_by_a_client_{number}", "missing", (), "X")
        with telemetry.turn(Role.WRITE, f"m{number}") as turn:
            turn.ended(f"code_{number}")
    text = telemetry.scrape().decode()
    assert len(set(re.findall(r'provider="(\w+)"', text)) - {"none", "other"}) == 200
    assert len(set(re.findall(r'model="(\w+)"', text))) == 21
    assert len(set(re.findall(r'outcome="(\w+)"', text))) <= 53
    assert scraped(telemetry)['metaagent_asks_total{mode="none",outcome="ok",provider="other"}'] == 100
    assert "said_by_a_client" not in text


def test_two_of_them_share_nothing() -> None:
    one, other = Telemetry(), Telemetry()
    one.approval_asked("sentry")
    assert "sentry" not in other.scrape().decode()


# --- names and cost


def test_names_are_those_of_the_conventions() -> None:
    stated = {value for name, value in vars(conventions).items() if name.isupper() and "." in value}
    known = set().union(*map(texts, (gen_ai_attributes, mcp_attributes, error_attributes)))
    assert {name for name in stated if not name.startswith("metaagent.")} <= known
    operations = {conventions.INVOKE_AGENT, conventions.CHAT, conventions.EXECUTE_TOOL}
    source = Path(gen_ai_attributes.__file__).read_text()
    assert all(f'= "{name}"' in source for name in operations)


def texts(module: ModuleType) -> set[str]:
    return {value for name, value in vars(module).items() if name.isupper() and isinstance(value, str)}


def test_without_a_collector_nothing_that_sends_is_loaded() -> None:
    sends = "('opentelemetry.exporter', 'opentelemetry.sdk.trace')"
    told = f"import sys, metaagent.asgi; print([m for m in sys.modules if m.startswith({sends})])"
    done = subprocess.run(
        [sys.executable, "-c", told],
        cwd=ROOT,
        env={**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[]\n"


def test_other_libraries_go_on_tracing_nothing() -> None:
    outlet = Outlet(f"http://127.0.0.1:{free_port()}", headers={}, service="metaagent", timeout_s=0.1)
    assert not isinstance(get_tracer_provider(), TracerProvider)
    outlet.close()
