"""From the address of an MCP server to how it is connected: RFC 9728, RFC 8414, OpenID Connect discovery, RFC 7591.

Everything read here comes from a party nobody has vouched for. Documents are read strictly, compared exactly and
fetched through the guarded transport, which follows no redirect; what is wrong with one is said in words of ours.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Annotated, Final, TypeVar
from urllib.parse import urlsplit

import httpx2
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from providers.egress import EgressPolicy, GuardedTransport, Limits, Target, check_url, decode_json
from providers.errors import EgressDenied, ToolError, Unavailable
from providers.spec import Access, Json

LIMITS: Final = Limits(
    connect_s=3, first_byte_s=10, total_s=10, max_wire_bytes=65_536, max_decoded_bytes=65_536, max_depth=32
)
_METHODS: Final = ("client_secret_post", "client_secret_basic", "none")
"""How this product proves itself at token endpoints, the best first: MCP's own SDK wants the id in the form even where
the secret is in the header, so servers made with it take only the first as RFC 6749 has it."""
_FOR_ITSELF: Final = ("openid", "email", "offline_access")
"""Scopes that no tool needs: they say whose account it is and keep it connected. Asked for where they are offered."""
_CHALLENGE: Final = re.compile(r"\bBearer\b(.*)", re.IGNORECASE | re.DOTALL)
_SCOPE: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,200}")
_SECRET: Final = re.compile(r"[\x21-\x7e]{1,4096}")
_MOST_SCOPES: Final = 100
_JSON_TYPE: Final = re.compile(r"application/(?:[a-z0-9.-]+\+)?json(?:;|$)", re.IGNORECASE)
_KNOWN_ERRORS: Final = frozenset(
    {"invalid_redirect_uri", "invalid_client_metadata", "invalid_software_statement", "unapproved_software_statement"}
)
_WELL_KNOWN: Final = "/.well-known"
_PROBE: Final = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
_REFUSALS: Final = (HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND, HTTPStatus.GONE, HTTPStatus.TOO_MANY_REQUESTS)


class Undiscovered(Exception):
    """What was found cannot be used. One sentence of ours says why, and what to do."""


class _Nowhere(Undiscovered):
    """There is no document where it would be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """An authorization server as its metadata has it. Every address in it is one this product may connect to."""

    issuer: str
    authorize_url: str
    token_url: str
    revoke_url: str | None = None
    register_url: str | None = None
    userinfo_url: str | None = None
    scopes: frozenset[str] = frozenset()
    """What it offers, as far as it says."""
    methods: tuple[str, ...] = ()
    """How a client may prove itself there, those of ours, the best first."""
    s256: bool = False
    iss_required: bool = False
    documents: bool = False
    """It takes the address of a Client ID Metadata Document as a client id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """How the accounts of an MCP server are connected."""

    access: Access
    resource: str
    """What tokens are asked for (RFC 8707)."""
    scopes: tuple[str, ...] = ()
    """The least it asks for."""
    server: Server | None = None
    """Given where `access` is `oauth`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """The client this product became by registering itself (RFC 7591)."""

    client_id: str
    secret: str | None = field(repr=False)
    method: str
    secret_ends_at: int
    """Seconds since 1970; 0: never."""


# --- What is read, strictly

_Text = Annotated[str, StringConstraints(min_length=1, max_length=2_048)]
_Texts = Annotated[list[Annotated[str, StringConstraints(max_length=2_048)]], Field(max_length=1_000)]


class _Document(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)


class _Resource(_Document):
    """RFC 9728 section 2."""

    resource: _Text
    authorization_servers: _Texts | None = None
    scopes_supported: _Texts | None = None


