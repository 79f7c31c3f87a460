"""Google Calendar: the day and the week, what is next, free time, invitations, and making appointments."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import partial

from providers import days, google, tools
from providers.egress import encode_query
from providers.errors import BadArguments, Forbidden, NotFound
from providers.spec import Api, Args, Effect, Json, Page, Producer, ProviderSpec, Request, Result, ToolSpec
from providers.tools import (
    SHOWN,
    Row,
    at,
    bullets,
    by_token,
    clean,
    length,
    list_at,
    moment,
    passage,
    path,
    picked,
    plural,
    text_at,
)

_HOME = "/calendar/v3/"
_CALENDARS = _HOME + "users/me/calendarList"
_EVENTS = _HOME + "calendars/{calendar}/events"
_EVENT = _EVENTS + "/{event}"
_MOST_CALENDARS = 10
_MOST_EVENTS = 250

_FIELDS = (
    *("id", "status", "summary", "location", "start.date", "start.dateTime", "end.date", "end.dateTime"),
    *("organizer.email", "organizer.displayName", "hangoutLink", "eventType"),
)

_record = partial(tools.record, "Google Calendar")
_pages = partial(tools.pages, "Google Calendar", rows="items", after=by_token("nextPageToken", "pageToken"))


# --- events ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Event:
    """One event; a whole day's ends at midnight."""

    row: Row
    start: datetime
    end: datetime
    all_day: bool
    calendar: str
    """The calendar it is in, unless it is the person's own."""

    @property
    def mine(self) -> str:
        """What this person has answered: needsAction, declined, tentative or accepted; empty without an invitation."""
        return next((text_at(who, "responseStatus") for who in self.guests if at(who, "self") is True), "")

    @property
    def guests(self) -> list[Row]:
        return list_at(self.row, "attendees")

    @property
    def busy(self) -> bool:
        free = text_at(self.row, "transparency") == "transparent" or text_at(self.row, "eventType") == "workingLocation"
        return not (self.all_day or free or self.mine == "declined")


def _moment(row: Row, key: str, where: tzinfo) -> tuple[datetime, bool] | None:
    """When an event starts or ends, and whether it is a whole day that does."""
    if found := moment(text_at(row, key, "dateTime")):
        return found.astimezone(where), False
    try:
        return days.midnight(date.fromisoformat(text_at(row, key, "date")), where), True
    except ValueError:
        return None


def _event(row: Row, where: tzinfo, calendar: str = "") -> _Event | None:
    start = _moment(row, "start", where)
    end = _moment(row, "end", where) or start
    if start is None or end is None or text_at(row, "status") == "cancelled":
        return None
    return _Event(row, start[0], end[0], start[1], calendar)


async def _own(api: Api) -> tuple[Row, tzinfo]:
    """The person's own calendar, and its time zone."""
    row = _record((await api.get(_CALENDARS + "/primary")).data, "id")
    return row, days.zone(text_at(row, "timeZone"))


async def _calendars(api: Api) -> list[Row]:
    """All calendars a person sees, their own first."""
    rows = await _pages(api, _CALENDARS, {"maxResults": 250}, needs=("id",), most=2)
    return sorted(rows, key=lambda row: at(row, "primary") is not True)


async def _events(
    api: Api, calendar: Row, when: days.Stretch, *, query: str | None = None, most: int = _MOST_EVENTS
) -> list[_Event]:
    """The events of one calendar in order, each repetition by itself."""
    params = {
        "timeMin": when[0].isoformat(),
        "timeMax": when[1].isoformat(),
        "singleEvents": "true",
        "orderBy": "startTime",
        "maxResults": most,
        "q": query,
    }
    rows = await _pages(api, path(_EVENTS, calendar=text_at(calendar, "id")), params, needs=("id",), most=3)
    name = "" if at(calendar, "primary") is True else _name(calendar)
    where = when[0].tzinfo or UTC
    return [found for row in rows if (found := _event(row, where, name))]


async def _all_events(api: Api, shown: list[Row], when: days.Stretch) -> list[_Event]:
    """The events of several calendars in order; what is in two of them, once."""

    async def one(calendar: Row) -> list[_Event]:
        try:
            return await _events(api, calendar, when)
        except (NotFound, Forbidden):  # a calendar of somebody else that is shared no longer
            return []

    found: dict[tuple[str, datetime], _Event] = {}
    for events in await asyncio.gather(*map(one, shown[:_MOST_CALENDARS])):
        for event in events:
            found.setdefault((text_at(event.row, "iCalUID") or text_at(event.row, "id"), event.start), event)
    return sorted(found.values(), key=lambda event: (event.start, event.end))


