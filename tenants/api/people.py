"""REST: a tenant and who is in it."""

from __future__ import annotations

from dataclasses import fields, replace
from http import HTTPStatus
from typing import Any
from uuid import UUID

from django.db import transaction
from django.http import Http404
from rest_framework import serializers

from tenants import budgets, invitations, models, selectors, services
from tenants.access import LOOK, RUN
from tenants.api.bodies import Choice, Strict, Text, Whole
from tenants.api.callers import ANYBODY
from tenants.api.cursors import Page
from tenants.api.operations import Asked, Endpoint, Match, operation
from tenants.models import Membership, Role
from tenants.problems import NOTHING

TAKEN = {HTTPStatus.UNPROCESSABLE_ENTITY: "It cannot be done as things are: the last owner, for example, stays one."}


class OwnTenant(serializers.Serializer[Any]):
    """A tenant, and what the caller is there."""

    slug = serializers.CharField()
    name = serializers.CharField()
    role = serializers.ChoiceField(Role.choices)


class TenantList(Endpoint):
    """`tenants/`."""

    tag = "Tenants"

    @operation(name="list_tenants", roles=ANYBODY, answer=OwnTenant, paged=True)
    def get(self, asked: Asked) -> Page:
        """The tenant that your key belongs to.

        A client key is of one member of one tenant, so there is exactly one.
        """
        member = selectors.membership(asked.caller.tenant_id, asked.caller.user_id)
        if member is None:
            raise Http404(NOTHING)
        return Page([{"slug": member.tenant.slug, "name": member.tenant.name, "role": member.role}])


class Use(serializers.Serializer[Any]):
    """What is used in a day, or may be; as a limit, 0 is none."""

    turns = serializers.IntegerField(help_text="Of a model.")
    calls = serializers.IntegerField(help_text="Of tools.")
    tokens = serializers.IntegerField()
    micros = serializers.IntegerField(help_text="Micro-dollars.")
    ms = serializers.IntegerField(help_text="Time in which asks are worked.")


class Budgets(serializers.Serializer[Any]):
    """What a tenant lets be used in a day, where that is less than the deployment does."""

    tenant = Use(help_text="By everybody together.")
    user = Use(help_text="By each person.")


class Tenant(serializers.Serializer[Any]):
    """A tenant."""

    slug = serializers.CharField()
    name = serializers.CharField()
    budgets = Budgets()
    created_at = serializers.DateTimeField()


class UseChange(Strict):
    """Limits of a day; what is left out stays."""

    def get_fields(self) -> dict[str, Any]:
        """One for each that is counted."""
        return {each.name: Whole(min_value=0, max_value=10**15, required=False) for each in fields(budgets.Use)}


class BudgetsChange(Strict):
    """Limits of a day; what is left out stays."""

    tenant = UseChange(required=False)
    user = UseChange(required=False)


class TenantChange(Strict):
    """What becomes of a tenant; what is left out stays."""

    name = Text(min_length=1, max_length=120, required=False)
    budgets = BudgetsChange(required=False)


class TenantItem(Endpoint):
    """`tenants/{tenant}/`."""

    tag = "Tenants"

    @operation(name="get_tenant", roles=LOOK, answer=Tenant, tagged=True)
    def get(self, asked: Asked) -> dict[str, Any]:
        """Get the tenant, with its own budgets.

        What holds is the lower of these and the deployment's: see usage/today/.
        """
        return _shown(models.Tenant.objects.get(pk=asked.caller.tenant_id))

    @operation(
        name="change_tenant",
        roles=RUN,
        answer=Tenant,
        body=TenantChange,
        tagged=True,
        match=Match.MUST,
        fails={HTTPStatus.UNPROCESSABLE_ENTITY: "With such a budget nobody could ask anything."},
    )
    def patch(self, asked: Asked) -> dict[str, Any]:
        """Rename the tenant, or change its budgets. Its slug, and with it its addresses, stay."""
        said, by = asked.body, asked.caller.user_id
        with transaction.atomic():
            services.hold(asked.caller.tenant_id)
            row = models.Tenant.objects.get(pk=asked.caller.tenant_id)
            asked.must_match(Tenant(_shown(row)).data)
            if "name" in said:
                services.rename_tenant(tenant=row, name=said["name"], by=by)
            if "budgets" in said:
                own, more = budgets.own(row), said["budgets"]
                limits = budgets.DayLimits(
                    replace(own.tenant, **more.get("tenant", {})), replace(own.user, **more.get("user", {}))
                )
                budgets.set_budgets(tenant=row, limits=limits, by=by)
            return _shown(models.Tenant.objects.get(pk=row.pk))


def _shown(row: models.Tenant) -> dict[str, Any]:
    return {"slug": row.slug, "name": row.name, "budgets": budgets.own(row), "created_at": row.created_at}


