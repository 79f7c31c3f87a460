"""What the agent saves: the question set asked cold, asked again, and with the model killed on the way.

Everything runs for real on this machine: product, sandbox, database, and a model server that knows good plans. The
product's cache of results is off. Each question is asked through /mcp, and is right when its answer, or the full result
behind it, holds what the provider itself says. Run: `python -m bench gains`.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
import re
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from tempfile import TemporaryDirectory

import httpx2

from bench import calls, classical, product
from bench.catalogue import wide
from bench.model import Scripted, scripted
from bench.provider import Direct, directly, token
from bench.questions import ORG, Kind, Posed, questions
from bench.servers import LOAD_CORE, SERVER_CORE, NotServing, first_answer, free_port, started, uvicorn
from providers.catalogue import sentry
from providers.spec import Json

_ROUNDS = 15
_SIZE = re.compile(rb"content-length: *([0-9]+)", re.IGNORECASE)
Line = dict[str, object]


@dataclass(frozen=True, slots=True)
class Asked:
    """What came back."""

    text: str
    mode: str
    usage: dict[str, int]
    degraded: bool = False
    full: str = ""
    """The document behind the answer; empty when there is none."""


Ask = Callable[[str], Awaitable[Asked]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """One question, asked once."""

    posed: Posed
    asked: Asked
    turns: int
    searches: int
    """Of the turns, how many looked for tools that had not been listed."""
    tokens: int

    @property
    def right(self) -> bool:
        """Whether the answer, or the full result behind it, holds what it must."""
        return self.posed.right(self.asked.text, self.asked.full)


async def asked_all(
    posed: Sequence[Posed], ask: Ask, model: Scripted, *, killed_after: int | None = None
) -> list[Outcome]:
    """Every question in turn; with `killed_after`, the model goes once so many are answered."""
    outcomes = []
    for number, each in enumerate(posed):
        if number == killed_after:
            model.kill()
        model.now(each)
        asked = await ask(each.prompt)
        outcomes.append(Outcome(each, asked, model.heard.turns, model.heard.searches, model.heard.tokens))
    return outcomes


async def all_posed(api: Direct, *, again: bool = False) -> list[Posed]:
    """Every question, in an order that mixes their kinds."""
    posed = [await question.posed(api, again=again) for question in questions()]
    random.Random(1).shuffle(posed)  # noqa: S311 - an order, the same in every run
    return posed


# --- figures ---------------------------------------------------------------------------------------------------------


def shares(name: str, outcomes: Sequence[Outcome]) -> Line:
    """How the questions were worked, and whether they were answered rightly."""
    ways = Counter(outcome.asked.mode for outcome in outcomes)
    turns = [outcome.turns for outcome in outcomes]
    routed = [outcome.turns for outcome in outcomes if outcome.asked.mode == "route"]
    return {
        "case": "gains_ways",
        "pass": name,
        "questions": len(outcomes),
        "multi_step": sum(outcome.posed.kind is Kind.MULTI for outcome in outcomes),
        **{f"{way}_share": round(many / len(outcomes), 3) for way, many in sorted(ways.items())},
        "right_share": share(outcomes),
        "right_share_routed": share([outcome for outcome in outcomes if outcome.asked.mode == "route"]),
        "turns_mean": round(fmean(turns), 2),
        "turns_max": max(turns),
        "over_two_turns": sum(each > 2 for each in turns),  # noqa: PLR2004 - the promise
        "searched_for_tools": sum(bool(outcome.searches) for outcome in outcomes),
        "turns_max_routed": max(routed, default=0),
    }


def share(outcomes: Sequence[Outcome]) -> float:
    """Of these, how many are right."""
    return round(fmean(outcome.right for outcome in outcomes), 3) if outcomes else 1.0


def savings(name: str, provider: str, outcomes: Sequence[Outcome], tools: Sequence[Json]) -> Line:
    """Tokens a question, against the classical loop with all schemas; see `bench.classical`."""
    costs = [(outcome.tokens, classical.cost(outcome.posed, tools)) for outcome in outcomes]
    ours, theirs = (fmean(column) for column in zip(*costs, strict=True))
    thought = [(mine, other) for mine, other in costs if mine]
    return {
        "case": "gains_tokens",
        "pass": name,
        "provider": provider,
        "tools": len(tools),
        "tokens_per_question": round(ours),
        "classical_tokens_per_question": round(theirs),
        "ratio": round(theirs / ours, 1) if ours else math.inf,
        "ratio_where_a_model_was_asked": round(sum(b for _, b in thought) / sum(a for a, _ in thought), 1)
        if thought
        else math.inf,
    }


def survival(outcomes: Sequence[Outcome], killed_after: int) -> Line:
    """How many of the questions still get what is true when the model is gone."""
    left = outcomes[killed_after:]
    by_kind = {kind: [outcome for outcome in left if outcome.posed.kind is kind] for kind in Kind}
    return {
        "case": "gains_model_killed",
        "killed_after": killed_after,
        "questions_left": len(left),
        "turns_left": sum(outcome.turns for outcome in left),
        **{f"right_share_{kind}": share(some) for kind, some in by_kind.items()},
        "degraded_share": round(fmean(outcome.asked.degraded for outcome in left), 3),
    }


# --- over the wire ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Caller:
    """One person's client of one provider."""

    http: httpx2.AsyncClient
    path: str
    key: str

    async def ask(self, prompt: str) -> Asked:
        """One question, and the whole of what is behind its answer."""
        tool = f"use_{self.path.rpartition('/')[2]}"
        result = await self._post("tools/call", tool, {"name": tool, "arguments": {"prompt": prompt}})
        found = result.get("structuredContent") or {}
        if result.get("isError"):
            return Asked(f"error {found.get('error', {}).get('code')}: {found.get('text')}", "error", {})
        uris = [block["uri"] for block in result["content"] if block["type"] == "resource_link"]
        full = [await self._read(uri) for uri in uris]
        return Asked(found["text"], found["mode"], found["usage"], found.get("degraded", False), "\n".join(full))

    async def _read(self, uri: str) -> str:
        text, onward = "", uri
        while onward:
            [page] = (await self._post("resources/read", onward, {"uri": onward}))["contents"]
            text += page["text"]
            onward = page.get("_meta", {}).get("metaagent/next", "")
        return text

    async def _post(self, method: str, name: str, params: Json) -> Json:
        body, headers = calls.message(method, name, params, self.key)
        answer = await self.http.post(self.path, content=body, headers=headers)
        message = answer.raise_for_status().json()
        if "result" not in message:
            raise NotServing(f"{method}: {message}")
        return message["result"]