async def _week(api: Api, args: Args, now: datetime) -> tuple[list[_Event], days.Stretch, str]:
    """What is on all calendars a person has switched on in the days asked for, and their time zone's name."""
    calendars = await _calendars(api)
    shown = [row for row in calendars if at(row, "selected") is True or at(row, "primary") is True]
    where = days.zone(text_at(calendars[0], "timeZone")) if calendars else UTC
    when = days.named(args, now, where)
    return await _all_events(api, shown, when), when, str(where)


# --- words -----------------------------------------------------------------------------------------------------------


def _name(row: Row) -> str:
    name = text_at(row, "summaryOverride") or text_at(row, "summary") or text_at(row, "id")
    return clean(name, 80) or "(no title)"


def _time(event: _Event) -> str:
    if event.all_day:
        last = event.end - timedelta(1)
        return "all day" if last <= event.start else f"until {days.dated(last.date())}"
    return days.hours(event.start, event.end)


def _person(row: Row) -> str:
    return clean(text_at(row, "displayName") or text_at(row, "email"), 60)


def _say(event: _Event) -> str:
    others = [_person(who) for who in event.guests if at(who, "self") is not True and at(who, "resource") is not True]
    place = clean(text_at(event.row, "location"), 80)
    facts = [
        f"at {place}" if place and "://" not in text_at(event.row, "location") else "",
        "video call" if text_at(event.row, "hangoutLink") or at(event.row, "conferenceData") else "",
        f"with {', '.join(others[:4])}{f' and {len(others) - 4} more' if len(others) > 4 else ''}" if others else "",  # noqa: PLR2004
        {"needsAction": "not answered yet", "declined": "declined", "tentative": "maybe"}.get(event.mine, ""),
        f"in {event.calendar}" if event.calendar else "",
    ]
    told = ", ".join(filter(None, facts))
    return f"{_time(event)} **{_name(event.row)}**{f' ({told})' if told else ''}"


def _by_day(events: list[_Event]) -> str:
    """The events under the days they begin on."""
    return days.listed((event.start.date(), _say(event)) for event in events)


def _source(api: Api, row: Row) -> Page:
    found = re.search(r"[?&]eid=([A-Za-z0-9_-]{1,500})(?:&|$)", text_at(row, "htmlLink"))
    url = f"{api.web_base}/calendar/event?eid={found[1]}" if found else f"{api.web_base}/"
    return Page(_name(row), url, text_at(row, "id"))


def _sources(api: Api, events: list[_Event]) -> tuple[Page, ...]:
    return tuple(_source(api, event.row) for event in events[:SHOWN]) or (Page("Google Calendar", f"{api.web_base}/"),)


def _data(event: _Event) -> dict[str, Json]:
    guests = [picked(who, ("email", "displayName", "responseStatus")) for who in event.guests]
    own = {"starts": event.start.isoformat(), "ends": event.end.isoformat(), "calendar": event.calendar or "primary"}
    return {**picked(event.row, _FIELDS), **own, "attendees": guests, "my_answer": event.mine or None}


# --- reads -----------------------------------------------------------------------------------------------------------


async def agenda(api: Api, args: Args) -> Result:
    """What is on in the days asked for, on all calendars that are switched on."""
    now = datetime.now(UTC)
    events, when, where = await _week(api, args, now)
    period = days.said(when, now)
    if not events:
        return Result([], f"Nothing is in the calendar {period}.", _sources(api, []))
    spent = days.spent((event.start, event.end) for event in events if event.busy)
    head = f"{plural(len(events), 'event')} {period}{f', {spent} of them taken' if spent else ''}"
    text = f"{head} (times in {where}):\n{_by_day(events)}"
    return Result([_data(event) for event in events], text, _sources(api, events))


