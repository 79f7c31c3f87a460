"""Stripe: payments, customers, subscriptions, invoices and what is paid out."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from http import HTTPStatus
from urllib.parse import urlencode

from providers import tools
from providers.errors import BadArguments, Forbidden, NotFound, TokenRejected, ToolError
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
    Request,
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
    given,
    list_at,
    number_at,
    path,
    picked,
    plural,
    text_at,
    whole_at,
)

_CHARGES, _CUSTOMERS, _INVOICES = "/v1/charges", "/v1/customers", "/v1/invoices"
_WHOLE = frozenset(
    ("bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "ugx", "vnd", "vuv", "xaf", "xof", "xpf")
)
"""Currencies whose amounts are not in hundredths."""
_CHARGE_FIELDS = (
    *("id", "amount", "amount_refunded", "currency", "status", "created", "description", "refunded", "disputed"),
    *("customer", "billing_details.email", "failure_message", "payment_intent"),
)
_INVOICE_FIELDS = (
    *("id", "number", "status", "amount_due", "amount_remaining", "currency", "created", "due_date", "customer"),
    *("customer_name", "customer_email"),
)

_record = partial(tools.record, "Stripe")


def refusal_of(reply: Reply) -> ToolError | None:
    """A 403 is for an app that was uninstalled, or for a permission that its manifest does not list."""
    if reply.status != HTTPStatus.FORBIDDEN:
        return None
    if text_at(reply.data, "error", "code") == "account_invalid":
        return TokenRejected("The Stripe app is no longer installed in this account.")
    return Forbidden("This connection lacks the permission for that: the Stripe app's manifest has to list it.")


async def _pages(api: Api, address: str, query: Mapping[str, Json], *, most: int = 5) -> list[Row]:
    """The rows of a list, page by page: the next one starts after the last row."""

    def after(reply: Reply) -> Mapping[str, Json] | None:
        rows = list_at(reply.data, "data")
        last = text_at(rows[-1], "id") if rows else ""
        return {"starting_after": last} if last and at(reply.data, "has_more") is True else None

    return await tools.pages("Stripe", api, address, given(query), rows="data", needs=("id",), after=after, most=most)


# --- words -----------------------------------------------------------------------------------------------------------


def _money(amount: float | None, currency: str) -> str:
    """An amount as Stripe writes it, in its currency's smallest unit: "49.00 EUR"."""
    if currency.lower() in _WHOLE:
        return f"{amount or 0:,.0f} {clean(currency, 3).upper()}"
    return f"{(amount or 0) / 100:,.2f} {clean(currency, 3).upper()}"


def _amount(row: Row, name: str = "amount") -> str:
    return _money(number_at(row, name), text_at(row, "currency"))


def _when(row: Row, name: str = "created") -> datetime | None:
    seconds = number_at(row, name)
    return datetime.fromtimestamp(seconds, UTC) if seconds and 0 < seconds < 1e11 else None  # noqa: PLR2004 - in seconds, not later


def _day(row: Row, name: str) -> str:
    then = _when(row, name)
    return f"{then.day} {then:%b %Y}" if then else ""


def _word(row: Row, *keys: str) -> str:
    return clean(text_at(row, *keys).replace("_", " "), 60)


def _id(row: Row) -> str:
    return f"`{clean(text_at(row, 'id'), 80)}`"


def _page(api: Api, row: Row, kind: str, title: str) -> Page:
    """A page of the dashboard; what is not of live mode has its own."""
    mode = "/test" if at(row, "livemode") is False else ""
    address = f"{api.web_base}{mode}" + path("/{kind}/{id}", kind=kind, id=text_at(row, "id"))
    return Page(clean(title, 80), address, clean(text_at(row, "id"), 80))


def _home(api: Api, kind: str, title: str) -> tuple[Page, ...]:
    return (Page(title, f"{api.web_base}/{kind}"),)


def _since(period: str) -> int:
    """The second in which a period of hours, days or weeks that ends now has begun."""
    unit = {"h": "hours", "d": "days", "w": "weeks"}[period[-1]]
    return int((datetime.now(UTC) - timedelta(**{unit: int(period[:-1])})).timestamp())


