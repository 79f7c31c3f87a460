"""What oauthlib asks while it works a request: the toolkit's answers, with our storage and our rules."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.utils import timezone
from oauth2_provider.oauth2_validators import OAuth2Validator
from oauthlib.oauth2.rfc6749.errors import CustomOAuth2Error, InvalidGrantError

from tenants.oauth import policy, registration, selectors, services, tokens
from tenants.oauth.models import AccessToken, Client, ClientGrant, Code, RefreshToken

MCP = "mcp"
OAuthRequest = Any
"""oauthlib's request: any attribute may be set on it."""


class Validator(OAuth2Validator):
    """Codes and tokens known by digest, bound to a ClientGrant; nothing is answered that the grant does not cover."""

    def _load_application(self, client_id: str, request: OAuthRequest) -> Client | None:
        """A client that is not known yet is looked up, which means fetching its document, where somebody has logged in.

        The token endpoint takes requests from anyone, and its clients are known.
        """
        if not client_id or not client_id.isascii() or not client_id.isprintable():
            return None
        if registration.PERSON in request.headers:
            loaded: Client | None = super()._load_application(client_id, request)
            return loaded
        found = Client.objects.filter(client_id=client_id).first()
        request.client = found
        return found

    def _check_secret(self, provided_secret: str, stored_secret: str) -> bool:
        """Against the digest; a client without a secret has none to give."""
        return bool(stored_secret) and hmac.compare_digest(tokens.digest(provided_secret), stored_secret)

    def validate_grant_type(
        self, client_id: str, grant_type: str, client: Client, request: OAuthRequest, *args: Any, **kwargs: Any
    ) -> bool:
        """The two there are: oauthlib takes a third for OpenID Connect."""
        return grant_type in policy.GRANTS

    # --- scopes: what is not known here is left out, as RFC 6749 §3.3 allows, and the answer says what was given

    def validate_scopes(
        self, client_id: str, scopes: Sequence[str], client: Client, request: OAuthRequest, *args: Any, **kwargs: Any
    ) -> bool:
        """Keep the known ones; with none of them, the least there is."""
        request.scopes = [scope for scope in dict.fromkeys(scopes) if scope in settings.MCP_SCOPES] or [MCP]
        return True

    def get_original_scopes(self, refresh_token: str, request: OAuthRequest, *args: Any, **kwargs: Any) -> list[str]:
        """The grant's."""
        return _grant(request).scope.split()

    def is_within_original_scope(
        self, request_scopes: Sequence[str], refresh_token: str, request: OAuthRequest, *args: Any, **kwargs: Any
    ) -> bool:
        """A client may repeat what it once asked for: what it was not given is left out again."""
        request.scopes = [scope for scope in request_scopes if scope in _grant(request).scope.split()]
        return bool(request.scopes)

    # --- codes

    def _create_authorization_code(self, request: OAuthRequest, code: dict[str, str], expires: Any = None) -> Code:
        """Keep the digest of a code, on the grant the page has just made."""
        grant: ClientGrant = request.client_grant
        return Code.objects.create(
            application=request.client,
            user=request.user,
            code=tokens.digest(code["code"]),
            expires=timezone.now() + timedelta(seconds=settings.CLIENT_CODE_S),
            redirect_uri=request.redirect_uri,
            scope=grant.scope,
            code_challenge=request.code_challenge,
            code_challenge_method=request.code_challenge_method,
            resource=[grant.resource],
            grant=grant,
        )

    def validate_code(
        self, client_id: str, code: str, client: Client, request: OAuthRequest, *args: Any, **kwargs: Any
    ) -> bool:
        """Whether the code is this client's, fresh and unused. A second use ends what the first one gave."""
        row = selectors.code(tokens.digest(code), client)
        if row is None:
            return False
        now = timezone.now()
        if row.used_at is not None:
            services.end(grant=row.grant, reason="code_reused", by=None, now=now)
            return False
        if row.expires <= now or not selectors.lives(row.grant, now=now):
            return False
        _same_resource(request, row.grant)
        request.user, request.scopes, request.code_row = row.user, row.scope.split(), row
        return True

    def confirm_redirect_uri(
        self, client_id: str, code: str, redirect_uri: str, client: Client, *args: Any, **kwargs: Any
    ) -> bool:
        """Exactly the one the code was sent to (RFC 6749 §4.1.3)."""
        row = selectors.code(tokens.digest(code), client)
        return row is not None and row.redirect_uri == redirect_uri

    def get_code_challenge(self, code: str, request: OAuthRequest) -> str | None:
        """What the code was bound to."""
        row: Code = request.code_row
        return row.code_challenge or None

    def get_code_challenge_method(self, code: str, request: OAuthRequest) -> str | None:
        """S256."""
        row: Code = request.code_row
        return row.code_challenge_method or None

    def get_authorization_code_scopes(self, client_id: str, code: str, redirect_uri: str, request: OAuthRequest) -> Any:
        """The grant's."""
        return _grant(request).scope.split()

    def invalidate_authorization_code(
        self, client_id: str, code: str, request: OAuthRequest, *args: Any, **kwargs: Any
    ) -> None:
        """Done when the tokens were stored, in the same transaction."""

    # --- tokens

    def save_bearer_token(self, token: dict[str, Any], request: OAuthRequest, *args: Any, **kwargs: Any) -> None:
        """Store what oauthlib has minted, and say what it is good for: the grant's scope, whatever was asked.

        A code or refresh token somebody else was faster with ends the grant.
        """
        now, longest = timezone.now(), token["expires_in"]
        pair = services.Pair(token["access_token"], token["refresh_token"])
        try:
            if request.grant_type == "authorization_code":
                good_for = services.exchange(code=request.code_row, pair=pair, expires_in=longest, now=now)
            else:
                spent: RefreshToken = request.refresh_token_instance
                good_for = services.refresh(spent=spent, pair=pair, expires_in=longest, now=now)
            token |= {"expires_in": good_for, "scope": _grant(request).scope}
        except services.Spent:
            services.end(grant=_grant(request), reason="reused", by=None, now=now)
            raise InvalidGrantError(request=request) from None

    def validate_refresh_token(
        self, refresh_token: str, client: Client, request: OAuthRequest, *args: Any, **kwargs: Any
    ) -> bool:
        """Whether the token is this client's and its grant stands.

        One that was spent is taken once more shortly afterwards (see `services.refresh`); later it is a theft, of this
        token or the ones that followed, and the whole grant ends (RFC 9700 §4.14).
        """
        row = selectors.refresh_token(tokens.digest(refresh_token))
        if row is None or row.application_id != client.pk:
            return False
        now = timezone.now()
        if not selectors.lives(row.grant, now=now):
            return False
        if row.revoked is not None and now - row.revoked > timedelta(seconds=settings.CLIENT_REFRESH_GRACE_S):
            services.end(grant=row.grant, reason="refresh_token_reused", by=None, now=now)
            return False
        _same_resource(request, row.grant)
        request.user, request.refresh_token, request.refresh_token_instance = row.user, refresh_token, row
        return True

    def revoke_token(self, token: str, token_type_hint: str, request: OAuthRequest, *args: Any, **kwargs: Any) -> None:
        """Either token ends its grant, if it is this client's own (RFC 7009 §2.1)."""
        digest, client_id = tokens.digest(token), getattr(request.client, "pk", None)
        for kind in (AccessToken, RefreshToken):
            row = kind.objects.select_related("grant__membership").filter(token_checksum=digest).first()
            if row is not None and row.application_id == client_id:
                services.end(grant=row.grant, reason="client", by=row.user_id, now=timezone.now())


def _grant(request: OAuthRequest) -> ClientGrant:
    row: Code | RefreshToken = getattr(request, "code_row", None) or request.refresh_token_instance
    return row.grant


def _same_resource(request: OAuthRequest, grant: ClientGrant) -> None:
    """A resource named at the token endpoint must be the grant's (RFC 8707 §2.2). Raises: CustomOAuth2Error."""
    named = [value for key, value in request.decoded_body or [] if key == "resource"]
    if any(resource != grant.resource for resource in named):
        raise CustomOAuth2Error(
            error="invalid_target",
            description="These tokens are for another resource. Authorize this one first.",
            request=request,
        )
