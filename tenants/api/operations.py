"""An operation is declared once: who may, what it takes, what it gives. It is held to that, and documented by it."""

from __future__ import annotations

import functools
import inspect
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from hashlib import sha256
from http import HTTPStatus
from typing import Any, ClassVar, Concatenate, Final, ParamSpec

from django.http import Http404
from rest_framework import exceptions, serializers
from rest_framework.permissions import BasePermission, IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from audit.fingerprint import canonical
from tenants import repeats
from tenants.api.bodies import Strict, checked_body, checked_query
from tenants.api.callers import Caller, caller_of
from tenants.api.cursors import A_PAGE, MOST, Page, Place, place
from tenants.models import Role
from tenants.problems import NOTHING, Conflict, NotUsable, Outdated, Unconditional
from tenants.services import Refused

P = ParamSpec("P")
Form = serializers.Serializer[Any]
Work = Callable[Concatenate[Any, "Asked", P], Any]
_NAMES: Final = {Role.ADMIN: "administrator", Role.OWNER: "owner", Role.AUDITOR: "auditor", Role.MEMBER: "member"}
_WORD: Final = re.compile(r"[\x21-\x7e]{1,255}")
_LEAST_BUSY_S: Final = 2
_SAFE: Final = frozenset({"GET", "HEAD"})
_NOTHING_DONE: Final = (Refused, Http404)


class Match(Enum):
    """Whether a change says what it is a change of (`If-Match`)."""

    NO = "no"
    MAY = "may"
    MUST = "must"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """What is declared of one method of one address."""

    name: str
    """As clients that are made from the document call it."""
    summary: str
    about: str
    """What else there is to say."""
    roles: frozenset[Role]
    answer: type[Form] | None
    status: HTTPStatus
    body: type[Form] | None
    query: type[Form]
    paged: bool
    tagged: bool
    """Its answer has an ETag."""
    match: Match
    fails: Mapping[HTTPStatus, str]
    """How it may fail besides what is alike for all, in words."""

    @property
    def who(self) -> str:
        """The roles in words."""
        named = [_NAMES[role] for role in Role if role in self.roles]
        return named[0] if len(named) == 1 else f"{', '.join(named[:-1])} or {named[-1]}"


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, read."""

    caller: Caller
    now: datetime
    query: Mapping[str, Any]
    body: dict[str, Any]
    place: Place | None
    seen: str = ""
    """Its If-Match."""

    def page(self, rows: Any, *order: str) -> Page:  # noqa: ANN401 - a query of any model
        """The part of a list that is asked for."""
        assert self.place is not None  # noqa: S101 - only what is declared `paged` calls this
        return self.place.of(rows, *order)

    def must_match(self, stated: Mapping[str, Any]) -> None:
        """Hold what is there, as it would be answered, against what the client has seen.

        Call it while nobody else can change it. Raises: Outdated.
        """
        tags = [each.strip() for each in self.seen.split(",")]
        if self.seen and "*" not in tags and tag_of(stated) not in tags:
            raise Outdated


class Allowed(BasePermission):
    """Members of the tenant in the address, of the roles that the operation declares."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Raises: NotFound for any other tenant, whether there is one or not; PermissionDenied."""
        caller = caller_of(request)
        if view.kwargs.get("tenant", caller.tenant) != caller.tenant:
            raise exceptions.NotFound(NOTHING)
        declared = declared_of(view, request.method or "")
        if declared is not None and caller.role not in declared.roles:
            raise exceptions.PermissionDenied(f"Only a client key of an {declared.who} may do this.")
        return True


