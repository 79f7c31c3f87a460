"""Celery's worker and beat as threads of the web process, where no broker is configured.

The queue is in memory and is lost with the process. Nothing is lost with it: all work is rows, and beat looks again.
"""

from __future__ import annotations

import logging
import threading
from typing import Any

from django.db import connections

log = logging.getLogger(__name__)

_START_AFTER_S = 2.0
"""Celery takes most of a second to load: that must not be the second in which the first calls come."""
_STOP_S = 4.0


class Embedded:
    """The two threads. Both die with the process: a task that waits for a provider does not keep it from ending."""

    def __init__(self) -> None:
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="background", daemon=True)
        self._parts: list[Any] = []

    def start(self) -> None:
        """Returns at once; the work begins a little later."""
        self._thread.start()

    def stop(self) -> None:
        """No new work; returns when what is being done is done, and after four seconds at the latest.

        What is cut off then is found again by the next process.
        """
        self._stopping.set()
        for part in self._parts:
            part.stop()
        self._thread.join(_STOP_S)

    def _run(self) -> None:
        if self._stopping.wait(_START_AFTER_S):
            return
        from celery import signals  # noqa: PLC0415 - see _START_AFTER_S
        from celery.beat import Service  # noqa: PLC0415

        from metaagent.celery import app  # noqa: PLC0415

        app.set_default()
        signals.task_postrun.connect(_close_connections)
        # `solo`: tasks run in this very thread. A pool's threads would be waited for when the process ends.
        worker = app.WorkController(
            app=app, pool_cls="solo", without_heartbeat=True, without_mingle=True, without_gossip=True
        )
        beat = Service(app, max_interval=1, scheduler_cls=app.conf.beat_scheduler)
        threading.Thread(target=beat.start, name="beat", daemon=True).start()
        self._parts = [beat, worker]
        if not self._stopping.is_set():
            log.info("background work runs in this process")
            worker.start()
        if not self._stopping.is_set():
            log.error("background work has stopped; restart this process")


def _close_connections(**_: object) -> None:
    connections.close_all()
