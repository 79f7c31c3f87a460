"""Session ids of the handshake era that need no server memory: what `initialize` said, signed for one principal.

The SDK's stateless mode forgets `initialize`, so a later call would not know what its client can do.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from typing import Any

from metaagent.agent.types import Principal

_MAC = 16
_MOST = 4_096


def mint(key: bytes, principal: Principal, path: str, capabilities: Mapping[str, Any]) -> str:
    """A session id like no other that says what the client can do, bound to principal and endpoint."""
    elicitation = capabilities.get("elicitation")
    url = isinstance(elicitation, Mapping) and elicitation.get("url") is not None
    payload = json.dumps({"url": url, "id": secrets.token_urlsafe(9)}, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(_mac(key, principal, path, payload) + payload).decode().rstrip("=")


def read(key: bytes, principal: Principal, path: str, session_id: str) -> Mapping[str, Any] | None:
    """What a session id says, or None when it is not one of ours for this principal and endpoint."""
    if len(session_id) > _MOST:
        return None
    try:
        raw = base64.urlsafe_b64decode(session_id + "=" * (-len(session_id) % 4))
        if not hmac.compare_digest(raw[:_MAC], _mac(key, principal, path, raw[_MAC:])):
            return None
        said = json.loads(raw[_MAC:])
    except ValueError:
        return None
    return said if isinstance(said, dict) else None


def _mac(key: bytes, principal: Principal, path: str, payload: bytes) -> bytes:
    bound = f"{principal.tenant_id.hex}|{principal.user_id.hex}|{principal.client}|{path}|".encode()
    return hmac.new(key, bound + payload, hashlib.sha256).digest()[:_MAC]
