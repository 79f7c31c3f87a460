"""Leaving a tenant, from one's own account."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import cast
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.http import require_POST

from tenants import selectors as tenants
from tenants.models import User
from tenants.services import Refused
from vault.services import leave as leaving


@login_required
@require_POST
def leave(request: HttpRequest, membership_id: UUID) -> HttpResponse:
    """Go, with all one could do there."""
    user = cast("User", request.user)
    row = get_object_or_404(tenants.memberships_of(user), pk=membership_id)
    try:
        leaving.remove_member(membership=row, by=user.pk, now=datetime.now(UTC))
    except Refused as refused:
        messages.error(request, str(refused))
    else:
        messages.success(request, f"You have left {row.tenant.name}.")
    return redirect("account")
