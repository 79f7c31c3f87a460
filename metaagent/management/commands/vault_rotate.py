"""`vault_rotate [TENANT]`: a new data key, everything sealed anew, the old key retired. Calls go on meanwhile."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import CommandParser

from metaagent.management.answering import Found, tenant_named
from metaagent.management.partly import Partly
from tenants.models import Tenant
from tenants.services import Refused
from vault.services import rotate
from vault.services.keys import KeysUnavailable

SETTLE_S = 5.0
"""Who read a row just before it was sealed anew opens it with the old key, which must still be there."""
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
        """Begin, or go on; then seal anew, wait for who is in the middle of something, and retire."""
        tenants = [tenant_named(options["tenant"], closed=True)] if options["tenant"] else list(Tenant.objects.all())
        unfinished = [tenant for tenant in tenants if rotate.unfinished(tenant.pk)]
        try:
            begun = unfinished or [tenant for tenant in tenants if rotate.begin(tenant_id=tenant.pk)]
            resealed = {tenant.slug: self._reseal(tenant) for tenant in begun}
            retired = self._retire(begun, resealed)
        except KeysUnavailable as unavailable:
            raise Refused(f"{unavailable} What was done stays done. Run this again later: it goes on.") from None
        listed = [
            {"tenant": tenant.slug, "resealed": resealed[tenant.slug], "retired": retired[tenant.slug]}
            for tenant in begun
        ]
        text = f"{sum(resealed.values())} rows were sealed anew, {sum(retired.values())} old keys retired."
        if not begun:
            text = "There is no data key yet." if tenants else "There is no tenant yet."
        elif unfinished:
            text += " This finished a rotation begun before."
        return {"tenants": listed, "text": text}

    def _reseal(self, tenant: Tenant) -> int:
        """How many rows were; said while it goes on."""
        done, total, said = 0, rotate.left(tenant.pk), 0.0
        for batch in rotate.reseal(tenant_id=tenant.pk):
            done += batch.resealed
            for row in batch.unreadable:
                self.stderr.write(f"{tenant.slug}: {row} do not open; they keep the old key.")
            if time.monotonic() > said + _SAY_EVERY_S:
                self.stderr.write(f"{tenant.slug}: {done} of {total} sealed anew")
                said = time.monotonic()
        return done

    def _retire(self, tenants: Sequence[Tenant], resealed: dict[str, int]) -> dict[str, int]:
        """How many old keys of each went."""
        retired = dict.fromkeys((tenant.slug for tenant in tenants), 0)
        waiting, pause, said = list(tenants), SETTLE_S, False
        while waiting:
            time.sleep(pause)
            pause = _POLL_S
            for tenant in list(waiting):
                found = rotate.retire(tenant_id=tenant.pk, now=datetime.now(UTC))
                retired[tenant.slug] += found.retired
                if set(found.needed_by) == {rotate.LOG_INS}:
                    continue
                if found.needed_by and (late := self._reseal(tenant)):  # stored by who had the old key in hand
                    resealed[tenant.slug] += late
                    pause = SETTLE_S
                    continue
                waiting.remove(tenant)
                self._keep(tenant, found)
            if waiting and not said:
                said = True
                self.stderr.write("Waiting for log-ins in progress to end, ten minutes at most. To stop is safe.")
        return retired

    def _keep(self, tenant: Tenant, found: rotate.Retirement) -> None:
        """Say why a key is not retired, if it is not."""
        if found.needed_by:
            needed = ", ".join(f"{count} {what}" for what, count in found.needed_by.items())
            self.undone += f"The old key of {tenant.slug} is not retired: it is needed for {needed}. "
