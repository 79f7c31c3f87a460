"""Tokens in memory: values that cannot be printed, and the strict reading of a token endpoint's answer."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeGuard

from providers.spec import OAuthSpec

_CHARS = re.compile(r"[\x21-\x7e]{1,16384}")
_LEAST_S, _MOST_S, _UNSTATED_S = 1, 31_536_000, 300
"""Bounds of a stated lifetime, and what an unstated one is taken for: short, never endless."""


class AnswerRefused(Exception):
    """A token answer that cannot be used. `code` is one of our own words; the answer's text is never kept."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class AccessToken:
    """The one secret that crosses a port. Prints as what it is; not picklable, not JSON."""

    __slots__ = ("_text", "version")

    def __init__(self, text: str, version: int) -> None:
        self._text = text
        self.version = version

    def reveal(self) -> str:
        """The token itself, for the one header it belongs in."""
        return self._text

    def __repr__(self) -> str:
        return "<access token>"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)

    def __reduce__(self) -> NoReturn:
        raise TypeError("An access token is not stored.")


@dataclass(frozen=True, slots=True)
class TokenSet:
    """What a provider issued, in plain text and in memory only."""

    access: str = field(repr=False)
    refresh: str | None = field(repr=False)
    lifetime_s: int | None
    """How long the access token lives, or None when the answer did not say."""
    scopes: tuple[str, ...] | None
    """As granted, or None when the answer did not say (then: as asked, RFC 6749 §5.1)."""

    def lives_s(self, spec: OAuthSpec, *, before: int | None = None, renewable: bool) -> int | None:
        """For how many seconds the access token is taken to be good; None: until it is refused.

        An unstated lifetime is the provider's usual one, else as long as the token `before`, else short: never endless
        while there is a refresh token.
        """
        for known in (self.lifetime_s, spec.lifetime_s, before):
            if known is not None:
                return known
        return _UNSTATED_S if renewable else None


def read_token_answer(status: int, body: bytes) -> TokenSet:
    """Read a token endpoint's answer strictly.

    Raises: AnswerRefused with `invalid_grant` when the grant is dead, `unavailable` when trying again may help,
    `refused` for any other stated error, `malformed` for what is not a token answer.
    """
    if status >= 500 or status in {408, 429}:  # noqa: PLR2004 - HTTP status codes
        raise AnswerRefused("unavailable")
    answer = _decode(body)
    if "error" in answer or status >= 400:  # noqa: PLR2004 - HTTP status codes
        raise AnswerRefused("invalid_grant" if answer.get("error") == "invalid_grant" else "refused")
    access, refresh = answer.get("access_token"), answer.get("refresh_token")
    if not _is_token(access) or not (refresh is None or _is_token(refresh)):
        raise AnswerRefused("malformed")
    if str(answer.get("token_type", "bearer")).lower() != "bearer":
        raise AnswerRefused("malformed")
    scope = answer.get("scope")
    if scope is not None and not (isinstance(scope, str) and len(scope) <= 8_192):  # noqa: PLR2004 - far beyond any real list
        raise AnswerRefused("malformed")
    return TokenSet(
        access=access,
        refresh=refresh,
        lifetime_s=_lifetime(answer.get("expires_in")),
        scopes=tuple(re.split(r"[ ,]+", scope.strip())) if scope and scope.strip() else None,
    )


def _decode(body: bytes) -> dict[str, Any]:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        if len(names) != len(set(names)):
            raise ValueError("a name occurs twice")
        return dict(pairs)

    try:
        answer = json.loads(body, object_pairs_hook=once)
    except (ValueError, RecursionError):
        raise AnswerRefused("malformed") from None
    if not isinstance(answer, dict):
        raise AnswerRefused("malformed")
    return answer


def _is_token(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and _CHARS.fullmatch(value) is not None


def _lifetime(value: object) -> int | None:
    """Seconds, within bounds. A number in a string is common; a word, a negative or a fraction of nonsense is not."""
    if value is None:
        return None
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 12:  # noqa: PLR2004 - no lifetime is longer
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise AnswerRefused("malformed")
    return int(min(max(value, _LEAST_S), _MOST_S))
