"""What the suite found, read from the files it writes and judged against the baseline."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import yaml

_FOLDER = re.compile(r"(?:server-|authorization-server-)?(.+)-\d{4}-\d\d-\d\dT.*")
_ENTRY = re.compile(r"[a-z0-9-]+(:[A-Za-z0-9$_-]+)?")


@dataclass(frozen=True, slots=True)
class Check:
    """One thing the suite looked at."""

    id: str
    status: str
    message: str = ""

    @property
    def failed(self) -> bool:
        """A warning counts: it is a SHOULD that does not hold."""
        return self.status in {"FAILURE", "WARNING"}


Found: TypeAlias = Mapping[str, Sequence[Check]]


def read(folder: Path, *, untestable: bool = True) -> Found:
    """By scenario, what a run of the suite left in its output folder.

    Without `untestable`, what the suite could not look at, because it needs tools of its own for it, is left out.
    """
    found: dict[str, list[Check]] = {}
    for file in sorted(folder.glob("**/checks.json")):
        named = _FOLDER.fullmatch(file.parent.name)
        checks = found.setdefault(named[1] if named else file.parent.name, [])
        for raw in json.loads(file.read_text(encoding="utf-8")):
            if untestable or not (raw.get("details") or {}).get("untestable"):
                checks.append(Check(raw["id"], raw["status"], raw.get("errorMessage") or ""))
    return found


def baseline(file: Path) -> frozenset[str]:
    """The entries of a baseline in the suite's own form: `scenario` or `scenario:check`. Raises: ValueError."""
    entries = (yaml.safe_load(file.read_text(encoding="utf-8")) or {}).get("server") or []
    for entry in entries:
        if not isinstance(entry, str) or _ENTRY.fullmatch(entry) is None:
            raise ValueError(f"{file.name}: {entry!r} is neither a scenario nor scenario:check")
    return frozenset(entries)


def wrong(found: Found, counted: Collection[str], excused: Collection[str] = ()) -> list[str]:
    """Sentences about what is not as it should be; none when a run is good.

    `counted` are the scenarios that had to run and hold. `excused` are the failures known before, each of which has
    to be one still.
    """
    said, used = [], set()
    for scenario in counted:
        checks = found.get(scenario, ())
        if all(check.status == "INFO" for check in checks):
            said.append(f"{scenario}: nothing was checked")
        for check in (each for each in checks if each.failed):
            if excuse := _excuse(scenario, check, excused):
                used.add(excuse)
            else:
                said.append(f"{scenario}:{check.id}: {check.message}")
    return said + [f"{entry}: excused, but it does not fail" for entry in sorted(set(excused) - used)]


def lines(found: Found, counted: Collection[str], excused: Collection[str] = ()) -> Iterator[str]:
    """A line a counted scenario, and one about the others."""
    for scenario, checks in found.items():
        if scenario in counted:
            held = sum(check.status == "SUCCESS" for check in checks)
            failed = [check for check in checks if check.failed]
            known = [check for check in failed if _excuse(scenario, check, excused)]
            mark = "ok" if not failed else "excused" if known == failed else "FAIL"
            yield f"{mark:<8} {scenario:<46} {held:>3} held" + (f", {len(failed)} failed" if failed else "")
    if others := [each for each in found if each not in counted]:
        yield f"Ran and is not counted: {', '.join(others)}"


def _excuse(scenario: str, check: Check, excused: Collection[str]) -> str | None:
    return next((entry for entry in (scenario, f"{scenario}:{check.id}") if entry in excused), None)
