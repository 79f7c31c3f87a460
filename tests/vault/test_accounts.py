"""Several accounts: which one an ask uses, whose they are, what they are called, and that none replaces another."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection as database

from metaagent.agent import gate
from metaagent.agent.failures import AccountAmbiguous, AccountUnknown, NeedsAuth
from metaagent.agent.types import Admission, ConnectionRef
from metaagent.visitor import Form, Visitor
from providers import catalogue
from providers.spec import ConsentPolicy, Exposure
from tenants import services as tenants
from tenants.services import Refused
from tests.world import Person, World
from vault.models import Connection, ConnectLink, SealedTokenSet
from vault.services import accounts, connect, import_, revoke

# --- Which one an ask uses, decided from values alone


def account(name: str, **changes: Any) -> ConnectionRef:
    ready = ConnectionRef(
        id=uuid4(),
        account_id=f"example.com:{name}",
        label=name,
        ready=True,
        reason="",
        scopes=frozenset({"org:read"}),
        is_default=False,
        shared=False,
    )
    return replace(ready, **changes)


def admission(*connections: ConnectionRef) -> Admission:
    sentry = catalogue.get("sentry")
    assert sentry is not None
    return Admission(sentry, uuid4(), Exposure.SOFT, connections, ConsentPolicy.NEVER, ())


def chosen(*connections: ConnectionRef, named: str | None = None, sticky: UUID | None = None) -> object:
    return gate.choose(admission(*connections), account_id=named, sticky=sticky)


ADA, BRUNO = account("ada"), account("bruno")
AWAY = account("away", ready=False, reason="refresh_failed")


def test_the_order_is_named_then_the_conversation_s_then_the_only_one_then_the_default() -> None:
    default = replace(BRUNO, is_default=True)
    assert chosen(ADA, default, named=ADA.account_id, sticky=default.id) is ADA
    assert chosen(ADA, default, sticky=ADA.id) is ADA
    assert chosen(ADA, AWAY) is ADA
    assert chosen(ADA, default) is default
    assert isinstance(chosen(ADA, BRUNO), AccountAmbiguous)
    assert isinstance(chosen(), NeedsAuth)


def test_one_s_own_default_comes_before_the_tenant_s_which_stands_in_when_one_s_own_is_not_ready() -> None:
    shared, own = account("shared", shared=True, is_default=True), replace(ADA, is_default=True)
    assert chosen(shared, own, BRUNO) is own
    assert chosen(shared, replace(own, ready=False), BRUNO) is shared


def test_an_account_is_named_by_its_id_or_its_label_exactly() -> None:
    assert chosen(ADA, BRUNO, named="bruno") is BRUNO
    assert chosen(ADA, BRUNO, named=BRUNO.account_id) is BRUNO
    assert isinstance(chosen(ADA, BRUNO, named="brun"), AccountUnknown)
    assert isinstance(chosen(ADA, BRUNO, named="BRUNO"), AccountUnknown)
    assert isinstance(chosen(ADA, BRUNO, named=""), AccountUnknown)


def test_a_label_that_fits_two_is_ambiguous_also_when_one_of_them_is_not_ready() -> None:
    twin = account("other", label="ada")
    found = chosen(ADA, replace(twin, ready=False), BRUNO, named="ada")
    assert isinstance(found, AccountAmbiguous)
    assert {account_id for account_id, _ in found.accounts} == {ADA.account_id, twin.account_id}


def test_nobody_captures_an_account_by_naming_another_one_after_its_id() -> None:
    posing = account("posing", label=ADA.account_id)
    assert chosen(ADA, posing, named=ADA.account_id) is ADA


def test_the_list_marks_what_is_shared() -> None:
    found = chosen(ADA, account("team", shared=True))
    assert isinstance(found, AccountAmbiguous)
    assert [label for _, label in found.accounts] == ["ada", "team (shared)"]


def test_an_account_that_is_shared_and_one_s_own_counts_once() -> None:
    both = replace(ADA, id=uuid4(), label="team", shared=True)
    assert chosen(both, ADA) is ADA
    assert chosen(both, ADA, named=ADA.account_id) is ADA
    assert chosen(both, replace(ADA, ready=False)) is both
    assert chosen(both, ADA, named="team") is both


def test_a_conversation_is_not_moved_to_another_account_because_its_own_needs_a_log_in() -> None:
    assert isinstance(chosen(ADA, AWAY, sticky=AWAY.id), NeedsAuth)
    assert gate.meant(admission(ADA, AWAY), account_id=None, sticky=AWAY.id) is AWAY


def test_a_conversation_whose_account_is_gone_goes_on_as_a_new_one() -> None:
    assert chosen(ADA, sticky=uuid4()) is ADA
    assert isinstance(chosen(ADA, BRUNO, sticky=uuid4()), AccountAmbiguous)


def test_a_log_in_is_asked_for_the_account_that_is_meant_or_for_any() -> None:
    meant = [
        gate.meant(admission(*connections), account_id=named, sticky=None)
        for connections, named in [((AWAY,), None), ((AWAY, ADA), "away"), ((AWAY, replace(AWAY, id=uuid4())), None)]
    ]
    assert [found.id if found else None for found in meant] == [AWAY.id, AWAY.id, AWAY.id]
    assert gate.meant(admission(AWAY, account("b", ready=False)), account_id=None, sticky=None) is None


# --- The same through /mcp

WHO = {"mode": "tool", "tool": "who_am_i"}


def promote(world: World, person: Person, role: str = "admin") -> Person:
    tenants.add_member(tenant=world.tenant, user=person.user, role=role, by=None)
    return person


def press(visitor: Visitor) -> None:
    visitor.send(next(form for form in visitor.forms() if form.method == "post" and "logout" not in form.action))


def connect_at(
    world: World,
    visitor: Visitor,
    query: str,
    *,
    email: str = "ada@example.com",
    person: Person | None = None,
    scopes: list[str] | None = None,
) -> str:
    """Connect from the connections page, where `query` says for whom or as whom. The page that comes back."""
    world.log_in(visitor, person)
    visitor.open(f"{world.product.url}/connect/sentry/?tenant={world.tenant.slug}{query}")
    press(visitor)
    world.approve(visitor, email=email, scopes=scopes)
    assert visitor.page.status_code == 200, visitor.page.text
    return visitor.page.text


def two_accounts(world: World) -> tuple[Connection, Connection]:
    world.connect(email="ada@example.com")
    world.connect_another("bruno@example.com")
    rows = {row.account_label: row for row in Connection.objects.filter(tenant=world.tenant)}
    return rows["ada@example.com"], rows["bruno@example.com"]


def test_a_conversation_keeps_its_account_until_another_one_is_named(world: World) -> None:
    ada, bruno = two_accounts(world)

    def used(conversation: str, **named: str) -> str:
        result = world.ask("run", {**WHO, "conversation": conversation}, **named)
        return str((result.structured_content or {}).get("accountId"))

    assert used("one", accountId=ada.account_id) == ada.account_id
    assert used("one") == ada.account_id
    assert used("two", accountId=bruno.account_id) == bruno.account_id
    assert used("one") == ada.account_id
    assert used("one", accountId="bruno@example.com") == bruno.account_id
    assert used("one") == bruno.account_id
    acted = [event.connection_id for event in world.events("tool.call.done")]
    assert acted == [ada.pk, ada.pk, bruno.pk, ada.pk, bruno.pk, bruno.pk]
    revoke.disconnect(connection=bruno, by=None)
    assert used("one") == ada.account_id


def test_the_account_of_a_conversation_is_not_another_person_s(world: World) -> None:
    two_accounts(world)
    other = world.person()
    world.ask("run", {**WHO, "conversation": "mine"}, accountId="bruno@example.com")
    assert world.error("run", {**WHO, "conversation": "mine"}, key=other.key)["code"] == "needs_auth"


def test_an_unknown_account_reveals_nothing(world: World) -> None:
    elsewhere = World(world.product, world.sandbox)
    foreign = elsewhere.connect(email="bruno@example.com")
    colleague = promote(world, world.person(), "member")
    theirs = world.connect(colleague, email="chioma@example.com")
    world.connect(email="ada@example.com")
    errors = [
        world.error("run", WHO, accountId=named)
        for named in (foreign.account_id, str(foreign.pk), theirs.account_id, "chioma@example.com", "no such thing")
    ]
    assert {error["code"] for error in errors} == {"account_unknown"}
    assert len({json.dumps(error) for error in errors}) == 1


def test_the_link_for_an_account_that_needs_a_log_in_says_which(world: World) -> None:
    ada, bruno = two_accounts(world)
    Connection.objects.filter(pk=bruno.pk).update(status="needs_auth", reason="refresh_failed")
    error = world.error("run", WHO, accountId="bruno@example.com")
    assert (error["code"], error["reason"]) == ("needs_auth", "refresh_failed")
    with Visitor() as visitor:
        visitor.open(error["connect_url"])
        world.log_in(visitor)
        assert "again" in visitor.page.text
        assert "bruno@example.com" in visitor.page.text
        assert "ada@example.com" not in visitor.page.text
    assert ada.status == "ready"


# --- Whose account it is


def test_coming_back_as_somebody_else_adds_an_account_and_says_so(world: World) -> None:
    ada = world.connect(email="ada@example.com")
    Connection.objects.filter(pk=ada.pk).update(status="needs_auth", reason="refresh_failed", name="Production")
    sealed = bytes(SealedTokenSet.objects.get(connection=ada).access)
    with Visitor() as visitor:
        text = connect_at(world, visitor, f"&account={ada.pk}", email="bruno@example.com")
        assert "You connected <bdi>bruno@example.com</bdi>" in text
        assert "<bdi>Production</bdi> is still disconnected" in text
        answer = str(visitor.page.url)
        assert visitor.open(answer).text.count("Production") == text.count("Production")  # the back button too
    rows = {row.account_label: row for row in Connection.objects.filter(tenant=world.tenant)}
    assert (rows["ada@example.com"].status, rows["bruno@example.com"].status) == ("needs_auth", "ready")
    assert bytes(SealedTokenSet.objects.get(connection=ada).access) == sealed
    assert world.events("connect.exchange.done")[-1].detail["another"] is True


def test_two_links_for_one_account_at_once_make_one_connection(world: World) -> None:
    links = [world.connect_link(), world.connect_link()]
    visitors = [Visitor(), Visitor()]

    def walk(link: str, visitor: Visitor) -> int:
        world.begin(visitor, link)
        world.approve(visitor, email="ada@example.com")
        return visitor.page.status_code

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(walk, links, visitors)) == [200, 200]
    for visitor in visitors:
        visitor.http.close()
    row = Connection.objects.get(tenant=world.tenant)
    assert SealedTokenSet.objects.get(connection=row).version == 2
    assert sorted(event.detail["version"] for event in world.events("connect.exchange.done")) == [1, 2]
    assert not world.call_tool("who_am_i").is_error


def test_an_email_address_is_never_what_tells_accounts_apart(world: World) -> None:
    given = {"access_token": "a", "expires_at": 1, "refresh_token": "r", "account_label": "ada@example.com"}
    rows = [
        import_.import_tokens(
            installation=world.installation,
            owner=world.me.user,
            given={**given, "account_id": subject},
            by=None,
            now=datetime.now(UTC),
        )
        for subject in ("1", "2")
    ]
    assert len({row.pk for row in rows}) == 2


def test_a_version_is_never_given_twice_also_after_a_disconnect(world: World) -> None:
    first = world.connect(email="ada@example.com")
    revoke.disconnect(connection=first, by=None)
    again = world.connect(email="ada@example.com")
    assert again.pk == first.pk
    assert SealedTokenSet.objects.get(connection=again).version == 2
    assert not world.call_tool("who_am_i").is_error


# --- Shared with the whole tenant


def shared_account(world: World, admin: Person, email: str = "ada@example.com") -> Connection:
    with Visitor() as visitor:
        text = connect_at(world, visitor, "&shared=1", email=email, person=admin)
        assert "for everybody in Test tenant" in text
    return Connection.objects.get(tenant=world.tenant, owner=None, account_label=email)


def test_what_an_administrator_shares_everybody_in_the_tenant_uses_and_nobody_else(world: World) -> None:
    shared = shared_account(world, promote(world, world.person()))
    assert not world.call_tool("who_am_i").is_error
    assert world.events("tool.call.done")[-1].connection_id == shared.pk
    assert world.events("tool.call.done")[-1].user_id == world.me.user.pk
    other = World(world.product, world.sandbox)
    assert other.error("run", WHO)["code"] == "needs_auth"
    assert other.error("run", WHO, accountId=shared.account_id)["code"] == "account_unknown"


def test_the_page_that_shares_an_account_says_who_will_use_it(world: World) -> None:
    admin = promote(world, world.person())
    with Visitor() as visitor:
        world.log_in(visitor, admin)
        visitor.open(f"{world.product.url}/connect/sentry/?tenant={world.tenant.slug}&shared=1")
        assert "Everybody in Test tenant can use this account" in visitor.page.text
        assert "Only you can use" not in visitor.page.text


@pytest.mark.parametrize("role", ["member", "auditor"])
def test_only_administrators_may_share_an_account(world: World, role: str) -> None:
    promote(world, world.me, role)
    with Visitor() as visitor:
        world.log_in(visitor)
        visitor.open(f"{world.product.url}/connect/sentry/?tenant={world.tenant.slug}&shared=1")
        assert visitor.page.status_code == 403
        assert "Only an administrator" in visitor.page.text


@pytest.mark.parametrize("step", ["open", "post", "callback"])
def test_an_administrator_s_link_dies_with_the_role(world: World, step: str) -> None:
    admin = promote(world, world.person())
    with Visitor() as visitor:
        world.log_in(visitor, admin)
        visitor.open(f"{world.product.url}/connect/sentry/?tenant={world.tenant.slug}&shared=1")
        link = str(visitor.page.url)
        if step == "open":
            promote(world, admin, "member")
            visitor.open(link)
        elif step == "post":
            promote(world, admin, "member")
            press(visitor)
        else:
            press(visitor)
            promote(world, admin, "member")
            exchanged = world.stats()["codes_exchanged"]
            world.approve(visitor)
            assert world.stats()["codes_exchanged"] == exchanged
        assert visitor.page.status_code == 403
    assert not Connection.objects.filter(tenant=world.tenant).exists()


def test_a_member_whose_shared_account_needs_a_log_in_is_told_who_can_do_it(world: World) -> None:
    shared = shared_account(world, promote(world, world.person()))
    Connection.objects.filter(pk=shared.pk).update(status="needs_auth", reason="refresh_failed")
    error = world.error("run", WHO)
    assert error["code"] == "needs_auth"
    with Visitor() as visitor:
        visitor.open(error["connect_url"])
        world.log_in(visitor)
        assert visitor.page.status_code == 403
        assert "Only an administrator can connect this" in visitor.page.text


def test_an_administrator_brings_a_shared_account_back_for_everybody(world: World) -> None:
    admin = promote(world, world.person())
    shared = shared_account(world, admin)
    Connection.objects.filter(pk=shared.pk).update(status="needs_auth", reason="refresh_failed")
    error = world.error("run", WHO, key=admin.key)
    with Visitor() as visitor:
        world.begin(visitor, error["connect_url"], admin)
        world.approve(visitor, email="ada@example.com")
        assert visitor.page.status_code == 200
    shared.refresh_from_db()
    assert (shared.status, shared.owner_id) == ("ready", None)
    assert Connection.objects.filter(tenant=world.tenant).count() == 1


def _forms(world: World, person: Person) -> tuple[str, list[Form]]:
    with Visitor() as visitor:
        world.log_in(visitor, person)
        visitor.open(f"{world.product.url}/connections/")
        return visitor.page.text, visitor.forms()


def test_members_see_what_is_shared_and_may_not_change_it(world: World) -> None:
    admin = promote(world, world.person())
    shared = shared_account(world, admin)
    text, forms = _forms(world, world.me)
    assert "Everybody in Test tenant can use it" in text
    assert not [form for form in forms if str(shared.pk) in form.action]
    _, forms = _forms(world, admin)
    assert len([form for form in forms if str(shared.pk) in form.action]) >= 2
    for act in ("disconnect", "rename", "default"):
        assert _post(world, world.me, shared, act).status_code == 404
    shared.refresh_from_db()
    assert (shared.status, shared.name, shared.is_default) == ("ready", "", False)
    assert _post(world, admin, shared, "disconnect").status_code == 200
    shared.refresh_from_db()
    assert shared.status == "revoked"


# --- Names and defaults


def _post(world: World, person: Person, row: Connection, act: str, **fields: str) -> Any:
    """As if the person's own connections page had such a form."""
    with Visitor() as visitor:
        world.log_in(visitor, person)
        visitor.open(f"{world.product.url}/connections/")
        token = visitor.forms()[0].fields["csrfmiddlewaretoken"]
        form = Form(f"/connections/{row.pk}/{act}/", "post", {"csrfmiddlewaretoken": token})
        return visitor.send(form, **fields)


