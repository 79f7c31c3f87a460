"""What the front of /mcp lets in."""

from __future__ import annotations

import base64
import json
import secrets
from datetime import UTC, datetime, timedelta

import pytest

from tenants import services as tenants
from tenants.models import ClientKey
from tests import wire
from tests.world import World

PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}


def modern(method: str, **params: object) -> tuple[dict[str, object], dict[str, str]]:
    """A 2026-07-28 request and its headers."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
    }
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": meta}}
    headers = {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": method}
    return body, headers | ({"Mcp-Name": str(params["name"])} if "name" in params else {})


def test_without_a_bearer_the_challenge_says_where_to_go(world: World) -> None:
    path = f"/mcp/{world.tenant.slug}/sentry"
    with world.product.http as http:
        answer = http.post(path, json=PING)
        assert answer.status_code == 401
        document = f"{world.product.url}/.well-known/oauth-protected-resource{path}"
        assert answer.headers["www-authenticate"] == f'Bearer resource_metadata="{document}", scope="mcp"'
        metadata = http.get(document).json()
    assert metadata["resource"] == f"{world.product.url}{path}"
    assert metadata["authorization_servers"] == [world.product.url]


def _foreign(world: World) -> str:
    other = World(world.product, world.sandbox)
    return other.me.key


def _expired(world: World) -> str:
    ClientKey.objects.filter(membership__user=world.me.user).update(expires_at=datetime.now(UTC) - timedelta(seconds=1))
    return world.me.key


def _revoked(world: World) -> str:
    for key in ClientKey.objects.filter(membership__user=world.me.user):
        tenants.revoke_client_key(key=key, now=datetime.now(UTC), by=None)
    return world.me.key


def _of_someone_inactive(world: World) -> str:
    world.me.user.is_active = False
    world.me.user.save()
    return world.me.key


def _of_someone_removed(world: World) -> str:
    tenants.remove_member(membership=world.me.user.memberships.get(), by=None)
    return world.me.key


@pytest.mark.parametrize("spoil", [_expired, _revoked, _of_someone_inactive, _of_someone_removed])
def test_a_bearer_that_no_longer_stands_is_refused(world: World, spoil: object) -> None:
    key = spoil(world)  # type: ignore[operator]
    answer = world.post(PING, headers={"Authorization": f"Bearer {key}"})
    assert answer.status_code == 401
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]


@pytest.mark.parametrize(
    "header",
    [
        "Bearer",
        "Bearer mak_00000000_" + "A" * 43,
        "Bearer " + "x" * 9_000,
        "Bearer a b",
        "Basic dXNlcjpwYXNz",
        "Bearer mak_é",
    ],
)
def test_a_malformed_or_unknown_bearer_is_refused(world: World, header: str) -> None:
    with world.product.http as http:
        path = f"/mcp/{world.tenant.slug}/sentry"
        answer = http.post(path, json=PING, headers=[(b"Authorization", header.encode())])
    assert answer.status_code == 401


def test_a_key_in_the_query_is_not_looked_at(world: World) -> None:
    with world.product.http as http:
        answer = http.post(f"/mcp/{world.tenant.slug}/sentry?access_token={world.me.key}", json=PING)
    assert answer.status_code == 401


def test_another_tenant_an_unknown_one_and_an_unknown_provider_look_alike(world: World) -> None:
    other = World(world.product, world.sandbox)
    answers = [
        world.post(PING, path=path)
        for path in (
            f"/mcp/{other.tenant.slug}/sentry",
            "/mcp/nobody-here/sentry",
            f"/mcp/{world.tenant.slug}/github",
            "/mcp/a/b/c",
            "/mcp",
        )
    ]
    assert {answer.status_code for answer in answers} == {404}
    assert len({answer.content for answer in answers}) == 1


def test_a_strict_provider_is_not_there_until_it_is_connected(world: World) -> None:
    world.installation = world.install(exposure="strict")
    unknown = world.post(PING, path=f"/mcp/{world.tenant.slug}/github")
    hidden = world.post(PING)
    assert (hidden.status_code, hidden.content) == (unknown.status_code, unknown.content)
    body, headers = modern("tools/call", name="use_sentry", arguments={"prompt": "hi"})
    on_tenant = world.post(body, path=f"/mcp/{world.tenant.slug}", headers=headers)
    assert on_tenant.json()["error"]["message"] == "Unknown tool: use_sentry"


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "127.0.0.1:1"])
def test_only_the_exact_host_is_answered(world: World, host: str) -> None:
    assert world.post(PING, headers={"Host": host}).status_code == 421


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1"])
def test_pages_of_other_origins_are_refused(world: World, origin: str) -> None:
    assert world.post(PING, headers={"Origin": origin}).status_code == 403


def test_our_own_origin_may_call_and_read_the_answer(world: World) -> None:
    body, headers = modern("tools/list")
    answer = world.post(body, headers={**headers, "Origin": world.product.url})
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == world.product.url


def test_a_body_over_the_limit_is_refused(world: World) -> None:
    answer = world.post(b"{" + b" " * 1_048_576 + b"}")
    assert answer.status_code == 413
    assert "1048576" in answer.json()["error"]["message"]


@pytest.mark.parametrize("body", [b"", b"\x00\xff\xfe", b"[]", b"nonsense", b"[" * 5_000])
def test_a_body_that_is_not_json_rpc_is_a_clear_400(world: World, body: bytes) -> None:
    answer = world.post(body, headers={"MCP-Protocol-Version": "2026-07-28"})
    assert answer.status_code == 400
    assert "Traceback" not in answer.text


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT"])
def test_other_methods_are_told_to_post(world: World, method: str) -> None:
    with world.product.http as http:
        answer = http.request(
            method, f"/mcp/{world.tenant.slug}/sentry", headers={"Authorization": f"Bearer {world.me.key}"}
        )
    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"


def test_a_header_that_contradicts_the_body_is_refused(world: World) -> None:
    body, headers = modern("tools/call", name="use_sentry", arguments={"prompt": "hi"})
    answer = world.post(body, headers={**headers, "Mcp-Name": "use_github"})
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == -32020


def test_metadata_does_not_tell_which_tenants_exist(world: World) -> None:
    with world.product.http as http:
        unknown = http.get("/.well-known/oauth-protected-resource/mcp/nobody-here/sentry")
        nonsense = http.get("/.well-known/oauth-protected-resource/mcp/../../etc")
    assert unknown.status_code == 200
    assert nonsense.status_code == 404


# --- session ids of the handshake era, and who they belong to


def initialized(world: World, *, path: str | None = None, bearer: str | None = None) -> str:
    """The session id a client of that era is given."""
    params = {
        "protocolVersion": "2025-11-25",
        "capabilities": {"elicitation": {"url": {}}},
        "clientInfo": {"name": "test", "version": "1"},
    }
    body = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}
    headers = {"Authorization": f"Bearer {bearer}"} if bearer else None
    answer = world.post(body, path=path, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.headers["mcp-session-id"]


def in_session(world: World, session_id: str, **changes: str) -> int:
    return world.post(
        PING, headers={"Mcp-Session-Id": session_id, "MCP-Protocol-Version": "2025-11-25", **changes}
    ).status_code


def test_a_session_id_that_was_not_given_out_here_is_none(world: World) -> None:
    mine = initialized(world)
    assert in_session(world, mine) == 200
    raw = base64.urlsafe_b64decode(mine + "=" * (-len(mine) % 4))
    forged = [
        "",
        secrets.token_urlsafe(24),
        mine[:-4],
        mine + "AAAA",
        ("B" if mine[0] == "A" else "A") + mine[1:],
        base64.urlsafe_b64encode(raw[:16] + b'{"url":true,"admin":true}').decode(),
        base64.urlsafe_b64encode(bytes(16) + raw[16:]).decode(),
        base64.urlsafe_b64encode(raw[16:]).decode(),
        mine + "A" * 8_192,
        "%00",
        "../../" + mine,
    ]
    assert {session_id: in_session(world, session_id) for session_id in forged} == dict.fromkeys(forged, 404)


def test_a_session_id_is_good_for_its_principal_at_its_endpoint_only(world: World) -> None:
    other = world.person()
    theirs = initialized(world, bearer=other.key)
    assert in_session(world, theirs, Authorization=f"Bearer {other.key}") == 200
    assert in_session(world, theirs) == 404
    elsewhere = initialized(world, path=f"/mcp/{world.tenant.slug}")
    assert in_session(world, elsewhere) == 404
    foreign = World(world.product, world.sandbox)
    assert in_session(world, initialized(foreign)) == 404
    _, second = tenants.create_client_key(
        membership=world.me.user.memberships.get(), name="another", now=datetime.now(UTC), by=None
    )
    assert in_session(world, initialized(world), Authorization=f"Bearer {second}") == 404


def test_a_session_id_without_its_bearer_is_nothing(world: World) -> None:
    session_id = initialized(world)
    with world.product.http as http:
        path = f"/mcp/{world.tenant.slug}/sentry"
        for method in ("POST", "GET", "DELETE"):
            assert http.request(method, path, headers={"Mcp-Session-Id": session_id}).status_code == 401
    assert in_session(world, session_id, Authorization="Bearer mak_00000000_" + "A" * 43) == 401
    _revoked(world)
    assert in_session(world, session_id) == 401


# --- what headers and body say of the same thing


@pytest.mark.parametrize(
    "changes",
    [
        {"Mcp-Name": "use_github"},
        {"Mcp-Name": "USE_SENTRY"},
        {"Mcp-Method": "tools/list"},
        {"Mcp-Method": "Tools/Call"},
        {"MCP-Protocol-Version": "2026-07-29"},
    ],
    ids=str,
)
def test_headers_and_body_of_a_call_must_agree(world: World, changes: dict[str, str]) -> None:
    body, headers = modern("tools/call", name="use_sentry", arguments={"prompt": "hi"})
    answer = world.post(body, headers={**headers, **changes})
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] in {-32020, -32022}
    assert world.events("tool.intent") == []


@pytest.mark.parametrize("missing", ["Mcp-Name", "Mcp-Method"])
def test_a_call_says_in_its_headers_what_it_is(world: World, missing: str) -> None:
    body, headers = modern("tools/call", name="use_sentry", arguments={"prompt": "hi"})
    del headers[missing]
    answer = world.post(body, headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, -32020)


# --- names that lead here without being ours


def test_a_name_that_only_resolves_here_is_not_answered(world: World) -> None:
    port = world.product.url.rsplit(":", 1)[1]
    path = f"/mcp/{world.tenant.slug}/sentry"
    names: list[list[str]] = [
        [f"Host: 127.0.0.1.nip.io:{port}"],
        [f"Host: localhost:{port}"],
        [f"Host: [::1]:{port}"],
        [f"Host: 2130706433:{port}"],
        [f"Host: 127.0.0.1:{port}.evil.example"],
        ["Host: evil.example", f"X-Forwarded-Host: 127.0.0.1:{port}"],
        [f"Host: evil.example@127.0.0.1:{port}"],
        ["Host: "],
        [],
    ]
    for given in names:
        for method, bearer in (("POST", world.me.key), ("OPTIONS", "")):
            request = [f"{method} {path} HTTP/1.1", *given, f"Authorization: Bearer {bearer}", "Content-Length: 0"]
            status, headers, _ = wire.answer_to(world.product, ["\r\n".join([*request, "", ""]).encode()])
            assert status in {400, 421}, given
            assert headers["access-control-allow-origin"] is None


@pytest.mark.parametrize("name", ["Host", "Origin"])
def test_a_host_or_origin_that_is_there_twice_is_refused(world: World, name: str) -> None:
    ours = {"Host": world.product.url.removeprefix("http://"), "Origin": world.product.url}
    body = json.dumps(PING)
    lines = [
        f"{name}: https://evil.example",
        *(f"{header}: {value}" for header, value in ours.items()),
        f"Authorization: Bearer {world.me.key}",
        *("Accept: application/json, text/event-stream", "Content-Type: application/json"),
        f"Content-Length: {len(body)}",
    ]
    request = "\r\n".join([f"POST /mcp/{world.tenant.slug} HTTP/1.1", *lines, "", body])
    status, _, _ = wire.answer_to(world.product, [request.encode()])
    assert status in {400, 403, 421}


def test_an_origin_is_ours_to_the_letter_or_refused_before_anything_else(world: World) -> None:
    url = world.product.url
    for origin in (f"{url}.evil.example", f"{url}/", url.upper(), "https://127.0.0.1", "file://", ""):
        with world.product.http as http:
            for method in ("OPTIONS", "POST", "GET"):
                answer = http.request(method, f"/mcp/{world.tenant.slug}/sentry", headers={"Origin": origin})
                assert answer.status_code == 403, origin
                assert "access-control-allow-origin" not in answer.headers
                assert "www-authenticate" not in answer.headers
