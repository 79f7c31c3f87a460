"""Accounts whose API has an address of its own: the token answer names it, and their tokens go nowhere else."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from metaagent.visitor import Visitor
from providers.errors import Unavailable
from providers.models import Installation
from tenants.services import Refused
from tests.vault.test_access import expire
from tests.vault.test_refresh import refused
from tests.world import World, serve
from vault.crypto import Unreadable
from vault.models import Connection, SealedTokenSet
from vault.services import access, import_
from vault.services.sealed import fields_of, open_token

HERE = f"http://127.0.0.1:{os.environ['TEST_OTHER_PORT']}"
EUROPE = "https://eu.crm.example"


class Front:
    """Stands before the sandbox and says with every token that the account's API is `base`."""

    def __init__(self, sandbox: str) -> None:
        self.base: Any = HERE
        self.paths: list[str] = []
        self._sandbox = sandbox
        self.app = Starlette(routes=[Route("/{path:path}", self._pass_on, methods=["GET", "POST"])])

    async def _pass_on(self, request: Request) -> Response:
        self.paths.append(request.url.path)
        headers = {name: request.headers[name] for name in ("authorization", "content-type") if name in request.headers}
        body = await request.body()
        async with httpx2.AsyncClient(base_url=self._sandbox, trust_env=False) as http:
            reply = await http.request(request.method, request.url.path, headers=headers, content=body)
        content = reply.content
        if request.url.path == "/oauth/token/" and reply.status_code == 200:
            said = {**reply.json(), **({"instance_url": self.base} if self.base is not None else {})}
            content = json.dumps(said).encode()
        return Response(content, reply.status_code, media_type=reply.headers["content-type"])


@pytest.fixture
def front(world: World) -> Iterator[Front]:
    front = Front(world.sandbox.url)
    facts = {
        "token_url": f"{HERE}/oauth/token/",
        "api_base_path": ["instance_url"],
        "api_base_hosts": ["crm.example"],
    }
    world.installation = world.install(overrides=facts)
    with serve(front.app, int(os.environ["TEST_OTHER_PORT"])):
        yield front


def opens(connection: Connection) -> bool:
    row = SealedTokenSet.objects.select_related("connection").get(connection=connection)
    return all(open_token(row.connection, row, field) for field in fields_of(row))


def test_calls_go_to_the_account_s_own_address(world: World, front: Front) -> None:
    connection = world.connect()
    assert connection.api_base == HERE
    assert opens(connection)
    assert not world.call_tool("who_am_i").is_error
    assert [path for path in front.paths if path.startswith("/api/0/")]


@pytest.mark.parametrize("elsewhere", [EUROPE, ""])
def test_an_address_that_somebody_changed_opens_nothing(world: World, front: Front, elsewhere: str) -> None:
    connection = world.connect()
    Connection.objects.filter(pk=connection.pk).update(api_base=elsewhere)
    with pytest.raises(Unreadable):
        opens(connection)
    refused(world, "altered")
    assert not [path for path in front.paths if path.startswith("/api/0/organizations")]


def test_a_refresh_may_move_the_account_and_its_tokens_move_with_it(world: World, front: Front) -> None:
    connection = world.connect()
    for base, stored in ((None, HERE), (EUROPE, EUROPE), (None, EUROPE)):
        front.base = base
        expire(connection)
        assert access.access(connection.pk).open().reveal()
        connection.refresh_from_db()
        assert connection.api_base == stored
        assert opens(connection)


def test_a_refresh_does_not_move_the_account_away_from_the_provider(world: World, front: Front) -> None:
    connection = world.connect()
    expire(connection)
    front.base = "https://crm.example.evil.example"
    with pytest.raises(Unavailable):
        access.access(connection.pk)
    [failed] = world.events("token.refresh.failed")
    assert failed.detail["code"] == "wrong_api_base"
    connection.refresh_from_db()
    assert (connection.api_base, connection.tokens.version, connection.tokens.attempts) == (HERE, 1, 1)


@pytest.mark.parametrize("base", [None, "https://evil.example"])
def test_an_account_whose_address_is_not_known_is_not_connected(world: World, front: Front, base: str | None) -> None:
    front.base = base
    with Visitor() as visitor:
        world.begin(visitor, world.connect_link())
        world.approve(visitor)
        assert visitor.page.status_code != 200
    assert not Connection.objects.filter(tenant=world.tenant).exists()
    [failed] = world.events("connect.exchange.failed")
    assert failed.detail["code"] == "wrong_api_base"


def bring(world: World, **more: Any) -> Connection:
    given = {"access_token": "a", "refresh_token": "r", "expires_in": 3_600, "account_id": "7", **more}
    row = Installation.objects.get(pk=world.installation.pk)
    return import_.import_tokens(installation=row, owner=world.me.user, given=given, by=None, now=datetime.now(UTC))


def test_imported_tokens_come_with_the_address_where_accounts_have_their_own(world: World) -> None:
    Installation.objects.filter(pk=world.installation.pk).update(overrides={"identity": "answer"})
    with pytest.raises(Refused, match="no api_base"):
        bring(world, api_base=EUROPE)
    facts = {"identity": "answer", "api_base_path": ["instance_url"], "api_base_hosts": ["crm.example"]}
    Installation.objects.filter(pk=world.installation.pk).update(overrides=facts)
    for wrong in ({}, {"api_base": "https://evil.example"}, {"api_base": 7}):
        with pytest.raises(Refused, match=r"below crm\.example"):
            bring(world, **wrong)
    connection = bring(world, api_base=EUROPE)
    assert connection.api_base == EUROPE
    assert opens(connection)
