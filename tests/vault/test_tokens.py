"""Token answers are read strictly, and tokens do not print."""

from __future__ import annotations

import json
import pickle
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any
from urllib.parse import urlencode

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.spec import OAuthSpec
from vault import crypto
from vault.oauth import granted
from vault.tokens import AccessToken, AnswerRefused, TokenSet, read_id_token, read_token_answer

NOW = datetime(2026, 11, 22, tzinfo=UTC)
GOOD: dict[str, Any] = {"access_token": "a" * 40, "refresh_token": "r" * 40, "token_type": "Bearer", "expires_in": 3600}
PLAIN = OAuthSpec(authorize_url="https://as.example/authorize", token_url="https://as.example/token")
SLACK = OAuthSpec(
    authorize_url="https://as.example/authorize",
    token_url="https://as.example/token",
    token_path=("authed_user",),
    ok_field="ok",
    granted_separator=",",
    dead_grant_errors=frozenset({"invalid_refresh_token"}),
)
JSON, FORM = "application/json", "application/x-www-form-urlencoded"


def read(
    answer: object,
    status: int = 200,
    *,
    kind: str | None = JSON,
    spec: OAuthSpec = PLAIN,
    headers: Mapping[str, str] = MappingProxyType({}),
) -> TokenSet:
    body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    said = {} if kind is None else {"content-type": kind}
    return read_token_answer(spec, httpx2.Response(status, headers={**said, **headers}, content=body))


def nested(depth: int) -> bytes:
    """A good answer with a member that makes it `depth` deep."""
    inner = depth - 1
    return json.dumps(GOOD).encode()[:-1] + b', "more": ' + b"[" * inner + b"]" * inner + b"}"


@pytest.mark.parametrize(
    "kind", [JSON, "application/json; charset=UTF-8", "Application/JSON", "application/a+json", None]
)
def test_a_plain_answer_is_read(kind: str | None) -> None:
    tokens = read({**GOOD, "scope": "org:read event:read org:read", "more": [{}]}, kind=kind)
    assert (tokens.access, tokens.refresh, tokens.lifetime_s) == ("a" * 40, "r" * 40, 3600)
    assert tokens.scopes == ("org:read", "event:read")


def test_an_answer_is_a_form_where_it_says_so() -> None:
    form = urlencode({**GOOD, "scope": "repo,gist", "refresh_token_expires_in": 15_897_600}).encode()
    tokens = read(form, kind=f"{FORM}; charset=utf-8")
    assert (tokens.access, tokens.lifetime_s) == ("a" * 40, 3600)
    for body in (form + b"&access_token=b", form + b"&&", b"\xff=1", b"access_token=a%0d%0aHost:evil", b"access_token"):
        with pytest.raises(AnswerRefused, match="malformed"):
            read(body, kind=FORM)
    with pytest.raises(AnswerRefused, match="malformed"):
        read(form)


@pytest.mark.parametrize(
    ("stated", "seconds"),
    [(None, None), (1, 1), (0.5, 1), (10**12, 31_536_000), ("3600", 3600), (59.9, 59), (10**400, 31_536_000)],
)
def test_a_lifetime_is_held_within_bounds_and_never_invented(stated: object, seconds: int | None) -> None:
    assert read({**GOOD, "expires_in": stated}).lifetime_s == seconds


def test_an_unstated_lifetime_is_short_while_it_can_be_renewed() -> None:
    silent, said = read({"access_token": "a"}), read({**GOOD, "expires_in": 7})
    usual = replace(PLAIN, lifetime_s=7200)
    assert silent.lives_s(PLAIN, renewable=True) == 300
    assert silent.lives_s(PLAIN, before=3600, renewable=True) == 3600
    assert silent.lives_s(usual, before=3600, renewable=True) == 7200
    assert silent.lives_s(PLAIN, renewable=False) is None
    assert said.lives_s(usual, before=3600, renewable=True) == 7


