"""HubSpot: contacts, companies and deals of the CRM, and how the pipeline stands."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from http import HTTPStatus
from typing import NamedTuple

from providers import tools
from providers.errors import BadArguments, Forbidden, NotFound, ToolError, TooManyRequests
from providers.spec import Api, Args, Effect, Json, OAuthSpec, Page, ProviderSpec, Reply, Result, ToolSpec
from providers.tools import (
    SHOWN,
    Row,
    ago,
    asked,
    at,
    bullets,
    by_token,
    clean,
    followed,
    list_at,
    moment,
    moment_at,
    number_at,
    path,
    picked,
    plural,
    text_at,
    whole_at,
)

_OBJECTS = "/crm/v3/objects/{kind}"
_OBJECT = _OBJECTS + "/{id}"


class _Kind(NamedTuple):
    """One kind of record."""

    name: str
    page: str
    """Its number in the addresses of HubSpot's pages."""
    note: int
    """The number of the association of a note with it."""
    properties: tuple[str, ...]


_CONTACTS = _Kind(
    "contacts",
    "0-1",
    202,
    ("firstname", "lastname", "email", "phone", "jobtitle", "company", "lifecyclestage", "lastmodifieddate"),
)
_COMPANIES = _Kind(
    "companies", "0-2", 190, ("name", "domain", "industry", "city", "country", "numberofemployees", "phone")
)
_DEALS = _Kind(
    "deals",
    "0-3",
    214,
    ("dealname", "amount", "deal_currency_code", "dealstage", "pipeline", "closedate", "hubspot_owner_id"),
)
_KINDS = {"contact": _CONTACTS, "company": _COMPANIES, "deal": _DEALS}

_record = partial(tools.record, "HubSpot")
_after = by_token("paging.next.after", "after")


def refusal_of(reply: Reply) -> ToolError | None:
    """Which scope is missing, where HubSpot names just one; and a day's calls used up."""
    category = text_at(reply.data, "category")
    if reply.status == HTTPStatus.FORBIDDEN and category == "MISSING_SCOPES":
        named = [at(each, "context", "requiredGranularScopes") for each in list_at(reply.data, "errors")]
        scopes = {scope for each in named if isinstance(each, list) for scope in each if isinstance(scope, str)}
        message = "HubSpot has not granted this connection what that needs."
        return Forbidden(message, tuple(scopes) if len(scopes) == 1 else ())
    if reply.status == HTTPStatus.TOO_MANY_REQUESTS and text_at(reply.data, "policyName") == "DAILY":
        return TooManyRequests("HubSpot takes no more calls today: try again tomorrow.", retry_after_s=3_600)
    return None


# --- records ---------------------------------------------------------------------------------------------------------


