"""Background work of the log; the rules are those of `vault.tasks`."""

from __future__ import annotations

from datetime import UTC, datetime

from audit import sealing, verification
from metaagent.tasks import task


@task
def seal() -> None:
    """Events that are settled and have no checkpoint yet."""
    sealing.work(now=datetime.now(UTC))


@task
def verify() -> None:
    """Logs that somebody wants checked, or that were not checked for a day."""
    verification.work(now=datetime.now(UTC))