def _stretch(period: str) -> str:
    count, unit = int(period[:-1]), {"h": "hour", "d": "day", "w": "week"}[period[-1]]
    return f"the last {plural(count, unit) if count > 1 else unit}"


# --- customers -------------------------------------------------------------------------------------------------------


def _customer(row: Row) -> str:
    name, email = clean(text_at(row, "name"), 60), clean(text_at(row, "email"), 100)
    return f"**{name or email or 'A customer'}**{f' ({email})' if name and email else ''}"


async def _find_customers(api: Api, words: str, most: int) -> list[Row]:
    """By address, or by a part of the name or address."""
    if re.fullmatch(r"[^@\s]+@[^@\s]+", words):
        return (await _pages(api, _CUSTOMERS, {"email": words, "limit": most}, most=1))[:most]
    quoted = re.sub(r'["\\]', r"\\\g<0>", words)
    query = {"query": f'name~"{quoted}" OR email~"{quoted}"', "limit": most}
    return (await tools.pages("Stripe", api, f"{_CUSTOMERS}/search", query, rows="data", needs=("id",), most=1))[:most]


async def _the_customer(api: Api, words: str) -> Row:
    """The customer of that id, address or name. Raises: `NotFound`, `BadArguments`."""
    if words.startswith("cus_"):
        return _record((await api.get(path(_CUSTOMERS + "/{id}", id=words))).data, "id")
    rows = await _find_customers(api, words, SHOWN)
    exact = [
        row for row in rows if words.casefold() in {text_at(row, "name").casefold(), text_at(row, "email").casefold()}
    ]
    match exact or rows:
        case []:
            raise NotFound("Stripe has no such customer: search for a part of the name or e-mail address.")
        case [only]:
            return only
        case _:
            raise BadArguments("Several customers go by that: search for them, and give the id of the one meant.")


async def find_customers(api: Api, args: Args) -> Result:
    """Customers by name or e-mail address."""
    rows, now = await _find_customers(api, args["query"], args.get("limit", SHOWN)), datetime.now(UTC)
    lines = [f"{_customer(row)}, since {ago(_when(row), now)}, id {_id(row)}" for row in rows]
    words = clean(args["query"], 80)
    text = f"{plural(len(rows), 'customer')}:\n{bullets(lines)}" if rows else f"No customer matches “{words}”."
    sources = tuple(_page(api, row, "customers", text_at(row, "name") or text_at(row, "email")) for row in rows[:SHOWN])
    data = [picked(row, ("id", "name", "email", "created")) for row in rows]
    return Result(data, text, sources or _home(api, "customers", "Customers"))


async def customer_overview(api: Api, args: Args) -> Result:
    """A customer with their subscriptions, payments and open invoices."""
    customer, now = await _the_customer(api, args["customer"]), datetime.now(UTC)
    own = {"customer": text_at(customer, "id"), "limit": SHOWN}
    subscriptions, charges, invoices = await asyncio.gather(
        _pages(api, "/v1/subscriptions", {**own, "status": "all"}, most=1),
        _pages(api, _CHARGES, own, most=1),
        _pages(api, _INVOICES, {**own, "status": "open"}, most=1),
    )
    parts = [
        f"{_customer(customer)}, customer since {_day(customer, 'created') or 'an unknown day'}, id {_id(customer)}",
        _part("Subscriptions", [_say_subscription(row) for row in subscriptions]),
        _part("Latest payments", [_say_charge(row, now) for row in charges]),
        _part("Open invoices", [_say_invoice(row, now) for row in invoices]),
    ]
    data = {
        **picked(customer, ("id", "name", "email", "created", "balance", "delinquent")),
        "subscriptions": [picked(row, ("id", "status", "current_period_end")) for row in subscriptions],
        "payments": [picked(row, _CHARGE_FIELDS) for row in charges],
        "invoices": [picked(row, _INVOICE_FIELDS) for row in invoices],
    }
    title = text_at(customer, "name") or text_at(customer, "email")
    return Result(data, "\n".join(parts), (_page(api, customer, "customers", title),))


