"""What a tenant lets its providers and its people do: each provider's rules side by side, and the days' budgets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from http import HTTPStatus
from typing import Final

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_http_methods

from metaagent.console.provider import LIMITS
from providers import selectors as providers
from providers.models import Installation
from tenants import access, budgets
from tenants.budgets import DayLimits, Scope, Use
from tenants.models import Membership
from tenants.services import Refused

_EXPOSURES: Final = {"soft": "Sees it", "strict": "Does not see it"}
_CONSENTS: Final = {
    "never": "Never: connecting is enough",
    "first_use": "Once by each client",
    "writes": "Before something is changed",
    "always": "Every time",
}
_A_PAGE: Final = 50
_PEOPLE: Final = 10
"""Whose use is shown: of those who used most."""
_LONGEST: Final = 40
_NUMBER: Final = re.compile(r"[0-9]{1,16}(?:\.[0-9]{1,6})?")


@dataclass(frozen=True, slots=True)
class Unit:
    """One thing that is budgeted: its column, what people call it, and how many of the column one of theirs is."""

    name: str
    title: str
    size: int = 1

    def shown(self, number: int) -> str:
        """As people write it."""
        return f"{Decimal(number) / self.size:,.6f}".rstrip("0").rstrip(".")

    def read(self, typed: str) -> int:
        """What somebody typed, as it is counted; nothing is 0. Raises: Refused."""
        plain = typed.replace(",", "").replace(" ", "")
        number = Decimal(plain) * self.size if _NUMBER.fullmatch(plain) else None
        if plain and (not number or number % 1):
            raise Refused(f"{self.title} must be a number above 0, such as 100, or empty. “{typed[:_LONGEST]}” is not.")
        return int(number or 0)


_UNITS: Final = (
    Unit("micros", "US dollars", 1_000_000),
    Unit("tokens", "Tokens"),
    Unit("turns", "Model turns"),
    Unit("calls", "Tool calls"),
    Unit("ms", "Seconds", 1_000),
)


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules of one provider."""

    slug: str
    title: str
    enabled: bool
    unconnected: str
    asked: str
    limits: list[str]


@dataclass(frozen=True, slots=True)
class Budget:
    """One limit of a day, as the form shows it."""

    name: str
    title: str
    typed: str
    granted: str
    """By the deployment; empty: it has no limit."""
    used: str
    """Today; empty where that is told for each person."""
    part: int
    """Of what may be used, in percent."""
    smaller: bool
    """The deployment's limit is smaller than the tenant's own, and counts."""


@require_http_methods(["GET", "HEAD", "POST"])
@access.open_to(access.RUN)
def policies(request: HttpRequest, member: Membership) -> HttpResponse:
    """All of them on one page; the budgets are set here."""
    tenant, problem, typed = member.tenant, "", _written(budgets.own(member.tenant))
    if request.method == "POST":
        typed = {name: request.POST.get(name, "")[:_LONGEST].strip() for name in typed}
        try:
            budgets.set_budgets(tenant=tenant, limits=_read(typed), by=member.user_id)
        except Refused as refused:
            problem = str(refused)
        else:
            messages.success(request, "Saved. The budgets hold from now on.")
            return redirect("console_policies", tenant.slug)
    rows = list(providers.installed(tenant.pk).filter(slug__gt=request.GET.get("after", ""))[: _A_PAGE + 1])
    granted, holds = budgets.granted(), budgets.limits_of(tenant.pk)
    today = budgets.today(tenant.pk, now=budgets.clock(), most=_PEOPLE)
    context: dict[str, object] = {
        "policies": [_policy(row) for row in rows[:_A_PAGE]],
        "after": rows[_A_PAGE - 1].slug if len(rows) > _A_PAGE else "",
        "everybody": [_budget("tenant", each, typed, granted.tenant, holds.tenant, today.tenant) for each in _UNITS],
        "each": [_budget("user", each, typed, granted.user, holds.user, None) for each in _UNITS],
        "units": [each.title for each in _UNITS],
        "people": [(email, [each.shown(getattr(used, each.name)) for each in _UNITS]) for email, used in today.people],
        "problem": problem,
    }
    status = HTTPStatus.BAD_REQUEST if problem else HTTPStatus.OK
    return access.shown(request, member, "console/policies.html", context, status=status)


def _policy(row: Installation) -> Policy:
    return Policy(
        row.slug,
        providers.title_of(row),
        row.enabled,
        _EXPOSURES[row.exposure],
        _CONSENTS[row.consent],
        [f"{LIMITS[name][0]}: {number:,}" for name, number in row.limits.items() if name in LIMITS],
    )


def _budget(scope: Scope, unit: Unit, typed: Mapping[str, str], granted: Use, holds: Use, used: Use | None) -> Budget:
    name = f"{scope}_{unit.name}"
    lent, limit = getattr(granted, unit.name), getattr(holds, unit.name)
    gone = getattr(used, unit.name) if used else 0
    return Budget(
        name=name,
        title=unit.title,
        typed=typed[name],
        granted=unit.shown(lent) if lent else "",
        used=unit.shown(gone) if used else "",
        part=min(100, round(100 * gone / limit)) if limit else 0,
        smaller=bool(lent and typed[name] and limit == lent),
    )


def _written(limits: DayLimits) -> dict[str, str]:
    scopes = (("tenant", limits.tenant), ("user", limits.user))
    return {
        f"{scope}_{unit.name}": unit.shown(number) if (number := getattr(use, unit.name)) else ""
        for scope, use in scopes
        for unit in _UNITS
    }


def _read(typed: Mapping[str, str]) -> DayLimits:
    """Raises: Refused."""
    return DayLimits(
        *(
            Use(**{unit.name: unit.read(typed[f"{scope}_{unit.name}"]) for unit in _UNITS})
            for scope in ("tenant", "user")
        )
    )
