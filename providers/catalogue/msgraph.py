"""Microsoft 365 by its Graph API: mail, calendar, files in OneDrive, tasks and people of one account."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from functools import partial
from http import HTTPStatus

from providers import days, tools
from providers.errors import BadArguments, Forbidden, NotFound, ToolError
from providers.spec import (
    Api,
    Args,
    Effect,
    Json,
    OAuthSpec,
    Page,
    Producer,
    ProviderSpec,
    Reply,
    Result,
    ToolSpec,
)
from providers.tools import (
    SHOWN,
    Row,
    ago,
    at,
    bullets,
    clean,
    list_at,
    moment,
    moment_at,
    number_at,
    page_url,
    passage,
    path,
    picked,
    plural,
    query_of,
    text_at,
    whole_at,
)

_ME = "/v1.0/me"
_MESSAGE = _ME + "/messages/{id}"
_HEAD = (
    "id,subject,from,toRecipients,receivedDateTime,bodyPreview,isRead,hasAttachments,importance,webLink,conversationId"
)
_EVENT = (
    "id,subject,start,end,isAllDay,isCancelled,showAs,location,organizer,attendees,responseStatus,webLink,"
    "isOnlineMeeting"
)
_MAIL_FIELDS = (
    *("id", "conversationId", "subject", "from.emailAddress.name", "from.emailAddress.address", "receivedDateTime"),
    *("bodyPreview", "isRead", "hasAttachments", "importance"),
)
_EVENT_FIELDS = ("id", "subject", "location.displayName", "showAs", "isAllDay", "organizer.emailAddress.name")

_ZONES: Mapping[str, str] = {
    "Dateline Standard Time": "Etc/GMT+12",
    "Hawaiian Standard Time": "Pacific/Honolulu",
    "Alaskan Standard Time": "America/Anchorage",
    "Pacific Standard Time": "America/Los_Angeles",
    "US Mountain Standard Time": "America/Phoenix",
    "Mountain Standard Time": "America/Denver",
    "Central America Standard Time": "America/Guatemala",
    "Central Standard Time": "America/Chicago",
    "Central Standard Time (Mexico)": "America/Mexico_City",
    "Canada Central Standard Time": "America/Regina",
    "SA Pacific Standard Time": "America/Bogota",
    "Eastern Standard Time": "America/New_York",
    "US Eastern Standard Time": "America/Indianapolis",
    "Atlantic Standard Time": "America/Halifax",
    "SA Western Standard Time": "America/La_Paz",
    "Pacific SA Standard Time": "America/Santiago",
    "Newfoundland Standard Time": "America/St_Johns",
    "E. South America Standard Time": "America/Sao_Paulo",
    "Argentina Standard Time": "America/Buenos_Aires",
    "Azores Standard Time": "Atlantic/Azores",
    "GMT Standard Time": "Europe/London",
    "Greenwich Standard Time": "Atlantic/Reykjavik",
    "W. Europe Standard Time": "Europe/Berlin",
    "Central Europe Standard Time": "Europe/Budapest",
    "Romance Standard Time": "Europe/Paris",
    "Central European Standard Time": "Europe/Warsaw",
    "W. Central Africa Standard Time": "Africa/Lagos",
    "GTB Standard Time": "Europe/Bucharest",
    "E. Europe Standard Time": "Europe/Chisinau",
    "FLE Standard Time": "Europe/Kyiv",
    "Egypt Standard Time": "Africa/Cairo",
    "South Africa Standard Time": "Africa/Johannesburg",
    "Israel Standard Time": "Asia/Jerusalem",
    "Turkey Standard Time": "Europe/Istanbul",
    "Arab Standard Time": "Asia/Riyadh",
    "Russian Standard Time": "Europe/Moscow",
    "E. Africa Standard Time": "Africa/Nairobi",
    "Iran Standard Time": "Asia/Tehran",
    "Arabian Standard Time": "Asia/Dubai",
    "Pakistan Standard Time": "Asia/Karachi",
    "India Standard Time": "Asia/Kolkata",
    "Bangladesh Standard Time": "Asia/Dhaka",
    "SE Asia Standard Time": "Asia/Bangkok",
    "China Standard Time": "Asia/Shanghai",
    "Singapore Standard Time": "Asia/Singapore",
    "Taipei Standard Time": "Asia/Taipei",
    "W. Australia Standard Time": "Australia/Perth",
    "Tokyo Standard Time": "Asia/Tokyo",
    "Korea Standard Time": "Asia/Seoul",
    "Cen. Australia Standard Time": "Australia/Adelaide",
    "E. Australia Standard Time": "Australia/Brisbane",
    "AUS Eastern Standard Time": "Australia/Sydney",
    "New Zealand Standard Time": "Pacific/Auckland",
}
"""The zones that Windows calls otherwise than everybody else, the ones most people live in."""

_record = partial(tools.record, "Microsoft 365")


def _after(reply: Reply) -> Mapping[str, Json] | None:
    return query_of(text_at(reply.data, "@odata.nextLink"))


_pages = partial(tools.pages, "Microsoft 365", rows="value", after=_after)


def refusal_of(reply: Reply) -> ToolError | None:
    """An account without a mailbox is told so with a 404 or a 400, which is nothing the question can change."""
    none = {"MailboxNotEnabledForRESTAPI", "MailboxNotSupportedForRESTAPI"}
    if reply.status in {HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND} and text_at(reply.data, "error", "code") in none:
        return Forbidden("This Microsoft account has no mailbox that can be reached this way.")
    return None


# --- mail ------------------------------------------------------------------------------------------------------------


def _person(row: Json) -> str:
    return clean(text_at(row, "emailAddress", "name") or text_at(row, "emailAddress", "address"), 60)


def _subject(row: Row) -> str:
    return clean(text_at(row, "subject"), 120) or "(no subject)"


def _page(web_base: str, row: Row, place: str) -> Page:
    url = page_url(web_base, text_at(row, "webLink")) or f"{web_base}/{place}/"
    return Page(_subject(row), url, text_at(row, "id"))


def _say_mail(row: Row, now: datetime) -> str:
    facts = [
        ago(moment_at(row, "receivedDateTime"), now),
        "unread" if at(row, "isRead") is False else "",
        "important" if text_at(row, "importance") == "high" else "",
        "with attachments" if at(row, "hasAttachments") is True else "",
    ]
    line = f"**{_subject(row)}** from {_person(at(row, 'from')) or 'somebody'} ({', '.join(filter(None, facts))})"
    beginning = clean(text_at(row, "bodyPreview"), 140)
    return f"{line}: {beginning}" if beginning else line


def _mails(api: Api, rows: list[Row], head: str, nothing: str, total: int = 0) -> Result:
    now = datetime.now(UTC)
    text = f"{head}\n{bullets([_say_mail(row, now) for row in rows], total=total)}" if rows else nothing
    sources = tuple(_page(api.web_base, row, "mail") for row in rows[:SHOWN])
    return Result(
        [picked(row, _MAIL_FIELDS) for row in rows], text, sources or (Page("Outlook mail", f"{api.web_base}/mail/"),)
    )


def _words(text: str) -> str:
    """Words of Microsoft's search language, without what would end them."""
    return " ".join(re.sub(r'["\\]', " ", text).split())


