"""`make conformance`: the official MCP suite against the product. 0 when nothing failed but what the baseline lists."""

from __future__ import annotations

import asyncio
import re
import signal
import subprocess
import sys
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from metaagent import demo
from tests.conformance import authorization, report
from tests.conformance.proxy import BearerProxy
from tests.peers.place import Place, Wrong, hold, say
from tests.services import free_port

HERE = Path(__file__).resolve().parent
SUITE = "@modelcontextprotocol/conformance"
_PATIENCE_S = 600

BASELINED = "2025-11-25"
# Not required, because the suite's own reference server does not pass them or they came later. We do.
ALSO = {
    "2025-11-25": ("server-session-lifecycle", "json-schema-2020-12"),
    "2026-07-28": ("http-header-validation", "http-custom-header-server-validation", "json-schema-2020-12"),
}
# What the suite can look at on a server that has none of its tools.
OWN = {
    "2025-11-25": (
        "server-initialize",
        "server-session-lifecycle",
        "ping",
        "tools-list",
        "resources-list",
        "server-sse-multiple-streams",
        "dns-rebinding-protection",
    ),
    "2026-07-28": (
        "server-stateless",
        "tools-list",
        "resources-list",
        "caching",
        "server-sse-multiple-streams",
        "sep-2164-resource-not-found",
        "dns-rebinding-protection",
        "http-header-validation",
        "input-required-result-unsupported-methods",
    ),
}
# Of those, what is about prompts, which the product has none of, and about a tool of the suite that changes the list.
ABSENT: dict[str, tuple[str, ...]] = {
    "2025-11-25": (),
    "2026-07-28": (
        "caching:sep-2549-prompts-list-caching-hints",
        "server-stateless:sep-2575-server-sends-tools-list-changed-on-subscription",
    ),
}


@dataclass(frozen=True)
class Stage(demo.Stage):
    """The demo's, behind a proxy: the product is told that the proxy's address is its own."""

    public_port: int

    @property
    def public_url(self) -> str:
        """Where clients find it."""
        return f"http://127.0.0.1:{self.public_port}"

    @property
    def environment(self) -> dict[str, str]:
        """See `demo.Stage.environment`."""
        return super().environment | {"PUBLIC_URL": self.public_url}


@dataclass(frozen=True, slots=True)
class Leg:
    """The suite at one revision against one server."""

    name: str
    url: str
    revision: str
    counted: Collection[str]
    excused: Collection[str]
    equipped: bool
    """Whether the server has the suite's tools: then all runs that the revision requires, else what is counted."""

    @property
    def runs(self) -> Iterator[tuple[str, ...]]:
        """The arguments of each run of the suite."""
        if self.equipped:
            yield "--requirements", self.revision
        else:
            for scenario in self.counted:
                yield "--scenario", scenario, "--spec-version", self.revision, "--force"


def main() -> int:
    """Every leg, also after one that failed."""
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, lambda *_: sys.exit(1))  # unwinds, so that nothing started here stays behind
    try:
        place = Place.prepared(HERE)
        say(f"{SUITE} {place.version(SUITE)}; what it said is kept in {place.run}")
        verdicts = _walk(place)
    except (Wrong, demo.DemoError, ValueError) as wrong:
        sys.stderr.write(f"{wrong}\n")
        return 1
    say("\n" + "\n".join(f"{'PASS' if held else 'FAIL'}  {name}" for name, held in verdicts.items()))
    return int(not all(verdicts.values()))


def _walk(place: Place) -> dict[str, bool]:
    """Whether each leg held. Raises: Wrong, DemoError when the product itself does not start."""
    stage = Stage(
        port=free_port(),
        sandbox_port=free_port(),
        var=place.run / "product",
        password="correct horse battery",
        public_port=free_port(),
    )
    equipped = replace(stage, port=free_port(), public_port=free_port())
    with ExitStack() as up:
        up.enter_context(demo._running(stage))
        up.enter_context(_equipped(equipped))
        key = demo._manage(stage, "client_key_create", "acme", demo.EMAIL, "--name", "conformance")["key"]
        for each in (stage, equipped):
            up.enter_context(BearerProxy(each.port, key, port=each.public_port))
        asyncio.run(_asked(f"{stage.public_url}/mcp/acme/sentry"))
        verdicts = {leg.name: _held(place, leg) for leg in _legs(place, stage, equipped)}
        verdicts["the authorization server"] = _authorizes(place, stage)
        return verdicts


