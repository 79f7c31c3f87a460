"""What the front of /mcp lets in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tenants import services as tenants
from tenants.models import ClientKey
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
