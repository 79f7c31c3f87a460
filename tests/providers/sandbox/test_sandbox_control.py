"""The sandbox counts what really happened, and misbehaves exactly as told."""

from __future__ import annotations

import asyncio
import time
from hashlib import sha256
from typing import Any

import httpx2
import pytest

from providers.sandbox.app import SandboxOptions, serving
from providers.sandbox.faults import Faults

from .visitor import Json, Visitor


async def test_stats_count_what_happened(visitor: Visitor) -> None:
    tokens = await visitor.connect()
    new = (await visitor.refresh(tokens)).json()
    await visitor.api(new, "organizations/")
    await visitor.api(new, "organizations/acme/issues/")
    await visitor.api(tokens, "organizations/")
    await visitor.http.get("/api/0/organizations/")
    stats = await visitor.stats()
    name, old = (sha256(pair["access_token"].encode()).hexdigest()[:12] for pair in (new, tokens))
    assert stats == {
        "authorizations": 1,
        "codes_exchanged": 1,
        "codes_reused": 0,
        "refreshes": 1,
        "reuses": 0,
        "families_revoked": 0,
        "revocations": 0,
        "max_presentations_of_one_token": 1,
        "max_in_flight_per_grant": 1,
        "api_calls": 4,
        "writes": 0,
        "calls_per_token": {name: 2, old: 1},
        "calls_per_path": {"GET /api/0/organizations/": 3, "GET /api/0/organizations/{org}/issues/": 1},
        "answers": {"200": 2, "401": 2},
    }
    assert new["access_token"] not in str(stats)


async def test_a_stampede_of_one_refresh_token_is_seen(visitor: Visitor) -> None:
    tokens = await visitor.connect()
    await visitor.faults(token_delay_s=0.05)
    answers = await asyncio.gather(*(visitor.refresh(tokens) for _ in range(5)))
    assert sorted(answer.status_code for answer in answers) == [200, 400, 400, 400, 400]
    stats = await visitor.stats()
    assert stats["max_in_flight_per_grant"] == 5
    assert stats["max_presentations_of_one_token"] == 5
    assert (stats["refreshes"], stats["reuses"], stats["families_revoked"]) == (1, 4, 1)


async def test_access_tokens_die_when_told(visitor: Visitor) -> None:
    tokens = await visitor.connect()
    assert (await visitor.http.post("/_expire")).status_code == 204
    assert (await visitor.api(tokens, "users/me/")).status_code == 401
    new = (await visitor.refresh(tokens)).json()
    assert (await visitor.api(new, "users/me/")).status_code == 200


async def test_without_rotation_the_refresh_token_stays_and_the_access_token_is_new(visitor: Visitor) -> None:
    tokens = await visitor.connect()
    await visitor.faults(rotate=False)
    new = (await visitor.refresh(tokens)).json()
    assert new["refresh_token"] == tokens["refresh_token"]
    assert new["access_token"] != tokens["access_token"]
    assert (await visitor.refresh(tokens)).status_code == 200
    assert (await visitor.stats())["reuses"] == 0


async def test_a_reset_counts_from_zero(visitor: Visitor) -> None:
    await visitor.connect()
    assert (await visitor.http.post("/_reset")).status_code == 204
    assert (await visitor.stats())["authorizations"] == 0


async def test_revocations_are_counted_once(visitor: Visitor) -> None:
    tokens = await visitor.connect()
    form = {"client_id": visitor.client_id, "client_secret": visitor.client_secret, "token": tokens["refresh_token"]}
    for _ in range(2):
        await visitor.http.post("/oauth/revoke/", data=form)
    assert (await visitor.stats())["revocations"] == 1


async def test_a_refresh_that_failed_before_can_be_tried_again(visitor: Visitor) -> None:
    tokens = await visitor.connect()
    for fault in ("500_before", "html"):
        await visitor.faults(token=fault, token_times=1)
        first = await visitor.refresh(tokens)
        assert first.status_code == 500 or first.headers["content-type"].startswith("text/html")
        answer = await visitor.refresh(tokens)
        assert answer.status_code == 200
        tokens = answer.json()


