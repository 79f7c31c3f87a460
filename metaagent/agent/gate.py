"""Who may use which tool through which connection; pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from uuid import UUID

from metaagent.agent.failures import AccountAmbiguous, AccountUnknown, CapabilityMiss, NeedsAuth
from metaagent.agent.types import Admission, ConnectionRef
from providers.spec import Effect, Exposure, ToolSpec


def visible(admission: Admission) -> bool:
    """Whether this principal sees the provider's tool: always when soft, once connected when strict."""
    return admission.exposure is Exposure.SOFT or any(c.ready for c in admission.connections)


def choose(
    admission: Admission, *, account_id: str | None, sticky: UUID | None
) -> ConnectionRef | NeedsAuth | AccountAmbiguous | AccountUnknown:
    """Pick the one connection an ask may use, or say why there is not exactly one.

    In this order: the account named, the conversation's, the only one, the default.
    """
    provider = admission.provider
    ready = [c for c in admission.connections if c.ready]
    if account_id is not None:
        named = [c for c in admission.connections if account_id in {c.account_id, c.label}]
        if not named:
            return AccountUnknown(provider.id)
        usable = [c for c in named if c.ready]
        if len(usable) > 1:
            return AccountAmbiguous(provider.id, tuple((c.account_id, c.label) for c in usable))
        return usable[0] if usable else _needs_auth(admission, named)
    if kept := [c for c in ready if c.id == sticky]:
        return kept[0]
    match ready:
        case []:
            return _needs_auth(admission, admission.connections)
        case [only]:
            return only
        case several:
            own_default = [c for c in several if c.is_default and not c.shared]
            if len(own_default) == 1:
                return own_default[0]
            return AccountAmbiguous(provider.id, tuple((c.account_id, c.label) for c in several))


def allowed(tool: ToolSpec, connection: ConnectionRef, admission: Admission) -> CapabilityMiss | None:
    """None when the connection's scopes allow the tool, else what is missing."""
    missing = tool.scopes - connection.scopes
    if not missing:
        return None
    return CapabilityMiss(admission.provider.id, tool.name, tuple(sorted(missing)), admission.provider.title)


def readable(tools: Iterable[ToolSpec], connection: ConnectionRef) -> list[ToolSpec]:
    """The read tools this connection can use now."""
    return [tool for tool in tools if tool.effect is Effect.READ and tool.scopes <= connection.scopes]


def scopes_for(admission: Admission, connection: ConnectionRef | None, extra: Iterable[str] = ()) -> tuple[str, ...]:
    """What a connect link asks for: the provider's usual scopes, what was granted before, and `extra`."""
    granted = connection.scopes if connection else frozenset()
    return tuple(sorted({*admission.provider.oauth.scopes, *granted, *extra}))


def _needs_auth(admission: Admission, connections: Sequence[ConnectionRef]) -> NeedsAuth:
    reasons = [c.reason for c in connections if c.reason]
    reason = reasons[0] if reasons else "missing"
    return NeedsAuth(admission.provider.id, reason, admission.provider.oauth.scopes, admission.provider.title)
