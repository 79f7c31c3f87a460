"""`audit_verify [TENANT] [--export FILE] --checkpoints DIR`: whether logs are what was sealed.

With `--export` it needs neither the database nor settings: `metaagent.__main__` then runs `audit.offline` alone.
"""

import json
from typing import Any
from uuid import UUID

from django.core.management.base import CommandParser

from audit import offline, outside, selectors, verification
from audit.chain import Broken
from audit.sealing import keys
from metaagent.management.answering import Answering, Found, tenant_named
from tenants.services import Refused


class Command(Answering):
    """Verify the log."""

    help = "Hold the audit log against its checkpoints: every tenant's, one tenant's, or an exported file."
    requires_system_checks = ()

    def arguments(self, parser: CommandParser) -> None:
        """Whose log, and what it is held against."""
        parser.add_argument("tenant", nargs="?", help="one tenant's log; without it every tenant's")
        offline.arguments(parser)

    def work(self, **options: Any) -> Found:
        """Stop at the first place that does not hold. Raises: Refused."""
        progress = offline.Progress()
        try:
            found = self._file(progress, **options) if options["export"] else self._database(progress, **options)
        except Broken as broken:
            progress.end()
            if options["json"]:
                self.stdout.write(json.dumps({"whole": False, "problem": str(broken)}))
            raise Refused(str(broken)) from None
        except offline.Unusable as wrong:
            raise Refused(str(wrong)) from None
        progress.end()
        return found

    def _file(self, said: offline.Said, **options: Any) -> Found:
        if options["checkpoints"] is None:
            raise Refused("An exported file is held against checkpoints: name their folder with --checkpoints.")
        found = offline.verify(options["export"], options["checkpoints"], options["key"], said)
        return {**found, "text": offline.in_words(found)}

    def _database(self, said: offline.Said, **options: Any) -> Found:
        folder = options["checkpoints"]
        trusted = keys() | set(options["key"]) | (outside.keys(folder) if folder else frozenset())
        known = {str(each) for each in selectors.logs()} | set(outside.tenants(folder) if folder else ())
        wanted = [str(tenant_named(options["tenant"], closed=True).pk)] if options["tenant"] else sorted(known)
        every = []
        for tenant_id in wanted:
            last, signed_by = None, set()
            steps = verification.Steps(UUID(tenant_id), trusted, outside.of(folder, tenant_id) if folder else None)
            try:
                for last in steps:
                    signed_by.add(last.key)
                    said(last)
            except Broken as broken:
                raise Broken(f"Tenant {tenant_id}: {broken}") from None
            every.append({**offline.stated(last, signed_by, unsealed=steps.unsealed), "tenant": tenant_id})
        return {
            "whole": True,
            "logs": every,
            "text": "\n".join(f"{each['tenant']}: {_sentence(each)}" for each in every) or "There are no logs.",
        }


def _sentence(found: Found) -> str:
    return offline.in_words(found) if found["checkpoints"] else f"{found['not_sealed']:,} events, none sealed yet."
