"""Every tool of the catalogue against exchanges written after its provider's public documentation."""

from __future__ import annotations

from collections import Counter

import pytest
from jsonschema import Draft202012Validator

from providers import catalogue
from providers.simulator import samples
from providers.spec import Effect, ProviderSpec, ToolSpec
from tests.providers.test_catalogue import READS_BY_POST, assert_well_made

SAMPLED = [found for slug in catalogue.slugs() if slug != "sentry" and (found := catalogue.get(slug))]
"""Sentry has the sandbox."""

every_provider = pytest.mark.parametrize("provider", SAMPLED, ids=lambda provider: provider.id)
every_tool = pytest.mark.parametrize(
    ("provider", "tool"),
    [(provider, tool) for provider in SAMPLED for tool in provider.tools],
    ids=[f"{provider.id}-{tool.name}" for provider in SAMPLED for tool in provider.tools],
)


@every_provider
def test_a_provider_has_a_sample_for_each_tool_and_one_of_two_pages(provider: ProviderSpec) -> None:
    found = samples.samples_of(provider.id)
    assert set(found) == {tool.name for tool in provider.tools}
    reads = [found[tool.name] for tool in provider.tools if tool.effect is Effect.READ]
    asked = [Counter(exchange["send"] for exchange in sample["exchanges"]) for sample in reads]
    assert any(count > 1 for each in asked for count in each.values()), "one listing has two pages"


@every_tool
async def test_a_tool_reads_what_its_provider_is_documented_to_answer(provider: ProviderSpec, tool: ToolSpec) -> None:
    sample = samples.samples_of(provider.id)[tool.name]
    assert Draft202012Validator(tool.schema).is_valid(sample["args"])
    if tool.effect is Effect.READ and (provider.id, tool.name) not in READS_BY_POST:
        assert {exchange["send"].partition(" ")[0] for exchange in sample["exchanges"]} == {"GET"}
    result = await samples.run(provider, tool, sample)
    assert_well_made(provider, result, provider.web_base or provider.api_base)
    assert sample["says"]
    for words in sample["says"]:
        assert words in result.text
    assert result.sources, "an answer says where it is from"
