"""`vault_rotate [TENANT]`: a new data key, everything sealed anew, the old key retired. Calls go on meanwhile."""

import time
from collections import Counter
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import CommandParser

from metaagent.management.answering import Found, tenant_named
from metaagent.management.partly import Partly
from tenants.models import Tenant
from tenants.services import Refused
from vault.services import rotate
from vault.services.keys import KeysUnavailable

_POLL_S = 1.0
_SAY_EVERY_S = 2.0


class Command(Partly):
    """Rotate data keys."""

    help = (
        "Make a new data key for a tenant, or for all; seal with it what the old one sealed; retire the old one. "
        "Cut off, it is simply run again: what is unfinished is finished, and no other rotation begun."
    )

    def arguments(self, parser: CommandParser) -> None:
        """The tenant; all without one."""
        parser.add_argument("tenant", nargs="?")

    def work(self, **options: Any) -> Found:
        """Begin, or go on, until nothing more can be done."""
        tenants = [tenant_named(options["tenant"], closed=True)] if options["tenant"] else list(Tenant.objects.all())
        unfinished = [tenant for tenant in tenants if rotate.unfinished(tenant.pk)]
        self._resealed, self._retired = Counter[str](), Counter[str]()
        try:
            begun = unfinished or [tenant for tenant in tenants if rotate.begin(tenant_id=tenant.pk)]
            self._finish(begun)
        except KeysUnavailable as unavailable:
            raise Refused(f"{unavailable} What was done stays done. Run this again later: it goes on.") from None
        listed = [
            {"tenant": each.slug, "resealed": self._resealed[each.slug], "retired": self._retired[each.slug]}
            for each in begun
        ]
        text = f"{self._resealed.total()} rows were sealed anew, {self._retired.total()} old keys retired."
        if not begun:
            text = "There is no data key yet." if tenants else "There is no tenant yet."
        elif unfinished:
            text += " This finished a rotation begun before."
        return {"tenants": listed, "text": text}

    def _finish(self, tenants: list[Tenant]) -> None:
        """Turn by turn, said while it goes on."""
        totals = {tenant.pk: rotate.left(tenant.pk) for tenant in tenants}
        waiting, said = tenants, False
        while waiting:
            turns = {tenant: self._turn(tenant, totals[tenant.pk]) for tenant in waiting}
            waiting = [tenant for tenant, turn in turns.items() if not turn.over]
            left = [turns[tenant] for tenant in waiting]
            if any(turn.retirement for turn in left) and not said:
                said = True
                self.stderr.write("Waiting for log-ins in progress to end, ten minutes at most. To stop is safe.")
            if any(turn.settling for turn in left):
                time.sleep(rotate.SETTLE.total_seconds())
            elif all(turn.retirement for turn in left) and left:
                time.sleep(_POLL_S)

    def _turn(self, tenant: Tenant, total: int) -> rotate.Turn:
        turn = rotate.turn(tenant_id=tenant.pk, now=datetime.now(UTC), for_s=_SAY_EVERY_S)
        self._resealed[tenant.slug] += turn.resealed
        if turn.resealed:
            self.stderr.write(f"{tenant.slug}: {self._resealed[tenant.slug]} of {total} sealed anew")
        if (found := turn.retirement) is not None:
            self._retired[tenant.slug] += found.retired
        if found is not None and turn.over:
            for row in turn.unreadable:
                self.stderr.write(f"{tenant.slug}: {row} do not open; they keep the old key.")
            if found.needed_by:
                needed = ", ".join(f"{count} {what}" for what, count in found.needed_by.items())
                self.undone += f"The old key of {tenant.slug} is not retired: it is needed for {needed}. "
        return turn
