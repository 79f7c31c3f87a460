"""`provider_import TENANT FILE`: make a tenant's installations what a YAML document says."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from metaagent.management.answering import Answering, Found, tenant_named
from providers import declared
from providers.declared import SecretRef, Unfit
from tenants.models import Tenant
from tenants.services import Refused
from vault.services import declare
from vault.services.declare import Act, Given, Step

_MOST_BYTES, _MOST_SECRET, _MOST_DOCUMENT = 4 * declared.MOST_CHARS, 65_536, 64 * 1024 * 1024


class Command(Answering):
    """Import installations."""

    help = (
        "Set up a tenant's providers as a YAML document says (provider_export writes one). All of it is looked at "
        "before anything is changed; the same document again changes nothing."
    )

    def arguments(self, parser: CommandParser) -> None:
        """Tenant and document."""
        parser.add_argument("tenant")
        parser.add_argument("file", type=Path)
        parser.add_argument("--dry-run", action="store_true", help="only show what would change")
        parser.add_argument("--prune", action="store_true", help="remove what the document does not name")
        parser.add_argument(
            "--give-up",
            action="store_true",
            help="change it even where the provider does not confirm that the old connections are revoked",
        )

    def work(self, **options: Any) -> Found:
        """Look at all of it, show it, do it."""
        tenant, file = tenant_named(options["tenant"]), options["file"]
        try:
            text = _text(file, _MOST_BYTES)
        except ValueError as wrong:
            raise CommandError(str(wrong), returncode=2) from None
        try:
            read = declared.read(text)
            steps = declare.planned(tenant=tenant, read=read, given=_given(file.parent), prune=options["prune"])
        except Unfit as unfit:
            self._list(file, unfit, as_json=options["json"])
        lines = [line for step in steps for line in declare.described(step)]
        if options["dry_run"]:
            lines.append("Nothing was changed: this was a dry run.")
        else:
            lines += self._carried_out(tenant, steps, give_up=options["give_up"])
        return {
            "tenant": tenant.slug,
            "dry_run": options["dry_run"],
            "changes": [_change(step) for step in steps],
            "text": "\n".join(lines),
        }

    def _list(self, file: Path, unfit: Unfit, *, as_json: bool) -> None:
        """Every problem on a line of its own. Raises: CommandError."""
        if as_json:
            said = [{"line": each.line, "where": each.where, "says": each.says} for each in unfit.problems]
            self.stdout.write(json.dumps({"changes": [], "problems": said}))
        for problem in unfit.problems:
            self.stderr.write(f"{file.name}: {problem}")
        count = len(unfit.problems)
        raise CommandError(f"{file.name} has {count} problem{'' if count == 1 else 's'}. Nothing was changed.")

    def _carried_out(self, tenant: Tenant, steps: list[Step], *, give_up: bool) -> list[str]:
        """Raises: Refused, saying how far it went."""
        lines = []
        for place, step in enumerate(steps):
            try:
                done = declare.carry_out(tenant=tenant, step=step, give_up=give_up, by=None, now=datetime.now(UTC))
            except Refused as refused:
                raise Refused(
                    f"{step.slug}: {refused} Of {len(steps)} providers the {place} before it are done; run this again."
                ) from None
            if done.ended:
                lines.append(f"{step.slug}: {done.ended} connection{'' if done.ended == 1 else 's'} ended.")
            if done.later:
                lines.append(
                    f"{step.slug}: its tools are listed when the first account is connected. "
                    "Run this again then, for what was decided about them."
                )
        count = sum(step.act is not Act.SAME for step in steps)
        return [*lines, f"{count} of {len(steps)} providers changed."]


def _change(step: Step) -> dict[str, Any]:
    return {
        "slug": step.slug,
        "act": step.act.value,
        "changed": {name: list(each) for name, each in step.changed.items()},
    }


def _given(folder: Path) -> Given:
    def secret(ref: SecretRef) -> str:
        if ref.file:
            found = _text(folder / ref.file, _MOST_SECRET).rstrip("\r\n")
        elif (found := os.environ.get(ref.env, "")) == "":
            raise ValueError(f"The environment variable {ref.env} is not set.")
        if not found or "\n" in found:
            raise ValueError("Its client secret must be one line.")
        return found

    return Given(secret, lambda name: _bytes(folder / name, _MOST_DOCUMENT))


def _bytes(path: Path, most: int) -> bytes:
    """Raises: ValueError."""
    try:
        with path.open("rb") as file:
            found = file.read(most + 1)
    except OSError as broken:
        raise ValueError(f"{path} cannot be read: {broken.strerror}.") from None
    if len(found) > most:
        raise ValueError(f"{path} has more than {most:,} bytes.")
    return found


def _text(path: Path, most: int) -> str:
    """Raises: ValueError."""
    try:
        return _bytes(path, most).decode()
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not UTF-8.") from None