class Endpoint(APIView):
    """An address. What it does for each method is declared with `operation`."""

    http_method_names = ["get", "head", "post", "patch", "delete"]
    permission_classes = [IsAuthenticated, Allowed]
    tag: ClassVar[str]
    """Which part of the document it belongs to."""
    pace: Mapping[str, str]
    """How many requests its caller has left, as headers."""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401, ARG002 - REST framework's signature
        """As REST framework does, but what is forbidden counts too."""
        self.pace, self.format_kwarg = {}, None
        negotiated = self.perform_content_negotiation(request)
        request.accepted_renderer, request.accepted_media_type = negotiated
        self.perform_authentication(request)
        self.check_throttles(request)
        self.check_permissions(request)

    def finalize_response(self, request: Any, response: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - see above
        """With the caller's pace."""
        answer = super().finalize_response(request, response, *args, **kwargs)
        for name, said in getattr(self, "pace", {}).items():
            answer[name] = said
        return answer


class Nothing(Endpoint):
    """Every address that there is not."""

    schema = None

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - see above
        """Raises: NotFound, after what any other address looks at."""
        super().initial(request, *args, **kwargs)
        raise exceptions.NotFound(NOTHING)


class Paged(Strict):
    """Parameters of a list."""

    limit = serializers.IntegerField(
        min_value=1,
        max_value=MOST,
        default=A_PAGE,
        help_text="How many to give at once.",
    )
    cursor = serializers.CharField(
        max_length=1_000, default="", help_text="Where to go on: as `next` of the page before has it."
    )


def operation(
    *,
    name: str,
    roles: frozenset[Role],
    answer: type[Form] | None = None,
    status: HTTPStatus = HTTPStatus.OK,
    body: type[Form] | None = None,
    query: type[Form] | None = None,
    paged: bool = False,
    tagged: bool = False,
    match: Match = Match.NO,
    fails: Mapping[HTTPStatus, str] | None = None,
) -> Callable[[Work[P]], Callable[..., Response]]:
    """Declare a method of an `Endpoint`: it is given what is asked, read and allowed, and returns what `answer` shows.

    With `paged` it returns a `Page`. Its docstring is what the document says.
    """

    def decorate(work: Work[P]) -> Callable[..., Response]:
        summary, _, about = inspect.cleandoc(work.__doc__ or "").partition("\n\n")
        declared = Operation(
            name=name,
            summary=" ".join(summary.split()).removesuffix("."),
            about=" ".join(about.split("\n")),
            roles=roles,
            answer=answer,
            status=HTTPStatus.NO_CONTENT if answer is None else status,
            body=body,
            query=query or (Paged if paged else Strict),
            paged=paged,
            tagged=tagged,
            match=match,
            fails=fails or {},
        )

        @functools.wraps(work)
        def answered(view: Endpoint, request: Request, *args: P.args, **ids: P.kwargs) -> Response:
            ids.pop("tenant", None)
            asked = _read(declared, request)

            def worked() -> Response:
                return _told(declared, asked, work(view, asked, *args, **ids))

            return _once(request, asked, worked) if request.method == "POST" else worked()

        answered.operation = declared  # type: ignore[attr-defined]  # what the document and `Allowed` read
        return answered

    return decorate


def declared_of(view: APIView, method: str) -> Operation | None:
    """What is declared of a method of an address."""
    found: Operation | None = getattr(getattr(view, method.lower(), None), "operation", None)
    return found


def tag_of(stated: Mapping[str, Any]) -> str:
    """The strong ETag of what is answered."""
    return f'"{sha256(json.dumps(stated, sort_keys=True, default=str).encode()).hexdigest()[:32]}"'


# --- Reading and telling


def _read(declared: Operation, request: Request) -> Asked:
    """Raises: Invalid, Unconditional, and what REST framework does."""
    query = checked_query(declared.query, request.query_params)
    seen = request.headers.get("If-Match", "").strip() if request.method not in _SAFE else ""
    if declared.match is Match.MUST and not seen:
        raise Unconditional
    if declared.match is Match.NO and seen:
        raise exceptions.ParseError("If-Match is not looked at here. Send it without.", "unconditional_only")
    body = checked_body(declared.body, request.data) if request.method in {"POST", "PATCH"} else {}
    where = None
    if declared.paged:
        given = request.query_params
        filters = {each: str(given[each]) for each in given if each not in {"limit", "cursor"}}
        where = place(request.path, filters, limit=query.pop("limit"), cursor=query.pop("cursor"))
    return Asked(caller_of(request), datetime.now(UTC), query, body, where, seen)


def _told(declared: Operation, asked: Asked, found: Any) -> Response:  # noqa: ANN401 - whatever the answer shows
    if declared.answer is None:
        return Response(status=HTTPStatus.NO_CONTENT)
    if isinstance(found, Page):
        assert asked.place is not None  # noqa: S101 - only what is declared `paged` gives one
        onward = asked.place.next_url(found)
        items = [declared.answer(each).data for each in found.items]
        link = {"Link": f'<{onward}>; rel="next"'} if onward else {}
        return Response({"items": items, "next": onward}, declared.status, headers=link)
    stated = declared.answer(found).data
    return Response(stated, declared.status, headers={"ETag": tag_of(stated)} if declared.tagged else {})


# --- Requests that are sent again


def _once(request: Request, asked: Asked, work: Callable[[], Response]) -> Response:
    """Work it, unless it was worked before: with an Idempotency-Key it is given the answer it had."""
    word = request.headers.get("Idempotency-Key")
    if word is None:
        return work()
    if not _WORD.fullmatch(word):
        raise exceptions.ParseError("Idempotency-Key must be 1 to 255 visible characters, without spaces.", "bad_key")
    whole = canonical([request.method, request.get_full_path(), request.data])
    try:
        taken = repeats.claim(key_id=asked.caller.key_id, word=word, request=whole, now=asked.now)
    except repeats.Another:
        raise NotUsable("This Idempotency-Key was used for another request. Take a new one.", "key_reused") from None
    except repeats.Busy:
        said = "This very request is being worked. Send it again in a moment."
        raise Conflict(said, "being_worked", wait_s=_LEAST_BUSY_S) from None
    except repeats.Unknown:
        said = "Nobody knows what came of this request. Look whether it was done; if not, send it with a new key."
        raise Conflict(said, "outcome_unknown") from None
    if isinstance(taken, repeats.Kept):
        before = json.loads(taken.answer)
        return Response(before["data"], taken.status, headers={**before["headers"], "Idempotency-Replayed": "true"})
    try:
        answer = work()
    except Exception as failed:
        # What says that nothing was done may be tried again; of anything else nobody knows.
        if isinstance(failed, (exceptions.APIException, *_NOTHING_DONE)):
            repeats.release(taken)
        raise
    headers = {name: answer[name] for name in ("ETag", "Link") if name in answer}
    kept = json.dumps({"data": answer.data, "headers": headers}, default=str).encode()
    repeats.keep(taken, status=answer.status_code, answer=kept)
    return answer
