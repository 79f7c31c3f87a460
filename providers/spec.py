"""What a provider is: public facts as frozen values, whether a file, an MCP server or a document gave them."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Collection, Mapping, MutableMapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from types import MappingProxyType
from typing import Any, Literal, Protocol, TypeAlias
from urllib.parse import urlsplit, urlunsplit

from metaagent.values import value
from providers.errors import ToolError

Json: TypeAlias = Any
"""A decoded JSON value. Foreign documents have no better type until a tool has picked from them."""

Args: TypeAlias = Mapping[str, Json]
_EMPTY: Mapping[str, str] = MappingProxyType({})


class Effect(StrEnum):
    """What a tool may do to the account it acts as."""

    READ = "read"
    WRITE = "write"
    DESTRUCTIVE = "destructive"


class ConsentPolicy(StrEnum):
    """When a person is asked before a provider is used in their name, per installation."""

    NEVER = "never"
    """Connecting was consent enough."""
    FIRST_USE = "first_use"
    """Once per connection, client and effect."""
    WRITES = "writes"
    """Reading is free; changing something needs a standing consent."""
    ALWAYS = "always"
    """Every ask, each time."""


class Access(StrEnum):
    """How an account is connected."""

    OAUTH = "oauth"
    """On the provider's own pages."""
    KEY = "key"
    """With a key or token that the person enters on the connect page."""
    NONE = "none"
    """Nobody has to: the provider asks for nothing, and one shared connection serves the whole tenant."""


class Exposure(StrEnum):
    """What a client sees of a provider before it is connected: `soft` shows the tool, `strict` hides it."""

    SOFT = "soft"
    STRICT = "strict"


@value
class Request:
    """One request to a provider's API, as it is sent."""

    method: str
    path: str
    """As in `Api.get`."""
    query: str = ""
    """Percent-encoded, without the question mark."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Besides the client's own; none of them can replace `Authorization`."""
    body: bytes | None = None
    repeat: bool = False
    """It changes nothing: it may be sent again when nothing came of it."""
    until: Callable[[bytes], bool] | None = None
    """Given each part of an event stream as it comes; the answer is over when it says so."""
    slow: bool = False
    """It may do long work before it answers: silence is waited through for as long as the whole may take."""


@value
class Reply:
    """One answer of a provider's API, already bounded in size and time."""

    status: int
    headers: Mapping[str, str]
    """Lower-case names."""
    body: bytes
    data: Json
    """The decoded JSON body, or None when the answer had none or was of another kind."""

    @property
    def next_cursor(self) -> str | None:
        """The cursor of the next page from an RFC 8288 `Link` header in Sentry's form, or None at the end."""
        for part in self.headers.get("link", "").split(","):
            if (
                'rel="next"' in part
                and 'results="false"' not in part
                and (found := re.search(r'cursor="([^"]+)"', part))
            ):
                return found[1]
        return None


class Api(Protocol):
    """The provider's API as one account sees it. It adds the token itself and reaches no host but the provider's."""

    @property
    def web_base(self) -> str:
        """Where a person reads the provider's pages; no trailing slash."""

    async def get(self, path: str, params: Mapping[str, Json] | None = None) -> Reply:
        """Fetch `path` (absolute path, already percent-encoded) with `params` as the query.

        Raises: `providers.errors.ToolError`.
        """

    async def send(self, method: str, path: str, body: Json = None) -> Reply:
        """Send `body` as JSON. Never repeated by the client. Raises: `providers.errors.ToolError`."""

    async def request(self, request: Request) -> Reply:
        """Send a request that is written already. Raises: `providers.errors.ToolError`."""

    @property
    def session(self) -> MutableMapping[str, Json]:
        """What the calls of this connection keep for one another, in this process, until its token is another one."""


@value
class Page:
    """One page of the provider that a result came from; becomes a citation."""

    title: str
    url: str | None = None
    ref: str | None = None


@value
class Result:
    """What a tool found: the data as the provider gave it (picked), a person's reading of it, and where it is from."""

    data: Json
    text: str
    sources: tuple[Page, ...] = ()


Invoke: TypeAlias = Callable[[Api, Args], Awaitable[Result]]


