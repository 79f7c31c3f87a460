"""Many callers in two processes at every expiry of a token: one refresh each, and every call right.

A round begins when the access tokens have expired: all callers of both processes are connected, and send at the same
moment. That is one expiry for each connection. A round is over when the last call is answered; as long as that is
before the new token is due to be renewed in its turn (`_LIVELY` of its life), the one refresh of each connection is all
there may be. A round that takes longer (a busy machine) makes further expiries, as many as fit into it: it is counted
as `slow_rounds`, held to one refresh per such stretch, and another round is run in its place. So over all rounds

    refreshes at the provider = new versions in the database, each presented once, one at a time,

and over those that were not slow the refreshes are exactly rounds x connections.

With slow round trips to the database (`--db-latency`) a token of two seconds is dead before it can be stored, whatever
the design: there the tokens live an hour, and die at the provider and in the row when a round begins.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from contextlib import ExitStack
from datetime import UTC, datetime
from uuid import UUID

from tests.faults import redises
from tests.faults.calls import Caller, together
from tests.faults.stage import ACCOUNTS, Member, Stage, Verdict, options, staged

TTL_S = 2
_LIVELY = 0.7
"""The part of a token's life in which nobody renews it (`vault.services.access`: at most 0.3 is left then)."""


def main() -> int:
    """Run what was asked for."""
    asked = options(
        __doc__,
        rounds=200,
        callers=50,
        connections=1,
        redis="",
        db_latency=0.0,
        provider_delay=0.0,
    )
    rounds = 5 if asked.quick else asked.rounds
    with ExitStack() as up:
        redis = up.enter_context(redises.served(asked.redis)) if asked.redis else None
        stage = up.enter_context(
            staged(
                asked.database,
                settings={"REDIS_URL": redis.url} if redis else {},
                slow_database=bool(asked.db_latency),
            )
        )
        verdict = Verdict(
            "race",
            {
                "database": asked.database,
                "rounds": rounds,
                "callers": 2 * asked.callers,
                "connections": asked.connections,
                "redis": asked.redis or "none",
                "db_latency_s": asked.db_latency,
                "provider_delay_s": asked.provider_delay,
                "tokens": "killed at each round" if asked.db_latency else f"live {TTL_S} s",
            },
        )
        killed = bool(asked.db_latency)
        stage.faults(**({} if killed else {"access_ttl_s": TTL_S}))
        callers = []
        for number in range(asked.connections):
            member, account = stage.member(f"person-{number}@example.com"), ACCOUNTS[number % len(ACCOUNTS)]
            stage.connect(member, account)
            callers.append(stage.caller(member, account))
        if redis:
            redis.turn_bad()
            _page_works(stage, verdict, member)
        if stage.database_proxy:
            stage.database_proxy.latency_s = asked.db_latency
        stage.faults(token_delay_s=asked.provider_delay, **({} if killed else {"access_ttl_s": TTL_S}))
        race(stage, verdict, callers, rounds=rounds, each=asked.callers, killed=killed)
        return 0 if verdict.printed() else 1


def race(stage: Stage, verdict: Verdict, callers: list[Caller], *, rounds: int, each: int, killed: bool) -> None:
    """All rounds; `each` callers at each process, spread over the connections."""
    from vault.models import SealedTokenSet

    calls = [(replica.port, callers[n % len(callers)]) for replica in stage.replicas for n in range(each)]
    together(calls)  # a process that has just started is slow
    rows = {row.pk: row.version for row in SealedTokenSet.objects.all()}
    stage.reset()
    codes: Counter[str] = Counter()
    longest, clean, slow, began = 0.0, 0, 0, time.monotonic()
    while clean < rounds and slow <= rounds:
        _expired(stage, list(rows), killed=killed)
        before, start = stage.stats()["refreshes"], time.monotonic()
        replies = together(calls)
        took, after = time.monotonic() - start, stage.stats()["refreshes"]
        codes.update(reply.code for reply in replies)
        longest = max(longest, *(reply.seconds for reply in replies))
        # What passes before the new token is there is not part of its life.
        lively = _LIVELY * TTL_S + (0 if killed else verdict.figures["provider_delay_s"])
        if killed or took < lively:
            clean += 1
            verdict.hold(after - before == len(rows), f"round {clean}: {after - before} refreshes, not {len(rows)}")
        else:
            slow += 1
            most = len(rows) * (1 + took // lively)
            verdict.hold(after - before <= most, f"a round of {took:.1f} s: {after - before} refreshes")
    stats, versions = stage.stats(), {row.pk: row.version for row in SealedTokenSet.objects.all()}
    stored = sum(versions[each] - rows[each] for each in rows)
    verdict.figures |= {
        "expiries": clean * len(rows),
        "refreshes": stats["refreshes"],
        "versions_stored": stored,
        "slow_rounds": slow,
        "max_presentations_of_one_token": stats["max_presentations_of_one_token"],
        "max_in_flight_per_grant": stats["max_in_flight_per_grant"],
        "families_revoked": stats["families_revoked"],
        "calls": codes.total(),
        "right": codes["ok"],
        "other": {code: count for code, count in codes.items() if code != "ok"},
        "longest_call_s": round(longest, 2),
        "seconds": round(time.monotonic() - began, 1),
    }
    verdict.hold(clean == rounds, f"only {clean} of {rounds} rounds were quick enough to count")
    verdict.hold(stats["refreshes"] == stored, "refreshes at the provider and versions in the database differ")
    verdict.hold(stats["max_presentations_of_one_token"] == 1, "a refresh token was presented twice")
    verdict.hold(stats["max_in_flight_per_grant"] == 1, "two token requests of one grant at the same time")
    verdict.hold(stats["families_revoked"] == 0, "a family was revoked")
    verdict.hold(codes["ok"] == codes.total(), "not every call was right")


def _page_works(stage: Stage, verdict: Verdict, member: Member) -> None:
    """People get in too, though log-ins that fail are counted in Redis."""
    new = Member(member.email, member.key)
    new.visitor.open(f"{stage.url}/login/")
    stage.log_in(new)
    page = new.visitor.page
    verdict.hold(page.status_code == 200 and page.url.path != "/login/", f"logging in ended with {page.status_code}")


def _expired(stage: Stage, connections: list[UUID], *, killed: bool) -> None:
    """Wait until every token has expired, or make it so."""
    from vault.models import SealedTokenSet

    if killed:
        stage.expire(connections, everywhere=True)
        stage.settled()
        return
    last = max(row.expires_at or datetime.now(UTC) for row in SealedTokenSet.objects.all())
    time.sleep(max(0, (last - datetime.now(UTC)).total_seconds()) + 0.05)


if __name__ == "__main__":
    sys.exit(main())
