"""What a program adds to the Python SDK's OAuth, either line: a browser, a listener for the answer, and a memory."""
# mypy: ignore-errors
# Runs in virtualenvs of its own, where mcp is another version than where types are checked.

import asyncio
import webbrowser
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from mcp.client.auth import OAuthClientProvider
from mcp.shared.auth import OAuthClientInformationFull, OAuthClientMetadata, OAuthToken


class Memory:
    """Keeps the registration and the tokens as long as the program runs."""

    def __init__(self) -> None:
        self._tokens = self._client = None

    async def get_tokens(self) -> OAuthToken | None:
        return self._tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self._tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self._client

    async def set_client_info(self, client: OAuthClientInformationFull) -> None:
        self._client = client


class _Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.answer = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"Back to the client.")

    def log_message(self, *_: object) -> None:
        pass


def signing_in(url: str, answered: Callable[..., Any]) -> OAuthClientProvider:
    """The SDK's provider for `url`; `answered` makes of code, state and issuer what this version of it wants."""
    listener = HTTPServer(("127.0.0.1", 0), _Page)
    listener.answer = {}

    async def redirect(to: str) -> None:
        await asyncio.to_thread(webbrowser.open, to)

    async def callback() -> Any:
        while "code" not in listener.answer:
            await asyncio.to_thread(listener.handle_request)
        return answered(*(listener.answer.get(name) for name in ("code", "state", "iss")))

    metadata = OAuthClientMetadata(
        client_name="Python SDK",
        redirect_uris=[f"http://127.0.0.1:{listener.server_port}/callback"],
        token_endpoint_auth_method="none",
    )
    return OAuthClientProvider(url, metadata, Memory(), redirect, callback)
