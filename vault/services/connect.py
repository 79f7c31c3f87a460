"""Connecting an account: link → page → provider → callback → READY (design: the connect flow).

The link names a person and carries no authority. Whoever opens it must be that person, in a live session; whoever
comes back from the provider must be the same person in the same browser. Everything is checked before the provider's
`error` or `code` is read. Whose account it is, the provider's answer alone decides: none is ever put over another.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from hmac import compare_digest
from uuid import UUID

from django.conf import settings
from django.db import DatabaseError, close_old_connections, transaction
from django.db import connection as database
from django.db.models import Q

from audit import services as audit
from audit.events import Event, EventKind
from providers import selectors as providers
from providers.errors import ToolError
from providers.spec import Access, ProviderSpec
from tenants import keys
from tenants import selectors as tenants
from tenants.models import User
from vault import codes, links, oauth, sealing
from vault.crypto import DataKey, KeysUnavailable, Unreadable
from vault.models import ConnectAttempt, Connection, ConnectLink, Status
from vault.services import accounts, listing
from vault.services.clients import client_of
from vault.tokens import AnswerRefused, TokenSet

log = logging.getLogger(__name__)

_KEEP_S = 15.0
"""How long tokens just received are kept in memory when the database does not take them."""
_WAIT_S, _POLL_S = 10.0, 0.1
"""How long the same answer, come a second time, waits for what becomes of the first."""
_AT_MOST = timedelta(seconds=90)
"""No exchange takes longer: two requests of fifteen seconds, and as long to store what came."""
_FORGET = timedelta(days=1)
_CONNECTED, _EXCHANGING = "connected", "exchanging"
"""Outcomes of an attempt besides those of `Stop`; empty: its answer has not come, or is being checked."""


class Stop(StrEnum):
    """Why connecting does not go on; each has its page."""

    UNKNOWN = "unknown"
    EXPIRED = "expired"
    USED = "used"
    WRONG_PERSON = "wrong_person"
    NOT_MEMBER = "not_member"
    NOT_ADMIN = "not_admin"
    WRONG_BROWSER = "wrong_browser"
    CHANGED = "changed"
    WRONG_ISSUER = "wrong_issuer"
    DENIED = "denied"
    PROVIDER_ERROR = "provider_error"
    EXCHANGE_FAILED = "exchange_failed"
    IDENTITY_UNKNOWN = "identity_unknown"
    VAULT_CLOSED = "vault_closed"
    NOT_STORED = "not_stored"
    WAITING = "waiting"
    """It goes on in another window."""
    WORKING = "working"
    INTERRUPTED = "interrupted"
    NO_ACCOUNT = "no_account"


class Stopped(Exception):
    """Connecting does not go on here. `spec` is given once it is safe to name the provider; `code` is for the log.

    `link` is given where more will become of it.
    """

    def __init__(
        self, why: Stop, spec: ProviderSpec | None = None, *, code: str = "", link: ConnectLink | None = None
    ) -> None:
        super().__init__(why.value)
        self.why = why
        self.spec = spec
        self.code = code or why.value
        self.link = link


@dataclass(frozen=True, slots=True)
class Opening:
    """What the connect page shows: who asks for what, where."""

    link: ConnectLink
    spec: ProviderSpec

    @property
    def granted(self) -> tuple[str, ...]:
        """What of it the account at hand allows already."""
        before = self.link.connection.scopes if self.link.connection else []
        return tuple(scope for scope in self.link.scopes if scope in before)

    @property
    def asked(self) -> tuple[str, ...]:
        """What it does not allow yet."""
        return tuple(scope for scope in self.link.scopes if scope not in self.granted)


@dataclass(frozen=True, slots=True)
class Offered:
    """A way to the connect page."""

    url: str
    code: str
    """What leads there too, typed at `links.code_url()`."""


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
    lost: tuple[str, ...] = ()
    """Scopes the account allowed before and was not asked for again."""
    instead_of: Connection | None = None
    """The account the link was for, when somebody else came."""


def offer(
    *,
    tenant_id: UUID,
    user_id: UUID,
    installation_id: UUID,
    slug: str,
    scopes: Sequence[str],
    client: str,
    now: datetime,
    connection_id: UUID | None = None,
    shared: bool = False,
) -> Offered:
    """A fresh connect link for one person.

    For the account `connection_id` when it is that person's or the tenant's; else for whichever they come back as.
    """
    handle, code = keys.mint_handle(), codes.mint()
    account = (
        Connection.objects.filter(
            Q(owner_id=user_id) | Q(owner=None),
            pk=connection_id,
            tenant_id=tenant_id,
            installation_id=installation_id,
        ).first()
        if connection_id
        else None
    )
    ConnectLink.objects.create(
        digest=keys.digest(handle),
        code=codes.digest(code),
        tenant_id=tenant_id,
        user_id=user_id,
        installation_id=installation_id,
        connection=account,
        shared=account.shared if account else shared,
        scopes=sorted(scopes),
        client=client[:80],
        expires_at=now + timedelta(seconds=settings.CONNECT_LINK_S),
    )
    return Offered(links.connect_url(slug, handle), code)


def typed(*, code: str, user: User, now: datetime) -> str | None:
    """The connect page that a code leads its person to, as long as its link lives; None: it is not right."""
    digest = codes.digest(code)
    alive = ConnectLink.objects.filter(used_at=None, expires_at__gt=now, installation__enabled=True)
    link = alive.select_related("installation").filter(code=digest).first() if digest else None
    if link is None:
        return None
    if link.user_id != user.pk:
        record(link, EventKind.LINK_OPENED_BY_ANOTHER, opened_by=str(user.pk))
        return None
    # A link of its own: of the first one nobody but its client knows the address.
    return offer(
        tenant_id=link.tenant_id,
        user_id=link.user_id,
        installation_id=link.installation_id,
        slug=link.installation.slug,
        scopes=link.scopes,
        client=link.client,
        now=now,
        connection_id=link.connection_id,
        shared=link.shared,
    ).url


def open_link(*, handle: str, slug: str, user: User, now: datetime) -> Opening | Arrival:
    """What a link offers to the person it was made for, or what has come of it. Raises: Stopped."""
    link = (
        ConnectLink.objects.select_related("tenant", "installation", "user", "connection")
        .filter(digest=keys.digest(handle), installation__slug=slug, installation__enabled=True)
        .first()
    )
    if link is None:
        raise Stopped(Stop.UNKNOWN)
    if link.user_id != user.pk:
        record(link, EventKind.LINK_OPENED_BY_ANOTHER, opened_by=str(user.pk))
        raise Stopped(Stop.WRONG_PERSON)
    spec = providers.spec_of(link.installation)
    if why := _not_theirs(link):
        record(link, EventKind.LINK_REFUSED, why=why)
        raise Stopped(why, spec if why is Stop.NOT_ADMIN else None)
    if link.used_at is not None:
        return _become(link, spec, now=now)
    if link.expires_at <= now:
        raise Stopped(Stop.EXPIRED, spec)
    if spec.access is Access.NONE:
        raise Stopped(Stop.NO_ACCOUNT, spec)
    return Opening(link, spec)


def use_up(link: ConnectLink, spec: ProviderSpec, *, now: datetime) -> None:
    """Take a link's one use, in the caller's transaction, if its person may still connect. Raises: Stopped."""
    if why := _not_theirs(link, lock=True):
        raise Stopped(why, spec)
    if not ConnectLink.objects.filter(pk=link.pk, used_at=None, expires_at__gt=now).update(used_at=now):
        raise Stopped(Stop.USED, spec)


def start(*, opening: Opening, session_key: str, now: datetime) -> Departure:
    """Begin the round trip: the link is used up, state and PKCE verifier are made. Raises: Stopped."""
    link = opening.link
    if link.installation.connect_url or opening.spec.access is not Access.OAUTH:
        raise Stopped(Stop.CHANGED, opening.spec)
    state, browser, verifier = keys.mint_handle(), keys.mint_handle(), oauth.new_verifier()
    attempt = ConnectAttempt(link=link, state_digest=keys.digest(state), browser_digest=keys.digest(browser))
    attempt.session_digest = keys.digest(session_key)
    attempt.expires_at = now + timedelta(seconds=settings.CONNECT_LINK_S)
    try:
        attempt.verifier = sealing.seal(link.tenant_id, verifier.encode(), _verifier_context(attempt))
        client = client_of(link.installation)
    except (Unreadable, KeysUnavailable):
        raise Stopped(Stop.VAULT_CLOSED, opening.spec) from None
    with transaction.atomic():
        use_up(link, opening.spec, now=now)
        attempt.installation_version = link.installation.version
        attempt.save(force_insert=True)
        record(link, EventKind.CONNECT_STARTED, scopes=" ".join(link.scopes), shared=link.shared)
    url = oauth.authorize_url(
        client, scopes=link.scopes, state=state, verifier=verifier, nonce=_nonce(opening.spec, state)
    )
    return Departure(url, browser)


def finish(
    *, installation_id: UUID, answer: dict[str, str], user: User, session_key: str, browser: str, now: datetime
) -> Arrival:
    """Take the provider's answer. Every check comes before `error` and `code` are read. Raises: Stopped."""
    attempt = (
        ConnectAttempt.objects.select_related(
            "link__tenant", "link__user", "link__installation", "link__connection", "connection"
        )
        .filter(state_digest=keys.digest(answer.get("state", "")), link__installation_id=installation_id)
        .first()
    )
    if attempt is None:
        raise Stopped(Stop.UNKNOWN)
    link = attempt.link
    ours = (
        link.user_id == user.pk
        and compare_digest(attempt.session_digest, keys.digest(session_key))
        and compare_digest(attempt.browser_digest, keys.digest(browser))
    )
    if not ours:
        why = Stop.WRONG_PERSON if link.user_id != user.pk else Stop.WRONG_BROWSER
        record(link, EventKind.CALLBACK_REFUSED, why=why, opened_by=str(user.pk))
        raise Stopped(why)
    spec = providers.spec_of(link.installation)
    # Whoever gets it has the only copy of the verifier: nobody else can exchange the code.
    claim = ConnectAttempt.objects.filter(pk=attempt.pk, used_at=None, expires_at__gt=now)
    if not claim.update(used_at=now, verifier=b""):
        return _same_again(attempt, spec, now=now)
    try:
        kept = _take(attempt, spec, answer, now=now)
    except Stopped as stopped:
        with contextlib.suppress(DatabaseError):  # which may be why it stopped: the page still says so
            _ended(attempt, stopped)
        raise
    with contextlib.suppress(DatabaseError):  # it is connected: the sweep lists what is not listed now
        listing.after_connecting(kept.connection.pk)
    return arrival(kept.connection, spec, link, kept.lost)