def test_an_account_goes_by_the_name_its_owner_gives_it(world: World) -> None:
    ada, bruno = two_accounts(world)
    assert _post(world, world.me, ada, "rename", name="  Production  ").status_code == 200
    assert not world.ask("run", WHO, accountId="Production").is_error
    assert world.error("run", WHO, accountId="ada@example.com")["code"] == "account_unknown"
    listed = world.error("run", WHO)["accounts"]
    assert {each["label"] for each in listed} == {"Production", "bruno@example.com"}
    [event] = world.events("connection.label.done")
    assert (event.connection_id, event.user_id) == (ada.pk, world.me.user.pk)
    _post(world, world.me, ada, "rename", name="Production")
    assert len(world.events("connection.label.done")) == 1
    _post(world, world.me, ada, "rename", name="")
    assert not world.ask("run", WHO, accountId="ada@example.com").is_error
    assert bruno.name == ""


def test_a_name_is_short_and_can_be_seen(world: World) -> None:
    row = world.connect()
    for name in ("x" * 81, "a\nb", "a\u202eb", "a\u200bb", "a\x00b", "a\u2028b"):
        with pytest.raises(Refused, match="at most 80 characters"):
            accounts.rename(connection=row, name=name, by=world.me.user.pk)
    assert "A name has at most 80 characters" in _post(world, world.me, row, "rename", name="x" * 81).text
    row.refresh_from_db()
    assert row.name == ""


