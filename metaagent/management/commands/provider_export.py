"""`provider_export TENANT [SLUG …]`: a tenant's installations as YAML, secrets as references."""

from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser

from metaagent.management.answering import Answering, Found, tenant_named
from providers import declared
from tenants.services import Refused
from vault.services import declare


class Command(Answering):
    """Export installations."""

    help = (
        "Write a tenant's installations as YAML, all or those named. No secret is in it: where one is needed, the name "
        "of an environment variable stands for it."
    )

    def arguments(self, parser: CommandParser) -> None:
        """Tenant, providers and file."""
        parser.add_argument("tenant")
        parser.add_argument("slug", nargs="*")
        parser.add_argument("--out", type=Path, help="a file instead of standard output")

    def work(self, **options: Any) -> Found:
        """Write them."""
        tenant, out = tenant_named(options["tenant"]), options["out"]
        found = declare.stated(tenant, options["slug"])
        document = declared.written(found)
        answer = {"tenant": tenant.slug, "providers": [each.slug for each in found]}
        if out is None:
            return {**answer, "document": document, **({} if options["json"] else {"text": document.rstrip()})}
        try:
            out.write_text(document, encoding="utf-8")
        except OSError as broken:
            raise Refused(f"{out} cannot be written: {broken.strerror}.") from None
        return {**answer, "out": str(out), "text": f"{len(found)} providers are in {out}."}
