"""The database goes away while a token is being renewed, or the process is told to end: nobody is logged out.

    gone      nobody reaches it from the moment the provider has answered, for less or longer than a lease
    cut       every connection to it breaks at a random moment of a refresh
    ended     SIGTERM while the provider is being waited for

The new tokens exist only in the memory of one process then, which keeps them until they are stored: one new version,
one presentation, and calls at both processes are right as soon as the database is back.
"""

from __future__ import annotations

import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from tests.faults.calls import Caller
from tests.faults.proxies import Proxy, ProviderProxy
from tests.faults.stage import ACCOUNTS, Stage, Verdict, options, staged, until

_LATENCY_S = 0.1
_SOON_S = 60


def main() -> int:
    """Run what was asked for."""
    asked = options(__doc__, cuts=50, times=5)
    times, cuts = (1, 5) if asked.quick else (asked.times, asked.cuts)
    chance = random.Random(asked.seed)  # noqa: S311 - when to cut
    held = []
    with staged("postgresql", proxied=True, slow_database=True) as stage:
        outages = _Outages(stage, stage.member("person@example.com"))
        for seconds in (5, 40):
            verdict = Verdict("outage: gone", {"database": "postgresql", "seconds": seconds, "times": times})
            for _ in range(times):
                outages.renewed(verdict, lambda for_s=seconds: outages.gone(for_s))
            held.append(verdict.printed())
        verdict = Verdict("outage: cut", {"database": "postgresql", "seed": asked.seed, "times": cuts})
        for _ in range(cuts):
            outages.renewed(verdict, lambda: outages.cut(chance.uniform(0, 1.8)))
        held.append(verdict.printed())
        verdict = Verdict("outage: ended", {"database": "postgresql", "times": times})
        for _ in range(times):
            outages.renewed(verdict, outages.ended)
            verdict.hold(outages.exit_s < 30, f"it took {outages.exit_s:.0f} s to end")
        held.append(verdict.printed())
    return 0 if all(held) else 1


class _Outages:
    """One connection, renewed again and again by the second replica."""

    def __init__(self, stage: Stage, member: object) -> None:
        self.stage = stage
        self.member = member
        assert stage.proxy is not None
        assert stage.database_proxy is not None
        self.proxy: ProviderProxy = stage.proxy
        self.database: Proxy = stage.database_proxy
        self.connection: UUID = stage.connect(member, ACCOUNTS[0]).pk
        self.caller: Caller = stage.caller(member, ACCOUNTS[0])
        self.began = self.exit_s = 0.0
