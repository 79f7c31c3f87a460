"""Many callers in two processes at every expiry of a token: one refresh each, and every call right.

A round begins when the access tokens have expired: all callers of both processes are connected, and send at the same
moment. That is one expiry for each connection. A round is over when the last call is answered; as long as that is
before the new token is due to be renewed in its turn (`_LIVELY` of its life), the one refresh of each connection is all
there may be. A round that takes longer (a busy machine) makes further expiries, as many as fit into it: it is counted
as `slow_rounds`, held to one refresh per such stretch, and another round is run in its place. So over all rounds

    refreshes at the provider = new versions in the database, each presented once, one at a time,

and over those that were not slow the refreshes are exactly rounds x connections.

With `--killed` the tokens live an hour, and die at the provider and in the row when a round begins: then nothing is
due twice, however slow the machine. So it is with slow round trips to the database (`--db-latency`): there a token of
two seconds is dead before it can be stored, whatever the design.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from uuid import UUID

from tests.faults import redises
from tests.faults.calls import Caller, together
from tests.faults.stage import ACCOUNTS, Member, Stage, Verdict, options, staged

TTL_S = 2
_COUNTED = ("max_presentations_of_one_token", "max_in_flight_per_grant", "families_revoked")
_LIVELY = 0.7
"""The part of a token's life in which nobody renews it (`vault.services.access`: at most 0.3 is left then)."""


def main() -> int:
    """Run what was asked for."""
    asked = options(
        __doc__,
        rounds=200,
        callers=50,
        connections=1,
        killed=False,
        redis="",
        db_latency=0.0,
        provider_delay=0.0,
    )
    killed = asked.killed or bool(asked.db_latency)
    ttl = {} if killed else {"access_ttl_s": TTL_S}
    with ExitStack() as up:
        redis = up.enter_context(redises.served(asked.redis)) if asked.redis else None
        settings = {"REDIS_URL": redis.url} if redis else {}
        stage = up.enter_context(staged(asked.database, settings=settings, slow_database=bool(asked.db_latency)))
        verdict = Verdict(
            "race",
            {
                "database": asked.database,
                "redis": asked.redis or "none",
                "db_latency_s": asked.db_latency,
                "provider_delay_s": asked.provider_delay,
            },
        )
        stage.faults(**ttl)
        callers = {}
        for number in range(asked.connections):
            member, account = stage.member(f"person-{number}@example.com"), ACCOUNTS[number % len(ACCOUNTS)]
            callers[stage.connect(member, account).pk] = stage.caller(member, account)
        if redis:
            redis.turn_bad()
            _page_works(stage, verdict, member)
        if stage.database_proxy:
            stage.database_proxy.latency_s = asked.db_latency
        stage.faults(token_delay_s=asked.provider_delay, **ttl)
        rounds = 5 if asked.quick else asked.rounds
        race(stage, verdict, callers, rounds=rounds, each=asked.callers, killed=killed, delay_s=asked.provider_delay)
        return 0 if verdict.printed() else 1


def race(
    stage: Stage,
    verdict: Verdict,
    callers: Mapping[UUID, Caller],
    *,
    rounds: int,
    each: int,
    killed: bool,
    delay_s: float = 0,
) -> None:
    """All rounds.

    Args:
        stage: where.
        verdict: what is added to.
        callers: by connection.
        rounds: how many have to count.
        each: how many call at each process, spread over the callers.
        killed: whether the tokens are made to die; else they live `TTL_S`.
        delay_s: how long the provider takes for new ones.
    """
    who = list(callers.values())
    calls = [(replica.port, who[n % len(who)]) for replica in stage.replicas for n in range(each)]
    together(calls)  # a process that has just started is slow
    versions = {connection: stage.tokens(connection).version for connection in callers}
    stage.reset()
    codes: Counter[str] = Counter()
    longest, clean, slow, began = 0.0, 0, 0, time.monotonic()
    while clean < rounds and slow <= rounds:
        _expired(stage, list(callers), killed=killed)
        before, start = stage.stats()["refreshes"], time.monotonic()
        replies = together(calls)
        took, made = time.monotonic() - start, stage.stats()["refreshes"] - before
        codes.update(reply.code for reply in replies)
        longest = max(longest, *(reply.seconds for reply in replies))
        lively = _LIVELY * TTL_S + delay_s  # what passes before the new token is there is no part of its life
        if killed or took < lively:
            clean += 1
            verdict.hold(made == len(callers), f"round {clean}: {made} refreshes, not {len(callers)}")
        else:
            slow += 1
            verdict.hold(made <= len(callers) * (1 + took // lively), f"a round of {took:.1f} s: {made} refreshes")
    stats = stage.stats()
    stored = sum(stage.tokens(connection).version - version for connection, version in versions.items())
    verdict.figures |= {
        "tokens": "killed at each round" if killed else f"live {TTL_S} s",
        "processes": len(stage.replicas),
        "callers": len(calls),
        "connections": len(callers),
        "rounds": clean,
        "slow_rounds": slow,
        "expiries": clean * len(callers),
        "refreshes": stats["refreshes"],
        "versions_stored": stored,
        **{name: stats[name] for name in _COUNTED},
        "calls": codes.total(),
        "right": codes["ok"],
        "other": {code: count for code, count in codes.items() if code != "ok"},
        "longest_call_s": round(longest, 2),
        "seconds": round(time.monotonic() - began, 1),
    }
    verdict.hold(clean == rounds, f"only {clean} of {rounds} rounds were quick enough to count")
    verdict.hold(stats["refreshes"] == stored, "refreshes at the provider and versions in the database differ")
    verdict.hold(stats["max_presentations_of_one_token"] == 1, "a refresh token was not presented once")
    verdict.hold(stats["max_in_flight_per_grant"] == 1, "the token requests of one grant were not one at a time")
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
    if killed:
        stage.expire(connections, everywhere=True)
        stage.settled()
        return
    now = datetime.now(UTC)
    last = max(stage.tokens(connection).expires_at or now for connection in connections)
    time.sleep(max(0, (last - datetime.now(UTC)).total_seconds()) + 0.05)


if __name__ == "__main__":
    sys.exit(main())
