"""Measures the product beside the bare SDK server and a raw ASGI endpoint, and prints one JSON object a line.

All take turns within each round, and whoever is not measured is stopped, so that a busy machine slows all alike:
CPU time per call against the bare server is the figure to compare between runs. After that: what the agent saves, see
`bench.gains`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path
from statistics import median
from typing import TypeAlias

import uvloop

from bench import calls, product, stub
from bench.gains import gains
from bench.load import BadAnswer, Window, measured_calls
from bench.servers import LOAD_CORE, SERVER_CORE, NotServing, Server, first_answer, free_port, started, uvicorn


@dataclass(frozen=True, slots=True)
class Case:
    """A call, and how long the provider takes for it."""

    delay_ms: int
    handshake: bool = False
    """In the wire of 2025-11-25 with a session id; else of 2026-07-28."""
    paced: bool = False
    """Measured at a pace too."""
    remote: bool = False
    """The provider is an MCP server."""


CASES = {
    "tool_instant": Case(0),
    "tool_50ms": Case(50, paced=True),
    "tool_instant_2025": Case(0, handshake=True),
    "tool_50ms_2025": Case(50, handshake=True, paced=True),
    "mcp_provider": Case(0, remote=True),
}
_PER_S, _PACED_CALLERS = 500, 128
PRODUCT, BARE, RAW, PROVIDER = "metaagent", "bare_sdk", "raw_asgi", "provider"
_STARTS = 3
_SETTLE_S, _PRODUCT_SETTLES_S = 0.3, 1.2
"""What goes before a measurement. What the product may remember for a second ran out while it was stopped: measured
right away, every call would ask the database again."""
_WARM_CALLERS, _WARM_S = 8, 1

Windows: TypeAlias = dict[str, list[Window]]
"""What was measured of each server, round by round."""


@dataclass(frozen=True, slots=True)
class Target:
    """A server, and what it is sent."""

    server: Server
    requests: Callable[[Case], Sequence[bytes]]
    settle_s: float = _SETTLE_S


@dataclass(slots=True)
class Bench:
    """All servers of a run."""

    targets: dict[str, Target] = field(default_factory=dict)
    cold_start_s: list[float] = field(default_factory=list)

    def round(
        self, case: Case, callers: int, seconds: float, *, per_s: float | None = None
    ) -> Iterator[tuple[str, Window]]:
        """Measure each server once, the others stopped. Raises: BadAnswer."""
        for name, target in self.targets.items():
            if per_s and name not in {PRODUCT, PROVIDER}:
                continue
            with self._alone(name):
                yield (
                    name,
                    uvloop.run(
                        measured_calls(
                            target.server.port,
                            target.requests(case),
                            callers=callers,
                            settle_s=target.settle_s,
                            seconds=seconds,
                            marker=stub.MARKER.encode(),
                            cpu=target.server.cpu_s,
                            per_s=per_s,
                        )
                    ),
                )

    @contextmanager
    def _alone(self, name: str) -> Iterator[None]:
        others = [target.server for other, target in self.targets.items() if other not in {name, PROVIDER}]
        for server in others:
            server.stop()
        try:
            yield
        finally:
            for server in others:
                server.go_on()


@contextmanager
def everything(starts: int, samples: Path | None) -> Iterator[Bench]:
    """All servers of a run, warm, each known to answer as it should. Raises: NotServing, BadAnswer."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        bench = Bench()

        port = free_port()
        provider = stack.enter_context(started(PROVIDER, ["-m", "bench.stub", str(port)], port, core=LOAD_CORE))
        first_answer(provider, calls.direct(port, delay_ms=0))

        port = free_port()
        database = stack.enter_context(product.database())
        settings = product.environment(folder, port, provider.port, database, samples)
        settings |= {"BENCH_PROVIDERS": f"sentry {product.REMOTE}"}
        everybody = product.accounts(settings)
        random.Random(1).shuffle(everybody)  # noqa: S311 - an order, the same in every run
        remote = [each for each in everybody if each.path.endswith(f"/{product.REMOTE}")]
        accounts = [each for each in everybody if each not in remote]

        first = calls.call(port, accounts[0].path, accounts[0].key, delay_ms=0)
        ours, answer = product_started(stack, bench, settings, port, first, starts)
        sessions = [calls.opened(port, each.path, each.key) for each in accounts]

        def to_product(case: Case) -> list[bytes]:
            if case.remote:
                tool = f"use_{product.REMOTE}"
                return [calls.call(port, each.path, each.key, delay_ms=case.delay_ms, tool=tool) for each in remote]
            return [
                calls.call(
                    port,
                    each.path,
                    each.key,
                    delay_ms=case.delay_ms,
                    session=session if case.handshake else None,
                )
                for each, session in zip(accounts, sessions, strict=True)
            ]

        bench.targets[PRODUCT] = Target(ours, to_product, _PRODUCT_SETTLES_S)

        constant = {"BENCH_ANSWER_BYTES": str(len(answer)), "BENCH_ANSWER_FILE": str(folder / "answer")}
        for name in (BARE, RAW):
            server = stack.enter_context(
                started(
                    name, uvicorn(f"bench.{name}:app", at := free_port()), at, core=SERVER_CORE, environment=constant
                )
            )
            answer = first_answer(server, same_call(at)(Case(0))[0])
            (folder / "answer").write_bytes(answer)
            bench.targets[name] = Target(server, same_call(at))
        bench.targets[PROVIDER] = Target(
            provider,
            lambda case: [
                (calls.direct_mcp if case.remote else calls.direct)(provider.port, delay_ms=case.delay_ms),
            ],
        )
        for _ in bench.round(Case(0), _WARM_CALLERS, _WARM_S):
            pass
        if samples:
            ours.process.send_signal(signal.SIGUSR1)
        yield bench


