"""Salesforce: accounts, contacts, opportunities, leads, cases and tasks of one organization."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from functools import partial
from http import HTTPStatus

from providers import tools
from providers.errors import BadArguments, Forbidden, NotFound, TokenRejected, ToolError, TooManyRequests
from providers.spec import Api, Args, Effect, Json, OAuthSpec, Page, Producer, ProviderSpec, Reply, Result, ToolSpec
from providers.tools import (
    SHOWN,
    Row,
    ago,
    at,
    bullets,
    clean,
    list_at,
    moment_at,
    number_at,
    path,
    picked,
    plural,
    text_at,
    whole_at,
)

_DATA = "/services/data/v62.0"
_RECORD = _DATA + "/sobjects/{kind}/{id}"
_ID = re.compile(r"[A-Za-z0-9]{15}(?:[A-Za-z0-9]{3})?")

_OPPORTUNITY = (
    *("Id", "Name", "StageName", "Amount", "CloseDate", "Probability", "IsClosed", "IsWon", "NextStep"),
    *("Account.Name", "Owner.Name"),
)
_ACCOUNT = ("Id", "Name", "Industry", "Type", "Website", "Phone", "BillingCity", "BillingCountry", "Owner.Name")
_CONTACT = ("Id", "Name", "Title", "Email", "Phone", "Account.Name")
_CASE = ("Id", "CaseNumber", "Subject", "Status", "Priority", "CreatedDate", "Account.Name", "Owner.Name")
_LEAD = ("Id", "Name", "Company", "Title", "Email", "Phone", "Status", "LeadSource", "CreatedDate", "Owner.Name")
_TASK = ("Id", "Subject", "Status", "Priority", "ActivityDate", "What.Name", "Who.Name")

_record = partial(tools.record, "Salesforce")


def refusal_of(reply: Reply) -> ToolError | None:
    """Errors come as a list, each with a code of its own."""
    first = reply.data[0] if isinstance(reply.data, list) and reply.data else reply.data
    code = text_at(first, "errorCode") if reply.status >= HTTPStatus.BAD_REQUEST else ""
    match code:
        case "REQUEST_LIMIT_EXCEEDED":
            return TooManyRequests("Salesforce takes no more calls of this organization today.", retry_after_s=3_600)
        case "INVALID_SESSION_ID":
            return TokenRejected("Salesforce no longer accepts this account's token.")
        case "API_DISABLED_FOR_ORG" | "API_CURRENTLY_DISABLED":
            return Forbidden("This Salesforce account may not use the API: its administrator can allow it.")
        case "INVALID_TYPE" | "INSUFFICIENT_ACCESS" | "INSUFFICIENT_ACCESS_OR_READONLY" | "INVALID_FIELD":
            return Forbidden("This Salesforce account may not see or change that kind of record, or one of its fields.")
    # Its page for who one is says so with a 403 and a word.
    if reply.status == HTTPStatus.FORBIDDEN and reply.body.strip() == b"Bad_OAuth_Token":
        return TokenRejected("Salesforce no longer accepts this account's token.")
    return None


# --- asking ----------------------------------------------------------------------------------------------------------


def _quoted(text: str) -> str:
    """A text of Salesforce's query language. No value can end it."""
    escaped = re.sub(r"[\\']", r"\\\g<0>", " ".join(text.split()))
    return f"'{escaped}'"


def _like(text: str) -> str:
    """A text anywhere in a field. What stands for any character stands for itself."""
    escaped = re.sub(r"[\\'%_]", r"\\\g<0>", " ".join(text.split()))
    return f"LIKE '%{escaped}%'"


async def _select(
    api: Api, fields: Sequence[str], kind: str, tests: Sequence[str], *, order: str = "", most: int = SHOWN
) -> list[Row]:
    """Records of one kind that fit all tests; every value in a test is quoted."""
    where = f" WHERE {' AND '.join(tests)}" if tests else ""
    sorts = f" ORDER BY {order}" if order else ""
    return await _all(api, f"SELECT {', '.join(fields)} FROM {kind}{where}{sorts} LIMIT {most}")  # noqa: S608 - see above


