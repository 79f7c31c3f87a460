"""Is it still you? Whoever is logged in shows something once more: the password, a code, or a passkey."""

from __future__ import annotations

from typing import Any

from allauth.mfa.webauthn.forms import ReauthenticateWebAuthnForm
from allauth.mfa.webauthn.internal import auth
from django.http import HttpRequest

from tenants import single
from tenants.models import User
from tenants.second import factors
from tenants.second.forms import CodeAgain


def ways(user: User) -> dict[str, Any]:
    """What this person may show, for the page that asks."""
    owned = factors.owned_by(user)
    found: dict[str, Any] = {"password": user.has_usable_password(), "factors": owned}
    if single.offered() and single.links_of(user).exists():
        found["single"] = single.offered()
    if owned.passkeys:
        found["js_data"] = {"request_options": auth.begin_authentication(user)}
    return found


def right(request: HttpRequest, user: User) -> bool:
    """Whether what was sent is theirs."""
    if "code" in request.POST:
        form = CodeAgain(user=user, data=request.POST)
    elif "credential" in request.POST:
        form = ReauthenticateWebAuthnForm(user=user, data=request.POST)
    else:
        return user.check_password(request.POST.get("password", "")[:4_096])
    if not form.is_valid():
        return False
    form.save()
    return True
