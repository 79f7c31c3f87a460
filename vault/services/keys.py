"""The deployment's key encryption key, seen from outside the vault."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction

from audit import services as audit
from audit.events import Event, EventKind
from tenants.services import Refused
from vault import keyring, sealing
from vault.crypto import KeysUnavailable, Unreadable, new_key
from vault.keyring import kek
from vault.models import TenantKey

__all__ = ["KeysUnavailable", "Rewrapped", "add_local_key", "kept_by", "outdated", "require", "rewrap", "usable"]

_PROBE_S = 10.0
_probed: tuple[float, bool] = (float("-inf"), False)


def usable() -> bool:
    """Whether a data key could be wrapped and unwrapped within the last seconds: a KMS is paid by the request."""
    global _probed  # noqa: PLW0603 - one answer for the whole process
    if time.monotonic() >= _probed[0] + _PROBE_S:
        try:
            _round_trip()
            good = True
        except (ImproperlyConfigured, KeysUnavailable, Unreadable):
            good = False
        _probed = (time.monotonic(), good)
    return _probed[1]


def require() -> None:
    """Refuse to serve with a KEK that does not answer, or does not bind keys to their context.

    Raises: ImproperlyConfigured.
    """
    try:
        uri, wrapped = _round_trip()
    except KeysUnavailable as unavailable:
        raise ImproperlyConfigured(f"VAULT_KEK cannot be used: {unavailable}") from None
    except Unreadable:
        raise ImproperlyConfigured("VAULT_KEK cannot be used: it does not open what it has just wrapped.") from None
    try:
        kek().unwrap(uri, wrapped, {"purpose": "another probe"})
    except Unreadable:
        return
    except KeysUnavailable as unavailable:
        raise ImproperlyConfigured(f"VAULT_KEK cannot be used: {unavailable}") from None
    raise ImproperlyConfigured("VAULT_KEK does not authenticate the context of a key. Use a key of an AEAD type.")


def _round_trip() -> tuple[str, bytes]:
    """A probe, wrapped. Raises: ImproperlyConfigured, KeysUnavailable, Unreadable."""
    probe, context = new_key(), {"purpose": "probe"}
    uri, wrapped = kek().wrap(probe, context)
    if kek().unwrap(uri, wrapped, context) != probe:
        raise Unreadable
    return uri, wrapped


_KEPT_BY = {
    "local": "Key file of this server",
    "aws-kms": "AWS KMS",
    "gcp-kms": "Google Cloud KMS",
    "hashicorp": "HashiCorp Vault",
}


def kept_by(kek_uri: str) -> str:
    """What kind of thing wraps a data key, in words."""
    scheme = kek_uri.partition(":")[0]
    return _KEPT_BY.get(scheme, scheme)


# --- Moving data keys to the KEK that wraps now


@dataclass(frozen=True, slots=True)
class Rewrapped:
    """What came of one data key."""

    key: TenantKey
    failure: str
    """Empty, or why it stays as it is, in one sentence."""


def outdated() -> list[TenantKey]:
    """The data keys that another KEK than the one that wraps now has wrapped."""
    return list(TenantKey.objects.exclude(state=TenantKey.State.SHREDDED).exclude(kek_uri=kek().uri).order_by("pk"))


def rewrap() -> Iterator[Rewrapped]:
    """Wrap each outdated data key anew; what it has sealed is not touched. May be cut off and begun again."""
    for row in outdated():
        try:
            _rewrap(row)
        except Unreadable:
            yield Rewrapped(row, "It does not open: it was altered, or wrapped by another key of that name.")
        except KeysUnavailable as unavailable:
            yield Rewrapped(row, str(unavailable))
        else:
            yield Rewrapped(row, "")


def _rewrap(row: TenantKey) -> None:
    """Raises: Unreadable, KeysUnavailable."""
    old, context = bytes(row.wrapped or b""), sealing.key_context(row)
    uri, wrapped = kek().wrap(keyring.unwrap(row.kek_uri, old, context), context)
    with transaction.atomic():
        if TenantKey.objects.filter(pk=row.pk, wrapped=old).update(kek_uri=uri, wrapped=wrapped):
            detail = {"key": str(row.pk), "from": row.kek_uri, "to": uri}
            audit.append([Event(EventKind.REWRAP_DONE, tenant_id=row.tenant_id, detail=detail)])


def add_local_key() -> str:
    """Put a new primary key into the key file; running processes notice. Gives its URI. Raises: Refused."""
    if not settings.VAULT_KEK.startswith("local:"):
        raise Refused("VAULT_KEK is not a key file. Rotate the key at its service instead.")
    from vault.keks.local import LocalRing  # noqa: PLC0415 - an adapter is imported only when it was chosen

    ring = kek()
    assert isinstance(ring, LocalRing)  # noqa: S101 - said by the scheme
    try:
        return ring.add_key()
    except OSError as broken:
        raise Refused(f"The key file cannot be written: {broken.strerror}.") from None
