"""Connecting an account: link → page → provider → callback → READY (design: the connect flow).

The link names a person and carries no authority. Whoever opens it must be that person, in a live session; whoever
comes back from the provider must be the same person in the same browser. Everything is checked before the provider's
`error` or `code` is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from hmac import compare_digest
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import F

from audit import services as audit
from audit.events import Event, EventKind
from providers import selectors as providers
from providers.errors import ToolError
from providers.spec import ProviderSpec
from tenants import selectors as tenants
from tenants import standing
from tenants.models import User
from vault import links, oauth, sealing
from vault.crypto import Unreadable
from vault.models import ConnectAttempt, Connection, ConnectLink, SealedTokenSet, Status
from vault.services.clients import client_of
from vault.services.sealed import grant_of, seal_tokens
from vault.tokens import AnswerRefused, TokenSet


class Stop(StrEnum):
    """Why connecting does not go on; each has its page."""

    UNKNOWN = "unknown"
    EXPIRED = "expired"
    USED = "used"
    WRONG_PERSON = "wrong_person"
    NOT_MEMBER = "not_member"
    WRONG_BROWSER = "wrong_browser"
    CHANGED = "changed"
    WRONG_ISSUER = "wrong_issuer"
    DENIED = "denied"
    PROVIDER_ERROR = "provider_error"
    EXCHANGE_FAILED = "exchange_failed"
    IDENTITY_UNKNOWN = "identity_unknown"
    VAULT_CLOSED = "vault_closed"


class Stopped(Exception):
    """Connecting ends here. `spec` is given once it is safe to name the provider."""

    def __init__(self, why: Stop, spec: ProviderSpec | None = None) -> None:
        super().__init__(why.value)
        self.why = why
        self.spec = spec


@dataclass(frozen=True, slots=True)
class Opening:
    """What the connect page shows: who asks for what, where."""

    link: ConnectLink
    spec: ProviderSpec
    scopes: tuple[tuple[str, str], ...]
    """Scope and what it allows, in words."""


@dataclass(frozen=True, slots=True)
class Departure:
    """Where the browser goes, and the secret its cookie keeps until it is back."""

    url: str
    browser: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Arrival:
    """A connection that is ready."""

    connection: Connection
    spec: ProviderSpec
    missing: tuple[str, ...]
    """Scopes that were asked for and not granted."""


def offer(
    *,
    tenant_id: UUID,
    user_id: UUID,
    installation_id: UUID,
    slug: str,
    scopes: Sequence[str],
    client: str,
    now: datetime,
) -> str:
    """A fresh connect link for one person, as an absolute URL."""
    handle = links.mint_handle()
    ConnectLink.objects.create(
        digest=links.digest(handle),
        tenant_id=tenant_id,
        user_id=user_id,
        installation_id=installation_id,
        scopes=sorted(scopes),
        client=client[:80],
        expires_at=now + timedelta(seconds=settings.CONNECT_LINK_S),
    )
    return links.connect_url(slug, handle)


def open_link(*, handle: str, slug: str, user: User, now: datetime) -> Opening:
    """What a link offers to the person it was made for. Raises: Stopped."""
    link = (
        ConnectLink.objects.select_related("tenant", "installation", "user")
        .filter(digest=links.digest(handle), installation__slug=slug, installation__enabled=True)
        .first()
    )
    if link is None:
        raise Stopped(Stop.UNKNOWN)
    if link.user_id != user.pk:
        _event(link, EventKind.LINK_OPENED_BY_ANOTHER, opened_by=str(user.pk))
        raise Stopped(Stop.WRONG_PERSON)
    if tenants.membership(link.tenant_id, user.pk) is None:
        _event(link, EventKind.LINK_REFUSED, why=Stop.NOT_MEMBER)
        raise Stopped(Stop.NOT_MEMBER)
    spec = providers.spec_of(link.installation)
    if link.used_at is not None:
        raise Stopped(Stop.USED, spec)
    if link.expires_at <= now:
        raise Stopped(Stop.EXPIRED, spec)
    words = spec.oauth.scope_words
    return Opening(link, spec, tuple((scope, words.get(scope, scope)) for scope in link.scopes))


def start(*, opening: Opening, session_key: str, now: datetime) -> Departure:
    """Begin the round trip: the link is used up, state and PKCE verifier are made. Raises: Stopped."""
    link = opening.link
    state, browser, verifier = links.mint_handle(), links.mint_handle(), oauth.new_verifier()
    attempt = ConnectAttempt(link=link, state_digest=links.digest(state), browser_digest=links.digest(browser))
    attempt.session_digest = links.digest(session_key)
    attempt.expires_at = now + timedelta(seconds=settings.CONNECT_LINK_S)
    try:
        attempt.verifier = sealing.seal(link.tenant_id, verifier.encode(), _verifier_context(attempt))
        client = client_of(link.installation)
    except Unreadable:
        raise Stopped(Stop.VAULT_CLOSED, opening.spec) from None
    with transaction.atomic():
        if not ConnectLink.objects.filter(pk=link.pk, used_at=None, expires_at__gt=now).update(used_at=now):
            raise Stopped(Stop.USED, opening.spec)
        attempt.installation_version = link.installation.version
        attempt.save(force_insert=True)
        _event(link, EventKind.CONNECT_STARTED, scopes=" ".join(link.scopes))
    url = oauth.authorize_url(client, scopes=link.scopes, state=state, verifier=verifier)
    return Departure(url, browser)


def finish(
    *, installation_id: UUID, answer: dict[str, str], user: User, session_key: str, browser: str, now: datetime
) -> Arrival:
    """Take the provider's answer. Every check comes before `error` and `code` are read. Raises: Stopped."""
    attempt = (
        ConnectAttempt.objects.select_related("link__tenant", "link__installation", "connection")
        .filter(state_digest=links.digest(answer.get("state", "")), link__installation_id=installation_id)
        .first()
    )
    if attempt is None:
        raise Stopped(Stop.UNKNOWN)
    link = attempt.link
    ours = (
        link.user_id == user.pk
        and compare_digest(attempt.session_digest, links.digest(session_key))
        and compare_digest(attempt.browser_digest, links.digest(browser))
    )
    if not ours:
        why = Stop.WRONG_PERSON if link.user_id != user.pk else Stop.WRONG_BROWSER
        _event(link, EventKind.CALLBACK_REFUSED, why=why, opened_by=str(user.pk))
        raise Stopped(why)
    spec = providers.spec_of(link.installation)
    if not ConnectAttempt.objects.filter(pk=attempt.pk, used_at=None, expires_at__gt=now).update(used_at=now):
        if attempt.connection is not None and attempt.connection.status == Status.READY:
            return _arrival(attempt.connection, spec, link)  # the back button, or the same answer twice
        raise Stopped(Stop.USED if attempt.used_at else Stop.EXPIRED, spec)
    try:
        connection = _take(attempt, spec, answer, user=user, now=now)
    except Stopped as stopped:
        ConnectAttempt.objects.filter(pk=attempt.pk).update(outcome=stopped.why)
        if stopped.why not in {Stop.EXCHANGE_FAILED, Stop.IDENTITY_UNKNOWN}:  # those have an outcome of their own
            _event(link, EventKind.CALLBACK_REFUSED, why=stopped.why)
        raise
    return _arrival(connection, spec, link)


