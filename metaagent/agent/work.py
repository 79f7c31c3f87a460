"""How an ask is worked: by the cheapest way that is sure.

route    a rule knows the one read that is meant                              no model turn
replay   a plan that answered the same question before runs again             none, or one to write
plan     one turn of a small model plans, steps run, the results are shown    one, or one more to write
         or a large one writes
loop     turn by turn, when no plan can be had                                as many as the budget has
degraded the best reads, when there is no model, no time or no budget         none
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from metaagent.agent import digest, foreign, gate, prompts, shapes, steps
from metaagent.agent.budget import prompt_at_most
from metaagent.agent.catalog import CatalogIndex, rank, read_catalog
from metaagent.agent.digest import Found, Shown
from metaagent.agent.failures import (
    AskInvalid,
    BudgetExceeded,
    Failure,
    Invitation,
    ModelUnavailable,
    ProviderUnavailable,
    Wait,
)
from metaagent.agent.gate import Author
from metaagent.agent.limits import Breaker
from metaagent.agent.memory import Memory
from metaagent.agent.model import (
    Ended,
    FromUser,
    Message,
    ModelGone,
    ModelTool,
    Role,
    Said,
    Spent,
    ToolOutcome,
    ToolUse,
    Turn,
    Why,
)
from metaagent.agent.plan import Finish, Plan, Unplanned, read_plan
from metaagent.agent.ports import Ports
from metaagent.agent.reads import Read, best_reads
from metaagent.agent.router import Route, RouterIndex, Unsure, compile_tools, route
from metaagent.agent.rows import Missed
from metaagent.agent.runs import of
from metaagent.agent.steps import Ran
from metaagent.agent.toolbox import Toolbox, signature
from metaagent.agent.types import Answer, Ask, Citation, Mode, Principal, StoredLink, Way
from providers.errors import Unavailable
from providers.spec import Access, Effect, Json, ProviderSpec, ToolSpec

_HITS: Final = 16
"""Tools that a planning turn is shown."""
_PLANNING: Final = 3
"""Planning turns at most, with those that search for tools or mend a plan."""
_PLAN_TOKENS: Final = 1_500
_SHAPES: Final = 200
"""Plans kept for an installation."""
_SHAPES_S: Final = 2_592_000
_SPARE_S: Final = 3.0
"""Kept back from a model's time, for the answer that goes without it."""
_READ_BY_WRITER: Final = 6_000
"""Tokens of results that a writing turn is shown, shared by all of them."""
_READ_IN_LOOP: Final = 1_500
_MOST_CITATIONS: Final = 10
_FOR_LEAD: Final = 60
"""Tokens kept for what is said of the results, when several of them share the room."""
_DIGITS: Final = 39
"""Of a result's address: 129 bits."""


@dataclass(frozen=True, slots=True)
class Manner:
    """What one ask may take; every value is a setting."""

    models: Mapping[Role, str]
    """By the operator's names; none: no model is configured."""
    turn_s: float
    """How long one turn of a model may take."""
    result_ttl_s: int