async def _search(
    api: Api,
    kind: _Kind,
    query: str | None = None,
    *,
    filters: Sequence[Json] = (),
    sort: str = "",
    most: int = SHOWN,
) -> tuple[list[Row], int]:
    """Records with these words in them that fit all filters, and how many there are in all."""
    body: dict[str, Json] = {"limit": min(most, 100), "properties": list(kind.properties)}
    if query:
        body["query"] = query
    if filters:
        body["filterGroups"] = [{"filters": list(filters)}]
    if sort:
        body["sorts"] = [
            {"propertyName": sort.lstrip("-"), "direction": "DESCENDING" if sort[0] == "-" else "ASCENDING"}
        ]
    total = 0

    async def page(more: Mapping[str, Json]) -> Reply:
        nonlocal total
        reply = await asked(api, path(_OBJECTS, kind=kind.name) + "/search", {**body, **more})
        total = max(total, whole_at(reply.data, "total"))
        return reply

    pages = min(-(-most // 100), 5)
    rows = await followed("HubSpot", page, rows="results", needs=("id",), after=_after, most=pages)
    return rows[:most], max(total, len(rows[:most]))


def _test(name: str, operator: str, value: str) -> Json:
    return {"propertyName": name, "operator": operator, "value": value}


async def _lookup(api: Api, kind: _Kind, name: str) -> Row:
    """The record of that id, e-mail address or name. Raises: `NotFound`, `BadArguments`."""
    if name.isdecimal():
        query = {"properties": ",".join(kind.properties)}
        return _record((await api.get(path(_OBJECT, kind=kind.name, id=name), query)).data, "id")
    rows, _ = await _search(api, kind, name)
    exact = [
        row for row in rows if name.strip().casefold() in {_name(kind, row).casefold(), _at(row, "email").casefold()}
    ]
    match exact or rows:
        case []:
            raise NotFound("HubSpot has no such record, or this account may not see it: search for a part of its name.")
        case [only]:
            return only
        case _:
            raise BadArguments("Several records go by that name: search for it, and give the id of the one meant.")


async def _linked(api: Api, kind: _Kind, row: Row, to: _Kind) -> list[Row]:
    """The records of another kind that belong to this one; ten at most."""
    address = path("/crm/v4/objects/{kind}/{id}/associations/", kind=kind.name, id=text_at(row, "id")) + to.name
    found = list_at((await api.get(address, {"limit": SHOWN})).data, "results")
    ids = [{"id": text_at(each, "toObjectId")} for each in found if text_at(each, "toObjectId")]
    if not ids:
        return []
    body = {"properties": list(to.properties), "inputs": ids}
    reply = await asked(api, path(_OBJECTS, kind=to.name) + "/batch/read", body)
    return tools.records("HubSpot", at(reply.data, "results"), "id")


def _at(row: Row, name: str) -> str:
    return text_at(row, "properties", name)


def _name(kind: _Kind, row: Row) -> str:
    if kind is _CONTACTS:
        return " ".join(filter(None, [_at(row, "firstname"), _at(row, "lastname")])) or _at(row, "email")
    return _at(row, "name" if kind is _COMPANIES else "dealname")


def _shown(kind: _Kind, row: Row) -> str:
    return f"**{clean(_name(kind, row), 80) or 'No name'}**"


def _money(row: Row) -> str:
    amount = number_at(row, "properties", "amount")
    return "" if amount is None else f"{amount:,.0f} {clean(_at(row, 'deal_currency_code'), 3)}".strip()


def _picked(kind: _Kind, row: Row) -> dict[str, Json]:
    return {"id": row.get("id"), **{name: at(row, "properties", name) for name in kind.properties}}


# --- where it is, and who and what its ids mean ----------------------------------------------------------------------


async def _portal(api: Api) -> str:
    """The number of the HubSpot account, which the addresses of its pages hold; empty when it cannot be learnt."""
    if "portal" not in api.session:
        try:
            api.session["portal"] = text_at((await api.get("/account-info/v3/details")).data, "portalId")
        except (Forbidden, NotFound):
            return ""
    return str(api.session["portal"])


def _source(api: Api, portal: str, kind: _Kind, row: Row) -> Page:
    here = (
        path("/contacts/{portal}/record/{kind}/{id}", portal=portal, kind=kind.page, id=text_at(row, "id"))
        if portal
        else ""
    )
    return Page(clean(_name(kind, row), 80) or "Record", f"{api.web_base}{here}", clean(text_at(row, "id"), 40))


async def _owners(api: Api) -> list[Row]:
    return await tools.pages(
        "HubSpot", api, "/crm/v3/owners", {"limit": 100}, rows="results", needs=("id",), after=_after, most=5
    )


def _owner(row: Row) -> str:
    name = " ".join(filter(None, [text_at(row, "firstName"), text_at(row, "lastName")]))
    return clean(name or text_at(row, "email"), 60)


async def _pipelines(api: Api) -> list[Row]:
    return tools.records("HubSpot", at((await api.get("/crm/v3/pipelines/deals")).data, "results"), "id")


def _stages(pipelines: Iterable[Row]) -> dict[str, str]:
    return {
        text_at(each, "id"): clean(text_at(each, "label"), 60) for one in pipelines for each in list_at(one, "stages")
    }


class _Meanings(NamedTuple):
    """What the ids in a deal stand for."""

    stages: Mapping[str, str]
    owners: Mapping[str, str]

    def say(self, row: Row) -> str:
        """One line: name, amount, stage, when it closes, whose."""
        closes, owner = moment(_at(row, "closedate")), self.owners.get(_at(row, "hubspot_owner_id"), "")
        facts = [
            _money(row),
            self.stages.get(_at(row, "dealstage"), ""),
            f"closes {closes.day} {closes:%b %Y}" if closes else "",
            f"owned by {owner}" if owner else "",
        ]
        return f"{_shown(_DEALS, row)} ({', '.join(filter(None, facts))}), id `{clean(text_at(row, 'id'), 40)}`"


async def _meanings(api: Api) -> _Meanings:
    pipelines, owners = await asyncio.gather(_pipelines(api), _owners(api))
    return _Meanings(_stages(pipelines), {text_at(row, "id"): _owner(row) for row in owners})


def _say_contact(row: Row) -> str:
    facts = [_at(row, name) for name in ("jobtitle", "company", "email", "phone")]
    return (
        f"{_shown(_CONTACTS, row)} ({clean(', '.join(filter(None, facts)), 160)}), id `{clean(text_at(row, 'id'), 40)}`"
    )


def _say_company(row: Row) -> str:
    facts = [_at(row, name) for name in ("domain", "industry", "city", "country")]
    told = clean(", ".join(filter(None, facts)), 160)
    return f"{_shown(_COMPANIES, row)} ({told}), id `{clean(text_at(row, 'id'), 40)}`"


# --- reads -----------------------------------------------------------------------------------------------------------


def _listed(api: Api, portal: str, kind: _Kind, rows: list[Row], lines: list[str], head: str, total: int = 0) -> Result:
    sources = tuple(_source(api, portal, kind, row) for row in rows[:SHOWN]) or (Page("HubSpot", f"{api.web_base}/"),)
    return Result([_picked(kind, row) for row in rows], f"{head}\n{bullets(lines, total=total)}", sources)


async def search_contacts(api: Api, args: Args) -> Result:
    """People by name, e-mail address, phone or company."""
    query = args["query"]
    (rows, total), portal = await asyncio.gather(
        _search(api, _CONTACTS, query, most=args.get("limit", SHOWN)), _portal(api)
    )
    head = (
        f"{plural(total, 'contact')} matching “{clean(query, 80)}”:"
        if rows
        else f"No contact matches “{clean(query, 80)}”."
    )
    return _listed(api, portal, _CONTACTS, rows, [_say_contact(row) for row in rows], head, total)


async def search_companies(api: Api, args: Args) -> Result:
    """Companies by name or domain."""
    query = args["query"]
    (rows, total), portal = await asyncio.gather(
        _search(api, _COMPANIES, query, most=args.get("limit", SHOWN)), _portal(api)
    )
    what = plural(total, "company", "companies")
    head = f"{what} matching “{clean(query, 80)}”:" if rows else f"No company matches “{clean(query, 80)}”."
    return _listed(api, portal, _COMPANIES, rows, [_say_company(row) for row in rows], head, total)


_STATES: Mapping[str, Sequence[Json]] = {
    "open": (_test("hs_is_closed", "EQ", "false"),),
    "won": (_test("hs_is_closed_won", "EQ", "true"),),
    "lost": (_test("hs_is_closed", "EQ", "true"), _test("hs_is_closed_won", "EQ", "false")),
    "all": (),
}


async def list_deals(api: Api, args: Args) -> Result:
    """Deals by words, state and owner, the largest first."""
    state, query, meant = args.get("state", "open"), args.get("query"), await _meanings(api)
    filters = [*_STATES[state], *_owned(meant, args.get("owner"))]
    (rows, total), portal = await asyncio.gather(
        _search(api, _DEALS, query, filters=filters, sort="-amount", most=args.get("limit", SHOWN)), _portal(api)
    )
    what = f"{'' if state == 'all' else f'{state} '}deal"
    which = f" matching “{clean(query, 80)}”" if query else ""
    which += f" of {clean(args['owner'], 60)}" if "owner" in args else ""
    head = f"{plural(total, what)}{which}, the largest first:" if rows else f"There is no {what}{which}."
    return _listed(api, portal, _DEALS, rows, [meant.say(row) for row in rows], head, total)


def _owned(meant: _Meanings, owner: str | None) -> list[Json]:
    """Raises: `NotFound` for an owner nobody knows."""
    if owner is None:
        return []
    found = [key for key, name in meant.owners.items() if owner.casefold() in name.casefold()]
    if not found:
        raise NotFound("HubSpot has no owner of that name: ask who the owners are.")
    return [{"propertyName": "hubspot_owner_id", "operator": "IN", "values": found[:100]}]


async def closing_deals(api: Api, args: Args) -> Result:
    """Open deals whose close date is near, or past."""
    days, now = args.get("days", 30), datetime.now(UTC)
    until = str(int((now + timedelta(days=days)).timestamp() * 1_000))
    filters = [*_STATES["open"], _test("closedate", "LTE", until)]
    (rows, total), meant, portal = await asyncio.gather(
        _search(api, _DEALS, filters=filters, sort="closedate", most=args.get("limit", SHOWN)),
        _meanings(api),
        _portal(api),
    )
    late = sum((closes := moment(_at(row, "closedate"))) is not None and closes < now for row in rows)
    overdue = f", {late:,} of them overdue" if late else ""
    head = f"{plural(total, 'open deal')} to close within {plural(days, 'day')}{overdue}:"
    lines = [meant.say(row) for row in rows]
    return _listed(
        api, portal, _DEALS, rows, lines, head if rows else f"No open deal closes within {plural(days, 'day')}.", total
    )


async def pipeline_summary(api: Api, args: Args) -> Result:
    """How many open deals stand in each stage, and what they are worth."""
    pipelines, (rows, total) = await asyncio.gather(
        _pipelines(api), _search(api, _DEALS, filters=_STATES["open"], sort="-amount", most=500)
    )
    wanted = args.get("pipeline", "").casefold()
    chosen = [each for each in pipelines if wanted in text_at(each, "label").casefold()]
    if not chosen:
        raise NotFound("HubSpot has no deal pipeline of that name: leave it out to see them all.")
    counts: Counter[str] = Counter(_at(row, "dealstage") for row in rows)
    worth: Counter[str] = Counter()
    for row in rows:
        worth[_at(row, "dealstage")] += round(number_at(row, "properties", "amount") or 0)
    data, lines = [], []
    for pipeline in chosen:
        for stage, label in _stages([pipeline]).items():
            if counts[stage]:
                data.append(
                    {"pipeline": pipeline.get("label"), "stage": label, "deals": counts[stage], "amount": worth[stage]}
                )
                where = f"{clean(text_at(pipeline, 'label'), 60)}, " if len(pipelines) > 1 else ""
                lines.append(f"{where}**{label}**: {plural(counts[stage], 'deal')}, {worth[stage]:,}")
    several = f", the {len(rows):,} largest of {total:,}" if total > len(rows) else ""
    head = f"Open deals by stage{several}:" if lines else "There are no open deals."
    portal = await _portal(api)
    here = path("/contacts/{portal}/objects/0-3/views/all/board", portal=portal) if portal else "/"
    return Result(data, f"{head}\n{bullets(lines, most=40)}", (Page("Deals", f"{api.web_base}{here}"),))


async def deal_details(api: Api, args: Args) -> Result:
    """A deal with its company and its people."""
    deal, meant = await asyncio.gather(_lookup(api, _DEALS, args["deal"]), _meanings(api))
    lines = {_COMPANIES: _say_company, _CONTACTS: _say_contact}
    return await _overview(api, _DEALS, deal, meant.say(deal), lines)


async def company_details(api: Api, args: Args) -> Result:
    """A company with its people and its deals."""
    company, meant = await asyncio.gather(_lookup(api, _COMPANIES, args["company"]), _meanings(api))
    return await _overview(
        api, _COMPANIES, company, _say_company(company), {_CONTACTS: _say_contact, _DEALS: meant.say}
    )


async def contact_details(api: Api, args: Args) -> Result:
    """A person with their company and their deals."""
    contact, meant = await asyncio.gather(_lookup(api, _CONTACTS, args["contact"]), _meanings(api))
    seen = ago(moment_at(contact, "properties", "lastmodifieddate"), datetime.now(UTC))
    stage = clean(_at(contact, "lifecyclestage"), 40)
    head = f"{_say_contact(contact)}\nLast changed {seen}{f', lifecycle stage {stage}' if stage else ''}"
    return await _overview(api, _CONTACTS, contact, head, {_COMPANIES: _say_company, _DEALS: meant.say})


async def _overview(api: Api, kind: _Kind, row: Row, head: str, lines: Mapping[_Kind, Callable[[Row], str]]) -> Result:
    """A record, and what belongs to it."""
    linked = asyncio.gather(*(_linked(api, kind, row, to) for to in lines))
    portal, found = await asyncio.gather(_portal(api), linked)
    data, text = _picked(kind, row), [head]
    sources = [_source(api, portal, kind, row)]
    for (to, say), rows in zip(lines.items(), found, strict=True):
        data[to.name] = [_picked(to, each) for each in rows]
        sources += [_source(api, portal, to, each) for each in rows]
        told = bullets([say(each) for each in rows])
        text.append("\n".join([f"{to.name.capitalize()}:", told]) if told else f"{to.name.capitalize()}: none")
    return Result(data, "\n".join(text), tuple(sources[:SHOWN]))


async def list_owners(api: Api, args: Args) -> Result:
    """The people who can own records."""
    wanted, found = args.get("name", "").casefold(), await _owners(api)
    rows = [row for row in found if wanted in f"{_owner(row)} {text_at(row, 'email')}".casefold()]
    lines = [f"**{_owner(row) or 'No name'}** ({clean(text_at(row, 'email'), 100)})" for row in rows]
    head = f"{plural(len(rows), 'owner')}:" if rows else "HubSpot has no owner of that name."
    data = [picked(row, ("id", "firstName", "lastName", "email")) for row in rows]
    return Result(data, f"{head}\n{bullets(lines, most=50)}".strip(), (Page("HubSpot", f"{api.web_base}/"),))


# --- changes ---------------------------------------------------------------------------------------------------------


async def create_contact(api: Api, args: Args) -> Result:
    """A new contact."""
    given = {name: args[key] for key, name in _GIVEN.items() if key in args}
    made = _record((await api.send("POST", path(_OBJECTS, kind="contacts"), {"properties": given})).data, "id")
    row = {"id": text_at(made, "id"), "properties": given}
    page = _source(api, await _portal(api), _CONTACTS, row)
    return Result(_picked(_CONTACTS, row), f"Created the contact {_say_contact(row)}.", (page,))


_GIVEN = {
    "email": "email",
    "first_name": "firstname",
    "last_name": "lastname",
    "phone": "phone",
    "job_title": "jobtitle",
}


async def add_note(api: Api, args: Args) -> Result:
    """A note on a contact, a company or a deal."""
    kind = _KINDS.get(args["on"])
    if kind is None:
        raise BadArguments("A note is on a contact, a company or a deal.")
    row, now = await _lookup(api, kind, args["record"]), datetime.now(UTC)
    link = {"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": kind.note}
    body = {
        "properties": {"hs_note_body": args["text"], "hs_timestamp": f"{now:%Y-%m-%dT%H:%M:%SZ}"},
        "associations": [{"to": {"id": text_at(row, "id")}, "types": [link]}],
    }
    made = _record((await api.send("POST", path(_OBJECTS, kind="notes"), body)).data, "id")
    text = f"Noted on {_shown(kind, row)}: {clean(args['text'], 120)}"
    page = _source(api, await _portal(api), kind, row)
    return Result({"note": text_at(made, "id"), "record": text_at(row, "id")}, text, (page,))


async def move_deal(api: Api, args: Args) -> Result:
    """A deal into another stage of its pipeline."""
    deal, pipelines = await asyncio.gather(_lookup(api, _DEALS, args["deal"]), _pipelines(api))
    own = [each for each in pipelines if text_at(each, "id") == _at(deal, "pipeline")]
    stages = {label.casefold(): (key, label) for key, label in _stages(own).items()}
    if args["stage"].casefold() not in stages:
        known = ", ".join(label for _, label in stages.values())
        raise BadArguments(f"The pipeline of this deal has no such stage{f': it has {known}' if known else ''}.")
    key, label = stages[args["stage"].casefold()]
    await api.send("PATCH", path(_OBJECT, kind="deals", id=text_at(deal, "id")), {"properties": {"dealstage": key}})
    page = _source(api, await _portal(api), _DEALS, deal)
    return Result(
        {"id": text_at(deal, "id"), "dealstage": key},
        f"{_shown(_DEALS, deal)} is now in the stage **{label}**.",
        (page,),
    )


# --- tools -----------------------------------------------------------------------------------------------------------

_R_CONTACTS, _R_COMPANIES, _R_DEALS = (f"crm.objects.{kind}.read" for kind in ("contacts", "companies", "deals"))
_W_CONTACTS, _W_DEALS = (f"crm.objects.{kind}.write" for kind in ("contacts", "deals"))
_R_OWNERS, _HUB = "crm.objects.owners.read", "oauth"
_SALES = frozenset({_HUB, _R_CONTACTS, _R_COMPANIES, _R_DEALS, _R_OWNERS})

_QUERY = {
    "type": "string",
    "minLength": 1,
    "maxLength": 200,
    "description": "Words to look for.",
    "examples": ["Feldwerk"],
}
_LIMIT = {"type": "integer", "minimum": 1, "maximum": 100, "default": SHOWN, "description": "How many at most."}
_DEAL = {**_QUERY, "description": "Name or id of the deal.", "examples": ["Feldwerk renewal"]}
_COMPANY = {**_QUERY, "description": "Name or id of the company."}
_CONTACT = {**_QUERY, "description": "Name, e-mail address or id of the person.", "examples": ["nora@feldwerk.example"]}
_A_DEAL = "[{id, dealname, amount, deal_currency_code, dealstage, pipeline, closedate, hubspot_owner_id}]"

PROVIDER = ProviderSpec(
    id="hubspot",
    title="HubSpot",
    about="contacts, companies, deals and the sales pipeline",
    api_base="https://api.hubapi.com",
    web_base="https://app.hubspot.com",
    refusal_of=refusal_of,
    oauth=OAuthSpec(
        authorize_url="https://app.hubspot.com/oauth/authorize",
        token_url="https://api.hubapi.com/oauth/v3/token",  # noqa: S106 - an address
        revoke_url="https://api.hubapi.com/oauth/v3/token/revoke",
        scopes=tuple(sorted(_SALES)),
        scope_words={
            _HUB: "know which HubSpot account this is",
            _R_CONTACTS: "see contacts",
            _R_COMPANIES: "see companies",
            _R_DEALS: "see deals and their pipelines",
            _R_OWNERS: "see who owns a record",
            _W_CONTACTS: "add and change contacts, and write notes",
            _W_DEALS: "change deals",
        },
        granted_path=("scopes",),
        lifetime_s=1_800,
        dead_grant_errors=frozenset({"invalid_grant", "BAD_REFRESH_TOKEN"}),
        identity="answer",
        subject_fields=("hub_id",),
        label_fields=(),
        revoke_kinds=("refresh",),
    ),
    mcp_url="https://mcp.hubspot.com",
    register_url="https://developers.hubspot.com/",
    register_steps=(
        "In a HubSpot developer account, create an app that authenticates with OAuth.",
        "Add the redirect URL {redirect_uri}.",
        "Add the scopes {scopes}; those that only writes need may be added as optional scopes.",
        "Install nothing yet: each person connects from here.",
        "Copy the client ID and the client secret from the app's Auth page.",
    ),
    unconfirmed=(
        "Sources disagree on whether a refresh retires the refresh token; it is treated as if it did.",
        "The token answer names the HubSpot account and not the person: a connection is to the account.",
        "That a note on a company or a deal needs the scopes for contacts alone is documented for notes in general.",
    ),
    tools=(
        ToolSpec(
            name="search_contacts",
            summary="Find people by name, e-mail address, phone number or company.",
            invoke=search_contacts,
            params={"query": _QUERY, "limit": _LIMIT},
            required=frozenset({"query"}),
            scopes=frozenset({_HUB, _R_CONTACTS}),
            gives="[{id, firstname, lastname, email, phone, jobtitle, company}]",
            asks=(
                "find the contact {query}",
                "who do we know at {query}",
                "what is the phone number of {query}",
                "search contacts for {query}",
                "is {query} in our CRM",
                "which contacts are called {query}",
            ),
        ),
        ToolSpec(
            name="contact_details",
            summary="Show a person with their company and deals.",
            invoke=contact_details,
            params={"contact": _CONTACT},
            required=frozenset({"contact"}),
            scopes=_SALES,
            gives="{id, firstname, lastname, email, companies: [], deals: []}",
            asks=(
                "tell me about the contact {contact}",
                "what do we know about {contact}",
                "which deals does {contact} have",
                "where does {contact} work",
                "show the record of {contact}",
            ),
        ),
        ToolSpec(
            name="search_companies",
            summary="Find companies by name or domain.",
            invoke=search_companies,
            params={"query": _QUERY, "limit": _LIMIT},
            required=frozenset({"query"}),
            scopes=frozenset({_HUB, _R_COMPANIES}),
            gives="[{id, name, domain, industry, city, country}]",
            asks=(
                "find the company {query}",
                "search companies for {query}",
                "which companies are called {query}",
                "do we have a company record for {query}",
                "which company has the domain {query}",
            ),
        ),
        ToolSpec(
            name="company_details",
            summary="Show a company with its people and deals.",
            invoke=company_details,
            params={"company": _COMPANY},
            required=frozenset({"company"}),
            scopes=_SALES,
            gives="{id, name, domain, contacts: [], deals: []}",
            asks=(
                "tell me about the company {company}",
                "who are our contacts at {company}",
                "which deals do we have with {company}",
                "give me an overview of {company}",
                "how is our relationship with {company}",
            ),
        ),
        ToolSpec(
            name="list_deals",
            summary="List deals by words, state (open, won, lost) and owner, the largest first.",
            invoke=list_deals,
            params={
                "query": _QUERY,
                "state": {
                    "type": "string",
                    "enum": ["open", "won", "lost", "all"],
                    "default": "open",
                    "description": "How the deals stand.",
                },
                "owner": {**_QUERY, "description": "Name of the person who owns them.", "examples": ["Ivo Brandt"]},
                "limit": _LIMIT,
            },
            scopes=frozenset({_HUB, _R_DEALS, _R_OWNERS}),
            gives=_A_DEAL,
            asks=(
                "what are our biggest deals",
                "list the open deals",
                "which deals did we win",
                "which deals have we lost",
                "what deals does {owner} own",
                "find the deal {query}",
                "show all deals about {query}",
            ),
        ),
        ToolSpec(
            name="closing_deals",
            summary="List open deals that are to close soon or are overdue.",
            invoke=closing_deals,
            params={
                "days": {
                    "type": "integer",
                    "minimum": 0,
                    "maximum": 365,
                    "default": 30,
                    "description": "How many days ahead.",
                },
                "limit": _LIMIT,
            },
            scopes=frozenset({_HUB, _R_DEALS, _R_OWNERS}),
            gives=_A_DEAL,
            asks=(
                "which deals close this month",
                "what is closing soon",
                "which deals are overdue",
                "deals to close in the next {days} days",
                "what should sales close this quarter",
                "which deals are past their close date",
            ),
        ),
        ToolSpec(
            name="pipeline_summary",
            summary="Sum up the open deals by stage: how many, and what they are worth.",
            invoke=pipeline_summary,
            params={
                "pipeline": {**_QUERY, "description": "Only the pipeline of this name.", "examples": ["Sales Pipeline"]}
            },
            scopes=frozenset({_HUB, _R_DEALS}),
            gives="[{pipeline, stage, deals, amount}]",
            asks=(
                "how does the pipeline look",
                "how many deals are in each stage",
                "what is the pipeline worth",
                "summarize the sales pipeline",
                "total value of open deals by stage",
                "how much is in the {pipeline} pipeline",
            ),
        ),
        ToolSpec(
            name="deal_details",
            summary="Show a deal with its company and contacts.",
            invoke=deal_details,
            params={"deal": _DEAL},
            required=frozenset({"deal"}),
            scopes=_SALES,
            gives="{id, dealname, amount, dealstage, closedate, companies: [], contacts: []}",
            asks=(
                "how is the deal {deal} going",
                "what stage is the deal {deal} in",
                "who is involved in the deal {deal}",
                "when does the deal {deal} close",
                "show me the {deal} deal",
                "who owns the deal {deal}",
            ),
        ),
        ToolSpec(
            name="list_owners",
            summary="List the people who can own records.",
            invoke=list_owners,
            params={"name": {**_QUERY, "description": "Part of a name or e-mail address.", "examples": ["Ivo"]}},
            scopes=frozenset({_R_OWNERS}),
            gives="[{id, firstName, lastName, email}]",
            keep_s=300,
            asks=(
                "who are the owners in HubSpot",
                "list our sales reps",
                "which users own records",
                "who is on the sales team",
                "what is the owner id of {name}",
            ),
        ),
        ToolSpec(
            name="create_contact",
            summary="Create a contact.",
            invoke=create_contact,
            effect=Effect.WRITE,
            params={
                "email": {
                    "type": "string",
                    "minLength": 3,
                    "maxLength": 200,
                    "description": "E-mail address; no two contacts have the same.",
                    "examples": ["nora@feldwerk.example"],
                },
                "first_name": {"type": "string", "maxLength": 100, "description": "First name."},
                "last_name": {"type": "string", "maxLength": 100, "description": "Last name."},
                "phone": {"type": "string", "maxLength": 50, "description": "Phone number."},
                "job_title": {"type": "string", "maxLength": 100, "description": "What they do."},
            },
            required=frozenset({"email"}),
            scopes=frozenset({_HUB, _W_CONTACTS}),
            gives="{id, email}",
            asks=(
                "create a contact for {email}",
                "add {email} to the CRM",
                "save {first_name} {last_name} as a contact",
            ),
        ),
        ToolSpec(
            name="add_note",
            summary="Write a note on a contact, a company or a deal.",
            invoke=add_note,
            effect=Effect.WRITE,
            params={
                "on": {"type": "string", "enum": ["contact", "company", "deal"], "description": "What it is about."},
                "record": {**_QUERY, "description": "Name or id of the contact, company or deal."},
                "text": {"type": "string", "minLength": 1, "maxLength": 10_000, "description": "The note."},
            },
            required=frozenset({"on", "record", "text"}),
            scopes=frozenset({_HUB, _W_CONTACTS, _R_CONTACTS, _R_COMPANIES, _R_DEALS}),
            gives="{note, record}",
            asks=(
                "note on the {on} {record} that {text}",
                "add a note to {record}: {text}",
                "log a note about {record}",
            ),
        ),
        ToolSpec(
            name="move_deal",
            summary="Move a deal to another stage of its pipeline.",
            invoke=move_deal,
            effect=Effect.WRITE,
            params={
                "deal": _DEAL,
                "stage": {**_QUERY, "description": "Name of the stage.", "examples": ["Contract sent"]},
            },
            required=frozenset({"deal", "stage"}),
            scopes=frozenset({_HUB, _W_DEALS, _R_DEALS}),
            gives="{id, dealstage}",
            asks=(
                "move the deal {deal} to {stage}",
                "set the stage of {deal} to {stage}",
                "mark the deal {deal} as {stage}",
            ),
        ),
    ),
)
