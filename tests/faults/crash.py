"""`kill -9` of a product process: in every stretch of a refresh, and anywhere in the exchange of a code.

**Refresh.** Several connections are renewed by one process at slightly different moments, the process is killed, and
what the proxy before the provider and the row of tokens say afterwards tells which stretch each was in:

    before     claimed, and no request was sent
    sent       sent, and the answer had not come back (half of these requests never reach the provider)
    answered   the answer was back, and nothing stored
    committed  the new tokens were stored

Kills go on until each stretch was hit as often as asked. The surviving process is then asked: it waits for the lease
and tries once more. READY is a must before the request, after the commit, and when the provider never saw the request;
else a rotating provider may have spent the token, and `needs_auth` is as good. No token is ever presented more than
twice, no grant makes more than two token requests in one incident, and connecting again works.

**Exchange.** The process that got the provider's answer is killed at a random moment; the browser sends it again, to
the other one. There is a connection with tokens, or none and a clean page; the code is presented once or twice.

PostgreSQL is slowed down by a proxy, so that statements take long enough to be killed between. SQLite cannot be: there
a lock is held in the stretch `answered`, and `before` is only as long as it is.
"""

from __future__ import annotations

import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import UUID

import httpx2

from tests.faults.calls import Caller, Reply
from tests.faults.proxies import ProviderProxy
from tests.faults.stage import ACCOUNTS, Member, Stage, Verdict, options, staged, until

if TYPE_CHECKING:
    from vault.models import SealedTokenSet

STRETCHES = ("before", "sent", "answered", "committed")
_LATENCY_S = 0.12
_SETTLED_S = 75


def main() -> int:
    """Run what was asked for."""
    asked = options(__doc__, kills=50, exchanges=200, people=8)
    kills, exchanges, people = (2, 6, 4) if asked.quick else (asked.kills, asked.exchanges, asked.people)
    chance = random.Random(asked.seed)  # noqa: S311 - when to kill
    with staged(asked.database, proxied=True, slow_database=True) as stage:
        held = []
        if kills:
            verdict = Verdict("crash in a refresh", {"database": asked.database, "seed": asked.seed})
            Refreshes(stage, verdict, chance, people).run(kills)
            held.append(verdict.printed())
        if exchanges:
            verdict = Verdict("crash in an exchange", {"database": asked.database, "seed": asked.seed})
            Exchanges(stage, verdict, chance).run(exchanges)
            held.append(verdict.printed())
        return 0 if all(held) else 1


@dataclass(slots=True)
class _Person:
    """Somebody whose connection is being renewed."""

    member: Member
    caller: Caller
    account: str
    connection: UUID = field(init=False)
    grant: str = field(init=False)
    """The digest of the code their connection goes back to."""
    version: int = 0


class _Crash:
    """A process to kill, and one that survives."""

    def __init__(self, stage: Stage, verdict: Verdict, chance: random.Random) -> None:
        self.stage = stage
        self.verdict = verdict
        self.chance = chance
        assert stage.proxy is not None
        self.proxy: ProviderProxy = stage.proxy
        self.survivor, self.victim = 0, stage.replicas[1]

    def slow(self, latency_s: float, hold_s: float = 0, keep_s: float = 0, *, lose: bool = False) -> None:
        """How long what is between takes."""
        if self.stage.database_proxy is not None:
            self.stage.database_proxy.latency_s = latency_s
        self.proxy.hold_s, self.proxy.keep_s, self.proxy.lose = hold_s, keep_s, lose

    def person(self, number: int, name: str) -> _Person:
        account = ACCOUNTS[number % len(ACCOUNTS)]
        member = self.stage.member(f"{name}-{number}@example.com")
        return _Person(member, self.stage.caller(member, account), account)

    def connect(self, person: _Person) -> None:
        """Connect, or connect again."""
        person.connection = self.stage.connect(person.member, person.account).pk
        person.grant = self.proxy.token_requests()[-1].presented


