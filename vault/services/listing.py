"""The tools of an installation as time goes by: listed anew, pinned, and accepted with what that ends.

Whoever lists holds no lock and no transaction meanwhile. What is listed serves at once only where nothing was before;
a failure is logged and tried again, and everything goes on as it was.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from uuid import UUID

import httpx2
from django.conf import settings
from django.core.cache import cache
from django.db import close_old_connections, transaction
from django.db.models import Q, QuerySet

from providers import models, review
from providers import selectors as providers
from providers import services as installations
from providers.egress import GuardedTransport, Limits
from providers.errors import ToolError, Unavailable
from providers.manifest import Entry, Manifest
from providers.models import Installation
from providers.sources import module_of
from providers.spec import Access
from tenants.models import User
from tenants.services import Refused
from vault.models import Connection, Status
from vault.services import access, question

if TYPE_CHECKING:
    from providers.sources.mcp import Listing
    from providers.sources.openapi import Document

log = logging.getLogger(__name__)

_QUICK = Limits(total_s=10)
"""While a person waits for a page."""
_LARGE = Limits(total_s=30, max_wire_bytes=32 * 1024 * 1024, max_decoded_bytes=64 * 1024 * 1024)
"""GitHub's document has 13 MB."""
_TRIES = 3
"""So many accounts are tried, one after the other."""
_TOLD = 10
_PAUSE_S = 600
"""After which an installation that has no tools yet is tried again."""


def after_connecting(connection_id: UUID) -> None:
    """An account has become ready: where no tools are known yet, list them with it, within ten seconds.

    Call it outside of any transaction. Whatever fails is not the person's matter: `sweep` tries again.
    """
    row = Connection.objects.select_related("installation").filter(pk=connection_id, status=Status.READY).first()
    if row is not None and row.installation.source == Installation.Source.MCP and row.installation.manifest_id is None:
        _listed(row.installation, [row], _QUICK, now=datetime.now(UTC))


def sweep(*, now: datetime, most: int = 20, for_s: float = 15.0) -> int:
    """List what was not listed for `MANIFEST_EVERY_S`, one after the other. Returns how many were."""
    before = now - timedelta(seconds=settings.MANIFEST_EVERY_S)
    due = Installation.objects.filter(
        Q(manifest=None) | Q(manifest__listed_at__lt=before),
        source__in=[Installation.Source.MCP, Installation.Source.OPENAPI],
        enabled=True,
        tenant__closed_at=None,
    ).exclude(url="")
    done, until = 0, time.monotonic() + for_s
    for row in due.order_by("?")[:most]:  # in another order each time, so that none that fails holds up the others
        if time.monotonic() > until:
            break
        accounts = _accounts(row)
        if accounts and _claimed(row, before=before, now=now):
            done += _listed(row, accounts, _LARGE, now=now)
    return done


def fetch(*, installation: Installation, user: User | None, by: UUID | None, now: datetime) -> models.Manifest:
    """List the tools now, as this person or with a shared account; what was refused before may wait again.

    Raises: Refused, saying what to do.
    """
    if installation.source == Installation.Source.CATALOGUE:
        raise Refused("The tools of a catalogue provider come with metaagent: there is nothing to list.")
    if not installation.url:
        raise Refused("Its document came from a file. Give the new one with: manage.py provider_install … --file")
    accounts = _accounts(installation, of=user, only=True)
    if not accounts:
        raise Refused(
            f"{user.email} has no usable account there."
            if user
            else "Listing its tools takes an account. Connect one for everybody on the connections page, or say whose "
            "to use with: --as EMAIL"
        )
    try:
        manifest = _manifest(installation, accounts[0], _LARGE)
    except ToolError as failed:
        raise Refused(f"Its tools could not be listed: {failed}") from None
    except access.Reconnect:
        raise Refused("The account has to be connected again first.") from None
    trust = bool(installation.facts.get("trust_hints"))
    return review.pin(installation=installation, manifest=manifest, by=by, now=now, trust_hints=trust, again=True)


@transaction.atomic
def accept(*, installation: Installation, digest: str = "", by: UUID | None, now: datetime) -> models.Manifest:
    """Let what waits serve, and end what people have allowed to be changed by the tools there were.

    Raises: Refused, as `review.accept` does.
    """
    accepted = review.accept(installation=installation, digest=digest, by=by, now=now)
    question.tools_changed(installation_id=installation.pk, by=by, now=now)
    return accepted


