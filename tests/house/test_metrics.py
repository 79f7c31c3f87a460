"""`/metrics` as Prometheus reads it: numbers of this process, for whom the operator lets, of nobody in particular."""

from __future__ import annotations

import runpy
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured
from prometheus_client.parser import text_string_to_metric_families

from metaagent.agent.telemetry import Telemetry
from metaagent.metrics import Metrics
from tests.services import free_port
from tests.world import Served, World, serve

SETTINGS = str(Path(__file__).resolve().parent.parent.parent / "metaagent" / "settings.py")
TOKEN = "a-bearer-that-only-the-scraper-has"


@pytest.fixture(scope="module")
def guarded() -> Iterator[Served]:
    with serve(Metrics(Telemetry(), TOKEN), free_port()) as served:
        yield served


def samples(served: Served) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    with served.http as http:
        text = http.get("/metrics").raise_for_status().text
    families = text_string_to_metric_families(text)
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def test_prometheus_reads_the_process_and_every_metric_of_ours(product: Served) -> None:
    with product.http as http:
        answer = http.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert answer.headers["cache-control"] == "no-store"
    types = {family.name: family.type for family in text_string_to_metric_families(answer.text)}
    assert types["process_resident_memory_bytes"] == "gauge"
    assert types["python_gc_collections"] == "counter"
    assert {name: kind for name, kind in types.items() if name.startswith("metaagent_")} == {
        "metaagent_asks": "counter",
        "metaagent_ask_seconds": "histogram",
        "metaagent_model_turns": "counter",
        "metaagent_model_turn_seconds": "histogram",
        "metaagent_model_tokens": "counter",
        "metaagent_model_cost_micro_dollars": "counter",
        "metaagent_tool_calls": "counter",
        "metaagent_tool_call_seconds": "histogram",
        "metaagent_cache_hits": "counter",
        "metaagent_approvals_asked": "counter",
        "metaagent_budget_refusals": "counter",
    }


def test_an_ask_is_counted_by_provider_way_and_outcome(world: World) -> None:
    def grown(name: str, **labels: str) -> float:
        key = (name, frozenset(labels.items()))
        return samples(world.product).get(key, 0) - before.get(key, 0)

    world.connect()
    before = samples(world.product)
    assert not world.ask("who am I?").is_error
    assert not world.call_tool("who_am_i").is_error
    for way in ("route", "tool"):
        assert grown("metaagent_asks_total", provider="sentry", mode=way, outcome="ok") == 1
        assert grown("metaagent_ask_seconds_count", mode=way) == 1
    assert grown("metaagent_tool_calls_total", provider="sentry", outcome="ok") >= 2
    other = world.person()
    assert world.error("who am I?", key=other.key)["code"] == "needs_auth"
    assert grown("metaagent_asks_total", provider="sentry", mode="none", outcome="needs_auth") == 1


def test_numbers_name_no_tenant_person_account_prompt_or_host(world: World) -> None:
    world.connect()
    world.ask("who am I?")
    world.ask("show flibbertigibbet issues")
    with world.product.http as http:
        text = http.get("/metrics").text
    person = world.me.user
    for said in (world.tenant.slug, str(world.tenant.pk), person.email, str(person.pk), "flibberti", "127.0.0.1"):
        assert said not in text


def test_a_provider_that_a_client_makes_up_is_not_named(world: World) -> None:
    answer = world.post(
        {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "tools/call",
            "params": {"name": "use_made_up", "arguments": {"prompt": "hi"}},
        },
        path=f"/mcp/{world.tenant.slug}",
    )
    assert "Unknown tool" in answer.text
    with world.product.http as http:
        assert "made_up" not in http.get("/metrics").text


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([], 401),
        ([("authorization", TOKEN)], 401),
        ([("authorization", "Bearer")], 401),
        ([("authorization", f"Bearer {TOKEN}x")], 401),
        ([("authorization", f"Bearer {TOKEN[:-1]}")], 401),
        ([("authorization", f"Basic {TOKEN}")], 401),
        ([("authorization", "Bearer x"), ("authorization", f"Bearer {TOKEN}")], 401),
        ([("authorization", f"Bearer {TOKEN}"), ("authorization", "Bearer x")], 401),
        ([("authorization", f"Bearer {TOKEN}")], 200),
        ([("authorization", f"bearer {TOKEN}")], 200),
    ],
)
def test_with_a_token_set_only_its_bearer_is_answered(
    guarded: Served, headers: list[tuple[str, str]], status: int
) -> None:
    with guarded.http as http:
        answer = http.get("/metrics", headers=headers)
    assert answer.status_code == status
    assert ("process_" in answer.text) == (status == 200)
    assert TOKEN not in answer.text
    if status == 401:
        assert answer.headers["www-authenticate"].startswith("Bearer ")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"METRICS_TOKEN": "short"}, "METRICS_TOKEN is weak"),
        ({"METRICS_TOKEN": "two words make no bearer at all"}, "METRICS_TOKEN is weak"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4318"}, "OTEL_EXPORTER_OTLP_ENDPOINT must look like"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://me:pw@collector:4318"}, "OTEL_EXPORTER_OTLP_ENDPOINT must look like"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318?key=pw"}, "OTEL_EXPORTER_OTLP_ENDPOINT must look like"),
        ({"OTEL_EXPORTER_OTLP_HEADERS": "pw"}, "OTEL_EXPORTER_OTLP_HEADERS must be a list"),
        ({"OTEL_EXPORTER_OTLP_HEADERS": "key=pw%0Aevil"}, "OTEL_EXPORTER_OTLP_HEADERS must be a list"),
        ({"TELEMETRY_CONTENT": "1"}, "say even-in-production"),
    ],
)
def test_a_setting_that_is_not_safe_is_named_without_its_value(
    change: dict[str, str], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in change.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ImproperlyConfigured, match=says) as caught:
        runpy.run_path(SETTINGS)
    assert "pw" not in str(caught.value)


def test_content_in_production_and_headers_are_what_was_said(monkeypatch: pytest.MonkeyPatch) -> None:
    assert runpy.run_path(SETTINGS)["TELEMETRY_CONTENT"] is False
    monkeypatch.setenv("TELEMETRY_CONTENT", "even-in-production")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Bearer%20abc==, x-team=blue,")
    made = runpy.run_path(SETTINGS)
    assert made["TELEMETRY_CONTENT"] is True
    assert made["OTEL_EXPORTER_OTLP_HEADERS"] == {"Authorization": "Bearer abc==", "x-team": "blue"}


def test_only_reading_is_served(guarded: Served) -> None:
    bearer = {"authorization": f"Bearer {TOKEN}"}
    with guarded.http as http:
        assert http.post("/metrics", headers=bearer).status_code == 405
        head = http.head("/metrics", headers=bearer)
    assert head.status_code == 200
    assert not head.content
