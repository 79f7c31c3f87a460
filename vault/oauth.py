"""Speaking to a provider's authorization server: `OAuthSpec` says how, the guarded transport carries, `tokens` reads.

No request follows a redirect: what it carries is meant for one address.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import lru_cache
from http import HTTPStatus
from typing import Literal
from urllib.parse import quote, quote_plus, urlencode

import httpx2
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from django.conf import settings

from providers.egress import EgressPolicy, GuardedTransport
from providers.errors import ToolError, Unavailable
from providers.spec import Json, OAuthSpec
from tenants.models import User
from vault.tokens import (
    ANSWER_BYTES,
    AnswerRefused,
    TokenSet,
    at,
    error_code,
    is_error,
    read_id_token,
    read_members,
    read_token_answer,
)

TOKEN_REQUEST_S = 15
"""A hard limit, shorter than the refresh lease."""
_LABEL_CHARS = 200
_TYPES = {"form": "application/x-www-form-urlencoded", "json": "application/json"}


@dataclass(frozen=True, slots=True)
class Client:
    """The OAuth client an installation is at its provider."""

    spec: OAuthSpec
    client_id: str
    secret: str | None = field(repr=False)
    redirect_uri: str


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a token acts as at the provider. `subject` never changes; `label` is for people."""

    subject: str
    label: str


@lru_cache(maxsize=1)
def egress_policy() -> EgressPolicy:
    """The deployment's rules for outbound requests."""
    return EgressPolicy.parse(settings.EGRESS_ALLOW_CIDRS, settings.EGRESS_ALLOW_HTTP_HOSTS)


# --- Asking for tokens


def new_verifier() -> str:
    """A PKCE code verifier (RFC 7636 §4.1)."""
    return secrets.token_urlsafe(48)


def nonce_of(state: str) -> str:
    """The OpenID Connect nonce of a round trip: made from its state, so that there is nothing more to keep."""
    return hashlib.sha256(f"nonce of {state}".encode()).hexdigest()


def authorize_url(client: Client, *, scopes: Sequence[str], state: str, verifier: str, nonce: str | None = None) -> str:
    """Where the browser is sent: with PKCE S256 unless the provider is known to refuse it."""
    spec = client.spec
    more = {**spec.authorize_params, **_resource(client)}
    if scopes and spec.scope_separator:
        more[spec.scope_param] = spec.scope_separator.join(scopes)
    if spec.pkce:
        more |= {"code_challenge": create_s256_code_challenge(verifier), "code_challenge_method": "S256"}
    if nonce is not None:
        more["nonce"] = nonce
    return str(
        prepare_grant_uri(
            spec.authorize_url,
            client_id=client.client_id,
            response_type="code",
            redirect_uri=client.redirect_uri,
            state=state,
            **more,
        )
    )


def exchange_code(client: Client, *, code: str, verifier: str) -> TokenSet:
    """Trade the code for tokens, with the address of the account's API where accounts have their own.

    Raises: AnswerRefused, ToolError.
    """
    given = {"grant_type": "authorization_code", "code": code, "redirect_uri": client.redirect_uri}
    if client.spec.pkce:
        given["code_verifier"] = verifier
    reply = _post(client, client.spec.token_url, {**given, **_resource(client)})
    tokens = read_token_answer(client.spec, reply)
    if client.spec.api_base_path and tokens.api_base is None:
        raise AnswerRefused("wrong_api_base")
    return tokens


def refresh(client: Client, *, refresh_token: str) -> TokenSet:
    """Trade the refresh token for new tokens, in one presentation. Raises: AnswerRefused, ToolError."""
    given = {"grant_type": "refresh_token", "refresh_token": refresh_token}
    reply = _post(client, client.spec.token_url, {**given, **_resource(client)})
    return read_token_answer(client.spec, reply)


def granted(spec: OAuthSpec, tokens: TokenSet, asked: Sequence[str]) -> tuple[str, ...]:
    """The scopes a token has: as answered, or as asked where the answer is silent (RFC 6749 section 5.1)."""
    if tokens.scopes is None:
        return tuple(asked)
    return tuple(dict.fromkeys([*tokens.scopes, *(scope for scope in asked if scope in spec.unlisted_scopes)]))


# --- Whose account it is