class _Metadata(_Document):
    """RFC 8414 section 2, and what OpenID Connect, RFC 9207 and Client ID Metadata Documents add to it."""

    issuer: _Text
    authorization_endpoint: _Text
    token_endpoint: _Text
    revocation_endpoint: _Text | None = None
    registration_endpoint: _Text | None = None
    userinfo_endpoint: _Text | None = None
    scopes_supported: _Texts | None = None
    response_types_supported: _Texts | None = None
    grant_types_supported: _Texts | None = None
    token_endpoint_auth_methods_supported: _Texts | None = None
    code_challenge_methods_supported: _Texts | None = None
    authorization_response_iss_parameter_supported: bool | None = None
    client_id_metadata_document_supported: bool | None = None


class _Registration(_Document):
    """RFC 7591 section 3.2.1."""

    client_id: Annotated[str, StringConstraints(pattern=r"\A[\x20-\x7e]{1,300}\z")]
    client_secret: str | None = None
    client_secret_expires_at: Annotated[int, Field(ge=0)] | None = None
    token_endpoint_auth_method: _Text | None = None
    redirect_uris: _Texts | None = None


D = TypeVar("D", bound=_Document)


def opened(policy: EgressPolicy) -> httpx2.Client:
    """A client that reaches what `policy` lets it, and reads no more than discovery needs."""
    transport = GuardedTransport(policy, limits=LIMITS)
    return httpx2.Client(transport=transport, timeout=None, trust_env=False, follow_redirects=False)


# --- The MCP server


def at_mcp(
    http: httpx2.Client, url: str, *, policy: EgressPolicy, issuer: str = "", access: Access | None = None
) -> Found:
    """How accounts of the MCP server at `url` are connected (MCP 2026-07-28, authorization).

    `issuer` picks one of several authorization servers. `access` is what an administrator has said already: then the
    server's own answer decides no more than which authorization server is meant.
    Raises: Undiscovered.
    """
    where = _checked(url, "The address of the MCP server", policy)
    if access is not None and access is not Access.OAUTH:
        return Found(access=access, resource=url)
    challenge = _challenge(http, url)
    if challenge is None and access is None:
        return Found(access=Access.NONE, resource=url)
    named, asked = challenge or (None, None)
    document = _resource_document(http, url, where, named, policy)
    if document is None:
        server = _own_server(http, url, issuer, policy)
        if server is None and access is Access.OAUTH:
            raise Undiscovered(
                "The server says nowhere how accounts are connected. Name its authorization server with --issuer, or "
                "with --authorize-url and --token-url."
            )
        if server is None:
            return Found(access=Access.KEY, resource=url)
        return Found(access=Access.OAUTH, resource=url, scopes=asked or (), server=server)
    servers = document.authorization_servers or []
    if issuer and servers and issuer not in servers:
        raise Undiscovered("The MCP server does not name the authorization server that --issuer says.")
    if not issuer and not servers:
        raise Undiscovered("The MCP server's metadata names no authorization server. Name it with --issuer.")
    server = authorization_server(http, issuer or servers[0], policy=policy)
    scopes = asked if asked is not None else _scopes(document.scopes_supported or ())
    return Found(access=Access.OAUTH, resource=document.resource, scopes=scopes, server=server)


def _challenge(http: httpx2.Client, url: str) -> tuple[str | None, tuple[str, ...] | None] | None:
    """What the server answers somebody it does not know: where its metadata is, and which scopes it wants.

    None when it asks for nothing. Raises: Undiscovered.
    """
    accept = "application/json, text/event-stream"
    reply = _asked(http, "POST", url, "The MCP server could not be asked.", accept=accept, json=_PROBE)
    status = reply.status_code
    if reply.is_redirect:
        raise Undiscovered("The MCP server answers with a redirect, which is not followed. Give the address it is at.")
    if status in _REFUSALS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise Undiscovered(
            f"The MCP server answers {status} to a first question. Check the address; if it wants a key, say so with "
            "--access key."
        )
    if status != HTTPStatus.UNAUTHORIZED:
        return None
    return read_challenge(reply.headers.get("www-authenticate", ""))


