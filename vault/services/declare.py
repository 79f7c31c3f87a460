"""A tenant's installations as one document says: written down, compared with what there is, and carried out.

Everything that can be known beforehand is looked at before anything is changed, the network included.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from providers import models, review
from providers import selectors as providers
from providers import services as installations
from providers.declared import Declared, Key, Overrides, Problem, Read, SecretRef, Tools, Unfit, differences
from providers.manifest import Choices
from providers.models import Installation
from providers.spec import Access, Effect
from tenants.models import Tenant
from tenants.services import Refused
from vault.models import ClientSecret
from vault.services import clients, leave, listing, setup

_AS_FOUND: Final = ("title", "about", "access", "key")
"""What the source says where the document does not."""
_ALONE: Final = ("enabled", "exposure", "consent", "limits", "manifest", "tools")
"""What can be changed without setting the provider up anew."""


class Act(StrEnum):
    """What becomes of an installation."""

    CREATE = "create"
    CHANGE = "change"
    SAME = "same"
    REMOVE = "remove"


@dataclass(frozen=True, slots=True)
class Step:
    """One installation, as it is to be."""

    slug: str
    act: Act
    changed: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """By field: as it is, and as it is to be."""
    declared: Declared | None = None
    secret: str | None = field(default=None, repr=False)
    wish: setup.Wish | None = None
    """What it is set up with; None: that stays as it is."""
    draft: setup.Draft | None = None


@dataclass(frozen=True, slots=True)
class Given:
    """What a document refers to: how a secret and a file are read. Each raises ValueError with one sentence."""

    secret: Callable[[SecretRef], str]
    file: Callable[[str], bytes]


# --- As it is


def stated(tenant: Tenant, slugs: Iterable[str] = ()) -> list[Declared]:
    """A tenant's installations, all or these. Raises: Refused for one there is not."""
    rows = {row.slug: row for row in providers.installed(tenant.pk).select_related("manifest")}
    if missing := sorted(set(slugs) - rows.keys()):
        raise Refused(f"{tenant.slug} does not export “{missing[0][:40]}”.")
    with_secret = set(
        ClientSecret.objects.filter(installation__tenant=tenant).values_list("installation_id", flat=True)
    )
    wanted = set(slugs) or rows.keys()
    return [_stated(tenant, row, secret=row.pk in with_secret) for slug, row in rows.items() if slug in wanted]


def _stated(tenant: Tenant, row: Installation, *, secret: bool) -> Declared:
    facts, ours = row.facts, "client" in row.facts  # ours: registered or published by this product, for this address
    name = f"{tenant.slug}_{row.slug}_CLIENT_SECRET".replace("-", "_").upper()
    listed = row.manifest
    return Declared.model_construct(
        slug=row.slug,
        source=row.source,
        enabled=row.enabled,
        url=row.url,
        file="",
        tags=tuple(facts.get("tags", ())),
        operations=tuple(facts.get("operations", ())),
        any_scope=bool(facts.get("any_scope")),
        title=facts.get("title", ""),
        about=facts.get("about", ""),
        access=Access(facts["access"]) if "access" in facts else None,
        key=Key(**facts["key"]) if "key" in facts else None,
        client_id="" if ours else row.client_id,
        client_secret=SecretRef(env=name) if secret and not ours else None,
        exposure=row.exposure,
        consent=row.consent,
        connect_url=row.connect_url,
        api_base=row.api_base,
        overrides=_overrides(row),
        limits=row.limits,
        manifest=listed.digest if listed else "",
        tools=_tools(Choices.read(listed.choices)) if listed else Tools(),
    )


def _overrides(row: Installation) -> Overrides:
    stated = {name: each for name, each in row.overrides.items() if name in Overrides.model_fields}
    return Overrides.model_validate(stated)


def _tools(choices: Choices) -> Tools:
    return Tools(
        effects={name: each for name, each in choices.effects.items() if each is not Effect.WRITE},
        left_out=tuple(sorted(choices.left_out)),
        scopes=choices.scopes,
    )


# --- As it is to be


