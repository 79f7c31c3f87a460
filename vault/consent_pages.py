"""What people read about consent: what a client would be let do, in words; and why there is no question to answer."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus

from django.conf import settings

from providers import selectors as providers
from providers.spec import Effect, Json, ProviderSpec, ToolSpec
from tenants import selectors as tenants
from vault.models import Consent
from vault.pages import Page
from vault.services import consent as consents
from vault.services.question import State, Stop

_ACTS = {Effect.READ: "read from", Effect.WRITE: "change things in", Effect.DESTRUCTIVE: "delete things in"}
_BEYOND = {
    Effect.READ: "It changes and deletes nothing: you would be asked for that separately.",
    Effect.WRITE: "It deletes nothing: you would be asked for that separately.",
    Effect.DESTRUCTIVE: "What is deleted may be gone for good.",
}


@dataclass(frozen=True, slots=True)
class Sheet:
    """Everything the consent page says. Names, summaries and arguments are other people's words: text, never markup."""

    row: Consent
    spec: ProviderSpec
    act: str
    """What the client would do; the provider's title follows."""
    beyond: str
    client: str
    """What its owner calls the client; empty when it is gone."""
    until: datetime
    """When it ends, were it given now."""
    allowed: tuple[str, ...]
    """What the granted scopes of this effect allow, in words."""
    tools: tuple[str, ...]
    """What the client could have done, in a sentence each."""
    prompt: str
    """The one question it is for."""
    arguments: tuple[tuple[str, str], ...]
    """What the one tool would be given."""
    whole: bool
    """Nothing is left out that it is for."""


def sheet(row: Consent, *, now: datetime) -> Sheet:
    """The page of one question. Raises: LookupError when the provider is not in the catalogue any more."""
    spec, effect = providers.spec_of(row.connection.installation), Effect(row.effect)
    granted = frozenset(row.connection.scopes)
    usable = [tool for tool in spec.tools if tool.effect is effect and not tool.missing(granted)]
    sent = consents.shown(row) if row.once else None
    if row.once:
        usable = [tool for tool in usable if tool.name == row.tool]
    return Sheet(
        row=row,
        spec=spec,
        act=_ACTS[effect],
        beyond=_BEYOND[effect],
        client=tenants.client_name(row.client),
        until=now + timedelta(days=settings.CONSENT_DAYS),
        allowed=() if row.once else _scope_words(spec, usable, effect),
        tools=tuple(tool.summary for tool in usable),
        prompt=str(sent.get("prompt", "")) if sent else "",
        arguments=_arguments(sent.get("args", {})) if sent else (),
        whole=sent is not None or not row.once,
    )


def page_of(why: State | Stop, spec: ProviderSpec | None = None) -> Page:
    """What is said where there is nothing to answer, and with which status."""
    return _PAGES[why].about(spec.title if spec else "the provider")


def _scope_words(spec: ProviderSpec, tools: Sequence[ToolSpec], effect: Effect) -> tuple[str, ...]:
    """Of the scopes the tools need, those that reading alone does not."""
    reading = frozenset[str]().union(*(tool.scopes for tool in spec.tools if tool.effect is Effect.READ))
    needed = frozenset[str]().union(*(tool.scopes for tool in tools))
    own = needed if effect is Effect.READ else needed - reading
    return tuple(words for scope in sorted(own) if (words := spec.oauth.scope_words.get(scope)))


def _arguments(args: Mapping[str, Json]) -> tuple[tuple[str, str], ...]:
    return tuple(
        (name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
        for name, value in args.items()
    )


_PAGES: Mapping[State | Stop, Page] = {
    Stop.UNKNOWN: Page(
        HTTPStatus.NOT_FOUND,
        "This link leads nowhere",
        "It may have been cut short.",
        "Ask again in your client and open the whole link it shows.",
    ),
    Stop.WRONG_PERSON: Page(
        HTTPStatus.FORBIDDEN,
        "This link was made for someone else",
        "Nothing was allowed.",
        "If it is yours under another log-in, log in with that one: you come back to this page. "
        "If somebody sent it to you, ignore it: your own client makes a link for you when you ask.",
    ),
    Stop.NOT_MEMBER: Page(
        HTTPStatus.FORBIDDEN,
        "You are no longer a member",
        "This link belongs to a tenant that you are not a member of any more. Nothing was allowed.",
        "If you should be one, ask its administrator to add you, then ask again in your client.",
    ),
    Stop.CHANGED: Page(
        HTTPStatus.GONE,
        "This is not what was asked any more",
        "What would be done has changed since, or cannot be read. Nothing was allowed.",
        "Ask again in your client and open the fresh link it shows.",
    ),
    Stop.CLOSED: Page(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "The vault is closed",
        "What would be done is kept encrypted, and the key to it cannot be reached right now. Nothing was allowed.",
        "Reload this page in a minute. If it stays, tell your administrator.",
    ),
    State.EXPIRED: Page(
        HTTPStatus.GONE,
        "This link is too old",
        "A question waits a few minutes for its answer, and its time is over. Nothing was allowed.",
        "Ask again in your client and open the fresh link it shows.",
    ),
    State.USED: Page(
        HTTPStatus.GONE,
        "This was used already",
        "What you allowed once, your client has done.",
        "For another one, ask again in your client: it shows you a fresh link.",
    ),
    State.OVER: Page(
        HTTPStatus.GONE,
        "This no longer stands",
        "What was asked or allowed here has ended: its time is over, it was withdrawn, "
        "or your {provider} connection has changed.",
        "Ask again in your client: it shows you a fresh link when your permission is needed.",
    ),
    State.DISCONNECTED: Page(
        HTTPStatus.GONE,
        "The {provider} account is not connected",
        "What was asked here was about an account that cannot be used now. Nothing was allowed.",
        "Ask again in your client: it shows you how to connect the account.",
    ),
}