def _part(head: str, lines: list[str]) -> str:
    return f"{head}:\n{bullets(lines)}" if lines else f"{head}: none"


# --- payments --------------------------------------------------------------------------------------------------------


def _say_charge(row: Row, now: datetime) -> str:
    who = clean(text_at(row, "billing_details", "email") or text_at(row, "billing_details", "name"), 80)
    refunded = at(row, "refunded") is True
    facts = [
        "refunded" if refunded else _word(row, "status"),
        "disputed" if at(row, "disputed") is True else "",
        ago(_when(row), now),
        f"by {who}" if who else "",
        clean(text_at(row, "description"), 80),
        _word(row, "failure_message"),
    ]
    return f"**{_amount(row)}** ({', '.join(filter(None, facts))}), id {_id(row)}"


async def _charges(api: Api, args: Args, *, period: str, most: int = 5) -> list[Row]:
    customer = text_at(await _the_customer(api, args["customer"]), "id") if "customer" in args else None
    return await _pages(api, _CHARGES, {"created[gte]": _since(period), "customer": customer, "limit": 100}, most=most)


async def list_payments(api: Api, args: Args) -> Result:
    """Payments of a period, the latest first."""
    period, status, now = args.get("period", "7d"), args.get("status", "all"), datetime.now(UTC)
    rows = await _charges(api, args, period=period)
    rows = [row for row in rows if status == "all" or status == _status(row)]
    what = plural(len(rows), f"{'' if status == 'all' else f'{status} '}payment")
    which = f" of {clean(args['customer'], 60)}" if "customer" in args else ""
    text = f"{what}{which} in {_stretch(period)}" + (
        f":\n{bullets([_say_charge(row, now) for row in rows])}" if rows else "."
    )
    sources = tuple(_page(api, row, "payments", _amount(row)) for row in rows[:SHOWN])
    return Result(
        [picked(row, _CHARGE_FIELDS) for row in rows[:100]], text, sources or _home(api, "payments", "Payments")
    )


def _status(row: Row) -> str:
    return "refunded" if at(row, "refunded") is True else text_at(row, "status")


async def payment_details(api: Api, args: Args) -> Result:
    """One payment: how it went, and why it failed."""
    name, now = args["payment"], datetime.now(UTC)
    if name.startswith("pi_"):
        query = {"expand[]": "latest_charge"}
        intent = _record((await api.get(path("/v1/payment_intents/{id}", id=name), query)).data, "id")
        charge = at(intent, "latest_charge")
        row = charge if isinstance(charge, dict) and text_at(charge, "id") else intent
    else:
        row = _record((await api.get(path(_CHARGES + "/{id}", id=name))).data, "id")
    card = [_word(row, "payment_method_details", "card", key) for key in ("brand", "last4")]
    facts = [
        f"Paid by {' '.join(filter(None, card))}" if any(card) else "",
        f"Refunded {_amount(row, 'amount_refunded')}" if whole_at(row, "amount_refunded") else "",
        f"Risk {_word(row, 'outcome', 'risk_level')}" if _word(row, "outcome", "risk_level") else "",
        clean(text_at(row, "outcome", "seller_message"), 200),
    ]
    text = f"{_say_charge(row, now)}\n{bullets(list(filter(None, facts)))}".strip()
    fields = (*_CHARGE_FIELDS, "outcome.seller_message", "outcome.risk_level", "payment_method_details.type")
    return Result(picked(row, fields), text, (_page(api, row, "payments", _amount(row)),))


