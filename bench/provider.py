"""The sandbox as a provider that is spoken to directly: a token of its own, and its API without the product."""

from __future__ import annotations

import json
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from http import HTTPStatus
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx2

from metaagent.visitor import Visitor
from providers.errors import BadArguments, NotFound
from providers.spec import Json, Reply, Request

EMAIL = "ada@example.com"
_BACK = "http://127.0.0.1:9/back"
"""Nobody listens there: the person's way back is read off the redirect."""
_SCOPES = "org:read project:read event:read"


def token(sandbox: str) -> str:
    """An access token of one person, by the whole of the sandbox's OAuth flow."""
    verifier, client = secrets.token_urlsafe(48), {"name": "bench", "redirect_uris": [_BACK]}
    challenge = urlsafe_b64encode(sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    with Visitor(stops_at=_BACK) as person:
        registered = person.http.post(f"{sandbox}/_clients", json=client).raise_for_status().json()
        asked = {
            "client_id": registered["client_id"],
            "redirect_uri": _BACK,
            "response_type": "code",
            "scope": _SCOPES,
            "state": "none",
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        person.open(f"{sandbox}/oauth/authorize/?{urlencode(asked)}")
        person.send(person.form_with("password"), email=EMAIL)
        person.send(person.form_with("pending"), op="approve")
        [code] = parse_qs(urlsplit(person.page.headers["location"]).query)["code"]
        given = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": _BACK,
            "code_verifier": verifier,
            "client_id": registered["client_id"],
            "client_secret": registered["client_secret"],
        }
        answer = person.http.post(f"{sandbox}/oauth/token/", data=given).raise_for_status()
    found: str = answer.json()["access_token"]
    return found


@dataclass(slots=True)
class Direct:
    """`providers.spec.Api` without limits, retries or guards, that remembers what it was asked for."""

    web_base: str
    http: httpx2.AsyncClient = field(repr=False)
    waves: list[list[str]] = field(default_factory=list)
    """The addresses asked for, those that were under way at the same time together."""
    _under_way: int = 0

    @property
    def session(self) -> MutableMapping[str, Json]:
        """See `providers.spec.Api.session`. Nothing is kept."""
        return {}

    async def request(self, request: Request) -> Reply:
        """See `providers.spec.Api.request`. No tool measured here sends one."""
        raise NotImplementedError(request.path)

    async def get(self, path: str, params: Mapping[str, Json] | None = None) -> Reply:
        """See `providers.spec.Api.get`. Raises: NotFound, BadArguments."""
        if not self._under_way:
            self.waves.append([])
        self._under_way += 1
        try:
            answer = await self.http.get(path, params=dict(params or {}))
        finally:
            self._under_way -= 1
        self.waves[-1].append(answer.request.url.raw_path.decode())
        if answer.status_code == HTTPStatus.NOT_FOUND:
            raise NotFound("The sandbox has no such thing.")
        if answer.status_code == HTTPStatus.BAD_REQUEST:
            raise BadArguments("The sandbox does not accept this.")
        answer.raise_for_status()
        return Reply(answer.status_code, dict(answer.headers), answer.content, json.loads(answer.content))

    async def send(self, method: str, path: str, body: Json = None) -> Reply:
        """Nothing here changes anything."""
        raise NotImplementedError(method, path, body)


@contextmanager
def directly(sandbox: str, bearer: str) -> Iterator[Direct]:
    """The sandbox's API with this token."""
    headers = {"Authorization": f"Bearer {bearer}", "Accept": "application/json"}
    yield Direct(sandbox, httpx2.AsyncClient(base_url=sandbox, headers=headers, timeout=30, trust_env=False))
