"""Arguments are held to the tool's schema; the short cut for plain ones agrees with the validator."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from metaagent.agent.failures import AskInvalid
from metaagent.agent.toolbox import check_arguments
from providers.spec import Api, Args, Result, ToolSpec


async def _nothing(_api: Api, _args: Args) -> Result:
    return Result(None, "")


TOOL = ToolSpec(
    name="find",
    summary="Find.",
    invoke=_nothing,
    params={
        "org": {"type": "string", "minLength": 1, "maxLength": 5},
        "limit": {"type": "integer", "minimum": 1, "maximum": 9},
        "deep": {"type": "boolean"},
        "sort": {"type": "string", "enum": ["date", "freq"]},
        "id": {"type": "string", "pattern": "^[0-9]+$"},
        "least": {"type": "string", "minLength": 3},
        "tags": {"type": "array", "items": {"type": "string"}},
        "any": {},
    },
    required=frozenset({"org"}),
)
values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 12),
    st.floats(-1, 12),
    st.sampled_from(["", "a", "acme", "toolong", "date", "12", "x1", "ab"]),
    st.lists(st.sampled_from(["a", 1]), max_size=2),
)


@pytest.mark.parametrize(
    "args",
    [
        {},
        {"org": ""},
        {"org": "toolong"},
        {"org": "acme", "least": "ab"},
        {"org": "acme", "limit": 0},
        {"org": "acme", "limit": 10},
        {"org": "acme", "limit": True},
        {"org": "acme", "deep": 1},
        {"org": "acme", "sort": "new"},
        {"org": "acme", "id": "x1"},
        {"org": "acme", "tags": [1]},
        {"org": "acme", "unknown": 1},
    ],
)
def test_what_does_not_fit_is_refused(args: dict[str, Any]) -> None:
    with pytest.raises(AskInvalid):
        check_arguments(TOOL, args)


@settings(max_examples=1_000)
@given(args=st.dictionaries(st.sampled_from([*TOOL.params, "unknown"]), values, max_size=4))
def test_what_is_accepted_is_what_the_schema_accepts(args: dict[str, Any]) -> None:
    fits = Draft202012Validator(TOOL.schema).is_valid(args)
    if fits:
        check_arguments(TOOL, args)
    else:
        with pytest.raises(AskInvalid):
            check_arguments(TOOL, args)


CIRCLE = {
    "type": "object",
    "properties": {"block": {"$ref": "#/$defs/block"}},
    "$defs": {
        "block": {"anyOf": [{"type": "object", "properties": {"in": {"$ref": "#/$defs/block"}}, "required": ["x"]}] * 2}
    },
}


def whole(schema: dict[str, Any]) -> ToolSpec:
    params = schema["properties"]
    return ToolSpec(name="send", summary="Send.", invoke=_nothing, params=params, whole=schema)


def test_a_schema_that_goes_in_circles_is_not_followed_for_ever() -> None:
    value: dict[str, Any] = {}
    for _ in range(40):
        value = {"in": value}
    with pytest.raises(AskInvalid, match="levels deep"):
        check_arguments(whole(CIRCLE), {"block": value})


def test_what_the_root_of_a_schema_rules_holds_for_plain_arguments_too() -> None:
    tool = whole(
        {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}}, "minProperties": 2}
    )
    check_arguments(tool, {"a": "1", "b": "2"})
    with pytest.raises(AskInvalid):
        check_arguments(tool, {"a": "1"})