def planned(*, tenant: Tenant, read: Read, given: Given, prune: bool = False) -> list[Step]:
    """What an import would do, one step for each installation; stores nothing. Raises: Unfit with all that is wrong."""
    now = {each.slug: each for each in stated(tenant)}
    steps, wrong = [], []
    for declared in read.providers:
        try:
            steps.append(_step(tenant, now.get(declared.slug), declared, given))
        except (Refused, ValueError) as refused:
            wrong.append(Problem(read.lines[declared.slug], declared.slug, f"cannot be set up. {refused}"))
    if wrong:
        raise Unfit(wrong)
    left = sorted(now.keys() - read.lines.keys()) if prune else []
    return [*steps, *(Step(slug, Act.REMOVE) for slug in left)]


def _step(tenant: Tenant, before: Declared | None, declared: Declared, given: Given) -> Step:
    """Raises: Refused, ValueError."""
    secret = given.secret(declared.client_secret) if declared.client_secret else None
    if before is None:
        changed: dict[str, tuple[str, str]] = {}
    else:
        found = {name: getattr(before, name) for name in _AS_FOUND if not getattr(declared, name)}
        if not declared.manifest:
            found |= {"manifest": before.manifest, "tools": before.tools}
        declared = declared.model_copy(update=found)
        changed = differences(before, declared)
        if secret != _secret(tenant, declared.slug):
            changed["client_secret"] = ("", "") if secret is None else ("", "another one")
    row = providers.installed(tenant.pk).filter(slug=declared.slug).first()
    document = given.file(declared.file) if declared.file and _reads_file(row, declared, changed) else None
    wish = _wish(before, declared, changed, secret, document)
    draft = setup.draft(tenant=tenant, slug=declared.slug, wish=wish) if wish else None
    if draft and declared.source == "catalogue" and not (draft.row.client_id or declared.connect_url):
        raise ValueError("It has no client_id: register an OAuth client with the provider, and name it here.")
    _check_tools(row, declared, draft)
    act = Act.CREATE if before is None else Act.CHANGE if changed else Act.SAME
    return Step(declared.slug, act, changed, declared, secret, wish, draft)


def _reads_file(row: Installation | None, declared: Declared, changed: Mapping[str, object]) -> bool:
    """Whether the document is needed: not where exactly its tools serve already."""
    same = row is not None and row.manifest is not None and row.manifest.digest == declared.manifest
    return not same or not changed.keys().isdisjoint({"tags", "operations", "any_scope", "source"})


def _secret(tenant: Tenant, slug: str) -> str | None:
    row = providers.installed(tenant.pk).get(slug=slug)
    return None if "client" in row.facts else clients.client_of(row).secret


def _wish(
    before: Declared | None,
    declared: Declared,
    changed: Mapping[str, object],
    secret: str | None,
    document: bytes | None,
) -> setup.Wish | None:
    """What differs, said in full where there is nothing yet. None: nothing that needs the provider set up anew."""
    touched = {name.partition(".")[0] for name in changed} - set(_ALONE)
    if before is not None and not touched and document is None:
        return None
    key, overrides = declared.key or Key(), declared.overrides
    said: dict[str, Any] = {
        "url": declared.url or None,
        "tags": declared.tags if declared.source == "openapi" else None,
        "operations": declared.operations if declared.source == "openapi" else None,
        "any_scope": declared.any_scope if declared.source == "openapi" else None,
        "title": declared.title or None,
        "about": declared.about or None,
        "access": declared.access.value if declared.access else None,
        "client_id": declared.client_id if before else declared.client_id or None,
        "connect_url": declared.connect_url,
        "api_base": declared.api_base,
        "exposure": declared.exposure,
        "consent": declared.consent,
    }
    if before is not None:
        said = {name: each for name, each in said.items() if name in touched}
    if "key" in touched or (before is None and declared.key):
        said |= {"key_header": key.header, "key_prefix": key.prefix, "key_words": key.words}
    for name in Overrides.model_fields:
        if f"overrides.{name}" in changed or (before is None and name in overrides.model_fields_set):
            said[name] = getattr(overrides, name)
    return setup.Wish(
        source=declared.source,
        document=document,
        client_secret=secret if before is None or "client_secret" in changed else None,
        **said,
    )


