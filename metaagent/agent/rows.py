"""Which row of a list somebody means: by name, or because there is only one; pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from metaagent.agent import foreign
from providers.spec import Json, Producer
from providers.tools import clean


@dataclass(frozen=True, slots=True)
class Picked:
    """The value for the parameter (None when it is optional and nobody named one) and the words not used for it."""

    value: Json
    words: str


@dataclass(frozen=True, slots=True)
class Missed:
    """No one row; the sentence asks for what is needed."""

    sentence: str


def pick_row(data: Json, producer: Producer, words: str, *, needed: bool) -> Picked | Missed:
    """Find the row that `words` name; without a name, the only row, or the first when the producer says so."""
    rows = [row for row in data if isinstance(row, Mapping) and row.get(producer.field)] if _is_list(data) else []
    named = [(row, left) for row in rows if (left := _without_name(row, producer, words)) is not None]
    if named:
        fewest = min(len(left) for _, left in named)
        best = [(row, left) for row, left in named if len(left) == fewest]
        if len(best) == 1:
            return Picked(best[0][0][producer.field], best[0][1])
        return Missed(f"Which one do you mean? {_listed([row for row, _ in best], producer)}")
    if not needed:
        return Picked(None, words)
    if not rows:
        return Missed("There is nothing here to look in yet: the account has access to none.")
    if len(rows) == 1 or producer.pick == "first":
        return Picked(rows[0][producer.field], words)
    return Missed(f"There are {len(rows)}, please name one: {_listed(rows, producer)}")


def _is_list(data: Json) -> bool:
    return isinstance(data, Sequence) and not isinstance(data, str | bytes)


def _without_name(row: Mapping[str, Json], producer: Producer, words: str) -> str | None:
    """`words` less the row's name, or None when they do not hold it. A name also matches by its first part."""
    spoken = _plain(words)
    for key in (producer.field, *producer.names):
        name = _plain(str(row.get(key) or ""))
        for form in (name, name.split(" ")[0] if " " in name else ""):
            if form and re.search(rf"\b{re.escape(form)}\b", spoken):
                return re.sub(rf"\b{re.escape(form)}\b", " ", spoken, count=1).strip()
    return None


def _plain(text: str) -> str:
    return " ".join(re.sub(r"[\W_]+", " ", text.lower()).split())


def _listed(rows: Sequence[Mapping[str, Json]], producer: Producer) -> str:
    names = [foreign.words(clean(str(row[producer.field]), 60)) for row in rows[:10]]
    more = f" and {len(rows) - 10} more" if len(rows) > 10 else ""  # noqa: PLR2004 - as many as a sentence carries
    return f"{', '.join(names)}{more}."
