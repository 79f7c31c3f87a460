"""The page where a person lets an MCP client in, or does not (RFC 6749 §4.1.1). It always asks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast
from urllib.parse import urlencode, urlsplit, urlunsplit

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.module_loading import import_string
from django.views.decorators.http import require_http_methods
from oauth2_provider.exceptions import FatalClientError, OAuthToolkitError
from oauth2_provider.http import OAuth2ResponseRedirect
from oauth2_provider.oauth2_backends import OAuthLibCore

from tenants import selectors as tenants
from tenants.models import Membership, User
from tenants.oauth import policy, registration, services
from tenants.oauth.models import Client


class Refused(Exception):
    """A request that is answered with an OAuth error at the client (RFC 6749 §4.1.2.1)."""

    def __init__(self, error: str, description: str) -> None:
        super().__init__(description)
        self.answer = {"error": error, "error_description": description}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An MCP endpoint a person may let a client use."""

    url: str
    membership: Membership
    title: str
    """The provider's, or nothing for all of a tenant's."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A valid authorization request of a known client, for this person."""

    client: Client
    scopes: list[str]
    credentials: dict[str, Any]
    named: str
    """The endpoint the request is for; nothing when the person is to choose."""
    endpoints: list[Endpoint]
    """The one that was named, or all there is to choose from."""

    @property
    def redirect_uri(self) -> str:
        """Where the answer goes."""
        return str(self.credentials["redirect_uri"])


class _Core(OAuthLibCore):
    """Reads the request from the address alone: what a form says again could have been changed."""

    def extract_headers(self, request: HttpRequest) -> dict[str, Any]:
        """With the person who has logged in, for whom a client may be looked up."""
        return {**super().extract_headers(request), registration.PERSON: str(request.user.pk)}

    def extract_body(self, request: HttpRequest) -> list[tuple[str, str]]:  # noqa: ARG002 - the toolkit's signature
        """Nothing."""
        return []


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def authorize(request: HttpRequest) -> HttpResponse:
    """Show who asks for what, and on the person's word send the client its code."""
    if not request.GET.get("redirect_uri"):
        return _stopped(request)
    try:
        scopes, credentials = _Core().validate_authorization_request(request)
    except (FatalClientError, ValueError):  # the latter: a query that is none
        return _stopped(request)
    except OAuthToolkitError as wrong:
        return _back(wrong.oauthlib_error.redirect_uri, _error(wrong.oauthlib_error), wrong.oauthlib_error.state)
    user, client = cast("User", request.user), cast("Client", credentials["request"].client)
    try:
        named = _named(request, credentials)
        visible = [endpoint for endpoint in endpoints_of(user) if named in {"", endpoint.url}]
        asked = Asked(client, scopes, credentials, named, visible)
        if not visible:
            return _nothing(request, asked)
        if request.method == "POST":
            return _decide(request, asked)
    except Client.DoesNotExist:
        return _stopped(request)
    except Refused as refused:
        return _back(credentials["redirect_uri"], refused.answer, credentials["state"])
    return _page(request, asked)


def _named(request: HttpRequest, credentials: dict[str, Any]) -> str:
    """The endpoint that is asked for, if one is. Raises: Refused for what no client may ask."""
    if not policy.challenge_fit(credentials.get("code_challenge"), credentials.get("code_challenge_method")):
        raise Refused("invalid_request", "PKCE with code_challenge_method S256 is required.")
    if request.GET.get("response_mode", "query") != "query":
        raise Refused("invalid_request", "The only response_mode is query.")
    if "none" in request.GET.get("prompt", "").split():
        raise Refused("consent_required", "The person must be asked.")
    resources = request.GET.getlist("resource")
    if not resources:
        return ""
    if len(resources) > 1 or policy.resource_path(resources[0], public_url=settings.PUBLIC_URL) is None:
        raise Refused("invalid_target", "resource must be the URL of one MCP endpoint here, exactly.")
    return resources[0]


def publisher(client: Client) -> str:
    """The host that a client's description was fetched from; nothing for one that described itself."""
    described = client.registration_source == Client.RegistrationSource.CIMD
    return urlsplit(client.client_id).netloc if described else ""


