"""The process that renews a token is stopped for longer than its lease, another one takes over, and it goes on.

    unsent    stopped between its claim and its request
    lost      stopped after its request, which never reaches the provider
    waiting   stopped before the answer comes: the provider has spent the token
    answered  stopped with the answer in hand
    lenient   as `waiting`, at a provider whose refresh tokens are not used up: both processes are given tokens

Whatever it does afterwards, nothing the other one stored or decided is overwritten: the version has grown by exactly
one or the connection says `needs_auth`, the row stays as it was when the stopped process went on, and no token was
presented more than twice. When the provider never saw the first request, or does not mind the second, nobody is logged
out.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from dataclasses import dataclass
from datetime import timedelta

from tests.faults.calls import Reply
from tests.faults.proxies import ProviderProxy
from tests.faults.stage import ACCOUNTS, Stage, Verdict, options, staged, until

CASES = ("unsent", "lost", "waiting", "answered", "lenient")
STOPPED_S = 40.0
_LATENCY_S = 0.15


def main() -> int:
    """Run what was asked for."""
    asked = options(__doc__, stopped_s=STOPPED_S)
    held = []
    with staged(asked.database, proxied=True, slow_database=True) as stage:
        for case in CASES:
            if stage.database == "sqlite" and case in {"unsent", "answered"}:
                continue  # nothing slows its statements down
            verdict = Verdict(f"stopped: {case}", {"database": asked.database})
            # A process that looks at its own clock before it sends can only be fooled by time that passes.
            quick = 30.0 if case == "unsent" else None
            Stop(stage, verdict, case).run(quick if asked.quick else asked.stopped_s)
            held.append(verdict.printed())
    return 0 if all(held) else 1


@dataclass(slots=True)
class Stop:
    """One case. The second replica is stopped, the first takes over."""

    stage: Stage
    verdict: Verdict
    case: str

    def run(self, stopped_s: float | None) -> None:
        """Stop it for that long; None: not for long, but the lease is made to run out."""
        stage, proxy = self.stage, self.stage.proxy
        assert proxy is not None
        member = stage.member(f"{self.case}@example.com")
        caller, winner = stage.caller(member, ACCOUNTS[0]), stage.replicas[1]
        connection = stage.connect(member, ACCOUNTS[0]).pk
        grant = proxy.token_requests()[-1].presented
        version = stage.tokens(connection).version
        stage.reset()
        stage.faults(rotate=self.case != "lenient")
        stage.expire([connection])
        stage.settled()

        late: list[Reply] = []
        first = threading.Thread(target=lambda: late.append(stage.ask(caller, replica=1)))
        began = time.monotonic()
        caught = self._stop_within(proxy, first, began, connection)
        self.verdict.hold(caught, "it could not be stopped in time: run this again")
        if stopped_s is None:
            self._lease_over(connection)
        taken = self._taken_over(caller)
        before = stage.tokens(connection)
        remaining = 0 if stopped_s is None else stopped_s - (time.monotonic() - began)
        time.sleep(max(1.0, remaining))
        winner.signal(signal.SIGCONT)
        first.join()
        stage.settled()
        after, stats = stage.tokens(connection), stage.stats()
        presented = max(proxy.presentations()[each.presented] for each in proxy.of_grant(grant, since=began))

        hold = self.verdict.hold
        ready = after.connection.status == "ready"
        hold(_snapshot(before) == _snapshot(after), "the row was changed by the process that had been stopped")
        hold(after.version == version + 1 or not ready, f"version {version} became {after.version}")
        hold(after.version <= version + 1, f"version {version} became {after.version}")
        hold(presented <= 2, f"a token was presented {presented} times")
        if self.case in {"unsent", "lost", "lenient"}:
            hold(taken.right and ready, f"logged out: {taken.code}, then {after.connection.reason or 'ready'}")
            hold(stats["families_revoked"] == stats["revocations"] == 0, "the grant was killed")
        elif not taken.right:
            hold(taken.error.get("code") == "needs_auth", f"the other process answered {taken.code}")
        told = late[0] if late else taken
        hold(not ready or told.error.get("code") != "needs_auth", f"the process that went on answered {told.code}")
        both = [stage.ask(caller, replica=n) for n in (0, 1)]
        if ready:
            hold(all(reply.right for reply in both), f"afterwards: {[reply.code for reply in both]}")
        else:
            hold(all(reply.error.get("code") == "needs_auth" for reply in both), "not needs_auth everywhere")
            stage.faults()
            stage.connect(member, ACCOUNTS[0])
            hold(stage.ask(caller).right, "connecting again did not work")
        self.verdict.figures |= {
            "stopped_s": round(time.monotonic() - began, 1) if stopped_s else "lease made to run out",
            "taken_over": taken.code,
            "late_answer": late[0].code if late else "",
            "afterwards": [reply.code for reply in both],
            "versions": [version, after.version],
            "max_presentations_of_one_token": presented,
            "families_revoked": stats["families_revoked"],
        }
        stage.faults()

    def _stop_within(self, proxy: ProviderProxy, first: threading.Thread, began: float, connection: object) -> bool:
        """Stop the winner where the case wants it; whether it was there."""
        stage, winner = self.stage, self.stage.replicas[1]
        self._slow(_LATENCY_S if self.case in {"unsent", "answered"} else 0)
        proxy.lose, proxy.hold_s, proxy.keep_s = self.case == "lost", 0.5, 0.0
        first.start()
        if self.case == "unsent":
            until(lambda: stage.tokens(connection).lease_until)
        else:
            until(lambda: proxy.token_requests(began))
        if self.case == "answered":
            until(lambda: proxy.token_requests(began)[0].returned)
            time.sleep(0.05)
        winner.signal(signal.SIGSTOP)
        proxy.lose, proxy.hold_s = False, 0.0
        self._slow(0)
        sent = proxy.token_requests(began)
        match self.case:
            case "unsent":
                return not sent and stage.tokens(connection).lease_until is not None
            case "lost":
                return len(sent) == 1 and sent[0].delivered is None
            case "answered":
                return stage.tokens(connection).lease_until is not None
            case _:
                unanswered = sent[0].returned is None
                until(lambda: sent[0].returned)
                return unanswered

    def _taken_over(self, caller: object) -> Reply:
        deadline = time.monotonic() + 90
        while True:
            reply = self.stage.ask(caller)
            if reply.right or reply.error.get("code") == "needs_auth" or time.monotonic() > deadline:
                return reply
            time.sleep(0.5)

    def _lease_over(self, connection: object) -> None:
        """As if the lease had run out."""
        from django.db.models.functions import Now

        from vault.models import SealedTokenSet

        SealedTokenSet.objects.filter(pk=connection).update(lease_until=Now() - timedelta(seconds=1))

    def _slow(self, latency_s: float) -> None:
        if self.stage.database_proxy is not None:
            self.stage.database_proxy.latency_s = latency_s


def _snapshot(row: object) -> tuple[object, ...]:
    connection = row.connection
    return row.version, bytes(row.access), row.expires_at, connection.status, connection.reason, connection.epoch


if __name__ == "__main__":
    sys.exit(main())