def identify(client: Client, tokens: TokenSet, *, nonce: str | None, owner: Identity | None = None) -> Identity:
    """Whose account new tokens act as; `nonce` is the one sent with this round trip, if one was.

    `owner` is whose it is where nobody says (`owned`). Raises: AnswerRefused with `identity_unknown`, ToolError.
    """
    spec = client.spec
    said: Mapping[str, Json]
    match spec.identity:
        case "owner":
            if owner is None:
                raise AnswerRefused("identity_unknown")
            return owner
        case "who_am_i":
            return who_am_i(spec, {"Authorization": f"Bearer {tokens.access}"})
        case "id_token":
            said = read_id_token(
                tokens.answer.get("id_token"),
                issuer=spec.issuer,
                client_id=client.client_id,
                nonce=nonce,
                now=datetime.now(UTC),
            )
        case "answer":
            said = tokens.answer
    return _identity(spec, said)


def owned(owner: User | None) -> Identity:
    """The one account of a person, or of the tenant as a whole, at a provider that names none."""
    return Identity(f"of:{owner.pk}", owner.email) if owner else Identity("of:tenant", "shared")


def who_am_i(spec: OAuthSpec, proof: Mapping[str, str]) -> Identity:
    """Whose account it is that the headers of `proof` open, as `identify_url` says.

    Raises: AnswerRefused with `identity_unknown`, ToolError.
    """
    if spec.identify_url is None:
        raise AnswerRefused("identity_unknown")
    method = "GET" if spec.identify_body is None else "POST"
    reply = _send(spec, method, spec.identify_url, proof, spec.identify_body, body="json")
    try:
        said = read_members(reply)
    except AnswerRefused:
        raise AnswerRefused("identity_unknown") from None
    if reply.status_code != HTTPStatus.OK or is_error(spec, said):
        raise AnswerRefused("identity_unknown")
    return _identity(spec, said)


def _identity(spec: OAuthSpec, said: Json) -> Identity:
    subject = _subject(spec, said)
    if subject is None:
        raise AnswerRefused("identity_unknown")
    return Identity(subject, _label(spec, said) or subject)


def _subject(spec: OAuthSpec, said: Json) -> str | None:
    """The first of the subject fields that is there, taken as it is or not at all: an identity is never repaired.

    `team.id+user.id` is both together. An e-mail address is never an identity: it can be given to somebody else.
    """
    for name in spec.subject_fields:
        parts = [at(said, path.split(".")) for path in name.split("+")]
        if None in parts or "mail" in name.lower():
            continue
        texts = [str(part) if isinstance(part, str | int) and not isinstance(part, bool) else "" for part in parts]
        subject = ":".join(texts)
        return subject if all(texts) and subject.isprintable() and len(subject) <= _LABEL_CHARS else None
    return None


def _label(spec: OAuthSpec, said: Json) -> str | None:
    for name in spec.label_fields:
        value = at(said, name.split("."))
        if isinstance(value, str) and (text := "".join(filter(str.isprintable, value)).strip()):
            return text[:_LABEL_CHARS]
    return None


# --- Ending it


def revocable(client: Client) -> bool:
    """Whether the provider has a way to kill tokens at all. Where it has none, they expire, or a person ends them."""
    return client.spec.revoke_url is not None


def revoke_all(client: Client, *, refresh: str | None, access: str) -> None:
    """Kill tokens at the provider in its own way: each kind it takes, whatever becomes of the one before.

    Raises: ToolError unless every one of them is confirmed to be dead.
    """
    tokens = {"refresh": refresh, "access": access}
    failure: ToolError | None = None
    for kind in [kind for kind in client.spec.revoke_kinds if tokens[kind]] or ["access"]:
        try:
            _revoke(client, token=tokens[kind] or "", hint=f"{kind}_token")
        except ToolError as failed:
            failure = failure or failed
    if failure is not None:
        raise failure


def discard(client: Client, tokens: TokenSet) -> bool:
    """Kill tokens nobody will use. False when they live on until they expire.

    Where all tokens of a person are one grant they are left alone: killing them would end a connection that works.
    """
    if client.spec.one_grant or not revocable(client):
        return False
    try:
        revoke_all(client, refresh=tokens.refresh, access=tokens.access)
    except ToolError:
        return False
    return True


