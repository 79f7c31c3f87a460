"""Sessions whose row is named by a digest of the cookie: who can read the database is logged in as nobody.

Only the synchronous methods, which is all that our pages use; the others find no session.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any, Final

from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.backends import db
from django.contrib.sessions.base_session import AbstractBaseSession
from django.utils import timezone

from tenants.models import Session

_BEGAN: Final = "began"
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
        began = data.setdefault(_BEGAN, timezone.now().timestamp())
        return Session(
            session_key=_name(self._get_or_create_session_key()),  # type: ignore[attr-defined]  # the stubs leave it out
            session_data=self.encode(data),
            expire_date=self.get_expiry_date(),
            user_id=data.get(SESSION_KEY),
            created_at=datetime.fromtimestamp(began, UTC),
        )

    def _get_session_from_db(self) -> Session | None:
        row = Session.objects.filter(session_key=_name(self.session_key or ""), expire_date__gt=timezone.now()).first()
        if row is None:
            self._session_key = None
        return row


def _name(session_key: str) -> str:
    return hashlib.sha256(session_key.encode()).hexdigest()[:_CHARS]