async def next_event(api: Api, _args: Args) -> Result:
    """What is on now, and what comes next within a week."""
    now = datetime.now(UTC)
    events, _, where = await _week(api, {"days": 8}, now)
    timed = [event for event in events if not event.all_day and event.mine != "declined" and event.end > now]
    going, coming = [e for e in timed if e.start <= now], [e for e in timed if e.start > now][:1]
    lines = [f"Now, until {event.end:%H:%M}: {_say(event)}" for event in going]
    for event in coming:
        day = "" if event.start.date() == now.astimezone(event.start.tzinfo).date() else days.dated(event.start.date())
        lines.append(f"Next, in {length(event.start - now)}{f', {day}' if day else ''}: {_say(event)}")
    if not lines:
        return Result([], "Nothing comes within the next 7 days.", _sources(api, []))
    text = f"{bullets(lines)}\n(times in {where})"
    return Result([_data(event) for event in (*going, *coming)], text, _sources(api, [*going, *coming]))


async def search_events(api: Api, args: Args) -> Result:
    """Events about something or with somebody; without dates, from a month ago to three months ahead."""
    now = datetime.now(UTC)
    own, where = await _own(api)
    today = now.astimezone(where).date()
    begin = days.day(args["earliest"]) if "earliest" in args else today - timedelta(30)
    end = days.day(args["latest"]) if "latest" in args else max(begin, today) + timedelta(90)
    when = (days.midnight(begin, where), days.midnight(end + timedelta(1), where))
    found = await _events(api, {**own, "primary": True}, when, query=args["query"], most=args.get("limit", SHOWN))
    events = found[: args.get("limit", SHOWN)]
    about = f"about “{clean(args['query'], 80)}” {days.said(when, now)}"
    if not events:
        return Result([], f"No event {about} was found.", _sources(api, []))
    text = f"{plural(len(events), 'event')} {about} (times in {where}):\n{_by_day(events)}"
    return Result([_data(event) for event in events], text, _sources(api, events))


async def _lookup(api: Api, event: str) -> Row:
    try:
        return _record((await api.get(path(_EVENT, calendar="primary", event=event))).data, "id")
    except NotFound:
        raise NotFound("This calendar has no such event: search for it first, and give its id.") from None


async def event_details(api: Api, args: Args) -> Result:
    """One event: when, where, who comes, and what it is about."""
    [row, (_, where)] = await asyncio.gather(_lookup(api, args["event"]), _own(api))
    event = _event(row, where)
    if event is None:
        return Result(picked(row, _FIELDS), f"**{_name(row)}** was cancelled.", (_source(api, row),))
    words = {"accepted": "comes", "declined": "does not come", "tentative": "comes perhaps"}
    guests = [f"{_person(who)} {words.get(text_at(who, 'responseStatus'), 'has not answered')}" for who in event.guests]
    place, organizer = clean(text_at(row, "location"), 200), _person(at(row, "organizer"))
    facts = [
        f"{days.dated(event.start.date())}, {_time(event)} (times in {where})",
        f"At {place}" if place else "",
        f"Organized by {organizer}" if organizer else "",
        f"{plural(len(guests), 'guest')}: {', '.join(guests[:20])}" if guests else "",
    ]
    about = passage(re.sub(r"<[^<>]{1,200}>", " ", text_at(row, "description")), 2_000)
    text = f"**{_name(row)}**\n{bullets(list(filter(None, facts)))}" + (f"\n\n{about}" if about else "")
    data = {**_data(event), "description": text_at(row, "description")[:5_000]}
    return Result(data, text, (_source(api, row),))


async def invitations(api: Api, _args: Args) -> Result:
    """The invitations of the next 30 days that nobody has answered yet."""
    now = datetime.now(UTC)
    own, where = await _own(api)
    when = days.named({"days": 31}, now, where)
    events = [e for e in await _events(api, {**own, "primary": True}, when) if e.mine == "needsAction"]
    if not events:
        return Result([], "Every invitation of the next 30 days is answered.", _sources(api, []))
    head = f"{plural(len(events), 'invitation')} of the next 30 days without an answer (times in {where}):"
    return Result([_data(event) for event in events], f"{head}\n{_by_day(events)}", _sources(api, events))


