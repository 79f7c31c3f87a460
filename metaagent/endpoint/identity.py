"""Who the server says it is at an endpoint: the same in `initialize`, `server/discover` and every result's stamp."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from metaagent import __version__
from metaagent.agent.types import Export

NAME = "metaagent"
STAMP = "io.modelcontextprotocol/serverInfo"
"""The `_meta` key of every 2026-07-28 result."""
_OPEN = "If an answer gives a link, ask the user to open it, then repeat the same call."
_LISTED = 20
"""Tools named in the instructions of a tenant's endpoint; `tools/list` has them all."""


@lru_cache(maxsize=4_096)
def server_info(tenant: str, export: Export | None) -> dict[str, str]:
    """The wire's `serverInfo` at a tenant's endpoint, or at that of one provider. Shared by all: not to be changed."""
    if export is None:
        return {"name": NAME, "title": f"{tenant} on {NAME}", "version": __version__}
    return {"name": f"{NAME}-{export.provider_id}", "title": f"{export.title} on {NAME}", "version": __version__}


def instructions(exports: Sequence[Export]) -> str:
    """One or two sentences for the model, about the tools that are listed here."""
    match exports:
        case []:
            return f"No provider is available here yet. {_OPEN}"
        case [only]:
            about = f" about {only.about}" if only.about else ""
            return f"Ask {only.tool}{about} in plain words. {_OPEN}"
        case several:
            more = f" and {len(several) - _LISTED} more" if len(several) > _LISTED else ""
            named = ", ".join(export.tool for export in several[:_LISTED])
            return f"One tool per provider: {named}{more}. Ask in plain words. {_OPEN}"
