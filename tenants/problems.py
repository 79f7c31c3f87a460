"""REST's errors, each as RFC 9457 says."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any

from rest_framework import exceptions, views
from rest_framework.response import Response
from rest_framework.settings import api_settings

log = logging.getLogger(__name__)

NOTHING = "There is nothing at this address, or nothing for you."


def problem(error: Exception, context: dict[str, Any]) -> Response:
    """What went wrong, in our own words; what was sent is never repeated."""
    answer = views.exception_handler(error, context)
    if answer is None:
        log.error("a request to the API failed", exc_info=error)
        return _said(HTTPStatus.INTERNAL_SERVER_ERROR, "Something went wrong on our side. Try again later.")
    kept = {name: answer[name] for name in ("WWW-Authenticate", "Retry-After", "Allow") if name in answer}
    return _said(HTTPStatus(answer.status_code), _sentence(error), kept)


def _said(status: HTTPStatus, detail: str, headers: dict[str, str] | None = None) -> Response:
    body = {"type": "about:blank", "title": status.phrase, "status": status.value, "detail": detail}
    return Response(body, status, headers=headers, content_type="application/problem+json")


def _sentence(error: Exception) -> str:
    detail = getattr(error, "detail", NOTHING)
    if not isinstance(error, exceptions.ValidationError) or not isinstance(detail, dict):
        return str(detail)
    general = api_settings.NON_FIELD_ERRORS_KEY
    said = {name: " ".join(map(str, texts)) for name, texts in detail.items()}
    return " ".join(text if name == general else f"{name}: {text}" for name, text in said.items())