def gathered(rounds: int, measure: Callable[[], Iterator[tuple[str, Window]]]) -> Windows:
    """What `rounds` rounds give of each server."""
    windows: Windows = {}
    for _ in range(rounds):
        for name, window in measure():
            windows.setdefault(name, []).append(window)
    return windows


def same_call(port: int) -> Callable[[Case], Sequence[bytes]]:
    """The product's call for a server that asks for no key, serves one path and keeps no session."""
    return lambda case: [
        calls.call(port, "/mcp", "nobody", delay_ms=case.delay_ms, session="" if case.handshake else None)
    ]


def product_started(
    stack: ExitStack, bench: Bench, settings: Mapping[str, str], port: int, request: bytes, starts: int
) -> tuple[Server, bytes]:
    """The product, started `starts` times from nothing, and its answer; the last one stays."""
    command = uvicorn(product.application(settings), port)
    for start in range(starts):
        with ExitStack() as once:
            began = time.perf_counter()
            server = once.enter_context(started(PRODUCT, command, port, core=SERVER_CORE, environment=settings))
            answer = first_answer(server, request)
            bench.cold_start_s.append(time.perf_counter() - began)
            if start == starts - 1:
                stack.enter_context(once.pop_all())
    if b'"isError":true' in answer or stub.MARKER.encode() not in answer:
        raise NotServing(f"{PRODUCT} gives a wrong answer: {answer[:1_000].decode(errors='replace')}")
    return server, answer


def measured(case: str, callers: int, windows: Windows, bench: Bench) -> Iterator[dict[str, object]]:
    """The lines of one case: a measurement a server, then the comparison."""
    for name in (PRODUCT, BARE, RAW):
        seen = windows[name]
        yield {
            "case": case,
            "concurrency": callers,
            "server": name,
            **{f"p{share}_ms": _middle(w.wait_ms(share / 100) for w in seen) for share in (50, 95, 99)},
            "calls_per_s": round(median(map(_rate, seen)), 1),
            "cpu_ms_per_call": _middle(map(_cost_ms, seen)),
            "rss_mb": round(bench.targets[name].server.rss_mb(), 1),
        }
    ours, bare, raw, provider = (windows[name] for name in (PRODUCT, BARE, RAW, PROVIDER))
    yield {
        "case": case,
        "concurrency": callers,
        "cpu_ratio_to_bare_sdk": _middle(_cost_ms(a) / _cost_ms(b) for a, b in zip(ours, bare, strict=True)),
        "ratio_to_bare_sdk": _middle(_rate(a) / _rate(b) for a, b in zip(ours, bare, strict=True)),
        "ratio_to_raw_asgi": _middle(_rate(a) / _rate(b) for a, b in zip(ours, raw, strict=True)),
        "added_p50_ms": _middle(a.wait_ms(0.5) - b.wait_ms(0.5) for a, b in zip(ours, provider, strict=True)),
        "core_share": _middle(w.cpu_s / w.wall_s for w in ours),
    }


