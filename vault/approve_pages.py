"""What people read about approvals: the one call, whole, in words and as it will be sent."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby

from providers import selectors as providers
from providers.spec import Effect, Json, ProviderSpec
from tenants import selectors as tenants
from vault.crypto import KeysUnavailable
from vault.models import Approval
from vault.services import approve
from vault.services.question import Stop, Stopped

_FOLD_CHARS = 400
_ACTS = {
    Effect.READ: "Reads only: nothing is changed or deleted.",
    Effect.WRITE: "Changes something.",
    Effect.DESTRUCTIVE: "Deletes something. It may be gone for good.",
}
_UNSEEN = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
"""Printable by Unicode's categories, and blank on every screen; besides them, variation selectors."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a text: as it is, or one character that nobody would see, by its code."""

    text: str
    unseen: bool


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument, whole. Both are somebody else's words: text, never markup."""

    name: tuple[Piece, ...]
    value: tuple[Piece, ...]
    start: tuple[Piece, ...]
    """Of a value that folds; empty for others."""
    length: int
    """In characters."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """Everything the approval page says."""

    row: Approval
    spec: ProviderSpec
    client: str
    """What its owner calls the client; empty when it is gone."""
    tool: tuple[Piece, ...]
    summary: tuple[Piece, ...]
    act: str
    danger: bool
    arguments: tuple[Argument, ...]


def sheet(row: Approval) -> Sheet:
    """The page of one call. Raises: Stopped when it cannot be shown as it was asked."""
    try:
        call = approve.call_of(row)
    except KeysUnavailable:
        raise Stopped(Stop.CLOSED) from None
    if call is None:
        raise Stopped(Stop.CHANGED)
    effect = call.tool.effect
    return Sheet(
        row=row,
        spec=providers.spec_of(row.connection.installation),
        client=tenants.client_name(row.client),
        tool=pieces(call.tool.name),
        summary=pieces(call.tool.summary),
        act=_ACTS[effect],
        danger=effect is Effect.DESTRUCTIVE,
        arguments=tuple(_arguments(call)),
    )


def pieces(text: str) -> tuple[Piece, ...]:
    """The text with what turns it round, hides in it or takes no room in it made visible."""
    found: list[Piece] = []
    for unseen, chars in groupby(text, _is_unseen):
        run = "".join(chars)
        found += [Piece(f"U+{ord(char):04X}", unseen=True) for char in run] if unseen else [Piece(run, unseen=False)]
    return tuple(found)


def _is_unseen(char: str) -> bool:
    if char in "\n\t":
        return False
    variation = "\ufe00" <= char <= "\ufe0f" or "\U000e0100" <= char <= "\U000e01ef" or "\u180b" <= char <= "\u180f"
    return not char.isprintable() or char in _UNSEEN or variation


def _arguments(call: approve.Call) -> Iterator[Argument]:
    """In the order the tool names them."""
    known = [name for name in call.tool.params if name in call.args]
    for name in dict.fromkeys([*known, *call.args]):
        text = _text(call.args[name])
        start = text[:_FOLD_CHARS] if len(text) > _FOLD_CHARS else ""
        yield Argument(pieces(name), pieces(text), pieces(start), len(text))


def _text(value: Json | Mapping[str, Json]) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)
