"""REST: providers being set up, changed, reviewed and removed. Their secrets go in and never come out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from http import HTTPStatus
from typing import Any, Final

from django.db import transaction
from rest_framework import serializers

from providers import api as rooms
from providers import limits, review, services
from providers.difference import differences
from providers.manifest import Manifest
from providers.models import Installation
from providers.spec import Access
from tenants.access import LOOK, RUN
from tenants.api.bodies import Choice, Flag, LargeJson, Strict, Text, Whole, Words
from tenants.api.operations import Asked, Endpoint, Match, operation
from tenants.models import Tenant
from tenants.problems import Conflict, NotNow, NotUsable, Outdated
from tenants.services import Refused
from vault.crypto import KeysUnavailable
from vault.links import callback_url
from vault.services import leave, listing, setup
from vault.services.install import Unconfirmed

ACCESS: Final = [(each.value, each.value) for each in Access]
_LIGHT: Final = frozenset({"exposure", "consent", "enabled", "limits"})
"""What can be changed without asking anybody outside."""
_OPTION: Final = re.compile(r"--(?:no-)?([a-z]+(?:-[a-z]+)*)")
_ADDRESS: Final = 500
_FAILS: Final = {
    HTTPStatus.CONFLICT: "Its provider has not confirmed that the connections made before are revoked: see give_up.",
    HTTPStatus.UNPROCESSABLE_ENTITY: "It cannot be set up so. `…:client_needed` says which client to register there.",
    HTTPStatus.SERVICE_UNAVAILABLE: "The vault's keys cannot be reached now.",
}


class Limits(Strict):
    """An installation's own limits; null takes one back to the deployment's."""

    def get_fields(self) -> dict[str, Any]:
        """One for each limit there is."""
        return {
            name: Whole(min_value=bound.least, max_value=bound.most, required=False, allow_null=True)
            for name, bound in limits.BOUNDS.items()
        }


class InstallationChange(Strict):
    """What is said of a provider. What is left out stays; an empty text takes it back to what the source says."""

    url = Text(max_length=_ADDRESS, required=False, help_text="Of the MCP server or the OpenAPI document.")
    document = Text(
        max_length=1_000_000,
        required=False,
        trim_whitespace=False,
        help_text="The OpenAPI document itself, JSON or YAML.",
    )
    tags = Words(required=False, max_length=200, help_text="Offer only operations with one of these tags.")
    operations = Words(required=False, max_length=1_000, help_text="And these, by id or as “GET /path”.")
    any_scope = Flag(required=False, help_text="Where the document lists scopes, any of them does.")
    title = Text(max_length=60, required=False, allow_blank=True)
    about = Text(max_length=80, required=False, allow_blank=True, help_text="What people ask it about.")
    api_base = Text(max_length=300, required=False, allow_blank=True)
    access = Choice(ACCESS, required=False, help_text="How accounts are connected, when not as is found out.")
    key_header = Text(max_length=64, required=False, allow_blank=True)
    key_prefix = Text(max_length=40, required=False, allow_blank=True, trim_whitespace=False)
    key_words = Text(max_length=200, required=False, allow_blank=True, help_text="Where people find their key.")
    issuer = Text(max_length=_ADDRESS, required=False, allow_blank=True)
    authorize_url = Text(max_length=_ADDRESS, required=False, allow_blank=True)
    token_url = Text(max_length=_ADDRESS, required=False, allow_blank=True)
    revoke_url = Text(max_length=_ADDRESS, required=False, allow_blank=True)
    identify_url = Text(max_length=_ADDRESS, required=False, allow_blank=True)
    resource = Text(max_length=_ADDRESS, required=False, allow_blank=True)
    scopes = Words(required=False, max_length=200)
    pkce = Flag(required=False, help_text="false: though the provider does not say that it checks PKCE; recorded.")
    client_id = Text(max_length=300, required=False, allow_blank=True)
    client_secret = Text(max_length=4_000, required=False, trim_whitespace=False, help_text="Written, and never read.")
    connect_url = Text(max_length=_ADDRESS, required=False, allow_blank=True)
    trust_hints = Flag(required=False, help_text="Believe what it says of each tool.")
    give_up = Flag(required=False, help_text="Also where the provider does not confirm that the old ones are revoked.")
    exposure = Choice(Installation.ExposureChoice.choices, required=False)
    consent = Choice(Installation.ConsentChoice.choices, required=False)
    limits = Limits(required=False)
    enabled = Flag(required=False)


class InstallationWish(InstallationChange):
    """A provider that is to be exported: one of the catalogue, an MCP server, or what an OpenAPI document describes."""

    slug = Text(max_length=32, help_text="What it is called here: its tool is use_{slug}.")
    source = Choice(  # type: ignore[assignment]  # a member, no option of this one
        Installation.Source.choices, required=False, help_text="Without it: catalogue."
    )


class SetUp(serializers.Serializer[Any]):
    """A provider, with what its change has brought."""

    installation = rooms.Installed()
    redirect_uri = serializers.CharField(help_text="To be registered with the provider, where clients are registered.")
    remarks = serializers.ListField(child=serializers.CharField(), help_text="What an administrator should know.")
    connections_ended = serializers.IntegerField(help_text="People connect these again.")
    secret_ends_at = serializers.DateTimeField(allow_null=True)


class InstallationList(rooms.InstallationList):
    """`installations/`, with installing."""

    parser_classes = [LargeJson]

    @operation(
        name="install_provider",
        roles=RUN,
        answer=SetUp,
        status=HTTPStatus.CREATED,
        body=InstallationWish,
        fails=_FAILS,
    )
    def post(self, asked: Asked) -> dict[str, Any]:
        """Export a provider.

        What is left open is discovered: the network is asked, within a minute, and nothing is stored unless all of it
        held. Where the product cannot register itself as a client, the installation is kept switched off and the answer
        is a `client_needed` problem that names the redirect URI; then change it with client_id and client_secret.
        """
        slug = asked.body["slug"]
        with _in_words():
            done = setup.set_up(
                tenant=_tenant(asked), slug=slug, wish=_wish(asked, new=True), by=asked.caller.user_id, now=asked.now
            )
            row = _changed(asked, done.row, asked.body.keys() & {"enabled", "limits"})
        return _set_up(asked, row, done)


class InstallationItem(rooms.InstallationItem):
    """`installations/{slug}/`, with changing and removing."""

    parser_classes = [LargeJson]

    @operation(
        name="change_installation",
        roles=RUN,
        answer=SetUp,
        body=InstallationChange,
        match=Match.MUST,
        fails=_FAILS,
    )
    def patch(self, asked: Asked, slug: str) -> dict[str, Any]:
        """Change how a provider is exported.

        Another client, or other addresses, end the connections that were made for the ones before. If-Match takes the
        ETag of the installation as it was got.
        """
        done = None
        with _in_words():
            if asked.body.keys() <= _LIGHT:
                with transaction.atomic():
                    locked = rooms.installed_at(asked, slug)
                    Installation.objects.select_for_update().get(pk=locked.pk)
                    row = rooms.installed_at(asked, slug)
                    asked.must_match(rooms.Installed(rooms.Shown(row)).data)
                    row = _changed(asked, row, asked.body.keys())
            else:
                row = rooms.installed_at(asked, slug)
                asked.must_match(rooms.Installed(rooms.Shown(row)).data)
                wish = _wish(asked, version=row.version)
                done = setup.set_up(tenant=_tenant(asked), slug=slug, wish=wish, by=asked.caller.user_id, now=asked.now)
                row = _changed(asked, done.row, asked.body.keys() & {"enabled", "limits"})
        return _set_up(asked, row, done)

    @operation(name="remove_installation", roles=RUN)
    def delete(self, asked: Asked, slug: str) -> None:
        """Stop exporting a provider.

        Its connections end here at once, and are revoked at the provider.
        """
        row = rooms.installed_at(asked, slug)
        leave.remove_provider(installation=row, by=asked.caller.user_id, now=asked.now)


def _tenant(asked: Asked) -> Tenant:
    return Tenant.objects.get(pk=asked.caller.tenant_id)


_WISHED: Final = frozenset(each.name for each in fields(setup.Wish))


def _wish(asked: Asked, *, new: bool = False, version: int | None = None) -> setup.Wish:
    stated = {name: said for name, said in asked.body.items() if name in _WISHED}
    stated |= {name: tuple(stated[name]) for name in ("tags", "operations", "scopes") if name in stated}
    if "document" in stated:
        stated["document"] = stated["document"].encode()
    return setup.Wish(**stated, new=new, version=version)


def _changed(asked: Asked, row: Installation, names: Any) -> Installation:  # noqa: ANN401 - names of the body
    """The changes of these names, which ask nobody outside."""
    stated = {name: asked.body[name] for name in names}
    if not stated:
        return row
    if "limits" in stated:
        stated["limits"] = {name: "" if number is None else str(number) for name, number in stated["limits"].items()}
    return services.change(installation=row, version=row.version, by=asked.caller.user_id, **stated)


def _set_up(asked: Asked, row: Installation, done: setup.SetUp | None) -> dict[str, Any]:
    return {
        "installation": rooms.Shown(rooms.installed_at(asked, row.slug)),
        "redirect_uri": callback_url(row.pk),
        "remarks": [in_names(each) for each in done.remarks] if done else [],
        "connections_ended": done.ended.confirmed + done.ended.pending if done else 0,
        "secret_ends_at": done.secret_ends_at if done else None,
    }


@contextmanager
def _in_words() -> Iterator[None]:
    """What the services refuse, as REST says it."""
    try:
        yield
    except services.Stale:
        raise Outdated from None
    except Unconfirmed as unconfirmed:
        raise Conflict(in_names(str(unconfirmed)), "unconfirmed") from None
    except setup.ClientNeeded as needed:
        raise NotUsable(in_names(str(needed)), "client_needed") from None
    except setup.ChoiceNeeded as needed:
        raise NotUsable(in_names(str(needed)), "choice_needed") from None
    except KeysUnavailable as unavailable:
        raise NotNow(str(unavailable)) from None
    except Refused as refused:
        raise NotUsable(in_names(str(refused))) from None


def in_names(sentence: str) -> str:
    """A sentence about options of a command, about members of a body instead."""
    said = sentence.replace("--client-id ID --client-secret-stdin", "--client-id and --client-secret")
    said = said.replace("run this again", "send this again").replace("Run this again", "Send this again")
    return _OPTION.sub(lambda found: found[1].replace("-", "_"), said)


# --- Reviews


class Said(serializers.Serializer[Any]):
    """One thing said of a tool, before and after."""

    name = serializers.CharField()
    old = serializers.JSONField()
    new = serializers.JSONField()


class Differing(serializers.Serializer[Any]):
    """A tool that is new, gone or another one than before."""

    name = serializers.CharField()
    kind = serializers.ChoiceField(["added", "removed", "changed"])
    fields_ = Said(many=True)

    def get_fields(self) -> dict[str, Any]:
        """With a name that REST framework keeps for itself."""
        found = super().get_fields()
        found["fields"] = found.pop("fields_")
        return found


class Review(serializers.Serializer[Any]):
    """What waits for a decision; a digest of null: nothing does."""

    digest = serializers.CharField(allow_null=True)
    listed_at = serializers.DateTimeField(allow_null=True)
    tools = Differing(many=True)


class Decision(Strict):
    """A decision about what waits."""

    decision = Choice(["accept", "refuse"])
    digest = Text(min_length=12, max_length=64, help_text="Of what was looked at.")


class ReviewItem(Endpoint):
    """`installations/{slug}/review/`."""

    tag = "Providers"

    @operation(name="get_review", roles=LOOK, answer=Review)
    def get(self, asked: Asked, slug: str) -> dict[str, Any]:
        """Get what a provider lists now that differs from the tools that serve.

        The words are the provider's own, and nobody has checked them.
        """
        row = rooms.installed_at(asked, slug)
        waiting = review.waiting(row)
        if waiting is None:
            return {"digest": None, "listed_at": None, "tools": []}
        serving = Manifest.read(row.manifest.text if row.manifest else "[]")
        found = differences(serving, Manifest.read(waiting.text))
        tools = [
            {
                "name": each.name,
                "kind": each.kind,
                "fields": [{"name": field.name, "old": field.old, "new": field.new} for field in each.fields],
            }
            for each in found
        ]
        return {"digest": waiting.digest, "listed_at": waiting.listed_at, "tools": tools}

    @operation(
        name="decide_review",
        roles=RUN,
        answer=rooms.Pinned,
        body=Decision,
        fails={HTTPStatus.UNPROCESSABLE_ENTITY: "Nothing waits, or by now something else."},
    )
    def post(self, asked: Asked, slug: str) -> dict[str, Any]:
        """Let what waits serve, or go on with the tools there are.

        Accepting ends the approvals that were given for the old tools. Refused, the same listing does not wait again.
        """
        decide = listing.accept if asked.body["decision"] == "accept" else review.refuse
        row = rooms.installed_at(asked, slug)
        decide(installation=row, digest=asked.body["digest"], by=asked.caller.user_id, now=asked.now)
        return rooms.pinned(rooms.installed_at(asked, slug))
