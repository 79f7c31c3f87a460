"""The unchanged `sentry` file against a mock made from Sentry's own document, and tokens of a real OAuth server.

Prism answers as Sentry's document says and refuses what it does not allow; oidc-provider issues, rotates and revokes
the tokens, and only a token it knows opens the way to Prism (`programs/authorization_server.mjs`).
"""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from metaagent import demo
from tests.peers.person import Person, approve_at_oidc_provider
from tests.peers.place import Json, Place, Skipped, Wrong, hold, say

Ask: TypeAlias = Callable[[str], Json]
Revoke: TypeAlias = Callable[[], object]

DOCUMENT = Path(__file__).resolve().parents[3] / "shared" / "providers" / "sentry.openapi.json"
TOKEN_S = 10
_SCOPES = "openid org:read project:read event:read"
_TENANT = "mocked"
_START_S = 90

QUESTIONS = (
    "which organizations do I have?",
    "list my projects",
    "show the latest errors",
    "show me PUMP-STATION-1",
    "stack trace of PUMP-STATION-1",
    "list releases",
    "what changed in the newest release?",
    "is the new release ok?",
    "how many errors in the last 7d?",
    "why are release errors spiking?",
    "what are the top issues?",
    "which issues are new?",
)
UNDOCUMENTED = "who am I?"
"""Sentry serves `/api/0/users/me/` and does not document it, so the mock has no such path."""


@dataclass(frozen=True, slots=True)
class Mock:
    """Prism and oidc-provider, up."""

    url: str
    client: dict[str, str]

    def seen(self) -> Json:
        """What oidc-provider and the door counted, and the last tokens they saw."""
        return _http("GET", f"{self.url}/_seen").json()

    def lives(self, token: str) -> bool:
        """Whether oidc-provider's introspection calls a token active (RFC 7662)."""
        answer = _http("POST", f"{self.url}/token/introspection", data={**self.client, "token": token})
        return bool(answer.raise_for_status().json()["active"])

    def refresh(self, token: str) -> httpx2.Response:
        """Present a refresh token."""
        body = {**self.client, "grant_type": "refresh_token", "refresh_token": token}
        return _http("POST", f"{self.url}/token", data=body)


@contextmanager
def served(place: Place, port: int, prism_port: int) -> Iterator[str]:
    """Prism and oidc-provider for the time of the block; gives the address of both. Raises: Skipped, Wrong."""
    if not DOCUMENT.exists():
        raise Skipped(f"Sentry's own document is not there: {DOCUMENT}")
    prism = place.node("prism", "mock", "--host", "127.0.0.1", "--port", str(prism_port), str(DOCUMENT))
    server = place.node("authorization_server.mjs", str(port), str(prism_port), str(TOKEN_S))
    started: list[subprocess.Popen[bytes]] = []
    try:
        for name, command, url in (
            ("prism", prism, f"http://127.0.0.1:{prism_port}/"),
            ("oidc-provider", server, f"http://127.0.0.1:{port}/.well-known/openid-configuration"),
        ):
            with place.said(name).open("wb") as log:
                process = subprocess.Popen(command, env=place.environment, cwd=place.run, stdout=log, stderr=log)
            started.append(process)
            _await(url, process, f"{name} did not start; see {place.said(name)}")
        yield f"http://127.0.0.1:{port}"
    finally:
        for process in started:
            process.terminate()
            process.wait(15)


def walk(place: Place, stage: demo.Stage, person: Person, url: str) -> None:
    """Install, connect, ask, renew, revoke. Raises: Wrong."""
    mock = _installed(stage, url)
    key = demo._manage(stage, "client_key_create", _TENANT, demo.EMAIL)["key"]
    endpoint = f"{stage.url}/mcp/{_TENANT}/sentry"

    def ask(question: str) -> Json:
        return asyncio.run(_called(endpoint, key, question))

    person.connect(_error(ask(QUESTIONS[0]))["connect_url"], approve_at_oidc_provider)
    say("   connected through oidc-provider's pages (PKCE S256)")
    _answers(ask)
    _valid(place.said("prism"), mock.seen()["calls"])
    connection = demo._manage(stage, "connection_list", _TENANT)["connections"][0]["id"]
    _renewed(ask, mock)
    _revoked(ask, mock, lambda: demo._manage(stage, "connection_revoke", connection))


async def _called(endpoint: str, key: str, question: str) -> Json:
    headers = {"Authorization": f"Bearer {key}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=60, trust_env=False) as http,
        Client(streamable_http_client(endpoint, http_client=http)) as client,
    ):
        result = await client.call_tool("use_sentry", {"prompt": question})
        return result.model_dump(mode="json", by_alias=True)