def _revoke(client: Client, *, token: str, hint: str) -> None:
    """Kill one token (RFC 7009, or as `revoke_style` says). Raises: ToolError when that is not confirmed."""
    spec = client.spec
    if spec.revoke_url is None:
        raise Unavailable("The provider has no way to revoke a token.", sent=False)
    url = spec.revoke_url.replace("{client_id}", quote(client.client_id, safe=""))
    match spec.revoke_style:
        case "rfc7009":
            # Whoever takes JSON has a schema of their own, and no place for a hint in it.
            hints = {"token_type_hint": hint} if spec.token_body == "form" else {}  # noqa: S105 - an encoding
            reply = _post(client, url, {"token": token, **hints})
        case "token_only":
            reply = _send(spec, "POST", url, {}, {"token": token})
        case "bearer":
            reply = _send(spec, "POST", url, {"Authorization": f"Bearer {token}"}, {})
        case "json_basic":
            proof = {"Authorization": _basic(client.client_id, client.secret or "")}
            reply = _send(spec, "DELETE", url, proof, {"access_token": token}, body="json")
    if not _is_dead(spec, reply, deleted=spec.revoke_style == "json_basic"):
        raise Unavailable("The provider did not confirm that the token was revoked.")


def _is_dead(spec: OAuthSpec, reply: httpx2.Response, *, deleted: bool) -> bool:
    """Whether an answer confirms that the token is dead, be it that it already was."""
    try:
        answer = read_members(reply)
    except AnswerRefused:
        answer = {}  # RFC 7009 §2.2: what a 200 holds does not matter
    match reply.status_code:
        case HTTPStatus.OK | HTTPStatus.NO_CONTENT if not is_error(spec, answer):
            return True
        case HTTPStatus.NOT_FOUND:
            return deleted
        case HTTPStatus.OK | HTTPStatus.BAD_REQUEST | HTTPStatus.UNAUTHORIZED | HTTPStatus.FORBIDDEN:
            return error_code(answer) in {"invalid_token", *spec.dead_grant_errors}
    return False


# --- On the wire

_elsewhere: ContextVar[httpx2.BaseTransport | None] = ContextVar("elsewhere", default=None)


@contextmanager
def through(transport: httpx2.BaseTransport) -> Iterator[None]:
    """What is asked of authorization servers inside goes through `transport`, the simulator's, not to the network."""
    before = _elsewhere.set(transport)
    try:
        yield
    finally:
        _elsewhere.reset(before)


def _resource(client: Client) -> dict[str, str]:
    return {"resource": client.spec.resource} if client.spec.resource else {}


def _basic(user: str, password: str) -> str:
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode()


def _post(client: Client, url: str, given: Mapping[str, str]) -> httpx2.Response:
    """Send what is given, as the client. Raises: ToolError (Unavailable says whether anything was sent)."""
    name, secret = client.client_id, client.secret or ""
    headers: dict[str, str] = {}
    match client.spec.client_auth if client.secret else "none":
        case "client_secret_post":
            given = {**given, "client_id": name, "client_secret": secret}
        case "client_secret_basic":
            headers["Authorization"] = _basic(quote_plus(name), quote_plus(secret))  # encoded first: RFC 6749 §2.3.1
        case "secret_as_user":
            headers["Authorization"] = _basic(secret, "")
        case "none":
            given = {**given, "client_id": name}
    return _send(client.spec, "POST", url, headers, given, body=client.spec.token_body)


def _send(
    spec: OAuthSpec,
    method: str,
    url: str,
    headers: Mapping[str, str],
    given: Mapping[str, Json] | None = None,
    *,
    body: Literal["form", "json"] = "form",
) -> httpx2.Response:
    """One request through the guarded transport, which keeps the time by the wall clock. Raises: ToolError."""
    policy = egress_policy()
    limits = replace(
        policy.limits, total_s=TOKEN_REQUEST_S, max_wire_bytes=ANSWER_BYTES, max_decoded_bytes=ANSWER_BYTES
    )
    sent = {"Accept": "application/json", **spec.headers, **headers}
    content = None
    if given is not None:
        sent["Content-Type"] = _TYPES[body]
        content = json.dumps(given) if body == "json" else urlencode(given)
    transport = _elsewhere.get() or GuardedTransport(policy, limits=limits)
    with httpx2.Client(transport=transport, timeout=None, trust_env=False, follow_redirects=False) as http:
        return http.request(method, url, headers=sent, content=content)
