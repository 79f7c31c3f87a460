"""One provider of a tenant: what it is, how it does, its settings, its client there, and its end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from metaagent.console.install import POSTURE, authority, on_page
from metaagent.installations import health_of
from providers import limits, selectors, services
from providers.health import worth_a_look
from providers.models import Installation
from providers.services import Stale
from providers.spec import Access
from tenants import access
from tenants.models import Membership
from tenants.services import Refused
from vault import selectors as vault
from vault.links import callback_url
from vault.pages import in_words
from vault.services import leave, setup
from vault.services.install import Unconfirmed
from vault.services.keys import KeysUnavailable
from vault.services.revoke import all_in_words

if TYPE_CHECKING:
    from providers.simulator import Finding

_LABELS: Final[Mapping[str, str]] = {
    "title": "Title",
    "about": "What people ask it about",
    "exposure": "Who has not connected an account",
    "consent": "People are asked",
    "scopes": "Scopes",
    "connect_url": "Connect page of another system",
}
LIMITS: Final[Mapping[str, tuple[str, str]]] = {
    "provider_calls_per_minute": ("Calls a minute", "by each account"),
    "provider_calls_per_minute_tenant": ("Calls a minute, together", "by all accounts"),
    "provider_calls_at_once": ("Calls at once", "by all accounts, in one process"),
    "provider_calls_at_once_account": ("Calls at once, by one account", "in one process"),
    "breaker_failures": ("Failures in a row", "before it is left alone for a while"),
    "breaker_pause_s": ("Left alone for", "seconds"),
    "result_cache_s": ("Results are given again for", "seconds at most; 0: never"),
    "tool_calls_per_ask": ("Tool calls", "for one question"),
}
"""What each limit is called, and what it counts."""


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit, as the form shows it."""

    name: str
    label: str
    counts: str
    typed: str
    granted: int
    bound: limits.Bound
    smaller: bool
    """The deployment's is smaller than this installation's own, and counts."""


@dataclass(frozen=True, slots=True)
class Part:
    """What one part of a test has found."""

    head: str
    failed: list[Finding]
    good: list[Finding]
    untried: list[Finding]


@require_http_methods(["GET", "HEAD", "POST"])
@access.open_to(access.LOOK)
def provider(request: HttpRequest, member: Membership, slug: str) -> HttpResponse:
    """What is known of it; whoever may changes how it is offered, switches it off and on, tests it, removes it."""
    row = _row(member, slug)
    known = selectors.known_spec(row) is not None
    if request.method != "POST":
        return _shown(request, member, row, {}) if known else _gone(request, member, row)
    if member.role not in access.RUN or not (known or request.POST.get("op") == "remove"):
        raise Http404
    try:
        match request.POST.get("op"):
            case "settings":
                _settle(request, row, by=member)
            case "limits":
                services.change(
                    installation=row, limits=_limits_typed(request), version=_seen(request), by=member.user_id
                )
                messages.success(request, "Saved. It holds from the next call on.")
            case "on" | "off" as op:
                _switch(request, row, on=op == "on", by=member)
            case "test":
                return _shown(request, member, row, {"parts": _tested(row)})
            case "remove":
                ended = leave.remove_provider(installation=row, by=member.user_id, now=datetime.now(UTC))
                messages.success(request, f"{selectors.title_of(row)} is removed. {all_in_words(ended)}")
                return redirect("console_exports", member.tenant.slug)
            case _:
                raise Http404
    except Stale as stale:
        return _stale(request, member, slug, str(stale))
    except (Refused, KeysUnavailable) as refused:
        return _shown(
            request, member, row, {"problem": on_page(refused), "typed": request.POST}, HTTPStatus.BAD_REQUEST
        )
    return redirect("console_provider", member.tenant.slug, slug)


