"""`make peers`: the product against software not written here. 0 when every peer passed."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

import httpx2

from metaagent import demo
from tests.peers import clients, mock
from tests.peers.person import Person
from tests.peers.place import Place, Skipped, Wrong, say
from tests.services import free_port


@dataclass(frozen=True)
class Stage(demo.Stage):
    """The demo's, with one more provider it may reach: the mock."""

    mock_port: int

    @property
    def environment(self) -> dict[str, str]:
        """See `demo.Stage.environment`."""
        reachable = f"127.0.0.1:{self.sandbox_port},127.0.0.1:{self.mock_port}"
        return super().environment | {"EGRESS_ALLOW_HTTP_HOSTS": reachable}


def main() -> int:
    """Run every peer, go on after a failure, and sum up."""
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, lambda *_: sys.exit(1))  # unwinds, so that nothing started here stays behind
    try:
        place = Place.prepared()
        say(f"What each peer said is kept in {place.run}")
        verdicts = _walk(place)
    except (Wrong, demo.DemoError) as wrong:
        sys.stderr.write(f"{wrong}\n")
        return 1
    say("\n" + "\n".join(f"{verdict}  {name}" for name, verdict in verdicts.items()))
    bad = {"FAIL", "SKIP"} if os.environ.get("REQUIRE_ALL") == "1" else {"FAIL"}
    return int(not bad.isdisjoint(verdicts.values()))


def _walk(place: Place) -> dict[str, str]:
    """Every peer's verdict. Raises: Wrong, DemoError when the product itself does not start."""
    stage = Stage(
        port=free_port(),
        sandbox_port=free_port(),
        mock_port=free_port(),
        var=place.run / "product",
        password="correct horse battery",
    )
    verdicts = {}
    with ExitStack() as up:
        key = up.enter_context(demo._running(stage))
        person = Person(stage.url, demo.EMAIL, stage.password)
        for peer in clients.peers(place, f"{stage.url}/mcp/acme/sentry", key):
            verdicts[peer.name] = _verdict(peer.name, partial(clients.walk, place, peer, person))
        counted = httpx2.get(f"{stage.sandbox}/_stats", trust_env=False).json()
        say("\nThe sandbox counted: " + ", ".join(f"{n} {what}" for what, n in counted.items() if isinstance(n, int)))

        def mocked() -> None:
            url = up.enter_context(mock.served(place, stage.mock_port, free_port()))
            mock.walk(place, stage, person, url)

        name = "Prism with Sentry's own document, oidc-provider for its tokens"
        verdicts[name] = _verdict(name, mocked)
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