@pytest.mark.parametrize(
    "answer",
    [
        {**GOOD, "expires_in": "soon"},
        {**GOOD, "expires_in": ""},
        {**GOOD, "expires_in": "-5"},
        {**GOOD, "expires_in": "١٢"},
        {**GOOD, "expires_in": "9" * 13},
        {**GOOD, "expires_in": -5},
        {**GOOD, "expires_in": 0},
        {**GOOD, "expires_in": True},
        {**GOOD, "expires_in": [60]},
        {**GOOD, "expires_in": float("nan")},
        {**GOOD, "expires_in": float("inf")},
        {**GOOD, "expires_in": float("-inf")},
        {**GOOD, "token_type": "mac"},
        {**GOOD, "token_type": "user"},
        {**GOOD, "token_type": "bearer "},
        {**GOOD, "token_type": ""},
        {**GOOD, "token_type": ["bearer"]},
        {**GOOD, "access_token": ""},
        {**GOOD, "access_token": None},
        {**GOOD, "access_token": 7},
        {**GOOD, "access_token": {"value": "x"}},
        {**GOOD, "access_token": "a b"},
        {**GOOD, "access_token": "a\r\nHost: evil"},
        {**GOOD, "access_token": "a\n"},
        {**GOOD, "access_token": "a\x00"},
        {**GOOD, "access_token": "a\x7f"},
        {**GOOD, "access_token": "é"},
        {**GOOD, "access_token": "\ud800"},
        {**GOOD, "access_token": "a" * 16_385},
        {**GOOD, "refresh_token": "r" * 10_000_000},
        {**GOOD, "refresh_token": "r\t"},
        {**GOOD, "refresh_token": 7},
        {**GOOD, "scope": [["org:read"]]},
        {**GOOD, "scope": "a\r\nb"},
        {**GOOD, "scope": "é"},
        {**GOOD, "scope": "a " * 5_000},
        {**GOOD, "more": "x" * 1_048_576},
        {},
        [],
        [GOOD],
        b"",
        b"<html>",
        b"null",
        b"7",
        b'"access_token"',
        b'{"access_token": "a", "access_token": "b"}',
        b'{"access_token": "a", "more": {"x": 1, "x": 2}}',
        b'{"access_token": NaN}',
        b'{"access_token": "a", "more": Infinity}',
        b'{"access_token": "a"} {}',
        b'{"access_token": "a\xff"}',
        json.dumps(GOOD).encode("utf-16"),
        b"[" * 100_000,
        b'{"a":' * 100_000,
        nested(33),
    ],
)
def test_an_answer_that_is_not_one_is_refused(answer: object) -> None:
    with pytest.raises(AnswerRefused, match="malformed"):
        read(answer)


@pytest.mark.parametrize("kind", ["text/html", "text/plain", "text/json", "application/xml", "application/jsonp", ""])
def test_what_does_not_say_that_it_is_an_answer_is_none(kind: str) -> None:
    with pytest.raises(AnswerRefused, match="malformed"):
        read(GOOD, kind=kind)


def test_an_answer_may_be_as_large_as_the_limits_say() -> None:
    assert read({**GOOD, "access_token": "a" * 16_384}).access
    assert read(nested(32)).access


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (400, {"error": "invalid_grant"}, "invalid_grant"),
        (401, {"error": "invalid_grant"}, "invalid_grant"),
        (403, {"error": "invalid_grant"}, "invalid_grant"),
        (200, {"error": "invalid_grant"}, "invalid_grant"),
        (200, {**GOOD, "error": "invalid_grant"}, "invalid_grant"),
        (200, {**GOOD, "error": "server_error"}, "refused"),
        (201, GOOD, "refused"),
        (302, GOOD, "refused"),
        (307, {"error": "invalid_grant"}, "refused"),
        (308, b"", "refused"),
        (400, {"error": "invalid_client"}, "refused"),
        (401, {"error": "invalid_client"}, "refused"),
        (400, {"error": "invalid_client", "code": "invalid_grant"}, "refused"),
        (400, {"error": "INVALID_GRANT"}, "refused"),
        (400, {"error": {"code": "invalid_grant"}}, "refused"),
        (400, {"error": ["invalid_grant"]}, "refused"),
        (400, {"error_description": "invalid_grant"}, "refused"),
        (400, {"status": "invalid_grant"}, "invalid_grant"),
        (400, GOOD, "refused"),
        (408, {"error": "invalid_grant"}, "unavailable"),
        (429, {"error": "invalid_grant"}, "unavailable"),
        (500, {"error": "invalid_grant"}, "unavailable"),
        (599, b"", "unavailable"),
        (503, b"<html>", "unavailable"),
        (404, b"<html>", "refused"),
        (400, b"invalid_grant", "refused"),
        (403, b'{"error": "invalid_grant", "error": "invalid_grant"}', "refused"),
    ],
)
def test_errors_are_told_apart(status: int, body: object, code: str) -> None:
    with pytest.raises(AnswerRefused) as caught:
        read(body, status)
    assert caught.value.code == code
    assert "evil" not in str(caught.value)


def test_a_page_is_never_the_end_of_a_grant() -> None:
    for status in (200, 400, 401, 403, 404):
        with pytest.raises(AnswerRefused, match="malformed" if status == 200 else "refused"):
            read({"error": "invalid_grant"}, status, kind="text/html")


