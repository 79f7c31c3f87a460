"""`token_import TENANT EMAIL SLUG`: keep tokens that another system obtained; a JSON token set on standard input."""

import sys
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import CommandParser

from metaagent.management.answering import Answering, Found, tenant_named, user_named
from providers import selectors
from tenants.services import Refused
from vault.services import import_


class Command(Answering):
    """Import tokens."""

    help = (
        "Keep tokens that another system obtained. Standard input holds one JSON object: access_token, and where there "
        "are any refresh_token, expires_in or expires_at, scope, account_id, account_label, api_base."
    )

    def arguments(self, parser: CommandParser) -> None:
        """Whose they become, and where they are from."""
        parser.add_argument("tenant")
        parser.add_argument("email", help="the member they belong to")
        parser.add_argument("slug")
        parser.add_argument("--shared", action="store_true", help="for the whole tenant; EMAIL is who brought them")

    def work(self, **options: Any) -> Found:
        """Import them. What was given is never printed."""
        tenant, user = tenant_named(options["tenant"]), user_named(options["email"])
        installation = selectors.installation(tenant.pk, options["slug"])
        if installation is None:
            raise Refused(f"{tenant.slug} does not export “{options['slug'][:40]}”.")
        given = import_.read(_standard_input())
        row = import_.import_tokens(
            installation=installation,
            owner=None if options["shared"] else user,
            given=given,
            by=user.pk if options["shared"] else None,
            now=datetime.now(UTC),
        )
        whose = f"everybody in {tenant.slug}" if options["shared"] else user.email
        return {
            "id": row.pk,
            "account_id": row.account_id,
            "account_label": row.account_label,
            "status": row.status,
            "text": f"{row.account_label} is connected for {whose}.",
        }


def _standard_input() -> bytes:
    """A little more than is accepted, so that what is longer is noticed. Raises: Refused."""
    try:
        return sys.stdin.read(import_.BODY_BYTES + 1).encode()
    except UnicodeError:
        raise Refused("Standard input is not a JSON object.") from None
