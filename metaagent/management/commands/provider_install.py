"""`provider_install TENANT SLUG`: export a provider from a tenant, or change how it is exported."""

from typing import Any

from django.core.management.base import CommandParser

from metaagent.management.answering import Answering, Found, secret_from_stdin, tenant_named
from providers import services
from providers.models import Installation
from vault.links import callback_url
from vault.services import clients

_URLS = ("issuer", "authorize_url", "token_url", "revoke_url", "identify_url", "resource")


class Command(Answering):
    """Export a provider."""

    help = "Export a catalogue provider from a tenant, or change how it is exported."

    def arguments(self, parser: CommandParser) -> None:
        """Where the provider is and which OAuth client the tenant is there."""
        parser.add_argument("tenant")
        parser.add_argument("slug")
        parser.add_argument("--source", default="catalogue", choices=Installation.Source.values)
        parser.add_argument("--api-base", default="", help="where it is, when not where the catalogue says")
        parser.add_argument("--client-id", required=True)
        parser.add_argument("--client-secret-stdin", action="store_true", help="read the secret from standard input")
        parser.add_argument("--scopes", default="", help="what a plain connect asks for, separated by spaces")
        parser.add_argument("--exposure", default="soft", choices=Installation.ExposureChoice.values)
        for name in _URLS:
            parser.add_argument(f"--{name.replace('_', '-')}", default="")

    def work(self, **options: Any) -> Found:
        """Install it, and say which redirect URI to register."""
        tenant = tenant_named(options["tenant"])
        secret = secret_from_stdin("client secret") if options["client_secret_stdin"] else None
        overrides: dict[str, str | list[str]] = {name: options[name] for name in _URLS if options[name]}
        if options["scopes"].split():
            overrides["scopes"] = options["scopes"].split()
        row = services.install(
            tenant=tenant,
            slug=options["slug"],
            client_id=options["client_id"],
            api_base=options["api_base"],
            exposure=options["exposure"],
            overrides=overrides,
            by=None,
        )
        clients.set_secret(installation=row, secret=secret)
        redirect_uri = callback_url(row.pk)
        text = f"{tenant.slug} exports use_{row.slug}.\nRegister this redirect URI with the provider: {redirect_uri}"
        return {"id": row.pk, "slug": row.slug, "tool": f"use_{row.slug}", "redirect_uri": redirect_uri, "text": text}