async def find_free_time(api: Api, args: Args) -> Result:
    """When this person, and others whose calendars can be seen, are free in working hours."""
    now = datetime.now(UTC)
    own, where = await _own(api)
    when = days.named(args if {"when", "date", "days"} & set(args) else {"days": 7}, now, where)
    people = [text_at(own, "id"), *args.get("people", ())]
    body = {"timeMin": when[0].isoformat(), "timeMax": when[1].isoformat(), "items": [{"id": each} for each in people]}
    found = at(_record((await api.send("POST", _HOME + "freeBusy", body)).data), "calendars")
    busy, hidden = [], []
    for who in people:
        calendar = at(found, who)
        if not isinstance(calendar, dict) or list_at(calendar, "errors"):
            hidden.append(clean(who, 100))
        for each in list_at(calendar, "busy"):
            start, end = moment(text_at(each, "start")), moment(text_at(each, "end"))
            if start and end:
                busy.append((start, end))
    minutes = args.get("minutes", 30)
    free = [
        (start.astimezone(where), end.astimezone(where))
        for start, end in days.free(busy, when, timedelta(minutes=minutes), now)
    ]
    head = f"Free for {minutes} minutes or more in working hours {days.said(when, now)} (times in {where}):"
    text = f"No {minutes} minutes are free {days.said(when, now)}."
    if free:
        text = f"{head}\n{days.listed((start.date(), days.hours(start, end)) for start, end in free)}"
    text += f"\nThe calendar of {', '.join(hidden)} cannot be seen." if hidden else ""
    data = [{"starts": start.isoformat(), "ends": end.isoformat()} for start, end in free]
    return Result({"free": data, "hidden": hidden}, text, _sources(api, []))


async def list_calendars(api: Api, _args: Args) -> Result:
    """The calendars this person sees."""
    rows = await _calendars(api)
    words = {
        "owner": "its owner",
        "writer": "may change events",
        "reader": "may look",
        "freeBusyReader": "sees when it is busy",
    }
    lines = [
        f"**{_name(row)}**, {words.get(text_at(row, 'accessRole'), 'may look')}"
        + (f", {clean(text_at(row, 'timeZone'), 40)}" if text_at(row, "timeZone") else "")
        for row in rows
    ]
    text = f"{plural(len(rows), 'calendar')}:\n{bullets(lines, most=50)}" if rows else "There are no calendars."
    data = [picked(row, ("id", "summary", "timeZone", "accessRole", "primary", "selected")) for row in rows]
    return Result(data, text, _sources(api, []))


# --- changes ---------------------------------------------------------------------------------------------------------


async def _send(api: Api, method: str, address: str, body: Json, *, tell: bool) -> Row:
    """Change an event; `tell`: its guests are told by mail. Raises: `ToolError`."""
    query = encode_query({"sendUpdates": "all" if tell else "none"})
    if body is None:
        await api.request(Request(method, address, query))
        return {}
    kind = {"Content-Type": "application/json"}
    reply = await api.request(Request(method, address, query, headers=kind, body=json.dumps(body).encode()))
    return _record(reply.data, "id")


def _at(written: str, where: tzinfo) -> datetime:
    """A moment; without an offset it is meant in the person's own time zone. Raises: `BadArguments`."""
    try:
        found = datetime.fromisoformat(written)
    except ValueError:
        raise BadArguments("This is no date with a time: give it as in 2026-11-24T14:00.") from None
    return found if found.tzinfo else found.replace(tzinfo=where)


async def create_event(api: Api, args: Args) -> Result:
    """A new event in the person's own calendar; those invited are told by mail."""
    own, where = await _own(api)
    start = _at(args["start"], where)
    end = start + timedelta(minutes=args.get("minutes", 30))
    name = {"timeZone": text_at(own, "timeZone")} if text_at(own, "timeZone") else {}
    body = {
        "summary": args["title"],
        "start": {"dateTime": start.isoformat(), **name},
        "end": {"dateTime": end.isoformat(), **name},
        "attendees": [{"email": each} for each in args.get("people", ())],
        **{key: args[key] for key in ("location", "description") if key in args},
    }
    row = await _send(api, "POST", path(_EVENTS, calendar="primary"), body, tell=bool(args.get("people")))
    begins = start.astimezone(where)
    text = f"Created **{_name({'summary': args['title']})}**, {days.dated(begins.date())} at {begins:%H:%M} ({where})"
    text += f", and invited {plural(len(args['people']), 'person', 'people')}." if args.get("people") else "."
    return Result(picked(row, _FIELDS), text, (_source(api, {"summary": args["title"], **row}),))


async def answer_invitation(api: Api, args: Args) -> Result:
    """Accept or decline an invitation, or say maybe."""
    row = await _lookup(api, args["event"])
    guests = list_at(row, "attendees")
    if not any(at(who, "self") is True for who in guests):
        raise BadArguments("This account is not invited to that event.")
    answered = [{**who, **({"responseStatus": args["answer"]} if at(who, "self") is True else {})} for who in guests]
    address = path(_EVENT, calendar="primary", event=text_at(row, "id"))
    changed = await _send(api, "PATCH", address, {"attendees": answered}, tell=True)
    words = {"accepted": "Accepted", "declined": "Declined", "tentative": "Said maybe to"}
    return Result(picked(changed, _FIELDS), f"{words[args['answer']]} **{_name(row)}**.", (_source(api, row),))