async def revenue_summary(api: Api, args: Args) -> Result:
    """What came in over a period, by currency: paid, refunded, failed."""
    period = args.get("period", "30d")
    rows = await _charges(api, args, period=period)
    paid, back, failed = Counter[str](), Counter[str](), 0
    for row in rows:
        currency = text_at(row, "currency")
        if text_at(row, "status") == "succeeded":
            paid[currency] += whole_at(row, "amount")
            back[currency] += whole_at(row, "amount_refunded")
        failed += text_at(row, "status") == "failed"
    lines = [
        f"**{_money(paid[key] - back[key], key)}** ({_money(paid[key], key)} paid, {_money(back[key], key)} refunded)"
        for key in sorted(paid)
    ]
    head = f"In {_stretch(period)}, from {plural(len(rows), 'payment')}, {failed:,} of them failed:"
    if len(rows) >= 500:  # noqa: PLR2004 - five pages of a hundred
        head = f"From the latest {len(rows):,} payments of {_stretch(period)} (there are more):"
    text = f"{head}\n{bullets(lines)}" if lines else f"Nothing was paid in {_stretch(period)}."
    data = [
        {"currency": each, "paid": paid[each], "refunded": back[each], "net": paid[each] - back[each]} for each in paid
    ]
    return Result({"totals": data, "payments": len(rows), "failed": failed}, text, _home(api, "payments", "Payments"))


async def balance(api: Api, _args: Args) -> Result:
    """What is available, what is on its way, and the payments that came last."""
    now = datetime.now(UTC)
    reply, charges = await asyncio.gather(api.get("/v1/balance"), _pages(api, _CHARGES, {"limit": 5}, most=1))
    row = _record(reply.data)
    kinds = {"available": "Available", "pending": "Pending"}
    lines = [f"{label}: **{_amount(each)}**" for kind, label in kinds.items() for each in list_at(row, kind)]
    data = {
        **{kind: [picked(each, ("amount", "currency")) for each in list_at(row, kind)] for kind in kinds},
        "payments": [picked(each, _CHARGE_FIELDS) for each in charges],
    }
    text = "\n".join(
        [
            bullets(lines) or "No balance is known.",
            _part("Latest payments", [_say_charge(each, now) for each in charges]),
        ]
    )
    return Result(data, text, _home(api, "balance/overview", "Balances"))


# --- subscriptions, invoices, payouts, disputes, prices --------------------------------------------------------------


def _say_subscription(row: Row) -> str:
    items = list_at(row, "items", "data")
    prices = [_price(at(each, "price")) for each in items[:3]]
    who = at(row, "customer")
    facts = [
        _word(row, "status"),
        "ends with this period" if at(row, "cancel_at_period_end") is True else "",
        f"renews {_day(row, 'current_period_end')}" if _day(row, "current_period_end") else "",
    ]
    owner = f"{_customer(who)}: " if isinstance(who, dict) else ""
    return f"{owner}{' + '.join(filter(None, prices)) or 'a plan'} ({', '.join(filter(None, facts))}), id {_id(row)}"


def _price(price: Json) -> str:
    if not isinstance(price, dict):
        return ""
    every = _word(price, "recurring", "interval")
    name = clean(text_at(price, "nickname"), 60)
    return " ".join(filter(None, [name, _amount(price, "unit_amount"), f"a {every}" if every else ""]))


async def list_subscriptions(api: Api, args: Args) -> Result:
    """Subscriptions by state."""
    status, most = args.get("status", "active"), args.get("limit", 20)
    query = {"status": status, "limit": min(most, 100), "expand[]": "data.customer"}
    rows = await _pages(api, "/v1/subscriptions", query, most=1)
    what = f"{'' if status == 'all' else status.replace('_', ' ') + ' '}subscription"
    text = (
        f"{plural(len(rows), what)}:\n{bullets([_say_subscription(row) for row in rows])}"
        if rows
        else f"There is no {what}."
    )
    data = [
        picked(row, ("id", "status", "current_period_end", "cancel_at_period_end", "customer.id", "customer.email"))
        for row in rows
    ]
    sources = tuple(_page(api, row, "subscriptions", "Subscription") for row in rows[:SHOWN])
    return Result(data, text, sources or _home(api, "subscriptions", "Subscriptions"))


def _say_invoice(row: Row, now: datetime) -> str:
    due, who = _when(row, "due_date"), clean(text_at(row, "customer_name") or text_at(row, "customer_email"), 80)
    open_ = text_at(row, "status") == "open"
    facts = [
        f"for {who}" if who else "",
        _word(row, "status"),
        f"{'overdue since' if due < now else 'due'} {due.day} {due:%b %Y}" if due and open_ else "",
    ]
    amount = _amount(row, "amount_remaining" if open_ else "amount_due")
    return (
        f"**{clean(text_at(row, 'number'), 40) or 'Draft'}** {amount} ({', '.join(filter(None, facts))}), id {_id(row)}"
    )


