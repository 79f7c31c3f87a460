"""Background work: each task finds durable rows that are due and calls the one service for them.

No task has arguments, so no message holds anything. Each does a bounded piece of work, may run twice, and may run in
several processes at once.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from metaagent.tasks import task
from tenants import asked, budgets
from vault.services import access, connect, leave, listing, once, question, revoke, rotate

_KEPT = timedelta(days=1)


@task
def revocations() -> None:
    """Tokens that are to be killed at their providers."""
    revoke.sweep()


@task
def rotations() -> None:
    """Rotations of data keys that somebody has begun, or that were cut off."""
    rotate.sweep(now=datetime.now(UTC))


@task
def departures() -> None:
    """Connections whose owner, provider or tenant is gone."""
    leave.end_left(now=datetime.now(UTC))


@task
def outcomes() -> None:
    """Refreshes and exchanges whose process died get an outcome in the log."""
    access.settle()
    connect.settle(now=datetime.now(UTC))


@task
def keep_alive() -> None:
    """Connections that their providers would end for not being used."""
    access.keep_alive(most=20)


@task
def tools() -> None:
    """What providers list now; what has changed waits for an administrator."""
    listing.sweep(now=datetime.now(UTC))


@task
def forget() -> None:
    """Rows nobody needs any more: removed tenants and providers, old questions, used states, days long past."""
    now = datetime.now(UTC)
    leave.purge(now=now)
    question.forget(before=now - _KEPT)
    once.forget(now=now)
    budgets.forget(now=now)
    asked.forget(now=now)
