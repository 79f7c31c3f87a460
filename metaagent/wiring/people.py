"""What people are asked, and the pages where they answer: connect links, consents, approvals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from uuid import UUID

from metaagent.agent.failures import PolicyDenied
from metaagent.agent.types import (
    Admission,
    Link,
    Principal,
    Proposed,
    Question,
)
from metaagent.wiring.bridge import Bridge
from providers.spec import Effect, Json
from tenants.services import Refused
from vault import links
from vault.services import approve, connect, consent, question


class ConnectLinks:
    """Connect links over the vault."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge

    async def connect(
        self, principal: Principal, admission: Admission, scopes: Sequence[str], connection_id: UUID | None
    ) -> Link:
        """A fresh link for this person, and the code that leads to the same page."""
        offered = await self._bridge.quick(
            lambda: connect.offer(
                tenant_id=principal.tenant_id,
                user_id=principal.user_id,
                installation_id=admission.installation_id,
                slug=admission.provider.id,
                scopes=scopes,
                connection_id=connection_id,
                client=principal.client,
                now=datetime.now(UTC),
            )
        )
        return Link(offered.url, offered.code, links.code_url())


class VaultConsents:
    """Consent questions and answers over the vault."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge

    async def question(
        self, principal: Principal, connection_id: UUID, effect: Effect, sent: Mapping[str, Json] | None
    ) -> Question:
        """The question to this person, and where they answer it."""
        row = await self._bridge.quick(
            lambda: consent.ask(
                tenant_id=principal.tenant_id,
                user_id=principal.user_id,
                connection_id=connection_id,
                client=principal.client,
                effect=effect,
                sent=sent,
                now=datetime.now(UTC),
            )
        )
        return Question(row.pk, links.consent_url(row.pk), row.declined_at is not None)

    async def take(
        self, principal: Principal, connection_id: UUID, sent: Mapping[str, Json], run_id: str
    ) -> frozenset[Effect]:
        """What was allowed for this ask, for one caller only."""
        return await self._bridge.quick(
            lambda: consent.take(
                tenant_id=principal.tenant_id,
                user_id=principal.user_id,
                client=principal.client,
                connection_id=connection_id,
                sent=sent,
                run_id=run_id,
                now=datetime.now(UTC),
            )
        )


class VaultApprovals:
    """Approval questions and answers over the vault; a data key may have to be opened for them."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge

    async def question(self, principal: Principal, call: Proposed, sent: Mapping[str, Json]) -> Question:
        """The question to this person, and where they answer it.

        Raises: PolicyDenied when nobody can be asked; providers.errors.Unavailable when the keys cannot be had now.
        """
        try:
            row = await self._bridge.slow(
                lambda: approve.ask(
                    tenant_id=principal.tenant_id,
                    user_id=principal.user_id,
                    connection_id=call.connection_id,
                    client=principal.client,
                    tool=call.tool,
                    args=call.args,
                    sent=sent,
                    now=datetime.now(UTC),
                )
            )
        except Refused as refused:
            raise PolicyDenied(str(refused)) from None
        return Question(row.pk, links.approve_url(row.pk), row.declined_at is not None)

    async def answered(self, principal: Principal, question_id: UUID) -> bool:
        """Whether there is nothing left to wait for."""
        return await self._bridge.quick(
            lambda: question.answered(question_id, user_id=principal.user_id, now=datetime.now(UTC))
        )

    async def take(
        self, principal: Principal, connection_id: UUID, sent: Mapping[str, Json], run_id: str
    ) -> Sequence[Proposed]:
        """The calls that were approved for this ask, for one caller only. Raises: providers.errors.Unavailable."""
        taken = await self._bridge.slow(
            lambda: approve.take(
                tenant_id=principal.tenant_id,
                user_id=principal.user_id,
                client=principal.client,
                connection_id=connection_id,
                sent=sent,
                run_id=run_id,
                now=datetime.now(UTC),
            )
        )
        return [Proposed(connection_id, call.tool.name, call.args) for call in taken]
