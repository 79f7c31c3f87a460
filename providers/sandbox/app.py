"""The sandbox put together: one ASGI application, all state in memory, served on the loopback address only."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from secrets import token_hex
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from providers.sandbox import web
from providers.sandbox.api import Api
from providers.sandbox.faults import Faults, Stats, Steering
from providers.sandbox.grants import Client, Grants
from providers.sandbox.oauth import OAuth
from providers.sandbox.pages import trouble
from providers.sandbox.records import generate
from providers.sandbox.web import Web
from providers.sandbox.wire import Unreadable, from_elsewhere, read_json

HOST = "127.0.0.1"
PORT = 8100
_WHOLE = re.compile(r"https?://[^/\s#?]+(/[^\s#]*)?")


class PortTaken(Exception):
    """Something else listens on the port; the message says so in one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxOptions:
    """How a sandbox starts."""

    seed: int = 1
    """Another seed is another made-up world."""
    now: datetime | None = None
    """When the world ends; the present when None."""
    clients: tuple[Client, ...] = ()
    """Applications known from the start; others register at `/_clients`."""
    faults: Faults = field(default_factory=Faults)
    clock: Callable[[], float] = time.time
    """Seconds since 1970, for the lifetimes of codes and tokens."""


def create_app(options: SandboxOptions | None = None) -> Starlette:
    """A sandbox with a world of its own."""
    options = options or SandboxOptions()
    world = generate(options.seed, options.now or datetime.now(UTC))
    steering = Steering(options.faults)
    grants = Grants(steering)
    for client in options.clients:
        grants.register(client)
    pages = Web(world, grants)
    app = Starlette(
        routes=[
            *Api(world, grants, steering, options.clock).routes(),
            *OAuth(world, grants, steering, pages, options.clock).routes(),
            *pages.routes(),
            *Control(grants, steering).routes(),
        ],
        # A page that makes its own name resolve to 127.0.0.1 must not reach the sandbox.
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])],
        exception_handlers={HTTPException: _http_trouble, Unreadable: _unreadable},
    )
    app.router.redirect_slashes = False  # Sentry answers 404
    return app


class Control:
    """What a test or a script steers the sandbox by. The page of another site cannot."""

    def __init__(self, grants: Grants, steering: Steering) -> None:
        self._grants = grants
        self._steering = steering

    def routes(self) -> list[Route]:
        """Its part of the URL space."""
        return [
            Route("/_stats", self.stats),
            Route("/_reset", self.reset, methods=["POST"]),
            Route("/_expire", self.expire, methods=["POST"]),
            Route("/_faults", self.faults, methods=["GET", "POST"]),
            Route("/_clients", self.clients, methods=["POST"]),
        ]

    async def stats(self, _: Request) -> Response:
        """What was counted."""
        return JSONResponse(self._steering.stats.as_json())

    async def reset(self, request: Request) -> Response:
        """Count from zero."""
        if from_elsewhere(request):
            return web.not_from_here()
        self._steering.stats = Stats()
        return Response(status_code=204)

    async def expire(self, request: Request) -> Response:
        """Every access token given out so far is over its time."""
        if from_elsewhere(request):
            return web.not_from_here()
        self._grants.expire()
        return Response(status_code=204)

    async def faults(self, request: Request) -> Response:
        """The faults in force; `POST` replaces those of the start by the ones given."""
        if from_elsewhere(request):
            return web.not_from_here()
        if request.method == "POST":
            try:
                self._steering.faults = self._steering.start.changed(await read_json(request))
            except ValueError as wrong:
                return JSONResponse({"detail": str(wrong)}, 400)
        return JSONResponse(asdict(self._steering.faults))

    async def clients(self, request: Request) -> Response:
        """Register an application."""
        if from_elsewhere(request):
            return web.not_from_here()
        try:
            client = self._grants.register(_client(await read_json(request)))
        except ValueError as wrong:
            return JSONResponse({"detail": str(wrong)}, 400)
        body = {"client_id": client.id, "client_secret": client.secret, "redirect_uris": client.redirect_uris}
        return JSONResponse(body | {"name": client.name}, 201)


def _client(body: dict[str, Any]) -> Client:
    """The client a registration describes. Raises: `ValueError` with one sentence."""
    name, uris = body.get("name"), body.get("redirect_uris")
    if not isinstance(name, str) or not name.strip():
        raise ValueError("name must be a text.")
    if not isinstance(uris, list) or not uris:
        raise ValueError("redirect_uris must be a list of one or more addresses.")
    return new_client(name, tuple(uris))


def new_client(name: str, redirect_uris: tuple[object, ...], *, id: str = "", secret: str = "") -> Client:  # noqa: A002 - OAuth's word
    """A client with these exact redirect URIs; id and secret are made up unless given. Raises: `ValueError`."""
    whole = tuple(uri for uri in redirect_uris if isinstance(uri, str) and _WHOLE.fullmatch(uri))
    if len(whole) != len(redirect_uris):
        raise ValueError("Each redirect URI must be a whole http or https address without a fragment.")
    return Client(id or token_hex(32), secret or token_hex(32), name, whole)


async def _http_trouble(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    if not request.url.path.startswith(("/api/", "/_", "/oauth/token", "/oauth/revoke")):
        return web.not_found() if status == 404 else trouble("Cannot do that", str(error), status=status)  # noqa: PLR2004
    if status == 404:  # noqa: PLR2004 - the code's own name
        return JSONResponse({"info": "Route not found, did you forget a trailing slash?"}, 404)
    return JSONResponse({"detail": f'Method "{request.method}" not allowed.'}, status)


async def _unreadable(_: Request, error: Exception) -> Response:
    return JSONResponse({"detail": str(error)}, 400)


def bind(port: int) -> socket.socket:
    """A listening socket on the loopback address; port 0 takes a free one. Raises: `PortTaken`."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
        listener.listen(2048)
    except OSError as taken:
        listener.close()
        raise PortTaken(
            f"Port {port} on {HOST} cannot be used ({taken.strerror}). Stop what uses it or choose another."
        ) from None
    return listener


def address(listener: socket.socket) -> str:
    """The URL a bound socket is reached at."""
    return f"http://{HOST}:{listener.getsockname()[1]}"


def server(options: SandboxOptions) -> uvicorn.Server:
    """The server, not yet running. It logs no requests: their queries hold codes and states."""
    config = uvicorn.Config(
        create_app(options), log_level="warning", access_log=False, lifespan="off", timeout_graceful_shutdown=1
    )
    return uvicorn.Server(config)


@contextmanager
def serving(options: SandboxOptions | None = None) -> Iterator[str]:
    """A sandbox in a thread of this process, on a free port; gives its URL."""
    listener = bind(0)
    running = server(options or SandboxOptions())
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield address(listener)
    finally:
        running.should_exit = True
        thread.join(10)
        listener.close()
