"""From a URL to an answer with nothing set up: 401, discovery, who the client is, consent, token, connect."""

from __future__ import annotations

import httpx2
import pytest
from mcp.client import session
from mcp.types.version import HANDSHAKE_PROTOCOL_VERSIONS, MODERN_PROTOCOL_VERSIONS

from metaagent import documents
from tenants.oauth.models import Client
from tests.world import World, run
from tests.zero_config import REDIRECT, Newcomer

DOCUMENT = "https://newcomer.example/client.json"


def answered(newcomer: Newcomer, revision: str) -> str:
    """Where one client gets within one connection: needs_auth, and after the person has connected, the answer."""

    async def ask() -> str:
        mode = "legacy" if revision in HANDSHAKE_PROTOCOL_VERSIONS else "auto"
        async with newcomer.client(mode=mode) as client:
            assert client.protocol_version == revision
            told = await client.call_tool("use_sentry", {"prompt": "who am I?"})
            error = (told.structured_content or {})["error"]
            assert error["code"] == "needs_auth"
            await newcomer.connect(error["connect_url"])
            result = await client.call_tool("use_sentry", {"prompt": "who am I?"})
            assert not result.is_error
            text: str = (result.structured_content or {})["text"]
            return text

    return run(ask())


@pytest.mark.parametrize("revision", [*HANDSHAKE_PROTOCOL_VERSIONS, *MODERN_PROTOCOL_VERSIONS])
def test_a_url_is_all_a_client_needs(world: World, monkeypatch: pytest.MonkeyPatch, revision: str) -> None:
    if revision in HANDSHAKE_PROTOCOL_VERSIONS:
        monkeypatch.setattr(session, "LATEST_HANDSHAKE_VERSION", revision)  # it speaks them, and offers the newest
    newcomer = Newcomer(world)
    assert "ada@example.com" in answered(newcomer, revision)
    assert newcomer.let_in == 1
    assert newcomer.registered is not None
    assert Client.objects.get(client_id=newcomer.registered.client_id).registration_source == "dcr"


def test_a_client_with_a_document_need_not_register(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    said = {"client_id": DOCUMENT, "client_name": "Newcomer", "redirect_uris": [REDIRECT]}

    def web(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, json=said) if request.url == DOCUMENT else httpx2.Response(404)

    monkeypatch.setattr(documents.Fetcher, "transport", lambda _: httpx2.MockTransport(web))
    newcomer = Newcomer(world, document=DOCUMENT)
    assert "ada@example.com" in answered(newcomer, MODERN_PROTOCOL_VERSIONS[-1])
    assert newcomer.let_in == 1
    assert Client.objects.get(client_id=DOCUMENT).registration_source == "cimd"


def test_a_client_that_kept_its_tokens_is_not_asked_about_again(world: World) -> None:
    newcomer = Newcomer(world)

    async def connect() -> None:
        async with newcomer.client():
            pass

    run(connect())
    run(connect())
    assert newcomer.let_in == 1
