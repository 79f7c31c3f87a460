"""What somebody looks for in a long list; it stands in the address, so that a page can be sent to others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from urllib.parse import urlencode

_LONGEST = 254
"""No filter is longer than an e-mail address."""


def said(given: Mapping[str, str], names: Iterable[str]) -> dict[str, str]:
    """The filters of an address that say something."""
    found = {name: given.get(name, "").strip()[:_LONGEST] for name in names}
    return {name: value for name, value in found.items() if value}


def onward(query: Mapping[str, str], **place: object) -> str:
    """The address of the list's next page, where `place` has a value: the filters stay; else empty."""
    begins = {name: value for name, value in place.items() if value}
    return urlencode({**query, **begins}) if begins else ""