def _installed(stage: demo.Stage, url: str) -> Mock:
    demo._manage(stage, "tenant_create", _TENANT)
    demo._manage(stage, "member_add", _TENANT, demo.EMAIL, "--role", "owner")
    install = (
        *("provider_install", _TENANT, "sentry", "--api-base", url, "--scopes", _SCOPES),
        *("--authorize-url", f"{url}/auth", "--token-url", f"{url}/token"),
        *("--revoke-url", f"{url}/token/revocation", "--identify-url", f"{url}/me"),
        "--client-secret-stdin",
    )
    # The redirect URI names the installation, so it is made first and told its client afterwards.
    made = demo._manage(stage, *install, "--client-id=to-be-registered", stdin="to-be-registered")
    wish = {
        "redirect_uris": [made["redirect_uri"]],
        "grant_types": ["authorization_code", "refresh_token"],
        "token_endpoint_auth_method": "client_secret_post",
        "scope": _SCOPES,
    }
    registered = _http("POST", f"{url}/reg", json=wish).raise_for_status().json()
    client = {name: registered[name] for name in ("client_id", "client_secret")}
    # One word: an id may begin with a dash.
    demo._manage(stage, *install, f"--client-id={client['client_id']}", stdin=client["client_secret"])
    return Mock(url, client)


def _answers(ask: Ask) -> None:
    """Every question is answered; the one the document knows nothing of fails as a typed error."""
    answered, wrong = 0, []
    for question in (*QUESTIONS, UNDOCUMENTED):
        result = ask(question)
        code = result["isError"] and _error(result).get("code")
        found = any(block["type"] == "resource_link" for block in result["content"])
        say(f"\n   > {question}" + (f"  [{code}]" if code else "" if found else "  [not answered]"))
        say("\n".join(f"   | {line}" for line in result["structuredContent"]["text"].splitlines()))
        answered += found
        if code == "internal" or (question == UNDOCUMENTED) != bool(code) or not (code or found):
            wrong.append(question)
    say(f"\n   answered {answered} of {len(QUESTIONS) + 1}; “{UNDOCUMENTED}” is not in Sentry's document and cannot be")
    hold(not wrong, f"not as they should be: {', '.join(wrong)}")


def _valid(log: Path, calls: int) -> None:
    """Prism checks every request against the document, and says in its log what it does not allow."""
    objections = [line for line in log.read_text(encoding="utf-8").splitlines() if "Violation: request" in line]
    hold(not objections, f"Prism objected to {len(objections)} of {calls} requests, first: {' '.join(objections[:1])}")
    say(f"   Prism found every one of {calls} requests as the document has it")


def _renewed(ask: Ask, mock: Mock) -> None:
    """A token that died at the provider is renewed unseen, with a new refresh token."""
    before = mock.seen()
    deadline = time.monotonic() + 2 * TOKEN_S
    while mock.lives(before["accessToken"]):
        hold(time.monotonic() < deadline, "oidc-provider's token does not expire")
        time.sleep(0.2)
    result = ask(QUESTIONS[0])
    after = mock.seen()
    hold(not result["isError"], f"with a dead token: {result['structuredContent']['text']}")
    hold(after["refreshes"] == before["refreshes"] + 1, f"{after['refreshes'] - before['refreshes']} refreshes, not 1")
    hold(after["refreshToken"] != before["refreshToken"], "the refresh token was not rotated")
    say(f"   token expired at the provider: renewed with one refresh, rotated, answered ({after['refreshes']} in all)")


def _revoked(ask: Ask, mock: Mock, revoke: Revoke) -> None:
    """After `connection_revoke` the provider itself refuses both tokens."""
    ask(QUESTIONS[0])  # a token lives seconds here: one that has just died is renewed
    last = mock.seen()
    access, refresh = last["accessToken"], last["refreshToken"]
    hold(mock.lives(access) and mock.lives(refresh), "the tokens were dead before they were revoked")
    revoke()
    hold(not mock.lives(access), "the access token outlived its connection")
    refused = mock.refresh(refresh)
    told = f"{refused.status_code} {refused.json().get('error')}"
    hold(told == "400 invalid_grant", f"the revoked refresh token was answered {told}")
    code = _error(ask(QUESTIONS[0])).get("code")
    hold(code == "needs_auth", f"the call after revoking was answered {code}")
    say(f"   connection_revoke: introspection says inactive, the token endpoint {told}, the next call {code}")


def _error(result: Json) -> Json:
    return (result["structuredContent"] or {}).get("error") or {}


def _http(method: str, url: str, **content: Json) -> httpx2.Response:
    return httpx2.request(method, url, trust_env=False, timeout=30, **content)


def _await(url: str, process: subprocess.Popen[bytes], otherwise: str) -> None:
    """Wait for any answer at all. Raises: Wrong."""
    deadline = time.monotonic() + _START_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            _http("GET", url)
        except httpx2.HTTPError:
            time.sleep(0.2)
        else:
            return
    raise Wrong(otherwise)
