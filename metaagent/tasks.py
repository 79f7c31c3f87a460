"""How background work is declared."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable

from celery import shared_task
from django.db import InterfaceError, OperationalError

log = logging.getLogger(__name__)


def task(work: Callable[[], None]) -> Callable[[], None]:
    """A task of that name. A database that is away is one line, not a traceback every few seconds."""

    @functools.wraps(work)
    def run() -> None:
        try:
            work()
        except (OperationalError, InterfaceError) as away:
            log.warning("%s waits for the database: %s", work.__name__, type(away).__name__)

    made: Callable[[], None] = shared_task(run)
    return made