@dataclass(frozen=True, slots=True)
class Producer:
    """Where the value of a parameter is found when the prompt does not hold it: a field of another tool's rows."""

    tool: str
    field: str
    names: tuple[str, ...] = ("name",)
    """Other fields of the row a person may call it by."""
    pick: Literal["only", "first"] = "only"
    """What to take when nothing in the prompt names one: the row if it is the only one, or the first row."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ToolSpec:
    """One internal tool of a provider. No MCP client ever sees it."""

    name: str
    summary: str
    """One sentence in the imperative: what it returns, in words people use."""
    invoke: Invoke
    params: Mapping[str, Mapping[str, Json]] = field(default_factory=dict)
    """JSON Schema of each parameter by name."""
    required: frozenset[str] = frozenset()
    producers: Mapping[str, Producer] = field(default_factory=dict)
    scopes: frozenset[str] = frozenset()
    """The least scopes that let it work; all of them are needed."""
    or_scopes: tuple[frozenset[str], ...] = ()
    """Other sets of scopes, wider ones, each of which does as well."""
    effect: Effect = Effect.READ
    gives: str = ""
    """The shape of `Result.data`, for whoever refers into it: `[{id, title, project.slug}]`. Empty: not known."""
    keep_s: int = 30
    """How long what a read found may be given again, in seconds; 0: it is always read anew."""
    asks: tuple[str, ...] = ()
    """Questions this tool alone answers, as people put them; `{param}` stands for a value. The router learns them."""
    whole: Json = None
    """The JSON Schema of the arguments object, where `params` and `required` alone do not say it; local references
    only. None: they do, and an unknown argument is an error."""
    tags: tuple[str, ...] = ()
    """What its source files it under."""

    def missing(self, scopes: Collection[str]) -> frozenset[str]:
        """What `scopes` lack for this tool; nothing when any of its sets is there whole."""
        lacking = self.scopes.difference(scopes)
        return frozenset() if any(each.issubset(scopes) for each in self.or_scopes) else lacking

    @property
    def schema(self) -> Json:
        """The JSON Schema of the arguments object."""
        if self.whole is not None:
            return self.whole
        return {
            "type": "object",
            "properties": {name: dict(schema) for name, schema in self.params.items()},
            "required": sorted(self.required),
            "additionalProperties": False,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuthSpec:
    """How the provider's authorization server is spoken to. What differs between providers is data here."""

    authorize_url: str
    token_url: str
    revoke_url: str | None = None
    issuer: str | None = None
    """Compared with `iss` of the answer (RFC 9207) when given. In an ID token's, `{tid}` stands for that claim."""
    iss_required: bool = False
    """Its metadata says that every answer has `iss`: one without it is refused (RFC 9207 section 2.4)."""
    scopes: tuple[str, ...] = ()
    """What a plain connect asks for; the least that makes the read tools work."""
    scope_words: Mapping[str, str] = field(default_factory=dict)
    """What each scope allows, in words for the connect page."""
    client_auth: Literal["client_secret_post", "client_secret_basic", "secret_as_user", "none"] = "client_secret_post"
    """How the client proves itself at the token endpoint; `secret_as_user`: HTTP Basic with the secret as user name."""
    authorize_params: Mapping[str, str] = field(default_factory=dict)
    """Sent besides the standard ones, such as `access_type=offline`."""
    resource: str | None = None
    """RFC 8707 resource sent with every request when given."""
    pkce: bool = True
    """S256 with every round trip. False only where a provider is known to refuse the parameter."""

    # --- Scopes
    scope_param: str = "scope"
    """The parameter scopes are asked with."""
    scope_separator: str = " "
    """Between scopes in a request; empty where the provider takes none (they are set on the application there)."""
    granted_separator: str = " "
    """Between scopes in an answer."""
    granted_path: tuple[str, ...] = ("scope",)
    """Where in the token object the granted scopes stand: a text, or a list of texts."""
    scope_aliases: Mapping[str, str] = field(default_factory=dict)
    """What a scope is called in an answer, to what it is called in a request."""
    unlisted_scopes: frozenset[str] = frozenset()
    """Scopes that are granted without being named in the answer, such as `offline_access`."""

    # --- The token endpoint
    headers: Mapping[str, str] = field(default_factory=dict)
    """Sent with every request to the authorization server and to `identify_url`, such as a version."""
    token_body: Literal["form", "json"] = "form"  # noqa: S105 - an encoding
    token_path: tuple[str, ...] = ()
    """Where in the answer the token object stands, such as ("authed_user",)."""
    ok_field: str = ""
    """A member that must be true in the answer; a 200 without it is an error (Slack's `ok`)."""
    dead_grant_errors: frozenset[str] = frozenset({"invalid_grant"})
    """Error codes, with any status, that mean the grant is over. Nothing else ends a connection."""
    lifetime_s: int | None = None
    """How long an access token lives when the answer does not say; None: as long as the one before, or five minutes."""

    # --- Refreshing
    rotation: bool = True
    """A refresh retires the refresh token. False: presenting it again is harmless, whatever came of the first time."""
    reuse_leeway_s: int = 0
    """How long after a rotation the old refresh token may be presented again."""
    grant_lifetime_s: int | None = None
    """After which time a person has to connect again, however often it was refreshed."""
    grant_idle_s: int | None = None
    """How long a grant lives without a refresh."""
    api_base_path: tuple[str, ...] = ()
    """Where in the token answer the address of this very account's API stands, such as ("instance_url",)."""
    api_base_hosts: tuple[str, ...] = ()
    """What the host of such an address is, or ends with after a dot; any other is refused."""

    # --- Whose account it is
    identity: Literal["who_am_i", "id_token", "answer", "owner"] = "who_am_i"
    """Where it is learnt: from `identify_url`, from the ID token, from the token answer itself, or nowhere: then each
    person has one account there, called after them."""
    identify_url: str | None = None
    """A "who am I" address that answers JSON for the new access token."""
    identify_body: Json = None
    """What is sent to it by POST, as JSON (GraphQL); None: it is a GET."""
    subject_fields: tuple[str, ...] = ("sub", "id")
    """Where the identity that never changes stands, as dotted paths; the first present wins. `a+b` joins two."""
    label_fields: tuple[str, ...] = ("email", "preferred_username", "username", "name", "login")
    """Where a name for people stands; the first present wins."""

    # --- Revoking (RFC 7009 unless said otherwise)
    revoke_style: Literal["rfc7009", "token_only", "bearer", "json_basic"] = "rfc7009"
    """`token_only`: without client credentials; `bearer`: called with the token itself; `json_basic`: DELETE with
    HTTP Basic and `{"access_token": …}` to a `revoke_url` that holds `{client_id}`."""
    revoke_kinds: tuple[Literal["refresh", "access"], ...] = ("refresh", "access")
    """Which tokens are presented, in this order."""
    one_grant: bool = False
    """All tokens of one person and client are one grant: revoking an old one ends a new one too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySpec:
    """How a key that a person has entered is sent."""

    header: str = "Authorization"
    prefix: str = "Bearer "
    """Before the key, in the header."""
    words: str = ""
    """Where people find theirs: one sentence for the connect page."""


@dataclass(frozen=True, kw_only=True)
class ProviderSpec:
    """A provider's public facts."""

    id: str
    title: str
    api_base: str
    """Origin (and path prefix) every call goes to; the token is sent nowhere else."""
    oauth: OAuthSpec
    tools: tuple[ToolSpec, ...]
    web_base: str | None = None
    """Origin of the pages people read; `api_base` when None."""
    about: str = ""
    """What people ask it about, a short phrase, for the one tool's description: "errors, releases and projects"."""
    access: Access = Access.OAUTH
    key: KeySpec = field(default_factory=KeySpec)
    """How a key is sent, where `access` is `key`."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Sent with every call of its API, such as a version."""
    refusal_of: Callable[[Reply], ToolError | None] | None = None
    """What an answer means that says no in the provider's own way, such as a 200 with `ok: false`. None from it: what
    its status says."""
    mcp_url: str | None = None
    """Where the provider's own MCP server is, if it has one."""
    register_url: str | None = None
    """Where an administrator registers an OAuth client there."""
    register_steps: tuple[str, ...] = ()
    """What to click and enter there, a sentence each; `{redirect_uri}` and `{scopes}` stand for those."""
    unconfirmed: tuple[str, ...] = ()
    """Facts of this file that no public document read for it confirms, a sentence each."""

    @cached_property
    def by_name(self) -> Mapping[str, ToolSpec]:
        """The tools by name."""
        return {tool.name: tool for tool in self.tools}

    def account_id(self, subject: str) -> str:
        """An account's id: its issuer (or the host of its authorization server or API) and the subject there."""
        parts = urlsplit(self.oauth.issuer or self.oauth.token_url or self.api_base)
        return f"{parts.netloc}{parts.path.rstrip('/') if self.oauth.issuer else ''}:{subject}"

    def rebased(self, api_base: str) -> ProviderSpec:
        """The same provider served from another base (self-hosted, sandbox): every URL of its old origin moves."""
        old, new = urlsplit(self.api_base), urlsplit(api_base.rstrip("/"))

        def move(url: str | None) -> str | None:
            if url is None:
                return None
            parts = urlsplit(url)
            same = (parts.scheme, parts.netloc) == (old.scheme, old.netloc)
            return urlunsplit(parts._replace(scheme=new.scheme, netloc=new.netloc)) if same else url

        oauth = replace(
            self.oauth,
            authorize_url=move(self.oauth.authorize_url) or "",
            token_url=move(self.oauth.token_url) or "",
            revoke_url=move(self.oauth.revoke_url),
            issuer=move(self.oauth.issuer),
            identify_url=move(self.oauth.identify_url),
        )
        return replace(self, api_base=api_base.rstrip("/"), web_base=move(self.web_base), oauth=oauth)
