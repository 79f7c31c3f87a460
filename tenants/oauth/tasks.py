"""Background work of the authorization server; the rules are those of `vault.tasks`."""

from __future__ import annotations

from datetime import UTC, datetime

from tenants.background import task
from tenants.oauth import services


@task
def sweep() -> None:
    """Codes, tokens and grants that are over, and clients nobody let in."""
    services.sweep(now=datetime.now(UTC))
