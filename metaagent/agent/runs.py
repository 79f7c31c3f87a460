"""What became of runs: kept for the principal that asked, so that what its connection did not bring can be fetched.

The rule: a client that goes away stops its reads at once. A write that has been sent is carried out, and its answer is
kept here like every other. Nothing is ever done a second time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from pydantic_core import to_json

from metaagent.agent.ports import Shared
from metaagent.agent.types import RUN_URI, Principal, StoredLink
from providers.spec import Json

RECENT = 20
"""Runs listed for a principal."""
_GRACE_S = 60


class State(StrEnum):
    """Where a run is in its life."""

    RUNNING = "running"
    ANSWERED = "answered"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Noted:
    """A run as a list shows it."""

    id: str
    provider_id: str
    state: State
    at: datetime
    stored: StoredLink | None

    @property
    def uri(self) -> str:
        """Its address as an MCP resource."""
        return f"{RUN_URI}{self.id}"


@dataclass(frozen=True, slots=True)
class Runs:
    """The runs of all principals; each sees its own."""

    shared: Shared
    ttl_s: int
    deadline_s: float

    async def keep(
        self,
        principal: Principal,
        run_id: str,
        provider_id: str,
        state: State,
        result: Mapping[str, Json] | None = None,
        stored: StoredLink | None = None,
    ) -> None:
        """Say where the run is now."""
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        said: dict[str, Json] = {"telemetryId": run_id, "provider": provider_id, "state": state.value, "at": at}
        full = ""
        if stored:
            said["full"] = stored.uri
            full = f" {stored.id} {stored.size}"
        if result is not None:
            said["result"] = result
        whose = of(principal)
        await self.shared.keep(
            f"run:{whose}:{run_id}",
            to_json(said),
            note=f"{run_id} {provider_id} {state.value} {at}{full}".encode(),
            notes=f"runs:{whose}",
            most=RECENT,
            ttl_s=self._ttl_s(state),
        )

    async def read(self, principal: Principal, run_id: str) -> bytes | None:
        """The run as a JSON document; None for everyone but the principal, and when it is too long ago."""
        return await self.shared.load(f"run:{of(principal)}:{run_id}")

    async def recent(self, principal: Principal) -> list[Noted]:
        """The newest runs that can still be read, each once, as it was when last heard of."""
        lines = await self.shared.noted(f"runs:{of(principal)}", RECENT)
        noted = sorted(map(_noted, lines), key=lambda each: each.at, reverse=True)
        newest: dict[str, Noted] = {}
        now = datetime.now(UTC)
        for each in noted:
            if now < each.at + timedelta(seconds=self._ttl_s(each.state)):
                newest.setdefault(each.id, each)
        return list(newest.values())

    def _ttl_s(self, state: State) -> int:
        """One that is still running is forgotten soon after it must have ended: then its process died."""
        return int(self.deadline_s) + _GRACE_S if state is State.RUNNING else self.ttl_s


def _noted(note: bytes) -> Noted:
    run_id, provider_id, state, at, *full = note.decode().split(" ")
    stored = StoredLink(full[0], int(full[1])) if full else None
    return Noted(run_id, provider_id, State(state), datetime.fromisoformat(at), stored)


def of(principal: Principal) -> str:
    """The part of a key that only this principal has: with another one's id in hand there is nothing under it."""
    return f"{principal.tenant_id.hex}:{principal.user_id.hex}:{principal.client}"
