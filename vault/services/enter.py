"""Connecting without OAuth: a key that a person enters on the connect page, and providers that ask for no account.

A key is a token like any other: sealed, bound to its row, sent to one place. It is tried at the provider before it is
kept, and appears in no page, log or event.
"""

from __future__ import annotations

import contextlib
import functools
import re
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

import httpx2
from django.db import DatabaseError, close_old_connections, transaction
from django.views.decorators.debug import sensitive_variables

from audit import services as audit
from audit.events import EventKind
from providers import selectors as providers
from providers import services as installations
from providers.egress import GuardedTransport, Limits
from providers.errors import Forbidden, TokenRejected, ToolError
from providers.models import Installation
from providers.sources import module_of
from providers.spec import Access
from vault import oauth, sealing
from vault.crypto import KeysUnavailable, Unreadable
from vault.models import Connection, ConnectLink, Status
from vault.services import accounts, connect, listing
from vault.services.connect import Arrival, Opening, Stop, Stopped
from vault.services.sealed import grant_of
from vault.tokens import AnswerRefused, TokenSet

_KEY: Final = re.compile(r"[\x21-\x7e]{1,4096}")
_TRY: Final = Limits(connect_s=3, first_byte_s=10, total_s=15)
_UNSENT: Final = "not-a-token"
"""Sealed where a provider asks for no account, and never sent."""
NOBODYS: Final = oauth.Identity("none", "no account needed")


class Why(StrEnum):
    """Why a key is not taken; each has its sentence on the page, and another one may be entered."""

    UNFIT = "unfit"
    NOT_ACCEPTED = "not_accepted"
    NOT_TRIED = "not_tried"


class KeyRefused(Exception):
    """This key is not kept."""

    def __init__(self, why: Why) -> None:
        super().__init__(why.value)
        self.why = why


@sensitive_variables("text")
def enter(*, opening: Opening, text: str, now: datetime) -> Arrival:
    """Connect with a key. The link is used up once it is kept. Raises: KeyRefused, Stopped."""
    link, spec, installation = opening.link, opening.spec, opening.link.installation
    if spec.access is not Access.KEY or installation.connect_url:
        raise Stopped(Stop.CHANGED, spec)
    text = text.strip()
    if not _KEY.fullmatch(text):
        raise KeyRefused(Why.UNFIT)
    try:
        key = sealing.active_key(link.tenant_id)
    except (Unreadable, KeysUnavailable):
        raise Stopped(Stop.VAULT_CLOSED, spec) from None
    record = functools.partial(connect.record, link, access=Access.KEY.value)
    owner = oauth.owned(None if link.shared else link.user)
    intent = record(EventKind.EXCHANGE_INTENT)
    close_old_connections()
    try:
        identity = _tried(opening, text, owner)
    except (TokenRejected, Forbidden, AnswerRefused):
        record(EventKind.EXCHANGE_FAILED, intent, code="refused")
        raise KeyRefused(Why.NOT_ACCEPTED) from None
    except ToolError:
        record(EventKind.EXCHANGE_FAILED, intent, code="unavailable")
        raise KeyRefused(Why.NOT_TRIED) from None
    tokens = TokenSet(access=text, refresh=None, lifetime_s=None, scopes=None)
    try:
        with transaction.atomic():
            connect.use_up(link, spec, now=now)
            kept = accounts.keep(
                installation=installation,
                owner_id=None if link.shared else link.user_id,
                identity=identity,
                tokens=tokens,
                scopes=(),
                key=key,
                now=now,
            )
            # What has come of it, for whoever opens the link once more.
            ConnectLink.objects.filter(pk=link.pk).update(connection=kept.connection)
            record(EventKind.EXCHANGE_DONE, intent, kept.connection, version=kept.version, shared=link.shared)
    except DatabaseError:
        raise Stopped(Stop.NOT_STORED, spec) from None
    except (accounts.Changed, Stopped) as over:
        record(EventKind.EXCHANGE_FAILED, intent, code="superseded")
        raise (over if isinstance(over, Stopped) else Stopped(Stop.CHANGED, spec)) from None
    with contextlib.suppress(DatabaseError):  # it is connected: the sweep lists what is not listed now
        listing.after_connecting(kept.connection.pk)
    return connect.arrival(kept.connection, spec, link)


@sensitive_variables("text", "proof")
def _tried(opening: Opening, text: str, owner: oauth.Identity) -> oauth.Identity:
    """Whose account the key opens, once the provider has taken it; where there is no way to ask, it is as it was given.

    Raises: ToolError, AnswerRefused.
    """
    spec, installation = opening.spec, opening.link.installation
    proof = {spec.key.header: spec.key.prefix + text}
    if spec.oauth.identify_url is not None:
        return oauth.who_am_i(spec.oauth, proof)
    if installation.source == Installation.Source.MCP:
        transport = GuardedTransport(installations.egress_policy(), limits=_TRY)
        with httpx2.Client(transport=transport, timeout=None, trust_env=False, follow_redirects=False) as http:
            module_of("mcp").listed(http, installation.url, headers={**spec.headers, **proof})
    return owner


@transaction.atomic
def open_to_all(*, installation: Installation, by: UUID | None, now: datetime) -> None:
    """The one connection of a provider that asks for no account: the tenant's, for everybody, and there at once.

    Raises: KeysUnavailable, Unreadable.
    """
    spec = providers.spec_of(installation)
    account = {"installation": installation, "owner": None, "account_id": spec.account_id(NOBODYS.subject)}
    if Connection.objects.filter(**account, status=Status.READY, grant=grant_of(installation)).exists():
        return
    kept = accounts.keep(
        installation=installation,
        owner_id=None,
        identity=NOBODYS,
        tokens=TokenSet(access=_UNSENT, refresh=None, lifetime_s=None, scopes=None),
        scopes=(),
        key=sealing.active_key(installation.tenant_id),
        now=now,
    )
    audit.record(
        EventKind.TOKEN_IMPORTED,
        tenant_id=installation.tenant_id,
        user_id=by,
        provider=installation.slug,
        connection_id=kept.connection.pk,
        owner="tenant",
        access=Access.NONE.value,
        version=kept.version,
    )