def endpoints_of(user: User) -> list[Endpoint]:
    """Every MCP endpoint a person may use: each provider's, then each tenant's with all of them."""
    exports = import_string(settings.MCP_EXPORTS)
    found: list[Endpoint] = []
    for member in tenants.memberships_of(user):
        tenant_url = f"{settings.PUBLIC_URL}/mcp/{member.tenant.slug}"
        shown = exports(member.tenant_id, member.user_id)
        found += [Endpoint(f"{tenant_url}/{slug}", member, title) for slug, title in shown]
        found.append(Endpoint(tenant_url, member, ""))
    return found


def _decide(request: HttpRequest, asked: Asked) -> HttpResponse:
    """Raises: Refused, Client.DoesNotExist."""
    endpoint = next((one for one in asked.endpoints if one.url == request.POST.get("endpoint")), None)
    destination, _ = policy.destination(asked.redirect_uri)
    if request.POST.get("answer") != "allow":
        # A person in several tenants who chose none has declined in none.
        tenants_asked = {one.membership for one in ([endpoint] if endpoint else asked.endpoints)}
        member = tenants_asked.pop() if len(tenants_asked) == 1 else None
        services.decline(membership=member, client=asked.client, destination=destination)
        raise Refused("access_denied", "The person said no.")
    if endpoint is None:
        return _page(request, asked, "Choose what the client may use.")
    grant = services.give(
        membership=endpoint.membership,
        client=asked.client,
        resource=endpoint.url,
        scope=" ".join(asked.scopes),
        destination=destination,
        now=timezone.now(),
    )
    credentials = {**asked.credentials, "client_grant": grant}
    del credentials["request"]
    uri, *_ = _Core().create_authorization_response(
        request, scopes=" ".join(asked.scopes), credentials=credentials, allow=True
    )
    return OAuth2ResponseRedirect(uri, asked.client.get_allowed_schemes())


def _page(request: HttpRequest, asked: Asked, problem: str = "") -> HttpResponse:
    destination, kind = policy.destination(asked.redirect_uri)
    shown = {
        "asked": asked,
        "publisher": publisher(asked.client),
        "name": policy.inert(asked.client.name),
        "destination": destination,
        "kind": kind.value,
        "only": asked.endpoints[0] if len(asked.endpoints) == 1 else None,
        "scopes": [settings.MCP_SCOPES[scope] for scope in asked.scopes],
        "until": timezone.now() + timedelta(days=settings.CLIENT_GRANT_DAYS),
        "problem": problem,
    }
    page = render(request, "o/authorize.html", shown, status=400 if problem else 200)
    # Browsers hold every redirect of a form to this rule, and this one ends at the client.
    ends_at = policy.form_action(asked.redirect_uri, schemes=settings.NATIVE_SCHEMES)
    page._csp_update = {"form-action": ends_at}  # type: ignore[attr-defined]  # noqa: SLF001 - what csp_update sets
    return page


def _nothing(request: HttpRequest, asked: Asked) -> HttpResponse:
    """What is asked for is not this person's, or no longer: they can log in as somebody else, the client cannot."""
    refused = Refused("invalid_target", "The person who is logged in may not use this resource.")
    back = _answer(asked.redirect_uri, refused.answer, asked.credentials["state"])
    shown = {"named": asked.named, "back": back}
    return render(request, "o/nothing.html", shown, status=403)


def _stopped(request: HttpRequest) -> HttpResponse:
    """A client or redirect URI that cannot be trusted with an answer: it stays here."""
    shown = {
        "title": "This client cannot be let in",
        "sentence": "It is not known here, its registration has expired, or it wants the answer sent to an address it "
        "did not register. Nothing was allowed. Remove the server in your client, add it again and retry.",
    }
    return render(request, "error.html", shown, status=400)


def _error(wrong: Any) -> dict[str, str]:  # noqa: ANN401 - oauthlib's error
    described = {"error_description": wrong.description} if wrong.description else {}
    return {"error": wrong.error, **described}


def _back(redirect_uri: str, answer: dict[str, str], state: str | None) -> HttpResponse:
    """Send the browser to the client with an answer."""
    return OAuth2ResponseRedirect(_answer(redirect_uri, answer, state), ["https", "http", *settings.NATIVE_SCHEMES])


def _answer(redirect_uri: str, answer: dict[str, str], state: str | None) -> str:
    """An answer's address, with the issuer it comes from (RFC 9207)."""
    parts = urlsplit(redirect_uri)
    added = urlencode({**answer, **({"state": state} if state else {}), "iss": settings.PUBLIC_URL})
    return urlunsplit(parts._replace(query=f"{parts.query}&{added}" if parts.query else added))
