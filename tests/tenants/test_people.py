"""Who may make whom what: never above oneself, never oneself, and a tenant keeps an owner."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import product as every
from threading import Barrier

import pytest
from django.db import connection as db
from pytest_django.fixtures import Settings

from metaagent.visitor import Visitor
from tenants import people, services
from tenants.models import ClientKey, Membership, Role, User
from tenants.services import Refused
from tests.commands.test_commands import command, refused
from tests.console import console, told
from tests.world import Person, World
from vault.models import Connection
from vault.services import leave


def seat(world: World, role: str) -> tuple[Person, Membership]:
    person = world.person()
    row = services.add_member(tenant=world.tenant, user=person.user, role=role, by=None)
    return person, row


def role_of(row: Membership) -> str:
    return Membership.objects.get(pk=row.pk).role


def owners(world: World) -> set[str]:
    rows = Membership.objects.filter(tenant=world.tenant, role=Role.OWNER, user__is_active=True)
    return {row.user.email for row in rows.select_related("user")}


def test_nobody_gives_or_takes_what_is_above_them_and_below_an_admin_nobody_gives_anything() -> None:
    rank: list[str | None] = [None, "member", "auditor", "admin", "owner"]
    for actor, current, wanted in every(rank[1:], rank, rank):
        assert actor is not None
        may = rank.index(actor) >= 3 and max(rank.index(current), rank.index(wanted)) <= rank.index(actor)
        assert people.may_give(actor, current, wanted) == may
    for strange in (("root", None, "member"), ("owner", "root", "member"), ("owner", None, "root")):
        assert not people.may_give(*strange)


@pytest.mark.parametrize(
    ("actor", "current", "wanted"),
    [
        ("admin", "member", "owner"),
        ("admin", "owner", "member"),
        ("auditor", "member", "auditor"),
        ("member", "member", "admin"),
    ],
)
def test_the_service_itself_refuses_what_the_rule_forbids(world: World, actor: str, current: str, wanted: str) -> None:
    seat(world, "owner")
    (me, _), (_, row) = seat(world, actor), seat(world, current)
    with pytest.raises(services.NotAllowed):
        services.change_role(membership=row, role=wanted, by=me.user.pk)
    if actor != "admin" or current == "owner":
        with pytest.raises(services.NotAllowed):
            leave.remove_member(membership=row, by=me.user.pk, now=datetime.now(UTC))
    assert role_of(row) == current
    assert not [each for each in world.events("member.change.done") if each.user_id == me.user.pk]


def test_nobody_gives_themselves_a_role_and_nobody_from_another_tenant_gives_one(world: World) -> None:
    (me, mine), (_, other) = seat(world, "owner"), seat(world, "owner")
    stranger, _ = seat(World(world.product, world.sandbox), "owner")
    for by, row in ((me, mine), (stranger, other)):
        with pytest.raises(services.NotAllowed):
            services.change_role(membership=row, role="member", by=by.user.pk)
    assert role_of(mine) == role_of(other) == "owner"


def test_a_role_changed_on_the_page_holds_at_once_and_says_what_it_was(world: World) -> None:
    (me, _), (other, row) = seat(world, "admin"), seat(world, "member")
    with Visitor() as visitor, Visitor() as theirs:
        world.log_in(visitor, me)
        world.log_in(theirs, other)
        assert theirs.open(console(world, "members/")).status_code == 404
        visitor.open(console(world, "members/"))
        assert other.user.email in told(visitor)
        visitor.open(console(world, f"members/{row.pk}/"))
        assert 'value="owner"' not in visitor.page.text
        visitor.send(visitor.form_with("op"), role="auditor", op="role")
        assert f"{other.user.email} is auditor from now on" in told(visitor)
        theirs.open(console(world, "members/"))
        assert theirs.page.status_code == 200
        assert "Change" not in told(theirs)
    (event,) = world.events("member.change.done")[-1:]
    assert (event.user_id, event.detail) == (
        me.user.pk,
        {"member": str(other.user.pk), "role": "auditor", "was": "member"},
    )


def test_what_is_not_on_the_page_cannot_be_sent(world: World) -> None:
    (me, mine), (owner, above), (_, row) = seat(world, "admin"), seat(world, "owner"), seat(world, "member")
    with Visitor() as visitor:
        world.log_in(visitor, me)
        for hidden in (mine, above):
            assert visitor.open(console(world, f"members/{hidden.pk}/")).status_code == 404
        visitor.open(console(world, f"members/{row.pk}/"))
        form = visitor.form_with("op")
        visitor.send(form, op="role", role="owner", user=str(me.user.pk), is_staff="on", tenant="other")
        assert visitor.page.status_code == 422
        for hidden in (mine, above):
            form.action = f"{console(world)}members/{hidden.pk}/"
            assert visitor.send(form, op="remove").status_code == 404
    assert [role_of(each) for each in (mine, above, row)] == ["admin", "owner", "member"]
    assert not User.objects.filter(pk__in=[me.user.pk, owner.user.pk], is_staff=True).exists()


def test_changing_people_wants_a_recent_password(world: World, settings: Settings) -> None:
    (me, _), (_, row) = seat(world, "owner"), seat(world, "member")
    with Visitor() as visitor:
        world.log_in(visitor, me)
        visitor.open(console(world, f"members/{row.pk}/"))
        form = visitor.form_with("op")
        settings.CONFIRM_S = 0
        for rest in (f"members/{row.pk}/", "members/invite/"):
            assert visitor.open(console(world, rest)).url.path == "/confirm/"
        visitor.page = visitor.http.get(console(world, "members/"))
        assert visitor.send(form, op="remove").url.path == "/confirm/"
    assert role_of(row) == "member"


def test_taking_somebody_out_ends_their_connections_and_keys(world: World) -> None:
    connection = world.connect()
    me, _ = seat(world, "owner")
    row = world.me.user.memberships.get()
    before = world.stats()["revocations"]
    with Visitor() as visitor:
        world.log_in(visitor, me)
        visitor.open(console(world, f"members/{row.pk}/"))
        visitor.send(visitor.forms()[-1], op="remove")
        assert "1 connection ended" in told(visitor)
    assert world.stats()["revocations"] == before + 1
    assert Connection.objects.get(pk=connection.pk).status == "revoked"
    assert not ClientKey.objects.filter(membership=row.pk).exists()
    assert world.events("member.remove.done")[0].user_id == me.user.pk


def test_one_leaves_by_oneself_on_the_account_page(world: World) -> None:
    connection = world.connect()
    with Visitor() as visitor:
        world.log_in(visitor)
        visitor.open(f"{world.product.url}/account/")
        visitor.send(next(form for form in visitor.forms() if "leave" in form.action))
        assert "You have left" in told(visitor)
    assert Connection.objects.get(pk=connection.pk).status == "revoked"
    assert world.events("member.remove.done")[0].user_id == world.me.user.pk


def test_nobody_leaves_for_another(world: World) -> None:
    row, other = world.me.user.memberships.get(), world.person()
    with Visitor() as visitor:
        world.log_in(visitor, other)
        visitor.open(f"{world.product.url}/account/")
        form = next(form for form in visitor.forms() if "leave" in form.action)
        form.action = f"/account/memberships/{row.pk}/leave/"
        assert visitor.send(form).status_code == 404
    assert Membership.objects.filter(pk=row.pk).exists()


def test_the_last_owner_stays_whatever_the_way(world: World) -> None:
    owner, row = seat(world, "owner")
    idle, _ = seat(world, "owner")
    User.objects.filter(pk=idle.user.pk).update(is_active=False)  # an owner who cannot log in is none
    ways: list[Callable[[], object]] = [
        lambda: services.change_role(membership=row, role="admin", by=None),
        lambda: services.add_member(tenant=world.tenant, user=owner.user, role="member", by=None),
        lambda: services.remove_member(membership=row, by=None),
        lambda: leave.remove_member(membership=row, by=owner.user.pk, now=datetime.now(UTC)),
        lambda: services.deactivate(user=owner.user, by=None),
    ]
    for way in ways:
        with pytest.raises(Refused, match="last owner"):
            way()
    assert "last owner" in refused("member_remove", world.tenant.slug, owner.user.email)
    assert "last owner" in refused("member_add", world.tenant.slug, owner.user.email, "--role", "admin")
    with Visitor() as visitor:
        world.log_in(visitor, owner)
        visitor.open(f"{world.product.url}/account/")
        visitor.send(next(form for form in visitor.forms() if "leave" in form.action))
        assert "last owner" in told(visitor)
    assert owners(world) == {owner.user.email}
    assert not world.events("member.remove.done")
    command("member_add", world.tenant.slug, world.me.user.email, "--role", "owner")
    command("member_remove", world.tenant.slug, owner.user.email)
    assert owners(world) == {world.me.user.email}


def test_a_deactivated_person_is_logged_out_and_the_tenants_know(world: World) -> None:
    person = world.person()
    with Visitor() as visitor:
        world.log_in(visitor, person)
        services.deactivate(user=person.user, by=None)
        assert visitor.open(f"{world.product.url}/account/").url.path == "/login/"
    assert len(world.events("user.deactivate.done")) == 1


@pytest.mark.skipif(db.vendor != "postgresql", reason="SQLite has one writer at a time")
@pytest.mark.parametrize("way", ["demote", "remove", "deactivate"])
def test_two_owners_who_act_at_the_same_moment_leave_one(world: World, way: str) -> None:
    (ada, hers), (bob, his) = seat(world, "owner"), seat(world, "owner")
    together = Barrier(2)

    def act(by: Person, row: Membership) -> str:
        now = datetime.now(UTC)
        try:
            together.wait(10)
            match way:
                case "demote":
                    services.change_role(membership=row, role="member", by=by.user.pk)
                case "remove":
                    leave.remove_member(membership=row, by=by.user.pk, now=now)
                case "deactivate":
                    services.deactivate(user=row.user, by=None)
        except Refused as problem:
            return str(problem)
        finally:
            db.close()
        return ""

    with ThreadPoolExecutor(2) as pool:
        said = [each.result(20) for each in (pool.submit(act, ada, his), pool.submit(act, bob, hers))]
    assert len(owners(world)) == 1
    assert sorted(map(bool, said)) == [False, True]


def test_ten_thousand_members_are_a_page_at_a_time_and_found_by_name(world: World) -> None:
    me, _ = seat(world, "auditor")
    mark = world.tenant.slug
    made = User.objects.bulk_create(
        [User(email=f"p{n:03}@{mark}.example.com", name=f"Person {n}", password="!") for n in range(120)]
    )
    Membership.objects.bulk_create([Membership(tenant=world.tenant, user=user) for user in made])
    seen: list[str] = []
    with Visitor() as visitor:
        world.log_in(visitor, me)
        visitor.open(console(world, f"members/?q={mark}"))
        while True:
            page = told(visitor)
            assert len(visitor.page.content) < 60_000
            seen += [user.email for user in made if f" {user.email} " in page]
            following = [part for part in visitor.page.text.split('"') if part.startswith("?") and "after=" in part]
            if 'rel="next"' not in visitor.page.text:
                break
            visitor.open(console(world, f"members/{following[-1].replace('&amp;', '&')}"))
        assert seen == [user.email for user in made]
        assert "Person 77" in told_at(visitor, console(world, "members/?q=person+77"))
        assert "Nobody like that" in told_at(visitor, console(world, f"members/?q={mark}&role=owner"))


def told_at(visitor: Visitor, url: str) -> str:
    visitor.open(url)
    return told(visitor)
