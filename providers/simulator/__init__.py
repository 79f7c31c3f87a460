"""The quirk simulator: providers as they document themselves, to try a catalogue file against.

What stands here is written down after the wire, apart from the catalogue: the two meet only in a request. A fact that
is missing from a file, or wrong in it, shows as a request the simulator does not take.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

PLACES_OF: Final = {
    "gcalendar": "google",
    "gdrive": "google",
    "gmail": "google",
    "jira": "atlassian",
    "msgraph": "microsoft",
}
"""Whose authorization server a provider of the catalogue uses, where it is not called like it."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of trying one thing."""

    name: str
    """What was tried, a short phrase."""
    ok: bool | None
    """None: there is no such thing at this provider."""
    note: str = ""
    """What was seen; never anything foreign."""
