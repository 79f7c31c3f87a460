"""Adding a provider: from the catalogue, by the address of an MCP server, or by an OpenAPI document."""

from __future__ import annotations

import hashlib
import re
from base64 import b64decode, b64encode
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from itertools import count
from typing import Any, Final
from urllib.parse import urlsplit
from zlib import compress, decompress

from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from providers import catalogue
from providers import selectors as providers
from providers.models import Installation
from providers.spec import Access, ProviderSpec
from tenants import access
from tenants.models import Membership
from tenants.services import Refused
from vault.pages import in_words
from vault.services import setup
from vault.services.keys import KeysUnavailable

TEXTS: Final = (
    *("url", "title", "about", "api_base", "access", "key_header", "key_prefix", "key_words", "issuer"),
    *("authorize_url", "token_url", "revoke_url", "identify_url", "resource", "exposure", "consent", "connect_url"),
)
"""The fields of a `Wish` that are one text."""
_LABELS: Final[Mapping[str, str]] = {
    "url": "Address",
    "file": "File",
    "api-base": "Where its API is",
    "access": "How accounts are connected",
    "key-header": "Header",
    "key-prefix": "Before the key",
    "issuer": "Authorization server",
    "authorize-url": "Authorization page",
    "token-url": "Token address",
    "scopes": "Scopes",
    "no-pkce": "Go on without PKCE",
    "client-id": "Client ID",
    "give-up": "Go on all the same",
    "connect-url": "Connect page of another system",
}
"""What the pages call what the services, in their sentences, name as the commands do."""
_NAMED_FIELD: Final = re.compile(r"(?:--|\A(?=[a-z-]+ must be ))([a-z]+(?:-[a-z]+)*)")
POSTURE: Final[Mapping[str, Mapping[str, str]]] = {
    "exposure": {
        "soft": "sees it, and is given a link to connect",
        "strict": "does not see it",
    },
    "consent": {
        "never": "no more: connecting is enough",
        "first_use": "once by each client, for reading and for changing",
        "writes": "before a client changes something",
        "always": "every time",
    },
}
"""Who sees a provider and when people are asked, in words."""
_DOCUMENT: Final = "document"
_KEPT_S: Final = 1_800
_MOST_KEPT: Final = 1_000_000
_FORM_BYTES: Final = 16_384
"""What the rest of a form takes, beside a file."""
_TAGS: Final = 150
_LEFT_OUT: Final = 50
_SAYS_NOTHING: Final = frozenset({"api", "app", "cloud", "docs", "localhost", "mcp", "open", "remote", "server", "www"})


@dataclass(frozen=True, slots=True)
class Card:
    """A provider of the catalogue."""

    spec: ProviderSpec
    exported: bool


@require_safe
@access.open_to(access.RUN)
def front(request: HttpRequest, member: Membership) -> HttpResponse:
    """The three ways."""
    exported = _names(member)
    words = request.GET.get("q", "")[:200].lower().split()
    every = [Card(spec, slug in exported) for slug in catalogue.slugs() if (spec := catalogue.get(slug))]
    cards = [card for card in every if all(word in _said(card.spec) for word in words)]
    shown = {
        "cards": cards,
        "catalogue": len(every),
        "exported": sum(card.exported for card in every),
        "q": request.GET.get("q", ""),
        **_file_limit(),
    }
    return _shown(request, member, "console/install.html", shown)


@require_http_methods(["GET", "HEAD", "POST"])
@access.open_to(access.RUN)
def from_catalogue(request: HttpRequest, member: Membership, slug: str) -> HttpResponse:
    """What one of the catalogue can do and will ask for; it is stored when somebody says so."""
    spec = catalogue.get(slug) if slug in catalogue.slugs() else None
    if spec is None:
        raise Http404
    if slug in _names(member):
        return redirect("console_provider", member.tenant.slug, slug)
    problem = ""
    if request.method == "POST":
        try:
            wish = wish_of(request.POST, source=Installation.Source.CATALOGUE)
            return _added(request, member, slug, wish, None)
        except (Refused, KeysUnavailable) as refused:
            problem = on_page(refused)
    shown = {
        "spec": spec,
        "given": request.POST,
        "problem": problem,
        "scopes": in_words(spec, spec.oauth.scopes),
        "effects": Counter(tool.effect.value for tool in spec.tools),
    }
    return _shown(request, member, "console/install_catalogue.html", shown)


