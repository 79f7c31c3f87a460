"""The document of REST (OpenAPI 3.1), made of what each operation declares (`tenants.api.operation`).

It is loaded when somebody asks for it: no other address needs drf-spectacular.
"""

from __future__ import annotations

import json
from functools import lru_cache
from http import HTTPStatus
from typing import Any, Final, Literal

from django.conf import settings
from django.urls import include, path
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse
from rest_framework import serializers

from tenants.api.bodies import Strict
from tenants.api.operations import Match, Operation, declared_of
from tenants.problems import MEDIA, TYPE

_ABOUT: Final = """
Everything the console does, for programs. A client key is the bearer: it acts as its member, with that member's role,
in that one tenant. Make one with `manage.py client_key_create`, or under Keys. A key asks for no password a second
time, so give programs the least role that does, and let their keys end.

* **Roles**: each operation says whose key it takes. Members find what is their own, and can end it. Whatever is
  another tenant's looks like what does not exist: the same 404.
* **Errors** are problem details (RFC 9457); `type` is a name that stays, `detail` says what to do, and `errors` names
  the members or parameters at fault.
* **Sending again**: a POST with an `Idempotency-Key` (1 to 255 visible characters) is worked once. The same again
  within 24 hours is given the same answer, with `Idempotency-Replayed: true`.
* **Two at once**: what two people may edit has an `ETag`; a change sends it as `If-Match` and is refused with 412 when
  somebody else was first.
* **Lists** come in pages; `next` is the address of the one that follows.
* **Pace**: `RateLimit` says how many requests are left, `RateLimit-Policy` how many there are.

Consents and approvals are not given here. They are a person's answer to what a client wants to do in their name, and a
client that holds a key could answer itself.
"""
_SAME: Final[dict[HTTPStatus, str]] = {
    HTTPStatus.UNAUTHORIZED: "No client key, or not one that works.",
    HTTPStatus.FORBIDDEN: "The key's role does not do.",
    HTTPStatus.NOT_FOUND: "There is nothing at this address, or nothing for you.",
    HTTPStatus.NOT_ACCEPTABLE: "Another form than JSON was asked for.",
    HTTPStatus.TOO_MANY_REQUESTS: "The key's requests for now are used up; Retry-After says when to go on.",
}
_WITH_BODY: Final[dict[HTTPStatus, str]] = {
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The body is too large.",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "The body is not JSON.",
}
_SHOWN: Final[dict[str, Any]] = {
    "create_key": {"name": "nightly report", "expires_days": 90},
    "invite": {"email": "ada@example.com", "role": "auditor"},
    "change_member": {"role": "admin"},
    "change_tenant": {"budgets": {"user": {"tokens": 1_000_000}}},
    "install_provider": {"slug": "sentry", "client_id": "…", "client_secret": "…", "consent": "writes"},
    "change_installation": {"exposure": "strict", "limits": {"tool_calls_per_ask": 8}},
    "choose_tools": {"tools": {"search": {"effect": "read"}, "purge": {"offered": False}}},
    "decide_review": {"decision": "accept", "digest": "0f4f2a9c1b7d"},
    "import_tokens": {"provider": "sentry", "email": "ada@example.com", "access_token": "…", "expires_in": 3600},
}
"""A body for each operation that takes one."""


class Fault(serializers.Serializer[Any]):
    """What is wrong with a member of the body, or a parameter."""

    pointer = serializers.CharField(required=False, help_text="Where in the body (RFC 6901).")
    parameter = serializers.CharField(required=False, help_text="Which parameter.")
    detail = serializers.CharField()


class Problem(serializers.Serializer[Any]):
    """What went wrong (RFC 9457)."""

    type = serializers.CharField(help_text=f"{TYPE}…: stays what it is.")
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField(help_text="What to do.")
    errors = Fault(many=True, required=False)  # type: ignore[assignment]  # a member, not what is wrong with this


class ClientKeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # it has no types
    """The bearer."""

    target_class = "tenants.api.callers.ClientKeyAuthentication"
    name = "clientKey"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, Any]:  # noqa: ARG002 - its signature
        """As OpenAPI has it."""
        return {"type": "http", "scheme": "bearer", "description": "A client key: `Authorization: Bearer mak_…`."}


