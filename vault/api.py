"""REST for automation: tokens that another system obtained become connections."""

from __future__ import annotations

from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any
from uuid import UUID

from rest_framework import exceptions, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from providers import selectors as providers
from tenants import selectors as tenants
from tenants.api import caller_of
from tenants.models import User
from tenants.problems import NOTHING
from tenants.services import Refused
from vault.models import Connection
from vault.services import import_
from vault.services.accounts import ADMINS


class NotUsable(exceptions.APIException):
    """A body that is well-formed and cannot be used."""

    status_code = HTTPStatus.UNPROCESSABLE_ENTITY


class NotNow(exceptions.APIException):
    """Time, or an administrator, fixes it."""

    status_code = HTTPStatus.SERVICE_UNAVAILABLE


class Destination(serializers.Serializer[dict[str, Any]]):
    """Where tokens belong. The token set beside it is read by `vault.services.import_`."""

    provider = serializers.CharField(max_length=32)
    email = serializers.EmailField(max_length=254, required=False)
    shared = serializers.BooleanField(default=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """A person's or everybody's, and not both."""
        if ("email" in attrs) == attrs["shared"]:
            raise serializers.ValidationError('Say whose it is: "email", or "shared": true for everybody.')
        return attrs


class ImportView(APIView):
    """`POST /api/v1/tenants/{tenant}/connections/`."""

    def post(self, request: Request, tenant: str) -> Response:
        """Keep a token set as somebody's account. An unknown tenant, provider or person is the same 404."""
        caller = caller_of(request)
        if caller.tenant != tenant:
            raise exceptions.NotFound(NOTHING)
        if caller.role not in ADMINS:
            raise exceptions.PermissionDenied("Only an administrator's client key may bring tokens.")
        body: dict[str, Any] = dict(request.data)
        where = Destination(data={name: body.pop(name) for name in ("provider", "email", "shared") if name in body})
        where.is_valid(raise_exception=True)
        stated = where.validated_data
        installation = providers.installation(caller.tenant_id, stated["provider"])
        owner = _member(caller.tenant_id, stated["email"]) if "email" in stated else None
        if installation is None or (owner is None and not stated["shared"]):
            raise exceptions.NotFound(NOTHING)
        try:
            row = import_.import_tokens(
                installation=installation, owner=owner, given=body, by=caller.user_id, now=datetime.now(UTC)
            )
        except import_.NotNow as later:
            raise NotNow(str(later)) from None
        except Refused as refused:
            raise NotUsable(str(refused)) from None
        return Response(_facts(row), HTTPStatus.CREATED)


def _facts(row: Connection) -> dict[str, str]:
    """A connection, without anything secret."""
    return {
        "id": str(row.pk),
        "account_id": row.account_id,
        "account_label": row.account_label,
        "status": row.status,
    }


def _member(tenant_id: UUID, email: str) -> User | None:
    user = User.objects.filter(email=email.strip().lower()).first()
    found = tenants.membership(tenant_id, user.pk) if user else None
    return found.user if found else None
