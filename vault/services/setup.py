"""Setting a provider up from what an administrator says: what is left open is discovered, registered and listed.

The network is asked first, and nothing is stored unless all of it held. What an administrator has said stays said:
the next time, what is left out is as it was.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from http import HTTPStatus
from typing import Final
from uuid import UUID

import httpx2
from django.conf import settings

from providers import catalogue, discovery, review
from providers import selectors as providers
from providers import services as installations
from providers.discovery import Found, Undiscovered
from providers.egress import GuardedTransport, Limits
from providers.errors import TokenRejected, ToolError
from providers.manifest import Entry, Manifest
from providers.models import Installation
from providers.sources import mcp, openapi
from providers.spec import Access, Json, ProviderSpec
from tenants.models import Tenant
from tenants.services import Refused
from vault import links, sealing
from vault.services import clients, enter, install
from vault.services.install import Secret
from vault.services.revoke import Ended

LARGE: Final = Limits(total_s=60, max_wire_bytes=32 * 1024 * 1024, max_decoded_bytes=64 * 1024 * 1024)
"""For documents: GitHub's has 13 MB."""
_ADDRESSES: Final = ("issuer", "authorize_url", "token_url", "revoke_url", "identify_url", "resource")
_ANYWHERE: Final = ("exposure", "consent")
"""What holds wherever the provider is."""
_COLUMNS: Final = ("client_id", "api_base", "connect_url", *_ANYWHERE)
_NOT_OF_THE_CATALOGUE: Final = (
    *("url", "document", "tags", "operations", "any_scope", "title", "about", "access"),
    *("key_header", "key_prefix", "key_words", "trust_hints"),
)
_NAMED: Final = 5
_TITLE_CHARS, _ABOUT_CHARS, _WORDS_CHARS = 60, 80, 200
_HEADER: Final = re.compile(r"[A-Za-z0-9-]{1,64}")
_PREFIX: Final = re.compile(r"[\x20-\x7e]{0,40}")


class ClientNeeded(Refused):
    """The provider takes only clients that an administrator has registered there."""

    def __init__(self, row: Installation, why: str) -> None:
        spec = providers.spec_of(row)
        self.why = why
        """Why the product could not register itself, a sentence of ours; empty: it is not offered."""
        at = f" at {spec.register_url}" if spec.register_url else ""
        super().__init__(
            f"--client-id is missing: {f'{why} ' if why else ''}Register an OAuth client with {spec.title}{at} and "
            f"give it the redirect URI {_redirect(row)} and run this again with --client-id ID --client-secret-stdin"
        )


class ChoiceNeeded(Refused):
    """A document has more operations than one provider may have."""

    def __init__(self, sentence: str, tags: Mapping[str, int]) -> None:
        super().__init__(sentence)
        self.tags = tags
        """How many operations each tag has, the largest first."""


