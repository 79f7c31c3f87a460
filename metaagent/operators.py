"""`/admin/`: operators look at metadata and end what has to end. Whatever is not named here is not there.

Django's own pages, without those that log in or change a password: the first is `/login/`'s matter, with its pauses
and its second factor, the second its person's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from django.contrib.admin import AdminSite
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import URLPattern, URLResolver

from audit import admin as audit
from providers import admin as providers
from tenants import access, views
from tenants import admin as tenants
from tenants.oauth import admin as oauth
from vault import admin as vault

_LEFT_OUT = {"login", "password_change", "password_change_done", "autocomplete", "view_on_site"}


class Operators(AdminSite):
    """The pages, for those who are operators; to anybody else who has logged in there is nothing here."""

    site_title = site_header = "metaagent for operators"
    index_title = "Look, and end what has to end"
    enable_nav_sidebar = False

    def admin_view(self, view: Callable[..., Any], cacheable: bool = False) -> Any:  # noqa: ANN401, FBT001, FBT002 - Django's signature
        """Every page here: for operators, and what is sent to it wants a recent password."""
        inner = super().admin_view(view, cacheable)

        def page(request: HttpRequest, *args: object, **kwargs: object) -> HttpResponseBase:
            if not self.has_permission(request):
                raise Http404
            if request.method not in {"GET", "HEAD"} and view != self.logout:
                return access.recently(inner)(request, *args, **kwargs)
            return cast("HttpResponseBase", inner(request, *args, **kwargs))

        return login_required(page)

    def get_urls(self) -> list[URLPattern | URLResolver]:
        """Django's, but for what is not ours to offer."""
        return [each for each in super().get_urls() if getattr(each, "name", None) not in _LEFT_OUT]

    def logout(self, request: HttpRequest, extra_context: object = None) -> HttpResponse:  # type: ignore[override]  # noqa: ARG002 - Django's signature
        """As everywhere."""
        return views.logout_page(request)


site = Operators(name="admin")
for app in (audit, tenants, oauth, providers, vault):
    for model, shown in app.PAGES.items():
        site.register(model, shown)
