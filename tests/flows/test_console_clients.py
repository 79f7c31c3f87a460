"""The console's clients: who has let which program in, which keys there are, and ending each, for one or for all."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from html import unescape
from uuid import uuid4

from metaagent.visitor import Visitor
from tenants import services as tenants
from tenants.keyset import A_PAGE
from tenants.models import ClientKey
from tenants.oauth.models import Client, ClientGrant
from tests.console import console, logged_in, told
from tests.oauth import OAuthClient
from tests.world import Person, World


def program(name: str) -> Client:
    made: Client = Client.objects.create(
        name=name,
        redirect_uris="http://127.0.0.1:9/callback",
        client_type="public",
        authorization_grant_type="authorization-code",
        registration_source="dcr",
    )
    return made


def let_in(world: World, client: Client, *people: Person) -> list[ClientGrant]:
    now = datetime.now(UTC)
    return ClientGrant.objects.bulk_create(
        ClientGrant(
            membership=world.tenant.memberships.get(user=person.user),
            client=client,
            resource=world.endpoint,
            scope="mcp",
            destination="127.0.0.1:9",
            expires_at=now + timedelta(days=9),
            used_at=now,
        )
        for person in people
    )


def post(visitor: Visitor, world: World, rest: str, **values: str) -> int:
    """As if a button of the page had been pressed."""
    form = next(form for form in visitor.forms() if "logout" in form.action)
    form.action = f"/console/{world.tenant.slug}/clients/{rest}"
    return visitor.send(form, **values).status_code


def test_each_client_says_who_let_it_in_what_it_may_use_and_where_answers_go(world: World) -> None:
    person = world.person()
    evil = program("Claude\u202e \u2066Code")
    let_in(world, evil, person)
    [over] = let_in(world, program("Long gone"), person)
    ClientGrant.objects.filter(pk=over.pk).update(ended_at=datetime.now(UTC))
    with logged_in(world, "auditor") as visitor:
        visitor.open(console(world, "clients/"))
        text = told(visitor)
        assert "Claude Code Not verified answers go to 127.0.0.1:9" in text
        assert f"{person.user.email} Sentry Asks in their name" in text
        assert "Long gone" not in text
        assert "End it" not in text
        visitor.open(console(world, f"clients/?person={person.user.email}"))
        assert "Not verified" in told(visitor)
        visitor.open(console(world, "clients/?person=nobody-like-that"))
        assert "No client is like that" in told(visitor)


def test_an_administrator_ends_one_persons_client_and_leaves_the_others(world: World) -> None:
    client = OAuthClient(world)
    client.register()
    token = client.signed_in()["access_token"]
    kept = let_in(world, program("Another"), world.me)
    with logged_in(world, "admin") as visitor:
        visitor.open(console(world, "clients/"))
        grant = ClientGrant.objects.get(client__client_id=client.client_id)
        assert post(visitor, world, "end/", grant=str(grant.pk)) == 200
        assert f"The client is shut out for {world.me.user.email}." in told(visitor)
    assert world.post({}, headers={"Authorization": f"Bearer {token}"}).status_code == 401
    assert ClientGrant.objects.get(pk=kept[0].pk).ended_at is None
    [event] = world.events("grant.end.done")
    assert (event.user_id, event.detail["reason"]) == (world.me.user.pk, "administrator")


def test_a_client_is_ended_for_everybody_in_this_tenant_and_in_no_other(world: World) -> None:
    client, elsewhere = program("Everywhere"), World(world.product, world.sandbox)
    grants = let_in(world, client, world.me, world.person(), world.person())
    [theirs] = let_in(elsewhere, client, elsewhere.me)
    with logged_in(world, "owner") as visitor:
        visitor.open(console(world, f"clients/?client={client.pk}"))
        assert "3 people have let it in." in told(visitor)
        assert post(visitor, world, "end/", client=str(client.pk)) == 200
        assert "shut out for everybody (3)" in told(visitor)
    assert not ClientGrant.objects.filter(pk__in=[grant.pk for grant in grants], ended_at=None).exists()
    assert ClientGrant.objects.get(pk=theirs.pk).ended_at is None
    assert len(world.events("grant.end.done")) == 3
    assert elsewhere.events("grant.end.done") == []


def test_keys_are_listed_by_what_tells_them_apart_and_ended(world: World) -> None:
    person = world.person()
    with logged_in(world, "admin") as visitor:
        visitor.open(console(world, f"clients/keys/?person={person.user.email}"))
        row = ClientKey.objects.get(membership__user=person.user)
        assert f"test {row.prefix}… {person.user.email}" in told(visitor)
        assert "Has no end" in told(visitor)
        assert row.digest not in visitor.page.text
        assert person.key not in visitor.page.text
        assert post(visitor, world, "keys/end/", key=str(row.pk)) == 200
        assert f"The key {row.prefix}… is ended." in told(visitor)
    assert world.post({}, headers={"Authorization": f"Bearer {person.key}"}).status_code == 401


def test_long_lists_go_on_page_by_page(world: World) -> None:
    member = world.tenant.memberships.get(user=world.me.user)
    ClientKey.objects.bulk_create(
        ClientKey(membership=member, name=f"key {number}", prefix="mak_x", digest=uuid4().hex)
        for number in range(A_PAGE)
    )
    with logged_in(world, "auditor") as visitor:
        visitor.open(console(world, "clients/keys/"))
        assert len(visitor.page.content) <= 60_000
        older = re.search(r'rel="next" href="([^"]*)"', visitor.page.text)
        assert older is not None
        visitor.open(console(world, f"clients/keys/{unescape(older[1])}"))
        assert "test mak_" in told(visitor)
        assert 'rel="next"' not in visitor.page.text


def test_nobody_ends_what_is_not_theirs_to_end(world: World) -> None:
    elsewhere = World(world.product, world.sandbox)
    [theirs] = let_in(elsewhere, program("Theirs"), elsewhere.me)
    [mine] = let_in(world, program("Mine"), world.me)
    their_key = ClientKey.objects.get(membership__user=elsewhere.me.user)
    with logged_in(world, "owner") as visitor:
        for rest, values in (
            ("end/", {"grant": str(theirs.pk)}),
            ("end/", {"client": str(theirs.client_id)}),
            ("end/", {"grant": "nonsense"}),
            ("end/", {}),
            ("keys/end/", {"key": str(their_key.pk)}),
        ):
            visitor.open(console(world, "clients/"))
            assert post(visitor, world, rest, **values) == 404, (rest, values)
        tenants.add_member(tenant=world.tenant, user=world.person().user, role="owner", by=None)
        tenants.add_member(tenant=world.tenant, user=world.me.user, role="auditor", by=None)
        visitor.open(console(world, "clients/"))
        assert post(visitor, world, "end/", grant=str(mine.pk)) == 404
    assert not ClientGrant.objects.filter(pk__in=[theirs.pk, mine.pk], ended_at__isnull=False).exists()
    assert ClientKey.objects.get(pk=their_key.pk).revoked_at is None
