"""Where somebody goes on to after a page that stopped them: one of our own, named by `next`."""

from __future__ import annotations

from typing import TypeVar
from urllib.parse import urlsplit

from csp.decorators import csp_update
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.http import url_has_allowed_host_and_scheme

R = TypeVar("R", bound=HttpResponse)


def ours(wanted: str) -> bool:
    """Whether it is an address of our own."""
    path = wanted.partition("?")[0]  # only this decides where it leads, and the check refuses long queries
    return path.startswith("/") and url_has_allowed_host_and_scheme(path, allowed_hosts=None)


def wanted(request: HttpRequest) -> str:
    """What the request names, or the front page."""
    named = request.POST.get("next") or request.GET.get("next") or ""
    return named if ours(named) else settings.LOGIN_REDIRECT_URL


def letting_in(onward: str) -> bool:
    """Whether it asks to let a client in."""
    return onward.startswith("/o/authorize/")


def may_leave(request: HttpRequest, response: R, onward: str) -> R:
    """The same page, whose form may end elsewhere, for browsers hold each redirect of a form to its page's policy.

    A request that cannot be granted leads straight back to its client; single sign-on leads wherever the issuer does.
    """
    leaving = []
    if letting_in(onward):
        leaving = ["http:", "https:", *(f"{scheme}:" for scheme in settings.NATIVE_SCHEMES)]
    elif settings.OIDC_ISSUER:
        leaving = ["https:", "{0.scheme}://{0.netloc}".format(urlsplit(settings.OIDC_ISSUER))]
    if leaving:
        csp_update({"form-action": leaving})(lambda _: response)(request)
    return response
