"""Which tools of a provider serve: what its source lists is pinned, and what is different waits for an administrator.

Accepting also ends what people have allowed for the tools there were: see `vault.services.listing.accept`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final
from uuid import UUID

from django.db import transaction

from audit import services as audit
from audit.events import Event, EventKind
from providers import models
from providers.manifest import Choices, Manifest, carried, changes
from providers.models import Installation
from providers.spec import Effect
from tenants import standing
from tenants.services import Refused

MOST_TOOLS: Final = 5_000
_MOST_BYTES: Final = 32 * 1024 * 1024
_State = models.Manifest.State


def waiting(installation: Installation) -> models.Manifest | None:
    """The listing that waits for an administrator."""
    if installation.manifest_id is None:  # what waits was listed where the provider no longer is
        return None
    return models.Manifest.objects.filter(installation=installation, state=_State.PENDING).first()


@transaction.atomic
def pin(
    *,
    installation: Installation,
    manifest: Manifest,
    by: UUID | None,
    now: datetime,
    trust_hints: bool = False,
    again: bool = False,
) -> models.Manifest:
    """Keep what the source of `installation`, as it is given here, has listed; the row says what became of it.

    The first listing serves at once: with every tool taken to write, or with `trust_hints` to do what the source says.
    Another one waits. One that was refused before does not, unless somebody asks for it `again`.
    Raises: Refused when it is too large, or the installation has been changed meanwhile.
    """
    if len(manifest.entries) > MOST_TOOLS or len(manifest.text) > _MOST_BYTES:
        raise Refused(f"It lists more than {MOST_TOOLS:,} tools, or describes them at too great length.")
    row = _locked(installation, version=installation.version)
    kept = models.Manifest.objects.filter(installation=row)
    columns = {"digest": manifest.digest, "text": manifest.text, "listed_at": now}
    if row.manifest_id is None:
        kept.filter(state=_State.PENDING).delete()
        kept.filter(state=_State.ACCEPTED).update(state=_State.REPLACED)
        choices = Choices(hinted(manifest) if trust_hints else {})
        first = kept.create(
            **columns,
            installation=row,
            choices=choices.stored,
            state=_State.ACCEPTED,
            decided_at=now,
            decided_by=by,
        )
        _serve(row, first)
        _event(EventKind.MANIFEST_LISTED, row, first, by, tools=len(manifest.entries))
        _event(EventKind.MANIFEST_ACCEPTED, row, first, by, tools=len(manifest.entries), first=True)
        return first
    known = [_State.ACCEPTED, _State.PENDING, *([] if again else [_State.REFUSED])]
    same = kept.filter(digest=manifest.digest, state__in=known).order_by("state").first()
    if same is not None:
        kept.filter(pk=same.pk).update(listed_at=now)
        same.listed_at = now
        return same
    pending, _ = kept.update_or_create(
        state=_State.PENDING, defaults=columns, create_defaults={**columns, "installation": row}
    )
    _event(EventKind.MANIFEST_LISTED, row, pending, by, tools=len(manifest.entries))
    return pending


@transaction.atomic
def accept(*, installation: Installation, digest: str = "", by: UUID | None, now: datetime) -> models.Manifest:
    """Let what waits serve. Decisions hold for tools that are as they were; all others are taken to write.

    `digest` is of the listing that was looked at. Raises: Refused when none waits, or by now another one.
    """
    row, pending = _decided(installation, digest, _State.ACCEPTED, by, now)
    old = row.manifest
    before, after = Manifest.read(old.text if old else "[]"), Manifest.read(pending.text)
    pending.choices = carried(Choices.read(old.choices if old else {}), before, after).stored
    models.Manifest.objects.filter(installation=row, state=_State.ACCEPTED).update(state=_State.REPLACED)
    pending.save()
    _serve(row, pending)
    found = changes(before, after)
    counted = {"added": len(found.added), "removed": len(found.removed), "changed": len(found.changed)}
    _event(EventKind.MANIFEST_ACCEPTED, row, pending, by, tools=len(after.entries), **counted)
    return pending


@transaction.atomic
def refuse(*, installation: Installation, digest: str = "", by: UUID | None, now: datetime) -> models.Manifest:
    """Go on with the tools there are; the same listing does not wait again. Raises: Refused, as `accept` does."""
    row, pending = _decided(installation, digest, _State.REFUSED, by, now)
    pending.save()
    _event(EventKind.MANIFEST_REFUSED, row, pending, by)
    return pending


@transaction.atomic
def choose(
    *,
    installation: Installation,
    digest: str = "",
    effects: Mapping[str, Effect] | None = None,
    leave_out: Iterable[str] = (),
    offer: Iterable[str] = (),
    scopes: Mapping[str, tuple[str, ...] | None] | None = None,
    by: UUID | None,
    now: datetime,
) -> models.Manifest:
    """Say what tools do, which are not offered, and which scopes they need; None takes the source's word for those.

    All by name; who is not named stays as decided before. `digest` is of the manifest that was looked at.
    Raises: Refused for a name there is not, or when other tools serve by now.
    """
    row = _locked(installation)
    old = row.manifest
    if old is None:
        raise Refused("Its tools are not known yet.")
    if digest and digest != old.digest:
        raise Refused("Other tools have been accepted meanwhile. Look again.")
    leave_out, offer, effects, scopes = frozenset(leave_out), frozenset(offer), effects or {}, scopes or {}
    if both := leave_out & offer:
        raise Refused(f"To be offered and left out at once: {_named(both)}.")
    if unknown := {*leave_out, *offer, *effects, *scopes} - Manifest.read(old.text).by_name.keys():
        raise Refused(f"There is no such tool: {_named(unknown)}.")
    before = Choices.read(old.choices)
    effects = {name: effect for name, effect in effects.items() if before.effects.get(name) is not effect}
    scopes = {name: each for name, each in scopes.items() if before.scopes.get(name) != each}
    leave_out, offer = leave_out - before.left_out, offer & before.left_out
    choices = Choices(
        {**before.effects, **effects},
        (before.left_out | leave_out) - offer,
        {name: tuple(each) for name, each in {**before.scopes, **scopes}.items() if each is not None},
    )
    if choices == before:
        return old
    # A row of its own, in place of the one there was: specs are kept in memory by its id (`selectors.spec_of`).
    models.Manifest.objects.filter(pk=old.pk).update(state=_State.REPLACED)
    chosen = models.Manifest.objects.create(
        installation=row,
        digest=old.digest,
        text=old.text,
        choices=choices.stored,
        state=_State.ACCEPTED,
        listed_at=old.listed_at,
        decided_at=now,
        decided_by=by,
    )
    _serve(row, chosen)
    models.Manifest.objects.filter(pk=old.pk).delete()
    touched = {*leave_out, *offer, *effects, *scopes}
    said = {effect.value: sum(each is effect for each in effects.values()) for effect in Effect}
    _event(EventKind.MANIFEST_CHOSEN, row, chosen, by, tools=len(touched), named=_named(touched), **said)
    return chosen


def hinted(manifest: Manifest, names: Iterable[str] | None = None) -> dict[str, Effect]:
    """What the source says of its tools, or of these. It is an untrusted party: somebody has to have decided that."""
    wanted = manifest.by_name.keys() if names is None else set(names)
    return {entry.name: Effect(entry.effect) for entry in manifest.entries if entry.name in wanted}


def _locked(installation: Installation, **same: int) -> Installation:
    """Its row, until the transaction ends. Raises: Refused when it is not there any more, or not as it was."""
    row = Installation.objects.select_for_update(no_key=True).filter(pk=installation.pk, removed=False, **same).first()
    if row is None:
        raise Refused("The provider was changed or removed meanwhile. Look again.")
    return row


def _decided(
    installation: Installation, digest: str, state: models.Manifest.State, by: UUID | None, now: datetime
) -> tuple[Installation, models.Manifest]:
    """The installation, locked, and the listing that waits with this decision about it, not stored yet."""
    row = _locked(installation)
    pending = waiting(row)
    if pending is None:
        raise Refused("Nothing waits for a review.")
    if digest and not pending.digest.startswith(digest):
        raise Refused("The provider lists other tools than those by now. Look again.")
    pending.state, pending.decided_at, pending.decided_by = state, now, by
    return row, pending


def _serve(row: Installation, manifest: models.Manifest) -> None:
    """From the commit on, in every process. The installation's version stays: connections go on."""
    Installation.objects.filter(pk=row.pk).update(manifest=manifest)
    standing.changed()


def _event(kind: EventKind, row: Installation, manifest: models.Manifest, by: UUID | None, **detail: str | int) -> None:
    said = {"digest": manifest.digest, **detail}
    audit.append([Event(kind, tenant_id=row.tenant_id, user_id=by, provider=row.slug, detail=said)])


def _named(names: Iterable[str]) -> str:
    return ", ".join(sorted(name[:80] for name in names)[:10])
