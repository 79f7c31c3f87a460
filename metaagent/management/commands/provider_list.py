"""`provider_list TENANT`: what a tenant exports."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import CommandParser

from metaagent.installations import health_of
from metaagent.management.answering import Answering, Found, tenant_named
from providers import health, selectors
from providers.models import Installation
from vault.links import callback_url


class Command(Answering):
    """List installations."""

    help = "List what a tenant has installed: how it is exported, how it does, and what somebody should look at."

    def arguments(self, parser: CommandParser) -> None:
        """The tenant."""
        parser.add_argument("tenant")

    def work(self, **options: Any) -> Found:
        """List them."""
        tenant = tenant_named(options["tenant"])
        does = health_of(tenant.pk, now=datetime.now(UTC))
        listed = [_facts(row, does[row.pk]) for row in selectors.installed(tenant.pk) if row.pk in does]
        text = "\n".join(line for row in listed for line in _lines(row))
        return {"providers": listed, "text": text or "Nothing is exported yet. Run: manage.py provider_install"}


def _facts(row: Installation, does: health.Health) -> dict[str, Any]:
    spec = selectors.spec_of(row)
    return {
        "id": row.pk,
        "slug": row.slug,
        "tool": f"use_{row.slug}",
        "source": row.source,
        "exposure": row.exposure,
        "consent": row.consent,
        "api_base": spec.api_base,
        "scopes": list(spec.oauth.scopes),
        "unused_scopes": list(selectors.unneeded_scopes(spec, spec.oauth.scopes)),
        "connect_url": row.connect_url or None,
        "redirect_uri": callback_url(row.pk),
        "enabled": row.enabled,
        "limits": row.limits,
        "health": {
            "last_success": does.last_success,
            "hour": _calls(does.hour),
            "day": _calls(does.day),
            "errors": dict(does.codes),
            "breaker": _breaker(does.breaker),
            "connections": asdict(does.connections),
            "review": does.review,
        },
        "attention": health.worth_a_look(does),
    }


def _calls(calls: health.Calls) -> dict[str, Any]:
    return {"calls": calls.made, "failed": calls.failed, "error_rate": calls.error_rate}


def _breaker(breaker: health.Breaker | None) -> dict[str, Any]:
    if breaker is None:
        return {"state": "known to the serving process only"}
    state = "open" if breaker.open else "closed"
    return {"state": state, "failures": breaker.failures, "accounts_paused": breaker.paused}


def _lines(row: dict[str, Any]) -> list[str]:
    off = "" if row["enabled"] else "  (switched off)"
    does, ready = row["health"], row["health"]["connections"]["ready"]
    lines = [
        f"{row['tool']:<20} {row['exposure']:<7} {row['api_base']}{off}",
        f"  hour: {_share(does['hour'])}; day: {_share(does['day'])}; last success: {_when(does['last_success'])}",
        f"  {ready} connection{'' if ready == 1 else 's'} ready; breaker: {does['breaker']['state']}",
    ]
    if row["limits"]:
        lines.append("  limits: " + ", ".join(f"{name}={number}" for name, number in sorted(row["limits"].items())))
    lines += [f"  ! {sentence}" for sentence in row["attention"]]
    if row["connect_url"]:
        lines.append(f"  people connect at {row['connect_url']}")
    if row["unused_scopes"]:
        needed = " ".join(scope for scope in row["scopes"] if scope not in row["unused_scopes"])
        lines.append(
            f"  asks for what no tool needs: {' '.join(row['unused_scopes'])}. "
            f'Leave it out with: manage.py provider_install TENANT {row["slug"]} --scopes "{needed}"'
        )
    return lines


def _share(calls: dict[str, Any]) -> str:
    if not calls["calls"]:
        return "no calls"
    return f"{calls['calls']:,} calls, {calls['error_rate']:.1%} failed"


def _when(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC" if at else "none in a day"
