"""What every page's answer carries."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from django.http import HttpRequest, HttpResponse

from tenants import sessions


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
