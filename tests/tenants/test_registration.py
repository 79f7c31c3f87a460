"""Clients that register themselves: every shape seen in the wild gets in, what is dangerous does not."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any

import httpx2
import pytest
from django.core.cache import cache
from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpResponse

from metaagent.visitor import Visitor
from tenants.oauth import services
from tenants.oauth.models import AccessToken, Client, ClientGrant, Code, RefreshToken
from tenants.oauth.registration import register
from tenants.oauth.tasks import sweep
from tests.oauth import OAuthClient
from tests.world import Served, World


def post(product: Served, says: bytes | dict[str, Any]) -> httpx2.Response:
    body = says if isinstance(says, bytes) else json.dumps(says)
    with product.http as http:
        return http.post("/o/register/", content=body, headers={"Content-Type": "application/json"})


WILD = {
    "VS Code": (
        "http://127.0.0.1:51789/",
        {
            "client_name": "Visual Studio Code",
            "redirect_uris": [
                "https://vscode.dev/redirect",
                "https://insiders.vscode.dev/redirect",
                "http://127.0.0.1/",
                "http://127.0.0.1:33418/",
            ],
            "grant_types": ["authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code"],
            "response_types": ["code"],
            "application_type": "native",
        },
    ),
    "Cursor": (
        "cursor://anysphere.cursor-mcp/oauth/callback",
        {
            "redirect_uris": [
                "cursor://anysphere.cursor-mcp/oauth/callback",
                "https://www.cursor.com/agents/mcp/oauth/callback",
                "http://localhost:8787/callback",
            ],
            "grant_types": ["authorization_code", "refresh_token"],
        },
    ),
    "Claude": (
        "https://claude.ai/api/mcp/auth_callback",
        {
            "client_name": "Claude",
            "redirect_uris": ["https://claude.ai/api/mcp/auth_callback", "https://claude.com/api/mcp/auth_callback"],
            "scope": "mcp offline_access",
        },
    ),
    "Claude Code": ("http://localhost:54545/callback", {"redirect_uris": ["http://localhost:54545/callback"]}),
    "mcp-remote": (
        "http://localhost:3334/oauth/callback",
        {"client_name": "MCP CLI Proxy", "redirect_uris": ["http://localhost:3334/oauth/callback"], "software_id": "x"},
    ),
    "Inspector": (
        "http://127.0.0.1:6276/oauth/callback",
        {"redirect_uris": ["http://127.0.0.1:6276/oauth/callback"], "client_uri": "https://nowhere.invalid/"},
    ),
    "one that names documents": (
        "https://client.example/callback",
        {
            "redirect_uris": ["https://client.example/callback"],
            "logo_uri": "http://169.254.169.254/",
            "jwks_uri": "http://169.254.169.254/",
            "sector_identifier_uri": "http://169.254.169.254/",
            "policy_uri": ["not", "even", "text"],
        },
    ),
    "one on IPv6": ("http://[::1]:9/cb", {"redirect_uris": ["http://[::1]/cb"]}),
}


@pytest.mark.parametrize(("redirect_uri", "says"), WILD.values(), ids=WILD)
def test_a_client_seen_in_the_wild_registers_and_signs_in(
    world: World, redirect_uri: str, says: dict[str, Any]
) -> None:
    client = OAuthClient(world, redirect_uri=redirect_uri)
    answer = client.register(**says)
    assert answer.status_code == 201, answer.text
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["access-control-allow-origin"] == "*"
    told = answer.json()
    assert told.pop("client_id_issued_at") > 1_700_000_000
    assert told.pop("client_id") == client.client_id
    assert told == {
        "client_name": says.get("client_name", "A test"),
        "redirect_uris": says["redirect_uris"],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "none",
        "scope": "mcp offline_access",
    }
    given = client.signed_in()
    assert client.refresh(given["refresh_token"]).status_code == 200


@pytest.mark.parametrize("method", ["client_secret_post", "client_secret_basic", None])
def test_a_client_with_a_secret_is_told_it_once_and_must_show_it(world: World, method: str | None) -> None:
    client = OAuthClient(world)
    told = client.register(token_endpoint_auth_method=method or "client_secret_basic").json()
    secret = told["client_secret"]
    assert told["client_secret_expires_at"] == 0
    row = Client.objects.get(client_id=client.client_id)
    assert row.client_type == "confidential"
    assert secret not in str(vars(row))
    code = client.code()
    for wrong in (None, "", "wrong", row.client_secret):
        refused = client.exchange(code, client_secret=wrong)
        assert (refused.status_code, refused.json()["error"]) == (401, "invalid_client")
    if method == "client_secret_post":
        assert client.exchange(code, client_secret=secret).status_code == 200
        return
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": client.redirect_uri}
    with world.product.http as http:
        answer = http.post(
            "/o/token/", data={**form, "code_verifier": client.verifier}, auth=(client.client_id, secret)
        )
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    "uri",
    [
        "http://evil.example/cb",
        "http://localhost.evil.example/cb",
        "http://127.0.0.1.evil.example/cb",
        "http://127.0.0.1@evil.example/cb",
        "http://2130706433/cb",
        "http://0.0.0.0/cb",
        "javascript:alert(1)",
        "JavaScript://cursor/%0aalert(1)",
        "data:text/html,x",
        "file:///etc/passwd",
        "about:blank",
        "blob:https://client.example/x",
        "evil-app://callback",
        "cursor:",
        "cursor://",
        "https://client.example/cb#fragment",
        "https://client.example/cb#",
        "https://user@client.example/cb",
        "https://user:pass@client.example/cb",
        "https://@client.example/cb",
        "https://*.client.example/cb",
        "https://client.example:port/cb",
        "https://client.example:99999/cb",
        "https://client.example\\@evil.example/cb",
        "https://clïent.example/cb",
        "https://client.example/cb x",
        "https://client.example/\ncb",
        "https://client.example/\x00cb",
        "https:client.example/cb",
        "https:///cb",
        "//client.example/cb",
        "/cb",
        "",
        "https://client.example/" + "a" * 2_000,
    ],
)
def test_a_redirect_uri_that_could_mislead_is_refused(product: Served, uri: str) -> None:
    for uris in ([uri], ["https://client.example/callback", uri]):
        answer = post(product, {"redirect_uris": uris})
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_redirect_uri"), answer.text
        assert "redirect URI must be https" in answer.json()["error_description"]


@pytest.mark.parametrize(
    ("says", "error"),
    [
        ({"redirect_uris": None}, "invalid_redirect_uri"),
        ({"redirect_uris": []}, "invalid_redirect_uri"),
        ({"redirect_uris": "https://client.example/cb"}, "invalid_redirect_uri"),
        ({"redirect_uris": [1]}, "invalid_redirect_uri"),
        ({"redirect_uris": [f"https://client.example/{n}" for n in range(21)]}, "invalid_redirect_uri"),
        ({"grant_types": ["client_credentials"]}, "invalid_client_metadata"),
        ({"grant_types": ["implicit"]}, "invalid_client_metadata"),
        ({"grant_types": "authorization_code"}, "invalid_client_metadata"),
        ({"response_types": ["token"]}, "invalid_client_metadata"),
        ({"client_name": {"a": 1}}, "invalid_client_metadata"),
        ({"token_endpoint_auth_method": "private_key_jwt"}, "invalid_client_metadata"),
        ({"token_endpoint_auth_method": ["none"]}, "invalid_client_metadata"),
    ],
)
def test_metadata_that_cannot_be_taken_is_refused_in_plain_words(
    product: Served, says: dict[str, Any], error: str
) -> None:
    answer = post(product, {"redirect_uris": ["https://client.example/callback"], **says})
    assert (answer.status_code, answer.json()["error"]) == (400, error)
    assert next(iter(says)) in answer.json()["error_description"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"[]", 400),
        (b"null", 400),
        (b"{", 400),
        (b"\xff", 400),
        (b'{"redirect_uris": ["https://a.example/cb"], "redirect_uris": ["https://b.example/cb"]}', 400),
        (b'{"redirect_uris": ["https://a.example/cb"], "x": NaN}', 400),
        (b"[" * 8_000, 400),
        (b'{"redirect_uris": ["https://a.example/cb"], "x": "%s"}' % (b"a" * 16_384), 413),
    ],
)
def test_a_body_that_is_not_one_plain_object_is_refused(product: Served, body: bytes, status: int) -> None:
    answer = post(product, body)
    assert (answer.status_code, answer.json()["error"]) == (status, "invalid_client_metadata")
    assert "The body" in answer.json()["error_description"]


def test_a_name_cannot_deceive(product: Served) -> None:
    name = "Claude\u202egnihton \x00\ud800\n" + "a" * 200
    told = post(product, {"redirect_uris": ["https://client.example/callback"], "client_name": name}).json()
    assert told["client_name"].isprintable()
    assert len(told["client_name"]) <= 80


def test_a_client_the_server_has_never_heard_of_is_told_to_register_again(world: World) -> None:
    client = OAuthClient(world, client_id="forgotten")
    for answer in (client.exchange("x"), client.refresh("mrt_x")):
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    with Visitor() as visitor:
        client.opened(visitor)
        assert visitor.page.status_code == 400
        assert "Remove the server in your client, add it again" in visitor.page.text


# --- how many


def calling(address: str) -> HttpResponse:
    """One registration as it arrives from an address, without the wire."""
    body = b'{"redirect_uris": ["https://client.example/callback"], "token_endpoint_auth_method": "none"}'
    about = {"REQUEST_METHOD": "POST", "REMOTE_ADDR": address, "wsgi.input": BytesIO(body)}
    return register(WSGIRequest({**about, "CONTENT_TYPE": "application/json", "CONTENT_LENGTH": str(len(body))}))


@pytest.fixture
def quiet() -> Iterator[None]:
    """Nobody has registered lately, and nobody waits to be let in."""
    cache.clear()
    services.sweep(now=datetime.now(UTC) + timedelta(days=2))
    yield
    cache.clear()


def waiting() -> int:
    found: int = Client.objects.filter(registration_source="dcr", grants=None).count()
    return found


@pytest.mark.parametrize(
    ("address", "accepted"),
    [("2001:db8::{:x}:{:x}", 60), ("10.{0}.{1}.1", 120)],
    ids=["one house", "everywhere"],
)
def test_ten_thousand_registrations_leave_the_table_bounded_and_everyone_else_served(
    world: World, settings: Any, quiet: None, address: str, accepted: int
) -> None:
    settings.CLIENT_REGISTRATIONS_PER_HOUR, settings.CLIENT_REGISTRATIONS_PER_MINUTE = 60, 120
    used = OAuthClient(world)
    assert used.register().status_code == 201
    given = used.signed_in()
    cache.clear()
    addresses = (address.format(n >> 8, n & 255) for n in range(10_000))
    answers = Counter(calling(one).status_code for one in addresses)
    assert answers == {201: accepted, 429: 10_000 - accepted}
    assert waiting() == accepted
    refused = calling(address.format(0, 0))
    assert json.loads(refused.content)["error"] == "temporarily_unavailable"
    if accepted == 60:
        assert refused["Retry-After"] == "3600"
    else:
        assert refused["Retry-After"] == "60"
        cache.delete("client-registrations")  # the minute is over
    honest = OAuthClient(world)
    assert honest.register().status_code == 201
    assert honest.signed_in()["access_token"]
    assert used.refresh(given["refresh_token"]).status_code == 200


def test_a_full_table_makes_room_for_the_newest_and_never_takes_it_from_a_client_in_use(
    world: World, settings: Any, quiet: None
) -> None:
    settings.CLIENTS_UNUSED = 20
    used, left, honest = OAuthClient(world), OAuthClient(world), OAuthClient(world)
    used.register()
    given = used.signed_in()
    left.register()
    for n in range(30):
        assert calling(f"10.0.0.{n}").status_code == 201
    assert waiting() == 20
    assert left.exchange("x").json()["error"] == "invalid_client"
    honest.register()
    for n in range(19):
        calling(f"10.0.1.{n}")
    assert waiting() == 20
    assert honest.signed_in()["access_token"]
    assert used.refresh(given["refresh_token"]).status_code == 200


def test_a_client_that_is_let_in_while_room_is_made_stays(world: World) -> None:
    client = OAuthClient(world)
    client.register()
    given = client.signed_in()
    # It was chosen a moment before.
    services._drop(Client.objects.filter(client_id=client.client_id))
    assert client.refresh(given["refresh_token"]).status_code == 200


def test_registration_that_is_switched_off_says_so_and_is_not_advertised(product: Served, settings: Any) -> None:
    settings.CLIENT_REGISTRATIONS_PER_HOUR = 0
    settings.OAUTH2_PROVIDER = {**settings.OAUTH2_PROVIDER, "DCR_ENABLED": False}
    answer = post(product, {"redirect_uris": ["https://client.example/callback"]})
    assert answer.status_code == 404
    assert answer.json()["error_description"] == "Clients cannot register themselves here."
    with product.http as http:
        assert "registration_endpoint" not in http.get("/.well-known/oauth-authorization-server").json()


# --- what is over


def test_what_is_over_is_swept_when_it_can_no_longer_matter(world: World, quiet: None) -> None:
    def after(**time: float) -> None:
        services.sweep(now=datetime.now(UTC) + timedelta(**time))

    client, unlucky = OAuthClient(world), OAuthClient(world)
    client.register()
    given = client.signed_in()
    given = client.refresh(given["refresh_token"]).json()
    assert unlucky.register().status_code == 201
    unlucky.code()

    after(hours=0.9)
    grants = ClientGrant.objects.filter(membership__user=world.me.user)
    assert grants.count() == 2
    after(hours=1.1)
    assert grants.get().client.client_id == client.client_id
    after(hours=23)
    assert Code.objects.filter(grant__in=grants).count() == 1
    assert waiting() == 1
    after(hours=25)
    assert waiting() == 0
    assert not Code.objects.filter(grant__in=grants).exists()
    assert not AccessToken.objects.filter(grant__in=grants).exists()
    assert RefreshToken.objects.filter(grant__in=grants).count() == 2
    after(days=31)
    assert RefreshToken.objects.filter(grant__in=grants).count() == 1
    assert client.refresh(given["refresh_token"]).status_code == 200
    after(days=59)
    assert grants.count() == 1
    after(days=61)
    assert not grants.exists()
    assert client.refresh(given["refresh_token"]).json()["error"] == "invalid_client"


def test_the_sweep_is_background_work() -> None:
    from metaagent.celery import app

    entries = [entry["task"] for entry in app.conf.beat_schedule.values()]
    assert "tenants.oauth.tasks.sweep" in entries
    sweep()
