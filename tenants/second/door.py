"""The door behind the log-in pages: who has shown a password, a passkey or an issuer's word comes in here.

allauth decides whether a second factor is wanted first; what it would do besides (make people, send e-mail, pages of
its own) is switched off.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, cast

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.internal.flows import login as flow
from allauth.account.models import Login
from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from audit.events import EventKind
from tenants import access, onward, refusals, services
from tenants.models import User

_WAYS = {
    "password": EventKind.LOGIN_DONE,
    "socialaccount": EventKind.LOGIN_SINGLE_DONE,
    "mfa": EventKind.LOGIN_PASSKEY_DONE,
}
"""By what allauth calls the first thing that was shown."""


class Door(DefaultAccountAdapter):
    """What allauth asks us about people."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:  # noqa: ARG002 - allauth's signature
        """Nobody makes themselves a user; administrators invite."""
        return False

    def get_login_stages(self) -> list[str]:
        """What comes between a right password and being logged in."""
        return ["allauth.mfa.stages.AuthenticateStage"]

    def is_reauthentication_required(self, *, app: str, **_: object) -> bool:  # noqa: ARG002 - allauth's signature
        """Never by its own reckoning: our addresses ask for a recent password themselves (`access.recently`)."""
        return False

    def is_safe_url(self, url: str) -> bool:
        """Whether somebody may be sent there."""
        return onward.ours(url)

    def get_client_ip(self, request: HttpRequest) -> str:
        """What its limits count by."""
        return refusals.address(request)

    def login(self, request: HttpRequest, user: User) -> None:
        """They are in. What was shown counts as a recent password, unless an issuer's word was all: it may be old."""
        shown = flow.get_authentication_records(request, user)
        first = next((each for each in reversed(shown) if each["method"] != "mfa" or each.get("passwordless")), None)
        way = first["method"] if first else "password"
        factor = shown[-1]["type"] if shown and shown[-1] is not first else None
        with transaction.atomic():
            super().login(request, user)
            services.tell(_WAYS[way], user=user, by=user.pk, **({"factor": factor} if factor else {}))
        if way != "socialaccount" or factor:
            access.confirm(request, now=datetime.now(UTC))

    def respond_user_inactive(self, request: HttpRequest, user: User) -> HttpResponse:  # noqa: ARG002 - allauth's signature
        """Somebody who may not log in any more."""
        messages.error(request, "You cannot log in any more. Ask your administrator.")
        return redirect("login")

    def add_message(
        self,
        request: HttpRequest,
        level: int,
        message_template: str | None = None,  # noqa: ARG002 - our pages say it in their own words
        message_context: dict[str, Any] | None = None,  # noqa: ARG002 - see above
        extra_tags: str = "",
        message: str | None = None,
    ) -> None:
        """What is not a template's."""
        if message:
            messages.add_message(request, level, message, extra_tags=extra_tags)

    def send_mail(self, *_: object) -> None:
        """Nothing is sent."""


def let_in(request: HttpRequest, user: User, wanted: str) -> HttpResponse:
    """On to `wanted`, or first to the page that asks for the second factor."""
    return cast("HttpResponse", flow.perform_password_login(request, {}, Login(user=user, redirect_url=wanted)))
