"""A small OpenID Connect issuer: asks nobody anything, says what a test tells it to, and checks what it is asked."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

CLIENT_ID, CLIENT_SECRET = "metaagent-here", "the-secret-of-the-client"


@dataclass
class Issuer:
    """Serve it as an ASGI application; `claims` is what the next ID token says beside what every one says."""

    url: str = ""
    claims: dict[str, Any] = field(default_factory=dict)
    key: rsa.RSAPrivateKey = field(default_factory=lambda: rsa.generate_private_key(65_537, 2_048))
    signs_with: rsa.RSAPrivateKey | None = None
    """Another key than the one it publishes."""
    named: str | None = None
    """What its metadata call it, when it lies."""
    asked: list[dict[str, str]] = field(default_factory=list)
    """Authorization requests, as they came."""
    exchanged: list[dict[str, str]] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)
    """Paths."""
    _codes: dict[str, dict[str, str]] = field(default_factory=dict)

    async def __call__(self, scope: Any, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Any]) -> None:
        if scope["type"] != "http":
            return
        body = (await receive())["body"]
        query = dict(parse_qsl(scope["query_string"].decode()))
        self.seen.append(scope["path"])
        match scope["path"]:
            case "/.well-known/openid-configuration":
                status, headers, said = self._metadata()
            case "/keys":
                status, headers, said = 200, [], {"keys": [self._public()]}
            case "/authorize":
                status, headers, said = self._authorize(query)
            case "/token":
                status, headers, said = self._token(dict(parse_qsl(body.decode())))
            case _:
                status, headers, said = 404, [], {}
        headers = [(b"content-type", b"application/json"), *headers]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(said).encode()})

    def _metadata(self) -> tuple[int, list[Any], dict[str, Any]]:
        return (
            200,
            [],
            {
                "issuer": self.named or self.url,
                "authorization_endpoint": f"{self.url}/authorize",
                "token_endpoint": f"{self.url}/token",
                "userinfo_endpoint": f"{self.url}/userinfo",
                "jwks_uri": f"{self.url}/keys",
                "token_endpoint_auth_methods_supported": ["client_secret_post"],
            },
        )

    def _public(self) -> dict[str, Any]:
        public = jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
        return {**public, "kid": "one", "alg": "RS256", "use": "sig"}

    def _authorize(self, query: dict[str, str]) -> tuple[int, list[Any], dict[str, Any]]:
        self.asked.append(query)
        assert query["client_id"] == CLIENT_ID
        assert query["response_type"] == "code"
        assert "openid" in query["scope"].split()
        assert query["code_challenge_method"] == "S256"
        code = secrets.token_urlsafe(16)
        self._codes[code] = query
        onward = f"{query['redirect_uri']}?{urlencode({'code': code, 'state': query['state']})}"
        return 302, [(b"location", onward.encode())], {}

    def _token(self, form: dict[str, str]) -> tuple[int, list[Any], dict[str, Any]]:
        self.exchanged.append(form)
        query = self._codes.pop(form["code"], None)
        challenge = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        if (
            query is None
            or base64.urlsafe_b64encode(challenge).rstrip(b"=").decode() != query["code_challenge"]
            or (form["client_id"], form["client_secret"]) != (CLIENT_ID, CLIENT_SECRET)
            or form["redirect_uri"] != query["redirect_uri"]
        ):
            return 400, [], {"error": "invalid_grant"}
        now = int(time.time())
        said = {
            "iss": self.url,
            "aud": CLIENT_ID,
            "iat": now,
            "exp": now + 300,
            "nonce": query["nonce"],
            **({"auth_time": now} if "max_age" in query else {}),
            **self.claims,
        }
        token = jwt.encode(said, self.signs_with or self.key, algorithm="RS256", headers={"kid": "one"})
        return 200, [], {"access_token": "opaque-access-token", "token_type": "Bearer", "id_token": token}