async def list_invoices(api: Api, args: Args) -> Result:
    """Invoices by state; `overdue` are open ones past their day."""
    state, now = args.get("state", "open"), datetime.now(UTC)
    query: dict[str, Json] = {
        "status": "open" if state == "overdue" else None if state == "all" else state,
        "limit": 100,
    }
    if state == "overdue":
        query["due_date[lt]"] = int(now.timestamp())
    if "customer" in args:
        query["customer"] = text_at(await _the_customer(api, args["customer"]), "id")
    rows = await _pages(api, _INVOICES, query, most=2)
    what = f"{'' if state == 'all' else f'{state} '}invoice"
    text = (
        f"{plural(len(rows), what)}:\n{bullets([_say_invoice(row, now) for row in rows])}"
        if rows
        else f"There is no {what}."
    )
    sources = tuple(_page(api, row, "invoices", text_at(row, "number") or "Invoice") for row in rows[:SHOWN])
    return Result(
        [picked(row, _INVOICE_FIELDS) for row in rows[:100]], text, sources or _home(api, "invoices", "Invoices")
    )


async def list_payouts(api: Api, args: Args) -> Result:
    """What went to the bank account, or is on its way."""
    rows = await _pages(api, "/v1/payouts", {"limit": args.get("limit", SHOWN)}, most=1)

    def say(row: Row) -> str:
        day = _day(row, "arrival_date")
        return f"**{_amount(row)}** ({_word(row, 'status')}{f', arrives {day}' if day else ''}), id {_id(row)}"

    text = (
        f"{plural(len(rows), 'payout')}, the latest first:\n{bullets([say(row) for row in rows])}"
        if rows
        else "There is no payout."
    )
    data = [picked(row, ("id", "amount", "currency", "status", "arrival_date", "created")) for row in rows]
    sources = tuple(_page(api, row, "payouts", _amount(row)) for row in rows[:SHOWN])
    return Result(data, text, sources or _home(api, "payouts", "Payouts"))


async def list_disputes(api: Api, args: Args) -> Result:
    """Payments that customers dispute, those that wait for evidence first."""
    rows, now = await _pages(api, "/v1/disputes", {"limit": args.get("limit", 20)}, most=1), datetime.now(UTC)
    rows.sort(key=lambda row: text_at(row, "status") != "needs_response")

    def say(row: Row) -> str:
        until = _day(_inner(row, "evidence_details"), "due_by")
        facts = [
            _word(row, "status"),
            _word(row, "reason"),
            f"answer by {until}" if until else "",
            ago(_when(row), now),
        ]
        return f"**{_amount(row)}** ({', '.join(filter(None, facts))}), id {_id(row)}"

    text = (
        f"{plural(len(rows), 'dispute')}:\n{bullets([say(row) for row in rows])}" if rows else "There are no disputes."
    )
    data = [
        picked(row, ("id", "amount", "currency", "status", "reason", "charge", "evidence_details.due_by"))
        for row in rows
    ]
    sources = tuple(_page(api, row, "disputes", _amount(row)) for row in rows[:SHOWN])
    return Result(data, text, sources or _home(api, "disputes", "Disputes"))


def _inner(row: Row, name: str) -> Row:
    found = at(row, name)
    return found if isinstance(found, dict) else {}


async def list_prices(api: Api, args: Args) -> Result:
    """Products and what they cost."""
    wanted = args.get("product", "").casefold()
    rows = await _pages(api, "/v1/prices", {"active": True, "limit": 100, "expand[]": "data.product"}, most=3)
    rows = [row for row in rows if wanted in text_at(row, "product", "name").casefold()]
    lines = [
        f"**{clean(text_at(row, 'product', 'name'), 80) or 'A product'}**: {_price(row)}, id {_id(row)}" for row in rows
    ]
    text = (
        f"{plural(len(rows), 'price')}:\n{bullets(lines, most=40)}" if rows else "No product of that name has a price."
    )
    data = [
        picked(row, ("id", "product.name", "unit_amount", "currency", "recurring.interval", "nickname")) for row in rows
    ]
    return Result(data, text, _home(api, "products", "Products"))


