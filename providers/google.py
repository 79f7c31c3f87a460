"""Google: what the catalogue files of its products share."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from providers.errors import Forbidden, ToolError, TooManyRequests
from providers.spec import OAuthSpec, Reply
from providers.tools import list_at, text_at

AUTH = "https://www.googleapis.com/auth/"
"""What the names of most scopes begin with."""
_PEOPLE = {"openid": "know which Google account this is", "email": "see its email address"}

_SLOWER = {"rateLimitExceeded", "userRateLimitExceeded", "quotaExceeded", "dailyLimitExceeded", "RATE_LIMIT_EXCEEDED"}
_SWITCHED_OFF = {"accessNotConfigured", "SERVICE_DISABLED"}


def oauth(*, read: str, words: Mapping[str, str]) -> OAuthSpec:
    """How Google is spoken to: `read` is the scope of all reads, `words` say what each scope allows."""
    return OAuthSpec(
        authorize_url="https://accounts.google.com/o/oauth2/v2/auth",
        token_url="https://oauth2.googleapis.com/token",  # noqa: S106 - an address
        revoke_url="https://oauth2.googleapis.com/revoke",
        revoke_style="token_only",
        one_grant=True,
        issuer="https://accounts.google.com",
        scopes=("openid", "email", read),
        scope_words={**_PEOPLE, **words},
        scope_aliases={f"{AUTH}userinfo.email": "email", f"{AUTH}userinfo.profile": "profile"},
        # Without both of them there is no refresh token, or only the first time a person agrees.
        authorize_params={"access_type": "offline", "prompt": "consent"},
        lifetime_s=3_600,
        rotation=False,
        grant_idle_s=15_552_000,
        identity="id_token",
        subject_fields=("sub",),
        label_fields=("email", "name"),
    )


def refusal_of(reply: Reply) -> ToolError | None:
    """What a 403 is about: Google also says so when calls come too fast, or when the API is switched off.

    The scopes of its challenge are all that would do, the widest among them: they are not what is missing.
    """
    if reply.status != HTTPStatus.FORBIDDEN or "retry-after" in reply.headers:
        return None
    told = [*list_at(reply.data, "error", "errors"), *list_at(reply.data, "error", "details")]
    reasons = {text_at(each, "reason") for each in told}
    if reasons & _SLOWER:
        return TooManyRequests("Google asks to slow down: try again in half a minute.")
    if reasons & _SWITCHED_OFF:
        return Forbidden(
            "This Google API is switched off in the project of the OAuth client: an administrator can enable it there."
        )
    return Forbidden("Google does not allow this account to do that.")


def register_steps(api: str) -> tuple[str, ...]:
    """How an OAuth client is registered for one product, whose API Google calls `api`."""
    return (
        "Create a project in the Google Cloud console, or choose one that serves no other Google product here.",
        f"Under APIs & Services, Library, enable the {api}.",
        "Under Google Auth Platform, Branding, fill in the name and the contact.",
        "Under Audience, choose Internal for a Workspace of your own; else External, and publish it.",
        "While it is in Testing instead, every connection ends after 7 days.",
        "Under Data Access, add these scopes: {scopes}.",
        "Under Clients, create a client of the type Web application with the redirect URI {redirect_uri}.",
        "Copy the client ID and the client secret.",
    )


REGISTER_URL = "https://console.cloud.google.com/auth/clients"
UNCONFIRMED = (
    "That revoking a token may also end what other clients of the same Google Cloud project hold for that person.",
)
