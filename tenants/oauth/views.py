"""The endpoints programs call: metadata, tokens, revocation. Any origin may, since no cookie counts here."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from http import HTTPStatus

from django.core.exceptions import BadRequest, SuspiciousOperation
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, JsonResponse, QueryDict
from django.views.decorators.csrf import csrf_exempt
from oauth2_provider.oauth2_backends import get_oauthlib_core
from oauth2_provider.views import OAuthServerMetadataView

View = Callable[[HttpRequest], HttpResponse]

FORM = "application/x-www-form-urlencoded"
_FIELDS = frozenset(
    {
        *("grant_type", "client_id", "client_secret", "code", "code_verifier", "redirect_uri", "refresh_token"),
        *("scope", "resource", "token", "token_type_hint"),
    }
)
"""All that is read of a form. oauthlib makes every field an attribute of its request: none may pass for one of ours."""


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


def _form_only(view: View) -> View:
    """A view that is given a well-formed form, in which each field stands once (RFC 6749 §3.2), or not called."""

    @wraps(view)
    def answered(request: HttpRequest) -> HttpResponse:
        if request.content_type != FORM:
            return _refused(f"The body must be a form ({FORM}).")
        try:
            given = dict(request.POST.lists())
        except (BadRequest, SuspiciousOperation):  # another encoding, too many fields
            return _refused("The form cannot be read.")
        kept = QueryDict(mutable=True)
        for name in _FIELDS & given.keys():
            if len(given[name]) > 1 and name != "resource":
                return _refused(f"{name} may be given only once.")
            kept.setlist(name, given[name])
        request.POST = kept  # type: ignore[assignment]
        return view(request)

    return answered


def _refused(sentence: str) -> HttpResponse:
    return JsonResponse({"error": "invalid_request", "error_description": sentence}, status=400)


@for_any_origin("GET", "HEAD")
def metadata(request: HttpRequest) -> HttpResponse:
    """RFC 8414."""
    return OAuthServerMetadataView.as_view()(request)


@for_any_origin("POST")
@_form_only
def token(request: HttpRequest) -> HttpResponse:
    """Codes and refresh tokens for access tokens (RFC 6749 §3.2)."""
    _, headers, body, status = get_oauthlib_core().create_token_response(request)
    return _answer(request, headers, body, status)


@for_any_origin("POST")
@_form_only
def revoke(request: HttpRequest) -> HttpResponse:
    """End what a token belongs to (RFC 7009)."""
    _, headers, body, status = get_oauthlib_core().create_revocation_response(request)
    return _answer(request, headers, body, status)


def _answer(request: HttpRequest, headers: dict[str, str], body: str | None, status: int) -> HttpResponse:
    response = HttpResponse(body or "", status=status, content_type="application/json")
    for name, value in headers.items():
        response[name] = value
    if status == HTTPStatus.UNAUTHORIZED and request.headers.get("Authorization", "")[:6].lower() == "basic ":
        response["WWW-Authenticate"] = 'Basic realm="metaagent"'  # the scheme that was used (RFC 6749 §5.2)
    return response