def read_challenge(header: str) -> tuple[str | None, tuple[str, ...] | None]:
    """`resource_metadata` (RFC 9728 section 5.1) and `scope` (RFC 6750 section 3) of a Bearer challenge, if there."""
    found = _CHALLENGE.search(header[:8_192])
    said = {
        name: quoted or plain
        for name, quoted, plain in re.findall(
            r'\b(resource_metadata|scope)=(?:"([^"\\]*)"|([^\s",]+))', found[1] if found else ""
        )
    }
    return said.get("resource_metadata"), _scopes(said["scope"].split()) if "scope" in said else None


def _resource_document(
    http: httpx2.Client, url: str, where: Target, named: str | None, policy: EgressPolicy
) -> _Resource | None:
    """The protected resource's metadata: where the challenge says, below the path, at the root. None: nowhere.

    The first that is there decides. Raises: Undiscovered.
    """
    if named is not None:
        _checked(named, "The metadata address that the MCP server names", policy)
    guesses = [f"{_origin(url)}{_WELL_KNOWN}/oauth-protected-resource{each}" for each in (_path(where).rstrip("/"), "")]
    for each in dict.fromkeys([*([named] if named else []), *guesses]):
        try:
            document = _read(http, each, _Resource, "resource metadata")
        except _Nowhere:
            if each == named:
                raise
            continue
        if not _covers(document.resource, url, policy):
            raise Undiscovered(f"The resource metadata at {each} is about another address: it cannot be trusted.")
        return document
    return None


def _covers(resource: str, url: str, policy: EgressPolicy) -> bool:
    """Whether a resource is `url` or a parent of it (RFC 9728 section 3.3, as MCP's own SDK compares)."""
    try:
        parent, child = check_url(resource, policy), check_url(url, policy)
    except EgressDenied:
        return False
    above, below = (_path(each).rstrip("/") + "/" for each in (parent, child))
    return resource == url or (parent.origin == child.origin and "?" not in parent.rest and below.startswith(above))


def _path(where: Target) -> str:
    return where.rest.partition("?")[0]


def _own_server(http: httpx2.Client, url: str, issuer: str, policy: EgressPolicy) -> Server | None:
    """The authorization server that was named, or else the one at the MCP server's own origin, where servers before
    2025-06-18 have theirs. None: none was named, and there is none. Raises: Undiscovered.
    """
    if issuer:
        return authorization_server(http, issuer, policy=policy)
    origin = _origin(url)
    try:
        return _server(_metadata(http, origin), policy, {origin, f"{origin}/"})
    except _Nowhere:
        return None


# --- The authorization server


def authorization_server(http: httpx2.Client, issuer: str, *, policy: EgressPolicy) -> Server:
    """The metadata of `issuer`: RFC 8414, then both forms of OpenID Connect discovery. Raises: Undiscovered."""
    where = _checked(issuer, "The authorization server's address", policy)
    if "?" in where.rest:
        raise Undiscovered("An issuer's address cannot have a query (?…).")
    return _server(_metadata(http, issuer), policy, {issuer})


def _metadata(http: httpx2.Client, issuer: str) -> _Metadata:
    """Raises: Undiscovered; _Nowhere, with the reason the first address gave, when it is at none of them."""
    nowhere: _Nowhere | None = None
    for each in _metadata_urls(issuer):
        try:
            return _read(http, each, _Metadata, "authorization server metadata")
        except _Nowhere as missing:
            nowhere = nowhere or missing
    raise nowhere or _Nowhere(issuer)


def _metadata_urls(issuer: str) -> Iterator[str]:
    origin, path = _origin(issuer), urlsplit(issuer).path.rstrip("/")
    yield f"{origin}{_WELL_KNOWN}/oauth-authorization-server{path}"
    yield f"{origin}{_WELL_KNOWN}/openid-configuration{path}"
    if path:
        yield f"{origin}{path}{_WELL_KNOWN}/openid-configuration"


