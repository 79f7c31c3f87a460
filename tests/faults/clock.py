"""Clocks that are wrong: no refresh storm, no token presented twice, every call right.

PostgreSQL: one of two processes, on another machine as it were, is off by five minutes or a day, and the database's
clock is right. SQLite: both are on the one machine whose clock jumps, the database with them. The clock is moved below
Python, in the C library's functions (a shim of a few lines, compiled when the script runs), so SQLite's own clock moves
too. First with tokens that live an hour, then with tokens of two seconds and all callers at every expiry (`race`).
"""

from __future__ import annotations

import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

from tests.faults.calls import Caller, together
from tests.faults.race import TTL_S, race
from tests.faults.stage import ACCOUNTS, Stage, Verdict, options, staged

SHIFTS_S = {"+5 min": 300, "-5 min": -300, "+1 day": 86_400, "-1 day": -86_400}
_STORM_PER_MINUTE = 2
_SHIM = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long shift(void) {
    static volatile long *at;
    if (!at) {
        const char *name = getenv("CLOCK_SHIFT_FILE");
        int file = name ? open(name, O_RDONLY) : -1;
        void *page = file < 0 ? MAP_FAILED : mmap(0, sizeof(long), PROT_READ, MAP_SHARED, file, 0);
        static volatile long none;
        at = page == MAP_FAILED ? &none : (volatile long *)page;
        if (file >= 0) close(file);
    }
    return *at;
}

int clock_gettime(clockid_t id, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int said = real(id, now);
    if (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE) now->tv_sec += shift();
    return said;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec exact;
    int said = clock_gettime(CLOCK_REALTIME, &exact);
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return said;
}

time_t time(time_t *out) {
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    if (out) *out = exact.tv_sec;
    return exact.tv_sec;
}
"""


class Clock:
    """A clock that is moved while processes go by it."""

    def __init__(self, folder: Path) -> None:
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            raise SystemExit("clock: a C compiler is needed to move the clock of a process")
        source, self._library, self._file = folder / "clock.c", folder / "clock.so", folder / "shift"
        source.write_text(_SHIM)
        subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", self._library, source, "-ldl"], check=True)
        self.move(0)

    @property
    def environment(self) -> dict[str, str]:
        """What a process that goes by it is started with."""
        return {"LD_PRELOAD": str(self._library), "CLOCK_SHIFT_FILE": str(self._file)}

    def works(self) -> bool:
        """Whether Python and SQLite go by it: a program that is linked otherwise would not notice."""
        ask = "sqlite3.connect(\"\").execute(\"SELECT strftime('%s', 'now')\").fetchone()"
        told = f"import sqlite3, time; print(int(time.time()), *{ask})"
        self.move(86_400)
        said = subprocess.run(
            [sys.executable, "-c", told], env=self.environment, capture_output=True, text=True, check=True
        ).stdout.split()
        self.move(0)
        return all(86_300 < int(at) - time.time() < 86_500 for at in said)

    def move(self, seconds: int) -> None:
        """From now on it is that far off."""
        with self._file.open("r+b" if self._file.exists() else "wb") as file:
            file.write(struct.pack("=q", seconds))


def main() -> int:
    """Every shift, each in a process of its own: settings are read once."""
    asked = options(__doc__, rounds=20, callers=20, shift="")
    if asked.shift:
        return shifted(asked.database, asked.shift, rounds=3 if asked.quick else asked.rounds, each=asked.callers)
    script = [sys.executable, "-m", "tests.faults.clock", *sys.argv[1:]]
    ended = [subprocess.run([*script, f"--shift={name}"], check=False) for name in SHIFTS_S]
    return max(process.returncode for process in ended)


def shifted(database: str, name: str, *, rounds: int, each: int) -> int:
    """One shift."""
    with ExitStack() as up:
        clock = Clock(Path(up.enter_context(tempfile.TemporaryDirectory())))
        everywhere = database == "sqlite"
        if not clock.works():
            raise SystemExit("clock: the clock of processes cannot be moved here")
        own = (clock.environment if everywhere else {}, clock.environment)
        stage = up.enter_context(staged(database, own_settings=own))
        verdict = Verdict("clock", {"database": database, "clock": name, "of": "all" if everywhere else "one"})
        member = stage.member("person@example.com")
        stage.connect(member, ACCOUNTS[0])
        caller = stage.caller(member, ACCOUNTS[0])
        quiet(stage, verdict, caller, clock, SHIFTS_S[name], rounds=rounds)
        if everywhere:
            clock.move(0)  # rows are read here by a clock that is right
        stage.faults(access_ttl_s=TTL_S)
        stage.expire([stage.connection(member).pk])
        stage.settled()
        stage.ask(caller)
        verdict.figures["provider_delay_s"] = 0.0
        race(stage, verdict, [caller], rounds=rounds, each=each, killed=False)
        return 0 if verdict.printed() else 1


def quiet(stage: Stage, verdict: Verdict, caller: Caller, clock: Clock, seconds: int, *, rounds: int) -> None:
    """Calls at both processes before, while and after the clock is wrong, with tokens that live an hour."""
    calls = [(replica.port, caller) for replica in stage.replicas] * 3
    before, began = stage.stats()["refreshes"], time.monotonic()
    codes: Counter[str] = Counter()
    for shift in (0, seconds, 0):
        clock.move(shift)
        for _ in range(rounds):
            stage.settled()
            codes.update(reply.code for reply in together(calls))
    refreshes, minutes = stage.stats()["refreshes"] - before, (time.monotonic() - began) / 60
    clock.move(seconds)
    verdict.figures |= {"quiet_calls": codes.total(), "quiet_right": codes["ok"], "quiet_refreshes": refreshes}
    verdict.hold(codes["ok"] == codes.total(), f"not every call was right: {dict(codes)}")
    verdict.hold(refreshes <= _STORM_PER_MINUTE * max(minutes, 1), f"{refreshes} refreshes in {minutes:.1f} minutes")


if __name__ == "__main__":
    sys.exit(main())
