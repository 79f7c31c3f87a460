"""A box that asks a provider as oneself, and shows the steps taken."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_http_methods

from audit import selectors as log
from metaagent.agent.failures import AccountAmbiguous, ExportHidden, Failure
from metaagent.agent.types import PROMPT_CHARS, Answer, Principal
from metaagent.console.log import Line, lines
from tenants import access
from tenants.models import Membership
from tenants.selectors import CONSOLE
from vault.selectors import exports_of

_WAYS = {
    "route": "One sure way, without a model",
    "tool": "The tool that was named, without a model",
    "replay": "As it was answered before, without a model",
    "plan": "A model chose the tools",
    "loop": "A model looked step by step",
    "approved": "The call that you approved",
    "degraded": "The best reads, since no model was to be had",
}
_NOT_SERVED = "This process serves pages alone. Open this page where the endpoint runs."


@dataclass(frozen=True, slots=True)
class Said:
    """What came of an ask."""

    text: str
    failed: str = ""
    """The code it failed with."""
    opens: str = ""
    """The page that helps."""
    accounts: tuple[tuple[str, str], ...] = ()
    """Id and name of those it may be asked as, when that has to be said."""
    run: str = ""
    way: str = ""
    citations: tuple[tuple[str, str], ...] = ()
    """Title and address; the address is empty where it leads nowhere."""
    usage: Mapping[str, int] | None = None
    steps: tuple[Line, ...] = ()


@require_http_methods(["GET", "HEAD", "POST"])
@access.open_to(access.LOOK)
def try_page(request: HttpRequest, member: Membership) -> HttpResponse:
    """The question and, once it is sent, its answer below; nothing more is allowed here than in any client."""
    exports = exports_of(member.tenant_id, member.user_id)
    given = {name: request.POST.get(name, "") for name in ("provider", "prompt", "dry_run", "account")}
    given["provider"] = given["provider"] or request.GET.get("provider", "")
    said = _asked(member, given, exports) if request.method == "POST" else None
    shown: dict[str, object] = {
        "exports": exports,
        "given": given,
        "said": said,
        "longest": PROMPT_CHARS,
    }
    part = "console/try_answer.html" if request.headers.get("HX-Request") == "true" else "console/try.html"
    return access.shown(request, member, part, shown)


def _asked(member: Membership, given: Mapping[str, str], exports: list[tuple[str, str]]) -> Said:
    # Where the endpoint runs these are loaded; every other process that knows the pages would load the MCP SDK.
    from metaagent.endpoint.tools import AskDefaults, ask_from  # noqa: PLC0415
    from metaagent.wiring import page  # noqa: PLC0415

    if given["provider"] not in dict(exports):
        return Said("Choose one of the providers.", failed="ask_invalid")
    principal = Principal(tenant_id=member.tenant_id, tenant=member.tenant.slug, user_id=member.user_id, client=CONSOLE)
    arguments: dict[str, object] = {"prompt": given["prompt"], "options": {"dryRun": bool(given["dry_run"])}}
    if given["account"]:
        arguments["accountId"] = given["account"]
    try:
        ask = ask_from(arguments, AskDefaults(settings.ANSWER_TOKENS))
        return _answered(member, page.ask(principal, given["provider"], ask))
    except ExportHidden:
        return Said("Choose one of the providers.", failed="ask_invalid")
    except AccountAmbiguous as failure:
        said = "Several accounts are connected. Choose one:"
        return Said(said, failed=failure.code, accounts=failure.accounts, run=failure.telemetry_id)
    except Failure as failure:
        opens = getattr(failure, "connect_url", "") or getattr(failure, "url", "")
        return Said(
            failure.message,
            failed=failure.code,
            opens=_leads(opens),
            run=failure.telemetry_id,
            steps=_steps(member, failure.telemetry_id),
        )
    except page.NotServed:
        return Said(_NOT_SERVED, failed="internal")


def _answered(member: Membership, answer: Answer) -> Said:
    return Said(
        answer.text,
        run=answer.telemetry_id,
        way=_WAYS.get(answer.mode, answer.mode),
        citations=tuple((each.title, _leads(each.url or "")) for each in answer.citations),
        usage=answer.usage,
        steps=_steps(member, answer.telemetry_id),
    )


def _steps(member: Membership, run_id: str) -> tuple[Line, ...]:
    """What is on record of the run; an intent and its outcome are one step."""
    if not run_id:
        return ()
    rows = log.of_run(member.tenant_id, run_id)
    ended = {row.intent_id for row in rows}
    return tuple(lines(member, [row for row in rows if row.id not in ended]))


def _leads(url: str) -> str:
    """The address, if a browser may be sent there."""
    return url if urlsplit(url).scheme in {"http", "https"} else ""
