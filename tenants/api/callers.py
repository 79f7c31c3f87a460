"""Client keys: whom one speaks for, and its pace."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from rest_framework import exceptions
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.request import Request
from rest_framework.throttling import SimpleRateThrottle

from tenants import keys, refusals
from tenants import selectors as tenants
from tenants.access import LOOK, RUN
from tenants.models import Role

ANYBODY: Final = frozenset(Role)
"""Every member; who is not of LOOK finds what is their own."""
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
    key_ends_at: datetime | None = None
    is_authenticated: bool = True

    @property
    def looks(self) -> bool:
        """Whether they may see what others have in the tenant."""
        return self.role in LOOK

    @property
    def runs(self) -> bool:
        """Whether they may end what others have in the tenant."""
        return self.role in RUN

    @property
    def client(self) -> str:
        """The key as the log names it."""
        return f"key:{self.key_id}"


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
        found = tenants.key_standing(keys.digest(bearer), now=now) if keys.well_formed(bearer) else None
        if found is None:
            refusals.count(counter)
            raise exceptions.AuthenticationFailed("This client key is not valid.")
        who = Caller(found.key_id, found.tenant_id, found.tenant_slug, found.user_id, found.role, found.expires_at)
        return who, None

    def authenticate_header(self, request: Request) -> str:  # noqa: ARG002 - REST framework's signature
        """The challenge of a 401."""
        return 'Bearer realm="metaagent"'


class PerKey(SimpleRateThrottle):
    """So many requests a minute for each client key; every answer says how many are left."""

    scope = "key"
    num_requests: int | None
    duration: int | None

    def get_cache_key(self, request: Request, view: object) -> str:  # noqa: ARG002 - REST framework's signature
        """One count a key."""
        return f"api-pace:{caller_of(request).key_id}"

    def allow_request(self, request: Request, view: object) -> bool:
        """As REST framework does; what is left is told to the view, for its answer's headers."""
        allowed = super().allow_request(request, view)  # type: ignore[arg-type]  # the stubs want their own view
        if hasattr(view, "pace"):
            view.pace = self._said()
        return allowed

    def _said(self) -> dict[str, str]:
        """As draft-ietf-httpapi-ratelimit-headers has it; `t` is when the next request falls out of the window."""
        most, window = self.num_requests or 0, math.ceil(self.duration or 0)
        left = max(0, most - len(self.history))
        ends = math.ceil(window - (self.now - self.history[-1])) if self.history else window
        return {"RateLimit-Policy": f'"key";q={most};w={window}', "RateLimit": f'"key";r={left};t={ends}'}


def caller_of(request: Request) -> Caller:
    """Who asks."""
    who: Caller = request.user  # type: ignore[assignment]  # REST framework knows only Django's users
    return who
