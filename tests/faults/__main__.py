"""`make faults`: every fault script with its full numbers, one JSON line a scenario; 0 only if every one held.

Takes hours. `--quick` is a first look in minutes; `--only race` runs those whose name begins so.
"""

from __future__ import annotations

import argparse
import subprocess
import sys

from tests.faults.replicas import ROOT

BOTH = ("postgresql", "sqlite")
RUNS = [
    *(("race", "--database", database) for database in BOTH),
    *(("race", "--database", database, "--redis", "killed") for database in BOTH),
    *(("race", "--database", database, "--provider-delay", "3") for database in BOTH),
    # 200 expiries as 20 rounds of 10 connections: a round takes half a minute.
    ("race", "--db-latency", "1", "--connections", "10", "--rounds", "20"),
    ("race", "--db-latency", "1", "--rounds", "10"),
    *(("race", "--redis", kind, "--rounds", "50") for kind in ("slow", "lying")),
    *(("race", "--database", database, "--connections", "10", "--rounds", "20") for database in BOTH),
    *((script, "--database", database) for script in ("callbacks", "crash", "stopped", "secrets") for database in BOTH),
    ("clock",),
    ("outage",),
    *(("foreign", "--database", database) for database in BOTH),
    *(("rotation", "--database", database) for database in BOTH),
]


def main() -> int:
    """Run them one after the other, and go on after one that failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", default="")
    asked = parser.parse_args()
    failed = []
    for script, *words in RUNS:
        if not script.startswith(asked.only):
            continue
        command = [sys.executable, "-m", f"tests.faults.{script}", *words, *(["--quick"] if asked.quick else [])]
        if subprocess.run(command, cwd=ROOT, check=False).returncode:
            failed.append(" ".join((script, *words)))
    for each in failed:
        sys.stderr.write(f"failed: python -m tests.faults.{each}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