def _take(
    attempt: ConnectAttempt, spec: ProviderSpec, answer: dict[str, str], *, user: User, now: datetime
) -> Connection:
    link = attempt.link
    if tenants.membership(link.tenant_id, user.pk) is None:
        raise Stopped(Stop.NOT_MEMBER)
    if not link.installation.enabled or link.installation.version != attempt.installation_version:
        raise Stopped(Stop.CHANGED, spec)
    issuer = answer.get("iss")
    if issuer is not None and spec.oauth.issuer is not None and issuer != spec.oauth.issuer:
        raise Stopped(Stop.WRONG_ISSUER, spec)
    if "error" in answer:
        raise Stopped(Stop.DENIED if answer["error"] == "access_denied" else Stop.PROVIDER_ERROR, spec)
    code = answer.get("code", "")
    if not code or len(code) > 4_096:  # noqa: PLR2004 - no provider's code is longer
        raise Stopped(Stop.PROVIDER_ERROR, spec)
    try:
        # Whatever can fail on our side fails before the code is spent.
        client = client_of(link.installation)
        verifier = sealing.open_sealed(link.tenant_id, attempt.verifier, _verifier_context(attempt)).decode()
        sealing.active_key(link.tenant_id)
    except Unreadable:
        raise Stopped(Stop.VAULT_CLOSED, spec) from None
    intent = _event(link, EventKind.EXCHANGE_INTENT)
    try:
        tokens = oauth.exchange_code(client, code=code, verifier=verifier)
    except (AnswerRefused, ToolError) as failed:
        _event(link, EventKind.EXCHANGE_FAILED, intent, code=getattr(failed, "code", "unavailable"))
        raise Stopped(Stop.EXCHANGE_FAILED, spec) from None
    try:
        identity = oauth.identify(spec.oauth, access_token=tokens.access)
    except (AnswerRefused, ToolError):
        oauth.discard(client, tokens)
        _event(link, EventKind.EXCHANGE_FAILED, intent, code="identity_unknown")
        raise Stopped(Stop.IDENTITY_UNKNOWN, spec) from None
    return _store(attempt, spec, tokens, identity, intent, now=now)


