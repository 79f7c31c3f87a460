"""Clients, one-time codes and rotating tokens: the rules of the authorization server, without HTTP.

Tokens are known by their digest alone, so nothing here can print one.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from hmac import compare_digest
from secrets import token_hex

from providers.sandbox.faults import Stats, Steering
from providers.sandbox.records import Person

CODE_TTL_S = 60
_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")


def digest(token: str) -> str:
    """What a token is known by."""
    return sha256(token.encode()).hexdigest()


class Denied(Exception):
    """A request the token endpoint refuses, with an error code of RFC 6749 section 5.2."""

    def __init__(self, error: str, description: str, status: int = 400) -> None:
        super().__init__(error)
        self.error, self.description, self.status = error, description, status


@dataclass(frozen=True, slots=True)
class Client:
    """An application people can connect."""

    id: str
    secret: str = field(repr=False)
    name: str
    redirect_uris: tuple[str, ...]


@dataclass(slots=True, eq=False)
class Family:
    """Everything that came from one consent: the pair of tokens in force and the refresh tokens used up."""

    client: Client
    person: Person
    scopes: tuple[str, ...]
    id: str = field(default_factory=lambda: token_hex(8))
    access: str = ""
    expires_at: float = 0
    refresh: str = ""
    alive: bool = True
    in_flight: int = 0


@dataclass(slots=True, eq=False)
class Code:
    """An authorization code: what it was given for, and what it gave."""

    client: Client
    redirect_uri: str
    challenge: str
    family: Family
    expires_at: float
    used: bool = False


@dataclass(frozen=True, slots=True)
class Tokens:
    """A fresh pair."""

    access: str = field(repr=False)
    refresh: str = field(repr=False)
    family: Family


class Grants:
    """Who may act as whom. One asyncio process and no waiting inside a method: every step is atomic."""

    def __init__(self, steering: Steering) -> None:
        self.clients: dict[str, Client] = {}
        self._steering = steering
        self._codes: dict[str, Code] = {}
        self._by_access: dict[str, Family] = {}
        self._by_refresh: dict[str, Family] = {}

    @property
    def stats(self) -> Stats:
        """The counters in force; a reset replaces them."""
        return self._steering.stats

    def register(self, client: Client) -> Client:
        """Make an application known; the same id again adds redirect URIs."""
        if (known := self.clients.get(client.id)) is not None:
            client = Client(known.id, known.secret, known.name, known.redirect_uris + client.redirect_uris)
        self.clients[client.id] = client
        return client

    def authenticate(self, client_id: str, secret: str) -> Client:
        """The client that has this secret, compared in constant time. Raises: `Denied`."""
        client = self.clients.get(client_id)
        expected = client.secret if client else ""
        if not compare_digest(expected.encode(), secret.encode()) or client is None:
            raise Denied("invalid_client", "The client is unknown or its secret is wrong.", 401)
        return client

    def authorize(self, family: Family, redirect_uri: str, challenge: str, now: float) -> str:
        """Give a code for a consent."""
        code = token_hex(32)
        self._codes[digest(code)] = Code(family.client, redirect_uri, challenge, family, now + CODE_TTL_S)
        self.stats.authorizations += 1
        return code

    def exchange(self, client: Client, code: str, *, redirect_uri: str, verifier: str, now: float, ttl: int) -> Tokens:
        """Turn a code into tokens, once. Presenting it again kills what it gave (RFC 6749 section 4.1.2).

        Raises: `Denied`.
        """
        found = self._codes.get(digest(code))
        if found is None or found.client.id != client.id:
            raise Denied("invalid_grant", "The code is unknown.")
        if found.used:
            self.stats.codes_reused += 1
            self._kill_reused(found.family)
            raise Denied("invalid_grant", "The code was used before.")
        found.used = True
        if now > found.expires_at:
            raise Denied("invalid_grant", "The code has expired.")
        if redirect_uri != found.redirect_uri:
            raise Denied("invalid_grant", "The redirect_uri is not the one the code was given for.")
        if not _VERIFIER.fullmatch(verifier) or not compare_digest(challenge_of(verifier), found.challenge):
            raise Denied("invalid_grant", "The code_verifier does not fit the code_challenge.")
        self.stats.codes_exchanged += 1
        return self._pair(found.family, now, ttl)

    @contextmanager
    def presenting(self, refresh: str) -> Iterator[None]:
        """Count how many token requests of one family are being worked on at the same time."""
        if (family := self._by_refresh.get(digest(refresh))) is None:
            yield
            return
        family.in_flight += 1
        self.stats.max_in_flight_per_grant = max(self.stats.max_in_flight_per_grant, family.in_flight)
        try:
            yield
        finally:
            family.in_flight -= 1

    def refresh(self, client: Client, refresh: str, *, now: float, ttl: int, rotate: bool = True) -> Tokens:
        """Rotate: the old pair dies, a new one is given. A used refresh token kills the family (RFC 9700 4.14.2).

        Without `rotate` only the access token is new.

        Raises: `Denied`.
        """
        name = digest(refresh)
        family = self._by_refresh.get(name)
        if family is None or family.client.id != client.id:
            raise Denied("invalid_grant", "The refresh token is unknown.")
        self.stats.presentations[name] += 1
        if name != family.refresh:
            self.stats.reuses += 1
            self._kill_reused(family)
        if not family.alive or name != family.refresh:
            raise Denied("invalid_grant", "The refresh token was used before or revoked.")
        self.stats.refreshes += 1
        return self._pair(family, now, ttl, keep="" if rotate else refresh)

    def revoke(self, client: Client, token: str) -> None:
        """Kill the pair a token belongs to; a token that is not this client's changes nothing (RFC 7009)."""
        name = digest(token)
        family = self._by_access.get(name) or self._by_refresh.get(name)
        if family is not None and family.client.id == client.id and name in {family.access, family.refresh}:
            self.end(family)

    def end(self, family: Family) -> None:
        """The client or the person has had enough."""
        if family.alive:
            family.alive = False
            self.stats.revocations += 1

    def expire(self) -> None:
        """The time of every access token is over."""
        for family in self._by_access.values():
            family.expires_at = 0

    def connected(self, person: Person) -> list[Family]:
        """What a person has connected and not removed."""
        return [family for family in self._by_access.values() if family.alive and family.person is person]

    def bearer(self, token: str, now: float) -> Family | None:
        """Whom an access token stands for, if it is good now."""
        family = self._by_access.get(digest(token))
        return family if family is not None and family.alive and now < family.expires_at else None

    def _pair(self, family: Family, now: float, ttl: int, *, keep: str = "") -> Tokens:
        access, refresh = token_hex(32), keep or token_hex(32)
        self._by_access.pop(family.access, None)
        family.access, family.refresh, family.expires_at = digest(access), digest(refresh), now + ttl
        self._by_access[family.access] = self._by_refresh[family.refresh] = family
        return Tokens(access, refresh, family)

    def _kill_reused(self, family: Family) -> None:
        if family.alive and family.access:
            self.stats.families_revoked += 1
        family.alive = False


def challenge_of(verifier: str) -> str:
    """RFC 7636 S256."""
    return urlsafe_b64encode(sha256(verifier.encode()).digest()).rstrip(b"=").decode()
