"""The only door to plaintext: seals and opens under the tenant's data key.

Two failures, never mixed up: `Unreadable` is about what is sealed, `KeysUnavailable` about the KEK, which is asked for
an opened data key at most every `DATA_KEY_CACHE_S`.
"""

from __future__ import annotations

import time
from concurrent.futures import Future
from threading import Lock
from typing import NamedTuple
from uuid import UUID, uuid4

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings
from django.db import IntegrityError, transaction

from vault import keyring
from vault.crypto import Context, DataKey, Unreadable, key_id, new_key
from vault.models import TenantKey


class _Opened(NamedTuple):
    key: DataKey
    at: float

    def good(self) -> bool:
        return time.monotonic() < self.at + settings.DATA_KEY_CACHE_S


_Name = tuple[UUID, UUID]
"""Tenant and key: a row that was moved to another tenant is another key."""

_lock = Lock()
_opened: dict[_Name, _Opened] = {}
_opening: dict[_Name, Future[DataKey]] = {}


def seal(tenant_id: UUID, plaintext: bytes, context: Context) -> bytes:
    """Encrypt under the tenant's active data key, bound to the tenant and `context`. Raises: as `active_key`."""
    return bound_seal(active_key(tenant_id), tenant_id, plaintext, context)


def open_sealed(tenant_id: UUID, blob: bytes | memoryview, context: Context) -> bytes:
    """Decrypt what was sealed for this tenant and `context`. Raises: Unreadable, KeysUnavailable."""
    blob = bytes(blob)
    return bound_open(data_key(tenant_id, blob), tenant_id, blob, context)


def data_key(tenant_id: UUID, blob: bytes | memoryview) -> DataKey:
    """The opened data key a blob names. The row is read each time, so that a shredded key is gone at once.

    Raises: Unreadable when the key is not this tenant's or was shredded; KeysUnavailable.
    """
    return _open_key(_row(tenant_id, blob))


def data_key_at_hand(tenant_id: UUID, blob: bytes | memoryview) -> DataKey | None:
    """The same without ever asking the KEK: None when this process has not opened it lately. Raises: Unreadable."""
    row = _row(tenant_id, blob)
    kept = _opened.get((row.tenant_id, row.pk))
    return kept.key if kept and kept.good() else None


def active_key(tenant_id: UUID) -> DataKey:
    """The tenant's active data key; the first caller makes it.

    Ask for it before what cannot be undone, and keep it at hand until the result is stored.
    Raises: KeysUnavailable; Unreadable when it does not open.
    """
    row = TenantKey.objects.filter(tenant_id=tenant_id, state=TenantKey.State.ACTIVE).first()
    return _open_key(row or _make_key(tenant_id))


def _make_key(tenant_id: UUID) -> TenantKey:
    row = wrapped_key(tenant_id)
    try:
        with transaction.atomic():
            row.save(force_insert=True)
    except IntegrityError:  # another process was first: there is one active key per tenant
        return TenantKey.objects.get(tenant_id=tenant_id, state=TenantKey.State.ACTIVE)
    return row


def wrapped_key(tenant_id: UUID) -> TenantKey:
    """A new active data key, not stored yet. Raises: KeysUnavailable."""
    row = TenantKey(pk=uuid4(), tenant_id=tenant_id)
    row.kek_uri, row.wrapped = keyring.kek().wrap(new_key(), key_context(row))
    return row


def key_context(row: TenantKey) -> Context:
    """What a wrapped data key is bound to."""
    return {"tenant": str(row.tenant_id), "purpose": "data-key", "key": str(row.pk)}


def bound_seal(key: DataKey, tenant_id: UUID, plaintext: bytes, context: Context) -> bytes:
    """Encrypt with a key that was looked up a moment ago."""
    return key.seal(plaintext, _bound(tenant_id, context))


def bound_open(key: DataKey, tenant_id: UUID, blob: bytes, context: Context) -> bytes:
    """Decrypt with a key that was looked up a moment ago. Raises: Unreadable."""
    return key.open(blob, _bound(tenant_id, context))


def _bound(tenant_id: UUID, context: Context) -> Context:
    return {"tenant": str(tenant_id), **context}


def _row(tenant_id: UUID, blob: bytes | memoryview) -> TenantKey:
    """Raises: Unreadable."""
    row = TenantKey.objects.filter(pk=key_id(bytes(blob)), tenant_id=tenant_id).first()
    if row is None or row.state == TenantKey.State.SHREDDED or row.wrapped is None:
        raise Unreadable
    return row


def _open_key(row: TenantKey) -> DataKey:
    """The opened key, unwrapped by one caller for all who want it at the same time."""
    name = row.tenant_id, row.pk
    with _lock:
        kept = _opened.get(name)
        if kept and kept.good():
            return kept.key
        others = _opening.get(name)
        mine: Future[DataKey] = Future()
        if others is None:
            _opening[name] = mine
    if others is not None:
        return others.result()
    asked = time.monotonic()
    try:
        key = _unwrap(row)
    except BaseException as failed:
        with _lock:
            del _opening[name]
        mine.set_exception(failed)
        raise
    with _lock:
        del _opening[name]
        _opened[name] = _Opened(key, asked)
        for old in [old for old, kept in _opened.items() if not kept.good()]:
            del _opened[old]
    mine.set_result(key)
    return key


def _unwrap(row: TenantKey) -> DataKey:
    """Raises: Unreadable, KeysUnavailable."""
    if row.wrapped is None:
        raise Unreadable
    return DataKey(row.pk, AESGCM(keyring.unwrap(row.kek_uri, bytes(row.wrapped), key_context(row))))
