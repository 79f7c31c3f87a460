"""Background work about people and the clients they let in; the rules are those of `vault.tasks`."""

from __future__ import annotations

from datetime import UTC, datetime

from metaagent.tasks import task
from tenants import repeats, sessions
from tenants.oauth import services


@task
def sweep() -> None:
    """Codes, tokens, grants, sessions and kept answers that are over, and clients nobody let in."""
    now = datetime.now(UTC)
    services.sweep(now=now)
    sessions.sweep(now=now)
    repeats.forget(now=now)
