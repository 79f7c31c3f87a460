"""Speaking to a provider's authorization server: authlib encodes, the guarded transport carries, `tokens` reads."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

import httpx2
from authlib.oauth2.auth import ClientAuth
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri, prepare_token_request
from authlib.oauth2.rfc7009 import prepare_revoke_token_request
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from django.conf import settings

from providers.egress import EgressPolicy, GuardedTransport
from providers.errors import ToolError, Unavailable
from providers.spec import OAuthSpec
from vault.tokens import AnswerRefused, TokenSet, read_token_answer

TOKEN_REQUEST_S = 15
"""A hard limit, shorter than the refresh lease."""
ANSWER_BYTES = 1_048_576

_ACCEPT = {"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded;charset=UTF-8"}


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


def new_verifier() -> str:
    """A PKCE code verifier (RFC 7636 §4.1)."""
    return secrets.token_urlsafe(48)


def authorize_url(client: Client, *, scopes: Sequence[str], state: str, verifier: str) -> str:
    """Where the browser is sent: PKCE S256 always, `resource` when the provider has one."""
    extra = dict(client.spec.authorize_params)
    if client.spec.resource:
        extra["resource"] = client.spec.resource
    return str(
        prepare_grant_uri(
            client.spec.authorize_url,
            client_id=client.client_id,
            response_type="code",
            redirect_uri=client.redirect_uri,
            scope=" ".join(scopes) or None,
            state=state,
            code_challenge=create_s256_code_challenge(verifier),
            code_challenge_method="S256",
            **extra,
        )
    )


def exchange_code(client: Client, *, code: str, verifier: str) -> TokenSet:
    """Trade the code for tokens. Raises: AnswerRefused, ToolError."""
    body = prepare_token_request(
        "authorization_code",
        "",
        code=code,
        redirect_uri=client.redirect_uri,
        code_verifier=verifier,
        **_resource(client),
    )
    status, answer = _post(client, client.spec.token_url, body)
    return read_token_answer(status, answer)


def refresh(client: Client, *, refresh_token: str) -> TokenSet:
    """Trade the refresh token for new tokens, in one presentation. Raises: AnswerRefused, ToolError."""
    body = prepare_token_request("refresh_token", "", refresh_token=refresh_token, **_resource(client))
    status, answer = _post(client, client.spec.token_url, body)
    return read_token_answer(status, answer)


def revoke(client: Client, *, token: str, hint: str) -> None:
    """Kill a token at the provider (RFC 7009). Raises: ToolError when that is not confirmed."""
    if client.spec.revoke_url is None:
        return
    body, _ = prepare_revoke_token_request(token, hint, "", {})
    status, _ = _post(client, client.spec.revoke_url, body)
    if status != 200:  # noqa: PLR2004 - RFC 7009 §2.2
        raise Unavailable("The provider did not confirm that the token was revoked.")


def discard(client: Client, tokens: TokenSet) -> bool:
    """Kill tokens nobody will use. False when the provider did not confirm it; then they simply expire."""
    kind = "refresh_token" if tokens.refresh else "access_token"
    try:
        revoke(client, token=tokens.refresh or tokens.access, hint=kind)
    except (ToolError, AnswerRefused):
        return False
    return True


def identify(spec: OAuthSpec, *, access_token: str) -> Identity:
    """Ask the provider who the token acts as. Raises: AnswerRefused, ToolError."""
    if spec.identify_url is None:
        raise AnswerRefused("identity_unknown")
    with _http() as http:
        reply = http.get(
            spec.identify_url, headers={"Authorization": f"Bearer {access_token}", "Accept": "application/json"}
        )
    try:
        answer = json.loads(reply.content) if reply.status_code == 200 else None  # noqa: PLR2004 - HTTP
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise AnswerRefused("identity_unknown")
    subject = _first(answer, spec.subject_fields)
    if subject is None:
        raise AnswerRefused("identity_unknown")
    return Identity(subject, _first(answer, spec.label_fields) or subject)


def _first(answer: Mapping[str, object], names: Sequence[str]) -> str | None:
    for name in names:
        value = answer.get(name)
        if isinstance(value, bool) or not isinstance(value, str | int):
            continue
        text = "".join(char for char in str(value) if char.isprintable()).strip()
        if text:
            return text[:200]
    return None


def _resource(client: Client) -> dict[str, str]:
    return {"resource": client.spec.resource} if client.spec.resource else {}


def _http() -> httpx2.Client:
    """Through the guarded transport, which keeps the time by the wall clock."""
    policy = egress_policy()
    limits = replace(
        policy.limits, total_s=TOKEN_REQUEST_S, max_wire_bytes=ANSWER_BYTES, max_decoded_bytes=ANSWER_BYTES
    )
    return httpx2.Client(transport=GuardedTransport(policy, limits=limits), timeout=None, trust_env=False)


def _post(client: Client, url: str, body: str) -> tuple[int, bytes]:
    """Send a form as the client. Raises: ToolError (Unavailable says whether anything was sent)."""
    auth = ClientAuth(client.client_id, client.secret, client.spec.client_auth if client.secret else "none")
    target, headers, body = auth.prepare("POST", url, dict(_ACCEPT), body)
    with _http() as http:
        reply = http.post(target, headers=headers, content=body)
    return reply.status_code, reply.content