@pytest.mark.parametrize(
    ("status", "headers", "seconds"),
    [
        (429, {"retry-after": "7"}, 7),
        (503, {"retry-after": "0"}, 1),
        (503, {"retry-after": "86400"}, 3600),
        (429, {"retry-after": "9" * 400}, 30),
        (429, {"retry-after": "soon"}, 30),
        (429, {"retry-after": "-1"}, 30),
        (503, {"date": "Sun, 22 Nov 2020 10:00:00 GMT", "retry-after": "Sun, 22 Nov 2020 10:02:00 GMT"}, 120),
        (503, {"date": "Sun, 22 Nov 2020 10:00:00 GMT", "retry-after": "Sun, 22 Nov 2019 10:00:00 GMT"}, 1),
        (503, {"date": "nonsense", "retry-after": "Fri, 31 Dec 9999 23:59:59 GMT"}, 3600),
        (503, {}, None),
        (400, {"retry-after": "7"}, None),
    ],
)
def test_a_busy_provider_says_how_long_to_wait(status: int, headers: dict[str, str], seconds: int | None) -> None:
    with pytest.raises(AnswerRefused) as caught:
        read({}, status, headers=headers)
    assert caught.value.retry_after_s == seconds


def test_a_persons_token_is_found_beside_a_bots() -> None:
    bot = {"ok": True, "access_token": "bot", "token_type": "bot", "scope": "commands"}
    person = {"access_token": "person", "token_type": "user", "scope": "channels:read,users:read", "expires_in": 43_200}
    nested = read({**bot, "authed_user": {"id": "U1", **person}}, spec=SLACK)
    renewed = read({"ok": True, **person}, spec=SLACK)
    for tokens in (nested, renewed):
        assert (tokens.access, tokens.lifetime_s) == ("person", 43_200)
        assert tokens.scopes == ("channels:read", "users:read")
    for answer in (bot, {**bot, "authed_user": {"id": "U1"}}, {**bot, "authed_user": [person]}):
        with pytest.raises(AnswerRefused, match="malformed"):
            read(answer, spec=SLACK)
    for said in ({}, {"ok": False}, {"ok": "true"}, {"ok": 1}, {"ok": None}):
        with pytest.raises(AnswerRefused, match="refused"):
            read({**person, **said}, spec=SLACK)
    with pytest.raises(AnswerRefused, match="invalid_grant"):
        read({"ok": False, "error": "invalid_refresh_token"}, spec=SLACK)
    with pytest.raises(AnswerRefused, match="refused"):
        read({"ok": False, "error": "invalid_grant"}, spec=SLACK)


@pytest.mark.parametrize(
    ("answered", "asked", "has"),
    [
        (None, ("a", "b"), ("a", "b")),
        ("", ("a",), ("a",)),
        ("  ", ("a",), ("a",)),
        ("a", ("a", "b"), ("a",)),
        ("a b c", ("a",), ("a", "b", "c")),
        ("a,b", ("a", "b"), ("a,b",)),
        ("b", ("a", "b", "offline_access"), ("b", "offline_access")),
        ("b offline_access", ("b", "offline_access"), ("b", "offline_access")),
        ("b", ("b",), ("b",)),
    ],
)
def test_scopes_are_kept_as_granted(answered: str | None, asked: tuple[str, ...], has: tuple[str, ...]) -> None:
    spec = replace(PLAIN, unlisted_scopes=frozenset({"offline_access"}))
    assert granted(spec, read({**GOOD, "scope": answered}), asked) == has


@pytest.mark.parametrize(
    ("answered", "has"),
    [
        (["a", "b", "a"], ("a", "b")),
        ([], None),
        ("a b", ("a", "b")),
        (["https://as.example/auth/email", "a"], ("email", "a")),
        ("email https://as.example/auth/email", ("email",)),
        (None, None),
    ],
)
def test_scopes_stand_where_the_provider_puts_them_and_get_the_name_they_are_asked_by(
    answered: Any, has: tuple[str, ...] | None
) -> None:
    aliases = {"https://as.example/auth/email": "email"}
    spec = replace(PLAIN, granted_path=("about", "scopes"), scope_aliases=aliases)
    assert read({**GOOD, "scope": "z", "about": {"scopes": answered}}, spec=spec).scopes == has


