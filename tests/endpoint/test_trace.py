"""A client's trace: linked from ours, whichever way its call takes."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.endpoint.test_front import modern
from tests.world import World

CALLER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.mark.parametrize("direct", [True, False])
def test_a_callers_trace_is_linked_on_both_ways(world: World, monkeypatch: pytest.MonkeyPatch, *, direct: bool) -> None:
    from metaagent.asgi import runtime

    memory = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(memory))
    monkeypatch.setattr(runtime.telemetry, "_tracer", provider.get_tracer("test"))
    monkeypatch.setattr(runtime.endpoint, "direct", direct)
    plain, headers = modern("tools/call", name="use_sentry", arguments={"prompt": "who am I?"})
    body: dict[str, Any] = plain
    body["params"]["_meta"] |= {"traceparent": CALLER, "tracestate": "x=secret", "baggage": "user=secret"}
    assert world.post(body, headers=headers).status_code == 200
    [span] = memory.get_finished_spans()
    assert span.parent is None
    [link] = span.links
    assert link.context.trace_id == 0x4BF92F3577B34DA6A3CE929D0E0E4736
    assert "secret" not in span.to_json()