def _server(document: _Metadata, policy: EgressPolicy, issuers: Collection[str]) -> Server:
    """Raises: Undiscovered for metadata that is none of these issuers', or that cannot be used."""
    if document.issuer not in issuers:  # RFC 8414 section 3.3: identical, not just equivalent
        raise Undiscovered(
            f"The metadata found for {min(issuers)} says that it is another issuer's: it cannot be trusted."
        )
    if document.response_types_supported is not None and "code" not in document.response_types_supported:
        raise Undiscovered("The authorization server offers no authorization code.")
    if document.grant_types_supported is not None and "authorization_code" not in document.grant_types_supported:
        raise Undiscovered("The authorization server does not trade authorization codes.")
    stated = document.token_endpoint_auth_methods_supported
    offered = ["client_secret_basic"] if stated is None else stated  # RFC 8414's default
    methods = tuple(method for method in _METHODS if method in offered)
    if not methods:
        raise Undiscovered("The authorization server takes clients only in ways that this product does not know.")
    addresses = {
        "authorization": document.authorization_endpoint,
        "token": document.token_endpoint,
        "revocation": document.revocation_endpoint,
        "registration": document.registration_endpoint,
        "userinfo": document.userinfo_endpoint,
    }
    for name, address in addresses.items():
        if address is not None:
            _checked(address, f"The {name} endpoint that the authorization server names", policy)
    return Server(
        issuer=document.issuer,
        authorize_url=document.authorization_endpoint,
        token_url=document.token_endpoint,
        revoke_url=document.revocation_endpoint,
        register_url=document.registration_endpoint,
        userinfo_url=document.userinfo_endpoint,
        scopes=frozenset(document.scopes_supported or ()),
        methods=methods,
        s256="S256" in (document.code_challenge_methods_supported or ()),
        iss_required=document.authorization_response_iss_parameter_supported is True,
        documents=document.client_id_metadata_document_supported is True,
    )


def scopes_to_ask(server: Server, least: Sequence[str]) -> tuple[str, ...]:
    """The least, and what says whose account it is and keeps it connected; nothing where nothing has to be said."""
    return tuple(dict.fromkeys([*least, *(each for each in _FOR_ITSELF if each in server.scopes)])) if least else ()


def oauth_facts(server: Server, *, scopes: Sequence[str], resource: str | None) -> dict[str, Json]:
    """The OAuthSpec of a provider whose authorization server this is, as plain JSON.

    Whose account it is, the ID token says when one is asked for; else the server is asked, if it can be; else each
    person has one account there.
    """
    oidc = "openid" in server.scopes
    asks = not oidc and server.userinfo_url is not None
    return {
        "authorize_url": server.authorize_url,
        "token_url": server.token_url,
        "revoke_url": server.revoke_url,
        "issuer": server.issuer,
        "iss_required": server.iss_required,
        "scopes": list(scopes),
        "resource": resource,
        "client_auth": server.methods[0],
        "identity": "id_token" if "openid" in scopes else "who_am_i" if asks else "owner",
        "identify_url": server.userinfo_url,
        "unlisted_scopes": [scope for scope in _FOR_ITSELF if scope in scopes],
    }


def no_s256(issuer: str) -> str:
    """What is said of an authorization server that does not promise to check PKCE."""
    return (
        f"{issuer} does not say that it checks PKCE with S256, so a stolen code could be used by others. If you accept "
        "that for this provider, say so with --no-pkce; it is recorded."
    )


# --- Registering


def register(
    http: httpx2.Client, server: Server, *, name: str, site: str, redirect_uri: str, policy: EgressPolicy
) -> Registered:
    """Register this product as a client, with exactly one redirect URI (RFC 7591).

    No scope is named: it would limit for ever what the client may ask for. Raises: Undiscovered.
    """
    if server.register_url is None:
        raise Undiscovered("The authorization server does not let clients register themselves.")
    _checked(server.register_url, "The registration endpoint", policy)
    wish = {
        "client_name": name,
        "client_uri": site,
        "application_type": "web",
        "redirect_uris": [redirect_uri],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": server.methods[0],
    }
    reply = _asked(
        http, "POST", server.register_url, "The authorization server could not be asked for a client.", json=wish
    )
    if reply.status_code not in {HTTPStatus.OK, HTTPStatus.CREATED}:
        raise Undiscovered(f"The authorization server did not let this product register{_why(reply)}.")
    answer = _parsed(reply.content, _Registration, "registration answer")
    return _registered(answer, server, redirect_uri)