def settle(*, now: datetime) -> int:
    """Give the exchanges whose process died their outcome: unknown; and forget links that are long over.

    Returns how many died.
    """
    dead = ConnectAttempt.objects.filter(used_at__lt=now - _AT_MOST, outcome__in=["", _EXCHANGING])
    died = sum(_ended(attempt, _interrupted()) for attempt in dead.select_related("link__installation"))
    ConnectLink.objects.filter(expires_at__lt=now - _FORGET).delete()
    return died


def _same_again(attempt: ConnectAttempt, spec: ProviderSpec, *, now: datetime) -> Arrival:
    """The back button, a reload, or the same answer many times at once: all see what came of the first.

    Raises: Stopped.
    """
    if attempt.used_at is None and attempt.expires_at <= now:
        raise Stopped(Stop.EXPIRED, spec)
    began = time.monotonic()
    while True:
        attempt.refresh_from_db(fields=["outcome", "used_at", "connection"])
        if attempt.outcome not in {"", _EXCHANGING} or time.monotonic() > began + _WAIT_S:
            break
        if attempt.used_at is not None and attempt.used_at < now - _AT_MOST:
            _ended(attempt, _interrupted())
            raise _interrupted(spec)
        close_old_connections()  # whoever waits holds no database connection
        time.sleep(_POLL_S)
    if done := _ending(attempt, spec):
        return done
    raise Stopped(Stop.WORKING, spec, link=attempt.link)


