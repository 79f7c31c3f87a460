"""Tools bound to one connection, the same for every step of every ask.

validate → gate → approval → consent → budget → intent → token → cache → limits → provider → outcome
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Literal

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from metaagent.agent import foreign, gate
from metaagent.agent.budget import Purse
from metaagent.agent.cache import Kept, Results
from metaagent.agent.failures import (
    ApprovalRequired,
    AskInvalid,
    CapabilityMiss,
    ExportHidden,
    Failure,
    NeedsAuth,
    PolicyDenied,
    ProviderUnavailable,
    RateLimited,
)
from metaagent.agent.gate import Author
from metaagent.agent.ports import AccessToken, NoToken, Ports, Progress
from metaagent.agent.types import Admission, Amount, ConnectionRef, Fact, Intent, Lane, Principal, Proposed
from providers.errors import (
    BadArguments,
    EgressDenied,
    Forbidden,
    NotFound,
    Questioned,
    TokenRejected,
    ToolError,
    TooManyRequests,
)
from providers.limits import counting
from providers.spec import Effect, Json, Result, ToolSpec

_ONE = Amount(calls=1)
_NAME = re.compile(r"[\w.-]{1,80}")


@dataclass(slots=True)
class Used:
    """What a call came to, or all calls of an ask so far."""

    requests: int = 0
    bytes_in: int = 0
    cache_hits: int = 0
    token_version: int = 0
    """Of the token that a call was made with; 0: none was had."""

    def add(self, other: Used) -> None:
        """Count what another call came to."""
        self.requests += other.requests
        self.bytes_in += other.bytes_in
        self.cache_hits += other.cache_hits


@dataclass(frozen=True, slots=True)
class Write:
    """A call that changes something at the provider. It is carried out to its end even when nobody waits for it."""

    tool: ToolSpec
    args: Mapping[str, Json]
    result: asyncio.Task[Result]


@dataclass(slots=True)
class Toolbox:
    """The tools of one run, acting as one account."""

    ports: Ports
    results: Results
    principal: Principal
    admission: Admission
    connection: ConnectionRef
    run_id: str
    prompt: str
    """What the person asked: an address that stands in it may be given to a tool."""
    purse: Purse
    progress: Progress
    write_s: float
    """How long a write may take, whoever still waits for it."""
    taken: frozenset[Effect] = frozenset()
    """What the person allowed this one run."""
    used: Used = field(default_factory=Used)
    write: Write | None = None
    """The last one that was begun."""
    _found: dict[str, Result] = field(default_factory=dict)
    """What the reads of this run have brought: the same again is not sent again."""

    _recording: list[asyncio.Future[None]] = field(default_factory=list)

    @property
    def hosts(self) -> frozenset[str]:
        """The provider's own."""
        provider = self.admission.provider
        return foreign.own_hosts(provider.api_base, provider.web_base, self.connection.api_base)

    async def settled(self) -> None:
        """Every call's outcome is on record when this returns. Raises what the log raises.

        A read's outcome is not waited for before the next call's intent, so that both are committed together.
        """
        recording, self._recording = self._recording, []
        for each in recording:
            await each

    async def call(self, tool: ToolSpec, args: Mapping[str, Json], author: Author) -> Result:
        """Run one tool with the caller's own rights. Raises: Failure, TimeoutError.

        A caller that is cancelled ends a read at once; a write goes on, and its outcome is recorded.
        """
        check_arguments(tool, args, quoting=author is Author.CLIENT)
        if missed := gate.allowed(tool, self.connection, self.admission):
            raise missed
        if gate.needs_approval(tool, args, author, prompt=self.prompt, hosts=self.hosts):
            provider, call = self.admission.provider, Proposed(self.connection.id, tool.name, dict(args))
            raise ApprovalRequired(provider.id, tool.name, gate.one_line(tool.summary), provider.title, call)
        await self._hold_to_consent(tool, author)
        self.purse.call(tool.name, args, writes=tool.effect is not Effect.READ)
        await self.ports.ledger.settle(await self.ports.ledger.reserve(self.principal, _ONE), _ONE)
        title = self.admission.provider.title
        await self.progress(self.run_id, self.purse.used.calls, f"Asking {title}: {tool.name}")
        fact = Fact(
            "tool.intent",
            self.principal,
            self.run_id,
            self.admission.provider.id,
            self.connection.id,
            tool.name,
            args,
            detail={"effect": tool.effect.value, "by": author.value},
        )
        intent = await self.ports.audit.intent(fact)
        if tool.effect is Effect.READ:
            return await self._recorded(tool, args, fact, intent)
        self.write = Write(tool, args, asyncio.create_task(self._recorded(tool, args, fact, intent)))
        return await asyncio.shield(self.write.result)

    async def _recorded(self, tool: ToolSpec, args: Mapping[str, Json], fact: Fact, intent: Intent) -> Result:
        began, used = time.perf_counter(), Used()
        try:
            with self.ports.telemetry.tool(tool.name, tool.effect) as span:
                if tool.effect is Effect.READ:
                    result = await self._read(tool, args, used)
                else:
                    async with asyncio.timeout(self.write_s):
                        result = await self._write(tool, args, used)
                if used.cache_hits:
                    span.cached()
        except BaseException as error:
            # Cancellation too: whatever ended the call, its intent gets an outcome.
            await self._outcome(fact, "tool.failed", intent, began, used, code=_code(error))
            if isinstance(error, ToolError):
                raise self._failure(tool, error) from None
            raise
        await self._outcome(fact, "tool.done", intent, began, used, bytes_out=len(result.text))
        return result

    async def _hold_to_consent(self, tool: ToolSpec, author: Author) -> None:
        """By what stands at this moment; before anybody is asked, it is read afresh. Raises: NeedsConsent."""
        for fresh in (False, True):
            admission = await self.ports.admissions.admit(self.principal, self.admission.provider.id, fresh=fresh)
            if admission is None:
                raise ExportHidden
            asked = None
            if author is not Author.PERSON:  # who approves exactly this call consents to it
                asked = gate.consented(
                    tool,
                    admission,
                    self.connection,
                    client=self.principal.client,
                    taken=self.taken,
                    now=datetime.now(UTC),
                )
            if asked is None:
                return
            if fresh:
                raise asked

    async def _read(self, tool: ToolSpec, args: Mapping[str, Json], used: Used) -> Result:
        """From this run, from the cache, or from the provider; who wants the same at the same time shares one call."""
        token = await self._token()
        used.token_version = token.version
        kept = Kept.of(self.principal, self.admission, self.connection, token, tool, args)
        if (found := self._found.get(kept.key)) is None:
            limits = self.admission.limits
            keep_s = counting("result_cache_s", limits.result_cache_s, tool.keep_s)
            found, hit = await self.results.get(kept, keep_s, lambda: self._invoke(token, tool, args, used))
            self._found[kept.key] = found
            used.cache_hits += hit
        else:
            used.cache_hits += 1
        return found

    async def _write(self, tool: ToolSpec, args: Mapping[str, Json], used: Used) -> Result:
        """To the provider. Whatever came of it, nothing read before it is given again."""
        token = await self._token()
        used.token_version = token.version
        self._found.clear()
        try:
            return await self._invoke(token, tool, args, used)
        finally:
            self._found.clear()
            await self.results.changed(self.connection)

    async def _token(self, *, rejected: AccessToken | None = None) -> AccessToken:
        try:
            return await self.ports.tokens.access_token(self.connection.id, rejected=rejected)
        except NoToken as none:
            raise self._needs_auth(none.reason) from None

    def _needs_auth(self, reason: str) -> NeedsAuth:
        provider = self.admission.provider
        return NeedsAuth(provider.id, reason, gate.scopes_for(self.admission, self.connection), provider.title)

    async def _invoke(self, token: AccessToken, tool: ToolSpec, args: Mapping[str, Json], used: Used) -> Result:
        """One refusal of the token is answered with a new one. Raises: ToolError, Failure."""
        try:
            return await self._within_limits(token, tool, args, used)
        except TokenRejected:
            token = await self._token(rejected=token)
            used.token_version = token.version
            try:
                return await self._within_limits(token, tool, args, used)
            except TokenRejected:
                await self.ports.tokens.give_up(self.connection.id, token)
                raise self._needs_auth("revoked") from None

    async def _within_limits(self, token: AccessToken, tool: ToolSpec, args: Mapping[str, Json], used: Used) -> Result:
        admission, provider = self.admission, self.admission.provider
        tenant_id, installation_id = self.principal.tenant_id, admission.installation_id
        lane = Lane(tenant_id, installation_id, self.connection.id, provider.id, admission.limits)
        api = self.ports.dial(provider, token, self.connection)
        granted = await self.ports.traffic.enter(lane, provider.title)
        failed: BaseException | None = None
        try:
            return await tool.invoke(api, args)
        except BaseException as error:
            failed = error
            raise
        finally:
            used.requests += api.calls
            used.bytes_in += api.bytes_in
            await self.ports.traffic.leave(granted, failed)

    async def _outcome(
        self,
        fact: Fact,
        kind: Literal["tool.done", "tool.failed"],
        intent: Intent,
        began: float,
        used: Used,
        **detail: str | int,
    ) -> None:
        self.used.add(used)
        stated = {
            "ms": round((time.perf_counter() - began) * 1_000),
            "requests": used.requests,
            "bytes_in": used.bytes_in,
            **({"cached": True} if used.cache_hits else {}),
            **({"token_version": used.token_version} if used.token_version else {}),
            **({"micros": micros} if (micros := self.purse.used.micros) else {}),  # of the ask's model, so far
            **detail,
        }
        outcome = Fact(
            kind,
            fact.principal,
            fact.run_id,
            fact.provider_id,
            fact.connection_id,
            fact.tool,
            intent=intent,
            detail=stated,
        )
        recorded = asyncio.ensure_future(self.ports.audit.outcome(outcome))
        recorded.add_done_callback(_looked_at)
        self._recording.append(recorded)
        if fact.detail["effect"] != Effect.READ.value:
            await recorded

    def _failure(self, tool: ToolSpec, error: ToolError) -> Failure:
        """How a tool's failure leaves when nothing else can be tried."""
        provider = self.admission.provider
        match error:
            case TooManyRequests(retry_after_s=wait):
                return RateLimited(wait, "provider")
            case NotFound() | BadArguments():
                return AskInvalid(error.message)
            case Forbidden(scopes=named):
                missing = named or tuple(sorted(tool.scopes))
                return CapabilityMiss(provider.id, tool.name, missing, provider.title)
            case Questioned():
                return PolicyDenied(error.message)
            case EgressDenied():
                return ProviderUnavailable(
                    provider.id, f"{provider.title}'s address is not one this server connects to."
                )
            case _:
                return ProviderUnavailable(provider.id, error.message)


