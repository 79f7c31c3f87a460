"""A data key is rotated under 100,000 sealed rows while calls run, killed midway, and run again.

The callers' tokens live a few seconds, so that refreshes store new versions all the while, and the product remembers
nothing between calls (`STANDING_KEPT_S=0`), so that every call reads and opens a sealed row.
"""

from __future__ import annotations

import random
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from tests.faults.calls import Reply, together
from tests.faults.stage import ACCOUNTS, ROOT, TENANT, Member, Stage, Verdict, options, staged

_TTL_S = 5
_CHUNK = 5_000
_SAMPLE = 1_000


def main() -> int:
    """Run it once."""
    asked = options(__doc__, rows=100_000, kills=2)
    rows = 3_000 if asked.quick else asked.rows
    kills = 1 if asked.quick else asked.kills
    verdict = Verdict("rotation", {"database": asked.database, "rows": rows, "seed": asked.seed})
    with staged(asked.database, settings={"STANDING_KEPT_S": "0"}) as stage:
        stage.faults(access_ttl_s=_TTL_S)
        members = [(stage.member(f"m{at}@example.com"), account) for at, account in enumerate(ACCOUNTS)]
        for member, account in members:
            stage.connect(member, account)
        began = time.monotonic()
        _fill(stage, rows)
        verdict.figures["filled_s"] = round(time.monotonic() - began, 1)
        chance = random.Random(asked.seed)  # noqa: S311 - where to kill, and what to look at
        with _calling(stage, members) as replies:
            _rotate(stage, verdict, kills, chance)
        _judge_calls(verdict, replies)
        _judge_rows(verdict, chance)
        _judge_log(verdict)
    return 0 if verdict.printed() else 1


def _fill(stage: Stage, rows: int) -> None:
    from providers.models import Installation
    from tenants.models import User
    from tests.vault.rows import fill

    stage.member("filler@example.com")
    installation, owner = Installation.objects.get(), User.objects.get(email="filler@example.com")
    for made in range(0, rows, _CHUNK):
        fill(installation, owner, min(_CHUNK, rows - made))


@contextmanager
def _calling(stage: Stage, members: list[tuple[Member, str]]) -> Iterator[list[Reply]]:
    """Every member calls every replica, again and again, until the block ends."""
    calls = [(replica.port, stage.caller(*member)) for replica in stage.replicas for member in members]
    replies, over = list[Reply](), threading.Event()

    def call() -> None:
        while not over.is_set():
            replies.extend(together(calls))

    thread = threading.Thread(target=call)
    thread.start()
    try:
        yield replies
    finally:
        over.set()
        thread.join()


def _rotate(stage: Stage, verdict: Verdict, kills: int, chance: random.Random) -> None:
    """Run `vault_rotate`, kill it at random points of what is left, and run it until it is done."""
    from vault.models import SealedTokenSet, TenantKey

    old = TenantKey.objects.get().pk
    under_old = SealedTokenSet.objects.filter(key_id=old)
    all_rows, cuts, began = under_old.count(), list[int](), time.monotonic()
    for _ in range(kills):
        cut = chance.randrange(under_old.count() // 4, under_old.count() * 3 // 4)
        process = _started(stage)
        while process.poll() is None and under_old.count() > cut:
            time.sleep(0.5)
        process.send_signal(signal.SIGKILL)
        process.wait()
        cuts.append(all_rows - under_old.count())
        verdict.hold(under_old.exists(), "it was over before it could be killed")
    process = _started(stage)
    said, _ = process.communicate(timeout=1_800)
    took = time.monotonic() - began
    verdict.figures |= {
        "killed_after_rows": cuts,
        "rotated_s": round(took, 1),
        "rows_per_s": round(all_rows / took),
    }
    verdict.hold(process.returncode == 0, f"the last run ended with {process.returncode}: {said[-300:]!r}")
    verdict.hold(not under_old.exists(), f"{under_old.count()} rows are left under the old key")
    keys = dict(TenantKey.objects.values_list("pk", "state"))
    verdict.hold(old not in keys, "the old key was not retired")
    verdict.hold(list(keys.values()) == ["active"], f"there are {len(keys)} keys")


def _started(stage: Stage) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "manage.py", "vault_rotate", TENANT],
        cwd=ROOT,
        env=dict(stage.replicas[0].environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def _judge_calls(verdict: Verdict, replies: list[Reply]) -> None:
    took = sorted(reply.seconds for reply in replies)
    verdict.figures |= {
        "calls": len(replies),
        "call_p50_ms": round(statistics.median(took) * 1_000),
        "call_p99_ms": round(took[len(took) * 99 // 100] * 1_000),
        "call_slowest_ms": round(took[-1] * 1_000),
    }
    failed = Counter(reply.code for reply in replies if not reply.right)
    verdict.hold(not failed, f"calls failed: {dict(failed)}")


def _judge_rows(verdict: Verdict, chance: random.Random) -> None:
    from tests.vault.rows import opens
    from vault.models import Connection

    made_up = list(Connection.objects.filter(account_id__startswith="made-up/").values_list("pk", flat=True))
    sample = Connection.objects.filter(pk__in=chance.sample(made_up, min(_SAMPLE, len(made_up))))
    dead = sum(not opens(row) for row in sample)
    verdict.hold(dead == 0, f"{dead} of {len(sample)} rows do not open")
    not_ready = Connection.objects.exclude(status="ready").count()
    verdict.hold(not_ready == 0, f"{not_ready} connections are not ready any more")


def _judge_log(verdict: Verdict) -> None:
    from audit.models import AuditEvent

    events = {kind: list(AuditEvent.objects.filter(kind=kind)) for kind in ("vault.rotate.intent", "vault.rotate.done")}
    verdict.hold([len(found) for found in events.values()] == [1, 1], "there is not one intent and one outcome")
    outcomes = {event.intent_id for event in events["vault.rotate.done"]}
    verdict.hold(outcomes == {event.id for event in events["vault.rotate.intent"]}, "the outcome is of another intent")
    verdict.hold(not AuditEvent.objects.filter(kind="token.open.refused").exists(), "a token was taken for damaged")
    verdict.figures["refreshes"] = AuditEvent.objects.filter(kind="token.refresh.done").count()


if __name__ == "__main__":
    sys.exit(main())