def _become(link: ConnectLink, spec: ProviderSpec, *, now: datetime) -> Arrival:
    """What has come of a link that was used, for whoever opens it once more. Raises: Stopped."""
    attempt = ConnectAttempt.objects.select_related("link", "connection").filter(link=link).first()
    if attempt is None:  # a key was entered
        return _arrived(link.connection, spec, link)
    if done := _ending(attempt, spec):
        return done
    under_way = attempt.expires_at > now if attempt.used_at is None else attempt.used_at > now - _AT_MOST
    raise Stopped(Stop.WAITING, spec, link=link) if under_way else Stopped(Stop.USED, spec)


def _ending(attempt: ConnectAttempt, spec: ProviderSpec) -> Arrival | None:
    """How an attempt ended, if it has. Raises: Stopped."""
    if attempt.outcome == _CONNECTED:
        return _arrived(attempt.connection, spec, attempt.link)
    if attempt.outcome in set(Stop):
        raise Stopped(Stop(attempt.outcome), spec)
    return None


def _arrived(connection: Connection | None, spec: ProviderSpec, link: ConnectLink) -> Arrival:
    """Raises: Stopped when the account is gone again."""
    if connection is None or connection.status != Status.READY:
        raise Stopped(Stop.USED, spec)
    return arrival(connection, spec, link)


