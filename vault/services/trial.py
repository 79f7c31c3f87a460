"""Trying a provider out: its OAuth facts against the simulator, and its addresses as they answer now."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from http import HTTPStatus
from urllib.parse import parse_qs, urlsplit

import httpx2

from providers import selectors as providers
from providers.egress import GuardedTransport, Limits
from providers.errors import ToolError
from providers.models import Installation
from providers.simulator import Finding, samples
from providers.simulator.authority import CALLBACK, CLIENT_ID, SECRET, Authority, place_of
from providers.spec import Access, OAuthSpec, ProviderSpec
from vault import oauth
from vault.crypto import Unreadable
from vault.services.clients import client_of
from vault.services.keys import KeysUnavailable
from vault.tokens import AnswerRefused, TokenSet

_SITE = "https://simulator.invalid"
_STATE = "a-state-that-is-not-used-anywhere-else"
_WAIT_S = 7
_QUICK = Limits(connect_s=3, first_byte_s=8, total_s=8, max_wire_bytes=262_144, max_decoded_bytes=262_144)
_NO_TOKEN = "made-up-to-see-what-is-answered"  # noqa: S105 - no token of anybody


# --- Against the simulator


def simulated(spec: ProviderSpec) -> list[Finding]:
    """What the simulator finds: connecting, refreshing and ending as the provider documents them, then its tools.

    Nothing leaves the process.
    """
    findings = []
    if spec.access is Access.OAUTH and place_of(spec.id):
        findings += _Round(spec).findings()
    return findings + samples.tried(spec)


class _InProcess(httpx2.BaseTransport):
    """The simulator, reached without a network."""

    def __init__(self, authority: Authority) -> None:
        self._inner = httpx2.ASGITransport(authority.app)

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        request.read()

        async def run() -> httpx2.Response:
            answer = await self._inner.handle_async_request(request)
            return httpx2.Response(answer.status_code, headers=answer.headers, content=await answer.aread())

        return asyncio.run(run())


def at_simulator(spec: ProviderSpec, site: str = _SITE) -> OAuthSpec:
    """The provider's facts with the simulator's addresses, below `site`, in place of its own."""
    at, facts = f"{site}/{place_of(spec.id)}", spec.oauth
    revoke = f"{at}/applications/{{client_id}}/token" if facts.revoke_style == "json_basic" else f"{at}/revoke"
    return replace(
        facts,
        authorize_url=f"{at}/authorize",
        token_url=f"{at}/token",
        revoke_url=revoke if facts.revoke_url else None,
        identify_url=f"{at}/me" if facts.identify_url else None,
    )


class _Round:
    """A connection's life at the simulator, a finding for each step."""

    def __init__(self, spec: ProviderSpec) -> None:
        self.authority = Authority()
        self.spec = at_simulator(spec)
        self.client = oauth.Client(self.spec, CLIENT_ID, SECRET, CALLBACK)
        self.nonce = oauth.nonce_of(_STATE) if self.spec.identity == "id_token" else None
        self.found: list[Finding] = []

    def findings(self) -> list[Finding]:
        """All steps; what follows from one that failed is left out."""
        with oauth.through(_InProcess(self.authority)):
            tokens = self._step("connects: PKCE, parameters, client authentication", self._connected)
            if isinstance(tokens, TokenSet):
                self._told(tokens)
                self._step("says whose account it is", lambda: self._identified(tokens))
                self._unticked()
                if tokens.refresh is not None:
                    self._renewed(tokens.refresh)
                else:
                    self._note("refreshes", None, "this kind of client gets no refresh token")
                self._ended()
        return self.found

    def _note(self, name: str, ok: bool | None, note: str = "") -> None:  # noqa: FBT001 - a finding is yes, no or neither
        self.found.append(Finding(name, ok, note))

    def _step(self, name: str, step: Callable[[], object]) -> object:
        came = _outcome(step)
        refused = isinstance(came, str)
        self._note(name, not refused, str(came) if refused else "")
        return came

    def _connected(self) -> TokenSet:
        verifier = oauth.new_verifier()
        url = oauth.authorize_url(
            self.client, scopes=self.spec.scopes, state=_STATE, verifier=verifier, nonce=self.nonce
        )
        page = _InProcess(self.authority).handle_request(httpx2.Request("GET", url))
        answer = parse_qs(urlsplit(page.headers.get("location", "")).query)
        if "code" not in answer:
            raise AnswerRefused("the authorization request is not what it documents")
        return oauth.exchange_code(self.client, code=answer["code"][0], verifier=verifier)

    def _identified(self, tokens: TokenSet) -> object:
        return oauth.identify(self.client, tokens, nonce=self.nonce)

    def _told(self, tokens: TokenSet) -> None:
        missing = set(self.spec.scopes) - set(oauth.granted(self.spec, tokens, self.spec.scopes))
        self._note(
            "reads the granted scopes", not missing, f"not seen: {', '.join(sorted(missing))}" if missing else ""
        )
        lives_s = tokens.lives_s(self.spec, renewable=tokens.refresh is not None)
        said = "stated" if tokens.lifetime_s is not None else "not stated"
        self._note(
            "knows how long a token lives",
            lives_s is not None or tokens.refresh is None,
            f"{said}; taken for {'endless until refused' if lives_s is None else f'{lives_s} s'}",
        )

    def _unticked(self) -> None:
        optional = [scope for scope in self.spec.scopes if scope not in self.spec.unlisted_scopes]
        if not self.spec.scope_separator or len(optional) < 2:  # noqa: PLR2004 - one to grant, one to leave out
            self._note("notices an unticked scope", None, "takes no scopes that could be left out")
            return
        self.authority.unticked = frozenset({optional[-1]})
        tokens = _outcome(self._connected)
        self.authority.unticked = frozenset()
        seen = isinstance(tokens, TokenSet) and optional[-1] not in oauth.granted(self.spec, tokens, self.spec.scopes)
        self._note("notices an unticked scope", seen)

    def _renewed(self, old: str) -> None:
        fresh = self._step("refreshes", lambda: oauth.refresh(self.client, refresh_token=old))
        if not isinstance(fresh, TokenSet):
            return
        again = _outcome(lambda: oauth.refresh(self.client, refresh_token=old))
        harmless = not self.spec.rotation or self.spec.reuse_leeway_s > 0
        fits = isinstance(again, TokenSet) or (again == "invalid_grant" and not harmless)
        kind = "rotation" if self.spec.rotation else "no rotation"
        leeway = f" with {self.spec.reuse_leeway_s} s of leeway" if self.spec.reuse_leeway_s else ""
        self._note("knows what an old refresh token is worth", fits, kind + leeway)
        self.authority.busy = _WAIT_S
        waits = _refusal(lambda: oauth.refresh(self.client, refresh_token=fresh.refresh or old))
        self.authority.busy = 0
        self._note(
            "waits as long as a busy server asks",
            waits is not None and (waits.code, waits.retry_after_s) == ("unavailable", _WAIT_S),
        )
        self.authority.end(fresh.refresh or old)
        dead = _refusal(lambda: oauth.refresh(self.client, refresh_token=fresh.refresh or old))
        self._note("knows a grant that is over", dead is not None and dead.code == "invalid_grant")

    def _ended(self) -> None:
        if not oauth.revocable(self.client):
            self._note("kills tokens on disconnecting", None, "the provider has no way to; people remove it there")
            return
        tokens = _outcome(self._connected)
        if not isinstance(tokens, TokenSet):
            self._note("kills tokens on disconnecting", ok=False, note=str(tokens))
            return
        for again in ("", "; once more too"):
            came = _outcome(lambda: oauth.revoke_all(self.client, refresh=tokens.refresh, access=tokens.access))
            if came is not None:
                self._note("kills tokens on disconnecting", ok=False, note=f"{came}{again}")
                return
        alive = any(map(self.authority.works, filter(None, (tokens.refresh, tokens.access))))
        self._note("kills tokens on disconnecting", not alive, "confirmed, and again when they are dead already")


