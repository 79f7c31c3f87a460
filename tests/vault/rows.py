"""Connections whose tokens nobody issued, for what is about the rows alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

from providers.models import Installation
from tenants.models import User
from vault import sealing
from vault.models import Connection, SealedTokenSet
from vault.services.sealed import fields_of, grant_of, open_token, seal_tokens
from vault.tokens import TokenSet


def token_set(access: str, refresh: str | None) -> TokenSet:
    return TokenSet(access=access, refresh=refresh, lifetime_s=86_400, scopes=None)


def fill(installation: Installation, owner: User, rows: int) -> list[Connection]:
    """So many more connections, each with tokens of its own that are good for a day."""
    now, grant = datetime.now(UTC), grant_of(installation)
    made = Connection.objects.bulk_create(
        Connection(
            tenant_id=installation.tenant_id,
            installation=installation,
            owner=owner,
            account_id=f"made-up/{uuid4()}",
            account_label=f"account {number}",
            grant=grant,
            connected_at=now,
        )
        for number in range(rows)
    )
    key = sealing.active_key(installation.tenant_id)
    SealedTokenSet.objects.bulk_create(
        SealedTokenSet(
            connection=row,
            refreshed_at=now,
            expires_at=now + timedelta(days=1),
            **seal_tokens(row, token_set(f"at-{row.pk}", f"rt-{row.pk}"), version=1, grant=grant, key=key),
        )
        for row in made
    )
    return made


def tokens_of(row: Connection) -> SealedTokenSet:
    return SealedTokenSet.objects.get(connection=row)


def opens(row: Connection) -> bool:
    """Whether both tokens of a made-up connection open, and are its own."""
    found = tokens_of(row)
    return [open_token(row, found, field) for field in fields_of(found)] == [f"rt-{row.pk}", f"at-{row.pk}"]
