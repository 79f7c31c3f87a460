"""Bearers: the header in, a Principal or a challenge out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from metaagent.agent.types import Principal

SCOPE = "mcp"


@dataclass(frozen=True, slots=True)
class Presented:
    """Who a bearer speaks for, and what for."""

    principal: Principal
    resource: str | None = None
    """The URL of the one endpoint it was issued for (RFC 8707); None for a client key, which is good for its tenant."""
    scopes: frozenset[str] = frozenset({SCOPE})

    def meant_for(self, url: str) -> bool:
        """Whether it may be used at this endpoint: exactly the one it was issued for."""
        return self.resource is None or self.resource == url


class Verifier(Protocol):
    """Knows who a bearer speaks for at this moment."""

    async def presented(self, bearer: str) -> Presented | None:
        """Whom it speaks for, or None for a bearer that is unknown, expired, revoked or another server's."""


def bearer_in(header: bytes | None) -> str | None:
    """The bearer of an `Authorization` header (RFC 6750 §2.1), or None when there is no well-formed one."""
    if header is None or len(header) > 8_192 or header[:7].lower() != b"bearer ":  # noqa: PLR2004 - longer than any bearer of ours
        return None
    token = header[7:].strip(b" ")
    return token.decode("ascii") if token and token.isascii() and b" " not in token else None


def metadata_url(public_url: str, path: str) -> str:
    """Where the RFC 9728 document of the endpoint at `path` is."""
    return f"{public_url}/.well-known/oauth-protected-resource{path}"


def challenge(public_url: str, path: str, error: str = "") -> str:
    """The `WWW-Authenticate` value of a 401 or 403 (RFC 9728 §5.1, RFC 6750 §3); `error` is one of RFC 6750 §3.1."""
    error = f', error="{error}"' if error else ""
    return f'Bearer resource_metadata="{metadata_url(public_url, path)}", scope="{SCOPE}"{error}'


def resource_metadata(public_url: str, path: str) -> dict[str, object]:
    """The RFC 9728 document. The same for every well-formed path, so that it does not tell which tenants exist."""
    return {
        "resource": f"{public_url}{path}",
        "authorization_servers": [public_url],
        "scopes_supported": [SCOPE],
        "bearer_methods_supported": ["header"],
        "resource_name": "metaagent",
    }
