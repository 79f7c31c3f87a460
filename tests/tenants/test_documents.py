"""Clients known by the document at their id's URL: what is fetched, for whom, and what is not believed."""

from __future__ import annotations

import gc
import json
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from django.core.cache import cache

from metaagent import documents
from metaagent.visitor import Visitor
from providers.egress import EgressPolicy, GuardedTransport
from tenants.oauth import registration, services
from tenants.oauth.models import Client
from tests.oauth import REDIRECT, OAuthClient
from tests.world import World

HOST = "app.example"


@dataclass
class Site:
    """An https server on loopback that every name leads to, and what it answers."""

    port: int = 0
    body: bytes = b"{}"
    status: int = 200
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})
    slow_s: float = 0
    asked: list[str] = field(default_factory=list)
    done: threading.Event = field(default_factory=threading.Event)

    def url(self, path: str = "/client.json", host: str = HOST) -> str:
        return f"https://{host}:{self.port}{path}"

    def says(self, **changes: Any) -> None:
        """Serve the document of a client."""
        document = {"client_id": self.url(), "client_name": "An app", "redirect_uris": [REDIRECT]}
        self.body = json.dumps({**document, **changes}).encode()


class Local(documents.Fetcher):
    """The product's fetcher in a world where the internet is one server on loopback."""

    site: ClassVar[Site]
    tls: ClassVar[ssl.SSLContext]
    networks: ClassVar[str] = "127.0.0.0/8"

    def transport(self) -> httpx2.BaseTransport:
        async def lookup(host: str) -> list[str]:
            return ["127.0.0.1"]

        hosts = " ".join(f"{host}:{self.site.port}" for host in (HOST, "other.example", "127.0.0.1"))
        allowed = EgressPolicy.parse(self.networks, hosts)
        limits = replace(documents.LIMITS, total_s=0.5) if self.site.slow_s else documents.LIMITS
        return GuardedTransport(allowed, limits=limits, resolver=lookup, tls=self.tls)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site()

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site.asked.append(self.path)
            site.done.wait(site.slow_s)
            self.send_response(site.status)
            for name, value in {**site.headers, "Content-Length": str(len(site.body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(site.body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        context, Local.tls = _tls(tmp_path_factory.mktemp("tls") / "both.pem")
        server.handle_error = lambda *_: None  # type: ignore[method-assign]
        server.socket = context.wrap_socket(server.socket, server_side=True)
        site.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield site
        server.shutdown()
        thread.join()


def _tls(pem: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's context with a certificate for our names, and a client's that trusts it."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    names = x509.SubjectAlternativeName([x509.DNSName(HOST), x509.DNSName("other.example")])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(identifier, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
        .sign(key, hashes.SHA256())
    )
    public = certificate.public_bytes(serialization.Encoding.PEM)
    pem.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + public
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(pem)
    return server, ssl.create_default_context(cadata=public.decode())


@pytest.fixture
def site(served: Site, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """The server, forgetful of the test before, and the product that fetches from it."""
    fresh = Site(port=served.port)
    served.__dict__.update({**vars(fresh), "done": served.done})
    served.done.clear()
    monkeypatch.setattr(Local, "site", served, raising=False)
    monkeypatch.setattr(Local, "networks", "127.0.0.0/8")
    settings.OAUTH2_PROVIDER = {
        **settings.OAUTH2_PROVIDER,
        "CIMD_METADATA_FETCHER": "tests.tenants.test_documents.Local",
    }
    Client.objects.filter(registration_source="cimd").delete()
    cache.clear()
    served.says()
    yield served
    served.done.set()
    cache.clear()


def introduced(world: World, site: Site, client_id: str | None = None) -> OAuthClient:
    return OAuthClient(world, client_id=client_id or site.url())


def is_stopped(client: OAuthClient, visitor: Visitor | None = None) -> bool:
    """Whether a person is told that the client cannot be let in, and nothing is kept of it."""
    if visitor is None:
        with Visitor() as own:
            return is_stopped(client, own)
    client.opened(visitor)
    refused = visitor.page.status_code == 400 and "This client cannot be let in" in visitor.page.text
    assert refused == ("location" not in visitor.page.headers and "answer" not in str(visitor.forms()))
    known = Client.objects.filter(client_id=client.client_id, registration_source="cimd").exists()
    return refused and not known


CHATGPT = {
    "token_endpoint_auth_method": "private_key_jwt",
    "token_endpoint_auth_methods_supported": ["none", "private_key_jwt"],
    "jwks_uri": "https://169.254.169.254/keys",
    "grant_types": ["authorization_code", "refresh_token"],
}
VS_CODE = {
    "client_name": "Visual Studio Code",
    "grant_types": ["authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code"],
    "redirect_uris": ["http://127.0.0.1:33418/", "http://127.0.0.1/", REDIRECT, "cursor://x.y/z", "http://[::1]/"],
    "token_endpoint_auth_method": "none",
}


@pytest.mark.parametrize("says", [{}, CHATGPT, VS_CODE], ids=["the least", "ChatGPT", "VS Code"])
def test_a_client_with_a_document_signs_in_without_registering(world: World, site: Site, says: dict[str, Any]) -> None:
    site.says(**says)
    client = introduced(world, site)
    given = client.signed_in()
    assert client.refresh(given["refresh_token"]).status_code == 200
    assert site.asked == ["/client.json"]
    row = Client.objects.get(client_id=client.client_id)
    assert (row.registration_source, row.client_type, row.client_secret) == ("cimd", "public", "")
    assert not row.listed


def test_the_metadata_says_whether_documents_are_taken(world: World, settings: Any) -> None:
    with world.product.http as http:
        said = http.get("/.well-known/oauth-authorization-server").json()
        assert said["client_id_metadata_document_supported"] is True
        settings.OAUTH2_PROVIDER = {**settings.OAUTH2_PROVIDER, "CIMD_ENABLED": False}
        said = http.get("/.well-known/oauth-authorization-server").json()
        assert said["client_id_metadata_document_supported"] is False


@pytest.mark.parametrize(
    "says",
    [
        {"client_id": "https://other.example/client.json"},
        {"client_id": 1},
        {"redirect_uris": ["http://evil.example/cb"]},
        {"redirect_uris": [REDIRECT, "javascript:alert(1)"]},
        {"redirect_uris": []},
        {"client_secret": "known to all"},
        {"client_secret_expires_at": 0},
        {"token_endpoint_auth_method": "client_secret_basic"},
        {"token_endpoint_auth_method": "private_key_jwt"},
        {"grant_types": ["client_credentials"]},
        {"client_name": 1},
    ],
    ids=str,
)
def test_a_document_that_cannot_be_believed_lets_nobody_in(world: World, site: Site, says: dict[str, Any]) -> None:
    site.says(**says)
    assert is_stopped(introduced(world, site))
    assert site.asked


@pytest.mark.parametrize("what", ["twice", "list", "not JSON", "HTML", "no type", "error", "moved", "large"])
def test_an_answer_that_is_not_a_document_lets_nobody_in(world: World, site: Site, what: str) -> None:
    match what:
        case "twice":
            site.body = site.body.replace(b"{", b'{"client_name": "Claude", ', 1)
        case "list":
            site.body = b"[%s]" % site.body
        case "not JSON":
            site.body = b"\xff" + site.body
        case "HTML":
            site.headers = {"Content-Type": "text/html"}
        case "no type":
            site.headers = {}
        case "error":
            site.status = 500
        case "moved":
            site.status, site.headers = 302, {**site.headers, "Location": site.url("/elsewhere.json")}
        case "large":
            site.body += b" " * 16_384
    assert is_stopped(introduced(world, site))
    assert site.asked == ["/client.json"]


# A server that does not answer does not end TLS either, so that the socket goes when it is collected.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_document_that_does_not_come_is_not_waited_for(world: World, site: Site) -> None:
    assert documents.LIMITS.total_s == 5
    site.slow_s = 30
    began = time.monotonic()
    assert is_stopped(introduced(world, site))
    assert time.monotonic() - began < 10
    gc.collect()


def test_a_json_type_of_its_own_will_do(world: World, site: Site) -> None:
    site.headers = {"Content-Type": "application/client-metadata+json; charset=utf-8"}
    assert introduced(world, site).signed_in()


@pytest.mark.parametrize(
    "address",
    [
        "http://app.example:{port}/client.json",
        "https://user@app.example:{port}/client.json",
        "https://user:pass@app.example:{port}/client.json",
        "https://app.example:{port}/a/../client.json",
        "https://app.example:{port}/./client.json",
        "https://app.example:{port}/a/..",
        "https://app.example:{port}/client.json#x",
        "https://app.example:{port}/client.json#",
        "https://app.example:{port}",
        "https://app.example:{port}?/client.json",
        "https://app.example:{port}\\@other.example/client.json",
        "https://app.example:{port}/client.json\n",
        "https://app.example:{port}/clïent.json",
        "https://app.example:{port}/" + "a" * 255,
        "https://unlisted.example/client.json",
        "https://127.0.0.1:1/client.json",
        "https://169.254.169.254/client.json",
        "https://[::1]/client.json",
        "https://[::ffff:10.0.0.1]/client.json",
        "https://0x7f.1:{port}/client.json",
        "https://localhost:22/client.json",
        "HTTPS://app.example:{port}/client.json",
        "file:///etc/passwd",
    ],
)
def test_an_address_that_is_no_clients_id_is_not_asked(world: World, site: Site, address: str) -> None:
    client_id = address.format(port=site.port)
    site.says(client_id=client_id)
    assert is_stopped(introduced(world, site, client_id))
    assert site.asked == []


def test_a_name_that_leads_into_a_private_network_is_not_asked(
    world: World, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Local, "networks", "")
    assert is_stopped(introduced(world, site))
    assert site.asked == []


@pytest.mark.parametrize(
    ("hosts", "taken"),
    [
        ("*", True),
        (HOST, True),
        ("other.example .example", True),
        ("other.example app.other", False),
        ("pp.example example", False),
        ("none", False),
        ("", False),
    ],
)
def test_the_operator_says_whose_documents_are_taken(
    world: World, site: Site, settings: Any, hosts: str, taken: object
) -> None:
    settings.CLIENT_METADATA_HOSTS = hosts.split()
    assert is_stopped(introduced(world, site)) is not taken
    assert bool(site.asked) is taken


def test_documents_switched_off_are_not_fetched(world: World, site: Site, settings: Any) -> None:
    settings.OAUTH2_PROVIDER = {**settings.OAUTH2_PROVIDER, "CIMD_ENABLED": False}
    assert is_stopped(introduced(world, site))
    assert site.asked == []


def test_a_document_does_not_take_over_a_client_that_has_its_id(world: World, site: Site) -> None:
    row = Client.objects.create(
        client_id=site.url("/ours.json"),
        client_type="public",
        authorization_grant_type="authorization-code",
        redirect_uris="https://ours.example/callback",
        name="Ours",
    )
    site.says(client_id=row.client_id)
    assert is_stopped(introduced(world, site, row.client_id))
    row.refresh_from_db()
    assert (row.name, row.redirect_uris, row.listed) == ("Ours", "https://ours.example/callback", True)
    assert site.asked == []


def test_nothing_is_fetched_for_somebody_who_has_not_logged_in(world: World, site: Site) -> None:
    client = introduced(world, site)
    with world.product.http as http:
        assert http.get(client.authorize_url()).status_code == 302
        for path in ("/o/token/", "/o/revoke_token/"):
            for more in ("", "?response_type=code", f"?response_type=code&client_id={client.client_id}&person=1"):
                form = {"grant_type": "authorization_code", "client_id": client.client_id, "code": "x", "token": "x"}
                form |= {"code_verifier": client.verifier, "redirect_uri": REDIRECT, "response_type": "code"}
                answer = http.post(path + more, data=form, headers={"person": "1"})
                assert answer.json()["error"] in {"invalid_client", "invalid_request"}, answer.text
    assert site.asked == []


def test_a_person_can_have_only_so_many_documents_fetched(
    world: World, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registration, "DOCUMENTS_PER_HOUR", 3)
    with Visitor() as visitor:
        for n in range(5):
            assert is_stopped(introduced(world, site, site.url(f"/{n}.json")), visitor)
    assert site.asked == ["/0.json", "/1.json", "/2.json"]
    assert introduced(world, site).signed_in(world.person())


def test_a_document_that_failed_is_not_asked_for_again_at_once(world: World, site: Site) -> None:
    site.status = 500
    client = introduced(world, site)
    assert is_stopped(client)
    assert is_stopped(client)
    assert len(site.asked) == 1


def test_a_change_of_the_document_counts_when_it_is_read_again(world: World, site: Site) -> None:
    client = introduced(world, site)
    given = client.signed_in()
    site.says(redirect_uris=["https://elsewhere.example/callback"])
    assert client.signed_in(), "it is believed for as long as it said"
    Client.objects.filter(client_id=client.client_id).update(cimd_expires_at=datetime.now(UTC) - timedelta(seconds=1))
    with Visitor() as visitor:
        client.opened(visitor)
        assert visitor.page.status_code == 400
    moved = OAuthClient(world, client_id=client.client_id, redirect_uri="https://elsewhere.example/callback")
    assert moved.signed_in()
    assert client.refresh(given["refresh_token"]).status_code == 200


def test_a_client_nobody_let_in_is_forgotten_after_a_day(world: World, site: Site) -> None:
    let_in = introduced(world, site)
    given = let_in.signed_in()
    site.says(client_id=site.url("/2.json"))
    waits = introduced(world, site, site.url("/2.json"))
    assert not is_stopped(waits)
    services.sweep(now=datetime.now(UTC) + timedelta(hours=25))
    assert not Client.objects.filter(client_id=waits.client_id).exists()
    assert let_in.refresh(given["refresh_token"]).status_code == 200
