"""REST: what a tenant exports, its tools, and what has been decided about them."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from django.db import transaction
from django.http import Http404
from rest_framework import serializers

from providers import catalogue, review, selectors
from providers.manifest import Choices, Entry, Manifest
from providers.models import Installation
from providers.spec import Access, Effect, ProviderSpec
from tenants.access import LOOK, RUN
from tenants.api.bodies import Choice, Strict, Words
from tenants.api.cursors import Page
from tenants.api.operations import Asked, Endpoint, Match, operation
from tenants.problems import NOTHING

EFFECTS = [(each.value, each.value) for each in Effect]
ACCESS = [(each.value, each.value) for each in Access]


class Installed(serializers.Serializer[Any]):
    """A provider that a tenant exports."""

    id = serializers.UUIDField()
    slug = serializers.CharField()
    title = serializers.CharField(source="spec.title", help_text="What people call it.")
    source = serializers.ChoiceField(Installation.Source.choices)  # type: ignore[assignment]  # a member, no option of this one
    url = serializers.CharField(help_text="Of the MCP server or the document; empty: none.")
    access = serializers.ChoiceField(ACCESS, source="spec.access", help_text="How accounts are connected.")
    api_base = serializers.CharField(help_text="Where its API is, when not where its source says.")
    client_id = serializers.CharField(help_text="The OAuth client that the tenant is there.")
    scopes = serializers.ListField(
        child=serializers.CharField(), source="spec.oauth.scopes", help_text="What a plain connect asks for."
    )
    connect_url = serializers.CharField(help_text="Where people connect, when another system runs the flow.")
    exposure = serializers.ChoiceField(Installation.ExposureChoice.choices)
    consent = serializers.ChoiceField(Installation.ConsentChoice.choices)
    limits = serializers.DictField(
        child=serializers.IntegerField(), help_text="What differs from the deployment's limits, by name."
    )
    enabled = serializers.BooleanField(help_text="Off, nobody sees or uses it; its connections stay.")
    tools = serializers.IntegerField(allow_null=True, help_text="How many it has; null: not known yet.")
    waits_for_review = serializers.BooleanField(help_text="It lists other tools than those that serve.")
    version = serializers.IntegerField(help_text="Grows with every change.")
    created_at = serializers.DateTimeField()


class Shown:
    """An installation, as `Installed` shows it."""

    def __init__(self, row: Installation, *, waits: bool | None = None) -> None:
        self._row = row
        self.spec = _spec(row)
        self.waits_for_review = review.waiting(row) is not None if waits is None else waits

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - a column
        return getattr(self._row, name)

    @property
    def tools(self) -> int | None:
        """How many it has."""
        known = self._row.source == Installation.Source.CATALOGUE or self._row.manifest_id is not None
        return len(self.spec.tools) if known and isinstance(self.spec, ProviderSpec) else None


class _Gone:
    """In the place of a spec that the catalogue has no longer."""

    class oauth:  # noqa: N801 - named as the field is
        scopes = ()

    def __init__(self, slug: str) -> None:
        self.title, self.access = slug, Access.OAUTH


def _spec(row: Installation) -> ProviderSpec | _Gone:
    try:
        return selectors.spec_of(row)
    except LookupError:
        return _Gone(row.slug)


def installed_at(asked: Asked, slug: str) -> Installation:
    """Raises: Http404."""
    row = selectors.installed(asked.caller.tenant_id).select_related("manifest", "tenant").filter(slug=slug).first()
    if row is None:
        raise Http404(NOTHING)
    return row


class InstallationList(Endpoint):
    """`installations/`; installing is the vault's matter."""

    tag = "Providers"

    @operation(name="list_installations", roles=LOOK, answer=Installed, paged=True)
    def get(self, asked: Asked) -> Page:
        """List the providers that the tenant exports."""
        tenant_id = asked.caller.tenant_id
        waiting = selectors.listings_to_review(tenant_id)
        page = asked.page(selectors.installed(tenant_id).select_related("manifest"), "slug")
        return Page([Shown(row, waits=row.pk in waiting) for row in page.items], page.after)


class InstallationItem(Endpoint):
    """`installations/{slug}/`; changing and removing are the vault's matter."""

    tag = "Providers"

    @operation(name="get_installation", roles=LOOK, answer=Installed, tagged=True)
    def get(self, asked: Asked, slug: str) -> Shown:
        """Get a provider that the tenant exports.

        Of its client secret it is not even said whether there is one.
        """
        return Shown(installed_at(asked, slug))


# --- Its tools


