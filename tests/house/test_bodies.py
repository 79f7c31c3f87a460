"""What is too much to read is refused before it is read, wherever it is sent; whoever sends it, others are served."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from metaagent.bounds import BODY_BYTES, HEADER_BYTES
from tenants import services as tenants
from tests import wire
from tests.world import World

MIB = 1_048_576
PLACES = {
    "/login/": "text/html",
    "/connections/": "text/html",
    "/nothing/here/": "text/html",
    "/o/token/": "application/json",
    "/o/revoke_token/": "application/json",
    "/o/register/": "application/json",
    "/api/v1/tenants/x/connections/": "application/problem+json",
    "/mcp/{tenant}/sentry": "application/json",
}


def _refused(world: World, path: str, parts: Iterator[bytes], status: int = 413) -> None:
    got, headers, body = wire.answer_to(world.product, parts)
    assert got == status, body[:200]
    assert (headers["content-type"] or "").startswith(PLACES[path])
    assert headers["cache-control"] == "no-store"
    assert "larger than" in body.decode()
    assert "Traceback" not in body.decode()
    if "json" in PLACES[path]:
        assert isinstance(json.loads(body), dict)


def _start(world: World, path: str, *lines: str) -> bytes:
    where = path.format(tenant=world.tenant.slug)
    return wire.head(world.product, where, f"Authorization: Bearer {world.me.key}", *lines)


def test_a_body_that_says_it_is_too_large_is_not_waited_for(world: World) -> None:
    for path in PLACES:
        _refused(world, path, iter([_start(world, path, f"Content-Length: {MIB + 1}")]))


def test_a_body_that_does_not_say_how_large_it_is_is_cut_off_at_the_bound(world: World) -> None:
    chunk = b"x" * 65_536

    def endless(path: str) -> Iterator[bytes]:
        yield _start(world, path, "Transfer-Encoding: chunked", "Content-Type: application/x-www-form-urlencoded")
        for _ in range(MIB // len(chunk) + 1):
            yield b"%x\r\n%s\r\n" % (len(chunk), chunk)

    for path in PLACES:
        _refused(world, path, endless(path))


def test_a_body_in_many_small_pieces_is_bounded_too(world: World) -> None:
    def drops() -> Iterator[bytes]:
        yield _start(world, "/login/", "Transfer-Encoding: chunked", "Content-Type: application/x-www-form-urlencoded")
        for _ in range(600):
            yield b"800\r\n%s\r\n" % (b"x" * 2_048)

    _refused(world, "/login/", drops())


def test_a_file_that_nobody_asked_for_is_not_spooled(world: World) -> None:
    boundary = "--x\r\nContent-Disposition: form-data; name=f; filename=f\r\n\r\n"
    parts = [_start(world, "/login/", "Content-Type: multipart/form-data; boundary=x", f"Content-Length: {50 * MIB}")]
    _refused(world, "/login/", iter([*parts, boundary.encode()]))


def test_what_is_just_small_enough_is_read(world: World) -> None:
    body = b"email=a%40example.com&password=" + b"x" * 1_000_000
    assert len(body) < BODY_BYTES == MIB
    with world.product.http as http:
        answer = http.post("/o/token/", content=body, headers={"Content-Type": "application/x-www-form-urlencoded"})
    assert answer.status_code == 400
    assert answer.json()["error"] == "unsupported_grant_type"


def test_headers_that_are_too_large_are_refused_before_django_joins_them(world: World) -> None:
    for path in [path for path in PLACES if not path.startswith("/mcp")]:
        for lines in ([f"X-Long: {'x' * HEADER_BYTES}"], ["X: y"] * 2_100):
            _refused(world, path, iter([_start(world, path, "Content-Length: 0", *lines)]), 431)


def test_more_form_fields_than_any_form_has_are_refused(world: World) -> None:
    body = "&".join(f"a{n}=1" for n in range(5_000)).encode()
    for path in ("/login/", "/o/token/", "/connections/", "/o/authorize/"):
        with world.product.http as http:
            answer = http.post(path, content=body, headers={"Content-Type": "application/x-www-form-urlencoded"})
        assert answer.status_code in {400, 403}, path
        assert "Traceback" not in answer.text


@pytest.mark.parametrize("deep", [b"[" * 60_000, b'{"a":' * 12_000, b'{"a":' + b"[" * 30_000 + b"]" * 30_000 + b"}"])
def test_json_deeper_than_anybody_nests_is_a_clear_refusal_everywhere(world: World, deep: bytes) -> None:
    membership = tenants.add_member(
        tenant=world.tenant,
        user=tenants.create_user(email=f"admin-{world.tenant.slug}@example.com", password=None),
        role="admin",
        by=None,
    )
    _, key = tenants.create_client_key(membership=membership, name="admin", now=datetime.now(UTC), by=None)
    bearer = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    with world.product.http as http:
        api = http.post(f"/api/v1/tenants/{world.tenant.slug}/connections/", content=deep, headers=bearer)
        register = http.post("/o/register/", content=deep[:16_000], headers={"Content-Type": "application/json"})
    assert api.status_code == 400, api.text
    assert register.status_code in {400, 429}, register.text
    for version in ("2025-11-25", "2026-07-28"):
        answer = world.post(deep, headers={"MCP-Protocol-Version": version})
        assert 400 <= answer.status_code < 500, answer.text
        assert "Traceback" not in answer.text


@pytest.mark.parametrize("version", ["2025-11-25", "2026-07-28"])
def test_arguments_deeper_than_anybody_nests_are_a_clear_refusal(world: World, version: str) -> None:
    meta = {
        "io.modelcontextprotocol/protocolVersion": version,
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    deep = "[" * 5_000 + "]" * 5_000
    params = (
        f'{{"name": "use_sentry", "arguments": {{"prompt": "hi", "options": {deep}}}, "_meta": {json.dumps(meta)}}}'
    )
    body = f'{{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {params}}}'.encode()
    headers = {"MCP-Protocol-Version": version, "Mcp-Method": "tools/call", "Mcp-Name": "use_sentry"}
    answer = world.post(body, headers=headers)
    assert answer.status_code in {200, 400}
    assert "Traceback" not in answer.text
    assert world.error("who am I?")["code"] == "needs_auth"
