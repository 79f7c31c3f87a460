"""REST: the audit log. Reading it is recorded, as the pages do it."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from django.http import Http404
from rest_framework import serializers

from audit import selectors as log
from audit import services as audit
from audit import verification
from audit.events import EventKind
from audit.timeline import OUTCOMES, SUBJECTS, Wanted, WrongFilter
from tenants.access import LOOK
from tenants.api.bodies import BadQuery
from tenants.api.cursors import Page
from tenants.api.operations import Asked, Endpoint, Paged, operation
from tenants.problems import NOTHING

FILTERS = tuple(Wanted.__dataclass_fields__)


class Event(serializers.Serializer[Any]):
    """One fact: something that happened, or is about to (`…intent`)."""

    seq = serializers.IntegerField(help_text="Later events have higher numbers.")
    id = serializers.UUIDField()
    at = serializers.DateTimeField()
    kind = serializers.CharField(help_text="subject.action.outcome")
    user_id = serializers.UUIDField(allow_null=True)
    client = serializers.CharField()
    run_id = serializers.CharField()
    provider = serializers.CharField()
    connection_id = serializers.UUIDField(allow_null=True)
    tool = serializers.CharField()
    args_hmac = serializers.CharField(help_text="A keyed hash of a call's arguments.")
    intent_id = serializers.UUIDField(allow_null=True, help_text="The event that said it was about to happen.")
    detail = serializers.DictField(child=serializers.JSONField())


class EventsWanted(Paged):
    """Which events; all that is said has to hold."""

    user = serializers.CharField(max_length=36, required=False, help_text="Who: a person's id.")
    client = serializers.CharField(max_length=120, required=False, help_text="As events have it.")
    provider = serializers.CharField(max_length=120, required=False)
    account = serializers.CharField(max_length=36, required=False, help_text="A connection's id.")
    run = serializers.CharField(max_length=120, required=False, help_text="An answer's telemetry id.")
    subject = serializers.CharField(required=False, help_text=f"One of {', '.join(SUBJECTS)}.")
    action = serializers.CharField(required=False, help_text="What was done: the second part of a kind.")
    outcome = serializers.CharField(required=False, help_text=f"One of {', '.join(OUTCOMES)}.")
    since = serializers.CharField(required=False, help_text="A date (UTC) or a moment, such as 2026-01-31T14:00.")
    until = serializers.CharField(required=False, help_text="The same; a date's whole day belongs to it.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Read as the pages read them."""
        stated = {name: attrs.pop(name) for name in FILTERS if name in attrs}
        try:
            return {**attrs, "wanted": Wanted.read(stated)}
        except WrongFilter as unfit:
            name, _, said = str(unfit).partition(" ")
            raise BadQuery({name: [f"This {said}"]}) from None


class EventList(Endpoint):
    """`audit/events/`."""

    tag = "Audit"

    @operation(name="list_events", roles=LOOK, answer=Event, query=EventsWanted, paged=True)
    def get(self, asked: Asked) -> Page:
        """List what happened in the tenant, the newest first. This is recorded.

        A page looks through 50,000 events at most: with filters it may hold few, or none, and still have a `next`.
        """
        wanted: Wanted = asked.query["wanted"]
        assert asked.place is not None  # noqa: S101 - it is declared `paged`
        before = int(asked.place.after[0]) if asked.place.after else None
        found = log.stretch(asked.caller.tenant_id, wanted, before=before, most=asked.place.limit)
        _recorded(asked, "list", wanted)
        return Page(found.events, None if found.before is None else [str(found.before)])


class EventItem(Endpoint):
    """`audit/events/{seq}/`."""

    tag = "Audit"

    @operation(name="get_event", roles=LOOK, answer=Event)
    def get(self, asked: Asked, seq: int) -> Any:  # noqa: ANN401 - a row of the log
        """Get one event. This is recorded."""
        row = log.event(asked.caller.tenant_id, seq)
        if row is None:
            raise Http404(NOTHING)
        _recorded(asked, "event", Wanted(), seq=seq)
        return row


class Verified(serializers.Serializer[Any]):
    """Whether the log is what was sealed, as far as it was checked."""

    sealed_at = serializers.DateTimeField(allow_null=True, help_text="When the last checkpoint was made.")
    waiting = serializers.IntegerField(help_text="Events that are not sealed yet, counted up to 10,000.")
    checking = serializers.BooleanField(help_text="It is being checked, or will be soon.")
    share = serializers.IntegerField(help_text="How far that has come, in hundredths.")
    checked_at = serializers.DateTimeField(allow_null=True, help_text="When it was last checked to its end.")
    problem = serializers.CharField(help_text="The first place that is not what was sealed; empty: none was found.")


class VerificationItem(Endpoint):
    """`audit/verification/`."""

    tag = "Audit"

    @operation(name="get_verification", roles=LOOK, answer=Verified)
    def get(self, asked: Asked) -> dict[str, Any]:
        """See whether the log is what was sealed, as the last check found it."""
        return _verified(asked)

    @operation(name="verify_log", roles=LOOK, answer=Verified, status=HTTPStatus.ACCEPTED)
    def post(self, asked: Asked) -> dict[str, Any]:
        """Have the whole log checked, in the background."""
        verification.ask(tenant_id=asked.caller.tenant_id, user_id=asked.caller.user_id, now=asked.now)
        return _verified(asked)


def _verified(asked: Asked) -> dict[str, Any]:
    found = log.sealed(asked.caller.tenant_id)
    state = found.verification if found else None
    return {
        "sealed_at": found.at if found else None,
        "waiting": found.waiting if found else 0,
        "checking": bool(state and (state.asked_at or state.began_at)),
        "share": found.share if found else 0,
        "checked_at": state.ended_at if state else None,
        "problem": state.problem if state else "",
    }


def _recorded(asked: Asked, what: str, wanted: Wanted, seq: int | None = None) -> None:
    named = " ".join(name for name in FILTERS if getattr(wanted, name) is not None)
    audit.record(
        EventKind.LOG_READ,
        tenant_id=asked.caller.tenant_id,
        user_id=asked.caller.user_id,
        client=asked.caller.client,
        what=what,
        filters=named,
        seq=seq,
    )
