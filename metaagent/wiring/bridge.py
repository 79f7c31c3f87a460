"""Where sync meets async: threads that keep their database connections."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper

T = TypeVar("T")


class Bridge:
    """Runs sync Django code off the event loop, in threads that keep their database connections.

    Two pools: a refresh may wait for a provider, and must not keep quick reads from a thread.
    """

    def __init__(self) -> None:
        self._quick = ThreadPoolExecutor(8, "db")
        self._slow = ThreadPoolExecutor(32, "vault")

    async def quick(self, work: Callable[[], T]) -> T:
        """Run `work`, which touches nothing but the database."""
        return await asyncio.get_running_loop().run_in_executor(self._quick, tidy, work)

    async def slow(self, work: Callable[[], T]) -> T:
        """Run `work`, which may wait for a provider."""
        return await asyncio.get_running_loop().run_in_executor(self._slow, tidy, work)

    def close(self) -> None:
        """Wait for what is running: a refresh that has been answered must be stored."""
        self._slow.shutdown(wait=True)
        self._quick.shutdown(wait=True)


_opened: set[BaseDatabaseWrapper] = set()
"""The database connections of our threads, to be closed when the process ends."""


def tidy(work: Callable[[], T]) -> T:
    """Run `work` with what Django does around its own requests."""
    connection = connections[DEFAULT_DB_ALIAS]
    _opened.add(connection)
    try:
        return work()
    finally:
        # PostgreSQL's goes back to the pool; SQLite's stays with the thread, since opening one costs more than a query.
        if connection.vendor != "sqlite" or connection.errors_occurred:
            connection.close()


def close_connections() -> None:
    """After the threads have ended: nobody else uses their connections."""
    while _opened:
        connection = _opened.pop()
        connection.inc_thread_sharing()
        connection.close()
        if close_pool := getattr(connection, "close_pool", None):  # PostgreSQL's
            close_pool()
