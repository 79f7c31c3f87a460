"""The path of an ask, top to bottom: admit → limit → choose → reserve → work → settle → keep."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from uuid import UUID

from metaagent.agent import gate
from metaagent.agent.budget import Purse
from metaagent.agent.cache import Results
from metaagent.agent.digest import Found
from metaagent.agent.failures import (
    ApprovalRequired,
    BudgetExceeded,
    CapabilityMiss,
    ExportHidden,
    Failure,
    Internal,
    NeedsAuth,
    NeedsConsent,
    Overloaded,
    ProviderUnavailable,
    RateLimited,
)
from metaagent.agent.limits import Breaker, Buckets
from metaagent.agent.memory import Memory, handle
from metaagent.agent.ports import Ports, Progress, silent
from metaagent.agent.runs import Noted, Runs, State
from metaagent.agent.telemetry import AskSpan
from metaagent.agent.toolbox import Toolbox
from metaagent.agent.types import (
    RUN_URI,
    Admission,
    Amount,
    Answer,
    Ask,
    ConnectionRef,
    Export,
    Fact,
    Link,
    Principal,
    StoredLink,
    new_run_id,
)
from metaagent.agent.work import Manner, Work, result_key, sent
from providers.errors import Unavailable
from providers.limits import counting
from providers.spec import ConsentPolicy, Effect, Json, ProviderSpec

log = logging.getLogger(__name__)

_MODEL_FAILURES, _MODEL_PAUSE_S = 3, 10.0
"""After so many turns in a row that failed the model is asked by one turn in so many seconds."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one process grants; every value is a setting."""

    per_user: int
    per_tenant: int
    at_once: int
    budget: Amount
    """Of one ask; its time is the ask's deadline."""
    manner: Manner
    result_cache_s: int
    """The longest that a tool's result is given again."""

    @property
    def deadline_s(self) -> float:
        """How long an ask may take."""
        return self.budget.ms / 1_000


@dataclass(slots=True)
class Run:
    """One ask being worked on."""

    id: str
    principal: Principal
    provider_id: str
    progress: Progress
    span: AskSpan
    purse: Purse
    provider: ProviderSpec | None = None
    """Once the tenant is known to export it."""
    work: Work | None = None
    begun: bool = False
    """Admitted and within its limits: from now on what becomes of it is kept."""

    @property
    def toolbox(self) -> Toolbox | None:
        """Once there is an account to act as."""
        return self.work.toolbox if self.work else None


