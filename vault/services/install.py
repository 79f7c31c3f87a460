"""Exporting a provider: a change of what tokens are issued for, or sent to, ends the connections made before."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import transaction

from audit import services as audit
from audit.events import EventKind
from providers import selectors as providers
from providers import services as installations
from providers.models import Installation, Manifest
from tenants.services import Refused
from vault.services import revoke
from vault.services.clients import set_secret
from vault.services.revoke import Ended
from vault.services.sealed import grant_of


@dataclass(frozen=True, slots=True)
class Secret:
    """What becomes of the client secret; without one of these it stays what it is."""

    value: str | None


class Unconfirmed(Refused):
    """Connections that have ended here are not confirmed as revoked by their provider yet: `give_up` goes on."""


@dataclass(frozen=True, slots=True)
class Installed:
    """An installation, and the connections that its change has ended."""

    row: Installation
    ended: Ended


def install(
    *, wanted: Installation, secret: Secret | None = None, give_up: bool = False, by: UUID | None, now: datetime
) -> Installed:
    """Export a provider as `providers.services.drafted` gave it, or change how it is exported.

    Tokens of another client, or for other addresses, must not be sent to the new ones. Their connections end first,
    while the old client can still revoke them; `give_up` goes on even where the provider does not confirm that.
    Raises: Refused; Unconfirmed, and then the connections have ended all the same.
    """
    before = None if wanted._state.adding else Installation.objects.get(pk=wanted.pk)  # noqa: SLF001 - Django's documented Model._state
    ended = Ended(0, 0)
    if before is not None and _moved(before, wanted):
        ended = revoke.end_all(installation=before, by=by, now=now)
        if ended.pending and not give_up:
            raise Unconfirmed(
                f"{ended.pending} of {ended.pending + ended.confirmed} connections could not be revoked at the "
                "provider yet. They are not used any more. Run this again when the provider answers, or with --give-up."
            )
    with transaction.atomic():
        row = installations.store(row=wanted, by=by)
        if secret is not None:
            set_secret(installation=row, secret=secret.value)
            if secret.value is not None:
                audit.record(EventKind.SECRET_SET, tenant_id=row.tenant_id, user_id=by, provider=row.slug)
        if row.manifest_id is None:  # what was listed elsewhere says nothing about the tools that are there now
            Manifest.objects.filter(installation=row).delete()
    return Installed(row, ended)


def _moved(before: Installation, wanted: Installation) -> bool:
    """Whether accounts would be used elsewhere, or in another way, than they were connected for."""
    was, is_now = providers.spec_of(before), providers.spec_of(wanted)
    return (
        grant_of(before) != grant_of(wanted)
        or (before.source, before.url) != (wanted.source, wanted.url)
        or (was.access, was.key.header) != (is_now.access, is_now.key.header)
    )