@require_http_methods(["GET", "HEAD", "POST"])
@access.open_to(access.RUN)
def from_source(request: HttpRequest, member: Membership, source: str) -> HttpResponse:
    """An address or a file; then what was found there, which is stored when somebody says so."""
    if request.method != "POST":
        return _asked(request, member, source, {"given": {"url": request.GET.get("url", "")}})
    given = {name: request.POST.get(name, "") for name in (*TEXTS, "slug", "scopes", "operations")}
    ticked = {name: name in request.POST for name in ("trust_hints", "any_scope", "no_pkce")}
    shown: dict[str, object] = {"given": given, "ticked": ticked, "chosen": request.POST.getlist("tags")}
    try:
        document, shown["kept"] = _document(request)
        wish = wish_of(request.POST, source=source, document=document)
        slug = given["slug"].strip() or _named(wish.url or "", member)
        drafted = setup.draft(tenant=member.tenant, slug=slug, wish=wish)
        if request.POST.get("op") == "add" and request.POST.get("seen") == drafted.seen:
            return _added(request, member, slug, wish, drafted)
    except setup.ChoiceNeeded as many:
        return _asked(request, member, source, {**shown, "problem": on_page(many), **_tags(many.tags)})
    except (Refused, KeysUnavailable) as refused:
        return _asked(request, member, source, {**shown, "problem": on_page(refused)})
    spec = drafted.spec
    if not given["slug"]:
        at = wish.url or ""
        given["slug"] = slug if source == Installation.Source.MCP else _named(at, member, title=spec.title)
    given |= {"title": given["title"] or spec.title, "about": given["about"] or spec.about}
    if request.POST.get("op") == "add":
        shown["problem"] = "What was found is not what you were shown. Look at it again."
    shown |= {
        "draft": drafted,
        "spec": spec,
        "authority": authority(spec),
        "scopes": in_words(spec, spec.oauth.scopes),
        "left_out": drafted.left_out[:_LEFT_OUT],
        "left_out_more": len(drafted.left_out[_LEFT_OUT:]),
        **_tags(drafted.tags),
    }
    return _asked(request, member, source, shown)


# --- what was said


def wish_of(said: QueryDict, **more: Any) -> setup.Wish:  # noqa: ANN401 - further fields of a Wish
    """What a form says of a provider that is new; what it leaves empty is as its source has it."""
    texts: dict[str, Any] = {name: said.get(name, "").strip() or None for name in TEXTS}
    if texts["access"] not in set(Access):
        texts["access"] = None
    texts["key_prefix"] = said.get("key_prefix") or None  # a space at its end counts
    return setup.Wish(
        **{**texts, **more},
        scopes=tuple(said.get("scopes", "").split()) or None,
        operations=tuple(filter(None, map(str.strip, said.get("operations", "").split(",")))) or None,
        tags=tuple(said.getlist("tags")) or None,
        any_scope=True if "any_scope" in said else None,
        pkce=False if "no_pkce" in said else None,
        trust_hints=True if "trust_hints" in said else None,
        new=True,
    )


def on_page(refused: Exception) -> str:
    """A refusal in the words of the pages, whose fields have other names than the options of the commands."""
    return _NAMED_FIELD.sub(lambda found: f"“{_LABELS.get(found[1], found[1])}”", str(refused))