async def _all(api: Api, query: str) -> list[Row]:
    async def page(more: Mapping[str, Json]) -> Reply:
        if "locator" in more:
            return await api.get(path(_DATA + "/query/{locator}", locator=more["locator"]))
        return await api.get(_DATA + "/query", {"q": query})

    return await tools.followed("Salesforce", page, rows="records", needs=(), after=_after, most=5)


def _after(reply: Reply) -> Mapping[str, Json] | None:
    """What names the next page is the end of its address; the rest of it is known."""
    locator = text_at(reply.data, "nextRecordsUrl").rpartition("/")[2]
    return {"locator": locator} if locator else None


async def _lookup(api: Api, fields: Sequence[str], kind: str, name: str) -> Row:
    """The record of that id or name. Raises: `NotFound`, `BadArguments` when several go by it."""
    if _ID.fullmatch(name) and any(map(str.isdigit, name)):
        rows = await _select(api, fields, kind, [f"Id = {_quoted(name)}"], most=1)
    else:
        rows = await _select(api, fields, kind, [f"Name {_like(name)}"], order="LastModifiedDate DESC")
    rows = [row for row in rows if text_at(row, "Id")]
    exact = [row for row in rows if text_at(row, "Name").casefold() == name.casefold()]
    match exact or rows:
        case []:
            raise NotFound(f"Salesforce has no such {kind.lower()}, or this account may not see it: check its name.")
        case [only]:
            return only
        case _:
            raise BadArguments(f"Several records of {kind} go by that name: search for it, and give the id of one.")


async def _me(api: Api) -> Row:
    """Who this account is; kept for as long as its token."""
    if "me" not in api.session:
        api.session["me"] = _record((await api.get("/services/oauth2/userinfo")).data, "user_id")
    me: Row = api.session["me"]
    return me


async def _owned(api: Api, args: Args) -> list[str]:
    """Whose records: `me`, or a part of a name."""
    owner = args.get("owner")
    if owner is None:
        return []
    if owner.casefold() == "me":
        return [f"OwnerId = {_quoted(text_at(await _me(api), 'user_id'))}"]
    return [f"Owner.Name {_like(owner)}"]


# --- words -----------------------------------------------------------------------------------------------------------


def _word(row: Row, *keys: str) -> str:
    return clean(text_at(row, *keys), 100)


def _money(row: Row, name: str = "Amount") -> str:
    amount = number_at(row, name)
    return "" if amount is None else f"{amount:,.0f}"


def _day(row: Row, name: str) -> date | None:
    try:
        return date.fromisoformat(text_at(row, name)[:10])
    except ValueError:
        return None


def _told(row: Row, name: str, facts: Sequence[str]) -> str:
    return (
        f"**{_word(row, name) or 'No name'}** ({', '.join(filter(None, facts))}), id `{clean(text_at(row, 'Id'), 18)}`"
    )


def _say_opportunity(row: Row) -> str:
    closes, owner = _day(row, "CloseDate"), _word(row, "Owner", "Name")
    verb = "closed" if at(row, "IsClosed") is True else "closes"
    facts = [
        _money(row),
        _word(row, "StageName"),
        f"{verb} {closes.day} {closes:%b %Y}" if closes else "",
        _word(row, "Account", "Name"),
        f"owned by {owner}" if owner else "",
    ]
    return _told(row, "Name", facts)


def _say_account(row: Row) -> str:
    return _told(
        row, "Name", [_word(row, key) for key in ("Industry", "Type", "BillingCity", "BillingCountry", "Phone")]
    )


def _say_contact(row: Row) -> str:
    return _told(
        row, "Name", [_word(row, "Title"), _word(row, "Account", "Name"), _word(row, "Email"), _word(row, "Phone")]
    )


def _say_case(row: Row) -> str:
    opened = ago(moment_at(row, "CreatedDate"), datetime.now(UTC))
    facts = [_word(row, "Status"), _word(row, "Priority"), _word(row, "Account", "Name"), f"opened {opened}"]
    return _told({**row, "Title": f"{text_at(row, 'CaseNumber')} {text_at(row, 'Subject')}".strip()}, "Title", facts)


def _say_lead(row: Row) -> str:
    came = ago(moment_at(row, "CreatedDate"), datetime.now(UTC))
    return _told(
        row, "Name", [*(_word(row, key) for key in ("Company", "Status", "LeadSource", "Email")), f"came {came}"]
    )


