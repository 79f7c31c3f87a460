"""Records as Sentry's API writes them. Field names and types are those of its published OpenAPI document."""

from __future__ import annotations

import math
from hashlib import blake2b
from typing import Any, TypeAlias

from providers.sandbox.records import HOUR_S, HOURS, Comment, Issue, Organization, Person, Project, Release, World, iso
from providers.sandbox.words import COMMITS

Json: TypeAlias = dict[str, Any]
Span: TypeAlias = tuple[int, int]
"""Hours of the window: from, until (not included)."""

ALL: Span = (0, HOURS)
_YES = ("firstTransactionEvent", "hasAccess", "hasSessions", "isMember")
_NO = (
    "hasFeedbacks",
    "hasFlags",
    "hasInsightsAgentMonitoring",
    "hasInsightsAppStart",
    "hasInsightsAssets",
    "hasInsightsCaches",
    "hasInsightsDb",
    "hasInsightsHttp",
    "hasInsightsMCP",
    "hasInsightsQueues",
    "hasInsightsScreenLoad",
    "hasInsightsVitals",
    "hasLogs",
    "hasMinifiedStackTrace",
    "hasMonitors",
    "hasNewFeedbacks",
    "hasProfiles",
    "hasReplays",
    "hasTraceMetrics",
    "hasUserReports",
    "isBookmarked",
)
_PRIORITY = {"fatal": "high", "error": "medium"}
_AVATAR = {"avatarType": "letter_avatar", "avatarUuid": None, "avatarUrl": None}


def organization(org: Organization, world: World, origin: str) -> Json:
    """One row of the list of organizations."""
    return {
        "id": str(org.id),
        "slug": org.slug,
        "name": org.name,
        "status": {"id": "active", "name": "active"},
        "dateCreated": iso(world.starts - org.id * 40_000_000),
        "isEarlyAdopter": False,
        "require2FA": False,
        "requireEmailVerification": False,
        "avatar": _AVATAR,
        "features": ["releases", "session-release-adoption", "shared-issues"],
        "links": {"organizationUrl": f"{origin}/organizations/{org.slug}/", "regionUrl": origin},
        "hasAuthProvider": False,
        "allowMemberInvite": True,
        "allowMemberProjectCreation": False,
        "allowSuperuserAccess": False,
    }


def project(found: Project, world: World) -> Json:
    """One row of the list of projects."""
    team = {"id": str(found.id), "name": found.name, "slug": found.slug}
    return {
        "id": str(found.id),
        "slug": found.slug,
        "name": found.name,
        "platform": found.platform,
        "platforms": [found.platform],
        "dateCreated": iso(world.starts - found.id * 4_000),
        "firstEvent": iso(world.starts - found.id * 3_000),
        "access": [],
        "features": ["releases", "minidump"],
        "environments": ["production"],
        "team": team,
        "teams": [team],
        "latestRelease": {"version": found.releases[0].version},
        **dict.fromkeys(_YES, True),
        **dict.fromkeys(_NO, False),
    }


def me(person: Person, world: World) -> Json:
    """The account a token belongs to."""
    return {
        "id": str(person.id),
        "name": person.name,
        "username": person.email,
        "email": person.email,
        "avatarUrl": "",
        "avatar": _AVATAR,
        "isActive": True,
        "isSuspended": False,
        "hasPasswordAuth": True,
        "isManaged": False,
        "isStaff": False,
        "isSuperuser": False,
        "has2fa": False,
        "dateJoined": iso(world.starts - person.id * 9_000_000),
        "lastLogin": iso(world.ends - HOUR_S),
        "lastActive": iso(world.ends),
        "experiments": {},
        "emails": [{"id": str(person.id), "email": person.email, "is_verified": True}],
        "identities": [],
        "options": {"language": "en", "timezone": "UTC", "clock24Hours": True},
    }


