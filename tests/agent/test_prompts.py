"""What a model is shown of the tools."""

from __future__ import annotations

import json

import quicktok

from metaagent.agent.prompts import in_full
from providers import catalogue
from providers.spec import Api, Args, Result, ToolSpec


async def _nothing(_api: Api, _args: Args) -> Result:
    return Result(None, "")


def large(number: int) -> ToolSpec:
    fields = {f"field_{each}": {"type": "string", "description": "Some words about this field."} for each in range(60)}
    return ToolSpec(name=f"tool_{number}", summary="Do it.", invoke=_nothing, params=fields)


def test_whole_schemas_take_less_than_three_thousand_tokens_however_many_fit_the_question() -> None:
    shown = in_full(large(number) for number in range(16))
    encoding = quicktok.get_encoding("o200k_base")
    texts = [json.dumps([each.name, each.description, each.input_schema]) for each in shown]
    assert 1 <= len(shown) < 16
    assert sum(len(encoding.encode(text)) for text in texts) <= 3_000


def test_one_tool_is_shown_however_large_it_is() -> None:
    fields = {f"field_{each}": {"type": "string", "description": "words " * 50} for each in range(200)}
    assert len(in_full([ToolSpec(name="huge", summary="Do it.", invoke=_nothing, params=fields), large(1)])) == 1


def test_all_tools_of_a_provider_of_the_usual_size_are_shown() -> None:
    sentry = catalogue.get("sentry")
    assert sentry
    assert len(in_full(sentry.tools)) == len(sentry.tools)
