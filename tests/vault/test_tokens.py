"""Token answers are read strictly, and tokens do not print."""

from __future__ import annotations

import json
import pickle
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vault import crypto
from vault.tokens import AccessToken, AnswerRefused, TokenSet, read_token_answer

NOW = datetime(2026, 11, 22, tzinfo=UTC)
GOOD: dict[str, Any] = {"access_token": "a" * 40, "refresh_token": "r" * 40, "token_type": "Bearer", "expires_in": 3600}


def read(answer: object, status: int = 200) -> TokenSet:
    body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    return read_token_answer(status, body, now=NOW)


def test_a_plain_answer_is_read() -> None:
    tokens = read({**GOOD, "scope": "org:read event:read"})
    assert tokens.access == "a" * 40
    assert tokens.expires_at == NOW + timedelta(hours=1)
    assert tokens.scopes == ("org:read", "event:read")


@pytest.mark.parametrize(
    ("stated", "seconds"), [(None, 300), (1, 30), (10**12, 31_536_000), ("3600", 3600), (59.9, 59)]
)
def test_lifetimes_are_held_within_bounds_and_never_guessed_infinite(stated: object, seconds: int) -> None:
    assert read({**GOOD, "expires_in": stated}).expires_at == NOW + timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "answer",
    [
        {**GOOD, "expires_in": "soon"},
        {**GOOD, "expires_in": -5},
        {**GOOD, "expires_in": 0},
        {**GOOD, "expires_in": True},
        {**GOOD, "expires_in": [60]},
        {**GOOD, "token_type": "mac"},
        {**GOOD, "access_token": ""},
        {**GOOD, "access_token": None},
        {**GOOD, "access_token": {"value": "x"}},
        {**GOOD, "access_token": "a b"},
        {**GOOD, "access_token": "a\r\nHost: evil"},
        {**GOOD, "access_token": "é"},
        {**GOOD, "access_token": "a" * 16_385},
        {**GOOD, "refresh_token": "r" * 10_000_000},
        {**GOOD, "refresh_token": 7},
        {**GOOD, "scope": ["org:read"]},
        {},
        [],
        b"",
        b"<html>",
        b"null",
        b'{"access_token": "a", "access_token": "b"}',
        b"[" * 100_000,
        b'{"access_token": NaN}',
    ],
)
def test_an_answer_that_is_not_one_is_refused(answer: object) -> None:
    with pytest.raises(AnswerRefused):
        read(answer)


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (400, {"error": "invalid_grant"}, "invalid_grant"),
        (403, {"error": "invalid_grant"}, "invalid_grant"),
        (200, {"error": "invalid_grant"}, "invalid_grant"),
        (400, {"error": "invalid_client"}, "refused"),
        (500, {"error": "invalid_grant"}, "unavailable"),
        (429, {}, "unavailable"),
        (503, b"<html>", "unavailable"),
        (404, b"<html>", "malformed"),
    ],
)
def test_errors_are_told_apart(status: int, body: object, code: str) -> None:
    with pytest.raises(AnswerRefused) as caught:
        read(body, status)
    assert caught.value.code == code


def test_an_access_token_does_not_print_pickle_or_become_json() -> None:
    token = AccessToken("s3cret", 1)
    shown = f"{token} {token!r} {[token]} {token:>20}"
    assert "s3cret" not in shown
    with pytest.raises(TypeError):
        pickle.dumps(token)
    with pytest.raises(TypeError):
        json.dumps(token)
    assert "s3cret" not in repr(TokenSet("s3cret", "s3cret", NOW, None))


contexts = st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=4)


@given(plain=st.binary(max_size=200), context=contexts, other=contexts)
def test_a_blob_opens_for_its_own_context_only(plain: bytes, context: dict[str, str], other: dict[str, str]) -> None:
    from uuid import uuid4

    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    key = crypto.DataKey(uuid4(), AESGCM(crypto.new_key()))
    blob = key.seal(plain, context)
    assert key.open(blob, context) == plain
    if other != context:
        with pytest.raises(crypto.Unreadable):
            key.open(blob, other)
    for at in range(0, len(blob), 7):
        damaged = blob[:at] + bytes([blob[at] ^ 1]) + blob[at + 1 :]
        with pytest.raises(crypto.Unreadable):
            key.open(damaged, context)
