"""Nobody but the person it is for keeps an answer: no cache between, and none in a browser that others use."""

from __future__ import annotations

import httpx2

from metaagent.visitor import Visitor
from tests.addresses import UNKNOWN, places
from tests.endpoint.test_front import PING, modern
from tests.oauth import OAuthClient
from tests.tenants.test_oauth import known
from tests.world import World

PUBLIC = {"/.well-known/oauth-authorization-server"}
"""What is the same for everybody."""


def kept_by_nobody(answer: httpx2.Response) -> bool:
    """Whether no cache may keep it, neither a shared one nor the browser's."""
    return "no-store" in answer.headers.get("cache-control", "")


def test_no_page_and_no_answer_of_the_api_is_kept(world: World) -> None:
    world.connect()
    api = {"Authorization": f"Bearer {world.me.key}"}
    with Visitor() as somebody, world.product.http as nobody:
        world.log_in(somebody)
        known = {"tenant": world.tenant.slug, "slug": "sentry", "installation_id": world.installation.pk}
        paths = [
            place.filled({gap: known.get(gap, UNKNOWN[kind]) for gap, kind in place.gaps.items()}) for place in places()
        ]
        assert {"/login/", "/connections/", "/o/token/", "/o/authorize/", "/healthz"} <= set(paths)
        for path in [*paths, "/nothing/here/"]:
            if path == "/logout/":
                continue
            for answer in (
                somebody.http.get(f"{world.product.url}{path}"),
                nobody.get(path),
                nobody.post(path, data={"a": "b"}),
                nobody.request("OPTIONS", path),
                *([nobody.get(path, headers=api)] if path.startswith("/api/") else []),
            ):
                assert kept_by_nobody(answer) or path in PUBLIC, (path, answer.status_code, answer.headers)
                assert "public" not in answer.headers.get("cache-control", "") or path in PUBLIC
        assert kept_by_nobody(nobody.get("/login/", headers={"X-Long": "x" * 66_000}))


def test_what_a_client_is_given_at_the_token_endpoint_is_not_kept(world: World) -> None:
    client: OAuthClient = known(world)
    given = client.exchange(client.code())
    again = client.refresh(given.json()["refresh_token"])
    with world.product.http as http:
        ended = http.post(
            "/o/revoke_token/", data={"client_id": client.client_id, "token": again.json()["access_token"]}
        )
        registered = http.post("/o/register/", json={"redirect_uris": ["https://client.example/callback"]})
    assert [kept_by_nobody(each) for each in (given, again, ended, registered)] == [True] * 4


def test_the_documents_that_are_the_same_for_everybody_hold_nothing_of_anybody(world: World) -> None:
    document = f"/.well-known/oauth-protected-resource/mcp/{world.tenant.slug}/sentry"
    with Visitor() as somebody, world.product.http as nobody:
        world.log_in(somebody)
        for path in (document, *PUBLIC):
            mine, anyone = somebody.http.get(f"{world.product.url}{path}"), nobody.get(path)
            assert mine.status_code == 200
            assert (mine.content, mine.headers.get("set-cookie")) == (anyone.content, None)


def test_no_answer_of_mcp_is_kept(world: World) -> None:
    call, call_headers = modern("tools/call", name="use_sentry", arguments={"prompt": "hi"})
    listed, list_headers = modern("tools/list")
    slow, slow_headers = modern("tools/call", name="use_sentry", arguments={"prompt": "hi"})
    slow["params"]["_meta"]["progressToken"] = 1  # type: ignore[index]
    legacy = {"MCP-Protocol-Version": "2025-11-25"}
    with world.product.http as http:
        answers = [
            world.post(call, headers=call_headers),
            world.post(listed, headers=list_headers),
            world.post(slow, headers=slow_headers),
            world.post(PING, headers=legacy),
            world.post({"jsonrpc": "2.0", "method": "notifications/initialized"}, headers=legacy),
            world.post({**PING, "method": "tools/call", "params": call["params"]}, headers=legacy),
            world.post(b"nonsense"),
            world.post(PING, path="/mcp/a/b"),
            http.post(f"/mcp/{world.tenant.slug}/sentry", json=PING),
            http.get(f"/mcp/{world.tenant.slug}/sentry", headers={"Authorization": f"Bearer {world.me.key}"}),
        ]
    assert [(answer.status_code, kept_by_nobody(answer)) for answer in answers] == [
        (answer.status_code, True) for answer in answers
    ]


def test_a_client_may_keep_lists_and_results_for_its_person_only(world: World) -> None:
    world.connect()
    result = world.ask("who am I?")
    link = next(str(block.uri) for block in result.content if block.type == "resource_link")
    for path in (None, f"/mcp/{world.tenant.slug}"):
        asked: list[tuple[str, dict[str, object]]] = [
            ("tools/list", {}),
            ("resources/list", {}),
            ("resources/templates/list", {}),
            ("prompts/list", {}),
            ("resources/read", {"uri": link}),
            ("server/discover", {}),
        ]
        scopes = {}
        for method, params in asked:
            body, headers = modern(method, **params)
            headers |= {"Mcp-Name": link} if "uri" in params else {}
            answer = world.post(body, path=path, headers=headers).json()
            if "result" in answer:
                scopes[method] = answer["result"]["cacheScope"]
            else:
                assert answer["error"]["code"] == -32601, answer
        assert {"tools/list", "resources/read", "server/discover"} <= scopes.keys()
        assert set(scopes.values()) == {"private"}, scopes
