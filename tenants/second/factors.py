"""Somebody's factors: how their secrets are kept, and what there is."""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet

from audit.events import EventKind
from tenants import services
from tenants.models import User


class Factors(DefaultMFAAdapter):
    """What allauth asks us about factors."""

    error_messages = DefaultMFAAdapter.error_messages | {
        "incorrect_code": "That is not right, or was used already. Try again.",
        "unreadable": "This code cannot be checked any more. Ask your administrator.",
    }

    def encrypt(self, text: str) -> str:
        """As it is stored."""
        return _ring().encrypt(text.encode()).decode()

    def decrypt(self, encrypted_text: str) -> str:
        """As it was. Raises: ValidationError when the key it was sealed with is gone, so that nothing is right."""
        try:
            return _ring().decrypt(encrypted_text).decode()
        except InvalidToken:
            raise self.validation_error("unreadable") from None

    def build_totp_svg(self, url: str) -> str:
        """The picture as an element of the page, which needs no exception in its policy."""
        svg: str = super().build_totp_svg(url)
        return svg[svg.index("<svg") :]

    def generate_authenticator_name(self, user: User, type: str) -> str:  # noqa: A002, ARG002 - allauth's signature
        """What a passkey is called that was given no name."""
        return f"Passkey {passkeys_of(user).count() + 1}"

    def _get_site_name(self) -> str:
        return settings.MFA_TOTP_ISSUER


def _ring() -> MultiFernet:
    """A key of its own for this purpose from each secret key: the first seals, all open."""
    secrets = dict.fromkeys([settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS])
    keys = [hmac.digest(secret.encode(), b"metaagent second factor", hashlib.sha256) for secret in secrets]
    return MultiFernet([Fernet(base64.urlsafe_b64encode(key)) for key in keys])


@dataclass(frozen=True, slots=True)
class Passkey:
    """A passkey as its owner sees it."""

    id: int
    name: str
    added_at: datetime
    used_at: datetime | None


@dataclass(frozen=True, slots=True)
class Owned:
    """What somebody has set up."""

    app: bool = False
    """A program that makes codes (TOTP)."""
    codes: bool = False
    """Recovery codes."""
    passkeys: list[Passkey] = field(default_factory=list)

    @property
    def any(self) -> bool:
        """Whether logging in wants more than a password."""
        return self.app or bool(self.passkeys)


def owned_by(user: User) -> Owned:
    """Their factors, the oldest passkey first; one query."""
    rows = list(Authenticator.objects.filter(user=user).order_by("pk"))
    types = {row.type for row in rows}
    keys = [
        Passkey(row.pk, str(row.data.get("name", "")), row.created_at, row.last_used_at)
        for row in rows
        if row.type == Authenticator.Type.WEBAUTHN
    ]
    return Owned(Authenticator.Type.TOTP in types, Authenticator.Type.RECOVERY_CODES in types, keys)


def passkeys_of(user: User) -> QuerySet[Authenticator]:
    """The rows of their passkeys."""
    return Authenticator.objects.filter(user=user, type=Authenticator.Type.WEBAUTHN)


def any_passkeys() -> bool:
    """Whether anybody has one, so that it is worth asking for."""
    return Authenticator.objects.filter(type=Authenticator.Type.WEBAUTHN).exists()


def remove_all(*, user: User, by: UUID | None) -> int:
    """Take away what somebody cannot show any more. How many there were, recovery codes aside."""
    with transaction.atomic():
        rows = Authenticator.objects.filter(user=user)
        removed = rows.exclude(type=Authenticator.Type.RECOVERY_CODES).count()
        if rows.delete()[0]:
            services.tell(EventKind.FACTOR_REMOVED, user=user, by=by, factor="all")
    return removed
