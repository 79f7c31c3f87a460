"""What the authorization server accepts; pure: redirect URIs, client metadata, names, resources."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from urllib.parse import SplitResult, urlsplit

GRANTS = ("authorization_code", "refresh_token")
"""All that is offered (RFC 9700 §2.1.2, §2.4: neither implicit nor password); what else a client lists is left out."""
METHODS = ("none", "client_secret_basic", "client_secret_post")
MOST_URIS = 20
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_NAME_CHARS = 80
_MARKS = 3
_URI_CHARS = 2_000
_URI = re.compile(r"[\x21-\x7e]+")
_HOST = re.compile(r"[a-z0-9._:-]{1,253}")
_BLANK = frozenset("\u034f\u115f\u1160\u2800\u3164\uffa0")
"""Characters that count as letters and signs, and show nothing."""
_RESOURCE = re.compile(r"/mcp/([a-z0-9-]{1,40})(?:/([a-z0-9_]{1,32}))?")
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")


class Unfit(Exception):
    """Client metadata that cannot be taken. `code` is RFC 7591 §3.2.2's; the message says what to change."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Metadata:
    """What a client says about itself, as far as it is used. Nothing in it is ever fetched."""

    name: str
    redirect_uris: tuple[str, ...]
    method: str
    """How it authenticates at the token endpoint, one of METHODS."""


def metadata(document: Mapping[str, Any], *, schemes: Collection[str]) -> Metadata:
    """Read a registration (RFC 7591 §2) or a Client ID Metadata Document. Raises: Unfit.

    As generous as real clients need: further grant types are dropped (VS Code lists the device grant), and
    `private_key_jwt` becomes `none` where the client says that will do as well (ChatGPT).
    """
    uris = document.get("redirect_uris")
    if not isinstance(uris, list) or not uris or not all(isinstance(uri, str) for uri in uris):
        raise Unfit("invalid_redirect_uri", "redirect_uris must be a list of at least one URI.")
    if len(uris) > MOST_URIS:
        raise Unfit("invalid_redirect_uri", f"redirect_uris may hold at most {MOST_URIS} URIs.")
    for uri in uris:
        if not redirect_fit(uri, schemes=schemes):
            raise Unfit(
                "invalid_redirect_uri",
                "Each redirect URI must be https, http on 127.0.0.1, [::1] or localhost, or use one of the schemes "
                f"{', '.join(sorted(schemes)) or '(none)'}; without fragment or user name.",
            )
    grants = document.get("grant_types", ["authorization_code"])
    if not isinstance(grants, list) or "authorization_code" not in grants:
        raise Unfit("invalid_client_metadata", "grant_types must be a list that holds authorization_code.")
    responses = document.get("response_types", ["code"])
    if not isinstance(responses, list) or "code" not in responses:
        raise Unfit("invalid_client_metadata", "response_types must be a list that holds code.")
    name = document.get("client_name", "")
    if not isinstance(name, str):
        raise Unfit("invalid_client_metadata", "client_name must be a string.")
    return Metadata(inert(name), tuple(dict.fromkeys(uris)), _method(document))


def _method(document: Mapping[str, Any]) -> str:
    method = document.get("token_endpoint_auth_method", "client_secret_basic")
    if method in METHODS:
        return str(method)
    also = document.get("token_endpoint_auth_methods_supported")
    if isinstance(also, list) and "none" in also:
        return "none"
    raise Unfit("invalid_client_metadata", f"token_endpoint_auth_method must be one of {', '.join(METHODS)}.")


def redirect_fit(uri: str, *, schemes: Collection[str]) -> bool:
    """Whether a client may register this redirect URI: https, http on loopback, or a native scheme that is allowed."""
    parts = _split(uri)
    if parts is None or parts.fragment or "#" in uri or parts.username is not None or parts.password is not None:
        return False
    if parts.scheme == "https":
        return _HOST.fullmatch(parts.hostname or "") is not None
    if parts.scheme == "http":
        return parts.hostname in _LOOPBACK
    return parts.scheme in schemes and bool(parts.netloc or parts.path.strip("/"))