class ClientFrom(StrEnum):
    """Where the client comes from that this product is at a provider."""

    NOWHERE = "nowhere"
    """None is needed."""
    STATED = "stated"
    """An administrator has said it, now or before."""
    DOCUMENT = "document"
    """The provider reads a document of ours."""
    REGISTRATION = "registration"
    """The product registers itself."""
    NEEDED = "needed"
    """An administrator has to register one there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What an administrator says. None: as it was, or as the source has it; empty: as the source has it again."""

    source: str | None = None
    url: str | None = None
    document: bytes | None = field(default=None, repr=False)
    """An OpenAPI document that is at no address."""
    tags: tuple[str, ...] | None = None
    operations: tuple[str, ...] | None = None
    any_scope: bool | None = None
    """Where the document lists scopes, any of them does, not all."""
    title: str | None = None
    about: str | None = None
    api_base: str | None = None
    access: str | None = None
    key_header: str | None = None
    key_prefix: str | None = None
    key_words: str | None = None
    issuer: str | None = None
    authorize_url: str | None = None
    token_url: str | None = None
    revoke_url: str | None = None
    identify_url: str | None = None
    resource: str | None = None
    scopes: tuple[str, ...] | None = None
    pkce: bool | None = None
    """False: go on without PKCE, where the authorization server does not say that it checks it."""
    client_id: str | None = None
    client_secret: str | None = field(default=None, repr=False)
    exposure: str | None = None
    consent: str | None = None
    connect_url: str | None = None
    trust_hints: bool | None = None
    give_up: bool = False
    new: bool = False
    """It is to be a further provider: refused where there is one of that name."""
    version: int | None = None
    """Of the installation as it was looked at: refused where it is another by now (`providers.services.Stale`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SetUp:
    """What came of it."""

    row: Installation
    ended: Ended
    tools: int | None
    """How many serve; None: not known before an account is connected."""
    waits: bool
    """The tools that were listed differ from those that serve, and wait for a review."""
    secret_ends_at: datetime | None
    """When the secret that the provider issued ends, if it does."""
    access: Access
    introduced: bool
    """It knows this product, which has registered or introduced itself: nothing is left to be registered."""
    remarks: tuple[str, ...]
    """What an administrator should know, a sentence each."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A provider as it would be, once the network has been asked; nothing of it is stored."""

    before: Installation | None
    row: Installation
    looked: _Looked
    client: ClientFrom

    @property
    def spec(self) -> ProviderSpec:
        """What the provider would be."""
        return providers.spec_of(self.row)

    @property
    def manifest(self) -> Manifest | None:
        """Its tools, where they are known without an account."""
        return self.looked.manifest

    @property
    def remarks(self) -> tuple[str, ...]:
        """What an administrator should know, a sentence each."""
        return self.looked.remarks

    @property
    def left_out(self) -> tuple[tuple[str, str], ...]:
        """What cannot be offered, each with the reason."""
        return self.looked.left_out

    @property
    def tags(self) -> Mapping[str, int]:
        """How many operations of the document each tag has, chosen or not, the largest first."""
        return self.looked.tags

    @property
    def operations(self) -> int:
        """How many the document has, chosen or not."""
        return self.looked.operations

    @property
    def seen(self) -> str:
        """A digest of what the network, or a file, has said: another one, and something else would be stored."""
        return self.looked.seen


def draft(*, tenant: Tenant, slug: str, wish: Wish) -> Draft:
    """Find out all that `set_up` needs. Raises: Refused."""
    before = providers.installed(tenant.pk).filter(slug=slug).first()
    if wish.new and before is not None:
        raise Refused(f"use_{slug} is exported already. Choose another name.")
    stated = _stated(before, slug, wish)
    try:
        looked = _look(before, slug, wish, stated)
    except Undiscovered as wrong:
        raise Refused(str(wrong)) from None
    row = installations.drafted(
        tenant=tenant,
        slug=slug,
        source=stated.source,
        url=stated.url,
        facts=looked.facts,
        overrides=_with_identity(stated, looked.facts),
        **stated.columns,
    )
    if before is not None:
        if wish.version not in {None, row.version}:
            raise installations.Stale
        row.enabled = before.enabled or unfinished(before)  # what an administrator has switched off stays off
    return Draft(before, row, looked, _client_from(before, row, wish, looked.server))


def unfinished(row: Installation) -> bool:
    """Whether it waits for an administrator to register a client and name it (`ClientNeeded`)."""
    return not row.client_id and not row.connect_url and providers.spec_of(row).access is Access.OAUTH


