"""What must hold before the process serves anyone."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register  # noqa: A004 - Django's name
from django.core.exceptions import ImproperlyConfigured

from vault.keyring import keks
from vault.services import keys


@register()
def keks_are_configured(**_: Any) -> list[CheckMessage]:  # noqa: ANN401 - Django's signature
    """Each KEK is named well, what its adapter needs is installed, and a key file is its owner's alone."""
    try:
        keks()
    except ImproperlyConfigured as wrong:
        return [Error(str(wrong), id="vault.E001")]
    return []


@register(deploy=True)
def kek_answers(**_: Any) -> list[CheckMessage]:  # noqa: ANN401 - Django's signature
    """The KEK wraps and unwraps, and binds to the context. The server asks the same when it starts."""
    if keks_are_configured():
        return []
    try:
        keys.require()
    except ImproperlyConfigured as wrong:
        return [Error(str(wrong), id="vault.E002")]
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
