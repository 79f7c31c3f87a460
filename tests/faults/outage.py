"""The database goes away while a token is being renewed, or the process is told to end: nobody is logged out.

    gone      nobody reaches it from the moment the provider has answered, for less or longer than a lease
    cut       every connection to it breaks at a random moment of a refresh
    ended     SIGTERM while the provider is being waited for

The new tokens exist only in the memory of one process then, which keeps them until they are stored: one new version,
one presentation, and calls at both processes are right as soon as the database is back. All the while both are called.
"""

from __future__ import annotations

import functools
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.faults.calls import together
from tests.faults.stage import ACCOUNTS, Member, Stage, Verdict, options, staged, until

_LATENCY_S = 0.1
_SOON_S = 60


def main() -> int:
    """Run what was asked for."""
    asked = options(__doc__, cuts=50, times=5)
    times, cuts = (1, 5) if asked.quick else (asked.times, asked.cuts)
    chance = random.Random(asked.seed)  # noqa: S311 - when to cut
    held = []
    with staged("postgresql", proxied=True, slow_database=True) as stage:
        outage = Outage(stage, stage.member("person@example.com"))
        for seconds in (5, 40):
            verdict = Verdict("outage: gone", {"database": "postgresql", "seconds": seconds, "times": times})
            for _ in range(times):
                outage.during_a_refresh(verdict, functools.partial(outage.gone, seconds))
            held.append(verdict.printed())
        verdict = Verdict("outage: cut", {"database": "postgresql", "seed": asked.seed, "times": cuts})
        for _ in range(cuts):
            outage.during_a_refresh(verdict, functools.partial(outage.cut, chance.uniform(0, 1.8)))
        held.append(verdict.printed())
        verdict = Verdict("outage: ended", {"database": "postgresql", "times": times})
        for _ in range(times):
            outage.during_a_refresh(verdict, functools.partial(outage.ended, verdict))
        held.append(verdict.printed())
    return 0 if all(held) else 1


class Outage:
    """One connection, renewed by the second replica again and again."""

    def __init__(self, stage: Stage, member: Member) -> None:
        assert stage.proxy is not None
        assert stage.database_proxy is not None
        self.stage, self.member = stage, member
        self.proxy, self.database = stage.proxy, stage.database_proxy
        self.caller = stage.caller(member, ACCOUNTS[0])
        self.connection = stage.connect(member, ACCOUNTS[0]).pk
        self.began = 0.0

    def during_a_refresh(self, verdict: Verdict, fault: Callable[[], None]) -> None:
        """One renewal with one fault."""
        stage = self.stage
        if stage.tokens(self.connection).connection.status != "ready":  # the last time did not hold
            stage.connect(self.member, ACCOUNTS[0])
        version, grant = stage.tokens(self.connection).version, self._grant()
        stage.expire([self.connection])
        stage.settled()
        stage.reset()
        self.began = time.monotonic()
        with self._called() as codes:
            fault()
            both = [(replica.port, self.caller) for replica in stage.replicas]
            soon = until(lambda: all(reply.right for reply in together(both)) or None, within_s=_SOON_S)
            back_s = time.monotonic() - self.began
        row, stats = stage.tokens(self.connection), stage.stats()
        requests = self.proxy.of_grant(grant, since=self.began)
        told = Counter(verdict.figures.get("meanwhile", {})) + codes
        verdict.figures |= {
            "meanwhile": dict(told),
            "longest_s": max(round(back_s, 1), verdict.figures.get("longest_s", 0)),
            "most_token_requests": max(len(requests), verdict.figures.get("most_token_requests", 0)),
        }
        state = row.connection.reason or row.connection.status
        verdict.hold(bool(soon), f"not answered {_SOON_S} s later: {state}")
        verdict.hold(row.version == version + 1, f"version {version} became {row.version}: {state}")
        verdict.hold(len(requests) == 1, f"{len(requests)} token requests")
        verdict.hold(stats["families_revoked"] == 0, "the family was revoked")

    def gone(self, seconds: float) -> None:
        """Nobody reaches the database from the provider's answer on."""
        self.proxy.keep_s = 0.3
        until(lambda: any(each.answered for each in self.proxy.token_requests(self.began)))
        self.database.gone()
        self.proxy.keep_s = 0
        time.sleep(seconds)
        self.database.back()

    def cut(self, after_s: float) -> None:
        """All connections to the database break at once, so long after the call came."""
        self.database.latency_s = _LATENCY_S
        time.sleep(after_s)
        self.database.cut()
        self.database.latency_s = 0

    def ended(self, verdict: Verdict) -> None:
        """The process that waits for the provider is told to end, and a fresh one takes its place."""
        self.proxy.hold_s = 3.0
        until(lambda: self.proxy.token_requests(self.began))
        replica, told = self.stage.replicas[1], time.monotonic()
        replica.signal(signal.SIGTERM)
        assert replica.process is not None
        replica.process.wait()
        verdict.hold(time.monotonic() - told < 30, f"it took {time.monotonic() - told:.0f} s to end")
        self.proxy.hold_s = 0
        replica.start()
        replica.ready()

    def _grant(self) -> str:
        """The digest of the code its tokens go back to."""
        return self.proxy.grants[self.proxy.token_requests()[-1].presented]

    @contextmanager
    def _called(self) -> Iterator[Counter[str]]:
        """The second replica is asked first, then both again and again; what they answered."""
        over, codes = threading.Event(), Counter[str]()

        def call(replica: int) -> None:
            while not over.wait(0.2):
                codes[self.stage.ask(self.caller, replica).code] += 1

        threads = [threading.Thread(target=call, args=(replica,)) for replica in (1, 0)]
        threads[0].start()
        until(lambda: self.stage.tokens(self.connection).lease_until, within_s=3)
        threads[1].start()
        try:
            yield codes
        finally:
            over.set()
            for thread in threads:
                thread.join()


if __name__ == "__main__":
    sys.exit(main())
