"""Tokens that another system obtained: read as strictly as a provider's answer, asked whose they are, and kept.

What is wrong with them is said by the name of the member. Nothing that was given is ever repeated.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import httpx2
from django.db import transaction

from audit import services as audit
from audit.events import EventKind
from providers import selectors as providers
from providers.errors import ToolError
from providers.models import Installation
from providers.spec import OAuthSpec, ProviderSpec
from tenants.models import User
from tenants.services import Refused
from vault import oauth, sealing
from vault.crypto import KeysUnavailable, Unreadable
from vault.models import Connection
from vault.services import accounts
from vault.services.clients import client_of
from vault.tokens import AnswerRefused, TokenSet, own_api_base, read_members, read_token_answer

BODY_BYTES = 65_536
"""The longest token set that is read."""
MEMBERS = (
    *("access_token", "refresh_token", "token_type", "expires_in", "expires_at"),
    *("scope", "account_id", "account_label", "api_base"),
)
_READ_LIKE_AN_ANSWER = ("access_token", "refresh_token", "token_type", "expires_in", "scope")
_PLAIN = OAuthSpec(authorize_url="", token_url="")
_NAME = re.compile(r"[a-z]+(?:_[a-z]+){0,3}")
_LABEL_CHARS, _SCOPES = 200, 500
_FARTHEST = timedelta(days=3_660)


class NotNow(Refused):
    """The tokens may be good, but could not be taken in at this moment."""


@dataclass(frozen=True, slots=True)
class _Given:
    """A token set that holds what it should."""

    tokens: TokenSet
    account_id: str | None
    label: str | None


def read(body: bytes) -> dict[str, object]:
    """A JSON object with each name once. Raises: Refused."""
    if len(body) > BODY_BYTES:
        raise Refused(f"A token set is {BODY_BYTES // 1_024} KB at most.")
    try:
        return dict(read_members(httpx2.Response(200, content=body)))
    except AnswerRefused:
        raise Refused("A token set is one JSON object in which each name stands once.") from None


def import_tokens(
    *, installation: Installation, owner: User | None, given: Mapping[str, object], by: UUID | None, now: datetime
) -> Connection:
    """Keep tokens as an account of `owner`, or of the whole tenant. The same account again gets them as a new version.

    Whose account it is, the provider is asked where it can be; else `given` has to say. Without a scope they are taken
    to allow what the installation asks for. Raises: Refused, and then nothing is stored.
    """
    spec = providers.spec_of(installation)
    read_in = _read(given, now)
    tokens = replace(read_in.tokens, api_base=_api_base(spec, given.get("api_base")))
    try:
        key = sealing.active_key(installation.tenant_id)
        client = client_of(installation)
    except (Unreadable, KeysUnavailable):
        raise NotNow("The vault's keys cannot be used right now. Nothing was stored. Try again later.") from None
    identity = _identity(spec, client, read_in, owner)
    with transaction.atomic():
        _allowed(installation.tenant_id, owner, by)
        try:
            kept = accounts.keep(
                installation=installation,
                owner_id=owner.pk if owner else None,
                identity=identity,
                tokens=tokens,
                scopes=tokens.scopes if tokens.scopes is not None else spec.oauth.scopes,
                key=key,
                now=now,
            )
        except accounts.Changed:
            raise NotNow("The provider's set-up has just changed. Nothing was stored. Try again.") from None
        audit.record(
            EventKind.TOKEN_IMPORTED,
            tenant_id=installation.tenant_id,
            user_id=by,
            provider=installation.slug,
            connection_id=kept.connection.pk,
            owner=str(owner.pk) if owner else "tenant",
            scopes=" ".join(kept.connection.scopes),
            version=kept.version,
        )
    return kept.connection


def _api_base(spec: ProviderSpec, given: object) -> str | None:
    """Where this account's API is. Raises: Refused."""
    if not spec.oauth.api_base_path:
        if given is not None:
            raise Refused(f"A token set for {spec.title} holds no api_base: it has one address for all accounts.")
        return None
    try:
        found = own_api_base(spec.oauth, given)
    except AnswerRefused:
        found = None
    if found is None:
        hosts = " or ".join(spec.oauth.api_base_hosts)
        raise Refused(f"api_base must be the address of this account at {spec.title}: https, and below {hosts}.")
    return found


def _allowed(tenant_id: UUID, owner: User | None, by: UUID | None) -> None:
    """An account belongs to a member; one for everybody is an administrator's to bring. Raises: Refused."""
    if owner is not None and not accounts.may_connect(tenant_id=tenant_id, user_id=owner.pk, shared=False, lock=True):
        raise Refused(f"{owner.email} is not a member of this tenant. Nothing was stored.")
    if (
        owner is None
        and by is not None
        and not accounts.may_connect(tenant_id=tenant_id, user_id=by, shared=True, lock=True)
    ):
        raise Refused("Only an administrator of this tenant may bring an account for everybody. Nothing was stored.")


