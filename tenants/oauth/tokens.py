"""The tokens MCP clients hold: minted, recognised, and known by their digests only."""

from __future__ import annotations

import base64
import hmac
import re
import secrets
from typing import Any

from django.conf import settings

from tenants.keys import digest

__all__ = ["digest", "new_access", "new_refresh", "new_secret", "well_formed"]

ACCESS, REFRESH = "mat_", "mrt_"
_FORM = re.compile(r"mat_[A-Za-z0-9_-]{43}")


def well_formed(token: str) -> bool:
    """Whether `token` could be an access token of ours, so that anything else costs no query."""
    return _FORM.fullmatch(token) is not None


def new_access(request: Any) -> str:  # noqa: ANN401 - oauthlib's request
    """An access token for this request (oauthlib's `token_generator`)."""
    return _new(ACCESS, request)


def new_refresh(request: Any) -> str:  # noqa: ANN401 - oauthlib's request
    """A refresh token for this request (oauthlib's `refresh_token_generator`)."""
    return _new(REFRESH, request)


def _new(kind: str, request: Any) -> str:  # noqa: ANN401 - oauthlib's request
    """256 random bits; for a refresh, derived from the token that was presented.

    A client whose answer was lost presents the old token again and gets the same answer, though only digests are kept.
    Without our key nothing can be derived.
    """
    if request.grant_type != "refresh_token":
        return kind + secrets.token_urlsafe(32)
    mac = hmac.new(settings.SECRET_KEY.encode(), f"oauth successor {kind}{request.refresh_token}".encode(), "sha256")
    return kind + base64.urlsafe_b64encode(mac.digest()).decode().rstrip("=")


def new_secret() -> str:
    """A client secret or an authorization code's worth of randomness."""
    return secrets.token_urlsafe(32)
