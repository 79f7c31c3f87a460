"""Single sign-on: the deployment's one OpenID Connect issuer, which its operator has named and trusts.

Who somebody is, is said by the issuer and its `sub` for them, and nothing else once they are linked. The first time a
person is found by their e-mail address, on three conditions: the ID token says that the address was verified, they are
a person here already, and they are not linked with that issuer yet. An address alone is no identity: it can be given to
somebody else later, and an issuer that anybody may name could say any. Here neither is so, for the issuer is the
operator's own, and whoever gets an address that was another's meets a person who is linked.

Of what the issuer sends only `sub` is kept. allauth makes the requests, with `requests`, to this issuer alone.
"""

from __future__ import annotations

import logging
import secrets
from datetime import UTC, datetime
from typing import Any, NoReturn, cast
from urllib.parse import urlsplit
from uuid import UUID

import jwt
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter, get_adapter
from allauth.socialaccount.models import SocialAccount, SocialApp, SocialLogin
from allauth.socialaccount.providers.base.constants import AuthProcess
from allauth.socialaccount.providers.oauth2.client import OAuth2Error
from allauth.socialaccount.providers.oauth2.views import OAuth2CallbackView
from allauth.socialaccount.providers.openid_connect.provider import OpenIDConnectProvider
from allauth.socialaccount.providers.openid_connect.views import OpenIDConnectOAuth2Adapter
from django.conf import settings
from django.contrib import messages
from django.core.cache import cache
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from audit.events import EventKind
from tenants import access, onward, services
from tenants.models import User

log = logging.getLogger(__name__)

_SIGNED = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
_CLOCKS_DIFFER_S = 60
_METADATA_S = 300