async def _asked(endpoint: str) -> None:
    """One call of the product's own tool, so that there is a resource to list and read."""
    async with (
        httpx2.AsyncClient(trust_env=False) as http,
        Client(streamable_http_client(endpoint, http_client=http)) as client,
    ):
        await client.call_tool("use_sentry", {"prompt": demo.QUESTION})
        listed = await client.list_resources()
    hold(bool(listed.resources), "a call of the product's tool left no resource")


def _legs(place: Place, stage: Stage, equipped: Stage) -> Iterator[Leg]:
    known = report.baseline(HERE / "baseline.yml")
    tools, own = f"{equipped.public_url}/mcp/acme", f"{stage.public_url}/mcp/acme/sentry"
    for revision, scenarios in OWN.items():
        counted = (*_required(place, revision), *ALSO[revision])
        excused = known if revision == BASELINED else ()
        yield Leg(f"{revision}, the suite's tools in the product", tools, revision, counted, excused, equipped=True)
        yield Leg(f"{revision}, the product's tools", own, revision, scenarios, ABSENT[revision], equipped=False)


@contextmanager
def _equipped(stage: Stage) -> Iterator[None]:
    """The product with the suite's tools, beside the product itself and on the same database."""
    server = ("tests.conformance.serve:application", "--port", str(stage.port))
    process = demo._start(stage, "equipped", "-m", "uvicorn", *server, "--no-access-log", "--log-level", "warning")
    try:
        demo._await(stage, f"{stage.url}/healthz", process, "equipped")
        yield
    finally:
        process.terminate()
        process.wait(15)


def _required(place: Place, revision: str) -> list[str]:
    """The server scenarios that conforming to a revision takes. Raises: Wrong."""
    section = re.search(r"Server scenarios.*\n((?: +- .*\n)+)", _suite(place, "list", "--requirements", revision))
    hold(section is not None, f"the suite does not say what {revision} requires")
    return re.findall(r"- ([\w-]+)", section[1]) if section else []


def _held(place: Place, leg: Leg) -> bool:
    say(f"\n{leg.name}")
    out = place.run / re.sub(r"\W+", "-", leg.name)
    with place.said(out.name).open("w", encoding="utf-8") as kept:
        for run in leg.runs:
            kept.write(_suite(place, "server", "--url", leg.url, *run, "--output-dir", str(out)))
    return _judged(report.read(out, untestable=leg.equipped), leg.counted, leg.excused)


def _authorizes(place: Place, stage: Stage) -> bool:
    say("\nThe authorization server")
    out = place.run / "authorization"
    person = authorization.Person(demo.EMAIL, stage.password)
    try:
        said = authorization.run(place, stage.public_url, f"{stage.public_url}/mcp/acme/sentry", person, out)
    except (Wrong, LookupError) as wrong:
        say(f"   {wrong}")
        return False
    place.said(out.name).write_text(said, encoding="utf-8")
    return _judged(report.read(out), authorization.SCENARIOS, ())


def _judged(found: report.Found, counted: Collection[str], excused: Collection[str]) -> bool:
    problems = report.wrong(found, counted, excused)
    for line in (*report.lines(found, counted, excused), *problems):
        say(f"   {line}")
    return not problems


def _suite(place: Place, *words: str) -> str:
    """What the suite printed. Its exit code does not count: what it wrote is judged here."""
    try:
        done = subprocess.run(
            place.node("conformance", *words),
            env=place.environment,
            cwd=place.run,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_PATIENCE_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"It did not end within {_PATIENCE_S} s.\n"
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
