"""Key encryption keys: what wraps the tenants' data keys, behind one Protocol chosen by `VAULT_KEK`."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Protocol

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from vault.crypto import Context, KeysUnavailable, Unreadable


class Kek(Protocol):
    """Wraps and unwraps data keys; `context` is authenticated by every implementation.

    Two failures, never mixed up: `Unreadable` says that what was to be unwrapped is wrong, `KeysUnavailable` that it
    is not known whether it is.
    """

    @property
    def uri(self) -> str:
        """The key that wraps now."""

    def holds(self, uri: str) -> bool:
        """Whether this is the one to unwrap what was wrapped with the key named `uri`. Raises: KeysUnavailable."""

    def wrap(self, key: bytes, context: Context) -> tuple[str, bytes]:
        """Encrypt a data key; gives also the URI to store beside it. Raises: KeysUnavailable."""

    def unwrap(self, uri: str, wrapped: bytes, context: Context) -> bytes:
        """Decrypt a data key that was wrapped with the key named `uri`. Raises: Unreadable, KeysUnavailable."""


@lru_cache(maxsize=1)
def keks() -> tuple[Kek, ...]:
    """The deployment's KEKs: the one that wraps, then those of `VAULT_KEK_OLD`. Raises: ImproperlyConfigured."""
    return _named("VAULT_KEK", settings.VAULT_KEK), *(_named("VAULT_KEK_OLD", old) for old in settings.VAULT_KEK_OLD)


def kek() -> Kek:
    """The one that wraps."""
    return keks()[0]


def unwrap(uri: str, wrapped: bytes, context: Context) -> bytes:
    """Decrypt a data key with the KEK its URI names. Raises: Unreadable, KeysUnavailable.

    Only KEKs of the settings are asked: otherwise whoever writes to the database could name a key of their own.
    """
    holding = [kek for kek in keks() if kek.holds(uri)]
    if not holding:
        raise KeysUnavailable(f"No KEK named {uri[:120]} is configured. Name it in VAULT_KEK_OLD.")
    for last, one in enumerate(holding, start=1 - len(holding)):
        try:
            return one.unwrap(uri, wrapped, context)
        except Unreadable:  # two key files may each have a key of that name
            if last == 0:
                raise
    raise Unreadable


def _named(setting: str, name: str) -> Kek:
    """The KEK a setting names; its module is imported only now. Raises: ImproperlyConfigured."""
    scheme, _, rest = name.partition(":")
    match scheme if rest else "":
        case "local":
            from vault.keks.local import LocalRing  # noqa: PLC0415 - see above

            return LocalRing(Path(rest), make=setting == "VAULT_KEK")
        case "aws-kms":
            from vault.keks.aws import AwsKms  # noqa: PLC0415 - see above

            return AwsKms(rest)
        case "gcp-kms":
            from vault.keks.gcp import GcpKms  # noqa: PLC0415 - see above

            return GcpKms(rest)
        case "hashicorp":
            from vault.keks.transit import Transit  # noqa: PLC0415 - see above

            return Transit(rest)
        case _:
            raise ImproperlyConfigured(
                f"{setting}={scheme[:20]}:… is not a key this version knows. "
                "Use local:<file>, aws-kms:<arn>, gcp-kms:<resource> or hashicorp:<mount>/<key>."
            )