def _take(attempt: ConnectAttempt, spec: ProviderSpec, answer: dict[str, str], *, now: datetime) -> accounts.Kept:
    link = attempt.link
    if why := _not_theirs(link):
        raise Stopped(why)
    if not link.installation.enabled or link.installation.version != attempt.installation_version:
        raise Stopped(Stop.CHANGED, spec)
    issuer = answer.get("iss")
    wrong = issuer is not None and spec.oauth.issuer is not None and issuer != spec.oauth.issuer
    if wrong or (issuer is None and spec.oauth.iss_required):  # RFC 9207 section 2.4
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
        key = sealing.active_key(link.tenant_id)
    except (Unreadable, KeysUnavailable):
        raise Stopped(Stop.VAULT_CLOSED, spec) from None
    with transaction.atomic():
        if not ConnectAttempt.objects.filter(pk=attempt.pk, outcome="").update(outcome=_EXCHANGING):
            raise _interrupted(spec)
        audit.append([_intent(attempt)])
    close_old_connections()
    try:
        tokens = oauth.exchange_code(client, code=code, verifier=verifier)
    except (AnswerRefused, ToolError) as failed:
        raise Stopped(Stop.EXCHANGE_FAILED, spec, code=getattr(failed, "code", "unavailable")) from None
    try:
        owner = oauth.owned(None if link.shared else link.user)
        identity = oauth.identify(client, tokens, nonce=_nonce(spec, answer["state"]), owner=owner)
    except (AnswerRefused, ToolError):
        oauth.discard(client, tokens)
        raise Stopped(Stop.IDENTITY_UNKNOWN, spec) from None
    try:
        return _keep(attempt, spec, tokens, identity, key, now=now)
    except BaseException:
        # Nobody will use them. Were they stored all the same, the first call finds them dead and asks for a log-in.
        oauth.discard(client, tokens)
        raise


def _keep(
    attempt: ConnectAttempt,
    spec: ProviderSpec,
    tokens: TokenSet,
    identity: oauth.Identity,
    key: DataKey,
    *,
    now: datetime,
) -> accounts.Kept:
    """Store what the provider gave, and try again for a while when the database does not take it. Raises: Stopped."""
    until = time.monotonic() + _KEEP_S
    while True:
        try:
            return _store(attempt, spec, tokens, identity, key, now=now)
        except DatabaseError as broken:
            if time.monotonic() > until:
                log.error("an account just connected could not be stored: %s", type(broken).__name__)  # noqa: TRY400 - the cause says nothing more
                raise Stopped(Stop.NOT_STORED, spec) from None
            database.close()
            time.sleep(_POLL_S)


