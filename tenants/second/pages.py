"""Pages about the second factor: asked for when logging in, set up and taken away by its owner.

They are allauth's views at addresses of our own (`tenants/second/urls.py`), with our templates, and each leaves its
event in all tenants of the person.
"""

from __future__ import annotations

from typing import Any, cast

from allauth.mfa.base.views import AuthenticateView
from allauth.mfa.recovery_codes.views import GenerateRecoveryCodesView, ViewRecoveryCodesView
from allauth.mfa.totp.views import ActivateTOTPView, DeactivateTOTPView
from allauth.mfa.webauthn.views import AddWebAuthnView, LoginWebAuthnView, RemoveWebAuthnView
from django.contrib import messages
from django.db import transaction
from django.forms import Form
from django.http import HttpRequest, HttpResponse
from django.urls import reverse

from audit.events import EventKind
from tenants import onward, services
from tenants.models import User
from tenants.second import factors

TOO_MANY = "too_many_login_attempts"
"""allauth's word for a person whose codes were wrong too often."""


class Enter(AuthenticateView):
    """The second step of logging in."""

    template_name = "second/enter.html"

    def form_invalid(self, form: Form) -> HttpResponse:
        """Once more, and on record; too many have been recorded already."""
        many = form.has_error("code", TOO_MANY) or form.has_error("credential", TOO_MANY)
        if not many:
            user = cast("User", self.stage.login.user)
            services.tell(EventKind.FACTOR_REFUSED, user=user, by=user.pk)
        response: HttpResponse = super().form_invalid(form)
        response.status_code = 429 if many else 401
        return response

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:  # noqa: ANN401 - allauth's signature
        """What they may show."""
        return {**super().get_context_data(**kwargs), "factors": factors.owned_by(self.stage.login.user)}

    def render_to_response(self, context: dict[str, Any], **kwargs: Any) -> HttpResponse:  # noqa: ANN401 - Django's
        """The form may end at a client, as the log-in page's may."""
        response: HttpResponse = super().render_to_response(context, **kwargs)
        return onward.may_leave(self.request, response, self.stage.login.redirect_url or "")


class _Changing:
    """A form that changes somebody's factors: done and on record, or neither."""

    request: HttpRequest
    kind: EventKind
    factor: str
    said: str

    def form_valid(self, form: Form) -> HttpResponse:
        """Do it."""
        with transaction.atomic():
            response: HttpResponse = super().form_valid(form)  # type: ignore[misc] # of the view it is mixed into
            user = cast("User", self.request.user)
            services.tell(self.kind, user=user, by=user.pk, factor=self.factor)
        messages.success(self.request, self.said)
        return response

    def form_invalid(self, form: Form) -> HttpResponse:
        """Once more."""
        response: HttpResponse = super().form_invalid(form)  # type: ignore[misc] # see above
        response.status_code = 400
        return response


class App(_Changing, ActivateTOTPView):
    """Set up a program that makes codes."""

    template_name = "second/app.html"
    kind, factor = EventKind.FACTOR_ADDED, "totp"
    said = "From now on logging in asks for a code of your app."


class AppOff(_Changing, DeactivateTOTPView):
    """Take it away."""

    template_name = "second/app_off.html"
    kind, factor = EventKind.FACTOR_REMOVED, "totp"
    said = "Codes of your app are no longer asked for."


class Codes(ViewRecoveryCodesView):
    """The recovery codes that are left."""

    template_name = "second/codes.html"


class CodesAnew(_Changing, GenerateRecoveryCodesView):
    """Other recovery codes in place of these."""

    template_name = "second/codes_anew.html"
    kind, factor = EventKind.FACTOR_ADDED, "recovery_codes"
    said = "These are your new recovery codes. The old ones are void."


class PasskeyAdd(_Changing, AddWebAuthnView):
    """Add a passkey."""

    template_name = "second/passkey.html"
    kind, factor = EventKind.FACTOR_ADDED, "passkey"
    said = "The passkey is added."


class PasskeyRemove(_Changing, RemoveWebAuthnView):
    """Take one away."""

    template_name = "second/passkey_remove.html"
    kind, factor = EventKind.FACTOR_REMOVED, "passkey"
    said = "The passkey is removed."

    def get_success_url(self) -> str:
        """Back to the list."""
        return reverse("mfa_index")


class PasskeyLogin(LoginWebAuthnView):
    """Log in with a passkey alone. A script asks for the challenge first; the log-in page holds its form."""
