"""MCP servers made of the official SDK: one with OAuth accounts, one with keys, one for everybody; and liars."""

# ruff: noqa: ARG002 - the signatures are those of the SDK

from __future__ import annotations

import gzip
import json
import secrets
import time
from typing import Any

from mcp.server import MCPServer
from mcp.server.auth.provider import (
    AccessToken,
    AuthorizationCode,
    AuthorizationParams,
    RefreshToken,
    construct_redirect_uri,
)
from mcp.server.auth.settings import AuthSettings, ClientRegistrationOptions, RevocationOptions
from mcp.shared.auth import OAuthClientInformationFull, OAuthToken
from mcp.types import ToolAnnotations
from pydantic import AnyHttpUrl
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

KEY = "sk-demo-0123456789-secret"


class Authority:
    """Keeps what the SDK's authorization server issues; it lets everybody in, with what they ask for."""

    def __init__(self, issuer: str) -> None:
        self.issuer = issuer
        self.clients: dict[str, OAuthClientInformationFull] = {}
        self.codes: dict[str, AuthorizationCode] = {}
        self.access: dict[str, AccessToken] = {}
        self.renewals: dict[str, RefreshToken] = {}
        self.asked: list[AuthorizationParams] = []
        self.iss: str | None = issuer
        """What its answers say of themselves."""

    async def get_client(self, client_id: str) -> OAuthClientInformationFull | None:
        return self.clients.get(client_id)

    async def register_client(self, client_info: OAuthClientInformationFull) -> None:
        self.clients[client_info.client_id or ""] = client_info

    async def authorize(self, client: OAuthClientInformationFull, params: AuthorizationParams) -> str:
        self.asked.append(params)
        code = AuthorizationCode(
            code=secrets.token_urlsafe(24),
            client_id=client.client_id or "",
            scopes=params.scopes or [],
            expires_at=time.time() + 60,
            **params.model_dump(
                include={"code_challenge", "redirect_uri", "redirect_uri_provided_explicitly", "resource"}
            ),
        )
        self.codes[code.code] = code
        return construct_redirect_uri(str(params.redirect_uri), code=code.code, state=params.state, iss=self.iss)

    async def load_authorization_code(
        self, client: OAuthClientInformationFull, authorization_code: str
    ) -> AuthorizationCode | None:
        return self.codes.get(authorization_code)

    async def exchange_authorization_code(
        self, client: OAuthClientInformationFull, authorization_code: AuthorizationCode
    ) -> OAuthToken:
        del self.codes[authorization_code.code]
        return self._issued(client, authorization_code.scopes, authorization_code.resource)

    async def load_refresh_token(self, client: OAuthClientInformationFull, refresh_token: str) -> RefreshToken | None:
        return self.renewals.get(refresh_token)

    async def exchange_refresh_token(
        self, client: OAuthClientInformationFull, refresh_token: RefreshToken, scopes: list[str]
    ) -> OAuthToken:
        del self.renewals[refresh_token.token]
        return self._issued(client, refresh_token.scopes, refresh_token.resource)

    async def load_access_token(self, token: str) -> AccessToken | None:
        return self.access.get(token)

    async def revoke_token(self, token: AccessToken | RefreshToken) -> None:
        self.access.pop(token.token, None)
        self.renewals.pop(token.token, None)

    async def exchange_identity_assertion(self, client: Any, params: Any) -> OAuthToken:
        raise NotImplementedError

    def _issued(self, client: OAuthClientInformationFull, scopes: list[str], resource: str | None) -> OAuthToken:
        access, renewal = f"at-{secrets.token_urlsafe(24)}", f"rt-{secrets.token_urlsafe(24)}"
        about: dict[str, Any] = {"client_id": client.client_id or "", "scopes": scopes, "resource": resource}
        self.access[access] = AccessToken(token=access, expires_at=int(time.time()) + 600, **about)
        self.renewals[renewal] = RefreshToken(token=renewal, **about)
        return OAuthToken(
            access_token=access, refresh_token=renewal, expires_in=600, token_type="Bearer", scope=" ".join(scopes)
        )


def _tools(server: MCPServer) -> MCPServer:
    @server.tool(annotations=ToolAnnotations(read_only_hint=True))
    def latest_notes() -> str:
        """List the latest notes."""
        return "Two notes: buy milk; call Ann."

    @server.tool()
    def publish_note(text: str) -> str:
        """Publish a note for everybody."""
        return f"Published: {text}"

    return server


