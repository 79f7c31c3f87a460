"""REST's errors, each as RFC 9457 says.

`type` is a name that stays: `urn:metaagent:problem:` and a code. What was sent is never repeated.
"""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any

from rest_framework import exceptions, views
from rest_framework.response import Response
from rest_framework.settings import api_settings

from tenants.services import NotAllowed, Refused

log = logging.getLogger(__name__)

NOTHING = "There is nothing at this address, or nothing for you."
TYPE = "urn:metaagent:problem:"
MEDIA = "application/problem+json"


class NotUsable(exceptions.APIException):
    """A request that is well-formed and cannot be carried out as things are."""

    status_code = HTTPStatus.UNPROCESSABLE_ENTITY
    default_code = "refused"


class NotNow(exceptions.APIException):
    """Time, or an administrator, fixes it."""

    status_code = HTTPStatus.SERVICE_UNAVAILABLE
    default_code = "not_now"


class Conflict(exceptions.APIException):
    """Somebody else was first."""

    status_code = HTTPStatus.CONFLICT
    default_code = "conflict"

    def __init__(self, detail: str, code: str | None = None, *, wait_s: int | None = None) -> None:
        super().__init__(detail, code)
        self.wait = wait_s


class Outdated(exceptions.APIException):
    """It is not any more what the client has seen."""

    status_code = HTTPStatus.PRECONDITION_FAILED
    default_code = "outdated"
    default_detail = "It was changed meanwhile. Get it again, and send the change with the new ETag."


class Unconditional(exceptions.APIException):
    """A change that does not say of what."""

    status_code = HTTPStatus.PRECONDITION_REQUIRED
    default_code = "unconditional"
    default_detail = "Say what you have seen: get it, and send its ETag as If-Match. Two people may be at it."


def problem(error: Exception, context: dict[str, Any]) -> Response:
    """What went wrong, in our own words."""
    if isinstance(error, Refused):
        error = (exceptions.PermissionDenied if isinstance(error, NotAllowed) else NotUsable)(str(error))
    answer = views.exception_handler(error, context)
    if answer is None:
        log.error("a request to the API failed", exc_info=error)
        return _said(HTTPStatus.INTERNAL_SERVER_ERROR, "error", "Something went wrong on our side. Try again later.")
    kept = {name: answer[name] for name in ("WWW-Authenticate", "Retry-After") if name in answer}
    return _said(HTTPStatus(answer.status_code), _code(error), _sentence(error), kept, getattr(error, "errors", None))


def _said(
    status: HTTPStatus,
    code: str,
    detail: str,
    headers: dict[str, str] | None = None,
    errors: list[dict[str, str]] | None = None,
) -> Response:
    body: dict[str, Any] = {"type": TYPE + code, "title": status.phrase, "status": status.value, "detail": detail}
    if errors:
        body["errors"] = errors
    return Response(body, status, headers=headers, content_type=MEDIA)


def _code(error: Exception) -> str:
    codes = error.get_codes() if isinstance(error, exceptions.APIException) else "not_found"
    return codes if isinstance(codes, str) else "invalid"


def _sentence(error: Exception) -> str:
    detail = getattr(error, "detail", NOTHING)
    if not isinstance(error, exceptions.ValidationError):
        return str(detail)
    if said := getattr(error, "errors", None):
        return " ".join(_named(each) for each in said)
    general = api_settings.NON_FIELD_ERRORS_KEY
    items = detail.items() if isinstance(detail, dict) else [(general, detail)]
    texts = {name: " ".join(map(str, each)) for name, each in items}
    return " ".join(text if name == general else f"{name}: {text}" for name, text in texts.items())


def _named(error: dict[str, str]) -> str:
    place = (error.get("pointer") or error.get("parameter") or "").removeprefix("/")
    return f"{place}: {error['detail']}" if place else error["detail"]