class Described(AutoSchema):
    """An operation, by what it declares."""

    @property
    def declared(self) -> Operation:
        """What that is."""
        found = declared_of(self.view, self.method)
        assert found is not None, f"{self.method} {self.path} declares nothing"  # noqa: S101 - every one does
        return found

    def get_operation_id(self) -> str:
        """Its name."""
        return self.declared.name

    def get_tags(self) -> list[str]:
        """Which part it belongs to."""
        view: Any = self.view
        return [view.tag]

    def get_summary(self) -> str:
        """Its docstring's first sentence."""
        return self.declared.summary

    def get_description(self) -> str:  # type: ignore[override]  # as drf-spectacular has it
        """The rest of it, and whose key it takes."""
        who = f"Takes a key of: {self.declared.who}."
        return f"{self.declared.about}\n\n{who}" if self.declared.about else who

    def get_extensions(self) -> dict[str, Any]:
        """The roles, for programs."""
        return {"x-roles": sorted(self.declared.roles)}

    def get_request_serializer(self) -> type[serializers.Serializer[Any]] | None:
        """The body."""
        return self.declared.body

    def get_examples(self) -> list[OpenApiExample]:
        """Of the body."""
        shown = _SHOWN.get(self.declared.name)
        return [OpenApiExample("Example", value=shown, request_only=True)] if shown else []

    def get_override_parameters(self) -> list[Any]:
        """The parameters of the address, and the headers that go in and out."""
        declared = self.declared
        header: Literal["header"] = "header"
        good = [declared.status.value]
        found: list[Any] = [declared.query] if declared.query is not Strict else []
        if self.method == "POST":
            about = "1 to 255 visible characters: the same request again is given the same answer."
            found.append(
                OpenApiParameter(
                    "Idempotency-Key", {**_TEXT, "minLength": 1, "maxLength": 255}, header, description=about
                )
            )
            said = "The request was worked before, and this is what it was answered."
            found.append(OpenApiParameter("Idempotency-Replayed", _TEXT, header, description=said, response=good))
        if declared.match is not Match.NO:
            must = declared.match is Match.MUST
            about = "The ETag of what was seen."
            found.append(OpenApiParameter("If-Match", _TEXT, header, required=must, description=about))
        if declared.tagged:
            found.append(OpenApiParameter("ETag", _TEXT, header, description="Of what it is now.", response=good))
        if declared.paged:
            said = "The page that follows, as rel=next."
            found.append(OpenApiParameter("Link", _TEXT, header, description=said, response=good))
        paced = [code for code in self._statuses() if code != HTTPStatus.UNAUTHORIZED]
        for name, said in (("RateLimit", "What is left."), ("RateLimit-Policy", "How much there is.")):
            found.append(OpenApiParameter(name, _TEXT, header, description=said, response=paced))
        found.append(OpenApiParameter("WWW-Authenticate", _TEXT, header, description="The challenge.", response=[401]))
        found.append(OpenApiParameter("Retry-After", _TEXT, header, description="In seconds.", response=[429]))
        return found

    def get_response_serializers(self) -> Any:  # noqa: ANN401 - drf-spectacular takes much
        """The answer, and every way to fail."""
        declared = self.declared
        good = declared.answer
        if good is not None and declared.paged:
            good = _page_of(good)
        found: dict[Any, Any] = {declared.status.value: OpenApiResponse(good, description=declared.summary)}
        for status, said in sorted(self._failures().items()):
            found[(status.value, MEDIA)] = OpenApiResponse(Problem, description=said)
        return found

    def _statuses(self) -> list[int]:
        return [self.declared.status.value, *(status.value for status in self._failures())]

    def _failures(self) -> dict[HTTPStatus, str]:
        declared, failures = self.declared, dict(_SAME)
        failures[HTTPStatus.BAD_REQUEST] = "A parameter, a header or a member of the body cannot be what it is."
        if self.method in {"POST", "PATCH"}:
            failures |= _WITH_BODY
        if self.method == "POST":
            failures[HTTPStatus.CONFLICT] = "The same Idempotency-Key is being worked, or its outcome is not known."
            failures[HTTPStatus.UNPROCESSABLE_ENTITY] = "The Idempotency-Key was used for another request."
        if self.method in {"PATCH", "DELETE"}:
            failures[HTTPStatus.UNPROCESSABLE_ENTITY] = "It cannot be done as things are."
        if declared.match is not Match.NO:
            failures[HTTPStatus.PRECONDITION_FAILED] = "It was changed meanwhile."
        if declared.match is Match.MUST:
            failures[HTTPStatus.PRECONDITION_REQUIRED] = "If-Match is missing."
        for status, said in declared.fails.items():
            there = failures.get(status)
            failures[status] = f"{said} {there}" if there and status not in _SAME else said
        return failures

    def _map_basic_serializer(self, serializer: object, direction: object) -> dict[str, Any]:
        schema: dict[str, Any] = super()._map_basic_serializer(serializer, direction)  # type: ignore[no-untyped-call]  # it has no types
        if isinstance(serializer, Strict):
            schema["additionalProperties"] = False
        return schema


_TEXT: Final = {"type": "string"}


@lru_cache
def _page_of(kind: type[serializers.Serializer[Any]]) -> type[serializers.Serializer[Any]]:
    name = f"{kind.__name__}Page"
    members = {
        "__doc__": "A part of a list.",
        "items": kind(many=True),
        "next": serializers.URLField(allow_null=True, help_text="The page that follows; null: there is none."),
    }
    return type(name, (serializers.Serializer,), members)


@lru_cache(maxsize=1)
def document() -> dict[str, Any]:
    """The whole document; made once in each process."""
    generator: Any = SchemaGenerator
    made = generator(patterns=[path("api/", include("metaagent.api.urls"))]).get_schema(public=True)
    found: dict[str, Any] = json.loads(json.dumps(made, default=str))
    return found


def introduced(result: dict[str, Any], **_: object) -> dict[str, Any]:
    """What stands before the addresses; the generator calls it last."""
    return {
        **result,
        "info": {**result["info"], "description": _ABOUT.strip()},
        "servers": [{"url": settings.PUBLIC_URL}],
    }
