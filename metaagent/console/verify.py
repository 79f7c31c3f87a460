"""Whether the audit log is what was sealed: what is known of it, having it checked, and checkpoints to take away."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_http_methods, require_safe

from audit import selectors as log
from audit import services as audit
from audit import verification
from audit.events import EventKind
from audit.sealing import signer
from tenants import access
from tenants.models import Membership


@require_http_methods(["GET", "HEAD", "POST"])
@access.open_to(access.LOOK)
def verify(request: HttpRequest, member: Membership) -> HttpResponse:
    """What is sealed and what the last check found; a POST has it checked in the background."""
    if request.method == "POST":
        verification.ask(tenant_id=member.tenant_id, user_id=member.user_id, now=datetime.now(UTC))
        messages.success(request, "The whole log will be checked. That goes on when you leave this page.")
        return redirect("console_verify", member.tenant.slug)
    sealed = log.sealed(member.tenant_id)
    context: dict[str, object] = {
        "sealed": sealed,
        "state": sealed.verification if sealed else None,
        "outside": bool(settings.AUDIT_CHECKPOINT_DIR),
        "public_key": signer().public,
        "file": f"{member.tenant_id}.jsonl",
    }
    part = bool(request.htmx)  # type: ignore[attr-defined]  # django-htmx
    return access.shown(request, member, "audit/verify_state.html" if part else "audit/verify.html", context)


@require_safe
@access.open_to(access.LOOK)
@access.weighty
def checkpoints(_request: HttpRequest, member: Membership) -> StreamingHttpResponse:
    """The tenant's checkpoints as they are signed, one a line."""
    audit.record(EventKind.EXPORTED, tenant_id=member.tenant_id, user_id=member.user_id, format="checkpoints")
    answer = StreamingHttpResponse(_lines(member.tenant_id), content_type="application/jsonl; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="{member.tenant_id}.jsonl"'
    return answer


async def _lines(tenant_id: UUID) -> AsyncIterator[str]:
    async for checkpoint in log.all_checkpoints(tenant_id):
        yield checkpoint.line() + "\n"
