"""What a page that somebody waits on shows, as one short mark: equal marks, equal pages.

The page says which it shows, and a process compares it with what it would show now, for all of its pages at once.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Final, TypeAlias
from uuid import UUID

from django.db.models import F, Model

from tenants.models import Membership
from vault import selectors
from vault.models import Approval, Connection, ConnectLink, Consent

Look: TypeAlias = tuple[UUID, str]
"""Who looks, and at what: `connections`, or one connect link, consent or approval as `link:…`, `consent:…`, …"""

CONNECTIONS: Final = "connections"
_ONE: Final = re.compile(r"(link|consent|approval):([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")
_QUESTION: Final = ("given_at", "declined_at", "withdrawn_at", "used_at", "answer_until", "expires_at")
_OF_CONNECTION: Final = ("connection__status", "connection__installation__enabled")
_KINDS: Final[dict[str, tuple[type[Model], tuple[str, ...]]]] = {
    "link": (ConnectLink, ("used_at", "expires_at", "attempt__outcome", "attempt__expires_at")),
    "consent": (Consent, (*_QUESTION, *_OF_CONNECTION)),
    "approval": (Approval, (*_QUESTION, *_OF_CONNECTION)),
}
"""What the page of one of them depends on."""
_ACCOUNT: Final = ("pk", "status", "is_default", "name", "epoch", "grant_ends_at")


def word(kind: type[Model]) -> str:
    """What a kind of thing is called before its id."""
    return next(word for word, (model, _) in _KINDS.items() if model is kind)


def said(subject: str, *, user_id: UUID, now: datetime) -> str:
    """What the page says of itself: what it shows, and its mark."""
    look = (user_id, subject)
    return f"{subject} {marks([look], now=now).get(look, '')}"


def marks(looks: Collection[Look], *, now: datetime) -> dict[Look, str]:
    """The marks of what these people look at; what is not theirs to see is left out, as what is not there."""
    found: dict[Look, str] = {}
    for kind, (model, columns) in _KINDS.items():
        ids = [match[2] for _, subject in looks if (match := _ONE.fullmatch(subject)) and match[1] == kind]
        rows = model._default_manager.filter(  # noqa: SLF001 - Django's documented name for it
            pk__in=ids,
            tenant__closed_at=None,
            tenant__memberships__user_id=F("user_id"),
            user__is_active=True,
        )
        for pk, user_id, *facts in rows.values_list("pk", "user_id", *columns) if ids else ():
            found[user_id, f"{kind}:{pk}"] = _mark(facts, now)
    if people := {user_id for user_id, subject in looks if subject == CONNECTIONS}:
        found |= {(user_id, CONNECTIONS): mark for user_id, mark in _of_connections(people, now).items()}
    return {look: found[look] for look in looks if look in found}


def _of_connections(people: Collection[UUID], now: datetime) -> dict[UUID, str]:
    shown: dict[UUID, list[object]] = defaultdict(list)
    members = Membership.objects.filter(user_id__in=people, tenant__closed_at=None)
    shared = members.filter(tenant__connections__isnull=False, tenant__connections__owner=None)
    own = Connection.objects.filter(
        owner_id__in=people, tenant__closed_at=None, tenant__memberships__user_id=F("owner_id")
    )
    lists = (
        own.order_by("pk").values_list("owner_id", *_ACCOUNT),
        shared.order_by("tenant__connections__pk").values_list(
            "user_id", *(f"tenant__connections__{column}" for column in _ACCOUNT)
        ),
        selectors.asked_of(people, now=now).order_by("pk").values_list("user_id", "pk"),
        selectors.given_by(people, now=now).order_by("pk").values_list("user_id", "pk"),
    )
    for which, rows in enumerate(lists):
        for user_id, *facts in rows:
            shown[user_id].append([which, *facts])
    return {user_id: _mark(shown[user_id], now) for user_id in people}


def _mark(facts: Iterable[object], now: datetime) -> str:
    """Of a moment only whether it has come: what was shown before it is not what is shown after."""
    return hashlib.sha256(repr(_plain(list(facts), now)).encode()).hexdigest()[:16]


def _plain(fact: object, now: datetime) -> object:
    if isinstance(fact, list):
        return [_plain(each, now) for each in fact]
    return fact > now if isinstance(fact, datetime) else fact