def paced(name: str, windows: Windows) -> dict[str, object]:
    """What the product adds to the provider's own waits when so many calls a second are due."""
    ours, provider = windows[PRODUCT], windows[PROVIDER]
    pairs = list(zip(ours, provider, strict=True))
    return {
        "case": name,
        "due_per_s": _PER_S,
        "calls_per_s": round(median(map(_rate, ours)), 1),
        **{
            f"added_p{share}_ms": _middle(a.wait_ms(share / 100) - b.wait_ms(share / 100) for a, b in pairs)
            for share in (50, 95, 99)
        },
        "core_share": _middle(w.cpu_s / w.wall_s for w in ours),
    }


def _rate(window: Window) -> float:
    return len(window.waits_ms) / window.wall_s


def _cost_ms(window: Window) -> float:
    return window.cpu_s * 1e3 / len(window.waits_ms)


def _middle(values: Iterator[float] | map[float]) -> float:
    return round(median(values), 3)


def options() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("what", nargs="?", choices=("calls", "gains"), help="one of the two (default: both)")
    parser.add_argument("--seconds", type=float, default=1.5, help="length of one measurement (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=4, help="measurements of each server (default: %(default)s)")
    parser.add_argument("--concurrency", default="1,8,32", help="callers at once (default: %(default)s)")
    parser.add_argument("--cases", default=",".join(CASES), help="which of them (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="one short round, for a first look")
    parser.add_argument(
        "--samples", type=Path, metavar="FILE", help="write where the product's CPU time goes (slows it)"
    )
    asked = parser.parse_args()
    try:
        asked.concurrency = [int(word) for word in asked.concurrency.split(",")]
    except ValueError:
        parser.error("--concurrency takes whole numbers such as 1,8,32.")
    asked.cases = asked.cases.split(",")
    if not set(asked.cases) <= CASES.keys():
        parser.error(f"--cases takes some of {', '.join(CASES)}.")
    if asked.seconds <= 0 or asked.rounds < 1 or min(asked.concurrency) < 1:
        parser.error("--seconds, --rounds and --concurrency must be above 0.")
    if asked.quick:
        asked.seconds, asked.rounds = 0.5, 1
    return asked


def call_costs(asked: argparse.Namespace) -> Iterator[dict[str, object]]:
    """What a call costs: every line, as it is known. Raises: NotServing, BadAnswer."""
    with everything(1 if asked.quick else _STARTS, asked.samples) as bench:
        yield {"case": "cold_start", "s": _middle(iter(bench.cold_start_s))}
        for name in asked.cases:
            case = CASES[name]
            for callers in asked.concurrency:
                windows = gathered(asked.rounds, partial(bench.round, case, callers, asked.seconds))
                yield from measured(name, callers, windows, bench)
            if case.paced:
                at_pace = partial(bench.round, case, _PACED_CALLERS, asked.seconds, per_s=_PER_S)
                yield paced(name, gathered(asked.rounds, at_pace))


def main() -> None:
    """Run what was asked for; a run with a wrong answer in it prints no further line and exits with 1."""
    asked = options()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it, and so would ours
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    os.sched_setaffinity(0, {LOAD_CORE})
    if SERVER_CORE == LOAD_CORE:
        print(
            "One core only: servers, load and provider share it, so only CPU per call means anything.", file=sys.stderr
        )
    try:
        for line in chain(
            call_costs(asked) if asked.what != "gains" else (),
            gains(quick=asked.quick) if asked.what != "calls" else (),
        ):
            print(json.dumps(line), flush=True)
    except (BadAnswer, NotServing) as wrong:
        sys.exit(f"The run means nothing: {wrong}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
