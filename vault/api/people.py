"""REST: what people have allowed, and leaving a tenant.

Nothing can be allowed here. A consent or an approval is a person's answer to a question about what a client wants to do
in their name, and the client holds a key of that person: it could answer itself. It is given on a page, by somebody who
is logged in. Taking it back is offered.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet
from django.http import Http404
from rest_framework import serializers

from providers.spec import Effect
from tenants import selectors as tenants
from tenants.access import RUN
from tenants.api import people as rooms
from tenants.api.callers import ANYBODY
from tenants.api.cursors import Page
from tenants.api.operations import Asked, Endpoint, operation
from tenants.problems import NOTHING
from vault.models import Approval, Consent, Question
from vault.services import leave, question

EFFECTS = [(each.value, each.value) for each in Effect]
STATES = [(each.value, each.value) for each in question.State]


class Allowed(serializers.Serializer[Any]):
    """What somebody lets a client do, and through which connection."""

    id = serializers.UUIDField()
    email = serializers.CharField(source="user.email", help_text="Who allows it.")
    client = serializers.CharField(help_text="The client, as the audit log has it.")
    client_name = serializers.SerializerMethodField(help_text="What it is called; empty: it is gone.")
    connection_id = serializers.UUIDField()
    provider = serializers.CharField(source="connection.installation.slug")
    account = serializers.CharField(source="connection.label")
    effect = serializers.ChoiceField(EFFECTS)
    asked_at = serializers.DateTimeField()
    given_at = serializers.DateTimeField(allow_null=True)
    expires_at = serializers.DateTimeField(allow_null=True)

    def get_client_name(self, row: Question) -> str:
        """What people call the client."""
        return tenants.client_name(row.client)


class GivenConsent(Allowed):
    """A consent that stands."""


class AskedApproval(Allowed):
    """An approval of one call that waits for its person, or was given and is not used yet; without its arguments."""

    tool = serializers.CharField()
    state = serializers.ChoiceField(STATES)
    answer_until = serializers.DateTimeField()


class ConsentList(Endpoint):
    """`consents/`."""

    tag = "Consents and approvals"

    @operation(name="list_consents", roles=ANYBODY, answer=GivenConsent, paged=True)
    def get(self, asked: Asked) -> Page:
        """List consents that stand: the tenant's, or to members their own.

        A consent cannot be given here: a client that holds a key could allow itself what it wants. It is given by a
        person who is logged in, on a page.
        """
        return asked.page(_consents(asked).filter(_seen(asked)), "asked_at", "pk")


class ConsentItem(Endpoint):
    """`consents/{id}/`."""

    tag = "Consents and approvals"

    @operation(name="withdraw_consent", roles=ANYBODY)
    def delete(self, asked: Asked, id: UUID) -> None:  # noqa: A002 - the name in the address
        """Take a consent back: one of your own, or as an administrator anybody's in the tenant.

        No call that starts later has it.
        """
        row = _consents(asked).filter(Q() if asked.caller.runs else _own(asked), pk=id).first()
        if row is None or not question.withdraw(row, by=asked.caller.user_id, now=asked.now):
            raise Http404(NOTHING)


class ApprovalList(Endpoint):
    """`approvals/`."""

    tag = "Consents and approvals"

    @operation(name="list_approvals", roles=ANYBODY, answer=AskedApproval, paged=True)
    def get(self, asked: Asked) -> Page:
        """List approvals that wait for an answer or for their call: the tenant's, or to members their own.

        An approval cannot be given here: a client that holds a key could approve its own writes. It is given by a
        person who is logged in, on a page that shows the call.
        """
        page = asked.page(_approvals(asked).filter(_seen(asked)), "asked_at", "pk")
        for row in page.items:
            row.state = question.state(row, now=asked.now)
        return page


class ApprovalItem(Endpoint):
    """`approvals/{id}/`."""

    tag = "Consents and approvals"

    @operation(name="decline_approval", roles=ANYBODY)
    def delete(self, asked: Asked, id: UUID) -> None:  # noqa: A002 - see above
        """Decline an approval you are asked for, or take one back that you gave and that is not used yet."""
        row = _approvals(asked).filter(_own(asked), pk=id).first()
        if row is None:
            raise Http404(NOTHING)
        if not (question.decline(row, now=asked.now) or question.withdraw(row, by=asked.caller.user_id, now=asked.now)):
            raise Http404(NOTHING)


class MemberItem(rooms.MemberItem):
    """`members/{id}/`, with leaving."""

    @operation(name="remove_member", roles=RUN, fails=rooms.TAKEN)
    def delete(self, asked: Asked, id: UUID) -> None:  # noqa: A002 - see above
        """Take a person out of the tenant.

        Their keys, consents and links there end at once, and their own connections, which are then revoked at their
        providers.
        """
        leave.remove_member(membership=rooms.member_of(asked, id), by=asked.caller.user_id, now=asked.now)


def _seen(asked: Asked) -> Q:
    return Q() if asked.caller.looks else _own(asked)


def _own(asked: Asked) -> Q:
    return Q(user_id=asked.caller.user_id)


def _consents(asked: Asked) -> QuerySet[Consent]:
    rows = Consent.objects.filter(tenant_id=asked.caller.tenant_id, once="", given_at__isnull=False, withdrawn_at=None)
    return rows.filter(expires_at__gt=asked.now).select_related("user", "connection__installation")


def _approvals(asked: Asked) -> QuerySet[Approval]:
    open_ = Q(given_at=None, declined_at=None, answer_until__gt=asked.now)
    given = Q(given_at__isnull=False, used_at=None, expires_at__gt=asked.now)
    rows = Approval.objects.filter(open_ | given, tenant_id=asked.caller.tenant_id, withdrawn_at=None)
    return rows.select_related("user", "connection__installation")