class Issuer(OpenIDConnectProvider):
    """The issuer as allauth's provider; rows of linked people carry its name, so another one's are nobody's."""

    def __init__(self, request: HttpRequest) -> None:
        app = SocialApp(
            provider=self.id,
            provider_id=settings.OIDC_ISSUER,
            name=settings.OIDC_NAME,
            client_id=settings.OIDC_CLIENT_ID,
            secret=settings.OIDC_CLIENT_SECRET,
            settings={"server_url": settings.OIDC_ISSUER.rstrip("/"), "oauth_pkce_enabled": True},
        )
        super().__init__(request, app=app)

    def get_oauth2_adapter(self, request: HttpRequest) -> Exchange:
        """What speaks to it."""
        return Exchange(request, self.app.provider_id)

    def extract_extra_data(self, data: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002 - allauth's signature
        """What is kept of the claims: nothing."""
        return {}


class Exchange(OpenIDConnectOAuth2Adapter):
    """The round trip to the issuer."""

    @property
    def openid_config(self) -> dict[str, Any]:
        """Its metadata. Raises: OAuth2Error when it cannot be had, or is another issuer's."""
        name = f"oidc:{settings.OIDC_ISSUER}"
        found: dict[str, Any] | None = cache.get(name)
        if found is None:
            found = self._fetched(self.get_provider().server_url)
            needed = ("authorization_endpoint", "token_endpoint", "jwks_uri")
            if found.get("issuer") != settings.OIDC_ISSUER or not all(
                isinstance(found.get(key), str) for key in needed
            ):
                raise OAuth2Error("the metadata is not this issuer's")
            cache.set(name, found, timeout=_METADATA_S)
        return found

    def get_callback_url(self, request: HttpRequest, app: SocialApp) -> str:  # noqa: ARG002 - allauth's signature
        """The address registered with the issuer."""
        return f"{settings.PUBLIC_URL}{reverse('single_callback')}"

    def complete_login(self, request: HttpRequest, app: SocialApp, token: object, **kwargs: Any) -> SocialLogin:  # noqa: ANN401, ARG002 - allauth's signature
        """Who the ID token is about. Raises: OAuth2Error when it is not this issuer's, for us, and of now."""
        credential = kwargs["response"].get("id_token")
        try:
            keys = jwt.PyJWKSet.from_dict(self._fetched(self.openid_config["jwks_uri"]))
            claims = jwt.decode(
                credential,
                keys[jwt.get_unverified_header(credential)["kid"]],
                algorithms=_SIGNED,
                issuer=settings.OIDC_ISSUER,
                audience=app.client_id,
                leeway=_CLOCKS_DIFFER_S,
                options={"require": ["iss", "sub", "aud", "exp", "iat"]},
            )
        except (jwt.PyJWTError, KeyError, TypeError, ValueError) as wrong:
            raise OAuth2Error("the ID token is not good") from wrong
        if claims.get("azp", app.client_id) != app.client_id or not 0 < len(claims["sub"]) <= 191:  # noqa: PLR2004 - allauth's column
            raise OAuth2Error("the ID token is not about anybody here")
        found: SocialLogin = self.get_provider().sociallogin_from_response(request, {"id_token": claims})
        found.claims = claims
        return found

    def _fetched(self, url: str) -> dict[str, Any]:
        try:
            with get_adapter().get_requests_session() as session:
                answer = session.get(url)
                answer.raise_for_status()
                found = answer.json()
        except (OSError, ValueError) as failed:  # what `requests` raises is one of them
            raise OAuth2Error("the issuer does not answer") from failed
        if not isinstance(found, dict):
            raise OAuth2Error("the issuer answers nonsense")
        return found


class SingleSignOn(DefaultSocialAccountAdapter):
    """What allauth asks us about who comes back from the issuer."""

    def get_provider(self, request: HttpRequest, provider: str, client_id: str | None = None) -> Issuer:  # noqa: ARG002 - allauth's signature
        """The one of the settings, whatever rows there may be."""
        return Issuer(request)

    def get_requests_session(self) -> Any:  # noqa: ANN401 - of `requests`
        """One that goes nowhere but where it was sent."""
        session = super().get_requests_session()
        session.max_redirects = 0
        return session

    def is_open_for_signup(self, request: HttpRequest, sociallogin: SocialLogin) -> bool:  # noqa: ARG002 - allauth's signature
        """Never by allauth: `pre_social_login` makes people where that is wanted."""
        return False

    def pre_social_login(self, request: HttpRequest, sociallogin: SocialLogin) -> None:
        """Somebody is back: it is them still, or they are known, or linked now. Raises: ImmediateHttpResponse."""
        sociallogin.token = None  # it has served
        claims, state = sociallogin.claims, sociallogin.state
        if not secrets.compare_digest(str(claims.get("nonce")), str(state.get("nonce"))):
            _refuse(request, "nonce")
        if state.get("again"):
            _again(request, sociallogin)
        elif not sociallogin.is_existing:
            self._link(request, sociallogin)

    def on_authentication_error(self, request: HttpRequest, *_: object, **__: object) -> NoReturn:
        """Back to the log-in page, whatever it was. Raises: ImmediateHttpResponse."""
        _refuse(request, "answer")

    def serialize_instance(self, instance: object) -> dict[str, Any]:  # noqa: ARG002 - allauth's signature
        """What of a row waits in the session for the second factor: nothing."""
        return {}

    def deserialize_instance(self, model: type[Any], data: dict[str, Any]) -> Any:  # noqa: ANN401, ARG002 - see above
        """And back."""
        return model()

    def _link(self, request: HttpRequest, sociallogin: SocialLogin) -> None:
        claims = sociallogin.claims
        email = claims.get("email")
        if claims.get("email_verified") is not True or not isinstance(email, str):
            _refuse(request, "address")
        user = User.objects.filter(email=email.strip().lower()).first()
        if user is None and settings.OIDC_CREATE_USERS:
            try:
                user = services.create_user(email=email, name=str(claims.get("name") or "")[:120], password=None)
            except services.Refused:
                _refuse(request, "person")
        if user is None or not user.is_active or links_of(user).exists():
            _refuse(request, "person")
        with transaction.atomic():
            sociallogin.connect(request, user)
            services.tell(
                EventKind.LOGIN_SINGLE_LINKED,
                user=user,
                by=user.pk,
                issuer=urlsplit(settings.OIDC_ISSUER).hostname or "",
            )


def offered() -> str:
    """What the button says it logs in with; empty without an issuer."""
    return settings.OIDC_NAME if settings.OIDC_ISSUER else ""


def links_of(user: User) -> Any:  # noqa: ANN401 - allauth has no types
    """The rows that link somebody with the issuer."""
    return SocialAccount.objects.filter(user=user, provider=settings.OIDC_ISSUER)


def unlink(*, user: User, by: UUID | None) -> bool:
    """Nobody the issuer knows is this person any more, until they are linked anew. False when nobody was."""
    with transaction.atomic():
        ended = bool(SocialAccount.objects.filter(user=user).delete()[0])
        if ended:
            services.tell(EventKind.LOGIN_SINGLE_UNLINKED, user=user, by=by)
    return ended


@require_POST
def begin(request: HttpRequest) -> HttpResponse:
    """To the issuer; who is logged in and has to show that it is still them is asked by it anew."""
    if not settings.OIDC_ISSUER:
        raise Http404
    again, nonce = request.user.is_authenticated, secrets.token_urlsafe(24)
    asked = {"nonce": nonce, **({"prompt": "login", "max_age": "0"} if again else {})}
    try:
        answer = Issuer(request).redirect(
            request,
            process=AuthProcess.LOGIN,
            next_url=onward.wanted(request),
            auth_params=asked,
            nonce=nonce,
            again=again,
        )
    except OAuth2Error as failed:
        log.warning("single sign-on cannot begin: %s", failed)
        messages.error(request, f"{settings.OIDC_NAME} cannot be reached now. Try again, or log in with your password.")
        return redirect("confirm" if again else "login")
    return cast("HttpResponse", answer)


@require_safe
def callback(request: HttpRequest) -> HttpResponse:
    """Back from the issuer."""
    if not settings.OIDC_ISSUER:
        raise Http404
    try:
        if request.GET.get("iss", settings.OIDC_ISSUER) != settings.OIDC_ISSUER:
            _refuse(request, "issuer")
        view = OAuth2CallbackView.adapter_view(Exchange(request, settings.OIDC_ISSUER))
        return cast("HttpResponse", view(request))
    except ImmediateHttpResponse as early:
        return cast("HttpResponse", early.response)


def _again(request: HttpRequest, sociallogin: SocialLogin) -> NoReturn:
    now, at = datetime.now(UTC), sociallogin.claims.get("auth_time")
    if not isinstance(at, int) or not -_CLOCKS_DIFFER_S <= now.timestamp() - at < settings.CONFIRM_S:
        _refuse(request, "old", "confirm")
    if not sociallogin.is_existing or sociallogin.user != request.user:
        _refuse(request, "another", "confirm")
    access.confirm(request, now=now)
    raise ImmediateHttpResponse(redirect(sociallogin.get_redirect_url(request) or settings.LOGIN_REDIRECT_URL))


_SENTENCES = {
    "address": "does not say that your e-mail address is verified. Ask your administrator.",
    "person": "knows you, but nobody here is linked with you. Ask your administrator to invite you.",
    "old": "did not ask who you are again. Use another way.",
    "another": "says that you are somebody else. Log in there as the person you are here.",
}


def _refuse(request: HttpRequest, reason: str, back: str = "login") -> NoReturn:
    log.warning("single sign-on is refused: %s", reason)
    said = _SENTENCES.get(reason, "did not let you in, or it took too long. Try again.")
    messages.error(request, f"{settings.OIDC_NAME} {said}")
    raise ImmediateHttpResponse(redirect(back))