@dataclass(slots=True)
class Work:
    """One ask, from its question to its answer."""

    ports: Ports
    manner: Manner
    toolbox: Toolbox
    ask: Ask
    memory: Memory
    conversation: str
    """The handle of the conversation it belongs to, given or new."""
    breaker: Breaker
    """The model's, which all asks of this process share: while it is gone, nobody waits for it."""
    way: Way = "route"
    found: list[Found] = field(default_factory=list)
    """What the answer is made of."""

    @property
    def _provider(self) -> ProviderSpec:
        return self.toolbox.admission.provider

    async def answer(self) -> Answer:
        """The answer. Raises: Failure."""
        match self.ask.mode:
            case Mode.TOOL:
                return await self._named()
            case Mode.AUTO:
                return await self._routed()
            case Mode.AGENT if self.ports.model is None:
                raise ModelUnavailable
            case Mode.AGENT:
                return await self._thought(self.memory.recalled(self.ask.prompt))

    # --- a tool the client names

    async def _named(self) -> Answer:
        self.way = "tool"
        tool = self._provider.by_name.get(self.ask.tool or "")
        if tool is None:
            names = ", ".join(f"{each.name}({signature(each)})" for each in self._provider.tools[:30])
            raise AskInvalid(f"options.tool must be one of: {names}.")
        return await self._called(tool, self.ask.args, Author.CLIENT)

    async def _called(self, tool: ToolSpec, args: Mapping[str, Json], author: Author) -> Answer:
        if self.ask.dry_run:
            return self._said(self._rehearsal([(tool, args)]))
        self.found.append(Found(tool, args, await self.toolbox.call(tool, args, author)))
        return await self.shown()

    # --- route

    async def _routed(self) -> Answer:
        """The one read that the question surely means; else what the cheaper of the other ways finds."""
        prompt = self.memory.recalled(self.ask.prompt)
        verdict = route(prompt, _router(self._provider.tools, (self._provider.id, self._provider.title)))
        if isinstance(verdict, Unsure):
            return await self._thought(prompt)
        tool = self._provider.by_name[verdict.tool]
        match await self._arguments(tool, verdict):
            case args, "":
                return await self._called(tool, args, Author.PROMPT)
            case _ if verdict.words and self.ports.model is not None:  # perhaps a model knows what they mean
                return await self._thought(prompt)
            case Missed(sentence):
                return self._asked_back(sentence)
            case _, words:
                return self._said(f"I am not sure what “{words}” is in {self._provider.title}. Say it in other words.")

    async def _arguments(self, tool: ToolSpec, read: Route | Read) -> tuple[dict[str, Json], str] | Missed:
        """A read's arguments with those that other tools' rows give (the organization, the project somebody named), and
        the words that name nothing.
        """
        args, words = dict(read.args), read.words
        for name in tool.producers:
            if name in args or not (name in tool.required or words):
                continue
            picked = await steps.produced(self.toolbox, tool, name, args, words)
            if isinstance(picked, Missed):
                return picked
            words = picked.words
            if picked.value is not None:
                args[name] = picked.value
        return args, words

    # --- with a model, or with a plan of one

    async def _thought(self, prompt: str) -> Answer:
        """Everything that no rule answers. First of all, what the person has just approved is carried out."""
        if powerless := gate.powerless(self.toolbox.admission, self.toolbox.connection):
            raise powerless
        if not self.ask.dry_run and (answer := await self._approved()):
            return answer
        if plan := await self._kept_plan(prompt):
            self.way = "replay"
            if self.ask.dry_run:
                return self._said(self._rehearsed(plan))
            ran = await self._ran(plan, prompt)
            if not any(isinstance(each.failure, AskInvalid) for each in ran):
                return await self._finished(plan, ran, prompt)
            self.found.clear()
        if self.ports.model is None:
            return await self._degraded(prompt, "No model is configured to work this out")
        try:
            return await self._planned(prompt)
        except ModelGone as gone:
            return await self._degraded(prompt, _GONE[gone.why])
        except BudgetExceeded as exceeded:
            if exceeded.what == "calls" and not self.found:
                raise
            self.ports.telemetry.budget_refused(exceeded.scope)
            if exceeded.what == "calls":
                return await self.shown(lead=f"{exceeded.message} This was found so far.", degraded=True)
            return await self._degraded(prompt, exceeded.message.rstrip("."))

    async def _approved(self) -> Answer | None:
        """Carry out what the person approved for this very ask, exactly that, and say what came of it."""
        principal, connection = self.toolbox.principal, self.toolbox.connection
        try:
            taken = await self.ports.approvals.take(principal, connection.id, sent(self.ask), self.toolbox.run_id)
        except Unavailable as gone:
            raise ProviderUnavailable(self._provider.id, gone.message) from None
        for call in taken:
            tool = self._provider.by_name.get(call.tool)
            if tool is None or call.connection_id != connection.id:
                continue
            self.way = "approved"
            result = await self.toolbox.call(tool, call.args, Author.PERSON)
            self.found.append(Found(tool, call.args, result))
        if not self.found:
            return None
        return await self.shown(lead="Done, as approved. For anything else, ask again.")

    async def _planned(self, prompt: str) -> Answer:
        """Plan, run, and plan once more when a step failed in a way that a model can mend."""
        self.way = "plan"
        tools = self._hits(prompt)
        question = prompts.question(
            prompt, tools, of=len(self._provider.tools), title=self._provider.title, known=self.memory.known
        )
        messages: list[Message] = [FromUser((Said(question),))]
        planned = await self._plan(messages, prompt)
        if planned is None:
            return await self._looped(prompt)
        plan, turn = planned
        if self.ask.dry_run:
            return self._said(self._rehearsed(plan))
        ran = await self._ran(plan, prompt)
        if not (failed := [each for each in ran if isinstance(each.failure, AskInvalid)]):
            await self._keep_plan(plan, prompt)
            return await self._finished(plan, ran, prompt)
        messages += [turn.message, _outcomes(turn, self._mending(ran, failed))]
        mended = await self._plan(messages, prompt)
        if mended is None:
            return await self._finished(plan, ran, prompt)
        self.found.clear()
        return await self._finished(mended[0], await self._ran(mended[0], prompt), prompt)

    async def _plan(self, messages: list[Message], prompt: str) -> tuple[Plan, Turn] | None:
        """A plan, and the turn it came in. None when the model gives none."""
        for _ in range(_PLANNING):
            turn = await self._turn(Role.CHOOSE, prompts.CHOOSE, messages, prompts.CHOOSING, _PLAN_TOKENS)
            uses = {use.name: use for use in turn.uses}
            if not uses:
                return None
            said: dict[str, str] = {}
            if use := uses.get(prompts.PLAN):
                try:
                    return self._held(read_plan(use.args)), turn
                except Unplanned as wrong:
                    said[use.id] = str(wrong)
            for use in turn.uses:
                if use.name == prompts.SEARCH:
                    said[use.id] = prompts.found(self._hits(str(use.args.get("query", ""))[:400] or prompt))
            messages += [turn.message, _outcomes(turn, said)]
        return None

    def _held(self, plan: Plan) -> Plan:
        """The plan, when its tools exist. Raises: Unplanned."""
        for step in plan.steps:
            if step.tool not in self._provider.by_name:
                raise Unplanned(f"There is no tool {step.tool[:80]}. Use only tools that were listed.")
        return plan

    def _mending(self, ran: Sequence[Ran], failed: Sequence[Ran]) -> str:
        """What a second plan has to know."""
        wrong = "\n".join(f"{each.step.id} ({each.step.tool}): {_reason(each.failure)}" for each in failed)
        wrong += "".join(prompts.fenced(each.missed, self._provider.title) for each in failed if each.missed)
        parts = [
            prompts.fenced(_reading(each, _READ_IN_LOOP), f"{each.tool.name}, from {self._provider.title}")
            for one in ran
            for each in one.found
        ]
        return "\n".join(["Steps failed:", wrong, *parts, "Write one new, whole plan."])

    async def _ran(self, plan: Plan, prompt: str) -> list[Ran]:
        """Every step's outcome. Raises: Failure that a person has to mend, and any when nothing was found."""
        ran = await steps.run(self.toolbox, plan, Author.MODEL, words=prompt)
        self.found += [found for each in ran for found in each.found]
        failures = [each.failure for each in ran if each.failure]
        if invitation := next((each for each in failures if isinstance(each, Invitation)), None):
            raise invitation
        if not self.found and failures and not any(isinstance(each, AskInvalid) for each in failures):
            raise failures[0]
        return ran

    async def _finished(self, plan: Plan, ran: Sequence[Ran], prompt: str) -> Answer:
        """The results shown, or put together by a model."""
        failures = [each.failure for each in ran if each.failure]
        if not self.found and (missed := next((each.missed for each in ran if each.missed), "")):
            return self._asked_back(missed)
        if not self.found and failures:
            raise failures[0]
        lead = f"Not everything could be found: {failures[0].message}" if failures else ""
        if not self.found:
            return self._said(f"{self._provider.title} has nothing on this.")
        if plan.finish is Finish.SHOW or self.ports.model is None:
            return await self.shown(lead=lead, degraded=plan.finish is Finish.WRITE)
        try:
            text = await self._written(prompt)
        except ModelGone as gone:
            return await self.shown(lead=f"{_GONE[gone.why]}, so these are the results as they are.", degraded=True)
        except BudgetExceeded as exceeded:
            self.ports.telemetry.budget_refused(exceeded.scope)
            return await self.shown(lead=f"{exceeded.message} This was found so far.", degraded=True)
        return await self.shown(lead=lead, written=text)

    async def _written(self, prompt: str) -> str:
        """A model's answer from the results. Raises: ModelGone, BudgetExceeded."""
        room = _READ_BY_WRITER // len(self.found)
        parts = [(each.tool.name, _reading(each, room)) for each in self.found]
        message = FromUser((Said(prompts.results(prompt, parts, title=self._provider.title)),))
        turn = await self._turn(Role.WRITE, prompts.WRITE, [message], (), self.ask.max_tokens)
        return _words(turn)

    # --- turn by turn

    async def _looped(self, prompt: str) -> Answer:
        """The classical way: the model calls tools until it has its answer. Raises: Failure, ModelGone."""
        self.way = "loop"
        tools = prompts.in_full(self._hits(prompt))
        messages: list[Message] = [FromUser((Said(prompt),))]
        while True:
            turn = await self._turn(Role.CHOOSE, prompts.LOOP, messages, tools, self.ask.max_tokens)
            if not turn.uses:
                break
            outcomes = await asyncio.gather(*(self._one(use) for use in turn.uses))
            messages += [turn.message, FromUser(tuple(outcomes))]
        return await self.shown(written=_words(turn))

    async def _one(self, use: ToolUse) -> ToolOutcome:
        """One call of the model's. Raises: Failure that only a person can mend, BudgetExceeded."""
        tool = self._provider.by_name.get(use.name)
        if tool is None:
            return ToolOutcome(use.id, "There is no such tool.", is_error=True)
        try:
            self.toolbox.purse.wished(tool.name, use.args)
            args = await steps.completed(self.toolbox, tool, use.args, "", Author.MODEL)
            if isinstance(args, Missed):
                return ToolOutcome(use.id, prompts.fenced(args.sentence, self._provider.title), is_error=True)
            found = Found(tool, args, await self.toolbox.call(tool, args, Author.MODEL))
        except (AskInvalid, Wait) as failure:
            return ToolOutcome(use.id, failure.message, is_error=True)
        self.found.append(found)
        return ToolOutcome(use.id, prompts.fenced(_reading(found, _READ_IN_LOOP), tool.name))

    # --- without a model

    async def _degraded(self, prompt: str, why: str) -> Answer:
        """What the best reads find, saying so; or what can be asked, when none fits."""
        if self.found:
            return await self.shown(lead=f"{why}. This was found so far.", degraded=True)
        self.way = "degraded"
        readable = gate.readable(self._provider.tools, self.toolbox.connection)
        router = _router(self._provider.tools, (self._provider.id, self._provider.title))
        chosen = best_reads(prompt, readable, router, _catalog(tuple(readable)))
        if self.ask.dry_run:
            return self._said(
                self._rehearsal([(self._provider.by_name[read.tool], read.args) for read in chosen]), degraded=True
            )
        missed = ""
        ran = await asyncio.gather(*(self._best(read) for read in chosen), return_exceptions=True)
        for each in ran:
            match each:
                case Found():
                    self.found.append(each)
                case Missed(sentence):
                    missed = missed or sentence
                case BaseException() if isinstance(each, Invitation) or not isinstance(each, Failure):
                    raise each
        if self.found:
            sure = "I am not sure that this is what was asked: it is what the closest reads found."
            return await self.shown(lead=f"{why}. {sure}", degraded=True)
        if failed := next((each for each in ran if isinstance(each, Failure)), None):
            raise failed
        if missed:
            return self._asked_back(missed, degraded=True)
        near = [self._provider.by_name[name] for name in rank(_catalog(tuple(readable)), prompt, 3)]
        text = digest.abilities(self._provider.title, self._provider.about, readable, near, why=why)
        return self._said(text, degraded=True)

    async def _best(self, read: Read) -> Found | Missed:
        tool = self._provider.by_name[read.tool]
        found = await self._arguments(tool, read)
        if isinstance(found, Missed):
            return found
        args, _ = found
        return Found(tool, args, await self.toolbox.call(tool, args, Author.PROMPT))

    # --- one turn of a model

    async def _turn(
        self, role: Role, system: str, messages: Sequence[Message], tools: Sequence[ModelTool], max_tokens: int
    ) -> Turn:
        """Raises: ModelGone, BudgetExceeded."""
        assert self.ports.model is not None  # noqa: S101 - asked before
        toolbox, purse, ledger, name = self.toolbox, self.toolbox.purse, self.ports.ledger, self.manner.models[role]
        now = time.monotonic()
        deadline = min(now + self.manner.turn_s, purse.deadline - _SPARE_S)
        if deadline <= now:
            raise ModelGone(Why.TOO_SLOW)
        if self.breaker.wait_s(now):
            raise ModelGone(Why.UNREACHABLE)
        allowed = purse.turn(name, prompt_at_most(system, messages, tools), max_tokens, now=now)
        try:
            reservation = await ledger.reserve(toolbox.principal, allowed.amount)
        except BaseException:
            purse.unspent(allowed)
            raise
        spent: Spent | None = None
        probe = self.breaker.enter(now)
        try:
            saying = "Planning" if role is Role.CHOOSE else "Writing the answer"
            await toolbox.progress(toolbox.run_id, purse.used.calls, saying)
            with self.ports.telemetry.turn(role, name) as span:
                try:
                    turn = await self.ports.model.turn(
                        role,
                        system=system,
                        messages=messages,
                        tools=tools,
                        max_tokens=allowed.max_tokens,
                        deadline=deadline,
                    )
                    spent = turn.spent
                    self.breaker.answered(probe)
                except ModelGone as gone:
                    spent = gone.spent
                    if gone.why in _DEAD:
                        self.breaker.failed(time.monotonic())
                    raise
                finally:
                    if spent is not None:
                        span.spent(spent, self.ports.price(name, spent))
        finally:
            await asyncio.shield(ledger.settle(reservation, purse.spent(allowed, spent)))
        return turn

    def _hits(self, prompt: str) -> list[ToolSpec]:
        """The tools that the question may need, best first; for a small provider, all of them."""
        tools = self._provider.tools
        if len(tools) <= _HITS:
            return list(tools)
        verdict = route(prompt, _router(tools, (self._provider.id, self._provider.title)))
        near = verdict.closest if isinstance(verdict, Unsure) else (verdict.tool,)
        names = list(dict.fromkeys([*near, *rank(_catalog(tools), prompt, _HITS)]))[:_HITS]
        hits = [self._provider.by_name[name] for name in names]
        return hits or [tool for tool in tools if tool.effect is Effect.READ][:_HITS]

    # --- plans that are kept

    @property
    def _shapes_key(self) -> str:
        admission = self.toolbox.admission
        digested = shapes.manifest_digest(self._provider.tools)
        return f"shapes:{self.toolbox.principal.tenant_id.hex}:{admission.installation_id.hex}:{digested}"

    async def _kept_plan(self, prompt: str) -> Plan | None:
        kept = await self.ports.shared.load(self._shapes_key)
        return shapes.match(prompt, _shapes(kept), self._provider.by_name) if kept else None

    async def _keep_plan(self, plan: Plan, prompt: str) -> None:
        shape = shapes.lift(prompt, plan, self._provider.by_name)
        if shape is None:
            return
        kept = await self.ports.shared.load(self._shapes_key)
        others = [each for each in _shapes(kept) if each.text != shape.text] if kept else []
        body = json.dumps([each.payload() for each in [shape, *others][:_SHAPES]]).encode()
        await self.ports.shared.store(self._shapes_key, body, ttl_s=_SHAPES_S)

    # --- the answer

    @property
    def _account(self) -> str:
        """As whom; nobody where the provider asks for no account."""
        return "" if self._provider.access is Access.NONE else self.toolbox.connection.label

    async def shown(self, *, lead: str = "", written: str = "", degraded: bool = False) -> Answer:
        """What was found, or what a model wrote of it, bounded, with its origin; all of it is kept behind a link."""
        toolbox, ask, provider = self.toolbox, self.ask, self._provider
        body, sections = digest.filed(self.found)
        # Digits: a model reads three of them for one token, and each address costs the same.
        stored = StoredLink(f"{secrets.randbelow(10**_DIGITS):0{_DIGITS}}", len(body))
        await self.ports.shared.store(result_key(toolbox.principal, stored.id), body, ttl_s=self.manner.result_ttl_s)
        for each in self.found:
            self.memory.note(provider.tools, each.tool, each.args, each.result.data, stored.uri)
        if ask.detail == "full":
            text = digest.contents(sections, stored.uri)
        else:
            said = foreign.safe(written or self._told(), toolbox.hosts)
            text = digest.attributed(said, title=provider.title, account=self._account, written=bool(written))
        text = digest.bounded(f"{lead}\n\n{text}" if lead else text, ask.max_tokens, stored.uri)
        cited = [cite for each in self.found for cite in digest.cite(each.tool, each.result, toolbox.hosts)]
        if len(self.found) > 1:
            cited = list(dict.fromkeys(cited))[:_MOST_CITATIONS]
        return self._answer(text, tuple(cited), stored, degraded=degraded)

    def _told(self) -> str:
        """The results in their tools' words; several share the room."""
        texts = [each.result.text or digest.reading(each.result.data, room=self.ask.max_tokens) for each in self.found]
        if len(texts) == 1:
            return texts[0]
        parts = [Shown(each.tool.name, text) for each, text in zip(self.found, texts, strict=True)]
        return digest.together(parts, self.ask.max_tokens - _FOR_LEAD)

    def _asked_back(self, sentence: str, *, degraded: bool = False) -> Answer:
        """A question that names rows of the provider's."""
        text = digest.attributed(sentence, title=self._provider.title, account=self._account)
        return self._said(text, degraded=degraded)

    def _said(self, text: str, *, degraded: bool = False) -> Answer:
        """Words of ours."""
        return self._answer(text, (), None, degraded=degraded)

    def _answer(
        self, text: str, citations: tuple[Citation, ...], stored: StoredLink | None, *, degraded: bool
    ) -> Answer:
        toolbox, used = self.toolbox, self.toolbox.used
        usage = toolbox.purse.usage(time.monotonic())
        usage |= {"requests": used.requests, "bytesIn": used.bytes_in, "cacheHits": used.cache_hits}
        return Answer(
            text=text,
            telemetry_id=toolbox.run_id,
            mode=self.way,
            citations=citations,
            account_id=toolbox.connection.account_id,
            conversation=self.conversation,
            degraded=degraded,
            usage=usage,
            stored=stored,
        )

    def _rehearsal(self, calls: Sequence[tuple[ToolSpec, Mapping[str, Json]]]) -> str:
        shown = "; ".join(
            f"{tool.name} ({tool.effect.value}) with {json.dumps(dict(args), ensure_ascii=False)}"
            for tool, args in calls
        )
        where = f"In {self._provider.title}, as {digest.named(self.toolbox.connection.label)}"
        return f"Nothing was called. {where}, this would run: {foreign.safe(shown, self.toolbox.hosts) or 'nothing'}."

    def _rehearsed(self, plan: Plan) -> str:
        steps_ = plan.payload()["steps"]
        return self._rehearsal([(self._provider.by_name[step["tool"]], step["args"]) for step in steps_])


