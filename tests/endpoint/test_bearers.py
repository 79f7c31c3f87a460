"""Whom /mcp believes: a bearer counts where it was issued for, for as long as it stands, and nowhere else."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TypeVar
from uuid import UUID

import httpx2
import pytest
from django.apps import apps
from django.db import connection
from django.db.models import F
from django.test.utils import CaptureQueriesContext

from metaagent.wiring.bridge import Bridge
from metaagent.wiring.rights import Bearers, Remembered, Watch
from tenants import services as tenants
from tenants.models import Membership, Standing
from tenants.oauth import services
from tenants.oauth.models import AccessToken, Client, ClientGrant
from tenants.oauth.tokens import digest
from tests import wire
from tests.oauth import REDIRECT, OAuthClient
from tests.world import Person, World, run

PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
ANY = {"Accept": "application/json, text/event-stream"}
T = TypeVar("T")


def client_of(world: World) -> Client:
    row: Client = Client.objects.create(
        client_type="public",
        authorization_grant_type="authorization-code",
        redirect_uris=REDIRECT,
        name="A test",
        registration_source="dcr",
    )
    return row


def token(
    world: World,
    *,
    resource: str | None = None,
    scope: str = "mcp",
    person: Person | None = None,
    client: Client | None = None,
) -> services.Pair:
    """A pair as the token endpoint gives it; what it is good for is chosen here."""
    now = datetime.now(UTC)
    grant = services.give(
        membership=Membership.objects.get(user=(person or world.me).user),
        client=client or client_of(world),
        resource=world.endpoint if resource is None else resource,
        scope=scope,
        destination="client.example",
        now=now,
    )
    pair = services.Pair(f"mat_{secrets.token_urlsafe(32)}", f"mrt_{secrets.token_urlsafe(32)}")
    services._store(grant, pair, expires_in=900, family=None, source=None, now=now)
    return pair


def grant_of(pair: services.Pair) -> ClientGrant:
    found = AccessToken.objects.get(token_checksum=digest(pair.access))
    return ClientGrant.objects.select_related("membership").get(pk=found.grant_id)


def ask(world: World, *authorization: bytes | str, path: str | None = None, body: object = PING) -> httpx2.Response:
    """A POST with these `Authorization` headers."""
    headers = [(b"authorization", a if isinstance(a, bytes) else a.encode()) for a in authorization]
    where = path or f"/mcp/{world.tenant.slug}/sentry"
    with world.product.http as http:
        return http.post(where, json=body, headers=[*[(k.encode(), v.encode()) for k, v in ANY.items()], *headers])


def challenged(world: World, answer: httpx2.Response, *, error: str = "invalid_token", path: str = "") -> None:
    """Exactly the contract's challenge, to go where the path's metadata are."""
    where = path or f"/mcp/{world.tenant.slug}/sentry"
    document = f"{world.product.url}/.well-known/oauth-protected-resource{where}"
    said = f'Bearer resource_metadata="{document}", scope="mcp"' + (f', error="{error}"' if error else "")
    assert answer.status_code == (403 if error == "insufficient_scope" else 401), answer.text
    assert answer.headers.get_list("www-authenticate") == [said]
    assert answer.headers["cache-control"] == "no-store"


def _for_the_tenant(world: World) -> str:
    return token(world, resource=world.endpoint.removesuffix("/sentry")).access


def _for_another_provider(world: World) -> str:
    return token(world, resource=world.endpoint.replace("/sentry", "/github")).access


def _for_another_tenant(world: World) -> str:
    other = World(world.product, world.sandbox)
    return token(other).access


def _of_another_tenant_s_member_for_here(world: World) -> str:
    """As if a grant could ever be given for a tenant its person is not in."""
    other = World(world.product, world.sandbox)
    return token(other, resource=world.endpoint).access


def _for_another_host(world: World) -> str:
    return token(world, resource=world.endpoint.replace("127.0.0.1", "mcp.example")).access


def _for_another_scheme(world: World) -> str:
    return token(world, resource=world.endpoint.replace("http://", "https://")).access


def _with_a_trailing_slash(world: World) -> str:
    return token(world, resource=f"{world.endpoint}/").access


def _for_all_of_this_server(world: World) -> str:
    return token(world, resource=world.product.url).access


def _for_nothing(world: World) -> str:
    return token(world, resource="").access


def _expired(world: World) -> str:
    pair = token(world)
    AccessToken.objects.filter(token_checksum=digest(pair.access)).update(expires=datetime.now(UTC))
    return pair.access


def _ended(world: World) -> str:
    pair = token(world)
    services.end(grant=grant_of(pair), reason="person", by=None, now=datetime.now(UTC))
    return pair.access


def _a_refresh_token(world: World) -> str:
    return token(world).refresh


def _a_refresh_token_in_disguise(world: World) -> str:
    return token(world).refresh.replace("mrt_", "mat_")


def _a_code(world: World) -> str:
    return OAuthClient(world, client_id=client_of(world).client_id).code()


def _its_digest(world: World) -> str:
    return hashlib.sha256(token(world).access.encode()).hexdigest()


def _unknown(world: World) -> str:
    return f"mat_{secrets.token_urlsafe(32)}"


def _cut(world: World) -> str:
    return token(world).access[:-1]


def _in_capitals(world: World) -> str:
    return token(world).access.upper()


def _ten_kilobytes(world: World) -> str:
    return token(world).access + "A" * 10_240


@pytest.mark.parametrize(
    "bearer",
    [
        _for_the_tenant,
        _for_another_provider,
        _for_another_tenant,
        _for_another_host,
        _for_another_scheme,
        _with_a_trailing_slash,
        _for_all_of_this_server,
        _for_nothing,
        _expired,
        _ended,
        _a_refresh_token,
        _a_refresh_token_in_disguise,
        _a_code,
        _its_digest,
        _unknown,
        _cut,
        _in_capitals,
        _ten_kilobytes,
    ],
)
def test_a_bearer_that_was_not_issued_for_here_and_now_is_challenged_and_leaves_no_trace(
    world: World, bearer: Callable[[World], str]
) -> None:
    value = bearer(world)
    before = rows()
    challenged(world, ask(world, f"Bearer {value}"))
    nowhere = f"/mcp/nobody-{secrets.token_hex(4)}/sentry"
    challenged(world, ask(world, f"Bearer {value}", path=nowhere), path=nowhere)
    assert rows() == before


def rows() -> dict[str, int]:
    return {model.__name__: model._default_manager.count() for model in apps.get_models()}


def test_a_grant_for_a_tenant_its_person_is_not_in_opens_nothing(world: World) -> None:
    assert ask(world, f"Bearer {_of_another_tenant_s_member_for_here(world)}").status_code in {401, 404}


@pytest.mark.parametrize("of", ["provider", "tenant"])
def test_a_token_is_good_at_its_own_endpoint_only(world: World, of: str) -> None:
    tenant = f"/mcp/{world.tenant.slug}"
    here, there = (tenant, f"{tenant}/sentry") if of == "tenant" else (f"{tenant}/sentry", tenant)
    bearer = f"Bearer {token(world, resource=f'{world.product.url}{here}').access}"
    assert ask(world, bearer, path=here).status_code == 200
    assert ask(world, bearer, path=f"{here}?x=1").status_code == 200
    challenged(world, ask(world, bearer, path=there), path=there)
    for odd in (f"{here}/", f"/mcp//{world.tenant.slug}", f"{here}%2Fsentry/", f"{here.upper()}"):
        assert ask(world, bearer, path=odd).status_code in {401, 404}


def test_what_is_no_bearer_header_is_challenged(world: World) -> None:
    access = token(world).access
    headers: list[bytes | str] = [
        *("Bearer", f"Bearer\t{access}", f"Bearer {access} {access}", f"Bearer {access},", access),
        *(f"Basic {access}", f"Token {access}", f"DPoP {access}", ""),
        *("Bearer é".encode("latin-1"), "Bearer \N{SNOWMAN}"),
    ]
    for header in headers:
        challenged(world, ask(world, header))
    challenged(world, ask(world), error="")


def test_case_and_spaces_around_a_bearer_do_not_count(world: World) -> None:
    access, body = token(world).access, json.dumps(PING).encode()
    told = ["Content-Type: application/json", f"Content-Length: {len(body)}", *(f"{k}: {v}" for k, v in ANY.items())]
    expected = {
        f" bearer {access}": 200,
        f"   BEARER   {access}   ": 200,
        f"Bearer \t{access}": 401,
        "Bearer ": 401,
        " ": 401,
    }
    for sent, status in expected.items():
        head = wire.head(world.product, f"/mcp/{world.tenant.slug}/sentry", f"Authorization:{sent}", *told)
        assert wire.answer_to(world.product, [head, body])[0] == status, sent


def test_a_token_anywhere_but_in_the_header_is_not_looked_at(world: World) -> None:
    access = token(world).access
    path = f"/mcp/{world.tenant.slug}/sentry"
    challenged(world, ask(world, path=f"{path}?access_token={access}"), error="")
    challenged(world, ask(world, body={**PING, "access_token": access}), error="")
    with world.product.http as http:
        form = http.post(path, data={"access_token": access}, headers=ANY)
        cookie = http.post(path, json=PING, headers={**ANY, "Cookie": f"session={access}; Authorization={access}"})
    challenged(world, form, error="")
    challenged(world, cookie, error="")


def test_two_bearers_in_one_request_are_none(world: World) -> None:
    good = f"Bearer {token(world).access}"
    for pair in ((good, "Bearer x"), ("Bearer x", good), (good, good), (good, f"Bearer {world.me.key}")):
        challenged(world, ask(world, *pair))


def test_a_token_for_less_is_told_what_to_ask_the_person_for(world: World) -> None:
    challenged(world, ask(world, f"Bearer {token(world, scope='offline_access').access}"), error="insufficient_scope")
    assert ask(world, f"Bearer {token(world, scope='offline_access mcp').access}").status_code == 200


def test_a_key_of_another_tenant_and_a_provider_s_token_open_nothing(world: World) -> None:
    other = World(world.product, world.sandbox)
    elsewhere = ask(world, f"Bearer {other.me.key}")
    assert (elsewhere.status_code, elsewhere.content) == (
        404,
        ask(world, f"Bearer {world.me.key}", path="/mcp/x/y").content,
    )
    for foreign in ("sntrys_" + "a" * 64, "ghp_" + "a" * 36, "eyJhbGciOiJub25lIn0.e30."):
        challenged(world, ask(world, f"Bearer {foreign}"))


def test_a_token_for_mcp_opens_neither_the_api_nor_a_page(world: World) -> None:
    access = token(world).access
    bearer = {"Authorization": f"Bearer {access}"}
    with world.product.http as http:
        api = http.post(f"/api/v1/tenants/{world.tenant.slug}/connections/", json={}, headers=bearer)
        page = http.get("/connections/", headers=bearer)
    assert api.status_code == 401
    assert page.status_code == 302


def test_a_provider_sees_its_own_tokens_and_never_the_caller_s(world: World) -> None:
    world.connect()
    access = token(world).access
    before = world.stats()["calls_per_token"]
    assert not world.ask("who am I?", key=access).is_error
    after = world.stats()["calls_per_token"]
    assert sum(after.values()) > sum(before.values())
    assert {digest(access)[:12], digest(world.me.key)[:12]}.isdisjoint(after)


def test_two_people_of_one_client_are_two_principals(world: World) -> None:
    client, other = client_of(world), world.person()
    mine, theirs = token(world, client=client), token(world, client=client, person=other)
    connected = world.connect()
    assert not world.ask("who am I?", key=mine.access).is_error
    assert world.error("who am I?", key=theirs.access)["code"] == "needs_auth"
    asked = {(event.user_id, event.client) for event in world.events() if event.connection_id == connected.pk}
    assert {user for user, _ in asked} == {world.me.user.pk}
    assert f"grant:{grant_of(mine).pk}" in {client for _, client in asked}
    services.end(grant=grant_of(mine), reason="person", by=None, now=datetime.now(UTC))
    challenged(world, ask(world, f"Bearer {mine.access}"))
    assert ask(world, f"Bearer {theirs.access}").status_code == 200


def test_a_removed_member_s_next_request_is_refused(world: World) -> None:
    access = token(world).access
    assert ask(world, f"Bearer {access}").status_code == 200
    tenants.remove_member(membership=world.me.user.memberships.get(), by=None)
    challenged(world, ask(world, f"Bearer {access}"))


# --- what it costs, and how soon an end is noticed


class Counting(Bridge):
    """Counts the queries of its threads, but for the one about everybody's rights."""

    def __init__(self) -> None:
        super().__init__()
        self.queries: list[str] = []

    async def quick(self, work: Callable[[], T]) -> T:
        def counted() -> T:
            with CaptureQueriesContext(connection) as seen:
                found = work()
            table = Standing._meta.db_table
            self.queries += [query["sql"] for query in seen if table not in query["sql"]]
            return found

        return await super().quick(counted)


