"""What people allow exactly once: one call, with these arguments, through this connection (design §2, §9).

What is asked is sealed with the question, bound to the row, the person and the ask, and is held against its keyed
digest, with the connection, whenever it is opened: what the page shows is what is carried out, or nothing is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from hmac import compare_digest
from uuid import UUID

from django.conf import settings

from audit.fingerprint import canonical, fingerprint, tenant_key
from providers import selectors as providers
from providers.errors import Unavailable
from providers.spec import Json, ToolSpec
from tenants.services import Refused
from vault import sealing
from vault.crypto import KeysUnavailable, Unreadable
from vault.models import Approval, Connection
from vault.services import question
from vault.services.question import Act

MOST_BYTES = 32_768
"""Of canonical JSON. More than that nobody reads before they press a button."""


@dataclass(frozen=True, slots=True)
class Call:
    """Exactly one call."""

    tool: ToolSpec
    args: Mapping[str, Json]


def ask(
    *,
    tenant_id: UUID,
    user_id: UUID,
    connection_id: UUID,
    client: str,
    tool: str,
    args: Mapping[str, Json],
    sent: Mapping[str, Json],
    now: datetime,
) -> Approval:
    """The question to this person, also when they have declined it a moment ago; a new one when there is none.

    `sent` is the ask that proposed the call. Raises: Refused for a call that cannot be put to a person; Unavailable
    when the keys cannot be had now.
    """
    connection = Connection.objects.select_related("installation").filter(pk=connection_id, tenant_id=tenant_id).first()
    call = _named(connection, tool, args) if connection else None
    if connection is None or call is None:
        raise Refused("This cannot be approved: the account or the tool is not there any more.")
    plain = canonical({"tool": tool, "args": dict(args)})
    if len(plain) > MOST_BYTES:
        raise Refused(f"This needs approval, and its arguments are too long for it (over {MOST_BYTES // 1024} KB).")
    row = Approval(
        tenant_id=tenant_id,
        user_id=user_id,
        connection=connection,
        client=client,
        effect=call.tool.effect,
        once=question.once(tenant_id, client, connection_id, sent),
        tool=tool[:80],
        call=_digest(connection, call),
    )
    try:
        key = sealing.active_key(tenant_id)
    except KeysUnavailable:
        raise _closed() from None
    row.key_id, row.sealed = key.id, sealing.bound_seal(key, tenant_id, plain, context(row))
    try:
        return question.put(row, "call", now=now)
    except Connection.DoesNotExist:
        raise Refused("This cannot be approved: the account is not one this person may use.") from None


def call_of(approval: Approval) -> Call | None:
    """The call it is for; None when it does not open, or is not what it was: the tool has changed or is gone.

    Raises: vault.crypto.KeysUnavailable.
    """
    try:
        plain = sealing.open_sealed(approval.tenant_id, approval.sealed, context(approval))
        asked = json.loads(plain.decode("utf-8", "surrogatepass"))
        call = _named(approval.connection, asked["tool"], asked["args"])
    except Unreadable:
        return None
    if call is None or not compare_digest(_digest(approval.connection, call), approval.call):
        return None
    return call


def take(
    *,
    tenant_id: UUID,
    user_id: UUID,
    client: str,
    connection_id: UUID,
    sent: Mapping[str, Json],
    run_id: str,
    now: datetime,
) -> list[Call]:
    """The calls approved for exactly this ask; of all who ask for them at once, one caller gets each.

    One that does not open, or is not what was approved, is used up without being given to anybody.
    Raises: Unavailable when the keys cannot be had now; then nothing is used up.
    """
    rows = question.given(
        Approval,
        tenant_id=tenant_id,
        user_id=user_id,
        client=client,
        connection_id=connection_id,
        sent=sent,
        now=now,
    )
    try:
        approved = [(row, call_of(row)) for row in rows.order_by("asked_at")]
    except KeysUnavailable:
        raise _closed() from None
    taken = []
    for row, call in approved:
        if call is None:
            question.use(row, Act.REFUSED, now=now, run_id=run_id)
        elif question.use(row, now=now, run_id=run_id, args_hmac=_hmac(tenant_id, dict(call.args))):
            taken.append(call)
    return taken


def context(approval: Approval) -> dict[str, str]:
    """What the sealed call is bound to besides its tenant and key. The ask's digest holds client and connection."""
    return {
        "row": str(approval.pk),
        "field": "approval",
        "user": str(approval.user_id),
        "once": approval.once,
    }


def _named(connection: Connection, tool: str, args: Mapping[str, Json]) -> Call | None:
    try:
        return Call(providers.spec_of(connection.installation).by_name[tool], args)
    except LookupError:
        return None


def _digest(connection: Connection, call: Call) -> str:
    """The tool's words and schema too: an approval of what they said is none of what they say now."""
    tool = call.tool
    described = {"name": tool.name, "summary": tool.summary, "effect": tool.effect, "schema": tool.schema}
    bound = {"approval": described, "connection": str(connection.pk), "args": dict(call.args)}
    return _hmac(connection.tenant_id, bound)


def _hmac(tenant_id: UUID, value: Json) -> str:
    """As the log has a call's arguments."""
    return fingerprint(tenant_key(settings.SECRET_KEY, tenant_id), value)


def _closed() -> Unavailable:
    return Unavailable("The keys to the vault cannot be reached right now. Try again in a minute.", sent=False)