def _check_tools(row: Installation | None, declared: Declared, draft: setup.Draft | None) -> None:
    """The tools that were decided about are those there are, or that wait. Raises: ValueError."""
    if not declared.manifest:
        return
    known = set(
        models.Manifest.objects.filter(
            installation=row, state__in=[models.Manifest.State.ACCEPTED, models.Manifest.State.PENDING]
        ).values_list("digest", flat=True)
        if row is not None
        else ()
    )
    if draft and draft.manifest:
        known = {draft.manifest.digest}
    if known and declared.manifest not in known:
        raise ValueError(
            f"It lists other tools than those of manifest {declared.manifest[:12]}. "
            "Leave manifest and tools out, import, look at the tools with provider_review, and export again."
        )


# --- Carried out


@dataclass(frozen=True, slots=True)
class Done:
    """What came of a step."""

    ended: int = 0
    """Connections that the change has ended."""
    later: bool = False
    """The tools are not known before an account is connected: what was decided about them is to be imported again."""


def carry_out(*, tenant: Tenant, step: Step, give_up: bool = False, by: UUID | None, now: datetime) -> Done:
    """Make one installation what the document says. Raises: Refused."""
    ended = 0
    if step.act is Act.REMOVE:
        row = providers.installed(tenant.pk).get(slug=step.slug)
        gone = leave.remove_provider(installation=row, by=by, now=now)
        return Done(gone.confirmed + gone.pending)
    declared = step.declared
    if step.act is Act.SAME or declared is None:
        return Done(later=declared is not None and _decided_later(tenant, declared))
    if step.wish is not None:
        if step.draft is not None:  # from the first moment as it is to be
            step.draft.row.enabled, step.draft.row.limits = declared.enabled, dict(declared.limits)
        wish = replace(step.wish, give_up=give_up)
        done = setup.set_up(tenant=tenant, slug=step.slug, wish=wish, drafted=step.draft, by=by, now=now)
        ended = done.ended.confirmed + done.ended.pending
    row = providers.installed(tenant.pk).get(slug=step.slug)
    if step.act is Act.CHANGE and step.secret is None and "client_secret" in step.changed:
        clients.set_secret(installation=row, secret=None)
    words = dict.fromkeys(row.limits, "") | {name: str(number) for name, number in declared.limits.items()}
    installations.change(
        installation=row,
        limits=words,
        exposure=declared.exposure,
        consent=declared.consent,
        enabled=declared.enabled,
        by=by,
    )
    row.refresh_from_db()
    _decide(row, declared, by, now)
    return Done(ended, _decided_later(tenant, declared))


def _decide(row: Installation, declared: Declared, by: UUID | None, now: datetime) -> None:
    """Accept what waits where it is what was decided about, and say what its tools do. Raises: Refused."""
    if not declared.manifest:
        return
    waits = review.waiting(row)
    if waits is not None and waits.digest == declared.manifest:
        listing.accept(installation=row, digest=waits.digest, by=by, now=now)
        row.refresh_from_db()
    if row.manifest is None:
        return
    before, tools = Choices.read(row.manifest.choices), declared.tools
    unsaid = dict.fromkeys(before.effects.keys() - tools.effects.keys(), Effect.WRITE)
    review.choose(
        installation=row,
        digest=declared.manifest,
        effects={**unsaid, **tools.effects},
        leave_out=tools.left_out,
        offer=before.left_out - set(tools.left_out),
        scopes={**dict.fromkeys(before.scopes.keys() - tools.scopes.keys()), **tools.scopes},
        by=by,
        now=now,
    )


def _decided_later(tenant: Tenant, declared: Declared) -> bool:
    return bool(declared.manifest) and providers.installed(tenant.pk).get(slug=declared.slug).manifest_id is None


def described(step: Step) -> Iterator[str]:
    """A step in words, a line each; never a secret."""
    sign = {Act.CREATE: "+", Act.CHANGE: "~", Act.SAME: "=", Act.REMOVE: "-"}[step.act]
    yield f"{sign} {step.slug}: {step.act.value}"
    for name, (old, new) in step.changed.items():
        yield f"    {name}: {old or 'nothing'} → {new or 'nothing'}"