async def test_a_refresh_whose_answer_was_lost_cannot(visitor: Visitor) -> None:
    tokens = await visitor.connect()
    await visitor.faults(token="500_after", token_times=1)
    assert (await visitor.refresh(tokens)).status_code == 500
    assert (await visitor.refresh(tokens)).json()["error"] == "invalid_grant"
    assert (await visitor.stats())["reuses"] == 1


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500])
async def test_the_next_calls_are_answered_with_a_status(visitor: Visitor, status: int) -> None:
    tokens = await visitor.connect()
    await visitor.faults(status=status, times=2, retry_after_s=7, path="/api/0/organizations/acme/issues/")
    seen = [(await visitor.api(tokens, "organizations/acme/issues/")).status_code for _ in range(3)]
    assert seen == [status, status, 200]
    await visitor.faults(status=status, retry_after_s=7, path="/api/0/users/")
    assert (await visitor.api(tokens, "organizations/")).status_code == 200
    answer = await visitor.api(tokens, "users/me/")
    assert answer.headers.get("retry-after") == ("7" if status == 429 else None)
    assert "detail" in answer.json()


@pytest.mark.parametrize(
    ("body", "kind", "length"),
    [
        ("html", "text/html; charset=utf-8", None),
        ("empty", "application/json", 0),
        ("ten_mb", "application/json", 10_485_764),
    ],
)
async def test_bodies_that_are_not_what_they_should_be(
    visitor: Visitor, body: str, kind: str, length: int | None
) -> None:
    tokens = await visitor.connect()
    await visitor.faults(body=body)
    answer = await visitor.api(tokens, "organizations/")
    assert (answer.status_code, answer.headers["content-type"]) == (200, kind)
    assert length is None or len(answer.content) == length


async def test_an_api_delay_is_waited(visitor: Visitor) -> None:
    tokens = await visitor.connect()
    await visitor.faults(delay_s=0.05)
    began = time.monotonic()
    assert (await visitor.api(tokens, "users/me/")).status_code == 200
    assert time.monotonic() - began >= 0.05


def test_a_slow_answer_drips_and_faults_can_be_there_from_the_start() -> None:
    with (
        serving(SandboxOptions(faults=Faults(body="slow_drip"))) as url,
        httpx2.stream("GET", f"{url}/api/0/organizations/", trust_env=False) as answer,
    ):
        parts = answer.iter_raw()
        assert [next(parts), next(parts)] == [b"[", b" "]


async def test_no_faults_restores_the_start(visitor: Visitor) -> None:
    await visitor.faults(status=500, access_ttl_s=1)
    await visitor.faults()
    tokens = await visitor.connect()
    assert tokens["expires_in"] == 3600
    assert (await visitor.api(tokens, "users/me/")).status_code == 200


@pytest.mark.parametrize(
    ("faults", "word"),
    [
        ({"colour": "red"}, "Unknown fault colour"),
        ({"status": 418}, "status must be one of 401, 403"),
        ({"body": "xml"}, "body must be one of"),
        ({"delay_s": -1}, "delay_s must be"),
        ({"times": "two"}, "times must be"),
        ({"path": 3}, "path must be"),
    ],
)
async def test_a_fault_that_cannot_be_is_named(visitor: Visitor, faults: dict[str, Any], word: str) -> None:
    answer = await visitor.http.post("/_faults", json=faults)
    assert answer.status_code == 400
    assert word in answer.json()["detail"]


@pytest.mark.parametrize(
    "body",
    [
        [],
        {},
        {"name": "x", "redirect_uris": []},
        {"name": "x", "redirect_uris": ["javascript:alert(1)"]},
        {"name": "x", "redirect_uris": ["/path"]},
        {"name": "", "redirect_uris": ["http://127.0.0.1/"]},
    ],
)
async def test_a_client_that_cannot_be_is_refused(visitor: Visitor, body: Json) -> None:
    assert (await visitor.http.post("/_clients", json=body)).status_code == 400


@pytest.mark.parametrize("path", ["/_faults", "/_reset", "/_clients"])
async def test_another_sites_page_cannot_steer(visitor: Visitor, path: str) -> None:
    answer = await visitor.http.post(path, json={}, headers={"Origin": "https://evil.example"})
    assert answer.status_code == 403


async def test_a_body_that_is_too_long_is_refused(visitor: Visitor) -> None:
    assert (await visitor.token(grant_type="x" * 70_000)).status_code == 400
    assert (await visitor.http.post("/auth/login/", data={"email": "x" * 70_000})).status_code == 400
