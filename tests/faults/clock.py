"""One of two processes has a clock that is five minutes or a day off, and both serve the same connection.

A small library is preloaded into that process (`programs/shifted_clock.c`; a C compiler is needed): its wall clock is
off for everything in it, the monotonic one is not. The database's clock is right. First with tokens that live an hour,
which nobody may refresh, then with tokens that live a minute, which are due about once in 45 seconds: at most two
refreshes a minute, and every call right at both processes.

Not on SQLite: it has no clock of its own, and all its processes are on one machine.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx2

from tests.faults.calls import Caller, together
from tests.faults.stage import ACCOUNTS, Stage, Verdict, options, staged

SHIFTS_S = (300, -300, 86_400, -86_400)
_SOURCE = Path(__file__).parent / "programs" / "shifted_clock.c"


def main() -> int:
    """Run what was asked for."""
    asked = options(__doc__, seconds=180)
    held = []
    with staged("postgresql") as stage:
        library = _library(stage.folder)
        member = stage.member("person@example.com")
        caller = stage.caller(member, ACCOUNTS[0])
        for shift in SHIFTS_S[2:] if asked.quick else SHIFTS_S:
            verdict = Verdict("clock", {"database": "postgresql", "shift_s": shift})
            shifted = stage.replicas[1]
            shifted.ended()
            shifted.environment = {**shifted.environment, "LD_PRELOAD": str(library), "CLOCK_SHIFT": str(shift)}
            shifted.start()
            shifted.ready()
            off = _off_s(stage, shifted.port)
            verdict.figures["clock_is_off_s"] = off
            verdict.hold(abs(off - shift) < 10, "the clock was not shifted: the run shows nothing")
            for ttl in (3_600, 60):
                stage.faults(access_ttl_s=ttl)
                stage.connect(member, ACCOUNTS[0])
                stage.settled()
                long = 60 if asked.quick else asked.seconds
                _served(stage, verdict, caller, ttl=ttl, seconds=long if ttl == 60 else 20)
            held.append(verdict.printed())
    return 0 if all(held) else 1


def _served(stage: Stage, verdict: Verdict, caller: Caller, *, ttl: int, seconds: int) -> None:
    """Calls at both, every half second."""
    stage.reset()
    codes: Counter[str] = Counter()
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        codes.update(reply.code for reply in together([(replica.port, caller) for replica in stage.replicas]))
        time.sleep(0.5)
    stats = stage.stats()
    allowed = 0 if ttl > seconds + 60 else 2 * max(1, seconds // 60)
    verdict.figures[f"tokens_of_{ttl}_s"] = {
        "seconds": seconds,
        "calls": codes.total(),
        "right": codes["ok"],
        "other": {code: count for code, count in codes.items() if code != "ok"},
        "refreshes": stats["refreshes"],
        "unauthorized": stats["answers"].get("401", 0),
    }
    verdict.hold(codes["ok"] == codes.total(), f"tokens of {ttl} s: not every call was right")
    verdict.hold(stats["refreshes"] <= allowed, f"tokens of {ttl} s: {stats['refreshes']} refreshes in {seconds} s")
    verdict.hold(stats["families_revoked"] == 0, "a family was revoked")


def _off_s(stage: Stage, port: int) -> float:
    """How far a process's clock is off, by the date in its answers."""
    answer = httpx2.get(f"http://127.0.0.1:{port}/healthz", headers={"Host": stage.host}, trust_env=False)
    told = parsedate_to_datetime(answer.headers["date"])
    return round((told - datetime.now(UTC)).total_seconds())


def _library(folder: Path) -> Path:
    """The clock, compiled. Raises: RuntimeError."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise RuntimeError("A C compiler is needed: install gcc.")
    library = folder / "shifted_clock.so"
    subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", str(library), str(_SOURCE), "-ldl"], check=True)
    return library


if __name__ == "__main__":
    sys.exit(main())