# --- changes ---------------------------------------------------------------------------------------------------------


async def _send(api: Api, address: str, fields: Mapping[str, Json]) -> Row:
    """What Stripe made of a form. Never sent twice."""
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    body = urlencode({name: str(value) for name, value in given(fields).items()}, errors="replace")
    request = Request("POST", address, headers=form, body=body.encode())
    return _record((await api.request(request)).data, "id")


async def refund_payment(api: Api, args: Args) -> Result:
    """Money back to whoever paid: all of it, or a part."""
    name = args["payment"]
    kind = "payment_intent" if name.startswith("pi_") else "charge"
    made = await _send(api, "/v1/refunds", {kind: name, "amount": args.get("amount"), "reason": args.get("reason")})
    text = f"Refunded **{_amount(made)}** of {clean(name, 80)} ({_word(made, 'status')}), id {_id(made)}."
    page = Page("Payment", api.web_base + path("/payments/{id}", id=name), clean(name, 80))
    return Result(picked(made, ("id", "amount", "currency", "status")), text, (page,))


async def create_customer(api: Api, args: Args) -> Result:
    """A new customer."""
    made = await _send(api, _CUSTOMERS, {name: args.get(name) for name in ("email", "name", "phone", "description")})
    row = {**args, **picked(made, ("id", "livemode"))}
    page = _page(api, row, "customers", args.get("name") or args["email"])
    return Result(
        picked(row, ("id", "name", "email")), f"Created the customer {_customer(row)}, id {_id(row)}.", (page,)
    )


# --- tools -----------------------------------------------------------------------------------------------------------

_LIMIT = {"type": "integer", "minimum": 1, "maximum": 100, "default": SHOWN, "description": "How many at most."}
_PERIOD = {
    "type": "string",
    "pattern": "^[1-9][0-9]{0,2}[hdw]$",
    "description": "How far back: hours, days or weeks, such as 24h, 7d or 4w.",
    "examples": ["30d"],
}
_CUSTOMER = {
    "type": "string",
    "minLength": 1,
    "maxLength": 200,
    "description": "Name, e-mail address or id of the customer.",
    "examples": ["nora@feldwerk.example"],
}
_PAYMENT = {
    "type": "string",
    "pattern": "^(?:ch|py|pi)_[A-Za-z0-9_]{1,100}$",
    "description": "Id of the payment.",
    "examples": ["ch_3PqZ2eLkdIwHu7ix0abc1234"],
}
_A_PAYMENT = "[{id, amount, currency, status, created, description, customer}]"

