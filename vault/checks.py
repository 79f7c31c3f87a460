"""What must hold before the process serves anyone."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register  # noqa: A004 - Django's name
from django.core.exceptions import ImproperlyConfigured

from vault.keyring import kek


@register()
def kek_is_usable(**_: Any) -> list[CheckMessage]:  # noqa: ANN401 - Django's signature
    """The KEK opens, and its file is the owner's alone."""
    try:
        kek()
    except (ImproperlyConfigured, OSError) as wrong:
        return [Error(str(wrong), id="vault.E001")]
    return []


@register()
def egress_is_closed(**_: Any) -> list[CheckMessage]:  # noqa: ANN401 - Django's signature
    """A loud line when outbound requests may reach private addresses."""
    if settings.EGRESS_ALLOW_CIDRS or settings.EGRESS_ALLOW_HTTP_HOSTS:
        return [
            Warning(
                "Outbound requests may reach private addresses: "
                f"EGRESS_ALLOW_CIDRS={settings.EGRESS_ALLOW_CIDRS} "
                f"EGRESS_ALLOW_HTTP_HOSTS={settings.EGRESS_ALLOW_HTTP_HOSTS}",
                id="vault.W001",
            )
        ]
    return []
