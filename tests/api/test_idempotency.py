"""Requests that are sent again: worked once, answered the same, and nobody but who sent them reads the answer."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.conf import settings
from django.db import connection

from tenants import repeats
from tenants.models import ClientKey, Repeat
from tests.api.place import Answer, Place

WISH = {"name": "nightly"}


def made(place: Place) -> int:
    return ClientKey.objects.filter(membership__tenant=place.tenant, name="nightly").count()


def test_the_same_request_again_is_given_the_same_answer(place: Place) -> None:
    first = place.post("keys/", WISH, Idempotency_Key="a")
    again = place.post("keys/", WISH, Idempotency_Key="a")
    assert (first.status, again.status) == (201, 201)
    assert first.json == again.json
    assert first.json["key"].startswith("mak_")
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    assert "RateLimit" in again.headers
    assert made(place) == 1
    assert len(place.events("key.create.done")) == 5  # each person's first, and this one
    assert place.post("keys/", WISH, Idempotency_Key="b").json["key"] != first.json["key"]
    assert place.post("keys/", WISH).status == 201
    assert made(place) == 3


def test_another_request_with_the_same_key_is_refused(place: Place) -> None:
    place.post("keys/", WISH, Idempotency_Key="a")
    for path, body in (("keys/", {"name": "other"}), ("invitations/", {"email": "a@example.com"})):
        answer = place.post(path, body, Idempotency_Key="a")
        assert (answer.status, answer.problem) == (422, "key_reused")
    assert made(place) == 1


def test_each_client_key_has_words_of_its_own(place: Place) -> None:
    mine = place.post("keys/", WISH, Idempotency_Key="a", who="owner")
    theirs = place.post("keys/", WISH, Idempotency_Key="a", who="admin")
    assert mine.json["key"] != theirs.json["key"]
    assert "Idempotency-Replayed" not in theirs.headers


def test_of_many_at_once_one_is_worked(place: Place) -> None:
    at_once = threading.Barrier(6)

    def send(_: int) -> Answer:
        try:
            at_once.wait(10)
            return place.post("keys/", WISH, Idempotency_Key="a")
        finally:
            connection.close()

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(send, range(6)))
    assert made(place) == 1
    assert len({json.dumps(answer.json) for answer in answers if answer.status == 201}) == 1
    for answer in answers:
        if answer.status != 201:
            assert (answer.status, answer.problem) == (409, "being_worked")
            assert int(answer.headers["Retry-After"]) > 0


def test_what_was_never_answered_is_never_worked_again(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def dies(*_: Any, **__: Any) -> None:
        raise SystemExit

    with monkeypatch.context() as patched:
        patched.setattr(repeats, "keep", dies)  # the process ends between the work and its answer
        with pytest.raises(SystemExit):
            place.post("keys/", WISH, Idempotency_Key="a")
    assert made(place) == 1
    assert place.post("keys/", WISH, Idempotency_Key="a").problem == "being_worked"
    Repeat.objects.filter(key__membership__tenant=place.tenant).update(at=datetime.now(UTC) - repeats.WORKING)
    later = place.post("keys/", WISH, Idempotency_Key="a")
    assert (later.status, later.problem) == (409, "outcome_unknown")
    assert "Retry-After" not in later.headers
    assert made(place) == 1


def test_what_was_refused_may_be_tried_again_with_the_same_key(place: Place) -> None:
    wish = {"slug": "sentry"}
    refused = place.post("installations/", wish, Idempotency_Key="a")
    assert refused.problem == "client_needed"
    other = place.post("installations/", {"slug": "sentry", "client_id": "abc"}, Idempotency_Key="a")
    assert other.problem != "key_reused"


def test_what_cannot_be_read_uses_no_key_up(place: Place) -> None:
    assert place.post("keys/", {"nonsense": 1}, Idempotency_Key="a").status == 400
    assert place.post("keys/", WISH, Idempotency_Key="a").status == 201


@pytest.mark.parametrize("word", ["", " ", "a b", "é", "a" * 256])
def test_a_word_that_is_none_is_said(place: Place, word: str) -> None:
    answer = place.post("keys/", WISH, Idempotency_Key=word)
    assert (answer.status, answer.problem) == (400, "bad_key")
    assert made(place) == 0


def test_the_database_alone_opens_no_answer(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    key = place.post("keys/", WISH, Idempotency_Key="a").json["key"]
    row = Repeat.objects.get(key__membership__tenant=place.tenant)
    assert key.encode() not in bytes(row.sealed or b"")
    for column in ("digest", "request"):
        assert key not in getattr(row, column)
    monkeypatch.setattr(settings, "SECRET_KEY", "another " * 10)  # as who has the rows, and guesses the word
    answer = place.post("keys/", WISH, Idempotency_Key="a")
    assert (answer.status, answer.problem) == (422, "key_reused")
    monkeypatch.setattr(settings, "SECRET_KEY_FALLBACKS", [])


def test_a_former_secret_still_opens_its_answers(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    first = place.post("keys/", WISH, Idempotency_Key="a")
    monkeypatch.setattr(settings, "SECRET_KEY_FALLBACKS", [settings.SECRET_KEY])
    monkeypatch.setattr(settings, "SECRET_KEY", "another " * 10)
    assert place.post("keys/", WISH, Idempotency_Key="a").json == first.json


def test_an_answer_moved_to_another_row_does_not_open(place: Place) -> None:
    place.post("keys/", WISH, Idempotency_Key="a")
    place.post("keys/", WISH, Idempotency_Key="b")
    rows = {row.digest: row for row in Repeat.objects.filter(key__membership__tenant=place.tenant)}
    one, two = rows.values()
    Repeat.objects.filter(pk=two.pk).update(sealed=one.sealed, request=one.request)
    statuses = [place.post("keys/", WISH, Idempotency_Key=word) for word in ("a", "b")]
    assert sum(answer.status == 201 for answer in statuses) == 1


def test_answers_are_forgotten_after_a_day(place: Place) -> None:
    from tenants.oauth import tasks

    place.post("keys/", WISH, Idempotency_Key="a")
    mine = Repeat.objects.filter(key__membership__tenant=place.tenant)
    tasks.sweep()
    assert mine.exists()
    mine.update(at=datetime.now(UTC) - timedelta(hours=24, seconds=1))
    assert "Idempotency-Replayed" not in place.post("keys/", WISH, Idempotency_Key="a").headers
    mine.update(at=datetime.now(UTC) - timedelta(hours=24, seconds=1))
    tasks.sweep()
    assert not mine.exists()
