"""Twenty identical answers of the provider arrive in parallel at both replicas, and then the back button.

As a browser that sends a page again and again would: same address, same cookies. The code is exchanged once, there is
one connection and one audit event, and whoever comes too late gets a page that says so.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter

import httpx2

from tests.faults.stage import ACCOUNTS, Member, Stage, Verdict, options, staged

_AT_ONCE = 20


def main() -> int:
    """Run what was asked for."""
    asked = options(__doc__, times=20)
    with staged(asked.database, proxied=True) as stage:
        verdict = Verdict("callbacks", {"database": asked.database})
        together(stage, verdict, times=3 if asked.quick else asked.times)
        return 0 if verdict.printed() else 1


def together(stage: Stage, verdict: Verdict, *, times: int) -> None:
    """The same flow for `times` people, each with callbacks in parallel and one that comes later."""
    pages: Counter[int] = Counter()
    for number in range(times):
        member, account = stage.member(f"twenty-{number}@example.com"), ACCOUNTS[number % len(ACCOUNTS)]
        stage.reset()
        before = stage.events("connect.exchange.done"), stage.events("connect.exchange.intent")
        address = stage.callback_of(member, account)
        answers = asyncio.run(_all_at_once(stage, member, address))
        again = member.visitor.open(address)
        pages.update(each.status_code for each in (*answers, again))

        stats = stage.stats()
        done, intents = stage.events("connect.exchange.done"), stage.events("connect.exchange.intent")
        verdict.hold(again.status_code == 200, f"the back button was answered {again.status_code}")
        verdict.hold(any(each.status_code == 200 for each in answers), "nobody was told “connected”")
        clean = all(each.status_code < 500 and "Traceback" not in each.text for each in answers)
        verdict.hold(clean, f"not all pages were clean: {sorted(each.status_code for each in answers)}")
        verdict.hold(stats["codes_exchanged"] == 1, f"{stats['codes_exchanged']} codes exchanged")
        verdict.hold(stats["codes_reused"] == 0, "a code was presented again")
        verdict.hold((done, intents) == (before[0] + 1, before[1] + 1), f"{done - before[0]} audit events of exchanges")
        verdict.hold(stage.connections(member) == 1, f"{stage.connections(member)} connections")
        verdict.hold(stage.ask(stage.caller(member, account)).right, "the connection does not answer")
    verdict.figures |= {"times": times, "at_once": _AT_ONCE, "pages": dict(sorted(pages.items()))}
    if stage.proxy:
        most = max(stage.proxy.presentations().values(), default=0)
        verdict.figures["max_presentations_of_one_code"] = most
        verdict.hold(most == 1, f"a code was presented {most} times")


async def _all_at_once(stage: Stage, member: Member, address: str) -> list[httpx2.Response]:
    """The browser's request, at both replicas by turns."""
    cookies, path = member.visitor.http.cookies, httpx2.URL(address).raw_path.decode()
    async with httpx2.AsyncClient(cookies=cookies, timeout=60, trust_env=False) as http:
        ports = [stage.replicas[n % len(stage.replicas)].port for n in range(_AT_ONCE)]
        return await asyncio.gather(
            *(http.get(f"http://127.0.0.1:{port}{path}", headers={"Host": stage.host}) for port in ports)
        )


if __name__ == "__main__":
    sys.exit(main())
