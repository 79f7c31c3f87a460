"""A remote MCP server as a source: its tools as entries, and calls over lean JSON-RPC."""

from __future__ import annotations

from providers.manifest import Entry
from providers.spec import Invoke


def invoke(entry: Entry, title: str) -> Invoke:
    """What calls the tool of `entry`."""
    raise NotImplementedError(entry.name, title)