def _refusal(step: Callable[[], object]) -> AnswerRefused | None:
    try:
        step()
    except AnswerRefused as refused:
        return refused
    except ToolError:
        return None
    return None


def _outcome(step: Callable[[], object]) -> object:
    """What a step gave, or the word for why it failed."""
    try:
        return step()
    except AnswerRefused as refused:
        return refused.code
    except ToolError as failed:
        return type(failed).__name__


# --- As it is now


def live(installation: Installation) -> list[Finding]:
    """What each address of an installation answers to a request that changes nothing and holds no token of anybody.

    The client's own id and secret go to the token endpoint, with a refresh token that does not exist: the answer tells
    whether the provider knows the client. Never raises for what a provider does.
    """
    spec = providers.spec_of(installation)
    way_out = GuardedTransport(oauth.egress_policy(), limits=_QUICK)
    with httpx2.Client(transport=way_out, timeout=None, trust_env=False) as http:
        checks = [*_api(spec, http, own=not installation.api_base)]
        if spec.access is Access.OAUTH and not installation.connect_url:
            checks += _authority(installation, spec.oauth, http)
    return checks


def _api(spec: ProviderSpec, http: httpx2.Client, *, own: bool) -> Iterator[Finding]:
    yield _answers("API", http, "GET", spec.api_base)
    if spec.mcp_url and own:  # what is served elsewhere has nothing to do with the provider's own server
        yield _answers("MCP server", http, "GET", spec.mcp_url)


