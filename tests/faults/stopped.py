"""The process that renews a token is stopped for longer than its lease, another one takes over, and it goes on.

    unsent    stopped between its claim and its request
    lost      stopped after its request, which never reaches the provider
    waiting   stopped before the answer comes: the provider has spent the token
    answered  stopped with the answer in hand
    lenient   as `waiting`, at a provider whose refresh tokens are not used up: both processes are given tokens

Whatever it does when it goes on, nothing the other one stored or decided is overwritten: the version has grown by
exactly one or the connection says `needs_auth`, the row stays as it was, and no token was presented more than twice.
When the provider never saw the first request, or does not mind the second, nobody is logged out.

`unsent` and `answered` need a database that can be made slow, which is PostgreSQL.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from tests.faults.calls import Caller, Reply
from tests.faults.proxies import ProviderProxy
from tests.faults.stage import ACCOUNTS, Stage, Verdict, options, staged, until

if TYPE_CHECKING:
    from vault.models import SealedTokenSet

CASES = ("unsent", "lost", "waiting", "answered", "lenient")
STOPPED_S = 40.0
_LATENCY_S = 0.15


def main() -> int:
    """Run what was asked for."""
    asked = options(__doc__, stopped_s=STOPPED_S)
    held = []
    with staged(asked.database, proxied=True, slow_database=True) as stage:
        for case in CASES:
            if asked.database == "sqlite" and case in {"unsent", "answered"}:
                continue
            verdict = Verdict(f"stopped: {case}", {"database": asked.database})
            # A process that looks at its own clock before it sends can only be fooled by time that passes.
            quick = 30.0 if case == "unsent" else None
            stop(stage, verdict, case, quick if asked.quick else asked.stopped_s)
            held.append(verdict.printed())
    return 0 if all(held) else 1


def stop(stage: Stage, verdict: Verdict, case: str, stopped_s: float | None) -> None:
    """One case. The second replica is stopped for that long; None: not for long, but its lease is made to run out."""
    member = stage.member(f"{case}@example.com")
    connection = stage.connect(member, ACCOUNTS[0]).pk
    stopped = _Stopped(stage, verdict, case, stage.caller(member, ACCOUNTS[0]), connection)
    stopped.begin()
    if stopped_s is None:
        stopped.lease_over()
    taken = stopped.taken_over()
    before = stage.tokens(connection)
    time.sleep(max(1.0, (stopped_s or 0) - (time.monotonic() - stopped.began)))
    stopped.goes_on()
    stopped.judge(taken, before, stage.tokens(connection))
    verdict.figures["stopped_s"] = stopped_s or "its lease was made to run out"
    if stage.tokens(connection).connection.status != "ready":
        stage.faults()
        stage.connect(member, ACCOUNTS[0])
        verdict.hold(stage.ask(stopped.caller).right, "connecting again did not work")
    stage.faults()


@dataclass(slots=True)
class _Stopped:
    """One connection whose renewal is being interrupted."""

    stage: Stage
    verdict: Verdict
    case: str
    caller: Caller
    connection: UUID
    began: float = 0.0
    version: int = 0
    grant: str = ""
    late: list[Reply] = field(default_factory=list)
    thread: threading.Thread = field(init=False)

    @property
    def proxy(self) -> ProviderProxy:
        """Before the provider."""
        assert self.stage.proxy is not None
        return self.stage.proxy

    def begin(self) -> None:
        """Expire the token, let the second replica renew it, and stop that where the case wants it."""
        stage = self.stage
        self.grant, self.version = self.proxy.token_requests()[-1].presented, stage.tokens(self.connection).version
        stage.reset()
        stage.faults(rotate=self.case != "lenient")
        stage.expire([self.connection])
        stage.settled()
        self._slow(_LATENCY_S if self.case in {"unsent", "answered"} else 0)
        self.proxy.lose, self.proxy.hold_s = self.case == "lost", 0.5
        self.thread = threading.Thread(target=lambda: self.late.append(stage.ask(self.caller, replica=1)))
        self.began = time.monotonic()
        self.thread.start()
        self._reached()
        stage.replicas[1].signal(signal.SIGSTOP)
        self.proxy.lose, self.proxy.hold_s = False, 0.0
        self._slow(0)
        self.verdict.hold(self._caught(), "it could not be stopped in time: run this again")

    def lease_over(self) -> None:
        """As if the lease had run out."""
        from django.db.models.functions import Now

        from vault.models import SealedTokenSet

        SealedTokenSet.objects.filter(pk=self.connection).update(lease_until=Now() - timedelta(seconds=1))

    def taken_over(self) -> Reply:
        """What calls at the first replica come to in the end."""
        deadline = time.monotonic() + 90
        while True:
            reply = self.stage.ask(self.caller)
            if reply.right or reply.error.get("code") == "needs_auth" or time.monotonic() > deadline:
                return reply
            time.sleep(0.5)

    def goes_on(self) -> None:
        """Let it, and wait until it has answered its caller."""
        self.stage.replicas[1].signal(signal.SIGCONT)
        self.thread.join()
        self.stage.settled()

    def judge(self, taken: Reply, before: SealedTokenSet, after: SealedTokenSet) -> None:
        """Hold it to everything."""
        hold, stats, ready = self.verdict.hold, self.stage.stats(), after.connection.status == "ready"
        presented = self.proxy.presentations()
        most = max(presented[each.presented] for each in self.proxy.of_grant(self.grant, since=self.began))
        late = self.late[0] if self.late else taken
        both = [self.stage.ask(self.caller, replica) for replica in (0, 1)]
        self.verdict.figures |= {
            "taken_over": taken.code,
            "late_answer": late.code,
            "afterwards": [reply.code for reply in both],
            "versions": [self.version, after.version],
            "max_presentations_of_one_token": most,
            "families_revoked": stats["families_revoked"],
        }
        hold(_state(before) == _state(after), "the row was changed by the process that had been stopped")
        hold(after.version - self.version == ready, f"version {self.version} became {after.version}")
        hold(most <= 2, f"a token was presented {most} times")
        if self.case in {"unsent", "lost", "lenient"}:
            hold(taken.right and ready, f"logged out: {taken.code}, then {after.connection.reason or 'ready'}")
            hold(stats["families_revoked"] == stats["revocations"] == 0, "the grant was killed")
        if ready:
            hold(late.error.get("code") != "needs_auth", f"the process that went on answered {late.code}")
            hold(all(reply.right for reply in both), "the connection is ready and does not answer")
        else:
            hold(taken.error.get("code") == "needs_auth", f"the other process answered {taken.code}")
            hold(all(reply.error.get("code") == "needs_auth" for reply in both), "not needs_auth everywhere")

    def _reached(self) -> None:
        """Wait for the moment to stop it."""
        if self.case == "unsent":
            until(lambda: self.stage.tokens(self.connection).lease_until)
            return
        until(lambda: self.proxy.token_requests(self.began))
        if self.case == "answered":
            until(lambda: self.proxy.token_requests(self.began)[0].returned)
            time.sleep(0.05)

    def _caught(self) -> bool:
        """Whether it was where it was to be."""
        sent = self.proxy.token_requests(self.began)
        claimed = self.stage.tokens(self.connection).lease_until is not None
        match self.case:
            case "unsent":
                return claimed and not sent
            case "lost":
                return len(sent) == 1 and sent[0].delivered is None
            case "answered":
                return claimed and sent[0].returned is not None
            case _:
                unanswered = sent[0].returned is None
                until(lambda: sent[0].returned)
                return unanswered

    def _slow(self, latency_s: float) -> None:
        if self.stage.database_proxy is not None:
            self.stage.database_proxy.latency_s = latency_s


def _state(row: SealedTokenSet) -> tuple[object, ...]:
    connection = row.connection
    return row.version, bytes(row.access), row.expires_at, connection.status, connection.reason, connection.epoch


if __name__ == "__main__":
    sys.exit(main())