def _elsewhere(change: Callable[[], object]) -> None:
    """As another process leaves the database: this one is not told."""
    change()
    Standing.objects.update(generation=F("generation") + 1)


def test_a_verification_costs_one_query_at_first_and_none_while_it_is_remembered(world: World) -> None:
    bearers = [token(world).access, world.me.key, _unknown(world)]

    async def verify() -> list[int]:
        bridge = Counting()
        watch = Watch(bridge, 1.0)
        known = Bearers(bridge, Remembered(watch, 5.0))
        counts = []
        for bearer in bearers:
            for _ in range(3):
                before = len(bridge.queries)
                await known.presented(bearer)
                counts.append(len(bridge.queries) - before)
        for malformed in ("", "mat_", "x" * 47, "mat_" + "é" * 43, f"{bearers[0]}A", "mrt_" + "A" * 43):
            assert await known.presented(malformed) is None
        counts.append(len(bridge.queries) - 3)
        bridge.close()
        return counts

    assert run(verify()) == [1, 0, 0, 1, 0, 0, 1, 0, 0, 0]


def test_an_end_made_by_another_process_is_noticed_within_its_promise(world: World) -> None:
    pair = token(world)
    grant_id: UUID = grant_of(pair).pk

    async def verify() -> tuple[object, object, object]:
        bridge = Counting()
        short, long = Watch(bridge, 0.0), Watch(bridge, 3_600.0)
        known, slow = Bearers(bridge, Remembered(short, 3_600.0)), Bearers(bridge, Remembered(long, 3_600.0))
        before = await known.presented(pair.access)
        await slow.presented(pair.access)
        ended = ClientGrant.objects.filter(pk=grant_id)
        await bridge.quick(lambda: _elsewhere(lambda: ended.update(ended_at=datetime.now(UTC))))
        after, late = await known.presented(pair.access), await slow.presented(pair.access)
        bridge.close()
        return before, after, late

    before, after, late = run(verify())
    assert before is not None
    assert after is None
    assert late is not None, "nothing but the reading of everybody's rights could have told"


def test_a_token_that_runs_out_is_refused_though_it_is_remembered(world: World) -> None:
    pair = token(world)
    soon = datetime.now(UTC) + timedelta(seconds=0.3)
    AccessToken.objects.filter(token_checksum=digest(pair.access)).update(expires=soon)

    async def verify() -> None:
        bridge = Counting()
        known = Bearers(bridge, Remembered(Watch(bridge, 3_600.0), 3_600.0))
        while datetime.now(UTC) < soon:
            await known.presented(pair.access)
        assert await known.presented(pair.access) is None
        assert len(bridge.queries) <= 1
        bridge.close()

    run(verify())