def _say_task(row: Row) -> str:
    due = _day(row, "ActivityDate")
    about = [_word(row, key, "Name") for key in ("What", "Who")]
    late = due is not None and due < datetime.now(UTC).date()
    day = f"{'overdue since' if late else 'due'} {due.day} {due:%b %Y}" if due else "no day"
    return _told(row, "Subject", [day, _word(row, "Priority"), *about])


def _source(api: Api, row: Row, name: str = "Name") -> Page:
    """A record's page is its id below the organization's own address."""
    return Page(
        _word(row, name) or "Record",
        api.web_base + path("/{id}", id=text_at(row, "Id") or "home"),
        clean(text_at(row, "Id"), 18),
    )


def _listed(
    api: Api, rows: list[Row], fields: Sequence[str], lines: list[str], head: str, *, name: str = "Name"
) -> Result:
    sources = tuple(_source(api, row, name) for row in rows[:SHOWN]) or (Page("Salesforce", f"{api.web_base}/"),)
    return Result([picked(row, fields) for row in rows], f"{head}\n{bullets(lines)}".strip(), sources)


def _count(rows: list[Row], args: Args, one: str, many: str | None = None) -> str:
    """How many there are: as far as the limit let them be counted."""
    return plural(len(rows), one, many) + (" or more" if len(rows) >= args.get("limit", 20) else "")


# --- reads -----------------------------------------------------------------------------------------------------------

_SEARCHED = {
    "Account": ("Id", "Name"),
    "Contact": ("Id", "Name", "Email"),
    "Opportunity": ("Id", "Name"),
    "Lead": ("Id", "Name", "Company"),
}


async def search_records(api: Api, args: Args) -> Result:
    """Accounts, contacts, opportunities and leads by words in them."""
    query = args["query"]
    asked = {
        "q": query,
        "sobject": list(_SEARCHED),
        **{f"{kind}.fields": ",".join(fields) for kind, fields in _SEARCHED.items()},
        "defaultLimit": args.get("limit", SHOWN),
    }
    reply = await api.get(_DATA + "/parameterizedSearch", asked)
    rows = [row for row in list_at(_record(reply.data), "searchRecords") if text_at(row, "Id")]
    lines = [
        _told(row, "Name", [_word(row, "attributes", "type"), _word(row, "Email"), _word(row, "Company")])
        for row in rows
    ]
    words = clean(query, 80)
    head = f"{plural(len(rows), 'record')} matching “{words}”:" if rows else f"Nothing in Salesforce matches “{words}”."
    return _listed(api, rows, ("Id", "Name", "attributes.type", "Email", "Company"), lines, head)


async def account_overview(api: Api, args: Args) -> Result:
    """An account with its people, open opportunities and open cases."""
    account = await _lookup(api, _ACCOUNT, "Account", args["account"])
    own = f"AccountId = {_quoted(text_at(account, 'Id'))}"
    contacts, deals, cases = await asyncio.gather(
        _select(api, _CONTACT, "Contact", [own], order="LastModifiedDate DESC"),
        _select(api, _OPPORTUNITY, "Opportunity", [own, "IsClosed = false"], order="CloseDate"),
        _select(api, _CASE, "Case", [own, "IsClosed = false"], order="CreatedDate DESC"),
    )
    parts = [
        _say_account(account),
        _part("Contacts", [_say_contact(row) for row in contacts]),
        _part("Open opportunities", [_say_opportunity(row) for row in deals]),
        _part("Open cases", [_say_case(row) for row in cases]),
    ]
    data = {
        **picked(account, _ACCOUNT),
        "contacts": [picked(row, _CONTACT) for row in contacts],
        "opportunities": [picked(row, _OPPORTUNITY) for row in deals],
        "cases": [picked(row, _CASE) for row in cases],
    }
    found = [row for row in [account, *contacts[:3], *deals[:4]] if text_at(row, "Id")]
    return Result(data, "\n".join(parts), tuple(_source(api, row) for row in found))


def _part(head: str, lines: list[str]) -> str:
    return f"{head}:\n{bullets(lines)}" if lines else f"{head}: none"