class Tool(serializers.Serializer[Any]):
    """A tool of a provider, with what an administrator has decided about it."""

    name = serializers.CharField()
    summary = serializers.CharField(help_text="The provider's own words.")
    effect = serializers.ChoiceField(EFFECTS, help_text="What it is taken to do.")
    confirmed = serializers.BooleanField(help_text="Whether somebody has said so; else it is taken to write.")
    hint = serializers.CharField(help_text="What the provider says that it does; empty: nothing.")
    offered = serializers.BooleanField()
    scopes = serializers.ListField(child=serializers.CharField())


class Pinned(serializers.Serializer[Any]):
    """The tools of a provider that serve."""

    digest = serializers.CharField(allow_null=True, help_text="Of the manifest; null: the catalogue's tools, or none.")
    listed_at = serializers.DateTimeField(allow_null=True)
    decided_at = serializers.DateTimeField(allow_null=True)
    tools = Tool(many=True)


class ManifestItem(Endpoint):
    """`installations/{slug}/manifest/`."""

    tag = "Providers"

    @operation(name="get_manifest", roles=LOOK, answer=Pinned, tagged=True)
    def get(self, asked: Asked, slug: str) -> dict[str, Any]:
        """Get the tools that serve, and what was decided about each.

        Its ETag is the one that choosing wants.
        """
        return pinned(installed_at(asked, slug))


class ToolChoice(Strict):
    """What an administrator decides about one tool; what is left out stays as it is."""

    effect = Choice(EFFECTS, required=False)
    offered = serializers.BooleanField(required=False)
    scopes = Words(required=False, allow_null=True, max_length=100, help_text="null: the source's word for them.")


class ToolChoices(Strict):
    """Decisions by the names of tools."""

    tools = serializers.DictField(child=ToolChoice(), allow_empty=False)


class ChoicesItem(Endpoint):
    """`installations/{slug}/manifest/choices/`."""

    tag = "Providers"

    @operation(
        name="choose_tools",
        roles=RUN,
        answer=Pinned,
        body=ToolChoices,
        tagged=True,
        match=Match.MUST,
        fails={HTTPStatus.UNPROCESSABLE_ENTITY: "There is no such tool, or the tools come with the catalogue."},
    )
    def patch(self, asked: Asked, slug: str) -> dict[str, Any]:
        """Say what tools do, whether they are offered, and which scopes they need.

        If-Match takes the ETag of the manifest that was looked at. It holds from the next call on.
        """
        said: Mapping[str, Mapping[str, Any]] = asked.body.get("tools", {})
        offered = {name: each["offered"] for name, each in said.items() if "offered" in each}
        with transaction.atomic():
            row = Installation.objects.select_for_update(no_key=True).filter(pk=installed_at(asked, slug).pk).first()
            if row is None:
                raise Http404(NOTHING)
            asked.must_match(Pinned(pinned(row)).data)
            review.choose(
                installation=row,
                effects={name: Effect(each["effect"]) for name, each in said.items() if "effect" in each},
                leave_out=[name for name, on in offered.items() if not on],
                offer=[name for name, on in offered.items() if on],
                scopes={
                    name: None if each["scopes"] is None else tuple(each["scopes"])
                    for name, each in said.items()
                    if "scopes" in each
                },
                by=asked.caller.user_id,
                now=asked.now,
            )
            return pinned(installed_at(asked, slug))


def pinned(row: Installation) -> dict[str, Any]:
    """As `Pinned` shows it."""
    if row.source == Installation.Source.CATALOGUE:
        entry = catalogue.get(row.slug)
        same = {"confirmed": True, "offered": True}
        tools = [
            {"name": each.name, "summary": each.summary, "effect": each.effect.value, "hint": each.effect.value}
            | {**same, "scopes": sorted(each.scopes)}
            for each in (entry.tools if entry else ())
        ]
        return {"digest": None, "listed_at": None, "decided_at": None, "tools": tools}
    manifest = row.manifest
    choices = Choices.read(manifest.choices if manifest else {})
    entries = Manifest.read(manifest.text if manifest else "[]").entries
    return {
        "digest": manifest.digest if manifest else None,
        "listed_at": manifest.listed_at if manifest else None,
        "decided_at": manifest.decided_at if manifest else None,
        "tools": [_tool(entry, choices) for entry in entries],
    }


def _tool(entry: Entry, choices: Choices) -> dict[str, Any]:
    return {
        "name": entry.name,
        "summary": entry.summary,
        "effect": choices.effect_of(entry).value,
        "confirmed": entry.name in choices.effects,
        "hint": entry.effect,
        "offered": entry.name not in choices.left_out,
        "scopes": list(choices.scopes.get(entry.name, entry.scopes)),
    }
