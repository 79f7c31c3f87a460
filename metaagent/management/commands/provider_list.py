"""`provider_list TENANT`: what a tenant exports."""

from typing import Any

from django.core.management.base import CommandParser

from metaagent.management.answering import Answering, Found, tenant_named
from providers import selectors
from providers.models import Installation
from vault.links import callback_url


class Command(Answering):
    """List installations."""

    help = "List what a tenant exports, and which scopes it asks for without need."

    def arguments(self, parser: CommandParser) -> None:
        """The tenant."""
        parser.add_argument("tenant")

    def work(self, **options: Any) -> Found:
        """List them."""
        listed = [_facts(row) for row in selectors.installations(tenant_named(options["tenant"]).pk)]
        text = "\n".join(line for row in listed for line in _lines(row))
        return {"providers": listed, "text": text or "Nothing is exported yet. Run: manage.py provider_install"}


def _facts(row: Installation) -> dict[str, Any]:
    spec = selectors.spec_of(row)
    return {
        "id": row.pk,
        "slug": row.slug,
        "tool": f"use_{row.slug}",
        "source": row.source,
        "exposure": row.exposure,
        "consent": row.consent,
        "api_base": spec.api_base,
        "scopes": list(spec.oauth.scopes),
        "unused_scopes": list(selectors.unneeded_scopes(spec, spec.oauth.scopes)),
        "connect_url": row.connect_url or None,
        "redirect_uri": callback_url(row.pk),
    }


def _lines(row: dict[str, Any]) -> list[str]:
    lines = [f"{row['tool']:<20} {row['exposure']:<7} {row['api_base']}"]
    if row["connect_url"]:
        lines.append(f"  people connect at {row['connect_url']}")
    if row["unused_scopes"]:
        needed = " ".join(scope for scope in row["scopes"] if scope not in row["unused_scopes"])
        lines.append(
            f"  asks for what no tool needs: {' '.join(row['unused_scopes'])}. "
            f'Leave it out with: manage.py provider_install TENANT {row["slug"]} --scopes "{needed}"'
        )
    return lines
