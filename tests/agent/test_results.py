"""Who is given what a read has found before: nobody who differs in anything."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from metaagent.agent.cache import Kept, Results
from metaagent.agent.types import Admission, ConnectionRef, Principal
from providers.spec import ConsentPolicy, Exposure, Page, Result
from tests.agent.desk import WIKI_SPEC, WORK, Memory, Token

READ, WRITE = WIKI_SPEC.tools
ARGS = {"page": "1", "more": ["x"]}


def world() -> tuple[Principal, Admission, ConnectionRef, Token]:
    principal = Principal(uuid4(), "acme", uuid4(), "key:a")
    connection = ConnectionRef(
        uuid4(), "a", "a", ready=True, reason="", scopes=frozenset(), is_default=True, shared=False
    )
    admission = Admission(WIKI_SPEC, uuid4(), Exposure.SOFT, (connection,), ConsentPolicy.NEVER, (), "", uuid4())
    return principal, admission, connection, Token(WORK)


def key(principal: Principal, admission: Admission, connection: ConnectionRef, token: Token, **changes: Any) -> Kept:
    return Kept.of(principal, admission, connection, token, changes.get("tool", READ), changes.get("args", ARGS))


def test_who_or_what_differs_in_anything_has_another_key() -> None:
    principal, admission, connection, token = whose = world()
    others = [
        key(replace(principal, tenant_id=uuid4()), admission, connection, token),
        key(replace(principal, user_id=uuid4()), admission, connection, token),
        key(principal, replace(admission, membership_id=uuid4()), connection, token),
        key(principal, replace(admission, installation_id=uuid4()), connection, token),
        key(
            principal, replace(admission, provider=replace(WIKI_SPEC, api_base="https://b.example")), connection, token
        ),
        key(principal, admission, replace(connection, id=uuid4()), token),
        key(principal, admission, connection, replace(token, version=2)),
        key(*whose, tool=WRITE),
        key(*whose, args={**ARGS, "page": "2"}),
        key(*whose, args={**ARGS, "page": 1}),
    ]
    assert len({key(*whose).key, *(each.key for each in others)}) == len(others) + 1


def test_the_order_of_arguments_makes_no_difference() -> None:
    whose = world()
    assert key(*whose, args=dict(reversed(ARGS.items()))) == key(*whose)


def test_without_a_known_membership_nothing_outlives_the_run() -> None:
    principal, admission, connection, token = world()
    assert key(principal, admission, connection, token).lasting
    assert not key(principal, replace(admission, membership_id=None), connection, token).lasting


def test_what_json_cannot_say_is_nobody_else_s() -> None:
    whose = world()
    one, other = (key(*whose, args={"page": 2**70}) for _ in range(2))
    assert one.key != other.key
    assert not one.lasting


class Reading:
    """A read that counts, and answers when it is told to."""

    def __init__(self) -> None:
        self.times = 0
        self.go = asyncio.Event()
        self.error: Exception | None = None

    async def __call__(self) -> Result:
        self.times += 1
        mine = self.times
        await self.go.wait()
        if self.error:
            raise self.error
        return Result({"n": mine}, f"the text of {mine}", (Page("A", "https://a.example", "1"),))


async def test_the_same_is_read_once_while_it_is_fresh_and_comes_back_whole() -> None:
    results, read, kept = Results(Memory(), 30), Reading(), key(*world())
    read.go.set()
    first, again = [await results.get(kept, 30, read) for _ in range(2)]
    assert (first[1], again[1]) == (False, True)
    assert first[0] == again[0]
    assert read.times == 1


@pytest.mark.parametrize(("keep_s", "most_s"), [(0, 30), (30, 0)])
async def test_what_may_not_be_kept_is_read_each_time(keep_s: int, most_s: int) -> None:
    results, read, kept = Results(Memory(), most_s), Reading(), key(*world())
    read.go.set()
    for _ in range(2):
        await results.get(kept, keep_s, read)
    assert read.times == 2


async def test_all_who_want_the_same_at_the_same_time_share_one_read() -> None:
    results, read, kept = Results(Memory(), 30), Reading(), key(*world())
    tasks = [asyncio.create_task(results.get(kept, 30, read)) for _ in range(20)]
    await asyncio.sleep(0)
    read.go.set()
    found = await asyncio.gather(*tasks)
    assert read.times == 1
    assert sum(hit for _, hit in found) == 19


async def test_when_the_one_who_reads_goes_away_another_reads() -> None:
    results, read, kept = Results(Memory(), 30), Reading(), key(*world())
    first = asyncio.create_task(results.get(kept, 30, read))
    await asyncio.sleep(0)
    others = [asyncio.create_task(results.get(kept, 30, read)) for _ in range(3)]
    await asyncio.sleep(0)
    first.cancel()
    others[0].cancel()
    await asyncio.wait([first, others[0]])
    assert first.cancelled()
    assert others[0].cancelled()
    read.go.set()
    for task in others[1:]:
        assert (await task)[0].text == "the text of 2"
    assert read.times == 2


async def test_a_failure_reaches_all_who_waited_and_is_not_kept() -> None:
    results, read, kept = Results(Memory(), 30), Reading(), key(*world())
    tasks = [asyncio.create_task(results.get(kept, 30, read)) for _ in range(3)]
    await asyncio.sleep(0)
    read.error = ValueError("no")
    read.go.set()
    assert [type(each) for each in await asyncio.gather(*tasks, return_exceptions=True)] == [ValueError] * 3
    read.error = None
    await results.get(kept, 30, read)
    assert read.times == 2


async def test_after_a_change_nothing_read_before_is_given_again() -> None:
    whose = world()
    results, read, kept = Results(Memory(), 30), Reading(), key(*whose)
    read.go.set()
    await results.get(kept, 30, read)
    await results.changed(whose[2])
    assert (await results.get(kept, 30, read))[1] is False
    assert (await results.get(kept, 30, read))[1] is True


async def test_what_was_read_while_something_changed_is_not_given_again() -> None:
    whose = world()
    results, read, kept = Results(Memory(), 30), Reading(), key(*whose)
    task = asyncio.create_task(results.get(kept, 30, read))
    await asyncio.sleep(0)
    await results.changed(whose[2])
    read.go.set()
    await task
    assert (await results.get(kept, 30, read))[1] is False
