"""`user_password EMAIL`: another password for somebody who has lost theirs."""

from typing import Any

from django.core.management.base import CommandParser

from metaagent.management.answering import Answering, Found, secret_from_stdin, user_named
from tenants import services


class Command(Answering):
    """Give a user another password."""

    help = "Give a user another password. Whoever is logged in as them is logged out; keys and clients stay."

    def arguments(self, parser: CommandParser) -> None:
        """The address; the password comes from standard input alone."""
        parser.add_argument("email")
        parser.add_argument("--password-stdin", action="store_true", required=True, help="read it from standard input")

    def work(self, **options: Any) -> Found:
        """Set it."""
        user = user_named(options["email"])
        services.set_password(user=user, password=secret_from_stdin("password"), by=None)
        text = f"{user.email} has another password, and is logged in nowhere."
        return {"id": user.pk, "email": user.email, "text": text}
