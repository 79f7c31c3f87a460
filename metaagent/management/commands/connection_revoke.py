"""`connection_revoke ID`: end a connection, here and at the provider."""

from typing import Any
from uuid import UUID

from django.core.management.base import CommandParser

from metaagent.management.answering import Answering, Found
from tenants.services import Refused
from vault import selectors
from vault.services import revoke


class Command(Answering):
    """Revoke a connection."""

    help = "End a connection here at once, and revoke its tokens at the provider; again: try that again now."

    def arguments(self, parser: CommandParser) -> None:
        """The connection's id, from connection_list."""
        parser.add_argument("id", type=UUID)

    def work(self, **options: Any) -> Found:
        """Revoke it."""
        row = selectors.connection(options["id"])
        if row is None:
            raise Refused("There is no such connection. See: manage.py connection_list TENANT")
        revoke.disconnect(connection=row, by=None)
        row.refresh_from_db()
        return {"id": row.pk, "status": row.status, "reason": row.reason, "text": revoke.in_words(row)}
