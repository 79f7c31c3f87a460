"""Two people at once: a change says what it is a change of, and the second one is told."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection

from tests.api.place import Answer, Place

Change = Callable[[Place, int, str], Answer]


def _tenant(place: Place, number: int, tag: str) -> Answer:
    return place.patch("", {"name": f"Name {number}"}, If_Match=tag)


def _installation(place: Place, number: int, tag: str) -> Answer:
    return place.patch("installations/library/", {"limits": {"tool_calls_per_ask": number + 1}}, If_Match=tag)


def _set_up(place: Place, number: int, tag: str) -> Answer:
    return place.patch("installations/library/", {"about": f"about {number}"}, If_Match=tag)


def _choices(place: Place, number: int, tag: str) -> Answer:
    said = {"tools": {"list_books": {"scopes": [f"s{number}"]}}}
    return place.patch("installations/library/manifest/choices/", said, If_Match=tag)


PLACES = {
    "tenant": ("", _tenant),
    "installation": ("installations/library/", _installation),
    "setup": ("installations/library/", _set_up),
    "choices": ("installations/library/manifest/", _choices),
}


@pytest.mark.parametrize("kind", PLACES)
def test_a_change_of_what_was_seen_is_made_and_another_is_not(place: Place, kind: str) -> None:
    path, change = PLACES[kind]
    place.document()
    seen = place.get(path).headers["ETag"]
    assert seen.startswith('"')
    assert change(place, 1, seen).status == 200
    late = change(place, 2, seen)
    assert (late.status, late.problem) == (412, "outdated")
    now = place.get(path).headers["ETag"]
    assert now != seen
    assert change(place, 3, f'"x", {now}').status == 200
    assert change(place, 4, "*").status == 200
    assert change(place, 5, f"W/{place.get(path).headers['ETag']}").status == 412  # a weak one is none


@pytest.mark.parametrize("kind", PLACES)
def test_a_change_that_does_not_say_of_what_is_refused(place: Place, kind: str) -> None:
    path, change = PLACES[kind]
    place.document()
    before = place.get(path).json
    answer = change(place, 1, "")
    assert (answer.status, answer.problem) == (428, "unconditional")
    assert place.get(path).json == before


@pytest.mark.parametrize("kind", PLACES)
def test_of_many_at_once_exactly_one_is_made(place: Place, kind: str) -> None:
    path, change = PLACES[kind]
    place.document()
    seen, at_once = place.get(path).headers["ETag"], threading.Barrier(5)

    def send(number: int) -> int:
        try:
            at_once.wait(10)
            return change(place, number + 1, seen).status
        finally:
            connection.close()

    with ThreadPoolExecutor(5) as pool:
        statuses = sorted(pool.map(send, range(5)))
    assert statuses == [200, 412, 412, 412, 412]


def test_a_member_s_role_may_be_changed_with_or_without(place: Place) -> None:
    path = f"members/{place.members['member'].pk}/"
    seen = place.get(path).headers["ETag"]
    changed = place.patch(path, {"role": "auditor"})
    assert changed.json["role"] == "auditor"
    assert place.patch(path, {"role": "admin"}, If_Match=seen).problem == "outdated"
    assert place.patch(path, {"role": "admin"}, If_Match=changed.headers["ETag"]).status == 200


def test_where_it_is_not_looked_at_it_is_not_taken(place: Place) -> None:
    key = place.get("keys/", who="member").json["items"][0]["id"]
    answer = place.delete(f"keys/{key}/", who="member", If_Match='"x"')
    assert (answer.status, answer.problem) == (400, "unconditional_only")
