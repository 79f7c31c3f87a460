"""`provider_set TENANT SLUG`: limits, exposure and consent of an installation, and whether it is on."""

from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser

from metaagent.management.answering import Answering, Found, installation_named, tenant_named
from providers import limits, services
from providers.models import Installation


class Command(Answering):
    """Change how a provider is exported."""

    help = (
        "Change limits, exposure or consent of an installation, or switch it off and on. Its connections stay. "
        f"Limits: {', '.join(limits.BOUNDS)}; an empty one is the deployment's."
    )

    def arguments(self, parser: CommandParser) -> None:
        """What is to change."""
        parser.add_argument("tenant")
        parser.add_argument("slug")
        parser.add_argument("--limit", action="append", default=[], metavar="NAME=NUMBER")
        parser.add_argument("--exposure", choices=Installation.ExposureChoice.values)
        parser.add_argument("--consent", choices=Installation.ConsentChoice.values)
        switch = parser.add_mutually_exclusive_group()
        switch.add_argument("--enable", dest="enabled", action="store_true", default=None)
        switch.add_argument(
            "--disable", dest="enabled", action="store_false", help="nobody sees or uses it; its connections stay"
        )

    def work(self, **options: Any) -> Found:
        """Change it, and say what holds now."""
        stated = _stated(options["limit"])
        row = services.change(
            installation=installation_named(tenant_named(options["tenant"]), options["slug"]),
            limits=stated,
            exposure=options["exposure"],
            consent=options["consent"],
            enabled=options["enabled"],
            by=None,
        )
        lines = [f"use_{row.slug} is {'on' if row.enabled else 'off'}; {row.exposure}, consent {row.consent}."]
        lines += [_line(name, number) for name, number in sorted(row.limits.items())]
        return {
            "slug": row.slug,
            "enabled": row.enabled,
            "exposure": row.exposure,
            "consent": row.consent,
            "limits": row.limits,
            "text": "\n".join(lines),
        }


def _stated(words: list[str]) -> dict[str, str]:
    """The limits by name, looked at before anything else is. Raises: CommandError."""
    if wrong := next((word for word in words if "=" not in word), None):
        raise CommandError(f"--limit {wrong[:60]} must be NAME=NUMBER.", returncode=2)
    stated = {name.strip(): number.strip() for name, _, number in (word.partition("=") for word in words)}
    try:
        limits.changed({}, stated)
    except ValueError as refused:
        raise CommandError(str(refused), returncode=2) from None
    return stated


def _line(name: str, own: int) -> str:
    granted = getattr(settings, name.upper())
    counts = limits.counting(name, own, granted)
    return f"  {name} {own:,}" + ("" if counts == own else f"; the deployment's {granted:,} is smaller and counts")
