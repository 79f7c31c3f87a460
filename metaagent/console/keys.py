"""The vault of a tenant: its data keys, what each has sealed, and rotating them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from tenants import access
from tenants.models import Membership
from vault import selectors
from vault.services import keys as keeping
from vault.services import rotate

if TYPE_CHECKING:
    from vault.selectors import KeyVersion


@dataclass(frozen=True, slots=True)
class Line:
    """One key in the table."""

    key: KeyVersion
    kept_by: str


@require_safe
@access.open_to(access.LOOK)
def keys(request: HttpRequest, member: Membership) -> HttpResponse:
    """The keys; while they are rotated, the page asks for this part of itself again and again."""
    vault = selectors.vault(member.tenant_id)
    context: dict[str, object] = {
        "vault": vault,
        "lines": [Line(key, keeping.kept_by(key.kek_uri)) for key in vault.keys],
        "usable": keeping.usable(),
        "stuck": selectors.under_old_keys(member.tenant_id) if vault.unreadable else [],
        "owns": member.role in access.OWN,
    }
    if getattr(request, "htmx", False):
        return render(request, "console/key_versions.html", {"tenant": member.tenant, **context})
    return access.shown(request, member, "console/keys.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@access.open_to(access.OWN)
@access.weighty
def rotate_keys(request: HttpRequest, member: Membership) -> HttpResponse:
    """Says what will happen; the button begins it, and the rest goes on in the background."""
    if request.method != "POST":
        context: dict[str, object] = {"vault": selectors.vault(member.tenant_id), "usable": keeping.usable()}
        return access.shown(request, member, "console/rotate.html", context)
    try:
        begun = rotate.begin(tenant_id=member.tenant_id, by=member.user_id)
    except keeping.KeysUnavailable as unavailable:
        messages.error(request, f"{unavailable} Nothing has changed. Try again when it answers.")
    else:
        if not begun:
            messages.warning(request, "There is no key to replace, or a rotation is under way already.")
    return redirect("console_keys", member.tenant.slug)