_STATES: Mapping[str, list[str]] = {
    "open": ["IsClosed = false"],
    "won": ["IsWon = true"],
    "lost": ["IsClosed = true", "IsWon = false"],
    "all": [],
}
_PERIODS = {
    "this_month": "THIS_MONTH",
    "next_month": "NEXT_MONTH",
    "this_quarter": "THIS_QUARTER",
    "next_quarter": "NEXT_QUARTER",
    "this_year": "THIS_YEAR",
}


async def list_opportunities(api: Api, args: Args) -> Result:
    """Opportunities by state, owner, account and when they close."""
    state, closes = args.get("state", "open"), args.get("closes")
    tests = [*_STATES[state], *await _owned(api, args)]
    if closes:
        tests.append(f"CloseDate = {_PERIODS[closes]}")
    if "account" in args:
        tests.append(f"Account.Name {_like(args['account'])}")
    rows = await _select(
        api, _OPPORTUNITY, "Opportunity", tests, order="Amount DESC NULLS LAST", most=args.get("limit", 20)
    )
    what = f"{'' if state == 'all' else f'{state} '}opportunity"
    which = f" of {clean(args['account'], 60)}" if "account" in args else ""
    which += f" closing {closes.replace('_', ' ')}" if closes else ""
    many = _count(rows, args, what, what.replace("opportunity", "opportunities"))
    head = f"{many}{which}, the largest first:" if rows else f"There is no {what}{which}."
    return _listed(api, rows, _OPPORTUNITY, [_say_opportunity(row) for row in rows], head)


async def opportunity_details(api: Api, args: Args) -> Result:
    """One opportunity with the people involved and what is to be done."""
    row = await _lookup(api, _OPPORTUNITY, "Opportunity", args["opportunity"])
    name = _quoted(text_at(row, "Id"))
    roles, tasks = await asyncio.gather(
        _select(
            api,
            ("Contact.Name", "Contact.Email", "Role", "IsPrimary"),
            "OpportunityContactRole",
            [f"OpportunityId = {name}"],
        ),
        _select(api, _TASK, "Task", [f"WhatId = {name}", "IsClosed = false"], order="ActivityDate"),
    )
    people = [f"**{_word(each, 'Contact', 'Name')}** ({_word(each, 'Role') or 'no role'})" for each in roles]
    chance, following = whole_at(row, "Probability"), _word(row, "NextStep")
    parts = [
        _say_opportunity(row),
        f"Probability {chance}%{f'; next step: {following}' if following else ''}",
        _part("People", people),
        _part("Open tasks", [_say_task(each) for each in tasks]),
    ]
    data = {
        **picked(row, _OPPORTUNITY),
        "contacts": [picked(each, ("Contact.Name", "Contact.Email", "Role")) for each in roles],
        "tasks": [picked(each, _TASK) for each in tasks],
    }
    return Result(data, "\n".join(parts), (_source(api, row),))


async def pipeline_summary(api: Api, args: Args) -> Result:
    """Open opportunities by stage: how many, and what they are worth."""
    tests = ["IsClosed = false", *await _owned(api, args)]
    if "closes" in args:
        tests.append(f"CloseDate = {_PERIODS[args['closes']]}")
    fields = "StageName, COUNT(Id) deals, SUM(Amount) worth"
    found = await _all(api, f"SELECT {fields} FROM Opportunity WHERE {' AND '.join(tests)} GROUP BY StageName")  # noqa: S608 - values are quoted
    rows = sorted((row for row in found if text_at(row, "StageName")), key=lambda row: -(number_at(row, "worth") or 0))

    def say(row: Row) -> str:
        count = plural(whole_at(row, "deals"), "opportunity", "opportunities")
        return f"**{_word(row, 'StageName')}**: {count}, {_money(row, 'worth') or '0'}"

    worth = sum(number_at(row, "worth") or 0 for row in rows)
    count = plural(sum(whole_at(row, "deals") for row in rows), "open opportunity", "open opportunities")
    text = (
        f"{count} worth {worth:,.0f}:\n{bullets([say(row) for row in rows], most=30)}"
        if rows
        else "There are no open opportunities."
    )
    data = [
        {"stage": text_at(row, "StageName"), "deals": whole_at(row, "deals"), "amount": number_at(row, "worth")}
        for row in rows
    ]
    return Result(data, text, (Page("Opportunities", f"{api.web_base}/lightning/o/Opportunity/list"),))


