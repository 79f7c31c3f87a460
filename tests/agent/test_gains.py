"""What `make bench` measures of the agent, kept true: turns, tokens, and what is still right without a model."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

import pytest

from bench import classical, gains
from bench.catalogue import wide
from bench.model import Scripted
from bench.provider import Direct, directly, token
from bench.questions import Kind, questions
from metaagent.agent.failures import Failure
from metaagent.agent.model import ModelGone, Role, Turn, Why
from metaagent.agent.ports import Ports
from metaagent.agent.service import Agent, Limits
from metaagent.agent.telemetry import Telemetry
from metaagent.agent.traffic import LocalTraffic, Traffic, TrafficLimits
from metaagent.agent.types import Admission, Amount, Ask, ConnectionRef, Link, Principal
from metaagent.agent.work import Manner
from providers.catalogue import sentry
from providers.spec import ConsentPolicy, Exposure, Json, ProviderSpec, Reply
from tests.agent.desk import ME, Asking, Consents, Figures, Ledger, Log, Memory, Obeying
from tests.world import Served

_KILLED_AFTER = len(questions()) // 3


class Knowing(Obeying):
    """The model of the bench, behind the port."""

    def __init__(self, model: Scripted) -> None:
        super().__init__()
        self._script = model.answer
        self._model = model

    async def turn(self, *args: object, **given: object) -> Turn:
        if not self._model.alive:
            raise ModelGone(Why.UNREACHABLE)
        return await super().turn(*args, **given)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Bearer:
    version: int = 1

    def reveal(self) -> str:
        return "none"


class Rights:
    """One person, whose one account is at the sandbox."""

    def __init__(self, *specs: ProviderSpec) -> None:
        self._admissions = {spec.id: self._admission(spec) for spec in specs}

    def _admission(self, spec: ProviderSpec) -> Admission:
        account = ConnectionRef(
            id=UUID(int=7),
            account_id="ada",
            label="ada@example.com",
            ready=True,
            reason="",
            scopes=frozenset(spec.oauth.scopes),
            is_default=True,
            shared=False,
        )
        return Admission(
            provider=spec,
            installation_id=UUID(int=100 + len(spec.id)),
            exposure=Exposure.SOFT,
            connections=(account,),
            consent=ConsentPolicy.NEVER,
            consents=(),
            membership_id=ME.user_id,
        )

    async def exports(self, *_: object, **__: object) -> Sequence[Admission]:
        return list(self._admissions.values())

    async def admit(self, principal: Principal, provider_id: str, **_: object) -> Admission | None:  # noqa: ARG002 - the port's
        return self._admissions[provider_id]

    async def access_token(self, *_: object, **__: object) -> Bearer:
        return Bearer()

    async def give_up(self, *_: object) -> None:
        raise AssertionError("no token is refused here")

    async def connect(self, *_: object) -> Link:
        raise AssertionError("nobody has to connect here")


class Remembering(Direct):
    """Asks the sandbox everything once: it is the agent that is looked at."""

    def __init__(self, api: Direct) -> None:
        super().__init__(api.web_base, api.http)
        self._known: dict[str, Reply] = {}
        self.calls = self.bytes_in = 0

    async def get(self, path: str, params: Mapping[str, Json] | None = None) -> Reply:
        key = f"{path} {params}"
        if key not in self._known:
            self._known[key] = await super().get(path, params)
        return self._known[key]


async def _stamp() -> int:
    return 0


class Person:
    """Somebody who asks an agent of their own."""

    def __init__(self, api: Remembering) -> None:
        self.model = Scripted()
        specs = [
            replace(each, api_base=api.web_base, web_base=api.web_base) for each in (sentry.PROVIDER, wide.PROVIDER)
        ]
        rights, traffic = Rights(*specs), TrafficLimits(100_000, 100_000, 100, 100, 5, 5.0)
        self._agent = Agent(
            Ports(
                admissions=rights,
                tokens=rights,
                links=rights,
                consents=Consents(),
                approvals=Asking(),
                audit=Log(),
                ledger=Ledger(),
                figures=Figures(),
                shared=Memory(),
                traffic=Traffic(LocalTraffic(traffic), traffic),
                telemetry=Telemetry(),
                dial=lambda _spec, _token, _connection: api,
                stamp=_stamp,
                price=lambda _model, _spent: 10,
                model=Knowing(self.model),
            ),
            Limits(
                per_user=10_000,
                per_tenant=10_000,
                at_once=10,
                budget=Amount(turns=6, calls=40, tokens=60_000, micros=0, ms=20_000),
                manner=Manner({Role.CHOOSE: "small", Role.WRITE: "large"}, turn_s=5, result_ttl_s=60),
                result_cache_s=30,
            ),
        )

    async def sentry(self, prompt: str) -> gains.Asked:
        return await self._ask("sentry", prompt)

    async def wide(self, prompt: str) -> gains.Asked:
        return await self._ask("wide", prompt)

    async def _ask(self, provider: str, prompt: str) -> gains.Asked:
        try:
            answer = await self._agent.ask(ME, provider, Ask(prompt))
        except Failure as failure:
            return gains.Asked(failure.message, "error", {})
        full = await self._agent.read_result(ME, answer.stored.id) if answer.stored else None
        return gains.Asked(answer.text, answer.mode, dict(answer.usage), answer.degraded, (full or b"").decode())


@dataclass(frozen=True)
class Passes:
    cold: Sequence[gains.Outcome]
    warm: Sequence[gains.Outcome]
    killed: Sequence[gains.Outcome]
    wide: Sequence[gains.Outcome]


@pytest.fixture(scope="module")
def passes(sandbox: Served) -> Passes:
    async def ask() -> Passes:
        with directly(sandbox.url, token(sandbox.url)) as direct:
            api = Remembering(direct)
            first, again = await gains.all_posed(api), await gains.all_posed(api, again=True)
            one, other = Person(api), Person(api)
            found = Passes(
                await gains.asked_all(first, one.sentry, one.model),
                await gains.asked_all(again, one.sentry, one.model),
                await gains.asked_all(first, other.sentry, other.model, killed_after=_KILLED_AFTER),
                await gains.asked_all(again[:20], one.wide, one.model),
            )
            await api.http.aclose()
            return found

    return asyncio.run(ask())


def test_the_questions_are_many_and_many_need_several_steps() -> None:
    kinds = [question.kind for question in questions()]
    assert len(kinds) >= 70
    assert kinds.count(Kind.MULTI) >= 20


def test_no_question_is_answered_rightly_by_just_any_answer(passes: Passes) -> None:
    answers = [outcome.asked for outcome in passes.cold if outcome.right][::6]
    for outcome in passes.cold:
        fits = [outcome.posed.right(answer.text, answer.full) for answer in answers]
        assert sum(fits) <= len(fits) / 2, outcome.posed.prompt


def test_a_question_takes_at_most_two_turns_the_first_time_and_none_when_a_rule_is_sure(passes: Passes) -> None:
    assert {o.posed.prompt: o.turns for o in passes.cold if o.turns > 2} == {}
    assert {o.posed.prompt: o.turns for o in passes.cold if o.turns and o.asked.mode == "route"} == {}


def test_asked_again_with_other_values_it_takes_at_most_one_where_its_plan_was_kept(passes: Passes) -> None:
    replayed = [outcome for outcome in passes.warm if outcome.asked.mode == "replay"]
    assert {o.posed.prompt: o.turns for o in replayed if o.turns > 1} == {}
    assert len(replayed) >= len(passes.warm) / 5
    assert sum(outcome.turns for outcome in passes.warm) <= len(passes.warm)


def test_answers_hold_what_the_provider_says(passes: Passes) -> None:
    assert gains.share(passes.cold) >= 0.95, _wrong(passes.cold)
    assert gains.share(passes.warm) >= 0.95, _wrong(passes.warm)


def test_far_fewer_tokens_are_used_than_by_the_classical_loop(passes: Passes) -> None:
    small, large = classical.tools_of(sentry.TOOLS), classical.tools_of(wide.PROVIDER.tools)
    assert len(large) == 500
    assert gains.savings("cold", "sentry", passes.cold, small)["ratio"] >= 5  # type: ignore[operator]
    assert gains.savings("cold", "wide", passes.wide, large)["ratio"] >= 20  # type: ignore[operator]


def test_without_the_model_what_is_to_be_fetched_is_still_right(passes: Passes) -> None:
    left = [outcome for outcome in passes.killed[_KILLED_AFTER:] if outcome.posed.kind is Kind.FETCH]
    assert sum(outcome.turns for outcome in left) == 0
    assert gains.share(left) >= 0.9, _wrong(left)


def _wrong(outcomes: Sequence[gains.Outcome]) -> list[tuple[str, str]]:
    return [(outcome.posed.prompt, outcome.asked.mode) for outcome in outcomes if not outcome.right]
