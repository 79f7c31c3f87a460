"""`provider_test TENANT SLUG`: try a provider out, against the simulator and at its own addresses."""

from dataclasses import asdict
from typing import Any

from django.core.management.base import CommandError, CommandParser

from metaagent.management.answering import Found, tenant_named
from metaagent.management.partly import Partly
from providers import selectors
from providers.simulator import Finding
from vault.services import trial

_HEADS = {"simulator": "Against the simulator", "live": "At its own addresses, now"}
_MARKS = {True: "ok  ", False: "FAIL", None: "-   "}


class Command(Partly):
    """Try a provider out."""

    help = (
        "Try a provider: its facts and tools against a simulator of what it documents, and each of its addresses with "
        "a request that changes nothing and holds nobody's token. Exits with 1 when anything failed."
    )

    def arguments(self, parser: CommandParser) -> None:
        """Which one, and where."""
        parser.add_argument("tenant")
        parser.add_argument("slug")
        where = parser.add_mutually_exclusive_group()
        where.add_argument("--simulator", action="store_true", help="only the simulator; nothing leaves this machine")
        where.add_argument("--live", action="store_true", help="only the addresses as they answer now")

    def work(self, **options: Any) -> Found:
        """Try it, and say what was found."""
        tenant = tenant_named(options["tenant"])
        row = selectors.installation(tenant.pk, options["slug"])
        if row is None:
            raise CommandError(f"{tenant.slug} does not export {options['slug']}. See: manage.py provider_list")
        spec = selectors.spec_of(row)
        parts = {
            "simulator": [] if options["live"] else trial.simulated(spec),
            "live": [] if options["simulator"] else trial.live(row),
        }
        failed = sum(each.ok is False for found in parts.values() for each in found)
        lines = [f"{spec.title} ({row.slug} in {tenant.slug})"]
        for name, found in parts.items():
            lines += _table(_HEADS[name], found)
        if spec.unconfirmed:
            lines += ["", "Not confirmed by any public document we have read:"]
            lines += [f"  {fact}" for fact in spec.unconfirmed]
        if failed:
            self.undone = f"{failed} failed."
        else:
            lines += ["", "Nothing failed."]
        return {
            "slug": row.slug,
            "ok": not failed,
            **{name: [asdict(each) for each in found] for name, found in parts.items()},
            "unconfirmed": list(spec.unconfirmed),
            "text": "\n".join(lines),
        }


def _table(head: str, found: list[Finding]) -> list[str]:
    lines = [f"  {_MARKS[each.ok]} {each.name}{f': {each.note}' if each.note else ''}" for each in found]
    return ["", head, *lines] if found else []
