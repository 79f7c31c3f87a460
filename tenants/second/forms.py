"""Codes as they are typed in: allauth's forms, held to one use of a code."""

from __future__ import annotations

from allauth.mfa.adapter import get_adapter
from allauth.mfa.base.forms import AuthenticateForm, ReauthenticateForm
from allauth.mfa.models import Authenticator
from django.core.cache import cache

from tenants import refusals

_GOOD_FOR_S = 90
"""How long an app's code may be right: its own half minute, and those before and after."""


class Code(AuthenticateForm):
    """The second step of logging in."""

    def clean_code(self) -> str:
        """What was typed. Raises: ValidationError when it is not right, was used, or too many were not."""
        code: str = super().clean_code()
        if self.authenticator.type == Authenticator.Type.TOTP:
            digits = "".join(filter(str.isdigit, code))
            if not cache.add(refusals.counter("code-used", f"{self.user.pk} {digits}"), 1, timeout=_GOOD_FOR_S):
                raise get_adapter().validation_error("incorrect_code")
        return code


class CodeAgain(Code, ReauthenticateForm):
    """Somebody who is logged in shows that it is still them."""