def test_a_name_is_text_wherever_it_stands(world: World) -> None:
    row = world.connect()
    answer = _post(world, world.me, row, "rename", name='<script>"&{{7*7}}</script>')
    assert "<script>" not in answer.text
    assert "&lt;script&gt;&quot;&amp;{{7*7}}" in answer.text


def test_the_default_is_used_when_none_is_named_until_it_is_taken_back(world: World) -> None:
    ada, bruno = two_accounts(world)
    _post(world, world.me, ada, "default", default="yes")
    _post(world, world.me, bruno, "default", default="yes")
    assert (world.ask("run", WHO).structured_content or {})["accountId"] == bruno.account_id
    _post(world, world.me, bruno, "default", default="yes")
    _post(world, world.me, bruno, "default", default="no")
    assert world.error("run", WHO)["code"] == "account_ambiguous"
    said = [(event.connection_id, event.detail["default"]) for event in world.events("connection.default.done")]
    assert said == [(ada.pk, True), (bruno.pk, True), (bruno.pk, False)]


@pytest.mark.parametrize("shared", [False, True])
def test_of_many_made_the_default_at_once_one_is(world: World, *, shared: bool) -> None:
    rows = [
        Connection.objects.create(
            tenant=world.tenant,
            installation=world.installation,
            owner=None if shared else world.me.user,
            account_id=f"x:{number}",
            account_label=str(number),
            connected_at=datetime.now(UTC),
        )
        for number in range(8)
    ]

    def choose(row: Connection) -> None:
        try:
            accounts.make_default(connection=row, default=True, by=world.me.user.pk)
        finally:
            database.close()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(choose, rows * 3))
    assert Connection.objects.filter(tenant=world.tenant, is_default=True).count() == 1


