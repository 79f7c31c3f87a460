"""What holds for every page."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from urllib.parse import unquote

from django.core.exceptions import BadRequest
from django.http import HttpRequest, HttpResponse

from tenants import sessions

_WELL_READ = ("/api/", "/o/")
"""What checks every word of an address, and says it in its own form."""


def legible(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Refuse a NUL in an address: no text has one, and no database takes one. Forms know what they take."""

    def answer(request: HttpRequest) -> HttpResponse:
        if not request.path.startswith(_WELL_READ) and "\0" in unquote(request.get_full_path()):
            raise BadRequest
        return get_response(request)

    return answer


def no_store(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Keep pages out of shared and browser caches: each may show what belongs to one person."""

    def answer(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        if "Cache-Control" not in response:
            response["Cache-Control"] = "no-store"
        return response

    return answer


def seen(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Note now and then that a session is used, for its owner to see; the session is stored on the way out."""

    def answer(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        sessions.seen(request, now=datetime.now(UTC))
        return response

    return answer