def _accounts(installation: Installation, *, of: User | None = None, only: bool = False) -> list[Connection | None]:
    """What to list with, the best first; None: nobody's account, where none is needed.

    The tenant's own account comes first, then the one whose tokens were renewed last. `of` is the one person whose
    accounts are used; without one, `only` what is shared.
    """
    if installation.source == Installation.Source.OPENAPI or providers.spec_of(installation).access is Access.NONE:
        return [None]
    ready: QuerySet[Connection] = Connection.objects.filter(installation=installation, status=Status.READY)
    if of is not None or only:
        ready = ready.filter(owner=of)
    return list(ready.alias(ours=Q(owner=None)).order_by("-ours", "-tokens__refreshed_at")[:_TRIES])


def _claimed(row: Installation, *, before: datetime, now: datetime) -> bool:
    """True for one process of all that find it due."""
    if row.manifest_id is None:  # there is no row to claim it by; two that list it at once do no harm
        return cache.add(f"listing:{row.pk}", 1, _PAUSE_S)
    return bool(models.Manifest.objects.filter(pk=row.manifest_id, listed_at__lt=before).update(listed_at=now))


def _listed(
    row: Installation, accounts: list[Connection | None] | list[Connection], limits: Limits, *, now: datetime
) -> bool:
    """List it with the first of the accounts that can, and pin what comes. False when that failed."""
    why: object = "no account can be used"
    for account in accounts:
        try:
            trust = bool(row.facts.get("trust_hints"))
            manifest = _manifest(row, account, limits)
            review.pin(installation=row, manifest=manifest, by=None, now=now, trust_hints=trust)
        except (ToolError, Refused) as failed:
            why = failed
        except access.Reconnect:
            continue
        except Exception:  # whatever a foreign document breaks, it must not keep others from being listed
            log.exception("listing the tools of installation %s broke off", row.pk)
            return False
        else:
            return True
    log.warning("the tools of %s (installation %s) could not be listed: %s", row.slug, row.pk, why)
    return False


def _manifest(row: Installation, account: Connection | None, limits: Limits) -> Manifest:
    """What the source lists now. Raises: ToolError, Refused, access.Reconnect."""
    spec = providers.spec_of(row)
    headers = dict(spec.headers)
    if account is not None:
        if _origin(row.url) != _origin(spec.api_base):
            raise Refused("Its address is another one than where its tokens may be sent.")
        headers[spec.key.header] = spec.key.prefix + _token(account)
    close_old_connections()
    transport = GuardedTransport(installations.egress_policy(), limits=limits)
    with httpx2.Client(transport=transport, timeout=None, trust_env=False) as http:
        entries = _entries(row, http, headers)
    try:
        return Manifest.of(entries)
    except ValueError:
        raise Refused("It lists two tools of one name.") from None


def _entries(row: Installation, http: httpx2.Client, headers: Mapping[str, str]) -> Iterable[Entry]:
    """Raises: ToolError."""
    if row.source == Installation.Source.MCP:
        listing: Listing = module_of("mcp").listed(http, row.url, headers=headers)
        for each in listing.skipped[:_TOLD]:
            log.warning(
                "a tool of %s (installation %s) cannot be offered: %s %s", row.slug, row.pk, each.name, each.why
            )
        return listing
    reply = http.get(row.url)
    if reply.status_code != HTTPStatus.OK:
        raise Unavailable(f"Its document is not where it was ({reply.status_code}).")
    facts, base = row.facts, row.api_base or row.facts.get("api_base", "")
    # The base as it is pinned: a document cannot move where tokens go.
    document: Document = module_of("openapi").read(
        reply.content,
        url=row.url,
        tags=facts.get("tags", ()),
        operations=facts.get("operations", ()),
        api_base=base,
        any_scope=bool(facts.get("any_scope")),
        access=facts.get("access_said") or "",
    )
    return document.entries


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc


def _token(account: Connection) -> str:
    """Raises: access.Reconnect, ToolError."""
    sealed = access.access(account.pk)
    try:
        return sealed.open().reveal()
    except access.Unreadable:
        raise access.damaged(account.pk, version=sealed.version) from None
