"""What a model writes, read as a plan or refused with a sentence it can mend it by."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaagent.agent.plan import MOST_STEPS, Finish, Ref, Unplanned, read_plan


def step(name: str = "a", tool: str = "search_issues", **args: Any) -> dict[str, Any]:
    return {"id": name, "tool": tool, "args": args}


def test_a_path_to_an_earlier_step_is_a_reference_and_other_text_is_text() -> None:
    plan = read_plan({"steps": [step(), step("b", issue="$.a[0].id", text="$5 a month")], "finish": "write"})
    assert plan.steps[1].args == {"issue": Ref("$.a[0].id"), "text": "$5 a month"}
    assert plan.steps[1].needs == {"a"}
    assert plan.finish is Finish.WRITE


def test_a_plan_reads_back_as_it_was_kept() -> None:
    plan = read_plan({"steps": [step(period="24h"), step("b", issue="$.a[*].id")], "finish": "show"})
    assert read_plan(plan.payload()) == plan


@pytest.mark.parametrize(
    ("said", "because"),
    [
        ({}, "steps must be a list"),
        ({"steps": []}, "steps must be a list"),
        ({"steps": [step(str(i)) for i in range(MOST_STEPS + 1)]}, "steps must be a list"),
        ({"steps": ["search_issues"]}, "must be an object"),
        ({"steps": [step("A b")]}, "id of step 1"),
        ({"steps": [step(), step()]}, "id of step 2"),
        ({"steps": [{"id": "a", "tool": 3, "args": {}}]}, "must name a tool"),
        ({"steps": [{"id": "a", "tool": "t", "args": []}]}, "must name a tool"),
        ({"steps": [step("a", issue="$.b[0].id"), step("b")]}, "refers to b"),
        ({"steps": [step("a", issue="$.a.id")]}, "refers to a"),
        ({"steps": [step(), step("b", issue="$.a" + "[0]" * 100)]}, "refers to a"),
        ({"steps": [step()], "finish": "dance"}, "finish must be"),
    ],
)
def test_what_is_no_plan_is_refused_with_the_reason(said: dict[str, Any], because: str) -> None:
    with pytest.raises(Unplanned, match=because):
        read_plan(said)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(st.sampled_from(["steps", "id", "tool", "args", "finish", "x"]), inner, max_size=4)
        ),
        max_leaves=12,
    )
)
def test_nothing_a_model_writes_does_more_than_be_refused(said: Any) -> None:
    with contextlib.suppress(Unplanned):
        plan = read_plan(said if isinstance(said, dict) else {"steps": said})
        assert read_plan(plan.payload()) == plan
