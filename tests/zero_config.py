"""The official client with its own OAuth, given a URL and nothing else, and a person at the browser it opens."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
from mcp import Client
from mcp.client.auth import OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientInformationFull, OAuthClientMetadata, OAuthToken
from pydantic import AnyUrl

from metaagent.visitor import Visitor
from tests.world import TLS, World, aside

REDIRECT = "http://127.0.0.1:3000/callback"
"""Nobody has to listen there: the visitor stops before it."""


@dataclass
class Newcomer:
    """A client that nobody here has heard of."""

    world: World
    document: str | None = None
    """Where its Client ID Metadata Document is, if it has one."""
    let_in: int = 0
    """How often the person was asked, and pressed “Allow”."""
    tokens: OAuthToken | None = None
    registered: OAuthClientInformationFull | None = None

    @asynccontextmanager
    async def client(self, **options: Any) -> AsyncIterator[Client]:
        """Connected, which is when it signs in unless it has tokens."""
        metadata = OAuthClientMetadata(
            client_name="Newcomer", redirect_uris=[AnyUrl(REDIRECT)], token_endpoint_auth_method="none"
        )
        auth = OAuthClientProvider(self.world.endpoint, metadata, self, self._open, self._answered, self.document)
        async with (
            httpx2.AsyncClient(auth=auth, timeout=60, trust_env=False, verify=TLS) as http,
            Client(streamable_http_client(self.world.endpoint, http_client=http), **options) as client,
        ):
            yield client

    async def connect(self, link: str) -> None:
        """The person follows a link the client was given, to the end."""

        def follow() -> None:
            with Visitor() as visitor:
                self.world.begin(visitor, link)
                self.world.approve(visitor)
                assert visitor.page.status_code == 200, visitor.page.text

        await aside(follow)

    async def _open(self, url: str) -> None:
        def allow() -> str:
            with Visitor(stops_at=REDIRECT) as visitor:
                visitor.open(url)
                self.world.log_in(visitor)
                visitor.send(visitor.form_with("answer"), answer="allow")
                return visitor.page.headers["location"]

        back = parse_qs(urlsplit(await aside(allow)).query)
        self._answer = AuthorizationCodeResult(code=back["code"][0], state=back["state"][0], iss=back["iss"][0])
        self.let_in += 1

    async def _answered(self) -> AuthorizationCodeResult:
        return self._answer

    # --- what it keeps

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self.registered

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self.registered = client_info