_DEAD: Final = frozenset({Why.UNREACHABLE, Why.OVERLOADED, Why.REFUSED_KEY, Why.TOO_SLOW})
"""What will not be otherwise a second later."""
_GONE: Final[Mapping[Why, str]] = {
    Why.UNREACHABLE: "The model cannot be reached",
    Why.OVERLOADED: "The model is overloaded",
    Why.RATE_LIMITED: "The model takes no more questions at the moment",
    Why.REFUSED_KEY: "The model refuses this server's key",
    Why.CUT: "The model's answer broke off",
    Why.NONSENSE: "The model gave no usable answer",
    Why.TOO_SLOW: "The model took too long",
}


def result_key(principal: Principal, result_id: str) -> str:
    """Bound to the principal: with another one's id in hand there is nothing under this key."""
    return f"result:{of(principal)}:{result_id}"


def sent(ask: Ask) -> dict[str, Json]:
    """What of an ask decides which tools it calls with what: a consent to one ask is a consent to this."""
    work = {"tool": ask.tool, "args": dict(ask.args)} if ask.mode is Mode.TOOL else {"prompt": ask.prompt}
    return {"mode": ask.mode.value, "dryRun": ask.dry_run, **work}


def _reading(found: Found, room: int) -> str:
    """A result as a person or a model reads it, in at most `room` tokens."""
    return (
        digest.bounded(found.result.text, room) if found.result.text else digest.reading(found.result.data, room=room)
    )