def redirect_matches(uri: str, registered: Sequence[str]) -> bool:
    """Whether a request may be answered to `uri`: a registered one, exactly but for a loopback port (RFC 8252 §7.3)."""
    return uri in registered or any(_same_but_port(uri, one) for one in registered)


def _same_but_port(uri: str, registered: str) -> bool:
    asked, known = _split(uri), _split(registered)
    if asked is None or known is None or known.scheme != "http" or known.hostname not in _LOOPBACK:
        return False
    if asked.username is not None or asked.password is not None or "#" in uri:
        return False
    same = (asked.scheme, asked.hostname, asked.path, asked.query)
    return same == (known.scheme, known.hostname, known.path, known.query)


def _split(uri: str) -> SplitResult | None:
    if len(uri) > _URI_CHARS or _URI.fullmatch(uri) is None or "\\" in uri:
        return None
    try:
        parts = urlsplit(uri)
        parts.port  # noqa: B018 - raises for a port that is none
    except ValueError:
        return None
    return parts


class Destination(StrEnum):
    """What receives a client's answer."""

    SITE = "site"
    LOOPBACK = "loopback"
    """Whichever program listens on this computer."""
    NATIVE = "native"
    """Whichever program on this device opens links of a scheme."""


def destination(uri: str) -> tuple[str, Destination]:
    """Where a browser is sent: a site's host, the loopback address, or the scheme; and which of them it is.

    What follows a native scheme is the client's own choice of words and says nothing.
    """
    parts = urlsplit(uri)
    if parts.scheme == "https":
        return parts.netloc, Destination.SITE
    if parts.scheme == "http":
        return parts.netloc, Destination.LOOPBACK
    return f"{parts.scheme}:", Destination.NATIVE


def form_action(uri: str, *, schemes: Collection[str]) -> list[str]:
    """The Content-Security-Policy sources that let a form end at `uri`.

    Browsers hold every further redirect to them as well: Claude's site hands over to `claude:`, programs on a computer
    end on a page of their site.
    """
    parts = urlsplit(uri)
    onward = ["https:", *(f"{scheme}:" for scheme in sorted(schemes))]
    match destination(uri)[1]:
        case Destination.SITE:
            return onward
        case Destination.LOOPBACK:
            # A policy cannot name an IPv6 address.
            return ["http:" if ":" in (parts.hostname or "") else f"http://{parts.netloc}", *onward]
        case Destination.NATIVE:
            return [f"{parts.scheme}:"]


def inert(name: str) -> str:
    """A name somebody else chose, without what could deceive: one line, cut, only what is seen and stays in its place.

    Gone are controls, direction marks, blanks that pass for letters, and marks piled on a letter.
    """
    plain, piled = "", 0
    for char in name[: _NAME_CHARS * 8]:
        kind = unicodedata.category(char)[0]
        piled = piled + 1 if kind == "M" else 0
        if piled <= _MARKS:
            plain += " " if kind in "CZ" or char in _BLANK else char
    return " ".join(plain.split())[:_NAME_CHARS]


def resource_path(resource: str, *, public_url: str) -> tuple[str, str | None] | None:
    """Tenant and provider of one of our MCP endpoints' URLs (RFC 8707), compared exactly; None for any other."""
    if not resource.startswith(f"{public_url}/"):
        return None
    found = _RESOURCE.fullmatch(resource.removeprefix(public_url))
    return (found[1], found[2]) if found else None


def challenge_fit(challenge: str | None, method: str | None) -> bool:
    """Whether a PKCE challenge is one of S256, the only method (RFC 7636 §4.2)."""
    return method == "S256" and challenge is not None and _CHALLENGE.fullmatch(challenge) is not None
