"""Sessions whose row is named by a digest of the cookie: who can read the database is logged in as nobody.

Only the synchronous methods, which is all that our pages use; the others find no session.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Any, Final, cast
from uuid import UUID

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends import db
from django.contrib.sessions.base_session import AbstractBaseSession
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from tenants import refusals
from tenants.models import Session, User

_BEGAN: Final = "began"
_SEEN: Final = "seen"
_AGENT: Final = "agent"
_ADDRESS: Final = "address"
_SEEN_EVERY = timedelta(minutes=5)
"""A session is written when it is used, but not more often than that."""
_ADDRESS_CHARS = 45
_CHARS = 40
"""What Django's column holds: 160 bits in hexadecimal."""


class SessionStore(db.SessionStore):
    """Django's database store under other names, in rows that know whose they are."""

    @classmethod
    def get_model_class(cls) -> type[Session]:
        """The rows."""
        return Session

    def exists(self, session_key: str | None) -> bool:
        """Whether there is a session with this cookie."""
        return super().exists(_name(session_key or ""))

    def delete(self, session_key: str | None = None) -> None:
        """End it."""
        if key := session_key or self.session_key:
            super().delete(_name(key))

    def create_model_instance(self, data: dict[str, Any]) -> AbstractBaseSession:
        """The row as it is stored; what it says beside the data is taken from there, for each saving makes it anew."""
        began, seen = data.setdefault(_BEGAN, timezone.now().timestamp()), data.get(_SEEN)
        return Session(
            session_key=_name(self._get_or_create_session_key()),  # type: ignore[attr-defined]  # the stubs leave it out
            session_data=self.encode(data),
            expire_date=self.get_expiry_date(),
            user_id=data.get(SESSION_KEY),
            created_at=datetime.fromtimestamp(began, UTC),
            seen_at=datetime.fromtimestamp(seen, UTC) if seen else None,
            agent=data.get(_AGENT, ""),
            address=data.get(_ADDRESS, ""),
        )

    def get_session_cookie_age(self) -> int:
        """Seconds that are left of it: it ends so long after it began, however often it is written meanwhile."""
        began = self.get(_BEGAN)
        left = settings.SESSION_COOKIE_AGE - (timezone.now().timestamp() - began if began else 0)
        return max(0, int(left))

    def _get_session_from_db(self) -> Session | None:
        row = Session.objects.filter(session_key=_name(self.session_key or ""), expire_date__gt=timezone.now()).first()
        if row is None:
            self._session_key = None
        return row


def seen(request: HttpRequest, *, now: datetime) -> None:
    """Note that somebody uses their session, where from and with what. One that the request did not need is left."""
    session = request.session
    if not session.accessed or SESSION_KEY not in session:
        return
    if now.timestamp() - session.get(_SEEN, 0) >= _SEEN_EVERY.total_seconds():
        session[_SEEN] = now.timestamp()
        session[_AGENT] = browser(request.headers.get("User-Agent", ""))
        session[_ADDRESS] = refusals.address(request)[:_ADDRESS_CHARS]


_BROWSERS = (
    ("Edge", r"\bEdg(?:e|A|iOS)?/"),
    ("Opera", r"\bOPR/"),
    ("Samsung Internet", r"\bSamsungBrowser/"),
    ("Firefox", r"\b(?:Firefox|FxiOS)/"),
    ("Chrome", r"\b(?:Chrome|Chromium|CriOS|HeadlessChrome)/"),
    ("Safari", r"\bVersion/\S+ .*\bSafari/"),
)
_SYSTEMS = (
    ("iPhone", r"\biPhone\b"),
    ("iPad", r"\biPad\b"),
    ("Android", r"\bAndroid\b"),
    ("ChromeOS", r"\bCrOS\b"),
    ("Windows", r"\bWindows\b"),
    ("macOS", r"\bMacintosh\b"),
    ("Linux", r"\bLinux\b"),
)
"""The first that fits: browsers also name those they are like."""


def browser(agent: str) -> str:
    """What people call a browser that names itself so, such as “Firefox on Linux”; empty when it is none we know."""
    found = [next((name for name, sign in known if re.search(sign, agent)), "") for known in (_BROWSERS, _SYSTEMS)]
    return " on ".join(filter(None, found))


def mine(request: HttpRequest) -> str:
    """The row of the session a request came with."""
    return _name(request.session.session_key or "")


def sessions_of(user_id: UUID, *, now: datetime) -> QuerySet[Session]:
    """Where somebody is logged in, the last used first."""
    return Session.objects.filter(user_id=user_id, expire_date__gt=now).order_by("-seen_at", "-created_at")


def end(*, user_id: UUID, key: str) -> bool:
    """End one of a person's sessions, by its row. False when there was none."""
    return bool(Session.objects.filter(user_id=user_id, pk=key).delete()[0])


def end_all(*, user_id: UUID, but: str = "") -> int:
    """End a person's sessions, except for one row. How many there were."""
    return Session.objects.filter(user_id=user_id).exclude(pk=but).delete()[0]


def sweep(*, now: datetime, most: int = 5_000) -> None:
    """Delete sessions that are over."""
    over = Session.objects.filter(expire_date__lt=now).values_list("pk", flat=True)[:most]
    Session.objects.filter(pk__in=list(over)).delete()


def _name(session_key: str) -> str:
    return hashlib.sha256(session_key.encode()).hexdigest()[:_CHARS]


def logged_in(cookies: Collection[str], *, now: datetime) -> dict[str, UUID]:
    """Whose these sessions are; what ended or is not believed any more is left out.

    As Django finds it out for a page, for many at once, and without ending or renewing anything: there is no answer
    that could carry another cookie.
    """
    names = {_name(cookie): cookie for cookie in cookies}
    rows = Session.objects.filter(session_key__in=names, expire_date__gt=now, user__is_active=True)
    return {names[row.session_key]: row.user.pk for row in rows.select_related("user") if row.user and _stands(row)}


def _stands(row: Session) -> bool:
    """Whether it says what its row says, and its person's password is the one they logged in with."""
    said, user = row.get_decoded(), cast("User", row.user)
    hashes = [user.get_session_auth_hash(), *user.get_session_auth_fallback_hash()]
    return (
        said.get(SESSION_KEY) == str(user.pk)
        and said.get(BACKEND_SESSION_KEY) in settings.AUTHENTICATION_BACKENDS
        and any(constant_time_compare(said.get(HASH_SESSION_KEY, ""), each) for each in hashes)
    )
