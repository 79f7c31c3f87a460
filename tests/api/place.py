"""A tenant with a person of each role and a key of each, called through Django without a server."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from django.test import Client

from audit.models import AuditEvent
from metaagent.api.document import document
from providers import services as providers
from providers.models import Installation
from tenants import services as tenants
from tenants.models import Membership, Role, Tenant, User
from vault.models import Approval, Connection, Consent, TenantKey
from vault.services import setup

PROBLEM = "application/problem+json"
_http = Client(SERVER_NAME="127.0.0.1", raise_request_exception=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered."""

    status: int
    headers: Any
    content: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.content)

    @property
    def problem(self) -> str:
        """The code of a problem."""
        assert self.headers["content-type"] == PROBLEM, self.content
        assert self.json["status"] == self.status
        return str(self.json["type"]).removeprefix("urn:metaagent:problem:")


@dataclass
class Place:
    """Nobody else's tenant."""

    tenant: Tenant = field(init=False)
    keys: dict[str, str] = field(init=False, repr=False)
    members: dict[str, Membership] = field(init=False)

    def __post_init__(self) -> None:
        self.tenant = tenants.create_tenant(slug=f"t-{secrets.token_hex(6)}", name="Place", by=None)
        self.keys, self.members = {}, {}
        for role in Role:
            self.join(role)

    def join(self, role: str, name: str = "") -> Membership:
        """A further person, with a key named after them."""
        user = tenants.create_user(email=f"{role}-{secrets.token_hex(6)}@example.com", password=None)
        member = tenants.add_member(tenant=self.tenant, user=user, role=role, by=None)
        _, key = tenants.create_client_key(membership=member, name="test", now=datetime.now(UTC), by=None)
        self.keys[name or role], self.members[name or role] = key, member
        return member

    def user(self, who: str) -> User:
        return self.members[who].user

    def call(self, method: str, path: str = "", body: Any = None, *, who: str = "owner", **headers: str) -> Answer:
        """`path` is below the tenant; one that begins with a slash is whole."""
        url = path if path.startswith("/") else f"/api/v1/tenants/{self.tenant.slug}/{path}"
        given = {"Authorization": f"Bearer {self.keys.get(who, who)}"} if who else {}
        given |= {name.replace("_", "-"): said for name, said in headers.items()}
        kind = "" if body is None else "application/json"
        found = _http.generic(method, url, "" if body is None else json.dumps(body), kind, headers=given)
        return Answer(found.status_code, found.headers, found.content)

    def get(self, path: str = "", **options: Any) -> Answer:
        return self.call("GET", path, **options)

    def post(self, path: str, body: Any = None, **options: Any) -> Answer:
        return self.call("POST", path, body, **options)

    def patch(self, path: str, body: Any, **options: Any) -> Answer:
        return self.call("PATCH", path, body, **options)

    def delete(self, path: str, **options: Any) -> Answer:
        return self.call("DELETE", path, **options)

    def events(self, kind: str = "") -> list[AuditEvent]:
        """What was recorded here, the oldest first."""
        rows = AuditEvent.objects.filter(tenant_id=self.tenant.pk, **({"kind": kind} if kind else {}))
        return list(rows.order_by("seq"))

    # --- What there is

    def install(self, slug: str = "sentry") -> Installation:
        row = providers.drafted(tenant=self.tenant, slug=slug, client_id="abc")
        return providers.store(row=row, by=None)

    def document(self) -> Installation:
        """A provider of an OpenAPI document of two operations."""
        wish = setup.Wish(source="openapi", document=json.dumps(LIBRARY).encode(), access="key")
        return setup.set_up(tenant=self.tenant, slug="library", wish=wish, by=None, now=datetime.now(UTC)).row

    def connection(self, who: str, row: Installation, account: str = "1") -> Connection:
        """A connection without tokens."""
        return Connection.objects.create(
            tenant=self.tenant,
            installation=row,
            owner=self.user(who),
            account_id=f"https://example.com {account}",
            account_label=f"{who}@example.com",
            connected_at=datetime.now(UTC),
        )

    def asked(self, kind: type[Any], connection: Connection, **more: Any) -> Any:
        """A consent or an approval of a connection's owner, open."""
        now = datetime.now(UTC)
        sealed = {}
        if kind is Approval:
            key, _ = TenantKey.objects.get_or_create(tenant=self.tenant, state="active")
            sealed = {"call": "c", "key": key, "sealed": b"s", "once": "o"}
        return kind.objects.create(
            tenant=self.tenant,
            user=connection.owner,
            connection=connection,
            client="key:1",
            effect="write",
            asked_at=now,
            answer_until=now.replace(year=now.year + 1),
            **sealed,
            **more,
        )

    def consent(self, connection: Connection) -> Consent:
        """A consent that stands."""
        now = datetime.now(UTC)
        found: Consent = self.asked(Consent, connection, given_at=now, expires_at=now.replace(year=now.year + 1))
        return found


LIBRARY = {
    "openapi": "3.1.0",
    "info": {"title": "Library", "version": "1"},
    "servers": [{"url": "https://library.example.com"}],
    "paths": {
        "/books": {
            "get": {"operationId": "listBooks", "summary": "List books", "responses": {"200": {"description": "ok"}}},
            "post": {"operationId": "addBook", "summary": "Add a book", "responses": {"200": {"description": "ok"}}},
        }
    },
}


@lru_cache
def operations() -> list[tuple[str, str, dict[str, Any]]]:
    """Every operation of the document: method, path, and what is said of it."""
    return [
        (method.upper(), path, said)
        for path, methods in document()["paths"].items()
        for method, said in methods.items()
    ]