def set_up(
    *, tenant: Tenant, slug: str, wish: Wish, drafted: Draft | None = None, by: UUID | None, now: datetime
) -> SetUp:
    """Export a provider, or change how it is exported; as it was `drafted` with this very wish, if it was.

    Raises: Refused, and then nothing has changed; ClientNeeded, and then a new one is kept switched off, so that its
    redirect URI stays what it is.
    """
    drafted = drafted or draft(tenant=tenant, slug=slug, wish=wish)
    before, row, looked = drafted.before, drafted.row, drafted.looked
    try:
        client = _client(drafted, wish)
    except Undiscovered as wrong:
        raise Refused(str(wrong)) from None
    except ClientNeeded:
        if before is None or not before.enabled:
            row.enabled = False
            install.install(wanted=row, give_up=wish.give_up, by=by, now=now)
        raise
    row.client_id, row.facts = client.client_id, _with_client(row, client)
    if open_to_all := providers.spec_of(row).access is Access.NONE:
        sealing.active_key(tenant.pk)  # what could fail on our side fails before anything is stored
    done = install.install(wanted=row, secret=client.secret, give_up=wish.give_up, by=by, now=now)
    waits = looked.manifest is not None and _pinned(done.row, looked.manifest, by, now)
    spec = providers.spec_of(done.row)
    if open_to_all:
        enter.open_to_all(installation=done.row, by=by, now=now)
    known = done.row.source == Installation.Source.CATALOGUE or done.row.manifest_id is not None
    return SetUp(
        row=done.row,
        ended=done.ended,
        tools=len(spec.tools) if known else None,
        waits=waits,
        secret_ends_at=client.ends_at,
        access=spec.access,
        introduced=bool(done.row.facts.get("client", {}).get("own") is False),
        remarks=(*looked.remarks, *_left_out(looked.left_out)),
    )


def _pinned(row: Installation, manifest: Manifest, by: UUID | None, now: datetime) -> bool:
    """Keep what was listed. Returns whether it waits for a review."""
    trust = bool(row.facts.get("trust_hints"))
    kept = review.pin(installation=row, manifest=manifest, by=by, now=now, trust_hints=trust, again=True)
    row.refresh_from_db()
    return kept.pk != row.manifest_id


# --- What was said, now and before


@dataclass(frozen=True, slots=True)
class _Stated:
    source: str
    url: str
    same: bool
    """It is where it was: what was said before holds."""
    columns: Mapping[str, str]
    overrides: Mapping[str, Json]


def _stated(before: Installation | None, slug: str, wish: Wish) -> _Stated:
    """Raises: Refused."""
    kinds = Installation.Source
    source = wish.source or (before.source if before else kinds.CATALOGUE)
    there = before is not None and before.source == source
    url = before.url if before is not None and there else ""
    match source:
        case kinds.MCP:
            entry = catalogue.get(slug)
            url = wish.url or url or (entry and entry.mcp_url) or ""
            if not url:
                raise Refused("--url is missing: the address of the MCP server.")
            if wish.api_base:
                raise Refused("An MCP server is where --url says. Leave --api-base out.")
        case kinds.OPENAPI:
            url = "" if wish.document is not None else wish.url or url
        case _:
            said = [name for name in _NOT_OF_THE_CATALOGUE if getattr(wish, name) is not None]
            if said:
                option = said[0].replace("_", "-")
                raise Refused(f"--{option} is for providers that are no file of the catalogue: add --source.")
    if url:
        installations.check_address("url", url)
    same = there and before is not None and before.url == url
    kept = {name: getattr(before, name) for name in _COLUMNS if same or (before and name in _ANYWHERE)}
    said_now = {name: getattr(wish, name) for name in _COLUMNS if getattr(wish, name) is not None}
    overrides: dict[str, Json] = dict(before.overrides) if before is not None and same else {}
    overrides |= {name: getattr(wish, name) for name in _ADDRESSES if getattr(wish, name) is not None}
    if wish.scopes is not None:
        overrides["scopes"] = list(wish.scopes)
    if wish.pkce is not None:
        overrides["pkce"] = None if wish.pkce else False
    overrides = {name: said for name, said in overrides.items() if said not in ("", [], None) and name != "identity"}
    return _Stated(source, url, same, {"client_id": "", "api_base": "", **kept, **said_now}, overrides)


def _with_identity(stated: _Stated, facts: Mapping[str, Json]) -> dict[str, Json]:
    """What differs from the facts, with whose account it is said by what there is to say it."""
    overrides = dict(stated.overrides)
    if stated.source == Installation.Source.CATALOGUE:
        return overrides
    if "identify_url" in overrides:
        overrides["identity"] = "who_am_i"
    elif "openid" not in overrides.get("scopes", ["openid"]) and facts.get("oauth", {}).get("identity") == "id_token":
        overrides["identity"] = "owner"
    return overrides


# --- What is found out


