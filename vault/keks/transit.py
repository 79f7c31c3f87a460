"""HashiCorp Vault, or OpenBao: the Transit engine's encrypt and decrypt with the context as associated data."""

from __future__ import annotations

import re
import ssl
from base64 import b64encode
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from metaagent import environment
from vault.crypto import Context, Unreadable, canonical
from vault.keks import remote

_PART = r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,80}"
_NAME = re.compile(rf"({_PART}(?:/{_PART})*)/({_PART})")
_BLOB = re.compile(r"vault:v[0-9]+:[A-Za-z0-9+/]+=*")
_TOO_NEW = "invalid ciphertext: version is too new"  # what a Vault restored from an old copy says, too


class Transit:
    """One AEAD key of a Transit mount. The token is read at each call: who renews it may write it to a file."""

    def __init__(self, name: str) -> None:
        found = _NAME.fullmatch(name)
        if found is None:
            raise ImproperlyConfigured("VAULT_KEK=hashicorp:… must be hashicorp:<mount>/<key>.")
        self._name, self._mount, self._key = name, found[1], found[2]
        if not settings.VAULT_ADDR:
            raise ImproperlyConfigured("VAULT_KEK=hashicorp:… needs VAULT_ADDR and VAULT_TOKEN or VAULT_TOKEN_FILE.")
        self._url = remote.address("VAULT_ADDR", settings.VAULT_ADDR)
        self._service = remote.Service("Vault")
        try:
            self._tls = ssl.create_default_context(cafile=settings.VAULT_CACERT) if settings.VAULT_CACERT else None
        except OSError:
            raise ImproperlyConfigured("VAULT_CACERT names a file that cannot be read.") from None

    @property
    def uri(self) -> str:
        """`hashicorp:`, mount and key."""
        return f"hashicorp:{self._name}"

    def holds(self, uri: str) -> bool:
        """Exactly this key; its versions are Vault's matter."""
        return uri == self.uri

    def wrap(self, key: bytes, context: Context) -> tuple[str, bytes]:
        """`encrypt/<key>`."""

        def work() -> bytes:
            text = self._post("encrypt", context, plaintext=b64encode(key).decode()).get("ciphertext")
            if not isinstance(text, str) or not _BLOB.fullmatch(text):
                raise self._service.failed("answered without a ciphertext")
            return text.encode()

        return self.uri, self._service.ask(work)

    def unwrap(self, uri: str, wrapped: bytes, context: Context) -> bytes:
        """`decrypt/<key>`."""
        text = wrapped.decode("ascii", "replace")
        if not self.holds(uri) or not _BLOB.fullmatch(text):
            raise Unreadable

        def work() -> bytes:
            plain = self._post("decrypt", context, ciphertext=text).get("plaintext")
            return self._service.key(self._service.decoded(plain))

        return self._service.ask(work)

    def _post(self, verb: str, context: Context, **given: str) -> Mapping[str, Any]:
        """The answer's `data`. Raises: Unreadable, KeysUnavailable."""
        try:
            token = environment.text("VAULT_TOKEN")
        except ImproperlyConfigured:
            token = ""
        if not token:
            raise self._service.failed("cannot be asked without VAULT_TOKEN or VAULT_TOKEN_FILE")
        headers = {"content-type": "application/json", "x-vault-request": "true", "x-vault-token": token}
        if settings.VAULT_NAMESPACE:
            headers["x-vault-namespace"] = settings.VAULT_NAMESPACE
        body = {**given, "associated_data": b64encode(canonical(context)).decode()}
        status, answer = self._service.post(
            f"{self._url}/v1/{self._mount}/{verb}/{self._key}", body, headers, self._tls
        )
        if status == 200:  # noqa: PLR2004 - the one good answer
            data = answer.get("data")
            return data if isinstance(data, dict) else {}
        errors = answer.get("errors")
        if verb == "decrypt" and status == 400 and isinstance(errors, list) and any(map(_wrong, errors)):  # noqa: PLR2004
            raise Unreadable
        raise self._service.refused(status)


def _wrong(error: object) -> bool:
    """Whether Vault says that the ciphertext or its context is wrong, rather than the key or its policy."""
    text = str(error)
    return text.endswith("message authentication failed") or (
        text.startswith("invalid ciphertext") and text != _TOO_NEW
    )
