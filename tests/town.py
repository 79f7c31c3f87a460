"""A tenant with one of everything that an address can be about."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.apps import apps
from django.db import models

from audit.models import AuditEvent
from tenants import invitations
from tenants import services as tenants
from tenants.models import Tenant, User
from tests.flows.test_approve import asked
from tests.vault.rows import fill
from tests.world import Served, World
from vault.models import Connection, Consent

_BELONGS = ("tenant", "membership", "connection", "installation", "link")
"""By which column of a row it is known whose it is, the surest first."""


@dataclass(frozen=True)
class Town:
    """A tenant with one of everything."""

    world: World
    ids: Mapping[str, object]
    """By the names that addresses and forms have for them."""

    def state(self) -> str:
        """A digest of every row that is this tenant's; the log is left out, which may tell of attempts."""
        rows = {}
        for model in apps.get_models():
            if (path := _path(model)) and model is not AuditEvent:
                found = model._default_manager.filter(**{path: self.world.tenant.pk}).values()
                rows[model.__name__] = sorted(map(str, found))
        return hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()


def _path(model: type[models.Model]) -> str:
    if model is Tenant:
        return "pk"
    names = {each.name for each in model._meta.fields if isinstance(each, models.ForeignKey)}
    for name in _BELONGS:
        if name in names:
            return f"{name}_id" if name == "tenant" else f"{name}__tenant_id"
    return ""


def town(product: Served, sandbox: Served, name: str) -> Town:
    world, now = World(product, sandbox), datetime.now(UTC)
    member = tenants.add_member(tenant=world.tenant, user=world.me.user, role="owner", by=None)
    Tenant.objects.filter(pk=world.tenant.pk).update(name=name)
    User.objects.filter(pk=world.me.user.pk).update(name=name)
    [connection] = fill(world.installation, world.me.user, 1)
    Connection.objects.filter(pk=connection.pk).update(account_label=name)
    consent = Consent.objects.create(
        tenant=world.tenant,
        user=world.me.user,
        connection=connection,
        client="key:none",
        effect="read",
        asked_at=now,
        answer_until=now + timedelta(minutes=5),
    )
    invitation, _ = invitations.invite(
        tenant=world.tenant, email=f"{name}@example.com", role="member", by=world.me.user.pk, now=now
    )
    return Town(
        world,
        {
            "tenant": world.tenant.slug,
            "slug": "sentry",
            "connection_id": connection.pk,
            "consent_id": consent.pk,
            "approval_id": asked(world, connection).rstrip("/").rpartition("/")[2],
            "key_id": member.client_keys.get().pk,
            "installation_id": world.installation.pk,
            "membership_id": member.pk,
            "user_id": world.me.user.pk,
            "invitation_id": invitation.pk,
            "seq": AuditEvent.objects.filter(tenant_id=world.tenant.pk).latest("seq").seq,
        },
    )
