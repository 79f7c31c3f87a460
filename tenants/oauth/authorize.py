"""The page where a person lets an MCP client in, or does not (RFC 6749 §4.1.1). It always asks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast
from urllib.parse import urlencode, urlsplit, urlunsplit

from csp.decorators import csp_update
from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.module_loading import import_string
from django.views.decorators.http import require_http_methods
from oauth2_provider.exceptions import FatalClientError, OAuthToolkitError
from oauth2_provider.http import OAuth2ResponseRedirect
from oauth2_provider.oauth2_backends import get_oauthlib_core

from tenants import selectors as tenants
from tenants.models import Membership, User
from tenants.oauth import policy, services
from tenants.oauth.models import Client


class Refused(Exception):
    """A request that is answered with an OAuth error at the client (RFC 6749 §4.1.2.1)."""

    def __init__(self, error: str, description: str) -> None:
        super().__init__(description)
        self.error, self.description = error, description


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
    endpoints: list[Endpoint]
    """The one that was named, or all there is to choose from."""

    @property
    def redirect_uri(self) -> str:
        """Where the answer goes."""
        return str(self.credentials["redirect_uri"])


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def authorize(request: HttpRequest) -> HttpResponse:
    """Show who asks for what, and on the person's word send the client its code.

    The request stays in the address: what a form says again could have been changed.
    """
    user = cast("User", request.user)
    try:
        scopes, credentials = get_oauthlib_core().validate_authorization_request(request)
    except FatalClientError:
        return _stopped(request)
    except OAuthToolkitError as wrong:
        return _back(wrong.oauthlib_error.redirect_uri, _error(wrong.oauthlib_error), wrong.oauthlib_error.state)
    client, state = cast("Client", credentials["request"].client), credentials["state"]
    try:
        asked = Asked(client, scopes, credentials, _endpoints(request, user, credentials))
        if request.method == "POST":
            return _decide(request, user, asked)
    except Refused as refused:
        error = {"error": refused.error, "error_description": refused.description}
        return _back(credentials["redirect_uri"], error, state)
    return _page(request, asked)


def _endpoints(request: HttpRequest, user: User, credentials: dict[str, Any]) -> list[Endpoint]:
    """Raises: Refused."""
    if not policy.challenge_fit(credentials.get("code_challenge"), credentials.get("code_challenge_method")):
        raise Refused("invalid_request", "PKCE with code_challenge_method S256 is required.")
    if "none" in request.GET.get("prompt", "").split():
        raise Refused("consent_required", "The person must be asked.")
    resources = request.GET.getlist("resource")
    visible = endpoints_of(user)
    if resources:
        visible = [endpoint for endpoint in visible if resources == [endpoint.url]]
    if not visible:
        raise Refused("invalid_target", "resource must be the URL of one MCP endpoint you may use, exactly.")
    return visible


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


def _decide(request: HttpRequest, user: User, asked: Asked) -> HttpResponse:
    """Raises: Refused."""
    chosen = request.POST.get("endpoint", asked.endpoints[0].url if len(asked.endpoints) == 1 else "")
    endpoint = next((one for one in asked.endpoints if one.url == chosen), None)
    destination, _ = policy.destination(asked.redirect_uri)
    if request.POST.get("answer") != "allow":
        member = (endpoint or asked.endpoints[0]).membership
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
    uri, *_ = get_oauthlib_core().create_authorization_response(
        request, scopes=" ".join(asked.scopes), credentials=credentials, allow=True
    )
    return OAuth2ResponseRedirect(uri, asked.client.get_allowed_schemes())


def _page(request: HttpRequest, asked: Asked, problem: str = "") -> HttpResponse:
    destination, local = policy.destination(asked.redirect_uri)
    shown = {
        "client": asked.client,
        "name": policy.inert(asked.client.name),
        "destination": destination,
        "local": local,
        "scopes": [settings.MCP_SCOPES[scope] for scope in asked.scopes],
        "endpoints": asked.endpoints,
        "until": timezone.now() + timedelta(days=settings.CLIENT_GRANT_DAYS),
        "problem": problem,
    }
    # Browsers hold every redirect of a form to this rule, and this one ends at the client.
    leaving = csp_update({"form-action": ["'self'", policy.form_action(asked.redirect_uri)]})
    return cast("HttpResponse", leaving(render)(request, "o/authorize.html", shown, status=400 if problem else 200))


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
    """Send an answer to the client, with the issuer it came from (RFC 9207)."""
    parts = urlsplit(redirect_uri)
    added = urlencode({**answer, **({"state": state} if state else {}), "iss": settings.PUBLIC_URL})
    query = f"{parts.query}&{added}" if parts.query else added
    uri = urlunsplit((parts.scheme, parts.netloc, parts.path, query, ""))
    return OAuth2ResponseRedirect(uri, ["https", "http", *settings.NATIVE_SCHEMES])
