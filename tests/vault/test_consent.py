"""Consent rows: one question at a time, one answer, one use; and nothing shown that is not what was asked."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier
from typing import Any, TypeVar

import pytest
from django.core.cache import cache
from django.db import connection as database

from providers.spec import Effect
from tenants import standing
from tests.world import World
from vault import selectors
from vault.models import Connection, Consent
from vault.services import consent, question

T = TypeVar("T")
CLIENT = "key:00000000-0000-0000-0000-000000000000"
SENT = {"mode": "tool", "dryRun": False, "tool": "comment_on_issue", "args": {"text": "hello"}}


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def account(world: World) -> Connection:
    return Connection.objects.create(
        tenant=world.tenant,
        installation=world.installation,
        owner=world.me.user,
        account_id="sentry:ada",
        account_label="ada@example.com",
        connected_at=now(),
    )


def ask(account: Connection, *, sent: dict[str, Any] | None = None, **changes: Any) -> Consent:
    given = {
        "tenant_id": account.tenant_id,
        "user_id": account.owner_id,
        "connection_id": account.pk,
        "client": CLIENT,
        "effect": Effect.WRITE,
        "now": now(),
    }
    return consent.ask(sent=sent, **{**given, **changes})


def take(account: Connection, sent: dict[str, Any] = SENT, **changes: Any) -> frozenset[Effect]:
    given = {
        "tenant_id": account.tenant_id,
        "user_id": account.owner_id,
        "connection_id": account.pk,
        "client": CLIENT,
        "run_id": "run_1",
        "now": now(),
    }
    return consent.take(sent=sent, **{**given, **changes})


def at_once(work: Callable[[], T], times: int = 10) -> list[T]:
    ready = Barrier(times)

    def one(_: int) -> T:
        try:
            database.ensure_connection()
            ready.wait()
            return work()
        finally:
            database.close()

    with ThreadPoolExecutor(times) as pool:
        return list(pool.map(one, range(times)))


def test_asked_ten_times_at_once_there_is_one_question(world: World, account: Connection) -> None:
    assert len({row.pk for row in at_once(lambda: ask(account))}) == 1
    assert len(world.events("consent.ask.done")) == 1


def test_taken_ten_times_at_once_it_is_had_once(world: World, account: Connection) -> None:
    question.give(ask(account, sent=SENT), now=now())
    taken = at_once(lambda: take(account))
    assert sorted(map(len, taken)) == [0] * 9 + [1]
    [used] = world.events("consent.use.done")
    assert (used.run_id, used.client, used.connection_id) == ("run_1", CLIENT, account.pk)


def test_yes_and_no_at_once_come_to_one_answer(world: World, account: Connection) -> None:
    row = ask(account)
    answers = at_once(lambda: question.give(row, now=now()), 5)
    assert answers.count(True) == 1
    assert not question.decline(row, now=now())
    assert len(world.events("consent.give.done")) == 1
    assert not world.events("consent.give.refused")


@pytest.mark.parametrize(
    "change",
    [
        {"client": "key:another"},
        {"sent": {**SENT, "args": {"text": "hello!"}}},
        {"sent": {**SENT, "args": {"text": "hello", "more": None}}},
        {"sent": {**SENT, "tool": "resolve_issue"}},
        {"sent": {**SENT, "dryRun": True}},
        {"sent": {"mode": "auto", "dryRun": False, "prompt": "hello"}},
    ],
    ids=["client", "argument", "another argument", "tool", "rehearsal", "prompt"],
)
def test_a_consent_to_one_ask_is_not_taken_for_another(account: Connection, change: dict[str, Any]) -> None:
    question.give(ask(account, sent=SENT), now=now())
    assert take(account, **change) == frozenset()
    assert take(account) == {Effect.WRITE}
    assert take(account) == frozenset()


def test_a_consent_to_one_ask_waits_for_minutes_only(account: Connection) -> None:
    row = ask(account, sent=SENT)
    question.give(row, now=now() - timedelta(seconds=601))
    assert take(account) == frozenset()
    assert question.state(Consent.objects.get(pk=row.pk), now=now()) is question.State.OVER


def test_what_nobody_answered_or_somebody_withdrew_is_not_taken(world: World, account: Connection) -> None:
    row = ask(account, sent=SENT)
    assert take(account) == frozenset()
    question.give(row, now=now())
    assert question.withdraw(row, by=world.me.user.pk, now=now())
    assert not question.withdraw(row, by=world.me.user.pk, now=now())
    assert take(account) == frozenset()
    assert len(world.events("consent.withdraw.done")) == 1


def test_giving_and_ending_is_told_to_every_process(world: World, account: Connection) -> None:
    row = ask(account)
    generations = [standing.generation()]
    question.give(row, now=now())
    generations.append(standing.generation())
    question.withdraw(row, by=world.me.user.pk, now=now())
    generations.append(standing.generation())
    assert generations == sorted(set(generations))


def test_a_question_on_another_tenant_s_account_cannot_be_made(world: World, account: Connection) -> None:
    other = World(world.product, world.sandbox)
    with pytest.raises(Connection.DoesNotExist):
        ask(account, tenant_id=other.tenant.pk)


def test_an_open_question_ends_with_what_it_was_about(account: Connection) -> None:
    row = ask(account)
    question.scopes_widened(connection=account, now=now())
    assert not question.give(row, now=now())
    assert question.answered(row.pk, user_id=row.user_id, now=now())


def test_waiting_is_over_when_there_is_an_answer_and_only_for_the_person_asked(
    world: World, account: Connection
) -> None:
    row = ask(account)
    assert not question.answered(row.pk, user_id=row.user_id, now=now())
    assert question.answered(row.pk, user_id=world.person().user.pk, now=now())
    assert question.answered(row.pk, user_id=row.user_id, now=now() + timedelta(seconds=601))
    question.decline(row, now=now())
    assert question.answered(row.pk, user_id=row.user_id, now=now())


def test_a_cache_that_says_something_else_is_not_believed(account: Connection) -> None:
    row = ask(account, sent=SENT)
    assert consent.shown(row) == SENT
    for lie in ({**SENT, "args": {"text": "harmless"}}, "nonsense", 7, None):
        cache.set(f"consent:{row.pk}", lie)
        assert consent.shown(row) is None


def test_arguments_are_kept_nowhere_but_in_the_cache(world: World, account: Connection) -> None:
    row = ask(account, sent={**SENT, "args": {"text": "between you and me"}})
    question.give(row, now=now())
    assert "between you and me" not in str(Consent.objects.filter(pk=row.pk).values().get())
    assert "between you and me" not in str([(event.detail, event.args_hmac) for event in world.events()])


def test_what_stands_is_listed_by_account_with_the_client_s_name(world: World, account: Connection) -> None:
    client = f"key:{world.me.user.memberships.get().client_keys.get().pk}"
    for effect in (Effect.READ, Effect.WRITE):
        question.give(ask(account, client=client, effect=effect), now=now())
    question.give(ask(account, sent=SENT), now=now())
    ask(account, effect=Effect.DESTRUCTIVE)
    listed = selectors.standing_consents(world.me.user.pk, [account.pk], now=now())
    assert [(given.effect, name) for given, name in listed[account.pk]] == [("read", "test"), ("write", "test")]
    assert not selectors.standing_consents(world.me.user.pk, [account.pk], now=now() + timedelta(days=91))
    assert not selectors.standing_consents(world.person().user.pk, [account.pk], now=now())


def test_what_has_long_been_over_is_forgotten_and_what_stands_is_not(account: Connection) -> None:
    standing = ask(account, effect=Effect.READ)
    question.give(standing, now=now())
    withdrawn = ask(account, effect=Effect.WRITE)
    question.give(withdrawn, now=now())
    question.withdraw(withdrawn, by=withdrawn.user_id, now=now())
    used = ask(account, sent=SENT)
    question.give(used, now=now())
    assert take(account)
    ask(account, effect=Effect.DESTRUCTIVE)
    mine = Consent.objects.filter(connection=account)
    question.forget(before=now() - timedelta(days=1))
    assert mine.count() == 4
    question.forget(before=now() + timedelta(days=1))
    assert [row.pk for row in mine] == [standing.pk]