@pytest.mark.parametrize("scopes", [7, {"a": 1}, ["a", 7], ["a", None], [["a"]], ["a b"], ["\x00"], ["a" * 9_000]])
def test_a_list_of_anything_but_scopes_is_refused(scopes: Any) -> None:
    with pytest.raises(AnswerRefused, match="malformed"):
        read({**GOOD, "scopes": scopes}, spec=replace(PLAIN, granted_path=("scopes",)))


# --- Where an account's API is

OWN = replace(PLAIN, api_base_path=("at", "url"), api_base_hosts=("crm.example", "eu.crm.test"))


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("https://acme.my.crm.example", "https://acme.my.crm.example"),
        ("https://crm.example/", "https://crm.example"),
        ("https://ACME.CRM.example", "https://acme.crm.example"),
        ("https://as.example", "https://as.example"),
        (None, None),
    ],
)
def test_the_address_of_an_account_s_own_api_is_read(url: str | None, base: str | None) -> None:
    assert read({**GOOD, "at": {"url": url}}, spec=OWN).api_base == base
    assert read({**GOOD, "at": {"url": url}}).api_base is None


@pytest.mark.parametrize(
    "url",
    [
        "http://acme.crm.example",
        "http://as.example",
        "https://as.example:8443",
        "https://sub.as.example",
        "https://evil.example",
        "https://evilcrm.example",
        "https://crm.example.evil.example",
        "https://crm.test",
        "https://acme.crm.example:8443",
        "https://acme.crm.example/services",
        "https://acme.crm.example?x=1",
        "https://acme.crm.example#x",
        "https://user@acme.crm.example",
        "https://evil.example\\@crm.example",
        "https://evil.example/.crm.example",
        "https://evil.example%2f.crm.example",
        "https://crm.example.",
        "https://.crm.example",
        "https://acme..crm.example",
        "https://\u0430cme.crm.example",
        "https://acme.crm.example\n",
        " https://acme.crm.example",
        "https:acme.crm.example",
        "//acme.crm.example",
        "https://" + "a." * 200 + "crm.example",
        "",
        7,
        ["https://acme.crm.example"],
        {},
        False,
    ],
)
def test_an_address_that_is_not_surely_the_provider_s_is_refused(url: Any) -> None:
    with pytest.raises(AnswerRefused, match="wrong_api_base"):
        read({**GOOD, "at": {"url": url}}, spec=OWN)


def test_a_missing_refresh_token_is_none_and_not_the_old_one() -> None:
    assert read({"access_token": "a"}).refresh is None
    assert read({"access_token": "a", "refresh_token": None, "token_type": None, "error": None}).refresh is None


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["bearer", "a", "7"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
names = st.sampled_from(
    [
        "access_token",
        "refresh_token",
        "token_type",
        "expires_in",
        "scope",
        "error",
        "code",
        "status",
        "ok",
        "authed_user",
    ]
)
answers = st.dictionaries(names | st.text(max_size=5), values, max_size=8).map(lambda said: {**GOOD, **said})


def _is_tokens_or_refused(body: bytes, status: int, kind: str) -> None:
    for spec in (PLAIN, SLACK):
        try:
            tokens = read(body, status, kind=kind, spec=spec)
        except AnswerRefused as refused:
            assert refused.code in {"invalid_grant", "refused", "unavailable", "malformed"}  # noqa: PT017 - or none
            continue
        assert status == 200
        for token in (tokens.access, tokens.refresh, *(tokens.scopes or ())):
            assert token is None or (0 < len(token) <= 16_384 and all("\x21" <= char <= "\x7e" for char in token))
        assert tokens.lifetime_s is None or 1 <= tokens.lifetime_s <= 31_536_000


@given(
    body=st.binary(max_size=200) | st.binary(max_size=50).map(lambda noise: json.dumps(GOOD).encode() + noise),
    status=st.sampled_from([200, 200, 302, 400, 429, 500]),
    kind=st.sampled_from([JSON, FORM, "text/html"]),
)
def test_no_bytes_become_anything_but_tokens_or_a_refusal(body: bytes, status: int, kind: str) -> None:
    _is_tokens_or_refused(body, status, kind)


@given(answer=answers, status=st.sampled_from([200, 200, 200, 400]))
def test_no_answer_becomes_anything_but_tokens_or_a_refusal(answer: dict[str, Any], status: int) -> None:
    _is_tokens_or_refused(json.dumps(answer).encode(), status, JSON)


# --- ID tokens

CLAIMS: dict[str, Any] = {
    "iss": "https://as.example",
    "aud": "client",
    "sub": "1",
    "iat": int(NOW.timestamp()),
    "exp": int(NOW.timestamp()) + 3600,
    "nonce": "n",
}


def part(value: object) -> str:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return urlsafe_b64encode(body).rstrip(b"=").decode()


def claims_of(token: object, *, nonce: str | None = "n", issuer: str | None = "https://as.example") -> dict[str, Any]:
    return read_id_token(token, issuer=issuer, client_id="client", nonce=nonce, now=NOW)


def signed(claims: object, header: object = {"alg": "RS256"}) -> str:
    return f"{part(header)}.{part(claims)}.c2lnbmVk"


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"aud": ["client"]},
        {"aud": ["client", "other"], "azp": "client"},
        {"azp": "client"},
        {"exp": CLAIMS["iat"] - 119},
        {"iat": CLAIMS["iat"] + 119},
        {"exp": CLAIMS["exp"] + 0.5},
    ],
)
def test_an_id_token_for_us_is_read(changes: dict[str, Any]) -> None:
    assert claims_of(signed({**CLAIMS, **changes}))["sub"] == "1"


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://as.example/"},
        {"iss": "https://AS.example"},
        {"iss": "https://evil.example"},
        {"iss": None},
        {"aud": "other"},
        {"aud": "client other"},
        {"aud": []},
        {"aud": None},
        {"aud": {"client": 1}},
        {"aud": ["client", "other"]},
        {"aud": ["client", "other"], "azp": "other"},
        {"azp": "other"},
        {"exp": CLAIMS["iat"] - 121},
        {"exp": str(CLAIMS["exp"])},
        {"exp": True},
        {"exp": None},
        {"iat": CLAIMS["iat"] + 121},
        {"iat": None},
        {"nonce": "another"},
        {"nonce": None},
    ],
)
def test_an_id_token_for_somebody_else_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(AnswerRefused, match="identity_unknown"):
        claims_of(signed({**CLAIMS, **changes}))


