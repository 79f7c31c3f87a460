"""Tokens in memory: values that cannot be printed, and the strict reading of what an authorization server answers."""

from __future__ import annotations

import json
import re
from base64 import urlsafe_b64decode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import NoReturn, TypeGuard
from urllib.parse import parse_qsl, urlsplit
from uuid import UUID

import httpx2

from providers.client import retry_after_s
from providers.spec import Json, OAuthSpec

ANSWER_BYTES = 1_048_576
"""The longest answer that is read."""
_DEPTH = 32
_CHARS = re.compile(r"[\x21-\x7e]{1,16384}")
_SCOPES_CHARS = 8_192
_LEAST_S, _MOST_S, _UNSTATED_S = 1, 31_536_000, 300
"""Bounds of a stated lifetime, and what an unstated one is taken for: short, never endless."""
_LEEWAY_S = 120
"""How far an ID token's clock may be from ours."""

_BASE = re.compile(r"https?://[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,8}(?::[0-9]{1,5})?/?")
"""A bare origin: no user, path, query or fragment, and nothing that two readers of URLs could read differently."""
_FORM = "application/x-www-form-urlencoded"
_JSON = re.compile(r"application/(?:[a-z0-9.-]+\+)?json")
_LATER = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS})


class AnswerRefused(Exception):
    """A token answer that cannot be used. `code` is one of our own words; the answer's text is never kept."""

    def __init__(self, code: str, retry_after_s: int | None = None) -> None:
        super().__init__(code)
        self.code = code
        self.retry_after_s = retry_after_s


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
    answer: Mapping[str, Json] = field(default_factory=dict, repr=False, compare=False)
    """All that came with them: some providers say here whose account it is."""
    api_base: str | None = None
    """Where this account's API is, when the answer said so: an origin that `own_api_base` has let pass."""

    def lives_s(self, spec: OAuthSpec, *, before: int | None = None, renewable: bool) -> int | None:
        """For how many seconds the access token is taken to be good; None: until it is refused.

        An unstated lifetime is the provider's usual one, else as long as the token `before`, else short: never endless
        while there is a refresh token.
        """
        for known in (self.lifetime_s, spec.lifetime_s, before):
            if known is not None:
                return known
        return _UNSTATED_S if renewable else None


def read_token_answer(spec: OAuthSpec, reply: httpx2.Response) -> TokenSet:
    """Read a token endpoint's answer strictly: RFC 6749 sections 5.1 and 5.2, and what `spec` says is different.

    Raises: AnswerRefused with `invalid_grant` when the grant is over, `unavailable` when trying again may help,
    `refused` for a redirect and any other stated error, `malformed` for what is not a token answer, `wrong_api_base`
    for an address of the API that is not the provider's.
    """
    status = reply.status_code
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _LATER:
        raise AnswerRefused("unavailable", _wait_s(reply))
    if reply.is_redirect:
        raise AnswerRefused("refused")
    try:
        answer = read_members(reply)
    except AnswerRefused:
        if status == HTTPStatus.OK:
            raise
        # A firewall's page, say: only a 200 can mean that the refresh token was used up.
        raise AnswerRefused("refused") from None
    if status != HTTPStatus.OK or is_error(spec, answer):
        raise AnswerRefused("invalid_grant" if error_code(answer) in spec.dead_grant_errors else "refused")
    token = at(answer, spec.token_path)
    if not isinstance(token, dict) or "access_token" not in token:
        token = answer  # Slack nests what a code is traded for, and not what a refresh gives
    access, refresh, kind = token.get("access_token"), token.get("refresh_token"), token.get("token_type")
    if not _is_token(access) or not (refresh is None or _is_token(refresh)):
        raise AnswerRefused("malformed")
    # Where tokens of people stand beside those of bots (`token_path`), Slack says `user` for a person's bearer token.
    kinds = {"bearer", "user"} if spec.token_path else {"bearer"}
    if kind is not None and not (isinstance(kind, str) and kind.lower() in kinds):
        raise AnswerRefused("malformed")
    return TokenSet(
        access=access,
        refresh=refresh,
        lifetime_s=_lifetime_s(token.get("expires_in")),
        scopes=_scopes(spec, at(token, spec.granted_path)),
        answer=answer,
        api_base=own_api_base(spec, at(answer, spec.api_base_path)) if spec.api_base_path else None,
    )


def own_api_base(spec: OAuthSpec, url: Json) -> str | None:
    """The origin of an account's own API; None where nothing was said.

    A token is sent wherever this leads: only to the hosts that are known to be the provider's, by https, or to the
    very origin that issued it. Raises: AnswerRefused with `wrong_api_base`.
    """
    if url is None:
        return None
    if not isinstance(url, str) or not _BASE.fullmatch(url):
        raise AnswerRefused("wrong_api_base")
    base, issued_by = url.removesuffix("/").lower(), urlsplit(spec.token_url)
    scheme, _, host = base.partition("://")
    known = any(host == name or host.endswith(f".{name}") for name in spec.api_base_hosts)
    if not (known and scheme == "https") and base != f"{issued_by.scheme}://{issued_by.netloc}":
        raise AnswerRefused("wrong_api_base")
    return base


def read_members(reply: httpx2.Response) -> dict[str, Json]:
    """The members of an answer in JSON, or form-encoded where it says that it is; each of them once.

    Raises: AnswerRefused with `malformed`.
    """
    kind = reply.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    read = _form if kind == _FORM else _object if _JSON.fullmatch(kind) else None
    if read is None or len(reply.content) > ANSWER_BYTES:
        raise AnswerRefused("malformed")
    try:
        return read(reply.content)
    except (ValueError, RecursionError):
        raise AnswerRefused("malformed") from None


