"""A person with a browser and an application that wants to act for them, against one sandbox."""

from __future__ import annotations

import re
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from hashlib import sha256
from html import unescape
from typing import Any, TypeAlias
from urllib.parse import parse_qs, urlsplit

import httpx2

Json: TypeAlias = Any

ADA, BRUNO, CHIOMA = "ada@example.com", "bruno@example.com", "chioma@example.com"
READ = ("org:read", "project:read", "event:read")
REDIRECT_URI = "http://127.0.0.1:8000/oauth/callback/6f1c/"
VERIFIER = "v" * 64
CHALLENGE = urlsafe_b64encode(sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()


@dataclass
class Clock:
    """Time that passes when told to."""

    now: float

    def __call__(self) -> float:
        return self.now


@dataclass
class Visitor:
    """Browser and application in one."""

    http: httpx2.AsyncClient
    client_id: str = ""
    client_secret: str = field(default="", repr=False)

    async def register(self) -> None:
        """Make the application known to the sandbox."""
        body = {"name": "Test & <Application>", "redirect_uris": [REDIRECT_URI]}
        made = (await self.http.post("/_clients", json=body)).json()
        self.client_id, self.client_secret = made["client_id"], made["client_secret"]

    async def log_in(self, email: str = ADA, *, password: str = "sandbox", to: str = "/") -> httpx2.Response:
        form = {"email": email, "password": password, "next": to}
        return await self.http.post("/auth/login/", data=form)

    async def ask(self, **changed: str) -> httpx2.Response:
        """Open the consent page; an empty value leaves a parameter out."""
        asked = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": REDIRECT_URI,
            "scope": " ".join(READ),
            "state": "s-1",
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
        } | changed
        params = {name: value for name, value in asked.items() if value}
        return await self.http.get("/oauth/authorize/", params=params)

    async def decide(
        self, page: httpx2.Response, *, op: str = "approve", untick: tuple[str, ...] = (), origin: str | None = None
    ) -> httpx2.Response:
        """Press a button of the consent page."""
        pending = re.search(r'name="pending" value="([^"]+)"', page.text)
        assert pending, page.text
        offered = [unescape(scope) for scope in re.findall(r'name="scope" value="([^"]+)"', page.text)]
        form = {"pending": pending[1], "op": op, "scope": [scope for scope in offered if scope not in untick]}
        return await self.http.post("/oauth/authorize/", data=form, headers={"Origin": origin} if origin else {})

    async def code(self, email: str = ADA, *, scopes: tuple[str, ...] = READ, untick: tuple[str, ...] = ()) -> str:
        """Log in, agree, and take the code from where the browser was sent."""
        await self.log_in(email)
        answer = await self.decide(await self.ask(scope=" ".join(scopes)), untick=untick)
        return sent_back(answer)["code"]

    async def token(self, **fields: str) -> httpx2.Response:
        """A request to the token endpoint."""
        form = {"client_id": self.client_id, "client_secret": self.client_secret} | fields
        return await self.http.post("/oauth/token/", data=form)

    async def exchange(self, code: str, **changed: str) -> httpx2.Response:
        fields = {"code": code, "redirect_uri": REDIRECT_URI, "code_verifier": VERIFIER} | changed
        return await self.token(grant_type="authorization_code", **fields)

    async def refresh(self, tokens: dict[str, Any], **changed: str) -> httpx2.Response:
        fields = {"refresh_token": str(tokens["refresh_token"])} | changed
        return await self.token(grant_type="refresh_token", **fields)

    async def connect(
        self, email: str = ADA, *, scopes: tuple[str, ...] = READ, untick: tuple[str, ...] = ()
    ) -> dict[str, Any]:
        """The whole way to a pair of tokens."""
        answer = await self.exchange(await self.code(email, scopes=scopes, untick=untick))
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def api(self, tokens: dict[str, Any], path: str, **params: Json) -> httpx2.Response:
        """Read something of the API. `path` goes after `/api/0/`."""
        bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
        return await self.http.get(f"/api/0/{path}", params=params, headers=bearer)

    async def write(self, tokens: dict[str, Any], method: str, path: str, body: Json) -> httpx2.Response:
        bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
        return await self.http.request(method, f"/api/0/{path}", json=body, headers=bearer)

    async def stats(self) -> dict[str, Any]:
        return dict((await self.http.get("/_stats")).json())

    async def faults(self, **faults: Json) -> None:
        answer = await self.http.post("/_faults", json=faults)
        assert answer.status_code == 200, answer.text


def sent_back(answer: httpx2.Response) -> dict[str, str]:
    """The parameters the browser takes back to the application."""
    assert answer.status_code == 303, answer.text
    location = answer.headers["location"]
    assert location.startswith(REDIRECT_URI + "?")
    return {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}