async def search_mail(api: Api, args: Args) -> Result:
    """Messages that fit, the latest first."""
    query, sender = args.get("query"), args.get("sender")
    limit, terms = args.get("limit", SHOWN), []
    if query:
        terms.append(_words(query))
    if sender:
        terms.append(f"from:{_words(sender)}")
    if "period" in args:
        unit = {"h": "hours", "d": "days", "w": "weeks"}[args["period"][-1]]
        begin = datetime.now(UTC) - timedelta(**{unit: int(args["period"][:-1])})
        terms.append(f"received>={begin:%Y-%m-%d}")
    params: dict[str, Json] = {"$select": _HEAD, "$top": limit}
    params |= {"$search": f'"{" AND ".join(terms)}"'} if terms else {"$orderby": "receivedDateTime desc"}
    rows = (await _pages(api, _ME + "/messages", params, needs=("id",), most=-(-limit // 25)))[:limit]
    about = f" about “{clean(query, 80)}”" if query else ""
    about += f" from {clean(sender, 80)}" if sender else ""
    return _mails(
        api, rows, f"{plural(len(rows), 'message')}{about}, the latest first:", f"No message{about} was found."
    )


async def unread_mail(api: Api, args: Args) -> Result:
    """What is unread in the inbox: how many there are, and the latest of them."""
    params = {
        "$select": _HEAD,
        # What is sorted by has to be filtered by as well, and first: Graph refuses it otherwise.
        "$filter": "receivedDateTime ge 1900-01-01T00:00:00Z and isRead eq false",
        "$orderby": "receivedDateTime desc",
        "$top": args.get("limit", SHOWN),
    }
    inbox, rows = await asyncio.gather(
        api.get(_ME + "/mailFolders/inbox", {"$select": "unreadItemCount,totalItemCount"}),
        _pages(api, _ME + "/mailFolders/inbox/messages", params, needs=("id",), most=1),
    )
    total = max(whole_at(inbox.data, "unreadItemCount"), len(rows))
    head = f"{plural(total, 'unread message')} in the inbox, the latest first:"
    return _mails(api, rows, head, "Nothing is unread in the inbox.", total)


async def read_mail(api: Api, args: Args) -> Result:
    """One message, whole."""
    reply = await api.get(path(_MESSAGE, id=args["message"]), {"$select": f"{_HEAD},body,ccRecipients"})
    row, now = _record(reply.data, "id"), datetime.now(UTC)
    body = text_at(row, "body", "content")
    if text_at(row, "body", "contentType").lower() == "html":
        body = re.sub(r"<[^<>]{0,2000}>", " ", body)
    to = [_person(who) for who in (*list_at(row, "toRecipients"), *list_at(row, "ccRecipients"))]
    facts = [
        f"From {_person(at(row, 'from')) or 'somebody'}, {ago(moment_at(row, 'receivedDateTime'), now)}",
        f"To {', '.join(filter(None, to[:SHOWN]))}" if to else "",
        "With attachments" if at(row, "hasAttachments") is True else "",
    ]
    text = f"**{_subject(row)}**\n{bullets(list(filter(None, facts)))}\n\n{passage(body) or '(empty)'}"
    return Result({**picked(row, _MAIL_FIELDS), "text": body[:20_000]}, text, (_page(api.web_base, row, "mail"),))


# --- calendar --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Event:
    """One event of the calendar."""

    row: Row
    start: datetime
    end: datetime

    @property
    def all_day(self) -> bool:
        return at(self.row, "isAllDay") is True

    @property
    def busy(self) -> bool:
        return not self.all_day and text_at(self.row, "showAs") not in {"free", "workingElsewhere"}


def _event(row: Row, where: tzinfo) -> _Event | None:
    start, end = moment(text_at(row, "start", "dateTime")), moment(text_at(row, "end", "dateTime"))
    if start is None or end is None or at(row, "isCancelled") is True:
        return None
    if at(row, "isAllDay") is True:  # a date, whatever the zone
        return _Event(row, start.replace(tzinfo=where), end.replace(tzinfo=where))
    return _Event(row, start.astimezone(where), end.astimezone(where))


async def _zone(api: Api) -> tzinfo:
    """The time zone this person has set; UTC when there is none."""
    try:
        answer = (await api.get(_ME + "/mailboxSettings")).data
    except (NotFound, Forbidden):
        return UTC
    name = text_at(answer, "timeZone")
    return days.zone(_ZONES.get(name, name))


async def _events(api: Api, when: days.Stretch) -> list[_Event]:
    """What is in the calendar, in order, each repetition by itself."""
    params = {
        "startDateTime": when[0].isoformat(),
        "endDateTime": when[1].isoformat(),
        "$select": _EVENT,
        "$orderby": "start/dateTime",
        "$top": 100,
    }
    rows = await _pages(api, _ME + "/calendarView", params, needs=("id",), most=5)
    where = when[0].tzinfo or UTC
    return sorted((event for row in rows if (event := _event(row, where))), key=lambda event: event.start)


def _time(event: _Event) -> str:
    if not event.all_day:
        return days.hours(event.start, event.end)
    last = event.end - timedelta(1)
    return "all day" if last <= event.start else f"until {days.dated(last.date())}"


_ANSWERS = {"notResponded": "not answered yet", "tentativelyAccepted": "maybe", "declined": "declined"}


def _say_event(event: _Event) -> str:
    row = event.row
    others = [_person(who) for who in list_at(row, "attendees")]
    place = clean(text_at(row, "location", "displayName"), 80)
    facts = [
        f"at {place}" if place else "",
        "online" if at(row, "isOnlineMeeting") is True else "",
        f"by {_person(at(row, 'organizer'))}" if others and _person(at(row, "organizer")) else "",
        plural(len(others), "guest") if others else "",
        _ANSWERS.get(text_at(row, "responseStatus", "response"), ""),
    ]
    told = ", ".join(filter(None, facts))
    return f"{_time(event)} **{_subject(row)}**{f' ({told})' if told else ''}"


def _event_data(event: _Event) -> dict[str, Json]:
    guests = [picked(who, ("emailAddress.name", "status.response")) for who in list_at(event.row, "attendees")]
    times = {"starts": event.start.isoformat(), "ends": event.end.isoformat()}
    return {**picked(event.row, _EVENT_FIELDS), **times, "attendees": guests}


def _listed(api: Api, events: list[_Event], head: str, nothing: str) -> Result:
    sources = tuple(_page(api.web_base, event.row, "calendar") for event in events[:SHOWN])
    text = f"{head}\n{days.listed((e.start.date(), _say_event(e)) for e in events)}" if events else nothing
    return Result(
        [_event_data(event) for event in events], text, sources or (Page("Calendar", f"{api.web_base}/calendar/"),)
    )


async def agenda(api: Api, args: Args) -> Result:
    """What is on in the days asked for."""
    now, where = datetime.now(UTC), await _zone(api)
    when = days.named(args, now, where)
    # A whole day of a zone begins on the day before, or ends on the day after, in another one.
    events = [event for event in await _events(api, when) if event.end > when[0] and event.start < when[1]]
    period = days.said(when, now)
    spent = days.spent((event.start, event.end) for event in events if event.busy)
    head = f"{plural(len(events), 'event')} {period}{f', {spent} of them taken' if spent else ''} (times in {where}):"
    return _listed(api, events, head, f"Nothing is in the calendar {period}.")


async def search_events(api: Api, args: Args) -> Result:
    """Events whose title, place or people hold all the words; a month back and three months ahead."""
    now, where = datetime.now(UTC), await _zone(api)
    today = now.astimezone(where).date()
    when = (days.midnight(today - timedelta(30), where), days.midnight(today + timedelta(91), where))
    wanted = args["query"].casefold().split()

    def fits(event: _Event) -> bool:
        people = [at(event.row, "organizer"), *list_at(event.row, "attendees")]
        names = [text_at(who, "emailAddress", key) for who in people for key in ("name", "address")]
        text = " ".join([text_at(event.row, "subject"), text_at(event.row, "location", "displayName"), *names])
        return all(word in text.casefold() for word in wanted)

    events = [event for event in await _events(api, when) if fits(event)]
    about = f"about “{clean(args['query'], 80)}” {days.said(when, now)}"
    head = f"{plural(len(events), 'event')} {about} (times in {where}):"
    return _listed(api, events, head, f"No event {about} was found.")


async def availability(api: Api, args: Args) -> Result:
    """When this person, and colleagues, are free in working hours."""
    now = datetime.now(UTC)
    me, where = await asyncio.gather(api.get(_ME, {"$select": "mail,userPrincipalName"}), _zone(api))
    own = text_at(me.data, "mail") or text_at(me.data, "userPrincipalName")
    when = days.named(args if {"when", "date", "days"} & set(args) else {"days": 7}, now, where)
    people = [*([own] if own else []), *args.get("people", ())]
    begin, end = (moment.astimezone(UTC) for moment in when)
    body = {
        "schedules": people,
        "startTime": {"dateTime": f"{begin:%Y-%m-%dT%H:%M:%S}", "timeZone": "UTC"},
        "endTime": {"dateTime": f"{end:%Y-%m-%dT%H:%M:%S}", "timeZone": "UTC"},
    }
    answer = await api.send("POST", _ME + "/calendar/getSchedule", body)
    rows = tools.records("Microsoft 365", at(answer.data, "value"), "scheduleId")
    hidden = [clean(text_at(row, "scheduleId"), 100) for row in rows if at(row, "error")]
    taken = [item for row in rows for item in list_at(row, "scheduleItems")]
    times = [
        (moment(text_at(item, "start", "dateTime")), moment(text_at(item, "end", "dateTime")))
        for item in taken
        if text_at(item, "status") not in {"free", "workingElsewhere"}
    ]
    busy = [(start, end) for start, end in times if start and end]
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
    return Result({"free": data, "hidden": hidden}, text, (Page("Calendar", f"{api.web_base}/calendar/"),))


# --- files, tasks, people --------------------------------------------------------------------------------------------


def _say_file(row: Row, now: datetime) -> str:
    who = clean(text_at(row, "lastModifiedBy", "user", "displayName"), 60)
    count, size = at(row, "folder", "childCount"), number_at(row, "size")
    facts = [
        plural(count, "item") if isinstance(count, int) else f"{size / 1000:,.0f} KB" if size else "",
        f"changed {ago(moment_at(row, 'lastModifiedDateTime'), now)}{f' by {who}' if who else ''}",
    ]
    kind = "folder " if isinstance(at(row, "folder"), dict) else ""
    return f"{kind}**{clean(text_at(row, 'name'), 100)}** ({', '.join(filter(None, facts))})"


_FILE_FIELDS = ("id", "name", "size", "webUrl", "lastModifiedDateTime", "lastModifiedBy.user.displayName")
_FILE_SELECT = "id,name,size,webUrl,lastModifiedDateTime,lastModifiedBy,folder,file"


async def find_files(api: Api, args: Args) -> Result:
    """Files in OneDrive by the words in them or in their names; without words, what is at its top."""
    query, limit, now = args.get("query"), args.get("limit", SHOWN), datetime.now(UTC)
    params: dict[str, Json] = {"$select": _FILE_SELECT, "$top": limit}
    if query:
        address = path(_ME + "/drive/root/search(q='{query}')", query=query.replace("'", "''"))
    else:
        address = _ME + "/drive/root/children"
        params["$orderby"] = "lastModifiedDateTime desc"
    rows = (await _pages(api, address, params, needs=("id", "name"), most=2))[:limit]
    about = f" about “{clean(query, 80)}”" if query else " at the top of OneDrive"
    text = f"No file{about} was found."
    if rows:
        text = f"{plural(len(rows), 'file or folder', 'files and folders')}{about}:\n"
        text += bullets([_say_file(row, now) for row in rows])
    pages = [Page(clean(text_at(row, "name"), 100), None, text_at(row, "id")) for row in rows[:SHOWN]]
    return Result([picked(row, _FILE_FIELDS) for row in rows], text, tuple(pages) or (Page("OneDrive"),))


_MOST_LISTS = 10


async def my_tasks(api: Api, args: Args) -> Result:
    """The open tasks of all lists of Microsoft To Do, those due first at the top."""
    lists = await _pages(api, _ME + "/todo/lists", needs=("id", "displayName"), most=2)
    if name := args.get("list"):
        lists = [row for row in lists if name.casefold() in text_at(row, "displayName").casefold()]
    params = {"$filter": "status ne 'completed'", "$top": 50}

    async def one(each: Row) -> list[tuple[str, str, Row]]:
        address = path(_ME + "/todo/lists/{id}/tasks", id=text_at(each, "id"))
        rows = await _pages(api, address, params, needs=("id", "title"), most=1)
        return [(text_at(row, "dueDateTime", "dateTime")[:10], text_at(each, "displayName"), row) for row in rows]

    found = [task for tasks in await asyncio.gather(*map(one, lists[:_MOST_LISTS])) for task in tasks]
    found.sort(key=lambda task: (not task[0], task[0]))
    lines = []
    for due, where, row in found:
        important = ["important"] if text_at(row, "importance") == "high" else []
        facts = [*([f"due {clean(due, 10)}"] if due else []), *important, f"in {clean(where, 60)}"]
        lines.append(f"**{clean(text_at(row, 'title'), 120)}** ({', '.join(facts)})")
    text = f"{plural(len(found), 'open task')}:\n{bullets(lines, most=30)}" if found else "There are no open tasks."
    data = [
        {**picked(row, ("id", "title", "status", "importance")), "due": due or None, "list": where}
        for due, where, row in found
    ]
    return Result(data, text, (Page("Microsoft To Do"),))


async def find_person(api: Api, args: Args) -> Result:
    """People this person works with, by name: address, job and place."""
    params = {"$search": f'"{_words(args["name"])}"', "$top": SHOWN}
    rows = await _pages(api, _ME + "/people", params, needs=("id", "displayName"), most=1)

    def say(row: Row) -> str:
        address = next((text_at(each, "address") for each in list_at(row, "scoredEmailAddresses")), "")
        phone = next((text_at(each, "number") for each in list_at(row, "phones")), "")
        facts = [address, text_at(row, "jobTitle"), text_at(row, "department"), text_at(row, "officeLocation"), phone]
        told = ", ".join(clean(fact, 80) for fact in facts if fact)
        return f"**{clean(text_at(row, 'displayName'), 80)}**{f' ({told})' if told else ''}"

    text = f"{plural(len(rows), 'person', 'people')}:\n{bullets([say(row) for row in rows])}"
    fields = ("id", "displayName", "jobTitle", "department", "officeLocation", "userPrincipalName")
    data = [
        {
            **picked(row, fields),
            "addresses": [text_at(each, "address") for each in list_at(row, "scoredEmailAddresses")],
        }
        for row in rows
    ]
    nobody = "Nobody of that name was found among the people this account works with."
    return Result(data, text if rows else nobody, (Page("People", f"{api.web_base}/people/"),))


async def who_am_i(api: Api, _args: Args) -> Result:
    """Whose account this is."""
    fields = ("id", "displayName", "mail", "userPrincipalName", "jobTitle", "officeLocation")
    row = _record((await api.get(_ME, {"$select": ",".join(fields)})).data, "id")
    address = clean(text_at(row, "mail") or text_at(row, "userPrincipalName"), 120)
    job = clean(text_at(row, "jobTitle"), 80)
    who = clean(text_at(row, "displayName"), 80) or address
    text = f"This is the Microsoft account of **{who}**{f' ({address})' if address else ''}{f', {job}' if job else ''}."
    return Result(picked(row, fields), text, (Page("Your Microsoft account", f"{api.web_base}/mail/"),))


# --- changes ---------------------------------------------------------------------------------------------------------


def _recipients(addresses: list[str]) -> Json:
    return [{"emailAddress": {"address": each}} for each in addresses]


async def send_mail(api: Api, args: Args) -> Result:
    """Send a message, or a reply in its conversation."""
    page = (Page("Outlook, sent", f"{api.web_base}/mail/sentitems"),)
    to = list(args.get("to", ()))
    if answered := args.get("reply_to"):
        message = {"message": {"toRecipients": _recipients(to)}} if to else {}
        await api.send("POST", path(_MESSAGE + "/reply", id=answered), {**message, "comment": args["text"]})
        return Result({"reply_to": answered}, "Sent the reply.", page)
    if not to:
        raise BadArguments("Nobody is named to write to: give at least one address.")
    message = {
        "subject": args.get("subject", ""),
        "body": {"contentType": "Text", "content": args["text"]},
        "toRecipients": _recipients(to),
        "ccRecipients": _recipients(list(args.get("cc", ()))),
    }
    await api.send("POST", _ME + "/sendMail", {"message": message})
    said = f"Sent **{clean(args.get('subject', ''), 120) or '(no subject)'}** to {clean(', '.join(to), 200)}."
    return Result({"to": to, "subject": args.get("subject", "")}, said, page)


async def create_event(api: Api, args: Args) -> Result:
    """A new event in the person's own calendar; those invited are told by mail."""
    where = await _zone(api)
    try:
        start = datetime.fromisoformat(args["start"])
    except ValueError:
        raise BadArguments("This is no date with a time: give it as in 2026-11-24T14:00.") from None
    begins = start if start.tzinfo else start.replace(tzinfo=where)
    ends = begins + timedelta(minutes=args.get("minutes", 30))

    def utc(moment: datetime) -> Json:
        return {"dateTime": f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S}", "timeZone": "UTC"}

    body = {
        "subject": args["title"],
        "start": utc(begins),
        "end": utc(ends),
        "attendees": [{**each, "type": "required"} for each in _recipients(list(args.get("people", ())))],
        **({"location": {"displayName": args["location"]}} if "location" in args else {}),
        **({"body": {"contentType": "Text", "content": args["description"]}} if "description" in args else {}),
    }
    row = {"subject": args["title"], **_record((await api.send("POST", _ME + "/events", body)).data, "id")}
    local = begins.astimezone(where)
    text = f"Created **{_subject(row)}**, {days.dated(local.date())} at {local:%H:%M} ({where})"
    text += f", and invited {plural(len(args['people']), 'person', 'people')}." if args.get("people") else "."
    return Result(picked(row, ("id", "subject", "start.dateTime")), text, (_page(api.web_base, row, "calendar"),))


async def create_task(api: Api, args: Args) -> Result:
    """A new task in the list that Microsoft To Do calls Tasks."""
    lists = await _pages(api, _ME + "/todo/lists", needs=("id",), most=2)
    usual = next((row for row in lists if text_at(row, "wellknownListName") == "defaultList"), None)
    if usual is None:
        raise NotFound("This account has no list of tasks yet: open Microsoft To Do once.")
    body = {"title": args["title"]}
    if "due" in args:
        body["dueDateTime"] = {"dateTime": f"{days.day(args['due'])}T00:00:00", "timeZone": "UTC"}
    made = await api.send("POST", path(_ME + "/todo/lists/{id}/tasks", id=text_at(usual, "id")), body)
    row = _record(made.data, "id")
    due = f", due {args['due']}" if "due" in args else ""
    text = f"Created the task **{clean(args['title'], 120)}**{due}."
    return Result(picked(row, ("id", "title", "status")), text, (Page("Microsoft To Do"),))


# --- tools -----------------------------------------------------------------------------------------------------------

_LIMIT = {"type": "integer", "minimum": 1, "maximum": 50, "default": SHOWN, "description": "How many at most."}
_MESSAGE_ID = {
    "type": "string",
    "pattern": "^[A-Za-z0-9_=-]{10,400}$",
    "description": "Id of the message, as a search gives it.",
    "examples": ["AAMkAGI2TG93AAA="],
}
_PEOPLE = {
    "type": "array",
    "items": {"type": "string", "pattern": '^[^\\s@<>,;"]+@[^\\s@<>,;"]+$', "maxLength": 254},
    "maxItems": 20,
    "examples": [["ada@example.com"]],
}
_DAYS = {"when": days.WHEN, "date": days.DATE, "days": days.DAYS}
_GIVES_MAIL = "[{id, subject, from.emailAddress.name, receivedDateTime, bodyPreview, isRead}]"
_GIVES_EVENTS = "[{id, subject, starts, ends, location.displayName, attendees: [{emailAddress.name}]}]"

_GRAPH = "https://graph.microsoft.com/"
_WORDS = {
    "openid": "know which Microsoft account this is",
    "profile": "see its name",
    "email": "see its email address",
    "offline_access": "stay connected until you end it",
    "User.Read": "see your profile",
    "Mail.Read": "read your mail",
    "Calendars.Read": "see your calendars and all their events",
    "MailboxSettings.Read": "see the settings of your mailbox, such as your time zone",
    "Files.Read": "see your files in OneDrive",
    "Tasks.Read": "see your tasks",
    "People.Read": "see the people you work with",
    "Mail.Send": "send mail in your name",
    "Calendars.ReadWrite": "see, create, change and delete events in your calendars",
    "Tasks.ReadWrite": "see, create, change and delete your tasks",
}
_WRITING = {"Mail.Send", "Calendars.ReadWrite", "Tasks.ReadWrite"}


def _or(wider: str, *others: str) -> tuple[frozenset[str], ...]:
    return (frozenset({wider, *others}),)


TOOLS = (
    ToolSpec(
        name="search_mail",
        summary="Search mail by words, sender or age, the latest first.",
        gives=_GIVES_MAIL,
        invoke=search_mail,
        params={
            "query": {"type": "string", "minLength": 1, "maxLength": 200, "description": "Words of the mail."},
            "sender": {
                "type": "string",
                "minLength": 1,
                "maxLength": 200,
                "description": "Only mail from this person, by name or address.",
                "examples": ["ada@example.com", "Ada"],
            },
            "period": {
                "type": "string",
                "pattern": "^[1-9][0-9]{0,2}[hdw]$",
                "description": "Only mail of this time, such as 24h, 7d or 2w.",
            },
            "limit": _LIMIT,
        },
        scopes=frozenset({"Mail.Read"}),
        or_scopes=_or("Mail.ReadWrite"),
        asks=(
            "find mail about {query}",
            "search my mail for {query}",
            "emails from {sender}",
            "what did {sender} write?",
            "did {sender} write to me?",
            "mails of the last {period}",
            "show my latest mail",
            "what mail came in?",
        ),
    ),
    ToolSpec(
        name="unread_mail",
        summary="Say how many messages are unread in the inbox, and show the latest of them.",
        gives=_GIVES_MAIL,
        invoke=unread_mail,
        params={"limit": _LIMIT},
        scopes=frozenset({"Mail.Read"}),
        or_scopes=_or("Mail.ReadWrite"),
        asks=(
            "do I have unread mail?",
            "what is unread in my inbox?",
            "any new mail?",
            "how many unread messages are there?",
            "which emails have I not read yet?",
            "what is new in my inbox?",
        ),
    ),
    ToolSpec(
        name="read_mail",
        summary="Read one message whole.",
        gives="{id, subject, from.emailAddress.name, receivedDateTime, text}",
        invoke=read_mail,
        params={"message": _MESSAGE_ID},
        required=frozenset({"message"}),
        producers={"message": Producer("search_mail", "id", names=("subject",))},
        scopes=frozenset({"Mail.Read"}),
        or_scopes=_or("Mail.ReadWrite"),
        asks=(
            "read the message {message}",
            "open the mail {message}",
            "what does the mail {message} say?",
            "full text of message {message}",
            "show me the whole mail {message}",
        ),
    ),
    ToolSpec(
        name="agenda",
        summary="Show the events of a day or of several, by default today's.",
        gives=_GIVES_EVENTS,
        invoke=agenda,
        params=_DAYS,
        keep_s=15,
        scopes=frozenset({"Calendars.Read", "MailboxSettings.Read"}),
        or_scopes=_or("Calendars.ReadWrite", "MailboxSettings.Read"),
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
    ToolSpec(
        name="search_events",
        summary="Search the calendar for events about something or with somebody.",
        gives=_GIVES_EVENTS,
        invoke=search_events,
        params={
            "query": {
                "type": "string",
                "minLength": 1,
                "maxLength": 200,
                "description": "Words of the title or the place, or a name or address of somebody who comes.",
            }
        },
        required=frozenset({"query"}),
        scopes=frozenset({"Calendars.Read", "MailboxSettings.Read"}),
        or_scopes=_or("Calendars.ReadWrite", "MailboxSettings.Read"),
        asks=(
            "when is the event about {query}?",
            "when do I meet {query}?",
            "find the meeting about {query}",
            "search my calendar for {query}",
            "which meetings do I have with {query}?",
            "when is {query} taking place?",
        ),
    ),
    ToolSpec(
        name="availability",
        summary="Find when this person, and colleagues, are free in working hours.",
        gives="{free: [{starts, ends}], hidden}",
        invoke=availability,
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
            "people": {**_PEOPLE, "description": "Addresses of colleagues who must be free, too."},
        },
        keep_s=15,
        scopes=frozenset({"Calendars.Read", "MailboxSettings.Read", "User.Read"}),
        or_scopes=_or("Calendars.ReadWrite", "MailboxSettings.Read", "User.Read"),
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
    ToolSpec(
        name="find_files",
        summary="Search OneDrive for files by words, or list what is at its top.",
        gives="[{id, name, size, webUrl, lastModifiedDateTime}]",
        invoke=find_files,
        params={
            "query": {
                "type": "string",
                "minLength": 1,
                "maxLength": 100,
                "description": "Words in the file or in its name.",
            },
            "limit": _LIMIT,
        },
        scopes=frozenset({"Files.Read"}),
        or_scopes=(frozenset({"Files.Read.All"}), frozenset({"Files.ReadWrite"}), frozenset({"Files.ReadWrite.All"})),
        asks=(
            "find files about {query}",
            "search OneDrive for {query}",
            "which documents mention {query}?",
            "where is the file about {query}?",
            "which files are in my OneDrive?",
            "list my folders",
        ),
    ),
    ToolSpec(
        name="my_tasks",
        summary="List the open tasks of Microsoft To Do, those due first at the top.",
        gives="[{id, title, status, importance, due, list}]",
        invoke=my_tasks,
        params={
            "list": {"type": "string", "minLength": 1, "maxLength": 100, "description": "Only the list of this name."}
        },
        scopes=frozenset({"Tasks.Read"}),
        or_scopes=_or("Tasks.ReadWrite"),
        asks=(
            "what are my tasks?",
            "what do I have to do?",
            "show my to-do list",
            "which tasks are due?",
            "open tasks in the list {list}",
            "what is left on my todo list?",
        ),
    ),
    ToolSpec(
        name="find_person",
        summary="Find a colleague by name: address, job, office and phone.",
        gives="[{id, displayName, jobTitle, department, officeLocation, addresses}]",
        invoke=find_person,
        params={
            "name": {
                "type": "string",
                "minLength": 1,
                "maxLength": 100,
                "description": "Name of the person, or a part of it.",
                "examples": ["Ada Park"],
            }
        },
        required=frozenset({"name"}),
        scopes=frozenset({"People.Read"}),
        or_scopes=_or("People.Read.All"),
        asks=(
            "who is {name}?",
            "what is the email address of {name}?",
            "how do I reach {name}?",
            "phone number of {name}",
            "what does {name} do here?",
            "in which office is {name}?",
        ),
    ),
    ToolSpec(
        name="who_am_i",
        summary="Say whose Microsoft account this is.",
        invoke=who_am_i,
        scopes=frozenset({"User.Read"}),
        or_scopes=_or("User.ReadWrite"),
        asks=(
            "who am I?",
            "which account is this?",
            "whose Microsoft account are you using?",
            "what is my job title?",
            "which email address am I signed in with?",
        ),
    ),
    ToolSpec(
        name="send_mail",
        summary="Send a message, or a reply in a conversation.",
        invoke=send_mail,
        params={
            "to": {**_PEOPLE, "minItems": 1, "description": "Addresses to send it to; may be left out in a reply."},
            "cc": {**_PEOPLE, "description": "Addresses that get a copy."},
            "subject": {"type": "string", "maxLength": 255, "description": "Subject; not used in a reply."},
            "text": {"type": "string", "minLength": 1, "maxLength": 100_000, "description": "What it says."},
            "reply_to": {**_MESSAGE_ID, "description": "Id of the message this is a reply to."},
        },
        required=frozenset({"text"}),
        scopes=frozenset({"Mail.Send"}),
        effect=Effect.WRITE,
        asks=("send {to} a mail: {text}", "write to {to} that {text}", "reply to {reply_to}: {text}"),
    ),
    ToolSpec(
        name="create_event",
        summary="Create an event in the own calendar, and invite people to it.",
        invoke=create_event,
        params={
            "title": {"type": "string", "minLength": 1, "maxLength": 255, "description": "Title of the event."},
            "start": {
                "type": "string",
                "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(:[0-9]{2})?(Z|[+-][0-9]{2}:[0-9]{2})?$",
                "description": "When it starts; without an offset, in the person's own time zone.",
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
            "location": {"type": "string", "maxLength": 255, "description": "Where it takes place."},
            "description": {"type": "string", "maxLength": 8_000, "description": "What it is about."},
        },
        required=frozenset({"title", "start"}),
        scopes=frozenset({"Calendars.ReadWrite", "MailboxSettings.Read"}),
        effect=Effect.WRITE,
        asks=("schedule {title} for {start}", "create an event {title} on {start}", "book {title} at {start}"),
    ),
    ToolSpec(
        name="create_task",
        summary="Create a task in Microsoft To Do.",
        invoke=create_task,
        params={
            "title": {"type": "string", "minLength": 1, "maxLength": 255, "description": "What is to be done."},
            "due": {**days.DATE, "description": "The day it is due, such as 2026-11-24."},
        },
        required=frozenset({"title"}),
        scopes=frozenset({"Tasks.ReadWrite"}),
        effect=Effect.WRITE,
        asks=("add {title} to my tasks", "remind me to {title}", "create the task {title} for {due}"),
    ),
)

PROVIDER = ProviderSpec(
    id="msgraph",
    title="Microsoft 365",
    about="Outlook mail and calendar, OneDrive files, tasks and colleagues",
    api_base="https://graph.microsoft.com",
    web_base="https://outlook.office365.com",
    headers={"Prefer": 'outlook.body-content-type="text"'},
    oauth=OAuthSpec(
        authorize_url="https://login.microsoftonline.com/common/oauth2/v2.0/authorize",
        token_url="https://login.microsoftonline.com/common/oauth2/v2.0/token",  # noqa: S106 - an address
        issuer="https://login.microsoftonline.com/{tid}/v2.0",
        scopes=tuple(scope for scope in _WORDS if scope not in _WRITING),
        scope_words=_WORDS,
        scope_aliases={f"{_GRAPH}{scope}": scope for scope in _WORDS},
        unlisted_scopes=frozenset({"offline_access", "openid", "profile", "email"}),
        authorize_params={"prompt": "select_account"},
        dead_grant_errors=frozenset({"invalid_grant", "interaction_required"}),
        lifetime_s=3_600,
        rotation=False,
        grant_idle_s=7_776_000,
        identity="id_token",
        subject_fields=("tid+oid",),
        label_fields=("preferred_username", "email", "name"),
    ),
    refusal_of=refusal_of,
    register_url="https://entra.microsoft.com/#view/Microsoft_AAD_RegisteredApps/ApplicationsListBlade",
    register_steps=(
        "In the Microsoft Entra admin centre, under App registrations, choose New registration.",
        "As supported account types, choose any organizational directory, with personal accounts if you want them.",
        "As redirect URI, choose the platform Web and enter {redirect_uri}.",
        "Under Certificates & secrets, add a client secret and copy its value; it is shown once.",
        "Under API permissions, add these delegated permissions of Microsoft Graph: {scopes}.",
        "If your organization asks for it, have an administrator grant consent there.",
        "Copy the application (client) ID from the overview.",
    ),
    unconfirmed=(
        "That Microsoft's answers name the granted scopes of Graph without its address; both forms are read.",
    ),
    tools=TOOLS,
)
