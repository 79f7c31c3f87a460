"""REST: how providers do, and what is asked and used."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from rest_framework import serializers

from metaagent.installations import health_of
from providers.api import installed_at
from providers.health import worth_a_look
from tenants import asked as figures
from tenants import budgets
from tenants.access import LOOK
from tenants.api.bodies import BadQuery, Strict
from tenants.api.operations import Asked, Endpoint, operation
from tenants.api.people import Use

_DAYS = 30
_MOST = timedelta(days=400)


class Calls(serializers.Serializer[Any]):
    """What became of calls; what the result cache answered is none."""

    made = serializers.IntegerField()
    failed = serializers.IntegerField()


class Accounts(serializers.Serializer[Any]):
    """How many connections are in which state."""

    ready = serializers.IntegerField()
    needs_auth = serializers.IntegerField()
    revoking = serializers.IntegerField()
    ending = serializers.IntegerField(help_text="Of the ready ones: the provider ends them within seven days.")


class Health(serializers.Serializer[Any]):
    """How a provider does."""

    hour = Calls()
    day = Calls()
    last_success = serializers.DateTimeField(allow_null=True)
    codes = serializers.DictField(child=serializers.IntegerField(), help_text="Why calls of the day failed.")
    left_alone = serializers.BooleanField(allow_null=True, help_text="After failures in a row; null: not known here.")
    connections = Accounts()
    attention = serializers.ListField(child=serializers.CharField(), help_text="What somebody should look at.")


class HealthItem(Endpoint):
    """`installations/{slug}/health/`."""

    tag = "Providers"

    @operation(name="get_health", roles=LOOK, answer=Health)
    def get(self, asked: Asked, slug: str) -> dict[str, Any]:
        """See how a provider does: its calls, its connections, and what somebody should look at."""
        row = installed_at(asked, slug)
        found = health_of(asked.caller.tenant_id, now=asked.now)[row.pk]
        return {
            "hour": asdict(found.hour),
            "day": asdict(found.day),
            "last_success": found.last_success,
            "codes": dict(found.codes),
            "left_alone": found.breaker.open if found.breaker else None,
            "connections": asdict(found.connections),
            "attention": worth_a_look(found),
        }


# --- What is asked


class Tally(serializers.Serializer[Any]):
    """Asks counted together."""

    asks = serializers.IntegerField()
    answered = serializers.IntegerField()
    failed = serializers.IntegerField()
    without_model = serializers.FloatField(allow_null=True, help_text="The part of the answered, from 0 to 1.")
    p50_ms = serializers.FloatField(allow_null=True)
    p95_ms = serializers.FloatField(allow_null=True)
    p99_ms = serializers.FloatField(allow_null=True)
    tokens = serializers.IntegerField(help_text="Of models.")
    micros = serializers.IntegerField(help_text="Micro-dollars.")
    saved = serializers.IntegerField(help_text="Tokens of tool lists that clients did not have to read.")
    ways = serializers.DictField(child=serializers.IntegerField(), help_text="How the answered were worked.")
    codes = serializers.DictField(child=serializers.IntegerField(), help_text="Why the others failed.")


class Moment(serializers.Serializer[Any]):
    """An hour or a day."""

    at = serializers.DateTimeField(help_text="When it begins.")
    tally = Tally()


class OfProvider(serializers.Serializer[Any]):
    """A provider's part."""

    provider = serializers.CharField()
    tally = Tally()


class OfPerson(serializers.Serializer[Any]):
    """A person's part, in whole days."""

    email = serializers.CharField()
    asks = serializers.IntegerField()
    failed = serializers.IntegerField()
    ms = serializers.IntegerField()
    tokens = serializers.IntegerField()
    micros = serializers.IntegerField()
    saved = serializers.IntegerField()


class Usage(serializers.Serializer[Any]):
    """What became of a tenant's asks."""

    hourly = serializers.BooleanField(help_text="Whether the series is by the hour; else by the day.")
    total = Tally()
    series = Moment(many=True)
    providers = OfProvider(many=True)
    people = OfPerson(many=True, help_text="The busiest.")


class Range(Strict):
    """Which days (UTC)."""

    since = serializers.DateField(required=False, help_text=f"The first day; without it, {_DAYS} days.")
    until = serializers.DateField(required=False, help_text="The last day; without it, today.")
    provider = serializers.CharField(max_length=40, required=False)


class UsageItem(Endpoint):
    """`usage/`."""

    tag = "Usage"

    @operation(name="get_usage", roles=LOOK, answer=Usage, query=Range)
    def get(self, asked: Asked) -> dict[str, Any]:
        """Count what was asked: in all, over time, by provider and by person.

        Up to two days come by the hour, up to 400 by the day.
        """
        today: date = asked.now.date()
        until: date = min(asked.query.get("until", today), today)
        since: date = asked.query.get("since", until - timedelta(days=_DAYS - 1))
        if not timedelta(0) <= until - since < _MOST:
            raise BadQuery({"since": [f"This must be a day before until, by {_MOST.days} days at most."]})
        begins, ends = datetime.combine(since, time(), UTC), datetime.combine(until, time(), UTC) + timedelta(days=1)
        tenant_id, provider = asked.caller.tenant_id, asked.query.get("provider", "")
        found = figures.figures(tenant_id, since=begins, until=ends, provider=provider)
        return {
            "hourly": found.step == "hour",
            "total": found.total,
            "series": [{"at": at, "tally": tally} for at, tally in found.series],
            "providers": [{"provider": slug, "tally": tally} for slug, tally in found.providers],
            "people": figures.busiest(tenant_id, since=begins, until=ends, provider=provider),
        }


class OfToday(serializers.Serializer[Any]):
    """A person's day so far."""

    email = serializers.CharField()
    used = Use()


class Today(serializers.Serializer[Any]):
    """A tenant's day so far (UTC); what is put aside for asks being worked counts as used."""

    day = serializers.DateField()
    used = Use()
    limit = Use()
    limit_of_each = Use(help_text="Of each person.")
    people = OfToday(many=True)


class TodayItem(Endpoint):
    """`usage/today/`."""

    tag = "Usage"

    @operation(name="get_usage_today", roles=LOOK, answer=Today)
    def get(self, asked: Asked) -> dict[str, Any]:
        """See what has been used of today's budgets."""
        tenant_id = asked.caller.tenant_id
        found, most = budgets.today(tenant_id, now=budgets.clock()), budgets.limits_of(tenant_id)
        return {
            "day": found.day,
            "used": found.tenant,
            "limit": most.tenant,
            "limit_of_each": most.user,
            "people": [{"email": email, "used": used} for email, used in found.people],
        }
