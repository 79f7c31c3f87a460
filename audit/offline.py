"""Checking an exported log against checkpoints, on any machine: no database, no Django, no secret.

`python manage.py audit_verify --export FILE --checkpoints DIR` is this.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

from audit import outside
from audit.chain import FIELDS, Broken, Checkpoint, Entry, Walk, entry
from audit.outside import Kept

Said = Callable[[Checkpoint], None]
"""Is told of each checkpoint that holds."""
_KEY = re.compile(r"[0-9a-f]{64}")
_NAMES = frozenset(FIELDS)


class Unusable(Exception):
    """What was given cannot be checked at all; the message says why."""


def verify(export: Path, checkpoints: Path, trusted: Collection[str], said: Said) -> dict[str, Any]:
    """Hold a file that `audit_export` or the console wrote against checkpoints: a folder of them, or one file.

    Without `trusted` the keys that stand beside the checkpoints are taken for the deployment's. Raises: Broken,
    Unusable, OSError.
    """
    with export.open("rb") as lines:
        events = _events(lines)
        first = next(events, None)
        tenant_id = first.tenant_id if first else _only_tenant(checkpoints)
        kept = outside.of(checkpoints, tenant_id) if checkpoints.is_dir() else Kept.at(checkpoints)
        keys = frozenset(trusted) or outside.keys(checkpoints if checkpoints.is_dir() else checkpoints.parent)
        if not kept.size:
            raise Unusable(f"{checkpoints} holds no checkpoints of tenant {tenant_id}.")
        if not keys:
            raise Unusable("No public key is known. Name it with --key; the console shows it.")
        late = {seq for each in kept.read() for seq in each.late}
        walk = Walk(tenant_id, _again(first, events), keys, late=late)
        signed_by = set()
        for checkpoint in kept.read():
            walk.through(checkpoint)
            signed_by.add(checkpoint.key)
            said(checkpoint)
        return stated(walk.last, signed_by, unsealed=walk.rest())


def stated(last: Checkpoint | None, signed_by: Collection[str], *, unsealed: int) -> dict[str, Any]:
    """What is said of a log that holds."""
    return {
        "whole": True,
        "tenant": last.tenant_id if last else None,
        "events": last.total if last else 0,
        "checkpoints": last.number if last else 0,
        "sealed_to": last.to_seq if last else 0,
        "sealed_at": last.at if last else None,
        "not_sealed": unsealed,
        "keys": sorted(signed_by),
    }


def in_words(found: dict[str, Any]) -> str:
    """The same for people."""
    text = (
        f"Whole: {found['events']:,} events fit {found['checkpoints']:,} checkpoints, up to event {found['sealed_to']} "
        f"({str(found['sealed_at'])[:19]})."
    )
    if found["not_sealed"]:
        text += f" {found['not_sealed']:,} later ones are not sealed, and nothing is known of them."
    return f"{text} Signed by {', '.join(found['keys'])}."


def key(text: str) -> str:
    """A public key as it is shown. Raises: argparse.ArgumentTypeError."""
    if not _KEY.fullmatch(text):
        raise argparse.ArgumentTypeError("a public key is 64 hexadecimal digits")
    return text


def _only_tenant(checkpoints: Path) -> str:
    found = outside.tenants(checkpoints) if checkpoints.is_dir() else []
    if len(found) == 1:
        return found[0]
    raise Unusable("The export holds no events, so that it cannot be told whose it is.")


def _again(first: Entry | None, rest: Iterator[Entry]) -> Iterator[Entry]:
    if first is not None:
        yield first
    yield from rest


def _events(lines: Iterator[bytes] | Any) -> Iterator[Entry]:  # noqa: ANN401 - an open file
    for place, line in enumerate(lines, 1):
        made = None
        try:
            event = json.loads(line)
            if event.keys() == _NAMES and type(event["seq"]) is int and type(event["tenant_id"]) is str:
                made = entry(event)
        except (ValueError, AttributeError, RecursionError):
            pass
        # A name that stands there twice is read in one way and shown in another.
        if made is None or (made.line != line.rstrip() and _twice(line)):
            raise Broken(f"Line {place} is not an event as it was exported.")
        yield made


def _twice(line: bytes) -> bool:
    def seen(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise ValueError
        return found

    try:
        json.loads(line, object_pairs_hook=seen)
    except ValueError:
        return True
    return False


class Progress:
    """One line on standard error that changes, where somebody watches."""

    def __init__(self) -> None:
        self._shows = sys.stderr.isatty()
        self._last = 0

    def __call__(self, checkpoint: Checkpoint) -> None:
        """Say how far it has come, every 50,000 events."""
        if self._shows and checkpoint.total - self._last >= 50_000:  # noqa: PLR2004 - about a second's work
            self._last = checkpoint.total
            sys.stderr.write(f"\r{checkpoint.total:,} events hold")
            sys.stderr.flush()

    def end(self) -> None:
        """Make room for the answer."""
        if self._last:
            sys.stderr.write("\r\033[K")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Those of `audit_verify`."""
    parser.add_argument("--export", type=Path, help="a file of `audit_export`; then no database is used")
    parser.add_argument("--checkpoints", type=Path, help="the folder AUDIT_CHECKPOINT_DIR, or a copy of it")
    parser.add_argument("--key", type=key, action="append", default=[], help="a public key that signs; may be repeated")


def main(words: list[str]) -> int:
    """The command alone; what it gives back is its exit code."""
    parser = argparse.ArgumentParser("audit_verify", description=__doc__.splitlines()[0] if __doc__ else None)
    arguments(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    given = parser.parse_args(words)
    if given.export is None or given.checkpoints is None:
        parser.error("without a database both --export and --checkpoints are needed")
    progress = Progress()
    try:
        found = verify(given.export, given.checkpoints, given.key, progress)
        problem = ""
    except Broken as broken:
        problem = str(broken)
        found = {"whole": False, "problem": problem}
    except (Unusable, OSError) as wrong:
        sys.stderr.write(f"{wrong}\n")
        return 1
    progress.end()
    if given.json:
        sys.stdout.write(json.dumps(found) + "\n")
    elif not problem:
        sys.stdout.write(in_words(found) + "\n")
    if problem:
        sys.stderr.write(f"{problem}\n")
    return 1 if problem else 0
