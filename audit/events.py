"""What can happen, as values: `subject.action.outcome`."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import field
from datetime import UTC, datetime
from enum import StrEnum

from metaagent.values import value


class EventKind(StrEnum):
    """Every kind of event. An act that touches a provider has an intent before and an outcome after."""

    TENANT_CREATED = "tenant.create.done"
    TENANT_CHANGED = "tenant.change.done"
    MEMBER_ADDED = "member.add.done"
    MEMBER_CHANGED = "member.change.done"
    MEMBER_REMOVED = "member.remove.done"
    MEMBER_INVITED = "member.invite.done"
    MEMBER_UNINVITED = "member.invite.withdrawn"
    INVITATION_ACCEPTED = "member.invite.accepted"
    KEY_CREATED = "key.create.done"
    KEY_REVOKED = "key.revoke.done"
    GRANT_GIVEN = "grant.give.done"
    GRANT_DECLINED = "grant.give.refused"
    GRANT_EXCHANGED = "grant.exchange.done"
    GRANT_REFRESHED = "grant.refresh.done"
    GRANT_ENDED = "grant.end.done"
    LOGIN_DONE = "login.password.done"
    LOGIN_REFUSED = "login.password.refused"
    LOGIN_PASSKEY_DONE = "login.passkey.done"
    LOGIN_SINGLE_DONE = "login.single.done"
    LOGIN_SINGLE_LINKED = "login.single.linked"
    LOGIN_SINGLE_UNLINKED = "login.single.unlinked"
    FACTOR_ADDED = "login.factor.added"
    FACTOR_REMOVED = "login.factor.removed"
    FACTOR_REFUSED = "login.factor.refused"
    PASSWORD_CHANGED = "password.change.done"  # noqa: S105 - the name of an event
    SESSION_ENDED = "session.end.done"
    USER_DEACTIVATED = "user.deactivate.done"
    PROVIDER_INSTALLED = "provider.install.done"
    PROVIDER_CHANGED = "provider.change.done"
    PROVIDER_REMOVED = "provider.remove.done"
    SECRET_SET = "secret.set.done"  # noqa: S105 - the name of an event
    MANIFEST_LISTED = "manifest.list.done"
    MANIFEST_ACCEPTED = "manifest.accept.done"
    MANIFEST_REFUSED = "manifest.refuse.done"
    MANIFEST_CHOSEN = "manifest.choose.done"
    LINK_OPENED_BY_ANOTHER = "connect.open.wrong_person"
    LINK_REFUSED = "connect.open.refused"
    CONNECT_STARTED = "connect.start.done"
    CALLBACK_REFUSED = "connect.callback.refused"
    EXCHANGE_INTENT = "connect.exchange.intent"
    EXCHANGE_DONE = "connect.exchange.done"
    EXCHANGE_FAILED = "connect.exchange.failed"
    REFRESH_INTENT = "token.refresh.intent"
    REFRESH_DONE = "token.refresh.done"
    REFRESH_FAILED = "token.refresh.failed"
    TOKEN_UNREADABLE = "token.open.refused"  # noqa: S105 - the name of an event
    REVOKE_INTENT = "connection.revoke.intent"
    REVOKE_DONE = "connection.revoke.done"
    REVOKE_FAILED = "connection.revoke.failed"
    TOOL_INTENT = "tool.call.intent"
    TOOL_DONE = "tool.call.done"
    TOOL_FAILED = "tool.call.failed"
    ASK_DENIED = "ask.gate.denied"
    ASK_ANSWERED = "ask.work.answered"
    TOKEN_IMPORTED = "token.import.done"  # noqa: S105 - the name of an event
    ACCOUNT_DEFAULT = "connection.default.done"
    ACCOUNT_LABELLED = "connection.label.done"
    CONSENT_ASKED = "consent.ask.done"
    CONSENT_GIVEN = "consent.give.done"
    CONSENT_DECLINED = "consent.give.refused"
    CONSENT_WITHDRAWN = "consent.withdraw.done"
    CONSENT_USED = "consent.use.done"
    APPROVAL_ASKED = "approval.ask.done"
    APPROVAL_GIVEN = "approval.give.done"
    APPROVAL_DECLINED = "approval.give.refused"
    APPROVAL_WITHDRAWN = "approval.withdraw.done"
    APPROVAL_USED = "approval.use.done"
    APPROVAL_REFUSED = "approval.use.refused"
    TENANT_CLOSED = "tenant.close.done"
    TENANT_REMOVED = "tenant.remove.done"
    ROTATE_INTENT = "vault.rotate.intent"
    ROTATE_DONE = "vault.rotate.done"
    REWRAP_DONE = "vault.rewrap.done"
    SHRED_INTENT = "vault.shred.intent"
    SHRED_DONE = "vault.shred.done"
    EXPORTED = "audit.export.done"
    LOG_READ = "audit.read.done"
    VERIFY_INTENT = "audit.verify.intent"
    VERIFY_DONE = "audit.verify.done"
    VERIFY_FAILED = "audit.verify.failed"


@value
class Event:
    """One fact. `detail` holds short, non-secret facts only: names, counts, codes, digests."""

    kind: EventKind
    tenant_id: uuid.UUID
    user_id: uuid.UUID | None = None
    client: str = ""
    run_id: str = ""
    provider: str = ""
    connection_id: uuid.UUID | None = None
    tool: str = ""
    args_hmac: str = ""
    intent_id: uuid.UUID | None = None
    detail: Mapping[str, str | int | float | bool | None] = field(default_factory=dict)
    id: uuid.UUID = field(default_factory=uuid.uuid4)
    at: datetime = field(default_factory=lambda: datetime.now(UTC))


@value
class Outcomes:
    """How often tool calls of one provider ended in one way; what the result cache answered is left out."""

    provider: str
    code: str
    """Why they failed; empty: they did not."""
    hour: int
    """In the last hour; `day`: in the last 24."""
    day: int
    last: datetime
