"""What tests act with: the product and the sandbox served, a tenant of their own, a person with browser and client."""

from __future__ import annotations

import asyncio
import secrets
import ssl
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, ParamSpec, TypeVar

import httpx2
import uvicorn
from django.db import connection
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import CallToolResult

from audit.models import AuditEvent
from metaagent.visitor import Visitor
from providers import services as providers
from providers.models import Installation
from tenants import services as tenants
from tenants.models import Tenant, User
from vault.links import callback_url
from vault.models import Connection
from vault.services import clients

P = ParamSpec("P")
T = TypeVar("T")
PASSWORD = "correct horse battery"
TLS = ssl.create_default_context()
"""Made once: each client would read all certificates anew."""


@dataclass(frozen=True, slots=True)
class Served:
    """A server that runs."""

    url: str

    @property
    def http(self) -> httpx2.Client:
        """A plain client for it."""
        return httpx2.Client(base_url=self.url, timeout=30, trust_env=False, verify=TLS)


@contextmanager
def serve(app: Any, port: int) -> Iterator[Served]:
    """Run an ASGI application in a thread."""
    config = uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error", access_log=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started:
        if not thread.is_alive() or time.monotonic() > deadline:
            raise RuntimeError("the server did not start")
        time.sleep(0.01)
    try:
        yield Served(f"http://127.0.0.1:{port}")
    finally:
        server.should_exit = True
        thread.join(20)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run the async part of a test."""
    return asyncio.run(work)


async def aside(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a sync part of a test's async one, and give its database connection back: the thread is not used again."""

    def done() -> T:
        try:
            return work(*args, **kwargs)
        finally:
            connection.close()

    return await asyncio.to_thread(done)


@dataclass
class Person:
    """A member with a password and a client key."""

    user: User
    key: str = field(repr=False)