def issue(found: Issue, org: Organization, origin: str) -> Json:
    """What every answer about an issue has, whatever period was asked for."""
    status, fault, age = found.status, found.fault, found.ends - found.first_seen
    substatus = {"resolved": None, "ignored": "archived_until_escalating"}.get(status, "ongoing")
    return {
        "id": str(found.id),
        "shareId": None,
        "shortId": found.short_id,
        "title": found.title,
        "culprit": fault.culprit,
        "permalink": f"{origin}/organizations/{org.slug}/issues/{found.id}/",
        "logger": None,
        "level": fault.level,
        "status": status,
        "statusDetails": {"inNextRelease": True} if found.in_next_release else {},
        "substatus": "new" if substatus == "ongoing" and age < 7 * 24 * HOUR_S else substatus,
        "isPublic": False,
        "platform": found.project.platform.split("-")[0],
        "priority": _PRIORITY.get(fault.level, "low"),
        "priorityLockedAt": None,
        "seerFixabilityScore": None,
        "seerAutofixLastTriggered": None,
        "seerExplorerAutofixLastTriggered": None,
        "project": {
            "id": str(found.project.id),
            "name": found.project.name,
            "slug": found.project.slug,
            "platform": found.project.platform,
        },
        "type": "error",
        "issueType": "error",
        "issueCategory": "error",
        "metadata": {"type": fault.type, "value": fault.value, "filename": fault.file, "function": _function(found)},
        "numComments": len(found.comments),
        "assignedTo": _assignee(found.assignee),
        "isBookmarked": False,
        "isSubscribed": False,
        "subscriptionDetails": None,
        "hasSeen": False,
        "annotations": [],
        "isUnhandled": fault.level == "fatal",
        "count": str(found.events),
        "userCount": found.users,
        "firstSeen": iso(found.first_seen),
        "lastSeen": iso(found.last_seen),
    }


def issue_row(found: Issue, org: Organization, origin: str, *, span: Span, narrowed: Span | None, stats: str) -> Json:
    """One row of a search.

    Args:
        found: the issue.
        org: where it is.
        origin: scheme, host and port of the links.
        span: what `count` counts.
        narrowed: what `filtered` counts, when the search names a release.
        stats: `24h`, `14d` or nothing, the period of the little chart.
    """
    count = found.between(*span)
    return issue(found, org, origin) | {
        "count": str(count),
        "userCount": _users(found, count),
        "stats": {stats: _chart(found, stats)} if stats else {},
        "lifetime": {
            "count": str(found.earlier + found.events),
            "userCount": found.users,
            "firstSeen": iso(found.first_seen),
            "lastSeen": iso(found.last_seen),
            "stats": {},
        },
        "filtered": _filtered(found, narrowed, stats) if narrowed else None,
        "sessionCount": 0,
        "inbox": {"reason": 0, "reason_details": None, "date_added": iso(found.first_seen)},
        "owners": {
            "type": "ownershipRule",
            "owner": f"team:{found.project.id}",
            "date_added": iso(found.first_seen),
        },
        "derivedData": {
            "blocker": "none",
            "progress": "none",
            "status": "closed" if found.status == "resolved" else "open",
            "viewCount": 0,
            "hasOpenFixPr": False,
            "isAssigned": found.assignee is not None,
            "hasRootCause": False,
            "lastCompletedAutofixStep": "none",
            "lastProgressedAt": None,
        },
        "integrationIssues": [],
        "sentryAppIssues": [],
        "latestEventHasAttachments": False,
        "matchingEventId": event_id(found, found.events - 1) if narrowed else None,
        "matchingEventEnvironment": None,
    }


def issue_details(found: Issue, org: Organization, origin: str) -> Json:
    """One issue with its history."""
    first: Json = {"id": "0", "type": "first_seen", "user": None, "data": {}, "dateCreated": iso(found.first_seen)}
    return issue(found, org, origin) | {
        "activity": [*(comment(each) for each in reversed(found.comments)), first],
        "seenBy": [],
        "participants": [],
        "pluginActions": [],
        "pluginIssues": [],
        "pluginContexts": [],
        "userReportCount": 0,
        "firstRelease": _release(found.release),
        "lastRelease": _release(found.release_at(found.events - 1)),
        "tags": [
            {"key": key, "name": key.title(), "totalValues": found.events}
            for key in ("environment", "level", "release", "transaction")
        ],
        "stats": {"24h": _chart(found, "24h"), "30d": _chart(found, "30d")},
    }


def comment(written: Comment) -> Json:
    """An entry of an issue's activity."""
    author = written.author
    return {
        "id": str(written.id),
        "type": "note",
        "user": {"id": str(author.id), "name": author.name, "email": author.email, "username": author.email},
        "data": {"text": written.text},
        "dateCreated": iso(written.created),
    }


def event_id(found: Issue, number: int) -> str:
    """Thirty-two hex digits that say which event of the issue it is."""
    return blake2b(str(found.id).encode(), digest_size=12).hexdigest() + f"{number:08x}"