@sensitive_post_parameters("client_secret")
@require_http_methods(["GET", "HEAD", "POST"])
@access.open_to(access.RUN)
@access.weighty
def client(request: HttpRequest, member: Membership, slug: str) -> HttpResponse:
    """Which OAuth client the tenant is at the provider. Its secret is taken and never shown."""
    row = _row(member, slug)
    spec, shown = selectors.known_spec(row), dict[str, object]()
    if spec is None or spec.access is not Access.OAUTH:
        raise Http404
    if request.method == "POST":
        said = {name: request.POST.get(name, "").strip() for name in ("client_id", "client_secret")}
        shown["client_id"] = said["client_id"]
        try:
            return _became(request, member, row, said)
        except Unconfirmed as unconfirmed:
            shown |= {"problem": on_page(unconfirmed), "unconfirmed": True}
        except (Refused, KeysUnavailable) as refused:
            shown["problem"] = on_page(refused)
    redirect_uri, scopes = callback_url(row.pk), " ".join(spec.oauth.scopes)
    shown = {
        "row": row,
        "spec": spec,
        "client_id": row.client_id,
        "redirect_uri": redirect_uri,
        "scopes": scopes,
        "steps": [step.format(redirect_uri=redirect_uri, scopes=scopes) for step in spec.register_steps],
        "unfinished": setup.unfinished(row),
        "own": row.facts.get("client", {}).get("own", True),
        "has_secret": vault.has_client_secret(row.pk),
        "connections": vault.health_of(member.tenant_id, now=datetime.now(UTC))[row.pk].connections,
        **shown,
    }
    status = HTTPStatus.BAD_REQUEST if "problem" in shown else HTTPStatus.OK
    return access.shown(request, member, "console/provider_client.html", shown, status=status)


# --- what is changed


def _settle(request: HttpRequest, row: Installation, *, by: Membership) -> None:
    """How it is offered: what differs from what there is. Raises: Refused."""
    before, typed = _settings(row), _typed(request, row)
    said: dict[str, Any] = {name: each for name, each in typed.items() if each != before[name]}
    if _seen(request) != row.version:
        raise Stale
    if not said:
        messages.info(request, "Nothing was changed.")
        return
    if "scopes" in said:
        said["scopes"] = tuple(said["scopes"].split())
    wish = setup.Wish(**said, version=_seen(request))
    setup.set_up(tenant=by.tenant, slug=row.slug, wish=wish, by=by.user_id, now=datetime.now(UTC))
    messages.success(request, "Saved. It holds from the next call on.")


def _switch(request: HttpRequest, row: Installation, *, on: bool, by: Membership) -> None:
    """Raises: Refused."""
    if on and setup.unfinished(row):
        raise Refused("It needs a client at the provider first.")
    services.change(installation=row, enabled=on, version=_seen(request), by=by.user_id)
    messages.success(request, f"{selectors.title_of(row)} is switched {'on' if on else 'off'}.")


def _became(request: HttpRequest, member: Membership, row: Installation, said: Mapping[str, str]) -> HttpResponse:
    """Raises: Refused; Unconfirmed."""
    if not said["client_id"]:
        raise Refused("The client ID is missing.")
    wish = setup.Wish(
        client_id=said["client_id"],
        client_secret=said["client_secret"] or None,
        give_up="give_up" in request.POST,
        version=_seen(request),
    )
    done = setup.set_up(tenant=member.tenant, slug=row.slug, wish=wish, by=member.user_id, now=datetime.now(UTC))
    messages.success(request, f"Saved: this is the client at {selectors.title_of(done.row)} now.")
    if done.ended.confirmed + done.ended.pending:
        messages.warning(request, f"{all_in_words(done.ended)} Their people connect again.")
    return redirect("console_provider", member.tenant.slug, row.slug)


def _tested(row: Installation) -> list[Part]:
    from vault.services import trial  # noqa: PLC0415 - the simulator, which is of use here alone

    heads = {
        "Against a simulator of what it documents": trial.simulated(selectors.spec_of(row)),
        "At its own addresses, now": trial.live(row),
    }
    return [
        Part(head, *([each for each in found if each.ok is ok] for ok in (False, True, None)))
        for head, found in heads.items()
    ]


# --- what was typed


def _seen(request: HttpRequest) -> int:
    """The version of the installation that the form was about; 0, which there never is, when it does not say."""
    said = request.POST.get("version", "")
    return int(said) if said.isdecimal() and len(said) < 10 else 0  # noqa: PLR2004 - what a column holds