class Refreshes(_Crash):
    """Kills in a refresh."""

    def __init__(self, stage: Stage, verdict: Verdict, chance: random.Random, people: int) -> None:
        super().__init__(stage, verdict, chance)
        self.people = [self.person(number, "refresh") for number in range(people)]
        self.hit: Counter[str] = Counter()
        self.ends: dict[str, Counter[str]] = {stretch: Counter() for stretch in STRETCHES}
        self.most = 0

    def run(self, kills: int) -> None:
        """Until every stretch was hit as often as asked, or it takes too many kills."""
        for person in self.people:
            self.connect(person)
        done, wanted = 0, [s for s in STRETCHES if self.stage.database == "postgresql" or s != "before"]
        while done < 12 * kills and (left := [s for s in wanted if self.hit[s] < kills]):
            self._kill(min(left, key=lambda stretch: self.hit[stretch]))
            done += 1
        self.verdict.figures |= {
            "kills": done,
            "hit": dict(self.hit),
            "ends": {stretch: dict(ends) for stretch, ends in self.ends.items()},
            "max_token_requests_in_an_incident": self.most,
            "max_presentations_of_one_token": max(self.proxy.presentations().values()),
        }
        for stretch in wanted:
            self.verdict.hold(self.hit[stretch] >= kills, f"“{stretch}” was hit {self.hit[stretch]} times only")
        most = self.verdict.figures["max_presentations_of_one_token"]
        self.verdict.hold(most <= 2, f"a token was presented {most} times")

    def _kill(self, stretch: str) -> None:
        """One kill, aimed at a stretch."""
        for person in self.people:
            person.version = self.stage.tokens(person.connection).version
        self.stage.expire([person.connection for person in self.people])
        self.stage.settled()
        lose = stretch == "sent" and self.chance.random() < 0.5
        hold = self.chance.uniform(0.4, 1.5) if stretch == "sent" else 0.05
        self.slow(_LATENCY_S, hold, 0.05, lose=lose)
        began = time.monotonic()
        with ExitStack() as up:
            pool = up.enter_context(ThreadPoolExecutor(len(self.people)))
            for person in self.people:
                pool.submit(self._ask_late, person, self.chance.uniform(0, 0.5))
            self._aim(stretch, began, hold, up)
            self.victim.killed()
            killed = time.monotonic()
        self.slow(0)
        self.victim.start()
        stretches = [self._stretch(person, began, killed) for person in self.people]
        with ThreadPoolExecutor(len(self.people)) as pool:
            replies = list(pool.map(self._settled, self.people))
        for person, found, reply in zip(self.people, stretches, replies, strict=True):
            self._held(person, found, reply, began)
        for person, reply in zip(self.people, replies, strict=True):
            if not reply.right:
                self.connect(person)
                again = self.stage.ask(person.caller)
                self.verdict.hold(again.right, f"after connecting again: {again.code}")
        self.victim.ready()

    def _ask_late(self, person: _Person, seconds: float) -> None:
        time.sleep(seconds)
        self.stage.ask(person.caller, replica=1)

    def _aim(self, stretch: str, began: float, hold: float, up: ExitStack) -> None:
        """Wait for the stretch to begin for somebody, and a random while."""
        match stretch:
            case "before":
                until(lambda: any(self._row(person).lease_until for person in self.people))
                time.sleep(self.chance.uniform(0, 3 * _LATENCY_S))
            case "sent":
                until(lambda: self.proxy.token_requests(began))
                time.sleep(self.chance.uniform(0, hold))
            case "answered":
                until(lambda: self.proxy.token_requests(began))
                if self.stage.database == "sqlite":
                    up.enter_context(_locked())
                until(lambda: any(each.returned for each in self.proxy.token_requests(began)))
                time.sleep(self.chance.uniform(0, 4 * _LATENCY_S))
            case "committed":
                until(lambda: any(self._row(person).version > person.version for person in self.people))
                time.sleep(self.chance.uniform(0, 3 * _LATENCY_S))

    def _row(self, person: _Person) -> SealedTokenSet:
        return self.stage.tokens(person.connection)

    def _stretch(self, person: _Person, began: float, killed: float) -> str:
        row, sent = self.stage.tokens(person.connection), self.proxy.of_grant(person.grant, since=began)
        if row.version > person.version:
            return "committed"
        if not sent:
            return "before" if row.lease_until else "untouched"
        return "answered" if sent[0].returned and sent[0].returned <= killed else "sent"

    def _settled(self, person: _Person) -> Reply:
        """What calls come to in the end."""
        deadline = time.monotonic() + _SETTLED_S
        while True:
            reply = self.stage.ask(person.caller, self.survivor)
            if reply.right or reply.error.get("code") == "needs_auth" or time.monotonic() > deadline:
                return reply
            time.sleep(0.5)

    def _held(self, person: _Person, stretch: str, reply: Reply, began: float) -> None:
        requests = self.proxy.of_grant(person.grant, since=began)
        unseen = bool(requests) and requests[0].delivered is None
        if stretch in STRETCHES:
            self.hit[stretch] += 1
            self.ends[stretch][f"{reply.code}{' (never seen by the provider)' if unseen else ''}"] += 1
        self.most = max(self.most, len(requests))
        lost = reply.code in {"needs_auth:refresh_outcome_unknown", "needs_auth:refresh_failed"}
        hold = self.verdict.hold
        if stretch in {"sent", "answered"} and not unseen:
            hold(reply.right or lost, f"{stretch}: {reply.code}")
        else:
            hold(reply.right, f"{stretch}{', never seen by the provider' if unseen else ''}: {reply.code}")
        hold(len(requests) <= 2, f"{stretch}: {len(requests)} token requests in one incident")
        row = self.stage.tokens(person.connection)
        hold(row.version <= person.version + 1, f"{stretch}: version {person.version} became {row.version}")
        hold((row.connection.status == "ready") == reply.right, f"{stretch}: {row.connection.status} and {reply.code}")
        if not reply.right:
            for _ in range(3):
                self.stage.ask(person.caller, self.survivor)
            after = self.proxy.of_grant(person.grant, since=began)
            hold(len(after) == len(requests), f"{stretch}: the provider is asked again after needs_auth")


