"""Sessions whose row is named by a digest of the cookie: who can read the database is logged in as nobody.

Only the synchronous methods, which is all that our pages use; the others find no session.
"""

from __future__ import annotations

import hashlib
from typing import Any

from django.contrib.sessions.backends import db
from django.contrib.sessions.base_session import AbstractBaseSession
from django.contrib.sessions.models import Session
from django.utils import timezone

_CHARS = 40
"""What Django's column holds: 160 bits in hexadecimal."""


class SessionStore(db.SessionStore):
    """Django's database store under other names."""

    def exists(self, session_key: str | None) -> bool:
        """Whether there is a session with this cookie."""
        return super().exists(_name(session_key or ""))

    def delete(self, session_key: str | None = None) -> None:
        """End it."""
        if key := session_key or self.session_key:
            super().delete(_name(key))

    def create_model_instance(self, data: dict[str, Any]) -> AbstractBaseSession:
        """The row as it is stored."""
        row = super().create_model_instance(data)
        row.session_key = _name(row.session_key)
        return row

    def _get_session_from_db(self) -> Session | None:
        row = Session.objects.filter(session_key=_name(self.session_key or ""), expire_date__gt=timezone.now()).first()
        if row is None:
            self._session_key = None
        return row


def _name(session_key: str) -> str:
    return hashlib.sha256(session_key.encode()).hexdigest()[:_CHARS]