@pytest.mark.parametrize(
    "token",
    [
        None,
        7,
        "",
        "a.b",
        "..",
        signed(CLAIMS) + ".more",
        signed(CLAIMS).replace(".", ".=", 1),
        signed(CLAIMS, b"no object"),
        signed([CLAIMS]),
        signed(b'{"iss": "https://as.example", ' + json.dumps(CLAIMS).encode()[1:]),
        signed({**CLAIMS, "more": "x" * 16_384}),
        f"{part({})}.e30\n.c2lnbmVk",
    ],
)
def test_what_is_no_id_token_is_refused(token: object) -> None:
    with pytest.raises(AnswerRefused, match="identity_unknown"):
        claims_of(token)


DIRECTORY = "https://login.example/{tid}/v2.0"
TID = "9188040d-6c67-4c5b-b112-36a304b66dad"


def test_the_issuer_of_a_directory_holds_the_directory_s_id() -> None:
    said = {**CLAIMS, "tid": TID, "iss": DIRECTORY.replace("{tid}", TID)}
    assert claims_of(signed(said), issuer=DIRECTORY)["sub"] == "1"


@pytest.mark.parametrize(
    "tid",
    [
        "11111111-6c67-4c5b-b112-36a304b66dad",
        TID.upper(),
        TID.replace("-", ""),
        f"urn:uuid:{TID}",
        f"{TID}/v2.0#",
        "common",
        "../evil",
        "{tid}",
        "",
        7,
        None,
    ],
)
def test_a_directory_that_is_not_the_issuer_s_or_no_uuid_is_refused(tid: object) -> None:
    for named in (TID, tid):
        claims = {**CLAIMS, "tid": tid, "iss": DIRECTORY.replace("{tid}", str(named))}
        if (tid, named) == ("11111111-6c67-4c5b-b112-36a304b66dad",) * 2:
            continue  # another directory's, as it should be
        with pytest.raises(AnswerRefused, match="identity_unknown"):
            claims_of(signed(claims), issuer=DIRECTORY)


def test_an_id_token_needs_an_issuer_to_be_compared_with() -> None:
    with pytest.raises(AnswerRefused, match="identity_unknown"):
        claims_of(signed({**CLAIMS, "iss": None}), issuer=None)
    assert claims_of(signed(CLAIMS), nonce=None)


# --- Values


def test_an_access_token_does_not_print_pickle_or_become_json() -> None:
    token = AccessToken("s3cret", 1)
    shown = f"{token} {token!r} {[token]} {token:>20}"
    assert "s3cret" not in shown
    with pytest.raises(TypeError):
        pickle.dumps(token)
    with pytest.raises(TypeError):
        json.dumps(token)
    assert "s3cret" not in repr(TokenSet("s3cret", "s3cret", 60, None, {"access_token": "s3cret"}))


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