def _document(request: HttpRequest) -> tuple[bytes | None, str]:
    """The file that was chosen, now or on the page before; and the digest by which it is found again.

    It is kept in the session, which every process reads, and for half an hour. Raises: Refused.
    """
    chosen, now = request.FILES.get(_DOCUMENT), datetime.now(UTC).timestamp()
    url, digest = request.POST.get("url", "").strip(), request.POST.get("kept", "")
    if chosen is not None and url:
        raise Refused("Give an address or choose a file, not both.")
    if chosen is not None:
        content = chosen.read()
        packed, digest = b64encode(compress(content)).decode(), hashlib.sha256(content).hexdigest()
        if len(packed) > _MOST_KEPT:
            raise Refused(
                "This file is too large to be kept between two pages. Give the document's address, or install it with: "
                "manage.py provider_install"
            )
        request.session[_DOCUMENT] = {"digest": digest, "packed": packed, "at": now}
        return content, digest
    if url or not digest:
        return None, ""
    kept = request.session.get(_DOCUMENT, {})
    if kept.get("digest") != digest or now - kept["at"] > _KEPT_S:
        request.session.pop(_DOCUMENT, None)
        raise Refused("The file is not kept here any more. Choose it again.")
    return decompress(b64decode(kept["packed"])), digest


def _added(
    request: HttpRequest, member: Membership, slug: str, wish: setup.Wish, drafted: setup.Draft | None
) -> HttpResponse:
    """Raises: Refused."""
    by, now = member.user_id, datetime.now(UTC)
    try:
        done = setup.set_up(tenant=member.tenant, slug=slug, wish=wish, drafted=drafted, by=by, now=now)
    except setup.ClientNeeded as needed:
        if needed.why:
            messages.warning(request, needed.why)
        request.session.pop(_DOCUMENT, None)
        return redirect("console_provider_client", member.tenant.slug, slug)
    request.session.pop(_DOCUMENT, None)
    messages.success(request, f"{providers.spec_of(done.row).title} is added.")
    if done.secret_ends_at is not None:
        messages.warning(request, f"Its client secret ends on {done.secret_ends_at:%d %B %Y}.")
    return redirect("console_provider", member.tenant.slug, slug)


# --- what is shown


def authority(spec: ProviderSpec) -> str:
    """Who lets people in."""
    return urlsplit(spec.oauth.issuer or spec.oauth.authorize_url).netloc


def _asked(request: HttpRequest, member: Membership, source: str, shown: dict[str, object]) -> HttpResponse:
    shown = {"source": source, **_file_limit(), **shown}
    return _shown(request, member, "console/install_source.html", shown)


def _shown(request: HttpRequest, member: Membership, template: str, shown: dict[str, object]) -> HttpResponse:
    status = HTTPStatus.BAD_REQUEST if shown.get("problem") else HTTPStatus.OK
    within = reverse("console_exports", args=[member.tenant.slug])
    return access.shown(request, member, template, {"posture": POSTURE, "within": within, **shown}, status=status)


def _file_limit() -> dict[str, object]:
    most = settings.BODY_BYTES - _FORM_BYTES
    return {"most_bytes": most, "most_mb": f"{most / 1_000_000:.1f}"}


def _tags(tags: Mapping[str, int]) -> dict[str, object]:
    return {"tags": list(tags.items())[:_TAGS], "tags_more": max(len(tags) - _TAGS, 0)}


def _said(spec: ProviderSpec) -> str:
    return f"{spec.id} {spec.title} {spec.about}".lower()


def _names(member: Membership) -> set[str]:
    return set(providers.installed(member.tenant_id).values_list("slug", flat=True))


def _named(url: str, member: Membership, *, title: str = "") -> str:
    """What it could be called here: after its title or its host, and like nothing there is."""
    host = [word for word in (urlsplit(url).hostname or "").split(".")[:-1] if word not in _SAYS_NOTHING]
    said = title or (host[-1] if host else "")
    plain = re.sub(r"[^a-z0-9]+", "_", said.lower()).strip("_")[:28].strip("_")
    name = plain if re.fullmatch(r"[a-z].*[a-z0-9]", plain) else "provider"
    taken: Collection[str] = _names(member)
    return next(each for number in count(1) if (each := f"{name}_{number}" if number > 1 else name) not in taken)