def read_id_token(
    token: Json, *, issuer: str | None, client_id: str, nonce: str | None, now: datetime
) -> dict[str, Json]:
    """The claims of an ID token that the token endpoint has just answered; `nonce` is the one sent, if one was.

    The signature is not checked: the token came over TLS from the issuer's own endpoint, which OpenID Connect Core
    3.1.3.7 (point 6) takes in its place. Never call this with a token that came any other way.
    Raises: AnswerRefused with `identity_unknown`.
    """
    try:
        header, payload, _ = token.split(".") if _is_token(token) else []
        _object(_unpadded(header))
        claims = _object(_unpadded(payload))
    except (ValueError, RecursionError):
        raise AnswerRefused("identity_unknown") from None
    said = claims.get("aud")
    audience = said if isinstance(said, list) else [said]
    ends, begins, party, clock = claims.get("exp"), claims.get("iat"), claims.get("azp"), now.timestamp()
    holds = (
        issuer is not None
        and claims.get("iss") == _issuer(issuer, claims.get("tid"))
        and client_id in audience
        and (party == client_id or (party is None and len(audience) == 1))
        and _is_number(ends)
        and ends > clock - _LEEWAY_S
        and _is_number(begins)
        and begins < clock + _LEEWAY_S
        and (nonce is None or claims.get("nonce") == nonce)
    )
    if not holds:
        raise AnswerRefused("identity_unknown")
    return claims


def _issuer(issuer: str, directory: Json) -> str | None:
    """The issuer of a directory's tokens, where each has its own: `{tid}` stands for its id, which is a UUID."""
    if "{tid}" not in issuer:
        return issuer
    try:
        same = isinstance(directory, str) and str(UUID(directory)) == directory
    except ValueError:
        same = False
    return issuer.replace("{tid}", directory) if same else None


def is_error(spec: OAuthSpec, answer: Mapping[str, Json]) -> bool:
    """Whether an answer says that it failed, whatever its status."""
    return answer.get("error") is not None or (bool(spec.ok_field) and answer.get(spec.ok_field) is not True)


def error_code(answer: Mapping[str, Json]) -> str | None:
    """The word an error answer gives: `error` (RFC 6749 section 5.2), or what some providers have instead of it."""
    said = (answer.get(name) for name in ("error", "code", "status"))
    return next((word for word in said if isinstance(word, str)), None)


def at(answer: Json, path: Iterable[str]) -> Json:
    """The value at a path of member names, or None."""
    for name in path:
        answer = answer.get(name) if isinstance(answer, dict) else None
    return answer


def _form(text: bytes) -> dict[str, Json]:
    """Raises: ValueError when it is not a form with each name once."""
    return _once(parse_qsl(text.decode("ascii"), keep_blank_values=True, strict_parsing=True, max_num_fields=100))


def _object(text: bytes) -> dict[str, Json]:
    """Raises: ValueError, RecursionError when it is not a JSON object with each name once, finite and not too deep."""
    answer = json.loads(text.decode(), object_pairs_hook=_once, parse_constant=_refuse)
    if not isinstance(answer, dict):
        raise ValueError  # noqa: TRY004 - what is raised for every other answer that is not one
    level: list[Json] = [answer]
    for _ in range(_DEPTH):
        inner = (one.values() if isinstance(one, dict) else one for one in level)
        level = [value for values in inner for value in values if isinstance(value, dict | list)]
    if level:
        raise ValueError
    return answer


def _once(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError
    return members


def _refuse(_: str) -> NoReturn:
    raise ValueError


def _unpadded(part: str) -> bytes:
    """Raises: ValueError."""
    if not re.fullmatch(r"[A-Za-z0-9_-]+", part):
        raise ValueError
    return urlsafe_b64decode(part + "=" * (-len(part) % 4))


def _is_token(value: Json) -> TypeGuard[str]:
    return isinstance(value, str) and _CHARS.fullmatch(value) is not None


def _is_number(value: Json) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _lifetime_s(value: Json) -> int | None:
    """Seconds, within bounds. A number in a string is common; a word, a negative or a truth value is not."""
    if value is None:
        return None
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,12}", value):
        value = int(value)
    if not _is_number(value) or not value > 0:
        raise AnswerRefused("malformed")
    return int(min(max(value, _LEAST_S), _MOST_S))


def _scopes(spec: OAuthSpec, value: Json) -> tuple[str, ...] | None:
    """Each scope once, by the name it is asked with, in the order of the answer. An empty list says as little as none.

    `value` is a text, or a list of texts.
    """
    if value is None:
        return None
    named = value.split(spec.granted_separator) if isinstance(value, str) else value
    if not isinstance(named, list) or not all(isinstance(scope, str) for scope in named):
        raise AnswerRefused("malformed")
    found = [scope for part in named if (scope := part.strip(" "))]
    if sum(len(scope) + 1 for scope in named) > _SCOPES_CHARS or not all(map(_is_token, found)):
        raise AnswerRefused("malformed")
    return tuple(dict.fromkeys(spec.scope_aliases.get(scope, scope) for scope in found)) or None


def _wait_s(reply: httpx2.Response) -> int | None:
    """How long a busy provider asks us to wait, an hour at most; None when it does not say."""
    if "retry-after" not in reply.headers:
        return None
    try:
        # A moment is told by the clock it was written with; ours may be wrong.
        now = parsedate_to_datetime(reply.headers["date"])
    except (KeyError, ValueError):
        now = datetime.now(UTC)
    return retry_after_s(reply.headers, now=now)
