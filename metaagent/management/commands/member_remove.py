"""`member_remove TENANT EMAIL`: a person leaves a tenant, with all they could do there."""

from datetime import UTC, datetime
from typing import Any

from django.core.management.base import CommandParser

from metaagent.management.answering import Answering, Found, tenant_named, user_named
from tenants import selectors
from tenants.services import Refused
from vault.services import leave
from vault.services.revoke import all_in_words


class Command(Answering):
    """Take a user out of a tenant."""

    help = "Take a user out of a tenant. Their keys, links, consents and own connections there end with it."

    def arguments(self, parser: CommandParser) -> None:
        """Tenant and user."""
        parser.add_argument("tenant")
        parser.add_argument("email")

    def work(self, **options: Any) -> Found:
        """Remove them."""
        tenant, user = tenant_named(options["tenant"]), user_named(options["email"])
        row = selectors.memberships(tenant.pk).filter(user=user).first()
        if row is None:
            raise Refused(f"{user.email} is not in {tenant.slug}.")
        ended = leave.remove_member(membership=row, by=None, now=datetime.now(UTC))
        text = f"{user.email} is no longer in {tenant.slug}. {all_in_words(ended)}"
        found = {"tenant": tenant.slug, "email": user.email, "revoked": ended.confirmed, "pending": ended.pending}
        return {**found, "text": text}