class Wire:
    """One connection that is kept; the same for the product and for the provider."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def to(cls, port: int) -> Wire:
        """Connect."""
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def send(self, request: bytes) -> bytes:
        """One request, and the body of its answer."""
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        size = _SIZE.search(head)
        if size is None or not head.startswith(b"HTTP/1.1 200"):
            raise NotServing(head.decode(errors="replace"))
        return await self._reader.readexactly(int(size[1]))

    def close(self) -> None:
        """Hang up."""
        self._writer.close()


async def added(
    outcomes: Sequence[Outcome], sandbox: int, bearer: str, port: int, path: str, key: str, api: Direct
) -> Line:
    """What routed answers take beyond the very requests to the provider that they are made of."""
    ours, theirs, differences = [], [], []
    for outcome in outcomes:
        if (waves := await _waves(outcome.asked, api)) is None:
            continue
        request = calls.request(port, path, key, {"prompt": outcome.posed.prompt})
        direct = [[calls.fetch(sandbox, address, bearer) for address in wave] for wave in waves]
        mine, other = await _side_by_side(port, request, sandbox, direct)
        ours.append(mine)
        theirs.append(other)
        differences.append(mine - other)
    if not ours:
        raise NotServing("No question was routed.")
    return {
        "case": "gains_routed_wait",
        "questions": len(ours),
        "left_out": len(outcomes) - len(ours),
        "p50_ms": round(median(ours), 2),
        "provider_p50_ms": round(median(theirs), 2),
        "added_p50_ms": round(median(differences), 2),
        "added_worst_ms": round(max(differences), 2),
    }


async def _side_by_side(
    port: int, request: bytes, sandbox: int, direct: Sequence[Sequence[bytes]]
) -> tuple[float, float]:
    """How long the product takes for `request`, and the provider for what it comes down to; in turn, the middle."""
    to_product, to_provider = await Wire.to(port), [await Wire.to(sandbox) for _ in range(max(map(len, direct)))]
    mine, other = [], []
    for _ in range(_ROUNDS):
        mine.append(await _timed(to_product.send(request)))
        other.append(await _timed(_in_waves(direct, to_provider)))
    for wire in (to_product, *to_provider):
        wire.close()
    return median(mine), median(other)


async def _waves(asked: Asked, api: Direct) -> list[list[str]] | None:
    """The requests behind a routed answer, those that went together side by side; None when they are not known."""
    known = {tool.name: tool for tool in sentry.TOOLS}
    [(tool, args)] = _reads(json.loads(asked.full))
    api.waves.clear()
    if "org" in args:
        await known["list_organizations"].invoke(api, {})
    await known[tool].invoke(api, args)
    missing = asked.usage["requests"] - sum(map(len, api.waves))
    if missing == 1:  # the projects were listed to find the one that was named
        await known["list_projects"].invoke(api, {"org": ORG})
    waves = [list(wave) for wave in api.waves]
    return waves if sum(map(len, waves)) == asked.usage["requests"] else None


def _reads(document: Json) -> list[tuple[str, Mapping[str, Json]]]:
    """The calls that a full result says it came from."""
    match document:
        case {"tool": str(tool), "arguments": dict(args)}:
            return [(tool, args)]
        case dict():
            return [read for part in document.values() for read in _reads(part)]
        case list():
            return [read for part in document for read in _reads(part)]
        case _:
            return []


async def _in_waves(waves: Sequence[Sequence[bytes]], wires: Sequence[Wire]) -> None:
    for wave in waves:
        await asyncio.gather(*(wire.send(request) for wire, request in zip(wires, wave, strict=False)))


async def _timed(work: Awaitable[object]) -> float:
    began = time.perf_counter()
    await work
    return (time.perf_counter() - began) * 1e3


# --- the run ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Stage:
    """Everything that runs."""

    port: int
    sandbox: int
    bearer: str
    accounts: Sequence[product.Account]

    @asynccontextmanager
    async def caller(self, provider: str, tenant: int = 0) -> AsyncIterator[Caller]:
        """A client of this tenant's, of this provider's."""
        [mine] = [each for each in self.accounts if each.path == f"/mcp/tenant-{tenant}/{provider}"]
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{self.port}", timeout=60, trust_env=False) as http:
            yield Caller(http, mine.path, mine.key)


def staged(stack: ExitStack, model: Mapping[str, str]) -> Stage:
    """Sandbox, database and product, up; `model` are the product's settings of its model. Raises: NotServing."""
    folder = Path(stack.enter_context(TemporaryDirectory(prefix="gains-")))
    sandbox = free_port()
    command = [*uvicorn("providers.sandbox.app:create_app", sandbox), "--factory"]
    provider = stack.enter_context(started("sandbox", command, sandbox, core=LOAD_CORE))
    first_answer(provider, calls.fetch(sandbox, "/_stats", ""))
    bearer = token(f"http://127.0.0.1:{sandbox}")
    port = free_port()
    settings = {
        **product.environment(folder, port, sandbox, stack.enter_context(product.database())),
        "BENCH_PROVIDERS": "sentry wide",
        "BENCH_PEOPLE": "1",
        "BENCH_TOKEN": bearer,
        **model,
    }
    accounts = product.accounts(settings)
    command = uvicorn("bench.widened:application", port)
    server = stack.enter_context(started("metaagent", command, port, core=SERVER_CORE, environment=settings))
    first_answer(server, calls.fetch(port, "/healthz", ""))
    return Stage(port, sandbox, bearer, accounts)


