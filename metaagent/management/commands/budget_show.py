"""`budget_show TENANT`: what a tenant and its people have used today, and what they may use."""

from dataclasses import asdict
from typing import Any

from django.core.management.base import CommandParser

from metaagent.management.answering import Answering, Found, tenant_named
from tenants import budgets


class Command(Answering):
    """Show today's budgets."""

    help = "Show what a tenant and its people have used today (UTC), and what they may use."

    def arguments(self, parser: CommandParser) -> None:
        """The tenant."""
        parser.add_argument("tenant")

    def work(self, **options: Any) -> Found:
        """Show them."""
        tenant = tenant_named(options["tenant"])
        limits, today = budgets.limits_of(tenant.pk), budgets.today(tenant.pk, now=budgets.clock())
        lines = [
            f"Today, {today.day} UTC; what is reserved for asks being worked counts as used.",
            _line("", [*_HEADINGS]),
            _line(tenant.slug, _shown(today.tenant)),
            _line("  may use", _shown(limits.tenant, none="-")),
            *(_line(email, _shown(used)) for email, used in today.people),
            _line("  each may use", _shown(limits.user, none="-")),
        ]
        return {
            "tenant": tenant.slug,
            "day": today.day,
            "limits": {"tenant": asdict(limits.tenant), "user": asdict(limits.user)},
            "used": asdict(today.tenant),
            "people": [{"email": email, "used": asdict(used)} for email, used in today.people],
            "text": "\n".join(lines),
        }


_HEADINGS = ("turns", "calls", "tokens", "US$", "seconds")


def _shown(use: budgets.Use, *, none: str = "0") -> list[str]:
    plain = [f"{use.turns:,}", f"{use.calls:,}", f"{use.tokens:,}", f"{use.micros / 1e6:,.4f}", f"{use.ms / 1e3:,.1f}"]
    counted = (use.turns, use.calls, use.tokens, use.micros, use.ms)
    return [text if count else none for text, count in zip(plain, counted, strict=True)]


def _line(who: str, cells: list[str]) -> str:
    return f"{who[:40]:<40}" + "".join(f"{cell:>15}" for cell in cells)
