"""What people read about their accounts: which there are, what each allows, and what else they could connect."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from providers import selectors as providers
from providers.models import Installation
from providers.spec import Access, ProviderSpec
from tenants import selectors as tenants
from tenants.keyset import part
from tenants.models import Membership, User
from vault import selectors
from vault.models import Approval, Connection, Status
from vault.pages import Words, again_url, in_words
from vault.selectors import GivenConsent
from vault.services import accounts, revoke

_SOON: Final = timedelta(days=7)
_WHOLE: Final = 6
"""So many accounts are shown with everything about them; of more, each has a page of its own."""
_OFFERED: Final = 30
"""Providers offered at once; the others are searched for."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One account, and what its person may do with it."""

    row: Connection
    spec: ProviderSpec
    manages: bool
    """The person may change it."""
    several: bool
    """There are others it could be the default among."""
    consents: Sequence[tuple[GivenConsent, str]]
    used_at: datetime | None
    """When this person last used it, as far as was looked back."""
    unused_since: datetime | None
    """How far that was, when they have not; None: ever."""
    now: datetime

    @property
    def title(self) -> str:
        """The provider's."""
        return self.spec.title

    @property
    def scopes(self) -> Words:
        """What it allows."""
        return in_words(self.spec, self.row.scopes)

    @property
    def unneeded(self) -> Words:
        """Granted, and needed by no tool."""
        return in_words(self.spec, providers.unneeded_scopes(self.spec, self.row.scopes))

    @property
    def further(self) -> Words:
        """What it could allow besides."""
        ready = self.row.status == Status.READY and self.connects
        return in_words(self.spec, accounts.further_scopes(self.spec, self.row.scopes)) if ready else []

    @property
    def connects(self) -> bool:
        """The person may connect it once more, here."""
        installation = self.row.installation
        return self.manages and installation.enabled and self.spec.access is not Access.NONE

    @property
    def ends_at(self) -> datetime | None:
        """When it has to be connected again, once that is near."""
        ends = self.row.grant_ends_at if self.row.status == Status.READY else None
        return ends if ends is not None and ends < self.now + _SOON else None

    @property
    def revocable(self) -> bool:
        """Its provider has a way to kill tokens."""
        return self.spec.oauth.revoke_url is not None

    @property
    def ended(self) -> str:
        """What has become of it, once it is disconnected."""
        return "" if self.row.status in accounts.ALIVE else revoke.in_words(self.row)

    @property
    def again_url(self) -> str:
        """Where this very account is connected again."""
        return again_url(self.row)

    @property
    def needed_url(self) -> str:
        """The same without what nothing needs."""
        return f"{self.again_url}&needed=1"

    @property
    def further_url(self) -> str:
        """The same with all it could allow."""
        return f"{self.again_url}&more=1"


@dataclass(frozen=True, slots=True)
class Offer:
    """A provider of a tenant, and a person's accounts there, as many as are shown."""

    installation: Installation
    member: Membership
    spec: ProviderSpec
    entries: Sequence[Entry] = ()

    @property
    def shareable(self) -> bool:
        """The person may connect an account for everybody."""
        return self.member.role in accounts.ADMINS and not self.installation.connect_url

    @property
    def connects(self) -> bool:
        """An account can be connected there."""
        return self.installation.enabled and self.spec.access is not Access.NONE


@dataclass(frozen=True, slots=True)
class Overview:
    """The connections page."""

    connected: Sequence[Offer]
    offered: Sequence[Offer]
    more_offered: bool
    whole: bool
    """Each account is shown with everything about it."""
    after: str
    """Where the next page begins; empty: there is none."""
    waiting: Sequence[tuple[Approval, str]]
    """What waits for the person's approval, and who asks."""


def overview(user: User, *, like: str, after: str, now: datetime) -> Overview:
    """A person's accounts, those their tenants share, and what else they could connect; `like` is what is sought."""
    members = {member.tenant_id: member for member in tenants.memberships_of(user)}
    specs = _specs(members)
    seen = selectors.shown_to(user.pk, like=like, titled=[pk for pk, (_, spec) in specs.items() if _fits(spec, like)])
    page = part(seen, by="connected_at", after=after)
    entries = _entries(user, page.rows, now=now)
    by_installation: dict[UUID, list[Entry]] = {}
    for each in sorted(entries, key=lambda each: (not each.row.is_default, each.row.label.casefold())):
        by_installation.setdefault(each.row.installation_id, []).append(each)
    connected = [
        Offer(each[0].row.installation, members[each[0].row.tenant_id], each[0].spec, each)
        for each in by_installation.values()
        if each[0].row.tenant_id in members
    ]
    offered = [
        Offer(row, members[row.tenant_id], spec)
        for pk, (row, spec) in specs.items()
        if pk not in by_installation and row.enabled and spec.access is not Access.NONE and _fits(spec, like)
    ]
    return Overview(
        connected=sorted(connected, key=_alphabetical),
        offered=[] if after else sorted(offered, key=_alphabetical)[:_OFFERED],
        more_offered=not after and len(offered) > _OFFERED,
        whole=not after and not page.after and len(entries) <= _WHOLE,
        after=page.after,
        waiting=[] if after else selectors.open_approvals(user.pk, now=now),
    )


def account(user: User, connection_id: UUID, *, now: datetime) -> Entry | None:
    """One account with everything about it, if it is this person's to see."""
    entries = _entries(user, list(selectors.shown_to(user.pk).filter(pk=connection_id)), now=now)
    return entries[0] if entries else None


def _alphabetical(offer: Offer) -> tuple[str, str]:
    return offer.spec.title.casefold(), offer.member.tenant.name


def _fits(spec: ProviderSpec, like: str) -> bool:
    return like.casefold() in f"{spec.title} {spec.about}".casefold()


def _specs(members: Mapping[UUID, Membership]) -> dict[UUID, tuple[Installation, ProviderSpec]]:
    rows = providers.exported(members.keys())
    return {row.pk: (row, spec) for row in rows if (spec := providers.known_spec(row)) is not None}


def _entries(user: User, rows: Sequence[Connection], *, now: datetime) -> list[Entry]:
    ids = [row.pk for row in rows]
    managed = set(selectors.managed_by(user.pk).filter(pk__in=ids).values_list("pk", flat=True))
    consents = selectors.standing_consents(user.pk, ids, now=now)
    among = Counter(selectors.alive_for(user.pk, {row.installation_id for row in rows}))
    used = selectors.last_uses(user.pk, rows)
    return [
        Entry(
            row=row,
            spec=spec,
            manages=row.pk in managed,
            several=among[row.installation_id] > 1,
            consents=consents.get(row.pk, ()),
            used_at=used.at.get(row.pk),
            unused_since=used.looked_to.get(row.tenant_id),
            now=now,
        )
        for row in rows
        if (spec := providers.known_spec(row.installation)) is not None
    ]