class Member(serializers.Serializer[Any]):
    """A person in a tenant."""

    id = serializers.UUIDField(help_text="Of the membership.")
    user_id = serializers.UUIDField(help_text="Of the person, as the audit log has it.")
    email = serializers.CharField(source="user.email")
    name = serializers.CharField(source="user.name")
    role = serializers.ChoiceField(Role.choices)
    active = serializers.BooleanField(source="user.is_active", help_text="Whether they can log in at all.")
    created_at = serializers.DateTimeField()


class MemberChange(Strict):
    """What becomes of a member."""

    role = Choice(Role.choices)


class MemberList(Endpoint):
    """`members/`."""

    tag = "People"

    @operation(name="list_members", roles=LOOK, answer=Member, paged=True)
    def get(self, asked: Asked) -> Page:
        """List the members of the tenant."""
        return asked.page(selectors.memberships(asked.caller.tenant_id), "user__email", "pk")


class MemberItem(Endpoint):
    """`members/{id}/`; leaving is the vault's matter."""

    tag = "People"

    @operation(name="get_member", roles=LOOK, answer=Member, tagged=True)
    def get(self, asked: Asked, id: UUID) -> Membership:  # noqa: A002 - the name in the address
        """Get a member."""
        return member_of(asked, id)

    @operation(
        name="change_member",
        roles=RUN,
        answer=Member,
        body=MemberChange,
        tagged=True,
        match=Match.MAY,
        fails=TAKEN,
    )
    def patch(self, asked: Asked, id: UUID) -> Membership:  # noqa: A002 - see above
        """Give a member another role.

        Nobody gives or takes what is above their own role, or changes their own. It holds from the next call on.
        """
        with transaction.atomic():
            services.hold(asked.caller.tenant_id)
            row = member_of(asked, id)
            asked.must_match(Member(row).data)
            role = asked.body.get("role")
            return services.change_role(membership=row, role=role, by=asked.caller.user_id) if role else row


def member_of(asked: Asked, id: UUID) -> Membership:  # noqa: A002 - see above
    """Raises: Http404."""
    row = selectors.memberships(asked.caller.tenant_id).filter(pk=id).first()
    if row is None:
        raise Http404(NOTHING)
    return row


# --- Invitations


class Invited(serializers.Serializer[Any]):
    """An invitation that nobody has accepted or withdrawn."""

    id = serializers.UUIDField()
    email = serializers.CharField()
    role = serializers.ChoiceField(Role.choices)
    invited_by = serializers.CharField(source="invited_by.email", allow_null=True, default=None)
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField(help_text="From then on its link leads nowhere.")


class NewInvitation(serializers.Serializer[Any]):
    """An invitation that was just made."""

    invitation = Invited()
    link = serializers.CharField(help_text="Shown this once: send it to the person. Only they can use it.")


class InvitationWish(Strict):
    """Who is to be a member, and as what."""

    email = serializers.EmailField(max_length=254)
    role = Choice(Role.choices, required=False, help_text="Without it: member.")


class InvitationList(Endpoint):
    """`invitations/`."""

    tag = "People"

    @operation(name="list_invitations", roles=LOOK, answer=Invited, paged=True)
    def get(self, asked: Asked) -> Page:
        """List the invitations that are open, also those whose time is over."""
        return asked.page(invitations.open_invitations(asked.caller.tenant_id), "created_at", "pk")

    @operation(
        name="invite",
        roles=RUN,
        answer=NewInvitation,
        status=HTTPStatus.CREATED,
        body=InvitationWish,
        fails={HTTPStatus.UNPROCESSABLE_ENTITY: "They are a member already, or invited already."},
    )
    def post(self, asked: Asked) -> dict[str, Any]:
        """Invite a person.

        The link is in the answer, and nowhere afterwards. It makes whoever logs in with that e-mail address a member;
        nobody gives a role above their own.
        """
        row, link = invitations.invite(
            tenant=models.Tenant.objects.get(pk=asked.caller.tenant_id),
            email=asked.body["email"],
            role=asked.body.get("role", Role.MEMBER),
            by=asked.caller.user_id,
            now=asked.now,
        )
        return {"invitation": row, "link": link}


class InvitationItem(Endpoint):
    """`invitations/{id}/`."""

    tag = "People"

    @operation(name="withdraw_invitation", roles=RUN)
    def delete(self, asked: Asked, id: UUID) -> None:  # noqa: A002 - see above
        """Withdraw an invitation: its link leads nowhere any more."""
        row = invitations.open_invitations(asked.caller.tenant_id).filter(pk=id).first()
        if row is None:
            raise Http404(NOTHING)
        invitations.withdraw(invitation=row, by=asked.caller.user_id, now=asked.now)
