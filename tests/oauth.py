"""An MCP client's half of OAuth, step by step, so that a test can take each one wrongly."""

from __future__ import annotations

import base64
import hashlib
import secrets
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx2

from metaagent.visitor import Visitor
from tests.world import Person, World

REDIRECT = "https://client.example/callback"


@dataclass
class OAuthClient:
    """A client that registered itself, with what it was given."""

    world: World
    redirect_uri: str = REDIRECT
    client_id: str = ""
    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(48))
    state: str = field(default_factory=lambda: secrets.token_urlsafe(16))

    def register(self, **metadata: Any) -> httpx2.Response:
        """RFC 7591; remembers the client id when it is given one."""
        body = {
            "client_name": "A test",
            "redirect_uris": [self.redirect_uri],
            "token_endpoint_auth_method": "none",
            **metadata,
        }
        with self.world.product.http as http:
            answer = http.post("/o/register/", json=body)
        if answer.status_code == 201:
            self.client_id = answer.json()["client_id"]
        return answer

    def authorize_url(self, **changes: str | list[str] | None) -> str:
        """Where a person is sent; a parameter that is None is left out."""
        challenge = hashlib.sha256(self.verifier.encode()).digest()
        asked = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": self.redirect_uri,
            "scope": "mcp",
            "state": self.state,
            "code_challenge": base64.urlsafe_b64encode(challenge).decode().rstrip("="),
            "code_challenge_method": "S256",
            "resource": self.world.endpoint,
            **changes,
        }
        given = {name: value for name, value in asked.items() if value is not None}
        return f"{self.world.product.url}/o/authorize/?{urlencode(given, doseq=True)}"

    def opened(self, visitor: Visitor, person: Person | None = None, **changes: str | list[str] | None) -> None:
        """A person opens the link and logs in where they must."""
        visitor.open(self.authorize_url(**changes))
        if "/login/" in str(visitor.page.url):
            self.world.log_in(visitor, person)

    def code(self, person: Person | None = None, **changes: str | list[str] | None) -> str:
        """The code of a person who allows what they are asked."""
        with Visitor(stops_at=self.redirect_uri) as visitor:
            self.opened(visitor, person, **changes)
            visitor.send(visitor.form_with("answer"), answer="allow")
            return self.answered(visitor)["code"]

    def answered(self, visitor: Visitor) -> dict[str, str]:
        """What a redirect to the client says. Fails when the visitor was not sent there."""
        where = visitor.page.headers["location"]
        assert where.startswith(self.redirect_uri), where
        return {name: values[0] for name, values in parse_qs(urlsplit(where).query).items()}

    def exchange(self, code: str, **changes: str | None) -> httpx2.Response:
        """A code for tokens."""
        return self.token(
            grant_type="authorization_code",
            code=code,
            redirect_uri=self.redirect_uri,
            code_verifier=self.verifier,
            **changes,
        )

    def refresh(self, refresh_token: str, **changes: str | None) -> httpx2.Response:
        """A refresh token for tokens."""
        return self.token(grant_type="refresh_token", refresh_token=refresh_token, **changes)

    def token(self, **form: str | None) -> httpx2.Response:
        """A request to the token endpoint; a field that is None is left out."""
        given = {"client_id": self.client_id, **form}
        with self.world.product.http as http:
            return http.post("/o/token/", data={name: value for name, value in given.items() if value is not None})

    def signed_in(self, person: Person | None = None, **changes: str | list[str] | None) -> dict[str, Any]:
        """Everything, as a person does it: the token answer."""
        answer = self.exchange(self.code(person, **changes))
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found
