"""Fetches the documents by which MCP clients introduce themselves (Client ID Metadata Documents)."""

from __future__ import annotations

import re
from http import HTTPStatus

import httpx2
from django.conf import settings
from django.db import close_old_connections
from oauth2_provider import cimd

from providers.egress import EgressPolicy, GuardedTransport, Limits
from providers.errors import ToolError
from tenants.oauth import policy
from tenants.objects import read_object

LIMITS = Limits(connect_s=3, first_byte_s=5, total_s=5, max_wire_bytes=16_384, max_decoded_bytes=16_384)
_URL_CHARS = 255
"""What fits where client ids are kept."""
_URL = re.compile(r"https://[^/?#@]+/[^?#]*(?:\?[^#]*)?")
_DOTS = re.compile(r"/\.{1,2}(?:[/?]|$)")
_JSON = re.compile(r"application/(?:[a-z0-9.-]+\+)?json(?:;|$)")


class Fetcher:
    """Where the toolkit gets a document from: through the guarded transport, and read as a registration is."""

    def transport(self) -> httpx2.BaseTransport:
        """The way out."""
        allowed = EgressPolicy.parse(settings.EGRESS_ALLOW_CIDRS, settings.EGRESS_ALLOW_HTTP_HOSTS)
        return GuardedTransport(allowed, limits=LIMITS)

    def fetch(self, client_id: str) -> tuple[dict[str, object], int]:
        """What is used of the document, and for how many seconds. Raises: CIMDError."""
        if len(client_id) > _URL_CHARS or not _URL.fullmatch(client_id) or _DOTS.search(client_id):
            raise cimd.CIMDError("not a URL that can be a client's id")
        close_old_connections()  # whoever waits holds no database connection
        try:
            # A redirect is an answer like any other, and not the one that is wanted.
            with httpx2.Client(transport=self.transport(), trust_env=False) as out:
                answer = out.get(client_id, headers={"Accept": "application/json"})
        except (ToolError, httpx2.HTTPError, httpx2.InvalidURL) as failed:
            raise cimd.CIMDError("not reached") from failed
        if answer.status_code != HTTPStatus.OK or not _JSON.match(answer.headers.get("content-type", "").lower()):
            raise cimd.CIMDError("not answered with JSON")
        max_age = cimd._effective_max_age(answer.headers.get("cache-control"))  # noqa: SLF001 - within its bounds
        return _read(answer.content), max_age


def _read(body: bytes) -> dict[str, object]:
    """The document as the toolkit can take it: that it is this client's, and holds no secret, is checked there.

    Raises: CIMDError.
    """
    try:
        document = {"token_endpoint_auth_method": "none", **read_object(body)}
        found = policy.metadata(document, schemes=settings.NATIVE_SCHEMES)
    except (ValueError, policy.Unfit) as unfit:
        raise cimd.CIMDError("not the metadata of a client that can be let in") from unfit
    return {
        **document,
        "client_name": found.name,
        "redirect_uris": list(found.redirect_uris),
        "grant_types": list(policy.GRANTS),
        "token_endpoint_auth_method": found.method,
    }
