"""An OpenAPI document as a source: its operations as entries, and the requests that call them."""

from __future__ import annotations

from providers.manifest import Entry
from providers.spec import Invoke


def invoke(entry: Entry, title: str) -> Invoke:
    """What calls the operation of `entry`."""
    raise NotImplementedError(entry.name, title)
