"""`make peers`: the product against software not written here. 0 when every peer passed."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

import httpx2

from metaagent import demo
from tests.faults.proxies import RoundRobin
from tests.peers import clients, mock, openapi, product, servers
from tests.peers.person import Person
from tests.peers.place import Place, Skipped, Wrong, say
from tests.services import free_port


def main() -> int:
    """Run every peer, go on after a failure, and sum up."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--replicas", action="store_true", help="two processes on one PostgreSQL and Redis")
    parser.add_argument("--only", default="", help="the peers whose name has this in it")
    asked = parser.parse_args()
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, lambda *_: sys.exit(1))  # unwinds, so that nothing started here stays behind
    try:
        place = Place.prepared()
        say(f"What each peer said is kept in {place.run}")
        verdicts = _walk(place, asked)
    except (Wrong, demo.DemoError) as wrong:
        sys.stderr.write(f"{wrong}\n")
        return 1
    say("\n" + "\n".join(f"{verdict}  {name}" for name, verdict in verdicts.items()))
    bad = {"FAIL", "SKIP"} if os.environ.get("REQUIRE_ALL") == "1" else {"FAIL"}
    return int(not bad.isdisjoint(verdicts.values()))


def _walk(place: Place, asked: argparse.Namespace) -> dict[str, str]:
    """Every peer's verdict. Raises: Wrong, DemoError when the product itself does not start."""
    verdicts = {}
    with ExitStack() as up:
        port = free_port()
        doors = [(each, up.enter_context(servers.Door(free_port()))) for each in servers.SERVERS]
        stage = product.Stage(
            port=port,
            sandbox_port=free_port(),
            mock_port=free_port(),
            others=tuple(door.port for _, door in doors),
            var=place.run / "product",
            password="correct horse battery",
            proxy=up.enter_context(RoundRobin(port)),
            shared=up.enter_context(product.shared()) if asked.replicas else {},
        )
        up.enter_context(product.running(stage))
        for peer in clients.peers(place, f"{stage.url}/mcp/acme/sentry"):
            person = Person(stage.url, demo.EMAIL, stage.password)
            if asked.only.lower() in peer.name.lower():
                verdicts[peer.name] = _verdict(peer.name, partial(clients.walk, place, peer, stage.proxy, person))
        counted = httpx2.get(f"{stage.sandbox}/_stats", trust_env=False).json()
        say("\nThe sandbox counted: " + ", ".join(f"{n} {what}" for what, n in counted.items() if isinstance(n, int)))

        def mocked() -> None:
            url = up.enter_context(mock.served(place, stage.mock_port, free_port()))
            mock.walk(place, stage, Person(stage.url, demo.EMAIL, stage.password), url)

        name = "Prism with Sentry's own document, oidc-provider for its tokens"
        if asked.only.lower() in name.lower():
            verdicts[name] = _verdict(name, mocked)
        for server, door in doors:
            person = Person(stage.url, demo.EMAIL, stage.password)
            if asked.only.lower() in server.name.lower():
                verdicts[server.name] = _verdict(server.name, partial(servers.walk, place, stage, person, server, door))
        name = "Every operation of five vendors' documents, at Prism"
        if asked.only.lower() in name.lower():
            verdicts[name] = _verdict(name, partial(openapi.walk, place))
        if asked.replicas:
            answered = Counter(each.target for each in stage.proxy.passed)
            say("\nThe processes answered " + " and ".join(map(str, answered.values())) + " requests")
    return verdicts


def _verdict(name: str, walk: Callable[[], None]) -> str:
    say(f"\n{name}")
    try:
        walk()
    except Skipped as skipped:
        say(f"   {skipped}\n   SKIP")
        return "SKIP"
    except Exception as wrong:  # noqa: BLE001 - however a peer fails, the others still run
        say(f"   {wrong if isinstance(wrong, Wrong) else repr(wrong)}\n   FAIL")
        return "FAIL"
    say("   PASS")
    return "PASS"


if __name__ == "__main__":
    sys.exit(main())