def _settings(row: Installation) -> dict[str, str]:
    """What can be said of it, as it is."""
    found = {
        "exposure": row.exposure,
        "consent": row.consent,
        "scopes": " ".join(row.overrides.get("scopes", ())),
        "connect_url": row.connect_url,
    }
    if row.source != Installation.Source.CATALOGUE:
        found |= {name: row.facts.get(name, "") for name in ("title", "about")}
    return found


def _typed(request: HttpRequest, row: Installation) -> dict[str, str]:
    return {name: request.POST.get(name, now).strip() for name, now in _settings(row).items()}


def _limits_typed(request: HttpRequest) -> dict[str, str]:
    return {name: request.POST[name].strip() for name in LIMITS if name in request.POST}


# --- what is shown


def _row(member: Membership, slug: str) -> Installation:
    """Raises: Http404."""
    row = selectors.installed(member.tenant_id).select_related("manifest").filter(slug=slug).first()
    if row is None:
        raise Http404
    return row


def _gone(request: HttpRequest, member: Membership, row: Installation) -> HttpResponse:
    """Of a provider that is no longer in the catalogue: nothing can be done with it but to remove it."""
    found = vault.health_of(member.tenant_id, now=datetime.now(UTC))[row.pk].connections
    shown = {"row": row, "title": row.slug, "accounts": found.ready + found.needs_auth}
    return access.shown(request, member, "console/gone.html", shown)


def _stale(request: HttpRequest, member: Membership, slug: str, why: str) -> HttpResponse:
    """The page as it is now, with what was typed told beside it."""
    row = _row(member, slug)
    now = {**_settings(row), **{name: str(row.limits.get(name, "")) for name in LIMITS}}
    labels = {**_LABELS, **{name: label for name, (label, _) in LIMITS.items()}}
    lost = [
        (labels[name], POSTURE.get(name, {}).get(request.POST[name], request.POST[name].strip()))
        for name, each in now.items()
        if name in request.POST and request.POST[name].strip() != each
    ]
    return _shown(request, member, row, {"problem": why, "lost": lost}, HTTPStatus.CONFLICT)


def _shown(
    request: HttpRequest,
    member: Membership,
    row: Installation,
    context: dict[str, Any],
    status: HTTPStatus = HTTPStatus.OK,
) -> HttpResponse:
    spec, health = selectors.spec_of(row), health_of(member.tenant_id, now=datetime.now(UTC))[row.pk]
    typed = context.pop("typed", {})
    known = row.source == Installation.Source.CATALOGUE or row.manifest_id is not None
    shown = {
        "row": row,
        "spec": spec,
        "posture": POSTURE,
        "health": health,
        "attention": worth_a_look(health),
        "accounts": health.connections.ready + health.connections.needs_auth,
        "authority": authority(spec),
        "redirect_uri": callback_url(row.pk),
        "has_secret": vault.has_client_secret(row.pk),
        "own": row.facts.get("client", {}).get("own", True),
        "unfinished": setup.unfinished(row),
        "endpoint": f"{settings.PUBLIC_URL}/mcp/{member.tenant.slug}/{row.slug}",
        "effects": Counter(tool.effect.value for tool in spec.tools) if known else None,
        "scopes": in_words(spec, spec.oauth.scopes),
        "said": {**_settings(row), **{name: typed[name] for name in _LABELS if name in typed}},
        "limits": _limits(row, typed),
        **context,
    }
    return access.shown(request, member, "console/provider.html", shown, status=status)


def _limits(row: Installation, typed: Mapping[str, str]) -> list[Limit]:
    found = []
    for name, (label, counts) in LIMITS.items():
        own, granted = row.limits.get(name), int(getattr(settings, name.upper()))
        found.append(
            Limit(
                name=name,
                label=label,
                counts=counts,
                typed=typed.get(name, "" if own is None else str(own)),
                granted=granted,
                bound=limits.BOUNDS[name],
                smaller=own is not None and limits.counting(name, own, granted) != own,
            )
        )
    return found
