"""How clients become known: by registering themselves (RFC 7591), or by a document at their client id's URL."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.request import validate_host

from tenants import refusals
from tenants.oauth import policy, services
from tenants.oauth.views import for_any_origin
from tenants.objects import NOT_AN_OBJECT, read_object

BODY_BYTES = 16_384
DOCUMENTS_PER_HOUR = 20
"""Fetched for one person."""
PERSON = "person"
"""Among the headers oauthlib is given: who has logged in. What a client sends never comes by that name."""


class Hosts:
    """Whether a document may be fetched to introduce a client: the toolkit asks before it does."""

    def has_permission(self, request: Any, client_id: str) -> bool:  # noqa: ANN401 - the toolkit's interface
        """By `CLIENT_METADATA_HOSTS`, where `.example.com` stands for that host and all below it; so many a person."""
        if not validate_host(urlsplit(client_id).hostname or "", settings.CLIENT_METADATA_HOSTS):
            return False
        fetched = refusals.count(refusals.counter("client-documents", request.headers[PERSON]))
        return fetched <= DOCUMENTS_PER_HOUR


@for_any_origin("POST")
def register(request: HttpRequest) -> HttpResponse:
    """Make a client known (RFC 7591 §3). Nothing it names is fetched, and it gets no token to change what it said."""
    if not settings.CLIENT_REGISTRATIONS_PER_HOUR:
        return _refused("registration_not_supported", "Clients cannot register themselves here.", HTTPStatus.NOT_FOUND)
    if wait_s := _to_wait(request):
        said = "Too many clients have registered. Try again later, with the client id you have if there is one."
        response = _refused("temporarily_unavailable", said, HTTPStatus.TOO_MANY_REQUESTS)
        response["Retry-After"] = str(wait_s)
        return response
    body = request.read(BODY_BYTES + 1)
    if len(body) > BODY_BYTES:
        said = f"The body is larger than {BODY_BYTES} bytes."
        return _refused("invalid_client_metadata", said, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    try:
        metadata = policy.metadata(read_object(body), schemes=settings.NATIVE_SCHEMES)
    except policy.Unfit as unfit:
        return _refused(unfit.code, str(unfit))
    except ValueError:
        return _refused("invalid_client_metadata", NOT_AN_OBJECT)
    client, secret = services.register(metadata=metadata)
    registered = {
        "client_id": client.client_id,
        "client_id_issued_at": int(client.created.timestamp()),
        "client_name": client.name,
        "redirect_uris": metadata.redirect_uris,
        "grant_types": policy.GRANTS,
        "response_types": ["code"],
        "token_endpoint_auth_method": metadata.method,
        "scope": " ".join(settings.MCP_SCOPES),
    }
    if secret is not None:
        registered |= {"client_secret": secret, "client_secret_expires_at": 0}
    return JsonResponse(registered, status=HTTPStatus.CREATED)


def _to_wait(request: HttpRequest) -> int:
    """How many seconds to wait before the next registration; 0 if this one may be.

    Who has come to the limit of their own address is not counted for everyone's.
    """
    ours = refusals.counter("client-registrations", refusals.address(request))
    if refusals.count(ours) > settings.CLIENT_REGISTRATIONS_PER_HOUR:
        return refusals.HOUR_S
    all_together = refusals.count("client-registrations", seconds=refusals.MINUTE_S)
    return refusals.MINUTE_S if all_together > settings.CLIENT_REGISTRATIONS_PER_MINUTE else 0


def _refused(error: str, description: str, status: HTTPStatus = HTTPStatus.BAD_REQUEST) -> HttpResponse:
    return JsonResponse({"error": error, "error_description": description}, status=status)
