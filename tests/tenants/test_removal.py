"""A member, a provider or a whole tenant leaves: nothing that could be done through them outlives them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from django.core.management import CommandError
from django.db import connection as db

from audit.models import AuditEvent
from metaagent.visitor import Visitor
from tenants import selectors
from tenants.models import ClientKey, Membership, Tenant
from tests.commands.test_commands import command, refused
from tests.vault.outages import Provider, provider_up
from tests.vault.test_access import expire
from tests.world import Person, Served, World
from vault import tasks
from vault.models import Connection, ConnectLink, Consent, Revocation, SealedTokenSet, TenantKey
from vault.services import access, leave

_TOKEN = re.compile(r'name="csrfmiddlewaretoken" value="[^"]*"')
PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}


@pytest.fixture(autouse=True)
def _nothing_else_waits(database: None) -> None:
    Revocation.objects.all().delete()


@pytest.fixture
def provider() -> Iterator[Provider]:
    with provider_up() as made:
        yield made


@pytest.fixture
def there(product: Served, provider: Provider) -> World:
    """A world whose provider can go down."""
    return World(product, provider.served)


def remove(world: World, person: Person | None = None) -> dict[str, object]:
    return command("member_remove", world.tenant.slug, (person or world.me).user.email)


def answer(world: World, key: str, path: str) -> tuple[int, bytes, str]:
    reply = world.post(PING, path=path, headers={"Authorization": f"Bearer {key}"})
    return reply.status_code, reply.content, reply.headers.get("www-authenticate", "")


def test_a_removed_member_s_accounts_keys_and_links_end_and_nobody_else_s(world: World) -> None:
    gone, stays = world.me, world.person()
    link = world.connect_link()
    mine, theirs, shared = world.connect(), world.connect(stays), world.connect(world.person())
    Connection.objects.filter(pk=shared.pk).update(owner=None)
    before = world.stats()["revocations"]
    with Visitor() as visitor:
        world.log_in(visitor)
        found = remove(world)
        assert (found["revoked"], found["pending"]) == (1, 0)
        assert world.stats()["revocations"] == before + 1
        assert world.post(PING).status_code == 401
        assert visitor.open(link).status_code == 404
        visitor.open(f"{world.product.url}/connections/")
        assert str(mine.pk) not in visitor.page.text
        assert str(shared.pk) not in visitor.page.text
    assert Connection.objects.get(pk=mine.pk).status == "revoked"
    assert not ClientKey.objects.filter(membership__user=gone.user).exists()
    assert not Consent.objects.filter(user=gone.user, withdrawn_at=None).exists()
    assert {Connection.objects.get(pk=row.pk).status for row in (theirs, shared)} == {"ready"}
    assert not world.ask("who am I?", key=stays.key).is_error
    assert len(world.events("member.remove.done")) == 1


def test_a_member_removed_on_the_way_to_the_provider_finds_nothing_on_the_way_back(world: World) -> None:
    with Visitor() as visitor:
        world.begin(visitor, world.connect_link())
        remove(world)
        visitor.send(visitor.form_with("password"))
        visitor.send(visitor.form_with("pending"), op="approve")
        assert visitor.page.status_code == 404
    assert not Connection.objects.filter(owner=world.me.user).exists()


def test_a_member_removed_while_the_code_is_exchanged_ends_up_without_a_connection(world: World) -> None:
    before = world.stats()
    with Visitor() as visitor:
        world.begin(visitor, world.connect_link())
        world.faults(token_delay_s=0.7)
        with ThreadPoolExecutor(1) as pool:
            arriving = pool.submit(world.approve, visitor)
            while not world.events("connect.exchange.intent"):
                pass
            remove(world)
            arriving.result()
        world.faults()
        assert visitor.page.status_code == 403
    after = world.stats()
    assert after["codes_exchanged"] == before["codes_exchanged"] + 1
    assert after["revocations"] == before["revocations"] + 1
    assert not Connection.objects.filter(owner=world.me.user, status="ready").exists()


@pytest.mark.parametrize("leaving", ["member", "provider", "tenant"])
def test_a_refresh_in_flight_when_somebody_leaves_brings_nothing_back_to_life(
    there: World, provider: Provider, leaving: str
) -> None:
    connection = there.connect()
    expire(connection)
    there.faults(token_delay_s=0.2)
    provider.slow_s = 0.3  # so that the old tokens are ended only after they were exchanged for new ones

    def refresh() -> None:
        try:
            access.access(connection.pk)
        finally:
            db.close()

    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(refresh)
        while provider.asked("/oauth/token/") < 2:
            pass
        match leaving:
            case "member":
                remove(there)
            case "provider":
                command("provider_remove", there.tenant.slug, "sentry")
            case "tenant":
                command("tenant_remove", there.tenant.slug, "--yes")
        with pytest.raises(access.Reconnect):
            late.result()
    assert (there.stats()["refreshes"], there.stats()["revocations"]) == (1, 1)
    assert not SealedTokenSet.objects.filter(connection=connection).exists()
    assert not Connection.objects.filter(pk=connection.pk).exclude(status="revoked").exists()


def test_somebody_who_comes_back_starts_anew(world: World) -> None:
    world.connect()
    remove(world)
    command("member_add", world.tenant.slug, world.me.user.email)
    key = command("client_key_create", world.tenant.slug, world.me.user.email)["key"]
    assert world.error("who am I?", key=key)["code"] == "needs_auth"


def test_a_person_deactivated_or_taken_out_by_hand_loses_their_tokens_too(world: World) -> None:
    one, other = world.connect(), world.connect(world.person())
    before = world.stats()["revocations"]
    world.me.user.is_active = False
    world.me.user.save()
    Membership.objects.filter(user=other.owner).delete()
    tasks.departures()
    tasks.revocations()
    assert {Connection.objects.get(pk=row.pk).status for row in (one, other)} == {"revoked"}
    assert world.stats()["revocations"] == before + 2


def test_a_closed_tenant_looks_like_one_that_never_was(world: World) -> None:
    elsewhere = World(world.product, world.sandbox).me.key
    mine, path, unknown = world.me.key, f"/mcp/{world.tenant.slug}", "/mcp/never-was"
    link = world.connect_link()
    assert answer(world, mine, path)[0] == 200
    with Visitor() as visitor:
        world.log_in(visitor)
        command("tenant_remove", world.tenant.slug, "--yes")
        assert answer(world, mine, f"{path}/sentry")[0] == 401
        nobody, never = "mak_00000000_" + "x" * 43, "mak_00000000_" + "y" * 43
        assert answer(world, mine, path) == answer(world, nobody, path) == answer(world, never, path)
        assert answer(world, elsewhere, path) == answer(world, elsewhere, unknown)
        assert visitor.open(link).status_code == 404
        fresh, none = (visitor.open(f"{world.product.url}/connect/sentry/?tenant={t}") for t in (path[5:], "never-was"))
        assert (fresh.status_code, _TOKEN.sub("", fresh.text)) == (none.status_code, _TOKEN.sub("", none.text))
        visitor.open(f"{world.product.url}/connections/")
        assert world.tenant.name not in visitor.page.text
    assert not selectors.memberships_of(world.me.user)
    assert refused("member_add", world.tenant.slug, world.me.user.email) == refused(
        "member_add", "never-was", world.me.user.email
    ).replace("never-was", world.tenant.slug)
    assert "being removed" in refused("tenant_create", world.tenant.slug)


def test_a_closed_tenant_s_rows_go_when_its_tokens_are_dead_and_its_log_stays(there: World, provider: Provider) -> None:
    there.connect()
    there.connect(there.person())
    provider.down()
    found = command("tenant_remove", there.tenant.slug, "--yes")
    assert (found["revoked"], found["pending"]) == (0, 2)
    soon = datetime.now(UTC) + timedelta(minutes=10)
    leave.purge(now=soon)
    assert Tenant.objects.filter(pk=there.tenant.pk).exists()
    assert len(command("connection_list", there.tenant.slug)["connections"]) == 2
    provider.up()
    assert command("tenant_remove", there.tenant.slug, "--yes")["pending"] == 0
    assert there.stats()["revocations"] == 2
    leave.purge(now=datetime.now(UTC))  # a refresh may still be on its way back
    assert Tenant.objects.filter(pk=there.tenant.pk).exists()
    leave.purge(now=soon)
    assert not Tenant.objects.filter(pk=there.tenant.pk).exists()
    for model in (Connection, ConnectLink, TenantKey, Revocation):
        assert not model.objects.filter(tenant_id=there.tenant.pk).exists()
    closed, removed = there.events("tenant.close.done"), there.events("tenant.remove.done")
    assert [event.detail["slug"] for event in [*closed, *removed]] == [there.tenant.slug] * 2
    assert removed[0].detail["unconfirmed"] == 0


def test_after_a_week_a_tenant_goes_with_what_was_never_confirmed_said(there: World, provider: Provider) -> None:
    there.connect()
    provider.down()
    command("tenant_remove", there.tenant.slug, "--yes")
    leave.purge(now=datetime.now(UTC) + timedelta(days=6))
    assert Tenant.objects.filter(pk=there.tenant.pk).exists()
    leave.purge(now=datetime.now(UTC) + timedelta(days=8))
    assert not Tenant.objects.filter(pk=there.tenant.pk).exists()
    assert there.events("tenant.remove.done")[0].detail["unconfirmed"] == 1
    intents = {event.id for event in there.events("connection.revoke.intent")}
    last = AuditEvent.objects.filter(tenant_id=there.tenant.pk, kind="connection.revoke.failed").latest("seq")
    assert last.detail["code"] == "given_up"
    assert last.intent_id in intents


def test_removing_a_tenant_must_be_meant(world: World) -> None:
    with pytest.raises(CommandError, match="--yes"):
        command("tenant_remove", world.tenant.slug)
    assert Tenant.objects.get(pk=world.tenant.pk).closed_at is None
    assert "is not in" in refused("member_remove", world.tenant.slug, World(world.product, world.sandbox).me.user.email)