async def list_cases(api: Api, args: Args) -> Result:
    """Support cases, the latest first."""
    tests = [
        *({"open": ["IsClosed = false"], "closed": ["IsClosed = true"]}.get(args.get("state", "open"), [])),
        *await _owned(api, args),
    ]
    if "account" in args:
        tests.append(f"Account.Name {_like(args['account'])}")
    if "priority" in args:
        tests.append(f"Priority = {_quoted(args['priority'].capitalize())}")
    rows = await _select(api, _CASE, "Case", tests, order="CreatedDate DESC", most=args.get("limit", 20))
    head = f"{_count(rows, args, 'case')}, the latest first:" if rows else "There is no such case."
    return _listed(api, rows, _CASE, [_say_case(row) for row in rows], head, name="CaseNumber")


async def list_leads(api: Api, args: Args) -> Result:
    """Leads that are not converted yet, the latest first."""
    tests = ["IsConverted = false", *await _owned(api, args)]
    if "status" in args:
        tests.append(f"Status {_like(args['status'])}")
    rows = await _select(api, _LEAD, "Lead", tests, order="CreatedDate DESC", most=args.get("limit", 20))
    head = f"{_count(rows, args, 'lead')}, the latest first:" if rows else "There is no such lead."
    return _listed(api, rows, _LEAD, [_say_lead(row) for row in rows], head)


async def my_tasks(api: Api, args: Args) -> Result:
    """What is to be done, and what is overdue."""
    tests = ["IsClosed = false", f"OwnerId = {_quoted(text_at(await _me(api), 'user_id'))}"]
    if "days" in args:
        tests.append(f"ActivityDate <= NEXT_N_DAYS:{args['days']}")
    rows = await _select(api, _TASK, "Task", tests, order="ActivityDate ASC NULLS LAST", most=args.get("limit", 20))
    head = f"{_count(rows, args, 'open task')}, the earliest first:" if rows else "There are no open tasks."
    return _listed(api, rows, _TASK, [_say_task(row) for row in rows], head, name="Subject")


async def recent_records(api: Api, args: Args) -> Result:
    """What this person looked at last."""
    reply = await api.get(_DATA + "/recent", {"limit": args.get("limit", SHOWN)})
    rows = tools.records("Salesforce", reply.data, "Id")
    lines = [_told(row, "Name", [_word(row, "attributes", "type")]) for row in rows]
    head = "Looked at last:" if rows else "Nothing was looked at lately."
    return _listed(api, rows, ("Id", "Name", "attributes.type"), lines, head)


async def who_am_i(api: Api, _args: Args) -> Result:
    """Whose account this is, and in which organization."""
    me = await _me(api)
    address = _word(me, "email") or _word(me, "preferred_username")
    text = f"This is the Salesforce account of **{_word(me, 'name')}** ({address})."
    data = picked(me, ("user_id", "organization_id", "name", "email", "preferred_username"))
    return Result(data, text, (Page("Salesforce", f"{api.web_base}/"),))


# --- changes ---------------------------------------------------------------------------------------------------------


async def create_task(api: Api, args: Args) -> Result:
    """A task for this person, on a record if one is named."""
    body = {
        "Subject": args["subject"],
        "Status": "Not Started",
        **{
            field: args[name]
            for name, field in (("due", "ActivityDate"), ("about", "WhatId"), ("note", "Description"))
            if name in args
        },
    }
    made = _record((await api.send("POST", _DATA + "/sobjects/Task", body)).data, "id")
    row = {"Id": text_at(made, "id"), "Subject": args["subject"]}
    return Result(row, f"Created the task **{clean(args['subject'], 120)}**.", (_source(api, row, "Subject"),))


async def create_lead(api: Api, args: Args) -> Result:
    """A new lead."""
    names = {
        "last_name": "LastName",
        "first_name": "FirstName",
        "company": "Company",
        "email": "Email",
        "phone": "Phone",
    }
    body = {field: args[name] for name, field in names.items() if name in args}
    made = _record((await api.send("POST", _DATA + "/sobjects/Lead", body)).data, "id")
    name = " ".join(filter(None, [args.get("first_name"), args["last_name"]]))
    row = {"Id": text_at(made, "id"), "Name": name}
    text = f"Created the lead **{clean(name, 80)}** of {clean(args['company'], 80)}."
    return Result(row, text, (_source(api, row),))