@dataclass
class World:
    """A tenant nobody else uses."""

    product: Served
    sandbox: Served

    def __post_init__(self) -> None:
        self.tenant: Tenant = tenants.create_tenant(slug=f"t-{secrets.token_hex(6)}", name="Test tenant", by=None)
        self.me: Person = self.person()
        self.installation: Installation = self.install()

    def person(self, *, tenant: Tenant | None = None) -> Person:
        """A new member of this tenant, or of another."""
        user = tenants.create_user(email=f"{secrets.token_hex(6)}@example.com", password=PASSWORD)
        member = tenants.add_member(tenant=tenant or self.tenant, user=user, role="member", by=None)
        _, key = tenants.create_client_key(membership=member, name="test", now=datetime.now(UTC), by=None)
        return Person(user, key)

    def install(self, **changes: Any) -> Installation:
        """Sentry against the sandbox, registered there."""
        given = {"api_base": self.sandbox.url, "exposure": "soft", **changes}
        row = self._stored(client_id="none", **given)
        with self.sandbox.http as http:
            body = {"name": "metaagent", "redirect_uris": [callback_url(row.pk)]}
            client = http.post("/_clients", json=body).raise_for_status().json()
        row = self._stored(client_id=client["client_id"], **given)
        clients.set_secret(installation=row, secret=client["client_secret"])
        return row

    def _stored(self, **given: Any) -> Installation:
        return providers.store(row=providers.drafted(tenant=self.tenant, slug="sentry", **given), by=None)

    # --- the client

    @property
    def endpoint(self) -> str:
        return f"{self.product.url}/mcp/{self.tenant.slug}/sentry"

    @asynccontextmanager
    async def client(self, *, key: str | None = None, url: str | None = None, **options: Any) -> AsyncIterator[Client]:
        """The official client, with this person's key."""
        headers = {"Authorization": f"Bearer {self.me.key if key is None else key}"}
        async with httpx2.AsyncClient(headers=headers, timeout=60, trust_env=False, verify=TLS) as http:
            transport = streamable_http_client(url or self.endpoint, http_client=http)
            async with Client(transport, **options) as client:
                yield client

    def ask(
        self, prompt: str, options: dict[str, Any] | None = None, *, key: str | None = None, **arguments: Any
    ) -> CallToolResult:
        """Call use_sentry once."""
        given = {"prompt": prompt, **({"options": options} if options is not None else {}), **arguments}

        async def call() -> CallToolResult:
            async with self.client(key=key) as client:
                return await client.call_tool("use_sentry", given)

        return run(call())

    def error(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """The `error` object of an ask that must fail."""
        result = self.ask(*args, **kwargs)
        assert result.is_error, result
        found: dict[str, Any] = result.structured_content["error"]
        return found

    def call_tool(self, tool: str, **args: Any) -> CallToolResult:
        """Call one inner tool by name."""
        return self.ask(f"run {tool}", {"mode": "tool", "tool": tool, "args": args})

    def post(self, body: Any, *, path: str | None = None, headers: dict[str, str] | None = None) -> httpx2.Response:
        """A raw POST to the endpoint."""
        given = {
            "Authorization": f"Bearer {self.me.key}",
            "Accept": "application/json, text/event-stream",
            "Content-Type": "application/json",
            **(headers or {}),
        }
        with self.product.http as http:
            where = path or f"/mcp/{self.tenant.slug}/sentry"
            content = body if isinstance(body, bytes) else None
            return http.post(where, content=content, json=None if content is not None else body, headers=given)

    # --- the browser

    def log_in(self, visitor: Visitor, person: Person | None = None) -> None:
        """On the login page the visitor is at, or the front one."""
        if "/login/" not in str(visitor.page.url if visitor.page.status_code != 204 else ""):
            visitor.open(f"{self.product.url}/login/")
        visitor.send(visitor.form_with("password"), email=(person or self.me).user.email, password=PASSWORD)

    def connect_link(self, *, person: Person | None = None) -> str:
        """A link as a client is given one."""
        link: str = self.error("who am I?", key=(person or self.me).key)["connect_url"]
        return link

    def begin(self, visitor: Visitor, link: str, person: Person | None = None) -> None:
        """Open a link, log in, and go on to the provider's log-in page."""
        visitor.open(link)
        self.log_in(visitor, person)
        visitor.send(next(form for form in visitor.forms() if form.method == "post" and "logout" not in form.action))

    def approve(
        self, visitor: Visitor, *, email: str | None = None, scopes: list[str] | None = None, op: str = "approve"
    ) -> None:
        """Log in at the sandbox and decide."""
        form = visitor.form_with("password")
        visitor.send(form, **({"email": email} if email else {}))
        form = visitor.form_with("pending")
        visitor.send(form, op=op, **({"scope": scopes} if scopes is not None else {}))

    def connect(
        self, person: Person | None = None, *, email: str | None = None, scopes: list[str] | None = None
    ) -> Connection:
        """All of connecting, as a person does it."""
        with Visitor() as visitor:
            self.begin(visitor, self.connect_link(person=person), person)
            self.approve(visitor, email=email, scopes=scopes)
            assert visitor.page.status_code == 200, visitor.page.text
        owner = (person or self.me).user
        return Connection.objects.get(owner=owner, installation=self.installation, status="ready")

    def connect_another(self, email: str) -> None:
        """Connect a further account of this person, from the connections page's link."""
        with Visitor() as visitor:
            self.log_in(visitor)
            visitor.open(f"{self.product.url}/connect/sentry/?tenant={self.tenant.slug}")
            visitor.send(
                next(form for form in visitor.forms() if form.method == "post" and "logout" not in form.action)
            )
            self.approve(visitor, email=email)
            assert visitor.page.status_code == 200, visitor.page.text

    # --- what happened

    def events(self, kind: str | None = None) -> list[AuditEvent]:
        """The tenant's audit events, oldest first."""
        rows = AuditEvent.objects.filter(tenant_id=self.tenant.pk, **({"kind": kind} if kind else {}))
        return list(rows.order_by("seq"))

    def stats(self) -> dict[str, Any]:
        """What the sandbox counted."""
        with self.sandbox.http as http:
            found: dict[str, Any] = http.get("/_stats").json()
            return found

    def faults(self, **faults: Any) -> None:
        """Make the sandbox misbehave; without arguments it behaves again."""
        with self.sandbox.http as http:
            http.post("/_faults", json=faults).raise_for_status()