def _authority(installation: Installation, facts: OAuthSpec, http: httpx2.Client) -> Iterator[Finding]:
    yield _answers("authorization page", http, "GET", facts.authorize_url, absent={HTTPStatus.NOT_FOUND})
    yield _known(installation, facts)
    if facts.identify_url:
        yield _refuses("who am I", http, facts.identify_url)
    if facts.revoke_url:
        url = facts.revoke_url.replace("{client_id}", installation.client_id)
        yield _answers(
            "revocation",
            http,
            "POST",
            url,
            absent={HTTPStatus.METHOD_NOT_ALLOWED} if facts.revoke_style != "json_basic" else frozenset(),
        )
    if facts.issuer and "{" not in facts.issuer:
        yield _metadata(facts, http)


def _answers(
    name: str,
    http: httpx2.Client,
    method: str,
    url: str,
    *,
    absent: Sequence[int] | frozenset[int] | set[int] = frozenset(),
) -> Finding:
    """Whether somebody is there: any answer but a server's failure will do, and those that say that nothing is."""
    try:
        status = http.request(method, url).status_code
    except ToolError as failed:
        return Finding(name, ok=False, note=failed.message)
    here = status < HTTPStatus.INTERNAL_SERVER_ERROR and status not in absent
    return Finding(name, ok=here, note=f"{urlsplit(url).netloc} answers {status}")


def _refuses(name: str, http: httpx2.Client, url: str) -> Finding:
    """Whether an address that is for tokens refuses one that was made up."""
    try:
        status = http.get(url, headers={"Authorization": f"Bearer {_NO_TOKEN}"}).status_code
    except ToolError as failed:
        return Finding(name, ok=False, note=failed.message)
    there = status < HTTPStatus.INTERNAL_SERVER_ERROR and status != HTTPStatus.NOT_FOUND
    return Finding(name, ok=there, note=f"{urlsplit(url).netloc} answers {status} to a token that does not exist")


def _known(installation: Installation, facts: OAuthSpec) -> Finding:
    """Whether the token endpoint knows this client."""
    name = "token endpoint and client"
    try:
        oauth.refresh(client_of(installation), refresh_token=_NO_TOKEN)
    except AnswerRefused as refused:
        if refused.code == "invalid_grant":
            return Finding(name, ok=True, note="the provider knows this client")
        known = {"unavailable": "it is busy or down", "malformed": "it answers with something else than JSON"}
        note = known.get(refused.code, "it refuses this client: check its id and secret, and that it may refresh")
        return Finding(name, ok=False, note=f"{urlsplit(facts.token_url).netloc}: {note}")
    except (Unreadable, KeysUnavailable):
        return Finding(name, ok=False, note="the vault does not open the client's secret now")
    except ToolError as failed:
        return Finding(name, ok=False, note=failed.message)
    return Finding(name, ok=False, note="it took a refresh token that does not exist")


def _metadata(facts: OAuthSpec, http: httpx2.Client) -> Finding:
    """Whether the authorization server's metadata, where it has any, names the same addresses (RFC 8414)."""
    name, parts = "authorization server metadata", urlsplit(facts.issuer or "")
    url = f"{parts.scheme}://{parts.netloc}/.well-known/oauth-authorization-server{parts.path.rstrip('/')}"
    try:
        answer = http.get(url, headers={"Accept": "application/json"})
        said = answer.json() if answer.status_code == HTTPStatus.OK else None
    except ToolError as failed:
        return Finding(name, ok=False, note=failed.message)
    except ValueError:
        said = None
    if not isinstance(said, dict):
        return Finding(name, ok=None, note="there is none")
    same = said.get("issuer") == facts.issuer and said.get("token_endpoint") == facts.token_url
    return Finding(name, ok=same, note="" if same else "it names another issuer or token endpoint")
