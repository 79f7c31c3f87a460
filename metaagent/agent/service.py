"""The path of an ask, top to bottom: admit → limit → choose → route or name a tool → call → digest."""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import time
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from uuid import UUID

from metaagent.agent import digest, gate
from metaagent.agent.failures import (
    AskInvalid,
    CapabilityMiss,
    ExportHidden,
    Failure,
    Internal,
    ModelUnavailable,
    NeedsAuth,
    NeedsConsent,
    Overloaded,
    ProviderUnavailable,
    RateLimited,
)
from metaagent.agent.limits import Buckets
from metaagent.agent.ports import Admissions, Audit, Consents, Dial, Links, Progress, Shared, Stamp, Tokens, silent
from metaagent.agent.router import Route, RouterIndex, Unsure, compile_tools, route
from metaagent.agent.rows import Missed, pick_row
from metaagent.agent.runs import Noted, Runs, State, of
from metaagent.agent.toolbox import Toolbox, signature
from metaagent.agent.types import (
    RUN_URI,
    Admission,
    Answer,
    Ask,
    Citation,
    ConnectionRef,
    Export,
    Fact,
    Mode,
    Principal,
    StoredLink,
    new_run_id,
)
from providers.spec import ConsentPolicy, Effect, Json, Result, ToolSpec

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one process grants; every value is a setting."""

    per_user: int
    per_tenant: int
    at_once: int
    calls_per_ask: int
    deadline_s: float
    result_ttl_s: int


@dataclass(frozen=True, slots=True)
class Ports:
    """What the agent core asks of the rest of the product."""

    admissions: Admissions
    tokens: Tokens
    links: Links
    consents: Consents
    audit: Audit
    shared: Shared
    dial: Dial
    stamp: Stamp


@dataclass(slots=True)
class Run:
    """One ask being worked on."""

    id: str
    principal: Principal
    provider_id: str
    progress: Progress
    toolbox: Toolbox | None = None
    begun: bool = False
    """Admitted and within its limits: from now on what becomes of it is kept."""


class Agent:
    """Answers asks. One a process; holds nothing that a restart may not lose."""

    def __init__(self, ports: Ports, limits: Limits) -> None:
        self._ports = ports
        self._limits = limits
        self._users = Buckets(limits.per_user)
        self._tenants = Buckets(limits.per_tenant)
        self._runs = Runs(ports.shared, limits.result_ttl_s, limits.deadline_s)
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

    async def ask(self, principal: Principal, provider_id: str, ask: Ask, progress: Progress = silent) -> Answer:
        """Answer one ask. Raises: Failure, and nothing else but cancellation."""
        run = Run(new_run_id(), principal, provider_id, progress)
        if self._working >= self._limits.at_once:
            raise Overloaded
        self._working += 1
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
        finally:
            self._working -= 1

    async def answered(self, principal: Principal, question_id: UUID) -> bool:
        """Whether this person has answered, or cannot any more."""
        return await self._ports.consents.answered(principal, question_id)

    async def read_result(self, principal: Principal, result_id: str) -> bytes | None:
        """The full result behind an answer, for the principal it was made for; None for everyone else."""
        return await self._ports.shared.load(_result_key(principal, result_id))

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
        sticky = await self._sticky(principal, provider_id, ask)
        admission, chosen = await self._admitted(principal, provider_id, ask, sticky, fresh=False)
        self._limit(principal, admission)
        await self._begin(run)
        if isinstance(chosen, Failure):
            admission, chosen = await self._admitted(principal, provider_id, ask, sticky, fresh=True)
        if isinstance(chosen, Failure):
            meant = gate.meant(admission, account_id=ask.account_id, sticky=sticky)
            raise await self._with_link(principal, admission, meant, ask, chosen)
        toolbox = run.toolbox = Toolbox(
            principal=principal,
            admission=admission,
            connection=chosen,
            run_id=run.id,
            taken=await self._taken(principal, admission, chosen, ask, run.id),
            admissions=self._ports.admissions,
            tokens=self._ports.tokens,
            audit=self._ports.audit,
            dial=self._ports.dial,
            progress=run.progress,
            most_calls=self._limits.calls_per_ask,
            write_s=self._limits.deadline_s,
        )
        try:
            answer = await self._work(toolbox, ask)
        except Failure as failure:
            raise await self._with_link(principal, admission, chosen, ask, failure) from None
        if ask.conversation:
            await self._ports.shared.store(
                _sticky_key(principal, provider_id, ask.conversation), chosen.id.bytes, ttl_s=self._limits.result_ttl_s
            )
        return answer

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

    async def _work(self, toolbox: Toolbox, ask: Ask) -> Answer:
        match ask.mode:
            case Mode.TOOL:
                tool = _named(toolbox.admission, ask)
                if ask.dry_run:
                    return _answer(toolbox, ask, "tool", _rehearsal(toolbox, tool, ask.args))
                return await self._digested(toolbox, ask, "tool", tool, ask.args, await toolbox.call(tool, ask.args))
            case Mode.AGENT:
                raise ModelUnavailable
            case Mode.AUTO:
                return await self._routed(toolbox, ask)

    async def _routed(self, toolbox: Toolbox, ask: Ask) -> Answer:
        """Answer with the one read the prompt surely means, or say what can be asked."""
        provider = toolbox.admission.provider
        verdict = route(ask.prompt, _index(provider.tools, (provider.id, provider.title)))
        if isinstance(verdict, Unsure):
            if powerless := gate.powerless(toolbox.admission, toolbox.connection):
                raise powerless
            near = [provider.by_name[name] for name in verdict.closest if name in provider.by_name]
            readable = gate.readable(provider.tools, toolbox.connection)
            return _answer(toolbox, ask, "route", digest.abilities(provider.title, provider.about, readable, near))
        tool = provider.by_name[verdict.tool]
        args = await self._complete(toolbox, tool, verdict)
        if isinstance(args, Missed):
            return _answer(toolbox, ask, "route", args.sentence)
        if ask.dry_run:
            return _answer(toolbox, ask, "route", _rehearsal(toolbox, tool, args))
        return await self._digested(toolbox, ask, "route", tool, args, await toolbox.call(tool, args))

    async def _complete(self, toolbox: Toolbox, tool: ToolSpec, verdict: Route) -> Mapping[str, Json] | Missed:
        """The route's arguments and those that other tools' rows give: the organization, the project somebody named."""
        args, words = dict(verdict.args), verdict.words
        for name, producer in tool.producers.items():
            needed = name in tool.required
            if name in args or not (needed or words):
                continue
            source = toolbox.admission.provider.by_name[producer.tool]
            known = {key: value for key, value in args.items() if key in source.params}
            picked = pick_row((await toolbox.call(source, known)).data, producer, words, needed=needed)
            if isinstance(picked, Missed):
                return picked
            words = picked.words
            if picked.value is not None:
                args[name] = picked.value
        if words:
            return Missed(
                f"I am not sure what “{words}” is in {toolbox.admission.provider.title}. Say it in other words."
            )
        return args

    async def _digested(
        self, toolbox: Toolbox, ask: Ask, mode: str, tool: ToolSpec, args: Mapping[str, Json], result: Result
    ) -> Answer:
        body = digest.document(tool, dict(args), result)
        stored = StoredLink(secrets.token_urlsafe(24), len(body))
        await self._ports.shared.store(_result_key(toolbox.principal, stored.id), body, ttl_s=self._limits.result_ttl_s)
        text = digest.bounded(result.text, ask.max_tokens, uri=stored.uri)
        return _answer(toolbox, ask, mode, text, digest.cite(tool, result), stored)

    def _limit(self, principal: Principal, admission: Admission) -> None:
        now = time.monotonic()
        if wait := self._users.take((principal.user_id, admission.installation_id), now):
            raise RateLimited(wait, "user")
        if wait := self._tenants.take(principal.tenant_id, now):
            raise RateLimited(wait, "tenant")

    async def _sticky(self, principal: Principal, provider_id: str, ask: Ask) -> UUID | None:
        if not ask.conversation:
            return None
        kept = await self._ports.shared.load(_sticky_key(principal, provider_id, ask.conversation))
        return UUID(bytes=kept) if kept else None

    async def _taken(
        self, principal: Principal, admission: Admission, connection: ConnectionRef, ask: Ask, run_id: str
    ) -> frozenset[Effect]:
        """What the person allowed exactly this ask, where every ask needs a consent of its own."""
        if admission.consent is not ConsentPolicy.ALWAYS:
            return frozenset()
        return await self._ports.consents.take(principal, connection.id, _sent(ask), run_id)

    async def _with_link(
        self, principal: Principal, admission: Admission, connection: ConnectionRef | None, ask: Ask, failure: Failure
    ) -> Failure:
        """The failure with the page a person needs, when one helps."""
        if isinstance(failure, NeedsConsent) and connection is not None:
            sent = _sent(ask) if failure.once else None
            failure.question = await self._ports.consents.question(principal, connection.id, failure.effect, sent)
        if isinstance(failure, NeedsAuth | CapabilityMiss) and not failure.connect_url:
            scopes = (
                gate.scopes_for(admission, connection, failure.missing_scopes)
                if isinstance(failure, CapabilityMiss)
                else failure.scopes
            )
            failure.connect_url = admission.connect_url or await self._ports.links.connect(
                principal, admission, scopes, connection.id if connection else None
            )
        return failure

    async def _denied(self, run: Run, failure: Failure) -> Failure:
        """The failure with its telemetry id, recorded."""
        failure.telemetry_id = run.id
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
        write = run.toolbox and run.toolbox.write
        if not run.toolbox or not write:
            gone = "The client went away before the answer. Nothing was changed. Ask again."
            return await self._keep(run, State.CANCELLED, {"text": gone, "telemetryId": run.id})
        self._working += 1
        try:
            result = await write.result
            answer = await self._digested(run.toolbox, ask, "tool", write.tool, write.args, result)
            await self._keep(run, State.ANSWERED, answer.payload(), answer.stored)
        except Failure as failure:
            toolbox = run.toolbox
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


def _named(admission: Admission, ask: Ask) -> ToolSpec:
    tool = admission.provider.by_name.get(ask.tool or "")
    if tool is None:
        names = ", ".join(f"{t.name}({signature(t)})" for t in admission.provider.tools[:30])
        raise AskInvalid(f"options.tool must be one of: {names}.")
    return tool


def _sent(ask: Ask) -> dict[str, Json]:
    """What of an ask decides which tools it calls with what: a consent to one ask is a consent to this."""
    work = {"tool": ask.tool, "args": dict(ask.args)} if ask.mode is Mode.TOOL else {"prompt": ask.prompt}
    return {"mode": ask.mode.value, "dryRun": ask.dry_run, **work}


def _rehearsal(toolbox: Toolbox, tool: ToolSpec, args: Mapping[str, Json]) -> str:
    shown = json.dumps(dict(args), ensure_ascii=False)
    act = f"{tool.name} ({tool.effect.value}) as {toolbox.connection.label}"
    return f"Nothing was called. This would run {act} with {shown}."


def _answer(
    toolbox: Toolbox,
    ask: Ask,
    mode: str,
    text: str,
    citations: Sequence[Citation] = (),
    stored: StoredLink | None = None,
) -> Answer:
    spent = toolbox.spent
    return Answer(
        text=text,
        telemetry_id=toolbox.run_id,
        mode=mode,
        citations=tuple(citations),
        account_id=toolbox.connection.account_id,
        conversation=ask.conversation,
        usage={"modelTurns": 0, "toolCalls": spent.tool_calls, "requests": spent.requests, "bytesIn": spent.bytes_in},
        stored=stored,
    )


@lru_cache(maxsize=256)
def _index(tools: tuple[ToolSpec, ...], names: tuple[str, ...]) -> RouterIndex:
    return compile_tools(tools, names)


def _result_key(principal: Principal, result_id: str) -> str:
    """Bound to the principal: with another one's id in hand there is nothing under this key."""
    return f"result:{of(principal)}:{result_id}"


def _sticky_key(principal: Principal, provider_id: str, conversation: str) -> str:
    return f"sticky:{principal.tenant_id.hex}:{principal.user_id.hex}:{provider_id}:{conversation}"
