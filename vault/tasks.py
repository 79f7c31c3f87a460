"""Background work: each task finds durable rows that are due and calls the one service for them.

No task has arguments, so no message holds anything. Each does a bounded piece of work, may run twice, and may run in
several processes at once.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from celery import shared_task
from django.db import InterfaceError, OperationalError

from vault.services import access, connect, consent, leave, revoke

log = logging.getLogger(__name__)

_KEPT = timedelta(days=1)


def _task(work: Callable[[], None]) -> Callable[[], None]:
    """A task of that name. A database that is away is one line, not a traceback every few seconds."""

    @functools.wraps(work)
    def run() -> None:
        try:
            work()
        except (OperationalError, InterfaceError) as away:
            log.warning("%s waits for the database: %s", work.__name__, type(away).__name__)

    task: Callable[[], None] = shared_task(run)
    return task


@_task
def revocations() -> None:
    """Tokens that are to be killed at their providers."""
    revoke.sweep()


@_task
def departures() -> None:
    """Connections whose owner, provider or tenant is gone."""
    leave.end_left(now=datetime.now(UTC))


@_task
def outcomes() -> None:
    """Refreshes and exchanges whose process died get an outcome in the log."""
    access.settle()
    connect.settle(now=datetime.now(UTC))


@_task
def keep_alive() -> None:
    """Connections that their providers would end for not being used."""
    access.keep_alive(most=20)


@_task
def forget() -> None:
    """Rows nobody needs any more: removed tenants and providers, old consents."""
    now = datetime.now(UTC)
    leave.purge(now=now)
    consent.forget(before=now - _KEPT)