class Site:
    """One host: `/mcp` takes OAuth tokens, `/open/mcp` nothing, `/keyed/mcp` a key; `/lies/…` cannot be believed."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.authority = Authority(f"{url}/")
        auth = AuthSettings(
            issuer_url=AnyHttpUrl(url),
            resource_server_url=AnyHttpUrl(f"{url}/mcp"),
            required_scopes=["notes:read"],
            validate_token_resource=True,
            client_registration_options=ClientRegistrationOptions(
                enabled=True, default_scopes=["notes:read", "notes:write"]
            ),
            revocation_options=RevocationOptions(enabled=True),
        )
        protected = _tools(MCPServer("notes", auth=auth, auth_server_provider=self.authority))
        self._protected = protected.streamable_http_app()
        self._open = _tools(MCPServer("open")).streamable_http_app(
            streamable_http_path="/open/mcp", stateless_http=True
        )
        self._keyed = _tools(MCPServer("keyed")).streamable_http_app(
            streamable_http_path="/keyed/mcp", stateless_http=True
        )
        self._lies = Starlette(routes=[Route("/lies/{what}/{rest:path}", self._lie, methods=["GET", "POST"])])
        self.headers: list[dict[str, str]] = []
        """Of every request, the last ones last."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
            return
        path, headers = scope["path"], {name.decode(): said.decode() for name, said in scope["headers"]}
        self.headers.append(headers)
        if path.startswith("/lies/"):
            await self._lies(scope, receive, send)
        elif path.startswith("/open/"):
            await self._open(scope, receive, send)
        elif path.startswith("/keyed/"):
            app = self._keyed if headers.get("x-api-key") == KEY else Response(status_code=401)
            await app(scope, receive, send)
        elif path == "/mcp" and scope["method"] == "POST":
            await self._stepped_up(scope, receive, send)
        else:
            await self._protected(scope, receive, send)

    async def _lifespan(self, scope: Any, receive: Any, send: Any) -> None:
        """Of all three: each has a session manager that its lifespan starts."""
        async with (
            self._protected.router.lifespan_context(self._protected),
            self._open.router.lifespan_context(self._open),
            self._keyed.router.lifespan_context(self._keyed),
        ):
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})

    async def _stepped_up(self, scope: Any, receive: Any, send: Any) -> None:
        """Publishing needs a scope of its own (RFC 6750 section 3.1)."""
        body = await Request(scope, receive).body()
        asked = json.loads(body or b"{}")
        token = self.authority.access.get(dict(Request(scope).headers).get("authorization", "").removeprefix("Bearer "))
        publishes = asked.get("method") == "tools/call" and asked["params"]["name"] == "publish_note"
        if publishes and token is not None and "notes:write" not in token.scopes:
            challenge = 'Bearer error="insufficient_scope", scope="notes:write"'
            await Response(status_code=403, headers={"WWW-Authenticate": challenge})(scope, receive, send)
            return
        parts = iter([{"type": "http.request", "body": body, "more_body": False}])

        async def again() -> Any:
            return next(parts, None) or await receive()

        await self._protected(scope, again, send)

    async def _lie(self, request: Request) -> Response:
        what, rest = request.path_params["what"], request.path_params["rest"]
        here = f"{self.url}/lies/{what}"
        if rest == "mcp":
            where = "https://169.254.169.254/latest" if what == "inside" else f"{here}/resource"
            return Response(status_code=401, headers={"WWW-Authenticate": f'Bearer resource_metadata="{where}"'})
        match what, rest:
            case "moved", _:
                return RedirectResponse(f"{self.url}/.well-known/oauth-protected-resource/mcp", 307)
            case "large", _:
                return JSONResponse({"resource": f"{here}/mcp", "padding": "x" * 70_000})
            case "bomb", _:
                packed = gzip.compress(b" " * 2_000_000)
                return Response(packed, headers={"content-encoding": "gzip"}, media_type="application/json")
            case "other", _:
                return JSONResponse({"resource": f"{self.url}/mcp", "authorization_servers": [self.url]})
            case "issuer", _:
                return JSONResponse({"resource": f"{here}/mcp", "authorization_servers": [self.url]})
            case _:
                return Response(status_code=404)
