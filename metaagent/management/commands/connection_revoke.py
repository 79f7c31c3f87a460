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

    help = "End a connection; its tokens are revoked at the provider."

    def arguments(self, parser: CommandParser) -> None:
        """The connection's id, from connection_list."""
        parser.add_argument("id", type=UUID)

    def work(self, **options: Any) -> Found:
        """Revoke it."""
        row = selectors.connection(options["id"])
        if row is None:
            raise Refused("There is no such connection. See: manage.py connection_list TENANT")
        if not revoke.disconnect(connection=row, by=None):
            raise Refused("It is not used any more, but the provider has not confirmed yet. Run this again later.")
        return {"id": row.pk, "status": "revoked", "text": f"{row.account_label} is revoked."}