def gains(*, quick: bool = False) -> Iterator[Line]:
    """All figures, as they are known; `quick` leaves the large provider out. Raises: NotServing."""
    with ExitStack() as stack:
        model = stack.enter_context(scripted())
        stage = staged(stack, {"ANTHROPIC_BASE_URL": model.url, "ANTHROPIC_API_KEY": "none"})
        yield from drained(_gains(stage, model, quick=quick))


def drained(lines: AsyncIterator[Line]) -> Iterator[Line]:
    """Lines of something asynchronous."""
    with asyncio.Runner() as runner:
        while (line := runner.run(anext(lines, None))) is not None:
            yield line


async def _gains(stage: Stage, model: Scripted, *, quick: bool) -> AsyncIterator[Line]:
    with directly(f"http://127.0.0.1:{stage.sandbox}", stage.bearer) as api:
        first, again = await all_posed(api), await all_posed(api, again=True)
        providers = {"sentry": sentry.TOOLS, **({} if quick else {"wide": wide.PROVIDER.tools})}
        for provider, specs in providers.items():
            tools = classical.tools_of(specs)
            async with stage.caller(provider) as caller:
                cold = await asked_all(first, caller.ask, model)
                warm = await asked_all(again, caller.ask, model)
            for name, outcomes in (("cold", cold), ("warm", warm)):
                _name_wrong(f"{provider} {name}", outcomes)
                yield {**shares(name, outcomes), "provider": provider}
                yield savings(name, provider, outcomes, tools)
            if provider == "sentry":
                routed = [outcome for outcome in cold if outcome.asked.mode == "route" and outcome.asked.full]
                yield await added(routed, stage.sandbox, stage.bearer, stage.port, caller.path, caller.key, api)
        killed_after = len(first) // 3
        async with stage.caller("sentry", tenant=1) as caller:
            outcomes = await asked_all(first, caller.ask, model, killed_after=killed_after)
        _name_wrong("model killed", outcomes)
        yield survival(outcomes, killed_after)
        await api.http.aclose()


def _name_wrong(name: str, outcomes: Sequence[Outcome]) -> None:
    """For whoever wants to make it better; figures alone do not say where."""
    for outcome in outcomes:
        if not outcome.right:
            print(f"wrong ({name}, {outcome.asked.mode}): {outcome.posed.prompt}", file=sys.stderr)
