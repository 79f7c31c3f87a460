"""Requests that are sent again: the first is worked, all others are given its answer (Idempotency-Key).

The answer may hold what is shown once, so it is sealed under a key that is derived from the client's own
`Idempotency-Key` and the deployment's secret: neither the database nor the key alone opens it.

What is being worked is on record before the work begins, and nothing is worked twice unless an answer has said that
nothing was done. A process that dies in between leaves a request of which nobody knows what came of it: for
`WORKING` others are told to wait, and after that to look, and to send it again under another key if need be.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from hmac import compare_digest, digest
from typing import Final
from uuid import UUID

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings
from django.db import IntegrityError, transaction

from tenants.models import Repeat

KEPT: Final = timedelta(hours=24)
WORKING: Final = timedelta(minutes=5)
"""Longer than any request is worked."""
_NONCE: Final = 12


class Another(Exception):
    """The key was used for another request."""


class Busy(Exception):
    """The first one is being worked."""


class Unknown(Exception):
    """The first one was never answered, and nobody knows what came of it."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A request that nobody else works, to be kept or released."""

    row_id: int
    seal: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Kept:
    """What the first one was answered."""

    status: int
    answer: bytes = field(repr=False)


def claim(*, key_id: UUID, word: str, request: bytes, now: datetime) -> Claim | Kept:
    """Take a request on, or find what it was answered; `word` is its Idempotency-Key. Raises: Another, Busy, Unknown.

    Not to be called in a transaction: others must see it at once.
    """
    named = sha256(word.encode()).hexdigest()
    mac, seal = next(_keys(word, key_id))
    mine = Repeat.objects.filter(key_id=key_id, digest=named)
    mine.filter(at__lte=now - KEPT).delete()
    try:
        with transaction.atomic():
            row = Repeat.objects.create(
                key_id=key_id, digest=named, request=digest(mac, request, "sha256").hex(), at=now
            )
        return Claim(row.pk, seal)
    except IntegrityError:
        there = mine.first()
    if there is None:  # released this very moment
        raise Busy
    for mac, seal in _keys(word, key_id):
        if compare_digest(digest(mac, request, "sha256").hex(), there.request):
            return _known(there, seal, now)
    raise Another


def keep(claim: Claim, *, status: int, answer: bytes) -> None:
    """This is what it was answered."""
    nonce = secrets.token_bytes(_NONCE)
    sealed = nonce + AESGCM(claim.seal).encrypt(nonce, answer, _bound(claim.row_id, status))
    Repeat.objects.filter(pk=claim.row_id, status=None).update(status=status, sealed=sealed)


def release(claim: Claim) -> None:
    """Nothing was done: whoever sends it again has it worked."""
    Repeat.objects.filter(pk=claim.row_id, status=None).delete()


def forget(*, now: datetime) -> None:
    """Delete what is not kept any longer."""
    Repeat.objects.filter(at__lte=now - KEPT).delete()


def _known(row: Repeat, seal: bytes, now: datetime) -> Kept:
    """Raises: Busy, Unknown."""
    if row.status is None or row.sealed is None:
        raise Busy if row.at > now - WORKING else Unknown
    sealed = bytes(row.sealed)
    return Kept(row.status, AESGCM(seal).decrypt(sealed[:_NONCE], sealed[_NONCE:], _bound(row.pk, row.status)))


def _bound(row_id: int, status: int) -> bytes:
    return f"{row_id}:{status}".encode()


def _keys(word: str, key_id: UUID) -> Iterator[tuple[bytes, bytes]]:
    """What recognises a request and what seals its answer, by the deployment's secret, then by its former ones."""
    for secret in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS):
        made = HKDF(SHA256(), 64, salt=secret.encode(), info=b"metaagent repeat\0" + key_id.bytes).derive(word.encode())
        yield made[:32], made[32:]
