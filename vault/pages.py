"""What people read about connecting: what an account allows, what has become of it, why connecting stopped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urlencode, urlsplit

from django.urls import reverse

from providers.spec import Access, ProviderSpec
from vault.models import Connection, ConnectLink, Status
from vault.services.connect import Arrival, Opening, Stop, Stopped
from vault.services.enter import KeyRefused, Why


@dataclass(frozen=True, slots=True)
class Page:
    """A page that ends connecting. `{provider}` stands for the provider's title, where it is safe to name it."""

    status: HTTPStatus
    title: str
    happened: str
    advice: str

    def about(self, provider: str) -> Page:
        """The same page with the provider named."""
        words = (text.format(provider=provider) for text in (self.title, self.happened, self.advice))
        return Page(self.status, *words)


_PAGES: Mapping[Stop, Page] = {
    Stop.UNKNOWN: Page(
        HTTPStatus.NOT_FOUND,
        "This link leads nowhere",
        "It may have been cut short, or what it was for is no longer offered.",
        "Ask again in your client and open the whole link it shows, or start from your connections.",
    ),
    Stop.EXPIRED: Page(
        HTTPStatus.GONE,
        "This link is too old",
        "A link works for a few minutes only, and its time is over. Nothing was connected.",
        "Ask again in your client and open the fresh link it shows.",
    ),
    Stop.USED: Page(
        HTTPStatus.GONE,
        "This link was used already",
        "Each link works only once.",
        "See on your connections page whether the account is there. If not, ask again in your client for a fresh link.",
    ),
    Stop.WRONG_PERSON: Page(
        HTTPStatus.FORBIDDEN,
        "This link was made for someone else",
        "Nothing was connected.",
        "If it is yours under another log-in, log in with that one: you come back to this page. "
        "If somebody sent it to you, ignore it: your own client makes a link for you when you ask.",
    ),
    Stop.NOT_MEMBER: Page(
        HTTPStatus.FORBIDDEN,
        "You are no longer a member",
        "This link belongs to a tenant that you are not a member of any more. Nothing was connected.",
        "If you should be one, ask its administrator to add you, then ask again in your client.",
    ),
    Stop.NOT_ADMIN: Page(
        HTTPStatus.FORBIDDEN,
        "Only an administrator can connect this",
        "This {provider} account is shared: everybody in the tenant can use it, and its administrators look after it. "
        "Nothing was connected.",
        "Ask an administrator of the tenant to connect it, or connect an account of your own from your connections "
        "page.",
    ),
    Stop.WRONG_BROWSER: Page(
        HTTPStatus.FORBIDDEN,
        "This is not where you began",
        "Connecting has to end in the browser it began in, while you stay logged in. Nothing was connected.",
        "Ask again in your client and follow the fresh link to the end in one browser.",
    ),
    Stop.CHANGED: Page(
        HTTPStatus.CONFLICT,
        "The set-up of {provider} has changed",
        "An administrator changed it while you were connecting. Nothing was connected.",
        "Ask again in your client and open the fresh link it shows.",
    ),
    Stop.WRONG_ISSUER: Page(
        HTTPStatus.BAD_REQUEST,
        "That answer was not from {provider}",
        "It came from somewhere else, so it was refused. Nothing was connected.",
        "Tell your administrator before you try again: somebody may be meddling.",
    ),
    Stop.DENIED: Page(
        HTTPStatus.OK,
        "You did not connect {provider}",
        "Access was not allowed there, so nothing was connected.",
        "If you change your mind, connect from your connections page or ask again in your client.",
    ),
    Stop.PROVIDER_ERROR: Page(
        HTTPStatus.BAD_GATEWAY,
        "{provider} could not go on",
        "It sent you back with an error instead of access. Nothing was connected.",
        "Ask again in your client in a few minutes. If it stays, tell your administrator.",
    ),
    Stop.EXCHANGE_FAILED: Page(
        HTTPStatus.BAD_GATEWAY,
        "{provider} did not finish connecting",
        "You allowed it, but {provider} did not hand over the access. Nothing was connected.",
        "Ask again in your client in a few minutes. If it stays, tell your administrator.",
    ),
    Stop.IDENTITY_UNKNOWN: Page(
        HTTPStatus.BAD_GATEWAY,
        "{provider} did not say whose account it is",
        "Without knowing the account, the access was given up again. Nothing was connected.",
        "Ask again in your client in a few minutes. If it stays, tell your administrator.",
    ),
    Stop.VAULT_CLOSED: Page(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "The vault is closed",
        "Access to accounts is kept encrypted, and the key to it cannot be reached right now. Nothing was connected.",
        "Try again later. If it stays, tell your administrator.",
    ),
    Stop.NOT_STORED: Page(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "{provider} could not be connected",
        "You allowed it, but it could not be stored here, so the access was given up again. Nothing was connected.",
        "Ask again in your client in a few minutes. If it stays, tell your administrator.",
    ),
    Stop.WAITING: Page(
        HTTPStatus.ACCEPTED,
        "{provider} is being connected",
        "You went on to {provider} from this page, in this window or another. Finish there.",
        "This page says so once it is done.",
    ),
    Stop.WORKING: Page(
        HTTPStatus.ACCEPTED,
        "{provider} is still being connected",
        "You allowed it, and {provider} is taking its time to hand over the access.",
        "This page says so once it is done.",
    ),
    Stop.INTERRUPTED: Page(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "Connecting {provider} was interrupted",
        "This server stopped before {provider} had handed over the access. Nothing was connected.",
        "Ask again in your client and open the fresh link it shows, or start from your connections page.",
    ),
    Stop.NO_ACCOUNT: Page(
        HTTPStatus.CONFLICT,
        "{provider} needs no account",
        "It asks for none, so there is nothing to connect: everybody in the tenant uses it as it is.",
        "If it does not work, an administrator has ended its use here or has to install it again: ask them.",
    ),
}

