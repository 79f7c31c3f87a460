"""One JSON object, read strictly; without REST framework, which whoever needs only this would load."""

from __future__ import annotations

import json
from typing import NoReturn

NOT_AN_OBJECT = "The body must be one JSON object in which each name stands once."


def read_object(body: bytes) -> dict[str, object]:
    """One JSON object in which each name stands once. Raises: ValueError."""
    try:
        found = json.loads(body, object_pairs_hook=_once, parse_constant=_refuse)
    except RecursionError:
        raise ValueError from None
    if not isinstance(found, dict):
        raise ValueError  # noqa: TRY004 - what is raised for every other body that is not one
    return found


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError
    return members


def _refuse(_: str) -> NoReturn:
    raise ValueError
