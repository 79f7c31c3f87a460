"""Invitations: for one address, once, for a while, and only as long as whoever invited may still do so."""

from __future__ import annotations

import re
import secrets
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier

import pytest
from django.core.cache import cache
from django.db import connection as db
from django.db import transaction
from pytest_django.fixtures import Settings

from metaagent.logs import NoHandles
from metaagent.visitor import Visitor
from tenants import invitations, services
from tenants.invitations import Over
from tenants.models import Invitation, Membership, User
from tests.commands.test_commands import command
from tests.console import console, told
from tests.tenants.test_people import seat
from tests.world import PASSWORD, Person, World

LONG = "quite another passphrase"


def now() -> datetime:
    return datetime.now(UTC)


def somebody() -> str:
    return f"{secrets.token_hex(6)}@example.com"


def invite(world: World, email: str, role: str = "member", *, by: Person | None = None) -> tuple[Invitation, str]:
    actor = by or seat(world, "admin")[0]
    return invitations.invite(tenant=world.tenant, email=email, role=role, by=actor.user.pk, now=now())


def handle_of(link: str) -> str:
    return link.rstrip("/").rsplit("/", 1)[1]


def role_in(world: World, email: str) -> str | None:
    row = Membership.objects.filter(tenant=world.tenant, user__email=email).first()
    return row.role if row else None


def test_a_new_person_comes_from_the_link_with_a_password_of_their_own(world: World) -> None:
    (admin, _), email = seat(world, "admin"), somebody()
    with Visitor() as visitor:
        world.log_in(visitor, admin)
        visitor.open(console(world, "members/invite/"))
        visitor.send(visitor.form_with("email"), email=f" {email.upper()} ", role="auditor")
        link = re.search(r'value="([^"]+/invitations/[^"]+)"', visitor.page.text)
        assert link
        handle = handle_of(link[1])
        assert handle not in visitor.open(console(world, "members/invitations/")).text
    assert handle not in str(list(Invitation.objects.filter(tenant=world.tenant).values()))
    assert handle not in str([event.detail for event in world.events()])
    with Visitor() as visitor:
        visitor.open(link[1])
        assert "Test tenant" in told(visitor)
        assert admin.user.email in told(visitor)
        assert not User.objects.filter(email=email).exists()
        form = visitor.form_with("password")
        for wrong in ("short", email):
            visitor.send(form, password=wrong, again=wrong)
            assert visitor.page.status_code == 422
        assert visitor.send(form, password=LONG, again="another").status_code == 422
        visitor.send(form, name="Newcomer", password=LONG, again=LONG, email="other@example.com", role="owner")
        assert str(visitor.page.url).endswith("/connections/")
        assert "You are in Test tenant as auditor" in told(visitor)
        assert visitor.open(link[1]).status_code == 404
    user = User.objects.get(email=email)
    assert (user.name, user.is_staff, role_in(world, email)) == ("Newcomer", False, "auditor")
    assert not User.objects.filter(email="other@example.com").exists()
    (accepted,) = world.events("member.invite.accepted")
    added = world.events("member.add.done")[-1]
    assert accepted.user_id == user.pk
    assert (added.user_id, added.detail) == (admin.user.pk, {"member": str(user.pk), "role": "auditor"})


def test_somebody_known_logs_in_first_and_then_says_yes(world: World) -> None:
    person = World(world.product, world.sandbox).me
    _, link = invite(world, person.user.email, "admin")
    with Visitor() as visitor:
        assert visitor.open(link).url.path == "/login/"
        assert "Test tenant" not in visitor.page.text
        world.log_in(visitor, person)
        assert str(visitor.page.url) == link
        assert role_in(world, person.user.email) is None
        visitor.send(next(form for form in visitor.forms() if "invitations" in form.action))
        assert "You are now in Test tenant as admin" in told(visitor)
    assert role_in(world, person.user.email) == "admin"


def test_another_person_learns_nothing_from_it_and_gets_nothing(world: World) -> None:
    email, other = somebody(), World(world.product, world.sandbox).me
    row, link = invite(world, email)
    with Visitor() as visitor:
        world.log_in(visitor, other)
        visitor.open(link)
        assert visitor.page.status_code == 403
        for named in (email, world.tenant.name, world.tenant.slug):
            assert named not in visitor.page.text
        form = next(form for form in visitor.forms() if "logout" in form.action)
        form.action = link
        assert visitor.send(form).status_code == 403
    with pytest.raises(invitations.ForAnother):
        invitations.accept(handle=handle_of(link), user=other.user, now=now())
    assert role_in(world, other.user.email) is None
    row.refresh_from_db()
    assert row.accepted_at is None


