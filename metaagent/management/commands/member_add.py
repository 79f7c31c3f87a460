"""`member_add TENANT EMAIL`: a person in a tenant, with a role."""

from typing import Any

from django.core.management.base import CommandParser

from metaagent.management.answering import Answering, Found, tenant_named, user_named
from tenants import services
from tenants.models import Role


class Command(Answering):
    """Put a user in a tenant, or change their role."""

    help = "Put a user in a tenant, or change their role."

    def arguments(self, parser: CommandParser) -> None:
        """Tenant, user and role."""
        parser.add_argument("tenant")
        parser.add_argument("email")
        parser.add_argument("--role", default=Role.MEMBER, choices=Role.values)

    def work(self, **options: Any) -> Found:
        """Add them."""
        tenant, user = tenant_named(options["tenant"]), user_named(options["email"])
        row = services.add_member(tenant=tenant, user=user, role=options["role"], by=None)
        text = f"{user.email} is {row.role} of {tenant.slug}."
        return {"id": row.pk, "tenant": tenant.slug, "email": user.email, "role": row.role, "text": text}