def _words(turn: Turn) -> str:
    """What a model's turn says. Raises: ModelGone for one that says nothing."""
    if turn.ended is Ended.REFUSED or not turn.text.strip():
        raise ModelGone(Why.NONSENSE)
    return turn.text


def _reason(failure: Failure | None) -> str:
    return failure.message if failure else ""


def _outcomes(turn: Turn, said: Mapping[str, str] | str) -> FromUser:
    """An answer to every tool the turn used."""
    texts = dict.fromkeys((use.id for use in turn.uses), said) if isinstance(said, str) else said
    return FromUser(
        tuple(ToolOutcome(use.id, texts.get(use.id, "Not done."), use.id not in texts) for use in turn.uses)
    )


@lru_cache(maxsize=256)
def _router(tools: tuple[ToolSpec, ...], names: tuple[str, ...]) -> RouterIndex:
    return compile_tools(tools, names)


@lru_cache(maxsize=256)
def _catalog(tools: tuple[ToolSpec, ...]) -> CatalogIndex:
    return read_catalog(tools)


@lru_cache(maxsize=256)
def _shapes(body: bytes) -> tuple[shapes.Shape, ...]:
    """Read once for as long as they are the same."""
    return tuple(shape for each in json.loads(body) if (shape := shapes.read_shape(each)) is not None)