def test_a_second_password_is_not_given_to_somebody_who_is_there(world: World) -> None:
    _, link = invite(world, email := somebody())
    with Visitor() as visitor:
        visitor.open(link)
        form = visitor.form_with("password")
        services.create_user(email=email, password=PASSWORD)
        visitor.send(form, password=LONG, again=LONG)
        assert visitor.page.url.path == "/login/"
    assert User.objects.get(email=email).check_password(PASSWORD)
    assert role_in(world, email) is None


def withdrawn(world: World, row: Invitation, by: Person) -> None:
    invitations.withdraw(invitation=row, by=by.user.pk, now=now())


def renewed(world: World, row: Invitation, by: Person) -> None:
    invitations.renew(invitation=row, by=by.user.pk, now=now())


def too_old(world: World, row: Invitation, by: Person) -> None:
    Invitation.objects.filter(pk=row.pk).update(expires_at=now())


def closed(world: World, row: Invitation, by: Person) -> None:
    command("tenant_remove", world.tenant.slug, "--yes")


def inviter_demoted(world: World, row: Invitation, by: Person) -> None:
    services.add_member(tenant=world.tenant, user=by.user, role="auditor", by=None)


def inviter_gone(world: World, row: Invitation, by: Person) -> None:
    services.remove_member(membership=by.user.memberships.get(), by=None)


def inviter_deactivated(world: World, row: Invitation, by: Person) -> None:
    services.deactivate(user=by.user, by=None)


def test_what_leads_nowhere_looks_like_what_never_was(world: World) -> None:
    never, over = f"{world.product.url}/invitations/{'x' * 43}/", list[str]()
    ways = [withdrawn, renewed, too_old, inviter_demoted, inviter_gone, inviter_deactivated, closed]
    with Visitor() as visitor:
        for end in ways:
            admin, _ = seat(world, "admin")
            row, link = invite(world, email := somebody(), by=admin)
            user = services.create_user(email=email, password=PASSWORD)
            if not over:
                visitor.open(link)
                visitor.send(visitor.form_with("password"), email=email, password=PASSWORD)
                form = next(form for form in visitor.forms() if "invitations" in form.action)
            assert invitations.opened(handle=handle_of(link), now=now()) == row
            end(world, row, admin)
            with pytest.raises(Over):
                invitations.accept(handle=handle_of(link), user=user, now=now())
            assert role_in(world, email) is None
            over.append(link)
        assert visitor.send(form).status_code == 404
        same = {strip(visitor.open(link).text) for link in (never, over[0], over[-1])}
    with Visitor() as nobody:
        for link in (never, *over):
            assert nobody.open(link).status_code == 404
            same.add(strip(nobody.page.text))
    assert len(same) == 2  # with a session and without
    cache.clear()  # wrong links are counted by address, which is every test's


def strip(text: str) -> str:
    return re.sub(r'name="csrfmiddlewaretoken" value="[^"]*"', "", text)


def test_a_new_link_works_and_the_old_one_does_not(world: World) -> None:
    (admin, _), (owner, _), email = seat(world, "admin"), seat(world, "owner"), somebody()
    row, old = invite(world, email, by=admin)
    too_old(world, row, admin)
    with Visitor() as visitor:
        world.log_in(visitor, owner)
        assert "Over" in told_of(visitor, console(world, "members/invitations/"))
        visitor.open(console(world, f"members/invitations/{row.pk}/"))
        visitor.send(visitor.form_with("op"), op="renew")
        link = re.search(r'value="([^"]+/invitations/[^"]+)"', visitor.page.text)
    assert link
    inviter_gone(world, row, admin)  # whoever renews it stands for it
    with pytest.raises(Over):
        invitations.opened(handle=handle_of(old), now=now())
    found = invitations.opened(handle=handle_of(link[1]), now=now())
    assert (found.pk, found.invited_by_id) == (row.pk, owner.user.pk)
    assert timedelta(days=6) < found.expires_at - now() < timedelta(days=8)


def told_of(visitor: Visitor, url: str) -> str:
    visitor.open(url)
    return told(visitor)