def check_arguments(tool: ToolSpec, args: Mapping[str, Json], *, quoting: bool = True) -> None:
    """Hold arguments to the tool's schema. Raises: AskInvalid, naming the argument and what it should be.

    Without `quoting` no name is repeated that the schema does not have: it may be a model's, which has read anything.
    """
    if _surely_fit(tool, args):
        return
    if tool.whole is not None and _deeper(args, _MOST_DEPTH):  # a schema that goes in circles would be tried for ever
        raise AskInvalid(f"options.args is nested more than {_MOST_DEPTH} levels deep.")
    problem = best_match(_validator(tool).iter_errors(dict(args)))
    if problem is None:
        return
    where = ".".join(part if _NAME.fullmatch(part := str(each)) else "…" for each in problem.absolute_path)
    unknown = problem.validator in {"additionalProperties", "unevaluatedProperties"}
    why = _say(problem.validator, problem.validator_value, problem.message)
    if unknown and not quoting:
        why = "it takes no such argument"
    raise AskInvalid(
        f"options.args does not fit {tool.name}{f' at {where}' if where else ''}: {why}. It takes: {signature(tool)}."
    )


_MOST_DEPTH = 16


def _deeper(value: Json, most: int) -> bool:
    """Whether a value has more than so many levels."""
    inside = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    return most < 0 or any(_deeper(each, most - 1) for each in inside)


