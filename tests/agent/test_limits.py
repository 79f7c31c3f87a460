"""Buckets and breakers, decided from values and the clock alone."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from metaagent.agent.limits import Breaker, Bucket, Buckets

SEEDS = st.integers(0, 2**32)
MOST, PAUSE_S = 8, 5.0
PATIENT = settings(max_examples=50, deadline=None)
"""However busy the machine is."""


def gaps(seed: int, most: float, *, many: int = 40) -> list[float]:
    """Seconds between calls: bursts, and pauses of up to `most`."""
    chance = Random(seed)  # noqa: S311 - when calls come
    return [chance.choice((0.0, 0.01, chance.uniform(0, most))) for _ in range(many)]


# --- buckets


@PATIENT
@given(size=st.integers(1, 50), seed=SEEDS, cost=st.sampled_from([1, 2]))
def test_a_bucket_never_gives_more_than_it_holds_and_refills(size: int, seed: int, cost: int) -> None:
    bucket, now, given_at = Bucket(size, size, 0.0), 0.0, []
    for gap in gaps(seed, 30):
        now += gap
        if not bucket.take(now, cost):
            given_at.append(now)
    for i, first in enumerate(given_at):
        for j in range(i, len(given_at)):
            taken = (j - i + 1) * min(cost, size)
            assert taken <= size + (given_at[j] - first) * size / 60 + 1e-6


@PATIENT
@given(size=st.integers(1, 600), seed=SEEDS, cost=st.floats(1, 100))
def test_after_the_wait_that_was_told_there_is_one(size: int, seed: int, cost: float) -> None:
    bucket, now = Bucket(size, size, 0.0), 0.0
    for gap in gaps(seed, 30):
        now += gap
        if wait := bucket.take(now, cost):
            now += wait + 1e-6
            assert bucket.take(now, cost) == 0


def test_what_is_given_back_can_be_taken_again_and_no_more() -> None:
    buckets = Buckets(2)
    assert [buckets.take("a", 0.0) > 0 for _ in range(3)] == [False, False, True]
    buckets.give_back("a")
    assert [buckets.take("a", 0.0) > 0 for _ in range(2)] == [False, True]
    for _ in range(5):
        buckets.give_back("a")
    assert [buckets.take("a", 0.0) > 0 for _ in range(3)] == [False, False, True]
    buckets.give_back("nobody")


# --- the breaker


def opened(at: float = 0.0) -> Breaker:
    breaker = Breaker(MOST, PAUSE_S)
    for _ in range(MOST):
        breaker.failed(at)
    assert breaker.open
    return breaker


def test_it_opens_after_so_many_failures_in_a_row_and_an_answer_begins_the_count_anew() -> None:
    breaker = Breaker(MOST, PAUSE_S)
    for _ in range(3):
        for _ in range(MOST - 1):
            assert breaker.wait_s(0) == 0
            assert breaker.enter(0) == 0
            breaker.failed(0)
        breaker.answered(0)
    for _ in range(MOST):
        assert not breaker.open
        breaker.failed(0)
    assert breaker.wait_s(0) == PAUSE_S


def test_after_the_pause_one_probe_goes_and_the_next_a_pause_later_though_the_first_hangs() -> None:
    breaker = opened()
    assert breaker.wait_s(PAUSE_S - 0.1) > 0
    assert breaker.wait_s(PAUSE_S) == 0
    first = breaker.enter(PAUSE_S)
    assert first
    assert breaker.wait_s(PAUSE_S) == PAUSE_S
    assert breaker.wait_s(2 * PAUSE_S) == 0
    second = breaker.enter(2 * PAUSE_S)
    assert second not in {0, first}


def test_a_probe_that_is_answered_closes_it_and_one_that_fails_does_not() -> None:
    breaker = opened()
    breaker.enter(5)
    breaker.failed(6)
    assert breaker.wait_s(9) == 1
    probe = breaker.enter(10)
    breaker.answered(probe)
    assert not breaker.open
    assert (breaker.wait_s(10), breaker.enter(10)) == (0, 0)


def test_what_was_sent_before_it_opened_neither_closes_it_nor_puts_the_probe_off() -> None:
    breaker = opened()
    breaker.answered(0)
    assert breaker.open
    breaker.failed(4)
    assert breaker.wait_s(PAUSE_S) == 0


def test_a_probe_that_found_out_nothing_gives_its_place_back_but_not_that_of_a_later_one() -> None:
    breaker = opened()
    first = breaker.enter(5)
    breaker.give_back(first, 6)
    assert breaker.wait_s(6) == 0
    second = breaker.enter(6)
    breaker.give_back(first, 7)
    breaker.give_back(0, 7)
    assert breaker.wait_s(7) == 4
    breaker.give_back(second, 7)
    assert breaker.wait_s(7) == 0


@dataclass
class Call:
    """One under way."""

    ends: float
    probe: float
    works: bool


@PATIENT
@given(dies=st.floats(0, 20), dead_s=st.floats(0, 60), hangs_s=st.floats(0, 30), seed=SEEDS)
def test_a_dead_provider_is_asked_once_a_pause_and_used_again_soon_after_it_is_back(
    dies: float, dead_s: float, hangs_s: float, seed: int
) -> None:
    breaker, now, back = Breaker(MOST, PAUSE_S), 0.0, dies + dead_s
    probes: list[float] = []
    under_way: list[Call] = []
    for gap in gaps(seed, 1.0, many=400):
        now += gap
        for call in sorted((c for c in under_way if c.ends <= now), key=lambda c: c.ends):
            under_way.remove(call)
            if call.works:
                breaker.answered(call.probe)
            else:
                breaker.failed(call.ends)
        if breaker.wait_s(now):
            assert breaker.open
            assert now < back + hangs_s + PAUSE_S + 3.0, "the last that hung has ended, and a probe went"
            continue
        was_open = breaker.open
        probe = breaker.enter(now)
        assert bool(probe) == was_open
        if probe:
            probes.append(now)
        works = not dies <= now < back
        under_way.append(Call(now + (0.01 if works else hangs_s), probe, works))
    assert all(later - sooner >= PAUSE_S for sooner, later in pairwise(probes))