def test_nobody_invites_above_themselves_and_an_admin_leaves_an_owner_s_invitation_alone(world: World) -> None:
    (admin, _), (auditor, _), (owner, _) = seat(world, "admin"), seat(world, "auditor"), seat(world, "owner")
    for by, role in ((admin, "owner"), (auditor, "member"), (world.me, "member")):
        with pytest.raises(services.NotAllowed):
            invite(world, somebody(), role, by=by)
    row, link = invite(world, somebody(), "owner", by=owner)
    for change in (invitations.renew, invitations.withdraw):
        with pytest.raises(services.NotAllowed):
            change(invitation=row, by=admin.user.pk, now=now())
    with Visitor() as visitor:
        world.log_in(visitor, admin)
        assert row.email in told_of(visitor, console(world, "members/invitations/"))
        assert visitor.open(console(world, f"members/invitations/{row.pk}/")).status_code == 404
        visitor.open(console(world, "members/invite/"))
        assert visitor.send(visitor.form_with("email"), email=somebody(), role="owner").status_code == 422
    assert invitations.opened(handle=handle_of(link), now=now()).pk == row.pk
    services.add_member(
        tenant=world.tenant, user=services.create_user(email=somebody(), password=None), role="owner", by=None
    )
    services.add_member(tenant=world.tenant, user=owner.user, role="admin", by=None)
    with pytest.raises(Over):  # an administrator could not have made it
        invitations.opened(handle=handle_of(link), now=now())


def test_nobody_is_invited_twice_and_no_member_is(world: World) -> None:
    row, _ = invite(world, email := somebody())
    for again in (email, world.me.user.email):
        with pytest.raises(services.Refused, match="already"):
            invite(world, again)
    with pytest.raises(services.Refused, match="e-mail"):
        invite(world, "not an address")
    admin, _ = seat(world, "admin")
    with Visitor() as visitor:
        world.log_in(visitor, admin)
        visitor.open(console(world, f"members/invitations/{row.pk}/"))
        visitor.send(visitor.forms()[-1], op="withdraw")
        assert "withdrawn" in told(visitor)
    assert invite(world, email)
    assert [event.detail["role"] for event in world.events("member.invite.withdrawn")] == ["member"]


def test_one_accepted_by_two_at_once_makes_one_member(world: World) -> None:
    _, link = invite(world, email := somebody())
    together = Barrier(2)

    def come(_: int) -> bool:
        try:
            together.wait(10)
            invitations.join(handle=handle_of(link), name="", password=LONG, now=now())
        except (Over, invitations.Known, services.Refused):
            return False
        finally:
            db.close()
        return True

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(come, range(2))) == [False, True]
    assert role_in(world, email) == "member"
    assert len(world.events("member.invite.accepted")) == 1


@pytest.mark.skipif(db.vendor != "postgresql", reason="SQLite has one writer at a time")
def test_one_withdrawn_while_it_is_accepted_makes_nobody_a_member(world: World) -> None:
    admin, _ = seat(world, "admin")
    row, link = invite(world, email := somebody(), by=admin)
    user = services.create_user(email=email, password=PASSWORD)

    def come() -> None:
        try:
            invitations.accept(handle=handle_of(link), user=user, now=now())
        finally:
            db.close()

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            services.hold(world.tenant.pk)
            coming = pool.submit(come)
            while not _somebody_waits():
                assert not coming.done()
            withdrawn(world, row, admin)
        with pytest.raises(Over):
            coming.result(20)
    assert role_in(world, email) is None


def _somebody_waits() -> bool:
    with db.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return bool(cursor.fetchone()[0])


def test_somebody_who_came_another_way_meanwhile_stays_what_they_are(world: World) -> None:
    _, link = invite(world, email := somebody())
    user = services.create_user(email=email, password=PASSWORD)
    services.add_member(tenant=world.tenant, user=user, role="auditor", by=None)
    assert invitations.accept(handle=handle_of(link), user=user, now=now()).role == "auditor"


def test_whoever_tries_many_links_has_to_wait(world: World, settings: Settings) -> None:
    cache.clear()
    settings.LOGIN_FAILURES_PER_HOUR = 3
    _, link = invite(world, somebody())
    with Visitor() as visitor:
        tried = [visitor.open(f"{world.product.url}/invitations/{n}/").status_code for n in range(4)]
        assert tried == [404, 404, 404, 429]
        assert visitor.open(link).status_code == 429
    cache.clear()


def test_a_link_opened_by_a_program_that_looks_ahead_is_not_used_up(world: World) -> None:
    _, link = invite(world, email := somebody())
    with Visitor() as visitor:
        for _ in range(3):
            assert visitor.open(link).status_code == 200
    assert role_in(world, email) is None


def test_the_log_lines_of_refused_pages_do_not_hold_the_handle(world: World, caplog: pytest.LogCaptureFixture) -> None:
    _, link = invite(world, somebody())
    caplog.handler.addFilter(cut := NoHandles())
    with Visitor() as visitor:
        world.log_in(visitor)
        assert visitor.open(link).status_code == 403
    caplog.handler.removeFilter(cut)
    assert "/invitations/…" in caplog.text
    assert handle_of(link) not in caplog.text