async def cancel_event(api: Api, args: Args) -> Result:
    """Cancel an event; its guests are told by mail."""
    row = await _lookup(api, args["event"])
    await _send(api, "DELETE", path(_EVENT, calendar="primary", event=text_at(row, "id")), None, tell=True)
    return Result(picked(row, _FIELDS), f"Cancelled **{_name(row)}**.", _sources(api, []))


# --- tools -----------------------------------------------------------------------------------------------------------

_READ, _WRITE, _ALL = google.AUTH + "calendar.readonly", google.AUTH + "calendar.events", google.AUTH + "calendar"

_EVENT_ID = {
    "type": "string",
    "pattern": "^[a-v0-9]{5,200}(_[0-9TZ]{8,16})?$",
    "description": "Id of the event, as a search gives it.",
    "examples": ["7h1k2m3n4o5p6q7r8s9t0u1v2a"],
}
_PEOPLE = {
    "type": "array",
    "items": {"type": "string", "pattern": '^[^\\s@<>,;"]+@[^\\s@<>,;"]+$', "maxLength": 254},
    "maxItems": 20,
    "examples": [["ada@example.com"]],
}
_GIVES = "[{id, summary, location, starts, ends, calendar, my_answer, attendees: [{email, responseStatus}]}]"
_DAYS = {"when": days.WHEN, "date": days.DATE, "days": days.DAYS}
_FIND_EVENT = Producer("agenda", "id", names=("summary",))

_reads = partial(ToolSpec, scopes=frozenset({_READ}), or_scopes=(frozenset({_ALL}),))
_writes = partial(ToolSpec, scopes=frozenset({_READ, _WRITE}), or_scopes=(frozenset({_ALL}),), effect=Effect.WRITE)

