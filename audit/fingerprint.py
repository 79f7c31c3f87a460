"""Arguments as a keyed hash: equal calls can be recognised within a tenant, and nothing can be guessed back."""

from __future__ import annotations

import hmac
import json
from functools import lru_cache
from typing import Any
from uuid import UUID

_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode


@lru_cache(maxsize=4_096)
def tenant_key(secret: str, tenant_id: UUID) -> bytes:
    """The HMAC key of one tenant, derived from the deployment's secret."""
    return hmac.digest(secret.encode(), b"audit-arguments\0" + tenant_id.bytes, "sha256")


def fingerprint(key: bytes, arguments: Any) -> str:  # noqa: ANN401 - any JSON value
    """HMAC-SHA-256 over the canonical JSON of `arguments`, hexadecimal."""
    return hmac.digest(key, canonical(arguments), "sha256").hex()


def canonical(value: Any) -> bytes:  # noqa: ANN401 - any JSON value
    """JSON with sorted names and no white space: equal values, equal bytes."""
    return _encode(value).encode("utf-8", "surrogatepass")
