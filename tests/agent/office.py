"""The agent between a provider in memory and a model that follows a script."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import pytest

from metaagent.agent.failures import Failure
from metaagent.agent.model import Ended, Message, ModelTool, Role, Said, Spent, ToolOutcome, ToolUse, Turn
from metaagent.agent.ports import Ports
from metaagent.agent.service import Agent, Limits
from metaagent.agent.telemetry import Telemetry
from metaagent.agent.traffic import LocalTraffic, Traffic, TrafficLimits
from metaagent.agent.types import Amount, Answer, Ask
from metaagent.agent.work import Manner
from tests.agent.desk import ME, Asking, Consents, Desk, Dialled, Figures, Ledger, Log, Memory, Planted, Rights

Says: TypeAlias = "Callable[[Sequence[Message]], Turn] | Turn | Exception"


def turn(text: str = "", *uses: ToolUse, ended: Ended | None = None) -> Turn:
    return Turn(text, uses, ended or (Ended.TOOLS if uses else Ended.DONE), Spent(100, 20), "small")


def plan(*steps: tuple[str, str, dict[str, Any]], finish: str = "show") -> Turn:
    written = [{"id": name, "tool": tool, "args": args} for name, tool, args in steps]
    return turn("", ToolUse("use_1", "plan", {"steps": written, "finish": finish}))


@dataclass
class Scripted:
    """Says one thing after the other; more turns than that are more than the test allows."""

    says: list[Says] = field(default_factory=list)
    heard: list[tuple[Role, Sequence[Message], Sequence[ModelTool]]] = field(default_factory=list)

    async def turn(self, role: Role, *, messages: Sequence[Message], tools: Sequence[ModelTool] = (), **_: Any) -> Turn:
        self.heard.append((role, list(messages), tools))
        assert self.says, "a turn more than there should be"
        said = self.says.pop(0)
        if isinstance(said, Exception):
            raise said
        return said if isinstance(said, Turn) else said(messages)

    @property
    def roles(self) -> list[Role]:
        return [role for role, _, _ in self.heard]

    def read(self, n: int) -> str:
        """All that was said to the model in its nth turn."""
        _, messages, _ = self.heard[n]
        parts = [part for message in messages for part in message.parts]
        return "\n".join(part.text for part in parts if isinstance(part, Said | ToolOutcome))


LIMITS = Limits(
    per_user=10_000,
    per_tenant=10_000,
    at_once=100,
    budget=Amount(turns=6, calls=24, tokens=60_000, micros=0, ms=20_000),
    manner=Manner({Role.CHOOSE: "small", Role.WRITE: "large"}, turn_s=5, result_ttl_s=60),
    result_cache_s=30,
)


class Office:
    """The agent between a provider in memory and a model that follows a script."""

    def __init__(
        self, *says: Says, model: bool = True, planted: Planted | None = None, limits: Limits = LIMITS
    ) -> None:
        self.model, self.asking, self.log = Scripted(list(says)), Asking(), Log()
        self.desk, self.store, self.ledger, self.figures = Desk(planted or {}), Memory(), Ledger(), Figures()
        self.rights = Rights(planted or {})
        traffic = TrafficLimits(100_000, 100_000, 100, 100, 5, 5.0)
        self.ports = Ports(
            admissions=self.rights,
            tokens=self.rights,
            links=self.rights,
            consents=Consents(),
            approvals=self.asking,
            audit=self.log,
            ledger=self.ledger,
            figures=self.figures,
            shared=self.store,
            traffic=Traffic(LocalTraffic(traffic), traffic),
            telemetry=Telemetry(),
            dial=lambda spec, token, _connection: Dialled(self.desk, token.account, spec),  # type: ignore[attr-defined]
            stamp=self._stamp,
            price=lambda _model, _spent: 10,
            model=self.model if model else None,
        )
        self.agent = Agent(self.ports, limits)

    async def _stamp(self) -> int:
        return 0

    async def ask(self, prompt: str, **options: Any) -> Answer:
        return await self.agent.ask(ME, "desk", Ask(prompt, **options))

    async def refused(self, prompt: str, **options: Any) -> Failure:
        with pytest.raises(Failure) as caught:
            await self.ask(prompt, **options)
        assert self.ledger.open == 0
        return caught.value

    @property
    def called(self) -> list[tuple[str, Mapping[str, Any]]]:
        return [(request.tool, request.args) for request in self.desk.requests]