async def update_opportunity(api: Api, args: Args) -> Result:
    """An opportunity's stage, close date, amount or next step."""
    names = {"stage": "StageName", "closes": "CloseDate", "amount": "Amount", "next_step": "NextStep"}
    body = {field: args[name] for name, field in names.items() if name in args}
    if not body:
        raise BadArguments("Say what is to change: the stage, the close date, the amount or the next step.")
    row = await _lookup(api, _OPPORTUNITY, "Opportunity", args["opportunity"])
    await api.send("PATCH", path(_RECORD, kind="Opportunity", id=text_at(row, "Id")), body)
    told = ", ".join(f"{name.replace('_', ' ')} {clean(str(args[name]), 60)}" for name in names if name in args)
    return Result(
        {"Id": text_at(row, "Id"), **body}, f"Changed **{_word(row, 'Name')}**: {told}.", (_source(api, row),)
    )


# --- tools -----------------------------------------------------------------------------------------------------------

_NAME = {"type": "string", "minLength": 2, "maxLength": 200}
_ACCOUNT_NAME = {**_NAME, "description": "Name of the account.", "examples": ["Feldwerk"]}
_OPPORTUNITY_NAME = {**_NAME, "description": "Name or id of the opportunity.", "examples": ["Feldwerk renewal"]}
_OWNER = {**_NAME, "description": "Whose: me, or a part of a name.", "examples": ["me", "Sam Okoro"]}
_LIMIT = {"type": "integer", "minimum": 1, "maximum": 100, "default": 20, "description": "How many at most."}
_CLOSES = {"type": "string", "enum": list(_PERIODS), "description": "When they are to close."}
_DAY = {"type": "string", "pattern": "^20[0-9]{2}-[01][0-9]-[0-3][0-9]$", "examples": ["2027-01-31"]}

_tool = partial(ToolSpec, scopes=frozenset({"api"}), or_scopes=(frozenset({"full"}),))
_own = partial(ToolSpec, scopes=frozenset({"api", "openid"}), or_scopes=(frozenset({"full"}),))

