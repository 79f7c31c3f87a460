"""`audit_export TENANT --out FILE`: a tenant's log as JSON lines."""

import json
import os
from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser

from audit import selectors, services
from audit.events import EventKind
from metaagent.management.answering import Answering, Found, tenant_named
from tenants.services import Refused


class Command(Answering):
    """Export the log."""

    help = "Write a tenant's audit log to a file, one JSON object a line, oldest first."

    def arguments(self, parser: CommandParser) -> None:
        """Tenant and file."""
        parser.add_argument("tenant")
        parser.add_argument("--out", required=True, type=Path)

    def work(self, **options: Any) -> Found:
        """Write aside, then move into place: the file is whole or not there."""
        tenant, out = tenant_named(options["tenant"]), options["out"]
        services.record(EventKind.EXPORTED, tenant_id=tenant.pk)
        draft = out.with_name(f".{out.name}.part")
        count = 0
        try:
            fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(fd, "w", encoding="utf-8") as file:
                for event in selectors.export(tenant.pk):
                    file.write(json.dumps(event, separators=(",", ":"), sort_keys=True) + "\n")
                    count += 1
                file.flush()
                os.fsync(file.fileno())
            draft.replace(out)
        except OSError as broken:
            draft.unlink(missing_ok=True)
            raise Refused(f"{out} cannot be written: {broken.strerror}.") from None
        return {"events": count, "out": str(out), "text": f"{count} events are in {out}."}
