"""What people let clients do in their name, for a while or for one ask (design §6, §9). It begins as a `question`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from hmac import compare_digest
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.cache import cache

from providers.spec import Effect
from vault.models import Consent
from vault.services import question

_SHOWN_CHARS = 8_192


def ask(
    *,
    tenant_id: UUID,
    user_id: UUID,
    connection_id: UUID,
    client: str,
    effect: Effect,
    sent: Mapping[str, Any] | None,
    now: datetime,
) -> Consent:
    """The question to this person, also when they have declined it a moment ago; a new one when there is none.

    `sent` is the one ask it is for. It is not stored, only its keyed digest; the page shows it while the cache has it.
    """
    new = Consent(
        tenant_id=tenant_id,
        user_id=user_id,
        connection_id=connection_id,
        client=client,
        effect=effect,
        once=question.once(tenant_id, client, connection_id, sent) if sent is not None else "",
        tool=str((sent or {}).get("tool", ""))[:80],
    )
    row = question.put(new, now=now)
    if sent is not None and row is new:
        _show(row, sent)
    return row


def take(
    *,
    tenant_id: UUID,
    user_id: UUID,
    client: str,
    connection_id: UUID,
    sent: Mapping[str, Any],
    run_id: str,
    now: datetime,
) -> frozenset[Effect]:
    """The effects allowed for exactly this ask; of all who ask for them at once, one caller gets each."""
    rows = question.given(
        Consent,
        tenant_id=tenant_id,
        user_id=user_id,
        client=client,
        connection_id=connection_id,
        sent=sent,
        now=now,
    )
    return frozenset(Effect(row.effect) for row in rows if question.use(row, now=now, run_id=run_id))


def shown(consent: Consent) -> Mapping[str, Any] | None:
    """The one ask it is for, when the cache still has it and it is the very one; None otherwise."""
    sent = cache.get(_shown_key(consent))
    if not isinstance(sent, dict):
        return None
    found = question.once(consent.tenant_id, consent.client, consent.connection_id, sent)
    return sent if compare_digest(found, consent.once) else None


def _show(consent: Consent, sent: Mapping[str, Any]) -> None:
    """Keep what was sent for the page, if it is of a length people read. Losing it costs the page its details."""
    if len(json.dumps(sent)) <= _SHOWN_CHARS:
        cache.set(_shown_key(consent), dict(sent), timeout=settings.CONSENT_ANSWER_S)


def _shown_key(consent: Consent) -> str:
    return f"consent:{consent.pk}"
