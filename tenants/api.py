"""What every REST address shares: client keys, their pace, and how a body is read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, NoReturn
from uuid import UUID

from rest_framework import exceptions
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.throttling import SimpleRateThrottle

from tenants import keys, refusals
from tenants import selectors as tenants

BODY_BYTES = 65_536
NOT_AN_OBJECT = "The body must be one JSON object in which each name stands once."
_REFUSALS_PER_HOUR = 100
"""Wrong keys from one address before a pause."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Whom a client key speaks for; what REST framework calls the user."""

    key_id: UUID
    tenant_id: UUID
    tenant: str
    user_id: UUID
    role: str
    is_authenticated: bool = True


class ClientKeyAuthentication(BaseAuthentication):
    """`Authorization: Bearer <client key>`; no cookie is looked at, so no page can make a browser call this."""

    def authenticate(self, request: Request) -> tuple[Caller, None]:
        """Raises: NotAuthenticated, AuthenticationFailed, Throttled."""
        scheme, _, bearer = get_authorization_header(request).decode("latin-1").partition(" ")
        if scheme.lower() != "bearer":
            raise exceptions.NotAuthenticated("A client key is needed: Authorization: Bearer <key>.")
        counter = refusals.counter("api-refusals", refusals.address(request))
        if refusals.many(counter, most=_REFUSALS_PER_HOUR):
            raise exceptions.Throttled(refusals.HOUR_S, "Too many wrong keys.")
        now = datetime.now(UTC)
        standing = tenants.key_standing(keys.digest(bearer), now=now) if keys.well_formed(bearer) else None
        if standing is None:
            refusals.count(counter)
            raise exceptions.AuthenticationFailed("This client key is not valid.")
        who = Caller(standing.key_id, standing.tenant_id, standing.tenant_slug, standing.user_id, standing.role)
        return who, None

    def authenticate_header(self, request: Request) -> str:  # noqa: ARG002 - REST framework's signature
        """The challenge of a 401."""
        return 'Bearer realm="metaagent"'


class PerKey(SimpleRateThrottle):
    """So many requests a minute for each client key."""

    scope = "key"

    def get_cache_key(self, request: Request, view: object) -> str:  # noqa: ARG002 - REST framework's signature
        """One count a key."""
        return f"api-pace:{caller_of(request).key_id}"


class TooLarge(exceptions.APIException):
    """The body is over the limit."""

    status_code = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    default_detail = f"The body is larger than {BODY_BYTES} bytes."


class StrictJson(BaseParser):
    """One JSON object of bounded size, in which each name stands once."""

    media_type = "application/json"

    def parse(
        self,
        stream: Any,  # noqa: ANN401 - REST framework's signature
        media_type: str | None = None,  # noqa: ARG002 - see above
        parser_context: Mapping[str, Any] | None = None,  # noqa: ARG002 - see above
    ) -> dict[str, object]:
        """Raises: TooLarge, ParseError."""
        body = stream.read(BODY_BYTES + 1)
        if len(body) > BODY_BYTES:
            raise TooLarge
        try:
            return read_object(body)
        except ValueError:
            raise exceptions.ParseError(NOT_AN_OBJECT) from None


def read_object(body: bytes) -> dict[str, object]:
    """One JSON object in which each name stands once. Raises: ValueError."""
    try:
        found = json.loads(body, object_pairs_hook=_once, parse_constant=_refuse)
    except RecursionError:
        raise ValueError from None
    if not isinstance(found, dict):
        raise ValueError  # noqa: TRY004 - what is raised for every other body that is not one
    return found


def caller_of(request: Request) -> Caller:
    """Who asks."""
    who: Caller = request.user  # type: ignore[assignment]  # REST framework knows only Django's users
    return who


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError
    return members


def _refuse(_: str) -> NoReturn:
    raise ValueError