@transaction.atomic
def _store(
    attempt: ConnectAttempt,
    spec: ProviderSpec,
    tokens: TokenSet,
    identity: oauth.Identity,
    intent: Event,
    *,
    now: datetime,
) -> Connection:
    """Account, tokens, outcome and audit event in one transaction. The same account again renews its connection."""
    link = attempt.link
    owned = {"tenant_id": link.tenant_id, "installation_id": link.installation_id, "owner_id": link.user_id}
    account_id = spec.account_id(identity.subject)
    connection, created = Connection.objects.get_or_create(
        **owned,
        account_id=account_id,
        defaults={"account_label": identity.label, "connected_at": now},
    )
    grant = grant_of(link.installation)
    granted = tokens.scopes if tokens.scopes is not None else tuple(link.scopes)
    Connection.objects.filter(pk=connection.pk).update(
        status=Status.READY,
        reason="",
        scopes=sorted(granted),
        grant=grant,
        account_label=identity.label,
        connected_at=now,
        epoch=F("epoch") + (0 if created else 1),
    )
    old = SealedTokenSet.objects.filter(connection=connection).first()
    version = old.version + 1 if old else 1
    lives = tokens.lives_s(spec.oauth, renewable=tokens.refresh is not None)
    SealedTokenSet.objects.update_or_create(
        connection=connection,
        defaults={
            **seal_tokens(connection, tokens, version=version, grant=grant),
            "version": version,
            "expires_at": now + timedelta(seconds=lives) if lives is not None else None,
            "refreshed_at": now,
            "refresh_owner": None,
            "lease_until": None,
            "attempts": 0,
            "retry_after": None,
        },
    )
    ConnectAttempt.objects.filter(pk=attempt.pk).update(outcome="connected", connection=connection)
    _event(link, EventKind.EXCHANGE_DONE, intent, connection, scopes=" ".join(sorted(granted)), version=version)
    standing.changed()
    connection.refresh_from_db()
    return connection


def _arrival(connection: Connection, spec: ProviderSpec, link: ConnectLink) -> Arrival:
    return Arrival(connection, spec, tuple(scope for scope in link.scopes if scope not in connection.scopes))


def _verifier_context(attempt: ConnectAttempt) -> dict[str, str]:
    return {"row": str(attempt.pk), "field": "pkce_verifier"}


def _event(
    link: ConnectLink,
    kind: EventKind,
    intent: Event | None = None,
    connection: Connection | None = None,
    **detail: str | int,
) -> Event:
    return audit.record(
        kind,
        tenant_id=link.tenant_id,
        user_id=link.user_id,
        provider=link.installation.slug,
        connection_id=connection.pk if connection else None,
        intent=intent,
        link=str(link.pk),
        **detail,
    )