_ROOT = frozenset(
    {"type", "properties", "required", "additionalProperties", "$defs", "$schema", "description", "title"}
)
"""What the root of a schema may hold for `_surely_fit` to know all of its rules."""
_TYPES = {"string": str, "integer": int, "boolean": bool}
_SAYS_NOTHING = frozenset({"type", "description", "default", "title"})
"""Keywords that hold no further rule once the type is right."""


def _surely_fit(tool: ToolSpec, args: Mapping[str, Json]) -> bool:
    """True without a doubt: every argument known, of a plain type, and within bounds that need no validator.

    Most calls are such, and the validator costs them more than anything else that is decided about them.
    """
    if tool.whole is not None and not tool.whole.keys() <= _ROOT:
        return False
    return tool.required <= args.keys() and all(
        (schema := tool.params.get(name)) is not None
        and type(value) is _TYPES.get(str(schema.get("type")))
        and all(_within(rule, bound, value) for rule, bound in schema.items() if rule not in _SAYS_NOTHING)
        for name, value in args.items()
    )


def _within(rule: str, bound: Json, value: Json) -> bool:
    match rule:
        case "minLength":
            return bool(len(value) >= bound)
        case "maxLength":
            return bool(len(value) <= bound)
        case "minimum":
            return bool(value >= bound)
        case "maximum":
            return bool(value <= bound)
        case "enum":
            return bool(value in bound)
        case _:
            return False


def signature(tool: ToolSpec) -> str:
    """A tool's arguments in one line: `org, query?, limit?`."""
    return ", ".join(name if name in tool.required else f"{name}?" for name in tool.params) or "no arguments"


@lru_cache(maxsize=4_096)
def _validator(tool: ToolSpec) -> Draft202012Validator:
    return Draft202012Validator(tool.schema)


def _say(keyword: object, value: object, message: str) -> str:
    """Why a value does not fit, without repeating a long value."""
    match keyword:
        case "required" | "additionalProperties":
            return message[:200]
        case "enum":
            return f"it must be one of {value}"
        case "type":
            return f"it must be of type {value}"
        case _:
            return f"{keyword} must be {value}"


def _looked_at(recorded: asyncio.Future[None]) -> None:
    """Who waits is told; where nobody does any more, the log has said what went wrong."""
    if not recorded.cancelled():
        recorded.exception()


def _code(error: BaseException) -> str:
    if isinstance(error, asyncio.CancelledError):
        return "cancelled"
    if isinstance(error, TimeoutError):
        return "deadline"
    return getattr(error, "code", None) or type(error).__name__