def _registered(answer: _Registration, server: Server, redirect_uri: str) -> Registered:
    method = answer.token_endpoint_auth_method or server.methods[0]
    if method not in _METHODS:
        raise Undiscovered("The authorization server wants the client to prove itself in a way it was not asked for.")
    if answer.redirect_uris is not None and answer.redirect_uris != [redirect_uri]:
        raise Undiscovered("The authorization server registered other redirect URIs than it was asked to.")
    secret = None if method == "none" else answer.client_secret
    if method != "none" and not (secret and _SECRET.fullmatch(secret)):
        raise Undiscovered("The authorization server registered a client without a secret that can be used.")
    ends_at = answer.client_secret_expires_at or 0
    return Registered(client_id=answer.client_id, secret=secret, method=method, secret_ends_at=ends_at if secret else 0)


def _why(reply: httpx2.Response) -> str:
    """The status, and the error's word where it is one that RFC 7591 defines; nothing else of the answer."""
    try:
        said = decode_json(reply.content, LIMITS.max_depth)
    except Unavailable:
        said = None
    word = said.get("error") if isinstance(said, dict) else None
    return f" ({reply.status_code}, {word})" if word in _KNOWN_ERRORS else f" ({reply.status_code})"


# --- Reading


def _checked(url: str, what: str, policy: EgressPolicy) -> Target:
    """Raises: Undiscovered."""
    try:
        return check_url(url, policy)
    except EgressDenied as denied:
        raise Undiscovered(f"{what} cannot be used. {denied.message}") from None


def _asked(
    http: httpx2.Client, method: str, url: str, otherwise: str, *, accept: str = "application/json", json: Json = None
) -> httpx2.Response:
    """Raises: Undiscovered, saying `otherwise`."""
    try:
        return http.request(method, url, json=json, headers={"Accept": accept})
    except ToolError as failed:
        raise Undiscovered(f"{otherwise} {failed.message}") from None
    except (httpx2.HTTPError, httpx2.InvalidURL):
        raise Undiscovered(otherwise) from None


def _read(http: httpx2.Client, url: str, kind: type[D], what: str) -> D:
    """The document at `url`. Raises: _Nowhere when there is none; Undiscovered for one that cannot be used."""
    reply = _asked(http, "GET", url, f"The {what} at {url} could not be read.")
    if reply.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise Undiscovered(f"The {what} at {url} could not be read ({reply.status_code}). Try again later.")
    if reply.is_redirect:
        raise _Nowhere(f"Where the {what} should be, {url}, is a redirect, which is not followed.")
    if reply.status_code != HTTPStatus.OK or not _JSON_TYPE.match(reply.headers.get("content-type", "")):
        raise _Nowhere(f"There is no {what} at {url}.")
    return _parsed(reply.content, kind, f"{what} at {url}")


def _parsed(content: bytes, kind: type[D], what: str) -> D:
    """Raises: Undiscovered, naming the first member that is not what it should be."""
    try:
        return kind.model_validate(decode_json(content, LIMITS.max_depth))
    except Unavailable:
        raise Undiscovered(f"The {what} is not JSON that can be read.") from None
    except ValidationError as wrong:
        first = wrong.errors(include_url=False, include_input=False)[0]["loc"]
        member = f": look at “{first[0]}”" if first else ""
        raise Undiscovered(f"The {what} is not what it should be{member}.") from None


def _scopes(words: Sequence[str]) -> tuple[str, ...]:
    """Each scope once. Raises: Undiscovered for what are no scopes."""
    found = tuple(dict.fromkeys(words))
    if len(found) > _MOST_SCOPES or not all(_SCOPE.fullmatch(word) for word in found):
        raise Undiscovered("The scopes that the MCP server names are none. Say them with --scopes.")
    return found


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
