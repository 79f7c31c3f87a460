"""The only door to plaintext: seals and opens under the tenant's data key."""

from __future__ import annotations

import time
from uuid import UUID, uuid4

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings
from django.db import IntegrityError, transaction

from vault.crypto import Context, DataKey, Unreadable, key_id, new_key
from vault.keyring import kek
from vault.models import TenantKey

_opened: dict[UUID, tuple[DataKey, float]] = {}
"""Opened data keys of this process with the monotonic time after which they are unwrapped anew."""


def seal(tenant_id: UUID, plaintext: bytes, context: Context) -> bytes:
    """Encrypt under the tenant's active data key (made on first use), bound to the tenant and `context`."""
    return active_key(tenant_id).seal(plaintext, _bound(tenant_id, context))


def open_sealed(tenant_id: UUID, blob: bytes | memoryview, context: Context) -> bytes:
    """Decrypt what was sealed for this tenant and `context`. Raises: Unreadable."""
    blob = bytes(blob)
    return data_key(tenant_id, blob).open(blob, _bound(tenant_id, context))


def data_key(tenant_id: UUID, blob: bytes | memoryview) -> DataKey:
    """The opened data key a blob names. The row is read each time, so that a shredded key is gone at once.

    Raises: Unreadable when the key is not this tenant's or was shredded.
    """
    row = TenantKey.objects.filter(pk=key_id(bytes(blob)), tenant_id=tenant_id).first()
    if row is None or row.state == TenantKey.State.SHREDDED or row.wrapped is None:
        raise Unreadable
    return _open_key(row)


def active_key(tenant_id: UUID) -> DataKey:
    """The tenant's active data key; the first caller makes it."""
    row = TenantKey.objects.filter(tenant_id=tenant_id, state=TenantKey.State.ACTIVE).first()
    return _open_key(row or _make_key(tenant_id))


def bound_seal(key: DataKey, tenant_id: UUID, plaintext: bytes, context: Context) -> bytes:
    """Encrypt with a key that was looked up a moment ago."""
    return key.seal(plaintext, _bound(tenant_id, context))


def bound_open(key: DataKey, tenant_id: UUID, blob: bytes, context: Context) -> bytes:
    """Decrypt with a key that was looked up a moment ago. Raises: Unreadable."""
    return key.open(blob, _bound(tenant_id, context))


def _bound(tenant_id: UUID, context: Context) -> Context:
    return {"tenant": str(tenant_id), **context}


def _key_context(row: TenantKey) -> Context:
    return {"tenant": str(row.tenant_id), "purpose": "data-key", "key": str(row.pk)}


def _make_key(tenant_id: UUID) -> TenantKey:
    row = TenantKey(pk=uuid4(), tenant_id=tenant_id, kek_uri=kek().uri)
    row.wrapped = kek().wrap(new_key(), _key_context(row))
    try:
        with transaction.atomic():
            row.save(force_insert=True)
    except IntegrityError:  # another process was first: there is one active key per tenant
        return TenantKey.objects.get(tenant_id=tenant_id, state=TenantKey.State.ACTIVE)
    return row


def _open_key(row: TenantKey) -> DataKey:
    cached = _opened.get(row.pk)
    if cached and cached[1] > time.monotonic():
        return cached[0]
    if row.wrapped is None:
        raise Unreadable
    key = DataKey(row.pk, AESGCM(kek().unwrap(row.kek_uri, bytes(row.wrapped), _key_context(row))))
    _opened[row.pk] = (key, time.monotonic() + settings.DATA_KEY_CACHE_S)
    return key
