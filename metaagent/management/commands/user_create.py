"""`user_create EMAIL`: a new person."""

from typing import Any

from django.core.management.base import CommandParser

from metaagent.management.answering import Answering, Found, secret_from_stdin
from tenants import services


class Command(Answering):
    """Make a user."""

    help = "Make a user. Without a password they cannot log in until one is set."

    def arguments(self, parser: CommandParser) -> None:
        """Address, name, password, operator."""
        parser.add_argument("email")
        parser.add_argument("--name", default="")
        parser.add_argument("--password-stdin", action="store_true", help="read the password from standard input")
        parser.add_argument("--operator", action="store_true", help="may use /admin/")

    def work(self, **options: Any) -> Found:
        """Make them."""
        password = secret_from_stdin("password") if options["password_stdin"] else None
        row = services.create_user(
            email=options["email"], name=options["name"], password=password, operator=options["operator"]
        )
        return {"id": row.pk, "email": row.email, "operator": row.is_staff, "text": f"User {row.email} is there."}