_KEY_REFUSED: Mapping[Why, str] = {
    Why.UNFIT: "That is not a key: one has letters, digits and signs, and no spaces, 4,096 at most.",
    Why.NOT_ACCEPTED: "{provider} did not accept this key. Check that it is whole and still valid.",
    Why.NOT_TRIED: "{provider} could not be asked about this key just now. Try again in a moment.",
}
"""Never with a part of what was entered."""


def page_of(stopped: Stopped) -> Page:
    """What is said, and with which status."""
    return _PAGES[stopped.why].about(stopped.spec.title if stopped.spec else "the provider")


def key_refused(refused: KeyRefused, spec: ProviderSpec) -> str:
    """What is said about a key that was not taken."""
    return _KEY_REFUSED[refused.why].format(provider=spec.title)


def in_words(spec: ProviderSpec, scopes: Iterable[str]) -> list[tuple[str, str]]:
    """Each scope with what it allows; a scope nobody described stands for itself."""
    return [(scope, spec.oauth.scope_words.get(scope, scope)) for scope in scopes]


Words = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Sheet:
    """What the connect page says."""

    link: ConnectLink
    spec: ProviderSpec
    again: Connection | None
    """The account it is for, when it is for a given one."""
    asked: Words
    granted: Words
    """What that account allows already."""
    asking: str
    """What its owner calls the client that asks; empty when they began here themselves."""

    @property
    def leaves_for(self) -> str:
        """Where the button goes; with a key, where that is sent."""
        return self.spec.oauth.authorize_url if self.spec.access is Access.OAUTH else self.spec.api_base

    @property
    def host(self) -> str:
        """The part of it that people look at."""
        return urlsplit(self.leaves_for).netloc

    @property
    def upgrade(self) -> bool:
        """The account works; it is only to allow more."""
        return self.again is not None and self.again.status == Status.READY and bool(self.asked)


@dataclass(frozen=True, slots=True)
class Landing:
    """What the page after connecting says."""

    connection: Connection
    spec: ProviderSpec
    missing: Words
    lost: Words
    instead_of: Connection | None
    """The account it was meant for, when somebody else came."""

    @property
    def still_waits(self) -> bool:
        """That account is not usable."""
        return self.instead_of is not None and self.instead_of.status != Status.READY

    @property
    def again_url(self) -> str:
        """Where to try once more for that account."""
        return again_url(self.instead_of) if self.instead_of else ""


def sheet(opening: Opening, *, asking: str) -> Sheet:
    """The connect page of a link."""
    spec = opening.spec
    return Sheet(
        link=opening.link,
        spec=spec,
        again=opening.link.connection,
        asked=in_words(spec, opening.asked),
        granted=in_words(spec, opening.granted),
        asking=asking,
    )


def landing(arrival: Arrival) -> Landing:
    """The page after connecting."""
    spec = arrival.spec
    return Landing(
        connection=arrival.connection,
        spec=spec,
        missing=in_words(spec, arrival.missing),
        lost=in_words(spec, arrival.lost),
        instead_of=arrival.instead_of,
    )


def again_url(row: Connection) -> str:
    """Where a given account is connected again."""
    query = urlencode({"tenant": row.tenant.slug, "account": str(row.pk)})
    return f"{reverse('connect', args=[row.installation.slug])}?{query}"