TOOLS = (
    _reads(
        name="agenda",
        summary="Show the events of a day or of several, by default today's, on all calendars switched on.",
        gives=_GIVES,
        invoke=agenda,
        params=_DAYS,
        keep_s=15,
        asks=(
            "what is my day?",
            "what does my day look like?",
            "what is on my calendar?",
            "what is on my calendar {when}?",
            "what do I have {when}?",
            "which meetings do I have {when}?",
            "show my agenda for {date}",
            "what is happening on {date}?",
            "how busy am I {when}?",
            "my schedule",
        ),
    ),
    _reads(
        name="next_event",
        summary="Say what is on now and which event comes next.",
        gives=_GIVES,
        invoke=next_event,
        keep_s=15,
        asks=(
            "what is my next meeting?",
            "when is my next meeting?",
            "what comes next?",
            "where do I have to be next?",
            "who is in my next meeting?",
            "am I in a meeting now?",
            "what is next on my calendar?",
        ),
    ),
    _reads(
        name="search_events",
        summary="Search the own calendar for events about something or with somebody.",
        gives=_GIVES,
        invoke=search_events,
        params={
            "query": {
                "type": "string",
                "minLength": 1,
                "maxLength": 200,
                "description": "Words of the title, the description, the place, or a guest's name or address.",
            },
            "earliest": {**days.DATE, "description": "The first day to look at; without it, 30 days ago."},
            "latest": {**days.DATE, "description": "The last day to look at; without it, 90 days ahead."},
            "limit": {"type": "integer", "minimum": 1, "maximum": 50, "default": SHOWN, "description": "How many."},
        },
        required=frozenset({"query"}),
        asks=(
            "when is the event about {query}?",
            "when do I meet {query}?",
            "find the meeting about {query}",
            "search my calendar for {query}",
            "which meetings do I have with {query}?",
            "when is {query} taking place?",
        ),
    ),
    _reads(
        name="event_details",
        summary="Show one event: when and where it is, who comes, and what it is about.",
        gives="{id, summary, location, starts, ends, description, attendees: [{email, responseStatus}]}",
        invoke=event_details,
        params={"event": _EVENT_ID},
        required=frozenset({"event"}),
        producers={"event": _FIND_EVENT},
        asks=(
            "details of the event {event}",
            "who is invited to {event}?",
            "who comes to {event}?",
            "what is the event {event} about?",
            "where does {event} take place?",
            "who has accepted {event}?",
        ),
    ),
    _reads(
        name="invitations",
        summary="List the invitations of the next 30 days that are not answered yet.",
        gives=_GIVES,
        invoke=invitations,
        asks=(
            "which invitations have I not answered?",
            "do I have open invitations?",
            "what am I invited to?",
            "pending meeting requests",
            "which invites are waiting for me?",
        ),
    ),
    _reads(
        name="find_free_time",
        summary="Find when this person, and others, are free in working hours.",
        gives="{free: [{starts, ends}], hidden}",
        invoke=find_free_time,
        params={
            **_DAYS,
            "when": {**days.WHEN, "description": "Which days; without any, the next 7: today, tomorrow or this week."},
            "minutes": {
                "type": "integer",
                "minimum": 5,
                "maximum": 480,
                "default": 30,
                "description": "How long a free time has to be, in minutes.",
            },
            "people": {**_PEOPLE, "description": "Addresses of others who must be free, too."},
        },
        keep_s=15,
        asks=(
            "when am I free?",
            "when am I free {when}?",
            "do I have time {when}?",
            "find a free slot {when}",
            "when do I have {minutes} minutes?",
            "when could we meet {when}?",
            "is there a gap in my calendar?",
        ),
    ),
    _reads(
        name="list_calendars",
        summary="List the calendars this person sees.",
        gives="[{id, summary, timeZone, accessRole, primary}]",
        invoke=list_calendars,
        asks=(
            "which calendars do I have?",
            "list my calendars",
            "what calendars can I see?",
            "which time zone is my calendar in?",
            "whose calendars are shared here?",
        ),
    ),
    _writes(
        name="create_event",
        summary="Create an event in the own calendar, and invite people to it.",
        invoke=create_event,
        params={
            "title": {"type": "string", "minLength": 1, "maxLength": 300, "description": "Title of the event."},
            "start": {
                "type": "string",
                "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(:[0-9]{2})?(Z|[+-][0-9]{2}:[0-9]{2})?$",
                "description": "When it starts; without an offset, in the time zone of the own calendar.",
                "examples": ["2026-11-24T14:00"],
            },
            "minutes": {
                "type": "integer",
                "minimum": 5,
                "maximum": 1440,
                "default": 30,
                "description": "How long it takes, in minutes.",
            },
            "people": {**_PEOPLE, "description": "Addresses of those to invite; they are told by mail."},
            "location": {"type": "string", "maxLength": 300, "description": "Where it takes place."},
            "description": {"type": "string", "maxLength": 8_000, "description": "What it is about."},
        },
        required=frozenset({"title", "start"}),
        asks=("schedule {title} for {start}", "create an event {title} on {start}", "book {title} at {start}"),
    ),
    _writes(
        name="answer_invitation",
        summary="Accept or decline an invitation, or say maybe.",
        invoke=answer_invitation,
        params={
            "event": _EVENT_ID,
            "answer": {
                "type": "string",
                "enum": ["accepted", "declined", "tentative"],
                "description": "The answer: accepted, declined, or tentative for maybe.",
            },
        },
        required=frozenset({"event", "answer"}),
        asks=("accept the invitation {event}", "decline {event}", "say maybe to {event}"),
    ),
    _writes(
        name="cancel_event",
        summary="Cancel an event of the own calendar; its guests are told.",
        invoke=cancel_event,
        params={"event": _EVENT_ID},
        required=frozenset({"event"}),
        effect=Effect.DESTRUCTIVE,
        asks=("cancel the event {event}", "delete {event} from my calendar"),
    ),
)

PROVIDER = ProviderSpec(
    id="gcalendar",
    title="Google Calendar",
    about="the day's agenda, next meetings, free time and invitations",
    api_base="https://www.googleapis.com",
    web_base="https://calendar.google.com",
    oauth=google.oauth(
        read=_READ,
        words={
            _READ: "see your calendars and all their events",
            _WRITE: "see, create, change and delete events in your calendars",
            _ALL: "see, change, share and delete your calendars",
        },
    ),
    refusal_of=google.refusal_of,
    mcp_url="https://calendarmcp.googleapis.com/mcp/v1",
    register_url=google.REGISTER_URL,
    register_steps=google.register_steps("Google Calendar API"),
    unconfirmed=google.UNCONFIRMED,
    tools=TOOLS,
)
