"""`provider_install TENANT SLUG`: export a provider from a tenant, or change how it is exported."""

from datetime import UTC, datetime
from typing import Any

from django.core.management.base import CommandError, CommandParser

from metaagent.management.answering import Answering, Found, in_words, secret_from_stdin, tenant_named
from providers import selectors, services
from providers.models import Installation
from vault.links import callback_url
from vault.services import install

_URLS = ("issuer", "authorize_url", "token_url", "revoke_url", "identify_url", "resource")


class Command(Answering):
    """Export a provider."""

    help = (
        "Export a catalogue provider from a tenant, or change how it is exported. What is left out stays as it is; "
        "an empty value takes it back to what the catalogue says."
    )

    def arguments(self, parser: CommandParser) -> None:
        """Where the provider is and which OAuth client the tenant is there."""
        parser.add_argument("tenant")
        parser.add_argument("slug")
        parser.add_argument("--source", default="catalogue", choices=Installation.Source.values)
        parser.add_argument("--api-base", help="where it is, when not where the catalogue says")
        parser.add_argument("--client-id", help="the OAuth client this tenant is at the provider")
        parser.add_argument("--client-secret-stdin", action="store_true", help="read the secret from standard input")
        parser.add_argument("--scopes", help="what a plain connect asks for, separated by spaces")
        parser.add_argument("--exposure", choices=Installation.ExposureChoice.values)
        parser.add_argument(
            "--consent", choices=Installation.ConsentChoice.values, help="when people are asked before it is used"
        )
        parser.add_argument("--connect-url", help="where people connect, when another system runs the OAuth flow")
        for name in _URLS:
            parser.add_argument(f"--{name.replace('_', '-')}")
        parser.add_argument(
            "--give-up",
            action="store_true",
            help="change it even where the provider does not confirm that the old connections are revoked",
        )

    def work(self, **options: Any) -> Found:
        """Install it, and say which redirect URI to register and what the change has ended."""
        tenant = tenant_named(options["tenant"])
        old = selectors.installation(tenant.pk, options["slug"])
        given = {name: options[name] for name in ("api_base", "client_id", "exposure", "consent", "connect_url")}
        kept = {name: getattr(old, name) for name in given} if old else {"client_id": "", "api_base": ""}
        stated = {**kept, **{name: value for name, value in given.items() if value is not None}}
        if not stated["client_id"] and not stated.get("connect_url"):
            raise CommandError("--client-id is missing: it names the OAuth client registered there.", returncode=2)
        secret = None if old and stated["client_id"] == old.client_id else install.Secret(None)
        if options["client_secret_stdin"]:
            secret = install.Secret(secret_from_stdin("client secret"))
        done = install.install(
            wanted=services.drafted(tenant=tenant, slug=options["slug"], overrides=_overrides(old, options), **stated),
            secret=secret,
            give_up=options["give_up"],
            by=None,
            now=datetime.now(UTC),
        )
        redirect_uri = callback_url(done.row.pk)
        lines = [f"{tenant.slug} exports use_{done.row.slug}."]
        ended = done.ended.confirmed + done.ended.pending
        if ended:
            lines.append(f"Its client or addresses have changed, so people connect again. {in_words(done.ended)}")
        if done.row.connect_url:
            lines.append(f"People connect at {done.row.connect_url}; bring its tokens with: manage.py token_import")
        else:
            lines.append(f"Register this redirect URI with the provider: {redirect_uri}")
        return {
            "id": done.row.pk,
            "slug": done.row.slug,
            "tool": f"use_{done.row.slug}",
            "redirect_uri": redirect_uri,
            "ended": ended,
            "text": "\n".join(lines),
        }


def _overrides(old: Installation | None, options: dict[str, Any]) -> dict[str, str | list[str]]:
    """What differs from the catalogue: as it was, with what is given now in its place."""
    overrides: dict[str, Any] = dict(old.overrides) if old else {}
    stated = {name: options[name] for name in _URLS if options[name] is not None}
    if options["scopes"] is not None:
        stated["scopes"] = options["scopes"].split()
    return {name: value for name, value in {**overrides, **stated}.items() if value}