def test_a_disconnected_account_cannot_be_the_default(world: World) -> None:
    row = world.connect()
    revoke.disconnect(connection=row, by=None)
    assert "Connect it again first" in _post(world, world.me, row, "default", default="yes").text
    row.refresh_from_db()
    assert not row.is_default


def test_other_people_s_connections_are_not_found_whatever_is_done_to_them(world: World) -> None:
    row, other = world.connect(), world.person()
    stranger = World(world.product, world.sandbox)
    promote(stranger, stranger.me, "owner")
    admin = promote(world, world.person(), "owner")
    for act in ("disconnect", "rename", "default"):
        answers = [
            _post(world, other, row, act, name="x"),
            _post(world, admin, row, act, name="x"),
            _post(stranger, stranger.me, row, act, name="x"),
            _post(world, other, Connection(pk=uuid4()), act, name="x"),
        ]
        assert {answer.status_code for answer in answers} == {404}
    row.refresh_from_db()
    assert (row.status, row.name, row.is_default) == ("ready", "", False)


def test_nothing_is_changed_by_looking_or_by_another_page_s_form(world: World) -> None:
    row = world.connect()
    with Visitor() as visitor:
        world.log_in(visitor)
        for act in ("disconnect", "rename", "default"):
            url = f"{world.product.url}/connections/{row.pk}/{act}/"
            assert visitor.open(url).status_code == 405
            assert visitor.http.post(url, data={"name": "x", "default": "yes"}).status_code == 403
    row.refresh_from_db()
    assert (row.status, row.name, row.is_default) == ("ready", "", False)


def test_a_link_names_no_account_that_is_not_its_person_s(world: World) -> None:
    theirs, other = world.connect(), world.person()
    elsewhere = World(world.product, world.sandbox)
    for whose, tenant, installation in (
        (other, world.tenant, world.installation),
        (world.me, elsewhere.tenant, elsewhere.installation),
    ):
        connect.offer(
            tenant_id=tenant.pk,
            user_id=whose.user.pk,
            installation_id=installation.pk,
            slug="sentry",
            scopes=["org:read"],
            connection_id=theirs.pk,
            client="",
            now=datetime.now(UTC),
        )
        assert ConnectLink.objects.get(tenant=tenant, user=whose.user, scopes=["org:read"]).connection is None


def test_another_person_s_account_cannot_be_connected_again(world: World) -> None:
    row, other = world.connect(), world.person()
    with Visitor() as visitor:
        world.log_in(visitor, other)
        for given in (row.pk, uuid4(), "nonsense"):
            page = visitor.open(f"{world.product.url}/connect/sentry/?tenant={world.tenant.slug}&account={given}")
            assert page.status_code == 404
            assert row.account_label not in page.text