PROVIDER = ProviderSpec(
    id="stripe",
    title="Stripe",
    about="payments, customers, subscriptions, invoices and payouts",
    api_base="https://api.stripe.com",
    web_base="https://dashboard.stripe.com",
    headers={"Stripe-Version": "2024-06-20"},
    refusal_of=refusal_of,
    oauth=OAuthSpec(
        authorize_url="https://marketplace.stripe.com/oauth/v2/authorize",
        token_url="https://api.stripe.com/v1/oauth/token",  # noqa: S106 - an address
        scope_separator="",
        pkce=False,
        client_auth="secret_as_user",
        lifetime_s=3_600,
        grant_idle_s=31_536_000,
        identity="answer",
        subject_fields=("stripe_user_id",),
        label_fields=("stripe_user_id",),
    ),
    mcp_url="https://mcp.stripe.com",
    register_url="https://dashboard.stripe.com/apps",
    register_steps=(
        "Create a Stripe app with the Stripe CLI: stripe apps create.",
        "In its manifest, set stripe_api_access_type to oauth and distribution_type to public.",
        "In allowed_redirect_uris of the manifest, list {redirect_uri}.",
        "Add the permissions charge_read, customer_read, subscription_read, invoice_read and balance_read.",
        "Add payout_read, dispute_read, plan_read and product_read; for writes, charge_write and customer_write.",
        "Upload it with stripe apps upload, and take the client id from its OAuth install link.",
        "The client secret is a secret API key of the same mode (test or live) as that link.",
        "Until the app is published, enter the install link of its external test as the authorize URL.",
    ),
    unconfirmed=(
        "That the old refresh token is retired at once when a new one comes is not documented; it is treated so.",
        "Which permission of the manifest each list needs was taken from the names of the permissions.",
    ),
    tools=(
        ToolSpec(
            name="balance",
            summary="Show the balance, available and pending, with the latest payments.",
            invoke=balance,
            gives="{available: [{amount, currency}], pending: [{amount, currency}], payments: []}",
            asks=(
                "what is our Stripe balance",
                "how much money is available",
                "how much is pending",
                "show the balance and the latest payments",
                "what is in the account right now",
            ),
        ),
        ToolSpec(
            name="list_payments",
            summary="List payments of a period, all or those that succeeded, failed or were refunded.",
            invoke=list_payments,
            params={
                "period": {**_PERIOD, "default": "7d"},
                "status": {
                    "type": "string",
                    "enum": ["all", "succeeded", "failed", "pending", "refunded"],
                    "default": "all",
                    "description": "How they went.",
                },
                "customer": _CUSTOMER,
            },
            gives=_A_PAYMENT,
            asks=(
                "which payments came in this week",
                "list the failed payments",
                "which payments were refunded",
                "what did {customer} pay",
                "show the payments of the last {period}",
                "did any payments fail today",
                "latest charges",
            ),
        ),
        ToolSpec(
            name="payment_details",
            summary="Show one payment: how it was paid, refunds, and why it failed.",
            invoke=payment_details,
            params={"payment": _PAYMENT},
            required=frozenset({"payment"}),
            producers={"payment": Producer("list_payments", "id", names=("description",))},
            gives="{id, amount, currency, status, failure_message, outcome.seller_message}",
            asks=(
                "why did the payment {payment} fail",
                "show me the payment {payment}",
                "what is the status of the charge {payment}",
                "how was {payment} paid",
                "was {payment} refunded",
            ),
        ),
        ToolSpec(
            name="revenue_summary",
            summary="Sum up what was paid and refunded over a period, by currency.",
            invoke=revenue_summary,
            params={"period": {**_PERIOD, "default": "30d"}, "customer": _CUSTOMER},
            gives="{totals: [{currency, paid, refunded, net}], payments, failed}",
            asks=(
                "how much revenue did we make this month",
                "what did we earn in the last {period}",
                "total sales of the last 30 days",
                "how much did we refund",
                "sum up our revenue",
                "how much has {customer} paid in total",
            ),
        ),
        ToolSpec(
            name="find_customers",
            summary="Find customers by name or e-mail address.",
            invoke=find_customers,
            params={"query": {**_CUSTOMER, "description": "Part of a name, or an e-mail address."}, "limit": _LIMIT},
            required=frozenset({"query"}),
            gives="[{id, name, email, created}]",
            asks=(
                "find the customer {query}",
                "is {query} a customer of ours",
                "what is the customer id of {query}",
                "search customers for {query}",
                "which customers are called {query}",
            ),
        ),
        ToolSpec(
            name="customer_overview",
            summary="Show a customer with their subscriptions, latest payments and open invoices.",
            invoke=customer_overview,
            params={"customer": _CUSTOMER},
            required=frozenset({"customer"}),
            gives="{id, name, email, subscriptions: [], payments: [], invoices: []}",
            asks=(
                "tell me about the customer {customer}",
                "what plan is {customer} on",
                "does {customer} owe us anything",
                "give me an overview of the customer {customer}",
                "is {customer} still subscribed",
            ),
        ),
        ToolSpec(
            name="list_subscriptions",
            summary="List subscriptions by state: active, past due, in trial, cancelled.",
            invoke=list_subscriptions,
            params={
                "status": {
                    "type": "string",
                    "enum": ["active", "past_due", "trialing", "canceled", "unpaid", "paused", "all"],
                    "default": "active",
                    "description": "How they stand.",
                },
                "limit": {**_LIMIT, "default": 20},
            },
            gives="[{id, status, current_period_end, cancel_at_period_end, customer.id, customer.email}]",
            asks=(
                "list our active subscriptions",
                "which subscriptions are past due",
                "who cancelled their subscription",
                "who is in a trial",
                "which subscriptions renew soon",
            ),
        ),
        ToolSpec(
            name="list_invoices",
            summary="List invoices by state: open, overdue, paid, draft.",
            invoke=list_invoices,
            params={
                "state": {
                    "type": "string",
                    "enum": ["open", "overdue", "paid", "draft", "uncollectible", "void", "all"],
                    "default": "open",
                    "description": "How they stand.",
                },
                "customer": _CUSTOMER,
            },
            gives="[{id, number, status, amount_due, amount_remaining, currency, due_date, customer_email}]",
            asks=(
                "which invoices are overdue",
                "list the open invoices",
                "who has not paid their invoice",
                "show the invoices of {customer}",
                "which invoices were paid",
                "are there draft invoices",
            ),
        ),
        ToolSpec(
            name="list_payouts",
            summary="List payouts to the bank account.",
            invoke=list_payouts,
            params={"limit": _LIMIT},
            gives="[{id, amount, currency, status, arrival_date}]",
            asks=(
                "when is the next payout",
                "list the latest payouts",
                "what was paid out to our bank",
                "when does the money arrive",
                "did a payout fail",
            ),
        ),
        ToolSpec(
            name="list_disputes",
            summary="List disputes and chargebacks, those that wait for an answer first.",
            invoke=list_disputes,
            params={"limit": {**_LIMIT, "default": 20}},
            gives="[{id, amount, currency, status, reason, charge}]",
            asks=(
                "do we have any disputes",
                "which chargebacks need a response",
                "list the disputes",
                "who is disputing a payment",
                "are there open chargebacks",
            ),
        ),
        ToolSpec(
            name="list_prices",
            summary="List products and what they cost.",
            invoke=list_prices,
            params={
                "product": {
                    "type": "string",
                    "minLength": 1,
                    "maxLength": 100,
                    "description": "Only products with this in their name.",
                    "examples": ["Team plan"],
                }
            },
            gives="[{id, product.name, unit_amount, currency, recurring.interval}]",
            keep_s=300,
            asks=(
                "what do our products cost",
                "list our products and prices",
                "what is the price of {product}",
                "which plans do we sell",
                "how much is the {product}",
            ),
        ),
        ToolSpec(
            name="refund_payment",
            summary="Refund a payment, all of it or a part.",
            invoke=refund_payment,
            effect=Effect.DESTRUCTIVE,
            params={
                "payment": _PAYMENT,
                "amount": {
                    "type": "integer",
                    "minimum": 1,
                    "description": "How much, in the smallest unit of the currency (cents); all of it when left out.",
                    "examples": [1500],
                },
                "reason": {
                    "type": "string",
                    "enum": ["duplicate", "fraudulent", "requested_by_customer"],
                    "description": "Why.",
                },
            },
            required=frozenset({"payment"}),
            gives="{id, amount, currency, status}",
            asks=("refund the payment {payment}", "give the money of {payment} back", "refund {amount} of {payment}"),
        ),
        ToolSpec(
            name="create_customer",
            summary="Create a customer.",
            invoke=create_customer,
            effect=Effect.WRITE,
            params={
                "email": {
                    "type": "string",
                    "minLength": 3,
                    "maxLength": 200,
                    "description": "E-mail address.",
                    "examples": ["nora@feldwerk.example"],
                },
                "name": {"type": "string", "maxLength": 200, "description": "Name of the person or company."},
                "phone": {"type": "string", "maxLength": 20, "description": "Phone number."},
                "description": {"type": "string", "maxLength": 350, "description": "A word on who they are."},
            },
            required=frozenset({"email"}),
            gives="{id, name, email}",
            asks=("create a customer for {email}", "add {name} as a customer in Stripe", "set up the customer {email}"),
        ),
    ),
)
