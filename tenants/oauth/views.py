"""The endpoints programs call: metadata, tokens, revocation. Any origin may, since no cookie counts here."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.views.decorators.csrf import csrf_exempt
from oauth2_provider.oauth2_backends import get_oauthlib_core
from oauth2_provider.views import OAuthServerMetadataView

View = Callable[[HttpRequest], HttpResponse]


def for_any_origin(*methods: str) -> Callable[[View], View]:
    """A view without session or CSRF that answers pages of every origin, and their preflight (CORS)."""

    def decorate(view: View) -> View:
        @csrf_exempt
        @wraps(view)
        def answered(request: HttpRequest) -> HttpResponse:
            if request.method == "OPTIONS":
                response = HttpResponse(status=204)
            elif request.method in methods:
                response = view(request)
            else:
                response = HttpResponseNotAllowed([*methods, "OPTIONS"])
            response["Access-Control-Allow-Origin"] = "*"
            response["Access-Control-Allow-Methods"] = ", ".join([*methods, "OPTIONS"])
            response["Access-Control-Allow-Headers"] = "authorization, content-type, mcp-protocol-version"
            response["Access-Control-Max-Age"] = "600"
            return response

        return answered

    return decorate


@for_any_origin("GET", "HEAD")
def metadata(request: HttpRequest) -> HttpResponse:
    """RFC 8414."""
    return OAuthServerMetadataView.as_view()(request)


@for_any_origin("POST")
def token(request: HttpRequest) -> HttpResponse:
    """Codes and refresh tokens for access tokens (RFC 6749 §3.2)."""
    _, headers, body, status = get_oauthlib_core().create_token_response(request)
    return _answer(headers, body, status)


@for_any_origin("POST")
def revoke(request: HttpRequest) -> HttpResponse:
    """End what a token belongs to (RFC 7009)."""
    _, headers, body, status = get_oauthlib_core().create_revocation_response(request)
    return _answer(headers, body, status)


def _answer(headers: dict[str, str], body: str | None, status: int) -> HttpResponse:
    response = HttpResponse(body or "", status=status, content_type="application/json")
    for name, value in headers.items():
        response[name] = value
    return response
