"""Questions about each provider of the catalogue that its tools do not list: no sure route leads to a wrong tool."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import pytest

from metaagent.agent.catalog import CatalogIndex, rank, read_catalog
from metaagent.agent.router import Route, RouterIndex, compile_tools, route
from providers import catalogue

QUESTIONS = json.loads((Path(__file__).parent / "catalogue_questions.json").read_text())
SHOWN = 5

every_question = pytest.mark.parametrize(
    ("provider", "prompt", "tool"),
    [(each["provider"], each["prompt"], each["tool"]) for each in QUESTIONS],
    ids=[f"{each['provider']}-{each['prompt']}" for each in QUESTIONS],
)


@cache
def read(slug: str) -> tuple[RouterIndex, CatalogIndex, frozenset[str]]:
    provider = catalogue.get(slug)
    assert provider, slug
    asks = frozenset(ask for tool in provider.tools for ask in tool.asks)
    return compile_tools(provider.tools, (provider.id, provider.title)), read_catalog(provider.tools), asks


@every_question
def test_a_question_leads_to_its_tool_or_is_not_sure(provider: str, prompt: str, tool: str) -> None:
    router, catalog, asks = read(provider)
    assert prompt not in asks, "held out"
    found = route(prompt, router)
    assert not isinstance(found, Route) or found.tool == tool
    assert tool in rank(catalog, prompt, SHOWN)
