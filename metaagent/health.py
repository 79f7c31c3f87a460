"""Whether the process lives, and whether it can do its work."""

from __future__ import annotations

from django.db import DatabaseError, connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe

from audit import selectors as audit
from vault.services import keys


@require_safe
def healthz(_request: HttpRequest) -> HttpResponse:
    """The process answers."""
    return HttpResponse("ok", content_type="text/plain")


@require_safe
def readyz(_request: HttpRequest) -> HttpResponse:
    """Database, key encryption key and audit log are usable; each part's state by name.

    A log that is not what was sealed is no reason to stop: whoever touches one row would stop everything. It is said on
    the console's page and in an ERROR line.
    """
    parts = {"database": _database(), "kek": keys.usable(), "audit": _audit()}
    ready = all(parts.values())
    return JsonResponse(
        {name: "ok" if good else "failing" for name, good in parts.items()}, status=200 if ready else 503
    )


def _database() -> bool:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        return False
    return True


def _audit() -> bool:
    try:
        return audit.writable()
    except DatabaseError:
        return False