def _identity(spec: ProviderSpec, client: oauth.Client, given: _Given, owner: User | None) -> oauth.Identity:
    """Whose account it is. Raises: Refused."""
    if spec.oauth.identity == "owner" and given.account_id is None:
        return oauth.owned(owner)
    usable = given.tokens.lifetime_s != 0
    if not (usable and spec.oauth.identity == "who_am_i" and spec.oauth.identify_url):
        if given.account_id is None:
            why = "the access token is over" if not usable else f"{spec.title} cannot be asked with a token alone"
            raise Refused(f"account_id is missing: {why}, so it has to be said whose account it is.")
        subject = given.account_id.removeprefix(spec.account_id(""))
        return oauth.Identity(subject, given.label or subject)
    try:
        identity = oauth.identify(client, given.tokens, nonce=None)
    except AnswerRefused:
        raise Refused(
            f"{spec.title} does not say whose account this access token is. Check that it is good. Nothing was stored."
        ) from None
    except ToolError:
        raise NotNow(f"{spec.title} cannot be asked whose account it is right now. Nothing was stored.") from None
    if given.account_id not in {None, identity.subject, spec.account_id(identity.subject)}:
        raise Refused(f"account_id is not the account that {spec.title} names for this access token.")
    return identity


def _read(given: Mapping[str, object], now: datetime) -> _Given:
    """Raises: Refused, naming the member."""
    if unknown := sorted(set(given) - set(MEMBERS)):
        # Named only when it looks like a name: a token in the wrong place is not repeated.
        name = next((f"“{name}”" for name in unknown if _NAME.fullmatch(name)), "name that is unknown")
        raise Refused(f"A token set holds no {name}. It may hold: {', '.join(MEMBERS)}.")
    stated = {name: value for name, value in given.items() if value is not None}
    if "expires_in" in stated and "expires_at" in stated:
        raise Refused("Give expires_in or expires_at, not both.")
    if "scope" in stated:
        stated["scope"] = _scope(stated["scope"])
    for name in _READ_LIKE_AN_ANSWER:
        _answered(name, {"access_token": "-", **{n: stated[n] for n in (name,) if n in stated}})
    if "access_token" not in stated:
        raise Refused("access_token is missing.")
    tokens = _answered("access_token", {name: stated[name] for name in _READ_LIKE_AN_ANSWER if name in stated})
    if "expires_at" in stated:
        left = round((_moment(stated["expires_at"]) - now).total_seconds())
        if left > _FARTHEST.total_seconds():
            raise Refused("expires_at is too far ahead. It is in seconds, not in milliseconds.")
        tokens = replace(tokens, lifetime_s=max(left, 0))
    if tokens.lifetime_s == 0 and tokens.refresh is None:
        raise Refused("The access token is over, and there is no refresh_token. Nothing was stored.")
    return _Given(tokens, _name("account_id", stated), _name("account_label", stated))


def _answered(name: str, answer: Mapping[str, object]) -> TokenSet:
    """By the rules a provider's answer is read with. Raises: Refused."""
    try:
        return read_token_answer(_PLAIN, httpx2.Response(200, json=answer))
    except AnswerRefused:
        raise Refused(f"{name} is not of a form that a provider would send.") from None


def _scope(value: object) -> str:
    """As a string or as a list of strings; either as one string. Raises: Refused."""
    scopes = [s for s in re.split(r"[ ,]+", value) if s] if isinstance(value, str) else value
    if not isinstance(scopes, list) or len(scopes) > _SCOPES:
        raise Refused("scope must be a string with spaces between, or a list of strings.")
    if not all(isinstance(s, str) and s and " " not in s for s in scopes):
        raise Refused("scope must be a string with spaces between, or a list of strings.")
    return " ".join(scopes)


def _moment(value: object) -> datetime:
    """ISO 8601 with its zone, or seconds since 1970. Raises: Refused."""
    try:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime.fromtimestamp(value, tz=UTC)
        moment = datetime.fromisoformat(value) if isinstance(value, str) and len(value) <= 40 else None  # noqa: PLR2004 - longer than any
    except (ValueError, OverflowError, OSError):
        moment = None
    if moment is None or moment.tzinfo is None:
        raise Refused("expires_at must be seconds since 1970, or an ISO 8601 time with its zone.")
    return moment


def _name(name: str, given: Mapping[str, object]) -> str | None:
    value = given.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or not value.strip() or not value.isprintable() or len(value) > _LABEL_CHARS:
        raise Refused(f"{name} must be a string of at most {_LABEL_CHARS} characters, all of which can be seen.")
    return value.strip()