@transaction.atomic
def _store(
    attempt: ConnectAttempt,
    spec: ProviderSpec,
    tokens: TokenSet,
    identity: oauth.Identity,
    key: DataKey,
    *,
    now: datetime,
) -> accounts.Kept:
    """Account, tokens, outcome and audit event in one transaction, if all still is as it was. Raises: Stopped."""
    link = attempt.link
    row = ConnectAttempt.objects.select_for_update(no_key=True).get(pk=attempt.pk)
    if row.outcome == _CONNECTED and row.connection is not None:  # a commit whose answer was lost
        return accounts.Kept(row.connection, row.connection.tokens.version, lost=())
    if row.outcome != _EXCHANGING:
        raise _interrupted(spec)
    if why := _not_theirs(link, lock=True):
        raise Stopped(why, spec)
    try:
        kept = accounts.keep(
            installation=link.installation,
            owner_id=None if link.shared else link.user_id,
            identity=identity,
            tokens=tokens,
            scopes=oauth.granted(spec.oauth, tokens, link.scopes),
            key=key,
            now=now,
        )
    except accounts.Changed:
        raise Stopped(Stop.CHANGED, spec) from None
    ConnectAttempt.objects.filter(pk=attempt.pk).update(outcome=_CONNECTED, connection=kept.connection)
    record(
        link,
        EventKind.EXCHANGE_DONE,
        _intent(attempt),
        kept.connection,
        scopes=" ".join(kept.connection.scopes),
        version=kept.version,
        shared=link.shared,
        another=link.connection_id not in {None, kept.connection.pk},
    )
    return kept


def arrival(connection: Connection, spec: ProviderSpec, link: ConnectLink, lost: Sequence[str] = ()) -> Arrival:
    """What has come of a link."""
    missing = tuple(scope for scope in link.scopes if scope not in connection.scopes)
    expected = link.connection if link.connection_id != connection.pk else None
    return Arrival(connection, spec, missing, tuple(scope for scope in lost if scope not in missing), expected)


def _not_theirs(link: ConnectLink, *, lock: bool = False) -> Stop | None:
    """Why this link is not for its person any more, if it is not."""
    tenant_id, user_id = link.tenant_id, link.user_id
    if accounts.may_connect(tenant_id=tenant_id, user_id=user_id, shared=link.shared, lock=lock):
        return None
    member = tenants.membership(tenant_id, user_id) is not None
    return Stop.NOT_ADMIN if link.shared and member else Stop.NOT_MEMBER


def _interrupted(spec: ProviderSpec | None = None) -> Stopped:
    return Stopped(Stop.INTERRUPTED, spec, code="outcome_unknown")


@transaction.atomic
def _ended(attempt: ConnectAttempt, stopped: Stopped) -> bool:
    """Write down why an attempt ended, once; an exchange that was begun gets its outcome in the log."""
    row = ConnectAttempt.objects.select_for_update(no_key=True).get(pk=attempt.pk)
    if row.outcome not in {"", _EXCHANGING}:
        return False
    ConnectAttempt.objects.filter(pk=attempt.pk).update(outcome=stopped.why)
    if row.outcome == _EXCHANGING:
        record(attempt.link, EventKind.EXCHANGE_FAILED, _intent(attempt), code=stopped.code)
    else:
        record(attempt.link, EventKind.CALLBACK_REFUSED, why=stopped.why)
    return True


def _nonce(spec: ProviderSpec, state: str) -> str | None:
    """Sent where an ID token says whose account it is, and then found in it."""
    return oauth.nonce_of(state) if spec.oauth.identity == "id_token" else None


def _verifier_context(attempt: ConnectAttempt) -> dict[str, str]:
    return {"row": str(attempt.pk), "field": "pkce_verifier"}


def _intent(attempt: ConnectAttempt) -> Event:
    """An attempt exchanges at most once: its intent has the attempt's id, so that whoever finds it can name it."""
    link = attempt.link
    return Event(
        EventKind.EXCHANGE_INTENT,
        id=attempt.pk,
        tenant_id=link.tenant_id,
        user_id=link.user_id,
        provider=link.installation.slug,
        detail={"link": str(link.pk)},
    )


def record(
    link: ConnectLink,
    kind: EventKind,
    intent: Event | None = None,
    connection: Connection | None = None,
    **detail: str | float,
) -> Event:
    """Write down what came of a link, in the transaction the caller is in."""
    return audit.record(
        kind,
        tenant_id=link.tenant_id,
        user_id=link.user_id,
        provider=link.installation.slug,
        connection_id=connection.pk if connection else None,
        intent=intent,
        client=link.client,
        link=str(link.pk),
        **detail,
    )
