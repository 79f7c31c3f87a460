"""`provider_install TENANT SLUG`: export a provider from a tenant, or change how it is exported."""

import argparse
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from metaagent.management.answering import Answering, Found, secret_from_stdin, tenant_named
from providers.models import Installation
from providers.spec import Access
from vault.links import callback_url
from vault.services import setup
from vault.services.revoke import all_in_words

_SAID = (
    *("source", "url", "api_base", "any_scope", "title", "about", "access", "key_header", "key_prefix", "key_words"),
    *("issuer", "authorize_url", "token_url", "revoke_url", "identify_url", "resource", "pkce", "client_id"),
    *("exposure", "consent", "connect_url", "trust_hints", "give_up"),
)
_LISTS = ("scopes", "tags", "operations")
_MOST_BYTES = 64 * 1024 * 1024


class Command(Answering):
    """Export a provider."""

    help = (
        "Export a provider from a tenant, or change how it is exported: one of the catalogue, a remote MCP server "
        "(--source mcp --url), or what an OpenAPI document describes (--source openapi --url or --file). How accounts "
        "of an MCP server are connected is discovered. What is left out stays as it is; an empty value takes it back "
        "to what the source says. Where this product cannot register itself, run it once without --client-id: it keeps "
        "the installation switched off and says which redirect URI to register there; then run it with --client-id."
    )

    def arguments(self, parser: CommandParser) -> None:
        """Where the provider is and which OAuth client the tenant is there."""
        yes_or_no = argparse.BooleanOptionalAction
        parser.add_argument("tenant")
        parser.add_argument("slug", help="what it is called here: its tool is use_SLUG")
        where = parser.add_argument_group("what it is")
        where.add_argument("--source", choices=Installation.Source.values, help="default: catalogue")
        where.add_argument("--url", help="where the MCP server or the OpenAPI document is")
        where.add_argument("--file", type=Path, help="an OpenAPI document on this machine")
        where.add_argument("--tags", help="offer only operations with one of these, separated by commas")
        where.add_argument("--operations", help="and these, by id or as “GET /path”, separated by commas")
        where.add_argument(
            "--any-scope", action=yes_or_no, help="where the document lists scopes, any of them does, not all"
        )
        where.add_argument("--api-base", help="where its API is, when not where its source says")
        where.add_argument("--title", help="what people call it")
        where.add_argument("--about", help="what people ask it about, a short phrase")
        where.add_argument(
            "--trust-hints", action=yes_or_no, help="believe what it says of each tool: that it only reads, or deletes"
        )
        how = parser.add_argument_group("how accounts are connected")
        how.add_argument("--access", choices=[each.value for each in Access], help="when not as is found out")
        how.add_argument("--key-header", help="the header a key is sent in (default: Authorization)")
        how.add_argument("--key-prefix", help="what stands before it there (default: “Bearer ”, else nothing)")
        how.add_argument("--key-words", help="where people find their key, a sentence for the connect page")
        how.add_argument("--client-id", help="the OAuth client this tenant is at the provider")
        how.add_argument("--client-secret-stdin", action="store_true", help="read the secret from standard input")
        how.add_argument("--scopes", help="what a plain connect asks for, separated by spaces")
        how.add_argument("--issuer", help="its authorization server, whose metadata says the rest")
        for name in ("authorize-url", "token-url", "revoke-url", "identify-url", "resource"):
            how.add_argument(f"--{name}")
        how.add_argument(
            "--pkce", action=yes_or_no, help="--no-pkce: though the provider does not say that it checks PKCE; recorded"
        )
        how.add_argument("--connect-url", help="where people connect, when another system runs the OAuth flow")
        policy = parser.add_argument_group("who may use it")
        policy.add_argument("--exposure", choices=Installation.ExposureChoice.values)
        policy.add_argument(
            "--consent", choices=Installation.ConsentChoice.values, help="when people are asked before it is used"
        )
        policy.add_argument(
            "--give-up",
            action="store_true",
            help="change it even where the provider does not confirm that the old connections are revoked",
        )

    def work(self, **options: Any) -> Found:
        """Set it up, and say what to do next and what the change has ended."""
        tenant, slug = tenant_named(options["tenant"]), options["slug"]
        said: dict[str, Any] = {name: options[name] for name in _SAID}
        said |= {name: _words(options[name], "," if name != "scopes" else None) for name in _LISTS}
        wish = setup.Wish(
            **said,
            document=_document(options),
            client_secret=secret_from_stdin("client secret") if options["client_secret_stdin"] else None,
        )
        try:
            done = setup.set_up(tenant=tenant, slug=slug, wish=wish, by=None, now=datetime.now(UTC))
        except setup.ClientNeeded as needed:
            raise CommandError(str(needed), returncode=2) from None
        ended = done.ended.confirmed + done.ended.pending
        return {
            "id": done.row.pk,
            "slug": slug,
            "tool": f"use_{slug}",
            "source": done.row.source,
            "access": done.access.value,
            "client_id": done.row.client_id or None,
            "redirect_uri": callback_url(done.row.pk),
            "tools": done.tools,
            "waits_for_review": done.waits,
            "ended": ended,
            "text": "\n".join([f"{tenant.slug} exports use_{slug}.", *_lines(done, tenant.slug)]),
        }


def _lines(done: setup.SetUp, tenant: str) -> list[str]:
    """What to know, and what to do next."""
    row, lines = done.row, list(done.remarks)
    if done.ended.confirmed + done.ended.pending:
        lines.append(f"Its client or addresses have changed, so people connect again. {all_in_words(done.ended)}")
    if done.tools is not None and row.source != Installation.Source.CATALOGUE:
        lines.append(f"{done.tools} tools. Say what each does with: manage.py provider_review {tenant} {row.slug}")
    if done.waits:
        lines.append(f"What it lists now differs from what serves. See: manage.py provider_review {tenant} {row.slug}")
    if done.secret_ends_at is not None:
        lines.append(f"Its client secret ends on {done.secret_ends_at:%Y-%m-%d}: run this again before.")
    if row.connect_url:
        return [*lines, f"People connect at {row.connect_url}; bring its tokens with: manage.py token_import"]
    match done.access:
        case Access.NONE:
            lines.append("It asks for no account: everybody can use it now.")
        case Access.KEY:
            lines.append("People enter a key of theirs when they first use it, on the connect page.")
        case Access.OAUTH if done.introduced:
            lines.append("It knows this server by now; people connect when they first use it.")
        case Access.OAUTH:
            lines.append(f"Register this redirect URI with the provider: {callback_url(row.pk)}")
    if done.tools is None:
        lines.append("Its tools are listed when the first account is connected.")
    return lines


def _words(said: str | None, separator: str | None) -> tuple[str, ...] | None:
    return None if said is None else tuple(word for each in said.split(separator) if (word := each.strip()))


def _document(options: dict[str, Any]) -> bytes | None:
    """The file, if one was named. Raises: OSError, CommandError."""
    path: Path | None = options["file"]
    if path is None:
        return None
    if options["url"]:
        raise CommandError("Say --url or --file, not both.", returncode=2)
    if path.stat().st_size > _MOST_BYTES:
        raise CommandError(f"The file is larger than {_MOST_BYTES // 1024 // 1024} MB.", returncode=2)
    return path.read_bytes()