class Agent:
    """Answers asks. One a process; holds nothing that a restart may not lose."""

    def __init__(self, ports: Ports, limits: Limits) -> None:
        self._ports = ports
        self._limits = limits
        self._users = Buckets(limits.per_user)
        self._tenants = Buckets(limits.per_tenant)
        self._runs = Runs(ports.shared, limits.manner.result_ttl_s, limits.deadline_s)
        self._results = Results(ports.shared, limits.result_cache_s)
        self._model = Breaker(_MODEL_FAILURES, _MODEL_PAUSE_S)
        self._working = 0
        self._left: set[asyncio.Task[None]] = set()
        """What is finished for clients that have gone."""

    async def exports(self, principal: Principal) -> list[Export]:
        """The tools this principal sees, in the order of their names."""
        admissions = await self._ports.admissions.exports(principal)
        if not all(map(gate.visible, admissions)):
            admissions = await self._ports.admissions.exports(principal, fresh=True)
        return sorted((_export(a) for a in admissions if gate.visible(a)), key=lambda e: e.provider_id)

    async def shown(self, principal: Principal, provider_id: str) -> Export | None:
        """The provider's tool, when this principal is shown it."""
        admission = await self._visible(principal, provider_id)
        return _export(admission) if admission else None

    async def stamp(self) -> Hashable:
        """Equal stamps: `exports` gives everybody the same between them."""
        return await self._ports.stamp()

    async def connected(self, principal: Principal, provider_id: str, scopes: frozenset[str] = frozenset()) -> bool:
        """Whether an ask would find a usable connection now, one that allows `scopes`."""
        admission = await self._ports.admissions.admit(principal, provider_id, fresh=True)
        return admission is not None and any(c.ready and scopes <= c.scopes for c in admission.connections)

    async def ask(
        self, principal: Principal, provider_id: str, ask: Ask, progress: Progress = silent, caller: object = None
    ) -> Answer:
        """Answer one ask; `caller` is its `traceparent`. Raises: Failure, and nothing else but cancellation."""
        run_id = new_run_id()
        with self._ports.telemetry.ask(run_id, caller) as span:
            if self._working >= self._limits.at_once:
                raise Overloaded
            self._working += 1
            purse = Purse(self._limits.budget, self._ports.price, time.monotonic())
            run = Run(run_id, principal, provider_id, progress, span, purse)
            outcome = Internal.code
            try:
                answer = await self._answered(run, ask)
                outcome = "ok"
            except Failure as failure:
                outcome = failure.code
                raise
            except asyncio.CancelledError:
                outcome = "cancelled"
                raise
            finally:
                self._working -= 1
                self._count(run, outcome)
            return answer

    def _count(self, run: Run, outcome: str) -> None:
        """For the figures. What the tenant does not export is a word of the client's, and counted nowhere."""
        if run.provider is not None:
            used = run.purse.used + Amount(ms=run.purse.ms(time.monotonic()))
            way = run.work.way if run.work else "none"
            self._ports.figures.ended(run.principal, run.provider, way, outcome, used)

    async def _answered(self, run: Run, ask: Ask) -> Answer:
        try:
            async with asyncio.timeout(self._limits.deadline_s):
                answer = await self._ask(run, ask)
            await self._keep(run, State.ANSWERED, answer.payload(), answer.stored)
        except Failure as failure:
            raise await self._denied(run, failure) from None
        except TimeoutError:
            raise await self._denied(run, self._late(run, ask)) from None
        except asyncio.CancelledError:
            self._leave(run, ask)
            raise
        except Exception:
            log.exception("ask failed, telemetryId %s", run.id)
            raise await self._denied(run, Internal()) from None
        else:
            return answer

    async def answered(self, principal: Principal, question_id: UUID) -> bool:
        """Whether this person has answered a question of consent or approval, or cannot any more."""
        return await self._ports.approvals.answered(principal, question_id)

    async def read_result(self, principal: Principal, result_id: str) -> bytes | None:
        """The full result behind an answer, for the principal it was made for; None for everyone else."""
        return await self._ports.shared.load(result_key(principal, result_id))

    async def read_run(self, principal: Principal, run_id: str) -> bytes | None:
        """What became of a run, as a JSON document, for the principal that asked; None for everyone else."""
        return await self._runs.read(principal, run_id)

    async def recent(self, principal: Principal) -> list[Noted]:
        """This principal's newest runs."""
        return await self._runs.recent(principal)

    async def aclose(self) -> None:
        """Wait for what was begun for clients that have gone."""
        while self._left:
            await asyncio.wait(self._left)

    async def _ask(self, run: Run, ask: Ask) -> Answer:
        principal, provider_id = run.principal, run.provider_id
        memory = await self._memory(principal, provider_id, ask)
        sticky = memory.connection_id
        admission, chosen = await self._admitted(principal, provider_id, ask, sticky, fresh=False)
        run.provider = admission.provider
        run.span.admitted(provider_id)
        self._limit(principal, admission)
        await self._begin(run)
        if isinstance(chosen, Failure):
            admission, chosen = await self._admitted(principal, provider_id, ask, sticky, fresh=True)
        if isinstance(chosen, Failure):
            meant = gate.meant(admission, account_id=ask.account_id, sticky=sticky)
            raise await self._with_link(principal, admission, meant, ask, chosen)
        memory.connection_id = chosen.id
        if (own := admission.limits.tool_calls_per_ask) is not None:
            purse = run.purse
            purse.limits = replace(purse.limits, calls=counting("tool_calls_per_ask", own, purse.limits.calls))
        toolbox = Toolbox(
            ports=self._ports,
            results=self._results,
            principal=principal,
            admission=admission,
            connection=chosen,
            run_id=run.id,
            prompt=ask.prompt,
            purse=run.purse,
            progress=run.progress,
            write_s=self._limits.deadline_s,
            taken=await self._taken(principal, admission, chosen, ask, run.id),
        )
        conversation = ask.conversation or handle(run.id)
        run.span.asked(ask.prompt)
        run.work = Work(self._ports, self._limits.manner, toolbox, ask, memory, conversation, self._model)
        try:
            answer = await self._within_budget(run, run.work)
        except Failure as failure:
            raise await self._with_link(principal, admission, chosen, ask, failure) from None
        finally:
            run.span.took(run.work.way)
        run.span.answered(answer.text)
        key = _memory_key(principal, provider_id, conversation)
        await self._ports.shared.store(key, memory.body(), ttl_s=self._limits.manner.result_ttl_s)
        return answer

    async def _within_budget(self, run: Run, work: Work) -> Answer:
        """Work it with a part of today's time put aside. Raises: Failure."""
        budget, purse, ledger = self._limits.budget, run.purse, self._ports.ledger
        reservation = await ledger.reserve(run.principal, Amount(ms=budget.ms))
        try:
            return await work.answer()
        finally:
            await ledger.settle(reservation, Amount(ms=purse.ms(time.monotonic())))
            await work.toolbox.settled()

    async def _admitted(
        self, principal: Principal, provider_id: str, ask: Ask, sticky: UUID | None, *, fresh: bool
    ) -> tuple[Admission, ConnectionRef | Failure]:
        admission = await self._visible(principal, provider_id, fresh=fresh)
        if admission is None:
            raise ExportHidden
        return admission, gate.choose(admission, account_id=ask.account_id, sticky=sticky)

    async def _visible(self, principal: Principal, provider_id: str, *, fresh: bool = False) -> Admission | None:
        """What this principal is shown; before it is hidden from them it is read afresh."""
        admission = await self._ports.admissions.admit(principal, provider_id, fresh=fresh)
        if admission is not None and not gate.visible(admission) and not fresh:
            return await self._visible(principal, provider_id, fresh=True)
        return admission if admission is not None and gate.visible(admission) else None

    def _limit(self, principal: Principal, admission: Admission) -> None:
        now = time.monotonic()
        if wait := self._users.take((principal.user_id, admission.installation_id), now):
            raise RateLimited(wait, "user")
        if wait := self._tenants.take(principal.tenant_id, now):
            raise RateLimited(wait, "tenant")

    async def _memory(self, principal: Principal, provider_id: str, ask: Ask) -> Memory:
        if not ask.conversation:
            return Memory()
        return Memory.read(await self._ports.shared.load(_memory_key(principal, provider_id, ask.conversation)))

    async def _taken(
        self, principal: Principal, admission: Admission, connection: ConnectionRef, ask: Ask, run_id: str
    ) -> frozenset[Effect]:
        """What the person allowed exactly this ask, where every ask needs a consent of its own."""
        if admission.consent is not ConsentPolicy.ALWAYS:
            return frozenset()
        return await self._ports.consents.take(principal, connection.id, sent(ask), run_id)

    async def _with_link(
        self, principal: Principal, admission: Admission, connection: ConnectionRef | None, ask: Ask, failure: Failure
    ) -> Failure:
        """The failure with the page a person needs, when one helps."""
        if isinstance(failure, NeedsConsent) and connection is not None:
            once = sent(ask) if failure.once else None
            failure.question = await self._ports.consents.question(principal, connection.id, failure.effect, once)
        if isinstance(failure, ApprovalRequired):
            try:
                failure.question = await self._ports.approvals.question(principal, failure.call, sent(ask))
            except Unavailable as gone:
                return ProviderUnavailable(failure.provider_id, gone.message)
            self._ports.telemetry.approval_asked(failure.provider_id)
        if isinstance(failure, NeedsAuth | CapabilityMiss) and failure.link is None:
            scopes = (
                gate.scopes_for(admission, connection, failure.missing_scopes)
                if isinstance(failure, CapabilityMiss)
                else failure.scopes
            )
            if admission.connect_url:
                failure.link = Link(admission.connect_url)
            else:
                account = connection.id if connection else None
                failure.link = await self._ports.links.connect(principal, admission, scopes, account)
        return failure

    async def _denied(self, run: Run, failure: Failure) -> Failure:
        """The failure with its telemetry id, recorded."""
        failure.telemetry_id = run.id
        if isinstance(failure, BudgetExceeded):
            self._ports.telemetry.budget_refused(failure.scope)
        try:
            await self._ports.audit.outcome(
                Fact("ask.denied", run.principal, run.id, run.provider_id, detail={"code": failure.code})
            )
        except Exception:
            log.exception("a denial could not be recorded, telemetryId %s", run.id)
        await self._keep(run, State.FAILED, failure.outcome())
        return failure

    async def _begin(self, run: Run) -> None:
        run.begun = True
        if run.progress is not silent:
            await self._keep(run, State.RUNNING)
            await run.progress(run.id, 0, f"Started. If this connection is lost, read {RUN_URI}{run.id}")

    async def _keep(
        self, run: Run, state: State, result: Mapping[str, Json] | None = None, stored: StoredLink | None = None
    ) -> None:
        """Losing what is kept is harmless: it never ends an ask."""
        if not run.begun:
            return
        try:
            await self._runs.keep(run.principal, run.id, run.provider_id, state, result, stored)
        except Exception:
            log.exception("a run could not be kept, telemetryId %s", run.id)

    def _late(self, run: Run, ask: Ask) -> Failure:
        """The deadline has passed; a write that was begun goes on."""
        limit = f"{self._limits.deadline_s:g} s"
        sentence = f"The provider took longer than {limit}. Ask for less, or try again."
        if (write := run.toolbox and run.toolbox.write) and not write.result.done():
            self._leave(run, ask)
            sentence = f"{write.tool.name} takes longer than {limit}. Read {RUN_URI}{run.id} before trying again."
        return ProviderUnavailable(run.provider_id, sentence)

    def _leave(self, run: Run, ask: Ask) -> None:
        """Nobody waits for this run any more: reads have stopped, a write that was begun goes on."""
        task = asyncio.create_task(self._left_behind(run, ask))
        self._left.add(task)
        task.add_done_callback(self._left.discard)

    async def _left_behind(self, run: Run, ask: Ask) -> None:
        """Keep what became of a run that nobody waits for."""
        work, write = run.work, run.toolbox and run.toolbox.write
        if not work or not write:
            gone = "The client went away before the answer. Nothing was changed. Ask again."
            return await self._keep(run, State.CANCELLED, {"text": gone, "telemetryId": run.id})
        self._working += 1
        try:
            result = await write.result
            work.found = [Found(write.tool, write.args, result)]
            answer = await work.shown()
            await self._keep(run, State.ANSWERED, answer.payload(), answer.stored)
        except Failure as failure:
            toolbox = work.toolbox
            await self._denied(
                run, await self._with_link(run.principal, toolbox.admission, toolbox.connection, ask, failure)
            )
        except TimeoutError:
            sentence = f"{write.tool.name} did not end in time; what came of it is not known. Look before trying again."
            await self._denied(run, ProviderUnavailable(run.provider_id, sentence))
        except Exception:
            log.exception("a write failed that nobody waits for, telemetryId %s", run.id)
            await self._denied(run, Internal())
        finally:
            self._working -= 1


def _export(admission: Admission) -> Export:
    return Export(admission.provider.id, admission.provider.title, admission.provider.about)


def _memory_key(principal: Principal, provider_id: str, conversation: str) -> str:
    return f"talk:{principal.tenant_id.hex}:{principal.user_id.hex}:{provider_id}:{conversation}"