class Exchanges(_Crash):
    """Kills in the exchange of a code."""

    def run(self, kills: int) -> None:
        """As many as asked; every other time for an account that is connected already."""
        person = self.person(0, "exchange")
        self.connect(person)
        ends: Counter[str] = Counter()
        orphans, longest_s = 0, self._unkilled_s(person)
        for number in range(kills):
            if number % 2:
                self._forget(person)
            orphans += self._kill(person, ends, longest_s)
        presented = max(each for code, each in self.proxy.presentations().items() if self.proxy.grants[code] == code)
        self.verdict.figures |= {
            "kills": kills,
            "ends": dict(ends),
            "orphan_grants": orphans,
            "max_presentations_of_one_code": presented,
            "codes_reused": self.stage.stats()["codes_reused"],
        }
        self.verdict.hold(presented <= 2, f"a code was presented {presented} times")

    def _unkilled_s(self, person: _Person) -> float:
        """How long it takes when nobody is killed and everything is as slow as it gets."""
        address = self.stage.callback_of(person.member, person.account)
        self.slow(_LATENCY_S, 0.4, 0.4)
        began = time.monotonic()
        self._delivered(person, address)
        return time.monotonic() - began

    def _kill(self, person: _Person, ends: Counter[str], longest_s: float) -> bool:
        """One kill; whether the provider gave tokens that are stored nowhere."""
        self.slow(0)
        stage, hold = self.stage, self.verdict.hold
        address = stage.callback_of(person.member, person.account)
        before = stage.connections(person.member) and stage.tokens(person.connection).version
        self.slow(_LATENCY_S, self.chance.uniform(0, 0.4), self.chance.uniform(0, 0.4))
        began, first = time.monotonic(), threading.Thread(target=self._delivered, args=(person, address))
        first.start()
        time.sleep(self.chance.uniform(0, longest_s))
        self.victim.killed()
        first.join()
        self.slow(0)
        self.victim.start()

        page = person.member.visitor.open(address)  # the browser sends it again
        hold(page.status_code < 500 and "Traceback" not in page.text, f"the page again: {page.status_code}")
        self._whole(person)
        spent = any(each.issued for each in self.proxy.token_requests(began))
        rows = stage.connections(person.member)
        stored = rows == 1 and stage.tokens(stage.connection(person.member).pk).version > before
        reply = stage.ask(person.caller)
        ends[f"{page.status_code}, {'stored' if stored else 'not stored'}, {reply.code}"] += 1
        hold(reply.right or reply.error.get("code") == "needs_auth", f"after the kill: {reply.code}")
        hold(not stored or reply.right, f"stored, and answered {reply.code}")
        if not reply.right:
            hold(bool(reply.error.get("connect_url")), "needs_auth without a link")
        if not (stored and reply.right):
            self.connect(person)
            hold(stage.ask(person.caller).right, "connecting again did not work")
        person.connection = stage.connection(person.member).pk
        self.victim.ready()
        return spent and not stored

    def _forget(self, person: _Person) -> None:
        """As if they had never connected."""
        from tenants import standing
        from vault.models import Connection

        Connection.objects.filter(pk=person.connection).delete()
        standing.changed()
        self.stage.settled()

    def _delivered(self, person: _Person, address: str) -> None:
        """The browser's request at the process that will be killed."""
        with suppress(httpx2.HTTPError):
            httpx2.get(
                f"http://127.0.0.1:{self.victim.port}{httpx2.URL(address).raw_path.decode()}",
                headers={"Host": self.stage.host},
                cookies=person.member.visitor.http.cookies,
                timeout=60,
                trust_env=False,
            )

    def _whole(self, person: _Person) -> None:
        """No connection is READY without tokens, no tokens are there without a connection that is READY."""
        from vault.models import Connection, SealedTokenSet

        ready = set(Connection.objects.filter(status="ready").values_list("pk", flat=True))
        sealed = set(SealedTokenSet.objects.values_list("pk", flat=True))
        self.verdict.hold(ready == sealed, "a connection is half-stored")
        self.verdict.hold(self.stage.connections(person.member) <= 1, "more than one connection")


@contextmanager
def _locked() -> Iterator[None]:
    """Nobody else writes to SQLite."""
    from django.db import transaction

    with transaction.atomic():
        yield


if __name__ == "__main__":
    sys.exit(main())
