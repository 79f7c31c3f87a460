"""Approval rows: exactly one call, for one person, client, account and ask, once, and as it was shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from audit.fingerprint import fingerprint, tenant_key
from providers import selectors as providers
from providers.errors import Unavailable
from providers.spec import Effect, ProviderSpec
from tenants.services import Refused
from tests.vault.outages import no_keys
from tests.vault.test_consent import at_once
from tests.world import World
from vault import approve_pages, sealing
from vault.crypto import Unreadable
from vault.models import Approval, Connection, TenantKey
from vault.services import approve, leave, question, revoke, rotate

CLIENT = "key:00000000-0000-0000-0000-000000000000"
ARGS = {"org": "acme", "issue": "1001", "text": "between you and me"}
SENT = {"mode": "auto", "dryRun": False, "prompt": "tell them"}


def now() -> datetime:
    return datetime.now(UTC)


def connected(world: World, label: str = "ada@example.com", **changes: Any) -> Connection:
    given = {"owner": world.me.user, "account_id": f"sentry:{label}", "account_label": label, "connected_at": now()}
    return Connection.objects.create(tenant=world.tenant, installation=world.installation, **{**given, **changes})


@pytest.fixture
def account(world: World) -> Connection:
    return connected(world)


def ask(account: Connection, **changes: Any) -> Approval:
    given: dict[str, Any] = {
        "tenant_id": account.tenant_id,
        "user_id": account.owner_id,
        "connection_id": account.pk,
        "client": CLIENT,
        "tool": "comment_on_issue",
        "args": ARGS,
        "sent": SENT,
        "now": now(),
    }
    return approve.ask(**{**given, **changes})


def given(account: Connection, **changes: Any) -> Approval:
    row = ask(account, **changes)
    assert question.give(row, now=now())
    return row


def take(account: Connection, **changes: Any) -> list[tuple[str, Any]]:
    given: dict[str, Any] = {
        "tenant_id": account.tenant_id,
        "user_id": account.owner_id,
        "connection_id": account.pk,
        "client": CLIENT,
        "sent": SENT,
        "run_id": "run_1",
        "now": now(),
    }
    return [(call.tool.name, call.args) for call in approve.take(**{**given, **changes})]


CALL = [("comment_on_issue", ARGS)]


# --- one question, one answer, one use


def test_asked_by_eight_at_once_there_is_one_question(world: World, account: Connection) -> None:
    assert len({row.pk for row in at_once(lambda: ask(account), 8)}) == 1
    assert len(world.events("approval.ask.done")) == 1


def test_taken_by_eight_at_once_one_has_it(world: World, account: Connection) -> None:
    row = given(account)
    taken = at_once(lambda: take(account), 8)
    assert sorted(taken) == [[]] * 7 + [CALL]
    [used] = world.events("approval.use.done")
    assert (used.run_id, used.client, used.connection_id, used.tool) == ("run_1", CLIENT, account.pk, CALL[0][0])
    assert used.detail == {"approval": str(row.pk), "effect": "write", "once": True}


def test_the_log_recognises_the_call_that_was_approved(settings: Any, world: World, account: Connection) -> None:
    given(account)
    take(account)
    [used] = world.events("approval.use.done")
    assert used.args_hmac == fingerprint(tenant_key(settings.SECRET_KEY, account.tenant_id), ARGS)


def test_taken_and_withdrawn_at_once_it_is_one_of_both(world: World, account: Connection) -> None:
    row = given(account)

    def one(turn: list[int]) -> bool:
        taking = turn.pop() % 2
        return bool(take(account)) if taking else question.withdraw(row, by=row.user_id, now=now())

    turns = list(range(8))
    assert at_once(lambda: one(turns), 8).count(True) == 1
    row.refresh_from_db()
    assert (row.used_at is None) != (row.withdrawn_at is None)
    assert len(world.events("approval.use.done")) + len(world.events("approval.withdraw.done")) == 1


def test_what_is_declined_is_asked_no_second_time_and_may_still_be_approved(account: Connection) -> None:
    row = ask(account)
    assert question.decline(row, now=now())
    assert take(account) == []
    again = ask(account)
    assert again.pk == row.pk
    assert again.declined_at is not None
    assert question.give(row, now=now())
    assert take(account) == CALL


def test_another_call_is_another_question(account: Connection) -> None:
    rows = [
        ask(account),
        ask(account, args={**ARGS, "text": "another"}),
        ask(account, args={**ARGS, "issue": 1001}),
        ask(account, tool="resolve_issue", args={"org": "acme", "issue": "1001"}),
        ask(account, sent={**SENT, "prompt": "another"}),
        ask(account, client="key:another"),
    ]
    assert len({row.pk for row in rows}) == len(rows)
    assert ask(account, args=dict(reversed(ARGS.items()))).pk == rows[0].pk


def test_an_ask_that_proposed_several_calls_has_those_that_were_approved(account: Connection) -> None:
    given(account)
    given(account, tool="resolve_issue", args={"org": "acme", "issue": "1001"})
    ask(account, args={**ARGS, "text": "not this one"})
    assert take(account) == [*CALL, ("resolve_issue", {"org": "acme", "issue": "1001"})]
    assert take(account) == []


def test_it_may_be_answered_and_then_used_for_minutes_only(account: Connection) -> None:
    late = now() + timedelta(seconds=601)
    row = ask(account)
    assert not question.give(row, now=late)
    assert question.state(row, now=late) is question.State.EXPIRED
    assert question.give(row, now=now())
    assert take(account, now=late) == []
    assert take(account) == CALL


# --- for nobody and nothing else


@pytest.mark.parametrize(
    "change",
    [
        {"client": "key:another"},
        {"sent": {**SENT, "prompt": "tell them!"}},
        {"sent": {**SENT, "dryRun": True}},
        {"sent": {"mode": "tool", "tool": "comment_on_issue", "args": ARGS}},
    ],
    ids=["client", "prompt", "rehearsal", "tool"],
)
def test_another_client_or_ask_gets_nothing(account: Connection, change: dict[str, Any]) -> None:
    given(account)
    assert take(account, **change) == []
    assert take(account) == CALL


def test_another_person_account_or_tenant_gets_nothing(world: World, account: Connection) -> None:
    shared = connected(world, "team@example.com", owner=None)
    given(shared, user_id=world.me.user.pk)
    other, elsewhere = world.person().user.pk, World(world.product, world.sandbox)
    assert take(shared, user_id=other) == []
    assert take(account) == []
    assert take(shared, user_id=world.me.user.pk, tenant_id=elsewhere.tenant.pk) == []
    assert take(shared, user_id=world.me.user.pk) == CALL


def test_a_call_nobody_could_make_is_not_put_to_anybody(world: World, account: Connection) -> None:
    other = World(world.product, world.sandbox)
    for change in (
        {"tenant_id": other.tenant.pk},
        {"user_id": world.person().user.pk},
        {"tool": "no_such_tool"},
        {"args": {**ARGS, "text": "x" * 40_000}},
    ):
        with pytest.raises(Refused):
            ask(account, **change)
    assert not Approval.objects.filter(connection=account).exists()
    assert not world.events("approval.ask.done")


def test_what_nobody_approved_is_not_taken(account: Connection) -> None:
    row = ask(account)
    assert take(account) == []
    question.give(row, now=now())
    question.withdraw(row, by=row.user_id, now=now())
    assert take(account) == []


# --- as it was shown


def _nothing(_: Approval, __: Approval) -> dict[str, Any]:
    return {"sealed": b""}


def _altered(row: Approval, _: Approval) -> dict[str, Any]:
    return {"sealed": bytes(row.sealed)[:-1] + bytes([bytes(row.sealed)[-1] ^ 1])}


def _another_s(_: Approval, other: Approval) -> dict[str, Any]:
    return {"sealed": other.sealed}


def _another_s_with_its_digest(_: Approval, other: Approval) -> dict[str, Any]:
    return {"sealed": other.sealed, "call": other.call}


def _sealed_here_but_not_what_the_digest_says(row: Approval, _: Approval) -> dict[str, Any]:
    plain = b'{"args":{"issue":"1001","org":"acme","text":"harmful"},"tool":"comment_on_issue"}'
    return {"sealed": sealing.seal(row.tenant_id, plain, approve.context(row))}


@pytest.mark.parametrize(
    "change", [_nothing, _altered, _another_s, _another_s_with_its_digest, _sealed_here_but_not_what_the_digest_says]
)
def test_a_forged_row_is_refused_used_up_and_recorded(
    world: World, account: Connection, change: Callable[[Approval, Approval], dict[str, Any]]
) -> None:
    other = ask(account, args={**ARGS, "text": "harmful"})
    row = given(account)
    Approval.objects.filter(pk=row.pk).update(**change(row, other))
    row.refresh_from_db()
    with pytest.raises(question.Stopped, match="changed"):
        approve_pages.sheet(row)
    assert take(account) == []
    assert take(account) == []
    [refused] = world.events("approval.use.refused")
    assert (refused.run_id, refused.detail["approval"]) == ("run_1", str(row.pk))
    assert not world.events("approval.use.done")


@pytest.mark.parametrize("column", ["user", "client", "connection", "once"])
def test_a_row_moved_to_somebody_or_something_else_is_refused(world: World, account: Connection, column: str) -> None:
    shared, person = connected(world, "team@example.com", owner=None), world.person().user
    moved: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
        "user": ({"user": person}, {"user_id": person.pk}),
        "client": (
            {"client": "key:another", "once": question.once(world.tenant.pk, "key:another", account.pk, SENT)},
            {"client": "key:another"},
        ),
        "connection": (
            {"connection": shared, "once": question.once(world.tenant.pk, CLIENT, shared.pk, SENT)},
            {"connection_id": shared.pk},
        ),
        "once": (
            {"once": question.once(world.tenant.pk, CLIENT, account.pk, {"prompt": "another"})},
            {"sent": {"prompt": "another"}},
        ),
    }
    row, (update, asking) = given(account), moved[column]
    Approval.objects.filter(pk=row.pk).update(**update)
    assert take(account, **asking) == []
    assert len(world.events("approval.use.refused")) == 1


@pytest.mark.parametrize("gone", [False, True], ids=["changed", "gone"])
def test_a_tool_that_is_not_what_it_said_is_not_called(
    world: World, account: Connection, monkeypatch: pytest.MonkeyPatch, *, gone: bool
) -> None:
    given(account)
    spec = providers.spec_of(world.installation)
    tools = [
        replace(tool, summary="Delete an issue.") if tool.name == "comment_on_issue" else tool
        for tool in spec.tools
        if not gone or tool.name != "comment_on_issue"
    ]
    changed = replace(spec, tools=tuple(tools))

    def spec_of(_: object) -> ProviderSpec:
        return changed

    monkeypatch.setattr(providers, "spec_of", spec_of)
    assert take(account) == []
    assert len(world.events("approval.use.refused")) == 1


def test_arguments_are_stored_sealed_only(world: World, account: Connection) -> None:
    row = given(account)
    take(account)
    stored = Approval.objects.filter(pk=row.pk).values().get()
    assert b"between you" not in bytes(stored["sealed"])
    assert "between you" not in str(stored)
    assert "between you" not in str([(event.detail, event.args_hmac) for event in world.events()])


def test_arguments_come_back_to_the_letter(account: Connection) -> None:
    args = {**ARGS, "text": "\ud800 é\u202e\0\n ", "nested": {"b": [1, 1.0, None, True, 10**30], "a": {}}}
    given(account, args=args)
    [(_, found)] = take(account)
    assert found == args
    assert [type(item) for item in found["nested"]["b"]] == [int, float, type(None), bool, int]


# --- keys come and go


def test_without_the_keys_nothing_is_asked_shown_or_used_up(world: World, account: Connection) -> None:
    row = given(account)
    with no_keys():
        with pytest.raises(Unavailable):
            ask(account, args={**ARGS, "text": "another"})
        with pytest.raises(question.Stopped, match="closed"):
            approve_pages.sheet(row)
        with pytest.raises(Unavailable):
            take(account)
    assert take(account) == CALL


def test_a_rotation_of_keys_takes_approvals_along(world: World, account: Connection) -> None:
    row = given(account)
    assert rotate.begin(tenant_id=world.tenant.pk)
    assert rotate.retire(tenant_id=world.tenant.pk, now=now()).needed_by["approvals"] == 1
    assert not any(batch.unreadable for batch in rotate.reseal(tenant_id=world.tenant.pk))
    assert rotate.retire(tenant_id=world.tenant.pk, now=now()).retired == 1
    assert Approval.objects.get(pk=row.pk).key_id != row.key_id
    assert TenantKey.objects.filter(tenant=world.tenant).count() == 1
    assert take(account) == CALL


def test_what_was_sealed_with_a_shredded_key_is_gone(world: World, account: Connection) -> None:
    row = given(account)
    TenantKey.objects.filter(tenant=world.tenant).update(state="shredded", wrapped=None)
    with pytest.raises(Unreadable):
        sealing.open_sealed(row.tenant_id, row.sealed, approve.context(row))
    assert take(account) == []


def test_a_tenant_goes_with_its_approvals_and_keys(world: World, account: Connection) -> None:
    given(account)
    world.tenant.delete()
    assert not Approval.objects.filter(tenant_id=account.tenant_id).exists()


# --- it ends with what it was about


def _disconnected(world: World, account: Connection) -> None:
    revoke.disconnect(connection=account, by=world.me.user.pk)


def _widened(_: World, account: Connection) -> None:
    question.scopes_widened(connection=account, now=now())


def _removed(world: World, _: Connection) -> None:
    leave.remove_member(membership=world.me.user.memberships.get(), by=None, now=now())


@pytest.mark.parametrize(
    ("end", "why"), [(_disconnected, "disconnected"), (_widened, "scopes"), (_removed, "disconnected")]
)
def test_it_ends_with_the_connection_its_scopes_and_the_membership(
    world: World, account: Connection, end: Callable[[World, Connection], None], why: str
) -> None:
    row, waiting = given(account), ask(account, args={**ARGS, "text": "another"})
    end(world, account)
    assert take(account) == []
    assert not question.give(waiting, now=now())
    assert question.state(Approval.objects.get(pk=row.pk), now=now()) is question.State.OVER
    [event] = world.events("approval.withdraw.done")
    assert event.detail["why"] == why


def test_an_approval_on_a_shared_account_ends_with_the_membership(world: World) -> None:
    shared, me = connected(world, owner=None), world.me.user.pk
    given(shared, user_id=me)
    _removed(world, shared)
    assert take(shared, user_id=me) == []
    [event] = world.events("approval.withdraw.done")
    assert event.detail["why"] == "member"


def test_waiting_is_over_when_there_is_an_answer(world: World, account: Connection) -> None:
    row = ask(account)
    assert not question.answered(row.pk, user_id=row.user_id, now=now())
    assert question.answered(row.pk, user_id=world.person().user.pk, now=now())
    assert question.answered(row.pk, user_id=row.user_id, now=now() + timedelta(seconds=601))
    question.give(row, now=now())
    assert question.answered(row.pk, user_id=row.user_id, now=now())


def test_what_has_long_been_over_is_forgotten(account: Connection) -> None:
    given(account)
    assert take(account) == CALL
    ask(account, args={**ARGS, "text": "another"})
    mine = Approval.objects.filter(connection=account)
    question.forget(before=now() - timedelta(days=1))
    assert mine.count() == 2
    question.forget(before=now() + timedelta(days=1))
    assert not mine.exists()


def test_effects_are_the_tool_s_own(account: Connection) -> None:
    assert ask(account).effect == Effect.WRITE
    assert ask(account, tool="who_am_i", args={}).effect == Effect.READ
