"""What people read about connecting: what each scope allows, and why connecting stopped and what to do next."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus

from providers.spec import ProviderSpec
from vault.services.connect import Stop, Stopped


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
        "If it is yours under another log-in, log out, log in with that one and open the link again. "
        "If somebody sent it to you, ignore it: your own client makes a link for you when you ask.",
    ),
    Stop.NOT_MEMBER: Page(
        HTTPStatus.FORBIDDEN,
        "You are no longer a member",
        "This link belongs to a tenant that you are not a member of any more. Nothing was connected.",
        "If you should be one, ask its administrator to add you, then ask again in your client.",
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
}


def page_of(stopped: Stopped) -> Page:
    """What is said, and with which status."""
    return _PAGES[stopped.why].about(stopped.spec.title if stopped.spec else "the provider")


def in_words(spec: ProviderSpec, scopes: Iterable[str]) -> list[tuple[str, str]]:
    """Each scope with what it allows; a scope nobody described stands for itself."""
    return [(scope, spec.oauth.scope_words.get(scope, scope)) for scope in scopes]