def event(found: Issue, number: int) -> Json:
    """One event with its exception and stack, made up from the issue."""
    when, fault, release = found.event_time(number), found.fault, found.release_at(number)
    return {
        "id": event_id(found, number),
        "eventID": event_id(found, number),
        "groupID": str(found.id),
        "projectID": str(found.project.id),
        "message": "",
        "title": found.title,
        "location": fault.file,
        "culprit": fault.culprit,
        "type": "error",
        "platform": found.project.platform.split("-")[0],
        "dateCreated": iso(when),
        "dateReceived": iso(when + 1),
        "size": 9_000 + found.id % 4_000,
        "dist": None,
        "user": {
            "id": str(10_000 + number % max(found.users, 1)),
            "email": None,
            "username": None,
            "ip_address": f"192.0.2.{number % 250 + 1}",
            "name": None,
            "geo": None,
            "data": None,
        },
        "tags": [
            {"key": "environment", "value": "production"},
            {"key": "level", "value": fault.level},
            {"key": "release", "value": release.version},
            {"key": "transaction", "value": fault.culprit},
        ],
        "contexts": {"runtime": {"name": found.project.platform, "type": "runtime"}},
        "context": {},
        "entries": [{"type": "exception", "data": _exception(found)}],
        "metadata": {"type": fault.type, "value": fault.value, "filename": fault.file, "function": _function(found)},
        "sdk": {"name": found.project.language.sdk, "version": "3.4.0"},
        "packages": {},
        "errors": [],
        "occurrence": None,
        "_meta": {},
        "fingerprints": [blake2b(found.title.encode(), digest_size=16).hexdigest()],
        "release": _release(release),
        "userReport": None,
        "sdkUpdates": [],
        "resolvedWith": [],
        "nextEventID": event_id(found, number + 1) if number + 1 < found.events else None,
        "previousEventID": event_id(found, number - 1) if number else None,
    }


def release(found: Release, *, health: Span | None = None) -> Json:
    """A release; with `health`, what its sessions were like in those hours."""
    about = {
        "id": found.project.id,
        "slug": found.project.slug,
        "name": found.project.name,
        "platform": found.project.platform,
        "platforms": [found.project.platform],
        "newGroups": found.new_issues,
        "hasHealthData": True,
    }
    return _release(found) | {
        "newGroups": found.new_issues,
        "owner": None,
        "authors": [_author(found)],
        "lastCommit": commit(found, 0),
        "firstEvent": iso(found.created + 120),
        "lastEvent": iso(found.created + (found.last - found.first) * HOUR_S - 300),
        "currentProjectMeta": {},
        "userAgent": "sentry-cli/3.1.0",
        "adoptionStages": None,
        "projects": [about | {"healthData": _health(found, health)} if health else about],
    }


def commit(found: Release, number: int) -> Json:
    """One commit of a release; 0 is the last. Only that one has a message of its own."""
    texts = (found.message, *(text for text in COMMITS if text != found.message))
    created = found.created - 1_900 - number * 17_000
    released = ("version", "shortVersion", "ref", "url", "dateReleased", "dateCreated")
    return {
        "id": blake2b(f"{found.version} {number}".encode(), digest_size=20).hexdigest(),
        "message": texts[0] if number == 0 else texts[1 + (found.id + number) % (len(texts) - 1)],
        "dateCreated": iso(created),
        "pullRequest": None,
        "suspectCommitType": "",
        "repository": {
            "id": str(found.project.id),
            "name": f"example/{found.project.slug}",
            "dateCreated": iso(created - 30_000_000),
            "status": "active",
        },
        "author": _author(found),
        "releases": [{name: value for name, value in _release(found).items() if name in released}],
    }


def _author(found: Release) -> Json:
    return {"name": found.author.name, "email": found.author.email}


def _release(found: Release) -> Json:
    package, _, number = found.version.partition("@")
    major, minor, patch = (int(part) for part in number.split("."))
    return {
        "id": found.id,
        "version": found.version,
        "shortVersion": found.version,
        "versionInfo": {
            "package": package,
            "version": {
                "raw": number,
                "major": major,
                "minor": minor,
                "patch": patch,
                "pre": None,
                "buildCode": None,
                "components": 3,
            },
            "description": number,
            "buildHash": None,
        },
        "status": "open",
        "ref": None,
        "url": None,
        "data": {},
        "dateCreated": iso(found.created),
        "dateReleased": iso(found.created),
        "commitCount": found.commits,
        "deployCount": 1,
        "lastDeploy": {
            "id": str(found.id),
            "environment": "production",
            "name": f"{number} to production",
            "dateStarted": iso(found.created - 90),
            "dateFinished": iso(found.created),
            "url": None,
        },
    }