@dataclass(frozen=True, slots=True)
class _Looked:
    facts: dict[str, Json]
    server: discovery.Server | None = None
    manifest: Manifest | None = None
    remarks: tuple[str, ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()
    tags: Mapping[str, int] = field(default_factory=dict)
    operations: int = 0
    seen: str = ""


def _digest(*said: object) -> str:
    plain = [asdict(each) if isinstance(each, discovery.Server) else each for each in said]
    return hashlib.sha256(json.dumps(plain, sort_keys=True, default=sorted).encode()).hexdigest()


def _look(before: Installation | None, slug: str, wish: Wish, stated: _Stated) -> _Looked:
    """Raises: Refused, Undiscovered."""
    known: dict[str, Json] = dict(before.facts) if before is not None and stated.same else {}
    match stated.source:
        case Installation.Source.MCP:
            again = any(each is not None for each in (wish.url, wish.issuer, wish.access, wish.pkce))
            looked = _mcp(known, stated, wish) if again or _about_a_key(wish) or not known else _Looked(known)
        case Installation.Source.OPENAPI:
            said = (wish.url, wish.document, wish.tags, wish.operations, wish.any_scope, wish.access, wish.issuer)
            again = any(each is not None for each in said)
            looked = _openapi(known, stated, wish) if again or not known else _Looked(known)
        case _:
            return _Looked({})
    return replace(looked, facts=_told(known, looked.facts, slug, wish))


def _access_said(known: Mapping[str, Json], wish: Wish) -> str | None:
    """What an administrator has said of it, now or before."""
    before: str | None = known.get("access_said")
    return wish.access or (Access.KEY.value if _about_a_key(wish) else before)


def _about_a_key(wish: Wish) -> bool:
    return any(each is not None for each in (wish.key_header, wish.key_prefix, wish.key_words))


def _mcp(known: Mapping[str, Json], stated: _Stated, wish: Wish) -> _Looked:
    policy, overrides = installations.egress_policy(), stated.overrides
    explicit = "authorize_url" in overrides and "token_url" in overrides
    said = _access_said(known, wish)
    access = Access(said) if said else None
    if explicit and access in {None, Access.OAUTH}:
        found = Found(access=Access.OAUTH, resource=stated.url)
    else:
        with discovery.opened(policy) as http:
            found = discovery.at_mcp(http, stated.url, policy=policy, issuer=overrides.get("issuer", ""), access=access)
    facts: dict[str, Json] = {"api_base": mcp.origin(stated.url), "access": found.access.value, "access_said": said}
    if found.server is not None:
        _check_s256(found.server, overrides)
        scopes = discovery.scopes_to_ask(found.server, found.scopes)
        facts["oauth"] = discovery.oauth_facts(found.server, scopes=scopes, resource=found.resource)
    elif found.access is Access.OAUTH:
        facts["oauth"] = {"resource": found.resource, "identity": "owner"}
    else:
        facts["oauth"] = {"identity": "owner"}
    if found.access is not Access.NONE:
        return _Looked(facts, found.server, seen=_digest(facts, found.server))
    listing = _listed(stated.url)
    manifest = _manifest(listing.entries)
    left_out = tuple((each.name, each.why) for each in listing.skipped)
    return _Looked(facts, None, manifest, left_out=left_out, seen=_digest(facts, manifest.digest))


def _listed(url: str) -> mcp.Listing:
    """What a server lists that asks for no account. Raises: Refused."""
    try:
        with _client_for(LARGE) as http:
            return mcp.listed(http, url)
    except TokenRejected:
        raise Refused("The MCP server wants an account after all. Say how: --access oauth or --access key.") from None
    except ToolError as failed:
        raise Refused(f"Its tools could not be listed. {failed}") from None


def _manifest(entries: Iterable[Entry]) -> Manifest:
    """Raises: Refused."""
    try:
        return Manifest.of(entries)
    except ValueError:
        raise Refused("It has two tools of one name.") from None


def _left_out(skipped: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """What cannot be offered, in a sentence; the first few by name."""
    if not skipped:
        return ()
    named = "; ".join(f"{name[:80]}: {why.rstrip('.')}" for name, why in skipped[:_NAMED])
    return (f"{len(skipped)} cannot be offered ({named}{'; …' if len(skipped) > _NAMED else ''}).",)


def _openapi(known: Mapping[str, Json], stated: _Stated, wish: Wish) -> _Looked:
    policy, overrides = installations.egress_policy(), stated.overrides
    tags = known.get("tags", ()) if wish.tags is None else wish.tags
    operations = known.get("operations", ()) if wish.operations is None else wish.operations
    any_scope = bool(known.get("any_scope") if wish.any_scope is None else wish.any_scope)
    said = _access_said(known, wish)
    content = _document(stated.url, wish)
    try:
        document = openapi.read(
            content,
            url=stated.url,
            tags=tags,
            operations=operations,
            api_base=stated.columns["api_base"],
            any_scope=any_scope,
            access=said or "",
        )
    except openapi.TooMany as many:
        raise ChoiceNeeded(str(many), many.tags) from None
    except ToolError as wrong:
        raise Refused(str(wrong)) from None
    chosen = {"tags": list(tags), "operations": list(operations), "any_scope": any_scope, "access_said": said}
    facts: dict[str, Json] = {**document.facts, **chosen}
    if "issuer" in overrides or "token_url" in overrides:
        facts["access"] = Access.OAUTH.value
    facts["access"] = facts["access_said"] or facts["access"]
    oauth = {"identity": "owner", **facts.get("oauth", {})}
    server = None
    if "issuer" in overrides and "token_url" not in overrides:
        with discovery.opened(policy) as http:
            server = discovery.authorization_server(http, overrides["issuer"], policy=policy)
        _check_s256(server, overrides)
        scopes = discovery.scopes_to_ask(server, oauth.get("scopes", ()))
        oauth |= discovery.oauth_facts(server, scopes=scopes, resource=oauth.get("resource"))
    facts["oauth"] = oauth
    return _Looked(
        facts,
        server,
        _manifest(document.entries),
        document.remarks,
        tuple((each.operation, each.reason) for each in document.skipped),
        document.tags,
        len(document.operations),
        _digest(hashlib.sha256(content).hexdigest(), server),
    )


def _document(url: str, wish: Wish) -> bytes:
    """Raises: Refused."""
    if wish.document is not None:
        return wish.document
    if not url:
        raise Refused("--url or --file is missing: where the OpenAPI document is.")
    try:
        with _client_for(LARGE) as http:
            reply = http.get(url)
    except ToolError as failed:
        raise Refused(f"The document at --url could not be read. {failed}") from None
    if reply.status_code != HTTPStatus.OK:
        raise Refused(f"The document at --url could not be read ({reply.status_code}); redirects are not followed.")
    return reply.content


def _client_for(limits: Limits) -> httpx2.Client:
    transport = GuardedTransport(installations.egress_policy(), limits=limits)
    return httpx2.Client(transport=transport, timeout=None, trust_env=False, follow_redirects=False)


def _check_s256(server: discovery.Server, overrides: Mapping[str, Json]) -> None:
    if not server.s256 and overrides.get("pkce") is not False:
        raise Undiscovered(discovery.no_s256(server.issuer))


def _told(known: Mapping[str, Json], facts: Mapping[str, Json], slug: str, wish: Wish) -> dict[str, Json]:
    """The facts, with what an administrator says of the provider in place of what it says itself. Raises: Refused."""
    entry = catalogue.get(slug)
    title = wish.title or ("" if wish.title == "" else known.get("title")) or (entry.title if entry else "")
    about = wish.about or ("" if wish.about == "" else known.get("about")) or (entry.about if entry else "")
    told = {
        **facts,
        "title": _line(title or facts.get("title") or slug.replace("_", " ").title(), _TITLE_CHARS),
        "about": _line(about or facts.get("about") or "", _ABOUT_CHARS),
        "trust_hints": bool(known.get("trust_hints") if wish.trust_hints is None else wish.trust_hints),
    }
    key = dict(facts.get("key") or known.get("key") or {})
    if wish.key_header:
        key = {"header": wish.key_header, "prefix": ""}
    key |= {"prefix": wish.key_prefix} if wish.key_prefix is not None else {}
    key |= {"words": _line(wish.key_words, _WORDS_CHARS)} if wish.key_words is not None else {}
    if not _HEADER.fullmatch(key.get("header", "Authorization")) or not _PREFIX.fullmatch(key.get("prefix", "")):
        raise Refused("--key-header and --key-prefix must be what a header can hold, such as X-Api-Key and “Token ”.")
    return {**told, "key": key} if key else told


def _line(text: str, chars: int) -> str:
    return "".join(each if each.isprintable() else " " for each in text).strip()[:chars]


# --- Which client the product is there


@dataclass(frozen=True, slots=True)
class _Client:
    client_id: str
    secret: Secret | None = field(default=None, repr=False)
    """None: the one there is."""
    auth: str = ""
    """How it proves itself; empty: as the facts have it."""
    own: bool = True
    """An administrator has registered it."""
    ends_at: datetime | None = None


def _client_from(
    before: Installation | None, row: Installation, wish: Wish, server: discovery.Server | None
) -> ClientFrom:
    """The client that was said, or the one there was; else a document of ours; else one that registers itself."""
    if providers.spec_of(row).access is not Access.OAUTH:
        return ClientFrom.NOWHERE
    was = _was(before, row)
    # A client belongs to one issuer and has one redirect URI: what was registered with another is of no use.
    stale = server is not None and was and was != {**was, "issuer": server.issuer, "redirect_uri": _redirect(row)}
    if row.connect_url or (row.client_id and (wish.client_id is not None or not stale)):
        return ClientFrom.STATED
    if server is not None and server.documents and settings.HTTPS:
        return ClientFrom.DOCUMENT
    return ClientFrom.REGISTRATION if server is not None and server.register_url is not None else ClientFrom.NEEDED


def _was(before: Installation | None, row: Installation) -> dict[str, Json]:
    """What is known of the client there was, where it is still the one."""
    kept = before is not None and row.client_id == before.client_id
    return before.facts.get("client", {}) if before is not None and kept else {}


def _client(drafted: Draft, wish: Wish) -> _Client:
    """Raises: ClientNeeded."""
    before, row, server = drafted.before, drafted.row, drafted.looked.server
    why = ""
    match drafted.client:
        case ClientFrom.NOWHERE:
            return _Client("", Secret(None))
        case ClientFrom.STATED:
            if wish.client_secret is not None:
                return _Client(row.client_id, Secret(wish.client_secret))
            if before is None or row.client_id != before.client_id:
                return _Client(row.client_id, Secret(None))
            was = _was(before, row)
            return _Client(row.client_id, None, was.get("auth", ""), was.get("own", True))
        case ClientFrom.DOCUMENT:
            return _Client(links.client_url(row.pk), Secret(None), "none", own=False)
        case ClientFrom.REGISTRATION if server is not None:
            try:
                return _registered(server, _redirect(row))
            except Undiscovered as refused:
                why = str(refused)
    raise ClientNeeded(row, why)


def _registered(server: discovery.Server, redirect_uri: str) -> _Client:
    """Raises: Undiscovered."""
    policy = installations.egress_policy()
    with discovery.opened(policy) as http:
        made = discovery.register(
            http, server, name=clients.NAME, site=settings.PUBLIC_URL, redirect_uri=redirect_uri, policy=policy
        )
    ends_at = datetime.fromtimestamp(made.secret_ends_at, UTC) if made.secret_ends_at else None
    return _Client(made.client_id, Secret(made.secret), made.method, own=False, ends_at=ends_at)


def _redirect(row: Installation) -> str:
    return links.callback_url(row.pk)


def _with_client(row: Installation, client: _Client) -> dict[str, Json]:
    """The facts, with the client that the tokens are for."""
    facts = dict(row.facts)
    if not client.client_id or row.source == Installation.Source.CATALOGUE:
        return facts
    oauth = facts.get("oauth", {})
    auth = client.auth or oauth.get("client_auth", "client_secret_post")
    facts["oauth"] = {**oauth, "client_auth": auth}
    facts["client"] = {"issuer": oauth.get("issuer"), "redirect_uri": _redirect(row), "auth": auth, "own": client.own}
    return facts
