"""Token sets at rest: what each ciphertext is bound to, and the two ways in and out of it.

A token opens only in the row, for the version, owner and account it was sealed for, and only while what it may be
sent to (`grant_of`, and the account's own address) is what it was issued for.
"""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta
from typing import Any, Literal
from urllib.parse import urlsplit

from django.db.models.functions import Now

from providers import selectors as providers
from providers.models import Installation
from vault import sealing
from vault.crypto import DataKey
from vault.models import Connection, Revocation, SealedTokenSet
from vault.tokens import TokenSet

TokenField = Literal["access", "refresh"]


def grant_of(installation: Installation) -> str:
    """Digest of what tokens are issued for and sent to: client, resource, and the origins they travel to.

    Origins only: a provider that moves its token endpoint on the same host logs nobody out.
    """
    spec = providers.spec_of(installation)
    oauth = spec.oauth
    facts = [
        installation.client_id,
        oauth.issuer or "",
        oauth.resource or "",
        *(_origin(url) for url in (oauth.token_url, oauth.revoke_url, spec.api_base)),
    ]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _origin(url: str | None) -> str:
    parts = urlsplit(url or "")
    return f"{parts.scheme}://{parts.netloc}"


def token_context(
    connection: Connection, field: TokenField, version: int, *, grant: str, renewable: bool
) -> dict[str, str]:
    """What a sealed token is bound to besides its tenant and key.

    `renewable` (there is a refresh token) binds the access token too, so that an emptied refresh token is noticed.
    """
    own = {"api_base": connection.api_base} if connection.api_base else {}
    return {
        **own,
        "row": str(connection.pk),
        "owner": str(connection.owner_id or "tenant"),
        "account": connection.account_id,
        "grant": grant,
        "field": f"{field}_token",
        "version": str(version),
        "renewable": "yes" if renewable else "no",
    }


def seal_tokens(
    connection: Connection,
    tokens: TokenSet,
    *,
    version: int,
    grant: str,
    keep_refresh: str | None = None,
    key: DataKey | None = None,
) -> dict[str, Any]:
    """The columns `key_id`, `access`, `refresh` for one version, under `key` or the tenant's active one.

    A provider that sends no new refresh token keeps the old one.
    """
    refresh = tokens.refresh or keep_refresh
    key = key or sealing.active_key(connection.tenant_id)

    def seal(field: TokenField, text: str) -> bytes:
        context = token_context(connection, field, version, grant=grant, renewable=refresh is not None)
        return sealing.bound_seal(key, connection.tenant_id, text.encode(), context)

    return {
        "key_id": key.id,
        "access": seal("access", tokens.access),
        "refresh": seal("refresh", refresh) if refresh is not None else None,
    }


def dated(lives_s: int | None) -> dict[str, Any]:
    """The other columns of a version stored just now, by the database's clock: the one clock all processes share."""
    return {
        "refreshed_at": Now(),
        "expires_at": None if lives_s is None else Now() + timedelta(seconds=lives_s),
        "lease_until": None,
        "attempts": 0,
        "failures": 0,
        "retry_after": None,
    }


def open_token(connection: Connection, row: SealedTokenSet | Revocation, field: TokenField) -> str:
    """One token of a row, in plain text. Raises: vault.crypto.Unreadable."""
    blob = row.access if field == "access" else row.refresh
    context = token_context(
        connection, field, row.version, grant=_grant(connection, row), renewable=row.refresh is not None
    )
    return sealing.open_sealed(connection.tenant_id, blob or b"", context).decode()


def fields_of(row: SealedTokenSet | Revocation) -> tuple[TokenField, ...]:
    """The tokens a row holds, the one that makes new ones first."""
    return ("access",) if row.refresh is None else ("refresh", "access")


def _grant(connection: Connection, row: SealedTokenSet | Revocation) -> str:
    return row.grant if isinstance(row, Revocation) else connection.grant
