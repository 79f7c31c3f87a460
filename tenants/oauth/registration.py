"""How clients become known: by registering themselves (RFC 7591), or by a document at their client id's URL."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse

from tenants.oauth.views import for_any_origin


class Hosts:
    """Which hosts' documents may introduce a client: the toolkit asks before it fetches one."""

    def has_permission(self, request: Any, client_id: str) -> bool:  # noqa: ANN401, ARG002 - the toolkit's interface
        """By `CLIENT_METADATA_HOSTS`."""
        return "*" in settings.CLIENT_METADATA_HOSTS or urlsplit(client_id).hostname in settings.CLIENT_METADATA_HOSTS


@for_any_origin("POST")
def register(request: HttpRequest) -> HttpResponse:
    """Make a client known (RFC 7591 §3)."""
    return JsonResponse({"error": "not_implemented"}, status=501)