PROVIDER = ProviderSpec(
    id="salesforce",
    title="Salesforce",
    about="accounts, contacts, opportunities, leads, cases and tasks",
    api_base="https://login.salesforce.com",
    refusal_of=refusal_of,
    oauth=OAuthSpec(
        authorize_url="https://login.salesforce.com/services/oauth2/authorize",
        token_url="https://login.salesforce.com/services/oauth2/token",  # noqa: S106 - an address
        revoke_url="https://login.salesforce.com/services/oauth2/revoke",
        scopes=("api", "openid", "refresh_token"),
        scope_words={
            "api": "see and change what this person may see and change in Salesforce",
            "openid": "know whose Salesforce account this is",
            "refresh_token": "stay connected",
        },
        scope_aliases={"offline_access": "refresh_token"},
        lifetime_s=7_200,
        api_base_path=("instance_url",),
        api_base_hosts=("salesforce.com",),
        identity="answer",
        subject_fields=("id",),
        label_fields=("instance_url",),
        revoke_style="token_only",
        revoke_kinds=("refresh",),
    ),
    mcp_url="https://api.salesforce.com/platform/mcp/v1/platform/sobject-all",
    register_url="https://login.salesforce.com/",
    register_steps=(
        "In Setup, search for “External Client App Manager” and choose “New External Client App”.",
        "Under “API (Enable OAuth Settings)”, tick “Enable OAuth” and enter the callback URL {redirect_uri}.",
        "Add the OAuth scopes {scopes}; their names there have these words in brackets.",
        "Leave “Require Proof Key for Code Exchange (PKCE)” and “Require secret for Web Server Flow” ticked.",
        "Create it, open its settings, and copy the consumer key (client id) and the consumer secret.",
        "For a sandbox, set the API base to https://test.salesforce.com; for one organization, to its own address.",
    ),
    unconfirmed=(
        "How long an access token lives is the organization's session setting; two hours are assumed until a 401.",
        "Rotation of refresh tokens is a choice of the app there; they are treated as if it were on.",
    ),
    tools=(
        _tool(
            name="search_records",
            summary="Find accounts, contacts, opportunities and leads by words in them.",
            invoke=search_records,
            params={
                "query": {**_NAME, "description": "Words to look for.", "examples": ["Feldwerk"]},
                "limit": {**_LIMIT, "default": SHOWN},
            },
            required=frozenset({"query"}),
            gives="[{Id, Name, attributes.type, Email, Company}]",
            asks=(
                "find {query} in Salesforce",
                "search Salesforce for {query}",
                "is {query} in our CRM",
                "which records mention {query}",
                "look up {query}",
                "what is the e-mail address of {query}",
            ),
        ),
        _tool(
            name="account_overview",
            summary="Show an account with its contacts, open opportunities and open cases.",
            invoke=account_overview,
            params={"account": {**_ACCOUNT_NAME, "description": "Name or id of the account."}},
            required=frozenset({"account"}),
            gives="{Id, Name, Industry, contacts: [], opportunities: [], cases: []}",
            asks=(
                "tell me about the account {account}",
                "give me an overview of {account}",
                "who are our contacts at {account}",
                "what is going on with {account}",
                "prepare me for a meeting with {account}",
                "what do we have open with {account}",
            ),
        ),
        _own(
            name="list_opportunities",
            summary="List opportunities by state, owner, account and close date, the largest first.",
            invoke=list_opportunities,
            params={
                "state": {
                    "type": "string",
                    "enum": ["open", "won", "lost", "all"],
                    "default": "open",
                    "description": "How they stand.",
                },
                "owner": _OWNER,
                "account": {**_ACCOUNT_NAME, "description": "Only of accounts with this in their name."},
                "closes": _CLOSES,
                "limit": _LIMIT,
            },
            gives="[{Id, Name, StageName, Amount, CloseDate, Account.Name, Owner.Name}]",
            asks=(
                "list the open opportunities",
                "which opportunities close this quarter",
                "what are our biggest opportunities",
                "which opportunities did we win",
                "what deals have we lost",
                "which deals does {owner} have",
                "opportunities of {account}",
                "which deals close {closes}",
            ),
        ),
        _tool(
            name="opportunity_details",
            summary="Show an opportunity with its people, next step and open tasks.",
            invoke=opportunity_details,
            params={"opportunity": _OPPORTUNITY_NAME},
            required=frozenset({"opportunity"}),
            producers={"opportunity": Producer("list_opportunities", "Id", names=("Name",))},
            gives="{Id, Name, StageName, Amount, CloseDate, NextStep, contacts: [], tasks: []}",
            asks=(
                "how is the opportunity {opportunity} going",
                "what stage is {opportunity} in",
                "who is involved in {opportunity}",
                "what is the next step for {opportunity}",
                "show me the deal {opportunity}",
                "when does {opportunity} close",
            ),
        ),
        _own(
            name="pipeline_summary",
            summary="Sum up open opportunities by stage: how many, and what they are worth.",
            invoke=pipeline_summary,
            params={"owner": _OWNER, "closes": _CLOSES},
            gives="[{stage, deals, amount}]",
            asks=(
                "how does the pipeline look",
                "what is our pipeline worth",
                "how many opportunities are in each stage",
                "summarize the sales pipeline",
                "what is my pipeline",
                "how big is the pipeline that closes {closes}",
            ),
        ),
        _own(
            name="list_cases",
            summary="List support cases by state, priority, account and owner.",
            invoke=list_cases,
            params={
                "state": {
                    "type": "string",
                    "enum": ["open", "closed", "all"],
                    "default": "open",
                    "description": "How they stand.",
                },
                "priority": {"type": "string", "enum": ["high", "medium", "low"], "description": "How urgent."},
                "account": {**_ACCOUNT_NAME, "description": "Only of accounts with this in their name."},
                "owner": _OWNER,
                "limit": _LIMIT,
            },
            gives="[{Id, CaseNumber, Subject, Status, Priority, CreatedDate, Account.Name}]",
            asks=(
                "which support cases are open",
                "list the high priority cases",
                "what cases does {account} have",
                "show my cases",
                "what is the latest case",
                "which customers have problems",
            ),
        ),
        _own(
            name="list_leads",
            summary="List leads that are not converted yet, by status and owner.",
            invoke=list_leads,
            params={
                "status": {**_NAME, "description": "Part of the status.", "examples": ["Working"]},
                "owner": _OWNER,
                "limit": _LIMIT,
            },
            gives="[{Id, Name, Company, Email, Status, LeadSource, CreatedDate}]",
            asks=(
                "which leads came in lately",
                "list the new leads",
                "what leads do I have",
                "which leads are {status}",
                "who are our latest leads",
            ),
        ),
        _own(
            name="my_tasks",
            summary="List the open tasks of this person, overdue ones first.",
            invoke=my_tasks,
            params={
                "days": {
                    "type": "integer",
                    "minimum": 1,
                    "maximum": 365,
                    "description": "Only tasks due within so many days, or overdue.",
                    "examples": [7],
                },
                "limit": _LIMIT,
            },
            gives="[{Id, Subject, Status, Priority, ActivityDate, What.Name, Who.Name}]",
            asks=(
                "what are my tasks in Salesforce",
                "what do I have to do",
                "which of my tasks are overdue",
                "what is on my to-do list",
                "tasks due in the next {days} days",
            ),
        ),
        _tool(
            name="recent_records",
            summary="List what this person looked at last.",
            invoke=recent_records,
            params={"limit": {**_LIMIT, "default": SHOWN}},
            gives="[{Id, Name, attributes.type}]",
            asks=(
                "what did I look at last in Salesforce",
                "which records did I open recently",
                "my recently viewed records",
                "what was I working on",
                "show the records I viewed last",
            ),
        ),
        _own(
            name="who_am_i",
            summary="Say whose Salesforce account this is.",
            invoke=who_am_i,
            gives="{user_id, organization_id, name, email}",
            keep_s=300,
            asks=(
                "who am I in Salesforce",
                "which Salesforce account is this",
                "whose account is connected",
                "which user am I logged in as",
                "what is my Salesforce user name",
            ),
        ),
        _tool(
            name="create_task",
            summary="Create a task, on a record if one is named.",
            invoke=create_task,
            effect=Effect.WRITE,
            params={
                "subject": {**_NAME, "description": "What is to be done.", "examples": ["Call Nora Feld"]},
                "due": {**_DAY, "description": "Until when."},
                "about": {
                    "type": "string",
                    "pattern": "^[A-Za-z0-9]{15}([A-Za-z0-9]{3})?$",
                    "description": "Id of the account, opportunity or case it is about.",
                    "examples": ["006Dn00000AbCdEFGH"],
                },
                "note": {"type": "string", "maxLength": 5_000, "description": "More about it."},
            },
            required=frozenset({"subject"}),
            gives="{Id, Subject}",
            asks=("create a task to {subject}", "remind me to {subject} by {due}", "add the task {subject}"),
        ),
        _tool(
            name="create_lead",
            summary="Create a lead.",
            invoke=create_lead,
            effect=Effect.WRITE,
            params={
                "last_name": {**_NAME, "description": "Last name.", "examples": ["Feld"]},
                "company": {**_NAME, "description": "Where they work.", "examples": ["Feldwerk"]},
                "first_name": {**_NAME, "description": "First name."},
                "email": {**_NAME, "description": "E-mail address.", "examples": ["nora@feldwerk.example"]},
                "phone": {**_NAME, "description": "Phone number."},
            },
            required=frozenset({"last_name", "company"}),
            gives="{Id, Name}",
            asks=(
                "create a lead for {last_name} of {company}",
                "add {last_name} as a lead",
                "save a new lead at {company}",
            ),
        ),
        _tool(
            name="update_opportunity",
            summary="Change the stage, close date, amount or next step of an opportunity.",
            invoke=update_opportunity,
            effect=Effect.WRITE,
            params={
                "opportunity": _OPPORTUNITY_NAME,
                "stage": {**_NAME, "description": "The new stage.", "examples": ["Negotiation/Review"]},
                "closes": {**_DAY, "description": "The new close date."},
                "amount": {"type": "number", "minimum": 0, "description": "The new amount.", "examples": [48000]},
                "next_step": {**_NAME, "description": "The next step."},
            },
            required=frozenset({"opportunity"}),
            gives="{Id, StageName, CloseDate, Amount, NextStep}",
            asks=(
                "move {opportunity} to {stage}",
                "change the close date of {opportunity} to {closes}",
                "set the amount of {opportunity} to {amount}",
            ),
        ),
    ),
)