def _health(found: Release, span: Span) -> Json:
    first, last = max(span[0], found.first), min(span[1], found.last)
    total, crashed = (
        tally.between(first, last) for tally in (found.project.tallies["sessions"], found.project.tallies["crashed"])
    )
    everyone = found.project.tallies["sessions"].between(*span)
    day = HOURS - 24
    free = 100 * (1 - crashed / total) if total else None
    return {
        "crashFreeSessions": free,
        "crashFreeUsers": free,
        "totalSessions": total,
        "totalUsers": users(total),
        "sessionsCrashed": crashed,
        "sessionsErrored": found.project.tallies["errored"].between(first, last),
        "totalSessions24h": found.project.tallies["sessions"].between(max(found.first, day), found.last)
        if found.last > day
        else 0,
        "totalUsers24h": None,
        "totalProjectSessions24h": found.project.tallies["sessions"].between(day, HOURS),
        "totalProjectUsers24h": None,
        "adoption": 100 * total / everyone if everyone else None,
        "sessionsAdoption": 100 * total / everyone if everyone else None,
        "durationP50": None,
        "durationP90": None,
        "hasHealthData": bool(total),
        "stats": {},
    }


def users(sessions: int) -> int:
    """About how many people that many sessions are: the more sessions, the more of them by the same people."""
    return round(math.pow(sessions, 0.9))


def _users(found: Issue, count: int) -> int:
    return -(-found.users * count // found.events)


def _filtered(found: Issue, span: Span, stats: str) -> Json:
    events = found.numbers(*span)
    return {
        "count": str(len(events)),
        "userCount": _users(found, len(events)),
        "firstSeen": iso(found.event_time(events[0])) if events else None,
        "lastSeen": iso(found.event_time(events[-1])) if events else None,
        "stats": {stats: _chart(found, stats)} if stats else {},
    }


def _chart(found: Issue, period: str) -> list[list[int]]:
    step, bars = (1, 24) if period == "24h" else (24, int(period[:-1]))
    first = HOURS - step * bars
    chart = [[found.started + hour * HOUR_S, 0] for hour in range(first, HOURS, step)]
    for hour, count in found.cells_from(first):
        chart[(hour - first) // step][1] += count
    return chart


def _assignee(assignee: Person | Project | None) -> Json | None:
    match assignee:
        case Person():
            return {"type": "user", "id": str(assignee.id), "name": assignee.name, "email": assignee.email}
        case Project():
            return {"type": "team", "id": str(assignee.id), "name": assignee.slug}
        case None:
            return None


def _function(found: Issue) -> str:
    culprit = found.fault.culprit
    if " in " in culprit:
        return culprit.rpartition(" in ")[2]
    return culprit.partition("(")[0] if "(" in culprit else culprit.rpartition(".")[2]


def _exception(found: Issue) -> Json:
    fault, line = found.fault, 20 + found.id % 300
    frames = [
        _frame(file, function, 100 + len(file), [], in_app=False) for file, function in found.project.language.library
    ]
    context: list[list[int | str]] = [[line - 1, ""], [line, fault.line], [line + 1, ""]]
    frames.append(_frame(fault.file, _function(found), line, context, in_app=True))
    stack = {"frames": frames, "framesOmitted": None, "hasSystemFrames": True, "registers": None}
    value = {
        "type": fault.type,
        "value": fault.value,
        "module": None,
        "threadId": None,
        "mechanism": {"type": "generic", "handled": fault.level != "fatal"},
        "stacktrace": stack,
        "rawStacktrace": None,
    }
    return {"values": [value], "excOmitted": None, "hasSystemFrames": True}


def _frame(file: str, function: str, line: int, context: list[list[int | str]], *, in_app: bool) -> Json:
    return {
        "filename": file,
        "absPath": f"/app/{file}",
        "module": file.rpartition(".")[0].replace("/", "."),
        "function": function,
        "lineNo": line,
        "colNo": None,
        "inApp": in_app,
        "context": context,
        "vars": None,
        "package": None,
        "errors": None,
        "platform": None,
        "instructionAddr": None,
        "symbol": None,
        "symbolAddr": None,
        "trust": None,
    }
